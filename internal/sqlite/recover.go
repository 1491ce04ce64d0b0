package sqlite

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// flushEvery is how often the delayed tables are written. A message that stays unsettled from
// one time to the next is written to the table pending.
const flushEvery = 500 * time.Millisecond

// flush writes what the hot path leaves for later: the times of conversations, and which
// messages have stayed unsettled since the flush before. From then on recovery need not look
// at the records before that one.
func (db *DB) flush(*sqlite3.Conn) error {
	return db.flushUpTo(db.writing.mark)
}

// flushAll writes all that the hot path leaves for later.
func (db *DB) flushAll(*sqlite3.Conn) error {
	return db.flushUpTo(math.MaxInt64)
}

// flushUpTo writes the times of conversations, and the unsettled messages up to a position.
func (db *DB) flushUpTo(last int64) error {
	if err := db.flushSpans(nil); err != nil {
		return err
	}
	w := &db.writing
	var late []caxton.MessageID
	for _, open := range []map[caxton.MessageID]int64{w.open, w.tx.opened} {
		for id, n := range open {
			if n <= last && !w.stored(id) && !w.tx.closed[id] {
				late = append(late, id)
			}
		}
	}
	for _, id := range late {
		if err := db.pend(&caxton.Delivery{Message: caxton.Message{ID: id}}); err != nil {
			return err
		}
	}
	w.tx.mark = w.tx.from - 1
	if last = min(last, w.tx.mark); last > max(w.flushed, w.tx.flushed) { // the times of this transaction's own records are still to be written
		w.tx.flushed = last
		return exec(db.stmts.metaSet, "flushed", strconv.FormatInt(last, 10))
	}
	return nil
}

// maxSpans is how many conversations may wait for flush. More are written at once, so that
// no commit has to write those of half a second of many callers.
const maxSpans = 512

// flushSpans writes the times of conversations, in the order of their IDs: new ones come at
// the end of the table.
func (db *DB) flushSpans(*sqlite3.Conn) error {
	w := &db.writing
	for _, c := range slices.Sorted(maps.Keys(w.spans)) {
		s := w.spans[c]
		if err := exec(db.stmts.convTouch, string(c), s.first, s.last, string(s.parent)); err != nil {
			return err
		}
	}
	w.tx.flush = true
	return nil
}

// recover makes again what the delayed tables lack after a crash: the conversations of the
// newest records, and which of the messages among these are unsettled. It runs before Run.
func (db *DB) recover() error {
	flushed, err := db.number("flushed", math.MinInt64)
	if err != nil {
		return err
	}
	return db.transact([]*job{{fn: func(c *sqlite3.Conn) error {
		if err := db.recoverPosition(); err != nil {
			return err
		}
		if err := db.recoverSearch(); err != nil {
			return err
		}
		if err := db.recoverNewest(c); err != nil {
			return err
		}
		if err := db.each(c, `SELECT msg, count(*) FROM reservations GROUP BY msg`, func(st *sqlite3.Stmt) {
			db.writing.reserved[caxton.MessageID(st.ColumnText(0))] = st.ColumnInt(1)
		}); err != nil {
			return err
		}
		if err := db.recoverConversations(c, flushed); err != nil {
			return err
		}
		if err := db.each(c, `INSERT OR IGNORE INTO pending (msg, attempt, not_before)
			SELECT msg, 0, 0 FROM (`+unsettledSince+`?1)`, nil, flushed); err != nil {
			return err
		}
		if err := db.each(c, `SELECT msg FROM pending`, func(st *sqlite3.Stmt) {
			db.writing.tx.opened[caxton.MessageID(st.ColumnText(0))] = stored
		}); err != nil {
			return err
		}
		return db.flushAll(c)
	}}})
}

// unsettledSince selects the messages after a position that were never settled. What was
// settled and reopened is in the table pending since then.
const unsettledSince = `SELECT m.msg FROM records m WHERE m.kind='message' AND m.agent<>''
	AND NOT EXISTS (SELECT 1 FROM records s WHERE s.conv=m.conv AND s.seq>m.seq AND s.msg=m.msg AND s.kind='settled') AND m.n>`

// recoverNewest finds the highest ordered ID of a conversation. IDs that callers chose may be
// higher; when there are many of them, all conversations count as seen.
func (db *DB) recoverNewest(c *sqlite3.Conn) error {
	below := caxton.ConversationID("g") // above all that begins with a hexadecimal digit
	for range 100 {
		var next caxton.ConversationID
		if err := db.each(c, `SELECT coalesce(max(conv), '') FROM records WHERE conv<?1`, func(st *sqlite3.Stmt) {
			next = caxton.ConversationID(st.ColumnText(0))
		}, string(below)); err != nil {
			return err
		}
		if next == "" || ordered(next) {
			db.writing.tx.newest = next
			return nil
		}
		below = next
	}
	db.writing.tx.newest = "g"
	return nil
}

func (db *DB) recoverConversations(c *sqlite3.Conn, flushed int64) error {
	return db.each(c, `INSERT INTO conversations (cid, created_at, updated_at, parent)
		SELECT r.conv, coalesce((SELECT f.at FROM records f WHERE f.conv=r.conv AND f.seq=1 AND f.kind='forked'), min(r.at)), max(r.at),
			coalesce((SELECT coalesce(iif(json_valid(f.body), json_extract(f.body, '$.message.parent'), NULL), iif(json_valid(f.body), json_extract(f.body, '$.from'), NULL)) FROM records f WHERE f.conv=r.conv AND f.seq=1), '')
		FROM records r
		WHERE r.conv IN (SELECT conv FROM records WHERE n>?1)
		GROUP BY r.conv
		ON CONFLICT (cid) DO UPDATE SET updated_at=max(updated_at, excluded.updated_at)`, nil, flushed)
}

// each calls row with the rows of a query that is not worth a prepared statement.
func (db *DB) each(c *sqlite3.Conn, sql string, row func(*sqlite3.Stmt), args ...any) error {
	st, _, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := bind(st, args...); err != nil {
		return err
	}
	for st.Step() {
		if row != nil {
			row(st)
		}
	}
	return st.Err()
}

// positionBlock is how many positions in the log of the server are set aside at once: a
// restart leaves at most so many unused.
const positionBlock = 1 << 20

// recoverPosition begins a new block of positions.
func (db *DB) recoverPosition() error {
	next, err := db.number("position", 1)
	db.writing.next, db.writing.limit = next, next
	db.writing.tx.from = next
	return err
}

// number returns a number that is kept in the table meta, or what it is when it is not there.
func (db *DB) number(key string, missing int64) (int64, error) {
	var text string
	found, err := one(db.stmts.metaGet, func(st *sqlite3.Stmt) { text = st.ColumnText(0) }, key)
	if err != nil || !found {
		return missing, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s %q: %w", key, text, err)
	}
	return n, nil
}

// position returns the next position in the log of the server. Positions of a transaction
// that fails stay unused.
func (db *DB) position() (int64, error) {
	w := &db.writing
	if w.next >= w.limit {
		if err := exec(db.stmts.metaSet, "position", strconv.FormatInt(w.next+positionBlock, 10)); err != nil {
			return 0, err
		}
		w.tx.limit = w.next + positionBlock
	}
	w.next++
	return w.next - 1, nil
}
