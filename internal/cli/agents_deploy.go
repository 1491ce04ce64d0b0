package cli

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newAgentsDeploy(env *Env) *cobra.Command {
	var d api.Deploy
	var hot, dry bool
	var name string
	var w wasmFlags
	c := &cobra.Command{
		Use: "deploy FILE", Short: "Deploy an agent from a file or a WebAssembly module, or a new version of it", Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := args[0]
			plan, err := rolloutPlan(cmd, d.Rollout)
			if err != nil {
				return err
			}
			d.Rollout, d.Name, d.ValidateOnly = plan, name, dry
			if err := w.read(env, cmd, file, &d); err != nil {
				return err
			}
			if len(d.Module) > slowModule && !dry {
				env.say("sending %s; the server compiles it before it takes its first message", size(int64(len(d.Module))))
			}
			out, err := env.Client().Deploy(cmd.Context(), d)
			if err != nil {
				return inFile(err, file)
			}
			for _, w := range out.Warnings {
				w.Path = file
				env.say("%s", caxton.Issue(w).String())
			}
			return env.Print(out, func(p *printer) { printDeployment(p, out) })
		},
	}
	c.Flags().BoolVar(&hot, "hot-reload", false, "replace without downtime if it exists (so it always is)")
	c.Flags().StringVarP(&name, "name", "n", "", "file `name` to remember for the agent; of a module the agent's own name")
	c.Flags().StringVar(&d.Author, "author", "", "`who` deploys, for the list of versions")
	c.Flags().BoolVar(&dry, "dry-run", false, "check everything, change nothing")
	c.Flags().BoolVar(&dry, "validate-only", false, "the same as --dry-run")
	c.Flags().BoolVar(&d.MoveConversations, "move-conversations", false, "running conversations move to the new version too")
	rolloutFlags(c, &d.Rollout)
	w.add(c)
	return c
}

func printDeployment(p *printer, d api.Deployment) {
	defer printModule(p, d.Module)
	switch d.Status {
	case "unchanged":
		p.line("%s is unchanged at version %d", d.Slug, d.Version)
	case "validated":
		p.line("%s is valid", d.Slug)
	case "rolling_out":
		p.line("%s: version %d is being rolled out (%.1f ms)", d.Slug, d.Rollout.ToVersion, d.Millis)
		p.line("%s", rolloutLine(d.Rollout, time.Now()))
		p.line("caxton agents rollout %s --follow shows how it goes", d.Slug)
	case "deployed":
		p.line("%s deployed, version %d (%.1f ms)", d.Slug, d.Version, d.Millis)
	default:
		p.line("%s %s, version %d to %d (%.1f ms)", d.Slug, strings.ReplaceAll(d.Status, "_", " "), d.FromVersion, d.Version, d.Millis)
	}
}

func readAgent(path, shown string) ([]byte, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if err != nil {
		kind, what := caxton.NotFound, "there is no file"
		if _, serr := os.Stat(path); serr == nil {
			kind, what = caxton.Forbidden, "cannot read"
		}
		return nil, caxton.Errorf(kind, "file_unreadable", "%s %s", what, shown).WithCause(err)
	}
	return text, nil
}

// inFile gives the issues of a definition the name of the file they are in.
func inFile(err error, file string) error {
	e, ok := err.(*caxton.Error) //nolint:errorlint // the client returns it as it is
	if !ok {
		return err
	}
	c := *e
	c.Issues = slices.Clone(e.Issues)
	for i := range c.Issues {
		if c.Issues[i].Path == "" {
			c.Issues[i].Path = file
		}
	}
	return &c
}

func newAgentsReload(env *Env) *cobra.Command {
	var agent string
	var all, first, gradual bool
	c := &cobra.Command{
		Use: "reload [AGENT]", Short: "Bring agent files into force at once; without an agent all of them", Args: atMost(1), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if agent != "" {
				args = append(args, agent)
			}
			if len(args) > 1 || len(args) == 1 && all {
				return errUsage("%s: one agent, or --all-config", cmd.CommandPath()).WithHint("give one of them")
			}
			if len(args) == 1 {
				return reloadOne(cmd, env, args[0])
			}
			l, err := env.Client().ReloadAll(cmd.Context(), first)
			if err != nil {
				return err
			}
			if err := env.Print(l, func(p *printer) {
				p.row("AGENT", "STATE", "VERSION", "MS", "ERROR")
				for _, r := range l.Items {
					p.row(r.Agent, r.State, strconv.Itoa(r.ToVersion), fmt.Sprintf("%.1f", r.Millis), r.Error)
				}
			}); err != nil {
				return err
			}
			for _, r := range l.Items {
				if r.State == "failed" {
					return caxton.Errorf(caxton.Invalid, "reload_failed", "not every file could be loaded").WithHint("caxton agents diagnose --show-errors says why; the versions before go on running")
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&agent, "agent", "", "the `agent` to reload, as the argument")
	c.Flags().BoolVar(&all, "all-config", false, "every agent file")
	c.Flags().BoolVar(&first, "validate-first", false, "change nothing unless every file is sound")
	c.Flags().BoolVar(&gradual, "gradual", false, "one after the other, each waited for (so it always is)")
	return c
}

func reloadOne(cmd *cobra.Command, env *Env, ref string) error {
	d, err := env.Client().Reload(cmd.Context(), ref)
	if err != nil {
		return err
	}
	for _, w := range d.Warnings {
		env.say("%s", caxton.Issue(w).String())
	}
	return env.Print(d, func(p *printer) { printDeployment(p, d) })
}

func newAgentsReloadStatus(env *Env) *cobra.Command {
	return ofAgent(env, "reload-status", "Show the result of the last reload", func(cmd *cobra.Command, ref string) error {
		r, err := env.Client().ReloadStatus(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(r, func(p *printer) {
			p.row("Agent:", r.Agent)
			p.row("State:", r.State)
			p.row("Version:", fmt.Sprintf("%d to %d", r.FromVersion, r.ToVersion))
			p.row("At:", r.At.Local().Format(time.DateTime))
			p.row("Took:", fmt.Sprintf("%.1f ms", r.Millis))
			if r.Error != "" {
				p.row("Error:", r.Error)
			}
			for _, i := range r.Issues {
				p.line("  %s", caxton.Issue(i).String())
			}
		})
	})
}

func newAgentsRollback(env *Env) *cobra.Command {
	var to int
	c := ofAgent(env, "rollback", "Make an older version active again", func(cmd *cobra.Command, ref string) error {
		d, err := env.Client().Rollback(cmd.Context(), ref, to)
		if err != nil {
			return err
		}
		return env.Print(d, func(p *printer) { printDeployment(p, d) })
	})
	c.Flags().IntVar(&to, "to-version", 0, "`version` (default: the one before the active one)")
	c.Flags().IntVar(&to, "to", 0, "the same as --to-version")
	return c
}

func newAgentsVersions(env *Env) *cobra.Command {
	return ofAgent(env, "versions", "List the versions of an agent", func(cmd *cobra.Command, ref string) error {
		vs, err := env.Client().Versions(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(vs, func(p *printer) {
			p.row("VERSION", "ACTIVE", "TYPE", "CREATED", "AUTHOR", "FORMAT", "HASH", "SOURCE", "MODULE")
			for _, v := range vs.Items {
				active := ""
				if v.Active {
					active = "*"
				}
				p.row(strconv.Itoa(v.Number), active, v.Type, v.CreatedAt.Local().Format(time.DateTime), v.Author, v.Format, v.Hash[:min(12, len(v.Hash))], v.Source, moduleLine(v.Module))
			}
		})
	})
}

func newAgentsDiff(env *Env) *cobra.Command {
	var from, to int
	c := ofAgent(env, "diff", "Compare two versions of an agent", func(cmd *cobra.Command, ref string) error {
		d, err := env.Client().Diff(cmd.Context(), ref, from, to)
		if err != nil {
			return err
		}
		return env.Print(d, func(p *printer) {
			if d.Diff == "" {
				p.line("versions %d and %d are equal", d.From, d.To)
				return
			}
			p.write(d.Diff)
		})
	})
	c.Flags().IntVar(&from, "from", 0, "older `version` (default: the one before --to)")
	c.Flags().IntVar(&to, "to", 0, "newer `version` (default: the active one)")
	return c
}

func newAgentsRemove(env *Env) *cobra.Command {
	var force, yes bool
	c := ofAgent(env, "remove", "Undeploy an agent and forget its versions", func(cmd *cobra.Command, ref string) error {
		if err := env.confirm(cmd.Context(), yes || force, "remove "+ref+" and all its versions?"); err != nil {
			return err
		}
		if err := env.Client().RemoveAgent(cmd.Context(), ref, force); err != nil {
			return err
		}
		env.say("%s removed", ref)
		return nil
	})
	c.Flags().BoolVar(&force, "force", false, "also when messages wait for it: they fail")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}
