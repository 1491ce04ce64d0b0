package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newAgentsList(env *Env) *cobra.Command {
	var f api.AgentFilter
	var count bool
	c := &cobra.Command{
		Use: "list", Short: "List agents, and agent files that cannot be loaded", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Type != "" && f.Type != "config" && f.Type != "wasm" {
				return errUsage("%q is not a type of agents", f.Type).WithHint("use config or wasm")
			}
			l, err := env.Client().Agents(cmd.Context(), f)
			if err != nil {
				return err
			}
			if count {
				_, err := fmt.Fprintln(env.Stdout, len(l.Items))
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("NAME", "SLUG", "TYPE", "STATE", "VERSION", "QUEUED", "CAPABILITIES", "NOTE")
				for _, a := range l.Items {
					note := ""
					if a.State == "failed" || len(a.Issues) > 0 {
						note = a.LastError
					}
					p.row(a.Name, a.Slug, a.Type, a.State, strconv.Itoa(a.Version), strconv.Itoa(a.Queued), strings.Join(a.Capabilities, ","), note)
				}
			})
		},
	}
	c.Flags().StringVar(&f.Type, "type", "", "only agents of this `type`: config or wasm")
	c.Flags().StringVar(&f.State, "state", "", "only agents in this `state`")
	c.Flags().StringVar(&f.Capability, "capability", "", "only agents with this `capability`")
	c.Flags().BoolVar(&count, "count", false, "print only their number")
	return c
}

func showAgent(p *printer, a api.Agent, verbose bool) {
	p.row("Name:", a.Name)
	p.row("Slug:", a.Slug)
	p.row("ID:", a.ID)
	p.row("Type:", a.Type)
	p.row("State:", a.State)
	p.row("Version:", fmt.Sprintf("%d of %d %s", a.Version, a.Versions, a.SemVersion))
	p.row("Capabilities:", strings.Join(a.Capabilities, ", "))
	p.row("Tools:", strings.Join(a.Tools, ", "))
	p.row("Source:", a.Source)
	if a.Description != "" {
		p.row("Description:", a.Description)
	}
	p.row("Messages:", fmt.Sprintf("%d waiting, %d in flight, %d handled, %d failed", a.Queued, a.InFlight, a.Handled, a.Failed))
	p.row("Latency:", fmt.Sprintf("P50 %.1f ms, P99 %.1f ms", a.LatencyP50, a.LatencyP99))
	printModule(p, a.Module)
	showSchedule(p, a.Schedule)
	if a.Rollout != nil {
		p.row("Rollout:", rolloutLine(a.Rollout, time.Now()))
	}
	if a.LastError != "" {
		p.row("Last error:", a.LastError)
	}
	if a.NextRestart != nil {
		p.row("Restarts:", a.NextRestart.Local().Format(time.TimeOnly))
	}
	for _, i := range a.Issues {
		p.line("  %s", caxton.Issue(i).String())
	}
	if !verbose {
		return
	}
	p.row("Restarts so far:", strconv.FormatInt(a.Restarts, 10))
	for _, t := range []struct {
		name string
		at   *time.Time
	}{{"Created:", a.CreatedAt}, {"Updated:", a.UpdatedAt}, {"Last activity:", a.LastActivity}, {"Last error at:", a.LastErrorAt}} {
		if t.at != nil {
			p.row(t.name, t.at.Local().Format(time.DateTime))
		}
	}
	if s, ok := a.Definition["SystemPrompt"].(string); ok && s != "" {
		p.line("System prompt:\n%s", indent(s))
	}
	if s, ok := a.Definition["Documentation"].(string); ok && s != "" {
		p.line("Documentation:\n%s", indent(s))
	}
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}

func newAgentsShow(env *Env) *cobra.Command {
	var verbose bool
	c := ofAgent(env, "show", "Show one agent", func(cmd *cobra.Command, ref string) error {
		a, err := env.Client().Agent(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(a, func(p *printer) { showAgent(p, a, verbose) })
	})
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "also times, prompt and documentation")
	return c
}

func newAgentsStatus(env *Env) *cobra.Command {
	var summary bool
	c := &cobra.Command{
		Use: "status [AGENT]", Short: "Show how agents fare", Args: atMost(1), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !summary {
				a, err := env.Client().Agent(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return env.Print(a, func(p *printer) { showAgent(p, a, false) })
			}
			l, err := env.Client().Agents(cmd.Context(), api.AgentFilter{})
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				states := map[string]int{}
				for _, a := range l.Items {
					states[a.State]++
				}
				var parts []string
				for _, s := range []string{"running", "loaded", "suspended", "draining", "failed", "stopped"} {
					if states[s] > 0 {
						parts = append(parts, fmt.Sprintf("%d %s", states[s], s))
					}
				}
				p.line("%d agents: %s", len(l.Items), strings.Join(parts, ", "))
				p.row("AGENT", "STATE", "QUEUED", "IN FLIGHT", "HANDLED", "FAILED", "P50 MS", "P99 MS")
				for _, a := range l.Items {
					p.row(a.Slug, a.State, strconv.Itoa(a.Queued), strconv.Itoa(a.InFlight), strconv.FormatInt(a.Handled, 10), strconv.FormatInt(a.Failed, 10),
						fmt.Sprintf("%.1f", a.LatencyP50), fmt.Sprintf("%.1f", a.LatencyP99))
				}
			})
		},
	}
	c.Flags().BoolVar(&summary, "summary", false, "all agents on one screen (so it is without an agent)")
	return c
}
