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
