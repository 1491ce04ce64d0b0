package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// ToolPins returns what is known of the tools of MCP servers, by name.
func (db *DB) ToolPins(ctx context.Context) ([]caxton.ToolPin, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT name, server, state, reason, hash, pinned, offered, first_seen, last_seen, decided_by, decided_at
		FROM tool_pins ORDER BY name`)
	if err != nil {
		return nil, storageError("read tool pins", err)
	}
	return collect(rows, func(rows *sql.Rows) (caxton.ToolPin, error) {
		var p caxton.ToolPin
		var pinned, offered []byte
		var first, last, decided int64
		err := rows.Scan(&p.Name, &p.Server, &p.State, &p.Reason, &p.Hash, &pinned, &offered, &first, &last, &p.DecidedBy, &decided)
		if err == nil {
			err = json.Unmarshal(pinned, &p.Pinned)
		}
		if err == nil {
			err = json.Unmarshal(offered, &p.Offered)
		}
		p.FirstSeen, p.LastSeen, p.DecidedAt = fromMicros(first), fromMicros(last), fromMicros(decided)
		return p, err
	})
}

// SaveToolPins stores pins, all of them or none; those of the same name are replaced.
func (db *DB) SaveToolPins(ctx context.Context, pins ...caxton.ToolPin) error {
	type row struct{ pinned, offered []byte }
	texts := make([]row, len(pins))
	for i, p := range pins {
		var err error
		if texts[i].pinned, err = json.Marshal(p.Pinned); err == nil {
			texts[i].offered, err = json.Marshal(p.Offered)
		}
		if err != nil {
			return caxton.Errorf(caxton.Internal, "tool_unprintable", "the tool %s cannot be stored", p.Name).WithCause(err)
		}
	}
	return db.write(ctx, func(c *sqlite3.Conn) error {
		for i, p := range pins {
			err := execSQL(c, `INSERT INTO tool_pins (name, server, state, reason, hash, pinned, offered, first_seen, last_seen, decided_by, decided_at)
				VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
				ON CONFLICT (name) DO UPDATE SET server=excluded.server, state=excluded.state, reason=excluded.reason, hash=excluded.hash,
					pinned=excluded.pinned, offered=excluded.offered, last_seen=excluded.last_seen,
					decided_by=excluded.decided_by, decided_at=excluded.decided_at`,
				p.Name, p.Server, string(p.State), p.Reason, p.Hash, texts[i].pinned, texts[i].offered,
				micros(p.FirstSeen), micros(p.LastSeen), p.DecidedBy, micros(p.DecidedAt))
			if err != nil {
				return err
			}
		}
		return nil
	})
}
