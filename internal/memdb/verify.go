package memdb

import (
	"context"
	"fmt"

	"github.com/ncruces/go-sqlite3"
)

// A rule is something that holds of the file, with the query that counts where it does not.
type rule struct {
	fault string
	count string
}

// tallies are what the triggers keep in the table of that name.
const tallies = `SELECT scope, type, count(*), sum(current), sum(named) FROM entities WHERE forgotten IS NULL GROUP BY scope, type`

// rules are what Check looks at. The deep ones compare every row.
func rules(deep bool) []rule {
	quick := []rule{
		{"relations have an end that is not there", `SELECT count(*) FROM relations r WHERE NOT EXISTS (SELECT 1 FROM entities WHERE id=r.source) OR NOT EXISTS (SELECT 1 FROM entities WHERE id=r.target)`},
		{"observations have no entity, or another scope than it", `SELECT count(*) FROM observations o LEFT JOIN entities e ON e.id=o.entity WHERE e.id IS NULL OR e.scope<>o.scope`},
		{"observations are missing in the text index", `SELECT count(*) FROM observations o WHERE NOT EXISTS (SELECT 1 FROM passages_docsize d WHERE d.id=o.id)`},
		{"entities are missing in the text index", `SELECT count(*) FROM entities e WHERE e.named=1 AND NOT EXISTS (SELECT 1 FROM passages_docsize d WHERE d.id=e.id)`},
		{"entries of the text index have no passage", `SELECT count(*) FROM (SELECT id AS passage FROM passages_docsize) i ` + textTables + ` WHERE NOT ` + textThere},
		{"embeddings have no passage", `SELECT count(*) FROM embeddings i ` + textTables + ` WHERE NOT ` + textThere},
		{"entities of one scope have the same name", `SELECT count(*) FROM (SELECT 1 FROM entities WHERE forgotten IS NULL GROUP BY fold, scope, name HAVING count(*)>1)`},
	}
	if !deep {
		return quick
	}
	return append(quick,
		rule{"embeddings are damaged", `SELECT count(*) FROM embeddings WHERE length(vector)=0 OR length(vector)%4<>0`},
		rule{"models count their embeddings wrong", `SELECT count(*) FROM models m WHERE m.vectors<>(SELECT count(*) FROM embeddings v WHERE v.model=m.n)`},
		rule{"tallies are wrong", `SELECT (SELECT count(*) FROM (` + tallies + ` EXCEPT SELECT * FROM tallies))+
			(SELECT count(*) FROM (SELECT * FROM tallies WHERE (entities, observations, named)<>(0, 0, 0) EXCEPT ` + tallies + `))+
			(SELECT count(*) FROM totals WHERE n<>CASE what WHEN 'observations' THEN (SELECT count(*) FROM observations) ELSE (SELECT count(*) FROM relations WHERE past=0) END)`},
		rule{"entities count their observations wrong", `SELECT count(*) FROM entities e WHERE (e.current, e.bytes)<>(SELECT count(*), coalesce(sum(length(CAST(o.text AS BLOB))), 0) FROM observations o WHERE o.entity=e.id AND o.state<2)`},
		rule{"entities are passages although they have observations, or the other way round", `SELECT count(*) FROM entities WHERE forgotten IS NULL AND named<>(current=0)`},
		rule{"observations are gone and taken for current", `SELECT count(*) FROM observations WHERE gone IS NOT NULL AND state<2`},
		rule{"relations have more than one row in force", `SELECT count(*) FROM (SELECT 1 FROM relations WHERE past=0 GROUP BY id HAVING count(*)>1)`},
		rule{"scopes count their passages wrong", `SELECT count(*) FROM scopes s WHERE s.passages<>(SELECT count(*) FROM observations o WHERE o.scope=s.n)+(SELECT count(*) FROM entities e WHERE e.scope=s.n AND e.named=1)`},
		rule{"observations or relations have no origin", `SELECT (SELECT count(*) FROM observations o WHERE NOT EXISTS (SELECT 1 FROM origins g WHERE g.n=o.origin AND o.id BETWEEN g.first AND g.last))+
			(SELECT count(*) FROM relations r WHERE NOT EXISTS (SELECT 1 FROM origins g WHERE g.n=r.origin AND r.n BETWEEN g.first AND g.last))`},
	)
}

// Check runs SQLite's integrity check and ours. It returns what is wrong, nothing when all is well.
func (db *DB) Check(ctx context.Context, deep bool) (faults []string, err error) {
	err = db.view(ctx, "check", func(c *conn) error {
		// FTS5 remembers where its data is, and asks whether that has changed when it is searched, but not
		// when it is checked.
		if _, err := c.number(`SELECT rowid FROM passages WHERE passages MATCH '"a"' LIMIT 1`); err != nil {
			return err
		}
		pragma := `PRAGMA quick_check(20)`
		if deep {
			pragma = `PRAGMA integrity_check(20)` // which has FTS5 check itself, too
			// FTS5 keeps the structure of its index with the connection and sees that another
			// connection changed it only when it is queried, not when it is checked: without this
			// query it would look for blocks that are gone, and call that corruption.
			if err := c.each(`SELECT rowid FROM passages WHERE passages MATCH 'x' LIMIT 1`, nil, func(*sqlite3.Stmt) error { return nil }); err != nil {
				return err
			}
		}
		err := c.each(pragma, nil, func(st *sqlite3.Stmt) error {
			if text := st.ColumnText(0); text != "ok" {
				faults = append(faults, text)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range rules(deep) {
			n, err := c.number(r.count)
			if err != nil {
				return err
			}
			if n > 0 {
				faults = append(faults, fmt.Sprintf("%d %s", n, r.fault))
			}
		}
		return nil
	})
	return faults, err
}

// reindexSlice is how many passages are indexed anew in one transaction.
const reindexSlice = 500

// Reindex makes the text index and the SQL indexes anew. It replaces entry by entry, so that
// searches go on meanwhile; an index that is damaged too much for that is emptied first.
func (db *DB) Reindex(ctx context.Context, progress func(done, total int64)) error {
	var total, done int64
	err := db.view(ctx, "reindex", func(c *conn) (err error) {
		total, err = c.number(`SELECT (SELECT count(*) FROM observations)+(SELECT count(*) FROM entities WHERE named=1)`)
		return err
	})
	if err != nil {
		return err
	}
	err = db.write(ctx, "reindex", func(t *tx) error {
		var stray []int64
		err := t.each(`SELECT i.passage FROM (SELECT id AS passage FROM passages_docsize) i `+textTables+` WHERE NOT `+textThere, nil, func(st *sqlite3.Stmt) error {
			stray = append(stray, st.ColumnInt64(0))
			return nil
		})
		for i := 0; err == nil && i < len(stray); i++ {
			err = t.exec(`DELETE FROM passages WHERE rowid=?`, stray[i])
		}
		if err == nil {
			err = t.exec(`INSERT INTO passages (passages) VALUES ('integrity-check')`)
		}
		if err != nil {
			db.cfg.Logger.WarnContext(ctx, "text index of the memory was emptied to be made anew", "error", err)
			return t.exec(`INSERT INTO passages (passages) VALUES ('delete-all')`)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, source := range []string{
		`SELECT o.id, o.scope, e.name, e.type, o.text FROM observations o CROSS JOIN entities e ON e.id=o.entity WHERE o.id>? ORDER BY o.id LIMIT ?`,
		`SELECT e.id, e.scope, e.name, e.type, '' FROM entities e WHERE e.id>? AND e.named=1 ORDER BY e.id LIMIT ?`,
	} {
		for after := int64(0); after >= 0; {
			err := db.write(ctx, "reindex", func(t *tx) (err error) {
				after, err = t.reindex(source, after)
				return err
			})
			if err != nil {
				return err
			}
			done = min(done+reindexSlice, total)
			if progress != nil {
				progress(done, total)
			}
		}
	}
	return db.write(ctx, "reindex", func(t *tx) error {
		if err := t.exec(`UPDATE scopes SET passages=(SELECT count(*) FROM observations o WHERE o.scope=scopes.n)+(SELECT count(*) FROM entities e WHERE e.scope=scopes.n AND e.named=1)`); err != nil {
			return err
		}
		err := t.Exec(`DELETE FROM tallies; INSERT INTO tallies ` + tallies + `;
			UPDATE totals SET n=CASE what WHEN 'observations' THEN (SELECT count(*) FROM observations) ELSE (SELECT count(*) FROM relations WHERE past=0) END`)
		if err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO passages (passages) VALUES ('optimize')`); err != nil {
			return err
		}
		return t.Exec(`REINDEX`)
	})
}

// reindex indexes a slice of passages anew, and returns the last of them, -1 when there are no more.
func (t *tx) reindex(source string, after int64) (int64, error) {
	type passage struct {
		id, scope        int64
		name, kind, text string
	}
	slice := make([]passage, 0, reindexSlice)
	err := t.each(source, []any{after, reindexSlice}, func(st *sqlite3.Stmt) error {
		slice = append(slice, passage{st.ColumnInt64(0), st.ColumnInt64(1), st.ColumnText(2), st.ColumnText(3), st.ColumnText(4)})
		return nil
	})
	if err != nil {
		return after, err
	}
	for _, p := range slice {
		if err := t.exec(`DELETE FROM passages WHERE rowid=?`, p.id); err != nil {
			return after, err
		}
		e := entity{scope: p.scope}
		e.Name, e.Type = p.name, p.kind
		if err := t.addPassage(p.id, &e, p.text); err != nil {
			return after, err
		}
		t.moved[p.scope]-- // it was counted before
		after = p.id
	}
	if len(slice) < reindexSlice {
		return -1, nil
	}
	return after, nil
}
