package vector_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caxton/caxton/internal/vector"
)

// TestKernels holds each set of inner loops to the one in plain Go.
func TestKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := vector.Kernels()
	plain := all[0]
	for _, k := range all {
		t.Run(k.Name, func(t *testing.T) {
			for _, dims := range []int{64, 128, 192, 320, 384, 448, 768, 1024, 4096} {
				for _, tiles := range []int{0, 1, 2, 3, 7, 64} {
					rows := tiles * 16
					bits, query := make([]uint64, rows*dims/64), make([]uint64, dims/64)
					for i := range bits {
						bits[i] = r.Uint64()
					}
					for i := range query {
						query[i] = r.Uint64()
					}
					if tiles == 3 { // every bit differs
						for i := range bits {
							bits[i] = ^query[i/16%len(query)]
						}
					}
					// One element more on each side shows a write outside.
					want, got := make([]uint16, rows+2), make([]uint16, rows+2)
					plain.Hamming(want[1:rows+1], bits, query)
					k.Hamming(got[1:rows+1], bits, query)
					if !slices.Equal(got, want) {
						t.Fatalf("Hamming of %d rows, %d dims = %v, want %v", rows, dims, got, want)
					}
					for _, limit := range []int{0, dims / 2, dims, 65535} {
						wantM, gotM := make([]uint16, tiles+2), make([]uint16, tiles+2)
						plain.Below(wantM[1:tiles+1], want[1:rows+1], uint16(limit))
						k.Below(gotM[1:tiles+1], want[1:rows+1], uint16(limit))
						if !slices.Equal(gotM, wantM) {
							t.Fatalf("Below(%d) of %d rows = %x, want %x", limit, rows, gotM, wantM)
						}
					}
				}
				for _, rows := range []int{0, 1, 2, 5, 17} {
					codes, query := make([]byte, rows*dims), make([]int16, dims)
					for i := range codes {
						codes[i] = byte(r.Uint32())
					}
					for i := range query {
						query[i] = int16(r.IntN(2*4095+1) - 4095)
					}
					if rows == 5 { // the largest sums there can be, of either sign
						for i := range codes {
							codes[i] = 0x80
						}
						for i := range query {
							query[i] = 4095
						}
					}
					want, got := make([]int32, rows+2), make([]int32, rows+2)
					plain.Dots(want[1:rows+1], codes, query)
					k.Dots(got[1:rows+1], codes, query)
					if !slices.Equal(got, want) {
						t.Fatalf("Dots of %d rows, %d dims = %v, want %v", rows, dims, got, want)
					}
					if rows == 5 && got[1] != int32(-128*4095*dims) {
						t.Fatalf("Dots of the largest sum, %d dims = %d", dims, got[1])
					}
				}
			}
		})
	}
}

func BenchmarkKernels(b *testing.B) {
	const dims, rows = 384, 1024
	r := rand.New(rand.NewPCG(1, 2))
	bits, query := make([]uint64, rows*dims/64), make([]uint64, dims/64)
	codes, wide := make([]byte, rows*dims), make([]int16, dims)
	for i := range bits {
		bits[i] = r.Uint64()
	}
	for i := range codes {
		codes[i] = byte(r.Uint32())
	}
	for i := range wide {
		wide[i] = int16(r.IntN(8000) - 4000)
	}
	dist, masks, out := make([]uint16, rows), make([]uint16, rows/16), make([]int32, rows)
	per := func(b *testing.B, f func()) {
		b.Helper()
		for b.Loop() {
			f()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
	}
	for _, k := range vector.Kernels() {
		b.Run("hamming/"+k.Name, func(b *testing.B) { per(b, func() { k.Hamming(dist, bits, query) }) })
		b.Run("below/"+k.Name, func(b *testing.B) { per(b, func() { k.Below(masks, dist, 150) }) })
		b.Run("dots/"+k.Name, func(b *testing.B) { per(b, func() { k.Dots(out, codes, wide) }) })
	}
}
