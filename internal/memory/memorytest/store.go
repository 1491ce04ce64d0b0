package memorytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/google/go-cmp/cmp"
)

// Open returns an empty store that takes the time from now. It is closed by t's cleanup.
type Open func(t testing.TB, now func() time.Time) memory.Store

// A Clock is a time that goes on when it is told to.
type Clock struct{ T time.Time }

// Now returns the time.
func (c *Clock) Now() time.Time { return c.T }

// Tick lets a minute pass and returns the time.
func (c *Clock) Tick() time.Time {
	c.T = c.T.Add(time.Minute)
	return c.T
}

// NewClock returns a clock that stands at a day in 2026.
func NewClock() *Clock { return &Clock{time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)} }

// suite has a store and what the cases do with it.
type suite struct {
	testing.TB
	memory.Store
	*Clock
	ctx context.Context //nolint:containedctx // of one case
}

// all is an operator.
func all() memory.Access { return memory.Access{All: true} }

func global() caxton.Scope { return caxton.Scope{Kind: caxton.GlobalScope} }

func agent(name string) caxton.Scope { return caxton.Scope{Kind: caxton.AgentScope, Owner: name} }

func workspace(name string) caxton.Scope {
	return caxton.Scope{Kind: caxton.WorkspaceScope, Owner: name}
}

func by(conversation string) caxton.Provenance {
	return caxton.Provenance{ConversationID: caxton.ConversationID(conversation), MessageID: caxton.MessageID("m-" + conversation), AgentID: "writer", Version: 3, Tool: "memory_store"}
}

// remember writes one memo.
func (s *suite) remember(m memory.Memo, from caxton.Provenance) memory.Remembered {
	s.Helper()
	if m.Scope == (caxton.Scope{}) && m.ID == 0 {
		m.Scope = global()
	}
	s.Tick()
	rs, err := s.Remember(s.ctx, all(), []memory.Memo{m}, from)
	if err != nil {
		s.Fatalf("Remember(%+v): %v", m, err)
	}
	return rs[0]
}

// note writes one text about an entity.
func (s *suite) note(name, text string) memory.Remembered {
	s.Helper()
	return s.remember(memory.Memo{Name: name, Notes: []memory.Note{{Text: text}}}, by("c"))
}

// texts returns what is known of an entity as of a time.
func (s *suite) texts(id caxton.EntityID, at memory.AsOf) []string {
	s.Helper()
	e, err := s.Entity(s.ctx, all(), id, at)
	if err != nil {
		s.Fatalf("Entity(%s, %+v): %v", id, at, err)
	}
	texts := []string{}
	for _, o := range e.Observations {
		texts = append(texts, o.Text)
	}
	return texts
}

func (s *suite) want(what string, got, want any) {
	s.Helper()
	if d := cmp.Diff(want, got); d != "" {
		s.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func (s *suite) wantKind(what string, err error, want caxton.Kind) {
	s.Helper()
	if got := caxton.KindOf(err); got != want {
		s.Errorf("%s: kind %q (%v), want %q", what, got, err, want)
	}
}

// TestStore checks the contract of a Store case by case.
func TestStore(t *testing.T, open Open) {
	cases := []struct {
		name string
		run  func(*suite)
	}{
		{"remember makes an entity and adds to it", remembers},
		{"a text said twice is noted once", duplicates},
		{"what is said again after a crash undoes nothing", repeatsItself},
		{"a key supersedes", keys},
		{"what has run out is not superseded", runsOut},
		{"a correction takes over the beginning", corrections},
		{"what is to come does not hide what is", future},
		{"out of order", outOfOrder},
		{"forgetting", forgets},
		{"reverting", reverts},
		{"reverting what others said, too", revertsRepeated},
		{"what several said", saidBySeveral},
		{"what is hidden by the clock is not superseded", hiddenByClock},
		{"relations", relates},
		{"relations over time", relatesOverTime},
		{"names", names},
		{"versions", versions},
		{"limits", limits},
		{"many memos or none", atomic},
		{"matching words", matches},
		{"matching roughly", matchesRoughly},
		{"matching odd text", matchesOddText},
		{"names and what is about them", aboutNames},
		{"filters", filters},
		{"pages", pages},
		{"history", history},
		{"access", access},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clock := NewClock()
			c.run(&suite{t, open(t, clock.Now), clock, t.Context()})
		})
	}
}

func remembers(s *suite) {
	r := s.remember(memory.Memo{Name: " Ada  Lovelace", Type: "person", Notes: []memory.Note{{Text: "wrote the first program"}, {Text: "lived in London"}}}, by("c1"))
	if !r.Created || r.Entity.Name != "Ada Lovelace" || r.Entity.Type != "person" || r.Entity.Importance != caxton.DefaultImportance || r.Entity.Version != 1 {
		s.Errorf("Remember = %+v", r)
	}
	again := s.remember(memory.Memo{Name: "Ada Lovelace", Notes: []memory.Note{{Text: "knew Babbage"}}}, by("c2"))
	if again.Created || again.Entity.ID != r.Entity.ID || again.Entity.Type != "person" {
		s.Errorf("Remember again = %+v", again)
	}
	e, err := s.Entity(s.ctx, all(), r.Entity.ID, memory.AsOf{})
	if err != nil || len(e.Observations) != 3 {
		s.Fatalf("Entity = %+v, %v", e, err)
	}
	o := e.Observations[2]
	s.want("provenance", o.Provenance, by("c2"))
	if o.Text != "knew Babbage" || o.EntityID != e.ID || o.Confidence != 1 || !o.Known.From.Equal(s.Now()) || !o.Known.To.IsZero() || o.ID != again.Observations[0].ID {
		s.Errorf("observation = %+v", o)
	}
	if !e.UpdatedAt.Equal(s.Now()) || !e.CreatedAt.Before(e.UpdatedAt) {
		s.Errorf("entity from %v to %v", e.CreatedAt, e.UpdatedAt)
	}
	if o.ID <= e.Observations[1].ID || caxton.MemoryID(e.Observations[0].ID) <= caxton.MemoryID(e.ID) {
		s.Errorf("IDs do not ascend: %v", e)
	}
	_, err = s.Remember(s.ctx, all(), []memory.Memo{{Scope: global(), Name: "Ada Lovelace", CreateOnly: true}}, by("c"))
	s.wantKind("create only", err, caxton.Conflict)
	_, err = s.Remember(s.ctx, all(), []memory.Memo{{Scope: global(), Name: "Nobody", ExistingOnly: true}}, by("c"))
	s.wantKind("existing only", err, caxton.NotFound)
	_, err = s.Remember(s.ctx, all(), []memory.Memo{{Scope: global(), Name: "Ada Lovelace", Type: "town"}}, by("c"))
	s.wantKind("another type", err, caxton.Conflict)
	thing := s.remember(memory.Memo{Name: "Engine"}, by("c"))
	s.want("type of what has none", thing.Entity.Type, "thing")
	s.want("type later", s.remember(memory.Memo{Name: "Engine", Type: "machine"}, by("c")).Entity.Type, "machine")
}

func duplicates(s *suite) {
	first := s.note("Bo", "likes tea")
	second := s.note("Bo", "  Likes   TEA ")
	if n := second.Observations[0]; !n.Duplicate || n.ID != first.Observations[0].ID {
		s.Errorf("said twice: %+v, want a duplicate of %v", n, first.Observations[0].ID)
	}
	both := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "has a cat"}, {Text: "has a cat"}}}, by("c"))
	if !both.Observations[1].Duplicate || both.Observations[1].ID != both.Observations[0].ID {
		s.Errorf("twice in one call: %+v", both.Observations)
	}
	s.want("texts", s.texts(first.Entity.ID, memory.AsOf{}), []string{"likes tea", "has a cat"})
	if other := s.note("Cy", "likes tea"); other.Observations[0].Duplicate {
		s.Error("the same text of another entity is no duplicate")
	}
	if _, err := s.Forget(s.ctx, all(), memory.Forgetting{Observations: []caxton.ObservationID{first.Observations[0].ID}}); err != nil {
		s.Fatal(err)
	}
	if anew := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "likes tea"}}}, by("later")); anew.Observations[0].Duplicate {
		s.Error("what was forgotten can be said anew")
	}
}

// A tool whose outcome was lost is run again, for the same message, and others may have been at work meanwhile.
func repeatsItself(s *suite) {
	at := func(message string) caxton.Provenance {
		return caxton.Provenance{ConversationID: "c", MessageID: caxton.MessageID(message), AgentID: "a", Tool: "memory_store"}
	}
	say := func(name, text, message string) caxton.ObservationID {
		s.Helper()
		return s.remember(memory.Memo{Name: name, Notes: []memory.Note{{Text: text, Key: "address"}}}, at(message)).Observations[0].ID
	}
	rome := say("Bo", "lives in Rome", "m1")
	say("Bo", "lives in Oslo", "m2")
	again := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Rome", Key: "address"}}}, at("m1"))
	s.want("superseded meanwhile", again.Observations, []memory.Noted{{ID: rome, Duplicate: true}})
	s.want("superseded meanwhile", s.texts(again.Entity.ID, memory.AsOf{}), []string{"lives in Oslo"})
	say("Bo", "lives in Rome", "m3")
	s.want("said with another message", s.texts(again.Entity.ID, memory.AsOf{}), []string{"lives in Rome"})

	poison := say("Mo", "lives in Bonn", "m1")
	if _, err := s.Revert(s.ctx, all(), memory.Reversal{Observations: []caxton.ObservationID{poison}, Actor: "operator"}); err != nil {
		s.Fatal(err)
	}
	again = s.remember(memory.Memo{Name: "Mo", Notes: []memory.Note{{Text: "lives in Bonn", Key: "address"}}}, at("m1"))
	s.want("reverted meanwhile", again.Observations, []memory.Noted{{ID: poison, Duplicate: true}})
	s.want("reverted meanwhile", s.texts(again.Entity.ID, memory.AsOf{}), []string{})

	say("Jo", "lives in Lyon", "m1")
	say("Jo", "lives in Nice", "m1")
	say("Jo", "lives in Lyon", "m1")
	jo, err := s.Named(s.ctx, all(), "Jo", memory.AsOf{})
	if err != nil || len(jo) != 1 {
		s.Fatal(jo, err)
	}
	s.want("who takes back what he said himself", s.texts(jo[0].ID, memory.AsOf{}), []string{"lives in Lyon"})
}

func keys(s *suite) {
	day := func(n int) time.Time { return time.Date(2020, 1, n, 0, 0, 0, 0, time.UTC) }
	a := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Rome", Key: "address", Valid: caxton.Span{From: day(1)}}}}, by("c1"))
	id, t1 := a.Entity.ID, s.Now()
	b := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Oslo", Key: "address", Valid: caxton.Span{From: day(10)}}}}, by("c2"))
	s.want("superseded", b.Observations[0].Superseded, []caxton.ObservationID{a.Observations[0].ID})
	rome, oslo := []string{"lives in Rome"}, []string{"lives in Oslo"}
	s.want("now", s.texts(id, memory.AsOf{}), oslo)
	s.want("true before", s.texts(id, memory.AsOf{Valid: day(9)}), rome)
	s.want("true from", s.texts(id, memory.AsOf{Valid: day(10)}), oslo)
	s.want("true since ever", s.texts(id, memory.AsOf{Valid: day(1).Add(-1)}), []string{})
	s.want("known before", s.texts(id, memory.AsOf{Known: t1}), rome)
	e, err := s.Entity(s.ctx, all(), id, memory.AsOf{Known: t1})
	if err != nil || !e.Observations[0].Valid.To.IsZero() || e.Observations[0].SupersededBy != 0 {
		s.Errorf("known before: %+v, %v; want an open span", e.Observations, err)
	}
	e, err = s.Entity(s.ctx, all(), id, memory.AsOf{Valid: day(9)})
	if err != nil || !e.Observations[0].Valid.To.Equal(day(10)) || e.Observations[0].SupersededBy != b.Observations[0].ID {
		s.Errorf("true before: %+v, %v; want a span that ends with the next", e.Observations, err)
	}
	// Without a beginning it holds from when it is known.
	s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Bonn", Key: "address"}}}, by("c3"))
	s.want("moved", s.texts(id, memory.AsOf{}), []string{"lives in Bonn"})
	s.want("before the move", s.texts(id, memory.AsOf{Valid: s.Now().Add(-1)}), oslo)
	s.note("Bo", "no key")
	s.want("another without a key", s.texts(id, memory.AsOf{}), []string{"lives in Bonn", "no key"})
}

// What has run out since it was said is as what had run out before: a newer fact of its key takes the place of
// nothing, and is true since ever.
func runsOut(s *suite) {
	for _, late := range []time.Duration{0, 10 * time.Minute} {
		name := fmt.Sprint("Bo ", late)
		end := s.Now().Add(late)
		first := s.remember(memory.Memo{Name: name, Notes: []memory.Note{{Text: "is in Rome", Key: "place", Valid: caxton.Span{To: end}}}}, by("c"))
		for !s.Now().After(end) {
			s.Tick()
		}
		second := s.remember(memory.Memo{Name: name, Notes: []memory.Note{{Text: "is in Oslo", Key: "place"}}}, by("c"))
		s.want(name+" superseded", len(second.Observations[0].Superseded), 0)
		s.want(name+" before the end", s.texts(first.Entity.ID, memory.AsOf{Valid: end.Add(-time.Minute)}), []string{"is in Oslo"})
	}
}

func corrections(s *suite) {
	a := s.note("Bo", "was born in 1981")
	id := a.Entity.ID
	t1 := s.Now()
	b := s.remember(memory.Memo{ID: id, Notes: []memory.Note{{Text: "was born in 1918", Replaces: a.Observations[0].ID}}}, by("c"))
	s.want("superseded", b.Observations[0].Superseded, []caxton.ObservationID{a.Observations[0].ID})
	s.want("now", s.texts(id, memory.AsOf{}), []string{"was born in 1918"})
	s.want("at any time", s.texts(id, memory.AsOf{Valid: t1.AddDate(-50, 0, 0)}), []string{"was born in 1918"})
	s.want("known before", s.texts(id, memory.AsOf{Known: t1}), []string{"was born in 1981"})
	_, err := s.Remember(s.ctx, all(), []memory.Memo{{ID: id, Notes: []memory.Note{{Text: "x", Replaces: a.Observations[0].ID}}}}, by("c"))
	s.wantKind("what is past cannot be replaced", err, caxton.Conflict)
	_, err = s.Remember(s.ctx, all(), []memory.Memo{{ID: id, Notes: []memory.Note{{Text: "x", Replaces: 77}}}}, by("c"))
	s.wantKind("what is not there cannot be replaced", err, caxton.NotFound)
}

func future(s *suite) {
	now := s.Now()
	a := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "works at A", Key: "job"}}}, by("c"))
	next := now.AddDate(0, 1, 0)
	s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "works at B", Key: "job", Valid: caxton.Span{From: next}}}}, by("c"))
	id := a.Entity.ID
	s.want("now", s.texts(id, memory.AsOf{}), []string{"works at A"})
	s.want("then", s.texts(id, memory.AsOf{Valid: next}), []string{"works at B"})
	s.T = next
	s.want("when the time has come", s.texts(id, memory.AsOf{}), []string{"works at B"})
	// For a while.
	from, to := next.AddDate(0, 1, 0), next.AddDate(0, 2, 0)
	s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "is on leave", Key: "job", Valid: caxton.Span{From: from, To: to}}}}, by("c"))
	s.T = from
	s.want("during", s.texts(id, memory.AsOf{}), []string{"is on leave"})
	s.T = to
	s.want("after", s.texts(id, memory.AsOf{}), []string{"works at B"})
}

func outOfOrder(s *suite) {
	y := func(n int) time.Time { return time.Date(n, 1, 1, 0, 0, 0, 0, time.UTC) }
	a := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Oslo", Key: "address", Valid: caxton.Span{From: y(2020)}, Known: caxton.Span{From: y(2020)}}}}, by("import"))
	id := a.Entity.ID
	r := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lived in Rome", Key: "address", Valid: caxton.Span{From: y(2010), To: y(2012)}}}}, by("c"))
	if len(r.Observations[0].Superseded) != 0 {
		s.Errorf("another time is no contradiction: %+v", r.Observations)
	}
	s.want("now", s.texts(id, memory.AsOf{}), []string{"lives in Oslo"})
	s.want("2011", s.texts(id, memory.AsOf{Valid: y(2011)}), []string{"lived in Rome"})
	s.want("2015", s.texts(id, memory.AsOf{Valid: y(2015)}), []string{})
	// What was known before goes behind what came later.
	s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Bern", Key: "address", Valid: caxton.Span{From: y(2018)}, Known: caxton.Span{From: y(2018)}}}}, by("import"))
	s.want("now, with older news", s.texts(id, memory.AsOf{}), []string{"lives in Oslo"})
	s.want("2019", s.texts(id, memory.AsOf{Valid: y(2019)}), []string{"lives in Bern"})
	_, err := s.Remember(s.ctx, all(), []memory.Memo{{Scope: global(), Name: "Bo", Notes: []memory.Note{{Text: "x", Known: caxton.Span{From: s.Now().Add(time.Hour)}}}}}, by("c"))
	s.wantKind("known in the future", err, caxton.Invalid)
}

func forgets(s *suite) {
	r := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "likes tea"}, {Text: "lives in Rome", Key: "address"}}}, by("c"))
	id := r.Entity.ID
	s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Oslo", Key: "address"}}}, by("c"))
	t1 := s.Tick()
	e, _ := s.Entity(s.ctx, all(), id, memory.AsOf{})
	s.Tick()
	c, err := s.Forget(s.ctx, all(), memory.Forgetting{Observations: []caxton.ObservationID{e.Observations[1].ID}, By: by("f")})
	if err != nil || !slices.Equal(c.Observations, []caxton.ObservationID{e.Observations[1].ID}) {
		s.Errorf("Forget = %+v, %v", c, err)
	}
	s.want("after", s.texts(id, memory.AsOf{}), []string{"likes tea"})
	s.want("before", s.texts(id, memory.AsOf{Known: t1}), []string{"likes tea", "lives in Oslo"})
	_, err = s.Forget(s.ctx, all(), memory.Forgetting{Observations: []caxton.ObservationID{e.Observations[1].ID}})
	s.wantKind("forgotten twice", err, caxton.NotFound)
	t2 := s.Tick()
	s.Tick()
	c, err = s.Forget(s.ctx, all(), memory.Forgetting{Entities: []caxton.EntityID{id}, By: by("f")})
	if err != nil || !slices.Equal(c.Entities, []caxton.EntityID{id}) || len(c.Observations) != 1 {
		s.Errorf("Forget = %+v, %v", c, err)
	}
	_, err = s.Entity(s.ctx, all(), id, memory.AsOf{})
	s.wantKind("a forgotten entity", err, caxton.NotFound)
	s.want("as it was known", s.texts(id, memory.AsOf{Known: t2}), []string{"likes tea"})
	anew := s.note("Bo", "is another one")
	if !anew.Created || anew.Entity.ID == id {
		s.Errorf("after forgetting: %+v", anew)
	}
}

func reverts(s *suite) {
	a := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Rome", Key: "address"}}}, by("good"))
	id := a.Entity.ID
	bad := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives on the moon", Key: "address"}, {Text: "is made of cheese"}}}, by("bad"))
	s.remember(memory.Memo{Name: "Cy", Notes: []memory.Note{{Text: "is a spy"}}}, by("bad"))
	t1 := s.Now()
	s.Tick()
	dry, err := s.Revert(s.ctx, all(), memory.Reversal{ConversationID: "bad", DryRun: true, Actor: "me"})
	if err != nil {
		s.Fatal(err)
	}
	s.want("after a dry run", s.texts(id, memory.AsOf{}), []string{"lives on the moon", "is made of cheese"})
	c, err := s.Revert(s.ctx, all(), memory.Reversal{ConversationID: "bad", Reason: "injected", Actor: "me"})
	if err != nil {
		s.Fatal(err)
	}
	s.want("dry run", dry, c)
	if len(c.Observations) != 3 || !slices.Equal(c.Restored, []caxton.ObservationID{a.Observations[0].ID}) || len(c.Entities) != 0 {
		s.Errorf("Revert = %+v", c)
	}
	s.want("after", s.texts(id, memory.AsOf{}), []string{"lives in Rome"})
	s.want("known before", s.texts(id, memory.AsOf{Known: t1}), []string{"lives on the moon", "is made of cheese"})
	changes, err := s.History(s.ctx, all(), id)
	if err != nil {
		s.Fatal(err)
	}
	i := slices.IndexFunc(changes, func(c memory.Change) bool {
		return c.Kind == memory.Reverted && c.Observation != nil && c.Observation.ID == bad.Observations[0].ID
	})
	if i < 0 || changes[i].Observation.RevertedBy != "me" {
		s.Errorf("history does not tell of the reversal: %+v", changes)
	}
	_, err = s.Revert(s.ctx, all(), memory.Reversal{Actor: "me"})
	s.wantKind("everything", err, caxton.Invalid)
	c, err = s.Revert(s.ctx, all(), memory.Reversal{ConversationID: "bad", Actor: "me"})
	if err != nil || len(c.Observations) != 0 {
		s.Errorf("reverted twice: %+v, %v", c, err)
	}
}

func revertsRepeated(s *suite) {
	r := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "likes tea"}}}, by("bad"))
	d := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "likes tea"}}}, by("good"))
	if !d.Observations[0].Duplicate {
		s.Errorf("%+v is a duplicate", d)
	}
	s.want("before", s.texts(r.Entity.ID, memory.AsOf{}), []string{"likes tea"})
	s.Tick()
	if _, err := s.Revert(s.ctx, all(), memory.Reversal{ConversationID: "bad"}); err != nil {
		s.Fatal(err)
	}
	e, err := s.Entity(s.ctx, all(), r.Entity.ID, memory.AsOf{})
	if err != nil || len(e.Observations) != 1 || e.Observations[0].Provenance.ConversationID != "good" {
		s.Errorf("after: %+v, %v", e.Observations, err)
	}
	s.Tick()
	if _, err := s.Revert(s.ctx, all(), memory.Reversal{ConversationID: "good"}); err != nil {
		s.Fatal(err)
	}
	s.want("after both", s.texts(r.Entity.ID, memory.AsOf{}), []string{})
}

func limits(s *suite) {
	long := func(n int) string { return strings.Repeat("x", n) }
	neg, over := -0.1, 1.1
	day := s.Now()
	tests := []struct {
		name string
		memo memory.Memo
		want caxton.Kind
	}{
		{"name", memory.Memo{Name: long(caxton.MaxEntityName)}, ""},
		{"long name", memory.Memo{Name: long(caxton.MaxEntityName + 1)}, caxton.TooLarge},
		{"no name", memory.Memo{Name: "  "}, caxton.Invalid},
		{"long type", memory.Memo{Name: "a", Type: long(caxton.MaxEntityType + 1)}, caxton.TooLarge},
		{"not UTF-8", memory.Memo{Name: "a\xff"}, caxton.Invalid},
		{"NUL", memory.Memo{Name: "a", Notes: []memory.Note{{Text: "a\x00b"}}}, caxton.Invalid},
		{"importance", memory.Memo{Name: "a", Importance: &over}, caxton.Invalid},
		{"confidence", memory.Memo{Name: "a", Notes: []memory.Note{{Text: "t", Confidence: &neg}}}, caxton.Invalid},
		{"empty", memory.Memo{Name: "a", Notes: []memory.Note{{Text: " \n"}}}, caxton.Invalid},
		{"text", memory.Memo{Name: "b", Notes: []memory.Note{{Text: long(caxton.MaxObservation)}}}, ""},
		{"long text", memory.Memo{Name: "b", Notes: []memory.Note{{Text: long(caxton.MaxObservation + 1)}}}, caxton.TooLarge},
		{"long key", memory.Memo{Name: "b", Notes: []memory.Note{{Text: "t", Key: long(caxton.MaxObservationKey + 1)}}}, caxton.TooLarge},
		{"span", memory.Memo{Name: "b", Notes: []memory.Note{{Text: "t", Valid: caxton.Span{From: day, To: day}}}}, caxton.Invalid},
		{"metadata", memory.Memo{Name: "b", Metadata: []byte(`{"a":"` + long(caxton.MaxMemoryMetadata-8) + `"}`)}, ""},
		{"long metadata", memory.Memo{Name: "b", Metadata: []byte(`{"a":"` + long(caxton.MaxMemoryMetadata) + `"}`)}, caxton.TooLarge},
		{"metadata that is a list", memory.Memo{Name: "b", Metadata: []byte(`[]`)}, caxton.Invalid},
		{"metadata that is null", memory.Memo{Name: "b", Metadata: []byte(`null`)}, caxton.Invalid},
		{"link without a type", memory.Memo{Name: "b", Links: []memory.Link{{To: "a"}}}, caxton.Invalid},
		{"link to nobody", memory.Memo{Name: "b", Links: []memory.Link{{To: "nobody", Type: "knows"}}}, caxton.NotFound},
		{"scope", memory.Memo{Name: "b", Scope: caxton.Scope{Kind: caxton.AgentScope}}, caxton.Invalid},
	}
	for _, tt := range tests {
		if tt.memo.Scope == (caxton.Scope{}) {
			tt.memo.Scope = global()
		}
		_, err := s.Remember(s.ctx, all(), []memory.Memo{tt.memo}, by("c"))
		s.wantKind(tt.name, err, tt.want)
	}
	var notes []memory.Note
	for i := range 11 {
		notes = append(notes, memory.Note{Text: long(caxton.MaxObservation-1) + string(rune('a'+i))})
	}
	_, err := s.Remember(s.ctx, all(), []memory.Memo{{Scope: global(), Name: "full", Notes: notes}}, by("c"))
	s.wantKind("too much of one entity", err, caxton.TooLarge)
	_, err = s.Remember(s.ctx, all(), []memory.Memo{{Scope: global(), Name: "ok"}, {Scope: global(), Name: "no", Notes: []memory.Note{{Text: "a"}, {}}}}, by("c"))
	if err == nil || !strings.Contains(err.Error(), "memo 2: note 2: ") {
		s.Errorf("the error does not say where: %v", err)
	}
}

func atomic(s *suite) {
	_, err := s.Remember(s.ctx, all(), []memory.Memo{
		{Scope: agent("new"), Name: "one", Notes: []memory.Note{{Text: "t"}}},
		{Scope: global(), Name: "two", ExistingOnly: true},
	}, by("c"))
	s.wantKind("the second fails", err, caxton.NotFound)
	found, err := s.Named(s.ctx, all(), "one", memory.AsOf{})
	if err != nil || len(found) != 0 {
		s.Errorf("the first of two stayed: %+v, %v", found, err)
	}
	rs, err := s.Remember(s.ctx, all(), []memory.Memo{
		{Scope: agent("new"), Name: "one", Links: []memory.Link{{To: "two", Type: "before"}}},
		{Scope: global(), Name: "two"},
	}, by("c"))
	if err != nil || len(rs) != 2 || len(rs[0].Relations) != 1 || rs[0].Relations[0].To != rs[1].Entity.ID {
		s.Errorf("Remember = %+v, %v", rs, err)
	}
	if rs, err := s.Remember(s.ctx, all(), nil, by("c")); err != nil || len(rs) != 0 {
		s.Errorf("nothing: %v, %v", rs, err)
	}
}
