package wasm_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/telemetry"
	"github.com/caxton/caxton/internal/wasm"
)

// TestTrace: a run has a span, and so have the host calls that do something, up to a hundred; the
// cheap ones have none, and none tells what the guest said.
func TestTrace(t *testing.T) {
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
	if err != nil {
		t.Fatal(err)
	}
	a := newBench(t, wasm.Config{}).agent(t, guest(t, "busy"), wasm.Options{}, "calculator")
	for i, id := range []string{"m1", "m2"} {
		cold := i == 0
		ctx, turn := tracer.Start(t.Context(), telemetry.Handling, "turn", "", "")
		if _, err := a.Handle(ctx, message(id, "secret")); err != nil {
			t.Fatal(err)
		}
		turn.End(nil)
		spans, err := tracer.Trace(telemetry.TraceID(ctx))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range spans {
			name := s.Name
			if s.Error != "" {
				name += " " + s.Error
			}
			names = append(names, name)
			for k, v := range s.Attributes {
				if text, ok := v.(string); ok && strings.Contains(text, "secret") {
					t.Errorf("%s of %s tells %q", k, s.Name, text)
				}
			}
		}
		want := append([]string{
			"turn", "caxton.wasm.run reactor", "caxton.host load_data", "caxton.host store_data", "caxton.host call_tool", "caxton.host call_tool wasm_host_call",
		}, slices.Repeat([]string{"caxton.host load_data"}, 96)...)
		if !slices.Equal(names, want) {
			t.Errorf("spans: %q, want %q", names, want)
		}
		run := spans[1]
		for _, s := range spans[2:] {
			if s.Parent != run.ID {
				t.Errorf("%s is no part of the run", s.Name)
			}
		}
		if run.Attributes["caxton.wasm.cold"] != cold || run.Attributes["caxton.wasm.host_calls_untold"] != int64(54) || run.Attributes["caxton.wasm.tool_calls"] != int64(1) ||
			run.Attributes["caxton.wasm.fuel"].(int64) < 1 || run.Attributes["caxton.wasm.memory_bytes"] != int64(65536) {
			t.Errorf("the run has %v, want cold %v", run.Attributes, cold)
		}
	}
}

// TestTraceOfAFault: a guest that traps ends its span with the code of the fault.
func TestTraceOfAFault(t *testing.T) {
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
	if err != nil {
		t.Fatal(err)
	}
	a := newBench(t, wasm.Config{}).agent(t, guest(t, "divide"), wasm.Options{})
	ctx, turn := tracer.Start(t.Context(), telemetry.Handling, "turn", "", "")
	_, err = a.Handle(ctx, message("m1", "x"))
	turn.End(err)
	spans, terr := tracer.Trace(telemetry.TraceID(ctx))
	if terr != nil || len(spans) != 2 || codeOf(err) == "" || spans[1].Error != codeOf(err) {
		t.Errorf("spans %+v, %v, want one that ended with %v", spans, terr, err)
	}
}
