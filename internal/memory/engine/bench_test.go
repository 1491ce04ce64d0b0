package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
)

const (
	benchWords    = 20_000
	benchNames    = 500 // first names that persons have
	benchClusters = 2000
)

// clustered embeds a text near the centre of a cluster that its words choose, so that texts
// with a word in common are often near each other.
type clustered struct{ centres [][]float32 }

func newClustered() *clustered {
	c := &clustered{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range benchClusters {
		v := make([]float32, 384)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		c.centres = append(c.centres, v)
	}
	return c
}

func (c *clustered) Model() string   { return "clustered" }
func (c *clustered) Dimensions() int { return 384 }

func (c *clustered) Embed(_ context.Context, texts []string) ([][]float32, error) {
	units := make([][]float32, len(texts))
	for i, t := range texts {
		h := fnv.New64a()
		h.Write([]byte(t))
		rng := rand.New(rand.NewPCG(h.Sum64(), 3))
		h.Reset()
		h.Write([]byte(longest(t)))
		centre := c.centres[h.Sum64()%benchClusters]
		v, n := make([]float32, 384), 0.0
		for j := range v {
			v[j] = centre[j] + 0.6*float32(rng.NormFloat64())
			n += float64(v[j]) * float64(v[j])
		}
		for j := range v {
			v[j] /= float32(math.Sqrt(n))
		}
		units[i] = v
	}
	return units, nil
}

// longest returns the rarest word of a text: words are numbered by how common they are.
func longest(t string) string {
	best := ""
	for w := range strings.FieldsSeq(t) {
		if len(w) > len(best) {
			best = w
		}
	}
	return best
}

func benchText(zipf *rand.Zipf, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("w" + strconv.FormatUint(zipf.Uint64(), 10))
	}
	return b.String()
}

// benchName is one of benchNames first names.
func benchName(n int) string {
	n %= benchNames
	return "Name" + string(rune('a'+n%26)) + string(rune('a'+n/26))
}

func benchSize(b *testing.B) int {
	b.Helper()
	if n, err := strconv.Atoi(os.Getenv("CAXTON_BENCH_ENTITIES")); err == nil {
		return n
	}
	return 10_000
}

// A meter takes the time of operations: what passed, and what the processors spent, which
// other work on the machine does not lengthen.
type meter struct {
	took  []time.Duration
	spent time.Duration
}

func (m *meter) measure(do func()) {
	start, cpu := time.Now(), cpuTime()
	do()
	m.spent += cpuTime() - cpu
	m.took = append(m.took, time.Since(start))
}

func (m *meter) report(b *testing.B) {
	b.Helper()
	slices.Sort(m.took)
	b.ReportMetric(float64(m.took[len(m.took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(m.took[(len(m.took)*99-1)/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(m.spent.Microseconds())/float64(len(m.took)), "cpu-µs/op")
	b.ReportMetric(0, "ns/op")
}

// fillBench makes a database of size entities, each with one observation and four relations.
func fillBench(b *testing.B, path string, model *clustered, size int) {
	b.Helper()
	var ids []caxton.EntityID
	db := openDB(b, path)
	ctx, cancel := context.WithCancel(b.Context())
	checkpoints := make(chan error, 1)
	go func() { checkpoints <- db.Run(ctx) }() // else the log holds everything ten times over
	e, stop := over(b, db, model, engine.Config{CacheResults: -1, LoadWait: time.Minute})
	rng := rand.New(rand.NewPCG(5, 6))
	zipf := rand.NewZipf(rng, 1.1, 4, benchWords-1)
	start := time.Now()
	for len(ids) < size {
		var memos []memory.Memo
		for range min(500, size-len(ids)) {
			s := global()
			if n := (len(ids) + len(memos)) % 10; n > 0 {
				s = agent(fmt.Sprint("a", n))
			}
			n := len(ids) + len(memos)
			name, kind := fmt.Sprint("entity ", n), "thing"
			if n%3 == 0 {
				name, kind = fmt.Sprintf("%s Ln%s%d", benchName(n/3), benchName(n), n), "person"
			}
			memos = append(memos, memo(s, name, kind, benchText(zipf, 12)))
		}
		w, err := e.Remember(b.Context(), all(), memos, caxton.Provenance{By: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		for i := range w.Remembered {
			ids = append(ids, w.Remembered[i].Entity.ID)
		}
	}
	filled := time.Since(start)
	start = time.Now()
	for n := 0; n < 4*size; n += 1000 {
		memos := make([]memory.Memo, 0, 250)
		for range 250 {
			from := rng.IntN(size)
			m := memory.Memo{ID: ids[from]}
			for k := range 4 {
				strength := rng.Float64()
				m.Links = append(m.Links, memory.Link{ToID: ids[rng.IntN(size/10)*10+from%10], Type: fmt.Sprint("t", k), Strength: &strength})
			}
			memos = append(memos, m)
		}
		if _, err := e.Remember(b.Context(), all(), memos, caxton.Provenance{By: "bench"}); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d entities in %v, %d relations in %v", size, filled.Round(time.Millisecond), 4*size, time.Since(start).Round(time.Millisecond))
	start = time.Now()
	for {
		s, err := e.Stats(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if s.Vectors == size {
			b.Logf("embedded after another %v; index %d B, graph %d B, file %d B an entity", time.Since(start).Round(time.Millisecond),
				s.IndexBytes/int64(size), s.GraphBytes/int64(size), s.File.Bytes/int64(size))
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-b.Context().Done():
		}
	}
	stop()
	cancel()
	if err := errors.Join(<-checkpoints, db.Close()); err != nil {
		b.Fatal(err)
	}
}

// benchIDs returns the entities of a database that have relations, as they are sorted.
func benchIDs(b *testing.B, path string) []caxton.EntityID {
	b.Helper()
	db := openDB(b, path)
	defer db.Close()
	var ids []caxton.EntityID
	err := db.Edges(b.Context(), nil, func(e memory.Edge) error {
		ids = append(ids, e.From, e.To)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// benchRecall returns which share of the ten nearest passages of 50 queries, as a comparison with every vector in the
// store finds them, a search by meaning finds within an access.
func benchRecall(b *testing.B, db *memdb.DB, e *engine.Engine, model *clustered, a memory.Access) float64 {
	b.Helper()
	const queries, nearest = 50, 10
	groups, err := db.Groups(b.Context(), a, false)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(9, 10))
	zipf := rand.NewZipf(rng, 1.1, 4, benchWords-1)
	texts := make([]string, queries)
	for i := range texts {
		texts[i] = benchText(zipf, 6)
	}
	units, err := model.Embed(b.Context(), texts)
	if err != nil {
		b.Fatal(err)
	}
	type near struct {
		id     caxton.MemoryID
		cosine float32
	}
	best := make([][]near, queries) // the nearest first
	_, err = db.Changes(b.Context(), model.Model(), 0, func(v memory.Vector) error {
		if !slices.Contains(groups, v.Group) {
			return nil
		}
		for q, unit := range units {
			cosine := float32(0)
			for i, x := range unit {
				cosine += x * v.Unit[i]
			}
			if n := len(best[q]); n == nearest && cosine <= best[q][n-1].cosine {
				continue
			}
			at, _ := slices.BinarySearchFunc(best[q], cosine, func(n near, c float32) int { return cmp.Compare(c, n.cosine) })
			best[q] = slices.Insert(best[q], at, near{v.ID, cosine})
			best[q] = best[q][:min(nearest, len(best[q]))]
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	found, wanted := 0, 0
	for q, text := range texts {
		r, err := e.Search(b.Context(), memory.Query{Access: a, Text: text, Mode: memory.Meaning, Limit: nearest})
		if err != nil {
			b.Fatal(err)
		}
		have := map[caxton.MemoryID]bool{}
		for _, h := range r.Hits {
			for _, f := range h.Found {
				have[f.ID] = true
			}
		}
		for _, n := range best[q] {
			wanted++
			if have[n.id] {
				found++
			}
		}
	}
	return float64(found) / float64(wanted)
}

// BenchmarkMemory times an engine over a database: opening, searching, walking. CAXTON_BENCH_ENTITIES
// says how many entities; CAXTON_BENCH_DIR is where the database is kept for the next time.
func BenchmarkMemory(b *testing.B) {
	size := benchSize(b)
	model := newClustered()
	path := filepath.Join(cmp.Or(os.Getenv("CAXTON_BENCH_DIR"), b.TempDir()), fmt.Sprint("memory-", size, ".db"))
	if _, err := os.Stat(path); err != nil {
		fillBench(b, path+".new", model, size)
		if err := os.Rename(path+".new", path); err != nil {
			b.Fatal(err)
		}
	}
	ids := benchIDs(b, path)
	runtime.GC()

	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			start := time.Now()
			db := openDB(b, path)
			opened := time.Since(start)
			e, stop := over(b, db, model, engine.Config{LoadWait: time.Minute})
			if _, err := e.Search(b.Context(), memory.Query{Access: all(), Text: "w1"}); err != nil {
				b.Fatal(err)
			}
			b.Logf("file open after %v, searched after %v", opened.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
			stop()
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	db := openDB(b, path)
	defer db.Close()
	e, stop := over(b, db, model, engine.Config{CacheResults: -1, LoadWait: time.Minute})
	defer stop()
	if _, err := e.Search(b.Context(), memory.Query{Access: all(), Text: "w1"}); err != nil { // it is loaded then
		b.Fatal(err)
	}
	start := time.Now()
	e.Warm(b.Context())
	b.Logf("details of the graph read in %v", time.Since(start).Round(time.Millisecond))
	if s, err := e.Stats(b.Context()); err != nil {
		b.Error(err)
	} else {
		n := int64(max(s.Vectors, 1))
		b.Logf("of a passage: index %d B, graph %d B, file %d B", s.IndexBytes/n, s.GraphBytes/n, s.File.Bytes/n)
	}
	for _, q := range []struct {
		name  string
		query memory.Query
	}{
		{"hybrid", memory.Query{Access: all()}},
		{"named", memory.Query{Access: all()}},
		{"named, one scope", memory.Query{Access: sees(agent("a3"))}},
		{"words", memory.Query{Access: all(), Mode: memory.Words}},
		{"meaning", memory.Query{Access: all(), Mode: memory.Meaning}},
		{"three scopes", memory.Query{Access: sees(agent("a3"), agent("a4"), global())}},
		{"one scope", memory.Query{Access: sees(agent("a3"))}},
	} {
		b.Run("search/"+q.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(7, 8))
			zipf := rand.NewZipf(rng, 1.1, 4, benchWords-1)
			var m meter
			for b.Loop() {
				q.query.Text = benchText(zipf, 6)
				if strings.HasPrefix(q.name, "named") {
					q.query.Text = "What does " + benchName(rng.IntN(benchNames)) + " do with " + q.query.Text
				}
				m.measure(func() {
					if _, err := e.Search(b.Context(), q.query); err != nil {
						b.Fatal(err)
					}
				})
			}
			m.report(b)
		})
	}
	b.Run("recall at 10", func(b *testing.B) {
		for _, a := range []struct {
			name   string
			access memory.Access
		}{{"all", all()}, {"three-scopes", sees(agent("a3"), agent("a4"), global())}, {"one-scope", sees(agent("a3"))}} {
			b.ReportMetric(benchRecall(b, db, e, model, a.access), a.name)
		}
		b.ReportMetric(0, "ns/op")
	})
	b.Run("walk/depth 3", func(b *testing.B) {
		rng := rand.New(rand.NewPCG(7, 8))
		var m meter
		nodes := 0
		for b.Loop() {
			m.measure(func() {
				n, _ := e.Walk(memory.Traversal{Access: all(), From: []caxton.EntityID{ids[rng.IntN(len(ids))]}, Depth: 3, Direction: memory.Both, Limit: 1000})
				nodes += n
			})
		}
		m.report(b)
		b.ReportMetric(float64(nodes)/float64(b.N), "nodes")
	})
	b.Run("stats", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Stats(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, depth := range []int{1, 2, 3} {
		b.Run(fmt.Sprint("traverse/depth ", depth), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(7, 8))
			var m meter
			nodes := 0
			for b.Loop() {
				m.measure(func() {
					g, err := e.Traverse(b.Context(), memory.Traversal{Access: all(), From: []caxton.EntityID{ids[rng.IntN(len(ids))]}, Depth: depth})
					if err != nil && caxton.KindOf(err) != caxton.NotFound {
						b.Fatal(err)
					}
					nodes += len(g.Nodes)
				})
			}
			m.report(b)
			b.ReportMetric(float64(nodes)/float64(b.N), "nodes")
		})
	}
}
