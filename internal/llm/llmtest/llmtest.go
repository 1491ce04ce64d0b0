// Package llmtest holds the conformance suite of models, and servers that speak the real
// wire formats of providers. Only test files import it.
package llmtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/google/go-cmp/cmp"
)

// TestModel holds m to the contract of llm.Model. m must answer the message "Hello" with text.
func TestModel(t *testing.T, m llm.Model) {
	hello := llm.Request{System: "Be kind.", Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}}
	t.Run("says who it is", func(t *testing.T) {
		if i := m.Info(); i.Provider == "" || i.Model == "" {
			t.Errorf("Info() = %+v", i)
		}
	})
	t.Run("answers and counts", func(t *testing.T) {
		res, err := m.Generate(t.Context(), hello)
		if err != nil {
			t.Fatal(err)
		}
		if res.Text == "" || res.Stop != llm.StopEnd || res.Provider == "" || res.Model == "" || res.Usage.InputTokens == 0 || res.Usage.OutputTokens == 0 {
			t.Errorf("Generate = %+v", res)
		}
	})
	t.Run("takes the results of tools", func(t *testing.T) {
		req := hello
		req.Tools = []llm.Tool{{Name: "clock", Description: "tells the time", Parameters: json.RawMessage(`{"type":"object","properties":{}}`)}}
		req.Messages = append(req.Messages[:1:1],
			llm.Message{Role: llm.Assistant, ToolCalls: []llm.ToolCall{{ID: "c1", Name: "clock", Arguments: json.RawMessage(`{}`)}, {ID: "c2", Name: "clock", Arguments: json.RawMessage(`"no json"`)}}},
			llm.Message{Role: llm.ToolRole, ToolCallID: "c1", ToolName: "clock", Text: "noon"},
			llm.Message{Role: llm.ToolRole, ToolCallID: "c2", ToolName: "clock", Text: "bad arguments", IsError: true})
		if _, err := m.Generate(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("refuses a request without messages", func(t *testing.T) {
		if _, err := m.Generate(t.Context(), llm.Request{}); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("Generate of nothing: %v, want an invalid error", err)
		}
	})
	t.Run("stops when its caller leaves", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Generate(ctx, hello); caxton.KindOf(err) != caxton.Canceled {
			t.Errorf("Generate for a caller who left: %v, want it canceled", err)
		}
	})
	t.Run("streams what it answers", func(t *testing.T) {
		want, err := m.Generate(t.Context(), hello)
		if err != nil {
			t.Fatal(err)
		}
		var h Heard
		got, err := llm.Stream(t.Context(), m, hello, h.Emit)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("Stream and Generate differ (-generated +streamed)\n%s", d)
		}
		h.Check(t, got)
	})
	t.Run("streams to nobody", func(t *testing.T) {
		if res, err := llm.Stream(t.Context(), m, hello, nil); err != nil || res.Text == "" {
			t.Errorf("Stream = %+v, %v", res, err)
		}
	})
	t.Run("streams nothing for a request without messages", func(t *testing.T) {
		var h Heard
		if _, err := llm.Stream(t.Context(), m, llm.Request{}, h.Emit); caxton.KindOf(err) != caxton.Invalid || h.Pieces > 0 {
			t.Errorf("Stream of nothing: %v after %d pieces, want an invalid error", err, h.Pieces)
		}
	})
	t.Run("streams no more when its caller leaves", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var h Heard
		if _, err := llm.Stream(ctx, m, hello, h.Emit); caxton.KindOf(err) != caxton.Canceled || h.Pieces > 0 {
			t.Errorf("Stream for a caller who left: %v after %d pieces, want it canceled", err, h.Pieces)
		}
	})
	t.Run("serves many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := m.Generate(t.Context(), hello); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// Heard gathers the pieces of an answer. Its zero value is ready; it belongs to one call.
type Heard struct {
	Text     string   // since the last Restart
	Tools    []string // likewise
	Pieces   int      // with text, in all
	Restarts int
	Wrong    int // deltas with no field set, or more than one
}

// Emit takes a piece.
func (h *Heard) Emit(d llm.Delta) {
	switch d {
	case llm.Delta{Restart: true}:
		h.Text, h.Tools = "", nil
		h.Restarts++
	case llm.Delta{Tool: d.Tool}:
		if h.Tools = append(h.Tools, d.Tool); d.Tool == "" {
			h.Wrong++
		}
	case llm.Delta{Text: d.Text}:
		h.Text += d.Text
		h.Pieces++
	default:
		h.Wrong++
	}
}

// Check holds the pieces to the answer that they are of.
func (h *Heard) Check(t *testing.T, res llm.Response) {
	t.Helper()
	var tools []string
	for _, c := range res.ToolCalls {
		tools = append(tools, c.Name)
	}
	if h.Text != res.Text || !slices.Equal(h.Tools, tools) || h.Wrong > 0 {
		t.Errorf("heard %q and tools %q, %d wrong, of the answer %q with %q", h.Text, h.Tools, h.Wrong, res.Text, tools)
	}
}

// A Step is what a fake provider does with one request.
type Step struct {
	Status     int                     // 0 means 200
	Body       string                  // sent as it is, instead of an answer
	Text       string                  // the answer's text
	ToolCalls  []llm.ToolCall          // the answer's tool calls
	Stop       string                  // the provider's word for why it stopped
	RetryAfter string                  // header
	Location   string                  // header
	NoUsage    bool                    // leave the count of tokens out
	Hang       bool                    // answer only when the client leaves
	Cut        bool                    // break the connection in the middle of the answer
	After      int                     // of a stream: how many events come before Hang, Cut, End or Event
	End        bool                    // of a stream: end it there, properly for HTTP
	Event      string                  // of a stream: send this there, and end it
	Plain      bool                    // answer a request for a stream with a whole answer
	Check      func(body []byte) error // looks at the request
}

// A Server is a fake provider on loopback. Its steps are used in order; the last one is
// used again and again.
type Server struct {
	*httptest.Server
	mu       sync.Mutex
	steps    []Step
	requests [][]byte
	headers  []http.Header
	faults   []error
}

// Requests returns the bodies of the requests so far.
func (s *Server) Requests() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte{}, s.requests...)
}

// OpenAI starts a server that speaks chat completions.
func OpenAI(t *testing.T, steps ...Step) *Server {
	t.Helper()
	return start(t, "/chat/completions", steps, openAIEvents, func(st Step) any {
		msg := map[string]any{"role": "assistant", "content": st.Text}
		var calls []any
		for _, c := range st.ToolCalls {
			calls = append(calls, map[string]any{"id": c.ID, "type": "function", "function": map[string]any{"name": c.Name, "arguments": string(c.Arguments)}})
		}
		stop := "stop"
		if calls != nil {
			msg["tool_calls"], stop = calls, "tool_calls"
		}
		if st.Stop != "" {
			stop = st.Stop
		}
		out := map[string]any{"id": "x", "object": "chat.completion", "created": 1, "model": "fake-1", "choices": []any{map[string]any{"index": 0, "message": msg, "finish_reason": stop}}}
		if !st.NoUsage {
			out["usage"] = map[string]any{"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
		}
		return out
	})
}

// Anthropic starts a server that speaks messages.
func Anthropic(t *testing.T, steps ...Step) *Server {
	t.Helper()
	return start(t, "/v1/messages", steps, anthropicEvents, func(st Step) any {
		content := []any{}
		if st.Text != "" {
			content = append(content, map[string]any{"type": "text", "text": st.Text})
		}
		stop := "end_turn"
		for _, c := range st.ToolCalls {
			content = append(content, map[string]any{"type": "tool_use", "id": c.ID, "name": c.Name, "input": c.Arguments})
			stop = "tool_use"
		}
		if st.Stop != "" {
			stop = st.Stop
		}
		out := map[string]any{"id": "x", "type": "message", "role": "assistant", "model": "fake-1", "content": content, "stop_reason": stop}
		if !st.NoUsage {
			out["usage"] = map[string]any{"input_tokens": 11, "output_tokens": 7}
		}
		return out
	})
}

func start(t *testing.T, path string, steps []Step, events func(Step, []byte) []string, answer func(Step) any) *Server {
	t.Helper()
	s := &Server{steps: steps}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && !strings.HasSuffix(r.URL.Path, path) {
			err = fmt.Errorf("request for %s, want %s", r.URL.Path, path)
		}
		s.mu.Lock()
		st := s.steps[min(len(s.requests), len(s.steps)-1)]
		s.requests = append(s.requests, body)
		s.headers = append(s.headers, r.Header.Clone())
		if err == nil && st.Check != nil {
			err = st.Check(body)
		}
		if err != nil {
			s.faults = append(s.faults, err)
		}
		s.mu.Unlock()
		if streamed(body) && !st.Plain && st.Status == 0 && st.Body == "" {
			stream(w, r, st, events(st, body))
			return
		}
		if st.Hang {
			<-r.Context().Done()
			return
		}
		out := []byte(st.Body)
		if st.Body == "" {
			if out, err = json.Marshal(answer(st)); err != nil {
				panic(err)
			}
		}
		if st.RetryAfter != "" {
			w.Header().Set("Retry-After", st.RetryAfter)
		}
		if st.Location != "" {
			w.Header().Set("Location", st.Location)
		}
		if !strings.HasPrefix(st.Body, "<") {
			w.Header().Set("Content-Type", "application/json")
		}
		if st.Cut {
			w.Header().Set("Content-Length", fmt.Sprint(len(out)))
			out = out[:len(out)/2]
		}
		if st.Status != 0 {
			w.WriteHeader(st.Status)
		}
		_, _ = w.Write(out)
	}))
	t.Cleanup(func() {
		s.Close()
		for _, err := range s.faults {
			t.Error(err)
		}
	})
	return s
}

// A Maker returns a model that talks to the server at baseURL with Key, with the timeout of
// one attempt and the number of retries.
type Maker func(baseURL string, timeout time.Duration, retries int) llm.Model

// TestProvider holds an adapter to what a provider's server may do to it.
func TestProvider(t *testing.T, serve func(*testing.T, ...Step) *Server, newModel Maker) {
	t.Run("conformance", func(t *testing.T) {
		TestModel(t, newModel(serve(t, Step{Text: "hi"}).URL, time.Second, 0))
	})
	two := []llm.ToolCall{{ID: "a", Name: "clock", Arguments: json.RawMessage(`{"zone":"UTC"}`)}, {ID: "b", Name: "clock", Arguments: json.RawMessage(`{}`)}}
	errBody := `{"error":{"type":"some_error","message":"provider words","code":"c","param":"p"},"type":"error"}`
	tests := []struct {
		name    string
		steps   []Step
		retries int
		want    caxton.Kind // "" for an answer
		calls   int         // requests the server should see
		check   func(res llm.Response) bool
	}{
		{"parallel tool calls", []Step{{ToolCalls: two}}, 0, "", 1, func(r llm.Response) bool {
			return len(r.ToolCalls) == 2 && r.Stop == llm.StopTools && string(r.ToolCalls[0].Arguments) == `{"zone":"UTC"}` && r.ToolCalls[1].ID == "b"
		}},
		{"tokens as the provider counts", []Step{{Text: "hi"}}, 0, "", 1, func(r llm.Response) bool { return r.Usage == llm.Usage{InputTokens: 11, OutputTokens: 7} }},
		{"tokens estimated", []Step{{Text: "hi", NoUsage: true}}, 0, "", 1, func(r llm.Response) bool { return r.Usage.Estimated && r.Usage.OutputTokens == 1 }},
		{"429 and then an answer", []Step{{Status: 429, Body: errBody, RetryAfter: "0"}, {Text: "hi"}}, 2, "", 2, nil},
		{"500 and then an answer", []Step{{Status: 500, Body: errBody}, {Text: "hi"}}, 2, "", 2, nil},
		{"429 for ever", []Step{{Status: 429, Body: errBody, RetryAfter: "0"}}, 1, caxton.Exhausted, 2, nil},
		{"503 for ever", []Step{{Status: 503, Body: errBody}}, 0, caxton.Unavailable, 1, nil},
		{"a bad key", []Step{{Status: 401, Body: errBody}}, 2, caxton.Unauthenticated, 1, nil},
		{"a key that may not", []Step{{Status: 403, Body: errBody}}, 2, caxton.Forbidden, 1, nil},
		{"no money", []Step{{Status: 402, Body: errBody}}, 2, caxton.Exhausted, 1, nil},
		{"a request that is too long", []Step{{Status: 400, Body: `{"error":{"message":"m","type":"invalid_request_error","code":"context_length_exceeded"}}`}}, 2, caxton.TooLarge, 1, nil},
		{"an endless answer", []Step{{Text: strings.Repeat("x", 33<<20)}}, 0, caxton.Malformed, 1, nil},
		{"an unknown model", []Step{{Status: 404, Body: errBody}}, 2, caxton.NotFound, 1, nil},
		{"a refused request", []Step{{Status: 400, Body: errBody}}, 2, caxton.Invalid, 1, nil},
		{"an error that is no JSON", []Step{{Status: 400, Body: "<html>no</html>"}}, 0, caxton.Invalid, 1, nil},
		{"a page instead of an answer", []Step{{Body: "<html>no</html>"}}, 0, caxton.Malformed, 1, nil},
		{"JSON that breaks off", []Step{{Body: `{"choices":[{"mess`}}, 0, caxton.Unavailable, 1, nil},
		{"JSON of another shape", []Step{{Body: `{"choices":"none","content":"none"}`}}, 0, caxton.Malformed, 1, nil},
		{"an empty object", []Step{{Body: `{}`}}, 0, caxton.Malformed, 1, nil},
		{"a connection that breaks", []Step{{Text: strings.Repeat("x", 10000), Cut: true}}, 0, caxton.Unavailable, 1, nil},
		{"no answer in time", []Step{{Hang: true}}, 0, caxton.Timeout, 1, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tt.steps...)
			timeout := 10 * time.Second
			if tt.steps[0].Hang {
				timeout = 100 * time.Millisecond
			}
			m := newModel(s.URL, timeout, tt.retries)
			res, err := m.Generate(t.Context(), llm.Request{
				Messages: []llm.Message{{Role: llm.User, Text: "Hello"}},
				Tools:    []llm.Tool{{Name: "clock", Description: "d", Parameters: json.RawMessage(`{"type":"object","properties":{"zone":{"type":"string"}}}`)}},
			})
			if got := caxton.KindOf(err); got != tt.want {
				t.Fatalf("kind %q (%v), want %q", got, err, tt.want)
			}
			if n := len(s.Requests()); n != tt.calls {
				t.Errorf("%d requests, want %d", n, tt.calls)
			}
			if tt.check != nil && !tt.check(res) {
				t.Errorf("response %+v", res)
			}
		})
	}
	t.Run("keeps secrets", func(t *testing.T) { testSecrets(t, serve, newModel) })
	t.Run("a pause beyond the deadline", func(t *testing.T) {
		s := serve(t, Step{Status: 429, Body: errBody, RetryAfter: "30"})
		_, err := newModel(s.URL, 300*time.Millisecond, 2).Generate(t.Context(), llm.Request{Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}})
		if caxton.KindOf(err) != caxton.Exhausted || len(s.Requests()) != 1 {
			t.Errorf("%v after %d requests, want exhausted at once", err, len(s.Requests()))
		}
	})
	t.Run("streams", func(t *testing.T) { testStreams(t, serve, newModel) })
	t.Run("nobody listens", func(t *testing.T) {
		s := serve(t, Step{})
		s.Close()
		_, err := newModel(s.URL, time.Second, 0).Generate(t.Context(), llm.Request{Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}})
		if got := caxton.KindOf(err); got != caxton.Unavailable {
			t.Errorf("kind %q (%v), want unavailable", got, err)
		}
	})
}
