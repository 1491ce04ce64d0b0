package memdb

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

func asOf(f memory.Filter) memory.AsOf {
	if f.AsOf == nil {
		return memory.AsOf{}
	}
	return *f.AsOf
}

// filterEntity appends what a filter asks of the entity e. A past version counts where its fields are asked for.
func (r *reader) filterEntity(q *query, f memory.Filter) {
	if f.Name != "" {
		q.add(`AND e.fold=?`, fold(cleanName(f.Name)))
	}
	if len(f.Types) > 0 {
		list, _ := json.Marshal(f.Types)
		q.add(`AND `+asVersion("type")+` IN (SELECT value FROM json_each(?))`, string(list))
	}
	if f.MinImportance > 0 {
		q.add(`AND `+asVersion("importance")+`>=?`, f.MinImportance)
	}
	for _, k := range slices.Sorted(maps.Keys(f.Metadata)) {
		q.add(`AND EXISTS (SELECT 1 FROM json_each(`+asVersion("metadata")+`) m WHERE m.key=? AND
			CASE m.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null' ELSE CAST(m.value AS TEXT) END=?)`, k, f.Metadata[k])
	}
}

// asVersion is a column of the entity e as it was known at clock.k.
func asVersion(column string) string {
	return `iif(e.since<=clock.k, e.` + column + `, (SELECT v.` + column + ` FROM versions v WHERE v.entity=e.id AND v.since<=clock.k ORDER BY v.version DESC LIMIT 1))`
}

// observed reports whether a filter asks for something of observations.
func observed(f memory.Filter) bool {
	return !f.Since.IsZero() || !f.Until.IsZero() || f.ConversationID != "" || f.AgentID != ""
}

// filterObservation appends what a filter asks of the observation o.
func filterObservation(q *query, f memory.Filter) {
	if !f.Since.IsZero() {
		q.add(`AND (o.valid_to IS NULL OR o.valid_to>?)`, micros(f.Since))
		q.add(`AND (o.valid_from IS NOT NULL OR o.valid_to IS NOT NULL OR o.known_from>=?)`, micros(f.Since))
	}
	if !f.Until.IsZero() {
		q.add(`AND (o.valid_from<=? OR o.valid_from IS NULL AND (o.valid_to IS NOT NULL OR o.known_from<=?))`, micros(f.Until), micros(f.Until))
	}
	if f.ConversationID != "" {
		q.add(`AND EXISTS (SELECT 1 FROM origins g WHERE g.n=o.origin AND g.conversation=?)`, string(f.ConversationID))
	}
	if f.AgentID != "" {
		q.add(`AND EXISTS (SELECT 1 FROM origins g WHERE g.n=o.origin AND g.agent=?)`, string(f.AgentID))
	}
}

// filterObserved appends that the entity e has an observation as a filter asks.
func (r *reader) filterObserved(q *query, f memory.Filter, at memory.AsOf) {
	if !observed(f) {
		return
	}
	q.add(`AND EXISTS (SELECT 1 FROM observations o WHERE o.entity=e.id AND ` + r.holding(at))
	filterObservation(q, f)
	q.add(`)`)
}

// Hits returns the entity and the observation behind each passage that a may see and that agrees
// with f, in the order of ids. An entity's Observations holds the one found, or nothing.
func (db *DB) Hits(ctx context.Context, a memory.Access, ids []caxton.MemoryID, f memory.Filter) (hits []caxton.Entity, err error) {
	at := asOf(f)
	err = db.look(ctx, "hits", a, at, func(r *reader) error {
		q := r.hitQueries(f, at)
		hits = make([]caxton.Entity, 0, len(ids))
		for _, id := range ids {
			e, ok, err := r.hit(&q, int64(id))
			if err != nil {
				return err
			}
			if ok {
				hits = append(hits, e)
			}
		}
		return nil
	})
	return hits, err
}

// hitQueries are the statements behind Hits, put together once for all that are asked for.
type hitQueries struct {
	observation, entity       string
	observationArgs, nameArgs []any // the ID is at hitID
	observed                  bool  // only observations can agree with the filter
}

const hitID = 2

func (r *reader) hitQueries(f memory.Filter, at memory.AsOf) hitQueries {
	o := (&query{}).add(`SELECT `+entityColumns+`, `+observationColumns+` FROM `+clock+` CROSS JOIN observations o CROSS JOIN entities e ON e.id=o.entity
		WHERE o.id=?`, r.known, r.valid, nil).sees(r.seen, "o.scope").add(`AND ` + r.holding(at) + ` AND ` + thereAt)
	r.filterEntity(o, f)
	filterObservation(o, f)
	e := (&query{}).add(`SELECT `+entityColumns+` FROM `+clock+` CROSS JOIN entities e WHERE e.id=? AND `+thereAt, r.known, r.valid, nil).sees(r.seen, "e.scope")
	r.filterEntity(e, f)
	return hitQueries{o.b.String(), e.b.String(), o.args, e.args, observed(f)}
}

// hit returns what is behind a passage, if it agrees with the filter.
func (r *reader) hit(q *hitQueries, id int64) (caxton.Entity, bool, error) {
	var e entity
	var o observation
	q.observationArgs[hitID] = id
	ok, err := r.one(q.observation, q.observationArgs, func(st *sqlite3.Stmt) {
		e = scanEntity(st)
		o = scanObservationAt(st, strings.Count(entityColumns, ",")+1)
	})
	if err != nil {
		return e.Entity, false, err
	}
	if ok {
		if err := r.complete(&o); err != nil {
			return e.Entity, false, err
		}
		e.Observations = []caxton.Observation{o.Observation}
		err := r.asKnown(&e)
		return e.Entity, true, err
	}
	if q.observed {
		return e.Entity, false, nil
	}
	q.nameArgs[hitID] = id
	if ok, err = r.one(q.entity, q.nameArgs, func(st *sqlite3.Stmt) { e = scanEntity(st) }); err != nil || !ok {
		return e.Entity, false, err
	}
	err = r.asKnown(&e)
	return e.Entity, true, err
}
