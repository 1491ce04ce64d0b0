package engine_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestGraphDetailsAgreeWithStore traverses between writes of all kinds, over the database, and compares each
// entity and relation with what the store says of it.
func TestGraphDetailsAgreeWithStore(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	e, stop := over(t, db, &bag{}, engine.Config{})
	defer func() {
		stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		ctx := t.Context()
		scopes := []caxton.Scope{global(), agent("a"), agent("b")}
		var ids []caxton.EntityID
		var relations []caxton.RelationID
		remember := func(m memory.Memo) memory.Remembered {
			w, err := e.Remember(ctx, all(), []memory.Memo{m}, caxton.Provenance{By: rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "by")})
			if err != nil {
				rt.Fatal(err)
			}
			return w.Remembered[0]
		}
		for i := range 6 {
			ids = append(ids, remember(memo(scopes[i%3], fmt.Sprint("e", n, " ", i), "thing")).Entity.ID)
		}
		anyone := func() caxton.EntityID { return rapid.SampledFrom(ids).Draw(rt, "entity") }
		there := func(id caxton.EntityID) bool {
			_, err := db.Entity(ctx, all(), id, memory.AsOf{})
			return err == nil
		}
		metadata := func() json.RawMessage {
			return json.RawMessage(fmt.Sprintf(`{"n":"%0*d"}`, rapid.SampledFrom([]int{1, 300}).Draw(rt, "length"), rapid.IntRange(0, 3).Draw(rt, "metadata")))
		}
		for range rapid.IntRange(5, 30).Draw(rt, "steps") {
			from, to := anyone(), anyone()
			switch step := rapid.SampledFrom([]string{"link", "link", "link", "traverse", "importance", "metadata", "observe", "forget", "unrelate", "revert", "clean"}).Draw(rt, "step"); step {
			case "link":
				a, err := db.Entity(ctx, all(), from, memory.AsOf{})
				b, err2 := db.Entity(ctx, all(), to, memory.AsOf{})
				if err != nil || err2 != nil || a.Scope != b.Scope && a.Scope != global() && b.Scope != global() {
					continue
				}
				strength := float64(rapid.IntRange(1, 10).Draw(rt, "strength")) / 10
				l := memory.Link{ToID: to, Type: rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "type"), Strength: &strength}
				if rapid.Bool().Draw(rt, "with metadata") {
					l.Metadata = metadata()
				}
				relations = append(relations, remember(memory.Memo{ID: from, Links: []memory.Link{l}}).Relations[0].ID)
			case "importance", "metadata", "observe":
				if !there(from) {
					continue
				}
				m := memory.Memo{ID: from}
				importance := float64(rapid.IntRange(0, 10).Draw(rt, "importance")) / 10
				switch step {
				case "importance":
					m.Importance = &importance
				case "metadata":
					m.Metadata = metadata()
				default:
					m.Notes = []memory.Note{{Text: fmt.Sprint("note ", importance)}}
				}
				remember(m)
			case "forget":
				if there(from) && rapid.Bool().Draw(rt, "really") {
					if _, err := e.Forget(ctx, all(), memory.Forgetting{Entities: []caxton.EntityID{from}}); err != nil {
						rt.Fatal(err)
					}
				}
			case "unrelate":
				if len(relations) > 0 {
					_, err := e.Forget(ctx, all(), memory.Forgetting{Relations: []caxton.RelationID{rapid.SampledFrom(relations).Draw(rt, "relation")}})
					if err != nil && caxton.KindOf(err) != caxton.NotFound {
						rt.Fatal(err)
					}
				}
			case "revert":
				if _, err := e.Revert(ctx, all(), memory.Reversal{Entity: from, By: "x"}); err != nil && caxton.KindOf(err) != caxton.NotFound {
					rt.Fatal(err)
				}
			case "clean":
				if _, err := e.Clean(ctx, memory.Cleaning{Past: time.Now()}); err != nil {
					rt.Fatal(err)
				}
			}
			a := rapid.SampledFrom([]memory.Access{all(), sees(global()), sees(agent("a"), global())}).Draw(rt, "access")
			g, err := e.Traverse(ctx, memory.Traversal{Access: a, From: []caxton.EntityID{anyone()}, Depth: 3})
			if caxton.KindOf(err) == caxton.NotFound {
				continue
			}
			if err != nil {
				rt.Fatal(err)
			}
			var nodes []memory.Node
			for _, node := range g.Nodes {
				entities, err := db.Hits(ctx, a, []caxton.MemoryID{caxton.MemoryID(node.Entity.ID)}, memory.Filter{})
				if err != nil || len(entities) != 1 {
					rt.Fatalf("%s is in the graph; the store has %d of it, %v", node.Entity.Name, len(entities), err)
				}
				node.Entity = entities[0]
				node.Entity.Observations = nil
				nodes = append(nodes, node)
			}
			edges := make([]caxton.RelationID, len(g.Edges))
			for i := range g.Edges {
				edges[i] = g.Edges[i].ID
			}
			want, err := db.Related(ctx, a, edges, memory.AsOf{})
			if err != nil {
				rt.Fatal(err)
			}
			if d := cmp.Diff(nodes, g.Nodes) + cmp.Diff(want, append([]caxton.Relation{}, g.Edges...)); d != "" {
				rt.Fatalf("the store (-) and the graph (+) differ:\n%s", d)
			}
		}
	})
}
