package config

import (
	"cmp"
	"slices"
	"strings"

	"github.com/caxton/caxton"
)

// LLM says which language model answers. The provider auto takes the first of these that is
// there: a provider with a key, a model server on this machine, the built-in answerer.
type LLM struct {
	Provider    string              `key:"provider" default:"auto" doc:"auto, openai, anthropic, ollama, scripted, builtin, or one of providers."`
	Model       string              `key:"model" doc:"The model of that provider; without it the provider's own choice."`
	BaseURL     string              `key:"base_url" form:"url" doc:"Where that provider answers; without it its public address."`
	APIKey      string              `key:"api_key" secret:"true" doc:"Key for that provider."`
	APIKeyFile  string              `key:"api_key_file" doc:"File that holds the key."`
	File        string              `key:"file" doc:"For scripted: the file with the answers."`
	Timeout     caxton.Duration     `key:"timeout" default:"60s" min:"1ms" doc:"For one answer, each try by itself."`
	MaxRetries  int                 `key:"max_retries" default:"2" min:"0" max:"100" doc:"Further tries when a provider is busy or down."`
	MaxTokens   int                 `key:"max_tokens" min:"1" max:"10000000" doc:"Length of an answer, in tokens, of agents that say nothing else."`
	Temperature *float64            `key:"temperature" min:"0" max:"2" doc:"How freely words are chosen, for agents that say nothing else."`
	Fallback    []string            `key:"fallback" doc:"Providers to ask when the first does not answer, in order."`
	OllamaURL   string              `key:"ollama_url" default:"http://127.0.0.1:11434" form:"url" doc:"Where a model server on this machine is looked for."`
	Providers   map[string]Provider `key:"providers" doc:"Further providers, by name."`
	Prices      map[string]Price    `key:"prices" doc:"What models cost, by model or by provider/model; the latter counts more."`
}

// The kinds of providers.
const (
	KindOpenAI    = "openai"
	KindAnthropic = "anthropic"
	KindOllama    = "ollama" // openai's protocol at ollama_url
	KindScripted  = "scripted"
	KindBuiltin   = "builtin"
)

// AutoProvider is the value of llm.provider that leaves the choice to the server.
const AutoProvider = "auto"

// A Provider is one source of models. Zero fields mean what llm itself says; see LLM.Lookup.
type Provider struct {
	Kind       string          `key:"kind" oneof:"openai,anthropic,ollama,scripted,builtin" doc:"What it speaks; without it its name says so."`
	Model      string          `key:"model" doc:"Its model."`
	BaseURL    string          `key:"base_url" form:"url" doc:"Where it answers."`
	APIKey     string          `key:"api_key" secret:"true" doc:"Key for it."`
	APIKeyFile string          `key:"api_key_file" doc:"File that holds the key."`
	Timeout    caxton.Duration `key:"timeout" min:"1ms" doc:"For one answer, each try by itself."`
	MaxRetries *int            `key:"max_retries" min:"0" max:"100" doc:"Further tries when it is busy or down."`
	File       string          `key:"file" doc:"For scripted: the file with the answers."`
}

func kinds() []string {
	return []string{KindOpenAI, KindAnthropic, KindOllama, KindScripted, KindBuiltin}
}

// Lookup returns the provider of that name with everything filled in: its entry below
// providers, or, without one, the kind of that name. Timeout and MaxRetries come from llm
// where the entry says nothing. Model, BaseURL, APIKey and File do so for the provider that
// llm.provider names; while that is auto, they belong to openai when BaseURL or APIKey is
// given, and to scripted when File is. An ollama without BaseURL has the one that OllamaURL
// leads to. It returns false when there is no such provider; auto is none.
func (l *LLM) Lookup(name string) (Provider, bool) {
	p, ok := l.Providers[name]
	if !ok && !slices.Contains(kinds(), name) {
		return Provider{}, false
	}
	if p.Kind == "" && slices.Contains(kinds(), name) {
		p.Kind = name
	}
	if p.Kind == "" {
		return Provider{}, false
	}
	if name == l.primary() {
		p.Model = cmp.Or(p.Model, l.Model)
		p.BaseURL = cmp.Or(p.BaseURL, l.BaseURL)
		p.APIKey = cmp.Or(p.APIKey, l.APIKey)
		p.File = cmp.Or(p.File, l.File)
	}
	if p.Kind == KindOllama {
		p.BaseURL = cmp.Or(p.BaseURL, strings.TrimRight(l.OllamaURL, "/")+"/v1")
	}
	p.Timeout = cmp.Or(p.Timeout, l.Timeout)
	if p.MaxRetries == nil {
		p.MaxRetries = &l.MaxRetries
	}
	return p, true
}

// primary returns the name of the provider that the settings of llm itself are for, or auto
// when that is not said.
func (l *LLM) primary() string {
	switch {
	case l.Provider != AutoProvider:
		return l.Provider
	case l.BaseURL != "" || l.APIKey != "" || l.APIKeyFile != "":
		return KindOpenAI
	case l.File != "":
		return KindScripted
	}
	return AutoProvider
}

// Names returns the names that Lookup knows, sorted: the kinds and the entries of Providers.
func (l *LLM) Names() []string {
	names := kinds()
	for name := range l.Providers {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
