package meter

// This file keeps a mistake of the engine away from guests. The compiler of wazero 1.12.0 for
// amd64 makes one instruction of a comparison of 0 with x & y that a branch follows. It does not
// mind on which side the 0 is: 0 < (x & y) becomes (x & y) < 0, signed or not. Only == and != are
// the same both ways.
//
// It sees through locals, and a local that was never set is a 0 for it. So a comparison of less
// or more whose second operand may be x & y gets an instruction between, x & y | 0, which the
// engine leaves as it is. Which operands may be is found in one pass, and too many are found
// rather than too few: all but what an instruction has just made.

// A mask knows whether the value on top of the stack may be x & y.
type mask struct {
	top    bool
	locals []int // by local: the last function in which it was set to what may be x & y, and one
}

// begin starts a function with so many parameters and locals.
func (m *mask) begin(width int) {
	m.top = false
	if len(m.locals) < width {
		m.locals = append(m.locals, make([]int, width-len(m.locals))...)
	}
}

// compares reports whether an instruction compares two integers by their order.
func compares(op byte) bool {
	return op >= opI32LtS && op <= opI32GeU || op >= opI64LtS && op <= opI64GeU
}

// plain notes an instruction without an operand, of function f, at pos.
func (m *mask) plain(s *section, op byte, pos int) {
	if m.top && compares(op) {
		wide := 0
		if op >= opI64LtS {
			wide = 1
		}
		s.edits = append(s.edits, edit{pos: pos, what: changeUnmask, arg: wide})
	}
	m.top = op == opI32And || op == opI64And || op == opDrop || op == opNop
}

// local notes an instruction on local i of function f.
func (m *mask) local(op byte, i uint32, f int) {
	if int64(i) >= int64(len(m.locals)) { // the engine refuses it
		return
	}
	if op == opLocalGet {
		m.top = m.locals[i] == f+1
		return
	}
	if m.top {
		m.locals[i] = f + 1
	}
	m.top = m.top || op == opLocalSet // what it was on top of
}
