package node_test

import (
	"strings"
	"testing"

	"github.com/caxton/caxton/api"
)

// TestModulesAskWithOneSlot holds that a module which asks another gets its answer where only
// one may run at a time: of modules, and of all agents.
func TestModulesAskWithOneSlot(t *testing.T) {
	for _, setting := range []string{"wasm.max_concurrent_executions", "agents.max_concurrent_executions"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			c, _, _ := run(t, t.TempDir(), setting, "1")
			for _, a := range []struct{ text, module string }{
				{"---\nname: Answerer\ntype: wasm\n---\n", "echo"},
				{"---\nname: Asker\ntype: wasm\ntools: [send_message]\n---\n", "asker"},
			} {
				if _, err := c.Deploy(t.Context(), api.Deploy{Text: []byte(a.text), Module: guestModule(t, a.module)}); err != nil {
					t.Fatal(err)
				}
			}
			if got := said(t, c, "asker", "hi"); !strings.Contains(got, `"performative":"inform","content":"why"`) {
				t.Errorf("the answer is %s", got)
			}
		})
	}
}
