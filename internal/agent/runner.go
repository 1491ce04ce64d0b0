package agent

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
)

// A runner runs one agent. Its goroutine leases messages; workers handle them.
type runner struct {
	s     *Supervisor
	pings chan chan struct{} // unbuffered: whoever pings waits until the goroutine takes it
	kick  chan struct{}      // capacity 1: something below changed

	mu       sync.Mutex // guards all below
	agent    caxton.Agent
	removed  bool
	again    bool // an operator wants a restart
	stale    bool // agent.Version was not tried since it became the active one
	state    caxton.AgentState
	since    time.Time
	running  int   // version that takes messages, 0 before the first
	tried    int   // version whose start was tried last
	startErr error // why it failed, nil when it runs
	handlers map[int]bound
	used     []int         // versions in handlers, last made last
	changed  chan struct{} // closed and replaced at each change of state
	inFlight int
	handled  int64
	failed   int64
	restarts int64
	streak   int // panics in a row
	backoff  time.Duration
	restart0 time.Time // when it restarts by itself
	lastErr  string
	lastErrT time.Time
	lastWork time.Time
	recent   ring
	tallies  tallies
}

// A bound is a version with its handler.
type bound struct {
	handler Handler
	version caxton.AgentVersion
}

// keptHandlers bounds how many versions of an agent keep their handlers at hand.
const keptHandlers = 8

func newRunner(s *Supervisor, a caxton.Agent) *runner {
	r := &runner{
		s: s, agent: a, stale: true, pings: make(chan chan struct{}), kick: make(chan struct{}, 1),
		state: caxton.AgentLoaded, since: s.cfg.Now(), handlers: map[int]bound{}, changed: make(chan struct{}),
	}
	r.tallies.follow(a.Rollout)
	return r
}

func (r *runner) slug() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.agent.Slug
}

func (r *runner) change(a caxton.Agent) {
	r.mu.Lock()
	if a.Version != r.agent.Version {
		r.stale = true
	}
	r.agent = a
	r.tallies.follow(a.Rollout)
	r.mu.Unlock()
	r.poke()
}

func (r *runner) remove() {
	r.mu.Lock()
	r.removed = true
	r.wakeWaiters()
	r.mu.Unlock()
	r.poke()
}

func (r *runner) poke() {
	select {
	case r.kick <- struct{}{}:
	default: // the goroutine will look anyway
	}
}

func (r *runner) restart(ctx context.Context) error {
	r.mu.Lock()
	if r.agent.Suspended {
		defer r.mu.Unlock()
		return caxton.Errorf(caxton.Conflict, "agent_suspended", "agent %s is suspended", r.agent.Slug).WithHint("resume it instead")
	}
	r.again = true
	before := r.restarts
	r.mu.Unlock()
	r.poke()
	for {
		r.mu.Lock()
		done, err, changed := r.restarts > before, r.startErr, r.changed
		if !done {
			err = r.ended()
		}
		r.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return caxton.Errorf(caxton.Timeout, "restart_timeout", "the agent did not restart in time").WithCause(ctx.Err())
		}
	}
}

// ended returns why it is no use to wait for the agent any more, or nil. r.mu is held.
func (r *runner) ended() error {
	switch {
	case r.removed:
		return caxton.Errorf(caxton.NotFound, "agent_removed", "agent %s was removed meanwhile", r.agent.Slug)
	case r.state == caxton.AgentStopped:
		return caxton.Errorf(caxton.Unavailable, "node_stopping", "the server is stopping").WithHint("try again when it is back")
	}
	return nil
}

// setState changes the state and wakes those who wait for it. r.mu is held.
func (r *runner) setState(st caxton.AgentState) {
	if r.state != st {
		r.state, r.since = st, r.s.cfg.Now()
	}
	r.wakeWaiters()
}

// wakeWaiters has those who wait for a change look again. r.mu is held.
func (r *runner) wakeWaiters() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *runner) available() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.agent.Suspended && !r.removed && (r.state == caxton.AgentRunning || r.state == caxton.AgentLoaded)
}

func (r *runner) ready(ctx context.Context, version int) error {
	for {
		r.mu.Lock()
		resting := r.state == caxton.AgentSuspended || r.state == caxton.AgentDraining
		ok := r.running == version && !r.agent.Suspended || r.agent.Suspended && resting ||
			r.agent.Version != version && r.running == r.agent.Version // superseded meanwhile
		err := r.ended()
		if err == nil && r.tried == version && !r.stale {
			err = r.startErr
		}
		changed := r.changed
		r.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return caxton.Errorf(caxton.Timeout, "agent_start_timeout", "version %d of the agent did not start in time", version).WithCause(ctx.Err())
		}
	}
}

func (r *runner) status() caxton.AgentStatus {
	queued := r.s.source.Pending(r.id())
	r.mu.Lock()
	defer r.mu.Unlock()
	st := caxton.AgentStatus{
		AgentID: r.agent.ID, State: r.state, Since: r.since, Version: cmp.Or(r.running, r.agent.Version),
		Queued: max(0, queued-r.inFlight), InFlight: r.inFlight, Handled: r.handled, Failed: r.failed, Restarts: r.restarts,
		LastError: r.lastErr, LastErrorAt: r.lastErrT, LastActivity: r.lastWork,
	}
	if r.state == caxton.AgentFailed {
		st.NextRestart = r.restart0
	}
	times := r.recent.values()
	slices.Sort(times)
	st.LatencyP50, st.LatencyP99 = quantile(times, 0.50), quantile(times, 0.99)
	return st
}

func (r *runner) id() caxton.AgentID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.agent.ID
}

// wish is what the runner's goroutine should be doing.
type wish struct {
	agent     caxton.Agent
	removed   bool
	suspended bool
	start     bool          // make the handler of agent.Version now
	wait      time.Duration // or in so long; negative: never
	running   bool
}

func (r *runner) wish() wish {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := wish{agent: r.agent, removed: r.removed, suspended: r.agent.Suspended, wait: -1}
	if w.removed || w.suspended {
		return w
	}
	switch {
	case r.again, r.stale, r.state == caxton.AgentSuspended, r.state == caxton.AgentDraining:
		w.start = true // asked for, or another version than the one tried, newer or rolled back to, or resumed
	case r.state == caxton.AgentFailed:
		if w.wait = r.restart0.Sub(r.s.cfg.Now()); w.wait <= 0 {
			w.start = true
		}
	default:
		w.running = r.state == caxton.AgentRunning
	}
	return w
}

// run leases messages and hands them to workers until ctx ends or the agent is removed; then
// it waits for the workers. Turns run under the context turns, which outlives ctx by the
// drain timeout.
func (r *runner) run(ctx, turns context.Context) {
	var workers sync.WaitGroup
	defer func() {
		r.mark(caxton.AgentDraining)
		workers.Wait()
		if r.wish().removed {
			if err := r.s.source.Drop(context.WithoutCancel(ctx), r.id()); err != nil {
				r.s.cfg.Logger.ErrorContext(ctx, "messages of a removed agent not failed", "agent", r.slug(), "error", err)
			}
		}
		r.mu.Lock()
		left := slices.Collect(maps.Values(r.handlers))
		clear(r.handlers)
		r.used = r.used[:0]
		r.mu.Unlock()
		r.s.end(ctx, left...)
		r.mark(caxton.AgentStopped)
	}()
	signal := r.s.source.Signal(r.id())
	for {
		w := r.wish()
		if w.removed || ctx.Err() != nil {
			return
		}
		if w.suspended {
			r.suspend()
		} else if w.start {
			r.start(ctx, w.agent)
			continue
		}
		if w.running {
			r.dispatch(ctx, turns, &workers)
			if ctx.Err() != nil {
				return
			}
		}
		var restart <-chan time.Time
		var t *time.Timer
		if w.wait >= 0 {
			t = time.NewTimer(w.wait)
			restart = t.C
		}
		mail := signal
		if !w.running {
			mail = nil
		}
		select {
		case <-ctx.Done():
		case <-r.kick:
		case <-restart:
		case <-mail:
		case answer := <-r.pings:
			close(answer)
		}
		if t != nil {
			t.Stop()
		}
	}
}

func (r *runner) mark(st caxton.AgentState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setState(st)
}

// suspend notes that the agent takes no more messages: it drains while turns are in flight,
// and a worker that ends pokes.
func (r *runner) suspend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := caxton.AgentSuspended
	if r.inFlight > 0 {
		st = caxton.AgentDraining
	}
	if r.state != st {
		r.setState(st)
	}
}

// start makes the handler of the agent's active version. When that fails, a handler that
// works goes on, be it of an older version; without one the agent is failed and tried again
// later.
func (r *runner) start(ctx context.Context, a caxton.Agent) {
	ctx, cancel := context.WithTimeout(ctx, r.s.cfg.StartupTimeout)
	defer cancel()
	r.mu.Lock()
	again := r.again
	r.mu.Unlock()
	var b bound
	var err error
	if again {
		b, err = r.load(ctx, a.ID, a.Version) // anew, and the one there is stays until it works
	} else {
		b, err = r.bind(ctx, a.Version)
	}
	var left []bound
	defer func() { r.s.end(ctx, left...) }()
	r.mu.Lock()
	defer r.mu.Unlock()
	if again || r.state == caxton.AgentFailed {
		r.restarts++
	}
	if again || r.tried != a.Version {
		r.streak, r.backoff = 0, 0 // what an operator restarts, or another version, begins anew
	}
	if again {
		r.again = false
	}
	if r.agent.Version == a.Version {
		r.stale = false
	}
	r.tried, r.startErr = a.Version, err
	if err == nil {
		if again {
			left = slices.Collect(maps.Values(r.handlers))
			clear(r.handlers)
			r.used = r.used[:0]
			r.keep(b)
		}
		r.running = a.Version
		r.setState(caxton.AgentRunning)
		return
	}
	r.note(err)
	r.s.cfg.Logger.ErrorContext(ctx, "agent did not start", "agent", a.Slug, "agent_id", a.ID, "version", a.Version, "error", err)
	if r.running > 0 && r.state == caxton.AgentRunning {
		r.wakeWaiters() // what ran before goes on
		return
	}
	r.failLocked()
}

// failLocked stops the agent for a growing pause. r.mu is held.
func (r *runner) failLocked() {
	r.backoff = min(r.s.cfg.RestartMax, max(r.s.cfg.RestartInitial, 2*r.backoff))
	r.restart0 = r.s.cfg.Now().Add(r.backoff)
	r.setState(caxton.AgentFailed)
}

// note remembers an error for Status. r.mu is held.
func (r *runner) note(err error) {
	r.lastErr, r.lastErrT = publicMessage(err), r.s.cfg.Now()
}

// bind returns a version with its handler, making the handler when needed.
func (r *runner) bind(ctx context.Context, version int) (bound, error) {
	r.mu.Lock()
	b, ok := r.handlers[version]
	id := r.agent.ID
	r.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := r.load(ctx, id, version)
	if err != nil {
		return bound{}, err
	}
	r.mu.Lock()
	first, twice := r.handlers[version]
	left := []bound{b} // another worker was faster
	if !twice {
		first, left = b, r.keep(b)
	}
	r.mu.Unlock()
	r.s.end(ctx, left...)
	return first, nil
}

// load makes the handler of a version.
func (r *runner) load(ctx context.Context, id caxton.AgentID, version int) (bound, error) {
	v, err := r.s.versions.Version(ctx, id, version)
	if err != nil {
		return bound{}, err
	}
	h, err := r.s.handler(ctx, v)
	if w, ok := h.(Warmer); ok && err == nil {
		err = r.s.guard(ctx, v, "warming a handler", func() error { return w.Warm(ctx) })
	}
	return bound{h, v}, err
}

// keep has a handler at hand from now on, and forgets the oldest when there are too many:
// these it returns. r.mu is held.
func (r *runner) keep(b bound) (left []bound) {
	r.handlers[b.version.Number] = b
	r.used = append(r.used, b.version.Number)
	for len(r.used) > keptHandlers {
		old := r.used[slices.IndexFunc(r.used, func(n int) bool { return !r.needed(n) })] // there are more than are needed
		r.used = slices.DeleteFunc(r.used, func(n int) bool { return n == old })
		left = append(left, r.handlers[old])
		delete(r.handlers, old)
	}
	return left
}

// needed reports whether a version's handler must stay at hand: it takes messages, or is part
// of a rollout. r.mu is held.
func (r *runner) needed(version int) bool {
	ro := r.agent.Rollout
	return version == r.running || version == r.agent.Version || ro.Open() && (version == ro.From || version == ro.To)
}

// dispatch gives messages to workers until there is none, or all workers are busy, or the
// agent should no longer run.
func (r *runner) dispatch(ctx, turns context.Context, workers *sync.WaitGroup) {
	for {
		if ctx.Err() != nil || !r.free() {
			return // a worker that ends pokes
		}
		select {
		case answer := <-r.pings:
			close(answer)
		default:
		}
		select {
		case r.s.slots <- struct{}{}:
		default:
			if !r.slot(ctx) {
				return
			}
			if !r.free() { // no longer, after the wait; the kick that says so is still to be heard
				<-r.s.slots
				return
			}
		}
		next, ok := r.s.source.Next(ctx, r.id())
		if !ok {
			<-r.s.slots
			return
		}
		l := next // one that is kept
		r.mu.Lock()
		r.inFlight++
		r.mu.Unlock()
		r.s.pool.hand(turns, turn{r, &l, workers})
	}
}

// slot waits for a slot, and reports false when there is something else to do first.
func (r *runner) slot(ctx context.Context) bool {
	for {
		select {
		case r.s.slots <- struct{}{}:
			return true
		case <-r.kick: // something changed while all slots were taken
			r.poke() // run looks what, and comes back
			return false
		case answer := <-r.pings:
			close(answer)
		case <-ctx.Done():
			return false
		}
	}
}

// over frees the place of a turn that has ended.
func (r *runner) over() {
	<-r.s.slots
	r.mu.Lock()
	r.inFlight--
	// A width as it is now: a new version may have changed it.
	full := r.inFlight+1 >= r.width() || r.agent.Suspended
	r.mu.Unlock()
	if full {
		r.poke()
	}
}

// free reports whether the agent may take another message.
func (r *runner) free() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == caxton.AgentRunning && !r.agent.Suspended && !r.removed && !r.again && !r.stale && r.inFlight < r.width()
}

// width returns how many turns the agent may have at once. r.mu is held.
func (r *runner) width() int {
	return cmp.Or(r.agent.Definition.Performance.MaxConcurrent, r.s.cfg.PerAgent)
}

// A ring keeps the last turn times.
type ring struct {
	times [256]time.Duration
	n     int
}

func (g *ring) add(d time.Duration) {
	g.times[g.n%len(g.times)] = d
	g.n++
}

func (g *ring) values() []time.Duration {
	return slices.Clone(g.times[:min(g.n, len(g.times))])
}

// quantile returns the q-quantile of sorted times by the nearest rank, 0 when there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func jitter() float64 { return rand.Float64() } //nolint:gosec // spreads retries; no secret
