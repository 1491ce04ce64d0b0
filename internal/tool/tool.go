package tool

import (
	"context"
	"encoding/json"

	"github.com/caxton/caxton"
)

// A Tool does one thing for an agent. It is safe for concurrent use.
type Tool interface {
	// Spec describes the tool. It is constant.
	Spec() Spec
	// Call runs it. An *caxton.Error is shown to the model, which may try otherwise; the
	// arguments were checked against the Spec's schema. It returns promptly when ctx ends.
	Call(ctx context.Context, call Call) (Result, error)
}

// Idempotency is for a Tool whose calls are not all alike: some may be repeated, others
// not. A Tool without it is as its Spec says, for every call.
type Idempotency interface {
	// IdempotentCall reports whether a call with these arguments may run again under the
	// same key without harm. Arguments it cannot read are not idempotent.
	IdempotentCall(args json.RawMessage) bool
}

// IdempotentCall reports whether a call of t with these arguments may be repeated under
// the same key after a crash.
func IdempotentCall(t Tool, args json.RawMessage) bool {
	if i, ok := t.(Idempotency); ok {
		return i.IdempotentCall(args)
	}
	return t.Spec().Idempotent
}

// A Spec describes a tool.
type Spec struct {
	Name        string           // lower-case words joined by underscores
	Description string           // for the model and for people
	Parameters  json.RawMessage  // JSON Schema (2020-12) of the arguments object
	Idempotent  bool             // running it again with the same key does no harm, whatever the arguments
	Source      string           // "builtin", or where it comes from: "mcp:" and the name of a server
	State       caxton.ToolState // "" for approved
	Reason      string           // why it cannot be called now, or ""
	Waits       bool             // spends its time waiting for others: any number may run side by side
}

// A Call is one run of a tool.
type Call struct {
	ID      string // unique in its turn
	Args    json.RawMessage
	Config  map[string]any // the agent file's tool_config.<tool>
	Grant   caxton.ToolGrant
	AgentID caxton.AgentID
	Agent   string         // the agent's slug
	Key     string         // idempotency key: the same when the call is repeated after a crash
	Message caxton.Message // the message that the agent is handling; zero when a person runs the tool
	Results Results
}

// Results gives a tool the full results of earlier calls of the same turn.
type Results interface {
	// Result returns the full body and media type of the call with the given ID, or NotFound.
	Result(ctx context.Context, callID string) (body []byte, mediaType string, err error)
}

// A Result is what a tool returns.
type Result struct {
	Text      string          // what the model reads: short
	Data      json.RawMessage // the same for programs, or nil
	Body      []byte          // the full result, when Text is only an extract; or nil
	MediaType string          // of Body, such as "text/csv"
}
