package tool

import (
	"context"
	"errors"

	"github.com/caxton/caxton"
)

// uncertain marks an error after which nobody knows whether the call took effect.
type uncertain struct{ err error }

func (u *uncertain) Error() string { return u.err.Error() }
func (u *uncertain) Unwrap() error { return u.err }

// Uncertain marks err as one after which nobody knows whether the call took effect: a
// request that was sent and not answered, for example. An error without the mark says that
// nothing happened, or that what happened is known. nil stays nil.
func Uncertain(err error) error {
	if err == nil {
		return nil
	}
	return &uncertain{err}
}

// IsUncertain reports whether err leaves open whether the call took effect: it carries the
// mark, or the tool did not come to an end.
func IsUncertain(err error) bool {
	if _, marked := errors.AsType[*uncertain](err); marked {
		return true
	}
	e, ok := errors.AsType[*caxton.Error](err)
	return ok && (e.Code == "tool_timeout" || e.Code == "turn_timeout" || e.Code == "tool_canceled" || e.Code == "tool_panicked")
}

// A Reconciler is a Tool that can find out what became of a call which a crash cut off.
type Reconciler interface {
	// Reconcile looks up the call by its key. happened says whether it took effect; then res
	// is what it returned. An error means that this cannot be told: a person has to.
	Reconcile(ctx context.Context, call Call) (res Result, happened bool, err error)
}

// Reconciles reports whether the named tool is granted and can look up lost calls.
func (g *Granted) Reconciles(name string) bool {
	t, ok := g.tool(name)
	if !ok {
		return false
	}
	_, ok = t.(Reconciler)
	return ok
}

// Reconcile asks the named tool what became of a call that was cut off. See Reconciler.
func (g *Granted) Reconcile(ctx context.Context, name string, call Call) (Result, bool, error) {
	t, ok := g.tool(name)
	if !ok {
		return Result{}, false, g.refusal(name)
	}
	r, ok := t.(Reconciler)
	if !ok {
		return Result{}, false, caxton.Errorf(caxton.Invalid, "tool_cannot_reconcile", "the tool %s cannot look up lost calls", name)
	}
	call.Grant, _ = g.grant(name)
	call.Config = g.configOf(name, call.Grant)
	res, happened, err := r.Reconcile(ctx, call)
	if err != nil || !happened {
		return Result{}, false, err
	}
	return bound(res, call.ID, readers(g.now())), true, nil
}

// Waits reports whether the named tool spends its time waiting for others.
func (g *Granted) Waits(name string) bool {
	t, ok := g.tool(name)
	return ok && t.Spec().Waits
}

// NeedsApproval reports whether calls of the named tool need somebody's approval.
func (g *Granted) NeedsApproval(name string) bool {
	grant, _ := g.grant(name)
	return grant.Approval
}

func (g *Granted) tool(name string) (Tool, bool) {
	if _, ok := g.grant(name); !ok {
		return nil, false
	}
	return g.set.Get(name)
}
