package meter

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// The parts of the name section that are kept. Names of locals, labels and types are not: no
// trap shows them.
const (
	functionNames = 1
	globalNames   = 7
)

// maxName is how many bytes of a name are kept: a trap shows up to 30 functions.
const maxName = 512

// names is the name section: what things are called in the source.
type names struct {
	section   *section // nil without one that can be read
	functions []nameOf // ascending
	globals   []nameOf
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

// readNames reads the name section. It only helps to read traps: one that is not well formed,
// or has more names than a module may have things, is dropped, and the module is run without.
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
	n.read(r, &p.opts)
	if r.failed() {
		return &names{}
	}
	n.section.custom.Dropped = false
	return n
}

func (n *names) read(r *reader, o *Options) {
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
		r.end = r.pos + size
		switch id {
		case functionNames:
			n.functions = r.nameMap(o.Functions)
		case globalNames:
			n.globals = r.nameMap(o.Globals)
		default:
			r.skip(size)
		}
		if !r.failed() && r.remaining() > 0 {
			r.fail(r.pos, CodeMalformed, "a name part is too long")
		}
		r.end = outer
	}
}

// nameMap reads names by index, at most so many.
func (r *reader) nameMap(most int) []nameOf {
	at := r.pos
	n := r.count("names", 2)
	if r.atMost(at, n, most, "names"); r.failed() {
		return nil
	}
	list := make([]nameOf, 0, n)
	for range n {
		at := r.pos
		i := nameOf{int(r.u32()), shortened(r.text("name"))}
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

// shortened cuts a name that is too long, between two characters.
func shortened(name string) string {
	if len(name) <= maxName {
		return name
	}
	n := maxName
	for !utf8.RuneStart(name[n]) {
		n--
	}
	return strings.Clone(name[:n])
}

// trim drops names of what the module does not have.
func (n *names) trim(functions, globals int) {
	beyond := func(limit int) func(nameOf) bool {
		return func(of nameOf) bool { return of.index >= limit }
	}
	n.functions = slices.DeleteFunc(n.functions, beyond(functions))
	n.globals = slices.DeleteFunc(n.globals, beyond(globals))
}

// writeNames returns the content of the new name section, with the hidden things in it.
func (p *parser) writeNames() []byte {
	b := appendSection(appendText(nil, "name"), functionNames, p.writeFunctionNames())
	return appendSection(b, globalNames, p.writeGlobalNames())
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
