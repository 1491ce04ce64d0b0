package cli

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newTools(env *Env) *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the tools that the server permits", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Tools(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("TOOL", "SOURCE", "STATE", "REPEATABLE", "DESCRIPTION")
				for _, t := range l.Items {
					p.row(t.Name, t.Source, t.State, strconv.FormatBool(t.Idempotent), short(printable(cmp.Or(t.Reason, t.Description))))
				}
			})
		},
	}
	show := &cobra.Command{
		Use: "show TOOL", Short: "Show one tool with the schema of its arguments", Args: exactly("TOOL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := env.Client().Tool(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(t, func(p *printer) {
				p.row("Name:", t.Name)
				p.row("Source:", t.Source)
				p.row("State:", t.State)
				p.row("Repeatable:", strconv.FormatBool(t.Idempotent))
				p.line("%s", printable(t.Description))
				p.line("Arguments: %s", printable(string(t.Parameters)))
				tellMCP(p, t)
			})
		},
	}
	var arguments string
	run := &cobra.Command{
		Use: "run TOOL", Short: "Run a tool by hand, under the server's policy", Args: exactly("TOOL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !json.Valid([]byte(arguments)) {
				return errUsage("--args is not JSON").WithHint(`for example --args '{"expression": "2+3"}'`)
			}
			r, err := env.Client().RunTool(cmd.Context(), args[0], json.RawMessage(arguments))
			if err != nil {
				return err
			}
			return env.Print(r, func(p *printer) { p.line("%s", r.Text) })
		},
	}
	run.Flags().StringVar(&arguments, "args", "{}", "arguments as a `JSON` object")
	return group("tools", "Look at the tools agents may use, and try them", append(newMCPTools(env), list, show, run)...)
}

func newCapabilities(env *Env) *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List what agents can do, and who can", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Capabilities(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("CAPABILITY", "AGENTS")
				for _, c := range l.Items {
					p.row(c.Name, strings.Join(c.Agents, ", "))
				}
			})
		},
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show the agents that have a capability", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := env.Client().Capability(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(c, func(p *printer) {
				for _, a := range c.Agents {
					p.line("%s", a)
				}
			})
		},
	}
	return group("capabilities", "Look at what agents can do", list, show)
}
