package sqlite_test

import (
	"context"
	"encoding/json"
	"fmt"
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
	all, err := db.RecordsSince(ctx, 0, 0)
	if err != nil || len(all) != 6 {
		t.Fatalf("%d records, %v, want 6", len(all), err)
	}
	last := all[5]
	err = db.Append(ctx, caxton.Record{ConversationID: "old", At: last.At, Kind: caxton.RecordDecided, MessageID: old.Message.ID, Body: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	rs, err := copied(t, path).RecordsSince(ctx, last.N, 0)
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

// TestRecordsSinceImport brings in conversations whose times are no times of this server: long
// ago, or not yet. Who was before them finds them, who is behind them finds what came later.
func TestRecordsSinceImport(t *testing.T) {
	ctx := t.Context()
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	now := time.Now()
	log := func(conv, id string, at time.Time) []caxton.Record {
		d := journaltest.Delivery(conv, id, 0)
		d.Message.ReceiverID = "" // to the outside: nothing is open
		d.Message.CreatedAt = at
		body, err := json.Marshal(d.Body())
		if err != nil {
			t.Fatal(err)
		}
		return []caxton.Record{{ConversationID: d.Message.ConversationID, At: at, Kind: caxton.RecordMessage, MessageID: d.Message.ID, Body: body}}
	}
	for i, tt := range []struct {
		name string
		at   time.Time
	}{{"long ago", now.AddDate(-1, 0, 0)}, {"not yet", now.AddDate(1, 0, 0)}} {
		before, err := db.Position(ctx)
		if err != nil {
			t.Fatal(err)
		}
		conv := fmt.Sprintf("in%d", i)
		if _, err := db.Import(ctx, log(conv, fmt.Sprintf("01900000-0000-7000-8000-00000000001%d", i), tt.at)); err != nil {
			t.Fatal(err)
		}
		rs, err := db.RecordsSince(ctx, before, 0)
		if err != nil || len(rs) != 1 || string(rs[0].ConversationID) != conv {
			t.Errorf("%s: RecordsSince a position before the import = %+v, %v, want its record", tt.name, rs, err)
			continue
		}
		d := journaltest.Delivery(fmt.Sprintf("later%d", i), fmt.Sprintf("01900000-0000-7000-8000-00000000002%d", i), 0)
		d.Message.CreatedAt = now
		if _, _, err := db.Accept(ctx, d, true); err != nil {
			t.Fatal(err)
		}
		if rs, err = db.RecordsSince(ctx, rs[0].N, 0); err != nil || len(rs) != 1 || rs[0].ConversationID != d.Message.ConversationID {
			t.Errorf("%s: RecordsSince the imported record = %+v, %v, want the record after it", tt.name, rs, err)
		}
	}
}
