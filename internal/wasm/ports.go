package wasm

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caxton/caxton"
)

// Calls makes the tool calls of one turn: under the same policy, and through the same ledger
// of effects, as the turns of config agents. *prompt.Calls provides it. It belongs to one turn.
type Calls interface {
	// Call runs a tool, or returns what the log has of it. A tool that fails is a result with
	// IsError; the error is only for what ends the turn: a call that waits for an approval or
	// an answer (*caxton.Parked), one of unknown outcome, a call that the log has otherwise.
	Call(ctx context.Context, tool string, args json.RawMessage) (caxton.ToolReturnedBody, error)
	// Blob returns the full result of a call that has one.
	Blob(ctx context.Context, hash string) (data []byte, mediaType string, err error)
	// Now is the time that the guest sees until its next call: that of the call in the log
	// when an earlier attempt made it, so that a repeated turn says the same.
	Now() time.Time
	// Done ends the turn's calls. It fails when an earlier attempt made one of unknown outcome
	// that this one did not come to.
	Done(ctx context.Context) error
	// Refusal returns the content of the refuse that an error stands for, such as that of a
	// budget that is used up.
	Refusal(err error) (content json.RawMessage, ok bool)
}

// State keeps the values of agents from turn to turn. Versions of an agent share them, unless
// one was given a copy. node provides it over the store.
type State interface {
	// Load returns the value of a key of a version of an agent.
	Load(ctx context.Context, agent caxton.AgentID, version int, key string) (value []byte, ok bool, err error)
	// Next returns the first key of a version that comes after another one, in the order of
	// their bytes.
	Next(ctx context.Context, agent caxton.AgentID, version int, after string) (key string, ok bool, err error)
	// Share has the version to go on with what the version from keeps, in common. With
	// unlessKept, a version that was deployed before keeps its own.
	Share(ctx context.Context, agent caxton.AgentID, from, to int, unlessKept bool) error
	// Fork has the version to go on with a copy of what the version from keeps, with changes
	// made in it, in one step.
	Fork(ctx context.Context, agent caxton.AgentID, from, to int, changes []Change) error
	// Committed returns the outputs of a turn whose changes are stored already.
	Committed(ctx context.Context, agent caxton.AgentID, msg caxton.MessageID) (outputs []byte, ok bool, err error)
	// Commit stores the changes of a turn and its outputs in one step, once for each message.
	Commit(ctx context.Context, agent caxton.AgentID, version int, msg caxton.MessageID, changes []Change, outputs []byte) error
}

// A Change is one write of a turn.
type Change struct {
	Key    string
	Value  []byte
	Delete bool
}

// Timers wakes agents: when a timer is due, the agent gets a message from itself with the
// ontology TimerOntology and the content {"timer": id}. node provides it.
type Timers interface {
	SetTimer(ctx context.Context, agent caxton.AgentID, id int32, after time.Duration) error
	CancelTimer(ctx context.Context, agent caxton.AgentID, id int32) error
}

// TimerOntology marks the message that wakes an agent whose timer is due.
const TimerOntology = "caxton-timer"

// An Execution tells what one run of a guest took. It goes to Config.Report.
type Execution struct {
	AgentID      caxton.AgentID
	Agent        string // slug
	Version      int
	MessageID    caxton.MessageID
	Contract     Contract
	Start        time.Time
	Time         time.Duration // of the whole turn
	Startup      time.Duration // of it, to make an instance; 0 when one was ready
	Instructions int64
	Fuel         int64 // Instructions in units of InstructionsPerFuel, rounded up
	StartupFuel  int64 // what the new instance took besides; a command's is in Fuel
	Memory       caxton.Size
	HostCalls    int
	Calls        int // of tools
	LogBytes     int
	LogLines     int
	LogDropped   int // bytes beyond the limit
	LogLost      int // lines beyond the limit
	OutputBytes  int
	Outputs      int
	Code         string // of the error it ended with, or ""
	Trap         string // what broke and where, or ""
}
