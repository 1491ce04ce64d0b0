package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/caxton/caxton/internal/node"
	"github.com/caxton/caxton/internal/scenario"
	"github.com/caxton/caxton/internal/template"
	"github.com/spf13/cobra"
)

// validateFiles checks agent files, without a server.
func validateFiles(env *Env, files []string) error {
	type result struct {
		File     string      `json:"file"`
		Valid    bool        `json:"valid"`
		Errors   []api.Issue `json:"errors"`
		Warnings []api.Issue `json:"warnings"`
	}
	known := toolNames()
	all := []result{}
	bad := caxton.Errorf(caxton.Invalid, "agent_invalid", "")
	for _, f := range files {
		text, err := readAgent(env.path(f), f)
		if err != nil {
			return err
		}
		_, issues := agentfile.Parse(f, text, "", agentfile.Options{CheckTemplate: checkTemplate, Tool: known})
		r := result{File: f, Valid: true, Errors: []api.Issue{}, Warnings: []api.Issue{}}
		for _, i := range issues {
			if i.Warning {
				r.Warnings = append(r.Warnings, api.Issue(i))
				continue
			}
			r.Valid, r.Errors = false, append(r.Errors, api.Issue(i))
			bad.Issues = append(bad.Issues, i)
		}
		all = append(all, r)
	}
	err := env.Print(all, func(p *printer) {
		for _, r := range all {
			for _, w := range r.Warnings {
				p.line("%s", caxton.Issue(w).String())
			}
			if r.Valid {
				p.line("%s is valid", r.File)
			}
		}
	})
	if len(bad.Issues) > 0 {
		bad.Message = fmt.Sprintf("%d faults in agent files", len(bad.Issues))
		if len(bad.Issues) == 1 {
			bad.Message = "one fault in an agent file"
		}
		return bad
	}
	return err
}

func newAgentsValidate(env *Env) *cobra.Command {
	return plain(&cobra.Command{
		Use: "validate FILE...", Short: "Check agent files; needs no server",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errUsage("%s: FILE is missing", cmd.CommandPath()).WithHint("usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return validateFiles(env, args) },
	})
}

// agentFiles returns the agent files of a directory, sorted.
func agentFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, caxton.Errorf(caxton.NotFound, "agents_dir_unreadable", "the agents directory %s cannot be read", dir).
			WithHint("name another with --agents-dir").WithCause(err)
	}
	var files []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if agentFile(e, name) {
			files = append(files, name)
		}
	}
	return files, nil
}

// agentFile reports whether a directory entry is an agent file, as the server sees it.
func agentFile(e fs.DirEntry, name string) bool {
	base := strings.TrimSuffix(e.Name(), filepath.Ext(name))
	if e.IsDir() || agentfile.Companion(e.Name()) || strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "#") || strings.HasSuffix(e.Name(), "~") || strings.EqualFold(base, "readme") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".toml", ".json", ".yaml", ".yml":
		return true
	case ".md", ".markdown":
		text, err := os.ReadFile(name) //nolint:gosec // the user's own directory
		return err != nil || strings.HasPrefix(strings.TrimPrefix(string(text), "\ufeff"), "---")
	}
	return false
}

func newAgentsValidateAll(env *Env) *cobra.Command {
	var dir string
	c := plain(&cobra.Command{
		Use: "validate-all", Short: "Check every file of the agents directory; needs no server", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			files, err := env.filesOf(dir)
			if err != nil {
				return err
			}
			if len(files) == 0 {
				env.say("there are no agent files")
			}
			return validateFiles(env, files)
		},
	})
	c.Flags().StringVar(&dir, "agents-dir", "", "`directory` of agent files (default: the configured one)")
	return c
}

// filesOf returns the agent files of dir, or of the configured directory.
func (e *Env) filesOf(dir string) ([]string, error) {
	if dir != "" {
		return agentFiles(e.path(dir))
	}
	_, l, err := e.locate()
	if err != nil {
		return nil, err
	}
	return agentFiles(l.Agents)
}

func newAgentsSchema(env *Env) *cobra.Command {
	var tests bool
	c := plain(&cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of an agent file, or of its tests; needs no server", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			schema, err := agentfile.Schema(), error(nil)
			if tests {
				schema, err = scenario.Schema()
			}
			if err == nil {
				_, err = env.Stdout.Write(append(schema, '\n'))
			}
			return err
		},
	})
	c.Flags().BoolVar(&tests, "tests", false, "of a test file, for editors")
	return c
}

// checkTemplate and toolNames give the check of agent files what the server knows too.
func checkTemplate(text string) (line, column int, err error) { return template.Check(text) }

func toolNames() func(string) (bool, string) { return node.KnownTool }
