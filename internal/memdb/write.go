package memdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// A job is one caller's write.
type job struct {
	fn    func(*tx) error
	large bool // it changes more than is to be kept aside for a savepoint: it has a transaction of its own
	err   error
	done  chan struct{} // closed when it is committed or has failed; err is set before
}

// A tx is a job at work in the transaction of its batch.
type tx struct {
	*conn
	db     *DB
	now    int64 // microseconds
	seen   seen
	by     caxton.Provenance
	acts   map[caxton.Provenance]int64 // the numbers of those by whom something was written
	ending int64                       // of the act that takes something back
	lastID int64
	moved  map[int64]int // passages by scope that came (+) or went (-)
}

// errDryRun has a job undone that went well.
var errDryRun = errors.New("only tried")

// write runs fn in a transaction and returns when it is committed to the configured
// durability. Whoever gets the writing connection first commits what all have queued. Once queued,
// the write is done even if ctx ends; ctx only bounds the wait for a place in the queue.
func (db *DB) write(ctx context.Context, kind string, fn func(*tx) error) error {
	return db.queue(ctx, kind, &job{fn: fn})
}

// queue does the same for a job.
func (db *DB) queue(ctx context.Context, kind string, j *job) error {
	start := time.Now()
	defer func() { db.times.observe(kind, time.Since(start)) }()
	if err := ctx.Err(); err != nil {
		return canceled(err)
	}
	j.done = make(chan struct{})
	select {
	case db.jobs <- j:
	default:
		select {
		case db.jobs <- j:
		case <-ctx.Done():
			return canceled(ctx.Err())
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for {
		select {
		case <-j.done:
			return j.err
		default:
			db.commitQueued()
		}
	}
}

// commitQueued commits one batch of what is queued. mu is held.
func (db *DB) commitQueued() {
	db.batch = db.batch[:0]
	for len(db.batch) < db.cfg.MaxBatch {
		select {
		case j := <-db.jobs:
			db.batch = append(db.batch, j)
			continue
		default:
		}
		break
	}
	start := time.Now()
	rest := db.batch
	defer func() {
		if len(rest) > 0 { // a write panicked: the others must not wait for ever
			db.undo()
			for _, j := range rest {
				j.err = caxton.Errorf(caxton.Internal, "write_panicked", "another write of the same commit broke down")
			}
		}
		for _, j := range db.batch {
			close(j.done)
		}
		clear(db.batch)
	}()
	for len(rest) > 0 {
		n := 1
		for n < len(rest) && !rest[0].large && !rest[n].large {
			n++
		}
		if err := db.transact(rest[:n]); err != nil {
			db.undo()
			for _, j := range rest[:n] {
				j.err = storageError("write memory", err)
			}
		}
		rest = rest[n:]
	}
	db.metrics.batch.Observe(float64(len(db.batch)))
	db.metrics.commit.Observe(time.Since(start).Seconds())
}

// transact does a batch in one transaction. What it returns spoils the whole batch.
func (db *DB) transact(batch []*job) error {
	if db.closed {
		return caxton.Errorf(caxton.Unavailable, "memory_closed", "the memory is closed")
	}
	w := db.writer
	if err := w.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	now := db.now()
	// IDs of one transaction follow one another: that keeps the postings of the text index short.
	lastID := max(db.lastID, memoryID(now))
	alone := len(batch) == 1 // to undo it is to undo the transaction
	for _, j := range batch {
		if !alone {
			if err := w.exec(`SAVEPOINT job`); err != nil {
				return err
			}
		}
		t := &tx{conn: w, db: db, now: now, lastID: lastID, moved: map[int64]int{}, acts: map[caxton.Provenance]int64{}}
		j.err = j.fn(t)
		if j.err == nil {
			j.err = t.finish()
		}
		if j.err != nil {
			if w.GetAutocommit() { // SQLite undid all of it by itself: the disk is full, say
				return j.err
			}
			if alone {
				j.err = storageError("write memory", j.err)
				db.undo()
				return nil
			}
			db.scopes = nil
			if err := w.exec(`ROLLBACK TO job`); err != nil {
				return err
			}
			j.err = storageError("write memory", j.err)
		} else {
			lastID = t.lastID
		}
		if alone {
			break
		}
		if err := w.exec(`RELEASE job`); err != nil {
			return err
		}
		if db.scopes == nil {
			if err := db.readScopes(); err != nil {
				return err
			}
		}
	}
	if err := w.exec(`COMMIT`); err != nil {
		return err
	}
	db.lastID = lastID
	db.latest.Store(now)
	if db.reworded {
		db.reworded = false
		db.postings.void()
	}
	return nil
}

// undo ends a transaction that failed.
func (db *DB) undo() {
	if !db.writer.GetAutocommit() {
		if err := db.writer.Exec(`ROLLBACK`); err != nil {
			db.cfg.Logger.Error("memory transaction could not be undone", "error", err)
		}
	}
	if err := db.readScopes(); err != nil {
		db.cfg.Logger.Error("scopes of the memory could not be read", "error", err)
	}
}

// memoryID is the first ID of a time: milliseconds since 2020, and a random beginning in the
// lower half of what counts within one.
func memoryID(micros int64) int64 {
	const since = 1577836800_000                              // 2020-01-01 in milliseconds
	return max(micros/1000-since, 0)<<22 | rand.Int64N(1<<21) //nolint:gosec // it only keeps servers apart
}

// id makes an ID, greater than all before.
func (t *tx) id() int64 {
	t.lastID++
	return t.lastID
}

// act returns the number of the provenance, writing it down when it is the first time.
func (t *tx) act() (int64, error) {
	if n, ok := t.acts[t.by]; ok {
		return n, nil
	}
	p := t.by
	var version any
	if p.Version != 0 {
		version = p.Version
	}
	err := t.exec(`INSERT INTO origins (first, last, conversation, message, agent, version, tool, by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		t.lastID, t.lastID, textOrNull(string(p.ConversationID)), textOrNull(string(p.MessageID)), textOrNull(string(p.AgentID)), version,
		textOrNull(p.Tool), textOrNull(p.By))
	n := t.LastInsertRowID()
	t.acts[p] = n
	return n, err
}

// finish writes down what is known at the end of a job.
func (t *tx) finish() error {
	for _, n := range t.acts {
		if err := t.exec(`UPDATE origins SET last=? WHERE n=?`, t.lastID, n); err != nil {
			return err
		}
	}
	for scope, n := range t.moved {
		if n != 0 {
			if err := t.exec(`UPDATE scopes SET passages=max(0, passages+?) WHERE n=?`, n, scope); err != nil {
				return err
			}
		}
	}
	return nil
}

// readScopes reads the numbers of the scopes. mu is held, or nobody else has the DB.
func (db *DB) readScopes() error {
	db.scopes = map[caxton.Scope]int64{}
	return db.writer.each(`SELECT n, kind, owner FROM scopes`, nil, func(st *sqlite3.Stmt) error {
		db.scopes[caxton.Scope{Kind: caxton.ScopeKind(st.ColumnText(1)), Owner: st.ColumnText(2)}] = st.ColumnInt64(0)
		return nil
	})
}

// scope returns the number of a scope that a sees, making it when it is new.
func (t *tx) scope(a memory.Access, s caxton.Scope) (int64, error) {
	if parsed, err := caxton.ParseScope(s.String()); err != nil || parsed != s {
		return 0, caxton.Errorf(caxton.Invalid, "scope_invalid", "%.160q is not a scope", s.String()).
			WithHint("say agent, workspace or global, and whose")
	}
	if !a.Sees(s) {
		return 0, caxton.Errorf(caxton.Forbidden, "scope_forbidden", "the scope %s is not open to who remembers this", s).
			WithHint("remember it in a scope that is, or widen the memory scope of the agent")
	}
	if n, ok := t.db.scopes[s]; ok {
		return n, nil
	}
	if err := t.exec(`INSERT INTO scopes (kind, owner) VALUES (?, ?)`, string(s.Kind), s.Owner); err != nil {
		return 0, fmt.Errorf("make scope %s: %w", s, err)
	}
	n := t.LastInsertRowID()
	t.db.scopes[s] = n
	if !a.All {
		t.seen.ns = append(t.seen.ns, n)
	}
	return n, nil
}
