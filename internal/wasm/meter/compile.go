package meter

import (
	"time"

	"github.com/caxton/caxton"
)

// This file estimates how long the engine will need to compile a module. What it does with one
// function can grow with the square, and in one place with the cube, of the function's size: a
// module of 40 KB could keep a processor busy for minutes, and fill the memory. The estimate is of
// the worst that what is counted can lead to; most functions take less.
//
// In wazero 1.12.0 these are
//   - the values that live across the start of a block, which are listed for each block: locals,
//     and what is on the operand stack;
//   - values that only pass through places where ways meet: at each such place there is another
//     name for each local, and finding what one stands for goes back through all of them;
//   - the mutable globals of the module, each of which is read again after each call;
//   - conditional branches, and loops far more: with the square of their number.
//
// The prices are from measurements, in processor time of one core of some gigahertz.
const (
	compileInstruction = 1000 * time.Nanosecond
	compileLive        = 200 * time.Nanosecond  // a value that lives at the start of a block
	compileGlobal      = 1000 * time.Nanosecond // a global that is read again after a call
	compileName        = 2 * time.Nanosecond    // a step back to what a local stands for
	compileFork        = 16 * time.Nanosecond   // a pair of conditional branches
	compileLoop        = 700 * time.Nanosecond  // a pair of loops

	// The same in memory that is taken, as measured.
	compileInstructionBytes = 150
	compileLiveBytes        = 26
	compileGlobalBytes      = 166
	compileNameBytes        = 250

	// hiddenValues is how many values live besides: the module's own place, that of the memory
	// and its size, the gauges.
	hiddenValues = 8
)

// An effort counts what makes compiling one function long.
type effort struct {
	instructions, calls  int
	live                 int // values at the starts of blocks
	merges, forks, loops int // places where ways meet, conditional branches, loops
	height               int // of the operand stack now, or more
}

// block notes that the engine begins so many blocks, of a function with so many locals.
func (e *effort) block(n, width int) { e.live += n * (width + e.height + hiddenValues) }

// pop takes values off the operand stack, and push puts some on it.
func (e *effort) pop(n int)  { e.height = max(0, e.height-n) }
func (e *effort) push(n int) { e.height += n }

// time is how long compiling the function may take. mutable is how many mutable globals there are.
func (e *effort) time(width, mutable int) time.Duration {
	all := 0.0 // it may be far above what a Duration holds
	add := func(each time.Duration, counts ...int) {
		product := float64(each)
		for _, n := range counts {
			product *= float64(n)
		}
		all += product
	}
	add(compileInstruction, e.instructions)
	add(compileLive, e.live)
	add(compileGlobal, e.calls, mutable)
	add(compileName, width, e.merges, e.merges/2)
	add(compileFork, e.forks, e.forks)
	add(compileLoop, e.loops, e.loops)
	return time.Duration(min(all, float64(maxCompile)))
}

// bytes is how much memory compiling the function may take.
func (e *effort) bytes(width, mutable int) caxton.Size {
	all := float64(compileInstructionBytes)*float64(e.instructions) + float64(compileLiveBytes)*float64(e.live) +
		float64(compileGlobalBytes)*float64(e.calls)*float64(mutable) + float64(compileNameBytes)*float64(width)*float64(e.merges)
	return caxton.Size(min(all, float64(1<<60)))
}

// maxCompile is more than any limit, and the sum of so many for each function there can be is
// still a Duration.
const maxCompile = time.Duration(1 << 43)

// step notes an instruction that is neither a block nor a call, by what it takes from the operand
// stack and puts on it. Rather too much is left on it than too little.
func (e *effort) step(op byte) {
	e.instructions++
	switch {
	case op == opLocalGet, op == opGlobalGet, op == 0x3f, op >= opI32Const && op <= opF64Const, op == opRefNull, op == opRefFunc:
		e.push(1)
	case op == opDrop, op == opLocalSet, op == opGlobalSet, binary(op):
		e.pop(1)
	case op == 0x1b, op == 0x1c, op == 0x26, op >= 0x36 && op <= 0x3e: // select, table.set, stores
		e.pop(2)
	}
}

// binary reports whether an instruction makes one number of two.
func binary(op byte) bool {
	switch {
	case op >= 0x46 && op <= 0x4f, op >= 0x51 && op <= 0x66, // comparisons
		op >= 0x6a && op <= 0x78, op >= 0x7c && op <= 0x8a, // whole numbers
		op >= 0x92 && op <= 0x98, op >= 0xa0 && op <= 0xa6: // real ones
		return true
	}
	return false
}

// stepMisc notes an instruction behind opMisc.
func (e *effort) stepMisc(op uint32) {
	switch op {
	case miscMemoryInit, miscMemoryCopy, miscMemoryFill, miscTableInit, miscTableCopy, miscTableFill:
		e.pop(3)
	case miscTableGrow:
		e.pop(1)
	case miscTableSize:
		e.push(1)
	}
}

// stepVector notes an instruction behind opVector. Those that make one vector of two are many,
// and are taken for such that make one of one, but for the most common.
func (e *effort) stepVector(op uint32) {
	switch {
	case op == vectorConst:
		e.push(1)
	case op == 0x0b, op == 0x52, op >= 0x58 && op <= 0x5b: // stores, bitselect
		e.pop(2)
	case op == vectorShuffle, op == 0x0e, op >= 0x23 && op <= 0x4c, op >= 0x4e && op <= 0x51, op >= 0x54 && op <= 0x57:
		e.pop(1)
	}
}

// compilable refuses a module that may take too long to compile, or too much memory for one of
// its functions, and names the function that takes most of it.
func (p *parser) compilable(s *section) {
	if len(s.functions) == 0 {
		return
	}
	longest, largest := 0, 0
	for i := range s.functions {
		if s.functions[i].compile > s.functions[longest].compile {
			longest = i
		}
		if s.functions[i].memory > s.functions[largest].memory {
			largest = i
		}
	}
	if f := &s.functions[largest]; f.memory > p.opts.CompileBytes {
		p.place.function = p.imported.functions + largest
		p.fail(f.start, CodeTooLarge, "compiling this function may take %v of memory, over the limit of %v: it has %d instructions, %d conditional branches, %d loops and %d locals",
			(f.memory/caxton.MiB+1)*caxton.MiB, p.opts.CompileBytes, f.effort.instructions, f.effort.forks, f.effort.loops, f.locals)
		p.hint("divide it, or let the compiler inline less")
	}
	if p.module.Compile <= p.opts.Compile || p.failed() {
		return
	}
	f := &s.functions[longest]
	p.place.function = p.imported.functions + longest
	p.fail(f.start, CodeTooLarge, "compiling the module may take %v, over the limit of %v, and this function %v of it: it has %d instructions, %d conditional branches, %d loops and %d locals",
		p.module.Compile.Round(time.Second), p.opts.Compile, f.compile.Round(time.Second/10), f.effort.instructions, f.effort.forks, f.effort.loops, f.locals)
	p.hint("divide its largest functions, or let the compiler inline less")
}
