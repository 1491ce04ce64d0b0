package node_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caxton/caxton/api"
)

// TestPluginHTTP holds that http_request of a plug-in goes through the tool http_client, by its
// rules: to a host that the operator allows, and to no other.
func TestPluginHTTP(t *testing.T) {
	var asked atomic.Int32
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"method":%q,"order":%q,"body":%q}`, r.Method, r.Header.Get("X-Order"), b)
	}))
	defer page.Close()
	host := strings.TrimPrefix(page.URL, "http://")
	agent := func(name, tools, say string) []byte {
		return fmt.Appendf(nil, "---\nname: %s\ntype: wasm\ntools: [%s]\nparameters: {req: %q%s}\n---\n", name, tools, `{"url":"`+page.URL+`/","method":"post","headers":{"X-Order":"7"}}`, say)
	}
	c, _, stop := run(t, t.TempDir(), "tools.http_client.allowed_hosts", host)
	module := guestModule(t, "plughttp")
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: agent("Poster", "http_client", ", say: tea"), Module: module}); err != nil {
		t.Fatal(err)
	}
	if got, want := said(t, c, "poster", "hi"), `inform [201,{"method":"POST","order":"7","body":"tea"}]`; got != want {
		t.Errorf("the answer is %s, want %s", got, want)
	}
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: agent("Toolless", "calculator", ""), Module: module}); err != nil {
		t.Fatal(err)
	}
	if got := said(t, c, "toolless", "hi"); !strings.HasPrefix(got, "failure ") || !strings.Contains(got, "wasm_not_granted") {
		t.Errorf("without the grant the answer is %s, want wasm_not_granted", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	c, _, _ = run(t, t.TempDir()) // where nobody has allowed it
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: agent("Poster", "http_client", ", say: tea"), Module: module}); err != nil {
		t.Fatal(err)
	}
	if got := said(t, c, "poster", "hi"); !strings.HasPrefix(got, "failure ") || !strings.Contains(got, "wasm_http") {
		t.Errorf("to a host that is not allowed the answer is %s, want wasm_http", got)
	}
	if asked.Load() != before {
		t.Error("the request reached a host that is not allowed")
	}
}
