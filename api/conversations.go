package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// A Match is a message that a search found.
type Match struct {
	MessageID    string    `json:"message_id"`
	Seq          int64     `json:"seq" doc:"position in the conversation's log"`
	At           time.Time `json:"at"`
	Performative string    `json:"performative"`
	Sender       string    `json:"sender"`
	Receiver     string    `json:"receiver"`
	Snippet      string    `json:"snippet" doc:"the words around what was found, which stands in [brackets]"`
}

// A Difference is the first thing in which a replay and the log do not agree.
type Difference struct {
	Seq     int64  `json:"seq,omitempty" doc:"of the record in the log"`
	Kind    string `json:"kind,omitempty"`
	Field   string `json:"field,omitempty"`
	Logged  string `json:"logged,omitempty"`
	Replay  string `json:"replay,omitempty"`
	Message string `json:"message"`
}

// A ReplayedTurn is what came of replaying one message.
type ReplayedTurn struct {
	MessageID  string      `json:"message_id"`
	Agent      string      `json:"agent,omitempty"`
	Version    int         `json:"version,omitempty"`
	Equal      bool        `json:"equal"`
	Skipped    string      `json:"skipped,omitempty" doc:"why it was not replayed"`
	Attempts   int         `json:"attempts"`
	Records    int         `json:"records" doc:"records that the replay made and the log has"`
	Hash       string      `json:"hash,omitempty" doc:"SHA-256 over the turn in the log"`
	ReplayHash string      `json:"replay_hash,omitempty" doc:"SHA-256 over the turn as replayed"`
	Difference *Difference `json:"difference,omitempty"`
}

// A Replay is the answer of POST /api/v1/conversations/{id}/replay.
type Replay struct {
	ConversationID string         `json:"conversation_id"`
	Equal          bool           `json:"equal" doc:"the replay found nothing else than the log has"`
	Records        int            `json:"records" doc:"in the log"`
	Hash           string         `json:"hash"`
	ReplayHash     string         `json:"replay_hash"`
	Turns          []ReplayedTurn `json:"turns"`
	Difference     *Difference    `json:"difference,omitempty" doc:"the first one"`
}

// A Fork is the body of POST /api/v1/conversations/{id}/fork.
type Fork struct {
	At           int64  `json:"at,omitempty" minimum:"0" doc:"the last record that is copied; without it all are"`
	AgentVersion int    `json:"agent_version,omitempty" minimum:"0" doc:"the version of the agent that goes on"`
	Prompt       string `json:"prompt,omitempty" maxLength:"1000000" doc:"or another system prompt: it makes a version that only the fork uses"`
	By           string `json:"by,omitempty" maxLength:"200"`
	Reason       string `json:"reason,omitempty" maxLength:"1000"`
}

// Forked is the answer to it.
type Forked struct {
	Conversation Conversation `json:"conversation"`
	From         string       `json:"from"`
	At           int64        `json:"at" doc:"the last record that was copied"`
	AgentVersion int          `json:"agent_version,omitempty"`
}

// A DiffLine is one line of a difference.
type DiffLine struct {
	Op   string `json:"op" enum:" ,-,+" doc:"a space for what both have, - for the first only, + for the second only"`
	Text string `json:"text"`
}

// A ConversationDiff is the answer of GET /api/v1/conversations/{a}/diff/{b}.
type ConversationDiff struct {
	A       string     `json:"a"`
	B       string     `json:"b"`
	AfterA  int64      `json:"after_a" doc:"the last record of a that is not compared"`
	AfterB  int64      `json:"after_b"`
	Differs bool       `json:"differs"`
	Lines   []DiffLine `json:"lines"`
	Text    string     `json:"text" doc:"the same as a unified difference"`
}

// A TraceEvent is one thing that somebody said or did.
type TraceEvent struct {
	Seq       int64     `json:"seq"`
	At        time.Time `json:"at"`
	SinceMS   int64     `json:"since_ms" doc:"since the conversation began"`
	TookMS    int64     `json:"took_ms" doc:"as far as it is recorded"`
	Who       string    `json:"who"`
	Kind      string    `json:"kind"`
	What      string    `json:"what"`
	MessageID string    `json:"message_id,omitempty"`
}

// A Trace is the answer of GET /api/v1/conversations/{id}/trace.
type Trace struct {
	ConversationID string       `json:"conversation_id"`
	Agent          string       `json:"agent,omitempty"`
	TraceIDs       []string     `json:"trace_ids" doc:"traces that its messages are part of; GET /api/v1/traces/{trace_id} has their spans"`
	Items          []TraceEvent `json:"items"`
}

// Archive is the body of POST /api/v1/conversations/{id}/archive.
type Archive struct {
	By     string `json:"by,omitempty" maxLength:"200"`
	Reason string `json:"reason,omitempty" maxLength:"1000"`
}

// Imported is the answer of POST /api/v1/conversations/import.
type Imported struct {
	Conversations []string `json:"conversations" doc:"those that were brought in"`
	Known         []string `json:"known" doc:"those that were there already, and were left as they are"`
	Records       int      `json:"records"`
	Blobs         int      `json:"blobs"`
}

// A WhyMemory is something that the agent remembered when it answered.
type WhyMemory struct {
	ID       string    `json:"id" example:"obs_0h2kq4e1vfb3c" doc:"of the observation, or of the entity when nothing is known about it"`
	EntityID string    `json:"entity_id" example:"ent_0h2kq4e1vfb3b"`
	Scope    string    `json:"scope" example:"workspace:default"`
	Name     string    `json:"name" example:"Ann"`
	Type     string    `json:"type" example:"person"`
	Text     string    `json:"text" example:"Lives in Porto."`
	Score    float64   `json:"score" minimum:"0" maximum:"1"`
	At       time.Time `json:"at,omitzero" doc:"when it was true or became known"`
}

// A WhyModel is one call of a model behind an answer.
type WhyModel struct {
	Step         int             `json:"step"`
	Provider     string          `json:"provider"`
	Model        string          `json:"model"`
	RequestHash  string          `json:"request_hash"`
	Text         string          `json:"text,omitempty"`
	ToolCalls    json.RawMessage `json:"tool_calls,omitempty"`
	InputTokens  int             `json:"input_tokens"`
	OutputTokens int             `json:"output_tokens"`
	Millis       int64           `json:"ms"`
}

// A WhyTool is one call of a tool behind an answer.
type WhyTool struct {
	CallID    string          `json:"call_id"`
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Result    string          `json:"result,omitempty"`
	IsError   bool            `json:"is_error,omitempty"`
	Blob      string          `json:"blob,omitempty" doc:"SHA-256 of the full result"`
	Known     bool            `json:"known" doc:"false when nobody knows what became of the call"`
	Millis    int64           `json:"ms"`
}

// A WhyDecision is what a person decided on the way to an answer.
type WhyDecision struct {
	Kind   string    `json:"kind"`
	Tool   string    `json:"tool,omitempty"`
	State  string    `json:"state"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// A WhyBudget is an amount that was booked for an answer.
type WhyBudget struct {
	Account string `json:"account"`
	Unit    string `json:"unit"`
	Cap     int64  `json:"cap"`
	Spent   int64  `json:"spent"`
}

// A WhyPrompt names the prompt that an answer was made with.
type WhyPrompt struct {
	Version int    `json:"version" doc:"of the agent"`
	Hash    string `json:"hash,omitempty" doc:"SHA-256 of the definition as it was given"`
	Author  string `json:"author,omitempty"`
	Text    string `json:"text,omitempty" doc:"SHA-256 of the system prompt"`
}

// A Why is the answer of GET /api/v1/why/{message}: all that stands behind an answer.
type Why struct {
	MessageID      string        `json:"message_id" doc:"the message that was answered"`
	ConversationID string        `json:"conversation_id"`
	Question       Reply         `json:"question"`
	Answers        []Reply       `json:"answers"`
	Outcome        string        `json:"outcome,omitempty"`
	Error          string        `json:"error,omitempty"`
	Agent          string        `json:"agent"`
	Attempts       int           `json:"attempts"`
	Routing        Routing       `json:"routing"`
	Prompt         WhyPrompt     `json:"prompt"`
	History        []Reply       `json:"history" doc:"what was said before"`
	Memories       []WhyMemory   `json:"memories" doc:"what was recalled, best first"`
	Models         []WhyModel    `json:"models"`
	Tools          []WhyTool     `json:"tools"`
	Decisions      []WhyDecision `json:"decisions"`
	Budget         []WhyBudget   `json:"budget"`
}

// A ConversationFilter selects conversations. Empty fields select all.
type ConversationFilter struct {
	Query       string // words
	Agent       string
	Participant string
	Status      string
	Since       string // a time, or how long ago
	Until       string
	Limit       int
	Cursor      string
}

// SearchConversations lists conversations; with a query, those with messages that match it.
func (c *Client) SearchConversations(ctx context.Context, f ConversationFilter) (ConversationList, error) {
	return do[ConversationList](ctx, c, get("/conversations", values("q", f.Query, "agent", f.Agent, "participant", f.Participant,
		"status", f.Status, "since", f.Since, "until", f.Until, "limit", number(f.Limit), "cursor", f.Cursor)))
}

// ReplayConversation runs a conversation again from its log, without model and tools, and
// compares.
func (c *Client) ReplayConversation(ctx context.Context, id string) (Replay, error) {
	return do[Replay](ctx, c, post(path("conversations", id, "replay"), nil, nil))
}

// ForkConversation begins a new conversation as a copy of another one.
func (c *Client) ForkConversation(ctx context.Context, id string, f Fork) (Forked, error) {
	return do[Forked](ctx, c, post(path("conversations", id, "fork"), nil, f))
}

// DiffConversations tells how two conversations differ.
func (c *Client) DiffConversations(ctx context.Context, a, b string) (ConversationDiff, error) {
	return do[ConversationDiff](ctx, c, get(path("conversations", a, "diff", b), nil))
}

// Trace tells what was said and done in a conversation, and by whom.
func (c *Client) Trace(ctx context.Context, id, agent string) (Trace, error) {
	return do[Trace](ctx, c, get(path("conversations", id, "trace"), values("agent", agent)))
}

// ArchiveConversation closes a conversation.
func (c *Client) ArchiveConversation(ctx context.Context, id string, a Archive) (Conversation, error) {
	return do[Conversation](ctx, c, post(path("conversations", id, "archive"), nil, a))
}

// ExportConversations writes one conversation to w, or all of them when id is "", as a file
// of lines of JSON.
func (c *Client) ExportConversations(ctx context.Context, w io.Writer, id, since string, blobs bool) error {
	p := "/conversations/export"
	if id != "" {
		p = path("conversations", id, "export")
	}
	res, err := c.send(ctx, get(p, values("since", since, "blobs", yes(blobs))))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(w, res.Body); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// ImportConversations brings in a file of conversations.
func (c *Client) ImportConversations(ctx context.Context, file []byte) (Imported, error) {
	return do[Imported](ctx, c, call{method: http.MethodPost, path: "/conversations/import", body: file, contentType: "application/x-ndjson"})
}

// Why asks for all that stands behind an answer.
func (c *Client) Why(ctx context.Context, id string) (Why, error) {
	return do[Why](ctx, c, get(path("why", id), nil))
}
