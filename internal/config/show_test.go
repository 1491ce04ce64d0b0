package config_test

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/tree"
)

func TestEffectiveIsSorted(t *testing.T) {
	l := mustLoad(t, "caxton.yaml", "llm: {providers: {b: {kind: openai}, a: {kind: openai}}}", config.Options{})
	all := l.Effective()
	if !slices.IsSortedFunc(all, func(a, b config.Setting) int { return strings.Compare(a.Key, b.Key) }) {
		t.Error("Effective is not sorted by key")
	}
	for i := 1; i < len(all); i++ {
		if all[i].Key == all[i-1].Key {
			t.Errorf("%s is there twice", all[i].Key)
		}
	}
	if got := l.Origin("no.such.key"); got != "" {
		t.Errorf("Origin of nothing = %q", got)
	}
	all[0].Key = "changed"
	if l.Effective()[0].Key == "changed" {
		t.Error("Effective hands out its own list")
	}
}

// TestYAMLLoads takes what is in force for a file again: it must mean the same.
func TestYAMLLoads(t *testing.T) {
	paths, err := filepath.Glob("testdata/samples/*.*ml")
	if err != nil {
		t.Fatal(err)
	}
	o := config.Options{Environ: []string{"JWT_SECRET=s", "NEO4J_PASSWORD=s"}, Hostname: hostname}
	for _, path := range append(paths, "") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			o := o
			o.Path, o.Explicit, o.Dir, o.SystemDir = path, path != "", ".", t.TempDir()
			l, err := config.Load(o)
			if err != nil {
				t.Fatal(err)
			}
			text := l.YAML()
			again := mustLoad(t, "caxton.yaml", string(text), config.Options{})
			if diff := cmp.Diff(values(l), values(again)); diff != "" {
				t.Errorf("YAML means something else (-was +is):\n%s\n%s", diff, text)
			}
			encoded, err := json.Marshal(l.Tree())
			if err != nil {
				t.Fatal(err)
			}
			again = mustLoad(t, "caxton.json", string(encoded), config.Options{})
			if diff := cmp.Diff(values(l), values(again)); diff != "" {
				t.Errorf("Tree means something else (-was +is):\n%s", diff)
			}
		})
	}
}

func TestSample(t *testing.T) {
	defaults := values(mustLoad(t, "caxton.yaml", "", config.Options{}))
	l := mustLoad(t, "caxton.yaml", string(config.Sample()), config.Options{})
	if len(l.Warnings) > 0 {
		t.Errorf("warnings: %v", l.Warnings)
	}
	if diff := cmp.Diff(defaults, values(l)); diff != "" {
		t.Errorf("the sample sets something (-defaults +sample):\n%s", diff)
	}
	t.Run("what it shows is the default", func(t *testing.T) {
		shown := regexp.MustCompile(`(?m)^( *)#(\w)`)
		n := len(shown.FindAll(config.Sample(), -1))
		if n < 30 {
			t.Errorf("only %d settings are shown", n)
		}
		l := mustLoad(t, "caxton.yaml", shown.ReplaceAllString(string(config.Sample()), "$1$2"), config.Options{})
		if len(l.Warnings) > 0 {
			t.Errorf("warnings: %v", l.Warnings)
		}
		got := values(l)
		for key, value := range map[string]string{ // shown as an example, or computed where nothing is said
			"server.data_dir": "/var/lib/caxton", "server.agents_dir": "/var/lib/caxton/agents",
			"llm.fallback": "[]", "server.allowed_hosts": "[]", "tools.http_client.allowed_hosts": "[]", "tools.http_client.denied_hosts": "[]",
		} {
			if got[key] != value {
				t.Errorf("%s = %q, want %q", key, got[key], value)
			}
			got[key] = defaults[key]
		}
		if diff := cmp.Diff(defaults, got); diff != "" {
			t.Errorf("a shown default is none (-default +shown):\n%s", diff)
		}
	})
	t.Run("with directories", func(t *testing.T) {
		data, agents := `./my $data "x"`, `C:\agents # 1`
		l := mustLoad(t, "caxton.yaml", string(config.SampleFor(data, agents)), config.Options{})
		if l.Config.Server.DataDir != data || l.Config.Server.AgentsDir != agents {
			t.Errorf("directories %q, %q; want %q, %q", l.Config.Server.DataDir, l.Config.Server.AgentsDir, data, agents)
		}
	})
}

// TestSchema validates the samples, and what is wrong with some texts, by the JSON Schema.
func TestSchema(t *testing.T) {
	var s jsonschema.Schema
	if err := json.Unmarshal(config.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := func(t *testing.T, path string, data []byte) any {
		t.Helper()
		n, issues := tree.Parse(tree.Format(strings.TrimPrefix(filepath.Ext(path), ".")), path, data)
		if n == nil {
			t.Fatal(issues)
		}
		b, err := json.Marshal(n.Plain())
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	paths, err := filepath.Glob("testdata/samples/*.*ml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(plain(t, path, data)); err != nil && filepath.Base(path) != "production.toml" { // a number in quotes
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, text := range []string{
		"server: {prot: 1}", "server: {port: 70000}", "logging: {level: loud}", "networking: {bind_adress: x}",
		"llm: {providers: {x: {kind: gemini}}}", "security: {rate_limiting: {requests_per_minute: 0}}", "agents: {watch: 5}",
	} {
		if resolved.Validate(plain(t, "x.yaml", []byte(text))) == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
}

// TestKeyInventory walks the inventory of the guides' keys, where it is at hand: each is a
// key here.
func TestKeyInventory(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "spec", "config.tsv")
	f, err := os.Open(path)
	if err != nil {
		t.Skip("the inventory is not at hand")
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, s := range mustLoad(t, "caxton.yaml", "", config.Options{}).Effective() {
		known[s.Key] = true
	}
	for _, a := range config.Aliases() {
		if known[a.To] {
			known[a.From] = true
			continue
		}
		for key := range known {
			if rest, ok := strings.CutPrefix(key, a.To+"."); ok {
				known[a.From+"."+rest] = true
			}
		}
	}
	variables := make(map[string]bool)
	for _, v := range config.Variables() {
		variables[v.Name] = true
	}
	checked := 0
	for _, row := range rows[1:] {
		id, format, key, canonical := row[0], row[2], row[3], row[7]
		key, _, _ = strings.Cut(key, "[]")
		switch format {
		case "YAML", "TOML":
			if strings.HasPrefix(canonical, "agent.") {
				continue // of agent files
			}
			if !known[key] {
				t.Errorf("%s: %s is not known", id, key)
			}
		case "struct":
			if !strings.HasPrefix(canonical, "observability.") {
				continue // limits of agents
			}
			if !known[canonical] {
				t.Errorf("%s: %s is not known", id, canonical)
			}
		case "env":
			if strings.HasPrefix(key, "CAXTON_") {
				l := mustLoad(t, "x.yaml", "", config.Options{Environ: []string{key + "=" + row[4]}})
				for _, w := range l.Warnings {
					if id == "K175" && strings.Contains(w.Message, "qdrant is not in this version") {
						continue // the variable is known; the value is, too, and is for a later version
					}
					t.Errorf("%s: %v", id, w)
				}
			} else if !variables[key] && !slices.Contains([]string{"NEO4J_PASSWORD", "HOSTNAME", "GF_SECURITY_ADMIN_PASSWORD"}, key) {
				t.Errorf("%s: the variable %s is not known", id, key)
			}
		case "flag":
			if canonical == "(file)" {
				continue
			}
			for part := range strings.SplitSeq(canonical, " + ") {
				if !known[part] {
					t.Errorf("%s: %s is not known", id, part)
				}
			}
		default:
			continue
		}
		checked++
	}
	if checked < 150 {
		t.Errorf("only %d rows were checked", checked)
	}
}

// FuzzLoad holds for any text that Load comes back with a configuration or with errors that
// point into the text, and that what it accepts means the same when it is printed.
func FuzzLoad(f *testing.F) {
	paths, err := filepath.Glob("testdata/samples/*.*ml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, filepath.Ext(path))
	}
	f.Add(config.Sample(), ".yaml")
	f.Add([]byte(`{"networking": {"bind_address": "[::1]:80"}, "cluster": 3, "coordination": {"cluster": {"seeds": ["a:1"]}}}`), ".json")
	f.Add([]byte("llm: {providers: {a.b: {kind: openai, api_key: $$${X:-y}}}, provider: a.b}\nobservability: {metrics_port: 1}\nmonitoring: {metrics_port: 1}"), ".yaml")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, ext string) {
		if ext != ".yaml" && ext != ".toml" && ext != ".json" {
			ext = ".conf"
		}
		path := filepath.Join(dir, "caxton"+ext)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := config.Load(config.Options{Path: path, Explicit: true, Hostname: hostname})
		if err != nil {
			e, ok := err.(*caxton.Error) //nolint:errorlint // Load promises this very type
			if !ok || len(e.Issues) == 0 {
				t.Fatalf("Load: %v", err)
			}
			lines := strings.Count(string(data), "\n") + 1
			for _, i := range e.Issues {
				if i.Line < 0 || i.Line > lines || i.Warning || i.Message == "" {
					t.Errorf("issue %+v is outside of the text", i)
				}
			}
			return
		}
		again := filepath.Join(dir, "again.yaml")
		printed := []byte(strings.ReplaceAll(string(l.YAML()), "$", "$$"))
		if err := os.WriteFile(again, printed, 0o600); err != nil {
			t.Fatal(err)
		}
		second, err := config.Load(config.Options{Path: again, Explicit: true})
		if err != nil {
			t.Fatalf("Load(YAML): %v\n%s", err, printed)
		}
		if diff := cmp.Diff(values(l), values(second)); diff != "" {
			t.Fatalf("YAML means something else (-was +is):\n%s\n%s", diff, printed)
		}
	})
}
