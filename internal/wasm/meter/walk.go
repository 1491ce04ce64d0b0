package meter

import (
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// A function is the code of one function, and which of the section's edits are its own.
type function struct {
	start, end int // in the module, without the size
	edits      int // how many edits there are before its end
	first      int // its first edit: the charge of its start
	locals     int
	shape      frameShape
	effort     effort
	compile    time.Duration
	memory     caxton.Size // for compiling
	price      int64       // what its frame takes from the stack; 0: nothing
	block      int64       // the type of a block with its results, when it has a price
}

func (p *parser) readCode(s *section) {
	p.begin(s, "function bodies", 3, p.opts.Functions)
	if want := len(p.functions) - p.imported.functions; !p.failed() && s.count != want {
		p.fail(s.start, CodeMalformed, "%d functions are declared, and %d have code", want, s.count)
		return
	}
	var f flow
	end := p.end
	p.graph.seen = make([]int, s.count+1)
	for i := range s.count {
		at := p.pos
		size := p.count("bytes of a function", 1)
		p.place.function = p.imported.functions + i
		p.atMost(at, size, p.opts.FunctionBytes, "bytes of a function")
		if p.failed() {
			return
		}
		start, first := p.pos, len(s.edits)
		p.end = start + size
		locals := p.readBody(s, &f)
		if p.failed() {
			return
		}
		if p.remaining() > 0 {
			p.fail(p.pos, CodeMalformed, "%d bytes are left over behind its end", p.remaining())
			return
		}
		p.module.Counts.CodeBytes += size
		s.functions = append(s.functions, function{start: start, end: p.end, edits: len(s.edits), first: first, locals: locals, shape: f.shape, effort: f.effort})
		p.graph.ends = append(p.graph.ends, len(p.graph.callees))
		p.end = end
	}
	p.place.function = -1
	p.settle(s)
}

// readBody reads the locals and instructions of a function and notes what to change. It
// returns how many locals there are.
func (p *parser) readBody(s *section, f *flow) int {
	locals, vector := p.readLocals()
	t := &p.types[p.functions[p.place.function]]
	p.width, p.joins = locals+len(t.Parameters), 0
	f.width = p.width
	p.mask.begin(p.width)
	f.begin(p.pos, costEntry+locals/LocalsPerUnit, &s.edits)
	f.frames[0].carries = len(t.Results)
	f.shape.values += len(t.Parameters) + len(t.Results)
	f.shape.vector = vector || slices.Contains(t.Parameters, V128) || slices.Contains(t.Results, V128)
	for len(f.frames) > 0 {
		at := p.pos
		op := p.byte()
		if p.failed() {
			return 0
		}
		f.spend(cost(op))
		f.shape.values += weight(op)
		f.effort.step(op)
		zero := false
		switch operandOf(op) {
		case nothing:
			p.mask.plain(s, op, at)
			continue
		case control:
			p.control(s, f, op, at)
			p.mask.control()
			continue
		case callee:
			i := p.functionIndex(s)
			if op == opRefFunc {
				p.take(i)
			} else {
				p.calls(f, i)
			}
		case indirect:
			p.calls(f, -1)
			t := p.index("type", len(p.types))
			p.index("table", len(p.tables))
			p.passes(f, t)
		case local:
			p.mask.local(op, p.u32(), p.place.function)
			if op != opLocalGet {
				f.set()
			}
			continue
		case global:
			p.index("global", len(p.globals))
			f.shape.globals++
			f.change()
		case table:
			p.index("table", len(p.tables))
		case memory:
			p.access(at)
		case memoryZero:
			p.zero()
			if op == opMemoryGrow {
				p.call(s, at, callPages)
				f.change()
			}
		case constantI32:
			zero = p.signed(32) == 0
		case constantI64:
			zero = p.signed(64) == 0
		case constantF32:
			p.skip(4)
		case constantF64:
			p.skip(8)
		case reference:
			p.refType()
		case selectType:
			if n := p.u32(); !p.failed() && n != 1 {
				p.fail(at, CodeInvalid, "a select of %d types does not exist", n)
			}
			p.valueType()
		case prefix:
			if op == opVector {
				f.shape.vector = true
				p.vector(s, f, at)
			} else {
				f.change()
				p.misc(s, f, at)
			}
		case unknown:
			p.refuse(at, op)
		}
		p.mask.other(op, zero)
	}
	f.finish()
	return locals
}

// calls notes a call in the function that is being read, of a function or, below zero, through
// a table.
func (p *parser) calls(f *flow, callee int) {
	f.small = false
	f.effort.calls++
	f.change()
	if callee < 0 {
		f.effort.pop(1)
	}
	from := p.place.function - p.imported.functions
	switch i := callee - p.imported.functions; {
	case p.failed():
	case callee < 0:
		p.graph.call(from, len(p.functions)-p.imported.functions)
	case i >= 0:
		p.graph.call(from, i)
		p.passes(f, p.functions[callee])
	default:
		p.passes(f, p.functions[callee])
	}
}

// passes notes that a function of type t is called.
func (p *parser) passes(f *flow, t int) {
	if p.failed() {
		return
	}
	parameters, results := len(p.types[t].Parameters), len(p.types[t].Results)
	f.effort.pop(parameters)
	f.effort.push(results)
	f.shape.values += results
	f.shape.carried = max(f.shape.carried, parameters+results)
	f.shape.vector = f.shape.vector || slices.Contains(p.types[t].Parameters, V128) || slices.Contains(p.types[t].Results, V128)
}

// readLocals reads how many locals there are, and whether one is a vector.
func (p *parser) readLocals() (total int, vector bool) {
	for n := p.count("groups of locals", 2); n > 0 && !p.failed(); n-- {
		at := p.pos
		many := p.u32()
		vector = p.valueType() == V128 || vector
		if int64(total)+int64(many) > int64(p.opts.Locals) {
			p.fail(at, CodeTooLarge, "%d locals are over the limit of %d", int64(total)+int64(many), p.opts.Locals)
			return 0, false
		}
		total += int(many)
	}
	return total, vector
}

// call puts a call of a hidden function before the instruction at pos, to charge for the
// size that is on top of the stack; the function returns what it is given.
func (p *parser) call(s *section, pos, which int) {
	n := len(s.edits)
	if n > 0 && s.edits[n-1].pos > pos { // that of a subcode
		n--
	}
	s.edits = slices.Insert(s.edits, n, edit{pos: pos, what: changeCall, arg: which})
}

// control reads the rest of an instruction that changes the flow.
func (p *parser) control(s *section, f *flow, op byte, at int) {
	switch op {
	case opBlock, opLoop, opIf:
		takes, gives := p.blockType()
		if len(f.frames) > p.opts.Nesting {
			p.fail(at, CodeTooLarge, "blocks are nested deeper than %d", p.opts.Nesting)
			return
		}
		double := op == opLoop && p.pos == at+2 && p.buf[at+1] >= 0x40 && f.charge != dead
		if double {
			s.edits = append(s.edits, edit{pos: at, what: changeOpen, arg: int(p.buf[at+1])})
		}
		f.open(op, p.pos, double)
		switch op {
		case opIf:
			f.effort.pop(1)
			f.effort.forks++
		case opLoop:
			f.effort.loops++
		}
		f.effort.pop(takes)
		top := &f.frames[len(f.frames)-1]
		top.carries, top.takes, top.gives, top.height = max(takes, gives), takes, gives, f.effort.height
		f.effort.push(takes)
		f.effort.block(2, f.width)
	case opElse:
		if f.frames[len(f.frames)-1].op != opIf {
			p.fail(at, CodeMalformed, "else without if")
			return
		}
		f.otherwise(p.pos)
		f.rest()
	case opEnd:
		last := len(f.frames) - 1
		if last == 0 {
			s.edits = append(s.edits, edit{pos: at, what: changeLeave})
		} else if f.frames[last].double > f.frames[last-1].double {
			s.edits = append(s.edits, edit{pos: p.pos, what: changeClose})
		}
		f.effort.height = f.frames[last].height + f.frames[last].gives
		f.effort.block(1, f.width)
		f.close(p.pos)
	case opBr:
		p.label(s, f)
		f.stop()
		f.rest()
	case opBrIf:
		f.effort.pop(1)
		f.effort.forks++
		p.label(s, f)
		f.fork(p.pos)
		f.effort.block(1, f.width)
	case opBrTable:
		n := p.count("branch targets", 1)
		p.atMost(at, n, p.opts.BranchTargets, "branch targets")
		for i := 0; i <= n && !p.failed(); i++ {
			p.label(s, f)
			f.effort.block(1, f.width)
		}
		f.stop()
		f.rest()
	case opReturn:
		out := len(f.frames) - 1
		s.edits = append(s.edits, edit{pos: at, cut: 1, what: changeReturn, arg: out + f.frames[out].double})
		f.branch(out)
		f.stop()
		f.rest()
	case opUnreachable:
		f.stop()
		f.rest()
	}
}

func (p *parser) label(s *section, f *flow) {
	at := p.pos
	depth := p.index("label", len(f.frames))
	if p.failed() {
		return
	}
	f.branch(depth)
	top := len(f.frames) - 1
	p.joins += p.width + f.frames[top-depth].carries
	p.atMost(at, p.joins, p.opts.Joins, "values on branches")
	if more := f.frames[top].double - f.frames[top-depth].double; more > 0 {
		s.edits = append(s.edits, edit{pos: at, cut: p.pos - at, what: changeNumber, arg: depth + more})
	}
}

// blockType reads the type of a block: none, one result, or the index of a type. It returns how
// many values the block takes and gives.
func (p *parser) blockType() (takes, gives int) {
	at := p.pos
	if p.remaining() > 0 && p.buf[p.pos] == emptyBlock {
		p.pos++
		return 0, 0
	}
	if p.remaining() > 0 && p.buf[p.pos]&0xc0 == 0x40 { // a negative number of one byte
		p.valueType()
		return 0, 1
	}
	i := p.signed(33)
	if !p.failed() && (i < 0 || i >= int64(len(p.types))) {
		p.fail(at, CodeInvalid, "type %d does not exist: there are %d", i, len(p.types))
	}
	if p.failed() {
		return 0, 0
	}
	return len(p.types[i].Parameters), len(p.types[i].Results)
}

// access reads alignment and offset of a load or store.
func (p *parser) access(at int) {
	if align := p.u32(); align >= 32 {
		p.fail(at, CodeMalformed, "an access with alignment %#x (multiple memories or memory64) is not supported", align)
	}
	p.u32()
	p.needMemory(at)
}

func (p *parser) needMemory(at int) {
	if !p.failed() && len(p.memories) == 0 {
		p.fail(at, CodeInvalid, "memory 0 does not exist: there are 0")
	}
}

// zero reads the byte that stands for memory 0.
func (p *parser) zero() {
	at := p.pos
	if b := p.byte(); b != 0 {
		p.fail(at, CodeUnsupported, "memory %d (multiple memories) is not supported", b)
	}
	p.needMemory(at)
}

// subcode reads the opcode behind a prefix. It may be written longer than it is; readers do not
// agree on that, so it is made short.
func (p *parser) subcode(s *section) uint32 {
	at := p.pos
	sub := p.u32()
	if n := p.pos - at; n > 1 && !p.failed() && (sub < 0x80 || n > 2) {
		s.edits = append(s.edits, edit{pos: at, cut: n, what: changeNumber, arg: int(sub)})
	}
	return sub
}

// misc reads an instruction behind opMisc; at is where the prefix is.
func (p *parser) misc(s *section, f *flow, at int) {
	sub := p.subcode(s)
	f.spend(miscCost(sub) - 1) // the prefix counted as one
	f.effort.stepMisc(sub)
	switch sub {
	case 0, 1, 2, 3, 4, 5, 6, 7: // conversions that saturate
	case miscMemoryInit:
		p.call(s, at, callBytes)
		p.segment("data segment", p.dataCount)
		p.zero()
	case miscDataDrop:
		p.segment("data segment", p.dataCount)
	case miscMemoryCopy:
		p.call(s, at, callBytes)
		p.zero()
		p.zero()
	case miscMemoryFill:
		p.call(s, at, callBytes)
		p.zero()
	case miscTableInit:
		p.call(s, at, callElements)
		p.segment("element segment", p.counted(elementSection))
		p.index("table", len(p.tables))
	case miscElemDrop:
		p.segment("element segment", p.counted(elementSection))
	case miscTableCopy:
		p.call(s, at, callElements)
		p.index("table", len(p.tables))
		p.index("table", len(p.tables))
	case miscTableGrow, miscTableFill:
		p.call(s, at, callElements)
		p.index("table", len(p.tables))
	case miscTableSize:
		p.index("table", len(p.tables))
	default:
		p.fail(at, CodeUnsupported, "instruction 0xfc %#x is not supported", sub)
	}
}

// segment reads the index of a segment; without a data count section there are -1 of them.
func (p *parser) segment(what string, n int) {
	if n < 0 {
		p.fail(p.pos, CodeMalformed, "it uses a data segment, and has no data count section")
		return
	}
	p.index(what, n)
}

// vector reads an instruction of fixed-width SIMD; at is where the prefix is.
func (p *parser) vector(s *section, f *flow, at int) {
	sub := p.subcode(s)
	f.effort.stepVector(sub)
	if p.failed() {
		return
	}
	switch vectorOperandOf(sub) {
	case vectorNothing:
	case vectorMemory:
		p.access(at)
	case vectorMemoryLane:
		p.access(at)
		p.byte()
	case vectorBytes:
		p.skip(16)
	case vectorLane:
		p.byte()
	case vectorUnknown:
		p.fail(at, CodeUnsupported, "vector instruction %#x (relaxed SIMD or unknown) is not supported", sub)
	}
}

// refuse names the feature that an opcode belongs to.
func (p *parser) refuse(at int, op byte) {
	if feature := featureOf(op); feature != "" {
		p.fail(at, CodeUnsupported, "instruction %#x (%s) is not supported", op, feature)
		p.hint("build the module for WebAssembly 2.0, without %s", feature)
		return
	}
	p.fail(at, CodeMalformed, "there is no instruction %#x", op)
}
