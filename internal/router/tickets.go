package router

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"slices"

	"github.com/caxton/caxton"
)

// lostCalls returns the tickets of the calls that were begun for a message, may not be
// repeated, and have no result in the log, save those that s has tickets of. The message ends
// without another turn, which would have found them.
func (r *Router) lostCalls(ctx context.Context, s *caxton.Settlement) ([]caxton.Ticket, error) {
	m := &s.Lease.Message
	past, err := r.journal.Turn(ctx, m.ConversationID, m.ID)
	if err != nil {
		return nil, err
	}
	var open []*caxton.ToolCallRef
	done := func(is func(c *caxton.ToolCallRef) bool) { open = slices.DeleteFunc(open, is) }
	for i := range past {
		switch past[i].Kind { //nolint:exhaustive // the others say nothing of calls
		case caxton.RecordToolIntended:
			var b caxton.ToolIntendedBody
			if err = json.Unmarshal(past[i].Body, &b); err == nil && !b.Idempotent {
				done(func(c *caxton.ToolCallRef) bool { return c.Key == b.Key })
				open = append(open, b.Ref())
			}
		case caxton.RecordToolReturned:
			var b caxton.ToolReturnedBody
			err = json.Unmarshal(past[i].Body, &b)
			done(func(c *caxton.ToolCallRef) bool { return c.CallID == b.CallID })
		case caxton.RecordDecided:
			var b caxton.DecidedBody
			err = json.Unmarshal(past[i].Body, &b)
			done(func(c *caxton.ToolCallRef) bool { return b.Kind == caxton.Effect && c.Key == b.ID })
		}
		if err != nil {
			return nil, caxton.Errorf(caxton.Internal, "journal_unreadable", "record %d of conversation %s cannot be read", past[i].Seq, m.ConversationID).WithCause(err)
		}
	}
	for i := range s.Tickets {
		done(func(c *caxton.ToolCallRef) bool {
			return s.Tickets[i].Kind == caxton.Effect && s.Tickets[i].ID == c.Key
		})
	}
	var ts []caxton.Ticket
	for _, c := range open {
		ts = append(ts, caxton.Ticket{
			Kind: caxton.Effect, ID: c.Key, State: caxton.EffectUnknown, ConversationID: m.ConversationID, MessageID: m.ID,
			AgentID: m.ReceiverID, Agent: r.slug(m), OpenedAt: s.At, Attempts: s.Lease.Attempt, Call: c,
			Reason: "the server or the tool stopped before the result was known",
		})
	}
	return ts, nil
}

// slug returns the slug of a message's receiver, or what it was called when it is gone.
func (r *Router) slug(m *caxton.Message) string {
	if a, err := r.dir.Agent(m.ReceiverID); err == nil {
		return a.Slug
	}
	return m.Receiver
}

// deadLetter returns the ticket of a message that is given up.
func (r *Router) deadLetter(s *caxton.Settlement) caxton.Ticket {
	m := &s.Lease.Message
	r.metrics.dead.Inc()
	return caxton.Ticket{
		Kind: caxton.DeadLetter, ID: string(m.ID), State: caxton.LetterDead, ConversationID: m.ConversationID, MessageID: m.ID,
		AgentID: m.ReceiverID, Agent: r.slug(m), OpenedAt: s.At, Code: s.Code, Reason: s.Error, Attempts: s.Lease.Attempt,
	}
}

// Ticket returns one ticket, or NotFound.
func (r *Router) Ticket(ctx context.Context, kind caxton.TicketKind, id string) (caxton.Ticket, error) {
	return r.journal.Ticket(ctx, kind, id)
}

// Tickets returns a page of tickets, newest first, and the cursor of the next page.
func (r *Router) Tickets(ctx context.Context, q caxton.TicketQuery) ([]caxton.Ticket, string, error) {
	return r.journal.Tickets(ctx, q)
}

// OpenTickets counts the tickets that wait for somebody, by kind.
func (r *Router) OpenTickets(ctx context.Context) (map[caxton.TicketKind]int, error) {
	return r.journal.OpenTickets(ctx)
}

// Turn returns what the log holds about the handling of one message, oldest first.
func (r *Router) Turn(ctx context.Context, conv caxton.ConversationID, id caxton.MessageID) ([]caxton.Record, error) {
	return r.journal.Turn(ctx, conv, id)
}

// BudgetUses returns the accounts of budgets whose names begin with the prefix.
func (r *Router) BudgetUses(ctx context.Context, prefix string) ([]caxton.BudgetUse, error) {
	return r.journal.BudgetUses(ctx, prefix)
}

// Decide notes what a person said about a ticket, and does what follows from it: a message
// that waited for the decision goes on at once, a dead letter or a turn whose effects are
// all clear now is handed out again. Decision and consequence are stored in one step.
// Errors: NotFound, and those of caxton.Ticket.Decide.
func (r *Router) Decide(ctx context.Context, kind caxton.TicketKind, id string, d caxton.Decision) (caxton.Ticket, error) {
	d.By, d.At = cmp.Or(d.By, "operator"), r.cfg.Now()
	ended, err := r.ended(ctx, kind, id)
	if err != nil {
		return caxton.Ticket{}, err
	}
	if ended == caxton.OutcomeCancelled && d.State == caxton.EffectRetry {
		return caxton.Ticket{}, caxton.Errorf(caxton.Conflict, "message_cancelled", "the message was called off: nothing of it runs again").
			WithHint("say whether the call took effect: done, or failed")
	}
	t, woken, err := r.journal.Amend(ctx, kind, id, func(t caxton.Ticket) (caxton.Amendment, error) {
		t, err := t.Decide(d)
		if err != nil {
			return caxton.Amendment{}, err
		}
		return r.amendment(t, d, ended != "")
	})
	if err != nil {
		return t, err
	}
	r.metrics.decided.WithLabelValues(string(kind), string(d.State)).Inc()
	r.cfg.Logger.InfoContext(ctx, "ticket decided", "kind", kind, "ticket", id, "decision", d.State, "state", t.State, "by", d.By,
		"conversation_id", t.ConversationID, "message_id", t.MessageID)
	switch {
	case woken == nil:
	case kind == caxton.Approval:
		r.wakeUp(ctx, woken)
	default:
		r.mu.Lock()
		defer r.mu.Unlock()
		if ex := r.open[woken.Message.ID]; ex != nil {
			ex.again = woken // its settlement is in the log, and about to be known here
		} else {
			r.reopen(woken)
		}
	}
	return t, nil
}

// ended returns how the message of an effect has ended, when it does not go on whatever became
// of its calls: it was called off, or is a dead letter, which may be replayed then.
func (r *Router) ended(ctx context.Context, kind caxton.TicketKind, id string) (caxton.Outcome, error) {
	if kind != caxton.Effect {
		return "", nil
	}
	t, err := r.journal.Ticket(ctx, kind, id)
	if err != nil {
		return "", err
	}
	st, err := r.journal.Message(ctx, t.MessageID)
	if st.Outcome == caxton.OutcomeUnknown {
		return "", err
	}
	return st.Outcome, err
}

// amendment says what follows from a decision; ended that its message does not go on.
func (r *Router) amendment(t caxton.Ticket, d caxton.Decision, ended bool) (caxton.Amendment, error) {
	a := caxton.Amendment{Ticket: t}
	body, err := json.Marshal(caxton.DecidedBody{Kind: t.Kind, ID: t.ID, Call: t.Call, Decision: d, State: t.State})
	if err != nil {
		return a, err
	}
	record := func(kind caxton.RecordKind, body []byte) {
		a.Records = append(a.Records, caxton.Record{
			ConversationID: t.ConversationID, At: d.At, Kind: kind, MessageID: t.MessageID, AgentID: t.AgentID, Body: body,
		})
	}
	record(caxton.RecordDecided, body)
	switch {
	case t.State.Open(), t.State == caxton.LetterDropped, ended:
		return a, nil
	case t.Kind == caxton.Approval:
		a.Wake = caxton.WakeNow
		return a, nil
	}
	if _, err := r.dir.Agent(t.AgentID); err != nil {
		return a, caxton.Errorf(caxton.Conflict, "agent_removed", "the agent %s is not deployed any more", t.Agent).
			WithHint("deploy it again, then decide; or send the message to another agent")
	}
	if body, err = json.Marshal(caxton.ReopenedBody{By: d.By, Reason: d.Reason}); err != nil {
		return a, err
	}
	record(caxton.RecordReopened, body)
	a.Wake = caxton.WakeReopen
	return a, nil
}

// reopen queues a message that was settled. r.mu is held.
func (r *Router) reopen(d *caxton.Delivery) {
	r.open[d.Message.ID] = &exchange{reopened: true}
	r.box(d.Message.ReceiverID).pushItem(&item{delivery: *d, since: r.cfg.Now(), recovered: true})
}

// wakeUp hands out a parked message that waits no more.
func (r *Router) wakeUp(ctx context.Context, d *caxton.Delivery) {
	id := d.Message.ID
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, parking := r.parking[id]; parking {
		r.parking[id] = true // Park will see it
		return
	}
	if r.hurry(id) {
		return
	}
	r.cfg.Logger.DebugContext(ctx, "message is at work already", "message_id", id)
}

// hurry makes a delayed message due, and reports whether there is one. r.mu is held.
func (r *Router) hurry(id caxton.MessageID) bool {
	for i, it := range r.delayed {
		if it.delivery.Message.ID == id {
			it.delivery.NotBefore = r.cfg.Now()
			heap.Fix(&r.delayed, i)
			select {
			case r.wake <- struct{}{}:
			default: // Run will look anyway
			}
			return true
		}
	}
	for _, b := range r.boxes {
		if it := b.find(id); it != nil { // behind another one: it will be due when its turn comes
			it.delivery.NotBefore = r.cfg.Now()
			return true
		}
	}
	return false
}
