package caxton

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A ConversationState says whether a conversation goes on.
type ConversationState string

// The states of a conversation.
const (
	ConversationActive   ConversationState = "active"   // a message in it waits to be handled
	ConversationIdle     ConversationState = "idle"     // nothing waits; a new message may come
	ConversationArchived ConversationState = "archived" // closed; kept for reading
)

// A Conversation is a thread of messages with one append-only log.
type Conversation struct {
	ID           ConversationID
	Parent       ConversationID // the conversation it came out of, or ""
	State        ConversationState
	Participants []string // names, in order of appearance
	Messages     int      // number of messages in it
	CreatedAt    time.Time
	LastActivity time.Time
}

// Parked is the cause of an Error: it asks for a turn to be put aside until a decision comes,
// at the latest until the time.
type Parked struct {
	Until  time.Time
	Reason string
	Ticket bool // a decision on an approval ends it sooner

	// Settles are messages that the turn waits for: as soon as one of them is settled, the turn
	// goes on. The wish lasts as long as the process; after a restart Until decides.
	Settles []MessageID
}

// Error returns the reason.
func (p *Parked) Error() string { return p.Reason }

// UnknownEffects is the cause of an Error: it names the calls of which nobody knows whether
// they happened.
type UnknownEffects struct{ Calls []ToolCallRef }

// Error names the calls.
func (u *UnknownEffects) Error() string { return "outcome unknown of " + u.Names() }

// Names lists the calls by tool and ID.
func (u *UnknownEffects) Names() string {
	names := make([]string, 0, len(u.Calls))
	for i := range u.Calls {
		names = append(names, u.Calls[i].Tool+" ("+u.Calls[i].CallID+")")
	}
	return strings.Join(names, ", ")
}

// A Thread is what a message that continues a conversation needs to know of it.
type Thread struct {
	Version int            // of the receiving agent, that the last message to it was meant for; 0 when there was none
	Parent  ConversationID // as in Message
	Root    ConversationID
	Depth   int
}

// A RecordKind says what a Record tells. Kinds are only ever added.
type RecordKind string

// The kinds of records.
const (
	RecordMessage      RecordKind = "message"       // a message was accepted, with how its receiver was chosen
	RecordLeased       RecordKind = "leased"        // a worker took the message
	RecordReleased     RecordKind = "released"      // the worker gave it back: retry later
	RecordModelCalled  RecordKind = "model_called"  // a model answered
	RecordToolIntended RecordKind = "tool_intended" // a tool is about to run
	RecordToolReturned RecordKind = "tool_returned" // the tool came back
	RecordSettled      RecordKind = "settled"       // the message is done with

	RecordCancelAsked    RecordKind = "cancel_asked"    // the message at work was called off
	RecordParked         RecordKind = "parked"          // the message was put aside until somebody decides
	RecordReopened       RecordKind = "reopened"        // a settled message was sent back to work
	RecordApprovalAsked  RecordKind = "approval_asked"  // somebody is to agree before a call is made
	RecordDecided        RecordKind = "decided"         // a person, or the clock, decided a ticket
	RecordBudgetReserved RecordKind = "budget_reserved" // the most that a call can cost was held back
	RecordBudgetSettled  RecordKind = "budget_settled"  // what it did cost was booked
	RecordForked         RecordKind = "forked"          // the conversation begins as a copy of another
	RecordArchived       RecordKind = "archived"        // the conversation was closed
	RecordMemoryRecalled RecordKind = "memory_recalled" // what the agent remembers was looked up for the message
	RecordMemoryWritten  RecordKind = "memory_written"  // what was said in the turn was remembered
)

// A Record is one thing that happened in a conversation. State is a fold of records.
type Record struct {
	ConversationID ConversationID
	Seq            int64 // position in the conversation's log, from 1, without gaps; given by the journal
	N              int64 // position in the log of the server: rising in the order of commits, with gaps; given by the journal
	At             time.Time
	Kind           RecordKind
	MessageID      MessageID       // the message it is about; for records of a turn the message being handled
	AgentID        AgentID         // the agent that acts, or ""
	Body           json.RawMessage // what it says: the JSON of the body type of its kind
}

// MessageBody is the body of RecordMessage.
type MessageBody struct {
	Message LoggedMessage `json:"message"`
	Routing Routing       `json:"routing,omitzero"`
	Version int           `json:"version,omitempty"` // the receiving agent's version
}

// LoggedMessage is the form of a Message in the log: the same fields, named for JSON.
type LoggedMessage struct {
	ID             MessageID       `json:"message_id"`
	ConversationID ConversationID  `json:"conversation_id"`
	Performative   Performative    `json:"performative"`
	Sender         string          `json:"sender,omitempty"`
	SenderID       AgentID         `json:"sender_id,omitempty"`
	Receiver       string          `json:"receiver,omitempty"`
	ReceiverID     AgentID         `json:"receiver_id,omitempty"`
	Capability     Capability      `json:"capability,omitzero"`
	Content        json.RawMessage `json:"content"`
	Language       string          `json:"language,omitempty"`
	Ontology       string          `json:"ontology,omitempty"`
	Protocol       string          `json:"protocol,omitempty"`
	ReplyWith      string          `json:"reply_with,omitempty"`
	InReplyTo      string          `json:"in_reply_to,omitempty"`
	ReplyBy        time.Time       `json:"reply_by,omitzero"`
	Priority       int             `json:"priority,omitempty"`
	Strategy       Strategy        `json:"strategy,omitempty"`
	CreatedAt      time.Time       `json:"created_at"`
	TraceParent    string          `json:"traceparent,omitempty"`
	Parent         ConversationID  `json:"parent,omitempty"`
	Root           ConversationID  `json:"root,omitempty"`
	Depth          int             `json:"depth,omitempty"`
}

// LeasedBody is the body of RecordLeased.
type LeasedBody struct {
	Attempt int `json:"attempt"` // from 1
	Version int `json:"version"` // the agent's version that handles it
}

// ReleasedBody is the body of RecordReleased.
type ReleasedBody struct {
	Attempt   int       `json:"attempt"`
	Error     string    `json:"error"`
	NotBefore time.Time `json:"not_before"` // when it will be tried again
}

// CancelAskedBody is the body of RecordCancelAsked.
type CancelAskedBody struct {
	By string `json:"by"`
}

// ParkedBody is the body of RecordParked.
type ParkedBody struct {
	Attempt int       `json:"attempt"`
	Reason  string    `json:"reason"`
	Until   time.Time `json:"until"` // it goes on then at the latest
}

// ReopenedBody is the body of RecordReopened.
type ReopenedBody struct {
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

// ApprovalAskedBody is the body of RecordApprovalAsked.
type ApprovalAskedBody struct {
	Ticket Ticket `json:"ticket"`
}

// DecidedBody is the body of RecordDecided.
type DecidedBody struct {
	Kind     TicketKind   `json:"kind"`
	ID       string       `json:"id"`
	Call     *ToolCallRef `json:"call,omitempty"`
	Decision Decision     `json:"decision"`
	State    TicketState  `json:"state"` // of the ticket after the decision
}

// BudgetReservedBody is the body of RecordBudgetReserved.
type BudgetReservedBody struct {
	Reservation
}

// BudgetSettledBody is the body of RecordBudgetSettled: what is booked instead of the
// reservation with the ID.
type BudgetSettledBody struct {
	ID   string   `json:"id"`
	Cost []Charge `json:"cost"`
	Lost bool     `json:"lost,omitempty"` // a crash left it open: booked in full
}

// ForkedBody is the body of RecordForked, the first record of a fork.
type ForkedBody struct {
	From   ConversationID `json:"from"`
	Seq    int64          `json:"seq"` // the last record that was copied
	By     string         `json:"by,omitempty"`
	Reason string         `json:"reason,omitempty"`

	Copied  int64                   `json:"copied,omitempty"`  // how many records after this one are copies
	Origins map[MessageID]MessageID `json:"origins,omitempty"` // what the copied messages were called there
}

// ArchivedBody is the body of RecordArchived.
type ArchivedBody struct {
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

// MemoryRecalledBody is the body of RecordMemoryRecalled.
type MemoryRecalledBody struct {
	Query    string         `json:"query"`
	Items    []RecalledItem `json:"items"`              // best first
	Degraded string         `json:"degraded,omitempty"` // why it was searched by words alone, or not at all
	Millis   int64          `json:"ms"`
}

// A RecalledItem is one thing that was recalled.
type RecalledItem struct {
	ID       string    `json:"id"` // of the observation, or of the entity when nothing is known about it
	EntityID EntityID  `json:"entity_id"`
	Scope    Scope     `json:"scope"`
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	Text     string    `json:"text"`
	Score    float64   `json:"score"`       // 0 to 1
	At       time.Time `json:"at,omitzero"` // when it was true or, when that is not known, when it became known
}

// MemoryWrittenBody is the body of RecordMemoryWritten.
type MemoryWrittenBody struct {
	EntityID     EntityID        `json:"entity_id,omitzero"`
	Observations []ObservationID `json:"observations,omitempty"`
	Error        string          `json:"error,omitempty"` // why it was not
	Millis       int64           `json:"ms"`
}

// ModelCalledBody is the body of RecordModelCalled: enough to repeat the turn without
// calling the model.
type ModelCalledBody struct {
	Step         int             `json:"step"` // position in the turn's tool loop, from 0
	Provider     string          `json:"provider"`
	Model        string          `json:"model"`
	RequestHash  string          `json:"request_hash"` // SHA-256 of the request, hex
	Text         string          `json:"text,omitempty"`
	ToolCalls    json.RawMessage `json:"tool_calls,omitempty"`
	Stop         string          `json:"stop"`
	InputTokens  int             `json:"input_tokens"`
	OutputTokens int             `json:"output_tokens"`
	Millis       int64           `json:"ms"`
}

// Useful reports whether the answer leads anywhere: it says something, asks for tools, or
// tells why it cannot. An answer of nothing is asked for again.
func (b *ModelCalledBody) Useful() bool {
	return strings.TrimSpace(b.Text) != "" || len(b.ToolCalls) > 0 || b.Stop == "length" || b.Stop == "filter"
}

// ToolIntendedBody is the body of RecordToolIntended, written before the tool runs.
type ToolIntendedBody struct {
	Step       int             `json:"step"`
	CallID     string          `json:"call_id"`
	Tool       string          `json:"tool"`
	Arguments  json.RawMessage `json:"arguments"`
	ArgsHash   string          `json:"args_hash"`  // SHA-256 of the arguments, hex
	Key        string          `json:"key"`        // idempotency key: the same when the call is repeated
	Idempotent bool            `json:"idempotent"` // the tool may be run again under the same key
}

// Ref returns the call as tickets name it.
func (b *ToolIntendedBody) Ref() *ToolCallRef {
	return &ToolCallRef{CallID: b.CallID, Tool: b.Tool, Arguments: b.Arguments, ArgsHash: b.ArgsHash, Key: b.Key, Idempotent: b.Idempotent}
}

// ToolReturnedBody is the body of RecordToolReturned, written after the tool ran.
type ToolReturnedBody struct {
	CallID    string          `json:"call_id"`
	Tool      string          `json:"tool"`
	Text      string          `json:"text"`           // what the model reads
	Data      json.RawMessage `json:"data,omitempty"` // the structured result, if any
	BlobHash  string          `json:"blob,omitempty"` // SHA-256 of the full result kept beside the log, hex
	MediaType string          `json:"media_type,omitempty"`
	IsError   bool            `json:"is_error,omitempty"`
	NotRun    bool            `json:"not_run,omitempty"` // the turn ended before the tool was called: another attempt calls it
	Millis    int64           `json:"ms"`
}

// An Outcome says how the handling of a message ended.
type Outcome string

// The outcomes.
const (
	OutcomeDone    Outcome = "done"    // handled; its outputs are in the log
	OutcomeFailed  Outcome = "failed"  // given up; a failure reply is in the log
	OutcomeUnknown Outcome = "unknown" // stopped: an effect may or may not have happened

	OutcomeCancelled Outcome = "cancelled" // called off by its sender or an operator
)

// SettledBody is the body of RecordSettled. A lease that ends before its own record was
// written is told by this one alone.
type SettledBody struct {
	Outcome  Outcome     `json:"outcome"`
	Attempt  int         `json:"attempt"`
	Version  int         `json:"version"`
	LeasedAt time.Time   `json:"leased_at"`
	Error    string      `json:"error,omitempty"` // for failed and unknown
	Code     string      `json:"code,omitempty"`
	Outputs  []MessageID `json:"outputs,omitempty"` // the messages it led to
	Tickets  []Ticket    `json:"tickets,omitempty"` // what somebody has to decide now
	Module   *ModuleTurn `json:"module,omitempty"`  // of a turn of a module that saw such things
}

// A ModuleTurn tells what a turn of a module saw besides its message and what its calls gave. A
// replay has to see the same.
type ModuleTurn struct {
	Clock time.Time   `json:"clock,omitzero"`  // as it was told last, when that was after its last call
	State string      `json:"state,omitempty"` // a hash of the values of its state that it read
	Reads []StateRead `json:"-"`               // those values, for a shadow; nil when nobody wants them, or they are many
}

// A StateRead is what a turn found under a key of its state.
type StateRead struct {
	Key   string `json:"key"`
	Value []byte `json:"value,omitempty"`
	Found bool   `json:"found,omitempty"`
}

// A Delivery is a message on its way to one agent, or to the outside when the message's
// ReceiverID is "".
type Delivery struct {
	Message   Message
	Routing   Routing
	Version   int       // the agent's version that handles it
	Attempt   int       // how often it was leased so far
	Parked    int       // how many of these leases ended by being put aside
	Outputs   int       // outputs of earlier settlements, when it was reopened
	NotBefore time.Time // not to be leased earlier; zero for at once
}

// Deadline returns the time after which d is given up: the message's ReplyBy, zero for none.
// What was settled once and sent back to work by a person has none any more.
func (d *Delivery) Deadline() time.Time {
	if d.Outputs > 0 {
		return time.Time{}
	}
	return d.Message.ReplyBy
}

// Body returns the body of the record that accepts d.
func (d *Delivery) Body() MessageBody {
	return MessageBody{LoggedMessage(d.Message), d.Routing, d.Version}
}

// Delivery returns the delivery that was accepted with this body, without its attempts.
func (b *MessageBody) Delivery() Delivery {
	return Delivery{Message: Message(b.Message), Routing: b.Routing, Version: b.Version}
}

// A Lease is a delivery in the hands of one worker.
type Lease struct {
	Delivery
	LeasedAt time.Time
	Resumed  bool          // an earlier attempt may have left records in the log
	Cancel   *Cancellation // how the message can be called off; nil when it cannot be
}

// Cancelled reports whether the message was called off.
func (l *Lease) Cancelled() bool { return l.Cancel != nil && l.Cancel.called.Load() }

// A Cancellation lets somebody call off a message that is at work. It is safe for concurrent
// use; the zero Cancellation is ready.
type Cancellation struct {
	called atomic.Bool
	mu     sync.Mutex // guards stop
	stop   func()
}

// Notify has stop called when the message is called off: at once if it was already.
func (c *Cancellation) Notify(stop func()) {
	c.mu.Lock()
	c.stop = stop
	c.mu.Unlock()
	if c.called.Load() {
		stop()
	}
}

// Call calls the message off. stop may be called more than once.
func (c *Cancellation) Call() {
	c.called.Store(true)
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// A Settlement ends a lease: acknowledgement and outputs, stored in one step or not at all.
type Settlement struct {
	Lease   Lease
	Outcome Outcome
	Error   string // for failed and unknown: safe to show
	Code    string
	Outputs []Delivery
	Tickets []Ticket // what somebody has to decide now
	Module  *ModuleTurn
	At      time.Time
}

// A Receipt tells a sender what became of its message.
type Receipt struct {
	MessageID      MessageID
	ConversationID ConversationID
	AgentID        AgentID
	Agent          string // the receiving agent's slug
	Routing        Routing
	AcceptedAt     time.Time
	Duplicate      bool      // the ID was accepted before; nothing was sent again
	Others         []Receipt // of a broadcast: those of the further receivers
}

// A MessageStatus is what the journal knows of one message.
type MessageStatus struct {
	Message Message
	Routing Routing
	Settled bool
	Outcome Outcome // once settled
	Error   string
	Code    string
	Attempt int // how often it was leased, as far as is written down
	Replies []Message
}

// A Turn is one handling of one message by an agent: what a handler is given. Past holds
// the records that earlier attempts left in the log, oldest first: their model answers and
// tool results are used again and not repeated.
type Turn struct {
	Message Message
	Agent   Agent
	Version AgentVersion
	Attempt int
	Past    []Record
	Module  *ModuleTurn // for a module to fill in; nil when nobody wants it. In a shadow, that of the turn that counts
}
