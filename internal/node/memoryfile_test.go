package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/node"
)

// TestMemoryFile keeps the memory elsewhere than in the data directory: in a directory that is yet to be made,
// for one server at a time, and closed when that has ended.
func TestMemoryFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "far", "away", "memory.db")
	_, _, stop := run(t, t.TempDir(), "memory.sqlite_path", file)
	dir := t.TempDir()
	loaded, err := load(dir, "memory.sqlite_path", file)
	if err != nil {
		t.Fatal(err)
	}
	err = node.Run(t.Context(), loaded, node.Options{Dir: dir})
	if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Kind != caxton.Conflict || e.Code != "file_locked" || e.Hint == "" {
		t.Errorf("a second server with the same memory: %v, want Conflict", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(file + part); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left by a server that has ended (%v): the file was not closed", filepath.Base(file)+part, err)
		}
	}
	_, _, stop = run(t, dir, "memory.sqlite_path", file)
	if err := stop(); err != nil {
		t.Error(err)
	}
}
