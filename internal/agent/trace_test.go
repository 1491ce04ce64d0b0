package agent_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/telemetry"
)

// An unsettled router cannot write how a turn ended.
type unsettled struct{ *router.Router }

func (unsettled) Settle(context.Context, caxton.Settlement) error {
	return errors.New("the disk is full")
}

// TestSpanOfTurnNotSettled: the span of a turn whose end could not be written does not say that
// it is done.
func TestSpanOfTurnNotSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
		if err != nil {
			t.Fatal(err)
		}
		h := &house{t: t, journal: memjournal.New(memjournal.Config{}), agents: map[caxton.AgentID]caxton.Agent{}, do: echo, broken: map[int]error{}, wild: map[int]bool{}}
		h.router = router.New(h.journal, h, router.Config{})
		h.sup = agent.New(unsettled{h.router}, h, h.factory, agent.Config{Tracer: tracer})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = h.sup.Run(ctx) })
		h.deploy(1)
		synctest.Wait()
		h.send("hello")
		synctest.Wait()
		cancel()
		wg.Wait()
		traces, err := tracer.Traces(10)
		if err != nil || len(traces) != 1 {
			t.Fatalf("Traces = %+v, %v, want that of the turn", traces, err)
		}
		spans, err := tracer.Trace(traces[0].TraceID)
		if err != nil || len(spans) != 1 || spans[0].Attributes["caxton.turn.outcome"] != "abandoned" {
			t.Errorf("the spans are %+v, %v, want one turn abandoned", spans, err)
		}
	})
}
