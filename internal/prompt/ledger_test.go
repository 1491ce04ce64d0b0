package prompt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/tool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A doer is a tool that does what it is told.
type doer struct {
	name       string
	idempotent bool
	do         func(ctx context.Context, c tool.Call) (tool.Result, error)
}

func (d *doer) Spec() tool.Spec {
	return tool.Spec{Name: d.name, Description: "does", Idempotent: d.idempotent, Parameters: json.RawMessage(`{"type":"object"}`)}
}

func (d *doer) Call(ctx context.Context, c tool.Call) (tool.Result, error) { return d.do(ctx, c) }

// A flaky log refuses the appends that refuse names, counted from 1.
type flaky struct {
	*memjournal.Journal
	mu     sync.Mutex
	n      int
	refuse int
}

var errDisk = caxton.Errorf(caxton.Unavailable, "storage_failed", "the disk is full")

func (f *flaky) Append(ctx context.Context, rs ...caxton.Record) error {
	f.mu.Lock()
	f.n++
	refused := f.n == f.refuse
	f.mu.Unlock()
	if refused {
		return errDisk
	}
	return f.Journal.Append(ctx, rs...)
}

// with puts another handler in place: of the same model, with other tools, log or settings.
func (d *desk) with(def caxton.Definition, log prompt.Log, cfg prompt.Config, tools ...tool.Tool) {
	d.t.Helper()
	def.Name = "Tester"
	for _, x := range tools {
		def.Tools = append(def.Tools, caxton.ToolGrant{Name: x.Spec().Name})
	}
	set, err := tool.NewSet(nil, tools...)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.agent, err = prompt.New(d.model, set, log, cfg).Handler(caxton.AgentVersion{AgentID: "a1", Number: 1, Definition: def}); err != nil {
		d.t.Fatal(err)
	}
}

// hashes returns the identity of every request the model was asked.
func hashes(t *testing.T, reqs []llm.Request) []string {
	t.Helper()
	var hs []string
	for _, r := range reqs {
		h, err := llm.Hash(r)
		if err != nil {
			t.Fatal(err)
		}
		hs = append(hs, h)
	}
	return hs
}

// TestResumeSideBySide cuts a step of calls that run at once wherever it can be cut, with
// its results in either order, and runs the turn again.
func TestResumeSideBySide(t *testing.T) {
	steps := []llm.Response{calls("look", `{"n":1}`, "pay", `{"n":2}`), says("done")}
	build := func() (*desk, *counter, *counter) {
		look, pay := &counter{name: "look", idempotent: true, body: []byte("x")}, &counter{name: "pay"}
		return newDesk(t, caxton.Definition{}, steps, look, pay), look, pay
	}
	d, look, pay := build()
	if _, err := d.handle(nil); err != nil {
		t.Fatal(err)
	}
	all := d.turn()
	if kinds(all) != "model_called tool_intended tool_intended tool_returned tool_returned model_called" {
		t.Fatalf("records %s", kinds(all))
	}
	whole := hashes(t, d.model.asked)
	lookKey, payKey := look.keys[0], pay.keys[0]
	if lookKey == payKey || lookKey == "" {
		t.Fatalf("keys %q and %q", lookKey, payKey)
	}
	swapped := slices.Clone(all)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	for name, records := range map[string][]caxton.Record{"in order": all, "the other way": swapped} {
		for cut := range len(records) + 1 {
			past := records[:cut]
			d, look, pay := build()
			if _, err := d.journal.PutBlob(t.Context(), []byte("x"), "text/plain"); err != nil {
				t.Fatal(err)
			}
			intended, returned := map[string]bool{}, map[string]bool{}
			models := 0
			for _, r := range past {
				var b struct{ Tool string }
				if err := json.Unmarshal(r.Body, &b); err != nil {
					t.Fatal(err)
				}
				switch r.Kind { //nolint:exhaustive // what this turn can have
				case caxton.RecordModelCalled:
					models++
				case caxton.RecordToolIntended:
					intended[b.Tool] = true
				case caxton.RecordToolReturned:
					returned[b.Tool] = true
				case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordSettled:
				}
			}
			d.model.steps = steps[min(models, len(steps)-1):]
			got, err := d.handle(past)
			at := fmt.Sprintf("%s, after %d records", name, cut)
			if intended["pay"] && !returned["pay"] {
				var e *caxton.Error
				if !errors.As(err, &e) || e.Kind != caxton.Conflict || e.Code != "effect_unknown" || len(pay.keys)+len(look.keys) != 0 {
					t.Errorf("%s: %v, %d payments, %d looks, want effect_unknown and no call", at, err, len(pay.keys), len(look.keys))
				}
				continue
			}
			if err != nil || got != "done" {
				t.Errorf("%s: %q, %v", at, got, err)
				continue
			}
			for _, c := range []struct {
				tool *counter
				key  string
			}{{look, lookKey}, {pay, payKey}} {
				want := []string{c.key}
				if returned[c.tool.name] {
					want = nil
				}
				if !slices.Equal(c.tool.keys, want) {
					t.Errorf("%s: %s ran with keys %v, want %v", at, c.tool.name, c.tool.keys, want)
				}
			}
			if asked := hashes(t, d.model.asked); !slices.Equal(asked, whole[models:]) {
				t.Errorf("%s: the model was asked otherwise than in the turn that was not cut", at)
			}
		}
	}
}

// A turn that was resumed and cut again leaves records that a third run can use.
func TestResumeTwice(t *testing.T) {
	look := &counter{name: "look", idempotent: true}
	d := newDesk(t, caxton.Definition{}, []llm.Response{calls("look", `{"n":1}`)}, look)
	fails := func(int) { d.model.err = caxton.Errorf(caxton.Unavailable, "down", "down") }
	look.hold = func() { fails(1) }
	if _, err := d.handle(nil); caxton.KindOf(err) != caxton.Unavailable {
		t.Fatalf("the first run: %v", err)
	}
	if _, err := d.handle(d.turn()); caxton.KindOf(err) != caxton.Unavailable {
		t.Fatalf("the second run: %v", err)
	}
	d.model.err, d.model.steps, d.model.asked = nil, []llm.Response{says("done")}, nil
	if got, err := d.handle(d.turn()); err != nil || got != "done" || len(look.keys) != 1 {
		t.Errorf("the third run: %q, %v, %d looks, want one", got, err, len(look.keys))
	}
	if want := "model_called tool_intended tool_returned model_called"; kinds(d.turn()) != want {
		t.Errorf("records %s, want %s", kinds(d.turn()), want)
	}
}

// What may not be lost is in the log before it happens: without its intent a tool never runs.
func TestLogFailures(t *testing.T) {
	for refuse, ran := range map[int]int{1: 0, 2: 0, 3: 1, 4: 1} {
		c := &counter{name: "count"}
		d := newDesk(t, caxton.Definition{}, []llm.Response{calls("count", `{"n":1}`), says("done")})
		d.with(caxton.Definition{}, &flaky{Journal: d.journal, refuse: refuse}, prompt.Config{}, c)
		_, err := d.handle(nil)
		stops := errors.Is(err, errDisk)
		if refuse == 3 { // the tool ran, and what it returned is lost
			_, stops = errors.AsType[*caxton.UnknownEffects](err)
		}
		if !stops || len(c.keys) != ran {
			t.Errorf("append %d refused: %v, the tool ran %d times, want %d", refuse, err, len(c.keys), ran)
		}
	}
}

func TestToolFailuresAreAnswers(t *testing.T) {
	tests := []struct {
		name string
		do   func(context.Context, tool.Call) (tool.Result, error)
		want string
	}{
		{"says why", func(context.Context, tool.Call) (tool.Result, error) {
			return tool.Result{}, caxton.Errorf(caxton.NotFound, "x", "no such file").WithHint("try another").WithCause(errors.New("secret"))
		}, "no such file (try another)"},
		{"says nothing", func(context.Context, tool.Call) (tool.Result, error) { return tool.Result{}, errors.New("secret") }, "the tool act failed"},
		{"panics", func(context.Context, tool.Call) (tool.Result, error) { panic("secret") }, "the tool act broke down"},
	}
	for _, tt := range tests {
		d := newDesk(t, caxton.Definition{}, []llm.Response{calls("act", `{}`), says("done")}, &doer{name: "act", idempotent: true, do: tt.do})
		if got, err := d.handle(nil); err != nil || got != "done" {
			t.Fatalf("%s: %q, %v", tt.name, got, err)
		}
		m := d.model.asked[1].Messages[2]
		if m.Role != llm.ToolRole || !m.IsError || m.Text != tt.want || m.ToolName != "act" {
			t.Errorf("%s: the model was told %+v, want %q", tt.name, m, tt.want)
		}
	}
}

// A later call may read the full result of an earlier one, also after a crash in between.
func TestResultsOfEarlierCalls(t *testing.T) {
	long := strings.Repeat("abc ", 100)
	fetched, reads := 0, []string{}
	fetch := &doer{name: "fetch", do: func(context.Context, tool.Call) (tool.Result, error) {
		fetched++
		return tool.Result{Text: "short", Body: []byte(long), MediaType: "text/csv"}, nil
	}}
	read := &doer{name: "read", idempotent: true, do: func(ctx context.Context, c tool.Call) (tool.Result, error) {
		var a struct{ From string }
		if err := json.Unmarshal(c.Args, &a); err != nil {
			return tool.Result{}, err
		}
		body, media, err := c.Results.Result(ctx, a.From)
		reads = append(reads, fmt.Sprintf("%s %d", media, len(body)))
		return tool.Result{Text: "read"}, err
	}}
	first := calls("fetch", `{}`)
	steps := []llm.Response{first, calls("read", `{"from":"c"}`), calls("read", `{"from":"nothing"}`), says("done")}
	d := newDesk(t, caxton.Definition{}, steps, fetch, read)
	if got, err := d.handle(nil); err != nil || got != "done" {
		t.Fatalf("%q, %v", got, err)
	}
	if want := fmt.Sprintf("text/csv %d", len(long)); len(reads) != 2 || reads[0] != want || reads[1] != " 0" {
		t.Errorf("read %q, want %q and nothing", reads, want)
	}
	ms := d.model.asked[3].Messages
	if m := ms[len(ms)-1]; !m.IsError || !strings.Contains(m.Text, `"nothing"`) || !strings.Contains(m.Text, "c") {
		t.Errorf("of a result that is not there: %+v", m)
	}
	past := d.turn()[:3] // up to the result of fetch
	d.model.asked, d.model.steps, reads = nil, steps[1:], nil
	if got, err := d.handle(past); err != nil || got != "done" || fetched != 1 || len(reads) != 2 || !strings.HasSuffix(reads[0], fmt.Sprint(len(long))) {
		t.Errorf("resumed: %q, %v, fetched %d times, read %q", got, err, fetched, reads)
	}
}

func TestCallsGetIDsOfTheirOwn(t *testing.T) {
	call := func(id string) llm.ToolCall {
		return llm.ToolCall{ID: id, Name: "count", Arguments: json.RawMessage(`{}`)}
	}
	steps := []llm.Response{
		{ToolCalls: []llm.ToolCall{call(""), call("same"), call("same"), call(strings.Repeat("l", 65))}},
		{ToolCalls: []llm.ToolCall{call("same"), call(""), call("call_0_0")}},
		says("done"),
	}
	c := &counter{name: "count"}
	d := newDesk(t, caxton.Definition{}, steps, c)
	if _, err := d.handle(nil); err != nil {
		t.Fatal(err)
	}
	ids, keys := map[string]bool{}, map[string]bool{}
	for _, m := range d.model.asked[2].Messages {
		if m.Role == llm.ToolRole {
			ids[m.ToolCallID] = true
			if n := len(m.ToolCallID); n == 0 || n > 64 {
				t.Errorf("ID %q", m.ToolCallID)
			}
		}
	}
	for _, k := range c.keys {
		keys[k] = true
	}
	if len(ids) != 7 || len(keys) != 7 {
		t.Errorf("%d IDs and %d keys of 7 calls", len(ids), len(keys))
	}
}

// TestCallsThatDidNotRun ends the turn while calls of a step wait for others: only those that
// may have run are of unknown outcome, and the others run in the next attempt.
func TestCallsThatDidNotRun(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks bool // the call at work does not come to its end
		want   string
	}{
		"the call at work returns":    {false, ""},
		"the call at work breaks off": {true, "first (c)"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		first := &doer{name: "first", do: func(ctx context.Context, _ tool.Call) (tool.Result, error) {
			cancel()
			if tt.breaks {
				return tool.Result{}, ctx.Err()
			}
			return tool.Result{Text: "ok"}, nil
		}}
		pay, look := &counter{name: "pay"}, &counter{name: "look", idempotent: true}
		d := newDesk(t, caxton.Definition{}, []llm.Response{calls("first", "{}", "pay", "{}", "look", "{}"), says("done")})
		def := caxton.Definition{Budget: caxton.Budgets{Conversation: caxton.Budget{ToolCalls: 9}}}
		d.with(def, d.journal, prompt.Config{ParallelCalls: 1}, first, pay, look)
		_, err := d.agent.Handle(ctx, caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1", Slug: "tester"}, Attempt: 1})
		cancel()
		u, unknown := errors.AsType[*caxton.UnknownEffects](err)
		if unknown != tt.breaks || unknown && u.Names() != tt.want {
			t.Errorf("%s: %v, want %q to be unknown", name, err, tt.want)
		}
		if e, ok := errors.AsType[*caxton.Error](err); !tt.breaks && (!ok || e.Code != "turn_timeout") {
			t.Errorf("%s: %v, want turn_timeout", name, err)
		}
		if len(pay.keys)+len(look.keys) != 0 {
			t.Errorf("%s: calls %v, %v were made after the turn had ended", name, pay.keys, look.keys)
		}
		if tt.breaks {
			continue
		}
		if got, want := d.accounts(), "tree/c tool_calls 1+0/9; "; got != want {
			t.Errorf("%s: accounts %q, want %q: what did not run costs nothing", name, got, want)
		}
		answer, err := d.handle(d.turn())
		if err != nil || answer != "done" || len(pay.keys) != 1 || len(look.keys) != 1 {
			t.Errorf("%s: the next attempt: %q, %v, calls %v and %v, want each once", name, answer, err, pay.keys, look.keys)
		}
	}
}

func TestParallelCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running := 0
		gate := make(chan struct{})
		wait := &doer{name: "wait", do: func(context.Context, tool.Call) (tool.Result, error) {
			mu.Lock()
			running++
			mu.Unlock()
			<-gate
			mu.Lock()
			running--
			mu.Unlock()
			return tool.Result{Text: "ok"}, nil
		}}
		d := newDesk(t, caxton.Definition{}, []llm.Response{calls("wait", "{}", "wait", "{}", "wait", "{}", "wait", "{}", "wait", "{}"), says("done")})
		d.with(caxton.Definition{}, d.journal, prompt.Config{ParallelCalls: 2}, wait)
		done := make(chan error, 1)
		go func() {
			_, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message})
			done <- err
		}()
		for _, want := range []int{2, 2, 2, 2, 1} {
			synctest.Wait()
			mu.Lock()
			if running != want {
				t.Errorf("%d calls run, want %d", running, want)
			}
			mu.Unlock()
			gate <- struct{}{}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A slow model answers when its context ends.
type slow struct{ script }

func (*slow) Generate(ctx context.Context, _ llm.Request) (llm.Response, error) {
	<-ctx.Done()
	return llm.Response{}, ctx.Err()
}

func (s *slow) For(caxton.LLMSettings) (llm.Model, error) { return s, nil }

func TestModelTimeout(t *testing.T) {
	tests := []struct {
		name string
		own  time.Duration
		cfg  prompt.Config
		want time.Duration
	}{
		{"standard", 0, prompt.Config{}, time.Minute},
		{"the server's", 0, prompt.Config{ModelTimeout: 5 * time.Second}, 5 * time.Second},
		{"the agent's", 2 * time.Second, prompt.Config{ModelTimeout: 5 * time.Second}, 2 * time.Second},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, caxton.Definition{}, nil)
			set, err := tool.NewSet(nil)
			if err != nil {
				t.Fatal(err)
			}
			a, err := prompt.New(&slow{}, set, d.journal, tt.cfg).Handler(caxton.AgentVersion{Definition: caxton.Definition{LLM: caxton.LLMSettings{Timeout: tt.own}}})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err = a.Handle(t.Context(), caxton.Turn{Message: d.message})
			if took := time.Since(start); caxton.KindOf(err) != caxton.Timeout || took != tt.want || len(d.turn()) != 0 {
				t.Errorf("%s: %v after %v with %d records, want a timeout after %v", tt.name, err, took, len(d.turn()), tt.want)
			}
		})
	}
}

func TestPerformatives(t *testing.T) {
	all := []caxton.Performative{
		caxton.Request, caxton.Query, caxton.QueryIf, caxton.QueryRef, caxton.CFP, caxton.Propose, caxton.AcceptProposal, caxton.RejectProposal,
		caxton.Subscribe, caxton.Inform, caxton.Agree, caxton.Refuse, caxton.Failure, caxton.NotUnderstood, caxton.Confirm, caxton.Disconfirm, caxton.Cancel,
	}
	for _, p := range all {
		d := newDesk(t, caxton.Definition{}, []llm.Response{says("done")})
		d.message.Performative, d.message.ReplyWith = p, "ref"
		out, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message})
		want := 1
		if p.Replies() || p == caxton.RejectProposal {
			want = 0
		}
		act := caxton.Inform
		switch p { //nolint:exhaustive // all others are informed
		case caxton.CFP:
			act = caxton.Propose
		case caxton.Subscribe:
			act = caxton.Agree
		}
		if err != nil || len(out) != want || len(d.model.asked) != want {
			t.Errorf("%s: %d answers after %d model calls, %v, want %d", p, len(out), len(d.model.asked), err, want)
			continue
		}
		if want == 1 && (out[0].Performative != act || out[0].InReplyTo != "ref" || out[0].Receiver != "user" || out[0].SenderID != "a1") {
			t.Errorf("%s: answer %+v", p, out[0])
		}
	}
	for _, content := range []string{`""`, `" \n\t"`, `null`, `{"message":"  "}`, `{"text":""}`} {
		d := newDesk(t, caxton.Definition{}, []llm.Response{says("done")})
		d.message.Content = json.RawMessage(content)
		out, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message})
		if err != nil || len(out) != 1 || out[0].Performative != caxton.NotUnderstood || len(d.model.asked) != 0 {
			t.Errorf("content %s: %+v, %v, want not-understood", content, out, err)
		}
	}
}

func TestHistoryRoles(t *testing.T) {
	type said struct {
		from caxton.AgentID // "a1" is the agent itself
		text string
	}
	tests := []struct {
		name  string
		past  []said
		conv  caxton.ConversationSettings
		want  string
		every string // of the messages shown
	}{
		{"nothing before", nil, caxton.ConversationSettings{}, "user:hello", ""},
		{"question and answer", []said{{"", "q"}, {"a1", "a"}}, caxton.ConversationSettings{}, "user:q|assistant:a|user:hello", ""},
		{"another agent is a user", []said{{"a2", "q"}, {"a1", "a"}}, caxton.ConversationSettings{}, "user:q|assistant:a|user:hello", ""},
		{"the same twice is joined", []said{{"", "q1"}, {"", "q2"}, {"a1", "a"}}, caxton.ConversationSettings{}, "user:q1\n\nq2|assistant:a|user:hello", ""},
		{"no answer", []said{{"", "q"}}, caxton.ConversationSettings{}, "user:q|assistant:(no answer)|user:hello", ""},
		{"an answer alone is left out", []said{{"a1", "a"}}, caxton.ConversationSettings{}, "user:hello", ""},
		{"at most so many", []said{{"", "q1"}, {"a1", "a1"}, {"", "q2"}, {"a1", "a2"}}, caxton.ConversationSettings{ContextTurns: 2}, "user:q2|assistant:a2|user:hello", ""},
		{"an odd number", []said{{"", "q1"}, {"a1", "a1"}, {"", "q2"}, {"a1", "a2"}}, caxton.ConversationSettings{ContextTurns: 3}, "user:q2|assistant:a2|user:hello", ""},
		{"within the budget", []said{{"", "q1"}, {"a1", "a1"}, {"", "q2"}, {"a1", "a2"}}, caxton.ConversationSettings{ContextTokens: 8}, "user:q2|assistant:a2|user:hello", ""},
		{"no budget for one", []said{{"", "q1"}, {"a1", "a1"}}, caxton.ConversationSettings{ContextTokens: 1}, "user:hello", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, caxton.Definition{}, []llm.Response{says("done")})
			d.journal = memjournal.New(memjournal.Config{})
			d.with(caxton.Definition{Conversation: tt.conv}, d.journal, prompt.Config{})
			for i, s := range tt.past {
				d.accept(fmt.Sprint("p", i), "someone", "a1", s.from, s.text)
			}
			d.message = d.accept("m1", "user", "a1", "", "hello")
			if _, err := d.handle(nil); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range d.model.asked[0].Messages {
				got = append(got, string(m.Role)+":"+m.Text)
			}
			if s := strings.Join(got, "|"); s != tt.want {
				t.Errorf("messages %q, want %q", s, tt.want)
			}
		})
	}
}

func TestTemplatesPerPerformative(t *testing.T) {
	own := caxton.Templates{User: "U {{request}}", Request: "R {{request}}", Query: "Q {{request}}"}
	some := caxton.Templates{Query: "Q {{request}}"}
	for _, tt := range []struct {
		t    caxton.Templates
		p    caxton.Performative
		want string
	}{
		{own, caxton.Request, "R hello"},
		{own, caxton.Query, "Q hello"},
		{own, caxton.QueryIf, "Q hello"},
		{own, caxton.QueryRef, "Q hello"},
		{own, caxton.Propose, "U hello"},
		{some, caxton.Request, "hello"},
		{some, caxton.Query, "Q hello"},
		{caxton.Templates{}, caxton.Query, "hello"},
	} {
		d := newDesk(t, caxton.Definition{Templates: tt.t}, []llm.Response{says("done")})
		d.message.Performative = tt.p
		if _, err := d.handle(nil); err != nil {
			t.Fatal(err)
		}
		if got := d.model.asked[0].Messages[0].Text; got != tt.want {
			t.Errorf("%s with %+v: prompt %q, want %q", tt.p, tt.t, got, tt.want)
		}
	}
	set, err := tool.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := prompt.New(&script{}, set, memjournal.New(memjournal.Config{}), prompt.Config{})
	for _, bad := range []caxton.Templates{{User: "{{#if"}, {Request: "{{#if"}, {Query: "{{#if"}, {Inform: "{{#if"}} {
		if _, err := h.Handler(caxton.AgentVersion{Definition: caxton.Definition{Templates: bad}}); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("%+v: %v, want invalid", bad, err)
		}
	}
}

func TestPreview(t *testing.T) {
	hot := 0.7
	set, err := tool.NewSet(nil, &counter{name: "count"}, &counter{name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	model := &script{}
	h := prompt.New(model, set, memjournal.New(memjournal.Config{}), prompt.Config{MaxTokens: 100, Temperature: &hot})
	v := caxton.AgentVersion{AgentID: "a1", Definition: caxton.Definition{
		Name: "Tester", SystemPrompt: "be kind", Documentation: "doc", Tools: []caxton.ToolGrant{{Name: "count"}},
		Templates: caxton.Templates{User: "{{agent}}: {{request}}"}, LLM: caxton.LLMSettings{Model: "m1"},
	}}
	req, err := h.Preview(t.Context(), v, "hi")
	if err != nil || req.Model != "m1" || req.System != "be kind" || req.MaxTokens != 100 || *req.Temperature != hot || len(req.Documents) != 1 ||
		len(req.Tools) != 1 || req.Tools[0].Name != "count" || len(req.Messages) != 1 || req.Messages[0].Text != "Tester: hi" || len(model.asked) != 0 {
		t.Errorf("Preview = %+v, %v", req, err)
	}
	v.Definition.LLM.MaxTokens, v.Definition.Documentation = 7, "be kind"
	if req, err := h.Preview(t.Context(), v, "hi"); err != nil || req.MaxTokens != 7 || len(req.Documents) != 0 {
		t.Errorf("with settings of its own: %+v, %v", req, err)
	}
}
