package vector

import "golang.org/x/sys/cpu"

// allKernels returns the loops this processor can run, the fastest last.
func allKernels() []kernels {
	all := []kernels{genericKernels()}
	if !cpu.X86.HasAVX2 {
		return all
	}
	k := kernels{
		name: "avx2",
		hamming: func(dist []uint16, tiles, query []uint64) {
			if n := len(dist) / tile; n > 0 {
				_ = tiles[n*tile*len(query)-1]
				hammingAVX2(&dist[0], &tiles[0], &query[0], len(query), n)
			}
		},
		below: func(masks, dist []uint16, limit uint16) {
			if n := len(masks); n > 0 {
				_ = dist[n*tile-1]
				belowAVX2(&masks[0], &dist[0], limit, n)
			}
		},
		dots: func(out []int32, codes []byte, query []int16) {
			if n := len(out); n > 0 {
				_ = codes[n*len(query)-1]
				dotsAVX2(&out[0], &codes[0], &query[0], len(query), n)
			}
		},
	}
	all = append(all, k)
	if !cpu.X86.HasAVX512F || !cpu.X86.HasAVX512BW || !cpu.X86.HasAVX512VPOPCNTDQ || !cpu.X86.HasAVX512VNNI {
		return all
	}
	k.name = "avx512"
	k.hamming = func(dist []uint16, tiles, query []uint64) {
		if n := len(dist) / tile; n > 0 {
			_ = tiles[n*tile*len(query)-1]
			hammingAVX512(&dist[0], &tiles[0], &query[0], len(query), n)
		}
	}
	k.dots = func(out []int32, codes []byte, query []int16) {
		if n := len(out); n > 0 {
			_ = codes[n*len(query)-1]
			dotsAVX512(&out[0], &codes[0], &query[0], len(query), n)
		}
	}
	return append(all, k)
}
