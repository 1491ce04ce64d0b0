package memdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"
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
	full    chan struct{} // capacity 1: the write-ahead log is to begin anew
	fullAt  atomic.Int64  // its pages by then
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
	if f, err := os.OpenFile(cfg.Path, os.O_CREATE|os.O_RDWR, 0o600); err == nil { // made here for its mode; SQLite says what is wrong with it
		_ = f.Close()
	}
	w, err := openConn(ctx, cfg, false)
	if err != nil {
		return nil, storageError("open "+cfg.Path, err)
	}
	if err := migrate(w.Conn); err != nil {
		return nil, errors.Join(err, w.close())
	}
	db := &DB{
		cfg: cfg, writer: w,
		readers: make(chan *conn, cfg.Readers),
		jobs:    make(chan *job, 4*cfg.MaxBatch), // a few batches: more callers simply wait
		full:    make(chan struct{}, 1),
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
	db.fullAt.Store(db.walPages())
	w.WALHook(db.grown)
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

func openConn(ctx context.Context, cfg Config, read bool) (*conn, error) {
	query := ""
	if read {
		query = "mode=ro"
	}
	c, err := sqlite3.OpenContext(ctx, (&url.URL{Scheme: "file", OmitHost: true, Path: cfg.Path, RawQuery: query}).String())
	if err != nil {
		return nil, err
	}
	synchronous := "NORMAL"
	if cfg.Durability == Full {
		synchronous = "FULL"
	}
	cache := cfg.CacheBytes / int64(cfg.Readers+1) >> 10
	err = fts5.Register(c)
	if err == nil {
		err = c.Exec(fmt.Sprintf(`PRAGMA busy_timeout=5000; PRAGMA temp_store=%s; PRAGMA cache_size=-%d`, cmp.Or(cfg.TempStore, "memory"), max(cache, 256)))
	}
	if err == nil && read {
		err = c.Exec(`CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, passages, row); PRAGMA query_only=ON`)
	}
	if err == nil && !read {
		err = c.Exec(fmt.Sprintf(`PRAGMA page_size=%d; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;
			PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=0`, pageSize, synchronous))
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.SetInterrupt(context.WithoutCancel(ctx))
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
	t := time.NewTicker(db.cfg.CheckpointInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			db.mu.Lock()
			defer db.mu.Unlock()
			if _, _, err := db.writer.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE); err != nil && !errors.Is(err, sqlite3.BUSY) {
				db.cfg.Logger.WarnContext(ctx, "last checkpoint of the memory failed", "error", err)
			}
			return nil
		case <-t.C:
			db.checkpoint(ctx, c)
		case <-db.full:
			db.beginAnew(ctx, c)
		}
	}
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

// checkpoint moves what it can without making anybody wait, and returns the length of the log
// and what of it has been moved, in pages.
func (db *DB) checkpoint(ctx context.Context, c *conn) (pages, moved int) {
	start := time.Now()
	pages, moved, err := c.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	if err != nil && !errors.Is(err, sqlite3.BUSY) && ctx.Err() == nil {
		db.cfg.Logger.WarnContext(ctx, "checkpoint of the memory failed", "error", err)
	}
	db.metrics.check.Observe(time.Since(start).Seconds())
	return pages, moved
}

// beginAnew lets the log begin anew: SQLite does that when a commit finds all of it moved, and
// that never happens while commits come without a pause. So they are held up for the last bit.
func (db *DB) beginAnew(ctx context.Context, c *conn) {
	db.checkpoint(ctx, c) // most of it, while commits go on
	db.checkpoint(ctx, c) // most of what came meanwhile
	db.mu.Lock()
	pages, moved := db.checkpoint(ctx, c)
	db.mu.Unlock()
	at := db.walPages()
	if moved < pages { // somebody reads what is old: not again at once
		at += int64(pages)
	}
	db.fullAt.Store(at)
}

// walPages is the length of the log, in pages, after which it begins anew.
func (db *DB) walPages() int64 { return max(1, db.cfg.WALSize/pageSize) }

// grown is told the length of the log after each commit.
func (db *DB) grown(_ *sqlite3.Conn, _ string, pages int) error {
	if int64(pages) >= db.fullAt.Load() {
		select {
		case db.full <- struct{}{}:
		default: // it is known
		}
	}
	return nil
}

// now is the time, but never before the last write: clocks can be set back.
func (db *DB) now() int64 { return max(micros(db.cfg.Now()), db.latest.Load()) }

// storageError gives err the Kind its SQLite code means; nil and *caxton.Error pass.
func storageError(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*caxton.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, sqlite3.FULL):
		return caxton.Errorf(caxton.Exhausted, "disk_full", "%s: the disk is full", what).
			WithHint("free space in the data directory; nothing was half written").WithCause(err)
	case errors.Is(err, sqlite3.READONLY), errors.Is(err, sqlite3.PERM), errors.Is(err, sqlite3.CANTOPEN):
		return caxton.Errorf(caxton.Unavailable, "storage_unwritable", "%s: the memory file cannot be written", what).
			WithHint("check the owner and mode of the data directory and its files").WithCause(err)
	case errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB):
		return caxton.Errorf(caxton.Unavailable, "storage_corrupt", "%s: the memory file is damaged", what).
			WithHint("stop the server, keep the damaged file, and restore memory.db from a backup, or move it away to begin with an empty memory; `sqlite3 memory.db .recover` may save what is in it").WithCause(err)
	case errors.Is(err, sqlite3.IOERR):
		return caxton.Errorf(caxton.Unavailable, "storage_io", "%s: the disk did not do as asked", what).
			WithHint("check the disk and the system log").WithCause(err)
	case errors.Is(err, sqlite3.BUSY):
		return caxton.Errorf(caxton.Unavailable, "storage_busy", "%s: another program uses the memory file", what).
			WithHint("end the other program; one server uses a data directory").WithCause(err)
	}
	return caxton.Errorf(caxton.Internal, "storage_failed", "%s failed", what).WithCause(err)
}
