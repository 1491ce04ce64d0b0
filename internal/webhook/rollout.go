package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// maxRollouts bounds the steps of rollouts that wait to be queued: far more than come in the
// time that the store takes.
const maxRollouts = 10_000

// Rollout takes a step of a rollout that webhooks are to be told of. It may be one that they
// were told of already, as after a restart: it has the same ID then, and is told once. It does
// not wait.
func (e *Engine) Rollout(step caxton.RolloutEvent) {
	if e.cfg.Now().Sub(step.At) > e.cfg.Life {
		return // it was told, or would have been given up
	}
	e.mu.Lock()
	full := len(e.rollouts) >= maxRollouts
	if !full {
		e.rollouts = append(e.rollouts, step)
	}
	e.mu.Unlock()
	if full {
		e.cfg.Logger.Warn("webhooks not told of a rollout", "agent", step.Agent, "step", step.Step)
		return
	}
	ring(e.collecting)
}

// queueRollouts keeps deliveries of the steps that wait. What the store does not take waits on.
func (e *Engine) queueRollouts(ctx context.Context) error {
	e.mu.Lock()
	steps := e.rollouts
	e.rollouts = nil
	var hs []*hook
	for _, h := range e.hooks {
		if h.Disabled == "" {
			hs = append(hs, h)
		}
	}
	n, now := e.seen, e.cfg.Now()
	var ds []caxton.WebhookDelivery
	var err error
	for i := range steps {
		s := &steps[i]
		var body []byte
		for _, h := range hs {
			if s.At.Before(h.CreatedAt) || !h.WantsRollout(s, e.cfg.Named) {
				continue
			}
			if body == nil {
				if body, err = rolloutBody(s); err != nil {
					break
				}
			}
			ds = append(ds, caxton.WebhookDelivery{
				ID: rolloutID(h.ID, s), Webhook: h.ID, Kind: caxton.EventRollout, N: max(n, h.N), Body: body,
				State: caxton.WebhookPending, CreatedAt: now, Due: now,
			})
		}
	}
	e.mu.Unlock()
	if len(ds) == 0 || err != nil {
		return err
	}
	if err := e.store.QueueWebhooks(ctx, nil, 0, time.Time{}, ds); err != nil {
		e.mu.Lock()
		e.rollouts = append(steps, e.rollouts...)
		e.mu.Unlock()
		return err
	}
	for _, h := range hs {
		ring(h.wake)
	}
	return nil
}

func rolloutBody(s *caxton.RolloutEvent) ([]byte, error) {
	return json.Marshal(struct {
		Type      string           `json:"type"`
		Timestamp time.Time        `json:"timestamp"`
		Data      api.RolloutEvent `json:"data"`
	}{caxton.EventRollout, s.At.UTC(), api.RolloutEventFrom(s)})
}

// rolloutID returns the ID under which a webhook is told of a step, in every attempt.
func rolloutID(id string, s *caxton.RolloutEvent) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s rollout %s %d %s %d", id, s.AgentID, s.Rollout.To, s.Rollout.State, s.Rollout.Stage))
	return "msg_" + hex.EncodeToString(sum[:16])
}
