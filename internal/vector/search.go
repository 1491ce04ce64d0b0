package vector

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/caxton/caxton"
)

// A Hit is a vector that a search found.
type Hit struct {
	ID    int64
	Score float32 // the cosine of the angle between it and the query
}

// Exact calls visit with the float32 vector of each of the ids, by its place in ids. An id
// that is not visited has gone since, and is no hit. Vectors may have any length but zero.
type Exact func(ctx context.Context, ids []int64, visit func(i int, vec []float32)) error

// Options narrow a search. The zero value means all vectors, and scores from their bytes.
type Options struct {
	// Groups are searched, nil means all of them. Fewer groups make a search faster.
	Groups []Group

	// Keep, if set, says which vectors may be hits. It is called while the index is scanned,
	// from the goroutine of the caller, for few vectors beyond those that are hits if it
	// lets most pass, and for 1/share times as many if it lets a small share pass. It must
	// be quick, and must give one id one answer.
	Keep func(id int64) bool

	// Exact, if set, gives the vectors of the best candidates for the final scores: of twice
	// as many as there are to be hits, and at least 40. Without it a score is off by up to
	// about 0.01.
	Exact Exact

	// MinScore is the least score of a hit; 0 means that there is none.
	MinScore float32
}

const (
	minExact = 40 // candidates for Options.Exact, at least

	// nearest is how many vectors the bits hand on, at least, unless there are few; share is
	// the same as a part of all. Tune multiplies both.
	nearest = 1000
	share   = 0.003

	ctxRows  = 16 * blockRows  // rows between two looks at the context
	bitsRows = 128 * blockRows // rows that are worth a second goroutine
	codeRows = 8 * blockRows
)

// Search returns the k vectors nearest to query, best first, the smaller id first among
// equals. There are fewer if fewer are kept or reach MinScore.
func (x *Index) Search(ctx context.Context, vec []float32, k int, o Options) ([]Hit, error) {
	n, err := norm(vec, x.dims)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	if k < 1 {
		return nil, caxton.Errorf(caxton.Invalid, "search_limit_invalid", "a search for %d vectors finds nothing", k).
			WithHint("ask for at least 1")
	}
	want := k
	if o.Exact != nil {
		want = max(2*k, minExact)
	}
	best, q, err := x.candidates(ctx, vec, n, want, o)
	if err != nil {
		return nil, err
	}
	hits := best.sorted()
	if o.Exact != nil && len(hits) > 0 {
		if hits, err = rescore(ctx, q.unit, hits, o.Exact); err != nil {
			return nil, err
		}
	}
	if o.MinScore != 0 {
		hits = slices.DeleteFunc(hits, func(h Hit) bool { return h.Score < o.MinScore })
	}
	return hits[:min(k, len(hits))], nil
}

// candidates returns the best by bytes. The view ends with it, so that no writer copies a
// block because a caller's Exact takes its time.
func (x *Index) candidates(ctx context.Context, vec []float32, n float64, want int, o Options) (*top, query, error) {
	v := x.view(o.Groups)
	defer x.release()
	q := newQuery(vec, n, v.tuning.centre)
	s := x.scratch.Get().(*scratch)
	defer x.scratch.Put(s)
	best := newTop(min(want, v.total))
	if v.total <= x.cfg.ScanLimit || v.tuning.Oversample == 0 {
		return best, q, x.scanCodes(ctx, v, q, s, best, o.Keep)
	}
	return best, q, x.scanBits(ctx, v, q, s, best, o.Keep)
}

// rescore replaces the scores of hits by exact ones.
func rescore(ctx context.Context, unit []float32, hits []Hit, exact Exact) ([]Hit, error) {
	ids := make([]int64, len(hits))
	for i, h := range hits {
		ids[i] = h.ID
	}
	seen := make([]bool, len(hits))
	var wrong error
	err := exact(ctx, ids, func(i int, vec []float32) {
		n, err := norm(vec, len(unit))
		if err != nil {
			wrong = cmp.Or(wrong, fmt.Errorf("vector %d: %w", ids[i], err))
			return
		}
		sum := 0.0
		for j, v := range vec {
			sum += float64(v) * float64(unit[j])
		}
		hits[i].Score, seen[i] = float32(sum/n), true
	})
	if err = cmp.Or(err, wrong); err != nil {
		return nil, fmt.Errorf("rescore: %w", err)
	}
	left := hits[:0]
	for i, h := range hits {
		if seen[i] {
			left = append(left, h)
		}
	}
	slices.SortFunc(left, compareHits)
	return left, nil
}

// scratch is the memory of one search.
type scratch struct {
	dist  []uint16
	score []float32
	masks []uint16
	rough []*rough
}

// rough is the memory of one goroutine of a search.
type rough struct {
	hist []uint32 // how many of the rows looked at have each distance
	dots []int32
}

// sized returns s with length n and contents of no meaning.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// split runs scan on the parts of v, in up to Workers goroutines if each has at least rows
// rows to do. Other searches take the processors too, so each gets its share of Workers.
func (x *Index) split(ctx context.Context, v view, s *scratch, rows int, scan func(p part, r *rough)) error {
	workers := min(x.cfg.Workers/max(1, int(x.active.Load())), v.total/rows)
	workers = max(1, workers)
	for len(s.rough) < workers {
		s.rough = append(s.rough, new(rough))
	}
	for _, r := range s.rough {
		clear(r.hist)
	}
	run := func(parts []part, r *rough) error {
		done := 0
		for _, p := range parts {
			if done -= p.n; done < 0 {
				if err := ctx.Err(); err != nil {
					return stopped(err)
				}
				done = ctxRows
			}
			scan(p, r)
		}
		return nil
	}
	if workers == 1 {
		return run(v.parts, s.rough[0])
	}
	var all sync.WaitGroup
	errs := make([]error, workers)
	from := 0
	for w := range workers {
		to := from
		for to < len(v.parts) && v.parts[to].at < (w+1)*v.total/workers {
			to++
		}
		parts := v.parts[from:to]
		all.Go(func() { errs[w] = run(parts, s.rough[w]) })
		from = to
	}
	all.Wait()
	return cmp.Or(errs...)
}

// stopped returns the error of a search whose context has ended.
func stopped(err error) error {
	kind := caxton.Canceled
	if err == context.DeadlineExceeded { //nolint:errorlint // ctx.Err returns it bare
		kind = caxton.Timeout
	}
	return caxton.Errorf(kind, "search_stopped", "the search was stopped before it had seen all vectors").WithCause(err)
}

// scanCodes scores every row of v by its bytes.
func (x *Index) scanCodes(ctx context.Context, v view, q query, s *scratch, best *top, keep func(int64) bool) error {
	s.score = sized(s.score, v.total)
	err := x.split(ctx, v, s, codeRows, func(p part, r *rough) {
		x.scores(s.score[p.at:p.at+p.n], p, q, r)
	})
	if err != nil {
		return err
	}
	for _, p := range v.parts {
		for i, score := range s.score[p.at : p.at+p.n] {
			if score < best.floor {
				continue
			}
			if h := (Hit{p.rows.ids[i], score}); best.wants(h) && (keep == nil || keep(h.ID)) {
				best.push(h)
			}
		}
	}
	return nil
}

// scores sets the scores of the rows of p.
func (x *Index) scores(out []float32, p part, q query, r *rough) {
	r.dots = sized(r.dots, blockRows)
	dots := r.dots[:p.n]
	x.kernels.dots(dots, p.rows.codes, q.wide)
	for i, d := range dots {
		out[i] = float32(d) * p.rows.scales[i] * q.scale
	}
}

// distances sets the distances of the rows of p. The last tile may have rows that a writer
// is about to fill; only those in use are read.
func (x *Index) distances(out []uint16, p part, q query) {
	whole := p.n / tile * tile
	x.kernels.hamming(out[:whole], p.rows.bits, q.bits)
	for row := whole; row < p.n; row++ {
		lanes, lane := p.rows.lane(row, x.dims)
		out[row] = distance(lanes, q.bits, lane)
	}
}

// scanBits scores the rows of v that are near by their bits. It starts with as many as the
// selection calls for, and goes on to rows farther away until enough of them are kept.
func (x *Index) scanBits(ctx context.Context, v view, q query, s *scratch, best *top, keep func(int64) bool) error {
	s.dist = sized(s.dist, v.total)
	every := 1 // of how many rows one is counted
	if v.total >= bitsRows {
		every = 4
	}
	err := x.split(ctx, v, s, bitsRows, func(p part, r *rough) {
		if len(r.hist) != x.dims+1 {
			r.hist = make([]uint32, x.dims+1)
		}
		out := s.dist[p.at : p.at+p.n]
		x.distances(out, p, q)
		for i := 0; i < len(out); i += every {
			r.hist[out[i]]++
		}
	})
	if err != nil {
		return err
	}
	hist := make([]int, x.dims+1)
	for _, r := range s.rough {
		for d, n := range r.hist {
			hist[d] += int(n) * every
		}
	}

	kept := float64(v.total) // how many of all rows Keep lets pass, as far as is known
	if keep != nil {
		kept *= sample(v, keep)
	}
	limit, looked, found := -1, 0, 0
	for aim := int(float64(enough(v, kept, best.k)) * float64(v.total) / max(kept, 1)); ; {
		from := limit
		limit = reach(hist, from, aim)
		n, f, err := x.rank(ctx, v, q, s, best, keep, from, limit)
		if err != nil {
			return err
		}
		looked, found = looked+n, found+f
		if keep == nil || limit == x.dims {
			return nil
		}
		kept = max(kept, float64(found)/float64(max(looked, 1))*float64(v.total))
		need := enough(v, kept, best.k)
		if found >= need {
			return nil
		}
		aim = max(2*looked, int(1.2*float64(looked)*float64(need)/float64(max(found, 1))))
	}
}

// sample returns the share of rows that keep lets pass, from 512 rows all over v.
func sample(v view, keep func(int64) bool) float64 {
	const rows = 512
	n, yes := 0, 0
	p := 0
	for i := range rows {
		at := i * v.total / rows
		for at >= v.parts[p].at+v.parts[p].n {
			p++
		}
		n++
		if keep(v.parts[p].rows.ids[at-v.parts[p].at]) {
			yes++
		}
	}
	return float64(yes) / float64(n)
}

// enough returns how many of n rows the bits hand on, for a search that is to have k.
func enough(v view, n float64, k int) int {
	return int(float64(v.tuning.Oversample) * max(share*n, min(nearest, n/16), 8*float64(k)))
}

// reach returns the least distance beyond from within which aim rows lie.
func reach(hist []int, from, aim int) int {
	sum := 0
	for d, n := range hist {
		if sum += n; d > from && sum >= aim {
			return d
		}
	}
	return len(hist) - 1
}

// rank scores the rows whose distance is over from and at most limit. It returns how many
// there are, and how many of them were kept.
func (x *Index) rank(ctx context.Context, v view, q query, s *scratch, best *top, keep func(int64) bool, from, limit int) (looked, found int, err error) {
	s.masks = sized(s.masks, blockRows/tile)
	var dot [1]int32
	take := func(p part, row int) {
		looked++
		id := p.rows.ids[row]
		if keep != nil && !keep(id) {
			return
		}
		found++
		c := p.rows.code(row, x.dims)
		x.kernels.dots(dot[:], c.bytes, q.wide)
		if h := (Hit{id, float32(dot[0]) * c.scale * q.scale}); best.wants(h) {
			best.push(h)
		}
	}
	for _, p := range v.parts {
		if err := ctx.Err(); err != nil {
			return 0, 0, stopped(err)
		}
		dist := s.dist[p.at : p.at+p.n]
		whole := p.n / tile
		x.kernels.below(s.masks[:whole], dist[:whole*tile], uint16(limit)) //nolint:gosec // at most 4,096
		for t, m := range s.masks[:whole] {
			for ; m != 0; m &= m - 1 {
				row := t*tile + bits.TrailingZeros16(m)
				if int(dist[row]) > from {
					take(p, row)
				}
			}
		}
		for row := whole * tile; row < p.n; row++ {
			if d := int(dist[row]); d > from && d <= limit {
				take(p, row)
			}
		}
	}
	return looked, found, nil
}
