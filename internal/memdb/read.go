package memdb

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// maxPage is how much a list returns at once.
const maxPage = 1000

// look runs fn with a reader of what a may see as of a time.
func (db *DB) look(ctx context.Context, kind string, a memory.Access, at memory.AsOf, fn func(*reader) error) error {
	epoch := db.postings.now()
	return db.view(ctx, kind, func(c *conn) error {
		s, err := c.sees(a)
		if err != nil {
			return err
		}
		r := c.reader(s, at, db.now())
		r.postings, r.epoch = &db.postings, epoch
		return fn(r)
	})
}

// thereAt is the condition that an entity was there at clock.k.
const thereAt = `e.created<=clock.k AND (e.forgotten IS NULL OR e.forgotten>clock.k)`

// Entity returns an entity with its observations as of a time.
func (db *DB) Entity(ctx context.Context, a memory.Access, id caxton.EntityID, at memory.AsOf) (caxton.Entity, error) {
	var e entity
	err := db.look(ctx, "entity", a, at, func(r *reader) (err error) {
		if e, err = r.entity(id); err != nil {
			return err
		}
		e.Observations, err = r.observations(at, id)
		return err
	})
	return e.Entity, err
}

// entity returns an entity as it was known.
func (r *reader) entity(id caxton.EntityID) (entity, error) {
	var e entity
	q := (&query{}).add(`SELECT `+entityColumns+` FROM `+clock+` CROSS JOIN entities e WHERE e.id=? AND `+thereAt, r.known, r.valid, int64(id))
	ok, err := q.sees(r.seen, "e.scope").one(r.conn, func(st *sqlite3.Stmt) { e = scanEntity(st) })
	if err == nil && !ok {
		err = entityNotFound(id)
	}
	if err == nil {
		err = r.asKnown(&e)
	}
	return e, err
}

// observations returns those of an entity that hold, oldest first.
func (r *reader) observations(at memory.AsOf, id caxton.EntityID) ([]caxton.Observation, error) {
	var rows []observation
	q := (&query{}).add(`SELECT `+observationColumns+` FROM `+clock+` CROSS JOIN observations o WHERE o.entity=?`, r.known, r.valid, int64(id))
	err := q.sees(r.seen, "o.scope").add(`AND `+r.holding(at)+` ORDER BY o.known_from, o.id`).each(r.conn, func(st *sqlite3.Stmt) error {
		rows = append(rows, scanObservation(st))
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]caxton.Observation, len(rows))
	for i := range rows {
		if err := r.complete(&rows[i]); err != nil {
			return nil, err
		}
		all[i] = rows[i].Observation
	}
	return all, nil
}

// Named returns the entities of a name, ignoring case, narrowest scope first, without observations.
func (db *DB) Named(ctx context.Context, a memory.Access, name string, at memory.AsOf) ([]caxton.Entity, error) {
	var all []entity
	err := db.look(ctx, "named", a, at, func(r *reader) error {
		q := (&query{}).add(`SELECT `+entityColumns+` FROM `+clock+` CROSS JOIN entities e WHERE e.fold=? AND `+thereAt, r.known, r.valid, fold(cleanName(name)))
		if !r.past(at) {
			q.add(`AND e.forgotten IS NULL`) // the index is over these
		}
		err := q.sees(r.seen, "e.scope").each(r.conn, func(st *sqlite3.Stmt) error {
			all = append(all, scanEntity(st))
			return nil
		})
		if err != nil {
			return err
		}
		return r.allAsKnown(all)
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(x, y entity) int {
		return cmp.Or(cmp.Compare(width(x.Scope), width(y.Scope)), cmp.Compare(x.ID, y.ID))
	})
	return plain(all), nil
}

func (r *reader) allAsKnown(all []entity) error {
	for i := range all {
		if err := r.asKnown(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func plain(rows []entity) []caxton.Entity {
	all := make([]caxton.Entity, len(rows))
	for i := range rows {
		all[i] = rows[i].Entity
	}
	return all
}

// Entities returns a page of entities without observations, most recently updated first.
func (db *DB) Entities(ctx context.Context, a memory.Access, f memory.Filter, cursor string, limit int) (page []caxton.Entity, next string, err error) {
	if limit <= 0 || limit > maxPage {
		limit = 50
	}
	updated, id := int64(math.MaxInt64), int64(math.MaxInt64)
	if cursor != "" {
		if updated, id, err = parseCursor(cursor); err != nil {
			return nil, "", err
		}
	}
	at := asOf(f)
	err = db.look(ctx, "entities", a, at, func(r *reader) error {
		var rows []entity
		list := func(s seen) error {
			q := (&query{}).add(`SELECT `+entityColumns+` FROM `+clock+` CROSS JOIN entities e WHERE `+thereAt, r.known, r.valid).sees(s, "e.scope")
			if len(s.ns) == 1 { // the index has them in order
				q = (&query{}).add(`SELECT `+entityColumns+` FROM `+clock+` CROSS JOIN entities e WHERE `+thereAt+` AND e.scope=?`, r.known, r.valid, s.ns[0])
			}
			r.filterEntity(q, f)
			r.filterObserved(q, f, at)
			q.add(`AND e.updated<=? AND (e.updated, e.id)<(?, ?) ORDER BY e.updated DESC, e.id DESC LIMIT ?`, updated, updated, id, limit+1)
			return q.each(r.conn, func(st *sqlite3.Stmt) error {
				rows = append(rows, scanEntity(st))
				return nil
			})
		}
		if err := r.perScope(list); err != nil {
			return err
		}
		slices.SortFunc(rows, func(x, y entity) int {
			return cmp.Or(y.UpdatedAt.Compare(x.UpdatedAt), cmp.Compare(y.ID, x.ID))
		})
		if len(rows) > limit {
			rows = rows[:limit]
			last := rows[limit-1]
			next = strconv.FormatInt(micros(last.UpdatedAt), 36) + "." + strconv.FormatInt(int64(last.ID), 36)
		}
		if err := r.allAsKnown(rows); err != nil {
			return err
		}
		page = plain(rows)
		return nil
	})
	return page, next, err
}

// perScope calls list for each scope that is seen, or once for all of them when they are many.
func (r *reader) perScope(list func(seen) error) error {
	s := r.seen
	const many = 64
	if s.all {
		err := r.each(`SELECT n FROM scopes LIMIT ?`, []any{many + 1}, func(st *sqlite3.Stmt) error {
			s.ns = append(s.ns, st.ColumnInt64(0))
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(s.ns) > many {
		return list(r.seen)
	}
	for _, n := range s.ns {
		if err := list(seen{ns: []int64{n}}); err != nil {
			return err
		}
	}
	return nil
}

func parseCursor(s string) (a, b int64, err error) {
	x, y, ok := strings.Cut(s, ".")
	a, err = strconv.ParseInt(x, 36, 64)
	if err == nil && ok {
		b, err = strconv.ParseInt(y, 36, 64)
	}
	if err != nil {
		return 0, 0, caxton.Errorf(caxton.Invalid, "cursor_invalid", "%.80q is not a cursor", s).WithHint(`use the "next" of the page before`)
	}
	return a, b, nil
}

// Relations returns the relations at an entity, or all when id is 0, as of a time. Both ends of each
// are within the access.
func (db *DB) Relations(ctx context.Context, a memory.Access, id caxton.EntityID, at memory.AsOf, cursor string, limit int) (page []caxton.Relation, next string, err error) {
	if limit <= 0 || limit > maxPage {
		limit = 50
	}
	after := int64(0)
	if cursor != "" {
		if after, _, err = parseCursor(cursor); err != nil {
			return nil, "", err
		}
	}
	err = db.look(ctx, "relations", a, at, func(r *reader) error {
		if id != 0 {
			if _, err := r.entity(id); err != nil {
				return err
			}
		}
		rows, err := r.relations(id, at, after, limit+1)
		if err != nil {
			return err
		}
		if len(rows) > limit {
			rows = rows[:limit]
			next = strconv.FormatInt(rows[limit-1].n, 36)
		}
		page = make([]caxton.Relation, len(rows))
		for i := range rows {
			page[i] = rows[i].Relation
		}
		return nil
	})
	return page, next, err
}

// Related returns the relations with these IDs that a may see, as of a time, in the order of ids.
func (db *DB) Related(ctx context.Context, a memory.Access, ids []caxton.RelationID, at memory.AsOf) (all []caxton.Relation, err error) {
	err = db.look(ctx, "related", a, at, func(r *reader) error {
		q := (&query{}).add(`SELECT `+relationColumns+` FROM `+clock+` CROSS JOIN relations r `+relationEnds+` WHERE (r.n=? OR r.id=? AND r.n<>r.id)`,
			r.known, r.valid, nil, nil).sees(r.seen, "r.scope").sees(r.seen, "a.scope").sees(r.seen, "b.scope").add(`AND ` + r.forced(at))
		statement := q.b.String()
		all = make([]caxton.Relation, 0, len(ids))
		for _, id := range ids {
			q.args[2], q.args[3] = int64(id), int64(id)
			var rel relation
			ok, err := r.one(statement, q.args, func(st *sqlite3.Stmt) { rel = scanRelation(st) })
			if err == nil && ok {
				err = r.completeRelation(&rel)
				all = append(all, rel.Relation)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// forced is the condition for relations at the reader's time.
func (r *reader) forced(at memory.AsOf) string {
	if r.past(at) {
		return inForce
	}
	return inForceNow
}

func (r *reader) relations(id caxton.EntityID, at memory.AsOf, after int64, limit int) (rows []relation, err error) {
	q := (&query{}).add(`SELECT `+relationColumns+` FROM `+clock+` CROSS JOIN relations r `+relationEnds+` WHERE r.n>?`, r.known, r.valid, after)
	if id != 0 {
		q.add(`AND r.n IN (SELECT n FROM relations WHERE source=? UNION SELECT n FROM relations WHERE target=?)`, int64(id), int64(id))
	}
	q.sees(r.seen, "r.scope").sees(r.seen, "a.scope").sees(r.seen, "b.scope")
	err = q.add(`AND `+r.forced(at)+` ORDER BY r.n LIMIT ?`, limit).each(r.conn, func(st *sqlite3.Stmt) error {
		rows = append(rows, scanRelation(st))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if err := r.completeRelation(&rows[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// number prints a number for people.
func number(f float64) string { return strconv.FormatFloat(f, 'g', 3, 64) }
