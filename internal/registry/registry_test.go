package registry_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/cluster"
	"github.com/caxton/caxton/internal/registry"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a registry over the database at path, running until stop.
func open(t *testing.T, path string, cfg registry.Config) (reg *registry.Registry, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	db, err := sqlite.Open(ctx, sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	solo := cluster.NewSolo()
	reg = registry.New(db, solo, cfg)
	if err := reg.Load(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = db.Run(ctx) })
	wg.Go(func() { _ = solo.Run(ctx, reg) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait(); _ = db.Close() })
	t.Cleanup(stop)
	return reg, stop
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func version(id, name, text string, caps ...string) caxton.AgentVersion {
	def := caxton.Definition{Name: name, SystemPrompt: text}
	for _, c := range caps {
		p, err := caxton.ParseCapability(c)
		if err != nil {
			panic(err)
		}
		def.Capabilities = append(def.Capabilities, p)
	}
	return caxton.AgentVersion{
		AgentID: caxton.AgentID(id), Hash: "hash of " + name + text, Author: "test", Source: "api", Format: "markdown",
		Text: []byte(text), Definition: def, CreatedAt: noon,
	}
}

func deploy(t *testing.T, r *registry.Registry, v caxton.AgentVersion, stem string) caxton.Agent {
	t.Helper()
	a, err := r.Deploy(t.Context(), v, stem, false)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func wantKind(t *testing.T, what string, err error, want caxton.Kind) {
	t.Helper()
	if got := caxton.KindOf(err); got != want {
		t.Errorf("%s: kind %q (%v), want %q", what, got, err, want)
	}
}

func TestRegistryVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	r, stop := open(t, path, registry.Config{})
	a := deploy(t, r, version("a1", "DataAnalyzer", "one", "data-analysis"), "analyzer")
	if a.Version != 1 || a.Slug != "data-analyzer" {
		t.Fatalf("agent %+v", a)
	}
	if a = deploy(t, r, version("a1", "DataAnalyzer", "one", "data-analysis"), "analyzer"); a.Version != 1 {
		t.Errorf("the same text made version %d", a.Version)
	}
	deploy(t, r, version("a1", "DataAnalyzer", "two", "report-generation"), "analyzer")
	if cs := r.Capabilities(); len(cs) != 1 || cs[0].String() != "report-generation" {
		t.Errorf("capabilities %v, want those of the active version", cs)
	}
	if a, err := r.Activate(t.Context(), "a1", 1, true, noon); err != nil || a.Version != 1 || a.Versions != 2 || a.MinVersion != 1 {
		t.Errorf("Activate(1) = %+v, %v", a, err)
	}
	_, err := r.Activate(t.Context(), "a1", 9, false, noon)
	wantKind(t, "Activate(9)", err, caxton.NotFound)
	_, err = r.Activate(t.Context(), "a9", 1, false, noon)
	wantKind(t, "Activate of nobody", err, caxton.NotFound)
	if _, err := r.SetSuspended(t.Context(), "a1", true, noon); err != nil {
		t.Fatal(err)
	}
	before := r.Agents()
	stop()
	r, _ = open(t, path, registry.Config{})
	if diff := cmp.Diff(before, r.Agents(), cmp.AllowUnexported(caxton.Capability{})); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	vs, err := r.Versions(t.Context(), "a1")
	if err != nil || len(vs) != 2 || string(vs[1].Text) != "two" {
		t.Errorf("Versions = %+v, %v", vs, err)
	}
	if err := r.Remove(t.Context(), "a1", noon); err != nil || len(r.Agents()) != 0 {
		t.Errorf("Remove: %v, %d agents left", err, len(r.Agents()))
	}
	_, err = r.Version(t.Context(), "a1", 1)
	wantKind(t, "Version of a removed agent", err, caxton.NotFound)
}

func TestRegistryResolve(t *testing.T) {
	r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{})
	deploy(t, r, version("a1", "DataAnalyzer", "x", "x"), "my-file")
	for _, ref := range []string{"a1", "DataAnalyzer", "dataanalyzer", "data-analyzer", "my-file", "Data Analyzer"} {
		if a, err := r.Resolve(ref); err != nil || a.ID != "a1" {
			t.Errorf("Resolve(%q) = %v, %v", ref, a.ID, err)
		}
	}
	_, err := r.Resolve("data-analyser")
	wantKind(t, "Resolve of a slip", err, caxton.NotFound)
	if want := "did you mean data-analyzer?"; err == nil || err.(*caxton.Error).Hint != want { //nolint:errorlint // it is ours
		t.Errorf("hint of %v, want %q", err, want)
	}
}

func TestRegistryRefuses(t *testing.T) {
	r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{MaxAgents: 2})
	deploy(t, r, version("a1", "One", "x", "x"), "first")
	tests := []struct {
		name string
		v    caxton.AgentVersion
		stem string
		want caxton.Kind
	}{
		{"the same name", version("a2", "ONE", "y", "x"), "", caxton.Conflict},
		{"another's stem as name", version("a2", "First", "y", "x"), "", caxton.Conflict},
		{"another's name as stem", version("a2", "Two", "y", "x"), "one", caxton.Conflict},
		{"another's ID as name", version("a2", "A1", "y", "x"), "", caxton.Conflict},
		{"a free name", version("a2", "Two", "y", "x"), "second", ""},
		{"one too many", version("a3", "Three", "y", "x"), "", caxton.Exhausted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Deploy(t.Context(), tt.v, tt.stem, false)
			wantKind(t, "Deploy", err, tt.want)
		})
	}
	wantKind(t, "Apply of rubbish", r.Apply(t.Context(), []byte("{")), caxton.Internal)
	wantKind(t, "Apply of an unknown operation", r.Apply(t.Context(), []byte(`{"v":1,"op":"fly","id":"a1"}`)), caxton.Conflict)
	wantKind(t, "Apply of a newer format", r.Apply(t.Context(), []byte(`{"v":2}`)), caxton.Conflict)
}

// An observer counts what it is told.
type observer struct {
	mu   sync.Mutex
	seen []string
}

func (o *observer) AgentChanged(a caxton.Agent)    { o.add(fmt.Sprintf("%s v%d", a.Slug, a.Version)) }
func (o *observer) AgentRemoved(id caxton.AgentID) { o.add("removed " + string(id)) }
func (o *observer) add(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, s)
}

func TestRegistryTellsObservers(t *testing.T) {
	r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{})
	deploy(t, r, version("a1", "One", "x", "x"), "")
	o := &observer{}
	r.Observe(o)
	deploy(t, r, version("a1", "One", "y", "x"), "")
	if err := r.Remove(t.Context(), "a1", noon); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one v1", "one v2", "removed a1"}, o.seen); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// A deployment of what is in force already changes nothing: no row, no news, no time.
func TestRegistryUnchanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	r, stop := open(t, path, registry.Config{})
	v := version("a1", "One", "x", "x")
	v.CreatedAt = noon.Add(1234567 * time.Nanosecond)
	first := deploy(t, r, v, "one")
	o := &observer{}
	r.Observe(o)
	v.CreatedAt = noon.Add(time.Hour)
	if again := deploy(t, r, v, "one"); !again.UpdatedAt.Equal(first.UpdatedAt) || len(o.seen) != 1 {
		t.Errorf("updated at %s, first at %s, told %v: want no change", again.UpdatedAt, first.UpdatedAt, o.seen)
	}
	stop()
	r, _ = open(t, path, registry.Config{})
	if a, err := r.Agent("a1"); err != nil || !a.UpdatedAt.Equal(first.UpdatedAt) || !a.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("after a restart %s and %s, before %s and %s", a.CreatedAt, a.UpdatedAt, first.CreatedAt, first.UpdatedAt)
	}
	w := version("a1", "One", "y", "x")
	if a := deploy(t, r, w, "one"); a.MinVersion != 0 {
		t.Errorf("conversations move to %d unasked", a.MinVersion)
	}
	if a, err := r.Deploy(t.Context(), w, "one", true); err != nil || a.Version != 2 || a.MinVersion != 2 {
		t.Errorf("the same text, and conversations are to move: %+v, %v", a, err)
	}
}

// A text that this program reads otherwise than the one before it, say after an upgrade, is
// a new version though its hash is the same.
func TestRegistryReadsAnew(t *testing.T) {
	r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{})
	v := version("a1", "One", "x", "x")
	v.Definition.Parameters = map[string]any{"n": int64(7)}
	deploy(t, r, v, "")
	if a := deploy(t, r, v, ""); a.Version != 1 {
		t.Errorf("version %d, want 1: nothing is new", a.Version)
	}
	v.Definition.Priority = 7
	if a := deploy(t, r, v, ""); a.Version != 2 || a.Definition.Priority != 7 {
		t.Errorf("version %d with priority %d, want 2 with 7", a.Version, a.Definition.Priority)
	}
}

// An agent that came from a file stays the file's when a version comes through the API.
func TestRegistryKeepsTheFile(t *testing.T) {
	r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{})
	v := version("a1", "One", "x", "x")
	v.Source = "/agents/first.md"
	deploy(t, r, v, "first")
	for _, stem := range []string{"", "other"} {
		if a := deploy(t, r, version("a1", "One", "from the API"+stem, "x"), stem); a.Stem != "first" || a.Source != "/agents/first.md" {
			t.Errorf("with the stem %q: file %q, stem %q, want those of the file", stem, a.Source, a.Stem)
		}
	}
	v.Source = "/agents/second.md"
	if a := deploy(t, r, v, "second"); a.Stem != "second" || a.Source != "/agents/second.md" {
		t.Errorf("from another file: file %q, stem %q", a.Source, a.Stem)
	}
	deploy(t, r, version("a2", "Two", "x", "x"), "two-file")
	if a := deploy(t, r, version("a2", "Two", "y", "x"), ""); a.Stem != "two-file" {
		t.Errorf("stem %q, want the one it had", a.Stem)
	}
}

// Undo leaves nothing of a deployment but its version.
func TestRegistryUndoes(t *testing.T) {
	r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{})
	deploy(t, r, version("a1", "One", "x", "x"), "")
	was := deploy(t, r, version("a1", "One", "y", "x"), "")
	v := version("a1", "Uno", "z", "x")
	v.Source = "/agents/uno.md"
	if _, err := r.Deploy(t.Context(), v, "uno", true); err != nil {
		t.Fatal(err)
	}
	got, err := r.Undo(t.Context(), was, noon)
	was.Versions = 3
	if diff := cmp.Diff(was, got, cmp.AllowUnexported(caxton.Capability{})); err != nil || diff != "" {
		t.Errorf("%v, undone (-want +got):\n%s", err, diff)
	}
	_, err = r.Undo(t.Context(), caxton.Agent{ID: "a9", Version: 1}, noon)
	wantKind(t, "Undo of nobody", err, caxton.NotFound)
}

// What a command may do is in the command: a node with another limit comes to the same state.
func TestRegistryLimitTravels(t *testing.T) {
	log := &recorder{}
	log.machine = registry.New(newStore(), log, registry.Config{MaxAgents: 2})
	for _, name := range []string{"One", "Two", "Three"} {
		_, err := log.machine.Deploy(t.Context(), version("id of "+name, name, "x", "x"), "", false)
		if want := map[bool]caxton.Kind{true: caxton.Exhausted}[name == "Three"]; caxton.KindOf(err) != want {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for _, limit := range []int{1, 100} {
		replay := registry.New(newStore(), &recorder{}, registry.Config{MaxAgents: limit})
		for _, c := range log.commands {
			_ = replay.Apply(t.Context(), c)
		}
		if n := len(replay.Agents()); n != 2 {
			t.Errorf("with the limit %d the log gives %d agents, want 2", limit, n)
		}
	}
}

// A recorder is a log that keeps the commands it has applied.
type recorder struct {
	machine  *registry.Registry
	commands [][]byte
}

func (l *recorder) Append(ctx context.Context, c []byte) error {
	err := l.machine.Apply(ctx, c)
	l.commands = append(l.commands, c)
	return err
}

// A store keeps agents in maps.
type store struct {
	agents   map[caxton.AgentID]caxton.Agent
	versions map[caxton.AgentID][]caxton.AgentVersion
}

func newStore() *store {
	return &store{map[caxton.AgentID]caxton.Agent{}, map[caxton.AgentID][]caxton.AgentVersion{}}
}

func (s *store) LoadAgents(context.Context) ([]caxton.Agent, error) {
	var as []caxton.Agent
	for _, a := range s.agents {
		as = append(as, a)
	}
	return as, nil
}

func (s *store) SaveAgent(_ context.Context, a caxton.Agent, v *caxton.AgentVersion) error {
	s.agents[a.ID] = a
	if v != nil {
		s.versions[a.ID] = append(s.versions[a.ID], *v)
	}
	return nil
}

func (s *store) DeleteAgent(_ context.Context, id caxton.AgentID) error {
	delete(s.agents, id)
	delete(s.versions, id)
	return nil
}

func (s *store) AgentVersions(_ context.Context, id caxton.AgentID) ([]caxton.AgentVersion, error) {
	return s.versions[id], nil
}

func (s *store) AgentVersion(_ context.Context, id caxton.AgentID, n int) (caxton.AgentVersion, error) {
	if n < 1 || n > len(s.versions[id]) {
		return caxton.AgentVersion{}, caxton.Errorf(caxton.NotFound, "version_not_found", "no version %d", n)
	}
	return s.versions[id][n-1], nil
}

// A slow store is asked for a version while its agent is removed.
type slowStore struct {
	*store
	read func()
}

func (s *slowStore) AgentVersion(ctx context.Context, id caxton.AgentID, n int) (caxton.AgentVersion, error) {
	v, err := s.store.AgentVersion(ctx, id, n)
	s.read()
	return v, err
}

func TestRegistryForgetsRemovedVersions(t *testing.T) {
	log := &recorder{}
	s := &slowStore{newStore(), func() {}}
	r := registry.New(s, log, registry.Config{KeepTexts: 1})
	log.machine = r
	deploy(t, r, version("a1", "One", "x", "x"), "")
	deploy(t, r, version("a2", "Two", "x", "x"), "") // puts version 1 of a1 out of the cache
	s.read = func() {
		s.read = func() {}
		if err := r.Remove(t.Context(), "a1", noon); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Version(t.Context(), "a1", 1); err != nil {
		t.Fatal(err)
	}
	_, err := r.Version(t.Context(), "a1", 1)
	wantKind(t, "Version of an agent removed meanwhile", err, caxton.NotFound)
}

// TestRegistryIsDeterministic drives random commands, refused ones too, and holds that the
// same log gives the same state, and that it is what the store has, whatever agents are found by.
func TestRegistryIsDeterministic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := &recorder{}
		first := newStore()
		log.machine = registry.New(first, log, registry.Config{MaxAgents: 4})
		ctx := t.Context()
		for i := range rapid.IntRange(1, 40).Draw(rt, "commands") {
			id := rapid.SampledFrom([]string{"a1", "a2", "a3", "a4", "a5"}).Draw(rt, "id")
			at := noon.Add(time.Duration(i) * time.Second)
			switch rapid.IntRange(0, 4).Draw(rt, "op") {
			case 0:
				v := version(id, rapid.SampledFrom([]string{"One", "Two", "Three", "Four"}).Draw(rt, "name"),
					rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "text"), rapid.SampledFrom([][]string{{"help"}, {"help", "talk"}, {"talk"}, nil}).Draw(rt, "capabilities")...)
				v.Hash += fmt.Sprint(v.Definition.Capabilities)
				v.CreatedAt, v.Source = at, rapid.SampledFrom([]string{"api", "/f/" + id + ".md", "/g/" + id + ".md"}).Draw(rt, "source")
				_, _ = log.machine.Deploy(ctx, v, rapid.SampledFrom([]string{"", "one", "file"}).Draw(rt, "stem"), rapid.Bool().Draw(rt, "move"))
			case 1:
				_, _ = log.machine.Activate(ctx, caxton.AgentID(id), rapid.IntRange(0, 3).Draw(rt, "number"), rapid.Bool().Draw(rt, "move"), at)
			case 2:
				_, _ = log.machine.SetSuspended(ctx, caxton.AgentID(id), rapid.Bool().Draw(rt, "suspended"), at)
			case 3:
				_ = log.machine.Remove(ctx, caxton.AgentID(id), at)
			case 4:
				_, _ = log.machine.Undo(ctx, caxton.Agent{
					ID: caxton.AgentID(id), Version: rapid.IntRange(0, 3).Draw(rt, "number"), Stem: rapid.SampledFrom([]string{"", "one"}).Draw(rt, "stem"),
				}, at)
			}
		}
		second := newStore()
		replay := registry.New(second, &recorder{}, registry.Config{MaxAgents: 4})
		for _, c := range log.commands {
			_ = replay.Apply(ctx, c)
		}
		o := cmp.Options{cmp.AllowUnexported(caxton.Capability{}), cmpopts.EquateEmpty()}
		if diff := cmp.Diff(log.machine.Agents(), replay.Agents(), o); diff != "" {
			rt.Fatalf("the same log gave another state:\n%s", diff)
		}
		loaded := registry.New(second, &recorder{}, registry.Config{})
		if err := loaded.Load(ctx); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(replay.Agents(), loaded.Agents(), o); diff != "" {
			rt.Fatalf("the store has another state:\n%s", diff)
		}
		if diff := cmp.Diff(findings(replay), findings(loaded), o); diff != "" {
			rt.Fatalf("agents are found otherwise after changes (-) than after a start (+):\n%s", diff)
		}
		refs := map[string]caxton.AgentID{}
		for _, a := range replay.Agents() {
			for _, ref := range []string{a.Name, a.Slug, a.Stem} {
				if ref == "" {
					continue
				}
				got, err := replay.Resolve(ref)
				if err != nil || got.ID != a.ID {
					rt.Fatalf("Resolve(%q) = %s, %v, want %s", ref, got.ID, err, a.ID)
				}
				if other, ok := refs[ref]; ok && other != a.ID {
					rt.Fatalf("%q names two agents", ref)
				}
				refs[ref] = a.ID
			}
		}
	})
}

// findings returns what a registry answers to all that agents can be found by.
func findings(r *registry.Registry) map[string]any {
	all := map[string]any{"agents": r.Agents(), "count": r.Len(), "capabilities": r.Capabilities()}
	for _, name := range []string{"One", "Two", "Three", "Four", "file", "a1", "a2", "a3", "a4", "a5"} {
		a, err := r.Resolve(name)
		all["resolve "+name] = []any{a, caxton.KindOf(err)}
		a, ok := r.Named(caxton.Slug(name))
		all["named "+name] = []any{a, ok}
		for _, dir := range []string{"/f/", "/g/"} {
			a, ok := r.From(dir + name + ".md")
			all["from "+dir+name] = []any{a, ok}
		}
	}
	for _, name := range []string{"help", "talk", "sing"} {
		c, _ := caxton.ParseCapability(name)
		all["providers "+name] = r.Providers(c)
	}
	return all
}

// TestRegistryTypeOfVersion: an agent can become a module, and another module, and go back;
// the type is that of the active version.
func TestRegistryTypeOfVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	r, stop := open(t, path, registry.Config{})
	deploy(t, r, version("a1", "Cruncher", "prompt"), "")
	v := version("a1", "Cruncher", "module")
	v.Definition.Type, v.Definition.Module = caxton.WASMAgent, caxton.Module{SHA256: "h1", Contract: "command"}
	if a := deploy(t, r, v, ""); a.Type != caxton.WASMAgent || a.Version != 2 {
		t.Errorf("deployed as a module: %s, version %d", a.Type, a.Version)
	}
	v.Hash, v.Definition.Module.SHA256 = "other", "h2"
	if a := deploy(t, r, v, ""); a.Type != caxton.WASMAgent || a.Version != 3 {
		t.Errorf("another module under the same text: %s, version %d", a.Type, a.Version)
	}
	stop()
	r, _ = open(t, path, registry.Config{})
	if a, err := r.Agent("a1"); err != nil || a.Type != caxton.WASMAgent || a.Definition.Module.SHA256 != "h2" {
		t.Errorf("after a restart: %+v, %v", a, err)
	}
	if a, err := r.Activate(t.Context(), "a1", 1, true, noon); err != nil || a.Type != caxton.ConfigAgent {
		t.Errorf("rolled back to the prompt: %s, %v", a.Type, err)
	}
}
