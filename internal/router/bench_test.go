package router_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
	"github.com/caxton/caxton/internal/benchtest"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/caxton/caxton/internal/telemetry"
)

// An echo answers with what it was sent: the cost that is measured is ours alone.
type echo struct{}

func (echo) Handle(_ context.Context, turn caxton.Turn) ([]caxton.Message, error) {
	return []caxton.Message{turn.Message.Reply(caxton.Inform, turn.Message.Content)}, nil
}

type versions struct{}

func (versions) Version(_ context.Context, id caxton.AgentID, n int) (caxton.AgentVersion, error) {
	return caxton.AgentVersion{AgentID: id, Number: n}, nil
}

// BenchmarkMessage measures the whole way of a message with a 256-byte body: accepted,
// routed, handled by an agent that echoes, and its reply settled, at each durability, with
// 1, 64 and 512 callers who wait for their answers, and with nobody or a hundred others
// listening to all that happens. It reports P50 and P99 of one message, and what does not
// depend on the machine's mood: processor time, and where the system tells it, calls and bytes
// written.
func BenchmarkMessage(b *testing.B) {
	for _, durability := range []string{"memory", "normal", "full"} {
		for _, callers := range []int{1, 64, 512} {
			for _, listeners := range []int{0, 100} {
				b.Run(fmt.Sprintf("durability=%s/callers=%d/listeners=%d", durability, callers, listeners), func(b *testing.B) {
					benchmarkMessage(b, durability, callers, listeners, nil)
				})
			}
		}
	}
}

// BenchmarkTraces measures the same with traces: off, none recorded, a tenth, all. Two spans
// are recorded of a message, and kept; nothing is sent.
func BenchmarkTraces(b *testing.B) {
	for _, rate := range []string{"off", "0", "0.1", "1"} {
		b.Run("rate="+rate, func(b *testing.B) {
			var tracer *telemetry.Tracer
			if ratio, err := strconv.ParseFloat(rate, 64); err == nil {
				if tracer, _, err = telemetry.NewTracer(telemetry.TraceConfig{Ratio: ratio}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			benchmarkMessage(b, "memory", 1, 0, tracer)
		})
	}
}

func benchmarkMessage(b *testing.B, durability string, callers, listeners int, tracer *telemetry.Tracer) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	feed := &event.Feed{}
	var journal router.Journal = memjournal.New(memjournal.Config{Feed: feed})
	if durability != "memory" {
		db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(b.TempDir(), "caxton.db"), Durability: sqlite.Durability(durability), Feed: feed})
		if err != nil {
			b.Fatal(err)
		}
		dbCtx, stopDB := context.WithCancel(context.WithoutCancel(ctx))
		var dbDone sync.WaitGroup
		dbDone.Go(func() { _ = db.Run(dbCtx) })
		defer func() { stopDB(); dbDone.Wait(); _ = db.Close() }()
		journal = db
	}
	a := agent1()
	d := &directory{agents: []caxton.Agent{a}}
	r := router.New(journal, d, router.Config{Tracer: tracer})
	s := agent.New(r, versions{}, func(context.Context, caxton.AgentVersion) (agent.Handler, error) { return echo{}, nil }, agent.Config{PerAgent: 64, Tracer: tracer})
	wg.Go(func() { _ = r.Run(ctx) })
	wg.Go(func() { _ = s.Run(ctx) })
	var heard atomic.Int64
	for range listeners {
		sub := feed.Subscribe("")
		wg.Go(func() {
			defer sub.Close()
			for {
				select {
				case <-ctx.Done():
					return
				case <-sub.Ready():
					events, _ := sub.Take()
					heard.Add(int64(len(events)))
				}
			}
		})
	}
	defer func() { cancel(); wg.Wait() }()
	s.AgentChanged(a)
	if err := s.Ready(ctx, a.ID, 1); err != nil {
		b.Fatal(err)
	}
	content := caxton.TextContent(fmt.Sprintf("%0254d", 0))
	benchtest.Run(b, callers, func() error {
		rc, err := r.Send(ctx, caxton.Message{Receiver: a.Slug, Content: content})
		if err == nil {
			_, err = r.Await(ctx, rc.MessageID)
		}
		return err
	})
	if listeners > 0 {
		b.ReportMetric(float64(heard.Load())/float64(b.N), "events/op")
	}
}

func agent1() caxton.Agent {
	a := helper("a1", "Echo", "", 0)
	a.Definition.Performance.MaxConcurrent = 64
	return a
}
