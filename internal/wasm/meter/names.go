package meter

import "slices"

// The parts of the name section that hold indices of functions or globals.
const (
	functionNames = 1
	localNames    = 2
	labelNames    = 3
	globalNames   = 7
)

// names is the name section: what things are called in the source.
type names struct {
	section   *section // nil without one that can be read
	functions []nameOf // ascending
	globals   []nameOf
	parts     []section // all parts, ascending; those with function indices have edits
}

type nameOf struct {
	index int
	name  string
}

// function returns the name of a function, or "".
func (n *names) function(i int) string {
	if n == nil || i < 0 {
		return ""
	}
	at, ok := slices.BinarySearchFunc(n.functions, i, func(f nameOf, i int) int { return f.index - i })
	if !ok {
		return ""
	}
	return n.functions[at].name
}

// readNames reads the name section. It only helps to read traps: one that is not well formed
// is dropped, and the module is run without.
func (p *parser) readNames() *names {
	n := &names{}
	for _, s := range p.customs {
		if s.custom.Name != "name" {
			continue
		}
		s.custom.Dropped = true // it is written anew
		if n.section != nil {
			p.fail(s.start, CodeMalformed, "the name section is there twice")
			return n
		}
		n.section = s
	}
	if n.section == nil || p.failed() {
		return n
	}
	r := &reader{buf: p.buf, pos: n.section.items, end: n.section.end}
	n.read(r)
	if r.failed() {
		return &names{}
	}
	n.section.custom.Dropped = false
	return n
}

func (n *names) read(r *reader) {
	outer := r.end
	last := -1
	for !r.failed() && r.remaining() > 0 {
		id := int(r.byte())
		size := r.count("bytes of names", 1)
		if id <= last {
			r.fail(r.pos, CodeMalformed, "name parts are not in order")
		}
		if r.failed() {
			return
		}
		last = id
		part := section{id: id, start: r.pos, end: r.pos + size, items: r.pos}
		r.end = part.end
		switch id {
		case functionNames:
			n.functions = r.nameMap()
		case globalNames:
			n.globals = r.nameMap()
		case localNames, labelNames:
			r.indirectNameMap(&part)
		default:
			r.skip(size)
		}
		if !r.failed() && r.remaining() > 0 {
			r.fail(r.pos, CodeMalformed, "a name part is too long")
		}
		n.parts = append(n.parts, part)
		r.end = outer
	}
}

// nameMap reads names by index.
func (r *reader) nameMap() []nameOf {
	n := r.count("names", 2)
	list := make([]nameOf, 0, n)
	for range n {
		at := r.pos
		i := nameOf{int(r.u32()), r.text("name")}
		if len(list) > 0 && i.index <= list[len(list)-1].index {
			r.fail(at, CodeMalformed, "names are not in order")
		}
		if r.failed() {
			return nil
		}
		list = append(list, i)
	}
	return list
}

// indirectNameMap reads names by function and index, and notes where the functions are.
func (r *reader) indirectNameMap(part *section) {
	part.count = r.count("functions with names", 2)
	part.items = r.pos
	for range part.count {
		at := r.pos
		i := int(r.u32())
		part.edits = append(part.edits, edit{pos: at, cut: r.pos - at, what: changeIndex, arg: i})
		r.nameMap()
		if r.failed() {
			return
		}
	}
}

// trim drops names of what the module does not have.
func (n *names) trim(functions, globals int) {
	beyond := func(limit int) func(nameOf) bool {
		return func(of nameOf) bool { return of.index >= limit }
	}
	n.functions = slices.DeleteFunc(n.functions, beyond(functions))
	n.globals = slices.DeleteFunc(n.globals, beyond(globals))
	n.parts = slices.DeleteFunc(n.parts, func(part section) bool {
		return slices.ContainsFunc(part.edits, func(e edit) bool { return e.arg >= functions })
	})
}

// writeNames returns the content of the new name section, with the hidden things in it.
func (p *parser) writeNames() []byte {
	b := appendText(nil, "name")
	hasFunctions, hasGlobals := false, false
	part := func(id int, content []byte) { b = appendSection(b, id, content) }
	upTo := func(id int) {
		if id >= functionNames && !hasFunctions {
			part(functionNames, p.writeFunctionNames())
			hasFunctions = true
		}
		if id >= globalNames && !hasGlobals {
			part(globalNames, p.writeGlobalNames())
			hasGlobals = true
		}
	}
	for _, s := range p.names.parts {
		upTo(s.id)
		switch s.id {
		case functionNames, globalNames:
		case localNames, labelNames:
			part(s.id, p.items(&s, 0))
		default:
			part(s.id, p.buf[s.start:s.end])
		}
	}
	upTo(globalNames)
	return b
}

func (p *parser) writeFunctionNames() []byte {
	list := p.names.functions
	before, _ := slices.BinarySearchFunc(list, p.imported.functions, func(f nameOf, i int) int { return f.index - i })
	b := appendU32(nil, len(list)+hooks+hiddenFunctions)
	for _, f := range list[:before] {
		b = appendText(appendU32(b, f.index), f.name)
	}
	b = appendText(appendU32(b, p.hook(hookRefuel)), HookModule+"."+HookName)
	b = appendText(appendU32(b, p.hook(hookOverflow)), HookModule+"."+OverflowName)
	for _, f := range list[before:] {
		b = appendText(appendU32(b, p.renumbered(f.index)), f.name)
	}
	for which, name := range hiddenNames() {
		b = appendText(appendU32(b, p.hidden(which)), name)
	}
	return b
}

func (p *parser) writeGlobalNames() []byte {
	b := appendU32(nil, len(p.names.globals)+gauges)
	for _, g := range p.names.globals {
		b = appendText(appendU32(b, g.index), g.name)
	}
	for which, name := range gaugeNames() {
		b = appendText(appendU32(b, p.gauge(which)), name)
	}
	return b
}
