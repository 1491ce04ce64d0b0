package bert_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/caxton/caxton/internal/embedding/bert"
	"github.com/caxton/caxton/internal/embedding/minilm"
)

// tokens returns count texts of n tokens.
func tokens(count, n int) [][]int32 {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	all := make([][]int32, count)
	for i := range all {
		all[i] = make([]int32, n)
		for j := range n {
			all[i][j] = 1000 + rng.Int32N(28000)
		}
		all[i][0], all[i][n-1] = 101, 102
	}
	return all
}

func vectors(count, dims int) [][]float32 {
	all := make([][]float32, count)
	for i := range all {
		all[i] = make([]float32, dims)
	}
	return all
}

// BenchmarkEmbed is the time of one text on one thread.
func BenchmarkEmbed(b *testing.B) {
	for _, kernel := range bert.Kernels() {
		m := builtin(b, kernel)
		for _, n := range []int{16, 64, 256} {
			b.Run(fmt.Sprintf("int8/%s/tokens=%d", kernel, n), func(b *testing.B) { embed(b, m, n) })
		}
	}
	b.Run("float32", func(b *testing.B) {
		m := published(b, "")
		for _, n := range []int{16, 64, 256} {
			b.Run(fmt.Sprintf("%s/tokens=%d", m.Kernel(), n), func(b *testing.B) { embed(b, m, n) })
		}
	})
}

func embed(b *testing.B, m *bert.Model, n int) {
	b.Helper()
	ids, dst := tokens(1, n)[0], make([]float32, m.Dimensions())
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Embed(dst, ids); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEmbedBatch is the time of a batch of 16 texts, on one thread and on all.
func BenchmarkEmbedBatch(b *testing.B) {
	for _, workers := range []int{1, 0} {
		m, err := minilm.Load(bert.Config{Workers: workers})
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{16, 64, 256} {
			b.Run(fmt.Sprintf("workers=%d/tokens=%d", workers, n), func(b *testing.B) {
				ids, dst := tokens(16, n), vectors(16, m.Dimensions())
				b.ReportAllocs()
				for b.Loop() {
					if err := m.EmbedBatch(b.Context(), dst, ids); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/16, "ms/text")
			})
		}
	}
}

// BenchmarkLoad is the time until the built-in model is ready.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := minilm.Load(bert.Config{}); err != nil {
			b.Fatal(err)
		}
	}
}
