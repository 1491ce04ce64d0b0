package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/agent"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/caxton/caxton/internal/module"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/caxton/caxton/internal/wasm"
	"github.com/prometheus/client_golang/prometheus"
)

// A keeper keeps modules. *module.Store is one.
type keeper interface {
	Put(ctx context.Context, data []byte) (hash string, err error)
	Get(ctx context.Context, hash string) ([]byte, error)
}

// modules joins what keeps modules with the runtime that runs them: it judges and keeps the
// modules of deployments, and makes the handlers of module agents.
type modules struct {
	keeper

	runtime *wasm.Runtime
	use     *moduleUse
	allowed []string // directories that modules may be shown
	most    caxton.Size
	limits  wasm.Limits // ceilings
	log     *slog.Logger
	usual   wasm.Limits // for what an agent leaves open
}

// newModules returns modules with the limits of the configuration; the rest of w is the
// caller's.
func newModules(ctx context.Context, c *config.Config, keep keeper, use *moduleUse, w wasm.Config) *modules {
	m := &modules{keeper: keep, use: use, log: w.Logger, most: c.WASM.MaxModuleSize, limits: ceilings(&c.WASM, &c.Agents), usual: usual(&c.WASM, &c.Agents)}
	for _, dir := range c.WASM.AllowedDirectories {
		whole, err := filepath.EvalSymlinks(dir)
		if err != nil || !filepath.IsAbs(whole) {
			w.Logger.WarnContext(ctx, "directory for modules not usable", "directory", dir, "error", err)
			continue
		}
		m.allowed = append(m.allowed, whole)
	}
	w.Defaults, w.Ceilings, w.MaxAgents, w.Report = m.usual, m.limits, c.WASM.MaxAgents, use.report
	w.MaxConcurrent = cmp.Or(c.WASM.MaxConcurrent, c.Agents.MaxConcurrentExecutions)
	m.runtime = wasm.New(w) //nolint:contextcheck // it waits for nothing
	return m
}

// openModules returns the modules of a server.
func (n *node) openModules(ctx context.Context, handlers *prompt.Handlers) error {
	seed, err := moduleSeed(n.layout.Modules)
	if err != nil {
		return err
	}
	w := &n.c.WASM
	n.timers = &timers{db: n.db, mail: n.router, agents: n.registry, most: w.MaxTimers, log: n.log.Logger, wake: make(chan struct{}, 1)}
	n.shelf = module.New(n.layout.Modules, module.Config{Used: n.db.ModulesInUse, Logger: n.log.Logger})
	n.modules = newModules(ctx, n.c, n.shelf, newModuleUse(n.reg), wasm.Config{
		CacheDir: filepath.Join(n.layout.Cache, "wasm"), CacheSize: w.CacheSize, Seed: seed, Logger: n.log.Logger, Timers: n.timers,
		State: moduleState{n.db, sqlite.StateLimits{Size: w.StateLimit, Keys: w.StateKeys}},
		Calls: func(ctx context.Context, turn caxton.Turn) (wasm.Calls, error) { return callsOf(ctx, handlers, turn) },
		Rehearse: func(ctx context.Context, turn caxton.Turn, past []caxton.Record) (wasm.Rehearsed, error) {
			return handlers.Rehearse(ctx, turn, past)
		},
	})
	gauge := func(name, help string, value func() float64) {
		n.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("caxton_wasm_instances_idle", "Instances of modules that are kept ready for the next message.", func() float64 {
		instances, _ := n.modules.runtime.Ready()
		return float64(instances)
	})
	gauge("caxton_wasm_memory_idle_bytes", "Memory of the modules' instances that are kept ready.", func() float64 {
		_, memory := n.modules.runtime.Ready()
		return float64(memory)
	})
	return nil
}

// callsOf begins the tool calls of a module's turn.
func callsOf(ctx context.Context, handlers *prompt.Handlers, turn caxton.Turn) (wasm.Calls, error) {
	calls, err := handlers.Calls(ctx, turn)
	if calls == nil {
		return nil, err
	}
	return calls, err
}

// ceilings returns the most that a module may take, as the configuration says it.
func ceilings(w *config.WASM, a *config.Agents) wasm.Limits {
	l := wasm.Ceilings()
	l.Memory, l.Fuel, l.Time, l.MessageSize = w.MemoryLimit, w.FuelLimit, w.ExecutionLimit.Std(), w.MessageLimit
	l.OutputSize, l.HostCalls, l.Instances, l.Shutdown = w.OutputLimit, w.HostCallLimit, w.MaxInstances, a.ShutdownTimeout.Std()
	l.Startup = a.StartupTimeout.Std()
	l.LogSize, l.Stack = w.LogLimit, w.StackLimit
	return l
}

// usual returns what a module gets that asks for nothing. What an agent cannot ask for is
// what the configuration says.
func usual(w *config.WASM, a *config.Agents) wasm.Limits {
	return wasm.Limits{
		Memory: 10 * caxton.MiB, Stack: w.StackLimit, Fuel: 1_000_000, Time: 5 * time.Second, MessageSize: 100 * caxton.KiB,
		OutputSize: w.OutputLimit, LogSize: w.LogLimit, HostCalls: w.HostCallLimit, Instances: w.MaxInstances,
		Startup: a.StartupTimeout.Std(), Shutdown: a.ShutdownTimeout.Std(), Idle: a.IdleTimeout.Std(),
	}
}

// moduleSeed returns what modules draw their random numbers from: always the same, so that a
// turn which runs again after a crash draws what it drew before, and known to nobody else.
func moduleSeed(dir string) ([]byte, error) {
	const size = 32
	path := filepath.Join(dir, "SEED")
	seed, err := os.ReadFile(path) //nolint:gosec // a file of the layout
	if err == nil && len(seed) == size {
		return seed, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, caxton.Errorf(caxton.Unavailable, "seed_unreadable", "%s cannot be read", path).WithHint("check its owner and mode").WithCause(err)
	}
	seed = make([]byte, size)
	_, _ = rand.Read(seed) // never fails
	return seed, datadir.AtomicWrite(path, seed, 0o600)
}

// Inspect tells what a module is, and everything that is wrong with it for an agent.
func (m *modules) Inspect(ctx context.Context, data []byte, def *caxton.Definition) (caxton.ModuleReport, []caxton.Issue) {
	out := caxton.ModuleReport{SHA256: module.Hash(data), Size: caxton.Size(len(data))}
	if out.Size > m.most {
		return out, []caxton.Issue{{
			Key: "module", Message: fmt.Sprintf("the module has %s (%d bytes), and this server takes %v", out.Size.Rough(), out.Size, m.most),
			Hint: "build it without debug information, or raise wasm.max_module_size",
		}}
	}
	o, issues := m.options(def)
	rep := m.runtime.Inspect(data, def, o)
	out.Contract, out.Functions, out.Exports = string(rep.Contract), rep.Functions, rep.Exports
	out.Memory, out.MemoryMax = rep.Memory, rep.MemoryMax
	out.Imports = imports(rep.Imports)
	for _, f := range rep.Findings {
		f.Key = strings.TrimSuffix("module."+f.Key, ".")
		issues = append(issues, f)
	}
	out.Limits, out.Grants = m.effective(def), m.grants(def)
	issues = append(issues, m.above(def)...)
	faulty := slices.ContainsFunc(issues, func(i caxton.Issue) bool { return !i.Warning })
	if len(def.Capabilities) == 0 && slices.Contains(out.Exports, "get_capabilities") && !faulty {
		var err error
		if out.Capabilities, err = m.capabilities(ctx, data, def, o); err != nil {
			issues = append(issues, caxton.Issue{Key: "capabilities", Message: "get_capabilities of the module: " + reason(err)})
		}
	}
	return out, issues
}

// capabilities asks a module what it can do. What is compiled for it is in the cache when the
// agent starts.
func (m *modules) capabilities(ctx context.Context, data []byte, def *caxton.Definition, o wasm.Options) (cs []caxton.Capability, err error) {
	a, err := m.runtime.Agent(ctx, caxton.AgentVersion{Definition: *def}, data, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Close(ctx)) }()
	return a.Capabilities(ctx)
}

// options returns what a definition asks for, and what it may not ask for.
func (m *modules) options(def *caxton.Definition) (wasm.Options, []caxton.Issue) {
	o := wasm.Options{Limits: wasm.LimitsOf(def), Grants: grantsOf(def)}
	var issues []caxton.Issue
	for _, name := range def.Module.Grants {
		if all := wasm.AllGrants(); !slices.Contains(all, wasm.Grant(name)) {
			issues = append(issues, caxton.Issue{Key: "module.grants", Message: fmt.Sprintf("there is no grant %.80q", name), Hint: fmt.Sprintf("use some of %v", all)})
		}
	}
	for _, d := range def.Module.Dirs {
		host, err := filepath.EvalSymlinks(d.Host)
		switch {
		case !filepath.IsAbs(d.Host):
			issues = append(issues, caxton.Issue{Key: "module.directories", Message: fmt.Sprintf("%.200q is not a whole path", d.Host), Hint: "begin it with the root"})
		case err != nil || !slices.ContainsFunc(m.allowed, func(root string) bool { return below(root, host) }):
			issues = append(issues, caxton.Issue{
				Key: "module.directories", Message: fmt.Sprintf("modules may not see the directory %.200q of this server", d.Host),
				Hint: "whoever runs the server lists in wasm.allowed_directories what they may see",
			})
		default:
			o.Dirs = append(o.Dirs, wasm.Dir{Guest: d.Guest, Host: host, Write: d.Write})
		}
	}
	return o, issues
}

// grantsOf returns the grants that a definition asks for and that there are; nil for those
// that follow from its tools.
func grantsOf(def *caxton.Definition) []wasm.Grant {
	var gs []wasm.Grant
	for _, name := range def.Module.Grants {
		if g := wasm.Grant(name); slices.Contains(wasm.AllGrants(), g) {
			gs = append(gs, g)
		}
	}
	return gs
}

// below reports whether a path is a directory or lies in it. Both are clean.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// imports returns imports as the rest of the server has them.
func imports(is []wasm.Import) []caxton.ModuleImport {
	var out []caxton.ModuleImport
	for _, i := range is {
		out = append(out, caxton.ModuleImport{Module: i.Module, Name: i.Name, Type: i.Type, Grant: string(i.Grant), Granted: i.Granted})
	}
	return out
}

// Imports returns what the module of a definition wants of the server, when it is compiled.
func (m *modules) Imports(def *caxton.Definition) []caxton.ModuleImport {
	return imports(m.runtime.Imports(def.Module.SHA256, def, wasm.Options{Limits: wasm.LimitsOf(def), Grants: grantsOf(def)}))
}

// effective returns the limits that an agent runs under.
func (m *modules) effective(def *caxton.Definition) caxton.ResourceLimits {
	asked := wasm.LimitsOf(def)
	pick := func(asked, usual, most int64) int64 {
		if asked == 0 {
			asked = usual
		}
		return min(asked, most)
	}
	return caxton.ResourceLimits{
		MaxMemoryBytes:   caxton.Size(pick(int64(asked.Memory), int64(m.usual.Memory), int64(m.limits.Memory))),
		MaxFuel:          pick(asked.Fuel, m.usual.Fuel, m.limits.Fuel),
		MaxExecutionTime: time.Duration(pick(int64(asked.Time), int64(m.usual.Time), int64(m.limits.Time))),
		MaxMessageSize:   caxton.Size(pick(int64(asked.MessageSize), int64(m.usual.MessageSize), int64(m.limits.MessageSize))),
	}
}

// above warns of limits that are higher than the server's, which count.
func (m *modules) above(def *caxton.Definition) []caxton.Issue {
	var issues []caxton.Issue
	l := &def.Limits
	for _, x := range []struct {
		key, setting string
		over         bool
		asked, most  any
	}{
		{"max_memory_bytes", "memory_limit", l.MaxMemoryBytes > m.limits.Memory, l.MaxMemoryBytes, m.limits.Memory},
		{"max_fuel", "fuel_limit", l.MaxFuel > m.limits.Fuel, l.MaxFuel, m.limits.Fuel},
		{"max_execution_time", "execution_limit", l.MaxExecutionTime > m.limits.Time, l.MaxExecutionTime, m.limits.Time},
		{"max_message_size", "message_limit", l.MaxMessageSize > m.limits.MessageSize, l.MaxMessageSize, m.limits.MessageSize},
	} {
		if x.over {
			issues = append(issues, caxton.Issue{
				Key: "resource_limits." + x.key, Warning: true, Message: fmt.Sprintf("%v is more than this server allows, which is %v", x.asked, x.most),
				Hint: "ask for less, or raise wasm." + x.setting,
			})
		}
	}
	return issues
}

// Use returns what the module of an agent took since the start, or nil when it has none.
func (m *modules) Use(id caxton.AgentID) *api.ModuleUse { return m.use.of(id) }

// Bounds returns what the module of a definition runs under, and what it may do.
func (m *modules) Bounds(def *caxton.Definition) (caxton.ResourceLimits, []string) {
	return m.effective(def), m.grants(def)
}

// grants returns the names of what a module may do besides answering.
func (*modules) grants(def *caxton.Definition) []string {
	gs := grantsOf(def)
	if gs == nil {
		gs = wasm.GrantsOf(def)
	}
	names := make([]string, 0, len(gs))
	for _, g := range gs {
		names = append(names, string(g))
	}
	slices.Sort(names)
	return names
}

// agent makes the agent of a version.
func (m *modules) agent(ctx context.Context, v caxton.AgentVersion) (*wasm.Agent, error) {
	data, err := m.Get(ctx, v.Definition.Module.SHA256)
	if err != nil {
		return nil, err
	}
	o, issues := m.options(&v.Definition)
	if len(issues) > 0 { // the configuration allowed it when the version was deployed
		return nil, caxton.Errorf(caxton.Invalid, "wasm_refused", "the module cannot run here: %s", issues[0].Message).WithHint("%s", issues[0].Hint)
	}
	return m.runtime.Agent(ctx, v, data, o)
}

// handler makes the handler of a version.
func (m *modules) handler(ctx context.Context, v caxton.AgentVersion) (agent.Handler, error) {
	a, err := m.agent(ctx, v)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// A moduleReplayer replays turns of a version.
type moduleReplayer struct{ *wasm.Agent }

// Replay runs a turn again.
func (r moduleReplayer) Replay(ctx context.Context, turn caxton.Turn, calls *prompt.Calls) ([]caxton.Message, caxton.ModuleTurn, error) {
	return r.Agent.Replay(ctx, turn, calls)
}

// replayer returns what replays turns of a version.
func (m *modules) replayer(ctx context.Context, v caxton.AgentVersion) (prompt.ModuleReplayer, error) {
	a, err := m.agent(ctx, v)
	if err != nil {
		return nil, err
	}
	return moduleReplayer{a}, nil
}

// Run releases idle instances until ctx ends, and then closes what is left, in the time that
// an instance has to end. The agents have ended before.
func (m *modules) Run(ctx context.Context) error {
	err := m.runtime.Run(ctx)
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.limits.Shutdown)
	defer cancel()
	if e := m.runtime.Close(within); e != nil {
		m.log.WarnContext(ctx, "modules not closed well", "error", e) // a compilation that goes on ends with the process
	}
	return err
}

// moduleState keeps what modules keep, in the database of the journal.
type moduleState struct {
	db   *sqlite.DB
	most sqlite.StateLimits
}

// Load returns the value of a key of a version of an agent.
func (s moduleState) Load(ctx context.Context, agent caxton.AgentID, version int, key string) ([]byte, bool, error) {
	return s.db.AgentState(ctx, agent, version, key)
}

// Next returns the first key of a version that comes after another one.
func (s moduleState) Next(ctx context.Context, agent caxton.AgentID, version int, after string) (string, bool, error) {
	return s.db.NextStateKey(ctx, agent, version, after)
}

// Share has a version go on with what another keeps.
func (s moduleState) Share(ctx context.Context, agent caxton.AgentID, from, to int, unlessKept bool) error {
	return s.db.ShareState(ctx, agent, from, to, unlessKept)
}

// Fork has a version go on with a changed copy of what another keeps.
func (s moduleState) Fork(ctx context.Context, agent caxton.AgentID, from, to int, changes []wasm.Change) error {
	return s.db.ForkState(ctx, agent, from, to, stateChanges(changes), s.most)
}

// Committed returns what a turn said whose changes are stored.
func (s moduleState) Committed(ctx context.Context, agent caxton.AgentID, msg caxton.MessageID) ([]byte, bool, error) {
	return s.db.StateCommitted(ctx, agent, msg)
}

// Commit stores the changes of a turn and what it said.
func (s moduleState) Commit(ctx context.Context, agent caxton.AgentID, version int, msg caxton.MessageID, changes []wasm.Change, outputs []byte) error {
	return s.db.CommitState(ctx, agent, version, msg, stateChanges(changes), outputs, s.most)
}

func stateChanges(changes []wasm.Change) []sqlite.StateChange {
	cs := make([]sqlite.StateChange, len(changes))
	for i := range changes {
		cs[i] = sqlite.StateChange(changes[i])
	}
	return cs
}
