package agent_test

import (
	"maps"
	"testing"
	"testing/synctest"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
)

// TestHandlersAreClosed: a handler that holds something is closed when it was only tried,
// when its agent restarts, when too many newer ones came, when its agent is removed, and at
// the end; and not before.
func TestHandlersAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		h.opened = map[int]int{}
		defer h.stop()
		open := func(when string, want map[int]int) {
			t.Helper()
			synctest.Wait()
			h.mu.Lock()
			got := maps.Clone(h.opened)
			h.mu.Unlock()
			maps.DeleteFunc(got, func(_, n int) bool { return n == 0 })
			if !maps.Equal(got, want) {
				t.Errorf("%s: open %v, want %v", when, got, want)
			}
		}
		if err := h.sup.Try(t.Context(), caxton.AgentVersion{AgentID: "a1", Number: 1}); err != nil {
			t.Fatal(err)
		}
		open("tried", map[int]int{})
		h.deploy(1)
		h.answer(h.send("x"))
		open("running", map[int]int{1: 1})
		if err := h.sup.Restart(t.Context(), "a1"); err != nil {
			t.Fatal(err)
		}
		open("restarted", map[int]int{1: 1})
		for n := 2; n <= 9; n++ {
			h.deploy(n)
			if err := h.sup.Ready(t.Context(), "a1", n); err != nil {
				t.Fatal(err)
			}
		}
		open("the ninth version", map[int]int{2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1})
		h.sup.AgentRemoved("a1")
		open("removed", map[int]int{})
		h.deploy(1)
		h.answer(h.send("y"))
		h.stop()
		open("at the end", map[int]int{})
	})
}
