package agentfile_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentfile"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

// options are the checks of a server with three tools. Its template language knows one
// fault, the word {{bad}}.
func options() agentfile.Options {
	return agentfile.Options{
		CheckTemplate: func(text string) (line, column int, err error) {
			i := strings.Index(text, "{{bad}}")
			if i < 0 {
				return 0, 0, nil
			}
			before := text[:i]
			return strings.Count(before, "\n") + 1, i - strings.LastIndexByte(before, '\n'),
				caxton.Errorf(caxton.Invalid, "template_invalid", "{{bad}} is not known").WithHint("remove it")
		},
		Tool: func(name string) (known bool, nearest string) {
			switch name {
			case "http_client", "csv_parser", "file_read":
				return true, ""
			case "cvs_parser":
				return false, "csv_parser"
			case "http_clinet":
				return false, "http_client"
			}
			return false, ""
		},
	}
}

func issueLines(issues []caxton.Issue) string {
	var b strings.Builder
	for _, i := range issues {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

// archives reads txtar files whose first part is an agent file, and compares their other parts
// with what check makes of it.
func archives(t *testing.T, pattern string, check func(t *testing.T, f txtar.File) map[string]string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("Glob(%q) = %d files, %v", pattern, len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := check(t, a.Files[0])
			for i, f := range a.Files[1:] {
				if *update {
					a.Files[i+1].Data = []byte(got[f.Name])
					continue
				}
				if diff := cmp.Diff(string(f.Data), got[f.Name]); diff != "" {
					t.Errorf("%s: %s differs (-want +got):\n%s", path, f.Name, diff)
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func path(f txtar.File) string {
	if f.Name == "body" { // of a request: there is no file
		return ""
	}
	return f.Name
}

// TestParseBad holds the exact words and places of what is said about faulty files.
func TestParseBad(t *testing.T) {
	archives(t, "testdata/bad/*.txtar", func(t *testing.T, f txtar.File) map[string]string {
		t.Helper()
		_, issues := agentfile.Parse(path(f), f.Data, "", options())
		if err := agentfile.Err(path(f), issues); err == nil || err.Kind != caxton.Invalid || err.Code != "agent_invalid" {
			t.Errorf("Err = %v, want Invalid, agent_invalid", err)
		}
		lines := strings.Count(string(f.Data), "\n") + 1
		for _, i := range issues {
			if i.Line < 1 || i.Line > lines || i.Column < 1 || i.Path != f.Name {
				t.Errorf("issue %+v is outside of the file", i)
			}
			if !i.Warning && i.Message == "" {
				t.Errorf("issue %+v says nothing", i)
			}
		}
		return map[string]string{"issues": issueLines(issues)}
	})
}

// TestParseGood holds what good files mean, and that printing keeps it.
func TestParseGood(t *testing.T) {
	archives(t, "testdata/good/*.txtar", func(t *testing.T, f txtar.File) map[string]string {
		t.Helper()
		def, issues := agentfile.Parse(path(f), f.Data, "", options())
		if err := agentfile.Err(path(f), issues); err != nil {
			t.Errorf("Err = %v, want nil", err)
		}
		printed := agentfile.Markdown(def)
		again, issues2 := agentfile.Parse("printed.md", printed, "", agentfile.Options{})
		if err := agentfile.Err("printed.md", issues2); err != nil {
			t.Errorf("printed definition: %v\n%s", err, printed)
		}
		if diff := cmp.Diff(def, again, compareDefinitions()); diff != "" {
			t.Errorf("Parse(Markdown(def)) differs (-def +again):\n%s\n%s", diff, printed)
		}
		b, err := json.MarshalIndent(def, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"issues": issueLines(issues), "definition.json": string(b) + "\n"}
	})
}

// compareDefinitions compares definitions by what they mean.
func compareDefinitions() cmp.Option {
	return cmp.Comparer(func(a, b caxton.Capability) bool { return a == b })
}

// TestParseSeedSamples parses the samples of the documents where they are at hand.
func TestParseSeedSamples(t *testing.T) {
	paths, err := filepath.Glob("../../../shared/spec/samples/agents/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skip("the samples are not beside the repository")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, issues := agentfile.Parse(filepath.Base(path), data, "", agentfile.Options{Fragment: true})
			if err := agentfile.Err(path, issues); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseOddFiles(t *testing.T) {
	const front = "---\nname: Botanist\ncapabilities: [plant-care]\n---\n"
	tests := []struct {
		name, text, format string
		prompt             string // wanted
		issue              string // wanted, the first
	}{
		{"carriage returns", strings.ReplaceAll(front+"One.\nTwo.\n", "\n", "\r\n"), "", "One.\nTwo.", ""},
		{"byte order mark", "\ufeff" + front + "One.", "", "One.", ""},
		{"empty lines first", "\n \n" + front + "One.", "", "One.", ""},
		{"spaces after the fences", strings.ReplaceAll(front, "---", "---  ") + "One.", "", "One.", ""},
		{"rules in the body", front + "One.\n\n---\n\nTwo.\n---\n", "", "One.\n\n---\n\nTwo.\n---", ""},
		{"indented rule in a block", "---\nname: Botanist\ncapabilities: [plant-care]\nsystem_prompt: |\n  One.\n  ---\n  Two.\n---\n", "", "One.\n---\nTwo.", ""},
		{"indented body", front + "\n\n    code\n", "", "    code", ""},
		{"prompt over body", "---\nname: Botanist\ncapabilities: [plant-care]\nsystem_prompt: One.\n---\nTwo.\n", "", "One.", ""},
		{"prompt in TOML with carriage returns", "name = 'B'\r\ncapabilities = ['c']\r\nsystem_prompt = '''\r\nOne.\r\nTwo.\r\n'''\r\n", "toml", "One.\nTwo.", ""},
		{"NUL in the body", front + "On\x00e", "", "", "agent.md:5:3: contains a NUL character (save the file as UTF-8 text)"},
		{"bad UTF-8 in the body", front + "On\xffe", "", "", "agent.md:5:3: not valid UTF-8 (save the file as UTF-8)"},
		{"too large", front + strings.Repeat("a", agentfile.MaxSize), "", "", "agent.md:1:1: the file has 1048626 bytes; an agent file may have 1MiB (move documentation to another file)"},
		{"nothing", "", "", "", "agent.md:1:1: the file is empty (begin it with --- and the agent's name and capabilities)"},
		{"unknown format", front, "xml", "", `agent.md:1:1: "xml" is not a format (use yaml, toml or json)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			def, issues := agentfile.Parse("agent.md", []byte(tt.text), tt.format, agentfile.Options{})
			got := ""
			if len(issues) > 0 {
				got = issues[0].String()
			}
			if got != tt.issue {
				t.Errorf("Parse: issue %q, want %q", got, tt.issue)
			}
			if def.SystemPrompt != tt.prompt {
				t.Errorf("Parse: prompt %q, want %q", def.SystemPrompt, tt.prompt)
			}
		})
	}
}

func TestParseFragment(t *testing.T) {
	const text = "resource_limits: {max_fuel: 7}\n"
	def, issues := agentfile.Parse("part.yaml", []byte(text), "", agentfile.Options{Fragment: true})
	if len(issues) > 0 || def.Limits.MaxFuel != 7 {
		t.Errorf("Parse(fragment) = fuel %d, %v; want 7 and no issue", def.Limits.MaxFuel, issues)
	}
	if _, issues = agentfile.Parse("part.yaml", []byte("nmae: x\n"), "", agentfile.Options{Fragment: true}); len(issues) != 1 {
		t.Errorf("Parse(fragment with a slip) = %v, want one issue", issues)
	}
	if _, issues = agentfile.Parse("part.yaml", []byte(text), "", agentfile.Options{}); len(issues) != 3 {
		t.Errorf("Parse(fragment as a whole) = %v, want three issues", issues)
	}
}

func TestFormat(t *testing.T) {
	tests := []struct{ path, text, want string }{
		{"a.md", "", "markdown"},
		{"a.Markdown", "", "markdown"},
		{"a.toml", "", "toml"},
		{"a.json", "", "json"},
		{"a.yml", "", "yaml"},
		{"", "\ufeff {", "json"},
		{"", "\n---\nname: x\n---\n", "markdown"},
		{"", "# comment\nname = 'x'\n", "toml"},
		{"", "[memory]\n", "toml"},
		{"", "name: x\n", "yaml"},
		{"", "tools:\n", "yaml"},
		{"", "Hello, world.", "markdown"},
		{"", "", "markdown"},
	}
	for _, tt := range tests {
		if got := agentfile.Format(tt.path, []byte(tt.text)); got != tt.want {
			t.Errorf("Format(%q, %q) = %q, want %q", tt.path, tt.text, got, tt.want)
		}
	}
}

func TestErrOnlyWarnings(t *testing.T) {
	if err := agentfile.Err("a.md", []caxton.Issue{{Message: "no effect", Warning: true}}); err != nil {
		t.Errorf("Err(warnings) = %v, want nil", err)
	}
	err := agentfile.Err("", []caxton.Issue{{Message: "a"}, {Message: "w", Warning: true}, {Message: "b"}})
	if err == nil || err.Message != "the agent definition has 2 faults" || len(err.Issues) != 2 {
		t.Errorf("Err = %+v, want two faults", err)
	}
}
