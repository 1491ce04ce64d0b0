package wordpiece

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/caxton/caxton"
)

const (
	maxWord  = 100 // characters; what is longer is unknown
	maxLine  = 1 << 10
	maxVocab = 1 << 20 // tokens
)

// A Tokenizer turns text into token numbers. It does not change and may be used from any
// number of goroutines.
type Tokenizer struct {
	ascii      [utf8.RuneSelf]byte // a letter, or one of drop, space, alone
	chars      *characters
	tokens     trie
	inner      int32 // the node of "##"
	unknown    int32
	begin, end int32
	special    []entry // the names that are tokens also within text
	size       int
}

// New returns a Tokenizer for a vocabulary: vocab[n] is token n.
func New(vocab []string) (*Tokenizer, error) {
	chars, err := readCharacters(charactersText)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{chars: chars, size: len(vocab)}
	if len(vocab) == 0 || len(vocab) > maxVocab {
		return nil, invalid("a vocabulary of %d tokens", len(vocab))
	}
	known := make(map[string]int32, len(vocab))
	entries := make([]entry, 0, len(vocab))
	for i, v := range vocab {
		if v == "" {
			return nil, invalid("token %d is empty", i)
		}
		if at, ok := known[v]; ok {
			return nil, invalid("%q is both token %d and token %d", v, at, i)
		}
		known[v] = int32(i)
		entries = append(entries, entry{[]byte(v), known[v]})
	}
	for _, s := range []struct {
		name string
		at   *int32
	}{{"[UNK]", &t.unknown}, {"[CLS]", &t.begin}, {"[SEP]", &t.end}, {"[PAD]", nil}, {"[MASK]", nil}} {
		token, ok := known[s.name]
		if !ok && s.at != nil {
			return nil, invalid("it has no %s", s.name)
		}
		if ok {
			t.special = append(t.special, entry{[]byte(s.name), token})
		}
		if s.at != nil {
			*s.at = token
		}
	}
	t.tokens = newTrie(entries)
	t.inner = -1
	if node, ok := t.tokens.find("##"); ok {
		t.inner = node
	}
	for c := range rune(utf8.RuneSelf) {
		switch a := chars.action(c); a {
		case keep:
			t.ascii[c] = byte(c)
		case drop, space, alone:
			t.ascii[c] = byte(a)
		default:
			t.ascii[c] = chars.mapped[a-mapped].text[0] // a lower-case letter
		}
	}
	return t, nil
}

func invalid(format string, args ...any) error {
	return caxton.Errorf(caxton.Invalid, "vocabulary_invalid", "the vocabulary is not one of BERT: "+format, args...).
		WithHint("vocab.txt of an uncased BERT model has one token a line, [UNK], [CLS] and [SEP] among them")
}

// Read returns a Tokenizer for a vocab.txt: one token a line, the first is token 0.
func Read(r io.Reader) (*Tokenizer, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	var vocab []string
	for s.Scan() {
		if len(vocab) == maxVocab {
			return nil, invalid("it has more than %d tokens", maxVocab)
		}
		vocab = append(vocab, s.Text())
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, invalid("line %d is longer than %d bytes", len(vocab)+1, maxLine)
	} else if err != nil {
		return nil, err
	}
	return New(vocab)
}

// Size returns the number of tokens in the vocabulary.
func (t *Tokenizer) Size() int { return t.size }

// Encode appends the tokens of text to dst: [CLS], as many as fit, [SEP], together at most
// limit, which is 2 or more. Bytes that are not UTF-8 are dropped. With room in dst it does
// not allocate.
func (t *Tokenizer) Encode(dst []int32, text string, limit int) []int32 {
	s := sink{tokens: append(dst, t.begin), left: max(0, limit-2)}
	t.encode(&s, text)
	return append(s.tokens, t.end)
}

// Count returns how many tokens text has, [CLS] and [SEP] not among them.
func (t *Tokenizer) Count(text string) int {
	const many = int(^uint(0) >> 1)
	s := sink{left: many, counts: true}
	t.encode(&s, text)
	return many - s.left
}

// A sink takes tokens while there is room, or only counts them.
type sink struct {
	tokens []int32
	left   int
	counts bool
}

func (s *sink) add(token int32) {
	if s.left == 0 {
		return
	}
	s.left--
	if !s.counts {
		s.tokens = append(s.tokens, token)
	}
}

// A word is the one being read.
type word struct {
	text  [maxWord * utf8.UTFMax]byte
	size  int
	chars int // may be more than maxWord, but no more is in text
}

func (w *word) add(r rune) {
	if w.chars < maxWord {
		w.size += utf8.EncodeRune(w.text[w.size:], r)
	}
	w.chars++
}

func (t *Tokenizer) encode(s *sink, text string) {
	var w word
	for i := 0; i < len(text) && s.left > 0; {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			t.wide(s, &w, r)
			i += size
			continue
		}
		i++
		switch a := t.ascii[c]; uint16(a) {
		case drop:
		case space:
			t.flush(s, &w)
		case alone:
			t.flush(s, &w)
			if c == '[' {
				if token, size := t.specialAt(text[i-1:]); size > 0 {
					s.add(token)
					i += size - 1
					continue
				}
			}
			t.single(s, rune(c))
		default:
			if w.chars < maxWord {
				w.text[w.size] = a
				w.size++
			}
			w.chars++
		}
	}
	t.flush(s, &w)
}

// wide takes in a character beyond ASCII. What is not UTF-8 comes as U+FFFD, which is dropped.
func (t *Tokenizer) wide(s *sink, w *word, r rune) {
	switch a := t.chars.action(r); a {
	case keep:
		w.add(r)
	case drop:
	case space:
		t.flush(s, w)
	case alone:
		t.flush(s, w)
		t.single(s, r)
	case hangul: // a syllable is two or three letters
		const base, vowels, finals = 0xAC00, 21, 28
		n := r - base
		w.add(0x1100 + n/(vowels*finals))
		w.add(0x1161 + n%(vowels*finals)/finals)
		if n %= finals; n > 0 {
			w.add(0x11A7 + n)
		}
	default:
		m := &t.chars.mapped[a-mapped]
		if m.alone {
			t.flush(s, w)
			r, _ = utf8.DecodeRuneInString(m.text)
			t.single(s, r)
			return
		}
		for _, r := range m.text {
			w.add(r)
		}
	}
}

// single takes a character that is a word of its own.
func (t *Tokenizer) single(s *sink, r rune) {
	var b [utf8.UTFMax]byte
	n := utf8.EncodeRune(b[:], r)
	token, size := t.tokens.longest(0, b[:n])
	if size < n {
		token = t.unknown
	}
	s.add(token)
}

// flush ends the word that is being read.
func (t *Tokenizer) flush(s *sink, w *word) {
	if w.chars == 0 {
		return
	}
	rest := w.text[:w.size]
	whole := w.chars <= maxWord
	w.size, w.chars = 0, 0
	if !whole {
		s.add(t.unknown)
		return
	}
	before := *s
	for node := int32(0); len(rest) > 0; node = t.inner {
		token, size := int32(-1), 0
		if node >= 0 {
			token, size = t.tokens.longest(node, rest)
		}
		if token < 0 { // what of the word is known does not count
			*s = before
			s.add(t.unknown)
			return
		}
		s.add(token)
		rest = rest[size:]
	}
}

// specialAt returns the special token whose name s begins with, and the length of the name.
func (t *Tokenizer) specialAt(s string) (token int32, size int) {
	for _, e := range t.special {
		if strings.HasPrefix(s, string(e.text)) {
			return e.token, len(e.text)
		}
	}
	return 0, 0
}
