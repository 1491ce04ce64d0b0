package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/caxton/caxton"
)

// work handles one leased message and ends the lease.
func (r *runner) work(turns context.Context, l caxton.Lease) {
	r.mu.Lock()
	a := r.agent
	r.mu.Unlock()
	timeout := cmp.Or(a.Definition.Performance.RequestTimeout, r.s.cfg.ExecutionTimeout)
	ctx, cancel := context.WithTimeout(turns, timeout)
	defer cancel()
	if !l.Message.ReplyBy.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, l.Message.ReplyBy)
		defer stop()
	}
	start := r.s.cfg.Now()
	outputs, panicked, err := r.turn(ctx, a, &l)
	if turns.Err() != nil {
		r.s.source.Abandon(l) // stopping: the message is handed out again after the restart
		return
	}
	if err != nil && ctx.Err() != nil && !panicked {
		err = caxton.Errorf(caxton.Timeout, "turn_timeout", "the agent did not answer within %s", timeout).WithCause(err)
	}
	r.finish(context.WithoutCancel(ctx), a, l, outputs, err)
	r.account(start, panicked, err)
}

// turn calls the handler and turns a panic into an error.
func (r *runner) turn(ctx context.Context, a caxton.Agent, l *caxton.Lease) (outputs []caxton.Message, panicked bool, err error) {
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
	if l.Version == 0 {
		l.Version = a.Version
	}
	b, err := r.bind(ctx, l.Version)
	if caxton.KindOf(err) == caxton.NotFound { // the pinned version is gone
		l.Version = a.Version
		b, err = r.bind(ctx, l.Version)
	}
	if err != nil {
		return nil, false, err
	}
	turn := caxton.Turn{Message: l.Message, Agent: a, Version: b.version, Attempt: l.Attempt}
	if l.Resumed {
		if turn.Past, err = r.s.source.Past(ctx, *l); err != nil {
			return nil, false, err
		}
	}
	outputs, err = b.handler.Handle(ctx, turn)
	return outputs, false, err
}

// finish ends the lease: settled with the outputs, or released for another try, or given up
// with a failure reply.
func (r *runner) finish(ctx context.Context, a caxton.Agent, l caxton.Lease, outputs []caxton.Message, err error) {
	s := caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone}
	for _, m := range outputs {
		s.Outputs = append(s.Outputs, caxton.Delivery{Message: m})
	}
	if err != nil {
		log := r.s.cfg.Logger.With("agent", a.Slug, "agent_id", a.ID, "message_id", l.Message.ID,
			"conversation_id", l.Message.ConversationID, "attempt", l.Attempt)
		expired := !l.Message.ReplyBy.IsZero() && !r.s.cfg.Now().Before(l.Message.ReplyBy)
		if retryable(err) && l.Attempt < r.s.cfg.MaxAttempts && !expired {
			delay := r.pause(l.Attempt)
			log.WarnContext(ctx, "turn failed, will be tried again", "delay", delay, "error", err)
			if rerr := r.s.source.Release(ctx, l, publicMessage(err), delay); rerr != nil {
				log.ErrorContext(ctx, "lease not released", "error", rerr)
				r.s.source.Abandon(l)
			}
			return
		}
		log.ErrorContext(ctx, "turn failed", "error", err)
		s.Outcome, s.Error, s.Code = caxton.OutcomeFailed, publicMessage(err), code(err)
		if effectUnknown(err) {
			s.Outcome = caxton.OutcomeUnknown
		}
		s.Outputs = []caxton.Delivery{{Message: l.Message.Reply(caxton.Failure, failureContent(err))}}
	}
	if serr := r.s.source.Settle(ctx, s); serr != nil {
		r.s.cfg.Logger.ErrorContext(ctx, "message not settled", "agent", a.Slug, "message_id", l.Message.ID, "error", serr)
		r.s.source.Abandon(l) // the journal could not be written: handed out again after the restart
	}
}

// pause returns the time before the next try: exponential, with full jitter in its upper half.
func (r *runner) pause(attempt int) time.Duration {
	d := r.s.cfg.RetryInitial << (attempt - 1)
	if d <= 0 || d > r.s.cfg.RetryMax {
		d = r.s.cfg.RetryMax
	}
	return d/2 + time.Duration(r.s.cfg.Jitter()*float64(d/2))
}

// account counts a turn, and fails the agent after too many panics in a row.
func (r *runner) account(start time.Time, panicked bool, err error) {
	now := r.s.cfg.Now()
	r.s.metrics.latency.Observe(now.Sub(start).Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastWork = now
	r.recent.add(now.Sub(start))
	if err != nil {
		r.failed++
		r.note(err)
		r.s.metrics.turns.WithLabelValues("error").Inc()
	} else {
		r.handled++
		r.s.metrics.turns.WithLabelValues("ok").Inc()
	}
	switch {
	case panicked:
		if r.streak++; r.streak >= r.s.cfg.BreakerFailures && r.state == caxton.AgentRunning {
			r.failLocked()
			r.poke()
		}
	case err == nil:
		r.streak, r.backoff = 0, 0
	}
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
