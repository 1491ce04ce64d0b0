package engine_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func global() caxton.Scope                  { return caxton.Scope{Kind: caxton.GlobalScope} }
func agent(name string) caxton.Scope        { return caxton.Scope{Kind: caxton.AgentScope, Owner: name} }
func sees(ss ...caxton.Scope) memory.Access { return memory.Access{Scopes: ss} }

func all() memory.Access { return memory.Access{All: true} }

// start runs an engine until the test ends; stop ends it before.
func start(t *testing.T, f *fake, b engine.Embedder, cfg engine.Config) (e *engine.Engine, stop func()) {
	t.Helper()
	e, err := engine.New(f, f, f, b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	done := false
	stop = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	}
	t.Cleanup(stop)
	return e, stop
}

func memo(s caxton.Scope, name, kind string, notes ...string) memory.Memo {
	m := memory.Memo{Scope: s, Name: name, Type: kind}
	for _, n := range notes {
		m.Notes = append(m.Notes, memory.Note{Text: n})
	}
	return m
}

func remember(t *testing.T, e *engine.Engine, memos ...memory.Memo) memory.Written {
	t.Helper()
	w, err := e.Remember(t.Context(), all(), memos, caxton.Provenance{By: "test"})
	if err != nil {
		t.Fatalf("Remember(%+v): %v", memos, err)
	}
	return w
}

// found returns the names of what a search finds, best first.
func found(t *testing.T, e *engine.Engine, q memory.Query) (names []string) {
	t.Helper()
	r, err := e.Search(t.Context(), q)
	if err != nil {
		t.Fatalf("Search(%+v): %v", q, err)
	}
	for _, h := range r.Hits {
		names = append(names, h.Entity.Name)
	}
	return names
}

func TestSearchFindsWhatIsRemembered(t *testing.T) {
	f := newFake()
	e, _ := start(t, f, &bag{}, engine.Config{})
	remember(t, e, memo(global(), "Alice", "person", "lives in Berlin", "plays the cello"), memo(global(), "Bob", "person", "lives in Paris"))
	for _, mode := range []memory.Mode{memory.Hybrid, memory.Words, memory.Meaning} {
		r, err := e.Search(t.Context(), memory.Query{Access: all(), Text: "who plays the cello", Mode: mode, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Hits) != 1 || r.Hits[0].Entity.Name != "Alice" || r.Hits[0].Entity.Observations[0].Text != "plays the cello" {
			t.Errorf("%s: hits %+v, want Alice's cello first", mode, r.Hits)
		}
		if r.Mode != mode || r.Degraded != "" {
			t.Errorf("%s: mode %q, degraded %q", mode, r.Mode, r.Degraded)
		}
	}
}

func TestSignalsAddUpToTheScore(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{})
	w := remember(t, e, memo(global(), "Alice", "person", "plays the cello"), memo(global(), "Quartet", "group", "meets on Monday"))
	remember(t, e, memory.Memo{ID: w.Remembered[0].Entity.ID, Links: []memory.Link{{To: "Quartet", Type: "member_of"}}})
	r, err := e.Search(t.Context(), memory.Query{Access: all(), Text: "Alice cello", Relations: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Hits) != 2 {
		t.Fatalf("%d hits, want Alice and by the graph the quartet", len(r.Hits))
	}
	for _, h := range r.Hits {
		for _, found := range h.Found {
			sum, signals := 0.0, map[string]memory.Signal{}
			for _, s := range found.Signals {
				sum += s.Weight
				signals[s.Name] = s
			}
			if math.Abs(found.Score-sum) > 1e-9 || found.Score > 1 || found.Score < 0 {
				t.Errorf("%s: score %v of signals %+v", h.Entity.Name, found.Score, found.Signals)
			}
			for _, name := range []string{"words", "meaning", "subject", "mention", "graph", "importance"} {
				if _, ok := signals[name]; !ok {
					t.Errorf("%s: no signal %s in %+v", h.Entity.Name, name, found.Signals)
				}
			}
			if h.Entity.Name == "Quartet" && (signals["graph"].Score <= 0 || !strings.Contains(signals["graph"].Detail, "Alice")) {
				t.Errorf("the quartet was not found by the graph: %+v", signals["graph"])
			}
		}
		if len(h.Relations) != 1 || h.Relations[0].Type != "member_of" {
			t.Errorf("%s has relations %+v", h.Entity.Name, h.Relations)
		}
	}
	if r.Hits[0].Entity.Name != "Alice" || r.Hits[0].Score < 0.6 {
		t.Errorf("first %s with %v, want Alice with all words and more than 0.6", r.Hits[0].Entity.Name, r.Hits[0].Score)
	}
	if names := found(t, e, memory.Query{Access: all(), Text: "Alice cello", MinSimilarity: 0.6}); len(names) != 1 {
		t.Errorf("with a least similarity: %v, want Alice only", names)
	}
}

func TestSupersededAndForgottenAreNotFound(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := newFake()
	f.now = func() time.Time { return now }
	e, _ := start(t, f, &bag{}, engine.Config{Now: f.now})
	m := memo(global(), "Alice", "person")
	m.Notes = []memory.Note{{Text: "lives in Berlin", Key: "address"}}
	remember(t, e, m)
	then := now
	now = now.Add(time.Hour)
	m.Notes[0].Text = "lives in Paris"
	w := remember(t, e, m)

	text := func(q memory.Query) (texts []string) {
		t.Helper()
		q.Access = all()
		r, err := e.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range r.Hits {
			for _, o := range h.Entity.Observations {
				texts = append(texts, o.Text)
			}
			if len(h.Entity.Observations) == 0 {
				texts = append(texts, h.Entity.Name)
			}
		}
		return texts
	}
	if got := text(memory.Query{Text: "lives Berlin"}); len(got) != 1 || got[0] != "lives in Paris" {
		t.Errorf("now: %v, want Paris only", got)
	}
	for _, mode := range []memory.Mode{memory.Hybrid, memory.Meaning, memory.Words} {
		got := text(memory.Query{Text: "lives Berlin", Mode: mode, Filter: memory.Filter{AsOf: &memory.AsOf{Known: then}}})
		if len(got) != 1 || got[0] != "lives in Berlin" {
			t.Errorf("as known then, by %s: %v, want Berlin only", mode, got)
		}
	}
	if _, err := e.Revert(t.Context(), all(), memory.Reversal{Observations: []caxton.ObservationID{w.Remembered[0].Observations[0].ID}, Actor: "me"}); err != nil {
		t.Fatal(err)
	}
	if got := text(memory.Query{Text: "lives Berlin"}); len(got) != 1 || got[0] != "lives in Berlin" {
		t.Errorf("after the reversal: %v, want Berlin only", got)
	}
	if _, err := e.Forget(t.Context(), all(), memory.Forgetting{Entities: []caxton.EntityID{w.Remembered[0].Entity.ID}}); err != nil {
		t.Fatal(err)
	}
	if got := text(memory.Query{Text: "lives Berlin"}); len(got) != 0 {
		t.Errorf("after forgetting: %v", got)
	}
	if faults, err := e.Check(t.Context(), true); err != nil || len(faults) > 0 {
		t.Errorf("Check() = %v, %v", faults, err)
	}
}

func TestFallsBackToWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bag{}
		f := newFake()
		e, stop := start(t, f, b, engine.Config{EmbedTimeout: time.Second})
		defer stop()
		remember(t, e, memo(global(), "Alice", "person", "plays the cello"))
		b.fail(caxton.Errorf(caxton.Unavailable, "model_loading", "the model is loading"))
		w := remember(t, e, memo(global(), "Carol", "person", "plays the horn"))
		if w.Unembedded != 1 || !strings.Contains(w.Degraded, "the model is loading") {
			t.Errorf("Remember() without the model = %+v", w)
		}
		r, err := e.Search(t.Context(), memory.Query{Access: all(), Text: "horn"})
		if err != nil || r.Mode != memory.Words || !strings.Contains(r.Degraded, "loading") || len(r.Hits) != 1 {
			t.Fatalf("Search() without the model = %+v, %v", r, err)
		}
		synctest.Wait()
		if s := e.Status(); !strings.Contains(s.Reason, "loading") {
			t.Errorf("Status().Reason = %q", s.Reason)
		}
		b.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s, err := e.Stats(t.Context()); err != nil || s.Vectors != 2 || s.Status.Unembedded != 0 || s.Status.Reason != "" {
			t.Errorf("after the model came back: %+v", s)
		}
		b.mu.Lock()
		b.block = make(chan struct{}) // answers no more
		b.mu.Unlock()
		r, err = e.Search(t.Context(), memory.Query{Access: all(), Text: "who plays"})
		if err != nil || r.Mode != memory.Words || r.Degraded == "" || len(r.Hits) != 2 {
			t.Errorf("Search() with a model that hangs = %+v, %v", r, err)
		}
		b.mu.Lock()
		b.block = nil
		b.mu.Unlock()
	})
}

func TestWithoutAModel(t *testing.T) {
	e, _ := start(t, newFake(), nil, engine.Config{})
	if w := remember(t, e, memo(global(), "Alice", "person", "plays the cello")); w.Unembedded != 0 || w.Degraded != "" {
		t.Errorf("Remember() = %+v", w)
	}
	r, err := e.Search(t.Context(), memory.Query{Access: all(), Text: "cello"})
	if err != nil || len(r.Hits) != 1 || r.Mode != memory.Words || r.Degraded == "" {
		t.Errorf("Search() = %+v, %v", r, err)
	}
}

// blocked is a store whose Load waits.
type blocked struct {
	*fake
	until chan struct{}
}

func (b blocked) Load(ctx context.Context, model string, segment func(uint32, []byte) error, changed func(memory.Vector) error) (int64, error) {
	select {
	case <-b.until:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return b.fake.Load(ctx, model, segment, changed)
}

func TestSearchWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := blocked{newFake(), make(chan struct{})}
		e, err := engine.New(s, s, s, &bag{}, engine.Config{LoadWait: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		remember(t, e, memo(global(), "Alice", "person", "plays the cello"), memo(global(), "Quartet", "group"))
		remember(t, e, memory.Memo{Scope: global(), Name: "Alice", Links: []memory.Link{{To: "Quartet", Type: "member_of"}}})
		_, err = e.Search(t.Context(), memory.Query{Access: all(), Text: "cello"})
		if caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("Search() while loading: %v, want Unavailable", err)
		}
		if names := found(t, e, memory.Query{Access: all(), Text: "cello", Mode: memory.Words}); len(names) != 1 {
			t.Errorf("words alone while loading: %v", names)
		}
		if st := e.Status(); st.State != memory.Loading || st.Progress == nil {
			t.Errorf("Status() = %+v", st)
		}
		close(s.until)
		if names := found(t, e, memory.Query{Access: all(), Text: "cello"}); len(names) != 2 {
			t.Errorf("what was written while loading: %v, want Alice and by the graph the quartet", names)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestLoadFails(t *testing.T) {
	f := newFake()
	broken := struct {
		*fake
		memory.VectorStore
		memory.Keeper
	}{f, failing{f}, f}
	e, err := engine.New(broken.fake, broken.VectorStore, broken.Keeper, &bag{}, engine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("Run() = %v, want the store's error", err)
	}
	if s := e.Status(); s.State != memory.Failed || s.Reason != "the memory cannot be loaded; the log has the cause" {
		t.Errorf("Status() = %+v", s)
	}
}

var errBroken = errors.New("broken")

type failing struct{ *fake }

func (failing) Load(context.Context, string, func(uint32, []byte) error, func(memory.Vector) error) (int64, error) {
	return 0, errBroken
}

func TestRestartLoadsTheCheckpoint(t *testing.T) {
	f := newFake()
	e, stop := start(t, f, &bag{}, engine.Config{})
	for n := range strings.FieldsSeq("Ada Ben Cid Dan Eve") {
		remember(t, e, memo(global(), n, "person", n+" lives alone"))
	}
	found(t, e, memory.Query{Access: all(), Text: "Ada"}) // loaded by then
	stop()
	if len(f.segments) == 0 || f.saved != f.clock {
		t.Fatalf("%d segments saved up to %d of %d", len(f.segments), f.saved, f.clock)
	}
	b := &bag{}
	e, stop = start(t, f, b, engine.Config{})
	if got := found(t, e, memory.Query{Access: all(), Text: "Cid", Mode: memory.Meaning, Limit: 1}); len(got) != 1 || got[0] != "Cid" {
		t.Errorf("after a restart: %v", got)
	}
	if b.asked() != 1 {
		t.Errorf("%d texts were embedded, want the query only", b.asked())
	}
	stop()

	for id, blob := range f.segments {
		if id != 0 {
			blob[len(blob)/2] ^= 1
		}
	}
	e, stop = start(t, f, &bag{}, engine.Config{})
	if got := found(t, e, memory.Query{Access: all(), Text: "Cid", Mode: memory.Meaning, Limit: 1}); len(got) != 1 || got[0] != "Cid" {
		t.Errorf("with a damaged segment: %v", got)
	}
	stop()
	e, _ = start(t, f, &bag{}, engine.Config{})
	if faults, err := e.Check(t.Context(), true); err != nil || len(faults) > 0 {
		t.Errorf("the index made anew was not saved: %v, %v", faults, err)
	}
}

func TestIndexThatDisagreesIsMadeAnew(t *testing.T) {
	f := newFake()
	e, stop := start(t, f, &bag{}, engine.Config{})
	w := remember(t, e, memo(global(), "Ada", "person", "sings"), memo(global(), "Ben", "person", "dances"))
	stop()
	delete(f.vectors["bag"], caxton.MemoryID(w.Remembered[0].Observations[0].ID)) // without a change in the log
	e, _ = start(t, f, &bag{}, engine.Config{})
	if _, err := e.Search(t.Context(), memory.Query{Access: all(), Text: "sings"}); err != nil {
		t.Fatal(err)
	}
	if faults, err := e.Check(t.Context(), true); err != nil || len(faults) > 0 {
		t.Errorf("Check() = %v, %v", faults, err)
	}
}

func TestAnotherModelEmbedsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		e, stop := start(t, f, &bag{}, engine.Config{})
		remember(t, e, memo(global(), "Ada", "person", "sings"))
		stop()
		f.segments = map[uint32][]byte{} // segments are kept by model; the fake has one
		f.saved = 0
		e, stop = start(t, f, &bag{model: "other"}, engine.Config{})
		defer stop()
		synctest.Wait()
		if s, err := e.Stats(t.Context()); err != nil || s.Vectors != 1 || s.Status.Model != "other" {
			t.Errorf("Status() = %+v", s)
		}
		if len(f.vectors["bag"]) != 0 {
			t.Error("the vectors of the model before are still there")
		}
	})
}

func TestScopeIsChecked(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{})
	_, err := e.Remember(t.Context(), sees(agent("a")), []memory.Memo{memo(agent("b"), "X", "thing")}, caxton.Provenance{})
	if caxton.KindOf(err) != caxton.Forbidden {
		t.Errorf("Remember() in another's scope: %v, want Forbidden", err)
	}
	if _, err := e.Search(t.Context(), memory.Query{Access: memory.Access{}, Text: "X"}); err != nil {
		t.Errorf("Search() with access to nothing: %v", err)
	}
}

func TestQueriesAreChecked(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{})
	for _, q := range []memory.Query{
		{Text: " "},
		{Text: "x", Mode: "odd"},
		{Text: "x", Limit: -1},
		{Text: "x", Limit: 1001},
		{Text: "x", MinSimilarity: 1.1},
		{Text: "x", PerEntity: -1},
		{Text: strings.Repeat("x", memory.MaxQuery+1)},
	} {
		if _, err := e.Search(t.Context(), q); caxton.KindOf(err) != caxton.Invalid && caxton.KindOf(err) != caxton.TooLarge {
			t.Errorf("Search(%.60q, %+v): %v", q.Text, q, err)
		}
	}
}

func TestResultsAreKeptUntilAWrite(t *testing.T) {
	b := &bag{}
	e, _ := start(t, newFake(), b, engine.Config{})
	remember(t, e, memo(agent("a"), "Ada", "person", "sings"), memo(agent("b"), "Ben", "person", "sings"))
	q := memory.Query{Access: sees(agent("a")), Text: "who sings"}
	before := b.asked()
	found(t, e, q)
	found(t, e, q)
	if b.asked() != before+1 {
		t.Errorf("the second search embedded again")
	}
	remember(t, e, memo(agent("b"), "Cid", "person", "sings")) // out of sight
	before = b.asked()
	found(t, e, q)
	if b.asked() != before {
		t.Errorf("a write out of sight made the search run again")
	}
	remember(t, e, memo(agent("a"), "Dan", "person", "sings"))
	if got := found(t, e, q); len(got) != 2 {
		t.Errorf("after a write in sight: %v, want Ada and Dan", got)
	}
}

func TestUpkeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		e, stop := start(t, f, &bag{}, engine.Config{
			Cleanup: time.Hour, Policies: func() []engine.Policy { return []engine.Policy{{Scope: agent("a"), MaxEntities: 2}} },
		})
		defer stop()
		for n := range strings.FieldsSeq("Ada Ben Cid Dan") {
			remember(t, e, memo(agent("a"), n, "person", n+" sings"), memo(agent("b"), n, "person", n+" sings"))
		}
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		if got := found(t, e, memory.Query{Access: sees(agent("a")), Text: "sings"}); len(got) != 2 {
			t.Errorf("after the cleaning: %v, want two", got)
		}
		if got := found(t, e, memory.Query{Access: sees(agent("b")), Text: "sings"}); len(got) != 4 {
			t.Errorf("in another scope: %v, want all four", got)
		}
		if faults, err := e.Check(t.Context(), true); err != nil || len(faults) > 0 {
			t.Errorf("Check() = %v, %v", faults, err)
		}
		if s := e.Status(); s.Entities != 6 {
			t.Errorf("Status() counts %d entities, want 6", s.Entities)
		}
	})
}
