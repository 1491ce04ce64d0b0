package router_test

import (
	"context"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
)

// A gapped journal is as patient as a database, and lets things happen between its writes
// and what the router does next.
type gapped struct {
	*memjournal.Journal
	settled, parked, released func()        // called after the write
	refuse                    *caxton.Error // of Settle
}

func (g *gapped) Message(ctx context.Context, id caxton.MessageID) (caxton.MessageStatus, error) {
	if err := ctx.Err(); err != nil {
		return caxton.MessageStatus{}, caxton.Errorf(caxton.Internal, "storage_failed", "read message failed").WithCause(err)
	}
	return g.Journal.Message(ctx, id)
}

func (g *gapped) Settle(ctx context.Context, s caxton.Settlement) error {
	if g.refuse != nil {
		return g.refuse
	}
	err := g.Journal.Settle(ctx, s)
	call(&g.settled)
	return err
}

func (g *gapped) Park(ctx context.Context, l caxton.Lease, p caxton.Parked) (time.Time, error) {
	until, err := g.Journal.Park(ctx, l, p)
	call(&g.parked)
	return until, err
}

func (g *gapped) Release(ctx context.Context, l caxton.Lease, cause string, notBefore time.Time) error {
	err := g.Journal.Release(ctx, l, cause, notBefore)
	call(&g.released)
	return err
}

// call calls a hook, once.
func call(hook *func()) {
	if f := *hook; f != nil {
		*hook = nil
		f()
	}
}

func newGapped(cfg router.Config, agents ...caxton.Agent) (*router.Router, *gapped) {
	g := &gapped{Journal: memjournal.New(memjournal.Config{})}
	return router.New(g, &directory{agents: agents}, cfg), g
}

// A caller whose time is over gets an answer that is there.
func TestAwaitWhatIsThere(t *testing.T) {
	r, _ := newGapped(router.Config{}, helper("a1", "Ann", "", 0))
	rc := send(t, r, to("ann", "x"))
	settle(t, r, next(t, r, "a1"), "y")
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if reply, err := r.Await(ctx, rc.MessageID); err != nil || reply.Text() != "y" {
		t.Errorf("%q, %v", reply.Text(), err)
	}
}

// A message that is called off, or whose deadline comes, while it is put back does not go on.
func TestEndWhilePutBack(t *testing.T) {
	for _, way := range []string{"park", "release", "abandon"} {
		for _, end := range []string{"cancel", "deadline"} {
			now := time.Now()
			r, g := newGapped(router.Config{Now: func() time.Time { return now }}, helper("a1", "Ann", "", 0))
			m := to("ann", "x")
			m.ReplyBy = now.Add(time.Minute)
			rc := send(t, r, m)
			l := next(t, r, "a1")
			ended := func() {
				if end == "deadline" {
					now = m.ReplyBy
					r.Tick(t.Context())
				} else if err := r.Cancel(t.Context(), rc.MessageID, "ann"); err != nil {
					t.Error(err)
				}
			}
			var err error
			switch way {
			case "park":
				g.parked = ended
				err = r.Park(t.Context(), l, caxton.Parked{Until: now.Add(24 * time.Hour)})
			case "release":
				g.released = ended
				err = r.Release(t.Context(), l, "again", 24*time.Hour)
			case "abandon":
				ended()
				r.Abandon(l)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.Tick(t.Context())
			if end == "deadline" {
				if st, err := r.Status(t.Context(), rc.MessageID); err != nil || st.Code != "reply_by_passed" {
					t.Errorf("%s: %+v, %v, want it given up", way, st, err)
				}
				continue
			}
			l, ok := r.Next(t.Context(), "a1")
			if st, err := r.Status(t.Context(), rc.MessageID); err != nil || st.Outcome != caxton.OutcomeCancelled && !(ok && l.Cancelled()) {
				t.Errorf("%s: %+v, %v, want it ended, or back at once to be ended", way, st, err)
			}
		}
	}
}

// A decision that comes between the settlement in the log and the one in memory is not lost.
func TestReplayWhileSettling(t *testing.T) {
	r, g := newGapped(router.Config{}, helper("a1", "Ann", "", 0))
	rc := send(t, r, to("ann", "x"))
	l := next(t, r, "a1")
	g.settled = func() {
		if _, err := r.Decide(t.Context(), caxton.DeadLetter, string(rc.MessageID), caxton.Decision{State: caxton.LetterReplayed}); err != nil {
			t.Error(err)
		}
	}
	if err := r.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeFailed, Code: "x"}); err != nil {
		t.Fatal(err)
	}
	settle(t, r, next(t, r, "a1"), "better")
	if st, err := r.Status(t.Context(), rc.MessageID); err != nil || st.Outcome != caxton.OutcomeDone {
		t.Errorf("%+v, %v", st, err)
	}
	if l := r.Load("a1"); l.Queued+l.InFlight != 0 {
		t.Errorf("load %+v", l)
	}
}
