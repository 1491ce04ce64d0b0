package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
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
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, _ := open(t, path, sqlite.Normal)
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
	settle := func(d caxton.Delivery) func(ctx context.Context) error {
		return func(ctx context.Context) error { return db.Settle(ctx, journaltest.Done(journaltest.Lease(d), "hi")) }
	}
	delivery := func(conv, id string) caxton.Delivery {
		return journaltest.Delivery(conv, id, 0)
	}
	for _, id := range []string{"m0", "m1"} {
		if err := accept(delivery("c0", id))(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	together(t, db, accept(delivery("c1", "before")), settle(delivery("c0", "m1")), look, accept(delivery("c2", "after")),
		settle(delivery("c0", "m0")), accept(delivery("c3", "brief")), settle(delivery("c3", "brief")))
	killed := copied(t, path)
	for name, db := range map[string]*sqlite.DB{"running": db, "killed": killed} {
		ds, err := db.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var ids []caxton.MessageID
		for _, d := range ds {
			ids = append(ids, d.Message.ID)
		}
		if want := []caxton.MessageID{"before", "after"}; !slices.Equal(ids, want) {
			t.Errorf("%s: pending are %v, want %v", name, ids, want)
		}
		cs, _, err := db.Conversations(t.Context(), caxton.ConversationQuery{})
		if err != nil || len(cs) != 4 {
			t.Errorf("%s: %d conversations, %v, want 4", name, len(cs), err)
		}
		for _, c := range cs {
			if want := c.ID == "c1" || c.ID == "c2"; (c.State == caxton.ConversationActive) != want {
				t.Errorf("%s: conversation %s is %s", name, c.ID, c.State)
			}
		}
	}

	leased := delivery("c4", "leased")
	if err := accept(leased)(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := journaltest.Lease(leased)
	l.Attempt = 2
	together(t, db, func(ctx context.Context) error { return db.Leased(ctx, l) }, look)
	ds, err := copied(t, path).Pending(t.Context())
	if err != nil || len(ds) != 3 || ds[2].Attempt != 2 {
		t.Errorf("Pending = %+v, %v, want 2 attempts at the last", ds, err)
	}
}

// A message that stays unsettled over flushes, and one that is settled and sent back to work,
// are found after a crash, those that were settled are not.
func TestKilledBetweenFlushes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, _ := open(t, path, sqlite.Normal)
	accept := func(id string) caxton.Delivery {
		t.Helper()
		d := journaltest.Delivery("c-"+id, id, 0)
		if _, _, err := db.Accept(t.Context(), d, true); err != nil {
			t.Fatal(err)
		}
		return d
	}
	settle := func(d caxton.Delivery) {
		t.Helper()
		if err := db.Settle(t.Context(), journaltest.Done(journaltest.Lease(d), "hi")); err != nil {
			t.Fatal(err)
		}
	}
	settle(accept("m1"))
	accept("m2")
	m3 := accept("m3")
	if err := db.Flush(); err != nil { // m2 and m3 are new
		t.Fatal(err)
	}
	m4 := accept("m4")
	if err := db.Flush(); err != nil { // they are not any more
		t.Fatal(err)
	}
	settle(m3)
	settle(m4)
	m5 := accept("m5")
	letter := caxton.Ticket{Kind: caxton.DeadLetter, ID: "m5", MessageID: "m5", ConversationID: "c-m5", State: caxton.LetterDead}
	if err := db.Open(t.Context(), []caxton.Ticket{letter}); err != nil {
		t.Fatal(err)
	}
	settle(m5)
	if _, _, err := db.Amend(t.Context(), caxton.DeadLetter, "m5", func(tk caxton.Ticket) (caxton.Amendment, error) {
		tk.State = caxton.LetterReplayed
		return caxton.Amendment{Ticket: tk, Wake: caxton.WakeReopen}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if st, err := db.Message(t.Context(), "m5"); err != nil || st.Settled {
		t.Errorf("Message(m5) = %+v, %v, want one that is not settled", st, err)
	}
	ds, err := copied(t, path).Pending(t.Context())
	var ids []caxton.MessageID
	for _, d := range ds {
		ids = append(ids, d.Message.ID)
	}
	if want := []caxton.MessageID{"m2", "m5"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("pending are %v, %v, want %v", ids, err, want)
	}
}

// What waits can be read of a database that does not run, as of one that does.
func TestPendingAtRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, stop := open(t, path, sqlite.Normal)
	if _, _, err := db.Accept(t.Context(), journaltest.Delivery("c1", "m1", 0), true); err != nil {
		t.Fatal(err)
	}
	if ds, err := db.Pending(t.Context()); err != nil || len(ds) != 1 {
		t.Errorf("Pending = %d, %v, want 1", len(ds), err)
	}
	stop()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if ds, err := db.Pending(ctx); err != nil || len(ds) != 1 {
		t.Errorf("Pending of a database at rest = %d, %v, want 1", len(ds), err)
	}
}

// A message whose ID is taken is refused, also by somebody who is sure that it is not, and
// takes nothing with it.
func TestAcceptTaken(t *testing.T) {
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	if _, _, err := db.Accept(t.Context(), journaltest.Delivery("c1", "m1", 0), true); err != nil {
		t.Fatal(err)
	}
	_, _, err := db.Accept(t.Context(), journaltest.Delivery("c2", "m1", 0), true)
	if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != "message_known" {
		t.Errorf("Accept of a taken ID: %v, want message_known", err)
	}
	if _, err := db.Records(t.Context(), "c2", 0, 0); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("Records of its conversation: %v, want not_found", err)
	}
}
