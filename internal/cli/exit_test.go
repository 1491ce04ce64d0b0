package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/cli"
)

// fullDisk is a standard output that cannot be written.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// run runs a command and returns its exit code and what it wrote.
func run(ctx context.Context, t *testing.T, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	code = cli.Main(ctx, &cli.Env{Stdin: stdin, Stdout: &out, Stderr: &talk, Dir: t.TempDir(), Version: "1.2.3"}, args)
	return code, out.String(), talk.String()
}

func TestFailureToWriteIsInternal(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"version"}, {"version", "-o", "json"}, {"version", "-o", "yaml"}, {"agents", "schema"}, {"config", "show", "--effective"},
	} {
		var talk bytes.Buffer
		env := &cli.Env{Stdin: strings.NewReader(""), Stdout: fullDisk{}, Stderr: &talk, Dir: t.TempDir(), Version: "1.2.3"}
		if code := cli.Main(t.Context(), env, args); code != 1 || !strings.Contains(talk.String(), "no space left") || strings.Contains(talk.String(), "--help") {
			t.Errorf("caxton %s on a full disk: exit code %d, %q; want 1 and the cause", strings.Join(args, " "), code, talk.String())
		}
	}
}

// TestExitCodes holds that the kind of the server's error decides the exit code.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]int{
		"malformed": 2, "invalid": 2, "too_large": 2, "not_found": 3, "unauthenticated": 4, "forbidden": 4, "conflict": 5,
		"exhausted": 6, "unavailable": 6, "timeout": 7, "canceled": 130, "internal": 1, "of_a_newer_server": 1,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, `{"error":{"kind":"`+kind+`","code":"some_code","message":"it failed","hint":"do this","request_id":"r-1"}}`)
			}))
			defer s.Close()
			code, stdout, stderr := run(t.Context(), t, nil, "agents", "list", "--server", s.URL)
			if code != want || stdout != "" {
				t.Errorf("exit code %d, output %q; want %d and none", code, stdout, want)
			}
			if !strings.HasPrefix(stderr, "error: it failed") || !strings.HasSuffix(stderr, "\nhint: do this\n") {
				t.Errorf("standard error %q", stderr)
			}
		})
	}
}

// TestInterrupt holds that a command that waits ends at once when it is interrupted.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1) // one request is enough to know
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if code, _, stderr := run(ctx, t, nil, "agents", "list", "--server", s.URL); code != 130 {
		t.Errorf("an interrupted command: exit code %d, want 130 (%s)", code, stderr)
	}
}

// TestTokenStaysSecret holds that a token is sent and never shown.
func TestTokenStaysSecret(t *testing.T) {
	t.Parallel()
	sent := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"kind":"unauthenticated","code":"token_invalid","message":"who are you"}}`)
	}))
	defer s.Close()
	code, stdout, stderr := run(t.Context(), t, nil, "health", "--server", s.URL, "--token", "s3cret")
	if got := <-sent; got != "Bearer s3cret" {
		t.Errorf("Authorization = %q", got)
	}
	if code != 4 || strings.Contains(stdout+stderr, "s3cret") {
		t.Errorf("exit code %d, output %q %q", code, stdout, stderr)
	}
}

// TestModelDownloadIsShown holds that a download of an embedding model is seen while it is at work.
func TestModelDownloadIsShown(t *testing.T) {
	t.Parallel()
	for download, want := range map[string]string{
		`{"model":"someone/small","file":"model.safetensors","done_bytes":13421772,"total_bytes":134217728,"percent":10}`: "model.safetensors 12.8MB of 128MB (10%)\n",
		`{"model":"someone/small","file":"vocab.txt","done_bytes":1048576}`:                                               "vocab.txt 1.0MB\n",
	} {
		url := server(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"status":"degraded","download":`+download+`}`)
		})
		for _, command := range []string{"status", "model-status"} {
			code, stdout, stderr := run(t.Context(), t, nil, "memory", command, "--server", url)
			if code != 0 || !strings.Contains(stdout, "Downloading:") || !strings.Contains(stdout, want) {
				t.Errorf("memory %s: exit code %d, output %q, %q; want %q", command, code, stdout, stderr, want)
			}
			code, stdout, _ = run(t.Context(), t, nil, "memory", command, "-o", "json", "--server", url)
			if code != 0 || !strings.Contains(stdout, `"done_bytes"`) {
				t.Errorf("memory %s -o json: exit code %d, output %q", command, code, stdout)
			}
		}
	}
}

// server returns the URL of a server that answers with handle.
func server(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}
