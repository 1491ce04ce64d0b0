package deploy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/caxton/caxton/internal/template"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// A Registry keeps what is deployed. *registry.Registry provides it.
type Registry interface {
	From(source string) (caxton.Agent, bool)
	Named(slug string) (caxton.Agent, bool)
	Agent(id caxton.AgentID) (caxton.Agent, error)
	Version(ctx context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error)
	Deploy(ctx context.Context, v caxton.AgentVersion, stem string, move bool) (caxton.Agent, error)
	Draft(ctx context.Context, v caxton.AgentVersion) (int, error)
	Activate(ctx context.Context, id caxton.AgentID, number int, move bool, at time.Time) (caxton.Agent, error)
	Undo(ctx context.Context, was caxton.Agent, at time.Time) (caxton.Agent, error)
	SetSuspended(ctx context.Context, id caxton.AgentID, suspended bool, at time.Time) (caxton.Agent, error)
	Remove(ctx context.Context, id caxton.AgentID, at time.Time) error
	Rollouts
}

// A Runner runs agents. *agent.Supervisor provides it.
type Runner interface {
	Try(ctx context.Context, v caxton.AgentVersion) error
	Ready(ctx context.Context, id caxton.AgentID, version int) error
	Fleet
	Restart(ctx context.Context, id caxton.AgentID) error
}

// Tools knows the server's tools. *tool.Set provides it.
type Tools interface {
	Known(name string) (known, permitted bool)
	Nearest(name string) string
	Obstacle(name string) string
}

// Modules judges and keeps the modules of WASM agents. node provides it.
type Modules interface {
	// Inspect tells what a module is, and everything that is wrong with it for an agent.
	Inspect(ctx context.Context, data []byte, def *caxton.Definition) (caxton.ModuleReport, []caxton.Issue)
	Put(ctx context.Context, data []byte) (hash string, err error)
	Get(ctx context.Context, hash string) ([]byte, error)
}

// Config tunes a Deployer. Zero fields mean the defaults given here.
type Config struct {
	StartTimeout time.Duration                    // for a new version to start: 10 s
	Pending      func(id caxton.AgentID) int      // messages an agent still has; nil means none
	CheckModel   func(s caxton.LLMSettings) error // whether its model can be had; nil means yes
	Modules      Modules                          // nil: no WASM agents
	Tracer       *telemetry.Tracer                // records nothing
	Tallies      Tallies                          // nil: rollouts count anew after a restart
	Logger       *slog.Logger                     // discards
	Registerer   prometheus.Registerer            // a registry of its own
	Now          func() time.Time                 // time.Now

	RolloutInterval time.Duration // between two looks at the rollouts that are open: 250 ms
}

// A Deployer brings definitions into force. It is safe for concurrent use.
type Deployer struct {
	registry Registry
	runner   Runner
	tools    Tools
	cfg      Config
	metrics  metrics

	rollouts rollouts

	busy chan struct{} // capacity 1: one change at a time; a deployment takes milliseconds, and order is clear
}

// New returns a Deployer. It starts nothing.
func New(reg Registry, runner Runner, tools Tools, cfg Config) *Deployer {
	cfg.StartTimeout = cmp.Or(cfg.StartTimeout, 10*time.Second)
	cfg.RolloutInterval = cmp.Or(cfg.RolloutInterval, 250*time.Millisecond)
	if cfg.Pending == nil {
		cfg.Pending = func(caxton.AgentID) int { return 0 }
	}
	if cfg.CheckModel == nil {
		cfg.CheckModel = func(caxton.LLMSettings) error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Deployer{registry: reg, runner: runner, tools: tools, cfg: cfg, metrics: newMetrics(cfg.Registerer), rollouts: newRollouts(), busy: make(chan struct{}, 1)}
	rolloutMetrics(&d.metrics, d, cfg.Registerer)
	return d
}

// lock waits until no other change is under way, at most as long as ctx. Call the function
// it returns when the change is done.
func (d *Deployer) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case d.busy <- struct{}{}:
		return func() { <-d.busy }, nil
	case <-ctx.Done():
		return nil, caxton.Errorf(caxton.Timeout, "deploy_timeout", "other changes of agents took too long").
			WithHint("try again").WithCause(ctx.Err())
	}
}

// Validate parses and checks a definition, and its module when it has one, and changes
// nothing. The issues hold warnings too; see agentfile.Err. The report is nil unless there
// is a module that could be looked at.
func (d *Deployer) Validate(ctx context.Context, req caxton.DeployRequest) (caxton.Definition, *caxton.ModuleReport, []caxton.Issue) {
	c := d.check(ctx, &req)
	return c.def, c.report, c.issues
}

// A checked request is one that was looked at in all its parts.
type checked struct {
	def    caxton.Definition
	module []byte // of a WASM agent
	report *caxton.ModuleReport
	issues []caxton.Issue
}

func (d *Deployer) check(ctx context.Context, req *caxton.DeployRequest) checked {
	path := req.Source
	if path == "api" {
		path = ""
	}
	var c checked
	c.def, c.issues = agentfile.Parse(path, req.Text, req.Format, agentfile.Options{
		CheckTemplate: template.Check,
		Tool: func(name string) (bool, string) {
			known, _ := d.tools.Known(name)
			return known, d.tools.Nearest(name)
		},
	})
	for _, t := range c.def.Tools {
		if known, permitted := d.tools.Known(t.Name); known && !permitted {
			c.issues = append(c.issues, caxton.Issue{
				Path: path, Key: "tools", Message: "the tool " + t.Name + " is not permitted by the server",
				Hint: "add it to tools.allowed of the configuration, or take it out of the agent",
			})
		} else if why := d.tools.Obstacle(t.Name); known && why != "" {
			c.issues = append(c.issues, caxton.Issue{
				Path: path, Key: "tools", Warning: true, Message: why,
				Hint: "the agent may use it as soon as that is over; see caxton tools list",
			})
		}
	}
	if c.def.IsModule() {
		d.checkModule(ctx, req, path, &c)
		return c
	}
	if req.Module != nil {
		c.issues = append(c.issues, caxton.Issue{Path: path, Key: "type", Message: "a module came with the definition of a config agent", Hint: "write type: wasm, or leave the module away"})
	}
	if err := d.cfg.CheckModel(c.def.LLM); err != nil {
		c.issues = append(c.issues, issueOf(err, path, "llm", "its model cannot be had"))
	}
	return c
}

// issueOf makes an issue of an error.
func issueOf(err error, path, key, otherwise string) caxton.Issue {
	issue := caxton.Issue{Path: path, Key: key, Message: otherwise}
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		issue.Message, issue.Hint = e.Message, e.Hint
	}
	return issue
}

// Deploy makes a definition the active version of its agent, and waits until it runs. The
// agent is req.Target, or the one that came from the same file, or the one with the declared
// name, or a new one. A version is tried before it is in force, so that one that cannot run
// leaves nothing behind. Errors: Invalid with every fault of the definition, Conflict (the
// name is taken, or CreateOnly and the agent exists), Exhausted, or why the version does not
// start; then all is as it was.
func (d *Deployer) Deploy(ctx context.Context, req caxton.DeployRequest) (caxton.Deployment, error) {
	start := d.cfg.Now()
	ctx, span := d.cfg.Tracer.Start(ctx, telemetry.Internal, "caxton.api.deploy_agent", "", "")
	dep, err := d.deploy(ctx, req)
	dep.Duration = d.cfg.Now().Sub(start)
	d.count(ctx, dep, req, err)
	if span.Recorded() {
		span.Set(
			telemetry.Str("gen_ai.agent.id", string(dep.Agent.ID)),
			telemetry.Str("gen_ai.agent.name", dep.Agent.Slug),
			telemetry.Int("gen_ai.agent.version", dep.Agent.Version),
			telemetry.Str("caxton.agent.type", string(dep.Agent.Type)),
			telemetry.Bool("caxton.deploy.changed", dep.Changed),
		)
		span.End(err)
	}
	return dep, err
}

// validate is check within a span.
func (d *Deployer) validate(ctx context.Context, req *caxton.DeployRequest) checked {
	ctx, span := telemetry.Start(ctx, telemetry.Internal, "caxton.deploy.validate", "")
	c := d.check(ctx, req)
	if c.def.IsModule() {
		span.Rename("caxton.wasm.validate", "")
	}
	span.Int("caxton.deploy.issues", int64(len(c.issues)))
	span.End(nil)
	return c
}

func (d *Deployer) deploy(ctx context.Context, req caxton.DeployRequest) (caxton.Deployment, error) {
	c := d.validate(ctx, &req)
	def := c.def
	path := req.Source
	if path == "api" {
		path = ""
	}
	var dep caxton.Deployment
	if err := agentfile.Err(path, c.issues); err != nil {
		return dep, err
	}
	dep.Warnings, dep.Module = c.issues, c.report
	ro, err := plan(&req)
	if err != nil {
		return dep, err
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return dep, err
	}
	defer unlock()
	old, exists := d.target(req, def)
	if exists && req.CreateOnly {
		return dep, caxton.Errorf(caxton.Conflict, "agent_exists", "there is an agent %s already", old.Slug).
			WithHint("replace it with PUT, or choose another name")
	}
	if req.Target != "" && !exists {
		_, err := d.registry.Agent(req.Target)
		return dep, err
	}
	dep.Agent = caxton.Agent{ID: old.ID, Name: def.Name, Slug: caxton.Slug(def.Name), Type: def.AgentType(), Definition: def}
	if req.ValidateOnly {
		return dep, nil
	}
	if def.IsModule() { // before the registry refers to it, whatever comes in between
		if _, err := d.cfg.Modules.Put(ctx, c.module); err != nil {
			return dep, err
		}
	}
	v := caxton.AgentVersion{
		AgentID: old.ID, Number: old.Versions + 1, Hash: caxton.VersionHash(req.Text, def.Module.SHA256), Author: cmp.Or(req.Author, "unknown"), Source: cmp.Or(req.Source, "api"),
		Format: cmp.Or(req.Format, agentfile.Format(req.Source, req.Text)), Text: req.Text, Definition: def, CreatedAt: d.cfg.Now().UTC(),
	}
	if !exists {
		v.AgentID = caxton.AgentID(uuid.NewString())
	}
	if err := d.try(ctx, v, old); err != nil {
		return dep, err
	}
	if ro != nil && exists {
		a, err := d.begin(ctx, v, old, *ro)
		if err != nil {
			return dep, err
		}
		dep.Agent, dep.FromVersion, dep.Changed = a, old.Version, a.Versions != old.Versions
		if dep.Changed {
			dep.Rollout = a.Rollout
		}
		return dep, nil
	}
	if err := d.migrate(ctx, v, old); err != nil {
		return dep, err
	}
	within, span := telemetry.Start(ctx, telemetry.Internal, "caxton.registry.register", "")
	a, err := d.registry.Deploy(within, v, req.Stem, req.MoveConversations)
	span.End(err)
	if err != nil {
		return dep, err
	}
	dep.Agent, dep.Created, dep.FromVersion, dep.Changed = a, !exists, old.Version, a.Version != old.Version
	err = d.ready(ctx, a, old)
	if err != nil && !dep.Changed && def.IsModule() { // its file was damaged or gone, and is there again
		wait, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
		defer cancel()
		err = d.runner.Restart(wait, a.ID)
	}
	return dep, err
}

// target returns the agent a request is for.
func (d *Deployer) target(req caxton.DeployRequest, def caxton.Definition) (caxton.Agent, bool) {
	if req.Target != "" {
		a, err := d.registry.Agent(req.Target)
		return a, err == nil
	}
	if req.Source != "" && req.Source != "api" {
		if a, ok := d.registry.From(req.Source); ok {
			return a, true // the same file, whatever it calls itself now
		}
	}
	return d.registry.Named(caxton.Slug(def.Name))
}

// try asks whether a version can run, unless its text is in force already.
func (d *Deployer) try(ctx context.Context, v caxton.AgentVersion, old caxton.Agent) error {
	if old.Version > 0 {
		active, err := d.registry.Version(ctx, old.ID, old.Version)
		if err != nil {
			return err
		}
		if active.Hash == v.Hash {
			return nil
		}
	}
	ctx, span := telemetry.Start(ctx, telemetry.Internal, "caxton.runtime.create", "")
	wait, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
	defer cancel()
	err := d.runner.Try(wait, v)
	span.End(err)
	return err
}

// ready waits until the agent runs its version. When it does not start, what was before is
// restored: the agent as it was, or nothing.
func (d *Deployer) ready(ctx context.Context, a, old caxton.Agent) error {
	wait, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
	defer cancel()
	err := d.runner.Ready(wait, a.ID, a.Version)
	if err == nil {
		return nil
	}
	back := context.WithoutCancel(ctx)
	var undo error
	if old.Version == 0 {
		undo = d.registry.Remove(back, a.ID, d.cfg.Now().UTC())
	} else if old.Version != a.Version {
		_, undo = d.registry.Undo(back, old, d.cfg.Now().UTC())
	}
	if undo != nil {
		d.cfg.Logger.ErrorContext(ctx, "deployment not undone", "agent", a.Slug, "agent_id", a.ID, "error", undo)
	}
	return err
}

// Rollback makes an older version active again: number to or, when to is 0, the newest one
// before the active one that can still run and was not withdrawn. While a rollout is open, it is ended: its version
// is withdrawn, and all conversations go back to the version before. Otherwise running conversations that began on newer
// versions stay on them. Errors: Conflict "no_older_version", NotFound, or why the version
// does not start; then all is as it was.
func (d *Deployer) Rollback(ctx context.Context, id caxton.AgentID, to int) (caxton.Deployment, error) {
	if dep, done, err := d.rollBack(ctx, id, to); done || err != nil {
		return dep, err
	}
	start := d.cfg.Now()
	unlock, err := d.lock(ctx)
	if err != nil {
		return caxton.Deployment{}, err
	}
	defer unlock()
	old, err := d.registry.Agent(id)
	if err != nil {
		return caxton.Deployment{}, err
	}
	if to == 0 {
		to, err = d.before(ctx, old)
	} else {
		err = d.tryOld(ctx, old, to)
	}
	if err != nil {
		return caxton.Deployment{}, err
	}
	if to != old.Version {
		d.bringBack(ctx, &old, old.Version, to)
	}
	a, err := d.registry.Activate(ctx, id, to, true, d.cfg.Now().UTC())
	if err != nil {
		return caxton.Deployment{}, err
	}
	if err := d.ready(ctx, a, old); err != nil {
		return caxton.Deployment{}, err
	}
	d.cfg.Logger.InfoContext(ctx, "agent rolled back", "agent", a.Slug, "agent_id", a.ID, "from", old.Version, "to", to)
	return caxton.Deployment{Agent: a, Changed: a.Version != old.Version, FromVersion: old.Version, Duration: d.cfg.Now().Sub(start)}, nil
}

// before returns the newest version before the active one that can run, or why the one just
// before it cannot.
func (d *Deployer) before(ctx context.Context, a caxton.Agent) (int, error) {
	var first error
	for to := a.Version - 1; to >= 1; to-- {
		if a.IsWithdrawn(to) {
			continue // it was rolled back itself
		}
		err := d.tryOld(ctx, a, to)
		if err == nil {
			return to, nil
		}
		if ctx.Err() != nil {
			return 0, err
		}
		d.cfg.Logger.WarnContext(ctx, "version passed over in a rollback", "agent", a.Slug, "agent_id", a.ID, "version", to, "error", err)
		first = cmp.Or(first, err)
	}
	if first == nil {
		first = caxton.Errorf(caxton.Conflict, "no_older_version", "%s has no version before %d", a.Slug, a.Version)
	}
	return 0, first
}

// tryOld asks whether a version of the past can run.
func (d *Deployer) tryOld(ctx context.Context, a caxton.Agent, number int) error {
	v, err := d.registry.Version(ctx, a.ID, number)
	if err != nil {
		return err
	}
	return d.try(ctx, v, a)
}

// Remove undeploys an agent. Unless forced, it is a Conflict while messages wait for it or
// are being handled; forced, those that wait fail with a failure reply.
func (d *Deployer) Remove(ctx context.Context, id caxton.AgentID, force bool) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := d.registry.Agent(id)
	if err != nil {
		return err
	}
	if n := d.cfg.Pending(id); n > 0 && !force {
		return caxton.Errorf(caxton.Conflict, "agent_busy", "%d messages wait for %s", n, a.Slug).
			WithHint("wait until they are handled, or force the removal: they fail then")
	}
	if err := d.registry.Remove(ctx, id, d.cfg.Now().UTC()); err != nil {
		return err
	}
	d.cfg.Logger.InfoContext(ctx, "agent removed", "agent", a.Slug, "agent_id", a.ID)
	return nil
}

// Suspend has the agent finish what it handles and take no more messages; they wait.
func (d *Deployer) Suspend(ctx context.Context, id caxton.AgentID) error {
	return d.setSuspended(ctx, id, true)
}

// Resume has a suspended agent take messages again.
func (d *Deployer) Resume(ctx context.Context, id caxton.AgentID) error {
	return d.setSuspended(ctx, id, false)
}

func (d *Deployer) setSuspended(ctx context.Context, id caxton.AgentID, suspended bool) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := d.registry.Agent(id)
	if err != nil || old.Suspended == suspended {
		return err
	}
	a, err := d.registry.SetSuspended(ctx, id, suspended, d.cfg.Now().UTC())
	if err != nil {
		return err
	}
	d.cfg.Logger.InfoContext(ctx, "agent suspension changed", "agent", a.Slug, "agent_id", a.ID, "suspended", suspended)
	wait, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
	defer cancel()
	return d.runner.Ready(wait, id, a.Version)
}

// count logs a deployment and moves the counters.
func (d *Deployer) count(ctx context.Context, dep caxton.Deployment, req caxton.DeployRequest, err error) {
	if req.ValidateOnly {
		return
	}
	if err != nil {
		d.metrics.deployments.WithLabelValues("failed").Inc()
		d.metrics.failed.Inc()
		name := cmp.Or(req.Stem, dep.Agent.Slug, "unnamed")
		d.cfg.Logger.WarnContext(ctx, "deployment failed", "agent", name, "source", req.Source, "error", err)
		return
	}
	a := dep.Agent
	switch {
	case dep.Rollout != nil: // it told of itself
		d.metrics.deployments.WithLabelValues("rolling_out").Inc()
	case dep.Created:
		d.metrics.deployments.WithLabelValues("created").Inc()
		d.cfg.Logger.InfoContext(ctx, "agent deployed", "agent", a.Slug, "agent_id", a.ID, "version", a.Version, "source", a.Source, "duration", dep.Duration)
	case dep.Changed:
		d.metrics.deployments.WithLabelValues("replaced").Inc()
		d.metrics.reloaded.Inc()
		d.metrics.duration.Observe(dep.Duration.Seconds())
		d.cfg.Logger.InfoContext(ctx, "agent reloaded", "agent", a.Slug, "agent_id", a.ID, "from", dep.FromVersion, "to", a.Version, "duration", dep.Duration)
	default:
		d.metrics.deployments.WithLabelValues("unchanged").Inc()
	}
}

type metrics struct {
	deployments      *prometheus.CounterVec
	reloaded, failed prometheus.Counter
	duration         prometheus.Histogram
	rollouts         *prometheus.CounterVec
	rolloutTime      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		deployments: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_deployments_total", Help: "Deployments by outcome."}, []string{"outcome"}),
		reloaded:    prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_agent_reload_success_total", Help: "Agents replaced by a new version while the server ran."}),
		failed:      prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_agent_reload_failed_total", Help: "Definitions that could not be brought into force."}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_agent_reload_duration_seconds", Help: "Time from a definition to its running version.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	for _, o := range []string{"created", "replaced", "unchanged", "failed"} {
		m.deployments.WithLabelValues(o)
	}
	reg.MustRegister(m.deployments, m.reloaded, m.failed, m.duration)
	return m
}
