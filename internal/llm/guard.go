package llm

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/sony/gobreaker/v2"
)

const (
	guardFailures = 5
	guardPause    = 30 * time.Second
)

// A Guarded is a Model behind a circuit breaker: after five failures in a row it is left
// alone for half a minute, and calls are Unavailable at once. Then one call at a time may try
// it, until one goes well. It is safe for concurrent use, and meant to be shared by all who
// call the provider.
type Guarded struct {
	model   Model
	breaker *gobreaker.CircuitBreaker[Response]

	mu       sync.Mutex
	failures int       // in a row
	retryAt  time.Time // while it is open
	last     error     // the newest failure, nil after a success
}

// Guard puts a breaker around m and logs its changes. What shows that the provider is there,
// if only by refusing one request (Invalid, NotFound, Forbidden, TooLarge), is no failure; a
// caller who leaves says nothing about the provider.
func Guard(m Model, logger *slog.Logger) *Guarded {
	g := &Guarded{model: m}
	g.breaker = gobreaker.NewCircuitBreaker[Response](gobreaker.Settings{
		Name: m.Info().Provider, MaxRequests: 1, Timeout: guardPause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= guardFailures },
		IsSuccessful: func(err error) bool { return !providerFailed(err) },
		IsExcluded:   callerLeft,
		OnStateChange: func(name string, _, to gobreaker.State) {
			g.mu.Lock()
			g.retryAt = time.Time{}
			if to == gobreaker.StateOpen {
				g.retryAt = time.Now().Add(guardPause)
			}
			code := ""
			if e, ok := errors.AsType[*caxton.Error](g.last); ok {
				code = e.Code // its message may hold what a user said
			}
			g.mu.Unlock()
			logger.Warn("model breaker changed", "provider", name, "state", to.String(), "code", code)
		},
	})
	return g
}

// Info is the guarded model's.
func (g *Guarded) Info() Info { return g.model.Info() }

// Generate asks the model unless it is being left alone.
func (g *Guarded) Generate(ctx context.Context, req Request) (Response, error) {
	return g.execute(ctx, func() (Response, error) { return g.model.Generate(ctx, req) })
}

// Stream is Generate with its pieces.
func (g *Guarded) Stream(ctx context.Context, req Request, emit func(Delta)) (Response, error) {
	return g.execute(ctx, func() (Response, error) { return Stream(ctx, g.model, req, emit) })
}

func (g *Guarded) execute(ctx context.Context, ask func() (Response, error)) (Response, error) {
	if err := Ended(ctx, g.Info().Provider); err != nil {
		return Response{}, err // it must not count
	}
	res, err := g.breaker.Execute(func() (Response, error) {
		res, err := ask()
		g.note(err)
		return res, err
	})
	if !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, gobreaker.ErrTooManyRequests) {
		return res, err
	}
	g.mu.Lock()
	last := g.last
	g.mu.Unlock()
	return Response{}, caxton.Errorf(caxton.Unavailable, "model_breaker_open", "the provider %s failed too often and is left alone for a moment, last because: %s",
		g.Info().Provider, message(last)).
		WithHint("mend what failed and try again in half a minute, or configure llm.fallback").WithCause(last)
}

// note keeps what the status shows, before the breaker counts err.
func (g *Guarded) note(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case callerLeft(err):
	case providerFailed(err):
		g.failures++
		g.last = err
	default:
		g.failures, g.last = 0, nil
	}
}

// The states of a breaker.
const (
	BreakerClosed   = "closed"    // the provider is asked
	BreakerHalfOpen = "half-open" // one call at a time may try it
	BreakerOpen     = "open"      // it is left alone
)

// A ProviderStatus says how a provider does.
type ProviderStatus struct {
	Provider string
	State    string    // of its breaker
	Failures int       // in a row
	RetryAt  time.Time // when it is tried again; zero unless it is left alone
	Reason   string    // of the newest failure, for people; "" when the last call went well
}

// Status says how the model does. Provider is left empty: its name is the Catalog's.
func (g *Guarded) Status() ProviderStatus {
	state := BreakerClosed
	switch g.breaker.State() { // it may change the state, which calls back: not under the lock
	case gobreaker.StateHalfOpen:
		state = BreakerHalfOpen
	case gobreaker.StateOpen:
		state = BreakerOpen
	case gobreaker.StateClosed:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := ProviderStatus{State: state, Failures: g.failures, RetryAt: g.retryAt}
	if g.last != nil {
		s.Reason = message(g.last)
	}
	return s
}

// callerLeft reports whether a call ended because its caller did not want it any more.
func callerLeft(err error) bool {
	return caxton.KindOf(err) == caxton.Canceled || errors.Is(err, context.Canceled)
}

// providerFailed reports whether err says that the provider, not the request, is at fault.
func providerFailed(err error) bool {
	switch caxton.KindOf(err) {
	case caxton.Unavailable, caxton.Exhausted, caxton.Timeout, caxton.Unauthenticated, caxton.Malformed, caxton.Internal:
		return true
	case "", caxton.Invalid, caxton.NotFound, caxton.Forbidden, caxton.Conflict, caxton.TooLarge, caxton.Canceled:
	}
	return false
}

// message returns what of err may be shown to people.
func message(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Message != "" {
		return e.Message
	}
	return "it failed"
}
