package meter_test

import "math/rand/v2"

// A generator writes random programs that are valid. Loops mostly count down, and functions
// call mostly later ones, so that most programs end.
type generator struct {
	*rand.Rand
	p       *program
	index   int // of the function being written
	scope   []label
	room    int // instructions left to write
	locals  int // that expressions and assignments may use
	counter int // the next local that counts a loop
}

// A label is a block around the code being written.
type label struct {
	loop, result bool
	counts       bool // a loop that a counter ends: nothing else branches to it
}

const loopCounters = 6

// generate returns the program of a seed.
func generate(seed uint64) *program {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	g.p = &program{globals: 1 + g.IntN(3), pages: uint32(min(1, g.IntN(12))), maxPages: uint32(2 + g.IntN(2)), maxTable: 12}
	g.p.data = make([]byte, 60+g.IntN(40))
	for i := range g.p.data {
		g.p.data[i] = byte(g.Uint32())
	}
	count := 1 + g.IntN(6)
	for range count {
		g.p.routines = append(g.p.routines, routine{params: g.IntN(maxParams + 1)})
	}
	for range 6 + g.IntN(4) {
		g.p.table = append(g.p.table, g.IntN(count))
	}
	for i := range count {
		g.index = i
		r := &g.p.routines[i]
		own := 1 + g.IntN(20)
		g.locals, g.counter = r.params+own, r.params+own
		r.locals = own + loopCounters
		g.room = 20 + g.IntN(120)
		g.scope = []label{{result: true}}
		r.body = append(g.statements(0), g.value(0)...)
	}
	return g.p
}

// statements leave the stack as it was.
func (g *generator) statements(depth int) []node {
	list := []node{}
	for n := g.IntN(6); n > 0 && g.room > 0; n-- {
		list = append(list, g.statement(depth)...)
	}
	return list
}

// jump returns a label to branch to that takes no value, or -1.
func (g *generator) jump() int {
	depth := g.IntN(len(g.scope))
	l := g.scope[len(g.scope)-1-depth]
	if l.counts || l.result && !l.loop || l.loop && g.IntN(3) > 0 {
		return -1
	}
	return depth
}

func (g *generator) inside(l label, f func() []node) []node {
	g.scope = append(g.scope, l)
	defer func() { g.scope = g.scope[:len(g.scope)-1] }()
	return f()
}

func (g *generator) statement(depth int) []node {
	g.room -= 2
	deep := depth > 5
	switch k := g.IntN(20); {
	case k < 3 && !deep:
		return []node{{op: nBlock, body: g.inside(label{}, func() []node { return g.statements(depth + 1) })}}
	case k < 6 && !deep:
		return g.loop(depth)
	case k < 9 && !deep:
		n := node{op: nIf, body: g.inside(label{}, func() []node { return g.statements(depth + 1) })}
		if g.IntN(2) == 0 {
			n.otherwise = g.inside(label{}, func() []node { return g.statements(depth + 1) })
		}
		return append(g.value(depth+1), n)
	case k == 9:
		if to := g.jump(); to >= 0 {
			return append(g.value(depth+1), node{op: nBrIf, imm: int64(to)})
		}
		return []node{{op: nNop}}
	case k == 10:
		return g.leave(depth)
	case k == 11:
		return append(g.value(depth+1), node{op: nGlobalSet, imm: int64(g.IntN(g.p.globals))})
	case k == 12:
		return append(append(g.address(depth), g.value(depth+1)...), node{op: []byte{nStore, nStore8}[g.IntN(2)], imm: int64(g.IntN(64))})
	case k == 13:
		return g.bulk(depth)
	case k == 14:
		return append(g.value(depth+1), node{op: nDrop})
	default:
		return append(g.value(depth+1), node{op: nLocalSet, imm: int64(g.IntN(g.locals))})
	}
}

// loop counts a local down; sometimes a branch leaves in the middle.
func (g *generator) loop(depth int) []node {
	r := g.p.routines[g.index]
	if g.counter >= r.params+r.locals {
		body := g.inside(label{loop: true}, func() []node { return g.statements(depth + 1) })
		return []node{{op: nLoop, imm: int64(g.IntN(2)), body: body}}
	}
	c := int64(g.counter)
	g.counter++
	body := g.inside(label{loop: true, counts: true}, func() []node { return g.statements(depth + 1) })
	body = append(body,
		node{op: nLocalGet, imm: c}, node{op: nConst, imm: 1}, node{op: 0x6b}, node{op: nLocalTee, imm: c},
		node{op: nBrIf, imm: 0})
	if g.IntN(3) == 0 {
		more := g.inside(label{loop: true, counts: true}, func() []node { return g.statements(depth + 1) })
		body = append(body, more...)
	}
	return []node{{op: nConst, imm: int64(1 + g.IntN(5))}, {op: nLocalSet, imm: c}, {op: nLoop, imm: int64(g.IntN(2)), body: body}}
}

// leave is a branch that is always taken, with code behind it that never runs.
func (g *generator) leave(depth int) []node {
	var list []node
	to := g.jump()
	switch k := g.IntN(10); {
	case k == 0 && g.IntN(3) == 0:
		list = []node{{op: nUnreachable}}
	case k < 4:
		list = append(g.value(depth+1), node{op: nReturn})
	case k < 7 && to >= 0:
		list = []node{{op: nBr, imm: int64(to)}}
	case to >= 0:
		n := node{op: nBrTable}
		for range 1 + g.IntN(4) {
			if t := g.jump(); t >= 0 {
				n.targets = append(n.targets, t)
			}
		}
		n.targets = append(n.targets, to)
		list = append(g.value(depth+1), n)
	default:
		return []node{{op: nNop}}
	}
	for range g.IntN(3) {
		list = append(list, g.statement(depth+1)...)
	}
	if g.IntN(3) > 0 { // most of the time only perhaps
		return append(g.value(depth+1), node{op: nIf, body: g.inside(label{}, func() []node { return outwards(list) })})
	}
	return list
}

// outwards moves the labels of a list one further out, because a block was put around it.
func outwards(list []node) []node { return shift(list, 0) }

func shift(list []node, depth int) []node {
	for i := range list {
		n := &list[i]
		switch n.op {
		case nBr, nBrIf:
			if n.imm >= int64(depth) {
				n.imm++
			}
		case nBrTable:
			for j := range n.targets {
				if n.targets[j] >= depth {
					n.targets[j]++
				}
			}
		}
		shift(n.body, depth+1)
		shift(n.otherwise, depth+1)
	}
	return list
}

// size is a length, mostly small.
func (g *generator) size() node {
	limits := []int{4, 50, 5000}
	if g.IntN(200) == 0 {
		return node{op: nConst, imm: int64(int32(g.Uint32()))}
	}
	return node{op: nConst, imm: int64(g.IntN(limits[g.IntN(3)]))}
}

func (g *generator) bulk(depth int) []node {
	a, v, size := g.address(depth), g.value(depth+1), g.size()
	small := node{op: nConst, imm: int64(g.IntN(4))}
	slot := node{op: nConst, imm: int64(g.IntN(4))}
	ref := node{op: nRefNull}
	if g.IntN(2) == 0 {
		ref = node{op: nRefFunc, imm: int64(g.p.table[g.IntN(len(g.p.table))])}
	}
	switch g.IntN(7) {
	case 0:
		return append(append(a, node{op: nConst, imm: int64(g.IntN(30))}, small), node{op: nMisc, misc: 8})
	case 1:
		return append(append(append(a, g.address(depth)...), size), node{op: nMisc, misc: 10})
	case 2:
		return append(append(append(a, v...), size), node{op: nMisc, misc: 11})
	case 3:
		return []node{slot, small, small, {op: nMisc, misc: 12}}
	case 4:
		return []node{slot, slot, small, {op: nMisc, misc: 14}}
	case 5:
		return []node{slot, ref, small, {op: nMisc, misc: 17}}
	default:
		return []node{ref, small, {op: nMisc, misc: 15}, {op: nDrop}}
	}
}

// address is mostly within a page.
func (g *generator) address(depth int) []node {
	if g.IntN(150) == 0 {
		return g.value(depth + 1)
	}
	return append(g.value(depth+1), node{op: nConst, imm: 0x3fff}, node{op: 0x71})
}

// value puts one i32 on the stack.
func (g *generator) value(depth int) []node {
	g.room--
	k := g.IntN(24)
	if depth > 7 || g.room <= 0 {
		k %= 4
	}
	switch {
	case k < 2:
		return []node{{op: nConst, imm: int64(int32(g.Uint32()) >> g.IntN(32))}}
	case k < 4:
		return []node{{op: nLocalGet, imm: int64(g.IntN(g.locals))}}
	case k == 4:
		return []node{{op: nGlobalGet, imm: int64(g.IntN(g.p.globals))}}
	case k == 5:
		return append(g.address(depth), node{op: []byte{nLoad, nLoad8}[g.IntN(2)], imm: int64(g.IntN(64))})
	case k == 6:
		return append(g.value(depth+1), node{op: 0x45})
	case k == 7:
		return append(append(append(g.value(depth+1), g.value(depth+1)...), g.value(depth+1)...), node{op: nSelect})
	case k < 10:
		return g.invocation(depth)
	case k == 10:
		return []node{{op: nMemorySize}}
	case k == 11:
		if g.IntN(4) > 0 {
			return []node{{op: nMisc, misc: 16}}
		}
		return []node{g.size(), {op: nMemoryGrow}}
	case k == 12:
		return []node{{op: nConst, imm: int64(g.IntN(4))}, {op: nTableGet}, {op: nRefIsNull}}
	case k == 13:
		body := g.inside(label{result: true}, func() []node { return append(g.statements(depth+1), g.value(depth+1)...) })
		return []node{{op: []byte{nBlock, nLoop}[g.IntN(2)], result: true, body: g.early(body)}}
	case k == 14:
		arm := func() []node { return append(g.statements(depth+1), g.value(depth+1)...) }
		n := node{op: nIf, result: true, body: g.inside(label{result: true}, arm)}
		n.otherwise = g.inside(label{result: true}, arm)
		return append(g.value(depth+1), n)
	case k == 15:
		return append(g.value(depth+1), node{op: nLocalTee, imm: int64(g.IntN(g.locals))})
	default:
		ops := []byte{0x46, 0x48, 0x49, 0x6a, 0x6b, 0x6c, 0x71, 0x73, 0x74, 0x77, 0x6a, 0x6b}
		if g.IntN(20) == 0 {
			ops = []byte{0x6e, 0x70}
		}
		return append(append(g.value(depth+1), g.value(depth+1)...), node{op: ops[g.IntN(len(ops))]})
	}
}

// early sometimes leaves a block that gives a value before its end.
func (g *generator) early(body []node) []node {
	if g.IntN(2) == 0 {
		return body
	}
	inner := node{op: nBlock, result: true, body: append(shift(body, 1),
		node{op: nLocalTee, imm: 0}, node{op: nLocalGet, imm: 0}, node{op: nBrIf, imm: 0})}
	return []node{inner}
}

func (g *generator) invocation(depth int) []node {
	if g.IntN(12) == 0 {
		slot := g.IntN(len(g.p.table))
		f := g.p.table[slot]
		if f <= g.index && g.IntN(10) > 0 {
			return []node{{op: nConst, imm: 1}}
		}
		return append(g.args(depth, f), node{op: nConst, imm: int64(slot)}, node{op: nIndirect, imm: int64(signature(g.p.routines[f].params))})
	}
	f := g.index + 1
	if f < len(g.p.routines) {
		f += g.IntN(len(g.p.routines) - f)
	} else if f = g.index; g.IntN(40) > 0 {
		return []node{{op: nLocalGet, imm: int64(g.IntN(g.locals))}}
	}
	return append(g.args(depth, f), node{op: nCall, imm: int64(f)})
}

func (g *generator) args(depth, f int) []node {
	var list []node
	for range g.p.routines[f].params {
		list = append(list, g.value(depth+1)...)
	}
	return list
}
