package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/google/go-cmp/cmp"
)

// life does random things with messages, and knows those that are not settled.
type life struct {
	t    *testing.T
	db   *sqlite.DB
	rnd  *rand.Rand
	open []caxton.Delivery
	dead []caxton.Delivery // settled, with a ticket by which they can be sent back to work
	n    int
}

func (l *life) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// conv returns a conversation: a new one, with an ordered ID or without, or an earlier one.
func (l *life) conv() string {
	n := l.n
	if l.rnd.IntN(2) == 0 {
		n = l.rnd.IntN(l.n + 1)
	}
	if n%3 == 0 {
		return fmt.Sprintf("c%d", n)
	}
	return fmt.Sprintf("01900000-0000-7000-8000-%012x", n)
}

func (l *life) take() (caxton.Delivery, bool) {
	if len(l.open) == 0 {
		return caxton.Delivery{}, false
	}
	i := l.rnd.IntN(len(l.open))
	d := l.open[i]
	l.open = slices.Delete(l.open, i, i+1)
	return d, true
}

func (l *life) step() {
	ctx := l.t.Context()
	l.n++
	switch l.rnd.IntN(10) {
	case 0:
		l.must(l.db.Flush())
	case 1, 2, 3:
		d := journaltest.Delivery(l.conv(), fmt.Sprintf("m%d", l.n), 0)
		_, _, err := l.db.Accept(ctx, d, l.rnd.IntN(2) == 0)
		l.must(err)
		l.open = append(l.open, d)
	case 4, 5, 6:
		if d, ok := l.take(); ok {
			l.settle(d)
		}
	case 7:
		if d, ok := l.take(); ok {
			lease := journaltest.Lease(d)
			l.must(l.db.Leased(ctx, lease))
			l.open = append(l.open, lease.Delivery)
		}
	case 8:
		if d, ok := l.take(); ok {
			lease := journaltest.Lease(d)
			if l.rnd.IntN(2) == 0 {
				l.must(l.db.Release(ctx, lease, "later", time.Time{}))
			} else {
				_, err := l.db.Park(ctx, lease, caxton.Parked{Reason: "later"})
				l.must(err)
				lease.Parked++
			}
			l.open = append(l.open, lease.Delivery)
		}
	case 9:
		if len(l.dead) > 0 {
			l.reopen()
		}
	}
}

func (l *life) settle(d caxton.Delivery) {
	s := journaltest.Done(journaltest.Lease(d), "hi")
	s.Outputs[0].Message.ID = caxton.DeriveMessageID(d.Message.ID, d.Outputs)
	if l.rnd.IntN(2) == 0 { // to another agent
		out := &s.Outputs[0]
		out.Message.ReceiverID, out.Message.ConversationID = "a2", caxton.ConversationID(l.conv())
		l.open = append(l.open, *out)
	}
	if l.rnd.IntN(3) == 0 {
		s.Tickets = []caxton.Ticket{{Kind: caxton.DeadLetter, ID: string(d.Message.ID), MessageID: d.Message.ID, State: caxton.LetterDead}}
		l.dead = append(l.dead, d)
	}
	l.must(l.db.Settle(l.t.Context(), s))
}

func (l *life) reopen() {
	d := l.dead[0]
	l.dead = l.dead[1:]
	_, woken, err := l.db.Amend(l.t.Context(), caxton.DeadLetter, string(d.Message.ID), func(t caxton.Ticket) (caxton.Amendment, error) {
		t.State = caxton.LetterReplayed
		return caxton.Amendment{Ticket: t, Wake: caxton.WakeReopen, Records: []caxton.Record{{
			ConversationID: d.Message.ConversationID, Kind: caxton.RecordReopened, MessageID: d.Message.ID, AgentID: d.Message.ReceiverID, Body: []byte(`{"by":"ann"}`),
		}}}, nil
	})
	l.must(err)
	l.open = append(l.open, *woken)
}

// Wherever the write-ahead log is cut off, by a power cut before it was synced: what is found
// to be open is what the records that are left say, with the attempts made, and every
// conversation that has a record is listed.
func TestTornLog(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 7))
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, _ := openWith(t, sqlite.Config{Path: path, CheckpointInterval: time.Hour})
	l := &life{t: t, db: db, rnd: rnd}
	for range 300 {
		l.step()
	}
	file, err := os.ReadFile(path)
	l.must(err)
	log, err := os.ReadFile(path + "-wal")
	l.must(err)
	cuts := 40
	if testing.Short() {
		cuts = 8
	}
	for range cuts {
		at := rnd.IntN(len(log) + 1)
		torn := filepath.Join(t.TempDir(), "caxton.db")
		writeFile(t, torn, string(file))
		writeFile(t, torn+"-wal", string(log[:at]))
		db, err := sqlite.Open(t.Context(), sqlite.Config{Path: torn})
		l.must(err)
		checkOpen(t, db)
		l.must(db.Close())
		db, err = sqlite.Open(t.Context(), sqlite.Config{Path: torn}) // and went down again at once
		l.must(err)
		checkOpen(t, db)
		l.must(db.Close())
		if t.Failed() {
			t.Fatalf("with %d of %d bytes of the log", at, len(log))
		}
	}
}

func checkOpen(t *testing.T, db *sqlite.DB) {
	t.Helper()
	var all []caxton.Record
	for {
		n := int64(-1 << 62)
		if len(all) > 0 {
			n = all[len(all)-1].N
		}
		rs, err := db.RecordsSince(t.Context(), n, 0)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, rs...); len(rs) < 1000 {
			break
		}
	}
	convs := map[caxton.ConversationID][]caxton.Record{}
	for i := range all {
		convs[all[i].ConversationID] = append(convs[all[i].ConversationID], all[i])
	}
	type state struct{ Attempt, Parked, Outputs int }
	want, got := map[caxton.MessageID]state{}, map[caxton.MessageID]state{}
	for _, rs := range convs {
		ds, err := caxton.Unsettled(rs)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ds {
			want[ds[i].Message.ID] = state{ds[i].Attempt, ds[i].Parked, ds[i].Outputs}
		}
	}
	ds, err := db.Pending(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range ds {
		got[ds[i].Message.ID] = state{ds[i].Attempt, ds[i].Parked, ds[i].Outputs}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(ds) != len(got) {
		t.Errorf("pending of %d records (-want +got):\n%s", len(all), diff)
	}
	for c := range convs {
		rs, err := db.Records(t.Context(), c, 0, 0)
		if err != nil || len(rs) != len(convs[c]) {
			t.Errorf("Records(%s) = %d, %v, want %d", c, len(rs), err, len(convs[c]))
		}
		for i := range rs {
			if rs[i].Seq != int64(i)+1 {
				t.Errorf("record %d of %s has seq %d", i, c, rs[i].Seq)
			}
		}
	}
	listed, err := db.CountConversations(t.Context())
	if want := len(convs); err != nil || listed != want {
		t.Errorf("%d conversations are listed, %v, want %d", listed, err, want)
	}
}
