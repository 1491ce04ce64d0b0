package agent

import (
	"context"
	"sync"
	"time"
)

// A limited is the context of one turn, which ends with those of all turns, at its deadline,
// or when it is cancelled. What context.WithDeadline makes for that, among it a timer, costs
// as much as a short turn does; it is made when somebody asks for it.
type limited struct {
	context.Context //nolint:containedctx // it is one
	deadline        time.Time

	mu    sync.Mutex      // guards all below
	made  context.Context //nolint:containedctx // the same, once it was made
	stop  context.CancelFunc
	ended bool // was cancelled
}

// limit returns a context that ends at a deadline. It must be cancelled.
func limit(ctx context.Context, deadline time.Time) *limited {
	return &limited{Context: ctx, deadline: deadline}
}

// make makes what can be waited for. mu is held.
func (l *limited) make() context.Context {
	if l.made == nil {
		l.made, l.stop = context.WithDeadline(l.Context, l.deadline)
		if l.ended {
			l.stop()
		}
	}
	return l.made
}

func (l *limited) cancel() {
	l.mu.Lock()
	l.ended = true
	stop := l.stop
	l.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// Deadline returns when the turn ends at the latest.
func (l *limited) Deadline() (time.Time, bool) { return l.deadline, true }

// Done returns a channel that is closed when the turn has to end.
func (l *limited) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.make().Done()
}

// Err returns why the turn has to end, or nil.
func (l *limited) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil && !l.ended && l.Context.Err() == nil && time.Now().Before(l.deadline) {
		return nil
	}
	return l.make().Err()
}

// Value returns what belongs to a key. Contexts made from this one find by it what they
// depend on.
func (l *limited) Value(key any) any {
	l.mu.Lock()
	ctx := l.Context
	if l.made != nil || l.ended {
		ctx = l.make()
	}
	l.mu.Unlock()
	return ctx.Value(key)
}
