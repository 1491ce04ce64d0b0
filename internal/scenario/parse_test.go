package scenario_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/scenario"
	"github.com/caxton/caxton/internal/tree"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

// options checks rules as a model would that wants a list of tables.
func options() scenario.Options {
	return scenario.Options{Rules: func(n *tree.Node, key, path string) []caxton.Issue {
		var rules []map[string]any
		return tree.Decode(n, &rules, tree.DecodeOptions{Path: path, Prefix: key})
	}}
}

func parse(t *testing.T, text string) *scenario.Suite {
	t.Helper()
	s, issues := scenario.Parse("greeter.test.yaml", []byte(text), options())
	if err := scenario.Err(issues); err != nil {
		t.Fatalf("Parse: %v\n%s", err, text)
	}
	return s
}

// TestParseFaults holds the faults of each file of testdata/bad to its second part.
func TestParseFaults(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, issues := scenario.Parse(a.Files[0].Name, a.Files[0].Data, options())
			if scenario.Err(issues) == nil {
				t.Error("no fault was found")
			}
			var got strings.Builder
			for _, i := range issues {
				fmt.Fprintln(&got, i)
			}
			if *update {
				a.Files[1].Data = []byte(got.String())
				if err := os.WriteFile(path, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(a.Files[1].Data), got.String()); diff != "" {
				t.Errorf("issues differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParse(t *testing.T) {
	s := parse(t, `
rules: [{reply: x}]
tests:
  - {name: text, input: Hi}
  - {name: value, input: {a: [1, 2.5]}, performative: QUERY_REF, timeout: 1m}
  - name: turns
    turns: [{input: 1}, {input: "2", performative: inform}]
`)
	if s.Model.Value != scenario.ModelScripted || len(s.Cases) != 3 {
		t.Fatalf("%+v", s)
	}
	var got []string
	for i := range s.Cases {
		c := &s.Cases[i]
		for _, turn := range c.Sent() {
			b, err := turn.Input.JSON()
			got = append(got, fmt.Sprintf("%d:%d %s %s %s %s %v", c.At.Line, c.At.Column, c.Name, turn.Performative.Value, b, s.Lasts(c), err))
		}
	}
	want := []string{
		`4:5 text  "Hi" 30s <nil>`, `5:5 value query-ref {"a":[1,2.5]} 1m0s <nil>`, `6:5 turns  1 30s <nil>`, `6:5 turns inform "2" 30s <nil>`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cases differ (-want +got):\n%s", diff)
	}
}

func TestParseNotations(t *testing.T) {
	for name, text := range map[string]string{
		"a.test.json": `{"model": "builtin", "cases": [{"name": "one", "input": "Hi"}]}`,
		"a.test.toml": "model = \"builtin\"\n[[cases]]\nname = \"one\"\ninput = \"Hi\"\n",
		"a.test.yml":  "model: builtin\ncases: [{name: one, input: Hi}]\n",
	} {
		s, issues := scenario.Parse(name, []byte(text), scenario.Options{})
		if len(issues) > 0 || len(s.Cases) != 1 || s.Cases[0].Input.Value != "Hi" {
			t.Errorf("Parse(%s) = %+v, %v", name, s, issues)
		}
	}
	s, issues := scenario.Parse("a.test.yaml", make([]byte, scenario.MaxSize+1), scenario.Options{})
	if len(issues) != 1 || len(s.Cases) != 0 {
		t.Errorf("Parse of %d bytes: %v", scenario.MaxSize+1, issues)
	}
}

func TestCheckTools(t *testing.T) {
	s := parse(t, `
model: builtin
tools: {stub: {returns: x}, calculatr: {returns: x}}
chaos: {drop_tool: dropped, delay: {tool: late, by: 1s}, error: {tool: failing}}
cases:
  - name: one
    input: Hi
    tools: {own: {returns: x}}
    expect: {tools: [called, calculator, clock], never_tools: never}
  - name: two
    turns: [{input: Hi, expect: {tools: {name: turned}}}]
`)
	issues := s.CheckTools([]string{"calculator", "stub"}, func(name string) bool { return name == "clock" })
	var got []string
	for _, i := range issues {
		got = append(got, i.String())
	}
	want := []string{
		`greeter.test.yaml:3:40: the agent has no tool "calculatr" (did you mean calculator?)`,
		`greeter.test.yaml:4:20: the agent has no tool "dropped" (its file lists the tools of an agent)`,
		`greeter.test.yaml:4:43: the agent has no tool "late" (its file lists the tools of an agent)`,
		`greeter.test.yaml:4:72: the agent has no tool "failing" (its file lists the tools of an agent)`,
		`greeter.test.yaml:8:18: the agent has no tool "own" (its file lists the tools of an agent)`,
		`greeter.test.yaml:9:22: there is no tool "called" (its file lists the tools of an agent)`,
		`greeter.test.yaml:9:63: there is no tool "never" (its file lists the tools of an agent)`,
		`greeter.test.yaml:11:41: there is no tool "turned" (its file lists the tools of an agent)`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("CheckTools differs (-want +got):\n%s", diff)
	}
}

// FuzzParse holds for any text that Parse comes back, that its issues are inside of the text,
// and that a suite without faults can be asked for all it has.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(a.Files[0].Data, uint8(0))
	}
	f.Add([]byte("rules: [{reply: x}]\ncases: [{name: one, input: {a: 1}, expect: {content: {path: .a, equals: 1}, tools: [x]}}]"), uint8(0))
	f.Add([]byte(`{"model": "builtin", "cases": [{"name": "one", "turns": [{"input": null}, {"input": 1e99}]}]}`), uint8(1))
	f.Add([]byte("model = \"builtin\"\n[[cases]]\nname = \"one\"\ninput = 2026-01-01\n"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, notation uint8) {
		path := "f.test" + []string{".yaml", ".json", ".toml"}[notation%3]
		s, issues := scenario.Parse(path, data, options())
		lines := strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
		for _, i := range issues {
			if i.Line < 1 || i.Line > len(lines) || i.Column < 1 || i.Column > len([]rune(lines[i.Line-1]))+1 {
				t.Errorf("issue %+v is outside of the text", i)
			}
		}
		if scenario.Err(issues) != nil {
			return
		}
		s.CheckTools(nil, func(string) bool { return false })
		for i := range s.Cases {
			c := &s.Cases[i]
			s.Kit(c, scenario.Chaos{}).Tools(nil)
			if s.Lasts(c) <= 0 {
				t.Errorf("case %q lasts %s", c.Name, s.Lasts(c))
			}
			for _, turn := range c.Sent() {
				if _, err := turn.Input.JSON(); err != nil {
					t.Errorf("case %q: %v", c.Name, err)
				}
			}
		}
	})
}

// TestDocument holds docs/agent-tests.md to the form: its example has no fault, and it has a
// word on every key.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "agent-tests.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	_, example, _ := strings.Cut(text, "```yaml\n")
	example, _, found := strings.Cut(example, "```")
	if s := parse(t, example); !found || len(s.Cases) != 3 {
		t.Errorf("the example has %d cases, want 3", len(s.Cases))
	}
	for _, table := range []any{
		scenario.Suite{},
		scenario.Case{},
		scenario.Turn{},
		scenario.Expect{},
		scenario.ContentCheck{},
		scenario.ToolCheck{},
		scenario.Stub{},
		scenario.Chaos{},
		scenario.Delay{},
		scenario.Fault{},
		scenario.ModelFault{},
	} {
		for f := range reflect.TypeOf(table).Fields() {
			if key := f.Tag.Get("key"); key != "" && !strings.Contains(text, "`"+key+"`") {
				t.Errorf("docs/agent-tests.md says nothing of %s of %T", key, table)
			}
		}
	}
}
