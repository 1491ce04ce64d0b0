package llmtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// streamed reports whether a request asks for a stream.
func streamed(body []byte) bool {
	var req struct{ Stream bool }
	return json.Unmarshal(body, &req) == nil && req.Stream
}

// stream sends server-sent events.
func stream(w http.ResponseWriter, r *http.Request, st Step, events []string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	out := http.NewResponseController(w)
	for i := 0; i <= len(events); i++ {
		if i == st.After {
			switch {
			case st.Hang:
				_ = out.Flush()
				<-r.Context().Done()
				return
			case st.Cut:
				_ = out.Flush()
				panic(http.ErrAbortHandler) // net/http's way to break a connection
			case st.Event != "":
				_, _ = io.WriteString(w, st.Event+"\n\n")
				return
			case st.End:
				return
			}
		}
		if i < len(events) {
			_, _ = io.WriteString(w, events[i]+"\n\n")
			_ = out.Flush()
		}
	}
}

func event(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return "data: " + string(b)
}

// halves cuts a text in two.
func halves(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s[:len(s)/2], s[len(s)/2:]}
}

// openAIEvents returns an answer as chunks of a chat completion.
func openAIEvents(st Step, body []byte) []string {
	chunk := func(delta map[string]any, finish any) string {
		return event(map[string]any{
			"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "fake-1", "usage": nil,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}},
		})
	}
	events := []string{": a comment", chunk(map[string]any{"role": "assistant", "content": ""}, nil)}
	for _, w := range strings.SplitAfter(st.Text, " ") {
		if w != "" {
			events = append(events, chunk(map[string]any{"content": w}, nil))
		}
	}
	stop := "stop"
	for i, c := range st.ToolCalls {
		stop = "tool_calls"
		call := func(id, name any, args string) string {
			f := map[string]any{"arguments": args}
			tc := map[string]any{"index": i, "function": f}
			if id != nil {
				tc["id"], tc["type"], f["name"] = id, "function", name
			}
			return chunk(map[string]any{"tool_calls": []any{tc}}, nil)
		}
		events = append(events, call(c.ID, c.Name, ""))
		for _, h := range halves(string(c.Arguments)) {
			events = append(events, call(nil, nil, h))
		}
	}
	if st.Stop != "" {
		stop = st.Stop
	}
	events = append(events, chunk(map[string]any{}, stop))
	var req struct {
		Options struct {
			Usage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if json.Unmarshal(body, &req) == nil && req.Options.Usage && !st.NoUsage { // who does not ask is not told
		events = append(events, event(map[string]any{
			"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "fake-1", "choices": []any{},
			"usage": map[string]any{"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
		}))
	}
	return append(events, "data: [DONE]")
}

// anthropicEvents returns an answer as the events of a message.
func anthropicEvents(st Step, _ []byte) []string {
	named := func(name string, v map[string]any) string {
		v["type"] = name
		return "event: " + name + "\n" + event(v)
	}
	usage := func(v map[string]any, u map[string]any) map[string]any {
		if !st.NoUsage {
			v["usage"] = u
		}
		return v
	}
	events := []string{
		named("message_start", map[string]any{"message": usage(map[string]any{
			"id": "x", "type": "message", "role": "assistant", "model": "fake-1", "content": []any{}, "stop_reason": nil,
		}, map[string]any{"input_tokens": 11, "output_tokens": 1})}),
		named("ping", map[string]any{}),
	}
	index := 0
	block := func(start map[string]any, delta, key string, pieces []string) {
		events = append(events, named("content_block_start", map[string]any{"index": index, "content_block": start}))
		for _, p := range pieces {
			events = append(events, named("content_block_delta", map[string]any{"index": index, "delta": map[string]any{"type": delta, key: p}}))
		}
		events = append(events, named("content_block_stop", map[string]any{"index": index}))
		index++
	}
	if st.Text != "" {
		block(map[string]any{"type": "text", "text": ""}, "text_delta", "text", strings.SplitAfter(st.Text, " "))
	}
	stop := "end_turn"
	for _, c := range st.ToolCalls {
		stop = "tool_use"
		block(map[string]any{"type": "tool_use", "id": c.ID, "name": c.Name, "input": map[string]any{}}, "input_json_delta", "partial_json", halves(string(c.Arguments)))
	}
	if st.Stop != "" {
		stop = st.Stop
	}
	return append(events,
		named("message_delta", usage(map[string]any{"delta": map[string]any{"stop_reason": stop, "stop_sequence": nil}}, map[string]any{"output_tokens": 7})),
		named("message_stop", map[string]any{}))
}

// Stream returns an HTTP client whose every request is answered with body, a stream of
// events, without a network: for fuzz tests.
func Stream(body []byte) *http.Client { return &http.Client{Transport: transport(body)} }

type transport []byte

func (b transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(bytes.NewReader(b)), Request: req,
	}, nil
}
