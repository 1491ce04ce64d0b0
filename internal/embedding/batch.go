package embedding

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// An item is a text that somebody waits for. Its fields are guarded by Provider.mu; vector and
// err may be read without it once done is closed.
type item struct {
	key     key
	text    string
	waiters int
	bulk    bool          // only calls of several texts wait for it
	back    chan struct{} // while it is being embedded: closed when it is queued again
	done    chan struct{} // closed when there is a vector or an error
	vector  []float32
	err     error
}

// some embeds at most a batch of texts into out.
func (p *Provider) some(ctx context.Context, texts []string, out [][]float32) error {
	if err := ended(ctx); err != nil {
		return err
	}
	items, err := p.enter(texts, out)
	if err != nil {
		return err
	}
	defer p.leave(items)
	// Those that are queued come first: while this call waits for one that somebody else is
	// embedding, a permit may be free.
	for _, queued := range []bool{true, false} {
		for _, it := range items {
			if it == nil || queued && !p.queued(it) {
				continue // it was in the cache, or comes later
			}
			if err := p.wait(ctx, it, len(items) > 1); err != nil {
				return err
			}
		}
	}
	for i, it := range items {
		if it != nil {
			copy(out[i], it.vector)
		}
	}
	return nil
}

// queued reports whether nobody embeds it yet.
func (p *Provider) queued(it *item) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return it.back == nil
}

// enter copies what the cache has of texts into out and queues the rest, all of it or nothing.
// The items are those to wait for, nil where there is none.
func (p *Provider) enter(texts []string, out [][]float32) ([]*item, error) {
	keys := make([]key, len(texts))
	for i, t := range texts {
		keys[i] = p.key(t)
	}
	items := make([]*item, len(texts))
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= p.cfg.QueueSize {
		p.counts.refused += uint64(len(texts))
		return nil, caxton.Errorf(caxton.Exhausted, "embedding_queue_full", "%d texts are waiting to be embedded", len(p.queue)).
			WithHint("try again in a moment")
	}
	for i, k := range keys {
		p.counts.texts++
		if p.cache != nil {
			if v, ok := p.cache.Get(k); ok {
				p.counts.hits++
				copy(out[i], v.unit)
				continue
			}
		}
		it := p.pending[k]
		if it != nil {
			p.counts.shared++
		} else {
			p.counts.misses++
			it = &item{key: k, text: texts[i], bulk: true, done: make(chan struct{})}
			p.pending[k] = it
			p.queue = append(p.queue, it)
		}
		it.waiters++
		it.bulk = it.bulk && len(texts) > 1
		items[i] = it
	}
	return items, nil
}

// leave says that nobody of this call waits for items any more. One that nobody waits for and
// that is not being embedded is forgotten.
func (p *Provider) leave(items []*item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, it := range items {
		if it == nil {
			continue
		}
		if it.waiters--; it.waiters > 0 || it.back != nil || p.pending[it.key] != it {
			continue
		}
		delete(p.pending, it.key)
		p.queue = slices.DeleteFunc(p.queue, func(q *item) bool { return q == it })
	}
}

// wait returns when it has a vector or an error, or ctx ends. While it is queued, it tries to
// get a permit, and embeds with that.
func (p *Provider) wait(ctx context.Context, it *item, bulk bool) error {
	for {
		p.mu.Lock()
		back := it.back
		p.mu.Unlock()
		if back == nil {
			p.lead(ctx, it, bulk)
		} else {
			select {
			case <-it.done:
			case <-back:
			case <-ctx.Done():
			}
		}
		select {
		case <-it.done: // rather than ctx, when both
			return it.err
		default:
		}
		if err := ended(ctx); err != nil {
			return err
		}
	}
}

// hold gets a permit, or false when it is done or ctx has ended.
func hold(ctx context.Context, it *item, permits chan<- struct{}) bool {
	select {
	case permits <- struct{}{}:
		return true
	case <-it.done:
	case <-ctx.Done():
	}
	return false
}

var errUnfinished = errors.New("embedding did not come to an end")

// lead embeds own and what else is queued, once it has a permit. A call of several texts needs
// one of those for bulk as well, which are fewer: a search does not wait behind an import.
func (p *Provider) lead(ctx context.Context, own *item, bulk bool) {
	if bulk {
		if !hold(ctx, own, p.bulk) {
			return
		}
		defer func() { <-p.bulk }()
	}
	if !hold(ctx, own, p.permits) {
		return
	}
	defer func() { <-p.permits }()
	batch := p.take(own, bulk)
	if len(batch) == 0 {
		return // somebody else has it
	}
	texts := make([]string, len(batch))
	for i, it := range batch {
		texts[i] = it.text
	}
	vectors, errs := make([][]float32, len(batch)), slices.Repeat([]error{errUnfinished}, len(batch))
	defer func() { p.finish(ctx, batch, vectors, errs) }() // also after a panic
	start := time.Now()
	p.embed(ctx, texts, vectors, errs)
	p.observe(time.Since(start), len(batch))
}

// take removes a batch from the queue, own first. Unless it is bulk itself, bulk stays. It is
// empty when own is not queued.
func (p *Provider) take(own *item, bulk bool) []*item {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.queue, own) {
		return nil
	}
	batch, bytes, full := []*item{own}, len(own.text), false
	p.queue = slices.DeleteFunc(p.queue, func(it *item) bool {
		if it == own {
			return true
		}
		if full || it.bulk && !bulk {
			return false
		}
		bytes += len(it.text)
		full = len(batch) == p.cfg.BatchSize || p.model.batchBytes > 0 && bytes > p.model.batchBytes
		if !full {
			batch = append(batch, it)
		}
		return !full
	})
	for _, it := range batch {
		it.back = make(chan struct{})
	}
	return batch
}

// embed asks the model. When it refuses a batch for what is in it, halves are tried, so that a
// text which it does not take harms no other.
func (p *Provider) embed(ctx context.Context, texts []string, vectors [][]float32, errs []error) {
	got, err := p.model.embed(ctx, texts)
	if kind := caxton.KindOf(err); len(texts) > 1 && ctx.Err() == nil && (kind == caxton.Invalid || kind == caxton.TooLarge) {
		half := len(texts) / 2
		p.embed(ctx, texts[:half], vectors[:half], errs[:half])
		p.embed(ctx, texts[half:], vectors[half:], errs[half:])
		return
	}
	for i := range texts {
		errs[i] = err
		if err == nil {
			vectors[i] = got[i]
		}
	}
}

// finish hands out what came of a batch. What failed as its leader's context ended goes back to
// the head of the queue: the others who wait for it do so under their own.
func (p *Provider) finish(ctx context.Context, batch []*item, vectors [][]float32, errs []error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var again []*item
	for i, it := range batch {
		back := it.back
		if errs[i] != nil && ctx.Err() != nil {
			it.back = nil
			close(back)
			if it.waiters > 0 {
				again = append(again, it)
			} else {
				delete(p.pending, it.key)
			}
			continue
		}
		if errs[i] == nil {
			p.counts.embedded++
			if p.cache != nil {
				p.keep(it.key, vectors[i], it.text)
			}
		} else {
			p.counts.failed++
		}
		delete(p.pending, it.key)
		it.vector, it.err = vectors[i], errs[i]
		close(it.done)
	}
	p.queue = slices.Insert(p.queue, 0, again...)
}
