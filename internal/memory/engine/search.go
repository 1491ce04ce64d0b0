package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
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
	minExact      = 40 // passages whose vectors are read, at least
	perHit        = 5  // candidates of each signal for each hit asked for
	maxCandidates = 8192
	seeds         = 5   // of the best passages whose entities' neighbours are looked at
	added         = 5   // entities that the graph alone may bring in
	addedText     = 32  // observations of such an entity that are compared
	hopFrom       = 3   // of the best passages whose names are followed
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
	sum     float64       // by which it stands in order
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

// maxAbout bounds the passages that are looked at because they have a name of the query.
const maxAbout = 16_000

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

// A matching is what the words of a query find: it is looked for while the model embeds the query.
type matching struct {
	want  int // 0 when nothing is looked for
	done  sync.WaitGroup
	found []memory.TextMatch
	err   error
}

func (e *Engine) matchAhead(ctx context.Context, q memory.Query, want int) *matching {
	m := &matching{}
	if q.Mode != memory.Meaning {
		m.want = want
		m.done.Go(func() { m.found, m.err = e.store.Match(ctx, q.Access, q.Text, q.Filter, want) })
	}
	return m
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

// candidates returns the union of what words, meaning and names find, each measured by meaning.
// full reports that there may be more.
func (e *Engine) candidates(ctx context.Context, l *looking, ahead *matching, want int) (cs []*candidate, full bool, err error) {
	var matches []memory.TextMatch
	var hits []vector.Hit
	var about []caxton.MemoryID
	var wordsErr, meaningErr, aboutErr error
	var all sync.WaitGroup
	if l.q.Mode != memory.Meaning && want != ahead.want {
		all.Go(func() { matches, wordsErr = e.store.Match(ctx, l.q.Access, l.q.Text, l.q.Filter, want) })
	}
	if l.q.Mode == memory.Hybrid && len(l.ask.persons)+len(l.ask.things) > 0 {
		all.Go(func() { about, aboutErr = e.about(ctx, l, l.ask.persons, l.ask.things, want) })
	}
	if l.unit != nil {
		hits, meaningErr = e.index.Load().Search(ctx, l.unit, want, vector.Options{Groups: vectorGroups(l.groups)})
	}
	all.Wait()
	if want == ahead.want {
		ahead.done.Wait()
		matches, wordsErr = ahead.found, ahead.err
	}
	if err := errors.Join(wordsErr, meaningErr, aboutErr); err != nil {
		return nil, false, fmt.Errorf("search memory: %w", err)
	}
	by := make(map[caxton.MemoryID]*candidate, len(matches)+len(hits)+len(about))
	one := func(id caxton.MemoryID) *candidate {
		c := by[id]
		if c == nil {
			c = &candidate{id: id}
			by[id] = c
			cs = append(cs, c)
		}
		return c
	}
	for i, m := range matches {
		c := one(m.ID)
		c.bm25, c.wordRank = m.Score, i+1
	}
	for i, h := range hits {
		c := one(caxton.MemoryID(h.ID))
		c.cosine, c.hasUnit, c.rank = float64(h.Score), true, i+1
	}
	for _, id := range about {
		one(id)
	}
	full = len(matches) == want || len(hits) == want || len(about) == want
	return cs, full, e.near(ctx, l, cs)
}

func vectorGroups(groups []memory.Group) []vector.Group {
	gs := make([]vector.Group, len(groups))
	for i, g := range groups {
		gs[i] = vector.Group(g)
	}
	return gs
}

// about returns the want best of the passages that have some names, by the names and by meaning.
func (e *Engine) about(ctx context.Context, l *looking, persons, things []string, want int) ([]caxton.MemoryID, error) {
	words := append(slices.Clone(persons), things...)
	found, err := e.store.About(ctx, l.q.Access, words, maxAbout/len(words)/2)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	ids := make([]int64, len(found))
	for i := range found {
		ids[i] = int64(found[i].ID)
	}
	type rough struct {
		id  caxton.MemoryID
		sum float64
	}
	var best []rough
	people := uint64(1)<<len(persons) - 1
	units := float64(len(persons) + min(len(things), 1))
	count := func(set uint64) float64 {
		n := bits.OnesCount64(set & people)
		if set&^people != 0 {
			n++
		}
		return float64(n) / units
	}
	err = e.index.Load().Scores(ctx, l.unit, ids, vectorGroups(l.groups), func(i int, score float32) {
		best = append(best, rough{found[i].ID, float64(score) + e.cfg.Weights.Subject*count(found[i].Subject) + e.cfg.Weights.Mention*count(found[i].Text)})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(best, func(a, b rough) int { return cmp.Or(cmp.Compare(b.sum, a.sum), cmp.Compare(b.id, a.id)) })
	out := make([]caxton.MemoryID, min(len(best), want))
	for i := range out {
		out[i] = best[i].id
	}
	return out, nil
}

// near measures the candidates that have no cosine yet, as well as the index knows.
func (e *Engine) near(ctx context.Context, l *looking, cs []*candidate) error {
	if l.unit == nil {
		return nil
	}
	var ids []int64
	var of []*candidate
	for _, c := range cs {
		if !c.hasUnit {
			ids, of = append(ids, int64(c.id)), append(of, c)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	err := e.index.Load().Scores(ctx, l.unit, ids, vectorGroups(l.groups), func(i int, score float32) {
		of[i].cosine, of[i].hasUnit = float64(score), true
	})
	if err != nil {
		return fmt.Errorf("search memory: %w", err)
	}
	return nil
}

// exact replaces the cosines of the first of found, in order, by those of the vectors as the
// model made them, and puts found in order anew.
func (e *Engine) exact(ctx context.Context, l *looking, found []*candidate) error {
	if l.unit == nil || len(found) == 0 {
		return nil
	}
	first := found[:min(len(found), max(minExact, 2*l.q.Limit))]
	by := make(map[caxton.MemoryID]*candidate, len(first))
	ids := make([]caxton.MemoryID, len(first))
	for i, c := range first {
		ids[i], by[c.id] = c.id, c
	}
	slices.Sort(ids)
	err := e.vectors.Vectors(ctx, e.model, ids, func(v memory.Vector) error {
		if c := by[v.ID]; c != nil && len(v.Unit) == len(l.unit) {
			c.cosine, c.hasUnit = dot(l.unit, v.Unit), true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("search memory: %w", err)
	}
	e.score(l, found)
	return nil
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
func (e *Engine) read(ctx context.Context, l *looking, cs []*candidate) ([]*candidate, error) {
	if len(cs) == 0 {
		return nil, nil
	}
	by := make(map[caxton.MemoryID]*candidate, len(cs))
	ids := make([]caxton.MemoryID, len(cs))
	for i, c := range cs {
		ids[i], by[c.id] = c.id, c
	}
	entities, err := e.store.Hits(ctx, l.q.Access, ids, l.q.Filter)
	if err != nil {
		return nil, fmt.Errorf("search memory: %w", err)
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
		c.entity, c.importance, c.at = *en, en.Importance, since
		found = append(found, c)
	}
	return found, nil
}

// observation returns the text of what a candidate says of its entity, or "".
func (c *candidate) observation() string {
	if len(c.entity.Observations) == 0 {
		return ""
	}
	return c.entity.Observations[0].Text
}

// passage returns what of a candidate is compared with names.
func (c *candidate) passage() passage {
	text := c.observation()
	p := passage{kind: c.entity.Type, text: text}
	p.subject, p.person = memory.Subject(c.entity.Name, c.entity.Type, text)
	if c.entity.Type == caxton.EpisodeType {
		p.text = memory.MeaningText(c.entity.Name, c.entity.Type, text)
	}
	return p
}

// gauge measures those of found that are fresh by names and by words, and sets what the scores
// of all are measured by.
func (e *Engine) gauge(ctx context.Context, l *looking, found, fresh []*candidate) error {
	query := l.q.Text
	if l.q.Mode == memory.Hybrid {
		query = l.ask.content
		if l.known == nil {
			l.known = l.ask.known(found)
			l.s.units = len(l.ask.persons) + len(l.known)
		}
		for _, c := range fresh {
			c.naming = l.ask.named(c.passage(), l.known)
		}
		if err := e.weighWords(ctx, l, found, fresh); err != nil {
			return err
		}
	}
	var best *candidate
	var matched int
	var texts []string
	for _, c := range found {
		if c.bm25 > 0 {
			if best == nil || c.bm25 > best.bm25 {
				best, matched = c, len(texts)
			}
			texts = append(texts, c.text())
		}
	}
	l.s.bm25, l.s.coverage = 0, 0
	if best != nil {
		l.s.bm25, l.s.coverage = best.bm25, covered(query, texts)[matched]
	}
	return nil
}

// known returns the names of things among found that the question has, with their words.
func (a *question) known(found []*candidate) map[string][]string {
	known := map[string][]string{}
	if len(a.things) == 0 {
		return known
	}
	for _, c := range found {
		if len(known) == maxNames {
			break
		}
		if thing := a.thing(c.passage()); thing != "" {
			known[thing] = strings.Fields(thing)
		}
	}
	return known
}

// weighWords measures those of found that are fresh by the words of content of the question, and
// ranks all.
func (e *Engine) weighWords(ctx context.Context, l *looking, found, fresh []*candidate) error {
	es := make([]caxton.Entity, len(fresh))
	for i, c := range fresh {
		c.bm25, c.wordRank = 0, 0
		es[i] = c.entity
	}
	if l.ask.content == "" || len(fresh) == 0 {
		return nil
	}
	scores, err := e.store.Weigh(ctx, l.q.Access, l.ask.content, es)
	if err != nil {
		return fmt.Errorf("search memory: %w", err)
	}
	for i, c := range fresh {
		c.bm25 = scores[i]
	}
	order := make([]*candidate, 0, len(found))
	for _, c := range found {
		if c.bm25 > 0 {
			order = append(order, c)
		}
	}
	slices.SortFunc(order, func(a, b *candidate) int { return cmp.Or(cmp.Compare(b.bm25, a.bm25), cmp.Compare(b.id, a.id)) })
	for i, c := range order {
		c.wordRank = i + 1
	}
	return nil
}

// score fuses the signals of candidates and puts the best first.
func (e *Engine) score(l *looking, cs []*candidate) {
	if l.q.Mode == memory.Hybrid {
		l.s.best = math.Inf(-1)
		for _, c := range cs {
			p, _ := l.s.weigh(&e.cfg.Weights, &c.measured)
			l.s.best = max(l.s.best, p.sum())
		}
	}
	for _, c := range cs {
		if l.q.Mode == memory.Hybrid {
			c.sum, c.score, c.signals = l.s.fuse(&e.cfg.Weights, &c.measured)
			continue
		}
		c.score, c.signals = l.s.single(&c.measured)
		c.sum = c.score
	}
	slices.SortFunc(cs, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(b.sum, a.sum), cmp.Compare(b.id, a.id))
	})
}

// askGraph lets the graph speak: what is connected to entities that the query names or that
// were found well counts more, and some that were not found at all come in. So does what is
// about a person whom the best passages name, when the query names another.
func (e *Engine) askGraph(ctx context.Context, l *looking, found []*candidate) ([]*candidate, error) {
	if len(found) == 0 {
		return found, nil
	}
	have := make(map[caxton.MemoryID]*candidate, len(found))
	for _, c := range found {
		have[c.id] = c
	}
	related, err := e.fromRelations(ctx, l, found, have)
	if err != nil {
		return nil, err
	}
	named, err := e.fromNames(ctx, l, found, have)
	if err != nil {
		return nil, err
	}
	if more := append(related, named...); len(more) > 0 {
		found = append(found, more...)
		if err := e.gauge(ctx, l, found, more); err != nil {
			return nil, err
		}
	}
	e.score(l, found)
	return found, nil
}

// fromRelations measures found by the relations from what is named or found well, and returns
// what else is connected to it.
func (e *Engine) fromRelations(ctx context.Context, l *looking, found []*candidate, have map[caxton.MemoryID]*candidate) ([]*candidate, error) {
	if e.cfg.Weights.Graph == 0 || e.graph.size() == 0 {
		return nil, nil
	}
	from := map[caxton.EntityID]float64{}
	names := map[caxton.EntityID]string{}
	for i, c := range found {
		id := c.entity.ID
		names[id] = c.entity.Name
		switch {
		case from[id] == 1:
		case c.subject > 0 && c.entity.Type != caxton.EpisodeType:
			from[id] = 1
		case i < seeds && c.score >= seedShare*found[0].score:
			from[id] = max(from[id], c.score)
		}
	}
	e.graph.mu.RLock()
	w := e.graph.walk(memory.Traversal{Access: l.q.Access, Direction: memory.Both}, l.groups, e.cfg.Now())
	e.graph.mu.RUnlock()
	near := e.graph.spread(from, &w)
	if len(near) == 0 {
		return nil, nil
	}
	entities := map[caxton.EntityID]bool{}
	for _, c := range found {
		entities[c.entity.ID] = true
		c.connect(near, names)
	}
	more, err := e.fromGraph(ctx, l, near, entities)
	for _, c := range more {
		have[c.id] = c
		c.connect(near, names)
	}
	return more, err
}

func (c *candidate) connect(by map[caxton.EntityID]near, names map[caxton.EntityID]string) {
	if n, ok := by[c.entity.ID]; ok {
		c.graph = n.strength
		c.via = "connected to " + names[n.from]
	}
}

// fromNames follows names: when the query names a person, what is about the other persons whom
// the best passages name may be the answer. It returns what was not found yet.
func (e *Engine) fromNames(ctx context.Context, l *looking, found []*candidate, have map[caxton.MemoryID]*candidate) (more []*candidate, err error) {
	if e.cfg.Weights.Hop == 0 || len(l.ask.persons) == 0 {
		return nil, nil
	}
	var tries []string
	for _, c := range found[:min(len(found), hopFrom)] {
		if c.subject+c.mention == 0 {
			continue // it has nothing to do with who was asked about
		}
		p := c.passage()
		if p.person && c.entity.Type != caxton.EpisodeType && c.mention > 0 {
			tries = others(tries, p.subject, &l.ask, true)
		}
		tries = others(tries, p.text, &l.ask, false)
	}
	if len(tries) == 0 {
		return nil, nil
	}
	names, err := e.store.Names(ctx, l.q.Access, tries)
	if err != nil {
		return nil, fmt.Errorf("search memory: %w", err)
	}
	var persons []string
	for _, n := range names {
		if n.Person && len(persons) < maxNames {
			persons = append(persons, n.Word)
		}
	}
	if len(persons) == 0 {
		return nil, nil
	}
	ids, err := e.about(ctx, l, persons, nil, minCandidates)
	if err != nil {
		return nil, fmt.Errorf("search memory: %w", err)
	}
	var order []*candidate
	for _, id := range ids {
		if have[id] == nil {
			order = append(order, &candidate{id: id})
		}
	}
	if len(order) > 0 {
		if err := e.near(ctx, l, order); err != nil {
			return nil, err
		}
		if more, err = e.read(ctx, l, order); err != nil {
			return nil, err
		}
	}
	for _, list := range [][]*candidate{found, more} {
		for _, c := range list {
			c.follow(persons)
		}
	}
	return more, nil
}

// others adds to tries the words of a text that may be names of persons not asked about: those
// with a capital, or of a name.
func others(tries []string, text string, a *question, all bool) []string {
	if len(text) > maxTermText {
		text = text[:maxTermText]
	}
	words := split(text, maxQuestion)
	for i := range words {
		w := &words[i]
		if (w.capital || all) && !w.function && w.to-w.from >= 2 && !a.person(w) && !slices.Contains(tries, w.folded) && len(tries) < maxNameTries {
			tries = append(tries, w.folded)
		}
	}
	return tries
}

// follow measures a candidate by whether it is about one of some persons.
func (c *candidate) follow(persons []string) {
	p := c.passage()
	if !p.person {
		return
	}
	in := set(p.subject)
	for _, w := range persons {
		if in[w] {
			c.hop = 1
			c.via = cmp.Or(c.via, "about "+p.subject+", who was named")
			return
		}
	}
}

// fromGraph reads the most strongly connected entities that no other signal found.
func (e *Engine) fromGraph(ctx context.Context, l *looking, by map[caxton.EntityID]near, have map[caxton.EntityID]bool) ([]*candidate, error) {
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
	if l.q.Filter.AsOf != nil {
		at = *l.q.Filter.AsOf
	}
	var order []*candidate
	for _, id := range ids[:min(len(ids), added)] {
		en, err := e.store.Entity(ctx, l.q.Access, id, at)
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
			order = append(order, &candidate{id: p})
		}
	}
	if len(order) == 0 {
		return nil, nil
	}
	if err := e.near(ctx, l, order); err != nil {
		return nil, err
	}
	return e.read(ctx, l, order)
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
