package sqlite_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/sqlite"
)

// keysDB returns a running database whose clock is moved by tests.
func keysDB(t *testing.T, path string, now *atomic.Int64) (db *sqlite.DB, stop func()) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Now: func() time.Time { return time.UnixMicro(now.Load()) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return db, stop
}

// clock returns a clock that shows some time.
func clock() *atomic.Int64 {
	var now atomic.Int64
	now.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	return &now
}

func reserve(t *testing.T, k *sqlite.Keys, key, fingerprint string) (caxton.KeyedRequest, bool) {
	t.Helper()
	old, fresh, err := k.ReserveKey(t.Context(), key, fingerprint)
	if err != nil {
		t.Fatalf("ReserveKey(%s): %v", key, err)
	}
	return old, fresh
}

func TestKeys(t *testing.T) {
	now := clock()
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, stop := keysDB(t, path, now)
	k := sqlite.NewKeys(db, sqlite.KeysConfig{})
	for _, key := range []string{"done", "dying", "bare", "released"} {
		if _, fresh := reserve(t, k, key, "f"); !fresh {
			t.Fatalf("%s is not fresh", key)
		}
		if old, fresh := reserve(t, k, key, "g"); fresh || old.Done || old.Fingerprint != "f" {
			t.Errorf("%s while it is served: %+v, fresh %t", key, old, fresh)
		}
	}
	if err := k.StoreKey(t.Context(), "done", []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := k.StoreKey(t.Context(), "bare", nil); err != nil {
		t.Fatal(err)
	}
	if err := k.ReleaseKey(t.Context(), "released"); err != nil {
		t.Fatal(err)
	}
	if err := k.ReleaseKey(t.Context(), "done"); err != nil { // too late: nothing happens
		t.Fatal(err)
	}
	if _, fresh := reserve(t, k, "released", "other"); !fresh {
		t.Error("a released key is taken")
	}
	stop()

	db, stop = keysDB(t, path, now)
	k = sqlite.NewKeys(db, sqlite.KeysConfig{})
	now.Add(int64(23*time.Hour/time.Microsecond) + int64(59*time.Minute/time.Microsecond))
	if old, fresh := reserve(t, k, "done", "f"); fresh || !old.Done || string(old.Answer) != `{"a":1}` || old.Fingerprint != "f" {
		t.Errorf("after a restart and almost a day: %+v, fresh %t", old, fresh)
	}
	if old, fresh := reserve(t, k, "bare", "f"); fresh || !old.Done || old.Answer != nil {
		t.Errorf("without an answer: %+v, fresh %t", old, fresh)
	}
	if old, fresh := reserve(t, k, "dying", "g"); fresh || old.Done || old.Fingerprint != "f" {
		t.Errorf("another request with the key of a dead process: %+v, fresh %t", old, fresh)
	}
	if old, fresh := reserve(t, k, "dying", "f"); !fresh || old.Done {
		t.Errorf("the request that died with its process: %+v, fresh %t; want it served again", old, fresh)
	}
	if _, fresh := reserve(t, k, "dying", "f"); fresh {
		t.Error("it is served twice at once")
	}
	now.Add(int64(2 * time.Minute / time.Microsecond))
	if _, fresh := reserve(t, k, "done", "g"); !fresh {
		t.Error("a key is taken for more than a day")
	}
	stop()
	if err := k.StoreKey(t.Context(), "done", nil); caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("StoreKey on a stopped database: %v, want unavailable", err)
	}
}

func TestKeysBounds(t *testing.T) {
	now := clock()
	db, _ := keysDB(t, filepath.Join(t.TempDir(), "caxton.db"), now)
	k := sqlite.NewKeys(db, sqlite.KeysConfig{Life: time.Hour, Max: 2, MaxBytes: 10})
	reserve(t, k, "a", "f")
	reserve(t, k, "b", "f")
	if _, _, err := k.ReserveKey(t.Context(), "c", "f"); caxton.KindOf(err) != caxton.Exhausted {
		t.Errorf("a third key: %v, want exhausted", err)
	}
	for key, answer := range map[string]string{"a": "123456", "b": "123456"} {
		if err := k.StoreKey(t.Context(), key, []byte(answer)); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := reserve(t, k, "a", "f")
	b, _ := reserve(t, k, "b", "f")
	if !a.Done || !b.Done || len(a.Answer)+len(b.Answer) != 6 {
		t.Errorf("answers %q and %q, want one of them", a.Answer, b.Answer)
	}
	now.Add(int64(61 * time.Minute / time.Microsecond))
	if _, fresh := reserve(t, k, "c", "f"); !fresh {
		t.Error("no room after an hour")
	}
}

// TestKeysOnce has many callers reserve one key at once: one gets it.
func TestKeysOnce(t *testing.T) {
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	k := sqlite.NewKeys(db, sqlite.KeysConfig{})
	var wg sync.WaitGroup
	var fresh atomic.Int64
	for range 32 {
		wg.Go(func() {
			if _, ok, err := k.ReserveKey(t.Context(), "k", "f"); err != nil {
				t.Error(err)
			} else if ok {
				fresh.Add(1)
			}
		})
	}
	wg.Wait()
	if n := fresh.Load(); n != 1 {
		t.Errorf("%d callers have the key, want 1", n)
	}
}
