package embedding

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding/hub"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says which model, and how it is used. Zero fields mean the defaults given here.
type Config struct {
	Model     string                // all-MiniLM-L6-v2, the one in the program
	Dir       string                // below which downloaded models are kept; "" when nothing may be downloaded
	Offline   bool                  // nothing is downloaded; what was, is used
	BatchSize int                   // texts embedded at once: 32
	CacheSize int                   // vectors kept at hand: 10,000; negative for none
	QueueSize int                   // texts waiting beyond which more are refused: 1,000
	Hub       hub.Config            // where models are downloaded from
	Remote    Remote                // the server of a model openai:…
	Logger    *slog.Logger          // none
	Metrics   prometheus.Registerer // none
}

// Remote says how to reach a server that speaks OpenAI's embeddings.
type Remote struct {
	BaseURL    string        // OpenAI's own
	APIKey     string        // may be empty for servers that want none
	Dimensions int           // those that the model has; 0 asks it
	Timeout    time.Duration // of one attempt: 30 s
	MaxRetries int           // 2; negative for none
	HTTPClient *http.Client  // one that follows no redirect to another host
}

// A backend is a model, wherever it runs. Vectors have unit length.
type backend interface {
	embed(ctx context.Context, texts []string) ([][]float32, error)
}

// A loaded model is a backend with what is known of it.
type loaded struct {
	backend
	identity   string
	source     source
	dimensions int
	maxTokens  int   // of a text, 0 when not known
	bytes      int64 // resident, 0 for a remote one
	kernel     string
	verified   bool // its files have digests that somebody promised
	parallel   int  // batches at a time
	batchBytes int  // bytes of text in a batch, unless it is one text; 0 for any
}

// A Provider turns texts into vectors by one model. It is safe for concurrent use.
type Provider struct {
	model   loaded
	cfg     Config
	permits chan struct{} // held while embedding; as many as the model takes batches at a time
	bulk    chan struct{} // held with a permit by calls of several texts; one fewer
	metrics []prometheus.Collector
	seconds prometheus.Histogram
	load    time.Duration

	mu      sync.Mutex
	cache   *simplelru.LRU[key, kept] // nil for none
	texts   int64                     // bytes of the texts in the cache
	pending map[key]*item             // queued or being embedded
	queue   []*item                   // oldest first
	counts  counts
}

type key [sha256.Size]byte

// A kept vector is one in the cache, with its text so that it can be made again; without it
// when that is longer than maxKept.
type kept struct {
	unit []float32
	text string
}

const maxKept = 4 << 10

// Open makes the model that cfg names ready: it loads it, downloads it first where it must, or
// asks its server. It fails with Invalid when the name is none or the model is of a kind that
// cannot be run, with NotFound when it is not there, and as hub.Fetch does. The caller decides
// whether another model will do.
func Open(ctx context.Context, cfg Config) (*Provider, error) {
	cfg.BatchSize = cmp.Or(cfg.BatchSize, 32)
	cfg.CacheSize = cmp.Or(cfg.CacheSize, 10_000)
	cfg.QueueSize = cmp.Or(cfg.QueueSize, 1_000)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	ref, err := parseName(cfg.Model)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	var m loaded
	switch ref.source {
	case builtIn:
		m, err = openBuiltIn()
	case directory:
		m, err = openDirectory(ctx, ref.name)
	case download:
		m, err = openDownload(ctx, ref, cfg)
	case remote:
		m, err = openRemote(ctx, ref.name, cfg.Remote)
	}
	if err != nil {
		return nil, err
	}
	p, err := newProvider(m, cfg)
	if err != nil {
		return nil, err
	}
	p.load = time.Since(start)
	cfg.Logger.InfoContext(ctx, "embedding model loaded", "model", m.identity, "source", string(m.source), "dimensions", m.dimensions, "duration", p.load)
	if !m.verified {
		cfg.Logger.WarnContext(ctx, "embedding model not verified: nobody gave digests of its files", "model", m.identity)
	}
	return p, nil
}

func newProvider(m loaded, cfg Config) (*Provider, error) {
	p := &Provider{model: m, cfg: cfg, permits: make(chan struct{}, m.parallel), bulk: make(chan struct{}, max(1, m.parallel-1)), pending: map[key]*item{}}
	if cfg.CacheSize > 0 {
		c, err := simplelru.NewLRU(cfg.CacheSize, func(_ key, v kept) { p.texts -= int64(len(v.text)) })
		if err != nil {
			return nil, err
		}
		p.cache = c
	}
	return p, p.register()
}

// Close takes the metrics of the Provider off their registry. The Provider must not be used after.
func (p *Provider) Close() { p.unregister() }

// Model is the identity of the model, its precision included. Vectors of models with different
// identities cannot be compared.
func (p *Provider) Model() string { return p.model.identity }

// Dimensions is the length of a vector.
func (p *Provider) Dimensions() int { return p.model.dimensions }

// Embed returns the vectors of texts, in their order, each of unit length. They are the caller's
// own. What of a text is beyond the model's limit is left out. It fails with Exhausted when too
// many texts are waiting, Canceled or Timeout when ctx ends, and as the model does.
func (p *Provider) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	d := p.model.dimensions
	room := make([]float32, len(texts)*d)
	out := make([][]float32, len(texts))
	for i := range out {
		out[i] = room[i*d : (i+1)*d : (i+1)*d]
	}
	for from := 0; from < len(texts); from += p.cfg.BatchSize {
		to := min(from+p.cfg.BatchSize, len(texts))
		if err := p.some(ctx, texts[from:to], out[from:to]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p *Provider) key(text string) key { return sha256.Sum256([]byte(text)) }

// ended returns the error of a wait whose context has ended, nil while it has not.
func ended(ctx context.Context) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return caxton.Errorf(caxton.Timeout, "embedding_timeout", "the text was not embedded in time").WithCause(err)
	default:
		return caxton.Errorf(caxton.Canceled, "canceled", "the text is no longer wanted").WithCause(err)
	}
}

// normalise brings v to unit length. A vector without a direction is an error.
func normalise(v []float32) error {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	length := math.Sqrt(sum)
	if length == 0 || math.IsNaN(length) || math.IsInf(length, 0) {
		return fmt.Errorf("a vector of length %v", length)
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / length)
	}
	return nil
}
