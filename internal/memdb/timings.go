package memdb

import (
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"
)

// A timing counts how long one kind of query took, in steps of an eighth of a power of two.
type timing struct {
	count int64
	sum   time.Duration
	most  time.Duration
	steps [64 * 8]int64
}

// timings are those of all kinds.
type timings struct {
	mu    sync.Mutex // guards kinds
	kinds map[string]*timing
}

func step(d time.Duration) int {
	n := uint64(max(d, 1))
	exp := bits.Len64(n) - 1
	eighth := 0
	if exp >= 3 {
		eighth = int(n>>(exp-3)) & 7 //nolint:gosec // three bits
	}
	return exp*8 + eighth
}

func (t *timings) observe(kind string, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds == nil {
		t.kinds = map[string]*timing{}
	}
	k := t.kinds[kind]
	if k == nil {
		k = &timing{}
		t.kinds[kind] = k
	}
	k.add(d)
}

func (k *timing) add(d time.Duration) {
	k.count++
	k.sum += d
	k.most = max(k.most, d)
	k.steps[step(d)]++
}

// quantile is the upper end of the step in which a share of all lies.
func (k *timing) quantile(q float64) time.Duration {
	rest := int64(q * float64(k.count))
	for i, n := range k.steps {
		if rest -= n; rest < 0 {
			return min(time.Duration((8+uint64(i%8)+1)<<(i/8)>>3), k.most)
		}
	}
	return k.most
}

// all is the timing of all kinds together.
func (t *timings) all() timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum timing
	for _, k := range t.kinds {
		sum.count += k.count
		sum.sum += k.sum
		sum.most = max(sum.most, k.most)
		for i, n := range k.steps {
			sum.steps[i] += n
		}
	}
	return sum
}

// each calls fn for each kind, in order of their names.
func (t *timings) each(fn func(kind string, k timing)) {
	t.mu.Lock()
	copies := make(map[string]timing, len(t.kinds))
	names := make([]string, 0, len(t.kinds))
	for name, k := range t.kinds {
		copies[name] = *k
		names = append(names, name)
	}
	t.mu.Unlock()
	slices.SortFunc(names, strings.Compare)
	for _, name := range names {
		fn(name, copies[name])
	}
}
