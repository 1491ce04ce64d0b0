package router

import (
	"context"
	"time"
)

// Tick does what Run does when it is time to.
func (r *Router) Tick(ctx context.Context) time.Duration { return r.tick(ctx) }

// Kept returns how many deadlines and mailboxes are kept.
func (r *Router) Kept() (deadlines, boxes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.deadlines), len(r.boxes)
}

// NewIDs returns what makes IDs.
func NewIDs() func() string { return (&ids{}).next }
