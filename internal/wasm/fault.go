package wasm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
	"github.com/tetratelabs/wazero/sys"
)

// A stop is what the host panics with to end a guest: wazero unwinds the guest and returns it.
type stop struct{ err error }

func (s *stop) Error() string { return s.err.Error() }
func (s *stop) Unwrap() error { return s.err }

// halt ends the guest that calls a host function. It does not return.
func halt(err error) { panic(&stop{err}) }

// errDeadline is the end of a guest whose time is over, or whose turn was called off.
func errDeadline(ctx context.Context, l *Limits) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return caxton.Errorf(caxton.Canceled, "wasm_canceled", "the module was stopped: its turn was called off").WithCause(ctx.Err())
	}
	return caxton.Errorf(caxton.Timeout, "wasm_deadline", "the module did not finish in time; it has %v for one message", l.Time).
		WithHint("raise resource_limits.max_execution_time_ms of the agent, or do less").WithCause(ctx.Err())
}

func errFuel(l *Limits) error {
	return caxton.Errorf(caxton.Invalid, "wasm_fuel_exhausted", "the module used up its %d units of fuel (%d instructions each)", l.Fuel, InstructionsPerFuel).
		WithHint("raise resource_limits.max_fuel of the agent, or do less")
}

func errStack(l *Limits) error {
	return caxton.Errorf(caxton.Invalid, "wasm_stack", "the module went deeper than its stack of %v allows", l.Stack).
		WithHint("its recursion does not end, or needs more: raise wasm.stack_limit of the server")
}

func errToolCalls(l *Limits) error {
	return caxton.Errorf(caxton.Invalid, "wasm_tool_calls", "the module called tools and others more than %d times in one turn", l.ToolCalls).
		WithHint("call less often, or raise the limit of the agent")
}

func errMemory(l *Limits) *caxton.Error {
	return caxton.Errorf(caxton.Invalid, "wasm_memory", "the module ran out of memory; it has %v", l.Memory).
		WithHint("raise resource_limits.max_memory_bytes of the agent, or keep less")
}

// fault makes an *caxton.Error of how a run of a guest ended; nil when it ended well.
func (t *turn) fault(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := errors.AsType[*stop](err); ok {
		t.trap = traceOf(err)
		if e, ok := errors.AsType[*caxton.Error](s.err); ok && e.Code == "wasm_stack" && t.trap != "" {
			e.Message += ", in " + t.trap
		}
		return s.err
	}
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		if exit.ExitCode() == 0 {
			return nil
		}
		return t.exit(exit.ExitCode())
	}
	what, trace := reasonOf(err), traceOf(err)
	t.trap = strings.TrimSpace(what + " in " + trace)
	switch {
	case what == "stack overflow": // the engine's: the gauge ends a guest before
		return errStack(&t.limits)
	case t.starved(""):
		return errMemory(&t.limits).WithCause(err)
	case trace == "":
		return caxton.Errorf(caxton.Invalid, "wasm_trap", "the module broke down: %s", what).WithCause(err)
	}
	return caxton.Errorf(caxton.Invalid, "wasm_trap", "the module broke down: %s, in %s", what, trace).
		WithHint("the module's own log may say more").WithCause(err)
}

// exit is the error of a guest that ended with an exit code.
func (t *turn) exit(code uint32) error {
	last := t.lastWords()
	if t.starved(last) {
		return errMemory(&t.limits)
	}
	t.trap = fmt.Sprintf("exit code %d", code)
	e := caxton.Errorf(caxton.Invalid, "wasm_exit", "the module ended with exit code %d", code)
	if last != "" {
		e.Message += ": " + last
	}
	return e.WithHint("what it wrote to its log says more")
}

// starved reports whether a guest that broke down had no memory left: it had grown to its
// limit, or says so.
func (t *turn) starved(last string) bool {
	grown := t.memory > t.a.module.least && t.memory+pageSize > t.limits.Memory
	return grown || strings.Contains(last, "out of memory")
}

// reasonOf returns what wazero says broke, without the trace. Its errors have no other form.
func reasonOf(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\nwasm stack trace:")
	s = strings.TrimSuffix(s, " (recovered by wazero)")
	if i := strings.Index(s, "wasm error: "); i >= 0 {
		s = s[i+len("wasm error: "):]
	}
	return s
}

// traceOf returns the functions at work when a guest broke down, innermost first.
func traceOf(err error) string {
	_, trace, ok := strings.Cut(err.Error(), "\nwasm stack trace:")
	if !ok {
		return ""
	}
	var names []string
	for line := range strings.Lines(trace) {
		line = strings.TrimSpace(line)
		if name, _, ok := strings.Cut(line, "("); ok && !strings.HasPrefix(line, "0x") && !strings.Contains(line, meter.HookModule) {
			names = append(names, strings.TrimPrefix(name, "."))
		}
		if len(names) == 5 {
			break
		}
	}
	return strings.Join(names, " < ")
}
