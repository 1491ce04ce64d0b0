package httpd_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/egress"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/httpd"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/caxton/caxton/internal/webhook"
)

const ownSecret = "a secret of my own, long enough"

// newHooked returns a server with an engine of webhooks over a database file. The engine does
// not run: what is told to whom is not the matter here.
func newHooked(t *testing.T, policy *egress.Policy) *httpd.Server {
	t.Helper()
	feed := &event.Feed{}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "caxton.db"), Feed: feed})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	engine, err := webhook.New(db, db, feed, webhook.Config{Policy: policy, MaxWebhooks: 4})
	if err != nil {
		t.Fatal(err)
	}
	s, _, _ := newServerWith(t, httpd.Config{}, func(d *httpd.Deps) { d.Webhooks = engine })
	return s
}

// TestWebhookRefusals holds what a request gets that asks for nonsense, and that nothing comes
// of it.
func TestWebhookRefusals(t *testing.T) {
	s := newHooked(t, &egress.Policy{})
	w := ask[api.Webhook](t, s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/hook"}`, 201)
	one := "/api/v1/webhooks/" + w.ID
	long := strings.Repeat("x", 2100)
	many := `["` + strings.Join(slices.Repeat([]string{"settled"}, 51), `","`) + `"]`
	tests := []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"no body", "POST", "/api/v1/webhooks", "", 400, "request_malformed"},
		{"half a body", "POST", "/api/v1/webhooks", `{"url":`, 400, "request_malformed"},
		{"another type", "POST", "/api/v1/webhooks", `["https://example.com/"]`, 422, "request_invalid"},
		{"no URL", "POST", "/api/v1/webhooks", `{}`, 422, "request_invalid"},
		{"an empty URL", "POST", "/api/v1/webhooks", `{"url": ""}`, 422, "request_invalid"},
		{"a URL of another type", "POST", "/api/v1/webhooks", `{"url": 7}`, 422, "request_invalid"},
		{"a URL that is too long", "POST", "/api/v1/webhooks", `{"url": "https://example.com/` + long + `"}`, 422, "request_invalid"},
		{"an unknown key", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "filter": {}}`, 422, "request_invalid"},
		{"a word", "POST", "/api/v1/webhooks", `{"url": "nonsense"}`, 422, "webhook_url_invalid"},
		{"no scheme", "POST", "/api/v1/webhooks", `{"url": "//example.com/"}`, 422, "webhook_url_invalid"},
		{"no host", "POST", "/api/v1/webhooks", `{"url": "https:///hook"}`, 422, "webhook_url_invalid"},
		{"a file", "POST", "/api/v1/webhooks", `{"url": "file:///etc/passwd"}`, 422, "webhook_url_invalid"},
		{"a scheme that is not HTTP", "POST", "/api/v1/webhooks", `{"url": "gopher://example.com/"}`, 422, "webhook_url_invalid"},
		{"a user in the URL", "POST", "/api/v1/webhooks", `{"url": "https://ann:word@example.com/"}`, 422, "webhook_url_invalid"},
		{"a line break in the URL", "POST", "/api/v1/webhooks", `{"url": "https://example.com/\r\nX: y"}`, 422, "webhook_url_invalid"},
		{"an unknown event", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "events": ["message.response"]}`, 422, "record_kind_unknown"},
		{"an empty event", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "events": [""]}`, 422, "record_kind_unknown"},
		{"too many events", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "events": ` + many + `}`, 422, "request_invalid"},
		{"an unknown agent", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "agents": ["nobody"]}`, 404, "agent_not_found"},
		{"a short secret", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "secrets": ["hush hush"]}`, 422, "webhook_secret_invalid"},
		{"an empty secret", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "secrets": [""]}`, 422, "webhook_secret_invalid"},
		{"a secret that is no base64", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "secrets": ["whsec_hush-hush-hush-hush"]}`, 422, "webhook_secret_invalid"},
		{"a secret with a short key", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "secrets": ["whsec_aHVzaA=="]}`, 422, "webhook_secret_invalid"},
		{"a long secret", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "secrets": ["` + long + `"]}`, 422, "webhook_secret_invalid"},
		{"one bad secret of two", "POST", "/api/v1/webhooks", `{"url": "https://example.com/", "secrets": ["` + ownSecret + `", "hush hush"]}`, 422, "webhook_secret_invalid"},
		{"an unknown ID", "GET", "/api/v1/webhooks/wh_none", "", 404, "webhook_not_found"},
		{"an ID that is too long", "GET", "/api/v1/webhooks/" + long, "", 422, "request_invalid"},
		{"to delete an unknown one", "DELETE", "/api/v1/webhooks/wh_none", "", 404, "webhook_not_found"},
		{"to enable an unknown one", "POST", "/api/v1/webhooks/wh_none/enable", "", 404, "webhook_not_found"},
		{"to test an unknown one", "POST", "/api/v1/webhooks/wh_none/test", "", 404, "webhook_not_found"},
		{"deliveries of an unknown one", "GET", "/api/v1/webhooks/wh_none/deliveries", "", 404, "webhook_not_found"},
		{"deliveries in an unknown state", "GET", one + "/deliveries?status=lost", "", 422, "request_invalid"},
		{"no deliveries", "GET", one + "/deliveries?limit=0", "", 422, "request_invalid"},
		{"too many deliveries", "GET", one + "/deliveries?limit=201", "", 422, "request_invalid"},
		{"a cursor of another make", "GET", one + "/deliveries?cursor=~", "", 422, "cursor_invalid"},
		{"another method", "PUT", one, `{"url": "https://example.com/"}`, 405, "method_not_allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := call(s, tt.method, tt.path, tt.body)
			var b api.ErrorBody
			if err := json.Unmarshal(r.Body.Bytes(), &b); err != nil || r.Code != tt.status || b.Error.Code != tt.code {
				t.Errorf("%s %.100s %.100s = %d %s, want %d %s", tt.method, tt.path, tt.body, r.Code, r.Body, tt.status, tt.code)
			}
			for _, secret := range []string{"hush", ownSecret} {
				if strings.Contains(r.Body.String(), secret) {
					t.Errorf("%s tells the secret", r.Body)
				}
			}
		})
	}
	if l := ask[api.WebhookList](t, s, "GET", "/api/v1/webhooks", "", 200); len(l.Items) != 1 || l.Items[0].ID != w.ID {
		t.Errorf("webhooks afterwards: %+v, want the one of before", l.Items)
	}
}

// TestWebhookAddresses holds that nothing is sent to an address that is not public, however it
// is written, unless the configuration allows it.
func TestWebhookAddresses(t *testing.T) {
	reached := make(chan string, 10) // more than are sent
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached <- r.Header.Get("webhook-id")
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	port := receiver.URL[strings.LastIndex(receiver.URL, ":"):]
	allowed, err := egress.ParseRules("here", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		url     string
		allowed []egress.Rule
		want    string // in the refusal to make it; "" when it is delivered
	}{
		{receiver.URL, nil, "must not be reached"},
		{"http://[::ffff:127.0.0.1]" + port, nil, "must not be reached"},
		{"http://0.0.0.0" + port, nil, "must not be reached"},
		{"http://2130706433" + port, nil, "not"},
		{"http://localhost" + port, nil, "must not be reached"},
		{"http://a.localhost" + port, nil, "must not be reached"},
		{"http://10.0.0.7/", nil, "must not be reached"},
		{"http://192.168.0.1/", nil, "must not be reached"},
		{"http://[fd00::1]/", nil, "must not be reached"},
		{"http://169.254.169.254/latest/meta-data", nil, "must not be reached"},
		{"http://169.254.169.254/latest/meta-data", allowed, "must not be reached"},
		{receiver.URL, allowed, ""},
	}
	for _, tt := range tests {
		s := newHooked(t, &egress.Policy{Allowed: tt.allowed})
		if tt.want != "" {
			b := ask[api.ErrorBody](t, s, "POST", "/api/v1/webhooks", `{"url": "`+tt.url+`"}`, 403)
			if b.Error.Code != "address_refused" || !strings.Contains(b.Error.Message, tt.want) {
				t.Errorf("a webhook to %s: %+v, want a refusal with %q", tt.url, b, tt.want)
			}
			continue
		}
		w := ask[api.Webhook](t, s, "POST", "/api/v1/webhooks", `{"url": "`+tt.url+`"}`, 201)
		d := ask[api.WebhookDelivery](t, s, "POST", "/api/v1/webhooks/"+w.ID+"/test", "", 200)
		if len(d.Attempts) != 1 || d.AttemptCount != 1 || d.Event != "test" || d.Status != "delivered" || d.Attempts[0].Status != http.StatusNoContent {
			t.Errorf("test of %s = %+v, want it delivered", tt.url, d)
		}
	}
	if len(reached) != 1 {
		t.Errorf("%d requests came, want one", len(reached))
	}
}

// TestWebhookSecrets holds that secrets are in the answer that made a webhook, and in none
// after it.
func TestWebhookSecrets(t *testing.T) {
	s := newHooked(t, &egress.Policy{})
	own := ask[api.Webhook](t, s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/1", "events": ["settled"], "agents": ["greeter"], "conversations": ["c1"], "secrets": ["`+ownSecret+`"]}`, 201)
	if !slices.Equal(own.Secrets, []string{ownSecret}) || own.Status != "active" || own.Declared || !slices.Equal(own.Events, []string{"settled"}) ||
		!slices.Equal(own.Agents, []string{"a1"}) || !slices.Equal(own.Conversations, []string{"c1"}) {
		t.Errorf("made with a secret: %+v", own)
	}
	made := ask[api.Webhook](t, s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/2"}`, 201)
	if len(made.Secrets) != 1 || !strings.HasPrefix(made.Secrets[0], "whsec_") || len(made.Secrets[0]) != len("whsec_")+44 {
		t.Fatalf("made without a secret: %+v, want one of 32 bytes", made)
	}
	keyed := call(s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/3"}`, "Idempotency-Key", "k")
	replayed := call(s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/3"}`, "Idempotency-Key", "k")
	var first, second api.Webhook
	if err := errors.Join(json.Unmarshal(keyed.Body.Bytes(), &first), json.Unmarshal(replayed.Body.Bytes(), &second)); err != nil {
		t.Fatal(err)
	}
	if len(first.Secrets) != 1 || replayed.Code != 201 || replayed.Header().Get("Idempotency-Replayed") != "true" || second.ID != first.ID || second.Secrets != nil {
		t.Errorf("under a key %s, and again %d %s, want the same webhook without its secret", keyed.Body, replayed.Code, replayed.Body)
	}
	again := ask[api.Webhook](t, s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/2"}`, 201)
	if again.ID == made.ID || again.Secrets[0] == made.Secrets[0] {
		t.Errorf("two webhooks of one address: %+v and %+v", made, again)
	}
	for _, r := range []struct {
		method, path string
	}{
		{"GET", ""}, {"GET", "/" + own.ID}, {"GET", "/" + made.ID}, {"POST", "/" + own.ID + "/enable"}, {"GET", "/" + own.ID + "/deliveries"},
	} {
		w := call(s, r.method, "/api/v1/webhooks"+r.path, "")
		if w.Code != 200 || strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), "whsec_") || strings.Contains(w.Body.String(), ownSecret) {
			t.Errorf("%s %s = %d %s, want no secrets", r.method, r.path, w.Code, w.Body)
		}
	}
}

// TestWebhookDeleted holds that a webhook goes once and for all, and makes room.
func TestWebhookDeleted(t *testing.T) {
	s := newHooked(t, &egress.Policy{})
	var last api.Webhook
	for range 4 {
		last = ask[api.Webhook](t, s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/"}`, 201)
	}
	if b := ask[api.ErrorBody](t, s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/"}`, 429); b.Error.Code != "too_many_webhooks" || b.Error.Hint == "" {
		t.Errorf("one too many: %+v", b)
	}
	if w := call(s, "DELETE", "/api/v1/webhooks/"+last.ID, ""); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("DELETE = %d %s, want 204", w.Code, w.Body)
	}
	for _, r := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"POST", "/test"}, {"POST", "/enable"}, {"GET", "/deliveries"}} {
		if b := ask[api.ErrorBody](t, s, r[0], "/api/v1/webhooks/"+last.ID+r[1], "", 404); b.Error.Kind != string(caxton.NotFound) {
			t.Errorf("%s of a deleted one: %+v", r, b)
		}
	}
	if l := ask[api.WebhookList](t, s, "GET", "/api/v1/webhooks", "", 200); len(l.Items) != 3 || len(l.Webhooks) != 3 {
		t.Errorf("webhooks afterwards: %+v, want three", l)
	}
	ask[api.Webhook](t, s, "POST", "/api/v1/webhooks", `{"url": "https://example.com/"}`, 201)
}
