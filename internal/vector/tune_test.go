package vector_test

import (
	"context"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/vector"
)

// TestTune shows what Tune is for: vectors that all lean one way share most signs, so that
// bits around the origin say little.
func TestTune(t *testing.T) {
	const dims, n, queries = 128, 20_000, 30
	m := newMixture(dims, 200, 3)
	m.shift = 0.6
	data, asked := m.make(1, n), m.make(2, queries)
	built := func() *vector.Index {
		x := newIndex(t, vector.Config{Dimensions: dims, ScanLimit: 1000})
		load(t, x, data, dims, 3)
		return x
	}
	found := func(x *vector.Index) float64 {
		sum := 0.0
		for i := range queries {
			q := asked[i*dims : (i+1)*dims]
			hits, err := x.Search(t.Context(), q, 10, vector.Options{Exact: exactFrom(data, dims)})
			if err != nil {
				t.Fatal(err)
			}
			sum += recall(hits, nearest(data, q, 10, nil)) / queries
		}
		return sum
	}
	x := built()
	if s := x.Stats(); !s.TuneDue || s.Tuning != (vector.Tuning{Oversample: 1}) {
		t.Fatalf("before Tune: %+v, want it due", s)
	}
	before := found(x)
	tuning, err := x.Tune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after := found(x)
	t.Logf("recall %.3f before, %.3f after: %+v", before, after, tuning)
	if after < 0.99 || before > 0.97 || tuning.Oversample != 1 {
		t.Errorf("recall %.3f before Tune and %.3f after, want at most 0.97 and at least 0.99, and no more candidates than usual", before, after)
	}
	if s := x.Stats(); s.TuneDue || s.Tuning != tuning || tuning.Vectors != n {
		t.Errorf("after Tune: %+v, want %+v and not due", s, tuning)
	}
	if again, err := built().Tune(t.Context()); err != nil || again != tuning {
		t.Errorf("Tune of the same vectors = %+v, %v, want %+v", again, err, tuning)
	}

	t.Run("stopped, it changes nothing", func(t *testing.T) {
		x := built()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := x.Tune(ctx); caxton.KindOf(err) != caxton.Canceled {
			t.Errorf("Tune: %v, want Canceled", err)
		}
		if got := x.Stats().Tuning; got.Vectors != 0 {
			t.Errorf("Tuning = %+v, want none", got)
		}
	})
	t.Run("a small index has none", func(t *testing.T) {
		x := newIndex(t, vector.Config{Dimensions: dims})
		load(t, x, data[:100*dims], dims, 1)
		if got, err := x.Tune(t.Context()); err != nil || got.Vectors != 0 || x.Stats().TuneDue {
			t.Errorf("Tune = %+v, %v, want nothing measured", got, err)
		}
	})
	t.Run("where bits say nothing they are not used", func(t *testing.T) {
		// All vectors share their signs around any centre that is their mean, but for two
		// dimensions of which the bits tell one bit each.
		x := newIndex(t, vector.Config{Dimensions: 64, ScanLimit: 100})
		flat := make([]float32, 64*20_000)
		for i := range 20_000 {
			v := flat[i*64 : (i+1)*64]
			v[0], v[1] = float32(i%141)-70, float32(i/141)-70
			if v[0] == 0 && v[1] == 0 {
				v[0] = 0.5
			}
			unit(v)
			put(t, x, int64(i), 0, v)
		}
		got, err := x.Tune(t.Context())
		if err != nil || got.Oversample != 0 {
			t.Fatalf("Tune = %+v, %v, want bits that are not used", got, err)
		}
		hits, err := x.Search(t.Context(), flat[64*77:64*78], 1, vector.Options{})
		if err != nil || len(hits) != 1 || hits[0].Score < 0.999 {
			t.Errorf("Search = %v, %v, want one at 1", hits, err)
		}
	})
}
