package meter_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"

	"github.com/caxton/caxton/internal/wasm/meter"
)

// TestLongNamesAreCut holds that a trap stays readable whatever a function is called.
func TestLongNamesAreCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, want string }{
		{strings.Repeat("n", 512), strings.Repeat("n", 512)},
		{strings.Repeat("n", 513), strings.Repeat("n", 512)},
		{strings.Repeat("€", 1000), strings.Repeat("€", 170)},
		{"n" + strings.Repeat("\U0001F600", 100_000), "n" + strings.Repeat("\U0001F600", 127)},
	} {
		var b builder
		b.function("", "", "run", nil, 0x00)
		names := cat([]byte{1, 0}, str(tt.name))
		b.customs = [][]byte{cat(str("name"), []byte{1}, leb(uint64(len(names))), names)}
		r := newRuntime(t, newHost(1000), wazero.NewRuntimeConfig())
		_, err := instantiate(t, r, rewrite(t, b.bytes(), meter.Options{}).Bytes).ExportedFunction("run").Call(t.Context())
		if err == nil || !strings.Contains(err.Error(), "\t."+tt.want+"()") || !utf8.ValidString(err.Error()) {
			t.Errorf("a name of %d bytes: the trap shows %.700v", len(tt.name), err)
		}
	}
}

// TestNamesAreBounded holds that reading names takes no more memory than in proportion to the
// limits, and that names which are left out do not stop a module.
func TestNamesAreBounded(t *testing.T) {
	const many = 2_000_000
	pair := bytes.Repeat([]byte{0}, 2*many) // an index and no name
	for name, part := range map[string][]byte{
		"of functions":            cat([]byte{1}, leb(uint64(len(pair)+3)), leb(many), pair),
		"of globals":              cat([]byte{7}, leb(uint64(len(pair)+3)), leb(many), pair),
		"of locals of a function": cat([]byte{2}, leb(uint64(len(pair)+5)), []byte{1, 0}, leb(many), pair),
		"of labels of a function": cat([]byte{3}, leb(uint64(len(pair)+5)), []byte{1, 0}, leb(many), pair),
	} {
		var b builder
		b.function("", "", "run", nil)
		b.customs = [][]byte{cat(str("name"), part)}
		module := b.bytes()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := meter.Rewrite(module, meter.Options{})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("names %s: %v", name, err)
			continue
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(3*len(module)) {
			t.Errorf("names %s: %d bytes were allocated for a module of %d", name, n, len(module))
		}
		if len(m.Bytes) > 2000 {
			t.Errorf("names %s: the module has %d bytes", name, len(m.Bytes))
		}
	}
}
