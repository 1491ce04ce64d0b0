package httpd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/caxton/caxton/internal/tool"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
)

// A Router takes messages and keeps conversations. *router.Router provides it.
type Router interface {
	Send(ctx context.Context, m caxton.Message) (caxton.Receipt, error)
	Await(ctx context.Context, id caxton.MessageID) (caxton.Message, error)
	Status(ctx context.Context, id caxton.MessageID) (caxton.MessageStatus, error)
	Conversations(ctx context.Context, q caxton.ConversationQuery) ([]caxton.Conversation, string, error)
	Conversation(ctx context.Context, id caxton.ConversationID) (caxton.Conversation, error)
	Records(ctx context.Context, id caxton.ConversationID, after int64, limit int) ([]caxton.Record, error)
	Tickets
}

// A Registry knows what is deployed. *registry.Registry provides it.
type Registry interface {
	Agents() []caxton.Agent
	Len() int
	Resolve(ref string) (caxton.Agent, error)
	Providers(c caxton.Capability) []caxton.Agent
	Capabilities() []caxton.Capability
	Versions(ctx context.Context, id caxton.AgentID) ([]caxton.AgentVersion, error)
	Version(ctx context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error)
}

// A Deployer brings definitions into force. *deploy.Deployer provides it.
type Deployer interface {
	Validate(ctx context.Context, req caxton.DeployRequest) (caxton.Definition, *caxton.ModuleReport, []caxton.Issue)
	Deploy(ctx context.Context, req caxton.DeployRequest) (caxton.Deployment, error)
	Rollback(ctx context.Context, id caxton.AgentID, to int) (caxton.Deployment, error)
	Suspend(ctx context.Context, id caxton.AgentID) error
	Resume(ctx context.Context, id caxton.AgentID) error
	Rollout(id caxton.AgentID) (caxton.RolloutStatus, error)
	Rollouts(open bool) []caxton.RolloutStatus
	Promote(ctx context.Context, id caxton.AgentID, next bool) (caxton.RolloutStatus, error)
	Abort(ctx context.Context, id caxton.AgentID, reason string) (caxton.RolloutStatus, error)
}

// Drafts keeps versions that are not in force. *deploy.Deployer provides it.
type Drafts interface {
	Draft(ctx context.Context, id caxton.AgentID, like int, prompt, author string) (int, error)
}

// An AgentDir keeps agents equal to files. *agentdir.Dir provides it.
type AgentDir interface {
	Reload(ctx context.Context, ref string) (caxton.Deployment, error)
	ReloadAll(ctx context.Context, validateFirst bool) ([]caxton.ReloadStatus, error)
	ReloadStatus(ref string) (caxton.ReloadStatus, error)
	Remove(ctx context.Context, id caxton.AgentID, force bool) error
	Faults() []caxton.FileFault
}

// A Supervisor runs agents. *agent.Supervisor provides it.
type Supervisor interface {
	Status(id caxton.AgentID) (caxton.AgentStatus, bool)
	Restart(ctx context.Context, id caxton.AgentID) error
	Ping(ctx context.Context, id caxton.AgentID) (time.Duration, error)
}

// Logs keeps agents' logs and counts tool calls. *sqlite.DB provides it.
type Logs interface {
	AgentLogs(ctx context.Context, q caxton.LogQuery) ([]caxton.LogLine, error)
	ToolUses(ctx context.Context) ([]caxton.AgentTools, error)
}

// Tools runs tools by hand. *tool.Set provides it.
type Tools interface {
	All() []tool.Spec
	Run(ctx context.Context, name string, call tool.Call) (tool.Result, error)
}

// A Previewer shows the prompt a message would make. *prompt.Handlers provides it.
type Previewer interface {
	Preview(ctx context.Context, v caxton.AgentVersion, text string) (llm.Request, error)
}

// Keys remembers requests by their Idempotency-Key, for a day, also over restarts.
// *sqlite.Keys provides it.
type Keys interface {
	// ReserveKey takes a key for a request; when it is taken, fresh is false and old has it.
	ReserveKey(ctx context.Context, key, fingerprint string) (old caxton.KeyedRequest, fresh bool, err error)
	StoreKey(ctx context.Context, key string, answer []byte) error
	ReleaseKey(ctx context.Context, key string) error
}

// Deps are the parts that handlers ask. All are required.
type Deps struct {
	Router     Router
	Registry   Registry
	Deployer   Deployer
	AgentDir   AgentDir
	Supervisor Supervisor
	Schedules  Schedules
	Logs       Logs
	Tools      Tools
	MCP        MCP
	Previewer  Previewer
	Keys       Keys

	Log           Log
	Feed          *event.Feed
	Webhooks      Webhooks
	Memory        Memory
	Model         EmbeddingModel
	Conversations Conversations
	Blobs         Blobs
	Drafts        Drafts
	Modules       Modules
	Replay        func(ctx context.Context, records []caxton.Record) (caxton.Replay, error) // *prompt.Handlers does it

	Schema   func() []byte                                       // JSON Schema of an agent definition
	Settings func() api.Settings                                 // the effective configuration
	Status   func(ctx context.Context) (api.Status, error)       // the server's part of the status
	Health   func(ctx context.Context) (api.MemoryHealth, error) // whether the database answers
	Shutdown func(timeout time.Duration)                         // begins to stop the server
	Metrics  http.Handler                                        // for the metrics listener
}

// Config tunes a Server. Zero fields mean the defaults given here.
type Config struct {
	Addr           string        // of the API: 127.0.0.1:8080
	Socket         string        // path of a unix socket: none
	MetricsAddr    string        // of the metrics: none
	AdminAddr      string        // a second address of the API, meant for loopback: none
	AllowedHosts   []string      // names in Host that listeners on loopback answer to, beside localhost
	Version        string        // of the program
	MaxConnections int           // per listener: 10,000; below 0 any number
	MaxBody        int64         // of requests: 16 MiB
	MaxModule      int64         // of modules that are deployed, for which requests may be larger: 32 MiB; below 0 none
	MaxMessage     int64         // of requests that carry messages: 2 MiB, or MaxBody if smaller
	HeaderTimeout  time.Duration // to receive headers: 30 s
	RequestTimeout time.Duration // of one request, from its headers to its answer: 60 s
	IdleTimeout    time.Duration // of kept connections: 120 s
	WaitTimeout    time.Duration // how long callers wait for replies by default: 25 s
	DrainTimeout   time.Duration // for requests in flight when the server stops: 30 s
	MaxStreams     int           // event streams at once: 20,000
	StreamTimeout  time.Duration // for the reader of a stream to take what was sent: 30 s
	StreamRetry    time.Duration // what readers are told to wait before they come back: 2 s
	Heartbeat      time.Duration // between signs of life on a quiet stream: 15 s
	Logger         *slog.Logger  // discards
	Registerer     prometheus.Registerer
	Now            func() time.Time
	Tracer         *telemetry.Tracer // records nothing
}

// A Server serves the REST interface.
type Server struct {
	deps      Deps
	cfg       Config
	handler   http.Handler
	metrics   metrics
	origins   *http.CrossOriginProtection
	draining  atomic.Bool
	drained   chan struct{}                       // closed when the server begins to drain
	streaming atomic.Int64                        // event streams that are open
	streamsBy *prometheus.GaugeVec                // the same by kind
	listening chan struct{}                       // closed when all listeners are open
	limits    map[string]int64                    // size of bodies by pattern; read before the route
	streams   map[string]func(*http.Request) bool // patterns of answers without an end, and when they have none
	methods   map[string]string                   // what paths without wildcards allow, as the document says
	started   time.Time

	mu    sync.Mutex // guards addrs
	addrs []net.Addr
}

// New returns a Server. It opens nothing until Run.
func New(deps Deps, cfg Config) *Server {
	cfg.Addr = cmp.Or(cfg.Addr, "127.0.0.1:8080")
	cfg.Version = cmp.Or(cfg.Version, "dev")
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 10_000)
	cfg.MaxBody = cmp.Or(cfg.MaxBody, 16<<20)
	cfg.MaxModule = cmp.Or(cfg.MaxModule, 32<<20)
	cfg.MaxMessage = min(cmp.Or(cfg.MaxMessage, 2<<20), cfg.MaxBody)
	cfg.HeaderTimeout = cmp.Or(cfg.HeaderTimeout, 30*time.Second)
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, time.Minute)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 2*time.Minute)
	cfg.WaitTimeout = cmp.Or(cfg.WaitTimeout, 25*time.Second)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 30*time.Second)
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, 20_000)
	cfg.StreamTimeout = cmp.Or(cfg.StreamTimeout, 30*time.Second)
	cfg.StreamRetry = cmp.Or(cfg.StreamRetry, 2*time.Second)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 15*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{deps: deps, cfg: cfg, listening: make(chan struct{}), drained: make(chan struct{}), started: cfg.Now(), origins: http.NewCrossOriginProtection()}
	s.metrics = newMetrics(cfg.Registerer)
	s.streamsBy = newStreamGauge(cfg.Registerer)
	s.limits, s.streams = map[string]int64{}, map[string]func(*http.Request) bool{}
	mux := http.NewServeMux()
	a := humago.New(mux, humaConfig(cfg.Version))
	s.routes(a, mux)
	s.methods = methods(a.OpenAPI())
	s.handler = s.outer(mux)
	return s
}

// methods returns the methods of every path of the document, joined as in an Allow header.
func methods(doc *huma.OpenAPI) map[string]string {
	all := map[string]string{}
	for path, item := range doc.Paths {
		var ms []string
		for _, m := range []struct {
			name string
			op   *huma.Operation
		}{{"DELETE", item.Delete}, {"GET", item.Get}, {"HEAD", item.Get}, {"PATCH", item.Patch}, {"POST", item.Post}, {"PUT", item.Put}} {
			if m.op != nil {
				ms = append(ms, m.name)
			}
		}
		all[path] = strings.Join(ms, ", ")
	}
	return all
}

// humaConfig is huma's configuration without what would add to bodies or load from elsewhere.
func humaConfig(version string) huma.Config {
	c := huma.DefaultConfig("Caxton", version)
	c.OpenAPIPath = "/api/v1/openapi"
	c.DocsPath = ""
	c.SchemasPath = ""
	c.CreateHooks = nil
	c.Info.Description = "Application server for AI agents. Every path also answers without its version, as /api/…."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Servers = []*huma.Server{{URL: "/"}}
	return c
}

// Listening returns a channel that is closed when the server takes connections.
func (s *Server) Listening() <-chan struct{} { return s.listening }

// Addr returns the address of the API once the server listens, nil before.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.addrs) == 0 {
		return nil
	}
	return s.addrs[0]
}

// MetricsAddr returns the address of the metrics once the server listens, nil when there is none.
func (s *Server) MetricsAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.MetricsAddr == "" || len(s.addrs) < 2 {
		return nil
	}
	return s.addrs[1]
}

// Drain makes the server not ready: load balancers should send nothing more.
func (s *Server) Drain() {
	if s.draining.CompareAndSwap(false, true) {
		close(s.drained)
	}
}

// An endpoint is one listener and the server on it.
type endpoint struct {
	listener net.Listener
	server   *http.Server
}

// Run opens the listeners and serves until ctx ends; then requests in flight may finish,
// for the drain timeout. A port or socket that is taken is a Conflict.
func (s *Server) Run(ctx context.Context) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx)) // of requests: they outlive ctx by the drain timeout at most
	defer cut()
	es, err := s.open(ctx, base)
	if err != nil {
		return err
	}
	close(s.listening)
	var wg sync.WaitGroup
	failed := make(chan error, len(es)) // one for each server
	for _, e := range es {
		wg.Go(func() {
			if err := e.server.Serve(e.listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = caxton.Errorf(caxton.Internal, "http_failed", "the HTTP server failed").WithCause(err)
	}
	s.Drain()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	for _, e := range es { // all at once: none takes new requests while another finishes its own
		wg.Go(func() {
			if serr := e.server.Shutdown(stop); serr != nil {
				s.cfg.Logger.WarnContext(ctx, "requests cut off at the end", "error", serr)
				cut()
				_ = e.server.Close()
			}
		})
	}
	wg.Wait()
	return err
}

func (s *Server) open(ctx, base context.Context) ([]endpoint, error) {
	var es []endpoint
	fail := func(err error) ([]endpoint, error) {
		for _, e := range es {
			_ = e.listener.Close()
		}
		return nil, err
	}
	for _, a := range []struct {
		what, network, addr string
		handler             http.Handler
	}{
		{"API", "tcp", s.cfg.Addr, s.handler},
		{"metrics", "tcp", s.cfg.MetricsAddr, s.metricsHandler()},
		{"admin", "tcp", s.cfg.AdminAddr, s.handler},
		{"socket", "unix", s.cfg.Socket, s.handler},
	} {
		if a.addr == "" {
			continue
		}
		l, err := s.listen(ctx, a.what, a.network, a.addr)
		if err != nil {
			return fail(err)
		}
		s.mu.Lock()
		s.addrs = append(s.addrs, l.Addr())
		s.mu.Unlock()
		tcp, _ := l.Addr().(*net.TCPAddr)
		local := tcp != nil && tcp.IP.IsLoopback()
		if s.cfg.MaxConnections > 0 {
			l = netutil.LimitListener(l, s.cfg.MaxConnections)
		}
		var timeout time.Duration // requests to the API have their own, see Server.bound
		if a.what == "metrics" {
			timeout = s.cfg.RequestTimeout
		}
		es = append(es, endpoint{l, &http.Server{
			ReadTimeout: timeout, WriteTimeout: timeout,
			Handler: a.handler, ReadHeaderTimeout: s.cfg.HeaderTimeout, IdleTimeout: s.cfg.IdleTimeout,
			ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug), MaxHeaderBytes: 64 << 10,
			BaseContext: func(net.Listener) context.Context { return context.WithValue(base, baseKey{}, base) },
			ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
				return context.WithValue(context.WithValue(ctx, networkKey{}, a.network), loopbackKey{}, local)
			},
		}})
	}
	return es, nil
}

// metricsHandler serves the metrics at their path, and nothing elsewhere.
func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	if s.deps.Metrics != nil {
		mux.Handle("GET /metrics", s.deps.Metrics)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.checkHost(r); err != nil {
			s.refuse(w, r, err)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// baseKey is the context key of the context that ends when requests in flight must end.
type baseKey struct{}

// socketMode lets the server's own user in, and nobody else.
const socketMode = 0o600

// loopbackKey is the context key of whether a request came by a listener that only this
// machine reaches.
type loopbackKey struct{}

// networkKey is the context key of the network a request came by: tcp or unix.
type networkKey struct{}

func (s *Server) listen(ctx context.Context, what, network, addr string) (net.Listener, error) {
	if network == "unix" {
		if err := s.clearSocket(ctx, addr); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	if network == "unix" {
		lc.Control = protect
	}
	l, err := lc.Listen(ctx, network, addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, caxton.Errorf(caxton.Conflict, "port_taken", "the %s address %s is in use", what, addr).
			WithHint("stop what listens there, or choose another address in the configuration").WithCause(err)
	case errors.Is(err, syscall.EACCES):
		return nil, caxton.Errorf(caxton.Forbidden, "address_forbidden", "the %s address %s may not be used", what, addr).
			WithHint("ports below 1024 need privileges; choose a higher one").WithCause(err)
	case err != nil:
		return nil, caxton.Errorf(caxton.Unavailable, "address_unusable", "the %s address %s cannot be used", what, addr).
			WithHint("check the address in the configuration").WithCause(err)
	}
	if network == "unix" {
		if err := os.Chmod(addr, socketMode); err != nil {
			_ = l.Close()
			return nil, caxton.Errorf(caxton.Unavailable, "socket_unusable", "the socket %s cannot be protected", addr).WithCause(err)
		}
	}
	return l, nil
}

// clearSocket removes a socket that a dead server left behind, and nothing else.
func (s *Server) clearSocket(ctx context.Context, path string) error {
	unusable := func(why string) *caxton.Error {
		return caxton.Errorf(caxton.Conflict, "socket_unusable", "the socket %s cannot be made: %s", path, why).
			WithHint("choose another path in server.socket")
	}
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unusable("its place cannot be looked at").WithCause(err)
	case fi.Mode().Type() != fs.ModeSocket:
		return unusable("there is something else in its place")
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return caxton.Errorf(caxton.Conflict, "socket_taken", "a server answers on the socket %s", path).WithHint("stop it first")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return unusable("whether a server has it cannot be told").WithCause(err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unusable("the old one cannot be removed").WithCause(err)
	}
	return nil
}

// writeJSON writes v with the status. The value always prints; a caller who left is no error.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}
