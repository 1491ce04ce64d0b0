package memorytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

func saidBySeveral(s *suite) {
	say := func(name, conversation string, n memory.Note) memory.Remembered {
		return s.remember(memory.Memo{Name: name, Notes: []memory.Note{n}}, by(conversation))
	}
	takeBack := func(conversation string) {
		s.Tick()
		if _, err := s.Revert(s.ctx, all(), memory.Reversal{ConversationID: caxton.ConversationID(conversation)}); err != nil {
			s.Fatal(err)
		}
	}
	tea := memory.Note{Text: "drinks tea"}

	ada := say("Ada", "c1", tea)
	say("Ada", "c2", tea)
	say("Ada", "c3", tea)
	takeBack("c1")
	s.want("one who said it first was wrong", s.texts(ada.Entity.ID, memory.AsOf{}), []string{"drinks tea"})
	say("Ada", "c4", tea)
	takeBack("c2")
	takeBack("c3")
	s.want("the last who said it", s.texts(ada.Entity.ID, memory.AsOf{}), []string{"drinks tea"})
	takeBack("c4")
	s.want("nobody", s.texts(ada.Entity.ID, memory.AsOf{}), []string{})

	eve := say("Eve", "d1", tea)
	say("Eve", "d2", tea)
	say("Eve", "d3", tea)
	takeBack("d1")
	e, err := s.Entity(s.ctx, all(), eve.Entity.ID, memory.AsOf{})
	if err != nil || len(e.Observations) != 1 {
		s.Fatalf("Entity = %+v, %v", e, err)
	}
	if _, err := s.Forget(s.ctx, all(), memory.Forgetting{Observations: []caxton.ObservationID{e.Observations[0].ID}}); err != nil {
		s.Fatal(err)
	}
	s.want("forgotten, whoever said it", s.texts(eve.Entity.ID, memory.AsOf{}), []string{})

	bob := say("Bob", "e1", tea)
	say("Bob", "e2", tea)
	say("Bob", "e3", memory.Note{Text: "drinks coffee", Key: "drink", Replaces: bob.Observations[0].ID})
	takeBack("e1")
	s.want("replaced, whoever said it", s.texts(bob.Entity.ID, memory.AsOf{}), []string{"drinks coffee"})
	takeBack("e3")
	s.want("what replaced it is taken back", s.texts(bob.Entity.ID, memory.AsOf{}), []string{"drinks tea"})
}

func hiddenByClock(s *suite) {
	rome := s.remember(memory.Memo{Name: "Ada", Notes: []memory.Note{{Text: "Rome", Key: "city"}}}, by("c1"))
	oslo := s.remember(memory.Memo{Name: "Ada", Notes: []memory.Note{{Text: "Oslo", Key: "city", Valid: caxton.Span{From: s.T.Add(2 * time.Minute)}}}}, by("c2"))
	s.Tick()
	if _, err := s.Forget(s.ctx, all(), memory.Forgetting{Observations: []caxton.ObservationID{oslo.Observations[0].ID}}); err != nil {
		s.Fatal(err)
	}
	s.Tick() // by now Oslo, forgotten or not, has taken the place of Rome
	s.want("forgotten", s.texts(rome.Entity.ID, memory.AsOf{}), []string{})
	lima := s.remember(memory.Memo{Name: "Ada", Notes: []memory.Note{{Text: "Lima", Key: "city"}}}, by("c3"))
	s.want("superseded", len(lima.Observations[0].Superseded), 0)
	s.want("now", s.texts(rome.Entity.ID, memory.AsOf{}), []string{"Lima"})
}

func relates(s *suite) {
	s.remember(memory.Memo{Name: "Acme", Type: "company"}, by("c"))
	strength := 0.9
	r := s.remember(memory.Memo{Name: "Bo", Links: []memory.Link{{To: "acme", Type: "works_for", Strength: &strength}}}, by("c1"))
	rel := r.Relations[0]
	if rel.FromName != "Bo" || rel.ToName != "Acme" || rel.Type != "works_for" || rel.Strength != 0.9 || rel.Confidence != 1 || rel.Scope != global() {
		s.Errorf("relation = %+v", rel)
	}
	got, _, err := s.Relations(s.ctx, all(), r.Entity.ID, memory.AsOf{}, "", 10)
	if err != nil || len(got) != 1 {
		s.Fatalf("Relations = %+v, %v", got, err)
	}
	s.want("read back", got[0], rel)
	s.want("provenance", got[0].Provenance, by("c1"))
	weak := 0.1
	again := s.remember(memory.Memo{Name: "Bo", Links: []memory.Link{{To: "Acme", Type: "works_for", Strength: &weak}, {To: "Bo", Type: "knows"}}}, by("c2"))
	if again.Relations[0].ID != rel.ID || again.Relations[0].Strength != 0.1 {
		s.Errorf("brought up to date: %+v", again.Relations[0])
	}
	got, _, err = s.Relations(s.ctx, all(), rel.To, memory.AsOf{}, "", 10)
	if err != nil || len(got) != 1 || got[0].Strength != 0.1 {
		s.Errorf("at the other end: %+v, %v", got, err)
	}
	c, err := s.Forget(s.ctx, all(), memory.Forgetting{Relations: []caxton.RelationID{rel.ID}})
	if err != nil || !slices.Equal(c.Relations, []caxton.RelationID{rel.ID}) {
		s.Errorf("Forget = %+v, %v", c, err)
	}
	got, _, _ = s.Relations(s.ctx, all(), rel.To, memory.AsOf{}, "", 10)
	s.want("after forgetting", len(got), 0)
	s.remember(memory.Memo{Name: "A", Scope: agent("a")}, by("c"))
	_, err = s.Remember(s.ctx, all(), []memory.Memo{{Scope: agent("b"), Name: "B", Links: []memory.Link{{To: "A", Type: "knows"}}}}, by("c"))
	s.wantKind("in another agent's scope", err, caxton.NotFound)
}

func relatesOverTime(s *suite) {
	a := s.remember(memory.Memo{Name: "Acme"}, by("c")).Entity
	one, two := 0.1, 0.2
	r := s.remember(memory.Memo{Name: "Bo", Links: []memory.Link{{To: "Acme", Type: "owns", Strength: &one}}}, by("good"))
	t1 := s.Now()
	s.remember(memory.Memo{Name: "Bo", Links: []memory.Link{{To: "Acme", Type: "owns", Strength: &two}}}, by("bad"))
	t2 := s.Now()
	strengths := func(at memory.AsOf) []float64 {
		s.Helper()
		got, _, err := s.Relations(s.ctx, all(), a.ID, at, "", 10)
		if err != nil {
			s.Fatal(err)
		}
		list := []float64{}
		for _, r := range got {
			list = append(list, r.Strength)
		}
		return list
	}
	s.want("known then", strengths(memory.AsOf{Known: t1}), []float64{0.1})
	s.want("known now", strengths(memory.AsOf{}), []float64{0.2})
	s.Tick()
	c, err := s.Revert(s.ctx, all(), memory.Reversal{ConversationID: "bad"})
	if err != nil || !slices.Equal(c.RestoredRelations, []caxton.RelationID{r.Relations[0].ID}) {
		s.Errorf("Revert = %+v, %v", c, err)
	}
	s.want("after the reversal", strengths(memory.AsOf{}), []float64{0.1})
	s.want("as it was", strengths(memory.AsOf{Known: t2}), []float64{0.2})
	s.Tick()
	if c, err = s.Revert(s.ctx, all(), memory.Reversal{ConversationID: "good"}); err != nil || !slices.Equal(c.Relations, []caxton.RelationID{r.Relations[0].ID}) {
		s.Errorf("Revert = %+v, %v", c, err)
	}
	s.want("after both", strengths(memory.AsOf{}), []float64{})
	y := func(n int) time.Time { return time.Date(n, 1, 1, 0, 0, 0, 0, time.UTC) }
	s.remember(memory.Memo{Name: "Bo", Links: []memory.Link{{To: "Acme", Type: "owns", Valid: caxton.Span{From: y(2010), To: y(2012)}}}}, by("c"))
	s.want("not any more", strengths(memory.AsOf{}), []float64{})
	s.want("at its time", strengths(memory.AsOf{Valid: y(2011)}), []float64{0.5})
}

func names(s *suite) {
	s.remember(memory.Memo{Name: "Straße"}, by("c"))
	s.remember(memory.Memo{Name: "STRASSE", Scope: agent("a")}, by("c"))
	s.remember(memory.Memo{Name: "strasse"}, by("c"))
	got, err := s.Named(s.ctx, all(), "strASSE", memory.AsOf{})
	if err != nil {
		s.Fatal(err)
	}
	list := []string{}
	for _, e := range got {
		list = append(list, e.Scope.String()+" "+e.Name)
	}
	s.want("narrowest first", list, []string{"agent:a STRASSE", "global Straße", "global strasse"})
	composed := s.remember(memory.Memo{Name: "Jos\u00e9"}, by("c"))
	if r := s.remember(memory.Memo{Name: "Jose\u0301"}, by("c")); r.Created || r.Entity.ID != composed.Entity.ID {
		s.Errorf("the same name in other code points: %+v", r)
	}
}

func versions(s *suite) {
	low, high := 0.1, 0.9
	a := s.remember(memory.Memo{Name: "Bo", Type: "person", Importance: &low, Metadata: []byte(`{ "a": 1 }`)}, by("c1"))
	t1 := s.Now()
	b := s.remember(memory.Memo{Name: "Bo", Importance: &high, Metadata: []byte(`{"a":2}`)}, by("c2"))
	if b.Entity.Version != 2 || b.Entity.Importance != 0.9 || string(b.Entity.Metadata) != `{"a":2}` {
		s.Errorf("changed: %+v", b.Entity)
	}
	if c := s.remember(memory.Memo{Name: "Bo", Importance: &high}, by("c3")); c.Entity.Version != 2 {
		s.Errorf("not changed: %+v", c.Entity)
	}
	e, err := s.Entity(s.ctx, all(), a.Entity.ID, memory.AsOf{Known: t1})
	if err != nil || e.Version != 1 || e.Importance != 0.1 || string(e.Metadata) != `{"a":1}` {
		s.Errorf("as it was: %+v, %v", e, err)
	}
	if _, err := s.Entity(s.ctx, all(), a.Entity.ID, memory.AsOf{Known: t1.Add(-time.Second)}); caxton.KindOf(err) != caxton.NotFound {
		s.Errorf("before it was: %v", err)
	}
}

// found returns the names of what a query matches, best first.
func (s *suite) found(query string, f memory.Filter) []string {
	s.Helper()
	hits, err := s.Match(s.ctx, all(), query, f, 10)
	if err != nil {
		s.Fatalf("Match(%q): %v", query, err)
	}
	ids := []caxton.MemoryID{}
	for i, h := range hits {
		ids = append(ids, h.ID)
		if i > 0 && h.Score > hits[i-1].Score {
			s.Errorf("Match(%q) is not in order: %+v", query, hits)
		}
	}
	es, err := s.Hits(s.ctx, all(), ids, f)
	if err != nil || len(es) != len(ids) {
		s.Fatalf("Hits(%v) = %+v, %v", ids, es, err)
	}
	list := []string{}
	for i, e := range es {
		if e.ID != hits[i].EntityID {
			s.Errorf("Match says %v, Hits %v", hits[i].EntityID, e.ID)
		}
		text := e.Name
		if len(e.Observations) > 0 {
			text += ": " + e.Observations[0].Text
		}
		list = append(list, text)
	}
	return list
}

func matches(s *suite) {
	s.note("Bo", "likes green tea from Kyoto")
	s.note("Cy", "drinks coffee and only coffee, never tea, whatever the weather may be like out there")
	s.note("Di", "climbs mountains")
	s.remember(memory.Memo{Name: "Tea House", Type: "place"}, by("c"))
	s.want("one word", s.found("coffee", memory.Filter{}), []string{"Cy: drinks coffee and only coffee, never tea, whatever the weather may be like out there"})
	s.want("stems and accents", s.found("CLIMBING móuntain", memory.Filter{}), []string{"Di: climbs mountains"})
	s.want("short before long", s.found("tea", memory.Filter{}), []string{"Tea House", "Bo: likes green tea from Kyoto", "Cy: drinks coffee and only coffee, never tea, whatever the weather may be like out there"})
	s.want("rare before frequent", s.found("what tea does Kyoto have?", memory.Filter{})[0], "Bo: likes green tea from Kyoto")
	s.want("nothing", s.found("zebra", memory.Filter{}), []string{})
	s.want("by its name", s.found("Di", memory.Filter{}), []string{"Di: climbs mountains"})
	t1 := s.Now()
	s.note("Tea House", "closes at nine")
	s.want("a name counts as part of what is known", s.found("tea house", memory.Filter{})[0], "Tea House: closes at nine")
	hits, _ := s.Match(s.ctx, all(), "kyoto", memory.Filter{}, 10)
	s.Tick()
	if _, err := s.Forget(s.ctx, all(), memory.Forgetting{Observations: []caxton.ObservationID{caxton.ObservationID(hits[0].ID)}}); err != nil {
		s.Fatal(err)
	}
	s.want("forgotten", s.found("kyoto", memory.Filter{}), []string{})
	past := memory.AsOf{Known: t1}
	s.want("as of before", s.found("kyoto", memory.Filter{AsOf: &past}), []string{"Bo: likes green tea from Kyoto"})
	s.want("its name instead", s.found("bo", memory.Filter{}), []string{"Bo"})
	was, err := s.Match(s.ctx, all(), "kyoto", memory.Filter{AsOf: &past}, 10)
	if err != nil || len(was) != 1 || !was[0].Group.Past() || was[0].Group&^1 != hits[0].Group {
		s.Errorf("groups: %+v, then %+v, %v", hits, was, err)
	}
	s.note("東京", "首都は東京です")
	s.want("without spaces", s.found("東京", memory.Filter{}), []string{"東京: 首都は東京です"})
}

func matchesRoughly(s *suite) {
	bo := s.note("Bo", "likes green tea from Kyoto")
	cy := s.note("Cy", "drinks tea and coffee")
	s.note("Di", "climbs mountains")
	rough := func(query string, limit int) (ids []caxton.MemoryID) {
		s.Helper()
		found, err := s.MatchRoughly(s.ctx, all(), query, limit)
		if err != nil {
			s.Fatal(err)
		}
		for i, m := range found {
			ids = append(ids, m.ID)
			if m.Score <= 0 || i > 0 && m.Score > found[i-1].Score {
				s.Errorf("MatchRoughly(%q) is not in order: %+v", query, found)
			}
		}
		return ids
	}
	b, c := caxton.MemoryID(bo.Observations[0].ID), caxton.MemoryID(cy.Observations[0].ID)
	s.want("more words first", rough("tea from Kyoto", 10), []caxton.MemoryID{b, c})
	s.want("newer first", rough("tea", 10), []caxton.MemoryID{c, b})
	s.want("a limit", rough("tea", 1), []caxton.MemoryID{c})
	s.want("nothing", rough("zebra", 10), []caxton.MemoryID(nil))
	d := caxton.MemoryID(s.note("Ed", "hates tea").Observations[0].ID)
	s.want("what came since", rough("tea", 10), []caxton.MemoryID{d, c, b})
	found, err := s.MatchRoughly(s.ctx, memory.Access{}, "tea", 10)
	if err != nil || len(found) != 0 {
		s.Errorf("without access: %+v, %v", found, err)
	}
}

func aboutNames(s *suite) {
	alice := s.remember(memory.Memo{Name: "Alice Smith", Type: "person", Notes: []memory.Note{{Text: "lives in Rome"}}}, by("c"))
	said := s.remember(memory.Memo{Name: "turn 1", Type: caxton.EpisodeType, Notes: []memory.Note{{Text: "José: I met Alice: she is well"}}}, by("c"))
	tower := s.remember(memory.Memo{Name: "Water Tower", Type: "place"}, by("c"))
	hidden := s.remember(memory.Memo{Name: "Zoe", Type: "person", Scope: agent("a")}, by("c"))
	words := []string{"alice", "smith", "rome", "jose", "zoe", "tower", "turn", "met", "東", "she"}
	names := func(a memory.Access) []memory.Name {
		s.Helper()
		got, err := s.Names(s.ctx, a, words)
		if err != nil {
			s.Fatal(err)
		}
		return got
	}
	global := memory.Access{Scopes: []caxton.Scope{global()}}
	s.want("names", names(global), []memory.Name{{Word: "alice", Person: true}, {Word: "smith", Person: true}, {Word: "jose", Person: true}, {Word: "tower"}})
	s.want("names of another scope", len(names(all())), 5)
	s.want("names without access", len(names(memory.Access{})), 0)

	about, err := s.About(s.ctx, global, []string{"alice", "tower"}, 10)
	if err != nil {
		s.Fatal(err)
	}
	at := map[caxton.MemoryID]memory.Aboutness{}
	for _, m := range about {
		at[m.ID] = m
	}
	hers, his := caxton.MemoryID(alice.Observations[0].ID), caxton.MemoryID(said.Observations[0].ID)
	if at[hers].Subject != 1 || at[his].Subject != 0 || at[his].Text != 1 || at[caxton.MemoryID(tower.Entity.ID)].Subject != 2 || len(about) != 3 {
		s.Errorf("About = %+v", about)
	}
	if _, err := s.About(s.ctx, all(), make([]string, 65), 10); caxton.KindOf(err) != caxton.Invalid {
		s.Errorf("About 65 words: %v", err)
	}
	s.Tick()
	if _, err := s.Forget(s.ctx, all(), memory.Forgetting{Entities: []caxton.EntityID{hidden.Entity.ID}}); err != nil {
		s.Fatal(err)
	}

	hits, err := s.Match(s.ctx, all(), "rome alice", memory.Filter{}, 10)
	if err != nil || len(hits) != 2 {
		s.Fatalf("Match = %+v, %v", hits, err)
	}
	es, err := s.Hits(s.ctx, all(), []caxton.MemoryID{hits[0].ID, hits[1].ID, caxton.MemoryID(tower.Entity.ID)}, memory.Filter{})
	if err != nil {
		s.Fatal(err)
	}
	scores, err := s.Weigh(s.ctx, all(), "rome alice", es)
	if err != nil || len(scores) != 3 {
		s.Fatalf("Weigh = %v, %v", scores, err)
	}
	s.want("weighed as matched", []float64{scores[0], scores[1], scores[2]}, []float64{hits[0].Score, hits[1].Score, 0})
}

func matchesOddText(s *suite) {
	s.note("Bo", "asked: is 5 > 3 AND NOT (4 OR 2)?")
	for _, q := range []string{
		"", " ", `"`, `""`, `'`, "*", "a*", "AND", "OR", "NOT", "NEAR(a b)", "words:a", "{words}:a", "(", "))", "^a", "-", "a - b", "a + b",
		"\x00", "a\x00b", "\xff\xfe", "'; DROP TABLE entities; --", "%", "\uE0001", "\U000F0000", "é", strings.Repeat("a ", 20_000), strings.Repeat("x", 40_000),
		strings.Repeat("word ", 1000) + "asked", "the of and", "\u0301", "日本語", "🙂",
	} {
		if _, err := s.Match(s.ctx, all(), q, memory.Filter{}, 10); err != nil {
			s.Errorf("Match(%.40q): %v", q, err)
		}
	}
	s.want("operators are words", len(s.found("asked AND zebra", memory.Filter{})), 1)
	s.want("only words without meaning", len(s.found("is not", memory.Filter{})), 1)
	var many strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&many, "word%d ", i)
	}
	s.want("a very long question", len(s.found("asked "+many.String(), memory.Filter{})), 1)
}

func filters(s *suite) {
	low, high := 0.2, 0.9
	y := func(n int) time.Time { return time.Date(n, 1, 1, 0, 0, 0, 0, time.UTC) }
	s.remember(memory.Memo{Name: "Bo", Type: "person", Importance: &low, Metadata: []byte(`{"team":"red","level":3,"on":true}`), Notes: []memory.Note{{Text: "common fact", Valid: caxton.Span{From: y(2010), To: y(2030)}}}}, by("c1"))
	s.remember(memory.Memo{Name: "Acme", Type: "company", Importance: &high, Notes: []memory.Note{{Text: "common fact", Valid: caxton.Span{From: y(2020)}}}}, caxton.Provenance{ConversationID: "c2", AgentID: "other"})
	s.remember(memory.Memo{Name: "Blank", Type: "thing"}, by("c3"))
	tests := []struct {
		name string
		f    memory.Filter
		want []string
	}{
		{"type", memory.Filter{Types: []string{"person", "town"}}, []string{"Bo"}},
		{"name", memory.Filter{Name: "ACME"}, []string{"Acme"}},
		{"metadata", memory.Filter{Metadata: map[string]string{"team": "red", "level": "3", "on": "true"}}, []string{"Bo"}},
		{"other metadata", memory.Filter{Metadata: map[string]string{"team": "blue"}}, []string{}},
		{"importance", memory.Filter{MinImportance: 0.9}, []string{"Acme"}},
		{"conversation", memory.Filter{ConversationID: "c2"}, []string{"Acme"}},
		{"agent", memory.Filter{AgentID: "writer"}, []string{"Bo"}},
		{"until", memory.Filter{Until: y(2015)}, []string{"Bo"}},
		{"since", memory.Filter{Since: y(2031)}, []string{"Acme"}},
		{"valid", memory.Filter{AsOf: &memory.AsOf{Valid: y(2015)}, Types: []string{"person"}}, []string{"Bo"}},
	}
	for _, tt := range tests {
		got := []string{}
		hits, err := s.Match(s.ctx, all(), "common fact", tt.f, 10)
		if err != nil {
			s.Errorf("%s: %v", tt.name, err)
		}
		for _, h := range hits {
			es, err := s.Hits(s.ctx, all(), []caxton.MemoryID{h.ID}, tt.f)
			if err != nil || len(es) != 1 {
				s.Errorf("%s: Hits = %+v, %v", tt.name, es, err)
				continue
			}
			got = append(got, es[0].Name)
		}
		s.want("Match by "+tt.name, got, tt.want)
		page, _, err := s.Entities(s.ctx, all(), tt.f, "", 10)
		if err != nil {
			s.Errorf("%s: %v", tt.name, err)
		}
		got = []string{}
		for _, e := range page {
			got = append(got, e.Name)
		}
		if tt.name != "valid" {
			s.want("Entities by "+tt.name, got, tt.want)
		}
	}
}

func pages(s *suite) {
	var links []memory.Link
	for i := range 25 {
		s.remember(memory.Memo{Name: fmt.Sprintf("e%02d", i), Scope: []caxton.Scope{global(), agent("a"), workspace("w")}[i%3]}, by("c"))
		links = append(links, memory.Link{To: fmt.Sprintf("e%02d", i), Type: "has"})
	}
	s.note("e03", "was updated after the others")
	s.remember(memory.Memo{Name: "hub", Scope: agent("a"), Links: links}, by("c"))
	var list []string
	cursor := ""
	for range 20 {
		page, next, err := s.Entities(s.ctx, all(), memory.Filter{}, cursor, 4)
		if err != nil {
			s.Fatal(err)
		}
		for _, e := range page {
			list = append(list, e.Name)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if len(list) != 26 || list[0] != "hub" {
		s.Errorf("Entities by pages = %v", list)
	}
	slices.Sort(list)
	s.want("each once", len(slices.Compact(list)), 26)
	n := 0
	for cursor = ""; ; {
		page, next, err := s.Relations(s.ctx, all(), 0, memory.AsOf{}, cursor, 4)
		if err != nil {
			s.Fatal(err)
		}
		n += len(page)
		if cursor = next; cursor == "" {
			break
		}
	}
	s.want("relations by pages", n, 25)
	_, _, err := s.Entities(s.ctx, all(), memory.Filter{}, "?", 4)
	s.wantKind("cursor", err, caxton.Invalid)
}

func history(s *suite) {
	high := 0.9
	a := s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Rome", Key: "address"}}}, by("c1"))
	s.remember(memory.Memo{Name: "Bo", Type: "person", Importance: &high}, by("c2"))
	s.remember(memory.Memo{Name: "Bo", Notes: []memory.Note{{Text: "lives in Oslo", Key: "address"}}}, by("c3"))
	s.remember(memory.Memo{Name: "Acme", Links: []memory.Link{{To: "Bo", Type: "employs"}}}, by("c4"))
	s.Tick()
	if _, err := s.Revert(s.ctx, all(), memory.Reversal{ConversationID: "c3", Actor: "me", Reason: "a joke"}); err != nil {
		s.Fatal(err)
	}
	s.Tick()
	if _, err := s.Forget(s.ctx, all(), memory.Forgetting{Entities: []caxton.EntityID{a.Entity.ID}, By: by("c5")}); err != nil {
		s.Fatal(err)
	}
	changes, err := s.History(s.ctx, all(), a.Entity.ID)
	if err != nil {
		s.Fatal(err)
	}
	list := []string{}
	for i, c := range changes {
		text := string(c.Kind)
		if c.Observation != nil {
			text += " " + c.Observation.Text
		}
		if c.Relation != nil {
			text += " " + c.Relation.Type
		}
		if c.Detail != "" {
			text += " (" + c.Detail + ")"
		}
		list = append(list, text)
		if i > 0 && c.At.Before(changes[i-1].At) {
			s.Errorf("not in order: %+v", changes)
		}
	}
	s.want("history", list, []string{
		"created", "observed lives in Rome", "updated (type thing → person, importance 0.5 → 0.9)", "observed lives in Oslo",
		"superseded lives in Rome", "related employs", "reverted lives in Oslo (a joke)", "restored lives in Rome", "unrelated employs", "forgotten",
	})
	s.want("who", changes[3].Provenance, by("c3"))
}

func access(s *suite) {
	mine := memory.Access{Scopes: []caxton.Scope{agent("a"), workspace("w"), global()}}
	_, err := s.Remember(s.ctx, mine, []memory.Memo{{Scope: agent("b"), Name: "x"}}, by("c"))
	s.wantKind("writing elsewhere", err, caxton.Forbidden)
	b := s.remember(memory.Memo{Scope: agent("b"), Name: "secret", Notes: []memory.Note{{Text: "hidden treasure"}}}, by("c"))
	_, err = s.Entity(s.ctx, mine, b.Entity.ID, memory.AsOf{})
	s.wantKind("reading elsewhere", err, caxton.NotFound)
	_, err = s.Remember(s.ctx, mine, []memory.Memo{{ID: b.Entity.ID, Notes: []memory.Note{{Text: "x"}}}}, by("c"))
	s.wantKind("adding elsewhere", err, caxton.NotFound)
	_, err = s.Forget(s.ctx, mine, memory.Forgetting{Observations: []caxton.ObservationID{b.Observations[0].ID}})
	s.wantKind("forgetting elsewhere", err, caxton.NotFound)
	c, err := s.Revert(s.ctx, mine, memory.Reversal{ConversationID: "c"})
	if err != nil || len(c.Observations) > 0 {
		s.Errorf("reverting elsewhere: %+v, %v", c, err)
	}
	hits, err := s.Match(s.ctx, mine, "treasure", memory.Filter{}, 10)
	if err != nil || len(hits) > 0 {
		s.Errorf("matching elsewhere: %+v, %v", hits, err)
	}
	hits, err = s.Match(s.ctx, memory.Access{}, "treasure", memory.Filter{}, 10)
	if err != nil || len(hits) > 0 {
		s.Errorf("matching nowhere: %+v, %v", hits, err)
	}
	groups, err := s.Groups(s.ctx, memory.Access{Scopes: []caxton.Scope{agent("b")}}, true)
	if err != nil || len(groups) != 2 || groups[0].Past() || !groups[1].Past() {
		s.Errorf("Groups = %v, %v", groups, err)
	}
}
