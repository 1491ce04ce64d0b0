package engine_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
)

// TestWordsAlonePutInOrder searches without an answer of the model: the limit decides only how much is found.
func TestWordsAlonePutInOrder(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	defer db.Close()
	b := &bag{}
	e, stop := over(t, db, b, engine.Config{})
	defer stop()
	remember(t, e, memo(global(), "Bob", "person", "plays the horn"))
	remember(t, e, memo(global(), "Carol", "person", "has a horn that nobody has heard since "+strings.Repeat("one day or another ", 20)))
	b.fail(caxton.Errorf(caxton.Unavailable, "model_loading", "the model is loading"))
	for _, limit := range []int{10, 200} {
		if got := found(t, e, memory.Query{Access: all(), Text: "horn", Limit: limit}); len(got) != 2 || got[0] != "Bob" {
			t.Errorf("limit %d: %v, want Bob first", limit, got)
		}
	}
}
