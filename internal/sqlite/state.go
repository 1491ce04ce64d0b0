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

// AgentState returns what an agent keeps under a key, and false when it keeps nothing there.
func (db *DB) AgentState(ctx context.Context, agent caxton.AgentID, key string) (value []byte, ok bool, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT value FROM agent_state WHERE agent=? AND key=?`, string(agent), key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return value, err == nil, storageError("read state", err)
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

// CommitState makes the changes of a turn and keeps what it said, in one transaction. It does
// nothing when the turn did so before, or when there is no such agent any more. Errors:
// Invalid when the agent would keep more than the limits: it does so again when it is tried again.
func (db *DB) CommitState(ctx context.Context, agent caxton.AgentID, msg caxton.MessageID, changes []StateChange, outputs []byte, most StateLimits) error {
	if outputs == nil {
		outputs = []byte{}
	}
	// A transaction that fails takes others of its group with it, so the limits are looked at
	// before anything is written.
	var full error
	err := db.write(ctx, func(c *sqlite3.Conn) error {
		full = nil // it may be done again
		bytes, keys, turns, done, err := stateBefore(c, agent, msg)
		if err != nil || done {
			return err
		}
		for i := range changes {
			ch := &changes[i]
			old, had, err := number(c, `SELECT length(value) FROM agent_state WHERE agent=?1 AND key=?2`, string(agent), ch.Key)
			if err != nil {
				return err
			}
			if had {
				bytes, keys = bytes-old-int64(len(ch.Key)), keys-1
			}
			if !ch.Delete {
				bytes, keys = bytes+int64(len(ch.Key)+len(ch.Value)), keys+1
			}
		}
		if bytes > int64(most.Size) || keys > most.Keys {
			full = caxton.Errorf(caxton.Invalid, "state_full", "the agent would keep %d values of %v together; it may keep %d of %v", keys, caxton.Size(bytes), most.Keys, most.Size).
				WithHint("have it remove what it needs no more, or raise wasm.state_limit and wasm.state_keys")
			return nil
		}
		for i := range changes {
			ch := &changes[i]
			if ch.Delete {
				err = execSQL(c, `DELETE FROM agent_state WHERE agent=?1 AND key=?2`, string(agent), ch.Key)
			} else {
				v := ch.Value
				if v == nil {
					v = []byte{}
				}
				err = execSQL(c, `INSERT INTO agent_state (agent, key, value) VALUES (?1, ?2, ?3)
					ON CONFLICT (agent, key) DO UPDATE SET value=excluded.value`, string(agent), ch.Key, v)
			}
			if err != nil {
				return err
			}
		}
		turns++
		if err := execSQL(c, `INSERT OR REPLACE INTO agent_state_size (agent, bytes, keys, turns) VALUES (?1, ?2, ?3, ?4)`,
			string(agent), bytes, keys, turns); err != nil {
			return err
		}
		if err := execSQL(c, `INSERT INTO agent_state_turns (agent, n, msg, outputs) VALUES (?1, ?2, ?3, ?4)`,
			string(agent), turns, string(msg), outputs); err != nil {
			return err
		}
		return execSQL(c, `DELETE FROM agent_state_turns WHERE agent=?1 AND n<=?2`, string(agent), turns-keptTurns)
	})
	return errors.Join(err, full)
}

// stateBefore returns how much an agent keeps, and whether there is nothing to do for a turn.
func stateBefore(c *sqlite3.Conn, agent caxton.AgentID, msg caxton.MessageID) (bytes, keys, turns int64, done bool, err error) {
	_, there, err := number(c, `SELECT 1 FROM agents WHERE id=?1`, string(agent))
	if err != nil || !there {
		return 0, 0, 0, true, err
	}
	if _, done, err = number(c, `SELECT 1 FROM agent_state_turns WHERE agent=?1 AND msg=?2`, string(agent), string(msg)); err != nil || done {
		return 0, 0, 0, done, err
	}
	for _, q := range []struct {
		column string
		value  *int64
	}{{"bytes", &bytes}, {"keys", &keys}, {"turns", &turns}} {
		if *q.value, _, err = number(c, `SELECT `+q.column+` FROM agent_state_size WHERE agent=?1`, string(agent)); err != nil {
			return 0, 0, 0, false, err
		}
	}
	return bytes, keys, turns, false, nil
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
