package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newAgentsDiagnose(env *Env) *cobra.Command {
	var errs bool
	c := &cobra.Command{
		Use: "diagnose", Short: "Say what is wrong with agents and their files", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Agents(cmd.Context(), api.AgentFilter{})
			if err != nil {
				return err
			}
			bad := api.AgentList{Items: []api.Agent{}}
			for _, a := range l.Items {
				if a.State == "failed" || a.LastError != "" || len(a.Issues) > 0 {
					bad.Items = append(bad.Items, a)
				}
			}
			bad.Agents, bad.Total = bad.Items, len(bad.Items)
			return env.Print(bad, func(p *printer) {
				if len(bad.Items) == 0 {
					p.line("nothing is wrong with %d agents", len(l.Items))
				}
				for _, a := range bad.Items {
					p.line("%s (%s): %s", a.Slug, a.State, a.LastError)
					for _, i := range a.Issues {
						if errs || len(a.Issues) < 4 {
							p.line("  %s", caxton.Issue(i).String())
						}
					}
				}
			})
		},
	}
	c.Flags().BoolVar(&errs, "show-errors", false, "every fault of every file")
	return c
}

func newAgentsChange(env *Env, verb, short string) *cobra.Command {
	var failing, all bool
	c := &cobra.Command{
		Use: verb + " [AGENT]", Short: short, Args: atMost(1), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !failing && !all {
				return errUsage("%s: an agent is missing", cmd.CommandPath()).WithHint("name one, or say --all or --failing-only")
			}
			if len(args) == 1 && (failing || all) || failing && all {
				return errUsage("%s: an agent, or --all, or --failing-only", cmd.CommandPath()).WithHint("give one of them")
			}
			if len(args) == 0 {
				n, err := env.Client().ChangeMany(cmd.Context(), verb, failing)
				if err != nil {
					return err
				}
				return env.Print(n, func(p *printer) {
					p.line("%s: %d agents %s", verb, len(n.Items), strings.Join(n.Items, ", "))
				})
			}
			change := map[string]func(context.Context, string) (api.Agent, error){
				"suspend": env.Client().Suspend, "resume": env.Client().Resume, "restart": env.Client().Restart,
			}[verb]
			a, err := change(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(a, func(p *printer) { p.line("%s is %s", a.Slug, a.State) })
		},
	}
	c.Flags().BoolVar(&failing, "failing-only", false, "the agents that are failing")
	c.Flags().BoolVar(&all, "all", false, "all agents")
	return c
}

func newAgentsAudit(env *Env) *cobra.Command {
	var unused bool
	c := &cobra.Command{
		Use: "audit-tools", Short: "Compare the tools agents declare with those they use", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := env.Client().AuditTools(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(u, func(p *printer) {
				p.row("AGENT", "DECLARED", "USED", "UNUSED")
				for _, a := range u.Items {
					var used []string
					for t, n := range a.Uses {
						used = append(used, fmt.Sprintf("%s (%d)", t, n))
					}
					slices.Sort(used)
					if !unused || len(a.Unused) > 0 {
						p.row(a.Agent, strings.Join(a.Declared, ","), strings.Join(used, ","), strings.Join(a.Unused, ","))
					}
				}
			})
		},
	}
	c.Flags().BoolVar(&unused, "show-unused", false, "only agents with tools they never used")
	return c
}

func newAgentsPerformance(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "performance-report", Short: "Show latency, errors and throughput of agents", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := env.Client().Performance(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(r, func(p *printer) {
				p.row("AGENT", "STATE", "HANDLED", "FAILED", "ERRORS", "P50 MS", "P99 MS", "PER MIN", "QUEUED")
				for _, a := range r.Items {
					p.row(a.Agent, a.State, strconv.FormatInt(a.Handled, 10), strconv.FormatInt(a.Failed, 10), fmt.Sprintf("%.1f%%", 100*a.ErrorRate),
						fmt.Sprintf("%.1f", a.LatencyP50), fmt.Sprintf("%.1f", a.LatencyP99), fmt.Sprintf("%.1f", a.PerMinute), strconv.Itoa(a.Queued))
				}
			})
		},
	}
}

func newAgentsAnalyze(env *Env) *cobra.Command {
	var pattern, last string
	c := &cobra.Command{
		Use: "analyze", Short: "Search the logs of agents for a regular expression", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if pattern == "" {
				return errUsage("--pattern is missing").WithHint(`for example --pattern "error|timeout"`)
			}
			a, err := env.Client().Analyze(cmd.Context(), pattern, last)
			if err != nil {
				return err
			}
			return env.Print(a, func(p *printer) {
				p.line("%d matches since %s", a.Matches, a.Since.Local().Format(time.DateTime))
				p.row("AGENT", "MATCHES")
				for _, n := range sortedKeys(a.ByAgent) {
					p.row(n, strconv.Itoa(a.ByAgent[n]))
				}
				for _, l := range a.Items {
					p.line("%s %-5s %s: %s", l.At.Local().Format(time.DateTime), l.Level, l.Agent, l.Message)
				}
			})
		},
	}
	c.Flags().StringVar(&pattern, "pattern", "", "regular `expression`, in any case")
	c.Flags().StringVar(&last, "last", "1h", "how `long` to look back")
	return c
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
