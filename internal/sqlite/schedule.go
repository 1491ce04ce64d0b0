package sqlite

import (
	"context"
	"database/sql"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// ScheduleStates returns what is known of the schedules of all agents.
func (db *DB) ScheduleStates(ctx context.Context) ([]caxton.ScheduleState, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT agent, schedule, through, last_run, message, conversation, missed, overlapped, error
		FROM schedules ORDER BY agent`)
	if err != nil {
		return nil, storageError("read schedules", err)
	}
	return collect(rows, func(rows *sql.Rows) (caxton.ScheduleState, error) {
		var s caxton.ScheduleState
		var through, last int64
		err := rows.Scan(&s.AgentID, &s.Schedule, &through, &last, &s.MessageID, &s.ConversationID, &s.Missed, &s.Overlapped, &s.Error)
		s.Through, s.LastRun = fromMicros(through), fromMicros(last)
		return s, err
	})
}

// SaveScheduleState keeps what is known of an agent's schedule until the agent is removed. It
// does nothing for an agent that is not there.
func (db *DB) SaveScheduleState(ctx context.Context, s caxton.ScheduleState) error {
	return db.write(ctx, func(c *sqlite3.Conn) error {
		return execSQL(c, `INSERT OR REPLACE INTO schedules (agent, schedule, through, last_run, message, conversation, missed, overlapped, error)
			SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE EXISTS (SELECT 1 FROM agents WHERE id=?1)`,
			string(s.AgentID), s.Schedule, micros(s.Through), micros(s.LastRun), string(s.MessageID), string(s.ConversationID),
			s.Missed, s.Overlapped, s.Error)
	})
}
