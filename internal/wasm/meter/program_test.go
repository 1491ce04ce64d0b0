package meter_test

// This file holds programs as trees, and writes them as bytes for the engine.

// A node is one instruction, with its body when it is a block.
type node struct {
	op        byte
	misc      uint32 // behind the prefix 0xfc
	imm       int64
	targets   []int // of br_table, the default last
	body      []node
	otherwise []node // of an if; nil for no else
	result    bool   // the block gives an i32
}

// A routine is a function of a program. All values are i32.
type routine struct {
	params, locals int
	body           []node
}

// A program is a module: functions (params i32...) -> i32, one memory, one table, globals.
type program struct {
	routines []routine
	globals  int
	pages    uint32
	maxPages uint32
	table    []int // functions
	maxTable uint32
	data     []byte // a passive segment
}

const (
	nBlock, nLoop, nIf, nBr, nBrIf, nBrTable = 0x02, 0x03, 0x04, 0x0c, 0x0d, 0x0e
	nReturn, nCall, nIndirect                = 0x0f, 0x10, 0x11
	nUnreachable, nNop, nDrop, nSelect       = 0x00, 0x01, 0x1a, 0x1b
	nLocalGet, nLocalSet, nLocalTee          = 0x20, 0x21, 0x22
	nGlobalGet, nGlobalSet                   = 0x23, 0x24
	nLoad, nStore, nLoad8, nStore8           = 0x28, 0x36, 0x2d, 0x3a
	nMemorySize, nMemoryGrow, nConst         = 0x3f, 0x40, 0x41
	nMisc, nRefNull, nRefFunc, nRefIsNull    = 0xfc, 0xd0, 0xd2, 0xd1
	nTableGet                                = 0x25
)

func (n node) encode(b []byte) []byte {
	b = append(b, n.op)
	switch n.op {
	case nBlock, nLoop, nIf:
		switch {
		case n.result:
			b = append(b, 0x7f)
		case n.imm == typeByIndex:
			b = append(b, maxParams+1)
		default:
			b = append(b, 0x40)
		}
		b = encodeAll(b, n.body)
		if n.otherwise != nil {
			b = encodeAll(append(b, 0x05), n.otherwise)
		}
		b = append(b, 0x0b)
	case nBrTable:
		b = append(b, leb(uint64(len(n.targets)-1))...)
		for _, t := range n.targets {
			b = append(b, leb(uint64(t))...)
		}
	case nIndirect:
		b = append(append(b, leb(uint64(n.imm))...), 0)
	case nBr, nBrIf, nCall, nLocalGet, nLocalSet, nLocalTee, nGlobalGet, nGlobalSet, nRefFunc, nTableGet:
		b = append(b, leb(uint64(n.imm))...)
	case nLoad, nStore, nLoad8, nStore8:
		b = append(append(b, 0), leb(uint64(n.imm))...)
	case nMemorySize, nMemoryGrow:
		b = append(b, 0)
	case nConst:
		b = append(b, sleb(n.imm)...)
	case nRefNull:
		b = append(b, 0x70)
	case nMisc:
		b = append(b, leb(uint64(n.misc))...)
		switch n.misc {
		case 8, 10, 12, 14: // memory.init, memory.copy, table.init, table.copy
			b = append(b, 0, 0)
		default:
			b = append(b, 0)
		}
	}
	return b
}

func encodeAll(b []byte, nodes []node) []byte {
	for _, n := range nodes {
		b = n.encode(b)
	}
	return b
}

// signature is the index of the type with n parameters.
func signature(n int) int { return n }

const maxParams = 3

// typeByIndex is the imm of a block whose type is written as an index.
const typeByIndex = 1

func (p *program) bytes() []byte {
	var b builder
	for n := range maxParams + 1 {
		params := ""
		for range n {
			params += "i"
		}
		b.types = append(b.types, funcType(params, "i"))
	}
	b.types = append(b.types, funcType("", ""))
	for _, r := range p.routines {
		b.functions = append(b.functions, leb(uint64(signature(r.params))))
		locals := cat(leb(1), leb(uint64(r.locals)), []byte{0x7f})
		body := append(encodeAll(locals, r.body), 0x0b)
		b.codes = append(b.codes, cat(leb(uint64(len(body))), body))
	}
	b.tables = [][]byte{cat([]byte{0x70, 1}, leb(uint64(len(p.table))), leb(uint64(p.maxTable)))}
	b.memories = [][]byte{cat([]byte{1}, leb(uint64(p.pages)), leb(uint64(p.maxPages)))}
	for range p.globals {
		b.globals = append(b.globals, []byte{0x7f, 1, 0x41, 7, 0x0b})
	}
	b.exports = [][]byte{cat(str("run"), []byte{0, 0}), cat(str("memory"), []byte{2, 0})}
	elements := leb(uint64(len(p.table)))
	for _, f := range p.table {
		elements = append(elements, leb(uint64(f))...)
	}
	b.elements = [][]byte{
		cat([]byte{1, 0}, elements), // passive, number 0, for table.init
		cat([]byte{0, 0x41, 0, 0x0b}, elements),
	}
	b.data = [][]byte{cat([]byte{1}, leb(uint64(len(p.data))), p.data)}
	b.dataCount = true
	return b.bytes()
}
