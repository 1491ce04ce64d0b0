package httpd

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) deadLetterRoutes(a huma.API) {
	route(s, a, operation(http.MethodGet, "/messages/dead", "list-dead-letters", "messages", "List messages that were given up, newest first"), s.listDeadLetters)
	route(s, a, operation(http.MethodGet, "/messages/dead/{ticket}", "get-dead-letter", "messages", "One message that was given up, with all that was tried"), s.getDeadLetter)
	for _, verb := range []struct {
		word, summary, many string
		state               caxton.TicketState
	}{
		{"replay", "Try a message again that was given up", "Try many messages again that were given up", caxton.LetterReplayed},
		{"drop", "Close a dead letter", "Close many dead letters", caxton.LetterDropped},
	} {
		route(s, a, operation(http.MethodPost, "/messages/dead/{ticket}/"+verb.word, verb.word+"-dead-letter", "messages", verb.summary),
			func(ctx context.Context, in *decisionInput) (*output[api.Ticket], error) {
				return s.decide(ctx, caxton.DeadLetter, in, verb.state)
			})
		route(s, a, operation(http.MethodPost, "/messages/dead/"+verb.word, verb.word+"-dead-letters", "messages", verb.many),
			func(ctx context.Context, in *deadLetterOrder) (*output[api.DeadLetterCount], error) {
				return s.decideDeadLetters(ctx, &in.Body, verb.state)
			})
	}
	route(s, a, operation(http.MethodPost, "/messages/{message}/cancel", "cancel-message", "messages", "Call off a message that is not settled yet"), s.cancelMessage)
}

type deadLettersInput struct {
	TicketPage
	State     string `query:"state" enum:"dead,replayed,dropped,all" default:"dead"`
	Code      string `query:"code" maxLength:"100" doc:"why they were given up"`
	OlderThan string `query:"older_than" maxLength:"20" doc:"given up at least so long ago, such as 24h"`
}

func (s *Server) listDeadLetters(ctx context.Context, in *deadLettersInput) (*output[api.DeadLetters], error) {
	keep, err := s.letters(in.Code, in.OlderThan)
	if err != nil {
		return nil, err
	}
	items, next, err := s.list(ctx, caxton.DeadLetter, in.State, &in.TicketPage, keep)
	return &output[api.DeadLetters]{api.DeadLetters{Items: items, Dead: items, Next: next}}, err
}

// letters returns which dead letters a filter keeps, nil for all.
func (s *Server) letters(code, olderThan string) (func(*caxton.Ticket) bool, error) {
	var before time.Time
	if olderThan != "" {
		d, err := caxton.ParseDuration(olderThan)
		if err != nil {
			return nil, err
		}
		before = s.cfg.Now().Add(-d)
	}
	if code == "" && before.IsZero() {
		return nil, nil //nolint:nilnil // nothing is sorted out
	}
	return func(t *caxton.Ticket) bool {
		return (code == "" || t.Code == code) && (before.IsZero() || !t.OpenedAt.After(before))
	}, nil
}

func (s *Server) getDeadLetter(ctx context.Context, in *TicketPath) (*output[api.DeadLetter], error) {
	t, err := s.deps.Router.Ticket(ctx, caxton.DeadLetter, in.Ticket)
	if err != nil {
		return nil, err
	}
	m, rs, err := s.messageStatus(ctx, t.MessageID)
	if err != nil {
		return nil, err
	}
	return &output[api.DeadLetter]{api.DeadLetter{Ticket: ticketFrom(&t), Message: m, Records: recordsFrom(rs)}}, nil
}

type deadLetterOrder struct {
	Body api.DeadLetterOrder
}

const (
	manyLetters   = 1000 // that one request decides unless it says otherwise
	faultsInCount = 20   // that a count tells of
)

// decideDeadLetters replays or drops those that a filter selects, oldest first. They are
// chosen before the first is decided: one that dies again meanwhile is not tried twice.
func (s *Server) decideDeadLetters(ctx context.Context, o *api.DeadLetterOrder, state caxton.TicketState) (*output[api.DeadLetterCount], error) {
	if o.DeadLetterFilter == (api.DeadLetterFilter{}) && !o.All {
		return nil, caxton.Errorf(caxton.Invalid, "filter_missing", "no filter says which dead letters are meant").
			WithHint(`give agent, code or older_than, or "all": true`)
	}
	ids, err := s.chosenLetters(ctx, &o.DeadLetterFilter)
	if err != nil {
		return nil, err
	}
	limit := o.Limit
	if limit == 0 {
		limit = manyLetters
	}
	slices.Reverse(ids)
	out := api.DeadLetterCount{Faults: []api.DeadLetterFailure{}}
	if out.More = len(ids) > limit; out.More {
		ids = ids[:limit]
	}
	start := time.Now()
	for i, id := range ids {
		if i > 0 && time.Since(start) > s.cfg.RequestTimeout/2 { // the answer is to tell what was done
			out.More = true
			break
		}
		out.Matched++
		_, err := s.deps.Router.Decide(ctx, caxton.DeadLetter, id, caxton.Decision{State: state, By: o.By, Reason: o.Reason})
		if err == nil {
			out.Done++
			continue
		}
		e, ours := errors.AsType[*caxton.Error](err)
		stop := !ours || ctx.Err() != nil || e.Kind == caxton.Internal || e.Kind == caxton.Unavailable // the next would fare no better
		if stop && out.Done == 0 || !ours {
			return nil, err
		}
		if out.Failed++; len(out.Faults) < faultsInCount {
			out.Faults = append(out.Faults, api.DeadLetterFailure{ID: id, Code: e.Code, Message: e.Message})
		}
		if stop {
			out.More = true
			break
		}
	}
	return &output[api.DeadLetterCount]{out}, nil
}

// chosenLetters returns the IDs of the open dead letters that a filter selects, newest first.
func (s *Server) chosenLetters(ctx context.Context, f *api.DeadLetterFilter) ([]string, error) {
	more, err := s.letters(f.Code, f.OlderThan)
	if err != nil {
		return nil, err
	}
	q := caxton.TicketQuery{Kind: caxton.DeadLetter, Open: true, Limit: 200}
	keep := s.byAgent(f.Agent, &q, more)
	var ids []string
	for {
		ts, next, err := s.deps.Router.Tickets(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range ts {
			if keep(&ts[i]) {
				ids = append(ids, ts[i].ID)
			}
		}
		if q.Before = next; next == "" {
			return ids, nil
		}
	}
}

type cancelInput struct {
	MessagePath
	Body *api.CancelBody `required:"false"`
}

func (s *Server) cancelMessage(ctx context.Context, in *cancelInput) (*output[api.MessageStatus], error) {
	by := "operator"
	if in.Body != nil && in.Body.By != "" {
		by = in.Body.By
	}
	id := caxton.MessageID(in.Message)
	if err := s.deps.Router.Cancel(ctx, id, by); err != nil {
		return nil, err
	}
	m, _, err := s.messageStatus(ctx, id)
	return &output[api.MessageStatus]{m}, err
}
