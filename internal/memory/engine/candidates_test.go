package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
)

// asks is a model that embeds one text only, once it is told which.
type asks struct {
	*bag
	only string // guarded by mu
}

func (a *asks) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	a.mu.Lock()
	only := a.only
	a.mu.Unlock()
	if only != "" && (len(texts) != 1 || texts[0] != only) {
		return nil, caxton.Errorf(caxton.Unavailable, "model_busy", "the model is busy")
	}
	return a.bag.Embed(ctx, texts)
}

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

// TestNotEmbeddedYetIsFound looks for a passage that has no vector yet, beside newer ones with the same word that
// have none either: of a scope that is not seen, or repetitions, which do not count.
func TestNotEmbeddedYetIsFound(t *testing.T) {
	for name, others := range map[string]func(t *testing.T, e *engine.Engine){
		"of another scope": func(t *testing.T, e *engine.Engine) {
			t.Helper()
			var memos []memory.Memo
			for i := range 100 {
				memos = append(memos, memo(agent("b"), fmt.Sprint("cello ", i), "cello"))
			}
			remember(t, e, memos...)
		},
		"repetitions": func(t *testing.T, e *engine.Engine) {
			t.Helper()
			for i := range 16 {
				var memos []memory.Memo
				for n := range 4 {
					memos = append(memos, memo(agent("a"), fmt.Sprint("cello ", n), "cello", "a cello"))
				}
				if _, err := e.Remember(t.Context(), all(), memos, caxton.Provenance{By: fmt.Sprint(i)}); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
			defer db.Close()
			b := &asks{bag: &bag{}}
			e, stop := over(t, db, b, engine.Config{Batch: 4096})
			defer stop()
			mine := memo(agent("a"), "filler", "thing")
			for i := range 2500 { // too many to look for the word among them alone
				mine.Notes = append(mine.Notes, memory.Note{Text: fmt.Sprint("number ", i)})
			}
			if w := remember(t, e, mine); w.Unembedded > 0 {
				t.Fatalf("%d are not embedded", w.Unembedded)
			}
			b.mu.Lock()
			b.only = "cello"
			b.mu.Unlock()
			remember(t, e, memo(agent("a"), "Alice", "person", "plays the cello"))
			others(t, e)
			names := found(t, e, memory.Query{Access: sees(agent("a")), Text: "cello"})
			if !slices.Contains(names, "Alice") {
				t.Errorf("found %v, not Alice", names)
			}
		})
	}
}
