package vector_test

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/caxton/caxton/internal/vector"
)

const latent = 64

// A mixture makes vectors as models of text do: clusters of uneven size in a space of 64
// dimensions whose spectrum decays, projected to more, with noise in all of them.
type mixture struct {
	dims       int
	spread     float64
	clusters   [][latent]float64
	weights    []float64 // sums from the first on
	projection []float32 // dims × latent
	shift      float64   // added to each dimension: a model whose vectors share a direction
}

func newMixture(dims, clusters int, seed uint64) *mixture {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &mixture{dims: dims, spread: 0.62, projection: make([]float32, dims*latent)}
	for i := range m.projection {
		m.projection[i] = float32(r.NormFloat64() / math.Sqrt(float64(dims)))
	}
	sum := 0.0
	for range clusters {
		var c [latent]float64
		for i := range c {
			c[i] = r.NormFloat64() * scale(i)
		}
		m.clusters = append(m.clusters, c)
		sum += r.ExpFloat64()
		m.weights = append(m.weights, sum)
	}
	return m
}

func scale(i int) float64 { return math.Pow(float64(i+1), -0.35) }

// fill makes vectors number from to to, the same whatever else is made.
func (m *mixture) fill(out []float32, seed uint64, from, to int) {
	total := m.weights[len(m.weights)-1]
	for n := from; n < to; n++ {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		c, _ := slices.BinarySearch(m.weights, r.Float64()*total)
		var z [latent]float32
		for i := range z {
			z[i] = float32(m.clusters[c][i] + m.spread*scale(i)*r.NormFloat64())
		}
		v := out[(n-from)*m.dims : (n-from+1)*m.dims]
		for j := range v {
			row := m.projection[j*latent : (j+1)*latent]
			var a, b float32
			for i := 0; i < latent; i += 2 {
				a += row[i] * z[i]
				b += row[i+1] * z[i+1]
			}
			v[j] = a + b + float32(0.03*r.NormFloat64())
			v[j] += float32(m.shift)
		}
		unit(v)
	}
}

// make returns n vectors, one after the other.
func (m *mixture) make(seed uint64, n int) []float32 {
	out := make([]float32, n*m.dims)
	parallel(n, func(from, to int) { m.fill(out[from*m.dims:to*m.dims], seed, from, to) })
	return out
}

func parallel(n int, do func(from, to int)) {
	var all sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		all.Go(func() { do(w*n/workers, (w+1)*n/workers) })
	}
	all.Wait()
}

func unit(v []float32) {
	sum := 0.0
	for _, f := range v {
		sum += float64(f) * float64(f)
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
}

func cosine(a, b []float32) float32 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return float32(ab / math.Sqrt(aa*bb))
}

// nearest returns the k vectors of data nearest to q among those kept; ids count from 0. Both
// are of length 1.
func nearest(data, q []float32, k int, keep func(int64) bool) []vector.Hit {
	dims := len(q)
	n := len(data) / dims
	scores := make([]float32, n)
	parallel(n, func(from, to int) {
		for i := from; i < to; i++ {
			v := data[i*dims : (i+1)*dims]
			var a, b, c, d float32
			for j := 0; j < dims; j += 4 {
				a += v[j] * q[j]
				b += v[j+1] * q[j+1]
				c += v[j+2] * q[j+2]
				d += v[j+3] * q[j+3]
			}
			scores[i] = a + b + c + d
		}
	})
	var best []vector.Hit
	for i, s := range scores {
		if len(best) == k && s <= best[k-1].Score || keep != nil && !keep(int64(i)) {
			continue
		}
		h := vector.Hit{ID: int64(i), Score: s}
		at, _ := slices.BinarySearchFunc(best, h, func(a, b vector.Hit) int {
			return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
		})
		best = slices.Insert(best, at, h)
		best = best[:min(k, len(best))]
	}
	return best
}

// recall returns which share of want is in got.
func recall(got, want []vector.Hit) float64 {
	found := 0
	for _, w := range want {
		if slices.ContainsFunc(got, func(g vector.Hit) bool { return g.ID == w.ID }) {
			found++
		}
	}
	return float64(found) / float64(max(1, len(want)))
}

func newIndex(tb testing.TB, cfg vector.Config) *vector.Index {
	tb.Helper()
	x, err := vector.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func put(tb testing.TB, x *vector.Index, id int64, g vector.Group, vec []float32) {
	tb.Helper()
	if err := x.Put(id, g, vec); err != nil {
		tb.Fatalf("Put(%d): %v", id, err)
	}
}

// load puts vectors with ids from 0 on, spread over groups 0 to groups-1.
func load(tb testing.TB, x *vector.Index, data []float32, dims, groups int) {
	tb.Helper()
	for i := range len(data) / dims {
		put(tb, x, int64(i), vector.Group(i%groups), data[i*dims:(i+1)*dims])
	}
}

func exactFrom(data []float32, dims int) vector.Exact {
	return func(_ context.Context, ids []int64, visit func(int, []float32)) error {
		for i, id := range ids {
			visit(i, data[int(id)*dims:(int(id)+1)*dims])
		}
		return nil
	}
}
