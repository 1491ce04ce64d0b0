package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caxton/caxton"
)

// An MCPTool tells what is known, and was decided, about a tool of an MCP server.
type MCPTool struct {
	Server      string     `json:"server" example:"memory"`
	Tool        string     `json:"tool" doc:"as its server calls it"`
	Hash        string     `json:"hash" doc:"SHA-256 of what was approved, or seen first"`
	OfferedHash string     `json:"offered_hash" doc:"SHA-256 of what the server says now"`
	Changed     bool       `json:"changed" doc:"whether the server says something else than what was approved"`
	Offered     *ToolOffer `json:"offered,omitempty" doc:"what the server says now, when that is something else"`
	ReadOnly    bool       `json:"read_only_hint"`
	Repeatable  bool       `json:"idempotent_hint"`
	Destructive bool       `json:"destructive_hint"`
	FirstSeen   time.Time  `json:"first_seen"`
	LastSeen    time.Time  `json:"last_seen"`
	DecidedBy   string     `json:"decided_by,omitempty"`
	DecidedAt   *time.Time `json:"decided_at,omitempty"`
}

// A ToolOffer is what an MCP server says of a tool.
type ToolOffer struct {
	Tool        string          `json:"tool"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
	ReadOnly    bool            `json:"read_only_hint"`
	Repeatable  bool            `json:"idempotent_hint"`
	Destructive bool            `json:"destructive_hint"`
}

// MCPToolFrom returns a pin as it is sent.
func MCPToolFrom(p caxton.ToolPin) *MCPTool {
	t := &MCPTool{
		Server: p.Server, Tool: p.Pinned.Tool, Hash: p.Hash, OfferedHash: p.Offered.Hash(), Changed: p.Changed(),
		ReadOnly: p.Pinned.ReadOnly, Repeatable: p.Pinned.Idempotent, Destructive: p.Pinned.Destructive,
		FirstSeen: p.FirstSeen, LastSeen: p.LastSeen, DecidedBy: p.DecidedBy,
	}
	if !p.DecidedAt.IsZero() {
		t.DecidedAt = &p.DecidedAt
	}
	if t.Changed {
		o := p.Offered
		t.Offered = &ToolOffer{
			Tool: o.Tool, Description: o.Description, Parameters: o.Schema, ReadOnly: o.ReadOnly, Repeatable: o.Idempotent, Destructive: o.Destructive,
		}
	}
	return t
}

// A ToolApproval lets a tool in.
type ToolApproval struct {
	Hash string `json:"hash,omitempty" maxLength:"64" doc:"approve only what has this hash (offered_hash)"`
	By   string `json:"by,omitempty" maxLength:"200" doc:"who decides"`
}

// A ToolDenial refuses a tool.
type ToolDenial struct {
	Reason string `json:"reason,omitempty" maxLength:"1000"`
	By     string `json:"by,omitempty" maxLength:"200" doc:"who decides"`
}

// An MCPServer tells how a configured MCP server is.
type MCPServer struct {
	Name      string         `json:"name" example:"memory"`
	Transport string         `json:"transport" enum:"stdio,http"`
	Target    string         `json:"target" doc:"its command or URL"`
	State     string         `json:"state" enum:"disabled,starting,connected,failed"`
	Error     string         `json:"error,omitempty" doc:"why it failed last"`
	Protocol  string         `json:"protocol,omitempty" doc:"the version agreed on" example:"2025-11-25"`
	Product   string         `json:"product,omitempty" doc:"what the server calls itself"`
	Trusted   bool           `json:"trusted"`
	Tools     map[string]int `json:"tools" doc:"how many tools are in each state"`
	Starts    int            `json:"starts" doc:"how often it was started"`
	Since     time.Time      `json:"since" doc:"since when it is in its state"`
	NextStart *time.Time     `json:"next_start,omitempty" doc:"when it is started again"`
}

// MCPServerList is the answer of GET /api/v1/mcp/servers.
type MCPServerList struct {
	Items   []MCPServer `json:"items"`
	Servers []MCPServer `json:"servers" doc:"the same as items"`
}

// MCPServerFrom returns a server as it is sent.
func MCPServerFrom(s caxton.MCPServer) MCPServer {
	out := MCPServer{
		Name: s.Name, Transport: s.Transport, Target: s.Target, State: s.State, Error: s.Error, Protocol: s.Protocol, Product: s.Product,
		Trusted: s.Trusted, Tools: map[string]int{}, Starts: s.Starts, Since: s.Since,
	}
	for state, n := range s.Tools {
		out.Tools[string(state)] = n
	}
	if !s.NextStart.IsZero() {
		out.NextStart = &s.NextStart
	}
	return out
}

// MCPServers tells how the configured MCP servers are.
func (c *Client) MCPServers(ctx context.Context) (MCPServerList, error) {
	return do[MCPServerList](ctx, c, get("/mcp/servers", nil))
}

// ApproveTool lets a tool of an MCP server in, as its server offers it now.
func (c *Client) ApproveTool(ctx context.Context, name string, a ToolApproval) (Tool, error) {
	return do[Tool](ctx, c, post(path("tools", name, "approve"), nil, a))
}

// DenyTool refuses a tool of an MCP server until it is approved.
func (c *Client) DenyTool(ctx context.Context, name string, d ToolDenial) (Tool, error) {
	return do[Tool](ctx, c, post(path("tools", name, "deny"), nil, d))
}
