package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/caxton/caxton/internal/wasm/meter"
)

// An Agent handles messages for one version of a module agent. It is safe for concurrent use.
type Agent struct {
	rt     *Runtime
	module *module
	id     caxton.AgentID
	slug   string
	number int // of the version
	def    caxton.Definition
	limits Limits
	grants grants
	dirs   []Dir
	roots  []*os.Root // of dirs
	logger *slog.Logger

	mu     sync.Mutex // guards all below
	idle   []*instance
	busy   int // turns at work, and instances that are made or ended
	closed bool
	done   bool // what the agent holds was given back
}

// An Options says what a module agent gets, beyond its definition.
type Options struct {
	Limits Limits  // zero fields mean the server's defaults
	Grants []Grant // nil means GrantsOf the definition
	Dirs   []Dir
}

// Agent compiles a module for a version of an agent, or takes it from the cache. It fails
// with Invalid when the module cannot run here: Inspect tells all the reasons. Close gives
// back what it holds.
func (r *Runtime) Agent(ctx context.Context, v caxton.AgentVersion, wasm []byte, o Options) (*Agent, error) {
	a := &Agent{
		rt: r, id: v.AgentID, slug: caxton.Slug(v.Definition.Name), number: v.Number, def: v.Definition,
		limits: o.Limits.or(r.cfg.Defaults).below(r.cfg.Ceilings), grants: o.Grants,
	}
	if o.Grants == nil {
		a.grants = GrantsOf(&v.Definition)
	}
	a.logger = r.cfg.Logger.With("agent", a.slug, "agent_id", a.id)
	if err := r.enter(); err != nil {
		return nil, err
	}
	err := r.equip(ctx, a, wasm, o)
	if err == nil { // it may be another agent's, with other grants
		err = r.allowed(a.module, a.grants, o.Dirs)
	}
	if a.dirs = o.Dirs; err == nil {
		a.roots, err = openRoots(o.Dirs)
	}
	if err = errors.Join(err, r.admit(a, err == nil)); err == nil {
		return a, nil
	}
	if a.module != nil {
		err = errors.Join(err, r.drop(ctx, a.module))
	}
	return nil, errors.Join(err, closeRoots(a.roots))
}

// equip gives an agent its compiled module. A new one is judged before it is compiled, with
// what the agent may do; others may come to share it, and are judged by themselves.
func (r *Runtime) equip(ctx context.Context, a *Agent, wasm []byte, o Options) (err error) {
	key := r.store.key(hashOf(wasm), optionsKey(&a.limits))
	var judged *meter.Module
	if !r.expected(key) && !r.store.holds(key) {
		var rep *Report
		if rep, judged = r.inspect(wasm, a.grants, o, &a.limits); rep.Err() != nil {
			return rep.Err()
		}
	}
	a.module, err = r.compile(ctx, key, func() (*meter.Module, error) {
		if judged != nil {
			return judged, nil
		}
		rep, m := r.inspect(wasm, AllGrants(), Options{}, &a.limits)
		return m, rep.Err()
	})
	return err
}

// enter keeps a place for an agent that is being made.
func (r *Runtime) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errDraining()
	}
	if len(r.agents)+r.coming >= r.cfg.MaxAgents {
		return caxton.Errorf(caxton.Exhausted, "wasm_too_many_agents", "this server runs %d module agents at most", r.cfg.MaxAgents).
			WithHint("remove some, or raise wasm.max_agents")
	}
	r.coming++
	return nil
}

// admit gives an agent the place that was kept for it, when it is made well. The Runtime may have
// been closed meanwhile.
func (r *Runtime) admit(a *Agent, well bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.coming--
	switch {
	case !well:
		return nil
	case r.closed:
		return errDraining()
	}
	r.agents[a] = true
	return nil
}

func errDraining() error {
	return caxton.Errorf(caxton.Unavailable, "draining", "the server is stopping")
}

func (r *Runtime) leave(a *Agent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.agents, a)
}

// Contract returns how the module is run.
func (a *Agent) Contract() Contract { return a.module.entry.contract }

// Limits returns what the agent runs under.
func (a *Agent) Limits() Limits { return a.limits }

// Close ends the idle instances now, and gives back what the agent holds when the last turn
// at work has ended. A closed agent handles no more messages.
func (a *Agent) Close(ctx context.Context) error {
	a.rt.end(ctx, a.shut())
	return a.finish(ctx)
}

// finish gives back what a closed agent holds, once nothing runs in it.
func (a *Agent) finish(ctx context.Context) error {
	a.mu.Lock()
	last := a.closed && a.busy == 0 && !a.done
	a.done = a.done || last
	a.mu.Unlock()
	if !last {
		return nil
	}
	a.rt.leave(a)
	return errors.Join(a.rt.drop(ctx, a.module), closeRoots(a.roots))
}

// Handle answers one message. Errors: what the module did wrong, of the codes that docs/wasm.md
// lists, all beginning with "wasm_"; what a tool call said that ends the turn; Unavailable
// when the agent was closed. Kinds Timeout and Unavailable are worth another try.
func (a *Agent) Handle(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
	s, err := a.begun(ctx)
	if err != nil {
		return nil, err
	}
	defer a.ended(ctx, s)
	return a.handle(ctx, &turn, s)
}

// hold keeps what the agent has, until let.
func (a *Agent) hold() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return caxton.Errorf(caxton.Unavailable, "wasm_closed", "the agent's version has ended").WithHint("send it again")
	}
	a.busy++
	return nil
}

// let is the end of one hold. That of the last closes a closed agent.
func (a *Agent) let(ctx context.Context) {
	a.mu.Lock()
	a.busy--
	a.mu.Unlock()
	if err := a.finish(context.WithoutCancel(ctx)); err != nil {
		a.logger.WarnContext(ctx, "module not closed well", "error", err)
	}
}

// begun holds the agent and takes a slot of those that run, until ended.
func (a *Agent) begun(ctx context.Context) (*slot, error) {
	if err := a.hold(); err != nil {
		return nil, err
	}
	s := &slot{all: a.rt.slots}
	if !s.take(ctx) {
		a.ended(ctx, s)
		return nil, caxton.Errorf(caxton.Unavailable, "wasm_busy", "%d modules were running all the time", a.rt.cfg.MaxConcurrent).
			WithHint("raise wasm.max_concurrent_executions, or send less").WithCause(ctx.Err())
	}
	return s, nil
}

// ended gives back what begun took.
func (a *Agent) ended(ctx context.Context, s *slot) {
	s.give()
	a.let(ctx)
}

// handle does a turn that has its slot.
func (a *Agent) handle(ctx context.Context, turn *caxton.Turn, s *slot) ([]caxton.Message, error) {
	m := &turn.Message
	if out, ok, err := a.committed(ctx, m); ok || err != nil {
		return out, err
	}
	calls, err := a.beginCalls(ctx, turn)
	if err != nil {
		return refused(m, calls, err)
	}
	ctx, span := telemetry.Start(ctx, telemetry.Internal, "caxton.wasm.run", string(a.module.entry.contract))
	t := a.newTurn(ctx, m, calls, s)
	t.traced = span.Recorded()
	t.reads.keep = turn.Module != nil && turn.Agent.Shadowed(m.ConversationID, a.number) != 0
	out, err := a.work(ctx, t)
	t.log.end(ctx)
	t.describe(span)
	span.End(err)
	t.tell(turn.Module)
	a.report(t, len(out), err)
	if err != nil {
		return refused(m, calls, err)
	}
	return out, nil
}

// beginCalls returns the tool calls of the turn; nil when there can be none.
func (a *Agent) beginCalls(ctx context.Context, turn *caxton.Turn) (Calls, error) {
	if a.rt.cfg.Calls == nil {
		return nil, nil //nolint:nilnil // no calls are no fault
	}
	return a.rt.cfg.Calls(ctx, *turn)
}

// refused answers with a refuse when that is what the error stands for.
func refused(m *caxton.Message, calls Calls, err error) ([]caxton.Message, error) {
	if calls != nil {
		if content, ok := calls.Refusal(err); ok {
			return []caxton.Message{m.Reply(caxton.Refuse, content)}, nil
		}
	}
	return nil, err
}

// work runs the guest over the message, and makes what it did last.
func (a *Agent) work(ctx context.Context, t *turn) ([]caxton.Message, error) {
	out, err := a.answer(ctx, t)
	if err != nil {
		return nil, err
	}
	return out, a.commit(ctx, t, out)
}

// answer runs the guest over the message.
func (a *Agent) answer(ctx context.Context, t *turn) ([]caxton.Message, error) {
	var err error
	if t.input, err = json.Marshal(caxton.LoggedMessage(*t.msg)); err != nil {
		return nil, caxton.Errorf(caxton.Internal, "wasm_message", "the message cannot be written for the module").WithCause(err)
	}
	if len(t.input) > int(a.limits.MessageSize) {
		return nil, caxton.Errorf(caxton.TooLarge, "wasm_message_too_large", "the message has %d bytes, and the module takes %v", len(t.input), a.limits.MessageSize).
			WithHint("send less, or raise resource_limits.max_message_size of the agent")
	}
	within, cancel := context.WithTimeout(ctx, a.limits.Time)
	defer cancel()
	if err := a.run(within, t); err != nil {
		return nil, err
	}
	out, err := t.outputs(ctx)
	if err != nil || t.calls == nil {
		return out, err
	}
	return out, t.calls.Done(ctx)
}

// run runs the guest by its contract.
func (a *Agent) run(ctx context.Context, t *turn) error {
	if a.module.entry.contract == Command {
		return a.runCommand(ctx, t)
	}
	in, err := a.instance(ctx, t)
	if err != nil {
		return err
	}
	if a.module.entry.contract == Plugin {
		err = in.runPlugin(ctx)
	} else {
		err = in.runReactor(ctx)
	}
	if err == nil && t.failure != "" {
		err = errFailed(t.failure)
	}
	if broken(err) || t.rehearses {
		in.discard(ctx)
		return unended(err)
	}
	a.put(context.WithoutCancel(ctx), in)
	return err
}

// instance returns the one that does the turn: of the pool, or its own when nothing of it is to
// be seen by others.
func (a *Agent) instance(ctx context.Context, t *turn) (*instance, error) {
	if t.rehearses {
		return a.own(ctx, t)
	}
	return a.acquire(ctx, t)
}

// A failed is the error of a guest that says itself that it failed. It ended in good order.
type failed struct{ error }

func (f failed) Unwrap() error { return f.error }

func errFailed(what string) error {
	return failed{caxton.Errorf(caxton.Invalid, "wasm_failed", "the module failed: %s", what).WithHint("the module's own log may say more")}
}

// broken reports whether an instance is of no more use after a turn that ended so.
func broken(err error) bool {
	_, ok := errors.AsType[failed](err)
	return err != nil && !ok
}

// A keptTurn is what is kept with the changes of a turn: what it said, for a turn that is
// repeated because the process died, and what it found in its state, for a replay.
type keptTurn struct {
	Outputs []caxton.LoggedMessage `json:"outputs"`
	Reads   []caxton.StateRead     `json:"reads,omitempty"`
}

// committed returns what a turn said that has changed the state already.
func (a *Agent) committed(ctx context.Context, m *caxton.Message) ([]caxton.Message, bool, error) {
	if a.rt.cfg.State == nil || !a.grants.has(StateKeys) {
		return nil, false, nil
	}
	c, ok, err := a.kept(ctx, m)
	if err != nil || !ok {
		return nil, false, err
	}
	out := make([]caxton.Message, len(c.Outputs))
	for i := range c.Outputs {
		out[i] = caxton.Message(c.Outputs[i])
	}
	return out, true, nil
}

// kept returns what is kept of a turn that has changed the state.
func (a *Agent) kept(ctx context.Context, m *caxton.Message) (c keptTurn, ok bool, err error) {
	data, ok, err := a.rt.cfg.State.Committed(ctx, a.id, m.ID)
	if err != nil || !ok {
		return c, false, err
	}
	if len(data) > 0 && data[0] == '[' { // of an earlier version of the server
		err = json.Unmarshal(data, &c.Outputs)
	} else {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return c, false, caxton.Errorf(caxton.Internal, "wasm_state", "what the module said is not readable").WithCause(err)
	}
	return c, true, nil
}

// commit stores what the turn changed of the state, together with what it said and saw: a turn
// that is repeated because the process died finds both.
func (a *Agent) commit(ctx context.Context, t *turn, out []caxton.Message) error {
	if len(t.state) == 0 {
		return nil
	}
	c := keptTurn{Outputs: make([]caxton.LoggedMessage, len(out))}
	for i := range out {
		c.Outputs[i] = caxton.LoggedMessage(out[i])
	}
	if t.reads.size <= replayReads {
		c.Reads = t.reads.all
	}
	data, err := json.Marshal(c)
	if err != nil {
		return caxton.Errorf(caxton.Internal, "wasm_state", "what the module said cannot be stored").WithCause(err)
	}
	gate := a.rt.gate(a.id)
	gate.RLock()
	defer gate.RUnlock()
	return a.rt.cfg.State.Commit(ctx, a.id, a.number, t.msg.ID, t.changes(), data)
}

// describe tells a span what the turn took.
func (t *turn) describe(span telemetry.Span) {
	if !span.Recorded() {
		return
	}
	span.Set(
		telemetry.Str("caxton.wasm.module", t.a.def.Module.SHA256),
		telemetry.Bool("caxton.wasm.cold", t.startup > 0),
		telemetry.Int("caxton.wasm.fuel", fuelOf(t.used)),
		telemetry.Int("caxton.wasm.memory_bytes", t.memory),
		telemetry.Int("caxton.wasm.host_calls", t.hostCalls),
		telemetry.Int("caxton.wasm.tool_calls", t.toolCalls),
	)
	if n := t.spans - maxHostSpans; n > 0 {
		span.Int("caxton.wasm.host_calls_untold", int64(n))
	}
	if t.startup > 0 {
		span.Set(
			telemetry.Float("caxton.wasm.startup_seconds", t.startup.Seconds()),
		)
	}
}

// report tells what the turn took.
func (a *Agent) report(t *turn, outputs int, err error) {
	if a.rt.cfg.Report == nil {
		return
	}
	x := Execution{
		AgentID: a.id, Agent: a.slug, Version: a.number, MessageID: t.msg.ID, Contract: a.module.entry.contract,
		Start: t.start, Time: a.rt.cfg.Now().Sub(t.start), Startup: t.startup,
		Instructions: t.used, Fuel: fuelOf(t.used), StartupFuel: fuelOf(t.startupUsed), Memory: t.memory,
		HostCalls: t.hostCalls, Calls: t.toolCalls, LogBytes: t.log.bytes, LogLines: t.log.lines, LogDropped: t.log.dropped, LogLost: t.log.lost,
		OutputBytes: t.outBytes, Outputs: outputs, Trap: t.trap,
	}
	if err != nil {
		x.Code = "internal"
		if e, ok := errors.AsType[*caxton.Error](err); ok {
			x.Code = e.Code
		}
	}
	a.rt.cfg.Report(x)
}

// fuelOf returns what a number of instructions costs.
func fuelOf(n int64) int64 { return (n + InstructionsPerFuel - 1) / InstructionsPerFuel }

// setting returns a parameter of the agent: a text as it is, other values as JSON.
func (a *Agent) setting(key string) ([]byte, bool) {
	v, ok := a.def.Parameters[key]
	if !ok {
		return nil, false
	}
	if s, ok := v.(string); ok {
		return []byte(s), true
	}
	b, err := json.Marshal(v)
	return b, err == nil
}

// randomFor returns what a turn draws from: the same for the same message, so that a repeated
// turn draws the same, and unknown to all who do not know the server's seed. Without the
// grant it is the same for all.
func (a *Agent) randomFor(m *caxton.Message) *rand.ChaCha8 { return a.randomOf(m, a.number) }

// randomOf is what another version draws from.
func (a *Agent) randomOf(m *caxton.Message, version int) *rand.ChaCha8 {
	h := sha256.New()
	if a.grants.has(Random) {
		_, _ = h.Write(a.rt.cfg.Seed) // never fails
		if m != nil {
			_, _ = h.Write([]byte(m.ID))
		}
	}
	_, _ = h.Write([]byte("\x00" + a.slug + "\x00" + strconv.Itoa(version)))
	return rand.NewChaCha8([32]byte(h.Sum(nil)))
}
