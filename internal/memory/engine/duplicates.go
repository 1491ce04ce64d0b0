package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/vector"
)

const (
	duplicateLeast  = 0.85 // the score from which on a pair is told of
	duplicateLimit  = 100
	duplicatePage   = 200
	duplicateNear   = 8      // passages compared with each passage of an entity
	duplicateMost   = 20_000 // entities looked at, the most recently updated
	duplicatePassed = 4      // observations of an entity that are compared, the latest
)

// Duplicates returns pairs of entities of one scope that may be the same, the most alike
// first: names that differ in case, punctuation or a letter, or observations that say the
// same. threshold is the least score, 0.85 when 0; limit the most pairs, 100 when 0. Episodes
// are not looked at. The 20,000 entities updated last are.
func (e *Engine) Duplicates(ctx context.Context, a memory.Access, threshold float64, limit int) ([]memory.Duplicate, error) {
	threshold, limit = cmp.Or(threshold, duplicateLeast), cmp.Or(limit, duplicateLimit)
	if !(threshold > 0 && threshold <= 1) || limit < 1 {
		return nil, caxton.Errorf(caxton.Invalid, "duplicates_invalid", "a threshold of %v and a limit of %d find nothing", threshold, limit)
	}
	if err := e.wait(ctx); err != nil {
		return nil, err
	}
	p := &pairs{threshold: threshold, found: map[[2]caxton.EntityID]memory.Duplicate{}, names: map[string][]caxton.Entity{}}
	cursor := ""
	for n := 0; n < duplicateMost; {
		page, next, err := e.store.Entities(ctx, a, memory.Filter{}, cursor, duplicatePage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			n++
			en := &page[i]
			if en.Type == caxton.EpisodeType {
				continue
			}
			p.named(en)
			if err := e.alike(ctx, a, en, p); err != nil {
				return nil, err
			}
		}
		if cursor = next; next == "" {
			break
		}
	}
	all := make([]memory.Duplicate, 0, len(p.found))
	for _, d := range p.found {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b memory.Duplicate) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.A.ID, b.A.ID), cmp.Compare(a.B.ID, b.B.ID))
	})
	return all[:min(len(all), limit)], nil
}

// pairs gathers pairs, each once with its best score.
type pairs struct {
	threshold float64
	found     map[[2]caxton.EntityID]memory.Duplicate
	names     map[string][]caxton.Entity // by scope and what a misspelling leaves alone
}

func (p *pairs) add(a, b *caxton.Entity, score float64, why string) {
	if a.ID > b.ID {
		a, b = b, a
	}
	key := [2]caxton.EntityID{a.ID, b.ID}
	if a.ID != b.ID && a.Scope == b.Scope && score >= p.threshold && score > p.found[key].Score {
		d := memory.Duplicate{A: *a, B: *b, Score: score, Why: why}
		d.A.Observations, d.B.Observations = nil, nil
		p.found[key] = d
	}
}

// named compares the name of an entity with those before that may be the same: they agree
// in all letters and digits, or in their first or their last three.
func (p *pairs) named(en *caxton.Entity) {
	const most = 200 // with one beginning or end: names that are numbered
	plain := plainName(en.Name)
	keys := []string{plain}
	if n := len(plain); n >= 5 {
		keys = append(keys, "<"+plain[:3], plain[n-3:]+">")
	}
	for _, key := range keys {
		key = en.Scope.String() + " " + key
		for i := range p.names[key] {
			other := &p.names[key][i]
			if score, why := sameName(plain, plainName(other.Name)); score > 0 {
				p.add(en, other, score, why)
			}
		}
		if len(p.names[key]) < most {
			p.names[key] = append(p.names[key], *en)
		}
	}
}

// plainName returns the letters and digits of a name, small.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// sameName compares plain names. Names that differ in a digit are not the same.
func sameName(a, b string) (score float64, why string) {
	if a == "" || b == "" {
		return 0, ""
	}
	if a == b {
		return 0.99, "the names differ in case or punctuation only"
	}
	if digitsOf(a) != digitsOf(b) {
		return 0, ""
	}
	x, y := []rune(a), []rune(b)
	longer := max(len(x), len(y))
	most := longer / 6 // a letter in six may be wrong
	if d := distance(x, y, most); d <= most {
		return 1 - float64(d)/float64(longer), "the names are spelled alike"
	}
	return 0, ""
}

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return r
		}
		return -1
	}, s)
}

// distance returns how many letters must be changed, added or left out to make a of b, or
// more than most when that is more.
func distance(a, b []rune, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		before := row[0]
		row[0] = i + 1
		for j, y := range b {
			change := before
			if x != y {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}

// alike compares what is known about an entity with what is known about its neighbours in
// meaning: entities of one type with a passage of which both say the same.
func (e *Engine) alike(ctx context.Context, a memory.Access, en *caxton.Entity, p *pairs) error {
	if e.embedder == nil {
		return nil
	}
	groups, err := e.groups(ctx, memory.Access{Scopes: []caxton.Scope{en.Scope}}, false)
	if err != nil || len(groups) == 0 {
		return err
	}
	full, err := e.store.Entity(ctx, a, en.ID, memory.AsOf{})
	if caxton.KindOf(err) == caxton.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	units, err := e.unitsOf(ctx, &caxton.Entity{ID: full.ID, Observations: full.Observations[max(0, len(full.Observations)-duplicatePassed):]})
	if err != nil {
		return err
	}
	in := []vector.Group{vector.Group(groups[0])}
	for _, unit := range units {
		hits, err := e.index.Load().Search(ctx, unit, duplicateNear, vector.Options{Groups: in, MinScore: float32(p.threshold)})
		if err != nil {
			return err
		}
		ids := make([]caxton.MemoryID, len(hits))
		scores := make(map[caxton.MemoryID]float64, len(hits))
		for i, h := range hits {
			ids[i] = caxton.MemoryID(h.ID)
			scores[ids[i]] = float64(h.Score)
		}
		others, err := e.store.Hits(ctx, a, ids, memory.Filter{Types: []string{en.Type}})
		if err != nil {
			return err
		}
		for i := range others {
			id := caxton.MemoryID(others[i].ID)
			if len(others[i].Observations) > 0 {
				id = caxton.MemoryID(others[i].Observations[0].ID)
			}
			if memory.Person(en.Type) && !shareWord(en.Name, others[i].Name) && !telling(&others[i]) {
				continue // the vectors do not know who it is, and many live in one town
			}
			if digitsOf(en.Name) == digitsOf(others[i].Name) {
				p.add(en, &others[i], min(scores[id], 0.98), "the same is known about both")
			}
		}
	}
	return nil
}

// telling reports whether what was found of a person is so long that it hardly holds of two.
func telling(en *caxton.Entity) bool {
	const words = 8
	return len(en.Observations) > 0 && len(split(en.Observations[0].Text, words)) == words
}

// shareWord reports whether two names have a word in common.
func shareWord(a, b string) bool {
	in := set(a)
	for _, w := range split(b, maxQuestion) {
		if in[w.folded] {
			return true
		}
	}
	return false
}
