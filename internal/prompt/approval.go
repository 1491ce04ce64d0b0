package prompt

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// errNotApproved is the end of a turn whose message nobody approved.
func errNotApproved(a approvalState) error {
	return caxton.Errorf(caxton.Forbidden, "not_approved", "%s", a.verdict("the message"))
}

// verdict says in a sentence how an approval ended.
func (a approvalState) verdict(what string) string {
	switch {
	case a.state == caxton.ApprovalExpired:
		return what + " was not approved in time"
	case a.state == caxton.ApprovalWithdrawn:
		return what + " is not wanted any more"
	case a.reason != "":
		return fmt.Sprintf("%s was denied by %s: %s", what, a.by, a.reason)
	}
	return fmt.Sprintf("%s was denied by %s", what, a.by)
}

// approveMessage waits for approval of the message itself, when it came by a capability for
// which the agent needs it.
func (t *turnState) approveMessage(ctx context.Context) error {
	m := &t.turn.Message
	if m.Capability.IsZero() || !slices.Contains(t.a.def.Approval.Capabilities, m.Capability) {
		return nil
	}
	sum := sha256.Sum256(m.Content)
	key := sha256.Sum256([]byte(string(m.ID) + ":capability"))
	asked := []caxton.ToolCallRef{{
		CallID: "message", Tool: "capability:" + m.Capability.String(), Arguments: m.Content,
		ArgsHash: hex.EncodeToString(sum[:]), Key: hex.EncodeToString(key[:16]),
	}}
	states, err := t.approvals(ctx, asked)
	if err != nil {
		return err
	}
	if states[0].state != caxton.ApprovalGranted {
		return errNotApproved(states[0])
	}
	return nil
}

// approveCalls waits for approval of the calls that need it. A call that is denied gets that
// as its result and never runs.
func (t *turnState) approveCalls(ctx context.Context, intents []caxton.ToolIntendedBody) error {
	var asked []caxton.ToolCallRef
	for i := range intents {
		b := &intents[i]
		_, begun := t.past.intents[b.CallID]
		_, returned := t.past.returns[b.CallID]
		if !begun && !returned && t.needsApproval(b.Tool) {
			asked = append(asked, *b.Ref())
		}
	}
	if len(asked) == 0 {
		return nil
	}
	states, err := t.approvals(ctx, asked)
	if err != nil {
		return err
	}
	for i, a := range states {
		if a.state == caxton.ApprovalGranted {
			continue
		}
		r := caxton.ToolReturnedBody{CallID: asked[i].CallID, Tool: asked[i].Tool, IsError: true, Text: a.verdict("the call")}
		if err := t.append(ctx, caxton.RecordToolReturned, r); err != nil {
			return err
		}
		t.past.returns[r.CallID] = r
	}
	return nil
}

func (t *turnState) needsApproval(tool string) bool {
	return t.a.tools.NeedsApproval(tool) || slices.ContainsFunc(t.a.h.cfg.ApproveTools, func(name string) bool {
		return caxton.ToolGrant{Name: name}.Allows(tool)
	}) && t.a.def.HasTool(tool)
}

// approvals returns where the approvals of the calls stand when all are decided. Else it
// asks for those that were not asked for, and the error parks the turn.
func (t *turnState) approvals(ctx context.Context, calls []caxton.ToolCallRef) ([]approvalState, error) {
	now := t.a.h.cfg.Now()
	states := make([]approvalState, len(calls))
	var tickets []caxton.Ticket
	var records []caxton.Record
	until := time.Time{}
	waits := 0
	for i := range calls {
		id := approvalID(&calls[i])
		a, asked := t.past.approvals[id]
		if asked && a.state.Open() && !now.Before(a.expires) {
			var err error
			if a, err = t.expire(ctx, id, a); err != nil {
				return nil, err
			}
		}
		states[i] = a
		if asked && !a.state.Open() {
			continue
		}
		waits++
		expires := a.expires
		if !asked {
			tk := t.ticket(id, &calls[i], now)
			r, err := t.record(caxton.RecordApprovalAsked, caxton.ApprovalAskedBody{Ticket: tk})
			if err != nil {
				return nil, err
			}
			tickets, records, expires = append(tickets, tk), append(records, r), tk.ExpiresAt
		}
		if until.IsZero() || expires.Before(until) {
			until = expires
		}
	}
	if waits == 0 {
		return states, nil
	}
	if len(tickets) > 0 {
		if err := t.a.h.log.Open(ctx, tickets, records...); err != nil {
			return nil, err
		}
		t.a.h.metrics.approvals.Add(float64(len(tickets)))
		t.a.h.cfg.Logger.InfoContext(ctx, "approval asked for", "agent", t.a.slug, "agent_id", t.turn.Agent.ID, "message_id", t.turn.Message.ID,
			"conversation_id", t.turn.Message.ConversationID, "approvals", len(tickets), "until", until)
	}
	p := &caxton.Parked{Until: until, Reason: fmt.Sprintf("%d of %d approvals are open", waits, len(calls)), Ticket: true}
	return nil, caxton.Errorf(caxton.Conflict, "approval_pending", "somebody has to approve what the agent is to do").
		WithHint("caxton approvals list shows what waits").WithCause(p)
}

// approvalID binds an approval to one call and its arguments: with other arguments it is
// another approval.
func approvalID(c *caxton.ToolCallRef) string {
	sum := sha256.Sum256([]byte(c.Key + ":" + c.Tool + ":" + c.ArgsHash))
	return hex.EncodeToString(sum[:8])
}

func (t *turnState) ticket(id string, c *caxton.ToolCallRef, now time.Time) caxton.Ticket {
	p := t.a.def.Approval.Policy
	standard := t.a.h.cfg.Approval
	p.Need = cmp.Or(p.Need, standard.Need, 1)
	p.Expires = cmp.Or(p.Expires, standard.Expires, caxton.DefaultApprovalExpiry)
	if len(p.Approvers) == 0 {
		p.Approvers = standard.Approvers
	}
	m := &t.turn.Message
	return caxton.Ticket{
		Kind: caxton.Approval, ID: id, State: caxton.ApprovalPending, ConversationID: m.ConversationID, MessageID: m.ID,
		AgentID: m.ReceiverID, Agent: t.a.slug, OpenedAt: now, ExpiresAt: now.Add(p.Expires), Call: c, Policy: p,
	}
}

// expire closes an approval that nobody decided in time.
func (t *turnState) expire(ctx context.Context, id string, a approvalState) (approvalState, error) {
	now := t.a.h.cfg.Now()
	tk, _, err := t.a.h.log.Amend(ctx, caxton.Approval, id, func(tk caxton.Ticket) (caxton.Amendment, error) {
		if !tk.State.Open() { // decided just now
			return caxton.Amendment{Ticket: tk}, nil
		}
		d := caxton.Decision{By: "clock", State: caxton.ApprovalExpired, At: now}
		tk, err := tk.Decide(d)
		if err != nil {
			return caxton.Amendment{}, err
		}
		r, err := t.record(caxton.RecordDecided, caxton.DecidedBody{Kind: tk.Kind, ID: tk.ID, Call: tk.Call, Decision: d, State: tk.State})
		return caxton.Amendment{Ticket: tk, Records: []caxton.Record{r}}, err
	})
	if err != nil {
		return a, err
	}
	a.state = tk.State
	if n := len(tk.Decisions); n > 0 {
		a.by, a.reason = tk.Decisions[n-1].By, tk.Decisions[n-1].Reason
	}
	return a, nil
}
