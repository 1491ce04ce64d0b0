package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

// A decider decides one ticket.
type decider func(ctx context.Context, id string, d api.DecisionBody) (api.Ticket, error)

func newMessagesDead(env *Env) *cobra.Command {
	return group("dead", "See messages that were given up; try them again or drop them", newDeadList(env), newDeadShow(env),
		newDeadDecide(env, "replay", "Try a message again that was given up; or with --all many",
			func(c *api.Client) decider { return c.ReplayDeadLetter },
			func(c *api.Client) manyDecider { return c.ReplayDeadLetters }),
		newDeadDecide(env, "drop", "Close a dead letter; or with --all many",
			func(c *api.Client) decider { return c.DropDeadLetter },
			func(c *api.Client) manyDecider { return c.DropDeadLetters }))
}

// A manyDecider decides many dead letters.
type manyDecider func(ctx context.Context, o api.DeadLetterOrder) (api.DeadLetterCount, error)

func newDeadList(env *Env) *cobra.Command {
	var f api.TicketFilter
	var code, age string
	c := &cobra.Command{
		Use: "list", Short: "List messages that were given up, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().DeadLetters(cmd.Context(), f, code, age)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("MESSAGE", "STATE", "AGENT", "ATTEMPTS", "SINCE", "CODE", "WHY")
				for i := range l.Items {
					t := &l.Items[i]
					p.row(t.ID, t.State, t.Agent, strconv.Itoa(t.Attempts), moment(&t.OpenedAt), t.Code, short(t.Reason))
				}
				env.more(l.Next)
			})
		},
	}
	ticketFlags(c, &f, "dead (the default), replayed, dropped or all")
	c.Flags().StringVar(&code, "code", "", "only those given up for this reason, as `code`")
	c.Flags().StringVar(&age, "older-than", "", "only those given up at least so long ago, as 24h")
	return c
}

func newDeadShow(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a message that was given up, with all that was tried", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := env.Client().DeadLetter(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(d, func(p *printer) {
				ticketTable(p, &d.Ticket)
				p.row("From, to:", d.Message.Sender+" → "+d.Message.Receiver)
				p.line("Content: %s", d.Message.Content)
				for _, r := range d.Records {
					p.row(strconv.FormatInt(r.Seq, 10), r.At.Local().Format("15:04:05.000"), r.Kind, summary(r))
				}
			})
		},
	}
}

func newDeadDecide(env *Env, verb, summary string, one func(*api.Client) decider, many func(*api.Client) manyDecider) *cobra.Command {
	var o api.DeadLetterOrder
	var yes bool
	c := &cobra.Command{
		Use: verb + " [ID]", Short: summary, Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filtered := o.DeadLetterFilter != (api.DeadLetterFilter{})
			switch {
			case len(args) == 1 && (o.All || filtered || o.Limit > 0):
				return errUsage("an ID and a choice of many exclude each other").WithHint("give the ID alone, or --all with --agent, --code and --older-than")
			case len(args) == 0 && !o.All:
				return errUsage("ID is missing").WithHint("caxton messages dead list shows them; --all means all of them, or all that --agent, --code and --older-than choose")
			}
			question := map[bool]string{false: "Shall all dead letters be %s?", true: "Shall all dead letters that are chosen be %s?"}[filtered]
			if !o.All {
				question = "Shall the dead letter be %s?"
			}
			if o.All || verb == "drop" { // a single replay can be dropped, or cancelled
				if err := env.confirm(cmd.Context(), yes, fmt.Sprintf(question, map[string]string{"drop": "dropped", "replay": "tried again"}[verb])); err != nil {
					return err
				}
			}
			o.DecisionBody = env.signed(o.DecisionBody)
			if len(args) == 1 {
				t, err := one(env.Client())(cmd.Context(), args[0], o.DecisionBody)
				if err != nil {
					return err
				}
				return env.Print(t, func(p *printer) { p.line("%s: %s", t.State, t.ID) })
			}
			n, err := many(env.Client())(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printCount(env, verb, &n)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.All, "all", false, "all that are dead, or that the other flags choose; oldest first")
	f.StringVar(&o.Agent, "agent", "", "with --all: only those to this `agent`")
	f.StringVar(&o.Code, "code", "", "with --all: only those given up for this reason, as `code`")
	f.StringVar(&o.OlderThan, "older-than", "", "with --all: only those given up at least so long ago, as 24h")
	f.IntVar(&o.Limit, "limit", 0, "with --all: at most so `many` (default: 1000)")
	f.BoolVar(&yes, "yes", false, "do not ask")
	decisionFlags(c, &o.DecisionBody)
	return c
}

func printCount(env *Env, verb string, n *api.DeadLetterCount) error {
	if err := env.Print(*n, func(p *printer) {
		p.line("%s: %d of %d", verb, n.Done, n.Matched)
		for _, f := range n.Faults {
			p.row(f.ID, f.Code, f.Message)
		}
		if n.More {
			env.say("there are more; say it again for the rest")
		}
	}); err != nil {
		return err
	}
	if n.Failed > 0 {
		return exitCode(1)
	}
	return nil
}

func newMessagesCancel(env *Env) *cobra.Command {
	var by string
	c := &cobra.Command{
		Use: "cancel ID", Short: "Call off a message that is not settled yet", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := env.Client().CancelMessage(cmd.Context(), args[0], env.by(by))
			if err != nil {
				return err
			}
			return env.Print(m, func(p *printer) {
				if m.State == "settled" {
					p.line("%s: %s", m.Status, m.MessageID)
					return
				}
				p.line("its turn is being ended: caxton messages show %s tells when", m.MessageID)
			})
		},
	}
	c.Flags().StringVar(&by, "by", "", "`name` of who calls it off (default: your login name)")
	return c
}
