package memdb_test

import (
	"fmt"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
)

// TestMatchRoughlyOfSome looks for a word in a scope of many passages, when others have said it more often since.
func TestMatchRoughlyOfSome(t *testing.T) {
	db := open(t, memdb.Config{})
	ctx, all := t.Context(), memory.Access{All: true}
	write := func(scope caxton.Scope, name string, notes int, text string) []memory.Noted {
		t.Helper()
		m := memory.Memo{Scope: scope, Name: name}
		for i := range notes {
			m.Notes = append(m.Notes, memory.Note{Text: fmt.Sprint(text, " ", i)})
		}
		done, err := db.Remember(ctx, all, []memory.Memo{m}, caxton.Provenance{})
		if err != nil {
			t.Fatal(err)
		}
		return done[0].Observations
	}
	mine := caxton.Scope{Kind: caxton.AgentScope, Owner: "a"}
	want := map[caxton.MemoryID]bool{}
	for _, o := range write(mine, "trip", 10, "Berlin") {
		want[caxton.MemoryID(o.ID)] = true
	}
	write(mine, "filler", 2100, "number")
	write(caxton.Scope{Kind: caxton.GlobalScope}, "guide", 1400, "Berlin")
	found, err := db.MatchRoughly(ctx, memory.Access{Scopes: []caxton.Scope{mine}}, "Berlin", 1000)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range found {
		if want[m.ID] {
			n++
		}
	}
	if n != len(want) {
		t.Errorf("%d of %d passages of the scope are among %d", n, len(want), len(found))
	}
}
