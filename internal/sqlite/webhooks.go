package sqlite

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// Webhooks returns every webhook, oldest first.
func (db *DB) Webhooks(ctx context.Context) ([]caxton.Webhook, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT body, n, at FROM webhooks ORDER BY json_extract(body, '$.created_at'), id`)
	if err != nil {
		return nil, storageError("read webhooks", err)
	}
	return collect(rows, func(rows *sql.Rows) (w caxton.Webhook, err error) {
		var body []byte
		var at int64
		if err := rows.Scan(&body, &w.N, &at); err != nil {
			return w, err
		}
		err = json.Unmarshal(body, &w)
		w.At = fromMicros(at)
		return w, err
	})
}

// PutWebhook keeps a webhook. The place of one that is there already stays.
func (db *DB) PutWebhook(ctx context.Context, w caxton.Webhook) error {
	body, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return db.write(ctx, func(c *sqlite3.Conn) error {
		return execSQL(c, `INSERT INTO webhooks (id, n, at, body) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (id) DO UPDATE SET body=excluded.body`, w.ID, w.N, micros(w.At), body)
	})
}

// DeleteWebhook forgets a webhook and its deliveries.
func (db *DB) DeleteWebhook(ctx context.Context, id string) error {
	return db.write(ctx, func(c *sqlite3.Conn) error {
		return errors.Join(execSQL(c, `DELETE FROM webhooks WHERE id=?1`, id), execSQL(c, `DELETE FROM webhook_deliveries WHERE webhook=?1`, id))
	})
}

// QueueWebhooks keeps new deliveries and moves the places of webhooks to a position, all in
// one step, so that nothing is skipped and nothing queued twice. A delivery of a webhook
// that is gone or disabled is not kept.
func (db *DB) QueueWebhooks(ctx context.Context, ids []string, n int64, at time.Time, ds []caxton.WebhookDelivery) error {
	bodies := make([][]byte, len(ds))
	for i := range ds {
		b, err := json.Marshal(ds[i])
		if err != nil {
			return err
		}
		bodies[i] = b
	}
	return db.write(ctx, func(c *sqlite3.Conn) error {
		for i := range ds {
			d := &ds[i]
			if err := execSQL(c, `INSERT OR IGNORE INTO webhook_deliveries (id, webhook, n, state, due, created_at, body)
				SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM webhooks WHERE id=?2 AND coalesce(body->>'$.disabled', '')='')`,
				d.ID, d.Webhook, d.N, string(d.State), micros(d.Due), micros(d.CreatedAt), bodies[i]); err != nil {
				return err
			}
		}
		for _, id := range ids {
			if err := execSQL(c, `UPDATE webhooks SET n=?2, at=?3 WHERE id=?1 AND n<?2`, id, n, micros(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// DueWebhooks returns deliveries of a webhook that are to be tried now, longest due first,
// and when the next of the others is: zero when there is none.
func (db *DB) DueWebhooks(ctx context.Context, id string, now time.Time, limit int) (ds []caxton.WebhookDelivery, next time.Time, err error) {
	rows, err := db.read.QueryContext(ctx, `SELECT body FROM webhook_deliveries WHERE webhook=? AND state='pending' AND due<=? ORDER BY due, n LIMIT ?`, id, micros(now), limit)
	if err != nil {
		return nil, next, storageError("read webhook deliveries", err)
	}
	if ds, err = collect(rows, scanWebhookDelivery); err != nil {
		return nil, next, err
	}
	var due sql.NullInt64
	err = db.read.QueryRowContext(ctx, `SELECT min(due) FROM webhook_deliveries WHERE webhook=? AND state='pending' AND due>?`, id, micros(now)).Scan(&due)
	return ds, fromMicros(due.Int64), storageError("read webhook deliveries", err)
}

// SaveWebhookDelivery keeps how far a delivery is. One that was given up meanwhile is not to
// be tried again.
func (db *DB) SaveWebhookDelivery(ctx context.Context, d caxton.WebhookDelivery) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return db.write(ctx, func(c *sqlite3.Conn) error {
		return execSQL(c, `UPDATE webhook_deliveries SET state=?2, due=?3, body=?4 WHERE id=?1 AND (state='pending' OR ?2<>'pending')`, d.ID, string(d.State), micros(d.Due), body)
	})
}

// PruneWebhooks forgets deliveries that ended and are older than a time.
func (db *DB) PruneWebhooks(ctx context.Context, before time.Time) error {
	return db.write(ctx, func(c *sqlite3.Conn) error {
		return execSQL(c, `DELETE FROM webhook_deliveries WHERE state<>'pending' AND created_at<?1`, micros(before))
	})
}

// WebhookDeliveries returns a page of the deliveries of a webhook, newest first, those in a
// state or with "" all, and the cursor of the next page, "" on the last one.
func (db *DB) WebhookDeliveries(ctx context.Context, id string, state caxton.WebhookState, limit int, cursor string) (ds []caxton.WebhookDelivery, next string, err error) {
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	at, n := int64(1)<<62, int64(0) // those of one time were queued together, in the order of their records
	if cursor != "" {
		var last string
		if at, last, err = parseCursor(cursor); err == nil {
			n, err = strconv.ParseInt(last, 10, 64)
		}
		if err != nil {
			return nil, "", errCursor(cursor)
		}
	}
	rows, err := db.read.QueryContext(ctx, `SELECT body FROM webhook_deliveries
		WHERE webhook=?1 AND created_at<=?2 AND (created_at, n)<(?2, ?3) AND (?4='' OR state=?4) ORDER BY created_at DESC, n DESC LIMIT ?5`, id, at, n, string(state), limit+1)
	if err != nil {
		return nil, "", storageError("read webhook deliveries", err)
	}
	if ds, err = collect(rows, scanWebhookDelivery); err != nil {
		return nil, "", err
	}
	if len(ds) > limit {
		ds = ds[:limit]
		next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", micros(ds[limit-1].CreatedAt), ds[limit-1].N))
	}
	return ds, next, nil
}

func scanWebhookDelivery(rows *sql.Rows) (d caxton.WebhookDelivery, err error) {
	var body []byte
	if err := rows.Scan(&body); err != nil {
		return d, err
	}
	return d, json.Unmarshal(body, &d)
}

// DisableWebhook keeps a webhook that is told of nothing any more, and gives up whatever it
// is still to be told, in one step.
func (db *DB) DisableWebhook(ctx context.Context, w caxton.Webhook) error {
	body, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return db.write(ctx, func(c *sqlite3.Conn) error {
		if err := execSQL(c, `UPDATE webhooks SET body=?2 WHERE id=?1`, w.ID, body); err != nil {
			return err
		}
		return execSQL(c, `UPDATE webhook_deliveries SET state='failed', body=json_set(body, '$.state', 'failed') WHERE webhook=?1 AND state='pending'`, w.ID)
	})
}
