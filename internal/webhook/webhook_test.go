package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/egress"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/caxton/caxton/internal/webhook"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// A house is a database and an engine on it.
type house struct {
	t      *testing.T
	path   string
	db     *sqlite.DB
	engine *webhook.Engine
	stop   func() // both
	pause  func() // the engine only
}

func open(t *testing.T, path string, cfg webhook.Config) *house {
	t.Helper()
	return openOn(t, path, cfg, func(db *sqlite.DB) webhook.Store { return db })
}

// openOn opens a house whose engine keeps its things in the store.
func openOn(t *testing.T, path string, cfg webhook.Config, store func(*sqlite.DB) webhook.Store) *house {
	t.Helper()
	h := &house{t: t, path: path}
	feed := &event.Feed{}
	var err error
	if h.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: path, Feed: feed}); err != nil {
		t.Fatal(err)
	}
	if cfg.Policy == nil {
		cfg.Policy = &egress.Policy{AllowPrivate: true}
	}
	cfg.Named = func(id caxton.AgentID, ref string) bool { return id == "a1" && ref == "greeter" }
	cfg.RetryInitial, cfg.RetryMax = 5*time.Millisecond, 20*time.Millisecond
	if h.engine, err = webhook.New(store(h.db), h.db, feed, cfg); err != nil {
		t.Fatal(err)
	}
	base := context.WithoutCancel(t.Context())
	dbCtx, stopDB := context.WithCancel(base)
	ctx, cancel := context.WithCancel(base)
	dbDone, done := make(chan error, 1), make(chan error, 1)
	go func() { dbDone <- h.db.Run(dbCtx) }()
	go func() { done <- h.engine.Run(ctx) }()
	h.pause = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	h.stop = sync.OnceFunc(func() {
		h.pause()
		stopDB()
		if err := <-dbDone; err != nil {
			t.Error(err)
		}
		if err := h.db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// message writes the three records of one message: two messages and a settlement.
func (h *house) message(conv, id string) {
	h.t.Helper()
	d := journaltest.Delivery(conv, id, 0)
	d.Message.CreatedAt = time.Now()
	if _, _, err := h.db.Accept(h.t.Context(), d, true); err != nil {
		h.t.Fatal(err)
	}
	if err := h.db.Settle(h.t.Context(), journaltest.Done(journaltest.Lease(d), "hi")); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) create(w caxton.Webhook) caxton.Webhook {
	h.t.Helper()
	w, err := h.engine.Create(h.t.Context(), w)
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

// until waits until ok says so.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); {
		if time.Since(start) > patience {
			t.Fatalf("%s: not within %s", what, patience)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// A receiver notes the requests it gets, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies map[string][]string // by webhook-id
	order  []string            // kinds and conversations, at the first success
	heads  []http.Header
	answer func(id string, attempt int) (status int, header string)
	wait   chan struct{} // answers come when it is closed; nil at once
}

func receive(t *testing.T, answer func(id string, attempt int) (int, string)) *receiver {
	t.Helper()
	r := &receiver{bodies: map[string][]string{}, answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	if r.wait != nil {
		select {
		case <-r.wait:
		case <-req.Context().Done():
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id := req.Header.Get("webhook-id")
	r.bodies[id] = append(r.bodies[id], string(body))
	r.heads = append(r.heads, req.Header)
	status, header := 204, ""
	if r.answer != nil {
		status, header = r.answer(id, len(r.bodies[id]))
	}
	if k, v, ok := strings.Cut(header, ": "); ok {
		w.Header().Set(k, v)
	}
	if status < 300 {
		var p struct{ Data api.EventRecord }
		_ = json.Unmarshal(body, &p)
		r.order = append(r.order, fmt.Sprint(p.Data.ConversationID, "/", p.Data.Seq))
	}
	w.WriteHeader(status)
}

func (r *receiver) count() (ids, requests int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bodies), len(r.heads)
}

// told returns how often each record was accepted by the receiver.
func (r *receiver) told() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := map[string]int{}
	for _, o := range r.order {
		m[o]++
	}
	return m
}

func TestSignedAndTriedAgain(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{})
	h.message("before", "m0")
	r := receive(t, func(_ string, attempt int) (int, string) {
		return map[int]int{1: 500, 2: 302}[attempt] | map[bool]int{true: 200}[attempt > 2], "Location: /elsewhere"
	})
	secrets := []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte("the new key, which is long enough")), "the old key, which is plain text"}
	w := h.create(caxton.Webhook{URL: r.URL, Secrets: secrets, Events: []caxton.RecordKind{caxton.RecordSettled}})
	h.message("c1", "m1")
	var ds []caxton.WebhookDelivery
	until(t, "delivered", func() bool {
		var err error
		if ds, _, err = h.engine.Deliveries(t.Context(), w.ID, caxton.WebhookDelivered, 0, ""); err != nil {
			t.Fatal(err)
		}
		return len(ds) == 1
	})
	if ids, requests := r.count(); ids != 1 || requests != 3 || ds[0].Count != 3 || len(ds[0].Attempts) != 3 || ds[0].Attempts[0].Status != 500 || ds[0].Attempts[1].Status != 302 {
		t.Fatalf("%d IDs, %d requests, %+v; want one ID and three requests", ids, requests, ds[0])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	bodies := r.bodies[ds[0].ID]
	for i, head := range r.heads {
		if bodies[i] != bodies[0] {
			t.Errorf("attempt %d says %s, the first said %s", i, bodies[i], bodies[0])
		}
		signatures := strings.Fields(head.Get("webhook-signature"))
		if len(signatures) != 2 {
			t.Fatalf("signatures %q, want two", signatures)
		}
		for j, key := range []string{"the new key, which is long enough", "the old key, which is plain text"} {
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write([]byte(head.Get("webhook-id") + "." + head.Get("webhook-timestamp") + "." + bodies[i]))
			if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); signatures[j] != want {
				t.Errorf("signature %d is %s, want %s", j, signatures[j], want)
			}
		}
	}
	var p struct {
		Type      string
		Timestamp time.Time
		Data      api.EventRecord
	}
	if err := json.Unmarshal([]byte(bodies[0]), &p); err != nil || p.Type != "settled" || p.Data.ConversationID != "c1" || p.Timestamp.IsZero() {
		t.Errorf("body %s, %v", bodies[0], err)
	}
}

// TestRestarts stops the engine, and kills the process, in the middle of it all, with a
// receiver that fails half of the time. Every record is told, to this webhook and to one that
// was declared.
func TestRestarts(t *testing.T) {
	r := receive(t, func(id string, attempt int) (int, string) {
		if attempt == 1 && id[len(id)-1] < '8' {
			return 503, ""
		}
		return 200, ""
	})
	declared := receive(t, nil)
	cfg := func() webhook.Config {
		return webhook.Config{Declared: []caxton.Webhook{{URL: declared.URL, Secrets: []string{"a secret of the configuration"}, Events: []caxton.RecordKind{caxton.RecordMessage}}}}
	}
	dir := t.TempDir()
	h := open(t, filepath.Join(dir, "0.db"), cfg())
	h.create(caxton.Webhook{URL: r.URL})
	until(t, "declared", func() bool { return len(h.engine.List(t.Context())) == 2 })
	total := 0
	write := func(n int) {
		for range n {
			h.message(fmt.Sprint("c", total%7), fmt.Sprint("m", total))
			total++
		}
	}
	for round := range 6 {
		write(10)
		h.pause() // the engine stops, the journal goes on
		write(10)
		path := filepath.Join(dir, fmt.Sprint(round+1, ".db"))
		for _, suffix := range []string{"", "-wal"} { // what a process that is killed now leaves
			b, err := os.ReadFile(h.path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h.stop()
		h = open(t, path, cfg())
		write(5)
	}
	until(t, "all is told", func() bool { return len(r.told()) >= 3*total && len(declared.told()) >= 2*total })
	all, byConfig := r.told(), declared.told()
	if len(all) != 3*total || len(byConfig) != 2*total {
		t.Errorf("told %d and %d records, want %d and %d", len(all), len(byConfig), 3*total, 2*total)
	}
	repeated := 0
	for _, n := range all {
		repeated += n - 1
	}
	t.Logf("%d records told, %d of them again after a kill", len(all), repeated)
}

func TestSlowReceiver(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{})
	slow, fast := receive(t, nil), receive(t, nil)
	slow.wait = make(chan struct{})
	w := h.create(caxton.Webhook{URL: slow.URL})
	h.create(caxton.Webhook{URL: fast.URL, Conversations: []caxton.ConversationID{"c1"}, Agents: []string{"greeter"}})
	for i := range 30 {
		h.message(fmt.Sprint("c", i%2), fmt.Sprint("m", i))
	}
	until(t, "the fast one has all", func() bool { return len(fast.told()) == 15*3 })
	if ds, _, err := h.engine.Deliveries(t.Context(), w.ID, caxton.WebhookPending, 200, ""); err != nil || len(ds) != 90 {
		t.Errorf("%d wait for the slow one, %v, want 90", len(ds), err)
	}
	close(slow.wait)
	until(t, "the slow one has all", func() bool { return len(slow.told()) == 90 })
}

func TestGone(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{Concurrency: 1})
	gone := true
	var mu sync.Mutex
	r := receive(t, func(string, int) (int, string) {
		mu.Lock()
		defer mu.Unlock()
		if gone {
			return 410, ""
		}
		return 200, ""
	})
	w := h.create(caxton.Webhook{URL: r.URL})
	h.message("c1", "m1")
	until(t, "disabled", func() bool {
		got, err := h.engine.Webhook(t.Context(), w.ID)
		return err == nil && got.Disabled != ""
	})
	until(t, "given up", func() bool {
		ds, _, err := h.engine.Deliveries(t.Context(), w.ID, caxton.WebhookFailed, 0, "")
		return err == nil && len(ds) == 3
	})
	h.message("c1", "m2")
	mu.Lock()
	gone = false
	mu.Unlock()
	if _, err := h.engine.Enable(t.Context(), w.ID); err != nil {
		t.Fatal(err)
	}
	h.message("c1", "m3")
	until(t, "told again", func() bool { return len(r.told()) == 3 })
	for record := range r.told() {
		if record < "c1/7" {
			t.Errorf("told of %s, which came while it was disabled", record)
		}
	}
}

// A hesitant store takes its time to keep that a webhook is disabled.
type hesitant struct {
	*sqlite.DB
	begun, hold chan struct{}
}

func (s hesitant) DisableWebhook(ctx context.Context, w caxton.Webhook) error {
	close(s.begun)
	<-s.hold
	return s.DB.DisableWebhook(ctx, w)
}

// TestEnabledWhileGone has somebody enable a webhook while it is being disabled: what is kept
// is what is in force.
func TestEnabledWhileGone(t *testing.T) {
	s := hesitant{begun: make(chan struct{}), hold: make(chan struct{})}
	h := openOn(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{Concurrency: 1}, func(db *sqlite.DB) webhook.Store {
		s.DB = db
		return s
	})
	r := receive(t, func(string, int) (int, string) { return 410, "" })
	w := h.create(caxton.Webhook{URL: r.URL, Events: []caxton.RecordKind{caxton.RecordSettled}})
	h.message("c1", "m1")
	<-s.begun
	enabled := make(chan error, 1)
	go func() {
		_, err := h.engine.Enable(t.Context(), w.ID)
		enabled <- err
	}()
	select {
	case err := <-enabled:
		enabled <- err
	case <-time.After(50 * time.Millisecond):
	}
	close(s.hold)
	if err := <-enabled; err != nil {
		t.Fatal(err)
	}
	got, err := h.engine.Webhook(t.Context(), w.ID)
	kept, kerr := h.db.Webhooks(t.Context())
	if err != nil || kerr != nil || got.Disabled != "" || len(kept) != 1 || kept[0].Disabled != "" {
		t.Errorf("in force %+v, %v, kept %+v, %v, want both enabled", got, err, kept, kerr)
	}
}

// TestGivenUpStaysSo keeps, and queues, deliveries of a webhook that is disabled: none waits.
func TestGivenUpStaysSo(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{})
	h.pause()
	ctx, now := t.Context(), time.Now()
	w := caxton.Webhook{ID: "w", URL: "https://example.com/", CreatedAt: now}
	d := func(id string, n int64) caxton.WebhookDelivery {
		return caxton.WebhookDelivery{ID: id, Webhook: "w", N: n, State: caxton.WebhookPending, CreatedAt: now, Due: now}
	}
	first, told, late := d("first", 1), d("told", 2), d("late", 3)
	for _, err := range []error{
		h.db.PutWebhook(ctx, w), h.db.QueueWebhooks(ctx, []string{"w"}, 2, now, []caxton.WebhookDelivery{first, told}),
		func() error { w.Disabled = "gone"; return h.db.DisableWebhook(ctx, w) }(),
		h.db.SaveWebhookDelivery(ctx, first), // it was under way, and failed
		func() error { told.State = caxton.WebhookDelivered; return h.db.SaveWebhookDelivery(ctx, told) }(),
		h.db.QueueWebhooks(ctx, []string{"w"}, 3, now, []caxton.WebhookDelivery{late}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if ds, _, err := h.db.DueWebhooks(ctx, "w", now.Add(time.Hour), 9); err != nil || len(ds) != 0 {
		t.Errorf("due %+v, %v, want none", ds, err)
	}
	all, _, err := h.db.WebhookDeliveries(ctx, "w", "", 0, "")
	states := map[string]caxton.WebhookState{}
	for i := range all {
		states[all[i].ID] = all[i].State
	}
	if err != nil || len(states) != 2 || states["first"] != caxton.WebhookFailed || states["told"] != caxton.WebhookDelivered {
		t.Errorf("deliveries %v, %v, want the first failed and the second delivered", states, err)
	}
}

// TestRotate changes the secret of a webhook: the receiver can check with either until the
// next change.
func TestRotate(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{})
	r := receive(t, nil)
	w := h.create(caxton.Webhook{URL: r.URL, Secrets: []string{"the first secret, in plain text"}})
	signed := func() map[string]bool {
		t.Helper()
		d, err := h.engine.Test(t.Context(), w.ID)
		if err != nil || d.State != caxton.WebhookDelivered {
			t.Fatalf("Test = %+v, %v", d, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		head, body := r.heads[len(r.heads)-1], r.bodies[d.ID][0]
		with := map[string]bool{}
		for _, key := range []string{"the first secret, in plain text", "the second secret, in base64", "the third secret, in plain text"} {
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write([]byte(head.Get("webhook-id") + "." + head.Get("webhook-timestamp") + "." + body))
			if strings.Contains(head.Get("webhook-signature"), base64.StdEncoding.EncodeToString(mac.Sum(nil))) {
				with[strings.Fields(key)[1]] = true
			}
		}
		return with
	}
	for _, tt := range []struct {
		secret string
		drop   bool
		want   string
	}{
		{"whsec_" + base64.StdEncoding.EncodeToString([]byte("the second secret, in base64")), false, "map[first:true second:true]"},
		{"the third secret, in plain text", false, "map[second:true third:true]"},
		{"the third secret, in plain text", true, "map[third:true]"},
		{"", true, "map[]"},
	} {
		got, err := h.engine.Rotate(t.Context(), w.ID, tt.secret, tt.drop)
		if err != nil || tt.secret != "" && got.Secrets[0] != tt.secret {
			t.Fatalf("Rotate = %+v, %v", got, err)
		}
		if got := fmt.Sprint(signed()); got != tt.want {
			t.Errorf("after %+v signed with %s, want %s", tt, got, tt.want)
		}
		if kept, err := h.db.Webhooks(t.Context()); err != nil || kept[0].Secrets[0] != got.Secrets[0] || len(kept[0].Secrets) != len(got.Secrets) {
			t.Errorf("kept %+v, %v, want %v", kept, err, got.Secrets)
		}
	}
	if _, err := h.engine.Rotate(t.Context(), w.ID, "short", false); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("Rotate to a short secret: %v", err)
	}
	if _, err := h.engine.Rotate(t.Context(), "nothing", "", false); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("Rotate of nothing: %v", err)
	}
}

// TestDeliveriesInOrder lists deliveries that were queued at once, in pages.
func TestDeliveriesInOrder(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{})
	h.pause()
	ctx, now := t.Context(), time.Now()
	var ds []caxton.WebhookDelivery
	for i := range int64(10) {
		ds = append(ds, caxton.WebhookDelivery{
			ID: fmt.Sprint("d", (i*7)%10), Webhook: "w", N: 100 + i, Seq: i, State: caxton.WebhookPending, CreatedAt: now, Due: now,
		})
	}
	older := caxton.WebhookDelivery{ID: "z", Webhook: "w", N: 500, Seq: -1, State: caxton.WebhookPending, CreatedAt: now.Add(-time.Hour), Due: now}
	for _, err := range []error{
		h.db.PutWebhook(ctx, caxton.Webhook{ID: "w"}), h.db.QueueWebhooks(ctx, []string{"w"}, 110, now, append(ds, older)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []int64
	for cursor := ""; ; {
		page, next, err := h.db.WebhookDeliveries(ctx, "w", "", 4, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page {
			got = append(got, page[i].Seq)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if want := "[9 8 7 6 5 4 3 2 1 0 -1]"; fmt.Sprint(got) != want {
		t.Errorf("deliveries %v, want %s", got, want)
	}
	if _, _, err := h.db.WebhookDeliveries(ctx, "w", "", 4, "MTIu"); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("a cursor that is none: %v", err)
	}
}

// TestDeclaredGone restarts the server of a declared webhook whose receiver said that it is
// gone: it stays disabled, and is not told of what came meanwhile.
func TestDeclaredGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	var back atomic.Bool
	r := receive(t, func(string, int) (int, string) {
		if back.Load() {
			return 200, ""
		}
		return 410, ""
	})
	cfg := webhook.Config{Concurrency: 1, Declared: []caxton.Webhook{{URL: r.URL, Secrets: []string{"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}}}}
	h := open(t, path, cfg)
	until(t, "there", func() bool { return len(h.engine.List(t.Context())) == 1 })
	h.message("c1", "m1")
	until(t, "disabled", func() bool { return h.engine.List(t.Context())[0].Disabled != "" })
	h.message("c1", "m2")
	h.stop()
	back.Store(true)
	h = open(t, path, cfg)
	until(t, "there again", func() bool { return len(h.engine.List(t.Context())) == 1 })
	if w := h.engine.List(t.Context())[0]; w.Disabled == "" {
		t.Errorf("after a restart %+v, want it disabled", w)
	}
}

// A forgetful store cannot keep what came of a delivery.
type forgetful struct{ *sqlite.DB }

func (forgetful) SaveWebhookDelivery(context.Context, caxton.WebhookDelivery) error {
	return caxton.Errorf(caxton.Unavailable, "storage_full", "the disk is full")
}

// TestNotKept has the store fail: the receiver is not told the same thing without a pause.
func TestNotKept(t *testing.T) {
	feed := &event.Feed{}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "caxton.db"), Feed: feed})
	if err != nil {
		t.Fatal(err)
	}
	e, err := webhook.New(forgetful{db}, db, feed, webhook.Config{Policy: &egress.Policy{AllowPrivate: true}, Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	dbDone, done := make(chan error, 1), make(chan error, 1)
	dbCtx, stopDB := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { dbDone <- db.Run(dbCtx) }()
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		stopDB()
		_, _ = <-done, <-dbDone
		_ = db.Close()
	})
	r := receive(t, func(string, int) (int, string) { return 200, "" })
	h := &house{t: t, db: db, engine: e}
	h.create(caxton.Webhook{URL: r.URL})
	h.message("c1", "m1")
	until(t, "told", func() bool { _, n := r.count(); return n > 0 })
	<-time.After(300 * time.Millisecond)
	if _, n := r.count(); n > 3 {
		t.Errorf("%d requests in a moment, want a pause after each that was not kept", n)
	}
}

func TestRetryAfter(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{Life: 50 * time.Hour})
	r := receive(t, func(string, int) (int, string) { return 429, "Retry-After: 7200" })
	w := h.create(caxton.Webhook{URL: r.URL, Events: []caxton.RecordKind{caxton.RecordSettled}})
	h.message("c1", "m1")
	until(t, "one attempt", func() bool {
		ds, _, err := h.engine.Deliveries(t.Context(), w.ID, caxton.WebhookPending, 0, "")
		return err == nil && len(ds) == 1 && ds[0].Count == 1 && time.Until(ds[0].Due) > 7000*time.Second
	})
}

func TestGivenUp(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{Life: 60 * time.Millisecond})
	r := receive(t, func(string, int) (int, string) { return 500, "" })
	w := h.create(caxton.Webhook{URL: r.URL, Events: []caxton.RecordKind{caxton.RecordSettled}})
	h.message("c1", "m1")
	until(t, "given up", func() bool {
		ds, _, err := h.engine.Deliveries(t.Context(), w.ID, caxton.WebhookFailed, 0, "")
		return err == nil && len(ds) == 1 && ds[0].Count > 1 && ds[0].Attempts[0].Error != ""
	})
}

// A loopback resolver says of every name that it is this machine's.
type loopback struct{}

func (loopback) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func TestRefusals(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "caxton.db"), webhook.Config{Policy: &egress.Policy{}, MaxWebhooks: 2, Resolver: loopback{}})
	r := receive(t, nil)
	if _, err := h.engine.Create(t.Context(), caxton.Webhook{URL: r.URL}); caxton.KindOf(err) != caxton.Forbidden {
		t.Errorf("Create(%s): %v, want Forbidden", r.URL, err)
	}
	declared := webhook.Config{Declared: []caxton.Webhook{{URL: r.URL, Secrets: []string{"a secret that is long enough"}}}}
	if _, err := webhook.New(h.db, h.db, &event.Feed{}, declared); caxton.KindOf(err) != caxton.Forbidden {
		t.Errorf("New with %s declared: %v, want Forbidden", r.URL, err)
	}
	for _, w := range []caxton.Webhook{
		{URL: "ftp://example.com/"},
		{URL: "example.com"},
		{URL: "https://user:word@example.com/"},
		{URL: "https://example.com/", Secrets: []string{"short"}},
		{URL: "https://example.com/", Secrets: []string{"whsec_%%%"}},
	} {
		if _, err := h.engine.Create(t.Context(), w); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("Create(%s, %v): %v, want Invalid", w.URL, w.Secrets, err)
		}
	}
	w := h.create(caxton.Webhook{URL: "http://here.example" + r.URL[strings.LastIndex(r.URL, ":"):]})
	if !strings.HasPrefix(w.Secrets[0], "whsec_") {
		t.Errorf("made the secret %q", w.Secrets[0])
	}
	d, err := h.engine.Test(t.Context(), w.ID)
	if err != nil || d.State != caxton.WebhookFailed || !strings.Contains(d.Attempts[0].Error, "loopback") {
		t.Errorf("Test of a loopback address = %+v, %v, want a refusal", d, err)
	}
	if ids, _ := r.count(); ids != 0 {
		t.Error("a loopback address was reached")
	}
	h.create(caxton.Webhook{URL: "https://example.com/"})
	if _, err := h.engine.Create(t.Context(), caxton.Webhook{URL: "https://example.com/"}); caxton.KindOf(err) != caxton.Exhausted {
		t.Errorf("one too many: %v, want Exhausted", err)
	}
	if err := h.engine.Delete(t.Context(), w.ID); err != nil {
		t.Error(err)
	}
	if err := h.engine.Delete(t.Context(), w.ID); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("deleted twice: %v, want NotFound", err)
	}
}
