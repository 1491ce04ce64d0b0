package anthropic_test

import (
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/anthropic"
	"github.com/caxton/caxton/internal/llm/llmtest"
)

func TestStreamEvents(t *testing.T) {
	const (
		start = `message_start {"message":{"id":"x","type":"message","role":"assistant","model":"fake-1","content":[],"usage":{"input_tokens":11,"output_tokens":1}}}`
		text  = `content_block_start {"index":0,"content_block":{"type":"text","text":"be"}}`
		word  = `content_block_delta {"index":0,"delta":{"type":"text_delta","text":"gin"}}`
		think = `content_block_start {"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`
		hm    = `content_block_delta {"index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`
		tool  = `content_block_start {"index":0,"content_block":{"type":"tool_use","id":"a","name":"clock","input":{}}}`
		half  = `content_block_delta {"index":0,"delta":{"type":"input_json_delta","partial_json":"{\"zone\":"}}`
		shut  = `content_block_stop {"index":0}`
		cut   = `message_delta {"delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":7}}`
		stop  = `message_stop {}`
		news  = `news_of_tomorrow {"index":7}`
	)
	tests := []struct {
		name   string
		events []string
		text   string
		calls  string // names with arguments
		stop   llm.StopReason
		kind   caxton.Kind
	}{
		{"text in the start of a block", []string{start, text, word, shut, cut, stop}, "begin", "", llm.StopLength, ""},
		{"thoughts are not shown", []string{start, think, hm, shut, cut, stop}, "", "", llm.StopLength, ""},
		{"arguments cut by the limit", []string{start, tool, half, shut, cut, stop}, "", `clock{"zone":`, llm.StopTools, ""},
		{"a block that is not closed", []string{start, tool, half, cut, stop}, "", `clock{"zone":`, llm.StopTools, ""},
		{"an event that is not known", []string{start, news, text, word, shut, news, cut, stop}, "begin", "", llm.StopLength, ""},
		{"a message in a message", []string{start, tool, half, start, stop}, "", "", "", caxton.Malformed},
		{"a block out of order", []string{start, word}, "", "", "", caxton.Malformed},
		{"a gap between blocks", []string{start, strings.Replace(text, `"index":0`, `"index":3`, 1)}, "", "", "", caxton.Malformed},
		{"nothing but an end", []string{stop}, "", "", "", caxton.Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var raw []string
			for _, e := range tt.events {
				name, data, _ := strings.Cut(e, " {")
				data = strings.Replace(`{"type":"`+name+`",`+data, ",}", "}", 1)
				raw = append(raw, "event: "+name+"\ndata: "+data)
			}
			s := llmtest.Anthropic(t, llmtest.Step{Event: strings.Join(raw, "\n\n")})
			m := anthropic.New(anthropic.Config{BaseURL: s.URL, MaxRetries: -1})
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
	f.Add([]byte("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"clock\",\"input\":{}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"))
	f.Add([]byte("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"))
	f.Add([]byte("event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"m\"}}\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := anthropic.New(anthropic.Config{MaxRetries: -1, HTTPClient: llmtest.Stream(body)})
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
