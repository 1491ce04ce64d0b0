package meter

// The cost model. docs/fuel.md tells it to those who write agents; a change of anything here
// is a new Scheme.
const (
	// BytesPerUnit is how many bytes one unit copies, fills or initialises.
	BytesPerUnit = 8
	// UnitsPerPage is the price of a page of memory, at the start or grown.
	UnitsPerPage = 1024
	// LocalsPerUnit is how many declared locals one unit of a function's entry covers.
	LocalsPerUnit = 8

	// SmallFunction is the cost up to which a function without calls and loops does not look
	// at the balance; its callers do.
	SmallFunction = 32

	costEntry = 1  // of a function, besides its locals
	costBulk  = 10 // of a bulk instruction, besides what it moves: it sets up a copy
	costGrow  = 60 // of memory.grow and table.grow, besides what they add: they leave compiled code
	costRef   = 20 // of ref.func: it leaves compiled code
)

// cost returns the price of an instruction of one byte. What only gives structure is free.
func cost(op byte) int {
	switch op {
	case opBlock, opLoop, opElse, opEnd:
		return 0
	case opMemoryGrow:
		return costGrow
	case opRefFunc:
		return costRef
	default:
		return 1
	}
}

// miscCost returns the price of an instruction behind opMisc, without what it moves.
func miscCost(op uint32) int {
	switch op {
	case miscMemoryInit, miscMemoryCopy, miscMemoryFill, miscTableInit, miscTableCopy, miscTableFill:
		return costBulk
	case miscTableGrow:
		return costGrow
	default:
		return 1
	}
}

// initialFuel is the price of an instance without its segments' contents.
func (p *parser) initialFuel() int64 {
	units := int64(len(p.functions) + len(p.globals) + p.counted(elementSection) + p.counted(dataSection))
	for _, m := range p.memories {
		if !m.Imported {
			units += int64(m.Min) * UnitsPerPage
		}
	}
	for _, t := range p.tables {
		if !t.Imported {
			units += int64(t.Min)
		}
	}
	return units
}

// A flow finds the places of a function where charges belong, and what each one is.
//
// A charge covers all instructions that run exactly as often as the place where it stands, if
// nothing traps on the way. So a charge goes to the start of the function, behind the head of
// a loop, to both arms of an if, and behind a conditional branch; and behind the end of a block
// the charge from before the block goes on when nothing within the block leaves to further out:
// then whoever comes in comes out here. All of this is found in one pass.
//
// Only at the start of a function and at the head of a loop does it look at the balance too:
// no guest runs for long without coming there. A look costs far more than a charge, for the
// call it may lead to makes the engine forget what it has in registers. So a loop gets a loop
// around it, and its head only leaves to that one, which calls and comes back:
//
//	loop (look: call the host if below zero)
//	  loop (below zero: branch to the outer loop; charge) ... end
//	end
//
// Labels that lead out of the inner loop are then one further out. A loop whose type is an index
// may take parameters, and keeps its look inside.
type flow struct {
	frames []frame
	edits  *[]edit // where charges are put, to be filled in
	charge int     // the charge in force, an index into edits, or dead
	entry  int     // the charge of the function's start
	total  int     // all charges of the function
	small  bool    // the function has had no call and no loop
	width  int     // locals and parameters of the function
	shape  frameShape
	effort effort
}

// dead stands for no charge: behind a branch no instruction runs.
const dead = -1

// A frame is a block that is open.
type frame struct {
	op      byte // opBlock, opLoop, opIf, opElse
	changes bool // within it the memory or a global may change
	ways    int  // how many branches to its label there are
	sets    int  // how often a local is set within it
	entry   int  // the charge in force before it
	double  int  // how many loops up to this one have a loop around them
	carries int  // how many values a branch to it carries at most
	takes   int  // how many values it takes from the stack
	gives   int  // how many it leaves there
	height  int  // how many values are below those it takes
	outmost int  // the outmost frame that a branch within it goes to
}

// begin starts a function whose code is at pos and whose entry costs units.
func (f *flow) begin(pos, units int, edits *[]edit) {
	f.shape, f.effort = frameShape{}, effort{}
	f.frames = append(f.frames[:0], frame{op: opBlock, entry: dead})
	f.edits, f.entry, f.total, f.small = edits, len(*edits), 0, true
	f.place(pos, changeCheck)
	f.spend(units)
	*edits = append(*edits, edit{pos: pos, what: changeEnter})
}

// finish ends a function.
func (f *flow) finish() {
	if f.small && f.total <= SmallFunction {
		(*f.edits)[f.entry].what = changeCharge
	}
}

// place puts a new charge at pos.
func (f *flow) place(pos int, what change) {
	f.charge = len(*f.edits)
	*f.edits = append(*f.edits, edit{pos: pos, what: what})
}

// spend adds to the charge in force. One function is bounded in size, so it does not overflow.
func (f *flow) spend(units int) {
	if f.charge != dead {
		(*f.edits)[f.charge].arg += units
		f.total += units
	}
}

// open enters a block; pos is behind its head. A double loop gets a loop around it.
func (f *flow) open(op byte, pos int, double bool) {
	outer := f.frames[len(f.frames)-1].double
	if double {
		outer++
	}
	f.frames = append(f.frames, frame{op: op, entry: f.charge, outmost: len(f.frames), double: outer})
	switch {
	case f.charge == dead || op == opBlock:
	case op == opLoop:
		if f.small && f.charge == f.entry { // the function always comes here, and calls nothing before
			(*f.edits)[f.entry].what = changeCharge
		}
		f.small = false
		f.shape.merges++ // the look
		f.effort.merges++
		if double {
			f.place(pos, changeTurn)
		} else {
			f.place(pos, changeCheck)
		}
	default:
		f.place(pos, changeCharge)
	}
}

// otherwise changes from one arm of an if to the other; pos is behind the else.
func (f *flow) otherwise(pos int) {
	top := &f.frames[len(f.frames)-1]
	top.op = opElse
	if f.charge = dead; top.entry != dead {
		f.place(pos, changeCharge)
	}
}

// branch notes that the code may go on at the label that is depth frames out.
func (f *flow) branch(depth int) {
	if f.charge == dead {
		return
	}
	top := len(f.frames) - 1
	target := top - depth
	f.frames[target].ways++
	f.frames[top].outmost = min(f.frames[top].outmost, target)
}

// fork is what follows a conditional branch: it runs if the branch was not taken.
func (f *flow) fork(pos int) {
	if f.charge != dead {
		f.place(pos, changeCharge)
	}
}

// stop is what follows a branch that is always taken, or a trap.
func (f *flow) stop() { f.charge = dead }

// close leaves a block; pos is behind its end.
func (f *flow) close(pos int) {
	last := len(f.frames) - 1
	b := f.frames[last]
	f.frames = f.frames[:last]
	if last == 0 {
		return
	}
	outer := &f.frames[last-1]
	outer.outmost = min(outer.outmost, b.outmost)
	f.meet(&b, outer)
	straight := b.op == opLoop || b.op == opBlock && b.ways == 0
	switch {
	case b.entry == dead:
		f.charge = dead
	case b.outmost >= last: // nothing within went further out: in is out
		f.charge = b.entry
	case straight: // its end is reached only from just before
	default:
		f.place(pos, changeCharge)
	}
}

// meet notes what the engine may have to move where the ways into and out of block b meet.
func (f *flow) meet(b, outer *frame) {
	outer.sets = min(outer.sets+b.sets, f.width)
	outer.changes = outer.changes || b.changes
	ways := b.ways
	switch {
	case b.op == opIf || b.op == opElse: // two arms
		ways += 2
	case b.op == opLoop || f.charge != dead: // from before it, or from its end
		ways++
	}
	if ways < 2 {
		return
	}
	f.effort.merges++
	f.shape.moved += b.carries + min(b.sets, f.width)
	if b.changes {
		f.shape.merges++
	}
}

// set notes that a local is set.
func (f *flow) set() { f.frames[len(f.frames)-1].sets++ }

// change notes that the memory or a global may have changed.
func (f *flow) change() { f.frames[len(f.frames)-1].changes = true }

// rest begins code behind a branch, or another arm: only what was there before the block is.
func (f *flow) rest() {
	top := &f.frames[len(f.frames)-1]
	f.effort.height = top.height + top.takes
}
