package vector_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/vector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew(t *testing.T) {
	for _, dims := range []int{-64, 1, 63, 65, 100, 4097, 4160} {
		if _, err := vector.New(vector.Config{Dimensions: dims}); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("New with %d dimensions: %v, want Invalid", dims, err)
		}
	}
	for _, dims := range []int{0, 64, 192, 384, 4096} {
		if _, err := vector.New(vector.Config{Dimensions: dims}); err != nil {
			t.Errorf("New with %d dimensions: %v", dims, err)
		}
	}
}

func TestIndexRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	with := func(i int, f float32) []float32 {
		v := make([]float32, 64)
		v[0], v[i] = 1, f
		return v
	}
	tests := []struct {
		name string
		vec  []float32
		code string
	}{
		{"nil", nil, "vector_dimensions"},
		{"one short", make([]float32, 63), "vector_dimensions"},
		{"one long", make([]float32, 65), "vector_dimensions"},
		{"zero", make([]float32, 64), "vector_invalid"},
		{"NaN last", with(63, nan), "vector_invalid"},
		{"Inf first", with(0, inf), "vector_invalid"},
		{"a usable one", with(5, 2), ""},
		{"a tiny one", with(0, 1e-40), ""},
		{"a huge one", with(1, math.MaxFloat32), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newIndex(t, vector.Config{Dimensions: 64})
			_, searched := x.Search(t.Context(), tt.vec, 1, vector.Options{})
			for call, err := range map[string]error{"Put": x.Put(1, 0, tt.vec), "Search": searched} {
				e, _ := errors.AsType[*caxton.Error](err)
				switch {
				case tt.code == "" && err != nil:
					t.Errorf("%s: %v", call, err)
				case tt.code != "" && (e == nil || e.Kind != caxton.Invalid || e.Code != tt.code):
					t.Errorf("%s: %v, want Invalid %s", call, err, tt.code)
				}
			}
			if got, want := x.Contains(1), tt.code == ""; got != want {
				t.Errorf("Contains = %v, want %v", got, want)
			}
			if tt.code != "" {
				return
			}
			hits, err := x.Search(t.Context(), tt.vec, 1, vector.Options{})
			if err != nil || len(hits) != 1 || hits[0].Score < 0.99 || hits[0].Score > 1.01 {
				t.Errorf("Search for itself = %v, %v, want a score of about 1", hits, err)
			}
		})
	}
	x := newIndex(t, vector.Config{Dimensions: 64})
	if _, err := x.Search(t.Context(), with(0, 1), 0, vector.Options{}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("Search for 0 vectors: %v, want Invalid", err)
	}
}

// A model is what an index must be equal to: a map.
type model map[int64]modelVector

type modelVector struct {
	group vector.Group
	vec   []float32
}

// answer returns all that a search may return, best first by exact score.
func (m model) answer(q []float32, o vector.Options) []vector.Hit {
	var hits []vector.Hit
	for id, v := range m {
		if o.Groups != nil && !slices.Contains(o.Groups, v.group) || o.Keep != nil && !o.Keep(id) {
			continue
		}
		hits = append(hits, vector.Hit{ID: id, Score: cosine(q, v.vec)})
	}
	slices.SortFunc(hits, func(a, b vector.Hit) int {
		if a.Score != b.Score {
			if a.Score > b.Score {
				return -1
			}
			return 1
		}
		return int(a.ID - b.ID)
	})
	return hits
}

func (m model) exact(_ context.Context, ids []int64, visit func(int, []float32)) error {
	for i, id := range ids {
		if v, ok := m[id]; ok {
			visit(i, v.vec)
		}
	}
	return nil
}

// quantum is how far a score by bytes may be from the exact one at 64 dimensions.
const quantum = 0.012

// TestIndexIsAMap drives an index and a map with the same calls, saving and restoring in
// between, by every set of inner loops.
func TestIndexIsAMap(t *testing.T) {
	for _, k := range vector.Kernels() {
		t.Run(k.Name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { checkModel(t, r, k.Name) })
		})
	}
}

func checkModel(t *testing.T, r *rapid.T, kernel string) {
	t.Helper()
	const dims = 64
	cfg := vector.Config{Dimensions: dims, ScanLimit: rapid.SampledFrom([]int{1, 40, 50_000}).Draw(r, "scanLimit")}
	fresh := func() *vector.Index {
		x := newIndex(t, cfg)
		x.UseKernel(kernel)
		return x
	}
	x, m, disk := fresh(), model{}, map[uint32][]byte{}
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
	vec := func() []float32 {
		v := make([]float32, dims)
		for i := range v {
			v[i] = float32(random.NormFloat64()) + 0.3
		}
		return v
	}
	ids := rapid.Int64Range(-5, rapid.SampledFrom([]int64{10, 300}).Draw(r, "ids"))
	groups := rapid.Map(rapid.IntRange(0, 3), func(i int) vector.Group { return vector.Group(i) })
	r.Repeat(map[string]func(*rapid.T){
		"put": func(r *rapid.T) {
			id, g, v := ids.Draw(r, "id"), groups.Draw(r, "group"), vec()
			put(t, x, id, g, v)
			m[id] = modelVector{g, v}
		},
		"put many": func(r *rapid.T) {
			id, g := ids.Draw(r, "id"), groups.Draw(r, "group")
			for i := range int64(rapid.IntRange(1, 120).Draw(r, "n")) {
				v := vec()
				put(t, x, id+i, g, v)
				m[id+i] = modelVector{g, v}
			}
		},
		"remove": func(r *rapid.T) {
			id := ids.Draw(r, "id")
			if _, want := m[id]; x.Remove(id) != want {
				r.Fatalf("Remove(%d) != %v", id, want)
			}
			delete(m, id)
		},
		"remove a group": func(r *rapid.T) {
			g := groups.Draw(r, "group")
			for _, id := range slices.Sorted(maps.Keys(m)) {
				if m[id].group == g {
					x.Remove(id)
					delete(m, id)
				}
			}
		},
		"move": func(r *rapid.T) {
			id, g := ids.Draw(r, "id"), groups.Draw(r, "group")
			v, want := m[id]
			if x.Move(id, g) != want {
				r.Fatalf("Move(%d) != %v", id, want)
			}
			if want {
				m[id] = modelVector{g, v.vec}
			}
		},
		"tune": func(r *rapid.T) {
			if _, err := x.Tune(t.Context()); err != nil {
				r.Fatal(err)
			}
		},
		"save": func(r *rapid.T) {
			all := rapid.Bool().Draw(r, "all")
			if all {
				clear(disk)
			}
			save(r, x, disk, !all)
			if n := x.Stats().Dirty; n != 0 {
				r.Fatalf("%d segments are dirty after a checkpoint", n)
			}
		},
		"save and restart": func(r *rapid.T) {
			save(r, x, disk, true)
			x = fresh()
			order := slices.Sorted(maps.Keys(disk))
			if rapid.Bool().Draw(r, "backwards") {
				slices.Reverse(order)
			}
			for _, id := range order {
				if err := x.Restore(vector.Segment{ID: id, Blob: disk[id]}); err != nil {
					r.Fatal(err)
				}
			}
		},
		"search": func(r *rapid.T) {
			k := rapid.IntRange(1, 60).Draw(r, "k")
			o := vector.Options{}
			if rapid.Bool().Draw(r, "confined") {
				o.Groups = rapid.SliceOfN(groups, 0, 4).Draw(r, "groups")
				if o.Groups == nil {
					o.Groups = []vector.Group{}
				}
			}
			if mod := rapid.Int64Range(1, 7).Draw(r, "mod"); mod > 1 {
				o.Keep = func(id int64) bool { return id%mod == 0 }
			}
			if rapid.Bool().Draw(r, "exact") {
				o.Exact = m.exact
			}
			if rapid.Bool().Draw(r, "floor") {
				o.MinScore = rapid.Float32Range(-0.5, 0.9).Draw(r, "min")
			}
			q := vec()
			hits, err := x.Search(t.Context(), q, k, o)
			if err != nil {
				r.Fatal(err)
			}
			checkHits(r, m, q, k, o, hits, len(m) <= cfg.ScanLimit)
		},
		"": func(r *rapid.T) {
			s := x.Stats()
			if x.Len() != len(m) || s.Vectors != len(m) {
				r.Fatalf("Len = %d, Stats.Vectors = %d, want %d", x.Len(), s.Vectors, len(m))
			}
			used := map[vector.Group]bool{}
			for _, v := range m {
				used[v.group] = true
			}
			if s.Groups != len(used) || s.Segments < s.Groups {
				r.Fatalf("Stats = %+v, want %d groups", s, len(used))
			}
		},
	})
}

type failer interface{ Fatalf(string, ...any) }

// save does what the store does at a checkpoint.
func save(t failer, x *vector.Index, disk map[uint32][]byte, changedOnly bool) {
	err := x.Checkpoint(changedOnly, func(segments iter.Seq[vector.Segment]) error {
		for s := range segments {
			if s.Blob == nil {
				delete(disk, s.ID)
			} else {
				disk[s.ID] = s.Blob
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
}

// checkHits holds hits to what the model says. whole says that the index looked at all bytes.
func checkHits(t failer, m model, q []float32, k int, o vector.Options, hits []vector.Hit, whole bool) {
	want := m.answer(q, o)
	slack := float32(quantum)
	if o.Exact != nil {
		slack = 1e-6
	}
	above := func(floor float32) int {
		n := 0
		for _, w := range want {
			if w.Score >= floor {
				n++
			}
		}
		return n
	}
	least, most := min(k, len(want)), min(k, len(want))
	if o.MinScore != 0 {
		least, most = min(k, above(o.MinScore+slack)), min(k, above(o.MinScore-slack))
	}
	if whole && len(hits) < least || len(hits) > most || o.MinScore == 0 && len(hits) != most {
		t.Fatalf("Search for %d found %d hits, want %d to %d", k, len(hits), least, most)
	}
	for i, h := range hits {
		v, ok := m[h.ID]
		if !ok || o.Groups != nil && !slices.Contains(o.Groups, v.group) || o.Keep != nil && !o.Keep(h.ID) {
			t.Fatalf("hit %v is not among those asked for", h)
		}
		if d := h.Score - cosine(q, v.vec); d > slack || d < -slack {
			t.Fatalf("hit %v is off by %v", h, d)
		}
		if i > 0 && (hits[i-1].Score < h.Score || hits[i-1].Score == h.Score && hits[i-1].ID >= h.ID) {
			t.Fatalf("hit %d is out of order: %v", i, hits)
		}
		// The i-th hit is as good as the i-th best, within the rounding of both.
		if whole && h.Score < want[i].Score-2*quantum {
			t.Fatalf("hit %d is %v, there is %v", i, h, want[i])
		}
		if whole && o.Exact != nil && len(want) <= 40 && h.ID != want[i].ID && h.Score < want[i].Score-1e-6 {
			t.Fatalf("exact hit %d is %v, want %v", i, h, want[i])
		}
	}
}

func TestSearchExact(t *testing.T) {
	x := newIndex(t, vector.Config{Dimensions: 64})
	m := newMixture(64, 3, 1)
	data := m.make(2, 100)
	load(t, x, data, 64, 1)
	q := m.make(3, 1)
	want := nearest(data, q, 10, nil)
	visits := 0
	exact := func(_ context.Context, ids []int64, visit func(int, []float32)) error {
		visits = len(ids)
		for i, id := range ids {
			visit(i, data[id*64:(id+1)*64])
		}
		return nil
	}

	t.Run("the order is that of the exact scores", func(t *testing.T) {
		hits, err := x.Search(t.Context(), q, 10, vector.Options{Exact: exact})
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range hits {
			if h.ID != want[i].ID && math.Abs(float64(h.Score-want[i].Score)) > 1e-6 {
				t.Errorf("hit %d = %v, want %v", i, h, want[i])
			}
		}
		if len(hits) != 10 || visits != 40 {
			t.Errorf("%d hits of %d visits, want 10 of 40", len(hits), visits)
		}
	})
	t.Run("a vector that is not visited is no hit", func(t *testing.T) {
		hits, err := x.Search(t.Context(), q, 10, vector.Options{Exact: func(ctx context.Context, ids []int64, visit func(int, []float32)) error {
			return exact(ctx, ids, func(i int, v []float32) {
				if ids[i] != want[0].ID {
					visit(i, v)
				}
			})
		}})
		if err != nil || len(hits) != 10 || hits[0].ID != want[1].ID {
			t.Errorf("Search = %v, %v, want %v first", hits, err, want[1])
		}
	})
	t.Run("its error is that of the search", func(t *testing.T) {
		broken := errors.New("broken")
		_, err := x.Search(t.Context(), q, 10, vector.Options{Exact: func(context.Context, []int64, func(int, []float32)) error { return broken }})
		if !errors.Is(err, broken) {
			t.Errorf("Search: %v, want %v", err, broken)
		}
	})
	t.Run("a vector of other dimensions is refused", func(t *testing.T) {
		_, err := x.Search(t.Context(), q, 10, vector.Options{Exact: func(_ context.Context, _ []int64, visit func(int, []float32)) error {
			visit(0, make([]float32, 65))
			return nil
		}})
		if caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("Search: %v, want Invalid", err)
		}
	})
	t.Run("Exact may write to the index", func(t *testing.T) {
		_, err := x.Search(t.Context(), q, 10, vector.Options{Exact: func(ctx context.Context, ids []int64, visit func(int, []float32)) error {
			put(t, x, 1000, 5, q)
			return exact(ctx, ids, visit)
		}})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestSearchStops(t *testing.T) {
	for _, limit := range []int{1, 50_000} {
		x := newIndex(t, vector.Config{Dimensions: 64, ScanLimit: limit})
		m := newMixture(64, 3, 1)
		data := m.make(2, 100)
		load(t, x, data, 64, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := x.Search(ctx, data[:64], 1, vector.Options{}); caxton.KindOf(err) != caxton.Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("Search with ScanLimit %d: %v, want Canceled", limit, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), -1)
		if _, err := x.Search(ctx, data[:64], 1, vector.Options{}); caxton.KindOf(err) != caxton.Timeout {
			t.Errorf("Search with ScanLimit %d: %v, want Timeout", limit, err)
		}
		cancel()
	}
}

// TestSearchSeesOneState lets readers look while a writer moves vectors about. Each vector is
// in one group at any moment, so a search of both finds all, and each once.
func TestSearchSeesOneState(t *testing.T) {
	const dims, n = 64, 2500
	for _, limit := range []int{1, 50_000} {
		t.Run(fmt.Sprintf("scan limit %d", limit), func(t *testing.T) {
			x := newIndex(t, vector.Config{Dimensions: dims, ScanLimit: limit})
			m := newMixture(dims, 5, 1)
			data := m.make(2, n)
			load(t, x, data, dims, 2)
			var writing sync.WaitGroup
			var done atomic.Bool
			writing.Go(func() {
				r := rand.New(rand.NewPCG(1, 1))
				for range 3000 {
					id := int64(r.IntN(n))
					switch r.IntN(3) {
					case 0:
						x.Move(id, vector.Group(r.IntN(2)))
					case 1:
						put(t, x, id, vector.Group(r.IntN(2)), data[id*dims:(id+1)*dims])
					default: // in and out again
						put(t, x, n+id, 2, data[id*dims:(id+1)*dims])
						x.Remove(n + id)
					}
				}
				done.Store(true)
			})
			var reading sync.WaitGroup
			for w := range 2 {
				reading.Go(func() {
					for i := w; !done.Load() || i < 10; i += 2 {
						q := data[i%n*dims : (i%n+1)*dims]
						hits, err := x.Search(t.Context(), q, 2*n, vector.Options{Groups: []vector.Group{0, 1}})
						if err != nil || len(hits) != n {
							t.Errorf("Search found %d of %d: %v", len(hits), n, err)
							return
						}
						seen := map[int64]bool{}
						for _, h := range hits {
							if d := h.Score - cosine(q, data[h.ID*dims:(h.ID+1)*dims]); seen[h.ID] || d > quantum || d < -quantum {
								t.Errorf("hit %v is there twice or off by %v", h, d)
								return
							}
							seen[h.ID] = true
						}
						if i%50 == 0 {
							save(t, x, map[uint32][]byte{}, true)
							if _, err := x.Tune(t.Context()); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			reading.Wait()
			writing.Wait()
		})
	}
}

// TestSearchBreaksTies puts one vector under many ids.
func TestSearchBreaksTies(t *testing.T) {
	for _, limit := range []int{1, 50_000} {
		x := newIndex(t, vector.Config{Dimensions: 64, ScanLimit: limit})
		vec := newMixture(64, 1, 1).make(1, 1)
		for id := int64(99); id >= 0; id-- {
			put(t, x, id*7%100, vector.Group(id%3), vec)
		}
		hits, err := x.Search(t.Context(), vec, 5, vector.Options{})
		for i, h := range hits {
			if h.ID != int64(i) {
				t.Errorf("hit %d of equals is %v, want the smaller ids first", i, h)
			}
		}
		if err != nil || len(hits) != 5 {
			t.Errorf("Search = %v, %v", hits, err)
		}
	}
}

// TestSearchGoesOn lets few of the near vectors and many of the far ones pass, so that the
// share that passes is not what it is where the search begins.
func TestSearchGoesOn(t *testing.T) {
	const dims, n, k = 256, 4000, 30
	m := newMixture(dims, 9, 1)
	data, asked := m.make(1, n), m.make(2, 20)
	x := newIndex(t, vector.Config{Dimensions: dims, ScanLimit: 1})
	load(t, x, data, dims, 3)
	for i := range 20 {
		q := asked[i*dims : (i+1)*dims]
		near := map[int64]bool{}
		for _, h := range nearest(data, q, n/4, nil) {
			near[h.ID] = true
		}
		calls := 0
		keep := func(id int64) bool { return id%20 == 0 || !near[id] && id%20 < 16 }
		want := nearest(data, q, k, keep)
		hits, err := x.Search(t.Context(), q, k, vector.Options{Exact: exactFrom(data, dims), Keep: func(id int64) bool {
			calls++
			return keep(id)
		}})
		if err != nil || len(hits) != k {
			t.Fatalf("Search found %d: %v", len(hits), err)
		}
		seen := map[int64]bool{}
		for _, h := range hits {
			if seen[h.ID] || !keep(h.ID) {
				t.Fatalf("hit %v is there twice or was not to be kept", h)
			}
			seen[h.ID] = true
		}
		if r := recall(hits, want); r < 0.9 {
			t.Errorf("recall %.2f, want 0.9", r)
		}
		if calls > n+512 {
			t.Errorf("Keep was called %d times for %d vectors", calls, n)
		}
	}
}

// TestWritersCopyOnlyWhatIsRead holds writers to the rule that makes them cheap.
func TestWritersCopyOnlyWhatIsRead(t *testing.T) {
	x := newIndex(t, vector.Config{Dimensions: 64})
	m := newMixture(64, 5, 1)
	data := m.make(2, 100)
	load(t, x, data, 64, 1)
	write := func(id int64) { put(t, x, id, 0, data[:64]) }

	before := x.RowsOf(3)
	write(3)
	if x.RowsOf(3) != before {
		t.Error("a block was copied though nobody reads")
	}
	_, err := x.Search(t.Context(), data[:64], 1, vector.Options{Keep: func(int64) bool {
		if x.RowsOf(3) == before { // the first time
			write(100) // beyond what the search sees
			if x.RowsOf(3) != before {
				t.Error("a block was copied to append to it")
			}
			write(3)
			if x.RowsOf(3) == before {
				t.Error("a block was written while it is read")
			}
			second := x.RowsOf(3)
			write(4)
			if x.RowsOf(3) != second {
				t.Error("a block was copied twice for one search")
			}
		}
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWritersSeeLaterReaders appends beside one search and changes what it appended beside a
// second, which has seen it.
func TestWritersSeeLaterReaders(t *testing.T) {
	x := newIndex(t, vector.Config{Dimensions: 64})
	data := newMixture(64, 5, 1).make(2, 3)
	put(t, x, 1, 0, data[:64])
	depth := 0
	var search func()
	search = func() {
		first := true
		_, err := x.Search(t.Context(), data[:64], 5, vector.Options{Keep: func(int64) bool {
			if !first {
				return true
			}
			first = false
			depth++
			before := x.RowsOf(1)
			if depth == 1 {
				put(t, x, 2, 0, data[64:128])
				search()
				return true
			}
			put(t, x, 2, 0, data[128:])
			if x.RowsOf(2) == before {
				t.Error("a row was written while the second search reads it")
			}
			return true
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	search()
}
