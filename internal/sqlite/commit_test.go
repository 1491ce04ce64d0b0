package sqlite_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/ncruces/go-sqlite3"
)

// brokenFeed panics when it is told of the record at a position.
type brokenFeed struct {
	at   int64
	lost int
}

func (*brokenFeed) Active() bool { return true }

func (f *brokenFeed) PublishRecords(rs []caxton.Record) {
	if rs[0].N == f.at {
		panic("broken")
	}
}

func (f *brokenFeed) Lost() { f.lost++ }

// What is committed counts, and who wrote it is told so, also when whoever is told of it breaks
// down.
func TestFeedPanics(t *testing.T) {
	f := &brokenFeed{at: 2}
	logged := make(lines, 10)
	db, _ := openWith(t, sqlite.Config{Path: filepath.Join(t.TempDir(), "caxton.db"), Feed: f, Logger: slog.New(logged)})
	first, second := journaltest.Delivery("c", "m1", 0), journaltest.Delivery("c", "m2", 1)
	if _, _, err := db.Accept(t.Context(), first, true); err != nil {
		t.Fatal(err)
	}
	if err := db.AcceptNow(second); err != nil {
		t.Errorf("Accept: %v", err)
	}
	if got, want := <-logged, "records not published"; got != want || f.lost != 1 {
		t.Errorf("logged %q, told %d times that something was lost, want %q and once", got, f.lost, want)
	}
	for _, d := range []caxton.Delivery{first, second} {
		if err := db.Settle(t.Context(), journaltest.Done(journaltest.Lease(d), "hi")); err != nil {
			t.Errorf("Settle(%s): %v", d.Message.ID, err)
		}
	}
	rs, err := db.Records(t.Context(), "c", 0, 0)
	if err != nil || len(rs) != 6 {
		t.Errorf("Records = %d, %v, want 6", len(rs), err)
	}
}

// lines has the messages of what is logged.
type lines chan string

func (lines) Enabled(context.Context, slog.Level) bool { return true }

func (l lines) Handle(_ context.Context, r slog.Record) error { //nolint:gocritic // slog's signature
	select {
	case l <- r.Message:
	default: // nobody reads so many
	}
	return nil
}

func (l lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l lines) WithGroup(string) slog.Handler      { return l }

// That the delayed tables cannot be written is told, and does not stop what can be.
func TestFlushFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	logged := make(lines, 10)
	db, _ := openWith(t, sqlite.Config{Path: path, Logger: slog.New(logged)})
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(`PRAGMA busy_timeout=5000; DROP TABLE pending`); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Accept(t.Context(), journaltest.Delivery("c", "m1", 0), true); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-logged:
		if want := "write failed that nobody waits for"; got != want {
			t.Errorf("logged %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing was logged")
	}
	if _, _, err := db.Accept(t.Context(), journaltest.Delivery("c", "m2", 0), true); err != nil {
		t.Errorf("Accept: %v", err)
	}
}

// Where each write is to have a commit of its own, each gets one.
func TestBatchOfOne(t *testing.T) {
	db, _ := openWith(t, sqlite.Config{Path: filepath.Join(t.TempDir(), "caxton.db"), MaxBatch: 1})
	for _, id := range []string{"m1", "m2"} {
		if err := db.AcceptNow(journaltest.Delivery("c", id, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if ds, err := db.Pending(t.Context()); err != nil || len(ds) != 2 {
		t.Errorf("Pending = %d, %v, want 2", len(ds), err)
	}
}
