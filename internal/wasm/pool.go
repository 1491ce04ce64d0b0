package wasm

import (
	"context"
	"sync"
	"time"
)

// acquire returns an instance for the turn: an idle one, or a new one. What the start of an
// instance takes has a budget of its own, so that a message costs the same whether it woke
// the agent or not.
func (a *Agent) acquire(ctx context.Context, t *turn) (*instance, error) {
	a.mu.Lock()
	if n := len(a.idle); n > 0 {
		in := a.idle[n-1] // the warmest
		a.idle = a.idle[:n-1]
		a.mu.Unlock()
		a.rt.ready.drop(in.size)
		in.turn = t
		return in, nil
	}
	a.mu.Unlock()
	start := a.rt.cfg.Now()
	s := a.newTurn(ctx, nil, nil, t.slot)
	in, err := a.begin(ctx, s)
	t.startup = a.rt.cfg.Now().Sub(start)
	t.startupUsed = s.used
	t.memory, t.trap = s.memory, s.trap
	s.log.flush()
	t.log.bytes, t.log.lines, t.log.dropped, t.log.lost, t.log.last = s.log.bytes, s.log.lines, s.log.dropped, s.log.lost, s.log.last
	if err != nil {
		return nil, err
	}
	in.turn = t
	return in, nil
}

// own returns a new instance for the turn.
func (a *Agent) own(ctx context.Context, t *turn) (*instance, error) {
	s := a.newTurn(ctx, nil, nil, t.slot)
	s.rehearses = t.rehearses
	in, err := a.begin(ctx, s)
	s.log.end(ctx)
	if err != nil {
		return nil, err
	}
	in.turn = t
	return in, nil
}

// put takes an instance back after a turn that ended well.
func (a *Agent) put(ctx context.Context, in *instance) {
	s := in.turn.slot
	if in.turn.used > chunk { // it may have gone deep: the engine keeps the stack of each export as large as it was
		clear(in.funcs)
	}
	in.turn, in.since, in.size = nil, a.rt.cfg.Now(), 0
	if a.module.memory {
		in.size = int64(in.mod.Memory().Size())
	}
	room := a.rt.ready.add(in.size) <= int64(a.rt.cfg.IdleMemory)
	a.mu.Lock()
	kept := room && !a.closed && len(a.idle) < a.limits.Instances
	if kept {
		a.idle = append(a.idle, in)
	}
	a.mu.Unlock()
	if !kept {
		a.rt.ready.drop(in.size)
		in.end(ctx, s)
	}
}

// over takes the instances away that are idle since before the time. Each holds the agent until
// it has ended, and so do those of shut.
func (a *Agent) over(before time.Time) []*instance {
	a.mu.Lock()
	n := 0 // the oldest come first
	for n < len(a.idle) && !a.idle[n].since.After(before) {
		n++
	}
	old := a.idle[:n:n]
	a.idle = append([]*instance(nil), a.idle[n:]...)
	a.busy += n
	a.mu.Unlock()
	return old
}

// shut takes all idle instances away, and lets none come back.
func (a *Agent) shut() []*instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	idle := a.idle
	a.idle = nil
	a.busy += len(idle)
	return idle
}

// end takes leave of idle instances: all at once, as many at a time as may run.
func (r *Runtime) end(ctx context.Context, ins []*instance) {
	var wg sync.WaitGroup
	for _, in := range ins {
		r.ready.drop(in.size)
		wg.Go(func() {
			s := slot{all: r.slots}
			defer in.a.ended(ctx, &s)
			in.end(ctx, &s)
		})
	}
	wg.Wait()
}

// Idle returns how many instances are ready and have nothing to do.
func (a *Agent) Idle() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.idle)
}

// Warm makes an instance ready, so that the next message need not wait for it. A command has
// none: each message gets its own.
func (a *Agent) Warm(ctx context.Context) error {
	if a.module.entry.contract == Command {
		return nil
	}
	if err := a.hold(); err != nil {
		return err
	}
	defer a.let(ctx)
	in, err := a.own(ctx, a.newTurn(ctx, nil, nil, nil))
	if err != nil {
		return err
	}
	a.put(ctx, in)
	return nil
}
