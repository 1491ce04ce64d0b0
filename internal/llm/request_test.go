package llm_test

import (
	"encoding/json"
	"testing"

	"github.com/caxton/caxton/internal/llm"
)

func TestHashTakesEveryRequest(t *testing.T) {
	with := func(args string) llm.Request {
		return llm.Request{
			Messages: []llm.Message{{Role: llm.Assistant, ToolCalls: []llm.ToolCall{{ID: "a", Name: "clock", Arguments: json.RawMessage(args)}}}},
			Tools:    []llm.Tool{{Name: "clock", Parameters: json.RawMessage(args)}},
		}
	}
	seen := map[string]string{}
	for _, args := range []string{"", "{", `{"a":1}`, `"{"`, "nil"} {
		h, err := llm.Hash(with(args))
		if err != nil {
			t.Errorf("Hash with arguments %q: %v", args, err)
		}
		seen[h] = args
	}
	if len(seen) != 4 { // "{" counts as the JSON text of it
		t.Errorf("%d hashes, want 4", len(seen))
	}
	a, _ := llm.Hash(with(`{"a":1}`))
	b, _ := llm.Hash(with("{ \"a\": 1 }"))
	if a != b {
		t.Error("white space matters")
	}
	if r := with("{"); string(r.Messages[0].ToolCalls[0].Arguments) != "{" {
		t.Error("the request was changed")
	}
}

// TestHashStays holds Hash to what journals hold already.
func TestHashStays(t *testing.T) {
	h, err := llm.Hash(llm.Request{System: "s", Messages: []llm.Message{{Role: llm.User, Text: "hi"}}, Tools: []llm.Tool{{Name: "clock", Parameters: json.RawMessage(`{}`)}}})
	if want := "a1d6c594b461a8aeb9a3c0c36f1acec406cf4a8b8db60f1d3b5a76c68ef11908"; err != nil || h != want {
		t.Errorf("Hash = %s, %v, want %s", h, err, want)
	}
}

func TestEstimateUsage(t *testing.T) {
	calls := []llm.ToolCall{{ID: "a", Name: "clock", Arguments: json.RawMessage(`{"zone":"UTC"}`)}} // 2 + 4 tokens
	tests := []struct {
		name    string
		req     llm.Request
		res     llm.Response
		in, out int
	}{
		{"texts", llm.Request{System: "12345678", Messages: []llm.Message{{Text: "1234"}, {Text: "12345"}}}, llm.Response{Text: "Grüße"}, 5, 2},
		{"tool calls of the answer", llm.Request{Messages: []llm.Message{{Text: "1234"}}}, llm.Response{ToolCalls: calls}, 1, 6},
		{"tool calls so far", llm.Request{Messages: []llm.Message{{ToolCalls: calls}}}, llm.Response{Text: "1234"}, 6, 1},
		{"tools", llm.Request{Tools: []llm.Tool{{Name: "1234", Description: "12345678", Parameters: json.RawMessage("{}  ")}}}, llm.Response{}, 4, 0},
	}
	for _, tt := range tests {
		if got, want := llm.EstimateUsage(tt.req, tt.res), (llm.Usage{InputTokens: tt.in, OutputTokens: tt.out, Estimated: true}); got != want {
			t.Errorf("%s: EstimateUsage = %+v, want %+v", tt.name, got, want)
		}
	}
}
