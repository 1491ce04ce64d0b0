package node

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/embedding/hub"
	extractive "github.com/caxton/caxton/internal/llm/builtin"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/caxton/caxton/internal/registry"
	"github.com/prometheus/client_golang/prometheus"
)

// openMemory makes the parts of memory; it starts none.
func (n *node) openMemory(ctx context.Context) (err error) {
	c := &n.c.Memory
	if n.memlock, err = datadir.LockFile(ctx, n.layout.Memory); err != nil {
		return err
	}
	n.memdb, err = memdb.Open(ctx, memdb.Config{
		Path: n.layout.Memory, Durability: memoryDurability(c.SQLite.Synchronous), TempStore: tempStore(c.SQLite.TempStore),
		CacheBytes: int64(c.SQLite.CacheSize), Logger: n.log.Logger, Registerer: n.reg,
	})
	if err != nil {
		return err
	}
	n.model, err = openModel(ctx, c, n.layout.Models, n.memdb, n.log.Logger, n.reg)
	if err != nil {
		return err
	}
	n.memory, err = engine.New(n.memdb, n.memdb, n.memdb, n.model.embedder(), engine.Config{
		Logger: n.log.Logger, Registry: n.reg, Batch: c.Embedding.BatchSize, MaxEntities: c.MaxEntities,
		Cleanup: c.Cleanup.Interval.Std(), Vacuum: c.Cleanup.VacuumInterval.Std(), Analyze: c.Cleanup.AnalyzeInterval.Std(),
		Fragmentation: c.Cleanup.CleanupThreshold, Policies: func() []engine.Policy { return policies(n.registry) },
	})
	return err // abandon closes what is open
}

func memoryDurability(synchronous string) memdb.Durability {
	if synchronous == "FULL" || synchronous == "EXTRA" {
		return memdb.Full
	}
	return memdb.Normal
}

func tempStore(s string) string {
	if s == "FILE" {
		return "file"
	}
	return "memory"
}

// policies returns what agents' files say of how long and how much they remember. It bounds
// what is an agent's alone: what it shares is not its to remove.
func policies(r *registry.Registry) []engine.Policy {
	var out []engine.Policy
	for _, a := range r.Agents() {
		m := &a.Definition.Memory
		if !m.Enabled || m.MaxEntities == 0 && m.Retention == 0 {
			continue
		}
		out = append(out, engine.Policy{
			Scope: caxton.Scope{Kind: caxton.AgentScope, Owner: string(a.ID)}, MaxEntities: m.MaxEntities, OlderThan: m.Retention,
		})
	}
	return out
}

// An embeddingModel is the embedding model in use, and what is known of the one that is configured.
type embeddingModel struct {
	name string // as configured
	open func(ctx context.Context, name string, progress func(hub.Progress)) (*embedding.Provider, error)
	log  *slog.Logger

	provider *embedding.Provider // nil: words only
	fetch    bool                // the configured one is to be downloaded

	mu       sync.Mutex       // guards what follows
	fallback string           // why another one is used, or ""
	download *memory.Download // while it is at work
}

// openModel opens the configured model. One that has to be downloaded first is used from the
// next start on. Till then, as when the configured one cannot be reached, the one in the program
// is used if it can stand in, and words must do if not. A setting that names no model is an
// error: what would be embedded by another had to be embedded again once it is mended.
func openModel(ctx context.Context, c *config.Memory, dir string, db *memdb.DB, log *slog.Logger, reg prometheus.Registerer) (*embeddingModel, error) {
	m := &embeddingModel{name: c.EmbeddingModel, log: log}
	e := &c.Embedding
	m.open = func(ctx context.Context, name string, progress func(hub.Progress)) (*embedding.Provider, error) {
		cfg := embedding.Config{
			Model: name, Dir: dir, Offline: progress == nil, BatchSize: e.BatchSize, CacheSize: cmp.Or(e.CacheSize, -1), QueueSize: e.QueueSize,
			Hub:    hub.Config{BaseURL: c.HubURL, Token: c.HubToken, MaxFile: c.MaxModelSize, Progress: progress, Logger: log},
			Remote: embedding.Remote{BaseURL: e.BaseURL, APIKey: e.APIKey, Dimensions: e.Dimensions, Timeout: e.Timeout.Std(), MaxRetries: cmp.Or(e.MaxRetries, -1)},
			Logger: log,
		}
		if progress == nil {
			cfg.Metrics = reg
		}
		return embedding.Open(ctx, cfg)
	}
	var err error
	if m.provider, err = m.open(ctx, m.name, nil); err == nil {
		return m, nil
	}
	if misnamed(m.name, err) {
		return nil, err
	}
	cause := err
	m.fallback = reason(cause)
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Code == "model_hub_offline" && !c.Offline {
		m.fetch, m.fallback = true, m.name+" has to be downloaded first"
	}
	p, err := m.open(ctx, "", nil)
	if err == nil && standsIn(ctx, db, p.Model()) {
		m.provider = p
		log.WarnContext(ctx, "embedding model not available, using the one in the program", "model", m.name, "reason", m.fallback, "error", cause)
		return m, nil
	}
	if err == nil {
		p.Close()
	}
	log.WarnContext(ctx, "embedding model not available, searching by words", "model", m.name, "reason", m.fallback, "error", cause)
	return m, nil
}

// misnamed reports whether a model could not be opened for what the configuration says, so
// that waiting would not help.
func misnamed(name string, err error) bool {
	e, ok := errors.AsType[*caxton.Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case "embedding_model_invalid", "embedding_url_invalid", "hub_url_invalid", "model_name_invalid":
		return true
	}
	return embedding.IsDirectory(name) && (e.Kind == caxton.NotFound || e.Kind == caxton.Invalid || e.Kind == caxton.Malformed)
}

// standsIn reports whether a model can be used in place of the configured one: when nothing
// was embedded by another. Else all vectors would be made anew, and again once the configured
// one is back.
func standsIn(ctx context.Context, db *memdb.DB, identity string) bool {
	c, err := db.Count(ctx, identity)
	if err != nil {
		return false
	}
	delete(c.ByModel, identity)
	return len(c.ByModel) == 0
}

// reason says for people why a model is not there. The log has the cause.
func reason(err error) string {
	return caxton.Reason(err, "it cannot be opened; the log has the cause")
}

// embedder returns what the engine embeds with: nil for nothing.
func (m *embeddingModel) embedder() engine.Embedder {
	if m.provider == nil {
		return nil
	}
	return m.provider
}

// Run downloads the configured model if it has to be.
func (m *embeddingModel) Run(ctx context.Context) error {
	if m.fetch {
		p, err := m.open(ctx, m.name, func(p hub.Progress) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.download = &memory.Download{File: p.File, Done: p.Done, Total: p.Total}
		})
		m.mu.Lock()
		m.download = nil
		switch {
		case err == nil:
			p.Close()
			m.fallback = m.name + " is downloaded and is used from the next start on"
			m.log.InfoContext(ctx, "embedding model downloaded, it is used from the next start on", "model", m.name)
		case ctx.Err() == nil:
			m.fallback = reason(err)
			m.log.WarnContext(ctx, "embedding model not downloaded", "model", m.name, "error", err)
		}
		m.mu.Unlock()
	}
	<-ctx.Done()
	if m.provider != nil {
		m.provider.Close()
	}
	return nil
}

// Stats says how the model does.
func (m *embeddingModel) Stats() memory.ModelStats {
	m.mu.Lock()
	out := memory.ModelStats{Name: m.name, Fallback: m.fallback, Download: m.download}
	m.mu.Unlock()
	if m.provider == nil {
		return out
	}
	s := m.provider.Stats()
	out.Model, out.Source, out.Dimensions, out.Loaded, out.LoadTime, out.Bytes = s.Model, s.Source, s.Dimensions, true, s.Load, s.Bytes
	out.CacheEntries, out.CacheLimit, out.CacheBytes = s.CacheEntries, s.CacheCapacity, s.CacheBytes
	out.Hits, out.Misses, out.Texts = int64(s.Hits+s.Shared), int64(s.Misses), int64(s.Embedded) //nolint:gosec // counts of a process
	out.Average, out.P99 = s.Average, s.P99
	if s.Average > 0 {
		out.PerSecond = float64(time.Second) / float64(s.Average)
	}
	return out
}

// ClearCache drops the vectors that are kept, and makes them again if rebuild.
func (m *embeddingModel) ClearCache(ctx context.Context, rebuild bool) (dropped, rebuilt int, err error) {
	if m.provider == nil {
		return 0, 0, nil
	}
	if !rebuild {
		return m.provider.ClearCache(), 0, nil
	}
	texts := m.provider.Cached()
	dropped = m.provider.ClearCache()
	for part := range slices.Chunk(texts, 256) {
		if _, err := m.provider.Embed(ctx, part); err != nil {
			return dropped, rebuilt, err
		}
		rebuilt += len(part)
	}
	return dropped, rebuilt, nil
}

// recollection lets agents recall and remember their turns: it makes the engine's words the
// prompt's.
type recollection struct {
	engine *engine.Engine
}

// Recall returns what an agent remembers that may help with a text, but for the turns of told.
func (r recollection) Recall(ctx context.Context, v *caxton.AgentVersion, text string, told []caxton.MessageID) (caxton.MemoryRecalledBody, error) {
	p := memory.ProfileOf(caxton.Slug(v.Definition.Name), v)
	s := &p.Settings
	got, err := r.engine.Recall(ctx, p.Access(), text, memory.RecallOptions{
		Limit: s.MaxResults, MinSimilarity: s.SimilarityThreshold, TTL: s.CacheTTL, Except: told,
	})
	if err != nil {
		return caxton.MemoryRecalledBody{}, err
	}
	out := caxton.MemoryRecalledBody{Query: text, Degraded: got.Degraded, Items: make([]caxton.RecalledItem, 0, len(got.Snippets))}
	for _, sn := range got.Snippets {
		it := caxton.RecalledItem{
			ID: caxton.ObservationID(sn.ID).String(), EntityID: sn.EntityID, Scope: sn.Scope, Name: sn.Name, Type: sn.Type, Text: sn.Text, Score: sn.Score, At: sn.At,
		}
		if sn.Entity {
			it.ID = sn.EntityID.String()
		}
		out.Items = append(out.Items, it)
	}
	return out, nil
}

// Keep remembers a turn, where the agent is at home. What the answerer without a model says
// is quoted from what is known already, and is left out.
func (r recollection) Keep(ctx context.Context, v *caxton.AgentVersion, m *caxton.Message, answer string) (caxton.MemoryWrittenBody, error) {
	p := memory.ProfileOf(caxton.Slug(v.Definition.Name), v)
	if strings.HasSuffix(answer, extractive.Signature) {
		answer = ""
	}
	w, err := r.engine.Episode(ctx, p.Home(), memory.Turn{
		ConversationID: m.ConversationID, MessageID: m.ID, AgentID: v.AgentID, Version: int64(v.Number), Sender: m.Sender, Agent: p.Slug,
		Text: m.Text(), Reply: answer, At: m.CreatedAt,
	})
	if err != nil {
		return caxton.MemoryWrittenBody{}, err
	}
	var out caxton.MemoryWrittenBody
	for _, done := range w.Remembered {
		out.EntityID = done.Entity.ID
		for _, o := range done.Observations {
			out.Observations = append(out.Observations, o.ID)
		}
	}
	return out, nil
}

// profiles knows how the deployed agents remember.
type profiles struct{ registry *registry.Registry }

// Profile returns how an agent's active version remembers.
func (p profiles) Profile(_ context.Context, id caxton.AgentID) (memory.Profile, error) {
	a, err := p.registry.Agent(id)
	if err != nil {
		return memory.Profile{}, err
	}
	return memory.ProfileOf(a.Slug, &caxton.AgentVersion{AgentID: a.ID, Number: a.Version, Definition: a.Definition}), nil
}
