package router

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/protocol"
)

// protocol checks a message against the protocol it names, over the messages that came before
// it in its conversation. The error is Invalid when the message does not fit.
func (r *Router) protocol(ctx context.Context, m *caxton.Message, continued bool) error {
	if _, known := protocol.Parse(m.Protocol); !known {
		return nil
	}
	var d protocol.Dialogue
	if continued {
		ms, err := r.journal.Messages(ctx, m.ConversationID)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(ms, func(o caxton.Message) bool { return o.ID == m.ID }); i >= 0 {
			ms = ms[:i] // it is in the log already
		}
		d = protocol.Fold(ms)
	}
	return d.Check(m, m.CreatedAt)
}

// keepToProtocol replaces the outputs that break the protocol of their conversation by what
// a side that cannot go on says there. in is the message they answer.
func (r *Router) keepToProtocol(ctx context.Context, in *caxton.Message, outputs []caxton.Delivery) error {
	checked := func(o caxton.Delivery) bool {
		_, known := protocol.Parse(o.Message.Protocol)
		return known && o.Message.ConversationID == in.ConversationID
	}
	if !slices.ContainsFunc(outputs, checked) {
		return nil
	}
	ms, err := r.journal.Messages(ctx, in.ConversationID)
	if err != nil {
		return err
	}
	d := protocol.Fold(ms)
	for i := range outputs {
		m := &outputs[i].Message
		if !checked(outputs[i]) {
			continue
		}
		if violation := d.Check(m, m.CreatedAt); violation != nil {
			r.metrics.violations.Inc()
			r.cfg.Logger.WarnContext(ctx, "agent broke its protocol", "agent", m.Sender, "message_id", in.ID, "conversation_id", in.ConversationID,
				"protocol", m.Protocol, "performative", m.Performative, "error", violation)
			if m.Performative != caxton.Failure { // a failure tells already what went wrong
				if m.Content, err = violationContent(violation); err != nil {
					return err
				}
			}
			giveUp(&d, m)
		}
		d.Apply(m, m.CreatedAt)
	}
	return nil
}

// giveUp makes of m what its sender may say now to end the exchange: failure, or refuse where
// it has not committed itself. Where nothing may be said any more, m is a failure outside of
// the protocol.
func giveUp(d *protocol.Dialogue, m *caxton.Message) {
	for _, p := range []caxton.Performative{caxton.Failure, caxton.Refuse, caxton.NotUnderstood} {
		if m.Performative = p; d.Check(m, m.CreatedAt) == nil {
			return
		}
	}
	m.Performative, m.Protocol = caxton.Failure, ""
}

func violationContent(why error) (json.RawMessage, error) {
	body := map[string]string{"type": "not_understood", "details": why.Error()}
	if e, ok := errors.AsType[*caxton.Error](why); ok {
		body["type"], body["details"] = e.Code, e.Message
		if e.Hint != "" {
			body["hint"] = e.Hint
		}
	}
	return json.Marshal(map[string]any{"error": body})
}

// notUnderstood settles a message that does not fit its protocol.
func (r *Router) notUnderstood(ctx context.Context, d caxton.Delivery, why error) error {
	r.metrics.violations.Inc()
	content, err := violationContent(why)
	if err != nil {
		return err
	}
	out := d.Message.Reply(caxton.NotUnderstood, content)
	out.Protocol = "" // it is about the protocol, not a step in it
	s := caxton.Settlement{
		Lease: caxton.Lease{Delivery: d, LeasedAt: r.cfg.Now()}, Outcome: caxton.OutcomeDone,
		Outputs: []caxton.Delivery{{Message: out}},
	}
	if e, ok := errors.AsType[*caxton.Error](why); ok {
		s.Code, s.Error = e.Code, e.Message
	}
	return r.Settle(ctx, s)
}
