package memdb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/memorytest"
	"github.com/google/go-cmp/cmp"
)

// TestPostingsFollowWrites writes in any order and compares what is found by lists that were read before with
// what is found when they are read again.
func TestPostingsFollowWrites(t *testing.T) {
	clock := memorytest.NewClock()
	db := open(t, memdb.Config{Now: clock.Now, Readers: 2})
	ctx, all := t.Context(), memory.Access{All: true}
	one := memory.Access{Scopes: []caxton.Scope{{Kind: caxton.AgentScope, Owner: "a"}}}
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("alpha beta gamma delta epsilon zeta eta theta")
	text := func() string {
		var list []string
		for range 1 + r.IntN(4) {
			list = append(list, words[r.IntN(len(words))])
		}
		return strings.Join(list, " ")
	}
	type answer struct {
		Exact, Rough, One []memory.TextMatch
		About             []memory.Aboutness
		Names             []memory.Name
	}
	ask := func(query string) (a answer) {
		t.Helper()
		var errs [5]error
		a.Exact, errs[0] = db.Match(ctx, all, query, memory.Filter{}, 20)
		a.Rough, errs[1] = db.MatchRoughly(ctx, all, query, 1000)
		a.One, errs[2] = db.Match(ctx, one, query, memory.Filter{}, 20)
		a.About, errs[3] = db.About(ctx, all, strings.Fields(query), 100)
		a.Names, errs[4] = db.Names(ctx, all, strings.Fields(query))
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		return a
	}
	var ids []caxton.EntityID
	for step := range 250 {
		clock.Tick()
		var err error
		switch n := r.IntN(10); {
		case n < 6 || len(ids) == 0:
			m := memory.Memo{Scope: one.Scopes[0], Name: fmt.Sprint(words[r.IntN(4)], " ", r.IntN(30)), Type: []string{"", "person"}[r.IntN(2)]}
			if r.IntN(2) == 0 {
				m.Scope = caxton.Scope{Kind: caxton.GlobalScope}
			}
			if r.IntN(4) > 0 {
				m.Notes = []memory.Note{{Text: text()}}
			}
			var done []memory.Remembered
			if done, err = db.Remember(ctx, all, []memory.Memo{m}, caxton.Provenance{ConversationID: caxton.ConversationID(fmt.Sprint("c", step%20))}); err == nil {
				ids = append(ids, done[0].Entity.ID)
			}
		case n == 6:
			e, failed := db.Entity(ctx, all, ids[r.IntN(len(ids))], memory.AsOf{})
			if failed == nil && len(e.Observations) > 0 {
				_, err = db.Forget(ctx, all, memory.Forgetting{Observations: []caxton.ObservationID{e.Observations[0].ID}})
			}
		case n == 7:
			_, err = db.Revert(ctx, all, memory.Reversal{ConversationID: caxton.ConversationID(fmt.Sprint("c", r.IntN(20)))})
		case n == 8 && step%5 == 0:
			_, err = db.Clean(ctx, memory.Cleaning{Past: clock.Now().Add(-30 * time.Minute)})
		case n == 9 && step%20 == 0:
			err = db.Reindex(ctx, func(int64, int64) {})
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		query := text()
		kept := ask(query)
		db.VoidPostings()
		if d := cmp.Diff(ask(query), kept); d != "" {
			t.Fatalf("step %d, %q (-read again +kept):\n%s", step, query, d)
		}
		for _, w := range words { // lists for the steps to come
			ask(w)
		}
	}
	if lists, passages := db.Postings(); lists == 0 || passages == 0 {
		t.Errorf("%d lists of %d passages are kept", lists, passages)
	}
}

// TestPostingsWhileWriting reads lists while others write: what a writer was told is written is found.
func TestPostingsWhileWriting(t *testing.T) {
	db := open(t, memdb.Config{})
	ctx, all := t.Context(), memory.Access{All: true}
	var writers, readers sync.WaitGroup
	stop, cancel := context.WithCancel(ctx)
	for range 2 {
		readers.Go(func() {
			for stop.Err() == nil {
				if _, err := db.MatchRoughly(ctx, all, "shared word", 100); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			for i := range 60 {
				m := memory.Memo{Scope: caxton.Scope{Kind: caxton.GlobalScope}, Name: fmt.Sprintf("shared %d-%d", w, i)}
				if i%3 > 0 { // the passage of the name goes when there is something to say
					m.Notes = []memory.Note{{Text: fmt.Sprintf("word of %d-%d", w, i)}}
				}
				done, err := db.Remember(ctx, all, []memory.Memo{m}, caxton.Provenance{})
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					m.Notes = []memory.Note{{Text: fmt.Sprintf("word of %d-%d", w, i)}}
					if done, err = db.Remember(ctx, all, []memory.Memo{m}, caxton.Provenance{}); err != nil {
						t.Error(err)
						return
					}
				}
				found, err := db.MatchRoughly(ctx, all, "shared word", 1000)
				if err != nil {
					t.Error(err)
					return
				}
				here := false
				for _, f := range found {
					here = here || f.ID == caxton.MemoryID(done[0].Observations[0].ID)
				}
				if !here {
					t.Errorf("writer %d: %d is written and not found", w, i)
				}
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
}
