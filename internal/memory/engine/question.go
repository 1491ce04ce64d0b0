package engine

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caxton/caxton/internal/memory"
	"golang.org/x/text/unicode/norm"
)

const (
	maxNameTries  = 24  // words of a question that may be looked up as names
	maxNames      = 8   // of those found
	maxThingWords = 40  // words of a question beyond which the names of things in it are chance
	maxQuestion   = 512 // words looked at
)

// A question is a query taken apart: what it names is compared by identity, the rest by its
// words and by its meaning.
type question struct {
	text     string          // as it was asked
	words    []word          // those of the text
	persons  []string        // words of names of persons, folded
	things   []string        // words of names of other things, folded; in content and meaning too
	capitals map[string]bool // words within a sentence that begin with a capital
	content  string          // what is compared by words
	count    int             // words of content
	meaning  string          // what is embedded: "someone" stands for each person
	ids      []string        // words with a digit, in small letters
	when     span            // the time it asks about, or nothing
	now      bool            // it asks for what is so now
}

// A word is a word of a text.
type word struct {
	from, to int    // bytes
	folded   string // small letters, no accents
	capital  bool
	function bool // says nothing about the subject
	time     bool // is part of a time
	begins   bool // a sentence
}

// split returns the words of a text: letters and digits.
func split(text string, most int) (words []word) {
	begins := true
	for i := 0; i < len(text) && len(words) < most; {
		r, size := utf8.DecodeRuneInString(text[i:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			begins = begins || r == '.' || r == '?' || r == '!' || r == '\n' || r == ':'
			i += size
			continue
		}
		w := word{from: i, capital: unicode.IsUpper(r) || unicode.IsTitle(r), begins: begins}
		for i < len(text) && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) {
			i += size
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		w.to = i
		w.folded = folded(text[w.from:w.to])
		w.function = functionWord(w.folded)
		words, begins = append(words, w), false
	}
	return words
}

// folded is a word as it is compared with others.
func folded(s string) string {
	s = strings.ToLower(s)
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			var b strings.Builder
			for _, r := range norm.NFD.String(s) {
				if !unicode.Is(unicode.Mn, r) {
					b.WriteRune(r)
				}
			}
			return norm.NFC.String(b.String())
		}
	}
	return s
}

// ask takes a query apart, with the names that memory knows. now is the time it is asked at.
func (e *Engine) ask(ctx context.Context, q memory.Query, now time.Time) (question, error) {
	text := q.Text
	if len(text) > maxTermText {
		text = strings.ToValidUTF8(text[:maxTermText], "")
	}
	a := question{text: q.Text, words: split(text, maxQuestion)}
	a.when, a.now = times(text, a.words, now)
	a.capitals = map[string]bool{}
	for _, w := range a.words {
		if w.capital && !w.begins {
			a.capitals[w.folded] = true
		}
	}
	tries := nameable(text, a.words)
	if len(tries) > 0 {
		names, err := e.store.Names(ctx, q.Access, tries)
		if err != nil {
			return a, err
		}
		for _, n := range names {
			switch {
			case n.Person && len(a.persons) < maxNames:
				a.persons = append(a.persons, n.Word)
			case !n.Person && len(a.things) < maxNames && len(a.words) <= maxThingWords:
				a.things = append(a.things, n.Word)
			}
		}
	}
	a.ids = identifiers(text, a.words)
	a.content, a.count = a.contents()
	a.meaning = a.masked(text)
	return a, nil
}

// nameable returns the words that may be names. Who writes some words within a sentence with a
// capital writes names so.
func nameable(text string, words []word) (tries []string) {
	cased := false
	for _, w := range words {
		cased = cased || w.capital && !w.begins && w.folded != "i"
	}
	seen := map[string]bool{}
	for pass := range 2 { // those with a capital first, there may be many
		for _, w := range words {
			r, _ := utf8.DecodeRuneInString(text[w.from:])
			lower := unicode.IsLower(r)
			if len(tries) == maxNameTries || w.function || w.time || seen[w.folded] || utf8.RuneCountInString(w.folded) < 2 ||
				unicode.IsDigit(r) || w.capital != (pass == 0) || cased && lower {
				continue
			}
			seen[w.folded] = true
			tries = append(tries, w.folded)
		}
	}
	return tries
}

func (a *question) person(w *word) bool { return slices.Contains(a.persons, w.folded) }

// contents returns what is compared by words: no names of persons, no times, nothing that says
// nothing. When nothing is left, words are not compared unless there are no names either.
func (a *question) contents() (string, int) {
	var content, all []string
	seen := map[string]bool{}
	for i := range a.words {
		w := &a.words[i]
		if seen[w.folded] {
			continue
		}
		seen[w.folded] = true
		if !a.person(w) && !w.time {
			all = append(all, w.folded)
			if !w.function && (i == 0 || w.folded != "s") {
				content = append(content, w.folded)
			}
		}
	}
	if len(content) == 0 && len(a.persons) == 0 {
		content = all
	}
	return strings.Join(content, " "), len(content)
}

// masked returns text with "someone" for each person named in it.
func (a *question) masked(text string) string {
	if len(a.persons) == 0 || a.count == 0 {
		return a.text
	}
	var b strings.Builder
	at := 0
	for i := 0; i < len(a.words); i++ {
		if !a.person(&a.words[i]) {
			continue
		}
		b.WriteString(text[at:a.words[i].from])
		b.WriteString("someone")
		for i+1 < len(a.words) && a.person(&a.words[i+1]) && strings.TrimSpace(text[a.words[i].to:a.words[i+1].from]) == "" {
			i++
		}
		at = a.words[i].to
	}
	b.WriteString(text[at:])
	return b.String()
}

// identifiers returns the rare names in a text: what stands between spaces and has a digit,
// unless it is a small number or a time.
func identifiers(text string, words []word) (ids []string) {
	for from := 0; from < len(words); {
		to := from // the last word before a space
		for to+1 < len(words) && !strings.ContainsFunc(text[words[to].to:words[to+1].from], unicode.IsSpace) {
			to++
		}
		digit, long, timed := false, words[to].to-words[from].from >= 3, false
		for _, w := range words[from : to+1] {
			digit = digit || strings.ContainsFunc(w.folded, unicode.IsDigit)
			timed = timed || w.time
		}
		if id := strings.ToLower(text[words[from].from:words[to].to]); digit && long && !timed && !slices.Contains(ids, id) && len(ids) < maxNames {
			ids = append(ids, strings.TrimSuffix(id, "'s"))
		}
		from = to + 1
	}
	return ids
}

// A naming is what a passage has of what a question names, each from 0 to 1.
type naming struct {
	subject, mention, identifier float64
}

// A passage is what of a candidate is compared with the names in a question.
type passage struct {
	subject string // whom or what it is about
	person  bool
	kind    string
	text    string // what it says of that
}

// named compares a passage with the names in a question. The units of which a share is counted
// are the words of names of persons, and the names of things, which known has.
func (a *question) named(p passage, known map[string][]string) naming {
	var n naming
	if len(p.text) > maxTermText {
		p.text = p.text[:maxTermText]
	}
	if units := len(a.persons) + len(known); units > 0 {
		said, share := set(p.text), 1/float64(units)
		var in map[string]bool
		about := a.thing(p)
		if p.person {
			in = set(p.subject)
		}
		for _, w := range a.persons {
			switch {
			case in[w]:
				n.subject += share
			case said[w]:
				n.mention += share
			}
		}
		for thing, words := range known {
			switch {
			case thing == about:
				n.subject += share
			case has(said, words):
				n.mention += share
			}
		}
	}
	if len(a.ids) > 0 {
		lower := strings.ToLower(p.subject + "\n" + p.text)
		for _, id := range a.ids {
			if mentions(lower, id) {
				n.identifier += 1 / float64(len(a.ids))
			}
		}
	}
	return n
}

func set(text string) map[string]bool {
	in := map[string]bool{}
	for _, w := range split(text, maxTermText) {
		in[w.folded] = true
	}
	return in
}

func has(in map[string]bool, all []string) bool {
	for _, w := range all {
		if !in[w] {
			return false
		}
	}
	return true
}

// thing returns the words of the name of what a passage is about, when that is a thing and the
// question names it, separated by spaces; else "". It does with all words of the name but those
// that say what kind of thing it is, and for who writes names with a capital with one so written.
func (a *question) thing(p passage) string {
	if len(a.things) == 0 || p.person || p.subject == "" {
		return ""
	}
	kind := set(p.kind)
	var words []string
	all, written := true, false
	for _, w := range split(p.subject, maxNames) {
		switch {
		case slices.Contains(a.things, w.folded) && !kind[w.folded]:
			words = append(words, w.folded)
			written = written || a.capitals[w.folded]
		case !w.function && !kind[w.folded]:
			all = false
		}
	}
	if !all && !written {
		return ""
	}
	return strings.Join(words, " ")
}
