package httpd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/httpd"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/tool"
)

// A house is the server's parts, as far as the tests need them: one agent, a router over a
// memory journal, and an error that everything else gives.
type house struct {
	*router.Router
	mu    sync.Mutex
	err   error
	tools *tool.Set
	feed  *event.Feed
	stop  chan time.Duration

	agents []caxton.Agent // instead of the one agent, when not nil

	journal *memjournal.Journal // of the router
}

func greeter() caxton.Agent {
	c, err := caxton.ParseCapability("greeting")
	if err != nil {
		panic(err)
	}
	return caxton.Agent{
		ID: "a1", Name: "Greeter", Slug: "greeter", Type: caxton.ConfigAgent, Version: 1, Versions: 1,
		Definition: caxton.Definition{Name: "Greeter", Capabilities: []caxton.Capability{c}},
	}
}

func (h *house) Agents() []caxton.Agent {
	if h.agents != nil {
		return h.agents
	}
	return []caxton.Agent{greeter()}
}

func (h *house) Len() int { return len(h.Agents()) }

func (h *house) Agent(id caxton.AgentID) (caxton.Agent, error) { return h.Resolve(string(id)) }

func (h *house) Resolve(ref string) (caxton.Agent, error) {
	for _, a := range h.agents {
		if ref == a.Slug || ref == string(a.ID) {
			return a, nil
		}
	}
	switch ref {
	case "a1", "greeter":
		return greeter(), nil
	case "panic":
		panic("boom")
	case "error":
		h.mu.Lock()
		defer h.mu.Unlock()
		return caxton.Agent{}, h.err
	}
	return caxton.Agent{}, caxton.Errorf(caxton.NotFound, "agent_not_found", "there is no agent %q", ref)
}

func (h *house) Providers(c caxton.Capability) []caxton.Agent {
	if c.String() == "greeting" {
		return h.Agents()
	}
	return nil
}
func (h *house) Capabilities() []caxton.Capability { return greeter().Definition.Capabilities }
func (h *house) Versions(context.Context, caxton.AgentID) ([]caxton.AgentVersion, error) {
	return nil, nil
}

func (h *house) Version(context.Context, caxton.AgentID, int) (caxton.AgentVersion, error) {
	return caxton.AgentVersion{Text: []byte("text")}, nil
}

// others are the parts that need nothing of the house.
type others struct {
	mu       sync.Mutex
	deployed int
	faults   []caxton.FileFault
	badLogs  bool     // reading on in a log panics
	texts    [][]byte // of deployments
	last     caxton.DeployRequest
	deploy   func(context.Context) (caxton.Deployment, error)
	rollouts
}

func (o *others) Validate(context.Context, caxton.DeployRequest) (caxton.Definition, *caxton.ModuleReport, []caxton.Issue) {
	return caxton.Definition{}, nil, nil
}

func (o *others) Deploy(ctx context.Context, req caxton.DeployRequest) (caxton.Deployment, error) {
	o.mu.Lock()
	o.deployed++
	o.texts, o.last = append(o.texts, req.Text), req
	o.plans = append(o.plans, req.Rollout)
	o.mu.Unlock()
	if o.deploy != nil {
		return o.deploy(ctx)
	}
	return caxton.Deployment{Agent: greeter(), Created: true}, nil
}

func (o *others) Rollback(context.Context, caxton.AgentID, int) (caxton.Deployment, error) {
	return caxton.Deployment{Agent: greeter()}, nil
}
func (o *others) Remove(context.Context, caxton.AgentID, bool) error { return nil }
func (o *others) Suspend(context.Context, caxton.AgentID) error      { return nil }
func (o *others) Resume(context.Context, caxton.AgentID) error       { return nil }
func (o *others) Reload(context.Context, string) (caxton.Deployment, error) {
	return caxton.Deployment{Agent: greeter()}, nil
}
func (o *others) ReloadAll(context.Context, bool) ([]caxton.ReloadStatus, error) { return nil, nil }
func (o *others) ReloadStatus(string) (caxton.ReloadStatus, error)               { return caxton.ReloadStatus{}, nil }
func (o *others) Faults() []caxton.FileFault                                     { return o.faults }
func (o *others) Status(caxton.AgentID) (caxton.AgentStatus, bool) {
	return caxton.AgentStatus{State: caxton.AgentRunning}, true
}
func (o *others) Restart(context.Context, caxton.AgentID) error { return nil }
func (o *others) Ping(context.Context, caxton.AgentID) (time.Duration, error) {
	return time.Microsecond, nil
}

func (o *others) AgentLogs(_ context.Context, q caxton.LogQuery) ([]caxton.LogLine, error) {
	if q.After > 0 {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.badLogs {
			panic("boom")
		}
		return nil, nil
	}
	return []caxton.LogLine{{ID: 1, Level: "INFO", Message: "one"}}, nil
}
func (o *others) ToolUses(context.Context) ([]caxton.AgentTools, error) { return nil, nil }
func (o *others) Preview(context.Context, caxton.AgentVersion, string) (llm.Request, error) {
	return llm.Request{}, nil
}

// keys remembers keys in memory.
type keys struct {
	mu   sync.Mutex
	kept map[string]caxton.KeyedRequest
}

func (k *keys) ReserveKey(_ context.Context, key, fingerprint string) (caxton.KeyedRequest, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old, taken := k.kept[key]
	if !taken {
		k.kept[key] = caxton.KeyedRequest{Fingerprint: fingerprint}
	}
	return old, !taken, nil
}

func (k *keys) StoreKey(ctx context.Context, key string, answer []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept[key] = caxton.KeyedRequest{Fingerprint: k.kept[key].Fingerprint, Done: true, Answer: answer}
	return ctx.Err()
}

func (k *keys) ReleaseKey(ctx context.Context, key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.kept, key)
	return ctx.Err()
}

func newServer(tb testing.TB, cfg httpd.Config) (*httpd.Server, *house, *others) {
	tb.Helper()
	return newServerWith(tb, cfg, func(*httpd.Deps) {})
}

// newServerWith is newServer with other parts.
func newServerWith(tb testing.TB, cfg httpd.Config, change func(*httpd.Deps)) (*httpd.Server, *house, *others) {
	tb.Helper()
	feed := &event.Feed{}
	h, o := &house{stop: make(chan time.Duration, 1), feed: feed, journal: memjournal.New(memjournal.Config{Feed: feed})}, &others{}
	h.Router = router.New(h.journal, h, router.Config{QueueSize: 1 << 30})
	var err error
	if h.tools, err = tool.NewSet(nil); err != nil {
		tb.Fatal(err)
	}
	deps := httpd.Deps{
		Router: h.Router, Registry: h, Deployer: o, AgentDir: o, Supervisor: o, Logs: o, Tools: h.tools, Previewer: o,
		Schedules: scheduled{}, Log: h.journal, Feed: feed,
		Keys:   &keys{kept: map[string]caxton.KeyedRequest{}},
		Schema: func() []byte { return []byte(`{"type":"object"}`) }, Settings: func() api.Settings { return api.Settings{} },
		Status: func(context.Context) (api.Status, error) { return api.Status{}, nil },
		Health: func(context.Context) (api.MemoryHealth, error) {
			return api.MemoryHealth{Status: "healthy", SQLiteStatus: "ok"}, nil
		},
		Shutdown: func(d time.Duration) { h.stop <- d },
	}
	change(&deps)
	return httpd.New(deps, cfg), h, o
}

// answers has the agent answer one message as soon as it is there.
func answers(t *testing.T, h *house) {
	t.Helper()
	go func() {
		<-h.Signal("a1")
		if l, ok := h.Next(context.Background(), "a1"); ok {
			_ = h.Settle(context.Background(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone, Outputs: []caxton.Delivery{
				{Message: l.Message.Reply(caxton.Inform, caxton.TextContent("hi"))},
			}})
		}
	}()
}

func call(s *httpd.Server, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestErrors(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	for kind, status := range map[caxton.Kind]int{
		caxton.Malformed: 400, caxton.Invalid: 422, caxton.Unauthenticated: 401, caxton.Forbidden: 403, caxton.NotFound: 404, caxton.Conflict: 409,
		caxton.TooLarge: 413, caxton.Exhausted: 429, caxton.Canceled: 499, caxton.Internal: 500, caxton.Unavailable: 503, caxton.Timeout: 504,
	} {
		h.err = caxton.Errorf(kind, "some_code", "what").WithHint("do").WithCause(io.ErrUnexpectedEOF)
		w := call(s, "GET", "/api/v1/agents/error", "", "X-Request-Id", "req-1")
		var b api.ErrorBody
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil {
			t.Fatalf("%s: %v in %s", kind, err, w.Body)
		}
		if w.Code != status || b.Error.Kind != string(kind) || b.Error.RequestID != "req-1" {
			t.Errorf("%s: %d %+v, want %d", kind, w.Code, b, status)
		}
		if shown := strings.Contains(w.Body.String(), "what"); shown == (kind == caxton.Internal) {
			t.Errorf("%s: body %s", kind, w.Body)
		}
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/nowhere", "", 404, "path_not_found"},
		{"GET", "/api/v1/nowhere", "", 404, "path_not_found"},
		{"PATCH", "/api/v1/messages", "", 405, "method_not_allowed"},
		{"GET", "/api/v1/agents/panic", "", 500, "internal"},
		{"POST", "/api/v1/messages", "{", 400, "request_malformed"},
		{"POST", "/api/v1/messages", `{"nonsense": 1}`, 422, "request_invalid"},
		{"POST", "/api/v1/messages", `{"receiver": "greeter"}`, 422, "content_missing"},
		{"POST", "/api/v1/messages", `{"receiver": "greeter", "content": "x", "message": "y"}`, 422, "content_twice"},
		{"POST", "/api/v1/messages", `{"capability": "cooking", "content": "x"}`, 404, "capability_not_found"},
		{"POST", "/api/v1/agents", `{"wasm_module": "AGFzbQE!AAA="}`, 400, "wasm_module_malformed"},
		{"POST", "/api/v1/agents", `{"wasm_module": 7}`, 400, "wasm_module_malformed"},
		{"POST", "/api/v1/agents", `{"wasm_module": ""}`, 400, "wasm_module_empty"},
		{"POST", "/api/v1/agents", `[]`, 422, "request_invalid"},
		{"GET", "/api/v1/agents?limit=0", "", 422, "request_invalid"},
	} {
		w := call(s, tt.method, tt.path, tt.body)
		var b api.ErrorBody
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != tt.status || b.Error.Code != tt.code {
			t.Errorf("%s %s %s = %d %s, want %d %s", tt.method, tt.path, tt.body, w.Code, w.Body, tt.status, tt.code)
		}
	}
}

func TestWaiting(t *testing.T) {
	const hello = `{"capability": "greeting", "content": {"message": "Hello!"}}`
	tests := []struct {
		name, path string
		headers    []string
		want       int
	}{
		{"versioned path answers at once", "/api/v1/messages", nil, 202},
		{"asked to wait", "/api/v1/messages?wait=10s", nil, 200},
		{"asked to wait by a preference", "/api/v1/messages", []string{"Prefer", "wait=10"}, 200},
		{"short path waits", "/api/messages", nil, 200},
		{"short path told not to", "/api/messages?wait=0", nil, 202},
		{"short path told not to by a preference", "/api/messages", []string{"Prefer", "respond-async"}, 202},
		{"short path with a preference of another sort", "/api/messages", []string{"Prefer", "return=minimal"}, 200},
		{"later only what takes longer", "/api/v1/messages", []string{"Prefer", "respond-async, wait=10"}, 200},
		{"longer than anybody waits", "/api/v1/messages", []string{"Prefer", "wait=100000"}, 200},
		{"a wait that cannot be read", "/api/v1/messages?wait=long", nil, 422},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, h, _ := newServer(t, httpd.Config{})
			if tt.want == 200 {
				answers(t, h)
			}
			w := call(s, "POST", tt.path, hello, tt.headers...)
			if w.Code != tt.want {
				t.Fatalf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
			if tt.want == 200 && !strings.Contains(w.Body.String(), `"text":"hi"`) {
				t.Errorf("body %s", w.Body)
			}
		})
	}
	t.Run("an agent's own path waits, but not for ever", func(t *testing.T) {
		s, _, _ := newServer(t, httpd.Config{WaitTimeout: 10 * time.Millisecond})
		if w := call(s, "POST", "/api/v1/agents/greeter/message", `{"message": "Hi"}`); w.Code != 202 {
			t.Errorf("%d %s, want 202", w.Code, w.Body)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	send := func(body string) (int, api.Receipt) {
		w := call(s, "POST", "/api/v1/messages", body, "Idempotency-Key", "k1")
		var r api.Receipt
		_ = json.Unmarshal(w.Body.Bytes(), &r)
		return w.Code, r
	}
	_, first := send(`{"receiver": "greeter", "content": {"a": 1}}`)
	code, again := send(`{"receiver": "greeter", "content": {"a":1}}`)
	if code != 202 || !again.Duplicate || again.MessageID != first.MessageID {
		t.Errorf("again: %d %+v, want a duplicate of %s", code, again, first.MessageID)
	}
	if code, _ := send(`{"receiver": "greeter", "content": "other"}`); code != 422 {
		t.Errorf("another message with the key: %d, want 422", code)
	}
}

func TestOpenAPI(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Responses   map[string]any
			Parameters  []struct{ Name string }
		}
	}
	if err := json.Unmarshal(call(s, "GET", "/api/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) < 40 {
		t.Errorf("version %s, %d paths", doc.OpenAPI, len(doc.Paths))
	}
	ids := map[string]bool{}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if op.OperationID == "" || ids[op.OperationID] || op.Responses["422"] == nil {
				t.Errorf("%s %s: operation %q", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			keys := 0
			for _, p := range op.Parameters {
				if p.Name == "Idempotency-Key" {
					keys++
				}
			}
			if want := strings.Count(method, "post"); keys != want {
				t.Errorf("%s %s: %d parameters Idempotency-Key, want %d", method, path, keys, want)
			}
		}
	}
}

// serve runs s until ctx ends and returns when it listens.
func serve(ctx context.Context, t *testing.T, s *httpd.Server) (done <-chan error) {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx) }()
	select {
	case <-s.Listening():
	case err := <-result:
		t.Fatalf("Run: %v", err)
	}
	return result
}

func TestListeners(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	s, h, _ := newServer(t, httpd.Config{Addr: "127.0.0.1:0", Socket: socket, DrainTimeout: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	done := serve(ctx, t, s)
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /health HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Errorf("HTTP/1.0 without a host: %q, %v", line, err)
	}
	_ = c.Close()
	client := api.New(api.Config{UnixSocket: socket})
	if _, err := client.Health(ctx); err != nil {
		t.Errorf("over the socket: %v", err)
	}
	other, _, _ := newServer(t, httpd.Config{Addr: s.Addr().String()})
	if err := other.Run(ctx); caxton.KindOf(err) != caxton.Conflict {
		t.Errorf("on a taken port: %v, want a conflict", err)
	}
	other, _, _ = newServer(t, httpd.Config{Addr: "127.0.0.1:0", Socket: socket})
	if err := other.Run(ctx); caxton.KindOf(err) != caxton.Conflict {
		t.Errorf("on a taken socket: %v, want a conflict", err)
	}
	lines := 0
	follow, leave := context.WithCancel(ctx)
	err = client.FollowLogs(follow, "greeter", 10, "", func(api.LogLine) error { lines++; leave(); return nil })
	if lines != 1 || caxton.KindOf(err) != caxton.Canceled {
		t.Errorf("followed %d lines, %v", lines, err)
	}
	if _, err := client.Shutdown(ctx, api.Shutdown{Timeout: "3s"}); err != nil || <-h.stop != 3*time.Second {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := client.Ready(ctx); caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("ready while stopping: %v", err)
	}
	client.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzMessageBody(f *testing.F) {
	for _, s := range []string{
		`{"capability":"greeting","content":{"message":"Hello!"}}`, `{"receiver":"greeter","message":"x"}`, `{}`, `[`, "\xff", `{"content":null}`,
		`{"receiver":"greeter","content":[1,2,{"a":"\u0000"}],"priority":11}`, `{"reply_by":"yesterday"}`,
	} {
		f.Add(s)
	}
	s, _, _ := newServer(f, httpd.Config{WaitTimeout: time.Nanosecond})
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/api/v1/messages", "/api/v1/agents/greeter/message"} {
			w := call(s, http.MethodPost, path, body)
			if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("POST %s %q = %d %s", path, body, w.Code, fmt.Sprint(w.Body))
			}
		}
	})
}
