package vector

import (
	"context"
	"fmt"
)

// Scores calls visit with the cosine of query and each of the vectors of ids that is in one of
// the groups, nil for all of them, from their bytes: it is off by up to about 0.01.
func (x *Index) Scores(ctx context.Context, vec []float32, ids []int64, groups []Group, visit func(i int, score float32)) error {
	n, err := norm(vec, x.dims)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	q := newQuery(vec, n, make([]float32, x.dims))
	in := make(map[Group]bool, len(groups))
	for _, g := range groups {
		in[g] = true
	}
	const slice = 256 // vectors between two looks at the context, and for which a writer waits
	dots := make([]int32, 1)
	for from := 0; from < len(ids); from += slice {
		if err := ctx.Err(); err != nil {
			return stopped(err)
		}
		x.mu.RLock()
		for i, id := range ids[from:min(from+slice, len(ids))] {
			p, ok := x.places[id]
			if !ok {
				continue
			}
			b := x.blocks[p.block()]
			if groups != nil && !in[b.group.key] {
				continue
			}
			c := b.rows.code(p.row(), x.dims)
			x.kernels.dots(dots, c.bytes, q.wide)
			visit(from+i, float32(dots[0])*c.scale*q.scale)
		}
		x.mu.RUnlock()
	}
	return nil
}
