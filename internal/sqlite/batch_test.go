package sqlite_test

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
)

// together has the writes done in one transaction, in order.
func together(t *testing.T, db *sqlite.DB, writes ...func(ctx context.Context) error) {
	t.Helper()
	held := caxton.Ticket{Kind: caxton.Approval, ID: "held", State: caxton.ApprovalPending}
	if err := db.Open(t.Context(), []caxton.Ticket{held}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	begun, queued := make(chan struct{}), make(chan struct{})
	wg.Go(func() { // keeps the writer busy until all wait
		if _, _, err := db.Amend(t.Context(), held.Kind, held.ID, func(tk caxton.Ticket) (caxton.Amendment, error) {
			close(begun)
			<-queued
			return caxton.Amendment{Ticket: tk}, nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-begun
	for i, write := range writes {
		wg.Go(func() {
			if err := write(t.Context()); err != nil {
				t.Error(err)
			}
		})
		for db.Queued() <= i {
			runtime.Gosched()
		}
	}
	close(queued)
	wg.Wait()
}

// What is written in the transaction that writes the delayed tables is found after a crash,
// and as it was written.
func TestFlushWithOthers(t *testing.T) {
	var ahead atomic.Int64 // of the clock
	db, _ := openWith(t, sqlite.Config{Path: filepath.Join(t.TempDir(), "caxton.db"), Now: func() time.Time {
		return time.Now().Add(time.Duration(ahead.Load()))
	}})
	look := func(ctx context.Context) error { // writes the delayed tables
		_, err := db.Conversation(ctx, "c0")
		return err
	}
	accept := func(d caxton.Delivery) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			_, _, err := db.Accept(ctx, d, true)
			return err
		}
	}
	delivery := func(conv, id string) caxton.Delivery {
		return journaltest.Delivery(conv, id, 0)
	}
	if err := accept(delivery("c0", "m0"))(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Their IDs were made two seconds ago, or come from messages that were.
	before, after := delivery("c1", sqlite.IDAt(time.Now().Add(-2*time.Second))), delivery("c2", sqlite.IDAt(time.Now().Add(-time.Second)))
	together(t, db, accept(before), look, accept(after))
	attempts := map[caxton.MessageID]int{}
	list := func() map[caxton.MessageID]int {
		ds, err := db.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		clear(attempts)
		for _, d := range ds {
			attempts[d.Message.ID] = d.Attempt
		}
		return attempts
	}
	for _, id := range []caxton.MessageID{before.Message.ID, after.Message.ID} {
		if _, ok := list()[id]; !ok {
			t.Errorf("message %s is lost: pending are %v", id, list())
		}
	}

	leased := delivery("c3", sqlite.IDAt(time.Now()))
	if err := accept(leased)(t.Context()); err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(time.Minute))
	l := journaltest.Lease(leased)
	l.Attempt = 2
	together(t, db, func(ctx context.Context) error { return db.Leased(ctx, l) }, look)
	if got := list()[leased.Message.ID]; got != 2 {
		t.Errorf("%d attempts are known, want 2", got)
	}
}
