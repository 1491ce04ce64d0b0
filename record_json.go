package caxton

import (
	"encoding/json"
	"strconv"
	"time"
)

// The bodies of the two records that every message leaves are printed by hand, in a fraction
// of the time that encoding/json takes. Tests hold the result to what encoding/json makes.

// AppendJSON appends b as JSON to dst.
func (b *MessageBody) AppendJSON(dst []byte) ([]byte, error) {
	p := printer{b: append(dst, `{"message":`...)}
	p.message(&b.Message)
	if b.Routing.Strategy != "" || b.Routing.Candidates != nil {
		p.name(`,"routing":{"strategy":`)
		p.text(string(b.Routing.Strategy))
		if len(b.Routing.Candidates) > 0 {
			p.name(`,"candidates":`)
			p.any(b.Routing.Candidates)
		}
		p.name(`}`)
	}
	p.optionalInt(`,"version":`, b.Version)
	p.name(`}`)
	return p.b, p.err
}

func (p *printer) message(m *LoggedMessage) {
	p.name(`{"message_id":`)
	p.text(string(m.ID))
	p.name(`,"conversation_id":`)
	p.text(string(m.ConversationID))
	p.name(`,"performative":`)
	p.text(string(m.Performative))
	p.optional(`,"sender":`, m.Sender)
	p.optional(`,"sender_id":`, string(m.SenderID))
	p.optional(`,"receiver":`, m.Receiver)
	p.optional(`,"receiver_id":`, string(m.ReceiverID))
	p.optional(`,"capability":`, m.Capability.String())
	p.name(`,"content":`)
	p.value(m.Content)
	p.optional(`,"language":`, m.Language)
	p.optional(`,"ontology":`, m.Ontology)
	p.optional(`,"protocol":`, m.Protocol)
	p.optional(`,"reply_with":`, m.ReplyWith)
	p.optional(`,"in_reply_to":`, m.InReplyTo)
	if !m.ReplyBy.IsZero() {
		p.name(`,"reply_by":`)
		p.time(m.ReplyBy)
	}
	p.optionalInt(`,"priority":`, m.Priority)
	p.optional(`,"strategy":`, string(m.Strategy))
	p.name(`,"created_at":`)
	p.time(m.CreatedAt)
	p.optional(`,"traceparent":`, m.TraceParent)
	p.optional(`,"parent":`, string(m.Parent))
	p.optional(`,"root":`, string(m.Root))
	p.optionalInt(`,"depth":`, m.Depth)
	p.name(`}`)
}

// AppendJSON appends b as JSON to dst.
func (b *SettledBody) AppendJSON(dst []byte) ([]byte, error) {
	p := printer{b: append(dst, `{"outcome":`...)}
	p.text(string(b.Outcome))
	p.name(`,"attempt":`)
	p.b = strconv.AppendInt(p.b, int64(b.Attempt), 10)
	p.name(`,"version":`)
	p.b = strconv.AppendInt(p.b, int64(b.Version), 10)
	p.name(`,"leased_at":`)
	p.time(b.LeasedAt)
	p.optional(`,"error":`, b.Error)
	p.optional(`,"code":`, b.Code)
	for i, id := range b.Outputs {
		if i == 0 {
			p.name(`,"outputs":[`)
		} else {
			p.name(`,`)
		}
		p.text(string(id))
	}
	if len(b.Outputs) > 0 {
		p.name(`]`)
	}
	if len(b.Tickets) > 0 {
		p.name(`,"tickets":`)
		p.any(b.Tickets)
	}
	if b.Module != nil {
		p.name(`,"module":`)
		p.any(b.Module)
	}
	p.name(`}`)
	return p.b, p.err
}

// A printer appends pieces of JSON and keeps the first error.
type printer struct {
	b   []byte
	err error
}

// name appends a member's name, or whatever else is JSON as it is.
func (p *printer) name(s string) { p.b = append(p.b, s...) }

// any appends what is rare, the long way.
func (p *printer) any(v any) {
	b, err := json.Marshal(v)
	if err != nil && p.err == nil {
		p.err = err
	}
	p.b = append(p.b, b...)
}

func (p *printer) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			p.any(s)
			return
		}
	}
	p.b = append(p.b, '"')
	p.b = append(p.b, s...)
	p.b = append(p.b, '"')
}

func (p *printer) optional(name, s string) {
	if s != "" {
		p.name(name)
		p.text(s)
	}
}

func (p *printer) optionalInt(name string, n int) {
	if n != 0 {
		p.name(name)
		p.b = strconv.AppendInt(p.b, int64(n), 10)
	}
}

func (p *printer) time(t time.Time) {
	var err error
	p.b = append(p.b, '"')
	if p.b, err = t.AppendText(p.b); err != nil && p.err == nil {
		p.err = err
	}
	p.b = append(p.b, '"')
}

// value appends a JSON value. Texts, the usual content, need no second look when they hold
// nothing that is to be escaped; what else there is may have to be compacted.
func (p *printer) value(v json.RawMessage) {
	if plain(v) {
		p.b = append(p.b, v...)
		return
	}
	p.any(v)
}

// special has the bits of the characters below 64 that encoding/json escapes.
const special uint64 = 1<<' ' - 1 | 1<<'"' | 1<<'<' | 1<<'>' | 1<<'&'

// plain reports whether v is a JSON text that encoding/json leaves as it is.
func plain(v json.RawMessage) bool {
	end := len(v) - 1
	if end < 1 || v[0] != '"' || v[end] != '"' {
		return false
	}
	for i := 1; i < end; i++ {
		switch c := v[i]; {
		case c < 64:
			if special>>c&1 != 0 {
				return false
			}
		case c == '\\':
			i++
			switch v[i] { // at the end it is the closing quote, which then closes nothing
			case '\\', '/', 'b', 'f', 'n', 'r', 't':
			case '"':
				if i == end {
					return false
				}
			default:
				return false
			}
		case c == 0xe2: // begins the line separators, among others
			return false
		}
	}
	return true
}
