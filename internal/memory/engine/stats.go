package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/prometheus/client_golang/prometheus"
)

// The kinds of query.
const (
	semanticSearch = "semantic_search"
	textSearch     = "text_search"
	graphTraversal = "graph_traversal"
)

const (
	window    = 1024 // latest queries of a kind from which the P99 is made
	slowKept  = 100
	shownText = 120 // bytes of a query in a list of slow ones
)

// stats counts and times queries.
type stats struct {
	slow    time.Duration
	now     func() time.Time
	warn    func(ctx context.Context, q memory.SlowQuery)
	seconds *prometheus.HistogramVec
	written prometheus.Counter

	mu       sync.Mutex
	kinds    map[string]*kindStats
	slowest  []memory.SlowQuery // the latest slow ones, oldest first
	watchers map[int]func(memory.SlowQuery)
	watcher  int
	counts   memory.Counts // as last counted
	file     memory.FileStats
	dirty    bool // counts are older than a write
}

type kindStats struct {
	count  int64
	sum    time.Duration
	most   time.Duration
	latest []time.Duration // a ring
	next   int
}

func newStats(e *Engine, reg prometheus.Registerer) *stats {
	s := &stats{
		slow: e.cfg.SlowQuery, now: e.cfg.Now, dirty: true,
		kinds: map[string]*kindStats{}, watchers: map[int]func(memory.SlowQuery){},
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "caxton_memory_query_duration_seconds", Help: "Time of queries to memory by kind.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"kind"}),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_memory_writes_total", Help: "Entities written or changed."}),
		warn: func(ctx context.Context, q memory.SlowQuery) {
			e.cfg.Logger.DebugContext(ctx, "memory query was slow", "kind", q.Kind, "took", q.Took.Round(time.Microsecond))
		},
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	reg.MustRegister(s.seconds, s.written,
		gauge("caxton_memory_entities_total", "Entities that are remembered.", func() float64 { c, _ := s.last(); return float64(c.Entities) }),
		gauge("caxton_memory_relations_total", "Relations that are remembered.", func() float64 { c, _ := s.last(); return float64(c.Relations) }),
		gauge("caxton_memory_sqlite_size_bytes", "Size of the file of memory with its write-ahead log.", func() float64 { _, f := s.last(); return float64(f.Bytes) }),
		gauge("caxton_memory_search_latency_p99", "P99 of the latest semantic searches in seconds.", func() float64 { return s.of(semanticSearch).P99.Seconds() }),
		gauge("caxton_memory_entities_limit", "Entities from which on a warning is given.", func() float64 { return float64(e.cfg.MaxEntities) }),
		gauge("caxton_memory_unembedded", "Passages that wait for their embedding.", func() float64 { return float64(e.state.waiting.Load()) }),
	)
	return s
}

// query notes a query that has ended.
func (s *stats) query(ctx context.Context, kind string, took time.Duration, text string) {
	s.seconds.WithLabelValues(kind).Observe(took.Seconds())
	q := memory.SlowQuery{At: s.now(), Kind: kind, Took: took, Text: shortened(text, shownText)}
	s.mu.Lock()
	k := s.kinds[kind]
	if k == nil {
		k = &kindStats{}
		s.kinds[kind] = k
	}
	k.count++
	k.sum += took
	k.most = max(k.most, took)
	if len(k.latest) < window {
		k.latest = append(k.latest, took)
	} else {
		k.latest[k.next] = took
		k.next = (k.next + 1) % window
	}
	slow := took >= s.slow
	if slow {
		if len(s.slowest) == slowKept {
			s.slowest = slices.Delete(s.slowest, 0, 1)
		}
		s.slowest = append(s.slowest, q)
	}
	watchers := slices.Collect(maps.Values(s.watchers))
	s.mu.Unlock()
	if slow {
		s.warn(ctx, q)
	}
	for _, f := range watchers {
		f(q)
	}
}

// shortened returns at most n bytes of s, whole runes.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

func (s *stats) wrote(n int) {
	s.written.Add(float64(n))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
}

// of returns what is known of a kind of query.
func (s *stats) of(kind string) memory.Slow {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[kind]
	if k == nil {
		return memory.Slow{Kind: kind}
	}
	sorted := slices.Sorted(slices.Values(k.latest))
	return memory.Slow{
		Kind: kind, Count: k.count, Average: k.sum / time.Duration(k.count), Max: k.most,
		P99: sorted[(len(sorted)*99-1)/100],
	}
}

func (s *stats) last() (memory.Counts, memory.FileStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts, s.file
}

func (s *stats) keep(c memory.Counts, f memory.FileStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts, s.file, s.dirty = c, f, false
}

func (s *stats) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dirty
}

// Status returns how the memory is, without asking the store: counts are some seconds old at
// most.
func (e *Engine) Status() memory.Status {
	c, _ := e.stats.last()
	s := memory.Status{State: memory.Loading, Model: e.model, Entities: c.Entities, Relations: c.Relations, Unembedded: e.state.waiting.Load()}
	degraded, failed := e.state.troubles()
	switch {
	case failed != nil:
		s.State, s.Reason = memory.Failed, unloaded(failed)
	case e.state.loaded.Load():
		s.State, s.Reason = memory.Ready, degraded
		if s.Unembedded > 0 {
			done := e.state.embedded.Load()
			s.Progress = &memory.Progress{Step: "embedding", Done: done, Total: done + s.Unembedded}
		}
	default:
		s.Progress = &memory.Progress{Step: "loading vectors", Done: e.state.segments.Load() + e.state.vectors.Load()}
	}
	return s
}

// unloaded says for people why the memory could not be loaded. Run returns the cause, for the log.
func unloaded(err error) string {
	if known, ok := errors.AsType[*caxton.Error](err); ok && known.Kind != caxton.Internal {
		return "the memory cannot be loaded: " + known.Message
	}
	return "the memory cannot be loaded; the log has the cause"
}

// Stats counts anew and returns the figures of everything.
func (e *Engine) Stats(ctx context.Context) (memory.Stats, error) {
	if err := e.count(ctx); err != nil {
		return memory.Stats{}, err
	}
	s := memory.Stats{Status: e.Status(), Vectors: e.vectorCount(), GraphBytes: e.graph.bytes(), MaxEntities: e.cfg.MaxEntities}
	s.Counts, s.File = e.stats.last()
	for _, kind := range []string{semanticSearch, textSearch, graphTraversal} {
		s.Queries = append(s.Queries, e.stats.of(kind))
	}
	if x := e.index.Load(); x != nil {
		s.IndexBytes = x.Stats().Bytes
	}
	hits, misses, kept := e.cache.counts()
	s.ResultHits, s.ResultMiss, s.Results = int64(hits), int64(misses), kept //nolint:gosec // counts
	return s, nil
}

// count asks the store how much there is.
func (e *Engine) count(ctx context.Context) error {
	c, err := e.keeper.Count(ctx, e.model)
	if err != nil {
		return err
	}
	f, err := e.keeper.File(ctx)
	if err != nil {
		return err
	}
	e.stats.keep(c, f)
	return nil
}

// Slowest returns the latest slow queries, the newest first.
func (e *Engine) Slowest() []memory.SlowQuery {
	e.stats.mu.Lock()
	defer e.stats.mu.Unlock()
	qs := slices.Clone(e.stats.slowest)
	slices.Reverse(qs)
	return qs
}

// Observe calls f with every query from now on until cancel is called. f is called by
// whoever queries, and must be quick.
func (e *Engine) Observe(f func(memory.SlowQuery)) (cancel func()) {
	s := e.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher++
	id := s.watcher
	s.watchers[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, id)
	}
}

// ClearCache forgets the results of searches that are kept for the next one, and returns how
// many there were.
func (e *Engine) ClearCache() (results int) {
	_, _, results = e.cache.counts()
	e.cache.clear()
	return results
}
