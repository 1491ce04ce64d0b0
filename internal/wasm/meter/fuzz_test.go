package meter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
)

// FuzzRewrite gives the meter any bytes. It must not panic; and what it accepts and the engine
// accepts as it is, the engine must accept rewritten, and refuse what it refuses as it is.
func FuzzRewrite(f *testing.F) {
	for seed := range uint64(10) {
		f.Add(generate(seed).bytes())
	}
	f.Add(specModule())
	var b builder
	b.types = [][]byte{funcType("ilfdvFE", "i")}
	b.imports = [][]byte{cat(str("env"), str("f"), []byte{0, 0}), cat(str("env"), str("g"), []byte{3, 0x7f, 0})}
	b.function("v", "v", "vector", nil, 0x20, 0, 0xfd, 0x0c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0xfd, 0xae, 0x01)
	b.tables = [][]byte{{0x70, 0, 10}, {0x6f, 1, 1, 2}}
	b.elements = [][]byte{{0, 0x41, 0, 0x0b, 1, 1}, {5, 0x70, 1, 0xd2, 0, 0x0b}, {3, 0, 1, 1}}
	b.globals = [][]byte{{0x70, 0, 0xd2, 1, 0x0b}}
	b.memories = [][]byte{{1, 1, 2}}
	b.data = [][]byte{cat([]byte{0, 0x23, 0, 0x0b}, str("data"))}
	b.customs = [][]byte{cat(str("name"), []byte{1, 4, 1, 1, 1, 'x', 2, 3, 1, 1, 0}), cat(str(".debug_line"), []byte{1})}
	f.Add(b.bytes())

	r := wazero.NewRuntimeWithConfig(f.Context(), wazero.NewRuntimeConfigInterpreter())
	f.Fuzz(func(t *testing.T, module []byte) {
		m, err := meter.Rewrite(module, meter.Options{})
		if err != nil {
			if e := (*caxton.Error)(nil); !errors.As(err, &e) || e.Kind == caxton.Internal {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		plain, errPlain := r.CompileModule(t.Context(), module)
		metered, errMetered := r.CompileModule(t.Context(), m.Bytes)
		if errPlain != nil && strings.Contains(errPlain.Error(), "custom") {
			return // the engine minds what is in custom sections; those at fault are not kept
		}
		if (errPlain == nil) != (errMetered == nil) {
			t.Fatalf("the original: %v; rewritten: %v", errPlain, errMetered)
		}
		if errPlain == nil {
			plain.Close(t.Context())
			metered.Close(t.Context())
		}
	})
}
