package meter_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
)

// attack calls the export "run" of a module with a limit of fuel.
func attack(t *testing.T, module []byte, limit int64) (*host, error) {
	t.Helper()
	h := newHost(limit)
	r := newRuntime(t, h, wazero.NewRuntimeConfig())
	m, err := r.InstantiateWithConfig(context.Background(), rewrite(t, module, meter.Options{}).Bytes,
		wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return h, err
	}
	if _, err = m.ExportedFunction("run").Call(context.Background()); err == nil {
		err = h.settle(m)
	}
	return h, err
}

// TestHostileGuestsEnd runs guests that never end by themselves, or do far too much.
func TestHostileGuestsEnd(t *testing.T) {
	t.Parallel()
	memory := func(b *builder) { b.memories = [][]byte{{0, 16}} }
	table := func(b *builder) {
		b.tables = [][]byte{{0x70, 0, 10}}
		b.elements = [][]byte{{0, 0x41, 0, 0x0b, 1, 0}}
	}
	none := func(*builder) {}
	forever := func(body ...byte) []byte { return cat([]byte{0x03, 0x40}, body, []byte{0x0c, 0, 0x0b}) }
	size := sleb(1 << 20)
	tests := []struct {
		name  string
		setUp func(*builder)
		code  []byte
		want  error
	}{
		{"endless loop", none, forever(), errFuel},
		{"endless loop through a block", none, []byte{0x03, 0x40, 0x02, 0x40, 0x0c, 1, 0x0b, 0x0b}, errFuel},
		{"endless loop through br_if", none, []byte{0x03, 0x40, 0x41, 1, 0x0d, 0, 0x0b}, errFuel},
		{"endless loop of loops without code", none, []byte{0x03, 0x40, 0x03, 0x40, 0x0c, 1, 0x0b, 0x0b}, errFuel},
		{"br_table loop", none, []byte{0x03, 0x40, 0x03, 0x40, 0x41, 1, 0x0e, 2, 0, 1, 1, 0x0b, 0x0b}, errFuel},
		{"endless recursion", none, []byte{0x10, 0}, errStack},
		{"exponential calls", func(b *builder) {
			for i := range 60 {
				b.function("", "", "", nil, 0x10, byte(i+2), 0x10, byte(i+2))
			}
			b.function("", "", "", nil)
		}, []byte{0x10, 1}, errFuel},
		{"exponential calls behind a loop that does nothing", func(b *builder) {
			for i := range 60 {
				b.function("", "", "", nil, 0x03, 0, 0x0b, 0x10, byte(i+2), 0x10, byte(i+2))
			}
			b.function("", "", "", nil)
		}, []byte{0x10, 1}, errFuel},
		{"loop of small functions", func(b *builder) { b.function("", "", "", nil, 0x01) }, forever(0x10, 1), errFuel},
		{"indirect calls", func(b *builder) {
			b.function("", "", "", nil, 0x01)
			b.tables, b.elements = [][]byte{{0x70, 0, 10}}, [][]byte{{0, 0x41, 0, 0x0b, 1, 1}}
		}, forever(0x41, 0, 0x11, 0, 0), errFuel},
		{"memory.fill storm", memory, forever(cat([]byte{0x41, 0, 0x41, 0, 0x41}, size, []byte{0xfc, 11, 0})...), errFuel},
		{"memory.copy storm", memory, forever(cat([]byte{0x41, 0, 0x41, 0, 0x41}, size, []byte{0xfc, 10, 0, 0})...), errFuel},
		{"memory.grow loop", memory, forever(0x41, 1, 0x40, 0, 0x1a), errFuel},
		{"memory.grow loop that fails", memory, forever(0x41, 0x7f, 0x40, 0, 0x1a), errFuel},
		{"table.grow loop", table, forever(0xd0, 0x70, 0x41, 1, 0xfc, 15, 0, 0x1a), errFuel},
		{"table.fill storm", table, forever(0x41, 0, 0xd0, 0x70, 0x41, 10, 0xfc, 17, 0), errFuel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b builder
			b.function("", "", "run", nil, tt.code...)
			tt.setUp(&b)
			h, err := attack(t, b.bytes(), 20_000_000)
			if !errors.Is(err, tt.want) {
				t.Fatalf("it ends with %v, want %v", err, tt.want)
			}
			if h.granted > h.limit {
				t.Errorf("it was granted %d of %d", h.granted, h.limit)
			}
		})
	}
}

// TestStartFunctionIsMetered instantiates a module whose start function never ends.
func TestStartFunctionIsMetered(t *testing.T) {
	t.Parallel()
	var b builder
	b.function("", "", "run", nil, 0x03, 0x40, 0x0c, 0, 0x0b)
	b.start = []byte{0}
	if _, err := attack(t, b.bytes(), 5_000_000); !errors.Is(err, errFuel) {
		t.Errorf("an endless start function ends with %v", err)
	}
	if m := rewrite(t, b.bytes(), meter.Options{}); m.Start != 0 {
		t.Errorf("Start = %d, want 0", m.Start)
	}
}

// TestMemoryIsClamped lets a guest grow its memory and table as far as it can.
func TestMemoryIsClamped(t *testing.T) {
	t.Parallel()
	for _, limits := range [][]byte{{0, 1}, {1, 1, 100}} {
		var b builder
		b.memories = [][]byte{limits}
		b.tables = [][]byte{cat([]byte{0x70}, limits)}
		b.function("", "i", "run", nil, 0x03, 0x40, 0x41, 1, 0x40, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b, 0x3f, 0)
		b.function("", "i", "table", nil, 0x03, 0x40, 0xd0, 0x70, 0x41, 1, 0xfc, 15, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b, 0xfc, 16, 0)
		m := rewrite(t, b.bytes(), meter.Options{MemoryPages: 7, TableElements: 9})
		if m.Memory.Max != 7 || m.Tables[0].Max != 9 || m.Memory.Min != 1 {
			t.Errorf("memory %+v, tables %+v", m.Memory, m.Tables)
		}
		r := newRuntime(t, newHost(1<<30), wazero.NewRuntimeConfig())
		instance := instantiate(t, r, m.Bytes)
		for export, want := range map[string]uint64{"run": 7, "table": 9} {
			if got, err := instance.ExportedFunction(export).Call(t.Context()); err != nil || got[0] != want {
				t.Errorf("%s() = %v, %v; want %d", export, got, err, want)
			}
		}
	}
}

// TestHiddenThingsCannotBeReached names what is hidden by its index, one beyond the original's.
func TestHiddenThingsCannotBeReached(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		code []byte
		set  func(*builder)
	}{
		{"balance read", []byte{0x23, 0, 0x1a}, nil},
		{"stack read", []byte{0x23, 1, 0x1a}, nil},
		{"stack written", []byte{0x42, 0, 0x24, 1}, nil},
		{"hook of the stack called", []byte{0x10, 2}, nil},
		{"balance written", []byte{0x42, 0, 0x24, 0}, nil},
		{"hook or hidden function called", []byte{0x42, 0, 0x10, 1}, nil},
		{"hidden function far away", []byte{0x10, 5}, nil},
		{"hidden function referred to", []byte{0xd2, 1, 0x1a}, nil},
		{"hidden type", []byte{0x02, 1, 0x0b}, nil},
		{"balance in an initial value", nil, func(b *builder) { b.globals = [][]byte{{0x7e, 0, 0x23, 0, 0x0b}} }},
		{"hidden function exported", nil, func(b *builder) { b.exports = append(b.exports, cat(str("x"), []byte{0, 1})) }},
		{"balance exported", nil, func(b *builder) { b.exports = append(b.exports, cat(str("x"), []byte{3, 0})) }},
		{"hidden start", nil, func(b *builder) { b.start = []byte{1} }},
		{"hidden function in a table", nil, func(b *builder) {
			b.tables = [][]byte{{0x70, 0, 1}}
			b.elements = [][]byte{{0, 0x41, 0, 0x0b, 1, 1}}
		}},
		{"reserved export", nil, func(b *builder) { b.exports = append(b.exports, cat(str(meter.FuelExport), []byte{0, 0})) }},
		{"reserved export of the stack", nil, func(b *builder) { b.exports = append(b.exports, cat(str(meter.StackExport), []byte{0, 0})) }},
		{"stack of another guest imported", nil, func(b *builder) {
			b.imports = [][]byte{cat(str("other"), str(meter.StackExport), []byte{3, 0x7e, 1})}
		}},
		{"hook imported", nil, func(b *builder) {
			b.imports = [][]byte{cat(str(meter.HookModule), str(meter.HookName), []byte{0, 0})}
		}},
		{"anything of the hook's module imported", nil, func(b *builder) {
			b.imports = [][]byte{cat(str(meter.HookModule), str("x"), []byte{0, 0})}
		}},
		{"balance of another guest imported", nil, func(b *builder) {
			b.imports = [][]byte{cat(str("other"), str(meter.FuelExport), []byte{3, 0x7e, 1})}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b builder
			b.function("", "", "run", nil, tt.code...)
			if tt.set != nil {
				tt.set(&b)
			}
			m, err := meter.Rewrite(b.bytes(), meter.Options{})
			if kind := caxton.KindOf(err); kind != caxton.Invalid {
				t.Errorf("Rewrite: kind %q (%v), want %q; %v", kind, err, caxton.Invalid, m)
			}
		})
	}
	t.Run("hidden local", func(t *testing.T) {
		var b builder // there is none, so the engine refuses it, as it does in the original
		b.function("", "", "run", nil, 0x20, 0, 0x1a)
		r := newRuntime(t, newHost(0), wazero.NewRuntimeConfig())
		if _, err := r.CompileModule(t.Context(), rewrite(t, b.bytes(), meter.Options{}).Bytes); err == nil {
			t.Error("a local that does not exist is compiled")
		}
	})
}

// TestDamagedModules cuts modules short and flips their bits: each is refused with an error
// of ours, or by the engine, or runs within its fuel.
func TestDamagedModules(t *testing.T) {
	t.Parallel()
	h := newHost(0)
	r := newRuntime(t, h, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(64))
	accepted, refused := 0, 0
	try := func(module []byte) {
		m, err := meter.Rewrite(module, meter.Options{MemoryPages: 64, TableElements: 1000})
		if err != nil {
			refused++
			if e := (*caxton.Error)(nil); !errors.As(err, &e) || e.Code == "" || e.Kind == caxton.Internal {
				t.Errorf("%T: %v", err, err)
			}
			return
		}
		*h = host{limit: 200_000, portion: 10_000}
		instance, err := r.InstantiateWithConfig(t.Context(), m.Bytes, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		if err != nil {
			return
		}
		accepted++
		if f := instance.ExportedFunction("run"); f != nil {
			args := make([]uint64, len(f.Definition().ParamTypes()))
			if _, err := f.Call(t.Context(), args...); err == nil {
				_ = h.settle(instance)
			}
			if h.granted > h.limit {
				t.Errorf("granted %d of %d", h.granted, h.limit)
			}
		}
		instance.Close(t.Context())
	}
	random := rand.New(rand.NewPCG(7, 7))
	for seed := range uint64(12) {
		module := generate(seed).bytes()
		for n := 0; n < len(module); n += 1 + len(module)/150 {
			if _, err := meter.Rewrite(module[:n], meter.Options{}); err == nil && n != 8 {
				t.Logf("seed %d cut to %d of %d bytes is a module", seed, n, len(module))
			}
			try(module[:n])
		}
		for range 300 {
			damaged := bytes.Clone(module)
			for range 1 + random.IntN(3) {
				damaged[8+random.IntN(len(damaged)-8)] ^= 1 << random.IntN(8)
			}
			try(damaged)
		}
	}
	t.Logf("%d ran, %d refused", accepted, refused)
	if accepted < 50 || refused < 1000 {
		t.Errorf("%d ran, %d refused: the damage is not what it should be", accepted, refused)
	}
}

// TestLyingLengths announces far more than there is; nothing is set aside for it.
func TestLyingLengths(t *testing.T) {
	many := leb(1<<32 - 1)
	section := func(id byte, content []byte) []byte {
		return cat([]byte("\x00asm\x01\x00\x00\x00"), []byte{id}, leb(uint64(len(content))), content)
	}
	var modules [][]byte
	for id := byte(1); id <= 11; id++ {
		modules = append(modules, section(id, many), section(id, cat([]byte{1}, many)), section(id, cat([]byte{1}, many, many)))
	}
	modules = append(modules, cat([]byte("\x00asm\x01\x00\x00\x00\x01"), many), section(0, many),
		section(0, cat(str("name"), []byte{1, 6}, many)), section(1, cat([]byte{1, 0x60}, many)))
	var b builder
	b.function("", "", "run", cat([]byte{1}, many, []byte{0x7f}))
	modules = append(modules, b.bytes())
	b = builder{}
	b.function("", "", "run", nil, cat([]byte{0x41, 0, 0x0e}, many)...)
	modules = append(modules, b.bytes())
	for _, module := range modules {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := meter.Rewrite(module, meter.Options{})
		runtime.ReadMemStats(&after)
		if err == nil && !bytes.Contains(module, []byte("name")) {
			t.Errorf("%x is accepted", module)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%x: %d bytes were allocated", module, n)
		}
	}
}
