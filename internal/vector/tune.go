package vector

import (
	"context"
	"hash/crc32"
	"math"
	"slices"
)

// A Tuning says how the bits are used. Whether the signs of a vector tell near from far
// depends on the model that made it, so this is measured, not assumed.
type Tuning struct {
	Vectors    int     // how many the index had when Tune measured; 0 if it has not
	Oversample float64 // multiplies how many vectors the bits hand on; 1 unless measured; 0 if the bits are not used
	Recall     float64 // share of the nearest ten by bytes that the bits hand on, on the vectors sampled
}

// tuning is a Tuning and the centre that goes with it: bits are set where a code lies above.
type tuning struct {
	Tuning

	centre []float32
	sum    uint32 // of centre: names it in segments
}

// untuned has no centre, and hands on what was enough on data of even clusters.
func untuned(dims int) *tuning {
	return newTuning(Tuning{Oversample: 1}, make([]float32, dims))
}

func newTuning(t Tuning, centre []float32) *tuning {
	return &tuning{Tuning: t, centre: centre, sum: crc32.Checksum(appendFloats(nil, centre), castagnoli())}
}

const (
	tuneSamples = 32     // vectors that are looked for
	tuneNearest = 10     // neighbours of each
	tuneRecall  = 0.995  // of these the bits must hand on
	tuneCentre  = 16_384 // vectors the centre is made of

	// tuneShare is the part of all vectors that the bits may have to hand on: beyond it a
	// look at all bytes costs no more, for it goes through memory in order.
	tuneShare     = 1.0 / 8
	oversampleMax = tuneShare / share

	// centreMoved is how far the centre must have moved for new bits: less does not change
	// the order they give, to speak of.
	centreMoved = 0.05
)

// Tune measures how well the bits find the vectors that the bytes find, on vectors of the
// index, and sets how many the bits hand on; and it sets the bits anew if the centre of all
// vectors has moved. The same vectors, put in the same order, give the same Tuning. It does
// nothing to an index that is searched by bytes alone, up to Config.ScanLimit. The owner of
// the index calls it when Stats.TuneDue. Searches go on meanwhile and writers wait; it takes
// about as long as 32 searches by bytes.
func (x *Index) Tune(ctx context.Context) (Tuning, error) {
	x.writer.Lock()
	defer x.writer.Unlock()
	v := x.view(nil)
	defer x.release()
	if v.total <= x.cfg.ScanLimit {
		return v.tuning.Tuning, nil
	}
	t := v.tuning
	if c := x.centre(v); apart(c, t.centre) > centreMoved {
		t = newTuning(t.Tuning, c)
		x.recentre(&v, t)
	}
	measured, err := x.measure(ctx, v, t)
	if err != nil {
		return Tuning{}, err
	}
	t = newTuning(measured, t.centre)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.install(v, t)
	return measured, nil
}

// centre returns the mean of vectors from all over v.
func (x *Index) centre(v view) []float32 {
	every := max(1, v.total/tuneCentre)
	sum, n := make([]float64, x.dims), 0
	for at := 0; at < v.total; at += every {
		c := v.code(at, x.dims)
		for i, b := range c.bytes {
			sum[i] += float64(value(b) * c.scale)
		}
		n++
	}
	c := make([]float32, x.dims)
	for i, s := range sum {
		c[i] = float32(s / float64(n))
	}
	return c
}

// code returns the codes of a row of v.
func (v view) code(at, dims int) code {
	p := v.find(at)
	return v.parts[p].rows.code(at-v.parts[p].at, dims)
}

// find returns the part that has a row.
func (v view) find(at int) int {
	i, ok := slices.BinarySearchFunc(v.parts, at, func(p part, at int) int { return p.at - at })
	if !ok {
		i--
	}
	return i
}

func apart(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i] - b[i])
		sum += d * d
	}
	return math.Sqrt(sum)
}

// recentre gives the parts of v rows with bits around t's centre. All else they share with
// the rows of before, which searches may be reading.
func (x *Index) recentre(v *view, t *tuning) {
	v.tuning = t
	for i, p := range v.parts {
		r := *p.rows
		r.bits = make([]uint64, len(p.rows.bits))
		for row := range p.n {
			c := r.code(row, x.dims)
			lanes, lane := r.lane(row, x.dims)
			setBits(lanes, lane, c.bytes, c.scale, t.centre)
		}
		v.parts[i].rows = &r
	}
}

// install makes t the tuning, and the rows of v, if they are new, those of their blocks. The
// caller holds writer and mu, so that no block has changed since v was made.
func (x *Index) install(v view, t *tuning) {
	x.tuning = t
	for _, p := range v.parts {
		if p.block.rows != p.rows {
			p.block.rows = p.rows
			x.touch(p.block)
		}
	}
}

// measure looks for the neighbours of some vectors by bytes, and counts how many vectors
// are as near as each of them by bits.
func (x *Index) measure(ctx context.Context, v view, t *tuning) (Tuning, error) {
	var ranks []int
	s := new(scratch)
	vec := make([]float32, x.dims)
	hist := make([]int, x.dims+1)
	for i := range tuneSamples {
		at := i * v.total / tuneSamples
		c := v.code(at, x.dims)
		for j, b := range c.bytes {
			vec[j] = value(b) * c.scale
		}
		n, err := norm(vec, x.dims)
		if err != nil {
			return Tuning{}, err // the index never holds such a vector
		}
		q := newQuery(vec, n, t.centre)

		best := newTop(tuneNearest + 1) // itself is among them
		if err := x.scanCodes(ctx, v, q, s, best, nil); err != nil {
			return Tuning{}, err
		}
		s.dist = sized(s.dist, v.total)
		err = x.split(ctx, v, s, bitsRows, func(p part, _ *rough) {
			x.distances(s.dist[p.at:p.at+p.n], p, q)
		})
		if err != nil {
			return Tuning{}, err
		}
		clear(hist)
		for _, d := range s.dist {
			hist[d]++
		}
		for d := 1; d <= x.dims; d++ {
			hist[d] += hist[d-1]
		}
		self := v.parts[v.find(at)].rows.ids[at-v.parts[v.find(at)].at]
		for _, h := range best.heap {
			if h.ID != self {
				d := s.dist[x.row(v, h.ID)]
				ranks = append(ranks, hist[d])
			}
		}
	}
	slices.Sort(ranks)
	base := enough(view{tuning: &tuning{Tuning: Tuning{Oversample: 1}}}, float64(v.total), tuneNearest)
	need := ranks[min(len(ranks)-1, int(math.Ceil(tuneRecall*float64(len(ranks)))))]
	m := Tuning{Vectors: v.total, Oversample: 1}
	if need > base {
		m.Oversample = math.Ceil(2*float64(need)/float64(base)) / 2
	}
	if float64(need) > tuneShare*float64(v.total) {
		m.Oversample, m.Recall = 0, 1
		return m, nil
	}
	in, _ := slices.BinarySearch(ranks, int(m.Oversample*float64(base))+1)
	m.Recall = float64(in) / float64(len(ranks))
	return m, nil
}

// row returns the row of v that has id. The caller holds writer, so the places are those of v.
func (x *Index) row(v view, id int64) int {
	x.mu.RLock()
	p := x.places[id]
	b := x.blocks[p.block()]
	x.mu.RUnlock()
	i := slices.IndexFunc(v.parts, func(p part) bool { return p.block == b })
	return v.parts[i].at + p.row()
}
