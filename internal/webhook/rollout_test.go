package webhook_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/webhook"
)

// steps returns what a receiver was told of rollouts, each step once.
func (r *receiver) steps(t *testing.T) []string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for id, bodies := range r.bodies {
		for _, b := range bodies {
			if b != bodies[0] {
				t.Errorf("%s says %s and then %s", id, bodies[0], b)
			}
		}
		var p struct {
			Type string
			Data api.RolloutEvent
		}
		if err := json.Unmarshal([]byte(bodies[0]), &p); err != nil {
			t.Error(err)
		}
		if p.Type == "rollout" {
			all = append(all, fmt.Sprint(p.Data.Agent, " ", p.Data.Step, " ", p.Data.Stage, " ", p.Data.State))
		}
	}
	slices.Sort(all)
	return all
}

// TestRollouts: webhooks are told of each step of a rollout that they want, once, also when
// it is told of again after a restart, and when the receiver has to be asked again.
func TestRollouts(t *testing.T) {
	failing := func(_ string, attempt int) (int, string) {
		if attempt == 1 {
			return 503, ""
		}
		return 204, ""
	}
	all, only, greeter, messages := receive(t, failing), receive(t, nil), receive(t, nil), receive(t, nil)
	dir := t.TempDir()
	h := open(t, filepath.Join(dir, "0.db"), webhook.Config{})
	h.create(caxton.Webhook{URL: all.URL})
	h.create(caxton.Webhook{URL: only.URL, Events: []caxton.RecordKind{caxton.EventRollout}})
	h.create(caxton.Webhook{URL: greeter.URL, Agents: []string{"greeter"}})
	h.create(caxton.Webhook{URL: messages.URL, Events: []caxton.RecordKind{caxton.RecordMessage}})
	h.create(caxton.Webhook{URL: messages.URL, Conversations: []caxton.ConversationID{"c1"}})
	now := time.Now()
	step := func(id caxton.AgentID, step string, state caxton.RolloutState, stage int, at time.Time) caxton.RolloutEvent {
		return caxton.RolloutEvent{Step: step, At: at, AgentID: id, Agent: string(id), Rollout: caxton.Rollout{State: state, To: 2, Stage: stage}}
	}
	tell := func() {
		for _, id := range []caxton.AgentID{"a1", "a2"} {
			h.engine.Rollout(step(id, "began", caxton.RolloutPreparing, 0, now))
			h.engine.Rollout(step(id, "stage", caxton.RolloutRunning, 1, now))
		}
		h.engine.Rollout(step("a3", "ended", caxton.RolloutCompleted, 1, now.Add(-time.Minute))) // before there was a webhook
		h.engine.Rollout(step("a4", "ended", caxton.RolloutCompleted, 1, now.Add(-48*time.Hour)))
	}
	tell()
	a1 := []string{"a1 began 0 preparing", "a1 stage 1 running"}
	both := append(slices.Clone(a1), "a2 began 0 preparing", "a2 stage 1 running")
	until(t, "all is told", func() bool {
		return len(all.steps(t)) == 4 && len(only.steps(t)) == 4 && len(greeter.steps(t)) == 2
	})
	h.message("c1", "m1")
	h.pause()
	h.engine.Rollout(step("a1", "ended", caxton.RolloutAborted, 1, now)) // and the process dies before it is queued
	path := filepath.Join(dir, "1.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(h.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.stop()
	h = open(t, path, webhook.Config{})
	tell()
	h.engine.Rollout(step("a1", "ended", caxton.RolloutAborted, 1, now)) // the registry tells of it at the start
	until(t, "what was left is told", func() bool {
		return len(all.steps(t)) == 5 && len(only.steps(t)) == 5 && len(greeter.steps(t)) == 3 && strings.Contains(fmt.Sprint(messages.told()), "c1/")
	})
	a1, both = append(a1, "a1 ended 1 aborted"), append(both, "a1 ended 1 aborted")
	slices.Sort(a1)
	slices.Sort(both)
	for name, x := range map[string]struct {
		r    *receiver
		want []string
	}{"all": {all, both}, "only rollouts": {only, both}, "one agent": {greeter, a1}, "messages": {messages, nil}} {
		if got := x.r.steps(t); !slices.Equal(got, x.want) {
			t.Errorf("%s was told %q, want %q", name, got, x.want)
		}
	}
	ids, requests := only.count()
	if ids != 5 || requests != 5 {
		t.Errorf("%d requests of %d steps, want each once", requests, ids)
	}
	w := h.engine.List(t.Context())[1]
	ds, _, err := h.engine.Deliveries(t.Context(), w.ID, "", 10, "")
	if err != nil || len(ds) != 5 || ds[0].Kind != "rollout" {
		t.Errorf("Deliveries = %+v, %v", ds, err)
	}
}
