package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

const (
	seeds     = 5   // of the best passages whose entities' neighbours are looked at
	seedShare = 0.6 // of the best score a passage must have for its entity to be a seed
	added     = 5   // entities that the graph alone may bring in
	addedText = 32  // observations of such an entity that are compared
	hopFrom   = 3   // of the best passages whose names are followed
)

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
