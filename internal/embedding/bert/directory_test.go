package bert_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding/bert"
)

// A small is a random model of the right form, and what a directory of it holds.
type small struct {
	hidden, heads, inner, layers, words, positions int

	prefix  string // before each tensor's name
	kind    string // of the tensors: F32, F16 or BF16
	pooling string // mean or cls
	config  map[string]any
	tensors map[string][]float32
	shapes  map[string][]int
}

func newSmall(heads, dim int) *small {
	s := &small{
		hidden: heads * dim, heads: heads, inner: 3 * heads * dim, layers: 1, words: 100, positions: 256,
		kind: "F32", pooling: "mean", tensors: map[string][]float32{}, shapes: map[string][]int{},
	}
	s.config = map[string]any{
		"model_type": "bert", "hidden_act": "gelu", "hidden_size": s.hidden, "num_attention_heads": heads, "num_hidden_layers": s.layers,
		"intermediate_size": s.inner, "vocab_size": s.words, "max_position_embeddings": s.positions, "layer_norm_eps": 1e-12,
	}
	rng := rand.New(rand.NewPCG(7, uint64(dim)))
	add := func(name string, mean, spread float64, shape ...int) {
		n := 1
		for _, k := range shape {
			n *= k
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(mean + spread*rng.NormFloat64())
		}
		s.tensors[name], s.shapes[name] = v, shape
	}
	norm := func(name string) {
		add(name+".weight", 1, 0.2, s.hidden)
		add(name+".bias", 0, 0.1, s.hidden)
	}
	dense := func(name string, out, in int) {
		add(name+".weight", 0, 1/math.Sqrt(float64(in)), out, in)
		add(name+".bias", 0, 0.1, out)
	}
	add("embeddings.word_embeddings.weight", 0, 1, s.words, s.hidden)
	add("embeddings.position_embeddings.weight", 0, 0.3, s.positions, s.hidden)
	add("embeddings.token_type_embeddings.weight", 0, 0.3, 2, s.hidden)
	norm("embeddings.LayerNorm")
	for i := range s.layers {
		p := fmt.Sprintf("encoder.layer.%d.", i)
		for _, q := range []string{"query", "key", "value"} {
			dense(p+"attention.self."+q, s.hidden, s.hidden)
		}
		dense(p+"attention.output.dense", s.hidden, s.hidden)
		norm(p + "attention.output.LayerNorm")
		dense(p+"intermediate.dense", s.inner, s.hidden)
		dense(p+"output.dense", s.hidden, s.inner)
		norm(p + "output.LayerNorm")
	}
	return s
}

// write returns a directory with the model.
func (s *small) write(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "small")
	if err := os.MkdirAll(filepath.Join(dir, "1_Pooling"), 0o755); err != nil {
		tb.Fatal(err)
	}
	put := func(name string, data []byte) {
		tb.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	config, err := json.Marshal(s.config)
	if err != nil {
		tb.Fatal(err)
	}
	put("config.json", config)
	put("1_Pooling/config.json", fmt.Appendf(nil, `{"pooling_mode_mean_tokens": %t, "pooling_mode_cls_token": %t}`, s.pooling == "mean", s.pooling == "cls"))
	put("vocab.txt", []byte(strings.Repeat("word\n", s.words)))
	put("model.safetensors", s.safetensors(tb))
	return dir
}

func (s *small) safetensors(tb testing.TB) []byte {
	tb.Helper()
	head := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var body []byte
	for name, v := range s.tensors {
		from := len(body)
		for _, f := range v {
			b := math.Float32bits(f)
			switch s.kind {
			case "F32":
				body = binary.LittleEndian.AppendUint32(body, b)
			case "BF16":
				body = binary.LittleEndian.AppendUint16(body, uint16((b+0x7fff+b>>16&1)>>16))
			case "F16":
				// The values are between 2^-14 and 2^15, or so small that they may become 0.
				e := int(b>>23&0xff) - 127 + 15
				h := uint16(b >> 16 & 0x8000)
				if e > 0 {
					h += uint16(e<<10) + uint16((b&0x7fffff+0xfff)>>13)
				}
				body = binary.LittleEndian.AppendUint16(body, h)
			}
		}
		head[s.prefix+name] = map[string]any{"dtype": s.kind, "shape": s.shapes[name], "data_offsets": []int{from, len(body)}}
	}
	h, err := json.Marshal(head)
	if err != nil {
		tb.Fatal(err)
	}
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(h))), h...), body...)
}

// reference is the forward pass in float64, as plainly as it can be written.
func (s *small) reference(ids []int32) []float64 {
	h, n, dim := s.hidden, len(ids), s.hidden/s.heads
	x := make([][]float64, n)
	for i, id := range ids {
		x[i] = make([]float64, h)
		for j := range h {
			x[i][j] = float64(s.tensors["embeddings.word_embeddings.weight"][int(id)*h+j]) +
				float64(s.tensors["embeddings.position_embeddings.weight"][i*h+j]) +
				float64(s.tensors["embeddings.token_type_embeddings.weight"][j])
		}
	}
	norm := func(name string) {
		for _, row := range x {
			mean, v := 0.0, 0.0
			for _, a := range row {
				mean += a / float64(h)
			}
			for _, a := range row {
				v += (a - mean) * (a - mean) / float64(h)
			}
			for j, a := range row {
				row[j] = (a-mean)/math.Sqrt(v+1e-12)*float64(s.tensors[name+".weight"][j]) + float64(s.tensors[name+".bias"][j])
			}
		}
	}
	dense := func(name string, x [][]float64) [][]float64 {
		w, bias := s.tensors[name+".weight"], s.tensors[name+".bias"]
		out := make([][]float64, len(x))
		for i, row := range x {
			out[i] = make([]float64, len(bias))
			for o, b := range bias {
				sum := float64(b)
				for j, a := range row {
					sum += a * float64(w[o*len(row)+j])
				}
				out[i][o] = sum
			}
		}
		return out
	}
	add := func(y [][]float64) {
		for i, row := range y {
			for j, a := range row {
				x[i][j] += a
			}
		}
	}
	norm("embeddings.LayerNorm")
	for l := range s.layers {
		p := fmt.Sprintf("encoder.layer.%d.", l)
		q, k, v := dense(p+"attention.self.query", x), dense(p+"attention.self.key", x), dense(p+"attention.self.value", x)
		mixed := make([][]float64, n)
		for i := range n {
			mixed[i] = make([]float64, h)
			for at := 0; at < h; at += dim {
				weights, sum := make([]float64, n), 0.0
				for j := range n {
					dot := 0.0
					for c := at; c < at+dim; c++ {
						dot += q[i][c] * k[j][c]
					}
					weights[j] = math.Exp(dot / math.Sqrt(float64(dim)))
					sum += weights[j]
				}
				for j := range n {
					for c := at; c < at+dim; c++ {
						mixed[i][c] += weights[j] / sum * v[j][c]
					}
				}
			}
		}
		add(dense(p+"attention.output.dense", mixed))
		norm(p + "attention.output.LayerNorm")
		inner := dense(p+"intermediate.dense", x)
		for _, row := range inner {
			for j, a := range row {
				row[j] = a * 0.5 * math.Erfc(-a/math.Sqrt2)
			}
		}
		add(dense(p+"output.dense", inner))
		norm(p + "output.LayerNorm")
	}
	out := make([]float64, h)
	for i, row := range x {
		for j, a := range row {
			if s.pooling == "mean" || i == 0 {
				out[j] += a
			}
		}
	}
	sum := 0.0
	for _, a := range out {
		sum += a * a
	}
	for j := range out {
		out[j] /= math.Sqrt(sum)
	}
	return out
}

// some returns n tokens of a small model.
func (s *small) some(n int) []int32 {
	rng := rand.New(rand.NewPCG(3, uint64(n)))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = rng.Int32N(int32(s.words))
	}
	return ids
}

// TestLengths holds each form of the loops to the forward pass in float64, at every length.
func TestLengths(t *testing.T) {
	t.Parallel()
	for _, dim := range []int{32, 64} { // 64 has two panels to a head, and is looked at here and there
		s := newSmall(1, dim)
		dir := s.write(t)
		var models []*bert.Model
		for _, kernel := range bert.Kernels() {
			m, err := bert.LoadDir(dir, bert.Config{Kernel: kernel})
			if err != nil {
				t.Fatal(err)
			}
			models = append(models, m)
		}
		for n := 1; n <= 256; n += dim - 31 {
			ids, got := s.some(n), make([]float32, s.hidden)
			want := s.reference(ids)
			for _, m := range models {
				if err := m.Embed(got, ids); err != nil {
					t.Fatal(err)
				}
				for j, w := range want {
					if d := math.Abs(float64(got[j]) - w); !(d < 3e-6) {
						t.Fatalf("%s, heads of %d, %d tokens: dimension %d is %v, want %v", m.Kernel(), dim, n, j, got[j], w)
					}
				}
			}
		}
	}
}

// TestKernels holds the assembly to the plain loops with the built-in model: at each length with
// CAXTON_SOAK, else at some.
func TestKernels(t *testing.T) {
	t.Parallel()
	lengths := []int{1, 2, 7, 16, 33}
	if os.Getenv("CAXTON_SOAK") != "" {
		lengths = nil
		for n := 1; n <= 256; n++ {
			lengths = append(lengths, n)
		}
	}
	plain := builtin(t, "plain")
	want, got := make([]float32, plain.Dimensions()), make([]float32, plain.Dimensions())
	worst := map[string]float64{}
	for _, n := range lengths {
		ids := tokens(1, max(2, n))[0][:n]
		if err := plain.Embed(want, ids); err != nil {
			t.Fatal(err)
		}
		for _, kernel := range bert.Kernels() {
			if err := builtin(t, kernel).Embed(got, ids); err != nil {
				t.Fatal(err)
			}
			c := cosine(got, want)
			worst[kernel] = max(worst[kernel], 1-c)
			if !(c >= 0.9999999) {
				t.Errorf("%s, %d tokens: cosine %.9f to the plain loops", kernel, n, c)
			}
		}
	}
	t.Logf("%d lengths, one minus the worst cosine: %v", len(lengths), worst)
}

// TestLoadDir reads the forms in which directories are published.
func TestLoadDir(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		make  func(*small)
		least float64
	}{
		{"float32", func(*small) {}, 0.9999999},
		{"tensors called bert.", func(s *small) { s.prefix = "bert." }, 0.9999999},
		{"CLS pooling", func(s *small) { s.pooling = "cls" }, 0.9999999},
		{"F16", func(s *small) { s.kind = "F16" }, 0.9999},
		{"BF16", func(s *small) { s.kind = "BF16" }, 0.999},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSmall(2, 32)
			tt.make(s)
			m, err := bert.LoadDir(s.write(t), bert.Config{})
			if err != nil {
				t.Fatal(err)
			}
			ids, got := s.some(40), make([]float32, m.Dimensions())
			if err := m.Embed(got, ids); err != nil {
				t.Fatal(err)
			}
			want := make([]float32, s.hidden)
			for i, v := range s.reference(ids) {
				want[i] = float32(v)
			}
			if c := cosine(got, want); !(c >= tt.least) {
				t.Errorf("cosine %.9f to the forward pass in float64, want %v", c, tt.least)
			}
			if got := m.Header().Identity(); got != "small@float32" {
				t.Errorf("identity %q", got)
			}
		})
	}
}

// TestLoadDirRefuses says what is wrong with a directory, and names the file.
func TestLoadDirRefuses(t *testing.T) {
	t.Parallel()
	file := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Truncate(filepath.Join(dir, "model.safetensors"), 50_000); err != nil {
			t.Fatal(err)
		}
	}
	set := func(key string, value any) func(*small) { return func(s *small) { s.config[key] = value } }
	nothing := func(*small) {}
	tests := []struct {
		name  string
		make  func(*small)
		spoil func(*testing.T, string)
		kind  caxton.Kind
		says  string
	}{
		{"no config", nothing, remove("config.json"), caxton.NotFound, "config.json"},
		{"no weights", nothing, remove("model.safetensors"), caxton.NotFound, "model.safetensors"},
		{"no vocabulary", nothing, remove("vocab.txt"), caxton.NotFound, "vocab.txt"},
		{"config is no JSON", nothing, file("config.json", "{"), caxton.Malformed, "config.json"},
		{"short vocabulary", nothing, file("vocab.txt", "a\nb\n"), caxton.Malformed, "vocab.txt"},
		{"weights cut", nothing, cut, caxton.Malformed, "model.safetensors"},
		{"weights empty", nothing, file("model.safetensors", ""), caxton.Malformed, "model.safetensors"},
		{"weights with a huge header", nothing, file("model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}"), caxton.Malformed, "model.safetensors"},
		{"another architecture", set("model_type", "roberta"), nil, caxton.Invalid, "roberta"},
		{"another activation", set("hidden_act", "relu"), nil, caxton.Invalid, "relu"},
		{"odd heads", set("num_attention_heads", 7), nil, caxton.Invalid, "7 heads"},
		{"no layers", set("num_hidden_layers", 0), nil, caxton.Invalid, "layers"},
		{"a layer too many", set("num_hidden_layers", 2), nil, caxton.Malformed, "encoder.layer.1"},
		{"wrong width", set("intermediate_size", 256), nil, caxton.Malformed, "intermediate.dense"},
		{"not a number", func(s *small) { s.tensors["embeddings.LayerNorm.bias"][3] = float32(math.NaN()) }, nil, caxton.Malformed, "LayerNorm.bias"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSmall(2, 32)
			tt.make(s)
			dir := s.write(t)
			if tt.spoil != nil {
				tt.spoil(t, dir)
			}
			_, err := bert.LoadDir(dir, bert.Config{})
			if kind := caxton.KindOf(err); kind != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("LoadDir: %s error %v, want %s that says %q", kind, err, tt.kind, tt.says)
			}
		})
	}
}

// TestQuantise makes the same file each time, and one that agrees with what it was made from.
func TestQuantise(t *testing.T) {
	t.Parallel()
	s := newSmall(2, 32)
	dir := s.write(t)
	file, err := bert.Quantise(dir, "tiny", "a test", "MIT")
	if err != nil {
		t.Fatal(err)
	}
	again, err := bert.Quantise(dir, "tiny", "a test", "MIT")
	if err != nil || !bytes.Equal(file, again) {
		t.Errorf("Quantise makes another file the second time (%v)", err)
	}
	m, err := bert.Load("tiny.bin", file, bert.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header().Identity(); got != "tiny@int8-1" {
		t.Errorf("identity %q, want tiny@int8-1", got)
	}
	if got := strings.Count(string(m.Vocabulary()), "\n"); got != s.words {
		t.Errorf("the vocabulary has %d words, want %d", got, s.words)
	}
	got, want := make([]float32, s.hidden), make([]float32, s.hidden)
	for n := 1; n <= 64; n += 3 {
		ids := s.some(n)
		if err := m.Embed(got, ids); err != nil {
			t.Fatal(err)
		}
		for i, v := range s.reference(ids) {
			want[i] = float32(v)
		}
		if c := cosine(got, want); !(c >= 0.999) {
			t.Errorf("%d tokens: cosine %.6f to the float64 forward pass", n, c)
		}
	}
}
