package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Remember remembers an entity and what is known about it; one that exists is added to.
func (c *Client) Remember(ctx context.Context, e NewEntity) (Remembered, error) {
	return do[Remembered](ctx, c, post("/memory/entities", nil, e))
}

// RememberAll remembers several entities, all or none.
func (c *Client) RememberAll(ctx context.Context, b EntityBatch) (RememberedList, error) {
	return do[RememberedList](ctx, c, post("/memory/entities/batch", nil, b))
}

// A MemoryView says as who, of what scopes and as of when memory is looked at. Zero fields
// mean everything, now.
type MemoryView struct {
	Agent   string // only what this agent sees
	Scopes  []string
	ValidAt time.Time // as it was at this time
	KnownAt time.Time // as it was known at this time
}

func (v *MemoryView) query() url.Values {
	q := values("agent_id", v.Agent, "valid_at", moment(v.ValidAt), "known_at", moment(v.KnownAt))
	for _, s := range v.Scopes {
		q.Add("scope", s)
	}
	return q
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// An EntityFilter selects entities. Zero fields select all.
type EntityFilter struct {
	MemoryView
	Types  []string
	Name   string
	Limit  int // of a page
	Cursor string
}

// Entities lists a page of entities, most recently updated first.
func (c *Client) Entities(ctx context.Context, f EntityFilter) (EntityList, error) {
	q := f.query()
	q["entity_types"] = append(q["entity_types"], f.Types...)
	maps.Copy(q, values("name", f.Name, "limit", number(f.Limit), "cursor", f.Cursor))
	return do[EntityList](ctx, c, get("/memory/entities", q))
}

// Entity asks for one entity, by ID or name.
func (c *Client) Entity(ctx context.Context, ref string, v MemoryView) (Entity, error) {
	return do[Entity](ctx, c, get(path("memory", "entities", ref), v.query()))
}

// EntityHistory asks for everything that happened to an entity.
func (c *Client) EntityHistory(ctx context.Context, ref string, v MemoryView) (MemoryHistory, error) {
	return do[MemoryHistory](ctx, c, get(path("memory", "entities", ref)+"/history", v.query()))
}

// ForgetEntity forgets an entity, by ID or name.
func (c *Client) ForgetEntity(ctx context.Context, ref string) (MemoryChanged, error) {
	return do[MemoryChanged](ctx, c, call{method: http.MethodDelete, path: path("memory", "entities", ref)})
}

// ForgetObservation forgets one observation.
func (c *Client) ForgetObservation(ctx context.Context, id string) (MemoryChanged, error) {
	return do[MemoryChanged](ctx, c, call{method: http.MethodDelete, path: path("memory", "observations", id)})
}

// ForgetRelation forgets one relation.
func (c *Client) ForgetRelation(ctx context.Context, id string) (MemoryChanged, error) {
	return do[MemoryChanged](ctx, c, call{method: http.MethodDelete, path: path("memory", "relations", id)})
}

// Relate remembers that two entities are connected.
func (c *Client) Relate(ctx context.Context, r NewRelation) (Relation, error) {
	return do[Relation](ctx, c, post("/memory/relations", nil, r))
}

// SearchMemory searches what is remembered.
func (c *Client) SearchMemory(ctx context.Context, s MemorySearch) (MemoryMatches, error) {
	return do[MemoryMatches](ctx, c, post("/memory/search", nil, s))
}

// A GraphQuery asks for what is connected to an entity.
type GraphQuery struct {
	MemoryView
	To          string // the shortest path to this entity only
	Depth       int    // 3
	Types       []string
	Direction   string // both
	MinStrength float64
	Limit       int // 1000
	DepthFirst  bool
}

// MemoryGraph asks for what is connected to an entity, by ID or name.
func (c *Client) MemoryGraph(ctx context.Context, ref string, g GraphQuery) (MemoryGraph, error) {
	q := g.query()
	more := values("to", g.To, "max_depth", number(g.Depth), "direction", g.Direction, "limit", number(g.Limit))
	if g.MinStrength > 0 {
		more.Set("min_strength", strconv.FormatFloat(g.MinStrength, 'g', -1, 64))
	}
	if g.DepthFirst {
		more.Set("traversal_strategy", "depth_first")
	}
	maps.Copy(q, more)
	q["relation_types"] = g.Types
	return do[MemoryGraph](ctx, c, get(path("memory", "graph", ref), q))
}

// RevertMemory takes back what came from somewhere.
func (c *Client) RevertMemory(ctx context.Context, r MemoryRevert) (MemoryChanged, error) {
	return do[MemoryChanged](ctx, c, post("/memory/revert", nil, r))
}

// DuplicateEntities asks for entities that may be the same.
func (c *Client) DuplicateEntities(ctx context.Context, threshold float64, limit int) (MemoryDuplicates, error) {
	return do[MemoryDuplicates](ctx, c, get("/memory/duplicates", values("threshold", strconv.FormatFloat(threshold, 'g', -1, 64), "limit", number(limit))))
}

// MemoryStatus asks for memory at a glance.
func (c *Client) MemoryStatus(ctx context.Context) (MemoryStatus, error) {
	return do[MemoryStatus](ctx, c, get("/memory/status", nil))
}

// MemoryStats asks for the figures of memory.
func (c *Client) MemoryStats(ctx context.Context) (MemoryStats, error) {
	return do[MemoryStats](ctx, c, get("/memory/stats", nil))
}

// MemoryUsage asks what memory takes.
func (c *Client) MemoryUsage(ctx context.Context) (MemoryUsage, error) {
	return do[MemoryUsage](ctx, c, get("/memory/usage", nil))
}

// MemoryCapacity asks how full memory is.
func (c *Client) MemoryCapacity(ctx context.Context) (MemoryCapacity, error) {
	return do[MemoryCapacity](ctx, c, get("/memory/capacity", nil))
}

// MemoryModel asks for the model that turns text into vectors.
func (c *Client) MemoryModel(ctx context.Context) (MemoryModel, error) {
	return do[MemoryModel](ctx, c, get("/memory/model", nil))
}

// SlowQueries asks for the queries that took longest, newest first.
func (c *Client) SlowQueries(ctx context.Context, limit int) (SlowQueries, error) {
	return do[SlowQueries](ctx, c, get("/memory/queries", values("limit", number(limit))))
}

// FollowQueries calls each with queries as they are made that take at least so long, until
// each fails, ctx ends or the server stops.
func (c *Client) FollowQueries(ctx context.Context, least time.Duration, each func(SlowQuery) error) error {
	res, err := c.send(ctx, get("/memory/queries/follow", values("slower_than", least.String())))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue // a sign of life
		}
		var q SlowQuery
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return c.broken(ctx, err)
		}
		if err := each(q); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return c.broken(ctx, err)
	}
	return ctx.Err()
}

// OptimizeMemory compacts the file, makes its indexes anew and refreshes its statistics.
func (c *Client) OptimizeMemory(ctx context.Context, o MemoryOptimize) (MemoryOptimized, error) {
	return do[MemoryOptimized](ctx, c, post("/memory/optimize", nil, o))
}

// CleanMemory removes for good what is not wanted any more.
func (c *Client) CleanMemory(ctx context.Context, m MemoryCleanup) (MemoryCleaned, error) {
	return do[MemoryCleaned](ctx, c, post("/memory/cleanup", nil, m))
}

// ClearMemoryCache drops kept embeddings.
func (c *Client) ClearMemoryCache(ctx context.Context, m MemoryCacheClear) (MemoryCacheCleared, error) {
	return do[MemoryCacheCleared](ctx, c, post("/memory/cache/clear", nil, m))
}

// CheckMemory checks that the file is sound and its indexes agree with it.
func (c *Client) CheckMemory(ctx context.Context, deep bool) (MemoryCheck, error) {
	return do[MemoryCheck](ctx, c, post("/memory/check", values("deep", yes(deep)), nil))
}

// A MemoryExport says what is written down. Zero fields mean everything that is current.
type MemoryExport struct {
	MemoryView
	Types      []string
	Format     string // json or jsonl
	Past       bool
	Embeddings bool
}

// ExportMemory writes all that is remembered to w, and returns how many bytes. What has no
// end is not whole: a reader finds out.
func (c *Client) ExportMemory(ctx context.Context, w io.Writer, e MemoryExport) (int64, error) {
	q := e.query()
	maps.Copy(q, values("format", e.Format, "include_past", yes(e.Past), "include_embeddings", yes(e.Embeddings)))
	q["entity_types"] = e.Types
	res, err := c.send(ctx, call{method: http.MethodGet, path: "/memory/export", query: q, header: http.Header{"Accept": {"*/*"}}})
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(w, res.Body)
	if err != nil {
		return n, c.broken(ctx, err)
	}
	return n, nil
}

// A MemoryImport says how an import is done. Zero fields mean the server's defaults.
type MemoryImport struct {
	Scope    string
	Strategy string
	Skip     int64
	DryRun   bool
}

// ImportMemory brings in what was exported, or the file of a memory server of the Model
// Context Protocol.
func (c *Client) ImportMemory(ctx context.Context, text []byte, m MemoryImport) (MemoryImported, error) {
	q := values("scope", m.Scope, "merge_strategy", m.Strategy, "dry_run", yes(m.DryRun))
	if m.Skip > 0 {
		q.Set("skip", strconv.FormatInt(m.Skip, 10))
	}
	return do[MemoryImported](ctx, c, call{method: http.MethodPost, path: "/memory/import", query: q, body: text, contentType: "application/octet-stream"})
}
