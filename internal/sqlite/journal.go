package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// statements are the prepared statements of the hot path, on the writer connection.
type statements struct {
	begin, commit           *sqlite3.Stmt
	convFind, convTouch     *sqlite3.Stmt
	seqMax, record          *sqlite3.Stmt
	message                 *sqlite3.Stmt
	pend, pendDelete        *sqlite3.Stmt
	pendAttempt, pendNow    *sqlite3.Stmt
	ticketFind, ticketPut   *sqlite3.Stmt
	ticketOpen, ticketsOpen *sqlite3.Stmt
	account, accountPut     *sqlite3.Stmt
	accountAdd              *sqlite3.Stmt
	reservation             *sqlite3.Stmt
	reservationFind         *sqlite3.Stmt
	reservationDelete       *sqlite3.Stmt
	metaGet, metaSet        *sqlite3.Stmt
	blob, logLine           *sqlite3.Stmt
}

// A prepared is a statement and its text.
type prepared struct {
	st  **sqlite3.Stmt
	sql string
}

func (s *statements) all() []prepared {
	return []prepared{
		{&s.begin, `BEGIN IMMEDIATE`},
		{&s.commit, `COMMIT`},
		{&s.convFind, `SELECT archived FROM conversations WHERE cid=?1`},
		{&s.convTouch, `INSERT INTO conversations (cid, created_at, updated_at, parent) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (cid) DO UPDATE SET updated_at=max(updated_at, excluded.updated_at)`},
		{&s.seqMax, `SELECT coalesce(max(seq), 0) FROM records WHERE conv=?1`},
		{&s.record, `INSERT INTO records (conv, seq, at, kind, msg, agent, body, n) VALUES (?1, ?2, ?3, ?4, ?5, ?6, CAST(?7 AS TEXT), ?8)`},
		{&s.message, `SELECT body FROM records WHERE msg=?1 AND kind='message'`},
		{&s.pend, `INSERT INTO pending (msg, attempt, not_before, parked, outputs) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (msg) DO UPDATE SET attempt=excluded.attempt, not_before=excluded.not_before, parked=excluded.parked, outputs=excluded.outputs`},
		{&s.pendAttempt, `SELECT attempt FROM pending WHERE msg=?1`},
		{&s.pendNow, `UPDATE pending SET not_before=0 WHERE msg=?1`},
		{&s.ticketFind, `SELECT body FROM tickets WHERE kind=?1 AND id=?2`},
		{&s.ticketOpen, `SELECT 1 FROM tickets WHERE msg=?1 AND kind=?2 AND open=1 LIMIT 1`},
		{&s.ticketsOpen, `SELECT body FROM tickets WHERE msg=?1 AND kind='approval' AND open=1 ORDER BY id`},
		{&s.ticketPut, `INSERT INTO tickets (kind, id, state, open, conv, msg, agent, opened_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
			ON CONFLICT (kind, id) DO UPDATE SET state=excluded.state, open=excluded.open, opened_at=excluded.opened_at, body=excluded.body`},
		{&s.account, `SELECT spent, reserved, cap FROM accounts WHERE name=?1 AND unit=?2`},
		{&s.accountPut, `INSERT INTO accounts (name, unit, cap, spent, reserved, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT (name, unit) DO UPDATE SET cap=excluded.cap, spent=excluded.spent, reserved=excluded.reserved, updated_at=excluded.updated_at`},
		{&s.accountAdd, `UPDATE accounts SET spent=spent+?3, reserved=reserved-?4, updated_at=?5 WHERE name=?1 AND unit=?2`},
		{&s.reservation, `INSERT INTO reservations (msg, id, charges) VALUES (?1, ?2, ?3)`},
		{&s.reservationFind, `SELECT charges FROM reservations WHERE msg=?1 AND id=?2`},
		{&s.reservationDelete, `DELETE FROM reservations WHERE msg=?1 AND id=?2`},
		{&s.pendDelete, `DELETE FROM pending WHERE msg=?1`},
		{&s.metaGet, `SELECT value FROM meta WHERE key=?1`},
		{&s.metaSet, `INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value=excluded.value`},
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

// raw is bound as it is, without a copy in between: the statement makes a text of it.
type raw []byte

// bind sets the parameters of st, which must be of type string, []byte (text), raw or int64.
func bind(st *sqlite3.Stmt, args ...any) error {
	for i, a := range args {
		var err error
		switch v := a.(type) {
		case string:
			err = st.BindText(i+1, v)
		case []byte:
			err = st.BindRawText(i+1, v)
		case raw:
			err = st.BindBlob(i+1, v)
		case int64:
			err = st.BindInt64(i+1, v)
		default:
			err = fmt.Errorf("parameter %d is of another type", i+1) // without it, so that no argument is moved to the heap
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

// bodySize is what the body of a record has room for, beside what it carries.
const bodySize = 640

func encodeDelivery(d *caxton.Delivery) ([]byte, error) {
	b := d.Body()
	return b.AppendJSON(make([]byte, 0, bodySize+len(d.Message.Content)))
}

func decodeDelivery(body []byte) (caxton.Delivery, error) {
	var b caxton.MessageBody
	if err := json.Unmarshal(body, &b); err != nil {
		return caxton.Delivery{}, caxton.Errorf(caxton.Internal, "journal_unreadable", "a stored message cannot be read").WithCause(err)
	}
	return b.Delivery(), nil
}

// decodeMessage returns the message of a stored delivery. It does not read how the receiver was
// chosen, which of a message to many is most of it, and comes behind the message.
func decodeMessage(body []byte) (caxton.Message, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var b caxton.MessageBody
	if _, err := dec.Token(); err == nil {
		if key, err := dec.Token(); err == nil && key == "message" && dec.Decode(&b.Message) == nil {
			return b.Delivery().Message, nil
		}
	}
	d, err := decodeDelivery(body)
	return d.Message, err
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
	n, seq, err := db.append(m.ConversationID, m.CreatedAt, caxton.RecordMessage, m.ID, m.ReceiverID, body, true)
	if err != nil {
		return err
	}
	if seq == 1 && m.Parent != "" {
		db.writing.parent(m.ConversationID, m.Parent)
	}
	if m.ReceiverID != "" {
		db.writing.tx.opened[m.ID] = n // recovery finds it; see flush
	}
	return nil
}

// append adds one record to a conversation's log and returns its position in the log of the
// server and in its own. A conversation that has no record yet begins with it, if it may. An
// archived one is a Conflict, and so is a message that is known.
func (db *DB) append(conv caxton.ConversationID, at time.Time, kind caxton.RecordKind, msg caxton.MessageID, agent caxton.AgentID, body []byte, begin bool) (n, seq int64, err error) {
	seq, ok := db.writing.end(conv)
	if !ok && begin && db.writing.unseen(conv) {
		seq, ok = 1, true
	}
	if !ok {
		archived := false
		if _, err := one(db.stmts.convFind, func(st *sqlite3.Stmt) { archived = st.ColumnBool(0) }, string(conv)); err != nil {
			return 0, 0, err
		}
		if archived {
			return 0, 0, caxton.Errorf(caxton.Conflict, "conversation_archived", "conversation %s is archived", conv).WithHint("start a new conversation")
		}
		if _, err := one(db.stmts.seqMax, func(st *sqlite3.Stmt) { seq = st.ColumnInt64(0) + 1 }, string(conv)); err != nil {
			return 0, 0, err
		}
		if seq == 1 && !begin {
			return 0, 0, errNoConversation(conv)
		}
	}
	us := micros(at)
	if n, err = db.position(); err != nil {
		return 0, 0, err
	}
	if err := exec(db.stmts.record, string(conv), seq, us, string(kind), string(msg), string(agent), raw(body), n); err != nil {
		if kind == caxton.RecordMessage && errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) {
			if known, kerr := one(db.stmts.message, func(*sqlite3.Stmt) {}, string(msg)); known && kerr == nil {
				err = caxton.Errorf(caxton.Conflict, "message_known", "message %s was accepted before", msg)
			}
		}
		return 0, 0, err
	}
	db.writing.note(conv, seq, us)
	if db.writing.tx.fed {
		db.writing.tx.records = append(db.writing.tx.records, caxton.Record{
			ConversationID: conv, Seq: seq, N: n, At: fromMicros(us), Kind: kind, MessageID: msg, AgentID: agent, Body: bytes.Clone(body),
		})
	}
	return n, seq, nil
}

func (db *DB) findMessage(id caxton.MessageID) (d caxton.Delivery, found bool, err error) {
	var body []byte
	found, err = one(db.stmts.message, func(st *sqlite3.Stmt) { body = append(body, st.ColumnRawText(0)...) }, string(id))
	if err != nil || !found {
		return d, false, err
	}
	d, err = decodeDelivery(body)
	return d, err == nil, err
}

// Append adds records to their conversations' logs, all or none, and returns when they are
// durable. Seq and, when zero, At are given by the journal. A record of an unknown
// conversation is NotFound.
func (db *DB) Append(ctx context.Context, records ...caxton.Record) error {
	return db.write(ctx, func(*sqlite3.Conn) error { return db.appendAll(records) })
}

func (db *DB) appendAll(records []caxton.Record) error {
	for i := range records {
		r := &records[i]
		at := r.At
		if at.IsZero() {
			at = db.cfg.Now()
		}
		if _, _, err := db.append(r.ConversationID, at, r.Kind, r.MessageID, r.AgentID, r.Body, false); err != nil {
			return err
		}
	}
	return nil
}

// Leased records that leases were taken, so that a crash during a turn is counted as an
// attempt. Leases that were settled or put back meanwhile are passed over.
func (db *DB) Leased(ctx context.Context, leases ...caxton.Lease) error {
	return db.write(ctx, func(*sqlite3.Conn) error {
		for i := range leases {
			l := &leases[i]
			if !db.writing.unsettled(l.Message.ID) {
				continue
			}
			known := 0
			if _, err := one(db.stmts.pendAttempt, func(st *sqlite3.Stmt) { known = st.ColumnInt(0) }, string(l.Message.ID)); err != nil {
				return err
			}
			if known >= l.Attempt {
				continue
			}
			body, err := json.Marshal(caxton.LeasedBody{Attempt: l.Attempt, Version: l.Version})
			if err != nil {
				return err
			}
			if err := db.appendTo(&l.Message, l.LeasedAt, caxton.RecordLeased, body); err != nil {
				return err
			}
			d := l.Delivery
			d.NotBefore = time.Time{}
			if err := db.pend(&d); err != nil {
				return err
			}
		}
		return nil
	})
}

// Release records that an attempt ended without success and that the message will be tried
// again at notBefore. A message that is not pending is a Conflict.
func (db *DB) Release(ctx context.Context, l caxton.Lease, cause string, notBefore time.Time) error {
	now := db.cfg.Now()
	return db.write(ctx, func(*sqlite3.Conn) error {
		return db.putBack(l.Delivery, notBefore, now, caxton.RecordReleased, caxton.ReleasedBody{Attempt: l.Attempt, Error: cause, NotBefore: notBefore})
	})
}

// Park records that a message was put aside until the time that p gives, or until Amend
// wakes it, and returns that time: zero when it waits for an approval and none is open any
// more, because the decision was quicker. A message that is not pending is a Conflict.
func (db *DB) Park(ctx context.Context, l caxton.Lease, p caxton.Parked) (time.Time, error) {
	now := db.cfg.Now()
	l.Parked++
	var effective time.Time
	err := db.write(ctx, func(*sqlite3.Conn) error {
		effective = p.Until
		if p.Ticket {
			waits, err := one(db.stmts.ticketOpen, func(*sqlite3.Stmt) {}, string(l.Message.ID), string(caxton.Approval))
			if err != nil {
				return err
			}
			if !waits {
				effective = time.Time{}
			}
		}
		return db.putBack(l.Delivery, effective, now, caxton.RecordParked, caxton.ParkedBody{Attempt: l.Attempt, Reason: p.Reason, Until: p.Until})
	})
	return effective, err
}

// putBack ends a lease without settling the message.
func (db *DB) putBack(d caxton.Delivery, notBefore, now time.Time, kind caxton.RecordKind, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	d.NotBefore = notBefore
	if !db.writing.unsettled(d.Message.ID) {
		return errSettled(d.Message.ID)
	}
	if err := db.pend(&d); err != nil {
		return err
	}
	return db.appendTo(&d.Message, now, kind, body)
}

// Settle ends a message: it is pending no more, its outputs are accepted, and the outcome is
// in the log, all in one transaction. A message that is not pending is a Conflict with the
// code already_settled, and nothing changes.
func (db *DB) Settle(ctx context.Context, s caxton.Settlement) error {
	sb := caxton.SettledBody{
		Outcome: s.Outcome, Attempt: s.Lease.Attempt, Version: s.Lease.Version, LeasedAt: s.Lease.LeasedAt,
		Error: s.Error, Code: s.Code, Tickets: s.Tickets, Module: s.Module,
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
	body, err := sb.AppendJSON(make([]byte, 0, bodySize))
	if err != nil {
		return err
	}
	return db.write(ctx, func(*sqlite3.Conn) error {
		id := s.Lease.Message.ID
		if !db.writing.unsettled(id) {
			return errSettled(id)
		}
		if db.writing.stored(id) {
			if err := exec(db.stmts.pendDelete, string(id)); err != nil {
				return err
			}
		}
		db.writing.tx.closed[id] = true
		for i := range s.Outputs {
			if err := db.accept(&s.Outputs[i], bodies[i]); err != nil {
				return err
			}
		}
		for i := range s.Tickets {
			if err := db.reopenTicket(s.Tickets[i]); err != nil {
				return err
			}
		}
		if err := db.bookLost(&s.Lease.Message, s.At); err != nil {
			return err
		}
		if s.Lease.Parked > 0 {
			if err := db.withdraw(&s); err != nil {
				return err
			}
		}
		return db.appendTo(&s.Lease.Message, s.At, caxton.RecordSettled, body)
	})
}

// pend keeps what is known of the attempts at an unsettled message.
func (db *DB) pend(d *caxton.Delivery) error {
	db.writing.tx.opened[d.Message.ID] = stored
	delete(db.writing.tx.closed, d.Message.ID) // it may be settled and reopened at once
	return exec(db.stmts.pend, string(d.Message.ID), int64(d.Attempt), micros(d.NotBefore), int64(d.Parked), int64(d.Outputs))
}

// appendTo adds a record about m to m's conversation.
func (db *DB) appendTo(m *caxton.Message, at time.Time, kind caxton.RecordKind, body []byte) error {
	_, _, err := db.append(m.ConversationID, at, kind, m.ID, m.ReceiverID, body, false)
	return err
}

func errSettled(id caxton.MessageID) error {
	return caxton.Errorf(caxton.Conflict, "already_settled", "message %s is already settled", id)
}

func errNoConversation(id caxton.ConversationID) error {
	return caxton.Errorf(caxton.NotFound, "conversation_not_found", "there is no conversation %s", id).
		WithHint("caxton conversations list shows the ones there are")
}
