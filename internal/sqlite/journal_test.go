package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a running database on path; stop ends it as a clean shutdown does.
func open(t *testing.T, path string, d sqlite.Durability) (db *sqlite.DB, stop func()) {
	t.Helper()
	return openWith(t, sqlite.Config{Path: path, Durability: d})
}

func openWith(t *testing.T, cfg sqlite.Config) (db *sqlite.DB, stop func()) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return db, stop
}

func TestJournal(t *testing.T) {
	for _, d := range []sqlite.Durability{sqlite.Normal, sqlite.Full} {
		t.Run(string(d), func(t *testing.T) {
			journaltest.TestJournal(t, func(t *testing.T) journaltest.Journal {
				t.Helper()
				db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), d)
				return db
			})
		})
	}
}

func TestJournalSurvivesReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, stop := open(t, path, sqlite.Normal)
	settled, pending := journaltest.Delivery("c1", "m1", 0), journaltest.Delivery("c1", "m2", 1)
	for _, d := range []caxton.Delivery{settled, pending} {
		if _, _, err := db.Accept(t.Context(), d, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Settle(t.Context(), journaltest.Done(journaltest.Lease(settled), "hi")); err != nil {
		t.Fatal(err)
	}
	stop()
	db, _ = open(t, path, sqlite.Full)
	ds, err := db.Pending(t.Context())
	if err != nil || len(ds) != 1 || ds[0].Message.ID != "m2" {
		t.Fatalf("Pending = %+v, %v, want m2", ds, err)
	}
	if err := db.Settle(t.Context(), journaltest.Done(journaltest.Lease(pending), "hi")); err != nil {
		t.Fatal(err)
	}
	rs, err := db.Records(t.Context(), "c1", 4, 0)
	if err != nil || len(rs) != 2 || rs[0].Seq != 5 {
		t.Errorf("Records after 4 = %+v, %v, want two from 5 on", rs, err)
	}
}

func TestWriteAfterStop(t *testing.T) {
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "caxton.db")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Run(ctx); err != nil {
		t.Fatal(err)
	}
	_, _, err = db.Accept(t.Context(), journaltest.Delivery("c", "m", 0), true)
	if got := caxton.KindOf(err); got != caxton.Unavailable {
		t.Errorf("Accept after the end: kind %q (%v), want unavailable", got, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Conversations whose IDs begin with a time are known again however they come: in order or
// not, in this process or an earlier one, among IDs that callers chose.
func TestConversationsInAndOutOfOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	conv := func(n int) string { return fmt.Sprintf("0192f3a0-%04x-7000-8000-000000000000", n) }
	db, stop := open(t, path, sqlite.Normal)
	want := map[string]int{}
	n := 0
	accept := func(c string) {
		t.Helper()
		n++
		if _, dup, err := db.Accept(t.Context(), journaltest.Delivery(c, fmt.Sprintf("m%d", n), 0), true); err != nil || dup {
			t.Fatalf("Accept to %s = %t, %v", c, dup, err)
		}
		want[c]++
	}
	for _, c := range []int{5, 9, 7, 9, 5, 3, 10} {
		accept(conv(c))
	}
	accept("f-topic")
	accept("zebra")
	for _, c := range []int{11, 10, 7, 4} {
		accept(conv(c))
	}
	stop()
	db, stop = open(t, path, sqlite.Normal)
	for _, c := range []int{11, 10, 12, 4, 2, 12, 13} {
		accept(conv(c))
	}
	stop()
	db, stop = open(t, path, sqlite.Normal)
	for i := range 150 { // more than are looked through
		accept(fmt.Sprintf("e-%d", i))
	}
	stop()
	db, _ = open(t, path, sqlite.Normal)
	for _, c := range []int{13, 14, 1, 14} {
		accept(conv(c))
	}
	for c, records := range want {
		rs, err := db.Records(t.Context(), caxton.ConversationID(c), 0, 0)
		if err != nil || len(rs) != records || rs[len(rs)-1].Seq != int64(records) {
			t.Errorf("conversation %s has %d records (%v), want %d", c, len(rs), err, records)
		}
	}
}

// A write that panics takes back what it did, and the database goes on.
func TestWritePanics(t *testing.T) {
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	accept := func(conv, m string) {
		t.Helper()
		if _, dup, err := db.Accept(t.Context(), journaltest.Delivery(conv, m, 0), false); err != nil || dup {
			t.Fatalf("Accept(%s) = %t, %v", m, dup, err)
		}
	}
	accept("c1", "m1")
	func() {
		defer func() {
			if p := recover(); p != "broken" {
				t.Errorf("recovered %v, want broken", p)
			}
		}()
		_ = db.WriteNow(func() error { panic("broken") })
	}()
	accept("c1", "m2")
	rs, err := db.Records(t.Context(), "c1", 0, 0)
	if err != nil || len(rs) != 2 {
		t.Errorf("Records = %d, %v, want 2", len(rs), err)
	}
}

// Writes of many callers at once are each done once, whoever does them.
func TestWriteTogether(t *testing.T) {
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	const callers, each = 16, 50
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("m-%d-%d", c, i)
				if _, dup, err := db.Accept(t.Context(), journaltest.Delivery("c", id, 0), true); err != nil || dup {
					t.Errorf("Accept(%s) = %t, %v", id, dup, err)
				}
			}
		})
	}
	wg.Wait()
	rs, err := db.Records(t.Context(), "c", 0, 1000)
	if err != nil || len(rs) != callers*each {
		t.Fatalf("Records = %d, %v, want %d", len(rs), err, callers*each)
	}
	for i, r := range rs {
		if r.Seq != int64(i)+1 || i > 0 && r.N <= rs[i-1].N {
			t.Errorf("record %d has seq %d and position %d", i, r.Seq, r.N)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	notDB := filepath.Join(dir, "text.db")
	writeFile(t, notDB, "this is a text and no database, however long one looks at it; and it goes on for a while so that a header fits")
	newer := filepath.Join(dir, "newer.db")
	db, stop := open(t, newer, sqlite.Normal)
	_ = db
	stop()
	setUserVersion(t, newer, 9999)
	tests := []struct {
		name, path string
		want       caxton.Kind
	}{
		{"a text file", notDB, caxton.Unavailable},
		{"a newer schema", newer, caxton.Conflict},
		{"a missing directory", filepath.Join(dir, "no", "such", "x.db"), caxton.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sqlite.Open(t.Context(), sqlite.Config{Path: tt.path})
			if got := caxton.KindOf(err); got != tt.want {
				t.Errorf("Open: kind %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestAgentLogs(t *testing.T) {
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	for _, l := range []caxton.LogLine{
		{Level: "INFO", AgentID: "a1", Agent: "greeter", Message: "one", Attrs: map[string]any{"n": 1.0}},
		{Level: "ERROR", AgentID: "a1", Agent: "greeter", Message: "two"},
		{Level: "WARN", Agent: "broken", Message: "three"},
	} {
		if !db.LogAgent([]caxton.LogLine{l}) {
			t.Fatal("LogAgent dropped a line")
		}
	}
	if _, err := db.CountStart(t.Context()); err != nil { // waits for the writes before it
		t.Fatal(err)
	}
	tests := []struct {
		name string
		q    caxton.LogQuery
		want string
	}{
		{"all", caxton.LogQuery{}, "one two three "},
		{"of an agent", caxton.LogQuery{AgentID: "a1"}, "one two "},
		{"of a file", caxton.LogQuery{Agent: "broken"}, "three "},
		{"the last", caxton.LogQuery{Tail: 1}, "three "},
		{"at least errors", caxton.LogQuery{Level: "ERROR"}, "two "},
		{"after an ID", caxton.LogQuery{After: 2}, "three "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lines, err := db.AgentLogs(t.Context(), tt.q)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, l := range lines {
				got += l.Message + " "
			}
			if got != tt.want {
				t.Errorf("AgentLogs = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCountStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	for want := range int64(3) {
		db, stop := open(t, path, sqlite.Normal)
		if got, err := db.CountStart(t.Context()); got != want || err != nil {
			t.Errorf("CountStart = %d, %v, want %d", got, err, want)
		}
		stop()
	}
}
