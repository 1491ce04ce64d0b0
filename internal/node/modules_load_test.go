package node_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// quantiles returns the median and the 99th percentile.
func quantiles(ds []time.Duration) (p50, p99 time.Duration) {
	slices.Sort(ds)
	return ds[len(ds)/2], ds[min(len(ds)*99/100, len(ds)-1)]
}

// resident returns the resident memory that a server tells of itself.
func resident(tb testing.TB, v *victim) caxton.Size {
	tb.Helper()
	var n float64
	for line := range strings.Lines(get(tb, "http://"+v.info.MetricsAddr+"/metrics")) {
		if _, err := fmt.Sscanf(line, "process_resident_memory_bytes %g", &n); err == nil {
			return caxton.Size(n)
		}
	}
	tb.Fatal("the metrics do not tell the memory of the server")
	return 0
}

// askEach sends each agent a message, one after the other, and returns how long the answers took.
func askEach(tb testing.TB, v *victim, agents []string) []time.Duration {
	tb.Helper()
	took := make([]time.Duration, len(agents))
	for i, name := range agents {
		began := time.Now()
		r, err := v.client.Send(tb.Context(), api.Message{Receiver: name, Text: "hello"}, 30*time.Second)
		took[i] = time.Since(began)
		if err != nil || r.Reply == nil || r.Reply.Performative == "failure" {
			tb.Fatalf("%s answered %+v, %v", name, r.Reply, err)
		}
	}
	return took
}

// deployAll deploys agents, some at a time, and returns their names.
func deployAll(tb testing.TB, v *victim, kind string, n int, module func(i int) []byte) []string {
	tb.Helper()
	names := make([]string, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range next {
				names[i] = fmt.Sprintf("%s-%d", kind, i)
				if _, err := v.client.Deploy(tb.Context(), api.Deploy{
					Text: []byte("---\nname: " + names[i] + "\ntype: wasm\ntools: [send_message, calculator, memory_store, memory_search]\n---\n"), Module: module(i),
				}); err != nil && !tb.Failed() {
					tb.Errorf("%s: %v", names[i], err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
	return names
}

// TestSoakModules fills a server with module agents, of modules of their own and of the same,
// lets them fall idle, wakes them all, and starts the server anew. It tells what that takes.
func TestSoakModules(t *testing.T) {
	small, same, large := 20, 30, 2
	if os.Getenv("CAXTON_SOAK") != "" {
		small, same, large = 1_000, 10_000, 100
	}
	t.Setenv("CAXTON_TEST_FLAGS", "agents.max_agents=0,wasm.max_agents=100000,agents.idle_timeout=1s")
	dir := t.TempDir()
	echo, reactor := guestModule(t, "echo"), goModule(t, "reactor", "-buildmode=c-shared")
	v := start(t, dir)
	tell := func(what string, took []time.Duration) {
		p50, p99 := quantiles(took)
		t.Logf("%-34s P50 %v, P99 %v, resident %v", what, p50.Round(time.Microsecond), p99.Round(time.Microsecond), resident(t, v))
	}
	t.Logf("%-34s resident %v", "an empty server", resident(t, v))
	began := time.Now()
	phase := func(what string) {
		t.Logf("%-34s %v, resident %v", what, time.Since(began).Round(time.Millisecond), resident(t, v))
		began = time.Now()
	}
	smalls := deployAll(t, v, "small", small, func(i int) []byte { return variant(echo, i, 0) })
	phase(fmt.Sprintf("%d modules of their own deployed", small))
	larges := deployAll(t, v, "go", large, func(int) []byte { return reactor })
	phase(fmt.Sprintf("%d agents in Go deployed", large))
	sames := deployAll(t, v, "same", same, func(int) []byte { return echo })
	phase(fmt.Sprintf("%d agents of one module deployed", same))
	kinds := []struct {
		name   string
		agents []string
	}{{"small, module of its own", smalls}, {"small, same module", sames}, {"Go", larges}}
	for _, k := range kinds {
		tell("first message: "+k.name, askEach(t, v, k.agents))
		tell("next message: "+k.name, askEach(t, v, k.agents[:min(200, len(k.agents))]))
	}
	asleep(t, v, 0)
	t.Logf("%-34s resident %v", "all idle", resident(t, v))
	for _, k := range kinds {
		tell("wake: "+k.name, askEach(t, v, k.agents))
	}
	v.kill(t)
	began = time.Now()
	v = start(t, dir)
	phase("started again, modules from cache")
	for _, k := range kinds {
		tell("first message after that: "+k.name, askEach(t, v, k.agents[:min(200, len(k.agents))]))
	}
	v.kill(t)
}

// asleep waits until no more than n instances are kept.
func asleep(tb testing.TB, v *victim, n int) {
	tb.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		kept := -1
		for line := range strings.Lines(get(tb, "http://"+v.info.MetricsAddr+"/metrics")) {
			_, _ = fmt.Sscanf(line, "caxton_wasm_instances_idle %d", &kept)
		}
		if kept >= 0 && kept <= n {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%d instances are kept, want %d", kept, n)
		}
	}
}

// TestSoakHostileModules has every hostile guest at work while another agent is asked, and tells
// how long that one takes with and without them. Each attack ends in a failure with its code,
// and the server is as it was in the end.
func TestSoakHostileModules(t *testing.T) {
	span, soak := 300*time.Millisecond, os.Getenv("CAXTON_SOAK") != ""
	if soak {
		span = 5 * time.Second
	}
	attacks := map[string][]string{
		"loop":          {"wasm_fuel_exhausted", "wasm_deadline"},
		"recursion":     {"wasm_stack"},
		"bomb":          {"wasm_memory"},
		"fillbomb":      {"wasm_fuel_exhausted", "wasm_deadline"},
		"tablebomb":     {"wasm_fuel_exhausted", "wasm_deadline"},
		"giant":         {"wasm_output_too_large"},
		"gush":          {"wasm_output_too_large"},
		"storm":         {"wasm_host_calls"},
		"toolstorm":     {"wasm_tool_calls", "wasm_fuel_exhausted", "wasm_deadline"},
		"randomstorm":   {"wasm_fuel_exhausted", "wasm_deadline"},
		"trap":          {"wasm_trap"},
		"badjson":       {"wasm_bad_output"},
		"badutf8":       {"wasm_bad_output"},
		"allocnull":     {"wasm_bad_allocator"},
		"allocout":      {"wasm_bad_allocator"},
		"allocover":     {"wasm_bad_allocator"},
		"lyinglength":   {"wasm_bad_pointer"},
		"lyingresponse": {"wasm_bad_length"},
		"sleeper":       {"wasm_deadline"},
		"wasistorm":     {"wasm_fuel_exhausted", "wasm_deadline"},
	}
	t.Setenv("CAXTON_TEST_QUIET", "1")
	t.Setenv("CAXTON_TEST_FLAGS", "logging.level=error,wasm.max_concurrent_executions=4")
	v := start(t, t.TempDir())
	defer v.kill(t)
	good := deployAll(t, v, "good", 1, func(int) []byte { return guestModule(t, "echo") })
	names := make([]string, 0, len(attacks))
	for name := range attacks {
		d := api.Deploy{Module: guestModule(t, name)}
		d.Text = []byte("---\nname: " + name + "\ntype: wasm\ntools: [calculator]\nresource_limits: {max_execution_time_ms: 250, max_fuel: 100000}\n---\n")
		if _, err := v.client.Deploy(t.Context(), d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if _, err := v.client.Deploy(t.Context(), api.Deploy{
		Text: []byte("---\nname: forbidden\ntype: wasm\n---\n"), Module: guestModule(t, "forbidden"),
	}); err == nil || !strings.Contains(err.Error(), "import") {
		t.Errorf("a module that imports what is not there: %v", err)
	}
	beside := func(work func()) []time.Duration {
		ctx, cancel := context.WithCancel(t.Context())
		took := make(chan []time.Duration, 1)
		go func() {
			tick := time.NewTicker(3 * time.Millisecond)
			defer tick.Stop()
			var all []time.Duration
			for ctx.Err() == nil {
				all = append(all, askEach(t, v, good)...)
				<-tick.C
			}
			took <- all
		}()
		work()
		cancel()
		return <-took
	}
	tell := func(what string, n int64, took []time.Duration) {
		p50, p99 := quantiles(took)
		t.Logf("%-14s %5d times; the other agent %5d times, P50 %v, P99 %v, longest %v; resident %v", what, n, len(took),
			p50.Round(time.Microsecond), p99.Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond), resident(t, v))
	}
	askEach(t, v, good)
	attack := func(names ...string) (n int64) {
		var count atomic.Int64
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				for began, i := time.Now(), w; i < w+len(names) || time.Since(began) < span; i++ {
					name := names[i%len(names)]
					r, err := v.client.Send(t.Context(), api.Message{Receiver: name, Text: "now"}, 30*time.Second)
					if err != nil || r.Reply == nil {
						t.Errorf("%s: %+v, %v", name, r, err)
						return
					}
					if !slices.ContainsFunc(attacks[name], func(c string) bool { return strings.Contains(string(r.Reply.Content), `"`+c+`"`) }) {
						t.Errorf("%s ended as %s %s, want one of %v", name, r.Reply.Performative, r.Reply.Content, attacks[name])
					}
					count.Add(1)
				}
			})
		}
		wg.Wait()
		return count.Load()
	}
	tell("nothing", 0, beside(func() { <-time.After(span) }))
	if soak {
		for _, name := range names {
			var n int64
			took := beside(func() { n = attack(name) })
			tell(name, n, took)
		}
	}
	var n int64
	took := beside(func() { n = attack(names...) })
	tell("all in turn", n, took)
	list, err := v.client.Agents(t.Context(), api.AgentFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list.Items {
		if a.Status != "running" {
			t.Errorf("%s is %s", a.Name, a.Status)
		}
	}
	askEach(t, v, good)
}
