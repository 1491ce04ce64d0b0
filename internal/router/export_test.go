package router

import (
	"context"
	"time"
)

// Tick does what Run does when it is time to.
func (r *Router) Tick(ctx context.Context) time.Duration { return r.tick(ctx) }
