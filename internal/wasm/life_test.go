package wasm_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

// TestIdle holds that an idle instance is released when its time is over, that it takes leave,
// and that the next message wakes the agent.
func TestIdle(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	b := newBench(t, wasm.Config{Now: clock})
	a := b.agent(t, guest(t, "counter"), wasm.Options{Limits: wasm.Limits{Idle: time.Minute}})
	for want := 1; want <= 3; want++ {
		if got := say(t, a, fmt.Sprint("m", want), "hi"); got != fmt.Sprint(want) {
			t.Errorf("message %d is answered with %s: the instance was not used again", want, got)
		}
	}
	later := func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	later(59 * time.Second)
	b.rt.Sweep(t.Context())
	if a.Idle() != 1 || strings.Contains(b.logged(), "bye") {
		t.Fatalf("%d instances are idle before the time, want 1", a.Idle())
	}
	if n, size := b.rt.Ready(); n != 1 || size != 64*caxton.KiB {
		t.Errorf("Ready = %d, %v, want one of 64KiB", n, size)
	}
	later(time.Second)
	b.rt.Sweep(t.Context())
	if n, size := b.rt.Ready(); n != 0 || size != 0 {
		t.Errorf("Ready = %d, %v after the time", n, size)
	}
	if a.Idle() != 0 || !strings.Contains(b.logged(), "bye") {
		t.Fatalf("%d instances are idle after the time, want 0; agent_shutdown logged %v", a.Idle(), strings.Contains(b.logged(), "bye"))
	}
	if got := say(t, a, "m4", "hi"); got != "1" {
		t.Errorf("the woken agent answers %s, want 1: it is a new instance", got)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.rt.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestTrappedInstance holds that an instance is never used again after a trap, and one that
// only said that it failed is.
func TestTrappedInstance(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	for name, want := range map[string]int{"trap": 0, "failing": 1, "badjson": 0} {
		a := b.agent(t, guest(t, name), wasm.Options{})
		if err := a.Warm(t.Context()); err != nil || a.Idle() != 1 {
			t.Fatalf("Warm: %v, %d instances", err, a.Idle())
		}
		if _, err := a.Handle(t.Context(), message("m1", "hi")); err == nil {
			t.Fatalf("%s: Handle did not fail", name)
		}
		if a.Idle() != want {
			t.Errorf("%s: %d instances are kept, want %d", name, a.Idle(), want)
		}
	}
}

// TestMany runs good and hostile agents side by side.
func TestMany(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxConcurrent: 4})
	good := b.agent(t, guest(t, "echo"), wasm.Options{})
	bad := []*wasm.Agent{
		b.agent(t, guest(t, "loop"), wasm.Options{Limits: wasm.Limits{Fuel: 2000}}),
		b.agent(t, guest(t, "bomb"), wasm.Options{}),
		b.agent(t, guest(t, "trap"), wasm.Options{}),
		b.agent(t, guest(t, "gush"), wasm.Options{}),
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				text := fmt.Sprintf("%d-%d", i, j)
				out, err := good.Handle(t.Context(), message(text, text))
				if err != nil || len(out) != 1 || string(out[0].Content) != `"`+text+`"` {
					t.Errorf("Handle(%s) = %+v, %v", text, out, err)
				}
			}
		})
		wg.Go(func() {
			for j := range 5 {
				if _, err := bad[i%len(bad)].Handle(t.Context(), message(fmt.Sprint("bad", i, j), "hi")); err == nil {
					t.Errorf("hostile agent %d was not stopped", i%len(bad))
				}
			}
		})
	}
	wg.Wait()
	if n := good.Idle(); n < 1 || n > 4 {
		t.Errorf("%d instances are kept, want 1 to 4", n)
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxConcurrent: 1})
	slow := b.agent(t, guest(t, "loop"), wasm.Options{Limits: wasm.Limits{Fuel: 1_000_000_000, Time: 30 * time.Second}})
	quick := b.agent(t, guest(t, "echo"), wasm.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := slow.Handle(ctx, message("m1", "hi")); codeOf(err) != "wasm_canceled" {
			t.Errorf("the turn that is called off ends with %v, want wasm_canceled", err)
		}
	})
	attempt := func() error {
		within, done := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer done()
		_, err := quick.Handle(within, message("m2", "hi"))
		return err
	}
	var err error
	for i := 0; err == nil && i < 100_000; i++ { // until the slow one has the slot
		err = attempt()
	}
	if codeOf(err) != "wasm_busy" || caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("Handle while another runs: %v, want wasm_busy", err)
	}
	cancel()
	wg.Wait()
	if got := say(t, quick, "m3", "hi"); got != `"hi"` {
		t.Errorf("the answer is %s", got)
	}
}

// TestWaitingLeavesRoom holds that a module which waits for a tool does not keep others from
// running: what it waits for may be one of them.
func TestWaitingLeavesRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxConcurrent: 1})
	asking := b.agent(t, guest(t, "caller"), wasm.Options{}, "calculator")
	quick := b.agent(t, guest(t, "echo"), wasm.Options{})
	entered, answered := make(chan struct{}), make(chan struct{})
	b.calls.wait = func(context.Context) error {
		close(entered)
		<-answered
		return caxton.Errorf(caxton.Unavailable, "waiting", "it waits")
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := asking.Handle(t.Context(), message("m1", "hi")); codeOf(err) != "waiting" {
			t.Errorf("Handle: %v", err)
		}
	})
	<-entered
	if got := say(t, quick, "m2", "hi"); got != `"hi"` {
		t.Errorf("the answer is %s", got)
	}
	close(answered)
	wg.Wait()
}

// TestLongTurns holds that guests which work for long take turns, and that one which waits
// for a tool stands in nobody's way: what it waits for may be such a guest too.
func TestLongTurns(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxLong: 1})
	outer := b.agent(t, guest(t, "worker"), wasm.Options{}, "calculator")
	inner := b.agent(t, guest(t, "worker"), wasm.Options{}, "calculator")
	var waiting atomic.Bool
	b.calls.wait = func(ctx context.Context) error {
		if waiting.Swap(true) {
			return nil // one of the others
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if out, err := inner.Handle(ctx, message(fmt.Sprintf("m2-%d", i), "hi")); err != nil || len(out) != 1 {
					t.Errorf("Handle = %+v, %v", out, err)
				}
			})
		}
		wg.Wait()
		return nil
	}
	if got := say(t, outer, "m1", "hi"); got != `"done"` {
		t.Errorf("the answer is %s", got)
	}
	stopped := b.agent(t, guest(t, "loop"), wasm.Options{Limits: wasm.Limits{Time: 20 * time.Millisecond, Fuel: 1 << 40}})
	for i := range 3 { // each gives back its place
		if _, err := stopped.Handle(t.Context(), message(fmt.Sprintf("m3-%d", i), "hi")); codeOf(err) != "wasm_deadline" {
			t.Errorf("Handle: %v", err)
		}
	}
	if got := say(t, outer, "m4", "hi"); got != `"done"` {
		t.Errorf("afterwards the answer is %s", got)
	}
}

// TestLoadingLeavesALane holds that a guest which has worked for longer lets others do so while it
// waits for its state.
func TestLoadingLeavesALane(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxLong: 1})
	other := b.agent(t, guest(t, "worker"), wasm.Options{}, "calculator")
	b.state.loading = func() {
		if out, err := other.Handle(t.Context(), message("m2", "hi")); err != nil || len(out) != 1 {
			t.Errorf("Handle while another loads = %+v, %v", out, err)
		}
	}
	if got := say(t, b.agent(t, guest(t, "loader"), wasm.Options{}), "m1", "hi"); got != `"done"` {
		t.Errorf("the answer is %s", got)
	}
}

// TestSleepingLeavesRoom holds that a module which sleeps does not keep others from running.
func TestSleepingLeavesRoom(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sleeper", "wasisleeper"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, wasm.Config{MaxConcurrent: 1})
			asleep := b.agent(t, guest(t, name), wasm.Options{Limits: wasm.Limits{Time: 30 * time.Second}})
			quick := b.agent(t, guest(t, "echo"), wasm.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := asleep.Handle(ctx, message("m1", "hi")); codeOf(err) != "wasm_canceled" {
					t.Errorf("the sleeping turn ends with %v, want wasm_canceled", err)
				}
			})
			await(t, "the sleep", func() bool { return strings.Contains(b.logged(), "asleep") })
			within, done := context.WithTimeout(t.Context(), 10*time.Second)
			defer done()
			if out, err := quick.Handle(within, message("m2", "hi")); err != nil || len(out) != 1 {
				t.Errorf("Handle while another sleeps = %+v, %v", out, err)
			}
			cancel()
			wg.Wait()
			if got := say(t, quick, "m3", "hi"); got != `"hi"` { // the place is given back once, not twice
				t.Errorf("the answer is %s", got)
			}
		})
	}
}

// TestWakingWaits holds that a module which has slept goes on when it may run again, and ends
// when its time is over before that.
func TestWakingWaits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		time       time.Duration
	}{
		{"in time", "", 30 * time.Second},
		{"too late", "wasm_deadline", 700 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, wasm.Config{MaxConcurrent: 1})
			napper := b.agent(t, guest(t, "napper"), wasm.Options{Limits: wasm.Limits{Time: tt.time}})
			busy := b.agent(t, guest(t, "loop"), wasm.Options{Limits: wasm.Limits{Fuel: 1_000_000_000, Time: 30 * time.Second}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := napper.Handle(t.Context(), message("m1", "hi")); codeOf(err) != tt.want {
					t.Errorf("Handle: %v, want %q", err, tt.want)
				}
				cancel()
			})
			await(t, "the nap", func() bool { return strings.Contains(b.logged(), "asleep") })
			wg.Go(func() {
				if _, err := busy.Handle(ctx, message("m2", "hi")); codeOf(err) != "wasm_canceled" && codeOf(err) != "wasm_busy" {
					t.Errorf("the busy turn ends with %v, want wasm_canceled", err)
				}
			})
			if tt.want == "" {
				cancel()
			}
			wg.Wait()
			if got := say(t, b.agent(t, guest(t, "echo"), wasm.Options{}), "m3", "hi"); got != `"hi"` {
				t.Errorf("the answer is %s", got)
			}
		})
	}
}

// TestAnswerTooLate holds that a turn which comes back from a tool when its time is over, and
// others run, ends, and that all places are there afterwards.
func TestAnswerTooLate(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxConcurrent: 1})
	asking := b.agent(t, guest(t, "caller"), wasm.Options{Limits: wasm.Limits{Time: 50 * time.Millisecond}}, "calculator")
	busy := b.agent(t, guest(t, "loop"), wasm.Options{Limits: wasm.Limits{Fuel: 1_000_000_000, Time: 30 * time.Second}})
	quick := b.agent(t, guest(t, "echo"), wasm.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	b.calls.wait = func(within context.Context) error {
		wg.Go(func() {
			if _, err := busy.Handle(ctx, message("m2", "hi")); codeOf(err) != "wasm_canceled" {
				t.Errorf("the busy turn ends with %v, want wasm_canceled", err)
			}
		})
		for taken := false; !taken; { // until the busy one has the place
			attempt, done := context.WithTimeout(t.Context(), 5*time.Millisecond)
			_, err := quick.Handle(attempt, message("m3", "hi"))
			done()
			taken = codeOf(err) == "wasm_busy"
		}
		<-within.Done()
		return nil
	}
	if _, err := asking.Handle(t.Context(), message("m1", "hi")); codeOf(err) != "wasm_deadline" {
		t.Errorf("Handle: %v, want wasm_deadline", err)
	}
	cancel()
	wg.Wait()
	if got := say(t, quick, "m4", "hi"); got != `"hi"` {
		t.Errorf("the answer is %s", got)
	}
}

// TestIdleMemory holds that instances over the server's limit are not kept.
func TestIdleMemory(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{IdleMemory: 130 << 10}) // two of 64 KiB
	for i, want := range []int{1, 1, 0} {
		a := b.agent(t, guest(t, "echo"), wasm.Options{})
		say(t, a, "m1", "hi")
		if a.Idle() != want {
			t.Errorf("agent %d keeps %d instances, want %d", i, a.Idle(), want)
		}
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxAgents: 1})
	a := b.agent(t, guest(t, "echo"), wasm.Options{})
	say(t, a, "m1", "hi")
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "trap"), wasm.Options{}); codeOf(err) != "wasm_too_many_agents" {
		t.Errorf("a second agent: %v, want wasm_too_many_agents", err)
	}
	for range 2 {
		if err := a.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := a.Handle(t.Context(), message("m2", "hi")); codeOf(err) != "wasm_closed" {
		t.Errorf("Handle after Close: %v, want wasm_closed", err)
	}
	b.agent(t, guest(t, "trap"), wasm.Options{})
	if err := b.rt.Close(t.Context()); err != nil {
		t.Errorf("Close of the runtime: %v", err)
	}
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "echo"), wasm.Options{}); codeOf(err) != "draining" {
		t.Errorf("Agent after Close: %v, want draining", err)
	}
}

// A barrier holds every record of a log that says bye, until as many have come as are wanted.
type barrier struct {
	slog.Handler
	wanted int
	mu     sync.Mutex
	came   int
	all    chan struct{}
}

func (b *barrier) Enabled(context.Context, slog.Level) bool { return true }
func (b *barrier) WithAttrs([]slog.Attr) slog.Handler       { return b }

func (b *barrier) Handle(ctx context.Context, r slog.Record) error {
	bye := false
	r.Attrs(func(a slog.Attr) bool { bye = bye || a.Value.String() == "bye"; return true })
	if !bye {
		return nil
	}
	b.mu.Lock()
	if b.came++; b.came == b.wanted {
		close(b.all)
	}
	b.mu.Unlock()
	select {
	case <-b.all:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// TestEndsAtOnce holds that the instances of one agent, and of all agents, take leave at the
// same time: each waits here until all of them have come.
func TestEndsAtOnce(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(rt *wasm.Runtime) error{
		"close": func(rt *wasm.Runtime) error { return rt.Close(t.Context()) },
		"sweep": func(rt *wasm.Runtime) error { rt.Sweep(t.Context()); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 5
			log := &barrier{Handler: slog.DiscardHandler, wanted: n, all: make(chan struct{})}
			rt := wasm.New(wasm.Config{Logger: slog.New(log)})
			for range n {
				a, err := rt.Agent(t.Context(), version(), guest(t, "counter"), wasm.Options{Limits: wasm.Limits{Idle: 1, Shutdown: 20 * time.Second}})
				if err == nil {
					_, err = a.Handle(t.Context(), message("m1", "hi"))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := end(rt); err != nil {
				t.Error(err)
			}
			if log.came != n {
				t.Errorf("%d instances took leave, want %d", log.came, n)
			}
			select {
			case <-log.all:
			default:
				t.Error("the instances did not take leave at the same time")
			}
			if err := rt.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCloseWhileEnding holds that a module stays until the last of its instances has taken
// leave, whoever ends it, and that a closed agent makes no more of them.
func TestCloseWhileEnding(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(rt *wasm.Runtime, a *wasm.Agent) error{
		"sweep": func(rt *wasm.Runtime, _ *wasm.Agent) error { rt.Sweep(t.Context()); return nil },
		"close": func(_ *wasm.Runtime, a *wasm.Agent) error { return a.Close(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &barrier{Handler: slog.DiscardHandler, wanted: 2, all: make(chan struct{})}
			rt := wasm.New(wasm.Config{Logger: slog.New(log)})
			a, err := rt.Agent(t.Context(), version(), guest(t, "counter"), wasm.Options{Limits: wasm.Limits{Idle: 1, Shutdown: 20 * time.Second}})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Warm(t.Context()); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := end(rt, a); err != nil {
					t.Error(err)
				}
			})
			await(t, "the end of the instance", func() bool { log.mu.Lock(); defer log.mu.Unlock(); return log.came == 1 })
			if err := a.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if n := rt.Modules(); n != 1 {
				t.Errorf("%d modules while an instance takes leave, want 1", n)
			}
			if err := a.Warm(t.Context()); codeOf(err) != "wasm_closed" {
				t.Errorf("Warm after Close: %v, want wasm_closed", err)
			}
			close(log.all)
			wg.Wait()
			if n := rt.Modules(); n != 0 {
				t.Errorf("%d modules afterwards, want 0", n)
			}
			if err := rt.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEndIsBounded holds that instances which do not come to an end take no longer together
// than one of them may, where they cannot run at the same time either.
func TestEndIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxConcurrent: 1})
	const n, each = 20, 300 * time.Millisecond
	for i := range n {
		a := b.agent(t, guest(t, "lingerer"), wasm.Options{Limits: wasm.Limits{Fuel: 1_000_000_000, Shutdown: each}})
		say(t, a, fmt.Sprint("m", i), "hi")
	}
	start := time.Now()
	if err := b.rt.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > n*each/2 {
		t.Errorf("%d instances took %v to end, and have %v each", n, took, each)
	}
	if !strings.Contains(b.logged(), "module not shut down") {
		t.Errorf("the log does not say that instances were not shut down:\n%s", b.logged())
	}
}

// TestCeilings holds that an agent cannot ask for more than the server allows.
func TestCeilings(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{Ceilings: wasm.Limits{Memory: caxton.MiB, Fuel: 500}})
	a := b.agent(t, guest(t, "loop"), wasm.Options{Limits: wasm.Limits{Memory: caxton.GiB, Fuel: 1 << 60, HostCalls: 7}})
	if l := a.Limits(); l.Memory != caxton.MiB || l.Fuel != 500 || l.HostCalls != 7 || l.Time != 5*time.Second {
		t.Errorf("Limits = %+v", l)
	}
	_, err := a.Handle(t.Context(), message("m1", "hi"))
	if codeOf(err) != "wasm_fuel_exhausted" || b.last().Fuel < 500 || b.last().Fuel > 501 {
		t.Errorf("Handle: %v; it used %d units of 500", err, b.last().Fuel)
	}
}

func TestMessageTooLarge(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "echo"), wasm.Options{Limits: wasm.Limits{MessageSize: 1000}})
	_, err := a.Handle(t.Context(), message("m1", strings.Repeat("x", 1000)))
	if codeOf(err) != "wasm_message_too_large" || caxton.KindOf(err) != caxton.TooLarge {
		t.Errorf("Handle: %v", err)
	}
}

// TestLogIsBounded holds that a guest cannot fill the log.
func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "logstorm"), wasm.Options{Limits: wasm.Limits{LogSize: 10_000}})
	if _, err := a.Handle(t.Context(), message("m1", "hi")); err != nil {
		t.Fatal(err)
	}
	x := b.last()
	if x.LogBytes > 10_000 || x.LogBytes+x.LogDropped < 900_000 || x.LogLines+x.LogLost != 976 {
		t.Errorf("%d bytes were logged in %d lines, and %d in %d dropped; want 976 lines", x.LogBytes, x.LogLines, x.LogDropped, x.LogLost)
	}
}

// A hoard is a log that keeps what it is given.
type hoard struct {
	slog.Handler
	kept *[]slog.Record
}

func (h hoard) Enabled(context.Context, slog.Level) bool { return true }
func (h hoard) WithAttrs([]slog.Attr) slog.Handler       { return h }

func (h hoard) Handle(_ context.Context, r slog.Record) error {
	*h.kept = append(*h.kept, r.Clone())
	return nil
}

// TestLongLinesAreNotKept holds that of a line which is too long nothing is kept but what is
// logged, by whoever keeps the log.
func TestLongLinesAreNotKept(t *testing.T) { //nolint:paralleltest // it measures the heap
	var kept []slog.Record
	rt := wasm.New(wasm.Config{Logger: slog.New(hoard{slog.DiscardHandler, &kept})})
	a, err := rt.Agent(t.Context(), version(), guest(t, "longlines"), wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Handle(t.Context(), message("m1", "hi")); err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 32<<20 {
		t.Errorf("%d bytes are in use with %d records", m.HeapAlloc, len(kept))
	}
	lines := 0
	for i := range kept {
		kept[i].Attrs(func(a slog.Attr) bool {
			if a.Key == "text" {
				lines++
				if n := len(a.Value.String()); n != 4<<10 {
					t.Errorf("a line has %d bytes", n)
				}
			}
			return true
		})
	}
	if lines != 10 {
		t.Errorf("%d lines were logged, want 10", lines)
	}
	if err := rt.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestShortLinesAreBounded holds that lines count by what they make of the log, and not by their
// text alone: a line of one byte becomes a record of two hundred.
func TestShortLinesAreBounded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"linestorm", "emptystorm"} {
		b := newBench(t, wasm.Config{})
		a := b.agent(t, guest(t, name), wasm.Options{Limits: wasm.Limits{LogSize: 10_000}})
		if _, err := a.Handle(t.Context(), message("m1", "hi")); err != nil {
			t.Fatal(err)
		}
		x := b.last()
		lines := strings.Count(b.logged(), "module logged")
		if lines == 0 || lines > 100 || x.LogLines != lines || x.LogLines+x.LogLost != 2000 {
			t.Errorf("%s: the log has %d lines; the turn counts %d, and %d dropped of 2000", name, lines, x.LogLines, x.LogLost)
		}
		if want := fmt.Sprintf("lines=%d", x.LogLost); strings.Count(b.logged(), "log of a module cut") != 1 || !strings.Contains(b.logged(), want) {
			t.Errorf("%s: the log does not say once that %s were dropped", name, want)
		}
	}
}
