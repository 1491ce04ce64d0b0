package memdb

import (
	"context"
	"encoding/binary"
	"iter"
	"math"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// maxDimensions bounds what is taken for an embedding.
const maxDimensions = 8192

// passageOf is the group of a passage i, and nothing when there is no such passage.
const (
	textGroup  = `coalesce(o.scope*2+(o.state=2), e.scope*2+(e.forgotten IS NOT NULL))`
	textTables = `LEFT JOIN observations o ON o.id=i.passage LEFT JOIN entities e ON e.id=i.passage AND e.named=1`
	textThere  = `(o.id IS NOT NULL OR e.id IS NOT NULL)`
)

// model returns the number of a model, 0 when none of its embeddings were written yet.
func (c *conn) model(name string) (int64, error) {
	return c.number(`SELECT n FROM models WHERE name=?`, name)
}

func (t *tx) makeModel(name string) (int64, error) {
	n, err := t.model(name)
	if err != nil || n != 0 {
		return n, err
	}
	if name == "" || len(name) > 512 {
		return 0, fault("model_name_invalid", "%.80q is no name of an embedding model", name)
	}
	err = t.exec(`INSERT INTO models (name) VALUES (?)`, name)
	return t.LastInsertRowID(), err
}

// PutVectors writes embeddings made by the named model. One whose passage is gone is left out.
func (db *DB) PutVectors(ctx context.Context, model string, vectors []memory.Vector) error {
	for i, v := range vectors {
		if len(v.Unit) == 0 || len(v.Unit) > maxDimensions {
			return fault("vector_invalid", "vector %d has %d dimensions", i+1, len(v.Unit))
		}
	}
	return db.write(ctx, "put_vectors", func(t *tx) error {
		m, err := t.makeModel(model)
		if err != nil {
			return err
		}
		var blob []byte
		for _, v := range vectors {
			id := int64(v.ID)
			there, err := t.number(`SELECT EXISTS (SELECT 1 FROM observations WHERE id=?1) OR EXISTS (SELECT 1 FROM entities WHERE id=?1 AND named=1)`, id)
			if err != nil {
				return err
			}
			if there == 0 {
				continue
			}
			blob = encode(blob[:0], v.Unit)
			err = t.exec(`UPDATE embeddings SET vector=? WHERE passage=? AND model=?`, blob, id, m)
			if err == nil && t.Changes() == 0 {
				if err = t.exec(`INSERT INTO embeddings (passage, model, vector) VALUES (?, ?, ?)`, id, m, blob); err == nil {
					err = t.exec(`UPDATE models SET vectors=vectors+1 WHERE n=?`, m)
				}
			}
			if err == nil {
				err = t.logVector(id)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func encode(b []byte, unit []float32) []byte {
	for _, f := range unit {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// decode reads an embedding into unit, which it returns with its new length.
func decode(unit []float32, b []byte) []float32 {
	unit = unit[:0]
	for ; len(b) >= 4; b = b[4:] {
		unit = append(unit, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return unit
}

// Unembedded returns passages that have no embedding by the model, oldest first, with IDs greater
// than after. What is kept aside as a repetition is none as long as it does not count.
func (db *DB) Unembedded(ctx context.Context, model string, after caxton.MemoryID, limit int) (all []memory.Passage, err error) {
	if limit <= 0 {
		limit = maxPage
	}
	err = db.view(ctx, "unembedded", func(c *conn) error {
		m, err := c.model(model)
		if err != nil {
			return err
		}
		return c.each(`SELECT * FROM (
			SELECT * FROM (SELECT o.id AS id, o.entity, o.scope*2+(o.state=2), e.name, e.type, o.text FROM observations o CROSS JOIN entities e ON e.id=o.entity
				WHERE o.id>?1 AND (o.same IS NULL OR o.state<2) AND NOT EXISTS (SELECT 1 FROM embeddings v WHERE v.passage=o.id AND v.model=?2) ORDER BY o.id LIMIT ?3)
			UNION ALL
			SELECT * FROM (SELECT e.id AS id, e.id, e.scope*2+(e.forgotten IS NOT NULL), e.name, e.type, '' FROM entities e
				WHERE e.id>?1 AND e.named=1 AND NOT EXISTS (SELECT 1 FROM embeddings v WHERE v.passage=e.id AND v.model=?2) ORDER BY e.id LIMIT ?3)
			) ORDER BY id LIMIT ?3`, []any{int64(after), m, limit}, func(st *sqlite3.Stmt) error {
			all = append(all, memory.Passage{
				ID: caxton.MemoryID(st.ColumnInt64(0)), EntityID: caxton.EntityID(st.ColumnInt64(1)),
				Group: memory.Group(st.ColumnInt64(2)), Text: memory.MeaningText(st.ColumnText(3), st.ColumnText(4), st.ColumnText(5)), //nolint:gosec // numbers of scopes are small
			})
			return nil
		})
	})
	return all, err
}

// Vectors calls visit with the embeddings of passages by ID, as the model made them.
func (db *DB) Vectors(ctx context.Context, model string, ids []caxton.MemoryID, visit func(memory.Vector) error) error {
	return db.view(ctx, "vectors", func(c *conn) error {
		m, err := c.model(model)
		if err != nil || m == 0 {
			return err
		}
		var unit []float32
		for _, id := range ids {
			err := c.each(`SELECT vector FROM embeddings WHERE passage=? AND model=?`, []any{int64(id), m}, func(st *sqlite3.Stmt) error {
				unit = decode(unit, st.ColumnRawBlob(0))
				return visit(memory.Vector{ID: id, Unit: unit})
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Load brings the vector index of a model back: first the blobs that SaveSegments wrote, then every
// passage whose vector or group changed after their mark, as it is now. Without blobs that is
// every passage that has a vector.
func (db *DB) Load(ctx context.Context, model string, segment func(id uint32, blob []byte) error, changed func(memory.Vector) error) (mark int64, err error) {
	err = db.view(ctx, "load", func(c *conn) error {
		if mark, err = c.mark(); err != nil {
			return err
		}
		var m, from int64
		_, err := c.one(`SELECT n, mark FROM models WHERE name=?`, []any{model}, func(st *sqlite3.Stmt) { m, from = st.ColumnInt64(0), st.ColumnInt64(1) })
		if err != nil || m == 0 {
			return err
		}
		segments := 0
		err = c.each(`SELECT n, blob FROM segments WHERE n>=? AND n<? ORDER BY n`, []any{m << 32, (m + 1) << 32}, func(st *sqlite3.Stmt) error {
			segments++
			return segment(uint32(st.ColumnInt64(0)), st.ColumnRawBlob(1)) //nolint:gosec // the lower half
		})
		if err != nil {
			return err
		}
		if segments == 0 {
			from = 0
		}
		return c.changes(m, from, changed)
	})
	return mark, err
}

// Changes visits what Load's changed would if the mark of the blobs were since; 0 is before every
// change.
func (db *DB) Changes(ctx context.Context, model string, since int64, changed func(memory.Vector) error) (mark int64, err error) {
	err = db.view(ctx, "changes", func(c *conn) error {
		if mark, err = c.mark(); err != nil || mark <= since && since > 0 {
			return err
		}
		m, err := c.model(model)
		if err != nil {
			return err
		}
		return c.changes(m, since, changed)
	})
	return mark, err
}

// changes visits the passages whose vector or group changed after a mark, or each that has a vector when it is 0.
func (c *conn) changes(m, since int64, changed func(memory.Vector) error) error {
	var unit []float32
	row := func(st *sqlite3.Stmt) error {
		v := memory.Vector{ID: caxton.MemoryID(st.ColumnInt64(0)), Group: memory.Group(st.ColumnInt64(1))} //nolint:gosec // numbers of scopes are small
		if st.ColumnType(2) != sqlite3.NULL {
			unit = decode(unit, st.ColumnRawBlob(2))
			v.Unit = unit
		}
		return changed(v)
	}
	if since == 0 {
		return c.each(`SELECT i.passage, `+textGroup+`, i.vector FROM embeddings i `+textTables+` WHERE i.model=? AND `+textThere, []any{m}, row)
	}
	return c.each(`SELECT i.passage, coalesce(`+textGroup+`, 0), iif(`+textThere+`, v.vector, NULL)
		FROM (SELECT DISTINCT passage FROM vector_log WHERE seq>?) i `+textTables+`
		LEFT JOIN embeddings v ON v.passage=i.passage AND v.model=?`, []any{since, m}, row)
}

// VectorCount returns how many embeddings of a model there are, as counted at every write.
func (db *DB) VectorCount(ctx context.Context, model string) (n int, err error) {
	err = db.view(ctx, "vector_count", func(c *conn) error {
		vectors, err := c.number(`SELECT vectors FROM models WHERE name=?`, model)
		n = int(vectors)
		return err
	})
	return n, err
}

// Embedded counts the embeddings of a model by group.
func (db *DB) Embedded(ctx context.Context, model string) (map[memory.Group]int, error) {
	groups := map[memory.Group]int{}
	err := db.view(ctx, "embedded", func(c *conn) error {
		m, err := c.model(model)
		if err != nil {
			return err
		}
		return c.each(`SELECT `+textGroup+` AS g, count(*) FROM embeddings i `+textTables+` WHERE i.model=? AND `+textThere+` GROUP BY g`, []any{m},
			func(st *sqlite3.Stmt) error {
				groups[memory.Group(st.ColumnInt64(0))] = st.ColumnInt(1) //nolint:gosec // numbers of scopes are small
				return nil
			})
	})
	return groups, err
}

// SaveSegments writes blobs of the model's index in one transaction, a nil one to remove what is
// kept under its ID, and notes that together they hold all changes up to mark.
func (db *DB) SaveSegments(ctx context.Context, model string, mark int64, blobs iter.Seq2[uint32, []byte]) error {
	return db.queue(ctx, "save_segments", &job{large: true, fn: func(t *tx) error {
		m, err := t.makeModel(model)
		if err != nil {
			return err
		}
		for id, blob := range blobs {
			n := m<<32 | int64(id)
			if blob == nil {
				err = t.exec(`DELETE FROM segments WHERE n=?`, n)
			} else {
				err = t.exec(`INSERT INTO segments (n, blob) VALUES (?1, ?2) ON CONFLICT (n) DO UPDATE SET blob=?2`, n, blob)
			}
			if err != nil {
				return err
			}
		}
		if err := t.exec(`UPDATE models SET mark=? WHERE n=?`, mark, m); err != nil {
			return err
		}
		// A model without blobs loads everything: it needs no changes.
		return t.exec(`DELETE FROM vector_log WHERE seq<=(SELECT min(mark) FROM models WHERE EXISTS (SELECT 1 FROM segments s WHERE s.n>=models.n<<32 AND s.n<(models.n+1)<<32))`)
	}})
}

// Mark returns the number of the last change of vectors and groups.
func (db *DB) Mark(ctx context.Context) (mark int64, err error) {
	err = db.view(ctx, "mark", func(c *conn) error {
		mark, err = c.mark()
		return err
	})
	return mark, err
}

func (c *conn) mark() (int64, error) {
	return c.number(`SELECT seq FROM sqlite_sequence WHERE name='vector_log'`)
}

// DropModel removes the embeddings and blobs of a model.
func (db *DB) DropModel(ctx context.Context, model string) error {
	for more := true; more; {
		err := db.write(ctx, "drop_model", func(t *tx) error {
			m, err := t.model(model)
			if err != nil || m == 0 {
				more = false
				return err
			}
			if err := t.exec(`DELETE FROM segments WHERE n>=? AND n<?`, m<<32, (m+1)<<32); err != nil {
				return err
			}
			const slice = 20_000 // a commit at a time, so that others come in between
			if err := t.exec(`DELETE FROM embeddings WHERE n IN (SELECT n FROM embeddings WHERE model=? LIMIT ?)`, m, slice); err != nil {
				return err
			}
			if more = t.Changes() == slice; more {
				return t.exec(`UPDATE models SET vectors=vectors-? WHERE n=?`, slice, m)
			}
			return t.exec(`DELETE FROM models WHERE n=?`, m)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Edges visits the relations that are known now, in any order: those of ids, or all when it is nil.
func (db *DB) Edges(ctx context.Context, ids []caxton.RelationID, visit func(memory.Edge) error) error {
	return db.view(ctx, "edges", func(c *conn) error {
		if ids == nil {
			return c.allEdges(visit)
		}
		for _, id := range ids {
			err := c.each(`SELECT `+edgeColumns+`, a.scope, b.scope FROM relations r `+relationEnds+` WHERE r.past=0 AND (r.n=? OR r.id=? AND r.n<>r.id)`, []any{int64(id), int64(id)},
				func(st *sqlite3.Stmt) error {
					return visit(scanEdge(st, st.ColumnText(3), st.ColumnInt64(7), st.ColumnInt64(8)))
				})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

const edgeColumns = `r.id, r.source, r.target, r.type, r.strength, r.valid_from, r.valid_to`

func scanEdge(st *sqlite3.Stmt, kind string, from, to int64) memory.Edge {
	return memory.Edge{
		ID: caxton.RelationID(st.ColumnInt64(0)), From: caxton.EntityID(st.ColumnInt64(1)), To: caxton.EntityID(st.ColumnInt64(2)),
		Type: kind, Strength: st.ColumnFloat(4), Valid: caxton.Span{From: timeOf(st, 5), To: timeOf(st, 6)},
		FromGroup: memory.Group(from << 1), ToGroup: memory.Group(to << 1), //nolint:gosec // numbers of scopes are small
	}
}

// allEdges reads the tables one after the other: to look up two entities for each relation takes four times as long.
func (c *conn) allEdges(visit func(memory.Edge) error) error {
	scopes := map[int64]int64{}
	err := c.each(`SELECT id, scope FROM entities`, nil, func(st *sqlite3.Stmt) error {
		scopes[st.ColumnInt64(0)] = st.ColumnInt64(1)
		return nil
	})
	if err != nil {
		return err
	}
	kinds := map[string]string{}
	return c.each(`SELECT `+edgeColumns+` FROM relations r WHERE r.past=0`, nil, func(st *sqlite3.Stmt) error {
		from, ok := scopes[st.ColumnInt64(1)]
		to, both := scopes[st.ColumnInt64(2)]
		if !ok || !both {
			return nil
		}
		kind, ok := kinds[string(st.ColumnRawText(3))]
		if !ok {
			kind = st.ColumnText(3)
			kinds[kind] = kind
		}
		return visit(scanEdge(st, kind, from, to))
	})
}
