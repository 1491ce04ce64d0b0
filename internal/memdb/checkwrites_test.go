package memdb_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
)

// TestCheckAfterWritesByOthers checks on a connection that knows the text index from before it
// was written to by another.
func TestCheckAfterWritesByOthers(t *testing.T) {
	db, err := memdb.Open(t.Context(), memdb.Config{Path: filepath.Join(t.TempDir(), "memory.db"), Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a := memory.Access{All: true}
	for i := range 100 {
		_, err := db.Remember(t.Context(), a, []memory.Memo{{
			Scope: caxton.Scope{Kind: caxton.GlobalScope}, Name: fmt.Sprint("e", i), Notes: []memory.Note{{Text: fmt.Sprint("fact ", i)}},
		}}, caxton.Provenance{})
		if err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			if _, err := db.Match(t.Context(), a, "fact", memory.Filter{}, 10); err != nil {
				t.Fatal(err)
			}
		}
		if faults, err := db.Check(t.Context(), true); err != nil || len(faults) > 0 {
			t.Fatalf("after write %d: Check() = %v, %v", i, faults, err)
		}
	}
}
