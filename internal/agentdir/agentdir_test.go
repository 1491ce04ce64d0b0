package agentdir_test

import (
	"cmp"
	"context"
	"errors"
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
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A runner starts every version, but those it is told to refuse.
type runner struct {
	mu     sync.Mutex
	err    error
	during func() // called during a trial; may be nil

	deploy.Fleet // of rollouts, which files do not begin
}

func (r *runner) Migrate(context.Context, caxton.AgentVersion, int) error { return nil }

func (r *runner) Try(ctx context.Context, _ caxton.AgentVersion) error {
	if r.during != nil {
		r.during()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *runner) Ready(context.Context, caxton.AgentID, int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *runner) Restart(context.Context, caxton.AgentID) error { return nil }

// A house is a directory with a real registry and deployer behind it.
type house struct {
	t       *testing.T
	dir     string
	reg     *registry.Registry
	dep     *deploy.Deployer
	agents  *agentdir.Dir
	runner  *runner
	scanned chan struct{}
	metrics *prometheus.Registry
	pending int
}

func open(t *testing.T, cfg agentdir.Config) *house {
	t.Helper()
	root := t.TempDir()
	h := &house{t: t, dir: filepath.Join(root, "agents"), runner: &runner{}, metrics: prometheus.NewRegistry(), scanned: make(chan struct{}, 1000)}
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
	h.dep = deploy.New(h.reg, h.runner, tools, deploy.Config{Registerer: h.metrics, Pending: func(caxton.AgentID) int { return h.pending }})
	cfg.Debounce = cmp.Or(cfg.Debounce, 20*time.Millisecond)
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
	h.write("one.test.yaml", "cases: []\n")
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

// must fails the test at once.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) reloadAll() []caxton.ReloadStatus {
	h.t.Helper()
	all, err := h.agents.ReloadAll(h.t.Context(), false)
	must(h.t, err)
	return all
}

func TestUncleanPath(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	h.agents = agentdir.New(h.dir+"/./", h.dep, h.reg, agentdir.Config{NoWatch: true})
	h.write("one.md", agent("One", "a"))
	h.reloadAll()
	must(t, os.Remove(filepath.Join(h.dir, "one.md")))
	h.reloadAll()
	if len(h.reg.Agents()) != 0 {
		t.Error("the agent of a removed file stays")
	}
}

func TestFileIsNoAgentAnyMore(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	h.write("one.md", agent("One", "a"))
	h.write("text.md", "a text")
	h.reloadAll()
	h.write("one.md", "a text too")
	all := h.reloadAll()
	fs := h.agents.Faults()
	if len(fs) != 1 || fs[0].Err.Code != "not_an_agent_file" || fs[0].AgentID == "" || h.prompt("one") != "a" {
		t.Errorf("faults %+v, prompt %q: want the agent to run on, and to be told why it is not the file's", fs, h.prompt("one"))
	}
	if len(all) != 1 || all[0].State != "failed" {
		t.Errorf("reloaded %+v, want one failure", all)
	}
	if _, err := h.agents.ReloadAll(t.Context(), true); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("validated first: %v", err)
	}
	h.write("one.md", "\n\n"+agent("One", "b")) // empty lines before front matter do no harm
	h.reloadAll()
	if len(h.agents.Faults()) != 0 || h.prompt("one") != "b" {
		t.Errorf("mended: faults %+v, prompt %q", h.agents.Faults(), h.prompt("one"))
	}
	h.write("hugo.md", "+++\nname = 'x'\n+++\n")
	h.reloadAll()
	if fs := h.agents.Faults(); len(fs) != 1 || !strings.Contains(fmt.Sprint(fs[0].Err.Issues), ".toml") {
		t.Errorf("front matter of another kind: %+v, want a fault that says what to do", fs)
	}
}

// A failure that has passed is tried again by a later scan, though the file is the same.
func TestFailuresAreTriedAgain(t *testing.T) {
	h := open(t, agentdir.Config{})
	fail := func(err error) {
		h.runner.mu.Lock()
		defer h.runner.mu.Unlock()
		h.runner.err = err
	}
	fail(caxton.Errorf(caxton.Unavailable, "x", "not now"))
	h.write("one.md", agent("One", "a"))
	h.watch()
	if len(h.agents.Faults()) != 1 {
		t.Fatalf("faults %+v, want one", h.agents.Faults())
	}
	fail(nil)
	h.write("two.md", agent("Two", "a"))
	h.until("both", func() bool { return h.prompt("one") == "a" && h.prompt("two") == "a" && len(h.agents.Faults()) == 0 })
	h.write("uno.md", agent("One", "b"))
	h.until("a name that is taken", func() bool { return len(h.agents.Faults()) == 1 })
	before, err := h.reg.Resolve("one")
	must(t, err)
	must(t, os.Remove(filepath.Join(h.dir, "one.md")))
	h.until("a name that is free", func() bool { return h.prompt("one") == "b" && len(h.agents.Faults()) == 0 })
	if a, err := h.reg.Resolve("one"); err != nil || a.ID != before.ID {
		t.Errorf("%+v, %v: want the agent to go on, from the other file", a, err)
	}
}

// Who leaves while files are loaded leaves no fault behind.
func TestCallerLeaves(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	h.write("one.md", agent("One", "a"))
	ctx, leave := context.WithCancel(t.Context())
	h.runner.during = leave
	if _, err := h.agents.Reload(ctx, "one"); err == nil {
		t.Error("no error")
	}
	h.runner.during = nil
	if fs := h.agents.Faults(); len(fs) != 0 {
		t.Errorf("faults %+v, want none", fs)
	}
	h.reloadAll()
	if h.prompt("one") != "a" {
		t.Error("the file is not loaded")
	}
}

// What was rolled back, or changed through the API, stays so over a restart of the server,
// until the file changes.
func TestRestartKeepsTheActiveVersion(t *testing.T) {
	tests := []struct {
		name   string
		change func(h *house, a caxton.Agent) error
		want   string
	}{
		{"rolled back", func(h *house, a caxton.Agent) error { _, err := h.dep.Rollback(h.t.Context(), a.ID, 0); return err }, "a"},
		{"changed through the API", func(h *house, a caxton.Agent) error {
			_, err := h.dep.Deploy(h.t.Context(), caxton.DeployRequest{Text: []byte(agent("One", "c")), Source: "api", Target: a.ID})
			return err
		}, "c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t, agentdir.Config{})
			for _, p := range []string{"a", "b"} {
				h.write("one.md", agent("One", p))
				h.reloadAll()
			}
			a, err := h.reg.Resolve("one")
			must(t, err)
			must(t, tt.change(h, a))
			h.agents = agentdir.New(h.dir, h.dep, h.reg, agentdir.Config{Debounce: 20 * time.Millisecond, OnScanned: func() { h.scanned <- struct{}{} }})
			h.watch()
			if got := h.prompt("one"); got != tt.want || len(h.agents.Faults()) != 0 {
				t.Errorf("prompt %q after a restart, want %q", got, tt.want)
			}
			h.write("one.md", agent("One", "d"))
			h.until("a changed file", func() bool { return h.prompt("one") == "d" })
			if _, err := h.dep.Rollback(t.Context(), a.ID, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := h.agents.Reload(t.Context(), "one"); err != nil || h.prompt("one") != "d" {
				t.Errorf("told to reload: %v, prompt %q, want the file's", err, h.prompt("one"))
			}
			must(t, os.Remove(filepath.Join(h.dir, "one.md")))
			h.until("a removed file", func() bool { return len(h.reg.Agents()) == 0 })
		})
	}
}

// An agent that is removed stays removed, and its file is kept under another name.
func TestRemove(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	ctx := t.Context()
	remove := func(ref string, force bool) error {
		a, err := h.reg.Resolve(ref)
		must(t, err)
		return h.agents.Remove(ctx, a.ID, force)
	}
	for i, aside := range []string{"one.md.removed", "one.md.removed-2"} {
		text := agent("One", fmt.Sprint("p", i))
		h.write("one.md", text)
		h.reloadAll()
		h.pending = 1
		if err := remove("one", false); caxton.KindOf(err) != caxton.Conflict || !exists(h, "one.md") || exists(h, aside) {
			t.Errorf("a busy agent: %v, want a conflict and the file where it was", err)
		}
		h.pending = 0
		must(t, remove("one", false))
		if got, err := os.ReadFile(filepath.Join(h.dir, aside)); err != nil || string(got) != text || exists(h, "one.md") {
			t.Errorf("the file set aside: %q, %v", got, err)
		}
		h.reloadAll()
		h.agents = agentdir.New(h.dir, h.dep, h.reg, agentdir.Config{NoWatch: true})
		h.reloadAll()
		if n := len(h.reg.Agents()); n != 0 {
			t.Errorf("%d agents after a restart, want none", n)
		}
	}
	_, err := h.dep.Deploy(ctx, caxton.DeployRequest{Text: []byte(agent("ByAPI", "a")), Source: "api"})
	must(t, err)
	must(t, remove("by-api", true))
	if err := h.agents.Remove(ctx, "nobody", true); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("nobody: %v", err)
	}
	name := strings.Repeat("x", 250) + ".md" // with more to it, no name of a file
	h.write(name, agent("One", "a"))
	h.reloadAll()
	err = remove("one", true)
	if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != "agent_file_stays" || h.prompt("one") == "" || !exists(h, name) {
		t.Errorf("a file that cannot be set aside: %v, want agent and file to stay", err)
	}
}

func exists(h *house, name string) bool {
	_, err := os.Lstat(filepath.Join(h.dir, name))
	return err == nil
}

// A file that is replaced by way of its absence, as some editors save, keeps its agent.
func TestBriefAbsence(t *testing.T) {
	h := open(t, agentdir.Config{Debounce: time.Minute, Rescan: 5 * time.Millisecond})
	h.write("one.md", agent("One", "a"))
	h.watch()
	before, err := h.reg.Resolve("one")
	must(t, err)
	for i := range 20 {
		must(t, os.Rename(filepath.Join(h.dir, "one.md"), filepath.Join(h.dir, "one.md~")))
		<-h.scanned // the scan between may see no file
		h.write("one.md", agent("One", fmt.Sprint("p", i)))
		h.until("the new text", func() bool { return h.prompt("one") == fmt.Sprint("p", i) })
	}
	if a, err := h.reg.Resolve("one"); err != nil || a.ID != before.ID {
		t.Errorf("%+v, %v: want the same agent", a, err)
	}
}

// A change during a slow deployment is not missed, be it of the same size.
func TestChangeWhileItStarts(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	old := time.Now().Add(-time.Hour)
	stamp := func(at time.Time) { must(t, os.Chtimes(filepath.Join(h.dir, "one.md"), at, at)) }
	h.write("one.md", agent("One", "a"))
	stamp(old)
	h.runner.during = func() {
		h.runner.during = nil
		h.write("one.md", agent("One", "b"))
		stamp(old.Add(time.Minute))
	}
	h.agents = agentdir.New(h.dir, h.dep, h.reg, agentdir.Config{Debounce: time.Millisecond, Rescan: 5 * time.Millisecond, OnScanned: func() { h.scanned <- struct{}{} }})
	h.watch()
	h.until("the change", func() bool { return h.prompt("one") == "b" })
}

func TestValidateFirstSeesTwins(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	h.write("one.md", agent("Same", "a"))
	h.write("two.md", agent("Same", "b"))
	_, err := h.agents.ReloadAll(t.Context(), true)
	if caxton.KindOf(err) != caxton.Invalid || len(h.reg.Agents()) != 0 {
		t.Errorf("%v, %d agents: want nothing to change when two files declare one agent", err, len(h.reg.Agents()))
	}
}

// An invalid file counts among the definitions that could not be brought into force.
func TestInvalidFilesAreCounted(t *testing.T) {
	h := open(t, agentdir.Config{NoWatch: true})
	h.write("one.toml", "name = ")
	h.reloadAll()
	families, err := h.metrics.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == "caxton_agent_reload_failed_total" && f.GetMetric()[0].GetCounter().GetValue() == 1 {
			return
		}
	}
	t.Error("caxton_agent_reload_failed_total did not move")
}
