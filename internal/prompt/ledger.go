package prompt

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/caxton/caxton/internal/tool"
)

// past is what earlier attempts at the turn left in the log.
type past struct {
	models    map[int]caxton.ModelCalledBody
	intents   map[string]caxton.ToolIntendedBody // by call ID
	returns   map[string]caxton.ToolReturnedBody // by call ID
	effects   map[string]caxton.Decision         // by idempotency key: what a person said of a call of unknown outcome
	approvals map[string]approvalState           // by ID of the ticket
	reserved  map[string]caxton.Reservation      // held back and not booked
	recalled  *caxton.MemoryRecalledBody         // what the agent remembered, or nil
	written   bool                               // what was said is remembered
}

// An approvalState is where an approval stands, as far as the log tells.
type approvalState struct {
	state   caxton.TicketState
	expires time.Time
	by      string // who closed it
	reason  string
}

// newPast reads the records of earlier attempts. A record that cannot be read is an error:
// a turn that went on without it could do a second time what the record tells of.
func newPast(records []caxton.Record) (past, error) {
	p := past{
		models: map[int]caxton.ModelCalledBody{}, intents: map[string]caxton.ToolIntendedBody{}, returns: map[string]caxton.ToolReturnedBody{},
		effects: map[string]caxton.Decision{}, approvals: map[string]approvalState{}, reserved: map[string]caxton.Reservation{},
	}
	for _, r := range records {
		if err := p.add(r); err != nil {
			return p, caxton.Errorf(caxton.Internal, "journal_unreadable", "record %d of conversation %s cannot be read", r.Seq, r.ConversationID).
				WithHint("the turn stops, because going on could repeat an effect; check the database").WithCause(err)
		}
	}
	return p, nil
}

func (p *past) add(r caxton.Record) error {
	switch r.Kind {
	case caxton.RecordModelCalled:
		var b caxton.ModelCalledBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		if b.Useful() {
			p.models[b.Step] = b
		}
	case caxton.RecordToolIntended:
		var b caxton.ToolIntendedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		p.intents[b.CallID] = b
		delete(p.effects, b.Key) // it ran again after the decision
	case caxton.RecordToolReturned:
		var b caxton.ToolReturnedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		if b.NotRun { // as if it had not been intended
			delete(p.intents, b.CallID)
			return nil
		}
		p.returns[b.CallID] = b
	case caxton.RecordApprovalAsked:
		var b caxton.ApprovalAskedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		p.approvals[b.Ticket.ID] = approvalState{state: caxton.ApprovalPending, expires: b.Ticket.ExpiresAt}
	case caxton.RecordDecided:
		var b caxton.DecidedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		p.decided(&b)
	case caxton.RecordReopened: // the last answer led nowhere: the model is asked again
		for step, b := range p.models {
			if len(b.ToolCalls) == 0 {
				delete(p.models, step)
			}
		}
		for id, a := range p.approvals { // what nobody decided is asked for again
			if a.state == caxton.ApprovalExpired || a.state == caxton.ApprovalWithdrawn {
				delete(p.approvals, id)
			}
		}
	case caxton.RecordBudgetReserved:
		var b caxton.BudgetReservedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		p.reserved[b.ID] = b.Reservation
	case caxton.RecordBudgetSettled:
		var b caxton.BudgetSettledBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		delete(p.reserved, b.ID)
	case caxton.RecordMemoryRecalled:
		p.recalled = new(caxton.MemoryRecalledBody)
		return json.Unmarshal(r.Body, p.recalled)
	case caxton.RecordMemoryWritten:
		p.written = true
	case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordSettled, caxton.RecordCancelAsked, caxton.RecordParked,
		caxton.RecordForked, caxton.RecordArchived:
	}
	return nil
}

func (p *past) decided(b *caxton.DecidedBody) {
	switch b.Kind {
	case caxton.Effect:
		if b.Call != nil {
			p.effects[b.Call.Key] = b.Decision
		}
	case caxton.Approval:
		a := p.approvals[b.ID]
		a.state, a.by, a.reason = b.State, b.Decision.By, b.Decision.Reason
		p.approvals[b.ID] = a
	case caxton.DeadLetter:
	}
}

// tools runs the calls of one step side by side and returns their results in order. Each is
// in the log before it runs and after it returned.
func (t *turnState) tools(ctx context.Context, step int, calls []llm.ToolCall) ([]llm.Message, error) {
	intents := make([]caxton.ToolIntendedBody, len(calls))
	for i, c := range calls {
		intents[i] = t.intent(step, c)
		if old, ok := t.past.intents[c.ID]; ok {
			intents[i] = old
		}
	}
	if err := t.settleOpen(ctx, intents); err != nil {
		return nil, err
	}
	if err := t.approveCalls(ctx, intents); err != nil {
		return nil, err
	}
	held, err := t.reserveTools(ctx, intents)
	if err != nil {
		return nil, err
	}
	var fresh []caxton.Record
	for _, b := range intents {
		if _, returned := t.past.returns[b.CallID]; returned {
			continue
		}
		if _, known := t.past.intents[b.CallID]; known && t.past.effects[b.Key].State != caxton.EffectRetry {
			continue
		}
		r, err := t.record(caxton.RecordToolIntended, b)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, r)
	}
	if len(fresh) > 0 {
		if err := t.a.h.log.Append(ctx, fresh...); err != nil {
			return nil, err
		}
	}
	results := make([]llm.Message, len(calls))
	errs := make([]error, len(calls))
	slots := make(chan struct{}, t.a.h.cfg.ParallelCalls)
	var wg sync.WaitGroup
	for i := range calls {
		if t.a.tools.Waits(intents[i].Tool) {
			wg.Go(func() { results[i], errs[i] = t.call(ctx, intents[i], held[i]) })
		}
	}
	for i := range calls {
		if t.a.tools.Waits(intents[i].Tool) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			results[i], errs[i] = t.call(ctx, intents[i], held[i])
		})
	}
	wg.Wait()
	return results, joined(errs)
}

// joined returns one error for those of a step. Calls of unknown outcome are gathered in
// one error, which goes before all others: a person has to know of each.
func joined(errs []error) error {
	var open []caxton.ToolCallRef
	for _, err := range errs {
		if u, ok := errors.AsType[*caxton.UnknownEffects](err); ok {
			open = append(open, u.Calls...)
		}
	}
	if len(open) > 0 {
		return unknown(open)
	}
	return waiting(errs)
}

// waiting returns one error for those of a step, of which the calls that wait for messages
// make one: the turn goes on when any of them is settled.
func waiting(errs []error) error {
	var all caxton.Parked
	var first error
	others := errs[:0:0]
	for _, err := range errs {
		p, ok := errors.AsType[*caxton.Parked](err)
		if !ok {
			others = append(others, err)
			continue
		}
		first = cmp.Or(first, err)
		all.Settles = append(all.Settles, p.Settles...)
		if all.Until.IsZero() || p.Until.Before(all.Until) {
			all.Until, all.Reason = p.Until, p.Reason
		}
	}
	if err := errors.Join(others...); err != nil || first == nil {
		return err
	}
	return caxton.Errorf(caxton.Unavailable, "waiting", "%s", all.Reason).WithCause(&all)
}

// unknown is the error of a turn that cannot go on before somebody has looked.
func unknown(calls []caxton.ToolCallRef) error {
	u := &caxton.UnknownEffects{Calls: calls}
	return caxton.Errorf(caxton.Conflict, "effect_unknown", "nobody knows whether these took effect: %s", u.Names()).
		WithHint("look at what they were to do, then say so with: caxton effects resolve %s --done, --retry or --fail", calls[0].Key).WithCause(u)
}

// intent returns the ledger's entry for a call about to run.
func (t *turnState) intent(step int, c llm.ToolCall) caxton.ToolIntendedBody {
	sum := sha256.Sum256(c.Arguments)
	key := sha256.Sum256(fmt.Appendf(nil, "%s:%d", t.turn.Message.ID, t.calls))
	t.calls++
	return caxton.ToolIntendedBody{
		Step: step, CallID: c.ID, Tool: c.Name, Arguments: c.Arguments, ArgsHash: hex.EncodeToString(sum[:]),
		Key: hex.EncodeToString(key[:16]), Idempotent: t.a.tools.IdempotentCall(c.Name, c.Arguments),
	}
}

// settleOpen looks at the calls that were begun by an earlier attempt and have no result: a
// person has said what became of them, the tool can tell, or they may be repeated. The rest
// are of unknown outcome, which ends the turn.
func (t *turnState) settleOpen(ctx context.Context, intents []caxton.ToolIntendedBody) error {
	var open []caxton.ToolCallRef
	for i := range intents {
		b := &intents[i]
		_, begun := t.past.intents[b.CallID]
		_, returned := t.past.returns[b.CallID]
		if !begun || returned {
			continue
		}
		r, known, err := t.clear(ctx, b)
		if err != nil {
			return err
		}
		switch {
		case !known:
			open = append(open, *b.Ref())
		case r != nil:
			if err := t.append(ctx, caxton.RecordToolReturned, *r); err != nil {
				return err
			}
			t.past.returns[b.CallID] = *r
		}
	}
	if len(open) > 0 {
		return unknown(open)
	}
	return nil
}

// clear finds out about one call that was begun: its result, or nil when it is to run again;
// known is false when nobody can tell.
func (t *turnState) clear(ctx context.Context, b *caxton.ToolIntendedBody) (result *caxton.ToolReturnedBody, known bool, err error) {
	r := &caxton.ToolReturnedBody{CallID: b.CallID, Tool: b.Tool}
	if d, decided := t.past.effects[b.Key]; decided {
		switch d.State { //nolint:exhaustive // the other states are not for effects
		case caxton.EffectDone:
			r.Text = "The call took effect."
			if len(d.Result) > 0 {
				r.Data, r.Text = d.Result, (&caxton.Message{Content: d.Result}).Text()
			}
			return r, true, nil
		case caxton.EffectFailed:
			r.IsError, r.Text = true, "the call did not succeed: "+cmp.Or(d.Reason, "an operator says so")
			return r, true, nil
		case caxton.EffectRetry:
			return nil, true, nil
		default: // no other decision closes an effect
			return nil, false, nil
		}
	}
	if b.Idempotent {
		return nil, true, nil
	}
	if !t.a.tools.Reconciles(b.Tool) {
		return nil, false, nil
	}
	res, happened, err := t.a.tools.Reconcile(ctx, b.Tool, t.toolCall(b))
	switch {
	case err != nil:
		t.a.h.cfg.Logger.WarnContext(ctx, "lost call not reconciled", "agent", t.a.slug, "message_id", t.turn.Message.ID, "tool", b.Tool, "error", err)
		return nil, false, nil // it is for a person to tell
	case !happened:
		return nil, true, nil
	}
	return t.returned(ctx, b, res)
}

// returned makes the record of a result, and keeps its body.
func (t *turnState) returned(ctx context.Context, b *caxton.ToolIntendedBody, res tool.Result) (*caxton.ToolReturnedBody, bool, error) {
	r := &caxton.ToolReturnedBody{CallID: b.CallID, Tool: b.Tool, Text: res.Text, Data: res.Data, MediaType: res.MediaType}
	if res.Body != nil {
		var err error
		if r.BlobHash, err = t.a.h.log.PutBlob(ctx, res.Body, res.MediaType); err != nil {
			return nil, false, err
		}
	}
	return r, true, nil
}

func (t *turnState) toolCall(b *caxton.ToolIntendedBody) tool.Call {
	return tool.Call{
		ID: b.CallID, Args: b.Arguments, AgentID: t.turn.Agent.ID, Agent: t.a.slug, Key: b.Key, Message: t.turn.Message, Results: t,
	}
}

// call returns the recorded result of a call, or runs it and records its result. A tool
// that fails is an answer to the model; the error is only for what stops the turn.
func (t *turnState) call(ctx context.Context, b caxton.ToolIntendedBody, held reservation) (llm.Message, error) {
	if r, ok := t.past.returns[b.CallID]; ok {
		t.keep(&r)
		return toolMessage(r), nil
	}
	h := t.a.h
	if ctx.Err() != nil {
		return t.notRun(ctx, &b, held)
	}
	within, cancel := held.within(ctx)
	defer cancel()
	start := time.Now()
	label := t.a.label(b.Tool)
	within, span := telemetry.Start(within, telemetry.Internal, "execute_tool", label)
	if span.Recorded() {
		span.Set(
			telemetry.Str("gen_ai.operation.name", "execute_tool"),
			telemetry.Str("gen_ai.tool.name", label),
			telemetry.Str("gen_ai.tool.call.id", b.CallID),
		)
	}
	res, err := t.a.tools.Call(within, b.Tool, t.toolCall(&b))
	took := time.Since(start)
	span.End(err)
	switch {
	case errors.Is(err, errCut):
		return llm.Message{}, err
	case errors.Is(err, errNotRun):
		return t.notRun(ctx, &b, held)
	}
	status := "ok"
	if err != nil {
		status = "error"
	}
	h.metrics.tool(label, status, took)
	h.cfg.Logger.InfoContext(ctx, "tool called", "agent", t.a.slug, "agent_id", t.turn.Agent.ID, "message_id", t.turn.Message.ID,
		"conversation_id", t.turn.Message.ConversationID, "tool", b.Tool, "status", status, "duration", took)
	if _, parked := errors.AsType[*caxton.Parked](err); parked { // it waits: it runs again, under the same key
		return llm.Message{}, errors.Join(err, t.book(ctx, held, held.waitCost(took)))
	}
	if err != nil && ctx.Err() != nil { // what came of it is not known: the intent stays open
		return llm.Message{}, t.lost(ctx, &b, caxton.Errorf(caxton.Timeout, "turn_timeout", "the turn ended while the tool %s ran", b.Tool).WithCause(ctx.Err()))
	}
	if err != nil && !b.Idempotent && tool.IsUncertain(err) {
		return llm.Message{}, unknown([]caxton.ToolCallRef{*b.Ref()})
	}
	ctx = context.WithoutCancel(ctx) // it happened: that goes into the log even when the turn's time is over
	r := &caxton.ToolReturnedBody{CallID: b.CallID, Tool: b.Tool, IsError: true}
	if err != nil {
		r.Text = errorText(err)
	} else if r, _, err = t.returned(ctx, &b, res); err != nil {
		return llm.Message{}, t.lost(ctx, &b, err)
	}
	r.Millis = took.Milliseconds()
	t.keep(r)
	rec, err := t.record(caxton.RecordToolReturned, r)
	if err != nil {
		return llm.Message{}, t.lost(ctx, &b, err)
	}
	if err := t.book(ctx, held, held.toolCost(took), rec); err != nil {
		return llm.Message{}, t.lost(ctx, &b, err)
	}
	return toolMessage(*r), nil
}

// notRun records that a call was not made because the turn ended while it waited for others
// of its step: nothing came of it, whoever settles the message now.
func (t *turnState) notRun(ctx context.Context, b *caxton.ToolIntendedBody, held reservation) (llm.Message, error) {
	rec, err := t.record(caxton.RecordToolReturned, caxton.ToolReturnedBody{
		CallID: b.CallID, Tool: b.Tool, IsError: true, NotRun: true, Text: "the turn ended before the call was made",
	})
	if err == nil {
		err = t.book(context.WithoutCancel(ctx), held, held.waitCost(0), rec)
	}
	if err != nil {
		return llm.Message{}, t.lost(ctx, b, err)
	}
	return llm.Message{}, caxton.Errorf(caxton.Timeout, "turn_timeout", "the turn ended before the tool %s ran", b.Tool).WithCause(ctx.Err())
}

// lost is the error of a call that has begun and whose result is not in the log, because of
// err. When another try can find out about the call it is err. Else it is for a person to do
// so, and no try that may never come is waited for: it could be the last one, or called off.
func (t *turnState) lost(ctx context.Context, b *caxton.ToolIntendedBody, err error) error {
	if b.Idempotent || t.a.tools.Reconciles(b.Tool) {
		return err
	}
	t.a.h.cfg.Logger.WarnContext(ctx, "result of a call lost", "agent", t.a.slug, "message_id", t.turn.Message.ID, "tool", b.Tool, "error", err)
	return unknown([]caxton.ToolCallRef{*b.Ref()})
}
