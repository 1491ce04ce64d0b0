package sqlitefile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/sqlitefile"
	"github.com/ncruces/go-sqlite3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const settings = `PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; ` + memory

const memory = `PRAGMA temp_store=MEMORY; PRAGMA cache_size=-777`

func open(t *testing.T, path string) *sqlite3.Conn {
	t.Helper()
	c, err := sqlitefile.Open(t.Context(), sqlitefile.URL(path, "", ""), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func pragma(t *testing.T, c *sqlite3.Conn, name string) int64 {
	t.Helper()
	n, err := sqlitefile.Pragma(c, name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func schema(files map[string]string) sqlitefile.Schema {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys["migrations/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return sqlitefile.Schema{File: sqlitefile.File{Name: "the test file", Repair: "throw it away"}, Migrations: fsys, Settings: memory}
}

// A file gets the migrations it lacks, the log tells of an upgrade and not of a new file, and
// the connection is as it was.
func TestMigrate(t *testing.T) {
	t.Parallel()
	c := open(t, filepath.Join(t.TempDir(), "file?#%.db"))
	steps := []struct {
		name        string
		file, sql   string // added
		version     int64
		wantsLogged []string
	}{
		{"a new file", "0001_a.sql", `CREATE TABLE a (x); INSERT INTO a VALUES (1);`, 1, nil},
		{"an upgrade", "0002_b.sql", `CREATE TABLE b AS SELECT x FROM a ORDER BY x;`, 2, []string{"schema upgrade began", "schema upgraded"}},
	}
	files := map[string]string{}
	for _, s := range steps {
		files[s.file] = s.sql
		for _, wants := range [][]string{s.wantsLogged, nil} { // a second time there is nothing to do
			var logged bytes.Buffer
			if err := schema(files).Migrate(t.Context(), c, slog.New(slog.NewTextHandler(&logged, nil))); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if got := strings.Count(logged.String(), "\n"); got != len(wants) {
				t.Errorf("%s: logged %d lines, want %d: %s", s.name, got, len(wants), &logged)
			}
			for _, want := range wants {
				if !strings.Contains(logged.String(), want) {
					t.Errorf("%s: logged %s, want %q", s.name, &logged, want)
				}
			}
		}
		if got := pragma(t, c, "user_version"); got != s.version {
			t.Errorf("%s: user_version = %d, want %d", s.name, got, s.version)
		}
		if cache, temp := pragma(t, c, "cache_size"), pragma(t, c, "temp_store"); cache != -777 || temp != 2 {
			t.Errorf("%s: cache_size = %d, temp_store = %d, want -777, 2", s.name, cache, temp)
		}
	}
}

func TestMigrateRefuses(t *testing.T) {
	t.Parallel()
	const fine = `CREATE TABLE a (x);`
	tests := []struct {
		name    string
		files   map[string]string
		have    int
		code    string
		version int64 // afterwards
	}{
		{"a gap", map[string]string{"0001_a.sql": fine, "0003_c.sql": fine}, 0, "migrations_invalid", 0},
		{"no number", map[string]string{"first.sql": fine}, 0, "migrations_invalid", 0},
		{"a newer file", map[string]string{"0001_a.sql": fine}, 2, "schema_newer", 2},
		{"a bad second step", map[string]string{"0001_a.sql": fine, "0002_b.sql": `INSERT INTO a VALUES (1); INSERT INTO none VALUES (1);`}, 0, "storage_failed", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := open(t, filepath.Join(t.TempDir(), "file.db"))
			if err := c.Exec(fmt.Sprintf(`PRAGMA user_version=%d`, tt.have)); err != nil {
				t.Fatal(err)
			}
			err := schema(tt.files).Migrate(t.Context(), c, slog.New(slog.DiscardHandler))
			if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != tt.code {
				t.Errorf("Migrate = %v, want %s", err, tt.code)
			}
			if got := pragma(t, c, "user_version"); got != tt.version {
				t.Errorf("user_version = %d, want %d", got, tt.version)
			}
			if cache := pragma(t, c, "cache_size"); cache != -777 || !c.GetAutocommit() {
				t.Errorf("cache_size = %d, in a transaction %t; want -777, false", cache, !c.GetAutocommit())
			}
			if tt.version != 1 {
				return
			}
			st, _, err := c.Prepare(`SELECT x FROM a`)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = st.Close() }()
			if st.Step() {
				t.Error("the step that failed left a row")
			}
		})
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file.db")
	sqlitefile.Create(path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("Create made %v, %v", info, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := sqlitefile.Open(ctx, sqlitefile.URL(path, "", ""), settings)
	if err != nil {
		t.Fatal(err)
	}
	cancel() // bounds the opening only
	if err := c.Exec(`CREATE VIRTUAL TABLE words USING fts5(x)`); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	r, err := sqlitefile.Open(t.Context(), sqlitefile.URL(path, "mode", "ro"), memory)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := r.Exec(`CREATE TABLE a (x)`); !errors.Is(err, sqlite3.READONLY) {
		t.Errorf("a write to a file opened for reading: %v", err)
	}
	if c, err := sqlitefile.Open(t.Context(), sqlitefile.URL(path, "", ""), `no statement`); c != nil || err == nil {
		t.Errorf("bad settings: %v, %v", c, err)
	}
	if _, err := sqlitefile.Open(t.Context(), sqlitefile.URL(filepath.Join(path, "below"), "", ""), settings); !errors.Is(err, sqlite3.CANTOPEN) {
		t.Errorf("no such directory: %v", err)
	}
}

func TestFileError(t *testing.T) {
	t.Parallel()
	known := caxton.Errorf(caxton.NotFound, "entity_not_found", "no such entity")
	tests := []struct {
		err   error
		kind  caxton.Kind
		code  string
		words string // of the message or the hint
	}{
		{sqlite3.FULL, caxton.Exhausted, "disk_full", "free space"},
		{sqlite3.READONLY, caxton.Unavailable, "storage_unwritable", "the test file cannot be written"},
		{sqlite3.PERM, caxton.Unavailable, "storage_unwritable", "owner"},
		{sqlite3.CANTOPEN, caxton.Unavailable, "storage_unwritable", "owner"},
		{sqlite3.CORRUPT, caxton.Unavailable, "storage_corrupt", "throw it away"},
		{sqlite3.NOTADB, caxton.Unavailable, "storage_corrupt", "the test file is damaged"},
		{sqlite3.IOERR_FSYNC, caxton.Unavailable, "storage_io", "system log"},
		{sqlite3.BUSY, caxton.Unavailable, "storage_busy", "another program uses the test file"},
		{errors.New("odd"), caxton.Internal, "storage_failed", "read failed"},
		{fmt.Errorf("read: %w", known), caxton.NotFound, "entity_not_found", "no such entity"},
	}
	f := schema(nil).File
	for _, tt := range tests {
		err := f.Error("read", fmt.Errorf("some context: %w", tt.err))
		e, ok := errors.AsType[*caxton.Error](err)
		if !ok || e.Kind != tt.kind || e.Code != tt.code || !strings.Contains(e.Message+e.Hint, tt.words) || !errors.Is(err, tt.err) {
			t.Errorf("Error(%v) = %#v, want %s %s %q", tt.err, err, tt.kind, tt.code, tt.words)
		}
	}
	if err := f.Error("read", nil); err != nil {
		t.Errorf("Error(nil) = %v", err)
	}
}

// checkpoints opens a file with a writer, a connection for its checkpoints, and these.
func checkpoints(t *testing.T) (path string, w, c *sqlite3.Conn, k *sqlitefile.Checkpoints) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file.db")
	w, c = open(t, path), open(t, path)
	if err := w.Exec(`CREATE TABLE a (x)`); err != nil {
		t.Fatal(err)
	}
	return path, w, c, sqlitefile.NewCheckpoints(w, sqlitefile.CheckpointConfig{
		Interval: time.Hour, Pages: 16, Commits: &sync.Mutex{}, Logger: slog.New(slog.DiscardHandler),
	})
}

func logSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A checkpoint that fails is not tried again with each commit.
func TestBeginAnewFails(t *testing.T) {
	t.Parallel()
	_, _, c, k := checkpoints(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.SetInterrupt(ctx)
	before := k.FullAt()
	k.BeginAnew(t.Context(), c, prometheus.ObserverFunc(func(float64) {}))
	if after := k.FullAt(); after <= before {
		t.Errorf("the log is to begin anew at %d pages after a failure, want more than %d", after, before)
	}
}

// A log that is longer than it should be begins anew over its old pages, and at the end all of
// it is in the file.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	path, w, c, k := checkpoints(t)
	took := make(chan float64, 100)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { k.Run(ctx, c, prometheus.ObserverFunc(func(s float64) { took <- s })) })
	if err := w.Exec(`INSERT INTO a VALUES (zeroblob(200000))`); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the parts of beginning anew
		select {
		case <-took:
		case <-time.After(30 * time.Second):
			t.Error("no checkpoint of a log that is too long")
		}
	}
	stop()
	wg.Wait()
	long := logSize(t, path)
	if err := w.Exec(`INSERT INTO a VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	if got := logSize(t, path); got != long {
		t.Errorf("a commit after all was moved made the log of %d bytes one of %d", long, got)
	}
	k.Finish(t.Context(), w)
	if got := logSize(t, path); got != 0 {
		t.Errorf("after the end the log has %d bytes", got)
	}
}
