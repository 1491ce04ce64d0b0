package embedding

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// window is how many batches the percentile looks back on.
const window = 1024

// counts are what a Provider has done since it was opened. They are guarded by Provider.mu.
type counts struct {
	texts, hits, shared, misses uint64
	embedded, failed, refused   uint64
	batches                     uint64
	spent                       time.Duration
	recent                      [window]float32 // seconds of a text in the newest batches; a ring
}

// Stats say what the model is and how it does.
type Stats struct {
	Model      string // its identity
	Source     string // built-in, directory, hub or remote
	Dimensions int
	MaxTokens  int    // of a text; 0 when not known
	Kernel     string // which form of the loops computes; "" for a remote model
	Verified   bool   // false when its files come from a hub that gave no digests
	Load       time.Duration
	Bytes      int64 // of its weights in memory; 0 for a remote model

	Texts    uint64 // asked for
	Hits     uint64 // found in the cache
	Shared   uint64 // somebody else was waiting for the same
	Misses   uint64 // neither
	HitRate  float64
	Embedded uint64
	Failed   uint64
	Refused  uint64 // as too many were waiting
	Waiting  int

	CacheEntries  int
	CacheCapacity int
	CacheBytes    int64

	Batches uint64
	Average time.Duration // of a text: the time of its batch, divided by the texts in it
	P99     time.Duration // the same over the newest 1,024 batches
}

// Stats returns what has happened since Open.
func (p *Provider) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.counts
	s := Stats{
		Model: p.model.identity, Source: string(p.model.source), Dimensions: p.model.dimensions, MaxTokens: p.model.maxTokens,
		Kernel: p.model.kernel, Verified: p.model.verified, Load: p.load, Bytes: p.model.bytes,
		Texts: c.texts, Hits: c.hits, Shared: c.shared, Misses: c.misses, HitRate: p.hitRate(),
		Embedded: c.embedded, Failed: c.failed, Refused: c.refused, Waiting: len(p.queue), Batches: c.batches,
	}
	if p.cache != nil {
		s.CacheEntries, s.CacheCapacity, s.CacheBytes = p.cache.Len(), p.cfg.CacheSize, p.cacheBytes()
	}
	if done := c.embedded + c.failed; done > 0 {
		s.Average = c.spent / time.Duration(done) //nolint:gosec // a count of texts
	}
	if n := int(min(c.batches, window)); n > 0 {
		recent := slices.Clone(c.recent[:n])
		slices.Sort(recent)
		s.P99 = time.Duration(float64(recent[int(math.Ceil(0.99*float64(n)))-1]) * float64(time.Second))
	}
	return s
}

// ClearCache forgets all vectors that are kept at hand, and returns how many they were. The hit
// rate begins anew.
func (p *Provider) ClearCache() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.hits, p.counts.shared, p.counts.misses = 0, 0, 0
	if p.cache == nil {
		return 0
	}
	n := p.cache.Len()
	p.cache.Purge()
	return n
}

// Cached returns the texts whose vectors are kept at hand, those used last first, as far as they
// are kept with them: long ones are not.
func (p *Provider) Cached() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cache == nil {
		return nil
	}
	var texts []string
	for _, v := range slices.Backward(p.cache.Values()) { // the list has the oldest first
		if v.text != "" {
			texts = append(texts, v.text)
		}
	}
	return texts
}

// keep puts a vector into the cache.
func (p *Provider) keep(k key, unit []float32, text string) {
	if old, there := p.cache.Peek(k); there {
		p.texts -= int64(len(old.text))
	}
	if len(text) > maxKept {
		text = ""
	}
	p.texts += int64(len(text))
	p.cache.Add(k, kept{unit, text})
}

// hitRate is the share of texts that needed no embedding of their own; 0 before the first.
func (p *Provider) hitRate() float64 {
	c := &p.counts
	if all := c.hits + c.shared + c.misses; all > 0 {
		return float64(c.hits+c.shared) / float64(all)
	}
	return 0
}

// cacheBytes is about what the cache holds: the vectors, and what the list and the map need.
func (p *Provider) cacheBytes() int64 {
	const entry = 200
	return p.texts + int64(p.cache.Len())*int64(4*p.model.dimensions+entry)
}

// observe counts a batch of n texts that took d.
func (p *Provider) observe(d time.Duration, n int) {
	p.seconds.Observe(d.Seconds())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.recent[p.counts.batches%window] = float32(d.Seconds() / float64(n))
	p.counts.batches++
	p.counts.spent += d
}

// register adds the metrics to the registry of the configuration.
func (p *Provider) register() error {
	p.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "caxton_embedding_batch_seconds", Help: "Time to embed a batch of texts.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	})
	if p.cfg.Metrics == nil {
		return nil
	}
	read := func(f func(*counts) uint64) func() float64 {
		return func() float64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return float64(f(&p.counts))
		}
	}
	locked := func(f func() float64) func() float64 {
		return func() float64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return f()
		}
	}
	counter := func(name, help string, f func(*counts) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read(f))
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, locked(f))
	}
	all := []prometheus.Collector{
		p.seconds,
		gauge("caxton_memory_cache_hit_rate", "Share of texts whose vector was at hand, 0 to 1.", p.hitRate),
		gauge("caxton_embedding_cache_entries", "Vectors kept at hand.", func() float64 {
			if p.cache == nil {
				return 0
			}
			return float64(p.cache.Len())
		}),
		gauge("caxton_embedding_queued_texts", "Texts that wait to be embedded.", func() float64 { return float64(len(p.queue)) }),
		gauge("caxton_embedding_model_bytes", "Memory that the weights of the model take.", func() float64 { return float64(p.model.bytes) }),
		counter("caxton_embedding_texts_total", "Texts embedded.", func(c *counts) uint64 { return c.embedded }),
		counter("caxton_embedding_failures_total", "Texts that could not be embedded.", func(c *counts) uint64 { return c.failed }),
		counter("caxton_embedding_refused_total", "Texts refused as too many were waiting.", func(c *counts) uint64 { return c.refused }),
	}
	for _, c := range all {
		if err := p.cfg.Metrics.Register(c); err != nil {
			p.unregister()
			return err
		}
		p.metrics = append(p.metrics, c)
	}
	return nil
}

func (p *Provider) unregister() {
	for _, c := range p.metrics {
		p.cfg.Metrics.Unregister(c)
	}
	p.metrics = nil
}
