package wasm

import (
	"context"
	"sync"

	"github.com/caxton/caxton"
)

// migrateExport is the function by which a reactor brings its state over:
// migrate_state(from i32, to i32) -> i32. 0 is good.
const migrateExport = "migrate_state"

// migrates reports whether the module brings its state over itself.
func (a *Agent) migrates() bool {
	return a.module.entry.contract == Reactor && a.module.shape.has(migrateExport) && a.grants.has(StateKeys)
}

// MigrateState has this version, which is to, go on with what the version from keeps. A module
// without migrate_state shares it, unless it has been in force before: then it goes on with
// what it had. One that exports it is called over it, in an instance of its own: when it
// changes nothing, both versions share what is kept; else this version gets a copy with the
// changes made, and the version from keeps what it has. That is one step, so nothing is there
// of a migration that failed or was cut off, and it may be done again. Turns that want to
// commit their changes wait meanwhile, so that the copy is of one moment. Errors are those of
// Handle, and Invalid "wasm_migration" when the module says that it cannot.
func (a *Agent) MigrateState(ctx context.Context, from, to int) error {
	state := a.rt.cfg.State
	if state == nil {
		return nil
	}
	if !a.migrates() {
		return state.Share(ctx, a.id, from, to, true)
	}
	s, err := a.begun(ctx)
	if err != nil {
		return err
	}
	defer a.ended(ctx, s)
	gate := a.rt.gate(a.id)
	gate.Lock()
	defer gate.Unlock()
	start := a.rt.cfg.Now()
	t := a.newTurn(ctx, nil, nil, nil) // s is kept also while the module sleeps: those who wait to commit may have all others
	a.migrating(t, from)
	if err := a.migrate(ctx, t, from, to); err != nil {
		return err
	}
	changes := t.changes()
	if len(changes) == 0 {
		err = state.Share(ctx, a.id, from, to, false)
	} else {
		err = state.Fork(ctx, a.id, from, to, changes)
	}
	if err == nil {
		a.logger.InfoContext(ctx, "state brought over", "from", from, "to", to, "changes", len(changes), "fuel", fuelOf(t.used),
			"duration", a.rt.cfg.Now().Sub(start))
	}
	return err
}

// migrating makes a turn one that brings the state of a version over.
func (a *Agent) migrating(t *turn, from int) {
	t.migrates, t.version = true, from
	t.limits.StateSize, t.limits.HostCalls = a.rt.cfg.Ceilings.StateSize, a.rt.cfg.Ceilings.HostCalls // it is about all keys
}

// migrate calls migrate_state for the turn, in an instance that nobody gets afterwards.
func (a *Agent) migrate(ctx context.Context, t *turn, from, to int) error {
	in, err := a.own(ctx, t)
	if err != nil {
		return err
	}
	defer in.discard(context.WithoutCancel(ctx))
	within, cancel := context.WithTimeout(ctx, a.limits.Time)
	defer cancel()
	res, err := in.call(within, migrateExport, uint64(uint32(from)), uint64(uint32(to))) //nolint:gosec // numbers of versions are small
	t.log.end(ctx)
	switch {
	case err != nil:
		return unended(err)
	case t.failure != "":
		return errMigration("the module says that it cannot bring its state over: %s", t.failure)
	case len(res) == 1 && int32(res[0]) != 0: //nolint:gosec // it is of 32 bits
		why := ""
		if last := t.lastWords(); last != "" {
			why = "; it logged: " + last
		}
		return errMigration("migrate_state(%d, %d) of the module returned %d%s", from, to, int32(res[0]), why) //nolint:gosec // it is of 32 bits
	}
	return nil
}

func errMigration(format string, args ...any) error {
	return caxton.Errorf(caxton.Invalid, "wasm_migration", format, args...).WithHint("0 means that the state is brought over; the module's own log may say more")
}

// gates are by agent; who commits holds one for reading, who brings state over for writing.
type gates struct {
	mu  sync.Mutex // guards all
	all map[caxton.AgentID]*sync.RWMutex
}

// gate returns the gate of an agent, which is there as long as the Runtime is.
func (r *Runtime) gate(id caxton.AgentID) *sync.RWMutex {
	r.gates.mu.Lock()
	defer r.gates.mu.Unlock()
	g := r.gates.all[id]
	if g == nil {
		g = &sync.RWMutex{}
		r.gates.all[id] = g
	}
	return g
}

// next returns the key that comes after another one, as a migration sees it.
func (c *hostCall) next(after string, buffer int) int64 {
	t := c.t
	if !t.migrates {
		return c.fail(codeUnsupported, "keys are only listed while state is brought over")
	}
	best, found := "", false
	for k, ch := range t.state {
		if k > after && !ch.Delete && (!found || k < best) {
			best, found = k, true
		}
	}
	for at := after; ; {
		var key string
		var ok bool
		err := t.apart(c.ctx, func() (err error) {
			key, ok, err = t.a.rt.cfg.State.Next(c.ctx, t.a.id, t.version, at)
			return err
		})
		if err != nil {
			halt(err)
		}
		if ok && (!found || key < best) {
			if ch, written := t.state[key]; written && ch.Delete {
				at = key
				continue
			}
			best, found = key, true
		}
		break
	}
	if !found {
		return c.fail(codeNotFound, "there is no further key")
	}
	return c.fill(buffer, []byte(best))
}
