package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newAgentsPing(env *Env) *cobra.Command {
	return ofAgent(env, "ping", "Ask an agent for a sign of life; the exit code tells", func(cmd *cobra.Command, ref string) error {
		r, err := env.Client().Ping(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(r, func(p *printer) { p.line("%s is alive (%.0f µs)", r.Agent, r.Micros) })
	})
}

func newAgentsCapabilities(env *Env) *cobra.Command {
	return ofAgent(env, "capabilities", "List what an agent can do", func(cmd *cobra.Command, ref string) error {
		r, err := env.Client().AgentCapabilities(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(r, func(p *printer) {
			for _, c := range r.Items {
				p.line("%s", c)
			}
		})
	})
}

func newAgentsLogs(env *Env) *cobra.Command {
	var tail int
	var level string
	var follow bool
	c := ofAgent(env, "logs", "Print the log of an agent", func(cmd *cobra.Command, ref string) error {
		if tail < 1 || tail > 10_000 {
			return errUsage("--tail %d is not between 1 and 10000", tail).WithHint("for example --tail 100")
		}
		line := func(p *printer, l api.LogLine) {
			var attrs []string
			for k, v := range l.Attrs {
				attrs = append(attrs, fmt.Sprintf("%s=%v", k, v))
			}
			slices.Sort(attrs)
			p.line("%s %-5s %s %s", l.At.Local().Format("2006-01-02 15:04:05.000"), l.Level, l.Message, strings.Join(attrs, " "))
		}
		if follow {
			err := env.Client().FollowLogs(cmd.Context(), ref, tail, level, func(l api.LogLine) error {
				return env.PrintNext(l, func(p *printer) { line(p, l) })
			})
			if cmd.Context().Err() != nil {
				return nil //nolint:nilerr // the reader has had enough
			}
			if err == nil {
				err = caxton.Errorf(caxton.Unavailable, "log_ended", "the server has ended the log").WithHint("it may be stopping: caxton status")
			}
			return err
		}
		l, err := env.Client().Logs(cmd.Context(), ref, tail, level)
		if err != nil {
			return err
		}
		return env.Print(l, func(p *printer) {
			for _, x := range l.Items {
				line(p, x)
			}
		})
	})
	c.Flags().IntVar(&tail, "tail", 100, "only the last `lines`")
	c.Flags().StringVar(&level, "level", "", "only lines of at least this `level`")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines until Ctrl-C")
	return c
}

func debugAgent(cmd *cobra.Command, env *Env, ref, input string, tools bool) error {
	d, err := env.Client().Debug(cmd.Context(), ref, input)
	if err != nil {
		return err
	}
	return env.Print(d, func(p *printer) {
		showAgent(p, d.Agent, true)
		p.line("Tools:")
		for _, t := range d.Tools {
			p.line("  %s: %s", t.Name, t.Description)
			if tools {
				p.line("    %s", t.Parameters)
			}
		}
		if d.Prompt.Error != "" && d.Agent.Module == nil {
			p.line("Prompt: %s", d.Prompt.Error)
		}
		if d.Agent.Module == nil {
			p.line("Prompt for this message:")
			for _, m := range d.Prompt.Messages {
				p.line("%s", indent(m))
			}
		}
		printExecutions(p, d.Agent.Module)
		p.line("Newest conversations:")
		for _, c := range d.Conversations {
			p.row("  "+c.ID, c.Status, fmt.Sprintf("%d messages", c.MessageCount), c.LastActivity.Local().Format(time.DateTime))
		}
	})
}

func newAgentsDebug(env *Env) *cobra.Command {
	var id, input string
	var tools bool
	c := &cobra.Command{
		Use: "debug [AGENT]", Short: "Show an agent from the inside: definition, tools, prompt", Args: atMost(1), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if id != "" {
				args = append(args, id)
			}
			if len(args) != 1 {
				return errUsage("%s: name one agent", cmd.CommandPath()).WithHint("usage: %s", cmd.UseLine())
			}
			return debugAgent(cmd, env, args[0], input, tools)
		},
	}
	c.Flags().StringVar(&id, "agent-id", "", "`agent`: ID, name, slug or file name, as the argument")
	c.Flags().BoolVar(&tools, "show-tools", false, "also the schemas of its tools")
	c.Flags().StringVar(&input, "input", "", "show the prompt for this `text`")
	return c
}
