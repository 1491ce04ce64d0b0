package meter

// This file reads what has initial values: globals, element segments and data segments.

func (p *parser) global() Global {
	g := Global{Type: p.valueType()}
	at := p.pos
	switch m := p.byte(); m {
	case 0, 1:
		g.Mutable = m == 1
	case 2, 3:
		p.fail(at, CodeUnsupported, "a shared global (threads) is not supported")
	default:
		p.fail(at, CodeMalformed, "mutability is 0 or 1, not %d", m)
	}
	return g
}

func (p *parser) readGlobals(s *section) {
	at := p.pos
	p.begin(s, "globals", 4, p.opts.Globals)
	p.atMost(at, s.count+len(p.globals), p.opts.Globals, "globals")
	for range s.count {
		g := p.global()
		p.constant(s)
		if p.failed() {
			return
		}
		p.globals = append(p.globals, g)
	}
}

// constant reads an initial value or offset: one constant instruction.
func (p *parser) constant(s *section) {
	at := p.pos
	op := p.byte()
	switch op {
	case opI32Const:
		p.signed(32)
	case opI64Const:
		p.signed(64)
	case opF32Const:
		p.skip(4)
	case opF64Const:
		p.skip(8)
	case opGlobalGet:
		p.index("global", len(p.globals))
	case opRefNull:
		p.refType()
	case opRefFunc:
		p.take(p.functionIndex(s))
	case opVector:
		if sub := p.u32(); !p.failed() && sub != vectorConst {
			p.fail(at, CodeInvalid, "vector instruction %#x is not constant", sub)
		}
		p.skip(16)
	case opEnd:
		p.fail(at, CodeInvalid, "an initial value is empty")
	default:
		if !p.failed() {
			p.fail(at, CodeInvalid, "instruction %#x is not constant", op)
		}
	}
	at = p.pos
	if op := p.byte(); !p.failed() && op != opEnd {
		p.fail(at, CodeUnsupported, "an initial value of several instructions (extended constants) is not supported")
	}
}

func (p *parser) readElements(s *section) {
	p.begin(s, "element segments", 2, p.opts.ElementSegments)
	for range s.count {
		p.element(s)
		if p.failed() {
			return
		}
	}
}

// element reads an element segment. Its first number says what it consists of: bit 0 that it
// is not active, bit 1 that it names its table (or, not active, that it is declarative), bit 2
// that its elements are expressions.
func (p *parser) element(s *section) {
	at := p.pos
	flags := p.u32()
	if flags > 7 {
		p.fail(at, CodeMalformed, "element segments of kind %d do not exist", flags)
		return
	}
	active, second, expressions := flags&1 == 0, flags&2 != 0, flags&4 != 0
	if active {
		into := 0
		if at = p.pos; second {
			into = int(p.u32())
		}
		if !p.failed() && into >= len(p.tables) {
			p.fail(at, CodeInvalid, "table %d does not exist: there are %d", into, len(p.tables))
		}
		p.constant(s)
	}
	if !active || second {
		at = p.pos
		if expressions {
			p.refType()
		} else if kind := p.byte(); !p.failed() && kind != 0 {
			p.fail(at, CodeMalformed, "elements of kind %d do not exist", kind)
		}
	}
	size := 1
	if expressions {
		size = 3
	}
	n := p.count("elements", size)
	p.elements += n
	p.atMost(at, p.elements, p.opts.Elements, "elements of segments")
	p.module.InitialFuel += int64(n)
	for range n {
		if expressions {
			p.constant(s)
		} else {
			p.take(p.functionIndex(s))
		}
		if p.failed() {
			return
		}
	}
}

func (p *parser) readData(s *section) {
	p.begin(s, "data segments", 2, p.opts.DataSegments)
	for range s.count {
		at := p.pos
		flags := p.u32()
		switch {
		case flags > 2:
			p.fail(at, CodeMalformed, "data segments of kind %d do not exist", flags)
		case flags == 2:
			p.index("memory", len(p.memories))
		case flags == 0 && len(p.memories) == 0:
			p.fail(at, CodeInvalid, "memory 0 does not exist: there are 0")
		}
		if flags != 1 {
			p.constant(s)
		}
		n := p.count("bytes of data", 1)
		p.skip(n)
		if p.failed() {
			return
		}
		if flags != 1 {
			p.module.InitialFuel += int64(n) / BytesPerUnit
		}
	}
}
