package httpd

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

// Tickets are what waits for people, and what messages are doing. *router.Router provides it.
type Tickets interface {
	Ticket(ctx context.Context, kind caxton.TicketKind, id string) (caxton.Ticket, error)
	Tickets(ctx context.Context, q caxton.TicketQuery) ([]caxton.Ticket, string, error)
	OpenTickets(ctx context.Context) (map[caxton.TicketKind]int, error)
	Decide(ctx context.Context, kind caxton.TicketKind, id string, d caxton.Decision) (caxton.Ticket, error)
	Cancel(ctx context.Context, id caxton.MessageID, by string) error
	Turn(ctx context.Context, conv caxton.ConversationID, id caxton.MessageID) ([]caxton.Record, error)
	BudgetUses(ctx context.Context, prefix string) ([]caxton.BudgetUse, error)
}

func (s *Server) ticketRoutes(a huma.API) {
	route(s, a, operation(http.MethodGet, "/approvals", "list-approvals", "approvals", "List what agents ask to be allowed, newest first"), s.listApprovals)
	route(s, a, operation(http.MethodGet, "/approvals/{ticket}", "get-approval", "approvals", "One approval"),
		func(ctx context.Context, in *TicketPath) (*output[api.Ticket], error) {
			return s.ticket(ctx, caxton.Approval, in.Ticket)
		})
	route(s, a, operation(http.MethodPost, "/approvals/{ticket}/approve", "approve", "approvals", "Agree: the call is made"),
		func(ctx context.Context, in *decisionInput) (*output[api.Ticket], error) {
			return s.decide(ctx, caxton.Approval, in, caxton.ApprovalGranted)
		})
	route(s, a, operation(http.MethodPost, "/approvals/{ticket}/deny", "deny", "approvals", "Refuse: the agent is told so"),
		func(ctx context.Context, in *decisionInput) (*output[api.Ticket], error) {
			return s.decide(ctx, caxton.Approval, in, caxton.ApprovalDenied)
		})
	route(s, a, operation(http.MethodGet, "/effects", "list-effects", "effects", "List tool calls whose outcome is or was unknown, newest first"), s.listEffects)
	route(s, a, operation(http.MethodGet, "/effects/{ticket}", "get-effect", "effects", "One tool call whose outcome is or was unknown"),
		func(ctx context.Context, in *TicketPath) (*output[api.Ticket], error) {
			return s.ticket(ctx, caxton.Effect, in.Ticket)
		})
	route(s, a, operation(http.MethodPost, "/effects/{ticket}/resolve", "resolve-effect", "effects", "Say what became of a tool call"), s.resolveEffect)
	route(s, a, operation(http.MethodGet, "/conversations/{conversation}/effects", "list-conversation-effects", "conversations", "The tool calls of a conversation and what became of them"), s.conversationEffects)
	s.deadLetterRoutes(a)
	route(s, a, operation(http.MethodGet, "/budgets", "list-budgets", "budgets", "List how much of each budget is used"), s.listBudgets)
}

// TicketPage selects a page of tickets.
type TicketPage struct {
	Agent        string `query:"agent" maxLength:"200" doc:"UUID, name, slug or file stem; of a removed agent its ID or slug"`
	Conversation string `query:"conversation" maxLength:"128"`
	Limit        int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor       string `query:"cursor" maxLength:"400" doc:"next of the page before"`
}

// allTickets is the state that selects tickets in any state.
const allTickets = "all"

// list returns a page of tickets of a kind. state is a state, all, or "" for those that are
// open. more, unless nil, sorts out further ones: then a page may have fewer than the limit.
func (s *Server) list(ctx context.Context, kind caxton.TicketKind, state string, p *TicketPage, more func(*caxton.Ticket) bool) ([]api.Ticket, string, error) {
	q := caxton.TicketQuery{Kind: kind, ConversationID: caxton.ConversationID(p.Conversation), Before: p.Cursor, Limit: p.Limit}
	switch state {
	case "":
		q.Open = true
	case allTickets:
	default:
		q.State = caxton.TicketState(state)
	}
	keep := s.byAgent(p.Agent, &q, more)
	items := []api.Ticket{}
	for range maxTicketPages {
		q.Limit = p.Limit - len(items)
		ts, next, err := s.deps.Router.Tickets(ctx, q)
		if err != nil {
			return nil, "", err
		}
		for i := range ts {
			if keep(&ts[i]) {
				items = append(items, ticketFrom(&ts[i]))
			}
		}
		if q.Before = next; next == "" || len(items) == p.Limit {
			break
		}
	}
	return items, q.Before, nil
}

// maxTicketPages bounds what one request looks through.
const maxTicketPages = 50

// byAgent narrows a query to an agent. Of one that is gone only ID and slug are known, and
// they stand in the tickets.
func (s *Server) byAgent(ref string, q *caxton.TicketQuery, more func(*caxton.Ticket) bool) func(*caxton.Ticket) bool {
	if more == nil {
		more = func(*caxton.Ticket) bool { return true }
	}
	if ref == "" {
		return more
	}
	if a, err := s.deps.Registry.Resolve(ref); err == nil {
		q.AgentID = a.ID
		return more
	}
	return func(t *caxton.Ticket) bool { return (t.Agent == ref || string(t.AgentID) == ref) && more(t) }
}

type approvalsInput struct {
	TicketPage
	State string `query:"state" enum:"pending,approved,denied,expired,all" default:"pending"`
}

func (s *Server) listApprovals(ctx context.Context, in *approvalsInput) (*output[api.Approvals], error) {
	items, next, err := s.list(ctx, caxton.Approval, in.State, &in.TicketPage, nil)
	return &output[api.Approvals]{api.Approvals{Items: items, Approvals: items, Next: next}}, err
}

type effectsInput struct {
	TicketPage
	State   string `query:"state" enum:"unknown,done,retry,failed,all" doc:"all when absent"`
	Unknown bool   `query:"unknown" doc:"only those of which nobody has said yet what became of them"`
}

func (s *Server) listEffects(ctx context.Context, in *effectsInput) (*output[api.Effects], error) {
	state := in.State
	switch {
	case in.Unknown && state != "" && state != string(caxton.EffectUnknown):
		return nil, caxton.Errorf(caxton.Invalid, "state_twice", "unknown and state=%s exclude each other", state).WithHint("give one of the two")
	case in.Unknown:
		state = string(caxton.EffectUnknown)
	case state == "":
		state = allTickets
	}
	items, next, err := s.list(ctx, caxton.Effect, state, &in.TicketPage, nil)
	return &output[api.Effects]{api.Effects{Items: items, Effects: items, Next: next}}, err
}

// TicketPath names a ticket in a path.
type TicketPath struct {
	Ticket string `path:"ticket" minLength:"1" maxLength:"128" doc:"ID of the ticket"`
}

func (s *Server) ticket(ctx context.Context, kind caxton.TicketKind, id string) (*output[api.Ticket], error) {
	t, err := s.deps.Router.Ticket(ctx, kind, id)
	return &output[api.Ticket]{ticketFrom(&t)}, err
}

type decisionInput struct {
	TicketPath
	Body *api.DecisionBody `required:"false"`
}

func (in *decisionInput) decision(state caxton.TicketState) caxton.Decision {
	d := caxton.Decision{State: state}
	if in.Body != nil {
		d.By, d.Reason = in.Body.By, in.Body.Reason
	}
	return d
}

func (s *Server) decide(ctx context.Context, kind caxton.TicketKind, in *decisionInput, state caxton.TicketState) (*output[api.Ticket], error) {
	t, err := s.deps.Router.Decide(ctx, kind, in.Ticket, in.decision(state))
	return &output[api.Ticket]{ticketFrom(&t)}, err
}

type resolveInput struct {
	TicketPath
	Body api.Resolution
}

func (s *Server) resolveEffect(ctx context.Context, in *resolveInput) (*output[api.Ticket], error) {
	d := caxton.Decision{By: in.Body.By, Reason: in.Body.Reason}
	switch in.Body.Decision {
	case "done":
		d.State = caxton.EffectDone
	case "retry":
		d.State = caxton.EffectRetry
	default: // the schema knows no other
		d.State = caxton.EffectFailed
	}
	if len(in.Body.Result) > 0 && string(in.Body.Result) != "null" {
		if d.State != caxton.EffectDone {
			return nil, caxton.Errorf(caxton.Invalid, "result_without_done", "there is a result, but the decision is %s", in.Body.Decision).
				WithHint("a result belongs to the decision done")
		}
		d.Result = in.Body.Result
	}
	t, err := s.deps.Router.Decide(ctx, caxton.Effect, in.Ticket, d)
	return &output[api.Ticket]{ticketFrom(&t)}, err
}

func ticketFrom(t *caxton.Ticket) api.Ticket {
	out := api.Ticket{
		ID: t.ID, Kind: string(t.Kind), State: string(t.State), Open: t.State.Open(), ConversationID: string(t.ConversationID),
		MessageID: string(t.MessageID), AgentID: string(t.AgentID), Agent: t.Agent, OpenedAt: t.OpenedAt.UTC(),
		ExpiresAt: at(t.ExpiresAt), ClosedAt: at(t.ClosedAt), Code: t.Code, Reason: t.Reason, Attempts: t.Attempts, Decisions: []api.Decision{},
	}
	if t.Call != nil {
		c := callFrom(t.Call)
		out.Call = &c
	}
	if t.Kind == caxton.Approval {
		p := api.ApprovalPolicy{Need: max(1, t.Policy.Need), Approvers: t.Policy.Approvers, Expires: caxton.Duration(t.Policy.Expires).String()}
		if p.Approvers == nil {
			p.Approvers = []string{}
		}
		out.Policy = &p
	}
	for _, d := range t.Decisions {
		out.Decisions = append(out.Decisions, api.Decision{By: d.By, State: string(d.State), Reason: d.Reason, Result: d.Result, At: d.At.UTC()})
	}
	return out
}

func callFrom(c *caxton.ToolCallRef) api.ToolCall {
	return api.ToolCall{CallID: c.CallID, Tool: c.Tool, Arguments: c.Arguments, ArgsHash: c.ArgsHash, Key: c.Key, Idempotent: c.Idempotent}
}

// unreadable is the error of a record whose body cannot be read.
func unreadable(r *caxton.Record, err error) error {
	return caxton.Errorf(caxton.Internal, "journal_unreadable", "record %d of %s cannot be read", r.Seq, r.ConversationID).WithCause(err)
}

// bodyOf reads the body of a record.
func bodyOf[T any](r *caxton.Record) (T, error) {
	var b T
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return b, unreadable(r, err)
	}
	return b, nil
}
