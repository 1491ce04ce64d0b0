package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/cli"
)

// A flow is a standard output that tells of every write.
type flow struct {
	text  bytes.Buffer
	wrote func()
}

func (f *flow) Write(b []byte) (int, error) {
	defer f.wrote()
	return f.text.Write(b)
}

const line = `{"id":1,"at":"2026-01-02T03:04:05Z","agent":"helper","level":"INFO","message":"agent deployed","attrs":{"version":1}}` + "\n"

func TestFollow(t *testing.T) {
	t.Parallel()
	log := func(end bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, line)
			_ = http.NewResponseController(w).Flush()
			if !end {
				<-r.Context().Done()
			}
		}
	}
	t.Run("the server ends it", func(t *testing.T) {
		t.Parallel()
		code, out, stderr := run(t.Context(), t, nil, "agents", "logs", "helper", "-f", "--server", server(t, log(true)))
		if code != 6 || !strings.Contains(out, "agent deployed") || !strings.Contains(stderr, "ended") {
			t.Errorf("exit code %d, output %q, %q; want 6 and a word about it", code, out, stderr)
		}
	})
	t.Run("Ctrl-C ends it", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		env := &cli.Env{Stdout: &flow{wrote: cancel}, Stderr: io.Discard, Dir: t.TempDir()}
		if code := cli.Main(ctx, env, []string{"logs", "helper", "-f", "--server", server(t, log(false))}); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
	t.Run("nobody reads it any more", func(t *testing.T) {
		t.Parallel()
		env := &cli.Env{Stdout: fullDisk{}, Stderr: io.Discard, Dir: t.TempDir()}
		if code := cli.Main(t.Context(), env, []string{"logs", "helper", "-f", "--server", server(t, log(false))}); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	})
	t.Run("as JSON", func(t *testing.T) {
		t.Parallel()
		_, out, _ := run(t.Context(), t, nil, "logs", "helper", "-f", "-o", "json", "--server", server(t, log(true)))
		if got := strings.Split(strings.TrimSpace(out), "\n"); len(got) != 1 || !json.Valid([]byte(got[0])) {
			t.Errorf("output %q, want one line of JSON for a line of the log", out)
		}
	})
}

const helper = "---\nname: Helper\ncapabilities: [help-desk]\nsystem_prompt: Help.\n---\n"

func TestWatch(t *testing.T) {
	t.Parallel()
	deployed := `{"slug":"helper","status":"deployed","version":1}`
	t.Run("a file that met no server is deployed later", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		file := filepath.Join(dir, "helper.md")
		write(t, file, helper)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		url := server(t, func(w http.ResponseWriter, _ *http.Request) {
			if n++; n == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, `{"error":{"kind":"unavailable","code":"draining","message":"the server is stopping"}}`)
				write(t, file, helper) // the same text: what counts is that it was never deployed
				return
			}
			_, _ = io.WriteString(w, deployed)
		})
		env := &cli.Env{Stdout: &flow{wrote: cancel}, Stderr: io.Discard, Dir: dir}
		if code := cli.Main(ctx, env, []string{"agents", "watch", dir, "--auto-reload", "-o", "json", "--server", url}); code != 0 || n != 2 {
			t.Errorf("exit code %d after %d tries, want 0 after 2", code, n)
		}
		var got map[string]any
		if out := env.Stdout.(*flow).text.String(); json.Unmarshal([]byte(out), &got) != nil || got["slug"] != "helper" {
			t.Errorf("output %q, want a line of JSON", out)
		}
	})
	t.Run("nobody reads it any more", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, filepath.Join(dir, "helper.md"), helper)
		url := server(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, deployed) })
		env := &cli.Env{Stdout: fullDisk{}, Stderr: io.Discard, Dir: dir}
		if code := cli.Main(t.Context(), env, []string{"agents", "watch", dir, "--server", url}); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

func TestChat(t *testing.T) {
	t.Parallel()
	agent := `{"id":"1","name":"Helper","slug":"helper"}`
	t.Run("interrupted while nothing is typed", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		url := server(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, agent) })
		stdin, w := io.Pipe()
		defer func() { _ = w.Close() }()
		code, _, stderr := run(ctx, t, readsThen{stdin, cancel}, "chat", "helper", "--server", url)
		if code != 130 {
			t.Errorf("exit code %d (%s), want 130", code, stderr)
		}
	})
	t.Run("interrupted while the agent thinks", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		url := server(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_, _ = io.WriteString(w, agent)
				return
			}
			cancel()
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		if code, _, _ := run(ctx, t, strings.NewReader("hello\n"), "chat", "helper", "--server", url); code != 130 {
			t.Errorf("exit code %d, want 130", code)
		}
	})
	for _, tt := range []struct {
		name, stdin, answer string
		status, want        int
	}{
		{"a script is told of a failure", "hello\nagain\n", `{"error":{"kind":"timeout","code":"reply_late","message":"late"}}`, 504, 7},
		{"a script is told of a failure reply", "hello\n", `{"conversation_id":"c","reply":{"performative":"failure","text":"no"}}`, 200, 1},
		{"a last line without an end", "hello", `{"conversation_id":"c","reply":{"performative":"inform","text":"hi"}}`, 200, 0},
		{"a line that is too long", strings.Repeat("x", 2<<20), ``, 200, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sent := 0
			url := server(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					_, _ = io.WriteString(w, agent)
					return
				}
				sent++
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			})
			code, out, stderr := run(t.Context(), t, strings.NewReader(tt.stdin), "chat", "helper", "--server", url)
			if code != tt.want || sent > 1 {
				t.Errorf("exit code %d after %d messages, want %d after one at most (%s%s)", code, sent, tt.want, out, stderr)
			}
		})
	}
}

// readsThen calls then when it is read from.
type readsThen struct {
	r    io.Reader
	then func()
}

func (r readsThen) Read(b []byte) (int, error) {
	r.then()
	return r.r.Read(b)
}

func TestNobodyIsAsked(t *testing.T) {
	t.Parallel()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	code, _, stderr := run(t.Context(), t, null, "agents", "remove", "helper", "--server", "http://127.0.0.1:1")
	if code != 2 || !strings.Contains(stderr, "--yes") {
		t.Errorf("remove without a terminal: exit code %d, %q; want 2 and a hint at --yes", code, stderr)
	}
}

// TestFollowRollouts prints the steps of a rollout beside records.
func TestFollowRollouts(t *testing.T) {
	t.Parallel()
	steps := []string{
		`{"step":"began","at":"2026-01-02T03:04:05Z","agent_id":"a1","agent":"helper","strategy":"canary","state":"preparing","from_version":1,"to_version":2,"stage":0,"stages":3,"percent":0}`,
		`{"step":"stage","at":"2026-01-02T03:04:05Z","agent_id":"a1","agent":"helper","strategy":"canary","state":"running","from_version":1,"to_version":2,"stage":1,"stages":3,"percent":5}`,
		`{"step":"ended","at":"2026-01-02T03:04:05Z","agent_id":"a1","agent":"helper","strategy":"canary","state":"rolled_back","from_version":1,"to_version":2,"stage":1,"stages":3,"percent":0,"reason":"p99"}`,
	}
	events := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, s := range steps {
			_, _ = io.WriteString(w, "id: 7.8\nevent: rollout\ndata: "+s+"\n\n")
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	code, out, stderr := run(t.Context(), t, nil, "events", "follow", "--kind", "rollout", "--count", "3", "--server", server(t, events))
	for _, want := range []string{
		"helper  rollout          canary began, version 1 to 2\n", "canary stage, version 1 to 2, stage 1 of 3, 5%\n", "canary ended, version 1 to 2: rolled_back (p99)\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("exit code %d, output %q, %q; want %q", code, out, stderr, want)
		}
	}
	code, out, _ = run(t.Context(), t, nil, "events", "follow", "--count", "1", "-o", "json", "--server", server(t, events))
	if want := `{"event":"rollout","id":"7.8","data":{"step":"began"`; code != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("exit code %d, output %q, want %q", code, out, want)
	}
}
