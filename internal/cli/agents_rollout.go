package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

// rolloutFlags registers what says how a new version takes over.
func rolloutFlags(c *cobra.Command, p *api.RolloutPlan) {
	f := c.Flags()
	f.StringVar(&p.Strategy, "strategy", "", "`strategy` of the rollout: immediate, rolling, blue_green, canary or shadow")
	f.StringVar(&p.CanaryStages, "canary-stages", "", "`stages` of a canary: percent and duration, such as 5:5m,25:10m,50:10m")
	f.StringVar(&p.RollbackOn, "rollback-on", "", "`gates` that roll it back, such as error_rate>1%,p99>100ms, or none")
	f.IntVar(&p.TrafficPercentage, "traffic-percentage", 0, "`percent` of the conversations that a shadow sees (default all)")
	f.StringVar(&p.Hold, "hold", "", "rolling: after what `time` running conversations move (10m); blue_green: how long the old version is kept warm (5m)")
	p.MinMessages = f.Int("min-messages", caxton.DefaultRolloutMinMessages, "`messages` that the new version has handled in a stage before it is judged")
	f.Bool("canary", false, "the same as --strategy canary")
	f.Bool("shadow", false, "the same as --strategy shadow")
}

// rolloutPlan returns the plan that the flags tell.
func rolloutPlan(cmd *cobra.Command, p api.RolloutPlan) (api.RolloutPlan, error) {
	for _, name := range []string{"canary", "shadow"} {
		if on, err := cmd.Flags().GetBool(name); err == nil && on {
			if p.Strategy != "" && p.Strategy != name {
				return p, errUsage("--%s and --strategy %s do not go together", name, p.Strategy).WithHint("give one of them")
			}
			p.Strategy = name
		}
	}
	if !cmd.Flags().Changed("min-messages") {
		p.MinMessages = nil
	} else if *p.MinMessages < 0 {
		return p, errUsage("--min-messages %d is no number of messages", *p.MinMessages)
	}
	if p.CanaryStages != "" && p.Strategy == "" {
		p.Strategy = string(caxton.RolloutCanary)
	}
	_, err := p.Plan()
	return p, err
}

func newAgentsRollout(env *Env) *cobra.Command {
	var follow bool
	c := ofAgent(env, "rollout", "Show how the rollout of a new version stands, or went", func(cmd *cobra.Command, ref string) error {
		if follow {
			return followRollout(cmd.Context(), env, ref)
		}
		ro, err := env.Client().Rollout(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(ro, func(p *printer) { printRollout(p, &ro) })
	})
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing it until it has ended")
	return c
}

func newAgentsRollouts(env *Env) *cobra.Command {
	var f api.RolloutFilter
	c := &cobra.Command{
		Use: "rollouts", Short: "List the last rollout of each agent that had one, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Rollouts(cmd.Context(), f)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("AGENT", "STRATEGY", "FROM", "TO", "STATE", "STAGE", "PERCENT", "MESSAGES", "ERRORS", "STARTED", "NOTE")
				for i := range l.Items {
					ro := &l.Items[i]
					v := &ro.Versions[len(ro.Versions)-1]
					p.row(ro.Agent, ro.Strategy, strconv.Itoa(ro.FromVersion), strconv.Itoa(ro.ToVersion), ro.State, fmt.Sprintf("%d/%d", ro.Stage, len(ro.Stages)),
						fmt.Sprintf("%d%%", ro.Percent), strconv.FormatInt(v.Messages, 10), strconv.FormatInt(v.Errors, 10), ro.StartedAt.Local().Format(time.DateTime),
						cmp.Or(ro.Reason, ro.Waits))
				}
			})
		},
	}
	c.Flags().BoolVar(&f.Open, "open", false, "only those that have not ended")
	c.Flags().IntVar(&f.Limit, "limit", 0, "at most so `many`: 100")
	return c
}

func newAgentsPromote(env *Env) *cobra.Command {
	var next bool
	c := ofAgent(env, "promote", "Complete the rollout of a new version", func(cmd *cobra.Command, ref string) error {
		ro, err := env.Client().Promote(cmd.Context(), ref, next)
		if err != nil {
			return err
		}
		return env.Print(ro, func(p *printer) { p.line("%s", rolloutLine(&ro, time.Now())) })
	})
	c.Flags().BoolVar(&next, "next", false, "to the next stage only")
	return c
}

func newAgentsAbort(env *Env) *cobra.Command {
	var reason string
	c := ofAgent(env, "abort", "Call the rollout of a new version off; all conversations go back to the one before", func(cmd *cobra.Command, ref string) error {
		ro, err := env.Client().Abort(cmd.Context(), ref, reason)
		if err != nil {
			return err
		}
		return env.Print(ro, func(p *printer) { p.line("%s", rolloutLine(&ro, time.Now())) })
	})
	c.Flags().StringVar(&reason, "reason", "", "`why`, for the record")
	return c
}

// rolloutOpen reports whether a rollout has not ended.
func rolloutOpen(ro *api.Rollout) bool { return !caxton.RolloutState(ro.State).Over() }

// rolloutLine says in one line how a rollout stands.
func rolloutLine(ro *api.Rollout, now time.Time) string {
	head := fmt.Sprintf("%s %s %d to %d: %s", ro.Agent, strings.ReplaceAll(ro.Strategy, "_", "-"), ro.FromVersion, ro.ToVersion, strings.ReplaceAll(ro.State, "_", " "))
	if ro.State != string(caxton.RolloutRunning) {
		if ro.Reason != "" {
			head += " (" + ro.Reason + ")"
		}
		return head
	}
	head += fmt.Sprintf(", stage %d of %d, %d%%", ro.Stage, len(ro.Stages), ro.Percent)
	switch {
	case ro.Waits != "":
		head += ", " + ro.Waits
	case ro.StageEnds != nil:
		head += ", " + max(0, ro.StageEnds.Sub(now)).Round(time.Second).String() + " left in it"
	}
	return head
}

// bar draws the progress of a rollout.
func bar(percent int) string {
	const width = 20
	n := min(width, max(0, percent*width/100))
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + fmt.Sprintf("] %3d%%", percent)
}

func printRollout(p *printer, ro *api.Rollout) {
	p.row("Agent:", ro.Agent)
	p.row("Strategy:", ro.Strategy)
	p.row("State:", ro.State)
	if ro.Reason != "" {
		p.row("Reason:", ro.Reason)
	}
	p.row("Versions:", fmt.Sprintf("%d to %d, %d is active", ro.FromVersion, ro.ToVersion, ro.Active))
	stages := make([]string, 0, len(ro.Stages))
	for i, s := range ro.Stages {
		text := fmt.Sprintf("%d%%", s.Percent)
		if s.Duration != "" {
			text += " for " + s.Duration
		}
		if i+1 == ro.Stage && rolloutOpen(ro) {
			text = "*" + text
		}
		stages = append(stages, text)
	}
	p.row("Stages:", strings.Join(stages, ", "))
	p.row("Progress:", bar(ro.Progress))
	p.row("Rolls back on:", ro.RollbackOn)
	if ro.Waits != "" {
		p.row("Waits:", ro.Waits)
	}
	p.row("Started:", ro.StartedAt.Local().Format(time.DateTime)+by(ro.Author))
	if ro.EndedAt != nil {
		p.row("Ended:", ro.EndedAt.Local().Format(time.DateTime))
	} else if ro.StageEnds != nil {
		p.row("Stage ends:", ro.StageEnds.Local().Format(time.DateTime))
	}
	p.line("")
	p.row("VERSION", "MESSAGES", "ERRORS", "IN STAGE", "ERROR RATE", "AT WORK", "P50 MS", "P99 MS")
	for i := range ro.Versions {
		v := &ro.Versions[i]
		p.row(fmt.Sprint(v.Version), fmt.Sprint(v.Messages), fmt.Sprint(v.Errors), fmt.Sprint(v.StageTurns), fmt.Sprintf("%.1f%%", 100*v.ErrorRate),
			fmt.Sprint(v.InFlight), fmt.Sprintf("%.1f", v.LatencyP50), fmt.Sprintf("%.1f", v.LatencyP99))
	}
	if s := ro.Shadow; s != nil {
		p.line("")
		p.line("%d answers compared: %d the same, %d other answers, %d other calls of tools, %d failed, %d copies dropped", s.Compared, s.Same, s.Answers, s.Calls, s.Failed, s.Dropped)
		for i := range s.Different {
			d := &s.Different[i]
			p.line("  %s  %s", d.At.Local().Format(time.TimeOnly), d.MessageID)
			for _, l := range []struct{ what, text string }{
				{"answered:", d.Answer}, {"shadow:", d.Shadow}, {"failed:", d.Error}, {"not called:", strings.Join(d.Missing, "; ")}, {"only called by it:", strings.Join(d.Extra, "; ")},
			} {
				if l.text != "" {
					p.line("    %-18s %s", l.what, oneLine(l.text))
				}
			}
		}
	}
}

func by(author string) string {
	if author == "" {
		return ""
	}
	return " by " + author
}

// oneLine returns the beginning of a text in one line.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 120 {
		return string(r[:119]) + "…"
	}
	return s
}

// followRollout shows a rollout until it has ended: on a terminal in one line that is written
// anew, elsewhere a line for each change. One that did not succeed is an error.
func followRollout(ctx context.Context, env *Env, ref string) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	live := env.flags.output == "" || env.flags.output == "table"
	live = live && terminal(env.Stdout)
	last, written := "", false
	for {
		ro, err := env.Client().Rollout(ctx, ref)
		if err != nil {
			return err
		}
		open := rolloutOpen(&ro)
		v := ro.Versions[len(ro.Versions)-1]
		if live {
			line := fmt.Sprintf("%s %s, %d messages, %.1f%% errors, p99 %.1f ms", bar(ro.Progress), rolloutLine(&ro, time.Now()), v.StageTurns, 100*v.ErrorRate, v.LatencyP99)
			_, err = fmt.Fprint(env.Stdout, "\r\x1b[K"+safe(env.Stdout, line))
			written = true
		} else if state := fmt.Sprintf("%s %d %s", ro.State, ro.Stage, ro.Waits); state != last {
			last = state
			err = env.PrintNext(ro, func(p *printer) { p.line("%s", rolloutLine(&ro, time.Now())) })
		}
		if err != nil {
			return err
		}
		if !open {
			if written {
				_, _ = fmt.Fprintln(env.Stdout)
			}
			if ro.State != string(caxton.RolloutCompleted) {
				return caxton.Errorf(caxton.Conflict, "rollout_"+ro.State, "version %d of %s was not rolled out: %s", ro.ToVersion, ro.Agent, cmp.Or(ro.Reason, ro.State))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			if written {
				_, _ = fmt.Fprintln(env.Stdout)
			}
			return nil
		case <-t.C:
		}
	}
}
