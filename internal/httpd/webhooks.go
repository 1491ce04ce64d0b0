package httpd

import (
	"context"
	"net/http"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

// Webhooks tells addresses elsewhere of records. *webhook.Engine provides it.
type Webhooks interface {
	List(ctx context.Context) []caxton.Webhook
	Create(ctx context.Context, w caxton.Webhook) (caxton.Webhook, error)
	Webhook(ctx context.Context, id string) (caxton.Webhook, error)
	Enable(ctx context.Context, id string) (caxton.Webhook, error)
	Rotate(ctx context.Context, id, secret string, drop bool) (caxton.Webhook, error)
	Delete(ctx context.Context, id string) error
	Test(ctx context.Context, id string) (caxton.WebhookDelivery, error)
	Deliveries(ctx context.Context, id string, state caxton.WebhookState, limit int, cursor string) ([]caxton.WebhookDelivery, string, error)
}

func (s *Server) webhookRoutes(a huma.API) {
	create := operation(http.MethodPost, "/webhooks", "create-webhook", "webhooks", "Have an address be told of records")
	create.Description = "Each record is sent in a POST, signed as Standard Webhooks has it: webhook-id, webhook-timestamp, webhook-signature. " +
		"The body has type, timestamp and data, the record. It may come more than once, and not in order; the webhook-id tells. " +
		"What is not answered with a status from 200 to 299 is tried again for a day; 410 disables the webhook. Redirects are not followed."
	create.DefaultStatus = http.StatusCreated
	route(s, a, create, s.createWebhook)
	route(s, a, operation(http.MethodGet, "/webhooks", "list-webhooks", "webhooks", "List webhooks"), s.listWebhooks)
	route(s, a, operation(http.MethodGet, "/webhooks/{webhook}", "get-webhook", "webhooks", "One webhook"), s.getWebhook)
	remove := operation(http.MethodDelete, "/webhooks/{webhook}", "delete-webhook", "webhooks", "Forget a webhook and its deliveries")
	remove.DefaultStatus = http.StatusNoContent
	route(s, a, remove, s.deleteWebhook)
	route(s, a, operation(http.MethodPost, "/webhooks/{webhook}/enable", "enable-webhook", "webhooks", "Tell a disabled webhook of records again, from now on"), s.enableWebhook)
	rotate := operation(http.MethodPost, "/webhooks/{webhook}/rotate", "rotate-webhook", "webhooks", "Give a webhook another secret")
	rotate.Description = "Requests are signed with the new secret and with the one before, until it is rotated again. The answer has the new one, and no other answer has it."
	rotate.DefaultStatus = http.StatusOK
	route(s, a, rotate, s.rotateWebhook)
	route(s, a, operation(http.MethodPost, "/webhooks/{webhook}/test", "test-webhook", "webhooks", "Send a webhook one request of the type test"), s.testWebhook)
	route(s, a, operation(http.MethodGet, "/webhooks/{webhook}/deliveries", "list-webhook-deliveries", "webhooks", "What a webhook was told, with the attempts, newest first"), s.listDeliveries)
}

// WebhookPath names a webhook in a path.
type WebhookPath struct {
	Webhook string `path:"webhook" minLength:"1" maxLength:"100"`
}

func (s *Server) createWebhook(ctx context.Context, in *struct{ Body api.NewWebhook }) (*output[api.Webhook], error) {
	b := &in.Body
	w := caxton.Webhook{URL: b.URL, Secrets: b.Secrets}
	for _, k := range b.Events {
		kind, err := caxton.ParseEventKind(k)
		if err != nil {
			return nil, err
		}
		w.Events = append(w.Events, kind)
	}
	for _, ref := range b.Agents {
		a, err := s.deps.Registry.Resolve(ref)
		if err != nil {
			return nil, err
		}
		w.Agents = append(w.Agents, string(a.ID))
	}
	for _, c := range b.Conversations {
		w.Conversations = append(w.Conversations, caxton.ConversationID(c))
	}
	made, err := s.deps.Webhooks.Create(ctx, w)
	if err != nil {
		return nil, err
	}
	out := api.WebhookFrom(&made)
	out.Secrets = made.Secrets
	return &output[api.Webhook]{out}, nil
}

func (s *Server) listWebhooks(ctx context.Context, _ *empty) (*output[api.WebhookList], error) {
	l := api.WebhookList{Items: []api.Webhook{}}
	for _, w := range s.deps.Webhooks.List(ctx) {
		l.Items = append(l.Items, api.WebhookFrom(&w))
	}
	l.Webhooks = l.Items
	return &output[api.WebhookList]{l}, nil
}

func (s *Server) getWebhook(ctx context.Context, in *WebhookPath) (*output[api.Webhook], error) {
	w, err := s.deps.Webhooks.Webhook(ctx, in.Webhook)
	return &output[api.Webhook]{api.WebhookFrom(&w)}, err
}

func (s *Server) enableWebhook(ctx context.Context, in *WebhookPath) (*output[api.Webhook], error) {
	w, err := s.deps.Webhooks.Enable(ctx, in.Webhook)
	return &output[api.Webhook]{api.WebhookFrom(&w)}, err
}

type rotateInput struct {
	WebhookPath
	Body *api.RotateWebhook `required:"false"`
}

func (s *Server) rotateWebhook(ctx context.Context, in *rotateInput) (*output[api.Webhook], error) {
	var b api.RotateWebhook
	if in.Body != nil {
		b = *in.Body
	}
	w, err := s.deps.Webhooks.Rotate(ctx, in.Webhook, b.Secret, b.DropPrevious)
	if err != nil {
		return nil, err
	}
	out := api.WebhookFrom(&w)
	out.Secrets = w.Secrets[:1]
	return &output[api.Webhook]{out}, nil
}

func (s *Server) deleteWebhook(ctx context.Context, in *WebhookPath) (*struct{}, error) {
	return &struct{}{}, s.deps.Webhooks.Delete(ctx, in.Webhook)
}

func (s *Server) testWebhook(ctx context.Context, in *WebhookPath) (*output[api.WebhookDelivery], error) {
	d, err := s.deps.Webhooks.Test(ctx, in.Webhook)
	return &output[api.WebhookDelivery]{api.WebhookDeliveryFrom(&d)}, err
}

type deliveriesInput struct {
	WebhookPath
	Status string `query:"status" enum:"pending,delivered,failed" doc:"only those"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"400" doc:"next of the page before"`
}

func (s *Server) listDeliveries(ctx context.Context, in *deliveriesInput) (*output[api.WebhookDeliveries], error) {
	ds, next, err := s.deps.Webhooks.Deliveries(ctx, in.Webhook, caxton.WebhookState(in.Status), in.Limit, in.Cursor)
	if err != nil {
		return nil, err
	}
	l := api.WebhookDeliveries{Items: []api.WebhookDelivery{}, Next: next}
	for i := range ds {
		l.Items = append(l.Items, api.WebhookDeliveryFrom(&ds[i]))
	}
	l.Deliveries = l.Items
	return &output[api.WebhookDeliveries]{l}, nil
}
