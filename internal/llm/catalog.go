package llm

import (
	"slices"
	"strings"

	"github.com/caxton/caxton"
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

// For returns the model for an agent: its own provider, or the server's, and then its
// fallbacks, or the server's. An unknown provider is Invalid.
func (c *Catalog) For(s caxton.LLMSettings) (Model, error) {
	names := c.standard
	if s.Provider != "" && s.Provider != "auto" && s.Provider != "default" {
		names = append([]string{s.Provider}, s.Fallback...)
	} else if len(s.Fallback) > 0 {
		names = append([]string{c.standard[0]}, s.Fallback...)
	}
	var chain Chain
	for _, n := range names {
		m := c.models[n]
		if m == nil {
			return nil, c.unknown(n)
		}
		chain = append(chain, m)
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
