package sqlite

import (
	"context"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// Position returns the last position in the log of the server that may have been used: every
// record at or below it is committed, and every later record will be above it.
func (db *DB) Position(ctx context.Context) (int64, error) {
	var n int64
	err := db.write(ctx, func(*sqlite3.Conn) error {
		n = db.writing.next - 1
		return nil
	})
	return n, err
}

// RecordsSince returns the records of all conversations after position n, in the order of
// their commits, at most limit of them (0 means 1000). Fewer records than asked for mean that
// there are no more.
func (db *DB) RecordsSince(ctx context.Context, n int64, limit int) ([]caxton.Record, error) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	rows, err := db.read.QueryContext(ctx, `SELECT `+recordColumns+` FROM records WHERE n>? ORDER BY n LIMIT ?`, n, limit)
	if err != nil {
		return nil, storageError("read records", err)
	}
	return collect(rows, scanRecord)
}
