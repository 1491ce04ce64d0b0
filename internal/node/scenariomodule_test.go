package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/node"
)

// TestModulesUnderTest: the tests of an agent play modules too, alone and with config agents;
// their tool calls can be expected like those of a model (this one's arguments are wrong).
func TestModulesUnderTest(t *testing.T) {
	dir := files(t, map[string]string{
		"parrot.md":        "---\nname: Parrot\nmodule: echo.wasm\n---\n",
		"parrot.test.yaml": "model: builtin\ncases:\n  - {name: says it again, input: hello, expect: {equals: hello}}\n  - name: twice\n    turns: [{input: one, expect: {equals: one}}, {input: two, expect: {equals: two}}]\n",
		"caller.md":        "---\nname: Caller\nmodule: caller.wasm\ntools: [calculator]\n---\n",
		"caller.test.yaml": "model: builtin\ncases:\n  - name: calls\n    input: x\n    expect: {contains: '-1', tools: [calculator], max_model_calls: 0}\n  - {name: fails, input: x, expect: {equals: \"9\"}}\n",
	})
	for _, name := range []string{"echo", "caller"} {
		if err := os.WriteFile(filepath.Join(dir, name+".wasm"), guestModule(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := rehearse(t, dir, bench(t, dir, node.BenchOptions{}))
	if r.Passed != 3 || r.Failed != 1 || !strings.Contains(lines(r), "fails: failed") {
		t.Errorf("%d passed, %d failed\n%s", r.Passed, r.Failed, lines(r))
	}
	if err := os.Remove(filepath.Join(dir, "echo.wasm")); err != nil {
		t.Fatal(err)
	}
	if _, err := bench(t, dir, node.BenchOptions{}).Load(t.Context(), filepath.Join(dir, "parrot.test.yaml")); caxton.KindOf(err) != caxton.NotFound || !strings.Contains(err.Error(), "echo.wasm") {
		t.Errorf("without its module: %v, want NotFound", err)
	}
}
