package bert

import (
	"math"
	"runtime"
	"sync"

	"github.com/caxton/caxton"
)

// A Model turns tokens into vectors. It is safe for use from many goroutines.
type Model struct {
	header     Header
	vocabulary []byte
	words      table
	positions  table
	norm       norm
	layers     []layer
	kernels    *kernels
	workers    int
	none       []float32 // zeros, as long as the widest matrix is

	mu   sync.Mutex
	free []*scratch // guarded by mu; at most workers of them
}

type layer struct {
	qkv, out, up, down dense
	norm1, norm2       norm
}

// dense is a projection: a matrix and what is added to its result.
type dense struct {
	weight matrix
	bias   []float32
}

type norm struct{ gain, shift []float32 }

// prepare ends the loading of m.
func (m *Model) prepare(cfg Config) error {
	k, err := kernelsFor(cfg.Kernel)
	if err != nil {
		return err
	}
	m.kernels = k
	m.workers = cfg.Workers
	if m.workers <= 0 {
		m.workers = runtime.GOMAXPROCS(0)
	}
	m.none = make([]float32, m.header.Hidden)
	return nil
}

// Header returns what the model is.
func (m *Model) Header() Header { return m.header }

// Dimensions is the length of a vector.
func (m *Model) Dimensions() int { return m.header.Hidden }

// MaxTokens is the longest text the model takes, special tokens included.
func (m *Model) MaxTokens() int { return m.header.MaxTokens }

// Vocabulary is the model's vocabulary, one word a line, as vocab.txt has it. It must not be changed.
func (m *Model) Vocabulary() []byte { return m.vocabulary }

// Kernel is the form of the loops in use: avx512, avx2 or plain.
func (m *Model) Kernel() string { return m.kernels.name }

// Embed writes the unit-length vector of a text into dst, which is as long as Dimensions says.
// Ids are the text's tokens with its special tokens, at most MaxTokens of them.
func (m *Model) Embed(dst []float32, ids []int32) error {
	if err := m.check(dst, ids); err != nil {
		return err
	}
	s := m.take()
	s.add(dst, ids)
	m.forward(s)
	m.give(s)
	return nil
}

// check refuses what forward cannot do.
func (m *Model) check(dst []float32, ids []int32) error {
	if len(dst) != m.header.Hidden {
		return caxton.Errorf(caxton.Invalid, "vector_length", "a vector of %d for a model of %d dimensions", len(dst), m.header.Hidden)
	}
	if len(ids) == 0 || len(ids) > m.header.MaxTokens {
		return caxton.Errorf(caxton.Invalid, "token_count", "a text of %d tokens, want 1 to %d", len(ids), m.header.MaxTokens)
	}
	for _, id := range ids {
		if id < 0 || int(id) >= m.header.Words {
			return caxton.Errorf(caxton.Invalid, "token_unknown", "token %d is not one of the model's %d", id, m.header.Words)
		}
	}
	return nil
}

// A scratch is what one forward pass works in. It grows to the largest pass it has seen.
type scratch struct {
	texts []span
	rows  int // of all texts together

	x      []float32 // rows × hidden: what goes from layer to layer
	qkv    []float32 // rows × 3·hidden
	mixed  []float32 // rows × hidden: what attention made
	inner  []float32 // rows × inner
	panel  []float32 // a part of a matrix, unpacked
	keys   []float32 // one head's keys, transposed, in panels
	values []float32 // one head's values
	scores []float32 // queryRows × a text's length, rounded up
	mask   []float32 // 0 for a text's tokens, then hugely negative up to the end of its last panel
}

// A span is one text of a pass.
type span struct {
	dst []float32
	ids []int32
}

func (s *scratch) add(dst []float32, ids []int32) {
	s.texts = append(s.texts, span{dst, ids})
	s.rows += len(ids)
}

// take returns a scratch nobody else uses.
func (m *Model) take() *scratch {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.free); n > 0 {
		s := m.free[n-1]
		m.free = m.free[:n-1]
		return s
	}
	return &scratch{}
}

// give returns a scratch that take returned.
func (m *Model) give(s *scratch) {
	clear(s.texts)
	s.texts, s.rows = s.texts[:0], 0
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.free) < m.workers {
		m.free = append(m.free, s)
	}
}

// grow returns a slice of n, which is old if that is long enough.
func grow(old []float32, n int) []float32 {
	if cap(old) >= n {
		return old[:n]
	}
	return make([]float32, n)
}

// queryRows is how many rows of scores are made at a time: with 256 tokens they are 64 KiB.
const queryRows = 64

// fit makes room for the texts of s.
func (m *Model) fit(s *scratch) {
	h, longest := m.header, 0
	for _, t := range s.texts {
		longest = max(longest, len(t.ids))
	}
	padded := padded(longest)
	s.x = grow(s.x, s.rows*h.Hidden)
	s.qkv = grow(s.qkv, s.rows*3*h.Hidden)
	s.mixed = grow(s.mixed, s.rows*h.Hidden)
	s.inner = grow(s.inner, s.rows*h.Inner)
	s.panel = grow(s.panel, chunk*panelCols)
	s.keys = grow(s.keys, h.Hidden/h.Heads*padded)
	s.values = grow(s.values, padded*panelCols)
	s.scores = grow(s.scores, min(queryRows, longest)*padded)
	s.mask = grow(s.mask, padded)
}

// padded is n rounded up to whole panels.
func padded(n int) int { return (n + panelCols - 1) / panelCols * panelCols }

// forward computes the vectors of the texts of s.
func (m *Model) forward(s *scratch) {
	m.fit(s)
	h, k := m.header, m.kernels
	d := h.Hidden
	eps := float32(h.Epsilon)
	clear(s.x)
	row := 0
	for _, t := range s.texts {
		for i, id := range t.ids {
			x := s.x[row*d : (row+1)*d]
			m.words.add(x, int(id))
			m.positions.add(x, i)
			row++
		}
	}
	k.norm(s.x, d, m.none, m.norm.gain, m.norm.shift, eps)
	for i := range m.layers {
		l := &m.layers[i]
		m.project(s, &l.qkv, s.qkv, s.x, true)
		row = 0
		for _, t := range s.texts {
			m.attend(s, row, len(t.ids))
			row += len(t.ids)
		}
		m.project(s, &l.out, s.x, s.mixed, false)
		k.norm(s.x, d, l.out.bias, l.norm1.gain, l.norm1.shift, eps)
		m.project(s, &l.up, s.inner, s.x, true)
		k.gelu(s.inner)
		m.project(s, &l.down, s.x, s.inner, false)
		k.norm(s.x, d, l.down.bias, l.norm2.gain, l.norm2.shift, eps)
	}
	row = 0
	for _, t := range s.texts {
		pool(t.dst, s.x[row*d:(row+len(t.ids))*d], h.Pooling)
		row += len(t.ids)
	}
}

// project multiplies rows of src by the matrix of p. With fresh, dst becomes the product plus
// the bias; without, the product is added to dst, and the norm that follows adds the bias.
func (m *Model) project(s *scratch, p *dense, dst, src []float32, fresh bool) {
	w := &p.weight
	for from := 0; from < w.in; from += chunk {
		to := min(from+chunk, w.in)
		for j := range w.out / panelCols {
			b := w.panel(m.kernels, s.panel, j, from, to)
			var bias []float32
			if fresh && from == 0 {
				bias = p.bias[j*panelCols : (j+1)*panelCols]
			}
			m.kernels.gemm(dst[j*panelCols:], w.out, src[from:], w.in, b, s.rows, to-from, bias)
		}
	}
}

// attend mixes the n rows of one text, which begin at row.
func (m *Model) attend(s *scratch, row, n int) {
	h, k := m.header, m.kernels
	d, stride := h.Hidden, 3*h.Hidden
	dim := d / h.Heads
	scale := float32(1 / math.Sqrt(float64(dim)))
	wide := padded(n)
	mask := s.mask[:wide]
	clear(mask[:n])
	for i := n; i < wide; i++ {
		mask[i] = -1e30
	}
	text := s.qkv[row*stride : (row+n)*stride]
	for head := range h.Heads {
		k.keys(s.keys, text[d+head*dim:], stride, n, dim)
		for q := 0; q < n; q += queryRows {
			rows := min(queryRows, n-q)
			scores := s.scores[:rows*wide]
			for j := range wide / panelCols {
				at := j * panelCols
				k.gemm(scores[at:], wide, text[q*stride+head*dim:], stride, s.keys[at*dim:(at+panelCols)*dim], rows, dim, mask[at:at+panelCols])
			}
			k.softmax(scores, wide, scale)
			for c := 0; c < dim; c += panelCols {
				if q == 0 || dim > panelCols {
					from := text[2*d+head*dim+c:]
					for i := range n {
						copy(s.values[i*panelCols:(i+1)*panelCols], from[i*stride:])
					}
				}
				k.gemm(s.mixed[(row+q)*d+head*dim+c:], d, scores, wide, s.values[:n*panelCols], rows, n, m.none[:panelCols])
			}
		}
	}
}

// pool writes the vector of a text whose last rows are x.
func pool(dst, x []float32, how string) {
	d := len(dst)
	copy(dst, x[:d])
	if how == poolMean {
		for x = x[d:]; len(x) > 0; x = x[d:] {
			for j, v := range x[:d] {
				dst[j] += v
			}
		}
	}
	sum := 0.0
	for _, v := range dst {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return
	}
	scale := float32(1 / math.Sqrt(sum)) // the mean's divisor falls out with the length
	for j := range dst {
		dst[j] *= scale
	}
}
