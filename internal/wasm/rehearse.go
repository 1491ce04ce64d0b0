package wasm

import (
	"context"
	"maps"

	"github.com/caxton/caxton"
)

// Rehearsed are the calls of a turn that counts for nothing: the same calls of the turn that
// does have their results from there, all others are told that they are not carried out.
// *prompt.Rehearsal provides it.
type Rehearsed interface {
	Calls
	// Made returns the calls, in the order in which they were made.
	Made() []caxton.ToolCallRef
}

// Shadow returns what the module would have answered and done. It runs in an instance of its
// own, under the agent's limits and with its grants, and changes nothing: calls are those of
// Config.Rehearse, what is stored is thrown away, timers are not set, nothing is logged, and
// directories cannot be written to. It finds the state as the turn that counts found it, as
// far as turn.Module tells, else as it is now; when the module brings state over, it does so
// first, for this turn alone. It draws the random numbers of the version that answered.
func (a *Agent) Shadow(ctx context.Context, turn caxton.Turn, past []caxton.Record) (out caxton.ShadowTurn, err error) {
	s, err := a.begun(ctx)
	if err != nil {
		return out, err
	}
	defer a.ended(ctx, s)
	from := a.number
	if ro := turn.Agent.Rollout; ro != nil && ro.To == a.number {
		from = ro.From
	}
	t := a.newTurn(ctx, &turn.Message, nil, s)
	t.rehearses, t.lenient, t.version, t.random = true, true, from, a.randomOf(&turn.Message, from)
	if turn.Module != nil {
		t.finds(turn.Module.Reads)
	}
	if a.migrates() && from != a.number && a.rt.cfg.State != nil {
		if t.state, err = a.overlay(ctx, t, from); err != nil {
			return out, err
		}
	}
	var calls Rehearsed
	if a.rt.cfg.Rehearse != nil {
		if calls, err = a.rt.cfg.Rehearse(ctx, turn, past); err != nil {
			return out, err
		}
		t.calls = calls
	}
	outputs, err := a.answer(ctx, t)
	if calls != nil {
		out.Calls = calls.Made()
	}
	if err != nil {
		outputs, err = refused(&turn.Message, t.calls, err)
	}
	out.Outputs = outputs
	return out, err
}

// Replay runs a turn again that was handled before, as far as what it saw can be had: calls
// gives what its calls gave and the time, random numbers follow from the message, and its state
// is as it found it, where that was kept with its changes, else as it is now. It runs in an
// instance of its own and changes nothing. seen tells what it saw: when that is not what the
// turn saw, it cannot be compared.
func (a *Agent) Replay(ctx context.Context, turn caxton.Turn, calls Calls) (out []caxton.Message, seen caxton.ModuleTurn, err error) {
	s, err := a.begun(ctx)
	if err != nil {
		return nil, seen, err
	}
	defer a.ended(ctx, s)
	m := &turn.Message
	t := a.newTurn(ctx, m, calls, s)
	t.rehearses = true
	if a.rt.cfg.State != nil && a.grants.has(StateKeys) {
		c, _, err := a.kept(ctx, m)
		if err != nil {
			return nil, seen, err
		}
		t.finds(c.Reads)
	}
	out, err = a.answer(ctx, t)
	t.tell(&seen)
	if err != nil {
		out, err = refused(m, calls, err)
	}
	return out, seen, err
}

// finds has the turn find these values in its state.
func (t *turn) finds(reads []caxton.StateRead) {
	t.found = make(map[string]caxton.StateRead, len(reads))
	for _, r := range reads {
		t.found[r.Key] = r
	}
}

// overlay returns what the module changes when it brings the state that t finds over.
func (a *Agent) overlay(ctx context.Context, t *turn, from int) (map[string]Change, error) {
	m := a.newTurn(ctx, nil, nil, t.slot)
	a.migrating(m, from)
	m.rehearses, m.found = true, t.found
	if err := a.migrate(ctx, m, from, a.number); err != nil {
		return nil, err
	}
	return maps.Clone(m.state), nil
}
