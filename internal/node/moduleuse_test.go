package node_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
)

// metric returns the value of a series.
func metric(t *testing.T, metrics, series string) float64 {
	t.Helper()
	for line := range strings.Lines(metrics) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Errorf("the metrics lack %s", series)
	return math.NaN()
}

// TestModuleUse holds that the metrics of a module, what the API says of its agent, and its turns
// one by one, are the same figures.
func TestModuleUse(t *testing.T) {
	c, info, _ := run(t, t.TempDir(), "wasm.max_instances", "1")
	for name, module := range map[string]string{"Napper": "napper", "Trap": "trap", "Storm": "linestorm"} {
		if _, err := c.Deploy(t.Context(), api.Deploy{Text: []byte("---\nname: " + name + "\ntype: wasm\n---\n"), Module: guestModule(t, module)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		said(t, c, "napper", "hi")
		said(t, c, "trap", "hi")
	}
	if _, err := c.Send(t.Context(), api.Message{Receiver: "storm", Text: "hi"}, time.Second); err != nil {
		t.Fatal(err)
	}
	metrics := get(t, "http://"+info.MetricsAddr+"/metrics")
	for _, tt := range []struct {
		agent                string
		turns, errors, traps int64
		calls                int64
	}{{"napper", 3, 0, 0, 9}, {"trap", 3, 3, 3, 0}, {"storm", 1, 0, 0, 0}} {
		a, err := c.Agent(t.Context(), tt.agent)
		if err != nil {
			t.Fatal(err)
		}
		u := a.Module.Use
		if u.Turns != tt.turns || u.Errors != tt.errors || u.Traps != tt.traps || u.HostCalls != tt.calls || int64(len(u.Last)) != tt.turns {
			t.Errorf("%s: %+v, want %d turns, %d errors, %d traps, %d calls", tt.agent, u, tt.turns, tt.errors, tt.traps, tt.calls)
		}
		var fuel, memory int64
		var ms float64
		var dropped, lost int
		for _, x := range u.Last {
			fuel += x.Fuel
			ms += x.Millis
			memory = max(memory, x.MemoryBytes)
			dropped += x.LogDropped
			lost += x.LogLost
			if (x.Trap != "") != (tt.traps > 0) || (x.Code != "") != (tt.errors > 0) {
				t.Errorf("%s: a turn ended with %q, %q", tt.agent, x.Code, x.Trap)
			}
		}
		if u.Fuel < fuel || u.Fuel == 0 || math.Abs(u.Millis-ms) > 0.01 || u.MemoryHighWater != memory || memory != 64<<10 {
			t.Errorf("%s: in all fuel %d, %v ms, memory %d; its turns took %d, %v, %d", tt.agent, u.Fuel, u.Millis, u.MemoryHighWater, fuel, ms, memory)
		}
		label := `{agent="` + tt.agent + `"}`
		for series, want := range map[string]float64{
			`caxton_wasm_executions_total{agent="` + tt.agent + `",status="ok"}`:    float64(u.Turns - u.Errors),
			`caxton_wasm_executions_total{agent="` + tt.agent + `",status="error"}`: float64(u.Errors),
			"caxton_wasm_fuel_total" + label:                                        float64(u.Fuel),
			"caxton_wasm_traps_total" + label:                                       float64(u.Traps),
			"caxton_wasm_host_calls_total" + label:                                  float64(u.HostCalls),
			"caxton_wasm_memory_high_water_bytes" + label:                           float64(u.MemoryHighWater),
			"caxton_wasm_log_dropped_bytes_total" + label:                           float64(dropped),
			"caxton_wasm_log_dropped_lines_total" + label:                           float64(lost),
		} {
			if got := metric(t, metrics, series); got != want {
				t.Errorf("%s is %v, want %v", series, got, want)
			}
		}
		if got := metric(t, metrics, "caxton_wasm_execution_seconds_total"+label); math.Abs(got-u.Millis/1000) > 1e-4 {
			t.Errorf("%s: the metrics have %v seconds, the API %v ms", tt.agent, got, u.Millis)
		}
		if tt.agent == "storm" && (lost < 1000 || lost >= 2000) {
			t.Errorf("%d lines of 2000 were dropped, want those beyond 64 KiB", lost)
		}
	}
}
