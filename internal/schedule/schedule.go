package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/prometheus/client_golang/prometheus"
)

// A Sender takes messages in. *router.Router provides it.
type Sender interface {
	Send(ctx context.Context, m caxton.Message) (caxton.Receipt, error)
	Conversation(ctx context.Context, id caxton.ConversationID) (caxton.Conversation, error)
}

// A Store keeps what is known of each agent's schedule. *sqlite.DB provides it.
type Store interface {
	ScheduleStates(ctx context.Context) ([]caxton.ScheduleState, error)
	SaveScheduleState(ctx context.Context, s caxton.ScheduleState) error
}

// Config tunes a Scheduler. Zero fields mean the defaults given here.
type Config struct {
	Grace        time.Duration // a run that would begin later than this after its time was missed: 1 min
	KeepMissed   int           // missed runs that happen after all, with missed: all: 100
	RetryInitial time.Duration // pause after a message was not taken, doubled each time: 1 s
	RetryMax     time.Duration // 1 min
	Logger       *slog.Logger  // discards
	Registerer   prometheus.Registerer
	Now          func() time.Time // time.Now
}

// A Scheduler starts conversations of agents by the clock. It is safe for concurrent use.
type Scheduler struct {
	sender Sender
	store  Store
	cfg    Config
	runs   *prometheus.CounterVec
	wake   chan struct{} // capacity 1: changes has entries
	loaded chan struct{} // closed by Run when it knows what the store says

	mu      sync.Mutex // guards all below
	changes map[caxton.AgentID]*caxton.Agent
	status  map[caxton.AgentID]caxton.ScheduleStatus
}

// longestWait is how long Run waits at most before it looks at the clock again: a timer does
// not notice when the clock is set, or when the machine slept.
const longestWait = time.Minute

// clockSlack is how far the clock may be behind what is dealt with before that is not
// believed any more. Times that come again repeat the IDs of their messages.
const clockSlack = time.Hour

// senderName is who says what begins a run.
const senderName = "schedule"

// New returns a Scheduler that sends by sender and remembers in store. It starts nothing.
func New(sender Sender, store Store, cfg Config) *Scheduler {
	cfg.Grace = cmp.Or(cfg.Grace, time.Minute)
	cfg.KeepMissed = cmp.Or(cfg.KeepMissed, 100)
	cfg.RetryInitial = cmp.Or(cfg.RetryInitial, time.Second)
	cfg.RetryMax = cmp.Or(cfg.RetryMax, time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Scheduler{
		sender: sender, store: store, cfg: cfg, runs: newMetrics(cfg.Registerer), wake: make(chan struct{}, 1), loaded: make(chan struct{}),
		changes: map[caxton.AgentID]*caxton.Agent{}, status: map[caxton.AgentID]caxton.ScheduleStatus{},
	}
}

// AgentChanged tells that an agent was deployed, has a new active version, or was suspended
// or resumed. It does not wait.
func (s *Scheduler) AgentChanged(a caxton.Agent) { s.change(a.ID, &a) }

// AgentRemoved tells that an agent is gone. It does not wait.
func (s *Scheduler) AgentRemoved(id caxton.AgentID) { s.change(id, nil) }

func (s *Scheduler) change(id caxton.AgentID, a *caxton.Agent) {
	s.mu.Lock()
	s.changes[id] = a
	s.foresee(id, a)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // Run looks anyway
	}
}

// foresee shows a change at once; Run, which knows of missed runs and retries, corrects it.
// s.mu is held.
func (s *Scheduler) foresee(id caxton.AgentID, a *caxton.Agent) {
	if a == nil || a.Definition.Schedule.Cron == "" {
		delete(s.status, id)
		return
	}
	def := a.Definition.Schedule
	e := &entry{agent: *a, state: s.status[id].State}
	e.state.AgentID = id
	if def.Enabled && !a.Suspended {
		e.cron, _ = Parse(def.Cron, def.Timezone) // Run says what is wrong with it
	}
	e.plan(s.cfg.Now())
	s.status[id] = caxton.ScheduleStatus{Schedule: def, State: e.state, Next: e.start}
}

// Status tells how an agent's schedule fares, and false when it has none.
func (s *Scheduler) Status(id caxton.AgentID) (caxton.ScheduleStatus, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.status[id]
	return st, ok
}

// An entry is an agent with a schedule. Only Run touches it.
type entry struct {
	agent   caxton.Agent
	cron    *Cron // nil while nothing is to be run: disabled, suspended, not readable
	state   caxton.ScheduleState
	start   time.Time // when the next run is to begin; zero for never
	tries   int       // how often the next run was not taken
	notYet  time.Time // no other try before this
	changed bool      // state is not in the store
}

// Run starts runs as they come due, until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	states, err := s.store.ScheduleStates(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	entries := map[caxton.AgentID]*entry{}
	s.mu.Lock()
	for _, st := range states {
		entries[st.AgentID] = &entry{state: st} // the agent is told of later
		shown := s.status[st.AgentID]
		shown.State = st
		s.status[st.AgentID] = shown
	}
	s.mu.Unlock()
	close(s.loaded)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.take(ctx, entries)
		wait := time.Duration(-1)
		for _, e := range entries {
			s.tend(ctx, e)
			if at := e.next(); !at.IsZero() {
				if d := max(0, at.Sub(s.cfg.Now())); wait < 0 || d < wait {
					wait = d
				}
			}
		}
		timer.Stop()
		if wait >= 0 {
			timer.Reset(min(wait, longestWait))
		}
		select {
		case <-s.wake:
		case <-timer.C:
		case <-ctx.Done():
			s.take(ctx, entries) // since when a schedule counts is known after the restart
			return nil
		}
	}
}

// Loaded is closed when Run knows what the store says. An agent that the directory tells of
// afterwards is shown with its latest run at once.
func (s *Scheduler) Loaded() <-chan struct{} { return s.loaded }

// next returns when something is to be done, or the zero time.
func (e *entry) next() time.Time {
	if e.start.Before(e.notYet) && !e.start.IsZero() {
		return e.notYet
	}
	return e.start
}

// take applies what the directory told.
func (s *Scheduler) take(ctx context.Context, entries map[caxton.AgentID]*entry) {
	s.mu.Lock()
	changes := s.changes
	s.changes = map[caxton.AgentID]*caxton.Agent{}
	s.mu.Unlock()
	for id, a := range changes {
		e := entries[id]
		switch {
		case a == nil:
			delete(entries, id)
			s.mu.Lock()
			delete(s.status, id)
			s.mu.Unlock()
			continue
		case e == nil && a.Definition.Schedule.Cron == "":
			continue
		case e == nil:
			e = &entry{state: caxton.ScheduleState{AgentID: id}}
			entries[id] = e
		}
		s.set(ctx, e, *a)
	}
}

// set brings what the agent's definition says into force. Times before a schedule was given,
// changed or enabled were never due; times while the agent was suspended were, and are missed.
func (s *Scheduler) set(ctx context.Context, e *entry, a caxton.Agent) {
	e.agent, e.cron, e.tries, e.notYet = a, nil, 0, time.Time{}
	def := a.Definition.Schedule
	key := ""
	if def.Enabled && def.Cron != "" {
		cron, err := Parse(def.Cron, def.Timezone)
		if err != nil {
			s.cfg.Logger.ErrorContext(ctx, "schedule not readable", "agent", a.Slug, "error", err)
			e.state.Error, e.changed = message(err), true
		} else {
			key = def.Cron + " " + cmp.Or(def.Timezone, "UTC")
			if !a.Suspended {
				e.cron = cron
			}
		}
	}
	if e.state.Schedule != key {
		e.state.Schedule, e.state.Through, e.changed = key, s.cfg.Now(), true
	}
	s.done(ctx, e)
	if e.cron != nil && e.start.IsZero() {
		s.cfg.Logger.WarnContext(ctx, "schedule never comes due", "agent", a.Slug, "cron", def.Cron)
	}
}

// done stores and shows what changed, and finds the time of the next run.
func (s *Scheduler) done(ctx context.Context, e *entry) {
	e.plan(e.state.Through)
	if e.changed {
		// What was sent is noted even when the server stops at this moment.
		if err := s.store.SaveScheduleState(context.WithoutCancel(ctx), e.state); err != nil {
			s.cfg.Logger.ErrorContext(ctx, "schedule not noted", "agent", e.agent.Slug, "error", err)
		} else {
			e.changed = false
		}
	}
	s.mu.Lock()
	if e.agent.Definition.Schedule.Cron == "" {
		delete(s.status, e.state.AgentID)
	} else {
		s.status[e.state.AgentID] = caxton.ScheduleStatus{Schedule: e.agent.Definition.Schedule, State: e.state, Next: e.start}
	}
	s.mu.Unlock()
}

// plan finds the beginning of the first run due after a time.
func (e *entry) plan(after time.Time) {
	e.start = time.Time{}
	if e.cron == nil {
		return
	}
	if due := e.cron.Next(after); !due.IsZero() {
		e.start = due.Add(e.jitter(due))
	}
}

// jitter returns how much later than due the run begins: always the same for one time, and
// never past the next.
func (e *entry) jitter(due time.Time) time.Duration {
	limit := e.agent.Definition.Schedule.Jitter
	if next := e.cron.Next(due); !next.IsZero() {
		limit = min(limit, next.Sub(due))
	}
	if limit <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", e.agent.ID, due.Unix()) // a hash takes all
	return time.Duration(h.Sum64() % uint64(limit))        //nolint:gosec // limit is positive, and so is what is left
}

// tend begins the runs of e that are due.
func (s *Scheduler) tend(ctx context.Context, e *entry) {
	now := s.cfg.Now()
	if e.cron != nil && e.state.Through.After(now.Add(clockSlack)) {
		s.cfg.Logger.WarnContext(ctx, "clock was set back, schedule begins anew", "agent", e.agent.Slug, "through", e.state.Through)
		e.state.Through, e.changed = now, true
		s.done(ctx, e)
	}
	if at := e.next(); at.IsZero() || now.Before(at) || ctx.Err() != nil {
		return
	}
	defer s.done(ctx, e)
	times, n := e.cron.between(e.state.Through, now, s.cfg.KeepMissed+1)
	if n > 0 {
		if last := times[len(times)-1]; now.Before(last.Add(e.jitter(last))) {
			times, n = times[:len(times)-1], n-1 // its jitter is not over
		}
	}
	if n == 0 {
		return
	}
	runs := s.choose(e, times, now)
	if lost := n - len(runs); lost > 0 {
		e.state.Missed += int64(lost)
		s.runs.WithLabelValues(string(missed)).Add(float64(lost))
		s.cfg.Logger.WarnContext(ctx, "scheduled runs missed", "agent", e.agent.Slug, "runs", lost, "since", e.state.Through)
		e.state.Through, e.changed = times[len(times)-1], true
		if len(runs) > 0 {
			e.state.Through = runs[0].Add(-time.Minute)
		}
	}
	for _, due := range runs {
		if err := s.begin(ctx, e, due, len(runs) > 1); err != nil {
			pause := min(s.cfg.RetryMax, s.cfg.RetryInitial<<min(e.tries, 16))
			e.tries++
			e.notYet = now.Add(pause)
			s.cfg.Logger.WarnContext(ctx, "scheduled run not begun, trying again", "agent", e.agent.Slug, "due", due, "pause", pause, "error", err)
			return
		}
		e.tries, e.notYet = 0, time.Time{}
	}
}

// choose returns which of the times that are due lead to a run.
func (s *Scheduler) choose(e *entry, times []time.Time, now time.Time) []time.Time {
	last := times[len(times)-1:]
	onTime := !now.After(last[0].Add(e.jitter(last[0]) + s.cfg.Grace))
	switch e.agent.Definition.Schedule.Missed {
	case caxton.MissedSkip:
		if !onTime {
			return nil
		}
	case caxton.MissedAll:
		most := s.cfg.KeepMissed
		if onTime {
			most++
		}
		return times[max(0, len(times)-most):]
	case caxton.MissedOnce, "":
	}
	return last
}

// begin starts the run that was due at a time, or settles that it does not happen. An error
// is worth another try. Runs that are made up for are together: they do not overlap.
func (s *Scheduler) begin(ctx context.Context, e *entry, due time.Time, together bool) error {
	def := e.agent.Definition.Schedule
	if def.Overlap != caxton.OverlapAllow && !together && e.state.ConversationID != "" {
		c, err := s.sender.Conversation(ctx, e.state.ConversationID)
		switch kind := caxton.KindOf(err); {
		case err == nil && c.State == caxton.ConversationActive:
			s.cfg.Logger.WarnContext(ctx, "scheduled run skipped, the one before is at work", "agent", e.agent.Slug, "due", due, "conversation", c.ID)
			e.state.Overlapped++
			e.passed(due)
			s.runs.WithLabelValues(string(overlapped)).Inc()
			return nil
		case err != nil && kind != caxton.NotFound:
			return err
		}
	}
	rc, err := s.sender.Send(ctx, e.message(due))
	switch {
	case err == nil:
		e.state.LastRun, e.state.MessageID, e.state.ConversationID, e.state.Error = due, rc.MessageID, rc.ConversationID, ""
		s.runs.WithLabelValues(string(sent)).Inc()
		s.cfg.Logger.InfoContext(ctx, "scheduled run begun", "agent", e.agent.Slug, "due", due, "message", rc.MessageID,
			"conversation", rc.ConversationID, "repeated", rc.Duplicate)
	case transient(err):
		return err
	default:
		e.state.Error = message(err)
		s.runs.WithLabelValues(string(failed)).Inc()
		s.cfg.Logger.ErrorContext(ctx, "scheduled run refused", "agent", e.agent.Slug, "due", due, "error", err)
	}
	e.passed(due)
	if together {
		s.done(ctx, e) // each is noted before the next
	}
	return nil
}

// passed marks the times up to due as dealt with.
func (e *entry) passed(due time.Time) { e.state.Through, e.changed = due, true }

// message returns what begins the run that was due at a time.
func (e *entry) message(due time.Time) caxton.Message {
	def := e.agent.Definition.Schedule
	text := def.Message
	if text == "" {
		at := due.In(e.cron.loc)
		text = fmt.Sprintf("This is your scheduled run of %s, %s (%s).", at.Format("Monday 2 January 2006"), at.Format("15:04 -07:00"), e.cron.loc)
	}
	return caxton.Message{
		ID:           runID(e.agent.ID, due),
		Performative: caxton.Request,
		Sender:       senderName,
		Receiver:     e.agent.Slug,
		Content:      caxton.TextContent(text),
	}
}

// runID returns the ID of the message that begins an agent's run of a time: always the same.
func runID(id caxton.AgentID, due time.Time) caxton.MessageID {
	return caxton.DeriveMessageID(caxton.MessageID(fmt.Sprintf("schedule:%s:%d", id, due.Unix())), 0)
}

// transient reports whether another try may end better.
func transient(err error) bool {
	switch caxton.KindOf(err) {
	case caxton.Unavailable, caxton.Exhausted, caxton.Timeout, caxton.Canceled, caxton.Internal:
		return true
	case caxton.Malformed, caxton.Invalid, caxton.Unauthenticated, caxton.Forbidden, caxton.NotFound, caxton.Conflict, caxton.TooLarge:
	}
	return false
}

// message returns what of an error may be shown.
func message(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Message
	}
	return err.Error()
}
