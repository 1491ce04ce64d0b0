package cli_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caxton/caxton/internal/cli"
	"golang.org/x/sys/unix"
)

// pty returns both ends of a terminal.
func pty(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// read reads from a terminal up to a text.
func read(t *testing.T, r io.Reader, upTo string) string {
	t.Helper()
	var all strings.Builder
	b := make([]byte, 1)
	for !strings.HasSuffix(all.String(), upTo) {
		if _, err := r.Read(b); err != nil {
			t.Fatalf("read up to %q: %v after %q", upTo, err, all.String())
		}
		all.Write(b)
	}
	return all.String()
}

func TestColour(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		environ []string
		args    []string
		want    bool
	}{
		{"on a terminal", nil, []string{"statsu"}, true},
		{"with --no-color", nil, []string{"--no-color", "statsu"}, false},
		{"with NO_COLOR", []string{"NO_COLOR=1"}, []string{"statsu"}, false},
		{"on a dumb terminal", []string{"TERM=dumb"}, []string{"statsu"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			person, program := pty(t)
			env := &cli.Env{Stdout: io.Discard, Stderr: program, Environ: tt.environ, Dir: t.TempDir()}
			if code := cli.Main(t.Context(), env, tt.args); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if got := read(t, person, "caxton status?\r\n"); strings.Contains(got, "\x1b[") != tt.want || !strings.Contains(got, "error:") {
				t.Errorf("the terminal shows %q; want colours: %v", got, tt.want)
			}
		})
	}
	if _, _, stderr := run(t.Context(), t, nil, "statsu"); strings.Contains(stderr, "\x1b") {
		t.Errorf("colours off a terminal: %q", stderr)
	}
}

// TestTerminalIsSafe holds that what agents say cannot steer a terminal.
func TestTerminalIsSafe(t *testing.T) {
	t.Parallel()
	person, program := pty(t)
	url := server(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"text":"two\nlines \u001b]0;title\u0007 end"}`)
	})
	env := &cli.Env{Stdout: program, Stderr: io.Discard, Dir: t.TempDir()}
	if code := cli.Main(t.Context(), env, []string{"tools", "run", "clock", "--server", url}); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if got := read(t, person, "end\r\n"); strings.ContainsAny(got, "\x1b\x07") || !strings.HasPrefix(got, "two\r\nlines ") {
		t.Errorf("the terminal got %q", got)
	}
	_, out, _ := run(t.Context(), t, nil, "tools", "run", "clock", "--server", url)
	if !strings.Contains(out, "\x1b]0;title\x07") {
		t.Errorf("a pipe got %q, want it unchanged", out)
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, answer string
		code         int
		removed      bool
	}{
		{"yes", "y\n", 0, true},
		{"no", "n\n", 130, false},
		{"more than a word", "yes please\n", 130, false},
		{"nothing", "\n", 130, false},
		{"interrupted", "", 130, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			person, program := pty(t)
			var removed atomic.Bool
			url := server(t, func(_ http.ResponseWriter, r *http.Request) { removed.Store(r.Method == http.MethodDelete) })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				b := make([]byte, 100)
				for all := ""; !strings.HasSuffix(all, "[y/N] "); {
					n, err := person.Read(b)
					if err != nil {
						return
					}
					all += string(b[:n])
				}
				if tt.answer == "" {
					cancel()
				}
				_, _ = io.WriteString(person, tt.answer)
			}()
			env := &cli.Env{Stdin: program, Stdout: io.Discard, Stderr: program, Dir: t.TempDir()}
			if code := cli.Main(ctx, env, []string{"agents", "remove", "helper", "--server", url}); code != tt.code || removed.Load() != tt.removed {
				t.Errorf("exit code %d, removed %v; want %d, %v", code, removed.Load(), tt.code, tt.removed)
			}
		})
	}
}

func TestProgressOfTests(t *testing.T) {
	person, program := pty(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"greeter.md":        "---\nname: Greeter\ncapabilities: [greeting]\nsystem_prompt: Greet.\n---\n",
		"greeter.test.yaml": "model: builtin\ncases: [{name: one, input: Hi}, {name: two, input: Hi, expect: {equals: x}}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := &cli.Env{Stdout: io.Discard, Stderr: program, Dir: dir}
	if code := cli.Main(t.Context(), env, []string{"agents", "test", "greeter.md", "--parallel", "1"}); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	const erase = "\r\x1b[K"
	if got, want := read(t, person, "greeter/two"+erase), erase+"1 done, 0 not passed: greeter/one"+erase+"2 done, 1 not passed: greeter/two"+erase; got != want {
		t.Errorf("the terminal shows %q, want %q", got, want)
	}
}
