package httpd

import (
	"cmp"
	"context"
	"slices"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// messageStatus returns what became of a message, and the records of its handling.
func (s *Server) messageStatus(ctx context.Context, id caxton.MessageID) (api.MessageStatus, []caxton.Record, error) {
	st, err := s.deps.Router.Status(ctx, id)
	if err != nil {
		return api.MessageStatus{}, nil, err
	}
	rs, err := s.deps.Router.Turn(ctx, st.Message.ConversationID, id)
	if err != nil {
		return api.MessageStatus{}, nil, err
	}
	if !st.Settled { // it may have been settled between the two looks: then the log knows more
		if st, err = s.deps.Router.Status(ctx, id); err != nil {
			return api.MessageStatus{}, nil, err
		}
	}
	m := &st.Message
	out := api.MessageStatus{
		MessageID: string(m.ID), ConversationID: string(m.ConversationID), Sender: m.Sender, Receiver: m.Receiver,
		Performative: string(m.Performative), Content: m.Content, Status: "pending", State: stateWaiting, Error: st.Error, Code: st.Code,
		Parent: string(m.Parent), Root: string(m.Root), Depth: m.Depth,
		Routing: api.Routing{Strategy: string(st.Routing.Strategy), Candidates: []api.Candidate{}}, Replies: []api.Reply{}, Timestamp: m.CreatedAt.UTC(),
	}
	for _, c := range st.Routing.Candidates {
		out.Routing.Candidates = append(out.Routing.Candidates, api.Candidate{
			Agent: c.Slug, Score: c.Score, Match: c.Match, Health: c.Health, Load: c.Load, Continuity: c.Continuity,
		})
	}
	for i := range st.Replies {
		out.Replies = append(out.Replies, replyFrom(&st.Replies[i]))
	}
	for i := range rs {
		if err := progress(&out, &rs[i]); err != nil {
			return out, nil, err
		}
	}
	switch {
	case st.Settled:
		out.Status, out.State, out.Tickets = cmp.Or(string(st.Outcome), "done"), stateSettled, nil
		out.NotBefore, out.Waits = nil, ""
		out.Attempts = max(out.Attempts, st.Attempt)
	case out.State == stateSettled: // and reopened just now
		out.State = stateWaiting
	}
	return out, rs, nil
}

// The states of a message.
const (
	stateWaiting = "waiting"
	stateRunning = "running"
	stateParked  = "parked"
	stateSettled = "settled"
)

// progress folds one record of a message's handling into what is told of the message.
func progress(m *api.MessageStatus, r *caxton.Record) error {
	wait := func(state string, n *int, why string) {
		m.State, m.Waits, m.NotBefore = state, why, nil
		if n != nil {
			m.Attempts = max(m.Attempts, *n)
		}
	}
	switch r.Kind {
	case caxton.RecordLeased:
		b, err := bodyOf[caxton.LeasedBody](r)
		wait(stateRunning, &b.Attempt, "")
		return err
	case caxton.RecordReleased:
		b, err := bodyOf[caxton.ReleasedBody](r)
		wait(stateWaiting, &b.Attempt, "the next attempt, after: "+b.Error)
		m.NotBefore = at(b.NotBefore)
		return err
	case caxton.RecordParked:
		b, err := bodyOf[caxton.ParkedBody](r)
		wait(stateParked, &b.Attempt, b.Reason)
		m.NotBefore = at(b.Until)
		return err
	case caxton.RecordReopened:
		wait(stateWaiting, nil, "")
	case caxton.RecordSettled: // of an earlier life, when the message was reopened
		b, err := bodyOf[caxton.SettledBody](r)
		wait(stateSettled, &b.Attempt, "")
		m.Tickets = nil
		return err
	case caxton.RecordApprovalAsked:
		b, err := bodyOf[caxton.ApprovalAskedBody](r)
		m.Tickets = append(m.Tickets, b.Ticket.ID)
		return err
	case caxton.RecordDecided:
		b, err := bodyOf[caxton.DecidedBody](r)
		if b.Kind != caxton.Approval || b.State.Open() {
			return err
		}
		m.Tickets = slices.DeleteFunc(m.Tickets, func(id string) bool { return id == b.ID })
		if len(m.Tickets) == 0 && m.State == stateParked {
			wait(stateWaiting, nil, "")
		}
		return err
	case caxton.RecordModelCalled, caxton.RecordToolIntended, caxton.RecordToolReturned, caxton.RecordBudgetReserved, caxton.RecordBudgetSettled,
		caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
		wait(stateRunning, nil, "")
	case caxton.RecordMessage, caxton.RecordCancelAsked, caxton.RecordForked, caxton.RecordArchived:
	}
	return nil
}
