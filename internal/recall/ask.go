package recall

import (
	"fmt"
	"strings"
	"time"
)

// name returns how a question names p: mostly by the first name.
func (m *maker) name(p *person) string {
	if m.chance(30) {
		return p.full
	}
	return p.first
}

// group returns the turns that state one value.
func group(st *statement) []string {
	var ids []string
	for _, l := range st.turns {
		ids = append(ids, l.turn.ID)
	}
	return ids
}

// question keeps a question for choice. Each statement given is a group of evidence.
func (m *maker) question(t Type, form, name, answer string, of ...*statement) {
	q := Question{Type: t, Text: capital(strings.ReplaceAll(form, "{p}", name)), Answer: answer, AskedAt: m.asked}
	for _, st := range of {
		q.Evidence = append(q.Evidence, group(st))
	}
	m.byType[t] = append(m.byType[t], q)
}

// ask makes all the questions there are; pick chooses.
func (m *maker) ask() {
	for _, f := range m.facts {
		switch f.rel.kind {
		case "changing":
			m.askChanging(f)
		case "fixed":
			st := f.stated[0]
			m.question(SingleHop, pickOne(m.rng, f.rel.ask), m.name(f.of), st.value, st)
			m.question(Paraphrase, pickOne(m.rng, f.rel.blind), m.name(f.of), st.value, st)
		case "preference":
			st := f.stated[0]
			m.question(Preference, pickOne(m.rng, f.rel.advice), m.name(f.of), st.value, st)
		case "many":
			m.askMany(f)
		case "person":
			form := strings.ReplaceAll(pickOne(m.rng, m.lx.frames.who), "{noun}", f.rel.noun[0])
			m.question(SingleHop, form, m.name(f.of), f.stated[0].value, f.stated[0])
			m.askHop(f)
		}
	}
	for _, f := range m.events {
		e, st := m.ev[f], f.stated[0]
		m.question(SingleHop, e.ask, m.name(f.of), st.value, st)
		m.question(Paraphrase, e.blind, "", f.of.full, st)
		m.question(Temporal, e.when, m.name(f.of), day(st.at), st)
	}
	for _, f := range m.tokens {
		t, st := m.tok[f], f.stated[0]
		m.question(Identifier, strings.ReplaceAll(t.ask, "{v}", st.value), "", st.turns[0].text, st)
	}
}

func (m *maker) askChanging(f *fact) {
	r, n := f.rel, len(f.stated)
	last := f.stated[n-1]
	if n == 1 {
		m.question(SingleHop, pickOne(m.rng, r.ask), m.name(f.of), last.value, last)
	} else {
		form := strings.TrimSuffix(pickOne(m.rng, r.ask), "?") + pickOne(m.rng, m.lx.frames.now) + "?"
		m.question(Current, form, m.name(f.of), last.value, last)
	}
	// The paraphrase asks for the current value, and any other is wrong.
	m.question(Paraphrase, pickOne(m.rng, r.blind), m.name(f.of), last.value, last)
	for i, st := range f.stated {
		said := pickOne(m.rng, m.lx.frames.said)
		said = strings.NewReplacer("{topic}", pickOne(m.rng, r.topic), "{t}", m.around(st.at)).Replace(said)
		if n > 1 && m.chance(50) {
			m.question(Temporal, said, m.name(f.of), st.value, st)
		}
		if i == 0 {
			continue
		}
		before := f.stated[i-1]
		when := strings.ReplaceAll(pickOne(m.rng, r.when), "{v}", st.value)
		m.question(Temporal, when, m.name(f.of), day(st.at), st)
		past := pickOne(m.rng, r.past)
		if m.chance(50) {
			form := strings.ReplaceAll(past, "{t}", "before "+st.value)
			m.question(Temporal, form, m.name(f.of), before.value, before, st)
		}
		// A month that lies wholly between the two statements.
		if low, high := month(before.at)+1, month(st.at)-1; low <= high {
			at := low + m.rng.IntN(high-low+1)
			form := strings.ReplaceAll(past, "{t}", fmt.Sprintf("in %s %d", time.Month(at%12+1), at/12))
			m.question(AsOf, form, m.name(f.of), before.value, before)
		}
	}
}

func (m *maker) askMany(f *fact) {
	var values []string
	for _, st := range f.stated {
		values = append(values, st.value)
	}
	if len(values) < 2 {
		return
	}
	form := strings.TrimSuffix(pickOne(m.rng, f.rel.ask), "?") + pickOne(m.rng, m.lx.frames.listed) + "?"
	m.question(Aggregation, form, m.name(f.of), strings.Join(values, "; "), f.stated...)
}

// askHop asks for a fact of the person that f names, without the name.
func (m *maker) askHop(f *fact) {
	st := f.stated[0]
	for _, g := range sample(m.rng, st.to.facts, len(st.to.facts)) {
		if g.rel.kind != "fixed" && g.rel.kind != "changing" {
			continue
		}
		last := g.stated[len(g.stated)-1]
		name := m.name(f.of) + "'s " + f.rel.noun[0]
		m.question(MultiHop, pickOne(m.rng, g.rel.ask), name, last.value, st, last)
		return
	}
}

func day(t time.Time) string { return t.Format("2 January 2006") }

// around returns words for a time, as somebody says them on the day of asking.
func (m *maker) around(t time.Time) string {
	ago := month(m.asked) - month(t)
	switch n := m.rng.IntN(10); {
	case ago == 1:
		return "last month"
	case n < 3 && ago >= 2 && ago < 12:
		return "last " + t.Month().String()
	case n < 5 && ago >= 2 && ago <= 6:
		return fmt.Sprintf("%d months ago", ago)
	case n < 7:
		return "on " + day(t)
	default:
		return fmt.Sprintf("in %s %d", t.Month(), t.Year())
	}
}

// pick keeps at most n questions of each type, no text twice, and numbers them.
func (m *maker) pick(n int) {
	for _, t := range Types() {
		seen := map[string]int{}
		for _, q := range m.byType[t] {
			seen[q.Text]++
		}
		kept := 0
		for _, q := range sample(m.rng, m.byType[t], len(m.byType[t])) {
			// A question that could be asked of two statements has no one answer.
			if kept == n || seen[q.Text] > 1 {
				continue
			}
			kept++
			q.ID = fmt.Sprintf("%s:%s:%03d", m.world.ID, t, kept)
			m.world.Questions = append(m.world.Questions, q)
		}
	}
}
