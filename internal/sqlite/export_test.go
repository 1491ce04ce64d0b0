package sqlite

import (
	"context"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Queued returns how many writes wait.
func (db *DB) Queued() int { return len(db.jobs) }

// GatherWAL returns f with its writes gathered, as the writer connection has its log.
func GatherWAL(f vfs.File, commitSync bool) vfs.File {
	return &walFile{File: f, commitSync: commitSync}
}

// WriteNow runs fn in a transaction as a caller does who is alone.
func (db *DB) WriteNow(fn func() error) error {
	j := &job{fn: func(*sqlite3.Conn) error { return fn() }, done: make(chan error, 1)}
	db.mu.Lock()
	db.commitNow(j)
	return <-j.done
}

// Flush writes the delayed tables as Run does from time to time.
func (db *DB) Flush() error {
	j := &job{fn: db.flush, done: make(chan error, 1)}
	db.mu.Lock()
	db.commitNow(j)
	return <-j.done
}

// AcceptNow stores a new message as a caller does who is alone.
func (db *DB) AcceptNow(d caxton.Delivery) error {
	return db.WriteNow(func() error {
		body, err := encodeDelivery(&d)
		if err != nil {
			return err
		}
		return db.accept(&d, body)
	})
}

// CountConversations returns how many rows the table of conversations has.
func (db *DB) CountConversations(ctx context.Context) (n int, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT count(*) FROM conversations`).Scan(&n)
	return n, err
}
