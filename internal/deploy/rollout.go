package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/prometheus/client_golang/prometheus"
)

// A Rollouts keeps the rollouts of agents. *registry.Registry provides it.
type Rollouts interface {
	Agents() []caxton.Agent
	BeginRollout(ctx context.Context, v caxton.AgentVersion, ro caxton.Rollout) (caxton.Agent, error)
	StageRollout(ctx context.Context, id caxton.AgentID, to, stage int, at time.Time) (caxton.Agent, error)
	EndRollout(ctx context.Context, id caxton.AgentID, to int, state caxton.RolloutState, reason string, at time.Time) (caxton.Agent, error)
}

// A Fleet runs two versions of an agent side by side, and counts how they fare.
// *agent.Supervisor provides it.
type Fleet interface {
	Warm(ctx context.Context, id caxton.AgentID, version int) error
	Migrate(ctx context.Context, v caxton.AgentVersion, from int) error
	CanShadow(ctx context.Context, v caxton.AgentVersion) error
	Counts(id caxton.AgentID) (from, to caxton.VersionCounts)
	Shadow(id caxton.AgentID) caxton.ShadowCounts
	Tally(id caxton.AgentID) caxton.RolloutTally
	Restore(id caxton.AgentID, t caxton.RolloutTally)
}

// breakdowns is how many turns in a row a new version may break down in before it is
// withdrawn, whatever the gates say.
const breakdowns = 5

// rollouts is what the Deployer knows of the rollouts that are open.
type rollouts struct {
	wake chan struct{} // capacity 1: there may be another one

	mu        sync.Mutex // guards all below
	open      map[caxton.AgentID]bool
	turns     map[caxton.AgentID]chan struct{} // capacity 1 each: held by who ends the rollout
	preparing map[caxton.AgentID]int           // how many prepare it now: a deployment, and what takes up one that was cut off
	waits     map[caxton.AgentID]string
	tallied   map[caxton.AgentID]tallied
}

func newRollouts() rollouts {
	return rollouts{
		wake: make(chan struct{}, 1), open: map[caxton.AgentID]bool{}, turns: map[caxton.AgentID]chan struct{}{}, preparing: map[caxton.AgentID]int{}, waits: map[caxton.AgentID]string{},
		tallied: map[caxton.AgentID]tallied{},
	}
}

// AgentChanged tells that an agent changed: the Deployer sees to its rollout from now on.
func (d *Deployer) AgentChanged(a caxton.Agent) {
	r := &d.rollouts
	r.mu.Lock()
	if a.Rollout.Open() {
		r.open[a.ID] = true
	} else {
		delete(r.open, a.ID)
		delete(r.waits, a.ID)
		delete(r.tallied, a.ID)
	}
	r.mu.Unlock()
	r.ring()
}

// ring has Run look at the rollouts.
func (r *rollouts) ring() {
	select {
	case r.wake <- struct{}{}:
	default: // it rings already
	}
}

// AgentRemoved tells that an agent is gone, and its rollout with it.
func (d *Deployer) AgentRemoved(id caxton.AgentID) {
	d.AgentChanged(caxton.Agent{ID: id})
	d.rollouts.mu.Lock()
	defer d.rollouts.mu.Unlock()
	delete(d.rollouts.turns, id)
}

// plan returns the rollout that a request asks for, nil for none.
func plan(req *caxton.DeployRequest) (*caxton.Rollout, error) {
	if req.Rollout == nil || req.Rollout.Strategy == caxton.RolloutImmediate || req.Rollout.Strategy == "" {
		return nil, nil //nolint:nilnil // no rollout is no fault
	}
	ro, err := req.Rollout.Rollout()
	ro.Author, ro.Move = req.Author, req.MoveConversations
	return &ro, err
}

// migrate brings the state of the version before over to v, unless v's text is in force.
func (d *Deployer) migrate(ctx context.Context, v caxton.AgentVersion, old caxton.Agent) error {
	if old.Version == 0 {
		return nil
	}
	active, err := d.registry.Version(ctx, old.ID, old.Version)
	if err != nil || active.Hash == v.Hash {
		return err
	}
	return d.runner.Migrate(ctx, v, old.Version)
}

// begin begins a rollout of v, whose text can run, and returns when it is at its first stage.
// When the version does not get ready the rollout has failed, and all is as it was.
func (d *Deployer) begin(ctx context.Context, v caxton.AgentVersion, old caxton.Agent, ro caxton.Rollout) (caxton.Agent, error) {
	if ro.Strategy == caxton.RolloutShadow {
		if err := d.runner.CanShadow(ctx, v); err != nil {
			return old, err
		}
	} else if err := d.migrate(ctx, v, old); err != nil {
		return old, err
	}
	d.prepares(old.ID, true)
	defer func() {
		d.prepares(old.ID, false)
		d.rollouts.ring() // Run left it alone so far
	}()
	a, err := d.registry.BeginRollout(ctx, v, ro)
	if err != nil || a.Versions == old.Versions { // its text is in force
		return a, err
	}
	d.cfg.Logger.InfoContext(ctx, "rollout began", "agent", a.Slug, "agent_id", a.ID, "strategy", ro.Strategy, "from", a.Rollout.From, "to", a.Rollout.To,
		"stages", caxton.RolloutStagesText(ro.Stages), "gates", caxton.RolloutGatesText(ro.Gates), "author", ro.Author)
	d.metrics.rollouts.WithLabelValues(string(ro.Strategy), "begun").Inc()
	d.setTallied(a.ID, tallied{to: a.Rollout.To, at: d.cfg.Now()})
	return d.prepare(ctx, a, false)
}

func (d *Deployer) prepares(id caxton.AgentID, on bool) {
	d.rollouts.mu.Lock()
	defer d.rollouts.mu.Unlock()
	if on {
		d.rollouts.preparing[id]++
	} else if d.rollouts.preparing[id]--; d.rollouts.preparing[id] == 0 {
		delete(d.rollouts.preparing, id)
	}
}

// prepare warms the new version and brings its rollout to the first stage, or ends it. With
// later, a preparation that is cut off is taken up at the next start.
func (d *Deployer) prepare(ctx context.Context, a caxton.Agent, later bool) (caxton.Agent, error) {
	ro := a.Rollout
	wait, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
	defer cancel()
	err := d.runner.Warm(wait, a.ID, ro.To)
	if err == nil && ro.Strategy != caxton.RolloutShadow { // what was kept while it was warmed comes along
		err = d.bring(ctx, a.ID, ro.From, ro.To)
	}
	if err == nil {
		var staged caxton.Agent
		if staged, err = d.stage(ctx, a, 1); err == nil { // else a is still what is to be ended
			a = staged
		}
	}
	if err == nil && ro.Switches() {
		err = d.runner.Ready(wait, a.ID, ro.To)
	}
	if err == nil || later && ctx.Err() != nil {
		return a, err
	}
	if _, ended := d.end(context.WithoutCancel(ctx), a, caxton.RolloutFailed, said(err)); ended != nil && caxton.KindOf(ended) != caxton.Conflict {
		d.cfg.Logger.ErrorContext(ctx, "rollout not ended", "agent", a.Slug, "agent_id", a.ID, "error", ended)
	}
	return a, err
}

// stage brings a rollout to a stage.
func (d *Deployer) stage(ctx context.Context, a caxton.Agent, stage int) (caxton.Agent, error) {
	ro := a.Rollout
	a, err := d.registry.StageRollout(ctx, a.ID, ro.To, stage, d.cfg.Now().UTC())
	if err != nil {
		return a, err
	}
	if a.Rollout.State == caxton.RolloutCompleted {
		d.ended(ctx, a)
		return a, nil
	}
	d.cfg.Logger.InfoContext(ctx, "rollout stage reached", "agent", a.Slug, "agent_id", a.ID, "version", ro.To, "stage", stage, "percent", a.Rollout.Percent())
	return a, nil
}

// end ends a rollout.
func (d *Deployer) end(ctx context.Context, a caxton.Agent, state caxton.RolloutState, reason string) (caxton.Agent, error) {
	a, err := d.registry.EndRollout(ctx, a.ID, a.Rollout.To, state, reason, d.cfg.Now().UTC())
	if err == nil {
		d.ended(ctx, a)
	}
	return a, err
}

func (d *Deployer) ended(ctx context.Context, a caxton.Agent) {
	ro := a.Rollout
	d.metrics.rollouts.WithLabelValues(string(ro.Strategy), string(ro.State)).Inc()
	d.metrics.rolloutTime.Observe(ro.EndedAt.Sub(ro.StartedAt).Seconds())
	log := d.cfg.Logger.InfoContext
	if ro.State == caxton.RolloutRolledBack || ro.State == caxton.RolloutFailed {
		log = d.cfg.Logger.WarnContext
	}
	log(ctx, "rollout ended", "agent", a.Slug, "agent_id", a.ID, "state", ro.State, "strategy", ro.Strategy, "from", ro.From, "to", ro.To,
		"reason", ro.Reason, "duration", ro.EndedAt.Sub(ro.StartedAt))
}

// said returns what of an error may be kept as a reason.
func said(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Message
	}
	return "the version did not start; the server's log says why"
}

// turn waits until nobody else ends the agent's rollout of the version to, and returns the agent
// as it is then; Conflict when that rollout has ended meanwhile. Else state would be brought over, or back, to a version
// that another one has put in force meanwhile, and what it has kept since would be lost. Call
// the function it returns when that is done.
func (d *Deployer) turn(ctx context.Context, id caxton.AgentID, to int) (a caxton.Agent, done func(), err error) {
	r := &d.rollouts
	r.mu.Lock()
	busy := r.turns[id]
	if busy == nil {
		busy = make(chan struct{}, 1)
		r.turns[id] = busy
	}
	r.mu.Unlock()
	select {
	case busy <- struct{}{}:
	case <-ctx.Done():
		return a, nil, caxton.Errorf(caxton.Timeout, "deploy_timeout", "another change of the rollout took too long").
			WithHint("try again").WithCause(ctx.Err())
	}
	if a, err = d.openRollout(id); err == nil && a.Rollout.To != to {
		err = errNoRollout(&a)
	}
	if err != nil {
		<-busy
		return a, nil, err
	}
	return a, func() { <-busy }, nil
}

// withdraw ends an open rollout as the state says and waits until the version before takes
// messages again. It waits for no other change of agents.
func (d *Deployer) withdraw(ctx context.Context, a caxton.Agent, state caxton.RolloutState, reason string) (caxton.Agent, error) {
	ro := a.Rollout
	a, err := d.withdrawn(ctx, a.ID, ro.To, state, reason)
	if err != nil {
		return a, err
	}
	if ro.Switches() {
		wait, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
		defer cancel()
		if err := d.runner.Ready(wait, a.ID, a.Version); err != nil {
			return a, err
		}
	}
	return a, nil
}

// withdrawn brings back what the version to has kept, and ends its rollout.
func (d *Deployer) withdrawn(ctx context.Context, id caxton.AgentID, to int, state caxton.RolloutState, reason string) (caxton.Agent, error) {
	a, done, err := d.turn(ctx, id, to)
	if err != nil {
		return a, err
	}
	defer done()
	if ro := a.Rollout; ro.Strategy == caxton.RolloutBlueGreen && ro.Stage > 0 {
		d.bringBack(ctx, &a, ro.To, ro.From)
	}
	return d.end(ctx, a, state, reason)
}

// bring brings the state that a version has kept over to another that is kept.
func (d *Deployer) bring(ctx context.Context, id caxton.AgentID, from, to int) error {
	v, err := d.registry.Version(ctx, id, to)
	if err != nil {
		return err
	}
	return d.runner.Migrate(ctx, v, from)
}

// bringBack brings the state that a version has kept back to an older one that was at rest
// meanwhile. That it cannot be brought back stops nobody: the older one goes on with what it had.
func (d *Deployer) bringBack(ctx context.Context, a *caxton.Agent, from, to int) {
	if err := d.bring(ctx, a.ID, from, to); err != nil {
		d.cfg.Logger.WarnContext(ctx, "state not brought back to an older version", "agent", a.Slug, "agent_id", a.ID, "from", from, "to", to, "error", err)
	}
}

// openRollout returns the agent, whose rollout must be open.
func (d *Deployer) openRollout(id caxton.AgentID) (caxton.Agent, error) {
	a, err := d.registry.Agent(id)
	if err == nil && !a.Rollout.Open() {
		err = errNoRollout(&a)
	}
	return a, err
}

func errNoRollout(a *caxton.Agent) error {
	return caxton.Errorf(caxton.Conflict, "no_rollout", "no version of %s is being rolled out", a.Slug).
		WithHint("caxton agents versions %s lists its versions", a.Slug)
}

// Promote completes an open rollout, or with next brings it to its next stage.
func (d *Deployer) Promote(ctx context.Context, id caxton.AgentID, next bool) (caxton.RolloutStatus, error) {
	a, err := d.openRollout(id)
	if err != nil {
		return caxton.RolloutStatus{}, err
	}
	if a.Rollout.State == caxton.RolloutPreparing {
		return caxton.RolloutStatus{}, caxton.Errorf(caxton.Conflict, "rollout_preparing", "version %d of %s is not ready yet", a.Rollout.To, a.Slug).
			WithHint("try again in a moment")
	}
	if next {
		a, err = d.stage(ctx, a, a.Rollout.Stage+1)
	} else {
		a, err = d.promoted(ctx, id, a.Rollout.To)
	}
	if err == nil && !a.Rollout.Open() {
		wait, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
		defer cancel()
		err = d.runner.Ready(wait, id, a.Version)
	}
	if err != nil {
		return caxton.RolloutStatus{}, err
	}
	return d.rolloutStatus(a), nil
}

// promoted completes the rollout of the version to.
func (d *Deployer) promoted(ctx context.Context, id caxton.AgentID, to int) (caxton.Agent, error) {
	a, done, err := d.turn(ctx, id, to)
	if err != nil {
		return a, err
	}
	defer done()
	if a.Rollout.Strategy == caxton.RolloutShadow { // nothing was brought over for it so far
		if err := d.bring(ctx, id, a.Rollout.From, to); err != nil {
			return a, err
		}
	}
	return d.end(ctx, a, caxton.RolloutCompleted, "promoted")
}

// Abort calls an open rollout off: its version is withdrawn, as in a rollback.
func (d *Deployer) Abort(ctx context.Context, id caxton.AgentID, reason string) (caxton.RolloutStatus, error) {
	a, err := d.openRollout(id)
	if err != nil {
		return caxton.RolloutStatus{}, err
	}
	if a, err = d.withdraw(ctx, a, caxton.RolloutAborted, cmp.Or(reason, "called off")); err != nil {
		return caxton.RolloutStatus{}, err
	}
	return d.rolloutStatus(a), nil
}

// rollBack ends an open rollout when somebody asks for a rollback to the version before it.
// done is false when that is not what he asks for.
func (d *Deployer) rollBack(ctx context.Context, id caxton.AgentID, to int) (dep caxton.Deployment, done bool, err error) {
	start := d.cfg.Now()
	a, err := d.registry.Agent(id)
	if err != nil || !a.Rollout.Open() || to != 0 && to != a.Rollout.From {
		return dep, false, err
	}
	from := a.Rollout.To
	if a, err = d.withdraw(ctx, a, caxton.RolloutRolledBack, "asked for"); err != nil {
		return dep, true, err
	}
	return caxton.Deployment{Agent: a, Changed: true, FromVersion: from, Rollout: a.Rollout, Duration: d.cfg.Now().Sub(start)}, true, nil
}

// Rollout returns the last rollout of an agent, open or ended, and how its versions fare.
// NotFound when there was none.
func (d *Deployer) Rollout(id caxton.AgentID) (caxton.RolloutStatus, error) {
	a, err := d.registry.Agent(id)
	if err == nil && a.Rollout == nil {
		err = caxton.Errorf(caxton.NotFound, "no_rollout", "no version of %s was rolled out", a.Slug).
			WithHint("deploy one with caxton deploy FILE --strategy canary")
	}
	if err != nil {
		return caxton.RolloutStatus{}, err
	}
	return d.rolloutStatus(a), nil
}

// Rollouts returns the last rollouts of agents, or only those that are open, newest first.
func (d *Deployer) Rollouts(open bool) []caxton.RolloutStatus {
	var agents []caxton.Agent
	if open {
		for _, id := range d.rollouts.ids() {
			if a, err := d.registry.Agent(id); err == nil { // else it was removed just now
				agents = append(agents, a)
			}
		}
	} else {
		agents = d.registry.Agents()
	}
	agents = slices.DeleteFunc(agents, func(a caxton.Agent) bool { return a.Rollout == nil || open && !a.Rollout.Open() })
	slices.SortFunc(agents, func(a, b caxton.Agent) int {
		return cmp.Or(b.Rollout.StartedAt.Compare(a.Rollout.StartedAt), cmp.Compare(a.Slug, b.Slug))
	})
	all := make([]caxton.RolloutStatus, 0, len(agents))
	for i := range agents {
		all = append(all, d.rolloutStatus(agents[i]))
	}
	return all
}

func (d *Deployer) rolloutStatus(a caxton.Agent) caxton.RolloutStatus {
	st := caxton.RolloutStatus{Agent: a, Rollout: *a.Rollout, At: d.cfg.Now().UTC(), Withdrawn: slices.Clone(a.Withdrawn)}
	st.From, st.To = d.counts(&a)
	st.Shadow = d.runner.Shadow(a.ID)
	d.rollouts.mu.Lock()
	st.Waits = d.rollouts.waits[a.ID]
	d.rollouts.mu.Unlock()
	return st
}

// Run brings rollouts forward until ctx ends: by the clock, and by what the gates say. What a
// crash interrupted goes on where it was. Observe the registry with the Deployer first.
func (d *Deployer) Run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	warmed := map[caxton.AgentID]int{} // versions that are known to be at hand
	for {
		select {
		case <-ctx.Done():
			for _, id := range d.rollouts.ids() {
				d.keep(context.WithoutCancel(ctx), id, true)
			}
			return nil
		case <-d.rollouts.wake:
		case <-t.C:
		}
		seen := 0
		for _, id := range d.rollouts.ids() {
			if !d.rollouts.prepared(id) { // whoever prepares it rings when that is done
				continue
			}
			d.see(ctx, id, warmed)
			seen++
		}
		if seen > 0 {
			t.Reset(d.cfg.RolloutInterval)
		} else {
			clear(warmed)
		}
	}
}

// ids returns the agents whose rollout is open.
func (r *rollouts) ids() []caxton.AgentID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.open))
}

// prepared reports whether nobody prepares the agent's rollout now.
func (r *rollouts) prepared(id caxton.AgentID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.preparing[id] == 0
}

// see looks at one open rollout and does what is due.
func (d *Deployer) see(ctx context.Context, id caxton.AgentID, warmed map[caxton.AgentID]int) {
	a, err := d.registry.Agent(id)
	if err != nil || !a.Rollout.Open() {
		return
	}
	ro := a.Rollout
	if ro.State == caxton.RolloutPreparing { // begun before the server went down
		d.prepares(id, true)
		_, err = d.prepare(ctx, a, true)
		d.prepares(id, false)
	} else {
		if warmed[id] != ro.To { // after a restart neither is at hand yet
			d.warm(ctx, &a)
			warmed[id] = ro.To
		}
		d.restore(ctx, &a)
		err = d.judge(ctx, a)
		d.keep(ctx, id, false)
	}
	if err != nil && caxton.KindOf(err) != caxton.Conflict && ctx.Err() == nil { // a conflict: somebody else was faster
		d.cfg.Logger.WarnContext(ctx, "rollout not brought forward", "agent", a.Slug, "agent_id", a.ID, "error", err)
	}
}

// warm has both versions at hand. One that cannot be is told by the messages it fails.
func (d *Deployer) warm(ctx context.Context, a *caxton.Agent) {
	for _, v := range []int{a.Rollout.From, a.Rollout.To} {
		wait, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
		if err := d.runner.Warm(wait, a.ID, v); err != nil && ctx.Err() == nil {
			d.cfg.Logger.WarnContext(ctx, "version of a rollout not warmed", "agent", a.Slug, "agent_id", a.ID, "version", v, "error", err)
		}
		cancel()
	}
}

// counts returns how the versions of an agent's rollout fare.
func (d *Deployer) counts(a *caxton.Agent) (from, to caxton.VersionCounts) {
	from, to = d.runner.Counts(a.ID)
	from.Version, to.Version = a.Rollout.From, a.Rollout.To
	return from, to
}

// judge rolls back what is bad, and brings forward what is due.
func (d *Deployer) judge(ctx context.Context, a caxton.Agent) error {
	ro := a.Rollout
	from, to := d.counts(&a)
	if why := verdict(ro, &from, &to); why != "" {
		_, err := d.withdraw(ctx, a, caxton.RolloutRolledBack, why)
		return err
	}
	ends, waits := ro.StageEnds(), ""
	if ends.IsZero() || d.cfg.Now().Before(ends) {
		d.wait(a.ID, "")
		return nil
	}
	if n := int64(ro.MinMessages); len(ro.Gates) > 0 && to.Turns() < n {
		waits = fmt.Sprintf("version %d has handled %d of %d messages that a stage needs", ro.To, to.Turns(), n)
	}
	d.wait(a.ID, waits)
	if waits != "" {
		return nil
	}
	_, err := d.stage(ctx, a, ro.Stage+1)
	return err
}

func (d *Deployer) wait(id caxton.AgentID, why string) {
	d.rollouts.mu.Lock()
	defer d.rollouts.mu.Unlock()
	d.rollouts.waits[id] = why
}

// verdict returns why a rollout has to end, or "".
func verdict(ro *caxton.Rollout, from, to *caxton.VersionCounts) string {
	if to.Streak >= breakdowns {
		return fmt.Sprintf("version %d broke down %d times in a row", ro.To, to.Streak)
	}
	if to.Turns() < int64(max(1, ro.MinMessages)) {
		return ""
	}
	for i := range ro.Gates {
		if why := ro.Gates[i].Breached(from, to, ro.MinMessages); why != "" {
			return why
		}
	}
	return ""
}

// rolloutMetrics are those of rollouts. How their versions fare comes with each scrape, for
// the agents only that have a rollout: versions come and go.
func rolloutMetrics(m *metrics, d *Deployer, reg prometheus.Registerer) {
	m.rollouts = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_rollouts_total", Help: "Rollouts by strategy and what became of them."}, []string{"strategy", "outcome"})
	m.rolloutTime = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "caxton_rollout_duration_seconds", Help: "Time from the beginning of a rollout to its end.",
		Buckets: []float64{1, 5, 30, 60, 300, 900, 1800, 3600, 4 * 3600, 24 * 3600},
	})
	reg.MustRegister(m.rollouts, m.rolloutTime, &collector{
		d:       d,
		percent: prometheus.NewDesc("caxton_rollout_percent", "Share of the conversations that the new version has, or as a shadow sees.", []string{"agent", "strategy"}, nil),
		turns:   prometheus.NewDesc("caxton_rollout_turns_total", "Turns of the versions of an open rollout.", []string{"agent", "version", "status"}, nil),
		latency: prometheus.NewDesc("caxton_rollout_response_seconds", "Time of recent turns of the versions of an open rollout.", []string{"agent", "version", "quantile"}, nil),
	})
}

// A collector tells how the versions of open rollouts fare.
type collector struct {
	d                       *Deployer
	percent, turns, latency *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.percent
	ch <- c.turns
	ch <- c.latency
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, id := range c.d.rollouts.ids() {
		a, err := c.d.registry.Agent(id)
		if err != nil || !a.Rollout.Open() {
			continue
		}
		ch <- prometheus.MustNewConstMetric(c.percent, prometheus.GaugeValue, float64(a.Rollout.Percent()), a.Slug, string(a.Rollout.Strategy))
		from, to := c.d.counts(&a)
		for _, v := range []*caxton.VersionCounts{&from, &to} {
			n := fmt.Sprint(v.Version)
			ch <- prometheus.MustNewConstMetric(c.turns, prometheus.CounterValue, float64(v.AllHandled), a.Slug, n, "ok")
			ch <- prometheus.MustNewConstMetric(c.turns, prometheus.CounterValue, float64(v.AllFailed), a.Slug, n, "error")
			ch <- prometheus.MustNewConstMetric(c.latency, prometheus.GaugeValue, v.P50.Seconds(), a.Slug, n, "0.5")
			ch <- prometheus.MustNewConstMetric(c.latency, prometheus.GaugeValue, v.P99.Seconds(), a.Slug, n, "0.99")
		}
	}
}
