package node

import (
	"context"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/egress"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/webhook"
)

// webhooks makes the engine that tells addresses elsewhere of records.
func (n *node) webhooks(feed *event.Feed) (*webhook.Engine, error) {
	m := &n.c.Messaging
	allowed, err := egress.ParseRules("messaging.webhook_allowed_hosts", m.WebhookAllowedHosts)
	if err != nil {
		return nil, err
	}
	cfg := webhook.Config{
		Policy:    &egress.Policy{Allowed: allowed, Setting: "messaging.webhook_allowed_hosts"},
		UserAgent: "caxton/" + n.o.Version, Logger: n.log.Logger, Registerer: n.reg, Tracer: n.tracer,
		TraceOf: func(ctx context.Context, id caxton.MessageID) string {
			st, err := n.journal.Message(ctx, id)
			if err != nil {
				return "" // then the request begins a trace of its own
			}
			return st.Message.TraceParent
		},
		Named: func(id caxton.AgentID, ref string) bool {
			a, err := n.registry.Resolve(ref)
			return err == nil && a.ID == id
		},
	}
	for i := range m.Webhooks {
		w, err := m.Webhooks[i].Webhook(n.o.Dir)
		if err != nil {
			return nil, err
		}
		cfg.Declared = append(cfg.Declared, w)
	}
	return webhook.New(n.db, n.journal, feed, cfg)
}
