package sqlitefile

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// A CheckpointConfig says when to move the write-ahead log of a file. All fields are required.
type CheckpointConfig struct {
	Interval time.Duration // between checkpoints, at most
	Pages    int64         // length of the log after which it is to begin anew
	Commits  sync.Locker   // held by whoever commits
	Logger   *slog.Logger
}

// Checkpoints move the write-ahead log into its file, off the path of commits, because they are
// the slowest thing SQLite does.
type Checkpoints struct {
	cfg    CheckpointConfig
	full   chan struct{} // capacity 1: the log is to begin anew
	fullAt atomic.Int64  // its pages by then
}

// NewCheckpoints returns the checkpoints of the file that writer, and nobody else, writes. It
// starts nothing; Run does.
func NewCheckpoints(writer *sqlite3.Conn, cfg CheckpointConfig) *Checkpoints {
	cfg.Pages = max(1, cfg.Pages)
	k := &Checkpoints{cfg: cfg, full: make(chan struct{}, 1)}
	k.fullAt.Store(cfg.Pages)
	writer.WALHook(k.grown)
	return k
}

// grown is told the length of the log after each commit.
func (k *Checkpoints) grown(_ *sqlite3.Conn, _ string, pages int) error {
	if int64(pages) >= k.fullAt.Load() {
		select {
		case k.full <- struct{}{}:
		default: // it is known
		}
	}
	return nil
}

// Run does checkpoints on c, which is for nothing else, until ctx ends. It observes in took
// how many seconds each takes.
func (k *Checkpoints) Run(ctx context.Context, c *sqlite3.Conn, took prometheus.Observer) {
	t := time.NewTicker(k.cfg.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			k.checkpoint(ctx, c, took)
		case <-k.full:
			k.beginAnew(ctx, c, took)
		}
	}
}

// Finish writes the whole log back, so that the file alone is complete after a clean stop.
// Nobody else uses writer meanwhile.
func (k *Checkpoints) Finish(ctx context.Context, writer *sqlite3.Conn) {
	if _, _, err := writer.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE); err != nil && !errors.Is(err, sqlite3.BUSY) {
		k.cfg.Logger.WarnContext(ctx, "last checkpoint failed", "error", err)
	}
}

// checkpoint moves what it can without making anybody wait, and returns the length of the log
// and whether all of it has been moved.
func (k *Checkpoints) checkpoint(ctx context.Context, c *sqlite3.Conn, took prometheus.Observer) (pages int64, all bool) {
	start := time.Now()
	inLog, moved, err := c.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	if err != nil && !errors.Is(err, sqlite3.BUSY) {
		k.cfg.Logger.WarnContext(ctx, "checkpoint failed", "error", err)
	}
	took.Observe(time.Since(start).Seconds())
	return int64(inLog), err == nil && moved == inLog
}

// beginAnew lets the log begin anew, over its old pages: SQLite does that when a commit finds
// all of it moved, and that never happens while commits come without a pause. So they are held
// up for the last bit of the work. The log would grow without end otherwise; and new pages
// of a file cost the system much more than old ones.
func (k *Checkpoints) beginAnew(ctx context.Context, c *sqlite3.Conn, took prometheus.Observer) {
	k.checkpoint(ctx, c, took) // most of it, while commits go on
	k.checkpoint(ctx, c, took) // most of what came meanwhile
	k.syncFile(ctx, c)
	k.cfg.Commits.Lock()
	pages, all := k.checkpoint(ctx, c, took)
	k.cfg.Commits.Unlock()
	at := k.cfg.Pages
	if !all { // somebody reads what is old, or the disk is full: not again at once
		at += max(pages, k.fullAt.Load())
	}
	k.fullAt.Store(at)
}

// syncFile has the disk write what was moved into the file. SQLite syncs the file only at the
// end of a checkpoint that has moved all: with commits held up, it would be for all of it.
func (k *Checkpoints) syncFile(ctx context.Context, c *sqlite3.Conn) {
	f, err := c.FileControl("main", sqlite3.FCNTL_FILE_POINTER)
	if file, ok := f.(vfs.File); ok {
		err = file.Sync(vfs.SYNC_NORMAL)
	}
	if err != nil { // the checkpoint will fail, too, if it matters
		k.cfg.Logger.WarnContext(ctx, "database file not synced", "error", err)
	}
}
