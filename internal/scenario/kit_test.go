package scenario_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/scenario"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/go-cmp/cmp"
)

// echo is a tool that returns its arguments.
type echo struct{ name string }

func (e echo) Spec() tool.Spec {
	return tool.Spec{Name: e.name, Description: "Echoes.", Parameters: json.RawMessage(`{"type":"object"}`), Source: "here"}
}

func (echo) Call(_ context.Context, c tool.Call) (tool.Result, error) {
	return tool.Result{Text: "real " + string(c.Args)}, nil
}

func (echo) IdempotentCall(args json.RawMessage) bool { return string(args) == "{}" }

// called returns a function that calls a tool of the only case of a test file.
func called(t *testing.T, text string, more scenario.Chaos) (call func(name, args string) (tool.Result, error), permitted []string) {
	t.Helper()
	s := parse(t, text)
	k := s.Kit(&s.Cases[0], more)
	tools := k.Tools([]tool.Tool{echo{"local"}, echo{"net"}, echo{"late"}}, "net")
	set, err := tool.NewSet(nil, tools...)
	if err != nil {
		t.Fatal(err)
	}
	return func(name, args string) (tool.Result, error) {
		return set.Run(t.Context(), name, tool.Call{Args: json.RawMessage(args)})
	}, k.Permitted(tools)
}

func TestStubs(t *testing.T) {
	call, permitted := called(t, `
model: builtin
tools:
  net:
    - {when: {url: x}, returns: first, times: 1}
    - {when: {url: x}, returns: {n: 1, list: [a]}}
    - {when: {url: y}, error: no such host, kind: not_found}
    - {when: {url: z}, body: "a,b", media_type: text/csv}
  local: {returns: from the file}
  far: {returns: [1, 2]}
cases:
  - name: one
    input: Hi
    tools: {local: {error: from the case}}
`, scenario.Chaos{})
	type answer struct {
		Text, Data, Body, MediaType string
		Kind                        caxton.Kind
	}
	for _, tt := range []struct {
		name, args string
		want       answer
	}{
		{"net", `{"url":"x","more":1}`, answer{Text: "first"}},
		{"net", `{"url":"x"}`, answer{Text: `{"list":["a"],"n":1}`, Data: `{"list":["a"],"n":1}`}},
		{"net", `{"url":"x"}`, answer{Text: `{"list":["a"],"n":1}`, Data: `{"list":["a"],"n":1}`}},
		{"net", `{"url":"y"}`, answer{Kind: caxton.NotFound}},
		{"net", `{"url":"z"}`, answer{Text: "a,b", Body: "a,b", MediaType: "text/csv"}},
		{"net", `{"url":"w"}`, answer{Kind: caxton.Invalid}},
		{"local", `{}`, answer{Kind: caxton.Unavailable}},
		{"far", `{"any":1}`, answer{Text: "[1,2]", Data: "[1,2]"}},
		{"late", `{"a":1}`, answer{Text: `real {"a":1}`}},
	} {
		res, err := call(tt.name, tt.args)
		got := answer{Text: res.Text, Data: string(res.Data), Body: string(res.Body), MediaType: res.MediaType, Kind: caxton.KindOf(err)}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s%s: %v (-want +got):\n%s", tt.name, tt.args, err, diff)
		}
	}
	if diff := cmp.Diff([]string{"local", "net", "late", "far"}, permitted); diff != "" {
		t.Errorf("Permitted differs (-want +got):\n%s", diff)
	}
}

func TestStubsKeepTheTool(t *testing.T) {
	s := parse(t, "model: builtin\ncases: [{name: one, input: Hi, tools: {net: {returns: x}, far: {returns: x}}}]")
	tools := s.Kit(&s.Cases[0], scenario.Chaos{}).Tools([]tool.Tool{echo{"net"}})
	if diff := cmp.Diff(echo{"net"}.Spec(), tools[0].Spec()); diff != "" {
		t.Errorf("Spec differs (-want +got):\n%s", diff)
	}
	for args, want := range map[string]bool{"{}": true, `{"a":1}`: false} {
		if got := tool.IdempotentCall(tools[0], json.RawMessage(args)); got != want {
			t.Errorf("IdempotentCall(%s) = %v, want %v", args, got, want)
		}
	}
	if tool.IdempotentCall(tools[1], json.RawMessage("{}")) {
		t.Error("a stub alone may not be repeated")
	}
}

func TestOffline(t *testing.T) {
	call, _ := called(t, "model: builtin\ncases: [{name: one, input: Hi}]", scenario.Chaos{})
	if _, err := call("net", "{}"); caxton.KindOf(err) != caxton.Forbidden {
		t.Errorf("a call without network: %v, want forbidden", err)
	}
	if res, err := call("local", "{}"); err != nil || res.Text != "real {}" {
		t.Errorf("a call of a local tool: %+v, %v", res, err)
	}
}

func TestChaos(t *testing.T) {
	const text = `
model: builtin
chaos:
  drop_tool: local
  delay: {tool: late, by: 2s}
  error:
    - {tool: net, message: first, times: 1, kind: timeout}
    - {tool: net, times: 2}
tools: {net: {returns: fine}}
cases:
  - {name: one, input: Hi, chaos: {delay: [{tool: late, by: 3s}], drop_tool: [far]}}
`
	synctest.Test(t, func(t *testing.T) {
		call, permitted := called(t, text, scenario.Chaos{})
		if diff := cmp.Diff([]string{"net", "late"}, permitted); diff != "" {
			t.Errorf("Permitted differs (-want +got):\n%s", diff)
		}
		start := time.Now()
		if res, err := call("late", "{}"); err != nil || res.Text != "real {}" || time.Since(start) != 3*time.Second {
			t.Errorf("a late call: %+v, %v after %s", res, err, time.Since(start))
		}
		for i, want := range []caxton.Kind{caxton.Timeout, caxton.Unavailable, caxton.Unavailable, "", ""} {
			if _, err := call("net", "{}"); caxton.KindOf(err) != want {
				t.Errorf("call %d: %v, want %q", i+1, err, want)
			}
		}
		more := scenario.Chaos{
			DropTool: scenario.Several[scenario.Placed[string]]{{Value: "net"}},
			Delay:    scenario.Several[scenario.Delay]{{Tool: scenario.Placed[string]{Value: "late"}, By: caxton.Duration(time.Minute)}},
			Error:    scenario.Several[scenario.Fault]{{Tool: scenario.Placed[string]{Value: "late"}}},
		}
		call, permitted = called(t, text, more)
		if diff := cmp.Diff([]string{"late"}, permitted); diff != "" {
			t.Errorf("Permitted with more chaos differs (-want +got):\n%s", diff)
		}
		start = time.Now()
		if _, err := call("late", "{}"); caxton.KindOf(err) != caxton.Unavailable || time.Since(start) != time.Minute {
			t.Errorf("a call with more chaos: %v after %s", err, time.Since(start))
		}
	})
}

// TestDelayEnds holds that a late call ends with its context.
func TestDelayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := parse(t, "model: builtin\nchaos: {delay: {tool: late, by: 1h}}\ncases: [{name: one, input: Hi}]")
		late := s.Kit(&s.Cases[0], scenario.Chaos{}).Tools([]tool.Tool{echo{"late"}})[0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := late.Call(ctx, tool.Call{}); err == nil || ctx.Err() == nil {
			t.Errorf("Call = %v, want the end of the context", err)
		}
	})
}

// model counts its calls.
type model struct{ calls *int }

func (model) Info() llm.Info { return llm.Info{Provider: "here"} }

func (m model) Generate(context.Context, llm.Request) (llm.Response, error) {
	*m.calls++
	return llm.Response{Text: "fine"}, nil
}

func TestModelChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := parse(t, `
model: builtin
chaos: {model_delay: 2s}
cases:
  - {name: fails, input: Hi, chaos: {model_error: {kind: exhausted, message: too many, times: 2}}}
  - {name: always fails, input: Hi, chaos: {model_error: {}}}
  - {name: late, input: Hi}
`)
		for _, tt := range []struct {
			at    int
			kinds []caxton.Kind
		}{
			{0, []caxton.Kind{caxton.Exhausted, caxton.Exhausted, "", ""}},
			{1, []caxton.Kind{caxton.Unavailable, caxton.Unavailable, caxton.Unavailable}},
			{2, []caxton.Kind{""}},
		} {
			calls, good := 0, 0
			m := s.Kit(&s.Cases[tt.at], scenario.Chaos{}).Model(model{&calls})
			start := time.Now()
			for i, want := range tt.kinds {
				_, err := m.Generate(t.Context(), llm.Request{})
				if caxton.KindOf(err) != want {
					t.Errorf("case %d, call %d: %v, want %q", tt.at, i+1, err, want)
				}
				if want == "" {
					good++
				}
			}
			if calls != good || time.Since(start) != time.Duration(len(tt.kinds))*2*time.Second || m.Info().Provider != "here" {
				t.Errorf("case %d: %d calls of the model, want %d; took %s", tt.at, calls, good, time.Since(start))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		calls := 0
		if _, err := s.Kit(&s.Cases[2], scenario.Chaos{}).Model(model{&calls}).Generate(ctx, llm.Request{}); caxton.KindOf(err) != caxton.Timeout || calls != 0 {
			t.Errorf("a model later than its caller waits: %v, want timeout", err)
		}
	})
	s := parse(t, "model: builtin\ncases: [{name: one, input: Hi}]")
	if m := (model{}); s.Kit(&s.Cases[0], scenario.Chaos{}).Model(m) != llm.Model(m) {
		t.Error("without chaos the model is another")
	}
}
