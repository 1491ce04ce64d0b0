package engine

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

// The graph keeps what the store tells of its nodes and edges, so that a traversal need not read
// hundreds of rows. A write takes out what it may have changed, and who reads it next puts it back.
const (
	maxDetails  = 1_500_000 // nodes and edges about which something is kept
	maxMetadata = 256       // bytes of what has more are not kept
	warmSlice   = 500       // read at once at start
)

// A nodeDetail is what a caxton.Entity has beside its ID: 80 bytes and the name.
type nodeDetail struct {
	name             string
	metadata         string
	kind, scope      int32 // places in details.words and details.scopes
	importance       float64
	version          int64
	created, updated int64 // microseconds since 1970
	kept             bool
}

// An edgeDetail is what a caxton.Relation has beside what the graph and its ends tell: 56 bytes.
type edgeDetail struct {
	metadata             string
	strength, confidence float64
	known                int64
	scope, origin        int32
	kept                 bool
}

// details are guarded by the graph's mu.
type details struct {
	nodes   []nodeDetail // as graph.nodes
	edges   []edgeDetail // as graph.edges
	kept    int
	texts   int64 // bytes of the names and metadata that are kept
	cold    bool  // there is more to keep than what was read since
	words   interned[string]
	scopes  interned[caxton.Scope]
	origins interned[caxton.Provenance]
}

// interned numbers values of which there are few.
type interned[T comparable] struct {
	all []T
	at  map[T]int32
}

func (in *interned[T]) number(v T) int32 {
	n, ok := in.at[v]
	if !ok {
		if in.at == nil {
			in.at = map[T]int32{}
		}
		n = int32(len(in.all)) //nolint:gosec // memory ends before
		in.all = append(in.all, v)
		in.at[v] = n
	}
	return n
}

// grow makes room for what the graph has.
func (d *details) grow(nodes, edges int) {
	if n := nodes - len(d.nodes); n > 0 {
		d.nodes = append(d.nodes, make([]nodeDetail, n)...)
	}
	if n := edges - len(d.edges); n > 0 {
		d.edges = append(d.edges, make([]edgeDetail, n)...)
	}
}

func (d *details) bytes() int64 {
	return int64(cap(d.nodes))*80 + int64(cap(d.edges))*56 + int64(len(d.origins.all))*200 + d.texts
}

func (d *details) dropNode(at int32) {
	if int(at) < len(d.nodes) && d.nodes[at].kept {
		d.texts -= int64(len(d.nodes[at].name) + len(d.nodes[at].metadata))
		d.nodes[at] = nodeDetail{}
		d.kept--
	}
}

func (d *details) dropEdge(at int32) {
	if int(at) < len(d.edges) && d.edges[at].kept {
		d.texts -= int64(len(d.edges[at].metadata))
		d.edges[at] = edgeDetail{}
		d.kept--
	}
}

// keep remembers what the store said of entities and relations. The caller holds mu.
func (g *graph) keep(entities []caxton.Entity, relations []caxton.Relation) {
	d := &g.details
	if len(d.origins.all) > 2*len(g.edges)+1000 { // most are of relations that have changed since
		*d = details{cold: true}
	}
	d.grow(len(g.nodes), len(g.edges))
	for i := range entities {
		e := &entities[i]
		at, ok := g.at[e.ID]
		if !ok || d.nodes[at].kept || d.kept >= maxDetails || len(e.Metadata) > maxMetadata {
			continue
		}
		d.nodes[at] = nodeDetail{
			name: e.Name, metadata: string(e.Metadata), kind: d.words.number(e.Type), scope: d.scopes.number(e.Scope), importance: e.Importance,
			version: e.Version, created: e.CreatedAt.UnixMicro(), updated: e.UpdatedAt.UnixMicro(), kept: true,
		}
		d.kept++
		d.texts += int64(len(e.Name) + len(e.Metadata))
	}
	for i := range relations {
		r := &relations[i]
		at, ok := g.edge[r.ID]
		if !ok || d.edges[at].kept || d.kept >= maxDetails || len(r.Metadata) > maxMetadata {
			continue
		}
		d.edges[at] = edgeDetail{
			metadata: string(r.Metadata), strength: r.Strength, confidence: r.Confidence, known: r.Known.From.UnixMicro(),
			scope: d.scopes.number(r.Scope), origin: d.origins.number(r.Provenance), kept: true,
		}
		d.kept++
		d.texts += int64(len(r.Metadata))
	}
}

// changed takes out what is kept of entities that have changed.
func (g *graph) changed(ids []caxton.EntityID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		if at, ok := g.at[id]; ok {
			g.details.dropNode(at)
		}
	}
}

// forgetDetails takes out all that is kept.
func (g *graph) forgetDetails() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.details = details{cold: true}
}

// entity returns an entity without observations, if it is kept and its scope is seen. The caller holds mu.
func (g *graph) entity(at int32, sees []bool) (caxton.Entity, bool) {
	if !g.details.shows(at, sees) {
		return caxton.Entity{}, false
	}
	n := &g.details.nodes[at]
	created := time.UnixMicro(n.created).UTC()
	return caxton.Entity{
		ID: g.nodes[at].id, Scope: g.details.scopes.all[n.scope], Name: n.name, Type: g.details.words.all[n.kind], Importance: n.importance,
		Metadata: rawJSON(n.metadata), Version: n.version, CreatedAt: created, UpdatedAt: time.UnixMicro(n.updated).UTC(), Known: caxton.Span{From: created},
	}, true
}

// shows reports whether a node is kept and its scope is seen.
func (d *details) shows(at int32, sees []bool) bool {
	return int(at) < len(d.nodes) && d.nodes[at].kept && sees[d.nodes[at].scope]
}

// relation returns a relation, if it and the names of its ends are kept and their scopes are seen. The
// caller holds mu.
func (g *graph) relation(at int32, sees []bool) (caxton.Relation, bool) {
	d := &g.details
	e := &g.edges[at]
	if int(at) >= len(d.edges) || !d.edges[at].kept || !sees[d.edges[at].scope] || !d.shows(e.from, sees) || !d.shows(e.to, sees) {
		return caxton.Relation{}, false
	}
	n := &d.edges[at]
	r := caxton.Relation{
		ID: e.id, Scope: d.scopes.all[n.scope], From: g.nodes[e.from].id, To: g.nodes[e.to].id, FromName: d.nodes[e.from].name, ToName: d.nodes[e.to].name,
		Type: g.types[e.kind], Strength: n.strength, Confidence: n.confidence, Metadata: rawJSON(n.metadata),
		Known: caxton.Span{From: time.UnixMicro(n.known).UTC()}, Provenance: d.origins.all[n.origin],
	}
	if len(g.valid) > 0 {
		r.Valid = g.valid[at]
	}
	return r, true
}

func rawJSON(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

// sees reports for each scope of the details whether a may see it. The caller holds mu.
func (d *details) sees(a memory.Access) []bool {
	all := make([]bool, len(d.scopes.all))
	for i, s := range d.scopes.all {
		all[i] = a.Sees(s)
	}
	return all
}

// details returns the entities, without observations, and the relations with these IDs that a may see,
// in order: from the graph as far as they are kept there, from the store otherwise. What it returns
// of the relations is only true now if the graph says so.
func (e *Engine) details(ctx context.Context, a memory.Access, ids []caxton.EntityID, relations []caxton.RelationID) ([]caxton.Entity, []caxton.Relation, error) {
	entities, edges := make([]caxton.Entity, len(ids)), make([]caxton.Relation, len(relations))
	var noEntity []caxton.MemoryID
	var noRelation []caxton.RelationID
	before := e.writes.Load()
	e.graph.mu.RLock()
	sees := e.graph.details.sees(a)
	for i, id := range ids {
		at, ok := e.graph.at[id]
		if ok {
			entities[i], ok = e.graph.entity(at, sees)
		}
		if !ok {
			noEntity = append(noEntity, caxton.MemoryID(id))
		}
	}
	for i, id := range relations {
		at, ok := e.graph.edge[id]
		if ok {
			edges[i], ok = e.graph.relation(at, sees)
		}
		if !ok {
			noRelation = append(noRelation, id)
		}
	}
	e.graph.mu.RUnlock()
	if len(noEntity)+len(noRelation) == 0 {
		return entities, edges, nil
	}
	read, related, err := e.readDetails(ctx, a, noEntity, noRelation, before)
	if err != nil {
		return nil, nil, err
	}
	return filledIn(entities, read, ids, func(en *caxton.Entity) caxton.EntityID { return en.ID }),
		filledIn(edges, related, relations, func(r *caxton.Relation) caxton.RelationID { return r.ID }), nil
}

// filledIn puts what was read into the gaps of all, in order of ids, and leaves out the gaps that
// remain.
func filledIn[T any, ID comparable](all, read []T, ids []ID, id func(*T) ID) []T {
	by := make(map[ID]*T, len(read))
	for i := range read {
		by[id(&read[i])] = &read[i]
	}
	var none ID
	n := 0
	for i := range all {
		v := &all[i]
		if id(v) == none {
			if v = by[ids[i]]; v == nil {
				continue
			}
		}
		all[n] = *v
		n++
	}
	return all[:n]
}

// readDetails reads entities, without observations, and relations from the store, and keeps what it
// read unless something was written since e.writes was before.
func (e *Engine) readDetails(ctx context.Context, a memory.Access, ids []caxton.MemoryID, relations []caxton.RelationID, before uint64) (entities []caxton.Entity, edges []caxton.Relation, err error) {
	var errs [2]error
	if len(ids) > 0 {
		entities, errs[0] = e.store.Hits(ctx, a, ids, memory.Filter{})
	}
	if len(relations) > 0 {
		edges, errs[1] = e.store.Related(ctx, a, relations, memory.AsOf{})
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, nil, err
	}
	for i := range entities {
		entities[i].Observations = nil
	}
	e.graph.mu.Lock()
	defer e.graph.mu.Unlock()
	if before%2 == 0 && e.writes.Load() == before {
		e.graph.keep(entities, edges)
	}
	return entities, edges, nil
}

// warm reads what is to be kept of the graph, a little at a time.
func (e *Engine) warm(ctx context.Context) {
	e.graph.mu.Lock()
	cold := e.graph.details.cold
	e.graph.details.cold = false
	e.graph.mu.Unlock()
	if !cold {
		return
	}
	e.graph.mu.RLock()
	ids, relations := make([]caxton.EntityID, len(e.graph.nodes)), make([]caxton.RelationID, 0, len(e.graph.edge))
	for i := range e.graph.nodes {
		ids[i] = e.graph.nodes[i].id
	}
	for id := range e.graph.edge {
		relations = append(relations, id)
	}
	e.graph.mu.RUnlock()
	all := memory.Access{All: true}
	for len(ids)+len(relations) > 0 && ctx.Err() == nil {
		n, m := min(len(ids), warmSlice), 0
		if n == 0 {
			m = min(len(relations), warmSlice)
		}
		if _, _, err := e.details(ctx, all, ids[:n], relations[:m]); err != nil {
			break // who traverses reads what is missing
		}
		ids, relations = ids[n:], relations[m:]
		e.graph.mu.RLock()
		full := e.graph.details.kept >= maxDetails
		e.graph.mu.RUnlock()
		if full {
			return
		}
	}
}
