package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// statements are the prepared statements of the hot path, on the writer connection.
type statements struct {
	begin, commit                    *sqlite3.Stmt
	convFind, convInsert, convTouch  *sqlite3.Stmt
	seqMax, record                   *sqlite3.Stmt
	message, messageFind             *sqlite3.Stmt
	pend, pendDelete, pendUpdate     *sqlite3.Stmt
	recordBody, convName, pendExists *sqlite3.Stmt
	blob, logLine                    *sqlite3.Stmt
}

func (s *statements) all() []struct {
	st  **sqlite3.Stmt
	sql string
} {
	return []struct {
		st  **sqlite3.Stmt
		sql string
	}{
		{&s.begin, `BEGIN IMMEDIATE`},
		{&s.commit, `COMMIT`},
		{&s.convFind, `SELECT id, archived FROM conversations WHERE cid=?1`},
		{&s.convInsert, `INSERT INTO conversations (cid, parent, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)`},
		{&s.convTouch, `UPDATE conversations SET updated_at=max(updated_at, ?2) WHERE id=?1`},
		{&s.seqMax, `SELECT coalesce(max(seq), 0) FROM records WHERE conv=?1`},
		{&s.record, `INSERT INTO records (conv, seq, at, kind, msg, agent, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`},
		{&s.message, `INSERT OR IGNORE INTO messages (id, conv, seq) VALUES (?1, ?2, ?3)`},
		{&s.messageFind, `SELECT conv, seq FROM messages WHERE id=?1`},
		{&s.pend, `INSERT INTO pending (msg, conv, seq, agent, version, attempt, not_before) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`},
		{&s.pendDelete, `DELETE FROM pending WHERE msg=?1`},
		{&s.pendUpdate, `UPDATE pending SET attempt=?2, not_before=?3 WHERE msg=?1`},
		{&s.pendExists, `SELECT 1 FROM pending WHERE msg=?1`},
		{&s.recordBody, `SELECT at, body FROM records WHERE conv=?1 AND seq=?2`},
		{&s.convName, `SELECT cid FROM conversations WHERE id=?1`},
		{&s.blob, `INSERT OR IGNORE INTO blobs (hash, media_type, size, created_at, data) VALUES (?1, ?2, ?3, ?4, ?5)`},
		{&s.logLine, `INSERT INTO agent_logs (at, level, agent, name, text, attrs) VALUES (?1, ?2, ?3, ?4, ?5, ?6)`},
	}
}

func (s *statements) prepare(c *sqlite3.Conn) error {
	for _, e := range s.all() {
		st, _, err := c.PrepareFlags(e.sql, sqlite3.PREPARE_PERSISTENT)
		if err != nil {
			return fmt.Errorf("%s: %w", e.sql, err)
		}
		*e.st = st
	}
	return nil
}

func (s *statements) close() {
	for _, e := range s.all() {
		if *e.st != nil {
			_ = (*e.st).Close() // a statement's Close repeats the error of its last step
		}
	}
}

// bind sets the parameters of st, which must be of type string, []byte (text) or int64.
func bind(st *sqlite3.Stmt, args ...any) error {
	for i, a := range args {
		var err error
		switch v := a.(type) {
		case string:
			err = st.BindText(i+1, v)
		case []byte:
			err = st.BindRawText(i+1, v)
		case int64:
			err = st.BindInt64(i+1, v)
		default:
			err = fmt.Errorf("parameter %d has type %T", i+1, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func exec(st *sqlite3.Stmt, args ...any) error {
	if err := bind(st, args...); err != nil {
		return err
	}
	return st.Exec()
}

// one runs st, which must give at most one row, and scans it; ok tells whether there was one.
func one(st *sqlite3.Stmt, scan func(*sqlite3.Stmt), args ...any) (ok bool, err error) {
	if err := bind(st, args...); err != nil {
		return false, err
	}
	if st.Step() {
		scan(st)
		ok = true
	}
	return ok, st.Reset()
}

func encodeDelivery(d *caxton.Delivery) ([]byte, error) {
	return json.Marshal(d.Body())
}

func decodeDelivery(body []byte) (caxton.Delivery, error) {
	var b caxton.MessageBody
	if err := json.Unmarshal(body, &b); err != nil {
		return caxton.Delivery{}, caxton.Errorf(caxton.Internal, "journal_unreadable", "a stored message cannot be read").WithCause(err)
	}
	return b.Delivery(), nil
}

// Accept stores a message and makes it pending for its receiver, once per ID. When the ID
// is already known nothing changes, and the delivery accepted then is returned with
// duplicate true. fresh says that the ID was just made and cannot be known. A message to an
// archived conversation is a Conflict.
func (db *DB) Accept(ctx context.Context, d caxton.Delivery, fresh bool) (stored caxton.Delivery, duplicate bool, err error) {
	body, err := encodeDelivery(&d)
	if err != nil {
		return d, false, caxton.Errorf(caxton.Malformed, "content_invalid", "the message cannot be stored").WithCause(err)
	}
	stored = d
	err = db.write(ctx, func(*sqlite3.Conn) error {
		stored, duplicate = d, false
		if !fresh {
			old, found, err := db.findMessage(d.Message.ID)
			if err != nil || found {
				stored, duplicate = old, found
				return err
			}
		}
		return db.accept(&d, body)
	})
	return stored, duplicate, err
}

// accept stores a message in its conversation and makes it pending when an agent is to get it.
func (db *DB) accept(d *caxton.Delivery, body []byte) error {
	m := &d.Message
	conv, err := db.conversation(m.ConversationID, m.CreatedAt)
	if err != nil {
		return err
	}
	seq, err := db.append(conv, m.CreatedAt, caxton.RecordMessage, m.ID, m.ReceiverID, body)
	if err != nil {
		return err
	}
	if err := exec(db.stmts.message, string(m.ID), conv, seq); err != nil {
		return err
	}
	if db.writer.Changes() == 0 {
		return caxton.Errorf(caxton.Conflict, "message_known", "message %s was accepted before", m.ID)
	}
	if m.ReceiverID == "" {
		return nil
	}
	return exec(db.stmts.pend, string(m.ID), conv, seq, string(m.ReceiverID), int64(d.Version), int64(d.Attempt), micros(d.NotBefore))
}

// conversation returns the number of a conversation, making it when it is new.
func (db *DB) conversation(id caxton.ConversationID, at time.Time) (int64, error) {
	if n, ok := db.convs[id]; ok {
		return n, nil
	}
	var n, archived int64
	found, err := one(db.stmts.convFind, func(st *sqlite3.Stmt) { n, archived = st.ColumnInt64(0), st.ColumnInt64(1) }, string(id))
	if err != nil {
		return 0, err
	}
	if archived != 0 {
		return 0, caxton.Errorf(caxton.Conflict, "conversation_archived", "conversation %s is archived", id).WithHint("start a new conversation")
	}
	if !found {
		if err := exec(db.stmts.convInsert, string(id), "", micros(at)); err != nil {
			return 0, err
		}
		n = db.writer.LastInsertRowID()
		db.seqs[n] = 1
	}
	if len(db.convs) >= maxRemembered {
		clear(db.convs)
	}
	db.convs[id] = n
	return n, nil
}

// maxRemembered bounds the writer's maps of recent conversations.
const maxRemembered = 100_000

// append adds one record to a conversation's log and returns its position.
func (db *DB) append(conv int64, at time.Time, kind caxton.RecordKind, msg caxton.MessageID, agent caxton.AgentID, body []byte) (int64, error) {
	seq, ok := db.seqs[conv]
	if !ok {
		if _, err := one(db.stmts.seqMax, func(st *sqlite3.Stmt) { seq = st.ColumnInt64(0) + 1 }, conv); err != nil {
			return 0, err
		}
		if len(db.seqs) >= maxRemembered {
			clear(db.seqs)
		}
	}
	us := micros(at)
	if err := exec(db.stmts.record, conv, seq, us, string(kind), string(msg), string(agent), body); err != nil {
		return 0, err
	}
	db.seqs[conv] = seq + 1
	if us > db.touched[conv] {
		db.touched[conv] = us
	}
	return seq, nil
}

// flushTouched writes the times of last activity that were only remembered so far.
func (db *DB) flushTouched(*sqlite3.Conn) error {
	for conv, at := range db.touched {
		if err := exec(db.stmts.convTouch, conv, at); err != nil {
			return err
		}
	}
	clear(db.touched)
	return nil
}

func (db *DB) findMessage(id caxton.MessageID) (d caxton.Delivery, found bool, err error) {
	var conv, seq int64
	found, err = one(db.stmts.messageFind, func(st *sqlite3.Stmt) { conv, seq = st.ColumnInt64(0), st.ColumnInt64(1) }, string(id))
	if err != nil || !found {
		return d, false, err
	}
	var body []byte
	if _, err := one(db.stmts.recordBody, func(st *sqlite3.Stmt) { body = append(body, st.ColumnRawText(1)...) }, conv, seq); err != nil {
		return d, false, err
	}
	d, err = decodeDelivery(body)
	return d, err == nil, err
}

// Append adds records to their conversations' logs, all or none, and returns when they are
// durable. Seq and, when zero, At are given by the journal. A record of an unknown
// conversation is NotFound.
func (db *DB) Append(ctx context.Context, records ...caxton.Record) error {
	now := db.cfg.Now()
	return db.write(ctx, func(*sqlite3.Conn) error {
		for i := range records {
			r := &records[i]
			if _, known := db.convs[r.ConversationID]; !known {
				found, err := one(db.stmts.convFind, func(*sqlite3.Stmt) {}, string(r.ConversationID))
				if err != nil {
					return err
				}
				if !found {
					return errNoConversation(r.ConversationID)
				}
			}
			conv, err := db.conversation(r.ConversationID, now)
			if err != nil {
				return err
			}
			at := r.At
			if at.IsZero() {
				at = now
			}
			if _, err := db.append(conv, at, r.Kind, r.MessageID, r.AgentID, r.Body); err != nil {
				return err
			}
		}
		return nil
	})
}

// Leased records that leases were taken, so that a crash during a turn is counted as an
// attempt. Leases that were settled meanwhile are passed over.
func (db *DB) Leased(ctx context.Context, leases ...caxton.Lease) error {
	return db.write(ctx, func(*sqlite3.Conn) error {
		for i := range leases {
			l := &leases[i]
			pending, err := one(db.stmts.pendExists, func(*sqlite3.Stmt) {}, string(l.Message.ID))
			if err != nil {
				return err
			}
			if !pending {
				continue
			}
			body, err := json.Marshal(caxton.LeasedBody{Attempt: l.Attempt, Version: l.Version})
			if err != nil {
				return err
			}
			if err := db.appendTo(&l.Message, l.LeasedAt, caxton.RecordLeased, body); err != nil {
				return err
			}
			if err := exec(db.stmts.pendUpdate, string(l.Message.ID), int64(l.Attempt), int64(0)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Release records that an attempt ended without success and that the message will be tried
// again at notBefore. A message that is not pending is a Conflict.
func (db *DB) Release(ctx context.Context, l caxton.Lease, cause string, notBefore time.Time) error {
	body, err := json.Marshal(caxton.ReleasedBody{Attempt: l.Attempt, Error: cause, NotBefore: notBefore})
	if err != nil {
		return err
	}
	now := db.cfg.Now()
	return db.write(ctx, func(*sqlite3.Conn) error {
		if err := exec(db.stmts.pendUpdate, string(l.Message.ID), int64(l.Attempt), micros(notBefore)); err != nil {
			return err
		}
		if db.writer.Changes() == 0 {
			return errSettled(l.Message.ID)
		}
		return db.appendTo(&l.Message, now, caxton.RecordReleased, body)
	})
}

// Settle ends a message: it is pending no more, its outputs are accepted, and the outcome is
// in the log, all in one transaction. A message that is not pending is a Conflict with the
// code already_settled, and nothing changes.
func (db *DB) Settle(ctx context.Context, s caxton.Settlement) error {
	sb := caxton.SettledBody{
		Outcome: s.Outcome, Attempt: s.Lease.Attempt, Version: s.Lease.Version, LeasedAt: s.Lease.LeasedAt,
		Error: s.Error, Code: s.Code,
	}
	bodies := make([][]byte, len(s.Outputs))
	for i := range s.Outputs {
		b, err := encodeDelivery(&s.Outputs[i])
		if err != nil {
			return caxton.Errorf(caxton.Internal, "output_invalid", "an output cannot be stored").WithCause(err)
		}
		bodies[i] = b
		sb.Outputs = append(sb.Outputs, s.Outputs[i].Message.ID)
	}
	body, err := json.Marshal(sb)
	if err != nil {
		return err
	}
	return db.write(ctx, func(*sqlite3.Conn) error {
		if err := exec(db.stmts.pendDelete, string(s.Lease.Message.ID)); err != nil {
			return err
		}
		if db.writer.Changes() == 0 {
			return errSettled(s.Lease.Message.ID)
		}
		for i := range s.Outputs {
			if err := db.accept(&s.Outputs[i], bodies[i]); err != nil {
				return err
			}
		}
		return db.appendTo(&s.Lease.Message, s.At, caxton.RecordSettled, body)
	})
}

// appendTo adds a record about m to m's conversation.
func (db *DB) appendTo(m *caxton.Message, at time.Time, kind caxton.RecordKind, body []byte) error {
	conv, err := db.conversation(m.ConversationID, at)
	if err != nil {
		return err
	}
	_, err = db.append(conv, at, kind, m.ID, m.ReceiverID, body)
	return err
}

func errSettled(id caxton.MessageID) error {
	return caxton.Errorf(caxton.Conflict, "already_settled", "message %s is already settled", id)
}

func errNoConversation(id caxton.ConversationID) error {
	return caxton.Errorf(caxton.NotFound, "conversation_not_found", "there is no conversation %s", id).
		WithHint("caxton conversations list shows the ones there are")
}
