package recall

import (
	_ "embed"
	"strings"

	"github.com/caxton/caxton"
)

//go:embed relations.txt
var relationsText string

//go:embed events.txt
var eventsText string

//go:embed identifiers.txt
var identifiersText string

//go:embed talk.txt
var talkText string

// A relation is something that can be true of a person, with the forms to say and ask it.
type relation struct {
	name   string
	kind   string // changing, fixed, preference, many, person
	values []string

	say, tell, change                    []string
	ask, past, when, blind, hint, advice []string
	topic, noun                          []string
}

// forms returns where the forms of a key are kept, nil for an unknown key.
func (r *relation) forms(key string) *[]string {
	switch key {
	case "values":
		return &r.values
	case "say":
		return &r.say
	case "tell":
		return &r.tell
	case "change":
		return &r.change
	case "ask":
		return &r.ask
	case "past":
		return &r.past
	case "when":
		return &r.when
	case "blind":
		return &r.blind
	case "hint":
		return &r.hint
	case "advice":
		return &r.advice
	case "topic":
		return &r.topic
	case "noun":
		return &r.noun
	}
	return nil
}

// A happening is something that befalls one person of a world once.
type happening struct{ say, ask, blind, when string }

// A token is a form of rare names with the sentences around it.
type token struct{ form, say, ask string }

// A lexicon is the half of the language that one split speaks.
type lexicon struct {
	relations []*relation
	events    []happening
	tokens    []token

	open, end, reply, chat []string
	words, firsts, lasts   []string
	frames                 frames
}

// Frames are the wordings of questions that hold for every relation.
type frames struct {
	now    []string // appended to a question for the current value
	said   []string // {p} {topic} {t}
	who    []string // {p} {noun}
	listed []string // appended to a question for several values
}

// half returns the items of one split: tuning has the even positions, held-out the odd ones.
func half[T any](all []T, s Split) []T {
	var out []T
	for i, v := range all {
		if (i%2 == 0) == (s == Tuning) {
			out = append(out, v)
		}
	}
	return out
}

// lines returns the lines of text that are neither empty nor comments.
func lines(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	return out
}

// cut splits a line at " | ".
func cut(line string) []string { return strings.Split(line, " | ") }

// load returns the language of a split.
func load(s Split) (*lexicon, error) {
	lx := &lexicon{frames: frames{
		now:    half([]string{" at the moment", " these days", " now", " nowadays", " currently", " today"}, s),
		said:   half([]string{"What did {p} say about {topic} {t}?", "What did {p} mention on the subject of {topic} {t}?", "What had {p} to say on {topic} {t}?", "What news of {topic} did {p} have {t}?"}, s),
		who:    half([]string{"Who is {p}'s {noun}?", "What is the name of {p}'s {noun}?"}, s),
		listed: half([]string{" so far", " up to now", " all in all", " in total"}, s),
	}}
	var r *relation
	for _, l := range lines(relationsText) {
		if rest, ok := strings.CutPrefix(l, "relation "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			r = &relation{name: name, kind: kind}
			lx.relations = append(lx.relations, r)
			continue
		}
		key, text, _ := strings.Cut(l, ": ")
		if r == nil || r.forms(key) == nil {
			return nil, broken("relations.txt", l)
		}
		*r.forms(key) = half(cut(text), s)
	}
	for _, l := range half(lines(eventsText), s) {
		f := cut(l)
		if len(f) != 4 {
			return nil, broken("events.txt", l)
		}
		lx.events = append(lx.events, happening{say: f[0], ask: f[1], blind: f[2], when: f[3]})
	}
	for _, l := range half(lines(identifiersText), s) {
		f := cut(l)
		if len(f) != 3 {
			return nil, broken("identifiers.txt", l)
		}
		lx.tokens = append(lx.tokens, token{form: f[0], say: f[1], ask: f[2]})
	}
	kinds := map[string]*[]string{
		"open": &lx.open, "close": &lx.end, "reply": &lx.reply, "chat": &lx.chat,
		"word": &lx.words, "first": &lx.firsts, "last": &lx.lasts,
	}
	for _, l := range lines(talkText) {
		kind, text, _ := strings.Cut(l, ": ")
		into := kinds[kind]
		if into == nil {
			return nil, broken("talk.txt", l)
		}
		*into = append(*into, text)
	}
	for _, k := range kinds {
		*k = half(*k, s)
	}
	return lx, nil
}

func broken(file, line string) error {
	return caxton.Errorf(caxton.Internal, "recall_lexicon_broken", "%s: a line that cannot be read: %q", file, line)
}
