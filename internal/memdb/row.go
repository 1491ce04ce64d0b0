package memdb

import (
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// A reader reads what some scopes show as of a time, in one transaction.
type reader struct {
	*conn
	seen    seen
	valid   int64 // true at this time
	known   int64 // as far as known at this time; math.MaxInt64 for now
	scopes  map[int64]caxton.Scope
	origins map[int64]caxton.Provenance

	postings *postings // of what is searched; nil in a write
	epoch    uint64    // of the postings, before what is read was chosen
	newest   int64     // the greatest ID of a passage, 0 until it was asked for
}

func (c *conn) reader(s seen, at memory.AsOf, now int64) *reader {
	r := &reader{conn: c, seen: s, valid: now, known: known(at.Known), scopes: map[int64]caxton.Scope{}, origins: map[int64]caxton.Provenance{}}
	if !at.Valid.IsZero() {
		r.valid = micros(at.Valid)
	}
	return r
}

// past reports whether it reads as of another time than now.
func (r *reader) past(at memory.AsOf) bool { return at != memory.AsOf{} }

// scopeOf returns a scope by its number.
func (r *reader) scopeOf(n int64) (caxton.Scope, error) {
	if s, ok := r.scopes[n]; ok {
		return s, nil
	}
	var s caxton.Scope
	_, err := r.one(`SELECT kind, owner FROM scopes WHERE n=?`, []any{n}, func(st *sqlite3.Stmt) {
		s = caxton.Scope{Kind: caxton.ScopeKind(st.ColumnText(0)), Owner: st.ColumnText(1)}
	})
	r.scopes[n] = s
	return s, err
}

// provenance returns an act of remembering by its number.
func (r *reader) provenance(n int64) (caxton.Provenance, error) {
	if p, ok := r.origins[n]; ok {
		return p, nil
	}
	var p caxton.Provenance
	_, err := r.one(`SELECT conversation, message, agent, version, tool, by FROM origins WHERE n=?`, []any{n}, func(st *sqlite3.Stmt) {
		p = caxton.Provenance{
			ConversationID: caxton.ConversationID(st.ColumnText(0)), MessageID: caxton.MessageID(st.ColumnText(1)),
			AgentID: caxton.AgentID(st.ColumnText(2)), Version: st.ColumnInt64(3), Tool: st.ColumnText(4), By: st.ColumnText(5),
		}
	})
	if len(r.origins) > 1000 {
		clear(r.origins)
	}
	r.origins[n] = p
	return p, err
}

// An entity is a row of entities.
type entity struct {
	caxton.Entity
	scope            int64
	since, forgotten int64 // forgotten is 0 when it is not
	current, bytes   int64
	named            bool
	origin           int64
}

const entityColumns = `e.id, e.scope, e.name, e.type, e.importance, e.metadata, e.version, e.created, e.since, e.updated, e.forgotten, e.origin, e.current, e.bytes, e.named`

func scanEntity(st *sqlite3.Stmt) entity {
	e := entity{
		Entity: caxton.Entity{
			ID: caxton.EntityID(st.ColumnInt64(0)), Name: st.ColumnText(2), Type: st.ColumnText(3), Importance: st.ColumnFloat(4),
			Metadata: jsonOf(st, 5), Version: st.ColumnInt64(6), CreatedAt: timeOf(st, 7), UpdatedAt: timeOf(st, 9),
		},
		scope: st.ColumnInt64(1), since: st.ColumnInt64(8), forgotten: st.ColumnInt64(10), origin: st.ColumnInt64(11),
		current: st.ColumnInt64(12), bytes: st.ColumnInt64(13), named: st.ColumnBool(14),
	}
	e.Known = caxton.Span{From: e.CreatedAt, To: timeOf(st, 10)}
	return e
}

func jsonOf(st *sqlite3.Stmt, col int) json.RawMessage {
	if st.ColumnType(col) == sqlite3.NULL {
		return nil
	}
	return json.RawMessage(st.ColumnText(col))
}

// asKnown brings an entity to the version that was known at the reader's time.
func (r *reader) asKnown(e *entity) (err error) {
	if e.Scope, err = r.scopeOf(e.scope); err != nil || r.known == math.MaxInt64 {
		return err
	}
	if e.forgotten > r.known {
		e.Known.To = time.Time{}
	}
	if e.since <= r.known {
		return nil
	}
	_, err = r.one(`SELECT version, type, importance, metadata FROM versions WHERE entity=? AND since<=? ORDER BY version DESC LIMIT 1`,
		[]any{int64(e.ID), r.known}, func(st *sqlite3.Stmt) {
			e.Version, e.Type, e.Importance, e.Metadata = st.ColumnInt64(0), st.ColumnText(1), st.ColumnFloat(2), jsonOf(st, 3)
		})
	return err
}

// An observation is a row of observations.
type observation struct {
	caxton.Observation
	scope, state, origin, ending int64
	gone                         int64 // 0 when it is not
	line                         int64
	same                         int64 // the observation that it repeats, or 0
}

// said returns the observation that was the first to say what o says: o, when it repeats nothing. All repetitions
// go by that one, whether it counts itself or not.
func (o *observation) said() caxton.ObservationID {
	if o.same != 0 {
		return caxton.ObservationID(o.same)
	}
	return o.ID
}

const observationColumns = `o.id, o.entity, o.text, o.key, o.confidence, o.valid_from, o.valid_to, o.known_from, o.gone, o.line, o.supersedes, o.ending, o.origin, o.state, o.scope, o.same`

func scanObservation(st *sqlite3.Stmt) observation { return scanObservationAt(st, 0) }

// scanObservationAt reads the columns from a place on.
func scanObservationAt(st *sqlite3.Stmt, at int) observation {
	o := observation{
		Observation: caxton.Observation{
			ID: caxton.ObservationID(st.ColumnInt64(at)), EntityID: caxton.EntityID(st.ColumnInt64(at + 1)), Text: st.ColumnText(at + 2), Key: st.ColumnText(at + 3),
			Confidence: caxton.DefaultConfidence, Valid: caxton.Span{From: timeOf(st, at+5), To: timeOf(st, at+6)},
			Known: caxton.Span{From: timeOf(st, at+7), To: timeOf(st, at+8)}, Supersedes: caxton.ObservationID(st.ColumnInt64(at + 10)),
		},
		gone: st.ColumnInt64(at + 8), line: st.ColumnInt64(at + 9), ending: st.ColumnInt64(at + 11), origin: st.ColumnInt64(at + 12), state: st.ColumnInt64(at + 13),
		scope: st.ColumnInt64(at + 14), same: st.ColumnInt64(at + 15),
	}
	if st.ColumnType(at+4) != sqlite3.NULL {
		o.Confidence = st.ColumnFloat(at + 4)
	}
	return o
}

// hiders finds what may stand before an observation: what is later in its line, and what says that it
// supersedes it. A repetition does as long as what it repeats does not count. It has the columns h.
const (
	hiderInLine     = `SELECT 1 FROM observations h WHERE h.line=o.line AND h.id<>o.id AND (h.known_from, h.id)>(o.known_from, o.id)`
	hiderBySaying   = `SELECT 1 FROM observations h WHERE h.supersedes IN (o.id, o.same) AND h.id<>o.id AND (h.known_from, h.id)>(o.known_from, o.id)`
	repeatedByHider = `SELECT 1 FROM observations s WHERE (s.id=h.same OR s.same=h.same) AND s.id<h.id`
	earlierSame     = `SELECT 1 FROM observations s WHERE (s.id=o.same OR s.same=o.same) AND s.id<o.id`
)

// visible is the condition that an observation o holds at clock.v as far as known at clock.k.
const visible = `(o.known_from<=clock.k AND (o.gone IS NULL OR o.gone>clock.k)
	AND (o.valid_from IS NULL OR o.valid_from<=clock.v) AND (o.valid_to IS NULL OR clock.v<o.valid_to)
	AND (o.same IS NULL OR NOT EXISTS (` + earlierSame + ` AND s.known_from<=clock.k AND (s.gone IS NULL OR s.gone>clock.k)))
	AND (o.line IS NULL OR NOT EXISTS (` + hiderInLine + hidesAtClock + `) AND NOT EXISTS (` + hiderBySaying + hidesAtClock + `)))`

const hidesAtClock = ` AND (h.same IS NULL OR NOT EXISTS (` + repeatedByHider + ` AND s.known_from<=clock.k AND (s.gone IS NULL OR s.gone>clock.k))) AND h.known_from<=clock.k AND (h.undone IS NULL OR h.undone>clock.k)
	AND (h.valid_from IS NULL OR h.valid_from<=clock.v) AND (h.valid_to IS NULL OR clock.v<h.valid_to)`

// holds is the same for the present, where most rows need not be looked at closely.
const holds = `(o.state=0 OR o.state=1 AND ` + visible + `)`

// clock gives a statement the columns clock.k and clock.v.
const clock = `(SELECT ? AS k, ? AS v) clock`

// holding returns the condition for observations at the reader's time.
func (r *reader) holding(at memory.AsOf) string {
	if r.past(at) {
		return visible
	}
	return holds
}

// These are what became known after an observation ?1, known since ?2, in the line ?3, repeating ?4, and counts at the
// time ?5: what may hide it. The index of lines has it in order.
const (
	laterColumns = `SELECT h.id, h.known_from, h.valid_from, h.valid_to FROM observations h WHERE `
	laterCounts  = ` AND (h.known_from, h.id)>(?2, ?1) AND h.known_from<=?5 AND (h.undone IS NULL OR h.undone>?5)
		AND (h.same IS NULL OR NOT EXISTS (` + repeatedByHider + ` AND s.known_from<=?5 AND (s.gone IS NULL OR s.gone>?5)))`
	laterInLine   = laterColumns + `h.line=?3` + laterCounts
	laterBySaying = laterColumns + `h.supersedes IN (?1, ?4) AND h.line IS NOT ?3 AND h.id<>?1` + laterCounts
)

// errHidden ends the search for what hides an observation.
var errHidden = errors.New("hidden")

// complete fills in what an observation's row alone does not tell: who it is from, how far others
// leave it true, and who took its place.
func (r *reader) complete(o *observation) (err error) {
	if o.Provenance, err = r.provenance(o.origin); err != nil {
		return err
	}
	if o.gone > r.known {
		o.Known.To = time.Time{}
	} else if o.ending != 0 {
		_, err := r.one(`SELECT kind, actor FROM endings WHERE n=?`, []any{o.ending}, func(st *sqlite3.Stmt) {
			if st.ColumnText(0) == string(memory.Reverted) {
				o.RevertedBy = st.ColumnText(1)
			}
		})
		if err != nil {
			return err
		}
	}
	if o.line == 0 {
		return nil
	}
	span, hidden := o.Valid, time.Time{}
	asserted := o.Valid
	at := time.UnixMicro(r.valid).UTC()
	err = r.each(laterInLine+` UNION ALL `+laterBySaying+` ORDER BY 2, 1`,
		[]any{int64(o.ID), micros(o.Known.From), o.line, o.same, r.known}, func(st *sqlite3.Stmt) error {
			h := caxton.Span{From: timeOf(st, 2), To: timeOf(st, 3)}
			if !overlap(h, asserted) {
				return nil
			}
			if o.SupersededBy == 0 {
				o.SupersededBy = caxton.ObservationID(st.ColumnInt64(0))
			}
			switch {
			case h.Holds(at):
				hidden = timeOf(st, 1)
				return errHidden // of one that is hidden nothing else is told
			case !h.To.IsZero() && !h.To.After(at): // it has made room
				if h.To.After(span.From) {
					span.From = h.To
				}
			case span.To.IsZero() || h.From.Before(span.To): // it is still to come
				span.To = h.From
			}
			return nil
		})
	switch {
	case err != nil && !errors.Is(err, errHidden):
		return err
	case hidden.IsZero():
		o.Valid = span
	case o.Known.To.IsZero() || hidden.Before(o.Known.To):
		o.Known.To = hidden
	}
	return nil
}

// overlap reports whether there is a time in both spans.
func overlap(a, b caxton.Span) bool {
	return (a.To.IsZero() || b.From.IsZero() || b.From.Before(a.To)) && (b.To.IsZero() || a.From.IsZero() || a.From.Before(b.To))
}
