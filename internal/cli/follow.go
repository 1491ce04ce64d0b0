package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

// An event is the form in which events are printed as JSON and YAML.
type event struct {
	Event string `json:"event"`
	ID    string `json:"id,omitempty"`
	Data  any    `json:"data"`
}

// A followFlags holds what the commands that follow have in common.
type followFlags struct {
	after  string
	count  int
	deltas bool
}

func (f *followFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.after, "after", "", "go on after the event with this `ID`")
	c.Flags().IntVar(&f.count, "count", 0, "end after this `many` records")
	c.Flags().BoolVar(&f.deltas, "deltas", false, "also show the text of models as it is written")
}

// enough ends following from within.
type enough struct{ error }

// follow prints events as they come, until Ctrl-C or until there were enough.
func (f *followFlags) follow(ctx context.Context, env *Env, all bool, run func(each func(api.Event) error) error) error {
	w := writer{env: env}
	left := f.count
	err := run(func(e api.Event) error {
		if e.Name == api.EventDelta {
			return w.delta(e)
		}
		if err := w.end(); err != nil {
			return err
		}
		if e.Name == api.EventRollout {
			if err := env.printRolloutEvent(e); err != nil {
				return err
			}
			if left--; left == 0 {
				return enough{errors.New("enough")}
			}
			return nil
		}
		r, err := e.Record()
		if err != nil {
			return err
		}
		if err := env.PrintNext(event{e.Name, e.ID, r}, func(p *printer) {
			at := r.At.Local().Format("15:04:05.000")
			if all {
				p.line("%s  %s  %-15s  %s", at, r.ConversationID, r.Kind, summary(r.Record))
			} else {
				p.line("%4d  %s  %-15s  %s", r.Seq, at, r.Kind, summary(r.Record))
			}
		}); err != nil {
			return err
		}
		if left--; left == 0 {
			return enough{errors.New("enough")}
		}
		return nil
	})
	if _, ok := errors.AsType[enough](err); ok || ctx.Err() != nil {
		return w.end()
	}
	return err
}

// printRolloutEvent prints a step of a rollout.
func (e *Env) printRolloutEvent(ev api.Event) error {
	ro, err := ev.Rollout()
	if err != nil {
		return err
	}
	return e.PrintNext(event{ev.Name, ev.ID, ro}, func(p *printer) {
		what := fmt.Sprintf("%s %s, version %d to %d", ro.Strategy, ro.Step, ro.FromVersion, ro.ToVersion)
		switch ro.Step {
		case caxton.RolloutStep:
			what += fmt.Sprintf(", stage %d of %d, %d%%", ro.Stage, ro.Stages, ro.Percent)
		case caxton.RolloutEnded:
			what += ": " + ro.State
			if ro.Reason != "" {
				what += " (" + ro.Reason + ")"
			}
		}
		p.line("%s  %s  %-15s  %s", ro.At.Local().Format("15:04:05.000"), ro.Agent, ev.Name, what)
	})
}

func newConversationsFollow(env *Env) *cobra.Command {
	var f followFlags
	c := &cobra.Command{
		Use: "follow ID", Short: "Show what happens in a conversation as it happens, from its beginning on", Args: exactly("ID"),
		Long: "It comes back by itself when the server restarts, and misses nothing. Ends on Ctrl-C.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.follow(cmd.Context(), env, false, func(each func(api.Event) error) error {
				return env.Client().FollowConversation(cmd.Context(), args[0], api.ConversationEvents{After: f.after, NoDeltas: !f.deltas}, each)
			})
		},
	}
	f.register(c)
	return c
}

func newEvents(env *Env) *cobra.Command {
	return group("events", "Follow what happens on the server", newEventsFollow(env))
}

func newEventsFollow(env *Env) *cobra.Command {
	var f followFlags
	var filter api.EventFilter
	c := &cobra.Command{
		Use: "follow", Short: "Show what happens on the server as it happens, from now on", Args: exactly(),
		Long: "It comes back by itself when the server restarts, and misses nothing. Ends on Ctrl-C.\n" +
			"With -o json each event has an ID, after which --after goes on.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter.After, filter.Deltas = f.after, f.deltas
			return f.follow(cmd.Context(), env, true, func(each func(api.Event) error) error {
				return env.Client().FollowEvents(cmd.Context(), filter, each)
			})
		},
	}
	f.register(c)
	c.Flags().StringVar(&filter.Agent, "agent", "", "only what this `agent` does or is sent")
	c.Flags().StringVar(&filter.Conversation, "conversation", "", "only this `conversation`")
	c.Flags().StringSliceVar(&filter.Kinds, "kind", nil, "only records of these `kinds`, such as message,settled; and rollout")
	return c
}

// replyTime is how long commands wait for a reply.
const replyTime = 50 * time.Second

// streamReply sends a message, prints the reply as it is written, and returns the receipt.
// As JSON and YAML it prints pieces only with pieces. A reply that does not come in time is
// no error.
func (e *Env) streamReply(ctx context.Context, m api.Message, wait time.Duration, pieces bool) (api.Receipt, *writer, error) {
	w := &writer{env: e}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var accepted api.Receipt
	r, err := e.Client().SendStream(limited, m, func(ev api.Event) (err error) {
		switch {
		case ev.Name == api.EventAccepted:
			accepted, err = ev.Receipt()
			return err
		case ev.Name == api.EventDelta && (pieces || e.flags.output == "table"):
			return w.delta(ev)
		}
		return nil
	})
	if err != nil && caxton.KindOf(err) == caxton.Timeout && accepted.MessageID != "" {
		return accepted, w, w.end()
	}
	return r, w, err
}

// sendStream sends a message and shows the reply as it is written.
func (e *Env) sendStream(ctx context.Context, m api.Message, wait time.Duration) error {
	r, w, err := e.streamReply(ctx, m, wait, true)
	if err != nil {
		_ = w.end()
		return err
	}
	switch {
	case e.flags.output != "table":
		err = e.PrintNext(event{Event: api.EventReply, Data: r}, nil)
	case r.Reply != nil:
		err = w.reply(r.Reply)
	case r.Status == "handled":
		e.say("%s handled it without a reply", r.RoutedTo)
	default:
		e.say("no reply yet; caxton messages show %s tells what becomes of it", r.MessageID)
	}
	if err == nil && r.Reply != nil && r.Reply.Performative == string(caxton.Failure) {
		return exitCode(1)
	}
	return err
}

// A writer shows the text of models as it comes. The zero value but for env is ready.
type writer struct {
	env  *Env
	at   api.Delta       // the last piece
	text strings.Builder // of its step, as far as it stands in the output
	open bool            // the line is not ended
}

// delta shows a piece. A step or an answer that begins anew has a line of its own.
func (w *writer) delta(e api.Event) error {
	d, err := e.Delta()
	if err != nil {
		return err
	}
	if w.env.flags.output != "table" {
		return w.env.PrintNext(event{e.Name, e.ID, d}, nil)
	}
	if d.Restart || d.Step != w.at.Step || d.MessageID != w.at.MessageID || d.Index < w.at.Index {
		if err := w.end(); err != nil {
			return err
		}
		w.text.Reset()
	}
	w.at = d
	if d.Text == "" {
		return nil
	}
	w.text.WriteString(d.Text)
	w.open = !strings.HasSuffix(d.Text, "\n")
	_, err = io.WriteString(w.env.Stdout, safe(w.env.Stdout, d.Text))
	return err
}

// end ends the line.
func (w *writer) end() error {
	if !w.open {
		return nil
	}
	w.open = false
	_, err := io.WriteString(w.env.Stdout, "\n")
	return err
}

// reply shows a reply, unless it stands there already.
func (w *writer) reply(r *api.Reply) error {
	if err := w.end(); err != nil {
		return err
	}
	if w.env.flags.output == "table" && w.text.Len() > 0 && strings.TrimSpace(w.text.String()) == strings.TrimSpace(r.Text) {
		return nil
	}
	p := &printer{w: w.env.Stdout}
	p.line("%s", r.Text)
	return p.flush()
}
