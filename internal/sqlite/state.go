package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// A StateChange is one write to what an agent keeps.
type StateChange struct {
	Key    string
	Value  []byte
	Delete bool
}

// StateLimits bound what one agent keeps.
type StateLimits struct {
	Size caxton.Size // of all keys and values
	Keys int64
}

// keptTurns is how many turns of an agent are remembered that changed its state: far more
// than can be at work when the process dies.
const keptTurns = 10_000

// lineOf is the line of a version: what it and the versions that share it keep.
const lineOf = `coalesce((SELECT line FROM agent_state_lines WHERE agent=?1 AND version=?2), 0)`

// AgentState returns what a version of an agent keeps under a key, and false when it keeps
// nothing there.
func (db *DB) AgentState(ctx context.Context, agent caxton.AgentID, version int, key string) (value []byte, ok bool, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT value FROM agent_state WHERE agent=?1 AND line=`+lineOf+` AND key=?3`, string(agent), version, key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return value, err == nil, storageError("read state", err)
}

// NextStateKey returns the first key of a version of an agent that comes after another one, in
// the order of their bytes, and false when there is none.
func (db *DB) NextStateKey(ctx context.Context, agent caxton.AgentID, version int, after string) (key string, ok bool, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT key FROM agent_state WHERE agent=?1 AND line=`+lineOf+` AND key>?3 ORDER BY key LIMIT 1`,
		string(agent), version, after).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return key, err == nil, storageError("read state", err)
}

// StateCommitted returns what a turn said that has changed the agent's state already, and
// false when it has not.
func (db *DB) StateCommitted(ctx context.Context, agent caxton.AgentID, msg caxton.MessageID) (outputs []byte, ok bool, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT outputs FROM agent_state_turns WHERE agent=? AND msg=?`, string(agent), string(msg)).Scan(&outputs)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return outputs, err == nil, storageError("read state", err)
}

// CommitState makes the changes of a turn of a version and keeps what it said, in one
// transaction. It does nothing when the turn did so before, or when there is no such agent any
// more. Errors: Invalid when the version would keep more than the limits: it does so again when
// it is tried again.
func (db *DB) CommitState(ctx context.Context, agent caxton.AgentID, version int, msg caxton.MessageID, changes []StateChange, outputs []byte, most StateLimits) error {
	if outputs == nil {
		outputs = []byte{}
	}
	// A transaction that fails takes others of its group with it, so the limits are looked at
	// before anything is written.
	var full error
	err := db.write(ctx, func(c *sqlite3.Conn) error {
		full = nil // it may be done again
		_, there, err := number(c, `SELECT 1 FROM agents WHERE id=?1`, string(agent))
		if err != nil || !there {
			return err
		}
		if _, done, err := number(c, `SELECT 1 FROM agent_state_turns WHERE agent=?1 AND msg=?2`, string(agent), string(msg)); err != nil || done {
			return err
		}
		line, _, err := number(c, `SELECT `+lineOf, string(agent), int64(version))
		if err != nil {
			return err
		}
		size, err := stateSize(c, agent, line, changes)
		if err != nil {
			return err
		}
		if size.over(most) {
			full = errStateFull(size, most)
			return nil
		}
		if err := changeState(c, agent, line, changes, size); err != nil {
			return err
		}
		turns, _, err := number(c, `SELECT max(n) FROM agent_state_turns WHERE agent=?1`, string(agent))
		if err != nil {
			return err
		}
		turns++
		if err := execSQL(c, `INSERT INTO agent_state_turns (agent, n, msg, outputs) VALUES (?1, ?2, ?3, ?4)`,
			string(agent), turns, string(msg), outputs); err != nil {
			return err
		}
		return execSQL(c, `DELETE FROM agent_state_turns WHERE agent=?1 AND n<=?2`, string(agent), turns-keptTurns)
	})
	return errors.Join(err, full)
}

// A stateUse is how much a line holds.
type stateUse struct{ bytes, keys int64 }

// over reports whether that is more than a line may hold.
func (u stateUse) over(most StateLimits) bool {
	return u.bytes > int64(most.Size) || u.keys > most.Keys
}

func errStateFull(u stateUse, most StateLimits) error {
	return caxton.Errorf(caxton.Invalid, "state_full", "the agent would keep %d values of %v together; it may keep %d of %v", u.keys, caxton.Size(u.bytes), most.Keys, most.Size).
		WithHint("have it remove what it needs no more, or raise wasm.state_limit and wasm.state_keys")
}

// stateSize returns how much a line would hold after changes.
func stateSize(c *sqlite3.Conn, agent caxton.AgentID, line int64, changes []StateChange) (u stateUse, err error) {
	if u.bytes, _, err = number(c, `SELECT bytes FROM agent_state_size WHERE agent=?1 AND line=?2`, string(agent), line); err != nil {
		return u, err
	}
	if u.keys, _, err = number(c, `SELECT keys FROM agent_state_size WHERE agent=?1 AND line=?2`, string(agent), line); err != nil {
		return u, err
	}
	for i := range changes {
		ch := &changes[i]
		old, had, err := number(c, `SELECT octet_length(value) FROM agent_state WHERE agent=?1 AND line=?2 AND key=?3`, string(agent), line, ch.Key)
		if err != nil {
			return u, err
		}
		if had {
			u.bytes, u.keys = u.bytes-old-int64(len(ch.Key)), u.keys-1
		}
		if !ch.Delete {
			u.bytes, u.keys = u.bytes+int64(len(ch.Key)+len(ch.Value)), u.keys+1
		}
	}
	return u, nil
}

// changeState makes changes in a line, which holds size afterwards.
func changeState(c *sqlite3.Conn, agent caxton.AgentID, line int64, changes []StateChange, size stateUse) error {
	for i := range changes {
		ch := &changes[i]
		var err error
		if ch.Delete {
			err = execSQL(c, `DELETE FROM agent_state WHERE agent=?1 AND line=?2 AND key=?3`, string(agent), line, ch.Key)
		} else {
			v := ch.Value
			if v == nil {
				v = []byte{}
			}
			err = execSQL(c, `INSERT INTO agent_state (agent, line, key, value) VALUES (?1, ?2, ?3, ?4)
				ON CONFLICT (agent, line, key) DO UPDATE SET value=excluded.value`, string(agent), line, ch.Key, v)
		}
		if err != nil {
			return err
		}
	}
	return execSQL(c, `INSERT OR REPLACE INTO agent_state_size (agent, line, bytes, keys) VALUES (?1, ?2, ?3, ?4)`,
		string(agent), line, size.bytes, size.keys)
}

// ShareState has a version go on with what another keeps: what one of them changes, the other
// sees. With unlessKept it does nothing for a version that was given a line before, or is an
// older one and so has the first: it goes on with what it had.
func (db *DB) ShareState(ctx context.Context, agent caxton.AgentID, from, to int, unlessKept bool) error {
	return db.write(ctx, func(c *sqlite3.Conn) error {
		if unlessKept {
			_, kept, err := number(c, `SELECT 1 FROM agent_versions WHERE agent=?1 AND number=?2
				AND (?2<?3 OR EXISTS (SELECT 1 FROM agent_state_lines WHERE agent=?1 AND version=?2))`, string(agent), int64(to), int64(from))
			if err != nil || kept {
				return err
			}
		}
		line, _, err := number(c, `SELECT `+lineOf, string(agent), int64(from))
		if err != nil {
			return err
		}
		return takeLine(c, agent, to, line)
	})
}

// ForkState has a version go on with a copy of what another keeps, in which changes were made.
// The other is not touched; what the version itself kept before is given up. Errors: Invalid
// when it would keep more than the limits.
func (db *DB) ForkState(ctx context.Context, agent caxton.AgentID, from, to int, changes []StateChange, most StateLimits) error {
	var full error
	err := db.write(ctx, func(c *sqlite3.Conn) error {
		full = nil // it may be done again
		old, _, err := number(c, `SELECT `+lineOf, string(agent), int64(from))
		if err != nil {
			return err
		}
		size, err := stateSize(c, agent, old, changes)
		if err != nil {
			return err
		}
		if size.over(most) {
			full = errStateFull(size, most)
			return nil
		}
		last, _, err := number(c, `SELECT max(line) FROM agent_state_lines WHERE agent=?1`, string(agent))
		if err != nil {
			return err
		}
		line := last + 1
		if err := execSQL(c, `INSERT INTO agent_state (agent, line, key, value) SELECT agent, ?3, key, value FROM agent_state WHERE agent=?1 AND line=?2`,
			string(agent), old, line); err != nil {
			return err
		}
		if err := changeState(c, agent, line, changes, size); err != nil {
			return err
		}
		return takeLine(c, agent, to, line)
	})
	return errors.Join(err, full)
}

// takeLine gives a version a line, and forgets the lines that no version has any more. Line 0
// stays: versions that were never told of lines have it.
func takeLine(c *sqlite3.Conn, agent caxton.AgentID, version int, line int64) error {
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{
			`INSERT INTO agent_state_lines (agent, version, line) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM agents WHERE id=?1)
				ON CONFLICT (agent, version) DO UPDATE SET line=excluded.line`, []any{string(agent), int64(version), line},
		},
		{
			`DELETE FROM agent_state_lines WHERE agent=?1 AND version<>?2 AND version NOT IN (SELECT number FROM agent_versions WHERE agent=?1)`,
			[]any{string(agent), int64(version)},
		},
		{`DELETE FROM agent_state WHERE agent=?1 AND line<>0 AND line NOT IN (SELECT line FROM agent_state_lines WHERE agent=?1)`, []any{string(agent)}},
		{`DELETE FROM agent_state_size WHERE agent=?1 AND line<>0 AND line NOT IN (SELECT line FROM agent_state_lines WHERE agent=?1)`, []any{string(agent)}},
	} {
		if err := execSQL(c, q.sql, q.args...); err != nil {
			return err
		}
	}
	return nil
}

// keepLine gives a version that has no line that of the version in force, unless it is the first.
func keepLine(c *sqlite3.Conn, agent caxton.AgentID, version int) error {
	return execSQL(c, `INSERT OR IGNORE INTO agent_state_lines (agent, version, line)
		SELECT l.agent, ?2, l.line FROM agents a JOIN agent_state_lines l ON l.agent=a.id AND l.version=a.version WHERE a.id=?1`,
		string(agent), int64(version))
}

// number returns the number that a query finds, and whether it finds one.
func number(c *sqlite3.Conn, query string, args ...any) (n int64, found bool, err error) {
	st, _, err := c.Prepare(query)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := bind(st, args...); err != nil {
		return 0, false, err
	}
	if !st.Step() {
		return 0, false, st.Err()
	}
	return st.ColumnInt64(0), true, nil
}

// ModulesInUse returns the hashes of the modules that some version of an agent runs.
func (db *DB) ModulesInUse(ctx context.Context) (map[string]bool, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT DISTINCT module FROM agent_versions WHERE module<>''`)
	if err != nil {
		return nil, storageError("read modules", err)
	}
	hashes, err := collect(rows, func(rows *sql.Rows) (h string, err error) {
		err = rows.Scan(&h)
		return h, err
	})
	used := make(map[string]bool, len(hashes))
	for _, h := range hashes {
		used[h] = true
	}
	return used, err
}

// An AgentTimer wakes an agent.
type AgentTimer struct {
	AgentID caxton.AgentID
	ID      int32
	Due     time.Time
}

// SetTimer keeps a timer until it is removed; one that is there stays as it is. It does
// nothing for an agent that is not there. Errors: Exhausted when the agent has most already.
func (db *DB) SetTimer(ctx context.Context, t AgentTimer, most int) error {
	var full error
	err := db.write(ctx, func(c *sqlite3.Conn) error {
		full = nil // it may be done again
		_, there, err := number(c, `SELECT 1 FROM agent_timers WHERE agent=?1 AND id=?2`, string(t.AgentID), int64(t.ID))
		if err != nil || there {
			return err
		}
		n, _, err := number(c, `SELECT count(*) FROM agent_timers WHERE agent=?1`, string(t.AgentID))
		if err != nil {
			return err
		}
		if n >= int64(most) {
			full = caxton.Errorf(caxton.Exhausted, "timers_full", "the agent has %d timers, as many as it may", n)
			return nil
		}
		return execSQL(c, `INSERT INTO agent_timers (agent, id, due) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM agents WHERE id=?1)`,
			string(t.AgentID), int64(t.ID), micros(t.Due))
	})
	return errors.Join(err, full)
}

// RemoveTimer forgets a timer.
func (db *DB) RemoveTimer(ctx context.Context, agent caxton.AgentID, id int32) error {
	return db.write(ctx, func(c *sqlite3.Conn) error {
		return execSQL(c, `DELETE FROM agent_timers WHERE agent=?1 AND id=?2`, string(agent), int64(id))
	})
}

// Timers returns the timers that are due first, at most so many.
func (db *DB) Timers(ctx context.Context, limit int) ([]AgentTimer, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT agent, id, due FROM agent_timers ORDER BY due, agent, id LIMIT ?`, limit)
	if err != nil {
		return nil, storageError("read timers", err)
	}
	return collect(rows, func(rows *sql.Rows) (t AgentTimer, err error) {
		var due int64
		err = rows.Scan(&t.AgentID, &t.ID, &due)
		t.Due = fromMicros(due)
		return t, err
	})
}
