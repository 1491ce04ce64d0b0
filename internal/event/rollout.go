package event

import (
	"fmt"
	"sync"

	"github.com/caxton/caxton"
)

// Rollouts observes the registry and tells of each step of a rollout: it began, came to a
// stage, ended. It is safe for concurrent use.
type Rollouts struct {
	tell func(e caxton.RolloutEvent, news bool)

	mu   sync.Mutex // guards told
	told map[caxton.AgentID]string
}

// NewRollouts returns an observer that calls tell for each step, from the goroutine that
// changed the registry: it must not wait. What is there when it begins to observe is no news.
func NewRollouts(tell func(e caxton.RolloutEvent, news bool)) *Rollouts {
	return &Rollouts{tell: tell, told: map[caxton.AgentID]string{}}
}

// AgentChanged tells of a step of the agent's rollout that it has not told of.
func (r *Rollouts) AgentChanged(a caxton.Agent) {
	e, ok := a.RolloutEvent()
	step := ""
	if ok {
		step = fmt.Sprint(e.Rollout.To, e.Rollout.State, e.Rollout.Stage)
	}
	r.mu.Lock()
	last, known := r.told[a.ID]
	r.told[a.ID] = step
	r.mu.Unlock()
	if ok && step != last {
		r.tell(e, known)
	}
}

// AgentRemoved forgets an agent.
func (r *Rollouts) AgentRemoved(id caxton.AgentID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.told, id)
}

// PublishRollout hands a step of a rollout to who listens to all conversations.
func (f *Feed) PublishRollout(e *caxton.RolloutEvent) { f.Publish("", Event{Rollout: e}) }
