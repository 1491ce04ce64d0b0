package memdb_test

import (
	"context"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
)

// TestDropModelStops stops in the middle of removing a model: what is left of it is counted right.
func TestDropModelStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := false
	db := open(t, memdb.Config{Now: func() time.Time {
		if stop {
			cancel()
		}
		return time.Now()
	}})
	_, err := db.Remember(ctx, memory.Access{All: true}, []memory.Memo{{Scope: caxton.Scope{Kind: caxton.GlobalScope}, Name: "a"}}, caxton.Provenance{})
	if err == nil {
		err = db.PutVectors(ctx, "m", nil) // the model
	}
	if err == nil {
		err = db.Damage(`WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM i WHERE n<25000)
			INSERT INTO embeddings (passage, model, vector) SELECT i.n, m.n, x'00000000' FROM i, models m; UPDATE models SET vectors=25000`)
	}
	if err != nil {
		t.Fatal(err)
	}
	stop = true
	if err := db.DropModel(ctx, "m"); caxton.KindOf(err) != caxton.Canceled {
		t.Fatalf("DropModel() = %v, want it to stop", err)
	}
	if n, err := db.VectorCount(t.Context(), "m"); err != nil || n != 5000 {
		t.Errorf("VectorCount() = %d, %v, want the 5000 that are left", n, err)
	}
}
