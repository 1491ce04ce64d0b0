package wasm_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

// TestGoGuests runs the examples that are written in Go: under the limits that an agent has
// when it asks for nothing.
func TestGoGuests(t *testing.T) {
	b := newBench(t, wasm.Config{CacheDir: t.TempDir()})
	t.Run("command", func(t *testing.T) {
		a := b.agent(t, goGuest(t, "command"), wasm.Options{})
		if got := say(t, a, "m1", "two words\nand three more"); got != `{"lines":2,"words":5}` {
			t.Errorf("the answer is %s", got)
		}
		t.Logf("%+v", b.last())
		first := b.last().Instructions
		say(t, a, "m1", "two words\nand three more")
		if again := b.last().Instructions; again != first {
			t.Errorf("the same message took %d instructions, then %d", first, again)
		}
	})
	t.Run("reactor", func(t *testing.T) {
		tools := []string{"send_message", "memory_store", "memory_search", "calculator"}
		v := version(tools...)
		grants := append(wasm.GrantsOf(&v.Definition), wasm.Waking)
		a := b.agent(t, goGuest(t, "reactor"), wasm.Options{Grants: grants}, tools...)
		tests := []struct{ text, want, call string }{
			{"hello", `"hello"`, ""},
			{"count", `1`, ""},
			{"count", `2`, ""},
			{"remember tea is hot", `{"tool":"memory_store"}`, `memory_store {"entity":"ann","fact":"tea is hot"}`},
			{"recall tea", `{"tool":"memory_search"}`, `memory_search {"query":"tea"}`},
			{`tool calculator {"expression":"1+1"}`, `{"tool":"calculator"}`, `calculator {"expression":"1+1"}`},
			{"ask bob why", `[{"agent":"bob","performative":"inform","content":"yes","no_answer":""}]`, `send_message {"to":"bob","content":"why","performative":"request","wait":true}`},
			{"note this", `"noted"`, ""},
			{"greeting", `"hello"`, ""},
		}
		for i, tt := range tests {
			b.calls.made = nil
			if got := say(t, a, fmt.Sprint("r", i), tt.text); got != tt.want {
				t.Errorf("%s: the answer is %s, want %s", tt.text, got, tt.want)
			}
			if got := strings.Join(b.calls.made, "; "); got != tt.call {
				t.Errorf("%s: the calls are %q, want %q", tt.text, got, tt.call)
			}
		}
		if a.Idle() != 1 {
			t.Errorf("%d instances are idle, want 1", a.Idle())
		}
		if !strings.Contains(b.logged(), "noted: this") {
			t.Errorf("the log has no line of the guest:\n%s", b.logged())
		}
		t.Logf("%+v", b.last())
	})
	t.Run("out of memory", func(t *testing.T) {
		a := b.agent(t, goGuest(t, "command"), wasm.Options{Limits: wasm.Limits{Memory: 3 * caxton.MiB, MessageSize: 2 * caxton.MiB}})
		words, _ := json.Marshal(strings.Repeat("word ", 100_000))
		in := message("m1", "")
		in.Message.Content = words
		if _, err := a.Handle(t.Context(), in); codeOf(err) != "wasm_memory" {
			t.Errorf("Handle: %v, want wasm_memory", err)
		}
	})
}
