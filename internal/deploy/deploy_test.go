package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/cluster"
	"github.com/caxton/caxton/internal/deploy"
	"github.com/caxton/caxton/internal/registry"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/caxton/caxton/internal/tool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A runner starts every version, unless start says otherwise, on trial too, or late, when
// the version is in force.
type runner struct {
	fleet

	mu    sync.Mutex
	start func(ctx context.Context, version int) error
	late  func(ctx context.Context, version int) error
	tried []int // versions it was to try
	asked []int // versions it was to start

	restarted int
}

func (r *runner) Try(ctx context.Context, v caxton.AgentVersion) error {
	r.mu.Lock()
	r.tried = append(r.tried, v.Number)
	start := r.start
	r.mu.Unlock()
	if start != nil {
		return start(ctx, v.Number)
	}
	return nil
}

func (r *runner) Ready(ctx context.Context, _ caxton.AgentID, version int) error {
	r.mu.Lock()
	r.asked = append(r.asked, version)
	start, late := r.start, r.late
	r.mu.Unlock()
	if start != nil {
		return start(ctx, version)
	}
	if late != nil {
		return late(ctx, version)
	}
	return nil
}

func (r *runner) Restart(context.Context, caxton.AgentID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarted++
	r.late = nil
	return nil
}

func refuses(context.Context, int) error {
	return caxton.Errorf(caxton.Unavailable, "start_failed", "it does not start")
}

// A named is a tool that has a name and does nothing.
type named string

func (n named) Spec() tool.Spec {
	return tool.Spec{Name: string(n), Description: "nothing", Parameters: json.RawMessage(`{"type":"object"}`)}
}

func (n named) Call(context.Context, tool.Call) (tool.Result, error) { return tool.Result{}, nil }

// A yard is a deployer over a real registry.
type yard struct {
	*deploy.Deployer
	t       *testing.T
	reg     *registry.Registry
	runner  *runner
	metrics *prometheus.Registry
	pending int
}

func open(t *testing.T, cfg deploy.Config) *yard {
	t.Helper()
	y := &yard{t: t, runner: &runner{}, metrics: prometheus.NewRegistry()}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "caxton.db")})
	if err != nil {
		t.Fatal(err)
	}
	solo := cluster.NewSolo()
	y.reg = registry.New(db, solo, registry.Config{})
	tools, err := tool.NewSet([]string{"clock"}, named("clock"), named("shell"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Pending, cfg.Registerer = func(caxton.AgentID) int { return y.pending }, y.metrics
	y.Deployer = deploy.New(y.reg, y.runner, tools, cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = db.Run(ctx) })
	wg.Go(func() { _ = solo.Run(ctx, y.reg) })
	t.Cleanup(func() { cancel(); wg.Wait(); _ = db.Close() })
	return y
}

func text(name, prompt string, more ...string) []byte {
	return fmt.Appendf(nil, "---\nname: %s\ncapabilities: [x]\nsystem_prompt: %s\n%s---\n", name, prompt, strings.Join(more, "\n"))
}

// deploy deploys what must deploy.
func (y *yard) deploy(req caxton.DeployRequest) caxton.Deployment {
	y.t.Helper()
	d, err := y.Deploy(y.t.Context(), req)
	if err != nil {
		y.t.Fatal(err)
	}
	return d
}

// active returns the prompt and the version of an agent, or "" and 0.
func (y *yard) active(ref string) (prompt string, version int) {
	a, err := y.reg.Resolve(ref)
	if err != nil {
		return "", 0
	}
	return a.Definition.SystemPrompt, a.Version
}

// failure is what a request must fail with.
func failure(t *testing.T, what string, err error, kind caxton.Kind, in string) {
	t.Helper()
	if caxton.KindOf(err) != kind || !strings.Contains(fmt.Sprint(err), in) {
		t.Errorf("%s: %v, want %s with %q", what, err, kind, in)
	}
}

func TestDeploy(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	first := y.deploy(caxton.DeployRequest{Text: text("One", "a"), Source: "api", Author: "eve"})
	if !first.Created || first.Agent.Version != 1 || first.FromVersion != 0 || first.Agent.Slug != "one" {
		t.Errorf("created %+v", first)
	}
	v, err := y.reg.Version(t.Context(), first.Agent.ID, 1)
	if err != nil || v.Author != "eve" || v.Source != "api" || v.Format != "markdown" || string(v.Text) != string(text("One", "a")) || len(v.Hash) != 64 {
		t.Errorf("version %+v, %v", v, err)
	}
	tests := []struct {
		name             string
		req              caxton.DeployRequest
		created, changed bool
		from, version    int
		prompt           string
	}{
		{"the same again", caxton.DeployRequest{Text: text("One", "a"), Source: "api"}, false, false, 1, 1, "a"},
		{"by name", caxton.DeployRequest{Text: text("One", "b"), Source: "api"}, false, true, 1, 2, "b"},
		{"by slug", caxton.DeployRequest{Text: text("one", "c"), Source: "api"}, false, true, 2, 3, "c"},
		{"by target", caxton.DeployRequest{Text: text("One", "d"), Target: first.Agent.ID}, false, true, 3, 4, "d"},
		{"renamed by target", caxton.DeployRequest{Text: text("Uno", "e"), Target: first.Agent.ID}, false, true, 4, 5, "e"},
		{"another agent", caxton.DeployRequest{Text: text("One", "z"), Source: "api", CreateOnly: true}, true, true, 0, 1, "z"},
	}
	for _, tt := range tests {
		d := y.deploy(tt.req)
		if d.Created != tt.created || d.Changed != tt.changed || d.FromVersion != tt.from || d.Agent.Version != tt.version || d.Agent.Definition.SystemPrompt != tt.prompt {
			t.Errorf("%s: %+v, want version %d from %d", tt.name, d, tt.version, tt.from)
		}
		if same := d.Agent.ID == first.Agent.ID; same == tt.created {
			t.Errorf("%s: agent %s, the first is %s", tt.name, d.Agent.ID, first.Agent.ID)
		}
	}
	file := y.deploy(caxton.DeployRequest{Text: text("Filed", "a"), Source: "dir/filed.md", Stem: "filed"})
	renamed := y.deploy(caxton.DeployRequest{Text: text("Otherwise", "b"), Source: "dir/filed.md", Stem: "filed"})
	if renamed.Agent.ID != file.Agent.ID || renamed.Created || renamed.Agent.Name != "Otherwise" {
		t.Errorf("the same file with another name: %+v, want the agent %s", renamed, file.Agent.ID)
	}
	if got := counted(t, y, "caxton_agent_reload_success_total"); got != 5 {
		t.Errorf("%v reloads counted, want 5", got)
	}
}

// counted returns the value of a counter without labels.
func counted(t *testing.T, y *yard, name string) float64 {
	t.Helper()
	families, err := y.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{CheckModel: func(s caxton.LLMSettings) error {
		if s.Provider == "nowhere" {
			return caxton.Errorf(caxton.NotFound, "provider_unknown", "there is no provider nowhere")
		}
		return nil
	}})
	y.deploy(caxton.DeployRequest{Text: text("One", "a")})
	two := y.deploy(caxton.DeployRequest{Text: text("Two", "a")})
	tests := []struct {
		name string
		req  caxton.DeployRequest
		kind caxton.Kind
		in   string
	}{
		{"create what exists", caxton.DeployRequest{Text: text("One", "c"), CreateOnly: true}, caxton.Conflict, "one already"},
		{"create what exists, only to see", caxton.DeployRequest{Text: text("One", "c"), CreateOnly: true, ValidateOnly: true}, caxton.Conflict, "one already"},
		{"take another's name", caxton.DeployRequest{Text: text("One", "c"), Target: two.Agent.ID}, caxton.Conflict, "one"},
		{"no such target", caxton.DeployRequest{Text: text("New", "c"), Target: "nobody"}, caxton.NotFound, "nobody"},
		{"an unknown tool", caxton.DeployRequest{Text: text("New", "c", "tools: [clok]\n")}, caxton.Invalid, "clock"},
		{"a tool not permitted", caxton.DeployRequest{Text: text("New", "c", "tools: [shell]\n")}, caxton.Invalid, "the tool shell is not permitted"},
		{"a model that cannot be had", caxton.DeployRequest{Text: text("New", "c", "llm: {provider: nowhere}\n")}, caxton.Invalid, "no provider nowhere"},
		{"a template that is none", caxton.DeployRequest{Text: text("New", "c", "user_prompt_template: '{{#if'\n")}, caxton.Invalid, "template"},
		{"nothing", caxton.DeployRequest{}, caxton.Invalid, ""},
	}
	for _, tt := range tests {
		_, err := y.Deploy(t.Context(), tt.req)
		failure(t, tt.name, err, tt.kind, tt.in)
	}
	_, err := y.Deploy(t.Context(), caxton.DeployRequest{Text: text("New", "c", "tools: [clok, shell]\nllm: {provider: nowhere}\n")})
	for _, in := range []string{"clok", "shell", "nowhere"} {
		failure(t, "every fault at once", err, caxton.Invalid, in)
	}
	if n := len(y.reg.Agents()); n != 2 {
		t.Errorf("%d agents, want 2", n)
	}
	if got := len(y.runner.asked); got != 2 {
		t.Errorf("the runner was asked %d times, want 2", got)
	}
}

func TestValidateOnly(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	one := y.deploy(caxton.DeployRequest{Text: text("One", "a")})
	for name, id := range map[string]caxton.AgentID{"One": one.Agent.ID, "New": ""} {
		d := y.deploy(caxton.DeployRequest{Text: text(name, "b"), ValidateOnly: true})
		if d.Changed || d.Created || d.Agent.ID != id || d.Agent.Name != name || d.Agent.Definition.SystemPrompt != "b" {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if prompt, version := y.active("one"); prompt != "a" || version != 1 || len(y.reg.Agents()) != 1 || len(y.runner.asked) != 1 {
		t.Errorf("prompt %q, version %d, %d agents: something changed", prompt, version, len(y.reg.Agents()))
	}
	def, _, issues := y.Validate(t.Context(), caxton.DeployRequest{Text: text("New", "c", "tools: [shell]\n"), Source: "api"})
	if def.Name != "New" || len(issues) == 0 || issues[0].Path != "" || issues[0].Key != "tools" {
		t.Errorf("Validate = %q, %v", def.Name, issues)
	}
}

func TestStartFailureRestoresWhatWas(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	one := y.deploy(caxton.DeployRequest{Text: text("One", "a")})
	y.runner.start = refuses
	_, err := y.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "b")})
	failure(t, "a new version", err, caxton.Unavailable, "it does not start")
	if prompt, version := y.active("one"); prompt != "a" || version != 1 {
		t.Errorf("prompt %q, version %d, want the version before", prompt, version)
	}
	_, err = y.Deploy(t.Context(), caxton.DeployRequest{Text: text("Two", "a")})
	failure(t, "a new agent", err, caxton.Unavailable, "it does not start")
	if prompt, _ := y.active("two"); prompt != "" {
		t.Errorf("the agent that did not start is there")
	}
	y.runner.start = nil
	if d := y.deploy(caxton.DeployRequest{Text: text("One", "c")}); d.Agent.ID != one.Agent.ID || d.FromVersion != 1 || !d.Changed {
		t.Errorf("deployed again %+v", d)
	}
	y.runner.start = refuses
	_, err = y.Rollback(t.Context(), one.Agent.ID, 1)
	failure(t, "a rollback", err, caxton.Unavailable, "it does not start")
	if prompt, _ := y.active("one"); prompt != "c" {
		t.Errorf("prompt %q, want c again", prompt)
	}
}

// A version that cannot run never comes into force: it leaves no version behind, no message
// is pinned to it, and a rollback does not find it.
func TestTriedBeforeInForce(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	id := y.deploy(caxton.DeployRequest{Text: text("One", "good")}).Agent.ID
	y.runner.start = refuses
	for range 3 {
		_, err := y.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "broken")})
		failure(t, "a version that cannot run", err, caxton.Unavailable, "it does not start")
	}
	if vs, err := y.reg.Versions(t.Context(), id); err != nil || len(vs) != 1 {
		t.Errorf("%d versions, %v, want 1", len(vs), err)
	}
	y.runner.start = nil
	tried := len(y.runner.tried)
	if d := y.deploy(caxton.DeployRequest{Text: text("One", "good")}); d.Changed || len(y.runner.tried) != tried {
		t.Errorf("%+v: what is in force already was tried", d)
	}
	y.deploy(caxton.DeployRequest{Text: text("One", "newer")})
	d, err := y.Rollback(t.Context(), id, 0)
	if err != nil || d.Agent.Definition.SystemPrompt != "good" {
		t.Errorf("rolled back to %q, %v, want good", d.Agent.Definition.SystemPrompt, err)
	}
}

// A rollback to the version before goes past those that can no longer run.
func TestRollbackSkipsWhatCannotRun(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	id := y.deploy(caxton.DeployRequest{Text: text("One", "a")}).Agent.ID
	y.deploy(caxton.DeployRequest{Text: text("One", "b")})
	y.deploy(caxton.DeployRequest{Text: text("One", "c")})
	y.runner.start = func(ctx context.Context, version int) error {
		if version == 2 {
			return refuses(ctx, version)
		}
		return nil
	}
	_, err := y.Rollback(t.Context(), id, 2)
	failure(t, "a version asked for", err, caxton.Unavailable, "it does not start")
	if d, err := y.Rollback(t.Context(), id, 0); err != nil || d.Agent.Version != 1 {
		t.Errorf("Rollback = %+v, %v, want version 1", d, err)
	}
	y.deploy(caxton.DeployRequest{Text: text("One", "d")})
	y.runner.start = refuses
	_, err = y.Rollback(t.Context(), id, 0)
	failure(t, "when none can run", err, caxton.Unavailable, "it does not start")
	if prompt, _ := y.active("one"); prompt != "d" {
		t.Errorf("prompt %q, want d", prompt)
	}
}

// A version that could run on trial and then does not start is undone, whole.
func TestLateFailureIsUndone(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	y.deploy(caxton.DeployRequest{Text: text("One", "a"), Source: "api"})
	y.deploy(caxton.DeployRequest{Text: text("One", "b"), Source: "api"})
	was, err := y.reg.Resolve("one")
	if err != nil {
		t.Fatal(err)
	}
	y.runner.late = refuses
	_, err = y.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c"), Source: "dir/file.md", Stem: "file", MoveConversations: true})
	failure(t, "a new version", err, caxton.Unavailable, "it does not start")
	_, err = y.Rollback(t.Context(), was.ID, 1)
	failure(t, "a rollback", err, caxton.Unavailable, "it does not start")
	got, err := y.reg.Resolve("one")
	if err != nil || got.Version != was.Version || got.Source != "api" || got.Stem != "" || got.MinVersion != 0 {
		t.Errorf("%+v, %v, want it as it was", got, err)
	}
	_, err = y.Deploy(t.Context(), caxton.DeployRequest{Text: text("Two", "a")})
	failure(t, "a new agent", err, caxton.Unavailable, "it does not start")
	if prompt, _ := y.active("two"); prompt != "" {
		t.Error("the agent that did not start is there")
	}
	ctx, leave := context.WithCancel(t.Context())
	y.runner.late = func(ctx context.Context, _ int) error { leave(); <-ctx.Done(); return ctx.Err() }
	if _, err := y.Deploy(ctx, caxton.DeployRequest{Text: text("One", "d")}); err == nil {
		t.Error("no error for a caller who left")
	}
	if prompt, _ := y.active("one"); prompt != "b" {
		t.Errorf("prompt %q after the caller left, want b", prompt)
	}
}

// Two files of one name that come through the API are two agents: one must not replace the
// other unasked.
func TestSameStemThroughTheAPI(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	y.deploy(caxton.DeployRequest{Text: text("One", "a"), Source: "api", Stem: "agent"})
	_, err := y.Deploy(t.Context(), caxton.DeployRequest{Text: text("Two", "b"), Source: "api", Stem: "agent"})
	failure(t, "another agent from a file of the same name", err, caxton.Conflict, "agent")
	if prompt, version := y.active("one"); prompt != "a" || version != 1 {
		t.Errorf("prompt %q, version %d: it was replaced", prompt, version)
	}
}

// Who waits for another's deployment waits no longer than he wants to.
func TestWaitingCallerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fixed{a: caxton.Agent{ID: "a1", Name: "One", Slug: "one", Version: 1}}
		tools, err := tool.NewSet(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := deploy.New(f, &runner{start: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }}, tools, deploy.Config{StartTimeout: time.Minute})
		slow := make(chan error)
		go func() { _, err := d.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "b")}); slow <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		for name, do := range map[string]func() error{
			"deploy":   func() error { _, err := d.Deploy(ctx, caxton.DeployRequest{Text: text("One", "c")}); return err },
			"rollback": func() error { _, err := d.Rollback(ctx, "a1", 1); return err },
			"remove":   func() error { return d.Remove(ctx, "a1", false) },
			"suspend":  func() error { return d.Suspend(ctx, "a1") },
		} {
			failure(t, name, do(), caxton.Timeout, "other changes")
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited %s, want 1s", took)
		}
		<-slow
	})
}

// A caller who leaves while a version starts must not leave half a deployment behind.
func TestCallerLeavesWhileItStarts(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	y.deploy(caxton.DeployRequest{Text: text("One", "a")})
	ctx, leave := context.WithCancel(t.Context())
	y.runner.start = func(ctx context.Context, _ int) error { leave(); <-ctx.Done(); return ctx.Err() }
	if _, err := y.Deploy(ctx, caxton.DeployRequest{Text: text("One", "b")}); err == nil {
		t.Error("no error")
	}
	if prompt, _ := y.active("one"); prompt != "a" {
		t.Errorf("prompt %q, want a", prompt)
	}
}

// A fixed registry has one agent and needs no goroutines, for tests with a clock of their own.
type fixed struct {
	deploy.Registry
	a caxton.Agent
}

func (f *fixed) Named(string) (caxton.Agent, bool)          { return f.a, true }
func (f *fixed) Agent(caxton.AgentID) (caxton.Agent, error) { return f.a, nil }
func (f *fixed) Deploy(_ context.Context, v caxton.AgentVersion, _ string, _ bool) (caxton.Agent, error) {
	f.a.Version++
	f.a.Definition = v.Definition
	return f.a, nil
}

func (f *fixed) Activate(_ context.Context, _ caxton.AgentID, n int, _ bool, _ time.Time) (caxton.Agent, error) {
	f.a.Version = n
	return f.a, nil
}

func (f *fixed) Version(_ context.Context, _ caxton.AgentID, n int) (caxton.AgentVersion, error) {
	return caxton.AgentVersion{AgentID: f.a.ID, Number: n}, nil
}

func (f *fixed) Undo(_ context.Context, was caxton.Agent, _ time.Time) (caxton.Agent, error) {
	f.a = was
	return f.a, nil
}

func TestStartTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fixed{a: caxton.Agent{ID: "a1", Name: "One", Slug: "one", Version: 1}}
		tools, err := tool.NewSet(nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &runner{start: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }}
		d := deploy.New(f, r, tools, deploy.Config{StartTimeout: 3 * time.Second})
		start := time.Now()
		dep, err := d.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "b")})
		if took := time.Since(start); err == nil || took != 3*time.Second || dep.Duration != took || f.a.Version != 1 {
			t.Errorf("%v after %v, version %d, want an error after 3s and version 1", err, took, f.a.Version)
		}
	})
}

func TestRollback(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	one := y.deploy(caxton.DeployRequest{Text: text("One", "a")})
	id := one.Agent.ID
	_, err := y.Rollback(t.Context(), id, 0)
	failure(t, "the first version", err, caxton.Conflict, "no version before 1")
	_, err = y.Rollback(t.Context(), "nobody", 0)
	failure(t, "nobody", err, caxton.NotFound, "nobody")
	y.deploy(caxton.DeployRequest{Text: text("One", "b")})
	y.deploy(caxton.DeployRequest{Text: text("One", "c")})
	for _, tt := range []struct {
		to, from, version int
		prompt            string
	}{{0, 3, 2, "b"}, {0, 2, 1, "a"}, {3, 1, 3, "c"}, {1, 3, 1, "a"}} {
		d, err := y.Rollback(t.Context(), id, tt.to)
		if err != nil || !d.Changed || d.FromVersion != tt.from || d.Agent.Version != tt.version || d.Agent.Definition.SystemPrompt != tt.prompt {
			t.Errorf("Rollback(%d) = %+v, %v, want version %d", tt.to, d, err, tt.version)
		}
		if d.Agent.MinVersion > tt.version {
			t.Errorf("Rollback(%d): conversations must be on %d at least, want none left behind", tt.to, d.Agent.MinVersion)
		}
	}
	if d, err := y.Rollback(t.Context(), id, 1); err != nil || d.Changed {
		t.Errorf("to the active one: %+v, %v", d, err)
	}
	for _, to := range []int{4, -1} {
		if _, err := y.Rollback(t.Context(), id, to); caxton.KindOf(err) != caxton.NotFound && caxton.KindOf(err) != caxton.Conflict {
			t.Errorf("Rollback(%d): %v", to, err)
		}
	}
	if prompt, version := y.active("one"); prompt != "a" || version != 1 {
		t.Errorf("prompt %q, version %d after rollbacks that failed", prompt, version)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	id := y.deploy(caxton.DeployRequest{Text: text("One", "a")}).Agent.ID
	y.pending = 2
	failure(t, "a busy agent", y.Remove(t.Context(), id, false), caxton.Conflict, "2 messages wait for one")
	if _, version := y.active("one"); version != 1 {
		t.Error("the busy agent is gone")
	}
	if err := y.Remove(t.Context(), id, true); err != nil {
		t.Error(err)
	}
	failure(t, "an agent that is gone", y.Remove(t.Context(), id, true), caxton.NotFound, string(id))
	y.pending = 0
	again := y.deploy(caxton.DeployRequest{Text: text("One", "a"), CreateOnly: true})
	if !again.Created || again.Agent.Version != 1 {
		t.Errorf("the name deployed again: %+v", again)
	}
	if err := y.Remove(t.Context(), again.Agent.ID, false); err != nil {
		t.Errorf("an idle agent: %v", err)
	}
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	id := y.deploy(caxton.DeployRequest{Text: text("One", "a")}).Agent.ID
	for _, tt := range []struct {
		name  string
		do    func(context.Context, caxton.AgentID) error
		want  bool
		asked int
	}{
		{"suspend", y.Suspend, true, 2}, {"suspend again", y.Suspend, true, 2}, {"resume", y.Resume, false, 3}, {"resume again", y.Resume, false, 3},
	} {
		if err := tt.do(t.Context(), id); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		a, err := y.reg.Agent(id)
		if err != nil || a.Suspended != tt.want || len(y.runner.asked) != tt.asked {
			t.Errorf("%s: suspended %v, runner asked %d times, %v", tt.name, a.Suspended, len(y.runner.asked), err)
		}
	}
	failure(t, "nobody", y.Suspend(t.Context(), "nobody"), caxton.NotFound, "nobody")
}

// TestDeploysAtOnce: whoever comes, each change is whole, and versions have no gaps.
func TestDeploysAtOnce(t *testing.T) {
	t.Parallel()
	y := open(t, deploy.Config{})
	const n = 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]bool{}
	created := 0
	for i := range n {
		wg.Go(func() {
			d, err := y.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", fmt.Sprint("p", i))})
			if err != nil {
				t.Errorf("deploy %d: %v", i, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[d.Agent.Version] = true
			if d.Created {
				created++
			}
		})
	}
	wg.Wait()
	if _, version := y.active("one"); version != n || len(seen) != n || created != 1 || len(y.reg.Agents()) != 1 {
		t.Errorf("version %d, %d different, created %d times, want %d versions of one agent", version, len(seen), created, n)
	}
}

func TestDraftIsKeptAndNotInForce(t *testing.T) {
	y := open(t, deploy.Config{})
	dep := y.deploy(caxton.DeployRequest{Text: text("Greeter", "Be kind.")})
	n, err := y.Draft(t.Context(), dep.Agent.ID, 0, "Be curt.\n\nAnswer in one word.", "ann")
	if err != nil || n != 2 {
		t.Fatalf("Draft = %d, %v, want version 2", n, err)
	}
	if prompt, version := y.active("greeter"); prompt != "Be kind." || version != 1 {
		t.Errorf("active is version %d with %q, want what was", version, prompt)
	}
	v, err := y.reg.Version(t.Context(), dep.Agent.ID, 2)
	if err != nil || v.Definition.SystemPrompt != "Be curt.\n\nAnswer in one word." || v.Author != "ann" {
		t.Errorf("version 2 = %+v, %v", v, err)
	}
	again := y.deploy(caxton.DeployRequest{Text: text("Greeter", "Be brief.")})
	if again.Agent.Version != 3 {
		t.Errorf("the next version is %d, want 3", again.Agent.Version)
	}
	_, err = y.Draft(t.Context(), "nobody", 0, "x", "ann")
	failure(t, "draft of nobody", err, caxton.NotFound, "")
}
