package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caxton/caxton/internal/cli"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this binary as caxton.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"caxton": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		dir, err := os.Getwd()
		if err != nil {
			dir = "."
		}
		code := cli.Main(ctx, &cli.Env{
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Dir: dir, Exe: os.Args[0], Version: "1.2.3",
		}, os.Args[1:])
		stop()
		os.Exit(code)
	}, "shelf": shelf})
}

// update has the scripts write the golden files that differ.
var update = flag.Bool("update", false, "rewrite the golden files of the scripts")

// TestScripts runs each documented command, the ones that need a server against a real one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CAXTON_LLM_PROVIDER", "builtin")
			e.Defer(func() { killServers(e.WorkDir) })
			e.Setenv("LONG", strings.Repeat("long", 25))
			modules, err := filepath.Abs(filepath.Join("..", "wasm", "testdata"))
			if err != nil {
				return err
			}
			e.Setenv("MODULES", modules)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "code": exitCode, "freeze": freeze, "connected": connected, "json": golden, "eventually": eventually, "hangup": hangup, "receive": receive,
		},
	})
}

// ready waits until the server on a data directory, ./data without an argument, answers. It
// sets API to its host:port and PORT to its port.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	dir := "data"
	if len(args) > 0 {
		dir = args[0]
	}
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		h, _, err := datadir.ReadLock(ts.MkAbs(filepath.Join(dir, "LOCK")))
		if err == nil && h.API != "" {
			_, port, err := net.SplitHostPort(h.API)
			ts.Check(err)
			ts.Setenv("API", "127.0.0.1:"+port)
			ts.Setenv("PORT", port)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no server on %s: %v", dir, err)
		}
	}
}

// killServers kills the servers that a script that failed has left behind.
func killServers(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "LOCK" {
			return nil //nolint:nilerr // what is gone holds no server
		}
		if h, held, err := datadir.ReadLock(path); err == nil && held && h.PID > 1 {
			if p, err := os.FindProcess(h.PID); err == nil {
				_ = p.Kill()
			}
		}
		return nil
	})
}

// exitCode runs caxton and holds its exit code to the first argument.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("caxton", args[1:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("caxton %s: exit code %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// eventually runs caxton until what it prints matches the pattern.
//
//	eventually 'pending' approvals list
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(`(?m)` + args[0])
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		err := ts.Exec("caxton", args[1:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("caxton %s: %v, no %s in %s", strings.Join(args[1:], " "), err, args[0], ts.ReadFile("stdout"))
		}
	}
}

// hangup listens on a port, takes each request and hangs up without an answer. It writes its
// host:port for HANGUP into the files given.
func hangup(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1<<16))
			_ = c.Close()
		}
	}()
	ts.Defer(func() {
		_ = l.Close()
		<-done
	})
	for _, f := range args {
		text := strings.ReplaceAll(ts.ReadFile(f), "HANGUP", l.Addr().String())
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o600))
	}
}

// receive listens on a port and answers each request with the status that its path names, as
// /204. It sets RECEIVER to its host:port.
func receive(ts *testscript.TestScript, _ bool, _ []string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
	}))
	ts.Defer(s.Close)
	ts.Setenv("RECEIVER", s.Listener.Addr().String())
}

// golden runs caxton with -o json and writes what it prints to the standard output, to be
// compared with a golden file: keys sorted, and what changes from run to run made equal.
//
//	json agents list
//	cmp stdout agents-list.json
//
// It sets MESSAGE, TICKET, WEBHOOK, OBSERVATION and RELATION to the ID that the result has.
func golden(ts *testscript.TestScript, fails bool, args []string) {
	if err := ts.Exec("caxton", append(args, "-o", "json")...); (err != nil) != fails {
		ts.Fatalf("caxton %s: %v", strings.Join(args, " "), err)
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	enc := json.NewEncoder(ts.Stdout())
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	for {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			return
		}
		ts.Check(err)
		if m, ok := v.(map[string]any); ok {
			if id, ok := m["message_id"].(string); ok {
				ts.Setenv("MESSAGE", id)
			}
			if id, ok := m["relation_id"].(string); ok {
				ts.Setenv("RELATION", id)
			}
			if noted, ok := m["noted"].([]any); ok && len(noted) > 0 {
				n, _ := noted[0].(map[string]any)
				id, _ := n["observation_id"].(string)
				ts.Setenv("OBSERVATION", id)
			}
			if items, ok := m["items"].([]any); ok && len(items) > 0 {
				m, _ = items[0].(map[string]any)
			}
			if id, ok := m["trace_id"].(string); ok {
				ts.Setenv("TRACE", id)
			}
			if id, ok := m["id"].(string); ok && m["kind"] != nil {
				ts.Setenv("TICKET", id)
			}
			if id, ok := m["id"].(string); ok && strings.HasPrefix(id, "wh_") {
				ts.Setenv("WEBHOOK", id)
			}
		}
		ts.Check(enc.Encode(steady("", v, ts.Getenv("WORK"))))
	}
}

var (
	uuids  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hashes = regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16})\b`)
	times  = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)`)
	days   = regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`)
	ports  = regexp.MustCompile(`(127\.0\.0\.1|\[::\]|0\.0\.0\.0):\d+`)
	hooks  = regexp.MustCompile(`\b(wh|msg|test)_[0-9a-z]{26,32}\b`)
	keys   = regexp.MustCompile(`^whsec_[0-9A-Za-z+/]{43}=$`)
	memos  = regexp.MustCompile(`\b(ent|obs|rel)_[0-9a-z]{13}\b`)
	spans  = regexp.MustCompile(`^[0-9.]+(ns|µs|ms|s)$`)
	// measured are the keys of numbers that are measured, and of what the build decides.
	measured = regexp.MustCompile(`(^|_)(ms|us|micros|seconds|bytes|pid|p50|p99|p95|minute|load|score|match|health|continuity|next|seq|next_seq|go|os|raw|weight|similarity|hit_rate|actual|per_second|queries|fragmentation)$|^(latency|uptime)`)
)

// steady returns a value of JSON without what changes from run to run.
func steady(key string, v any, work string) any {
	switch v := v.(type) {
	case map[string]any:
		if key == "parameters" {
			return "<schema>" // the tool has it
		}
		for k, x := range v {
			v[k] = steady(k, x, work)
		}
		if v["actual"] != nil && v["target"] != nil {
			v["status"] = "<text>" // a slow machine misses targets
		}
	case []any:
		if key == "signals" {
			v = v[:min(len(v), 1)] // one shows the form of all; which there are is the engine's to say
		}
		v = slices.DeleteFunc(v, func(x any) bool { // an attempt is written down when it lasts, and a query when it is slow
			m, ok := x.(map[string]any)
			return ok && (m["kind"] == "leased" && m["seq"] != nil || m["query_type"] != nil && m["text"] != nil)
		})
		for i, x := range v {
			v[i] = steady(key, x, work)
		}
	case json.Number:
		if measured.MatchString(key) {
			return "<number>"
		}
	case string:
		if measured.MatchString(key) && v != "" {
			return "<text>"
		}
		s := strings.ReplaceAll(v, work, "$WORK")
		s = uuids.ReplaceAllString(s, "<uuid>")
		s = hashes.ReplaceAllString(s, "<hash>")
		s = times.ReplaceAllString(s, "<time>")
		s = days.ReplaceAllString(s, "<day>")
		s = spans.ReplaceAllString(s, "<duration>")
		s = hooks.ReplaceAllString(s, "${1}_<id>")
		s = memos.ReplaceAllString(s, "${1}_<id>")
		s = keys.ReplaceAllString(s, "whsec_<secret>")
		return ports.ReplaceAllString(s, "$1:<port>")
	}
	return v
}
