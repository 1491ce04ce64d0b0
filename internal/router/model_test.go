package router_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"pgregory.net/rapid"
)

// A plan is what router and journal should hold: a map and some slices.
type plan struct {
	t       *rapid.T
	now     time.Time
	journal *memjournal.Journal
	dir     *directory
	router  *router.Router

	all    map[caxton.MessageID]*planned
	queues map[string][]caxton.MessageID // by agent and conversation, in order, unsettled only
	serial int
}

// A planned message is one that was accepted.
type planned struct {
	d       caxton.Delivery
	queue   string
	lease   *caxton.Lease // while it is in our hands
	due     time.Time     // not before
	ticket  string        // the approval it is parked for
	settled int
	answers int
	failed  bool // a dead letter lies open
}

func (p *plan) start() {
	p.router = router.New(p.journal, p.dir, router.Config{Now: func() time.Time { return p.now }, QueueSize: 10})
}

// pass lets a moment pass, so that no two things happen at the same time.
func (p *plan) pass() { p.now = p.now.Add(time.Millisecond) }

func (p *plan) send() {
	agent := rapid.SampledFrom([]string{"ann", "bob"}).Draw(p.t, "agent")
	conv := rapid.SampledFrom([]string{"c1", "c2", "c3"}).Draw(p.t, "conversation")
	m := to(agent, "x")
	m.ConversationID = caxton.ConversationID(conv)
	m.Priority = rapid.IntRange(1, 3).Draw(p.t, "priority")
	p.serial++
	m.ID = caxton.MessageID(fmt.Sprintf("m%03d", p.serial))
	if len(p.all) > 0 && rapid.IntRange(0, 4).Draw(p.t, "again") == 0 {
		m.ID = rapid.SampledFrom(p.ids()).Draw(p.t, "id")
	}
	waits := 0
	for _, o := range p.all {
		if o.settled == 0 && o.lease == nil && o.d.Message.Receiver == agent {
			waits++
		}
	}
	known := p.all[m.ID] != nil
	rc, err := p.router.Send(p.t.Context(), m)
	switch {
	case known && (err != nil || !rc.Duplicate):
		p.t.Fatalf("Send(%s) again = %+v, %v", m.ID, rc, err)
	case known:
	case waits >= 10:
		if caxton.KindOf(err) != caxton.Exhausted {
			p.t.Fatalf("Send into a full mailbox: %v", err)
		}
	case err != nil || rc.Duplicate:
		p.t.Fatalf("Send(%s) = %+v, %v", m.ID, rc, err)
	default:
		q := agent + "/" + conv
		p.all[m.ID] = &planned{queue: q, d: caxton.Delivery{Message: m}}
		p.queues[q] = append(p.queues[q], m.ID)
	}
}

func (p *plan) ids() []caxton.MessageID {
	ids := make([]caxton.MessageID, 0, len(p.all))
	for id := range p.all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// ready returns the messages that may be leased for an agent: heads of their queues that are
// due and in nobody's hands.
func (p *plan) ready(agent string) []caxton.MessageID {
	var ids []caxton.MessageID
	for q, waiting := range p.queues {
		if len(waiting) == 0 || q[:3] != agent {
			continue
		}
		if o := p.all[waiting[0]]; o.lease == nil && !o.due.After(p.now) {
			ids = append(ids, waiting[0])
		}
	}
	return ids
}

func (p *plan) next() {
	agent := rapid.SampledFrom([]string{"ann", "bob"}).Draw(p.t, "agent")
	p.router.Tick(p.t.Context())
	ready := p.ready(agent)
	l, ok := p.router.Next(p.t.Context(), caxton.AgentID(agent))
	if !ok {
		if len(ready) > 0 {
			p.t.Fatalf("Next(%s) has nothing, %v are ready", agent, ready)
		}
		return
	}
	if !slices.Contains(ready, l.Message.ID) {
		p.t.Fatalf("Next(%s) = %s, ready are %v", agent, l.Message.ID, ready)
	}
	for _, id := range ready {
		if p.all[id].d.Message.Priority > l.Message.Priority {
			p.t.Fatalf("Next(%s) = %s of priority %d before %s", agent, l.Message.ID, l.Message.Priority, id)
		}
	}
	p.all[l.Message.ID].lease = &l
}

// leased draws a message that is in our hands.
func (p *plan) leased() *planned {
	var ids []caxton.MessageID
	for id, o := range p.all {
		if o.lease != nil {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		p.t.Skip("nothing is leased")
	}
	slices.Sort(ids)
	return p.all[rapid.SampledFrom(ids).Draw(p.t, "lease")]
}

func (p *plan) settle(o *planned, outcome caxton.Outcome) {
	l := *o.lease
	err := p.router.Settle(p.t.Context(), caxton.Settlement{
		Lease: l, Outcome: outcome, Code: "x", Outputs: []caxton.Delivery{{Message: l.Message.Reply(caxton.Inform, caxton.TextContent("y"))}},
	})
	if err != nil {
		p.t.Fatalf("Settle(%s): %v", l.Message.ID, err)
	}
	if again := p.router.Settle(p.t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone}); caxton.KindOf(again) != caxton.Conflict {
		p.t.Fatalf("Settle(%s) twice: %v", l.Message.ID, again)
	}
	o.lease, o.due, o.ticket = nil, time.Time{}, ""
	o.settled++
	o.answers++
	o.failed = outcome == caxton.OutcomeFailed
	p.gone(o, l.Message.ID)
}

// gone takes a settled message out of its queue.
func (p *plan) gone(o *planned, id caxton.MessageID) {
	p.queues[o.queue] = slices.DeleteFunc(p.queues[o.queue], func(x caxton.MessageID) bool { return x == id })
}

func (p *plan) release() {
	o := p.leased()
	delay := time.Duration(rapid.IntRange(0, 50).Draw(p.t, "delay")) * time.Millisecond
	if err := p.router.Release(p.t.Context(), *o.lease, "again", delay); err != nil {
		p.t.Fatal(err)
	}
	o.due = p.now.Add(delay)
	p.back(o)
}

// back takes a message out of our hands; one that was called off is settled by that.
func (p *plan) back(o *planned) {
	if o.lease.Cancelled() {
		p.cancelled(o, o.lease.Message.ID)
	}
	o.lease = nil
}

func (p *plan) cancelled(o *planned, id caxton.MessageID) {
	o.settled++
	o.ticket = ""
	p.gone(o, id)
}

func (p *plan) park() {
	o := p.leased()
	m := &o.lease.Message
	p.serial++
	o.ticket = fmt.Sprintf("t%d", p.serial)
	tk := caxton.Ticket{
		Kind: caxton.Approval, ID: o.ticket, State: caxton.ApprovalPending, ConversationID: m.ConversationID, MessageID: m.ID,
		AgentID: m.ReceiverID, OpenedAt: p.now, ExpiresAt: p.now.Add(time.Second),
	}
	if err := p.journal.Open(p.t.Context(), []caxton.Ticket{tk}); err != nil {
		p.t.Fatal(err)
	}
	if err := p.router.Park(p.t.Context(), *o.lease, caxton.Parked{Until: tk.ExpiresAt, Ticket: true}); err != nil {
		p.t.Fatal(err)
	}
	o.due = tk.ExpiresAt
	p.back(o)
}

func (p *plan) decide() {
	var tickets []caxton.MessageID
	for id, o := range p.all {
		if o.ticket != "" && o.settled == 0 && p.now.Before(o.due) {
			tickets = append(tickets, id)
		}
	}
	if len(tickets) == 0 {
		p.t.Skip("nothing waits for a decision")
	}
	slices.Sort(tickets)
	o := p.all[rapid.SampledFrom(tickets).Draw(p.t, "ticket")]
	if _, err := p.router.Decide(p.t.Context(), caxton.Approval, o.ticket, caxton.Decision{By: "ann", State: caxton.ApprovalGranted}); err != nil {
		p.t.Fatal(err)
	}
	o.ticket, o.due = "", p.now
}

func (p *plan) replay() {
	var dead []caxton.MessageID
	for id, o := range p.all {
		if o.failed {
			dead = append(dead, id)
		}
	}
	if len(dead) == 0 {
		p.t.Skip("no dead letter")
	}
	slices.Sort(dead)
	id := rapid.SampledFrom(dead).Draw(p.t, "dead")
	o := p.all[id]
	if _, err := p.router.Decide(p.t.Context(), caxton.DeadLetter, string(id), caxton.Decision{By: "ann", State: caxton.LetterReplayed}); err != nil {
		p.t.Fatal(err)
	}
	o.failed = false
	o.settled--
	p.queues[o.queue] = append(p.queues[o.queue], id)
}

func (p *plan) cancel() {
	if len(p.all) == 0 {
		p.t.Skip("nothing was sent")
	}
	id := rapid.SampledFrom(p.ids()).Draw(p.t, "id")
	o := p.all[id]
	err := p.router.Cancel(p.t.Context(), id, "ann")
	switch {
	case o.settled > 0:
		if caxton.KindOf(err) != caxton.Conflict {
			p.t.Fatalf("Cancel(%s), which is settled: %v", id, err)
		}
	case err != nil:
		p.t.Fatalf("Cancel(%s): %v", id, err)
	case o.lease != nil:
		if !o.lease.Cancelled() {
			p.t.Fatalf("Cancel(%s) does not reach its worker", id)
		}
	default:
		p.cancelled(o, id)
	}
}

// crash forgets all that is not in the journal.
func (p *plan) crash() {
	p.start()
	n, err := p.router.Recover(p.t.Context())
	open := 0
	for _, q := range p.queues {
		open += len(q)
		slices.SortStableFunc(q, func(a, b caxton.MessageID) int { // a replayed one takes its old place again
			return p.created(a).Compare(p.created(b))
		})
	}
	if err != nil || n != open {
		p.t.Fatalf("Recover = %d, %v, want %d", n, err, open)
	}
	for _, o := range p.all {
		o.lease = nil
	}
}

func (p *plan) created(id caxton.MessageID) time.Time {
	st, err := p.journal.Message(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return st.Message.CreatedAt
}

// check compares what can be seen with the plan.
func (p *plan) check() {
	for id, o := range p.all {
		st, err := p.router.Status(p.t.Context(), id)
		if err != nil || st.Settled != (o.settled > 0) {
			p.t.Fatalf("Status(%s) settled %t, %v, want %t", id, st.Settled, err, o.settled > 0)
		}
	}
	for _, agent := range []string{"ann", "bob"} {
		queued, leased := 0, 0
		for _, o := range p.all {
			switch {
			case o.settled > 0 || o.d.Message.Receiver != agent:
			case o.lease != nil:
				leased++
			default:
				queued++
			}
		}
		if l := p.router.Load(caxton.AgentID(agent)); l.Queued != queued || l.InFlight != leased {
			p.t.Fatalf("Load(%s) = %d queued, %d in flight, want %d, %d", agent, l.Queued, l.InFlight, queued, leased)
		}
	}
}

// TestRouterModel drives router and journal at random and compares them with a map and some
// slices, over crashes. In the end every accepted message is settled, and answered as often
// as it was handled to its end.
func TestRouterModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &plan{
			t: t, now: time.Unix(1_000_000, 0), all: map[caxton.MessageID]*planned{}, queues: map[string][]caxton.MessageID{},
			dir: &directory{agents: []caxton.Agent{helper("ann", "Ann", "", 0), helper("bob", "Bob", "", 0)}},
		}
		p.journal = memjournal.New(memjournal.Config{Now: func() time.Time { return p.now }})
		p.start()
		step := func(f func()) func(*rapid.T) {
			return func(t *rapid.T) { p.t = t; p.pass(); f() }
		}
		t.Repeat(map[string]func(*rapid.T){
			"":        func(t *rapid.T) { p.t = t; p.check() },
			"send":    step(p.send),
			"send2":   step(p.send),
			"next":    step(p.next),
			"next2":   step(p.next),
			"settle":  step(func() { p.settle(p.leased(), caxton.OutcomeDone) }),
			"fail":    step(func() { p.settle(p.leased(), caxton.OutcomeFailed) }),
			"release": step(p.release),
			"park":    step(p.park),
			"decide":  step(p.decide),
			"replay":  step(p.replay),
			"cancel":  step(p.cancel),
			"crash":   step(p.crash),
			"wait": step(func() {
				p.now = p.now.Add(time.Duration(rapid.IntRange(1, 100).Draw(p.t, "wait")) * time.Millisecond)
			}),
		})
		p.t = t
		p.now = p.now.Add(time.Hour) // everything is due
		for _, o := range p.all {
			o.ticket = ""
		}
		for {
			p.pass()
			p.router.Tick(t.Context())
			done := true
			for _, agent := range []caxton.AgentID{"ann", "bob"} {
				if l, ok := p.router.Next(t.Context(), agent); ok {
					p.all[l.Message.ID].lease = &l
				}
			}
			for _, o := range p.all {
				if o.lease != nil {
					done = false
					p.settle(o, caxton.OutcomeDone)
				}
			}
			if done {
				break
			}
		}
		p.check()
		for id, o := range p.all {
			rs, err := p.journal.Turn(t.Context(), o.d.Message.ConversationID, id)
			if err != nil {
				t.Fatal(err)
			}
			answered := 0
			for _, r := range rs {
				if r.Kind == caxton.RecordSettled {
					answered++
				}
			}
			if o.settled != 1 || answered < o.answers {
				t.Fatalf("%s is settled %d times and has %d settlements in the log, want 1 and at least %d", id, o.settled, answered, o.answers)
			}
		}
	})
}
