package engine_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
)

// FuzzSearch asks any text of a memory in every mode: there is an answer with scores in order, from what may be
// seen, or one error that says what is wrong with the text.
func FuzzSearch(f *testing.F) {
	for _, q := range []string{
		"tea", "Where does Alice Smith live?", "what did Bob say last week", "in May 2024", "before 2024-02-30", "AND OR NOT (", `"`, `a"b*c^`, "NEAR(tea, 3)",
		"id-4711 x2", "東京はどこ", "ÀÉ ı ß İstanbul", "\x00\xff", "scope\uE0001", "\uE001alice", " \t\n", "who is he? now", "yesterday and 3 days ago", "31 february",
	} {
		f.Add(q, int64(0))
	}
	db := openDB(f, filepath.Join(f.TempDir(), "memory.db"))
	f.Cleanup(func() {
		if err := db.Close(); err != nil {
			f.Error(err)
		}
	})
	e, stop := over(f, db, newClustered(), engine.Config{CacheResults: -1})
	f.Cleanup(stop)
	alice := memo(global(), "Alice Smith", "person", "lives in Rome since May 2023", "met Bob at the harbour")
	alice.Links = []memory.Link{{To: "Bob", Type: "knows"}}
	_, err := e.Remember(f.Context(), all(), []memory.Memo{
		memo(global(), "Bob", "person", "drinks green tea", "has the badge ID-4711"), alice, memo(global(), "Harbour", "place", "closed on 2024-05-06"),
		memo(global(), "東京", "place", "首都は東京です"), memo(agent("other"), "Secret", "thing", "tea, Alice, Rome, harbour, 4711"),
	}, caxton.Provenance{By: "fuzz"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, at int64) {
		for _, mode := range []memory.Mode{memory.Hybrid, memory.Words, memory.Meaning} {
			q := memory.Query{Access: sees(global()), Text: text, Mode: mode}
			if at != 0 {
				q.Filter.AsOf = &memory.AsOf{Known: time.Now(), Valid: time.Unix(at%1e11, 0)}
			}
			r, err := e.Search(t.Context(), q)
			if err != nil {
				if k := caxton.KindOf(err); k != caxton.Invalid && k != caxton.TooLarge {
					t.Fatalf("Search(%q, %s): %v", text, mode, err)
				}
				continue
			}
			for _, h := range r.Hits {
				if h.Entity.Scope != global() || !(h.Score > 0 && h.Score <= 1) || len(h.Found) == 0 {
					t.Errorf("Search(%q, %s): %+v", text, mode, h)
				}
			}
			if !slices.IsSortedFunc(r.Hits, func(a, b memory.Hit) int { return int(1e9*b.Score) - int(1e9*a.Score) }) {
				t.Errorf("Search(%q, %s) is not in order: %+v", text, mode, r.Hits)
			}
		}
	})
}
