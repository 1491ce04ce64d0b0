package agent_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
)

// A factory that panics must not take the server down, at the start of a version or on trial.
func TestRunnerSurvivesItsFactory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		defer h.stop()
		h.deploy(1)
		h.wild[2] = true
		h.deploy(2)
		if err := h.sup.Ready(t.Context(), "a1", 2); caxton.KindOf(err) != caxton.Internal {
			t.Errorf("Ready(2) = %v, want an internal error", err)
		}
		if err := h.sup.Try(t.Context(), caxton.AgentVersion{AgentID: "a1", Number: 2}); caxton.KindOf(err) != caxton.Internal {
			t.Errorf("Try(2) = %v, want an internal error", err)
		}
		h.deploy(1)
		if m := h.answer(h.send("x")); m.Text() != "v1: x" {
			t.Errorf("answer %s, want version 1 to go on", m.Text())
		}
	})
}

func TestSupervisorTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{StartupTimeout: time.Second}, echo)
		defer h.stop()
		h.broken[2] = caxton.Errorf(caxton.Invalid, "bad", "cannot run")
		if err := h.sup.Try(t.Context(), caxton.AgentVersion{AgentID: "nobody yet", Number: 1}); err != nil {
			t.Errorf("a version that can run: %v", err)
		}
		if err := h.sup.Try(t.Context(), caxton.AgentVersion{AgentID: "a1", Number: 2}); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("a version that cannot: %v", err)
		}
		if n := h.sup.Count(caxton.ConfigAgent); n != 0 {
			t.Errorf("%d agents run after trials, want none", n)
		}
	})
}

// A new version that allows fewer turns at once must not leave messages behind.
func TestRunnerNarrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := build(t, agent.Config{PerAgent: 4}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			<-release
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1)
		var ids []caxton.MessageID
		for i := range 8 {
			ids = append(ids, h.send(fmt.Sprint(i)))
		}
		synctest.Wait()
		h.deploy(2, func(a *caxton.Agent) { a.Definition.Performance.MaxConcurrent = 1 })
		synctest.Wait()
		close(release)
		synctest.Wait()
		for _, id := range ids {
			if st, err := h.router.Status(t.Context(), id); err != nil || !st.Settled {
				t.Errorf("message %s: %+v, %v, want settled", id, st.Outcome, err)
			}
		}
	})
}

// While all places for turns are taken, an agent still answers pings and heeds suspension.
func TestRunnerListensWhenTheServerIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := build(t, agent.Config{MaxConcurrent: 1}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			<-release
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1)
		first, second := h.send("1"), h.send("2")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.sup.Ping(ctx, "a1"); err != nil {
			t.Errorf("Ping: %v", err)
		}
		h.deploy(1, func(a *caxton.Agent) { a.Suspended = true })
		synctest.Wait()
		if st, _ := h.sup.Status("a1"); st.State != caxton.AgentDraining {
			t.Errorf("state %s, want draining", st.State)
		}
		close(release)
		h.answer(first)
		synctest.Wait()
		if st, _ := h.sup.Status("a1"); st.State != caxton.AgentSuspended || st.Queued != 1 {
			t.Errorf("%s with %d queued, want suspended with 1", st.State, st.Queued)
		}
		h.deploy(1)
		h.answer(second)
	})
}

// A restart that fails says so and leaves what runs alone.
func TestRunnerRestartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		defer h.stop()
		h.deploy(1)
		h.answer(h.send("x"))
		h.mu.Lock()
		h.broken[1] = caxton.Errorf(caxton.Unavailable, "gone", "its model is gone")
		h.mu.Unlock()
		if err := h.sup.Restart(t.Context(), "a1"); caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("Restart = %v, want the reason", err)
		}
		if m := h.answer(h.send("y")); m.Text() != "v1: y" {
			t.Errorf("answer %s, want the handler before to go on", m.Content)
		}
		h.mu.Lock()
		delete(h.broken, 1)
		h.mu.Unlock()
		if err := h.sup.Restart(t.Context(), "a1"); err != nil {
			t.Errorf("Restart = %v", err)
		}
	})
}

// Who waits for an agent that is removed meanwhile is told at once.
func TestRunnerGoesWhileAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		defer h.stop()
		h.deploy(1)
		if err := h.sup.Ready(t.Context(), "a1", 1); err != nil {
			t.Fatal(err)
		}
		h.hold = make(chan struct{})
		h.deploy(2)
		start := time.Now()
		done := make(chan error, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() { done <- h.sup.Restart(ctx, "a1") }()
		go func() { done <- h.sup.Ready(ctx, "a1", 2) }()
		synctest.Wait()
		h.sup.AgentRemoved("a1")
		for range 2 {
			if err := <-done; caxton.KindOf(err) != caxton.NotFound || time.Since(start) > 0 {
				t.Errorf("after %s: %v, want not found at once", time.Since(start), err)
			}
		}
		close(h.hold)
	})
}

// An agent that is resumed takes messages at once, also while a turn from before is running.
func TestRunnerResumesWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := build(t, agent.Config{}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			if turn.Message.Text() == "slow" {
				<-release
			}
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1)
		slow := h.send("slow")
		synctest.Wait()
		h.deploy(1, func(a *caxton.Agent) { a.Suspended = true })
		synctest.Wait()
		if st, _ := h.sup.Status("a1"); st.State != caxton.AgentDraining {
			t.Errorf("state %s, want draining", st.State)
		}
		h.deploy(1)
		quick := h.send("quick")
		synctest.Wait()
		if st, err := h.router.Status(t.Context(), quick); err != nil || !st.Settled {
			t.Errorf("settled %v, %v: want an answer while the turn from before runs", st.Settled, err)
		}
		close(release)
		h.answer(slow)
	})
}

// An agent that does not start is tried again, after pauses that grow.
func TestRunnerTriesToStartAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{RestartInitial: time.Second, RestartMax: 3 * time.Second}, echo)
		defer h.stop()
		h.broken[1] = caxton.Errorf(caxton.Unavailable, "down", "not now")
		start := time.Now()
		h.deploy(1)
		for _, at := range []time.Duration{1, 3, 6, 9} { // after 1, 2, 3 and 3 seconds
			synctest.Wait()
			if st, _ := h.sup.Status("a1"); st.State != caxton.AgentFailed || st.NextRestart.Sub(start) != at*time.Second {
				t.Fatalf("%s, next start after %s, want failed and %ds", st.State, st.NextRestart.Sub(start), at)
			}
			<-time.After(time.Until(start.Add(at * time.Second)))
		}
		h.mu.Lock()
		delete(h.broken, 1)
		h.mu.Unlock()
		if m := h.answer(h.send("x")); m.Text() != "v1: x" {
			t.Errorf("answer %s", m.Text())
		}
	})
}

// A version that replaces one that broke down begins with a clean slate: one panic of it is
// not one too many.
func TestRunnerForgivesANewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{BreakerFailures: 2, RestartInitial: time.Hour}, func(context.Context, caxton.Turn) ([]caxton.Message, error) {
			panic("boom")
		})
		defer h.stop()
		h.deploy(1)
		h.answer(h.send("1"))
		h.answer(h.send("2"))
		synctest.Wait()
		if st, _ := h.sup.Status("a1"); st.State != caxton.AgentFailed {
			t.Fatalf("state %s, want failed", st.State)
		}
		h.deploy(2)
		h.answer(h.send("3"))
		synctest.Wait()
		if st, _ := h.sup.Status("a1"); st.State != caxton.AgentRunning {
			t.Errorf("state %s after one panic of the new version, want running", st.State)
		}
	})
}
