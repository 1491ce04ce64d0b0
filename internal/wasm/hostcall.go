package wasm

import (
	"context"
	"errors"
	"math"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/tetratelabs/wazero/api"
)

// What host functions return when they fail. last_error tells why.
const (
	codeFailed      = -1 // it did not work
	codeDenied      = -2 // the agent may not
	codeNotFound    = -3 // no such key
	codeLimit       = -5 // over a limit
	codeUnsupported = -6 // this server cannot
	codeInvalid     = -7 // the arguments are wrong
)

// The types of values.
const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
	f64 = api.ValueTypeF64
)

// A hostFunc is a function that guests may import.
type hostFunc struct {
	name    string
	params  []api.ValueType
	result  api.ValueType // 0 for none; a guest that declares none gets none, and another number gets that
	grant   Grant         // what it takes; "" for nothing
	startup bool          // may be called while an instance starts
	price   int           // in instructions; 0: it counts as a call of the server instead
	span    bool          // does something that a trace should tell
	run     func(c *hostCall) int64
}

// A hostCall is one call of a host function.
type hostCall struct {
	ctx  context.Context //nolint:containedctx // lives as long as the call
	t    *turn
	mod  api.Module
	args []uint64
}

// The key of the instance in the context of a guest.
type instanceKey struct{}

// turnOf returns the turn that a guest runs for.
func turnOf(ctx context.Context) *turn {
	in, _ := ctx.Value(instanceKey{}).(*instance)
	if in == nil || in.turn == nil {
		halt(caxton.Errorf(caxton.Internal, "wasm_no_turn", "a module runs for nobody"))
	}
	return in.turn
}

// function returns f as wazero calls it, for an import with that result type.
func (f *hostFunc) function(result api.ValueType) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		t := turnOf(ctx)
		if f.price > 0 {
			spend(mod, f.price)
		} else if t.hostCalls++; t.hostCalls > t.limits.HostCalls {
			halt(caxton.Errorf(caxton.Invalid, "wasm_host_calls", "the module called the server more than %d times in one turn", t.limits.HostCalls).
				WithHint("call less often, or raise the limit of the agent"))
		}
		if ctx.Err() != nil {
			halt(errDeadline(ctx, &t.limits))
		}
		c := &hostCall{ctx: ctx, t: t, mod: mod, args: stack}
		var v int64
		switch {
		case !t.a.grants.has(f.grant):
			v = c.refuse(f.grant)
		case !f.open(t):
			v = c.fail(codeUnsupported, "%s can only be called while a message is handled", f.name)
		default:
			v = f.traced(c)
		}
		switch result {
		case 0:
		case f64:
			stack[0] = math.Float64bits(float64(v))
		case i32:
			stack[0] = uint64(uint32(v)) //nolint:gosec // cut to the size that the guest wants
		default:
			stack[0] = uint64(v) //nolint:gosec // the bits count
		}
	}
}

// maxHostSpans is how many host calls of a turn have spans of their own.
const maxHostSpans = 100

// traced runs the call, within a span if it does something that a trace should tell.
func (f *hostFunc) traced(c *hostCall) (v int64) {
	if !f.span || !c.t.traced {
		return f.run(c)
	}
	if c.t.spans++; c.t.spans > maxHostSpans {
		return f.run(c)
	}
	ctx, span := telemetry.Start(c.ctx, telemetry.Internal, "caxton.host", f.name)
	span.Str("caxton.wasm.function", f.name)
	c.ctx = ctx
	ended := false
	defer func() {
		switch {
		case !ended: // it halted the guest; the span of the module says why
			span.Bool("caxton.wasm.halted", true)
		case v < 0 && v != codeNotFound && f.result == i32:
			span.Int("caxton.wasm.result", v)
			span.FailCode("wasm_host_call")
		}
		span.End(nil)
	}()
	v = f.run(c)
	ended = true
	return v
}

// open reports whether the function may be called in a turn: one that starts or ends an instance
// has few, and one that brings state over those of the state besides.
func (f *hostFunc) open(t *turn) bool {
	return t.msg != nil || f.startup || t.migrates && (f.grant == StateKeys || f.name == "fail")
}

// fail tells the guest that the call failed, and why.
func (c *hostCall) fail(code int64, format string, args ...any) int64 {
	c.t.lastError = caxton.Errorf(caxton.Invalid, "", format, args...).Message
	return code
}

// refuse tells the guest that it may not.
func (c *hostCall) refuse(g Grant) int64 {
	return c.fail(codeDenied, "the agent has no grant %q; it has %s", g, c.t.a.grants)
}

// failWith tells the guest of an error, or ends the turn when that is what it stands for.
func (c *hostCall) failWith(err error) int64 {
	if s, ok := errors.AsType[*stop](err); ok {
		halt(s.err)
	}
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		switch e.Kind {
		case caxton.Forbidden:
			return c.fail(codeDenied, "%s", e.Message)
		case caxton.NotFound:
			return c.fail(codeNotFound, "%s", e.Message)
		case caxton.TooLarge:
			return c.fail(codeLimit, "%s", e.Message)
		case caxton.Invalid, caxton.Malformed:
			return c.fail(codeInvalid, "%s", e.Message)
		case caxton.Unauthenticated, caxton.Conflict, caxton.Exhausted, caxton.Canceled, caxton.Internal, caxton.Unavailable, caxton.Timeout:
		}
	}
	halt(err)
	return codeFailed
}

// bytesPerInstruction is how much the host copies for what one instruction costs.
const bytesPerInstruction = 8

// tick books the n bytes that the host copies for a guest, and ends one whose time is over.
// The guest itself comes to its hook the sooner for it.
func (in *instance) tick(n int) {
	t := in.turn
	if t.ctx.Err() != nil {
		halt(errDeadline(t.ctx, &t.limits))
	}
	if in.mod != nil { // else it is being made
		charge(in.mod, n)
	}
}

// charge takes the price of n bytes from what an instance was given.
func charge(mod api.Module, n int) { spend(mod, 1+n/bytesPerInstruction) }

// spend takes instructions from what an instance was given.
func spend(mod api.Module, n int) {
	g := gauge(mod)
	g.Set(g.Get() - uint64(n)) //nolint:gosec // n is not negative
}

// view returns the guest's memory at the pointer in argument i, of the length in the next.
// It is the guest's: to be copied by whoever keeps it.
func (c *hostCall) view(i int) []byte {
	p, n := uint32(c.args[i]), uint32(c.args[i+1]) //nolint:gosec // they are of 32 bits
	b, ok := c.memory().Read(p, n)
	if !ok {
		halt(errPointer(c.mod, uint64(p), uint64(n)))
	}
	charge(c.mod, len(b))
	return b
}

// memory returns the guest's memory.
func (c *hostCall) memory() api.Memory {
	if !c.t.a.module.memory {
		halt(caxton.Errorf(caxton.Invalid, "wasm_bad_pointer", "the module points to its memory, and has none"))
	}
	return c.mod.Memory()
}

func errPointer(mod api.Module, p, n uint64) error {
	return caxton.Errorf(caxton.Invalid, "wasm_bad_pointer", "the module points to %d bytes at %d, and has %d bytes of memory", n, p, mod.Memory().Size()).
		WithHint("check the pointers and lengths that the module hands out")
}

// bytes is view, copied.
func (c *hostCall) bytes(i int) []byte { return append([]byte(nil), c.view(i)...) }

// text is the first view as a string: a name.
func (c *hostCall) text() string { return string(c.view(0)) }

// fill copies data to the buffer in argument i, whose size is in the next, when it fits. It
// returns how long data is: more than the size means that nothing was copied.
func (c *hostCall) fill(i int, data []byte) int64 {
	if len(data) <= int(uint32(c.args[i+1])) { //nolint:gosec // it is of 32 bits
		p := uint32(c.args[i]) //nolint:gosec // it is of 32 bits
		if !c.memory().Write(p, data) {
			halt(errPointer(c.mod, uint64(p), uint64(len(data))))
		}
		charge(c.mod, len(data))
	}
	return int64(len(data))
}

// give keeps data for read_result and returns its length.
func (c *hostCall) give(data []byte) int64 {
	c.t.result = data
	return int64(len(data))
}
