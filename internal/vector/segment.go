package vector

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"math"

	"github.com/caxton/caxton"
)

// A Segment is a part of an Index as the store keeps it: under ID 0 the tuning, under any
// other up to 1,024 vectors of one group. A nil Blob says that the store is to delete what
// it has under ID.
type Segment struct {
	ID   uint32
	Blob []byte
}

// The form of a blob, all numbers little-endian: magic, version (16 bits), kind (16 bits),
// ID, dimensions, and at the end the CRC-32C of all before. In between has kind 0 (tuning)
// vectors (64 bits), oversample, recall (float64 each) and the centre (float32 each); kind 1
// (vectors) their number, the sum of the centre, the group (64 bits), then all ids (64 bits
// each), all scales (float32), all codes (bytes), and for each vector its bits.
const (
	magic          = "CXVS"
	segmentVersion = 1
	kindTuning     = 0
	kindVectors    = 1
	headSize       = 16
	sumSize        = 4
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Checkpoint calls write with the segments of one state of the index; with changedOnly, those
// that differ from what the store has. Each is encoded when the sequence comes to it, so they
// are never in memory together, and the sequence can be ranged over once or again. If write
// returns nil, the store has them: it returns when its transaction is committed. Searches
// and writers go on meanwhile; what they change belongs to the next Checkpoint. Only one
// Checkpoint may run at a time.
func (x *Index) Checkpoint(changedOnly bool, write func(iter.Seq[Segment]) error) error {
	type saved struct {
		part    part
		version uint64
	}
	x.writer.Lock() // so that parts, versions and gone are of one state
	v := x.view(nil)
	defer x.release()
	x.mu.RLock()
	var blocks []saved
	for _, p := range v.parts {
		if b := p.block; !changedOnly || b.version != b.saved {
			blocks = append(blocks, saved{p, b.version})
		}
	}
	gone := make([]uint32, 0, len(x.gone))
	for id := range x.gone {
		gone = append(gone, id)
	}
	stored := x.stored
	x.mu.RUnlock()
	x.writer.Unlock()

	err := write(func(yield func(Segment) bool) {
		if !changedOnly || v.tuning != stored {
			if !yield(Segment{0, x.encodeTuning(v.tuning)}) {
				return
			}
		}
		for _, id := range gone {
			if !yield(Segment{ID: id}) {
				return
			}
		}
		for _, s := range blocks {
			if !yield(Segment{s.part.block.id, x.encodeRows(s.part, v.tuning)}) {
				return
			}
		}
	})
	if err != nil {
		return err
	}

	x.mu.Lock()
	defer x.mu.Unlock()
	x.stored = v.tuning
	for _, id := range gone {
		delete(x.gone, id)
	}
	for _, s := range blocks {
		id := s.part.block.id
		switch b := x.blocks[id]; {
		case b != nil:
			b.saved = s.version // of another block by now, perhaps; then it differs from b's
		default:
			x.gone[id] = s.version
		}
	}
	return nil
}

func head(kind uint16, id uint32, dims, size int) []byte {
	b := make([]byte, 0, headSize+size+sumSize)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, segmentVersion)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint32(b, id)
	return binary.LittleEndian.AppendUint32(b, uint32(dims)) //nolint:gosec // at most 4,096
}

func sealed(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func appendFloats(b []byte, fs []float32) []byte {
	for _, f := range fs {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

const tuningSize = 3 * 8 // before the centre

func (x *Index) encodeTuning(t *tuning) []byte {
	b := head(kindTuning, 0, x.dims, tuningSize+4*x.dims)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Vectors)) //nolint:gosec // a count
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(t.Oversample))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(t.Recall))
	return sealed(appendFloats(b, t.centre))
}

const rowsSize = 4 + 4 + 8 // before the rows

func (x *Index) rowSize() int { return 8 + 4 + x.dims + x.dims/8 }

func (x *Index) encodeRows(p part, t *tuning) []byte {
	b := head(kindVectors, p.block.id, x.dims, rowsSize+p.n*x.rowSize())
	b = binary.LittleEndian.AppendUint32(b, uint32(p.n)) //nolint:gosec // at most blockRows
	b = binary.LittleEndian.AppendUint32(b, t.sum)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.block.group.key))
	for _, id := range p.rows.ids[:p.n] {
		b = binary.LittleEndian.AppendUint64(b, uint64(id)) //nolint:gosec // comes back the same way
	}
	b = appendFloats(b, p.rows.scales[:p.n])
	b = append(b, p.rows.codes[:p.n*x.dims]...)
	for row := range p.n {
		lanes, lane := p.rows.lane(row, x.dims)
		for w := range x.dims / 64 {
			b = binary.LittleEndian.AppendUint64(b, lanes[w*tile+lane])
		}
	}
	return sealed(b)
}

// damaged returns the error for a blob that cannot be used.
func damaged(id uint32, format string, args ...any) error {
	return caxton.Errorf(caxton.Malformed, "vector_segment_damaged", "segment %d of the vector index cannot be used: %s", id, fmt.Sprintf(format, args...)).
		WithHint("the index is built again from the stored vectors")
}

// Restore takes in a segment that Checkpoint gave out. Segments may come in any order, from
// several goroutines too; the one of ID 0 first saves work. One that is damaged, was made
// for other dimensions, or holds an id that the index has already, is refused with a
// Malformed error, and nothing of it is kept. Blob is not kept.
func (x *Index) Restore(s Segment) error {
	if len(s.Blob) < headSize+sumSize || string(s.Blob[:4]) != magic {
		return damaged(s.ID, "it does not begin like a segment")
	}
	body := s.Blob[:len(s.Blob)-sumSize]
	if crc32.Checksum(body, castagnoli()) != binary.LittleEndian.Uint32(s.Blob[len(body):]) {
		return damaged(s.ID, "its checksum is wrong")
	}
	version, kind := binary.LittleEndian.Uint16(body[4:]), binary.LittleEndian.Uint16(body[6:])
	id, dims := binary.LittleEndian.Uint32(body[8:]), binary.LittleEndian.Uint32(body[12:])
	body = body[headSize:]
	switch {
	case version != segmentVersion:
		return damaged(s.ID, "it has version %d, this server reads %d", version, segmentVersion)
	case id != s.ID:
		return damaged(s.ID, "it is segment %d", id)
	case int(dims) != x.dims:
		return damaged(s.ID, "its vectors have %d dimensions, this index takes %d", dims, x.dims)
	case kind == kindTuning && id == 0:
		return x.restoreTuning(body)
	case kind == kindVectors && id != 0:
		return x.restoreRows(id, body)
	}
	return damaged(s.ID, "it is of an unknown kind")
}

func (x *Index) restoreTuning(body []byte) error {
	if len(body) != tuningSize+4*x.dims {
		return damaged(0, "it has %d bytes too many or too few", len(body)-tuningSize-4*x.dims)
	}
	var t Tuning
	vectors := binary.LittleEndian.Uint64(body)
	t.Oversample = math.Float64frombits(binary.LittleEndian.Uint64(body[8:]))
	t.Recall = math.Float64frombits(binary.LittleEndian.Uint64(body[16:]))
	centre := floats(body[tuningSize:])
	far := apart(centre, make([]float32, x.dims))
	over := t.Oversample == 0 || t.Oversample >= 1 && t.Oversample <= oversampleMax+1
	if vectors > math.MaxInt32 || !over || !(t.Recall >= 0 && t.Recall <= 1) || !(far <= 1.01) {
		return damaged(0, "it holds impossible numbers")
	}
	t.Vectors = int(vectors)

	x.writer.Lock()
	defer x.writer.Unlock()
	v := x.view(nil)
	defer x.release()
	n := newTuning(t, centre)
	if n.sum != v.tuning.sum {
		x.recentre(&v, n)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.install(v, n)
	x.stored = n
	return nil
}

func floats(b []byte) []float32 {
	fs := make([]float32, len(b)/4)
	for i := range fs {
		fs[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return fs
}

func (x *Index) restoreRows(id uint32, body []byte) error {
	if len(body) < rowsSize {
		return damaged(id, "it is cut short")
	}
	n, sum := int(binary.LittleEndian.Uint32(body)), binary.LittleEndian.Uint32(body[4:])
	key := Group(binary.LittleEndian.Uint64(body[8:]))
	body = body[rowsSize:]
	if id > math.MaxInt32 {
		return damaged(id, "its number is too high")
	}
	if n < 1 || n > blockRows || len(body) != n*x.rowSize() {
		return damaged(id, "it has %d bytes for %d vectors", len(body), n)
	}
	r := newRows(n, x.dims)
	for i := range n {
		r.ids[i] = int64(binary.LittleEndian.Uint64(body[8*i:])) //nolint:gosec // the way it went in
	}
	body = body[8*n:]
	for i := range n {
		f := math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
		if !(f > 0 && f <= 1) {
			return damaged(id, "a scale is %v", f)
		}
		r.scales[i] = f
	}
	body = body[4*n:]
	copy(r.codes, body[:n*x.dims])
	body = body[n*x.dims:]
	words := x.dims / 64
	for row := range n {
		lanes, lane := r.lane(row, x.dims)
		for w := range words {
			lanes[w*tile+lane] = binary.LittleEndian.Uint64(body[8*(row*words+w):])
		}
	}

	x.writer.Lock()
	defer x.writer.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.adopt(&block{id: id, rows: r, n: n, high: n, born: x.begun.Load()}, key, sum)
}

// adopt takes in a restored block. The caller holds writer and mu.
func (x *Index) adopt(b *block, key Group, sum uint32) error {
	if x.blocks[b.id] != nil {
		return damaged(b.id, "the index has a segment of that number already")
	}
	for i, id := range b.rows.ids[:b.n] {
		if _, ok := x.places[id]; ok {
			for _, id := range b.rows.ids[:i] {
				delete(x.places, id)
			}
			return damaged(b.id, "it holds vector %d, which another has, or it twice", id)
		}
		x.places[id] = placeOf(b.id, i)
	}
	g := x.groups[key]
	if g == nil {
		g = &group{key: key, at: len(x.order)}
		x.groups[key] = g
		x.order = append(x.order, g)
	}
	b.group = g
	g.n += b.n
	g.blocks = append(g.blocks, b)
	if end := len(g.blocks) - 1; end > 0 && b.n == blockRows {
		g.blocks[end], g.blocks[end-1] = g.blocks[end-1], g.blocks[end] // one with room stays last
	}
	x.blocks[b.id] = b
	x.last = max(x.last, b.id)
	x.touch(b)
	b.saved = b.version
	if sum != x.tuning.sum { // saved around another centre
		for row := range b.n {
			c := b.rows.code(row, x.dims)
			lanes, lane := b.rows.lane(row, x.dims)
			setBits(lanes, lane, c.bytes, c.scale, x.tuning.centre)
		}
		x.touch(b)
	}
	return nil
}
