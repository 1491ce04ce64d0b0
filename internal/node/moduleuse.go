package node

import (
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/wasm"
	"github.com/prometheus/client_golang/prometheus"
)

// moduleUse counts what modules take, by agent. It observes the registry, so that an agent
// that is gone is forgotten.
type moduleUse struct {
	turns   *prometheus.CounterVec
	fuel    *prometheus.CounterVec
	seconds *prometheus.CounterVec
	traps   *prometheus.CounterVec
	calls   *prometheus.CounterVec
	dropped *prometheus.CounterVec
	lost    *prometheus.CounterVec
	memory  *prometheus.GaugeVec
	took    prometheus.Histogram
	startup prometheus.Histogram

	mu  sync.Mutex // guards all below
	all map[caxton.AgentID]*use
}

// A use is what the module of one agent took so far.
type use struct {
	slug   string
	turns  int64
	errors int64
	traps  int64
	fuel   int64
	calls  int64
	time   time.Duration
	memory caxton.Size      // at most
	last   []wasm.Execution // the newest, newest last
}

// keptExecutions is how many of the newest turns of an agent are remembered.
const keptExecutions = 10

func (o *use) add(x wasm.Execution) {
	o.turns++
	if x.Code != "" {
		o.errors++
	}
	if x.Trap != "" {
		o.traps++
	}
	o.fuel += x.Fuel + x.StartupFuel
	o.calls += int64(x.HostCalls)
	o.time += x.Time
	o.memory = max(o.memory, x.Memory)
	if len(o.last) >= keptExecutions {
		o.last = slices.Delete(o.last, 0, 1)
	}
	o.last = append(o.last, x)
}

// wire returns the use as it is sent.
func (o *use) wire() *api.ModuleUse {
	out := &api.ModuleUse{
		Turns: o.turns, Errors: o.errors, Traps: o.traps, Fuel: o.fuel, HostCalls: o.calls, Millis: millis(o.time), MemoryHighWater: int64(o.memory),
		Last: []api.Execution{},
	}
	for _, x := range slices.Backward(o.last) {
		out.Last = append(out.Last, api.Execution{
			MessageID: string(x.MessageID), Version: x.Version, At: x.Start.UTC(), Millis: millis(x.Time), StartupMillis: millis(x.Startup),
			Fuel: x.Fuel, MemoryBytes: int64(x.Memory), HostCalls: x.HostCalls, ToolCalls: x.Calls, Outputs: x.Outputs, OutputBytes: x.OutputBytes,
			LogBytes: x.LogBytes, LogDropped: x.LogDropped, LogLost: x.LogLost, Code: x.Code, Trap: x.Trap,
		})
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func newModuleUse(reg prometheus.Registerer) *moduleUse {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"agent"}, labels...))
	}
	u := &moduleUse{
		turns:   counter("caxton_wasm_executions_total", "Turns of modules by how they ended.", "status"),
		fuel:    counter("caxton_wasm_fuel_total", "Fuel that modules used, in units of a thousand instructions."),
		seconds: counter("caxton_wasm_execution_seconds_total", "Time of the turns of modules."),
		traps:   counter("caxton_wasm_traps_total", "Turns in which a module broke down or was stopped."),
		calls:   counter("caxton_wasm_host_calls_total", "Calls of the server's functions by modules."),
		dropped: counter("caxton_wasm_log_dropped_bytes_total", "What modules logged beyond their limit."),
		lost:    counter("caxton_wasm_log_dropped_lines_total", "Lines that modules logged beyond their limit."),
		memory: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "caxton_wasm_memory_high_water_bytes", Help: "The most memory that an instance of the agent's module had.",
		}, []string{"agent"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_wasm_execution_seconds", Help: "Time of one turn of a module.",
			Buckets: []float64{5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		startup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_wasm_startup_seconds", Help: "Time to make an instance of a module.",
			Buckets: []float64{5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		all: map[caxton.AgentID]*use{},
	}
	reg.MustRegister(u.turns, u.fuel, u.seconds, u.traps, u.calls, u.dropped, u.lost, u.memory, u.took, u.startup)
	return u
}

// report counts one turn.
func (u *moduleUse) report(x wasm.Execution) {
	status := "ok"
	if x.Code != "" {
		status = "error"
	}
	u.took.Observe(x.Time.Seconds())
	if x.Startup > 0 {
		u.startup.Observe(x.Startup.Seconds())
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	one := u.all[x.AgentID]
	if one == nil {
		return // the agent is gone, or a module was only looked at
	}
	one.add(x)
	u.turns.WithLabelValues(one.slug, status).Inc()
	u.fuel.WithLabelValues(one.slug).Add(float64(x.Fuel + x.StartupFuel))
	u.seconds.WithLabelValues(one.slug).Add(x.Time.Seconds())
	u.calls.WithLabelValues(one.slug).Add(float64(x.HostCalls))
	u.dropped.WithLabelValues(one.slug).Add(float64(x.LogDropped))
	u.lost.WithLabelValues(one.slug).Add(float64(x.LogLost))
	u.memory.WithLabelValues(one.slug).Set(float64(one.memory))
	if x.Trap != "" {
		u.traps.WithLabelValues(one.slug).Inc()
	}
}

// of returns what the module of an agent took so far, or nil when it is no module.
func (u *moduleUse) of(id caxton.AgentID) *api.ModuleUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	one := u.all[id]
	if one == nil {
		return nil
	}
	return one.wire()
}

// AgentChanged begins to count a module agent, and forgets one that is a module no more.
func (u *moduleUse) AgentChanged(a caxton.Agent) {
	u.mu.Lock()
	defer u.mu.Unlock()
	one := u.all[a.ID]
	if one != nil && (a.Type != caxton.WASMAgent || one.slug != a.Slug) {
		u.forget(one.slug)
		delete(u.all, a.ID)
	}
	if a.Type != caxton.WASMAgent || u.all[a.ID] != nil {
		return
	}
	u.all[a.ID] = &use{slug: a.Slug}
	for _, status := range []string{"ok", "error"} {
		u.turns.WithLabelValues(a.Slug, status)
	}
	for _, c := range []*prometheus.CounterVec{u.fuel, u.seconds, u.traps, u.calls, u.dropped, u.lost} {
		c.WithLabelValues(a.Slug)
	}
	u.memory.WithLabelValues(a.Slug)
}

// AgentRemoved forgets an agent.
func (u *moduleUse) AgentRemoved(id caxton.AgentID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if one := u.all[id]; one != nil {
		u.forget(one.slug)
		delete(u.all, id)
	}
}

// forget takes the metrics of an agent away. u.mu is held.
func (u *moduleUse) forget(slug string) {
	for _, c := range []*prometheus.CounterVec{u.turns, u.fuel, u.seconds, u.traps, u.calls, u.dropped, u.lost} {
		c.DeletePartialMatch(prometheus.Labels{"agent": slug})
	}
	u.memory.DeletePartialMatch(prometheus.Labels{"agent": slug})
}
