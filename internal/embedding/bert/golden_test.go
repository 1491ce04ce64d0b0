package bert_test

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	"github.com/caxton/caxton/internal/embedding/bert"
	"github.com/caxton/caxton/internal/embedding/minilm"
)

// A golden is a text's tokens and what onnxruntime makes of them in float32.
type golden struct {
	ids  []int32
	want []float32
}

// goldens reads testdata/golden.bin, which scripts/embedding_golden.py writes.
func goldens(tb testing.TB) []golden {
	tb.Helper()
	b, err := os.ReadFile("testdata/golden.bin")
	if err != nil {
		tb.Fatal(err)
	}
	if string(b[:8]) != "CXGOLD1\n" {
		tb.Fatal("testdata/golden.bin is not of version 1")
	}
	count, dims := int(binary.LittleEndian.Uint32(b[8:])), int(binary.LittleEndian.Uint32(b[12:]))
	b = b[16:]
	all := make([]golden, count)
	for i := range all {
		n := int(binary.LittleEndian.Uint16(b))
		b = b[2:]
		all[i].ids = make([]int32, n)
		for j := range n {
			all[i].ids[j] = int32(binary.LittleEndian.Uint16(b[2*j:]))
		}
		b = b[2*n:]
		all[i].want = make([]float32, dims)
		for j := range dims {
			all[i].want[j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
		}
		b = b[4*dims:]
	}
	if len(b) != 0 {
		tb.Fatalf("testdata/golden.bin has %d bytes too many", len(b))
	}
	return all
}

// cosine compares two vectors in float64.
func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab += x * y
		aa += x * x
		bb += y * y
	}
	return ab / math.Sqrt(aa*bb)
}

// builtin loads the built-in model with the given loops.
func builtin(tb testing.TB, kernel string) *bert.Model {
	tb.Helper()
	m, err := minilm.Load(bert.Config{Kernel: kernel})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// published loads the float32 weights from where CAXTON_MODEL_DIR says, or skips the test.
func published(tb testing.TB, kernel string) *bert.Model {
	tb.Helper()
	dir := os.Getenv("CAXTON_MODEL_DIR")
	if dir == "" {
		tb.Skip("CAXTON_MODEL_DIR names no directory with the published float32 weights")
	}
	m, err := bert.LoadDir(dir, bert.Config{Kernel: kernel})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// TestGoldens holds the model to what onnxruntime makes of 500 texts of 1 to 256 tokens in float32.
func TestGoldens(t *testing.T) {
	t.Parallel()
	models := []struct {
		name  string
		load  func(testing.TB, string) *bert.Model
		least float64
	}{
		{"int8", builtin, 0.999},
		{"float32", published, 0.99999},
	}
	for _, mm := range models {
		for _, kernel := range bert.Kernels() {
			t.Run(mm.name+" "+kernel, func(t *testing.T) {
				t.Parallel()
				m := mm.load(t, kernel)
				all := goldens(t)
				switch {
				case os.Getenv("CAXTON_SOAK") != "":
				case kernel == "plain":
					all = every(all[:125], 25) // these loops take minutes for all, under -race the more
				case kernel != bert.Kernels()[0]:
					all = every(all, 10)
				}
				ids, got := make([][]int32, len(all)), make([][]float32, len(all))
				for i, g := range all {
					ids[i], got[i] = g.ids, make([]float32, m.Dimensions())
				}
				if err := m.EmbedBatch(t.Context(), got, ids); err != nil {
					t.Fatal(err)
				}
				worst, mean, at := 2.0, 0.0, 0
				for i, g := range all {
					c := cosine(got[i], g.want)
					if c < worst {
						worst, at = c, i
					}
					mean += c / float64(len(all))
				}
				t.Logf("%d texts: worst cosine %.8f (%d tokens), mean %.8f", len(all), worst, len(all[at].ids), mean)
				if !(worst >= mm.least) {
					t.Errorf("worst cosine %.8f at text %d, want at least %v", worst, at, mm.least)
				}
			})
		}
	}
}

// every returns each nth of all, the last one included.
func every(all []golden, n int) []golden {
	var some []golden
	for i := len(all) - 1; i >= 0; i -= n {
		some = append(some, all[i])
	}
	return some
}
