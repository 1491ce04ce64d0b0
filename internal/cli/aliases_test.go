package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/cli"
	"github.com/google/go-cmp/cmp"
)

// TestAliases walks the table: every spelling leads to its command, with the same arguments
// and flags, and every command that it names has that spelling and not another.
func TestAliases(t *testing.T) {
	t.Parallel()
	for spelling, canonical := range cli.Aliases() {
		want, ok := cli.Find(canonical)
		if !ok || want.Words != canonical {
			t.Errorf("%q is no canonical command", canonical)
			continue
		}
		if spelling == "" {
			code, _, stderr := run(t.Context(), t, nil, "--config", "none.yaml", "--port", "0")
			wantCode, _, wantErr := run(t.Context(), t, nil, "serve", "--config", "none.yaml", "--port", "0")
			if code != wantCode || code != 3 || !strings.Contains(stderr, "none.yaml") || !strings.Contains(wantErr, "none.yaml") {
				t.Errorf("without a verb: exit code %d (%s), as serve: %d (%s)", code, stderr, wantCode, wantErr)
			}
			continue
		}
		got, ok := cli.Find(spelling)
		if !ok {
			t.Errorf("caxton %s: there is no such command, want %s", spelling, canonical)
			continue
		}
		if got.Words != canonical && got.Of != canonical {
			t.Errorf("caxton %s leads to %s, want %s", spelling, got.Words, canonical)
		}
		if got.Arguments != want.Arguments {
			t.Errorf("caxton %s takes %q, %s takes %q", spelling, got.Arguments, canonical, want.Arguments)
		}
		if d := cmp.Diff(want.Flags, got.Flags); d != "" {
			t.Errorf("flags of %s and of %s (-/+):\n%s", canonical, spelling, d)
		}
		if code, out, stderr := run(t.Context(), t, nil, append(strings.Fields(spelling), "--help")...); code != 0 || out == "" {
			t.Errorf("caxton %s --help: exit code %d: %s", spelling, code, stderr)
		}
	}
}

// TestAliasesStandInTheTable holds that no command has another spelling of its own making.
func TestAliasesStandInTheTable(t *testing.T) {
	t.Parallel()
	table := cli.Aliases()
	for _, c := range cli.Commands() {
		if c.Of != "" && table[c.Words] != c.Of {
			t.Errorf("caxton %s is another spelling of %q: it belongs into the table in aliases.go", c.Words, c.Of)
		}
		parent := ""
		if i := strings.LastIndex(c.Words, " "); i >= 0 {
			parent = c.Words[:i+1]
		}
		for _, a := range c.Aliases {
			if table[parent+a] != c.Words {
				t.Errorf("caxton %s%s is another spelling of %q: it belongs into the table in aliases.go", parent, a, c.Words)
			}
		}
		if _, ok := table[c.Words]; ok && c.Words != "" && c.Of == "" {
			t.Errorf("caxton %s is a command and an alias", c.Words)
		}
	}
}

// TestSorts holds that the help of every command says whether it needs a server.
func TestSorts(t *testing.T) {
	t.Parallel()
	for _, c := range cli.Commands() {
		if c.Runs && strings.Contains(c.Help, "Needs no server.") != c.Plain || c.Runs && strings.Contains(c.Help, "Asks a server") == c.Plain {
			t.Errorf("help of caxton %s: %q", c.Words, c.Help)
		}
	}
}

// TestEveryCommandIsInAScript holds that the scripts run each command at least once.
func TestEveryCommandIsInAScript(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		script, _, _ := strings.Cut(string(text), "\n-- ")
		all.WriteString(script + "\n")
	}
	for _, c := range cli.Commands() {
		if !c.Runs || strings.HasPrefix(c.Words, "completion") {
			continue
		}
		words := `(?m)^(\[\w+\] )?(! )?(exec caxton|json|code \d+) ` + regexp.QuoteMeta(c.Words) + `( |$)`
		if !regexp.MustCompile(words).MatchString(all.String()) {
			t.Errorf("no script runs caxton %s", c.Words)
		}
	}
}
