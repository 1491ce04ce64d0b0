package router

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// Signal returns the channel that tells that Next may have something for the agent. One
// receiver only: each ring is heard once. After a ring, call Next until it has nothing.
func (r *Router) Signal(id caxton.AgentID) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.box(id).signal
}

// Next leases the agent's next message, if there is one. The caller must end the lease with
// Settle or Release; a lease left open is given out again after a restart.
func (r *Router) Next(ctx context.Context, id caxton.AgentID) (caxton.Lease, bool) {
	r.mu.Lock()
	b := r.boxes[id]
	if b == nil || len(b.ready) == 0 {
		r.mu.Unlock()
		return caxton.Lease{}, false
	}
	it := heap.Pop(&b.ready).(*item)
	b.queued--
	b.inFlight++
	now := r.cfg.Now()
	it.delivery.Attempt++
	it.leasedAt, it.written = now, it.recovered
	l := caxton.Lease{Delivery: it.delivery, LeasedAt: now, Cancel: &it.cancel}
	l.Resumed = it.recovered || l.Attempt > 1
	r.leases[l.Message.ID] = it
	r.mu.Unlock()
	if it.cancelled {
		l.Cancel.Call()
	}
	r.metrics.waiting.Observe(now.Sub(it.since).Seconds())
	if it.recovered {
		if err := r.journal.Leased(ctx, l); err != nil {
			r.cfg.Logger.WarnContext(ctx, "lease not recorded", "message_id", l.Message.ID, "error", err)
		}
	}
	return l, true
}

// Past returns what earlier attempts at the leased message left in the log.
func (r *Router) Past(ctx context.Context, l caxton.Lease) ([]caxton.Record, error) {
	return r.journal.Turn(ctx, l.Message.ConversationID, l.Message.ID)
}

// Settle ends a lease. The router completes the outputs: each gets an ID that follows from
// the input's, unless somebody else took that, and those for agents are queued. Settling twice is a Conflict and changes nothing.
func (r *Router) Settle(ctx context.Context, s caxton.Settlement) error {
	in := &s.Lease.Message
	s.At = r.cfg.Now()
	for i := range s.Outputs {
		r.complete(ctx, &s.Outputs[i], in, s.Lease.Outputs+i, s.At)
	}
	if s.Lease.Attempt > 0 && (s.Outcome == caxton.OutcomeFailed || s.Outcome == caxton.OutcomeCancelled) {
		lost, err := r.lostCalls(ctx, &s)
		if err != nil {
			return err
		}
		s.Tickets = append(s.Tickets, lost...)
	}
	if s.Outcome == caxton.OutcomeFailed {
		s.Tickets = append(s.Tickets, r.deadLetter(&s))
	}
	if s.Lease.Outputs == 0 { // after a reopening its exchange has ended; what it says now is said all the same
		if err := r.keepToProtocol(ctx, in, s.Outputs); err != nil {
			return err
		}
	}
	err := r.journal.Settle(ctx, s)
	if hasCode(err, "message_known") && len(s.Outputs) > 0 {
		// Somebody else said something under an ID that follows from this message's. What the
		// agent says is said all the same: only the settlement tells what came of what.
		r.cfg.Logger.WarnContext(ctx, "ID of an output was taken", "message_id", in.ID, "conversation_id", in.ConversationID, "error", err)
		for i := range s.Outputs {
			s.Outputs[i].Message.ID = caxton.MessageID(r.cfg.NewID())
		}
		err = r.journal.Settle(ctx, s)
	}
	if err != nil && !hasCode(err, "already_settled") {
		return err // the lease stays open: the caller may try again
	}
	r.mu.Lock()
	_, held := r.leases[in.ID]
	delete(r.leases, in.ID)
	b := r.box(in.ReceiverID)
	if held {
		b.inFlight--
		b.settled(s.Outcome == caxton.OutcomeDone)
		r.next(b, in.ConversationID)
	}
	if ex := r.open[in.ID]; ex != nil {
		if len(s.Outputs) > 0 {
			ex.reply = &s.Outputs[0].Message
		}
		if ex.done != nil {
			close(ex.done)
		}
		delete(r.open, in.ID)
		if ex.again != nil {
			r.reopen(ex.again)
		}
	}
	if parked, ok := r.waiting[in.ID]; ok {
		delete(r.waiting, in.ID)
		for _, id := range parked {
			r.hurry(id)
		}
	}
	if err == nil {
		for i := range s.Outputs {
			if d := &s.Outputs[i]; d.Message.ReceiverID != "" {
				r.open[d.Message.ID] = &exchange{}
				r.queue(d, false)
			}
		}
	}
	r.mu.Unlock()
	if err == nil {
		for i := range s.Outputs { // a receiver that was removed meanwhile has nobody who would come for it
			if id := s.Outputs[i].Message.ReceiverID; id != "" && !r.deployed(id) {
				if derr := r.Drop(context.WithoutCancel(ctx), id); derr != nil {
					r.cfg.Logger.ErrorContext(ctx, "messages for a removed agent not settled", "agent_id", id, "error", derr)
				}
			}
		}
		r.metrics.settled.WithLabelValues(string(s.Outcome)).Inc()
		r.metrics.handling.Observe(s.At.Sub(s.Lease.LeasedAt).Seconds())
	}
	return err
}

// hasCode reports whether err has the code. There are several conflicts: only after
// already_settled the message is settled in the log.
func hasCode(err error, code string) bool {
	e, ok := errors.AsType[*caxton.Error](err)
	return ok && e.Code == code
}

// complete fills in what the router knows of an output.
func (r *Router) complete(ctx context.Context, d *caxton.Delivery, in *caxton.Message, position int, at time.Time) {
	m := &d.Message
	m.ID = caxton.DeriveMessageID(in.ID, position)
	m.CreatedAt = at
	m.Performative = cmp.Or(m.Performative, caxton.Inform)
	m.Priority = cmp.Or(m.Priority, in.Priority)
	if m.ConversationID == "" {
		m.ConversationID = in.ConversationID
	}
	m.SenderID = in.ReceiverID
	if m.Sender == "" {
		m.Sender = in.Receiver
		if a, err := r.dir.Agent(in.ReceiverID); err == nil {
			m.Sender = a.Slug
		}
	}
	if m.ReceiverID == "" {
		return
	}
	d.Routing.Strategy = caxton.DirectAddress
	a, err := r.dir.Agent(m.ReceiverID)
	if err != nil {
		m.ReceiverID = "" // its receiver is gone: it stays in the log
		return
	}
	d.Version = r.versionOf(ctx, &a, m.ConversationID)
}

// versionOf returns the version of an agent that the conversation is with, or begins with. A
// log that cannot be read leaves it to the names: the settlement will tell of the fault.
func (r *Router) versionOf(ctx context.Context, a *caxton.Agent, conv caxton.ConversationID) int {
	if a.Versions <= 1 {
		return a.Version
	}
	th, err := r.journal.Thread(ctx, conv, a.ID)
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "version of a conversation not read", "conversation_id", conv, "agent_id", a.ID, "error", err)
	}
	return a.Continue(conv, th.Version)
}

// Release gives a lease back: the message will be handed out again after the delay, before
// any later message of its conversation. cause is safe to show.
func (r *Router) Release(ctx context.Context, l caxton.Lease, cause string, delay time.Duration) error {
	at := r.cfg.Now().Add(delay)
	if err := r.journal.Release(ctx, l, cause, at); err != nil {
		return err
	}
	r.mu.Lock()
	if l.Cancelled() {
		r.mu.Unlock()
		return r.callOffLeased(ctx, l)
	}
	defer r.mu.Unlock()
	if r.leases[l.Message.ID] != nil {
		r.box(l.Message.ReceiverID).settled(false)
	}
	l.NotBefore = at
	r.back(&l, false)
	r.metrics.retries.Inc()
	return nil
}

// callOffLeased settles a message that was called off after its turn had ended.
func (r *Router) callOffLeased(ctx context.Context, l caxton.Lease) error {
	return r.Settle(ctx, caxton.Settlement{Lease: l, Outcome: caxton.OutcomeCancelled, Code: "cancelled", Error: "called off"})
}

// back ends a lease whose message will be handed out again when it is due. One that was
// called off meanwhile is due at once, and its next worker finds it called off. r.mu is held.
func (r *Router) back(l *caxton.Lease, recovered bool) {
	now := r.cfg.Now()
	it := &item{delivery: l.Delivery, since: now, recovered: recovered}
	if _, held := r.leases[l.Message.ID]; held {
		delete(r.leases, l.Message.ID)
		r.box(l.Message.ReceiverID).inFlight--
	}
	if l.Cancelled() {
		it.cancelled, it.delivery.NotBefore = true, now
	}
	if by := l.Deadline(); !by.IsZero() && !now.Before(by) {
		r.watch(it) // while it was at work its deadline was left to its turn
	}
	r.delay(it)
}

// Park puts a leased message aside until the time given, or until a decision wakes it. What
// comes after it in its conversation waits too. It does not count as a failed attempt.
func (r *Router) Park(ctx context.Context, l caxton.Lease, p caxton.Parked) error {
	id := l.Message.ID
	r.mu.Lock()
	r.parking[id] = false
	r.mu.Unlock()
	until, err := r.journal.Park(ctx, l, p)
	r.mu.Lock()
	woken := r.parking[id]
	delete(r.parking, id)
	if err == nil && l.Cancelled() {
		r.mu.Unlock()
		return r.callOffLeased(ctx, l)
	}
	defer r.mu.Unlock()
	if err != nil {
		return err
	}
	l.Parked++
	l.NotBefore = until
	for _, other := range p.Settles {
		if r.open[other] == nil {
			woken = true
		}
	}
	if woken { // what it waits for came while it was on its way to be parked
		l.NotBefore = r.cfg.Now()
	} else {
		for _, other := range p.Settles {
			if !slices.Contains(r.waiting[other], id) {
				r.waiting[other] = append(r.waiting[other], id)
			}
		}
	}
	r.back(&l, false)
	r.metrics.parked.Inc()
	return nil
}

// abandonedPause is how long a message waits whose lease was abandoned.
const abandonedPause = 5 * time.Second

// Abandon ends a lease without a word in the log: the process is stopping, or the log cannot
// be written. The message is handed out again after a pause, or after the restart.
func (r *Router) Abandon(l caxton.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, held := r.leases[l.Message.ID]; !held {
		return
	}
	l.Parked++ // it says nothing about the message
	l.NotBefore = r.cfg.Now().Add(abandonedPause)
	r.back(&l, true)
}

// A Load says how busy an agent's mailbox is.
type Load struct {
	Queued   int
	InFlight int
	Health   float64 // share of recent turns that went well, 0 to 1
}

// Load returns the load of an agent's mailbox.
func (r *Router) Load(id caxton.AgentID) Load {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.boxes[id]
	if b == nil {
		return Load{Health: 1}
	}
	return Load{Queued: b.queued, InFlight: b.inFlight, Health: b.health}
}

// Pending returns how many messages wait for the agent or are being handled by it.
func (r *Router) Pending(id caxton.AgentID) int {
	l := r.Load(id)
	return l.Queued + l.InFlight
}

// Drop settles as failed everything that waits for an agent that was removed. What cannot be
// settled now is tried again after a pause, and the error tells of it.
func (r *Router) Drop(ctx context.Context, id caxton.AgentID) error {
	r.mu.Lock()
	b := r.boxes[id]
	if b == nil {
		r.mu.Unlock()
		return nil
	}
	items := append([]*item{}, b.ready...)
	b.ready = nil
	for _, q := range b.busy {
		if q != nil {
			items = append(items, q.waiting...)
			q.waiting = nil
		}
	}
	kept := r.delayed[:0]
	for _, it := range r.delayed {
		if it.delivery.Message.ReceiverID == id {
			items = append(items, it)
		} else {
			kept = append(kept, it)
		}
	}
	clear(r.delayed[len(kept):])
	r.delayed = kept
	heap.Init(&r.delayed)
	b.queued = 0
	r.mu.Unlock()
	var errs []error
	for _, it := range items {
		if err := r.failRemoved(ctx, it); err != nil {
			errs = append(errs, err)
			r.giveBack(it)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.queued+b.inFlight+b.reserved == 0 && r.boxes[id] == b && !r.deployed(id) {
		delete(r.boxes, id)
	}
	return errors.Join(errs...)
}

// deployed reports whether there is an agent with the ID.
func (r *Router) deployed(id caxton.AgentID) bool {
	_, err := r.dir.Agent(id)
	return err == nil
}

// failRemoved settles a message whose agent was removed.
func (r *Router) failRemoved(ctx context.Context, it *item) error {
	return r.fail(ctx, it.delivery, "agent_removed", "the agent was removed before it handled the message")
}

// fail settles a delivery that nobody will handle, with a failure reply.
func (r *Router) fail(ctx context.Context, d caxton.Delivery, code, message string) error {
	content, err := json.Marshal(map[string]any{"error": map[string]string{"type": code, "details": message}})
	if err != nil {
		return err
	}
	reply := d.Message.Reply(caxton.Failure, content)
	return r.Settle(ctx, caxton.Settlement{
		Lease:   caxton.Lease{Delivery: d, LeasedAt: r.cfg.Now()},
		Outcome: caxton.OutcomeFailed, Error: message, Code: code,
		Outputs: []caxton.Delivery{{Message: reply}},
	})
}
