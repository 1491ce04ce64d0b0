package llmtest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// Key is the API key that a Maker's models have.
const Key = "sk-test-0123456789"

// repeatsKey is an error of a server that shows what it was sent.
const repeatsKey = `{"type":"error","error":{"type":"authentication_error","message":"Incorrect key ` + Key + `"}}`

// testSecrets holds an adapter to what it must not show or send.
func testSecrets(t *testing.T, serve func(*testing.T, ...Step) *Server, newModel Maker) {
	t.Helper()
	req := llm.Request{Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}}
	for _, step := range []Step{
		{Status: 401, Body: repeatsKey},
		{Status: 403, Body: Key},
		{Status: 500, Body: "<html>" + Key + "</html>"},
	} {
		_, err := newModel(serve(t, step).URL, time.Second, 0).Generate(t.Context(), req)
		if err == nil || strings.Contains(err.Error(), Key) {
			t.Errorf("the error %v shows the key", err)
		}
	}
	t.Run("a password in the address", func(t *testing.T) {
		s := serve(t, Step{Status: 503, Body: "{}"})
		for _, address := range []string{s.URL, "http://127.0.0.1:1"} {
			m := newModel(strings.Replace(address, "http://", "http://me:hunter22@", 1), time.Second, 0)
			if _, err := m.Generate(t.Context(), req); caxton.KindOf(err) != caxton.Unavailable || strings.Contains(err.Error(), "hunter22") {
				t.Errorf("the error %v shows the password", err)
			}
		}
	})
	t.Run("a redirect to another host", func(t *testing.T) {
		other := serve(t, Step{Text: "hi"})
		s := serve(t, Step{Status: 307, Body: "{}", Location: strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/v1/messages/chat/completions"})
		_, err := newModel(s.URL, time.Second, 0).Generate(t.Context(), req)
		if n := len(other.Requests()); n > 0 || err == nil {
			t.Errorf("%d requests went to another host, error %v", n, err)
		}
	})
	t.Run("the environment of the process", func(t *testing.T) {
		for _, v := range []string{"OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"} {
			t.Setenv(v, "from-the-environment")
		}
		t.Setenv("OPENAI_CUSTOM_HEADERS", "X-Env: from-the-environment")
		t.Setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Env: from-the-environment")
		s := serve(t, Step{Text: "hi"})
		if _, err := newModel(s.URL, time.Second, 0).Generate(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		for name, values := range s.Headers()[0] {
			if strings.Contains(strings.Join(values, " "), "from-the-environment") {
				t.Errorf("header %s: %q comes from the environment", name, values)
			}
		}
	})
}

// Headers returns the headers of the requests so far.
func (s *Server) Headers() []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]http.Header{}, s.headers...)
}
