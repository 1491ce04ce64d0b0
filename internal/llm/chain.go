package llm

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// A Chain asks its models in order until one answers. A request that one of them rejects as
// wrong is not tried on the next.
type Chain []Model

// Info is the first model's.
func (c Chain) Info() Info { return c[0].Info() }

// Infos names every model that may answer.
func (c Chain) Infos() []Info {
	all := make([]Info, len(c))
	for i, m := range c {
		all[i] = m.Info()
	}
	return all
}

// Generate returns the first answer; Response.Provider says whose it is. A model that is not
// the last has to answer ten seconds before the deadline for each one after it, or in half
// of the time that is left when that is more. When none answers, the error has the kind of
// the first failure and names every provider tried.
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
	var first error
	var tried []string
	var causes []error
	for i, m := range c {
		if i > 0 {
			req.Model = "" // the name belongs to the first provider
		}
		share, cancel := c.share(ctx, i)
		res, err := ask(share, m, req)
		cancel()
		if err == nil {
			res.Provider = cmp.Or(res.Provider, m.Info().Provider)
			return res, nil
		}
		if !another(err) || ctx.Err() != nil || len(c) == 1 {
			return Response{}, err
		}
		first = cmp.Or(first, err)
		tried = append(tried, m.Info().Provider+": "+message(err))
		causes = append(causes, err)
	}
	err := caxton.Errorf(caxton.KindOf(first), "models_failed", "no model answered (%s)", strings.Join(tried, "; ")).WithCause(errors.Join(causes...))
	if e, ok := errors.AsType[*caxton.Error](first); ok {
		err.Hint = e.Hint
	}
	return Response{}, err
}

// reserve is the time that a model must leave to each one after it, when there is a deadline:
// else one that hangs would leave nothing for those that could answer.
const reserve = 10 * time.Second

// share returns the context of the i-th model.
func (c Chain) share(ctx context.Context, i int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	after := len(c) - i - 1
	if !ok || after == 0 {
		return ctx, func() {}
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, left-min(left/2, time.Duration(after)*reserve))
}

// another reports whether another provider might do better.
func another(err error) bool {
	switch caxton.KindOf(err) {
	case caxton.Unavailable, caxton.Exhausted, caxton.Timeout, caxton.Unauthenticated, caxton.Forbidden, caxton.Malformed, caxton.NotFound, caxton.TooLarge, caxton.Internal:
		return true
	case caxton.Invalid, caxton.Conflict, caxton.Canceled:
	}
	return false
}
