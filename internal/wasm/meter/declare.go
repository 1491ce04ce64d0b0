package meter

// This file reads the sections that declare things: types, imports, functions, tables,
// memories, exports and the start function.

func (p *parser) readTypes(s *section) {
	p.begin(s, "types", 3, p.opts.Types)
	p.types = make([]Signature, 0, s.count)
	for range s.count {
		at := p.pos
		switch form := p.byte(); {
		case form >= 0x4d && form <= 0x50 || form == 0x5e || form == 0x5f:
			p.fail(at, CodeUnsupported, "type form %#x (garbage collection) is not supported", form)
		case form != 0x60:
			p.fail(at, CodeMalformed, "type form %#x is not that of a function", form)
		}
		t := Signature{Parameters: p.valueTypes("parameters"), Results: p.valueTypes("results")}
		if p.failed() {
			return
		}
		p.types = append(p.types, t)
	}
}

func (p *parser) valueTypes(what string) []ValueType {
	at := p.pos
	n := p.count(what, 1)
	p.atMost(at, n, p.opts.Parameters, what)
	if p.failed() || n == 0 {
		return nil
	}
	types := make([]ValueType, n)
	for i := range types {
		types[i] = p.valueType()
	}
	return types
}

func (p *parser) readImports(s *section) {
	p.begin(s, "imports", 4, p.opts.Imports)
	for range s.count {
		at := p.pos
		i := Import{Module: p.text("module of an import"), Name: p.text("name of an import"), Kind: Kind(p.byte())}
		if p.failed() {
			return
		}
		if i.Module == HookModule || reserved(i.Name) {
			p.fail(at, CodeReserved, "it imports %q from %q, which belongs to the server", i.Name, i.Module)
		}
		switch i.Kind {
		case FunctionKind:
			t := p.index("type", len(p.types))
			if !p.failed() {
				i.Signature = &p.types[t]
				p.functions = append(p.functions, t)
				p.imported.functions++
			}
		case TableKind:
			t := p.table()
			t.Imported = true
			p.tables = append(p.tables, t)
			p.imported.tables++
		case MemoryKind:
			m := p.memory()
			m.Imported = true
			p.memories = append(p.memories, m)
			p.imported.memories++
		case GlobalKind:
			g := p.global()
			i.Global = &g
			p.globals = append(p.globals, g)
			p.imported.globals++
		case 4:
			p.fail(at, CodeUnsupported, "it imports a tag (exception handling), which is not supported")
		default:
			p.fail(at, CodeMalformed, "there is no kind %d of import", i.Kind)
		}
		if p.failed() {
			return
		}
		p.module.Imports = append(p.module.Imports, i)
	}
	p.bounded(s.start)
}

// bounded holds the numbers of tables and memories to their limits.
func (p *parser) bounded(at int) {
	p.atMost(at, len(p.tables), p.opts.Tables, "tables")
	if len(p.memories) > 1 {
		p.fail(at, CodeUnsupported, "%d memories (multiple memories) are not supported", len(p.memories))
	}
}

func (p *parser) readFunctions(s *section) {
	at := p.pos
	p.begin(s, "functions", 1, p.opts.Functions)
	p.atMost(at, s.count+p.imported.functions, p.opts.Functions, "functions")
	if p.failed() {
		return
	}
	for range s.count {
		p.functions = append(p.functions, p.index("type", len(p.types)))
	}
}

// limits reads the minimum and maximum of a table or memory.
func (p *parser) limits() (least, most uint32, declared bool) {
	at := p.pos
	switch flags := p.byte(); {
	case flags > 7:
		p.fail(at, CodeMalformed, "limits of kind %#x do not exist", flags)
	case flags&4 != 0:
		p.fail(at, CodeUnsupported, "64-bit addresses (memory64) are not supported")
	case flags&2 != 0:
		p.fail(at, CodeUnsupported, "shared memory (threads) is not supported")
	default:
		declared = flags == 1
	}
	least = p.u32()
	if declared {
		if most = p.u32(); !p.failed() && most < least {
			p.fail(at, CodeInvalid, "the maximum, %d, is below the minimum, %d", most, least)
		}
	}
	return least, most, declared
}

func (p *parser) table() Table {
	at := p.pos
	if p.remaining() > 0 && p.buf[p.pos] == 0x40 {
		p.fail(at, CodeUnsupported, "a table with an initial value (typed function references) is not supported")
	}
	t := Table{Type: p.refType()}
	at = p.pos
	t.Min, t.Max, t.Declared = p.limits()
	if !p.failed() && t.Min > p.opts.TableElements {
		p.fail(at, CodeTooLarge, "a table of %d elements is over the limit of %d", t.Min, p.opts.TableElements)
	}
	if !t.Declared || t.Max > p.opts.TableElements {
		t.Max = p.opts.TableElements
	}
	return t
}

func (p *parser) memory() Memory {
	at := p.pos
	var m Memory
	m.Min, m.Max, m.Declared = p.limits()
	switch {
	case p.failed():
	case m.Min > maxPages || m.Declared && m.Max > maxPages:
		p.fail(at, CodeInvalid, "a memory has at most %d pages", maxPages)
	case m.Min > p.opts.MemoryPages:
		p.fail(at, CodeTooLarge, "its memory begins with %d pages of 64 KiB, over the limit of %d", m.Min, p.opts.MemoryPages)
		p.hint("raise max_memory_bytes of the agent, or build it with a smaller stack and heap")
	}
	if !m.Declared || m.Max > p.opts.MemoryPages {
		m.Max = p.opts.MemoryPages
	}
	return m
}

func (p *parser) readTables(s *section) {
	p.begin(s, "tables", 3, p.opts.Tables)
	for range s.count {
		p.tables = append(p.tables, p.table())
	}
	p.bounded(s.start)
}

func (p *parser) readMemories(s *section) {
	p.begin(s, "memories", 2, len(p.buf))
	if s.count > 1 {
		p.fail(s.start, CodeUnsupported, "%d memories (multiple memories) are not supported", s.count)
	}
	for !p.failed() && len(p.memories) < p.imported.memories+s.count {
		p.memories = append(p.memories, p.memory())
	}
	p.bounded(s.start)
}

func (p *parser) readExports(s *section) {
	p.begin(s, "exports", 3, p.opts.Exports)
	seen := make(map[string]bool, s.count)
	for range s.count {
		at := p.pos
		e := Export{Name: p.text("name of an export"), Kind: Kind(p.byte())}
		switch {
		case p.failed():
			return
		case reserved(e.Name):
			p.fail(at, CodeReserved, "it exports %q, which belongs to the server", e.Name)
		case seen[e.Name]:
			p.fail(at, CodeInvalid, "it exports %q twice", e.Name)
		}
		seen[e.Name] = true
		switch e.Kind {
		case FunctionKind:
			e.Index = p.functionIndex(s)
			if !p.failed() {
				e.Signature = &p.types[p.functions[e.Index]]
			}
		case TableKind:
			e.Index = p.index("table", len(p.tables))
		case MemoryKind:
			e.Index = p.index("memory", len(p.memories))
		case GlobalKind:
			e.Index = p.index("global", len(p.globals))
		case 4:
			p.fail(at, CodeUnsupported, "it exports a tag (exception handling), which is not supported")
		default:
			p.fail(at, CodeMalformed, "there is no kind %d of export", e.Kind)
		}
		if p.failed() {
			return
		}
		p.module.Exports = append(p.module.Exports, e)
	}
}

func (p *parser) readStart(s *section) {
	p.module.Start = p.functionIndex(s)
}

func (p *parser) readDataCount(*section) {
	at := p.pos
	p.dataCount = int(p.u32())
	p.atMost(at, p.dataCount, p.opts.DataSegments, "data segments")
}

// reserved reports whether a name is that of a gauge.
func reserved(name string) bool { return name == FuelExport || name == StackExport }
