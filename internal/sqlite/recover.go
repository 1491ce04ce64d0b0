package sqlite

import (
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
	w := &db.writing
	for c, s := range w.spans {
		if err := exec(db.stmts.convTouch, string(c), s.first, s.last); err != nil {
			return err
		}
	}
	w.tx.flush = true
	bound := idAt(db.cfg.Now().Add(-flushEvery))
	for id, stored := range w.open {
		switch {
		case stored:
		case id < bound: // ordered by time, and not quite new
			if err := exec(db.stmts.pend, string(id), int64(0), int64(0)); err != nil {
				return err
			}
			w.tx.opened[id] = true
		}
	}
	if bound > w.bound {
		w.tx.bound = bound
		return exec(db.stmts.metaSet, "bound", string(bound))
	}
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

func (db *DB) recoverConversations(c *sqlite3.Conn, bound caxton.MessageID) error {
	return db.each(c, `INSERT INTO conversations (cid, created_at, updated_at)
		SELECT r.conv, min(r.at), max(r.at) FROM records r
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
