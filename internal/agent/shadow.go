package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// A Shadower is a Handler that can answer without effects. *prompt.Agent and *wasm.Agent provide
// it.
type Shadower interface {
	// Shadow returns what the handler would have answered and done. It changes nothing: tools
	// are not run, nothing is remembered, nothing goes into the log. past is what the turn that
	// counts has left in the log; results of the same calls are taken from there.
	Shadow(ctx context.Context, turn caxton.Turn, past []caxton.Record) (caxton.ShadowTurn, error)
}

const (
	shadowWorkers = 4
	shadowQueue   = 64 // copies that wait; more are dropped and counted: messages never wait for them
	shadowKept    = 20 // differences that are shown
)

// A shadowed is a message that a version was to answer as well as the one that did.
type shadowed struct {
	runner  *runner
	lease   caxton.Lease
	outputs []caxton.Message
	seen    *caxton.ModuleTurn
	version int
}

// offerShadow gives a copy of a handled message to the shadow of its agent, if there is one
// and somebody has time.
func (r *runner) offerShadow(a *caxton.Agent, l *caxton.Lease, outputs []caxton.Message, seen *caxton.ModuleTurn) {
	version := a.Shadowed(l.Message.ConversationID, l.Version)
	if version == 0 {
		return
	}
	select {
	case r.s.shadows <- shadowed{r, *l, slices.Clone(outputs), seen, version}:
	default:
		r.mu.Lock()
		r.tallies.shadow.Dropped++
		r.mu.Unlock()
	}
}

// shadow answers copies of messages until ctx ends.
func (s *Supervisor) shadow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.shadows:
			c.runner.shadow(ctx, &c)
		}
	}
}

// shadow has a version answer a copy, and compares.
func (r *runner) shadow(ctx context.Context, c *shadowed) {
	r.mu.Lock()
	a := r.agent
	r.mu.Unlock()
	if a.Shadowed(c.lease.Message.ConversationID, c.lease.Version) != c.version {
		return // it is over
	}
	timeout := r.s.cfg.ExecutionTimeout
	if d := a.Definition.Performance.RequestTimeout; d > 0 {
		timeout = d
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	turn, past, err := r.shadowTurn(ctx, &a, c)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the server stops
	}
	d := compare(c, &turn, past, err)
	d.At = r.s.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	ro := r.agent.Rollout
	if ro == nil || ro.To != c.version {
		return
	}
	r.tallies.began(ro, c.version)
	r.tallies.ended(ro, c.version, time.Since(start), err != nil, brokeDown(err), err)
	n := &r.tallies.shadow
	n.Compared++
	switch {
	case d.Error != "":
		n.Failed++
	case d.Answer == "" && d.Shadow == "" && len(d.Missing)+len(d.Extra) == 0:
		n.Same++
		return
	default:
		if d.Answer != d.Shadow {
			n.Answers++
		}
		if len(d.Missing)+len(d.Extra) > 0 {
			n.Calls++
		}
	}
	if len(n.Different) == shadowKept {
		n.Different = slices.Delete(n.Different, 0, 1)
	}
	n.Different = append(n.Different, d)
	r.s.cfg.Logger.InfoContext(ctx, "shadow differed", "agent", a.Slug, "agent_id", a.ID, "version", c.version, "message_id", d.MessageID,
		"conversation_id", d.ConversationID, "other_answer", d.Answer != d.Shadow, "missing_calls", len(d.Missing), "extra_calls", len(d.Extra), "error", d.Error)
}

// shadowTurn runs the turn of a copy.
func (r *runner) shadowTurn(ctx context.Context, a *caxton.Agent, c *shadowed) (turn caxton.ShadowTurn, past []caxton.Record, err error) {
	b, err := r.bind(ctx, c.version)
	if err != nil {
		return turn, nil, err
	}
	h, ok := b.handler.(Shadower)
	if !ok {
		return turn, nil, caxton.Errorf(caxton.Invalid, "shadow_unsupported", "an agent of this kind cannot answer without effects")
	}
	if past, err = r.s.source.Past(ctx, c.lease); err != nil {
		return turn, nil, err
	}
	err = r.s.guard(ctx, b.version, "a shadow", func() error {
		turn, err = h.Shadow(ctx, caxton.Turn{Message: c.lease.Message, Agent: *a, Version: b.version, Attempt: 1, Module: c.seen}, past)
		return err
	})
	return turn, past, err
}

// compare tells how a shadow's turn differs from the one that counts. What is alike is left
// empty.
func compare(c *shadowed, turn *caxton.ShadowTurn, past []caxton.Record, err error) caxton.ShadowDifference {
	d := caxton.ShadowDifference{ConversationID: c.lease.Message.ConversationID, MessageID: c.lease.Message.ID}
	if err != nil {
		d.Error = publicMessage(err)
		return d
	}
	if live, other := said(c.outputs), said(turn.Outputs); live != other {
		d.Answer, d.Shadow = live, other
	}
	var lives, others []string
	for i := range past {
		var b caxton.ToolIntendedBody
		if past[i].Kind == caxton.RecordToolIntended && json.Unmarshal(past[i].Body, &b) == nil {
			lives = append(lives, call(b.Tool, b.Arguments))
		}
	}
	for i := range turn.Calls {
		others = append(others, call(turn.Calls[i].Tool, turn.Calls[i].Arguments))
	}
	d.Missing, d.Extra = without(lives, others), without(others, lives)
	return d
}

// said returns what outputs say, with their performatives.
func said(outputs []caxton.Message) string {
	var b bytes.Buffer
	for i := range outputs {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(outputs[i].Performative) + ": " + outputs[i].Text())
	}
	return b.String()
}

// call prints a call of a tool; arguments that say the same print the same.
func call(tool string, args json.RawMessage) string {
	var v any
	if json.Unmarshal(args, &v) == nil {
		if b, err := json.Marshal(v); err == nil {
			args = b
		}
	}
	return tool + " " + string(args)
}

// without returns what of all is not in others, each as often as it is too many.
func without(all, others []string) []string {
	left := slices.Clone(others)
	var rest []string
	for _, s := range all {
		if i := slices.Index(left, s); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else {
			rest = append(rest, s)
		}
	}
	return rest
}

// Shadow returns how the shadow of the agent's rollout compares with what was answered.
func (s *Supervisor) Shadow(id caxton.AgentID) caxton.ShadowCounts {
	r, err := s.runner(id)
	if err != nil {
		return caxton.ShadowCounts{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.tallies.shadow
	c.Different = slices.Clone(c.Different)
	return c
}
