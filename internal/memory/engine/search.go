package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/vector"
)

const (
	minCandidates = 50 // of each signal
	perHit        = 5  // candidates of each signal for each hit asked for
	maxCandidates = 8192
	seeds         = 5   // of the best passages whose entities' neighbours are looked at
	added         = 5   // entities that the graph alone may bring in
	addedText     = 32  // observations of such an entity that are compared
	seedShare     = 0.6 // of the best score a passage must have for its entity to be a seed
)

// Search returns what was remembered about a query, within q.Access. What it returns is shared
// with later searches for the same: nobody may change it.
func (e *Engine) Search(ctx context.Context, q memory.Query) (memory.Result, error) {
	return e.searchCached(ctx, q, e.cfg.CacheTTL)
}

func (e *Engine) searchCached(ctx context.Context, q memory.Query, ttl time.Duration) (memory.Result, error) {
	start := time.Now()
	q, err := checkedQuery(q)
	if err != nil {
		return memory.Result{}, err
	}
	key := queryKey(&q)
	if r, ok := e.cache.get(key, e.cfg.Now()); ok {
		r.Took = time.Since(start)
		return r, nil
	}
	stamp := e.cache.stamp(q.Access)
	r, err := e.searchSteady(ctx, q)
	if err != nil {
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

// A candidate is a passage that a signal found.
type candidate struct {
	id caxton.MemoryID
	measured
	entity  caxton.Entity // with the observation, or without any; set once read
	score   float64
	signals []memory.Signal
}

func (c *candidate) text() string {
	observation := ""
	if len(c.entity.Observations) > 0 {
		observation = c.entity.Observations[0].Text
	}
	return memory.PassageText(c.entity.Name, c.entity.Type, observation)
}

// search does one search. gone reports that a candidate was no longer there when it was read.
func (e *Engine) search(ctx context.Context, q memory.Query) (r memory.Result, gone bool, err error) {
	unit, groups, degraded, err := e.prepare(ctx, &q)
	if err != nil {
		return r, false, err
	}
	r = memory.Result{Mode: q.Mode, Degraded: degraded}
	if unit != nil {
		r.Model = e.model
	}
	bounded := boundedFilter(q.Filter)
	want := max(minCandidates, perHit*q.Limit)
	if bounded || q.Filter.AsOf != nil {
		want *= 2
	}
	var found []*candidate
	for {
		cs, full, err := e.candidates(ctx, q, unit, groups, want)
		if err != nil {
			return r, false, err
		}
		n := len(cs)
		if found, err = e.read(ctx, q, cs); err != nil {
			return r, false, err
		}
		gone = gone || len(found) < n
		if len(found) >= 2*q.Limit || !full || want >= maxCandidates || len(found) == n && !bounded {
			break
		}
		want = min(4*want, maxCandidates) // the filter let few pass: look further
	}
	s := scale{mode: q.Mode, halfLife: e.cfg.HalfLife}
	e.gauge(&s, q.Text, found)
	e.score(s, q, found)
	if q.Mode == memory.Hybrid {
		if found, err = e.askGraph(ctx, q, s, unit, groups, found); err != nil {
			return r, false, err
		}
	}
	r.Hits = gather(q, found)
	if q.Relations && len(r.Hits) > 0 {
		err = e.relate(ctx, q, groups, r.Hits)
	}
	return r, gone, err
}

// prepare embeds the query and finds the groups to search. Without an answer of the model
// q.Mode becomes Words, and degraded says why.
func (e *Engine) prepare(ctx context.Context, q *memory.Query) (unit []float32, groups []memory.Group, degraded string, err error) {
	if groups, err = e.groups(ctx, q.Access, q.Filter.AsOf != nil); err != nil {
		return nil, nil, "", err
	}
	if q.Mode == memory.Words {
		return nil, groups, "", nil
	}
	if err := e.wait(ctx); err != nil {
		return nil, nil, "", err
	}
	if e.embedder == nil {
		q.Mode = memory.Words
		return nil, groups, "there is no embedding model", nil
	}
	within, cancel := context.WithTimeout(ctx, e.cfg.EmbedTimeout)
	defer cancel()
	units, err := e.embedder.Embed(within, []string{q.Text})
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, "", ended(ctx, "the search did not end in time")
		}
		q.Mode = memory.Words
		return nil, groups, why(err), nil
	}
	return units[0], groups, "", nil
}

// candidates returns the union of what words and meaning find, each measured by both. full
// reports that there may be more.
func (e *Engine) candidates(ctx context.Context, q memory.Query, unit []float32, groups []memory.Group, want int) (cs []*candidate, full bool, err error) {
	var matches []memory.TextMatch
	var hits []vector.Hit
	var wordsErr, meaningErr error
	var both sync.WaitGroup
	if q.Mode != memory.Meaning {
		both.Go(func() { matches, wordsErr = e.store.Match(ctx, q.Access, q.Text, q.Filter, want) })
	}
	if unit != nil {
		gs := make([]vector.Group, len(groups))
		for i, g := range groups {
			gs[i] = vector.Group(g)
		}
		hits, meaningErr = e.index.Load().Search(ctx, unit, want, vector.Options{Groups: gs})
	}
	both.Wait()
	if err := errors.Join(wordsErr, meaningErr); err != nil {
		return nil, false, fmt.Errorf("search memory: %w", err)
	}
	by := make(map[caxton.MemoryID]*candidate, len(matches)+len(hits))
	for i, m := range matches {
		c := &candidate{id: m.ID, measured: measured{bm25: m.Score, wordRank: i + 1}}
		by[m.ID] = c
		cs = append(cs, c)
	}
	for i, h := range hits {
		c := by[caxton.MemoryID(h.ID)]
		if c == nil {
			c = &candidate{id: caxton.MemoryID(h.ID)}
			by[c.id] = c
			cs = append(cs, c)
		}
		c.cosine, c.hasUnit, c.rank = float64(h.Score), true, i+1
	}
	full = len(matches) == want || len(hits) == want
	if unit != nil {
		err = e.exact(ctx, unit, by)
	}
	return cs, full, err
}

// exact replaces the cosines of candidates by those of the vectors as the model made them,
// and measures those that words found.
func (e *Engine) exact(ctx context.Context, unit []float32, by map[caxton.MemoryID]*candidate) error {
	ids := make([]caxton.MemoryID, 0, len(by))
	for id := range by {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return e.vectors.Vectors(ctx, e.model, ids, func(v memory.Vector) error {
		if c := by[v.ID]; c != nil && len(v.Unit) == len(unit) {
			c.cosine, c.hasUnit = dot(unit, v.Unit), true
		}
		return nil
	})
}

func dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a) && i+4 <= len(b); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return float64(s0 + s1 + s2 + s3)
}

// read reads candidates from the store, within the access and the filter; those that are not
// there are left out.
func (e *Engine) read(ctx context.Context, q memory.Query, cs []*candidate) ([]*candidate, error) {
	if len(cs) == 0 {
		return nil, nil
	}
	by := make(map[caxton.MemoryID]*candidate, len(cs))
	ids := make([]caxton.MemoryID, len(cs))
	for i, c := range cs {
		ids[i], by[c.id] = c.id, c
	}
	entities, err := e.store.Hits(ctx, q.Access, ids, q.Filter)
	if err != nil {
		return nil, fmt.Errorf("search memory: %w", err)
	}
	now := e.cfg.Now()
	if at := q.Filter.AsOf; at != nil && !at.Valid.IsZero() {
		now = at.Valid
	}
	found := make([]*candidate, 0, len(entities))
	for i := range entities {
		en := &entities[i]
		id, since := caxton.MemoryID(en.ID), en.UpdatedAt
		if len(en.Observations) > 0 {
			o := &en.Observations[0]
			id = caxton.MemoryID(o.ID)
			since = o.Known.From
			if !o.Valid.From.IsZero() {
				since = o.Valid.From
			}
		}
		c := by[id]
		if c == nil {
			continue
		}
		c.entity, c.importance, c.age = *en, en.Importance, now.Sub(since)
		found = append(found, c)
	}
	return found, nil
}

// gauge sets what the words of found are measured by.
func (e *Engine) gauge(s *scale, query string, found []*candidate) {
	var matched []*candidate
	var texts []string
	for _, c := range found {
		if c.bm25 > 0 {
			s.bm25 = max(s.bm25, c.bm25)
			matched = append(matched, c)
			texts = append(texts, c.text())
		}
	}
	for i, share := range covered(query, texts) {
		if matched[i].bm25 == s.bm25 {
			s.coverage = max(s.coverage, share)
		}
	}
}

// score fuses the signals of candidates and puts the best first.
func (e *Engine) score(s scale, _ memory.Query, cs []*candidate) {
	for _, c := range cs {
		c.score, c.signals = fuse(e.cfg.Weights, s, &c.measured)
	}
	slices.SortFunc(cs, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.id, a.id))
	})
}

// askGraph lets the graph speak: what is connected to entities that the query names or that
// were found well counts more, and some that were not found at all come in.
func (e *Engine) askGraph(ctx context.Context, q memory.Query, s scale, unit []float32, groups []memory.Group, found []*candidate) ([]*candidate, error) {
	if len(found) == 0 || e.cfg.Weights.Graph == 0 {
		return found, nil
	}
	text := strings.ToLower(q.Text)
	from := map[caxton.EntityID]float64{}
	names := map[caxton.EntityID]string{}
	for i, c := range found {
		id := c.entity.ID
		names[id] = c.entity.Name
		switch {
		case from[id] == 1:
		case mentions(text, c.entity.Name):
			from[id] = 1
		case i < seeds && c.score >= seedShare*found[0].score:
			from[id] = max(from[id], c.score)
		}
	}
	e.graph.mu.RLock()
	w := e.graph.walk(memory.Traversal{Access: q.Access, Direction: memory.Both}, groups, e.cfg.Now())
	e.graph.mu.RUnlock()
	near := e.graph.spread(from, &w)
	if len(near) == 0 {
		return found, nil
	}
	have := map[caxton.EntityID]bool{}
	for _, c := range found {
		have[c.entity.ID] = true
		c.connect(near, names)
	}
	more, err := e.fromGraph(ctx, q, unit, near, have)
	if err != nil {
		return nil, err
	}
	for _, c := range more {
		c.connect(near, names)
	}
	found = append(found, more...)
	e.score(s, q, found)
	return found, nil
}

func (c *candidate) connect(by map[caxton.EntityID]near, names map[caxton.EntityID]string) {
	if n, ok := by[c.entity.ID]; ok {
		c.graph = n.strength
		c.via = "connected to " + names[n.from]
	}
}

// fromGraph reads the most strongly connected entities that no other signal found.
func (e *Engine) fromGraph(ctx context.Context, q memory.Query, unit []float32, by map[caxton.EntityID]near, have map[caxton.EntityID]bool) ([]*candidate, error) {
	var ids []caxton.EntityID
	for id := range by {
		if !have[id] {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b caxton.EntityID) int {
		return cmp.Or(cmp.Compare(by[b].strength, by[a].strength), cmp.Compare(a, b))
	})
	var at memory.AsOf
	if q.Filter.AsOf != nil {
		at = *q.Filter.AsOf
	}
	candidates := map[caxton.MemoryID]*candidate{}
	var order []*candidate
	for _, id := range ids[:min(len(ids), added)] {
		en, err := e.store.Entity(ctx, q.Access, id, at)
		if caxton.KindOf(err) == caxton.NotFound {
			continue // forgotten meanwhile, or not yet at that time
		}
		if err != nil {
			return nil, err
		}
		passages := []caxton.MemoryID{caxton.MemoryID(id)}
		if n := len(en.Observations); n > 0 {
			passages = passages[:0]
			for _, o := range en.Observations[max(0, n-addedText):] {
				passages = append(passages, caxton.MemoryID(o.ID))
			}
		}
		for _, p := range passages {
			c := &candidate{id: p}
			candidates[p] = c
			order = append(order, c)
		}
	}
	if len(order) == 0 {
		return nil, nil
	}
	if unit != nil {
		if err := e.exact(ctx, unit, candidates); err != nil {
			return nil, err
		}
	}
	return e.read(ctx, q, order)
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

// relate adds to hits the relations among them and at them.
func (e *Engine) relate(ctx context.Context, q memory.Query, groups []memory.Group, hits []memory.Hit) error {
	const each = 20 // relations of one hit, the strongest
	at := memory.AsOf{}
	if q.Filter.AsOf != nil {
		at = *q.Filter.AsOf
	}
	var ids []caxton.RelationID
	listed := map[caxton.RelationID]bool{}
	of := make([][]caxton.RelationID, len(hits))
	e.graph.mu.RLock()
	w := e.graph.walk(memory.Traversal{Access: q.Access, Direction: memory.Both}, groups, e.cfg.Now())
	for i := range hits {
		n, ok := e.graph.at[hits[i].Entity.ID]
		if !ok {
			continue
		}
		steps := e.graph.steps(nil, n, &w)
		for _, s := range steps[:min(len(steps), each)] {
			id := e.graph.edges[s.edge].id
			of[i] = append(of[i], id)
			if !listed[id] {
				listed[id] = true
				ids = append(ids, id)
			}
		}
	}
	e.graph.mu.RUnlock()
	if len(ids) == 0 {
		return nil
	}
	relations, err := e.store.Related(ctx, q.Access, ids, at)
	if err != nil {
		return err
	}
	by := make(map[caxton.RelationID]caxton.Relation, len(relations))
	for _, r := range relations {
		by[r.ID] = r
	}
	for i := range hits {
		for _, id := range of[i] {
			if r, ok := by[id]; ok {
				hits[i].Relations = append(hits[i].Relations, r)
			}
		}
	}
	return nil
}

// boundedFilter reports whether f lets only some passages of a group pass.
func boundedFilter(f memory.Filter) bool {
	return len(f.Types) > 0 || f.Name != "" || len(f.Metadata) > 0 || !f.Since.IsZero() || !f.Until.IsZero() ||
		f.MinImportance > 0 || f.ConversationID != "" || f.AgentID != "" || f.AsOf != nil
}
