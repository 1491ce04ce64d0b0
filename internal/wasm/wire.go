package wasm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/caxton/caxton"
)

// A said is one message as a guest writes it.
type said struct {
	Performative string          `json:"performative"`
	Content      json.RawMessage `json:"content"`
	Receiver     string          `json:"receiver"`
	Capability   string          `json:"capability"`
	Conversation string          `json:"conversation_id"`
	InReplyTo    string          `json:"in_reply_to"`
	Everyone     bool            `json:"everyone"`
	Timeout      string          `json:"timeout"`
	Language     string          `json:"language"`
	Ontology     string          `json:"ontology"`

	MessageID string `json:"message_id"` // that of the message at work: the guest gives back what it got, as its answer
	known
}

// What is known of every message is taken when a guest says it, and not looked at.
type known struct {
	Sender      json.RawMessage `json:"sender"`
	SenderID    json.RawMessage `json:"sender_id"`
	ReceiverID  json.RawMessage `json:"receiver_id"`
	CreatedAt   json.RawMessage `json:"created_at"`
	ReplyWith   json.RawMessage `json:"reply_with"`
	ReplyBy     json.RawMessage `json:"reply_by"`
	Protocol    json.RawMessage `json:"protocol"`
	Priority    json.RawMessage `json:"priority"`
	Strategy    json.RawMessage `json:"strategy"`
	TraceParent json.RawMessage `json:"traceparent"`
	Parent      json.RawMessage `json:"parent"`
	Root        json.RawMessage `json:"root"`
	Depth       json.RawMessage `json:"depth"`
}

// elsewhere reports whether the message goes to somebody else than who asked.
func (s *said) elsewhere() bool { return s.Receiver != "" || s.Capability != "" }

// parseOutput reads what a guest wrote: JSON values one after the other, on lines of their
// own or not, or arrays of them. An object with "content" is a message; any other value is
// the content of the answer.
func parseOutput(data []byte, most int, of caxton.MessageID) ([]said, error) {
	if at := invalidUTF8(data); at >= 0 {
		return nil, badOutput(data, at, "a byte that is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var all []said
	for {
		start := skipSpace(data, int(dec.InputOffset()))
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, badOutput(data, faultAt(err, len(data), start), jsonFault(err))
		}
		values := []json.RawMessage{raw}
		if raw[0] == '[' && json.Unmarshal(raw, &values) != nil {
			return nil, badOutput(data, start, "an array that cannot be read")
		}
		for _, v := range values {
			if len(all) >= most {
				return nil, caxton.Errorf(caxton.TooLarge, "wasm_too_many_outputs", "the module said more than %d messages in one turn", most).
					WithHint("say less, or raise the limit of the agent")
			}
			s, err := parseSaid(v)
			if err != nil {
				return nil, badOutput(data, start, err.Error())
			}
			if s.MessageID != "" && s.MessageID == string(of) {
				s = said{Content: s.Content}
			}
			all = append(all, s)
		}
	}
}

// parseSaid reads one value.
func parseSaid(v json.RawMessage) (said, error) {
	var keys map[string]json.RawMessage
	if v[0] == '{' {
		if err := json.Unmarshal(v, &keys); err != nil {
			return said{}, err
		}
	}
	if keys["content"] == nil {
		return said{Content: v}, nil
	}
	var s said
	dec := json.NewDecoder(bytes.NewReader(v))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("a message with %s", jsonFault(err))
	}
	return s, nil
}

// jsonFault says in a few words what the decoder does not like.
func jsonFault(err error) string {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("a %s where %q wants something else", t.Value, t.Field)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "JSON that breaks off"
	}
	return "JSON that is not well formed: " + trimJSON(err.Error())
}

func trimJSON(s string) string {
	if t, ok := bytes.CutPrefix([]byte(s), []byte("json: ")); ok {
		return string(t)
	}
	return s
}

// faultAt returns where in the data a decoder stopped.
func faultAt(err error, end, start int) int {
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return min(max(int(s.Offset)-1, 0), end)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return end
	}
	return start
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		if data[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func skipSpace(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\n' || data[at] == '\t' || data[at] == '\r') {
		at++
	}
	return at
}

// badOutput says what is wrong with what a guest wrote, and where.
func badOutput(data []byte, at int, what string) error {
	line := 1 + bytes.Count(data[:at], []byte("\n"))
	column := at - bytes.LastIndexByte(data[:at], '\n')
	from, to := max(0, at-20), min(len(data), at+20)
	e := caxton.Errorf(caxton.Invalid, "wasm_bad_output", "the module wrote %s (line %d, column %d, near %q)", what, line, column, data[from:to]).
		WithHint(`a module writes JSON: a text, or objects like {"performative": "inform", "content": "…"}, one a line`)
	e.Issues = []caxton.Issue{{Path: "output", Line: line, Column: column, Message: "the module wrote " + what}}
	return e
}

// message returns what was said as the answer to m.
func (s *said) reply(m *caxton.Message) (caxton.Message, error) {
	p := answerTo(m.Performative)
	if s.Performative != "" {
		var err error
		if p, err = caxton.ParsePerformative(s.Performative); err != nil {
			return caxton.Message{}, err
		}
	}
	r := m.Reply(p, s.Content)
	if s.Language != "" {
		r.Language = s.Language
	}
	if s.Ontology != "" {
		r.Ontology = s.Ontology
	}
	return r, nil
}

// answerTo returns the performative of a plain answer.
func answerTo(p caxton.Performative) caxton.Performative {
	switch p {
	case caxton.CFP:
		return caxton.Propose
	case caxton.Subscribe:
		return caxton.Agree
	case caxton.Request, caxton.Query, caxton.QueryIf, caxton.QueryRef, caxton.Propose, caxton.AcceptProposal, caxton.RejectProposal,
		caxton.Inform, caxton.Agree, caxton.Refuse, caxton.Failure, caxton.NotUnderstood, caxton.Cancel, caxton.Confirm, caxton.Disconfirm:
	}
	return caxton.Inform
}

// sendArgs returns what was said as arguments of the tool send_message.
func (s *said) sendArgs(wait bool) (json.RawMessage, error) {
	return json.Marshal(struct {
		To           string          `json:"to,omitempty"`
		Capability   string          `json:"capability,omitempty"`
		Content      json.RawMessage `json:"content"`
		Performative string          `json:"performative,omitempty"`
		Conversation string          `json:"conversation,omitempty"`
		InReplyTo    string          `json:"in_reply_to,omitempty"`
		Everyone     bool            `json:"everyone,omitempty"`
		Wait         bool            `json:"wait"`
		Timeout      string          `json:"timeout,omitempty"`
	}{s.Receiver, s.Capability, s.Content, s.Performative, s.Conversation, s.InReplyTo, s.Everyone, wait, s.Timeout})
}
