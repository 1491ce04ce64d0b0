package meter

import "fmt"

// The opcodes the meter looks at or writes.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opNop          = 0x01
	opDrop         = 0x1a
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opI32Store     = 0x36
	opI64Store32   = 0x3e
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32LeU       = 0x4d
	opI32LtS       = 0x48
	opI32GeU       = 0x4f
	opI64LtS       = 0x53
	opI64GeU       = 0x5a
	opI32And       = 0x71
	opI32Or        = 0x72
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Mul       = 0x7e
	opI64DivU      = 0x80
	opI64And       = 0x83
	opI64Or        = 0x84
	opI64ExtendU   = 0xad // i64.extend_i32_u
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd
	opAtomic       = 0xfe

	emptyBlock = 0x40
)

// What follows opMisc.
const (
	miscMemoryInit = 0x08
	miscDataDrop   = 0x09
	miscMemoryCopy = 0x0a
	miscMemoryFill = 0x0b
	miscTableInit  = 0x0c
	miscElemDrop   = 0x0d
	miscTableCopy  = 0x0e
	miscTableGrow  = 0x0f
	miscTableSize  = 0x10
	miscTableFill  = 0x11
)

// vectorConst and vectorShuffle follow opVector and have 16 bytes behind them.
const (
	vectorConst   = 0x0c
	vectorShuffle = 0x0d
)

// An operand is what follows an opcode of one byte.
type operand byte

const (
	unknown     operand = iota // no instruction of ours
	nothing                    // the opcode is all
	control                    // changes the flow within the function: walk.go reads it
	callee                     // a function index
	indirect                   // a type and a table index
	local                      // a local index, for the engine to check
	global                     // a global index
	table                      // a table index
	memory                     // alignment and offset of an access
	memoryZero                 // the byte 0
	constantI32                // a number
	constantI64                // a number
	constantF32                // four bytes
	constantF64                // eight bytes
	reference                  // a reference type
	selectType                 // a list of one type
	prefix                     // a further opcode
)

// operandOf returns what follows an opcode.
func operandOf(op byte) operand {
	switch {
	case op <= opIf, op == opElse, op == opEnd, op >= opBr && op <= opReturn:
		if op == 0x01 {
			return nothing
		}
		return control
	case op == opCall, op == opRefFunc:
		return callee
	case op == opCallIndirect:
		return indirect
	case op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
		return nothing
	case op == 0x1c:
		return selectType
	case op >= 0x20 && op <= 0x22:
		return local
	case op == 0x23, op == 0x24:
		return global
	case op == 0x25, op == 0x26:
		return table
	case op >= 0x28 && op <= 0x3e:
		return memory
	case op == 0x3f, op == 0x40:
		return memoryZero
	case op == opI32Const:
		return constantI32
	case op == opI64Const:
		return constantI64
	case op == opF32Const:
		return constantF32
	case op == opF64Const:
		return constantF64
	case op == opRefNull:
		return reference
	case op == opMisc, op == opVector:
		return prefix
	default:
		return unknown
	}
}

// A vectorOperand is what follows an opcode behind opVector.
type vectorOperand byte

const (
	vectorUnknown vectorOperand = iota
	vectorNothing
	vectorMemory     // alignment and offset
	vectorMemoryLane // alignment, offset and lane
	vectorBytes      // sixteen bytes
	vectorLane       // a lane
)

func vectorOperandOf(op uint32) vectorOperand {
	switch {
	case op <= 0x0b, op == 0x5c, op == 0x5d:
		return vectorMemory
	case op == vectorConst, op == vectorShuffle:
		return vectorBytes
	case op >= 0x15 && op <= 0x22:
		return vectorLane
	case op >= 0x54 && op <= 0x5b:
		return vectorMemoryLane
	case op > 0xff:
		return vectorUnknown
	}
	switch op { // the gaps in the list of fixed-width SIMD
	case 0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6,
		0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee:
		return vectorUnknown
	}
	return vectorNothing
}

// featureOf names the proposal that an unknown opcode belongs to.
func featureOf(op byte) string {
	switch {
	case op >= 0x06 && op <= 0x0a, op == 0x18, op == 0x19, op == 0x1f:
		return "exception handling"
	case op == 0x12, op == 0x13:
		return "tail calls"
	case op == 0x14, op == 0x15, op >= 0xd4 && op <= 0xd6:
		return "typed function references"
	case op == 0xd3, op == 0xfb:
		return "garbage collection"
	case op >= 0xe0 && op <= 0xe7:
		return "stack switching"
	case op == opAtomic:
		return "threads"
	default:
		return ""
	}
}

// A ValueType is the type of a parameter, result, global or element.
type ValueType byte

// The value types of WebAssembly 2.0.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

// String returns the name the text format has for t.
func (t ValueType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	default:
		return fmt.Sprintf("type %#x", byte(t))
	}
}

func (r *reader) valueType() ValueType {
	start := r.pos
	switch t := ValueType(r.byte()); t {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef:
		return t
	case 0x63, 0x64, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73, 0x74:
		r.fail(start, CodeUnsupported, "value type %#x (typed references, garbage collection or exception handling) is not supported", byte(t))
	default:
		r.fail(start, CodeMalformed, "there is no value type %#x", byte(t))
	}
	return 0
}

func (r *reader) refType() ValueType {
	start := r.pos
	t := r.valueType()
	if !r.failed() && t != FuncRef && t != ExternRef {
		r.fail(start, CodeMalformed, "%s is no reference type", t)
	}
	return t
}
