package messaging

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/jsonschema-go/jsonschema"
)

// A Mail carries messages. *router.Router provides it.
type Mail interface {
	Send(ctx context.Context, m caxton.Message) (caxton.Receipt, error)
	Await(ctx context.Context, id caxton.MessageID) (caxton.Message, error)
	Status(ctx context.Context, id caxton.MessageID) (caxton.MessageStatus, error)
}

// Config tunes the tools. Zero fields mean the defaults given here.
type Config struct {
	Hold time.Duration    // how long a call waits before it parks its turn: 2 s
	Look time.Duration    // how often a parked turn looks again when nobody wakes it: 30 s
	Now  func() time.Time // time.Now
}

// New returns the tools over mail.
func New(mail Mail, cfg Config) ([]tool.Tool, error) {
	cfg.Hold = cmp.Or(cfg.Hold, 2*time.Second)
	cfg.Look = cmp.Or(cfg.Look, 30*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := desk{mail: mail, cfg: cfg}
	send, err := newSend(d)
	if err != nil {
		return nil, err
	}
	net, err := newContractNet(d)
	if err != nil {
		return nil, err
	}
	return []tool.Tool{send, net}, nil
}

// A desk sends and waits for the tools.
type desk struct {
	mail Mail
	cfg  Config
}

// spec returns the Spec of a tool whose arguments are the struct A.
func spec[A any](name, description string, shape func(p map[string]*jsonschema.Schema)) (tool.Spec, error) {
	s, err := jsonschema.For[A](nil)
	if err != nil {
		return tool.Spec{}, fmt.Errorf("schema of %s: %w", name, err)
	}
	shape(s.Properties)
	text, err := json.Marshal(s)
	if err != nil {
		return tool.Spec{}, fmt.Errorf("schema of %s: %w", name, err)
	}
	return tool.Spec{Name: name, Description: description, Parameters: text, Source: "builtin", Idempotent: true, Waits: true}, nil
}

// decode reads checked arguments.
func decode(name string, args json.RawMessage, into any) error {
	if err := json.Unmarshal(args, into); err != nil {
		return caxton.Errorf(caxton.Malformed, "arguments_malformed", "the arguments of %s cannot be read", name).WithCause(err)
	}
	return nil
}

// fromAgent returns a message of the agent that made the call, in a conversation of its own
// that comes out of the one being handled. IDs follow from the call's key.
func fromAgent(c *tool.Call, what string) caxton.Message {
	return caxton.Message{
		ID: derived(c, what), ConversationID: caxton.ConversationID(derived(c, "conversation")),
		Sender: c.Agent, SenderID: c.AgentID, Parent: c.Message.ConversationID, Priority: c.Message.Priority,
		TraceParent: c.Message.TraceParent,
	}
}

func derived(c *tool.Call, what string) caxton.MessageID {
	return caxton.KeyedMessageID("tool:" + c.Key + ":" + what)
}

// send sends a message. A server that is stopping parks the turn: it goes on after the
// restart.
func (d *desk) send(ctx context.Context, m caxton.Message) (caxton.Receipt, error) {
	rc, err := d.mail.Send(ctx, m)
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Code == "draining" {
		return rc, park(d.cfg.Now(), "the server is stopping")
	}
	return rc, err
}

func park(until time.Time, reason string, settles ...caxton.MessageID) error {
	return caxton.Errorf(caxton.Unavailable, "waiting", "%s", reason).WithCause(&caxton.Parked{Until: until, Reason: reason, Settles: settles})
}

// An answer is what came of a message that was sent: the reply, or why there is none.
type answer struct {
	reply caxton.Message
	err   error
}

// await waits for the answers to messages, as long as Hold, and at most until the deadline
// where there is one. What is not answered by then is missing: waits lists it.
func (d *desk) await(ctx context.Context, ids []caxton.MessageID, until time.Time) (answers map[caxton.MessageID]answer, waits []caxton.MessageID, err error) {
	hold := d.cfg.Hold
	if !until.IsZero() {
		hold = max(0, min(hold, until.Sub(d.cfg.Now())))
	}
	within, cancel := context.WithTimeout(ctx, hold)
	defer cancel()
	answers = map[caxton.MessageID]answer{}
	for _, id := range ids {
		reply, err := d.mail.Await(within, id)
		switch kind := caxton.KindOf(err); {
		case ctx.Err() != nil:
			return nil, nil, err
		case within.Err() != nil && (kind == caxton.Timeout || kind == caxton.Canceled):
			waits = append(waits, id)
		case err != nil && kind != caxton.NotFound:
			return nil, nil, err
		default:
			answers[id] = answer{reply, err}
		}
	}
	return answers, waits, nil
}
