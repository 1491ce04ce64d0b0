package meter_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
)

// TestRefusals holds what is refused to its kind, code and words.
func TestRefusals(t *testing.T) {
	t.Parallel()
	code := func(code ...byte) func(*builder) {
		return func(b *builder) { b.function("", "", "run", nil, code...) }
	}
	tests := []struct {
		name string
		set  func(*builder)
		opts meter.Options
		kind caxton.Kind
		code string
		says []string
	}{
		{
			"atomic instruction", code(0xfe, 0x10, 2, 0),
			meter.Options{},
			caxton.Invalid, meter.CodeUnsupported,
			[]string{"threads", "code section", "function 0", "offset 0x"},
		},
		{"tail call", code(0x12, 0), meter.Options{}, caxton.Invalid, meter.CodeUnsupported, []string{"tail calls"}},
		{"exceptions", code(0x1f, 0x40, 0, 0x0b), meter.Options{}, caxton.Invalid, meter.CodeUnsupported, []string{"exception handling"}},
		{"garbage collection", code(0xfb, 0), meter.Options{}, caxton.Invalid, meter.CodeUnsupported, []string{"garbage collection"}},
		{"relaxed SIMD", code(0xfd, 0x80, 0x02), meter.Options{}, caxton.Invalid, meter.CodeUnsupported, []string{"relaxed SIMD"}},
		{"no such instruction", code(0x27), meter.Options{}, caxton.Malformed, meter.CodeMalformed, []string{"0x27"}},
		{"memory64", func(b *builder) { b.memories = [][]byte{{4, 1}} }, meter.Options{}, caxton.Invalid, meter.CodeUnsupported, []string{"memory64"}},
		{"shared memory", func(b *builder) { b.memories = [][]byte{{3, 1, 2}} }, meter.Options{}, caxton.Invalid, meter.CodeUnsupported, []string{"threads"}},
		{"two memories", func(b *builder) { b.memories = [][]byte{{0, 1}, {0, 1}} }, meter.Options{}, caxton.Invalid, meter.CodeUnsupported, []string{"multiple memories"}},
		{"large memory", func(b *builder) { b.memories = [][]byte{{0, 100}} }, meter.Options{MemoryPages: 99}, caxton.TooLarge, meter.CodeTooLarge, []string{"100 pages", "99"}},
		{"large table", func(b *builder) { b.tables = [][]byte{{0x70, 0, 100}} }, meter.Options{TableElements: 99}, caxton.TooLarge, meter.CodeTooLarge, []string{"100 elements"}},
		{"many locals", func(b *builder) { b.function("", "", "", cat([]byte{1}, leb(1<<31), []byte{0x7f})) }, meter.Options{}, caxton.TooLarge, meter.CodeTooLarge, []string{"locals"}},
		{"many locals in groups", func(b *builder) {
			b.function("", "", "", cat([]byte{3}, leb(1<<32-1), []byte{0x7f}, leb(1<<32-1), []byte{0x7e}, leb(9), []byte{0x7f}))
		}, meter.Options{}, caxton.TooLarge, meter.CodeTooLarge, []string{"locals"}},
		{"deep nesting", code(cat(bytes.Repeat([]byte{0x02, 0x40}, 20_000), bytes.Repeat([]byte{0x0b}, 20_000))...), meter.Options{}, caxton.TooLarge, meter.CodeTooLarge, []string{"nested"}},
		{"large function", code(bytes.Repeat([]byte{1}, 100)...), meter.Options{FunctionBytes: 50}, caxton.TooLarge, meter.CodeTooLarge, []string{"bytes of a function"}},
		{"large module", code(), meter.Options{ModuleBytes: 9}, caxton.TooLarge, meter.CodeTooLarge, []string{"limit of 9"}},
		{"many custom sections", func(b *builder) { b.customs = slices.Repeat([][]byte{{0}}, 1001) }, meter.Options{}, caxton.TooLarge, meter.CodeTooLarge, []string{"1001 custom sections"}},
		{"many elements", func(b *builder) {
			code()(b)
			segment := cat([]byte{1, 0}, leb(600_000), make([]byte, 600_000))
			b.elements = [][]byte{segment, segment}
		}, meter.Options{}, caxton.TooLarge, meter.CodeTooLarge, []string{"1200000 elements of segments"}},
		{"branches that carry many locals", func(b *builder) {
			b.function("", "", "", cat([]byte{1}, leb(5000), []byte{0x7f}), cat([]byte{0x02, 0x40}, bytes.Repeat([]byte{0x41, 0, 0x0d, 0}, 10_000), []byte{0x0b})...)
		}, meter.Options{}, caxton.TooLarge, meter.CodeTooLarge, []string{"function 0", "values on branches"}},
		{"branches of a table that carry many results", func(b *builder) {
			b.types = [][]byte{funcType("", strings.Repeat("i", 1000))}
			b.function("", "", "", nil, cat([]byte{0x02, 0, 0x41, 0, 0x0e}, leb(65_000), make([]byte, 65_001), []byte{0x0b})...)
		}, meter.Options{}, caxton.TooLarge, meter.CodeTooLarge, []string{"values on branches"}},
		{"label too far out", code(0x0c, 1), meter.Options{}, caxton.Invalid, meter.CodeInvalid, []string{"label 1"}},
		{"else without if", code(0x05), meter.Options{}, caxton.Malformed, meter.CodeMalformed, []string{"else"}},
		{"code behind the end", code(0x0b, 0x01), meter.Options{}, caxton.Malformed, meter.CodeMalformed, []string{"left over"}},
		{"no data count", func(b *builder) {
			b.memories = [][]byte{{0, 1}}
			code(0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 8, 0, 0)(b)
		}, meter.Options{}, caxton.Malformed, meter.CodeMalformed, []string{"data count"}},
		{"export twice", func(b *builder) { code()(b); code()(b) }, meter.Options{}, caxton.Invalid, meter.CodeInvalid, []string{`"run" twice`}},
		{"a named function", func(b *builder) {
			code(0x23, 9)(b)
			b.customs = [][]byte{cat(str("name"), []byte{1, 8, 1, 0, 5}, []byte("begin"))}
		}, meter.Options{}, caxton.Invalid, meter.CodeInvalid, []string{"function 0 (begin)", "global 9"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b builder
			tt.set(&b)
			_, err := meter.Rewrite(b.bytes(), tt.opts)
			var e *caxton.Error
			if !errors.As(err, &e) {
				t.Fatalf("Rewrite: %v, want an error", err)
			}
			if e.Kind != tt.kind || e.Code != tt.code {
				t.Errorf("kind %q, code %q, want %q, %q: %v", e.Kind, e.Code, tt.kind, tt.code, err)
			}
			for _, words := range tt.says {
				if !strings.Contains(e.Message, words) {
					t.Errorf("%q does not say %q", e.Message, words)
				}
			}
		})
	}
	for name, module := range map[string]string{
		"nothing": "", "text": "(module)", "component": "\x00asm\x0d\x00\x01\x00", "version 2": "\x00asm\x02\x00\x00\x00",
	} {
		if _, err := meter.Rewrite([]byte(module), meter.Options{}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestReport holds what is found in a module to what is in it.
func TestReport(t *testing.T) {
	t.Parallel()
	var b builder
	b.types = [][]byte{funcType("il", "d")}
	b.imports = [][]byte{
		cat(str("caxton"), str("send"), []byte{0, 0}),
		cat(str("env"), str("base"), []byte{3, 0x7f, 0}),
	}
	b.function("", "i", "answer", nil, 0x41, 42)
	b.memories = [][]byte{cat([]byte{1, 2}, leb(500))}
	b.data = [][]byte{cat([]byte{0, 0x41, 0, 0x0b}, str("sixteen bytes ok"))}
	b.exports = append(b.exports, cat(str("memory"), []byte{2, 0}))
	b.customs = [][]byte{cat(str("producers"), []byte{0}), cat(str(".debug_info"), []byte("xyz"))}
	module := b.bytes()
	m := rewrite(t, module, meter.Options{MemoryPages: 100})
	if len(m.Imports) != 2 || m.Imports[0].Signature.String() != "(i32, i64) -> (f64)" || m.Imports[1].Global.Type != meter.I32 {
		t.Errorf("imports: %+v", m.Imports)
	}
	if len(m.Exports) != 2 || m.Exports[0].Name != "answer" || m.Exports[0].Index != 1 || m.Exports[0].Signature.String() != "() -> (i32)" || m.Exports[1].Kind != meter.MemoryKind {
		t.Errorf("exports: %+v", m.Exports)
	}
	if *m.Memory != (meter.Memory{Min: 2, Max: 100, Declared: true}) {
		t.Errorf("memory: %+v", m.Memory)
	}
	if want := int64(2*meter.UnitsPerPage + 16/meter.BytesPerUnit + 2 + 1 + 1); m.InitialFuel != want {
		t.Errorf("InitialFuel = %d, want %d", m.InitialFuel, want)
	}
	want := []meter.Custom{{Name: "producers", Size: 11}, {Name: ".debug_info", Size: 15, Dropped: true}}
	if !slices.Equal(m.Custom, want) {
		t.Errorf("custom sections: %+v, want %+v", m.Custom, want)
	}
	if !bytes.Contains(m.Bytes, []byte("producers")) || bytes.Contains(m.Bytes, []byte(".debug_info")) {
		t.Error("the wrong custom sections were kept")
	}
	if m.Start != -1 || m.Scheme != meter.Scheme || m.Counts.Functions != 2 || m.Counts.Globals != 1 {
		t.Errorf("start %d, scheme %d, counts %+v", m.Start, m.Scheme, m.Counts)
	}
}

// TestTrapsShowNames lets a named function trap behind an import, which moves its index.
func TestTrapsShowNames(t *testing.T) {
	t.Parallel()
	var b builder
	b.function("", "", "run", nil, 0x10, 1)
	b.function("", "", "", nil, 0x00)
	names := cat([]byte{2, 0}, str("outer"), []byte{1}, str("inner"))
	locals := []byte{1, 1, 0}
	b.customs = [][]byte{cat(str("name"), []byte{1}, leb(uint64(len(names))), names, []byte{2}, leb(uint64(len(locals))), locals)}
	m := rewrite(t, b.bytes(), meter.Options{})
	r := newRuntime(t, newHost(1000), wazero.NewRuntimeConfig())
	_, err := instantiate(t, r, m.Bytes).ExportedFunction("run").Call(t.Context())
	if err == nil || !strings.Contains(err.Error(), ".inner()\n\t.outer()") {
		t.Errorf("the trap shows %v", err)
	}
	if _, err := meter.Rewrite(m.Bytes, meter.Options{}); err == nil {
		t.Error("a rewritten module is rewritten again")
	}
}

// TestBrokenNamesAreDropped rewrites modules whose name section is not well formed.
func TestBrokenNamesAreDropped(t *testing.T) {
	t.Parallel()
	for _, names := range []string{"\x01\x7f", "\x01\x05\x02\x01\x00\x00\x00", "\x01\x04\x01\x00\x01\xff", "\x02\x03\x01\x63\x00", "\x01\x03\x01\x63\x00"} {
		var b builder
		b.function("", "", "run", nil, 0x00)
		b.customs = [][]byte{cat(str("name"), []byte(names))}
		r := newRuntime(t, newHost(1000), wazero.NewRuntimeConfig())
		instantiate(t, r, rewrite(t, b.bytes(), meter.Options{}).Bytes)
	}
}
