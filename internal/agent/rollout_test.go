package agent_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
)

// canary begins a rollout of a version that has all conversations.
func canary(to, stage int, state caxton.RolloutState) *caxton.Rollout {
	return &caxton.Rollout{
		Strategy: caxton.RolloutCanary, State: state, From: 1, To: to, Stage: stage,
		Stages: []caxton.RolloutStage{{Percent: 100}, {Percent: 100}},
	}
}

func with(ro *caxton.Rollout, withdrawn ...int) func(*caxton.Agent) {
	return func(a *caxton.Agent) { a.Rollout, a.Versions, a.Withdrawn = ro, 9, withdrawn }
}

// Two versions run side by side, and each is counted for itself, anew with each stage.
func TestSupervisorCountsVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{MaxAttempts: 1}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			switch turn.Message.Text() {
			case "bad":
				return nil, caxton.Errorf(caxton.Invalid, "bad", "bad")
			case "sorry":
				return []caxton.Message{turn.Message.Reply(caxton.Failure, caxton.TextContent("sorry"))}, nil
			}
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1)
		h.answer(h.send("before"))
		h.deploy(1, with(canary(2, 1, caxton.RolloutRunning)))
		if m := h.answer(h.send("x")); m.Text() != "v2: x" {
			t.Errorf("answer %s, want the new version's", m.Text())
		}
		for _, text := range []string{"bad", "sorry", "y"} {
			h.answer(h.send(text))
		}
		synctest.Wait()
		if from, to := h.sup.Counts("a1"); from.Turns() != 0 || to.Handled != 2 || to.Failed != 2 || to.AllFailed != 2 || to.InFlight != 0 || to.Version != 2 {
			t.Errorf("counts %+v and %+v", from, to)
		}
		h.deploy(1, with(canary(2, 2, caxton.RolloutRunning)))
		if _, to := h.sup.Counts("a1"); to.Turns() != 0 || to.AllFailed != 2 {
			t.Errorf("at the next stage: %+v", to)
		}
		h.deploy(1, with(canary(2, 2, caxton.RolloutRolledBack), 2))
		if m := h.answer(h.send("z")); m.Text() != "v1: z" {
			t.Errorf("answer %s after it was withdrawn", m.Text())
		}
	})
}

// What was counted before a restart counts, the stage's only in that stage.
func TestSupervisorRestoresCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{MaxAttempts: 1}, echo)
		defer h.stop()
		h.deploy(1, with(canary(2, 1, caxton.RolloutRunning)))
		h.answer(h.send("x"))
		synctest.Wait()
		kept := h.sup.Tally("a1")
		if kept.To != 2 || kept.Stage != 1 || kept.Turns() != 1 || len(kept.Recent) != 1 || len(kept.Recent[0]) != 1 {
			t.Fatalf("Tally = %+v", kept)
		}
		kept.Recent[0] = []time.Duration{time.Hour}
		kept.Shadow.Compared = 3
		kept.Versions = append(kept.Versions, caxton.VersionCounts{Version: 7, AllHandled: 100}) // no version of the rollout
		h.sup.Restore("a1", kept)
		if _, to := h.sup.Counts("a1"); to.Handled != 2 || to.AllHandled != 2 || to.P99 != time.Hour || to.InFlight != 0 {
			t.Errorf("restored: %+v", to)
		}
		if n := h.sup.Shadow("a1"); n.Compared != 3 {
			t.Errorf("restored: %+v", n)
		}
		kept.Stage = 9
		h.sup.Restore("a1", kept)
		if _, to := h.sup.Counts("a1"); to.Handled != 2 || to.AllHandled != 3 {
			t.Errorf("restored from another stage: %+v", to)
		}
		kept.To = 9
		h.sup.Restore("a1", kept)
		h.sup.Restore("nobody", kept)
		if _, to := h.sup.Counts("a1"); to.AllHandled != 3 {
			t.Errorf("restored from another rollout: %+v", to)
		}
	})
}

// A message that was accepted for a version goes to the one before when that was withdrawn
// meanwhile, also when it was tried already.
func TestWithdrawnVersionsHandleNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var tried []int
		h := build(t, agent.Config{RetryInitial: time.Minute}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			mu.Lock()
			tried = append(tried, turn.Version.Number)
			mu.Unlock()
			if turn.Version.Number == 2 {
				return nil, caxton.Errorf(caxton.Unavailable, "down", "it is down")
			}
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1, with(canary(2, 1, caxton.RolloutRunning)))
		id := h.send("x")
		synctest.Wait()
		h.deploy(1, with(canary(2, 1, caxton.RolloutRolledBack), 2))
		if m := h.answer(id); m.Text() != "v1: x" || !slices.Equal(tried, []int{2, 1}) {
			t.Errorf("%q, tried by %v", m.Text(), tried)
		}
	})
}

// A version that a rollout brings in and that breaks down does not stop the one that is good.
func TestBreakdownsOfANewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{BreakerFailures: 3, MaxAttempts: 1}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			if turn.Version.Number == 2 {
				panic("it breaks down")
			}
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1, with(canary(2, 1, caxton.RolloutRunning)))
		for i := range 4 {
			h.answer(h.send(fmt.Sprint(i)))
		}
		synctest.Wait()
		st, _ := h.sup.Status("a1")
		if _, to := h.sup.Counts("a1"); st.State != caxton.AgentRunning || to.Streak != 4 {
			t.Errorf("the agent is %s, the new version broke down %d times in a row", st.State, to.Streak)
		}
	})
}

// A keeper is a handler with state of its own.
type keeper struct {
	handle
	did   *[]string
	fault error
	n     int
}

func (k keeper) Warm(context.Context) error {
	*k.did = append(*k.did, fmt.Sprint("warm ", k.n))
	return k.fault
}

func (k keeper) MigrateState(_ context.Context, from, to int) error {
	*k.did = append(*k.did, fmt.Sprintf("migrate %d to %d", from, to))
	if k.fault == nil && to == 9 {
		panic("it breaks down")
	}
	return k.fault
}

func TestWarmAndMigrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		defer h.stop()
		var did []string
		var fault error
		h.make = func(v caxton.AgentVersion) agent.Handler { return keeper{echo, &did, fault, v.Number} }
		h.deploy(1, with(nil))
		if err := h.sup.Ready(t.Context(), "a1", 1); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is at hand
			if err := h.sup.Warm(t.Context(), "a1", 2); err != nil {
				t.Errorf("Warm: %v", err)
			}
		}
		v := func(n int) caxton.AgentVersion { return caxton.AgentVersion{AgentID: "a1", Number: n} }
		for _, from := range []int{0, 2, 1} { // there is none, it is the same, it is another
			if err := h.sup.Migrate(t.Context(), v(2), from); err != nil {
				t.Errorf("Migrate: %v", err)
			}
		}
		if want := []string{"warm 1", "warm 2", "migrate 1 to 2"}; !slices.Equal(did, want) {
			t.Errorf("did %v, want %v", did, want)
		}
		if err := h.sup.Migrate(t.Context(), v(9), 1); caxton.KindOf(err) != caxton.Internal {
			t.Errorf("Migrate of what panics: %v", err)
		}
		if err := h.sup.CanShadow(t.Context(), v(2)); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("CanShadow of what cannot: %v", err)
		}
		fault = caxton.Errorf(caxton.Unavailable, "cold", "it does not warm up")
		if err := h.sup.Warm(t.Context(), "a1", 3); caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("Warm of what does not: %v", err)
		}
		if err := h.sup.Migrate(t.Context(), v(3), 1); caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("Migrate of what does not: %v", err)
		}
		if err := h.sup.Warm(t.Context(), "nobody", 1); caxton.KindOf(err) != caxton.NotFound {
			t.Errorf("Warm of nobody: %v", err)
		}
	})
}

// A mirror is a handler that can answer without effects.
type mirror struct {
	handle
	n    int
	says func(turn caxton.Turn) (caxton.ShadowTurn, error)
}

func (m mirror) Shadow(_ context.Context, turn caxton.Turn, _ []caxton.Record) (caxton.ShadowTurn, error) {
	return m.says(turn)
}

func TestShadowIsCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		defer h.stop()
		says := func(turn caxton.Turn) (caxton.ShadowTurn, error) {
			answer := "v1: " + turn.Message.Text()
			out := caxton.ShadowTurn{}
			switch turn.Message.Text() {
			case "other":
				answer = "no"
			case "calls":
				out.Calls = []caxton.ToolCallRef{{Tool: "clock", Arguments: []byte(`{ }`)}}
			case "fails":
				return out, caxton.Errorf(caxton.Unavailable, "down", "it is down")
			case "panics":
				panic("it breaks down")
			}
			out.Outputs = []caxton.Message{turn.Message.Reply(caxton.Inform, caxton.TextContent(answer))}
			return out, nil
		}
		h.make = func(v caxton.AgentVersion) agent.Handler { return mirror{echo, v.Number, says} }
		ro := canary(2, 1, caxton.RolloutRunning)
		ro.Strategy = caxton.RolloutShadow
		h.deploy(1, with(ro))
		if err := h.sup.CanShadow(t.Context(), caxton.AgentVersion{AgentID: "a1", Number: 2}); err != nil {
			t.Errorf("CanShadow: %v", err)
		}
		for _, text := range []string{"same", "other", "calls", "fails", "panics"} {
			if m := h.answer(h.send(text)); m.Text() != "v1: "+text {
				t.Errorf("answer %s", m.Text())
			}
		}
		synctest.Wait()
		s := h.sup.Shadow("a1")
		if s.Compared != 5 || s.Same != 1 || s.Answers != 1 || s.Calls != 1 || s.Failed != 2 || len(s.Different) != 4 {
			t.Errorf("compared: %+v", s)
		}
		for _, d := range s.Different {
			if d.Answer != "" && (d.Answer != "inform: v1: other" || d.Shadow != "inform: no") || len(d.Extra) > 0 && !slices.Equal(d.Extra, []string{"clock {}"}) {
				t.Errorf("difference %+v", d)
			}
		}
		if from, to := h.sup.Counts("a1"); from.Handled != 5 || to.Handled != 3 || to.Failed != 2 {
			t.Errorf("counts %+v and %+v", from, to)
		}
	})
}
