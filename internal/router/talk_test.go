package router_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/router"
)

func TestBroadcast(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Ann", "", 0), helper("a2", "Bob", "", 0), helper("a3", "Cid", "", 0))
	m := caxton.Message{Capability: capability("help"), Strategy: caxton.Broadcast, Content: caxton.TextContent("all")}
	rc := send(t, r, m)
	if len(rc.Others) != 2 || rc.Others[0].ConversationID != rc.ConversationID || rc.Routing.Strategy != caxton.Broadcast || len(rc.Routing.Candidates) != 3 {
		t.Fatalf("receipt %+v", rc)
	}
	for _, id := range []caxton.AgentID{"a1", "a2", "a3"} {
		settle(t, r, next(t, r, id), string(id))
	}
	for _, o := range append(rc.Others, rc) {
		if reply, err := r.Await(t.Context(), o.MessageID); err != nil || reply.Text() != string(o.AgentID) {
			t.Errorf("%s answered %q, %v", o.AgentID, reply.Text(), err)
		}
	}
	m.ID = "mine" // the same message again goes to nobody again
	one, two := send(t, r, m), send(t, r, m)
	if one.Duplicate || !two.Duplicate || !two.Others[1].Duplicate || one.MessageID != two.MessageID {
		t.Errorf("receipts %+v and %+v", one, two)
	}
	m.Capability = capability("nothing")
	m.ID = ""
	_, err := r.Send(t.Context(), m)
	wantKind(t, "nobody to hear it", err, caxton.NotFound)
}

func TestConversationTree(t *testing.T) {
	r, _, j := newRouter(router.Config{MaxDepth: 2}, helper("a1", "Ann", "", 0))
	rc := send(t, r, to("ann", "root"))
	parent := rc.ConversationID
	for depth := 1; depth <= 3; depth++ {
		m := to("ann", "sub")
		m.Parent = parent
		sub, err := r.Send(t.Context(), m)
		if depth == 3 {
			wantKind(t, "too deep", err, caxton.Exhausted)
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		st, err := j.Message(t.Context(), sub.MessageID)
		if err != nil || st.Message.Parent != parent || st.Message.Root != rc.ConversationID || st.Message.Depth != depth {
			t.Errorf("depth %d: %+v, %v", depth, st.Message, err)
		}
		again := to("ann", "more") // what continues it stands at the same place
		again.ConversationID = sub.ConversationID
		st, err = j.Message(t.Context(), send(t, r, again).MessageID)
		if err != nil || st.Message.Root != rc.ConversationID || st.Message.Depth != depth {
			t.Errorf("continued at depth %d: %+v, %v", depth, st.Message, err)
		}
		parent = sub.ConversationID
	}
}

// A message that does not fit its protocol is answered with not-understood, and no agent
// sees it; an agent that breaks the protocol is made to say what ends it.
func TestProtocolIsChecked(t *testing.T) {
	r, _, j := newRouter(router.Config{}, helper("a1", "Ann", "", 0))
	m := to("ann", "I accept")
	m.Performative, m.Protocol = caxton.AcceptProposal, "contract-net"
	rc := send(t, r, m)
	reply, err := r.Await(t.Context(), rc.MessageID)
	if err != nil || reply.Performative != caxton.NotUnderstood || !strings.Contains(string(reply.Content), "cfp") {
		t.Fatalf("%s %s, %v", reply.Performative, reply.Content, err)
	}
	if _, ok := r.Next(t.Context(), "a1"); ok {
		t.Error("the agent saw it")
	}
	cfp := to("ann", "who builds it?")
	cfp.Performative, cfp.Protocol = caxton.CFP, "fipa-contract-net"
	rc = send(t, r, cfp)
	settle(t, r, next(t, r, "a1"), "done already") // an inform, which is no answer to a cfp
	if reply, err = r.Await(t.Context(), rc.MessageID); err != nil || reply.Performative != caxton.Refuse || !strings.Contains(string(reply.Content), "protocol_violation") {
		t.Errorf("%s %s, %v", reply.Performative, reply.Content, err)
	}
	cfp.Protocol = "of-our-own" // a protocol that we do not know is not checked
	rc = send(t, r, cfp)
	settle(t, r, next(t, r, "a1"), "done already")
	if reply, err = r.Await(t.Context(), rc.MessageID); err != nil || reply.Performative != caxton.Inform {
		t.Errorf("%s, %v", reply.Performative, err)
	}
	if ts, _, err := j.Tickets(t.Context(), caxton.TicketQuery{Kind: caxton.DeadLetter}); err != nil || len(ts) != 0 {
		t.Errorf("dead letters %+v, %v", ts, err)
	}
}

func TestCancelMessage(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Ann", "", 0))
	first, second := to("ann", "1"), to("ann", "2")
	first.ConversationID, second.ConversationID = "c", "c"
	one, two := send(t, r, first), send(t, r, second)
	l := next(t, r, "a1")
	stopped := make(chan struct{})
	l.Cancel.Notify(func() { close(stopped) })
	cancel := to("ann", "never mind")
	cancel.ConversationID, cancel.Performative = "c", caxton.Cancel
	rc := send(t, r, cancel)
	reply, err := r.Await(t.Context(), rc.MessageID)
	if err != nil || reply.Performative != caxton.Inform || !strings.Contains(string(reply.Content), string(one.MessageID)) || !strings.Contains(string(reply.Content), string(two.MessageID)) {
		t.Fatalf("%s %s, %v", reply.Performative, reply.Content, err)
	}
	<-stopped
	if rs, err := r.Past(t.Context(), l); err != nil || len(rs) != 1 || rs[0].Kind != caxton.RecordCancelAsked {
		t.Errorf("records %+v, %v, want that it was called off", rs, err)
	}
	if !l.Cancelled() {
		t.Error("the worker does not see it")
	}
	if err := r.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeCancelled}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []caxton.MessageID{one.MessageID, two.MessageID} {
		if st, err := r.Status(t.Context(), id); err != nil || st.Outcome != caxton.OutcomeCancelled {
			t.Errorf("%s: %+v, %v", id, st, err)
		}
	}
	if rc = send(t, r, cancel); true {
		if reply, err := r.Await(t.Context(), rc.MessageID); err != nil || reply.Performative != caxton.Failure {
			t.Errorf("nothing to cancel: %s %s, %v", reply.Performative, reply.Content, err)
		}
	}
	wantKind(t, "cancelling what is settled", r.Cancel(t.Context(), one.MessageID, "ann"), caxton.Conflict)
	wantKind(t, "cancelling what is not there", r.Cancel(t.Context(), "nothing", "ann"), caxton.NotFound)
	if l := r.Load("a1"); l.Queued+l.InFlight != 0 {
		t.Errorf("load %+v", l)
	}
}

// A message that nobody handles before its deadline is given up, wherever it waits.
func TestDeadlineInTheMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, j := newRouter(router.Config{}, helper("a1", "Ann", "", 0))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		var ids []caxton.MessageID
		for i := range 3 {
			m := to("ann", fmt.Sprint(i))
			m.ConversationID = "c"
			if i != 1 {
				m.ReplyBy = time.Now().Add(time.Duration(i+1) * time.Second)
			}
			ids = append(ids, send(t, r, m).MessageID)
		}
		time.Sleep(time.Minute)
		for i, id := range ids {
			st, err := r.Status(t.Context(), id)
			if late := i != 1; err != nil || st.Settled != late || late && (st.Code != "reply_by_passed" || st.Replies[0].Performative != caxton.Failure) {
				t.Errorf("message %d: %+v, %v", i, st, err)
			}
		}
		if ts, _, err := j.Tickets(t.Context(), caxton.TicketQuery{Kind: caxton.DeadLetter, Open: true}); err != nil || len(ts) != 2 || ts[0].Code != "reply_by_passed" {
			t.Errorf("dead letters %+v, %v", ts, err)
		}
		if l := next(t, r, "a1"); l.Message.ID != ids[1] {
			t.Errorf("leased %s, want the one without deadline", l.Message.ID)
		}
	})
}

// A turn that waits for the answer to its own message goes on as soon as that is settled.
func TestParkedUntilSettled(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Ann", "", 0), helper("a2", "Bob", "", 0))
	outer := send(t, r, to("ann", "outer"))
	l := next(t, r, "a1")
	inner := send(t, r, to("bob", "inner"))
	if err := r.Park(t.Context(), l, caxton.Parked{Until: time.Now().Add(time.Hour), Settles: []caxton.MessageID{inner.MessageID}}); err != nil {
		t.Fatal(err)
	}
	r.Tick(t.Context())
	if _, ok := r.Next(t.Context(), "a1"); ok {
		t.Fatal("handed out before what it waits for was settled")
	}
	settle(t, r, next(t, r, "a2"), "inner answer")
	r.Tick(t.Context())
	l = next(t, r, "a1")
	if l.Message.ID != outer.MessageID || l.Attempt != 2 || l.Parked != 1 || !l.Resumed {
		t.Errorf("lease %+v", l)
	}
	if err := r.Park(t.Context(), l, caxton.Parked{Until: time.Now().Add(time.Hour), Settles: []caxton.MessageID{inner.MessageID}}); err != nil {
		t.Fatal(err)
	}
	r.Tick(t.Context()) // it was settled before: nothing to wait for
	settle(t, r, next(t, r, "a1"), "outer answer")
}

// Decisions by way of the router: a dead letter is replayed by the agent that is there, and
// stays dead when it is gone.
func TestReplayDeadLetter(t *testing.T) {
	r, d, _ := newRouter(router.Config{}, helper("a1", "Ann", "", 0))
	rc := send(t, r, to("ann", "x"))
	l := next(t, r, "a1")
	fail := caxton.Settlement{Lease: l, Outcome: caxton.OutcomeFailed, Code: "boom", Error: "it broke", Outputs: []caxton.Delivery{{Message: l.Message.Reply(caxton.Failure, caxton.TextContent("no"))}}}
	if err := r.Settle(t.Context(), fail); err != nil {
		t.Fatal(err)
	}
	tk, err := r.Ticket(t.Context(), caxton.DeadLetter, string(rc.MessageID))
	if err != nil || tk.Code != "boom" || tk.Reason != "it broke" || tk.Attempts != 1 || tk.Agent != "ann" {
		t.Fatalf("ticket %+v, %v", tk, err)
	}
	again := caxton.Decision{By: "ann", State: caxton.LetterReplayed}
	if tk, err = r.Decide(t.Context(), caxton.DeadLetter, tk.ID, again); err != nil || tk.State != caxton.LetterReplayed {
		t.Fatal(tk, err)
	}
	done := make(chan caxton.Message, 1)
	go func() {
		reply, err := r.Await(t.Context(), rc.MessageID)
		if err != nil {
			t.Error(err)
		}
		done <- reply
	}()
	settle(t, r, next(t, r, "a1"), "better")
	if reply := <-done; reply.Text() != "better" || reply.ID != caxton.DeriveMessageID(rc.MessageID, 1) {
		t.Errorf("reply %+v", reply)
	}
	rc = send(t, r, to("ann", "y"))
	fail.Lease = next(t, r, "a1")
	fail.Outputs = nil
	if err := r.Settle(t.Context(), fail); err != nil {
		t.Fatal(err)
	}
	d.remove("a1")
	_, err = r.Decide(t.Context(), caxton.DeadLetter, string(rc.MessageID), again)
	wantKind(t, "replaying to an agent that is gone", err, caxton.Conflict)
	if tk, err := r.Decide(t.Context(), caxton.DeadLetter, string(rc.MessageID), caxton.Decision{State: caxton.LetterDropped}); err != nil || tk.State != caxton.LetterDropped || tk.Decisions[0].By != "operator" {
		t.Errorf("%+v, %v", tk, err)
	}
}
