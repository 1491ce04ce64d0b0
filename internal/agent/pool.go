package agent

import (
	"context"
	"sync"

	"github.com/caxton/caxton"
)

// A pool has the goroutines that do the turns of all agents. They stay until the end: a new
// one for each turn would have to grow its stack each time. There are never more of them
// than turns may run at once.
type pool struct {
	turns   chan turn // capacity: as many as may run at once, so that hand never waits
	workers sync.WaitGroup

	mu   sync.Mutex // guards idle
	idle int        // workers that nobody has given a turn to
}

// A turn is a leased message that its agent is to handle.
type turn struct {
	runner *runner
	lease  *caxton.Lease
	done   *sync.WaitGroup
}

// hand gives a turn, which has a slot, to a worker. ctx is that of all turns.
func (p *pool) hand(ctx context.Context, t turn) {
	t.done.Add(1)
	p.mu.Lock()
	idle := p.idle > 0
	if idle {
		p.idle--
	}
	p.mu.Unlock()
	if !idle {
		p.workers.Go(func() { p.work(ctx) })
	}
	p.turns <- t
}

// work does turns until the pool ends.
func (p *pool) work(ctx context.Context) {
	after := context.WithoutCancel(ctx)
	for t := range p.turns {
		t.runner.work(ctx, after, t.lease)
		p.mu.Lock()
		p.idle++ // before the slot is free: who takes it need not make another worker
		p.mu.Unlock()
		t.runner.over()
		t.done.Done()
	}
}

// end waits for the workers. Nobody may hand over turns any more.
func (p *pool) end() {
	close(p.turns)
	p.workers.Wait()
}
