package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/caxton/caxton/internal/wasm"
)

// timers wakes module agents: it keeps their timers in the database of the journal, and sends
// each agent a message when one of its own is due.
type timers struct {
	db   *sqlite.DB
	mail interface { // *router.Router
		Send(ctx context.Context, m caxton.Message) (caxton.Receipt, error)
	}
	agents interface { // *registry.Registry
		Agent(id caxton.AgentID) (caxton.Agent, error)
	}
	most int
	log  *slog.Logger
	wake chan struct{} // capacity 1: a timer was set
}

// SetTimer has an agent woken. The same timer set twice is one.
func (t *timers) SetTimer(ctx context.Context, agent caxton.AgentID, id int32, after time.Duration) error {
	err := t.db.SetTimer(ctx, sqlite.AgentTimer{AgentID: agent, ID: id, Due: time.Now().Add(after)}, t.most)
	if err == nil {
		select {
		case t.wake <- struct{}{}:
		default: // Run will look anyway
		}
	}
	return err
}

// CancelTimer forgets a timer, when it is there.
func (t *timers) CancelTimer(ctx context.Context, agent caxton.AgentID, id int32) error {
	return t.db.RemoveTimer(ctx, agent, id)
}

// The pauses of timers: before another try when a message was not accepted, and between looks
// when no timer is due.
const (
	timerRetry = time.Second
	timerLook  = time.Hour
)

// Run sends the messages of timers that are due, until ctx ends. A message is removed from the
// timers after it was accepted; its ID follows from the timer, so that it is accepted once.
func (t *timers) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-timer.C:
		}
		timer.Reset(t.fire(ctx))
	}
}

// fire sends what is due, and returns after what time to look again.
func (t *timers) fire(ctx context.Context) time.Duration {
	for {
		due, err := t.db.Timers(ctx, 100)
		if err != nil {
			if ctx.Err() == nil {
				t.log.WarnContext(ctx, "timers not read", "error", err)
			}
			return timerRetry
		}
		for _, d := range due {
			if wait := time.Until(d.Due); wait > 0 {
				return min(wait, timerLook)
			}
			if !t.send(ctx, d) {
				return timerRetry
			}
		}
		if len(due) == 0 {
			return timerLook
		}
	}
}

// send wakes one agent and forgets the timer. It reports false when that has to be tried again.
func (t *timers) send(ctx context.Context, d sqlite.AgentTimer) bool {
	a, err := t.agents.Agent(d.AgentID)
	if err == nil {
		content, merr := json.Marshal(map[string]int32{"timer": d.ID})
		if merr != nil {
			content = nil // a number always prints
		}
		_, err = t.mail.Send(ctx, caxton.Message{
			ID:           caxton.DeriveMessageID(caxton.MessageID(fmt.Sprintf("timer:%s:%d:%d", d.AgentID, d.ID, d.Due.UnixMicro())), 0),
			Performative: caxton.Inform, Sender: a.Slug, SenderID: a.ID, Receiver: string(a.ID), Ontology: wasm.TimerOntology, Content: content,
		})
	}
	switch caxton.KindOf(err) {
	case "":
	case caxton.Unavailable, caxton.Exhausted, caxton.Timeout, caxton.Canceled, caxton.Internal:
		if ctx.Err() == nil {
			t.log.WarnContext(ctx, "agent not woken, will be tried again", "agent_id", d.AgentID, "error", err)
		}
		return false
	case caxton.Malformed, caxton.Invalid, caxton.Unauthenticated, caxton.Forbidden, caxton.NotFound, caxton.Conflict, caxton.TooLarge:
		t.log.WarnContext(ctx, "timer dropped", "agent_id", d.AgentID, "error", err)
	}
	if err := t.db.RemoveTimer(ctx, d.AgentID, d.ID); err != nil {
		if ctx.Err() == nil {
			t.log.WarnContext(ctx, "timer not removed", "agent_id", d.AgentID, "error", err)
		}
		return false
	}
	return true
}
