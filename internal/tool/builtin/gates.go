package builtin

import (
	"context"
	"sync"

	"github.com/caxton/caxton"
)

// gates let a bounded number of calls of each agent through at once; the others wait. A gate
// exists while somebody is at it.
type gates struct {
	mu   sync.Mutex
	open map[gateKey]*gate
}

// A gateKey has the width too, so that an agent whose limit changes gets a new gate and
// those at the old one leave in peace.
type gateKey struct {
	agent caxton.AgentID
	width int
}

type gate struct {
	slots chan struct{} // its capacity is the width: one element for each call that is through
	users int           // through or waiting
}

func newGates() *gates { return &gates{open: map[gateKey]*gate{}} }

// enter waits until the agent has fewer than width calls under way, or ctx ends.
func (g *gates) enter(ctx context.Context, agent caxton.AgentID, width int) (leave func(), err error) {
	key := gateKey{agent, width}
	g.mu.Lock()
	at := g.open[key]
	if at == nil {
		at = &gate{slots: make(chan struct{}, width)}
		g.open[key] = at
	}
	at.users++
	g.mu.Unlock()

	depart := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if at.users--; at.users == 0 {
			delete(g.open, key)
		}
	}
	select {
	case at.slots <- struct{}{}:
		return func() { <-at.slots; depart() }, nil
	case <-ctx.Done():
		depart()
		return nil, ctx.Err() //nolint:wrapcheck // the caller classifies it
	}
}
