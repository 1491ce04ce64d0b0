package agent

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// A Warmer is a Handler that does something before its first message, such as filling a pool
// of instances. It returns when it is ready.
type Warmer interface {
	Warm(ctx context.Context) error
}

// A Migrator is a Handler that keeps state of its own. *wasm.Agent is one. MigrateState brings
// what the version from has kept over to the version to, whose handler it is called on, before
// that one takes messages: when it is deployed, and when that is not at once, once more just
// before its first message, so that it misses little. When an older version comes back, and was not at work all the time, it
// is called the other way round. A crash may have it called again for the same versions, so it
// must not do harm twice. It may not change what the version from goes on with: conversations
// may stay there.
type Migrator interface {
	MigrateState(ctx context.Context, from, to int) error
}

// Warm makes the handler of a version, has it get ready, and keeps it at hand.
func (s *Supervisor) Warm(ctx context.Context, id caxton.AgentID, version int) error {
	r, err := s.runner(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartupTimeout)
	defer cancel()
	_, err = r.bind(ctx, version)
	return err
}

// Migrate brings the state that one version of an agent has kept over to another, if the
// other's handler can do that. The version v may be one that is not kept yet.
func (s *Supervisor) Migrate(ctx context.Context, v caxton.AgentVersion, from int) error {
	if from < 1 || from == v.Number {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartupTimeout)
	defer cancel()
	h, err := s.handler(ctx, v)
	if err != nil {
		return err
	}
	defer s.end(ctx, bound{h, v})
	m, ok := h.(Migrator)
	if !ok {
		return nil
	}
	err = s.guard(ctx, v, "migrating state", func() error { return m.MigrateState(ctx, from, v.Number) })
	if err == nil {
		return nil
	}
	failed := caxton.Errorf(cmp.Or(caxton.KindOf(err), caxton.Internal), "migration_failed",
		"the state of version %d could not be brought over to version %d", from, v.Number).WithCause(err)
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Kind != caxton.Internal { // else it is not for the caller
		failed.Message, failed.Hint = failed.Message+": "+e.Message, e.Hint
	}
	return failed
}

// CanShadow reports whether the version can answer without anybody hearing it.
func (s *Supervisor) CanShadow(ctx context.Context, v caxton.AgentVersion) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartupTimeout)
	defer cancel()
	h, err := s.handler(ctx, v)
	if err != nil {
		return err
	}
	defer s.end(ctx, bound{h, v})
	if _, ok := h.(Shadower); !ok {
		return caxton.Errorf(caxton.Invalid, "shadow_unsupported", "an agent of this kind cannot answer without effects").
			WithHint("use the strategy canary")
	}
	return nil
}

// Counts returns how the two versions of the agent's rollout fare here. Before any message
// they are all zero.
func (s *Supervisor) Counts(id caxton.AgentID) (from, to caxton.VersionCounts) {
	r, err := s.runner(id)
	if err != nil {
		return from, to
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ro := r.agent.Rollout; ro != nil {
		from, to = r.tallies.counts(ro.From), r.tallies.counts(ro.To)
	}
	return from, to
}

// Tally returns how the versions of the agent's rollout fare here, to be kept.
func (s *Supervisor) Tally(id caxton.AgentID) caxton.RolloutTally {
	r, err := s.runner(id)
	if err != nil {
		return caxton.RolloutTally{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := caxton.RolloutTally{To: r.tallies.to, Stage: r.tallies.stage, Shadow: r.tallies.shadow}
	t.Shadow.Different = nil
	for _, n := range slices.Sorted(maps.Keys(r.tallies.versions)) {
		c := r.tallies.versions[n].VersionCounts
		c.Version = n
		t.Versions = append(t.Versions, c)
		t.Recent = append(t.Recent, r.tallies.versions[n].recent.values())
	}
	return t
}

// Restore adds what was counted of the agent's rollout before the server was started to what
// was counted since.
func (s *Supervisor) Restore(id caxton.AgentID, t caxton.RolloutTally) {
	r, err := s.runner(id)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ro := r.agent.Rollout; ro.Open() && ro.To == t.To && r.tallies.to == t.To {
		r.tallies.restore(ro, &t)
	}
}

// restore adds what was counted before.
func (t *tallies) restore(ro *caxton.Rollout, old *caxton.RolloutTally) {
	for i := range old.Versions {
		o := &old.Versions[i]
		v := t.of(ro, o.Version)
		if v == nil {
			continue
		}
		if v.AllHandled+v.AllFailed == 0 {
			v.Streak = o.Streak
		}
		v.AllHandled += o.AllHandled
		v.AllFailed += o.AllFailed
		if old.Stage != t.stage {
			continue
		}
		v.Handled += o.Handled
		v.Failed += o.Failed
		if i < len(old.Recent) {
			since := v.recent.values()
			v.recent = ring{}
			for _, d := range slices.Concat(old.Recent[i], since) {
				v.recent.add(d)
			}
		}
	}
	n, o := &t.shadow, &old.Shadow
	n.Compared += o.Compared
	n.Same += o.Same
	n.Answers += o.Answers
	n.Calls += o.Calls
	n.Failed += o.Failed
	n.Dropped += o.Dropped
}

// tallies count how the versions of a rollout fare. The runner's mutex guards them.
type tallies struct {
	to, stage int // of the rollout that is counted
	versions  map[int]*tally
	shadow    caxton.ShadowCounts
}

// A tally counts how one version fares.
type tally struct {
	caxton.VersionCounts
	recent ring
}

// follow begins to count anew when a rollout or a stage begins.
func (t *tallies) follow(ro *caxton.Rollout) {
	if ro == nil {
		return
	}
	if t.versions == nil || ro.To != t.to {
		*t = tallies{to: ro.To, stage: ro.Stage, versions: map[int]*tally{}}
		return
	}
	if ro.Open() && ro.Stage != t.stage {
		t.stage = ro.Stage
		for _, v := range t.versions {
			v.Handled, v.Failed, v.recent = 0, 0, ring{}
		}
	}
}

// of returns the tally of a version of the rollout, or nil.
func (t *tallies) of(ro *caxton.Rollout, version int) *tally {
	if ro == nil || ro.To != t.to || version != ro.From && version != ro.To {
		return nil
	}
	v := t.versions[version]
	if v == nil {
		v = &tally{}
		t.versions[version] = v
	}
	return v
}

func (t *tallies) counts(version int) caxton.VersionCounts {
	v := t.versions[version]
	if v == nil {
		return caxton.VersionCounts{Version: version}
	}
	c := v.VersionCounts
	c.Version = version
	times := v.recent.values()
	slices.Sort(times)
	c.P50, c.P99 = quantile(times, 0.50), quantile(times, 0.99)
	return c
}

// began notes that a version of a rollout has a turn.
func (t *tallies) began(ro *caxton.Rollout, version int) {
	if v := t.of(ro, version); v != nil {
		v.InFlight++
	}
}

// ended notes how a turn of a version of a rollout ended.
func (t *tallies) ended(ro *caxton.Rollout, version int, took time.Duration, bad, broke bool, err error) {
	v := t.of(ro, version)
	if v == nil {
		return
	}
	v.InFlight = max(0, v.InFlight-1)
	if _, parked := errors.AsType[*caxton.Parked](err); parked || caxton.KindOf(err) == caxton.Canceled {
		return // it goes on later, or was called off: that says nothing of the version
	}
	v.recent.add(took)
	if bad {
		v.Failed++
		v.AllFailed++
	} else {
		v.Handled++
		v.AllHandled++
	}
	switch {
	case broke:
		v.Streak++
	case err == nil:
		v.Streak = 0
	}
}

// answersFailure reports whether a turn that went through says that it failed.
func answersFailure(outputs []caxton.Message) bool {
	return len(outputs) > 0 && outputs[0].Performative == caxton.Failure
}
