package wasm_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/wasm"
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
