package router

import (
	"context"
	"encoding/json"

	"github.com/caxton/caxton"
)

// closeApprovals closes the approvals that a settled message has asked for and nobody has
// decided: it was called off, its time was over, or its agent is gone. Only a message that
// was put aside can have any.
func (r *Router) closeApprovals(ctx context.Context, s *caxton.Settlement) {
	if s.Lease.Parked == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx) // the message is settled, whoever waited for that
	id := s.Lease.Message.ID
	ts, _, err := r.journal.Tickets(ctx, caxton.TicketQuery{Kind: caxton.Approval, Open: true, MessageID: id, Limit: 200})
	for i := range ts {
		d := caxton.Decision{By: "router", Reason: "the message is settled: " + string(s.Outcome), At: r.cfg.Now()}
		_, _, werr := r.journal.Amend(ctx, caxton.Approval, ts[i].ID, func(t caxton.Ticket) (caxton.Amendment, error) {
			t, err := t.Withdraw(d)
			if err != nil {
				return caxton.Amendment{}, err
			}
			body, err := json.Marshal(caxton.DecidedBody{Kind: t.Kind, ID: t.ID, Call: t.Call, Decision: t.Decisions[len(t.Decisions)-1], State: t.State})
			r := caxton.Record{ConversationID: t.ConversationID, At: d.At, Kind: caxton.RecordDecided, MessageID: t.MessageID, AgentID: t.AgentID, Body: body}
			return caxton.Amendment{Ticket: t, Records: []caxton.Record{r}}, err
		})
		if werr != nil && caxton.KindOf(werr) != caxton.Conflict {
			err = werr
		}
	}
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "approvals of a settled message not closed", "message_id", id, "error", err)
	}
}
