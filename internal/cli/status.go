package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/node"
	"github.com/spf13/cobra"
)

func newHealth(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Say whether the server is healthy; the exit code says it too", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			h, err := env.Client().Health(ctx)
			if err != nil {
				return err
			}
			if _, err := env.Client().MemoryHealth(ctx); err != nil {
				return err
			}
			return env.Print(h, func(p *printer) { p.line("%s: %d agents, up %s", h.Status, h.Agents, seconds(h.UptimeSeconds)) })
		},
	}
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func newStatus(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the server at a glance", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := env.Client().Status(cmd.Context())
			if caxton.KindOf(err) == caxton.Unavailable {
				if env.flags.output == "table" {
					_, _ = fmt.Fprintln(env.Stdout, "Status:  stopped")
				}
				return err
			}
			if err != nil {
				return err
			}
			return env.Print(s, func(p *printer) {
				total := 0
				var states []string
				for _, st := range []string{"running", "loaded", "suspended", "draining", "failed", "stopped"} {
					if n := s.Agents[st]; n > 0 {
						total += n
						states = append(states, fmt.Sprintf("%d %s", n, st))
					}
				}
				p.row("Status:", s.Status)
				p.row("Version:", s.Version)
				p.row("Uptime:", seconds(s.UptimeSeconds))
				p.row("Agents:", strings.TrimSpace(fmt.Sprintf("%d  (%s)", total, strings.Join(states, ", "))))
				p.row("Messages:", fmt.Sprintf("%d waiting, %d in flight, durability %s", s.Queued, s.InFlight, s.Durability))
				p.row("Waiting for you:", fmt.Sprintf("%d approvals, %d effects, %d dead letters", s.Tickets["approval"], s.Tickets["effect"], s.Tickets["dead_letter"]))
				p.row("Model:", s.Provider)
				for _, m := range s.Providers {
					switch m.State {
					case "open":
						p.row("Left alone:", fmt.Sprintf("%s until %s: %s", m.Name, moment(m.RetryAt), m.Reason))
					case "half-open":
						p.row("Tried again:", fmt.Sprintf("%s, after: %s", m.Name, m.Reason))
					}
				}
				p.row("API:", s.APIAddress)
				p.row("Data:", fmt.Sprintf("%s (%s)", s.DataDir, size(s.DatabaseBytes)))
				p.row("Agent files:", s.AgentsDir)
				p.row("Resident:", size(s.MemoryBytes))
				for _, f := range s.Faults {
					p.line("Faulty file: %s: %s", f.Path, f.Message)
					for _, i := range f.Issues {
						p.line("  %s", caxton.Issue(i).String())
					}
				}
			})
		},
	}
}

// size prints a number of bytes for people.
func size(n int64) string { return caxton.Size(n).Rough() }

func newVersion(env *Env) *cobra.Command {
	return plain(&cobra.Command{
		Use: "version", Short: "Print the version of this program", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo(env.Version)
			return env.Print(v, func(p *printer) { p.line("caxton %s (%s, %s, API %s)", v.Version, v.Go, v.OS, v.API) })
		},
	})
}

func versionInfo(version string) api.VersionInfo { return node.VersionInfo(version) }
