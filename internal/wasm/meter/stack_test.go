package meter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/caxton/caxton/internal/wasm/meter"
)

// stackOf is the gauge of an instance's stack.
func stackOf(m api.Module) api.MutableGlobal {
	return m.ExportedGlobal(meter.StackExport).(api.MutableGlobal)
}

// ways are bodies of a function (i32) -> i32 that calls itself with one less, in function self,
// and end in all the ways a function can.
func ways(self byte) map[string][]byte {
	until := []byte{0x20, 0, 0x45, 0x04, 0x40, 0x41, 7, 0x0f, 0x0b} // if it is 0, return 7
	again := cat(until, []byte{0x20, 0, 0x41, 1, 0x6b, 0x10, self})
	return map[string][]byte{
		"the end":                       again,
		"return":                        cat(again, []byte{0x0f}),
		"return, with code behind it":   cat(again, []byte{0x0f, 0x41, 1, 0x0f, 0x41, 2, 0x0c, 0}),
		"br":                            cat(again, []byte{0x0c, 0}),
		"br_if":                         cat(again, []byte{0x41, 1, 0x0d, 0}),
		"br_if that is not taken":       cat(again, []byte{0x41, 0, 0x0d, 0}),
		"br_table":                      cat(again, []byte{0x41, 5, 0x0e, 2, 0, 0, 0}),
		"return from a loop in a block": cat(again, []byte{0x21, 0, 0x02, 0x40, 0x03, 0x40, 0x20, 0, 0x0f, 0x0b, 0x0b, 0x00}),
		"br from a loop in a block":     cat(again, []byte{0x21, 0, 0x02, 0x40, 0x03, 0x40, 0x20, 0, 0x0c, 2, 0x0b, 0x0b, 0x00}),
		"br_table from a loop":          cat(again, []byte{0x21, 0, 0x03, 0x7f, 0x20, 0, 0x41, 1, 0x0e, 1, 1, 1, 0x0b}),
		"return from an if":             cat(again, []byte{0x21, 0, 0x20, 0, 0x04, 0x7f, 0x20, 0, 0x0f, 0x05, 0x41, 1, 0x0b}),
		"return beside other values":    cat([]byte{0x41, 1, 0x41, 2}, again, []byte{0x0f}),
	}
}

// TestStackIsGivenBack holds that a call that returns leaves the gauge as it was, whichever way
// its functions end.
func TestStackIsGivenBack(t *testing.T) {
	t.Parallel()
	for name, body := range ways(0) {
		t.Run(name, func(t *testing.T) {
			var b builder
			b.function("i", "i", "run", nil, body...)
			m := rewrite(t, b.bytes(), meter.Options{})
			if m.Counts.Recursive != 1 {
				t.Fatalf("%d functions count, want 1", m.Counts.Recursive)
			}
			h := newHost(1 << 30)
			instance := instantiate(t, newRuntime(t, h, wazero.NewRuntimeConfig()), m.Bytes)
			for range 3 {
				got, err := instance.ExportedFunction("run").Call(t.Context(), 100)
				if err != nil || got[0] != 7 {
					t.Fatalf("run(100) = %v, %v; want 7", got, err)
				}
				if left := stackOf(instance).Get(); left != 1<<20 {
					t.Fatalf("%d bytes of stack are left, want %d", left, 1<<20)
				}
			}
		})
	}
}

// TestStackOfSeveralResults holds that a function that counts may have several results, whose
// block needs a type that the module does not have.
func TestStackOfSeveralResults(t *testing.T) {
	t.Parallel()
	var b builder
	for _, params := range []string{"i", "il", "i"} { // of two of them the results are the same
		self := byte(len(b.functions))
		args := []byte{0x20, 0, 0x41, 1, 0x6b}
		if params == "il" {
			args = append(args, 0x42, 5)
		}
		b.function(params, "il", fmt.Sprint("run", self), nil, cat(
			[]byte{0x20, 0, 0x45, 0x04, 0x40, 0x41, 7, 0x42, 8, 0x0f, 0x0b}, args, []byte{0x10, self, 0x0c, 0})...)
	}
	h := newHost(1 << 30)
	instance := instantiate(t, newRuntime(t, h, wazero.NewRuntimeConfig()), rewrite(t, b.bytes(), meter.Options{}).Bytes)
	for i, args := range [][]uint64{{100}, {100, 3}, {100}} {
		got, err := instance.ExportedFunction(fmt.Sprint("run", i)).Call(t.Context(), args...)
		if err != nil || got[0] != 7 || got[1] != 8 || stackOf(instance).Get() != 1<<20 {
			t.Errorf("run%d = %v, %v with %d of stack left; want 7, 8 and all", i, got, err, stackOf(instance).Get())
		}
	}
}

// deep is a module whose "run" calls itself for ever, and counts how deep it is in the global
// "depth". Its function has type (params) -> (); the code makes its arguments.
func deep(params string, locals []byte, args ...byte) *builder {
	var b builder
	b.globals = [][]byte{{0x7f, 1, 0x41, 0, 0x0b}}
	b.exports = [][]byte{cat(str("depth"), []byte{3, 0})}
	b.function(params, "", "run", locals, cat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, args, []byte{0x10, 0})...)
	return &b
}

// TestStackDepth holds that recursion ends at the same depth, with the same fuel, on every
// machine: the numbers are those of docs/fuel.md, and were not taken from a run.
func TestStackDepth(t *testing.T) {
	t.Parallel()
	groups := func(n int, typ byte) []byte { return cat([]byte{1}, leb(uint64(n)), []byte{typ}) }
	indirect := deep("", nil)
	indirect.tables = [][]byte{{0x70, 0, 1}}
	indirect.elements = [][]byte{{0, 0x41, 0, 0x0b, 1, 0}}
	indirect.codes[0] = cat([]byte{12}, []byte{0, 0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x41, 0, 0x11, 0}, []byte{0, 0x0b})
	indirect.codes[0][0] = byte(len(indirect.codes[0]) - 1)
	mutual := deep("", nil)
	mutual.codes[0][len(mutual.codes[0])-2] = 1
	mutual.function("i", "", "", groups(7, 0x7e), 0x10, 0)
	mutual.codes[0] = cat([]byte{byte(len(mutual.codes[0]) + 1)}, mutual.codes[0][1:len(mutual.codes[0])-3], []byte{0x41, 1, 0x10, 1, 0x0b})
	tests := []struct {
		name   string
		module *builder
		stack  int64
		depth  uint64
		fuel   int64 // of all functions that were entered, and of the one that was not
	}{
		{"no locals", deep("", nil), 64 * 100, 100, 6 * 101},
		{"one byte too few", deep("", nil), 64*100 - 1, 99, 6 * 100},
		{"one byte too many", deep("", nil), 64*100 + 1, 100, 6 * 101},
		{"parameters", deep("ild", nil, 0x20, 0, 0x20, 1, 0x20, 2), 88 * 50, 50, 9 * 51},
		{"locals", deep("i", groups(15, 0x7c), 0x20, 0), (64 + 16*8) * 20, 20, (7 + 1) * 21},
		{"through a table", indirect, 64 * 100, 100, 7 * 101},
		{"two functions", mutual, (64 + 64 + 64) * 10, 10, (7+2)*10 + 7},
		{"the usual stack", deep("", nil), 0, 1 << 20 / 64, 6 * (1<<20/64 + 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(1 << 30)
			instance := instantiate(t, newRuntime(t, h, wazero.NewRuntimeConfig()), rewrite(t, tt.module.bytes(), meter.Options{Stack: tt.stack}).Bytes)
			run := instance.ExportedFunction("run")
			_, err := run.Call(t.Context(), make([]uint64, len(run.Definition().ParamTypes()))...)
			if !errors.Is(err, errStack) {
				t.Fatalf("it ends with %v", err)
			}
			if got := instance.ExportedGlobal("depth").Get(); got != tt.depth {
				t.Errorf("it came to depth %d, want %d", got, tt.depth)
			}
			if got := h.used(instance); got != tt.fuel {
				t.Errorf("it used %d, want %d", got, tt.fuel)
			}
		})
	}
}

// TestStackWithoutRecursion holds that functions that are not on a cycle of calls do not count,
// and that one of them with a frame that is far too large does.
func TestStackWithoutRecursion(t *testing.T) {
	t.Parallel()
	var b builder
	b.imports = [][]byte{cat(str("env"), str("f"), []byte{0, 0})}
	b.types = [][]byte{funcType("", "")}
	for i := range 10 {
		b.function("", "", "", nil, 0x10, byte(i+2), 0x10, 0) // the next one, and the import
	}
	b.function("", "", "", nil)
	if m := rewrite(t, b.bytes(), meter.Options{}); m.Counts.Recursive != 0 {
		t.Errorf("%d functions count, want 0", m.Counts.Recursive)
	}
	// A table makes a cycle of the functions that call through it and those that are in it.
	b.tables, b.elements = [][]byte{{0x70, 0, 1}}, [][]byte{{0, 0x41, 0, 0x0b, 1, 3}}
	b.function("", "", "", nil, 0x41, 0, 0x11, 0, 0)
	if m := rewrite(t, b.bytes(), meter.Options{}); m.Counts.Recursive != 0 {
		t.Errorf("function 3 is in the table and 12 calls through it: %d functions count, want 0", m.Counts.Recursive)
	}
	b.elements[0][5] = 12
	if m := rewrite(t, b.bytes(), meter.Options{}); m.Counts.Recursive != 1 {
		t.Errorf("function 12 is in the table it calls through: %d functions count, want 1", m.Counts.Recursive)
	}
	var large builder
	large.function("", "", "run", nil, bytes.Repeat([]byte{0x41, 0, 0x41, 0, 0x6a, 0x1a}, 1<<18)...)
	if m := rewrite(t, large.bytes(), meter.Options{}); m.Counts.Recursive != 1 {
		t.Errorf("a function with a very large frame: %d functions count, want 1", m.Counts.Recursive)
	}
}

// TestStackAfterAnError holds that a host that puts the gauge back after an error has an
// instance whose next call begins with all of it, and that a host function may call the guest.
func TestStackAfterAnError(t *testing.T) {
	t.Parallel()
	var b builder
	b.types = [][]byte{funcType("", "")}
	b.imports = [][]byte{cat(str("env"), str("again"), []byte{0, 0})}
	b.function("", "", "overflow", nil, 0x10, 1)
	b.function("i", "", "nested", nil, 0x20, 0, 0x04, 0x40, 0x10, 0, 0x20, 0, 0x41, 1, 0x6b, 0x10, 2, 0x0b)
	b.function("i", "", "trap", nil, 0x20, 0, 0x45, 0x04, 0x40, 0x00, 0x0b, 0x20, 0, 0x41, 1, 0x6b, 0x10, 3)
	h := newHost(1 << 30)
	r := newRuntime(t, h, wazero.NewRuntimeConfig())
	// safely calls the guest as the contract says.
	safely := func(ctx context.Context, m api.Module, name string, args ...uint64) error {
		before := stackOf(m).Get()
		_, err := m.ExportedFunction(name).Call(ctx, args...)
		if err != nil {
			stackOf(m).Set(before)
		}
		return err
	}
	var nested []uint64
	_, err := r.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func(ctx context.Context, m api.Module) {
		nested = append(nested, stackOf(m).Get())
		if err := safely(ctx, m, "overflow"); !errors.Is(err, errStack) {
			t.Errorf("overflow within a call of the host: %v", err)
		}
	}).Export("again").Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	instance := instantiate(t, r, rewrite(t, b.bytes(), meter.Options{Stack: 7200}).Bytes)
	if err := safely(t.Context(), instance, "nested", 3); err != nil {
		t.Fatalf("nested: %v", err)
	}
	if want := []uint64{7128, 7056, 6984}; fmt.Sprint(nested) != fmt.Sprint(want) { // 72 for each frame
		t.Errorf("the host was called with %v of stack left, want %v", nested, want)
	}
	if err := safely(t.Context(), instance, "trap", 10); err == nil || errors.Is(err, errStack) {
		t.Errorf("trap: %v", err)
	}
	if err := safely(t.Context(), instance, "trap", 200); !errors.Is(err, errStack) {
		t.Errorf("trap, deep: %v", err)
	}
	if left := stackOf(instance).Get(); left != 7200 {
		t.Errorf("%d bytes of stack are left, want 7200", left)
	}
}

// A hungry function wants as large a frame as it can get: many values that live across a call.
type hungry struct {
	name string
	make func(b *builder) // puts function 0 first, which calls itself, and exports it as "run"
}

// hungryFunctions returns functions whose frames are large in different ways.
func hungryFunctions() []hungry {
	locals := func(n int, typ byte) []byte { return cat([]byte{1}, leb(uint64(n)), []byte{typ}) }
	count := []byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0} // depth
	results := func(typ, add string, n int) func(*builder) {
		return func(b *builder) {
			sum := bytes.Repeat([]byte(add), n-1)
			use := map[string][]byte{"i": {0xad}, "d": {0xbd}, "v": {0xfd, 0x1d, 0}}[typ] // as an i64
			code := cat(count, bytes.Repeat([]byte{0x10, 1}, n), []byte{0x10, 0}, sum, use, []byte{0x24, 1})
			b.function("", "", "run", nil, code...)
			one := map[string][]byte{"i": {0x41, 1}, "l": {0x42, 1}, "d": cat([]byte{0x44}, make([]byte, 8)), "v": cat([]byte{0xfd, 0x0c}, make([]byte, 16))}
			b.function("", typ, "", nil, one[typ]...)
		}
	}
	list := []hungry{
		{"nothing", func(b *builder) { b.function("", "", "run", nil, cat(count, []byte{0x10, 0})...) }},
		{"10 results", results("i", "\x6a", 10)},
		{"100 long results", results("l", "\x7c", 100)},
		{"5000 long results", results("l", "\x7c", 5000)},
		{"500 real results", results("d", "\xa0", 500)},
		{"500 vector results", results("v", "\xfd\xae\x01", 500)},
		{"900 parameters", func(b *builder) {
			var get, sum []byte
			for i := range 900 {
				get = cat(get, []byte{0x20}, leb(uint64(i)))
				sum = cat(sum, []byte{0x20}, leb(uint64(i)), []byte{0x24, 1})
			}
			b.function(strings.Repeat("l", 900), "", "run", nil, cat(count, get, []byte{0x10, 0}, sum)...)
		}},
		{"900 vector parameters", func(b *builder) {
			var get, sum []byte
			for i := range 900 {
				get = cat(get, []byte{0x20}, leb(uint64(i)))
				sum = cat(sum, []byte{0x20}, leb(uint64(i)), []byte{0xfd, 0x1d, 0, 0x24, 1})
			}
			b.function(strings.Repeat("v", 900), "", "run", nil, cat(count, get, []byte{0x10, 0}, sum)...)
		}},
		{"3000 loads", func(b *builder) {
			b.memories = [][]byte{{0, 1}}
			b.function("i", "", "run", nil, cat(count, bytes.Repeat([]byte{0x20, 0, 0x29, 0, 0}, 3000), []byte{0x20, 0, 0x10, 0},
				bytes.Repeat([]byte{0x7c}, 2999), []byte{0x24, 1})...)
		}},
		{"2000 addresses", func(b *builder) {
			b.memories = [][]byte{{0, 1}}
			var code []byte
			for i := range 2000 {
				code = cat(code, []byte{0x20, 0, 0x41}, sleb(int64(i)), []byte{0x6a, 0x22}, leb(uint64(i+1)), []byte{0x29, 0}, leb(uint64(i)), []byte{0x24, 1})
			}
			code = cat(code, []byte{0x20, 0, 0x10, 0})
			for i := range 2000 {
				code = cat(code, []byte{0x20}, leb(uint64(i+1)), []byte{0x29, 0}, leb(uint64(i)), []byte{0x24, 1})
			}
			b.function("i", "", "run", locals(2000, 0x7f), cat(count, code)...)
		}},
		{"places where ways meet", func(b *builder) {
			const n = 60
			var code []byte
			for range 40 { // each way through an if sets all locals
				code = append(code, 0x20, 0, 0x04, 0x40)
				for i := range n {
					code = append(code, 0x20, byte(i+1), 0x42, byte(i&31), 0x7c, 0x21, byte(n-i))
				}
				code = append(code, 0x0b, 0x20, 0, 0x10, 0)
			}
			for i := range n {
				code = append(code, 0x20, byte(i+1), 0x24, 1)
			}
			b.function("i", "", "run", locals(n, 0x7e), cat(count, code)...)
		}},
		{"loops in loops", func(b *builder) {
			const n = 30
			var code []byte
			for range 30 {
				code = append(code, 0x03, 0x40)
				for i := range n {
					code = append(code, 0x20, byte(i+1), 0x42, 3, 0x7c, 0x21, byte(n-i))
				}
			}
			code = append(code, 0x20, 0, 0x10, 0)
			for range 30 {
				code = append(code, 0x20, 0, 0x0d, 0, 0x0b)
			}
			for i := range n {
				code = append(code, 0x20, byte(i+1), 0x24, 1)
			}
			b.function("i", "", "run", locals(n, 0x7e), cat(count, code)...)
		}},
		{"many globals", func(b *builder) {
			for range 120 {
				b.globals = append(b.globals, []byte{0x7e, 1, 0x42, 0, 0x0b})
			}
			var code []byte
			for range 20 {
				code = append(code, 0x20, 0, 0x04, 0x40, 0x20, 0, 0x10, 0, 0x0b)
				for i := range 100 {
					code = cat(code, []byte{0x23}, leb(uint64(i+2)))
				}
				code = cat(code, []byte{0x20, 0, 0x10, 0}, bytes.Repeat([]byte{0x24, 1}, 100))
			}
			b.function("i", "", "run", nil, cat(count, code)...)
		}},
	}
	seeds := uint64(10)
	if os.Getenv("CAXTON_SOAK") != "" {
		seeds = 300
	}
	for seed := range seeds {
		list = append(list, hungry{fmt.Sprint("random ", seed), func(b *builder) { randomHungry(b, rand.New(rand.NewPCG(seed, 3))) }})
	}
	return list
}

// randomHungry makes locals by calls, loads and sums, at random places and in random blocks,
// and uses all of them after calls of itself.
func randomHungry(b *builder, r *rand.Rand) {
	b.memories = [][]byte{{0, 1}}
	n := 5 + r.IntN(100)
	code := []byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}
	get := func(i int) []byte { return cat([]byte{0x20}, leb(uint64(1+i))) }
	open := 0
	for range 50 + r.IntN(1500) {
		switch k := r.IntN(20); {
		case k == 0 && open < 20:
			code = append(code, 0x20, 0, 0x04, 0x40)
			open++
		case k == 1 && open < 20:
			code = append(code, 0x02, 0x40)
			open++
		case k == 2 && open < 20:
			code = append(code, 0x03, 0x40)
			open++
		case k < 6 && open > 0:
			code = append(code, 0x0b)
			open--
		case k == 6 && open > 0:
			code = append(code, 0x20, 0, 0x45, 0x0d, byte(r.IntN(open))) // it is never taken
		case k == 7:
			code = append(code, 0x20, 0, 0x10, 0)
		case k < 11:
			code = cat(code, []byte{0x10, 1, 0x21}, leb(uint64(1+r.IntN(n))))
		case k < 14:
			code = cat(code, []byte{0x20, 0, 0x29, 0}, leb(uint64(r.IntN(100))), []byte{0x21}, leb(uint64(1+r.IntN(n))))
		default:
			code = cat(code, get(r.IntN(n)), get(r.IntN(n)), []byte{0x7c, 0x21}, leb(uint64(1+r.IntN(n))))
		}
	}
	for range open {
		code = append(code, 0x0b)
	}
	code = append(code, 0x20, 0, 0x10, 0)
	for i := range n {
		code = cat(code, get(i), []byte{0x24, 1})
	}
	b.function("i", "", "run", cat([]byte{1}, leb(uint64(n)), []byte{0x7e}), code...)
	b.function("", "l", "", nil, 0x42, 1)
}

// TestStackBeforeTheEngines holds that the gauge ends a recursion before the engine's own
// stack does, whatever the function has in its frame, with a small stack and with the
// largest; and that what bounds a frame of the engine does.
func TestStackBeforeTheEngines(t *testing.T) {
	t.Parallel()
	for _, f := range hungryFunctions() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			var b builder
			b.globals = [][]byte{{0x7f, 1, 0x41, 0, 0x0b}, {0x7e, 1, 0x42, 0, 0x0b}}
			b.exports = [][]byte{cat(str("depth"), []byte{3, 0})}
			f.make(&b)
			for _, stack := range []int64{1 << 20, 16 << 20} {
				if _, err := plunge(t, b.bytes(), stack, stack); !errors.Is(err, errStack) {
					t.Errorf("with %d bytes of stack it ends with %v", stack, err)
				}
			}
			const all = 40 << 20 // then the price is the bound
			depth, err := plunge(t, b.bytes(), all, all)
			if !errors.Is(err, errStack) || depth == 0 {
				t.Errorf("with %d bytes of stack it ends at depth %d with %v", all, depth, err)
				return
			}
			native, err := plunge(t, b.bytes(), all, 1<<60)
			if err == nil || errors.Is(err, errStack) || !strings.Contains(err.Error(), "stack overflow") {
				t.Fatalf("without a gauge it ends with %v", err)
			}
			bound, frame := all/int(depth+1), engineFrame(int(native))
			if frame > bound {
				t.Errorf("the engine's frame has %d bytes, and the bound is %d", frame, bound)
			}
			t.Logf("the engine's frame has about %d bytes, the bound is %d", frame, bound)
		})
	}
}

// plunge calls "run" of a module rewritten for a stack, with left of it, and returns how deep
// it came.
func plunge(t *testing.T, module []byte, stack, left int64) (uint64, error) {
	t.Helper()
	r := newRuntime(t, newHost(1<<32), wazero.NewRuntimeConfig())
	defer r.Close(t.Context())
	m := instantiate(t, r, rewrite(t, module, meter.Options{Stack: stack}).Bytes)
	stackOf(m).Set(uint64(left))
	run := m.ExportedFunction("run")
	args := make([]uint64, 2*len(run.Definition().ParamTypes()))
	words := 0
	for i, p := range run.Definition().ParamTypes() {
		words++
		if p == 0x7b {
			words++
		} else if i == 0 {
			args[0] = 1
		}
	}
	_, err := run.Call(t.Context(), args[:words]...)
	return m.ExportedGlobal("depth").Get(), err
}

// engineFrame is how large the frames were when the engine's stack overflowed at some depth.
// The stack begins with 10,240 bytes and is doubled, with room for a frame, while it has at
// most 50 million.
func engineFrame(depth int) int {
	capacity := func(frame int) int {
		size := 10_240
		for size <= 50_000_000 {
			size = 2*size + frame + 16
		}
		return size
	}
	low, high := 0, 50_000_000
	for low < high {
		if middle := (low + high + 1) / 2; middle*depth <= capacity(middle) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}
