package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/exchange"
)

// Export writes down what o.Access may see, as of one moment.
func (e *Engine) Export(ctx context.Context, w io.Writer, o memory.ExportOptions) (memory.ExportCounts, error) {
	var counts memory.ExportCounts
	if o.Format == "" {
		o.Format = memory.JSON
	}
	meta := exchange.Metadata{ExportedAt: e.cfg.Now(), AgentID: string(o.Filter.AgentID), Scope: scopeName(o.Access)}
	if o.Embeddings {
		if e.embedder == nil {
			return counts, caxton.Errorf(caxton.Invalid, "no_embedding_model", "there are no embeddings to export without an embedding model")
		}
		meta.Model = e.model
	}
	x, err := exchange.NewWriter(w, o.Format, meta)
	if err != nil {
		return counts, err
	}
	err = e.keeper.Export(ctx, o.Access, o.Filter, o.Past, func(en caxton.Entity) error {
		counts.Entities++
		counts.Observations += int64(len(en.Observations))
		var units map[caxton.MemoryID][]float32
		if o.Embeddings {
			var err error
			if units, err = e.unitsOf(ctx, &en); err != nil {
				return err
			}
		}
		return x.Entity(&en, func(id caxton.MemoryID) []float32 { return units[id] })
	}, func(r caxton.Relation) error {
		counts.Relations++
		return x.Relation(&r)
	})
	if err != nil {
		return counts, fmt.Errorf("export memory: %w", err)
	}
	return counts, x.Close()
}

// scopeName names the scope of an export, when it is one.
func scopeName(a memory.Access) string {
	if !a.All && len(a.Scopes) == 1 {
		return a.Scopes[0].String()
	}
	return ""
}

// unitsOf returns the embeddings of an entity's passages.
func (e *Engine) unitsOf(ctx context.Context, en *caxton.Entity) (map[caxton.MemoryID][]float32, error) {
	ids := []caxton.MemoryID{caxton.MemoryID(en.ID)}
	for i := range en.Observations {
		ids = append(ids, caxton.MemoryID(en.Observations[i].ID))
	}
	units := make(map[caxton.MemoryID][]float32, len(ids))
	err := e.vectors.Vectors(ctx, e.model, ids, func(v memory.Vector) error {
		units[v.ID] = append([]float32(nil), v.Unit...)
		return nil
	})
	return units, err
}
