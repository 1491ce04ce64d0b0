package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// An MCPServer is one MCP server whose tools agents may be given: a program that is started,
// or a URL. Zero fields mean the defaults in their descriptions.
type MCPServer struct {
	Type           string            `key:"type" oneof:"stdio,http" doc:"stdio for command, http for url; without it what is given says so."`
	Command        string            `key:"command" doc:"The program to start; it speaks over its standard streams."`
	Args           []string          `key:"args" doc:"Its arguments."`
	Env            map[string]string `key:"env" secret:"true" doc:"Its environment, besides PATH, HOME and the like; NAME_file takes the value from a file."`
	Cwd            string            `key:"cwd" doc:"Its working directory; without it the one of this server."`
	URL            string            `key:"url" form:"url" doc:"Where a server answers that speaks streamable HTTP."`
	Headers        map[string]string `key:"headers" secret:"true" doc:"Headers of each request to url."`
	Timeout        caxton.Duration   `key:"timeout" min:"1ms" max:"5m" doc:"For one call; without it 60s."`
	StartupTimeout caxton.Duration   `key:"startup_timeout" min:"1ms" max:"10m" doc:"To start and to list its tools; without it 30s."`
	MaxResultSize  caxton.Size       `key:"max_result_size" min:"1KB" max:"64MB" doc:"Size of one result; without it 1MB."`
	Trust          bool              `key:"trust" doc:"Whether its tools are approved at first sight, and its hints believed; what was approved so is not any more once this is taken away."`
	Disabled       bool              `key:"disabled" doc:"Whether it is left alone."`
	IncludeTools   []string          `key:"include_tools" doc:"The tools of it that there are for agents, with * at the end for several; without it all."`
	ExcludeTools   []string          `key:"exclude_tools" doc:"The tools of it that there are not."`
	Idempotent     []string          `key:"idempotent_tools" doc:"The tools of it that may be called again after a crash, under the same key."`
}

var mcpName = regexp.MustCompile(`^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$`)

// mcpServers checks what the settings of one MCP server must agree on.
func (l *loader) mcpServers(servers map[string]MCPServer) {
	for _, name := range sorted(servers) {
		path := tree.Join("tools", "mcp_servers", name)
		s := servers[name]
		if !mcpName.MatchString(name) || len(name) > 32 {
			l.issue(path, quoted(name)+" cannot be the name of an MCP server", "use letters and digits, joined by single hyphens or underscores, at most 32")
		}
		kind := cmp.Or(s.Type, map[bool]string{true: "http", false: "stdio"}[s.URL != "" && s.Command == ""])
		switch {
		case s.Command == "" && s.URL == "":
			l.issue(path, path+" needs a command or a url", "say what to start, command: npx, or where it answers, url: https://example.com/mcp")
		case s.Command != "" && s.URL != "":
			l.issue(path, path+" has a command and a url", "keep one of them")
		case kind == "stdio" && s.URL != "", kind == "http" && s.Command != "":
			l.issue(path+".type", fmt.Sprintf("%s.type is %s, which does not go with what else is there", path, s.Type), "take it out")
		case s.URL != "" && (s.Args != nil || s.Env != nil || s.Cwd != ""):
			l.issue(path, path+" has a url; args, env and cwd are for a command", "take them out")
		case s.Command != "" && s.Headers != nil:
			l.issue(path+".headers", path+".headers are for a url", "give a command what it needs in env")
		}
		if i := slices.IndexFunc(s.Idempotent, func(t string) bool { return t == "" || t[len(t)-1] == '*' }); i >= 0 {
			l.issue(path+".idempotent_tools", fmt.Sprintf("%s.idempotent_tools names %s, which is not one tool", path, quoted(s.Idempotent[i])), "name each tool as its server does")
		}
	}
}
