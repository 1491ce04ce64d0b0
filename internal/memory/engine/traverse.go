package engine

import (
	"context"
	"slices"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

// The bounds of a traversal.
const (
	defaultDepth = 3
	maxDepth     = 10
	defaultNodes = 1000
	maxNodes     = 10_000
)

// Traverse returns what is connected to the entities of t.From, they themselves included;
// with t.To only the shortest way there, and among the shortest the strongest, or a NotFound
// error. A way may have up to 10 steps when t.Depth is 0.
func (e *Engine) Traverse(ctx context.Context, t memory.Traversal) (memory.Graph, error) {
	start := time.Now()
	if t.Direction == "" {
		t.Direction = memory.Both
	}
	if t.Depth == 0 {
		t.Depth = defaultDepth
		if t.To != 0 {
			t.Depth = maxDepth
		}
	}
	if t.Limit == 0 {
		t.Limit = defaultNodes
	}
	if err := checkTraversal(t); err != nil {
		return memory.Graph{}, err
	}
	if err := e.wait(ctx); err != nil {
		return memory.Graph{}, err
	}
	groups, err := e.groups(ctx, t.Access, false)
	if err != nil {
		return memory.Graph{}, err
	}
	nodes, relations, more, found := e.reach(t, groups)
	if t.To != 0 && !found {
		return memory.Graph{}, caxton.Errorf(caxton.NotFound, "path_not_found", "no way of at most %d steps leads there", t.Depth)
	}
	g, err := e.filled(ctx, t.Access, nodes, relations)
	if err != nil {
		return memory.Graph{}, err
	}
	if len(g.Nodes) == 0 {
		return memory.Graph{}, caxton.Errorf(caxton.NotFound, "entity_not_found", "there is no such entity")
	}
	g.Truncated = more
	g.Took = time.Since(start)
	e.stats.query(ctx, graphTraversal, g.Took, g.Nodes[0].Entity.Name)
	return g, nil
}

func checkTraversal(t memory.Traversal) error {
	switch {
	case len(t.From) == 0:
		return caxton.Errorf(caxton.Invalid, "traversal_invalid", "a traversal needs an entity to begin with")
	case t.Depth < 1 || t.Depth > maxDepth:
		return caxton.Errorf(caxton.Invalid, "depth_invalid", "the depth is %d; it must be 1 to %d", t.Depth, maxDepth)
	case t.Limit < 1 || t.Limit > maxNodes:
		return caxton.Errorf(caxton.Invalid, "limit_invalid", "the limit is %d; it must be 1 to %d", t.Limit, maxNodes)
	case !(t.MinStrength >= 0 && t.MinStrength <= 1):
		return caxton.Errorf(caxton.Invalid, "strength_invalid", "the least strength is %v; it must be 0 to 1", t.MinStrength)
	case t.Direction != memory.Both && t.Direction != memory.Incoming && t.Direction != memory.Outgoing:
		return caxton.Errorf(caxton.Invalid, "direction_invalid", "%.40q is not a direction", t.Direction).WithHint("write outgoing, incoming or both")
	}
	return nil
}

// A place is a node without its entity.
type place struct {
	id    caxton.EntityID
	depth int
	path  []caxton.RelationID
}

// reach walks the graph in memory.
func (e *Engine) reach(t memory.Traversal, groups []memory.Group) (nodes []place, relations []caxton.RelationID, more, found bool) {
	g := e.graph
	g.mu.RLock()
	defer g.mu.RUnlock()
	w := g.walk(t, groups, e.cfg.Now())
	if t.To != 0 && slices.Contains(t.From, t.To) {
		return []place{{id: t.To}}, nil, false, true // the store tells whether it may be seen
	}
	if t.To != 0 {
		way, ok := g.shortest(t.From, t.To, t.Depth, &w)
		for i, r := range way {
			if r.by >= 0 {
				relations = append(relations, g.edges[r.by].id)
			}
			nodes = append(nodes, place{g.nodes[r.node].id, i, relations[:i:i]})
		}
		return nodes, relations, false, ok
	}
	most := t.Limit
	if t.DepthFirst {
		most = max(maxNodes, t.Limit) // what is near may come late
	}
	v := g.breadth(t.From, t.Depth, most, &w)
	paths := make([][]caxton.RelationID, len(v.list))
	for i, r := range v.list {
		if r.up >= 0 {
			up := paths[r.up]
			paths[i] = append(slices.Clip(up), g.edges[r.by].id)
		}
	}
	add := func(i int32) {
		r := v.list[i]
		nodes = append(nodes, place{g.nodes[r.node].id, int(r.depth), paths[i]})
	}
	in := make(map[int32]bool, len(v.list))
	if t.DepthFirst {
		order := v.deepened()
		if len(order) > t.Limit {
			order, v.more = order[:t.Limit], true
		}
		for _, i := range order {
			add(i)
			in[v.list[i].node] = true
		}
	} else {
		for i := range v.list {
			add(int32(i))
			in[v.list[i].node] = true
		}
	}
	for _, at := range v.edges {
		if ed := &g.edges[at]; in[ed.from] && in[ed.to] {
			relations = append(relations, ed.id)
		}
	}
	for _, id := range t.From { // without relations an entity is in no graph: it stands alone
		if _, ok := g.at[id]; !ok && len(nodes) < t.Limit {
			nodes = append(nodes, place{id: id})
		}
	}
	return nodes, relations, v.more, true
}

// filled finds the entities and relations of a graph, within a.
func (e *Engine) filled(ctx context.Context, a memory.Access, nodes []place, relations []caxton.RelationID) (memory.Graph, error) {
	ids := make([]caxton.EntityID, len(nodes))
	for i := range nodes {
		ids[i] = nodes[i].id
	}
	entities, edges, err := e.details(ctx, a, ids, relations)
	if err != nil {
		return memory.Graph{}, err
	}
	g := memory.Graph{Edges: edges, Nodes: make([]memory.Node, 0, len(entities))}
	for _, p := range nodes {
		if len(entities) > 0 && entities[0].ID == p.id { // else it was forgotten meanwhile
			g.Nodes = append(g.Nodes, memory.Node{Entity: entities[0], Depth: p.depth, Path: p.path})
			entities = entities[1:]
		}
	}
	return g, nil
}
