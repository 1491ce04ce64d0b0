package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

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
