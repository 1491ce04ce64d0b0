package memorytest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"pgregory.net/rapid"
)

// A said is an observation as the model has it.
type said struct {
	id           caxton.ObservationID
	text         string
	line         string               // those of one line paint over each other
	over         caxton.ObservationID // what it paints over in another line
	valid        caxton.Span
	known        time.Time
	conversation string
	repeats      int       // 1 + the place of what it repeats, 0 for none
	gone         time.Time // zero: not
	undone       time.Time
}

// A life is what the model knows of an entity: everything that was said, in order.
type life struct {
	id    caxton.EntityID
	scope caxton.Scope
	name  string
	said  []*said
	made  time.Time
	ended time.Time
}

func by1(t, k time.Time) bool { return !t.IsZero() && !t.After(k) }

// answer returns the texts of what holds.
func (l *life) answer(v, k time.Time) []string {
	texts := []string{}
	for _, s := range l.holding(v, k) {
		texts = append(texts, s.text)
	}
	return texts
}

// holding returns what holds at a time as far as was known at another: it has everything known
// then paint the time for which it was said to be true, in the order in which it became known, and looks
// what is on top.
func (l *life) holding(v, k time.Time) (hold []*said) {
	var known []*said
	for _, s := range l.said {
		if !s.known.After(k) && !by1(s.undone, k) && l.counts(s, k) {
			known = append(known, s)
		}
	}
	slices.SortStableFunc(known, func(a, b *said) int { return cmp.Or(a.known.Compare(b.known), cmp.Compare(a.id, b.id)) })
	top := map[string]*said{}
	for _, s := range known {
		if s.valid.Holds(v) {
			top[s.line] = s
			for line, t := range top {
				if l.first(t).id == s.over {
					delete(top, line)
				}
			}
		}
	}
	for _, s := range known {
		if top[s.line] == s && !by1(s.gone, k) {
			hold = append(hold, s)
		}
	}
	return hold
}

// counts reports whether s is no repetition of something that counts itself.
func (l *life) counts(s *said, k time.Time) bool {
	if s.repeats == 0 {
		return true
	}
	for _, o := range l.said {
		if o == s {
			return true
		}
		if l.first(o) == l.first(s) && !o.known.After(k) && !by1(o.gone, k) {
			return false
		}
	}
	return true
}

// first returns what s repeats, or s.
func (l *life) first(s *said) *said {
	if s.repeats == 0 {
		return s
	}
	return l.said[s.repeats-1]
}

// find returns the place of an observation and what it is.
func (l *life) find(id caxton.ObservationID) (int, *said) {
	i := slices.IndexFunc(l.said, func(s *said) bool { return s.id == id })
	return i, l.said[i]
}

// repetition returns the ID of what the model does not have yet.
func (l *life) repetition(history []memory.Change) (id caxton.ObservationID) {
	for _, c := range history {
		if o := c.Observation; o != nil && !slices.ContainsFunc(l.said, func(s *said) bool { return s.id == o.ID }) {
			id = o.ID
		}
	}
	return id
}

// A model is a store of maps and slices.
type model struct {
	lives []*life
	names map[string]*life // scope and name of those not forgotten
}

// took writes down what a store did with a note. It relies on the store for what is a duplicate and for IDs, and
// on nothing else.
func (m *model) took(l *life, n memory.Note, r memory.Noted, at time.Time, conversation string, history func() []memory.Change) {
	s := &said{id: r.ID, text: n.Text, valid: n.Valid, known: cmp.Or(n.Known.From, at), conversation: conversation}
	if r.Duplicate {
		_, same := l.find(r.ID)
		first := l.first(same)
		for _, o := range l.said {
			if l.first(o) == first && o.gone.IsZero() && o.conversation == conversation {
				return
			}
		}
		s.repeats = slices.Index(l.said, first) + 1
		s.id, s.line, s.valid = l.repetition(history()), first.line, first.valid
		l.said = append(l.said, s)
		return
	}
	s.line = fmt.Sprint("own ", len(l.said))
	var old *said
	if n.Replaces != 0 {
		_, old = l.find(n.Replaces)
	}
	switch {
	case n.Key != "":
		s.line = "key " + n.Key
		if old != nil && old.line != s.line {
			s.over = l.first(old).id
		}
	case old != nil:
		s.line = old.line
	}
	if s.valid.From.IsZero() {
		switch {
		case old != nil:
			s.valid.From = old.valid.From
		case n.Key != "" && m.changes(l, s, at) && (s.valid.To.IsZero() || s.known.Before(s.valid.To)):
			s.valid.From = s.known
		}
	}
	l.said = append(l.said, s)
}

// changes reports whether something of the line holds, or is to hold some time.
func (m *model) changes(l *life, s *said, at time.Time) bool {
	times := []time.Time{at}
	for _, o := range l.said {
		if o.line == s.line {
			for _, t := range []time.Time{o.valid.From, o.valid.To} {
				if t.After(at) {
					times = append(times, t)
				}
			}
		}
	}
	for _, v := range times {
		for _, o := range l.holding(v, at) {
			if o.line == s.line && !o.known.After(s.known) {
				return true
			}
		}
	}
	return false
}

func (m *model) forget(l *life, id caxton.ObservationID, at time.Time) {
	_, what := l.find(id)
	for _, s := range l.said {
		if l.first(s) == l.first(what) && s.gone.IsZero() {
			s.gone = at
		}
	}
}

func (m *model) forgetEntity(l *life, at time.Time) {
	for _, s := range l.said {
		if s.gone.IsZero() {
			s.gone = at
		}
	}
	l.ended = at
	delete(m.names, l.scope.String()+"/"+l.name)
}

func (m *model) revert(conversation string, at time.Time) (n int) {
	for _, l := range m.lives {
		for _, s := range l.said {
			if s.conversation == conversation && s.undone.IsZero() {
				s.undone = at
				if s.gone.IsZero() {
					s.gone = at
				}
				n++
			}
		}
	}
	return n
}

// fataler is what rapid.T and testing.TB have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// compare asks the store for an entity at a time, and the model.
func compare(ctx context.Context, t fataler, s memory.Store, l *life, at memory.AsOf, now time.Time) {
	t.Helper()
	k, v := cmp.Or(at.Known, now), cmp.Or(at.Valid, now)
	e, err := s.Entity(ctx, all(), l.id, at)
	if by1(l.ended, k) {
		if caxton.KindOf(err) != caxton.NotFound {
			t.Fatalf("Entity(%s, %+v) = %+v, %v; it was forgotten at %v", l.name, at, e, err, l.ended)
		}
		return
	}
	if err != nil {
		t.Fatalf("Entity(%s, %+v): %v", l.name, at, err)
	}
	got := []string{}
	for _, o := range e.Observations {
		got = append(got, o.Text)
		if !o.Valid.Holds(v) {
			t.Errorf("Entity(%s, %+v): %q is true from %v to %v", l.name, at, o.Text, o.Valid.From, o.Valid.To)
		}
	}
	want := l.answer(v, k)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		for _, s := range l.said {
			t.Errorf("said: %+v", *s)
		}
		t.Fatalf("Entity(%s, %+v) = %q, want %q", l.name, at, got, want)
	}
}

// A closer is a test whose cleanups are done as soon as one of its checks is over.
type closer struct {
	testing.TB
	cleanups []func()
}

func (c *closer) Cleanup(f func()) { c.cleanups = append(c.cleanups, f) }

func (c *closer) close() {
	for _, f := range slices.Backward(c.cleanups) {
		f()
	}
}

// TestModel drives a store by any order of writes and compares what it answers for any two times with
// a model of slices.
func TestModel(t *testing.T, open Open) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := NewClock()
		start := clock.T
		closer := &closer{TB: t}
		rt.Cleanup(closer.close)
		s := open(closer, clock.Now)
		ctx := context.Background()
		m := &model{names: map[string]*life{}}
		when := func(label string) time.Time {
			return start.Add(time.Duration(rapid.IntRange(-20, 60).Draw(rt, label)) * time.Minute)
		}
		pick := func() *life {
			if len(m.lives) == 0 {
				rt.Skip("nobody yet")
			}
			return rapid.SampledFrom(m.lives).Draw(rt, "who")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"remember": func(rt *rapid.T) {
				at := clock.Tick()
				name, scope := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "name"), rapid.SampledFrom([]caxton.Scope{global(), agent("x")}).Draw(rt, "scope")
				conversation := rapid.SampledFrom([]string{"c1", "c2", "c3", "c4", "c5"}).Draw(rt, "conversation")
				n := memory.Note{Text: rapid.SampledFrom([]string{"t1", "t2", "t3", "t4"}).Draw(rt, "text"), Key: rapid.SampledFrom([]string{"", "", "k1", "k2"}).Draw(rt, "key")}
				if rapid.Bool().Draw(rt, "from given") {
					n.Valid.From = when("from")
				}
				if rapid.IntRange(0, 3).Draw(rt, "to given") == 0 {
					n.Valid.To = when("to")
				}
				if !n.Valid.From.IsZero() && !n.Valid.To.IsZero() && !n.Valid.From.Before(n.Valid.To) {
					n.Valid.To = time.Time{}
				}
				if rapid.IntRange(0, 5).Draw(rt, "import") == 0 {
					n.Known.From = start.Add(-time.Duration(rapid.IntRange(0, 20).Draw(rt, "known")) * time.Minute)
				}
				l := m.names[scope.String()+"/"+name]
				if l != nil && rapid.IntRange(0, 3).Draw(rt, "replace") == 0 {
					e, err := s.Entity(ctx, all(), l.id, memory.AsOf{})
					if err == nil && len(e.Observations) > 0 {
						n.Replaces = rapid.SampledFrom(e.Observations).Draw(rt, "old").ID
						n.Known = caxton.Span{}
					}
				}
				rs, err := s.Remember(ctx, all(), []memory.Memo{{Scope: scope, Name: name, Notes: []memory.Note{n}}}, caxton.Provenance{ConversationID: caxton.ConversationID(conversation)})
				if n.Replaces != 0 && caxton.KindOf(err) == caxton.Invalid {
					return // its end is before the beginning it takes over
				}
				if err != nil {
					rt.Fatalf("Remember(%+v): %v", n, err)
				}
				if rs[0].Created != (l == nil) {
					rt.Fatalf("%s in %s: created %v", name, scope, rs[0].Created)
				}
				if l == nil {
					l = &life{id: rs[0].Entity.ID, scope: scope, name: name, made: at}
					m.lives = append(m.lives, l)
					m.names[scope.String()+"/"+name] = l
				}
				m.took(l, n, rs[0].Observations[0], at, conversation, func() []memory.Change {
					h, err := s.History(ctx, all(), l.id)
					if err != nil {
						rt.Fatalf("History(%s): %v", name, err)
					}
					return h
				})
			},
			"forget": func(rt *rapid.T) {
				at := clock.Tick()
				l := pick()
				e, err := s.Entity(ctx, all(), l.id, memory.AsOf{})
				if err != nil || len(e.Observations) == 0 {
					rt.Skip("nothing to forget")
				}
				o := rapid.SampledFrom(e.Observations).Draw(rt, "what")
				if _, err := s.Forget(ctx, all(), memory.Forgetting{Observations: []caxton.ObservationID{o.ID}}); err != nil {
					rt.Fatalf("Forget: %v", err)
				}
				m.forget(l, o.ID, at)
			},
			"forget all": func(rt *rapid.T) {
				at := clock.Tick()
				l := pick()
				if !l.ended.IsZero() || rapid.IntRange(0, 3).Draw(rt, "really") > 0 {
					rt.Skip("not now")
				}
				if _, err := s.Forget(ctx, all(), memory.Forgetting{Entities: []caxton.EntityID{l.id}}); err != nil {
					rt.Fatalf("Forget: %v", err)
				}
				m.forgetEntity(l, at)
			},
			"revert": func(rt *rapid.T) {
				at := clock.Tick()
				conversation := rapid.SampledFrom([]string{"c1", "c2", "c3", "c4", "c5"}).Draw(rt, "conversation")
				if _, err := s.Revert(ctx, all(), memory.Reversal{ConversationID: caxton.ConversationID(conversation)}); err != nil {
					rt.Fatalf("Revert: %v", err)
				}
				m.revert(conversation, at)
			},
			"": func(rt *rapid.T) {
				if len(m.lives) == 0 {
					return
				}
				l := rapid.SampledFrom(m.lives).Draw(rt, "who")
				compare(ctx, rt, s, l, memory.AsOf{}, clock.Now())
				k := start.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "known")) * time.Minute)
				if !k.Before(l.made) {
					compare(ctx, rt, s, l, memory.AsOf{Known: k, Valid: when("valid")}, clock.Now())
				}
				compare(ctx, rt, s, l, memory.AsOf{Valid: when("valid")}, clock.Now())
			},
		})
	})
}

// TestTruth lets a store live through 10,000 facts with 2,000 changes and 200 poisonings that are reverted
// now and then, and compares everything it answers, for all entities at many times, with the model.
func TestTruth(t *testing.T, open Open) {
	const entities, facts, changed, poisoned = 1000, 10_000, 2000, 200
	r := rand.New(rand.NewPCG(7, 11))
	clock := NewClock()
	start := clock.T
	s := open(t, clock.Now)
	ctx := t.Context()
	m := &model{names: map[string]*life{}}
	note := func(entity int, conversation string, n memory.Note) {
		at := clock.Tick()
		name := fmt.Sprint("entity ", entity)
		rs, err := s.Remember(ctx, all(), []memory.Memo{{Scope: global(), Name: name, Notes: []memory.Note{n}}}, caxton.Provenance{ConversationID: caxton.ConversationID(conversation)})
		if err != nil {
			t.Fatal(err)
		}
		l := m.names[name]
		if l == nil {
			l = &life{id: rs[0].Entity.ID, scope: global(), name: name, made: at}
			m.lives, m.names[name] = append(m.lives, l), l
		}
		m.took(l, n, rs[0].Observations[0], at, conversation, nil)
	}
	type act struct{ kind, entity, key int }
	var acts []act
	for i := range facts {
		acts = append(acts, act{0, i % entities, i / entities})
	}
	for range changed {
		acts = append(acts, act{1, r.IntN(entities), r.IntN(10)})
	}
	for i := range poisoned {
		acts = append(acts, act{2, r.IntN(entities), r.IntN(10)}, act{3, i, 0})
	}
	r.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
	poisons, reverted := 0, 0
	revert := func(conversation string) {
		at := clock.Tick()
		c, err := s.Revert(ctx, all(), memory.Reversal{ConversationID: caxton.ConversationID(conversation)})
		if err != nil {
			t.Fatal(err)
		}
		n := m.revert(conversation, at)
		if len(c.Observations) > n {
			t.Fatalf("Revert(%s) took back %d, the poison is %d", conversation, len(c.Observations), n)
		}
		reverted += n
	}
	for i, a := range acts {
		n := memory.Note{Text: fmt.Sprintf("attribute %d is %d", a.key, i), Key: fmt.Sprint("attribute ", a.key)}
		if a.key%3 == 0 {
			n.Valid.From = clock.T.Add(-time.Duration(r.IntN(5000)) * time.Minute)
		}
		switch a.kind {
		case 0, 1:
			note(a.entity, fmt.Sprint("honest ", i), n)
		case 2:
			note(a.entity, fmt.Sprint("poison ", poisons%50), n)
			poisons++
		case 3:
			if a.entity%10 == 0 {
				revert(fmt.Sprint("poison ", r.IntN(50)))
			}
		}
	}
	for i := range 50 {
		revert(fmt.Sprint("poison ", i))
	}
	if reverted != poisoned {
		t.Errorf("%d poisonings were reverted, want %d", reverted, poisoned)
	}
	now := clock.Tick()
	length := int(now.Sub(start) / time.Minute)
	asked := 0
	for _, l := range m.lives {
		compare(ctx, t, s, l, memory.AsOf{}, now)
		for _, text := range l.answer(now, now) {
			for _, o := range l.said {
				if o.text == text && len(o.conversation) > 6 && o.conversation[:6] == "poison" {
					t.Errorf("%s: the poison %q stayed", l.name, text)
				}
			}
		}
		for range 4 {
			at := memory.AsOf{Valid: start.Add(time.Duration(r.IntN(length)-2000) * time.Minute), Known: start.Add(time.Duration(r.IntN(length)) * time.Minute)}
			if at.Known.Before(l.made) {
				at.Known = l.made
			}
			compare(ctx, t, s, l, at, now)
			asked++
		}
	}
	t.Logf("%d facts, %d changes, %d poisonings reverted, %d answers as of some time right", facts, changed, reverted, asked+len(m.lives))
}
