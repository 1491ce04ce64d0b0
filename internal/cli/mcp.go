package cli

import (
	"cmp"
	"fmt"
	"maps"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

// newMCPTools returns the commands that decide about tools of MCP servers.
func newMCPTools(env *Env) []*cobra.Command {
	var approval api.ToolApproval
	approve := &cobra.Command{
		Use: "approve TOOL", Short: "Let a tool of an MCP server in, as it is offered now", Args: exactly("TOOL"),
		Long: "Let a tool of an MCP server in, as it is offered now. Look at it first: caxton tools show TOOL.\n" +
			"With --hash it is let in only if it is still what you looked at.",
		RunE: func(cmd *cobra.Command, args []string) error {
			approval.By = cmp.Or(approval.By, whoami())
			t, err := env.Client().ApproveTool(cmd.Context(), args[0], approval)
			if err != nil {
				return err
			}
			return env.Print(t, func(p *printer) { p.line("%s is approved, with the hash %s", t.Name, t.MCP.Hash) })
		},
	}
	approve.Flags().StringVar(&approval.Hash, "hash", "", "approve only what has this `hash`")
	approve.Flags().StringVar(&approval.By, "by", "", "`who` decides (default: you)")
	var denial api.ToolDenial
	deny := &cobra.Command{
		Use: "deny TOOL", Short: "Refuse a tool of an MCP server", Args: exactly("TOOL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			denial.By = cmp.Or(denial.By, whoami())
			t, err := env.Client().DenyTool(cmd.Context(), args[0], denial)
			if err != nil {
				return err
			}
			return env.Print(t, func(p *printer) { p.line("%s is denied", t.Name) })
		},
	}
	deny.Flags().StringVar(&denial.Reason, "reason", "", "`why`")
	deny.Flags().StringVar(&denial.By, "by", "", "`who` decides (default: you)")
	servers := &cobra.Command{
		Use: "servers", Short: "Show how the configured MCP servers are", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().MCPServers(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("SERVER", "STATE", "TRANSPORT", "TARGET", "PROTOCOL", "STARTS", "TOOLS", "ERROR")
				for _, s := range l.Items {
					var counts []string
					for _, state := range slices.Sorted(maps.Keys(s.Tools)) {
						counts = append(counts, fmt.Sprintf("%d %s", s.Tools[state], state))
					}
					p.row(s.Name, s.State, s.Transport, s.Target, printable(s.Protocol), strconv.Itoa(s.Starts), strings.Join(counts, ", "), short(printable(s.Error)))
				}
			})
		},
	}
	return []*cobra.Command{approve, deny, servers}
}

// tellMCP adds what is known of a tool of an MCP server.
func tellMCP(p *printer, t api.Tool) {
	m := t.MCP
	if m == nil {
		return
	}
	if t.Reason != "" {
		p.row("Reason:", printable(t.Reason))
	}
	p.row("Hash:", m.Hash)
	p.row("Hints:", fmt.Sprintf("read-only %t, repeatable %t, destructive %t", m.ReadOnly, m.Repeatable, m.Destructive))
	p.row("First seen:", m.FirstSeen.Local().Format(time.DateTime))
	p.row("Last seen:", m.LastSeen.Local().Format(time.DateTime))
	if m.DecidedAt != nil {
		p.row("Decided:", m.DecidedAt.Local().Format(time.DateTime)+" by "+printable(m.DecidedBy))
	}
	if o := m.Offered; o != nil {
		p.line("")
		p.line("It is offered differently now, with the hash %s:", m.OfferedHash)
		p.line("%s", printable(o.Description))
		p.line("Arguments: %s", printable(string(o.Parameters)))
		p.line("Hints: read-only %t, repeatable %t, destructive %t", o.ReadOnly, o.Repeatable, o.Destructive)
	}
}

// printable shows what a stranger wrote without letting it act on the terminal or hide: all
// that is not seen is written as its code.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || r == '\t' || unicode.IsGraphic(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
}

// whoami returns the name of the person at the keyboard, for the record.
func whoami() string {
	u, err := user.Current()
	if err != nil {
		return "cli"
	}
	return cmp.Or(u.Username, "cli")
}
