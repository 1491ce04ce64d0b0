package vector

import (
	"cmp"
	"math"
	"slices"
)

// compareHits orders hits, the better first.
func compareHits(a, b Hit) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
}

// A top keeps the best k hits: a heap, the worst at its root.
type top struct {
	k     int
	heap  []Hit
	floor float32 // no hit with a lower score is wanted
}

func newTop(k int) *top {
	return &top{k: k, heap: make([]Hit, 0, k), floor: float32(math.Inf(-1))}
}

// wants reports whether h is among the best k so far.
func (t *top) wants(h Hit) bool {
	return len(t.heap) < t.k || t.k > 0 && compareHits(h, t.heap[0]) < 0
}

// push adds a hit that t wants.
func (t *top) push(h Hit) {
	if len(t.heap) < t.k {
		t.heap = append(t.heap, h)
		for i := len(t.heap) - 1; i > 0; {
			up := (i - 1) / 2
			if compareHits(t.heap[i], t.heap[up]) <= 0 {
				break
			}
			t.heap[i], t.heap[up] = t.heap[up], t.heap[i]
			i = up
		}
	} else {
		t.heap[0] = h
		for i := 0; ; {
			worst := i
			for c := 2*i + 1; c <= 2*i+2 && c < len(t.heap); c++ {
				if compareHits(t.heap[c], t.heap[worst]) > 0 {
					worst = c
				}
			}
			if worst == i {
				break
			}
			t.heap[i], t.heap[worst] = t.heap[worst], t.heap[i]
			i = worst
		}
	}
	if len(t.heap) == t.k {
		t.floor = t.heap[0].Score
	}
}

// sorted returns the hits, best first. t is of no use afterwards.
func (t *top) sorted() []Hit {
	slices.SortFunc(t.heap, compareHits)
	return t.heap
}
