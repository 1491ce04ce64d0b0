package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/telemetry"
)

// Remember keeps memos, all or none, and makes them searchable. Few passages are embedded
// first; many, or when the model does not answer, are embedded in the background.
func (e *Engine) Remember(ctx context.Context, a memory.Access, memos []memory.Memo, by caxton.Provenance) (w memory.Written, err error) {
	ctx, span := telemetry.Start(ctx, telemetry.Internal, "caxton.memory.remember", "")
	defer func() {
		span.Int("caxton.memory.memos", int64(len(memos)))
		span.Bool("caxton.memory.degraded", w.Degraded != "")
		span.End(err)
	}()
	for i := range memos {
		if m := &memos[i]; m.ID == 0 && m.Scope != (caxton.Scope{}) && !a.Sees(m.Scope) {
			return memory.Written{}, caxton.Errorf(caxton.Forbidden, "memory_scope_forbidden", "nothing can be remembered in %s from here", m.Scope)
		}
	}
	units, degraded, err := e.foresee(ctx, a, memos)
	if err != nil {
		return memory.Written{}, err
	}
	return e.write(ctx, a, memos, by, units, degraded)
}

// write keeps memos with the embeddings of those passages whose text is in units.
func (e *Engine) write(ctx context.Context, a memory.Access, memos []memory.Memo, by caxton.Provenance, units map[string][]float32, degraded string) (memory.Written, error) {
	unlock, err := e.lock(ctx)
	if err != nil {
		return memory.Written{}, err
	}
	defer unlock()
	defer e.begin()()
	done, err := e.store.Remember(ctx, a, memos, by)
	if err != nil {
		return memory.Written{}, err
	}
	w := memory.Written{Remembered: done, Degraded: degraded}

	ctx = context.WithoutCancel(ctx) // it is remembered; now everything follows
	var relations []caxton.RelationID
	var touched []caxton.EntityID
	var vectors []memory.Vector
	created := false
	for i := range done {
		r := &done[i]
		created = created || r.Created
		touched = append(touched, r.Entity.ID)
		for j := range r.Relations {
			relations = append(relations, r.Relations[j].ID)
			touched = append(touched, r.Relations[j].From, r.Relations[j].To)
		}
		for id, text := range passages(&memos[i], r) {
			if unit := units[text]; unit != nil {
				vectors = append(vectors, memory.Vector{ID: id, Unit: unit})
			} else if e.embedder != nil {
				w.Unembedded++
			}
		}
	}
	if created {
		e.forgetGroups()
	}
	if len(vectors) > 0 {
		if err := e.vectors.PutVectors(ctx, e.model, vectors); err != nil {
			w.Unembedded += len(vectors)
			w.Degraded = "the embeddings could not be kept"
			e.cfg.Logger.WarnContext(ctx, "embeddings of memory not kept, they are made again", "error", err)
		}
	}
	if w.Unembedded > 0 {
		e.wake()
	} else {
		w.Degraded = ""
	}
	e.graph.changed(touched)
	e.follow(ctx, relations)
	for i := range done {
		e.cache.changed(done[i].Entity.Scope)
	}
	e.stats.wrote(len(done))
	return w, nil
}

// begin counts the beginning of a write and returns what counts its end, so that a search
// notices that one went on beside it.
func (e *Engine) begin() (end func()) {
	e.writes.Add(1)
	return func() { e.writes.Add(1) }
}

// passages returns the texts that a memo made, by the ID of the passage.
func passages(m *memory.Memo, r *memory.Remembered) map[caxton.MemoryID]string {
	texts := make(map[caxton.MemoryID]string, len(r.Observations))
	for i, n := range r.Observations {
		if !n.Duplicate {
			texts[caxton.MemoryID(n.ID)] = memory.MeaningText(r.Entity.Name, r.Entity.Type, m.Notes[i].Text)
		}
	}
	if r.Created && len(r.Observations) == 0 {
		texts[caxton.MemoryID(r.Entity.ID)] = memory.MeaningText(r.Entity.Name, r.Entity.Type, "")
	}
	return texts
}

// foresee embeds the passages that memos will make, as far as can be told before they are
// written. Those it misses are embedded in the background.
func (e *Engine) foresee(ctx context.Context, a memory.Access, memos []memory.Memo) (units map[string][]float32, degraded string, err error) {
	if e.embedder == nil {
		return nil, "", nil
	}
	n := 0
	for i := range memos {
		n += max(1, len(memos[i].Notes))
	}
	if n > e.cfg.Batch {
		return nil, fmt.Sprintf("%d passages are embedded in the background", n), nil
	}
	var texts []string
	for i := range memos {
		m := &memos[i]
		name, kind, there, err := e.nameOf(ctx, a, m)
		if err != nil {
			return nil, "", err
		}
		for j := range m.Notes {
			texts = append(texts, memory.MeaningText(name, kind, m.Notes[j].Text))
		}
		if !there && len(m.Notes) == 0 {
			texts = append(texts, memory.MeaningText(name, kind, ""))
		}
	}
	if len(texts) == 0 {
		return nil, "", nil
	}
	vectors, err := e.embedder.Embed(ctx, texts)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", ended(ctx, "the passages were not embedded in time")
		}
		return nil, why(err), nil // the text is remembered without
	}
	units = make(map[string][]float32, len(texts))
	for i, t := range texts {
		units[t] = vectors[i]
	}
	return units, "", nil
}

// nameOf returns the name and type that the entity of a memo has or will have.
func (e *Engine) nameOf(ctx context.Context, a memory.Access, m *memory.Memo) (name, kind string, there bool, err error) {
	var found []caxton.Entity
	if m.ID != 0 {
		found, err = e.store.Hits(ctx, a, []caxton.MemoryID{caxton.MemoryID(m.ID)}, memory.Filter{})
	} else {
		found, err = e.store.Named(ctx, memory.Access{Scopes: []caxton.Scope{m.Scope}}, m.Name, memory.AsOf{})
	}
	if err != nil {
		return "", "", false, err
	}
	if len(found) > 0 {
		return found[0].Name, found[0].Type, true, nil
	}
	if m.Type == "" {
		return m.Name, memory.DefaultType, false, nil
	}
	return m.Name, m.Type, false, nil
}

// why says for people why the model did not answer.
func why(err error) string {
	if known, ok := errors.AsType[*caxton.Error](err); ok {
		return "the embedding model is not available: " + known.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the embedding model did not answer in time"
	}
	return "the embedding model is not available"
}

// Forget closes the known time of what it is given; nothing is removed.
func (e *Engine) Forget(ctx context.Context, a memory.Access, f memory.Forgetting) (memory.Changed, error) {
	return e.change(ctx, func() (memory.Changed, error) { return e.store.Forget(ctx, a, f) })
}

// Revert takes back what came from somewhere.
func (e *Engine) Revert(ctx context.Context, a memory.Access, r memory.Reversal) (memory.Changed, error) {
	if r.DryRun {
		return e.store.Revert(ctx, a, r)
	}
	return e.change(ctx, func() (memory.Changed, error) { return e.store.Revert(ctx, a, r) })
}

func (e *Engine) change(ctx context.Context, write func() (memory.Changed, error)) (memory.Changed, error) {
	unlock, err := e.lock(ctx)
	if err != nil {
		return memory.Changed{}, err
	}
	defer unlock()
	defer e.begin()()
	c, err := write()
	if err != nil {
		return c, err
	}
	e.graph.forgetDetails()
	e.follow(context.WithoutCancel(ctx), slices.Concat(c.Relations, c.RestoredRelations, c.Hidden))
	c.Hidden = nil
	e.cache.clear()
	if len(c.Observations)+len(c.Restored) > 0 {
		e.wake() // the name of an entity may have become a passage
	}
	e.stats.wrote(1)
	return c, nil
}

// follow applies a write to the index and the graph. When the store cannot be read, the next
// write makes up for it. The caller holds writing.
func (e *Engine) follow(ctx context.Context, relations []caxton.RelationID) {
	if err := e.followVectors(ctx); err != nil {
		e.cfg.Logger.WarnContext(ctx, "index of memory is behind, the next write brings it up to date", "error", err)
	}
	if e.loaded {
		relations = append(e.missed, relations...)
		e.missed = nil
	}
	if err := e.followEdges(ctx, relations); err != nil {
		e.missed = relations
		e.graph.forgetDetails()
		e.cfg.Logger.WarnContext(ctx, "graph of memory is behind", "error", err)
	}
}

// wake tells embedBacklog that there is something to embed.
func (e *Engine) wake() {
	select {
	case e.backlog <- struct{}{}:
	default: // it knows
	}
}

const (
	backlogPage  = 512 // passages read at once
	backlogAgain = time.Second
	backlogMost  = time.Minute // between two attempts while the model does not answer
	backlogLook  = 10 * time.Minute
)

// embedBacklog embeds the passages that have no vector, until ctx ends.
func (e *Engine) embedBacklog(ctx context.Context) {
	if e.embedder == nil {
		return
	}
	e.wake()
	again := backlogAgain
	t := time.NewTimer(backlogLook)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.backlog:
		case <-t.C:
		}
		err := e.embedAll(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			e.state.setDegraded(why(err))
			e.cfg.Logger.WarnContext(ctx, "passages of memory not embedded", "error", err, "again_in", again)
			t.Reset(again)
			again = min(2*again, backlogMost)
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				e.wake()
			}
		default:
			e.state.setDegraded("")
			again = backlogAgain
		}
		t.Reset(backlogLook)
	}
}

// embedAll goes once over everything that has no vector. What the model refuses is left out
// and tried again another time; another failure ends it.
func (e *Engine) embedAll(ctx context.Context) error {
	start, embedded, refused := time.Now(), 0, 0
	for after := caxton.MemoryID(0); ; {
		page, err := e.unembedded(ctx, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		if embedded+refused == 0 {
			e.countBacklog(ctx)
		}
		after = page[len(page)-1].ID
		for len(page) > 0 {
			n := min(e.cfg.Batch, len(page))
			done, err := e.embedBatch(ctx, page[:n])
			if err != nil {
				return err
			}
			embedded += done
			refused += n - done
			e.state.embedded.Add(int64(done))
			e.state.waiting.Store(max(0, e.state.waiting.Load()-int64(n)))
			page = page[n:]
		}
	}
	e.state.waiting.Store(int64(refused))
	if refused > 0 {
		e.cfg.Logger.WarnContext(ctx, "passages of memory refused by the embedding model", "count", refused)
	}
	if embedded > 0 {
		e.cfg.Logger.InfoContext(ctx, "passages of memory embedded", "count", embedded, "took", time.Since(start).Round(time.Millisecond))
	}
	if refused == 0 {
		return e.dropOtherModels(ctx)
	}
	return nil
}

// unembedded reads passages while nobody writes: a write keeps its vectors after its text.
func (e *Engine) unembedded(ctx context.Context, after caxton.MemoryID) ([]memory.Passage, error) {
	unlock, err := e.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return e.vectors.Unembedded(ctx, e.model, after, backlogPage)
}

func (e *Engine) countBacklog(ctx context.Context) {
	if c, err := e.keeper.Count(ctx, e.model); err == nil {
		e.state.waiting.Store(c.Unembedded)
	}
}

// embedBatch embeds passages and keeps the vectors. When the model refuses one of them, each
// is tried on its own. It returns how many were embedded.
func (e *Engine) embedBatch(ctx context.Context, batch []memory.Passage) (int, error) {
	texts := make([]string, len(batch))
	for i := range batch {
		texts[i] = batch[i].Text
	}
	units, err := e.embedder.Embed(ctx, texts)
	if err != nil {
		if k := caxton.KindOf(err); k != caxton.Invalid && k != caxton.TooLarge && k != caxton.Malformed {
			return 0, err
		}
		if len(batch) == 1 {
			return 0, nil
		}
		done := 0
		for i := range batch {
			n, err := e.embedBatch(ctx, batch[i:i+1])
			if err != nil {
				return done, err
			}
			done += n
		}
		return done, nil
	}
	vectors := make([]memory.Vector, len(batch))
	for i := range batch {
		vectors[i] = memory.Vector{ID: batch[i].ID, Group: batch[i].Group, Unit: units[i]}
	}
	unlock, err := e.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if err := e.vectors.PutVectors(ctx, e.model, vectors); err != nil {
		return 0, err
	}
	err = e.followVectors(context.WithoutCancel(ctx))
	e.cache.clear() // only now: a search beside this would keep what it found without them
	return len(batch), err
}

// dropOtherModels removes the vectors of models that are no longer used, once this one has
// all of them.
func (e *Engine) dropOtherModels(ctx context.Context) error {
	c, err := e.keeper.Count(ctx, e.model)
	if err != nil {
		return err
	}
	for model := range c.ByModel {
		if model == e.model || c.Unembedded > 0 {
			continue
		}
		if err := e.vectors.DropModel(ctx, model); err != nil {
			return err
		}
		e.cfg.Logger.InfoContext(ctx, "embeddings of another model removed", "model", model)
	}
	return nil
}
