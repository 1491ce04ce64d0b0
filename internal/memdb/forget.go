package memdb

import (
	"context"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// Forget closes the known time of what it is given.
func (db *DB) Forget(ctx context.Context, a memory.Access, f memory.Forgetting) (memory.Changed, error) {
	var changed memory.Changed
	err := db.write(ctx, "forget", func(t *tx) (err error) {
		changed = memory.Changed{}
		if t.seen, err = t.sees(a); err != nil {
			return err
		}
		t.by = f.By
		for _, id := range f.Observations {
			if err := t.forgetObservation(id, &changed); err != nil {
				return err
			}
		}
		for _, id := range f.Relations {
			if err := t.forgetRelation(id, &changed); err != nil {
				return err
			}
		}
		for _, id := range f.Entities {
			if err := t.forgetEntity(id, &changed); err != nil {
				return err
			}
		}
		return t.hide(&changed)
	})
	if err != nil {
		return memory.Changed{}, err
	}
	return changed, nil
}

// end returns the number of the act that takes something back, writing it down the first time.
func (t *tx) end(kind memory.ChangeKind, actor, reason string) (int64, error) {
	if t.ending != 0 {
		return t.ending, nil
	}
	origin, err := t.act()
	if err != nil {
		return 0, err
	}
	err = t.exec(`INSERT INTO endings (at, kind, actor, reason, origin) VALUES (?, ?, ?, ?, ?)`, t.now, string(kind), actor, reason, origin)
	t.ending = t.LastInsertRowID()
	return t.ending, err
}

func (t *tx) forgetting() (int64, error) {
	actor := t.by.By
	if actor == "" {
		actor = string(t.by.AgentID)
	}
	return t.end(memory.Forgotten, actor, "")
}

// current returns an entity for writing, without its scope.
func (t *tx) current(id caxton.EntityID) (e entity, ok bool, err error) {
	q := (&query{}).add(`SELECT `+entityColumns+` FROM entities e WHERE e.id=? AND e.forgotten IS NULL`, int64(id)).sees(t.seen, "e.scope")
	ok, err = q.one(t.conn, func(st *sqlite3.Stmt) { e = scanEntity(st) })
	return e, ok, err
}

func (t *tx) forgetObservation(id caxton.ObservationID, changed *memory.Changed) error {
	var o observation
	q := (&query{}).add(`SELECT `+observationColumns+` FROM observations o WHERE o.id=? AND o.gone IS NULL`, int64(id)).sees(t.seen, "o.scope")
	ok, err := q.one(t.conn, func(st *sqlite3.Stmt) { o = scanObservation(st) })
	if err != nil {
		return err
	}
	if !ok {
		return caxton.Errorf(caxton.NotFound, "observation_not_found", "there is no observation %s", id).
			WithHint("it was forgotten or reverted, or is in a scope that is not open here")
	}
	e, ok, err := t.current(o.EntityID)
	if err != nil || !ok {
		return err
	}
	ending, err := t.forgetting()
	if err != nil {
		return err
	}
	before := e
	var all []int64 // and what repeats it
	err = t.each(`SELECT id FROM observations WHERE (id=?1 OR same=?1) AND gone IS NULL ORDER BY id`, []any{int64(o.said())}, func(st *sqlite3.Stmt) error {
		all = append(all, st.ColumnInt64(0))
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range all {
		if err := t.exec(`UPDATE observations SET gone=?, ending=? WHERE id=?`, t.now, ending, n); err != nil {
			return err
		}
	}
	for _, n := range all {
		turned, err := t.restate(&e, n)
		if err != nil {
			return err
		}
		if turned < 0 {
			changed.Observations = append(changed.Observations, caxton.ObservationID(n))
		}
	}
	if err := t.event(e.ID, memory.Forgotten, id, 0, ""); err != nil {
		return err
	}
	return t.settle(&e, before)
}

func (t *tx) forgetRelation(id caxton.RelationID, changed *memory.Changed) error {
	var rel relation
	q := (&query{}).add(`SELECT `+relationColumns+` FROM relations r `+relationEnds+` WHERE (r.n=? OR r.id=? AND r.n<>r.id) AND r.past=0`, int64(id), int64(id)).
		sees(t.seen, "r.scope").sees(t.seen, "a.scope").sees(t.seen, "b.scope")
	ok, err := q.one(t.conn, func(st *sqlite3.Stmt) { rel = scanRelation(st) })
	if err != nil {
		return err
	}
	if !ok {
		return caxton.Errorf(caxton.NotFound, "relation_not_found", "there is no relation %s", id).
			WithHint("it was forgotten or reverted, or is in a scope that is not open here")
	}
	return t.closeRelation(&rel, changed)
}

// closeRelation ends all that was said of a relation.
func (t *tx) closeRelation(rel *relation, changed *memory.Changed) error {
	ending, err := t.forgetting()
	if err != nil {
		return err
	}
	err = t.exec(`UPDATE relations SET gone=?1, ending=?2, past=1 WHERE (n=?3 OR id=?3 AND n<>id) AND gone IS NULL`, t.now, ending, int64(rel.ID))
	if err != nil {
		return err
	}
	changed.Relations = append(changed.Relations, rel.ID)
	for _, id := range []caxton.EntityID{rel.From, rel.To} {
		if err := t.event(id, memory.Unrelated, 0, rel.ID, ""); err != nil {
			return err
		}
		if err := t.exec(`UPDATE entities SET updated=? WHERE id=?`, t.now, int64(id)); err != nil {
			return err
		}
		if rel.From == rel.To {
			break
		}
	}
	return nil
}

func (t *tx) forgetEntity(id caxton.EntityID, changed *memory.Changed) error {
	e, ok, err := t.current(id)
	if err != nil {
		return err
	}
	if !ok {
		return entityNotFound(id)
	}
	ending, err := t.forgetting()
	if err != nil {
		return err
	}
	err = t.each(`SELECT id FROM observations WHERE entity=? AND state<2`, []any{int64(id)}, func(st *sqlite3.Stmt) error {
		changed.Observations = append(changed.Observations, caxton.ObservationID(st.ColumnInt64(0)))
		return t.logVector(st.ColumnInt64(0))
	})
	if err != nil {
		return err
	}
	if err := t.exec(`UPDATE observations SET gone=?, ending=?, state=2 WHERE entity=? AND gone IS NULL`, t.now, ending, int64(id)); err != nil {
		return err
	}
	var rels []relation
	err = t.each(`SELECT `+relationColumns+` FROM relations r `+relationEnds+`
		WHERE r.n IN (SELECT n FROM relations WHERE source=?1 UNION SELECT n FROM relations WHERE target=?1) AND r.past=0`,
		[]any{int64(id)}, func(st *sqlite3.Stmt) error {
			rels = append(rels, scanRelation(st))
			return nil
		})
	if err != nil {
		return err
	}
	for i := range rels {
		if err := t.closeRelation(&rels[i], changed); err != nil {
			return err
		}
	}
	// Rows that were taken back in favour of others end, too: nothing of it may come again.
	err = t.exec(`UPDATE relations SET gone=?1, ending=?2, past=1 WHERE (source=?3 OR target=?3) AND gone IS NULL`, t.now, ending, int64(id))
	if err != nil {
		return err
	}
	if e.named {
		if err := t.logVector(int64(id)); err != nil {
			return err
		}
	}
	changed.Entities = append(changed.Entities, id)
	if err := t.event(id, memory.EntityForgotten, 0, 0, ""); err != nil {
		return err
	}
	return t.exec(`UPDATE entities SET forgotten=?, current=0, bytes=0, updated=? WHERE id=?`, t.now, t.now, int64(id))
}
