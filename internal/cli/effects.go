package cli

import (
	"encoding/json"
	"strconv"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newEffects(env *Env) *cobra.Command {
	return group("effects", "See tool calls of unknown outcome, and say what became of them", newEffectsList(env), newEffectsShow(env), newEffectsResolve(env))
}

func newEffectsList(env *Env) *cobra.Command {
	var f api.TicketFilter
	var open bool
	c := &cobra.Command{
		Use: "list", Short: "List tool calls whose outcome is or was unknown, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if open {
				if f.State != "" && f.State != string(caxton.EffectUnknown) {
					return errUsage("--unknown and --state %s exclude each other", f.State).WithHint("give one of the two")
				}
				f.State = string(caxton.EffectUnknown)
			}
			l, err := env.Client().Effects(cmd.Context(), f)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("EFFECT", "STATE", "AGENT", "CALL", "ARGUMENTS", "SINCE")
				for i := range l.Items {
					t := &l.Items[i]
					p.row(t.ID, t.State, t.Agent, tool(t), arguments(t), moment(&t.OpenedAt))
				}
				env.more(l.Next)
			})
		},
	}
	c.Flags().BoolVar(&open, "unknown", false, "only those of which nobody has said yet what became of them")
	ticketFlags(c, &f, "unknown, done, retry, failed or all (the default)")
	return c
}

func newEffectsShow(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a tool call of unknown outcome", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := env.Client().Effect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(t, func(p *printer) { ticketTable(p, &t) })
		},
	}
}

func newEffectsResolve(env *Env) *cobra.Command {
	var d api.DecisionBody
	var result string
	var done, retry, fail bool
	c := &cobra.Command{
		Use: "resolve ID", Short: "Say what became of a tool call: --done, --retry or --fail", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.Resolution{By: env.by(d.By), Reason: d.Reason}
			chosen := 0
			for _, o := range []struct {
				on   bool
				word string
			}{{done, "done"}, {retry, "retry"}, {fail, "fail"}} {
				if o.on {
					r.Decision = o.word
					chosen++
				}
			}
			if chosen != 1 {
				return errUsage("one of --done, --retry and --fail is needed").
					WithHint("--done: it happened; --retry: it did not, make it again; --fail: tell the agent that it failed")
			}
			if result != "" {
				if !done {
					return errUsage("--result is for --done")
				}
				r.Result = jsonOrText(result)
			}
			t, err := env.Client().ResolveEffect(cmd.Context(), args[0], r)
			if err != nil {
				return err
			}
			return env.Print(t, func(p *printer) { p.line("%s: %s of %s", t.State, tool(&t), t.Agent) })
		},
	}
	c.Flags().BoolVar(&done, "done", false, "it happened: the agent goes on with the result")
	c.Flags().BoolVar(&retry, "retry", false, "it did not happen: the call is made again")
	c.Flags().BoolVar(&fail, "fail", false, "the agent is told that it failed")
	c.Flags().StringVar(&result, "result", "", "what the tool is to have returned, as `JSON` or text")
	decisionFlags(c, &d)
	return c
}

// jsonOrText returns a text that is JSON as it is, and any other as a JSON string.
func jsonOrText(s string) json.RawMessage {
	if json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	return caxton.TextContent(s)
}

// effectsOf prints the tool calls of a conversation.
func effectsOf(cmd *cobra.Command, env *Env, conversation string) error {
	l, err := env.Client().ConversationEffects(cmd.Context(), conversation, 0)
	if err != nil {
		return err
	}
	return env.Print(l, func(p *printer) {
		p.row("CALL", "OUTCOME", "AGENT", "BEGUN", "MS", "ARGUMENTS", "RESULT")
		for i := range l.Items {
			e := &l.Items[i]
			p.row(e.Tool, e.Outcome, e.Agent, moment(e.IntendedAt), strconv.FormatInt(e.Millis, 10), short(string(e.Arguments)), short(e.Text))
		}
		if l.Total > len(l.Items) {
			env.say("the last %d of %d calls", len(l.Items), l.Total)
		}
	})
}
