package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/memory"
	"github.com/danielgtaylor/huma/v2"
)

// What the figures of memory are to be, from the operations guide.
const (
	targetSearch = 50 * time.Millisecond // P99 of a semantic search
	targetSQL    = 20 * time.Millisecond // P99 of a query of the database
	targetEmbed  = 100.0                 // embeddings a second
	entityBytes  = 500 << 20             // of the entity store
	vectorBytes  = 200 << 20             // of the vector cache
	nearlyFull   = 80                    // percent from which a limit is near
	full         = 95                    // percent from which it is reached
)

// memoryCareRoutes are for those who look after memory.
func (s *Server) memoryCareRoutes(a huma.API) {
	at := func(method, path, id, summary string) huma.Operation {
		op := operation(method, "/memory"+path, id, "memory", summary)
		op.DefaultStatus = http.StatusOK
		return op
	}
	route(s, a, at(http.MethodGet, "/status", "get-memory-status", "Memory at a glance, and how far a long job is"), func(ctx context.Context, _ *empty) (*output[api.MemoryStatus], error) {
		st, err := s.deps.Memory.Stats(ctx)
		if err != nil { // the answer tells of it, without the cause
			s.cfg.Logger.WarnContext(ctx, "memory not counted", "request_id", requestID(ctx), "error", err)
		}
		return &output[api.MemoryStatus]{s.memoryStatus(&st, err)}, nil
	})
	route(s, a, at(http.MethodGet, "/health", "check-memory-health", "Whether memory is well"), func(ctx context.Context, _ *empty) (*output[api.MemoryHealth], error) {
		h, err := s.deps.Health(ctx)
		return &output[api.MemoryHealth]{h}, err
	})
	route(s, a, at(http.MethodGet, "/stats", "get-memory-stats", "The figures of memory"), s.memoryStats)
	route(s, a, at(http.MethodGet, "/usage", "get-memory-usage", "What memory takes, part by part"), s.memoryUsage)
	route(s, a, at(http.MethodGet, "/capacity", "get-memory-capacity", "How full memory is"), s.memoryCapacity)
	route(s, a, at(http.MethodGet, "/model", "get-memory-model", "The model that turns text into vectors"), func(context.Context, *empty) (*output[api.MemoryModel], error) {
		return &output[api.MemoryModel]{s.memoryModel()}, nil
	})
	route(s, a, at(http.MethodGet, "/queries", "list-slow-queries", "The queries that took longest, newest first, and all by kind"), s.slowQueries)
	follow := at(http.MethodGet, "/queries/follow", "follow-queries", "Queries as they are made, as lines of JSON")
	route(s, a, follow, s.followQueries)
	s.streams[follow.Method+" "+follow.Path] = func(*http.Request) bool { return true }

	optimize := at(http.MethodPost, "/optimize", "optimize-memory", "Compact the file, make its indexes anew, refresh its statistics")
	route(s, a, optimize, s.optimizeMemory)
	s.streams[optimize.Method+" "+optimize.Path] = func(*http.Request) bool { return true } // it takes as long as it takes; GET /memory/status tells how far it is
	route(s, a, at(http.MethodPost, "/cleanup", "clean-memory", "Remove for good what is not wanted any more"), s.cleanMemory)
	route(s, a, at(http.MethodPost, "/cache/clear", "clear-memory-cache", "Drop kept embeddings"), s.clearMemoryCache)
	check := at(http.MethodPost, "/check", "check-memory", "Check that the file is sound and that its indexes agree with it")
	route(s, a, check, s.checkMemory)
	s.streams[check.Method+" "+check.Path] = func(*http.Request) bool { return true }

	export := at(http.MethodGet, "/export", "export-memory", "All that is remembered, in the format caxton-memory")
	route(s, a, export, s.exportMemory)
	s.streams[export.Method+" "+export.Path] = func(*http.Request) bool { return true }
	imp := at(http.MethodPost, "/import", "import-memory", "Bring in what was exported, or the file of a memory server of the Model Context Protocol")
	imp.MaxBodyBytes = maxImport
	route(s, a, imp, s.importMemory)
	s.streams[imp.Method+" "+imp.Path] = func(*http.Request) bool { return true }
}

// Words for how memory is.
const (
	healthy  = "healthy"
	degraded = "degraded"
)

func (s *Server) memoryStatus(st *memory.Stats, err error) api.MemoryStatus {
	m := s.memoryModel()
	out := api.MemoryStatus{
		Status: healthy, Backend: "embedded", SQLiteStatus: healthy, SQLiteSizeBytes: st.File.Bytes, EmbeddingModel: m.Name, ModelStatus: m.Status,
		Entities: st.Counts.Entities, Relations: st.Counts.Relations, Observations: st.Counts.Observations, Unembedded: st.Status.Unembedded,
		CacheHitRate: m.Cache.HitRate, MaxEntities: st.MaxEntities, Reason: st.Status.Reason, Download: m.Download,
	}
	if p := st.Status.Progress; p != nil {
		out.Progress = &api.MemoryProgress{Step: p.Step, Done: p.Done, Total: p.Total}
	}
	if m.Fallback != "" && out.Reason == "" {
		instead := "words alone are searched"
		if m.Model != "" {
			instead = m.Model + " is used"
		}
		out.Reason = fmt.Sprintf("instead of the embedding model %s %s: %s", m.Name, instead, m.Fallback)
	}
	switch st.Status.State {
	case memory.Ready:
		if m.Status != modelLoaded || out.Reason != "" {
			out.Status = degraded
		}
	case memory.Loading:
		out.Status = string(memory.Loading)
	case memory.Failed:
		out.Status = string(memory.Failed)
	}
	if err != nil {
		now := s.deps.Memory.Status()
		out.Status, out.SQLiteStatus, out.Reason = string(memory.Failed), string(memory.Failed), message(err)
		out.Entities, out.Relations = now.Entities, now.Relations
	}
	return out
}

// message returns what callers are told of an error.
func message(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Kind != caxton.Internal {
		return e.Message
	}
	return "an internal error; see the log"
}

// Words for how the model is.
const (
	modelLoaded  = "loaded"
	modelLoading = "loading"
	modelNone    = "none"
)

func (s *Server) memoryModel() api.MemoryModel {
	m := s.deps.Model.Stats()
	out := api.MemoryModel{
		Name: m.Name, Model: m.Model, Source: m.Source, Dimensions: m.Dimensions, Status: modelLoading, Fallback: m.Fallback, LoadMillis: millis(m.LoadTime),
		Bytes: m.Bytes, Texts: m.Texts, AverageMillis: millis(m.Average), P99Millis: millis(m.P99), PerSecond: m.PerSecond,
		Cache: api.MemoryCache{Entries: m.CacheEntries, Limit: m.CacheLimit, Bytes: m.CacheBytes, Hits: m.Hits, Misses: m.Misses, HitRate: rate(m.Hits, m.Misses)},
	}
	if d := m.Download; d != nil {
		out.Download = &api.ModelDownload{Model: m.Name, File: d.File, DoneBytes: d.Done, TotalBytes: d.Total, Percent: percent(d.Done, d.Total)}
	}
	switch {
	case m.Loaded:
		out.Status = modelLoaded
	case m.Name == "":
		out.Status = modelNone
	}
	return out
}

func rate(hits, misses int64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}

func (s *Server) memoryStats(ctx context.Context, _ *empty) (*output[api.MemoryStats], error) {
	st, err := s.deps.Memory.Stats(ctx)
	if err != nil {
		return nil, err
	}
	out := api.MemoryStats{
		Status: s.memoryStatus(&st, nil), Model: s.memoryModel(), Queries: queriesFrom(st.Queries), Past: st.Counts.Past, ByType: st.Counts.ByType,
		ByScope: st.Counts.ByScope, Vectors: st.Vectors, IndexBytes: st.IndexBytes, GraphBytes: st.GraphBytes,
		Results: api.MemoryCache{Entries: st.Results, Hits: st.ResultHits, Misses: st.ResultMiss, HitRate: rate(st.ResultHits, st.ResultMiss)},
		SQLite: api.MemoryFile{
			Path: st.File.Path, Bytes: st.File.Bytes, FreeBytes: st.File.Free, Fragmentation: st.File.Fragmentation, CacheHitRate: st.File.CacheHitRate,
			CacheBytes: st.File.CacheBytes, CacheLimitBytes: st.File.CacheLimit, Queries: st.File.Queries, AverageMillis: millis(st.File.AverageQuery),
			P99Millis: millis(st.File.P99Query),
		},
	}
	out.Targets = targets(&out, st.Queries)
	return &output[api.MemoryStats]{out}, nil
}

// targets compares the figures that the operations guide names with what they are to be.
func targets(st *api.MemoryStats, queries []memory.Slow) []api.MemoryTarget {
	judge := func(t api.MemoryTarget, measured, good bool) api.MemoryTarget {
		switch {
		case !measured:
			t.Status = "unknown"
		case good:
			t.Status = "ok"
		default:
			t.Status = degraded
		}
		return t
	}
	var search memory.Slow
	for _, q := range queries {
		if q.Kind == "semantic_search" {
			search = q
		}
	}
	return []api.MemoryTarget{
		judge(api.MemoryTarget{Metric: "Semantic search P99", Target: millis(targetSearch), Actual: millis(search.P99), Unit: "ms"}, search.Count > 0, search.P99 <= targetSearch),
		judge(api.MemoryTarget{Metric: "SQLite query P99", Target: millis(targetSQL), Actual: st.SQLite.P99Millis, Unit: "ms"}, st.SQLite.Queries > 0, st.SQLite.P99Millis <= millis(targetSQL)),
		judge(api.MemoryTarget{Metric: "Embedding generation", Target: targetEmbed, Actual: st.Model.PerSecond, Unit: "/s"}, st.Model.Texts > 0, st.Model.PerSecond >= targetEmbed),
	}
}

func queriesFrom(all []memory.Slow) []api.MemoryQueries {
	out := []api.MemoryQueries{}
	for _, q := range all {
		out = append(out, api.MemoryQueries{Kind: q.Kind, Count: q.Count, AverageMillis: millis(q.Average), P99Millis: millis(q.P99), MaxMillis: millis(q.Max)})
	}
	return out
}

// percent returns part of whole in whole percent, 0 when there is no limit.
func percent(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(part * 100 / whole)
}

func (s *Server) memoryUsage(ctx context.Context, _ *empty) (*output[api.MemoryUsage], error) {
	st, err := s.deps.Memory.Stats(ctx)
	if err != nil {
		return nil, err
	}
	m := s.deps.Model.Stats()
	out := api.MemoryUsage{}
	for _, c := range []api.MemoryComponent{
		{Component: "Embedding model", UsageBytes: m.Bytes},
		{Component: "SQLite cache", UsageBytes: st.File.CacheBytes, LimitBytes: st.File.CacheLimit},
		{Component: "Entity store", UsageBytes: st.File.Bytes, LimitBytes: limitFor(entityBytes, st.MaxEntities)},
		{Component: "Vector cache", UsageBytes: st.IndexBytes + st.GraphBytes + m.CacheBytes, LimitBytes: limitFor(vectorBytes, st.MaxEntities)},
	} {
		c.Status = "OK"
		// A page cache that is full does its work; what else is full will soon fail or slow down.
		if p := percent(c.UsageBytes, c.LimitBytes); c.Component != "SQLite cache" {
			switch {
			case p >= full:
				c.Status = "CRITICAL"
			case p >= nearlyFull:
				c.Status = "WARNING"
			}
			out.Percent = max(out.Percent, p)
		}
		out.Components = append(out.Components, c)
	}
	return &output[api.MemoryUsage]{out}, nil
}

// limitFor returns a limit that is meant for 100,000 entities, for as many as are allowed.
func limitFor(bytes int64, entities int) int64 { return bytes * max(int64(entities), 1) / 100_000 }

func (s *Server) memoryCapacity(ctx context.Context, _ *empty) (*output[api.MemoryCapacity], error) {
	st, err := s.deps.Memory.Stats(ctx)
	if err != nil {
		return nil, err
	}
	c := api.MemoryCapacity{Entities: st.Counts.Entities, Limit: st.MaxEntities, Percent: percent(st.Counts.Entities, int64(st.MaxEntities)), Status: "ok"}
	switch {
	case c.Percent >= full:
		c.Status = "critical"
	case c.Percent >= nearlyFull:
		c.Status = "warning"
	}
	switch {
	case c.Percent >= 100:
		c.Advice = "the limit is reached: clean up, or raise memory.max_entities"
	case c.Status != "ok":
		c.Advice = "the limit is near: clean up, or raise memory.max_entities"
	}
	return &output[api.MemoryCapacity]{c}, nil
}

func slowFrom(q memory.SlowQuery) api.SlowQuery {
	return api.SlowQuery{At: q.At, Kind: q.Kind, Millis: millis(q.Took), Text: q.Text}
}

func (s *Server) slowQueries(ctx context.Context, in *struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"50"`
},
) (*output[api.SlowQueries], error) {
	st, err := s.deps.Memory.Stats(ctx)
	if err != nil {
		return nil, err
	}
	out := api.SlowQueries{Items: []api.SlowQuery{}, Queries: queriesFrom(st.Queries)}
	for i, q := range s.deps.Memory.Slowest() {
		if i == in.Limit {
			break
		}
		out.Items = append(out.Items, slowFrom(q))
	}
	return &output[api.SlowQueries]{out}, nil
}

// followQueries writes queries as they are made, until the caller leaves or the server
// stops. A caller who does not keep up misses some.
func (s *Server) followQueries(_ context.Context, in *struct {
	Slow string `query:"slower_than" maxLength:"40" doc:"only those that take longer, such as 50ms"`
},
) (*huma.StreamResponse, error) {
	var least time.Duration
	if in.Slow != "" {
		d, err := caxton.ParseDuration(in.Slow)
		if err != nil {
			return nil, err
		}
		least = d
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/x-ndjson")
		queries := make(chan memory.SlowQuery, 256) // those of a Moment in which the caller reads
		defer s.deps.Memory.Observe(func(q memory.SlowQuery) {
			if q.Took < least {
				return
			}
			select {
			case queries <- q:
			default:
			}
		})()
		s.writeQueries(hc, queries)
	}}, nil
}

func (s *Server) writeQueries(hc huma.Context, queries <-chan memory.SlowQuery) {
	ctx, w := hc.Context(), s.pace(hc.BodyWriter())
	enc := json.NewEncoder(w)
	flush := func() {}
	if rw, ok := hc.BodyWriter().(http.ResponseWriter); ok {
		flush = func() { _ = http.NewResponseController(rw).Flush() }
	}
	flush() // the headers: the caller knows that it is listening
	alive := time.NewTicker(s.cfg.Heartbeat)
	defer alive.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-s.drained:
			return
		case <-alive.C:
			_, err = w.Write([]byte("\n"))
		case q := <-queries:
			err = enc.Encode(slowFrom(q))
		}
		if err != nil {
			return
		}
		flush()
	}
}

func (s *Server) optimizeMemory(ctx context.Context, in *struct{ Body api.MemoryOptimize }) (*output[api.MemoryOptimized], error) {
	done, err := s.deps.Memory.Optimize(ctx, memory.OptimizeOptions(in.Body), nil)
	if err != nil {
		return nil, err
	}
	out := api.MemoryOptimized{Steps: []api.MemoryStep{}, FreedBytes: done.Freed}
	for _, step := range done.Steps {
		out.Steps = append(out.Steps, api.MemoryStep{Name: step.Name, Millis: millis(step.Took)})
	}
	return &output[api.MemoryOptimized]{out}, nil
}

// aggressiveAge is the age from which an aggressive clean-up removes what is not important.
const aggressiveAge = 7 * 24 * time.Hour

func (s *Server) cleanMemory(ctx context.Context, in *struct{ Body api.MemoryCleanup }) (*output[api.MemoryCleaned], error) {
	b := &in.Body
	if !b.Orphaned && !b.Aggressive && b.OlderThan == "" && b.PastFor == "" && b.MaxEntities == 0 {
		return nil, caxton.Errorf(caxton.Invalid, "cleanup_empty", "the request does not say what to remove").
			WithHint("set remove_orphaned, older_than, past_for, max_entities or aggressive")
	}
	c := memory.Cleaning{Orphaned: b.Orphaned || b.Aggressive, MinKeep: b.KeepFrom, MaxEntities: b.MaxEntities, DryRun: b.DryRun}
	if b.Aggressive {
		c.OlderThan, c.Past = s.cfg.Now().Add(-aggressiveAge), s.cfg.Now()
	}
	var err error
	for _, d := range []struct {
		text string
		into *time.Time
	}{{b.OlderThan, &c.OlderThan}, {b.PastFor, &c.Past}} {
		if d.text == "" {
			continue
		}
		age, err := caxton.ParseDuration(d.text)
		if err != nil {
			return nil, err
		}
		*d.into = s.cfg.Now().Add(-age)
	}
	if b.Scope != "" {
		if c.Scope, err = s.scope(b.Scope); err != nil {
			return nil, err
		}
	}
	if c.MaxEntities > 0 && b.Scope == "" {
		return nil, caxton.Errorf(caxton.Invalid, "scope_missing", "max_entities is for one scope").WithHint("say which, by scope")
	}
	done, err := s.deps.Memory.Clean(ctx, c)
	return &output[api.MemoryCleaned]{api.MemoryCleaned{
		Entities: done.Entities, Observations: done.Observations, Relations: done.Relations, Embeddings: done.Embeddings, Orphans: done.Orphans,
		FreedBytes: done.Bytes, DryRun: b.DryRun,
	}}, err
}

func (s *Server) clearMemoryCache(ctx context.Context, in *struct{ Body api.MemoryCacheClear }) (*output[api.MemoryCacheCleared], error) {
	var out api.MemoryCacheCleared
	var err error
	if out.Embeddings, out.Rebuilt, err = s.deps.Model.ClearCache(ctx, in.Body.Rebuild); err != nil {
		return nil, err
	}
	if in.Body.All {
		out.Results = s.deps.Memory.ClearCache()
	}
	return &output[api.MemoryCacheCleared]{out}, nil
}

func (s *Server) checkMemory(ctx context.Context, in *struct {
	Deep bool `query:"deep" doc:"compare every text and vector"`
},
) (*output[api.MemoryCheck], error) {
	faults, err := s.deps.Memory.Check(ctx, in.Deep)
	if err != nil {
		return nil, err
	}
	if faults == nil {
		faults = []string{}
	}
	return &output[api.MemoryCheck]{api.MemoryCheck{OK: len(faults) == 0, Faults: faults}}, nil
}

type memoryExportInput struct {
	Viewer
	MemoryScope string   `query:"memory_scope" maxLength:"160" doc:"the same as scope"`
	Types       []string `query:"entity_types" maxItems:"100"`
	Format      string   `query:"format" enum:"json,jsonl" default:"json"`
	Past        bool     `query:"include_past" doc:"with what is superseded, reverted or forgotten"`
	Embeddings  bool     `query:"include_embeddings"`
}

// exportMemory streams a file. One that is cut short lacks its end, too, by which a reader knows.
func (s *Server) exportMemory(ctx context.Context, in *memoryExportInput) (*huma.StreamResponse, error) {
	if in.MemoryScope != "" {
		in.Scope = append(in.Scope, in.MemoryScope)
	}
	a, err := s.access(ctx, in.AgentID, in.Scope)
	if err != nil {
		return nil, err
	}
	o := memory.ExportOptions{Access: a, Filter: memory.Filter{Types: in.Types}, Format: memory.Format(in.Format), Past: in.Past, Embeddings: in.Embeddings}
	contentType := "application/json"
	if o.Format == memory.JSONL {
		contentType = "application/x-ndjson"
	}
	return s.file(contentType, func(ctx context.Context, w io.Writer) error { //nolint:contextcheck // huma hands the request's context over
		_, err := s.deps.Memory.Export(ctx, w, o)
		return err
	}), nil
}

type memoryImportInput struct {
	Scope    string `query:"scope" maxLength:"160" default:"global" doc:"of entities that name none"`
	Strategy string `query:"merge_strategy" enum:"update_existing,skip_existing,error_on_conflict" default:"update_existing"`
	Skip     int64  `query:"skip" minimum:"0" doc:"entries at the beginning that were done before"`
	DryRun   bool   `query:"dry_run"`
	RawBody  []byte
}

func (s *Server) importMemory(ctx context.Context, in *memoryImportInput) (*output[api.MemoryImported], error) {
	scope, err := s.scope(in.Scope)
	if err != nil {
		return nil, err
	}
	c, err := s.deps.Memory.Import(ctx, bytes.NewReader(in.RawBody), memory.ImportOptions{
		Access: memory.Access{All: true}, Scope: scope, Strategy: memory.Strategy(in.Strategy), By: caxton.Provenance{By: "import"}, Skip: in.Skip, DryRun: in.DryRun,
	})
	done := api.MemoryImported{
		Read: c.Read, Imported: c.Imported, Updated: c.Updated, Skipped: c.Skipped, Observations: c.Observations, Relations: c.Relations, Next: c.Next, DryRun: in.DryRun,
	}
	if err != nil && c != (memory.ImportCounts{}) {
		err = &importBroken{done, err}
	}
	return &output[api.MemoryImported]{done}, err
}

// importBroken is the failure of an import that had begun.
type importBroken struct {
	done api.MemoryImported
	err  error
}

func (e *importBroken) Error() string { return e.err.Error() }

// Unwrap returns why it failed.
func (e *importBroken) Unwrap() error { return e.err }

// hint says, after another hint, how to go on.
func (e *importBroken) hint(other string) string {
	if e.done.DryRun || e.done.Next == 0 {
		return other
	}
	on := fmt.Sprintf("what comes before entry %d is taken: go on with skip %d", e.done.Next+1, e.done.Next)
	if other == "" {
		return on
	}
	return other + "; " + on
}
