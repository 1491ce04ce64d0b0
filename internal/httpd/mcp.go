package httpd

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

// MCP knows the MCP servers and decides about their tools. *mcp.Servers provides it.
type MCP interface {
	Servers() []caxton.MCPServer
	Pin(name string) (caxton.ToolPin, error)
	Approve(ctx context.Context, name, hash, by string) (caxton.ToolPin, error)
	Deny(ctx context.Context, name, why, by string) (caxton.ToolPin, error)
}

func (s *Server) mcpRoutes(a huma.API) {
	route(s, a, operation(http.MethodGet, "/mcp/servers", "list-mcp-servers", "tools", "How the configured MCP servers are"), s.mcpServers)
	route(s, a, operation(http.MethodPost, "/tools/{tool}/approve", "approve-tool", "tools", "Let a tool of an MCP server in, as it is offered now"), s.approveTool)
	route(s, a, operation(http.MethodPost, "/tools/{tool}/deny", "deny-tool", "tools", "Refuse a tool of an MCP server"), s.denyTool)
}

func (s *Server) mcpServers(context.Context, *empty) (*output[api.MCPServerList], error) {
	l := api.MCPServerList{Items: []api.MCPServer{}}
	for _, srv := range s.deps.MCP.Servers() {
		l.Items = append(l.Items, api.MCPServerFrom(srv))
	}
	l.Servers = l.Items
	return &output[api.MCPServerList]{l}, nil
}

type approveInput struct {
	ToolPath
	Body *api.ToolApproval `required:"false"`
}

func (s *Server) approveTool(ctx context.Context, in *approveInput) (*output[api.Tool], error) {
	var b api.ToolApproval
	if in.Body != nil {
		b = *in.Body
	}
	p, err := s.deps.MCP.Approve(ctx, in.Tool, b.Hash, cmp.Or(b.By, "api"))
	if err != nil {
		return nil, err
	}
	return s.decided(ctx, p), nil
}

type denyInput struct {
	ToolPath
	Body *api.ToolDenial `required:"false"`
}

func (s *Server) denyTool(ctx context.Context, in *denyInput) (*output[api.Tool], error) {
	var b api.ToolDenial
	if in.Body != nil {
		b = *in.Body
	}
	p, err := s.deps.MCP.Deny(ctx, in.Tool, b.Reason, cmp.Or(b.By, "api"))
	if err != nil {
		return nil, err
	}
	return s.decided(ctx, p), nil
}

func (s *Server) decided(ctx context.Context, p caxton.ToolPin) *output[api.Tool] {
	if out, err := s.getTool(ctx, &ToolPath{Tool: p.Name}); err == nil {
		return out
	}
	// The server's policy does not permit it: it is decided about, and not listed.
	return &output[api.Tool]{api.Tool{
		Name: p.Name, Description: p.Pinned.Description, Parameters: p.Pinned.Schema, Source: "mcp:" + p.Server,
		State: string(p.State), Reason: p.Reason, MCP: api.MCPToolFrom(p),
	}}
}

// withPin adds what is known of a tool when it comes from an MCP server.
func (s *Server) withPin(t api.Tool) api.Tool {
	if !strings.HasPrefix(t.Name, caxton.MCPPrefix) {
		return t
	}
	if p, err := s.deps.MCP.Pin(t.Name); err == nil {
		t.MCP = api.MCPToolFrom(p)
	}
	return t
}
