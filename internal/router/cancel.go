package router

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/caxton/caxton"
)

// Cancel calls off a message that is not settled yet. One that waits is settled at once,
// without being handled; one at work is cut off, and settled as soon as its turn has ended.
// Errors: NotFound, Conflict when it is settled already.
func (r *Router) Cancel(ctx context.Context, id caxton.MessageID, by string) error {
	st, err := r.journal.Message(ctx, id)
	if err != nil {
		return err
	}
	if st.Settled {
		return errSettled(id, &st)
	}
	if err := r.noteCancel(ctx, &st.Message, by); err != nil {
		return err
	}
	it, err := r.callOff(id)
	if caxton.KindOf(err) == caxton.Conflict {
		return r.cancelled(ctx, id)
	}
	if err != nil || it == nil {
		return err
	}
	err = r.Settle(ctx, caxton.Settlement{
		Lease: caxton.Lease{Delivery: it.delivery, LeasedAt: r.cfg.Now()}, Outcome: caxton.OutcomeCancelled,
		Code: "cancelled", Error: "called off by " + by,
	})
	if err != nil {
		r.giveBack(it)
	}
	return err
}

// cancelled returns nil when a message that was settled while it was being called off was
// settled for that, by a worker that was quick to stop.
func (r *Router) cancelled(ctx context.Context, id caxton.MessageID) error {
	st, err := r.journal.Message(ctx, id)
	if err != nil || st.Outcome == caxton.OutcomeCancelled {
		return err
	}
	return errSettled(id, &st)
}

func errSettled(id caxton.MessageID, st *caxton.MessageStatus) error {
	return caxton.Errorf(caxton.Conflict, "already_settled", "message %s is settled: %s", id, cmp.Or(string(st.Outcome), "it went outside"))
}

// callOff takes a waiting message out of its mailbox and returns it; or tells the worker that
// has it to stop, and returns nil.
func (r *Router) callOff(id caxton.MessageID) (*item, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for it := r.leases[id]; it != nil; it = r.leases[id] {
		r.mu.Unlock()
		it.cancel.Call()
		r.mu.Lock()
		if r.leases[id] == it {
			return nil, nil //nolint:nilnil // its worker ends it
		} // else it was just settled, or put back without a look at this
	}
	if it := r.take(id); it != nil {
		return it, nil
	}
	if r.open[id] == nil {
		return nil, caxton.Errorf(caxton.Conflict, "already_settled", "message %s is settled", id)
	}
	return nil, caxton.Errorf(caxton.Unavailable, "message_moving", "message %s is just being handed over", id).
		WithHint("try again")
}

// take removes a waiting item from where it waits, and lets its conversation go on. r.mu is
// held.
func (r *Router) take(id caxton.MessageID) *item {
	for i, it := range r.delayed {
		if it.delivery.Message.ID == id {
			r.delayed.remove(i)
			b := r.box(it.delivery.Message.ReceiverID)
			b.queued--
			r.next(b, it.delivery.Message.ConversationID)
			return it
		}
	}
	for _, b := range r.boxes {
		if it, first := b.take(id); it != nil {
			if first {
				r.next(b, it.delivery.Message.ConversationID)
			}
			return it
		}
	}
	return nil
}

// cancelMessages does what a message with the performative cancel asks for: it calls off the
// message that it refers to, or all that its sender has open with the agent in this
// conversation, and answers with inform, or with failure when there was nothing to call off.
func (r *Router) cancelMessages(ctx context.Context, d caxton.Delivery) error {
	m := &d.Message
	ms, err := r.journal.Messages(ctx, m.ConversationID)
	if err != nil {
		return err
	}
	var done []caxton.MessageID
	for i := range ms {
		o := &ms[i]
		same := o.ID != m.ID && o.ReceiverID == m.ReceiverID && o.Sender == m.Sender && o.SenderID == m.SenderID
		named := m.InReplyTo == "" || m.InReplyTo == string(o.ID) || m.InReplyTo == o.ReplyWith
		if same && named && r.Cancel(ctx, o.ID, m.Sender) == nil {
			done = append(done, o.ID)
		}
	}
	p, body := caxton.Inform, map[string]any{"cancelled": done}
	if len(done) == 0 {
		p = caxton.Failure
		body = map[string]any{"error": map[string]string{"type": "nothing_to_cancel", "details": "no open message of yours to this agent in this conversation"}}
	}
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return r.Settle(ctx, caxton.Settlement{
		Lease: caxton.Lease{Delivery: d, LeasedAt: r.cfg.Now()}, Outcome: caxton.OutcomeDone,
		Outputs: []caxton.Delivery{{Message: m.Reply(p, content)}},
	})
}

// noteCancel writes down that a message at work is called off: should the process die before
// its turn has ended, the next attempt ends at once.
func (r *Router) noteCancel(ctx context.Context, m *caxton.Message, by string) error {
	r.mu.Lock()
	_, atWork := r.leases[m.ID]
	r.mu.Unlock()
	if !atWork {
		return nil
	}
	body, err := json.Marshal(caxton.CancelAskedBody{By: by})
	if err != nil {
		return err
	}
	return r.journal.Append(ctx, caxton.Record{
		ConversationID: m.ConversationID, At: r.cfg.Now(), Kind: caxton.RecordCancelAsked, MessageID: m.ID, AgentID: m.ReceiverID, Body: body,
	})
}
