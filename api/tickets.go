package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"time"
)

// A Ticket is something that waits for a person, or did: an approval, a tool call of unknown
// outcome (kind effect), or a dead letter.
type Ticket struct {
	ID             string          `json:"id" doc:"of a dead letter the ID of the message, of an effect the idempotency key of the call"`
	Kind           string          `json:"kind" enum:"approval,effect,dead_letter"`
	State          string          `json:"state" enum:"pending,approved,denied,expired,unknown,done,retry,failed,dead,replayed,dropped"`
	Open           bool            `json:"open" doc:"somebody is to decide"`
	ConversationID string          `json:"conversation_id"`
	MessageID      string          `json:"message_id"`
	AgentID        string          `json:"agent_id"`
	Agent          string          `json:"agent" doc:"slug" example:"buyer"`
	OpenedAt       time.Time       `json:"opened_at"`
	ExpiresAt      *time.Time      `json:"expires_at,omitempty" doc:"of an approval: without a decision it counts as denied then"`
	ClosedAt       *time.Time      `json:"closed_at,omitempty"`
	Code           string          `json:"code,omitempty" doc:"of a dead letter: why, for programs" example:"agent_failed"`
	Reason         string          `json:"reason,omitempty" doc:"why, for people"`
	Attempts       int             `json:"attempts,omitempty" doc:"of a dead letter: how often it was tried"`
	Call           *ToolCall       `json:"call,omitempty" doc:"the tool call, of an approval or an effect"`
	Policy         *ApprovalPolicy `json:"policy,omitempty" doc:"of an approval: who must agree"`
	Decisions      []Decision      `json:"decisions" doc:"what people said, in order"`
}

// A ToolCall is one call of a tool by an agent.
type ToolCall struct {
	CallID     string          `json:"call_id"`
	Tool       string          `json:"tool" example:"http_client"`
	Arguments  json.RawMessage `json:"arguments,omitempty"`
	ArgsHash   string          `json:"args_hash" doc:"SHA-256 of the arguments: an approval is for these and no others"`
	Key        string          `json:"key" doc:"idempotency key that the tool is given"`
	Idempotent bool            `json:"idempotent,omitempty"`
}

// An ApprovalPolicy says who must agree.
type ApprovalPolicy struct {
	Need      int      `json:"need" doc:"how many people must agree"`
	Approvers []string `json:"approvers" doc:"who may decide; empty for anybody"`
	Expires   string   `json:"expires" doc:"after this time without a decision it counts as denied" example:"24h"`
}

// A Decision is what one person said.
type Decision struct {
	By     string          `json:"by"`
	State  string          `json:"state" doc:"what they want the ticket to become"`
	Reason string          `json:"reason,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	At     time.Time       `json:"at"`
}

// Approvals is the answer of GET /api/v1/approvals.
type Approvals struct {
	Items     []Ticket `json:"items"`
	Approvals []Ticket `json:"approvals" doc:"the same as items"`
	Next      string   `json:"next,omitempty" doc:"cursor of the next page"`
}

// Effects is the answer of GET /api/v1/effects.
type Effects struct {
	Items   []Ticket `json:"items"`
	Effects []Ticket `json:"effects" doc:"the same as items"`
	Next    string   `json:"next,omitempty" doc:"cursor of the next page"`
}

// DeadLetters is the answer of GET /api/v1/messages/dead.
type DeadLetters struct {
	Items []Ticket `json:"items"`
	Dead  []Ticket `json:"dead" doc:"the same as items"`
	Next  string   `json:"next,omitempty" doc:"cursor of the next page"`
}

// A DeadLetter is a message that was given up, with all that was tried.
type DeadLetter struct {
	Ticket  Ticket        `json:"ticket"`
	Message MessageStatus `json:"message"`
	Records []Record      `json:"records" doc:"the log of its handling: every attempt"`
}

// A DecisionBody is what somebody says about an approval or a dead letter.
type DecisionBody struct {
	By     string `json:"by,omitempty" maxLength:"100" doc:"who decides; operator when absent" example:"ann"`
	Reason string `json:"reason,omitempty" maxLength:"2000"`
}

// A Resolution is what somebody says about a tool call of unknown outcome.
type Resolution struct {
	Decision string          `json:"decision" enum:"done,retry,fail" doc:"done: it happened; retry: it did not, make it again; fail: tell the agent that it failed"`
	By       string          `json:"by,omitempty" maxLength:"100" doc:"who decides; operator when absent" example:"ann"`
	Reason   string          `json:"reason,omitempty" maxLength:"2000"`
	Result   json.RawMessage `json:"result,omitempty" doc:"for done: what the tool is to have returned, text or any JSON value"`
}

// A DeadLetterFilter selects dead letters. What is left out selects all.
type DeadLetterFilter struct {
	Agent     string `json:"agent,omitempty" maxLength:"200" doc:"UUID, name, slug or file stem; of a removed agent its ID or slug"`
	Code      string `json:"code,omitempty" maxLength:"100" doc:"why they were given up" example:"reply_by_passed"`
	OlderThan string `json:"older_than,omitempty" maxLength:"20" doc:"given up at least so long ago, such as 24h"`
}

// A DeadLetterOrder replays or drops many dead letters.
type DeadLetterOrder struct {
	DeadLetterFilter
	DecisionBody
	All   bool `json:"all,omitempty" doc:"needed when no filter is given"`
	Limit int  `json:"limit,omitempty" minimum:"0" maximum:"10000" doc:"at most so many, oldest first; 0 means 1000"`
}

// A DeadLetterCount is the answer to the replay or the drop of many dead letters.
type DeadLetterCount struct {
	Matched int                 `json:"matched" doc:"how many of those that the filter selects were taken"`
	Done    int                 `json:"done" doc:"how many were replayed or dropped"`
	Failed  int                 `json:"failed" doc:"how many were not"`
	More    bool                `json:"more" doc:"the limit or the time for a request was reached: ask again for the rest"`
	Faults  []DeadLetterFailure `json:"faults" doc:"why the first of the failed were not"`
}

// A DeadLetterFailure says why a dead letter was not replayed or dropped.
type DeadLetterFailure struct {
	ID      string `json:"id"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// A ToolEffect is one tool call of a conversation, as the log tells it.
type ToolEffect struct {
	ToolCall
	MessageID  string          `json:"message_id" doc:"the message whose handling made the call"`
	AgentID    string          `json:"agent_id"`
	Agent      string          `json:"agent" doc:"slug, or the ID of an agent that was removed"`
	Outcome    string          `json:"outcome" enum:"waiting,running,done,failed,unknown,denied,not_run" doc:"waiting: for approval; running: begun and not back; not_run: the turn ended before the call was made"`
	Times      int             `json:"times" doc:"how often it was begun"`
	IntendedAt *time.Time      `json:"intended_at,omitempty" doc:"when it was begun first"`
	ReturnedAt *time.Time      `json:"returned_at,omitempty"`
	Millis     int64           `json:"ms" doc:"how long it took, 0 while it is not back"`
	Text       string          `json:"text,omitempty" doc:"what the agent was told"`
	Data       json.RawMessage `json:"data,omitempty"`
	Blob       string          `json:"blob,omitempty" doc:"SHA-256 of a result that is kept beside the log"`
	Approval   *EffectDecision `json:"approval,omitempty" doc:"of a call that needs approval"`
	Resolution *EffectDecision `json:"resolution,omitempty" doc:"what somebody said of its outcome"`
}

// An EffectDecision is where a ticket on a tool call stands.
type EffectDecision struct {
	Ticket string `json:"ticket" doc:"ID of the ticket"`
	State  string `json:"state"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ConversationEffects is the answer of GET /api/v1/conversations/{id}/effects.
type ConversationEffects struct {
	Items   []ToolEffect `json:"items"`
	Effects []ToolEffect `json:"effects" doc:"the same as items"`
	Total   int          `json:"total" doc:"how many there are; items has the last of them"`
}

// A TicketFilter selects tickets of one kind. Zero fields select all.
type TicketFilter struct {
	State          string // one of the states of the kind, or all; "" for those that are open
	Agent          string
	ConversationID string
	Limit          int
	Cursor         string
}

func (f TicketFilter) query() url.Values {
	return values("state", f.State, "agent", f.Agent, "conversation", f.ConversationID, "limit", number(f.Limit), "cursor", f.Cursor)
}

// Approvals lists approvals, newest first.
func (c *Client) Approvals(ctx context.Context, f TicketFilter) (Approvals, error) {
	return do[Approvals](ctx, c, get("/approvals", f.query()))
}

// Approval asks for one approval.
func (c *Client) Approval(ctx context.Context, id string) (Ticket, error) {
	return do[Ticket](ctx, c, get(path("approvals", id), nil))
}

// Approve agrees to what an agent wants to do.
func (c *Client) Approve(ctx context.Context, id string, d DecisionBody) (Ticket, error) {
	return do[Ticket](ctx, c, post(path("approvals", id, "approve"), nil, d))
}

// Deny refuses what an agent wants to do.
func (c *Client) Deny(ctx context.Context, id string, d DecisionBody) (Ticket, error) {
	return do[Ticket](ctx, c, post(path("approvals", id, "deny"), nil, d))
}

// Effects lists tool calls whose outcome is or was unknown, newest first.
func (c *Client) Effects(ctx context.Context, f TicketFilter) (Effects, error) {
	return do[Effects](ctx, c, get("/effects", f.query()))
}

// Effect asks for one tool call whose outcome is or was unknown.
func (c *Client) Effect(ctx context.Context, id string) (Ticket, error) {
	return do[Ticket](ctx, c, get(path("effects", id), nil))
}

// ResolveEffect says what became of a tool call.
func (c *Client) ResolveEffect(ctx context.Context, id string, r Resolution) (Ticket, error) {
	return do[Ticket](ctx, c, post(path("effects", id, "resolve"), nil, r))
}

// ConversationEffects lists the tool calls of a conversation, the last limit of them; 0 means
// the server's standard.
func (c *Client) ConversationEffects(ctx context.Context, id string, limit int) (ConversationEffects, error) {
	return do[ConversationEffects](ctx, c, get(path("conversations", id, "effects"), values("limit", number(limit))))
}

// DeadLetters lists messages that were given up, newest first.
func (c *Client) DeadLetters(ctx context.Context, f TicketFilter, code, olderThan string) (DeadLetters, error) {
	q := f.query()
	maps.Copy(q, values("code", code, "older_than", olderThan))
	return do[DeadLetters](ctx, c, get("/messages/dead", q))
}

// DeadLetter asks for one message that was given up, with all that was tried.
func (c *Client) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	return do[DeadLetter](ctx, c, get(path("messages", "dead", id), nil))
}

// ReplayDeadLetter has a message that was given up tried again.
func (c *Client) ReplayDeadLetter(ctx context.Context, id string, d DecisionBody) (Ticket, error) {
	return do[Ticket](ctx, c, post(path("messages", "dead", id, "replay"), nil, d))
}

// DropDeadLetter closes a dead letter; the message stays given up.
func (c *Client) DropDeadLetter(ctx context.Context, id string, d DecisionBody) (Ticket, error) {
	return do[Ticket](ctx, c, post(path("messages", "dead", id, "drop"), nil, d))
}

// ReplayDeadLetters has many messages that were given up tried again.
func (c *Client) ReplayDeadLetters(ctx context.Context, o DeadLetterOrder) (DeadLetterCount, error) {
	return do[DeadLetterCount](ctx, c, post("/messages/dead/replay", nil, o))
}

// DropDeadLetters closes many dead letters.
func (c *Client) DropDeadLetters(ctx context.Context, o DeadLetterOrder) (DeadLetterCount, error) {
	return do[DeadLetterCount](ctx, c, post("/messages/dead/drop", nil, o))
}

// CancelMessage calls off a message that is not settled yet.
func (c *Client) CancelMessage(ctx context.Context, id, by string) (MessageStatus, error) {
	return do[MessageStatus](ctx, c, post(path("messages", id, "cancel"), nil, CancelBody{By: by}))
}

// A CancelBody says who calls off a message.
type CancelBody struct {
	By string `json:"by,omitempty" maxLength:"100" doc:"who calls it off; operator when absent" example:"ann"`
}
