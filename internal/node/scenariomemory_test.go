package node_test

import (
	"os"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/node"
)

const remindingTest = `now: 2026-03-01T10:00:00Z
memory:
  - {entity: Ann, type: person, fact: Ann lives in Porto., about: home}
rules:
  - when: {tool_result: memory_search}
    reply: "found: {{result}}"
  - when: {tool_result: memory_store}
    reply: "stored: {{result}}"
  - when: {contains: search}
    tool_calls: [{name: memory_search, arguments: {query: "{{message}}"}}]
  - when: {contains: store}
    tool_calls: [{name: memory_store, arguments: {entity: Ann, fact: Ann lives in Lisbon., about: home}}]
  - reply: "{{message}}"
cases:
  - name: is told what it remembers
    input: Where does Ann live?
    expect: {contains: "Ann (person): Ann lives in Porto."}
  - name: stores and searches
    turns:
      - input: store it
        expect: {contains: in place of}
      - input: search where Ann lives
        expect: {contains: Lisbon, not_contains: Porto}
  - name: begins anew
    memory: [{entity: Ben, fact: Ben eats no peanuts., scope: agent}]
    input: search what Ben eats and where Ann lives
    expect: {contains: [Porto, peanuts], not_contains: Lisbon}
`

// TestBenchWithMemory plays cases of an agent that remembers, each with a memory of its own.
func TestBenchWithMemory(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	agent := strings.Replace(rememberer("Friend", "scope: workspace"), "---\n", "---\nuser_prompt_template: \"{{request}} KNOWN {{memory_context}}\"\n", 1)
	dir := files(t, map[string]string{"friend.md": agent, "friend.test.yaml": remindingTest})
	if r := rehearse(t, dir, bench(t, t.TempDir(), node.BenchOptions{})); !r.OK() || r.Passed != 3 {
		t.Errorf("%d passed\n%s", r.Passed, lines(r))
	}
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if strings.HasPrefix(l.Name(), "caxton-test-") {
			t.Errorf("%s is left behind", l.Name())
		}
	}
}

// TestBenchMemoryFaults is about facts that an agent cannot remember.
func TestBenchMemoryFaults(t *testing.T) {
	for name, c := range map[string]struct{ agent, fact, want string }{
		"no memory":     {strings.Replace(rememberer("Friend"), "enabled: true", "enabled: false", 1), "{entity: Ann, fact: x}", "has no memory"},
		"another scope": {rememberer("Friend"), "{entity: Ann, fact: x, scope: global}", "does not share memory of the scope global"},
		"no fact":       {rememberer("Friend"), "{entity: Ann}", "fact"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := files(t, map[string]string{"friend.md": c.agent, "friend.test.yaml": "memory: [" + c.fact + "]\nrules: [{reply: x}]\ncases: [{name: a, input: b}]\n"})
			_, err := bench(t, t.TempDir(), node.BenchOptions{}).Load(t.Context(), dir+"/friend.test.yaml")
			e, ok := err.(*caxton.Error) //nolint:errorlint // it is returned as it is
			if !ok || len(e.Issues) != 1 || !strings.Contains(e.Issues[0].Message, c.want) || e.Issues[0].Line != 1 {
				t.Errorf("Load = %v, %+v, want one issue with %s", err, e, c.want)
			}
		})
	}
}
