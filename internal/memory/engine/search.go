package engine

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/telemetry"
)

const (
	minCandidates = 50 // of each signal
	perHit        = 5  // candidates of each signal for each hit asked for
	maxCandidates = 8192
)

// Search returns what was remembered about a query, within q.Access. What it returns is shared
// with later searches for the same: nobody may change it.
func (e *Engine) Search(ctx context.Context, q memory.Query) (memory.Result, error) {
	return e.searchCached(ctx, q, e.cfg.CacheTTL)
}

func (e *Engine) searchCached(ctx context.Context, q memory.Query, ttl time.Duration) (r memory.Result, err error) {
	ctx, span := telemetry.Start(ctx, telemetry.Internal, "caxton.memory.search", "")
	defer func() {
		span.Str("caxton.memory.mode", string(q.Mode))
		span.Int("caxton.memory.hits", int64(len(r.Hits)))
		span.Bool("caxton.memory.degraded", r.Degraded != "")
		span.End(err)
	}()
	start := time.Now()
	if q, err = checkedQuery(q); err != nil {
		return memory.Result{}, err
	}
	key := queryKey(&q)
	if r, ok := e.cache.get(key, e.cfg.Now()); ok {
		r.Took = time.Since(start)
		span.Bool("caxton.memory.cached", true)
		return r, nil
	}
	stamp := e.cache.stamp(q.Access)
	if r, err = e.searchSteady(ctx, q); err != nil {
		return memory.Result{}, err
	}
	r.Took = time.Since(start)
	if r.Degraded == "" {
		e.cache.put(key, q.Access, stamp, r, e.cfg.Now().Add(ttl))
	}
	kind := semanticSearch
	if r.Mode == memory.Words {
		kind = textSearch
	}
	e.stats.query(ctx, kind, r.Took, q.Text)
	return r, nil
}

// searchSteady searches until no write went on beside it that could have hidden something:
// a candidate that is gone may have been superseded by one that was none yet. When writes
// do not stop, it keeps them waiting.
func (e *Engine) searchSteady(ctx context.Context, q memory.Query) (memory.Result, error) {
	for range 2 {
		before := e.writes.Load()
		r, gone, err := e.search(ctx, q)
		if err != nil || !gone || e.writes.Load() == before && before%2 == 0 {
			return r, err
		}
	}
	unlock, err := e.lock(ctx)
	if err != nil {
		return memory.Result{}, err
	}
	defer unlock()
	r, _, err := e.search(ctx, q)
	return r, err
}

func checkedQuery(q memory.Query) (memory.Query, error) {
	q.Mode = cmp.Or(q.Mode, memory.Hybrid)
	q.Limit = cmp.Or(q.Limit, memory.DefaultLimit)
	q.PerEntity = cmp.Or(q.PerEntity, 3)
	q.Text = strings.ToValidUTF8(strings.TrimSpace(q.Text), "\uFFFD")
	switch {
	case q.Text == "":
		return q, caxton.Errorf(caxton.Invalid, "query_empty", "there is nothing to search for")
	case len(q.Text) > memory.MaxQuery:
		return q, caxton.Errorf(caxton.TooLarge, "query_too_large", "the query has %d bytes; at most %d are looked for", len(q.Text), memory.MaxQuery)
	case q.Mode != memory.Hybrid && q.Mode != memory.Words && q.Mode != memory.Meaning:
		return q, caxton.Errorf(caxton.Invalid, "mode_invalid", "%.40q is not a mode of searching", q.Mode).WithHint("write hybrid, words or meaning")
	case q.Limit < 1 || q.Limit > memory.MaxLimit:
		return q, caxton.Errorf(caxton.Invalid, "limit_invalid", "the limit is %d; it must be 1 to %d", q.Limit, memory.MaxLimit)
	case !(q.MinSimilarity >= 0 && q.MinSimilarity <= 1):
		return q, caxton.Errorf(caxton.Invalid, "similarity_invalid", "the least similarity is %v; it must be 0 to 1", q.MinSimilarity)
	case q.PerEntity < 0:
		return q, caxton.Errorf(caxton.Invalid, "per_entity_invalid", "%d observations of an entity are none", q.PerEntity)
	}
	return q, nil
}

// A looking is what one search goes by.
type looking struct {
	q      memory.Query
	ask    question
	groups []memory.Group
	unit   []float32           // nil: by words alone
	known  map[string][]string // things that the query names; nil until gauged
	s      scale
}

// search does one search. gone reports that a candidate was no longer there when it was read.
func (e *Engine) search(ctx context.Context, q memory.Query) (r memory.Result, gone bool, err error) {
	bounded := boundedFilter(q.Filter)
	want := max(minCandidates, perHit*q.Limit)
	if bounded || q.Filter.AsOf != nil {
		want *= 2
	}
	ahead := e.matchAhead(ctx, q, want)
	defer ahead.done.Wait()
	l, degraded, err := e.prepare(ctx, q)
	if err != nil {
		return r, false, err
	}
	r = memory.Result{Mode: l.q.Mode, Degraded: degraded}
	if l.unit != nil {
		r.Model = e.model
	}
	var found []*candidate
	for {
		cs, full, err := e.candidates(ctx, l, ahead, want)
		if err != nil {
			return r, false, err
		}
		n := len(cs)
		if found, err = e.read(ctx, l, cs); err != nil {
			return r, false, err
		}
		gone = gone || len(found) < n
		if len(found) >= 2*q.Limit || !full || want >= maxCandidates || len(found) == n && !bounded {
			break
		}
		want = min(4*want, maxCandidates) // the filter let few pass: look further
	}
	if err := e.gauge(ctx, l, found, found); err != nil {
		return r, false, err
	}
	e.score(l, found)
	if l.q.Mode == memory.Hybrid {
		if found, err = e.askGraph(ctx, l, found); err != nil {
			return r, false, err
		}
	}
	if err := e.exact(ctx, l, found); err != nil {
		return r, false, err
	}
	r.Hits = gather(l.q, found)
	if q.Relations && len(r.Hits) > 0 {
		err = e.relate(ctx, l.q, l.groups, r.Hits)
	}
	return r, gone, err
}

// prepare finds the groups to search, takes the query apart and embeds it. Without an answer of
// the model the mode becomes Words, and degraded says why.
func (e *Engine) prepare(ctx context.Context, q memory.Query) (l *looking, degraded string, err error) {
	l = &looking{q: q, s: scale{fade: e.cfg.Fade, now: e.cfg.Now()}}
	if at := q.Filter.AsOf; at != nil && !at.Valid.IsZero() {
		l.s.now = at.Valid
	}
	if l.groups, err = e.groups(ctx, q.Access, q.Filter.AsOf != nil); err != nil {
		return nil, "", err
	}
	if q.Mode != memory.Words {
		if degraded, err = e.embed(ctx, l); err != nil {
			return nil, "", err
		}
		if degraded != "" {
			l.q.Mode = memory.Words
		}
	}
	l.s.mode = l.q.Mode
	return l, degraded, nil
}

// embed sets the unit of a search, or says why there is none.
func (e *Engine) embed(ctx context.Context, l *looking) (degraded string, err error) {
	if err := e.wait(ctx); err != nil {
		return "", err
	}
	if e.embedder == nil {
		return "there is no embedding model", nil
	}
	text := l.q.Text
	if l.q.Mode == memory.Hybrid {
		if l.ask, err = e.ask(ctx, l.q, l.s.now); err != nil {
			return "", fmt.Errorf("search memory: %w", err)
		}
		l.s.question = &l.ask
		text = l.ask.meaning
	}
	within, cancel := context.WithTimeout(ctx, e.cfg.EmbedTimeout)
	defer cancel()
	units, err := e.embedder.Embed(within, []string{text})
	if err != nil {
		if ctx.Err() != nil {
			return "", ended(ctx, "the search did not end in time")
		}
		return why(err), nil
	}
	l.unit = units[0]
	return "", nil
}

// gather puts passages together by entity, the best first.
func gather(q memory.Query, found []*candidate) []memory.Hit {
	var hits []memory.Hit
	at := map[caxton.EntityID]int{}
	for _, c := range found { // best first
		if c.score < q.MinSimilarity || c.score <= 0 {
			continue
		}
		i, ok := at[c.entity.ID]
		if !ok {
			if len(hits) == q.Limit {
				continue
			}
			i = len(hits)
			at[c.entity.ID] = i
			en := c.entity
			en.Observations = nil
			hits = append(hits, memory.Hit{Entity: en, Score: c.score})
		}
		h := &hits[i]
		if len(h.Found) == q.PerEntity {
			continue
		}
		h.Entity.Observations = append(h.Entity.Observations, c.entity.Observations...)
		h.Found = append(h.Found, memory.Found{ID: c.id, Score: c.score, Signals: c.signals})
	}
	return hits
}

// boundedFilter reports whether f lets only some passages of a group pass.
func boundedFilter(f memory.Filter) bool {
	return len(f.Types) > 0 || f.Name != "" || len(f.Metadata) > 0 || !f.Since.IsZero() || !f.Until.IsZero() ||
		f.MinImportance > 0 || f.ConversationID != "" || f.AgentID != "" || f.AsOf != nil
}
