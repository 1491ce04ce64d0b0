package sqlite

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// flushEvery is how often the delayed tables are written, and how old an unsettled message
// is, at least, before it is written to the table pending.
const flushEvery = 500 * time.Millisecond

// flush writes what the hot path leaves for later: the times of conversations, and which
// messages have stayed unsettled. From then on recovery need not look at older messages.
func (db *DB) flush(*sqlite3.Conn) error {
	if err := db.flushSpans(nil); err != nil {
		return err
	}
	w := &db.writing
	bound := idAt(db.cfg.Now().Add(-flushEvery))
	var late []caxton.MessageID // ordered by time, not quite new, and only in table messages
	for _, open := range []map[caxton.MessageID]bool{w.open, w.tx.opened} {
		for id := range open {
			if id < bound && !w.stored(id) && !w.tx.closed[id] {
				late = append(late, id)
			}
		}
	}
	for _, id := range late {
		if err := db.pend(&caxton.Delivery{Message: caxton.Message{ID: id}}); err != nil {
			return err
		}
	}
	if bound > w.bound {
		w.tx.bound = bound
		return exec(db.stmts.metaSet, "bound", string(bound))
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
// newest messages, and which of these are unsettled. It runs before Run.
func (db *DB) recover() error {
	var bound caxton.MessageID
	if _, err := one(db.stmts.metaGet, func(st *sqlite3.Stmt) { bound = caxton.MessageID(st.ColumnText(0)) }, "bound"); err != nil {
		return err
	}
	return db.transact([]*job{{fn: func(c *sqlite3.Conn) error {
		db.writing.tx.bound = bound
		if err := db.recoverPosition(); err != nil {
			return err
		}
		if err := db.recoverSearch(); err != nil {
			return err
		}
		if err := db.recoverNewest(c); err != nil {
			return err
		}
		if err := db.each(c, `SELECT msg, count(*) FROM reservations WHERE msg>=?1 GROUP BY msg`, "", func(st *sqlite3.Stmt) {
			db.writing.reserved[caxton.MessageID(st.ColumnText(0))] = st.ColumnInt(1)
		}); err != nil {
			return err
		}
		if err := db.recoverConversations(c, bound); err != nil {
			return err
		}
		if err := db.each(c, `INSERT OR IGNORE INTO pending (msg, attempt, not_before)
			SELECT id, 0, 0 FROM messages WHERE id>=?1 AND settled=0`, bound, nil); err != nil {
			return err
		}
		return db.each(c, `SELECT msg FROM pending WHERE msg>=?1`, "", func(st *sqlite3.Stmt) {
			db.writing.tx.opened[caxton.MessageID(st.ColumnText(0))] = true
		})
	}}})
}

// recoverNewest finds the highest ordered ID of a conversation. IDs that callers chose may be
// higher; when there are many of them, all conversations count as seen.
func (db *DB) recoverNewest(c *sqlite3.Conn) error {
	below := caxton.ConversationID("g") // above all that begins with a hexadecimal digit
	for range 100 {
		var next caxton.ConversationID
		if err := db.each(c, `SELECT coalesce(max(conv), '') FROM records WHERE conv<?1`, caxton.MessageID(below), func(st *sqlite3.Stmt) {
			next = caxton.ConversationID(st.ColumnText(0))
		}); err != nil {
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

func (db *DB) recoverConversations(c *sqlite3.Conn, bound caxton.MessageID) error {
	return db.each(c, `INSERT INTO conversations (cid, created_at, updated_at, parent)
		SELECT r.conv, coalesce((SELECT f.at FROM records f WHERE f.conv=r.conv AND f.seq=1 AND f.kind='forked'), min(r.at)), max(r.at),
			coalesce((SELECT coalesce(iif(json_valid(f.body), json_extract(f.body, '$.message.parent'), NULL), iif(json_valid(f.body), json_extract(f.body, '$.from'), NULL)) FROM records f WHERE f.conv=r.conv AND f.seq=1), '')
		FROM records r
		WHERE r.conv IN (SELECT conv FROM messages WHERE id>=?1 UNION SELECT m.conv FROM pending p JOIN messages m ON m.id=p.msg)
		GROUP BY r.conv
		ON CONFLICT (cid) DO UPDATE SET updated_at=max(updated_at, excluded.updated_at)`, bound, nil)
}

func (db *DB) each(c *sqlite3.Conn, sql string, bound caxton.MessageID, row func(*sqlite3.Stmt)) error {
	st, _, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := bind(st, string(bound)); err != nil {
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
	var text string
	if _, err := one(db.stmts.metaGet, func(st *sqlite3.Stmt) { text = st.ColumnText(0) }, "position"); err != nil {
		return err
	}
	next := int64(1)
	if text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("position %q: %w", text, err)
		}
		next = n
	}
	db.writing.next, db.writing.limit = next, next
	return nil
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
