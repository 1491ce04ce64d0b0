package recall_test

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/caxton/caxton/internal/recall"
)

// keywords is a plain BM25 search over speaker and text, the baseline that needs no model.
// It drops words that say nothing and the plainest endings.
type keywords struct {
	ids     []string
	lengths []float64
	in      map[string][]posting
	total   float64
}

// A posting says how often a term is in a turn.
type posting struct {
	at    int
	count float64
}

func newKeywords() *keywords { return &keywords{in: map[string][]posting{}} }

// terms are the words of a text without their endings.
func terms(text string) []string {
	var out []string
	for _, w := range words(text) {
		if strings.Contains(" a an and are as at be been by but did do does for from had has have he her his how i in is it its me my of on or our s she so than that the their them there they this to up was we were what when where which who whose why will with would you your ", " "+w+" ") {
			continue
		}
		for _, end := range []string{"ing", "ed", "es", "s", "e"} {
			if base, ok := strings.CutSuffix(w, end); ok && len(base) > 2 {
				w = base
				break
			}
		}
		out = append(out, w)
	}
	return out
}

func (k *keywords) Add(_ context.Context, turns []recall.Turn) error {
	for _, t := range turns {
		count := map[string]float64{}
		all := terms(t.Speaker + " " + t.Text)
		for _, w := range all {
			count[w]++
		}
		for w, n := range count {
			k.in[w] = append(k.in[w], posting{len(k.ids), n})
		}
		k.ids = append(k.ids, t.ID)
		k.lengths = append(k.lengths, float64(len(all)))
		k.total += float64(len(all))
	}
	return nil
}

func (k *keywords) Search(_ context.Context, q recall.Query, limit int) ([]string, error) {
	type hit struct {
		at    int
		score float64
	}
	const k1, b = 1.2, 0.75
	n, mean := float64(len(k.ids)), k.total/float64(len(k.ids))
	wanted := terms(q.Text)
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	scores := make([]float64, len(k.ids))
	for _, w := range wanted {
		found := k.in[w]
		idf := math.Log(1 + (n-float64(len(found))+0.5)/(float64(len(found))+0.5))
		for _, p := range found {
			scores[p.at] += idf * p.count * (k1 + 1) / (p.count + k1*(1-b+b*k.lengths[p.at]/mean))
		}
	}
	var hits []hit
	for i, score := range scores {
		if score > 0 {
			hits = append(hits, hit{i, score})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	var out []string
	for _, h := range hits[:min(limit, len(hits))] {
		out = append(out, k.ids[h.at])
	}
	return out, nil
}

// latest returns the last turns, whatever is asked: the floor under every system.
type latest struct{ ids []string }

func (l *latest) Add(_ context.Context, turns []recall.Turn) error {
	for _, t := range turns {
		l.ids = append(l.ids, t.ID)
	}
	return nil
}

func (l *latest) Search(_ context.Context, _ recall.Query, limit int) ([]string, error) {
	out := slices.Clone(l.ids[max(0, len(l.ids)-limit):])
	slices.Reverse(out)
	return out, nil
}

func keywordSystem() recall.System {
	return recall.System{Name: "bm25", Open: func(context.Context, string) (recall.Searcher, error) { return newKeywords(), nil }}
}

func latestSystem() recall.System {
	return recall.System{Name: "latest", Open: func(context.Context, string) (recall.Searcher, error) { return &latest{}, nil }}
}
