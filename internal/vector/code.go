package vector

import (
	"math"

	"github.com/caxton/caxton"
)

const (
	codeMax = 127 // of a byte

	// queryMax keeps a product of 4,096 dimensions inside 32 bits: the codes of one vector
	// are at most 127·64 long together and the query's numbers 4,095·64.
	queryMax = 4095
)

// norm returns the length of vec, or an Invalid error if it has none or the wrong number of
// dimensions.
func norm(vec []float32, dims int) (float64, error) {
	if len(vec) != dims {
		return 0, caxton.Errorf(caxton.Invalid, "vector_dimensions", "a vector has %d dimensions, this index takes %d", len(vec), dims).
			WithHint("vectors of different models cannot be compared; embed the texts again with the model in use")
	}
	sum := 0.0
	for _, v := range vec {
		sum += float64(v) * float64(v)
	}
	if sum == 0 || math.IsNaN(sum) || math.IsInf(sum, 0) {
		return 0, caxton.Errorf(caxton.Invalid, "vector_invalid", "a vector is zero or holds something that is not a finite number").
			WithHint("the model that made it has failed; look at its log")
	}
	return math.Sqrt(sum), nil
}

// A code is a vector of length 1 as signed bytes times a scale.
type code struct {
	bytes []byte
	scale float32
}

// encode rounds vec, whose length is n.
func encode(vec []float32, n float64) code {
	top := 0.0
	for _, v := range vec {
		top = max(top, math.Abs(float64(v)))
	}
	c := code{bytes: make([]byte, len(vec)), scale: float32(top / n / codeMax)}
	for i, v := range vec {
		c.bytes[i] = byte(int8(math.Round(float64(v) / top * codeMax))) //nolint:gosec // within ±127, kept as a byte
	}
	return c
}

// value returns what a code's byte stands for, before its scale.
func value(b byte) float32 {
	return float32(int8(b)) //nolint:gosec // codes are signed
}

// A query is a vector in the forms the three tiers want.
type query struct {
	unit  []float32
	wide  []int16 // for the codes: 13 bits, so that the query adds no error of note
	scale float32 // of wide
	bits  []uint64
}

// newQuery prepares vec, whose length is n, for a search around centre.
func newQuery(vec []float32, n float64, centre []float32) query {
	q := query{
		unit: make([]float32, len(vec)),
		wide: make([]int16, len(vec)),
		bits: make([]uint64, len(vec)/64),
	}
	top := 0.0
	for i, v := range vec {
		q.unit[i] = float32(float64(v) / n)
		top = max(top, math.Abs(float64(v)))
	}
	q.scale = float32(top / n / queryMax)
	for i, v := range vec {
		q.wide[i] = int16(math.Round(float64(v) / top * queryMax))
		if q.unit[i] > centre[i] {
			q.bits[i/64] |= 1 << (i % 64)
		}
	}
	return q
}

// setBits writes the bits of one row's codes to its lane of a tile.
func setBits(lanes []uint64, lane int, codes []byte, scale float32, centre []float32) {
	for w := range len(codes) / 64 {
		word := uint64(0)
		cs, ms := codes[w*64:w*64+64], centre[w*64:w*64+64]
		for i, b := range cs { // without a branch: it would go either way half the time
			word |= uint64(math.Float32bits(ms[i]-value(b)*scale)>>31) << i
		}
		lanes[w*tile+lane] = word
	}
}
