package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// client returns a client of a server that answers by h.
func client(t *testing.T, h http.HandlerFunc) *api.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := api.New(api.Config{BaseURL: s.URL})
	t.Cleanup(c.Close)
	return c
}

func TestClientErrors(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   caxton.Kind
		code   string
	}{
		{"what the server says", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"error":{"kind":"conflict","code":"name_taken","message":"m"}}`)
		}, caxton.Conflict, "name_taken"},
		{"another server", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, caxton.Unavailable, "not_a_caxton_server"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, caxton.Unavailable, "not_a_caxton_server"},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}, caxton.Unavailable, "answer_cut_off"},
		{"far too much", func(w http.ResponseWriter, _ *http.Request) {
			b := []byte(strings.Repeat(" ", 1<<20))
			for range 65 {
				_, _ = w.Write(b)
			}
		}, caxton.TooLarge, "answer_too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client(t, tt.answer).Health(t.Context())
			if got := caxton.KindOf(err); got != tt.kind || !strings.Contains(code(err), tt.code) {
				t.Errorf("%s %s (%v), want %s %s", got, code(err), err, tt.kind, tt.code)
			}
		})
	}
}

// code returns the code of an error of ours.
func code(err error) string {
	if e, ok := err.(*caxton.Error); ok { //nolint:errorlint // the client promises the very type
		return e.Code
	}
	return ""
}

func TestFollowLogs(t *testing.T) {
	long := strings.Repeat("x", 2<<20)
	tests := []struct {
		name, lines, code string
		want              int
	}{
		{"lines and signs of life", "{\"id\":1}\n\n\n{\"id\":2}\n", "", 2},
		{"a long line", `{"id":1,"message":"` + long + "\"}\n{\"id\":2}\n", "", 2},
		{"no JSON", "{\"id\":1}\n<html>\n", "not_a_caxton_server", 1},
		{"another form", "{\"id\":\"x\"}\n", "not_a_caxton_server", 0},
		{"half a line", "{\"id\":1}\n{\"id\"", "answer_cut_off", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			err := client(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.lines) }).
				FollowLogs(t.Context(), "greeter", 10, "", func(api.LogLine) error { n++; return nil })
			if n != tt.want || code(err) != tt.code || (err == nil) != (tt.code == "") {
				t.Errorf("%d lines, %v; want %d and %q", n, err, tt.want, tt.code)
			}
		})
	}
}

func TestWithIdempotencyKey(t *testing.T) {
	got := map[string]string{}
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		got[r.Method] = r.Header.Get("Idempotency-Key")
		_, _ = io.WriteString(w, "{}")
	})
	ctx := api.WithIdempotencyKey(t.Context(), "k")
	if _, err := c.Reload(ctx, "greeter"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Agent(ctx, "greeter"); err != nil {
		t.Fatal(err)
	}
	if got["POST"] != "k" || got["GET"] != "" {
		t.Errorf("keys %v", got)
	}
}
