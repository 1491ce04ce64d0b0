package wasm_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

// rehearsed are the calls of a shadow in a test.
type rehearsed struct{ *fakeCalls }

func (r rehearsed) Made() []caxton.ToolCallRef {
	var made []caxton.ToolCallRef
	for _, m := range r.made {
		tool, args, _ := strings.Cut(m, " ")
		made = append(made, caxton.ToolCallRef{Tool: tool, Arguments: []byte(args)})
	}
	return made
}

// shadowBench is a bench whose shadows have calls of their own.
func shadowBench(t *testing.T, cfg wasm.Config) (*bench, *fakeCalls) {
	t.Helper()
	own := &fakeCalls{isErr: "the call is not carried out"}
	cfg.Rehearse = func(context.Context, caxton.Turn, []caxton.Record) (wasm.Rehearsed, error) {
		return rehearsed{own}, nil
	}
	return newBench(t, cfg), own
}

// shadowing is a turn of an agent whose version 2 is a shadow.
func shadowing(id, text string) caxton.Turn {
	m := message(id, text)
	m.Module = &caxton.ModuleTurn{}
	m.Agent.Rollout = &caxton.Rollout{Strategy: caxton.RolloutShadow, State: caxton.RolloutRunning, From: 1, To: 2, Stage: 1, Stages: []caxton.RolloutStage{{Percent: 100}}}
	return m
}

// both has a turn handled by one version and rehearsed by another.
func both(t *testing.T, live, shadow *wasm.Agent, turn caxton.Turn) (string, string) {
	t.Helper()
	out, err := live.Handle(t.Context(), turn)
	if err != nil || len(out) != 1 {
		t.Fatalf("Handle: %v, %v", out, err)
	}
	turn.Agent.Version = 1
	st, err := shadow.Shadow(t.Context(), turn, nil)
	if err != nil || len(st.Outputs) != 1 {
		t.Fatalf("Shadow: %+v, %v", st, err)
	}
	return string(out[0].Content), string(st.Outputs[0].Content)
}

// TestShadow: a shadow finds the state as the turn that counts found it, and leaves nothing.
func TestShadow(t *testing.T) {
	t.Parallel()
	b, _ := shadowBench(t, wasm.Config{})
	one := b.tally(t, "tally1", 1, "", wasm.Options{})
	same, other := b.tally(t, "tally1", 2, "", wasm.Options{}), b.tally(t, "tally2", 2, "", wasm.Options{})
	for i, want := range []string{"1", "2", "3"} {
		live, shadow := both(t, one, same, shadowing("m1"+want, "a"))
		if live != want || shadow != want {
			t.Errorf("message %d: the answers are %s and %s, want %s", i, live, shadow, want)
		}
		live, shadow = both(t, one, other, shadowing("m2"+want, "b"))
		if live != want || shadow != "-"+want {
			t.Errorf("message %d: the answers are %s and %s, want %s and -%s: it brings the state over for itself", i, live, shadow, want, want)
		}
	}
	if got := b.state.all(1); got != "n:a=3 n:b=3" || b.state.commits != 6 || len(b.state.lines) != 0 {
		t.Errorf("the state is %q after %d commits", got, b.state.commits)
	}
	if len(b.runs) != 6 {
		t.Errorf("%d turns were counted, want 6", len(b.runs))
	}
	if strings.Contains(b.logged(), "brought over") {
		t.Error("the log tells of the shadow")
	}
	stuck := b.tally(t, "tally2", 2, "refuse", wasm.Options{})
	if _, err := stuck.Shadow(t.Context(), shadowing("m3", "a"), nil); codeOf(err) != "wasm_migration" {
		t.Errorf("a shadow that cannot bring the state over: %v", err)
	}
}

// TestShadowHasItsOwnInstance: nothing of a shadow is in the instances that answer.
func TestShadowHasItsOwnInstance(t *testing.T) {
	t.Parallel()
	b, _ := shadowBench(t, wasm.Config{})
	one, two := b.tally(t, "counter", 1, "", wasm.Options{}), b.tally(t, "counter", 2, "", wasm.Options{})
	for i, want := range []string{"1", "3", "5"} {
		if live, shadow := both(t, one, two, shadowing("m1"+want, "a")); live != want || shadow != "1" {
			t.Errorf("message %d: the answers are %s and %s, want %s and 1", i, live, shadow, want)
		}
		if _, shadow := both(t, one, one, shadowing("m2"+want, "a")); shadow != "1" {
			t.Errorf("a shadow of the same version answers %s", shadow)
		}

	}
	if one.Idle() != 1 || two.Idle() != 0 {
		t.Errorf("%d and %d instances are kept, want 1 and 0", one.Idle(), two.Idle())
	}
}

// TestShadowDoesNothing: no tool, no message, no timer, no file, no line in the log.
func TestShadowDoesNothing(t *testing.T) {
	t.Parallel()
	timers := &fakeTimers{set: map[int32]time.Duration{}}
	b, own := shadowBench(t, wasm.Config{Timers: timers})
	dir := t.TempDir()
	for _, tt := range []struct {
		module, text string
		calls        int
	}{{"caller", "hi", 1}, {"setter", "hi", 0}, {"logstorm", "hi", 0}, {"opener", "+new", 0}} {
		v := version("send_message", "clock")
		v.Number = 2
		o := wasm.Options{Grants: wasm.AllGrants()}
		if tt.module == "opener" {
			o.Dirs = []wasm.Dir{{Guest: "/data", Host: dir, Write: true}}
		}
		a, err := b.rt.Agent(t.Context(), v, guest(t, tt.module), o)
		if err != nil {
			t.Fatal(err)
		}
		own.made = nil
		st, err := a.Shadow(t.Context(), shadowing("m1", tt.text), nil)
		if tt.calls == 0 && err != nil || len(st.Calls) != tt.calls {
			t.Errorf("%s: Shadow = %+v, %v, want %d calls", tt.module, st, err, tt.calls)
		}
	}
	if len(timers.set) != 0 || len(b.calls.made) != 0 || len(b.state.values) != 0 || strings.Contains(b.logged(), "module logged") {
		t.Errorf("it set %v, called %v, stored %v and logged %q", timers.set, b.calls.made, b.state.values, b.logged())
	}
	if files, err := os.ReadDir(filepath.Clean(dir)); err != nil || len(files) != 0 {
		t.Errorf("it wrote %v, %v", files, err)
	}
}
