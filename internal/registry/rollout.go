package registry

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/caxton/caxton"
)

// BeginRollout keeps v as a version of the agent v.AgentID and begins to bring it in as ro
// says, whose numbers, state and times are given here: it is being prepared, and handles
// nothing before StageRollout. The same text as the active version's begins nothing. Errors:
// NotFound, Conflict (another rollout is open, or the name is taken).
func (r *Registry) BeginRollout(ctx context.Context, v caxton.AgentVersion, ro caxton.Rollout) (caxton.Agent, error) {
	v.CreatedAt = stored(v.CreatedAt)
	return r.propose(ctx, command{Op: opRollout, At: v.CreatedAt, ID: v.AgentID, Version: v, Rollout: &ro})
}

// StageRollout brings the rollout of the version to into a stage, which must be the one after
// its stage now; the one after the last completes it. Conflict when it is at another stage,
// or has ended.
func (r *Registry) StageRollout(ctx context.Context, id caxton.AgentID, to, stage int, at time.Time) (caxton.Agent, error) {
	return r.propose(ctx, command{Op: opStage, At: at, ID: id, Number: to, Stage: stage})
}

// EndRollout ends the rollout of the version to: completed, the version becomes the active
// one; in any other state it is withdrawn, and the one before is active. Conflict when it has
// ended already.
func (r *Registry) EndRollout(ctx context.Context, id caxton.AgentID, to int, state caxton.RolloutState, reason string, at time.Time) (caxton.Agent, error) {
	return r.propose(ctx, command{Op: opEnd, At: at, ID: id, Number: to, State: state, Reason: reason})
}

// begin returns the agent with the rollout of c begun, and the version it is of.
func (r *Registry) begin(ctx context.Context, a caxton.Agent, c *command) (caxton.Agent, *caxton.AgentVersion, error) {
	v := c.Version
	if c.Rollout == nil {
		return a, nil, caxton.Errorf(caxton.Invalid, "rollout_invalid", "the rollout says nothing")
	}
	ro := *c.Rollout
	if a.Rollout.Open() {
		return a, nil, caxton.Errorf(caxton.Conflict, "rollout_open", "version %d of %s is being rolled out", a.Rollout.To, a.Slug).
			WithHint("promote it, roll it back, or abort it first: caxton agents rollout %s", a.Slug)
	}
	active, err := r.store.AgentVersion(ctx, a.ID, a.Version)
	if err != nil {
		return a, nil, err
	}
	if active.Hash == v.Hash && sameDefinition(&active, &v) {
		return a, nil, nil
	}
	if slug := caxton.Slug(v.Definition.Name); slug != a.Slug && !ro.Switches() {
		return a, nil, caxton.Errorf(caxton.Invalid, "rollout_renames", "the version calls itself %s and not %s: both would answer", slug, a.Slug).
			WithHint("rename it with the strategy immediate, rolling or blue_green")
	}
	later := a // as it will be: the name must be free
	activate(&later, &v, false)
	if o, ref := r.state.clash(&later); o != nil {
		return a, nil, errTaken(&later, o, ref)
	}
	a.Versions++
	v.AgentID, v.Number = a.ID, a.Versions
	ro.From, ro.To, ro.State, ro.Stage, ro.MinWas = a.Version, v.Number, caxton.RolloutPreparing, 0, a.MinVersion
	ro.StartedAt, ro.StageAt, ro.EndedAt, ro.Reason = c.At, time.Time{}, time.Time{}, ""
	a.Rollout = &ro
	return a, &v, nil
}

// open returns a copy of the agent's rollout, which must be that of the command.
func open(a *caxton.Agent, c *command) (caxton.Rollout, error) {
	if !a.Rollout.Open() || a.Rollout.To != c.Number {
		return caxton.Rollout{}, caxton.Errorf(caxton.Conflict, "no_rollout", "version %d of %s is not being rolled out", c.Number, a.Slug).
			WithHint("caxton agents rollout %s shows how it went", a.Slug)
	}
	return *a.Rollout, nil
}

// stage brings a's rollout into the next stage.
func (r *Registry) stage(ctx context.Context, a *caxton.Agent, c *command) error {
	ro, err := open(a, c)
	if err != nil {
		return err
	}
	if c.Stage != ro.Stage+1 {
		return caxton.Errorf(caxton.Conflict, "rollout_stage", "the rollout is at stage %d, and cannot come to %d", ro.Stage, c.Stage)
	}
	if c.Stage > len(ro.Stages) {
		return r.complete(ctx, a, ro, c)
	}
	ro.State, ro.Stage, ro.StageAt = caxton.RolloutRunning, c.Stage, c.At
	if c.Stage == 1 && ro.Switches() {
		v, err := r.store.AgentVersion(ctx, a.ID, ro.To)
		if err != nil {
			return err
		}
		activate(a, &v, ro.Move || ro.Strategy == caxton.RolloutBlueGreen)
	}
	a.Rollout = &ro
	return nil
}

func (r *Registry) complete(ctx context.Context, a *caxton.Agent, ro caxton.Rollout, c *command) error {
	v, err := r.store.AgentVersion(ctx, a.ID, ro.To)
	if err != nil {
		return err
	}
	activate(a, &v, ro.Move || ro.Switches())
	ro.State, ro.EndedAt, ro.Reason = caxton.RolloutCompleted, c.At, c.Reason
	a.Rollout = &ro
	return nil
}

// end ends a's rollout as the command says.
func (r *Registry) end(ctx context.Context, a *caxton.Agent, c *command) error {
	ro, err := open(a, c)
	if err != nil {
		return err
	}
	switch c.State {
	case caxton.RolloutCompleted:
		return r.complete(ctx, a, ro, c)
	case caxton.RolloutRolledBack, caxton.RolloutAborted, caxton.RolloutFailed:
	case caxton.RolloutPreparing, caxton.RolloutRunning:
		return caxton.Errorf(caxton.Invalid, "rollout_invalid", "a rollout does not end as %q", c.State)
	default:
		return caxton.Errorf(caxton.Conflict, "command_newer", "this program does not know the state %.40q", c.State)
	}
	if a.Version != ro.From {
		v, err := r.store.AgentVersion(ctx, a.ID, ro.From)
		if err != nil {
			return err
		}
		activate(a, &v, false)
		a.MinVersion = ro.MinWas
	}
	withdraw(a, ro.To)
	ro.State, ro.EndedAt, ro.Reason = c.State, c.At, c.Reason
	a.Rollout = &ro
	return nil
}

// supersede ends an open rollout because another version was made the active one.
func supersede(a *caxton.Agent, number int, c *command) {
	if !a.Rollout.Open() {
		return
	}
	ro := *a.Rollout
	ro.EndedAt = c.At
	switch {
	case number == ro.To:
		ro.State, ro.Reason = caxton.RolloutCompleted, "it was made the active version"
	case a.Version == ro.To: // it was in force, and something newer takes its place
		ro.State, ro.Reason = caxton.RolloutCompleted, reasonFor(number)
	default:
		ro.State, ro.Reason = caxton.RolloutAborted, reasonFor(number)
		withdraw(a, ro.To)
	}
	a.Rollout = &ro
}

func reasonFor(number int) string {
	return "version " + strconv.Itoa(number) + " was made the active one meanwhile"
}

// withdraw notes that a version is to handle nothing any more.
func withdraw(a *caxton.Agent, number int) {
	if !slices.Contains(a.Withdrawn, number) {
		a.Withdrawn = append(slices.Clone(a.Withdrawn), number) // states before keep theirs
	}
}

// restored takes a version out of those that were withdrawn.
func restored(a *caxton.Agent, number int) {
	if slices.Contains(a.Withdrawn, number) {
		a.Withdrawn = slices.DeleteFunc(slices.Clone(a.Withdrawn), func(n int) bool { return n == number })
	}
}
