package node_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
)

// guesses has vectors at random that pass for those of another model: so a large memory is
// made in seconds.
type guesses struct {
	model string
	rnd   *rand.Rand
	mu    sync.Mutex
}

func (g *guesses) Model() string { return g.model }
func (*guesses) Dimensions() int { return 384 }

func (g *guesses) Embed(_ context.Context, texts []string) ([][]float32, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([][]float32, len(texts))
	for i := range out {
		v, sum := make([]float32, 384), 0.0
		for j := range v {
			v[j] = float32(g.rnd.NormFloat64())
			sum += float64(v[j]) * float64(v[j])
		}
		for j := range v {
			v[j] /= float32(math.Sqrt(sum))
		}
		out[i] = v
	}
	return out, nil
}

// fillMemory makes a memory of n entities at path, each with an observation and a relation.
func fillMemory(tb testing.TB, path string, n int) {
	tb.Helper()
	p, err := embedding.Open(tb.Context(), embedding.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	g := &guesses{model: p.Model(), rnd: rand.New(rand.NewPCG(1, 2))}
	p.Close()
	db, err := memdb.Open(tb.Context(), memdb.Config{Path: path})
	if err != nil {
		tb.Fatal(err)
	}
	e, err := engine.New(db, db, db, g, engine.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	var wg sync.WaitGroup
	var dbErr, engineErr error
	dbctx, dbcancel := context.WithCancel(tb.Context())
	var dbwg sync.WaitGroup
	dbwg.Go(func() { dbErr = db.Run(dbctx) })
	wg.Go(func() { engineErr = e.Run(ctx) })
	for from := 0; from < n; from += 500 {
		var memos []memory.Memo
		for i := from; i < min(n, from+500); i++ {
			var words []string
			for range 10 {
				words = append(words, fmt.Sprintf("w%d", int(20_000*g.rnd.Float64()*g.rnd.Float64())))
			}
			m := memory.Memo{Scope: caxton.Scope{Kind: caxton.GlobalScope}, Name: fmt.Sprintf("entity %d", i), Notes: []memory.Note{{Text: strings.Join(words, " ")}}}
			if i > 0 {
				m.Links = []memory.Link{{To: fmt.Sprintf("entity %d", i/2), Type: "follows"}}
			}
			memos = append(memos, m)
		}
		if _, err := e.Remember(tb.Context(), memory.Access{All: true}, memos, caxton.Provenance{By: "bench"}); err != nil {
			tb.Fatal(err)
		}
	}
	for { // until all have their vectors
		st := e.Status()
		if st.State == memory.Failed {
			tb.Fatal(st.Reason)
		}
		if st.State == memory.Ready && st.Unembedded == 0 {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	cancel()
	wg.Wait()
	dbcancel()
	dbwg.Wait()
	for _, err := range []error{engineErr, dbErr, db.Close()} {
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkStartWithMemory measures the start of a server, in a process of its own, with much
// to remember: until it takes requests, and until a search by meaning has its answer. It
// reports the resident memory of the process then.
func BenchmarkStartWithMemory(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.Setenv("CAXTON_TEST_QUIET", "1")
			dir := b.TempDir()
			v := start(b, dir) // it makes the directory
			v.kill(b)
			path := filepath.Join(dir, "data", "memory.db")
			fillMemory(b, path, n)
			var ready, found, resident float64
			b.ResetTimer()
			for range b.N {
				began := time.Now()
				v := start(b, dir)
				ready += time.Since(began).Seconds()
				m, err := v.client.SearchMemory(b.Context(), api.MemorySearch{Query: "w1 w2", Limit: 5})
				if err != nil || len(m.Items) != 5 || m.Degraded != "" {
					b.Fatalf("%d found, %s, %v", len(m.Items), m.Degraded, err)
				}
				found += time.Since(began).Seconds()
				st, err := v.client.Status(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				resident += float64(st.MemoryBytes)
				v.kill(b)
			}
			b.ReportMetric(1000*ready/float64(b.N), "ready-ms")
			b.ReportMetric(1000*found/float64(b.N), "searched-ms")
			b.ReportMetric(resident/float64(b.N)/(1<<20), "resident-MiB")
		})
	}
}
