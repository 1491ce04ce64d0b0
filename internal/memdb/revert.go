package memdb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// Revert takes back what came from somewhere: for the time from now on it is as if it had never
// been said.
func (db *DB) Revert(ctx context.Context, a memory.Access, r memory.Reversal) (memory.Changed, error) {
	var changed memory.Changed
	if len(r.Observations) == 0 && r.Entity == 0 && !byOrigin(r) && r.Since.IsZero() && r.Until.IsZero() {
		return changed, fault("revert_unbounded", "nothing is said of what to revert").
			WithHint("name observations, an entity, a conversation, a message, an agent, a tool, a person or a time")
	}
	err := db.write(ctx, "revert", func(t *tx) (err error) {
		changed = memory.Changed{}
		if t.seen, err = t.sees(a); err != nil {
			return err
		}
		t.by = caxton.Provenance{By: r.Actor}
		if err := t.revertObservations(r, &changed); err != nil {
			return err
		}
		if len(r.Observations) == 0 {
			if err := t.revertRelations(r, &changed); err != nil {
				return err
			}
		}
		if r.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return memory.Changed{}, err
	}
	return changed, nil
}

func byOrigin(r memory.Reversal) bool {
	return cmp.Or(string(r.ConversationID), string(r.MessageID), string(r.AgentID), r.Tool, r.By) != ""
}

// reverting is a query for the rows o of a table that a reversal takes back. Rows of an act of remembering
// have IDs from its first to its last.
func (t *tx) reverting(r memory.Reversal, columns, table, id string) *query {
	q := &query{}
	q.add(`SELECT ` + columns + ` FROM`)
	if byOrigin(r) {
		q.add(`origins g CROSS JOIN ` + table + ` o ON o.` + id + ` BETWEEN g.first AND g.last AND o.origin=g.n WHERE 1`)
		for column, value := range map[string]string{
			"conversation": string(r.ConversationID), "message": string(r.MessageID), "agent": string(r.AgentID), "tool": r.Tool, "by": r.By,
		} {
			if value != "" {
				q.add(`AND g.`+column+`=?`, value)
			}
		}
	} else {
		q.add(table + ` o WHERE 1`)
	}
	q.sees(t.seen, "o.scope")
	if !r.Since.IsZero() {
		q.add(`AND o.known_from>=?`, micros(r.Since))
	}
	if !r.Until.IsZero() {
		q.add(`AND o.known_from<?`, micros(r.Until))
	}
	return q
}

func (t *tx) revertObservations(r memory.Reversal, changed *memory.Changed) error {
	q := t.reverting(r, `o.id, o.entity, o.line, o.supersedes`, `observations`, `id`).add(`AND o.undone IS NULL`)
	if r.Entity != 0 {
		q.add(`AND o.entity=?`, int64(r.Entity))
	}
	if len(r.Observations) > 0 {
		list := make([]int64, len(r.Observations))
		for i, id := range r.Observations {
			list[i] = int64(id)
		}
		text, _ := json.Marshal(list)
		q.add(`AND o.id IN (SELECT value FROM json_each(?))`, string(text))
	}
	type row struct{ id, entity, line, supersedes int64 }
	var rows []row
	err := q.add(`ORDER BY o.entity, o.id`).each(t.conn, func(st *sqlite3.Stmt) error {
		rows = append(rows, row{st.ColumnInt64(0), st.ColumnInt64(1), st.ColumnInt64(2), st.ColumnInt64(3)})
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	ending, err := t.end(memory.Reverted, r.Actor, r.Reason)
	if err != nil {
		return err
	}
	for _, o := range rows {
		err := t.exec(`UPDATE observations SET undone=?1, gone=coalesce(gone, ?1), ending=?2 WHERE id=?3`, t.now, ending, o.id)
		if err != nil {
			return err
		}
		if err := t.event(caxton.EntityID(o.entity), memory.Reverted, caxton.ObservationID(o.id), 0, r.Reason); err != nil {
			return err
		}
	}
	for len(rows) > 0 { // entity by entity
		n := 1
		for n < len(rows) && rows[n].entity == rows[0].entity {
			n++
		}
		affected := map[int64]bool{}
		for _, o := range rows[:n] {
			if err := t.affected(o.id, o.line, o.supersedes, affected); err != nil {
				return err
			}
		}
		if err := t.restateAll(caxton.EntityID(rows[0].entity), affected, changed); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// affected gathers the observations whose state hangs on one: itself, its line, what it took the place of,
// and what repeats it.
func (t *tx) affected(id, line, supersedes int64, all map[int64]bool) error {
	all[id] = true
	return t.each(`SELECT id FROM observations WHERE line=? AND ?<>0 UNION SELECT id FROM observations WHERE same=? UNION SELECT id FROM observations WHERE id=? OR same=?`,
		[]any{line, line, id, supersedes, supersedes}, func(st *sqlite3.Stmt) error {
			all[st.ColumnInt64(0)] = true
			return nil
		})
}

// restateAll works out the states of an entity's observations anew.
func (t *tx) restateAll(id caxton.EntityID, affected map[int64]bool, changed *memory.Changed) error {
	e, alive, err := t.current(id)
	if err != nil {
		return err
	}
	if !alive {
		e.ID = id
	}
	before := e
	for _, n := range slices.Sorted(maps.Keys(affected)) {
		turned, err := t.restate(&e, n)
		if err != nil {
			return err
		}
		switch {
		case turned < 0:
			changed.Observations = append(changed.Observations, caxton.ObservationID(n))
		case turned > 0:
			changed.Restored = append(changed.Restored, caxton.ObservationID(n))
			err = t.event(id, memory.Restored, caxton.ObservationID(n), 0, "")
		}
		if err != nil {
			return err
		}
	}
	if !alive {
		return nil
	}
	before.bytes = e.bytes // what is restored was there before: no limit keeps it away
	return t.settle(&e, before)
}

func (t *tx) revertRelations(r memory.Reversal, changed *memory.Changed) error {
	type row struct {
		n, id          int64
		source, target caxton.EntityID
		wasPast        bool
	}
	q := t.reverting(r, `o.n, o.id, o.source, o.target, o.past`, `relations`, `n`).add(`AND o.gone IS NULL`)
	if r.Entity != 0 {
		q.add(`AND (o.source=? OR o.target=?)`, int64(r.Entity), int64(r.Entity))
	}
	q.add(`AND EXISTS (SELECT 1 FROM entities e WHERE e.id=o.source`).sees(t.seen, "e.scope").add(`)`)
	q.add(`AND EXISTS (SELECT 1 FROM entities e WHERE e.id=o.target`).sees(t.seen, "e.scope").add(`)`)
	var rows []row
	err := q.add(`ORDER BY o.n`).each(t.conn, func(st *sqlite3.Stmt) error {
		rows = append(rows, row{n: st.ColumnInt64(0), id: st.ColumnInt64(1), source: caxton.EntityID(st.ColumnInt64(2)), target: caxton.EntityID(st.ColumnInt64(3)), wasPast: st.ColumnBool(4)})
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	ending, err := t.end(memory.Reverted, r.Actor, r.Reason)
	if err != nil {
		return err
	}
	for _, rel := range rows {
		if err := t.exec(`UPDATE relations SET gone=?, ending=?, past=1 WHERE n=?`, t.now, ending, rel.n); err != nil {
			return err
		}
	}
	done := map[int64]bool{}
	for _, rel := range rows {
		if rel.wasPast || done[rel.id] {
			continue // another row was in force, or it is seen to
		}
		done[rel.id] = true
		last, err := t.number(`SELECT max(n) FROM relations WHERE (n=?1 OR id=?1 AND n<>id) AND gone IS NULL`, rel.id)
		if err != nil {
			return err
		}
		kind := memory.Unrelated
		if last != 0 {
			kind = memory.Related
			if err := t.exec(`UPDATE relations SET past=0 WHERE n=?`, last); err != nil {
				return err
			}
			changed.RestoredRelations = append(changed.RestoredRelations, caxton.RelationID(rel.id))
		} else {
			changed.Relations = append(changed.Relations, caxton.RelationID(rel.id))
		}
		for _, id := range []caxton.EntityID{rel.source, rel.target} {
			if err := t.event(id, kind, 0, caxton.RelationID(rel.id), r.Reason); err != nil {
				return err
			}
			if err := t.exec(`UPDATE entities SET updated=? WHERE id=?`, t.now, int64(id)); err != nil {
				return err
			}
			if rel.source == rel.target {
				break
			}
		}
	}
	return nil
}
