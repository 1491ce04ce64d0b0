package prompt_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/tool"
)

// A script answers with its steps, in order, and remembers what it was asked.
type script struct {
	mu    sync.Mutex
	steps []llm.Response
	err   error
	asked []llm.Request
}

func (s *script) Info() llm.Info { return llm.Info{Provider: "fake", Model: "m"} }

func (s *script) Generate(_ context.Context, req llm.Request) (llm.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, req)
	if s.err != nil {
		return llm.Response{}, s.err
	}
	return s.steps[min(len(s.asked)-1, len(s.steps)-1)], nil
}

func (s *script) For(caxton.LLMSettings) (llm.Model, error) { return s, nil }

func says(text string) llm.Response { return llm.Response{Text: text, Stop: llm.StopEnd} }

// calls returns an answer that asks for tools: name and arguments by turns.
func calls(pairs ...string) llm.Response {
	r := llm.Response{Stop: llm.StopTools}
	for i := 0; i+1 < len(pairs); i += 2 {
		r.ToolCalls = append(r.ToolCalls, llm.ToolCall{ID: "c", Name: pairs[i], Arguments: json.RawMessage(pairs[i+1])})
	}
	return r
}

// A counter is a tool that counts its runs by key.
type counter struct {
	name       string
	idempotent bool
	body       []byte
	hold       func()

	mu   sync.Mutex
	keys []string
}

func (c *counter) Spec() tool.Spec {
	return tool.Spec{
		Name: c.name, Description: "counts", Idempotent: c.idempotent, Source: "test",
		Parameters: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}`),
	}
}

func (c *counter) Call(_ context.Context, call tool.Call) (tool.Result, error) {
	c.mu.Lock()
	c.keys = append(c.keys, call.Key)
	c.mu.Unlock()
	if c.hold != nil {
		c.hold()
	}
	return tool.Result{Text: c.name + " " + string(call.Args), Body: c.body, MediaType: "text/plain"}, nil
}

// A desk is everything a turn needs.
type desk struct {
	t       *testing.T
	journal *memjournal.Journal
	model   *script
	agent   *prompt.Agent
	message caxton.Message
}

func newDesk(t *testing.T, def caxton.Definition, steps []llm.Response, tools ...tool.Tool) *desk {
	t.Helper()
	def.Name = "Tester"
	for _, x := range tools {
		def.Tools = append(def.Tools, caxton.ToolGrant{Name: x.Spec().Name})
	}
	set, err := tool.NewSet(nil, tools...)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, journal: memjournal.New(memjournal.Config{}), model: &script{steps: steps}}
	h := prompt.New(d.model, set, d.journal, prompt.Config{})
	if d.agent, err = h.Handler(caxton.AgentVersion{AgentID: "a1", Number: 1, Definition: def}); err != nil {
		t.Fatal(err)
	}
	d.message = d.accept("m1", "user", "a1", "", "hello")
	return d
}

// accept puts a message into the conversation.
func (d *desk) accept(id, sender string, to, from caxton.AgentID, text string) caxton.Message {
	d.t.Helper()
	m := caxton.Message{
		ID: caxton.MessageID(id), ConversationID: "c", Performative: caxton.Request, Sender: sender, SenderID: from,
		ReceiverID: to, Receiver: "tester", Content: caxton.TextContent(text), CreatedAt: time.Unix(1, 0),
	}
	if _, _, err := d.journal.Accept(d.t.Context(), caxton.Delivery{Message: m}, true); err != nil {
		d.t.Fatal(err)
	}
	return m
}

func (d *desk) handle(past []caxton.Record) (string, error) {
	d.t.Helper()
	out, err := d.agent.Handle(d.t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1", Slug: "tester"}, Attempt: 1, Past: past})
	if err != nil {
		return "", err
	}
	if len(out) != 1 || out[0].Performative != caxton.Inform {
		d.t.Fatalf("outputs %+v, want one inform", out)
	}
	return out[0].Text(), nil
}

func (d *desk) turn() []caxton.Record {
	d.t.Helper()
	rs, err := d.journal.Turn(d.t.Context(), "c", "m1")
	if err != nil {
		d.t.Fatal(err)
	}
	return rs
}

func kinds(rs []caxton.Record) string {
	var ks []string
	for _, r := range rs {
		ks = append(ks, string(r.Kind))
	}
	return strings.Join(ks, " ")
}

func TestToolLoop(t *testing.T) {
	c := &counter{name: "count", idempotent: true, body: []byte("all of it")}
	d := newDesk(t, caxton.Definition{}, []llm.Response{calls("count", `{"n":1}`, "count", `{"n":2}`), says("done")}, c)
	got, err := d.handle(nil)
	if err != nil || got != "done" {
		t.Fatalf("%q, %v", got, err)
	}
	if want := "model_called tool_intended tool_intended tool_returned tool_returned model_called"; kinds(d.turn()) != want {
		t.Errorf("records %s, want %s", kinds(d.turn()), want)
	}
	last := d.model.asked[1].Messages
	if n := len(last); n != 4 || last[2].Text != `count {"n":1}` || last[3].Text != `count {"n":2}` || last[2].ToolCallID == last[3].ToolCallID {
		t.Errorf("the model was shown %+v", last)
	}
}

func TestParallelCallsRunSideBySide(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	c := &counter{name: "count", hold: func() { both.Done(); both.Wait() }} // one alone would wait for ever
	d := newDesk(t, caxton.Definition{}, []llm.Response{calls("count", `{"n":1}`, "count", `{"n":2}`), says("done")}, c)
	if got, err := d.handle(nil); err != nil || got != "done" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBadCallsAreAnswered(t *testing.T) {
	c := &counter{name: "count"}
	d := newDesk(t, caxton.Definition{}, []llm.Response{calls("count", `{"n":"x"}`, "count", `no json`, "fly", `{}`), says("done")}, c)
	if got, err := d.handle(nil); err != nil || got != "done" {
		t.Fatalf("%q, %v", got, err)
	}
	for _, m := range d.model.asked[1].Messages[2:] {
		if !m.IsError || m.Text == "" {
			t.Errorf("the model was told %+v, want an error", m)
		}
	}
	if len(c.keys) != 0 {
		t.Errorf("the tool ran %d times", len(c.keys))
	}
}

func TestStepLimit(t *testing.T) {
	c := &counter{name: "count", idempotent: true}
	def := caxton.Definition{Performance: caxton.PerformanceSettings{MaxSteps: 2}}
	d := newDesk(t, def, []llm.Response{calls("count", `{"n":1}`), calls("count", `{"n":2}`), {Text: "enough", ToolCalls: calls("count", `{}`).ToolCalls}}, c)
	got, err := d.handle(nil)
	if err != nil || got != "enough" || len(d.model.asked) != 3 || len(d.model.asked[2].Tools) != 0 {
		t.Errorf("%q, %v after %d calls, want the third without tools", got, err, len(d.model.asked))
	}
}

func TestModelFailures(t *testing.T) {
	tests := []struct {
		name string
		res  llm.Response
		err  error
		want caxton.Kind
	}{
		{"down", llm.Response{}, caxton.Errorf(caxton.Unavailable, "down", "down"), caxton.Unavailable},
		{"nothing", says("  "), nil, caxton.Unavailable},
		{"filtered", llm.Response{Stop: llm.StopFilter}, nil, caxton.Invalid},
		{"cut", llm.Response{Stop: llm.StopLength}, nil, caxton.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, caxton.Definition{}, []llm.Response{tt.res})
			d.model.err = tt.err
			if _, err := d.handle(nil); caxton.KindOf(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// TestResume cuts a turn short after each of its records and runs it again: the reply is the
// same, what was recorded is not repeated, and of a call that may have happened nobody
// pretends to know.
func TestResume(t *testing.T) {
	steps := []llm.Response{calls("look", `{"n":1}`), calls("pay", `{"n":2}`), says("done")}
	build := func() (*desk, *counter, *counter) {
		look, pay := &counter{name: "look", idempotent: true, body: []byte("x")}, &counter{name: "pay"}
		return newDesk(t, caxton.Definition{}, steps, look, pay), look, pay
	}
	d, look, pay := build()
	if got, err := d.handle(nil); err != nil || got != "done" {
		t.Fatalf("%q, %v", got, err)
	}
	all := d.turn()
	lookKey, payKey := look.keys[0], pay.keys[0]
	for cut := range len(all) + 1 {
		t.Run(fmt.Sprintf("after %d records", cut), func(t *testing.T) {
			d, look, pay := build()
			if hash, err := d.journal.PutBlob(t.Context(), []byte("x"), "text/plain"); err != nil || hash == "" {
				t.Fatal(err)
			}
			past := all[:cut]
			seen := kinds(past)
			models := strings.Count(seen, "model_called")
			d.model.steps = steps[min(models, len(steps)-1):]
			got, err := d.handle(past)
			intents, returns := strings.Count(seen, "tool_intended"), strings.Count(seen, "tool_returned")
			if intents == 2 && returns == 1 { // pay was about to run
				if caxton.KindOf(err) != caxton.Conflict || len(pay.keys) != 0 {
					t.Errorf("%v after %d payments, want a conflict and none", err, len(pay.keys))
				}
				return
			}
			if err != nil || got != "done" {
				t.Fatalf("%q, %v", got, err)
			}
			if want := 1 - min(1, returns); len(look.keys) != want {
				t.Errorf("looked %d times, want %d", len(look.keys), want)
			}
			if want := 2 - max(1, returns); len(pay.keys) != want {
				t.Errorf("paid %d times, want %d", len(pay.keys), want)
			}
			for _, k := range look.keys {
				if k != lookKey {
					t.Errorf("key %s, want %s again", k, lookKey)
				}
			}
			for _, k := range pay.keys {
				if k != payKey {
					t.Errorf("key %s, want %s again", k, payKey)
				}
			}
			if asked := len(d.model.asked); asked != len(steps)-models {
				t.Errorf("the model was asked %d times, want %d", asked, len(steps)-models)
			}
		})
	}
}

func TestHistory(t *testing.T) {
	def := caxton.Definition{SystemPrompt: "be kind", Documentation: "doc", Conversation: caxton.ConversationSettings{ContextTokens: 30}}
	d := newDesk(t, def, []llm.Response{says("done")})
	d.journal = memjournal.New(memjournal.Config{})
	set, err := tool.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.agent, err = prompt.New(d.model, set, d.journal, prompt.Config{}).Handler(caxton.AgentVersion{AgentID: "a1", Definition: def}); err != nil {
		t.Fatal(err)
	}
	d.accept("q0", "user", "a1", "", strings.Repeat("long ago ", 100))
	d.accept("r0", "tester", "", "a1", "old answer")
	d.accept("q1", "user", "a1", "", "question")
	d.accept("r1", "tester", "", "a1", "answer")
	d.message = d.accept("m1", "user", "a1", "", "hello")
	if _, err := d.handle(nil); err != nil {
		t.Fatal(err)
	}
	req := d.model.asked[0]
	var got []string
	for _, m := range req.Messages {
		got = append(got, string(m.Role)+":"+m.Text)
	}
	if want := "user:question assistant:answer user:hello"; strings.Join(got, " ") != want {
		t.Errorf("messages %v, want %s", got, want)
	}
	if req.System != "be kind" || len(req.Documents) != 1 || req.Documents[0].Text != "doc" {
		t.Errorf("request %+v", req)
	}
}

func TestTemplates(t *testing.T) {
	def := caxton.Definition{
		Parameters: map[string]any{"unit": "km"},
		Templates:  caxton.Templates{User: "any: {{request}}", Query: "{{sender}} asks {{topic}} in {{parameters.unit}}"},
	}
	for _, tt := range []struct {
		p       caxton.Performative
		content string
		want    string
	}{
		{caxton.Request, `"hi"`, "any: hi"},
		{caxton.QueryRef, `{"topic":"distance"}`, "user asks distance in km"},
	} {
		d := newDesk(t, def, []llm.Response{says("done")})
		d.message.Performative, d.message.Content = tt.p, json.RawMessage(tt.content)
		if _, err := d.handle(nil); err != nil {
			t.Fatal(err)
		}
		if got := d.model.asked[0].Messages[0].Text; got != tt.want {
			t.Errorf("%s: prompt %q, want %q", tt.p, got, tt.want)
		}
	}
}

func TestMessagesWithoutAnswer(t *testing.T) {
	d := newDesk(t, caxton.Definition{}, []llm.Response{says("done")})
	d.message.Performative = caxton.Inform
	out, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message})
	if err != nil || len(out) != 0 {
		t.Errorf("an inform got %+v, %v", out, err)
	}
	d.message.Performative, d.message.Content = caxton.Request, caxton.TextContent("  ")
	out, err = d.agent.Handle(t.Context(), caxton.Turn{Message: d.message})
	if err != nil || len(out) != 1 || out[0].Performative != caxton.NotUnderstood {
		t.Errorf("an empty request got %+v, %v", out, err)
	}
	if len(d.model.asked) != 0 {
		t.Error("the model was asked")
	}
}
