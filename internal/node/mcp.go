package node

import (
	"github.com/caxton/caxton/internal/mcp"
)

// mcpConfig returns the configured MCP servers in the words of internal/mcp.
func (n *node) mcpConfig() mcp.Config {
	cfg := mcp.Config{
		Servers: map[string]mcp.Server{}, Environ: n.o.Environ, Dir: n.o.Dir, Version: n.o.Version, Logger: n.log.Logger, Registerer: n.reg,
	}
	for name, s := range n.c.Tools.MCPServers {
		cfg.Servers[name] = mcp.Server{
			Command: s.Command, Args: s.Args, Env: s.Env, Dir: s.Cwd, URL: s.URL, Headers: s.Headers,
			Timeout: s.Timeout.Std(), StartupTimeout: s.StartupTimeout.Std(), MaxResult: int64(s.MaxResultSize), Trust: s.Trust, Disabled: s.Disabled,
			Include: s.IncludeTools, Exclude: s.ExcludeTools, Idempotent: s.Idempotent,
		}
	}
	return cfg
}
