package memdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Remember writes memos in order, in one transaction. Relations come after all entities, so that a
// memo may link to one that a later memo makes.
func (db *DB) Remember(ctx context.Context, a memory.Access, memos []memory.Memo, by caxton.Provenance) ([]memory.Remembered, error) {
	memos, err := clean(memos, time.UnixMicro(db.now()))
	if err != nil {
		return nil, err
	}
	var done []memory.Remembered
	err = db.write(ctx, "remember", func(t *tx) (err error) {
		if t.seen, err = t.sees(a); err != nil {
			return err
		}
		t.by = by
		done = make([]memory.Remembered, len(memos))
		for i := range memos {
			if done[i], err = t.memo(a, &memos[i]); err != nil {
				return inMemo(err, len(memos), i)
			}
		}
		for i := range memos {
			for j, l := range memos[i].Links {
				rel, err := t.link(done[i].Entity, l)
				if e, ok := errors.AsType[*caxton.Error](err); ok {
					return located(e, len(memos), i, j, "link")
				}
				if err != nil {
					return err
				}
				done[i].Relations = append(done[i].Relations, rel)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

func inMemo(err error, memos, i int) error {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return located(e, memos, i, -1, "")
	}
	return err
}

// memo writes an entity and its notes.
func (t *tx) memo(a memory.Access, m *memory.Memo) (memory.Remembered, error) {
	var r memory.Remembered
	e, created, err := t.entity(a, m)
	if err != nil {
		return r, err
	}
	r.Created = created
	before := e
	for i := range m.Notes {
		noted, err := t.note(&e, &m.Notes[i], created && len(m.Notes) == 1)
		if ce, ok := errors.AsType[*caxton.Error](err); ok {
			return r, located(ce, 1, 0, i, "note")
		}
		if err != nil {
			return r, err
		}
		r.Observations = append(r.Observations, noted)
	}
	if err := t.settle(&e, before); err != nil {
		return r, err
	}
	e.UpdatedAt = time.UnixMicro(t.now).UTC()
	r.Entity = e.Entity
	return r, nil
}

// entity finds or makes the entity of a memo and brings it up to date.
func (t *tx) entity(a memory.Access, m *memory.Memo) (e entity, created bool, err error) {
	var scope int64
	q := (&query{}).add(`SELECT ` + entityColumns + ` FROM entities e WHERE e.forgotten IS NULL`)
	if m.ID != 0 {
		q.add(`AND e.id=?`, int64(m.ID)).sees(t.seen, "e.scope")
	} else {
		if scope, err = t.scope(a, m.Scope); err != nil {
			return e, false, err
		}
		q.add(`AND e.fold=? AND e.scope=? AND e.name=?`, fold(m.Name), scope, m.Name)
	}
	ok, err := q.one(t.conn, func(st *sqlite3.Stmt) { e = scanEntity(st) })
	switch {
	case err != nil:
		return e, false, err
	case !ok && m.ID != 0:
		return e, false, entityNotFound(m.ID)
	case !ok && m.ExistingOnly:
		return e, false, caxton.Errorf(caxton.NotFound, "entity_not_found", "nothing is remembered of %q in scope %s", m.Name, m.Scope).
			WithHint("look for it by a search; names differ in capitals, too")
	case !ok:
		e, err = t.create(m, scope)
		return e, true, err
	case m.CreateOnly:
		return e, false, caxton.Errorf(caxton.Conflict, "entity_exists", "%q is remembered in scope %s already", e.Name, m.Scope).
			WithHint("add to it, or choose another name")
	}
	r := t.reader(t.seen, memory.AsOf{}, t.now)
	if e.Scope, err = r.scopeOf(e.scope); err != nil {
		return e, false, err
	}
	return e, false, t.update(&e, m)
}

func entityNotFound(id caxton.EntityID) error {
	return caxton.Errorf(caxton.NotFound, "entity_not_found", "there is no entity %s", id).
		WithHint("it was forgotten, or is in a scope that is not open here")
}

func (t *tx) create(m *memory.Memo, scope int64) (entity, error) {
	e := entity{scope: scope, since: t.now}
	e.Entity = caxton.Entity{
		ID: caxton.EntityID(t.id()), Scope: m.Scope, Name: m.Name, Type: m.Type, Importance: caxton.DefaultImportance, Metadata: m.Metadata,
		Version: 1, CreatedAt: time.UnixMicro(t.now).UTC(),
	}
	e.Known.From = e.CreatedAt
	if e.Type == "" {
		e.Type = memory.DefaultType
	}
	if m.Importance != nil {
		e.Importance = *m.Importance
	}
	origin, err := t.act()
	if err != nil {
		return e, err
	}
	e.origin = origin
	return e, t.exec(`INSERT INTO entities (id, scope, name, fold, type, importance, metadata, version, created, since, updated, origin)
		VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)`,
		int64(e.ID), e.scope, e.Name, fold(e.Name), e.Type, e.Importance, textOrNull(string(e.Metadata)), t.now, t.now, t.now, origin)
}

// update brings an entity's fields to what a memo says, keeping what was.
func (t *tx) update(e *entity, m *memory.Memo) error {
	kind, importance, metadata := e.Type, e.Importance, e.Metadata
	if m.Type != "" && m.Type != kind {
		if kind != memory.DefaultType {
			return caxton.Errorf(caxton.Conflict, "entity_type_differs", "%q is a %s, not a %s", e.Name, kind, m.Type).
				WithHint("leave the type out to add to it, or choose another name")
		}
		kind = m.Type
	}
	if m.Importance != nil {
		importance = *m.Importance
	}
	if m.Metadata != nil {
		metadata = m.Metadata
	}
	if kind == e.Type && importance == e.Importance && slices.Equal(metadata, e.Metadata) {
		return nil
	}
	origin, err := t.act()
	if err != nil {
		return err
	}
	if t.now == e.since { // within one microsecond nobody can have seen it
		e.since--
	}
	err = t.exec(`INSERT INTO versions (entity, version, type, importance, metadata, since, until, origin) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(e.ID), e.Version, e.Type, e.Importance, textOrNull(string(e.Metadata)), e.since, t.now, e.origin)
	if err != nil {
		return err
	}
	retyped := kind != e.Type
	e.Type, e.Importance, e.Metadata, e.origin, e.since = kind, importance, metadata, origin, t.now
	e.Version++
	err = t.exec(`UPDATE entities SET type=?, importance=?, metadata=?, version=?, since=?, updated=?, origin=? WHERE id=?`,
		e.Type, e.Importance, textOrNull(string(e.Metadata)), e.Version, t.now, t.now, origin, int64(e.ID))
	if err != nil || !retyped {
		return err
	}
	return t.rewrite(e)
}

// rewrite gives the indexes an entity's passages anew: their text has changed.
func (t *tx) rewrite(e *entity) error {
	type passage struct {
		id   int64
		text string
	}
	var all []passage
	if e.named {
		all = append(all, passage{int64(e.ID), ""})
	}
	err := t.each(`SELECT id, text FROM observations WHERE entity=?`, []any{int64(e.ID)}, func(st *sqlite3.Stmt) error {
		all = append(all, passage{st.ColumnInt64(0), st.ColumnText(1)})
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range all {
		if err := t.dropPassage(p.id, e.scope); err != nil {
			return err
		}
		if err := t.addPassage(p.id, e, p.text); err != nil {
			return err
		}
	}
	return nil
}

// addPassage puts a passage into the text index.
func (t *tx) addPassage(id int64, e *entity, text string) error {
	t.moved[e.scope]++
	t.reword(id)
	return t.exec(`INSERT INTO passages (rowid, words) VALUES (?, ?)`, id, document(e.Name, e.Type, text, e.scope))
}

// reword notes that the text index changes where a list of passages that was read before may have been.
func (t *tx) reword(id int64) { t.db.reworded = t.db.reworded || id <= t.db.lastID }

// dropPassage takes a passage out of the text index and removes its embeddings.
func (t *tx) dropPassage(id, scope int64) error {
	t.moved[scope]--
	t.reword(id)
	if err := t.exec(`DELETE FROM passages WHERE rowid=?`, id); err != nil {
		return err
	}
	return t.dropVectors(id)
}

func (t *tx) dropVectors(id int64) error {
	err := t.exec(`UPDATE models SET vectors=vectors-1 WHERE n IN (SELECT model FROM embeddings WHERE passage=?)`, id)
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM embeddings WHERE passage=?`, id); err != nil || t.Changes() == 0 {
		return err
	}
	return t.logVector(id)
}

// logVector notes that a passage's vector or group is another one.
func (t *tx) logVector(id int64) error {
	return t.exec(`INSERT INTO vector_log (passage) VALUES (?)`, id)
}

// settle writes down what has become of an entity by its notes, and sees to it that it is a passage
// itself just when it has no current observation.
func (t *tx) settle(e *entity, before entity) error {
	if e.bytes > caxton.MaxEntityText && e.bytes > before.bytes {
		return caxton.Errorf(caxton.TooLarge, "entity_full", "the observations of %q would have %d bytes, at most %d are kept", e.Name, e.bytes, caxton.MaxEntityText).
			WithHint("forget some of them, or put them with another entity")
	}
	if named := e.current == 0; named != e.named && e.forgotten == 0 {
		e.named = named
		var err error
		if named {
			err = t.addPassage(int64(e.ID), e, "")
		} else {
			err = t.dropPassage(int64(e.ID), e.scope)
		}
		if err != nil {
			return err
		}
	}
	named := 0
	if e.named {
		named = 1
	}
	return t.exec(`UPDATE entities SET current=?, bytes=?, named=?, updated=? WHERE id=?`, e.current, e.bytes, named, t.now, int64(e.ID))
}

// event writes down what happened to an entity.
func (t *tx) event(entity caxton.EntityID, kind memory.ChangeKind, o caxton.ObservationID, rel caxton.RelationID, detail string) error {
	origin, err := t.act()
	if err != nil {
		return err
	}
	var obs, relation any
	if o != 0 {
		obs = int64(o)
	}
	if rel != 0 {
		relation = int64(rel)
	}
	if err := t.exec(`INSERT INTO events (entity, at, kind, observation, relation, detail, origin) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		int64(entity), t.now, string(kind), obs, relation, detail, origin); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}
