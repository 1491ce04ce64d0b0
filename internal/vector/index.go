package vector

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/caxton/caxton"
)

// A Group is what a search can be confined to at no cost: its vectors lie together. What a
// group means is the caller's business.
type Group uint64

// Config says how an Index works. A zero field means the default.
type Config struct {
	Dimensions int // a multiple of 64, at most 4,096; 384 by default
	ScanLimit  int // up to that many vectors a search skips the bits; 50,000 by default
	Workers    int // goroutines one large search may use, at most GOMAXPROCS; 2 by default
}

// An Index holds vectors and finds the nearest of them. See the package comment.
type Index struct {
	dims    int
	cfg     Config
	kernels kernels
	scratch sync.Pool // of *scratch

	// writer is held by one writer at a time, mu only while it changes what follows.
	writer sync.Mutex
	mu     sync.RWMutex
	places map[int64]place
	blocks map[uint32]*block
	groups map[Group]*group
	order  []*group          // the values of groups, in an order that only writes decide
	free   []uint32          // ids of blocks that were emptied
	last   uint32            // the highest id given
	gone   map[uint32]uint64 // what the store has and no block is: the version by id
	clock  uint64            // the last version given
	tuning *tuning           // never changed, only replaced
	stored *tuning           // the one the store has
	begun  atomic.Uint64     // views made
	active atomic.Int64      // views in use
}

// New returns an empty Index.
func New(cfg Config) (*Index, error) {
	if cfg.Dimensions == 0 {
		cfg.Dimensions = 384
	}
	if cfg.ScanLimit == 0 {
		cfg.ScanLimit = 50_000
	}
	if cfg.Workers == 0 {
		cfg.Workers = 2
	}
	cfg.Workers = max(1, min(cfg.Workers, runtime.GOMAXPROCS(0)))
	if cfg.Dimensions < 64 || cfg.Dimensions > 4096 || cfg.Dimensions%64 != 0 {
		return nil, caxton.Errorf(caxton.Invalid, "vector_dimensions", "an index of %d dimensions is not possible", cfg.Dimensions).
			WithHint("take a model whose dimensions are a multiple of 64, at most 4096")
	}
	all := allKernels()
	x := &Index{
		dims:    cfg.Dimensions,
		cfg:     cfg,
		kernels: all[len(all)-1],
		places:  map[int64]place{},
		blocks:  map[uint32]*block{},
		groups:  map[Group]*group{},
		gone:    map[uint32]uint64{},
		tuning:  untuned(cfg.Dimensions),
	}
	x.stored = x.tuning
	x.scratch.New = func() any { return new(scratch) }
	return x, nil
}

// Put adds a vector to a group, or replaces the one of that id, in whichever group it was.
// vec may have any length but zero; it is scaled to 1, and not kept.
func (x *Index) Put(id int64, g Group, vec []float32) error {
	n, err := norm(vec, x.dims)
	if err != nil {
		return err
	}
	c := encode(vec, n)
	x.writer.Lock()
	defer x.writer.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if p, ok := x.places[id]; ok {
		b := x.blocks[p.block()]
		if b.group.key == g {
			x.write(b, p.row(), id, c)
			return nil
		}
		x.drop(b, p.row())
	}
	x.add(id, g, c)
	return nil
}

// Remove takes a vector out and reports whether it was there.
func (x *Index) Remove(id int64) bool {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	p, ok := x.places[id]
	if !ok {
		return false
	}
	x.drop(x.blocks[p.block()], p.row())
	delete(x.places, id)
	return true
}

// Move takes a vector to another group as it is and reports whether it was there.
func (x *Index) Move(id int64, g Group) bool {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	p, ok := x.places[id]
	if !ok {
		return false
	}
	b := x.blocks[p.block()]
	if b.group.key == g {
		return true
	}
	c := b.rows.code(p.row(), x.dims)
	c.bytes = append([]byte(nil), c.bytes...)
	x.drop(b, p.row())
	x.add(id, g, c)
	return true
}

// Contains reports whether a vector has that id.
func (x *Index) Contains(id int64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.places[id]
	return ok
}

// Len returns the number of vectors.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.places)
}

// Stats describe an Index at one moment.
type Stats struct {
	Vectors  int
	Groups   int
	Segments int
	Dirty    int   // segments that the store has not, or not as they are
	Bytes    int64 // memory, room for growth included; the map of ids is estimated
	Kernel   string
	Tuning   Tuning

	// TuneDue says that Tune has something to do: the index is larger than ScanLimit and
	// was not tuned yet, or not since it was half as large.
	TuneDue bool
}

// Stats returns the figures of this moment.
func (x *Index) Stats() Stats {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := Stats{
		Vectors:  len(x.places),
		Groups:   len(x.groups),
		Segments: len(x.blocks),
		Dirty:    len(x.gone),
		Kernel:   x.kernels.name,
		Tuning:   x.tuning.Tuning,
	}
	for _, b := range x.blocks {
		s.Bytes += int64(len(b.rows.ids)) * int64(8+4+x.dims+x.dims/8)
		if b.version != b.saved {
			s.Dirty++
		}
	}
	if x.tuning != x.stored {
		s.Dirty++
	}
	s.Bytes += 32 * int64(len(x.places))
	s.TuneDue = s.Vectors > x.cfg.ScanLimit && s.Vectors >= 2*s.Tuning.Vectors
	return s
}

// add appends a vector to a group. The caller holds mu; id is in no block.
func (x *Index) add(id int64, key Group, c code) {
	g := x.groups[key]
	if g == nil {
		g = &group{key: key, at: len(x.order)}
		x.groups[key] = g
		x.order = append(x.order, g)
	}
	var b *block
	if len(g.blocks) > 0 {
		b = g.blocks[len(g.blocks)-1]
	}
	if b == nil || b.n == blockRows {
		id := x.newID()
		b = &block{id: id, group: g, rows: newRows(tile, x.dims), born: x.begun.Load(), saved: x.gone[id]}
		x.blocks[b.id] = b
		g.blocks = append(g.blocks, b)
	}
	if b.n == len(b.rows.ids) {
		b.rows, b.born = b.rows.grown(min(2*b.n, blockRows), x.dims), x.begun.Load()
	}
	row := b.n
	b.n++
	g.n++
	x.write(b, row, id, c)
	b.high = max(b.high, b.n)
}

// newID returns an id that no block has.
func (x *Index) newID() uint32 {
	for n := len(x.free); n > 0; n = len(x.free) {
		id := x.free[n-1]
		x.free = x.free[:n-1]
		if x.blocks[id] == nil { // not restored since
			return id
		}
	}
	x.last++
	return x.last
}

// write sets a row. The caller holds mu.
func (x *Index) write(b *block, row int, id int64, c code) {
	x.own(b, row)
	b.rows.ids[row] = id
	b.rows.scales[row] = c.scale
	copy(b.rows.codes[row*x.dims:], c.bytes)
	lanes, lane := b.rows.lane(row, x.dims)
	setBits(lanes, lane, c.bytes, c.scale, x.tuning.centre)
	x.places[id] = placeOf(b.id, row)
	x.touch(b)
}

// own makes a row safe to write: if a search may be reading it, the block gets a copy of its
// rows. That is so when the row was in use since the rows were made, a view has been made
// since, and one is in use now.
func (x *Index) own(b *block, row int) {
	if x.active.Load() == 0 || b.born == x.begun.Load() {
		b.high = b.n // nobody reads; what lies beyond n is unseen
		return
	}
	if row >= b.high {
		return
	}
	b.rows, b.born, b.high = b.rows.grown(len(b.rows.ids), x.dims), x.begun.Load(), b.n
}

// touch notes that b was written.
func (x *Index) touch(b *block) {
	x.clock++
	b.version = x.clock
	delete(x.gone, b.id)
}

// drop takes a row out of its block; the last row of the group takes its place. The caller
// holds mu and sees to the entry in places.
func (x *Index) drop(b *block, row int) {
	g := b.group
	from := g.blocks[len(g.blocks)-1]
	if end := from.n - 1; from != b || row != end {
		x.write(b, row, from.rows.ids[end], from.rows.code(end, x.dims))
	}
	from.n--
	g.n--
	x.touch(from)
	if from.n > 0 {
		return
	}
	g.blocks[len(g.blocks)-1] = nil
	g.blocks = g.blocks[:len(g.blocks)-1]
	delete(x.blocks, from.id)
	x.free = append(x.free, from.id)
	if from.saved != 0 {
		x.gone[from.id] = from.saved
	}
	if len(g.blocks) == 0 {
		end := len(x.order) - 1
		x.order[g.at] = x.order[end]
		x.order[g.at].at = g.at
		x.order[end] = nil
		x.order = x.order[:end]
		delete(x.groups, g.key)
	}
}

// A view is what a search reads: blocks as they were at one moment, and the tuning their
// bits were made with. It must be released.
type view struct {
	parts  []part
	total  int
	tuning *tuning
}

// A part is the rows of one block that a view shows.
type part struct {
	block *block // for its identity; only the fields below may be read
	rows  *rows
	n     int
	at    int // how many rows of the view come before
}

// view returns the blocks of the groups, or of all if groups is nil.
func (x *Index) view(groups []Group) view {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.begun.Add(1)
	x.active.Add(1)
	v := view{tuning: x.tuning}
	show := func(g *group) {
		for _, b := range g.blocks {
			v.parts = append(v.parts, part{block: b, rows: b.rows, n: b.n, at: v.total})
			v.total += b.n
		}
	}
	if groups == nil {
		v.parts = make([]part, 0, len(x.blocks))
		for _, g := range x.order {
			show(g)
		}
		return v
	}
	seen := make(map[Group]bool, len(groups))
	for _, key := range groups {
		if g := x.groups[key]; g != nil && !seen[key] {
			seen[key] = true
			show(g)
		}
	}
	return v
}

// release says that v is no longer read.
func (x *Index) release() { x.active.Add(-1) }
