package bert

import (
	"golang.org/x/sys/cpu"
)

//go:generate sh -c "cd asm && go run . -out ../loops_amd64.s -stubs ../loops_amd64.go -pkg bert"

// available returns the loops this processor can run, the fastest first.
func available() []*kernels {
	all := []*kernels{plainKernels()}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		all = append([]*kernels{{
			name: "avx2", gemm: gemmTwo, unpack: unpackTwo, softmax: softmaxTwo, gelu: geluTwo, norm: normTwo, keys: keysTwo,
		}}, all...)
		if cpu.X86.HasAVX512F {
			all = append([]*kernels{{
				name: "avx512", gemm: gemmFive, unpack: unpackFive, softmax: softmaxFive, gelu: geluFive, norm: normFive, keys: keysTwo,
			}}, all...)
		}
	}
	return all
}

// The functions below check that what the assembly will touch is there, which it does not do
// itself, and call it. Those that end in Two are AVX2, those in Five AVX-512.

// tiles cuts rows into tiles of at most most rows, as equal as can be: two of 8 take less time
// than one of 14 and one of 2, whose few sums would wait for each other.
func tiles(rows, most int) (count, size, longer int) {
	count = (rows + most - 1) / most
	return count, rows / count, rows % count
}

// reach panics if x is shorter than rows that are stride apart, the last one width long.
func reach(x []float32, rows, stride, width int) {
	_ = x[(rows-1)*stride+width-1]
}

func gemmTwo(c []float32, ldc int, a []float32, lda int, b []float32, rows, k int, bias []float32) {
	reach(c, rows, ldc, panelCols)
	reach(a, rows, lda, k)
	reach(b, k, panelCols, panelCols)
	for half := 0; half < panelCols; half += 16 {
		var from *float32
		if bias != nil {
			from = &bias[half : half+16][0]
		}
		row := 0
		for count, size, longer := tiles(rows, 6); count > 0; count-- {
			n := size
			if longer > 0 {
				n++
				longer--
			}
			tileTwo(n, &c[row*ldc+half], 4*ldc, &a[row*lda], 4*lda, &b[half], k, from)
			row += n
		}
	}
}

func tileTwo(rows int, c *float32, ldc int, a *float32, lda int, b *float32, k int, bias *float32) {
	switch rows {
	case 1:
		gemmAVX2x1(c, ldc, a, lda, b, k, bias)
	case 2:
		gemmAVX2x2(c, ldc, a, lda, b, k, bias)
	case 3:
		gemmAVX2x3(c, ldc, a, lda, b, k, bias)
	case 4:
		gemmAVX2x4(c, ldc, a, lda, b, k, bias)
	case 5:
		gemmAVX2x5(c, ldc, a, lda, b, k, bias)
	default:
		gemmAVX2x6(c, ldc, a, lda, b, k, bias)
	}
}

func gemmFive(c []float32, ldc int, a []float32, lda int, b []float32, rows, k int, bias []float32) {
	reach(c, rows, ldc, panelCols)
	reach(a, rows, lda, k)
	reach(b, k, panelCols, panelCols)
	var from *float32
	if bias != nil {
		from = &bias[:panelCols][0]
	}
	row := 0
	for count, size, longer := tiles(rows, 14); count > 0; count-- {
		n := size
		if longer > 0 {
			n++
			longer--
		}
		tileFive(n, &c[row*ldc], 4*ldc, &a[row*lda], 4*lda, &b[0], k, from)
		row += n
	}
}

func tileFive(rows int, c *float32, ldc int, a *float32, lda int, b *float32, k int, bias *float32) {
	switch rows {
	case 1:
		gemmAVX512x1(c, ldc, a, lda, b, k, bias)
	case 2:
		gemmAVX512x2(c, ldc, a, lda, b, k, bias)
	case 3:
		gemmAVX512x3(c, ldc, a, lda, b, k, bias)
	case 4:
		gemmAVX512x4(c, ldc, a, lda, b, k, bias)
	case 5:
		gemmAVX512x5(c, ldc, a, lda, b, k, bias)
	case 6:
		gemmAVX512x6(c, ldc, a, lda, b, k, bias)
	case 7:
		gemmAVX512x7(c, ldc, a, lda, b, k, bias)
	case 8:
		gemmAVX512x8(c, ldc, a, lda, b, k, bias)
	case 9:
		gemmAVX512x9(c, ldc, a, lda, b, k, bias)
	case 10:
		gemmAVX512x10(c, ldc, a, lda, b, k, bias)
	case 11:
		gemmAVX512x11(c, ldc, a, lda, b, k, bias)
	case 12:
		gemmAVX512x12(c, ldc, a, lda, b, k, bias)
	case 13:
		gemmAVX512x13(c, ldc, a, lda, b, k, bias)
	default:
		gemmAVX512x14(c, ldc, a, lda, b, k, bias)
	}
}

func unpackTwo(dst []float32, src []byte, gain float32) {
	blocks := len(src) / blockBytes
	reach(dst, blocks, panelCols*blockRows, panelCols*blockRows)
	unpackAVX2(&dst[0], &src[0], blocks, gain*0x1p112)
}

func unpackFive(dst []float32, src []byte, gain float32) {
	blocks := len(src) / blockBytes
	reach(dst, blocks, panelCols*blockRows, panelCols*blockRows)
	unpackAVX512(&dst[0], &src[0], blocks, gain*0x1p112)
}

func softmaxTwo(x []float32, width int, scale float32) {
	softmaxAVX2(&x[0], len(x)/width, width, scale)
}

func softmaxFive(x []float32, width int, scale float32) {
	softmaxAVX512(&x[0], len(x)/width, width, scale)
}

func geluTwo(x []float32) { geluAVX2(&x[0], len(x)) }

func geluFive(x []float32) { geluAVX512(&x[0], len(x)) }

func normTwo(x []float32, width int, bias, gain, shift []float32, eps float32) {
	bias, gain, shift = bias[:width], gain[:width], shift[:width]
	normAVX2(&x[0], len(x)/width, width, &bias[0], &gain[0], &shift[0], 1/float32(width), eps)
}

func normFive(x []float32, width int, bias, gain, shift []float32, eps float32) {
	bias, gain, shift = bias[:width], gain[:width], shift[:width]
	normAVX512(&x[0], len(x)/width, width, &bias[0], &gain[0], &shift[0], 1/float32(width), eps)
}

// keysTwo transposes squares of 8 × 8; what is left of the last rows goes one by one.
func keysTwo(dst, src []float32, stride, n, dim int) {
	reach(src, n, stride, dim)
	reach(dst, padded(n)*dim, 1, 1)
	whole := n &^ 7
	for at := 0; at < whole; at += 8 {
		transposeAVX2(&dst[at/panelCols*panelCols*dim+at%panelCols], &src[at*stride], 4*stride, dim/8)
	}
	for at := whole; at < padded(n); at++ {
		row := src[min(at, n-1)*stride:][:dim]
		panel := dst[at/panelCols*panelCols*dim+at%panelCols:]
		for j, v := range row {
			panel[j*panelCols] = v
		}
	}
}
