package node

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/agent"
	"github.com/caxton/caxton/internal/agentdir"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/caxton/caxton/internal/cluster"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/caxton/caxton/internal/deploy"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/httpd"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/mcp"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/caxton/caxton/internal/module"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/registry"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/schedule"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/builtin"
	"github.com/caxton/caxton/internal/tool/messaging"
	"github.com/caxton/caxton/internal/tool/remembering"
	"github.com/caxton/caxton/internal/webhook"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options say what is not in the configuration.
type Options struct {
	Version string
	Dir     string     // working directory, where relative paths start
	Environ []string   // for keys of model providers
	Stderr  io.Writer  // where log lines go
	Ready   func(Info) // called once, when the server takes requests; may be nil
}

// Info tells what a server that is ready has settled on.
type Info struct {
	APIAddr     string
	MetricsAddr string // "" without metrics
	Socket      string // "" when there is none
	DataDir     string
	AgentsDir   string
	Agents      int
	Provider    string // who answers for agents that choose nothing
	Model       string
	Reason      string // why that provider
	Resumed     int    // messages taken up again from before the restart
}

// Locate returns where a server with this configuration keeps everything; relative paths
// start at dir.
func Locate(c *config.Config, dir string) (datadir.Layout, error) {
	return datadir.Locate(datadir.Paths{
		DataDir: c.Server.DataDir, Agents: c.Server.AgentsDir, Socket: c.Server.Socket, State: c.Server.State.Path,
		Memory: c.Memory.SQLitePath, Files: c.Tools.FileRead.Root, Backups: c.Backup.Dir, Dir: dir,
	})
}

// Run runs a server until ctx ends, then stops it cleanly. It returns nil after a clean
// stop, and otherwise why the server could not start or go on.
func Run(ctx context.Context, loaded *config.Loaded, o Options) error {
	c := &loaded.Config
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	layout, err := Locate(c, o.Dir)
	if err != nil {
		return err
	}
	log, warn := telemetry.NewLog(telemetry.LogConfig{
		Level: c.Logging.Level, Format: c.Logging.Format, Stderr: o.Stderr, File: c.Logging.File,
		Rotation: c.Logging.Rotation, Keep: c.Logging.RetentionDays,
	})
	defer func() { _ = log.Close() }()
	if warn != nil {
		log.WarnContext(ctx, "log not as configured", "error", warn)
	}
	notes(ctx, log.Logger, loaded)
	dir, err := datadir.Open(ctx, layout, datadir.Holder{})
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	for _, w := range dir.Warnings {
		log.WarnContext(ctx, "data directory warning", "issue", w)
	}
	ctx, shutdown := context.WithCancelCause(ctx)
	defer shutdown(nil)
	n := &node{c: c, o: o, layout: layout, lock: dir, log: log, reg: prometheus.NewRegistry(), shutdown: shutdown, settings: settings(loaded), cut: make(chan struct{})}
	if err := n.build(ctx); err != nil {
		return err
	}
	defer func() { _ = n.abandon(nil) }()
	return n.run(ctx)
}

// notes logs what is odd in the configuration, and once what has no effect yet.
func notes(ctx context.Context, log *slog.Logger, loaded *config.Loaded) {
	for _, w := range loaded.Warnings {
		log.WarnContext(ctx, "configuration warning", "issue", w.String())
	}
	if s := &loaded.Config.Security; s.Authentication.Enabled || s.APIKeys.Required || s.TLS.Enabled {
		log.ErrorContext(ctx, "security settings have no effect in this version: everyone who reaches the API may use it",
			"hint", "listen on loopback only, or put a proxy in front")
	}
	if inert := loaded.Inert(); len(inert) > 0 {
		log.WarnContext(ctx, "settings without effect in this version", "keys", inert)
	}
}

func settings(loaded *config.Loaded) api.Settings {
	out := api.Settings{Items: []api.Setting{}, Inert: loaded.Inert()}
	for _, s := range loaded.Effective() {
		out.Items = append(out.Items, api.Setting{Key: s.Key, Value: s.Value, Origin: s.Origin})
	}
	if out.Inert == nil {
		out.Inert = []string{}
	}
	return out
}

// A journal is what router and prompt need of the log of conversations.
type journal interface {
	router.Journal
	prompt.Log
	httpd.Log
	ToolUses(ctx context.Context) ([]caxton.AgentTools, error)
}

// A node is one server put together.
type node struct {
	c        *config.Config
	o        Options
	layout   datadir.Layout
	lock     *datadir.Dir
	log      *telemetry.Log
	tracer   *telemetry.Tracer // nil: nothing is traced
	reg      *prometheus.Registry
	shutdown context.CancelCauseFunc
	settings api.Settings

	db       *sqlite.DB
	journal  journal
	memlock  io.Closer // of the memory file, which may be anywhere
	memdb    *memdb.DB
	model    *embeddingModel
	memory   *engine.Engine
	solo     *cluster.Solo
	registry *registry.Registry
	router   *router.Router
	mcp      *mcp.Servers
	agents   *agent.Supervisor
	deployer *deploy.Deployer
	dir      *agentdir.Dir
	schedule *schedule.Scheduler
	hooks    *webhook.Engine
	steps    *event.Rollouts
	shelf    *module.Store
	modules  *modules
	timers   *timers
	http     *httpd.Server
	catalog  *llm.Catalog
	reason   string

	cut     chan struct{} // closed when turns in flight must end at once
	cutOnce sync.Once
}

// build makes every part; it starts none.
func (n *node) build(ctx context.Context) (err error) {
	c := n.c
	durability := sqlite.Durability(c.Messaging.Durability)
	if durability != sqlite.Full {
		durability = sqlite.Normal
	}
	if n.tracer, err = n.traces(ctx); err != nil {
		return err
	}
	feed := &event.Feed{}
	if n.db, err = sqlite.Open(ctx, sqlite.Config{Path: n.layout.Database, Durability: durability, Logger: n.log.Logger, Registerer: n.reg, Feed: feed}); err != nil {
		return err
	}
	n.journal = n.db
	if c.Messaging.Durability == "memory" {
		n.journal = memjournal.New(memjournal.Config{Feed: feed})
	}
	n.solo = cluster.NewSolo()
	maxAgents := c.Agents.MaxAgents
	if maxAgents == 0 {
		maxAgents = -1
	}
	n.registry = registry.New(n.db, n.solo, registry.Config{MaxAgents: maxAgents})
	if err = n.registry.Load(ctx); err != nil {
		return n.abandon(err)
	}
	if err = n.openMemory(ctx); err != nil {
		return n.abandon(err)
	}
	n.router = router.New(n.journal, n.registry, router.Config{
		Strategy: c.Messaging.Strategy, QueueSize: c.Agents.QueueSize, MaxMessage: c.Messaging.MaxMessageSize, MaxDepth: c.Messaging.MaxDepth,
		Available: n.available, Logger: n.log.Logger, Registerer: n.reg, Tracer: n.tracer,
		Limits: router.Limits{
			MaxTurns: c.Messaging.Conversation.MaxTurns, MaxParticipants: c.Messaging.Conversation.MaxParticipants,
			IdleTimeout: c.Messaging.Conversation.IdleTimeout.Std(), MaxLifetime: c.Messaging.Conversation.MaxLifetime.Std(),
			Sweep: c.Messaging.Conversation.ArchiveInterval.Std(),
		},
	})
	n.mcp = mcp.New(n.db, n.mcpConfig())
	tools, err := n.tools()
	if err != nil {
		return n.abandon(err)
	}
	if n.catalog, n.reason, err = models(ctx, &c.LLM, n.o.Environ, n.log.Logger); err != nil {
		return n.abandon(err)
	}
	n.reg.MustRegister(n.catalog)
	handlers := prompt.New(n.catalog, tools, n.journal, prompt.Config{
		Module: func(ctx context.Context, v caxton.AgentVersion) (prompt.ModuleReplayer, error) {
			return n.modules.replayer(ctx, v)
		},
		ModelTimeout: c.LLM.Timeout.Std(), MaxTokens: c.LLM.MaxTokens, Temperature: c.LLM.Temperature,
		ApproveTools: c.Tools.Approval.Tools, Approval: c.Tools.Approval.Policy(), Budgets: c.Agents.Budget.Caps(), Prices: c.LLM.PriceTable(),
		Feed: feed, Memory: recollection{n.memory}, Logger: n.log.Logger, Registerer: n.reg,
	})
	if err = n.openModules(ctx, handlers); err != nil {
		return n.abandon(err)
	}
	n.agents = agent.New(n.router, n.registry, func(ctx context.Context, v caxton.AgentVersion) (agent.Handler, error) {
		if v.Definition.IsModule() {
			return n.modules.handler(ctx, v)
		}
		return handlers.Handler(v)
	}, agent.Config{
		MaxConcurrent: c.Agents.MaxConcurrentExecutions, PerAgent: c.Agents.MaxConcurrentPerAgent, ExecutionTimeout: c.Agents.ExecutionTimeout.Std(),
		MaxAttempts: c.Agents.MaxAttempts, RetryInitial: c.Agents.RetryBackoffInitial.Std(), RetryMax: c.Agents.RetryBackoffMax.Std(),
		BreakerFailures: c.Agents.BreakerFailures, RestartInitial: c.Agents.RestartBackoffInitial.Std(), RestartMax: c.Agents.RestartBackoffMax.Std(),
		StartupTimeout: c.Agents.StartupTimeout.Std(), DrainTimeout: c.Server.DrainTimeout.Std(), Cut: n.cut, Logger: n.log.Logger, Registerer: n.reg,
		Tracer: n.tracer,
	})
	n.deployer = deploy.New(n.registry, n.agents, tools, deploy.Config{
		StartTimeout: c.Agents.StartupTimeout.Std(), Pending: n.router.Pending, CheckModel: checkModel(n.catalog), Modules: n.modules, Tallies: n.db,
		Logger: n.log.Logger, Registerer: n.reg, Tracer: n.tracer,
	})
	n.dir = agentdir.New(n.layout.Agents, n.deployer, n.registry, agentdir.Config{
		Debounce: c.Agents.Debounce.Std(), NoWatch: !c.Agents.Watch, MaxModule: c.WASM.MaxModuleSize, Logger: n.log.Logger,
	})
	n.schedule = schedule.New(n.router, n.db, schedule.Config{Logger: n.log.Logger, Registerer: n.reg})
	if n.hooks, err = n.webhooks(feed); err != nil {
		return n.abandon(err)
	}
	n.steps = event.NewRollouts(func(e caxton.RolloutEvent, news bool) {
		if news {
			feed.PublishRollout(&e)
		}
		n.hooks.Rollout(e)
	})
	n.http = httpd.New(httpd.Deps{
		Router: n.router, Registry: n.registry, Deployer: n.deployer, AgentDir: n.dir, Supervisor: n.agents, Logs: logs{n.db, n.journal},
		Tools: tools, MCP: n.mcp, Previewer: handlers, Conversations: n.router, Blobs: n.journal, Drafts: n.deployer,
		Replay: func(ctx context.Context, records []caxton.Record) (caxton.Replay, error) {
			return handlers.ReplayConversation(ctx, n.registry, records)
		},
		Keys: sqlite.NewKeys(n.db, sqlite.KeysConfig{}), Schema: agentfile.Schema, Settings: func() api.Settings { return n.settings },
		Schedules: n.schedule, Log: n.journal, Feed: feed, Webhooks: n.hooks, Memory: n.memory, Model: n.model, Modules: n.modules,
		Status: n.status, Health: n.health, Shutdown: n.stop,
		Metrics: newTicketMetrics(n.router, n.log.Logger, n.reg, time.Now).before(
			promhttp.HandlerFor(n.reg, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelWarn)})),
	}, httpd.Config{
		Addr: c.APIAddr(), Socket: n.layout.Socket, MetricsAddr: c.MetricsAddr(), AdminAddr: c.AdminAddr(), Version: n.o.Version, AllowedHosts: c.Server.AllowedHosts,
		MaxConnections: cmp.Or(c.Server.MaxConnections, -1), MaxBody: int64(c.Server.MaxBodySize), MaxModule: int64(c.WASM.MaxModuleSize),
		MaxMessage: 2*int64(c.Messaging.MaxMessageSize) + 64<<10, HeaderTimeout: c.Server.ConnectionTimeout.Std(),
		RequestTimeout: c.Server.RequestTimeout.Std(), IdleTimeout: c.Server.KeepaliveTimeout.Std(), WaitTimeout: c.Messaging.WaitTimeout.Std(),
		DrainTimeout: c.Server.DrainTimeout.Std(), MaxStreams: c.Server.MaxStreams, Logger: n.log.Logger, Registerer: n.reg,
		Tracer: n.tracer,
	})
	return nil
}

// abandon closes what build opened, and returns err with what went wrong.
func (n *node) abandon(err error) error {
	if n.memdb != nil {
		err = errors.Join(err, n.memdb.Close())
	}
	if n.memlock != nil {
		err = errors.Join(err, n.memlock.Close())
	}
	return errors.Join(err, n.db.Close())
}

// available lets the router ask a supervisor that is built after it.
func (n *node) available(id caxton.AgentID) bool { return n.agents.Available(id) }

func (n *node) tools() (*tool.Set, error) {
	cfg := toolConfig(n.c)
	cfg.File.Root = n.layout.Files
	all, err := ownTools(cfg, n.router, n.memory, profiles{n.registry})
	if err != nil {
		return nil, err
	}
	set, err := tool.NewSetWith(n.mcp, n.c.Tools.Allowed, all...)
	if err != nil {
		return nil, err
	}
	for _, name := range n.c.Tools.Approval.Tools { // a slip would let calls pass that are to wait
		if known, _ := set.Known(name); !known {
			e := caxton.Errorf(caxton.Invalid, "tool_unknown", "tools.approval.tools: there is no tool %q", name)
			if near := set.Nearest(name); near != "" {
				return nil, e.WithHint("did you mean %s?", near)
			}
			return nil, e.WithHint("mend its name, or take it out of the list")
		}
	}
	return set, nil
}

// ownTools returns the tools that the program has itself. Without mail and memory those that
// need them can be described and not called.
func ownTools(cfg builtin.Config, mail messaging.Mail, mem remembering.Memory, who remembering.Profiles) ([]tool.Tool, error) {
	all, err := builtin.New(cfg)
	if err != nil {
		return nil, err
	}
	talk, err := messaging.New(mail, messaging.Config{Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	remember, err := remembering.New(mem, who)
	return slices.Concat(all, talk, remember), err
}

// toolConfig returns what the configuration says of the built-in tools.
func toolConfig(c *config.Config) builtin.Config {
	t := &c.Tools
	return builtin.Config{
		HTTP: builtin.HTTPConfig{
			AllowedHosts: t.HTTPClient.AllowedHosts, DeniedHosts: t.HTTPClient.DeniedHosts, AllowedOnly: t.HTTPClient.AllowedOnly,
			AllowPrivate: t.HTTPClient.AllowPrivate, Timeout: t.HTTPClient.Timeout.Std(), MaxResponse: t.HTTPClient.MaxResponseSize,
			MaxRequest: t.HTTPClient.MaxRequestSize, MaxRedirects: redirects(t.HTTPClient.MaxRedirects), MaxConnections: t.HTTPClient.MaxConnections,
		},
		CSV:  builtin.CSVConfig{MaxSize: t.CSVParser.MaxSize},
		JSON: builtin.JSONConfig{MaxSize: t.JSONQuery.MaxSize, MaxOutput: t.JSONQuery.MaxOutput, Timeout: t.JSONQuery.Timeout.Std()},
		File: builtin.FileConfig{MaxSize: t.FileRead.MaxSize},
	}
}

// redirects turns "none" into what the tool takes for none.
func redirects(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// logs joins the agents' logs of the database with the tool calls of the journal.
type logs struct {
	*sqlite.DB
	journal journal
}

func (l logs) ToolUses(ctx context.Context) ([]caxton.AgentTools, error) {
	return l.journal.ToolUses(ctx)
}

func (n *node) status(ctx context.Context) (api.Status, error) {
	size, err := n.db.Size(ctx)
	providers := []api.Provider{}
	for _, p := range n.catalog.Status() {
		out := api.Provider{Name: p.Provider, State: p.State, Failures: p.Failures, Reason: p.Reason}
		if !p.RetryAt.IsZero() {
			out.RetryAt = new(p.RetryAt.UTC())
		}
		providers = append(providers, out)
	}
	return api.Status{
		Providers:  providers,
		APIAddress: n.http.Addr().String(), DataDir: n.layout.Data, AgentsDir: n.layout.Agents, Durability: n.c.Messaging.Durability,
		Provider: n.catalog.Standard().Provider, MemoryBytes: telemetry.ResidentMemory(), DatabaseBytes: size,
	}, err
}

func (n *node) health(ctx context.Context) (api.MemoryHealth, error) {
	if err := n.db.Check(ctx); err != nil {
		return api.MemoryHealth{}, err
	}
	h := api.MemoryHealth{Status: "healthy", SQLiteStatus: "ok", EmbeddingModel: "not_loaded"}
	if _, err := n.memdb.File(ctx); err != nil {
		return h, err
	}
	if n.model.provider != nil {
		h.EmbeddingModel = "loaded"
	}
	switch st := n.memory.Status(); st.State {
	case memory.Ready:
	case memory.Loading:
		h.Status = string(memory.Loading)
	case memory.Failed:
		h.Status, h.Reason = string(memory.Failed), st.Reason
	}
	return h, nil
}

// stop begins the clean stop of the server; turns in flight may take as long as timeout.
func (n *node) stop(timeout time.Duration) {
	n.log.Info("shutdown requested", "timeout", timeout)
	time.AfterFunc(timeout, func() { n.cutOnce.Do(func() { close(n.cut) }) })
	n.shutdown(nil)
}

// A stage is a part that runs: it is started after the ones before it and stopped before them.
type stage struct {
	name string
	run  func(ctx context.Context) error
	up   func(ctx context.Context) error // waits until it is up; nil when it is at once
}

// stages returns the parts in the order in which they start.
func (n *node) stages(started time.Time, info *Info) []stage {
	return []stage{
		{"database", n.db.Run, func(ctx context.Context) error {
			restarts, err := n.db.CountStart(ctx)
			telemetry.RegisterProcess(n.reg, started, restarts, n.o.Version)
			return err
		}},
		{"traces", n.tracer.Run, nil},
		{"agent logs", func(ctx context.Context) error { return n.log.Run(ctx, n.db.LogAgent) }, nil},
		{"registry", func(ctx context.Context) error { return n.solo.Run(ctx, n.registry) }, nil},
		{"memory database", n.memdb.Run, nil},
		{"embedding model", n.model.Run, nil},
		{"memory", n.memory.Run, nil},
		{"router", n.router.Run, func(ctx context.Context) (err error) {
			info.Resumed, err = n.router.Recover(ctx)
			return err
		}},
		{"mcp servers", n.mcp.Run, func(ctx context.Context) error {
			select {
			case <-n.mcp.Loaded():
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}},
		{"archiver", n.router.Archiver, nil},
		{"module store", n.shelf.Run, nil},
		{"modules", n.modules.Run, func(context.Context) error {
			n.registry.Observe(n.modules.use)
			return nil
		}},
		{"agents", n.agents.Run, func(context.Context) error {
			n.registry.Observe(n.agents)
			return nil
		}},
		{"rollouts", func(ctx context.Context) error {
			n.registry.Observe(n.steps)
			n.registry.Observe(n.deployer)
			return n.deployer.Run(ctx)
		}, nil},
		{"agents directory", n.dir.Run, func(ctx context.Context) error {
			select {
			case <-n.dir.Scanned():
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}},
		{"schedule", n.schedule.Run, func(ctx context.Context) error {
			select {
			case <-n.schedule.Loaded():
			case <-ctx.Done():
				return ctx.Err()
			}
			n.registry.Observe(n.schedule) // the files are read: what changed while the server was down is known
			return nil
		}},
		{"timers", n.timers.Run, nil},
		{"webhooks", n.hooks.Run, nil},
		{"http", n.http.Run, func(ctx context.Context) error {
			select {
			case <-n.http.Listening():
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}},
	}
}

// running is a stage that was started.
type running struct {
	stage
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned
	err    error         // what it returned; read after done
}

// run starts the stages, waits for the end, and stops them in reverse.
func (n *node) run(ctx context.Context) error {
	started := time.Now()
	var info Info
	base := context.WithoutCancel(ctx) // stages end one by one, not all at once with ctx
	failed := make(chan *running, 16)  // one for each stage
	var all []*running
	var wg sync.WaitGroup
	begin := func(s stage) error {
		sctx, cancel := context.WithCancel(base)
		r := &running{stage: s, cancel: cancel, done: make(chan struct{})}
		all = append(all, r)
		wg.Go(func() {
			r.err = s.run(sctx)
			close(r.done)
			if r.err != nil {
				failed <- r
			}
		})
		if s.up == nil {
			return nil
		}
		return n.up(ctx, r)
	}
	var err error
	for _, s := range n.stages(started, &info) {
		if err = begin(s); err != nil {
			break
		}
	}
	if err == nil && ctx.Err() == nil {
		n.announce(ctx, &info, started)
		select {
		case <-ctx.Done():
			n.log.InfoContext(ctx, "server stopping")
		case r := <-failed:
			err = r.err
			n.log.ErrorContext(ctx, "part of the server failed", "part", r.name, "error", err)
		}
	}
	n.halt(base, all)
	wg.Wait()
	for _, r := range all {
		r.cancel()
		if err == nil && r.err != nil {
			err = r.err
		}
	}
	if errors.Is(err, context.Canceled) {
		err = nil // told to stop while starting
	}
	if err == nil {
		n.log.InfoContext(ctx, "server stopped")
	}
	return err
}

// up waits until a stage is up, or has failed.
func (n *node) up(ctx context.Context, r *running) error {
	uctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- r.up(uctx) }() // ends with uctx at the latest, and is waited for below
	select {
	case err := <-result:
		return err
	case <-r.done:
		cancel()
		if err := <-result; r.err == nil {
			return err
		}
		return r.err
	}
}

// announce says that the server takes requests.
func (n *node) announce(ctx context.Context, info *Info, started time.Time) {
	info.APIAddr = n.http.Addr().String()
	if a := n.http.MetricsAddr(); a != nil {
		info.MetricsAddr = a.String()
	}
	info.Socket = n.layout.Socket
	if err := n.lock.Announce(info.APIAddr, info.Socket); err != nil {
		n.log.WarnContext(ctx, "lock file not written", "error", err)
	}
	standard := n.catalog.Standard()
	info.DataDir, info.AgentsDir, info.Agents = n.layout.Data, n.layout.Agents, n.registry.Len()
	info.Provider, info.Model, info.Reason = standard.Provider, standard.Model, n.reason
	n.log.InfoContext(ctx, "server ready", "api", info.APIAddr, "metrics", info.MetricsAddr, "socket", info.Socket, "data_dir", info.DataDir,
		"agents_dir", info.AgentsDir, "agents", info.Agents, "llm_provider", info.Provider, "llm_model", info.Model, "llm_reason", info.Reason,
		"resumed", info.Resumed, "took", time.Since(started))
	if n.o.Ready != nil {
		n.o.Ready(*info)
	}
}

// halt stops the stages from the last to the first: not ready and no new messages first,
// then each part finishes what it has.
func (n *node) halt(ctx context.Context, all []*running) {
	n.http.Drain()
	n.router.Close()
	for _, r := range slices.Backward(all) {

		r.cancel()
		<-r.done
		n.log.DebugContext(ctx, "part stopped", "part", r.name)
	}
}

// KnownTool reports whether there is a tool of this name, and otherwise the name it is most
// likely a slip of, or "". It needs no server.
func KnownTool(name string) (known bool, nearest string) {
	if canonical := (caxton.ToolGrant{Name: name}).Canonical(); strings.HasPrefix(canonical, caxton.MCPPrefix) {
		return true, "" // only the server knows its MCP servers, and will say
	}
	all, err := ownTools(builtin.Config{}, nil, nil, nil)
	if err != nil {
		return true, "" // the server will say
	}
	set, err := tool.NewSet(nil, all...)
	if err != nil {
		return true, ""
	}
	known, _ = set.Known(name)
	return known, set.Nearest(name)
}

// VersionInfo returns what a program of this version says of itself.
func VersionInfo(version string) api.VersionInfo { return httpd.VersionInfo(version) }
