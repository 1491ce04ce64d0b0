package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/telemetry"
)

const (
	keptAttempts = 20       // of a delivery, for people to look at
	maxAnswer    = 64 << 10 // bytes of an answer that are read, so that its connection can be used again
	look         = time.Minute
	failing      = 5 * time.Second // after an attempt that the store did not keep
)

// sendAll tries what is due for one webhook, until ctx ends.
func (e *Engine) sendAll(ctx context.Context, h *hook) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := e.cfg.Now()
		ds, next, err := e.store.DueWebhooks(ctx, h.ID, now, e.cfg.Concurrency)
		pause := look
		switch {
		case err != nil:
			if ctx.Err() == nil {
				e.cfg.Logger.ErrorContext(ctx, "webhook deliveries not read", "webhook", h.ID, "error", err)
			}
			pause = again
		case len(ds) > 0:
			var wg sync.WaitGroup
			var lost atomic.Bool
			for i := range ds {
				wg.Go(func() {
					if !e.attempt(ctx, h, &ds[i]) {
						lost.Store(true)
					}
				})
			}
			wg.Wait()
			if lost.Load() { // what was told is told again: not at once
				wait(ctx, failing)
			}
			continue
		case !next.IsZero():
			pause = min(look, max(time.Millisecond, next.Sub(now)))
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
		case <-h.wake:
		case <-timer.C:
		}
	}
}

// attempt makes one request and keeps what came of it. A request that was broken off because
// the server stops does not count. kept is false when the store failed.
func (e *Engine) attempt(ctx context.Context, h *hook, d *caxton.WebhookDelivery) (kept bool) {
	id := h.ID
	w, ok := e.at(h)
	if !ok {
		return true // deleted or disabled meanwhile
	}
	body, parent, err := e.body(ctx, d)
	var a caxton.WebhookAttempt
	var after time.Duration
	gone := caxton.KindOf(err) == caxton.NotFound
	switch {
	case gone:
		a = caxton.WebhookAttempt{At: e.cfg.Now(), Error: "the record is not kept any more"}
	case err != nil:
		a = caxton.WebhookAttempt{At: e.cfg.Now(), Error: "the record cannot be read"}
		e.cfg.Logger.ErrorContext(ctx, "webhook delivery not made", "webhook", id, "delivery", d.ID, "error", err)
	default:
		a, after, err = e.traced(ctx, &w, d, body, parent)
	}
	if ctx.Err() != nil && !good(a.Status) {
		return true
	}
	d.Count++
	d.Attempts = append(d.Attempts, a)
	d.Attempts = d.Attempts[max(0, len(d.Attempts)-keptAttempts):]
	end := d.CreatedAt.Add(e.cfg.Life) // there is a last attempt then
	over := !a.At.Before(end)
	if d.Due = a.At.Add(max(after, e.pause(d.Count))); d.Due.After(end) {
		d.Due = end
	}
	result := "retried"
	switch {
	case good(a.Status):
		d.State, d.Due, result = caxton.WebhookDelivered, time.Time{}, "delivered"
	case gone || a.Status == http.StatusGone || over:
		d.State, d.Due, result = caxton.WebhookFailed, time.Time{}, "failed"
		e.cfg.Logger.WarnContext(ctx, "webhook delivery failed", "webhook", id, "delivery", d.ID, "attempts", d.Count, "status", a.Status, "error", err)
	}
	e.count.WithLabelValues(result).Inc()
	kept = true
	keep := context.WithoutCancel(ctx) // what came of the request is known: it is not to be lost
	if err := e.store.SaveWebhookDelivery(keep, *d); err != nil {
		e.cfg.Logger.ErrorContext(ctx, "webhook delivery not kept", "webhook", id, "delivery", d.ID, "error", err)
		kept = false
	}
	if a.Status == http.StatusGone {
		e.disable(keep, h)
	}
	return kept
}

// wait waits for a while, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func good(status int) bool { return status >= 200 && status < 300 }

// pause returns how long to wait after so many failures.
func (e *Engine) pause(count int) time.Duration {
	p := e.cfg.RetryMax
	if count < 30 {
		p = min(p, e.cfg.RetryInitial<<(count-1))
	}
	return p/2 + rand.N(p/2+1) //nolint:gosec // spreads requests, guards nothing
}

// at returns a webhook as it is now, while h is still what works for it.
func (e *Engine) at(h *hook) (caxton.Webhook, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return h.Webhook, e.hooks[h.ID] == h
}

// disable ends a webhook whose receiver said that it is gone. An answer to a request that was
// under way when somebody enabled it again says nothing about it any more.
func (e *Engine) disable(ctx context.Context, h *hook) {
	err := e.change(ctx, func() error {
		e.mu.Lock()
		if e.hooks[h.ID] != h {
			e.mu.Unlock()
			return nil
		}
		w := h.Webhook
		w.Disabled = "the receiver answered 410 Gone"
		e.hooks[h.ID] = &hook{w, make(chan struct{}, 1)}
		e.mu.Unlock()
		e.cfg.Logger.WarnContext(ctx, "webhook disabled", "webhook", h.ID, "url", w.URL)
		e.changed()
		return e.store.DisableWebhook(ctx, w)
	})
	if err != nil {
		e.cfg.Logger.ErrorContext(ctx, "disabled webhook not kept", "webhook", h.ID, "error", err)
	}
}

// body returns what a delivery says. It is the same in every attempt. parent is the trace that
// the record is part of, or "".
func (e *Engine) body(ctx context.Context, d *caxton.WebhookDelivery) (body []byte, parent string, err error) {
	if len(d.Body) > 0 {
		return d.Body, "", nil
	}
	rs, err := e.log.Records(ctx, d.ConversationID, d.Seq-1, 1)
	if err != nil {
		return nil, "", err
	}
	if len(rs) == 0 || rs[0].Seq != d.Seq {
		return nil, "", caxton.Errorf(caxton.NotFound, "record_not_found", "there is no record %d in %s", d.Seq, d.ConversationID)
	}
	if e.cfg.Tracer.On() && e.cfg.TraceOf != nil && rs[0].MessageID != "" {
		parent = e.cfg.TraceOf(ctx, rs[0].MessageID)
	}
	body, err = json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      api.EventRecord `json:"data"`
	}{d.Kind, rs[0].At.UTC(), api.EventRecordFrom(&rs[0])})
	return body, parent, err
}

// traced is request within a span.
func (e *Engine) traced(ctx context.Context, w *caxton.Webhook, d *caxton.WebhookDelivery, body []byte, parent string) (a caxton.WebhookAttempt, after time.Duration, err error) {
	ctx, span := e.cfg.Tracer.Start(ctx, telemetry.Calling, http.MethodPost, "", parent)
	a, after, err = e.request(ctx, w, d, body)
	span.Str("http.request.method", http.MethodPost)
	span.Str("caxton.webhook.id", w.ID)
	span.Str("caxton.webhook.event", d.Kind)
	span.Int("http.request.resend_count", int64(d.Count))
	if a.Status != 0 {
		span.Int("http.response.status_code", int64(a.Status))
		if !good(a.Status) {
			span.FailCode(strconv.Itoa(a.Status))
		}
		span.End(nil)
	} else {
		span.End(err)
	}
	return a, after, err
}

// request makes one request. after is how long the receiver asks to be left alone.
func (e *Engine) request(ctx context.Context, w *caxton.Webhook, d *caxton.WebhookDelivery, body []byte) (a caxton.WebhookAttempt, after time.Duration, err error) {
	start := e.cfg.Now()
	a.At = start
	defer func() {
		a.Millis = e.cfg.Now().Sub(start).Milliseconds()
		if err != nil {
			a.Error = reason(err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return a, 0, err
	}
	stamp := strconv.FormatInt(start.Unix(), 10)
	signature, err := sign(w.Secrets, d.ID, stamp, body)
	if err != nil {
		return a, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", e.cfg.UserAgent)
	req.Header.Set("webhook-id", d.ID)
	req.Header.Set("webhook-timestamp", stamp)
	req.Header.Set("webhook-signature", signature)
	telemetry.Inject(ctx, req.Header)
	res, err := e.client.Do(req)
	if err != nil {
		return a, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	a.Status = res.StatusCode
	if good(a.Status) {
		return a, 0, nil
	}
	return a, retryAfter(res.Header.Get("Retry-After"), start), fmt.Errorf("the receiver answered %s", res.Status)
}

// reason says what went wrong, without the address: that is known.
func reason(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the receiver did not answer in time"
	}
	text := err.Error()
	if i := strings.LastIndex(text, `": `); i >= 0 {
		text = text[i+3:] // what net/http puts before
	}
	return text
}

// sign returns the signatures of a delivery, one for each secret, as Standard Webhooks has
// them in the header webhook-signature.
func sign(secrets []string, id, stamp string, body []byte) (string, error) {
	var all []string
	for _, s := range secrets {
		key, err := secret(s)
		if err != nil {
			return "", err
		}
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.", id, stamp)
		mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " "), nil
}

// retryAfter reads a header Retry-After: seconds, or a time.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, 24*time.Hour)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(0, at.Sub(now)), 24*time.Hour)
	}
	return 0
}
