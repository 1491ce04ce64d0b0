package node_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/node"
	"github.com/caxton/caxton/internal/sqlite"
	"go.uber.org/goleak"
)

// TestMain makes the test binary a server of its own when it is told to: the one that the
// crash test kills.
func TestMain(m *testing.M) {
	if description := os.Getenv("CAXTON_TEST_MCP"); description != "" {
		os.Exit(playMCP(description))
	}
	if dir := os.Getenv("CAXTON_TEST_SERVER"); dir != "" {
		os.Exit(serve(dir))
	}
	goleak.VerifyTestMain(m)
}

func serve(dir string) int {
	loaded, err := load(dir)
	if err == nil {
		err = node.Run(context.Background(), loaded, node.Options{Dir: dir, Stderr: os.Stderr, Ready: func(i node.Info) {
			_ = json.NewEncoder(os.Stdout).Encode(i)
		}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// load returns the configuration of a test server in dir: free ports, no model but the
// built-in answerer, and what the environment of the test says.
func load(dir string, flags ...string) (*config.Loaded, error) {
	set := map[string]string{
		"server.port": "0", "server.data_dir": filepath.Join(dir, "data"), "server.agents_dir": filepath.Join(dir, "agents"),
		"observability.metrics_address": "127.0.0.1:0", "llm.provider": "builtin", "logging.level": "warn",
		"agents.startup_timeout": "2m", // the race detector makes the compiler of modules slow
	}
	if d := os.Getenv("CAXTON_TEST_DURABILITY"); d != "" {
		set["messaging.durability"] = d
	}
	for f := range strings.SplitSeq(os.Getenv("CAXTON_TEST_FLAGS"), ",") {
		if k, v, ok := strings.Cut(f, "="); ok {
			set[k] = v
		}
	}
	for i := 0; i+1 < len(flags); i += 2 {
		set[flags[i]] = flags[i+1]
	}
	return config.Load(config.Options{Flags: set, Dir: dir, SystemDir: filepath.Join(dir, "none")})
}

const greeter = `---
name: Greeter
capabilities: [greeting]
system_prompt: Greet.
---

Hello from version %d.
`

// write writes the file of the agent greeter.
func write(t *testing.T, dir string, version int) {
	t.Helper()
	name := filepath.Join(dir, "agents", "greeter.md")
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, fmt.Appendf(nil, greeter, version), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a server in this process until stop, which waits for its end.
func run(t *testing.T, dir string, flags ...string) (c *api.Client, info node.Info, stop func() error) {
	t.Helper()
	loaded, err := load(dir, flags...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready := make(chan node.Info, 1)
	done := make(chan error, 1)
	go func() {
		done <- node.Run(ctx, loaded, node.Options{Version: "test", Dir: dir, Stderr: io.Discard, Ready: func(i node.Info) { ready <- i }})
	}()
	select {
	case info = <-ready:
	case err := <-done:
		cancel()
		t.Fatalf("the server did not start: %v", err)
	}
	c = api.New(api.Config{BaseURL: "http://" + info.APIAddr})
	stop = sync.OnceValue(func() error {
		c.Close()
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return c, info, stop
}

func get(tb testing.TB, url string) string {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func TestServer(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1)
	c, info, stop := run(t, dir)
	ctx := t.Context()
	if info.Provider != "builtin" || info.Agents != 1 {
		t.Errorf("info %+v", info)
	}
	r, err := c.Send(ctx, api.Message{Capability: "greeting", Text: "Hi"}, 10*time.Second)
	if err != nil || r.Reply == nil || !strings.HasPrefix(r.Reply.Text, "Hello from version 1.") {
		t.Fatalf("Send = %+v, %v", r, err)
	}
	h, err := c.Health(ctx)
	if err != nil || h.Status != "healthy" || h.Agents != 1 || h.MemoryBackend != "embedded" {
		t.Errorf("Health = %+v, %v", h, err)
	}
	metrics := get(t, "http://"+info.MetricsAddr+"/metrics")
	for _, name := range []string{
		"caxton_server_uptime_seconds", "caxton_server_restarts_total 0", "caxton_server_memory_usage_bytes", "caxton_agent_config_count 1",
		"caxton_agent_wasm_count 0", "caxton_agent_response_latency_p99", "caxton_agent_reload_success_total 0", "caxton_agent_reload_failed_total 0",
		"caxton_agent_error_rate 0", `caxton_messages_total{performative="request"} 1`, "process_cpu_seconds_total",
	} {
		if !strings.Contains(metrics, "\n"+name) {
			t.Errorf("the metrics lack %s", name)
		}
	}
	socket := api.New(api.Config{UnixSocket: info.Socket})
	defer socket.Close()
	if _, err := socket.Version(ctx); err != nil {
		t.Errorf("over the unix socket: %v", err)
	}
	t.Run("a second server is refused", func(t *testing.T) {
		loaded, err := load(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = node.Run(t.Context(), loaded, node.Options{Dir: dir})
		if caxton.KindOf(err) != caxton.Conflict {
			t.Errorf("Run = %v, want a conflict", err)
		}
	})
	t.Run("a taken port is refused", func(t *testing.T) {
		_, port, err := net.SplitHostPort(info.APIAddr)
		if err != nil {
			t.Fatal(err)
		}
		other := t.TempDir()
		loaded, err := load(other, "server.port", port)
		if err != nil {
			t.Fatal(err)
		}
		err = node.Run(t.Context(), loaded, node.Options{Dir: other})
		var e *caxton.Error
		if !errors.As(err, &e) || e.Code != "port_taken" {
			t.Errorf("Run = %v, want port_taken", err)
		}
	})
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	c, info, _ = run(t, dir)
	if metrics := get(t, "http://"+info.MetricsAddr+"/metrics"); !strings.Contains(metrics, "caxton_server_restarts_total 1") {
		t.Error("the restart was not counted")
	}
	m, err := c.Message(ctx, r.MessageID)
	if err != nil || m.Status != "done" || len(m.Replies) != 1 {
		t.Errorf("the message after the restart: %+v, %v", m, err)
	}
}

func TestShutdownByAPI(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1)
	loaded, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	ready, done := make(chan node.Info, 1), make(chan error, 1)
	go func() {
		done <- node.Run(t.Context(), loaded, node.Options{Dir: dir, Ready: func(i node.Info) { ready <- i }})
	}()
	info := <-ready
	c := api.New(api.Config{UnixSocket: info.Socket})
	defer c.Close()
	if _, err := c.Shutdown(t.Context(), api.Shutdown{Timeout: "5s"}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestReloadUnderLoad replaces an agent 500 times while 200 messages a second come in: none
// is lost, none fails, none is answered twice.
func TestReloadUnderLoad(t *testing.T) {
	reloads := 500
	if testing.Short() {
		reloads = 50
	}
	dir := t.TempDir()
	write(t, dir, 0)
	c, _, stop := run(t, dir, "agents.watch", "false")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var sent atomic.Int64
	var mu sync.Mutex
	var ids []string
	tick := time.NewTicker(5 * time.Millisecond) // 200 a second
	defer tick.Stop()
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	began := time.Now()
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				r, err := c.Send(t.Context(), api.Message{Receiver: "greeter", Text: "Hi"}, 30*time.Second)
				if err != nil || r.Reply == nil || r.Reply.Performative != "inform" {
					t.Errorf("Send = %+v, %v", r, err)
					return
				}
				sent.Add(1)
				mu.Lock()
				ids = append(ids, r.ConversationID)
				mu.Unlock()
			}
		})
	}
	for i := 1; i <= reloads; i++ {
		write(t, dir, i)
		d, err := c.Reload(t.Context(), "greeter")
		if err != nil || d.Version != i+1 {
			t.Fatalf("reload %d = %+v, %v", i, d, err)
		}
		for sent.Load() < int64(i) && !t.Failed() { // a message for every reload
			<-pace.C
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d reloads, %d messages, %.0f a second", reloads, sent.Load(), float64(sent.Load())/time.Since(began).Seconds())
	for _, id := range ids {
		rs, err := c.Records(t.Context(), id, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]int{} // a slow machine may also have a lease in the log
		for _, r := range rs.Items {
			kinds[r.Kind]++
		}
		if kinds["message"] != 2 || kinds["model_called"] != 1 || kinds["settled"] != 1 {
			t.Fatalf("conversation %s has %v, want one message, one answer of the model, one reply, one settlement", id, kinds)
		}
	}
	r, err := c.Send(t.Context(), api.Message{Receiver: "greeter", Text: "Hi"}, 10*time.Second)
	if want := fmt.Sprintf("Hello from version %d.", reloads); err != nil || !strings.HasPrefix(r.Reply.Text, want) {
		t.Errorf("at the end %+v, %v, want %s", r.Reply, err, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A victim is a server in a process of its own.
type victim struct {
	cmd    *exec.Cmd
	client *api.Client
	info   node.Info
}

func start(tb testing.TB, dir string) *victim {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	v := &victim{cmd: exec.CommandContext(tb.Context(), exe)}
	v.cmd.Env = append(os.Environ(), "CAXTON_TEST_SERVER="+dir)
	if os.Getenv("CAXTON_TEST_QUIET") == "" { // what the server says of effects it does not know is no news
		v.cmd.Stderr = os.Stderr
	}
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &v.info)
	}
	if err != nil {
		tb.Fatalf("the server did not start: %v", err)
	}
	v.client = api.New(api.Config{BaseURL: "http://" + v.info.APIAddr})
	return v
}

func (v *victim) kill(tb testing.TB) {
	tb.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		tb.Fatal(err)
	}
	_ = v.cmd.Wait()
	v.client.Close()
}

// crashes returns how often a test kills its server, in a soak and in a short run too, and what
// it draws the moments from.
func crashes(tb testing.TB, usual, soak, short int) (kills int, rnd *rand.Rand) {
	tb.Helper()
	kills = usual
	switch {
	case os.Getenv("CAXTON_SOAK") != "":
		kills = soak
	case testing.Short():
		kills = short
	}
	seed := uint64(time.Now().UnixNano())
	tb.Logf("seed %d, %d kills", seed, kills)
	return kills, rand.New(rand.NewPCG(seed, 1))
}

// TestCrash kills a server with kill -9 at random points of traffic, again and again. In the
// end every acknowledged message is settled exactly once, and nothing acknowledged is missing.
func TestCrash(t *testing.T) {
	kills, rnd := crashes(t, 20, 400, 5)
	dir := t.TempDir()
	write(t, dir, 1)
	var mu sync.Mutex
	acked := map[string]string{} // conversation by message
	var serial atomic.Int64
	for range kills {
		v := start(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 6 {
			wg.Go(func() {
				for ctx.Err() == nil {
					n := serial.Add(1)
					m := api.Message{MessageID: fmt.Sprintf("m-%d", n), ConversationID: fmt.Sprintf("c-%d", n), Receiver: "greeter", Text: "Hi"}
					if w%2 == 0 { // IDs and conversations of the server's own take another way
						m.MessageID, m.ConversationID = "", ""
					}
					r, err := v.client.Send(ctx, m, 0)
					if err != nil {
						continue // not acknowledged
					}
					mu.Lock()
					acked[r.MessageID] = r.ConversationID
					mu.Unlock()
				}
			})
		}
		select {
		case <-time.After(time.Duration(1+rnd.IntN(60)) * time.Millisecond):
		case <-t.Context().Done():
		}
		v.kill(t)
		cancel()
		wg.Wait()
	}
	v := start(t, dir)
	deadline := time.Now().Add(time.Minute)
	for {
		st, err := v.client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Queued+st.InFlight == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages still wait", st.Queued)
		}
		<-time.After(20 * time.Millisecond)
	}
	v.kill(t) // even now nothing may get lost
	check(t, dir, acked)
}

// check reads the journal of a dead server.
func check(t *testing.T, dir string, acked map[string]string) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "data", "caxton.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if ds, err := db.Pending(t.Context()); err != nil || len(ds) != 0 {
		t.Errorf("%d messages pending, %v", len(ds), err)
	}
	missing, unsettled, twice := 0, 0, 0
	for id, conv := range acked {
		turn, err := db.Turn(t.Context(), caxton.ConversationID(conv), caxton.MessageID(id))
		if err != nil {
			t.Fatal(err)
		}
		settled := 0
		for _, r := range turn {
			if r.Kind == caxton.RecordSettled {
				settled++
			}
		}
		st, err := db.Message(t.Context(), caxton.MessageID(id))
		switch {
		case err != nil:
			missing++
		case settled == 0:
			unsettled++
		case settled > 1 || len(st.Replies) != 1:
			twice++
		}
	}
	t.Logf("%d acknowledged", len(acked))
	if missing+unsettled+twice > 0 || len(acked) == 0 {
		t.Errorf("of %d acknowledged: %d missing, %d not settled, %d settled more than once", len(acked), missing, unsettled, twice)
	}
}
