package anthropic_test

import (
	"encoding/json"
	"testing"

	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/anthropic"
	"github.com/caxton/caxton/internal/llm/llmtest"
	"github.com/google/go-cmp/cmp"
)

// TestRequests shows what becomes of odd requests: the interface refuses what is no object,
// blank texts, IDs with odd characters, and calls of tools that the request does not have.
func TestRequests(t *testing.T) {
	called := []llm.Message{
		{Role: llm.User, Text: "What time is it?"},
		{Role: llm.Assistant, Text: " \n", ToolCalls: []llm.ToolCall{{ID: "functions.clock:0", Name: "clock", Arguments: json.RawMessage(`null`)}}},
		{Role: llm.ToolRole, ToolCallID: "functions.clock:0", ToolName: "clock", Text: "\n"},
	}
	const calledJSON = `[
		{"role":"user","content":[{"type":"text","text":"What time is it?"}]},
		{"role":"assistant","content":[{"type":"tool_use","id":"functions_clock_0","name":"clock","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"functions_clock_0","is_error":false,"content":[{"type":"text","text":"(empty)"}]}]}]`
	tests := []struct {
		name string
		req  llm.Request
		want map[string]string // JSON by key of the request
	}{
		{"calls of another provider", llm.Request{Messages: called, Tools: []llm.Tool{{Name: "clock"}}}, map[string]string{
			"messages": calledJSON, "tools": `[{"name":"clock","description":"","input_schema":{"type":"object","properties":{}}}]`, "tool_choice": "",
		}},
		{"the last step, without tools", llm.Request{Messages: called}, map[string]string{
			"messages": calledJSON, "tools": `[{"name":"clock","input_schema":{"type":"object","properties":{}}}]`, "tool_choice": `{"type":"none"}`,
		}},
		{"no tools at all", llm.Request{Messages: called[:1]}, map[string]string{"tools": "", "tool_choice": ""}},
		{"a blank message", llm.Request{Messages: []llm.Message{{Role: llm.User, Text: " "}}}, map[string]string{
			"messages": `[{"role":"user","content":[{"type":"text","text":"(empty)"}]}]`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := llmtest.Anthropic(t, llmtest.Step{Text: "hi"})
			if _, err := anthropic.New(anthropic.Config{BaseURL: s.URL, MaxRetries: -1}).Generate(t.Context(), tt.req); err != nil {
				t.Fatal(err)
			}
			var got map[string]json.RawMessage
			if err := json.Unmarshal(s.Requests()[0], &got); err != nil {
				t.Fatal(err)
			}
			for key, want := range tt.want {
				var w, g any
				if want != "" && json.Unmarshal([]byte(want), &w) != nil || got[key] != nil && json.Unmarshal(got[key], &g) != nil {
					t.Fatalf("%s cannot be read: %s, %s", key, want, got[key])
				}
				if d := cmp.Diff(w, g); d != "" {
					t.Errorf("%s (-want +got)\n%s", key, d)
				}
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name, body string
		want       llm.Response
	}{
		{
			"tokens from the cache count",
			`{"model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"cache_read_input_tokens":20,"cache_creation_input_tokens":300,"output_tokens":4}}`,
			llm.Response{Text: "a", Stop: llm.StopEnd, Usage: llm.Usage{InputTokens: 321, OutputTokens: 4}},
		},
		{
			"the window is full",
			`{"model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"model_context_window_exceeded","usage":{"input_tokens":1,"output_tokens":4}}`,
			llm.Response{Text: "a", Stop: llm.StopLength, Usage: llm.Usage{InputTokens: 1, OutputTokens: 4}},
		},
		{
			"refused",
			`{"model":"m","content":[],"stop_reason":"refusal","usage":{"input_tokens":1,"output_tokens":4}}`,
			llm.Response{Stop: llm.StopFilter, Usage: llm.Usage{InputTokens: 1, OutputTokens: 4}},
		},
		{
			"no input of a tool",
			`{"model":"m","content":[{"type":"tool_use","id":"a","name":"clock","input":null}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":4}}`,
			llm.Response{Stop: llm.StopTools, ToolCalls: []llm.ToolCall{{ID: "a", Name: "clock", Arguments: json.RawMessage("{}")}}, Usage: llm.Usage{InputTokens: 1, OutputTokens: 4}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := anthropic.New(anthropic.Config{BaseURL: llmtest.Anthropic(t, llmtest.Step{Body: tt.body}).URL, MaxRetries: -1})
			tt.want.Provider, tt.want.Model = "anthropic", "m"
			res, err := m.Generate(t.Context(), llm.Request{Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}})
			if d := cmp.Diff(tt.want, res); d != "" || err != nil {
				t.Errorf("Generate: %v (-want +got)\n%s", err, d)
			}
		})
	}
}
