package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/telemetry"
)

// maxLost is how many leases of a message may end without a word in the log, beyond those
// that it is tried: the server went down each time, perhaps because of the message.
const maxLost = 10

// work handles one leased message and ends the lease. turns is the context of all turns, after
// is the same and does not end.
func (r *runner) work(turns, after context.Context, l *caxton.Lease) {
	r.mu.Lock()
	a := r.agent
	if l.Version == 0 || a.IsWithdrawn(l.Version) { // withdrawn since the message was accepted
		l.Version = a.VersionFor(l.Message.ConversationID)
	}
	limits := a.Definition.Performance
	if b, ok := r.handlers[l.Version]; ok {
		limits = b.version.Definition.Performance
	}
	r.tallies.began(a.Rollout, l.Version)
	r.mu.Unlock()
	timeout := cmp.Or(limits.RequestTimeout, r.s.cfg.ExecutionTimeout)
	deadline := time.Now().Add(timeout)
	if by := l.Deadline(); !by.IsZero() && by.Before(deadline) {
		deadline = by
	}
	begun, span := r.span(turns, &a, l)
	if r.s.cfg.Tracer.On() {
		after = telemetry.Carry(after, begun)
	}
	ctx := limit(begun, deadline)
	defer ctx.cancel()
	if l.Cancel != nil {
		l.Cancel.Notify(ctx.cancel)
	}
	start := r.s.cfg.Now()
	if l.Attempt-l.Parked > r.s.cfg.MaxAttempts+maxLost {
		err := caxton.Errorf(caxton.Internal, "attempts_exhausted", "the server went down %d times while the agent handled the message", l.Attempt-l.Parked-1).
			WithHint("the server's log may say why; replay the dead letter to try again")
		r.finish(after, &a, l, nil, nil, err)
		span.End(err)
		r.account(&a, l, start, outcome{err: err})
		return
	}
	var seen *caxton.ModuleTurn
	if a.Type == caxton.WASMAgent || l.Version != a.Version {
		seen = &caxton.ModuleTurn{}
	}
	outputs, panicked, err := r.turn(ctx, &a, l, seen) //nolint:contextcheck // it comes from turns
	if turns.Err() != nil {
		r.s.source.Abandon(*l) // stopping: the message is handed out again after the restart
		span.Str(outcomeKey, "abandoned")
		span.End(err)
		return
	}
	if _, unknown := errors.AsType[*caxton.UnknownEffects](err); err != nil && ctx.Err() != nil && !panicked && (!unknown || l.Cancelled()) {
		err = r.cut(l, timeout, err)
	}
	r.finish(after, &a, l, outputs, seen, err)
	span.End(err)
	r.account(&a, l, start, outcome{outputs, panicked, err})
	if err == nil {
		r.offerShadow(&a, l, outputs, seen)
	}
}

// outcomeKey is the attribute of a turn's span that tells how it ended: done, failed, unknown,
// cancelled, parked, retried or abandoned.
const outcomeKey = "caxton.turn.outcome"

// span begins the span of one attempt at a message. It is part of the trace that the message
// carries.
func (r *runner) span(turns context.Context, a *caxton.Agent, l *caxton.Lease) (context.Context, telemetry.Span) {
	ctx, s := r.s.cfg.Tracer.Start(turns, telemetry.Handling, "invoke_agent", a.Slug, l.Message.TraceParent)
	if s.Recorded() {
		s.Set(
			telemetry.Str("gen_ai.operation.name", "invoke_agent"),
			telemetry.Str("gen_ai.agent.id", string(a.ID)),
			telemetry.Str("gen_ai.agent.name", a.Slug),
			telemetry.Int("gen_ai.agent.version", l.Version),
			telemetry.Str("gen_ai.conversation.id", string(l.Message.ConversationID)),
			telemetry.Str("messaging.system", "caxton"),
			telemetry.Str("messaging.operation.type", "process"),
			telemetry.Str("messaging.message.id", string(l.Message.ID)),
			telemetry.Str("caxton.message.performative", string(l.Message.Performative)),
			telemetry.Int("caxton.turn.attempt", l.Attempt),
			telemetry.Float("caxton.turn.waited_seconds", r.s.cfg.Now().Sub(l.Message.CreatedAt).Seconds()),
		)
	}
	return ctx, s
}

// An outcome is how a turn ended.
type outcome struct {
	outputs  []caxton.Message
	panicked bool
	err      error
}

// cut says why a turn was cut off.
func (r *runner) cut(l *caxton.Lease, timeout time.Duration, err error) error {
	switch {
	case l.Cancelled():
		return caxton.Errorf(caxton.Canceled, "cancelled", "the message was called off").WithCause(err)
	case r.expired(l):
		return caxton.Errorf(caxton.Timeout, "reply_by_passed", "the agent did not answer before reply_by").
			WithHint("give a later reply_by, or none").WithCause(err)
	}
	return caxton.Errorf(caxton.Timeout, "turn_timeout", "the agent did not answer within %s", timeout).WithCause(err)
}

// expired reports whether the time for an answer is over.
func (r *runner) expired(l *caxton.Lease) bool {
	by := l.Deadline()
	return !by.IsZero() && !r.s.cfg.Now().Before(by)
}

// turn calls the handler and turns a panic into an error.
func (r *runner) turn(ctx context.Context, a *caxton.Agent, l *caxton.Lease, seen *caxton.ModuleTurn) (outputs []caxton.Message, panicked bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked = true
			r.s.metrics.panics.Inc()
			r.s.cfg.Logger.ErrorContext(ctx, "agent panicked", "agent", a.Slug, "agent_id", a.ID,
				"message_id", l.Message.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = caxton.Errorf(caxton.Internal, "agent_panicked", "the agent broke down on this message").
				WithHint("the server's log has the stack")
		}
	}()
	b, err := r.bind(ctx, l.Version)
	if caxton.KindOf(err) == caxton.NotFound { // the pinned version is gone
		l.Version = a.Version
		b, err = r.bind(ctx, l.Version)
	}
	if err != nil {
		return nil, false, err
	}
	t := caxton.Turn{Message: l.Message, Agent: *a, Version: b.version, Attempt: l.Attempt, Module: seen}
	if l.Resumed {
		if t.Past, err = r.s.source.Past(ctx, *l); err != nil {
			return nil, false, err
		}
		if l.Cancel != nil && calledOff(t.Past) { // and the process died before that was done
			l.Cancel.Call()
			return nil, false, caxton.Errorf(caxton.Canceled, "cancelled", "the message was called off")
		}
	}
	outputs, err = b.handler.Handle(ctx, t)
	return outputs, false, err
}

// calledOff reports whether the records of a message tell that it was called off, and not
// sent back to work since.
func calledOff(past []caxton.Record) bool {
	off := false
	for i := range past {
		switch past[i].Kind { //nolint:exhaustive // no other kind has to do with it
		case caxton.RecordCancelAsked:
			off = true
		case caxton.RecordReopened:
			off = false
		}
	}
	return off
}

// finish ends the lease: settled with the outputs, or released for another try, or given up
// with a failure reply.
func (r *runner) finish(ctx context.Context, a *caxton.Agent, l *caxton.Lease, outputs []caxton.Message, seen *caxton.ModuleTurn, err error) {
	s := caxton.Settlement{Lease: *l, Outcome: caxton.OutcomeDone}
	if seen != nil && (seen.State != "" || !seen.Clock.IsZero()) {
		s.Module = seen
	}
	if len(outputs) > 0 {
		s.Outputs = make([]caxton.Delivery, len(outputs))
	}
	for i := range outputs {
		s.Outputs[i].Message = outputs[i]
	}
	if err != nil {
		log := r.s.cfg.Logger.With("agent", a.Slug, "agent_id", a.ID, "message_id", l.Message.ID,
			"conversation_id", l.Message.ConversationID, "attempt", l.Attempt)
		if r.putBack(ctx, log, l, err) {
			return
		}
		s.Outcome, s.Error, s.Code = caxton.OutcomeFailed, publicMessage(err), code(err)
		u, unknown := errors.AsType[*caxton.UnknownEffects](err)
		if unknown {
			s.Tickets = r.effects(a, l, u)
		}
		switch {
		case l.Cancelled():
			s.Outcome = caxton.OutcomeCancelled // what is unknown is to be found out all the same
		case unknown, effectUnknown(err):
			s.Outcome = caxton.OutcomeUnknown
		}
		if s.Outcome == caxton.OutcomeCancelled {
			log.InfoContext(ctx, "turn called off")
		} else {
			log.ErrorContext(ctx, "turn failed", "error", err)
			s.Outputs = []caxton.Delivery{{Message: l.Message.Reply(caxton.Failure, failureContent(err))}}
		}
	}
	if r.s.cfg.Tracer.On() { // what is said is part of this turn
		parent := telemetry.TraceParent(ctx)
		for i := range s.Outputs {
			s.Outputs[i].Message.TraceParent = parent
		}
		telemetry.Current(ctx).Str(outcomeKey, string(s.Outcome))
	}
	if serr := r.s.source.Settle(ctx, s); serr != nil {
		r.s.cfg.Logger.ErrorContext(ctx, "message not settled", "agent", a.Slug, "message_id", l.Message.ID, "error", serr)
		telemetry.Current(ctx).Str(outcomeKey, "abandoned")
		r.s.source.Abandon(*l) // the journal could not be written: handed out again after the restart
	}
}

// putBack ends the lease of a turn that will go on: parked until a decision, or released for
// another try. It reports false when the message is to be given up.
func (r *runner) putBack(ctx context.Context, log *slog.Logger, l *caxton.Lease, err error) bool {
	var perr error
	p, parked := errors.AsType[*caxton.Parked](err)
	expired := r.expired(l)
	_, unknown := errors.AsType[*caxton.UnknownEffects](err)
	switch {
	case l.Cancelled():
		return false
	case parked && !expired:
		log.InfoContext(ctx, "turn parked", "until", p.Until, "reason", p.Reason)
		telemetry.Current(ctx).Str(outcomeKey, "parked")
		perr = r.s.source.Park(ctx, *l, *p)
	case !unknown && !expired && retryable(err) && l.Attempt-l.Parked < r.s.cfg.MaxAttempts:
		delay := r.pause(l.Attempt - l.Parked)
		log.WarnContext(ctx, "turn failed, will be tried again", "delay", delay, "error", err)
		telemetry.Current(ctx).Str(outcomeKey, "retried")
		perr = r.s.source.Release(ctx, *l, publicMessage(err), delay)
	default:
		return false
	}
	if perr != nil {
		log.ErrorContext(ctx, "lease not given back", "error", perr)
		telemetry.Current(ctx).Str(outcomeKey, "abandoned")
		r.s.source.Abandon(*l)
	}
	return true
}

// effects makes the tickets of calls whose outcome a person has to find out.
func (r *runner) effects(a *caxton.Agent, l *caxton.Lease, u *caxton.UnknownEffects) []caxton.Ticket {
	ts := make([]caxton.Ticket, 0, len(u.Calls))
	for i := range u.Calls {
		ts = append(ts, caxton.Ticket{
			Kind: caxton.Effect, ID: u.Calls[i].Key, State: caxton.EffectUnknown, ConversationID: l.Message.ConversationID,
			MessageID: l.Message.ID, AgentID: a.ID, Agent: a.Slug, OpenedAt: r.s.cfg.Now(), Attempts: l.Attempt, Call: &u.Calls[i],
			Reason: "the server or the tool stopped before the result was known",
		})
	}
	return ts
}

// pause returns the time before the next try: exponential, with full jitter in its upper half.
func (r *runner) pause(attempt int) time.Duration {
	d := r.s.cfg.RetryInitial << (attempt - 1)
	if d <= 0 || d > r.s.cfg.RetryMax {
		d = r.s.cfg.RetryMax
	}
	return d/2 + time.Duration(r.s.cfg.Jitter()*float64(d/2))
}

// account counts a turn, and fails the agent after too many in a row that broke down.
func (r *runner) account(a *caxton.Agent, l *caxton.Lease, start time.Time, o outcome) {
	now := r.s.cfg.Now()
	err := o.err
	broke := o.panicked || brokeDown(err)
	r.s.metrics.latency.Observe(now.Sub(start).Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tallies.ended(a.Rollout, l.Version, now.Sub(start), err != nil || answersFailure(o.outputs), broke, err)
	r.lastWork = now
	r.recent.add(now.Sub(start))
	if _, parked := errors.AsType[*caxton.Parked](err); parked { // it goes on later
		r.s.metrics.turns.WithLabelValues("parked").Inc()
		return
	}
	if err != nil {
		r.failed++
		r.note(err)
		r.s.metrics.turns.WithLabelValues("error").Inc()
	} else {
		r.handled++
		r.s.metrics.turns.WithLabelValues("ok").Inc()
	}
	if r.onTrial(l.Version) {
		return // a rollout judges it, and the version that is good goes on
	}
	switch {
	case broke:
		if r.streak++; r.streak >= r.s.cfg.BreakerFailures && r.state == caxton.AgentRunning {
			r.failLocked()
			r.poke()
		}
	case err == nil:
		r.streak, r.backoff = 0, 0
	}
}

// onTrial reports whether a version is one that a rollout brings in, or has withdrawn. r.mu is
// held.
func (r *runner) onTrial(version int) bool {
	ro := r.agent.Rollout
	return ro != nil && version == ro.To && ro.State != caxton.RolloutCompleted
}

// brokeDown reports whether a turn failed in a way that says something of the agent rather
// than of its message or of a model provider, which has a breaker of its own.
func brokeDown(err error) bool {
	return caxton.KindOf(err) == caxton.Internal || code(err) == "turn_timeout"
}

// publicMessage returns what of err may be shown: an Error's message and hint, or a general
// sentence, because anything else could hold secrets.
func publicMessage(err error) string {
	var e *caxton.Error
	if !errors.As(err, &e) {
		return "the agent failed; the server's log says why"
	}
	if e.Hint != "" {
		return e.Message + " (" + e.Hint + ")"
	}
	return e.Message
}

func code(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Code
	}
	return "internal"
}

// failureContent is the content of a failure reply: what went wrong, and what to do.
func failureContent(err error) json.RawMessage {
	body := struct {
		Type        string   `json:"type"`
		Details     string   `json:"details"`
		Suggestions []string `json:"recovery_suggestions,omitempty"`
	}{Type: code(err), Details: "the agent failed; the server's log says why"}
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		body.Details = e.Message
		if e.Hint != "" {
			body.Suggestions = []string{e.Hint}
		}
	}
	b, merr := json.Marshal(map[string]any{"error": body})
	if merr != nil {
		return caxton.TextContent(body.Details)
	}
	return b
}
