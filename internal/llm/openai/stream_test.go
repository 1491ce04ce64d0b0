package openai_test

import (
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/llmtest"
	"github.com/caxton/caxton/internal/llm/openai"
)

// TestStreamOfOtherServers is about what servers other than OpenAI's make of the interface.
func TestStreamOfOtherServers(t *testing.T) {
	delta := func(d string) string { return `{"choices":[{"index":0,"delta":{` + d + `},"finish_reason":null}]}` }
	end := func(reason string) string {
		return `{"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`
	}
	call := func(index, id, name, args string) string {
		return delta(`"tool_calls":[{"index":` + index + `,"id":"` + id + `","type":"function","function":{"name":"` + name + `","arguments":"` + args + `"}}]`)
	}
	tests := []struct {
		name   string
		events []string
		text   string
		calls  string // names with arguments
		stop   llm.StopReason
		kind   caxton.Kind
	}{
		{"every call has the index 0", []string{call("0", "a", "clock", "{}"), call("0", "b", "map", "{}"), end("tool_calls")}, "", "clock{} map{}", llm.StopTools, ""},
		{"ID and name in every piece", []string{call("0", "a", "clock", "{"), call("0", "a", "clock", "}"), end("tool_calls")}, "", "clock{}", llm.StopTools, ""},
		{"two calls in turns", []string{call("0", "a", "clock", ""), call("1", "b", "map", ""), call("0", "", "", "{}"), call("1", "", "", "{}"), end("tool_calls")}, "", "clock{} map{}", llm.StopTools, ""},
		{"an odd index", []string{call("-1", "a", "clock", "{}"), call("9000000000", "b", "map", "{}"), end("tool_calls")}, "", "clock{} map{}", llm.StopTools, ""},
		{"no arguments", []string{call("0", "a", "clock", ""), end("stop")}, "", "clock{}", llm.StopTools, ""},
		{"a call without a name", []string{call("0", "a", "", "{}"), end("stop")}, "", "", llm.StopEnd, ""},
		{"chunks with different IDs", []string{`{"id":"1",` + delta(`"content":"a "`)[1:], `{"id":"2",` + delta(`"content":"b"`)[1:], end("stop")}, "a b", "", llm.StopEnd, ""},
		{"another choice", []string{delta(`"content":"a"`), `{"choices":[{"index":1,"delta":{"content":"x"},"finish_reason":"stop"}]}`, end("length")}, "a", "", llm.StopLength, ""},
		{"a refusal", []string{delta(`"refusal":"I may "`), delta(`"refusal":"not"`), end("stop")}, "I may not", "", llm.StopFilter, ""},
		{"a refusal, then content", []string{delta(`"refusal":"I may not"`), delta(`"content":"but "`), delta(`"content":"here"`), end("stop")}, "but here", "", llm.StopEnd, ""},
		{"nothing at all", []string{end("stop")}, "", "", llm.StopEnd, ""},
		{"an empty choice list for ever", []string{`{"choices":[]}`}, "", "", "", caxton.Unavailable},
		{"a plain error", []string{`{"error":"out of memory"}`}, "", "", "", caxton.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := llmtest.OpenAI(t, llmtest.Step{Event: "data: " + strings.Join(tt.events, "\n\ndata: ")})
			m := openai.New(openai.Config{BaseURL: s.URL, MaxRetries: -1})
			var h llmtest.Heard
			res, err := llm.Stream(t.Context(), m, llm.Request{Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}}, h.Emit)
			if caxton.KindOf(err) != tt.kind {
				t.Fatalf("Stream: %v, want kind %q", err, tt.kind)
			}
			if err != nil {
				return
			}
			var calls []string
			for _, c := range res.ToolCalls {
				calls = append(calls, c.Name+string(c.Arguments))
			}
			if res.Text != tt.text || strings.Join(calls, " ") != tt.calls || res.Stop != tt.stop {
				t.Errorf("Stream = %q, %q, %s, want %q, %q, %s", res.Text, calls, res.Stop, tt.text, tt.calls, tt.stop)
			}
			h.Check(t, res)
		})
	}
}

// FuzzStream holds the adapter to its contract whatever a server sends.
func FuzzStream(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\",\"refusal\":\"b\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"clock\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"))
	f.Add([]byte("data: {\"error\":{\"message\":\"m\"}}\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := openai.New(openai.Config{MaxRetries: -1, HTTPClient: llmtest.Stream(body)})
		var h llmtest.Heard
		res, err := llm.Stream(t.Context(), m, llm.Request{Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}}, h.Emit)
		switch {
		case err == nil:
			h.Check(t, res)
		case caxton.KindOf(err) == caxton.Internal:
			t.Error(err)
		}
	})
}
