// Package tool says what a tool is to Caxton: something an agent may call with JSON
// arguments. It owns the contract and the Set, which allows a call only when the agent's
// file lists the tool and the server permits it; it refuses to know what any tool does.
// internal/tool/builtin implements tools, internal/prompt calls them from an agent's worker
// goroutines, several at once.
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

// A Spec describes a tool.
type Spec struct {
	Name        string          // lower-case words joined by underscores
	Description string          // for the model and for people
	Parameters  json.RawMessage // JSON Schema (2020-12) of the arguments object
	Idempotent  bool            // running it again with the same key does no harm
	Source      string          // "builtin", or where it comes from
}

// A Call is one run of a tool.
type Call struct {
	ID      string // unique in its turn
	Args    json.RawMessage
	Config  map[string]any // the agent file's tool_config.<tool>
	Grant   caxton.ToolGrant
	AgentID caxton.AgentID
	Key     string // idempotency key: the same when the call is repeated after a crash
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
