package recall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caxton/caxton"
)

// A System is a way to search that is measured under a name.
type System struct {
	Name string
	// Open returns an empty Searcher for the world of that id.
	Open func(ctx context.Context, world string) (Searcher, error)
}

// A Config says how Run measures. Zero fields mean the defaults.
type Config struct {
	Name     string         // of the dataset, for the report
	Limit    int            // turns asked for; default 50, at least 10
	Workers  int            // questions asked at once; default one per processor, at most 8
	Batch    int            // turns of one Add; default 256
	Progress func(Progress) // called on Run's goroutine after each step, or nil
	Now      func() time.Time
}

// A Progress says how far Run is.
type Progress struct {
	World     string
	System    string
	Worlds    int // worlds begun
	Turns     int // turns added, of this world and system
	Questions int // questions answered, of this world and system
	Of        int // questions of this world
}

// An outcome is how one system did on one question.
type outcome struct {
	split  Split
	kind   Type
	scores map[Measure]float64
}

// A tally is what Run gathers for one system.
type tally struct {
	outcomes []outcome
	added    int // turns, without those that were there already
	adding   time.Duration
	searches []time.Duration
}

// Run asks every question of every world of every system. Worlds are read one at a time,
// so that a file larger than memory can be measured.
func Run(ctx context.Context, worlds iter.Seq2[World, error], systems []System, cfg Config) (*Report, error) {
	cfg.Limit = max(10, cmp.Or(cfg.Limit, 50))
	cfg.Workers = cmp.Or(cfg.Workers, min(8, runtime.GOMAXPROCS(0)))
	cfg.Batch = max(1, cmp.Or(cfg.Batch, 256))
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := checkSystems(systems); err != nil {
		return nil, err
	}
	report := &Report{Dataset: cfg.Name}
	tallies := make([]tally, len(systems))
	for w, err := range worlds {
		if err != nil {
			return nil, err
		}
		report.Worlds++
		report.Turns += len(w.Turns)
		report.Questions += len(w.Questions)
		report.Skipped += len(w.Skipped)
		for i, s := range systems {
			at := Progress{World: w.ID, System: s.Name, Worlds: report.Worlds, Of: len(w.Questions)}
			if err := measure(ctx, w, s, cfg, at, &tallies[i]); err != nil {
				return nil, fmt.Errorf("measure %s on world %s: %w", s.Name, w.ID, err)
			}
		}
	}
	if report.Questions == 0 {
		return nil, caxton.Errorf(caxton.Invalid, "recall_no_questions", "there is no question to ask")
	}
	for i, s := range systems {
		report.Systems = append(report.Systems, summary(s.Name, &tallies[i]))
	}
	return report, nil
}

func checkSystems(systems []System) error {
	names := map[string]bool{}
	for _, s := range systems {
		if s.Name == "" || s.Open == nil || names[s.Name] {
			return caxton.Errorf(caxton.Invalid, "recall_system_invalid", "system %q has no name, nothing to open, or the name of another", s.Name)
		}
		names[s.Name] = true
	}
	if len(systems) == 0 {
		return caxton.Errorf(caxton.Invalid, "recall_system_invalid", "there is no system to measure")
	}
	return nil
}

// measure runs one system on one world.
func measure(ctx context.Context, w World, s System, cfg Config, at Progress, into *tally) (err error) {
	searcher, err := s.Open(ctx, w.ID)
	if err != nil {
		return err
	}
	if c, ok := searcher.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	begin := cfg.Now()
	turns := w.Turns
	if f, ok := searcher.(Filled); ok && f.Filled() {
		turns = nil
	}
	for batch := range slices.Chunk(turns, cfg.Batch) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := searcher.Add(ctx, batch); err != nil {
			return err
		}
		at.Turns += len(batch)
		cfg.Progress(at)
	}
	if r, ok := searcher.(Readied); ok {
		if err := r.Ready(ctx); err != nil {
			return err
		}
	}
	if len(turns) > 0 {
		into.adding += cfg.Now().Sub(begin)
		into.added += len(turns)
	}

	sessions := make(map[string]string, len(w.Turns))
	for _, t := range w.Turns {
		sessions[t.ID] = t.Session
	}
	outcomes := make([]outcome, len(w.Questions))
	took := make([]time.Duration, len(w.Questions))
	for chunk := range slices.Chunk(order(len(w.Questions)), 64) {
		if err := answer(ctx, w, searcher, cfg, chunk, func(i int, ids []string, d time.Duration) {
			q := w.Questions[i]
			took[i] = d
			outcomes[i] = outcome{
				split: w.Split, kind: q.Type,
				scores: Score(q, ids, func(id string) string { return sessions[id] }),
			}
		}); err != nil {
			return err
		}
		at.Questions += len(chunk)
		cfg.Progress(at)
	}
	into.outcomes = append(into.outcomes, outcomes...)
	into.searches = append(into.searches, took...)
	return nil
}

// order returns the numbers from 0 to n-1.
func order(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// answer asks the questions of a chunk, some at once, and hands over each answer, one at a
// time.
func answer(ctx context.Context, w World, s Searcher, cfg Config, chunk []int, keep func(int, []string, time.Duration)) error {
	var mu sync.Mutex // held while keep runs
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cfg.Workers)
	for _, i := range chunk {
		g.Go(func() error {
			q := w.Questions[i]
			if err := ctx.Err(); err != nil {
				return err
			}
			begin := cfg.Now()
			ids, err := s.Search(ctx, Query{Text: q.Text, At: q.AskedAt}, cfg.Limit)
			if err != nil {
				return fmt.Errorf("question %s: %w", q.ID, err)
			}
			took := cfg.Now().Sub(begin)
			mu.Lock()
			defer mu.Unlock()
			keep(i, ids, took)
			return nil
		})
	}
	return g.Wait()
}
