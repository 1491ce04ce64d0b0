package bert

import (
	"encoding/binary"
	"math"
)

// plainKernels are the loops in Go: what runs where there is no assembly, and what the assembly
// is held to.
func plainKernels() *kernels {
	return &kernels{
		name: "plain", gemm: gemmPlain, unpack: unpackPlain, softmax: softmaxPlain, gelu: geluPlain, norm: normPlain, keys: keysPlain,
	}
}

func gemmPlain(c []float32, ldc int, a []float32, lda int, b []float32, rows, k int, bias []float32) {
	if bias != nil {
		for r := range rows {
			copy(c[r*ldc:r*ldc+panelCols], bias)
		}
	}
	b = b[:k*panelCols]
	r := 0
	// Two rows by four columns: eight sums, four weights and two inputs fit the sixteen registers.
	for ; r+2 <= rows; r += 2 {
		a0 := a[r*lda : r*lda+k]
		a1 := a[(r+1)*lda : (r+1)*lda+k]
		c0 := c[r*ldc : r*ldc+panelCols]
		c1 := c[(r+1)*ldc : (r+1)*ldc+panelCols]
		for j := 0; j < panelCols; j += 4 {
			s00, s01, s02, s03 := c0[j], c0[j+1], c0[j+2], c0[j+3]
			s10, s11, s12, s13 := c1[j], c1[j+1], c1[j+2], c1[j+3]
			w := b[j:]
			for i, x0 := range a0 {
				x1 := a1[i]
				w4 := w[i*panelCols : i*panelCols+4 : i*panelCols+4]
				w0, w1, w2, w3 := w4[0], w4[1], w4[2], w4[3]
				s00 += x0 * w0
				s01 += x0 * w1
				s02 += x0 * w2
				s03 += x0 * w3
				s10 += x1 * w0
				s11 += x1 * w1
				s12 += x1 * w2
				s13 += x1 * w3
			}
			c0[j], c0[j+1], c0[j+2], c0[j+3] = s00, s01, s02, s03
			c1[j], c1[j+1], c1[j+2], c1[j+3] = s10, s11, s12, s13
		}
	}
	if r < rows {
		c0 := c[r*ldc : r*ldc+panelCols]
		for i, x := range a[r*lda : r*lda+k] {
			for j, w := range b[i*panelCols : (i+1)*panelCols] {
				c0[j] += x * w
			}
		}
	}
}

func unpackPlain(dst []float32, src []byte, gain float32) {
	var scales [panelCols]float32
	for len(src) >= blockBytes {
		for j := range scales {
			scales[j] = fromHalf(binary.LittleEndian.Uint16(src[j*2:])) * gain
		}
		values := src[panelCols*2 : blockBytes]
		out := dst[:panelCols*blockRows]
		for i := 0; i < len(out); i += panelCols {
			row, q := out[i:i+panelCols], values[i:i+panelCols]
			for j := range scales {
				row[j] = float32(int8(q[j])) * scales[j] //nolint:gosec // the byte is an int8
			}
		}
		src, dst = src[blockBytes:], dst[panelCols*blockRows:]
	}
}

func softmaxPlain(x []float32, width int, scale float32) {
	for ; len(x) >= width; x = x[width:] {
		row := x[:width]
		top := row[0]
		for _, v := range row {
			top = max(top, v)
		}
		sum := float32(0)
		for i, v := range row {
			e := exp((v - top) * scale)
			row[i] = e
			sum += e
		}
		inv := 1 / sum
		for i := range row {
			row[i] *= inv
		}
	}
}

// exp is e to the power of x, which is not positive, to 1e-7 of its value: the power of two
// nearest to it times a polynomial for the rest.
func exp(x float32) float32 {
	x = max(x, expLeast)
	t := x*log2e + roundMagic
	n := t - roundMagic
	r := x - n*ln2High - n*ln2Low
	p := float32(exp6)
	p = p*r + exp5
	p = p*r + exp4
	p = p*r + exp3
	p = p*r + exp2
	p = p*r + 1
	p = p*r + 1
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(t)<<23)
}

// The constants of exp. Adding and taking away roundMagic rounds to a whole number, whose bits
// are then the lowest of the sum.
const (
	expLeast   = -87
	log2e      = 1.44269504
	roundMagic = 12582912 // 1.5·2²³
	ln2High    = 0.693359375
	ln2Low     = -2.12194440e-4
	exp2       = 1.0 / 2
	exp3       = 1.0 / 6
	exp4       = 1.0 / 24
	exp5       = 1.0 / 120
	exp6       = 1.0 / 720
)

// The constants of the error function of z up to erfMost, where it is 1 in float32: z·P(z²)/Q(z²),
// fitted to it for the least largest error relative to it, 2e-8 before rounding.
const (
	erfMost = 3.925
	erfP0   = 1.12837915
	erfP1   = 0.190584695
	erfP2   = 0.0527679112
	erfP3   = 0.00377211163
	erfP4   = 0.000284825583
	erfP5   = 2.04599131e-06
	erfQ1   = 0.502234021
	erfQ2   = 0.114178807
	erfQ3   = 0.0149823235
	erfQ4   = 0.00116373646
	erfQ5   = 3.80464602e-05
)

func geluPlain(x []float32) {
	for i, v := range x {
		z := max(-erfMost, min(erfMost, v*math.Sqrt2/2))
		q := z * z
		p := float32(erfP5)
		p = p*q + erfP4
		p = p*q + erfP3
		p = p*q + erfP2
		p = p*q + erfP1
		p = p*q + erfP0
		d := float32(erfQ5)
		d = d*q + erfQ4
		d = d*q + erfQ3
		d = d*q + erfQ2
		d = d*q + erfQ1
		d = d*q + 1
		h := v / 2
		x[i] = h + h*(z*p/d)
	}
}

func normPlain(x []float32, width int, bias, gain, shift []float32, eps float32) {
	bias, gain, shift = bias[:width], gain[:width], shift[:width]
	for ; len(x) >= width; x = x[width:] {
		row := x[:width]
		sum := float32(0)
		for i, b := range bias {
			row[i] += b
			sum += row[i]
		}
		mean := sum / float32(width)
		squares := float32(0)
		for i, v := range row {
			v -= mean
			row[i] = v
			squares += v * v
		}
		inv := 1 / float32(math.Sqrt(float64(squares/float32(width)+eps)))
		for i, g := range gain {
			row[i] = row[i]*inv*g + shift[i]
		}
	}
}

func keysPlain(dst, src []float32, stride, n, dim int) {
	for at := 0; at < n; at += panelCols {
		panel := dst[at*dim : (at+panelCols)*dim]
		for i := range panelCols {
			row := src[min(at+i, n-1)*stride:][:dim]
			for j, v := range row {
				panel[j*panelCols+i] = v
			}
		}
	}
}
