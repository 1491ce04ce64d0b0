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
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/httpd"
	"github.com/prometheus/client_golang/prometheus"
)

func TestSizes(t *testing.T) {
	message := func(n int) string {
		b := `{"receiver": "greeter", "content": ""}`
		return strings.Replace(b, `""`, `"`+strings.Repeat("x", n-len(b))+`"`, 1)
	}
	tests := []struct {
		name, path, body string
		headers          []string
		want             int
	}{
		{"message of just the size", "/api/v1/messages", message(1000), nil, 202},
		{"message too large", "/api/v1/messages", message(1001), nil, 413},
		{"message to an agent too large", "/api/v1/agents/greeter/message?wait=0", message(1001), nil, 413},
		{"definition of more than a message", "/api/v1/agents", `{"name": "` + strings.Repeat("x", 1500) + `"}`, nil, 201},
		{"definition too large", "/api/v1/agents", `{"name": "` + strings.Repeat("x", 2000) + `"}`, nil, 413},
		{"with a key", "/api/v1/agents", `{"name": "` + strings.Repeat("x", 2000) + `"}`, []string{"Idempotency-Key", "k"}, 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, _ := newServer(t, httpd.Config{MaxMessage: 1000, MaxBody: 2000, MaxModule: -1})
			for _, known := range []bool{true, false} {
				r := httptest.NewRequest("POST", tt.path, strings.NewReader(tt.body))
				r.Header.Set("Content-Type", "application/json")
				for i := 0; i+1 < len(tt.headers); i += 2 {
					r.Header.Set(tt.headers[i], tt.headers[i+1])
				}
				if !known {
					r.ContentLength = -1 // in chunks
				}
				w := httptest.NewRecorder()
				s.Handler().ServeHTTP(w, r)
				if w.Code != tt.want || tt.want == 413 && !strings.Contains(w.Body.String(), "request_too_large") {
					t.Errorf("length known %t: %d %s, want %d", known, w.Code, w.Body, tt.want)
				}
			}
		})
	}
}

// dial opens a connection to s and writes text.
func dial(t *testing.T, s *httpd.Server, text string) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// answer reads one answer with an error from c.
func answer(t *testing.T, c net.Conn) (int, api.ErrorInfo) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b api.ErrorBody
	if err := json.NewDecoder(res.Body).Decode(&b); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b.Error
}

func TestSlowAndCutOff(t *testing.T) {
	s, _, o := newServer(t, httpd.Config{Addr: "127.0.0.1:0", RequestTimeout: 300 * time.Millisecond, DrainTimeout: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	done := serve(ctx, t, s)
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	const head = "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
	t.Run("a body that stops", func(t *testing.T) {
		for _, key := range []string{"", "Idempotency-Key: k\r\n"} {
			if status, e := answer(t, dial(t, s, head+key+"\r\n{")); status != 504 || e.Code != "request_too_slow" {
				t.Errorf("key %q: %d %+v, want 504", key, status, e)
			}
		}
	})
	t.Run("a refused request whose body stops", func(t *testing.T) {
		for _, name := range []string{"Host: example.com", "Host: localhost\r\nSec-Fetch-Site: cross-site"} {
			start := time.Now()
			status, e := answer(t, dial(t, s, strings.Replace(head, "Host: localhost", name, 1)+"\r\n{"))
			if took := time.Since(start); status != 403 || e.Code == "" || took > 5*time.Second {
				t.Errorf("%q: %d %+v after %s, want 403 within the time of a request", name, status, e, took)
			}
		}
	})
	t.Run("a body that is cut off", func(t *testing.T) {
		c := dial(t, s, head+"\r\n{")
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if status, e := answer(t, c); status != 400 || e.Code != "request_cut_off" {
			t.Errorf("%d %+v, want 400", status, e)
		}
	})
	t.Run("following outlives the time of a request, nothing else does", func(t *testing.T) {
		client := api.New(api.Config{BaseURL: "http://" + s.Addr().String()})
		defer client.Close()
		follow, leave := context.WithTimeout(ctx, time.Second)
		defer leave()
		_ = client.FollowLogs(follow, "greeter", 1, "", func(api.LogLine) error { return nil })
		if follow.Err() == nil {
			t.Error("the log ended before the caller left")
		}
		for _, q := range []string{"follow=", "follow=true"} {
			start := time.Now()
			r, err := client.Send(ctx, api.Message{Receiver: "greeter", Text: "x"}, 0)
			if err != nil {
				t.Fatal(err)
			}
			w := call(s, "POST", "/api/v1/messages?wait=20s&"+q, `{"receiver": "greeter", "content": "x"}`)
			if took := time.Since(start); w.Code != 202 || took > 5*time.Second {
				t.Errorf("%s: %d after %s (%v)", q, w.Code, took, r)
			}
		}
	})
	t.Run("half an answer is not a whole one", func(t *testing.T) {
		o.mu.Lock()
		o.badLogs = true
		o.mu.Unlock()
		client := api.New(api.Config{BaseURL: "http://" + s.Addr().String()})
		defer client.Close()
		err := client.FollowLogs(ctx, "greeter", 1, "", func(api.LogLine) error { return nil })
		if err == nil {
			t.Error("the log ended as if it were complete")
		}
	})
}

func TestMethodLabels(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, _, _ := newServer(t, httpd.Config{Registerer: reg})
	for i := range 50 {
		call(s, fmt.Sprint("M", i), "/x", "")
	}
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		if n := len(f.GetMetric()); f.GetName() == "caxton_http_requests_total" && n != 1 {
			t.Errorf("%d series for made-up methods, want 1", n)
		}
	}
}
