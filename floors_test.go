package caxton_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors lists every package of the module by the floor it stands on. A package may import
// packages of lower floors only, never a neighbour. Floor 0.5 carries what the libraries of
// floor 1 share and what knows no noun of ours but Issue.
func floors() map[string]float64 {
	return map[string]float64{
		"": 0,

		"internal/tree": 0.5,

		"api":                          1,
		"internal/agentfile":           1,
		"internal/config":              1,
		"internal/datadir":             1,
		"internal/egress":              1,
		"internal/embedding/bert":      1,
		"internal/embedding/wordpiece": 1,
		"internal/event":               1,
		"internal/llm":                 1,
		"internal/memory":              1,
		"internal/protocol":            1,
		"internal/sqlitefile":          1,
		"internal/telemetry":           1,
		"internal/template":            1,
		"internal/tool":                1,
		"internal/transcript":          1,
		"internal/vector":              1,
		"internal/wasm/meter":          1,

		"internal/embedding/bert/gen": 1.5,
		"internal/embedding/hub":      1.5,
		"internal/embedding/minilm":   1.5,
		"internal/memory/exchange":    1.5,

		"internal/agent":                     2,
		"internal/agentdir":                  2,
		"internal/cluster":                   2,
		"internal/deploy":                    2,
		"internal/embedding":                 2,
		"internal/embedding/bert/embedbench": 2,
		"internal/httpd":                     2,
		"internal/llm/anthropic":             2,
		"internal/llm/builtin":               2,
		"internal/llm/openai":                2,
		"internal/llm/scripted":              2,
		"internal/mcp":                       2,
		"internal/memdb":                     2,
		"internal/memjournal":                2,
		"internal/memory/engine":             2,
		"internal/module":                    2,
		"internal/prompt":                    2,
		"internal/recall":                    2,
		"internal/registry":                  2,
		"internal/router":                    2,
		"internal/scenario":                  2,
		"internal/schedule":                  2,
		"internal/sqlite":                    2,
		"internal/tool/builtin":              2,
		"internal/tool/messaging":            2,
		"internal/tool/remembering":          2,
		"internal/wasm":                      2,
		"internal/webhook":                   2,

		"internal/mcp/conformance": 3,
		"internal/node":            3,

		"internal/cli": 4,

		"cmd/caxton": 5,
	}
}

const module = "github.com/caxton/caxton"

// TestFloors parses the imports of every package and holds them to the floors. It reads the
// files itself, so that the test cache notices when one changes.
func TestFloors(t *testing.T) {
	known := floors()
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if name := e.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "data") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); path != "." && err == nil {
				return filepath.SkipDir // a module of its own: bench
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if pkg == "." {
			pkg = ""
		}
		test := strings.HasSuffix(path, "_test.go")
		helper := strings.HasSuffix(pkg, "test")
		floor, ok := known[pkg]
		if !ok && !helper && !test {
			t.Errorf("%s: package %q stands on no floor; add it to floors()", path, pkg)
			return nil
		}
		seen[pkg] = true
		if test {
			return nil // tests may look anywhere
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if pkg == "" && strings.Contains(imported, ".") {
				t.Errorf("%s: the vocabulary imports %s; it may import the standard library only", path, imported)
			}
			if imported != module && !strings.HasPrefix(imported, module+"/") {
				continue
			}
			imported = strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
			if strings.HasSuffix(imported, "test") && !helper {
				t.Errorf("%s: imports %s, which is for tests", path, imported)
			}
			if below, ok := known[imported]; !helper && ok && below >= floor {
				t.Errorf("%s: floor %v imports %s on floor %v; imports point down only", path, floor, imported, below)
			}
			if imported == "internal/config" && pkg != "internal/node" && pkg != "internal/cli" {
				t.Errorf("%s: only node and cli import config", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range known {
		if !seen[pkg] {
			t.Errorf("floors() lists %q, which is not there", pkg)
		}
	}
}
