package prompt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/caxton/caxton/internal/tool"
)

// A wheel is a model that says anything, by its own chance.
type wheel struct{ r *rand.Rand }

func (w *wheel) Info() llm.Info { return llm.Info{Provider: "fake", Model: "m"} }

func (w *wheel) For(caxton.LLMSettings) (llm.Model, error) { return w, nil }

func (w *wheel) Generate(_ context.Context, req llm.Request) (llm.Response, error) {
	res := llm.Response{Provider: "fake", Model: "m", Stop: llm.StopEnd, Usage: llm.Usage{InputTokens: 10 + w.r.IntN(90), OutputTokens: 1 + w.r.IntN(20)}}
	switch n := w.r.IntN(20); {
	case n == 0:
		return llm.Response{}, caxton.Errorf(caxton.Unavailable, "provider_down", "the provider is down")
	case n == 1:
		return llm.Response{}, caxton.Errorf(caxton.Invalid, "provider_refused", "the provider refused").WithHint("ask otherwise")
	case n == 2:
		return res, nil // nothing
	case n == 3:
		res.Stop = llm.StopLength
		return res, nil
	case n < 13 && len(req.Tools) > 0:
		res.Stop, res.Text = llm.StopTools, "I look"
		for range 1 + w.r.IntN(3) {
			name := []string{"look", "pay", "ask", "fail", "unsure", "made_up", "wait", "end"}[w.r.IntN(8)]
			res.ToolCalls = append(res.ToolCalls, llm.ToolCall{ID: fmt.Sprint("c", w.r.IntN(3)), Name: name, Arguments: fmt.Appendf(nil, `{"n":%d}`, w.r.IntN(5))})
		}
		return res, nil
	case n == 13:
		res.Text = `{"performative":"refuse","content":{"why":"no"}}`
		return res, nil
	}
	res.Text = fmt.Sprintf("answer %d <&>", w.r.IntN(1000))
	return res, nil
}

// A crashing log dies at a write of its choice: before it, or after it.
type crashing struct {
	*memjournal.Journal
	mu    sync.Mutex
	left  int // writes until the crash; below 0 never
	after bool
	died  bool
}

var errCrash = errors.New("the process died")

func (c *crashing) dies(write func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.died {
		return errCrash
	}
	if c.left < 0 {
		return write()
	}
	if c.left == 0 {
		c.died = true
		if c.after {
			_ = write()
		}
		return errCrash
	}
	c.left--
	return write()
}

func (c *crashing) Append(ctx context.Context, rs ...caxton.Record) error {
	return c.dies(func() error { return c.Journal.Append(ctx, rs...) })
}

func (c *crashing) Reserve(ctx context.Context, rs []caxton.Reservation, records ...caxton.Record) error {
	return c.dies(func() error { return c.Journal.Reserve(ctx, rs, records...) })
}

func (c *crashing) Book(ctx context.Context, msg caxton.MessageID, id string, cost []caxton.Charge, records ...caxton.Record) error {
	return c.dies(func() error { return c.Journal.Book(ctx, msg, id, cost, records...) })
}

func (c *crashing) Open(ctx context.Context, ts []caxton.Ticket, rs ...caxton.Record) error {
	return c.dies(func() error { return c.Journal.Open(ctx, ts, rs...) })
}

// A theatre plays whole conversations with everything that can happen to them.
type theatre struct {
	t       *testing.T
	r       *rand.Rand
	now     time.Time
	journal *memjournal.Journal
	log     *crashing
	cfg     prompt.Config
	set     *tool.Set
	wheel   *wheel
	version caxton.AgentVersion
	agent   caxton.Agent
	seen    map[string]int
	end     context.CancelFunc // ends the attempt at work
	conv    caxton.ConversationID
}

func newTheatre(t *testing.T, seed uint64) *theatre {
	t.Helper()
	th := &theatre{t: t, r: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 5, 1, 23, 50, 0, 0, time.UTC), seen: map[string]int{}, conv: "c"}
	var mu sync.Mutex
	pace := rand.New(rand.NewPCG(seed, 8))
	clock := func() time.Time { // also asked by calls that run side by side
		mu.Lock()
		defer mu.Unlock()
		th.now = th.now.Add(time.Duration(pace.IntN(2000)) * time.Millisecond)
		return th.now
	}
	th.wheel = &wheel{th.r}
	th.journal = memjournal.New(memjournal.Config{Now: clock})
	th.log = &crashing{Journal: th.journal, left: -1}
	tools := []tool.Tool{
		&counter{name: "look", idempotent: true, body: []byte("all of it")}, &counter{name: "pay"}, &counter{name: "ask"},
		&doer{name: "fail", do: func(context.Context, tool.Call) (tool.Result, error) {
			return tool.Result{}, caxton.Errorf(caxton.NotFound, "gone", "it is gone").WithHint("look elsewhere")
		}},
		&doer{name: "unsure", do: func(_ context.Context, c tool.Call) (tool.Result, error) {
			if c.Key[0] < '8' {
				return tool.Result{}, tool.Uncertain(errors.New("the line broke"))
			}
			return tool.Result{Text: "sure", Data: json.RawMessage(`{"n":1.50}`)}, nil
		}},
	}
	waited := map[string]bool{}
	var waiting sync.Mutex
	tools = append(tools, &doer{name: "wait", idempotent: true, do: func(_ context.Context, c tool.Call) (tool.Result, error) {
		waiting.Lock()
		defer waiting.Unlock()
		if !waited[c.Key] {
			waited[c.Key] = true
			return tool.Result{}, caxton.Errorf(caxton.Unavailable, "waits", "it waits").WithCause(&caxton.Parked{Until: time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC), Reason: "waits"})
		}
		return tool.Result{Text: "waited"}, nil
	}})
	tools = append(tools, &doer{name: "end", do: func(context.Context, tool.Call) (tool.Result, error) {
		th.end()
		return tool.Result{Text: "ended"}, nil
	}})
	def := caxton.Definition{Name: "Tester", SystemPrompt: "Be kind.", LLM: caxton.LLMSettings{MaxTokens: 200}}
	for _, x := range tools {
		def.Tools = append(def.Tools, caxton.ToolGrant{Name: x.Spec().Name, Approval: x.Spec().Name == "ask"})
	}
	def.Performance.MaxSteps = 2 + th.r.IntN(3)
	if th.r.IntN(2) == 0 {
		def.Budget.Conversation = caxton.Budget{Tokens: int64(2000 + th.r.IntN(40_000)), ToolCalls: int64(2 + th.r.IntN(8)), WallTime: time.Hour}
	}
	if th.r.IntN(3) == 0 {
		def.Templates.User = "On {{date}} in {{conversation_id}}: {{request}} ({{sender}})"
	}
	def.Approval.Policy.Expires = time.Minute
	var err error
	if th.set, err = tool.NewSet(nil, tools...); err != nil {
		t.Fatal(err)
	}
	th.cfg = prompt.Config{Now: clock, ParallelCalls: 1 + th.r.IntN(3)}
	switch th.r.IntN(4) {
	case 0:
		def.Memory.Enabled, th.cfg.Memory = true, &notebook{items: known()}
	case 1:
		def.Memory.Enabled, th.cfg.Memory = true, &notebook{err: caxton.Errorf(caxton.Unavailable, "memory_loading", "memory is being loaded")}
	}
	th.version = caxton.AgentVersion{AgentID: "a1", Number: 3, Definition: def}
	th.agent = caxton.Agent{ID: "a1", Slug: "tester", Type: caxton.ConfigAgent, Version: 3}
	return th
}

// Agent and Version make the theatre the Versions of a replay.
func (th *theatre) Agent(caxton.AgentID) (caxton.Agent, error) { return th.agent, nil }

func (th *theatre) Version(context.Context, caxton.AgentID, int) (caxton.AgentVersion, error) {
	return th.version, nil
}

func (th *theatre) must(err error) {
	th.t.Helper()
	if err != nil {
		th.t.Fatal(err)
	}
}

func (th *theatre) handlers() *prompt.Handlers {
	return prompt.New(th.wheel, th.set, th.log, th.cfg)
}

// play lets somebody send a few messages, one after the other.
func (th *theatre) play() {
	for i := range 1 + th.r.IntN(3) {
		m := caxton.Message{
			ID: caxton.MessageID(fmt.Sprint("m", i)), ConversationID: th.conv, Performative: []caxton.Performative{caxton.Request, caxton.Query, caxton.CFP, caxton.Inform}[th.r.IntN(4)],
			Sender: "user", ReceiverID: "a1", Receiver: "tester", Content: caxton.TextContent(fmt.Sprint("please ", i)), CreatedAt: th.now,
		}
		d := caxton.Delivery{Message: m, Version: 3}
		_, _, err := th.journal.Accept(th.t.Context(), d, true)
		th.must(err)
		th.handle(d)
	}
}

// handle does with a message what an agent's worker and the router do, until it is settled.
func (th *theatre) handle(d caxton.Delivery) {
	ctx := th.t.Context()
	written := false // the lease is in the log: after a crash it always is
	for try := 0; ; try++ {
		l := caxton.Lease{Delivery: d, LeasedAt: th.now}
		l.Attempt++
		if !written && th.r.IntN(3) == 0 {
			th.must(th.journal.Leased(ctx, l))
			written = true
		}
		past, err := th.journal.Turn(ctx, th.conv, d.Message.ID)
		th.must(err)
		th.log.left, th.log.after = -1, th.r.IntN(2) == 0
		if th.r.IntN(4) == 0 && try < 6 {
			th.log.left = th.r.IntN(8)
		}
		a, err := th.handlers().Handler(th.version)
		th.must(err)
		within, cancel := context.WithCancel(ctx)
		th.end = cancel
		out, err := a.Handle(within, caxton.Turn{Message: d.Message, Agent: th.agent, Version: th.version, Attempt: l.Attempt, Past: past})
		cancel()
		crashed := th.log.died
		th.log.left, th.log.died = -1, false
		if crashed {
			th.seen["crash"]++
			if written { // else nobody knows of the attempt
				d.Attempt = l.Attempt
			}
			n := d
			n.Attempt++
			th.must(th.journal.Leased(ctx, caxton.Lease{Delivery: n, LeasedAt: th.now}))
			written = true
			continue
		}
		written = false
		p, parked := errors.AsType[*caxton.Parked](err)
		u, unknown := errors.AsType[*caxton.UnknownEffects](err)
		s := caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone, At: th.now}
		for i, m := range out {
			m.ID, m.CreatedAt = caxton.DeriveMessageID(d.Message.ID, d.Outputs+i), th.now
			s.Outputs = append(s.Outputs, caxton.Delivery{Message: m})
		}
		switch {
		case err == nil:
		case parked:
			th.seen["parked"]++
			_, err = th.journal.Park(ctx, l, *p)
			th.must(err)
			d.Attempt, d.Parked = l.Attempt, d.Parked+1
			th.decide(p.Until)
			continue
		case !unknown && (caxton.KindOf(err) == caxton.Unavailable || caxton.KindOf(err) == caxton.Timeout) && l.Attempt-d.Parked < 6:
			th.seen["released"]++
			th.must(th.journal.Release(ctx, l, err.Error(), th.now))
			d.Attempt = l.Attempt
			continue
		default:
			s.Outcome, s.Error = caxton.OutcomeFailed, err.Error()
			if e, ok := errors.AsType[*caxton.Error](err); ok {
				s.Code, s.Error = e.Code, e.Message
			}
			if unknown {
				s.Outcome = caxton.OutcomeUnknown
				for i := range u.Calls {
					s.Tickets = append(s.Tickets, caxton.Ticket{Kind: caxton.Effect, ID: u.Calls[i].Key, State: caxton.EffectUnknown, ConversationID: th.conv, MessageID: d.Message.ID, AgentID: "a1", Call: &u.Calls[i]})
				}
			}
			m := d.Message.Reply(caxton.Failure, caxton.TextContent("failed"))
			m.ID, m.CreatedAt = caxton.DeriveMessageID(d.Message.ID, d.Outputs), th.now
			s.Outputs = []caxton.Delivery{{Message: m}}
		}
		th.seen[string(s.Outcome)]++
		th.must(th.journal.Settle(ctx, s))
		if s.Outcome != caxton.OutcomeUnknown {
			return
		}
		woken := th.resolve(s.Tickets)
		if woken == nil {
			return
		}
		d = *woken
	}
}

// decide grants or denies what waits, or lets time pass.
func (th *theatre) decide(until time.Time) {
	ctx := th.t.Context()
	ts, _, err := th.journal.Tickets(ctx, caxton.TicketQuery{Kind: caxton.Approval, Open: true})
	th.must(err)
	if len(ts) == 0 || th.r.IntN(4) == 0 {
		th.now = until.Add(time.Second)
		return
	}
	for _, t := range ts {
		state := caxton.ApprovalGranted
		if th.r.IntN(3) == 0 {
			state = caxton.ApprovalDenied
		}
		th.seen[string(state)]++
		th.amend(t, caxton.Decision{By: "ann", State: state, Reason: "so", At: th.now}, caxton.WakeNow)
	}
}

// resolve says what became of effects, or leaves them.
func (th *theatre) resolve(ts []caxton.Ticket) (woken *caxton.Delivery) {
	if th.r.IntN(3) == 0 {
		return nil
	}
	for _, t := range ts {
		state := []caxton.TicketState{caxton.EffectDone, caxton.EffectRetry, caxton.EffectFailed}[th.r.IntN(3)]
		th.seen[string(state)]++
		woken = th.amend(t, caxton.Decision{By: "ann", State: state, Result: json.RawMessage(`{"ok":true}`), At: th.now}, caxton.WakeReopen)
	}
	return woken
}

func (th *theatre) amend(t caxton.Ticket, d caxton.Decision, wake caxton.Wake) *caxton.Delivery {
	_, woken, err := th.journal.Amend(th.t.Context(), t.Kind, t.ID, func(t caxton.Ticket) (caxton.Amendment, error) {
		t, err := t.Decide(d)
		if err != nil {
			return caxton.Amendment{}, err
		}
		body, err := json.Marshal(caxton.DecidedBody{Kind: t.Kind, ID: t.ID, Call: t.Call, Decision: d, State: t.State})
		a := caxton.Amendment{Ticket: t, Wake: wake, Records: []caxton.Record{{ConversationID: th.conv, At: th.now, Kind: caxton.RecordDecided, MessageID: t.MessageID, AgentID: "a1", Body: body}}}
		if wake == caxton.WakeReopen {
			a.Records = append(a.Records, caxton.Record{ConversationID: th.conv, At: th.now, Kind: caxton.RecordReopened, MessageID: t.MessageID, AgentID: "a1", Body: json.RawMessage(`{"by":"ann"}`)})
		}
		return a, err
	})
	th.must(err)
	return woken
}

func (th *theatre) records() []caxton.Record {
	rs, err := th.journal.Records(th.t.Context(), th.conv, 0, 0)
	th.must(err)
	return rs
}

func show(rs []caxton.Record) string {
	var b strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&b, "%d %s %s %s\n", r.Seq, r.Kind, r.MessageID, r.Body)
	}
	return b.String()
}

// TestReplayIsNotTraced: a replay asks no model and runs no tool, so the trace of the request for
// it tells of none.
func TestReplayIsNotTraced(t *testing.T) {
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
	if err != nil {
		t.Fatal(err)
	}
	turns := 0
	for seed := range uint64(20) {
		th := newTheatre(t, seed)
		th.play()
		ctx, span := tracer.Start(t.Context(), telemetry.Serving, "replay", "", "")
		rep, err := th.handlers().ReplayConversation(ctx, th, th.records())
		span.End(nil)
		if err != nil {
			t.Fatal(err)
		}
		turns += len(rep.Turns)
		if spans, err := tracer.Trace(telemetry.TraceID(ctx)); err != nil || len(spans) != 1 {
			t.Fatalf("seed %d: the trace of a replay has %d spans (%v), want that of the request alone: %+v", seed, len(spans), err, spans)
		}
	}
	if turns == 0 {
		t.Error("no turn was replayed")
	}
}

// TestReplayOfAnyConversation plays a thousand conversations with tools, failures, crashes
// and approvals, and replays each: the same records must come of it.
func TestReplayOfAnyConversation(t *testing.T) {
	seen := map[string]int{}
	turns, records, tampered, forks, notRun := 0, 0, 0, 0, 0
	for seed := range uint64(1000) {
		th := newTheatre(t, seed)
		th.play()
		rs := th.records()
		rep, err := th.handlers().ReplayConversation(t.Context(), th, rs)
		if err != nil {
			t.Fatal(err)
		}
		if !rep.Equal() || rep.Hash != rep.ReplayHash {
			t.Fatalf("seed %d: %+v\nhashes %s %s\n%s", seed, rep.Difference, rep.Hash, rep.ReplayHash, show(rs))
		}
		for i := range rep.Turns {
			v := &rep.Turns[i]
			if v.Hash != v.ReplayHash || v.Skipped != "" {
				t.Fatalf("seed %d: turn %+v", seed, v)
			}
			turns++
			records += v.Records
		}
		notRun += strings.Count(show(rs), `"not_run":true`)
		for k, n := range th.seen {
			seen[k] += n
		}
		tampered += th.tamper(seed, rs)
		forks += th.fork(seed, rs)
	}
	if notRun == 0 {
		t.Error("no call was left out: the test tests less than it says")
	}
	if forks < 500 {
		t.Errorf("%d conversations were forked, want most", forks)
	}
	t.Logf("%d turns, %d records made again, %d changes found, %d forks, %v", turns, records, tampered, forks, seen)
	for _, k := range []string{"crash", "parked", "released", "approved", "denied", "done", "failed", "unknown", "retry"} {
		if seen[k] == 0 {
			t.Errorf("nothing of the kind %q happened: the test tests less than it says", k)
		}
	}
}

// tamper changes one record of the log and expects the replay to name it.
func (th *theatre) tamper(seed uint64, rs []caxton.Record) int {
	var able []int
	for i, r := range rs {
		if r.Kind == caxton.RecordModelCalled || r.Kind == caxton.RecordToolIntended { // what people and tools say is taken as it is
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		return 0
	}
	i := able[th.r.IntN(len(able))]
	changed := append([]caxton.Record{}, rs...)
	field := "request_hash"
	if rs[i].Kind == caxton.RecordToolIntended {
		field = "args_hash"
	}
	var body map[string]any
	th.must(json.Unmarshal(rs[i].Body, &body))
	body[field] = "0000"
	var err error
	changed[i].Body, err = json.Marshal(body)
	th.must(err)
	rep, err := th.handlers().ReplayConversation(th.t.Context(), th, changed)
	th.must(err)
	if rep.Equal() || rep.Hash == rep.ReplayHash || rep.Difference.Seq != rs[i].Seq || rep.Difference.Field != field {
		th.t.Fatalf("seed %d: changed %s of record %d, the replay says %+v\n%s", seed, field, rs[i].Seq, rep.Difference, show(changed))
	}
	return 1
}

// fork copies the conversation up to some record, has the copy go on, and replays that.
func (th *theatre) fork(seed uint64, rs []caxton.Record) int {
	at := 1 + th.r.IntN(len(rs))
	copied, err := caxton.Fork{ID: "fork", At: int64(at)}.Copy(rs, th.now)
	if k := caxton.KindOf(err); k == caxton.Invalid || k == caxton.Conflict {
		return 0 // inside of a step, or of a call
	}
	th.must(err)
	open, err := th.journal.Import(th.t.Context(), copied)
	th.must(err)
	th.conv = "fork"
	for _, d := range open {
		th.handle(d)
	}
	forked := th.records()
	rep, err := th.handlers().ReplayConversation(th.t.Context(), th, forked)
	th.must(err)
	if !rep.Equal() || rep.Hash != rep.ReplayHash {
		th.t.Fatalf("seed %d, fork at %d: %+v\n%s", seed, at, rep.Difference, show(forked))
	}
	return 1
}
