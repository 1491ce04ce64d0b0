package meter

import "slices"

// This file finds which functions take their frames from the gauge of the stack, and how much.
//
// Recursion goes through a cycle of the graph of calls. So only the functions on a cycle need
// to count: any other is on the stack at most once at a time, and the frames of all of those
// are bounded when the module is read. A call through a table may reach every function that
// something refers to.
//
// A frame has a natural price, which is the same for everybody who reads the module, and a
// bound of the bytes that the engine can need for it on any machine. The engine gives each
// value that does not stay in a register a place of its own, so the bound of a function with
// much code is far above what it needs. The price is raised so that the engine's own stack,
// of 50 million bytes, cannot overflow before the gauge does.
const (
	frameBytes = 64 // of a frame without parameters and locals
	valueBytes = 8  // of a parameter or local

	// engineBytes is what the frames of the functions that count may need together, and
	// spareBytes what those of the others may.
	engineBytes = 40 * mib
	spareBytes  = 4 * mib

	// fixedBytes bounds what a frame of the engine has besides values: all registers that
	// a function must save, on arm64 23 of 16 bytes, the return address and the frame's size.
	fixedBytes = 512
)

// A frameShape is what bounds the frame of one function.
type frameShape struct {
	values  int  // that its instructions make
	moved   int  // locals and results at places where ways meet
	merges  int  // places where ways meet, after the memory or a global may have changed
	globals int  // instructions that read or write a global
	carried int  // most parameters and results of a function it calls
	vector  bool // it has values of 16 bytes
}

// bound returns the most bytes the engine needs for the frame, on any machine. mutable is how
// many mutable globals the module has: after a call the engine reads them again.
func (f *frameShape) bound(mutable int) int64 {
	size := int64(valueBytes)
	if f.vector {
		size = 16
	}
	values := int64(f.values) + int64(f.moved) + int64(f.merges)*int64(4+min(mutable, f.globals))
	return fixedBytes + size*(values+int64(f.carried))
}

// price returns what a frame takes from a gauge of limit bytes.
func price(natural, bound, limit int64) int64 {
	raised := (bound/engineBytes)*limit + (bound%engineBytes*limit+engineBytes-1)/engineBytes
	return max(natural, raised)
}

// weight is how many values an instruction may make that live on, besides results of calls. A
// constant is made anew wherever it is used, and a local is another name of a value.
func weight(op byte) int {
	switch operandOf(op) {
	case control, local, constantI32, constantI64, constantF32, constantF64, reference:
		return 0
	case nothing, global, selectType, unknown:
		return 1
	case callee:
		return 2 // the memory's place and size are read again
	case memory, table:
		return 6
	case indirect:
		return 12
	case prefix, memoryZero:
		return 16
	}
	return 16
}

// A callGraph is which functions of the module call which.
type callGraph struct {
	callees []int  // of all functions, one after the other, each once; indirect calls are an edge to the number of functions
	ends    []int  // where the callees of each function end
	seen    []int  // by callee: the last function that was seen to call it, and one
	taken   []bool // functions that something refers to, by index among those with code
}

// take notes that something refers to a function, so that it can be called through a table.
func (p *parser) take(function int) {
	if i := function - p.imported.functions; !p.failed() && i >= 0 {
		p.graph.grow(len(p.functions) - p.imported.functions)
		p.graph.taken[i] = true
	}
}

// grow makes room for n functions.
func (g *callGraph) grow(n int) {
	if len(g.taken) < n {
		g.taken = append(g.taken, make([]bool, n-len(g.taken))...)
	}
}

// call notes a call by function from, both among those with code.
func (g *callGraph) call(from, to int) {
	if g.seen[to] != from+1 {
		g.seen[to] = from + 1
		g.callees = append(g.callees, to)
	}
}

// of returns what function i calls.
func (g *callGraph) of(i int) []int {
	start := 0
	if i > 0 {
		start = g.ends[i-1]
	}
	return g.callees[start:g.ends[i]]
}

// settle decides which functions count, and what their frames cost.
func (p *parser) settle(s *section) {
	n := len(s.functions)
	g := &p.graph
	g.grow(n)
	if p.shared() {
		for _, e := range p.module.Exports {
			if e.Kind == FunctionKind {
				p.take(e.Index)
			}
		}
	}
	for i := range n { // the last node stands for a call through a table
		if g.taken[i] {
			g.callees = append(g.callees, i)
		}
	}
	g.ends = append(g.ends, len(g.callees))
	deep := make([]int64, n+1) // bytes of the functions that do not count, from here on
	mutable := 2               // the gauges
	for _, global := range p.globals {
		if global.Mutable {
			mutable++
		}
	}
	g.components(func(members []int, cycle bool) {
		below := int64(0)
		for _, m := range members {
			for _, c := range g.of(m) {
				below = max(below, deep[c]) // those of the same component are still 0
			}
		}
		for _, m := range members {
			deep[m] = below
			if m == n {
				continue
			}
			f := &s.functions[m]
			width := f.locals + len(p.typeOf(m).Parameters)
			f.compile, f.memory = f.effort.time(width, mutable), f.effort.bytes(width, mutable)
			p.module.Compile += f.compile
			bound := f.shape.bound(mutable)
			if !cycle && below+bound <= spareBytes {
				deep[m] += bound
				continue
			}
			f.price = price(p.natural(m, f), bound, p.opts.Stack)
			p.module.Counts.Recursive++
			f.block = p.resultBlock(p.functions[p.imported.functions+m])
		}
	})
	p.compilable(s)
}

// shared reports whether others may fill the module's tables.
func (p *parser) shared() bool {
	return p.imported.tables > 0 || slices.ContainsFunc(p.module.Exports, func(e Export) bool { return e.Kind == TableKind })
}

// typeOf is the type of function i among those with code.
func (p *parser) typeOf(i int) *Signature { return &p.types[p.functions[p.imported.functions+i]] }

// natural is the price of a frame by what is written in the module.
func (p *parser) natural(i int, f *function) int64 {
	return frameBytes + valueBytes*int64(f.locals+len(p.typeOf(i).Parameters))
}

// resultBlock returns the type of a block that takes nothing and has the results of type t, as
// it is written: a byte of its own, or the number of a type.
func (p *parser) resultBlock(t int) int64 {
	switch results := p.types[t].Results; {
	case len(results) == 0:
		return emptyBlock - 0x80 // as a signed number
	case len(results) == 1:
		return int64(results[0]) - 0x80
	case len(p.types[t].Parameters) == 0:
		return int64(t)
	}
	i, ok := p.blocks[t]
	if !ok {
		i = len(p.extra)
		p.extra = append(p.extra, p.types[t].Results)
		if p.blocks == nil {
			p.blocks = map[int]int{}
		}
		p.blocks[t] = i
	}
	return int64(p.hiddenType(hiddenTypes + i))
}

// components calls visit for each strongly connected component of the graph, callees before
// callers, and says whether it has a cycle. It is the algorithm of Tarjan, without recursion.
func (g *callGraph) components(visit func(members []int, cycle bool)) {
	n := len(g.ends)
	order, low := make([]int, n), make([]int, n) // from 1 on; 0 for not seen
	on := make([]bool, n)
	next := make([]int, n) // which callee is next
	var stack, path []int
	count := 0
	for root := range n {
		if order[root] != 0 {
			continue
		}
		for path = append(path[:0], root); len(path) > 0; {
			v := path[len(path)-1]
			if order[v] == 0 {
				count++
				order[v], low[v] = count, count
				stack, on[v] = append(stack, v), true
			}
			if callees := g.of(v); next[v] < len(callees) {
				w := callees[next[v]]
				next[v]++
				if order[w] == 0 {
					path = append(path, w)
				} else if on[w] {
					low[v] = min(low[v], order[w])
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				up := path[len(path)-1]
				low[up] = min(low[up], low[v])
			}
			if low[v] != order[v] {
				continue
			}
			at := len(stack) - 1
			for stack[at] != v {
				at--
			}
			members := stack[at:]
			for _, m := range members {
				on[m] = false
			}
			visit(members, len(members) > 1 || slices.Contains(g.of(v), v))
			stack = stack[:at]
		}
	}
}
