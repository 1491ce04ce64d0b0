package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// Reserve holds back what calls can cost at most, on every account or on none, and adds the
// records. A charge with a cap below 0 counts against the cap that the account has, and not
// at all when there is no such account. When an account has not enough left it is Exhausted
// with the code budget_exceeded, and the message has the numbers.
func (db *DB) Reserve(ctx context.Context, rs []caxton.Reservation, records ...caxton.Record) error {
	now := db.cfg.Now()
	return db.write(ctx, func(*sqlite3.Conn) error {
		missing := map[caxton.Account]bool{} // accounts that are not there and get no cap now
		for _, c := range caxton.Totals(rs) {
			var spent, reserved, limit int64
			known, err := one(db.stmts.account, func(st *sqlite3.Stmt) {
				spent, reserved, limit = st.ColumnInt64(0), st.ColumnInt64(1), st.ColumnInt64(2)
			}, c.Name, string(c.Unit))
			if err != nil {
				return err
			}
			if c.Cap < 0 && !known {
				missing[c.Account] = true
				continue
			}
			c = c.Under(limit)
			if err := c.Fits(spent, reserved); err != nil {
				return err
			}
			if err := exec(db.stmts.accountPut, c.Name, string(c.Unit), c.Cap, spent, reserved+c.Amount, micros(now)); err != nil {
				return err
			}
		}
		for _, r := range rs {
			held := slices.DeleteFunc(slices.Clone(r.Charges), func(c caxton.Charge) bool { return missing[c.Account] })
			charges, err := json.Marshal(held)
			if err != nil {
				return err
			}
			if err := exec(db.stmts.reservation, string(r.MessageID), r.ID, charges); err != nil {
				return err
			}
			db.writing.tx.reserved[r.MessageID]++
		}
		return db.appendAll(records)
	})
}

// Book settles a reservation: what the call did cost is spent, the rest is free again; an
// account that cost leaves out is charged with nothing. The records are added in the same
// step. A reservation that was booked before is passed over.
func (db *DB) Book(ctx context.Context, msg caxton.MessageID, id string, cost []caxton.Charge, records ...caxton.Record) error {
	now := db.cfg.Now()
	return db.write(ctx, func(*sqlite3.Conn) error {
		if err := db.book(msg, id, cost, now); err != nil {
			return err
		}
		return db.appendAll(records)
	})
}

func (db *DB) book(msg caxton.MessageID, id string, cost []caxton.Charge, now time.Time) error {
	var text []byte
	found, err := one(db.stmts.reservationFind, func(st *sqlite3.Stmt) { text = append(text, st.ColumnRawText(0)...) }, string(msg), id)
	if err != nil || !found {
		return err
	}
	var held []caxton.Charge
	if err := json.Unmarshal(text, &held); err != nil {
		return caxton.Errorf(caxton.Internal, "journal_unreadable", "a stored reservation cannot be read").WithCause(err)
	}
	for _, h := range held {
		spent := int64(0)
		for _, c := range cost {
			if c.Name == h.Name && c.Unit == h.Unit {
				spent = c.Amount
			}
		}
		if err := exec(db.stmts.accountAdd, h.Name, string(h.Unit), spent, h.Amount, micros(now)); err != nil {
			return err
		}
	}
	db.writing.tx.reserved[msg]--
	return exec(db.stmts.reservationDelete, string(msg), id)
}

// bookLost books in full what a message that is being settled still holds back.
func (db *DB) bookLost(m *caxton.Message, now time.Time) error {
	msg := m.ID
	if db.writing.reserved[msg]+db.writing.tx.reserved[msg] <= 0 {
		return nil
	}
	open := map[string][]caxton.Charge{}
	st, _, err := db.writer.Prepare(`SELECT id, charges FROM reservations WHERE msg=?1`)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := bind(st, string(msg)); err != nil {
		return err
	}
	for st.Step() {
		var held []caxton.Charge
		if err := json.Unmarshal(st.ColumnRawText(1), &held); err != nil {
			return err
		}
		open[st.ColumnText(0)] = held
	}
	if err := st.Err(); err != nil {
		return err
	}
	for id, held := range open {
		if err := db.book(msg, id, held, now); err != nil {
			return err
		}
		body, err := json.Marshal(caxton.BudgetSettledBody{ID: id, Cost: held, Lost: true})
		if err != nil {
			return err
		}
		if err := db.appendTo(m, now, caxton.RecordBudgetSettled, body); err != nil {
			return err
		}
	}
	return nil
}

// BudgetUses returns the accounts whose names begin with the prefix, by name.
func (db *DB) BudgetUses(ctx context.Context, prefix string) ([]caxton.BudgetUse, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT name, unit, cap, spent, reserved, updated_at FROM accounts
		WHERE name>=? AND name<? ORDER BY name, unit`, prefix, prefix+"\U0010FFFF") // a range of the primary key
	if err != nil {
		return nil, storageError("read budgets", err)
	}
	return collect(rows, func(rows *sql.Rows) (caxton.BudgetUse, error) {
		var u caxton.BudgetUse
		var at int64
		err := rows.Scan(&u.Name, &u.Unit, &u.Cap, &u.Spent, &u.Reserved, &at)
		u.At = fromMicros(at)
		return u, err
	})
}
