package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newMessages(env *Env) *cobra.Command {
	return group("messages", "Send messages and ask what became of them", newMessagesSend(env), newMessagesShow(env), newMessagesCancel(env), newMessagesDead(env))
}

func newMessagesSend(env *Env) *cobra.Command {
	var m api.Message
	var content, wait string
	var async, stream bool
	c := &cobra.Command{
		Use: "send", Short: "Send a message to an agent, or to whoever has a capability", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if content == "" {
				return errUsage("--content is missing").WithHint("say what to send: --content TEXT")
			}
			if t := strings.TrimSpace(content); (strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[")) && json.Valid([]byte(t)) {
				m.Content = json.RawMessage(t)
			} else {
				m.Text = content
			}
			d, err := caxton.ParseDuration(wait)
			if err != nil {
				return err
			}
			if async {
				d = 0
			}
			if stream && async {
				return errUsage("--stream and --no-wait exclude each other").WithHint("give one of them")
			}
			if stream {
				return env.sendStream(cmd.Context(), m, d)
			}
			r, err := env.sendAndWait(cmd.Context(), m, d)
			if err != nil {
				return err
			}
			if err := env.Print(r, func(p *printer) {
				for _, o := range r.Others {
					env.say("sent to %s too, as message %s", o.RoutedTo, o.MessageID)
				}
				switch {
				case r.Reply != nil:
					p.line("%s", r.Reply.Text)
				case r.Status == "handled":
					p.line("%s handled it without a reply", r.RoutedTo)
				default:
					p.line("accepted by %s; caxton messages show %s tells what becomes of it", r.RoutedTo, r.MessageID)
				}
			}); err != nil {
				return err
			}
			if r.Reply != nil && r.Reply.Performative == string(caxton.Failure) {
				return exitCode(1)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&m.Receiver, "to", "", "`agent`: ID, name, slug or file name")
	f.StringVar(&m.Capability, "capability", "", "or a `capability`: the server chooses the agent")
	f.StringVar(&content, "content", "", "`text` or JSON to send")
	f.StringVar(&m.Performative, "performative", "", "what the message does (default: request)")
	f.StringVar(&m.ConversationID, "conversation", "", "go on in this `conversation`")
	f.StringVar(&m.Sender, "from", "", "what you call yourself")
	f.IntVar(&m.Priority, "priority", 0, "1 (last) to 10 (first)")
	f.StringVar(&m.Strategy, "strategy", "", "how to choose: best_match, round_robin, least_loaded, priority or broadcast")
	f.StringVar(&wait, "wait", "50s", "how long to wait for the reply")
	f.BoolVar(&stream, "stream", false, "show the reply as it is written")
	f.BoolVar(&async, "no-wait", false, "do not wait for the reply")
	return c
}

func newMessagesShow(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a message, how it was routed, and its replies", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := env.Client().Message(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(m, func(p *printer) {
				p.row("Message:", m.MessageID)
				p.row("Conversation:", m.ConversationID)
				p.row("From, to:", m.Sender+" → "+m.Receiver)
				p.row("Performative:", m.Performative)
				p.row("Status:", strings.TrimSpace(m.Status+" "+m.Error))
				if m.State != "settled" {
					p.row("State:", strings.TrimSpace(m.State+" "+m.Waits))
				}
				p.row("Attempts:", strconv.Itoa(m.Attempts))
				if len(m.Tickets) > 0 {
					p.row("Approvals:", strings.Join(m.Tickets, ", "))
				}
				if m.Parent != "" {
					p.row("Out of:", m.Parent)
				}
				p.row("Routed by:", m.Routing.Strategy)
				p.line("Content: %s", m.Content)
				if len(m.Routing.Candidates) > 0 {
					p.row("CANDIDATE", "SCORE", "MATCH", "HEALTH", "LOAD", "CONTINUITY")
				}
				for _, c := range m.Routing.Candidates {
					p.row(c.Agent, number(c.Score), number(c.Match), number(c.Health), number(c.Load), number(c.Continuity))
				}
				for _, r := range m.Replies {
					p.line("%s from %s:\n%s", r.Performative, r.Sender, indent(r.Text))
				}
			})
		},
	}
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', 4, 64) }

func newConversations(env *Env) *cobra.Command {
	return group("conversations", "Look at conversations and their logs", append([]*cobra.Command{newConversationsList(env), newConversationsShow(env), newConversationsFollow(env)}, conversationCommands(env)...)...)
}

func newConversationsList(env *Env) *cobra.Command {
	var agent, state, cursor string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List conversations, newest activity first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Conversations(cmd.Context(), agent, state, limit, cursor)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("CONVERSATION", "STATE", "MESSAGES", "LAST ACTIVITY", "PARTICIPANTS")
				for _, c := range l.Items {
					p.row(c.ID, c.Status, strconv.Itoa(c.MessageCount), c.LastActivity.Local().Format(time.DateTime), strings.Join(c.Participants, ", "))
				}
				if l.Next != "" {
					env.say("more with --cursor %s", l.Next)
				}
			})
		},
	}
	c.Flags().StringVar(&agent, "agent", "", "only those this `agent` takes part in")
	c.Flags().StringVar(&state, "state", "", "only active, idle or archived ones")
	c.Flags().IntVar(&limit, "limit", 50, "how `many`, 1 to 200")
	c.Flags().StringVar(&cursor, "cursor", "", "`cursor` of the page before")
	return c
}

func newConversationsShow(env *Env) *cobra.Command {
	var effects bool
	c := &cobra.Command{
		Use: "show ID", Short: "Show the log of a conversation", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if effects {
				return effectsOf(cmd, env, args[0])
			}
			all := api.Records{Items: []api.Record{}}
			for {
				page, err := env.Client().Records(cmd.Context(), args[0], all.Next, 1000)
				if err != nil {
					return err
				}
				all.Items = append(all.Items, page.Items...)
				if all.Next = page.Next; all.Next == 0 {
					break
				}
			}
			all.Records = all.Items
			return env.Print(all, func(p *printer) {
				for _, r := range all.Items {
					p.row(strconv.FormatInt(r.Seq, 10), r.At.Local().Format("15:04:05.000"), r.Kind, summary(r))
				}
			})
		},
	}
	c.Flags().BoolVar(&effects, "effects", false, "only its tool calls, and what became of them")
	return c
}

// summary says in one line what a record tells.
func summary(r api.Record) string {
	var b struct {
		Message caxton.LoggedMessage `json:"message"`
		Routing caxton.Routing       `json:"routing"`
		Version int                  `json:"version"`
		Attempt int                  `json:"attempt"`
		Error   string               `json:"error"`
		Outcome string               `json:"outcome"`
		Model   string               `json:"model"`
		Prov    string               `json:"provider"`
		Text    string               `json:"text"`
		Tool    string               `json:"tool"`
		Args    json.RawMessage      `json:"arguments"`
		In      int                  `json:"input_tokens"`
		Out     int                  `json:"output_tokens"`
		Millis  int64                `json:"ms"`
	}
	if r.Kind == "message" {
		var body caxton.MessageBody
		if json.Unmarshal(r.Body, &body) == nil {
			m := caxton.Message(body.Message)
			return short(fmt.Sprintf("%s %s → %s: %s", m.Performative, m.Sender, m.Receiver, m.Text()))
		}
	}
	if json.Unmarshal(r.Body, &b) != nil {
		return short(string(r.Body))
	}
	switch caxton.RecordKind(r.Kind) {
	case caxton.RecordModelCalled:
		return short(fmt.Sprintf("%s %s, %d + %d tokens, %d ms: %s", b.Prov, b.Model, b.In, b.Out, b.Millis, b.Text))
	case caxton.RecordToolIntended:
		return short(fmt.Sprintf("%s %s", b.Tool, b.Args))
	case caxton.RecordToolReturned:
		return short(fmt.Sprintf("%s, %d ms: %s", b.Tool, b.Millis, b.Text))
	case caxton.RecordSettled:
		return short(strings.TrimSpace(fmt.Sprintf("%s, attempt %d, version %d %s", b.Outcome, b.Attempt, b.Version, b.Error)))
	case caxton.RecordCancelAsked, caxton.RecordParked, caxton.RecordReopened, caxton.RecordApprovalAsked, caxton.RecordDecided, caxton.RecordBudgetReserved,
		caxton.RecordBudgetSettled, caxton.RecordForked, caxton.RecordArchived, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
		return short(string(r.Body))
	case caxton.RecordLeased, caxton.RecordReleased, caxton.RecordMessage:
		return short(strings.TrimSpace(fmt.Sprintf("attempt %d %s", b.Attempt, b.Error)))
	}
	return short(string(r.Body))
}

// short returns the first hundred characters of a text, on one line.
func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if rs := []rune(s); len(rs) > 100 {
		return string(rs[:99]) + "…"
	}
	return s
}
