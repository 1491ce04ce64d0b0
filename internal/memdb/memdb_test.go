package memdb_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/memorytest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a new file, or the one of cfg.
func open(t testing.TB, cfg memdb.Config) *memdb.DB {
	t.Helper()
	if cfg.Path == "" {
		cfg.Path = filepath.Join(t.TempDir(), "memory.db")
	}
	db, err := memdb.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openStore(t testing.TB, now func() time.Time) memory.Store {
	t.Helper()
	return open(t, memdb.Config{Now: now, Readers: 2})
}

func TestStore(t *testing.T) { memorytest.TestStore(t, openStore) }
