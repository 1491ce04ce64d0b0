package memdb_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/memdb"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"
)

// A file of the first schema is brought up to date, also where there is no place for temporary
// files, and the log tells of it.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := fts5.Register(c); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile("migrations/0001_memory.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(string(first) + "\n;PRAGMA user_version=1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	var logged bytes.Buffer
	open(t, memdb.Config{Path: path, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if got := logged.String(); !strings.Contains(got, "schema upgrade began") || !strings.Contains(got, "schema upgraded") || !strings.Contains(got, "file=memory.db") {
		t.Errorf("logged %q", got)
	}
}
