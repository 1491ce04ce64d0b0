package engine_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// brute visits everything within depth, looking at every relation at every step.
func brute(f *fake, t memory.Traversal) map[caxton.EntityID]int {
	depths := map[caxton.EntityID]int{}
	for _, id := range t.From {
		if e := f.entities[id]; e != nil && e.Known.To.IsZero() && t.Access.Sees(e.Scope) {
			depths[id] = 0
		}
	}
	for d := range t.Depth {
		for _, r := range f.relations {
			if !r.Known.To.IsZero() || !f.sees(t.Access, r) || r.Strength < t.MinStrength || t.Types != nil && !slices.Contains(t.Types, r.Type) {
				continue
			}
			step := func(from, to caxton.EntityID) {
				if at, ok := depths[from]; ok && at == d {
					if _, ok := depths[to]; !ok {
						depths[to] = d + 1
					}
				}
			}
			if t.Direction != memory.Incoming {
				step(r.From, r.To)
			}
			if t.Direction != memory.Outgoing {
				step(r.To, r.From)
			}
		}
	}
	return depths
}

// strongest is the greatest product of strengths of all ways of n steps from one to another.
func strongest(f *fake, t memory.Traversal, n int) float64 {
	best := map[caxton.EntityID]float64{t.From[0]: 1}
	for range n {
		next := map[caxton.EntityID]float64{}
		for _, r := range f.relations {
			if !r.Known.To.IsZero() || !f.sees(t.Access, r) || r.Strength < t.MinStrength || t.Types != nil && !slices.Contains(t.Types, r.Type) {
				continue
			}
			if t.Direction != memory.Incoming && best[r.From] > 0 {
				next[r.To] = max(next[r.To], best[r.From]*r.Strength)
			}
			if t.Direction != memory.Outgoing && best[r.To] > 0 {
				next[r.From] = max(next[r.From], best[r.To]*r.Strength)
			}
		}
		best = next
	}
	return best[t.To]
}

func TestGraphAgreesWithBruteForce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFake()
		e, stop := rapidStart(t, f)
		defer stop()
		scopes := []caxton.Scope{global(), agent("a"), agent("b")}
		var ids []caxton.EntityID
		do := func(ms ...memory.Memo) engine0 {
			w, err := e.Remember(t.Context(), all(), ms, caxton.Provenance{})
			if err != nil {
				rt.Fatal(err)
			}
			return engine0(w)
		}
		for i := range rapid.IntRange(2, 12).Draw(rt, "entities") {
			w := do(memo(rapid.SampledFrom(scopes).Draw(rt, "scope"), fmt.Sprint("e", i), "thing"))
			ids = append(ids, w.Remembered[0].Entity.ID)
		}
		var relations []caxton.RelationID
		for range rapid.IntRange(0, 40).Draw(rt, "relations") {
			strength := float64(rapid.IntRange(1, 10).Draw(rt, "strength")) / 10
			w := do(memory.Memo{ID: rapid.SampledFrom(ids).Draw(rt, "from"), Links: []memory.Link{{
				ToID: rapid.SampledFrom(ids).Draw(rt, "to"), Type: rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "type"), Strength: &strength,
			}}})
			relations = append(relations, w.Remembered[0].Relations[0].ID)
		}
		if len(relations) > 0 && rapid.Bool().Draw(rt, "unrelate") {
			if _, err := e.Forget(t.Context(), all(), memory.Forgetting{Relations: relations[:1]}); err != nil {
				rt.Fatal(err)
			}
		}
		if rapid.Bool().Draw(rt, "forget") {
			if _, err := e.Forget(t.Context(), all(), memory.Forgetting{Entities: ids[:1]}); err != nil {
				rt.Fatal(err)
			}
		}
		q := memory.Traversal{
			Access: rapid.SampledFrom([]memory.Access{all(), sees(global()), sees(agent("a"), global()), sees(agent("b"))}).Draw(rt, "access"),
			From:   []caxton.EntityID{rapid.SampledFrom(ids).Draw(rt, "start")}, Depth: rapid.IntRange(1, 4).Draw(rt, "depth"),
			Direction:   rapid.SampledFrom([]memory.Direction{memory.Both, memory.Incoming, memory.Outgoing}).Draw(rt, "direction"),
			MinStrength: rapid.SampledFrom([]float64{0, 0.5}).Draw(rt, "least"), DepthFirst: rapid.Bool().Draw(rt, "depth first"),
			Types: rapid.SampledFrom([][]string{nil, {"x"}, {"none"}}).Draw(rt, "types"),
		}
		want := brute(f, q)
		g, err := e.Traverse(t.Context(), q)
		if len(want) == 0 {
			if caxton.KindOf(err) != caxton.NotFound {
				rt.Fatalf("Traverse() from what is not seen: %v", err)
			}
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		got := map[caxton.EntityID]int{}
		for _, n := range g.Nodes {
			got[n.Entity.ID] = n.Depth
			at := q.From[0]
			for _, id := range n.Path {
				r := f.relations[id]
				switch at {
				case r.From:
					at = r.To
				case r.To:
					at = r.From
				default:
					rt.Fatalf("the path %v to %s is broken", n.Path, n.Entity.Name)
				}
			}
			if at != n.Entity.ID || len(n.Path) != n.Depth {
				rt.Fatalf("the path %v does not lead to %s in %d steps", n.Path, n.Entity.Name, n.Depth)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatal(d)
		}
		for _, r := range g.Edges {
			if _, ok := got[r.From]; !ok || !f.sees(q.Access, &r) {
				rt.Fatalf("edge %+v leads out of the graph", r)
			}
		}
		q.To = rapid.SampledFrom(ids).Draw(rt, "goal")
		q.Depth = 4
		want = brute(f, q)
		steps, reachable := want[q.To]
		g, err = e.Traverse(t.Context(), q)
		if !reachable {
			if caxton.KindOf(err) != caxton.NotFound {
				rt.Fatalf("a way where there is none: %+v, %v", g, err)
			}
			return
		}
		if err != nil || len(g.Nodes) != steps+1 {
			rt.Fatalf("%d nodes on a way of %d steps, %v", len(g.Nodes), steps, err)
		}
		product := 1.0
		for _, r := range g.Edges {
			product *= r.Strength
		}
		if best := strongest(f, q, steps); product < best*0.9999 {
			rt.Fatalf("a way of strength %v, the strongest is %v", product, best)
		}
	})
}

type engine0 memory.Written

func rapidStart(t *testing.T, f *fake) (*engine.Engine, func()) {
	t.Helper()
	e, err := engine.New(f, f, f, &bag{}, engine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestForgetFollowsHidden has an entity forgotten by somebody who does not see one of its relations:
// the graph forgets it, and the answer does not tell of it.
func TestForgetFollowsHidden(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	defer db.Close()
	e, stop := over(t, db, &bag{}, engine.Config{})
	defer stop()
	w := remember(t, e, memo(global(), "anvil", "thing"), memo(global(), "forge", "thing"), memo(agent("smith"), "purse", "thing"))
	anvil, forge, purse := w.Remembered[0].Entity.ID, w.Remembered[1].Entity.ID, w.Remembered[2].Entity.ID
	remember(t, e, memory.Memo{ID: forge, Links: []memory.Link{{ToID: anvil, Type: "holds"}}}, memory.Memo{ID: purse, Links: []memory.Link{{ToID: anvil, Type: "paid_for"}}})
	around := memory.Traversal{Access: all(), From: []caxton.EntityID{anvil}, Depth: 1, Direction: memory.Both, Limit: 10}
	if g, err := e.Traverse(t.Context(), around); err != nil || len(g.Edges) != 2 { // it waits until all is loaded
		t.Fatalf("Traverse() = %+v, %v; want two edges", g, err)
	}
	c, err := e.Forget(t.Context(), sees(global()), memory.Forgetting{Entities: []caxton.EntityID{anvil}})
	if err != nil || len(c.Relations) != 1 || len(c.Hidden) != 0 {
		t.Errorf("Forget() = %+v, %v; want one relation told of", c, err)
	}
	around.From[0] = purse
	if _, edges := e.Walk(around); edges != 0 {
		t.Errorf("%d edges in the graph, want none", edges)
	}
}

func TestTraversalIsCut(t *testing.T) {
	f := newFake()
	e, _ := start(t, f, &bag{}, engine.Config{})
	hub := remember(t, e, memo(global(), "hub", "thing")).Remembered[0].Entity.ID
	for i := range 20 {
		strength := float64(i) / 20
		remember(t, e, memo(global(), fmt.Sprint("n", i), "thing"))
		remember(t, e, memory.Memo{ID: hub, Links: []memory.Link{{To: fmt.Sprint("n", i), Type: "x", Strength: &strength}}})
	}
	g, err := e.Traverse(t.Context(), memory.Traversal{Access: all(), From: []caxton.EntityID{hub}, Depth: 1, Direction: memory.Outgoing, Limit: 4})
	if err != nil || len(g.Nodes) != 4 || !g.Truncated || g.Nodes[1].Entity.Name != "n19" || len(g.Edges) != 3 {
		t.Errorf("Traverse() = %+v, %v; want the three strongest", g, err)
	}
	ids := slices.Sorted(maps.Keys(f.entities))
	for _, q := range []memory.Traversal{
		{}, {From: ids[:1], Depth: 11}, {From: ids[:1], Depth: -1}, {From: ids[:1], Limit: 10001}, {From: ids[:1], MinStrength: 2}, {From: ids[:1], Direction: "up"},
	} {
		q.Access = all()
		if _, err := e.Traverse(t.Context(), q); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("Traverse(%+v): %v, want Invalid", q, err)
		}
	}
}
