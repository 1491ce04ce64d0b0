package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

// A Handler handles messages for one version of an agent. It is safe for concurrent use.
// *prompt.Agent and *wasm.Agent provide it. One that is a Closer is closed when it is not
// needed any more.
type Handler interface {
	// Handle answers the turn's message. The outputs are complete but for what the router
	// adds. Errors of kind Unavailable, Exhausted and Timeout are worth another try; the code
	// effect_unknown stops the turn for an operator to decide.
	Handle(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error)
}

// A Closer is a Handler that holds something. Turns at work in it finish; one that was about
// to begin fails as Unavailable, and is tried again. *wasm.Agent is one.
type Closer interface {
	Close(ctx context.Context) error
}

// A Factory makes the Handler of a version, or fails when the version cannot run here.
type Factory func(ctx context.Context, v caxton.AgentVersion) (Handler, error)

// A Source hands out messages. *router.Router provides it.
type Source interface {
	Signal(id caxton.AgentID) <-chan struct{}
	Next(ctx context.Context, id caxton.AgentID) (caxton.Lease, bool)
	Past(ctx context.Context, l caxton.Lease) ([]caxton.Record, error)
	Settle(ctx context.Context, s caxton.Settlement) error
	Release(ctx context.Context, l caxton.Lease, cause string, delay time.Duration) error
	Park(ctx context.Context, l caxton.Lease, p caxton.Parked) error
	Abandon(l caxton.Lease)
	Drop(ctx context.Context, id caxton.AgentID) error
	Pending(id caxton.AgentID) int
}

// Versions gives the definitions of deployed versions. *registry.Registry provides it.
type Versions interface {
	Version(ctx context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error)
}

// Config tunes a Supervisor. Zero fields mean the defaults given here.
type Config struct {
	MaxConcurrent    int             // turns at once on this node, over all agents: 100
	PerAgent         int             // turns at once of one agent, unless its definition says otherwise: 10
	ExecutionTimeout time.Duration   // of one turn, unless the definition says otherwise: 30 s
	MaxAttempts      int             // tries of one message: 3
	RetryInitial     time.Duration   // pause before the second try, doubled each time, jittered: 200 ms
	RetryMax         time.Duration   // 10 s
	BreakerFailures  int             // turns in a row that panic, break down or run out of time, and so fail the agent: 5
	RestartInitial   time.Duration   // pause before a failed agent restarts, doubled each time: 1 s
	RestartMax       time.Duration   // 60 s
	StartupTimeout   time.Duration   // for making a handler: 10 s
	DrainTimeout     time.Duration   // for turns in flight when the server stops: 25 s
	Cut              <-chan struct{} // closed when turns in flight must end at once, before the drain timeout; nil for never
	Jitter           func() float64
	Logger           *slog.Logger // discards
	Registerer       prometheus.Registerer
	Now              func() time.Time  // time.Now
	Tracer           *telemetry.Tracer // records nothing
}

// A Supervisor runs agents. It is safe for concurrent use.
type Supervisor struct {
	source   Source
	versions Versions
	factory  Factory
	cfg      Config
	metrics  metrics
	slots    chan struct{} // capacity MaxConcurrent: one token for each turn that runs
	pool     pool
	shadows  chan shadowed // capacity shadowQueue: copies that wait; who offers never waits

	mu      sync.Mutex // guards all below
	runners map[caxton.AgentID]*runner
	fresh   []*runner     // made, not yet started by Run
	wake    chan struct{} // capacity 1: fresh has entries
	closed  bool          // Run is ending: no runner starts any more
}

// New returns a Supervisor that takes messages from source and makes handlers by factory.
// It starts nothing.
func New(source Source, versions Versions, factory Factory, cfg Config) *Supervisor {
	cfg.MaxConcurrent = cmp.Or(cfg.MaxConcurrent, 100)
	cfg.PerAgent = cmp.Or(cfg.PerAgent, 10)
	cfg.ExecutionTimeout = cmp.Or(cfg.ExecutionTimeout, 30*time.Second)
	cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, 3)
	cfg.RetryInitial = cmp.Or(cfg.RetryInitial, 200*time.Millisecond)
	cfg.RetryMax = cmp.Or(cfg.RetryMax, 10*time.Second)
	cfg.BreakerFailures = cmp.Or(cfg.BreakerFailures, 5)
	cfg.RestartInitial = cmp.Or(cfg.RestartInitial, time.Second)
	cfg.RestartMax = cmp.Or(cfg.RestartMax, time.Minute)
	cfg.StartupTimeout = cmp.Or(cfg.StartupTimeout, 10*time.Second)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 25*time.Second)
	if cfg.Jitter == nil {
		cfg.Jitter = jitter
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
	s := &Supervisor{
		source: source, versions: versions, factory: factory, cfg: cfg,
		slots: make(chan struct{}, cfg.MaxConcurrent), pool: pool{turns: make(chan turn, cfg.MaxConcurrent)}, runners: map[caxton.AgentID]*runner{}, wake: make(chan struct{}, 1),
		shadows: make(chan shadowed, shadowQueue),
	}
	s.metrics = newMetrics(cfg.Registerer, s)
	return s
}

// AgentChanged tells that an agent was deployed, has a new active version, or was suspended
// or resumed. It does not wait: see Ready.
func (s *Supervisor) AgentChanged(a caxton.Agent) {
	s.mu.Lock()
	r := s.runners[a.ID]
	if r == nil && !s.closed {
		r = newRunner(s, a)
		s.runners[a.ID] = r
		s.fresh = append(s.fresh, r)
		select {
		case s.wake <- struct{}{}:
		default: // Run looks anyway
		}
	}
	s.mu.Unlock()
	if r != nil {
		r.change(a)
	}
}

// AgentRemoved tells that an agent is gone: its turns in flight finish, what waits fails.
func (s *Supervisor) AgentRemoved(id caxton.AgentID) {
	s.mu.Lock()
	r := s.runners[id]
	delete(s.runners, id)
	s.mu.Unlock()
	if r != nil {
		r.remove()
	}
}

// Run runs the agents until ctx ends, then lets turns in flight finish, at most for the
// drain timeout; after that they are cancelled, and their messages are handed out again
// after the restart.
func (s *Supervisor) Run(ctx context.Context) error {
	turns, cancelTurns := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelTurns()
	defer s.pool.end() // when all runners have ended
	var wg sync.WaitGroup
	for range shadowWorkers {
		wg.Go(func() { s.shadow(ctx) })
	}
	for {
		s.mu.Lock()
		fresh := s.fresh
		s.fresh = nil
		s.mu.Unlock()
		for _, r := range fresh {
			wg.Go(func() { r.run(ctx, turns) })
		}
		select {
		case <-s.wake:
			continue
		case <-ctx.Done():
		}
		break
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	finished := make(chan struct{})
	go func() { // ends with the wait below: wg.Wait returns once turns are cancelled
		wg.Wait()
		close(finished)
	}()
	t := time.NewTimer(s.cfg.DrainTimeout)
	defer t.Stop()
	select {
	case <-finished:
		return nil
	case <-t.C:
	case <-s.cfg.Cut:
	}
	s.cfg.Logger.WarnContext(ctx, "turns did not finish in time")
	cancelTurns()
	<-finished
	return nil
}

// Ready waits until the agent runs the version, or the one that has taken its place, and
// returns nil; or until it failed to start it, and returns why. Suspended agents are ready
// when they know of it.
func (s *Supervisor) Ready(ctx context.Context, id caxton.AgentID, version int) error {
	r, err := s.runner(id)
	if err != nil {
		return err
	}
	return r.ready(ctx, version)
}

// Try makes a version's handler and forgets it again: whether the version can run here. The
// agent need not exist, and nothing changes.
func (s *Supervisor) Try(ctx context.Context, v caxton.AgentVersion) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartupTimeout)
	defer cancel()
	h, err := s.handler(ctx, v)
	if err == nil {
		s.end(ctx, bound{h, v})
	}
	return err
}

// end closes handlers that are not needed any more.
func (s *Supervisor) end(ctx context.Context, bs ...bound) {
	for _, b := range bs {
		c, ok := b.handler.(Closer)
		if !ok {
			continue
		}
		if err := c.Close(context.WithoutCancel(ctx)); err != nil {
			s.cfg.Logger.WarnContext(ctx, "handler not closed well", "agent_id", b.version.AgentID, "version", b.version.Number, "error", err)
		}
	}
}

// handler makes the handler of a version. A factory that panics fails the version, not the
// server.
func (s *Supervisor) handler(ctx context.Context, v caxton.AgentVersion) (h Handler, err error) {
	err = s.guard(ctx, v, "making a handler", func() (err error) {
		h, err = s.factory(ctx, v)
		return err
	})
	return h, err
}

// guard calls f and turns a panic into an error. what says what panicked, for the log.
func (s *Supervisor) guard(ctx context.Context, v caxton.AgentVersion, what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Logger.ErrorContext(ctx, "code of an agent panicked", "in", what, "agent_id", v.AgentID, "version", v.Number,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = caxton.Errorf(caxton.Internal, "agent_panicked", "the agent broke down while it started").
				WithHint("the server's log has the stack")
		}
	}()
	return f()
}

// Status tells how an agent fares, and false when it is not here.
func (s *Supervisor) Status(id caxton.AgentID) (caxton.AgentStatus, bool) {
	r, err := s.runner(id)
	if err != nil {
		return caxton.AgentStatus{}, false
	}
	return r.status(), true
}

// Available reports whether the agent takes messages now.
func (s *Supervisor) Available(id caxton.AgentID) bool {
	r, err := s.runner(id)
	return err == nil && r.available()
}

// Ping asks the agent's own goroutine for a sign of life and returns how long it took. It
// is a Conflict when the agent does not run, and Unavailable when it does not answer before
// ctx ends.
func (s *Supervisor) Ping(ctx context.Context, id caxton.AgentID) (time.Duration, error) {
	r, err := s.runner(id)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if st := r.status(); st.State != caxton.AgentRunning {
		return 0, caxton.Errorf(caxton.Conflict, "agent_not_running", "agent %s is %s", r.slug(), st.State).
			WithHint("caxton agents show %s says why", r.slug())
	}
	answer := make(chan struct{})
	select {
	case r.pings <- answer:
	case <-ctx.Done():
		return 0, caxton.Errorf(caxton.Unavailable, "agent_silent", "agent %s does not answer", r.slug()).WithCause(ctx.Err())
	}
	select {
	case <-answer:
		return time.Since(start), nil
	case <-ctx.Done():
		return 0, caxton.Errorf(caxton.Unavailable, "agent_silent", "agent %s does not answer", r.slug()).WithCause(ctx.Err())
	}
}

// Restart makes the agent's handler anew, at once, also when it waits to restart by itself.
// A suspended agent is a Conflict.
func (s *Supervisor) Restart(ctx context.Context, id caxton.AgentID) error {
	r, err := s.runner(id)
	if err != nil {
		return err
	}
	return r.restart(ctx)
}

func (s *Supervisor) runner(id caxton.AgentID) (*runner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runners[id]; r != nil {
		return r, nil
	}
	return nil, caxton.Errorf(caxton.NotFound, "agent_not_found", "no agent %s runs here", id)
}

// Count returns how many agents of the type are running.
func (s *Supervisor) Count(t caxton.AgentType) int {
	n := 0
	for _, r := range s.all() {
		r.mu.Lock()
		if r.agent.Type == t && r.state == caxton.AgentRunning {
			n++
		}
		r.mu.Unlock()
	}
	return n
}

func (s *Supervisor) all() []*runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*runner, 0, len(s.runners))
	for _, r := range s.runners {
		all = append(all, r)
	}
	return all
}

// latencies returns the recent turn times of all agents, sorted.
func (s *Supervisor) latencies() []time.Duration {
	var all []time.Duration
	for _, r := range s.all() {
		r.mu.Lock()
		all = append(all, r.recent.values()...)
		r.mu.Unlock()
	}
	slices.Sort(all)
	return all
}

// retryable reports whether another try may end better.
func retryable(err error) bool {
	switch caxton.KindOf(err) {
	case caxton.Unavailable, caxton.Exhausted, caxton.Timeout:
		return true
	case caxton.Malformed, caxton.Invalid, caxton.Unauthenticated, caxton.Forbidden, caxton.NotFound,
		caxton.Conflict, caxton.TooLarge, caxton.Canceled, caxton.Internal:
	}
	return false
}

// effectUnknown reports whether err says that nobody knows whether an effect happened.
func effectUnknown(err error) bool {
	var e *caxton.Error
	return errors.As(err, &e) && e.Code == "effect_unknown"
}
