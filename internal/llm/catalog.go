package llm

import (
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/prometheus/client_golang/prometheus"
)

// A Catalog holds the models of a server by provider name. It does not change and is safe
// for concurrent use.
type Catalog struct {
	models   map[string]Model
	standard []string
}

// NewCatalog returns a catalog of models by provider name; standard names those that serve
// agents which choose none, in order: the first, and its fallbacks. A name without a model
// is Invalid.
func NewCatalog(models map[string]Model, standard ...string) (*Catalog, error) {
	c := &Catalog{models: models, standard: standard}
	if len(standard) == 0 {
		return nil, caxton.Errorf(caxton.Invalid, "llm_missing", "there is no model")
	}
	for _, name := range standard {
		if models[name] == nil {
			return nil, c.unknown(name)
		}
	}
	return c, nil
}

// Providers returns the names of the providers, sorted.
func (c *Catalog) Providers() []string {
	names := make([]string, 0, len(c.models))
	for n := range c.models {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Standard returns what serves agents that choose nothing.
func (c *Catalog) Standard() Info { return c.models[c.standard[0]].Info() }

// Status says how each provider does, sorted by name. One without a breaker is closed.
func (c *Catalog) Status() []ProviderStatus {
	names := c.Providers()
	all := make([]ProviderStatus, len(names))
	for i, name := range names {
		all[i].State = BreakerClosed
		if g, ok := c.models[name].(*Guarded); ok {
			all[i] = g.Status()
		}
		all[i].Provider = name
	}
	return all
}

func breakerState() *prometheus.Desc {
	return prometheus.NewDesc("caxton_llm_breaker_state",
		"Whether the provider is asked (0), tried again (1) or left alone (2) after failures.", []string{"provider"}, nil)
}

// Describe makes the Catalog a collector of metrics.
func (c *Catalog) Describe(descs chan<- *prometheus.Desc) { descs <- breakerState() }

// Collect gives the state of each provider's breaker.
func (c *Catalog) Collect(metrics chan<- prometheus.Metric) {
	values := map[string]float64{BreakerClosed: 0, BreakerHalfOpen: 1, BreakerOpen: 2}
	for _, s := range c.Status() {
		metrics <- prometheus.MustNewConstMetric(breakerState(), prometheus.GaugeValue, values[s.State], s.Provider)
	}
}

// For returns the model for an agent: its own provider, or the server's, and then its
// fallbacks, or the server's; each once. An unknown provider is Invalid.
func (c *Catalog) For(s caxton.LLMSettings) (Model, error) {
	names := c.standard
	if s.Provider != "" && s.Provider != "auto" && s.Provider != "default" {
		names = append([]string{s.Provider}, s.Fallback...)
	} else if len(s.Fallback) > 0 {
		names = append([]string{c.standard[0]}, s.Fallback...)
	}
	var chain Chain
	for i, n := range names {
		m := c.models[n]
		if m == nil {
			return nil, c.unknown(n)
		}
		if !slices.Contains(names[:i], n) {
			chain = append(chain, m)
		}
	}
	if len(chain) == 1 {
		return chain[0], nil
	}
	return chain, nil
}

func (c *Catalog) unknown(name string) error {
	return caxton.Errorf(caxton.Invalid, "llm_provider_unknown", "there is no model provider %q", name).
		WithHint("there is %s; others are set up under llm.providers of the configuration", strings.Join(c.Providers(), ", "))
}
