package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/caxton/caxton"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// An instance is one running copy of a module. It does one turn at a time.
type instance struct {
	a     *Agent
	mod   api.Module
	funcs map[string]api.Function // exports that were called: each has a stack of its own, which is worth keeping
	turn  *turn                   // nil when it is idle
	mem   linear
	stdin bytes.Reader
	since time.Time // it is idle since then
	size  int64     // of its memory, then
	files int       // open ones
}

// instantiate makes an instance for the turn, which pays for it.
func (a *Agent) instantiate(ctx context.Context, t *turn) (in *instance, err error) {
	in = &instance{a: a, turn: t, funcs: map[string]api.Function{}, mem: linear{reserve: a.rt.reserve}}
	t.ctx = ctx
	in.stdin.Reset(nil)
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions().WithArgs(a.slug).
		WithStdin(&in.stdin).WithStdout(stdout{in}).WithStderr(stderr{in}).
		WithWalltime(func() (int64, int32) {
			n := in.turn.now()
			return n.Unix(), int32(n.Nanosecond()) //nolint:gosec // below a billion
		}, sys.ClockResolution(time.Millisecond)).
		WithNanotime(func() int64 { return int64(a.rt.cfg.Now().Sub(a.rt.born)) }, 1).
		WithNanosleep(func(ns int64) { in.turn.sleep(time.Duration(ns)) }).
		WithRandSource(random{in})
	if len(a.roots) > 0 {
		cfg = cfg.WithFSConfig(in.mounts())
	}
	if err := t.charge(a.module.initial); err != nil {
		return nil, err
	}
	in.mod, err = in.made(ctx, cfg)
	t.unqueue()
	if err != nil {
		in.mem.release()
		t.used += t.granted
		return nil, t.fault(err)
	}
	if t.pay(in.mod); t.fuel < 0 {
		in.discard(ctx)
		return nil, errFuel(&t.limits)
	}
	return in, nil
}

// made makes the module of an instance. wazero panics when there is not even the memory that it has
// from the start.
func (in *instance) made(ctx context.Context, cfg wazero.ModuleConfig) (mod api.Module, err error) {
	defer func() {
		if in.mem.lacking {
			_ = recover()
			mod, err = nil, &stop{caxton.Errorf(caxton.Unavailable, "wasm_no_memory", "the server has no memory for the module, which has %v from the start", in.a.module.least).
				WithHint("try again later; the system may limit the memory or the number of its areas that the server may have")}
		}
	}()
	return in.a.module.rt.InstantiateModule(experimental.WithMemoryAllocator(in.context(ctx), &in.mem), in.a.module.compiled, cfg)
}

// context returns the context in which guest code of the instance runs.
func (in *instance) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, instanceKey{}, in)
}

// begin makes an instance ready for turns: its start functions and agent_init have run.
func (a *Agent) begin(ctx context.Context, t *turn) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, a.limits.Startup)
	defer cancel()
	in, err := a.instantiate(ctx, t)
	if err != nil {
		return nil, err
	}
	if e := &a.module.entry; e.start != "" {
		_, err = in.call(ctx, e.start)
	}
	if err == nil && a.module.shape.has("agent_init") {
		var res []uint64
		if res, err = in.call(ctx, "agent_init"); err == nil && len(res) == 1 && int32(res[0]) != 0 { //nolint:gosec // it is of 32 bits
			err = caxton.Errorf(caxton.Invalid, "wasm_init", "agent_init of the module returned %d", int32(res[0])).WithHint("0 means that it is ready") //nolint:gosec // it is of 32 bits
		}
	}
	if err != nil {
		in.discard(ctx)
		return nil, unended(err)
	}
	return in, nil
}

// call calls an export. Whatever it returns, the instance is only good for more when the
// error is nil.
func (in *instance) call(ctx context.Context, name string, args ...uint64) ([]uint64, error) {
	f := in.funcs[name]
	if f == nil {
		if f = in.mod.ExportedFunction(name); f == nil {
			return nil, caxton.Errorf(caxton.Internal, "wasm_export", "the module has no function %q", name)
		}
		in.funcs[name] = f
	}
	t := in.turn
	t.ctx = ctx
	res, err := f.Call(in.context(ctx), args...)
	t.unqueue()
	if in.a.module.memory {
		t.memory = max(t.memory, caxton.Size(in.mod.Memory().Size()))
	}
	t.pay(in.mod)
	if err != nil {
		fault := t.fault(err)
		if fault == nil { // it called exit(0), and is closed
			return nil, errEnded
		}
		return nil, fault
	}
	if t.fuel < 0 { // it ran out behind its last look
		return nil, errFuel(&t.limits)
	}
	return res, nil
}

// errEnded says that a guest ended itself without a fault.
var errEnded = errors.New("the module has ended")

// unended makes a fault of the end of a guest that was to go on.
func unended(err error) error {
	if !errors.Is(err, errEnded) {
		return err
	}
	return caxton.Errorf(caxton.Invalid, "wasm_exit", "the module ended with exit code 0, and was to go on").
		WithHint("return from the function; only a command ends itself")
}

// read returns a copy of n bytes of the guest's memory.
func (in *instance) read(p, n uint64) ([]byte, error) {
	if p <= 1<<32-1 && n <= 1<<32-1 {
		if b, ok := in.mod.Memory().Read(uint32(p), uint32(n)); ok {
			return append([]byte(nil), b...), nil
		}
	}
	return nil, errPointer(in.mod, p, n)
}

// A region is memory that the guest's allocator gave.
type region struct{ at, size uint32 }

// take asks the guest for room, and does not believe the answer.
func (in *instance) take(ctx context.Context, size int, others ...region) (region, error) {
	e := &in.a.module.entry
	res, err := in.call(ctx, e.alloc, uint64(max(size, 1)))
	if err != nil {
		return region{}, err
	}
	r := region{uint32(res[0]), uint32(size)} //nolint:gosec // of 32 bits
	bad := ""
	switch {
	case r.at == 0:
		bad = "returned 0"
	case uint64(r.at)+uint64(r.size) > uint64(in.mod.Memory().Size()):
		bad = fmt.Sprintf("returned %d, which is outside of its memory", r.at)
	}
	for _, o := range others {
		if bad == "" && r.at < o.at+o.size && o.at < r.at+r.size {
			bad = fmt.Sprintf("returned %d, where the message is", r.at)
		}
	}
	if bad != "" {
		return region{}, caxton.Errorf(caxton.Invalid, "wasm_bad_allocator", "%s of the module was asked for %d bytes and %s", e.alloc, size, bad).
			WithHint("the allocator returns the address of free memory of that size")
	}
	return r, nil
}

// give returns a region to the guest.
func (in *instance) give(ctx context.Context, r region) error {
	e := &in.a.module.entry
	if e.free == "" {
		return nil
	}
	args := []uint64{uint64(r.at)}
	if e.freeLen {
		args = append(args, uint64(r.size))
	}
	_, err := in.call(ctx, e.free, args...)
	return err
}

// end takes leave of an idle instance: agent_shutdown, and it is closed. s is what it runs in;
// it waits for it at the cost of its time.
func (in *instance) end(ctx context.Context, s *slot) {
	if in.a.module.shape.has("agent_shutdown") {
		within, cancel := context.WithTimeout(ctx, in.a.limits.Shutdown)
		defer cancel()
		if !s.take(within) {
			in.a.logger.WarnContext(ctx, "module not shut down: others were running all the time")
			in.discard(ctx)
			return
		}
		in.turn = in.a.newTurn(within, nil, nil, s)
		if _, err := in.call(within, "agent_shutdown"); err != nil && !errors.Is(err, errEnded) {
			in.a.logger.WarnContext(ctx, "module did not shut down well", "error", err)
		}
		in.turn.log.flush()
	}
	in.discard(ctx)
}

// discard closes an instance.
func (in *instance) discard(ctx context.Context) {
	if in.mod != nil {
		_ = in.mod.Close(ctx) // there is nothing to lose
	}
	in.mem.release()
}

// stdout, stderr and random are an instance's for the turn that it works for.
type (
	stdout struct{ in *instance }
	stderr struct{ in *instance }
	random struct{ in *instance }
)

func (w stdout) Write(p []byte) (int, error) {
	w.in.tick(len(p))
	if w.in.a.module.entry.contract == Command {
		return w.in.turn.Write(p)
	}
	return w.in.turn.log.Write(p) // what a reactor prints is for its log
}

func (w stderr) Write(p []byte) (int, error) {
	w.in.tick(len(p))
	return w.in.turn.log.Write(p)
}

func (r random) Read(p []byte) (int, error) {
	r.in.tick(len(p))
	return r.in.turn.random.Read(p)
}

var (
	_ io.Writer = stdout{}
	_ io.Reader = random{}
)
