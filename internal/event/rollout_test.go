package event_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/event"
)

func TestRollouts(t *testing.T) {
	var told []string
	r := event.NewRollouts(func(e caxton.RolloutEvent, news bool) {
		told = append(told, fmt.Sprint(e.Agent, " ", e.Step, " ", e.Rollout.Stage, " ", e.At.Second(), " ", news))
	})
	at := func(s int) time.Time { return time.Date(2026, 5, 1, 12, 0, s, 0, time.UTC) }
	change := func(id caxton.AgentID, ro *caxton.Rollout) {
		r.AgentChanged(caxton.Agent{ID: id, Slug: string(id), Rollout: ro})
	}
	old := &caxton.Rollout{State: caxton.RolloutCompleted, To: 2, StartedAt: at(1), EndedAt: at(2)}
	change("a", old) // it was there
	change("b", nil)
	ro := caxton.Rollout{State: caxton.RolloutPreparing, To: 2, StartedAt: at(3)}
	step := func(state caxton.RolloutState, stage, s int) {
		ro.State, ro.Stage = state, stage
		if state.Over() {
			ro.EndedAt = at(s)
		} else {
			ro.StageAt = at(s)
		}
		next := ro
		change("b", &next)
		change("b", &next) // something else changed
	}
	change("b", &caxton.Rollout{State: caxton.RolloutPreparing, To: 2, StartedAt: at(3)})
	step(caxton.RolloutRunning, 1, 4)
	step(caxton.RolloutRunning, 2, 5)
	step(caxton.RolloutRolledBack, 2, 6)
	r.AgentRemoved("b")
	change("b", nil)
	want := []string{"a ended 0 2 false", "b began 0 3 true", "b stage 1 4 true", "b stage 2 5 true", "b ended 2 6 true"}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestPublishRollout(t *testing.T) {
	f := &event.Feed{}
	all, one := f.Subscribe(""), f.Subscribe("c1")
	defer all.Close()
	defer one.Close()
	f.PublishRollout(&caxton.RolloutEvent{Agent: "a"})
	if events, lost := all.Take(); len(events) != 1 || lost || events[0].Rollout.Agent != "a" {
		t.Errorf("who listens to all: %+v, %t", events, lost)
	}
	if events, lost := one.Take(); len(events) != 0 || lost {
		t.Errorf("who listens to a conversation: %+v, %t", events, lost)
	}
}
