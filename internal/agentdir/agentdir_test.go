package agentdir_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentdir"
	"github.com/caxton/caxton/internal/cluster"
	"github.com/caxton/caxton/internal/deploy"
	"github.com/caxton/caxton/internal/registry"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/caxton/caxton/internal/tool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A runner starts every version, but those it is told to refuse.
type runner struct {
	mu  sync.Mutex
	err error
}

func (r *runner) Try(context.Context, caxton.AgentVersion) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *runner) Ready(context.Context, caxton.AgentID, int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// A house is a directory with a real registry and deployer behind it.
type house struct {
	t       *testing.T
	dir     string
	reg     *registry.Registry
	dep     *deploy.Deployer
	agents  *agentdir.Dir
	runner  *runner
	scanned chan struct{}
	pending int
}

func open(t *testing.T, cfg agentdir.Config) *house {
	t.Helper()
	root := t.TempDir()
	h := &house{t: t, dir: filepath.Join(root, "agents"), runner: &runner{}, scanned: make(chan struct{}, 1000)}
	if err := os.Mkdir(h.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(root, "caxton.db")})
	if err != nil {
		t.Fatal(err)
	}
	solo := cluster.NewSolo()
	h.reg = registry.New(db, solo, registry.Config{})
	tools, err := tool.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	h.dep = deploy.New(h.reg, h.runner, tools, deploy.Config{Pending: func(caxton.AgentID) int { return h.pending }})
	cfg.Debounce = 20 * time.Millisecond
	cfg.OnScanned = func() { h.scanned <- struct{}{} }
	h.agents = agentdir.New(h.dir, h.dep, h.reg, cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = db.Run(ctx) })
	wg.Go(func() { _ = solo.Run(ctx, h.reg) })
	t.Cleanup(func() { cancel(); wg.Wait(); _ = db.Close() })
	return h
}

// watch runs the directory until the test ends, and waits for its first scan.
func (h *house) watch() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	done := make(chan error, 1)
	go func() { done <- h.agents.Run(ctx) }()
	h.t.Cleanup(func() { cancel(); <-done })
	<-h.agents.Scanned()
}

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func agent(name, prompt string) string {
	return fmt.Sprintf("---\nname: %s\ncapabilities: [x]\nsystem_prompt: %s\n---\n", name, prompt)
}

// until waits for scans until ok holds.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-h.scanned:
		case <-deadline:
			h.t.Fatalf("%s: not in time", what)
		}
	}
}

func (h *house) prompt(ref string) string {
	a, err := h.reg.Resolve(ref)
	if err != nil {
		return ""
	}
	return a.Definition.SystemPrompt
}

func TestDirFollowsItsFiles(t *testing.T) {
	h := open(t, agentdir.Config{})
	h.write("one.md", agent("One", "a"))
	h.write("README.md", "---\nname: no\n---\n")
	h.write("notes.md", "no front matter")
	h.write(".hidden.md", agent("Hidden", "a"))
	h.write("one.md~", agent("Backup", "a"))
	h.watch()
	if n := len(h.reg.Agents()); n != 1 {
		t.Fatalf("%d agents, want 1", n)
	}
	h.write("one.md", agent("One", "b"))
	h.until("a changed file", func() bool { return h.prompt("one") == "b" })
	h.write("one.md", "---\nname: One\ncapabilities: [x\n---\n")
	h.until("a broken file", func() bool { return len(h.agents.Faults()) == 1 })
	if f := h.agents.Faults()[0]; f.AgentID == "" || f.Stem != "one" || h.prompt("one") != "b" {
		t.Errorf("fault %+v, prompt %q: the good version must go on", f, h.prompt("one"))
	}
	if st, err := h.agents.ReloadStatus("one"); err != nil || st.State != "failed" || len(st.Issues) == 0 {
		t.Errorf("ReloadStatus = %+v, %v", st, err)
	}
	h.write("one.md", agent("One", "c"))
	h.until("the mended file", func() bool { return h.prompt("one") == "c" && len(h.agents.Faults()) == 0 })
	before, _ := h.reg.Resolve("one")
	if err := os.Rename(filepath.Join(h.dir, "one.md"), filepath.Join(h.dir, "uno.md")); err != nil {
		t.Fatal(err)
	}
	h.until("a renamed file", func() bool { a, err := h.reg.Resolve("uno"); return err == nil && a.ID == before.ID })
	for i := range 100 {
		h.write("uno.md", agent("One", fmt.Sprint("p", i)))
	}
	h.until("the last of many writes", func() bool { return h.prompt("one") == "p99" })
	h.write("two.md", agent("One", "z"))
	h.until("a second file with the name", func() bool { return len(h.agents.Faults()) == 1 })
	if f := h.agents.Faults()[0]; f.Err.Kind != caxton.Conflict || !strings.Contains(f.Err.Message, "uno.md") || h.prompt("one") != "p99" {
		t.Errorf("fault %+v, want a conflict that names the other file", f)
	}
	if err := os.Remove(filepath.Join(h.dir, "two.md")); err != nil {
		t.Fatal(err)
	}
	h.until("the fault is gone with its file", func() bool { return len(h.agents.Faults()) == 0 })
	if err := os.Remove(filepath.Join(h.dir, "uno.md")); err != nil {
		t.Fatal(err)
	}
	h.until("a removed file", func() bool { return len(h.reg.Agents()) == 0 })
}

func TestReload(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	h.watch()
	ctx := t.Context()
	h.write("data-analyzer.md", agent("DataAnalyzer", "a"))
	if d, err := h.agents.Reload(ctx, "data-analyzer"); err != nil || !d.Created {
		t.Fatalf("a file never seen: %+v, %v", d, err)
	}
	if d, err := h.agents.Reload(ctx, "DataAnalyzer"); err != nil || d.Changed {
		t.Errorf("an unchanged file: %+v, %v", d, err)
	}
	if _, err := h.agents.Reload(ctx, "nobody"); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("nobody: %v", err)
	}
	if _, err := h.dep.Deploy(ctx, caxton.DeployRequest{Text: []byte(agent("ByAPI", "a")), Source: "api"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.agents.Reload(ctx, "by-api"); caxton.KindOf(err) != caxton.Conflict {
		t.Errorf("an agent without a file: %v", err)
	}
	h.write("data-analyzer.md", agent("DataAnalyzer", "b"))
	h.write("broken.toml", "name = ")
	if _, err := h.agents.ReloadAll(ctx, true); caxton.KindOf(err) != caxton.Invalid || h.prompt("data-analyzer") != "a" {
		t.Errorf("validated first: %v, prompt %q: nothing may change", err, h.prompt("data-analyzer"))
	}
	all, err := h.agents.ReloadAll(ctx, false)
	if err != nil || len(all) != 2 || all[0].State != "failed" || all[1].State != "reloaded" || h.prompt("data-analyzer") != "b" {
		t.Errorf("ReloadAll = %+v, %v", all, err)
	}
	if _, err := h.reg.Resolve("by-api"); err != nil {
		t.Error("a scan removed an agent that has no file")
	}
	h.pending = 1
	if err := os.Remove(filepath.Join(h.dir, "data-analyzer.md")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.agents.ReloadAll(ctx, false); err != nil || h.prompt("data-analyzer") != "b" {
		t.Errorf("a busy agent whose file is gone: %v, prompt %q, want it to finish first", err, h.prompt("data-analyzer"))
	}
	h.pending = 0
	if _, err := h.agents.ReloadAll(ctx, false); err != nil || h.prompt("data-analyzer") != "" {
		t.Errorf("an idle agent whose file is gone: %v", err)
	}
}

func TestDeployThatDoesNotStart(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	ctx := t.Context()
	first, err := h.dep.Deploy(ctx, caxton.DeployRequest{Text: []byte(agent("One", "a")), Source: "api"})
	if err != nil {
		t.Fatal(err)
	}
	h.runner.mu.Lock()
	h.runner.err = caxton.Errorf(caxton.Unavailable, "x", "no")
	h.runner.mu.Unlock()
	if _, err := h.dep.Deploy(ctx, caxton.DeployRequest{Text: []byte(agent("One", "b")), Source: "api"}); caxton.KindOf(err) != caxton.Unavailable || h.prompt("one") != "a" {
		t.Errorf("%v, prompt %q, want the version before", err, h.prompt("one"))
	}
	if _, err := h.dep.Deploy(ctx, caxton.DeployRequest{Text: []byte(agent("Two", "b")), Source: "api"}); err == nil || h.prompt("two") != "" {
		t.Errorf("%v, prompt %q, want no agent", err, h.prompt("two"))
	}
	h.runner.mu.Lock()
	h.runner.err = nil
	h.runner.mu.Unlock()
	tests := []struct {
		name string
		req  caxton.DeployRequest
		want caxton.Kind
	}{
		{"create what exists", caxton.DeployRequest{Text: []byte(agent("One", "c")), CreateOnly: true}, caxton.Conflict},
		{"an unknown tool", caxton.DeployRequest{Text: []byte("---\nname: T\ncapabilities: [x]\ntools: [fly]\nsystem_prompt: x\n---\n")}, caxton.Invalid},
		{"a broken template", caxton.DeployRequest{Text: []byte("---\nname: T\ncapabilities: [x]\nuser_prompt_template: '{{#if'\nsystem_prompt: x\n---\n")}, caxton.Invalid},
		{"an unknown target", caxton.DeployRequest{Text: []byte(agent("T", "c")), Target: "nobody"}, caxton.NotFound},
		{"only checked", caxton.DeployRequest{Text: []byte(agent("T", "c")), ValidateOnly: true}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := h.dep.Deploy(ctx, tt.req); caxton.KindOf(err) != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if len(h.reg.Agents()) != 1 {
		t.Errorf("%d agents, want 1", len(h.reg.Agents()))
	}
	if _, err := h.dep.Rollback(ctx, first.Agent.ID, 9); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("rollback to nowhere: %v", err)
	}
	h.pending = 1
	if err := h.dep.Remove(ctx, first.Agent.ID, false); caxton.KindOf(err) != caxton.Conflict {
		t.Errorf("removal of a busy agent: %v", err)
	}
	if err := h.dep.Remove(ctx, first.Agent.ID, true); err != nil {
		t.Error(err)
	}
}
