package node_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// TestWebhooks has a receiver on this machine be told of a settled message once the
// configuration allows its address, and be refused before.
func TestWebhooks(t *testing.T) {
	got := make(chan http.Header, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	defer receiver.Close()
	c, _, stop := run(t, t.TempDir())
	greeter := []byte("---\nname: Greeter\ncapabilities: [greeting]\nsystem_prompt: Greet.\n---\n")
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: greeter, Format: "markdown"}); err != nil {
		t.Fatal(err)
	}
	w, err := c.CreateWebhook(t.Context(), api.NewWebhook{URL: receiver.URL, Events: []string{"settled"}, Agents: []string{"greeter"}})
	if err != nil || len(w.Secrets) != 1 || w.Status != "active" {
		t.Fatalf("CreateWebhook = %+v, %v", w, err)
	}
	if d, err := c.TestWebhook(t.Context(), w.ID); err != nil || d.Status != "failed" || len(d.Attempts) != 1 || d.Attempts[0].Error == "" {
		t.Errorf("TestWebhook of a loopback address = %+v, %v; want a refusal", d, err)
	}
	if _, err := c.Send(t.Context(), api.Message{Receiver: "greeter", Text: "hello"}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; {
		ds, err := c.WebhookDeliveries(t.Context(), w.ID, "pending", 0, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(ds.Items) == 1 && ds.Items[0].AttemptCount == 1 && ds.Items[0].Due != nil && ds.Items[0].Event == "settled" {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("deliveries %+v, want one that was tried", ds)
		}
		<-time.After(5 * time.Millisecond)
	}
	l, err := c.Webhooks(t.Context())
	if err != nil || len(l.Items) != 1 || len(l.Items[0].Secrets) != 0 {
		t.Errorf("Webhooks = %+v, %v; want one without its secrets", l, err)
	}
	if err := c.DeleteWebhook(t.Context(), w.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.Webhook(t.Context(), w.ID); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("a deleted webhook: %v, want NotFound", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if len(got) > 0 {
		t.Error("a loopback address was reached")
	}

	dir := t.TempDir()
	text := "messaging:\n  webhook_allowed_hosts: [127.0.0.1]\n  webhooks:\n    - {url: " + receiver.URL + ", secret: a secret that is long enough, events: [settled], agents: [greeter]}\n"
	if err := os.WriteFile(filepath.Join(dir, "caxton.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, stop = run(t, dir)
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: greeter, Format: "markdown"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), api.Message{Receiver: "greeter", Text: "hello"}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case h := <-got:
		if h.Get("webhook-id") == "" || h.Get("webhook-signature") == "" {
			t.Errorf("header %v, want a signature", h)
		}
	case <-time.After(10 * time.Second):
		t.Error("a declared webhook is told of nothing")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
