package llm

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/caxton/caxton"
	"github.com/sony/gobreaker/v2"
)

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
	return g.execute(func() (Response, error) { return g.model.Generate(ctx, req) })
}

// Stream is Generate with its pieces.
func (g *Guarded) Stream(ctx context.Context, req Request, emit func(Delta)) (Response, error) {
	return g.execute(func() (Response, error) { return Stream(ctx, g.model, req, emit) })
}

func (g *Guarded) execute(ask func() (Response, error)) (Response, error) {
	res, err := g.breaker.Execute(ask)
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return res, caxton.Errorf(caxton.Unavailable, "model_breaker_open", "the provider %s failed too often and is left alone for a moment", g.Info().Provider)
	}
	return res, err
}
