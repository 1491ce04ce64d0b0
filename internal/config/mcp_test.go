package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton/internal/config"
)

func loadMCP(t *testing.T, text string) (*config.Loaded, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "caxton.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(config.Options{Path: path, Dir: filepath.Dir(path), CheckFiles: true, Environ: []string{"DOCS_TOKEN=t0p"}})
}

func TestMCPServers(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := loadMCP(t, `tools:
  mcp_servers:
    memory:
      command: npx
      args: [-y, "@modelcontextprotocol/server-memory"]
      env: {MEMORY_FILE_PATH: /srv/memory.json, API_KEY_file: `+secret+`}
      timeout: 5s
      trust: true
      include_tools: [read_graph, "search_*"]
    docs:
      url: https://docs.example.com/mcp
      headers: {Authorization: "Bearer ${DOCS_TOKEN}"}
`)
	if err != nil {
		t.Fatal(err)
	}
	m, d := l.Config.Tools.MCPServers["memory"], l.Config.Tools.MCPServers["docs"]
	if m.Command != "npx" || len(m.Args) != 2 || m.Env["MEMORY_FILE_PATH"] != "/srv/memory.json" || m.Env["API_KEY"] != "s3cret" ||
		m.Timeout.Std() != 5*time.Second || !m.Trust || len(m.IncludeTools) != 2 {
		t.Errorf("memory is %+v", m)
	}
	if d.URL != "https://docs.example.com/mcp" || d.Headers["Authorization"] != "Bearer t0p" {
		t.Errorf("docs is %+v", d)
	}
	for _, s := range l.Effective() {
		if strings.Contains(s.Value, "t0p") || strings.Contains(s.Value, "s3cret") {
			t.Errorf("%s shows the secret %s", s.Key, s.Value)
		}
	}
}

func TestMCPServersRefused(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing to reach", "a: {}", "needs a command or a url"},
		{"both", "a: {command: x, url: http://y/}", "a command and a url"},
		{"another type", "a: {type: http, command: x}", "does not go with"},
		{"a name with two underscores", "a__b: {command: x}", "cannot be the name"},
		{"a name that ends in one", "a_: {command: x}", "cannot be the name"},
		{"a name with a dot", "a.b: {command: x}", "cannot be the name"},
		{"arguments of a URL", "a: {url: http://y/, args: [z]}", "are for a command"},
		{"headers of a command", "a: {command: x, headers: {A: b}}", "are for a url"},
		{"all idempotent", "a: {command: x, idempotent_tools: ['*']}", "not one tool"},
		{"an unknown key", "a: {command: x, comand: y}", "comand"},
		{"no URL", "a: {url: nonsense}", "a URL such as"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadMCP(t, "tools:\n  mcp_servers:\n    "+tt.text+"\n")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %v, want %q", err, tt.want)
			}
		})
	}
}
