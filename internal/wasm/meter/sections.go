package meter

import (
	"bytes"
	"slices"
	"strings"
)

// The sections of a module.
const (
	customSection = iota
	typeSection
	importSection
	functionSection
	tableSection
	memorySection
	globalSection
	exportSection
	startSection
	elementSection
	codeSection
	dataSection
	dataCountSection
	tagSection
)

// order is the order the sections come in.
func order() []int {
	return []int{
		typeSection, importSection, functionSection, tableSection, memorySection, globalSection,
		exportSection, startSection, elementSection, dataCountSection, codeSection, dataSection,
	}
}

func sectionName(id int) string {
	names := []string{
		"custom", "type", "import", "function", "table", "memory", "global", "export",
		"start", "element", "code", "data", "data count", "tag",
	}
	return names[id]
}

// A section is a part of the original, and what to change in it.
type section struct {
	id         int
	start, end int    // what is inside, in the module
	items      int    // where the items begin, behind their number
	count      int    // how many items
	edits      []edit // ascending
	after      int    // of a custom section: position in order of the section it follows, or -1
	custom     Custom
	functions  []function // of the code section
}

// An edit replaces cut bytes of the original at pos.
type edit struct {
	pos  int
	cut  int
	what change
	arg  int
}

// A change is what an edit puts there.
type change byte

const (
	changeIndex  change = iota // the function index arg, renumbered
	changeCharge               // a charge of arg
	changeCheck                // a charge of arg and a look
	changeOpen                 // the head of a loop around a loop, and a look; arg is the type's byte
	changeTurn                 // a charge of arg in the inner loop, after a look that goes to the outer one
	changeClose                // the end of the loop around a loop
	changeCall                 // a call of the hidden function arg
	changeNumber               // the number arg, as short as it can be
	changeEnter                // the start of a function: its frame is taken from the stack
	changeLeave                // the end of a function: its frame is given back
	changeReturn               // a return from within arg blocks
	changeUnmask               // what makes something else of x & y; arg is 1 for 64 bits
)

// A parser reads a module. Its reader stands in the section that is being read.
type parser struct {
	reader
	opts   Options
	place  place
	module *Module
	names  *names

	sections [tagSection]*section // by number; nil where there is none
	customs  []*section

	types     []Signature
	functions []int // type of each function, imported ones first
	globals   []Global
	tables    []Table
	memories  []Memory
	imported  struct{ functions, globals, tables, memories int }
	graph     callGraph
	mask      mask
	current   *function     // the one that is being written
	extra     [][]ValueType // results of the blocks that need a type of their own
	blocks    map[int]int   // by type of a function: which of them its block has
	width     int           // locals and parameters of the function that is being read
	joins     int           // what its branches carry so far
	elements  int           // of all element segments so far
	dataCount int           // what the data count section says, or -1
}

// split finds the sections and checks their order, sizes and names.
func (p *parser) split() {
	p.atMost(0, len(p.buf), p.opts.ModuleBytes, "bytes of module")
	if len(p.buf) < 8 || !bytes.Equal(p.buf[:4], []byte("\x00asm")) {
		p.fail(0, CodeMalformed, "it does not begin like a WebAssembly module")
		p.hint("compile the agent for wasm32; a text file (.wat) must be assembled first")
		return
	}
	switch v := p.buf[4:8]; {
	case bytes.Equal(v, []byte{0x0d, 0, 1, 0}):
		p.fail(4, CodeUnsupported, "it is a component, not a core module")
		p.hint("build a core module, for example for wasm32-wasip1")
	case !bytes.Equal(v, []byte{1, 0, 0, 0}):
		p.fail(4, CodeMalformed, "version %x is not supported", v)
	default:
		p.skip(8)
	}
	last := -1
	for !p.failed() && p.remaining() > 0 {
		at := p.pos
		id := int(p.byte())
		size := p.u32()
		if !p.failed() && int64(size) > int64(p.remaining()) {
			p.fail(at, CodeMalformed, "a section of %d bytes is announced where %d are left", size, p.remaining())
		}
		if p.failed() {
			return
		}
		s := &section{id: id, start: p.pos, end: p.pos + int(size), after: last}
		switch position := slices.Index(order(), id); {
		case id == customSection:
			p.customs = append(p.customs, s)
			p.atMost(at, len(p.customs), p.opts.Customs, "custom sections")
			p.readCustom(s)
		case id == tagSection:
			p.fail(at, CodeUnsupported, "a tag section (exception handling) is not supported")
		case position < 0:
			p.fail(at, CodeMalformed, "there is no section %d", id)
		case position <= last:
			p.fail(at, CodeMalformed, "the %s section is there twice or not in its place", sectionName(id))
		default:
			p.sections[id], last = s, position
		}
		if !p.failed() {
			p.pos = s.end
		}
	}
}

// readCustom reads the name of a custom section, and decides whether it stays.
func (p *parser) readCustom(s *section) {
	outer := p.end
	p.end = s.end
	s.custom = Custom{Name: p.text("name of the custom section"), Size: s.end - s.start}
	s.items = p.pos
	if !p.failed() {
		p.end = outer
	}
	name := s.custom.Name
	switch name {
	case "linking", "sourceMappingURL", "external_debug_info":
		s.custom.Dropped = true
	default:
		for _, prefix := range []string{".debug_", "reloc.", "metadata.code."} {
			s.custom.Dropped = s.custom.Dropped || strings.HasPrefix(name, prefix)
		}
	}
}

// readSections reads what is in the sections, in their order.
func (p *parser) readSections() {
	p.dataCount = -1
	read := [...]func(*section){
		typeSection:      p.readTypes,
		importSection:    p.readImports,
		functionSection:  p.readFunctions,
		tableSection:     p.readTables,
		memorySection:    p.readMemories,
		globalSection:    p.readGlobals,
		exportSection:    p.readExports,
		startSection:     p.readStart,
		elementSection:   p.readElements,
		dataCountSection: p.readDataCount,
		codeSection:      p.readCode,
		dataSection:      p.readData,
	}
	for _, id := range order() {
		s := p.sections[id]
		if s == nil || p.failed() {
			continue
		}
		p.place.section = sectionName(id)
		p.pos, p.end = s.start, s.end
		read[id](s)
		if !p.failed() && p.remaining() > 0 {
			p.fail(p.pos, CodeMalformed, "%d bytes are left over at its end", p.remaining())
		}
	}
	if p.failed() {
		return
	}
	p.place.section = ""
	if code, want := p.counted(codeSection), len(p.functions)-p.imported.functions; code != want {
		p.fail(len(p.buf), CodeMalformed, "%d functions are declared, and %d have code", want, code)
	}
	if data := p.counted(dataSection); p.dataCount >= 0 && data != p.dataCount {
		p.fail(len(p.buf), CodeMalformed, "%d data segments are announced, and there are %d", p.dataCount, data)
	}
	p.names.trim(len(p.functions), len(p.globals))
	p.report()
}

func (p *parser) counted(id int) int {
	if s := p.sections[id]; s != nil {
		return s.count
	}
	return 0
}

// begin reads the number of items of a section; each takes at least size bytes.
func (p *parser) begin(s *section, what string, size, limit int) {
	at := p.pos
	s.count = p.count(what, size)
	s.items = p.pos
	p.atMost(at, s.count, limit, what)
	if p.failed() {
		s.count = 0
	}
}

// functionIndex reads the index of a function where it must be renumbered.
func (p *parser) functionIndex(s *section) int {
	at := p.pos
	i := p.index("function", len(p.functions))
	s.edits = append(s.edits, edit{pos: at, cut: p.pos - at, what: changeIndex, arg: i})
	return i
}

// report writes down what was found.
func (p *parser) report() {
	m := p.module
	for _, s := range p.customs {
		m.Custom = append(m.Custom, s.custom)
	}
	m.Tables = p.tables
	if len(p.memories) > 0 {
		m.Memory = &p.memories[0]
	}
	m.Counts.Types = len(p.types)
	m.Counts.Functions = len(p.functions)
	m.Counts.Globals = len(p.globals)
	m.Counts.ElementSegments = p.counted(elementSection)
	m.Counts.DataSegments = p.counted(dataSection)
	m.InitialFuel += p.initialFuel()
}
