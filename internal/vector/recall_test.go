package vector_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/caxton/caxton/internal/vector"
)

// TestRecall holds searches to what brute force finds, on clustered vectors: of ten nearest
// they must find 9.9 on average, whatever part of the index is asked for.
func TestRecall(t *testing.T) {
	const dims, queries = 384, 20
	sizes, limit := []int{100_000}, 0
	switch {
	case testing.Short() || slow:
		sizes, limit = []int{10_000}, 2_000
	case os.Getenv("CAXTON_SOAK") != "":
		sizes = append(sizes, 1_000_000)
	}
	for _, n := range sizes {
		for _, clusters := range []int{2000, 20} {
			m := newMixture(dims, clusters, 7)
			data, asked := m.make(1, n), m.make(2, queries)
			x := newIndex(t, vector.Config{ScanLimit: limit})
			load(t, x, data, dims, 50)
			tuned, err := x.Tune(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d vectors in %d clusters: %+v", n, clusters, tuned)
			groups := func(of ...int64) (func(int64) bool, []vector.Group) {
				var gs []vector.Group
				for _, g := range of {
					gs = append(gs, vector.Group(g))
				}
				return func(id int64) bool { return slices.Contains(of, id%50) }, gs
			}
			one, oneGroup := groups(7)
			three, threeGroups := groups(1, 2, 49)
			every := func(mod int64) func(int64) bool { return func(id int64) bool { return id/50%mod == 0 } }
			tests := []struct {
				name  string
				keep  func(int64) bool
				right func(int64) bool // what keep and the groups let pass
				in    []vector.Group
			}{
				{name: "all"},
				{name: "one group", right: one, in: oneGroup},
				{name: "three groups", right: three, in: threeGroups},
				{name: "half kept", keep: every(2), right: every(2)},
				{name: "a tenth kept", keep: every(10), right: every(10)},
				{name: "a hundredth kept", keep: every(100), right: every(100)},
				{name: "a ten-thousandth kept", keep: func(id int64) bool { return id%10_000 == 0 }, right: func(id int64) bool { return id%10_000 == 0 }},
			}
			for _, tt := range tests {
				t.Run(fmt.Sprintf("%d vectors, %d clusters, %s", n, clusters, tt.name), func(t *testing.T) {
					sum, rough, first, tenth := 0.0, 0.0, 0.0, 0.0
					for i := range queries {
						q := asked[i*dims : (i+1)*dims]
						want := nearest(data, q, 10, tt.right)
						o := vector.Options{Groups: tt.in, Keep: tt.keep}
						for _, into := range []*float64{&rough, &sum} {
							hits, err := x.Search(t.Context(), q, 10, o)
							if err != nil || len(hits) != len(want) {
								t.Fatalf("Search found %d of %d: %v", len(hits), len(want), err)
							}
							*into += recall(hits, want) / queries
							o.Exact = exactFrom(data, dims)
						}
						first += float64(want[0].Score) / queries
						tenth += float64(want[len(want)-1].Score) / queries
					}
					t.Logf("recall %.4f, by bytes %.4f; cosine of the first %.2f, of the tenth %.2f", sum, rough, first, tenth)
					if sum < 0.99 || rough < 0.97 {
						t.Errorf("recall %.4f, by bytes %.4f; want 0.99 and 0.97", sum, rough)
					}
				})
			}
		}
	}
}
