package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
)

// Turns that break down in a row fail the agent, whatever way they do; what is the message's
// or the provider's fault does not.
func TestBreakerCountsBreakdowns(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error // nil: the turn runs out of time
		want caxton.AgentState
	}{
		{"internal errors", errors.New("broken"), caxton.AgentFailed},
		{"out of time", nil, caxton.AgentFailed},
		{"a message it cannot read", caxton.Errorf(caxton.Invalid, "x", "x"), caxton.AgentRunning},
		{"a provider that is down", caxton.Errorf(caxton.Unavailable, "x", "x"), caxton.AgentRunning},
		{"an effect nobody knows of", caxton.Errorf(caxton.Conflict, "effect_unknown", "x"), caxton.AgentRunning},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := agent.Config{BreakerFailures: 3, MaxAttempts: 1, ExecutionTimeout: time.Second, RestartInitial: time.Hour}
			h := build(t, cfg, func(ctx context.Context, _ caxton.Turn) ([]caxton.Message, error) {
				if tt.err == nil {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return nil, tt.err
			})
			defer h.stop()
			h.deploy(1)
			for range 3 {
				h.answer(h.send("x"))
			}
			synctest.Wait()
			if st, _ := h.sup.Status("a1"); st.State != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, st.State, tt.want)
			}
		})
	}
}

// A parked turn goes on when its time has come, as often as it parks: that is no failed
// attempt.
func TestParkedTurnsAreNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parks := 0
		h := build(t, agent.Config{MaxAttempts: 2}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			if parks < 5 {
				parks++
				return nil, caxton.Errorf(caxton.Exhausted, "budget_busy", "wait").WithCause(&caxton.Parked{Until: time.Now().Add(time.Minute)})
			}
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1)
		start := time.Now()
		if m := h.answer(h.send("x")); m.Text() != "v1: x" || time.Since(start) != 5*time.Minute {
			t.Errorf("answer %q after %v", m.Text(), time.Since(start))
		}
		synctest.Wait() // the answer is there before its turn is counted
		if st, _ := h.sup.Status("a1"); st.Failed != 0 || st.Handled != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

// A turn that would park beyond the deadline of its message is given up.
func TestDeadlineOfAParkedTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, func(context.Context, caxton.Turn) ([]caxton.Message, error) {
			return nil, caxton.Errorf(caxton.Conflict, "approval_pending", "wait").WithCause(&caxton.Parked{Until: time.Now().Add(time.Hour)})
		})
		defer h.stop()
		h.deploy(1)
		rc, err := h.router.Send(t.Context(), caxton.Message{Receiver: "a1", Content: caxton.TextContent("x"), ReplyBy: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		reply, err := h.router.Await(t.Context(), rc.MessageID)
		if err != nil || reply.Performative != caxton.Failure || time.Since(start) != time.Minute {
			t.Errorf("%s %s after %v, %v", reply.Performative, reply.Content, time.Since(start), err)
		}
	})
}

// Calls of unknown outcome become tickets, also when the turn ran out of time meanwhile, and
// the turn is not tried again.
func TestUnknownEffectsBecomeTickets(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			turns := 0
			h := build(t, agent.Config{ExecutionTimeout: time.Second}, func(ctx context.Context, _ caxton.Turn) ([]caxton.Message, error) {
				turns++
				if late {
					<-ctx.Done()
				}
				u := &caxton.UnknownEffects{Calls: []caxton.ToolCallRef{{CallID: "c1", Tool: "pay", Key: "k1"}, {CallID: "c2", Tool: "pay", Key: "k2"}}}
				return nil, caxton.Errorf(caxton.Conflict, "effect_unknown", "who knows").WithCause(u)
			})
			defer h.stop()
			h.deploy(1)
			id := h.send("x")
			h.answer(id)
			st, err := h.router.Status(t.Context(), id)
			if err != nil || st.Outcome != caxton.OutcomeUnknown || turns != 1 {
				t.Errorf("status %+v, %v after %d turns", st, err, turns)
			}
			ts, _, err := h.router.Tickets(t.Context(), caxton.TicketQuery{Kind: caxton.Effect, Open: true})
			if err != nil || len(ts) != 2 || ts[0].Call == nil || ts[0].MessageID != id {
				t.Errorf("tickets %+v, %v", ts, err)
			}
		})
	}
}

func TestCancelledTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, func(ctx context.Context, _ caxton.Turn) ([]caxton.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		defer h.stop()
		h.deploy(1)
		id := h.send("x")
		synctest.Wait()
		if err := h.router.Cancel(t.Context(), id, "ann"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		st, err := h.router.Status(t.Context(), id)
		if err != nil || st.Outcome != caxton.OutcomeCancelled || len(st.Replies) != 0 {
			t.Errorf("status %+v, %v", st, err)
		}
		if s, _ := h.sup.Status("a1"); s.State != caxton.AgentRunning || s.InFlight != 0 {
			t.Errorf("agent %+v", s)
		}
	})
}

// A message with which the server went down again and again is not tried for ever.
func TestPoisonIsGivenUp(t *testing.T) {
	for _, tt := range []struct {
		attempts, parked int
		want             caxton.Performative
	}{
		{3, 0, caxton.Inform},
		{100, 99, caxton.Inform},
		{13, 0, caxton.Failure},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, agent.Config{}, echo)
			defer h.stop()
			h.deploy(1)
			d := caxton.Delivery{Version: 1, Message: caxton.Message{
				ID: "m", ConversationID: "c", Performative: caxton.Request, Sender: "user", Receiver: "a1", ReceiverID: "a1", Content: caxton.TextContent("x"),
			}}
			if _, _, err := h.journal.Accept(t.Context(), d, false); err != nil {
				t.Fatal(err)
			}
			d.Attempt, d.Parked = tt.attempts, tt.parked
			if err := h.journal.Release(t.Context(), caxton.Lease{Delivery: d}, "", time.Time{}); err != nil {
				t.Fatal(err)
			}
			if _, err := h.router.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			if m := h.answer("m"); m.Performative != tt.want {
				t.Errorf("after %d attempts, %d parked: %s", tt.attempts, tt.parked, m.Performative)
			}
			if _, err := h.router.Ticket(t.Context(), caxton.DeadLetter, "m"); (err == nil) != (tt.want == caxton.Failure) {
				t.Errorf("after %d attempts, %d parked: dead letter: %v", tt.attempts, tt.parked, err)
			}
		})
	}
}

// A cancel that was answered holds, though the process dies before the turn has ended: the
// log says so.
func TestCancelIsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := 0
		h := build(t, agent.Config{}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			turns++
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1, func(a *caxton.Agent) { a.Suspended = true })
		id := h.send("x")
		body := json.RawMessage(`{"by":"ann"}`)
		err := h.journal.Append(t.Context(), caxton.Record{ConversationID: conversation(t, h, id), Kind: caxton.RecordCancelAsked, MessageID: id, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		l, ok := h.router.Next(t.Context(), "a1") // as by a process that died
		if !ok {
			t.Fatal("nothing to lease")
		}
		h.router.Abandon(l)
		h.deploy(1)
		time.Sleep(time.Minute)
		st, err := h.router.Status(t.Context(), id)
		if err != nil || st.Outcome != caxton.OutcomeCancelled || turns != 0 {
			t.Errorf("status %+v, %v after %d turns", st, err, turns)
		}
	})
}

func conversation(t *testing.T, h *house, id caxton.MessageID) caxton.ConversationID {
	t.Helper()
	st, err := h.router.Status(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return st.Message.ConversationID
}
