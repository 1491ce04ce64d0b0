package vector

import "math/bits"

// tile is how many rows share a tile of bits: the first word of each row, then the second of
// each, and so on. See hammingGeneric.
const tile = 16

// kernels are the inner loops, as fast as this processor has them.
type kernels struct {
	name string

	// hamming sets the distances of whole tiles to query, which has words words.
	hamming func(dist []uint16, tiles, query []uint64)

	// below sets, for each tile of dist, the bits of the distances that are at most limit.
	below func(masks, dist []uint16, limit uint16)

	// dots sets the products of query and each row of codes.
	dots func(out []int32, codes []byte, query []int16)
}

// genericKernels are the loops in plain Go. The others are tested against them.
func genericKernels() kernels {
	return kernels{name: "go", hamming: hammingGeneric, below: belowGeneric, dots: dotsGeneric}
}

func hammingGeneric(dist []uint16, tiles, query []uint64) {
	words := len(query)
	for t := range len(dist) / tile {
		for lane := range tile {
			dist[t*tile+lane] = distance(tiles[t*words*tile:], query, lane)
		}
	}
}

// distance counts the bits in which query and one lane of a tile differ.
func distance(rows, query []uint64, lane int) uint16 {
	n := 0
	for w, q := range query {
		n += bits.OnesCount64(rows[w*tile+lane] ^ q)
	}
	return uint16(n)
}

func belowGeneric(masks, dist []uint16, limit uint16) {
	for t := range masks {
		m := uint16(0)
		for lane, d := range dist[t*tile : t*tile+tile] {
			if d <= limit {
				m |= 1 << lane
			}
		}
		masks[t] = m
	}
}

func dotsGeneric(out []int32, codes []byte, query []int16) {
	for i := range out {
		row := codes[i*len(query):][:len(query)]
		var a, b, c, d int32
		for j := 0; j+4 <= len(query); j += 4 {
			a += int32(int8(row[j])) * int32(query[j])     //nolint:gosec // codes are signed
			b += int32(int8(row[j+1])) * int32(query[j+1]) //nolint:gosec // codes are signed
			c += int32(int8(row[j+2])) * int32(query[j+2]) //nolint:gosec // codes are signed
			d += int32(int8(row[j+3])) * int32(query[j+3]) //nolint:gosec // codes are signed
		}
		out[i] = a + b + c + d
	}
}
