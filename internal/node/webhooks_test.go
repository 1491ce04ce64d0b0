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
	if _, err := c.CreateWebhook(t.Context(), api.NewWebhook{URL: receiver.URL}); caxton.KindOf(err) != caxton.Forbidden {
		t.Errorf("CreateWebhook with a loopback address: %v, want Forbidden", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
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
	w, err := c.CreateWebhook(t.Context(), api.NewWebhook{URL: receiver.URL, Events: []string{"settled"}, Agents: []string{"greeter"}})
	if err != nil || len(w.Secrets) != 1 || w.Status != "active" {
		t.Fatalf("CreateWebhook = %+v, %v", w, err)
	}
	if l, err := c.Webhooks(t.Context()); err != nil || len(l.Items) != 2 || len(l.Items[1].Secrets) != 0 {
		t.Errorf("Webhooks = %+v, %v; want two without secrets", l, err)
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
}
