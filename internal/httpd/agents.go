package httpd

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) agentRoutes(a huma.API) {
	op := func(method, path, id, summary string) huma.Operation {
		return operation(method, "/agents"+path, id, "agents", summary)
	}
	route(s, a, op(http.MethodGet, "", "list-agents", "List agents"), s.listAgents)
	create := op(http.MethodPost, "", "create-agent", "Deploy a new agent")
	create.DefaultStatus = http.StatusCreated
	create.RequestBody, create.MaxBodyBytes, create.SkipValidateBody = definitionBody(), s.moduleBody(), true // see DefinitionInput
	route(s, a, create, s.createAgent)
	deploy := op(http.MethodPost, "/deploy", "deploy-agent", "Deploy an agent, or a new version of it")
	deploy.MaxBodyBytes = s.moduleBody()
	route(s, a, deploy, s.deployAgent)
	plainModule(a)
	validate := op(http.MethodPost, "/validate", "validate-agent", "Check a definition, change nothing")
	validate.MaxBodyBytes = s.moduleBody()
	route(s, a, validate, s.validateAgent)
	route(s, a, op(http.MethodPost, "/reload", "reload-agents", "Bring every agent file into force"), s.reloadAll)
	for _, verb := range []string{"suspend", "resume", "restart"} {
		route(s, a, op(http.MethodPost, "/"+verb, verb+"-agents", "Apply to all agents, or to the failing ones: "+verb),
			func(ctx context.Context, in *manyInput) (*output[api.AgentNames], error) {
				return s.changeMany(ctx, verb, in.FailingOnly)
			})
		route(s, a, op(http.MethodPost, "/{agent}/"+verb, verb+"-agent", "Apply to one agent: "+verb),
			func(ctx context.Context, in *AgentPath) (*output[api.Agent], error) {
				return s.changeOne(ctx, verb, in.Agent)
			})
	}
	route(s, a, op(http.MethodGet, "/audit-tools", "audit-tools", "Which tools agents declare and use"), s.auditTools)
	route(s, a, op(http.MethodGet, "/performance", "get-performance", "How agents perform"), s.performance)
	route(s, a, op(http.MethodGet, "/analyze", "analyze-logs", "Search the logs of agents"), s.analyze)
	route(s, a, op(http.MethodGet, "/{agent}", "get-agent", "One agent"), s.getAgent)
	put := op(http.MethodPut, "/{agent}", "replace-agent", "Deploy a new version of an agent")
	put.RequestBody, put.MaxBodyBytes, put.SkipValidateBody = definitionBody(), s.moduleBody(), true
	route(s, a, put, s.replaceAgent)
	remove := op(http.MethodDelete, "/{agent}", "remove-agent", "Undeploy an agent")
	remove.DefaultStatus = http.StatusNoContent
	route(s, a, remove, s.removeAgent)
	route(s, a, op(http.MethodGet, "/{agent}/versions", "list-versions", "Versions of an agent"), s.listVersions)
	route(s, a, op(http.MethodGet, "/{agent}/versions/{number}", "get-agent-version", "One version with its text"), s.getVersion)
	route(s, a, op(http.MethodPost, "/{agent}/rollback", "rollback-agent", "Make an older version active again"), s.rollback)
	s.rolloutRoutes(a, op)
	route(s, a, op(http.MethodGet, "/{agent}/diff", "diff-versions", "Difference of two versions"), s.diff)
	route(s, a, op(http.MethodPost, "/{agent}/reload", "reload-agent", "Bring the agent's file into force"), s.reload)
	route(s, a, op(http.MethodGet, "/{agent}/reload-status", "get-reload-status", "Result of the last reload"), s.reloadStatus)
	for _, p := range []string{"status", "health"} {
		route(s, a, op(http.MethodGet, "/{agent}/"+p, "get-agent-"+p, "How an agent fares"), s.getAgent)
	}
	route(s, a, op(http.MethodGet, "/{agent}/ping", "ping-agent", "Ask an agent for a sign of life"), s.ping)
	route(s, a, op(http.MethodGet, "/{agent}/capabilities", "get-agent-capabilities", "What an agent can do"), s.agentCapabilities)
	route(s, a, op(http.MethodGet, "/{agent}/tools", "get-agent-tools", "The tools an agent may use"), s.agentTools)
	logs := op(http.MethodGet, "/{agent}/logs", "get-agent-logs", "Log of an agent; with follow=true one JSON line after the other, as they come")
	also[api.LogLines](a, &logs, "200", "the lines, or with follow=true one line of JSON each")
	route(s, a, logs, s.logs)
	s.streams[logs.Method+" "+logs.Path] = func(r *http.Request) bool {
		follow, err := strconv.ParseBool(r.URL.Query().Get("follow"))
		return err == nil && follow
	}
	route(s, a, op(http.MethodPost, "/{agent}/test", "test-agent", "Send an agent an input and see all that happens"), s.test)
	for method, id := range map[string]string{http.MethodGet: "debug-agent", http.MethodPost: "debug-agent-with-input"} {
		route(s, a, op(method, "/{agent}/debug", id, "An agent from the inside"), s.debug)
	}
}

// agents returns all agents and, after them, files that never became one.
func (s *Server) agents() []api.Agent {
	faults := s.deps.AgentDir.Faults()
	var all []api.Agent
	for _, a := range s.deps.Registry.Agents() {
		all = append(all, s.agent(a, faults))
	}
	for _, f := range faults {
		if f.AgentID == "" {
			all = append(all, fromFault(f))
		}
	}
	return all
}

// agent returns an agent as it is sent.
func (s *Server) agent(a caxton.Agent, faults []caxton.FileFault) api.Agent {
	out := api.Agent{
		ID: string(a.ID), Name: a.Name, Slug: a.Slug, File: a.Stem, Type: string(a.Type), State: string(caxton.AgentLoaded),
		Version: a.Version, Versions: a.Versions, SemVersion: a.Definition.Version, Description: a.Definition.Description,
		Capabilities: []string{}, Tools: []string{}, MemoryEnabled: a.Definition.Memory.Enabled, Source: a.Source,
		CreatedAt: at(a.CreatedAt), UpdatedAt: at(a.UpdatedAt),
	}
	for _, c := range a.Definition.Capabilities {
		out.Capabilities = append(out.Capabilities, c.String())
	}
	for _, t := range a.Definition.Tools {
		out.Tools = append(out.Tools, t.Name)
	}
	if st, ok := s.deps.Supervisor.Status(a.ID); ok {
		out.State, out.Queued, out.InFlight, out.Handled, out.Failed = string(st.State), st.Queued, st.InFlight, st.Handled, st.Failed
		out.Restarts, out.LastError, out.LastErrorAt = st.Restarts, st.LastError, at(st.LastErrorAt)
		out.LastActivity, out.NextRestart = at(st.LastActivity), at(st.NextRestart)
		out.LatencyP50, out.LatencyP99 = millis(st.LatencyP50), millis(st.LatencyP99)
	}
	for _, f := range faults {
		if f.AgentID == a.ID {
			out.LastError, out.LastErrorAt, out.Issues = f.Err.Message, at(f.At), api.IssuesFrom(f.Err.Issues)
		}
	}
	out.Status, out.Schedule, out.Module = out.State, s.schedule(a.ID), moduleOf(&a.Definition)
	return out
}

func fromFault(f caxton.FileFault) api.Agent {
	return api.Agent{
		Name: f.Stem, Slug: f.Stem, File: f.Stem, Type: string(caxton.ConfigAgent), State: string(caxton.AgentFailed), Status: string(caxton.AgentFailed),
		Capabilities: []string{}, Tools: []string{}, Source: f.Path, LastError: f.Err.Message, LastErrorAt: at(f.At), Issues: api.IssuesFrom(f.Err.Issues),
	}
}

func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// find returns the agent that ref names, or the file with that name that never loaded.
func (s *Server) find(ref string) (caxton.Agent, *caxton.FileFault, error) {
	a, err := s.deps.Registry.Resolve(ref)
	if err == nil {
		return a, nil, nil
	}
	for _, f := range s.deps.AgentDir.Faults() {
		if f.AgentID == "" && strings.EqualFold(f.Stem, ref) {
			return a, &f, nil
		}
	}
	return a, nil, err
}

type listInput struct {
	Type       string `query:"type" enum:"config,wasm" doc:"only of this type"`
	State      string `query:"state" enum:"loaded,running,suspended,draining,stopped,failed" doc:"only in this state"`
	Status     string `query:"status" maxLength:"40" doc:"the same as state"`
	Capability string `query:"capability" maxLength:"100" doc:"only with this capability"`
	Limit      int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor     string `query:"cursor" maxLength:"8000" doc:"next of the page before"`
}

func (s *Server) listAgents(_ context.Context, in *listInput) (*output[api.AgentList], error) {
	state := cmp.Or(in.State, in.Status)
	var all []api.Agent
	for _, a := range s.agents() {
		if in.Type != "" && a.Type != in.Type || state != "" && a.State != state || in.Capability != "" && !slices.Contains(a.Capabilities, in.Capability) {
			continue
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b api.Agent) int { return placeOf(&a).compare(placeOf(&b)) })
	l := api.AgentList{Items: []api.Agent{}, Total: len(all)}
	from := 0
	if in.Cursor != "" {
		last, err := parseCursor(in.Cursor)
		if err != nil {
			return nil, err
		}
		for from < len(all) && placeOf(&all[from]).compare(last) <= 0 {
			from++
		}
	}
	to := min(from+in.Limit, len(all))
	l.Items = append(l.Items, all[from:to]...)
	if to < len(all) {
		l.Next = placeOf(&all[to-1]).cursor()
	}
	l.Agents = l.Items
	return &output[api.AgentList]{l}, nil
}

func (s *Server) getAgent(ctx context.Context, in *AgentPath) (*output[api.Agent], error) {
	a, f, err := s.find(in.Agent)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return &output[api.Agent]{fromFault(*f)}, nil
	}
	out := s.agent(a, s.deps.AgentDir.Faults())
	out.Definition = agentfile.Plain(a.Definition)
	v, err := s.deps.Registry.Version(ctx, a.ID, a.Version)
	if err != nil {
		return nil, err
	}
	out.Text = string(v.Text)
	if a.Rollout.Open() {
		out.Rollout = s.rolloutOf(a.ID)
	}
	if s.bounded(out.Module, &a.Definition) != nil {
		out.Module.Use = s.deps.Modules.Use(a.ID)
		out.Module.Imports = importsOf(s.deps.Modules.Imports(&a.Definition))
	}
	return &output[api.Agent]{out}, nil
}

func (s *Server) change(ctx context.Context, verb string, id caxton.AgentID) error {
	switch verb {
	case "suspend":
		return s.deps.Deployer.Suspend(ctx, id)
	case "resume":
		return s.deps.Deployer.Resume(ctx, id)
	default:
		return s.deps.Supervisor.Restart(ctx, id)
	}
}

func (s *Server) changeOne(ctx context.Context, verb, ref string) (*output[api.Agent], error) {
	a, err := s.deps.Registry.Resolve(ref)
	if err != nil {
		return nil, err
	}
	if err := s.change(ctx, verb, a.ID); err != nil {
		return nil, err
	}
	if a, err = s.deps.Registry.Resolve(string(a.ID)); err != nil {
		return nil, err
	}
	return &output[api.Agent]{s.agent(a, nil)}, nil
}

type manyInput struct {
	FailingOnly bool `query:"failing_only" doc:"only agents that are failed, or failed at least as often as not"`
	All         bool `query:"all" doc:"all agents; it is so unless failing_only is given"`
}

func (s *Server) changeMany(ctx context.Context, verb string, failingOnly bool) (*output[api.AgentNames], error) {
	names := []string{}
	for _, a := range s.deps.Registry.Agents() {
		if failingOnly && !s.failing(a.ID) || verb == "resume" && !a.Suspended || verb == "suspend" && a.Suspended || verb == "restart" && a.Suspended {
			continue
		}
		err := s.change(ctx, verb, a.ID)
		if caxton.KindOf(err) == caxton.NotFound {
			continue // it was removed just now
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", verb, a.Slug, err)
		}
		names = append(names, a.Slug)
	}
	return &output[api.AgentNames]{api.AgentNames{Items: names, Agents: names}}, nil
}

// failing reports whether an agent is failed, or failed more than it handled.
func (s *Server) failing(id caxton.AgentID) bool {
	st, ok := s.deps.Supervisor.Status(id)
	return ok && (st.State == caxton.AgentFailed || st.Failed > 0 && st.Failed >= st.Handled)
}

func (s *Server) ping(ctx context.Context, in *AgentPath) (*output[api.Ping], error) {
	a, f, err := s.find(in.Agent)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return nil, caxton.Errorf(caxton.Conflict, "agent_not_running", "the file of %s is faulty: %s", f.Stem, f.Err.Message)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d, err := s.deps.Supervisor.Ping(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	return &output[api.Ping]{api.Ping{Agent: a.Slug, Alive: true, Micros: float64(d.Nanoseconds()) / 1000}}, nil
}

func (s *Server) agentCapabilities(_ context.Context, in *AgentPath) (*output[api.AgentCapabilities], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	cs := s.agent(a, nil).Capabilities
	return &output[api.AgentCapabilities]{api.AgentCapabilities{Agent: a.Slug, Items: cs, Capabilities: cs}}, nil
}
