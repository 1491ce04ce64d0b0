package api

import (
	"context"
	"net/http"
	"time"

	"github.com/caxton/caxton"
)

// A NewWebhook is the body of POST /api/v1/webhooks.
type NewWebhook struct {
	URL           string   `json:"url" minLength:"1" maxLength:"2000" example:"https://example.com/hook"`
	Secrets       []string `json:"secrets,omitempty" maxItems:"5" doc:"requests are signed with each; whsec_ and base64, or any text of 16 bytes and more; one is made when there is none"`
	Events        []string `json:"events,omitempty" maxItems:"50" doc:"kinds of records, or rollout; all when absent" example:"[\"settled\"]"`
	Agents        []string `json:"agents,omitempty" maxItems:"100" doc:"only what these agents do or are sent"`
	Conversations []string `json:"conversations,omitempty" maxItems:"100" doc:"only these"`
}

// A RotateWebhook is the body of POST /api/v1/webhooks/{id}/rotate.
type RotateWebhook struct {
	Secret       string `json:"secret,omitempty" doc:"the new secret; one is made when there is none"`
	DropPrevious bool   `json:"drop_previous,omitempty" doc:"do not sign with the one before as well"`
}

// A Webhook is an address that is told of records.
type Webhook struct {
	ID            string    `json:"id"`
	URL           string    `json:"url"`
	Secrets       []string  `json:"secrets,omitempty" doc:"only in the answer that made them"`
	Events        []string  `json:"events"`
	Agents        []string  `json:"agents"`
	Conversations []string  `json:"conversations"`
	Status        string    `json:"status" enum:"active,disabled"`
	Reason        string    `json:"reason,omitempty" doc:"why it is disabled"`
	Declared      bool      `json:"declared" doc:"by the configuration"`
	CreatedAt     time.Time `json:"created_at"`
}

// WebhookFrom returns a webhook as it is shown: without its secrets.
func WebhookFrom(w *caxton.Webhook) Webhook {
	out := Webhook{
		ID: w.ID, URL: w.URL, Events: []string{}, Agents: append([]string{}, w.Agents...), Conversations: []string{},
		Status: "active", Reason: w.Disabled, Declared: w.Declared, CreatedAt: w.CreatedAt.UTC(),
	}
	if w.Disabled != "" {
		out.Status = "disabled"
	}
	for _, k := range w.Events {
		out.Events = append(out.Events, string(k))
	}
	for _, c := range w.Conversations {
		out.Conversations = append(out.Conversations, string(c))
	}
	return out
}

// WebhookList is the answer of GET /api/v1/webhooks.
type WebhookList struct {
	Items    []Webhook `json:"items"`
	Webhooks []Webhook `json:"webhooks" doc:"the same as items"`
}

// A WebhookDelivery is the telling of one record to one webhook.
type WebhookDelivery struct {
	ID             string           `json:"id" doc:"the webhook-id, the same in every attempt"`
	Event          string           `json:"event" doc:"kind of the record, or test"`
	ConversationID string           `json:"conversation_id,omitempty"`
	Seq            int64            `json:"seq,omitempty" doc:"of the record in its conversation"`
	Status         string           `json:"status" enum:"pending,delivered,failed"`
	CreatedAt      time.Time        `json:"created_at"`
	Due            *time.Time       `json:"due,omitempty" doc:"when it is tried next"`
	AttemptCount   int              `json:"attempt_count"`
	Attempts       []WebhookAttempt `json:"attempts" doc:"the last ones"`
}

// A WebhookAttempt is one request to a receiver.
type WebhookAttempt struct {
	At     time.Time `json:"at"`
	Status int       `json:"status,omitempty" doc:"of the answer; absent when there was none"`
	Error  string    `json:"error,omitempty"`
	Millis int64     `json:"ms"`
}

// WebhookDeliveryFrom returns a delivery as it is shown.
func WebhookDeliveryFrom(d *caxton.WebhookDelivery) WebhookDelivery {
	out := WebhookDelivery{
		ID: d.ID, Event: d.Kind, ConversationID: string(d.ConversationID), Seq: d.Seq, Status: string(d.State),
		CreatedAt: d.CreatedAt.UTC(), AttemptCount: d.Count, Attempts: make([]WebhookAttempt, 0, len(d.Attempts)),
	}
	if !d.Due.IsZero() {
		due := d.Due.UTC()
		out.Due = &due
	}
	for _, a := range d.Attempts {
		out.Attempts = append(out.Attempts, WebhookAttempt{At: a.At.UTC(), Status: a.Status, Error: a.Error, Millis: a.Millis})
	}
	return out
}

// WebhookDeliveries is the answer of GET /api/v1/webhooks/{id}/deliveries.
type WebhookDeliveries struct {
	Items      []WebhookDelivery `json:"items"`
	Deliveries []WebhookDelivery `json:"deliveries" doc:"the same as items"`
	Next       string            `json:"next,omitempty" doc:"cursor of the next page"`
}

// Webhooks lists webhooks.
func (c *Client) Webhooks(ctx context.Context) (WebhookList, error) {
	return do[WebhookList](ctx, c, get("/webhooks", nil))
}

// CreateWebhook has an address be told of records from now on.
func (c *Client) CreateWebhook(ctx context.Context, w NewWebhook) (Webhook, error) {
	return do[Webhook](ctx, c, post("/webhooks", nil, w))
}

// Webhook asks for one webhook.
func (c *Client) Webhook(ctx context.Context, id string) (Webhook, error) {
	return do[Webhook](ctx, c, get(path("webhooks", id), nil))
}

// DeleteWebhook forgets a webhook and its deliveries.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	_, err := do[struct{}](ctx, c, call{method: http.MethodDelete, path: path("webhooks", id)})
	return err
}

// EnableWebhook has a disabled webhook be told of records again, from now on.
func (c *Client) EnableWebhook(ctx context.Context, id string) (Webhook, error) {
	return do[Webhook](ctx, c, post(path("webhooks", id, "enable"), nil, nil))
}

// RotateWebhook gives a webhook another secret.
func (c *Client) RotateWebhook(ctx context.Context, id string, r RotateWebhook) (Webhook, error) {
	return do[Webhook](ctx, c, post(path("webhooks", id, "rotate"), nil, r))
}

// TestWebhook sends a webhook one request, and tells what came of it.
func (c *Client) TestWebhook(ctx context.Context, id string) (WebhookDelivery, error) {
	return do[WebhookDelivery](ctx, c, post(path("webhooks", id, "test"), nil, nil))
}

// WebhookDeliveries lists what a webhook was told, and is to be told, newest first.
func (c *Client) WebhookDeliveries(ctx context.Context, id, status string, limit int, cursor string) (WebhookDeliveries, error) {
	return do[WebhookDeliveries](ctx, c, get(path("webhooks", id, "deliveries"), values("status", status, "limit", number(limit), "cursor", cursor)))
}
