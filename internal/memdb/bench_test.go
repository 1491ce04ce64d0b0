package memdb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
)

// A corpus makes texts whose words are as frequent as in a language: the n-th about 1/n as the first.
type corpus struct {
	r *rand.Rand
	z *rand.Zipf
}

func newCorpus(seed uint64) *corpus {
	r := rand.New(rand.NewPCG(seed, 3))
	return &corpus{r, rand.NewZipf(r, 1.07, 8, 200_000)}
}

func (c *corpus) word() string {
	const letters = "bcdfghklmnprstvz"
	var b strings.Builder
	for n := c.z.Uint64() + 1; n > 0; n /= 16 {
		b.WriteByte(letters[n%16])
		b.WriteByte("aeiou"[n%5])
	}
	return b.String()
}

func (c *corpus) text(least, most int) string {
	words := make([]string, least+c.r.IntN(most-least+1))
	for i := range words {
		words[i] = c.word()
	}
	return strings.Join(words, " ")
}

// fill remembers entities with an observation and a relation each, in three scopes: a tenth for an agent, three
// tenths for a workspace, the rest for all.
func fill(tb testing.TB, db *memdb.DB, n int) {
	tb.Helper()
	c := newCorpus(1)
	start := time.Now()
	one := caxton.EntityID(0)
	for i := 0; i < n; {
		var memos []memory.Memo
		for range 1000 {
			scope := caxton.Scope{Kind: caxton.GlobalScope}
			switch i % 10 {
			case 0:
				scope = caxton.Scope{Kind: caxton.AgentScope, Owner: "a"}
			case 1, 2, 3:
				scope = caxton.Scope{Kind: caxton.WorkspaceScope, Owner: "w"}
			}
			m := memory.Memo{Scope: scope, Name: fmt.Sprintf("entity %d", i), Type: "thing", Notes: []memory.Note{{Text: c.text(12, 40)}}}
			if one != 0 && i%10 > 3 {
				m.Links = []memory.Link{{ToID: one, Type: "knows"}}
			}
			memos = append(memos, m)
			i++
		}
		rs, err := db.Remember(context.Background(), memory.Access{All: true}, memos, caxton.Provenance{By: "bench"})
		if err != nil {
			tb.Fatal(err)
		}
		for j := range rs {
			if rs[j].Entity.Scope.Kind == caxton.GlobalScope {
				one = rs[j].Entity.ID
			}
		}
	}
	took := time.Since(start)
	f, _ := db.File(context.Background())
	tb.Logf("%d entities in %v, %.0f/s, %.1f MB per 100 K", n, took.Round(time.Millisecond), float64(n)/took.Seconds(), float64(f.Bytes)/float64(n)/10)
}

// sizes are those to measure: the large one takes minutes.
func sizes() []int {
	if os.Getenv("CAXTON_SOAK") != "" {
		return []int{100_000, 1_000_000}
	}
	return []int{100_000}
}

func report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "P50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "P99-µs")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkStore(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			db := run(b, memdb.Config{Path: filepath.Join(b.TempDir(), "memory.db")})
			fill(b, db, n)
			accesses := []struct {
				name string
				a    memory.Access
			}{
				{"all", memory.Access{All: true}},
				{"three scopes", memory.Access{Scopes: []caxton.Scope{{Kind: caxton.AgentScope, Owner: "a"}, {Kind: caxton.WorkspaceScope, Owner: "w"}, {Kind: caxton.GlobalScope}}}},
				{"a tenth", memory.Access{Scopes: []caxton.Scope{{Kind: caxton.AgentScope, Owner: "a"}}}},
			}
			for _, acc := range accesses {
				b.Run("match "+acc.name, func(b *testing.B) {
					c := newCorpus(2)
					var took []time.Duration
					found := 0
					for range b.N {
						q := c.text(4, 12)
						start := time.Now()
						hits, err := db.Match(b.Context(), acc.a, q, memory.Filter{}, 50)
						if err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(start))
						found += len(hits)
					}
					report(b, took)
					b.ReportMetric(float64(found)/float64(b.N), "hits")
				})
			}
			page, _, err := db.Entities(b.Context(), memory.Access{All: true}, memory.Filter{}, "", 1000)
			if err != nil {
				b.Fatal(err)
			}
			measure := func(name string, fn func(i int) error) {
				b.Run(name, func(b *testing.B) {
					var took []time.Duration
					for i := range b.N {
						start := time.Now()
						if err := fn(i); err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(start))
					}
					report(b, took)
				})
			}
			all := memory.Access{All: true}
			ctx := context.Background()
			measure("entity", func(i int) error {
				_, err := db.Entity(ctx, all, page[i%len(page)].ID, memory.AsOf{})
				return err
			})
			measure("entity as of", func(i int) error {
				_, err := db.Entity(ctx, all, page[i%len(page)].ID, memory.AsOf{Known: time.Now(), Valid: time.Now()})
				return err
			})
			measure("named", func(i int) error {
				_, err := db.Named(ctx, all, page[i%len(page)].Name, memory.AsOf{})
				return err
			})
			measure("entities", func(int) error {
				_, _, err := db.Entities(ctx, all, memory.Filter{}, "", 50)
				return err
			})
			measure("hits 50", func(i int) error {
				var ids []caxton.MemoryID
				for j := range 50 {
					ids = append(ids, caxton.MemoryID(page[(i*50+j)%len(page)].ID))
				}
				_, err := db.Hits(ctx, all, ids, memory.Filter{})
				return err
			})
			measure("count all", func(int) error {
				_, err := db.Count(ctx, "m")
				return err
			})
			measure("edges", func(int) error { return db.Edges(ctx, nil, func(memory.Edge) error { return nil }) })
			c := newCorpus(5)
			measure("remember one", func(i int) error {
				_, err := db.Remember(ctx, all, []memory.Memo{{Scope: caxton.Scope{Kind: caxton.GlobalScope}, Name: fmt.Sprint("new ", i), Notes: []memory.Note{{Text: c.text(12, 40)}}}}, caxton.Provenance{By: "b"})
				return err
			})
		})
	}
}

// BenchmarkLoad reads the blobs of an index of a million vectors, 446 KB for 1,024 of them.
func BenchmarkLoad(b *testing.B) {
	db := run(b, memdb.Config{Path: filepath.Join(b.TempDir(), "memory.db")})
	const segments = 977
	blob := make([]byte, 446_000)
	for i := range blob {
		blob[i] = byte(i * 7)
	}
	start := time.Now()
	for at := 0; at < segments; at += 100 {
		err := db.SaveSegments(b.Context(), "m", 0, func(yield func(uint32, []byte) bool) {
			for i := at; i < min(at+100, segments); i++ {
				if !yield(uint32(i), blob) {
					return
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("written in %v", time.Since(start).Round(time.Millisecond))
	for b.Loop() {
		n := 0
		if _, err := db.Load(b.Context(), "m", func(_ uint32, blob []byte) error { n += len(blob); return nil }, func(memory.Vector) error { return nil }); err != nil || n != segments*len(blob) {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkPutVectors writes embeddings of 384 numbers, a thousand in one call.
func BenchmarkPutVectors(b *testing.B) {
	db := run(b, memdb.Config{Path: filepath.Join(b.TempDir(), "memory.db")})
	fill(b, db, 20_000)
	passages, err := db.Unembedded(b.Context(), "m", 0, 20_000)
	if err != nil {
		b.Fatal(err)
	}
	vectors := make([]memory.Vector, len(passages))
	for i, p := range passages {
		vectors[i] = memory.Vector{ID: p.ID, Unit: make([]float32, 384)}
		vectors[i].Unit[i%384] = 1
	}
	before, _ := db.File(b.Context())
	n := 0
	for b.Loop() {
		at := n * 1000 % len(vectors)
		if err := db.PutVectors(b.Context(), "m", vectors[at:at+1000]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	after, _ := db.File(b.Context())
	b.ReportMetric(float64(n)*1000/b.Elapsed().Seconds(), "vectors/s")
	b.Logf("%.1f MB before, %.1f MB after %d", float64(before.Bytes)/1e6, float64(after.Bytes)/1e6, min(n*1000, len(vectors)))
}
