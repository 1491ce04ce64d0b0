package embeddingtest

import (
	"context"
	"errors"
	"hash/fnv"
	"math"
	"strings"
	"unicode"

	"github.com/caxton/caxton"
)

const wordsDimensions = 384

// Words is an embedder for tests that needs no model: the vector of a text is the sum of one
// for each of its words, and a little for each three letters in a row. So texts with words in
// common are alike, and the same text always has the same vector.
type Words struct{}

// Model is words-384.
func (Words) Model() string { return "words-384" }

// Dimensions is 384.
func (Words) Dimensions() int { return wordsDimensions }

// Embed returns the vectors of texts.
func (Words) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return nil, caxton.Errorf(caxton.Timeout, "embedding_timeout", "too late").WithCause(err)
	} else if err != nil {
		return nil, caxton.Errorf(caxton.Canceled, "canceled", "no longer wanted").WithCause(err)
	}
	out := make([][]float32, len(texts))
	for i, t := range texts {
		out[i] = wordsVector(t)
	}
	return out, nil
}

func wordsVector(text string) []float32 {
	v := make([]float32, wordsDimensions)
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		addWord(v, "", 1)
	}
	for _, w := range words {
		addWord(v, w, 1)
		letters := []rune("^" + w + "$")
		for i := range max(0, len(letters)-2) {
			addWord(v, "3"+string(letters[i:i+3]), 0.2)
		}
	}
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
	return v
}

// addWord adds weight or its negative to each dimension, by the bits that word's hash begins.
func addWord(v []float32, word string, weight float32) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(word)) // it never fails
	state := h.Sum64()
	var bits uint64
	for i := range v {
		if i%64 == 0 { // splitmix64
			state += 0x9e3779b97f4a7c15
			bits = state
			bits = (bits ^ bits>>30) * 0xbf58476d1ce4e5b9
			bits = (bits ^ bits>>27) * 0x94d049bb133111eb
			bits ^= bits >> 31
		}
		if bits>>(i%64)&1 == 1 {
			v[i] += weight
		} else {
			v[i] -= weight
		}
	}
}
