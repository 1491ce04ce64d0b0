package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/anthropic"
	"github.com/caxton/caxton/internal/llm/builtin"
	"github.com/caxton/caxton/internal/llm/openai"
	"github.com/caxton/caxton/internal/llm/scripted"
)

// models builds every provider of the configuration and says which one serves agents that
// choose none, and why.
func models(ctx context.Context, c *config.LLM, environ []string, log *slog.Logger) (*llm.Catalog, string, error) {
	env := environment(environ)
	all := map[string]llm.Model{config.KindBuiltin: builtin.Model{}}
	provider, reason := c.Provider, "llm.provider says so"
	if provider == config.AutoProvider || provider == "" {
		provider, reason = auto(ctx, c, env)
		chosen := *c
		chosen.Provider = provider // llm.model and the like are meant for it
		c = &chosen
	}
	names := append([]string{provider}, c.Fallback...)
	for name := range c.Providers {
		names = append(names, name)
	}
	for key, name := range map[string]string{"OPENAI_API_KEY": config.KindOpenAI, "ANTHROPIC_API_KEY": config.KindAnthropic} {
		if env[key] != "" {
			names = append(names, name) // agents may choose it
		}
	}
	for _, name := range names {
		if all[name] != nil {
			continue
		}
		p, ok := c.Lookup(name)
		if !ok {
			return nil, "", caxton.Errorf(caxton.Invalid, "llm_provider_unknown", "there is no model provider %q", name).
				WithHint("use auto, %s, or a name under llm.providers", strings.Join(c.Names(), ", "))
		}
		m, err := newModel(ctx, name, p, env)
		if err != nil {
			return nil, "", err
		}
		all[name] = llm.Guard(m, log)
	}
	if all[config.KindOpenAI] == nil { // agents that name it get a clear error, not an unknown provider
		log.DebugContext(ctx, "provider not configured", "provider", config.KindOpenAI)
	}
	cat, err := llm.NewCatalog(all, append([]string{provider}, c.Fallback...)...)
	return cat, reason, err
}

// auto chooses the provider when the configuration leaves it open: a configured one, a key
// in the environment, a model server on this machine, the built-in answerer.
func auto(ctx context.Context, c *config.LLM, env map[string]string) (name, reason string) {
	switch {
	case c.BaseURL != "":
		return config.KindOpenAI, "llm.base_url is set"
	case c.APIKey != "":
		return config.KindOpenAI, "llm.api_key is set"
	case c.File != "":
		return config.KindScripted, "llm.file is set"
	case len(c.Providers) > 0:
		names := make([]string, 0, len(c.Providers))
		for n := range c.Providers {
			names = append(names, n)
		}
		slices.Sort(names)
		return names[0], "it is configured under llm.providers"
	case env["OPENAI_API_KEY"] != "":
		return config.KindOpenAI, "OPENAI_API_KEY is set"
	case env["ANTHROPIC_API_KEY"] != "":
		return config.KindAnthropic, "ANTHROPIC_API_KEY is set"
	}
	if model := ollamaModel(ctx, c.OllamaURL); model != "" {
		return config.KindOllama, "Ollama answers at " + c.OllamaURL
	}
	return config.KindBuiltin, "no key is set and no local model server answers"
}

func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return env
}

func newModel(ctx context.Context, name string, p config.Provider, env map[string]string) (llm.Model, error) {
	retries := 0
	if p.MaxRetries != nil {
		retries = *p.MaxRetries
	}
	if retries == 0 {
		retries = -1
	}
	if name != p.Kind && p.BaseURL != "" {
		env = nil // its keys and addresses are not for another server that speaks the same
	}
	switch p.Kind {
	case config.KindAnthropic:
		return anthropic.New(anthropic.Config{
			Name: name, APIKey: cmp.Or(p.APIKey, env["ANTHROPIC_API_KEY"]), BaseURL: p.BaseURL, Model: p.Model, Timeout: p.Timeout.Std(), MaxRetries: retries,
		}), nil
	case config.KindOllama:
		model := p.Model
		if model == "" {
			if model = ollamaModel(ctx, strings.TrimSuffix(p.BaseURL, "/v1")); model == "" {
				return nil, caxton.Errorf(caxton.Unavailable, "ollama_unreachable", "no model server with a model answers at %s", p.BaseURL).
					WithHint("start Ollama and pull a model, or set llm.model")
			}
		}
		return openai.New(openai.Config{Name: name, BaseURL: p.BaseURL, Model: model, Timeout: p.Timeout.Std(), MaxRetries: retries}), nil
	case config.KindScripted:
		if p.File == "" {
			return nil, caxton.Errorf(caxton.Invalid, "script_missing", "the provider %s has no file", name).WithHint("set llm.file to a script")
		}
		return scripted.Open(p.File)
	case config.KindBuiltin:
		return builtin.Model{}, nil
	}
	return openai.New(openai.Config{
		Name: name, APIKey: cmp.Or(p.APIKey, env["OPENAI_API_KEY"]), BaseURL: cmp.Or(p.BaseURL, env["OPENAI_BASE_URL"]),
		Model: p.Model, Timeout: p.Timeout.Std(), MaxRetries: retries,
	}), nil
}

// ollamaModel returns the first model of the Ollama at url, or "" when none answers at once.
func ollamaModel(ctx context.Context, url string) string {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(url, "/")+"/api/tags", nil)
	if err != nil {
		return ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = res.Body.Close() }()
	var tags struct {
		Models []struct {
			Name string `json:"name"`
		} `json:"models"`
	}
	if res.StatusCode != http.StatusOK || json.NewDecoder(http.MaxBytesReader(nil, res.Body, 1<<20)).Decode(&tags) != nil || len(tags.Models) == 0 {
		return ""
	}
	return tags.Models[0].Name
}

// checkModel returns why an agent's model cannot be had, or nil.
func checkModel(cat *llm.Catalog) func(caxton.LLMSettings) error {
	return func(s caxton.LLMSettings) error {
		if _, err := cat.For(s); err != nil {
			return fmt.Errorf("model: %w", err)
		}
		return nil
	}
}
