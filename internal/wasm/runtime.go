package wasm

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Config tunes a Runtime. Zero fields mean the defaults given here.
type Config struct {
	CacheDir      string        // for compiled modules; "" for none
	CacheSize     caxton.Size   // of them, except those in use: 1 GiB
	Defaults      Limits        // for what an agent leaves open: those of Limits
	Ceilings      Limits        // Ceilings()
	MaxAgents     int           // 10,000
	MaxConcurrent int           // guests that run at once: 100
	MaxLong       int           // of them, those that run for longer than a millisecond: the processors but one, at least 1
	Compilers     int           // modules that are compiled at once: one for every other processor, and at least 2
	CompileTime   time.Duration // for which a deployment waits until its module is compiled: 2 min
	IdleMemory    caxton.Size   // of all instances that are kept ready: 512 MiB; what is over is released after its turn

	// Calls begins the tool calls of a turn, after what has to be approved first; nil when no
	// module may call tools. With an error it may return the Calls that know whether that is a
	// refusal. node makes it of prompt.Handlers.Calls.
	Calls func(ctx context.Context, turn caxton.Turn) (Calls, error)
	// Rehearse begins the calls of a turn that counts for nothing; past is what the turn that
	// does left in the log. nil when no module may call tools. node makes it of
	// prompt.Handlers.Rehearse.
	Rehearse func(ctx context.Context, turn caxton.Turn, past []caxton.Record) (Rehearsed, error)

	State  State           // nil: modules keep nothing
	Timers Timers          // nil: modules cannot be woken
	Report func(Execution) // called after each turn, from its goroutine; nil for nobody

	Seed   []byte           // of what modules draw, with the message: 32 bytes that only the server knows; drawn for this process
	Logger *slog.Logger     // discards
	Now    func() time.Time // time.Now
}

// A Runtime compiles modules and runs their agents. It is safe for concurrent use.
type Runtime struct {
	cfg   Config
	store store
	table map[hostKey][]hostFunc
	wasi  map[string]funcType
	slots chan struct{} // capacity MaxConcurrent: one token for each guest that runs
	lanes chan struct{} // capacity MaxLong: one token for each guest that has run for longer
	born  time.Time
	ready tally // the instances that are kept

	gates gates

	compilers chan struct{} // capacity Compilers: one token for each module that is being compiled
	trimming  sync.Mutex    // held while the cache on disk is made smaller

	// reserve finds addresses for the memory of a guest: the system's, except in tests.
	reserve func(n uint64) []byte
	// machine makes machine code: wazero's, except in tests.
	machine func(ctx context.Context, rt wazero.Runtime, code []byte) (wazero.CompiledModule, error)

	mu      sync.Mutex // guards all below
	modules map[string]*module
	flights map[string]*flight
	aloft   int           // goroutines of flights
	ground  chan struct{} // closed after closed when there is none any more
	agents  map[*Agent]bool
	coming  int // agents that are being made
	closed  bool
}

// New returns a Runtime. It starts nothing.
func New(cfg Config) *Runtime {
	cfg.Ceilings = cfg.Ceilings.or(Ceilings())
	cfg.Defaults = cfg.Defaults.or(defaults())
	cfg.MaxAgents = cmp.Or(cfg.MaxAgents, 10_000)
	cfg.MaxConcurrent = cmp.Or(cfg.MaxConcurrent, 100)
	cfg.MaxLong = cmp.Or(cfg.MaxLong, max(1, runtime.GOMAXPROCS(0)-1))
	cfg.CacheSize = cmp.Or(cfg.CacheSize, caxton.GiB)
	cfg.Compilers = cmp.Or(cfg.Compilers, max(2, runtime.GOMAXPROCS(0)/2)) // one that takes long does not hold up the others
	cfg.CompileTime = cmp.Or(cfg.CompileTime, 2*time.Minute)               // a module of 32 MiB takes half a minute
	cfg.IdleMemory = cmp.Or(cfg.IdleMemory, 512*caxton.MiB)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.Seed) == 0 {
		cfg.Seed = make([]byte, 32)
		_, _ = rand.Read(cfg.Seed) // never fails
	}
	return &Runtime{
		cfg: cfg, store: store{cfg.CacheDir, generation()}, table: hostTable(), wasi: wasiTypes(), slots: make(chan struct{}, cfg.MaxConcurrent), lanes: make(chan struct{}, cfg.MaxLong), born: cfg.Now(),
		compilers: make(chan struct{}, cfg.Compilers), reserve: reserve, machine: machineCode,
		modules: map[string]*module{}, flights: map[string]*flight{}, ground: make(chan struct{}), agents: map[*Agent]bool{}, gates: gates{all: map[caxton.AgentID]*sync.RWMutex{}},
	}
}

// Ready returns how many instances are ready and have nothing to do, and how much memory
// their guests have.
func (r *Runtime) Ready() (instances int, memory caxton.Size) {
	return int(r.ready.instances.Load()), caxton.Size(r.ready.bytes.Load())
}

// A tally counts instances and their memory.
type tally struct{ instances, bytes atomic.Int64 }

// add counts one more, and returns the memory of all.
func (t *tally) add(size int64) int64 {
	t.instances.Add(1)
	return t.bytes.Add(size)
}

func (t *tally) drop(size int64) {
	t.instances.Add(-1)
	t.bytes.Add(-size)
}

// Run releases the instances of idle agents until ctx ends.
func (r *Runtime) Run(ctx context.Context) error {
	r.trim(ctx)
	tick := time.NewTicker(min(sweepEvery, max(sweepEvery/40, r.cfg.Defaults.Idle/4)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.sweep(ctx)
		}
	}
}

// sweepEvery is how often Run looks for idle instances; more often when they are not kept long.
const sweepEvery = 10 * time.Second

// sweep releases the instances that are idle for too long.
func (r *Runtime) sweep(ctx context.Context) {
	r.mu.Lock()
	agents := make([]*Agent, 0, len(r.agents))
	for a := range r.agents {
		agents = append(agents, a)
	}
	r.mu.Unlock()
	var ins []*instance
	for _, a := range agents {
		ins = append(ins, a.over(r.cfg.Now().Add(-a.limits.Idle))...)
	}
	r.end(ctx, ins)
}

// Close closes all agents, and waits for the modules that are being compiled until ctx ends.
// It is called after the last turn.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed && r.aloft == 0 {
		close(r.ground)
	}
	r.closed = true
	agents := make([]*Agent, 0, len(r.agents))
	for a := range r.agents {
		agents = append(agents, a)
	}
	r.mu.Unlock()
	var ins []*instance
	for _, a := range agents {
		ins = append(ins, a.shut()...)
	}
	r.end(ctx, ins)
	var errs []error
	for _, a := range agents {
		errs = append(errs, a.finish(ctx))
	}
	select {
	case <-r.ground:
	case <-ctx.Done():
		errs = append(errs, caxton.Errorf(caxton.Timeout, "wasm_compiling", "modules were still being compiled").WithCause(ctx.Err()))
	}
	return errors.Join(errs...)
}

// A module is a compiled module, shared by the agents that run it under the same options.
type module struct {
	key      string
	rt       wazero.Runtime // of its own: it holds the functions that the module imports, and no others
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	shape    shape
	entry    entry
	memory   bool        // it has one
	least    caxton.Size // of it, from the start
	initial  int64       // instructions that an instance costs before it runs
	refs     int         // guarded by Runtime.mu
}

func (m *module) close(ctx context.Context) error {
	return errors.Join(m.rt.Close(ctx), m.cache.Close(ctx))
}

// drop takes a user of a module away. The last one closes it.
func (r *Runtime) drop(ctx context.Context, m *module) error {
	r.mu.Lock()
	m.refs--
	last := m.refs == 0
	if last {
		delete(r.modules, m.key)
	}
	r.mu.Unlock()
	if !last {
		return nil
	}
	return m.close(ctx)
}

// coreFeatures are what modules may use of WebAssembly: version 2, with SIMD, bulk memory
// and reference types; no threads.
func coreFeatures() api.CoreFeatures { return api.CoreFeaturesV2 }

// link makes the functions that the module imports.
func (r *Runtime) link(ctx context.Context, m *module) error {
	builders := map[string]wazero.HostModuleBuilder{}
	builder := func(name string) wazero.HostModuleBuilder {
		if builders[name] == nil {
			builders[name] = m.rt.NewHostModuleBuilder(name)
		}
		return builders[name]
	}
	done := map[hostKey]bool{}
	for _, i := range m.shape.imports {
		k := hostKey{i.module, i.name}
		if i.module == wasiModule {
			if !done[hostKey{wasiModule, ""}] {
				done[hostKey{wasiModule, ""}] = true
				wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(builder(wasiModule))
			}
			continue
		}
		f := r.lookup(i)
		if f == nil {
			return caxton.Errorf(caxton.Invalid, "wasm_import", "the module imports %s.%s, which is not there", i.module, i.name)
		}
		if done[k] {
			continue
		}
		done[k] = true
		builder(i.module).NewFunctionBuilder().WithGoModuleFunction(f.function(first(i.typ.results)), i.typ.params, i.typ.results).WithName(i.name).Export(i.name)
	}
	addHooks(builder(meter.HookModule))
	for _, name := range sortedKeys(builders) {
		within := ctx
		if name == wasiModule {
			within = experimental.WithFunctionListenerFactory(ctx, wasiMeter{})
		}
		if _, err := builders[name].Instantiate(within); err != nil {
			return caxton.Errorf(caxton.Internal, "wasm_link", "the functions of %q could not be made", name).WithCause(err)
		}
	}
	return nil
}

// lookup returns the form of a host function that an import means, or nil.
func (r *Runtime) lookup(i imported) *hostFunc {
	forms := r.table[hostKey{i.module, i.name}]
	for n := range forms {
		f := &forms[n]
		if !slices.Equal(f.params, i.typ.params) || len(i.typ.results) > 1 {
			continue
		}
		if len(i.typ.results) == 0 || isNumber(i.typ.results[0]) {
			return f
		}
	}
	return nil
}

func isNumber(t api.ValueType) bool { return t == i32 || t == i64 || t == f64 }

// checkDir holds that a directory can be given to an agent.
func checkDir(d Dir) *caxton.Error {
	if d.Guest == "" || d.Guest[0] != '/' {
		return caxton.Errorf(caxton.Invalid, "wasm_directory", "%q is not a place for a directory", d.Guest).WithHint("write it like /data")
	}
	info, err := os.Stat(d.Host)
	if err != nil || !info.IsDir() {
		return caxton.Errorf(caxton.Invalid, "wasm_directory", "%s, which the module is to see as %s, is not a directory", d.Host, d.Guest).
			WithHint("make it, or take it from the agent").WithCause(err)
	}
	return nil
}

func first(ts []api.ValueType) api.ValueType {
	if len(ts) == 0 {
		return 0
	}
	return ts[0]
}
