package llm

import (
	"context"
	"encoding/json"
)

// A Model answers requests; see Streamer for one that shows its answer piece by piece. It is
// safe for concurrent use. Its errors are *caxton.Error: Unavailable (down, 5xx, unreachable,
// broke off), Exhausted (429 after retries), Timeout, Canceled (the caller left),
// Unauthenticated (bad key), Forbidden, NotFound (no such model), TooLarge, Invalid (the
// provider rejects the request), Malformed (the answer cannot be read).
type Model interface {
	// Generate answers req, or fails. It returns promptly when ctx ends.
	Generate(ctx context.Context, req Request) (Response, error)
	// Info says which provider and default model this is.
	Info() Info
}

// Info names a Model.
type Info struct {
	Provider string // "openai", "anthropic", "scripted", "builtin"
	Model    string // the default model's name
}

// A Role says who speaks in a Message.
type Role string

// The roles.
const (
	User      Role = "user"
	Assistant Role = "assistant"
	ToolRole  Role = "tool" // the result of a tool call
)

// A Message is one entry of the exchange shown to the model.
type Message struct {
	Role       Role
	Text       string
	ToolCalls  []ToolCall // for Assistant: what it asked for
	ToolCallID string     // for ToolRole: which call this answers
	ToolName   string     // for ToolRole
	IsError    bool       // for ToolRole: the tool failed and Text says how
	MediaType  string     // for ToolRole: of the full result, such as "text/csv", or ""
}

// A ToolCall is a model's wish to run a tool.
type ToolCall struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"` // as the model wrote it: may not be valid JSON
}

// A Tool is what a model is told of a tool it may call.
type Tool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // JSON Schema (2020-12) of the arguments object
}

// A Document is background the model may draw on: the agent's documentation, memories.
type Document struct {
	Title string
	Text  string
}

// A Request is one call of a model. Zero numbers and nil pointers mean the provider's default.
type Request struct {
	Model            string // "" for the Model's own default
	System           string // instructions
	Documents        []Document
	Messages         []Message // oldest first; the last one is from User or ToolRole
	Tools            []Tool
	MaxTokens        int
	Temperature      *float64
	TopP             *float64
	FrequencyPenalty *float64
	PresencePenalty  *float64
	AgentName        string // who asks, for the built-in answerer
}

// A StopReason says why a model stopped.
type StopReason string

// The reasons to stop.
const (
	StopEnd    StopReason = "end"    // finished
	StopTools  StopReason = "tools"  // waits for tool results
	StopLength StopReason = "length" // ran into MaxTokens
	StopFilter StopReason = "filter" // refused by the provider
)

// A Response is a model's answer.
type Response struct {
	Text      string
	ToolCalls []ToolCall
	Stop      StopReason
	Usage     Usage
	Provider  string // who answered, after any fallback
	Model     string
}

// Usage counts tokens. Estimated is true when the provider did not say.
type Usage struct {
	InputTokens  int
	OutputTokens int
	Estimated    bool
}
