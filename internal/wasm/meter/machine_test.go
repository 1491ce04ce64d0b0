package meter_test

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/caxton/caxton/internal/wasm/meter"
)

// This file runs programs, slowly and one instruction at a time, and counts. It knows nothing
// of the rewriting: what it counts is what docs/fuel.md says.

var (
	errTrap  = errors.New("trap")
	errSteps = errors.New("too many steps")
)

// A machine runs a program and counts.
type machine struct {
	program *program
	fuel    int64
	limit   int64
	depth   int
	memory  []byte
	globals []uint32
	table   []int // function, or -1
}

func newMachine(p *program, limit int64) *machine {
	m := &machine{program: p, limit: limit, memory: make([]byte, p.pages*65536), globals: make([]uint32, p.globals)}
	for i := range m.globals {
		m.globals[i] = 7
	}
	m.table = append(m.table, p.table...)
	return m
}

type activation struct {
	locals []uint32
	stack  []int64 // i32 as unsigned; a reference as its function or -1
}

func (a *activation) push(v uint32) { a.stack = append(a.stack, int64(v)) }
func (a *activation) pushBool(v bool) {
	if v {
		a.push(1)
	} else {
		a.push(0)
	}
}

func (a *activation) popRef() int64 {
	v := a.stack[len(a.stack)-1]
	a.stack = a.stack[:len(a.stack)-1]
	return v
}
func (a *activation) pop() uint32 { return uint32(a.popRef()) }

// goOn is how a list of instructions ends: it goes on, or branches outwards by so many labels.
const goOn = -1

func (m *machine) call(f int, args []uint32) (uint32, error) {
	r := &m.program.routines[f]
	if m.depth++; m.depth > 500 {
		return 0, errSteps
	}
	defer func() { m.depth-- }()
	m.fuel += 1 + int64(r.locals)/8
	a := &activation{locals: append(append([]uint32{}, args...), make([]uint32, r.locals)...)}
	if _, err := m.list(a, r.body); err != nil {
		return 0, err
	}
	return a.pop(), nil
}

// list runs instructions; where it branches to is the number of labels outwards.
func (m *machine) list(a *activation, nodes []node) (int, error) {
	for i := range nodes {
		to, err := m.step(a, &nodes[i])
		if err != nil || to != goOn {
			return to, err
		}
	}
	return goOn, nil
}

// block runs the body of a block, if or loop; the label's values stay on the stack.
func (m *machine) block(a *activation, n *node, body []node) (int, error) {
	height := len(a.stack)
	for {
		to, err := m.list(a, body)
		switch {
		case err != nil:
			return 0, err
		case to > 0:
			return to - 1, nil
		case to == 0 && n.op == nLoop:
			a.stack = a.stack[:height]
			continue
		case n.result:
			top := a.popRef()
			a.stack = append(a.stack[:height], top)
		default:
			a.stack = a.stack[:height]
		}
		return goOn, nil
	}
}

func (m *machine) step(a *activation, n *node) (int, error) {
	m.fuel += nodeCost(n)
	if m.fuel > m.limit {
		return 0, errSteps
	}
	switch n.op {
	case nBlock, nLoop:
		return m.block(a, n, n.body)
	case nIf:
		if a.pop() != 0 {
			return m.block(a, n, n.body)
		}
		return m.block(a, n, n.otherwise)
	case nBr:
		return int(n.imm), nil
	case nBrIf:
		if a.pop() != 0 {
			return int(n.imm), nil
		}
	case nBrTable:
		return n.targets[min(int(a.pop()), len(n.targets)-1)], nil
	case nReturn:
		return 1 << 20, nil
	case nUnreachable:
		return 0, errTrap
	case nCall, nIndirect:
		return goOn, m.invoke(a, n)
	case nMisc:
		return goOn, m.bulk(a, n)
	case nLoad, nStore, nLoad8, nStore8:
		return goOn, m.access(a, n)
	default:
		return goOn, m.simple(a, n)
	}
	return goOn, nil
}

func nodeCost(n *node) int64 {
	switch n.op {
	case nBlock, nLoop:
		return 0
	case nMemoryGrow:
		return 60
	case nRefFunc:
		return 20
	case nMisc:
		switch n.misc {
		case 8, 10, 11, 12, 14, 17:
			return 10
		case 15:
			return 60
		}
	}
	return 1
}

func (m *machine) invoke(a *activation, n *node) error {
	f := int(n.imm)
	if n.op == nIndirect {
		at := a.pop()
		if int64(at) >= int64(len(m.table)) || m.table[at] < 0 {
			return errTrap
		}
		if f = m.table[at]; m.program.routines[f].params != int(n.imm) {
			return errTrap
		}
	}
	args := make([]uint32, m.program.routines[f].params)
	for i := len(args) - 1; i >= 0; i-- {
		args[i] = a.pop()
	}
	v, err := m.call(f, args)
	a.push(v)
	return err
}

func (m *machine) access(a *activation, n *node) error {
	var value uint32
	if n.op == nStore || n.op == nStore8 {
		value = a.pop()
	}
	size := map[byte]int64{nLoad: 4, nStore: 4, nLoad8: 1, nStore8: 1}[n.op]
	at := int64(a.pop()) + n.imm
	if at+size > int64(len(m.memory)) {
		return errTrap
	}
	switch n.op {
	case nLoad:
		a.push(binary.LittleEndian.Uint32(m.memory[at:]))
	case nLoad8:
		a.push(uint32(m.memory[at]))
	case nStore:
		binary.LittleEndian.PutUint32(m.memory[at:], value)
	case nStore8:
		m.memory[at] = byte(value)
	}
	return nil
}

func inside(at, n uint32, length int) bool { return int64(at)+int64(n) <= int64(length) }

// bulk runs the instructions behind 0xfc that programs use.
func (m *machine) bulk(a *activation, n *node) error {
	if n.misc == 16 { // table.size
		a.push(uint32(len(m.table)))
		return nil
	}
	size := a.pop()
	if n.misc == 15 { // table.grow
		ref := a.popRef()
		if size <= m.program.maxTable {
			m.fuel += int64(size)
		}
		old := len(m.table)
		if int64(old)+int64(size) > int64(m.program.maxTable) {
			a.push(1<<32 - 1)
			return nil
		}
		for range size {
			m.table = append(m.table, int(ref))
		}
		a.push(uint32(old))
		return nil
	}
	if n.misc == 17 { // table.fill
		ref, at := a.popRef(), a.pop()
		m.fuel += m.elements(size)
		if !inside(at, size, len(m.table)) {
			return errTrap
		}
		for i := range size {
			m.table[at+i] = int(ref)
		}
		return nil
	}
	from, to := a.pop(), a.pop()
	switch n.misc {
	case 8: // memory.init
		m.fuel += m.bytes(size)
		if !inside(from, size, len(m.program.data)) || !inside(to, size, len(m.memory)) {
			return errTrap
		}
		copy(m.memory[to:], m.program.data[from:from+size])
	case 10: // memory.copy
		m.fuel += m.bytes(size)
		if !inside(from, size, len(m.memory)) || !inside(to, size, len(m.memory)) {
			return errTrap
		}
		copy(m.memory[to:], m.memory[from:from+size])
	case 11: // memory.fill
		m.fuel += m.bytes(size)
		if !inside(to, size, len(m.memory)) {
			return errTrap
		}
		for i := range size {
			m.memory[to+i] = byte(from)
		}
	case 12, 14: // table.init, table.copy
		source := m.table
		if n.misc == 12 {
			source = m.program.table
		}
		m.fuel += m.elements(size)
		if !inside(from, size, len(source)) || !inside(to, size, len(m.table)) {
			return errTrap
		}
		copy(m.table[to:], source[from:from+size])
	}
	return nil
}

// bytes is what size bytes of memory cost: nothing when there can never be so many.
func (m *machine) bytes(size uint32) int64 {
	if int64(size) > int64(m.program.maxPages)*65536 {
		return 0
	}
	return int64(size) / meter.BytesPerUnit
}

// elements is what size table elements cost: nothing when there can never be so many.
func (m *machine) elements(size uint32) int64 {
	if size > m.program.maxTable {
		return 0
	}
	return int64(size)
}

func (m *machine) simple(a *activation, n *node) error {
	switch n.op {
	case nNop:
	case nDrop:
		a.popRef()
	case nSelect:
		c, y, x := a.pop(), a.pop(), a.pop()
		if c == 0 {
			x = y
		}
		a.push(x)
	case nConst:
		a.push(uint32(n.imm))
	case nLocalGet:
		a.push(a.locals[n.imm])
	case nLocalSet:
		a.locals[n.imm] = a.pop()
	case nLocalTee:
		a.locals[n.imm] = uint32(a.stack[len(a.stack)-1])
	case nGlobalGet:
		a.push(m.globals[n.imm])
	case nGlobalSet:
		m.globals[n.imm] = a.pop()
	case nMemorySize:
		a.push(uint32(len(m.memory) / 65536))
	case nMemoryGrow:
		size := a.pop()
		if size <= m.program.maxPages {
			m.fuel += int64(size) * meter.UnitsPerPage
		}
		old := uint32(len(m.memory) / 65536)
		if int64(old)+int64(size) > int64(m.program.maxPages) {
			a.push(1<<32 - 1)
			return nil
		}
		m.memory = append(m.memory, make([]byte, size*65536)...)
		a.push(old)
	case nRefNull:
		a.stack = append(a.stack, -1)
	case nRefFunc:
		a.stack = append(a.stack, n.imm)
	case nRefIsNull:
		a.pushBool(a.popRef() < 0)
	case nTableGet:
		at := a.pop()
		if int64(at) >= int64(len(m.table)) {
			return errTrap
		}
		a.stack = append(a.stack, int64(m.table[at]))
	default:
		return m.arithmetic(a, n.op)
	}
	return nil
}

func (m *machine) arithmetic(a *activation, op byte) error {
	y := a.pop()
	if op == 0x45 { // i32.eqz
		a.pushBool(y == 0)
		return nil
	}
	x := a.pop()
	switch op {
	case 0x46:
		a.pushBool(x == y)
	case 0x48:
		a.pushBool(int32(x) < int32(y))
	case 0x49:
		a.pushBool(x < y)
	case 0x6a:
		a.push(x + y)
	case 0x6b:
		a.push(x - y)
	case 0x6c:
		a.push(x * y)
	case 0x6e, 0x70:
		if y == 0 {
			return errTrap
		}
		if op == 0x6e {
			a.push(x / y)
		} else {
			a.push(x % y)
		}
	case 0x71:
		a.push(x & y)
	case 0x73:
		a.push(x ^ y)
	case 0x74:
		a.push(x << (y & 31))
	case 0x77:
		a.push(bits.RotateLeft32(x, int(y&31)))
	default:
		panic("an opcode that programs do not use")
	}
	return nil
}
