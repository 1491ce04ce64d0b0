// Command asm writes the assembly of internal/vector: ../kernels_amd64.s and the
// declarations in ../kernels_amd64.go. It is a module of its own, so that what it needs is
// no dependency of the server. Run it with go generate in internal/vector.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	hammingAVX2()
	hammingAVX512()
	belowAVX2()
	dotsAVX2()
	dotsAVX512()
	Generate()
}

// hammingAVX2 counts differing bits, 16 rows of one tile at a time. A tile holds the first
// word of its 16 rows, then their second, and so on, so the whole scan reads forwards and
// four rows share a register without a transposition.
func hammingAVX2() {
	TEXT("hammingAVX2", NOSPLIT, "func(dist *uint16, bits, query *uint64, words, tiles int)")
	Pragma("noescape")
	Doc("hammingAVX2 sets the 16 distances of each of the tiles. It needs AVX2.")
	dist := Load(Param("dist"), GP64())
	bits := Load(Param("bits"), GP64())
	query := Load(Param("query"), GP64())
	words := Load(Param("words"), GP64())
	tiles := Load(Param("tiles"), GP64())

	// The number of bits set in each value of four bits, for both lanes.
	counts := GLOBL("popcount4", RODATA|NOPTR)
	for i := range 32 {
		n := i & 15
		DATA(i, U8(n&1+n>>1&1+n>>2&1+n>>3&1))
	}
	order := GLOBL("rowOrder", RODATA|NOPTR)
	for i, n := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(n))
	}
	low := GLOBL("lowNibbles", RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(0x0f0f0f0f0f0f0f0f))
	}

	table, mask, zero := YMM(), YMM(), YMM()
	VMOVDQU(counts, table)
	VMOVDQU(low, mask)
	VPXOR(zero, zero, zero)
	sums := []reg.VecVirtual{YMM(), YMM(), YMM(), YMM()}

	Label("tile")
	TESTQ(tiles, tiles)
	JZ(LabelRef("done"))
	for _, s := range sums {
		VPXOR(s, s, s)
	}
	w := GP64()
	XORQ(w, w)
	Label("word")
	q := YMM()
	VPBROADCASTQ(Mem{Base: query, Index: w, Scale: 8}, q)
	for i, s := range sums {
		x, h := YMM(), YMM()
		VPXOR(Mem{Base: bits, Disp: 32 * i}, q, x)
		VPSRLW(Imm(4), x, h)
		VPAND(mask, x, x)
		VPAND(mask, h, h)
		VPSHUFB(x, table, x)
		VPSHUFB(h, table, h)
		VPADDB(x, h, x)
		VPSADBW(zero, x, x)
		VPADDQ(x, s, s)
	}
	ADDQ(Imm(128), bits)
	INCQ(w)
	CMPQ(w, words)
	JLT(LabelRef("word"))

	// Sixteen 64-bit sums become sixteen 16-bit ones, back in the order of the rows.
	VPACKUSDW(sums[1], sums[0], sums[0])
	VPACKUSDW(sums[3], sums[2], sums[2])
	VPACKUSDW(sums[2], sums[0], sums[0])
	perm := YMM()
	VMOVDQU(order, perm)
	VPERMD(sums[0], perm, sums[0])
	VMOVDQU(sums[0], Mem{Base: dist})
	ADDQ(Imm(32), dist)
	DECQ(tiles)
	JMP(LabelRef("tile"))
	Label("done")
	VZEROUPPER()
	RET()
}

func hammingAVX512() {
	TEXT("hammingAVX512", NOSPLIT, "func(dist *uint16, bits, query *uint64, words, tiles int)")
	Pragma("noescape")
	Doc("hammingAVX512 sets the 16 distances of each of the tiles. It needs AVX512F and AVX512VPOPCNTDQ.")
	dist := Load(Param("dist"), GP64())
	bits := Load(Param("bits"), GP64())
	query := Load(Param("query"), GP64())
	words := Load(Param("words"), GP64())
	tiles := Load(Param("tiles"), GP64())
	a, b := ZMM(), ZMM()

	Label("tile")
	TESTQ(tiles, tiles)
	JZ(LabelRef("done"))
	VPXORQ(a, a, a)
	VPXORQ(b, b, b)
	w := GP64()
	XORQ(w, w)
	Label("word")
	q, x, y := ZMM(), ZMM(), ZMM()
	VPBROADCASTQ(Mem{Base: query, Index: w, Scale: 8}, q)
	VPXORQ(Mem{Base: bits}, q, x)
	VPXORQ(Mem{Base: bits, Disp: 64}, q, y)
	VPOPCNTQ(x, x)
	VPOPCNTQ(y, y)
	VPADDQ(x, a, a)
	VPADDQ(y, b, b)
	ADDQ(Imm(128), bits)
	INCQ(w)
	CMPQ(w, words)
	JLT(LabelRef("word"))
	VPMOVQW(a, Mem{Base: dist})
	VPMOVQW(b, Mem{Base: dist, Disp: 16})
	ADDQ(Imm(32), dist)
	DECQ(tiles)
	JMP(LabelRef("tile"))
	Label("done")
	VZEROUPPER()
	RET()
}

// belowAVX2 finds the rows near enough to look at, 16 at a time.
func belowAVX2() {
	TEXT("belowAVX2", NOSPLIT, "func(masks, dist *uint16, limit uint16, tiles int)")
	Pragma("noescape")
	Doc("belowAVX2 sets a bit for each distance that is at most limit. It needs AVX2.")
	masks := Load(Param("masks"), GP64())
	dist := Load(Param("dist"), GP64())
	limit := Load(Param("limit"), GP32())
	tiles := Load(Param("tiles"), GP64())
	x, l := XMM(), YMM()
	VMOVD(limit, x)
	VPBROADCASTW(x, l)
	Label("tile")
	TESTQ(tiles, tiles)
	JZ(LabelRef("done"))
	d, m := YMM(), YMM()
	VMOVDQU(Mem{Base: dist}, d)
	VPMINUW(d, l, m)
	VPCMPEQW(d, m, m)
	VPACKSSWB(m, m, m)
	VPERMQ(Imm(0x08), m, m)
	bits := GP32()
	VPMOVMSKB(m, bits)
	MOVW(bits.As16(), Mem{Base: masks})
	ADDQ(Imm(32), dist)
	ADDQ(Imm(2), masks)
	DECQ(tiles)
	JMP(LabelRef("tile"))
	Label("done")
	VZEROUPPER()
	RET()
}

// dotsAVX2 widens the codes to 16 bits, the query's width, and adds products in pairs.
func dotsAVX2() {
	TEXT("dotsAVX2", NOSPLIT, "func(out *int32, codes *byte, query *int16, dims, rows int)")
	Pragma("noescape")
	Doc("dotsAVX2 sets the products of the rows of codes and the query. dims is a multiple of 64. It needs AVX2.")
	out := Load(Param("out"), GP64())
	codes := Load(Param("codes"), GP64())
	query := Load(Param("query"), GP64())
	dims := Load(Param("dims"), GP64())
	rows := Load(Param("rows"), GP64())
	acc := []reg.VecVirtual{YMM(), YMM(), YMM(), YMM()}
	Label("row")
	TESTQ(rows, rows)
	JZ(LabelRef("done"))
	for _, a := range acc {
		VPXOR(a, a, a)
	}
	i := GP64()
	XORQ(i, i)
	Label("step")
	for n, a := range acc {
		c := YMM()
		VPMOVSXBW(Mem{Base: codes, Disp: 16 * n}, c)
		VPMADDWD(Mem{Base: query, Index: i, Scale: 2, Disp: 32 * n}, c, c)
		VPADDD(c, a, a)
	}
	ADDQ(Imm(64), codes)
	ADDQ(Imm(64), i)
	CMPQ(i, dims)
	JLT(LabelRef("step"))
	VPADDD(acc[1], acc[0], acc[0])
	VPADDD(acc[3], acc[2], acc[2])
	VPADDD(acc[2], acc[0], acc[0])
	sumTo(out, acc[0])
	ADDQ(Imm(4), out)
	DECQ(rows)
	JMP(LabelRef("row"))
	Label("done")
	VZEROUPPER()
	RET()
}

func dotsAVX512() {
	TEXT("dotsAVX512", NOSPLIT, "func(out *int32, codes *byte, query *int16, dims, rows int)")
	Pragma("noescape")
	Doc("dotsAVX512 is dotsAVX2 with wider registers. It needs AVX512BW and AVX512VNNI.")
	out := Load(Param("out"), GP64())
	codes := Load(Param("codes"), GP64())
	query := Load(Param("query"), GP64())
	dims := Load(Param("dims"), GP64())
	rows := Load(Param("rows"), GP64())
	a, b := ZMM(), ZMM()
	Label("row")
	TESTQ(rows, rows)
	JZ(LabelRef("done"))
	VPXORQ(a, a, a)
	VPXORQ(b, b, b)
	i := GP64()
	XORQ(i, i)
	Label("step")
	c, d := ZMM(), ZMM()
	VPMOVSXBW(Mem{Base: codes}, c)
	VPMOVSXBW(Mem{Base: codes, Disp: 32}, d)
	VPDPWSSD(Mem{Base: query, Index: i, Scale: 2}, c, a)
	VPDPWSSD(Mem{Base: query, Index: i, Scale: 2, Disp: 64}, d, b)
	ADDQ(Imm(64), codes)
	ADDQ(Imm(64), i)
	CMPQ(i, dims)
	JLT(LabelRef("step"))
	VPADDD(b, a, a)
	half := YMM()
	VEXTRACTI64X4(Imm(1), a, half)
	VPADDD(half, a.AsY(), half)
	sumTo(out, half)
	ADDQ(Imm(4), out)
	DECQ(rows)
	JMP(LabelRef("row"))
	Label("done")
	VZEROUPPER()
	RET()
}

// sumTo stores the sum of the eight numbers of y.
func sumTo(out reg.Register, y reg.VecVirtual) {
	h, s := XMM(), XMM()
	VEXTRACTI128(Imm(1), y, h)
	VPADDD(h, y.AsX(), h)
	VPSHUFD(Imm(0x4e), h, s)
	VPADDD(s, h, h)
	VPSHUFD(Imm(0xb1), h, s)
	VPADDD(s, h, h)
	VMOVD(h, Mem{Base: out})
}
