package meter_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
)

// TestCompilingIsBounded holds that small modules that take the engine very long to compile are
// refused before it begins, with the function that is to blame, and that smaller ones of the
// same kind are taken.
func TestCompilingIsBounded(t *testing.T) {
	t.Parallel()
	repeat := func(n int, code ...byte) []byte { return bytes.Repeat(code, n) }
	ifs := func(n int) []byte { return repeat(n, 0x20, 0, 0x04, 0x40, 0x0b) }
	body := func(code func(n int) []byte) func(b *builder, n int) {
		return func(b *builder, n int) { b.function("i", "", "run", nil, code(n)...) }
	}
	tests := []struct {
		name       string
		good, long int
		make       func(b *builder, n int)
	}{
		{"values on the stack across blocks", 1000, 20_000, body(func(n int) []byte {
			return cat(repeat(n, 0x20, 0, 0x29, 0, 0), ifs(n), repeat(n-1, 0x7c), []byte{0x24, 0})
		})},
		{"values on the stack, made by each kind of instruction", 300, 20_000, body(func(n int) []byte {
			return cat(repeat(n, 0x20, 0, 0x41, 1, 0x6a, 0x20, 0, 0x45, 0x6a, 0x20, 0, 0x20, 0, 0x20, 0, 0x1b, 0x6a,
				0xfd, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0x1b, 0, 0x6a, 0xfc, 0x10, 0, 0x6a),
				ifs(n), repeat(n, 0x1a))
		})},
		{"locals across blocks", 500, 6000, func(b *builder, n int) {
			var set, get []byte
			for i := range n {
				set = cat(set, []byte{0x20, 0, 0x29, 0, 0, 0x21}, leb(uint64(i+1)))
				get = cat(get, []byte{0x20}, leb(uint64(i+1)), []byte{0x24, 0})
			}
			b.function("i", "", "run", cat([]byte{1}, leb(uint64(n)), []byte{0x7e}), cat(set, ifs(n), get)...)
		}},
		{"globals and calls", 1000, 10_000, func(b *builder, n int) {
			for range n {
				b.globals = append(b.globals, []byte{0x7e, 1, 0x42, 0, 0x0b})
			}
			b.function("i", "", "run", nil, repeat(n, 0x20, 0, 0x10, 0)...)
		}},
		{"conditional branches", 8000, 200_000, body(func(n int) []byte { return cat([]byte{0x02, 0x40}, repeat(n, 0x20, 0, 0x0d, 0), []byte{0x0b}) })},
		{"ifs", 8000, 200_000, body(ifs)},
		{"loops", 2000, 20_000, body(func(n int) []byte { return repeat(n, 0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b) })},
		{"locals at a few places where ways meet", 100, 10_000, func(b *builder, n int) {
			b.function("i", "", "run", cat([]byte{1}, leb(uint64(n)), []byte{0x7e}), ifs(1000)...)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for n, refused := range map[int]bool{tt.good: false, tt.long: true} {
				var b builder
				b.memories, b.tables, b.globals = [][]byte{{0, 1}}, [][]byte{{0x70, 0, 1}}, [][]byte{{0x7e, 1, 0x42, 0, 0x0b}}
				tt.make(&b, n)
				begun := time.Now()
				m, err := meter.Rewrite(b.bytes(), meter.Options{})
				var e *caxton.Error
				switch {
				case refused && (!errors.As(err, &e) || e.Code != meter.CodeTooLarge || !strings.Contains(e.Message, "function ") || e.Hint == ""):
					t.Errorf("%d of %s: %v", n, tt.name, err)
				case !refused && err != nil:
					t.Errorf("%d of %s: %v", n, tt.name, err)
				case !refused:
					t.Logf("%d: %v", n, m.Compile.Round(time.Millisecond))
				default:
					t.Logf("%d: refused in %v: %v", n, time.Since(begun), e.Message)
				}
			}
		})
	}
}

// TestEstimateOfRealGuests holds that what compilers make is far from the limit.
func TestEstimateOfRealGuests(t *testing.T) {
	t.Parallel()
	for language, module := range guests(t) {
		m := rewrite(t, module, meter.Options{})
		if m.Compile <= 0 || m.Compile > 10*time.Second {
			t.Errorf("%s: compiling may take %v", language, m.Compile)
		}
		t.Logf("%s: %v", language, m.Compile.Round(time.Millisecond))
	}
}
