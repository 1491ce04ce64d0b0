package wasm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// guest returns a module of testdata.
func guest(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// goGuest builds one of the Go examples.
func goGuest(tb testing.TB, name string) []byte {
	tb.Helper()
	if testing.Short() {
		tb.Skip("builds a Go guest, which takes seconds to compile")
	}
	out := filepath.Join(tb.TempDir(), name+".wasm")
	args := []string{"build", "-o", out}
	if name == "reactor" {
		args = append(args, "-buildmode=c-shared")
	}
	cmd := exec.Command("go", append(args, "./"+name)...)
	cmd.Dir = filepath.Join("..", "..", "examples", "wasm", "go")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go %v: %v\n%s", cmd.Args, err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A bench holds a Runtime and what it reports.
type bench struct {
	rt    *wasm.Runtime
	mu    sync.Mutex
	runs  []wasm.Execution
	log   *bytes.Buffer
	calls *fakeCalls
	state *fakeState
}

func newBench(tb testing.TB, cfg wasm.Config) *bench {
	tb.Helper()
	b := &bench{log: &bytes.Buffer{}, calls: &fakeCalls{}, state: &fakeState{values: map[string][]byte{}, outputs: map[caxton.MessageID][]byte{}, lines: map[int]int{}}}
	cfg.Report = func(x wasm.Execution) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.runs = append(b.runs, x)
	}
	cfg.Calls = func(context.Context, caxton.Turn) (wasm.Calls, error) { return b.calls, nil }
	cfg.State = b.state
	cfg.Logger = slog.New(slog.NewTextHandler(&locked{mu: &b.mu, w: b.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if len(cfg.Seed) == 0 {
		cfg.Seed = []byte("a seed of the tests")
	}
	b.rt = wasm.New(cfg)
	tb.Cleanup(func() {
		if err := b.rt.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return b
}

type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (b *bench) last() wasm.Execution {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[len(b.runs)-1]
}

func (b *bench) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

const agentID = caxton.AgentID("0190a000-0000-7000-8000-000000000001")

func version(tools ...string) caxton.AgentVersion {
	d := &caxton.Definition{Name: "Tester", Parameters: map[string]any{"greeting": "hello", "size": 3}}
	for _, t := range tools {
		d.Tools = append(d.Tools, caxton.ToolGrant{Name: t})
	}
	return caxton.AgentVersion{AgentID: agentID, Number: 1, Definition: *d}
}

// agent makes an agent, which is closed when the test ends.
func (b *bench) agent(tb testing.TB, module []byte, o wasm.Options, tools ...string) *wasm.Agent {
	tb.Helper()
	a, err := b.rt.Agent(tb.Context(), version(tools...), module, o)
	if err != nil {
		tb.Fatalf("Agent: %v", err)
	}
	return a
}

func message(id, text string) caxton.Turn {
	return caxton.Turn{Message: caxton.Message{
		ID: caxton.MessageID(id), ConversationID: "talk", Performative: caxton.Request, Sender: "ann", Receiver: "tester", ReceiverID: agentID,
		Content: caxton.TextContent(text), CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}, Attempt: 1}
}

// say handles a text and returns the content of the one answer.
func say(tb testing.TB, a *wasm.Agent, id, text string) string {
	tb.Helper()
	out, err := a.Handle(tb.Context(), message(id, text))
	if err != nil {
		tb.Fatalf("Handle(%q): %v", text, err)
	}
	if len(out) != 1 {
		tb.Fatalf("Handle(%q) = %d messages, want 1: %+v", text, len(out), out)
	}
	return string(out[0].Content)
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// fakeCalls answers every tool call with its arguments.
type fakeCalls struct {
	mu    sync.Mutex
	made  []string
	err   error
	isErr string
	now   time.Time

	wait func(ctx context.Context) error // instead of an answer
}

func (f *fakeCalls) Call(ctx context.Context, tool string, args json.RawMessage) (caxton.ToolReturnedBody, error) {
	if f.wait != nil {
		return caxton.ToolReturnedBody{}, f.wait(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = append(f.made, tool+" "+string(args))
	if f.err != nil {
		return caxton.ToolReturnedBody{}, f.err
	}
	if f.isErr != "" {
		return caxton.ToolReturnedBody{IsError: true, Text: f.isErr}, nil
	}
	if tool == "send_message" {
		return caxton.ToolReturnedBody{Data: json.RawMessage(`{"answers":[{"agent":"bob","performative":"inform","content":"yes"}]}`)}, nil
	}
	return caxton.ToolReturnedBody{Data: json.RawMessage(`{"tool":"` + tool + `"}`)}, nil
}

func (f *fakeCalls) Blob(context.Context, string) ([]byte, string, error) { return nil, "", nil }

func (f *fakeCalls) Now() time.Time { return f.now }

func (f *fakeCalls) Done(context.Context) error { return nil }
func (f *fakeCalls) Refusal(err error) (json.RawMessage, bool) {
	return json.RawMessage(`"refused"`), codeOf(err) == "budget_exceeded"
}

// fakeState keeps values in memory.
type fakeState struct {
	mu      sync.Mutex
	values  map[string][]byte
	outputs map[caxton.MessageID][]byte
	commits int
	full    error       // of Fork
	listed  func()      // called when a key is asked for
	loading func()      // called when a value is asked for
	lines   map[int]int // of versions; the others have line 0
}

// name is that of a key of a version.
func (s *fakeState) name(a caxton.AgentID, version int, key string) string {
	if line := s.lines[version]; line > 0 {
		return fmt.Sprintf("%s#%d/%s", a, line, key)
	}
	return string(a) + "/" + key
}

func (s *fakeState) Load(_ context.Context, a caxton.AgentID, version int, key string) ([]byte, bool, error) {
	if s.loading != nil {
		s.loading()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[s.name(a, version, key)]
	return v, ok, nil
}

func (s *fakeState) Next(_ context.Context, a caxton.AgentID, version int, after string) (string, bool, error) {
	if s.listed != nil {
		s.listed()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := s.name(a, version, "")
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		if key, ok := strings.CutPrefix(k, prefix); ok && key > after {
			return key, true, nil
		}
	}
	return "", false, nil
}

func (s *fakeState) Share(_ context.Context, _ caxton.AgentID, from, to int, unlessKept bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, kept := s.lines[to]; !kept || !unlessKept {
		s.lines[to] = s.lines[from]
	}
	return nil
}

func (s *fakeState) Fork(_ context.Context, a caxton.AgentID, from, to int, changes []wasm.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return s.full
	}
	next := len(s.lines) + 1
	for k, v := range maps.Clone(s.values) {
		if key, ok := strings.CutPrefix(k, s.name(a, from, "")); ok {
			s.values[fmt.Sprintf("%s#%d/%s", a, next, key)] = v
		}
	}
	s.lines[to] = next
	s.set(a, to, changes)
	return nil
}

func (s *fakeState) set(a caxton.AgentID, version int, changes []wasm.Change) {
	for _, c := range changes {
		if c.Delete {
			delete(s.values, s.name(a, version, c.Key))
		} else {
			s.values[s.name(a, version, c.Key)] = c.Value
		}
	}
}

// all returns what a version keeps, in order.
func (s *fakeState) all(version int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		if key, ok := strings.CutPrefix(k, s.name(agentID, version, "")); ok {
			all = append(all, key+"="+string(s.values[k]))
		}
	}
	return strings.Join(all, " ")
}

func (s *fakeState) Committed(_ context.Context, _ caxton.AgentID, m caxton.MessageID) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.outputs[m]
	return v, ok, nil
}

func (s *fakeState) Commit(_ context.Context, a caxton.AgentID, version int, m caxton.MessageID, changes []wasm.Change, outputs []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	s.set(a, version, changes)
	s.outputs[m] = outputs
	return nil
}

func TestContracts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		contract wasm.Contract
		want     string
	}{
		{"command", wasm.Command, `"hi"`},
		{"echo", wasm.Reactor, `"hi"`},
		{"response", wasm.Reactor, `4321`},
		{"plugin", wasm.Plugin, `1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, wasm.Config{})
			a := b.agent(t, guest(t, tt.name), wasm.Options{})
			if a.Contract() != tt.contract {
				t.Fatalf("Contract = %q, want %q", a.Contract(), tt.contract)
			}
			if got := say(t, a, "m1", "hi"); got != tt.want {
				t.Errorf("the answer is %s, want %s", got, tt.want)
			}
			x := b.last()
			if x.Instructions <= 0 || x.Fuel != (x.Instructions+wasm.InstructionsPerFuel-1)/wasm.InstructionsPerFuel || x.Memory <= 0 || x.Code != "" || x.Outputs != 1 {
				t.Errorf("Report = %+v", x)
			}
		})
	}
}

// TestReply holds what an answer carries besides its content.
func TestReply(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "command"), wasm.Options{})
	in := message("m1", "hi")
	in.Message.ReplyWith = "q1"
	out, err := a.Handle(t.Context(), in)
	if err != nil || len(out) != 1 {
		t.Fatalf("Handle = %+v, %v", out, err)
	}
	m := out[0]
	if m.Receiver != "ann" || m.InReplyTo != "q1" || m.ConversationID != "talk" || m.Performative != caxton.Inform {
		t.Errorf("the answer is %+v", m)
	}
	in.Message.Performative = caxton.Inform
	if out, err := a.Handle(t.Context(), in); err != nil || len(out) != 0 {
		t.Errorf("an inform is answered with %+v, %v; two agents would go on for ever", out, err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	small := wasm.Limits{Fuel: 20_000, Time: 20 * time.Second, LogSize: 10_000}
	quick := wasm.Limits{Fuel: 1_000_000_000, Time: 50 * time.Millisecond}
	tests := []struct {
		name   string
		limits wasm.Limits
		code   string
		kind   caxton.Kind
		want   string // in the text
	}{
		{"loop", small, "wasm_fuel_exhausted", caxton.Invalid, "20000 units of fuel"},
		{"loop", quick, "wasm_deadline", caxton.Timeout, "50ms"},
		{"recursion", wasm.Limits{Time: 30 * time.Second}, "wasm_stack", caxton.Invalid, "deeper than its stack of 1MiB allows, in "},
		{"recursion", wasm.Limits{Stack: 100 * caxton.KiB}, "wasm_stack", caxton.Invalid, "deeper than its stack of 100KiB allows, in "},
		{"trap", small, "wasm_trap", caxton.Invalid, "explode < handle"},
		{"divide", small, "wasm_trap", caxton.Invalid, "integer divide by zero"},
		{"bomb", wasm.Limits{}, "wasm_memory", caxton.Invalid, "10MiB"},
		{"fillbomb", small, "wasm_fuel_exhausted", caxton.Invalid, ""},
		{"tablebomb", small, "wasm_fuel_exhausted", caxton.Invalid, ""},
		{"storm", wasm.Limits{}, "wasm_host_calls", caxton.Invalid, "10000 times"},
		{"toolstorm", wasm.Limits{}, "wasm_tool_calls", caxton.Invalid, "100 times"},
		{"randomstorm", wasm.Limits{Fuel: 1_000_000_000, Time: 100 * time.Millisecond}, "wasm_deadline", caxton.Timeout, ""},
		{"randomstorm", small, "wasm_fuel_exhausted", caxton.Invalid, ""},
		{"giant", wasm.Limits{}, "wasm_output_too_large", caxton.TooLarge, "1MiB"},
		{"gush", wasm.Limits{}, "wasm_output_too_large", caxton.TooLarge, "1MiB"},
		{"badjson", small, "wasm_bad_output", caxton.Invalid, "line 2, column 14"},
		{"badutf8", small, "wasm_bad_output", caxton.Invalid, "not UTF-8 (line 1, column 2"},
		{"lyinglength", small, "wasm_bad_pointer", caxton.Invalid, "4294967295 bytes at 8"},
		{"failing", small, "wasm_failed", caxton.Invalid, "returned 7"},
		{"allocnull", small, "wasm_bad_allocator", caxton.Invalid, "returned 0"},
		{"allocout", small, "wasm_bad_allocator", caxton.Invalid, "outside of its memory"},
		{"allocover", small, "wasm_bad_allocator", caxton.Invalid, "where the message is"},
		{"lyingresponse", small, "wasm_bad_length", caxton.Invalid, "16386 bytes into room for 16385"},
		{"initloop", small, "wasm_fuel_exhausted", caxton.Invalid, ""},
		{"initfail", small, "wasm_init", caxton.Invalid, "returned 3"},
		{"startloop", small, "wasm_fuel_exhausted", caxton.Invalid, ""},
		{"sleeper", quick, "wasm_deadline", caxton.Timeout, ""},
		{"exit", small, "wasm_exit", caxton.Invalid, "code 3: cannot do it"},
		{"pluginerror", small, "wasm_failed", caxton.Invalid, "?"},
		{"wasipoll", small, "wasm_bad_length", caxton.Invalid, "200000 to poll_oneoff"},
		{"wasibuffers", small, "wasm_bad_length", caxton.Invalid, "1000000 to fd_read"},
		{"wasistorm", wasm.Limits{Fuel: 1_000_000_000, Time: 50 * time.Millisecond}, "wasm_deadline", caxton.Timeout, ""},
		{"pluginlie", small, "wasm_bad_pointer", caxton.Invalid, "offset 4096"},
	}
	b := newBench(t, wasm.Config{MaxLong: 1})
	other := b.agent(t, guest(t, "echo"), wasm.Options{})
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.code, func(t *testing.T) {
			a := b.agent(t, guest(t, tt.name), wasm.Options{Limits: tt.limits, Grants: wasm.AllGrants()})
			_, err := a.Handle(t.Context(), message("m1", "hi"))
			if codeOf(err) != tt.code || caxton.KindOf(err) != tt.kind {
				t.Fatalf("Handle: %q of kind %q (%v), want %q of kind %q", codeOf(err), caxton.KindOf(err), err, tt.code, tt.kind)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Handle: %v, want %q in it", err, tt.want)
			}
			x := b.last()
			if x.Code != tt.code || tt.code == "wasm_fuel_exhausted" && x.Fuel+x.StartupFuel < tt.limits.Fuel {
				t.Errorf("Report = %+v", x)
			}
			if n := a.Idle(); n != 0 && tt.code != "wasm_failed" {
				t.Errorf("%d instances are kept after the fault", n)
			}
			if got := say(t, other, "m2", "still here"); got != `"still here"` {
				t.Errorf("another agent answers %s", got)
			}
			if err := a.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// TestFuelIsExact holds that the same message costs the same, time after time.
func TestFuelIsExact(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"command", "echo", "loop"} {
		b := newBench(t, wasm.Config{})
		a := b.agent(t, guest(t, name), wasm.Options{Limits: wasm.Limits{Fuel: 5000, Time: 30 * time.Second}})
		if name == "echo" {
			if err := a.Warm(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100 {
			_, _ = a.Handle(t.Context(), message("m1", "hi"))
			if got, want := b.last().Instructions, b.runs[0].Instructions; got != want {
				t.Fatalf("%s: run %d takes %d instructions, the first %d", name, i, got, want)
			}
		}
	}
}

// TestSystemCalls holds that what the host does for a call of WASI is paid for.
func TestSystemCalls(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "wasithousand"), wasm.Options{Limits: wasm.Limits{Time: 30 * time.Second}})
	if _, err := a.Handle(t.Context(), message("m1", "hi")); err != nil {
		t.Fatal(err)
	}
	if got := b.last().Instructions; got < 100_000 {
		t.Errorf("a thousand calls of WASI took %d instructions, want 100 each", got)
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	tests := []struct {
		name, module string
		tools        []string
		limits       wasm.Limits
		want         []string // findings; none: it is accepted
	}{
		{"a function that nobody has", "forbidden", nil, wasm.Limits{}, []string{`it imports caxton.process_spawn, which this server does not have`}},
		{"a function that is not granted", "ungranted", nil, wasm.Limits{}, []string{`takes the grant "messaging"`}},
		{"a function that is granted", "ungranted", []string{"send_message"}, wasm.Limits{}, nil},
		{"a function of another type", "mistyped", []string{"send_message"}, wasm.Limits{}, []string{`as (i64) -> i32; it is (i32, i32) -> i32`}},
		{"all that is missing at once", "tailless", nil, wasm.Limits{}, []string{
			"the export handle_message is (i32) -> i32", "exports no allocator", "the export agent_init is (i32) -> i32",
		}},
		{"nothing to run", "nothing", nil, wasm.Limits{}, []string{"exports neither _start"}},
		{"more memory than it may have", "bigmemory", nil, wasm.Limits{}, []string{"4096"}},
		{"threads", "threads", nil, wasm.Limits{}, []string{"shared"}},
		{"as much memory as it may have", "bigmemory", nil, wasm.Limits{Memory: 256 * caxton.MiB}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := wasm.Options{Limits: tt.limits}
			v := version(tt.tools...)
			rep := b.rt.Inspect(guest(t, tt.module), &v.Definition, o)
			if len(rep.Findings) != len(tt.want) {
				t.Fatalf("Inspect finds %v, want %q", rep.Findings, tt.want)
			}
			for i, w := range tt.want {
				if !strings.Contains(rep.Findings[i].Message, w) {
					t.Errorf("finding %d is %q, want %q in it", i, rep.Findings[i].Message, w)
				}
			}
			a, err := b.rt.Agent(t.Context(), v, guest(t, tt.module), o)
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("Agent: %v", err)
			}
			if err == nil {
				_ = a.Close(t.Context())
			}
		})
	}
}

// TestSharedModule holds that a module that one agent may run is not open to another.
func TestSharedModule(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	b.agent(t, guest(t, "ungranted"), wasm.Options{}, "send_message")
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "ungranted"), wasm.Options{}); codeOf(err) != "wasm_refused" {
		t.Errorf("Agent of a module that is compiled for another: %v, want wasm_refused", err)
	}
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	whole := guest(t, "counter")
	v := version()
	for n := range len(whole) {
		a, err := b.rt.Agent(t.Context(), v, whole[:n], wasm.Options{})
		if err == nil {
			_ = a.Close(t.Context()) // what is left can be a module: custom sections come last
			continue
		}
		if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Kind == caxton.Internal {
			t.Fatalf("%d bytes of %d: %v", n, len(whole), err)
		}
	}
	for i := range whole {
		flipped := slices.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		a, err := b.rt.Agent(t.Context(), v, flipped, wasm.Options{Limits: wasm.Limits{Fuel: 1000}})
		if err == nil {
			_, _ = a.Handle(t.Context(), message("m1", "hi"))
			_ = a.Close(t.Context())
		} else if caxton.KindOf(err) == caxton.Internal {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	for name, want := range map[string]string{"capable": "[sums text.reading]", "echo": "[]", "command": "[]"} {
		got, err := b.agent(t, guest(t, name), wasm.Options{}).Capabilities(t.Context())
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: Capabilities = %v, %v, want %s", name, got, err, want)
		}
	}
}

// TestDocument holds that docs/wasm.md names every function that can be imported.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "wasm.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range wasm.HostNames() {
		if strings.HasPrefix(name, "log_") {
			continue // "the logs"
		}
		if !bytes.Contains(text, []byte("`"+name)) {
			t.Errorf("docs/wasm.md does not tell of %s", name)
		}
	}
}

func FuzzOutput(f *testing.F) {
	for _, s := range []string{`"a"`, `{"content":1}`, `[1,{"content":{},"receiver":"b"}]`, "{\"content\":1}\n2\n", "[[]]", "\xff", `{"content":1,"x":2}`, `{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := wasm.ParseOutput(data, 10)
		if e, ok := errors.AsType[*caxton.Error](err); err != nil && (!ok || e.Code != "wasm_bad_output" && e.Code != "wasm_too_many_outputs") {
			t.Errorf("ParseOutput(%q): %v", data, err)
		}
	})
}
