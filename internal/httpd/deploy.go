package httpd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"mime"
	"reflect"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

// definitionBody describes what may be posted as a definition.
func definitionBody() *huma.RequestBody {
	text := func() *huma.MediaType { return &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}} }
	return &huma.RequestBody{
		Required: true,
		Description: "A definition as a JSON object, or {\"definition\": \"<text of the file>\"}, or the text of the file itself. " +
			"The module of a WASM agent comes with it as base64 under the key wasm_module, or as a file of a form.",
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Properties: map[string]*huma.Schema{
				"name":        {Type: huma.TypeString, Description: "the agent's name, where the body is the definition"},
				"definition":  {Type: huma.TypeString, Description: "the text of the agent file; without it the other keys are the definition"},
				"wasm_module": {Type: huma.TypeString, ContentEncoding: "base64", Description: "the module of a WASM agent"},
				"resource_limits": {Type: huma.TypeObject, AdditionalProperties: true, Description: "what one turn of the module may take", Properties: map[string]*huma.Schema{
					"max_memory_bytes":      {Type: huma.TypeInteger},
					"max_fuel":              {Type: huma.TypeInteger, Description: "in units of a thousand instructions"},
					"max_execution_time_ms": {Type: huma.TypeInteger},
					"max_message_size":      {Type: huma.TypeInteger, Description: "in bytes"},
				}},
			}}},
			"multipart/form-data": {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Properties: map[string]*huma.Schema{
				"wasm_module": {Type: huma.TypeString, Format: "binary", Description: "the module"},
				"definition":  {Type: huma.TypeString, Description: "the text of the agent file; without it the other fields are its keys"},
			}}},
			"text/markdown": text(), "application/toml": text(), "application/yaml": text(),
		},
	}
}

// DefinitionInput takes a definition in any of its forms.
type DefinitionInput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Author      string `query:"author" maxLength:"200" doc:"who deploys it"`
	Move        bool   `query:"move_conversations" doc:"running conversations move to the new version too"`
	ValidOnly   bool   `query:"validate_only" doc:"check everything, change nothing"`
	RolloutQuery
	RawBody []byte
}

// request reads the definition out of a body.
func (in *DefinitionInput) request() (caxton.DeployRequest, error) {
	req := caxton.DeployRequest{Source: "api", Author: cmp.Or(in.Author, "api"), MoveConversations: in.Move, ValidateOnly: in.ValidOnly}
	raw := bytes.Clone(in.RawBody) // huma uses its buffer again for the next request, and versions live on
	media, _, err := mime.ParseMediaType(cmp.Or(in.ContentType, "application/json"))
	if err != nil {
		media = ""
	}
	switch media {
	case "text/markdown", "text/x-markdown":
		req.Text, req.Format = raw, "markdown"
		return req, nil
	case "application/toml", "text/toml", "text/x-toml":
		req.Text, req.Format = raw, "toml"
		return req, nil
	case "application/yaml", "text/yaml", "application/x-yaml":
		req.Text, req.Format = raw, "yaml"
		return req, nil
	case "multipart/form-data":
		return req, formFrom(in.ContentType, raw, &req)
	case "application/json", "text/json", "text/plain":
	default:
		return req, caxton.Errorf(caxton.Malformed, "content_type_unknown", "a definition of type %.100q cannot be read", in.ContentType).
			WithHint("send application/json, multipart/form-data, text/markdown, application/toml or application/yaml")
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(raw, &body); err != nil || body == nil {
		if json.Valid(raw) {
			return req, caxton.Errorf(caxton.Invalid, "request_invalid", "validation failed: body: expected object").WithHint("send a definition as a JSON object").WithCause(err)
		}
		return req, caxton.Errorf(caxton.Malformed, "request_malformed", "the body is not a JSON object").
			WithHint("send a definition such as {\"name\": \"Greeter\", \"capabilities\": [\"greeting\"], \"system_prompt\": \"…\"}").WithCause(err)
	}
	if _, ok := body["wasm_module"]; ok {
		return req, moduleFrom(body, &req)
	}
	if definitionText(body, &req) {
		return req, nil
	}
	req.Text, req.Format = raw, "json"
	return req, nil
}

func (s *Server) createAgent(ctx context.Context, in *DefinitionInput) (*output[api.Deployment], error) {
	req, err := in.request()
	if err != nil {
		return nil, err
	}
	req.CreateOnly = true
	if req.Rollout, err = in.plan(in.RawBody); err != nil { // it has no effect, but is to be sound
		return nil, err
	}
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
	if req.Rollout, err = in.plan(in.RawBody); err != nil {
		return nil, err
	}
	return s.deploy(ctx, req)
}

type deployInput struct{ Body api.DeployBody }

// plainModule has the module of a body checked once, when it is decoded: huma would match all of
// it with a regular expression besides, which takes a tenth of a second for a module in Go.
func plainModule(a huma.API) {
	m := a.OpenAPI().Components.Schemas.Map()[reflect.TypeFor[api.DeployBody]().Name()].Properties["wasm_module"]
	m.ContentEncoding, m.Format = "", "byte" // OpenAPI's name of base64
}

func (in *deployInput) request() caxton.DeployRequest {
	b := in.Body
	return caxton.DeployRequest{
		Text: []byte(b.Text), Format: b.Format, Module: b.Module, Source: "api", Stem: b.File, Author: cmp.Or(b.Author, "api"),
		CreateOnly: b.CreateOnly, ValidateOnly: b.ValidateOnly, MoveConversations: b.MoveConversations,
	}
}

func (s *Server) deployAgent(ctx context.Context, in *deployInput) (*output[api.Deployment], error) {
	req := in.request()
	var err error
	if req.Rollout, err = in.Body.Plan(); err != nil {
		return nil, err
	}
	return s.deploy(ctx, req)
}

func (s *Server) deploy(ctx context.Context, req caxton.DeployRequest) (*output[api.Deployment], error) {
	if n, most := caxton.Size(len(req.Module)), caxton.Size(s.cfg.MaxModule); n > most && most > 0 {
		return nil, caxton.Errorf(caxton.TooLarge, "module_too_large", "the module has %s (%d bytes), and this server takes %v", n.Rough(), n, most).
			WithHint("build it without debug information, or raise wasm.max_module_size")
	}
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
	if d.Rollout != nil {
		out.Rollout = s.rolloutOf(d.Agent.ID)
	}
	if out.Module = reported(&d.Agent.Definition, d.Module); out.Module == nil {
		out.Module = s.bounded(moduleOf(&d.Agent.Definition), &d.Agent.Definition)
	}
	switch {
	case d.Created:
		out.Status = "deployed"
	case d.Rollout != nil:
		out.Status = "rolling_out"
	case d.Changed:
		out.Status = "reloaded"
	}
	return out
}

func (s *Server) validateAgent(ctx context.Context, in *deployInput) (*output[api.Validation], error) {
	def, report, issues := s.deps.Deployer.Validate(ctx, in.request())
	v := api.Validation{Valid: true, Name: def.Name, Errors: []api.Issue{}, Warnings: []api.Issue{}, Module: reported(&def, report)}
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
