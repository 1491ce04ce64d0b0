package mcp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/mcp"
	"github.com/caxton/caxton/internal/tool/tooltest"
)

// web serves an MCP server over streamable HTTP; around wraps it.
func web(t *testing.T, opts *sdk.StreamableHTTPOptions, around func(next http.Handler) http.Handler) string {
	t.Helper()
	server := echoServer()
	h := http.Handler(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, opts))
	if around != nil {
		h = around(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		for sess := range server.Sessions() {
			_ = sess.Close()
		}
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

func remote(url string) mcp.Server {
	return mcp.Server{URL: url, Trust: true, Timeout: 5 * time.Second, StartupTimeout: 5 * time.Second}
}

func TestHTTP(t *testing.T) {
	tests := []struct {
		name string
		opts *sdk.StreamableHTTPOptions
	}{
		{"with sessions and events", nil},
		{"stateless", &sdk.StreamableHTTPOptions{Stateless: true}},
		{"answers in JSON", &sdk.StreamableHTTPOptions{JSONResponse: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var without atomic.Int64
			url := web(t, tt.opts, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") != "Bearer key" || r.Header.Get("Content-Type") == "text/evil" {
						without.Add(1)
					}
					next.ServeHTTP(w, r)
				})
			})
			c := remote(strings.Replace(url, "http://", "http://user:pass@", 1) + "/mcp?token=s3cret")
			c.Headers = map[string]string{"Authorization": "Bearer key", "Content-Type": "text/evil"}
			r := run(t, &store{}, only(c))
			st := r.in(t, "far", "connected")
			if st.Transport != "http" || strings.Contains(st.Target, "pass") || strings.Contains(st.Target, "s3cret") {
				t.Errorf("the server is %+v", st)
			}
			if text, err := r.call(t, "mcp__far__echo", `{"text":"hello"}`); err != nil || text != "hello" {
				t.Errorf("echo = %q, %v", text, err)
			}
			if text, err := r.call(t, "mcp__far__key", `{}`); err != nil || text != "key-1" {
				t.Errorf("key = %q, %v", text, err)
			}
			r.stop()
			if n := without.Load(); n > 0 {
				t.Errorf("%d requests came without the header of the configuration, or with one that is not its to set", n)
			}
		})
	}
}

func TestHTTPFailures(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"who are you", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "Unauthorized"},
		{"redirects to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "redirects to"},
		{"never answers", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client left
			select {
			case <-r.Context().Done():
			case <-release:
			}
		}, "did not answer within"},
		{"is no MCP server", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "connecting"},
		{"answers without end", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"x":"`)
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat("x", 1<<16))); err != nil {
					return
				}
			}
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.answer)
			t.Cleanup(func() {
				s.CloseClientConnections()
				s.Close()
			})
			c := remote(s.URL)
			c.StartupTimeout = time.Second
			c.Headers = map[string]string{"X-Key": "secret"}
			cfg := only(c)
			cfg.RestartInitial = time.Hour
			r := run(t, &store{}, cfg)
			if st := r.in(t, "far", "failed"); !strings.Contains(st.Error, tt.want) || st.Error == "" {
				t.Errorf("the server is %+v, want %q", st, tt.want)
			}
		})
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("%d requests went to another host", n)
	}
}

func TestHTTPEventsHang(t *testing.T) {
	url := web(t, nil, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet { // the offer of events that nobody answers
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	c := remote(url)
	c.StartupTimeout = 700 * time.Millisecond
	cfg := only(c)
	cfg.RestartInitial = time.Hour
	r := run(t, &store{}, cfg)
	r.in(t, "far", "connected")
	if text, err := r.call(t, "mcp__far__echo", `{"text":"hello"}`); err != nil || text != "hello" {
		t.Errorf("echo = %q, %v", text, err)
	}
}

func TestHTTPServerComesBack(t *testing.T) {
	var down atomic.Bool
	url := web(t, nil, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(http.StatusNotFound) // the session is unknown
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	r := run(t, &store{}, only(remote(url)))
	r.in(t, "far", "connected")
	down.Store(true)
	_, err := r.call(t, "mcp__far__echo", `{"text":"hello"}`)
	if e := tooltest.ErrorOf(t, err); e.Kind != caxton.Unavailable {
		t.Errorf("Call of a server that is down: %v", err)
	}
	r.in(t, "far", "failed")
	down.Store(false)
	eventually(t, func() string {
		if text, err := r.call(t, "mcp__far__echo", `{"text":"back"}`); err != nil || text != "back" {
			return fmt.Sprint(text, err)
		}
		return ""
	})
}

func TestHTTPResultTooLarge(t *testing.T) {
	url := web(t, &sdk.StreamableHTTPOptions{JSONResponse: true}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			var m struct {
				ID     json.RawMessage
				Method string
			}
			if _ = json.Unmarshal(b, &m); m.Method != "tools/call" {
				r.Body = io.NopCloser(bytes.NewReader(b))
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s"}]}}`, m.ID, strings.Repeat("x", 20<<20))
		})
	})
	r := run(t, &store{}, only(remote(url)))
	r.in(t, "far", "connected")
	_, err := r.call(t, "mcp__far__echo", `{"text":"hello"}`)
	if caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("Call: %v", err)
	}
}
