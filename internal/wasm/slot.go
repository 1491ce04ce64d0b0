package wasm

import "context"

// A slot is the right of a turn to run, one of MaxConcurrent. Who waits for something else
// gives it back meanwhile: what it waits for may need the slot. A nil slot stands for work
// that needs none. It belongs to one goroutine.
type slot struct {
	all  chan struct{} // of the Runtime: one token for each that is held
	held bool
}

// take waits for the right to run. It reports false when ctx ends before.
func (s *slot) take(ctx context.Context) bool {
	if s == nil || s.held {
		return true
	}
	select {
	case s.all <- struct{}{}:
		s.held = true
	case <-ctx.Done():
	}
	return s.held
}

// give gives the right back.
func (s *slot) give() {
	if s != nil && s.held {
		s.held = false
		<-s.all
	}
}
