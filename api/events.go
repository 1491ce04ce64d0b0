package api

import (
	"encoding/json"
	"time"

	"github.com/caxton/caxton"
)

// Names of events that are not kinds of records.
const (
	EventDelta    = "delta"    // a Delta: text of a model on its way
	EventRollout  = "rollout"  // a RolloutEvent: a new version began to take over, came to a stage, or it ended
	EventAccepted = "accepted" // a Receipt: the message that was sent with the stream
	EventReply    = "reply"    // a Receipt: the message was answered, or handled without an answer
	EventEnd      = "end"      // a StreamEnd: why the server ends the stream
)

// An EventRecord is the data of an event that tells of a record: the record as GET
// /api/v1/conversations/{id}/records has it, and where it belongs.
type EventRecord struct {
	Record
	ConversationID string `json:"conversation_id"`
	N              int64  `json:"n" doc:"position in the log of the server: rising, with gaps"`
}

// EventRecordFrom returns a record as events tell it.
func EventRecordFrom(r *caxton.Record) EventRecord {
	return EventRecord{
		Record: Record{
			Seq: r.Seq, At: r.At.UTC(), Kind: string(r.Kind), MessageID: string(r.MessageID), AgentID: string(r.AgentID), Body: r.Body,
		},
		ConversationID: string(r.ConversationID), N: r.N,
	}
}

// A Delta is a piece of a model's answer that is being written. It is in no log: the record
// model_called has the whole answer once it is complete, and replaces what came before of the
// same message and step.
type Delta struct {
	ConversationID string `json:"conversation_id"`
	MessageID      string `json:"message_id" doc:"the message being answered"`
	AgentID        string `json:"agent_id"`
	Step           int    `json:"step" doc:"model call within the turn"`
	Index          int    `json:"index" doc:"position within the step, from 0; a gap means that pieces are missing"`
	Text           string `json:"text" doc:"to be appended"`
	Restart        bool   `json:"restart,omitempty" doc:"all earlier text of the step is void: another model answers"`
}

// A RolloutEvent is a step of a rollout. It is in no log: GET /api/v1/rollouts tells how all stand.
type RolloutEvent struct {
	Step        string    `json:"step" enum:"began,stage,ended"`
	At          time.Time `json:"at"`
	AgentID     string    `json:"agent_id"`
	Agent       string    `json:"agent"`
	Strategy    string    `json:"strategy"`
	State       string    `json:"state" doc:"as of the rollout"`
	FromVersion int       `json:"from_version"`
	ToVersion   int       `json:"to_version"`
	Stage       int       `json:"stage" doc:"from 1; 0 while the version is being warmed"`
	Stages      int       `json:"stages" doc:"how many there are"`
	Percent     int       `json:"percent" doc:"of the conversations that the new version has, or as a shadow sees"`
	Reason      string    `json:"reason,omitempty" doc:"why it ended"`
	Author      string    `json:"author,omitempty"`
}

// RolloutEventFrom returns a step of a rollout as it is told.
func RolloutEventFrom(e *caxton.RolloutEvent) RolloutEvent {
	ro := &e.Rollout
	return RolloutEvent{
		Step: e.Step, At: e.At.UTC(), AgentID: string(e.AgentID), Agent: e.Agent, Strategy: string(ro.Strategy), State: string(ro.State),
		FromVersion: ro.From, ToVersion: ro.To, Stage: ro.Stage, Stages: len(ro.Stages), Percent: ro.Percent(), Reason: ro.Reason, Author: ro.Author,
	}
}

// A StreamEnd tells why the server ends a stream. Every stream of records can be resumed.
type StreamEnd struct {
	Code    string `json:"code" example:"server_stopping"`
	Message string `json:"message"`
}

// An Event is one event of a stream.
type Event struct {
	ID   string          // for LastEventID; "" when the event has none
	Name string          // a kind of record, or one of the names above
	Data json.RawMessage // an EventRecord, or what the name says
}

// Record returns the record that the event tells of.
func (e *Event) Record() (EventRecord, error) { return decodeEvent[EventRecord](e) }

// Delta returns the piece of text that an event "delta" brings.
func (e *Event) Delta() (Delta, error) { return decodeEvent[Delta](e) }

// Rollout returns the step that an event "rollout" tells of.
func (e *Event) Rollout() (RolloutEvent, error) { return decodeEvent[RolloutEvent](e) }

// Receipt returns what an event "accepted" or "reply" tells.
func (e *Event) Receipt() (Receipt, error) { return decodeEvent[Receipt](e) }

func decodeEvent[T any](e *Event) (T, error) {
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return v, caxton.Errorf(caxton.Unavailable, "not_a_caxton_server", "an event %q cannot be read", e.Name).WithCause(err)
	}
	return v, nil
}
