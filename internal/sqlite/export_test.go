package sqlite

import "time"

// Queued returns how many writes wait.
func (db *DB) Queued() int { return len(db.jobs) }

// IDAt returns an ordered message ID of a time.
func IDAt(t time.Time) string { return string(idAt(t)) }
