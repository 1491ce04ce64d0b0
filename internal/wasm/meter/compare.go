package meter

// This file keeps mistakes of the engine away from guests. The compilers of wazero 1.12.0 make one
// instruction of a comparison of x & y with 0 that a branch follows. That of amd64 does not mind
// on which side the 0 is: 0 < (x & y) becomes (x & y) < 0, signed or not. That of arm64 does the
// same, and is wrong about unsigned order on either side. Only == and != are right everywhere.
//
// They see through locals, and a local that was never set is a 0 for them. So the second operand
// of a comparison of less or more gets an instruction between, | 0, which the engine leaves as
// it is, when it may be x & y, or a 0 in an unsigned comparison with what may be x & y. Whether it
// may is found in one pass, and too much is found rather than too little. The engine only looks
// back to the last instruction that has an effect, such as a store or a call.

// A mask knows what of this the next comparison may meet.
type mask struct {
	near   bool  // there was an and since the last effect
	top    bool  // the value on top of the stack may be x & y
	zero   bool  // it may be a constant 0
	locals []int // by local: the last function in which it was set to what may be x & y, and one
}

// begin starts a function with so many parameters and locals.
func (m *mask) begin(width int) {
	m.near, m.top, m.zero = false, false, false
	if len(m.locals) < width {
		m.locals = append(m.locals, make([]int, width-len(m.locals))...)
	}
}

// compares reports whether an instruction compares two integers by their order.
func compares(op byte) bool {
	return op >= opI32LtS && op <= opI32GeU || op >= opI64LtS && op <= opI64GeU
}

// unsigned reports whether one that does takes them for unsigned.
func unsigned(op byte) bool {
	if op >= opI64LtS {
		return op&1 == 0
	}
	return op&1 == 1
}

// plain notes an instruction without an operand, at pos.
func (m *mask) plain(s *section, op byte, pos int) {
	if m.near && compares(op) && (m.top || m.zero && unsigned(op)) {
		wide := 0
		if op >= opI64LtS {
			wide = 1
		}
		s.edits = append(s.edits, edit{pos: pos, what: changeUnmask, arg: wide})
	}
	and, bares := op == opI32And || op == opI64And, op == opDrop || op == opNop
	m.near = m.near || and
	m.top, m.zero = and || bares, bares
}

// local notes an instruction on local i of function f.
func (m *mask) local(op byte, i uint32, f int) {
	m.zero = true
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

// control notes an instruction that changes the flow.
func (m *mask) control() { m.top, m.zero = true, true }

// other notes any other instruction, and whether it makes a 0.
func (m *mask) other(op byte, zero bool) {
	m.top, m.zero = false, zero
	switch {
	case op == opCall, op == opCallIndirect, op == opGlobalSet, op >= opI32Store && op <= opI64Store32:
		m.near = false
	}
}
