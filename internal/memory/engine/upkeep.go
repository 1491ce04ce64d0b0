package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/caxton/caxton/internal/memory"
)

const countEvery = 15 * time.Second

// upkeep saves checkpoints, counts, cleans, compacts and tunes at their intervals until ctx
// ends.
func (e *Engine) upkeep(ctx context.Context) {
	every := func(d time.Duration) (<-chan time.Time, func()) {
		if d < 0 {
			return nil, func() {}
		}
		t := time.NewTicker(d)
		return t.C, t.Stop
	}
	checkpoint, stop := every(e.cfg.Checkpoint)
	defer stop()
	count, stop := every(countEvery)
	defer stop()
	clean, stop := every(e.cfg.Cleanup)
	defer stop()
	vacuum, stop := every(e.cfg.Vacuum)
	defer stop()
	analyze, stop := every(e.cfg.Analyze)
	defer stop()
	report := func(what string, err error) {
		if err != nil && ctx.Err() == nil {
			e.cfg.Logger.WarnContext(ctx, "upkeep of memory failed", "what", what, "error", err)
		}
	}
	report("count", e.count(ctx))
	report("tune", e.tune(ctx))
	e.warm(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-checkpoint:
			e.warm(ctx)
			report("tune", e.tune(ctx))
			report("checkpoint", e.checkpoint(ctx))
		case <-count:
			if e.stats.due() {
				report("count", e.count(ctx))
			}
		case <-clean:
			report("cleanup", e.expire(ctx))
		case <-vacuum:
			report("vacuum", e.compact(ctx))
		case <-analyze:
			report("analyze", e.keeper.Analyze(ctx))
		}
	}
}

// tune adapts the index to the vectors it has.
func (e *Engine) tune(ctx context.Context) error {
	x := e.index.Load()
	if x == nil || !x.Stats().TuneDue {
		return nil
	}
	t, err := x.Tune(ctx)
	if err == nil {
		e.cfg.Logger.InfoContext(ctx, "index of memory tuned", "vectors", t.Vectors, "oversample", t.Oversample, "recall", t.Recall)
	}
	return err
}

// expire removes what the policies and the configuration no longer keep.
func (e *Engine) expire(ctx context.Context) error {
	var all memory.Cleaned
	clean := func(c memory.Cleaning) error {
		got, err := e.Clean(ctx, c)
		all.Entities += got.Entities
		all.Observations += got.Observations
		all.Relations += got.Relations
		return err
	}
	now := e.cfg.Now()
	for _, p := range e.cfg.Policies() {
		c := memory.Cleaning{Scope: p.Scope, MaxEntities: p.MaxEntities, MinKeep: p.MinKeep}
		if p.OlderThan > 0 {
			c.OlderThan = now.Add(-p.OlderThan)
		}
		if c.MaxEntities == 0 && c.OlderThan.IsZero() {
			continue
		}
		if err := clean(c); err != nil {
			return fmt.Errorf("scope %s: %w", p.Scope, err)
		}
	}
	if e.cfg.KeepPast > 0 {
		if err := clean(memory.Cleaning{Past: now.Add(-e.cfg.KeepPast)}); err != nil {
			return err
		}
	}
	if all.Entities+all.Observations+all.Relations > 0 {
		e.cfg.Logger.InfoContext(ctx, "memory cleaned", "entities", all.Entities, "observations", all.Observations, "relations", all.Relations)
	}
	return nil
}

func (e *Engine) compact(ctx context.Context) error {
	f, err := e.keeper.File(ctx)
	if err != nil || f.Fragmentation < e.cfg.Fragmentation {
		return err
	}
	freed, err := e.keeper.Vacuum(ctx)
	if err == nil {
		e.cfg.Logger.InfoContext(ctx, "file of memory compacted", "freed_bytes", freed)
	}
	return err
}

// Clean removes for good what c says.
func (e *Engine) Clean(ctx context.Context, c memory.Cleaning) (memory.Cleaned, error) {
	if c.DryRun {
		return e.keeper.Clean(ctx, c)
	}
	unlock, err := e.lock(ctx)
	if err != nil {
		return memory.Cleaned{}, err
	}
	defer unlock()
	defer e.begin()()
	done, err := e.keeper.Clean(ctx, c)
	if done == (memory.Cleaned{}) {
		return done, err
	}
	after := context.WithoutCancel(ctx) // what was removed before a failure is removed
	e.cache.clear()
	e.forgetGroups()
	e.graph.forgetDetails()
	e.follow(after, nil)
	if e.loaded && done.Relations+done.Entities > 0 {
		if err := e.reloadGraph(after); err != nil {
			e.cfg.Logger.WarnContext(ctx, "graph of memory is behind", "error", err)
		}
	}
	e.stats.wrote(int(done.Entities))
	return done, err
}

// Optimize looks after the file now. progress, if set, hears how far it is.
func (e *Engine) Optimize(ctx context.Context, o memory.OptimizeOptions, progress func(memory.Progress)) (memory.Optimized, error) {
	if progress == nil {
		progress = func(memory.Progress) {}
	}
	if o == (memory.OptimizeOptions{}) {
		o = memory.OptimizeOptions{Vacuum: true, Reindex: true, Analyze: true}
	}
	var done memory.Optimized
	steps := []struct {
		name string
		on   bool
		do   func() error
	}{
		{"reindex", o.Reindex, func() error {
			err := e.keeper.Reindex(ctx, func(n, of int64) { progress(memory.Progress{Step: "reindex", Done: n, Total: of}) })
			if err != nil {
				return err
			}
			return e.Rebuild(ctx)
		}},
		{"vacuum", o.Vacuum, func() error {
			freed, err := e.keeper.Vacuum(ctx)
			done.Freed += freed
			return err
		}},
		{"analyze", o.Analyze, func() error { return e.keeper.Analyze(ctx) }},
	}
	for _, s := range steps {
		if !s.on {
			continue
		}
		start := time.Now()
		progress(memory.Progress{Step: s.name})
		if err := s.do(); err != nil {
			return done, fmt.Errorf("%s: %w", s.name, err)
		}
		done.Steps = append(done.Steps, memory.Step{Name: s.name, Took: time.Since(start)})
	}
	return done, nil
}

// Check returns what is wrong with the memory: with the file, and with the index.
func (e *Engine) Check(ctx context.Context, deep bool) ([]string, error) {
	faults, err := e.keeper.Check(ctx, deep)
	if err != nil || e.embedder == nil {
		return faults, err
	}
	if err := e.wait(ctx); err != nil {
		return faults, err
	}
	unlock, err := e.lock(ctx)
	if err != nil {
		return faults, err
	}
	defer unlock()
	if err := e.followVectors(ctx); err != nil {
		return faults, err
	}
	what, err := e.disagreement(ctx)
	if what != "" {
		faults = append(faults, what)
	}
	return faults, err
}
