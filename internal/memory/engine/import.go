package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/exchange"
)

const (
	importBatch = 200     // entries written at once
	importBytes = 4 << 20 // of text in them, about
	importLate  = 1 << 20 // relations kept until their ends have come
)

// Import reads what Export wrote, or the file of an MCP memory server, and remembers it.
// Entries are written in batches, each wholly or not at all. After a failure the counts say
// what was done, and with Next as Skip an import of the same document goes on there. What is
// imported without embeddings of this model is embedded in the background. Entities that
// were forgotten are left out.
func (e *Engine) Import(ctx context.Context, r io.Reader, o memory.ImportOptions) (memory.ImportCounts, error) {
	o.Strategy = cmp.Or(o.Strategy, memory.UpdateExisting)
	switch o.Strategy {
	case memory.UpdateExisting, memory.SkipExisting, memory.ErrorOnConflict:
	default:
		return memory.ImportCounts{}, caxton.Errorf(caxton.Invalid, "merge_strategy_invalid", "%.40q is not a way to merge", o.Strategy).
			WithHint("write update_existing, skip_existing or error_on_conflict")
	}
	o.By.By = cmp.Or(o.By.By, "import")
	x, err := exchange.NewReader(r)
	if err != nil {
		return memory.ImportCounts{}, err
	}
	i := &importing{e: e, o: o, x: x, ids: map[caxton.EntityID]caxton.EntityID{}, made: map[madeKey]bool{}}
	i.counts.Next, i.lateAt = o.Skip, -1
	if err := i.run(ctx); err != nil {
		return i.counts, fmt.Errorf("import memory: %w", err)
	}
	return i.counts, nil
}

// An importing is one import under way.
type importing struct {
	e      *Engine
	o      memory.ImportOptions
	x      *exchange.Reader
	counts memory.ImportCounts
	ids    map[caxton.EntityID]caxton.EntityID // the ID here of an ID in the document
	made   map[madeKey]bool                    // with DryRun: what would be there
	late   []exchange.Record                   // relations whose ends have not come yet
	lateAt int64                               // the place of the first of them; -1

	memos       []memory.Memo
	files       []caxton.EntityID // the ID in the document, for each memo; 0 for a relation
	units       map[string][]float32
	entities    int // in the batch
	first, last int // lines of the batch
	bytes       int
}

type madeKey struct {
	scope caxton.Scope
	name  string
}

func (i *importing) run(ctx context.Context) error {
	n := int64(0)
	for ; ; n++ {
		if err := ctx.Err(); err != nil {
			return ended(ctx, "the import did not end in time")
		}
		rec, err := i.x.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(i.flush(ctx, n), err) // what came before is good
		}
		if n < i.o.Skip {
			if err := i.known(ctx, &rec); err != nil {
				return err
			}
			continue
		}
		if rec.Entity != nil {
			err = i.entity(ctx, &rec)
		} else {
			err = i.relation(ctx, &rec, n)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", rec.Line, err)
		}
		if len(i.memos) >= importBatch || i.bytes >= importBytes {
			if err := i.flush(ctx, n+1); err != nil {
				return err
			}
		}
	}
	if err := i.flush(ctx, n); err != nil {
		return err
	}
	late := i.late
	i.late = nil
	for k := range late {
		if err := i.relation(ctx, &late[k], -1); err != nil {
			return fmt.Errorf("line %d: %w", late[k].Line, err)
		}
		if len(i.memos) >= importBatch {
			if err := i.flush(ctx, n); err != nil {
				return err
			}
		}
	}
	i.lateAt = -1
	return i.flush(ctx, n)
}

func (i *importing) scope(en *caxton.Entity) (caxton.Scope, error) {
	s := en.Scope
	if s == (caxton.Scope{}) {
		s = i.o.Scope
	}
	if s == (caxton.Scope{}) {
		return s, caxton.Errorf(caxton.Invalid, "scope_missing", "%.80q names no scope", en.Name).WithHint("say in which scope to import it")
	}
	if !i.o.Access.Sees(s) {
		return s, caxton.Errorf(caxton.Forbidden, "memory_scope_forbidden", "nothing can be imported into %s from here", s)
	}
	return s, nil
}

// there returns the entity of that name in a scope, if there is one.
func (i *importing) there(ctx context.Context, s caxton.Scope, name string) (caxton.Entity, bool, error) {
	found, err := i.e.store.Named(ctx, memory.Access{Scopes: []caxton.Scope{s}}, name, memory.AsOf{})
	if err != nil || len(found) == 0 {
		return caxton.Entity{}, false, err
	}
	return found[0], true, nil
}

// known finds the entity of an entry that an earlier import wrote.
func (i *importing) known(ctx context.Context, rec *exchange.Record) error {
	if rec.Entity == nil || rec.Entity.ID == 0 {
		return nil
	}
	s, err := i.scope(rec.Entity)
	if err != nil {
		return err
	}
	if en, ok, err := i.there(ctx, s, rec.Entity.Name); err != nil || ok {
		i.ids[rec.Entity.ID] = en.ID
		return err
	}
	return nil
}

// entity adds an entity to the batch.
func (i *importing) entity(ctx context.Context, rec *exchange.Record) error {
	en := rec.Entity
	i.counts.Read++
	if !en.Known.To.IsZero() {
		i.counts.Skipped++
		return nil
	}
	s, err := i.scope(en)
	if err != nil {
		return err
	}
	old, exists, err := i.there(ctx, s, en.Name)
	if err != nil {
		return err
	}
	exists = exists || i.made[madeKey{s, en.Name}]
	m := memory.Memo{Scope: s, Name: en.Name, Type: en.Type, Importance: &en.Importance, Metadata: en.Metadata}
	switch {
	case exists && i.o.Strategy == memory.SkipExisting:
		i.counts.Skipped++
		if en.ID != 0 {
			i.ids[en.ID] = old.ID
		}
		return nil
	case exists && i.o.Strategy == memory.ErrorOnConflict:
		return caxton.Errorf(caxton.Conflict, "entity_exists", "%.80q is there already", en.Name).
			WithHint("import with the merge strategy update_existing or skip_existing")
	case exists:
		m.Type = "" // what it is stays
		if i.x.Format() == memory.MCP {
			m.Importance = nil
		}
	}
	kind := cmp.Or(old.Type, en.Type, memory.DefaultType)
	for k := range en.Observations {
		o := &en.Observations[k]
		n := memory.Note{Text: o.Text, Key: o.Key, Confidence: &o.Confidence, Valid: o.Valid, Known: o.Known, RevertedBy: o.RevertedBy}
		if o.Provenance != (caxton.Provenance{}) {
			n.Provenance = &o.Provenance
		}
		m.Notes = append(m.Notes, n)
		i.bytes += len(o.Text)
		i.embedded(memory.MeaningText(en.Name, kind, o.Text), rec.Embeddings[k])
	}
	i.embedded(memory.MeaningText(en.Name, kind, ""), rec.Embeddings[-1])
	i.add(rec, m, en.ID)
	return nil
}

// embedded notes the embedding of a passage that came with the document, when it is of the
// model in use.
func (i *importing) embedded(text string, unit []float32) {
	if unit == nil || i.e.embedder == nil || i.x.Metadata().Model != i.e.model || len(unit) != i.e.embedder.Dimensions() {
		return
	}
	if n := dot(unit, unit); !(n > 0.98 && n < 1.02) {
		return // not of length 1: made anew
	}
	if i.units == nil {
		i.units = map[string][]float32{}
	}
	i.units[text] = unit
}

func (i *importing) add(rec *exchange.Record, m memory.Memo, file caxton.EntityID) {
	if len(i.memos) == 0 {
		i.first = rec.Line
	}
	i.last = rec.Line
	if rec.Entity != nil {
		i.entities++
	}
	i.memos = append(i.memos, m)
	i.files = append(i.files, file)
}

// relation adds a relation to the batch. n is its place in the document, or -1 when it is
// tried for the last time.
func (i *importing) relation(ctx context.Context, rec *exchange.Record, n int64) error {
	r := rec.Relation
	if !r.Known.To.IsZero() {
		return nil // a relation of the past cannot be told to a store
	}
	if i.entities > 0 { // its ends may be among them
		if err := i.flush(ctx, n); err != nil {
			return err
		}
	}
	from, okFrom, err := i.end(ctx, r, r.From, r.FromName)
	if err != nil {
		return err
	}
	to, okTo, err := i.end(ctx, r, r.To, r.ToName)
	if err != nil {
		return err
	}
	if !okFrom || !okTo {
		if n >= 0 && len(i.late) < importLate {
			if i.lateAt < 0 {
				i.lateAt = n
			}
			i.late = append(i.late, *rec)
			return nil
		}
		name := r.FromName
		if okFrom {
			name = r.ToName
		}
		return caxton.Errorf(caxton.NotFound, "relation_end_missing", "there is no entity %.80q for the relation %.80q", name, r.Type)
	}
	if i.o.Strategy != memory.UpdateExisting && i.e.graph.has(from, to, r.Type) {
		if i.o.Strategy == memory.ErrorOnConflict {
			return caxton.Errorf(caxton.Conflict, "relation_exists", "%.80q %s %.80q is there already", r.FromName, r.Type, r.ToName)
		}
		return nil
	}
	i.add(rec, memory.Memo{ID: from, Links: []memory.Link{{
		ToID: to, Type: r.Type, Strength: &r.Strength, Confidence: &r.Confidence, Metadata: r.Metadata, Valid: r.Valid,
	}}}, 0)
	return nil
}

// end finds an end of a relation: by its ID in the document, else by its name.
func (i *importing) end(ctx context.Context, r *caxton.Relation, file caxton.EntityID, name string) (caxton.EntityID, bool, error) {
	if id, ok := i.ids[file]; ok && file != 0 {
		return id, true, nil
	}
	for _, s := range []caxton.Scope{r.Scope, i.o.Scope} {
		if i.made[madeKey{s, name}] {
			return 0, true, nil
		}
		if s == (caxton.Scope{}) || !i.o.Access.Sees(s) {
			continue
		}
		if en, ok, err := i.there(ctx, s, name); err != nil || ok {
			return en.ID, ok, err
		}
	}
	found, err := i.e.store.Named(ctx, i.o.Access, name, memory.AsOf{})
	if err != nil || len(found) == 0 {
		return 0, false, err
	}
	return found[0].ID, true, nil
}

// done notes that the entries before next are done, but for relations that come late.
func (i *importing) done(next int64) {
	if i.lateAt >= 0 {
		next = min(next, i.lateAt)
	}
	i.counts.Next = max(i.counts.Next, next)
	if i.o.Progress != nil {
		i.o.Progress(i.counts)
	}
}

// flush writes the batch; next is the place of the entry after it.
func (i *importing) flush(ctx context.Context, next int64) error {
	memos, files, units := i.memos, i.files, i.units
	i.memos, i.files, i.units, i.bytes, i.entities = nil, nil, nil, 0, 0
	if len(memos) == 0 {
		i.done(next)
		return nil
	}
	if i.o.DryRun {
		err := i.pretend(ctx, memos)
		i.done(next)
		return err
	}
	w, err := i.e.write(ctx, i.o.Access, memos, i.o.By, units, "what was imported is embedded in the background")
	if err != nil {
		return fmt.Errorf("lines %d to %d: %w", i.first, i.last, err)
	}
	for k := range w.Remembered {
		r := &w.Remembered[k]
		i.counts.Relations += int64(len(r.Relations))
		for _, n := range r.Observations {
			if !n.Duplicate {
				i.counts.Observations++
			}
		}
		switch {
		case len(memos[k].Links) > 0:
			continue
		case r.Created:
			i.counts.Imported++
		default:
			i.counts.Updated++
		}
		if files[k] != 0 {
			i.ids[files[k]] = r.Entity.ID
		}
	}
	i.done(next)
	return nil
}

// pretend counts what memos would come to.
func (i *importing) pretend(ctx context.Context, memos []memory.Memo) error {
	for k := range memos {
		m := &memos[k]
		if len(m.Links) > 0 {
			i.counts.Relations++
			continue
		}
		_, exists, err := i.there(ctx, m.Scope, m.Name)
		if err != nil {
			return err
		}
		if key := (madeKey{m.Scope, m.Name}); exists || i.made[key] {
			i.counts.Updated++
		} else {
			i.counts.Imported++
			i.made[key] = true
		}
		i.counts.Observations += int64(len(m.Notes))
	}
	return nil
}
