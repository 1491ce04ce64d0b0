package sqlite

import (
	"context"
	"strconv"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// feedSlack is how much older than a position a record after it may say it is: times are
// taken before the commit, by more than one clock reader, and clocks are set.
const feedSlack = 5 * time.Minute

// touchAfter is how long a conversation must have been quiet for its next record to note the
// time of the conversation at once. After a crash the time of a conversation is thus never
// older than its last record by more than this, which feedSlack allows for.
const touchAfter = time.Minute

// Position returns the last position in the log of the server that may have been used: every
// record at or below it is committed, and every later record will be above it.
func (db *DB) Position(ctx context.Context) (int64, error) {
	var n int64
	err := db.write(ctx, func(*sqlite3.Conn) error {
		n = db.writing.next - 1
		return nil
	})
	return n, err
}

// RecordsSince returns the records of all conversations after position n, in the order of
// their commits, at most limit of them (0 means 1000). at is the time of the record at n, or
// zero when it is not known: then every conversation is looked at, not only those that
// something happened in since. Fewer records than asked for mean that there are no more.
//
// There is no index on positions: it would be one more page to write for each message. The
// conversations touched since then are few, and of each only the end is read.
func (db *DB) RecordsSince(ctx context.Context, n int64, at time.Time, limit int) ([]caxton.Record, error) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	var end int64 // of what the flush has made complete: later records may be in conversations that are not noted yet
	var imported string
	err := db.write(ctx, func(c *sqlite3.Conn) error {
		end, imported = db.writing.tx.from-1, ""
		if _, err := one(db.stmts.metaGet, func(st *sqlite3.Stmt) { imported = st.ColumnText(0) }, "imported"); err != nil {
			return err
		}
		return db.flush(c)
	})
	if err != nil || end <= n {
		return nil, err
	}
	switch last, _ := strconv.ParseInt(imported, 10, 64); {
	case n <= last: // what was brought in has times of its own, which say nothing of its position
		at = time.Time{}
	case !at.IsZero():
		at = at.Add(-feedSlack)
	}
	rows, err := db.read.QueryContext(ctx, `SELECT r.conv, r.seq, r.n, r.at, r.kind, r.msg, r.agent, r.body
		FROM (SELECT t.conv, t.seq, t.n FROM conversations c CROSS JOIN records t
				ON t.conv=c.cid AND t.seq>coalesce((SELECT x.seq FROM records x WHERE x.conv=c.cid AND x.n<=?1 ORDER BY x.seq DESC LIMIT 1), 0)
			WHERE c.updated_at>=?2 AND t.n<=?3 ORDER BY t.n LIMIT ?4) o
		CROSS JOIN records r ON r.conv=o.conv AND r.seq=o.seq ORDER BY o.n`, n, since(at), end, limit)
	if err != nil {
		return nil, storageError("read records", err)
	}
	return collect(rows, scanRecord)
}
