package router_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/sqlite"
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
// 1 and with 64 callers who wait for their answers. It reports P50 and P99 of one message.
func BenchmarkMessage(b *testing.B) {
	for _, durability := range []string{"memory", "normal", "full"} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("durability=%s/callers=%d", durability, callers), func(b *testing.B) {
				benchmarkMessage(b, durability, callers)
			})
		}
	}
}

func benchmarkMessage(b *testing.B, durability string, callers int) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	var journal router.Journal = memjournal.New(memjournal.Config{})
	if durability != "memory" {
		db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(b.TempDir(), "caxton.db"), Durability: sqlite.Durability(durability)})
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
	r := router.New(journal, d, router.Config{})
	s := agent.New(r, versions{}, func(context.Context, caxton.AgentVersion) (agent.Handler, error) { return echo{}, nil }, agent.Config{PerAgent: 64})
	wg.Go(func() { _ = r.Run(ctx) })
	wg.Go(func() { _ = s.Run(ctx) })
	defer func() { cancel(); wg.Wait() }()
	s.AgentChanged(a)
	if err := s.Ready(ctx, a.ID, 1); err != nil {
		b.Fatal(err)
	}
	content := caxton.TextContent(fmt.Sprintf("%0254d", 0))
	times := make([][]time.Duration, callers)
	var work sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range callers {
		work.Go(func() {
			for i := c; i < b.N; i += callers {
				start := time.Now()
				rc, err := r.Send(ctx, caxton.Message{Receiver: a.Slug, Content: content})
				if err == nil {
					_, err = r.Await(ctx, rc.MessageID)
				}
				if err != nil {
					b.Error(err)
					return
				}
				times[c] = append(times[c], time.Since(start))
			}
		})
	}
	work.Wait()
	b.StopTimer()
	all := slices.Concat(times...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1e3, "p99-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func agent1() caxton.Agent {
	a := helper("a1", "Echo", "", 0)
	a.Definition.Performance.MaxConcurrent = 64
	return a
}
