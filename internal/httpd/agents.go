package httpd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/tool"
	"github.com/danielgtaylor/huma/v2"
	"github.com/rogpeppe/go-internal/diff"
)

func (s *Server) agentRoutes(a huma.API) {
	op := func(method, path, id, summary string) huma.Operation {
		return operation(method, "/agents"+path, id, "agents", summary)
	}
	route(s, a, op(http.MethodGet, "", "list-agents", "List agents"), s.listAgents)
	create := op(http.MethodPost, "", "create-agent", "Deploy a new agent")
	create.DefaultStatus = http.StatusCreated
	create.RequestBody = definitionBody()
	route(s, a, create, s.createAgent)
	route(s, a, op(http.MethodPost, "/deploy", "deploy-agent", "Deploy an agent, or a new version of it"), s.deployAgent)
	route(s, a, op(http.MethodPost, "/validate", "validate-agent", "Check a definition, change nothing"), s.validateAgent)
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
	put.RequestBody = definitionBody()
	route(s, a, put, s.replaceAgent)
	remove := op(http.MethodDelete, "/{agent}", "remove-agent", "Undeploy an agent")
	remove.DefaultStatus = http.StatusNoContent
	route(s, a, remove, s.removeAgent)
	route(s, a, op(http.MethodGet, "/{agent}/versions", "list-versions", "Versions of an agent"), s.listVersions)
	route(s, a, op(http.MethodGet, "/{agent}/versions/{number}", "get-agent-version", "One version with its text"), s.getVersion)
	route(s, a, op(http.MethodPost, "/{agent}/rollback", "rollback-agent", "Make an older version active again"), s.rollback)
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
	route(s, a, op(http.MethodPost, "/{agent}/test", "test-agent", "Send an agent an input and see all that happens"), s.test)
	for method, id := range map[string]string{http.MethodGet: "debug-agent", http.MethodPost: "debug-agent-with-input"} {
		route(s, a, op(method, "/{agent}/debug", id, "An agent from the inside"), s.debug)
	}
}

// definitionBody describes what may be posted as a definition.
func definitionBody() *huma.RequestBody {
	text := func() *huma.MediaType { return &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}} }
	return &huma.RequestBody{
		Required:    true,
		Description: "A definition as a JSON object, or {\"definition\": \"<text of the file>\"}, or the text of the file itself.",
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}},
			"text/markdown":    text(), "application/toml": text(), "application/yaml": text(),
		},
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
	out.Status = out.State
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
	Cursor     string `query:"cursor" maxLength:"200" doc:"next of the page before"`
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
	l := api.AgentList{Items: []api.Agent{}, Total: len(all)}
	for _, a := range all {
		if in.Cursor != "" && a.Slug+a.ID <= in.Cursor && a.ID != "" {
			continue
		}
		if len(l.Items) == in.Limit {
			last := l.Items[in.Limit-1]
			l.Next = last.Slug + last.ID
			break
		}
		l.Items = append(l.Items, a)
	}
	l.Agents = l.Items
	return &output[api.AgentList]{l}, nil
}

func (s *Server) getAgent(_ context.Context, in *AgentPath) (*output[api.Agent], error) {
	a, f, err := s.find(in.Agent)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return &output[api.Agent]{fromFault(*f)}, nil
	}
	out := s.agent(a, s.deps.AgentDir.Faults())
	b, err := json.Marshal(a.Definition)
	if err == nil {
		err = json.Unmarshal(b, &out.Definition)
	}
	return &output[api.Agent]{out}, err
}

// DefinitionInput takes a definition in any of its forms.
type DefinitionInput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Author      string `query:"author" maxLength:"200" doc:"who deploys it"`
	Move        bool   `query:"move_conversations" doc:"running conversations move to the new version too"`
	ValidOnly   bool   `query:"validate_only" doc:"check everything, change nothing"`
	RawBody     []byte
}

// request reads the definition out of a body.
func (in *DefinitionInput) request() (caxton.DeployRequest, error) {
	req := caxton.DeployRequest{Source: "api", Author: cmp.Or(in.Author, "api"), MoveConversations: in.Move, ValidateOnly: in.ValidOnly}
	media, _, err := mime.ParseMediaType(cmp.Or(in.ContentType, "application/json"))
	if err != nil {
		media = ""
	}
	switch media {
	case "text/markdown", "text/x-markdown":
		req.Text, req.Format = in.RawBody, "markdown"
		return req, nil
	case "application/toml", "text/toml", "text/x-toml":
		req.Text, req.Format = in.RawBody, "toml"
		return req, nil
	case "application/yaml", "text/yaml", "application/x-yaml":
		req.Text, req.Format = in.RawBody, "yaml"
		return req, nil
	case "application/json", "text/json", "text/plain":
	default:
		return req, caxton.Errorf(caxton.Malformed, "content_type_unknown", "a definition of type %.100q cannot be read", in.ContentType).
			WithHint("send application/json, text/markdown, application/toml or application/yaml")
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(in.RawBody, &body); err != nil || body == nil {
		return req, caxton.Errorf(caxton.Malformed, "request_malformed", "the body is not a JSON object").
			WithHint("send a definition such as {\"name\": \"Greeter\", \"capabilities\": [\"greeting\"], \"system_prompt\": \"…\"}").WithCause(err)
	}
	if _, ok := body["wasm_module"]; ok {
		return req, caxton.Errorf(caxton.Invalid, "wasm_not_supported", "this version runs config agents only; WebAssembly agents come with a later one")
	}
	for _, key := range []string{"definition", "content", "config"} {
		var text string
		if raw, ok := body[key]; ok && json.Unmarshal(raw, &text) == nil {
			req.Text = []byte(text)
			_ = json.Unmarshal(body["format"], &req.Format) // absent or wrong: told from the text
			return req, nil
		}
	}
	req.Text, req.Format = in.RawBody, "json"
	return req, nil
}

func (s *Server) createAgent(ctx context.Context, in *DefinitionInput) (*output[api.Deployment], error) {
	req, err := in.request()
	if err != nil {
		return nil, err
	}
	req.CreateOnly = true
	return s.deploy(ctx, req)
}

type replaceInput struct {
	AgentPath
	DefinitionInput
}

func (s *Server) replaceAgent(ctx context.Context, in *replaceInput) (*output[api.Deployment], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	req, err := in.request()
	if err != nil {
		return nil, err
	}
	req.Target = a.ID
	return s.deploy(ctx, req)
}

type deployInput struct{ Body api.DeployBody }

func (in *deployInput) request() caxton.DeployRequest {
	b := in.Body
	return caxton.DeployRequest{
		Text: []byte(b.Text), Format: b.Format, Source: "api", Stem: b.File, Author: cmp.Or(b.Author, "api"),
		CreateOnly: b.CreateOnly, ValidateOnly: b.ValidateOnly, MoveConversations: b.MoveConversations,
	}
}

func (s *Server) deployAgent(ctx context.Context, in *deployInput) (*output[api.Deployment], error) {
	return s.deploy(ctx, in.request())
}

func (s *Server) deploy(ctx context.Context, req caxton.DeployRequest) (*output[api.Deployment], error) {
	d, err := s.deps.Deployer.Deploy(ctx, req)
	if err != nil {
		return nil, err
	}
	out := s.deployment(d)
	if req.ValidateOnly {
		out.Status = "validated"
	}
	return &output[api.Deployment]{out}, nil
}

func (s *Server) deployment(d caxton.Deployment) api.Deployment {
	a := s.agent(d.Agent, nil)
	out := api.Deployment{
		ID: a.ID, AgentID: a.ID, Name: a.Name, Slug: a.Slug, Status: "unchanged", Version: a.Version, FromVersion: d.FromVersion,
		Capabilities: a.Capabilities, Tools: a.Tools, Millis: millis(d.Duration), Warnings: api.IssuesFrom(d.Warnings),
	}
	switch {
	case d.Created:
		out.Status = "deployed"
	case d.Changed:
		out.Status = "reloaded"
	}
	return out
}

func (s *Server) validateAgent(_ context.Context, in *deployInput) (*output[api.Validation], error) {
	def, issues := s.deps.Deployer.Validate(in.request())
	v := api.Validation{Valid: true, Name: def.Name, Errors: []api.Issue{}, Warnings: []api.Issue{}}
	for _, i := range api.IssuesFrom(issues) {
		if i.Warning {
			v.Warnings = append(v.Warnings, i)
		} else {
			v.Valid, v.Errors = false, append(v.Errors, i)
		}
	}
	return &output[api.Validation]{v}, nil
}

type removeInput struct {
	AgentPath
	Force bool `query:"force" doc:"also when messages wait for it: they fail"`
}

func (s *Server) removeAgent(ctx context.Context, in *removeInput) (*struct{}, error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.AgentDir.Remove(ctx, a.ID, in.Force)
}

func (s *Server) listVersions(ctx context.Context, in *AgentPath) (*output[api.AgentVersions], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	vs, err := s.deps.Registry.Versions(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	out := api.AgentVersions{Items: []api.AgentVersion{}}
	for _, v := range vs {
		out.Items = append(out.Items, versionFrom(v, a.Version))
	}
	out.Versions = out.Items
	return &output[api.AgentVersions]{out}, nil
}

func versionFrom(v caxton.AgentVersion, active int) api.AgentVersion {
	return api.AgentVersion{
		Number: v.Number, Active: v.Number == active, Hash: v.Hash, Author: v.Author, Source: v.Source, Format: v.Format, CreatedAt: v.CreatedAt,
	}
}

type versionInput struct {
	AgentPath
	Number int `path:"number" minimum:"1" maximum:"1000000000"`
}

func (s *Server) getVersion(ctx context.Context, in *versionInput) (*output[api.AgentVersion], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	v, err := s.deps.Registry.Version(ctx, a.ID, in.Number)
	if err != nil {
		return nil, err
	}
	out := versionFrom(v, a.Version)
	out.Text = string(v.Text)
	return &output[api.AgentVersion]{out}, nil
}

type rollbackInput struct {
	AgentPath
	Body *rollbackBody `required:"false"`
}

type rollbackBody struct {
	To int `json:"to,omitempty" minimum:"0" maximum:"1000000000" doc:"version; the one before the active one when absent"`
}

func (s *Server) rollback(ctx context.Context, in *rollbackInput) (*output[api.Deployment], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	to := 0
	if in.Body != nil {
		to = in.Body.To
	}
	d, err := s.deps.Deployer.Rollback(ctx, a.ID, to)
	if err != nil {
		return nil, err
	}
	out := s.deployment(d)
	out.Status = "rolled_back"
	return &output[api.Deployment]{out}, nil
}

type diffInput struct {
	AgentPath
	From int `query:"from" minimum:"0" maximum:"1000000000" doc:"the version before to when absent"`
	To   int `query:"to" minimum:"0" maximum:"1000000000" doc:"the active version when absent"`
}

func (s *Server) diff(ctx context.Context, in *diffInput) (*output[api.Diff], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	to := cmp.Or(in.To, a.Version)
	from := cmp.Or(in.From, max(1, to-1))
	older, err := s.deps.Registry.Version(ctx, a.ID, from)
	if err != nil {
		return nil, err
	}
	newer, err := s.deps.Registry.Version(ctx, a.ID, to)
	if err != nil {
		return nil, err
	}
	name := func(n int) string { return a.Slug + "@" + strconv.Itoa(n) }
	text := ""
	if !bytes.Equal(older.Text, newer.Text) {
		text = string(diff.Diff(name(from), older.Text, name(to), newer.Text))
	}
	return &output[api.Diff]{api.Diff{From: from, To: to, Diff: text}}, nil
}

func (s *Server) reload(ctx context.Context, in *AgentPath) (*output[api.Deployment], error) {
	d, err := s.deps.AgentDir.Reload(ctx, in.Agent)
	if err != nil {
		return nil, err
	}
	return &output[api.Deployment]{s.deployment(d)}, nil
}

type reloadInput struct {
	ValidateFirst bool `query:"validate_first" doc:"change nothing unless every file is sound"`
	Gradual       bool `query:"gradual" doc:"one after the other, each waited for; it is always so"`
}

func (s *Server) reloadAll(ctx context.Context, in *reloadInput) (*output[api.ReloadList], error) {
	all, err := s.deps.AgentDir.ReloadAll(ctx, in.ValidateFirst)
	if err != nil {
		return nil, err
	}
	l := api.ReloadList{Items: []api.Reload{}}
	for _, r := range all {
		l.Items = append(l.Items, reloadFrom(r))
	}
	l.Reloads = l.Items
	return &output[api.ReloadList]{l}, nil
}

func (s *Server) reloadStatus(_ context.Context, in *AgentPath) (*output[api.Reload], error) {
	r, err := s.deps.AgentDir.ReloadStatus(in.Agent)
	if err != nil {
		return nil, err
	}
	return &output[api.Reload]{reloadFrom(r)}, nil
}

func reloadFrom(r caxton.ReloadStatus) api.Reload {
	return api.Reload{
		Agent: r.Stem, AgentID: string(r.AgentID), State: r.State, FromVersion: r.FromVersion, ToVersion: r.ToVersion,
		At: r.At.UTC(), Millis: millis(r.Duration), Error: r.Error, Issues: api.IssuesFrom(r.Issues),
	}
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
	FailingOnly bool `query:"failing_only" doc:"only agents that are failed, or whose last ten turns or more failed for the larger part"`
	All         bool `query:"all" doc:"all agents; it is so unless failing_only is given"`
}

func (s *Server) changeMany(ctx context.Context, verb string, failingOnly bool) (*output[api.AgentNames], error) {
	names := []string{}
	for _, a := range s.deps.Registry.Agents() {
		if failingOnly && !s.failing(a.ID) || verb == "resume" && !a.Suspended || verb == "suspend" && a.Suspended || verb == "restart" && a.Suspended {
			continue
		}
		if err := s.change(ctx, verb, a.ID); err != nil {
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

func toolFrom(spec tool.Spec) api.Tool {
	return api.Tool{Name: spec.Name, Description: spec.Description, Parameters: spec.Parameters, Idempotent: spec.Idempotent, Source: spec.Source}
}

func (s *Server) toolsOf(a caxton.Agent) []api.Tool {
	ts := []api.Tool{}
	for _, spec := range s.deps.Tools.All() {
		if a.Definition.HasTool(spec.Name) {
			ts = append(ts, toolFrom(spec))
		}
	}
	return ts
}

func (s *Server) agentTools(_ context.Context, in *AgentPath) (*output[api.ToolList], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	ts := s.toolsOf(a)
	return &output[api.ToolList]{api.ToolList{Items: ts, Tools: ts}}, nil
}

type runInput struct {
	ToolPath
	Body struct {
		Arguments json.RawMessage `json:"arguments,omitempty" doc:"object that fits the tool's schema"`
	}
}

func (s *Server) runTool(ctx context.Context, in *runInput) (*output[api.ToolRun], error) {
	if _, err := s.getTool(ctx, &in.ToolPath); err != nil {
		return nil, err
	}
	args := in.Body.Arguments
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	start := time.Now()
	res, err := s.deps.Tools.Run(ctx, in.Tool, tool.Call{ID: "manual", Args: args, Key: requestID(ctx)})
	if err != nil {
		return nil, err
	}
	return &output[api.ToolRun]{api.ToolRun{Text: res.Text, Data: res.Data, MediaType: res.MediaType, Millis: millis(time.Since(start))}}, nil
}

type logsInput struct {
	AgentPath
	Tail   int    `query:"tail" minimum:"1" maximum:"10000" default:"100"`
	Level  string `query:"level" enum:"debug,info,warn,error" doc:"at least this level"`
	Follow bool   `query:"follow" doc:"go on with new lines until the caller leaves"`
}

func (s *Server) logs(ctx context.Context, in *logsInput) (*huma.StreamResponse, error) {
	a, f, err := s.find(in.Agent)
	if err != nil {
		return nil, err
	}
	q := caxton.LogQuery{AgentID: a.ID, Agent: cmp.Or(a.Stem, a.Slug), Level: strings.ToUpper(in.Level), Tail: in.Tail}
	if f != nil {
		q.Agent = f.Stem
	}
	lines, err := s.deps.Logs.AgentLogs(ctx, q)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { //nolint:contextcheck // huma hands the request's context over
		if !in.Follow {
			out := make([]api.LogLine, 0, len(lines))
			for _, l := range lines {
				out = append(out, lineFrom(l))
			}
			hc.SetHeader("Content-Type", "application/json")
			_ = json.NewEncoder(hc.BodyWriter()).Encode(api.LogLines{Items: out, Lines: out})
			return
		}
		s.follow(hc, q, lines)
	}}, nil
}

// follow writes lines and then new ones as they come, until the caller leaves or the server
// stops. A blank line now and then keeps the connection alive.
func (s *Server) follow(hc huma.Context, q caxton.LogQuery, lines []caxton.LogLine) {
	ctx := hc.Context()
	hc.SetHeader("Content-Type", "application/x-ndjson")
	w := hc.BodyWriter()
	flush := func() {
		if f, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
			_ = http.NewResponseController(f.Unwrap()).Flush()
		} else if rw, ok := w.(http.ResponseWriter); ok {
			_ = http.NewResponseController(rw).Flush()
		}
	}
	enc := json.NewEncoder(w)
	quiet := s.cfg.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, l := range lines {
			if enc.Encode(lineFrom(l)) != nil {
				return
			}
			q.After = l.ID
			quiet = s.cfg.Now()
		}
		if s.cfg.Now().Sub(quiet) > 15*time.Second {
			if _, err := w.Write([]byte("\n")); err != nil {
				return
			}
			quiet = s.cfg.Now()
		}
		flush()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.draining.Load() {
			return
		}
		var err error
		if lines, err = s.deps.Logs.AgentLogs(ctx, q); err != nil {
			return
		}
	}
}

func lineFrom(l caxton.LogLine) api.LogLine {
	return api.LogLine{ID: l.ID, At: l.At, Level: l.Level, Agent: l.Agent, Message: l.Message, Attrs: l.Attrs}
}

func (s *Server) auditTools(ctx context.Context, _ *empty) (*output[api.ToolUses], error) {
	uses, err := s.deps.Logs.ToolUses(ctx)
	if err != nil {
		return nil, err
	}
	out := api.ToolUses{Items: []api.ToolUse{}}
	for _, a := range s.deps.Registry.Agents() {
		u := api.ToolUse{Agent: a.Slug, Declared: []string{}, Uses: map[string]int64{}, Unused: []string{}}
		for _, au := range uses {
			if au.AgentID == a.ID {
				u.Uses = au.Uses
			}
		}
		for _, t := range a.Definition.Tools {
			u.Declared = append(u.Declared, t.Name)
			if u.Uses[t.Name] == 0 {
				u.Unused = append(u.Unused, t.Name)
			}
		}
		u.Declared, u.Unused = sorted(u.Declared), sorted(u.Unused)
		out.Items = append(out.Items, u)
	}
	return &output[api.ToolUses]{out}, nil
}

func (s *Server) performance(context.Context, *empty) (*output[api.Performances], error) {
	out := api.Performances{Items: []api.Performance{}}
	for _, a := range s.deps.Registry.Agents() {
		st, ok := s.deps.Supervisor.Status(a.ID)
		if !ok {
			continue
		}
		p := api.Performance{
			Agent: a.Slug, State: string(st.State), Handled: st.Handled, Failed: st.Failed, Queued: st.Queued, InFlight: st.InFlight,
			Restarts: st.Restarts, LatencyP50: millis(st.LatencyP50), LatencyP99: millis(st.LatencyP99),
		}
		if n := st.Handled + st.Failed; n > 0 {
			p.ErrorRate = float64(st.Failed) / float64(n)
			if m := s.cfg.Now().Sub(st.Since).Minutes(); m > 0 {
				p.PerMinute = float64(n) / m
			}
		}
		out.Items = append(out.Items, p)
	}
	return &output[api.Performances]{out}, nil
}

type analyzeInput struct {
	Pattern string `query:"pattern" required:"true" minLength:"1" maxLength:"1000" doc:"regular expression (RE2), in any case" example:"error|timeout"`
	Last    string `query:"last" maxLength:"40" default:"1h" doc:"how far to look back"`
}

func (s *Server) analyze(ctx context.Context, in *analyzeInput) (*output[api.Analysis], error) {
	re, err := regexp.Compile("(?i)" + in.Pattern)
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "pattern_invalid", "the pattern cannot be read: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: ")).
			WithHint("the syntax is RE2's")
	}
	last, err := caxton.ParseDuration(in.Last)
	if err != nil {
		return nil, err
	}
	since := s.cfg.Now().Add(-last).UTC()
	lines, err := s.deps.Logs.AgentLogs(ctx, caxton.LogQuery{Since: since, Tail: 10_000})
	if err != nil {
		return nil, err
	}
	out := api.Analysis{Pattern: in.Pattern, Since: since, ByAgent: map[string]int{}, ByLevel: map[string]int{}, Items: []api.LogLine{}}
	for _, l := range lines {
		attrs, err := json.Marshal(l.Attrs)
		if err != nil || !re.MatchString(l.Level+" "+l.Message+" "+string(attrs)) {
			continue
		}
		out.Matches++
		out.ByAgent[l.Agent]++
		out.ByLevel[l.Level]++
		out.Items = append(out.Items, lineFrom(l))
	}
	out.Items = out.Items[max(0, len(out.Items)-100):]
	return &output[api.Analysis]{out}, nil
}

type testInput struct {
	AgentPath
	Body struct {
		Input string `json:"input" minLength:"1" maxLength:"1000000" doc:"what to say to the agent"`
	}
}

func (s *Server) test(ctx context.Context, in *testInput) (*output[api.TestRun], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	if st, ok := s.deps.Supervisor.Status(a.ID); ok && st.State != caxton.AgentRunning && st.State != caxton.AgentLoaded {
		return nil, caxton.Errorf(caxton.Conflict, "agent_not_running", "agent %s is %s", a.Slug, st.State).WithHint("resume or restart it first")
	}
	start := time.Now()
	rc, err := s.deps.Router.Send(ctx, caxton.Message{Receiver: string(a.ID), Sender: "test", Content: caxton.TextContent(in.Body.Input)})
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 2*s.cfg.WaitTimeout)
	defer cancel()
	reply, err := s.deps.Router.Await(wait, rc.MessageID)
	if err != nil {
		return nil, err
	}
	out := api.TestRun{Reply: replyFrom(&reply), Millis: millis(time.Since(start))}
	rs, err := s.deps.Router.Records(ctx, rc.ConversationID, 0, 1000)
	out.Records = recordsFrom(rs)
	return &output[api.TestRun]{out}, err
}

type debugInput struct {
	AgentPath
	Input string `query:"input" maxLength:"10000" doc:"the message whose prompt is shown"`
}

func (s *Server) debug(ctx context.Context, in *debugInput) (*output[api.Debug], error) {
	found, err := s.getAgent(ctx, &in.AgentPath)
	if err != nil {
		return nil, err
	}
	d := api.Debug{Agent: found.Body, Tools: []api.Tool{}, Conversations: []api.Conversation{}}
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil { // a file that never loaded
		return &output[api.Debug]{d}, nil //nolint:nilerr // what is known of it was found above
	}
	d.Tools = s.toolsOf(a)
	d.Prompt = s.preview(ctx, a, cmp.Or(in.Input, "Hello"))
	cs, _, err := s.deps.Router.Conversations(ctx, caxton.ConversationQuery{Agent: a.ID, Limit: 10})
	for _, c := range cs {
		d.Conversations = append(d.Conversations, conversationFrom(c))
	}
	return &output[api.Debug]{d}, err
}

func (s *Server) preview(ctx context.Context, a caxton.Agent, text string) api.PromptPreview {
	p := api.PromptPreview{Documents: []string{}, Messages: []string{}, Tools: []string{}}
	v, err := s.deps.Registry.Version(ctx, a.ID, a.Version)
	if err == nil {
		req, perr := s.deps.Previewer.Preview(ctx, v, text)
		err = perr
		p.Model, p.System = req.Model, req.System
		for _, d := range req.Documents {
			p.Documents = append(p.Documents, d.Text)
		}
		for _, m := range req.Messages {
			p.Messages = append(p.Messages, string(m.Role)+": "+m.Text)
		}
		for _, t := range req.Tools {
			p.Tools = append(p.Tools, t.Name)
		}
	}
	if err != nil {
		p.Error = api.ErrorFrom(err, "").Error.Message
	}
	return p
}
