package minilm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton/internal/embedding/bert"
	"github.com/caxton/caxton/internal/embedding/minilm"
)

// TestLoad holds the model in the program to what was published.
func TestLoad(t *testing.T) {
	t.Parallel()
	m, err := minilm.Load(bert.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := bert.Header{
		Name: minilm.Name, Precision: "int8-1", Licence: "Apache-2.0",
		Source: "sentence-transformers/all-MiniLM-L6-v2@1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
		Layers: 6, Heads: 12, Hidden: 384, Inner: 1536, Words: 30522, Positions: 512, MaxTokens: 256, Epsilon: 1e-12,
		Pooling: "mean", Normalised: true,
	}
	if diff := cmp.Diff(want, m.Header()); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	sum := sha256.Sum256(m.Vocabulary())
	if got, want := hex.EncodeToString(sum[:]), "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"; got != want {
		t.Errorf("the vocabulary has the SHA-256 %s, the published one %s", got, want)
	}
	v := make([]float32, m.Dimensions())
	if err := m.Embed(v, []int32{101, 7592, 2088, 102}); err != nil { // hello world
		t.Fatal(err)
	}
	sum64 := 0.0
	for _, x := range v {
		sum64 += float64(x) * float64(x)
	}
	if math.Abs(sum64-1) > 1e-5 {
		t.Errorf("the vector has the length %v, want 1", math.Sqrt(sum64))
	}
}

// TestMade makes the weights file again from the published weights, if they are here.
func TestMade(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CAXTON_MODEL_DIR")
	if dir == "" {
		t.Skip("CAXTON_MODEL_DIR names no directory with the published float32 weights")
	}
	m, err := minilm.Load(bert.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := m.Header()
	got, err := bert.Quantise(dir, h.Name, h.Source, h.Licence)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("all-minilm-l6-v2.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the generator makes another file than all-minilm-l6-v2.bin; run go generate")
	}
}
