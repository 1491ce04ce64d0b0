package cli

import (
	"cmp"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/config"
	"github.com/spf13/cobra"
)

func newValidate(env *Env) *cobra.Command {
	return plain(&cobra.Command{
		Use: "validate", Short: "Check the configuration file; needs no server", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			loaded, err := env.configured()
			if err != nil {
				return err
			}
			for _, w := range loaded.Warnings {
				env.say("%s", w.String())
			}
			inert := loaded.Inert()
			if len(inert) > 0 {
				env.say("without effect in this version: %s", strings.Join(inert, ", "))
			}
			out := validity{File: loaded.Path, Valid: true, Warnings: api.IssuesFrom(loaded.Warnings), Inert: append([]string{}, inert...)}
			return env.Print(out, func(p *printer) {
				p.line("%s is valid", cmp.Or(out.File, "the configuration (there is no file, the defaults hold)"))
			})
		},
	})
}

// validity is the result of a check of the configuration.
type validity struct {
	File     string      `json:"file"` // "" when there is none
	Valid    bool        `json:"valid"`
	Warnings []api.Issue `json:"warnings"`
	Inert    []string    `json:"inert"`
}

func newConfig(env *Env) *cobra.Command {
	var effective, origins bool
	show := plain(&cobra.Command{
		Use: "show", Short: "Print the configuration; needs no server", Args: exactly(),
		Long: "Prints what is set. With --effective also the defaults, with --origins where each value came from.",
		RunE: func(*cobra.Command, []string) error {
			loaded, err := env.configured()
			if err != nil {
				return err
			}
			out := api.Settings{Items: []api.Setting{}, Inert: append([]string{}, loaded.Inert()...)}
			for _, s := range loaded.Effective() {
				if effective || s.Origin != "default" {
					out.Items = append(out.Items, api.Setting{Key: s.Key, Value: s.Value, Origin: s.Origin})
				}
			}
			return env.Print(out, func(p *printer) {
				for _, s := range out.Items {
					if origins {
						p.row(s.Key, s.Value, s.Origin)
					} else {
						p.row(s.Key, s.Value)
					}
				}
			})
		},
	})
	show.Flags().BoolVar(&effective, "effective", false, "also what is not set: the defaults")
	show.Flags().BoolVar(&origins, "origins", false, "also where each value came from")
	var dir string
	verify := plain(&cobra.Command{
		Use: "verify", Short: "Check the configuration and all agent files; needs no server", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			loaded, err := env.configured()
			if err != nil {
				return err
			}
			for _, w := range loaded.Warnings {
				env.say("%s", w.String())
			}
			files, err := env.filesOf(dir)
			if err != nil {
				return err
			}
			return validateFiles(env, files)
		},
	})
	verify.Flags().StringVar(&dir, "agents-dir", "", "`directory` of agent files (default: the configured one)")
	get := plain(&cobra.Command{
		Use: "get KEY", Short: "Print one value of the configuration; needs no server", Args: exactly("KEY"),
		RunE: func(_ *cobra.Command, args []string) error {
			loaded, err := env.configured()
			if err != nil {
				return err
			}
			for _, s := range loaded.Effective() {
				if s.Key == args[0] {
					return env.Print(api.Setting{Key: s.Key, Value: s.Value, Origin: s.Origin}, func(p *printer) { p.line("%s", s.Value) })
				}
			}
			return caxton.Errorf(caxton.NotFound, "config_key_unknown", "there is no key %q", args[0]).WithHint("caxton config show --effective lists all")
		},
	})
	schema := plain(&cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the configuration; needs no server", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := env.Stdout.Write(append(config.Schema(), '\n'))
			return err
		},
	})
	return group("config", "Look at the configuration and check it", show, verify, get, schema)
}
