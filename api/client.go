package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// Config says which server a Client talks to. Zero fields mean the defaults given here.
type Config struct {
	BaseURL    string       // http://127.0.0.1:8080
	UnixSocket string       // path of a socket, used instead of BaseURL's host
	Token      string       // sent as bearer token
	UserAgent  string       // caxton
	HTTPClient *http.Client // a client of its own, without a time limit: calls are bounded by their context; one that is given must find UnixSocket itself
}

// A Client calls one server. It is safe for concurrent use. Its errors are *caxton.Error:
// what the server said, or Unavailable with the code server_unreachable.
type Client struct {
	cfg  Config
	base string
}

// New returns a Client. It calls nobody.
func New(cfg Config) *Client {
	cfg.BaseURL = strings.TrimRight(cmp.Or(cfg.BaseURL, "http://127.0.0.1:8080"), "/")
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "caxton")
	if cfg.HTTPClient == nil {
		tr := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}
		if cfg.UnixSocket != "" {
			tr.Proxy = nil
			tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", cfg.UnixSocket)
			}
		}
		cfg.HTTPClient = &http.Client{Transport: tr}
	}
	base := cfg.BaseURL
	if cfg.UnixSocket != "" {
		base = "http://caxton"
	}
	return &Client{cfg: cfg, base: base + "/api/" + Version}
}

// Address returns where the client's server is: its URL or the path of its socket.
func (c *Client) Address() string { return cmp.Or(c.cfg.UnixSocket, c.cfg.BaseURL) }

// Close closes idle connections.
func (c *Client) Close() { c.cfg.HTTPClient.CloseIdleConnections() }

// keyKey is the context key of an idempotency key.
type keyKey struct{}

// WithIdempotencyKey returns a context whose calls carry the key, when they are POSTs. The
// same call with the same key is served once; a repeated one gets the same answer. Use it
// for one call and its repetitions, and a new key for the next.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyKey{}, key)
}

// A call is one request.
type call struct {
	method, path string
	query        url.Values
	body         any // JSON, or text when contentType is set
	contentType  string
	header       http.Header
}

func path(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// send makes the request; the caller closes the body of a success.
func (c *Client) send(ctx context.Context, k call) (*http.Response, error) {
	var body io.Reader
	switch v := k.body.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(v)
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return nil, caxton.Errorf(caxton.Malformed, "request_unprintable", "the request cannot be written").WithCause(err)
		}
		body = bytes.NewReader(b)
		k.contentType = cmp.Or(k.contentType, "application/json")
	}
	u := c.base + k.path
	if len(k.query) > 0 {
		u += "?" + k.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u, body)
	if err != nil {
		return nil, caxton.Errorf(caxton.Malformed, "server_address_invalid", "%q is not the address of a server", c.Address()).WithHint("write it like http://127.0.0.1:8080").WithCause(err)
	}
	maps.Copy(req.Header, k.header)
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if k.contentType != "" {
		req.Header.Set("Content-Type", k.contentType)
	}
	if key, _ := ctx.Value(keyKey{}).(string); key != "" && k.method == http.MethodPost {
		req.Header.Set("Idempotency-Key", key)
	}
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	res, err := c.cfg.HTTPClient.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if res.StatusCode >= 400 {
		defer func() { _ = res.Body.Close() }()
		return nil, decodeError(res)
	}
	return res, nil
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return caxton.Errorf(caxton.Timeout, "request_timeout", "the server at %s did not answer in time", c.Address()).WithCause(err)
	case ctx.Err() != nil:
		return caxton.Errorf(caxton.Canceled, "canceled", "the request was cancelled").WithCause(err)
	}
	return caxton.Errorf(caxton.Unavailable, "server_unreachable", "no server answers at %s", c.Address()).
		WithHint("start one with: caxton serve; or name another with --server").WithCause(err)
}

// broken is the error of an answer that ended before its end: the request may have been
// served.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return c.unreachable(ctx, err)
	}
	return caxton.Errorf(caxton.Unavailable, "answer_cut_off", "the answer of the server at %s broke off", c.Address()).
		WithHint("the request may have been served; ask for its result before you repeat it").WithCause(err)
}

// maxAnswer bounds what a client reads of one answer.
const maxAnswer = 64 << 20

func decodeError(res *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	var b ErrorBody
	if err == nil && json.Unmarshal(text, &b) == nil && b.Error.Kind != "" {
		e := b.Err()
		if e.Kind == caxton.Internal && b.Error.RequestID != "" {
			e.Message += " (request " + b.Error.RequestID + ")"
		}
		return e
	}
	return caxton.Errorf(caxton.Unavailable, "not_a_caxton_server", "the server answered %s in an unknown form", res.Status).
		WithHint("check that --server is the address of a Caxton server")
}

func do[T any](ctx context.Context, c *Client, k call) (T, error) {
	var out T
	res, err := c.send(ctx, k)
	if err != nil {
		return out, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return out, c.broken(ctx, err)
	case len(text) > maxAnswer:
		return out, caxton.Errorf(caxton.TooLarge, "answer_too_large", "the server's answer has more than %d MiB", maxAnswer>>20).
			WithHint("ask for less at once")
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, caxton.Errorf(caxton.Unavailable, "not_a_caxton_server", "the server's answer cannot be read").
			WithHint("check that --server is the address of a Caxton server of the same version").WithCause(err)
	}
	return out, nil
}

func get(p string, query url.Values) call { return call{method: http.MethodGet, path: p, query: query} }

func post(p string, query url.Values, body any) call {
	return call{method: http.MethodPost, path: p, query: query, body: body}
}

// values makes a query of pairs, leaving empty values out.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func yes(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// Health asks whether the server is healthy.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return do[Health](ctx, c, get("/health", nil))
}

// MemoryHealth asks whether the memory is healthy.
func (c *Client) MemoryHealth(ctx context.Context) (MemoryHealth, error) {
	return do[MemoryHealth](ctx, c, get("/health/memory", nil))
}

// Ready asks whether the server takes requests; Unavailable when it does not.
func (c *Client) Ready(ctx context.Context) (Ready, error) {
	return do[Ready](ctx, c, get("/ready", nil))
}

// Version asks for the server's version.
func (c *Client) Version(ctx context.Context) (VersionInfo, error) {
	return do[VersionInfo](ctx, c, get("/version", nil))
}

// Status asks for the server at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return do[Status](ctx, c, get("/status", nil))
}

// Shutdown asks the server to stop.
func (c *Client) Shutdown(ctx context.Context, s Shutdown) (Accepted, error) {
	return do[Accepted](ctx, c, post("/shutdown", nil, s))
}

// Config asks for the effective configuration, without secrets.
func (c *Client) Config(ctx context.Context) (Settings, error) {
	return do[Settings](ctx, c, get("/config", nil))
}

// An AgentFilter selects agents. Zero fields select all.
type AgentFilter struct {
	Type, State, Capability string
}

// Agents lists agents, all pages of them.
func (c *Client) Agents(ctx context.Context, f AgentFilter) (AgentList, error) {
	all := AgentList{Items: []Agent{}}
	cursor := ""
	for {
		page, err := do[AgentList](ctx, c, get("/agents", values("type", f.Type, "state", f.State, "capability", f.Capability, "limit", "200", "cursor", cursor)))
		if err != nil {
			return all, err
		}
		all.Items = append(all.Items, page.Items...)
		all.Total = page.Total
		if cursor = page.Next; cursor == "" {
			all.Agents = all.Items
			return all, nil
		}
	}
}

// Agent asks for one agent: UUID, name, slug or file stem.
func (c *Client) Agent(ctx context.Context, ref string) (Agent, error) {
	return do[Agent](ctx, c, get(path("agents", ref), nil))
}

// A Deploy is a definition to be brought into force.
type Deploy struct {
	Text              []byte
	Format            string // markdown, toml, json or yaml
	Module            []byte // of a WASM agent
	Name              string // file name without extension, or ""
	Author            string
	ValidateOnly      bool
	CreateOnly        bool
	MoveConversations bool
	Rollout           RolloutPlan
}

// Deploy brings a definition into force: a new agent, or a new version of the one that has
// its name.
func (c *Client) Deploy(ctx context.Context, d Deploy) (Deployment, error) {
	body := DeployBody{
		Text: string(d.Text), Format: d.Format, Module: d.Module, File: d.Name, Author: d.Author,
		ValidateOnly: d.ValidateOnly, MoveConversations: d.MoveConversations, CreateOnly: d.CreateOnly,
		RolloutPlan: d.Rollout,
	}
	return do[Deployment](ctx, c, post("/agents/deploy", nil, body))
}

// DeployBody is the body of POST /api/v1/agents/deploy.
type DeployBody struct {
	Text              string `json:"definition" minLength:"1" doc:"the text of the agent file"`
	Format            string `json:"format,omitempty" enum:"markdown,toml,json,yaml," doc:"told from the text when absent"`
	Module            []byte `json:"wasm_module,omitempty" doc:"the module of a WASM agent, as base64"`
	File              string `json:"file,omitempty" maxLength:"200" doc:"file name without extension"`
	Author            string `json:"author,omitempty" maxLength:"200"`
	CreateOnly        bool   `json:"create_only,omitempty" doc:"fail when the agent exists"`
	ValidateOnly      bool   `json:"validate_only,omitempty" doc:"check everything, change nothing"`
	MoveConversations bool   `json:"move_conversations,omitempty" doc:"running conversations move to the new version too"`
	RolloutPlan
}

// ValidateAgent checks a definition and changes nothing.
func (c *Client) ValidateAgent(ctx context.Context, text []byte, format string) (Validation, error) {
	return do[Validation](ctx, c, post("/agents/validate", nil, DeployBody{Text: string(text), Format: format}))
}

// RemoveAgent undeploys an agent; with force, messages that wait for it fail.
func (c *Client) RemoveAgent(ctx context.Context, ref string, force bool) error {
	_, err := do[struct{}](ctx, c, call{method: http.MethodDelete, path: path("agents", ref), query: values("force", yes(force))})
	return err
}

// Versions lists an agent's versions.
func (c *Client) Versions(ctx context.Context, ref string) (AgentVersions, error) {
	return do[AgentVersions](ctx, c, get(path("agents", ref, "versions"), nil))
}

// AgentVersion asks for one version with its text.
func (c *Client) AgentVersion(ctx context.Context, ref string, n int) (AgentVersion, error) {
	return do[AgentVersion](ctx, c, get(path("agents", ref, "versions", strconv.Itoa(n)), nil))
}

// Rollback makes version to active again, or the one before when to is 0.
func (c *Client) Rollback(ctx context.Context, ref string, to int) (Deployment, error) {
	return do[Deployment](ctx, c, post(path("agents", ref, "rollback"), nil, map[string]int{"to": to}))
}

// Diff compares two versions; 0 means the one before the active one, and the active one.
func (c *Client) Diff(ctx context.Context, ref string, from, to int) (Diff, error) {
	return do[Diff](ctx, c, get(path("agents", ref, "diff"), values("from", number(from), "to", number(to))))
}

// Reload brings an agent's file into force.
func (c *Client) Reload(ctx context.Context, ref string) (Deployment, error) {
	return do[Deployment](ctx, c, post(path("agents", ref, "reload"), nil, nil))
}

// ReloadAll brings every agent file into force.
func (c *Client) ReloadAll(ctx context.Context, validateFirst bool) (ReloadList, error) {
	return do[ReloadList](ctx, c, post("/agents/reload", values("validate_first", yes(validateFirst)), nil))
}

// ReloadStatus asks for the result of the last reload.
func (c *Client) ReloadStatus(ctx context.Context, ref string) (Reload, error) {
	return do[Reload](ctx, c, get(path("agents", ref, "reload-status"), nil))
}

// Suspend, Resume and Restart change one agent.

// Suspend has an agent take no more messages; they wait.
func (c *Client) Suspend(ctx context.Context, ref string) (Agent, error) {
	return do[Agent](ctx, c, post(path("agents", ref, "suspend"), nil, nil))
}

// Resume has a suspended agent take messages again.
func (c *Client) Resume(ctx context.Context, ref string) (Agent, error) {
	return do[Agent](ctx, c, post(path("agents", ref, "resume"), nil, nil))
}

// Restart makes an agent's handler anew.
func (c *Client) Restart(ctx context.Context, ref string) (Agent, error) {
	return do[Agent](ctx, c, post(path("agents", ref, "restart"), nil, nil))
}

// ChangeMany suspends, resumes or restarts (verb) several agents: all, or the failing ones.
func (c *Client) ChangeMany(ctx context.Context, verb string, failingOnly bool) (AgentNames, error) {
	return do[AgentNames](ctx, c, post("/agents/"+verb, values("failing_only", yes(failingOnly)), nil))
}

// Ping asks an agent for a sign of life.
func (c *Client) Ping(ctx context.Context, ref string) (Ping, error) {
	return do[Ping](ctx, c, get(path("agents", ref, "ping"), nil))
}

// AgentCapabilities lists what an agent can do.
func (c *Client) AgentCapabilities(ctx context.Context, ref string) (AgentCapabilities, error) {
	return do[AgentCapabilities](ctx, c, get(path("agents", ref, "capabilities"), nil))
}

// Logs asks for the last lines of an agent's log.
func (c *Client) Logs(ctx context.Context, ref string, tail int, level string) (LogLines, error) {
	return do[LogLines](ctx, c, get(path("agents", ref, "logs"), values("tail", number(tail), "level", level)))
}

// FollowLogs calls each for the last lines of an agent's log and then for every new one,
// until ctx ends or each returns an error.
func (c *Client) FollowLogs(ctx context.Context, ref string, tail int, level string, each func(LogLine) error) error {
	res, err := c.send(ctx, get(path("agents", ref, "logs"), values("tail", number(tail), "level", level, "follow", "true")))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	lines := json.NewDecoder(res.Body) // it passes over blank lines, signs that the connection lives
	for {
		var l LogLine
		switch err := lines.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil
		case isJSONError(err):
			return caxton.Errorf(caxton.Unavailable, "not_a_caxton_server", "a line of the log cannot be read").WithCause(err)
		case err != nil:
			return c.broken(ctx, err)
		}
		if err := each(l); err != nil {
			return err
		}
	}
}

func isJSONError(err error) bool {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	return syntax || kind
}

// Test sends an agent an input in a conversation of its own and tells all that happened.
func (c *Client) Test(ctx context.Context, ref, input string) (TestRun, error) {
	return do[TestRun](ctx, c, post(path("agents", ref, "test"), nil, map[string]string{"input": input}))
}

// Debug shows an agent from the inside; text is the message whose prompt is previewed.
func (c *Client) Debug(ctx context.Context, ref, text string) (Debug, error) {
	return do[Debug](ctx, c, get(path("agents", ref, "debug"), values("input", text)))
}

// AuditTools tells which tools agents declare and use.
func (c *Client) AuditTools(ctx context.Context) (ToolUses, error) {
	return do[ToolUses](ctx, c, get("/agents/audit-tools", nil))
}

// Performance tells how agents perform.
func (c *Client) Performance(ctx context.Context) (Performances, error) {
	return do[Performances](ctx, c, get("/agents/performance", nil))
}

// Analyze searches agents' logs of the last while for a regular expression.
func (c *Client) Analyze(ctx context.Context, pattern, last string) (Analysis, error) {
	return do[Analysis](ctx, c, get("/agents/analyze", values("pattern", pattern, "last", last)))
}

// Send sends a message and waits for the reply, at most for the time given; 0 does not wait.
func (c *Client) Send(ctx context.Context, m Message, wait time.Duration) (Receipt, error) {
	return do[Receipt](ctx, c, post("/messages", url.Values{"wait": {strconv.Itoa(int(wait.Milliseconds())) + "ms"}}, m))
}

// Message asks what became of a message.
func (c *Client) Message(ctx context.Context, id string) (MessageStatus, error) {
	return do[MessageStatus](ctx, c, get(path("messages", id), nil))
}

// Conversations lists conversations, newest activity first.
func (c *Client) Conversations(ctx context.Context, agent, state string, limit int, cursor string) (ConversationList, error) {
	return do[ConversationList](ctx, c, get("/conversations", values("agent", agent, "status", state, "limit", number(limit), "cursor", cursor)))
}

// Conversation asks for one conversation.
func (c *Client) Conversation(ctx context.Context, id string) (Conversation, error) {
	return do[Conversation](ctx, c, get(path("conversations", id), nil))
}

// Records asks for a part of a conversation's log.
func (c *Client) Records(ctx context.Context, id string, after int64, limit int) (Records, error) {
	return do[Records](ctx, c, get(path("conversations", id, "records"), values("after", strconv.FormatInt(after, 10), "limit", number(limit))))
}

// Capabilities lists what agents can do.
func (c *Client) Capabilities(ctx context.Context) (CapabilityList, error) {
	return do[CapabilityList](ctx, c, get("/capabilities", nil))
}

// Capability asks who has a capability.
func (c *Client) Capability(ctx context.Context, name string) (Capability, error) {
	return do[Capability](ctx, c, get(path("capabilities", name), nil))
}

// Tools lists the tools that the server permits.
func (c *Client) Tools(ctx context.Context) (ToolList, error) {
	return do[ToolList](ctx, c, get("/tools", nil))
}

// Tool asks for one tool.
func (c *Client) Tool(ctx context.Context, name string) (Tool, error) {
	return do[Tool](ctx, c, get(path("tools", name), nil))
}

// RunTool runs a tool by hand.
func (c *Client) RunTool(ctx context.Context, name string, args json.RawMessage) (ToolRun, error) {
	return do[ToolRun](ctx, c, post(path("tools", name, "run"), nil, map[string]json.RawMessage{"arguments": args}))
}
