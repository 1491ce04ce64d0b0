package engine_test

import (
	"cmp"
	"context"
	"hash/fnv"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

// fake keeps memory in maps and slices, as plainly as it can: it is what the engine is tested
// over, and the model that another store is compared with.
type fake struct {
	mu        sync.Mutex
	now       func() time.Time
	next      int64
	scopes    []caxton.Scope
	entities  map[caxton.EntityID]*caxton.Entity // with every observation, past ones too
	relations map[caxton.RelationID]*caxton.Relation
	vectors   map[string]map[caxton.MemoryID][]float32 // by model
	changed   map[caxton.MemoryID]int64                // the last change of a passage
	clock     int64
	segments  map[uint32][]byte
	saved     int64

	putFails error
}

func newFake() *fake {
	return &fake{
		now: time.Now, entities: map[caxton.EntityID]*caxton.Entity{}, relations: map[caxton.RelationID]*caxton.Relation{},
		vectors: map[string]map[caxton.MemoryID][]float32{}, changed: map[caxton.MemoryID]int64{}, segments: map[uint32][]byte{},
	}
}

func (f *fake) id() int64 { f.next++; return f.next }

func (f *fake) touch(id caxton.MemoryID) { f.clock++; f.changed[id] = f.clock }

func (f *fake) group(s caxton.Scope, past bool) memory.Group {
	i := slices.Index(f.scopes, s)
	if i < 0 {
		f.scopes = append(f.scopes, s)
		i = len(f.scopes) - 1
	}
	g := memory.Group(2 * (i + 1))
	if past {
		g++
	}
	return g
}

func holds(known, valid caxton.Span, at memory.AsOf, now time.Time) bool {
	k, v := cmp.Or(at.Known, now), cmp.Or(at.Valid, now)
	if at.Known.IsZero() {
		return known.To.IsZero() && valid.Holds(v)
	}
	return known.Holds(k) && valid.Holds(v)
}

func current(e *caxton.Entity) (n int) {
	for i := range e.Observations {
		if e.Known.To.IsZero() && e.Observations[i].Known.To.IsZero() {
			n++
		}
	}
	return n
}

// passage returns the entity and observation of a passage, and whether it is one.
func (f *fake) passage(id caxton.MemoryID) (*caxton.Entity, *caxton.Observation, bool) {
	if e := f.entities[caxton.EntityID(id)]; e != nil {
		return e, nil, current(e) == 0
	}
	for _, e := range f.entities {
		for i := range e.Observations {
			if caxton.MemoryID(e.Observations[i].ID) == id {
				return e, &e.Observations[i], true
			}
		}
	}
	return nil, nil, false
}

func (f *fake) groupOf(e *caxton.Entity, o *caxton.Observation) memory.Group {
	return f.group(e.Scope, !e.Known.To.IsZero() || o != nil && !o.Known.To.IsZero())
}

func (f *fake) find(s caxton.Scope, name string) *caxton.Entity {
	for _, e := range f.entities {
		if e.Scope == s && strings.EqualFold(e.Name, name) && e.Known.To.IsZero() {
			return e
		}
	}
	return nil
}

func (f *fake) Remember(_ context.Context, a memory.Access, memos []memory.Memo, by caxton.Provenance) ([]memory.Remembered, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	var done []memory.Remembered
	for _, m := range memos { // check first: all or nothing
		e := f.find(m.Scope, m.Name)
		if m.ID != 0 {
			e = f.entities[m.ID]
			if e == nil || !a.Sees(e.Scope) || !e.Known.To.IsZero() {
				return nil, caxton.Errorf(caxton.NotFound, "entity_not_found", "no entity %v", m.ID)
			}
		}
		switch {
		case e != nil && m.CreateOnly:
			return nil, caxton.Errorf(caxton.Conflict, "entity_exists", "%s is there", m.Name)
		case e == nil && m.ExistingOnly:
			return nil, caxton.Errorf(caxton.NotFound, "entity_not_found", "no entity %s", m.Name)
		case e != nil && m.Type != "" && e.Type != m.Type:
			return nil, caxton.Errorf(caxton.Conflict, "entity_type_conflict", "%s is a %s", e.Name, e.Type)
		case e == nil && m.Name == "":
			return nil, caxton.Errorf(caxton.Invalid, "entity_name_invalid", "no name")
		}
	}
	for _, m := range memos {
		e := f.find(m.Scope, m.Name)
		if m.ID != 0 {
			e = f.entities[m.ID]
		}
		r := memory.Remembered{}
		if e == nil {
			e = &caxton.Entity{
				ID: caxton.EntityID(f.id()), Scope: m.Scope, Name: m.Name, Type: cmp.Or(m.Type, memory.DefaultType), Importance: caxton.DefaultImportance,
				Version: 1, CreatedAt: now, Known: caxton.Span{From: now},
			}
			f.entities[e.ID] = e
			f.group(e.Scope, false)
			r.Created = true
		}
		if m.Importance != nil {
			e.Importance = *m.Importance
		}
		if m.Metadata != nil {
			e.Metadata = m.Metadata
		}
		e.UpdatedAt = now
		for _, n := range m.Notes {
			r.Observations = append(r.Observations, f.note(e, n, by, now))
		}
		f.touch(caxton.MemoryID(e.ID))
		for _, l := range m.Links {
			rel, err := f.link(a, e, l, by, now)
			if err != nil {
				return nil, err
			}
			r.Relations = append(r.Relations, *rel)
		}
		r.Entity = *e
		r.Entity.Observations = nil
		done = append(done, r)
	}
	return done, nil
}

func (f *fake) note(e *caxton.Entity, n memory.Note, by caxton.Provenance, now time.Time) memory.Noted {
	past := !n.Known.To.IsZero()
	for i := range e.Observations {
		if o := &e.Observations[i]; !past && o.Text == n.Text && o.Known.To.IsZero() || past && o.Text == n.Text && o.Known == n.Known {
			return memory.Noted{ID: o.ID, Duplicate: true}
		}
	}
	o := caxton.Observation{
		ID: caxton.ObservationID(f.id()), EntityID: e.ID, Text: n.Text, Key: n.Key, Confidence: 1, Valid: n.Valid, Known: n.Known, RevertedBy: n.RevertedBy, Provenance: by,
	}
	if o.Known.From.IsZero() {
		o.Known.From = now
	}
	if n.Provenance != nil {
		o.Provenance = *n.Provenance
	}
	noted := memory.Noted{ID: o.ID}
	for i := range e.Observations {
		if old := &e.Observations[i]; !past && old.Known.To.IsZero() && (old.ID == n.Replaces || n.Key != "" && old.Key == n.Key) {
			old.Known.To, old.SupersededBy = now, o.ID
			o.Supersedes = old.ID
			noted.Superseded = append(noted.Superseded, old.ID)
			f.touch(caxton.MemoryID(old.ID))
		}
	}
	e.Observations = append(e.Observations, o)
	f.touch(caxton.MemoryID(o.ID))
	return noted
}

func (f *fake) link(a memory.Access, e *caxton.Entity, l memory.Link, by caxton.Provenance, now time.Time) (*caxton.Relation, error) {
	to := f.entities[l.ToID]
	if l.ToID == 0 {
		if to = f.find(e.Scope, l.To); to == nil {
			for _, s := range f.scopes {
				if a.Sees(s) && to == nil {
					to = f.find(s, l.To)
				}
			}
		}
	}
	if to == nil || !a.Sees(to.Scope) || !to.Known.To.IsZero() {
		return nil, caxton.Errorf(caxton.NotFound, "entity_not_found", "no entity %s", l.To)
	}
	strength := caxton.DefaultStrength
	if l.Strength != nil {
		strength = *l.Strength
	}
	for _, r := range f.relations {
		if r.From == e.ID && r.To == to.ID && r.Type == l.Type && r.Known.To.IsZero() {
			r.Strength = strength
			return r, nil
		}
	}
	r := &caxton.Relation{
		ID: caxton.RelationID(f.id()), Scope: e.Scope, From: e.ID, To: to.ID, FromName: e.Name, ToName: to.Name, Type: l.Type, Strength: strength,
		Confidence: 1, Metadata: l.Metadata, Valid: l.Valid, Known: caxton.Span{From: now}, Provenance: by,
	}
	f.relations[r.ID] = r
	return r, nil
}

func (f *fake) close(o *caxton.Observation, c *memory.Changed) {
	if o.Known.To.IsZero() {
		o.Known.To = f.now()
		c.Observations = append(c.Observations, o.ID)
		f.touch(caxton.MemoryID(o.ID))
		f.touch(caxton.MemoryID(o.EntityID))
	}
}

func (f *fake) Forget(_ context.Context, a memory.Access, g memory.Forgetting) (memory.Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var c memory.Changed
	for _, id := range g.Entities {
		e := f.entities[id]
		if e == nil || !a.Sees(e.Scope) || !e.Known.To.IsZero() {
			return c, caxton.Errorf(caxton.NotFound, "entity_not_found", "no entity %v", id)
		}
		for i := range e.Observations {
			f.close(&e.Observations[i], &c)
		}
		e.Known.To = f.now()
		f.touch(caxton.MemoryID(id))
		c.Entities = append(c.Entities, id)
		for _, r := range f.relations {
			if (r.From == id || r.To == id) && r.Known.To.IsZero() {
				r.Known.To = f.now()
				c.Relations = append(c.Relations, r.ID)
			}
		}
	}
	for _, id := range g.Observations {
		e, o, _ := f.passage(caxton.MemoryID(id))
		if o == nil || !a.Sees(e.Scope) {
			return c, caxton.Errorf(caxton.NotFound, "observation_not_found", "no observation %v", id)
		}
		f.close(o, &c)
	}
	for _, id := range g.Relations {
		r := f.relations[id]
		if r == nil || !f.sees(a, r) {
			return c, caxton.Errorf(caxton.NotFound, "relation_not_found", "no relation %v", id)
		}
		r.Known.To = f.now()
		c.Relations = append(c.Relations, id)
	}
	return c, nil
}

func (f *fake) Revert(_ context.Context, a memory.Access, r memory.Reversal) (memory.Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var c memory.Changed
	for _, id := range slices.Sorted(maps.Keys(f.entities)) {
		e := f.entities[id]
		if !a.Sees(e.Scope) {
			continue
		}
		for i := range e.Observations {
			o := &e.Observations[i]
			if o.RevertedBy != "" || r.AgentID != "" && o.Provenance.AgentID != r.AgentID || r.By != "" && o.Provenance.By != r.By ||
				len(r.Observations) > 0 && !slices.Contains(r.Observations, o.ID) {
				continue
			}
			if r.DryRun {
				c.Observations = append(c.Observations, o.ID)
				continue
			}
			f.close(o, &c)
			o.RevertedBy = cmp.Or(r.Actor, "?")
		}
		if r.DryRun {
			continue
		}
		for i := range e.Observations {
			o := &e.Observations[i]
			if o.SupersededBy != 0 && o.RevertedBy == "" && e.Known.To.IsZero() {
				if _, by, _ := f.passage(caxton.MemoryID(o.SupersededBy)); by.RevertedBy != "" {
					o.SupersededBy, o.Known.To = 0, time.Time{}
					c.Restored = append(c.Restored, o.ID)
					f.touch(caxton.MemoryID(o.ID))
					f.touch(caxton.MemoryID(id))
				}
			}
		}
	}
	return c, nil
}

func notFound() error { return caxton.Errorf(caxton.NotFound, "entity_not_found", "no such entity") }

func (f *fake) Entity(_ context.Context, a memory.Access, id caxton.EntityID, at memory.AsOf) (caxton.Entity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.entities[id]
	if e == nil || !a.Sees(e.Scope) || !holds(e.Known, caxton.Span{}, at, f.now()) {
		return caxton.Entity{}, notFound()
	}
	c := *e
	c.Observations = nil
	for _, o := range e.Observations {
		if holds(o.Known, o.Valid, at, f.now()) {
			c.Observations = append(c.Observations, o)
		}
	}
	return c, nil
}

func (f *fake) Named(_ context.Context, a memory.Access, name string, at memory.AsOf) (es []caxton.Entity, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.entities)) {
		if e := *f.entities[id]; a.Sees(e.Scope) && strings.EqualFold(e.Name, name) && holds(e.Known, caxton.Span{}, at, f.now()) {
			e.Observations = nil
			es = append(es, e)
		}
	}
	slices.SortStableFunc(es, func(a, b caxton.Entity) int { return cmp.Compare(a.Scope.Kind, b.Scope.Kind) }) // agent, global, workspace
	return es, nil
}

func (f *fake) Entities(_ context.Context, a memory.Access, fl memory.Filter, _ string, limit int) (es []caxton.Entity, next string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.entities)) {
		if e := *f.entities[id]; a.Sees(e.Scope) && e.Known.To.IsZero() && f.agrees(fl, &e, nil) && len(es) < limit {
			e.Observations = nil
			es = append(es, e)
		}
	}
	return es, "", nil
}

func (f *fake) sees(a memory.Access, r *caxton.Relation) bool {
	return a.Sees(f.entities[r.From].Scope) && a.Sees(f.entities[r.To].Scope)
}

func (f *fake) Relations(_ context.Context, a memory.Access, id caxton.EntityID, at memory.AsOf, _ string, _ int) (rs []caxton.Relation, next string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, rid := range slices.Sorted(maps.Keys(f.relations)) {
		if r := f.relations[rid]; (id == 0 || r.From == id || r.To == id) && f.sees(a, r) && holds(r.Known, r.Valid, at, f.now()) {
			rs = append(rs, *r)
		}
	}
	return rs, "", nil
}

func (f *fake) Related(_ context.Context, a memory.Access, ids []caxton.RelationID, at memory.AsOf) (rs []caxton.Relation, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if r := f.relations[id]; r != nil && f.sees(a, r) && holds(r.Known, r.Valid, at, f.now()) {
			rs = append(rs, *r)
		}
	}
	return rs, nil
}

func (f *fake) History(context.Context, memory.Access, caxton.EntityID) ([]memory.Change, error) {
	return nil, nil
}

func (f *fake) agrees(fl memory.Filter, e *caxton.Entity, o *caxton.Observation) bool {
	return (len(fl.Types) == 0 || slices.Contains(fl.Types, e.Type)) && (fl.Name == "" || strings.EqualFold(fl.Name, e.Name)) &&
		e.Importance >= fl.MinImportance && (fl.AgentID == "" || o != nil && o.Provenance.AgentID == fl.AgentID)
}

func (f *fake) Hits(_ context.Context, a memory.Access, ids []caxton.MemoryID, fl memory.Filter) (es []caxton.Entity, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var at memory.AsOf
	if fl.AsOf != nil {
		at = *fl.AsOf
	}
	for _, id := range ids {
		e, o, _ := f.passage(id)
		if e == nil || !a.Sees(e.Scope) || !holds(e.Known, caxton.Span{}, at, f.now()) || o != nil && !holds(o.Known, o.Valid, at, f.now()) || !f.agrees(fl, e, o) {
			continue
		}
		c := *e
		c.Observations = nil
		if o != nil {
			c.Observations = []caxton.Observation{*o}
		}
		es = append(es, c)
	}
	return es, nil
}

func words(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r) })
}

func (f *fake) Match(_ context.Context, a memory.Access, query string, fl memory.Filter, limit int) (ms []memory.TextMatch, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := words(query)
	f.each(func(e *caxton.Entity, o *caxton.Observation, id caxton.MemoryID, text string) {
		g := f.groupOf(e, o)
		if !a.Sees(e.Scope) || g.Past() && fl.AsOf == nil || !f.agrees(fl, e, o) {
			return
		}
		has, score := words(text), 0.0
		for _, w := range q {
			if slices.Contains(has, w) {
				score += 1 / (1 + math.Log1p(float64(len(has))))
			}
		}
		if score > 0 {
			ms = append(ms, memory.TextMatch{ID: id, EntityID: e.ID, Group: g, Score: score})
		}
	})
	slices.SortStableFunc(ms, func(a, b memory.TextMatch) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.ID, a.ID))
	})
	return ms[:min(limit, len(ms))], nil
}

func (f *fake) MatchRoughly(ctx context.Context, _ memory.Access, query string, limit int) ([]memory.TextMatch, error) {
	return f.Match(ctx, all(), query, memory.Filter{}, limit)
}

func (f *fake) Weigh(_ context.Context, _ memory.Access, query string, es []caxton.Entity) ([]float64, error) {
	scores := make([]float64, len(es))
	for i := range es {
		text := ""
		if len(es[i].Observations) > 0 {
			text = es[i].Observations[0].Text
		}
		has := words(memory.PassageText(es[i].Name, es[i].Type, text))
		for _, w := range words(query) {
			if slices.Contains(has, w) {
				scores[i] += 1 / (1 + math.Log1p(float64(len(has))))
			}
		}
	}
	return scores, nil
}

func subjectOf(e *caxton.Entity, o *caxton.Observation) (string, bool) {
	if o == nil {
		return memory.Subject(e.Name, e.Type, "")
	}
	return memory.Subject(e.Name, e.Type, o.Text)
}

func (f *fake) Names(_ context.Context, a memory.Access, ws []string) (names []memory.Name, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := map[string]memory.Name{}
	f.each(func(e *caxton.Entity, o *caxton.Observation, _ caxton.MemoryID, _ string) {
		if !a.Sees(e.Scope) {
			return
		}
		name, person := subjectOf(e, o)
		for _, w := range words(name) {
			known[w] = memory.Name{Word: w, Person: person || known[w].Person}
		}
	})
	for _, w := range ws {
		if n, ok := known[w]; ok {
			names = append(names, n)
		}
	}
	return names, nil
}

func (f *fake) About(_ context.Context, _ memory.Access, ws []string, _ int) (all []memory.Aboutness, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.each(func(e *caxton.Entity, o *caxton.Observation, id caxton.MemoryID, text string) {
		m := memory.Aboutness{ID: id}
		name, _ := subjectOf(e, o)
		for i, w := range ws {
			if slices.Contains(words(name), w) {
				m.Subject |= 1 << i
			}
			if slices.Contains(words(text), w) {
				m.Text |= 1 << i
			}
		}
		if m.Subject|m.Text != 0 {
			all = append(all, m)
		}
	})
	return all, nil
}

func (f *fake) each(visit func(e *caxton.Entity, o *caxton.Observation, id caxton.MemoryID, text string)) {
	for _, id := range slices.Sorted(maps.Keys(f.entities)) {
		e := f.entities[id]
		if current(e) == 0 {
			visit(e, nil, caxton.MemoryID(id), memory.PassageText(e.Name, e.Type, ""))
		}
		for i := range e.Observations {
			o := &e.Observations[i]
			visit(e, o, caxton.MemoryID(o.ID), memory.PassageText(e.Name, e.Type, o.Text))
		}
	}
}

func (f *fake) Groups(_ context.Context, a memory.Access, past bool) (gs []memory.Group, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.scopes {
		if a.Sees(s) {
			gs = append(gs, f.group(s, false))
			if past {
				gs = append(gs, f.group(s, true))
			}
		}
	}
	return gs, nil
}

func (f *fake) PutVectors(_ context.Context, model string, vs []memory.Vector) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.putFails != nil {
		return f.putFails
	}
	if f.vectors[model] == nil {
		f.vectors[model] = map[caxton.MemoryID][]float32{}
	}
	for _, v := range vs {
		if _, _, ok := f.passage(v.ID); ok {
			f.vectors[model][v.ID] = slices.Clone(v.Unit)
			f.touch(v.ID)
		}
	}
	return nil
}

func (f *fake) Unembedded(_ context.Context, model string, after caxton.MemoryID, limit int) (ps []memory.Passage, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.each(func(e *caxton.Entity, o *caxton.Observation, id caxton.MemoryID, text string) {
		if f.vectors[model][id] == nil && id > after {
			ps = append(ps, memory.Passage{ID: id, EntityID: e.ID, Group: f.groupOf(e, o), Text: text})
		}
	})
	slices.SortFunc(ps, func(a, b memory.Passage) int { return cmp.Compare(a.ID, b.ID) })
	return ps[:min(limit, len(ps))], nil
}

// vector is the vector of a passage as it is now: a passage that is none any more has none.
func (f *fake) vector(model string, id caxton.MemoryID) memory.Vector {
	v := memory.Vector{ID: id}
	if e, o, ok := f.passage(id); ok {
		v.Group, v.Unit = f.groupOf(e, o), f.vectors[model][id]
	}
	return v
}

func (f *fake) Vectors(_ context.Context, model string, ids []caxton.MemoryID, visit func(memory.Vector) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if v := f.vector(model, id); v.Unit != nil {
			if err := visit(v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fake) Load(ctx context.Context, model string, segment func(uint32, []byte) error, changed func(memory.Vector) error) (int64, error) {
	f.mu.Lock()
	saved := f.saved
	segments := maps.Clone(f.segments)
	f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(segments)) {
		if err := segment(id, segments[id]); err != nil {
			return 0, err
		}
	}
	return f.Changes(ctx, model, saved, changed)
}

func (f *fake) Changes(_ context.Context, model string, since int64, changed func(memory.Vector) error) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.changed)) {
		if f.changed[id] > since {
			if err := changed(f.vector(model, id)); err != nil {
				return 0, err
			}
		}
	}
	return f.clock, nil
}

func (f *fake) VectorCount(ctx context.Context, model string) (n int, _ error) {
	groups, err := f.Embedded(ctx, model)
	for _, in := range groups {
		n += in
	}
	return n, err
}

func (f *fake) Embedded(_ context.Context, model string) (map[memory.Group]int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := map[memory.Group]int{}
	for id := range f.vectors[model] {
		if v := f.vector(model, id); v.Group != 0 {
			counts[v.Group]++
		}
	}
	return counts, nil
}

func (f *fake) SaveSegments(_ context.Context, _ string, mark int64, blobs iter.Seq2[uint32, []byte]) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, blob := range blobs {
		if blob == nil {
			delete(f.segments, id)
		} else {
			f.segments[id] = blob
		}
	}
	f.saved = mark
	return nil
}

func (f *fake) Mark(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock, nil
}

func (f *fake) DropModel(_ context.Context, model string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.vectors, model)
	return nil
}

func (f *fake) Edges(_ context.Context, ids []caxton.RelationID, visit func(memory.Edge) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ids == nil {
		ids = slices.Sorted(maps.Keys(f.relations))
	}
	for _, id := range ids {
		r := f.relations[id]
		if r == nil || !r.Known.To.IsZero() {
			continue
		}
		err := visit(memory.Edge{
			ID: id, From: r.From, To: r.To, Type: r.Type, Strength: r.Strength, Valid: r.Valid,
			FromGroup: f.group(f.entities[r.From].Scope, false), ToGroup: f.group(f.entities[r.To].Scope, false),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) Count(_ context.Context, model string) (memory.Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := memory.Counts{ByType: map[string]int64{}, ByScope: map[string]int64{}, ByModel: map[string]int64{}}
	for _, e := range f.entities {
		if e.Known.To.IsZero() {
			c.Entities++
			c.ByType[e.Type]++
			c.ByScope[e.Scope.String()]++
		}
	}
	for _, r := range f.relations {
		if r.Known.To.IsZero() {
			c.Relations++
		}
	}
	f.each(func(e *caxton.Entity, o *caxton.Observation, id caxton.MemoryID, _ string) {
		if !f.groupOf(e, o).Past() && f.vectors[model][id] == nil {
			c.Unembedded++
		}
		if o != nil && !f.groupOf(e, o).Past() {
			c.Observations++
		}
	})
	for m, vs := range f.vectors {
		c.ByModel[m] = int64(len(vs))
	}
	return c, nil
}

func (f *fake) File(context.Context) (memory.FileStats, error) {
	return memory.FileStats{Bytes: 4096, Fragmentation: 0.5}, nil
}

func (f *fake) Clean(_ context.Context, c memory.Cleaning) (done memory.Cleaned, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*caxton.Entity
	for _, e := range f.entities {
		if e.Scope == c.Scope && e.Known.To.IsZero() {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *caxton.Entity) int {
		return cmp.Or(cmp.Compare(a.Importance, b.Importance), cmp.Compare(a.ID, b.ID))
	})
	for len(all) > c.MaxEntities && c.MaxEntities > 0 {
		e := all[0]
		all = all[1:]
		done.Entities++
		if c.DryRun {
			continue
		}
		f.touch(caxton.MemoryID(e.ID))
		for _, o := range e.Observations {
			f.touch(caxton.MemoryID(o.ID))
			done.Observations++
		}
		for id, r := range f.relations {
			if r.From == e.ID || r.To == e.ID {
				delete(f.relations, id)
				done.Relations++
			}
		}
		delete(f.entities, e.ID)
	}
	return done, nil
}

func (f *fake) Vacuum(context.Context) (int64, error)                  { return 1, nil }
func (f *fake) Analyze(context.Context) error                          { return nil }
func (f *fake) Reindex(context.Context, func(done, total int64)) error { return nil }
func (f *fake) Check(context.Context, bool) ([]string, error)          { return nil, nil }

func (f *fake) Export(_ context.Context, a memory.Access, fl memory.Filter, past bool, entity func(caxton.Entity) error, relation func(caxton.Relation) error) error {
	f.mu.Lock()
	var es []caxton.Entity
	var rs []caxton.Relation
	for _, id := range slices.Sorted(maps.Keys(f.entities)) {
		e := *f.entities[id]
		if !a.Sees(e.Scope) || !past && !e.Known.To.IsZero() || !f.agrees(fl, &e, nil) {
			continue
		}
		e.Observations = slices.DeleteFunc(slices.Clone(e.Observations), func(o caxton.Observation) bool { return !past && !o.Known.To.IsZero() })
		es = append(es, e)
	}
	for _, id := range slices.Sorted(maps.Keys(f.relations)) {
		if r := f.relations[id]; f.sees(a, r) && (past || r.Known.To.IsZero()) {
			rs = append(rs, *r)
		}
	}
	f.mu.Unlock()
	for _, e := range es {
		if err := entity(e); err != nil {
			return err
		}
	}
	for _, r := range rs {
		if err := relation(r); err != nil {
			return err
		}
	}
	return nil
}

// bag embeds a text as the sum of a random vector for each of its words.
type bag struct {
	mu    sync.Mutex
	model string
	fails error
	block chan struct{} // if set, Embed waits for it
	texts int
}

func (b *bag) Model() string   { return cmp.Or(b.model, "bag") }
func (b *bag) Dimensions() int { return 64 }

func (b *bag) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	b.mu.Lock()
	fails, block := b.fails, b.block
	b.texts += len(texts)
	b.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fails != nil {
		return nil, fails
	}
	units := make([][]float32, len(texts))
	for i, t := range texts {
		units[i] = bagOf(b.Model(), t)
	}
	return units, nil
}

func bagOf(model, text string) []float32 {
	sum := make([]float32, 64)
	for _, w := range append(words(text), model) {
		h := fnv.New64a()
		h.Write([]byte(w))
		rng := rand.New(rand.NewPCG(h.Sum64(), 1))
		for i := range sum {
			sum[i] += float32(rng.NormFloat64())
		}
	}
	n := 0.0
	for _, v := range sum {
		n += float64(v) * float64(v)
	}
	for i := range sum {
		sum[i] = float32(float64(sum[i]) / math.Sqrt(n))
	}
	return sum
}

// asked returns how many texts were embedded.
func (b *bag) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.texts
}

func (b *bag) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fails = err
}
