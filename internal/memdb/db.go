package memdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/sqlitefile"
	"github.com/ncruces/go-sqlite3"
	"github.com/prometheus/client_golang/prometheus"
)

// A Durability says what an acknowledged write survives.
type Durability string

// The levels.
const (
	Full   Durability = "full"   // a power cut: synced before the acknowledgement
	Normal Durability = "normal" // the death of the process, not a power cut
)

// pageSize suits embeddings: five of 384 numbers fill a page but for a twentieth.
const pageSize = 8192

// Config says where and how to keep the file. Zero fields mean the defaults given here.
type Config struct {
	Path               string                // the file; its directory exists
	Durability         Durability            // Normal
	TempStore          string                // "memory" or "file": where SQLite sorts what is much; memory
	CacheBytes         int64                 // of pages, all connections together: 64 MiB
	MaxBatch           int                   // writes in one commit at most: 256
	Readers            int                   // reading connections: 4, or the number of CPUs if larger
	CheckpointInterval time.Duration         // between checkpoints of the write-ahead log: 1 s
	WALSize            int64                 // bytes of the write-ahead log after which it is to begin anew: 64 MiB
	Logger             *slog.Logger          // discards
	Registerer         prometheus.Registerer // a registry of its own
	Now                func() time.Time      // time.Now
}

// A DB is an open memory file. It is safe for concurrent use. It can be read and written
// before Run runs and after it has ended; only then nobody moves the log into the file.
type DB struct {
	cfg     Config
	readers chan *conn // as many as there are; who reads takes one
	jobs    chan *job
	checks  *sqlitefile.Checkpoints
	running atomic.Bool
	latest  atomic.Int64 // time of the last write
	times   timings
	terms   frequencies

	postings postings
	metrics  metrics

	mu     sync.Mutex // guards all below
	writer *conn
	batch  []*job
	lastID int64
	// reworded says that the open transaction changes what the text index has of an older passage. It
	// stays when the transaction fails: it costs the lists of postings once.
	reworded bool
	scopes   map[caxton.Scope]int64 // those the file has
	closed   bool
}

type metrics struct {
	batch  prometheus.Histogram
	commit prometheus.Histogram
	check  prometheus.Histogram
}

// Open opens the file, creating it if missing, and brings its schema up to date. A schema
// newer than this program is a Conflict; a file that is no database is Unavailable with a hint.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Durability == "" {
		cfg.Durability = Normal
	}
	if cfg.CacheBytes <= 0 {
		cfg.CacheBytes = 64 << 20
	}
	if cfg.MaxBatch <= 0 {
		cfg.MaxBatch = 256
	}
	if cfg.Readers <= 0 {
		cfg.Readers = max(4, runtime.NumCPU())
	}
	if cfg.CheckpointInterval <= 0 {
		cfg.CheckpointInterval = time.Second
	}
	if cfg.WALSize <= 0 {
		cfg.WALSize = 64 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.TempStore != "" && cfg.TempStore != "memory" && cfg.TempStore != "file" {
		return nil, caxton.Errorf(caxton.Invalid, "temp_store_invalid", "%q is no place for what SQLite sorts", cfg.TempStore).
			WithHint("write memory or file")
	}
	sqlitefile.Create(cfg.Path)
	w, err := openConn(ctx, cfg, false)
	if err != nil {
		return nil, storageError("open "+cfg.Path, err)
	}
	logger := cfg.Logger.With("file", filepath.Base(cfg.Path))
	if err := schema(cfg).Migrate(ctx, w.Conn, logger); err != nil {
		return nil, errors.Join(err, w.close())
	}
	db := &DB{
		cfg: cfg, writer: w,
		readers: make(chan *conn, cfg.Readers),
		jobs:    make(chan *job, 4*cfg.MaxBatch), // a few batches: more callers simply wait
		scopes:  map[caxton.Scope]int64{},
	}
	db.terms.init()
	db.postings.init()
	for range cfg.Readers {
		c, err := openConn(ctx, cfg, true)
		if err != nil {
			return nil, errors.Join(storageError("open "+cfg.Path, err), db.Close())
		}
		db.readers <- c
	}
	db.checks = sqlitefile.NewCheckpoints(w.Conn, sqlitefile.CheckpointConfig{
		Interval: cfg.CheckpointInterval, Pages: cfg.WALSize / pageSize, Commits: &db.mu, Logger: logger,
	})
	if err := db.recover(); err != nil {
		return nil, errors.Join(storageError("read "+cfg.Path, err), db.Close())
	}
	db.metrics = newMetrics(cfg.Registerer)
	return db, nil
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_memory_batch_size", Help: "Writes to the memory that shared one commit.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_memory_commit_seconds", Help: "Time of one commit to the memory.",
			Buckets: []float64{1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 5e-2, .25, 1},
		}),
		check: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_memory_checkpoint_seconds", Help: "Time of one checkpoint of the memory's write-ahead log.",
			Buckets: []float64{1e-4, 1e-3, 1e-2, 5e-2, .25, 1, 5},
		}),
	}
	reg.MustRegister(m.batch, m.commit, m.check)
	return m
}

// temporary says where SQLite sorts, and how many pages a connection keeps.
func (cfg Config) temporary() string {
	cache := cfg.CacheBytes / int64(cfg.Readers+1) >> 10
	return fmt.Sprintf(`PRAGMA temp_store=%s; PRAGMA cache_size=-%d`, cmp.Or(cfg.TempStore, "memory"), max(cache, 256))
}

func openConn(ctx context.Context, cfg Config, read bool) (*conn, error) {
	name := sqlitefile.URL(cfg.Path, "", "")
	settings := `PRAGMA busy_timeout=20000; ` + cfg.temporary()
	if read {
		name = sqlitefile.URL(cfg.Path, "mode", "ro")
		settings += `; CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, passages, row); PRAGMA query_only=ON`
	} else {
		synchronous := "NORMAL"
		if cfg.Durability == Full {
			synchronous = "FULL"
		}
		settings += fmt.Sprintf(`; PRAGMA page_size=%d; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;
			PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=0`, pageSize, synchronous)
	}
	c, err := sqlitefile.Open(ctx, name, settings)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, stmts: map[string]*sqlite3.Stmt{}}, nil
}

// recover reads what the writer has to know.
func (db *DB) recover() error {
	for _, table := range []string{"entities", "observations", "relations"} {
		column := "id"
		if table == "relations" {
			column = "n"
		}
		last, err := db.writer.number(`SELECT max(` + column + `) FROM ` + table)
		if err != nil {
			return err
		}
		db.lastID = max(db.lastID, last)
	}
	if err := db.readScopes(); err != nil {
		return err
	}
	latest, err := db.writer.number(`SELECT max(m) FROM (SELECT max(at) m FROM endings UNION ALL SELECT max(at) FROM events)`)
	db.latest.Store(latest)
	return err
}

// Run does the checkpoints until ctx ends, and then writes the log back into the file. It may
// run once.
func (db *DB) Run(ctx context.Context) error {
	if !db.running.CompareAndSwap(false, true) {
		return caxton.Errorf(caxton.Internal, "memory_run_twice", "the memory is already running")
	}
	c, err := openConn(context.WithoutCancel(ctx), db.cfg, false) // it may have ended already
	if err != nil {
		return storageError("open a connection for checkpoints", err)
	}
	defer func() { _ = c.close() }()
	db.checks.Run(ctx, c.Conn, db.metrics.check)
	db.mu.Lock()
	defer db.mu.Unlock()
	db.checks.Finish(ctx, db.writer.Conn)
	return nil
}

// Close releases the file. Call it when Run has returned, or was never called, and nobody
// reads or writes any more.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	var errs []error
	for {
		select {
		case c := <-db.readers:
			errs = append(errs, c.close())
			continue
		default:
		}
		break
	}
	return errors.Join(append(errs, db.writer.close())...)
}

// now is the time, but never before the last write: clocks can be set back.
func (db *DB) now() int64 { return max(micros(db.cfg.Now()), db.latest.Load()) }

// storageError gives err the Kind its SQLite code means; nil and *caxton.Error pass.
func storageError(what string, err error) error { return file().Error(what, err) }

func file() sqlitefile.File {
	return sqlitefile.File{
		Name:   "the memory file",
		Repair: "stop the server, keep the damaged file, and restore memory.db from a backup, or move it away to begin with an empty memory; `sqlite3 memory.db .recover` may save what is in it",
	}
}
