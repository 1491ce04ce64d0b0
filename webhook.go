package caxton

import (
	"encoding/json"
	"slices"
	"time"
)

// A Webhook is an address that is told of records by requests.
type Webhook struct {
	ID            string           `json:"id"`
	URL           string           `json:"url"`
	Secrets       []string         `json:"secrets"`          // requests are signed with each: more than one while they are changed
	Events        []RecordKind     `json:"events,omitempty"` // and EventRollout
	Agents        []string         `json:"agents,omitempty"` // IDs or names
	Conversations []ConversationID `json:"conversations,omitempty"`
	Declared      bool             `json:"declared,omitempty"` // by the configuration
	Disabled      string           `json:"disabled,omitempty"` // why it is told of nothing any more, or ""
	CreatedAt     time.Time        `json:"created_at"`
	N             int64            `json:"-"` // position in the log of the server up to which its deliveries are queued
	At            time.Time        `json:"-"` // time of the record there
}

// Wants reports whether the webhook is told of a record; named tells whether a name is that of
// an agent. What it names no kinds, agents or conversations of, it wants all of. A message is
// one of the agent that it goes to and of the agent that sent it.
func (w *Webhook) Wants(r *Record, named func(id AgentID, ref string) bool) bool {
	if w.Disabled != "" || len(w.Events) > 0 && !slices.Contains(w.Events, r.Kind) ||
		len(w.Conversations) > 0 && !slices.Contains(w.Conversations, r.ConversationID) {
		return false
	}
	if len(w.Agents) == 0 || w.names(r.AgentID, named) {
		return true
	}
	var b struct {
		Message struct {
			SenderID AgentID `json:"sender_id"`
		} `json:"message"`
	}
	return r.Kind == RecordMessage && json.Unmarshal(r.Body, &b) == nil && w.names(b.Message.SenderID, named)
}

// WantsRollout reports whether the webhook is told of a step of a rollout, which is in no
// conversation.
func (w *Webhook) WantsRollout(e *RolloutEvent, named func(id AgentID, ref string) bool) bool {
	return w.Disabled == "" && (len(w.Events) == 0 || slices.Contains(w.Events, EventRollout)) && len(w.Conversations) == 0 &&
		(len(w.Agents) == 0 || w.names(e.AgentID, named))
}

// names reports whether the webhook names an agent.
func (w *Webhook) names(id AgentID, named func(id AgentID, ref string) bool) bool {
	return id != "" && (slices.Contains(w.Agents, string(id)) || slices.ContainsFunc(w.Agents, func(ref string) bool { return named(id, ref) }))
}

// A WebhookState says how far a WebhookDelivery is.
type WebhookState string

// The states of deliveries.
const (
	WebhookPending   WebhookState = "pending"   // it will be tried, perhaps again
	WebhookDelivered WebhookState = "delivered" // the receiver said that it has it
	WebhookFailed    WebhookState = "failed"    // given up
)

// A WebhookDelivery is the telling of one record to one webhook.
type WebhookDelivery struct {
	ID             string           `json:"id"` // the same in every attempt
	Webhook        string           `json:"webhook"`
	Kind           string           `json:"kind"`            // of the record, or "test"
	ConversationID ConversationID   `json:"conversation_id"` // with Seq: where the record is
	Seq            int64            `json:"seq"`
	N              int64            `json:"n"`
	Body           json.RawMessage  `json:"body,omitempty"` // what is told, when it is in no record
	State          WebhookState     `json:"state"`
	CreatedAt      time.Time        `json:"created_at"`
	Due            time.Time        `json:"due,omitzero"` // when it is tried next
	Count          int              `json:"count"`        // of attempts
	Attempts       []WebhookAttempt `json:"attempts"`     // the last ones
}

// A WebhookAttempt is one request to a receiver.
type WebhookAttempt struct {
	At     time.Time `json:"at"`
	Status int       `json:"status,omitempty"` // of the answer; 0 for none
	Error  string    `json:"error,omitempty"`
	Millis int64     `json:"ms"`
}
