package wordpiece_test

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding/wordpiece"
)

const (
	unknown = 100
	begin   = 101
	end     = 102
)

func unzip(tb testing.TB, path string) io.Reader {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}

func tokenizer(tb testing.TB) *wordpiece.Tokenizer {
	tb.Helper()
	t, err := wordpiece.Read(unzip(tb, "testdata/vocab.txt.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

type golden struct {
	text   string
	tokens []int32
}

func goldens(tb testing.TB) []golden {
	tb.Helper()
	var gs []golden
	for s := bufio.NewScanner(unzip(tb, "testdata/strings.json.gz")); s.Scan(); {
		var g golden
		if err := json.Unmarshal(s.Bytes(), &[]any{&g.text, &g.tokens}); err != nil {
			tb.Fatal(err)
		}
		gs = append(gs, g)
	}
	if len(gs) < 20_000 {
		tb.Fatalf("%d goldens", len(gs))
	}
	return gs
}

// Every string of the goldens has the tokens that the reference gave it, and as many by Count.
func TestEncodeEqualsReference(t *testing.T) {
	t.Parallel()
	tok := tokenizer(t)
	var dst []int32
	wrong := 0
	for _, g := range goldens(t) {
		dst = tok.Encode(dst[:0], g.text, 256)
		want := slices.Concat([]int32{begin}, g.tokens, []int32{end})
		if !slices.Equal(dst, want) {
			if wrong++; wrong <= 20 {
				t.Errorf("Encode(%+q) = %v, want %v", g.text, dst, want)
			}
		}
		if n := tok.Count(g.text); n != len(g.tokens) && len(g.tokens) < 254 || n < len(g.tokens) {
			t.Errorf("Count(%+q) = %d, want %d", g.text, n, len(g.tokens))
		}
	}
	if wrong > 0 {
		t.Errorf("%d strings differ", wrong)
	}
}

// Every character there is, between two letters, gives what the reference gives. Where a block
// differs, the script that made the goldens shows which one.
func TestEncodeEqualsReferenceForEveryCharacter(t *testing.T) {
	t.Parallel()
	tok := tokenizer(t)
	b, err := os.ReadFile("testdata/alone.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	const block = 4096
	if len(want)*block != utf8.MaxRune+1 {
		t.Fatalf("%d blocks", len(want))
	}
	var dst []int32
	var bytes []byte
	for i, w := range want {
		h := sha256.New()
		for r := rune(i * block); r < rune((i+1)*block); r++ {
			text := "xy" // halves of pairs cannot be written
			if utf8.ValidRune(r) {
				text = "x" + string(r) + "y"
			}
			dst = tok.Encode(dst[:0], text, 256)
			bytes = bytes[:0]
			for _, id := range dst {
				bytes = binary.LittleEndian.AppendUint32(bytes, uint32(id))
			}
			h.Write(bytes)
		}
		if got := hex.EncodeToString(h.Sum(nil))[:16]; got != w {
			t.Errorf("block from %U: digest %s, want %s", i*block, got, w)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	tok := tokenizer(t)
	tests := []struct {
		name, in, same string // two texts that give the same tokens
	}{
		{"upper case", "HELLO World", "hello world"},
		{"accents", "Crème brûlée", "creme brulee"},
		{"combining accents", "cafe\u0301", "cafe"},
		{"a byte that is no UTF-8", "hel\xfflo", "hello"},
		{"a broken character at the end", "hello\xe4\xb8", "hello"},
		{"half of a pair in UTF-8", "hel\xed\xa0\x80lo", "hello"},
		{"zero byte", "he\x00llo", "hello"},
		{"zero width", "he\u200bllo", "hello"},
		{"private use", "he\ue000llo", "hello"},
		{"white space of all sorts", "\tone\u00a0two\u3000three\r\n", "one two three"},
		{"CJK stands alone", "a中国b", "a 中 国 b"},
		{"special token with a byte that is no UTF-8", "[S\xffEP]", "[ sep ]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, want := tok.Encode(nil, tt.in, 256), tok.Encode(nil, tt.same, 256)
			if !slices.Equal(got, want) {
				t.Errorf("Encode(%q) = %v, want %v", tt.in, got, want)
			}
		})
	}
	t.Run("a long text is cut", func(t *testing.T) {
		t.Parallel()
		text := strings.Repeat("word ", 1000)
		for _, limit := range []int{2, 3, 64, 256, 512} {
			got := tok.Encode(nil, text, limit)
			if len(got) != limit || got[0] != begin || got[limit-1] != end {
				t.Errorf("Encode with limit %d: %d tokens, %v … %v", limit, len(got), got[0], got[len(got)-1])
			}
		}
		if n := tok.Count(text); n != 1000 {
			t.Errorf("Count = %d, want 1000", n)
		}
	})
	t.Run("dst is kept", func(t *testing.T) {
		t.Parallel()
		if got := tok.Encode([]int32{7}, "", 256); !slices.Equal(got, []int32{7, begin, end}) {
			t.Errorf("Encode = %v", got)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		want := tok.Encode(nil, "Crème brûlée 中国", 256)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 200 {
					if got := tok.Encode(nil, "Crème brûlée 中国", 256); !slices.Equal(got, want) {
						t.Errorf("Encode = %v, want %v", got, want)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestEncodeDoesNotAllocate(t *testing.T) {
	tok := tokenizer(t)
	dst := make([]int32, 0, 256)
	for _, text := range []string{"The quick brown fox jumps over the lazy dog.", "Crème brûlée 中国 각 [SEP] 👍🏽"} {
		if n := testing.AllocsPerRun(100, func() { dst = tok.Encode(dst[:0], text, 256) }); n != 0 {
			t.Errorf("Encode(%q) allocates %v times", text, n)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     caxton.Kind
	}{
		{"smallest", "[UNK]\n[CLS]\n[SEP]\n", ""},
		{"line ends of Windows", "[UNK]\r\n[CLS]\r\n[SEP]\r\nhello\r\n", ""},
		{"no newline at the end", "[UNK]\n[CLS]\n[SEP]", ""},
		{"empty", "", caxton.Invalid},
		{"no [SEP]", "[UNK]\n[CLS]\nhello\n", caxton.Invalid},
		{"twice", "[UNK]\n[CLS]\n[SEP]\nhello\nhello\n", caxton.Invalid},
		{"empty line", "[UNK]\n[CLS]\n[SEP]\n\nhello\n", caxton.Invalid},
		{"long line", "[UNK]\n[CLS]\n[SEP]\n" + strings.Repeat("x", 2000) + "\n", caxton.Invalid},
		{"not a vocabulary", `{"version": "1.0"}`, caxton.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tok, err := wordpiece.Read(strings.NewReader(tt.in))
			if kind := caxton.KindOf(err); kind != tt.want {
				t.Fatalf("Read: kind %q (%v), want %q", kind, err, tt.want)
			}
			if err == nil {
				if got := tok.Encode(nil, "zebra", 8); !slices.Equal(got, []int32{1, 0, 2}) {
					t.Errorf("Encode = %v", got)
				}
			}
		})
	}
	if n := tokenizer(t).Size(); n != 30522 {
		t.Errorf("Size = %d", n)
	}
}

// Small vocabularies, where pieces are few.
func TestPieces(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, vocab, in string
		want            []int32 // without begin and end
	}{
		{"longest first", "a ab abc ##c ##d ##cd", "abcd", []int32{5, 7}},
		{"no way back", "ab a ##bc", "abc", []int32{0}},
		{"no pieces at all", "ab cd", "abcd ab", []int32{0, 3}},
		{"a part that is unknown", "a ##b", "abx ab", []int32{0, 3, 4}},
		{"100 characters", "a ##a", strings.Repeat("a", 100), append([]int32{3}, slices.Repeat([]int32{4}, 99)...)},
		{"101 characters", "a ##a", strings.Repeat("a", 101), []int32{0}},
		{"101 characters with marks between", "a ##a", strings.Repeat("á", 100) + "\u0301", append([]int32{3}, slices.Repeat([]int32{4}, 99)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tok, err := wordpiece.New(append([]string{"[UNK]", "[CLS]", "[SEP]"}, strings.Fields(tt.vocab)...))
			if err != nil {
				t.Fatal(err)
			}
			got := tok.Encode(nil, tt.in, 256)
			if got = got[1 : len(got)-1]; !slices.Equal(got, tt.want) {
				t.Errorf("Encode(%q) = %v, want %v", tt.in, got, tt.want)
			}
		})
	}
}

// Whatever the bytes: tokens are of the vocabulary, the limit holds, a shorter limit gives a
// beginning of the longer, what is no UTF-8 is as if it were not there, and so is the Count.
func FuzzEncode(f *testing.F) {
	tok := tokenizer(f)
	for i, g := range goldens(f) {
		if i%400 == 0 {
			f.Add(g.text)
		}
	}
	f.Add("\xff\xfe[SEP\xed\xa0\x80]")
	f.Fuzz(func(t *testing.T, text string) {
		whole := tok.Encode(nil, text, len(text)*3+2)
		if len(whole) != tok.Count(text)+2 {
			t.Fatalf("Encode(%q) gives %d tokens, Count %d", text, len(whole)-2, tok.Count(text))
		}
		for _, id := range whole {
			if id < 0 || int(id) >= tok.Size() {
				t.Fatalf("Encode(%q) gives %d", text, id)
			}
		}
		short := tok.Encode(nil, text, 16)
		if n := min(len(whole), 16); len(short) != n || !slices.Equal(short[:n-1], whole[:n-1]) || short[n-1] != end {
			t.Fatalf("Encode(%q) = %v, cut %v", text, whole, short)
		}
		if replaced := tok.Encode(nil, strings.ToValidUTF8(text, "\ufffd"), len(text)*3+2); !slices.Equal(whole, replaced) {
			t.Fatalf("Encode(%q) = %v, without broken bytes %v", text, whole, replaced)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := tokenizer(b)
	var accents, odd, words strings.Builder
	for i, s := 0, bufio.NewScanner(unzip(b, "testdata/vocab.txt.gz")); s.Scan(); i++ {
		if w := s.Text(); i%2 == 1 && len(w) > 2 && w[0] >= 'a' && w[0] <= 'z' {
			words.WriteString(w + "ly ") // many have two pieces
		}
	}
	for i, g := range goldens(b) {
		if i%12 == 0 {
			odd.WriteString(g.text)
		}
	}
	for range 100 {
		accents.WriteString("Съешь ещё этих мягких французских булок, Crème brûlée, façade, naïve coöperation. ")
	}
	for _, bb := range []struct{ name, text string }{
		{"english", strings.Repeat("Dr. Smith's appointment was moved from 3:30pm to 4 o'clock; please re-confirm unbelievable things! ", 100)},
		{"words", words.String()},
		{"accents", accents.String()},
		{"odd", odd.String()},
	} {
		b.Run(bb.name, func(b *testing.B) {
			dst := make([]int32, 0, len(bb.text)*3)
			b.SetBytes(int64(len(bb.text)))
			b.ReportAllocs()
			for b.Loop() {
				dst = tok.Encode(dst[:0], bb.text, cap(dst))
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	text, err := io.ReadAll(unzip(b, "testdata/vocab.txt.gz"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wordpiece.Read(strings.NewReader(string(text))); err != nil {
			b.Fatal(err)
		}
	}
}

// Whatever a vocabulary holds: it is refused, or each of its words that is one token for the
// reference is that token.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"[UNK]\n[CLS]\n[SEP]\na\n##a\nab\n", "[UNK]\r\n[CLS]\r\n[SEP]\r\n\xff\r\n", "", "\n\n", "[UNK]\n[UNK]\n[CLS]\n[SEP]\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, vocab string) {
		tok, err := wordpiece.Read(strings.NewReader(vocab))
		if err != nil {
			if caxton.KindOf(err) != caxton.Invalid {
				t.Fatalf("Read: %v", err)
			}
			return
		}
		for i, w := range strings.Split(strings.ReplaceAll(vocab, "\r\n", "\n"), "\n") {
			if len(w) > 100 || w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
				continue
			}
			if got := tok.Encode(nil, w, 256); len(got) != 3 || got[1] != int32(i) {
				t.Fatalf("Encode(%q) = %v, want token %d", w, got, i)
			}
		}
	})
}
