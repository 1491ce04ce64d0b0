package wasm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/wasm"
)

// TestDirectories holds that a guest reaches what is in the directories it was given, and
// nothing else, whatever paths and links it tries. The guest opens the file named by the content
// of the message, and answers with its first byte as a number, or minus the error.
func TestDirectories(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	inside := filepath.Join(root, "inside")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(inside, "deep"), 0o700),
		os.WriteFile(filepath.Join(inside, "own"), []byte("o"), 0o600),
		os.WriteFile(filepath.Join(inside, "deep", "own"), []byte("d"), 0o600),
		os.WriteFile(filepath.Join(root, "secret"), []byte("s"), 0o600),
		os.Symlink("own", filepath.Join(inside, "link")),
		os.Symlink("../secret", filepath.Join(inside, "out")),
		os.Symlink(filepath.Join(root, "secret"), filepath.Join(inside, "absolute")),
		os.Symlink("..", filepath.Join(inside, "up")),
		os.Symlink("loop", filepath.Join(inside, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ path, read, write string }{ // what the guest answers without and with leave to write
		{"own", "111", "111"},
		{"deep/own", "100", "100"},
		{"deep/../own", "111", "111"},
		{"link", "111", "111"},
		{"../secret", "-", "-"},
		{"deep/../../secret", "-", "-"},
		{"out", "-", "-"},
		{"absolute", "-", "-"},
		{"up/secret", "-", "-"},
		{"loop", "-", "-"},
		{"missing", "-", "-"},
		{"+new", "-", "0"},
		{"+../new", "-", "-"},
		{"+up/new", "-", "-"},
		{"+out", "-", "-"},
	}
	for _, write := range []bool{false, true} {
		b := newBench(t, wasm.Config{})
		a := b.agent(t, guest(t, "opener"), wasm.Options{Dirs: []wasm.Dir{{Guest: "/data", Host: inside, Write: write}}})
		for _, tt := range tests {
			want := tt.read
			if write {
				want = tt.write
			}
			got := say(t, a, "m-"+tt.path, tt.path)
			if got != want && (want != "-" || got[0] != '-') {
				t.Errorf("%q with write %v: the guest got %s, want %s", tt.path, write, got, want)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(root, "secret")); err != nil || string(b) != "s" {
		t.Errorf("the file outside is %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(root, "new")); err == nil {
		t.Error("a file was made outside")
	}
	if _, err := os.Stat(filepath.Join(inside, "new")); err != nil {
		t.Errorf("the file inside was not made: %v", err)
	}
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "opener"), wasm.Options{})
	if got := say(t, a, "m1", "own"); got[0] != '-' {
		t.Errorf("without a directory the guest got %s", got)
	}
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "opener"), wasm.Options{Dirs: []wasm.Dir{{Guest: "/data", Host: filepath.Join(root, "none")}}}); codeOf(err) != "wasm_refused" {
		t.Errorf("a directory that is not there: %v, want wasm_refused", err)
	}
}

// TestOpenFiles holds that a guest cannot take the open files of the whole server.
func TestOpenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "own"), []byte("o"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "opens"), wasm.Options{Dirs: []wasm.Dir{{Guest: "/data", Host: dir}}})
	_, err := a.Handle(t.Context(), message("m1", "hi"))
	if codeOf(err) != "wasm_exit" || !strings.Contains(err.Error(), "exit code 63") {
		t.Errorf("Handle: %v, want 63 open files beside the directory", err)
	}
}
