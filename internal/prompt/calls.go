package prompt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// Calls makes the tool calls of a turn that no model leads: that of a module agent. They take
// the way that those of a model take: the agent's grants, approvals, budgets, and the ledger.
// Calls are told apart by their position, so a turn that runs again has to make the same ones
// in the same order; one that does not is stopped. It belongs to one goroutine.
type Calls struct {
	t     *turnState
	made  int
	at    time.Time            // of the next call; zero when nobody has asked yet
	times map[string]time.Time // of the calls that the log has, by ID
}

// Calls begins the calls of a turn: what an earlier attempt left open is booked, and the
// message itself is approved where it has to be. Errors are those of Agent.Handle; with one that
// Calls.Refusal knows the Calls are returned too.
func (h *Handlers) Calls(ctx context.Context, turn caxton.Turn) (*Calls, error) {
	def := turn.Version.Definition
	return h.calls(ctx, turn, def, h.tools.For(&def))
}

// calls begins the calls of a turn under a definition, over tools.
func (h *Handlers) calls(ctx context.Context, turn caxton.Turn, def caxton.Definition, tools toolbox) (*Calls, error) {
	past, err := newPast(turn.Past)
	if err != nil {
		return nil, err
	}
	a := &Agent{h: h, version: turn.Version, def: def, slug: caxton.Slug(def.Name), tools: tools}
	t := &turnState{
		a: a, turn: &turn, past: past, used: map[string]bool{}, bodies: map[string]string{},
		results: map[string]caxton.ToolReturnedBody{},
	}
	c := &Calls{t: t, times: map[string]time.Time{}}
	for i := range turn.Past {
		if err := c.time(&turn.Past[i]); err != nil {
			return nil, err
		}
	}
	if err := t.bookLost(ctx); err != nil {
		return nil, err
	}
	return c, t.approveMessage(ctx)
}

// time notes when a call was begun, as the log has it.
func (c *Calls) time(r *caxton.Record) error {
	id := ""
	switch r.Kind { //nolint:exhaustive // the others do not begin a call
	case caxton.RecordToolIntended:
		var b caxton.ToolIntendedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		id = b.CallID
	case caxton.RecordApprovalAsked:
		var b caxton.ApprovalAskedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		if b.Ticket.Call != nil {
			id = b.Ticket.Call.CallID
		}
	}
	if _, known := c.times[id]; id != "" && !known {
		c.times[id] = r.At
	}
	return nil
}

func (c *Calls) id() string { return fmt.Sprintf("call_%d", c.made) }

// Now is the time of the next call: as the log has it when an earlier attempt made it, else
// the clock's. It stands still until the call, and the call is logged with it, so that a turn
// which runs again and tells a tool the time tells it the same.
func (c *Calls) Now() time.Time {
	if c.at.IsZero() {
		var known bool
		if c.at, known = c.times[c.id()]; !known {
			c.at = c.t.a.h.cfg.Now().Truncate(time.Millisecond)
		}
	}
	return c.at
}

// Call runs a tool, or returns what the log has of the call. A tool that fails is a result;
// an error ends the turn.
func (c *Calls) Call(ctx context.Context, tool string, args json.RawMessage) (caxton.ToolReturnedBody, error) {
	t, id := c.t, c.id()
	sum := sha256.Sum256(args)
	if old, ok := t.past.intents[id]; ok && (old.Tool != tool || old.ArgsHash != hex.EncodeToString(sum[:])) {
		return caxton.ToolReturnedBody{}, diverged(c.made, old.Tool, tool)
	}
	if old, ok := t.past.returns[id]; ok && old.Tool != tool {
		return caxton.ToolReturnedBody{}, diverged(c.made, old.Tool, tool)
	}
	t.at = c.Now()
	_, err := t.tools(ctx, c.made, []llm.ToolCall{{ID: id, Name: tool, Arguments: args}})
	t.at = time.Time{}
	if err != nil {
		return caxton.ToolReturnedBody{}, err
	}
	c.made++
	c.at = time.Time{}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.results[id], nil
}

// diverged is the end of a turn that runs again and does something else.
func diverged(n int, logged, now string) error {
	return caxton.Errorf(caxton.Conflict, "turn_diverged", "call %d of an earlier attempt at the message was of %s; this time the agent makes another one, of %.80q", n+1, logged, now).
		WithHint("what an agent does has to follow from its message: not from the clock, from chance, or from what it kept in memory")
}

// Blob returns the full result of a call.
func (c *Calls) Blob(ctx context.Context, hash string) (data []byte, mediaType string, err error) {
	return c.t.a.h.log.Blob(ctx, hash)
}

// Done ends the calls. When an earlier attempt began calls that this one did not come to, and
// nobody knows what became of them, it fails.
func (c *Calls) Done(ctx context.Context) error {
	var left []caxton.ToolIntendedBody
	for _, b := range c.t.past.intents {
		if b.Step >= c.made {
			left = append(left, b)
		}
	}
	return c.t.settleOpen(ctx, left)
}

// Refusal returns the content of the refuse that an error stands for: of a budget that is
// used up, or a message that nobody approved.
func (c *Calls) Refusal(err error) (content json.RawMessage, ok bool) { return refusalOf(err) }
