package meter

import "math"

// The hidden functions, in the order they stand behind those of the original.
const (
	callRefuel   = iota // asks the host for more: () -> ()
	callBytes           // charges for bytes: (n) -> (n)
	callElements        // charges for table elements
	callPages           // charges for pages of memory
	hiddenFunctions
)

// The hidden types, in the order they stand behind those of the original.
const (
	typeNothing = iota // () -> ()
	typeSize           // (i32) -> (i32)
	typeBalance        // (i64) -> (i64)
	hiddenTypes
)

// The hooks, in the order they stand behind the imports of the original.
const (
	hookRefuel = iota
	hookOverflow
	hooks
)

// The gauges, in the order they stand behind the globals of the original.
const (
	gaugeFuel = iota
	gaugeStack
	gauges
)

// hiddenNames returns the names of the hidden functions, as they show up in a trap.
func hiddenNames() [hiddenFunctions]string {
	return [hiddenFunctions]string{
		callRefuel:   HookModule + ".look",
		callBytes:    HookModule + ".charge_bytes",
		callElements: HookModule + ".charge_elements",
		callPages:    HookModule + ".charge_pages",
	}
}

// gaugeNames returns the names of the gauges.
func gaugeNames() [gauges]string {
	return [gauges]string{gaugeFuel: FuelExport, gaugeStack: StackExport}
}

// hook is the index of an imported hook: they come behind the imports of the original.
func (p *parser) hook(which int) int { return p.imported.functions + which }

// renumbered is the new index of a function of the original.
func (p *parser) renumbered(i int) int {
	if i >= p.imported.functions {
		return i + hooks
	}
	return i
}

// hidden is the index of a hidden function.
func (p *parser) hidden(which int) int { return len(p.functions) + hooks + which }

// gauge is the index of a hidden global.
func (p *parser) gauge(which int) int { return len(p.globals) + which }

// emit writes the module anew.
func (p *parser) emit() []byte {
	out := make([]byte, 0, len(p.buf)+len(p.buf)/2+1024)
	out = append(out, p.buf[:8]...)
	custom := p.customs
	customsUpTo := func(position int) {
		for len(custom) > 0 && custom[0].after <= position {
			s := custom[0]
			custom = custom[1:]
			if !s.custom.Dropped && s != p.names.section {
				out = appendSection(out, customSection, p.buf[s.start:s.end])
			}
		}
	}
	customsUpTo(-1)
	for position, id := range order() {
		if content := p.content(id); content != nil {
			out = appendSection(out, id, content)
		}
		customsUpTo(position)
	}
	return appendSection(out, customSection, p.writeNames())
}

func appendSection(out []byte, id int, content []byte) []byte {
	out = appendU32(appendU32(out, id), len(content))
	return append(out, content...)
}

// content returns the new content of a section, or nil for no section.
func (p *parser) content(id int) []byte {
	s := p.sections[id]
	if s == nil {
		s = &section{id: id}
	}
	switch id {
	case typeSection:
		b := p.items(s, hiddenTypes+len(p.extra))
		b = append(b, 0x60, 0, 0)
		b = append(b, 0x60, 1, byte(I32), 1, byte(I32))
		b = append(b, 0x60, 1, byte(I64), 1, byte(I64))
		for _, results := range p.extra {
			b = appendU32(append(b, 0x60, 0), len(results))
			for _, t := range results {
				b = append(b, byte(t))
			}
		}
		return b
	case importSection:
		b := p.items(s, hooks)
		b = appendText(appendText(b, HookModule), HookName)
		b = appendU32(append(b, byte(FunctionKind)), p.hiddenType(typeBalance))
		b = appendText(appendText(b, HookModule), OverflowName)
		return appendU32(append(b, byte(FunctionKind)), p.hiddenType(typeNothing))
	case functionSection:
		b := p.items(s, hiddenFunctions)
		b = appendU32(b, p.hiddenType(typeNothing))
		for range hiddenFunctions - 1 {
			b = appendU32(b, p.hiddenType(typeSize))
		}
		return b
	case globalSection:
		b := append(p.items(s, gauges), byte(I64), 1, opI64Const, 0, opEnd)
		b = appendS64(append(b, byte(I64), 1, opI64Const), p.opts.Stack)
		return append(b, opEnd)
	case exportSection:
		b := p.items(s, gauges)
		for which, name := range gaugeNames() {
			b = appendText(b, name)
			b = appendU32(append(b, byte(GlobalKind)), p.gauge(which))
		}
		return b
	case codeSection:
		return p.code(s)
	}
	if p.sections[id] == nil {
		return nil
	}
	switch id {
	case tableSection:
		b := appendU32(nil, s.count)
		for _, t := range p.tables[p.imported.tables:] {
			b = append(b, byte(t.Type), 1)
			b = appendU32(appendU32(b, t.Min), t.Max)
		}
		return b
	case memorySection:
		b := appendU32(nil, s.count)
		for _, m := range p.memories[p.imported.memories:] {
			b = appendU32(appendU32(append(b, 1), m.Min), m.Max)
		}
		return b
	case startSection:
		return appendU32(nil, p.renumbered(p.module.Start))
	case elementSection:
		return p.items(s, 0)
	default: // data and data count
		return p.buf[s.start:s.end]
	}
}

func (p *parser) hiddenType(which int) int { return len(p.types) + which }

// items writes the number of items of a section, with more to come, and the items of the
// original with its edits.
func (p *parser) items(s *section, more int) []byte {
	b := make([]byte, 0, s.end-s.items+128)
	b = appendU32(b, s.count+more)
	return p.edited(b, s.items, s.end, s.edits)
}

// edited appends the original from start to end, with the edits made.
func (p *parser) edited(b []byte, start, end int, edits []edit) []byte {
	for _, e := range edits {
		b = append(b, p.buf[start:e.pos]...)
		start = e.pos + e.cut
		switch e.what {
		case changeIndex:
			b = appendU32(b, p.renumbered(e.arg))
		case changeNumber:
			b = appendU32(b, e.arg)
		case changeCall:
			b = appendU32(append(b, opCall), p.hidden(e.arg))
		case changeOpen:
			b = p.appendLook(appendU32(append(b, opLoop), e.arg))
		case changeClose:
			b = append(b, opEnd)
		case changeCharge:
			b = p.appendCharge(b, e.arg)
		case changeCheck:
			b = p.appendLook(p.appendCharge(b, e.arg))
		case changeTurn:
			b = append(appendU32(append(b, opGlobalGet), p.gauge(gaugeFuel)), opI64Const, 0, opI64LtS, opBrIf, 1)
			b = p.appendCharge(b, e.arg)
		case changeEnter:
			b = p.appendEnter(b)
		case changeLeave:
			b = p.appendLeave(b)
		case changeUnmask:
			b = append(b, opI32Const, 0, opI32Or)
			if e.arg == 1 {
				b = append(b[:len(b)-3], opI64Const, 0, opI64Or)
			}
		case changeReturn:
			if p.current.price == 0 {
				b = append(b, opReturn)
			} else {
				b = appendU32(append(b, opBr), e.arg)
			}
		}
	}
	return append(b, p.buf[start:end]...)
}

// appendCharge takes units from the balance.
func (p *parser) appendCharge(b []byte, units int) []byte {
	if units == 0 {
		return b
	}
	p.module.Counts.Charges++
	return p.appendMove(b, gaugeFuel, opI64Sub, int64(units))
}

// appendMove changes a gauge by n.
func (p *parser) appendMove(b []byte, which int, op byte, n int64) []byte {
	b = appendU32(append(b, opGlobalGet), p.gauge(which))
	b = appendS64(append(b, opI64Const), n)
	return appendU32(append(b, op, opGlobalSet), p.gauge(which))
}

// appendEnter takes the frame of the current function from the stack, and looks at both gauges
// at once. The rest of the function is in a block of its own, so that all ways out of it come
// to one place.
func (p *parser) appendEnter(b []byte) []byte {
	if p.current.price == 0 {
		return b
	}
	p.module.Counts.Looks++
	b = p.appendMove(b, gaugeStack, opI64Sub, p.current.price)
	b = appendU32(append(b, opGlobalGet), p.gauge(gaugeFuel))
	b = appendU32(append(b, opGlobalGet), p.gauge(gaugeStack))
	b = append(b, opI64Or, opI64Const, 0, opI64LtS, opIf, emptyBlock)
	b = append(appendU32(append(b, opCall), p.hidden(callRefuel)), opEnd)
	return appendS64(append(b, opBlock), p.current.block)
}

// appendLeave gives the frame of the current function back.
func (p *parser) appendLeave(b []byte) []byte {
	if p.current.price == 0 {
		return b
	}
	return p.appendMove(append(b, opEnd), gaugeStack, opI64Add, p.current.price)
}

// appendLook calls the host if the balance is below zero.
func (p *parser) appendLook(b []byte) []byte {
	p.module.Counts.Looks++
	b = appendU32(append(b, opGlobalGet), p.gauge(gaugeFuel))
	b = append(b, opI64Const, 0, opI64LtS, opIf, emptyBlock)
	b = appendU32(append(b, opCall), p.hidden(callRefuel))
	return append(b, opEnd)
}

// code writes all functions and the hidden ones.
func (p *parser) code(s *section) []byte {
	b := make([]byte, 0, (s.end-s.start)*3/2+256)
	b = appendU32(b, s.count+hiddenFunctions)
	var body []byte
	done := 0
	for i := range s.functions {
		f := &s.functions[i]
		if p.current = f; f.price > 0 { // it looks at both gauges at once
			s.edits[f.first].what = changeCharge
		}
		body = p.edited(body[:0], f.start, f.end, s.edits[done:f.edits])
		done = f.edits
		b = append(appendU32(b, len(body)), body...)
	}
	for which := range hiddenFunctions {
		body = p.hiddenBody(body[:0], which)
		b = append(appendU32(b, len(body)), body...)
	}
	return b
}

// hiddenBody writes the code of a hidden function.
func (p *parser) hiddenBody(b []byte, which int) []byte {
	b = append(b, 0) // no locals
	b2 := func(op byte, index int) { b = appendU32(append(b, op), index) }
	switch which {
	case callRefuel:
		b2(opGlobalGet, p.gauge(gaugeStack))
		b = append(b, opI64Const, 0, opI64LtS, opIf, emptyBlock)
		b2(opCall, p.hook(hookOverflow))
		b = append(b, opEnd)
		b2(opGlobalGet, p.gauge(gaugeFuel))
		b2(opCall, p.hook(hookRefuel))
		b2(opGlobalSet, p.gauge(gaugeFuel))
	default:
		// More than there can ever be is not charged: the instruction fails at once.
		most, price := p.largest(which)
		b2(opLocalGet, 0)
		b = appendS64(append(b, opI32Const), most)
		b = append(b, opI32LeU, opIf, emptyBlock)
		b2(opGlobalGet, p.gauge(gaugeFuel))
		b2(opLocalGet, 0)
		b = append(append(b, opI64ExtendU), price...)
		b = appendU32(append(b, opI64Sub, opGlobalSet), p.gauge(gaugeFuel))
		b = append(p.appendLook(b), opEnd)
		b2(opLocalGet, 0)
	}
	return append(b, opEnd)
}

// largest returns the size above which a bulk instruction always fails, and the instructions
// that make a price of a size.
func (p *parser) largest(which int) (most int64, price []byte) {
	signed := func(n int64) int64 { // as i32.const takes it
		if n = min(n, math.MaxUint32); n > math.MaxInt32 {
			n -= 1 << 32
		}
		return n
	}
	if which == callElements {
		elements := uint32(0)
		for _, t := range p.tables {
			if t.Imported {
				return -1, nil
			}
			elements = max(elements, t.Max)
		}
		return signed(int64(elements)), nil
	}
	pages := int64(0)
	for _, m := range p.memories {
		if pages = int64(m.Max); m.Imported {
			pages = maxPages
		}
	}
	if which == callPages {
		return signed(pages), append(appendS64([]byte{opI64Const}, UnitsPerPage), opI64Mul)
	}
	return signed(pages * pageBytes), append(appendS64([]byte{opI64Const}, BytesPerUnit), opI64DivU)
}
