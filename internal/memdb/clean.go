package memdb

import (
	"context"
	"fmt"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// purgeSlice is how many entities or observations are removed in one transaction: so long has another
// write to wait.
const purgeSlice = 200

// bygoneObservations finds those that were superseded, reverted or forgotten before a time. What was
// forgotten and still hides something that would count without it is none.
const bygoneObservations = `SELECT o.id FROM observations o WHERE o.state=2
	AND (o.gone<?1 OR o.same IS NOT NULL AND o.known_from<?1 AND EXISTS (` + earlierSame + ` AND s.gone IS NULL)
		OR o.line IS NOT NULL AND (EXISTS (` + hiderInLine + hiderCounts + ` AND h.undone IS NULL AND h.known_from<?1) OR EXISTS (` + hiderBySaying + hiderCounts + ` AND h.undone IS NULL AND h.known_from<?1)))
	AND (o.gone IS NULL OR o.undone IS NOT NULL OR o.line IS NULL
		OR NOT EXISTS (SELECT 1 FROM observations l WHERE (l.line=o.line OR l.id=o.supersedes OR l.same=o.supersedes) AND l.state<2 AND l.id<>o.id))`

// Clean removes for good. It does so some at a time, so that other writes come in between.
func (db *DB) Clean(ctx context.Context, c memory.Cleaning) (memory.Cleaned, error) {
	var done memory.Cleaned
	before, err := db.File(ctx)
	if err != nil {
		return done, err
	}
	var entities, observations, relations []int64
	err = db.view(ctx, "clean", func(r *conn) (err error) {
		entities, observations, relations, err = r.toClean(c, db.now())
		return err
	})
	if err != nil {
		return done, err
	}
	if c.DryRun {
		err := db.view(ctx, "clean", func(r *conn) error { return r.countClean(entities, observations, relations, c.Orphaned, &done) })
		return done, err
	}
	if err := db.purge(ctx, entities, &done, (*tx).purgeEntity); err != nil {
		return done, err
	}
	if err := db.purge(ctx, observations, &done, (*tx).purgeObservation); err != nil {
		return done, err
	}
	if err := db.purge(ctx, relations, &done, (*tx).purgeRelation); err != nil {
		return done, err
	}
	err = db.write(ctx, "clean", func(t *tx) error {
		if c.Orphaned {
			if err := t.purgeOrphans(&done); err != nil {
				return err
			}
		}
		if c.Past.IsZero() {
			return nil
		}
		if err := t.exec(`DELETE FROM versions WHERE until<?`, micros(c.Past)); err != nil {
			return err
		}
		return t.exec(`DELETE FROM events WHERE at<? AND (observation IS NOT NULL AND NOT EXISTS (SELECT 1 FROM observations o WHERE o.id=observation)
			OR relation IS NOT NULL AND NOT EXISTS (SELECT 1 FROM relations r WHERE r.n=relation))`, micros(c.Past))
	})
	if err != nil {
		return done, err
	}
	after, err := db.File(ctx)
	done.Bytes = max(0, after.Free-before.Free)
	return done, err
}

// toClean finds what is to be removed.
func (c *conn) toClean(what memory.Cleaning, now int64) (entities, observations, relations []int64, err error) {
	have := map[int64]bool{}
	gather := func(list *[]int64, query string, args ...any) {
		if err != nil {
			return
		}
		err = c.each(query, args, func(st *sqlite3.Stmt) error {
			if id := st.ColumnInt64(0); !have[id] {
				have[id] = true
				*list = append(*list, id)
			}
			return nil
		})
	}
	if !what.OlderThan.IsZero() {
		keep := what.MinKeep
		if keep == 0 {
			keep = 0.8
		}
		q := (&query{}).add(`SELECT id FROM entities WHERE forgotten IS NULL AND updated<? AND importance<?`, micros(what.OlderThan), keep)
		if what.Scope != (caxton.Scope{}) {
			q.add(`AND scope=(SELECT n FROM scopes WHERE kind=? AND owner=?)`, string(what.Scope.Kind), what.Scope.Owner)
		}
		gather(&entities, q.b.String(), q.args...)
	}
	if what.MaxEntities > 0 && what.Scope != (caxton.Scope{}) {
		gather(&entities, `SELECT e.id FROM entities e JOIN scopes s ON s.n=e.scope WHERE s.kind=? AND s.owner=? AND e.forgotten IS NULL
			ORDER BY e.importance DESC, e.updated DESC, e.id DESC LIMIT -1 OFFSET ?`, string(what.Scope.Kind), what.Scope.Owner, what.MaxEntities)
	}
	if what.Orphaned {
		gather(&entities, `SELECT id FROM entities e WHERE forgotten IS NULL AND current=0
			AND NOT EXISTS (SELECT 1 FROM observations o WHERE o.entity=e.id AND o.gone IS NULL)
			AND NOT EXISTS (SELECT 1 FROM relations r WHERE r.source=e.id AND r.past=0)
			AND NOT EXISTS (SELECT 1 FROM relations r WHERE r.target=e.id AND r.past=0)`)
	}
	if !what.Past.IsZero() {
		past := min(micros(what.Past), now)
		gather(&entities, `SELECT id FROM entities WHERE forgotten<?`, past)
		gather(&observations, bygoneObservations, past)
		gather(&relations, `SELECT r.n FROM relations r WHERE r.past=1 AND (r.gone<?1
			OR EXISTS (SELECT 1 FROM relations h WHERE h.id=r.id AND h.n<>h.id AND h.n>r.n AND h.gone IS NULL AND h.known_from<?1))`, past)
	}
	return entities, observations, relations, err
}

// countClean counts what would be removed.
func (c *conn) countClean(entities, observations, relations []int64, orphans bool, done *memory.Cleaned) error {
	add := func(n *int64, query string, args ...any) error {
		more, err := c.number(query, args...)
		*n += more
		return err
	}
	for _, id := range entities {
		done.Entities++
		if err := add(&done.Observations, `SELECT count(*) FROM observations WHERE entity=?`, id); err != nil {
			return err
		}
		if err := add(&done.Embeddings, `SELECT count(*) FROM embeddings WHERE passage=?1 OR passage IN (SELECT id FROM observations WHERE entity=?1)`, id); err != nil {
			return err
		}
		if err := add(&done.Relations, `SELECT (SELECT count(*) FROM relations WHERE source=?1)+(SELECT count(*) FROM relations WHERE target=?1 AND source<>?1)`, id); err != nil {
			return err
		}
	}
	gone := map[int64]bool{}
	for _, id := range entities {
		gone[id] = true
	}
	for _, id := range observations {
		e, err := c.number(`SELECT entity FROM observations WHERE id=?`, id)
		if err != nil {
			return err
		}
		if gone[e] {
			continue
		}
		done.Observations++
		if err := add(&done.Embeddings, `SELECT count(*) FROM embeddings WHERE passage=?`, id); err != nil {
			return err
		}
	}
	for _, n := range relations {
		err := c.each(`SELECT source, target FROM relations WHERE n=?`, []any{n}, func(st *sqlite3.Stmt) error {
			if !gone[st.ColumnInt64(0)] && !gone[st.ColumnInt64(1)] {
				done.Relations++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !orphans {
		return nil
	}
	if err := add(&done.Orphans, `SELECT count(*) FROM embeddings i `+textTables+` WHERE NOT `+textThere); err != nil {
		return err
	}
	if err := add(&done.Orphans, `SELECT count(*) FROM relations r WHERE NOT EXISTS (SELECT 1 FROM entities WHERE id=r.source) OR NOT EXISTS (SELECT 1 FROM entities WHERE id=r.target)`); err != nil {
		return err
	}
	return add(&done.Orphans, `SELECT count(*) FROM (SELECT id AS passage FROM passages_docsize) i `+textTables+` WHERE NOT `+textThere)
}

// purge removes rows some at a time.
func (db *DB) purge(ctx context.Context, ids []int64, done *memory.Cleaned, remove func(*tx, int64, *memory.Cleaned) error) error {
	for len(ids) > 0 {
		n := min(len(ids), purgeSlice)
		var part memory.Cleaned
		err := db.write(ctx, "clean", func(t *tx) error {
			part = memory.Cleaned{}
			for _, id := range ids[:n] {
				if err := remove(t, id, &part); err != nil {
					return fmt.Errorf("remove %d: %w", id, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		done.Entities += part.Entities
		done.Observations += part.Observations
		done.Relations += part.Relations
		done.Embeddings += part.Embeddings
		ids = ids[n:]
	}
	return nil
}

func (t *tx) purgeEntity(id int64, done *memory.Cleaned) error {
	var e entity
	ok, err := t.one(`SELECT `+entityColumns+` FROM entities e WHERE e.id=?`, []any{id}, func(st *sqlite3.Stmt) { e = scanEntity(st) })
	if err != nil || !ok {
		return err
	}
	var observations []int64
	err = t.each(`SELECT id FROM observations WHERE entity=?`, []any{id}, func(st *sqlite3.Stmt) error {
		observations = append(observations, st.ColumnInt64(0))
		return nil
	})
	if err != nil {
		return err
	}
	passages := observations
	if e.named {
		passages = append(passages, id)
	}
	for _, p := range passages {
		if err := t.purgePassage(p, e.scope, done); err != nil {
			return err
		}
	}
	for _, statement := range []string{
		`DELETE FROM observations WHERE entity=?1`, `DELETE FROM events WHERE entity=?1`, `DELETE FROM versions WHERE entity=?1`, `DELETE FROM entities WHERE id=?1`,
	} {
		if err := t.exec(statement, id); err != nil {
			return err
		}
	}
	done.Entities++
	done.Observations += int64(len(observations))
	err = t.exec(`DELETE FROM relations WHERE n IN (SELECT n FROM relations WHERE source=?1 UNION SELECT n FROM relations WHERE target=?1)`, id)
	done.Relations += t.Changes()
	return err
}

func (t *tx) purgePassage(id, scope int64, done *memory.Cleaned) error {
	n, err := t.number(`SELECT count(*) FROM embeddings WHERE passage=?`, id)
	if err != nil {
		return err
	}
	done.Embeddings += n
	return t.dropPassage(id, scope)
}

func (t *tx) purgeObservation(id int64, done *memory.Cleaned) error {
	scope, state := int64(0), int64(0)
	ok, err := t.one(`SELECT scope, state FROM observations WHERE id=?`, []any{id}, func(st *sqlite3.Stmt) { scope, state = st.ColumnInt64(0), st.ColumnInt64(1) })
	if err != nil || !ok || state != 2 { // it is gone with its entity, or has come again
		return err
	}
	if err := t.purgePassage(id, scope, done); err != nil {
		return err
	}
	done.Observations++
	return t.exec(`DELETE FROM observations WHERE id=?`, id)
}

func (t *tx) purgeRelation(n int64, done *memory.Cleaned) error {
	err := t.exec(`DELETE FROM relations WHERE n=? AND past=1`, n)
	done.Relations += t.Changes()
	return err
}

// purgeOrphans removes what hangs on something that is not there.
func (t *tx) purgeOrphans(done *memory.Cleaned) error {
	var passages []int64
	err := t.each(`SELECT i.passage FROM (SELECT id AS passage FROM passages_docsize UNION SELECT passage FROM embeddings) i `+textTables+` WHERE NOT `+textThere, nil,
		func(st *sqlite3.Stmt) error {
			passages = append(passages, st.ColumnInt64(0))
			return nil
		})
	if err != nil {
		return err
	}
	for _, id := range passages {
		t.reword(id)
		if err := t.exec(`DELETE FROM passages WHERE rowid=?`, id); err != nil {
			return err
		}
		if err := t.dropVectors(id); err != nil {
			return err
		}
	}
	err = t.exec(`DELETE FROM relations WHERE NOT EXISTS (SELECT 1 FROM entities WHERE id=source) OR NOT EXISTS (SELECT 1 FROM entities WHERE id=target)`)
	done.Orphans += int64(len(passages)) + t.Changes()
	return err
}
