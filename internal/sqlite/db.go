package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/sqlitefile"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/ext/fts5"
	"github.com/prometheus/client_golang/prometheus"
)

// A Durability says what an acknowledged write survives.
type Durability string

// The levels that a file can give; "memory" is not kept in a file at all.
const (
	Full   Durability = "full"   // a power cut: synced before the acknowledgement
	Normal Durability = "normal" // the death of the process, not a power cut
)

// pageSize is the size of a page, unless somebody made the file with another one.
const pageSize = 4096

// Config says where and how to keep the file. Zero fields mean the defaults given here.
type Config struct {
	Path               string                // the database file; its directory exists
	Durability         Durability            // Normal
	MaxBatch           int                   // writes in one commit at most: 256
	Readers            int                   // read-only connections: 4, or the number of CPUs if larger
	CheckpointInterval time.Duration         // between checkpoints of the write-ahead log, at most: 500 ms
	WALSize            int64                 // bytes of the write-ahead log after which it is to begin anew: 32 MiB
	Logger             *slog.Logger          // discards
	Registerer         prometheus.Registerer // a registry of its own
	Now                func() time.Time      // time.Now
	Feed               Feed                  // is told of committed records; nil for nobody
}

// A Feed spreads committed records. *event.Feed provides it.
type Feed interface {
	// Active reports whether anybody listens.
	Active() bool
	// PublishRecords is called with the records of each commit, one commit after the other, in
	// order. It must not wait.
	PublishRecords(records []caxton.Record)
	// Lost says that records were committed and not published: somebody began to listen
	// while the commit was at work.
	Lost()
}

// A DB is an open database file. It is safe for concurrent use; writes wait until Run runs.
type DB struct {
	cfg     Config
	read    *sql.DB
	jobs    chan *job     // sent to by anybody, taken from under mu
	queued  chan struct{} // capacity 1: there are jobs for Run
	stopped chan struct{} // closed when Run has ended: no write will be done any more
	checks  *sqlitefile.Checkpoints
	running atomic.Bool
	metrics metrics

	mu        sync.Mutex // guards all below, once Run runs
	open      bool       // callers may commit: Run runs and has not ended
	writer    *sqlite3.Conn
	stmts     statements
	writing   writing
	searching searching
	batch     []*job // for the commit at work
	last      int    // size of the last one: when it was shared, the next one will be
	asked     int64  // writes that callers asked for and that were begun
}

// A job is one caller's write. fn may run twice: when a batch fails, its jobs are repeated
// one by one, so it must not change anything but the database and what it overwrites.
type job struct {
	fn   func(*sqlite3.Conn) error
	done chan error // capacity 1, so the writer never waits for a caller
	lost string     // if nobody waits for it: what is lost when it fails, for the log
}

// answer tells whoever waits for a job how it ended.
func (db *DB) answer(j *job, err error) {
	if err != nil && j.lost != "" {
		db.cfg.Logger.Warn("write failed that nobody waits for", "what", j.lost, "error", err)
	}
	j.done <- storageError("write", err)
}

type metrics struct {
	batch  prometheus.Histogram
	commit prometheus.Histogram
	check  prometheus.Histogram
}

// Open opens the file, creating it if missing, and brings its schema up to date. A schema
// newer than this program is a Conflict; a file that is no database is Internal with a hint.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Durability == "" {
		cfg.Durability = Normal
	}
	if cfg.MaxBatch <= 0 {
		cfg.MaxBatch = 256
	}
	if cfg.Readers <= 0 {
		cfg.Readers = max(4, runtime.NumCPU())
	}
	if cfg.CheckpointInterval <= 0 {
		cfg.CheckpointInterval = 500 * time.Millisecond
	}
	if cfg.WALSize <= 0 {
		cfg.WALSize = 32 << 20
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
	sqlitefile.Create(cfg.Path)
	w, err := openConn(ctx, writerDSN(cfg.Path, cfg.Durability), Full) // the file system decides what a commit's sync does
	if err != nil {
		return nil, storageError("open "+cfg.Path, err)
	}
	logger := cfg.Logger.With("file", filepath.Base(cfg.Path))
	if err := schema().Migrate(ctx, w, logger); err != nil {
		_ = w.Close()
		return nil, err
	}
	read, err := driver.Open(sqlitefile.URL(cfg.Path, "mode", "ro"), func(c *sqlite3.Conn) error {
		if err := fts5.Register(c); err != nil {
			return err
		}
		return c.Exec(`PRAGMA busy_timeout=5000; PRAGMA query_only=ON`)
	})
	if err != nil {
		_ = w.Close()
		return nil, storageError("open "+cfg.Path, err)
	}
	read.SetMaxOpenConns(cfg.Readers)
	read.SetMaxIdleConns(cfg.Readers)
	db := &DB{
		cfg: cfg, writer: w, read: read,
		jobs:    make(chan *job, 4*cfg.MaxBatch), // a few batches: more callers simply wait
		queued:  make(chan struct{}, 1),
		stopped: make(chan struct{}),
		writing: newWriting(),
	}
	db.checks = sqlitefile.NewCheckpoints(w, sqlitefile.CheckpointConfig{
		Interval: cfg.CheckpointInterval, Pages: cfg.WALSize / pageSize, Commits: &db.mu, Logger: logger,
	})
	if err := db.stmts.prepare(w); err != nil {
		_ = db.Close()
		return nil, storageError("prepare statements", err)
	}
	if err := db.recover(); err != nil {
		_ = db.Close()
		return nil, storageError("recover the journal", err)
	}
	db.metrics = newMetrics(cfg.Registerer)
	return db, nil
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_journal_batch_size", Help: "Writes that shared one commit.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_journal_commit_seconds", Help: "Time of one group commit.",
			Buckets: []float64{1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 5e-2, .25, 1},
		}),
		check: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_journal_checkpoint_seconds", Help: "Time of one checkpoint of the write-ahead log.",
			Buckets: []float64{1e-4, 1e-3, 1e-2, 5e-2, .25, 1, 5},
		}),
	}
	reg.MustRegister(m.batch, m.commit, m.check)
	return m
}

// writerMemory is what the writer keeps in memory.
const writerMemory = `PRAGMA temp_store=MEMORY; PRAGMA cache_size=-65536`

func openConn(ctx context.Context, name string, d Durability) (*sqlite3.Conn, error) {
	sync := "NORMAL"
	if d == Full {
		sync = "FULL"
	}
	return sqlitefile.Open(ctx, name, `PRAGMA busy_timeout=5000;
		PRAGMA journal_mode=WAL;
		PRAGMA synchronous=`+sync+`;
		PRAGMA checkpoint_fullfsync=ON;
		PRAGMA wal_autocheckpoint=0;
		PRAGMA foreign_keys=ON;
		`+writerMemory)
}

// Run does the writes that callers ask for, and the checkpoints, until ctx ends; then it
// finishes what was asked before, writes the log back into the file, and returns. It may
// run once.
func (db *DB) Run(ctx context.Context) error {
	if !db.running.CompareAndSwap(false, true) {
		return caxton.Errorf(caxton.Internal, "sqlite_run_twice", "the database is already running")
	}
	var wg sync.WaitGroup
	checkCtx, stopChecks := context.WithCancel(ctx)
	defer stopChecks()
	wg.Go(func() { db.checkpoints(checkCtx) })
	db.writeUntil(ctx)
	close(db.stopped)
	stopChecks()
	wg.Wait()
	db.checks.Finish(ctx, db.writer)
	return nil
}

// Close releases the file. Call it when Run has returned, or was never called.
func (db *DB) Close() error {
	db.stmts.close()
	return errors.Join(db.read.Close(), db.writer.Close())
}

// write runs fn in a transaction on the writer connection and returns when it is committed
// to the configured durability. fn may run twice and must not keep the connection. Once
// queued, the write is done even if ctx ends; ctx only bounds the wait for a place in the queue.
//
// A caller who is alone does it itself, and saves the way to Run's goroutine and back. Else
// the write is queued, and Run does it with all others that have come by then.
func (db *DB) write(ctx context.Context, fn func(*sqlite3.Conn) error) error {
	j := &job{fn: fn, done: make(chan error, 1)}
	if db.mu.TryLock() {
		if db.open && db.last <= 1 {
			db.commitNow(j)
			return <-j.done
		}
		db.mu.Unlock()
	}
	select {
	case db.jobs <- j:
	default:
		select {
		case db.jobs <- j:
		case <-ctx.Done():
			return caxton.Errorf(caxton.Timeout, "storage_busy", "the write waited too long").WithCause(ctx.Err())
		case <-db.stopped:
			return errStopped()
		}
	}
	db.ring()
	select {
	case err := <-j.done:
		return err
	case <-db.stopped:
		select { // it may have been done just before the end
		case err := <-j.done:
			return err
		default:
			return errStopped()
		}
	}
}

// commitNow does j after what is queued before it, as far as one batch goes, and unlocks mu.
func (db *DB) commitNow(j *job) {
	defer db.mu.Unlock()
	for { // rarely more than once: the queue is full of earlier writes
		db.batch = db.gather(db.batch[:0], db.cfg.MaxBatch)
		if len(db.batch) < db.cfg.MaxBatch {
			break
		}
		db.commit(db.batch)
	}
	db.batch = append(db.batch, j)
	db.asked++
	db.commit(db.batch)
}

// ring tells Run that there are jobs.
func (db *DB) ring() {
	select {
	case db.queued <- struct{}{}:
	default: // it rings already
	}
}

// post queues fn like write and does not wait for it. A full queue drops it and reports
// false: use it only for log lines.
func (db *DB) post(fn func(*sqlite3.Conn) error) bool {
	select {
	case db.jobs <- &job{fn: fn, done: make(chan error, 1), lost: "log lines"}:
		db.ring()
		return true
	default:
		return false
	}
}

func errStopped() error {
	return caxton.Errorf(caxton.Unavailable, "storage_stopped", "the server is stopping").WithHint("send the request again when it is back")
}

// writeUntil commits what is queued, and from time to time what is delayed, until ctx ends
// and the queue is empty. When nobody has asked for anything between two flushes, it goes on
// with the text index.
func (db *DB) writeUntil(ctx context.Context) {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	always := make(chan struct{})
	close(always)
	db.mu.Lock()
	db.open = true
	db.mu.Unlock()
	db.ring() // for what was queued before
	quiet, asked := false, int64(-1)
	for {
		var idle <-chan struct{}
		if quiet && db.indexLags(asked) {
			idle = always
		}
		select {
		case <-db.queued:
			db.commitQueued(false)
		case <-flush.C:
			before := asked
			asked = db.commitQueued(true)
			quiet = asked == before
		case <-idle:
			if err := db.indexSome(); err != nil { // not at once again: it would fail again
				quiet = false
				db.cfg.Logger.WarnContext(ctx, "messages not indexed", "error", err)
			}
		case <-ctx.Done():
			db.mu.Lock()
			db.open = false
			db.mu.Unlock()
			db.commitQueued(true)
			return
		}
	}
}

// indexLags reports whether the text index lacks messages and nobody asked for a write since
// the count given.
func (db *DB) indexLags(asked int64) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.asked == asked && db.searching.lags()
}

// indexSome puts some messages into the text index.
func (db *DB) indexSome() error {
	index := &job{fn: db.index, done: make(chan error, 1)}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.batch = append(db.batch[:0], index)
	db.commit(db.batch)
	return <-index.done
}

// commitQueued does all that is queued, batch by batch, and then what is delayed if it is due.
// It returns how many writes were asked for so far.
func (db *DB) commitQueued(due bool) int64 {
	for more := true; more; {
		more = db.commitBatch(false)
	}
	if due {
		db.commitBatch(true)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.asked
}

// commitBatch does one batch of what is queued, with what is delayed if it is due, and
// reports whether there was anything to do.
func (db *DB) commitBatch(due bool) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.batch = db.gather(db.batch[:0], db.cfg.MaxBatch)
	if due && db.writing.dirty() {
		db.batch = append(db.batch, &job{fn: db.flush, done: make(chan error, 1), lost: "delayed tables"})
	}
	if len(db.batch) == 0 {
		return false
	}
	db.commit(db.batch)
	return true
}

// gather adds to a batch what is queued, up to a limit. Callers who are ready to run go
// first, as long as each time some of them queue a write: a commit costs many times what it
// costs them to get there, and hardly more for many writes than for one. With a single
// caller this costs next to nothing. mu is held.
func (db *DB) gather(batch []*job, limit int) []*job {
	for len(batch) < limit {
		select {
		case j := <-db.jobs:
			batch = append(batch, j)
			db.asked++
			continue
		default:
		}
		runtime.Gosched()
		if len(db.jobs) == 0 {
			break
		}
	}
	return batch
}

// commit does a batch in one transaction and answers each job. If it fails, the jobs are
// done one by one, so that a bad one spoils only itself. mu is held.
func (db *DB) commit(batch []*job) {
	start := time.Now()
	db.last = len(batch)
	if len(db.writing.spans) >= maxSpans {
		batch = append(batch, &job{fn: db.flushSpans, done: make(chan error, 1)}) // flush does it again, and logs
	}
	answered := false
	defer func() {
		if !answered { // a write panicked; the others must not wait for ever
			for _, j := range batch {
				select {
				case j.done <- caxton.Errorf(caxton.Internal, "write_panicked", "another write of the same commit broke down"):
				default: // it has its answer
				}
			}
		}
		clear(batch)
	}()
	err := db.transact(batch)
	if err != nil && len(batch) > 1 {
		for _, j := range batch {
			db.answer(j, db.transact([]*job{j}))
		}
		answered = true
		return
	}
	db.metrics.batch.Observe(float64(len(batch)))
	db.metrics.commit.Observe(time.Since(start).Seconds())
	for _, j := range batch {
		db.answer(j, err)
	}
	answered = true
}

// transact does a batch in one transaction: all of it or nothing, even if a write panics. What
// is remembered follows what is committed, before anybody is told.
func (db *DB) transact(batch []*job) (err error) {
	db.writing.begin(db.feeding())
	db.searching.begin()
	committed := false
	defer func() {
		if !committed { // it failed, or a write panicked
			err = db.rollback(err)
		}
	}()
	if err := db.inTransaction(batch); err != nil {
		return err
	}
	committed = true
	db.searching.commit()
	if db.writing.tx.flush {
		db.searching.touched(db.writing.spans)
	}
	db.writing.commit()
	db.publish()
	return nil
}

func (db *DB) inTransaction(batch []*job) error {
	if err := db.stmts.begin.Exec(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	for _, j := range batch {
		if err := j.fn(db.writer); err != nil {
			return err
		}
	}
	if err := db.stmts.commit.Exec(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// publish tells of the records that were just committed. Whatever becomes of that, they are: who
// wrote them has to know, or a message that is in the log would be handed out only after a
// restart.
func (db *DB) publish() {
	defer func() {
		if p := recover(); p != nil {
			db.cfg.Logger.Error("records not published", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			db.cfg.Feed.Lost()
		}
	}()
	switch tx := &db.writing.tx; {
	case len(tx.records) > 0:
		db.cfg.Feed.PublishRecords(tx.records)
	case !tx.fed && db.feeding():
		db.cfg.Feed.Lost()
	}
}

// feeding reports whether anybody listens.
func (db *DB) feeding() bool { return db.cfg.Feed != nil && db.cfg.Feed.Active() }

func (db *DB) rollback(cause error) error {
	if db.writer.GetAutocommit() {
		return cause // SQLite rolled back by itself
	}
	if err := db.writer.Exec(`ROLLBACK`); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// checkpoints moves the write-ahead log into the file from time to time, on a connection
// of its own, so that no commit has to.
func (db *DB) checkpoints(ctx context.Context) {
	c, err := openConn(ctx, db.cfg.Path, db.cfg.Durability)
	if err != nil {
		db.cfg.Logger.ErrorContext(ctx, "checkpoint connection failed", "error", err)
		return
	}
	defer func() { _ = c.Close() }()
	db.checks.Run(ctx, c, db.metrics.check)
}

// storageError gives err the Kind its SQLite code means; nil and *caxton.Error pass.
func storageError(what string, err error) error { return file().Error(what, err) }

func file() sqlitefile.File {
	return sqlitefile.File{
		Name:   "the database file",
		Repair: "stop the server and restore the file from a backup; keep the damaged one for repair",
	}
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
