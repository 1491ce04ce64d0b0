package meter_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/caxton/caxton/internal/wasm/meter"
)

// comparisons returns functions (x, y) -> i32 that compare 0 with x & y in all the ways in which the
// engine could see that this is what they do.
func comparisons() map[string][]byte {
	type operand struct {
		name string
		code []byte // puts it on the stack, or in a local
		get  []byte // puts it on the stack when code did not
	}
	found := map[string][]byte{}
	for _, wide := range []bool{false, true} {
		typ, constant, and, local, ops := byte(0x7f), byte(0x41), byte(0x71), byte(2), []byte{0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f}
		if wide {
			typ, constant, and, local, ops = 0x7e, 0x42, 0x83, 4, []byte{0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a}
		}
		both := []byte{0x20, 0, 0x20, 1, and}
		if wide {
			both = []byte{0x20, 0, 0xac, 0x20, 1, 0xac, and}
		}
		zeros := []operand{
			{"0", []byte{constant, 0}, nil},
			{"0 in a local", []byte{constant, 0, 0x21, local}, []byte{0x20, local}},
			{"a local that was never set", nil, []byte{0x20, local}},
			{"0 behind a nop", []byte{constant, 0, 0x01}, nil},
			{"1", []byte{constant, 1}, nil},
			{"a parameter", []byte{0x20, 0, 0x21, local}, []byte{0x20, local}},
		}
		if wide {
			zeros = zeros[:5]
		}
		ands := []operand{
			{"x & y", both, nil},
			{"x & y in a local", cat(both, []byte{0x21, local + 1}), []byte{0x20, local + 1}},
			{"x & y through a local", cat(both, []byte{0x22, local + 1}), nil},
			{"x & y of a block", cat([]byte{0x02, typ}, both, []byte{0x0b}), nil},
			{"x & y behind a drop", cat(both, []byte{0x41, 9, 0x1a}), nil},
			{"x & y behind a set", cat(both, []byte{0x41, 9, 0x21, 1}), nil},
			{"x & y behind a nop", cat(both, []byte{0x01}), nil},
		}
		uses := map[string][2][]byte{
			"br_if":           {{0x02, 0x40}, {0x0d, 0, 0x41, 0, 0x0f, 0x0b, 0x41, 1}},
			"br_if of eqz":    {{0x02, 0x40}, {0x45, 0x0d, 0, 0x41, 0, 0x0f, 0x0b, 0x41, 1}},
			"if":              {nil, {0x04, 0x7f, 0x41, 1, 0x05, 0x41, 0, 0x0b}},
			"select":          {{0x41, 5, 0x41, 6}, {0x1b}},
			"value":           {nil, nil},
			"br_if of a loop": {{0x03, 0x40}, {0x45, 0x04, 0x40, 0x41, 0, 0x0f, 0x0b, 0x0b, 0x41, 1}},
		}
		if os.Getenv("CAXTON_SOAK") == "" { // two that the engine gets right, and that take as long
			delete(uses, "value")
			delete(uses, "br_if of a loop")
		}
		for _, zero := range zeros {
			for _, masked := range ands {
				for _, op := range ops {
					for use, around := range uses {
						set, first, second := []byte(nil), cat(zero.code, zero.get), cat(masked.code, masked.get)
						if zero.get != nil {
							set, first = cat(set, zero.code), zero.get
						}
						if masked.get != nil {
							set, second = cat(set, masked.code), masked.get
						}
						name := fmt.Sprintf("%#x of %s and %s as %s", op, zero.name, masked.name, use)
						found[name] = cat(set, around[0], first, second, []byte{op}, around[1])
						found[name+", swapped"] = cat(set, around[0], second, first, []byte{op}, around[1])
					}
				}
			}
		}
	}
	return found
}

// TestComparisonsWithZero holds that rewritten modules compare as the engine's interpreter
// does. The compiler of wazero 1.12.0 for amd64 branches the wrong way on 0 < (x & y) and its
// like, and that for arm64 on (x & y) > 0, unsigned.
func TestComparisonsWithZero(t *testing.T) {
	t.Parallel()
	var b builder
	var names []string
	locals := []byte{2, 2, 0x7f, 2, 0x7e}
	for name, code := range comparisons() {
		names = append(names, name)
		b.function("ii", "i", name, locals, code...)
	}
	h := newHost(1 << 40)
	m := rewrite(t, b.bytes(), meter.Options{})
	rewritten := instantiate(t, newRuntime(t, h, wazero.NewRuntimeConfig()), m.Bytes)
	plain := instantiate(t, newRuntime(t, h, wazero.NewRuntimeConfig()), b.bytes())
	truth := instantiate(t, newRuntime(t, newHost(0), wazero.NewRuntimeConfigInterpreter()), b.bytes())
	wrong := 0
	for _, name := range names {
		for _, args := range [][]uint64{{0, 0}, {3, 1}, {1, 2}, {1<<32 - 1, 1 << 31}, {5, 1<<32 - 1}} {
			want, err := truth.ExportedFunction(name).Call(t.Context(), args...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := rewritten.ExportedFunction(name).Call(t.Context(), args...)
			if err != nil || got[0] != want[0] {
				t.Errorf("%s, of %v: %v, %v; want %v", name, args, got, err, want)
			}
			if got, err := plain.ExportedFunction(name).Call(t.Context(), args...); err != nil || got[0] != want[0] {
				wrong++
			}
		}
	}
	t.Logf("of %d functions, as they are, the engine got %d answers wrong", len(names), wrong)
}

// TestComparisonsCostNothingMore holds that what is put between an and and a comparison is not
// charged for.
func TestComparisonsCostNothingMore(t *testing.T) {
	t.Parallel()
	for op, want := range map[byte]int64{0x46: 6, 0x49: 6} { // an entry, five instructions
		var b builder
		b.function("ii", "i", "run", nil, 0x41, 0, 0x20, 0, 0x20, 1, 0x71, op)
		h := newHost(1000)
		m := instantiate(t, newRuntime(t, h, wazero.NewRuntimeConfig()), rewrite(t, b.bytes(), meter.Options{}).Bytes)
		if got, err := m.ExportedFunction("run").Call(t.Context(), 3, 1); err != nil || h.used(m) != want {
			t.Errorf("%#x: %v, %v used %d, want %d", op, got, err, h.used(m), want)
		}
	}
}
