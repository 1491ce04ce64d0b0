package sqlite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/ncruces/go-sqlite3"
)

// TestSearchCatchesUp stops a database before it has indexed anything and opens it again.
func TestSearchCatchesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	open := func() (*sqlite.DB, func()) {
		db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Now: func() time.Time { return time.Date(2026, 5, 1, 12, 0, 40, 0, time.UTC) }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		var wg sync.WaitGroup
		wg.Go(func() { _ = db.Run(ctx) })
		return db, sync.OnceFunc(func() { cancel(); wg.Wait(); _ = db.Close() })
	}
	found := func(db *sqlite.DB) int {
		ms, _, err := db.Search(t.Context(), caxton.MatchQuery{Text: "hello", Limit: 200})
		if err != nil {
			t.Fatal(err)
		}
		return len(ms)
	}
	want := 0
	for round := range 3 {
		db, stop := open()
		defer stop()
		for i := range 40 {
			conv := fmt.Sprintf("c%d", i%25) // some of them new, some of them known
			if _, _, err := db.Accept(t.Context(), journaltest.Delivery(conv, fmt.Sprintf("m%d-%d", round, i), i), true); err != nil {
				t.Fatal(err)
			}
		}
		want += 40
		if round == 1 { // the index is in use
			if got := found(db); got != want {
				t.Errorf("found %d of %d", got, want)
			}
			if got := found(db); got != want {
				t.Errorf("found %d of %d at the second time", got, want)
			}
		}
		stop()
	}
	db, stop := open()
	defer stop()
	if got := found(db); got != want {
		t.Errorf("found %d of %d after the restarts", got, want)
	}
}

// TestIndexIsMadeInTheBackground waits until a quiet database has indexed what it was given.
func TestIndexIsMadeInTheBackground(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = db.Run(ctx) })
	defer func() { cancel(); wg.Wait(); _ = db.Close() }()
	for i := range 50 {
		if _, _, err := db.Accept(t.Context(), journaltest.Delivery(fmt.Sprint("c", i), fmt.Sprint("m", i), i), true); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for indexed(t, path) < 50 {
		select {
		case <-deadline:
			t.Fatalf("%d of 50 conversations are in the index", indexed(t, path))
		case <-tick.C:
		}
	}
}

// indexed counts the conversations that are in the index.
func indexed(t *testing.T, path string) int {
	t.Helper()
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	st, _, err := c.Prepare(`SELECT count(*) FROM searched`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	if !st.Step() {
		t.Fatal(st.Err())
	}
	return st.ColumnInt(0)
}

// TestSearchBesideFailures indexes in transactions that fail because of what else is in them:
// what was taken back is indexed again.
func TestSearchBesideFailures(t *testing.T) {
	ctx := t.Context()
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		defer wg.Wait()
		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if err := db.Archive(ctx, "nowhere", caxton.ArchivedBody{}, time.Now()); caxton.KindOf(err) != caxton.NotFound {
							t.Errorf("Archive = %v, want NotFound", err)
							return
						}
					}
				}
			})
		}
	}()
	for i := range 100 {
		d := journaltest.Delivery(fmt.Sprintf("c%d", i), fmt.Sprintf("01900000-0000-7000-8000-%012d", i), 0)
		d.Message.Content = json.RawMessage(fmt.Sprintf(`"word%d"`, i))
		if _, _, err := db.Accept(ctx, d, true); err != nil {
			t.Error(err)
			break
		}
		ms, _, err := db.Search(ctx, caxton.MatchQuery{Text: fmt.Sprintf("word%d", i)})
		if err != nil || len(ms) != 1 {
			t.Errorf("message %d: found %+v, %v, want it", i, ms, err)
			break
		}
	}
	close(stop)
	<-done
}
