package messaging

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/jsonschema-go/jsonschema"
)

type contractNet struct {
	desk
	spec tool.Spec
}

type contractNetArgs struct {
	Capability string          `json:"capability" jsonschema:"What the bidders must be able to do; all that can are asked."`
	Task       json.RawMessage `json:"task" jsonschema:"What is to be done: a text, or a JSON value."`
	Deadline   string          `json:"deadline,omitempty" jsonschema:"How long proposals are taken, such as 30s; 30s unless given."`
	Timeout    string          `json:"timeout,omitempty" jsonschema:"How long the winner may take, such as 10m; 10m unless given."`
	Field      string          `json:"field,omitempty" jsonschema:"The field of a proposal that decides, such as price. Without it the first proposal that came wins."`
	Prefer     string          `json:"prefer,omitempty" jsonschema:"lowest or highest value of the field; lowest unless given."`
	Limit      *float64        `json:"limit,omitempty" jsonschema:"Proposals beyond this value of the field are rejected."`
}

// A bid is what one bidder did.
type bid struct {
	Agent     string              `json:"agent"`
	AgentID   caxton.AgentID      `json:"agent_id"`
	MessageID caxton.MessageID    `json:"message_id"` // of the call for proposals to it
	Answer    caxton.Performative `json:"answer,omitempty"`
	Content   json.RawMessage     `json:"content,omitempty"`
	Value     *float64            `json:"value,omitempty"`
	Why       string              `json:"why,omitempty"` // it is no proposal that can be taken
	reply     caxton.Message
}

// contractNetResult is the Data of contract_net.
type contractNetResult struct {
	ConversationID caxton.ConversationID `json:"conversation_id"`
	Winner         string                `json:"winner,omitempty"`
	Outcome        caxton.Performative   `json:"outcome,omitempty"` // what the winner answered in the end
	Result         json.RawMessage       `json:"result,omitempty"`
	Bids           []bid                 `json:"bids"`
}

func newContractNet(d desk) (tool.Tool, error) {
	s, err := spec[contractNetArgs]("contract_net",
		"Have a task done by the best of several agents: all that have the capability are asked for proposals, "+
			"the best proposal is accepted and the others are rejected, and the result of the winner is returned.",
		func(p map[string]*jsonschema.Schema) {
			*p["task"] = jsonschema.Schema{Description: p["task"].Description}
			p["capability"].MinLength, p["capability"].MaxLength = new(1), new(100)
			p["prefer"].Enum = []any{"lowest", "highest"}
			p["limit"].Types, p["limit"].Type = nil, "number"
		})
	return &contractNet{d, s}, err
}

// Spec describes the tool.
func (n *contractNet) Spec() tool.Spec { return n.spec }

// Call runs the protocol from the start, or from where an earlier run of this call left it:
// messages that were sent are not sent again.
func (n *contractNet) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	var a contractNetArgs
	if err := decode(n.spec.Name, c.Args, &a); err != nil {
		return tool.Result{}, err
	}
	bids, out, err := n.propose(ctx, &a, &c)
	if err != nil {
		return tool.Result{}, err
	}
	winner := choose(bids, &a)
	out.Bids = bids
	if winner < 0 {
		if err := n.reject(ctx, &c, out, -1); err != nil {
			return tool.Result{}, err
		}
		return n.result(out)
	}
	w := &bids[winner]
	timeout, err := duration(a.Timeout, defaultTimeout)
	if err != nil {
		return tool.Result{}, err
	}
	accept := n.decision(&c, out, w, caxton.AcceptProposal)
	accept.ReplyBy = n.cfg.Now().Add(timeout)
	rc, err := n.send(ctx, accept)
	if err != nil {
		return tool.Result{}, err
	}
	if err := n.reject(ctx, &c, out, winner); err != nil {
		return tool.Result{}, err
	}
	st, err := n.mail.Status(ctx, rc.MessageID)
	if err != nil {
		return tool.Result{}, err
	}
	answers, waits, err := n.await(ctx, []caxton.MessageID{rc.MessageID}, st.Message.ReplyBy)
	if err != nil {
		return tool.Result{}, err
	}
	if len(waits) > 0 && n.cfg.Now().Before(st.Message.ReplyBy) {
		return tool.Result{}, park(earlier(n.cfg.Now().Add(n.cfg.Look), st.Message.ReplyBy), "it waits for "+w.Agent+" to do what it proposed", waits...)
	}
	out.Winner, out.Outcome = w.Agent, caxton.Failure
	out.Result = caxton.TextContent("there was no answer in time")
	if ans, ok := answers[rc.MessageID]; ok && ans.err == nil {
		out.Outcome, out.Result = ans.reply.Performative, ans.reply.Content
	}
	return n.result(out)
}

// propose calls for proposals and gathers them until all have answered or the deadline has
// passed.
func (n *contractNet) propose(ctx context.Context, a *contractNetArgs, c *tool.Call) ([]bid, *contractNetResult, error) {
	within, err := duration(a.Deadline, 30*time.Second)
	if err != nil {
		return nil, nil, err
	}
	cfp := fromAgent(c, "cfp")
	if cfp.Capability, err = caxton.ParseCapability(a.Capability); err != nil {
		return nil, nil, err
	}
	cfp.Performative, cfp.Protocol, cfp.Content = caxton.CFP, "fipa-contract-net", a.Task
	cfp.Strategy, cfp.ReplyBy = caxton.Broadcast, n.cfg.Now().Add(within)
	rc, err := n.send(ctx, cfp)
	if err != nil {
		return nil, nil, err
	}
	st, err := n.mail.Status(ctx, rc.MessageID) // an earlier run of this call may have sent it, with its deadline
	if err != nil {
		return nil, nil, err
	}
	deadline := st.Message.ReplyBy
	receipts := append([]caxton.Receipt{rc}, rc.Others...)
	ids := make([]caxton.MessageID, len(receipts))
	bids := make([]bid, len(receipts))
	for i, r := range receipts {
		ids[i] = r.MessageID
		bids[i] = bid{Agent: cmp.Or(r.Agent, string(r.AgentID)), AgentID: r.AgentID, MessageID: r.MessageID}
	}
	answers, waits, err := n.await(ctx, ids, deadline)
	if err != nil {
		return nil, nil, err
	}
	if len(waits) > 0 && n.cfg.Now().Before(deadline) {
		return nil, nil, park(earlier(n.cfg.Now().Add(n.cfg.Look), deadline), "it waits for proposals of "+names(receipts, waits), waits...)
	}
	for i := range bids {
		bids[i].take(answers, a, deadline)
	}
	return bids, &contractNetResult{ConversationID: rc.ConversationID}, nil
}

// take notes a bidder's answer.
func (b *bid) take(answers map[caxton.MessageID]answer, a *contractNetArgs, deadline time.Time) {
	ans, ok := answers[b.MessageID]
	switch {
	case !ok:
		b.Why = "no answer before the deadline"
		return
	case ans.err != nil:
		b.Why = "no answer"
		return
	}
	b.reply, b.Answer, b.Content = ans.reply, ans.reply.Performative, ans.reply.Content
	switch {
	case b.Answer != caxton.Propose:
		b.Why = "it did not propose"
	case b.reply.CreatedAt.After(deadline):
		b.Why = "it came after the deadline"
	case a.Field != "":
		b.value(a)
	}
}

// value reads the field that decides.
func (b *bid) value(a *contractNetArgs) {
	v, ok := field(b.Content, a.Field)
	switch {
	case !ok:
		b.Why = fmt.Sprintf("the proposal has no number %q", a.Field)
	case a.Limit != nil && (a.Prefer == "highest" && v < *a.Limit || a.Prefer != "highest" && v > *a.Limit):
		b.Value, b.Why = &v, "beyond the limit"
	default:
		b.Value = &v
	}
}

// field returns a number out of a proposal: of an object, or of a text that is one.
func field(content json.RawMessage, name string) (float64, bool) {
	var text string
	if json.Unmarshal(content, &text) == nil {
		content = json.RawMessage(text)
	}
	var o map[string]any
	if json.Unmarshal(content, &o) != nil {
		return 0, false
	}
	v, ok := o[name].(float64)
	return v, ok
}

// choose returns the position of the best proposal, or -1. Among equals the earlier wins.
func choose(bids []bid, a *contractNetArgs) int {
	best := -1
	for i := range bids {
		b := &bids[i]
		if b.Answer != caxton.Propose || b.Why != "" {
			continue
		}
		if best < 0 || better(b, &bids[best], a) {
			best = i
		}
	}
	return best
}

func better(b, than *bid, a *contractNetArgs) bool {
	if a.Field != "" && *b.Value != *than.Value {
		return (*b.Value < *than.Value) != (a.Prefer == "highest")
	}
	return b.reply.CreatedAt.Before(than.reply.CreatedAt)
}

// decision is the initiator's word on a proposal.
func (n *contractNet) decision(c *tool.Call, out *contractNetResult, b *bid, p caxton.Performative) caxton.Message {
	m := fromAgent(c, string(p)+":"+string(b.AgentID))
	m.ConversationID, m.Performative, m.Protocol = out.ConversationID, p, "fipa-contract-net"
	m.Receiver, m.InReplyTo, m.Content = string(b.AgentID), string(b.reply.ID), b.Content
	return m
}

// reject tells all who proposed and did not win. One that cannot be told is passed over: it
// waits for nothing.
func (n *contractNet) reject(ctx context.Context, c *tool.Call, out *contractNetResult, winner int) error {
	for i := range out.Bids {
		b := &out.Bids[i]
		if i == winner || b.Answer != caxton.Propose {
			continue
		}
		_, err := n.send(ctx, n.decision(c, out, b, caxton.RejectProposal))
		if _, parked := errors.AsType[*caxton.Parked](err); parked || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

func (n *contractNet) result(out *contractNetResult) (tool.Result, error) {
	slices.SortStableFunc(out.Bids, func(a, b bid) int { return cmp.Compare(a.Agent, b.Agent) })
	data, err := json.Marshal(out)
	if err != nil {
		return tool.Result{}, fmt.Errorf("encoding the result: %w", err)
	}
	var s strings.Builder
	if out.Winner == "" {
		fmt.Fprintf(&s, "Nobody made a proposal that can be taken.\n")
	} else {
		fmt.Fprintf(&s, "%s won (%s): %s\n", out.Winner, out.Outcome, (&caxton.Message{Content: out.Result}).Text())
	}
	for _, b := range out.Bids {
		fmt.Fprintf(&s, "- %s: ", b.Agent)
		if b.Answer != "" {
			fmt.Fprintf(&s, "%s %s", b.Answer, (&caxton.Message{Content: b.Content}).Text())
		}
		if b.Why != "" {
			fmt.Fprintf(&s, " [%s]", b.Why)
		}
		s.WriteByte('\n')
	}
	return tool.Result{Text: s.String(), Data: data}, nil
}

func duration(s string, standard time.Duration) (time.Duration, error) {
	if s == "" {
		return standard, nil
	}
	d, err := caxton.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, caxton.Errorf(caxton.Invalid, "arguments_invalid", "%q is not a duration above 0", s).WithHint("write it like 30s or 2h")
	}
	return d, nil
}
