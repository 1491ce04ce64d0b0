package caxton

import (
	"encoding/json"
	"slices"
	"time"
)

// A TicketKind says what sort of decision a Ticket waits for.
type TicketKind string

// The kinds of tickets.
const (
	DeadLetter TicketKind = "dead_letter" // a message that was given up: replay or drop it
	Effect     TicketKind = "effect"      // a tool call of which nobody knows whether it happened
	Approval   TicketKind = "approval"    // something an agent may do only when a person agrees
)

// A TicketState says where a Ticket stands. Each kind has one state that is open.
type TicketState string

// The states of tickets, by kind.
const (
	LetterDead     TicketState = "dead" // open
	LetterReplayed TicketState = "replayed"
	LetterDropped  TicketState = "dropped"

	EffectUnknown TicketState = "unknown" // open
	EffectDone    TicketState = "done"    // it happened: its result was given
	EffectRetry   TicketState = "retry"   // it did not happen: it runs again
	EffectFailed  TicketState = "failed"  // it counts as failed: the agent is told so

	ApprovalPending TicketState = "pending" // open
	ApprovalGranted TicketState = "approved"
	ApprovalDenied  TicketState = "denied"
	ApprovalExpired TicketState = "expired"

	ApprovalWithdrawn TicketState = "withdrawn" // its message was settled otherwise
)

// Open reports whether a ticket in this state waits for somebody.
func (s TicketState) Open() bool {
	return s == LetterDead || s == EffectUnknown || s == ApprovalPending
}

// A Ticket is something that waits for a person: a dead letter, an effect of unknown outcome,
// or an approval. It is kept with the journal, is written in the same step as the record
// that made it necessary, and stays after it was closed.
type Ticket struct {
	Kind           TicketKind     `json:"kind"`
	ID             string         `json:"id"` // of a dead letter the message's ID; of an effect its idempotency key; of an approval a hash over key and arguments
	State          TicketState    `json:"state"`
	ConversationID ConversationID `json:"conversation_id"`
	MessageID      MessageID      `json:"message_id"`
	AgentID        AgentID        `json:"agent_id,omitempty"`
	Agent          string         `json:"agent,omitempty"` // slug
	OpenedAt       time.Time      `json:"opened_at"`
	ExpiresAt      time.Time      `json:"expires_at,omitzero"` // of an approval
	ClosedAt       time.Time      `json:"closed_at,omitzero"`
	Code           string         `json:"code,omitempty"`   // of a dead letter: why, for programs
	Reason         string         `json:"reason,omitempty"` // why, for people
	Attempts       int            `json:"attempts,omitempty"`
	Call           *ToolCallRef   `json:"call,omitempty"`      // the tool call, of an effect or an approval
	Policy         ApprovalPolicy `json:"policy,omitzero"`     // of an approval
	Decisions      []Decision     `json:"decisions,omitempty"` // what people said, in order
}

// A ToolCallRef names one tool call of a turn.
type ToolCallRef struct {
	CallID     string          `json:"call_id"`
	Tool       string          `json:"tool"`
	Arguments  json.RawMessage `json:"arguments,omitempty"`
	ArgsHash   string          `json:"args_hash"`
	Key        string          `json:"key"`
	Idempotent bool            `json:"idempotent,omitempty"`
}

// A Decision is what one person said about a Ticket.
type Decision struct {
	By     string          `json:"by"`
	State  TicketState     `json:"state"` // what they want it to become
	Reason string          `json:"reason,omitempty"`
	Result json.RawMessage `json:"result,omitempty"` // for EffectDone: what the tool is to have returned
	At     time.Time       `json:"at"`
}

// An ApprovalPolicy says who must agree. The zero policy asks for one approval by anybody.
type ApprovalPolicy struct {
	Need      int           `json:"need,omitempty"`      // approvals needed: 1 when 0
	Approvers []string      `json:"approvers,omitempty"` // who may decide; empty for anybody
	Expires   time.Duration `json:"expires,omitempty"`   // after this it counts as denied: 24 h when 0
}

// DefaultApprovalExpiry is how long an approval waits when its policy does not say.
const DefaultApprovalExpiry = 24 * time.Hour

// Decide returns the ticket with one more decision, and closes it when that settles it.
// A dead letter or an effect is closed by the first decision. An approval needs as many
// grants as its policy says, each by somebody else; it is denied as soon as too few people
// are left who could grant it, for an open circle of approvers at the first denial.
// Errors: Conflict (closed already, expired or not yet, or the same person twice), Forbidden (not an approver),
// Invalid (a state that does not belong to this kind).
func (t Ticket) Decide(d Decision) (Ticket, error) {
	if !t.State.Open() {
		return t, Errorf(Conflict, "ticket_closed", "%s %s is closed: %s", t.Kind.Noun(), t.ID, t.State)
	}
	if !slices.Contains(t.Kind.outcomes(), d.State) {
		return t, Errorf(Invalid, "decision_invalid", "%s cannot become %q", t.Kind.Noun(), d.State)
	}
	if d.State == ApprovalExpired && d.At.Before(t.ExpiresAt) {
		return t, Errorf(Conflict, "approval_not_expired", "approval %s expires at %s", t.ID, t.ExpiresAt.UTC().Format(time.RFC3339)).
			WithHint("an approver can deny it")
	}
	t.Decisions = append(slices.Clone(t.Decisions), d)
	if t.Kind != Approval || d.State == ApprovalExpired {
		return t.close(d.State, d.At), nil
	}
	if !t.ExpiresAt.IsZero() && !d.At.Before(t.ExpiresAt) {
		return t, Errorf(Conflict, "approval_expired", "approval %s expired at %s", t.ID, t.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if p := t.Policy.Approvers; len(p) > 0 && !slices.Contains(p, d.By) {
		return t, Errorf(Forbidden, "not_an_approver", "%q may not decide this", d.By).WithHint("an approver is to decide")
	}
	granted, denied := 0, 0
	for i, e := range t.Decisions {
		if i < len(t.Decisions)-1 && e.By == d.By {
			return t, Errorf(Conflict, "decided_already", "%s has decided already: %s", d.By, e.State).WithHint("somebody else is to decide")
		}
		if e.State == ApprovalGranted {
			granted++
		} else {
			denied++
		}
	}
	need := max(1, t.Policy.Need)
	switch n := len(t.Policy.Approvers); {
	case granted >= need:
		return t.close(ApprovalGranted, d.At), nil
	case denied > 0 && n-denied < need:
		return t.close(ApprovalDenied, d.At), nil
	}
	return t, nil
}

// Withdraw closes an open approval of a message that is settled, and returns it with the body
// of the record that tells of it.
func (t Ticket) Withdraw(outcome Outcome, at time.Time) (Ticket, DecidedBody) {
	d := Decision{By: "router", State: ApprovalWithdrawn, Reason: "the message is settled: " + string(outcome), At: at}
	t.Decisions = append(slices.Clone(t.Decisions), d)
	t = t.close(d.State, at)
	return t, DecidedBody{Kind: t.Kind, ID: t.ID, Call: t.Call, Decision: d, State: t.State}
}

func (t Ticket) close(s TicketState, at time.Time) Ticket {
	t.State, t.ClosedAt = s, at
	return t
}

// Noun names the kind in a sentence.
func (k TicketKind) Noun() string {
	switch k {
	case DeadLetter:
		return "dead letter"
	case Effect:
		return "effect"
	case Approval:
		return "approval"
	}
	return string(k)
}

// outcomes are the states that a decision may ask for.
func (k TicketKind) outcomes() []TicketState {
	switch k {
	case DeadLetter:
		return []TicketState{LetterReplayed, LetterDropped}
	case Effect:
		return []TicketState{EffectDone, EffectRetry, EffectFailed}
	case Approval:
		return []TicketState{ApprovalGranted, ApprovalDenied, ApprovalExpired}
	}
	return nil
}

// OpenState returns the state in which tickets of the kind begin.
func (k TicketKind) OpenState() TicketState {
	switch k {
	case DeadLetter:
		return LetterDead
	case Effect:
		return EffectUnknown
	case Approval:
		return ApprovalPending
	}
	return ""
}

// A TicketQuery selects tickets of one kind, newest first. Zero fields select all.
type TicketQuery struct {
	Kind           TicketKind
	Open           bool // only those that wait
	State          TicketState
	ConversationID ConversationID
	MessageID      MessageID
	AgentID        AgentID
	Before         string // the cursor of the page before, or "" for the first page
	Limit          int    // 1 to 200; 0 means 50
}

// A Wake says what happens to a ticket's message when the ticket changes.
type Wake string

// The ways to wake a message.
const (
	WakeNot    Wake = ""       // nothing: it goes on waiting, or is done with
	WakeNow    Wake = "now"    // it is parked: hand it out at once
	WakeReopen Wake = "reopen" // it was settled: make it pending again
)

// An Amendment is what the decision on a ticket changes, all in one step.
type Amendment struct {
	Ticket  Ticket
	Records []Record
	Wake    Wake
}
