package node_test

import (
	"encoding/base64"
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

// TestModuleFaultsOverHTTP holds what a deployment over HTTP is told of a module that cannot be
// one, or is too large.
func TestModuleFaultsOverHTTP(t *testing.T) {
	_, info, _ := run(t, t.TempDir(), "wasm.max_module_size", "1KB")
	url := "http://" + info.APIAddr + "/api/v1/agents"
	for _, tt := range []struct {
		name   string
		module []byte
		status int
		code   string
		hint   string
	}{
		{"not a module", []byte("(module)"), http.StatusUnprocessableEntity, "agent_invalid", "must be assembled first"},
		{"cut off", guestModule(t, "echo")[:40], http.StatusUnprocessableEntity, "agent_invalid", "arrived whole"},
		{"too large", make([]byte, 1025), http.StatusRequestEntityTooLarge, "module_too_large", "wasm.max_module_size"},
	} {
		var e api.ErrorBody
		body := fmt.Appendf(nil, `{"name": "a", "wasm_module": %q}`, base64.StdEncoding.EncodeToString(tt.module))
		send(t, http.MethodPost, url, "application/json", body, tt.status, &e)
		hints := e.Error.Hint
		for _, d := range e.Error.Details {
			hints += "\n" + d.Hint
		}
		if e.Error.Code != tt.code || !strings.Contains(hints, tt.hint) {
			t.Errorf("%s: %+v, want %s and the hint %q", tt.name, e.Error, tt.code, tt.hint)
		}
	}
}
