package wasm_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
	"github.com/tetratelabs/wazero"
)

type compiler = func() (wazero.CompiledModule, error)

// A gate lets compilations begin, and holds them until it is opened.
type gate struct {
	began chan struct{}
	open  chan struct{}
	made  atomic.Int32
}

func newGate(rt *wasm.Runtime) *gate {
	g := &gate{began: make(chan struct{}, 100), open: make(chan struct{})}
	rt.Compile(func(compile compiler) (wazero.CompiledModule, error) {
		g.made.Add(1)
		g.began <- struct{}{}
		<-g.open
		return compile()
	})
	return g
}

// await waits until a condition holds.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 20_000 {
		if f() {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s did not come to be", what)
}

// TestCompileOnce holds that many who want the same module at once have it compiled once, and
// that it is closed when the last of them is.
func TestCompileOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	g := newGate(b.rt)
	const n = 8
	agents := make([]*wasm.Agent, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if agents[i], err = b.rt.Agent(t.Context(), version(), guest(t, "echo"), wasm.Options{}); err != nil {
				t.Errorf("Agent: %v", err)
			}
		})
	}
	await(t, "everybody waiting", func() bool { return b.rt.Waiting() == n })
	close(g.open)
	wg.Wait()
	if made := g.made.Load(); made != 1 || b.rt.Modules() != 1 {
		t.Fatalf("the module was compiled %d times and is there %d times, want once", made, b.rt.Modules())
	}
	for i, a := range agents {
		if got := say(t, a, "m1", "hi"); got != `"hi"` {
			t.Errorf("the answer is %s", got)
		}
		if err := a.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if want := min(1, n-1-i); b.rt.Modules() != want {
			t.Errorf("%d modules are there after %d were closed, want %d", b.rt.Modules(), i+1, want)
		}
	}
}

// TestCompileGivenUp holds that whoever waits for a compilation can leave, by a context of its
// own or when it takes too long, that the others get the module, and that the late result is
// closed and found in the cache by the next attempt.
func TestCompileGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBench(t, wasm.Config{CacheDir: dir, CompileTime: time.Hour})
	g := newGate(b.rt)
	start := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := b.rt.Agent(ctx, version(), guest(t, "echo"), wasm.Options{})
			done <- err
		}()
		return done
	}
	left, leave := context.WithCancel(t.Context())
	first := start(left)
	<-g.began
	late, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	second := start(late)
	if err := <-second; codeOf(err) != "wasm_compile_timeout" || caxton.KindOf(err) != caxton.Timeout || hintOf(err) == "" {
		t.Errorf("the one whose time is over: %v, want wasm_compile_timeout with a hint", err)
	}
	leave()
	if err := <-first; codeOf(err) != "wasm_canceled" || caxton.KindOf(err) != caxton.Canceled {
		t.Errorf("the one who has left: %v, want wasm_canceled", err)
	}
	close(g.open)
	await(t, "the entry of the cache", func() bool { return strings.Contains(b.logged(), "nobody waited") })
	if b.rt.Modules() != 0 {
		t.Errorf("%d modules are there that nobody waited for", b.rt.Modules())
	}
	a := b.agent(t, guest(t, "echo"), wasm.Options{})
	if got := say(t, a, "m1", "hi"); got != `"hi"` || !strings.Contains(b.logged(), "cached=true") {
		t.Errorf("the answer is %s; the log says:\n%s", got, b.logged())
	}
}

// TestCompileTime holds that a compilation has a deadline of its own.
func TestCompileTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{CompileTime: 10 * time.Millisecond})
	g := newGate(b.rt)
	defer close(g.open)
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "echo"), wasm.Options{}); codeOf(err) != "wasm_compile_timeout" {
		t.Errorf("Agent: %v, want wasm_compile_timeout", err)
	}
}

// TestCompileSideBySide holds that a module which takes long does not keep others from being
// compiled; that those beyond the number at once wait, and can leave; and that one that was
// left by all before it began is never compiled.
func TestCompileSideBySide(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{Compilers: 2})
	slow := make(chan struct{})
	began := make(chan struct{}, 10)
	var n atomic.Int32
	b.rt.Compile(func(compile compiler) (wazero.CompiledModule, error) {
		if n.Add(1) == 1 {
			began <- struct{}{}
			<-slow
		}
		return compile()
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := b.rt.Agent(t.Context(), version(), guest(t, "trap"), wasm.Options{}); err != nil {
			t.Errorf("the slow one: %v", err)
		}
	})
	<-began
	if got := say(t, b.agent(t, guest(t, "echo"), wasm.Options{}), "m1", "hi"); got != `"hi"` {
		t.Errorf("the answer is %s", got)
	}
	close(slow)
	wg.Wait()

	one := newBench(t, wasm.Config{Compilers: 1})
	g := newGate(one.rt)
	wg.Go(func() {
		if _, err := one.rt.Agent(t.Context(), version(), guest(t, "trap"), wasm.Options{}); err != nil {
			t.Errorf("the slow one: %v", err)
		}
	})
	<-g.began
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := one.rt.Agent(ctx, version(), guest(t, "echo"), wasm.Options{})
	if codeOf(err) != "wasm_compile_timeout" || !strings.Contains(err.Error(), "1 others") {
		t.Errorf("the one behind it: %v, want wasm_compile_timeout", err)
	}
	close(g.open)
	wg.Wait()
	if err := one.rt.Close(t.Context()); err != nil || g.made.Load() != 1 {
		t.Errorf("Close: %v; %d modules were compiled, want 1", err, g.made.Load())
	}
}

// TestCompilerPanics holds that a fault of the compiler fails the module and not the server.
func TestCompilerPanics(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	b.rt.Compile(func(compiler) (wazero.CompiledModule, error) { panic("a fault of the compiler") })
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "echo"), wasm.Options{}); codeOf(err) != "wasm_compiler" || caxton.KindOf(err) != caxton.Internal {
		t.Errorf("Agent: %v, want wasm_compiler", err)
	}
	if !strings.Contains(b.logged(), "a fault of the compiler") {
		t.Errorf("the log says:\n%s", b.logged())
	}
}

// TestCloseWhileCompiling holds that a runtime waits for what is being compiled, as long as it
// may.
func TestCloseWhileCompiling(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{CompileTime: 10 * time.Millisecond})
	g := newGate(b.rt)
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "echo"), wasm.Options{}); codeOf(err) != "wasm_compile_timeout" {
		t.Fatalf("Agent: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.rt.Close(ctx); codeOf(err) != "wasm_compiling" {
		t.Errorf("Close without time: %v, want wasm_compiling", err)
	}
	close(g.open)
	if err := b.rt.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestSharedModuleGrants holds that agents which share a module are judged by themselves.
func TestSharedModuleGrants(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{CacheDir: t.TempDir()})
	b.agent(t, guest(t, "caller"), wasm.Options{}, "calculator")
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "caller"), wasm.Options{}); codeOf(err) != "wasm_refused" {
		t.Errorf("an agent without the grant: %v, want wasm_refused", err)
	}
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Hint
	}
	return ""
}
