package sqlite

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// Open adds records to their conversations' logs together with the tickets that they open,
// all or none. A ticket that is open already stays as it is; one that was closed opens again.
func (db *DB) Open(ctx context.Context, tickets []caxton.Ticket, records ...caxton.Record) error {
	return db.write(ctx, func(*sqlite3.Conn) error {
		for i := range tickets {
			old, err := db.findTicket(tickets[i].Kind, tickets[i].ID)
			if caxton.KindOf(err) == caxton.NotFound || err == nil && !old.State.Open() {
				err = db.putTicket(&tickets[i])
			}
			if err != nil {
				return err
			}
		}
		return db.appendAll(records)
	})
}

// Amend changes a ticket: change is given it as it stands and says what becomes of it, of
// the log, and of its message, all in one transaction. The delivery returned is the message
// that is to be handed out now, or nil. It is not woken while another ticket of the same kind
// waits for somebody. change may run twice. Errors: NotFound, what change
// says, and Conflict when a message to be reopened is not settled.
func (db *DB) Amend(ctx context.Context, kind caxton.TicketKind, id string, change func(caxton.Ticket) (caxton.Amendment, error)) (t caxton.Ticket, woken *caxton.Delivery, err error) {
	err = db.write(ctx, func(*sqlite3.Conn) error {
		woken = nil
		old, err := db.findTicket(kind, id)
		if err != nil {
			return err
		}
		a, err := change(old)
		if err != nil {
			return err
		}
		t = a.Ticket
		if err := db.putTicket(&t); err != nil {
			return err
		}
		if err := db.appendAll(a.Records); err != nil {
			return err
		}
		if a.Wake == caxton.WakeNot {
			return nil
		}
		more, err := one(db.stmts.ticketOpen, func(*sqlite3.Stmt) {}, string(t.MessageID), string(kind))
		if err != nil || more {
			return err
		}
		woken, err = db.wake(t.MessageID, a.Wake)
		return err
	})
	return t, woken, err
}

// wake makes a message one that is to be handed out at once.
func (db *DB) wake(id caxton.MessageID, how caxton.Wake) (*caxton.Delivery, error) {
	switch how {
	case caxton.WakeNot:
		return nil, nil //nolint:nilnil // nothing is woken
	case caxton.WakeNow:
		if !db.writing.unsettled(id) {
			return nil, nil //nolint:nilnil // settled meanwhile: nothing waits for the decision
		}
		if err := exec(db.stmts.pendNow, string(id)); err != nil {
			return nil, err
		}
	case caxton.WakeReopen:
		if db.writing.unsettled(id) {
			return nil, caxton.Errorf(caxton.Conflict, "message_not_settled", "message %s is still being handled", id)
		}
	}
	d, found, err := db.findMessage(id)
	if err != nil || !found {
		return nil, err
	}
	if how == caxton.WakeReopen {
		if err := db.pastOutputs(&d); err != nil {
			return nil, err
		}
		return &d, db.pend(&d)
	}
	return &d, nil
}

// pastOutputs counts the outputs of a message's earlier settlements, so that new ones get
// other IDs.
func (db *DB) pastOutputs(d *caxton.Delivery) error {
	st, _, err := db.writer.Prepare(`SELECT coalesce(iif(json_valid(body), json_array_length(body, '$.outputs'), NULL), 0), coalesce(iif(json_valid(body), json_extract(body, '$.attempt'), NULL), 0)
		FROM records WHERE conv=?1 AND msg=?2 AND kind='settled'`)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := bind(st, string(d.Message.ConversationID), string(d.Message.ID)); err != nil {
		return err
	}
	for st.Step() {
		d.Outputs += st.ColumnInt(0)
		d.Attempt = max(d.Attempt, st.ColumnInt(1))
	}
	d.Parked = d.Attempt // the attempts before do not count any more
	return st.Err()
}

func (db *DB) findTicket(kind caxton.TicketKind, id string) (t caxton.Ticket, err error) {
	var body []byte
	found, err := one(db.stmts.ticketFind, func(st *sqlite3.Stmt) { body = append(body, st.ColumnRawText(0)...) }, string(kind), id)
	if err != nil {
		return t, err
	}
	if !found {
		return t, errNoTicket(kind, id)
	}
	return t, decodeTicket(body, &t)
}

func decodeTicket(body []byte, t *caxton.Ticket) error {
	if err := json.Unmarshal(body, t); err != nil {
		return caxton.Errorf(caxton.Internal, "journal_unreadable", "a stored ticket cannot be read").WithCause(err)
	}
	return nil
}

func errNoTicket(kind caxton.TicketKind, id string) error {
	return caxton.Errorf(caxton.NotFound, string(kind)+"_not_found", "there is no %s %s", kind.Noun(), id)
}

// withdraw closes the approvals that a message has asked for and nobody has decided: it is
// being settled. Only a message that was put aside can have any.
func (db *DB) withdraw(s *caxton.Settlement) error {
	if err := bind(db.stmts.ticketsOpen, string(s.Lease.Message.ID)); err != nil {
		return err
	}
	var open []caxton.Ticket
	for db.stmts.ticketsOpen.Step() {
		var t caxton.Ticket
		if err := decodeTicket(db.stmts.ticketsOpen.ColumnRawText(0), &t); err != nil {
			return errors.Join(err, db.stmts.ticketsOpen.Reset())
		}
		open = append(open, t)
	}
	if err := db.stmts.ticketsOpen.Reset(); err != nil {
		return err
	}
	for i := range open {
		t, what := open[i].Withdraw(s.Outcome, s.At)
		body, err := json.Marshal(what)
		if err != nil {
			return err
		}
		if err := db.putTicket(&t); err != nil {
			return err
		}
		if err := db.appendTo(&s.Lease.Message, s.At, caxton.RecordDecided, body); err != nil {
			return err
		}
	}
	return nil
}

// reopenTicket stores a ticket that opens, with the decisions of its earlier life.
func (db *DB) reopenTicket(t caxton.Ticket) error {
	old, err := db.findTicket(t.Kind, t.ID)
	switch {
	case caxton.KindOf(err) == caxton.NotFound:
	case err != nil:
		return err
	default:
		t.Decisions = old.Decisions
	}
	return db.putTicket(&t)
}

func (db *DB) putTicket(t *caxton.Ticket) error {
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	open := int64(0)
	if t.State.Open() {
		open = 1
	}
	return exec(db.stmts.ticketPut, string(t.Kind), t.ID, string(t.State), open, string(t.ConversationID), string(t.MessageID),
		string(t.AgentID), micros(t.OpenedAt), body)
}

// Ticket returns one ticket, or NotFound.
func (db *DB) Ticket(ctx context.Context, kind caxton.TicketKind, id string) (t caxton.Ticket, err error) {
	var body []byte
	err = db.read.QueryRowContext(ctx, `SELECT body FROM tickets WHERE kind=? AND id=?`, string(kind), id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return t, errNoTicket(kind, id)
	}
	if err != nil {
		return t, storageError("read ticket", err)
	}
	return t, decodeTicket(body, &t)
}

// Tickets returns a page of the tickets that q selects, newest first, and the cursor of the
// next page, "" on the last one.
func (db *DB) Tickets(ctx context.Context, q caxton.TicketQuery) (page []caxton.Ticket, next string, err error) {
	limit := q.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	where, args := []string{"kind=?"}, []any{string(q.Kind)}
	add := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if q.Before != "" {
		at, id, err := parseCursor(q.Before)
		if err != nil {
			return nil, "", err
		}
		add(`(opened_at, id) < (?, ?)`, at, id)
	}
	if q.Open {
		add(`open=1`)
	}
	if q.State != "" {
		add(`state=?`, string(q.State))
	}
	if q.ConversationID != "" {
		add(`conv=?`, string(q.ConversationID))
	}
	if q.MessageID != "" {
		add(`msg=?`, string(q.MessageID))
	}
	if q.AgentID != "" {
		add(`agent=?`, string(q.AgentID))
	}
	args = append(args, limit+1)
	rows, err := db.read.QueryContext(ctx, `SELECT body FROM tickets WHERE `+strings.Join(where, " AND ")+ //nolint:gosec // the conditions are constants, the values are bound
		` ORDER BY opened_at DESC, id DESC LIMIT ?`, args...)
	if err != nil {
		return nil, "", storageError("list tickets", err)
	}
	page, err = collect(rows, func(rows *sql.Rows) (t caxton.Ticket, err error) {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return t, err
		}
		return t, decodeTicket(body, &t)
	})
	if len(page) > limit {
		page = page[:limit]
		last := &page[limit-1]
		next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%s", micros(last.OpenedAt), last.ID))
	}
	return page, next, err
}

// OpenTickets counts the tickets that wait, by kind.
func (db *DB) OpenTickets(ctx context.Context) (map[caxton.TicketKind]int, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT kind, count(*) FROM tickets WHERE open=1 GROUP BY kind`)
	if err != nil {
		return nil, storageError("count tickets", err)
	}
	counts := map[caxton.TicketKind]int{}
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var kind caxton.TicketKind
		var n int
		err := rows.Scan(&kind, &n)
		counts[kind] = n
		return struct{}{}, err
	})
	return counts, err
}
