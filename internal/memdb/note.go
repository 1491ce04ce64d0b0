package memdb

import (
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// maxRepeats is how many repetitions of an observation are kept aside. It takes that many
// reversals until it is gone although somebody else has said it, too.
const maxRepeats = 16

// note writes an observation. e has its counts brought up to date; alone says that it has no other.
func (t *tx) note(e *entity, n *memory.Note, alone bool) (memory.Noted, error) {
	var noted memory.Noted
	text := normal(n.Text)
	hash := hashOf(text)
	o := observation{}
	o.Observation = caxton.Observation{Text: n.Text, Key: n.Key, Valid: n.Valid, Known: caxton.Span{From: time.UnixMicro(t.now).UTC()}, Supersedes: n.Replaces}
	o.Confidence = caxton.DefaultConfidence
	if n.Confidence != nil {
		o.Confidence = *n.Confidence
	}
	if !n.Known.From.IsZero() {
		o.Known.From = n.Known.From
	}
	if n.Provenance != nil {
		by := t.by
		t.by = *n.Provenance
		defer func() { t.by = by }()
	}
	if !n.Known.To.IsZero() {
		return t.bygone(e, n, &o, hash)
	}
	if n.Replaces != 0 {
		if err := t.replace(e, n, &o); err != nil {
			return noted, err
		}
	} else if !alone {
		said, err := t.saidBefore(e, n, text, hash)
		if err != nil || said != 0 {
			return memory.Noted{ID: said, Duplicate: said != 0}, err
		}
		same, err := t.duplicate(e, n, text, hash)
		if err != nil {
			return noted, err
		}
		if same != 0 {
			noted.ID, noted.Duplicate = same, true
			return noted, t.repeat(e, n, &o, same, hash)
		}
	}
	if o.Key != "" && o.line == 0 {
		if err := t.keyed(e, &o); err != nil {
			return noted, err
		}
	}
	replaced, err := t.replacedBy(e, &o)
	if err != nil {
		return noted, err
	}
	if n.Valid.From.IsZero() && n.Replaces == 0 && len(replaced) > 0 && (n.Valid.To.IsZero() || o.Known.From.Before(n.Valid.To)) {
		o.Valid.From = o.Known.From // something changed
	}
	if err := t.insert(e, &o, hash); err != nil {
		return noted, err
	}
	noted.ID = o.ID
	for _, r := range replaced {
		if !overlap(o.Valid, r.Valid) {
			continue
		}
		noted.Superseded = append(noted.Superseded, r.ID)
		if err := t.event(e.ID, memory.Superseded, r.ID, 0, ""); err != nil {
			return noted, err
		}
		if _, err := t.restate(e, int64(r.ID)); err != nil {
			return noted, err
		}
	}
	if o.Supersedes == 0 && len(noted.Superseded) > 0 {
		err = t.exec(`UPDATE observations SET supersedes=? WHERE id=?`, int64(noted.Superseded[0]), int64(o.ID))
	}
	return noted, err
}

// bygone writes an observation that is not taken for true any more. It is in no line.
func (t *tx) bygone(e *entity, n *memory.Note, o *observation, hash int64) (memory.Noted, error) {
	o.Supersedes = 0
	if err := t.insert(e, o, hash); err != nil {
		return memory.Noted{}, err
	}
	kind := memory.Forgotten
	if n.RevertedBy != "" {
		kind = memory.Reverted
	}
	origin, err := t.act()
	if err != nil {
		return memory.Noted{}, err
	}
	err = t.exec(`INSERT INTO endings (at, kind, actor, reason, origin) VALUES (?, ?, ?, '', ?)`, micros(n.Known.To), string(kind), n.RevertedBy, origin)
	if err == nil {
		err = t.exec(`UPDATE observations SET gone=?, undone=?, ending=?, line=NULL WHERE id=?`,
			micros(n.Known.To), micros(n.Known.To), t.LastInsertRowID(), int64(o.ID))
	}
	if err == nil {
		_, err = t.restate(e, int64(o.ID))
	}
	return memory.Noted{ID: o.ID}, err
}

// replace finds what a note says it replaces, and has the new observation join its line.
func (t *tx) replace(e *entity, n *memory.Note, o *observation) error {
	var old observation
	ok, err := t.one(`SELECT `+observationColumns+` FROM observations o WHERE o.id=? AND o.entity=?`, []any{int64(n.Replaces), int64(e.ID)},
		func(st *sqlite3.Stmt) { old = scanObservation(st) })
	switch {
	case err != nil:
		return err
	case !ok:
		return caxton.Errorf(caxton.NotFound, "observation_not_found", "%q has no observation %s", e.Name, n.Replaces)
	case old.state == 2:
		return caxton.Errorf(caxton.Conflict, "observation_past", "the observation %s is not current any more", n.Replaces).
			WithHint("read the entity again and replace what it has now")
	}
	if old.line == 0 {
		old.line = int64(old.ID)
		if err := t.exec(`UPDATE observations SET line=id WHERE id=?`, old.line); err != nil {
			return err
		}
	}
	o.Supersedes = old.said()
	if n.Key == "" || n.Key == old.Key {
		o.Key, o.line = old.Key, old.line
	}
	if n.Valid.From.IsZero() {
		o.Valid.From = old.Valid.From // it was wrong
		if err := span(o.Valid); err != nil {
			return err
		}
	}
	return nil
}

// keyed finds the line of an observation's key. A new one has none yet.
func (t *tx) keyed(e *entity, o *observation) error {
	_, err := t.one(`SELECT line FROM observations WHERE entity=? AND key=? AND line IS NOT NULL LIMIT 1`, []any{int64(e.ID), o.Key},
		func(st *sqlite3.Stmt) { o.line = st.ColumnInt64(0) })
	return err
}

// replacedBy returns what has to make room for an observation: what is current in its line, and what it says.
// The clock alone does not bring a state up to date: that of what is not simply current is worked out anew.
func (t *tx) replacedBy(e *entity, o *observation) (all []observation, err error) {
	if o.line == 0 && o.Supersedes == 0 {
		return nil, nil
	}
	err = t.each(`SELECT `+observationColumns+` FROM observations o
		WHERE (o.line=?1 OR o.id=?2 OR o.same=?2) AND o.state<2 AND o.known_from<=?3 ORDER BY o.id`,
		[]any{o.line, int64(o.Supersedes), micros(o.Known.From)}, func(st *sqlite3.Stmt) error {
			all = append(all, scanObservation(st))
			return nil
		})
	if err != nil {
		return nil, err
	}
	current := all[:0]
	for _, r := range all {
		turned := 0
		if r.state == 1 {
			if turned, err = t.restate(e, int64(r.ID)); err != nil {
				return nil, err
			}
		}
		if turned == 0 {
			current = append(current, r)
		}
	}
	return current, nil
}

// insert writes an observation and puts it into the text index.
func (t *tx) insert(e *entity, o *observation, hash int64) error {
	origin, err := t.act()
	if err != nil {
		return err
	}
	o.ID, o.EntityID, o.origin = caxton.ObservationID(t.id()), e.ID, origin
	if o.Key != "" && o.line == 0 {
		o.line = int64(o.ID)
	}
	var line, supersedes, same, confidence any
	if o.line != 0 {
		line = o.line
	}
	if o.Supersedes != 0 {
		supersedes = int64(o.Supersedes)
	}
	if o.same != 0 {
		same = o.same
	}
	if o.Confidence != caxton.DefaultConfidence {
		confidence = o.Confidence
	}
	err = t.exec(`INSERT INTO observations (id, entity, scope, state, hash, known_from, origin, key, line, supersedes, same, confidence, valid_from, valid_to, text)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(o.ID), int64(e.ID), e.scope, 0, hash, micros(o.Known.From), origin, textOrNull(o.Key), line, supersedes, same, confidence,
		orNull(o.Valid.From), orNull(o.Valid.To), o.Text)
	if err != nil {
		return err
	}
	if err := t.addPassage(int64(o.ID), e, o.Text); err != nil {
		return err
	}
	e.current++
	e.bytes += int64(len(o.Text))
	if o.line == 0 && o.same == 0 && o.Valid == (caxton.Span{}) {
		return nil
	}
	_, err = t.restate(e, int64(o.ID))
	return err
}

// duplicate returns the current observation that says the same as a note, or 0.
func (t *tx) duplicate(e *entity, n *memory.Note, text string, hash int64) (same caxton.ObservationID, err error) {
	err = t.each(`SELECT `+observationColumns+` FROM observations o WHERE o.entity=? AND o.hash=? AND o.state<2
		AND (o.line IS NULL OR NOT EXISTS (`+hiderInLine+` AND h.undone IS NULL`+hiderCounts+`) AND NOT EXISTS (`+hiderBySaying+` AND h.undone IS NULL`+hiderCounts+`)) ORDER BY o.id DESC`,
		[]any{int64(e.ID), hash}, func(st *sqlite3.Stmt) error {
			o := scanObservation(st)
			if normal(o.Text) != text || n.Key != "" && n.Key != o.Key || n.Valid != (caxton.Span{}) && !sameSpan(n.Valid, o.Valid) {
				return nil
			}
			if !n.Known.From.IsZero() && n.Known.From.Before(o.Known.From) {
				return nil // it is news that it was known earlier
			}
			if !o.Valid.To.IsZero() && !o.Valid.To.After(time.UnixMicro(t.now)) && n.Valid == (caxton.Span{}) {
				return nil // it was true, and is again
			}
			same = o.ID
			return nil
		})
	return same, err
}

// saidBefore returns the observation that a note repeats because the handling of its message is repeated, and that
// somebody else has superseded or taken back meanwhile, or 0. Once more it would undo what came after it. What
// the same handling has put something else in place of, it may say again.
func (t *tx) saidBefore(e *entity, n *memory.Note, text string, hash int64) (said caxton.ObservationID, err error) {
	if t.by.MessageID == "" || n.Provenance != nil { // what is imported may bring back what was taken back
		return 0, nil
	}
	r := t.reader(t.seen, memory.AsOf{}, t.now)
	err = t.each(`SELECT `+observationColumns+`,
			EXISTS (SELECT 1 FROM observations h JOIN origins g ON g.n=h.origin WHERE (h.line=o.line OR h.supersedes=o.id) AND h.id>o.id AND g.message=?3),
			EXISTS (SELECT 1 FROM endings d JOIN origins g ON g.n=d.origin WHERE d.n=o.ending AND g.message=?3)
		FROM observations o JOIN origins w ON w.n=o.origin
		WHERE o.entity=?1 AND o.hash=?2 AND o.state=2 AND o.same IS NULL AND w.message=?3 ORDER BY o.id`,
		[]any{int64(e.ID), hash, string(t.by.MessageID)}, func(st *sqlite3.Stmt) error {
			o := scanObservation(st)
			last := strings.Count(observationColumns, ",") + 1
			own := st.ColumnBool(last) || st.ColumnBool(last+1)
			p, err := r.provenance(o.origin)
			if err != nil || p != t.by || own || normal(o.Text) != text || o.Key != n.Key || n.Valid != (caxton.Span{}) && !sameSpan(n.Valid, o.Valid) {
				return err
			}
			said = o.ID
			return nil
		})
	return said, err
}

func sameSpan(a, b caxton.Span) bool {
	return orNull(a.From) == orNull(b.From) && orNull(a.To) == orNull(b.To)
}

// repeat keeps a note aside that says the same as an observation, if it comes from elsewhere.
func (t *tx) repeat(e *entity, n *memory.Note, o *observation, same caxton.ObservationID, hash int64) error {
	var first observation
	if _, err := t.one(`SELECT `+observationColumns+` FROM observations o WHERE o.id=?`, []any{int64(same)}, func(st *sqlite3.Stmt) { first = scanObservation(st) }); err != nil {
		return err
	}
	same = first.said()
	var origins []int64
	err := t.each(`SELECT origin FROM observations WHERE (id=?1 OR same=?1) AND gone IS NULL`, []any{int64(same)}, func(st *sqlite3.Stmt) error {
		origins = append(origins, st.ColumnInt64(0))
		return nil
	})
	if err != nil || len(origins) > maxRepeats {
		return err
	}
	r := t.reader(t.seen, memory.AsOf{}, t.now)
	for _, n := range origins {
		p, err := r.provenance(n)
		if err != nil || p == t.by {
			return err
		}
	}
	o.same, o.Key, o.line, o.Valid = int64(same), first.Key, first.line, first.Valid
	if o.line == 0 { // what hides the one hides the other
		o.line = int64(same)
		if err := t.exec(`UPDATE observations SET line=id WHERE id=?`, o.line); err != nil {
			return err
		}
	}
	if n.Key != "" {
		o.Key = n.Key
	}
	return t.insert(e, o, hash)
}

// stateOf is the state of observation o.id=?2 at the time ?1.
const stateOf = `SELECT o.state, CASE
	WHEN o.gone IS NOT NULL OR o.valid_to<=?1 THEN 2
	WHEN o.same IS NOT NULL AND EXISTS (` + earlierSame + ` AND s.gone IS NULL) THEN 2
	WHEN o.line IS NOT NULL AND (EXISTS (` + hiderInLine + hidesForGood + `) OR EXISTS (` + hiderBySaying + hidesForGood + `)) THEN 2
	WHEN o.valid_from>?1 OR o.valid_to IS NOT NULL THEN 1
	WHEN o.line IS NOT NULL AND (EXISTS (` + hiderInLine + ` AND h.undone IS NULL` + hiderCounts + `) OR EXISTS (` + hiderBySaying + ` AND h.undone IS NULL` + hiderCounts + `)) THEN 1
	ELSE 0 END, o.line, length(CAST(o.text AS BLOB)) FROM observations o WHERE o.id=?2`

const hiderCounts = ` AND (h.same IS NULL OR NOT EXISTS (` + repeatedByHider + ` AND s.gone IS NULL))`

const hidesForGood = hiderCounts + ` AND h.undone IS NULL AND (h.valid_from IS NULL OR h.valid_from<=max(?1, coalesce(o.valid_from, ?1)))
	AND (h.valid_to IS NULL OR h.valid_to>=o.valid_to)`

// restate works out the state of an observation anew. It reports how it turned: -1 it ceased to be
// current, 1 it is current again, 0 neither.
func (t *tx) restate(e *entity, id int64) (turned int, err error) {
	var was, is, length int64
	if _, err := t.one(stateOf, []any{t.now, id}, func(st *sqlite3.Stmt) {
		was, is, length = st.ColumnInt64(0), st.ColumnInt64(1), st.ColumnInt64(3)
	}); err != nil || was == is {
		return 0, err
	}
	if err := t.exec(`UPDATE observations SET state=? WHERE id=?`, is, id); err != nil {
		return 0, err
	}
	switch {
	case was < 2 && is == 2:
		turned = -1
	case was == 2 && is < 2:
		turned = 1
	default:
		return 0, nil
	}
	e.current += int64(turned)
	e.bytes += int64(turned) * length
	return turned, t.logVector(id)
}
