package recall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/recall"
)

func TestScore(t *testing.T) {
	t.Parallel()
	session := func(id string) string { return id[:1] }
	tests := []struct {
		name     string
		evidence [][]string
		sessions [][]string
		answer   []string
		want     map[recall.Measure]float64
	}{
		{
			"one turn, first",
			[][]string{{"a1"}},
			nil,
			[]string{"a1", "b1"},
			map[recall.Measure]float64{"any_at_5": 1, "any_at_10": 1, "all_at_5": 1, "all_at_10": 1, "session_any_at_5": 1, "session_any_at_10": 1, "session_all_at_5": 1, "session_all_at_10": 1, "mrr": 1, "ndcg_at_10": 1},
		},
		{
			"two groups, one found, seventh, after a repetition",
			[][]string{{"a1", "a2"}, {"z9"}},
			nil,
			[]string{"b1", "b1", "b2", "b3", "b4", "b5", "b6", "a2"},
			map[recall.Measure]float64{"any_at_5": 0, "any_at_10": 1, "all_at_5": 0, "all_at_10": 0, "session_any_at_5": 1, "session_any_at_10": 1, "session_all_at_5": 0, "session_all_at_10": 0, "mrr": 1.0 / 7, "ndcg_at_10": (1.0 / 3) / (1 + 1/math.Log2(3))},
		},
		{
			"two groups, both found",
			[][]string{{"a1"}, {"b1"}},
			nil,
			[]string{"c1", "b1", "a1"},
			map[recall.Measure]float64{"any_at_5": 1, "any_at_10": 1, "all_at_5": 1, "all_at_10": 1, "session_any_at_5": 1, "session_any_at_10": 1, "session_all_at_5": 1, "session_all_at_10": 1, "mrr": 0.5, "ndcg_at_10": (1/math.Log2(3) + 0.5) / (1 + 1/math.Log2(3))},
		},
		{
			"the session of the turn, not the turn",
			[][]string{{"a1"}},
			nil,
			[]string{"a2"},
			map[recall.Measure]float64{"any_at_5": 0, "any_at_10": 0, "all_at_5": 0, "all_at_10": 0, "session_any_at_5": 1, "session_any_at_10": 1, "session_all_at_5": 1, "session_all_at_10": 1, "mrr": 0, "ndcg_at_10": 0},
		},
		{
			"sessions only", nil,
			[][]string{{"a"}, {"b"}},
			[]string{"a1"},
			map[recall.Measure]float64{"session_any_at_5": 1, "session_any_at_10": 1, "session_all_at_5": 0, "session_all_at_10": 0},
		},
		{
			"no answer",
			[][]string{{"a1"}},
			nil, nil,
			map[recall.Measure]float64{"any_at_5": 0, "any_at_10": 0, "all_at_5": 0, "all_at_10": 0, "session_any_at_5": 0, "session_any_at_10": 0, "session_all_at_5": 0, "session_all_at_10": 0, "mrr": 0, "ndcg_at_10": 0},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := recall.Score(recall.Question{Evidence: tt.evidence, Sessions: tt.sessions}, tt.answer, session)
			near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-12 })
			if diff := cmp.Diff(tt.want, got, near); diff != "" {
				t.Errorf("Score (-want +got):\n%s", diff)
			}
		})
	}
}

// list makes worlds a sequence.
func list(worlds ...recall.World) iter.Seq2[recall.World, error] {
	return func(yield func(recall.World, error) bool) {
		for _, w := range worlds {
			if !yield(w, nil) {
				return
			}
		}
	}
}

// fixed answers every question with the same turns.
type fixed struct {
	answer []string
	added  []string
	closed *atomic.Int64
	fail   error
}

func (f *fixed) Add(_ context.Context, turns []recall.Turn) error {
	for _, t := range turns {
		f.added = append(f.added, t.ID)
	}
	return nil
}

func (f *fixed) Search(_ context.Context, _ recall.Query, _ int) ([]string, error) {
	return f.answer, f.fail
}

func (f *fixed) Close() error {
	f.closed.Add(1)
	return nil
}

// small is a world of n questions about its first turn.
func small(n int) recall.World {
	w := recall.World{ID: "w", Turns: []recall.Turn{{ID: "t1", Session: "s1"}, {ID: "t2", Session: "s2"}, {ID: "t3", Session: "s2"}}}
	for range n {
		w.Questions = append(w.Questions, recall.Question{ID: "q", Type: recall.SingleHop, Evidence: [][]string{{"t1"}}})
	}
	return w
}

func TestRun(t *testing.T) {
	t.Parallel()
	var closed atomic.Int64
	good, bad := &fixed{answer: []string{"t1"}, closed: &closed}, &fixed{answer: []string{"t2"}, closed: &closed}
	open := func(s recall.Searcher) func(context.Context, string) (recall.Searcher, error) {
		return func(context.Context, string) (recall.Searcher, error) { return s, nil }
	}
	systems := []recall.System{{Name: "good", Open: open(good)}, {Name: "bad", Open: open(bad)}}
	var last recall.Progress
	r, err := recall.Run(t.Context(), list(small(100)), systems, recall.Config{Name: "small", Batch: 2, Progress: func(p recall.Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	if want := (recall.Progress{World: "w", System: "bad", Worlds: 1, Turns: 3, Questions: 100, Of: 100}); last != want {
		t.Errorf("last progress %+v, want %+v", last, want)
	}
	if diff := cmp.Diff([]string{"t1", "t2", "t3"}, good.added); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	if closed.Load() != 2 {
		t.Errorf("%d searchers closed, want 2", closed.Load())
	}
	if r.Worlds != 1 || r.Turns != 3 || r.Questions != 100 {
		t.Errorf("report of %d worlds, %d turns, %d questions", r.Worlds, r.Turns, r.Questions)
	}
	all, err := r.Compare("good", "bad", recall.NDCG)
	if err != nil {
		t.Fatal(err)
	}
	want := recall.Comparison{System: "good", Baseline: "bad", Type: recall.SingleHop, Measure: recall.NDCG, Questions: 100, Wins: 100, Difference: 1, P: math.Pow(2, -99)}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) })
	if diff := cmp.Diff(want, all[0], near); diff != "" {
		t.Errorf("Compare (-want +got):\n%s", diff)
	}
	if !all[0].Gains() || all[0].Loses() {
		t.Errorf("good against bad: gains %v, loses %v", all[0].Gains(), all[0].Loses())
	}
	if all, err = r.Compare("bad", "good", recall.NDCG); err != nil || !all[0].Loses() {
		t.Errorf("bad against good: %+v, %v, want a loss", all, err)
	}
	if all, err = r.Compare("bad", "bad", recall.NDCG); err != nil || all[0].P != 1 || all[0].Loses() || all[0].Gains() {
		t.Errorf("bad against itself: %+v, %v, want neither", all, err)
	}
	if _, err = r.Compare("good", "other", recall.NDCG); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("Compare with a system that was not measured: %v, want NotFound", err)
	}
}

func TestRunFaults(t *testing.T) {
	t.Parallel()
	var closed atomic.Int64
	boom := errors.New("boom")
	system := func(s *fixed) []recall.System {
		s.closed = &closed
		return []recall.System{{Name: "a", Open: func(context.Context, string) (recall.Searcher, error) { return s, nil }}}
	}
	t.Run("a search fails", func(t *testing.T) {
		t.Parallel()
		_, err := recall.Run(t.Context(), list(small(3)), system(&fixed{fail: boom}), recall.Config{})
		if !errors.Is(err, boom) || !strings.Contains(err.Error(), "measure a on world w") {
			t.Errorf("Run: %v, want boom with the system and the world", err)
		}
	})
	t.Run("the worlds fail", func(t *testing.T) {
		t.Parallel()
		worlds := func(yield func(recall.World, error) bool) { yield(recall.World{}, boom) }
		if _, err := recall.Run(t.Context(), worlds, system(&fixed{}), recall.Config{}); !errors.Is(err, boom) {
			t.Errorf("Run: %v, want boom", err)
		}
	})
	t.Run("the caller left", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := recall.Run(ctx, list(small(3)), system(&fixed{}), recall.Config{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v, want Canceled", err)
		}
	})
	t.Run("nothing to ask", func(t *testing.T) {
		t.Parallel()
		if _, err := recall.Run(t.Context(), list(), system(&fixed{}), recall.Config{}); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("Run: %v, want Invalid", err)
		}
	})
	t.Run("no system, or two of one name", func(t *testing.T) {
		t.Parallel()
		for _, s := range [][]recall.System{nil, append(system(&fixed{}), system(&fixed{})...), {{Name: "a"}}} {
			if _, err := recall.Run(t.Context(), list(small(1)), s, recall.Config{}); caxton.KindOf(err) != caxton.Invalid {
				t.Errorf("Run(%v): %v, want Invalid", s, err)
			}
		}
	})
}

// slow takes a second for each search and counts how many run at once.
type slow struct {
	mu        sync.Mutex
	now, most int
}

func (s *slow) Add(context.Context, []recall.Turn) error { return nil }

func (s *slow) count(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += by
	s.most = max(s.most, s.now)
}

func (s *slow) Search(ctx context.Context, _ recall.Query, _ int) ([]string, error) {
	s.count(1)
	defer s.count(-1)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Second):
		return nil, nil
	}
}

func TestRunBoundsConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		r, err := recall.Run(t.Context(), list(small(30)), []recall.System{{
			Name: "slow", Open: func(context.Context, string) (recall.Searcher, error) { return s, nil },
		}}, recall.Config{Workers: 3})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.most; got != 3 {
			t.Errorf("%d searches at once, want 3", got)
		}
		if p := r.Systems[0].SearchP50; p != 1000 {
			t.Errorf("P50 of searches that take a second: %v ms", p)
		}
	})
}

func TestReportForms(t *testing.T) {
	t.Parallel()
	r, err := recall.Run(t.Context(), recall.Generate(recall.GeneratorConfig{Seed: 1, Worlds: 1, Persons: 8, Sessions: 40, PerType: 5}),
		[]recall.System{keywordSystem(), latestSystem()}, recall.Config{Name: "generated"})
	if err != nil {
		t.Fatal(err)
	}
	var js, table, md bytes.Buffer
	if err := errors.Join(r.WriteJSON(&js), r.WriteTable(&table), r.WriteMarkdown(&md, recall.AllAt10, recall.NDCG)); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Dataset string
		Systems []struct {
			Name string
			Rows []struct {
				Split     string
				Type      string
				Questions int
				Measures  map[string]struct{ Value, Low, High float64 }
			}
		}
	}
	if err := json.Unmarshal(js.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	rows := 2 * (len(recall.Types()) + 1)
	if got.Dataset != "generated" || len(got.Systems) != 2 || len(got.Systems[0].Rows) != rows {
		t.Fatalf("JSON report: dataset %q, %d systems, want generated and 2 with %d rows each", got.Dataset, len(got.Systems), rows)
	}
	for _, row := range got.Systems[0].Rows {
		for _, m := range recall.Measures() {
			v, ok := row.Measures[string(m)]
			if !ok || v.Low > v.Value || v.Value > v.High || v.Low < 0 || v.High > 1 {
				t.Errorf("%s/%s: %s is %+v", row.Split, row.Type, m, v)
			}
		}
	}
	for name, lines := range map[string][]string{"table": strings.Split(strings.TrimSpace(table.String()), "\n"), "Markdown": strings.Split(strings.TrimSpace(md.String()), "\n")} {
		if len(lines) != 2*rows+map[string]int{"table": 3, "Markdown": 2}[name] {
			t.Errorf("the %s has %d lines for %d rows of 2 systems:\n%s", name, len(lines), rows, strings.Join(lines, "\n"))
		}
	}
	if !strings.HasPrefix(md.String(), "| split | type | questions | system | all_at_10 | ndcg_at_10 |\n| --- |") {
		t.Errorf("Markdown begins:\n%.200s", md.String())
	}
}

// TestTypesBehave holds the types of question to what they are for, with a keyword search
// and with no search at all.
func TestTypesBehave(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("searches two whole worlds by brute force")
	}
	r, err := recall.Run(t.Context(), recall.Generate(recall.GeneratorConfig{Seed: 1, Worlds: 1}), []recall.System{keywordSystem(), latestSystem()}, recall.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		kind      recall.Type
		measure   recall.Measure
		low, high float64
	}{
		{recall.Identifier, recall.AllAt10, 0.97, 1},
		{recall.Paraphrase, recall.AllAt10, 0, 0.25},
		{recall.Preference, recall.AllAt10, 0, 0.3},
		{recall.SingleHop, recall.AllAt10, 0.5, 0.95},
		{recall.MultiHop, recall.AnyAt10, 0.8, 1},
		{recall.MultiHop, recall.AllAt10, 0, 0.3},
		{recall.Current, recall.AllAt10, 0.25, 0.9},
		{recall.AsOf, recall.AllAt10, 0.25, 0.9},
		{recall.Temporal, recall.AllAt10, 0.4, 0.95},
		{recall.Aggregation, recall.AnyAt10, 0.4, 0.98},
		{recall.Aggregation, recall.AllAt10, 0, 0.5},
	}
	for _, split := range []recall.Split{recall.Tuning, recall.HeldOut} {
		for _, tt := range tests {
			for _, s := range r.Systems {
				row, ok := s.Row(split, tt.kind)
				if !ok {
					t.Fatalf("no row for %s/%s", split, tt.kind)
				}
				got := row.Means[tt.measure].Value
				if s.Name == "latest" && got > 0.15 {
					t.Errorf("%s/%s: the latest turns alone have %s %.2f", split, tt.kind, tt.measure, got)
				}
				if s.Name == "bm25" && (got < tt.low || got > tt.high) {
					t.Errorf("%s/%s: %s is %.2f, want from %.2f to %.2f", split, tt.kind, tt.measure, got, tt.low, tt.high)
				}
			}
		}
	}
}
