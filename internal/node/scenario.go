package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/scripted"
	"github.com/caxton/caxton/internal/scenario"
	"github.com/caxton/caxton/internal/template"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tree"
)

// BenchOptions say how a Bench plays cases, besides the configuration.
type BenchOptions struct {
	Environ []string       // for keys of model providers
	Chaos   scenario.Chaos // goes wrong in every case
	Record  bool           // ask the agents' real models, and keep the answers
	Network bool           // tools without a stub may reach the network
	Logger  *slog.Logger   // discards
}

// A Bench plays test cases on the parts of a server: registry, deployer, router, supervisor
// and prompt handler, made anew for each case over a journal in memory. There is no data
// directory and no listener; what agents remember is in a directory that is gone after the case. It is the Stage of internal/scenario and safe for concurrent use.
type Bench struct {
	c       *config.Config
	o       BenchOptions
	agents  map[*scenario.Suite]*script // written by Load only
	tools   map[string]bool             // names of all tools that an agent may meet; written by Load only
	catalog *llm.Catalog                // nil unless a real model is needed

	modules  *benchModules       // nil unless an agent is a module; written by Load only
	embedder *embedding.Provider // nil unless an agent remembers; written by Load only
}

// A script is what the cases of a suite share.
type script struct {
	actors    []actor         // the agent under test, then those that take part
	rules     []scripted.Rule // of the script file
	cassette  string          // path, "" without one
	recording []byte          // text of the cassette

	mu       sync.Mutex   // guards recorded
	recorded bytes.Buffer // the new cassette
	recorder *taped       // nil unless recording
}

// An actor is an agent of a suite.
type actor struct {
	file   string
	text   []byte
	module []byte // that it names, or nil
	def    caxton.Definition
}

// taped is a real model whose answers are recorded.
type taped struct {
	llm.Model

	failed atomic.Bool // an answer did not come: the recording is of no use
}

// Generate asks the model.
func (t *taped) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	res, err := t.Model.Generate(ctx, req)
	if err != nil {
		t.failed.Store(true)
	}
	return res, err
}

// NewBench returns a Bench. It starts nothing.
func NewBench(loaded *config.Loaded, o BenchOptions) *Bench {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Bench{c: &loaded.Config, o: o, agents: map[*scenario.Suite]*script{}, tools: map[string]bool{}}
}

// offline are the tools that reach out of the machine: in a test they need a stub, or leave.
func offline() []string { return []string{"http_client"} }

// Load reads test files and everything they name. All faults of all files are in the one
// Invalid error. Errors also: NotFound, and why a model cannot be had.
func (b *Bench) Load(ctx context.Context, files ...string) ([]*scenario.Suite, error) {
	var suites []*scenario.Suite
	var faults []caxton.Issue
	for _, path := range files {
		s, issues, err := scenario.Load(path, scenario.Options{Rules: func(n *tree.Node, key, path string) []caxton.Issue {
			_, issues := readRules(n, key, path)
			return issues
		}})
		if err != nil {
			return nil, err
		}
		faults = append(faults, issues...)
		issues, err = b.Add(ctx, s)
		if err != nil {
			return nil, err
		}
		faults = append(faults, issues...)
		suites = append(suites, s)
	}
	if err := scenario.Err(faults); err != nil {
		return nil, err
	}
	return suites, b.checkChaos()
}

// checkChaos refuses chaos of the options for tools that no agent has.
func (b *Bench) checkChaos() error {
	var names []string
	for _, t := range b.o.Chaos.DropTool {
		names = append(names, t.Value)
	}
	for _, d := range b.o.Chaos.Delay {
		names = append(names, d.Tool.Value)
	}
	for _, f := range b.o.Chaos.Error {
		names = append(names, f.Tool.Value)
	}
	for _, name := range names {
		if !b.tools[name] {
			known := slices.Sorted(maps.Keys(b.tools))
			err := caxton.Errorf(caxton.Invalid, "tool_not_found", "no agent under test has a tool %.80q", name)
			if near := tree.Nearest(name, known); near != "" {
				return err.WithHint("did you mean %s?", near)
			}
			return err.WithHint("they have: %s", strings.Join(known, ", "))
		}
	}
	return nil
}

// Add reads what a suite names: its agent, its script, its cassette. With an issue the suite
// cannot be played.
func (b *Bench) Add(ctx context.Context, s *scenario.Suite) ([]caxton.Issue, error) {
	sc := &script{}
	b.agents[s] = sc
	var issues []caxton.Issue
	gather := func(err error, at scenario.Place) error {
		if e, ok := asError(err); ok && len(e.Issues) > 0 {
			issues = append(issues, e.Issues...)
			return nil
		} else if ok && (e.Kind == caxton.Invalid || e.Kind == caxton.NotFound) {
			issues = append(issues, caxton.Issue{Path: s.Path, Line: max(1, at.Line), Column: max(1, at.Column), Message: e.Message, Hint: e.Hint})
			return nil
		}
		return err
	}
	file, err := s.AgentFile()
	if err != nil {
		return issues, gather(err, s.Agent.At)
	}
	others, err := s.Others()
	if err != nil {
		return issues, gather(err, s.Agent.At)
	}
	found, err := b.readAgents(ctx, s, sc, append([]string{file}, others...))
	issues = append(issues, found...)
	if err != nil {
		return issues, err
	}
	if len(found) == 0 {
		issues = append(issues, checkFacts(s, sc.actors[0].def)...)
	}
	if sc.remembers() && b.embedder == nil { // the one in the program: tests shall do alike on every machine
		if b.embedder, err = embedding.Open(ctx, embedding.Config{Logger: b.o.Logger}); err != nil {
			return issues, err
		}
	}
	if s.Script.Value != "" {
		if err := gather(sc.readScript(s), s.Script.At); err != nil {
			return issues, err
		}
	}
	if err := gather(b.model(ctx, s, sc), s.Cassette.At); err != nil {
		return issues, err
	}
	return issues, nil
}

// readAgents reads the agents, and holds the names of tools in the suite to them.
func (b *Bench) readAgents(ctx context.Context, s *scenario.Suite, sc *script, paths []string) ([]caxton.Issue, error) {
	here, err := suiteTools(s, b.c, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	set, err := tool.NewSet(nil, here...)
	if err != nil {
		return nil, err
	}
	known := func(name string) bool { yes, _ := set.Known(name); return yes }
	stubs := s.Stubs()
	var granted []string
	var issues []caxton.Issue
	for _, path := range paths {
		text, err := os.ReadFile(path) //nolint:gosec // the user's own file
		if err != nil {
			return nil, caxton.Errorf(caxton.NotFound, "agent_file_not_found", "the file %s cannot be read", path).WithCause(err)
		}
		def, found := agentfile.Parse(path, text, "", agentfile.Options{
			CheckTemplate: template.Check,
			Tool: func(name string) (bool, string) {
				return known(name) || slices.Contains(stubs, name), set.Nearest(name)
			},
		})
		issues = append(issues, slices.DeleteFunc(found, func(i caxton.Issue) bool { return i.Warning })...)
		module, err := readModule(path, text)
		if err != nil {
			return nil, err
		}
		if module != nil && b.modules == nil {
			b.modules = newBenchModules(ctx, b)
		}
		sc.actors = append(sc.actors, actor{path, text, module, def})
		for _, t := range def.Tools {
			granted = append(granted, t.Name)
			b.tools[t.Name] = true
		}
	}
	if len(issues) > 0 {
		return issues, nil
	}
	return s.CheckTools(granted, known), nil
}

func readRules(n *tree.Node, key, path string) ([]scripted.Rule, []caxton.Issue) {
	var rules []scripted.Rule
	issues := tree.Decode(n, &rules, tree.DecodeOptions{Path: path, Prefix: key})
	if len(issues) == 0 {
		if _, err := scripted.New(rules); err != nil {
			message, hint := err.Error(), ""
			if e, ok := asError(err); ok {
				message, hint = e.Message, e.Hint
			}
			issues = append(issues, caxton.Issue{Path: path, Line: n.Line, Column: n.Column, Key: key, Message: key + ": " + message, Hint: hint})
		}
	}
	return rules, issues
}

// readScript reads the rules of the script file.
func (sc *script) readScript(s *scenario.Suite) error {
	path := s.Beside(s.Script.Value)
	text, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if err != nil {
		return caxton.Errorf(caxton.NotFound, "script_unreadable", "the script %s cannot be read", path).
			WithHint("write its path as seen from the test file").WithCause(err)
	}
	format := tree.YAML
	if strings.HasSuffix(path, ".json") {
		format = tree.JSON
	}
	root, issues := tree.Parse(format, path, text)
	if root != nil {
		var in scripted.Script
		issues = append(issues, tree.Decode(root, &in, tree.DecodeOptions{Path: path})...)
		sc.rules = in.Rules
	}
	if err := scenario.Err(issues); err != nil {
		return err
	}
	_, err = scripted.New(sc.rules)
	return err
}

// model gets ready who answers in a suite.
func (b *Bench) model(ctx context.Context, s *scenario.Suite, sc *script) error {
	taping := b.o.Record && s.Model.Value == scenario.ModelCassette
	configured := taping || s.Model.Value == scenario.ModelConfigured
	if configured && b.catalog == nil {
		var err error
		if b.catalog, _, err = models(ctx, &b.c.LLM, b.o.Environ, b.o.Logger); err != nil {
			return err
		}
	}
	if configured {
		m, err := b.catalog.For(sc.actors[0].def.LLM)
		if err != nil {
			return err
		}
		if taping {
			sc.cassette = s.CassetteFile()
			sc.recorder = &taped{Model: scripted.NewRecorder(m, sc)}
		}
		return nil
	}
	if s.Model.Value != scenario.ModelCassette {
		return nil
	}
	sc.cassette = s.CassetteFile()
	text, err := os.ReadFile(sc.cassette)
	if err != nil {
		return caxton.Errorf(caxton.NotFound, "cassette_unreadable", "the cassette %s cannot be read", sc.cassette).
			WithHint("record it: caxton agents test --record %s", s.Path).WithCause(err)
	}
	sc.recording = text
	_, err = scripted.ParseCassette(sc.cassette, text)
	return err
}

// Write takes what the recorder writes.
func (sc *script) Write(b []byte) (int, error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.recorded.Write(b)
}

// Recorded writes the new cassettes and returns their paths. A suite that called no model
// leaves its cassette as it is; so does one whose model failed, and that is Unavailable.
func (b *Bench) Recorded() ([]string, error) {
	var paths, failed []string
	for _, sc := range b.agents {
		sc.mu.Lock()
		text := bytes.Clone(sc.recorded.Bytes())
		sc.mu.Unlock()
		if sc.recorder == nil || len(text) == 0 {
			continue
		}
		if sc.recorder.failed.Load() {
			failed = append(failed, sc.cassette)
			continue
		}
		if err := writeWhole(sc.cassette, text); err != nil {
			return paths, caxton.Errorf(caxton.Unavailable, "cassette_unwritable", "the cassette %s cannot be written", sc.cassette).WithCause(err)
		}
		paths = append(paths, sc.cassette)
	}
	slices.Sort(paths)
	if len(failed) > 0 {
		slices.Sort(failed)
		return paths, caxton.Errorf(caxton.Unavailable, "recording_failed", "the model failed; not recorded: %s", strings.Join(failed, ", ")).
			WithHint("the cases say why; try again")
	}
	return paths, nil
}

// writeWhole replaces a file, or leaves it as it was.
func writeWhole(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".cassette-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644) // it goes into the repository, beside the agent
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func asError(err error) (*caxton.Error, bool) { return errors.AsType[*caxton.Error](err) }
