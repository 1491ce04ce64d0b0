package memdb

import (
	"context"
	"os"
	"time"

	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/sqlitefile"
	"github.com/ncruces/go-sqlite3"
)

// Count tells how much there is.
func (db *DB) Count(ctx context.Context, model string) (memory.Counts, error) {
	n := memory.Counts{ByType: map[string]int64{}, ByScope: map[string]int64{}, ByModel: map[string]int64{}}
	err := db.view(ctx, "count", func(c *conn) error {
		r := c.reader(seen{all: true}, memory.AsOf{}, db.now())
		var named, embedded, passages int64
		err := c.each(`SELECT type, scope, entities, observations, named FROM tallies WHERE entities>0`, nil, func(st *sqlite3.Stmt) error {
			scope, err := r.scopeOf(st.ColumnInt64(1))
			n.Observations += st.ColumnInt64(3)
			named += st.ColumnInt64(4)
			n.Entities += st.ColumnInt64(2)
			n.ByType[st.ColumnText(0)] += st.ColumnInt64(2)
			n.ByScope[scope.String()] += st.ColumnInt64(2)
			return err
		})
		if err != nil {
			return err
		}
		err = c.each(`SELECT name, vectors FROM models`, nil, func(st *sqlite3.Stmt) error {
			n.ByModel[st.ColumnText(0)] = st.ColumnInt64(1)
			n.Embeddings += st.ColumnInt64(1)
			return nil
		})
		if err != nil {
			return err
		}
		m, err := c.model(model)
		if err != nil {
			return err
		}
		for _, q := range []struct {
			to   *int64
			sql  string
			args []any
		}{
			{&n.Past, `SELECT n FROM totals WHERE what='observations'`, nil},
			{&n.Relations, `SELECT n FROM totals WHERE what='relations'`, nil},
			{&passages, `SELECT sum(passages) FROM scopes`, nil},
			{&embedded, `SELECT vectors FROM models WHERE n=?`, []any{m}},
		} {
			if *q.to, err = c.number(q.sql, q.args...); err != nil {
				return err
			}
		}
		n.Past -= n.Observations
		if embedded == passages { // as it mostly is: nothing to look for
			return nil
		}
		embedded, err = c.number(`SELECT count(*) FROM embeddings i `+textTables+` WHERE i.model=? AND `+textGroup+`&1=0`, m)
		if err != nil {
			return err
		}
		n.Unembedded = n.Observations + named - embedded
		return nil
	})
	return n, err
}

// File tells of the file.
func (db *DB) File(ctx context.Context) (memory.FileStats, error) {
	s := memory.FileStats{Path: db.cfg.Path, CacheLimit: db.cfg.CacheBytes}
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(db.cfg.Path + suffix); err == nil {
			s.Bytes += info.Size()
		}
	}
	var hits, misses int64
	count := func(c *conn) error {
		hit, _, err := c.Status(sqlite3.DBSTATUS_CACHE_HIT, false)
		hits += hit
		if err == nil {
			hit, _, err = c.Status(sqlite3.DBSTATUS_CACHE_MISS, false)
			misses += hit
		}
		if err == nil {
			hit, _, err = c.Status(sqlite3.DBSTATUS_CACHE_USED, false)
			s.CacheBytes += hit
		}
		return err
	}
	for range db.cfg.Readers { // each of those that are free, more or less
		err := db.view(ctx, "file", func(c *conn) error {
			if s.Free == 0 {
				free, err := sqlitefile.Pragma(c.Conn, "freelist_count")
				if err != nil {
					return err
				}
				size, err := sqlitefile.Pragma(c.Conn, "page_size")
				if err != nil {
					return err
				}
				s.Free = free * size
			}
			return count(c)
		})
		if err != nil {
			return s, err
		}
	}
	db.mu.Lock()
	err := count(db.writer)
	db.mu.Unlock()
	if err != nil {
		return s, storageError("read statistics", err)
	}
	if hits+misses > 0 {
		s.CacheHitRate = float64(hits) / float64(hits+misses)
	}
	if s.Bytes > 0 {
		s.Fragmentation = min(1, float64(s.Free)/float64(s.Bytes))
	}
	all := db.times.all()
	if s.Queries = all.count; all.count > 0 {
		s.AverageQuery = all.sum / time.Duration(all.count)
		s.P99Query = all.quantile(0.99)
	}
	return s, nil
}

// Times tells how long each kind of read and write took since the file was opened.
func (db *DB) Times() []memory.Slow {
	var all []memory.Slow
	db.times.each(func(kind string, k timing) {
		all = append(all, memory.Slow{Kind: kind, Count: k.count, Average: k.sum / time.Duration(k.count), P99: k.quantile(0.99), Max: k.most})
	})
	return all
}

// Vacuum gives unused pages back to the file system, some at a time, so that nobody waits long.
func (db *DB) Vacuum(ctx context.Context) (freed int64, err error) {
	for {
		var before, after, size int64
		err := db.write(ctx, "vacuum", func(t *tx) (err error) {
			if before, err = sqlitefile.Pragma(t.Conn, "freelist_count"); err != nil {
				return err
			}
			if size, err = sqlitefile.Pragma(t.Conn, "page_size"); err != nil {
				return err
			}
			if err := t.each(`PRAGMA incremental_vacuum(2000)`, nil, func(*sqlite3.Stmt) error { return nil }); err != nil {
				return err
			}
			after, err = sqlitefile.Pragma(t.Conn, "freelist_count")
			return err
		})
		if err != nil {
			return freed, err
		}
		freed += (before - after) * size
		if after == 0 || after >= before {
			break
		}
	}
	db.mu.Lock() // the file shrinks when the log is moved into it
	defer db.mu.Unlock()
	if _, _, err := db.writer.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE); err != nil {
		db.cfg.Logger.WarnContext(ctx, "checkpoint after a vacuum failed", "error", err)
	}
	return freed, nil
}

// Analyze has SQLite count what its planner wants to know, and tidies the text index up.
func (db *DB) Analyze(ctx context.Context) error {
	for more := true; more; {
		err := db.write(ctx, "analyze", func(t *tx) error {
			before := t.TotalChanges()
			if err := t.Exec(`INSERT INTO passages (passages, rank) VALUES ('merge', 500)`); err != nil {
				return err
			}
			more = t.TotalChanges()-before >= 2 // as FTS5 tells that it has found something to do
			return nil
		})
		if err != nil {
			return err
		}
	}
	return db.write(ctx, "analyze", func(t *tx) error {
		return t.Exec(`PRAGMA analysis_limit=1000; ANALYZE`)
	})
}
