package caxton

import (
	"bytes"
	"cmp"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// MaxPriority is the highest priority of a message; DefaultPriority is what 0 means.
const (
	MaxPriority     = 10
	DefaultPriority = 5
)

// MaxTreeDepth is the most conversations that can be above one, whatever a server is set to.
const MaxTreeDepth = 1000

// MaxContentDepth is how deep arrays and objects in the content of a message may nest.
const MaxContentDepth = 500

// A Message is one typed utterance in a conversation. The fields are those of FIPA ACL
// (SC00061G) with JSON content. It is addressed by Receiver or by Capability.
type Message struct {
	ID             MessageID
	ConversationID ConversationID
	Performative   Performative
	Sender         string          // who says it, by name: an agent's slug, or what the caller calls itself
	SenderID       AgentID         // the sending agent; "" when the sender is outside
	Receiver       string          // to whom, as addressed: UUID, name, slug or file stem; "" with a capability
	ReceiverID     AgentID         // the agent it goes to; "" when it goes outside
	Capability     Capability      // what the receiver must be able to do; zero with a receiver
	Content        json.RawMessage // one JSON value, never empty
	Language       string
	Ontology       string
	Protocol       string
	ReplyWith      string
	InReplyTo      string
	ReplyBy        time.Time // no answer is wanted after this; zero for no deadline
	Priority       int       // 1 (last) to 10 (first); 0 means 5
	Strategy       Strategy  // how to choose among providers of the capability; "" for the server's default
	CreatedAt      time.Time
	TraceParent    string // W3C trace context of the sender, or ""

	// Of the first message of a conversation that came out of another one.
	Parent ConversationID // the conversation it came out of, or ""
	Root   ConversationID // the conversation at the root of the tree; "" for the conversation itself
	Depth  int            // how many conversations are above it
}

// Tree returns the conversation at the root of the tree that m belongs to.
func (m *Message) Tree() ConversationID { return cmp.Or(m.Root, m.ConversationID) }

// Text returns the content as text for a reader or a model: a JSON string is unquoted, an
// object with a string "message", "text" or "content" and nothing else gives that string,
// and any other value is its JSON.
func (m *Message) Text() string {
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(m.Content, &o) == nil && len(o) == 1 {
		for _, k := range []string{"message", "text", "content"} {
			if v, ok := o[k]; ok && json.Unmarshal(v, &s) == nil {
				return s
			}
		}
	}
	return string(m.Content)
}

// TextContent returns s as content: a JSON string.
func TextContent(s string) json.RawMessage {
	if !utf8.ValidString(s) {
		s = string(bytes.ToValidUTF8([]byte(s), []byte("\uFFFD")))
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return json.RawMessage(bytes.TrimRight(b.Bytes(), "\n"))
}

// Reply returns an answer to m with the given performative and content: addressed to m's
// sender, in m's conversation, referring to m. ID and CreatedAt are left to the router.
func (m *Message) Reply(p Performative, content json.RawMessage) Message {
	in := m.ReplyWith
	if in == "" {
		in = string(m.ID)
	}
	return Message{
		ConversationID: m.ConversationID, Performative: p,
		Receiver: m.Sender, ReceiverID: m.SenderID,
		SenderID: m.ReceiverID, Content: content,
		Language: m.Language, Ontology: m.Ontology, Protocol: m.Protocol,
		InReplyTo: in, TraceParent: m.TraceParent,
		Parent: m.Parent, Root: m.Root, Depth: m.Depth,
	}
}

// Check returns an Invalid error naming the first rule m breaks: it needs a receiver or a
// capability but not both, JSON content, a priority of 0 to 10, and well-formed IDs.
func (m *Message) Check() error {
	switch {
	case m.Receiver == "" && m.Capability.IsZero():
		return Errorf(Invalid, "address_missing", "the message is addressed to nobody").
			WithHint(`give "receiver" (an agent) or "capability" (what it must be able to do)`)
	case m.Receiver != "" && !m.Capability.IsZero():
		return Errorf(Invalid, "address_twice", "the message has a receiver and a capability").WithHint("give one of the two")
	case !utf8.Valid(m.Content) || !plain(m.Content) && !json.Valid(m.Content): // most contents are texts without anything special
		return Errorf(Invalid, "content_missing", "the message has no content").WithHint(`give "content", a text or a JSON value`)
	case tooDeep(m.Content):
		return Errorf(Invalid, "content_too_deep", "the content has more than %d arrays and objects inside of one another", MaxContentDepth).
			WithHint("send it flatter, or as a text")
	case m.Priority < 0 || m.Priority > MaxPriority:
		return Errorf(Invalid, "priority_invalid", "priority %d is not between 0 and %d", m.Priority, MaxPriority)
	}
	if m.ID != "" {
		if err := CheckID(string(m.ID)); err != nil {
			return err
		}
	}
	if m.ConversationID != "" {
		return CheckID(string(m.ConversationID))
	}
	return nil
}

// tooDeep reports whether a JSON value nests deeper than MaxContentDepth.
func tooDeep(value []byte) bool {
	if len(value) <= MaxContentDepth {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > MaxContentDepth {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// A Strategy is a way to choose among the providers of a capability.
type Strategy string

// The routing strategies.
const (
	BestMatch       Strategy = "best_match"   // content against descriptions, weighed by health, load, continuity
	RoundRobin      Strategy = "round_robin"  // each in turn
	LeastLoaded     Strategy = "least_loaded" // the shortest queue
	ByPriority      Strategy = "priority"     // the agent's declared priority, times health, times spare capacity
	Broadcast       Strategy = "broadcast"    // every provider gets it
	DirectAddress   Strategy = "direct"       // the sender named the receiver; never configured
	DefaultStrategy          = BestMatch
)

// ParseStrategy reads a strategy; "" stays "", the server's default. "load_balance" and
// "load_balanced" mean round_robin, "least_connections" means least_loaded.
func ParseStrategy(s string) (Strategy, error) {
	switch st := Strategy(s); st {
	case "", BestMatch, RoundRobin, LeastLoaded, ByPriority, Broadcast:
		return st, nil
	case DirectAddress: // is not for choosing
	case "load_balance", "load_balanced":
		return RoundRobin, nil
	case "least_connections":
		return LeastLoaded, nil
	}
	return "", Errorf(Invalid, "strategy_unknown", "%q is not a routing strategy", s).
		WithHint("use best_match, round_robin, least_loaded, priority or broadcast")
}

// A Routing records how a receiver was chosen, so that the choice can be explained later.
type Routing struct {
	Strategy   Strategy    `json:"strategy"`
	Candidates []Candidate `json:"candidates,omitempty"` // best first; empty for direct addressing
}

// A Candidate is one agent that was considered, with the score that decided and the parts
// it was made of, each 0 to 1.
type Candidate struct {
	AgentID    AgentID `json:"agent_id"`
	Slug       string  `json:"agent"`
	Score      float64 `json:"score"`
	Match      float64 `json:"match"`      // overlap of the content with the description
	Health     float64 `json:"health"`     // share of recent turns that went well
	Load       float64 `json:"load"`       // share of the queue in use
	Continuity float64 `json:"continuity"` // 1 when it already takes part in the conversation
}
