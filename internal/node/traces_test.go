package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/node"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A traceCollector takes spans as OTLP over HTTP.
type traceCollector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
}

func newTraceCollector(t *testing.T) *traceCollector {
	t.Helper()
	c := &traceCollector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var data tracepb.TracesData
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, &data) != nil {
			t.Errorf("the collector was sent %d bytes to %s that it cannot read", len(b), r.URL.Path)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, rs := range data.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// tree prints the spans of a trace, each below that which it is part of. Spans whose parent is
// parent are at the top.
func (c *traceCollector) tree(t *testing.T, trace, parent string) string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	children := map[string][]*tracepb.Span{}
	n := 0
	for _, s := range c.spans {
		if fmt.Sprintf("%x", s.GetTraceId()) == trace {
			p := fmt.Sprintf("%x", s.GetParentSpanId())
			children[p] = append(children[p], s)
			n++
		}
	}
	var b strings.Builder
	var walk func(string, int)
	walk = func(parent string, depth int) {
		slices.SortFunc(children[parent], func(a, b *tracepb.Span) int { return int(a.GetStartTimeUnixNano()) - int(b.GetStartTimeUnixNano()) })
		for _, s := range children[parent] {
			n--
			fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", depth), s.GetName())
			walk(fmt.Sprintf("%x", s.GetSpanId()), depth+1)
		}
	}
	walk(parent, 0)
	if n != 0 {
		t.Errorf("%d spans of trace %s hang in the air; the tree is\n%s", n, trace, b.String())
	}
	return b.String()
}

// named returns the spans of that name, by their start.
func (c *traceCollector) named(name string) []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*tracepb.Span
	for _, s := range c.spans {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *tracepb.Span) int { return int(a.GetStartTimeUnixNano()) - int(b.GetStartTimeUnixNano()) })
	return found
}

// attribute returns an attribute of a span as text.
func attribute(s *tracepb.Span, key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			v := a.GetValue()
			switch {
			case v.GetStringValue() != "":
				return v.GetStringValue()
			case v.GetIntValue() != 0:
				return fmt.Sprint(v.GetIntValue())
			}
			return v.String()
		}
	}
	return ""
}

// askTraced sends a message over HTTP with a traceparent and returns the answer and the trace that
// the server says it is part of.
func askTraced(t *testing.T, addr, to, text, traceparent string, status int) (r api.Receipt, trace string) {
	t.Helper()
	body, err := json.Marshal(api.Message{Receiver: to, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/api/v1/messages?wait=20s", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if traceparent != "" {
		req.Header.Set("Traceparent", traceparent)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || json.Unmarshal(b, &r) != nil {
		t.Fatalf("status %d, %v: %s", res.StatusCode, err, b)
	}
	return r, res.Header.Get("X-Trace-Id")
}

// awaitSpans waits until so many spans of a trace have ended.
func awaitSpans(t *testing.T, c *api.Client, trace string, n int) api.SpanTree {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		tree, err := c.Spans(t.Context(), trace)
		if err != nil && caxton.KindOf(err) != caxton.NotFound {
			t.Fatal(err)
		}
		if len(tree.Items) >= n {
			return tree
		}
		if time.Now().After(end) {
			t.Fatalf("the trace %s has %d spans, want %d: %+v", trace, len(tree.Items), n, tree)
		}
	}
}

const (
	callerTrace  = "0af7651916cd43dd8448eb211c80319c"
	callerSpan   = "b7ad6b7169203331"
	callerParent = "00-" + callerTrace + "-" + callerSpan + "-01"
)

// TestTraceAcrossAgents: one trace tells of the request of a caller, of the config agent that
// it asks, of the module that this one asks, of the tool that the module calls, and of the
// config agent that a module asks; and nothing of what is said.
func TestTraceAcrossAgents(t *testing.T) {
	clerk := goModule(t, "reactor", "-buildmode=c-shared")
	dir := t.TempDir()
	seen := make(chan http.Header, 10)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		_, _ = io.WriteString(w, "the secret word")
	}))
	defer site.Close()
	put(t, dir, map[string]string{
		"script.yaml": `rules:
  - when: {tool_result: send_message}
    reply: "the clerk says {{result}}"
  - when: {contains: "ask the clerk"}
    tool_calls:
      - name: send_message
        arguments: {capability: filing, content: "tool calculator {\"expression\":\"6*7\"}"}
  - when: {tool_result: http_client}
    reply: "it says something"
  - when: {contains: "look it up"}
    tool_calls:
      - name: http_client
        arguments: {url: "` + site.URL + `/secret-path"}
  - reply: "hello, secret-answer"
`,
		"agents/asker.md": "---\nname: Asker\ncapabilities: [asking]\ntools: [send_message, http_client]\nmemory: {enabled: true}\nsystem_prompt: Ask.\n---\n",
		"agents/clerk.md": "---\nname: Clerk\ncapabilities: [filing]\nmodule: clerk.wasm\ntools: [send_message, memory_store, memory_search, calculator]\nmemory: {enabled: true, scope: workspace}\nparameters: {greeting: good day}\n---\n",
	})
	if err := os.WriteFile(filepath.Join(dir, "agents", "clerk.wasm"), clerk, 0o600); err != nil {
		t.Fatal(err)
	}
	c := newTraceCollector(t)
	client, info, stop := run(t, dir, "llm.provider", "scripted", "llm.file", filepath.Join(dir, "script.yaml"), "observability.tracing_enabled", "true",
		"observability.otlp_endpoint", c.URL, "tools.http_client.allowed_hosts", "127.0.0.1", "logging.level", "info")
	r, trace := askTraced(t, info.APIAddr, "asker", "ask the clerk about secret-question", callerParent, http.StatusOK)
	if r.Reply == nil || !strings.Contains(r.Reply.Text, "42") || trace != callerTrace {
		t.Fatalf("the answer is %+v, of trace %s", r.Reply, trace)
	}
	_, toModule := askTraced(t, info.APIAddr, "clerk", "ask asker why", "", http.StatusOK)
	_, toSite := askTraced(t, info.APIAddr, "asker", "look it up", "", http.StatusOK)
	tree := awaitSpans(t, client, trace, 14) // who asked gets the answer as a message too, and handles it in silence
	awaitSpans(t, client, toModule, 13)
	awaitSpans(t, client, toSite, 8)
	if tree.Items[0].Name != "POST /api/v1/messages" || tree.Items[0].ParentID != callerSpan {
		t.Errorf("the server's own tree: %+v", tree)
	}
	conversation, err := client.Trace(t.Context(), r.ConversationID, "")
	if err != nil || !slices.Equal(conversation.TraceIDs, []string{callerTrace}) {
		t.Errorf("the conversation is part of %v, %v", conversation.TraceIDs, err)
	}
	logs, err := client.Logs(t.Context(), "asker", 100, "")
	if err != nil || !slices.ContainsFunc(logs.Items, func(l api.LogLine) bool { return l.Message == "tool called" && l.Attrs["trace_id"] == callerTrace }) {
		t.Errorf("no line of the agent's log tells the trace: %+v, %v", logs.Items, err)
	}
	all, err := client.Traces(t.Context(), 100)
	if err != nil || !slices.ContainsFunc(all.Items, func(s api.TraceSummary) bool { return s.TraceID == toSite && s.Name == "POST /api/v1/messages" }) {
		t.Errorf("Traces() = %+v, %v", all, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	want := `POST /api/v1/messages
  send asker
    invoke_agent asker
      caxton.memory.search
      chat script
      execute_tool send_message
        send clerk
          invoke_agent clerk
            caxton.wasm.run reactor
              caxton.host call_tool
                execute_tool calculator
            invoke_agent asker
      chat script
      caxton.memory.remember
`
	if got := c.tree(t, trace, callerSpan); got != want {
		t.Errorf("the trace is\n%s\nwant\n%s", got, want)
	}
	want = `POST /api/v1/messages
  send clerk
    invoke_agent clerk
      caxton.wasm.run reactor
        caxton.host request
          execute_tool send_message
            send asker
              invoke_agent asker
                caxton.memory.search
                chat script
                caxton.memory.remember
                invoke_agent clerk
                  caxton.wasm.run reactor
`
	if got := c.tree(t, toModule, ""); got != want {
		t.Errorf("the trace of a module that asks is\n%s\nwant\n%s", got, want)
	}
	if got := c.tree(t, toSite, ""); !strings.Contains(got, "\n      execute_tool http_client\n        GET\n") {
		t.Errorf("the trace of an HTTP request is\n%s", got)
	}
	gets := c.named("GET")
	if h := <-seen; len(gets) != 1 || h.Get("Traceparent") != fmt.Sprintf("00-%s-%x-01", toSite, gets[0].GetSpanId()) {
		t.Errorf("the site was sent %v", h)
	}
	run := c.named("caxton.wasm.run reactor")[0]
	if attribute(run, "caxton.wasm.fuel") == "" || attribute(run, "caxton.wasm.memory_bytes") == "" || attribute(run, "caxton.wasm.tool_calls") != "1" {
		t.Errorf("the module's span has %v", run.GetAttributes())
	}
	turn := c.named("invoke_agent asker")[0]
	for k, v := range map[string]string{
		"gen_ai.agent.name": "asker", "gen_ai.conversation.id": r.ConversationID, "messaging.message.id": r.MessageID,
		"caxton.turn.attempt": "1", "caxton.turn.outcome": "done", "gen_ai.operation.name": "invoke_agent",
	} {
		if got := attribute(turn, k); got != v {
			t.Errorf("the turn's %s = %q, want %q", k, got, v)
		}
	}
	chat := c.named("chat script")[0]
	if attribute(chat, "gen_ai.provider.name") != "scripted" || attribute(chat, "gen_ai.usage.output_tokens") == "" {
		t.Errorf("the model's span has %v", chat.GetAttributes())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if text := s.String(); strings.Contains(text, "secret") || strings.Contains(text, "6*7") {
			t.Errorf("a span tells what was said: %s", text)
		}
	}
}

// TestTraceOverRestart: a message that was accepted before a restart is handled in its trace
// after it.
func TestTraceOverRestart(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1)
	c := newTraceCollector(t)
	flags := []string{"observability.tracing_enabled", "true", "observability.otlp_endpoint", c.URL}
	client, info, stop := run(t, dir, flags...)
	if _, err := client.Suspend(t.Context(), "greeter"); err != nil {
		t.Fatal(err)
	}
	body := strings.NewReader(`{"receiver":"greeter","message":"hello"}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+info.APIAddr+"/api/v1/messages", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Traceparent", callerParent)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	var receipt api.Receipt
	if err := json.NewDecoder(res.Body).Decode(&receipt); err != nil || receipt.MessageID == "" {
		t.Fatalf("%+v, %v", receipt, err)
	}
	_ = res.Body.Close()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(c.named("invoke_agent greeter")); n != 0 {
		t.Fatalf("%d turns before the restart", n)
	}
	client, _, stop = run(t, dir, flags...)
	if _, err := client.Resume(t.Context(), "greeter"); err != nil {
		t.Fatal(err)
	}
	for settled := false; !settled; {
		m, err := client.Message(t.Context(), receipt.MessageID)
		if err != nil {
			t.Fatal(err)
		}
		settled = m.Status == "settled" || len(m.Replies) > 0
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	const want = "POST /api/v1/messages\n  send greeter\n    invoke_agent greeter\n      chat extractive\n"
	if got := c.tree(t, callerTrace, callerSpan); got != want {
		t.Errorf("the trace is\n%s\nwant\n%s", got, want)
	}
}

// TestTraceAttempts: each attempt at a message is a span beside the others.
func TestTraceAttempts(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"script.yaml":     "rules:\n  - error: unavailable\n",
		"agents/tries.md": "---\nname: Tries\ncapabilities: [trying]\nsystem_prompt: Try.\n---\n",
	})
	c := newTraceCollector(t)
	_, info, stop := run(t, dir, "llm.provider", "scripted", "llm.file", filepath.Join(dir, "script.yaml"), "observability.tracing_enabled", "true",
		"observability.otlp_endpoint", c.URL, "agents.retry_backoff_initial", "1ms", "agents.retry_backoff_max", "2ms", "agents.max_attempts", "3")
	_, trace := askTraced(t, info.APIAddr, "tries", "hello", "", http.StatusOK)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	const want = "POST /api/v1/messages\n  send tries\n    invoke_agent tries\n      chat script\n    invoke_agent tries\n      chat script\n    invoke_agent tries\n      chat script\n"
	if got := c.tree(t, trace, ""); got != want {
		t.Errorf("the trace is\n%s\nwant\n%s", got, want)
	}
	var how []string
	for _, s := range c.named("invoke_agent tries") {
		how = append(how, attribute(s, "caxton.turn.attempt")+" "+attribute(s, "caxton.turn.outcome")+" "+s.GetStatus().GetCode().String())
	}
	if got, want := strings.Join(how, ", "), "1 retried STATUS_CODE_ERROR, 2 retried STATUS_CODE_ERROR, 3 failed STATUS_CODE_ERROR"; got != want {
		t.Errorf("attempts: %s, want %s", got, want)
	}
}

// TestTraceSampling: what is not recorded here is carried on all the same, and what others do
// not record is not recorded here.
func TestTraceSampling(t *testing.T) {
	tests := []struct {
		name   string
		flags  []string
		parent string
		spans  bool
		trace  string // that the answer names; "" for any
		none   bool   // the answer names none
		flag   string // of the message's traceparent; "" for none
	}{
		{"off", nil, "", false, "", true, ""},
		{"off, and the caller has a trace", nil, callerParent, false, "", true, "-01"},
		{"no rate", []string{"observability.tracing_enabled", "true", "observability.trace_sample_rate", "0"}, "", false, "", false, "-00"},
		{"no rate, but the caller records", []string{"observability.tracing_enabled", "true", "observability.trace_sample_rate", "0"}, callerParent, true, callerTrace, false, "-01"},
		{"all, but the caller does not", []string{"observability.tracing_enabled", "true"}, strings.TrimSuffix(callerParent, "01") + "00", false, callerTrace, false, "-00"},
		{"all", []string{"observability.tracing_enabled", "true"}, "", true, "", false, "-01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, 1)
			c := newTraceCollector(t)
			client, info, stop := run(t, dir, append(tt.flags, "observability.otlp_endpoint", c.URL)...)
			r, trace := askTraced(t, info.APIAddr, "greeter", "hello", tt.parent, http.StatusOK)
			if (trace == "") != tt.none || tt.trace != "" && trace != tt.trace {
				t.Errorf("the answer names the trace %q", trace)
			}
			if r, err := client.ReplayConversation(t.Context(), r.ConversationID); err != nil || !r.Equal {
				t.Errorf("a replay: %+v, %v", r, err)
			}
			records, err := client.Records(t.Context(), r.ConversationID, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, rec := range records.Items {
				var body struct {
					Message struct {
						TraceParent string `json:"traceparent"`
					} `json:"message"`
				}
				b, err := json.Marshal(rec.Body)
				if err != nil || json.Unmarshal(b, &body) != nil {
					t.Fatalf("%s, %v", b, err)
				}
				p := body.Message.TraceParent
				if rec.Kind != "message" {
					continue
				}
				n++
				if (p == "") != (tt.flag == "") || !strings.HasSuffix(p, tt.flag) || trace != "" && !strings.Contains(p, trace) {
					t.Errorf("a message carries %q", p)
				}
			}
			if n != 2 {
				t.Errorf("%d messages, want the question and the answer", n)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if got := len(c.named("invoke_agent greeter")); (got == 1) != tt.spans || got > 1 {
				t.Errorf("%d spans of the turn, want any: %v", got, tt.spans)
			}
		})
	}
}

// TestTraceToWebhooks: who is told of a message is told of its trace.
func TestTraceToWebhooks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1)
	got := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Traceparent") }))
	defer receiver.Close()
	text := "messaging:\n  webhook_allowed_hosts: [127.0.0.1]\n  webhooks:\n    - {url: " + receiver.URL + ", secret: a secret that is long enough, events: [settled]}\n"
	put(t, dir, map[string]string{"caxton.yaml": text})
	c := newTraceCollector(t)
	client, info, stop := run(t, dir, "observability.tracing_enabled", "true", "observability.otlp_endpoint", c.URL)
	_, trace := askTraced(t, info.APIAddr, "greeter", "hello", callerParent, http.StatusOK)
	parent := <-got
	awaitSpans(t, client, trace, 5)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	posts := c.named("POST")
	if len(posts) != 1 || parent != fmt.Sprintf("00-%s-%x-01", callerTrace, posts[0].GetSpanId()) {
		t.Errorf("the receiver is told of %q by %v", parent, posts)
	}
	if got, want := c.tree(t, trace, callerSpan), "    POST\n"; !strings.HasSuffix(got, want) {
		t.Errorf("the trace is\n%s\nwant it to end with %q", got, want)
	}
}

// TestTraceSettings: what the settings leave open is taken from the variables of OpenTelemetry.
func TestTraceSettings(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		service string
		head    string
	}{
		{"none", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=URL"}, "caxton", ""},
		{"for all signals", []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=URL/", "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20k=1, x-other=2", "OTEL_SERVICE_NAME=front",
			"OTEL_RESOURCE_ATTRIBUTES=service.name=back,deployment.environment.name=test",
		}, "front", "Bearer k=1"},
		{"for traces", []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=URL/v1/traces", "OTEL_EXPORTER_OTLP_HEADERS=authorization=all",
			"OTEL_EXPORTER_OTLP_TRACES_HEADERS=authorization=traces", "OTEL_RESOURCE_ATTRIBUTES=service.name=back",
		}, "back", "traces"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			type request struct {
				head, service string
			}
			got := make(chan request, 10)
			collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				var data tracepb.TracesData
				if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, &data) != nil {
					t.Errorf("the collector was sent %d bytes to %s", len(b), r.URL.Path)
				}
				for _, a := range data.GetResourceSpans()[0].GetResource().GetAttributes() {
					if a.GetKey() == "service.name" {
						got <- request{r.Header.Get("Authorization"), a.GetValue().GetStringValue()}
					}
				}
			}))
			defer collector.Close()
			environ := make([]string, 0, len(tt.environ))
			for _, kv := range tt.environ {
				environ = append(environ, strings.ReplaceAll(kv, "URL", collector.URL))
			}
			dir := t.TempDir()
			write(t, dir, 1) // its deployment is traced
			loaded, err := load(dir, "observability.tracing_enabled", "true")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := node.Run(ctx, loaded, node.Options{Dir: dir, Environ: environ, Ready: func(node.Info) { cancel() }}); err != nil {
				t.Fatal(err)
			}
			if r := <-got; r.head != tt.head || r.service != tt.service {
				t.Errorf("the collector was sent %+v, want %s, %s", r, tt.head, tt.service)
			}
		})
	}
}

// TestTraceCollectorHangs: a collector that does not answer slows neither answers nor the stop.
func TestTraceCollectorHangs(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1)
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(release)
	_, info, stop := run(t, dir, "observability.tracing_enabled", "true", "observability.otlp_endpoint", hanging.URL, "observability.otlp_timeout", "500ms")
	for range 20 {
		askTraced(t, info.APIAddr, "greeter", "hello", "", http.StatusOK)
	}
	start := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}
