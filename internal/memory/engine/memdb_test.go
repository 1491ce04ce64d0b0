package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"pgregory.net/rapid"
)

func openDB(tb testing.TB, path string) *memdb.DB {
	tb.Helper()
	db, err := memdb.Open(tb.Context(), memdb.Config{Path: path})
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

// over runs an engine over a store until stop.
func over(tb testing.TB, db *memdb.DB, b engine.Embedder, cfg engine.Config) (e *engine.Engine, stop func()) {
	tb.Helper()
	e, err := engine.New(db, db, db, b, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				tb.Errorf("Run() = %v", err)
			}
		})
	}
	return e, stop
}

func TestOverTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	db := openDB(t, path)
	b := &bag{}
	e, stop := over(t, db, b, engine.Config{})
	m := memo(agent("a"), "Alice", "person", "plays the cello")
	m.Notes = append(m.Notes, memory.Note{Text: "lives in Berlin", Key: "address"})
	alice := remember(t, e, m).Remembered[0].Entity.ID
	remember(t, e, memo(global(), "Paris", "place"), memo(agent("b"), "Bob", "person", "plays the horn"))
	w := remember(t, e, memory.Memo{
		ID: alice, Notes: []memory.Note{{Text: "lives in Paris", Key: "address"}}, Links: []memory.Link{{To: "Paris", Type: "lives_in"}},
	})
	texts := func(q memory.Query) string {
		t.Helper()
		r, err := e.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, h := range r.Hits {
			for _, o := range h.Entity.Observations {
				all = append(all, o.Text)
			}
			if len(h.Entity.Observations) == 0 {
				all = append(all, h.Entity.Name)
			}
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	mine := sees(agent("a"), global())
	for _, mode := range []memory.Mode{memory.Hybrid, memory.Meaning} {
		if got := texts(memory.Query{Access: mine, Text: "where does Alice live", Mode: mode}); got != "Paris, lives in Paris, plays the cello" {
			t.Errorf("by %s: %s", mode, got)
		}
	}
	if _, err := e.Revert(t.Context(), mine, memory.Reversal{Observations: []caxton.ObservationID{w.Remembered[0].Observations[0].ID}, Actor: "me"}); err != nil {
		t.Fatal(err)
	}
	if got := texts(memory.Query{Access: sees(agent("a")), Text: "where does Alice live"}); got != "lives in Berlin, plays the cello" {
		t.Errorf("after the reversal: %s", got)
	}
	g, err := e.Traverse(t.Context(), memory.Traversal{Access: mine, From: []caxton.EntityID{alice}})
	if err != nil || len(g.Nodes) != 2 || len(g.Edges) != 1 || g.Edges[0].Type != "lives_in" {
		t.Errorf("Traverse() = %+v, %v", g, err)
	}
	if g, err = e.Traverse(t.Context(), memory.Traversal{Access: sees(agent("a")), From: []caxton.EntityID{alice}}); err != nil || len(g.Nodes) != 1 || len(g.Edges) != 0 {
		t.Errorf("Traverse() without sight of Paris = %+v, %v", g, err)
	}
	healthy(t, e)

	stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, path)
	before := b.asked()
	e, stop = over(t, db, b, engine.Config{})
	if got := texts(memory.Query{Access: sees(agent("a")), Text: "where does Alice live"}); got != "lives in Berlin, plays the cello" {
		t.Errorf("after a restart: %s", got)
	}
	if b.asked() != before+1 {
		t.Errorf("%d texts embedded after a restart, want the query alone", b.asked()-before)
	}
	healthy(t, e)
	if _, err := e.Forget(t.Context(), all(), memory.Forgetting{Entities: []caxton.EntityID{alice}}); err != nil {
		t.Fatal(err)
	}
	if got := texts(memory.Query{Access: all(), Text: "where does Alice live"}); strings.Contains(got, "Berlin") {
		t.Errorf("after forgetting: %s", got)
	}
	healthy(t, e)
	stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func healthy(t *testing.T, e *engine.Engine) {
	t.Helper()
	if faults, err := e.Check(t.Context(), true); err != nil || len(faults) > 0 {
		t.Errorf("Check() = %v, %v", faults, err)
	}
}

// TestNothingLeaks writes into three scopes and looks from several sides: nothing of a scope
// that an access does not show may come out, by whatever way. Each text names its scope.
func TestNothingLeaks(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	defer db.Close()
	e, stop := over(t, db, &bag{}, engine.Config{})
	defer stop()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++ // others' scopes each time; what is global stays
		own := func(kind caxton.ScopeKind, name string) caxton.Scope {
			return caxton.Scope{Kind: kind, Owner: fmt.Sprint(name, n, "x")}
		}
		scopes := []caxton.Scope{global(), own(caxton.AgentScope, "aaa"), own(caxton.AgentScope, "bbb"), own(caxton.WorkspaceScope, "www")}
		var ids []caxton.EntityID
		var obs []caxton.ObservationID
		write := func(a memory.Access, m memory.Memo) {
			w, err := e.Remember(t.Context(), a, []memory.Memo{m}, caxton.Provenance{By: "test"})
			if err != nil {
				if k := caxton.KindOf(err); k == caxton.Internal || k == caxton.Unavailable {
					rt.Fatal(err)
				}
				return
			}
			ids = append(ids, w.Remembered[0].Entity.ID)
			for _, o := range w.Remembered[0].Observations {
				obs = append(obs, o.ID)
			}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "writes") {
			s := rapid.SampledFrom(scopes).Draw(rt, "scope")
			name := rapid.SampledFrom([]string{"Ann", "Ben", "Cid"}).Draw(rt, "name")
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0, 1, 2:
				m := memo(s, name, "person")
				m.Notes = []memory.Note{{
					Text: fmt.Sprintf("likes %d in %s", rapid.IntRange(0, 5).Draw(rt, "n"), s), Key: rapid.SampledFrom([]string{"", "k"}).Draw(rt, "key"),
				}}
				write(all(), m)
			case 3:
				other := rapid.SampledFrom([]string{"Ann", "Ben", "Cid"}).Draw(rt, "other")
				write(sees(s, global()), memory.Memo{Scope: s, Name: name, Type: "person", Links: []memory.Link{{To: other, Type: "knows"}}})
			case 4:
				if len(ids) > 1 {
					from, to := rapid.SampledFrom(ids).Draw(rt, "from"), rapid.SampledFrom(ids).Draw(rt, "to")
					write(all(), memory.Memo{ID: from, Links: []memory.Link{{ToID: to, Type: "knows"}}})
				}
			case 5:
				if len(obs) > 0 {
					_, err := e.Forget(t.Context(), all(), memory.Forgetting{Observations: []caxton.ObservationID{rapid.SampledFrom(obs).Draw(rt, "forgotten")}})
					if err != nil && caxton.KindOf(err) != caxton.NotFound && caxton.KindOf(err) != caxton.Conflict {
						rt.Fatal(err)
					}
				}
			}
		}
		as := []memory.Access{{}, sees(scopes[1]), sees(scopes[2], scopes[0]), sees(scopes[0]), sees(scopes[3], scopes[1])}
		look(t, rt, e, as[rapid.IntRange(0, len(as)-1).Draw(rt, "access")], ids, scopes)
	})
	healthy(t, e)
}

// look fails when a shows what it may not.
func look(t *testing.T, rt *rapid.T, e *engine.Engine, a memory.Access, ids []caxton.EntityID, scopes []caxton.Scope) {
	t.Helper()
	ctx := t.Context()
	entity := func(how string, en *caxton.Entity) {
		if !a.Sees(en.Scope) {
			rt.Fatalf("%s shows %+v to %+v", how, en, a)
		}
	}
	text := func(how, text string) {
		for _, s := range scopes {
			if !a.Sees(s) && strings.Contains(text, " in "+s.String()) {
				rt.Fatalf("%s shows %q to %+v", how, text, a)
			}
		}
	}
	shows := func(id caxton.EntityID) bool {
		en, err := e.Entity(ctx, all(), id, memory.AsOf{})
		return err == nil && a.Sees(en.Scope)
	}
	for _, id := range ids {
		if en, err := e.Entity(ctx, a, id, memory.AsOf{}); err == nil {
			entity("Entity", &en)
		}
		if h, err := e.History(ctx, a, id); err == nil && len(h) > 0 && !shows(id) {
			rt.Fatalf("History shows %v to %+v", h, a)
		}
	}
	for _, mode := range []memory.Mode{memory.Hybrid, memory.Words, memory.Meaning} {
		for _, past := range []*memory.AsOf{nil, {}} {
			r, err := e.Search(ctx, memory.Query{Access: a, Text: "who likes 3 in agent Ann", Mode: mode, Limit: 50, Relations: true, Filter: memory.Filter{AsOf: past}})
			if err != nil {
				rt.Fatal(err)
			}
			for i := range r.Hits {
				h := &r.Hits[i]
				entity("Search", &h.Entity)
				for _, o := range h.Entity.Observations {
					text("Search", o.Text)
				}
				for _, rel := range h.Relations {
					for _, id := range []caxton.EntityID{rel.From, rel.To} {
						if !shows(id) {
							rt.Fatalf("Search shows relation %+v to %+v", rel, a)
						}
					}
				}
			}
			if len(a.Scopes) == 0 && len(r.Hits) > 0 {
				rt.Fatalf("nobody finds %+v", r.Hits)
			}
		}
	}
	rec, err := e.Recall(ctx, a, "who likes 3 in agent Ann", memory.RecallOptions{Limit: 50})
	if err != nil {
		rt.Fatal(err)
	}
	for _, s := range rec.Snippets {
		text("Recall", s.Text)
	}
	for _, id := range ids {
		g, err := e.Traverse(ctx, memory.Traversal{Access: a, From: []caxton.EntityID{id}, Depth: 5})
		if err != nil && caxton.KindOf(err) != caxton.NotFound {
			rt.Fatal(err)
		}
		for i := range g.Nodes {
			entity("Traverse", &g.Nodes[i].Entity)
		}
		for _, r := range g.Edges {
			if !shows(r.From) || !shows(r.To) {
				rt.Fatalf("Traverse shows %+v to %+v", r, a)
			}
		}
	}
	var b bytes.Buffer
	if _, err := e.Export(ctx, &b, memory.ExportOptions{Access: a, Format: memory.JSONL, Past: true}); err != nil {
		rt.Fatal(err)
	}
	for line := range strings.SplitSeq(b.String(), "\n") {
		text("Export", line)
		for _, s := range scopes {
			if !a.Sees(s) && strings.Contains(line, `"memory_scope":"`+s.String()+`"`) {
				rt.Fatalf("Export shows %s to %+v", line, a)
			}
		}
	}
}

func TestReadersBesideAWriter(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	e, stop := over(t, db, &bag{}, engine.Config{CacheResults: -1})
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	remember(t, e, memo(global(), "Counter", "thing", "stands at 0"))
	for range 8 {
		readers.Go(func() {
			for ctx.Err() == nil {
				r, err := e.Search(ctx, memory.Query{Access: all(), Text: "Counter stands at"})
				if err != nil {
					if !errors.Is(err, context.Canceled) && caxton.KindOf(err) != caxton.Canceled {
						t.Error(err)
					}
					return
				}
				// At every moment exactly one observation is current.
				if len(r.Hits) == 0 || len(r.Hits[0].Entity.Observations) != 1 {
					t.Errorf("a search found %+v", r.Hits)
					return
				}
			}
		})
	}
	for i := range 40 {
		m := memory.Memo{Scope: global(), Name: "Counter", Notes: []memory.Note{{Text: fmt.Sprint("stands at ", i+1), Key: "value"}}}
		if i == 0 {
			en, err := e.Named(t.Context(), all(), "Counter", memory.AsOf{})
			if err != nil {
				t.Fatal(err)
			}
			full, err := e.Entity(t.Context(), all(), en[0].ID, memory.AsOf{})
			if err != nil {
				t.Fatal(err)
			}
			m.Notes[0].Replaces = full.Observations[0].ID
		}
		remember(t, e, m)
	}
	cancel()
	readers.Wait()
	healthy(t, e)
	stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestImportOverTheDatabase(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	defer db.Close()
	e, stop := over(t, db, &bag{}, engine.Config{})
	defer stop()
	var in strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&in, `{"type":"entity","name":"E%d","entityType":"thing","observations":["number %d","is here"]}`+"\n", i, i)
	}
	for i := range 999 {
		fmt.Fprintf(&in, `{"type":"relation","from":"E%d","to":"E%d","relationType":"before"}`+"\n", i, i+1)
	}
	got, err := e.Import(t.Context(), strings.NewReader(in.String()), memory.ImportOptions{Access: all(), Scope: global()})
	if err != nil || got.Imported != 1000 || got.Relations != 999 || got.Observations != 2000 {
		t.Fatalf("Import() = %+v, %v", got, err)
	}
	var out bytes.Buffer
	counts, err := e.Export(t.Context(), &out, memory.ExportOptions{Access: all(), Past: true})
	if err != nil || counts.Entities != 1000 || counts.Relations != 999 || counts.Observations != 2000 {
		t.Errorf("Export() = %+v, %v", counts, err)
	}
	other := openDB(t, filepath.Join(t.TempDir(), "other.db"))
	defer other.Close()
	to, stop2 := over(t, other, &bag{}, engine.Config{})
	defer stop2()
	got, err = to.Import(t.Context(), &out, memory.ImportOptions{Access: all()})
	if err != nil || got.Imported != 1000 || got.Relations != 999 || got.Observations != 2000 {
		t.Errorf("Import() of the export = %+v, %v", got, err)
	}
	healthy(t, to)
}
