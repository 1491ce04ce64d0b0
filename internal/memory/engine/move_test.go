package engine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// life makes a memory with a past in two scopes.
func life(t *testing.T, now *time.Time) (*fake, *engine.Engine) {
	t.Helper()
	f := newFake()
	f.now = func() time.Time { return *now }
	e, _ := start(t, f, &bag{}, engine.Config{Now: f.now})
	m := memo(agent("a"), "Alice", "person")
	m.Metadata = []byte(`{"k":"v"}`)
	for _, city := range []string{"Berlin", "Paris", "Rome"} {
		m.Notes = []memory.Note{{Text: "lives in " + city, Key: "address"}}
		remember(t, e, m)
		*now = now.Add(time.Hour)
	}
	remember(t, e, memo(global(), "Rome", "place"), memo(global(), "Gone", "thing", "is away"))
	remember(t, e, memory.Memo{Scope: agent("a"), Name: "Alice", Links: []memory.Link{{To: "Rome", Type: "lives_in"}}})
	gone, err := f.Named(t.Context(), all(), "gone", memory.AsOf{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Forget(t.Context(), all(), memory.Forgetting{Entities: []caxton.EntityID{gone[0].ID}}); err != nil {
		t.Fatal(err)
	}
	return f, e
}

func export(t *testing.T, e *engine.Engine, o memory.ExportOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := e.Export(t.Context(), &b, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExportComesBack(t *testing.T) {
	for _, format := range []memory.Format{memory.JSON, memory.JSONL} {
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		f, e := life(t, &now)
		b := export(t, e, memory.ExportOptions{Access: all(), Format: format, Past: true, Embeddings: true})
		g := newFake()
		g.now = f.now
		model := &bag{}
		to, _ := start(t, g, model, engine.Config{Now: f.now})
		var progress []memory.ImportCounts
		counts, err := to.Import(t.Context(), bytes.NewReader(b), memory.ImportOptions{Access: all(), Progress: func(c memory.ImportCounts) { progress = append(progress, c) }})
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		want := memory.ImportCounts{Read: 3, Imported: 2, Skipped: 1, Relations: 1, Observations: 3, Next: 4}
		if d := cmp.Diff(want, counts); d != "" || len(progress) == 0 || progress[len(progress)-1] != counts {
			t.Errorf("%s: %s%+v", format, d, progress)
		}
		if s, err := to.Stats(t.Context()); err != nil || s.Counts.Unembedded != 0 {
			t.Errorf("%s: %d texts came without their embeddings (%v)", format, s.Counts.Unembedded, err)
		}
		if model.asked() != 0 {
			t.Errorf("%s: %d texts embedded again", format, model.asked())
		}
		var before, after []caxton.Observation
		for _, en := range f.entities {
			if en.Name == "Alice" {
				before = en.Observations
			}
		}
		for _, en := range g.entities {
			if en.Name == "Alice" {
				after = en.Observations
			}
		}
		ignored := cmpopts.IgnoreFields(caxton.Observation{}, "ID", "EntityID", "Supersedes", "SupersededBy")
		if d := cmp.Diff(before, after, ignored); d != "" {
			t.Errorf("%s: Alice came back otherwise:\n%s", format, d)
		}
		again, err := to.Import(t.Context(), bytes.NewReader(b), memory.ImportOptions{Access: all()})
		if err != nil || again.Imported != 0 || again.Updated != 2 || again.Observations != 0 || len(g.relations) != 1 {
			t.Errorf("%s: a second import: %+v, %v", format, again, err)
		}
		if faults, err := to.Check(t.Context(), true); err != nil || len(faults) > 0 {
			t.Errorf("%s: Check() = %v, %v", format, faults, err)
		}
	}
}

func TestImportStrategies(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	_, e := life(t, &now)
	const in = `{"type":"entity","name":"Rome","entityType":"city","observations":["is old"]}
{"type":"relation","from":"New","to":"Rome","relationType":"near"}
{"type":"entity","name":"New","entityType":"city","observations":[]}`
	for _, tt := range []struct {
		strategy memory.Strategy
		want     memory.ImportCounts
		kind     caxton.Kind
	}{
		{memory.ErrorOnConflict, memory.ImportCounts{Read: 1}, caxton.Conflict},
		{memory.SkipExisting, memory.ImportCounts{Read: 2, Imported: 1, Skipped: 1, Relations: 1, Next: 3}, ""},
		{memory.UpdateExisting, memory.ImportCounts{Read: 2, Imported: 1, Updated: 1, Relations: 1, Observations: 1, Next: 3}, ""},
	} {
		for _, dry := range []bool{true, false} {
			if tt.strategy == memory.UpdateExisting && !dry {
				tt.want.Imported, tt.want.Updated = 0, 2 // the strategy before made it
			}
			if tt.strategy == memory.UpdateExisting && dry {
				tt.want.Imported, tt.want.Updated = 0, 2
			}
			got, err := e.Import(t.Context(), strings.NewReader(in), memory.ImportOptions{Access: all(), Scope: global(), Strategy: tt.strategy, DryRun: dry})
			if d := cmp.Diff(tt.want, got); d != "" || caxton.KindOf(err) != tt.kind {
				t.Errorf("%s, dry %v: %v\n%s", tt.strategy, dry, err, d)
			}
		}
	}
}

func TestImportGoesOnAfterAFault(t *testing.T) {
	f := newFake()
	e, _ := start(t, f, &bag{}, engine.Config{})
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, `{"type":"entity","name":"E%d","entityType":"thing","observations":["number %d"]}`+"\n", i, i)
	}
	whole := b.String() + `{"type":"relation","from":"E3","to":"E499","relationType":"before"}` + "\n"
	lines := strings.SplitAfter(whole, "\n")
	broken := strings.Join(lines[:450], "") + "{broken\n" + strings.Join(lines[450:], "")
	o := memory.ImportOptions{Access: all(), Scope: global()}
	got, err := e.Import(t.Context(), strings.NewReader(broken), o)
	if caxton.KindOf(err) != caxton.Malformed || !strings.Contains(err.Error(), "line 451") || got.Next != 450 || got.Imported != 450 {
		t.Fatalf("Import() of a broken file = %+v, %v", got, err)
	}
	o.Skip, o.Strategy = got.Next, memory.ErrorOnConflict
	got, err = e.Import(t.Context(), strings.NewReader(whole), o)
	if err != nil || got.Imported != 50 || got.Relations != 1 || len(f.entities) != 500 || got.Next != 501 {
		t.Errorf("going on: %+v, %v; %d entities", got, err, len(f.entities))
	}
	_, err = e.Import(t.Context(), strings.NewReader(`{"type":"relation","from":"E3","to":"Nobody","relationType":"x"}`), memory.ImportOptions{Access: all(), Scope: global()})
	if caxton.KindOf(err) != caxton.NotFound || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a relation to nobody: %v", err)
	}
	_, err = e.Import(t.Context(), strings.NewReader(whole), memory.ImportOptions{Access: sees(agent("a")), Scope: global()})
	if caxton.KindOf(err) != caxton.Forbidden {
		t.Errorf("into a scope out of sight: %v", err)
	}
}
