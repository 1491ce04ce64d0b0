package vector_test

import (
	"fmt"
	"iter"
	"maps"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/caxton/caxton/internal/vector"
)

// A corpus is an index with the vectors it was made of, for the benchmarks to share.
type corpus struct {
	name  string
	n     int
	asked []float32
	index *vector.Index
	data  []float32
	bytes float64 // of heap a vector
}

const benchDims, benchGroups, benchQueries = 384, 50, 400

func newCorpus(b *testing.B, name string, n, clusters int) *corpus {
	b.Helper()
	m := newMixture(benchDims, clusters, 7)
	c := &corpus{name: name, n: n, data: m.make(1, n), asked: m.make(2, benchQueries)}
	before := heap()
	c.index = newIndex(b, vector.Config{})
	load(b, c.index, c.data, benchDims, benchGroups)
	c.bytes = float64(heap()-before) / float64(n)
	if _, err := c.index.Tune(b.Context()); err != nil {
		b.Fatal(err)
	}
	return c
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func (c *corpus) query(i int) []float32 {
	i %= benchQueries
	return c.asked[i*benchDims : (i+1)*benchDims]
}

// corpora are 100,000 vectors, and with CAXTON_SOAK 1,000,000 and as many hard ones: in 20
// clusters, so that tens of thousands are about as near as the nearest.
func corpora(b *testing.B) iter.Seq[*corpus] {
	b.Helper()
	return func(yield func(*corpus) bool) {
		if !yield(newCorpus(b, "100K", 100_000, 2000)) || os.Getenv("CAXTON_SOAK") == "" {
			return
		}
		_ = yield(newCorpus(b, "1M", 1_000_000, 2000)) && yield(newCorpus(b, "1M hard", 1_000_000, 20))
	}
}

// measured runs do for b.N and reports the median and the 99th percentile of its times.
func measured(b *testing.B, do func(i int)) {
	b.Helper()
	var times []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		do(i)
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds()), "p99-ns")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSearch measures one search for ten, one caller, with the final scores from float32
// vectors in memory: a store adds the time to read 40 of them.
func BenchmarkSearch(b *testing.B) {
	for c := range corpora(b) {
		kept := func(mod int64) func(int64) bool {
			set := map[int64]bool{}
			for id := range int64(c.n) {
				if id/benchGroups%mod == 0 {
					set[id] = true
				}
			}
			return func(id int64) bool { return set[id] }
		}
		exact := exactFrom(c.data, benchDims)
		for _, s := range []struct {
			name string
			o    vector.Options
		}{
			{"all", vector.Options{Exact: exact}},
			{"all by bytes", vector.Options{}},
			{"one group of 50", vector.Options{Exact: exact, Groups: []vector.Group{7}}},
			{"half the groups", vector.Options{Exact: exact, Groups: []vector.Group{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}}},
			{"keep 100 %", vector.Options{Exact: exact, Keep: kept(1)}},
			{"keep 10 %", vector.Options{Exact: exact, Keep: kept(10)}},
			{"keep 1 %", vector.Options{Exact: exact, Keep: kept(100)}},
		} {
			b.Run(c.name+"/"+s.name, func(b *testing.B) {
				measured(b, func(i int) {
					if _, err := c.index.Search(b.Context(), c.query(i), 10, s.o); err != nil {
						b.Fatal(err)
					}
				})
				sum := 0.0
				const checked = 50
				for i := range checked {
					hits, err := c.index.Search(b.Context(), c.query(i), 10, s.o)
					if err != nil {
						b.Fatal(err)
					}
					right := func(id int64) bool {
						return (s.o.Groups == nil || slices.Contains(s.o.Groups, vector.Group(id%benchGroups))) && (s.o.Keep == nil || s.o.Keep(id))
					}
					sum += recall(hits, nearest(c.data, c.query(i), 10, right)) / checked
				}
				b.ReportMetric(sum, "recall")
			})
		}
	}
}

// BenchmarkSearchWorkers measures what a second goroutine is worth, and plain Go.
func BenchmarkSearchWorkers(b *testing.B) {
	for c := range corpora(b) {
		disk := map[uint32][]byte{}
		save(b, c.index, disk, false)
		for _, workers := range []int{1, 2} {
			for _, k := range vector.Kernels() {
				for _, limit := range []int{50_000, 1 << 30} {
					x := newIndex(b, vector.Config{Workers: workers, ScanLimit: limit})
					for _, id := range slices.Sorted(maps.Keys(disk)) {
						if err := x.Restore(vector.Segment{ID: id, Blob: disk[id]}); err != nil {
							b.Fatal(err)
						}
					}
					x.UseKernel(k.Name)
					what := map[bool]string{true: "bytes", false: "bits"}[limit > 50_000]
					b.Run(fmt.Sprintf("%s/%s/%s/%d", c.name, what, k.Name, workers), func(b *testing.B) {
						measured(b, func(i int) {
							if _, err := x.Search(b.Context(), c.query(i), 10, vector.Options{}); err != nil {
								b.Fatal(err)
							}
						})
					})
				}
			}
		}
	}
}

// BenchmarkIndex measures all else.
func BenchmarkIndex(b *testing.B) {
	for c := range corpora(b) {
		b.Run(c.name+"/build", func(b *testing.B) {
			for b.Loop() {
				load(b, newIndex(b, vector.Config{}), c.data, benchDims, benchGroups)
			}
			b.ReportMetric(c.bytes, "B/vector")
		})
		b.Run(c.name+"/tune", func(b *testing.B) {
			for b.Loop() {
				t, err := c.index.Tune(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(t.Oversample, "oversample")
			}
		})
		disk := map[uint32][]byte{}
		b.Run(c.name+"/save", func(b *testing.B) {
			for b.Loop() {
				save(b, c.index, disk, false)
			}
		})
		save(b, c.index, disk, false)
		b.Run(c.name+"/restore", func(b *testing.B) {
			order := slices.Sorted(maps.Keys(disk))
			for b.Loop() {
				x := newIndex(b, vector.Config{})
				for _, id := range order {
					if err := x.Restore(vector.Segment{ID: id, Blob: disk[id]}); err != nil {
						b.Fatal(err)
					}
				}
				if x.Len() != c.n {
					b.Fatalf("%d vectors came back", x.Len())
				}
			}
		})
		b.Run(c.name+"/put", func(b *testing.B) {
			measured(b, func(i int) { put(b, c.index, int64(c.n+i), vector.Group(i%benchGroups), c.query(i)) })
		})
		b.Run(c.name+"/replace", func(b *testing.B) {
			measured(b, func(i int) {
				put(b, c.index, int64(i*7919%c.n), vector.Group(i*7919%c.n%benchGroups), c.query(i))
			})
		})
		b.Run(c.name+"/move", func(b *testing.B) {
			measured(b, func(i int) { c.index.Move(int64(i*7919%c.n), vector.Group(i%benchGroups)) })
		})
		b.Run(c.name+"/remove and put", func(b *testing.B) {
			measured(b, func(i int) {
				c.index.Remove(int64(i * 7919 % c.n))
				put(b, c.index, int64(i*7919%c.n), vector.Group(i%benchGroups), c.query(i))
			})
		})
	}
}
