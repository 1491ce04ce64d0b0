package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/vector"
)

// state tells how far loading and embedding are.
type state struct {
	segments, vectors, edges atomic.Int64 // read at load
	embedded, waiting        atomic.Int64 // of the backlog
	loaded                   atomic.Bool

	mu       sync.Mutex
	failed   error
	degraded string // why the backlog does not get on, or ""
}

func (s *state) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
}

func (s *state) setDegraded(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.degraded = why
}

func (s *state) troubles() (degraded string, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.degraded, s.failed
}

func (s *state) progress() string {
	return fmt.Sprintf("%d segments, %d vectors and %d relations read", s.segments.Load(), s.vectors.Load(), s.edges.Load())
}

// load reads the index and the graph side by side, catches up with what was written
// meanwhile, and opens the engine for searches.
func (e *Engine) load(ctx context.Context) error {
	start := time.Now()
	var edgesErr error
	var loading sync.WaitGroup
	loading.Go(func() {
		edgesErr = e.vectors.Edges(ctx, nil, func(g memory.Edge) error {
			e.graph.put(&g)
			e.state.edges.Add(1)
			return ctx.Err()
		})
	})
	mark, stale, damage, err := int64(0), []uint32(nil), error(nil), error(nil)
	if e.embedder != nil {
		mark, stale, damage, err = e.loadIndex(ctx)
	}
	loading.Wait()
	if err = errors.Join(err, edgesErr); err != nil {
		return fmt.Errorf("load memory: %w", err)
	}

	unlock, err := e.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	e.mark, e.loaded = mark, true
	if e.embedder != nil {
		if err := e.settleIndex(ctx, stale, damage); err != nil {
			return fmt.Errorf("load memory: %w", err)
		}
	}
	if err := e.followEdges(ctx, e.missed); err != nil {
		return fmt.Errorf("load memory: %w", err)
	}
	e.missed = nil
	e.state.loaded.Store(true)
	close(e.ready)
	e.cfg.Logger.InfoContext(ctx, "memory loaded", "vectors", e.vectorCount(), "relations", e.graph.size(), "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// loadIndex restores the index from its segments. damage says why it must be built anew.
func (e *Engine) loadIndex(ctx context.Context) (mark int64, segments []uint32, damage, err error) {
	x := e.index.Load()
	mark, err = e.vectors.Load(ctx, e.model, func(id uint32, blob []byte) error {
		segments = append(segments, id)
		e.state.segments.Add(1)
		if damage == nil {
			damage = x.Restore(vector.Segment{ID: id, Blob: blob})
		}
		return ctx.Err()
	}, func(v memory.Vector) error {
		e.state.vectors.Add(1)
		if damage != nil {
			return ctx.Err()
		}
		return apply(x, v)
	})
	return mark, segments, damage, err
}

// settleIndex catches up with the store and makes the index anew when it is damaged or does
// not agree with the store. The caller holds writing.
func (e *Engine) settleIndex(ctx context.Context, segments []uint32, damage error) error {
	if damage == nil {
		if err := e.followVectors(ctx); err != nil {
			return err
		}
		n, err := e.vectors.VectorCount(ctx, e.model)
		if err != nil {
			return err
		}
		have := e.index.Load().Len()
		if have == n { // Check looks closer: at 1 M vectors that takes two seconds
			return nil
		}
		damage = fmt.Errorf("the index has %d vectors, the store %d", have, n)
	}
	e.cfg.Logger.WarnContext(ctx, "index of memory was damaged, it is built anew", "error", damage)
	e.stale = segments
	return e.rebuild(ctx)
}

// disagreement compares the index with the store by number and group, or returns "".
func (e *Engine) disagreement(ctx context.Context) (string, error) {
	counts, err := e.vectors.Embedded(ctx, e.model)
	if err != nil {
		return "", err
	}
	total, groups := 0, 0
	for _, n := range counts {
		total += n
		if n > 0 {
			groups++
		}
	}
	if s := e.index.Load().Stats(); s.Vectors != total || s.Groups != groups {
		return fmt.Sprintf("the index has %d vectors in %d groups, the store %d in %d", s.Vectors, s.Groups, total, groups), nil
	}
	return "", nil
}

// rebuild makes the index from the vectors. The caller holds writing.
func (e *Engine) rebuild(ctx context.Context) error {
	x, err := e.newIndex()
	if err != nil {
		return err
	}
	mark, err := e.vectors.Changes(ctx, e.model, 0, func(v memory.Vector) error {
		e.state.vectors.Add(1)
		if err := ctx.Err(); err != nil {
			return err
		}
		return apply(x, v)
	})
	if err != nil {
		return err
	}
	e.index.Store(x)
	e.mark = mark
	e.cache.clear()
	return nil
}

// Rebuild makes the vector index anew from the vectors in the store.
func (e *Engine) Rebuild(ctx context.Context) error {
	if err := e.wait(ctx); err != nil {
		return err
	}
	unlock, err := e.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if e.embedder != nil {
		ids, err := e.segmentIDs(ctx)
		if err != nil {
			return err
		}
		if err := e.rebuild(ctx); err != nil {
			return err
		}
		e.stale = ids
	}
	return e.reloadGraph(ctx)
}

func (e *Engine) segmentIDs(ctx context.Context) (ids []uint32, err error) {
	_, err = e.vectors.Load(ctx, e.model, func(id uint32, _ []byte) error {
		ids = append(ids, id)
		return ctx.Err()
	}, func(memory.Vector) error { return nil })
	return ids, err
}

// reloadGraph reads every relation again. The caller holds writing.
func (e *Engine) reloadGraph(ctx context.Context) error {
	var edges []memory.Edge
	err := e.vectors.Edges(ctx, nil, func(g memory.Edge) error {
		edges = append(edges, g)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	e.graph.reset(edges)
	return nil
}

func apply(x *vector.Index, v memory.Vector) error {
	if v.Unit == nil || x.Put(int64(v.ID), vector.Group(v.Group), v.Unit) != nil { // Check tells of vectors that are none
		x.Remove(int64(v.ID))
	}
	return nil
}

// followVectors applies to the index what changed in the store. The caller holds writing.
func (e *Engine) followVectors(ctx context.Context) error {
	if !e.loaded || e.embedder == nil {
		return nil
	}
	x := e.index.Load()
	mark, err := e.vectors.Changes(ctx, e.model, e.mark, func(v memory.Vector) error { return apply(x, v) })
	if err != nil {
		return err
	}
	e.mark = mark
	return nil
}

// followEdges reads relations again that may have changed. The caller holds writing.
func (e *Engine) followEdges(ctx context.Context, ids []caxton.RelationID) error {
	if len(ids) == 0 {
		return nil
	}
	if !e.loaded {
		e.missed = append(e.missed, ids...)
		return nil
	}
	var edges []memory.Edge
	err := e.vectors.Edges(ctx, ids, func(g memory.Edge) error {
		edges = append(edges, g)
		return nil
	})
	if err != nil {
		return err
	}
	e.graph.replace(ids, edges)
	return nil
}

// checkpoint saves what changed in the index since the last one. Writes go on while the
// segments are written: what they change belongs to the next.
func (e *Engine) checkpoint(ctx context.Context) error {
	if e.embedder == nil {
		return nil
	}
	unlock, err := e.lock(ctx)
	if err != nil {
		return err
	}
	held := true
	release := func() {
		if held {
			held = false
			unlock()
		}
	}
	defer release()
	x := e.index.Load()
	if !e.loaded || x.Stats().Dirty == 0 && len(e.stale) == 0 {
		return nil
	}
	mark, stale := e.mark, e.stale
	err = x.Checkpoint(true, func(segments iter.Seq[vector.Segment]) error {
		release() // the state is taken: see vector.Index.Checkpoint
		return e.vectors.SaveSegments(ctx, e.model, mark, func(yield func(uint32, []byte) bool) {
			for _, id := range stale {
				if !yield(id, nil) {
					return
				}
			}
			for s := range segments {
				if !yield(s.ID, s.Blob) {
					return
				}
			}
		})
	})
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if len(stale) == 0 {
		return nil
	}
	unlock, err = e.lock(ctx)
	if err != nil {
		return err
	}
	if e.index.Load() == x { // not built anew meanwhile
		e.stale = nil
	}
	unlock()
	return nil
}

func (e *Engine) vectorCount() int {
	if x := e.index.Load(); x != nil {
		return x.Len()
	}
	return 0
}
