package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
	"github.com/tetratelabs/wazero"
)

// A flight is a module that is being compiled, once for all who wait for it. wazero can be
// interrupted between functions only when it compiles in goroutines of its own, where a fault
// of the compiler would end the server. So a compilation goes on until it is done, in a
// goroutine of the Runtime, while those who wait may leave; what comes of it when nobody is
// left goes into the cache, where the next attempt finds it.
type flight struct {
	done  chan struct{}      // closed when it is over
	leave context.CancelFunc // everybody has left: it need not begin

	waiting int     // who wait; guarded by Runtime.mu, as all below
	begun   bool    // it is past the queue
	over    bool    // the two below are what came of it
	m       *module // with a reference for each who waited to the end
	err     error
}

// compile returns the compiled form of a module: one that is there, or from the cache, or new.
// metered makes the rewritten module, when it is needed; it may come to run for others too.
func (r *Runtime) compile(ctx context.Context, key string, metered func() (*meter.Module, error)) (*module, error) {
	m, f, err := r.board(ctx, key, metered)
	if f == nil {
		return m, err
	}
	late := time.NewTimer(r.cfg.CompileTime)
	defer late.Stop()
	select {
	case <-f.done:
	case <-ctx.Done():
	case <-late.C:
	}
	return r.alight(ctx, key, f)
}

// board returns a module that is compiled already, for one more user, or else the flight to
// wait for.
func (r *Runtime) board(ctx context.Context, key string, metered func() (*meter.Module, error)) (*module, *flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.modules[key]; m != nil {
		m.refs++
		return m, nil, nil
	}
	f := r.flights[key]
	if f == nil {
		if r.closed {
			return nil, nil, errDraining()
		}
		within, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{done: make(chan struct{}), leave: cancel}
		r.flights[key] = f
		r.aloft++
		go func() { // Close waits for it
			defer r.landed()
			defer cancel()
			r.fly(within, key, f, metered)
		}()
	}
	f.waiting++
	return nil, f, nil
}

// expected reports whether a module is compiled, or is being compiled.
func (r *Runtime) expected(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.modules[key] != nil || r.flights[key] != nil
}

// alight returns what came of a flight, or why it was not waited for any longer.
func (r *Runtime) alight(ctx context.Context, key string, f *flight) (*module, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.over {
		return f.m, f.err
	}
	f.waiting--
	if f.waiting == 0 {
		f.leave()
		if !f.begun {
			delete(r.flights, key)
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, caxton.Errorf(caxton.Canceled, "wasm_canceled", "compiling the module was called off").WithCause(ctx.Err())
	}
	if !f.begun {
		return nil, caxton.Errorf(caxton.Timeout, "wasm_compile_timeout", "the module could not be compiled in time: %d others are being compiled", len(r.compilers)).
			WithHint("try again later").WithCause(ctx.Err())
	}
	return nil, caxton.Errorf(caxton.Timeout, "wasm_compile_timeout", "the module takes too long to compile").
		WithHint("it is still being compiled, and kept for the next attempt: try again later; or build it smaller, or raise agents.startup_timeout").WithCause(ctx.Err())
}

// fly compiles a module when its turn has come.
func (r *Runtime) fly(ctx context.Context, key string, f *flight, metered func() (*meter.Module, error)) {
	select {
	case r.compilers <- struct{}{}:
	case <-ctx.Done():
		return
	}
	if !r.begin(f) {
		<-r.compilers
		return
	}
	ctx = context.WithoutCancel(ctx)
	m, fresh, err := r.guarded(ctx, key, metered)
	<-r.compilers
	if !r.land(key, f, m, err) && m != nil {
		r.cfg.Logger.WarnContext(ctx, "module compiled when nobody waited for it any more", "key", key)
		if err := m.close(ctx); err != nil {
			r.cfg.Logger.WarnContext(ctx, "module not closed well", "error", err)
		}
	}
	if fresh {
		r.trim(ctx)
	}
}

// landed is the end of a goroutine of a flight.
func (r *Runtime) landed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aloft--; r.aloft == 0 && r.closed {
		close(r.ground)
	}
}

// begin reports whether somebody still waits for a flight whose turn has come.
func (r *Runtime) begin(f *flight) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.begun = f.waiting > 0
	return f.begun
}

// land ends a flight. It reports whether anybody has taken the module.
func (r *Runtime) land(key string, f *flight, m *module, err error) (taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.flights, key)
	f.over, f.err = true, err
	taken = m != nil && f.waiting > 0
	if taken {
		m.refs = f.waiting
		r.modules[key], f.m = m, m
	}
	close(f.done)
	return taken
}

// guarded is build; a panic in it fails the module, not the server. The cache keeps nothing of a
// module that failed.
func (r *Runtime) guarded(ctx context.Context, key string, metered func() (*meter.Module, error)) (m *module, fresh bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.cfg.Logger.ErrorContext(ctx, "compiling a module panicked", "key", key, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			m, fresh = nil, false
			err = caxton.Errorf(caxton.Internal, "wasm_compiler", "the compiler broke down over the module").WithHint("the server's log has the stack")
		}
		if err != nil {
			r.store.forget(key)
		}
	}()
	return r.build(ctx, key, metered)
}

// build makes a module ready to run: from the cache, or anew. An entry of the cache that
// cannot be used is built again. fresh says that the cache has grown.
func (r *Runtime) build(ctx context.Context, key string, metered func() (*meter.Module, error)) (_ *module, fresh bool, err error) {
	start := r.cfg.Now()
	cache, mm, err := r.store.open(key, start)
	usable, hit := err == nil, mm != nil
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "cache of compiled modules not used", "error", err)
		cache = wazero.NewCompilationCache()
	}
	if !hit {
		if mm, err = metered(); err != nil {
			return nil, false, errors.Join(err, cache.Close(ctx))
		}
	}
	s := shapeOf(mm)
	e, faults := entryOf(s)
	if faults = append(faults, optional(s)...); len(faults) > 0 {
		return nil, false, errors.Join(caxton.Errorf(caxton.Invalid, "wasm_refused", "the module cannot run here: %s", faults[0]), cache.Close(ctx))
	}
	m := &module{
		key: key, cache: cache, shape: *s, entry: e, memory: mm.Memory != nil, initial: int64(mm.InitialFuel),
		rt: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache).WithCoreFeatures(coreFeatures())),
	}
	if m.memory {
		m.least = caxton.Size(mm.Memory.Min) * pageSize
	}
	if m.compiled, err = r.machine(ctx, m.rt, mm.Bytes); err != nil {
		return nil, false, errors.Join(caxton.Errorf(caxton.Invalid, "wasm_invalid", "the module is not valid: %v", err).
			WithHint("build it again; wasm-validate shows the place").WithCause(err), m.close(ctx))
	}
	if err := r.link(ctx, m); err != nil {
		return nil, false, errors.Join(err, m.close(ctx))
	}
	if !hit && usable {
		if err := r.store.keep(key, mm); err != nil {
			r.cfg.Logger.WarnContext(ctx, "compiled module not cached", "error", err)
		}
	}
	r.cfg.Logger.InfoContext(ctx, "module compiled", "cached", hit, "contract", string(e.contract), "bytes", len(mm.Bytes), "duration", r.cfg.Now().Sub(start))
	return m, !hit && usable, nil
}

// machineCode compiles by wazero.
func machineCode(ctx context.Context, rt wazero.Runtime, code []byte) (wazero.CompiledModule, error) {
	return rt.CompileModule(ctx, code)
}
