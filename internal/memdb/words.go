package memdb

import (
	"hash/fnv"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caxton/caxton/internal/memory"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// cleanName is a name as it is kept: in NFC, without space around it, with single spaces in it.
func cleanName(s string) string { return strings.Join(strings.Fields(norm.NFC.String(s)), " ") }

// fold is a name by which others that differ in case only are found.
func fold(s string) string { return norm.NFC.String(cases.Fold().String(s)) }

// normal is a text in the form in which it is compared with others.
func normal(s string) string { return fold(cleanName(s)) }

// hashOf is a number for a normalised text.
func hashOf(normalised string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(normalised))
	return int64(h.Sum64()) //nolint:gosec // any number will do
}

// The marks begin words by which the text index knows more of a passage than its text: its
// scope, the words in the name of its subject, and those again when that is a person. The
// tokenizer takes private characters for letters, and indexed leaves none in what people write.
const (
	scopeMark   = "\uE000"
	subjectMark = "\uE001"
	personMark  = "\uE002"
)

// document is what the text index is given of a passage.
func document(name, kind, text string, scope int64) string {
	subject, person := memory.Subject(name, kind, text)
	var b strings.Builder
	b.WriteString(indexed(memory.PassageText(name, kind, text), scope))
	nameWords(subject, func(w string) {
		b.WriteString(" " + subjectMark + w)
		if person {
			b.WriteString(" " + personMark + w)
		}
	})
	return b.String()
}

const maxNameWords = 12 // of a subject

// nameWords calls fn with the words of a name that is written with spaces: of other scripts a
// character alone names nothing.
func nameWords(name string, fn func(word string)) {
	n := 0
	tokens(name, func(word []byte) bool {
		if r, size := utf8.DecodeRune(word); size < len(word) && !spaceless(r) && !unicode.Is(unicode.Co, r) {
			fn(string(word))
			n++
		}
		return n < maxNameWords
	})
}

// indexed is the text of a passage as the text index is given it. Scripts that do without spaces are
// indexed by the character.
func indexed(text string, scope int64) string {
	var b strings.Builder
	b.Grow(len(text) + 16)
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case unicode.Is(unicode.Co, r):
			b.WriteByte(' ')
		case spaceless(r):
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(' ')
	b.WriteString(scopeWord(scope))
	return b.String()
}

func scopeWord(scope int64) string { return scopeMark + strconv.FormatInt(scope, 10) }

// spaceless reports whether words of r's script are not set off by spaces.
func spaceless(r rune) bool {
	return r > 0xdff && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// tokens calls fn with the words of a text as the text index splits it: letters and digits, in small
// letters and without accents. The word is valid during the call only. It ends when fn returns false.
func tokens(text string, fn func(word []byte) bool) {
	word := make([]byte, 0, 64)
	ascii := true
	flush := func() bool {
		if len(word) == 0 {
			return true
		}
		w := word
		if !ascii {
			w = []byte(unaccented(string(word)))
		}
		word, ascii = word[:0], true
		return len(w) == 0 || fn(w)
	}
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			switch {
			case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
				word = utf8.AppendRune(word, r)
			case 'A' <= r && r <= 'Z':
				word = utf8.AppendRune(word, r+'a'-'A')
			default:
				if !flush() {
					return
				}
			}
		case unicode.In(r, unicode.L, unicode.N, unicode.Co, unicode.Mn):
			word = utf8.AppendRune(word, unicode.ToLower(r))
			ascii = false
		default:
			if !flush() {
				return
			}
		}
	}
	flush()
}

// unaccented takes the accents off the letters of a word.
func unaccented(s string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(s) {
		if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(r)
		}
	}
	return norm.NFC.String(b.String())
}

// stopWords are words that are in every text and tell nothing.
func stopWords() map[string]bool {
	words := map[string]bool{}
	for w := range strings.FieldsSeq(`a about am an and any are as at be been being but by can could did do does for from had has
		have he her hers him his how i if in into is it its me my of on or our ours she should so some that the their theirs them
		then there these they this those to us was we were what when where which who whom whose why will with would you your yours`) {
		words[w] = true
	}
	return words
}
