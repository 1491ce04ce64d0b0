package messaging

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/jsonschema-go/jsonschema"
)

type send struct {
	desk
	spec tool.Spec
}

type sendArgs struct {
	To           string          `json:"to,omitempty" jsonschema:"The agent to say it to, by name."`
	Capability   string          `json:"capability,omitempty" jsonschema:"Instead of an agent: what whoever gets it must be able to do."`
	Content      json.RawMessage `json:"content" jsonschema:"What to say: a text, or a JSON value."`
	Performative string          `json:"performative,omitempty" jsonschema:"What the message does: request unless given; inform, query-ref, query-if, propose and so on."`
	Conversation string          `json:"conversation,omitempty" jsonschema:"A conversation to go on with, as an earlier call returned it; a new one unless given."`
	InReplyTo    string          `json:"in_reply_to,omitempty" jsonschema:"What the message answers."`
	Everyone     bool            `json:"everyone,omitempty" jsonschema:"With a capability: say it to everyone who has it."`
	Wait         *bool           `json:"wait,omitempty" jsonschema:"Whether to wait for the answer; yes unless given."`
	Timeout      string          `json:"timeout,omitempty" jsonschema:"How long an answer is wanted, such as 30s or 2h; 10m unless given."`
}

// sendResult is the Data of send_message.
type sendResult struct {
	ConversationID caxton.ConversationID `json:"conversation_id"`
	Answers        []sentTo              `json:"answers"`
}

type sentTo struct {
	Agent        string              `json:"agent"`
	MessageID    caxton.MessageID    `json:"message_id"`
	Performative caxton.Performative `json:"performative,omitempty"` // of the answer
	Content      json.RawMessage     `json:"content,omitempty"`
	NoAnswer     string              `json:"no_answer,omitempty"` // why there is none
}

// defaultTimeout is how long an answer is wanted unless the call says otherwise.
const defaultTimeout = 10 * time.Minute

func newSend(d desk) (tool.Tool, error) {
	s, err := spec[sendArgs]("send_message",
		"Say something to another agent, or to whoever has a capability, and wait for the answer. "+
			"The agent answers in a conversation of its own; to go on with that, pass its id as conversation.",
		func(p map[string]*jsonschema.Schema) {
			*p["content"] = jsonschema.Schema{Description: p["content"].Description}
			p["to"].MaxLength, p["capability"].MaxLength = new(200), new(100)
		})
	return &send{d, s}, err
}

// Spec describes the tool.
func (s *send) Spec() tool.Spec { return s.spec }

// Call sends the message and returns the answer.
func (s *send) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	var a sendArgs
	if err := decode(s.spec.Name, c.Args, &a); err != nil {
		return tool.Result{}, err
	}
	m, wait, err := s.message(&a, &c)
	if err != nil {
		return tool.Result{}, err
	}
	rc, err := s.send(ctx, m)
	if err != nil {
		return tool.Result{}, err
	}
	receipts := append([]caxton.Receipt{rc}, rc.Others...)
	out := sendResult{ConversationID: rc.ConversationID}
	ids := make([]caxton.MessageID, len(receipts))
	for i, r := range receipts {
		ids[i] = r.MessageID
		out.Answers = append(out.Answers, sentTo{Agent: r.Agent, MessageID: r.MessageID})
	}
	if !wait || m.Performative.Replies() {
		return result(&out, "sent")
	}
	deadline := m.ReplyBy
	if rc.Duplicate { // sent by an earlier run of this call: its deadline counts
		st, err := s.mail.Status(ctx, rc.MessageID)
		if err != nil {
			return tool.Result{}, err
		}
		deadline = st.Message.ReplyBy
	}
	answers, waits, err := s.await(ctx, ids, deadline)
	if err != nil {
		return tool.Result{}, err
	}
	if len(waits) > 0 && s.cfg.Now().Before(deadline) {
		return tool.Result{}, park(earlier(s.cfg.Now().Add(s.cfg.Look), deadline), "it waits for an answer of "+names(receipts, waits), waits...)
	}
	for i := range out.Answers {
		o := &out.Answers[i]
		switch ans, ok := answers[o.MessageID]; {
		case !ok:
			o.NoAnswer = "there was no answer in time"
		case ans.err != nil:
			o.NoAnswer = "it was handled without an answer"
		default:
			o.Performative, o.Content = ans.reply.Performative, ans.reply.Content
		}
	}
	return result(&out, "")
}

// message checks the arguments and makes the message of them.
func (s *send) message(a *sendArgs, c *tool.Call) (m caxton.Message, wait bool, err error) {
	m = fromAgent(c, "message")
	m.Receiver, m.InReplyTo, m.Content = a.To, a.InReplyTo, a.Content
	if a.Capability != "" {
		if m.Capability, err = caxton.ParseCapability(a.Capability); err != nil {
			return m, false, err
		}
	}
	if m.Performative, err = caxton.ParsePerformative(a.Performative); err != nil {
		return m, false, err
	}
	if a.Everyone {
		if m.Capability.IsZero() {
			return m, false, caxton.Errorf(caxton.Invalid, "arguments_invalid", "everyone is asked by a capability").WithHint(`give "capability" instead of "to"`)
		}
		m.Strategy = caxton.Broadcast
	}
	timeout := defaultTimeout
	if a.Timeout != "" {
		if timeout, err = caxton.ParseDuration(a.Timeout); err != nil || timeout <= 0 {
			return m, false, caxton.Errorf(caxton.Invalid, "arguments_invalid", "%q is not a time to wait", a.Timeout).WithHint("write it like 30s or 2h")
		}
	}
	if a.Conversation != "" {
		m.ConversationID, m.Parent = caxton.ConversationID(a.Conversation), ""
	}
	wait = a.Wait == nil || *a.Wait
	if wait {
		m.ReplyBy = s.cfg.Now().Add(timeout)
	}
	return m, wait, nil
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// names lists the agents that the messages went to.
func names(receipts []caxton.Receipt, ids []caxton.MessageID) string {
	var ns []string
	for _, r := range receipts {
		if slices.Contains(ids, r.MessageID) {
			ns = append(ns, cmp.Or(r.Agent, string(r.AgentID)))
		}
	}
	return strings.Join(ns, ", ")
}

// result prints what came of a call.
func result(out *sendResult, note string) (tool.Result, error) {
	data, err := json.Marshal(out)
	if err != nil {
		return tool.Result{}, fmt.Errorf("encoding the answers: %w", err)
	}
	var b strings.Builder
	for _, o := range out.Answers {
		switch {
		case o.NoAnswer != "":
			fmt.Fprintf(&b, "%s: %s\n", o.Agent, o.NoAnswer)
		case o.Performative == "":
			fmt.Fprintf(&b, "%s: %s as message %s\n", o.Agent, note, o.MessageID)
		default:
			text := (&caxton.Message{Content: o.Content}).Text()
			if o.Performative == caxton.Inform {
				fmt.Fprintf(&b, "%s: %s\n", o.Agent, text)
			} else {
				fmt.Fprintf(&b, "%s (%s): %s\n", o.Agent, o.Performative, text)
			}
		}
	}
	fmt.Fprintf(&b, "[conversation %s]", out.ConversationID)
	return tool.Result{Text: b.String(), Data: data}, nil
}
