package agent_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
)

// A message that is called off while a call runs whose outcome is then unknown leaves the
// call for a person to look at, and does not go on when that has been done.
func TestCancelledWithUnknownEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := 0
		h := build(t, agent.Config{}, func(ctx context.Context, _ caxton.Turn) ([]caxton.Message, error) {
			turns++
			<-ctx.Done()
			u := &caxton.UnknownEffects{Calls: []caxton.ToolCallRef{{CallID: "c", Tool: "pay", Key: "k"}}}
			return nil, caxton.Errorf(caxton.Conflict, "effect_unknown", "nobody knows").WithCause(u)
		})
		defer h.stop()
		h.deploy(1)
		id := h.send("pay")
		synctest.Wait()
		if err := h.router.Cancel(t.Context(), id, "ann"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		st, err := h.router.Status(t.Context(), id)
		if err != nil || st.Outcome != caxton.OutcomeCancelled || st.Code != "cancelled" {
			t.Fatalf("%+v, %v", st, err)
		}
		if tk, err := h.router.Ticket(t.Context(), caxton.Effect, "k"); err != nil || !tk.State.Open() {
			t.Fatalf("ticket %+v, %v", tk, err)
		}
		if _, err := h.router.Decide(t.Context(), caxton.Effect, "k", caxton.Decision{State: caxton.EffectRetry}); caxton.KindOf(err) != caxton.Conflict {
			t.Errorf("retry: %v", err)
		}
		if tk, err := h.router.Decide(t.Context(), caxton.Effect, "k", caxton.Decision{State: caxton.EffectDone}); err != nil || tk.State != caxton.EffectDone {
			t.Errorf("done: %+v, %v", tk, err)
		}
		synctest.Wait()
		if turns != 1 {
			t.Errorf("%d turns, want 1", turns)
		}
	})
}
