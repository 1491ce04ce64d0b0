package router

import (
	"context"

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
		d := caxton.Decision{By: "router", State: caxton.ApprovalExpired, Reason: "the message is settled: " + string(s.Outcome)}
		if _, derr := r.Decide(ctx, caxton.Approval, ts[i].ID, d); derr != nil && caxton.KindOf(derr) != caxton.Conflict {
			err = derr
		}
	}
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "approvals of a settled message not closed", "message_id", id, "error", err)
	}
}
