package mcp

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// A Store keeps pins. *sqlite.DB provides it.
type Store interface {
	ToolPins(ctx context.Context) ([]caxton.ToolPin, error)
	SaveToolPins(ctx context.Context, pins ...caxton.ToolPin) error
}

// A Server says how one MCP server is reached and what it may do. Zero fields mean the
// defaults given here. Command or URL is required.
type Server struct {
	Command string // program of a server that speaks over its standard streams
	Args    []string
	Env     map[string]string // for the program, besides a few harmless variables
	Dir     string            // working directory of the program: Config.Dir

	URL     string            // of a server that speaks streamable HTTP
	Headers map[string]string // sent with each request

	Timeout        time.Duration // of one call: 60 s
	StartupTimeout time.Duration // to start, agree and list: 30 s
	MaxResult      int64         // bytes of one result: 1 MiB
	Trust          bool          // approve tools at first sight, and believe hints
	Disabled       bool
	Include        []string // names of tools, * at the end: those there are for us; nil means all
	Exclude        []string // those there are not
	Idempotent     []string // those that may be repeated under the same key after a crash
}

// Config tunes Servers. Zero fields mean the defaults given here.
type Config struct {
	Servers        map[string]Server
	Environ        []string                                   // of this process: harmless variables are handed on
	Dir            string                                     // where children work: this process's directory
	Version        string                                     // of this program, told to servers
	RestartInitial time.Duration                              // pause before a server is started again: 1 s, doubling
	RestartMax     time.Duration                              // the longest such pause: 1 min
	Refresh        time.Duration                              // between looks at the list of tools: 5 min
	Calm           time.Duration                              // between looks at a list that keeps changing: 1 s
	Grace          time.Duration                              // for a child to end when asked, before it is killed: 2 s
	Dial           func(server string) (sdk.Transport, error) // in place of command and URL; nil means those
	Logger         *slog.Logger                               // discards
	Registerer     prometheus.Registerer                      // a registry of its own
	Now            func() time.Time                           // time.Now
}

// Servers are the configured MCP servers and their tools. It is safe for concurrent use.
type Servers struct {
	store   Store
	cfg     Config
	servers map[string]*server
	metrics metrics
	loaded  chan struct{} // closed when the pins are read

	change sync.Mutex // one change of pins at a time, so that what is stored is what is in force

	mu    sync.RWMutex
	known map[string]*known // by the name for agents
	shown map[string]string // hash of the offer that somebody looked at last, by the same name
}

// known is what there is to know about one tool. It is replaced, not changed.
type known struct {
	pin   caxton.ToolPin
	live  bool   // the server offered it when last asked
	asked bool   // the server was asked since this process started
	fault string // why it cannot be used, whatever an operator says
	entry *tool.Entry
}

// New returns Servers. It starts nothing; Run does.
func New(store Store, cfg Config) *Servers {
	cfg.RestartInitial = cmp.Or(cfg.RestartInitial, time.Second)
	cfg.RestartMax = cmp.Or(cfg.RestartMax, time.Minute)
	cfg.Refresh = cmp.Or(cfg.Refresh, 5*time.Minute)
	cfg.Calm = cmp.Or(cfg.Calm, time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 2*time.Second)
	cfg.Version = cmp.Or(cfg.Version, "dev")
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Servers{store: store, cfg: cfg, servers: map[string]*server{}, loaded: make(chan struct{}), known: map[string]*known{}, shown: map[string]string{}}
	s.metrics = newMetrics(cfg.Registerer)
	for name, c := range cfg.Servers {
		c.Timeout = cmp.Or(c.Timeout, time.Minute)
		c.StartupTimeout = cmp.Or(c.StartupTimeout, 30*time.Second)
		c.MaxResult = cmp.Or(c.MaxResult, 1<<20)
		c.Dir = cmp.Or(c.Dir, cfg.Dir)
		s.servers[name] = newServer(s, name, c)
	}
	return s
}

// Run keeps the servers running until ctx ends, then ends them all. It fails when the pins
// cannot be read; a server that fails is started again.
func (s *Servers) Run(ctx context.Context) error {
	pins, err := s.store.ToolPins(ctx)
	if err != nil {
		return err
	}
	s.change.Lock()
	for _, p := range pins {
		if srv := s.servers[p.Server]; srv != nil && !srv.cfg.Disabled && srv.serves(p.Pinned.Tool) {
			if p.DecidedBy == trusted && !srv.cfg.Trust {
				p = distrusted(p)
				s.cfg.Logger.WarnContext(ctx, "mcp tool quarantined", "server", p.Server, "tool", p.Name, "reason", p.Reason, "hint", "caxton tools approve "+p.Name)
			}
			s.set(&known{pin: p})
		}
	}
	s.change.Unlock()
	close(s.loaded)
	var wg sync.WaitGroup
	for _, srv := range s.servers {
		if !srv.cfg.Disabled {
			wg.Go(func() { srv.run(ctx) })
		}
	}
	wg.Wait()
	<-ctx.Done() // without servers there is nothing to do but to be there
	return nil
}

// Loaded returns a channel that is closed when decisions from before are in force again.
func (s *Servers) Loaded() <-chan struct{} { return s.loaded }

// Tools returns the tools there are now, sorted by name. It makes Servers a tool.Source.
func (s *Servers) Tools() []*tool.Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries := make([]*tool.Entry, 0, len(s.known))
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		entries = append(entries, s.known[name].entry)
	}
	return entries
}

// Tool returns the named tool, or nil.
func (s *Servers) Tool(name string) *tool.Entry {
	if k := s.lookup(name); k != nil {
		return k.entry
	}
	return nil
}

func (s *Servers) lookup(name string) *known {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[name]
}

// Expects reports whether the grant is for tools of a configured server.
func (s *Servers) Expects(g caxton.ToolGrant) bool {
	rest, ok := strings.CutPrefix(g.Canonical(), caxton.MCPPrefix)
	if !ok {
		return false
	}
	name, toolName, ok := strings.Cut(rest, "__")
	srv := s.servers[name]
	if !ok || srv == nil || toolName == "" {
		return false
	}
	if _, pattern := g.Pattern(); pattern {
		return true
	}
	return srv.serves(toolName)
}

// Servers tells how the configured servers are, by name.
func (s *Servers) Servers() []caxton.MCPServer {
	all := make([]caxton.MCPServer, 0, len(s.servers))
	for _, name := range slices.Sorted(maps.Keys(s.servers)) {
		st := s.servers[name].state()
		st.Tools = map[caxton.ToolState]int{}
		all = append(all, st)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range s.known {
		if i := slices.IndexFunc(all, func(st caxton.MCPServer) bool { return st.Name == k.pin.Server }); i >= 0 {
			all[i].Tools[k.pin.State]++
		}
	}
	return all
}

// Pin returns what is known of a tool to somebody who looks at it, by its name or another
// spelling of it, or NotFound.
func (s *Servers) Pin(name string) (caxton.ToolPin, error) {
	p, err := s.pin(name)
	if err == nil {
		hash := p.Offered.Hash()
		s.mu.Lock()
		s.shown[p.Name] = hash
		s.mu.Unlock()
	}
	return p, err
}

func (s *Servers) pin(name string) (caxton.ToolPin, error) {
	name = caxton.ToolGrant{Name: name}.Canonical()
	if k := s.lookup(name); k != nil {
		return k.pin, nil
	}
	return caxton.ToolPin{}, caxton.Errorf(caxton.NotFound, "mcp_tool_not_found", "no MCP server has offered a tool %.80q", name).
		WithHint("caxton tools list shows what there is, caxton tools servers where it comes from")
}
