package httpd

import (
	"cmp"
	"context"
	_ "embed"
	"net"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

//go:embed index.html
var indexPage []byte

// An output is an answer with a body.
type output[T any] struct {
	Body T
}

// An answer is an output whose status is chosen by the handler.
type answer[T any] struct {
	Status int
	Body   T
}

// AgentPath names an agent in a path.
type AgentPath struct {
	Agent string `path:"agent" minLength:"1" maxLength:"200" doc:"UUID, name, slug or file name without extension" example:"greeter"`
}

// empty is the input of operations that take nothing.
type empty struct{}

// route registers a handler that returns our errors.
func route[I, O any](s *Server, a huma.API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	op.Errors = []int{400, 401, 403, 404, 405, 409, 413, 422, 429, 499, 500, 503, 504}
	s.limits[op.Method+" "+op.Path] = cmp.Or(op.MaxBodyBytes, s.cfg.MaxBody)
	if op.Method == http.MethodPost {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: keyHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(maxKey)},
			Description: "the same request with the same key is served once; later ones get the same answer for a day",
		})
	}
	op.MaxBodyBytes, op.BodyReadTimeout = -1, -1 // see Server.body
	huma.Register(a, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		return out, nil
	})
}

func operation(method, path, id, tag, summary string) huma.Operation {
	return huma.Operation{Method: method, Path: "/api/v1" + path, OperationID: id, Tags: []string{tag}, Summary: summary}
}

// also adds a second success to an operation, with a body of the same type.
func also[T any](a huma.API, op *huma.Operation, status, description string) {
	schema := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses[status] = &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

// ourErrors has huma answer faults of requests as we do. It keeps the makers of its errors in
// variables of its own, and two servers may begin in one process.
var ourErrors = sync.OnceFunc(func() { //nolint:gochecknoglobals // what it sets is global, in huma
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return humaError("", status, msg, errs...)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return humaError(requestID(ctx.Context()), status, msg, errs...)
	}
})

// routes registers everything there is.
func (s *Server) routes(a huma.API, mux *http.ServeMux) {
	ourErrors()
	s.agentRoutes(a)
	s.messageRoutes(a)
	s.ticketRoutes(a)
	s.conversationRoutes(a)
	s.systemRoutes(a)
	s.mcpRoutes(a)
	s.eventRoutes(a)
	s.webhookRoutes(a)
	s.memoryRoutes(a)
	s.traceRoutes(a)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_, _ = w.Write(indexPage)
	})
	for _, p := range []string{"/health", "/ready"} { // for load balancers: no version, no schema
		mux.HandleFunc("GET "+p, func(w http.ResponseWriter, _ *http.Request) {
			if p == "/health" {
				writeJSON(w, http.StatusOK, s.health())
				return
			}
			ready := s.ready()
			status := http.StatusOK
			if !ready.Ready {
				status = http.StatusServiceUnavailable
			}
			writeJSON(w, status, ready)
		})
	}
	mux.HandleFunc("GET /health/memory", func(w http.ResponseWriter, r *http.Request) {
		h, err := s.deps.Health(r.Context())
		if err != nil {
			writeError(w, r, s.seen(r.Context(), err))
			return
		}
		writeJSON(w, http.StatusOK, h)
	})
}

func (s *Server) health() api.Health {
	h := api.Health{
		Status: "healthy", MemoryBackend: "embedded", Agents: s.deps.Registry.Len(),
		Version: s.cfg.Version, UptimeSeconds: s.cfg.Now().Sub(s.started).Seconds(),
	}
	if s.draining.Load() {
		h.Status = "draining"
	}
	return h
}

func (s *Server) ready() api.Ready {
	if s.draining.Load() {
		return api.Ready{Reason: "the server is stopping"}
	}
	return api.Ready{Ready: true}
}

func (s *Server) systemRoutes(a huma.API) {
	route(s, a, operation(http.MethodGet, "/health", "get-health", "system", "Whether the server is alive"),
		func(context.Context, *empty) (*output[api.Health], error) {
			return &output[api.Health]{s.health()}, nil
		})
	route(s, a, operation(http.MethodGet, "/health/memory", "get-memory-health", "system", "Whether the memory is well"),
		func(ctx context.Context, _ *empty) (*output[api.MemoryHealth], error) {
			h, err := s.deps.Health(ctx)
			return &output[api.MemoryHealth]{h}, err
		})
	op := operation(http.MethodGet, "/ready", "get-ready", "system", "Whether the server takes requests")
	route(s, a, op, func(context.Context, *empty) (*output[api.Ready], error) {
		r := s.ready()
		if !r.Ready {
			return nil, caxton.Errorf(caxton.Unavailable, "not_ready", "%s", r.Reason)
		}
		return &output[api.Ready]{r}, nil
	})
	route(s, a, operation(http.MethodGet, "/version", "get-version", "system", "Versions of program and interface"),
		func(context.Context, *empty) (*output[api.VersionInfo], error) {
			return &output[api.VersionInfo]{VersionInfo(s.cfg.Version)}, nil
		})
	route(s, a, operation(http.MethodGet, "/status", "get-status", "system", "The server at a glance"),
		func(ctx context.Context, _ *empty) (*output[api.Status], error) {
			st, err := s.status(ctx)
			return &output[api.Status]{st}, err
		})
	route(s, a, operation(http.MethodGet, "/config", "get-config", "system", "Effective configuration, secrets masked"),
		func(context.Context, *empty) (*output[api.Settings], error) {
			return &output[api.Settings]{s.deps.Settings()}, nil
		})
	shutdown := operation(http.MethodPost, "/shutdown", "shutdown", "system", "Stop the server; only from this machine")
	shutdown.DefaultStatus = http.StatusAccepted
	route(s, a, shutdown, s.shutdown)
	for _, p := range []string{"/schema/agent", "/schema/agent-config"} {
		id := "get-agent-schema"
		if p != "/schema/agent" {
			id = "get-agent-config-schema"
		}
		route(s, a, operation(http.MethodGet, p, id, "agents", "JSON Schema of an agent definition"),
			func(context.Context, *empty) (*output[rawObject], error) {
				return &output[rawObject]{rawObject(s.deps.Schema())}, nil
			})
	}
	route(s, a, operation(http.MethodGet, "/capabilities", "list-capabilities", "capabilities", "What agents can do"), s.listCapabilities)
	route(s, a, operation(http.MethodGet, "/capabilities/{capability}", "get-capability", "capabilities", "Who has a capability"), s.getCapability)
	route(s, a, operation(http.MethodGet, "/tools", "list-tools", "tools", "Tools that the server permits"), s.listTools)
	route(s, a, operation(http.MethodGet, "/tools/{tool}", "get-tool", "tools", "One tool"), s.getTool)
	route(s, a, operation(http.MethodPost, "/tools/{tool}/run", "run-tool", "tools", "Run a tool by hand, under the server's policy"), s.runTool)
}

// rawObject is a JSON object that is sent as it is.
type rawObject []byte

// MarshalJSON returns the object.
func (o rawObject) MarshalJSON() ([]byte, error) { return o, nil }

// Schema says that it is some object.
func (rawObject) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

type shutdownInput struct {
	Forwarded    string        `header:"Forwarded" hidden:"true"`
	ForwardedFor string        `header:"X-Forwarded-For" hidden:"true"`
	RealIP       string        `header:"X-Real-IP" hidden:"true"`
	Body         *api.Shutdown `required:"false"`
}

// fromHere reports whether the request was made on this machine: by the socket, or over
// loopback and not by way of a proxy that says for whom it asks.
func (in *shutdownInput) fromHere(ctx context.Context) bool {
	if network, _ := ctx.Value(networkKey{}).(string); network == "unix" {
		return true
	}
	addr, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || in.Forwarded+in.ForwardedFor+in.RealIP != "" {
		return false
	}
	host, _, err := net.SplitHostPort(addr.String())
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func (s *Server) shutdown(ctx context.Context, in *shutdownInput) (*output[api.Accepted], error) {
	if !in.fromHere(ctx) {
		return nil, caxton.Errorf(caxton.Forbidden, "not_from_here", "the server is stopped only from its own machine").
			WithHint("run caxton shutdown there")
	}
	timeout := s.cfg.DrainTimeout
	if in.Body != nil && in.Body.Timeout != "" {
		d, err := caxton.ParseDuration(in.Body.Timeout)
		if err != nil {
			return nil, err
		}
		timeout = min(d, time.Hour)
	}
	s.Drain()
	s.deps.Shutdown(timeout)
	return &output[api.Accepted]{api.Accepted{Status: "stopping"}}, nil
}

func (s *Server) status(ctx context.Context) (api.Status, error) {
	st, err := s.deps.Status(ctx)
	if err != nil {
		return st, err
	}
	st.Status, st.Version, st.StartedAt = s.health().Status, s.cfg.Version, s.started.UTC()
	st.UptimeSeconds = s.cfg.Now().Sub(s.started).Seconds()
	st.Agents = map[string]int{}
	for _, a := range s.agents() {
		st.Agents[a.State]++
		st.Queued += a.Queued
		st.InFlight += a.InFlight
	}
	open, err := s.deps.Router.OpenTickets(ctx)
	if err != nil {
		return st, err
	}
	st.Tickets = map[string]int{}
	for _, kind := range []caxton.TicketKind{caxton.Approval, caxton.Effect, caxton.DeadLetter} {
		st.Tickets[string(kind)] = open[kind]
	}
	st.Faults = []api.FileFault{}
	for _, f := range s.deps.AgentDir.Faults() {
		st.Faults = append(st.Faults, api.FileFault{
			Path: f.Path, Agent: f.Stem, Message: f.Err.Message, Hint: f.Err.Hint, Issues: api.IssuesFrom(f.Err.Issues), At: f.At,
		})
	}
	return st, nil
}

func (s *Server) listCapabilities(context.Context, *empty) (*output[api.CapabilityList], error) {
	l := api.CapabilityList{Items: []api.Capability{}}
	for _, c := range s.deps.Registry.Capabilities() {
		l.Items = append(l.Items, s.capability(c))
	}
	l.Capabilities = l.Items
	return &output[api.CapabilityList]{l}, nil
}

func (s *Server) capability(c caxton.Capability) api.Capability {
	out := api.Capability{Name: c.String(), Agents: []string{}}
	for _, a := range s.deps.Registry.Providers(c) {
		out.Agents = append(out.Agents, a.Slug)
	}
	return out
}

type capabilityPath struct {
	Capability string `path:"capability" minLength:"1" maxLength:"200" example:"greeting"`
}

func (s *Server) getCapability(_ context.Context, in *capabilityPath) (*output[api.Capability], error) {
	c, err := caxton.ParseCapability(in.Capability)
	if err != nil {
		return nil, err
	}
	out := s.capability(c)
	if len(out.Agents) == 0 {
		return nil, caxton.Errorf(caxton.NotFound, "capability_not_found", "no agent has the capability %s", c).
			WithHint("caxton capabilities list shows what there is")
	}
	return &output[api.Capability]{out}, nil
}

func (s *Server) listTools(context.Context, *empty) (*output[api.ToolList], error) {
	l := api.ToolList{Items: []api.Tool{}}
	for _, spec := range s.deps.Tools.All() {
		l.Items = append(l.Items, toolFrom(spec))
	}
	l.Tools = l.Items
	return &output[api.ToolList]{l}, nil
}

// ToolPath names a tool in a path.
type ToolPath struct {
	Tool string `path:"tool" minLength:"1" maxLength:"200" example:"clock"`
}

func (s *Server) getTool(_ context.Context, in *ToolPath) (*output[api.Tool], error) {
	specs := s.deps.Tools.All()
	for _, spec := range specs {
		if spec.Name == (caxton.ToolGrant{Name: in.Tool}).Canonical() {
			return &output[api.Tool]{s.withPin(toolFrom(spec))}, nil
		}
	}
	return nil, caxton.Errorf(caxton.NotFound, "tool_not_found", "there is no tool %q, or the server does not permit it", in.Tool).
		WithHint("caxton tools list shows what there is")
}

func sorted(names []string) []string {
	if names == nil {
		return []string{}
	}
	slices.Sort(names)
	return names
}
