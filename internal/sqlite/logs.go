package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// keptLogLines bounds the table of agents' log lines; the oldest go first.
const keptLogLines = 200_000

// LogAgent keeps lines of agents' logs. It does not wait, and reports false when the writer
// is too busy and the lines were dropped. Lines beyond the newest 200,000 are forgotten.
func (db *DB) LogAgent(lines []caxton.LogLine) bool {
	return db.post(func(c *sqlite3.Conn) error {
		for i := range lines {
			l := &lines[i]
			attrs := []byte("{}")
			if len(l.Attrs) > 0 {
				if b, err := json.Marshal(l.Attrs); err == nil {
					attrs = b
				}
			}
			if err := exec(db.stmts.logLine, micros(l.At), int64(parseLevel(l.Level)), string(l.AgentID), l.Agent, l.Message, attrs); err != nil {
				return err
			}
		}
		if id := c.LastInsertRowID(); id%1000 < int64(len(lines)) {
			st, _, err := c.Prepare(`DELETE FROM agent_logs WHERE id<=?1`)
			if err != nil {
				return err
			}
			defer func() { _ = st.Close() }()
			return exec(st, id-keptLogLines)
		}
		return nil
	})
}

// AgentLogs returns the lines q selects, oldest first.
func (db *DB) AgentLogs(ctx context.Context, q caxton.LogQuery) ([]caxton.LogLine, error) {
	tail := q.Tail
	if tail <= 0 {
		tail = 1000
	}
	where, args := []string{"id>?", "at>=?"}, []any{q.After, since(q.Since)}
	switch {
	case q.AgentID != "" && q.Agent != "":
		where, args = append(where, "(agent=? OR (agent='' AND name=?))"), append(args, string(q.AgentID), q.Agent)
	case q.AgentID != "":
		where, args = append(where, "agent=?"), append(args, string(q.AgentID))
	case q.Agent != "":
		where, args = append(where, "name=?"), append(args, q.Agent)
	}
	if q.Level != "" {
		where, args = append(where, "level>=?"), append(args, int64(parseLevel(q.Level)))
	}
	args = append(args, min(tail, 10_000))
	rows, err := db.read.QueryContext(ctx, `SELECT id, at, level, agent, name, text, attrs FROM agent_logs WHERE `+ //nolint:gosec // the conditions are constants, the values are bound
		strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`, args...)
	if err != nil {
		return nil, storageError("read logs", err)
	}
	lines, err := collect(rows, func(rows *sql.Rows) (caxton.LogLine, error) {
		var l caxton.LogLine
		var at, level int64
		var attrs []byte
		err := rows.Scan(&l.ID, &at, &level, &l.AgentID, &l.Agent, &l.Message, &attrs)
		l.At, l.Level = fromMicros(at), slog.Level(level).String()
		if err == nil && len(attrs) > 2 {
			err = json.Unmarshal(attrs, &l.Attrs)
		}
		return l, err
	})
	slices.Reverse(lines)
	return lines, err
}

func parseLevel(s string) slog.Level {
	var l slog.Level
	if l.UnmarshalText([]byte(s)) != nil {
		return slog.LevelInfo
	}
	return l
}
