package sqlite

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// KeysConfig bounds what Keys remembers. Zero fields mean the defaults given here.
type KeysConfig struct {
	Life     time.Duration // how long an answer is kept: 24 h
	Max      int64         // keys kept at most; then new ones are refused: 100,000
	MaxBytes int64         // size of all answers; beyond it only the fact is kept: 256 MiB
}

// Keys remembers requests by their idempotency key. It is safe for concurrent use. A key
// that was reserved by an earlier Keys, and never stored or released, died with its process:
// the same request may have it again.
type Keys struct {
	db  *DB
	cfg KeysConfig
	run string // tells this process's reservations from those of dead ones
}

// NewKeys returns the keys kept in db. A database has one Keys at a time.
func NewKeys(db *DB, cfg KeysConfig) *Keys {
	cfg.Life = cmp.Or(cfg.Life, 24*time.Hour)
	cfg.Max = cmp.Or(cfg.Max, 100_000)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 256<<20)
	return &Keys{db: db, cfg: cfg, run: rand.Text()}
}

// ReserveKey takes a key for the request with the fingerprint given. When it is taken
// already, fresh is false and old is the request that has it. Exhausted when no more keys
// can be remembered: an old one is never forgotten before its time.
func (k *Keys) ReserveKey(ctx context.Context, key, fingerprint string) (old caxton.KeyedRequest, fresh bool, err error) {
	err = k.db.write(ctx, func(c *sqlite3.Conn) error {
		old, fresh = caxton.KeyedRequest{}, false // it may run twice
		now := k.db.cfg.Now()
		dead := micros(now.Add(-k.cfg.Life))
		if err := execSQL(c, `DELETE FROM idempotency_keys WHERE at<?1`, dead); err != nil {
			return err
		}
		var run string
		taken, err := oneSQL(c, `SELECT fingerprint, run, done, answer FROM idempotency_keys WHERE key=?1`, func(st *sqlite3.Stmt) {
			old.Fingerprint, run, old.Done = st.ColumnText(0), st.ColumnText(1), st.ColumnInt(2) != 0
			if s := st.ColumnText(3); s != "" {
				old.Answer = []byte(s)
			}
		}, key)
		switch {
		case err != nil:
			return err
		case taken && (old.Done || run == k.run || old.Fingerprint != fingerprint):
			return nil
		case taken: // by a process that is dead
			old, fresh = caxton.KeyedRequest{}, true
			return execSQL(c, `UPDATE idempotency_keys SET run=?2, at=?3 WHERE key=?1`, key, k.run, micros(now))
		}
		var n int64
		if _, err := oneSQL(c, `SELECT count(*) FROM idempotency_keys`, func(st *sqlite3.Stmt) { n = st.ColumnInt64(0) }); err != nil {
			return err
		}
		if n >= k.cfg.Max {
			return caxton.Errorf(caxton.Exhausted, "idempotency_keys_full", "%d keys were used within %s; no more can be remembered", n, k.cfg.Life).
				WithHint("send the request without a key, or later")
		}
		fresh = true
		return execSQL(c, `INSERT INTO idempotency_keys (key, fingerprint, run, at, done, answer, size) VALUES (?1, ?2, ?3, ?4, 0, '', 0)`,
			key, fingerprint, k.run, micros(now))
	})
	if err != nil {
		return caxton.KeyedRequest{}, false, err
	}
	return old, fresh, nil
}

// StoreKey keeps the answer to the request that reserved a key, for the life of an answer
// from now. A nil answer, and one for which there is no room, keeps the fact only.
func (k *Keys) StoreKey(ctx context.Context, key string, answer []byte) error {
	return k.db.write(ctx, func(c *sqlite3.Conn) error {
		var sum int64
		if _, err := oneSQL(c, `SELECT coalesce(sum(size), 0) FROM idempotency_keys`, func(st *sqlite3.Stmt) { sum = st.ColumnInt64(0) }); err != nil {
			return err
		}
		text := string(answer)
		if sum+int64(len(text)) > k.cfg.MaxBytes {
			text = ""
		}
		return execSQL(c, `UPDATE idempotency_keys SET done=1, at=?3, answer=?4, size=?5 WHERE key=?1 AND run=?2`,
			key, k.run, micros(k.db.cfg.Now()), text, int64(len(text)))
	})
}

// ReleaseKey gives up a reservation: the request failed in a way that invites to repeat it.
func (k *Keys) ReleaseKey(ctx context.Context, key string) error {
	return k.db.write(ctx, func(c *sqlite3.Conn) error {
		return execSQL(c, `DELETE FROM idempotency_keys WHERE key=?1 AND run=?2 AND done=0`, key, k.run)
	})
}

// oneSQL prepares a statement, reads its one row, if there is one, and closes it: for what
// is not on the hot path.
func oneSQL(c *sqlite3.Conn, query string, scan func(*sqlite3.Stmt), args ...any) (ok bool, err error) {
	st, _, err := c.Prepare(query)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return one(st, scan, args...)
}
