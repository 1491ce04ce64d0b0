package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// LoadAgents returns every deployed agent with the definition of its active version.
func (db *DB) LoadAgents(ctx context.Context) ([]caxton.Agent, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT a.id, a.name, a.stem, a.type, a.version, a.versions, a.min_version,
			a.suspended, a.source, a.created_at, a.updated_at, a.rollout, v.definition
		FROM agents a JOIN agent_versions v ON v.agent=a.id AND v.number=a.version ORDER BY a.id`)
	if err != nil {
		return nil, storageError("load agents", err)
	}
	return collect(rows, func(rows *sql.Rows) (caxton.Agent, error) {
		var a caxton.Agent
		var created, updated int64
		var def, ro []byte
		err := rows.Scan(&a.ID, &a.Name, &a.Stem, &a.Type, &a.Version, &a.Versions, &a.MinVersion,
			&a.Suspended, &a.Source, &created, &updated, &ro, &def)
		if err == nil {
			err = json.Unmarshal(def, &a.Definition)
		}
		if err == nil && len(ro) > 0 {
			var r rollouts
			err = json.Unmarshal(ro, &r)
			a.Rollout, a.Withdrawn = r.Rollout, r.Withdrawn
		}
		a.Slug, a.CreatedAt, a.UpdatedAt = caxton.Slug(a.Name), fromMicros(created), fromMicros(updated)
		return a, err
	})
}

// A rollouts is what the column of the name holds: "" when there is nothing to say.
type rollouts struct {
	Rollout   *caxton.Rollout `json:"rollout,omitempty"`
	Withdrawn []int           `json:"withdrawn,omitempty"`
}

// SaveAgent stores an agent and, when v is not nil, its new version, in one transaction. A version
// that was given no state goes on with that of the version that is in force so far.
func (db *DB) SaveAgent(ctx context.Context, a caxton.Agent, v *caxton.AgentVersion) error {
	var def []byte
	if v != nil {
		var err error
		if def, err = json.Marshal(v.Definition); err != nil {
			return caxton.Errorf(caxton.Internal, "definition_unprintable", "the definition cannot be stored").WithCause(err)
		}
	}
	ro := ""
	if a.Rollout != nil || len(a.Withdrawn) > 0 {
		b, err := json.Marshal(rollouts{a.Rollout, a.Withdrawn})
		if err != nil {
			return caxton.Errorf(caxton.Internal, "rollout_unprintable", "the rollout cannot be stored").WithCause(err)
		}
		ro = string(b)
	}
	return db.write(ctx, func(c *sqlite3.Conn) error {
		if v != nil {
			if err := keepLine(c, a.ID, v.Number); err != nil {
				return err
			}
		}
		err := execSQL(c, `INSERT INTO agents (id, name, stem, type, version, versions, min_version, suspended, source, created_at, updated_at, rollout)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
			ON CONFLICT (id) DO UPDATE SET name=excluded.name, stem=excluded.stem, type=excluded.type, version=excluded.version,
				versions=excluded.versions, min_version=excluded.min_version, suspended=excluded.suspended,
				source=excluded.source, updated_at=excluded.updated_at, rollout=excluded.rollout`,
			string(a.ID), a.Name, a.Stem, string(a.Type), int64(a.Version), int64(a.Versions), int64(a.MinVersion),
			flag(a.Suspended), a.Source, micros(a.CreatedAt), micros(a.UpdatedAt), ro)
		if err != nil || v == nil {
			return err
		}
		return execSQL(c, `INSERT INTO agent_versions (agent, number, hash, author, source, format, text, definition, created_at, module)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)`,
			string(a.ID), int64(v.Number), v.Hash, v.Author, v.Source, v.Format, v.Text, def, micros(v.CreatedAt), v.Definition.Module.SHA256)
	})
}

// DeleteAgent forgets an agent and all its versions. What it said stays in the journal.
func (db *DB) DeleteAgent(ctx context.Context, id caxton.AgentID) error {
	return db.write(ctx, func(c *sqlite3.Conn) error {
		if err := execSQL(c, `DELETE FROM agent_versions WHERE agent=?1`, string(id)); err != nil {
			return err
		}
		return execSQL(c, `DELETE FROM agents WHERE id=?1`, string(id))
	})
}

// AgentVersions returns an agent's versions, oldest first.
func (db *DB) AgentVersions(ctx context.Context, id caxton.AgentID) ([]caxton.AgentVersion, error) {
	rows, err := db.read.QueryContext(ctx, versionQuery+` ORDER BY number`, string(id))
	if err != nil {
		return nil, storageError("read versions", err)
	}
	return collect(rows, scanVersion)
}

// AgentVersion returns one version of an agent, or NotFound.
func (db *DB) AgentVersion(ctx context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error) {
	rows, err := db.read.QueryContext(ctx, versionQuery+` AND number=?`, string(id), number)
	if err != nil {
		return caxton.AgentVersion{}, storageError("read version", err)
	}
	vs, err := collect(rows, scanVersion)
	if err == nil && len(vs) == 0 {
		err = caxton.Errorf(caxton.NotFound, "version_not_found", "the agent has no version %d", number).
			WithHint("caxton agents versions lists the ones it has")
	}
	if err != nil {
		return caxton.AgentVersion{}, err
	}
	return vs[0], nil
}

const versionQuery = `SELECT agent, number, hash, author, source, format, text, definition, created_at FROM agent_versions WHERE agent=?`

func scanVersion(rows *sql.Rows) (caxton.AgentVersion, error) {
	var v caxton.AgentVersion
	var created int64
	var def []byte
	err := rows.Scan(&v.AgentID, &v.Number, &v.Hash, &v.Author, &v.Source, &v.Format, &v.Text, &def, &created)
	if err == nil {
		err = json.Unmarshal(def, &v.Definition)
	}
	v.CreatedAt = fromMicros(created)
	return v, err
}

// execSQL prepares, runs and closes a statement: for what is not on the hot path.
func execSQL(c *sqlite3.Conn, query string, args ...any) (err error) {
	st, _, err := c.Prepare(query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return exec(st, args...)
}

// RolloutTally returns how the versions of an agent's rollout have fared, and false when nothing
// is kept of that.
func (db *DB) RolloutTally(ctx context.Context, id caxton.AgentID) (t caxton.RolloutTally, ok bool, err error) {
	var body []byte
	err = db.read.QueryRowContext(ctx, `SELECT body FROM rollout_tallies WHERE agent=?`, string(id)).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return t, false, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &t)
	}
	return t, err == nil, storageError("read the counts of a rollout", err)
}

// SaveRolloutTally keeps how the versions of an agent's rollout have fared, in place of what was
// kept. It does nothing when there is no such agent any more.
func (db *DB) SaveRolloutTally(ctx context.Context, id caxton.AgentID, t caxton.RolloutTally) error {
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return db.write(ctx, func(c *sqlite3.Conn) error {
		return execSQL(c, `INSERT OR REPLACE INTO rollout_tallies (agent, body) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM agents WHERE id=?1)`, string(id), body)
	})
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
