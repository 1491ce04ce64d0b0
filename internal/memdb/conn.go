package memdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// maxStatements is how many prepared statements a connection keeps. There are about a hundred
// kinds; more come from the number of scopes and filters of a search.
const maxStatements = 400

// A conn is a connection with its prepared statements. One goroutine uses it at a time.
type conn struct {
	*sqlite3.Conn
	stmts map[string]*sqlite3.Stmt
}

// prepare returns a statement to be used until done is called.
func (c *conn) prepare(query string, args []any) (st *sqlite3.Stmt, done func() error, err error) {
	st = c.stmts[query]
	switch {
	case st == nil:
		if len(c.stmts) >= maxStatements {
			c.drop()
		}
		if st, _, err = c.Prepare(query); err != nil {
			return nil, nil, fmt.Errorf("%w: %s", err, query)
		}
		c.stmts[query] = st
		done = st.Reset
	case st.Busy(): // by a caller of this one
		if st, _, err = c.Prepare(query); err != nil {
			return nil, nil, err
		}
		done = st.Close
	default:
		done = st.Reset
	}
	if err := bind(st, args); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return st, done, nil
}

// drop closes the statements that are not at work.
func (c *conn) drop() {
	for query, st := range c.stmts {
		if !st.Busy() {
			_ = st.Close()
			delete(c.stmts, query)
		}
	}
}

// exec runs a statement that returns nothing.
func (c *conn) exec(query string, args ...any) error {
	st, done, err := c.prepare(query, args)
	if err != nil {
		return err
	}
	err = st.Exec()
	return errors.Join(err, done())
}

// each calls row for each row.
func (c *conn) each(query string, args []any, row func(*sqlite3.Stmt) error) error {
	st, done, err := c.prepare(query, args)
	if err != nil {
		return err
	}
	for st.Step() {
		if err := row(st); err != nil {
			_ = done()
			return err
		}
	}
	err = st.Err()
	if derr := done(); err == nil {
		err = derr
	}
	return err
}

// one calls row for the first row, and reports whether there was one.
func (c *conn) one(query string, args []any, row func(*sqlite3.Stmt)) (ok bool, err error) {
	st, done, err := c.prepare(query, args)
	if err != nil {
		return false, err
	}
	if st.Step() {
		row(st)
		ok = true
	} else {
		err = st.Err()
	}
	if derr := done(); err == nil {
		err = derr
	}
	return ok, err
}

// number returns the first column of the first row, 0 without one.
func (c *conn) number(query string, args ...any) (n int64, err error) {
	_, err = c.one(query, args, func(st *sqlite3.Stmt) { n = st.ColumnInt64(0) })
	return n, err
}

func (c *conn) close() error {
	if c == nil {
		return nil
	}
	for _, st := range c.stmts {
		_ = st.Close()
	}
	return c.Close()
}

func bind(st *sqlite3.Stmt, args []any) error {
	for i, a := range args {
		var err error
		switch v := a.(type) {
		case nil:
			err = st.BindNull(i + 1)
		case string:
			err = st.BindText(i+1, v)
		case []byte:
			err = st.BindBlob(i+1, v)
		case int64:
			err = st.BindInt64(i+1, v)
		case int:
			err = st.BindInt64(i+1, int64(v))
		case float64:
			err = st.BindFloat(i+1, v)
		default:
			err = fmt.Errorf("parameter %d has type %T", i+1, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// micros is a time as it is kept.
func micros(t time.Time) int64 { return t.UnixMicro() }

// orNull is a time as it is kept, NULL for none.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// textOrNull is a text as it is kept, NULL for none.
func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// timeOf reads a time, zero for NULL.
func timeOf(st *sqlite3.Stmt, col int) time.Time {
	if st.ColumnType(col) == sqlite3.NULL {
		return time.Time{}
	}
	return fromMicros(st.ColumnInt64(col))
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// known is the time as far as which is asked; forever for none.
func known(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return t.UnixMicro()
}

// view runs fn on a reading connection in a transaction: it sees one state.
func (db *DB) view(ctx context.Context, kind string, fn func(c *conn) error) (err error) {
	start := time.Now()
	if err := ctx.Err(); err != nil {
		return canceled(err)
	}
	var c *conn
	select {
	case c = <-db.readers:
	case <-ctx.Done():
		return canceled(ctx.Err())
	}
	old := c.SetInterrupt(ctx)
	defer func() {
		c.SetInterrupt(old)
		if !c.GetAutocommit() {
			if rerr := c.exec(`ROLLBACK`); err == nil && rerr != nil {
				err = storageError("read memory", rerr)
			}
		}
		db.readers <- c // there is a place for each
		db.times.observe(kind, time.Since(start))
	}()
	if err = c.exec(`BEGIN`); err == nil {
		err = fn(c)
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, sqlite3.INTERRUPT) {
		return canceled(ctx.Err())
	}
	return storageError("read memory", err)
}

func canceled(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return caxton.Errorf(caxton.Timeout, "memory_timeout", "the time for the memory ran out").WithCause(err)
	}
	return caxton.Errorf(caxton.Canceled, "memory_canceled", "the caller left").WithCause(err)
}
