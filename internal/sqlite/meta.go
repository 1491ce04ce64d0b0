package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"github.com/ncruces/go-sqlite3"
)

// CountStart adds one to the number of times a server opened this database and returns how
// often it was restarted: 0 the first time.
func (db *DB) CountStart(ctx context.Context) (restarts int64, err error) {
	var text string
	err = db.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key='starts'`).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, storageError("read counters", err)
	}
	if text != "" {
		if restarts, err = strconv.ParseInt(text, 10, 64); err != nil {
			restarts = 0 // a damaged counter starts again
		}
	}
	err = db.write(ctx, func(*sqlite3.Conn) error {
		return exec(db.stmts.metaSet, "starts", strconv.FormatInt(restarts+1, 10))
	})
	return restarts, err
}
