package node_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/node"
	"github.com/caxton/caxton/internal/scenario"
)

// files writes files below a new directory and returns its path.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// bench returns a bench with the configuration of a test server in dir.
func bench(t *testing.T, dir string, o node.BenchOptions, flags ...string) *node.Bench {
	t.Helper()
	loaded, err := load(dir, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return node.NewBench(loaded, o)
}

// rehearse runs the test files of dir.
func rehearse(t *testing.T, dir string, b *node.Bench) *scenario.Report {
	t.Helper()
	found, err := scenario.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	suites, err := b.Load(t.Context(), found...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := scenario.Run(t.Context(), suites, b, scenario.RunConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lines says why cases did not pass.
func lines(r *scenario.Report) string {
	var all []string
	for i := range r.Results {
		if res := &r.Results[i]; res.Status != scenario.Passed {
			all = append(all, res.Case.Name+": "+string(res.Status))
			all = append(all, res.Lines()...)
		}
	}
	return strings.Join(all, "\n")
}

// TestExamplesPass runs the tests of the agents that come with the source.
func TestExamplesPass(t *testing.T) {
	dir := filepath.Join("..", "..", "examples", "agents")
	if r := rehearse(t, dir, bench(t, t.TempDir(), node.BenchOptions{})); !r.OK() || r.Passed < 10 {
		t.Errorf("%d passed\n%s", r.Passed, lines(r))
	}
}

const calculating = `---
name: Adder
capabilities: [adding]
tools: [calculator, http_client]
system_prompt: Add.
---
`

const adderScript = `rules:
  - when: {tool_result: calculator}
    reply: "It is {{result}}."
  - when: {contains: add}
    tool_calls: [{name: calculator, arguments: {expression: 1 + 2}}]
  - when: {contains: down}
    error: unauthenticated
  - reply: Add what?
`

// TestRecord holds that what a real model answered is answered again without it.
func TestRecord(t *testing.T) {
	dir := files(t, map[string]string{
		"adder.md":    calculating,
		"model.yaml":  adderScript, // stands for the real model
		"other.yaml":  "rules: [{error: unavailable}]\n",
		"adder.tests": "",
		"adder.test.yaml": `
cassette: adder.jsonl
cases:
  - {name: adds, input: please add, expect: {equals: It is 3., tools: [calculator], max_model_calls: 2}}
  - name: talks
    turns: [{input: Hello}, {input: add then, expect: {contains: "3"}}]
`,
	})
	tape := filepath.Join(dir, "adder.jsonl")
	test := filepath.Join(dir, "adder.test.yaml")
	if _, err := bench(t, dir, node.BenchOptions{}).Load(t.Context(), test); caxton.KindOf(err) != caxton.Invalid || !strings.Contains(err.Error(), "--record") {
		t.Fatalf("Load without the cassette: %v, want invalid with a hint", err)
	}
	model := []string{"llm.provider", "scripted", "llm.file", filepath.Join(dir, "model.yaml"), "llm.max_tokens", "77"}
	b := bench(t, dir, node.BenchOptions{Record: true}, model...)
	if r := rehearse(t, dir, b); r.Passed != 2 {
		t.Fatalf("recording: %s", lines(r))
	}
	if _, err := os.Stat(tape); err == nil {
		t.Error("the cassette was written before Recorded")
	}
	if paths, err := b.Recorded(); err != nil || len(paths) != 1 || paths[0] != tape {
		t.Fatalf("Recorded = %v, %v", paths, err)
	}
	recorded, err := os.ReadFile(tape)
	if err != nil {
		t.Fatal(err)
	}
	if r := rehearse(t, dir, bench(t, dir, node.BenchOptions{})); r.Passed != 2 {
		t.Errorf("replay: %s", lines(r))
	}

	broken := bench(t, dir, node.BenchOptions{Record: true}, "llm.provider", "scripted", "llm.file", filepath.Join(dir, "other.yaml"))
	if r := rehearse(t, dir, broken); r.Failed != 2 {
		t.Errorf("recording of a model that is down: %s", lines(r))
	}
	if paths, err := broken.Recorded(); caxton.KindOf(err) != caxton.Unavailable || len(paths) > 0 {
		t.Errorf("Recorded of a model that is down = %v, %v, want unavailable", paths, err)
	}
	if now, _ := os.ReadFile(tape); string(now) != string(recorded) {
		t.Error("a recording that failed changed the cassette")
	}

	if err := os.WriteFile(filepath.Join(dir, "adder.md"), []byte(strings.Replace(calculating, "Add.", "Subtract.", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := rehearse(t, dir, bench(t, dir, node.BenchOptions{}))
	if r.Failed != 2 || !strings.Contains(lines(r), "differs in system") {
		t.Errorf("replay for a changed agent: %s", lines(r))
	}
}

// TestConfigured holds that the agent's real model answers when the file says so.
func TestConfigured(t *testing.T) {
	dir := files(t, map[string]string{
		"adder.md": calculating, "model.yaml": adderScript,
		"adder.test.yaml": "model: configured\ncases: [{name: one, input: add, expect: {equals: It is 3.}}]\n",
	})
	if r := rehearse(t, dir, bench(t, dir, node.BenchOptions{}, "llm.provider", "scripted", "llm.file", filepath.Join(dir, "model.yaml"))); !r.OK() {
		t.Error(lines(r))
	}
}

// TestLoadFaults holds that all faults of all files come at once, those of agents too.
func TestLoadFaults(t *testing.T) {
	dir := files(t, map[string]string{
		"adder.md":            calculating,
		"faulty.md":           "---\nname: Faulty\ncapabilities: [x]\ntools: [calclator]\n---\nHi.\n",
		"a.test.yaml":         "model: builtin\ncases: [{name: one, input: x}]\n",
		"adder.test.yaml":     "rules: [{replly: x}]\nscript: none.yaml\ncases: [{name: one, input: x, expect: {never_tools: htp_client}, rules: [{when: {matches: '('}, reply: x}]}]\n",
		"adder.b.test.yaml":   "script: bad.yaml\ncases: [{name: one, input: x}]\n",
		"adder.c.test.yaml":   "cassette: bad.jsonl\ncases: [{name: one, input: x}]\n",
		"faulty.test.yaml":    "model: builtin\ncases: [{name: one, input: x}]\n",
		"faulty.ok.test.yaml": "model: builtin\ntools: {calclator: {returns: x}}\ncases: [{name: one, input: x}]\n",
		"bad.yaml":            "rules:\n  - replly: x\n",
		"bad.jsonl":           "{}\n",
	})
	found, err := scenario.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bench(t, dir, node.BenchOptions{}).Load(t.Context(), found...)
	if caxton.KindOf(err) != caxton.Invalid {
		t.Fatalf("Load: %v, want invalid", err)
	}
	for _, want := range []string{
		"a.test.yaml:1:1: there is no agent file beside", "adder.test.yaml:1:10: unknown key rules[0].replly", "adder.test.yaml:2:9: the script " + filepath.Join(dir, "none.yaml") + " cannot be read",
		"adder.test.yaml:3:53: there is no tool \"htp_client\" (did you mean http_client?)", "adder.test.yaml:3:73: cases[0].rules: rule 1 of the script has an expression",
		"bad.yaml:2:5: unknown key", "bad.jsonl:1:1: the first line is not the header", "faulty.md:4:9: there is no tool",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q", want)
		}
	}
	if strings.Count(err.Error(), "faulty.md") != 1 || t.Failed() {
		t.Errorf("the error is\n%v", err)
	}
}

// TestNetwork holds that a tool without a stub reaches the network only when it may.
func TestNetwork(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello from afar")) }))
	defer page.Close()
	dir := files(t, map[string]string{
		"adder.md": calculating,
		"adder.test.yaml": `
rules:
  - {when: {tool_result: http_client}, reply: "{{result}}"}
  - {tool_calls: [{name: http_client, arguments: {url: "` + page.URL + `"}}]}
cases: [{name: one, input: x, expect: {contains: hello from afar}}]
`,
	})
	allowed := []string{"tools.http_client.allowed_hosts", strings.TrimPrefix(page.URL, "http://")}
	if r := rehearse(t, dir, bench(t, dir, node.BenchOptions{}, allowed...)); r.Failed != 1 || !strings.Contains(lines(r), "this test has no network") {
		t.Errorf("without network: %s", lines(r))
	}
	if r := rehearse(t, dir, bench(t, dir, node.BenchOptions{Network: true}, allowed...)); !r.OK() {
		t.Errorf("with network: %s", lines(r))
	}
}

// TestBenchChaos holds that chaos of the options reaches every case, and that a tool nobody
// has is refused.
func TestBenchChaos(t *testing.T) {
	dir := files(t, map[string]string{
		"adder.md": calculating, "adder.script.yaml": adderScript,
		"adder.test.yaml": `
script: adder.script.yaml
cases:
  - {name: fails, input: add, expect: {contains: broken, tools: [{name: calculator, fails: true}]}}
  - {name: late, input: add, chaos: {delay: {tool: calculator, by: 1h}}, timeout: 500ms}
`,
	})
	named := func(name string) scenario.Chaos {
		return scenario.Chaos{Error: scenario.Several[scenario.Fault]{{Tool: scenario.Placed[string]{Value: name}, Message: "broken"}}}
	}
	start := time.Now()
	r := rehearse(t, dir, bench(t, dir, node.BenchOptions{Chaos: named("calculator")}))
	if r.Passed != 1 || r.Failed != 1 || r.Results[1].Failures[0].Check != "timeout" || time.Since(start) > 20*time.Second {
		t.Errorf("%s after %s", lines(r), time.Since(start))
	}
	if c := r.Results[1].Turns; len(c) != 1 || len(c[0].Calls) != 1 || c[0].Calls[0].Returned {
		t.Errorf("the turn that was cut off: %+v, want one call that did not return", c)
	}
	for _, name := range []string{"calclator", "clock"} {
		_, err := bench(t, dir, node.BenchOptions{Chaos: named(name)}).Load(t.Context(), filepath.Join(dir, "adder.test.yaml"))
		if caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("chaos for %s: %v, want invalid", name, err)
		}
	}
}

// TestPlay holds what a case meets: a clock that begins when the file says, templates, files
// beside the test, no answer to an inform, a retry, and the end of its context.
func TestPlay(t *testing.T) {
	dir := files(t, map[string]string{
		"notes.txt": "remember the milk",
		"reader.toml": `name = "Reader"
capabilities = ["reading"]
tools = ["file_read", "mail_search"]
system_prompt = "Read."
user_prompt_template = "{{date}} {{request}}"
`,
		"reader.test.yaml": `
now: 2020-02-29T12:00:00Z
rules:
  - {when: {tool_result: file_read}, reply: "{{result}}"}
  - {when: {tool_result: mail_search}, reply: "{{result}}"}
  - {when: {contains: mail}, tool_calls: [{name: mail_search, arguments: {q: x}}]}
  - {when: {contains: file}, tool_calls: [{name: file_read, arguments: {path: notes.txt}}]}
  - {reply: "{{message}}"}
tools: {mail_search: {returns: [{from: Ann}]}}
cases:
  - {name: clock, input: Hi, expect: {equals: 2020-02-29 Hi}}
  - {name: file, input: the file, expect: {contains: milk}}
  - {name: stub alone, input: mail, expect: {content: {path: '.[0].from', equals: Ann}}}
  - {name: inform, input: Hi, performative: inform, expect: {no_reply: true, max_model_calls: 0}}
  - {name: empty, input: "", expect: {performative: not-understood}}
  - {name: retried, input: Hi, chaos: {model_error: {kind: timeout, times: 2}}, expect: {contains: Hi}}
  - {name: given up, input: Hi, chaos: {model_error: {kind: unavailable, message: gone}}, expect: {error_code: test_chaos, performative: failure, content: {path: .error.details, equals: gone}}}
`,
	})
	r := rehearse(t, dir, bench(t, dir, node.BenchOptions{}))
	if r.Passed != 7 {
		t.Errorf("%d passed\n%s", r.Passed, lines(r))
	}
	if a := r.Results[5].Turns[0].Attempts; a != 3 {
		t.Errorf("the case that is retried took %d attempts, want 3", a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := bench(t, dir, node.BenchOptions{})
	suites, err := b.Load(t.Context(), filepath.Join(dir, "reader.test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Play(ctx, suites[0], &suites[0].Cases[0]); err == nil {
		t.Error("Play with a context that ended: no error")
	}
	if _, err := b.Play(t.Context(), &scenario.Suite{}, &scenario.Case{}); caxton.KindOf(err) != caxton.Internal {
		t.Errorf("Play of a suite that was not added: %v", err)
	}
}

// TestDocumentedExample runs the example of docs/agent-tests.md.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "agent-tests.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	dir := files(t, map[string]string{
		"greeter.md":        "---\nname: Greeter\ncapabilities: [greeting]\ntools: [calculator, clock]\n---\nGreet.\n",
		"greeter.test.yaml": example,
	})
	if r := rehearse(t, dir, bench(t, dir, node.BenchOptions{})); r.Passed != 3 || !r.OK() {
		t.Errorf("%d passed\n%s", r.Passed, lines(r))
	}
}

// TestWith holds that an agent under test can talk to others of the suite.
func TestWith(t *testing.T) {
	const asker = "---\nname: Asker\ncapabilities: [asking]\ntools: [send_message]\nsystem_prompt: Ask others.\n---\n"
	dir := files(t, map[string]string{
		"asker.md": asker, "adder.md": calculating,
		"asker.test.yaml": `
with: adder.md
rules:
  - {when: {tool_result: send_message}, reply: "They say: {{result}}"}
  - {when: {tool_result: calculator}, reply: "It is {{result}}."}
  - {when: {contains: how much}, tool_calls: [{name: send_message, arguments: {capability: adding, content: add them}}]}
  - {when: {contains: add them}, tool_calls: [{name: calculator, arguments: {expression: 1 + 2}}]}
cases:
  - name: asks another
    input: how much is it?
    expect: {contains: It is 3., tools: [{name: send_message, times: 1}], no_other_tools: true}
  - name: the other's tool is broken
    input: how much is it?
    chaos: {error: {tool: calculator, message: no batteries}}
    expect: {contains: It is no batteries.}
`,
		"lost.md": asker, "lost.test.yaml": "with: nobody.md\nmodel: builtin\ncases: [{name: one, input: x}]\n",
	})
	b := bench(t, dir, node.BenchOptions{})
	if _, err := b.Load(t.Context(), filepath.Join(dir, "lost.test.yaml")); caxton.KindOf(err) != caxton.Invalid || !strings.Contains(err.Error(), "lost.test.yaml:1:7: there is no agent file nobody.md") {
		t.Errorf("Load with an agent that is not there: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "lost.test.yaml")); err != nil {
		t.Fatal(err)
	}
	if r := rehearse(t, dir, bench(t, dir, node.BenchOptions{})); r.Passed != 2 {
		t.Errorf("%d passed\n%s", r.Passed, lines(r))
	}
}

func TestBenchDecidesApprovals(t *testing.T) {
	dir := files(t, map[string]string{
		"payer.md": "---\nname: Payer\ncapabilities: [paying]\ntools:\n  - name: calculator\n    approval: true\napproval: {need: 2, approvers: [ann, bob, cid]}\nsystem_prompt: Pay.\n---\n",
		"payer.test.yaml": `rules:
  - when: {tool_result: calculator}
    reply: "got {{result}}"
  - tool_calls: [{name: calculator, arguments: {expression: "1+1"}}]
approvals: approve
cases:
  - {name: approved, input: go, expect: {contains: "2", tools: [{name: calculator}]}}
  - {name: denied, approvals: deny, input: go, expect: {contains: "denied by", never_tools: [calculator]}}
`,
	})
	if r := rehearse(t, dir, bench(t, dir, node.BenchOptions{})); r.Passed != 2 {
		t.Errorf("%d passed:\n%s", r.Passed, lines(r))
	}
}
