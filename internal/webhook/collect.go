package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/caxton/caxton"
)

const (
	page      = 500              // records read at once
	saveEvery = 10 * time.Second // places of webhooks that nothing was queued for are kept this often
	again     = time.Second      // after a failure of the store
)

// collect queues deliveries for the records that webhooks want, until ctx ends. It listens
// only while there is a webhook: to gather records for listeners costs the journal time.
func (e *Engine) collect(ctx context.Context) {
	for {
		if len(e.active()) > 0 {
			e.follow(ctx)
		} else {
			e.mu.Lock()
			e.rollouts = nil // nobody wants to know
			e.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-e.collecting:
		}
	}
}

// follow queues deliveries until ctx ends or there is no webhook any more.
func (e *Engine) follow(ctx context.Context) {
	sub := e.feed.Subscribe("") // before the journal is read: nothing falls between
	defer sub.Close()
	n, at := e.oldest()
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	retry := time.NewTimer(again)
	retry.Stop()
	defer retry.Stop()
	for lost := true; len(e.active()) > 0; {
		if err := e.queueRollouts(ctx); err != nil && ctx.Err() == nil {
			e.cfg.Logger.ErrorContext(ctx, "webhook deliveries of rollouts not queued", "error", err)
			retry.Reset(again)
		}
		for lost && ctx.Err() == nil {
			rs, err := e.log.RecordsSince(ctx, n, page)
			if err == nil {
				err = e.queue(ctx, rs, false)
			}
			if err != nil {
				e.cfg.Logger.ErrorContext(ctx, "webhook deliveries not queued", "error", err)
				retry.Reset(again)
				break
			}
			if len(rs) > 0 {
				n, at = rs[len(rs)-1].N, rs[len(rs)-1].At
			}
			lost = len(rs) == page
		}
		select {
		case <-ctx.Done():
			return
		case <-e.collecting:
		case <-retry.C:
		case <-save.C:
			if err := e.queue(ctx, []caxton.Record{{N: n, At: at}}, true); err != nil {
				e.cfg.Logger.WarnContext(ctx, "places of webhooks not kept", "error", err)
			}
		case <-sub.Ready():
			events, missed := sub.Take()
			if lost = lost || missed; lost {
				continue
			}
			rs := make([]caxton.Record, 0, len(events))
			for _, ev := range events {
				if ev.Record != nil && ev.Record.N > n {
					rs = append(rs, *ev.Record)
				}
			}
			if len(rs) == 0 {
				continue
			}
			if err := e.queue(ctx, rs, false); err != nil {
				e.cfg.Logger.ErrorContext(ctx, "webhook deliveries not queued", "error", err)
				lost = true
				retry.Reset(again)
				continue
			}
			n, at = rs[len(rs)-1].N, rs[len(rs)-1].At
		}
	}
}

// oldest returns the place of the webhook that is furthest behind.
func (e *Engine) oldest() (n int64, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := true
	for _, h := range e.hooks {
		if h.Disabled == "" && (first || h.N < n) {
			n, at, first = h.N, h.At, false
		}
	}
	return n, at
}

// queue keeps deliveries of records for the webhooks that want them, together with the places
// of all. When nobody wants any, the places are kept only with save: they are looked at again
// after a crash, and nobody will want them then either.
func (e *Engine) queue(ctx context.Context, rs []caxton.Record, save bool) error {
	if len(rs) == 0 {
		return nil
	}
	last := &rs[len(rs)-1]
	now := e.cfg.Now()
	var ds []caxton.WebhookDelivery
	var ids []string
	e.mu.Lock()
	e.seen = max(e.seen, last.N)
	var hs []caxton.Webhook
	for _, h := range e.hooks {
		if h.Disabled == "" && h.N < last.N {
			hs = append(hs, h.Webhook)
		}
	}
	e.mu.Unlock()
	for i := range hs {
		h := &hs[i]
		ids = append(ids, h.ID)
		for i := range rs {
			if r := &rs[i]; r.N > h.N && r.Kind != "" && h.Wants(r, e.cfg.Named) {
				ds = append(ds, caxton.WebhookDelivery{
					ID: deliveryID(h.ID, r), Webhook: h.ID, Kind: string(r.Kind), ConversationID: r.ConversationID, Seq: r.Seq, N: r.N,
					State: caxton.WebhookPending, CreatedAt: now, Due: now,
				})
			}
		}
	}
	if len(ids) == 0 || len(ds) == 0 && !save {
		return nil
	}
	if err := e.store.QueueWebhooks(ctx, ids, last.N, last.At, ds); err != nil {
		return err
	}
	woken := map[string]bool{}
	for i := range ds {
		woken[ds[i].Webhook] = true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		h := e.hooks[id]
		if h == nil {
			continue
		}
		h.N, h.At = max(h.N, last.N), last.At
		if woken[id] {
			ring(h.wake)
		}
	}
	return nil
}

// deliveryID returns the ID under which a webhook is told of a record, in every attempt.
func deliveryID(id string, r *caxton.Record) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d", id, r.ConversationID, r.Seq, r.N))
	return "msg_" + hex.EncodeToString(sum[:16])
}
