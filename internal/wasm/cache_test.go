package wasm_test

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
	"github.com/tetratelabs/wazero"
)

// entries returns the files of the cache by path.
func entries(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		all[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCache holds that a module comes from the cache the second time, and that an entry that
// is damaged in any of its bytes is built again rather than believed.
func TestCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func() bool {
		b := newBench(t, wasm.Config{CacheDir: dir})
		a := b.agent(t, guest(t, "echo"), wasm.Options{})
		if got := say(t, a, "m1", "hi"); got != `"hi"` {
			t.Fatalf("the answer is %s", got)
		}
		if err := b.rt.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(b.logged(), "cached=true")
	}
	if start() {
		t.Fatal("the first start found something in an empty cache")
	}
	whole := entries(t, dir)
	if len(whole) != 4 {
		t.Fatalf("the cache holds %d files, want the code, the module, what is known of it, and the checksums", len(whole))
	}
	if !start() {
		t.Fatal("the second start did not use the cache")
	}
	for path, data := range whole {
		for _, at := range []int{0, 6, 20, len(data) / 2, len(data) - 1} {
			broken := append([]byte(nil), data...)
			broken[at] ^= 0x40
			for name, content := range map[string][]byte{"flipped": broken, "cut": data[:at], "empty": nil} {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				if start() {
					t.Fatalf("%s %s at %d was believed", filepath.Base(path), name, at)
				}
				for p, want := range whole {
					if got, err := os.ReadFile(p); err != nil || len(got) != len(want) {
						t.Fatalf("%s was not built again: %v", filepath.Base(p), err)
					}
				}
			}
		}
	}
	for path := range whole { // a file that nobody wrote
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "more"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		break
	}
	if start() {
		t.Fatal("an entry with a file too many was believed")
	}
	if !start() {
		t.Fatal("the entry was not built again")
	}
}

// TestCacheUnusable holds that agents run without a cache that cannot be written.
func TestCacheUnusable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, wasm.Config{CacheDir: file})
	a := b.agent(t, guest(t, "echo"), wasm.Options{})
	if got := say(t, a, "m1", "hi"); got != `"hi"` || !strings.Contains(b.logged(), "not used") {
		t.Errorf("the answer is %s; the log says:\n%s", got, b.logged())
	}
}

func TestCacheKey(t *testing.T) {
	t.Parallel()
	module := guest(t, "echo")
	key := wasm.CacheKey(module, wasm.Limits{})
	if again := wasm.CacheKey(module, wasm.Limits{Fuel: 7}); again != key {
		t.Error("the fuel of an agent is part of the key, and the code does not depend on it")
	}
	if other := wasm.CacheKey(module, wasm.Limits{Memory: 1 << 20}); other == key {
		t.Error("the limit of the memory is not part of the key, and the code depends on it")
	}
	if other := wasm.CacheKey(guest(t, "trap"), wasm.Limits{}); other == key {
		t.Error("two modules have the same key")
	}
}

// TestCacheTrimmed holds that the cache is kept to its size: what is of another version goes
// first, then what was not used for longest, and what is in use stays.
func TestCacheTrimmed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	entry := func(name string) string {
		return filepath.Join(dir, wasm.CacheKey(guest(t, name), wasm.Limits{}))
	}
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	start := func(size caxton.Size, names ...string) {
		b := newBench(t, wasm.Config{CacheDir: dir, CacheSize: size})
		for _, name := range names {
			b.agent(t, guest(t, name), wasm.Options{})
		}
		if err := b.rt.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	size := func(dir string) (n caxton.Size) {
		for _, data := range entries(t, dir) {
			n += caxton.Size(len(data))
		}
		return n
	}
	start(caxton.GiB, "echo", "trap", "counter")
	foreign := filepath.Join(dir, strings.Repeat("0", 64)) // as an earlier version named them
	half := filepath.Join(dir, ".trash-"+filepath.Base(entry("loop")))
	for _, d := range []string{foreign, half} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "SHA256SUMS"), []byte("something"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"trap", "counter", "echo"} { // in the order of their use
		at := time.Date(2026, 3, 1, i, 0, 0, 0, time.UTC)
		if err := os.Chtimes(filepath.Join(entry(name), "SHA256SUMS"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	trim := func(size caxton.Size) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := newBench(t, wasm.Config{CacheDir: dir, CacheSize: size}).rt.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	trim(size(entry("counter")) + size(entry("echo")))
	if there(foreign) || there(half) || there(entry("trap")) || !there(entry("counter")) || !there(entry("echo")) {
		t.Errorf("the cache holds %v; want what was used last", slices.Sorted(maps.Keys(entries(t, dir))))
	}
	trim(size(dir) - 1)
	if there(entry("counter")) || !there(entry("echo")) {
		t.Errorf("the cache holds %v; want what was used last", slices.Sorted(maps.Keys(entries(t, dir))))
	}
	b := newBench(t, wasm.Config{CacheDir: dir, CacheSize: 1})
	for _, name := range []string{"echo", "loop", "parrot"} {
		b.agent(t, guest(t, name), wasm.Options{})
	}
	if !there(entry("echo")) || !there(entry("loop")) || !there(entry("parrot")) {
		t.Errorf("the cache holds %v; want all that is in use", slices.Sorted(maps.Keys(entries(t, dir))))
	}
	trim(1)
	if n := len(entries(t, dir)); n != 0 {
		t.Errorf("%d files are left after a start with no room", n)
	}
}

// TestCacheKeepsNoFailures holds that nothing is left of a module that cannot be compiled, and that
// what was not completed goes at the next start.
func TestCacheKeepsNoFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBench(t, wasm.Config{CacheDir: dir})
	call := []byte{0x41, 8, 0x41, 1, 0x10, 0} // with two operands; then with one, which only the compiler minds
	bad := bytes.Replace(guest(t, "lingerer"), call, []byte{0x41, 8, 1, 1, 0x10, 0}, 1)
	if _, err := b.rt.Agent(t.Context(), version(), bad, wasm.Options{}); codeOf(err) != "wasm_invalid" {
		t.Errorf("Agent: %v, want wasm_invalid", err)
	}
	b.rt.Compile(func(compiler) (wazero.CompiledModule, error) { panic("a fault of the compiler") })
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "echo"), wasm.Options{}); codeOf(err) != "wasm_compiler" {
		t.Errorf("Agent: %v, want wasm_compiler", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	half := filepath.Join(dir, wasm.CacheKey(guest(t, "echo"), wasm.Limits{}), "wazero")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.rt.Run(ctx); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v are left after a start, %v", left, err)
	}
}

// TestCacheIsUsed holds that an entry counts as used when a module comes from it.
func TestCacheIsUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for range 2 {
		b := newBench(t, wasm.Config{CacheDir: dir, Now: func() time.Time { return now }})
		b.agent(t, guest(t, "echo"), wasm.Options{})
		if err := b.rt.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, wasm.CacheKey(guest(t, "echo"), wasm.Limits{}), "SHA256SUMS"))
	if err != nil || !info.ModTime().Equal(now) {
		t.Errorf("the entry was used at %v, %v; want %v", info.ModTime(), err, now)
	}
}
