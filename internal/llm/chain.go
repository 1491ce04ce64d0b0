package llm

import (
	"context"
	"errors"
	"strings"

	"github.com/caxton/caxton"
)

// A Chain asks its models in order until one answers. A request that one of them rejects as
// wrong is not tried on the next.
type Chain []Model

// Info is the first model's.
func (c Chain) Info() Info { return c[0].Info() }

// Generate returns the first answer; Response.Provider says whose it is. When none answers,
// the error has the kind of the first failure and names every provider tried.
func (c Chain) Generate(ctx context.Context, req Request) (Response, error) {
	return c.try(ctx, req, func(ctx context.Context, m Model, req Request) (Response, error) { return m.Generate(ctx, req) })
}

// Stream is Generate with its pieces. When a model fails after it has said something, a
// Restart comes before the pieces of the next.
func (c Chain) Stream(ctx context.Context, req Request, emit func(Delta)) (Response, error) {
	said := false
	note := func(d Delta) {
		said = !d.Restart
		emit(d)
	}
	return c.try(ctx, req, func(ctx context.Context, m Model, req Request) (Response, error) {
		if said {
			note(Delta{Restart: true})
		}
		return Stream(ctx, m, req, note)
	})
}

// try asks the models in order.
func (c Chain) try(ctx context.Context, req Request, ask func(context.Context, Model, Request) (Response, error)) (Response, error) {
	var first *caxton.Error
	var tried []string
	var causes []error
	for i, m := range c {
		r := req
		if i > 0 {
			r.Model = "" // the name belongs to the first provider
		}
		res, err := ask(ctx, m, r)
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
		tried = append(tried, m.Info().Provider+": "+message(err))
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
