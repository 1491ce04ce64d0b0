package memdb_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/memorytest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a new file, or the one of cfg.
func open(tb testing.TB, cfg memdb.Config) *memdb.DB {
	tb.Helper()
	if cfg.Path == "" {
		cfg.Path = filepath.Join(tb.TempDir(), "memory.db")
	}
	db, err := memdb.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

// run opens a file and has its checkpoints done.
func run(tb testing.TB, cfg memdb.Config) *memdb.DB {
	tb.Helper()
	db := open(tb, cfg)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.Run(ctx); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		stop()
		wg.Wait()
	})
	return db
}

func openStore(tb testing.TB, now func() time.Time) memory.Store {
	tb.Helper()
	return run(tb, memdb.Config{Now: now, Readers: 2})
}

func TestStore(t *testing.T) { memorytest.TestStore(t, openStore) }

func TestTruth(t *testing.T) { memorytest.TestTruth(t, openStore) }

func TestModel(t *testing.T) { memorytest.TestModel(t, openStore) }
