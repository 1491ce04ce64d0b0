package vector_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/caxton/caxton/internal/vector"
)

func TestScoresAreThoseOfASearch(t *testing.T) {
	t.Parallel()
	for _, k := range vector.Kernels() {
		x, err := vector.New(vector.Config{Dimensions: 64})
		if err != nil {
			t.Fatal(err)
		}
		x.UseKernel(k.Name)
		rng := rand.New(rand.NewPCG(1, 2))
		random := func() []float32 {
			v := make([]float32, 64)
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			return v
		}
		var ids []int64
		for id := int64(1); id <= 3000; id++ {
			if err := x.Put(id, vector.Group(id%3), random()); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		query, groups := random(), []vector.Group{0, 2}
		want := map[int64]float32{}
		hits, err := x.Search(t.Context(), query, 3000, vector.Options{Groups: groups})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hits {
			want[h.ID] = h.Score
		}
		got := 0
		err = x.Scores(t.Context(), query, append(ids, 9999), groups, func(i int, score float32) {
			got++
			if w, ok := want[ids[i]]; !ok || math.Abs(float64(score-w)) > 1e-6 {
				t.Errorf("%s: score of %d is %v, want %v", k.Name, ids[i], score, w)
			}
		})
		if err != nil || got != len(want) {
			t.Errorf("%s: %d scores, want %d, %v", k.Name, got, len(want), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := x.Scores(ctx, query, ids, nil, func(int, float32) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
		if err := x.Scores(t.Context(), query[:3], ids, nil, func(int, float32) {}); err == nil {
			t.Error("a query of three dimensions was compared")
		}
	}
}
