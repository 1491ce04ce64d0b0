package router_test

import (
	"context"
	"encoding/json"
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
	amended                   func()        // the same
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

func (g *gapped) Amend(ctx context.Context, kind caxton.TicketKind, id string, change func(caxton.Ticket) (caxton.Amendment, error)) (caxton.Ticket, *caxton.Delivery, error) {
	t, d, err := g.Journal.Amend(ctx, kind, id, change)
	call(&g.amended)
	return t, d, err
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
			if st, err := r.Status(t.Context(), rc.MessageID); err != nil || st.Outcome != caxton.OutcomeCancelled && (!ok || !l.Cancelled()) {
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

// A full mailbox does not keep a message from being called off.
func TestCancelWithFullMailbox(t *testing.T) {
	r, _ := newGapped(router.Config{QueueSize: 1}, helper("a1", "Ann", "", 0))
	m := to("ann", "x")
	m.ConversationID = "c"
	rc := send(t, r, m)
	m.Performative = caxton.Cancel
	send(t, r, m)
	if st, err := r.Status(t.Context(), rc.MessageID); err != nil || st.Outcome != caxton.OutcomeCancelled {
		t.Errorf("%+v, %v", st, err)
	}
}

// What the router answers itself is answered after a crash as well, and not by the agent.
func TestRecoverAsides(t *testing.T) {
	r, g := newGapped(router.Config{}, helper("a1", "Ann", "", 0))
	m := to("ann", "x")
	m.ConversationID = "c"
	rc := send(t, r, m)
	g.refuse = caxton.Errorf(caxton.Exhausted, "disk_full", "full") // the crash
	m.Performative = caxton.Cancel
	if _, err := r.Send(t.Context(), m); err == nil {
		t.Fatal("the cancel was settled")
	}
	bad := to("ann", "y")
	bad.ID, bad.Protocol, bad.Performative = "bad", "fipa-request", caxton.AcceptProposal
	if _, err := r.Send(t.Context(), bad); err == nil {
		t.Fatal("what is not legal was settled")
	}
	g.refuse = nil
	r = router.New(g, &directory{agents: []caxton.Agent{helper("a1", "Ann", "", 0)}}, router.Config{})
	if _, err := r.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l, ok := r.Next(t.Context(), "a1"); ok {
		t.Errorf("the agent gets %s", l.Message.Performative)
	}
	if st, err := r.Status(t.Context(), rc.MessageID); err != nil || st.Outcome != caxton.OutcomeCancelled {
		t.Errorf("what was to be cancelled: %+v, %v", st, err)
	}
	if st, err := r.Status(t.Context(), "bad"); err != nil || len(st.Replies) != 1 || st.Replies[0].Performative != caxton.NotUnderstood {
		t.Errorf("what is not legal: %+v, %v", st, err)
	}
}

// A waiting message that cannot be settled goes on waiting.
func TestEndFails(t *testing.T) {
	for _, end := range []string{"cancel", "deadline"} {
		now := time.Now()
		r, g := newGapped(router.Config{Now: func() time.Time { return now }}, helper("a1", "Ann", "", 0))
		m := to("ann", "x")
		m.ReplyBy = now.Add(time.Minute)
		rc := send(t, r, m)
		full := caxton.Errorf(caxton.Exhausted, "disk_full", "full")
		g.refuse = full
		if end == "cancel" {
			wantKind(t, "Cancel", r.Cancel(t.Context(), rc.MessageID, "ann"), caxton.Exhausted)
		} else {
			now = m.ReplyBy
			r.Tick(t.Context())
		}
		if l := r.Load("a1"); l.Queued != 1 {
			t.Errorf("%s: load %+v", end, l)
		}
		g.refuse = nil
		now = now.Add(time.Minute)
		r.Tick(t.Context())
		st, err := r.Status(t.Context(), rc.MessageID)
		if err != nil || st.Code != "reply_by_passed" {
			t.Errorf("%s: %+v, %v", end, st, err)
		}
	}
}

// Only a message that is settled in the log is done with in memory.
func TestSettleConflicts(t *testing.T) {
	r, g := newGapped(router.Config{}, helper("a1", "Ann", "", 0))
	rc := send(t, r, to("ann", "x"))
	l := next(t, r, "a1")
	g.refuse = caxton.Errorf(caxton.Conflict, "message_known", "an output was accepted before")
	err := r.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone})
	wantKind(t, "Settle", err, caxton.Conflict)
	g.refuse = nil
	if load := r.Load("a1"); load.InFlight != 1 {
		t.Errorf("load %+v: the lease is gone, and the message %s is not settled", load, rc.MessageID)
	}
}

// TestSettleOutputTaken has a caller send a message under the ID that an answer would have.
func TestSettleOutputTaken(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Ann", "", 0))
	rc := send(t, r, to("ann", "x"))
	l := next(t, r, "a1")
	taken := to("ann", "mine")
	taken.ID = caxton.DeriveMessageID(rc.MessageID, 0)
	send(t, r, taken)
	err := r.Settle(t.Context(), caxton.Settlement{
		Lease: l, Outcome: caxton.OutcomeDone, Outputs: []caxton.Delivery{{Message: l.Message.Reply(caxton.Inform, caxton.TextContent("hi"))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Await(t.Context(), rc.MessageID)
	if err != nil || m.Text() != "hi" || m.ID == taken.ID {
		t.Errorf("Await = %+v, %v, want the answer under another ID", m, err)
	}
	if st, err := r.Status(t.Context(), rc.MessageID); err != nil || len(st.Replies) != 1 || st.Replies[0].ID != m.ID {
		t.Errorf("Status = %+v, %v", st, err)
	}
	if st, err := r.Status(t.Context(), taken.ID); err != nil || st.Message.Text() != "mine" {
		t.Errorf("Status of the other message = %+v, %v", st, err)
	}
}

// What a person sends back to work has no deadline any more.
func TestReplayAfterDeadline(t *testing.T) {
	now := time.Now()
	r, g := newGapped(router.Config{Now: func() time.Time { return now }}, helper("a1", "Ann", "", 0))
	m := to("ann", "x")
	m.ReplyBy = now.Add(time.Minute)
	rc := send(t, r, m)
	replay := func() {
		t.Helper()
		if _, err := r.Decide(t.Context(), caxton.DeadLetter, string(rc.MessageID), caxton.Decision{State: caxton.LetterReplayed}); err != nil {
			t.Fatal(err)
		}
	}
	l := next(t, r, "a1")
	if err := r.Settle(t.Context(), caxton.Settlement{
		Lease: l, Outcome: caxton.OutcomeFailed, Outputs: []caxton.Delivery{{Message: l.Message.Reply(caxton.Failure, caxton.TextContent("no"))}},
	}); err != nil {
		t.Fatal(err)
	}
	replay()
	now = now.Add(time.Hour) // the deadline passes while it waits again
	r.Tick(t.Context())
	l = next(t, r, "a1")
	if d := l.Deadline(); !d.IsZero() {
		t.Errorf("deadline %v", d)
	}
	if err := r.Release(t.Context(), l, "again", 0); err != nil {
		t.Fatal(err)
	}
	r = router.New(g, &directory{agents: []caxton.Agent{helper("a1", "Ann", "", 0)}}, router.Config{Now: func() time.Time { return now }})
	if _, err := r.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Tick(t.Context())
	settle(t, r, next(t, r, "a1"), "late")
}

// A message that ends without its turn leaves the calls that a crash cut off for a person.
func TestEndedWithOpenCalls(t *testing.T) {
	for _, end := range []string{"deadline", "cancel", "removed"} {
		now := time.Now()
		agents := &directory{agents: []caxton.Agent{helper("a1", "Ann", "", 0)}}
		j := memjournal.New(memjournal.Config{})
		r := router.New(j, agents, router.Config{Now: func() time.Time { return now }})
		m := to("ann", "x")
		m.ReplyBy = now.Add(time.Minute)
		rc := send(t, r, m)
		l := next(t, r, "a1")
		for _, rec := range []struct {
			kind caxton.RecordKind
			body any
		}{
			{caxton.RecordToolIntended, caxton.ToolIntendedBody{CallID: "1", Tool: "pay", Key: "k1"}},
			{caxton.RecordToolIntended, caxton.ToolIntendedBody{CallID: "2", Tool: "pay", Key: "k2"}},
			{caxton.RecordToolIntended, caxton.ToolIntendedBody{CallID: "3", Tool: "read", Key: "k3", Idempotent: true}},
			{caxton.RecordToolReturned, caxton.ToolReturnedBody{CallID: "1", Tool: "pay"}},
		} {
			body, err := json.Marshal(rec.body)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Append(t.Context(), caxton.Record{ConversationID: rc.ConversationID, MessageID: rc.MessageID, Kind: rec.kind, Body: body}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Release(t.Context(), l, "down", time.Hour); err != nil {
			t.Fatal(err)
		}
		want := caxton.OutcomeFailed
		var err error
		switch end {
		case "deadline":
			now = m.ReplyBy
			r.Tick(t.Context())
		case "cancel":
			want = caxton.OutcomeCancelled
			err = r.Cancel(t.Context(), rc.MessageID, "ann")
		case "removed":
			agents.remove("a1")
			err = r.Drop(t.Context(), "a1")
		}
		if err != nil {
			t.Fatal(err)
		}
		ts, _, err := r.Tickets(t.Context(), caxton.TicketQuery{Kind: caxton.Effect, Open: true})
		if err != nil || len(ts) != 1 || ts[0].ID != "k2" || ts[0].Call.Tool != "pay" {
			t.Fatalf("%s: effects %+v, %v, want the second payment", end, ts, err)
		}
		if tk, err := r.Decide(t.Context(), caxton.Effect, "k2", caxton.Decision{State: caxton.EffectDone}); err != nil || tk.State != caxton.EffectDone {
			t.Errorf("%s: %+v, %v", end, tk, err)
		}
		if st, err := r.Status(t.Context(), rc.MessageID); err != nil || st.Outcome != want {
			t.Errorf("%s: %+v, %v", end, st, err)
		}
	}
}

// TestAwaitWhatIsReplayed has somebody wait for a message that was just sent back to work.
func TestAwaitWhatIsReplayed(t *testing.T) {
	r, g := newGapped(router.Config{}, helper("a1", "Ann", "", 0))
	rc := send(t, r, to("ann", "x"))
	if err := r.Settle(t.Context(), caxton.Settlement{Lease: next(t, r, "a1"), Outcome: caxton.OutcomeFailed}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	type result struct {
		reply caxton.Message
		err   error
	}
	got := make(chan result, 1)
	g.amended = func() {
		go func() {
			m, err := r.Await(ctx, rc.MessageID)
			got <- result{m, err}
		}()
		select {
		case res := <-got:
			got <- res
		case <-time.After(20 * time.Millisecond):
		}
	}
	if _, err := r.Decide(t.Context(), caxton.DeadLetter, string(rc.MessageID), caxton.Decision{State: caxton.LetterReplayed}); err != nil {
		t.Fatal(err)
	}
	settle(t, r, next(t, r, "a1"), "y")
	if res := <-got; res.err != nil || res.reply.Text() != "y" {
		t.Errorf("Await = %q, %v, want the reply", res.reply.Text(), res.err)
	}
}

// TestDropTriedAgain has the journal fail while the messages of a removed agent are settled.
func TestDropTriedAgain(t *testing.T) {
	now := time.Now()
	g := &gapped{Journal: memjournal.New(memjournal.Config{})}
	dir := &directory{agents: []caxton.Agent{helper("a1", "Ann", "", 0)}}
	r := router.New(g, dir, router.Config{Now: func() time.Time { return now }})
	ids := []caxton.MessageID{send(t, r, to("ann", "x")).MessageID, send(t, r, to("ann", "y")).MessageID}
	dir.remove("a1")
	g.refuse = caxton.Errorf(caxton.Exhausted, "disk_full", "full")
	wantKind(t, "Drop", r.Drop(t.Context(), "a1"), caxton.Exhausted)
	g.refuse = nil
	now = now.Add(time.Minute)
	r.Tick(t.Context())
	for _, id := range ids {
		if st, err := r.Status(t.Context(), id); err != nil || st.Code != "agent_removed" {
			t.Errorf("message %s: %+v, %v, want it settled", id, st, err)
		}
	}
}

// TestOutputToRemoved has an agent go while another one's message to it is stored.
func TestOutputToRemoved(t *testing.T) {
	g := &gapped{Journal: memjournal.New(memjournal.Config{})}
	dir := &directory{agents: []caxton.Agent{helper("a1", "Ann", "", 0), helper("a2", "Bob", "", 0)}}
	r := router.New(g, dir, router.Config{})
	send(t, r, to("ann", "x"))
	l := next(t, r, "a1")
	out := l.Message.Reply(caxton.Request, caxton.TextContent("do it"))
	out.Receiver, out.ReceiverID = "bob", "a2"
	g.settled = func() { dir.remove("a2") }
	if err := r.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone, Outputs: []caxton.Delivery{{Message: out}}}); err != nil {
		t.Fatal(err)
	}
	st, err := r.Status(t.Context(), caxton.DeriveMessageID(l.Message.ID, 0))
	if err != nil || st.Code != "agent_removed" {
		t.Errorf("Status = %+v, %v, want it settled", st, err)
	}
	if _, boxes := r.Kept(); boxes != 1 {
		t.Errorf("%d mailboxes are kept, want that of the agent that is there", boxes)
	}
}

// TestDeadlinesAreForgotten settles messages long before their deadlines.
func TestDeadlinesAreForgotten(t *testing.T) {
	r, _ := newGapped(router.Config{}, helper("a1", "Ann", "", 0))
	for range 5000 {
		m := to("ann", "x")
		m.ReplyBy = time.Now().Add(time.Hour)
		send(t, r, m)
		settle(t, r, next(t, r, "a1"), "y")
	}
	if deadlines, _ := r.Kept(); deadlines > 1000 {
		t.Errorf("%d deadlines of settled messages are kept", deadlines)
	}
}
