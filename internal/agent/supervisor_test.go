package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A handle is what the tests' agents do with a turn.
type handle func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error)

func (h handle) Handle(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
	return h(ctx, turn)
}

// A house is a router and a supervisor over a memory journal, with agents that can be
// deployed anew.
type house struct {
	t       *testing.T
	journal *memjournal.Journal
	router  *router.Router
	sup     *agent.Supervisor
	stop    func()

	mu     sync.Mutex
	agents map[caxton.AgentID]caxton.Agent
	do     handle
	broken map[int]error                           // versions whose handler cannot be made
	wild   map[int]bool                            // versions whose making panics
	make   func(caxton.AgentVersion) agent.Handler // nil for do
	opened map[int]int                             // nil: handlers are no Closers; else how many of a version are open
	hold   chan struct{}                           // what the making of version 2 waits for; nil for nothing
}

func (h *house) Agent(id caxton.AgentID) (caxton.Agent, error) { return h.Resolve(string(id)) }

func (h *house) Resolve(ref string) (caxton.Agent, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a, ok := h.agents[caxton.AgentID(ref)]; ok {
		return a, nil
	}
	return caxton.Agent{}, caxton.Errorf(caxton.NotFound, "agent_not_found", "no agent %s", ref)
}

func (h *house) Providers(caxton.Capability) []caxton.Agent { return nil }
func (h *house) Capabilities() []caxton.Capability          { return nil }

func (h *house) Version(_ context.Context, id caxton.AgentID, n int) (caxton.AgentVersion, error) {
	a, err := h.Agent(id)
	if err == nil && n > a.Versions {
		err = caxton.Errorf(caxton.NotFound, "version_not_found", "no version %d", n)
	}
	return caxton.AgentVersion{AgentID: id, Number: n}, err
}

func (h *house) factory(_ context.Context, v caxton.AgentVersion) (agent.Handler, error) {
	if h.hold != nil && v.Number == 2 {
		<-h.hold
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.broken[v.Number]; err != nil {
		return nil, err
	}
	if h.wild[v.Number] {
		panic("the maker of handlers broke down")
	}
	if h.make != nil {
		return h.make(v), nil
	}
	if h.opened != nil {
		h.opened[v.Number]++
		return &closing{h.do, h, v.Number}, nil
	}
	return h.do, nil
}

// A closing is a handler that holds something.
type closing struct {
	handle
	h       *house
	version int
}

func (c *closing) Close(context.Context) error {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.opened[c.version]--
	return nil
}

// deploy makes version n of agent a1 the active one.
func (h *house) deploy(n int, change ...func(*caxton.Agent)) {
	h.mu.Lock()
	a := caxton.Agent{ID: "a1", Name: "a1", Slug: "a1", Type: caxton.ConfigAgent, Version: n, Versions: max(n, h.agents["a1"].Versions)}
	for _, c := range change {
		c(&a)
	}
	h.agents["a1"] = a
	h.mu.Unlock()
	h.sup.AgentChanged(a)
}

func (h *house) send(text string) caxton.MessageID {
	h.t.Helper()
	rc, err := h.router.Send(h.t.Context(), caxton.Message{Receiver: "a1", Content: caxton.TextContent(text)})
	if err != nil {
		h.t.Fatal(err)
	}
	return rc.MessageID
}

func (h *house) answer(id caxton.MessageID) caxton.Message {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Minute)
	defer cancel()
	m, err := h.router.Await(ctx, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// build returns a running house whose agents do as told. Call it inside synctest.
func build(t *testing.T, cfg agent.Config, do handle) *house {
	t.Helper()
	h := &house{t: t, journal: memjournal.New(memjournal.Config{}), agents: map[caxton.AgentID]caxton.Agent{}, do: do, broken: map[int]error{}, wild: map[int]bool{}}
	h.router = router.New(h.journal, h, router.Config{})
	cfg.Jitter = func() float64 { return 0 }
	h.sup = agent.New(h.router, h, h.factory, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.sup.Run(ctx) })
	wg.Go(func() { _ = h.router.Run(ctx) })
	h.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	return h
}

func echo(_ context.Context, turn caxton.Turn) ([]caxton.Message, error) {
	text := fmt.Sprintf("v%d: %s", turn.Version.Number, turn.Message.Text())
	return []caxton.Message{turn.Message.Reply(caxton.Inform, caxton.TextContent(text))}, nil
}

func TestSupervisorAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		defer h.stop()
		h.deploy(1)
		if err := h.sup.Ready(t.Context(), "a1", 1); err != nil {
			t.Fatal(err)
		}
		if m := h.answer(h.send("hello")); m.Text() != "v1: hello" || m.Performative != caxton.Inform {
			t.Errorf("answer = %+v", m)
		}
		if _, err := h.sup.Ping(t.Context(), "a1"); err != nil {
			t.Errorf("Ping: %v", err)
		}
		synctest.Wait() // the answer is there before its turn is counted
		st, ok := h.sup.Status("a1")
		if !ok || st.State != caxton.AgentRunning || st.Handled != 1 || st.Version != 1 {
			t.Errorf("Status = %+v", st)
		}
	})
}

func TestSupervisorBoundsTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		h := build(t, agent.Config{PerAgent: 3}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1)
		var ids []caxton.MessageID
		for i := range 10 {
			ids = append(ids, h.send(fmt.Sprint(i)))
		}
		for _, id := range ids {
			h.answer(id)
		}
		if most != 3 {
			t.Errorf("%d turns at once, want 3", most)
		}
	})
}

func TestSupervisorSwapsWithoutLoss(t *testing.T) {
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
		h.deploy(2)
		if err := h.sup.Ready(t.Context(), "a1", 2); err != nil {
			t.Fatal(err)
		}
		if m := h.answer(h.send("quick")); m.Text() != "v2: quick" {
			t.Errorf("after the swap: %s", m.Text())
		}
		close(release)
		if m := h.answer(slow); m.Text() != "v1: slow" {
			t.Errorf("the turn in flight: %s, want it to finish on version 1", m.Text())
		}
	})
}

func TestSupervisorKeepsTheGoodVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		defer h.stop()
		h.deploy(1)
		h.broken[2] = caxton.Errorf(caxton.Invalid, "bad", "cannot run")
		if err := h.sup.Ready(t.Context(), "a1", 1); err != nil {
			t.Fatal(err)
		}
		h.deploy(2)
		if err := h.sup.Ready(t.Context(), "a1", 2); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("Ready(2) = %v, want the reason", err)
		}
		st, _ := h.sup.Status("a1")
		if st.State != caxton.AgentRunning || st.Version != 1 {
			t.Errorf("Status = %+v, want version 1 running", st)
		}
		h.deploy(1) // rolled back
		if err := h.sup.Ready(t.Context(), "a1", 1); err != nil {
			t.Fatal(err)
		}
		if m := h.answer(h.send("x")); m.Text() != "v1: x" {
			t.Errorf("answer %s", m.Text())
		}
	})
}

func TestSupervisorRetries(t *testing.T) {
	down := caxton.Errorf(caxton.Unavailable, "down", "the model is down").WithHint("wait")
	tests := []struct {
		name     string
		err      error
		failures int
		want     caxton.Performative
		attempts int
		outcome  caxton.Outcome
	}{
		{"once and then well", down, 1, caxton.Inform, 2, caxton.OutcomeDone},
		{"never well", down, 99, caxton.Failure, 3, caxton.OutcomeFailed},
		{"not worth another try", caxton.Errorf(caxton.Invalid, "bad", "bad"), 99, caxton.Failure, 1, caxton.OutcomeFailed},
		{"an unknown error", errors.New("secret"), 99, caxton.Failure, 1, caxton.OutcomeFailed},
		{"an unknown effect", caxton.Errorf(caxton.Conflict, "effect_unknown", "who knows"), 99, caxton.Failure, 1, caxton.OutcomeUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var attempts []int
				h := build(t, agent.Config{}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
					attempts = append(attempts, turn.Attempt)
					if turn.Attempt > 1 && !slices.ContainsFunc(turn.Past, func(r caxton.Record) bool { return r.Kind == caxton.RecordReleased }) {
						t.Error("the second attempt does not see the first in Past")
					}
					if len(attempts) <= tt.failures {
						return nil, tt.err
					}
					return echo(ctx, turn)
				})
				defer h.stop()
				h.deploy(1)
				id := h.send("x")
				m := h.answer(id)
				if m.Performative != tt.want || len(attempts) != tt.attempts || attempts[len(attempts)-1] != tt.attempts {
					t.Errorf("%s after attempts %v, want %s after %d: %s", m.Performative, attempts, tt.want, tt.attempts, m.Content)
				}
				st, err := h.router.Status(t.Context(), id)
				if err != nil || st.Outcome != tt.outcome {
					t.Errorf("outcome %s, %v, want %s", st.Outcome, err, tt.outcome)
				}
				if tt.name == "an unknown error" && (st.Error == "" || string(m.Content) == "" || containsSecret(st.Error, string(m.Content))) {
					t.Errorf("error %q, content %s: the cause must not show", st.Error, m.Content)
				}
			})
		})
	}
}

func containsSecret(texts ...string) bool {
	return slices.ContainsFunc(texts, func(s string) bool { return s == "secret" })
}

func TestSupervisorTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{ExecutionTimeout: time.Second, MaxAttempts: 1}, func(ctx context.Context, _ caxton.Turn) ([]caxton.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		defer h.stop()
		h.deploy(1)
		id := h.send("x")
		if m := h.answer(id); m.Performative != caxton.Failure {
			t.Errorf("answer %+v, want a failure", m)
		}
	})
}

func TestSupervisorBreaksAndRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := 0
		h := build(t, agent.Config{BreakerFailures: 2}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			if panics < 2 {
				panics++
				panic("boom")
			}
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1)
		for range 2 {
			if m := h.answer(h.send("x")); m.Performative != caxton.Failure {
				t.Errorf("answer %+v, want a failure", m)
			}
		}
		synctest.Wait()
		if st, _ := h.sup.Status("a1"); st.State != caxton.AgentFailed || st.NextRestart.IsZero() || h.sup.Available("a1") {
			t.Fatalf("Status = %+v, want failed with a restart to come", st)
		}
		id := h.send("waits")
		if m := h.answer(id); m.Text() != "v1: waits" { // after the pause, on the fake clock
			t.Errorf("answer %s", m.Text())
		}
		if st, _ := h.sup.Status("a1"); st.State != caxton.AgentRunning || st.Restarts != 1 {
			t.Errorf("Status = %+v, want running after one restart", st)
		}
	})
}

func TestSupervisorSuspendsAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, agent.Config{}, echo)
		defer h.stop()
		h.deploy(1)
		h.answer(h.send("x"))
		h.deploy(1, func(a *caxton.Agent) { a.Suspended = true })
		synctest.Wait()
		if st, _ := h.sup.Status("a1"); st.State != caxton.AgentSuspended {
			t.Fatalf("state %s, want suspended", st.State)
		}
		if _, err := h.sup.Ping(t.Context(), "a1"); caxton.KindOf(err) != caxton.Conflict {
			t.Errorf("Ping: %v, want a conflict", err)
		}
		if err := h.sup.Restart(t.Context(), "a1"); caxton.KindOf(err) != caxton.Conflict {
			t.Errorf("Restart: %v, want a conflict", err)
		}
		id := h.send("waits")
		synctest.Wait()
		if st, _ := h.sup.Status("a1"); st.Queued != 1 {
			t.Errorf("queued %d, want 1", st.Queued)
		}
		h.deploy(1)
		if m := h.answer(id); m.Text() != "v1: waits" {
			t.Errorf("answer %s", m.Text())
		}
	})
}

func TestSupervisorRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := build(t, agent.Config{PerAgent: 1}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
			<-release
			return echo(ctx, turn)
		})
		defer h.stop()
		h.deploy(1)
		first, second := h.send("1"), h.send("2")
		synctest.Wait()
		h.mu.Lock()
		delete(h.agents, "a1")
		h.mu.Unlock()
		h.sup.AgentRemoved("a1")
		close(release)
		if m := h.answer(first); m.Performative != caxton.Inform {
			t.Errorf("the turn in flight ended with %s, want inform", m.Performative)
		}
		if m := h.answer(second); m.Performative != caxton.Failure {
			t.Errorf("what waited ended with %s, want failure", m.Performative)
		}
	})
}

func TestSupervisorDrains(t *testing.T) {
	t.Run("turns in flight finish", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, agent.Config{}, func(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
				time.Sleep(5 * time.Second)
				return echo(ctx, turn)
			})
			h.deploy(1)
			id := h.send("x")
			synctest.Wait()
			h.stop()
			if st, err := h.router.Status(t.Context(), id); err != nil || st.Outcome != caxton.OutcomeDone {
				t.Errorf("Status = %+v, %v, want done", st, err)
			}
		})
	})
	t.Run("but not for ever", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, agent.Config{DrainTimeout: time.Second}, func(ctx context.Context, _ caxton.Turn) ([]caxton.Message, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			h.deploy(1)
			id := h.send("x")
			synctest.Wait()
			h.stop()
			if st, err := h.router.Status(t.Context(), id); err != nil || st.Settled {
				t.Errorf("Status = %+v, %v, want unsettled: it is handed out after the restart", st, err)
			}
		})
	})
}
