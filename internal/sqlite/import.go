package sqlite

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// Import begins a conversation with the records given, in one transaction: N and Seq are
// given by the journal, times stay. What the log leaves open becomes pending and is
// returned. Errors: what caxton.CheckLog says, and Conflict when the conversation or one of
// its messages is known.
func (db *DB) Import(ctx context.Context, records []caxton.Record) ([]caxton.Delivery, error) {
	if err := caxton.CheckLog(records); err != nil {
		return nil, err
	}
	open, err := caxton.Unsettled(records)
	if err != nil {
		return nil, err
	}
	return open, db.write(ctx, func(c *sqlite3.Conn) error { return db.importLog(c, records, open) })
}

// above returns the place of a conversation in its tree, as the writer sees it, and whether
// there is such a conversation.
func (db *DB) above(c *sqlite3.Conn, id caxton.ConversationID) (caxton.Thread, bool, error) {
	var body []byte
	known := false
	err := db.first(c, `SELECT body FROM records WHERE conv=?1 AND kind='message' ORDER BY seq LIMIT 1`, string(id), func(st *sqlite3.Stmt) {
		body, known = append(body, st.ColumnRawText(0)...), true
	})
	if err != nil || !known {
		return caxton.Thread{}, false, err
	}
	d, err := decodeDelivery(body)
	return caxton.Thread{Parent: d.Message.Parent, Root: d.Message.Root, Depth: d.Message.Depth}, true, err
}

func (db *DB) importLog(c *sqlite3.Conn, records []caxton.Record, open []caxton.Delivery) error {
	conv := records[0].ConversationID
	last := int64(0)
	if _, err := one(db.stmts.seqMax, func(st *sqlite3.Stmt) { last = st.ColumnInt64(0) }, string(conv)); err != nil {
		return err
	}
	if last > 0 {
		return caxton.Errorf(caxton.Conflict, "conversation_known", "there is a conversation %s already", conv)
	}
	if err := caxton.CheckPlace(records, func(id caxton.ConversationID) (caxton.Thread, bool, error) { return db.above(c, id) }); err != nil {
		return err
	}
	var times span
	archived := false
	for i := range records {
		r := &records[i]
		if _, _, err := db.append(conv, r.At, r.Kind, r.MessageID, r.AgentID, r.Body, true); err != nil {
			return err
		}
		times = times.with(span{first: micros(r.At), last: micros(r.At)})
		archived = r.Kind == caxton.RecordArchived
	}
	if records[0].Kind == caxton.RecordForked {
		times.first = micros(records[0].At) // its records are older than itself
	}
	for i := range open {
		if err := db.pend(&open[i]); err != nil {
			return err
		}
	}
	if err := exec(db.stmts.convTouch, string(conv), times.first, times.last, string(caxton.Beginning(records))); err != nil {
		return err
	}
	if archived {
		if err := db.closeLog(conv); err != nil {
			return err
		}
	}
	// The index finds conversations by their activity, and this one's may be long ago.
	for done := false; !done; {
		var err error
		if done, _, err = db.indexLog(string(conv), 1000); err != nil {
			return err
		}
	}
	return nil
}

// Archive closes a conversation: the record is its last one, and says why. Errors: NotFound,
// Conflict when it is closed already, or when a message in it is not settled.
func (db *DB) Archive(ctx context.Context, id caxton.ConversationID, b caxton.ArchivedBody, at time.Time) error {
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return db.write(ctx, func(c *sqlite3.Conn) error {
		if _, _, err := db.append(id, at, caxton.RecordArchived, "", "", body, false); err != nil {
			return err
		}
		if err := db.flushAll(c); err != nil {
			return err
		}
		active := false
		if err := db.first(c, `SELECT 1 FROM (SELECT ?1 AS cid) c WHERE `+conversationActive, string(id), func(*sqlite3.Stmt) { active = true }); err != nil {
			return err
		}
		if active {
			return errActive(id)
		}
		s := db.writing.spans[id].with(db.writing.tx.spans[id])
		if err := exec(db.stmts.convTouch, string(id), s.first, s.last, string(s.parent)); err != nil {
			return err
		}
		return db.closeLog(id)
	})
}

func errActive(id caxton.ConversationID) error {
	return caxton.Errorf(caxton.Conflict, "conversation_active", "a message of conversation %s is not settled", id).
		WithHint("wait for it, or call it off")
}

// closeLog marks a conversation as archived, which its row in the table must be there for.
func (db *DB) closeLog(id caxton.ConversationID) error {
	st, _, err := db.writer.Prepare(`UPDATE conversations SET archived=1 WHERE cid=?1`)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := exec(st, string(id)); err != nil {
		return err
	}
	db.writing.tx.archived[id] = true
	return nil
}

// first calls row with the first row of a query that is not worth a prepared statement.
func (db *DB) first(c *sqlite3.Conn, sql, arg string, row func(*sqlite3.Stmt)) error {
	st, _, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	_, err = one(st, row, arg)
	return err
}
