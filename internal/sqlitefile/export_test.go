package sqlitefile

import (
	"context"

	"github.com/ncruces/go-sqlite3"
	"github.com/prometheus/client_golang/prometheus"
)

// FullAt returns after how many pages the log is to begin anew.
func (k *Checkpoints) FullAt() int64 { return k.fullAt.Load() }

// BeginAnew has the log begin anew.
func (k *Checkpoints) BeginAnew(ctx context.Context, c *sqlite3.Conn, took prometheus.Observer) {
	k.beginAnew(ctx, c, took)
}
