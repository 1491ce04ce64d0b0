package wasm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

// TestPluginCopies holds that a plug-in can read and write as much byte by byte as its limits
// let it have: such a look is paid for in fuel, and is no call of the server.
func TestPluginCopies(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "plugcopy"), wasm.Options{Limits: wasm.Limits{MessageSize: 2 * caxton.MiB, OutputSize: 2 * caxton.MiB, Time: 30 * time.Second}})
	text := strings.Repeat("x", 1<<20)
	if got := say(t, a, "m1", text); got != `"`+text+`"` {
		t.Errorf("the answer has %d bytes, want %d", len(got), len(text)+2)
	}
	x := b.last()
	if x.HostCalls > 10 || x.Instructions < 2*100<<20 {
		t.Errorf("it took %d host calls and %d instructions; a byte is read and written for 100 instructions each", x.HostCalls, x.Instructions)
	}
	t.Logf("%d units of fuel, %v", x.Fuel, x.Time)
}

// TestPluginReadsForEver holds that what is no call of the server ends by fuel and by time.
func TestPluginReadsForEver(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	for want, l := range map[string]wasm.Limits{
		"wasm_fuel_exhausted": {Fuel: 20_000, Time: 30 * time.Second},
		"wasm_deadline":       {Fuel: 1_000_000_000, Time: 50 * time.Millisecond},
	} {
		a := b.agent(t, guest(t, "plugload"), wasm.Options{Limits: l})
		if _, err := a.Handle(t.Context(), message("m1", "hello there")); codeOf(err) != want {
			t.Errorf("Handle: %v, want %s", err, want)
		}
	}
}
