package module_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/module"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(t *testing.T, s *module.Store, text string) string {
	t.Helper()
	hash, err := s.Put(t.Context(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func codeOf(err error) string {
	if e, ok := err.(*caxton.Error); ok { //nolint:errorlint // the store returns it as it is
		return e.Code
	}
	return ""
}

func TestStoreGivesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "modules")
	s := module.New(dir, module.Config{})
	hash := put(t, s, "code")
	if again := put(t, s, "code"); again != hash {
		t.Errorf("put twice: %s and %s", hash, again)
	}
	got, err := module.New(dir, module.Config{}).Get(t.Context(), hash)
	if err != nil || !bytes.Equal(got, []byte("code")) {
		t.Errorf("Get = %q, %v", got, err)
	}
	for _, none := range []string{strings.Repeat("0", 64), "", "../" + hash, "x"} {
		if _, err := s.Get(t.Context(), none); caxton.KindOf(err) != caxton.NotFound {
			t.Errorf("Get(%q) = %v, want NotFound", none, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, []byte("other")); caxton.KindOf(err) != caxton.Canceled {
		t.Errorf("Put called off: %v", err)
	}
}

func TestDamagedModule(t *testing.T) {
	dir := t.TempDir()
	s := module.New(dir, module.Config{})
	for _, damage := range []string{"", "cod", "codf", "code and more"} {
		hash := put(t, s, "code")
		path := filepath.Join(dir, hash+".wasm")
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Get(t.Context(), hash)
		if codeOf(err) != "module_damaged" || !strings.Contains(err.Error(), hash) {
			t.Errorf("damaged to %q: %v, want it refused by name", damage, err)
		}
		put(t, s, "code")
		if got, err := s.Get(t.Context(), hash); err != nil || string(got) != "code" {
			t.Errorf("put again after %q: %q, %v", damage, got, err)
		}
	}
}

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	used := map[string]bool{}
	s := module.New(dir, module.Config{
		Used: func(context.Context) (map[string]bool, error) { return used, nil },
		Now:  func() time.Time { return now },
	})
	collect := func(want int) {
		t.Helper()
		if n, err := s.Collect(t.Context()); n != want || err != nil {
			t.Errorf("Collect = %d, %v, want %d", n, err, want)
		}
	}
	kept, orphan := put(t, s, "kept"), put(t, s, "orphan")
	used[kept] = true
	torn := filepath.Join(dir, "."+orphan+".wasm-123.tmp")
	for _, p := range []string{torn, filepath.Join(dir, "README.txt")} {
		if err := os.WriteFile(p, []byte("or"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	collect(0) // within the grace
	now = now.Add(59 * time.Minute)
	put(t, s, "orphan") // a deployment has it, and the registry not yet
	now = now.Add(2 * time.Minute)
	collect(0)
	if _, err := os.Stat(torn); !os.IsNotExist(err) {
		t.Errorf("the remains of a write that was cut short are there: %v", err)
	}
	now = now.Add(time.Hour)
	collect(1)
	if _, err := s.Get(t.Context(), orphan); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("the orphan: %v, want it gone", err)
	}
	if _, err := s.Get(t.Context(), kept); err != nil {
		t.Errorf("what a version refers to: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "README.txt")); err != nil {
		t.Errorf("a file that is no module: %v", err)
	}
}

// TestPutDuringCollect: what is put while others are collected is there afterwards.
func TestPutDuringCollect(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-2 * time.Hour)
	s := module.New(dir, module.Config{Used: func(context.Context) (map[string]bool, error) { return map[string]bool{}, nil }})
	for range 50 {
		hash := put(t, s, "code")
		if err := os.Chtimes(filepath.Join(dir, hash+".wasm"), old, old); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = s.Collect(t.Context()) })
		put(t, s, "code")
		wg.Wait()
		if _, err := s.Get(t.Context(), hash); err != nil {
			t.Fatalf("put while it was collected: %v", err)
		}
	}
}
