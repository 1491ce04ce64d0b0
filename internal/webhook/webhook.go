package webhook

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/egress"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

// A Store keeps webhooks and their deliveries. *sqlite.DB provides it.
type Store interface {
	Webhooks(ctx context.Context) ([]caxton.Webhook, error)
	PutWebhook(ctx context.Context, w caxton.Webhook) error
	DeleteWebhook(ctx context.Context, id string) error
	DisableWebhook(ctx context.Context, w caxton.Webhook) error
	QueueWebhooks(ctx context.Context, ids []string, n int64, at time.Time, ds []caxton.WebhookDelivery) error
	DueWebhooks(ctx context.Context, id string, now time.Time, limit int) (ds []caxton.WebhookDelivery, next time.Time, err error)
	SaveWebhookDelivery(ctx context.Context, d caxton.WebhookDelivery) error
	PruneWebhooks(ctx context.Context, before time.Time) error
	WebhookDeliveries(ctx context.Context, id string, state caxton.WebhookState, limit int, cursor string) ([]caxton.WebhookDelivery, string, error)
}

// A Log is the log of all conversations. *sqlite.DB and *memjournal.Journal provide it.
type Log interface {
	Records(ctx context.Context, conv caxton.ConversationID, after int64, limit int) ([]caxton.Record, error)
	RecordsSince(ctx context.Context, n int64, limit int) ([]caxton.Record, error)
	Position(ctx context.Context) (int64, error)
}

// Config tunes an Engine. Zero fields mean the defaults given here.
type Config struct {
	Declared     []caxton.Webhook // by the configuration; their IDs are given here
	Policy       *egress.Policy   // where requests may go: public addresses
	Resolver     egress.Resolver  // the system's
	MaxWebhooks  int              // 100
	Concurrency  int              // requests to one receiver at once: 4
	Timeout      time.Duration    // of one request: 15 s
	RetryInitial time.Duration    // pause after the first failure; it doubles each time: 5 s
	RetryMax     time.Duration    // the longest such pause: 1 h
	Life         time.Duration    // how long a delivery is tried: 24 h
	Keep         time.Duration    // how long deliveries that ended are shown: 7 days
	UserAgent    string           // caxton
	Logger       *slog.Logger     // discards
	Registerer   prometheus.Registerer
	Now          func() time.Time
	Tracer       *telemetry.Tracer // records nothing

	Named   func(id caxton.AgentID, ref string) bool                       // whether an agent has a name: no names, IDs only
	TraceOf func(ctx context.Context, id caxton.MessageID) (parent string) // the trace that a message is part of: none
}

// An Engine tells webhooks of records. It is safe for concurrent use.
type Engine struct {
	store  Store
	log    Log
	feed   *event.Feed
	cfg    Config
	client *http.Client
	count  *prometheus.CounterVec

	collecting chan struct{} // capacity 1: the collector looks at the webhooks again
	tending    chan struct{} // capacity 1: Run does
	changing   chan struct{} // capacity 1: held by who changes a webhook here and in the store

	mu    sync.Mutex // guards all below
	hooks map[string]*hook
	seen  int64 // position up to which the collector has looked at records

	rollouts []caxton.RolloutEvent // steps that are to be queued
}

// A hook is a webhook at work.
type hook struct {
	caxton.Webhook
	wake chan struct{} // capacity 1: something new is due
}

// New returns an Engine. It starts nothing; Run does. A declared webhook that is none is
// Invalid.
func New(store Store, log Log, feed *event.Feed, cfg Config) (*Engine, error) {
	if cfg.Policy == nil {
		cfg.Policy = &egress.Policy{}
	}
	cfg.Policy.Setting = cmp.Or(cfg.Policy.Setting, "messaging.webhook_allowed_hosts")
	for i := range cfg.Declared {
		if err := check(&cfg.Declared[i], cfg.Policy); err != nil {
			return nil, err
		}
	}
	cfg.MaxWebhooks = cmp.Or(cfg.MaxWebhooks, 100)
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 4)
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.RetryInitial = cmp.Or(cfg.RetryInitial, 5*time.Second)
	cfg.RetryMax = cmp.Or(cfg.RetryMax, time.Hour)
	cfg.Life = cmp.Or(cfg.Life, 24*time.Hour)
	cfg.Keep = cmp.Or(cfg.Keep, 7*24*time.Hour)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "caxton")
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Named == nil {
		cfg.Named = func(caxton.AgentID, string) bool { return false }
	}
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caxton_webhook_attempts_total", Help: "Requests to webhooks, by how they ended: delivered, retried or failed.",
	}, []string{"result"})
	cfg.Registerer.MustRegister(count)
	dialer := &egress.Dialer{Policy: cfg.Policy, Resolver: cfg.Resolver}
	return &Engine{
		store: store, log: log, feed: feed, cfg: cfg, count: count,
		client: &http.Client{
			Transport: &http.Transport{
				DialContext: dialer.DialContext, TLSHandshakeTimeout: cfg.Timeout, MaxResponseHeaderBytes: 64 << 10,
				MaxIdleConnsPerHost: cfg.Concurrency, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		collecting: make(chan struct{}, 1), tending: make(chan struct{}, 1), changing: make(chan struct{}, 1), hooks: map[string]*hook{},
	}, nil
}

// Run tells webhooks of records until ctx ends. Requests at work are broken off then, and
// made again by the next Run.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while starting
		}
		return err
	}
	defer e.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { e.collect(ctx) })
	senders := map[*hook]context.CancelFunc{}
	defer func() {
		for _, stop := range senders {
			stop()
		}
	}()
	prune := time.NewTicker(time.Hour)
	defer prune.Stop()
	for {
		active := e.active()
		for h, stop := range senders {
			if !slices.Contains(active, h) {
				stop()
				delete(senders, h)
			}
		}
		for _, h := range active {
			if senders[h] == nil {
				sctx, stop := context.WithCancel(ctx)
				senders[h] = stop
				wg.Go(func() { e.sendAll(sctx, h) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.tending:
		case <-prune.C:
			if err := e.store.PruneWebhooks(ctx, e.cfg.Now().Add(-e.cfg.Keep)); err != nil {
				e.cfg.Logger.WarnContext(ctx, "old webhook deliveries not removed", "error", err)
			}
		}
	}
}

// load reads the webhooks, and makes those of the configuration as it has them.
func (e *Engine) load(ctx context.Context) error {
	kept, err := e.store.Webhooks(ctx)
	if err != nil {
		return err
	}
	end, err := e.log.Position(ctx)
	if err != nil {
		return err
	}
	now := e.cfg.Now()
	all := map[string]caxton.Webhook{}
	for _, w := range kept {
		if w.N > end { // the log is another one: that of a journal in memory
			w.N, w.At = end, now
		}
		all[w.ID] = w
	}
	declared := map[string]bool{}
	for _, w := range e.cfg.Declared {
		sum := sha256.Sum256([]byte(w.URL))
		w.ID, w.Declared, w.CreatedAt, w.N, w.At = "declared-"+hex.EncodeToString(sum[:6]), true, now, end, now
		if old, ok := all[w.ID]; ok {
			w.CreatedAt, w.Disabled, w.N, w.At = old.CreatedAt, old.Disabled, old.N, old.At
		}
		declared[w.ID], all[w.ID] = true, w
		if err := e.store.PutWebhook(ctx, w); err != nil {
			return err
		}
	}
	for id, w := range all {
		if w.Declared && !declared[id] {
			if err := e.store.DeleteWebhook(ctx, id); err != nil {
				return err
			}
			delete(all, id)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, w := range all {
		e.hooks[id] = &hook{w, make(chan struct{}, 1)}
	}
	return nil
}

// check refuses what is no webhook, and what could never be told: an address that requests
// must not go to. What a name stands for is looked at with each request.
func check(w *caxton.Webhook, policy *egress.Policy) error {
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(w.URL) > 2000 {
		return caxton.Errorf(caxton.Invalid, "webhook_url_invalid", "%.200q is no address for a webhook", w.URL).
			WithHint("write it like https://example.com/hook, without a user")
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	if err := policy.CheckLiteral(u.Hostname(), port); err != nil {
		return err
	}
	for _, s := range w.Secrets {
		if _, err := secret(s); err != nil {
			return err
		}
	}
	if len(w.Secrets) == 0 {
		return caxton.Errorf(caxton.Invalid, "webhook_secret_missing", "the webhook %s has no secret", w.URL).WithHint("give a secret of 24 to 64 bytes, as whsec_ and base64")
	}
	return nil
}

// secret returns the key that a secret stands for: Standard Webhooks writes it as whsec_ and
// base64; any other text is taken as it is.
func secret(s string) ([]byte, error) {
	key := []byte(s)
	if b, ok := strings.CutPrefix(s, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(b); err != nil {
			return nil, caxton.Errorf(caxton.Invalid, "webhook_secret_invalid", "what follows whsec_ in the secret is not base64")
		}
	}
	if len(key) < 16 || len(key) > 256 {
		return nil, caxton.Errorf(caxton.Invalid, "webhook_secret_invalid", "a secret has 16 to 256 bytes").WithHint("leave it out to have one made")
	}
	return key, nil
}

// active returns the webhooks that are told of records.
func (e *Engine) active() []*hook {
	e.mu.Lock()
	defer e.mu.Unlock()
	var hs []*hook
	for _, id := range slices.Sorted(maps.Keys(e.hooks)) {
		if h := e.hooks[id]; h.Disabled == "" {
			hs = append(hs, h)
		}
	}
	return hs
}

// changed has the collector and Run look at the webhooks again.
func (e *Engine) changed() {
	ring(e.collecting)
	ring(e.tending)
}

func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it rings already
	}
}

// change runs do while nobody else changes a webhook.
func (e *Engine) change(ctx context.Context, do func() error) error {
	select {
	case e.changing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-e.changing }()
	return do()
}

func errNoWebhook(id string) error {
	return caxton.Errorf(caxton.NotFound, "webhook_not_found", "there is no webhook %s", id)
}

// List returns all webhooks, oldest first.
func (e *Engine) List(context.Context) []caxton.Webhook {
	e.mu.Lock()
	defer e.mu.Unlock()
	ws := make([]caxton.Webhook, 0, len(e.hooks))
	for _, h := range e.hooks {
		ws = append(ws, h.Webhook)
	}
	slices.SortFunc(ws, func(a, b caxton.Webhook) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return ws
}

// Webhook returns one webhook, or NotFound.
func (e *Engine) Webhook(_ context.Context, id string) (caxton.Webhook, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.hooks[id]
	if h == nil {
		return caxton.Webhook{}, errNoWebhook(id)
	}
	return h.Webhook, nil
}

// Create makes a webhook that is told of records from now on. Without a secret it gets one.
func (e *Engine) Create(ctx context.Context, w caxton.Webhook) (caxton.Webhook, error) {
	if len(w.Secrets) == 0 {
		w.Secrets = []string{newSecret()}
	}
	if err := check(&w, e.cfg.Policy); err != nil {
		return w, err
	}
	w.ID, w.Declared, w.Disabled, w.CreatedAt = "wh_"+strings.ToLower(rand.Text()), false, "", e.cfg.Now()
	return w, e.change(ctx, func() error {
		e.mu.Lock()
		full := len(e.hooks) >= e.cfg.MaxWebhooks
		e.mu.Unlock()
		if full {
			return caxton.Errorf(caxton.Exhausted, "too_many_webhooks", "there are %d webhooks, which is the limit", e.cfg.MaxWebhooks).WithHint("delete one first")
		}
		return e.begin(ctx, w)
	})
}

func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// Rotate gives a webhook another secret, which is made when text is "". Requests are signed
// with it and with the newest one before, until the next Rotate; with drop with the new one
// only. The secrets of a webhook of the configuration are there, which is a Conflict.
func (e *Engine) Rotate(ctx context.Context, id, text string, drop bool) (w caxton.Webhook, err error) {
	text = cmp.Or(text, newSecret())
	if _, err := secret(text); err != nil {
		return w, err
	}
	err = e.change(ctx, func() error {
		if w, err = e.Webhook(ctx, id); err != nil {
			return err
		}
		if w.Declared {
			return caxton.Errorf(caxton.Conflict, "webhook_declared", "the configuration declares the webhook %s", id).
				WithHint("change secret and previous_secret in messaging.webhooks and restart the server")
		}
		old := w.Secrets[:min(1, len(w.Secrets))]
		if w.Secrets = []string{text}; !drop {
			w.Secrets = append(w.Secrets, old...)
		}
		if err := e.store.PutWebhook(ctx, w); err != nil {
			return err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if h := e.hooks[id]; h != nil {
			h.Secrets = w.Secrets
		}
		return nil
	})
	return w, err
}

// Enable has a disabled webhook be told of records again, from now on.
func (e *Engine) Enable(ctx context.Context, id string) (w caxton.Webhook, err error) {
	err = e.change(ctx, func() error {
		if w, err = e.Webhook(ctx, id); err != nil || w.Disabled == "" {
			return err
		}
		w.Disabled = ""
		return e.begin(ctx, w)
	})
	return w, err
}

// begin puts a webhook to work from now on. Its place is moved first: should the process die
// in between, it is not told of what was before. e.changing is held.
func (e *Engine) begin(ctx context.Context, w caxton.Webhook) error {
	n, err := e.log.Position(ctx)
	if err != nil {
		return err
	}
	w.N, w.At = n, e.cfg.Now()
	if err := e.store.QueueWebhooks(ctx, []string{w.ID}, w.N, w.At, nil); err != nil {
		return err
	}
	if err := e.store.PutWebhook(ctx, w); err != nil {
		return err
	}
	e.mu.Lock()
	w.N = max(w.N, e.seen) // of what the collector saw before, it saw nothing for this one
	e.hooks[w.ID] = &hook{w, make(chan struct{}, 1)}
	e.mu.Unlock()
	e.changed()
	return nil
}

// Delete forgets a webhook. One of the configuration comes back with the next start unless it
// goes there too, and is a Conflict.
func (e *Engine) Delete(ctx context.Context, id string) error {
	w, err := e.Webhook(ctx, id)
	if err != nil {
		return err
	}
	if w.Declared {
		return caxton.Errorf(caxton.Conflict, "webhook_declared", "the configuration declares the webhook %s", id).WithHint("remove it from messaging.webhooks and restart the server")
	}
	return e.change(ctx, func() error {
		if err := e.store.DeleteWebhook(ctx, id); err != nil {
			return err
		}
		e.mu.Lock()
		delete(e.hooks, id)
		e.mu.Unlock()
		e.changed()
		return nil
	})
}

// Deliveries returns a page of a webhook's deliveries, newest first.
func (e *Engine) Deliveries(ctx context.Context, id string, state caxton.WebhookState, limit int, cursor string) ([]caxton.WebhookDelivery, string, error) {
	if _, err := e.Webhook(ctx, id); err != nil {
		return nil, "", err
	}
	return e.store.WebhookDeliveries(ctx, id, state, limit, cursor)
}

// Test sends a webhook a delivery of the kind test at once, and returns what came of it. It is
// not tried again, and not kept.
func (e *Engine) Test(ctx context.Context, id string) (caxton.WebhookDelivery, error) {
	w, err := e.Webhook(ctx, id)
	if err != nil {
		return caxton.WebhookDelivery{}, err
	}
	now := e.cfg.Now()
	d := caxton.WebhookDelivery{ID: "test_" + strings.ToLower(rand.Text()), Webhook: id, Kind: "test", CreatedAt: now, State: caxton.WebhookFailed}
	a, _, _ := e.request(ctx, &w, &d, fmt.Appendf(nil, `{"type":"test","timestamp":%q,"data":{}}`, now.UTC().Format(time.RFC3339Nano)))
	if good(a.Status) {
		d.State = caxton.WebhookDelivered
	}
	d.Count, d.Attempts = 1, []caxton.WebhookAttempt{a}
	return d, nil
}
