package bert_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding/bert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tiny returns a weights file of a small random model.
func tiny(tb testing.TB) []byte {
	tb.Helper()
	file, err := bert.Quantise(newSmall(1, 32).write(tb), "tiny", "a test", "MIT")
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

// signed replaces the checksum of a weights file by the right one.
func signed(file []byte) []byte {
	if len(file) < sha256.Size {
		return file
	}
	body := file[:len(file)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(slices.Clip(body), sum[:]...)
}

// TestLoadRefuses damages a weights file in each way there is.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	good := tiny(t)
	change := func(old, with string) func([]byte) []byte {
		return func(f []byte) []byte {
			if !strings.Contains(string(f), old) {
				t.Errorf("the file has no %q", old)
			}
			end := 16 + int(binary.LittleEndian.Uint32(f[12:]))
			body := f[(end+63)/64*64:]
			head := strings.Replace(string(f[16:end]), old, with, 1)
			out := append(binary.LittleEndian.AppendUint32(f[:12:12], uint32(len(head))), head...)
			out = append(out, make([]byte, (len(out)+63)/64*64-len(out))...)
			return signed(append(out, body...))
		}
	}
	tests := []struct {
		name  string
		spoil func([]byte) []byte
		code  string
	}{
		{"empty", func([]byte) []byte { return nil }, "model_not_weights"},
		{"another file", func([]byte) []byte { return []byte("PK\x03\x04 not weights at all") }, "model_not_weights"},
		{"only the magic", func(f []byte) []byte { return f[:8] }, "model_damaged"},
		{"cut in the header", func(f []byte) []byte { return f[:300] }, "model_damaged"},
		{"cut by a byte", func(f []byte) []byte { return f[:len(f)-1] }, "model_damaged"},
		{"cut and signed", func(f []byte) []byte { return signed(f[:len(f)/2]) }, "model_damaged"},
		{"another version", func(f []byte) []byte { f[8] = 2; return signed(f) }, "model_version"},
		{"a bit flipped", func(f []byte) []byte { f[len(f)/2] ^= 4; return f }, "model_damaged"},
		{"a huge header", func(f []byte) []byte { binary.LittleEndian.PutUint32(f[12:], math.MaxUint32); return signed(f) }, "model_damaged"},
		{"header is no JSON", func(f []byte) []byte { f[16] = '['; return signed(f) }, "model_damaged"},
		{"more words", change(`"words":100`, `"words":999`), "model_damaged"},
		{"words beyond reason", change(`"words":100`, `"words":1000000000`), "model_unsupported"},
		{"another pooling", change(`"pooling":"mean"`, `"pooling":"mode"`), "model_unsupported"},
		{"a section outside", change(`"offset":0,`, `"offset":9999999999,`), "model_damaged"},
		{"a section before", change(`"offset":0,`, `"offset":-64,`), "model_damaged"},
		{"a section missing", change(`"layer.0.up"`, `"layer.0.no"`), "model_damaged"},
		{"another form", change(`"kind":"panels"`, `"kind":"float32"`), "model_damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := bert.Load("here.bin", tt.spoil(append([]byte(nil), good...)), bert.Config{})
			var e *caxton.Error
			if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, "here.bin") {
				t.Errorf("Load: %v, want code %s and the name of the file", err, tt.code)
			}
		})
	}
	if _, err := bert.Load("here.bin", good, bert.Config{Kernel: "abacus"}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("Load with an unknown kernel: %v", err)
	}
}

// FuzzWeights loads damaged weights files, with their own checksum and with the right one: they are
// refused or they work, and nothing else.
func FuzzWeights(f *testing.F) {
	good := tiny(f)
	head := 16 + int(binary.LittleEndian.Uint32(good[12:]))
	f.Add(good[16:head], good[head:])
	f.Add([]byte(strings.Replace(string(good[16:head]), `"cols":32`, `"cols":64`, 3)), good[head:])
	f.Add([]byte("{}"), []byte{})
	f.Fuzz(func(t *testing.T, header, body []byte) {
		file := append([]byte("CXBERT\r\n\x01\x00\x00\x00"), binary.LittleEndian.AppendUint32(nil, uint32(len(header)))...)
		file = append(append(file, header...), body...)
		for _, file := range [][]byte{file, signed(file), body} {
			m, err := bert.Load("fuzzed", file, bert.Config{Kernel: "plain"})
			if err != nil {
				if _, ok := errors.AsType[*caxton.Error](err); !ok {
					t.Fatalf("Load: %v is no *caxton.Error", err)
				}
				continue
			}
			if m.MaxTokens() <= 512 && m.Dimensions() <= 64 && m.Header().Layers <= 2 && m.Header().Inner <= 256 {
				if err := m.Embed(make([]float32, m.Dimensions()), []int32{0, 0}); err != nil {
					t.Fatalf("Embed: %v", err)
				}
			}
		}
	})
}

// TestEmbedRefuses gives Embed what it cannot take.
func TestEmbedRefuses(t *testing.T) {
	t.Parallel()
	m := builtin(t, "")
	tests := []struct {
		name string
		dst  int
		ids  []int32
		code string
	}{
		{"no tokens", 384, nil, "token_count"},
		{"257 tokens", 384, make([]int32, 257), "token_count"},
		{"a token below", 384, []int32{101, -1, 102}, "token_unknown"},
		{"a token above", 384, []int32{101, 30522, 102}, "token_unknown"},
		{"a short vector", 383, []int32{101, 102}, "vector_length"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for name, err := range map[string]error{
				"Embed":      m.Embed(make([]float32, tt.dst), tt.ids),
				"EmbedBatch": m.EmbedBatch(t.Context(), vectors(1, tt.dst), [][]int32{tt.ids}),
			} {
				var e *caxton.Error
				if !errors.As(err, &e) || e.Kind != caxton.Invalid || e.Code != tt.code {
					t.Errorf("%s: %v, want code %s", name, err, tt.code)
				}
			}
		})
	}
	if err := m.EmbedBatch(t.Context(), vectors(2, 384), tokens(1, 3)); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("EmbedBatch of 1 text into 2 vectors: %v", err)
	}
}

// TestEmbedBatch gives each text the vector it has alone, whatever stands beside it.
func TestEmbedBatch(t *testing.T) {
	t.Parallel()
	s := newSmall(2, 32)
	dir := s.write(t)
	for _, workers := range []int{1, 2, 5} {
		for _, count := range []int{0, 1, 2, 3, 17, 300} {
			t.Run(fmt.Sprintf("%d workers, %d texts", workers, count), func(t *testing.T) {
				t.Parallel()
				m, err := bert.LoadDir(dir, bert.Config{Workers: workers})
				if err != nil {
					t.Fatal(err)
				}
				ids, got := make([][]int32, count), vectors(count, s.hidden)
				for i := range ids {
					ids[i] = s.some(1 + i*37%256)
				}
				if err := m.EmbedBatch(t.Context(), got, ids); err != nil {
					t.Fatal(err)
				}
				want := make([]float32, s.hidden)
				for i := range ids {
					if err := m.Embed(want, ids[i]); err != nil {
						t.Fatal(err)
					}
					if c := cosine(got[i], want); !(c > 0.9999999) {
						t.Fatalf("text %d of %d tokens: cosine %v to its vector alone", i, len(ids[i]), c)
					}
				}
			})
		}
	}
}

// TestEmbedTogether embeds from many goroutines at once, which -race watches.
func TestEmbedTogether(t *testing.T) {
	t.Parallel()
	m := builtin(t, "")
	ids := tokens(1, 9)[0]
	want := make([]float32, m.Dimensions())
	if err := m.Embed(want, ids); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got := make([]float32, m.Dimensions())
			for range 5 {
				if err := m.Embed(got, ids); err != nil {
					t.Error(err)
				}
				for i := range got {
					if got[i] != want[i] {
						t.Errorf("dimension %d is %v, alone %v", i, got[i], want[i])
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestEmbedBatchCanceled ends with its context.
func TestEmbedBatchCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := builtin(t, "")
	if err := m.EmbedBatch(ctx, vectors(100, 384), tokens(100, 200)); !errors.Is(err, context.Canceled) {
		t.Errorf("EmbedBatch with a context that has ended: %v", err)
	}
}

// TestAllocations embeds one text without allocating.
func TestAllocations(t *testing.T) {
	m := builtin(t, "")
	long, short, dst := tokens(1, 64)[0], tokens(1, 16)[0], make([]float32, m.Dimensions())
	got := testing.AllocsPerRun(5, func() {
		for _, ids := range [][]int32{long, short} {
			if err := m.Embed(dst, ids); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got != 0 {
		t.Errorf("Embed allocates %v times", got)
	}
}
