package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrNoServer is the error of every call outside of WebAssembly.
var ErrNoServer = errors.New("guest: not running in a Caxton server")

// A Message is what the agent handles, or says. What the server fills in of a message that
// the agent says may be left out.
type Message struct {
	ID             string          `json:"message_id,omitempty"`
	ConversationID string          `json:"conversation_id,omitempty"`
	Performative   string          `json:"performative,omitempty"`
	Sender         string          `json:"sender,omitempty"`
	Receiver       string          `json:"receiver,omitempty"`
	Capability     string          `json:"capability,omitempty"`
	Content        json.RawMessage `json:"content"`
	Language       string          `json:"language,omitempty"`
	Ontology       string          `json:"ontology,omitempty"`
	Protocol       string          `json:"protocol,omitempty"`
	ReplyWith      string          `json:"reply_with,omitempty"`
	InReplyTo      string          `json:"in_reply_to,omitempty"`
	Everyone       bool            `json:"everyone,omitempty"` // with a capability: to all who have it
	Timeout        string          `json:"timeout,omitempty"`  // how long an answer is wanted: "30s"
}

// Text returns the content as text: a JSON string unquoted, anything else as it is.
func (m *Message) Text() string {
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s
	}
	return string(m.Content)
}

// Decode reads the content.
func (m *Message) Decode(into any) error { return json.Unmarshal(m.Content, into) }

// Say returns a message with that content: any value that JSON can hold.
func Say(performative string, content any) (Message, error) {
	b, err := json.Marshal(content)
	return Message{Performative: performative, Content: b}, err
}

// A Handler answers a message with Reply. An error fails the message.
type Handler func(m Message) error

// Reply answers the message at work. It may be called more than once.
func Reply(content any) error { return Answer("", content) }

// Answer is Reply with a performative: "inform", "refuse", "propose", …
func Answer(performative string, content any) error {
	m, err := Say(performative, content)
	if err != nil {
		return err
	}
	return out(m)
}

// Run is the main function of a command: it reads the message, calls h, and ends.
func Run(h Handler) {
	data, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = HandleJSON(data, h)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// HandleJSON calls h with a message as the server writes it.
func HandleJSON(data []byte, h Handler) error {
	var m Message
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("guest: reading the message: %w", err)
	}
	return h(m)
}
