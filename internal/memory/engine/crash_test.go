package engine_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/google/go-cmp/cmp"
)

// careless is a database whose last checkpoints are lost, as by a crash.
type careless struct {
	*memdb.DB
	lose bool
}

func (c *careless) SaveSegments(ctx context.Context, model string, mark int64, blobs iter.Seq2[uint32, []byte]) error {
	if c.lose {
		return errors.New("lost")
	}
	return c.DB.SaveSegments(ctx, model, mark, blobs)
}

// TestIndexLoadedIsIndexRebuilt writes, supersedes, forgets, reverts and cleans, ends with and
// without a checkpoint, and compares what the index that was loaded finds with what one finds
// that was made anew.
func TestIndexLoadedIsIndexRebuilt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	rng := rand.New(rand.NewPCG(1, 2))
	var ids []caxton.EntityID
	var obs []caxton.ObservationID
	for life := range 8 {
		db := openDB(t, path)
		c := &careless{DB: db, lose: life%3 == 1}
		e, err := engine.New(db, c, db, &bag{}, engine.Config{CacheResults: -1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()

		look := func() (seen []string) {
			for _, q := range []string{"fact 1 about e2", "e3", "fact 4", "e5 thing"} {
				r, err := e.Search(t.Context(), memory.Query{Access: all(), Text: q, Mode: memory.Meaning, Limit: 50})
				if err != nil {
					t.Fatal(err)
				}
				for _, h := range r.Hits {
					seen = append(seen, fmt.Sprintf("%s: %s %.4f %d", q, h.Entity.Name, h.Score, len(h.Found)))
				}
			}
			return seen
		}
		look() // waits until it is loaded
		for s, err := e.Stats(t.Context()); err != nil || s.Counts.Unembedded > 0; s, err = e.Stats(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Millisecond) // what a write left to the background is no matter of the index
		}
		loaded := look()
		healthy(t, e)
		if err := e.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(look(), loaded); d != "" {
			t.Fatalf("life %d: the index that was loaded finds otherwise than the one made anew:\n%s", life, d)
		}
		healthy(t, e)

		for range 40 {
			switch rng.IntN(8) {
			case 0:
				if len(obs) > 0 {
					_, err = e.Forget(t.Context(), all(), memory.Forgetting{Observations: []caxton.ObservationID{obs[rng.IntN(len(obs))]}})
				}
			case 1:
				if len(obs) > 0 {
					_, err = e.Revert(t.Context(), all(), memory.Reversal{Observations: []caxton.ObservationID{obs[rng.IntN(len(obs))]}, Actor: "test"})
				}
			case 2:
				if len(ids) > 20 {
					_, err = e.Forget(t.Context(), all(), memory.Forgetting{Entities: []caxton.EntityID{ids[rng.IntN(len(ids))]}})
				}
			default:
				m := memo(global(), fmt.Sprint("e", rng.IntN(12)), "thing")
				if rng.IntN(4) > 0 {
					m.Notes = []memory.Note{{Text: fmt.Sprint("fact ", rng.IntN(9), " about ", m.Name), Key: fmt.Sprint("k", rng.IntN(3))}}
				}
				w := remember(t, e, m)
				ids = append(ids, w.Remembered[0].Entity.ID)
				for _, n := range w.Remembered[0].Observations {
					obs = append(obs, n.ID)
				}
			}
			if k := caxton.KindOf(err); err != nil && k != caxton.NotFound && k != caxton.Conflict {
				t.Fatal(err)
			}
		}
		if life == 5 {
			if _, err := e.Clean(t.Context(), memory.Cleaning{Scope: global(), MaxEntities: 6}); err != nil {
				t.Fatal(err)
			}
		}
		healthy(t, e)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// curious searches whenever the index is about to follow what was written.
type curious struct {
	*memdb.DB
	search func()
}

func (c *curious) Changes(ctx context.Context, model string, since int64, changed func(memory.Vector) error) (int64, error) {
	if c.search != nil {
		c.search()
	}
	return c.DB.Changes(ctx, model, since, changed)
}

// TestResultBesideBacklog keeps the result of a search that was made while a passage was being embedded, and
// wants it not to be given once the passage is in the index.
func TestResultBesideBacklog(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	defer func() { _ = db.Close() }()
	c := &curious{DB: db}
	e, err := engine.New(db, c, db, &bag{}, engine.Config{Batch: 1}) // more than one passage goes to the background
	if err != nil {
		t.Fatal(err)
	}
	found := func() (n int) {
		r, err := e.Search(t.Context(), memory.Query{Access: all(), Text: "fact", Mode: memory.Meaning})
		if err != nil {
			t.Error(err)
		}
		for _, h := range r.Hits {
			n += len(h.Found)
		}
		return n
	}
	m := memo(global(), "a", "thing")
	m.Notes = []memory.Note{{Text: "one fact"}, {Text: "another fact"}}
	remember(t, e, m)
	ready := make(chan struct{})
	c.search = func() {
		select {
		case <-ready:
			found()
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for e.Status().State != memory.Ready {
		<-time.After(time.Millisecond)
	}
	close(ready)
	for {
		s, err := e.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Vectors == 2 {
			break
		}
		<-time.After(time.Millisecond)
	}
	healthy(t, e) // after the write that made them two
	if n := found(); n != 2 {
		t.Errorf("%d of 2 facts are found after all are embedded", n)
	}
}
