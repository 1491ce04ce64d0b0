package agentfile_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/caxton/caxton/internal/agentfile"
)

// FuzzParse holds for any text in any format that Parse comes back, that its issues are
// inside of the text, and that what it accepts survives being printed.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.txtar", "testdata/good/*.txtar"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			a, err := txtar.ParseFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(a.Files[0].Data, agentfile.Format(a.Files[0].Name, a.Files[0].Data))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, format string) {
		def, issues := agentfile.Parse("f", data, format, options())
		lines := strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
		for _, i := range issues {
			if i.Line < 1 || i.Line > len(lines) || i.Column < 1 || i.Column > len(lines[i.Line-1])+1 {
				t.Errorf("issue %+v is outside of the text", i)
			}
		}
		if agentfile.Err("f", issues) != nil {
			return
		}
		printed := agentfile.Markdown(def)
		again, issues := agentfile.Parse("printed", printed, agentfile.MarkdownFormat, agentfile.Options{})
		if err := agentfile.Err("printed", issues); err != nil {
			if len(printed) > agentfile.MaxSize {
				t.Skip("quoting made it too large")
			}
			t.Fatalf("Parse(Markdown(def)): %v\n%s", err, printed)
		}
		if diff := cmp.Diff(def, again, compareDefinitions(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("Parse(Markdown(def)) differs (-def +again):\n%s\n%s", diff, printed)
		}
	})
}
