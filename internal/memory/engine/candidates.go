package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/vector"
)

const (
	roughMatches = 1000   // passages with words of the query that are compared by meaning
	wordsShare   = 6      // tenths of what is wanted of each signal, for words judged by meaning: the others are far behind
	maxAbout     = 16_000 // passages that are looked at because they have a name of the query
	minExact     = 40     // passages whose vectors are read, at least
	unseenCosine = 0.6    // of a passage that has all words of the query and that the model did not see yet
)

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

// A matching is what the words of a query find: it is looked for while the model embeds the query.
type matching struct {
	want  int  // 0 when nothing is looked for
	rough bool // found by MatchRoughly: only good beside the meaning of the query
	done  sync.WaitGroup
	found []memory.TextMatch
	err   error
}

func (e *Engine) matchAhead(ctx context.Context, q memory.Query, want int) *matching {
	m := &matching{}
	switch {
	case q.Mode == memory.Meaning:
	case q.Mode == memory.Hybrid && !boundedFilter(q.Filter) && e.embedder != nil:
		m.want, m.rough = roughMatches, true
		m.done.Go(func() { m.found, m.err = e.store.MatchRoughly(ctx, q.Access, q.Text, roughMatches) })
	default:
		m.want = want
		m.done.Go(func() { m.found, m.err = e.store.Match(ctx, q.Access, q.Text, q.Filter, want) })
	}
	return m
}

// candidates returns the union of what words, meaning and names find, each measured by meaning.
// full reports that there may be more.
func (e *Engine) candidates(ctx context.Context, l *looking, ahead *matching, want int) (cs []*candidate, full bool, err error) {
	var matches []memory.TextMatch
	var hits []vector.Hit
	var about []caxton.MemoryID
	var wordsErr, meaningErr, aboutErr error
	var all sync.WaitGroup
	rough := ahead.rough && l.unit != nil
	matched := !ahead.rough && want == ahead.want
	if l.q.Mode != memory.Meaning && !matched && !rough {
		all.Go(func() { matches, wordsErr = e.store.Match(ctx, l.q.Access, l.q.Text, l.q.Filter, want) })
	}
	if l.q.Mode == memory.Hybrid && len(l.ask.persons)+len(l.ask.things) > 0 {
		all.Go(func() { about, aboutErr = e.about(ctx, l, l.ask.persons, l.ask.things, want) })
	}
	if l.unit != nil {
		hits, meaningErr = e.index.Load().Search(ctx, l.unit, want, vector.Options{Groups: vectorGroups(l.groups)})
	}
	all.Wait()
	if rough || matched {
		ahead.done.Wait()
		matches, wordsErr = ahead.found, ahead.err
	}
	if rough && wordsErr == nil {
		matches, wordsErr = e.nearest(ctx, l, matches, want*wordsShare/10)
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
	full = len(matches) == want || rough && len(matches) == want*wordsShare/10 || len(hits) == want || len(about) == want
	return cs, full, e.near(ctx, l, cs)
}

// nearest returns the want best of rough matches within the access, by their words and by meaning as they are
// weighed in the end. One that the index does not have yet is judged by its words.
func (e *Engine) nearest(ctx context.Context, l *looking, rough []memory.TextMatch, want int) ([]memory.TextMatch, error) {
	x := e.index.Load()
	ids := make([]int64, len(rough))
	sums := make([]float64, len(rough))
	in := make([]bool, len(rough))
	for i, m := range rough {
		ids[i] = int64(m.ID)
	}
	weight := e.cfg.Weights.Words * min(1, usualWords/float64(max(l.ask.count, 1)))
	err := x.Scores(ctx, l.unit, ids, vectorGroups(l.groups), func(i int, score float32) {
		in[i], sums[i] = true, float64(score)+weight*rough[i].Score
	})
	if err != nil {
		return nil, fmt.Errorf("search memory: %w", err)
	}
	byRank := func(a, b int) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(ids[b], ids[a])) }
	var order, fresh []int
	for i := range rough {
		switch {
		case in[i]:
			order = append(order, i)
		case !x.Contains(ids[i]):
			sums[i] = (weight + unseenCosine/rough[0].Score) * rough[i].Score
			fresh = append(fresh, i)
		}
	}
	slices.SortFunc(order, byRank)
	order = order[:min(want, len(order))]
	for len(fresh) > 0 && (len(order) < want || byRank(fresh[0], order[len(order)-1]) < 0) { // rough are the best first
		n := min(want, len(fresh))
		found, err := e.there(ctx, l, rough, fresh[:n])
		if err != nil {
			return nil, err
		}
		order = append(order, found...)
		slices.SortFunc(order, byRank)
		order, fresh = order[:min(want, len(order))], fresh[n:]
	}
	best := make([]memory.TextMatch, len(order))
	for i := range best {
		best[i] = rough[order[i]]
	}
	return best, nil
}

// there returns those of some rough matches that the store gives within the access. The index tells it of those that
// it has; the others may be of any scope, past, or repetitions, which never come into the index.
func (e *Engine) there(ctx context.Context, l *looking, rough []memory.TextMatch, some []int) (found []int, err error) {
	by := make(map[caxton.MemoryID]int, len(some))
	ids := make([]caxton.MemoryID, len(some))
	for i, n := range some {
		ids[i], by[rough[n].ID] = rough[n].ID, n
	}
	entities, err := e.hits(ctx, l, ids)
	if err != nil {
		return nil, fmt.Errorf("search memory: %w", err)
	}
	for i := range entities {
		if n, ok := by[passageID(&entities[i])]; ok {
			found = append(found, n)
		}
	}
	return found, nil
}

// passageID is the ID of the passage behind a hit.
func passageID(en *caxton.Entity) caxton.MemoryID {
	if len(en.Observations) > 0 {
		return caxton.MemoryID(en.Observations[0].ID)
	}
	return caxton.MemoryID(en.ID)
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
	entities, err := e.hits(ctx, l, ids)
	if err != nil {
		return nil, fmt.Errorf("search memory: %w", err)
	}
	found := make([]*candidate, 0, len(entities))
	for i := range entities {
		en := &entities[i]
		since := en.UpdatedAt
		if len(en.Observations) > 0 {
			o := &en.Observations[0]
			since = o.Known.From
			if !o.Valid.From.IsZero() {
				since = o.Valid.From
			}
		}
		c := by[passageID(en)]
		if c == nil {
			continue
		}
		c.entity, c.importance, c.at = *en, en.Importance, since
		found = append(found, c)
	}
	return found, nil
}

// hits reads passages, many of them in two halves side by side.
func (e *Engine) hits(ctx context.Context, l *looking, ids []caxton.MemoryID) ([]caxton.Entity, error) {
	const many = 32
	if len(ids) < many {
		return e.store.Hits(ctx, l.q.Access, ids, l.q.Filter)
	}
	var rest []caxton.Entity
	var restErr error
	var all sync.WaitGroup
	all.Go(func() { rest, restErr = e.store.Hits(ctx, l.q.Access, ids[len(ids)/2:], l.q.Filter) })
	entities, err := e.store.Hits(ctx, l.q.Access, ids[:len(ids)/2], l.q.Filter)
	all.Wait()
	return append(entities, rest...), errors.Join(err, restErr)
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
