// Asm writes the assembly of package bert: the loops of kernels.go once with the 32-byte registers
// of AVX2 and FMA and once with the 64-byte registers of AVX-512 F.
//
//	cd internal/embedding/bert/asm && go run . -out ../loops_amd64.s -stubs ../loops_amd64.go -pkg bert
//
// It is a module of its own, so that the server does not depend on what generates it.
package main

import (
	"math"
	"strconv"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A set is one form of the loops.
type set struct {
	suffix string
	lanes  int // float32 in a register
	rows   int // of a, in the largest tile of the matrix product
	reg    func() reg.VecVirtual
}

func sets() []set {
	return []set{
		{"AVX2", 8, 6, YMM},
		{"AVX512", 16, 14, ZMM},
	}
}

const (
	panelCols = 32
	tileRegs  = 2 // columns of a tile, in registers
)

func main() {
	ConstraintExpr("amd64")
	c := constants{}
	for _, s := range sets() {
		for rows := 1; rows <= s.rows; rows++ {
			s.gemm(rows)
		}
		s.unpack()
		s.softmax(c)
		s.gelu(c)
		s.norm(c)
	}
	keys()
	Generate()
}

// constants are numbers in memory, repeated to the width of the widest register.
type constants map[uint32]Mem

func (c constants) bits(v uint32) Mem {
	if m, ok := c[v]; ok {
		return m
	}
	m := GLOBL("const"+strconv.FormatUint(uint64(v), 16), 8|16) // RODATA|NOPTR
	for i := range 16 {
		DATA(4*i, U32(v))
	}
	c[v] = m
	return m
}

func (c constants) float(v float64) Mem { return c.bits(math.Float32bits(float32(v))) }

// count returns a number in the width that additions take.
func count(n int) Op {
	if n < 128 {
		return U8(n)
	}
	return U32(n)
}

// load returns a register with a constant.
func (s set) load(m Mem) reg.VecVirtual {
	r := s.reg()
	VMOVUPS(m, r)
	return r
}

func (s set) zero() reg.VecVirtual {
	r := s.reg()
	if s.lanes == 16 {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
	return r
}

// gemm writes the tile of the matrix product with the given rows: tileRegs registers of columns, all
// its sums in registers, from bias or, if that is nil, from c. Strides are in bytes. b's rows are 32 wide.
func (s set) gemm(rows int) {
	TEXT("gemm"+s.suffix+"x"+strconv.Itoa(rows), NOSPLIT,
		"func(c *float32, ldc int, a *float32, lda int, b *float32, k int, bias *float32)")
	Doc("gemm" + s.suffix + "x" + strconv.Itoa(rows) + " is the tile of gemm with " + strconv.Itoa(rows) + " rows and " +
		strconv.Itoa(tileRegs*s.lanes) + " columns; strides in bytes.")
	Pragma("noescape")
	bytes := s.lanes * 4
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	acc := make([][]reg.VecVirtual, rows)
	for r := range acc {
		for range tileRegs {
			acc[r] = append(acc[r], s.reg())
		}
	}
	bias := Load(Param("bias"), GP64())
	name := "x" // labels are local to a function
	TESTQ(bias, bias)
	JZ(LabelRef(name + "FromC"))
	for j := range tileRegs {
		VMOVUPS(Mem{Base: bias, Disp: j * bytes}, acc[0][j])
		for r := 1; r < rows; r++ {
			VMOVAPS(acc[0][j], acc[r][j])
		}
	}
	JMP(LabelRef(name + "Begin"))
	Label(name + "FromC")
	at := GP64()
	MOVQ(c, at)
	for r := range rows {
		for j := range tileRegs {
			VMOVUPS(Mem{Base: at, Disp: j * bytes}, acc[r][j])
		}
		if r < rows-1 {
			ADDQ(ldc, at)
		}
	}
	Label(name + "Begin")
	a := Load(Param("a"), GP64())
	lda := Load(Param("lda"), GP64())
	b := Load(Param("b"), GP64())
	k := Load(Param("k"), GP64())
	// Seven rows are reached from one pointer: 0, 1, 2 and 4 strides by the index's factor, 3, 5 and 6
	// with two more indexes. The second pointer begins at row 7.
	lda3, lda5 := GP64(), GP64()
	LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, lda3)
	LEAQ(Mem{Base: lda, Index: lda, Scale: 4}, lda5)
	a7 := GP64()
	if rows > 7 {
		LEAQ(Mem{Base: a, Index: lda3, Scale: 2}, a7)
		ADDQ(lda, a7)
	}
	row := func(r, step int) Mem {
		m := Mem{Base: a, Disp: 4 * step}
		if r >= 7 {
			m.Base = a7
			r -= 7
		}
		switch r {
		case 1, 2, 4:
			m.Index, m.Scale = lda, uint8(r)
		case 3, 6:
			m.Index, m.Scale = lda3, uint8(r/3)
		case 5:
			m.Index, m.Scale = lda5, 1
		}
		return m
	}
	step := func(n int) {
		w := make([]reg.VecVirtual, tileRegs)
		for j := range w {
			w[j] = s.reg()
			VMOVUPS(Mem{Base: b, Disp: n*panelCols*4 + j*bytes}, w[j])
		}
		for r := range rows {
			x := s.reg()
			VBROADCASTSS(row(r, n), x)
			for j := range w {
				VFMADD231PS(w[j], x, acc[r][j])
			}
		}
	}
	advance := func(n int) {
		ADDQ(count(4*n), a)
		if rows > 7 {
			ADDQ(count(4*n), a7)
		}
		ADDQ(count(n*panelCols*4), b)
	}
	const unroll = 4
	SUBQ(Imm(unroll), k)
	JL(LabelRef(name + "Rest"))
	Label(name + "Loop")
	for n := range unroll {
		step(n)
	}
	advance(unroll)
	SUBQ(Imm(unroll), k)
	JGE(LabelRef(name + "Loop"))
	Label(name + "Rest")
	ADDQ(Imm(unroll), k)
	JZ(LabelRef(name + "End"))
	Label(name + "One")
	step(0)
	advance(1)
	DECQ(k)
	JNZ(LabelRef(name + "One"))
	Label(name + "End")
	for r := range rows {
		for j := range tileRegs {
			VMOVUPS(acc[r][j], Mem{Base: c, Disp: j * bytes})
		}
		if r < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// unpack writes the loop over blocks of 32 scales and 32 × 32 int8. Two to the power of 112 in gain
// moves the exponent of a 16-bit float, shifted into place, onto that of a float32.
func (s set) unpack() {
	TEXT("unpack"+s.suffix, NOSPLIT, "func(dst *float32, src *byte, blocks int, gain float32)")
	Doc("unpack" + s.suffix + " is unpack; gain is 2^112 times the gain.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	blocks := Load(Param("blocks"), GP64())
	m, err := Param("gain").Resolve()
	if err != nil {
		panic(err)
	}
	gain := s.reg()
	VBROADCASTSS(m.Addr, gain)
	n := panelCols / s.lanes
	scale := make([]reg.VecVirtual, n)
	for j := range scale {
		scale[j] = s.reg()
	}
	Label("block")
	for j := range scale {
		VPMOVZXWD(Mem{Base: src, Disp: j * s.lanes * 2}, scale[j])
		VPSLLD(Imm(13), scale[j], scale[j])
		VMULPS(gain, scale[j], scale[j])
	}
	ADDQ(Imm(panelCols*2), src)
	groups := GP64()
	const unroll = 4
	MOVQ(U64(32/unroll), groups)
	Label("rows")
	for r := range unroll {
		for j := range scale {
			v := s.reg()
			VPMOVSXBD(Mem{Base: src, Disp: r*panelCols + j*s.lanes}, v)
			VCVTDQ2PS(v, v)
			VMULPS(scale[j], v, v)
			VMOVUPS(v, Mem{Base: dst, Disp: r*panelCols*4 + j*s.lanes*4})
		}
	}
	ADDQ(count(unroll*panelCols), src)
	ADDQ(count(unroll*panelCols*4), dst)
	DECQ(groups)
	JNZ(LabelRef("rows"))
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// fold combines the lanes of v with op into the first lane of the result.
func (s set) fold(v reg.VecVirtual, op func(...Op)) reg.VecVirtual {
	y := v.(reg.Register)
	var half Op = v
	if s.lanes == 16 {
		h := YMM()
		VEXTRACTF64X4(Imm(1), y, h)
		op(v.AsY(), h, h)
		half = h
	}
	hy := half.(reg.VecVirtual)
	x := XMM()
	VEXTRACTF128(Imm(1), hy.AsY(), x)
	op(hy.AsX(), x, x)
	t := XMM()
	VMOVHLPS(x, x, t)
	op(t, x, x)
	VMOVSHDUP(x, t)
	op(t, x, x)
	return x
}

// exp writes e to the power of v, which is not positive, into v.
func (s set) exp(c constants, v, magic reg.VecVirtual) {
	VMAXPS(c.float(-87), v, v)
	t := s.reg()
	VMOVAPS(magic, t)
	VFMADD231PS(c.float(1.44269504), v, t) // rounded to a whole number in the lowest bits
	n := s.reg()
	VSUBPS(magic, t, n)
	VFNMADD231PS(c.float(0.693359375), n, v)
	VFNMADD231PS(c.float(-2.12194440e-4), n, v)
	VPSLLD(Imm(23), t, t)
	p := s.load(c.float(1.0 / 720))
	for _, f := range []float64{1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2, 1, 1} {
		VFMADD213PS(c.float(f), v, p)
	}
	VPADDD(t, p, v)
}

func (s set) softmax(c constants) {
	TEXT("softmax"+s.suffix, NOSPLIT, "func(x *float32, rows int, width int, scale float32)")
	Doc("softmax" + s.suffix + " is softmax.")
	Pragma("noescape")
	x := Load(Param("x"), GP64())
	rows := Load(Param("rows"), GP64())
	width := Load(Param("width"), GP64())
	m, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	scale := s.reg()
	VBROADCASTSS(m.Addr, scale)
	magic := s.load(c.float(12582912))
	bytes, step := s.lanes*4, 2*s.lanes
	at, left := GP64(), GP64()

	Label("row")
	MOVQ(x, at)
	MOVQ(width, left)
	top, top2 := s.reg(), s.reg()
	VMOVUPS(Mem{Base: x}, top)
	VMOVAPS(top, top2)
	Label("largest")
	VMAXPS(Mem{Base: at}, top, top)
	VMAXPS(Mem{Base: at, Disp: bytes}, top2, top2)
	ADDQ(count(4*step), at)
	SUBQ(count(step), left)
	JNZ(LabelRef("largest"))
	VMAXPS(top2, top, top)
	one := s.fold(top, VMAXPS)
	VBROADCASTSS(one.AsX(), top)

	MOVQ(x, at)
	MOVQ(width, left)
	sum, sum2 := s.zero(), s.zero()
	Label("powers")
	for i, to := range []reg.VecVirtual{sum, sum2} {
		v := s.reg()
		VMOVUPS(Mem{Base: at, Disp: i * bytes}, v)
		VSUBPS(top, v, v)
		VMULPS(scale, v, v)
		s.exp(c, v, magic)
		VMOVUPS(v, Mem{Base: at, Disp: i * bytes})
		VADDPS(v, to, to)
	}
	ADDQ(count(4*step), at)
	SUBQ(count(step), left)
	JNZ(LabelRef("powers"))
	VADDPS(sum2, sum, sum)
	one = s.fold(sum, VADDPS)
	inv := XMM()
	VMOVSS(c.float(1), inv)
	VDIVSS(one.AsX(), inv, inv)
	VBROADCASTSS(inv, sum)

	MOVQ(width, left)
	Label("scale")
	for i := range 2 {
		v := s.reg()
		VMULPS(Mem{Base: x, Disp: i * bytes}, sum, v)
		VMOVUPS(v, Mem{Base: x, Disp: i * bytes})
	}
	ADDQ(count(4*step), x)
	SUBQ(count(step), left)
	JNZ(LabelRef("scale"))
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

func (s set) gelu(c constants) {
	TEXT("gelu"+s.suffix, NOSPLIT, "func(x *float32, n int)")
	Doc("gelu" + s.suffix + " is gelu.")
	Pragma("noescape")
	x := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	const most = 3.925
	Label("loop")
	for i := range 2 {
		at := Mem{Base: x, Disp: i * s.lanes * 4}
		v, z, q := s.reg(), s.reg(), s.reg()
		VMOVUPS(at, v)
		VMULPS(c.float(math.Sqrt2/2), v, z)
		VMAXPS(c.float(-most), z, z)
		VMINPS(c.float(most), z, z)
		VMULPS(z, z, q)
		p := s.load(c.float(2.04599131e-06))
		for _, f := range []float64{0.000284825583, 0.00377211163, 0.0527679112, 0.190584695, 1.12837915} {
			VFMADD213PS(c.float(f), q, p)
		}
		d := s.load(c.float(3.80464602e-05))
		for _, f := range []float64{0.00116373646, 0.0149823235, 0.114178807, 0.502234021, 1} {
			VFMADD213PS(c.float(f), q, d)
		}
		VMULPS(z, p, p)
		VDIVPS(d, p, p)
		VMULPS(c.float(0.5), v, v)
		VFMADD231PS(v, p, v)
		VMOVUPS(v, at)
	}
	ADDQ(count(2*s.lanes*4), x)
	SUBQ(count(2*s.lanes), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func (s set) norm(c constants) {
	TEXT("norm"+s.suffix, NOSPLIT, "func(x *float32, rows int, width int, bias *float32, gain *float32, shift *float32, inverse float32, eps float32)")
	Doc("norm" + s.suffix + " is norm; inverse is one over width.")
	Pragma("noescape")
	x := Load(Param("x"), GP64())
	rows := Load(Param("rows"), GP64())
	width := Load(Param("width"), GP64())
	bias := Load(Param("bias"), GP64())
	gain := Load(Param("gain"), GP64())
	shift := Load(Param("shift"), GP64())
	inverse := Load(Param("inverse"), XMM())
	eps := Load(Param("eps"), XMM())
	SHLQ(Imm(2), width)
	bytes := s.lanes * 4
	i := GP64()
	at := func(base reg.GPVirtual, n int) Mem {
		return Mem{Base: base, Index: i, Scale: 1, Disp: n * bytes}
	}
	loop := func(label string, body func(n int)) {
		XORQ(i, i)
		Label(label)
		for n := range 2 {
			body(n)
		}
		ADDQ(count(2*bytes), i)
		CMPQ(i, width)
		JNE(LabelRef(label))
	}
	gx, gb, gg, gs := x.(reg.GPVirtual), bias.(reg.GPVirtual), gain.(reg.GPVirtual), shift.(reg.GPVirtual)

	Label("row")
	sums := []reg.VecVirtual{s.zero(), s.zero()}
	loop("sum", func(n int) {
		v := s.reg()
		VMOVUPS(at(gx, n), v)
		VADDPS(at(gb, n), v, v)
		VMOVUPS(v, at(gx, n))
		VADDPS(v, sums[n], sums[n])
	})
	VADDPS(sums[1], sums[0], sums[0])
	one := s.fold(sums[0], VADDPS)
	mean := s.reg()
	VMULSS(inverse, one.AsX(), one.AsX())
	VBROADCASTSS(one.AsX(), mean)

	squares := []reg.VecVirtual{s.zero(), s.zero()}
	loop("squares", func(n int) {
		v := s.reg()
		VMOVUPS(at(gx, n), v)
		VSUBPS(mean, v, v)
		VMOVUPS(v, at(gx, n))
		VFMADD231PS(v, v, squares[n])
	})
	VADDPS(squares[1], squares[0], squares[0])
	one = s.fold(squares[0], VADDPS)
	VMULSS(inverse, one.AsX(), one.AsX())
	VADDSS(eps, one.AsX(), one.AsX())
	VSQRTSS(one.AsX(), one.AsX(), one.AsX())
	scale := s.reg()
	VBROADCASTSS(one.AsX(), scale)
	full := s.load(c.float(1))
	VDIVPS(scale, full, scale)

	loop("apply", func(n int) {
		v, g := s.reg(), s.reg()
		VMULPS(at(gx, n), scale, v)
		VMOVUPS(at(gg, n), g)
		VFMADD213PS(at(gs, n), g, v)
		VMOVUPS(v, at(gx, n))
	})
	ADDQ(width, x)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// keys writes the transposing of 8 × 8 squares, which both forms use.
func keys() {
	TEXT("transposeAVX2", NOSPLIT, "func(dst *float32, src *float32, stride int, squares int)")
	Doc("transposeAVX2 transposes 8 rows of src, stride bytes apart, 8 columns at a time, into rows of 32.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	squares := Load(Param("squares"), GP64())
	s3, s5, s7 := GP64(), GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, s3)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 4}, s5)
	LEAQ(Mem{Base: s3, Index: stride, Scale: 4}, s7)
	row := func(r int) Mem {
		m := Mem{Base: src}
		switch r {
		case 1, 2, 4:
			m.Index, m.Scale = stride, uint8(r)
		case 3, 6:
			m.Index, m.Scale = s3, uint8(r/3)
		case 5:
			m.Index, m.Scale = s5, 1
		case 7:
			m.Index, m.Scale = s7, 1
		}
		return m
	}
	Label("square")
	var r [8]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVUPS(row(i), r[i])
	}
	// Pairs of rows, then pairs of pairs, then halves.
	var t, u [8]reg.VecVirtual
	for i := 0; i < 8; i += 2 {
		t[i], t[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < 8; i += 4 {
		for j := range 4 {
			u[i+j] = YMM()
		}
		VSHUFPS(Imm(0x44), t[i+2], t[i], u[i])
		VSHUFPS(Imm(0xee), t[i+2], t[i], u[i+1])
		VSHUFPS(Imm(0x44), t[i+3], t[i+1], u[i+2])
		VSHUFPS(Imm(0xee), t[i+3], t[i+1], u[i+3])
	}
	for i := range 4 {
		low, high := YMM(), YMM()
		VPERM2F128(Imm(0x20), u[i+4], u[i], low)
		VPERM2F128(Imm(0x31), u[i+4], u[i], high)
		VMOVUPS(low, Mem{Base: dst, Disp: i * panelCols * 4})
		VMOVUPS(high, Mem{Base: dst, Disp: (i + 4) * panelCols * 4})
	}
	ADDQ(Imm(32), src)
	ADDQ(count(8*panelCols*4), dst)
	DECQ(squares)
	JNZ(LabelRef("square"))
	VZEROUPPER()
	RET()
}
