package memdb

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// Export visits everything there is within an access, entities first, in order of ID, as of one
// moment. With the past it visits what was forgotten and every observation there ever was; one that
// holds for the time before another took its place comes twice: as it was known until then, and as it is
// known since.
func (db *DB) Export(ctx context.Context, a memory.Access, f memory.Filter, past bool, visitEntity func(caxton.Entity) error, visitRelation func(caxton.Relation) error) error {
	at := asOf(f)
	return db.look(ctx, "export", a, at, func(r *reader) error {
		q := (&query{}).add(`SELECT `+entityColumns+` FROM `+clock+` CROSS JOIN entities e WHERE e.created<=clock.k`, r.known, r.valid)
		if !past {
			q.add(`AND (e.forgotten IS NULL OR e.forgotten>clock.k)`)
		}
		q.sees(r.seen, "e.scope")
		r.filterEntity(q, f)
		if !past {
			r.filterObserved(q, f, at)
		}
		err := q.add(`ORDER BY e.id`).each(r.conn, func(st *sqlite3.Stmt) error {
			e := scanEntity(st)
			err := r.asKnown(&e)
			if err != nil {
				return err
			}
			if past {
				e.Observations, err = r.everything(e.ID)
			} else {
				e.Observations, err = r.observations(at, e.ID)
			}
			if err != nil {
				return err
			}
			return visitEntity(e.Entity)
		})
		if err != nil {
			return err
		}
		return r.exportRelations(f, at, past, visitRelation)
	})
}

// everything returns all observations that were ever known of an entity.
func (r *reader) everything(id caxton.EntityID) ([]caxton.Observation, error) {
	var rows []observation
	err := (&query{}).add(`SELECT `+observationColumns+` FROM observations o WHERE o.entity=? AND o.known_from<=?`, int64(id), r.known).sees(r.seen, "o.scope").
		add(`ORDER BY o.known_from, o.id`).each(r.conn, func(st *sqlite3.Stmt) error {
		rows = append(rows, scanObservation(st))
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]caxton.Observation, 0, len(rows))
	for _, o := range rows {
		asserted := o.Valid
		if err := r.complete(&o); err != nil {
			return nil, err
		}
		all = append(all, o.Observation)
		if o.gone != 0 && o.gone <= r.known || o.SupersededBy == 0 || o.Known.To.IsZero() {
			continue
		}
		var next observation // what hides it now: before, it holds on
		_, err := r.one(`SELECT `+observationColumns+` FROM observations o WHERE o.id=?`, []any{int64(o.SupersededBy)}, func(st *sqlite3.Stmt) { next = scanObservation(st) })
		if err != nil {
			return nil, err
		}
		before := next.Valid.From
		if before.IsZero() || !asserted.From.IsZero() && !asserted.From.Before(before) {
			continue
		}
		rest := o.Observation
		rest.Valid = caxton.Span{From: asserted.From, To: before}
		rest.Known = caxton.Span{From: o.Known.To}
		all = append(all, rest)
	}
	return all, nil
}

func (r *reader) exportRelations(f memory.Filter, at memory.AsOf, past bool, visit func(caxton.Relation) error) error {
	q := (&query{}).add(`SELECT `+relationColumns+` FROM `+clock+` CROSS JOIN relations r `+relationEnds+` WHERE r.known_from<=clock.k`, r.known, r.valid)
	if !past {
		q.add(`AND ` + r.forced(at))
	}
	q.sees(r.seen, "r.scope").sees(r.seen, "a.scope").sees(r.seen, "b.scope")
	for _, end := range []string{"source", "target"} {
		if len(f.Types) > 0 || f.Name != "" || f.MinImportance > 0 || len(f.Metadata) > 0 {
			q.add(`AND EXISTS (SELECT 1 FROM entities e WHERE e.id=r.` + end)
			r.filterEntity(q, f)
			q.add(`)`)
		}
	}
	return q.add(`ORDER BY r.n`).each(r.conn, func(st *sqlite3.Stmt) error {
		rel := scanRelation(st)
		if err := r.completeRelation(&rel); err != nil {
			return err
		}
		return visit(rel.Relation)
	})
}

// Backup writes a consistent copy of the file. Writes go on meanwhile.
func (db *DB) Backup(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(db.cfg.Path), "memory-backup-")
	if err != nil {
		return storageError("backup", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "memory.db")
	err = db.view(ctx, "backup", func(c *conn) error {
		if _, err := c.number(`SELECT count(*) FROM meta`); err != nil { // from here on it is one state
			return err
		}
		b, err := c.BackupInit("main", path)
		if err != nil {
			return err
		}
		for done := false; !done && err == nil; {
			if err = ctx.Err(); err == nil {
				done, err = b.Step(1000)
			}
		}
		return errors.Join(err, b.Close())
	})
	if err != nil {
		return err
	}
	f, err := os.Open(path) //nolint:gosec // just made
	if err != nil {
		return storageError("backup", err)
	}
	_, err = io.Copy(w, f)
	return errors.Join(err, f.Close())
}

var (
	_ memory.Store       = (*DB)(nil)
	_ memory.VectorStore = (*DB)(nil)
	_ memory.Keeper      = (*DB)(nil)
)
