package engine

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/vector"
	"github.com/prometheus/client_golang/prometheus"
)

// An Embedder turns texts into vectors. *embedding.Embedder provides it.
type Embedder interface {
	// Model identifies the model. Vectors of different models are never compared.
	Model() string
	// Dimensions is the length of the vectors.
	Dimensions() int
	// Embed returns one vector of length 1 for each text, in order.
	Embed(ctx context.Context, texts []string) ([][]float32, error)
}

// Config says how an Engine works. A zero field means the default.
type Config struct {
	Logger   *slog.Logger
	Registry prometheus.Registerer
	Now      func() time.Time

	Weights      Weights       // DefaultWeights
	Batch        int           // passages embedded at once; 32
	EmbedTimeout time.Duration // how long a query's embedding may take before words must do; 2s
	LoadWait     time.Duration // how long a search waits for the index at most; 10s
	Checkpoint   time.Duration // between two of the index; 5m
	CacheResults int           // results kept; 1000, negative for none
	CacheTTL     time.Duration // how long a result is kept at most; 1m
	Fade         time.Duration // over which what is old loses most of its weight when the time matters; 1 year
	MaxEntities  int           // from which on a warning is given; 100000
	SlowQuery    time.Duration // from which on a query is logged; 100ms

	Cleanup       time.Duration // between two removals of what has expired; 1h, negative for never
	Vacuum        time.Duration // between two compactions of the file; 24h, negative for never
	Analyze       time.Duration // between two refreshes of the statistics; 12h, negative for never
	Fragmentation float64       // share of unused space from which on the file is compacted; 0.1
	KeepPast      time.Duration // how long what is superseded or forgotten is kept; 0 for ever
	Policies      func() []Policy
}

// A Policy bounds what one scope remembers. Zero fields bound nothing.
type Policy struct {
	Scope       caxton.Scope
	MaxEntities int           // the least important, then the oldest, go first
	OlderThan   time.Duration // entities not updated for so long go
	MinKeep     float64       // unless they are as important as this; 0.8
}

func (c Config) withDefaults() Config {
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Weights == (Weights{}) {
		c.Weights = DefaultWeights()
	}
	if c.Policies == nil {
		c.Policies = func() []Policy { return nil }
	}
	c.Batch = cmp.Or(c.Batch, 32)
	c.EmbedTimeout = cmp.Or(c.EmbedTimeout, 2*time.Second)
	c.LoadWait = cmp.Or(c.LoadWait, 10*time.Second)
	c.Checkpoint = cmp.Or(c.Checkpoint, 5*time.Minute)
	c.CacheResults = cmp.Or(c.CacheResults, 1000)
	c.CacheTTL = cmp.Or(c.CacheTTL, time.Minute)
	c.Fade = cmp.Or(c.Fade, 365*24*time.Hour)
	c.MaxEntities = cmp.Or(c.MaxEntities, 100_000)
	c.SlowQuery = cmp.Or(c.SlowQuery, 100*time.Millisecond)
	c.Cleanup = cmp.Or(c.Cleanup, time.Hour)
	c.Vacuum = cmp.Or(c.Vacuum, 24*time.Hour)
	c.Analyze = cmp.Or(c.Analyze, 12*time.Hour)
	c.Fragmentation = cmp.Or(c.Fragmentation, 0.1)
	return c
}

// An Engine is the memory of all agents of a server. See the package comment.
type Engine struct {
	store    memory.Store
	vectors  memory.VectorStore
	keeper   memory.Keeper
	embedder Embedder // nil: words only
	model    string   // "" without an embedder
	cfg      Config
	stats    *stats
	cache    *cache

	index atomic.Pointer[vector.Index]
	graph *graph

	// writing has room for one: who sends may write to the store and to what follows it. A
	// channel, because a writer waits no longer than its context.
	writing chan struct{}
	loaded  bool                // guarded by writing: the index and the graph follow the store
	mark    int64               // guarded by writing: up to which change the index follows
	stale   []uint32            // guarded by writing: segments the store has and the index never had
	missed  []caxton.RelationID // guarded by writing: changed before the graph was loaded

	writes  atomic.Uint64 // writes begun and writes ended together: odd while one goes on
	ready   chan struct{} // closed when loaded
	backlog chan struct{} // room for one: there is something to embed
	state   state

	groupsMu sync.Mutex
	groupsOf map[string][]memory.Group // by access; emptied when a scope may have come to be
}

// New returns an Engine over a store; vectors and keeper are most often the same value.
// embedder may be nil, then words alone are searched. It starts nothing; Run does.
func New(store memory.Store, vectors memory.VectorStore, keeper memory.Keeper, embedder Embedder, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	e := &Engine{
		store: store, vectors: vectors, keeper: keeper, embedder: embedder, cfg: cfg,
		cache:    newCache(cfg.CacheResults),
		graph:    newGraph(),
		writing:  make(chan struct{}, 1),
		ready:    make(chan struct{}),
		backlog:  make(chan struct{}, 1),
		groupsOf: map[string][]memory.Group{},
	}
	if embedder != nil {
		e.model = embedder.Model()
		x, err := e.newIndex()
		if err != nil {
			return nil, err
		}
		e.index.Store(x)
	}
	e.stats = newStats(e, cfg.Registry)
	return e, nil
}

func (e *Engine) newIndex() (*vector.Index, error) {
	return vector.New(vector.Config{Dimensions: e.embedder.Dimensions()})
}

// Run loads what New did not, then keeps it: see the package comment. It returns when ctx
// has ended, after a last checkpoint, or with the error for which the memory cannot be loaded.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // the end was asked for
		}
		e.state.fail(err)
		return err
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { e.embedBacklog(ctx) })
	tasks.Go(func() { e.upkeep(ctx) })
	tasks.Wait()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := e.checkpoint(end); err != nil {
		e.cfg.Logger.WarnContext(end, "index of memory not saved, the next start takes longer", "error", err)
	}
	return nil
}

// lock waits until nobody else writes. The caller calls unlock once.
func (e *Engine) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case e.writing <- struct{}{}:
		return func() { <-e.writing }, nil
	case <-ctx.Done():
		return nil, ended(ctx, "another write to memory did not end in time")
	}
}

// wait returns when the index and the graph are loaded.
func (e *Engine) wait(ctx context.Context) error {
	select {
	case <-e.ready:
		return nil
	default:
	}
	t := time.NewTimer(e.cfg.LoadWait)
	defer t.Stop()
	select {
	case <-e.ready:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return ended(ctx, "")
		}
	case <-t.C:
	}
	p := e.state.progress()
	return caxton.Errorf(caxton.Unavailable, "memory_loading", "the memory is still loading: %s", p).
		WithHint("try again in a moment, or search by words, which needs no index")
}

// ended returns the error for a context that is over.
func ended(ctx context.Context, what string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return caxton.Errorf(caxton.Canceled, "canceled", "the caller left").WithCause(ctx.Err())
	}
	return caxton.Errorf(caxton.Timeout, "memory_timeout", "%s", cmp.Or(what, "the memory did not answer in time")).WithCause(ctx.Err())
}

// groups returns the groups that a may see.
func (e *Engine) groups(ctx context.Context, a memory.Access, past bool) ([]memory.Group, error) {
	key := accessKey(a)
	if past {
		key += "\x00past"
	}
	e.groupsMu.Lock()
	gs, ok := e.groupsOf[key]
	e.groupsMu.Unlock()
	if ok {
		return gs, nil
	}
	before := e.writes.Load()
	gs, err := e.store.Groups(ctx, a, past)
	if err != nil {
		return nil, err
	}
	e.groupsMu.Lock()
	defer e.groupsMu.Unlock()
	if before%2 == 0 && e.writes.Load() == before { // else a scope may have come to be meanwhile
		if len(e.groupsOf) >= 10_000 {
			clear(e.groupsOf)
		}
		e.groupsOf[key] = gs
	}
	return gs, nil
}

func (e *Engine) forgetGroups() {
	e.groupsMu.Lock()
	defer e.groupsMu.Unlock()
	clear(e.groupsOf)
}

// Entity returns an entity with its observations as of a time.
func (e *Engine) Entity(ctx context.Context, a memory.Access, id caxton.EntityID, at memory.AsOf) (caxton.Entity, error) {
	return e.store.Entity(ctx, a, id, at)
}

// Named returns the entities of a name, ignoring case, narrowest scope first, without observations.
func (e *Engine) Named(ctx context.Context, a memory.Access, name string, at memory.AsOf) ([]caxton.Entity, error) {
	return e.store.Named(ctx, a, name, at)
}

// Entities returns a page of entities without observations, most recently updated first.
func (e *Engine) Entities(ctx context.Context, a memory.Access, f memory.Filter, cursor string, limit int) ([]caxton.Entity, string, error) {
	return e.store.Entities(ctx, a, f, cursor, limit)
}

// Relations returns the relations at an entity, or all when id is 0, as of a time.
func (e *Engine) Relations(ctx context.Context, a memory.Access, id caxton.EntityID, at memory.AsOf, cursor string, limit int) ([]caxton.Relation, string, error) {
	return e.store.Relations(ctx, a, id, at, cursor, limit)
}

// History returns everything that happened to an entity, oldest first.
func (e *Engine) History(ctx context.Context, a memory.Access, id caxton.EntityID) ([]memory.Change, error) {
	return e.store.History(ctx, a, id)
}
