package openai_test

import (
	"encoding/json"
	"testing"

	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/llmtest"
	"github.com/caxton/caxton/internal/llm/openai"
	"github.com/google/go-cmp/cmp"
)

// TestRequests shows what becomes of odd requests: a tool may have no schema, and servers that
// fill templates fail at arguments that are no object.
func TestRequests(t *testing.T) {
	req := llm.Request{
		Messages: []llm.Message{
			{Role: llm.User, Text: "What time is it?"},
			{Role: llm.Assistant, ToolCalls: []llm.ToolCall{
				{ID: "a", Name: "clock", Arguments: json.RawMessage(`{"zone":"UTC"}`)},
				{ID: "b", Name: "clock", Arguments: json.RawMessage(`{"zone":`)},
				{ID: "c", Name: "clock", Arguments: json.RawMessage(`"{"`)},
				{ID: "d", Name: "clock", Arguments: json.RawMessage(`null`)},
			}},
			{Role: llm.ToolRole, ToolCallID: "a", ToolName: "clock", Text: "noon"},
			{Role: llm.ToolRole, ToolCallID: "b", ToolName: "clock", Text: "what?", IsError: true},
		},
		Tools: []llm.Tool{{Name: "clock"}},
	}
	s := llmtest.OpenAI(t, llmtest.Step{Text: "hi"})
	if _, err := openai.New(openai.Config{BaseURL: s.URL, MaxRetries: -1}).Generate(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Messages []struct {
			Content   any
			ToolCalls []struct{ Function struct{ Arguments string } } `json:"tool_calls"`
		}
		Tools []struct{ Function struct{ Parameters any } }
	}
	if err := json.Unmarshal(s.Requests()[0], &got); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, c := range got.Messages[1].ToolCalls {
		args = append(args, c.Function.Arguments)
	}
	if d := cmp.Diff([]string{`{"zone":"UTC"}`, "{}", "{}", "{}"}, args); d != "" {
		t.Errorf("arguments (-want +got)\n%s", d)
	}
	if got.Messages[3].Content != "error: what?" {
		t.Errorf("a failed result is told as %v", got.Messages[3].Content)
	}
	if d := cmp.Diff(map[string]any{"type": "object", "properties": map[string]any{}}, got.Tools[0].Function.Parameters); d != "" {
		t.Errorf("parameters (-want +got)\n%s", d)
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name, message, usage string
		want                 llm.Response
	}{
		{
			"no total of tokens", `{"content":"a"}`, `{"prompt_tokens":3,"completion_tokens":4}`,
			llm.Response{Text: "a", Stop: llm.StopEnd, Usage: llm.Usage{InputTokens: 3, OutputTokens: 4}},
		},
		{
			"a refusal", `{"content":null,"refusal":"I may not"}`, `{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}`,
			llm.Response{Text: "I may not", Stop: llm.StopFilter, Usage: llm.Usage{InputTokens: 3, OutputTokens: 4}},
		},
		{
			"a call without a name", `{"content":"a","tool_calls":[{"id":"a","type":"function","function":{"name":"","arguments":"{}"}}]}`, `{"prompt_tokens":3,"completion_tokens":4}`,
			llm.Response{Text: "a", Stop: llm.StopEnd, Usage: llm.Usage{InputTokens: 3, OutputTokens: 4}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"model":"m","choices":[{"index":0,"finish_reason":"stop","message":` + tt.message + `}],"usage":` + tt.usage + `}`
			m := openai.New(openai.Config{BaseURL: llmtest.OpenAI(t, llmtest.Step{Body: body}).URL, MaxRetries: -1})
			tt.want.Provider, tt.want.Model = "openai", "m"
			res, err := m.Generate(t.Context(), llm.Request{Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}})
			if d := cmp.Diff(tt.want, res); d != "" || err != nil {
				t.Errorf("Generate: %v (-want +got)\n%s", err, d)
			}
		})
	}
}
