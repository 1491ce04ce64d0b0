package agent

import (
	"context"
	"time"
)

// Limit returns the context of a turn and what cancels it.
func Limit(ctx context.Context, deadline time.Time) (limited context.Context, cancel func()) {
	l := limit(ctx, deadline)
	return l, l.cancel
}
