package bert

import "math"

// toHalf returns the bits of the 16-bit float nearest to f, which must be finite, not negative
// and less than 65520.
func toHalf(f float32) uint16 {
	// Scaling by 2^-112 moves the exponent of a half onto that of a float32, subnormal numbers
	// included, so that the rounding is of the bits below.
	b := math.Float32bits(f * 0x1p-112)
	b += 0xfff + b>>13&1
	return uint16(b >> 13) //nolint:gosec // the caller keeps f in range
}

// fromHalf is the inverse of toHalf.
func fromHalf(h uint16) float32 {
	return math.Float32frombits(uint32(h&0x7fff)<<13) * 0x1p112
}
