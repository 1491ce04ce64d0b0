package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton/internal/agent"
)

type key struct{}

// The context of a turn behaves like one of context.WithDeadline, whatever is asked first.
func TestLimit(t *testing.T) {
	asks := map[string]func(ctx context.Context){
		"nothing":   func(context.Context) {},
		"Done":      func(ctx context.Context) { ctx.Done() },
		"Err":       func(ctx context.Context) { _ = ctx.Err() },
		"a context": func(ctx context.Context) { context.AfterFunc(ctx, func() {}) },
	}
	ends := map[string]struct {
		end  func(stop, stopAll func())
		want error
	}{
		"not":             {func(_, _ func()) {}, nil},
		"when cancelled":  {func(stop, _ func()) { stop() }, context.Canceled},
		"with all turns":  {func(_, stopAll func()) { stopAll() }, context.Canceled},
		"at its deadline": {func(_, _ func()) { <-time.After(time.Minute) }, context.DeadlineExceeded},
	}
	for how, tt := range ends {
		for first, ask := range asks {
			t.Run("ends "+how+", first asked for "+first, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					all, stopAll := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
					defer stopAll()
					ctx, stop := agent.Limit(all, time.Now().Add(time.Minute))
					defer stop()
					ask(ctx)
					tt.end(stop, stopAll)
					synctest.Wait()
					if err := ctx.Err(); !errors.Is(err, tt.want) {
						t.Errorf("Err() = %v, want %v", err, tt.want)
					}
					if err := context.Cause(ctx); !errors.Is(err, tt.want) {
						t.Errorf("Cause = %v, want %v", err, tt.want)
					}
					if at, ok := ctx.Deadline(); !ok || at.IsZero() || ctx.Value(key{}) != "v" {
						t.Errorf("Deadline() = %v, %t, Value = %v", at, ok, ctx.Value(key{}))
					}
					child, stopChild := context.WithCancel(ctx)
					defer stopChild()
					if err := child.Err(); !errors.Is(err, tt.want) {
						t.Errorf("a context of it: Err() = %v, want %v", err, tt.want)
					}
					closed := false
					select {
					case <-ctx.Done():
						closed = true
					default:
					}
					if closed != (tt.want != nil) {
						t.Errorf("Done() is closed: %t", closed)
					}
				})
			})
		}
	}
}
