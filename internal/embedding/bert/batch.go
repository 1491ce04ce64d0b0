package bert

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/caxton/caxton"
)

// passRows is how many tokens one pass takes at most, unless one text alone is longer. More
// would not be faster: unpacking a panel for 256 rows costs about a hundredth of using it.
const passRows = 256

// EmbedBatch writes the vector of each text into the dst of the same place, with all workers at
// once. It looks at ctx between passes of at most 256 tokens; when ctx ends it returns its error
// and part of dst is written.
func (m *Model) EmbedBatch(ctx context.Context, dst [][]float32, ids [][]int32) error {
	if len(dst) != len(ids) {
		return caxton.Errorf(caxton.Invalid, "vector_count", "%d vectors for %d texts", len(dst), len(ids))
	}
	total := 0
	for i := range ids {
		if err := m.check(dst[i], ids[i]); err != nil {
			return fmt.Errorf("text %d: %w", i, err)
		}
		total += len(ids[i])
	}
	passes := plan(ids, total, m.workers)
	var next atomic.Int64
	work := func() {
		s := m.take()
		defer m.give(s)
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(passes) {
				return
			}
			clear(s.texts)
			s.texts, s.rows = s.texts[:0], 0
			for t := passes[i].from; t < passes[i].to; t++ {
				s.add(dst[t], ids[t])
			}
			m.forward(s)
		}
	}
	if n := min(m.workers, len(passes)); n > 1 {
		var wg sync.WaitGroup
		for range n {
			wg.Go(work)
		}
		wg.Wait()
	} else {
		work()
	}
	if err := context.Cause(ctx); err != nil && int(next.Load()) < len(passes) {
		return fmt.Errorf("embed %d texts: %w", len(ids), err)
	}
	return nil
}

// A pass is the texts from from to before to.
type pass struct{ from, to int }

// plan cuts a batch of total tokens into passes, nearly equal ones and as many as keep all
// workers busy.
func plan(ids [][]int32, total, workers int) []pass {
	rounds := (total + workers*passRows - 1) / (workers * passRows)
	if rounds == 0 {
		return nil
	}
	most := max(16, (total+rounds*workers-1)/(rounds*workers))
	var passes []pass
	from, rows := 0, 0
	for i, t := range ids {
		if rows > 0 && rows+len(t) > most {
			passes = append(passes, pass{from, i})
			from, rows = i, 0
		}
		rows += len(t)
	}
	return append(passes, pass{from, len(ids)})
}
