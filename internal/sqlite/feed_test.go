package sqlite_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
)

// copied opens a copy of a database in use: what a killed process leaves behind.
func copied(t *testing.T, path string) *sqlite.DB {
	t.Helper()
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "caxton.db"+suffix), string(b))
	}
	db, _ := open(t, filepath.Join(dir, "caxton.db"), sqlite.Normal)
	return db
}

// TestRecordsSinceKill kills the process right after a record in a conversation that was
// quiet for an hour: who resumes from a position shortly before must find it.
func TestRecordsSinceKill(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, _ := open(t, path, sqlite.Normal)
	old, fresh := journaltest.Delivery("old", "01900000-0000-7000-8000-000000000001", 0), journaltest.Delivery("fresh", "01900000-0000-7000-8000-000000000002", 0)
	fresh.Message.CreatedAt = old.Message.CreatedAt.Add(time.Hour)
	for _, d := range []caxton.Delivery{old, fresh} {
		if _, _, err := db.Accept(ctx, d, true); err != nil {
			t.Fatal(err)
		}
		if err := db.Settle(ctx, journaltest.Done(journaltest.Lease(d), "hi")); err != nil {
			t.Fatal(err)
		}
	}
	all, err := db.RecordsSince(ctx, 0, time.Time{}, 0)
	if err != nil || len(all) != 6 {
		t.Fatalf("%d records, %v, want 6", len(all), err)
	}
	last := all[5]
	err = db.Append(ctx, caxton.Record{ConversationID: "old", At: last.At, Kind: caxton.RecordDecided, MessageID: old.Message.ID, Body: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	rs, err := copied(t, path).RecordsSince(ctx, last.N, last.At, 0)
	if err != nil || len(rs) != 1 || rs[0].ConversationID != "old" {
		t.Errorf("RecordsSince after the kill = %+v, %v, want the record in the old conversation", rs, err)
	}
}

// lateFeed has its first listener come while a commit is at work.
type lateFeed struct {
	mu              sync.Mutex
	asked           int
	lost, published int
}

func (f *lateFeed) Active() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.asked > 1
}

func (f *lateFeed) PublishRecords([]caxton.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.published++
}

func (f *lateFeed) Lost() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost++
}

func TestLateListener(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var f lateFeed
	db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(t.TempDir(), "caxton.db"), Feed: &f})
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.asked, f.lost = 0, 0 // opening makes a transaction too
	f.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	for i, id := range []string{"m1", "m2"} {
		if _, _, err := db.Accept(t.Context(), journaltest.Delivery("c1", id, i), true); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		if f.lost != 1 || f.published != i {
			t.Errorf("after %s: %d times lost, %d commits published, want 1 and %d", id, f.lost, f.published, i)
		}
		f.mu.Unlock()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = db.Close()
}
