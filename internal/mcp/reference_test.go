package mcp_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/mcp"
	"github.com/caxton/caxton/internal/tool"
)

// reference returns the directory of the programs of the reference servers; scripts/test-mcp.sh
// installs them.
func reference(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CAXTON_TEST_MCP_BIN")
	if dir == "" {
		t.Skip("CAXTON_TEST_MCP_BIN is not set; make test-mcp runs this")
	}
	return dir
}

func script(dir, name string) mcp.Server {
	return mcp.Server{
		Command: filepath.Join(dir, "node"), Args: []string{filepath.Join(dir, name)}, Trust: true, Timeout: 20 * time.Second, StartupTimeout: 30 * time.Second,
	}
}

func (r *rig) must(t *testing.T, name, args, want string) {
	t.Helper()
	text, err := r.call(t, name, args)
	if err != nil || !strings.Contains(text, want) {
		t.Errorf("%s(%s) = %.300q, %v, want %q", name, args, text, err, want)
		return
	}
	t.Logf("%s(%s) = %.100q", name, args, text)
}

func everything(t *testing.T, r *rig) {
	t.Helper()
	st := r.in(t, "far", "connected")
	t.Logf("connected to %s, protocol %s, tools %v", st.Product, st.Protocol, st.Tools)
	if st.Tools[caxton.ToolBlocked] > 0 || st.Tools[caxton.ToolApproved] < 8 {
		t.Errorf("the tools are %v", st.Tools)
	}
	r.must(t, "mcp__far__echo", `{"message":"grüß dich"}`, "grüß dich")
	r.must(t, "mcp__far__get-sum", `{"a":19,"b":23}`, "42")
	r.must(t, "mcp__far__trigger-long-running-operation", `{"duration":1,"steps":2}`, "completed")
	r.must(t, "mcp__far__get-structured-content", `{"location":"New York"}`, "temperature")
	r.must(t, "mcp__far__get-resource-links", `{"count":2}`, "resource")
	if _, err := r.call(t, "mcp__far__get-sum", `{"a":"x","b":1}`); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("get-sum of a text: %v", err)
	}
	res, err := r.set.Run(t.Context(), "mcp__far__get-tiny-image", tool.Call{Args: json.RawMessage(`{}`)})
	if err != nil || res.MediaType != "image/png" || !strings.HasPrefix(string(res.Body), "\x89PNG") {
		t.Errorf("get-tiny-image = %q, %s, %d bytes, %v", res.Text, res.MediaType, len(res.Body), err)
	}
	text, err := r.call(t, "mcp__far__get-env", `{}`)
	if err == nil && strings.Contains(text, "SECRET") {
		t.Errorf("the server sees a secret of ours:\n%s", text)
	}
}

func TestReferenceEverything(t *testing.T) {
	dir := reference(t)
	cfg := only(script(dir, "mcp-server-everything"))
	cfg.Environ = append(os.Environ(), "CAXTON_SECRET=1")
	everything(t, run(t, &store{}, cfg))
}

func TestReferenceEverythingOverHTTP(t *testing.T) {
	dir := reference(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	cmd := exec.Command(filepath.Join(dir, "node"), filepath.Join(dir, "mcp-server-everything"), "streamableHttp")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", port))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	// The server needs a moment to listen; until then it is started again and again.
	cfg := only(mcp.Server{URL: fmt.Sprintf("http://127.0.0.1:%d/mcp", port), Trust: true, Timeout: 20 * time.Second})
	cfg.RestartInitial = 100 * time.Millisecond
	everything(t, run(t, &store{}, cfg))
}

func TestReferenceMemory(t *testing.T) {
	dir := reference(t)
	c := script(dir, "mcp-server-memory")
	c.Env = map[string]string{"MEMORY_FILE_PATH": filepath.Join(t.TempDir(), "memory.jsonl")}
	c.Trust = false
	r := run(t, &store{}, only(c))
	st := r.in(t, "far", "connected")
	t.Logf("connected to %s, protocol %s, tools %v", st.Product, st.Protocol, st.Tools)
	for _, name := range []string{"create_entities", "read_graph", "search_nodes"} {
		if _, err := r.Approve(t.Context(), "far."+name, "", "ada"); err != nil {
			t.Fatal(err)
		}
	}
	r.must(t, "mcp__far__create_entities", `{"entities":[{"name":"Ada","entityType":"person","observations":["writes programs"]}]}`, "Ada")
	r.must(t, "mcp__far__search_nodes", `{"query":"programs"}`, "Ada")
	r.must(t, "mcp__far__read_graph", `{}`, "writes programs")
	if _, err := r.call(t, "mcp__far__delete_entities", `{"entityNames":["Ada"]}`); caxton.KindOf(err) != caxton.Forbidden {
		t.Errorf("a tool that nobody approved ran: %v", err)
	}
	var names []string
	for _, spec := range r.set.All() {
		names = append(names, spec.Name)
	}
	if !slices.Contains(names, "mcp__far__delete_entities") {
		t.Errorf("the tools are %q", names)
	}
}
