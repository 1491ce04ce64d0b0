package httpd_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/httpd"
)

func TestSocket(t *testing.T) {
	run := func(t *testing.T, path string) error {
		t.Helper()
		s, _, _ := newServer(t, httpd.Config{Addr: "127.0.0.1:0", Socket: path, DrainTimeout: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		select {
		case err := <-done:
			cancel()
			return err
		case <-s.Listening():
		}
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("socket: %v, %v; want mode 600", fi.Mode(), err)
		}
		cancel()
		return <-done
	}
	t.Run("a file in its place stays", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "precious")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(t, path); caxton.KindOf(err) != caxton.Conflict {
			t.Errorf("Run: %v, want a conflict", err)
		}
		if b, err := os.ReadFile(path); string(b) != "precious" {
			t.Errorf("the file is %q, %v", b, err)
		}
	})
	t.Run("a dead server's socket goes", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		if err := run(t, path); err != nil {
			t.Error(err)
		}
	})
}

func TestMetricsListener(t *testing.T) {
	s, _, _ := newServerWith(t, httpd.Config{Addr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0", DrainTimeout: time.Second}, func(d *httpd.Deps) {
		d.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := serve(ctx, t, s)
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for path, want := range map[string]int{"/metrics": 200, "/": 404, "/api/v1/agents": 404} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.MetricsAddr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		tr := &http.Transport{DisableKeepAlives: true}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != want || want == 200 && string(b) != "metrics" {
			t.Errorf("GET %s = %d %s, want %d", path, res.StatusCode, b, want)
		}
	}
}

func TestShutdownFromElsewhere(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{Addr: "127.0.0.1:0", DrainTimeout: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	done := serve(ctx, t, s)
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for _, header := range []string{"X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.1", "Forwarded: for=192.0.2.1"} {
		c := dial(t, s, "POST /api/v1/shutdown HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\nContent-Length: 0\r\n\r\n")
		if status, e := answer(t, c); status != 403 || e.Code != "not_from_here" {
			t.Errorf("%s: %d %+v, want 403", header, status, e)
		}
	}
	if w := call(s, "POST", "/api/v1/shutdown", ""); w.Code != 403 { // no address, no trust
		t.Errorf("from nowhere: %d %s, want 403", w.Code, w.Body)
	}
	c := dial(t, s, "POST /api/v1/shutdown HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(b), " 202 ") || <-h.stop != time.Second {
		t.Errorf("over loopback: %s, %v", b, err)
	}
}

// TestHostNames asks a server that only this machine reaches by names of all kinds: a web page
// can have its own stand for 127.0.0.1.
func TestHostNames(t *testing.T) {
	s, _, _ := newServerWith(t, httpd.Config{
		Addr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0", DrainTimeout: time.Second, AllowedHosts: []string{"Agents.example.com"},
	}, func(d *httpd.Deps) {
		d.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := serve(ctx, t, s)
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for host, want := range map[string]int{
		"": 200, "localhost": 200, "LOCALHOST:8080": 200, "a.localhost.": 200, "127.0.0.1:80": 200, "[::1]:8080": 200, "[::1]": 200, "10.0.0.7": 200,
		"agents.example.com:8443": 200, "example.com": 403, "evil.agents.example.com": 403, "localhost.example.com": 403, "127.0.0.1.example.com:8080": 403,
	} {
		for _, url := range []string{"http://" + s.Addr().String() + "/api/v1/agents", "http://" + s.MetricsAddr().String() + "/metrics"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != want || want == 403 && !strings.Contains(string(body), "host_unknown") {
				t.Errorf("GET %s of %q = %d %s, want %d", url, host, res.StatusCode, body, want)
			}
		}
	}
	if w := call(s, "GET", "/api/v1/agents", ""); w.Code != 200 { // example.com, by a listener that others reach too
		t.Errorf("GET elsewhere = %d %s, want 200", w.Code, w.Body)
	}
}
