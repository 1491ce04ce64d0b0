// Hundreds of megabytes on the disk hold up every other test, and there is no race to be found in it.

//go:build !race

package memdb_test

import (
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
)

// TestSaveSegmentsLarge writes the segments of an index of 650,000 vectors over those of before: more than
// a connection may have in memory.
func TestSaveSegmentsLarge(t *testing.T) {
	db := open(t, memdb.Config{})
	ctx := t.Context()
	_, err := db.Remember(ctx, memory.Access{All: true}, []memory.Memo{{Scope: caxton.Scope{Kind: caxton.GlobalScope}, Name: "a"}}, caxton.Provenance{})
	if err != nil {
		t.Fatal(err)
	}
	blob := make([]byte, 450<<10)
	const segments = 650
	for round := range 2 {
		for i := range blob { // SQLite writes only what is another
			blob[i] = byte(i + round)
		}
		err := db.SaveSegments(ctx, "m", 0, func(yield func(uint32, []byte) bool) {
			for id := range uint32(segments) {
				if !yield(id, blob) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	_, err = db.Load(ctx, "m", func(uint32, []byte) error { n++; return nil }, func(memory.Vector) error { return nil })
	if err != nil || n != segments {
		t.Errorf("%d segments, %v", n, err)
	}
}
