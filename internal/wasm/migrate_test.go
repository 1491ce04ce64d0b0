package wasm_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

// tally returns the agent of a version, with what its parameter "migrate" says.
func (b *bench) tally(t *testing.T, module string, number int, how string, o wasm.Options) *wasm.Agent {
	t.Helper()
	v := version("send_message")
	v.Number, v.Definition.Parameters = number, map[string]any{"migrate": how}
	a, err := b.rt.Agent(t.Context(), v, guest(t, module), o)
	if err != nil {
		t.Fatalf("Agent: %v", err)
	}
	return a
}

// TestMigrateState: a version that brings the state over has its own from then on; the one
// before goes on with what it had.
func TestMigrateState(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	one := b.tally(t, "tally1", 1, "", wasm.Options{})
	for _, w := range []string{"a", "b", "a"} {
		_ = say(t, one, "m1"+w+b.state.all(1), w)
	}
	migrate := func(a *wasm.Agent, from, to int) {
		t.Helper()
		if err := a.MigrateState(t.Context(), from, to); err != nil {
			t.Errorf("MigrateState(%d, %d): %v", from, to, err)
		}
	}
	want := func(version int, want string) {
		t.Helper()
		if got := b.state.all(version); got != want {
			t.Errorf("version %d keeps %q, want %q", version, got, want)
		}
	}
	want(1, "n:a=2 n:b=1")
	two := b.tally(t, "tally2", 2, "", wasm.Options{})
	migrate(two, 1, 2)
	want(1, "n:a=2 n:b=1")
	want(2, "c:a=-2 c:b=-1")
	if got := say(t, one, "m2", "a"); got != "3" {
		t.Errorf("version 1 goes on with %s", got)
	}
	migrate(two, 1, 2) // again, before it has had a message
	want(2, "c:a=-3 c:b=-1")
	if got := say(t, two, "m3", "a"); got != "-4" {
		t.Errorf("version 2 goes on with %s", got)
	}
	want(1, "n:a=3 n:b=1")

	three := b.tally(t, "tally2", 3, "", wasm.Options{}) // it has nothing to change
	migrate(three, 2, 3)
	if got := say(t, three, "m4", "b"); got != "-2" {
		t.Errorf("version 3 goes on with %s", got)
	}
	want(2, "c:a=-4 c:b=-2")

	four := b.tally(t, "tally1", 4, "", wasm.Options{}) // it does not know of migrations
	migrate(four, 3, 4)
	want(4, "c:a=-4 c:b=-2")
	migrate(four, 1, 4) // it was in force: it goes on with what it had
	want(4, "c:a=-4 c:b=-2")
	if !strings.Contains(b.logged(), "state brought over") {
		t.Error("the log does not tell of it")
	}
}

// TestWhatATurnSaw: the worker is told the time after the last call, and a hash of what was
// read of the state; the values too where there is a shadow.
func TestWhatATurnSaw(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	one := b.tally(t, "tally1", 1, "", wasm.Options{})
	turn := func(id, word string, shadowed bool) caxton.ModuleTurn {
		t.Helper()
		m := message(id, word)
		m.Module = &caxton.ModuleTurn{}
		if shadowed {
			m.Agent.Rollout = &caxton.Rollout{Strategy: caxton.RolloutShadow, State: caxton.RolloutRunning, From: 1, To: 2, Stage: 1, Stages: []caxton.RolloutStage{{Percent: 100}}}
		}
		if _, err := one.Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		return *m.Module
	}
	first, second, third := turn("m1", "a", false), turn("m2", "a", false), turn("m3", "b", false)
	if first.State == "" || first.State == second.State || first.State == third.State || first.Reads != nil {
		t.Errorf("seen: %+v, %+v, %+v, want another hash each time", first, second, third)
	}
	if got := turn("m4", "c", true); len(got.Reads) != 1 || got.Reads[0].Key != "n:c" || got.Reads[0].Found {
		t.Errorf("seen for a shadow: %+v", got)
	}
	if got := turn("m5", "c", true); len(got.Reads) != 1 || string(got.Reads[0].Value) != "1" {
		t.Errorf("seen for a shadow: %+v", got)
	}
}

// TestMigrationsThatFail: whatever a module does while it brings state over, nothing of it
// stays, and the error says what it was.
func TestMigrationsThatFail(t *testing.T) {
	t.Parallel()
	tests := []struct {
		how  string
		full error
		code string
		says string
	}{
		{how: "loop", code: "wasm_fuel_exhausted", says: "fuel"},
		{how: "trap", code: "wasm_trap", says: "unreachable"},
		{how: "refuse", code: "wasm_migration", says: "migrate_state(1, 2) of the module returned 12; it logged: I do not know that"},
		{how: "big", code: "wasm_state_too_large", says: "16MiB"},
		{how: "", full: caxton.Errorf(caxton.Invalid, "state_full", "too many values"), code: "state_full", says: "too many"},
	}
	for _, tt := range tests {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, wasm.Config{})
			one := b.tally(t, "tally1", 1, "", wasm.Options{})
			_ = say(t, one, "m1", "a")
			b.state.full = tt.full
			two := b.tally(t, "tally2", 2, tt.how, wasm.Options{Limits: wasm.Limits{Fuel: 100_000}})
			err := two.MigrateState(t.Context(), 1, 2)
			if codeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("MigrateState: %v, want %s with %q", err, tt.code, tt.says)
			}
			for v := range 2 {
				if got := b.state.all(v + 1); got != "n:a=1" {
					t.Errorf("version %d keeps %q", v+1, got)
				}
			}
			if two.Idle() != 0 {
				t.Error("the instance was kept")
			}
		})
	}
	t.Run("messages are not sent", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, wasm.Config{})
		_ = say(t, b.tally(t, "tally1", 1, "", wasm.Options{}), "m1", "a")
		if err := b.tally(t, "tally2", 2, "message", wasm.Options{}).MigrateState(t.Context(), 1, 2); err != nil {
			t.Error(err)
		}
		if len(b.calls.made) != 0 {
			t.Errorf("it sent %v", b.calls.made)
		}
	})
	t.Run("turns wait to commit", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, wasm.Config{})
		one := b.tally(t, "tally1", 1, "", wasm.Options{})
		_ = say(t, one, "m1", "a")
		answered := make(chan string, 1)
		b.state.listed = sync.OnceFunc(func() {
			go func() { answered <- say(t, one, "m2", "a") }() // its end is waited for below
			select {
			case <-answered:
				t.Error("a turn committed while the state was brought over")
			case <-time.After(100 * time.Millisecond):
			}
		})
		if err := b.tally(t, "tally2", 2, "", wasm.Options{}).MigrateState(t.Context(), 1, 2); err != nil {
			t.Error(err)
		}
		if got := <-answered; got != "2" || b.state.all(1) != "n:a=2" || b.state.all(2) != "c:a=-1" {
			t.Errorf("answer %s, states %q and %q", got, b.state.all(1), b.state.all(2))
		}
	})
	t.Run("who waits to commit has the only slot", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, wasm.Config{MaxConcurrent: 1})
		o := wasm.Options{Limits: wasm.Limits{Time: time.Second}}
		one := b.tally(t, "dozer", 1, "", o)
		answered := make(chan string, 1)
		b.state.listed = sync.OnceFunc(func() {
			go func() { answered <- say(t, one, "m1", "a") }() // its end is waited for below
		})
		if err := b.tally(t, "dozer", 2, "", o).MigrateState(t.Context(), 1, 2); err != nil {
			t.Error(err)
		}
		if got := <-answered; got != "1" || b.state.all(1) != "k=1" || b.state.all(2) != "k=2" {
			t.Errorf("answer %s, states %q and %q", got, b.state.all(1), b.state.all(2))
		}
	})
	t.Run("a closed version", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, wasm.Config{})
		two := b.tally(t, "tally2", 2, "", wasm.Options{})
		if err := two.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := two.MigrateState(t.Context(), 1, 2); codeOf(err) != "wasm_closed" {
			t.Errorf("MigrateState: %v", err)
		}
	})
}
