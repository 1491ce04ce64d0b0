package vector

// blockRows is the most rows a block has, and so a segment: about 446 KB at 384 dimensions.
// A writer copies that much when a search still reads the block, in about 50 µs.
const blockRows = 1024

// rows are the vectors of a block. The slices have room for more rows than are in use. A
// search that has seen a row goes on reading it without a lock, so a row is written only
// when no search can have seen it; see Index.own.
type rows struct {
	ids    []int64
	scales []float32
	codes  []byte
	bits   []uint64 // in tiles
}

// newRows has room for n rows, rounded up to tiles.
func newRows(n, dims int) *rows {
	n = (n + tile - 1) / tile * tile
	return &rows{
		ids:    make([]int64, n),
		scales: make([]float32, n),
		codes:  make([]byte, n*dims),
		bits:   make([]uint64, n*dims/64),
	}
}

// grown returns a copy of r with room for n rows.
func (r *rows) grown(n, dims int) *rows {
	c := newRows(n, dims)
	copy(c.ids, r.ids)
	copy(c.scales, r.scales)
	copy(c.codes, r.codes)
	copy(c.bits, r.bits)
	return c
}

// lane returns the tile of a row's bits and the row's place in it.
func (r *rows) lane(row, dims int) ([]uint64, int) {
	words := dims / 64
	at := row / tile * tile * words
	return r.bits[at : at+tile*words], row % tile
}

// code returns the codes of a row.
func (r *rows) code(row, dims int) code {
	return code{bytes: r.codes[row*dims : (row+1)*dims], scale: r.scales[row]}
}

// A block is up to blockRows vectors of one group.
type block struct {
	id    uint32
	group *group
	rows  *rows
	n     int // rows in use

	// high is how many rows searches may have seen; the rows beyond may be written.
	high int

	// born is the number of searches that had begun when rows was made. While no other has,
	// nobody else has seen rows.
	born uint64

	version uint64 // changes with each write
	saved   uint64 // the version the store has under id; 0 for none
}

// A group is the blocks of one Group. All are full but the last, and but those that were
// restored from a store whose segments are not of one state.
type group struct {
	key    Group
	n      int // vectors
	at     int // in Index.order
	blocks []*block
}

// A place says where a vector is: the block's id and the row.
type place uint64

func placeOf(block uint32, row int) place { return place(block)<<16 | place(row) } //nolint:gosec // row is below blockRows

func (p place) block() uint32 { return uint32(p >> 16) } //nolint:gosec // that is what went in
func (p place) row() int      { return int(p & 0xffff) }
