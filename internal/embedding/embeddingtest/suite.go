package embeddingtest

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
)

// An Embedder is what the suite tests. *embedding.Provider is one, and so is Words.
type Embedder interface {
	Model() string
	Dimensions() int
	Embed(ctx context.Context, texts []string) ([][]float32, error)
}

// Cosine returns the cosine of two vectors.
func Cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// TestEmbedder holds e to the contract of embedders.
func TestEmbedder(t *testing.T, e Embedder) {
	t.Run("says what it is", func(t *testing.T) {
		if e.Model() == "" || e.Model() != e.Model() || e.Dimensions() <= 0 { //nolint:staticcheck // it must not change
			t.Errorf("Model() = %q, Dimensions() = %d", e.Model(), e.Dimensions())
		}
	})
	t.Run("gives nothing for nothing", func(t *testing.T) {
		if got, err := e.Embed(t.Context(), nil); err != nil || len(got) != 0 {
			t.Errorf("Embed(nil) = %v, %v", got, err)
		}
	})
	t.Run("takes any text", func(t *testing.T) {
		texts := []string{
			"a", "The cat sat on the mat.", "", " \n\t", "\xff\xfe", "\x00", "👩‍👩‍👧‍👦", "人工知能", strings.Repeat("word ", 30_000), strings.Repeat("x", 100_000),
			strings.Repeat("é", 9_000), "[CLS] [SEP]", "<|endoftext|>",
		}
		for i, v := range embed(t, e, texts...) {
			if length := math.Sqrt(dot(v, v)); len(v) != e.Dimensions() || !(math.Abs(length-1) < 1e-4) {
				t.Errorf("Embed(%.20q): %d dimensions, length %v", texts[i], len(v), length)
			}
		}
	})
	t.Run("keeps the order", func(t *testing.T) {
		var texts []string
		for i := range 40 {
			texts = append(texts, strings.Repeat("many words ", i%4)+"number "+string(rune('a'+i%26)))
		}
		texts = append(texts, texts[3], texts[3])
		all := embed(t, e, texts...)
		for i, text := range texts {
			if alone := embed(t, e, text)[0]; !same(alone, all[i]) {
				t.Errorf("text %d, %q: cosine %v to the same alone", i, text, Cosine(alone, all[i]))
			}
		}
	})
	t.Run("knows what is alike", func(t *testing.T) {
		v := embed(t, e, "The cat sat on the mat.", "A cat is on the mat.", "Quarterly revenue grew by nine percent")
		if near, far := Cosine(v[0], v[1]), Cosine(v[0], v[2]); !(near > far+0.05) { // a NaN is wrong, too
			t.Errorf("cosine to what is alike %v, to what is not %v", near, far)
		}
	})
	t.Run("gives vectors away", func(t *testing.T) {
		first := embed(t, e, "mine", "mine")
		kept := append([]float32(nil), first[0]...)
		clear(first[0])
		if !same(first[1], kept) {
			t.Error("two vectors of a call are one")
		}
		for i := range 2 {
			v := embed(t, e, "mine")[0]
			if !same(v, kept) {
				t.Errorf("call %d: the vector changed with another", i+2)
			}
			clear(v)
		}
	})
	t.Run("works for many at once", func(t *testing.T) {
		want := embed(t, e, "shared", "own a", "own b", "own c", "own d")
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				own := i % 4
				got, err := e.Embed(t.Context(), []string{"own " + string(rune('a'+own)), "shared"})
				if err != nil {
					t.Error(err)
				} else if !same(got[0], want[1+own]) || !same(got[1], want[0]) {
					t.Error("texts were mixed up")
				}
			})
		}
		wg.Wait()
	})
	t.Run("stops when its caller leaves", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.Embed(ctx, []string{"nobody wants this"}); caxton.KindOf(err) != caxton.Canceled {
			t.Errorf("Embed for a caller who left: %v, want it canceled", err)
		}
		ctx, cancel = context.WithDeadline(t.Context(), time.Unix(1, 0))
		defer cancel()
		if _, err := e.Embed(ctx, []string{"too late"}); caxton.KindOf(err) != caxton.Timeout {
			t.Errorf("Embed after the deadline: %v, want a timeout", err)
		}
	})
}

// same reports whether two vectors are equal but for rounding; one that is zero equals none.
func same(a, b []float32) bool { return Cosine(a, b) > 0.9999 }

func embed(t *testing.T, e Embedder, texts ...string) [][]float32 {
	t.Helper()
	got, err := e.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(texts) {
		t.Fatalf("%d vectors for %d texts", len(got), len(texts))
	}
	return got
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
