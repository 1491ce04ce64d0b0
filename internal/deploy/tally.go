package deploy

import (
	"context"
	"time"

	"github.com/caxton/caxton"
)

// Tallies keep how the versions of open rollouts fare over a restart. *sqlite.DB provides it.
type Tallies interface {
	RolloutTally(ctx context.Context, id caxton.AgentID) (t caxton.RolloutTally, ok bool, err error)
	SaveRolloutTally(ctx context.Context, id caxton.AgentID, t caxton.RolloutTally) error
}

// tallyEvery is how often they are kept at most: so much is lost in a crash.
const tallyEvery = 5 * time.Second

// A tallied tells what is kept of a rollout.
type tallied struct {
	to    int // the version it brings in
	turns int64
	at    time.Time
}

// restore has a rollout that was begun before the server was started go on with its counts.
func (d *Deployer) restore(ctx context.Context, a *caxton.Agent) {
	if d.cfg.Tallies == nil || d.tallied(a.ID).to == a.Rollout.To {
		return
	}
	t, ok, err := d.cfg.Tallies.RolloutTally(ctx, a.ID)
	if err != nil {
		if ctx.Err() == nil {
			d.cfg.Logger.WarnContext(ctx, "counts of a rollout not read, they begin anew", "agent", a.Slug, "agent_id", a.ID, "error", err)
		}
	} else if ok {
		d.runner.Restore(a.ID, t)
	}
	d.setTallied(a.ID, tallied{to: a.Rollout.To, at: d.cfg.Now()})
}

// keep keeps the counts of a rollout, when they have changed and were not kept just now, or
// with last at once.
func (d *Deployer) keep(ctx context.Context, id caxton.AgentID, last bool) {
	was := d.tallied(id)
	if d.cfg.Tallies == nil || was.to == 0 || !last && d.cfg.Now().Sub(was.at) < tallyEvery {
		return
	}
	t := d.runner.Tally(id)
	if t.To != was.to || t.Turns() == was.turns {
		return
	}
	if err := d.cfg.Tallies.SaveRolloutTally(ctx, id, t); err != nil {
		if ctx.Err() == nil {
			d.cfg.Logger.WarnContext(ctx, "counts of a rollout not kept", "agent_id", id, "error", err)
		}
		return
	}
	d.setTallied(id, tallied{to: t.To, turns: t.Turns(), at: d.cfg.Now()})
}

func (d *Deployer) tallied(id caxton.AgentID) tallied {
	d.rollouts.mu.Lock()
	defer d.rollouts.mu.Unlock()
	return d.rollouts.tallied[id]
}

func (d *Deployer) setTallied(id caxton.AgentID, t tallied) {
	d.rollouts.mu.Lock()
	defer d.rollouts.mu.Unlock()
	d.rollouts.tallied[id] = t
}
