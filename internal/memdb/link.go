package memdb

import (
	"slices"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// A relation is a row of relations, with what is joined to it.
type relation struct {
	caxton.Relation
	n, scope, origin, ending, gone int64
}

const relationColumns = `r.n, r.id, r.source, r.target, r.scope, r.type, r.strength, r.confidence, r.metadata, r.valid_from, r.valid_to, r.known_from, r.gone, r.ending, r.origin, a.name, b.name`

// relationEnds joins the ends of relations r.
const relationEnds = `JOIN entities a ON a.id=r.source JOIN entities b ON b.id=r.target`

func scanRelation(st *sqlite3.Stmt) relation {
	return relation{
		n: st.ColumnInt64(0), scope: st.ColumnInt64(4), gone: st.ColumnInt64(12), ending: st.ColumnInt64(13), origin: st.ColumnInt64(14),
		Relation: caxton.Relation{
			ID: caxton.RelationID(st.ColumnInt64(1)), From: caxton.EntityID(st.ColumnInt64(2)), To: caxton.EntityID(st.ColumnInt64(3)),
			Type: st.ColumnText(5), Strength: st.ColumnFloat(6), Confidence: st.ColumnFloat(7), Metadata: jsonOf(st, 8),
			Valid: caxton.Span{From: timeOf(st, 9), To: timeOf(st, 10)}, Known: caxton.Span{From: timeOf(st, 11), To: timeOf(st, 12)},
			FromName: st.ColumnText(15), ToName: st.ColumnText(16),
		},
	}
}

// asserted is the condition that the row r is what was known of its relation at clock.k.
const asserted = `(r.known_from<=clock.k AND (r.gone IS NULL OR r.gone>clock.k) AND NOT EXISTS (
	SELECT 1 FROM relations h WHERE h.id=r.id AND h.n<>h.id AND h.n>r.n AND h.known_from<=clock.k AND (h.gone IS NULL OR h.gone>clock.k)))`

// inForce is the condition that a relation holds at clock.v as far as known at clock.k.
const (
	inForce    = `(` + asserted + ` AND ` + validThen + `)`
	inForceNow = `(r.past=0 AND ` + validThen + `)`
	validThen  = `(r.valid_from IS NULL OR r.valid_from<=clock.v) AND (r.valid_to IS NULL OR clock.v<r.valid_to)`
)

// completeRelation fills in what is kept elsewhere.
func (r *reader) completeRelation(rel *relation) (err error) {
	if rel.gone > r.known {
		rel.Known.To = time.Time{}
	}
	if rel.Scope, err = r.scopeOf(rel.scope); err != nil {
		return err
	}
	rel.Provenance, err = r.provenance(rel.origin)
	return err
}

// link writes a relation from an entity, or brings the one there is up to date.
func (t *tx) link(from caxton.Entity, l memory.Link) (caxton.Relation, error) {
	to, err := t.target(from, l)
	if err != nil {
		return caxton.Relation{}, err
	}
	scope, err := narrower(from, to)
	if err != nil {
		return caxton.Relation{}, err
	}
	r := t.reader(t.seen, memory.AsOf{}, t.now)
	var rel relation
	ok, err := t.one(`SELECT `+relationColumns+` FROM relations r `+relationEnds+` WHERE r.source=? AND r.target=? AND r.type=? AND r.past=0`,
		[]any{int64(from.ID), int64(to.ID), l.Type}, func(st *sqlite3.Stmt) { rel = scanRelation(st) })
	if err != nil {
		return rel.Relation, err
	}
	next := rel
	if !ok {
		next = relation{Relation: caxton.Relation{
			From: from.ID, To: to.ID, FromName: from.Name, ToName: to.Name, Type: l.Type, Scope: scope,
			Strength: caxton.DefaultStrength, Confidence: caxton.DefaultConfidence,
		}}
	}
	if l.Strength != nil {
		next.Strength = *l.Strength
	}
	if l.Confidence != nil {
		next.Confidence = *l.Confidence
	}
	if l.Metadata != nil {
		next.Metadata = l.Metadata
	}
	if l.Valid != (caxton.Span{}) {
		next.Valid = l.Valid
	}
	if ok && next.Strength == rel.Strength && next.Confidence == rel.Confidence && slices.Equal(next.Metadata, rel.Metadata) && sameSpan(next.Valid, rel.Valid) {
		err := r.completeRelation(&rel)
		return rel.Relation, err
	}
	if err := t.assert(&next, ok); err != nil {
		return next.Relation, err
	}
	next.Scope = scope
	next.Provenance = t.by
	next.Known = caxton.Span{From: time.UnixMicro(t.now).UTC()}
	return next.Relation, nil
}

// assert writes a row for what is said of a relation; before says that something was said already.
func (t *tx) assert(rel *relation, before bool) error {
	origin, err := t.act()
	if err != nil {
		return err
	}
	n := t.id()
	if !before {
		rel.ID = caxton.RelationID(n)
		if rel.scope, err = t.number(`SELECT n FROM scopes WHERE kind=? AND owner=?`, string(rel.Scope.Kind), rel.Scope.Owner); err != nil {
			return err
		}
	} else if err := t.exec(`UPDATE relations SET past=1 WHERE n=?`, rel.n); err != nil {
		return err
	}
	err = t.exec(`INSERT INTO relations (n, id, source, target, scope, past, type, strength, confidence, metadata, valid_from, valid_to, known_from, origin)
		VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)`,
		n, int64(rel.ID), int64(rel.From), int64(rel.To), rel.scope, rel.Type, rel.Strength, rel.Confidence, textOrNull(string(rel.Metadata)),
		orNull(rel.Valid.From), orNull(rel.Valid.To), t.now, origin)
	if err != nil {
		return err
	}
	rel.n = n
	return t.exec(`UPDATE entities SET updated=? WHERE id IN (?, ?)`, t.now, int64(rel.From), int64(rel.To))
}

// target finds the other end of a link: by its ID, or by its name in the entity's scope, else in a
// wider one. A name that is written exactly so goes before one that differs in case.
func (t *tx) target(from caxton.Entity, l memory.Link) (caxton.Entity, error) {
	r := t.reader(t.seen, memory.AsOf{}, t.now)
	var found []entity
	q := (&query{}).add(`SELECT ` + entityColumns + ` FROM entities e WHERE e.forgotten IS NULL`)
	if l.ToID != 0 {
		q.add(`AND e.id=?`, int64(l.ToID))
	} else {
		q.add(`AND e.fold=?`, fold(l.To))
	}
	err := q.sees(t.seen, "e.scope").each(t.conn, func(st *sqlite3.Stmt) error {
		found = append(found, scanEntity(st))
		return nil
	})
	if err != nil {
		return caxton.Entity{}, err
	}
	best, bestAt := caxton.Entity{}, 1<<10
	for i := range found {
		e := &found[i]
		if e.Scope, err = r.scopeOf(e.scope); err != nil {
			return best, err
		}
		at := 2 * width(e.Scope)
		switch {
		case l.ToID != 0:
		case e.Scope != from.Scope && width(e.Scope) <= width(from.Scope):
			continue // neither here nor wider
		case e.Name != l.To:
			at++
		}
		if at < bestAt {
			best, bestAt = e.Entity, at
		}
	}
	switch {
	case best.ID != 0:
		return best, nil
	case l.ToID != 0:
		return best, entityNotFound(l.ToID)
	}
	return best, caxton.Errorf(caxton.NotFound, "entity_not_found", "nothing is remembered of %q, to which %q would be related", l.To, from.Name).
		WithHint("remember the other entity first, or in the same call")
}

// hide sets apart the relations of a change that t does not see: those that end with an entity.
func (t *tx) hide(changed *memory.Changed) error {
	if t.seen.all {
		return nil
	}
	var open []caxton.RelationID
	for _, id := range changed.Relations {
		ok, err := (&query{}).add(`SELECT 1 FROM relations r `+relationEnds+` WHERE (r.n=? OR r.id=? AND r.n<>r.id)`, int64(id), int64(id)).
			sees(t.seen, "r.scope").sees(t.seen, "a.scope").sees(t.seen, "b.scope").one(t.conn, func(*sqlite3.Stmt) {})
		if err != nil {
			return err
		}
		if ok {
			open = append(open, id)
		} else {
			changed.Hidden = append(changed.Hidden, id)
		}
	}
	changed.Relations = open
	return nil
}

// width orders the kinds of scope from the narrowest.
func width(s caxton.Scope) int {
	switch s.Kind {
	case caxton.AgentScope:
		return 0
	case caxton.WorkspaceScope:
		return 1
	case caxton.GlobalScope:
	}
	return 2
}

// narrower returns the narrower scope of two entities. Two that nobody but an operator can see both do
// not come together: whoever saw the one would learn of the other.
func narrower(a, b caxton.Entity) (caxton.Scope, error) {
	switch wa, wb := width(a.Scope), width(b.Scope); {
	case wa < wb, a.Scope == b.Scope:
		return a.Scope, nil
	case wb < wa:
		return b.Scope, nil
	}
	return caxton.Scope{}, caxton.Errorf(caxton.Invalid, "relation_scopes", "%q is in scope %s and %q in %s: nobody sees both", a.Name, a.Scope, b.Name, b.Scope).
		WithHint("relate entities of one scope, or of one and a wider one")
}
