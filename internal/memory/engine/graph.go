package engine

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

// A graph is every relation that is known now, in memory: 28 bytes an edge and 4 for each of
// its ends, besides the details. Nodes are entities that have or had an edge.
type graph struct {
	mu    sync.RWMutex
	nodes []node
	at    map[caxton.EntityID]int32
	edges []edge
	edge  map[caxton.RelationID]int32
	free  []int32 // places in edges
	types []string
	typed map[string]int32
	valid map[int32]caxton.Span // of the few edges that are not true for ever

	details details
}

type node struct {
	id    caxton.EntityID
	group memory.Group // who may see it
	ends  []int32      // its edges: place*2, +1 where the edge comes in
}

type edge struct {
	id       caxton.RelationID
	from, to int32
	kind     int32
	strength float32
}

func newGraph() *graph {
	g := &graph{}
	g.clear(0)
	return g
}

func (g *graph) clear(edges int) {
	g.nodes, g.edges, g.free, g.types = nil, make([]edge, 0, edges), nil, nil
	g.at = make(map[caxton.EntityID]int32, edges/4)
	g.edge = make(map[caxton.RelationID]int32, edges)
	g.typed = map[string]int32{}
	g.valid = map[int32]caxton.Span{}
	g.details = details{cold: true}
}

// reset makes the graph anew.
func (g *graph) reset(edges []memory.Edge) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clear(len(edges))
	for i := range edges {
		g.add(&edges[i])
	}
}

// put adds a relation.
func (g *graph) put(edge *memory.Edge) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(edge)
}

// replace takes out the relations of ids and adds edges.
func (g *graph) replace(ids []caxton.RelationID, edges []memory.Edge) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		g.remove(id)
	}
	for i := range edges {
		g.add(&edges[i])
	}
}

func (g *graph) size() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.edge)
}

// has reports whether there is a relation of a type from one entity to another.
func (g *graph) has(from, to caxton.EntityID, kind string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	at, ok := g.at[from]
	if !ok {
		return false
	}
	for _, end := range g.nodes[at].ends {
		if e := &g.edges[end/2]; end&1 == 0 && g.nodes[e.to].id == to && g.types[e.kind] == kind {
			return true
		}
	}
	return false
}

// bytes estimates the memory that the graph takes.
func (g *graph) bytes() int64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return int64(cap(g.edges))*32 + int64(cap(g.nodes))*40 + int64(len(g.edge))*(8+24) + int64(len(g.at))*24 + g.details.bytes()
}

// add and remove are called with mu held.
func (g *graph) add(m *memory.Edge) {
	g.remove(m.ID)
	kind, ok := g.typed[m.Type]
	if !ok {
		kind = int32(len(g.types)) //nolint:gosec // types are few
		g.types = append(g.types, m.Type)
		g.typed[m.Type] = kind
	}
	n := edge{id: m.ID, from: g.place(m.From, m.FromGroup), to: g.place(m.To, m.ToGroup), kind: kind, strength: float32(m.Strength)}
	var at int32
	if end := len(g.free) - 1; end >= 0 {
		at, g.free = g.free[end], g.free[:end]
		g.edges[at] = n
	} else {
		at = int32(len(g.edges)) //nolint:gosec // memory ends before
		g.edges = append(g.edges, n)
	}
	g.edge[m.ID] = at
	g.nodes[n.from].ends = append(g.nodes[n.from].ends, at*2)
	g.nodes[n.to].ends = append(g.nodes[n.to].ends, at*2+1)
	if m.Valid != (caxton.Span{}) {
		g.valid[at] = m.Valid
	}
}

func (g *graph) place(id caxton.EntityID, group memory.Group) int32 {
	at, ok := g.at[id]
	if !ok {
		at = int32(len(g.nodes)) //nolint:gosec // memory ends before
		g.nodes = append(g.nodes, node{id: id})
		g.at[id] = at
	}
	g.nodes[at].group = group
	return at
}

func (g *graph) remove(id caxton.RelationID) {
	at, ok := g.edge[id]
	if !ok {
		return
	}
	delete(g.edge, id)
	delete(g.valid, at)
	g.details.dropEdge(at)
	cut := func(node, end int32) {
		ends := g.nodes[node].ends
		i := slices.Index(ends, end)
		ends[i] = ends[len(ends)-1]
		g.nodes[node].ends = ends[:len(ends)-1]
	}
	cut(g.edges[at].from, at*2)
	cut(g.edges[at].to, at*2+1)
	g.edges[at] = edge{}
	g.free = append(g.free, at)
}

// A walk says which edges are followed, and who walks.
type walk struct {
	sees        map[memory.Group]bool // nil: everything
	types       map[int32]bool        // nil: all
	out, in     bool
	minStrength float32
	now         time.Time
}

// walk returns the walk of a traversal. The caller holds mu.
func (g *graph) walk(t memory.Traversal, groups []memory.Group, now time.Time) walk {
	w := walk{out: t.Direction != memory.Incoming, in: t.Direction != memory.Outgoing, minStrength: float32(t.MinStrength), now: now}
	if !t.Access.All {
		w.sees = make(map[memory.Group]bool, len(groups))
		for _, group := range groups {
			w.sees[group] = true
		}
	}
	if t.Types != nil {
		w.types = map[int32]bool{}
		for _, name := range t.Types {
			if kind, ok := g.typed[name]; ok {
				w.types[kind] = true
			}
		}
	}
	return w
}

func (w *walk) seen(n *node) bool { return w.sees == nil || w.sees[n.group] }

// A step is an edge followed from a node.
type step struct {
	edge, to int32
}

// steps appends to buf the edges that w follows from a node, the strongest first.
func (g *graph) steps(buf []step, at int32, w *walk) []step {
	from := len(buf)
	for _, end := range g.nodes[at].ends {
		i, in := end/2, end&1 == 1
		e := &g.edges[i]
		to := e.to
		if in {
			to = e.from
		}
		switch {
		case in && !w.in, !in && !w.out, e.strength < w.minStrength, w.types != nil && !w.types[e.kind], !w.seen(&g.nodes[to]):
			continue
		}
		if len(g.valid) > 0 {
			if span, ok := g.valid[i]; ok && !span.Holds(w.now) {
				continue
			}
		}
		buf = append(buf, step{i, to})
	}
	slices.SortFunc(buf[from:], func(a, b step) int {
		x, y := &g.edges[a.edge], &g.edges[b.edge]
		return cmp.Or(cmp.Compare(y.strength, x.strength), cmp.Compare(x.id, y.id))
	})
	return buf
}

// A reached is a node that a traversal came to.
type reached struct {
	node  int32
	depth int32
	up    int32 // its place in the list of the one it was reached from; -1 at the beginning
	by    int32 // the edge; -1
}

// A visit is what a traversal saw.
type visit struct {
	list  []reached
	place map[int32]int32 // of a node in list
	edges []int32         // followed, each once
	more  bool            // there is more than most
}

// breadth visits the nodes within depth of from, nearest first, at most most of them.
func (g *graph) breadth(from []caxton.EntityID, depth, most int, w *walk) visit {
	v := visit{place: make(map[int32]int32, min(most, 1024))}
	for _, id := range from {
		at, ok := g.at[id]
		if _, twice := v.place[at]; !ok || twice || !w.seen(&g.nodes[at]) {
			continue
		}
		if len(v.list) == most {
			v.more = true
			break
		}
		v.place[at] = int32(len(v.list)) //nolint:gosec // at most 10,000
		v.list = append(v.list, reached{node: at, up: -1, by: -1})
	}
	var buf []step
	followed := map[int32]bool{}
	for i := 0; i < len(v.list); i++ {
		r := v.list[i]
		if int(r.depth) >= depth {
			break
		}
		buf = g.steps(buf[:0], r.node, w)
		for _, s := range buf {
			if _, ok := v.place[s.to]; !ok {
				if len(v.list) == most {
					v.more = true
					continue
				}
				v.place[s.to] = int32(len(v.list)) //nolint:gosec // at most 10,000
				v.list = append(v.list, reached{node: s.to, depth: r.depth + 1, up: int32(i), by: s.edge})
			}
			if !followed[s.edge] {
				followed[s.edge] = true
				v.edges = append(v.edges, s.edge)
			}
		}
	}
	return v
}

// deepened orders the nodes of v depth first, along the shortest ways by which they were
// reached.
func (v *visit) deepened() []int32 {
	under := make([][]int32, len(v.list))
	var order, todo []int32
	for i := range v.list {
		if up := v.list[i].up; up >= 0 {
			under[up] = append(under[up], int32(i))
		}
	}
	for i, v0 := range slices.Backward(v.list) {
		if v0.up < 0 {
			todo = append(todo, int32(i)) //nolint:gosec // at most 10,000
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		order = append(order, i)
		for _, u := range slices.Backward(under[i]) {
			todo = append(todo, u)
		}
	}
	return order
}

// shortest returns the way with the fewest steps from one of from to to, and among those the
// one whose strengths multiplied are greatest. ok is false when there is none within depth.
func (g *graph) shortest(from []caxton.EntityID, to caxton.EntityID, depth int, w *walk) (way []reached, ok bool) {
	goal, known := g.at[to]
	if !known || !w.seen(&g.nodes[goal]) {
		return nil, false
	}
	type best struct {
		reached
		product float64
	}
	var list []best
	place := map[int32]int32{}
	for _, id := range from {
		if at, known := g.at[id]; known && w.seen(&g.nodes[at]) {
			if _, twice := place[at]; !twice {
				place[at] = int32(len(list)) //nolint:gosec // memory ends before
				list = append(list, best{reached{node: at, up: -1, by: -1}, 1})
			}
		}
	}
	var buf []step
	for i := 0; i < len(list); i++ {
		if at, found := place[goal]; found && list[i].depth >= list[at].depth {
			break // all ways of that length have been compared
		}
		r := list[i]
		if int(r.depth) >= depth {
			break
		}
		buf = g.steps(buf[:0], r.node, w)
		for _, s := range buf {
			product := r.product * float64(g.edges[s.edge].strength)
			b := best{reached{node: s.to, depth: r.depth + 1, up: int32(i), by: s.edge}, product}
			at, seen := place[s.to]
			switch {
			case !seen:
				place[s.to] = int32(len(list)) //nolint:gosec // memory ends before
				list = append(list, b)
			case list[at].depth == b.depth && list[at].product < product:
				list[at] = b
			}
		}
	}
	at, found := place[goal]
	if !found {
		return nil, false
	}
	for i := at; i >= 0; i = list[i].up {
		way = append(way, list[i].reached)
	}
	slices.Reverse(way)
	for i := range way {
		way[i].up = int32(i) - 1
	}
	return way, true
}

const (
	spreadDepth = 2
	spreadDecay = 0.5  // of strength for each step after the first
	spreadMost  = 1000 // edges looked at
)

// A near is how strongly an entity is connected to those a search began with.
type near struct {
	strength float64
	from     caxton.EntityID
	relation caxton.RelationID // the last step
}

// spread returns the entities within two steps of seeds, with the strength of the strongest
// way: that of the seed times those of the relations, and half as much for the second step.
func (g *graph) spread(seeds map[caxton.EntityID]float64, w *walk) map[caxton.EntityID]near {
	g.mu.RLock()
	defer g.mu.RUnlock()
	order := make([]caxton.EntityID, 0, len(seeds))
	for id := range seeds {
		order = append(order, id)
	}
	slices.SortFunc(order, func(a, b caxton.EntityID) int {
		return cmp.Or(cmp.Compare(seeds[b], seeds[a]), cmp.Compare(a, b))
	})
	found := map[caxton.EntityID]near{}
	looked := 0
	var buf []step
	for _, seed := range order {
		at, ok := g.at[seed]
		if !ok || !w.seen(&g.nodes[at]) {
			continue
		}
		level := map[int32]float64{at: seeds[seed]}
		for depth := range spreadDepth {
			next := map[int32]float64{}
			for _, n := range sortedPlaces(level) {
				buf = g.steps(buf[:0], n, w)
				for _, s := range buf {
					if looked++; looked > spreadMost {
						return found
					}
					strength := level[n] * float64(g.edges[s.edge].strength)
					if depth > 0 {
						strength *= spreadDecay
					}
					if s.to == at {
						continue
					}
					next[s.to] = max(next[s.to], strength)
					if id := g.nodes[s.to].id; found[id].strength < strength {
						found[id] = near{strength, seed, g.edges[s.edge].id}
					}
				}
			}
			level = next
		}
	}
	return found
}

func sortedPlaces(m map[int32]float64) []int32 {
	places := make([]int32, 0, len(m))
	for p := range m {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b int32) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	return places
}
