package llmtest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// testStreams holds an adapter to what a provider's server may do to a stream.
func testStreams(t *testing.T, serve func(*testing.T, ...Step) *Server, newModel Maker) {
	t.Helper()
	two := []llm.ToolCall{{ID: "a", Name: "clock", Arguments: json.RawMessage(`{"zone":"UTC"}`)}, {ID: "b", Name: "map", Arguments: json.RawMessage(`{}`)}}
	broken := []llm.ToolCall{{ID: "a", Name: "clock", Arguments: json.RawMessage(`{"zone":"UT`)}}
	errBody := `{"error":{"type":"some_error","message":"provider words","code":"c","param":"p"},"type":"error"}`
	failure := func(kind string) string {
		return "event: error\ndata: " + `{"type":"error","error":{"type":"` + kind + `","code":null,"message":"provider words"}}`
	}
	const long = "one two three four five six"
	tests := []struct {
		name    string
		steps   []Step
		retries int
		want    caxton.Kind // "" for an answer
		calls   int         // requests the server should see
		pieces  int         // at least; -1 for none at all
		check   func(res llm.Response) bool
	}{
		{"words", []Step{{Text: long}}, 0, "", 1, 6, func(r llm.Response) bool {
			return r.Text == long && r.Stop == llm.StopEnd && r.Model == "fake-1" && r.Usage == llm.Usage{InputTokens: 11, OutputTokens: 7}
		}},
		{"no count of tokens", []Step{{Text: long, NoUsage: true}}, 0, "", 1, 6, func(r llm.Response) bool { return r.Usage.Estimated && r.Usage.OutputTokens == 7 }},
		{"tool calls after text", []Step{{Text: "let me see", ToolCalls: two}}, 0, "", 1, 3, func(r llm.Response) bool {
			return r.Stop == llm.StopTools && len(r.ToolCalls) == 2 && string(r.ToolCalls[0].Arguments) == `{"zone":"UTC"}` && r.ToolCalls[1].ID == "b" && string(r.ToolCalls[1].Arguments) == "{}"
		}},
		{"arguments that are no JSON", []Step{{ToolCalls: broken}}, 0, "", 1, -1, func(r llm.Response) bool {
			return len(r.ToolCalls) == 1 && string(r.ToolCalls[0].Arguments) == `{"zone":"UT`
		}},
		{"429 and then a stream", []Step{{Status: 429, Body: errBody, RetryAfter: "0"}, {Text: long}}, 2, "", 2, 6, nil},
		{"a whole answer instead", []Step{{Text: long, Plain: true}}, 0, "", 1, 1, func(r llm.Response) bool {
			return r.Text == long && r.Usage == llm.Usage{InputTokens: 11, OutputTokens: 7}
		}},
		{"a page instead", []Step{{Body: "<html>no</html>"}}, 0, caxton.Malformed, 1, -1, nil},
		{"an empty object instead", []Step{{Body: "{}"}}, 0, caxton.Malformed, 1, -1, nil},
		{"a bad key", []Step{{Status: 401, Body: errBody}}, 2, caxton.Unauthenticated, 1, -1, nil},
		{"503 for ever", []Step{{Status: 503, Body: errBody}}, 0, caxton.Unavailable, 1, -1, nil},
		{"cut in the middle", []Step{{Text: long, Cut: true, After: 5}}, 2, caxton.Unavailable, 1, 1, nil},
		{"ended in the middle", []Step{{Text: long, End: true, After: 5}}, 2, caxton.Unavailable, 1, 1, nil},
		{"ended in a tool call", []Step{{ToolCalls: two, End: true, After: 5}}, 0, caxton.Unavailable, 1, -1, nil},
		{"ended before it began", []Step{{Text: long, End: true}}, 0, caxton.Unavailable, 1, -1, nil},
		{"a chunk that is no JSON", []Step{{Text: long, After: 5, Event: "event: content_block_delta\ndata: {\"choices\":[{\"del"}}, 0, caxton.Malformed, 1, 1, nil},
		{"a chunk of another shape", []Step{{Text: long, After: 5, Event: "event: content_block_delta\ndata: [1]"}}, 0, caxton.Malformed, 1, 1, nil},
		{"overloaded", []Step{{Text: long, After: 5, Event: failure("overloaded_error")}}, 0, caxton.Unavailable, 1, 1, nil},
		{"too many requests", []Step{{Text: long, After: 5, Event: failure("rate_limit_error")}}, 0, caxton.Exhausted, 1, 1, nil},
		{"refused", []Step{{Text: long, After: 5, Event: failure("invalid_request_error")}}, 0, caxton.Invalid, 1, 1, nil},
		{"an unknown error", []Step{{Text: long, After: 5, Event: failure("odd_error")}}, 0, caxton.Unavailable, 1, 1, nil},
		{"a slow chunk", []Step{{Text: long, Hang: true, After: 5}}, 2, caxton.Timeout, 1, 1, nil},
		{"no chunk", []Step{{Text: long, Hang: true}}, 2, caxton.Timeout, 1, -1, nil},
	}
	req := llm.Request{
		Messages: []llm.Message{{Role: llm.User, Text: "Hello"}},
		Tools:    []llm.Tool{{Name: "clock", Description: "d", Parameters: json.RawMessage(`{"type":"object","properties":{"zone":{"type":"string"}}}`)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tt.steps...)
			timeout := 10 * time.Second
			if tt.steps[0].Hang {
				timeout = 200 * time.Millisecond
			}
			var h Heard
			res, err := llm.Stream(t.Context(), newModel(s.URL, timeout, tt.retries), req, h.Emit)
			if got := caxton.KindOf(err); got != tt.want {
				t.Fatalf("kind %q (%v), want %q", got, err, tt.want)
			}
			if n := len(s.Requests()); n != tt.calls {
				t.Errorf("%d requests, want %d", n, tt.calls)
			}
			if h.Pieces < tt.pieces || tt.pieces < 0 && h.Pieces > 0 {
				t.Errorf("%d pieces of text, want %d", h.Pieces, tt.pieces)
			}
			if err == nil {
				h.Check(t, res)
			}
			if tt.check != nil && !tt.check(res) {
				t.Errorf("response %+v", res)
			}
			if strings.Contains(tt.steps[0].Event, "provider words") && !strings.Contains(err.Error(), "provider words") {
				t.Errorf("error %v, want the provider's words in it", err)
			}
		})
	}
	t.Run("the caller leaves in the middle", func(t *testing.T) {
		s := serve(t, Step{Text: long, Hang: true, After: 5})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var h Heard
		_, err := llm.Stream(ctx, newModel(s.URL, 10*time.Second, 2), req, func(d llm.Delta) {
			h.Emit(d)
			cancel()
		})
		if caxton.KindOf(err) != caxton.Canceled || h.Pieces == 0 || len(s.Requests()) != 1 {
			t.Errorf("%v after %d pieces and %d requests, want it canceled", err, h.Pieces, len(s.Requests()))
		}
	})
	t.Run("keeps the key", func(t *testing.T) {
		for _, e := range []string{"event: error\ndata: " + repeatsKey, "event: message_start\ndata: " + Key} {
			_, err := llm.Stream(t.Context(), newModel(serve(t, Step{Text: long, After: 3, Event: e}).URL, time.Second, 0), req, func(llm.Delta) {})
			if err == nil || strings.Contains(err.Error(), Key) {
				t.Errorf("the error %v shows the key", err)
			}
		}
	})
}
