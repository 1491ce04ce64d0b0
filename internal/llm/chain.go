package llm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/sony/gobreaker/v2"
)

// EstimateTokens returns about how many tokens a text has: a quarter of its characters.
func EstimateTokens(s string) int { return (len([]rune(s)) + 3) / 4 }

// EstimateUsage counts a request and its answer by EstimateTokens, for providers that do
// not say.
func EstimateUsage(req Request, text string) Usage {
	n := EstimateTokens(Instructions(req))
	for _, m := range req.Messages {
		n += EstimateTokens(m.Text)
	}
	return Usage{InputTokens: n, OutputTokens: EstimateTokens(text), Estimated: true}
}

// Instructions returns the system text of a request with its documents: for providers that
// take only one text.
func Instructions(req Request) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(req.System))
	for _, d := range req.Documents {
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString("<document title=\"" + d.Title + "\">\n" + strings.TrimSpace(d.Text) + "\n</document>")
	}
	return b.String()
}

// Hash returns the SHA-256 of a request, hex: the same for the same request.
func Hash(req Request) (string, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return "", caxton.Errorf(caxton.Internal, "request_unprintable", "the model's request cannot be written").WithCause(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// A Guarded is a Model behind a circuit breaker: after five failures in a row it is left
// alone for half a minute, and calls are Unavailable at once. It is safe for concurrent use.
type Guarded struct {
	model   Model
	breaker *gobreaker.CircuitBreaker[Response]
}

// Guard puts a breaker around m. Refusals of a single request (Invalid, Malformed) and
// callers who leave do not count as failures.
func Guard(m Model, logger *slog.Logger) *Guarded {
	g := &Guarded{model: m}
	g.breaker = gobreaker.NewCircuitBreaker[Response](gobreaker.Settings{
		Name: m.Info().Provider, MaxRequests: 1, Timeout: 30 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 5 },
		IsSuccessful: func(err error) bool {
			return err == nil || !another(err) || errors.Is(err, context.Canceled)
		},
		OnStateChange: func(name string, _, to gobreaker.State) {
			logger.Warn("model breaker changed", "provider", name, "state", to.String())
		},
	})
	return g
}

// Info is the guarded model's.
func (g *Guarded) Info() Info { return g.model.Info() }

// Generate asks the model unless it is being left alone.
func (g *Guarded) Generate(ctx context.Context, req Request) (Response, error) {
	res, err := g.breaker.Execute(func() (Response, error) { return g.model.Generate(ctx, req) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return res, caxton.Errorf(caxton.Unavailable, "model_breaker_open", "the provider %s failed too often and is left alone for a moment", g.Info().Provider)
	}
	return res, err
}

// A Chain asks its models in order until one answers. A request that one of them rejects as
// wrong is not tried on the next.
type Chain []Model

// Info is the first model's.
func (c Chain) Info() Info { return c[0].Info() }

// Generate returns the first answer; Response.Provider says whose it is. When none answers,
// the error has the kind of the first failure and names every provider tried.
func (c Chain) Generate(ctx context.Context, req Request) (Response, error) {
	var first *caxton.Error
	var tried []string
	var causes []error
	for i, m := range c {
		r := req
		if i > 0 {
			r.Model = "" // the name belongs to the first provider
		}
		res, err := m.Generate(ctx, r)
		if err == nil {
			return res, nil
		}
		if !another(err) || ctx.Err() != nil || len(c) == 1 {
			return res, err
		}
		var e *caxton.Error
		if first == nil && errors.As(err, &e) {
			first = e
		}
		tried = append(tried, m.Info().Provider+": "+cmp.Or(message(err), "failed"))
		causes = append(causes, err)
	}
	err := caxton.Errorf(caxton.Unavailable, "models_failed", "no model answered (%s)", strings.Join(tried, "; ")).WithCause(errors.Join(causes...))
	if first != nil {
		err.Kind, err.Hint = first.Kind, first.Hint
	}
	return Response{}, err
}

// another reports whether another provider might do better.
func another(err error) bool {
	switch caxton.KindOf(err) {
	case caxton.Unavailable, caxton.Exhausted, caxton.Timeout, caxton.Unauthenticated, caxton.Forbidden, caxton.Malformed, caxton.NotFound, caxton.Internal:
		return true
	case caxton.Invalid, caxton.Conflict, caxton.TooLarge, caxton.Canceled:
	}
	return false
}

func message(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Message
	}
	return ""
}

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
