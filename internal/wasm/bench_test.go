package wasm_test

import (
	"strconv"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

func handling(b *testing.B, module []byte) {
	b.Helper()
	bn := newBench(b, wasm.Config{})
	a := bn.agent(b, module, wasm.Options{Grants: wasm.AllGrants()})
	in := message("m1", "a message of some length, as people write them")
	if _, err := a.Handle(b.Context(), in); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		in.Message.ID = caxton.MessageID(strconv.Itoa(n))
		if _, err := a.Handle(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(bn.last().Fuel), "fuel/op")
}

func BenchmarkReactorEcho(b *testing.B)   { handling(b, guest(b, "echo")) }
func BenchmarkReactorGo(b *testing.B)     { handling(b, goGuest(b, "reactor")) }
func BenchmarkCommandCopy(b *testing.B)   { handling(b, guest(b, "command")) }
func BenchmarkCommandGo(b *testing.B)     { handling(b, goGuest(b, "command")) }
func BenchmarkInstantiate(b *testing.B)   { waking(b, guest(b, "echo")) }
func BenchmarkInstantiateGo(b *testing.B) { waking(b, goGuest(b, "reactor")) }

// waking handles each message in a new instance.
func waking(b *testing.B, module []byte) {
	b.Helper()
	bn := newBench(b, wasm.Config{})
	a := bn.agent(b, module, wasm.Options{Limits: wasm.Limits{Idle: 1}, Grants: wasm.AllGrants()})
	in := message("m1", "hello")
	for b.Loop() {
		if _, err := a.Handle(b.Context(), in); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		bn.rt.Sweep(b.Context())
		b.StartTimer()
	}
}

// BenchmarkFromCache is the start of a server with an agent whose module was compiled before,
// up to the agent's first answer.
func BenchmarkFromCache(b *testing.B)   { starting(b, guest(b, "echo")) }
func BenchmarkFromCacheGo(b *testing.B) { starting(b, goGuest(b, "reactor")) }

func starting(b *testing.B, module []byte) {
	b.Helper()
	dir := b.TempDir()
	in := message("m1", "hello")
	start := func() *wasm.Runtime {
		rt := wasm.New(wasm.Config{CacheDir: dir})
		a, err := rt.Agent(b.Context(), version(), module, wasm.Options{Grants: wasm.AllGrants()})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := a.Handle(b.Context(), in); err != nil {
			b.Fatal(err)
		}
		return rt
	}
	end := func(rt *wasm.Runtime) {
		if err := rt.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	end(start())
	for b.Loop() {
		rt := start()
		b.StopTimer()
		end(rt)
		b.StartTimer()
	}
}

// BenchmarkAgents holds that many agents fit: each iteration is one more.
func BenchmarkAgents(b *testing.B) {
	bn := newBench(b, wasm.Config{MaxAgents: 1 << 30})
	module := guest(b, "echo")
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		a := bn.agent(b, module, wasm.Options{})
		if n++; n%1000 == 0 {
			if _, err := a.Handle(b.Context(), message(strconv.Itoa(n), "hi")); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkSystemCalls takes a thousand calls of WASI.
func BenchmarkSystemCalls(b *testing.B) {
	h := newBench(b, wasm.Config{})
	a := h.agent(b, guest(b, "wasithousand"), wasm.Options{})
	for b.Loop() {
		if _, err := a.Handle(b.Context(), message("m1", "hi")); err != nil {
			b.Fatal(err)
		}
	}
}
