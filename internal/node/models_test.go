package node_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/llmtest"
	"github.com/caxton/caxton/internal/node"
)

// TestKeysOfTheEnvironment: a key in the environment is for the provider it is named for, or
// for its public address; not for another server that speaks the same.
func TestKeysOfTheEnvironment(t *testing.T) {
	serve := map[string]func(*testing.T, ...llmtest.Step) *llmtest.Server{config.KindOpenAI: llmtest.OpenAI, config.KindAnthropic: llmtest.Anthropic}
	for _, kind := range []string{config.KindOpenAI, config.KindAnthropic} {
		for name, want := range map[string]bool{kind: true, "other": false} {
			s := serve[kind](t, llmtest.Step{Text: "hi"})
			c := config.LLM{Provider: name, Providers: map[string]config.Provider{name: {Kind: kind, BaseURL: s.URL}}}
			environ := []string{"OPENAI_API_KEY=" + llmtest.Key, "ANTHROPIC_API_KEY=" + llmtest.Key}
			cat, _, err := node.Models(t.Context(), &c, environ, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			m, err := cat.For(caxton.LLMSettings{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Generate(t.Context(), llm.Request{Messages: []llm.Message{{Role: llm.User, Text: "Hello"}}}); err != nil {
				t.Fatal(err)
			}
			h := s.Headers()[0]
			if got := strings.Contains(h.Get("Authorization")+h.Get("X-Api-Key"), llmtest.Key); got != want {
				t.Errorf("%s of kind %s is sent the key of the environment: %v, want %v", name, kind, got, want)
			}
		}
	}
}
