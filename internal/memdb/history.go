package memdb

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// A moment is a change with its place among those of one time.
type moment struct {
	memory.Change
	rank int64
}

// History returns everything that happened to an entity, oldest first, also after it was forgotten.
func (db *DB) History(ctx context.Context, a memory.Access, id caxton.EntityID) ([]memory.Change, error) {
	var all []moment
	err := db.look(ctx, "history", a, memory.AsOf{}, func(r *reader) error {
		var e entity
		q := (&query{}).add(`SELECT `+entityColumns+` FROM entities e WHERE e.id=?`, int64(id)).sees(r.seen, "e.scope")
		ok, err := q.one(r.conn, func(st *sqlite3.Stmt) { e = scanEntity(st) })
		if err != nil {
			return err
		}
		if !ok {
			return entityNotFound(id)
		}
		all, err = r.history(&e)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(x, y moment) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.rank, y.rank)) })
	changes := make([]memory.Change, len(all))
	for i := range all {
		changes[i] = all[i].Change
	}
	return changes, nil
}

func (r *reader) history(e *entity) ([]moment, error) {
	all, err := r.versions(e)
	if err != nil {
		return nil, err
	}
	observations, err := r.everObserved(e)
	if err != nil {
		return nil, err
	}
	for _, o := range observations {
		all = append(all, moment{memory.Change{At: o.Known.From, Kind: memory.Observed, Observation: o, Provenance: o.Provenance}, int64(o.ID)})
	}
	relations, said, err := r.everRelated(e)
	if err != nil {
		return nil, err
	}
	all = append(all, said...)
	type row struct {
		moment
		observation, relation, origin int64
	}
	var rows []row
	err = r.each(`SELECT n, at, kind, observation, relation, detail, origin FROM events WHERE entity=? ORDER BY n`, []any{int64(e.ID)}, func(st *sqlite3.Stmt) error {
		rows = append(rows, row{
			moment{memory.Change{At: timeOf(st, 1), Kind: memory.ChangeKind(st.ColumnText(2)), Detail: st.ColumnText(5)}, math.MaxInt64 - 1<<40 + st.ColumnInt64(0)},
			st.ColumnInt64(3), st.ColumnInt64(4), st.ColumnInt64(6),
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, w := range rows {
		if w.Provenance, err = r.provenance(w.origin); err != nil {
			return nil, err
		}
		w.Observation = observations[w.observation]
		if w.relation != 0 {
			if w.Relation = relations[w.relation]; w.Relation == nil {
				continue // its other end is not to be seen
			}
		}
		all = append(all, w.moment)
	}
	return all, nil
}

// versions tells how an entity was made and changed.
func (r *reader) versions(e *entity) (all []moment, err error) {
	type version struct {
		kind       string
		importance float64
		metadata   string
		since      int64
		origin     int64
	}
	var vs []version
	err = r.each(`SELECT type, importance, metadata, since, origin FROM versions WHERE entity=? ORDER BY version`, []any{int64(e.ID)}, func(st *sqlite3.Stmt) error {
		vs = append(vs, version{st.ColumnText(0), st.ColumnFloat(1), st.ColumnText(2), st.ColumnInt64(3), st.ColumnInt64(4)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	vs = append(vs, version{e.Type, e.Importance, string(e.Metadata), e.since, e.origin})
	for i, v := range vs {
		m := moment{memory.Change{At: e.CreatedAt, Kind: memory.EntityCreated}, 0}
		if i > 0 {
			var parts []string
			was := vs[i-1]
			if was.kind != v.kind {
				parts = append(parts, "type "+was.kind+" → "+v.kind)
			}
			if was.importance != v.importance {
				parts = append(parts, "importance "+number(was.importance)+" → "+number(v.importance))
			}
			if was.metadata != v.metadata {
				parts = append(parts, "metadata")
			}
			m = moment{memory.Change{At: fromMicros(v.since), Kind: memory.EntityUpdated, Detail: strings.Join(parts, ", ")}, int64(i)}
		}
		if m.Provenance, err = r.provenance(v.origin); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// everObserved returns all observations there ever were of an entity.
func (r *reader) everObserved(e *entity) (map[int64]*caxton.Observation, error) {
	var rows []observation
	q := (&query{}).add(`SELECT `+observationColumns+` FROM observations o WHERE o.entity=?`, int64(e.ID)).sees(r.seen, "o.scope")
	err := q.each(r.conn, func(st *sqlite3.Stmt) error {
		rows = append(rows, scanObservation(st))
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make(map[int64]*caxton.Observation, len(rows))
	for i := range rows {
		if err := r.complete(&rows[i]); err != nil {
			return nil, err
		}
		all[int64(rows[i].ID)] = &rows[i].Observation
	}
	return all, nil
}

// everRelated returns what was said last of each relation there ever was at an entity, and each time it was said.
func (r *reader) everRelated(e *entity) (last map[int64]*caxton.Relation, said []moment, err error) {
	var rows []relation
	q := (&query{}).add(`SELECT `+relationColumns+` FROM relations r `+relationEnds+`
		WHERE r.n IN (SELECT n FROM relations WHERE source=? UNION SELECT n FROM relations WHERE target=?)`, int64(e.ID), int64(e.ID)).
		sees(r.seen, "r.scope").sees(r.seen, "a.scope").sees(r.seen, "b.scope").add(`ORDER BY r.n`)
	err = q.each(r.conn, func(st *sqlite3.Stmt) error {
		rows = append(rows, scanRelation(st))
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	last = map[int64]*caxton.Relation{}
	for i := range rows {
		if err := r.completeRelation(&rows[i]); err != nil {
			return nil, nil, err
		}
		rel := &rows[i].Relation
		last[int64(rel.ID)] = rel
		said = append(said, moment{memory.Change{At: rel.Known.From, Kind: memory.Related, Relation: rel, Provenance: rel.Provenance}, rows[i].n})
	}
	return last, said, nil
}
