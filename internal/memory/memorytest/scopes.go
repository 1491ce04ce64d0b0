package memorytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"pgregory.net/rapid"
)

// TestScopes writes into the scopes of two agents, two workspaces and the global one in any order, and
// asks by every method: what is returned lies within the access, and a write outside it does nothing.
func TestScopes(t *testing.T, open Open) {
	scopes := []caxton.Scope{agent("a"), agent("b"), workspace("v"), workspace("w"), global()}
	rapid.Check(t, func(rt *rapid.T) {
		clock := NewClock()
		s := open(t, clock.Now)
		ctx := context.Background()
		where := map[caxton.EntityID]caxton.Scope{}
		observed := map[caxton.ObservationID]caxton.Scope{}
		related := map[caxton.RelationID][2]caxton.EntityID{}
		draw := func() memory.Access {
			a := memory.Access{}
			for _, sc := range scopes {
				if rapid.Bool().Draw(rt, sc.String()) {
					a.Scopes = append(a.Scopes, sc)
				}
			}
			return a
		}
		for i := range rapid.IntRange(3, 25).Draw(rt, "writes") {
			clock.Tick()
			a := draw()
			m := memory.Memo{Scope: rapid.SampledFrom(scopes).Draw(rt, "scope"), Name: rapid.SampledFrom([]string{"x", "y", "X"}).Draw(rt, "name")}
			m.Notes = []memory.Note{{Text: fmt.Sprintf("secret %d of %s", i, m.Scope), Key: rapid.SampledFrom([]string{"", "k"}).Draw(rt, "key")}}
			if rapid.Bool().Draw(rt, "link") {
				m.Links = []memory.Link{{To: rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "to"), Type: "knows"}}
			}
			rs, err := s.Remember(ctx, a, []memory.Memo{m}, by("c"))
			switch {
			case !a.Sees(m.Scope):
				if caxton.KindOf(err) != caxton.Forbidden {
					rt.Fatalf("remembered in %s with %v: %v", m.Scope, a, err)
				}
				continue
			case caxton.KindOf(err) == caxton.NotFound: // nobody to link to
				continue
			case err != nil:
				rt.Fatal(err)
			}
			where[rs[0].Entity.ID] = m.Scope
			for _, n := range append([]memory.Noted(nil), rs[0].Observations...) {
				observed[n.ID] = m.Scope
				for _, id := range n.Superseded {
					if observed[id] != m.Scope {
						rt.Fatalf("superseded %v of %s in %s", id, observed[id], m.Scope)
					}
				}
			}
			for _, r := range rs[0].Relations {
				related[r.ID] = [2]caxton.EntityID{r.From, r.To}
				if !a.Sees(where[r.To]) {
					rt.Fatalf("related to %s with %v", where[r.To], a)
				}
			}
		}
		a := draw()
		seesRelation := func(id caxton.RelationID) bool { return a.Sees(where[related[id][0]]) && a.Sees(where[related[id][1]]) }
		entity := func(method string, e caxton.Entity) {
			if !a.Sees(where[e.ID]) || e.Scope != where[e.ID] {
				rt.Errorf("%s with %v shows %s of %s", method, a, e.Name, where[e.ID])
			}
			for _, o := range e.Observations {
				if !a.Sees(observed[o.ID]) || !strings.HasSuffix(o.Text, " of "+e.Scope.String()) {
					rt.Errorf("%s with %v shows %q", method, a, o.Text)
				}
			}
		}
		relation := func(method string, r caxton.Relation) {
			if !seesRelation(r.ID) {
				rt.Errorf("%s with %v shows a relation of %s and %s", method, a, where[r.From], where[r.To])
			}
		}
		must := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		var ids []caxton.MemoryID
		var rels []caxton.RelationID
		visible := 0
		past := memory.AsOf{Known: clock.Now()}
		for _, f := range []memory.Filter{{}, {AsOf: &past}} {
			at := asOf(f)
			for id, sc := range where {
				ids = append(ids, caxton.MemoryID(id))
				e, err := s.Entity(ctx, a, id, at)
				if a.Sees(sc) {
					visible++
					must(err)
					entity("Entity", e)
				} else if caxton.KindOf(err) != caxton.NotFound {
					rt.Errorf("Entity with %v of %s: %v", a, sc, err)
				}
				changes, err := s.History(ctx, a, id)
				if a.Sees(sc) != (err == nil) {
					rt.Errorf("History with %v of %s: %v", a, sc, err)
				}
				for _, c := range changes {
					if c.Relation != nil {
						relation("History", *c.Relation)
					}
				}
				page, _, err := s.Relations(ctx, a, id, at, "", 100)
				if a.Sees(sc) != (err == nil) {
					rt.Errorf("Relations with %v at %s: %v", a, sc, err)
				}
				for _, r := range page {
					relation("Relations", r)
				}
			}
			for id := range observed {
				ids = append(ids, caxton.MemoryID(id))
			}
			for id := range related {
				rels = append(rels, id)
			}
			hits, err := s.Hits(ctx, a, ids, f)
			must(err)
			for _, e := range hits {
				entity("Hits", e)
			}
			named, err := s.Named(ctx, a, "x", at)
			must(err)
			for _, e := range named {
				entity("Named", e)
			}
			page, _, err := s.Entities(ctx, a, f, "", 100)
			must(err)
			for _, e := range page {
				entity("Entities", e)
			}
			if n := len(page); n != visible {
				rt.Errorf("Entities with %v shows %d of %d", a, n, visible)
			}
			visible = 0
			matches, err := s.Match(ctx, a, "secret", f, 100)
			must(err)
			for _, m := range matches {
				if !a.Sees(where[m.EntityID]) {
					rt.Errorf("Match with %v finds %v in %s", a, m, where[m.EntityID])
				}
			}
			page2, _, err := s.Relations(ctx, a, 0, at, "", 100)
			must(err)
			got, err := s.Related(ctx, a, rels, at)
			must(err)
			for _, r := range append(page2, got...) {
				relation("Relations", r)
			}
			if k, ok := s.(memory.Keeper); ok {
				must(k.Export(ctx, a, f, f.AsOf != nil, func(e caxton.Entity) error { entity("Export", e); return nil },
					func(r caxton.Relation) error { relation("Export", r); return nil }))
			}
		}
		groups, err := s.Groups(ctx, a, true)
		must(err)
		whole, err := s.Match(ctx, all(), "secret", memory.Filter{}, 1000)
		must(err)
		for _, m := range whole {
			if slices.Contains(groups, m.Group) != a.Sees(where[m.EntityID]) {
				rt.Errorf("Groups with %v and group %d of %s", a, m.Group, where[m.EntityID])
			}
		}
		clock.Tick()
		c, err := s.Revert(ctx, a, memory.Reversal{ConversationID: "c"})
		must(err)
		for _, id := range append(c.Observations, c.Restored...) {
			if !a.Sees(observed[id]) {
				rt.Errorf("Revert with %v reverts in %s", a, observed[id])
			}
		}
		for _, id := range append(c.Relations, c.RestoredRelations...) {
			if !seesRelation(id) {
				rt.Errorf("Revert with %v reverts a relation", a)
			}
		}
		for id, sc := range where {
			if !a.Sees(sc) {
				_, err := s.Forget(ctx, a, memory.Forgetting{Entities: []caxton.EntityID{id}})
				if caxton.KindOf(err) != caxton.NotFound {
					rt.Errorf("Forget with %v in %s: %v", a, sc, err)
				}
			}
		}
	})
}

func asOf(f memory.Filter) memory.AsOf {
	if f.AsOf == nil {
		return memory.AsOf{}
	}
	return *f.AsOf
}
