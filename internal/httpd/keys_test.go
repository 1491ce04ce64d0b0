package httpd_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/httpd"
)

const definition = `{"definition": "x"}`

// deployKeyed deploys under the key k.
func deployKeyed(s *httpd.Server, path, body string) *httptest.ResponseRecorder {
	return call(s, "POST", path, body, "Idempotency-Key", "k")
}

func TestKeyReplays(t *testing.T) {
	s, _, o := newServer(t, httpd.Config{})
	first := deployKeyed(s, "/api/v1/agents/deploy", definition)
	for _, path := range []string{"/api/v1/agents/deploy", "/api/agents/deploy"} {
		w := deployKeyed(s, path, definition)
		if w.Code != 200 || w.Body.String() != first.Body.String() || w.Header().Get("Idempotency-Replayed") != "true" ||
			w.Header().Get("Content-Type") != first.Header().Get("Content-Type") || w.Header().Get("X-Request-Id") == first.Header().Get("X-Request-Id") {
			t.Errorf("%s: %d %v %s, want the first answer", path, w.Code, w.Header(), w.Body)
		}
	}
	if o.deployed != 1 {
		t.Errorf("deployed %d times, want once", o.deployed)
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"another body":    deployKeyed(s, "/api/v1/agents/deploy", `{"definition": "y"}`),
		"another path":    deployKeyed(s, "/api/v1/agents", definition),
		"another query":   deployKeyed(s, "/api/v1/agents/deploy?x=1", definition),
		"no printable":    call(s, "POST", "/api/v1/agents/deploy", definition, "Idempotency-Key", "\xff"),
		"a key too long":  call(s, "POST", "/api/v1/messages", `{"receiver":"greeter","content":"x"}`, "Idempotency-Key", strings.Repeat("k", 256)),
		"an own ID twice": call(s, "POST", "/api/v1/messages", `{"receiver":"greeter","content":"x","message_id":"m1"}`, "Idempotency-Key", "k"),
	} {
		if w.Code != 422 || !strings.Contains(w.Body.String(), "idempotency_key_") {
			t.Errorf("%s: %d %s, want 422", name, w.Code, w.Body)
		}
	}
}

func TestKeyAndMessageID(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	for _, tt := range []struct {
		id   string
		want int
	}{{"m1", 202}, {"m1", 202}, {"m2", 422}} {
		w := call(s, "POST", "/api/v1/messages", `{"receiver":"greeter","content":"x","message_id":"`+tt.id+`"}`, "Idempotency-Key", "own")
		if w.Code != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.id, w.Code, w.Body, tt.want)
		}
	}
}

func TestKeyAfterFailure(t *testing.T) {
	tests := []struct {
		name string
		err  error // nil panics
		want int
		runs int // how often two requests are served
	}{
		{"refused", caxton.Errorf(caxton.Invalid, "x", "x"), 422, 1},
		{"not now", caxton.Errorf(caxton.Unavailable, "x", "x"), 503, 2},
		{"too much", caxton.Errorf(caxton.Exhausted, "x", "x"), 429, 2},
		{"failed", caxton.Errorf(caxton.Internal, "x", "x"), 500, 2},
		{"panicked", nil, 500, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, o := newServer(t, httpd.Config{})
			o.deploy = func(context.Context) (caxton.Deployment, error) {
				if tt.err == nil {
					panic("boom")
				}
				return caxton.Deployment{}, tt.err
			}
			for range 2 {
				if w := deployKeyed(s, "/api/v1/agents/deploy", definition); w.Code != tt.want {
					t.Errorf("%d %s, want %d", w.Code, w.Body, tt.want)
				}
			}
			if o.deployed != tt.runs {
				t.Errorf("served %d times, want %d", o.deployed, tt.runs)
			}
		})
	}
}

// TestKeyWhileServed has the first caller leave while his request is being served: a second
// one meets a conflict, and finds the answer afterwards.
func TestKeyWhileServed(t *testing.T) {
	s, _, o := newServer(t, httpd.Config{})
	begun, finish := make(chan struct{}), make(chan struct{})
	o.deploy = func(ctx context.Context) (caxton.Deployment, error) {
		close(begun)
		<-finish
		return caxton.Deployment{Agent: greeter(), Created: true}, ctx.Err()
	}
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := httptest.NewRequestWithContext(ctx, "POST", "/api/v1/agents/deploy", strings.NewReader(definition))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		s.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}()
	<-begun
	leave()
	if w := deployKeyed(s, "/api/v1/agents/deploy", definition); w.Code != 409 || w.Header().Get("Retry-After") == "" {
		t.Errorf("while it is served: %d %s, want 409", w.Code, w.Body)
	}
	close(finish)
	<-done
	if w := deployKeyed(s, "/api/v1/agents/deploy", definition); w.Code != 200 || o.deployed != 1 {
		t.Errorf("afterwards: %d %s, served %d times", w.Code, w.Body, o.deployed)
	}
}

func TestKeyOfLongAnswer(t *testing.T) {
	s, _, o := newServer(t, httpd.Config{})
	o.deploy = func(context.Context) (caxton.Deployment, error) {
		a := greeter()
		a.Name = strings.Repeat("x", 300_000)
		return caxton.Deployment{Agent: a}, nil
	}
	if w := deployKeyed(s, "/api/v1/agents/deploy", definition); w.Code != 200 || w.Body.Len() < 300_000 {
		t.Fatalf("%d, %d bytes", w.Code, w.Body.Len())
	}
	if w := deployKeyed(s, "/api/v1/agents/deploy", definition); w.Code != 409 || !strings.Contains(w.Body.String(), "answer_not_kept") || o.deployed != 1 {
		t.Errorf("%d %s, served %d times", w.Code, w.Body, o.deployed)
	}
}

// TestKeyOfTest asks for a test run that gets no answer in time, twice: the agent gets one
// message.
func TestKeyOfTest(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{WaitTimeout: 5 * time.Millisecond})
	for range 2 {
		if w := call(s, "POST", "/api/v1/agents/greeter/test", `{"input": "hi"}`, "Idempotency-Key", "k"); w.Code != 504 {
			t.Errorf("%d %s, want 504", w.Code, w.Body)
		}
	}
	cs, _, err := h.Conversations(t.Context(), caxton.ConversationQuery{Limit: 10})
	if err != nil || len(cs) != 1 {
		t.Errorf("%d conversations, %v; want one", len(cs), err)
	}
}
