package wasm_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/caxton/caxton/internal/wasm"
)

// TestExamples runs the examples in other languages than Go: those in C as they are checked
// in, the others when somebody has built them.
func TestExamples(t *testing.T) {
	t.Parallel()
	tests := []struct {
		path     string
		contract wasm.Contract
		want     string
	}{
		{"c/command.wasm", wasm.Command, `^"your message has \d+ bytes"$`},
		{"c/reactor.wasm", wasm.Reactor, `^1$`},
		{"rust/command.wasm", wasm.Command, `^"your message has \d+ characters"$`},
		{"rust/reactor.wasm", wasm.Reactor, `^[1-6]$`},
		{"assemblyscript/reactor.wasm", wasm.Reactor, `^"your message has \d+ bytes"$`},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			module, err := os.ReadFile(filepath.Join("..", "..", "examples", "wasm", filepath.FromSlash(tt.path)))
			if errors.Is(err, fs.ErrNotExist) && tt.path[0] != 'c' {
				t.Skip("build it with the build.sh beside it")
			}
			if err != nil {
				t.Fatal(err)
			}
			b := newBench(t, wasm.Config{})
			a := b.agent(t, module, wasm.Options{})
			if a.Contract() != tt.contract {
				t.Errorf("Contract = %q, want %q", a.Contract(), tt.contract)
			}
			if got := say(t, a, "m1", "good day"); !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("the answer is %s, want %s", got, tt.want)
			}
			t.Logf("%+v", b.last())
		})
	}
}

// TestExampleMigration has the second C reactor go on with what the first one has counted.
func TestExampleMigration(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	all := map[int]*wasm.Agent{}
	for number, name := range map[int]string{1: "reactor", 2: "reactor2", 3: "reactor2"} {
		module, err := os.ReadFile(filepath.Join("..", "..", "examples", "wasm", "c", name+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		v := version()
		v.Number = number
		if all[number], err = b.rt.Agent(t.Context(), v, module, wasm.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"1", "2", "3"} {
		if got := say(t, all[1], "m1"+want, "good day"); got != want {
			t.Errorf("message %d is counted %s, want %s", i+1, got, want)
		}
	}
	for to := 2; to <= 3; to++ {
		if err := all[to].MigrateState(t.Context(), to-1, to); err != nil {
			t.Fatal(err)
		}
	}
	for version, want := range map[int]string{1: "count=3", 2: "count/asked=3 form=2", 3: "count/asked=3 form=2"} {
		if got := b.state.all(version); got != want {
			t.Errorf("version %d keeps %q, want %q", version, got, want)
		}
	}
	if got := say(t, all[2], "m2", "good day"); got != "4" {
		t.Errorf("version 2 goes on with %s", got)
	}
	if got := say(t, all[3], "m3", "good day"); got != "5" {
		t.Errorf("version 3 goes on with %s: it has nothing to change", got)
	}
	b.state.set(agentID, 3, []wasm.Change{{Key: "form", Value: []byte("3")}})
	if err := all[2].MigrateState(t.Context(), 3, 2); codeOf(err) != "wasm_migration" {
		t.Errorf("a form that is newer than the module: %v", err)
	}
}
