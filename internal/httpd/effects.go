package httpd

import (
	"context"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

type conversationEffectsInput struct {
	ConversationPath
	Limit int `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"the last so many"`
}

func (s *Server) conversationEffects(ctx context.Context, in *conversationEffectsInput) (*output[api.ConversationEffects], error) {
	const page = 1000 // records read at once
	e := effects{at: map[effectKey]int{}, of: map[caxton.MessageID][]int{}}
	for after, more := int64(0), true; more; {
		rs, err := s.deps.Router.Records(ctx, caxton.ConversationID(in.Conversation), after, page)
		if err != nil {
			return nil, err
		}
		for i := range rs {
			if err := e.add(&rs[i]); err != nil {
				return nil, err
			}
			after = rs[i].Seq
		}
		more = len(rs) == page
	}
	out := api.ConversationEffects{Items: e.all, Total: len(e.all)}
	if n := len(out.Items); n > in.Limit {
		out.Items = out.Items[n-in.Limit:]
	}
	slugs := map[string]string{}
	for _, a := range s.deps.Registry.Agents() {
		slugs[string(a.ID)] = a.Slug
	}
	for i := range out.Items {
		o := &out.Items[i]
		if o.Agent = slugs[o.AgentID]; o.Agent == "" {
			o.Agent = o.AgentID
		}
	}
	if out.Items == nil {
		out.Items = []api.ToolEffect{}
	}
	out.Effects = out.Items
	return &output[api.ConversationEffects]{out}, nil
}

// The outcomes of a tool call.
const (
	callWaiting = "waiting"
	callRunning = "running"
	callDone    = "done"
	callFailed  = "failed"
	callUnknown = "unknown"
	callDenied  = "denied"
	callNotRun  = "not_run"
)

// An effectKey names a tool call of a conversation. The model chooses the ID of a call, so
// only the message tells whose it is.
type effectKey struct {
	message caxton.MessageID
	call    string
}

// effects are the tool calls of a conversation, folded from its log.
type effects struct {
	all []api.ToolEffect
	at  map[effectKey]int          // in all
	of  map[caxton.MessageID][]int // those of a message
}

// call returns the entry of a call, which is added when it is the first heard of it.
func (e *effects) call(r *caxton.Record, id string, ref *caxton.ToolCallRef) *api.ToolEffect {
	k := effectKey{r.MessageID, id}
	i, known := e.at[k]
	if !known {
		i = len(e.all)
		e.at[k] = i
		e.of[r.MessageID] = append(e.of[r.MessageID], i)
		e.all = append(e.all, api.ToolEffect{
			ToolCall: api.ToolCall{CallID: id}, MessageID: string(r.MessageID), AgentID: string(r.AgentID), Outcome: callWaiting,
		})
	}
	if o := &e.all[i]; ref != nil && o.Key == "" {
		o.ToolCall = callFrom(ref)
	}
	return &e.all[i]
}

func (e *effects) add(r *caxton.Record) error {
	switch r.Kind {
	case caxton.RecordToolIntended:
		b, err := bodyOf[caxton.ToolIntendedBody](r)
		if err != nil {
			return err
		}
		o := e.call(r, b.CallID, b.Ref())
		if o.Times++; o.Times == 1 {
			o.IntendedAt = at(r.At)
		}
		o.Outcome = callRunning
	case caxton.RecordToolReturned:
		b, err := bodyOf[caxton.ToolReturnedBody](r)
		if err != nil {
			return err
		}
		o := e.call(r, b.CallID, nil)
		o.Tool, o.Text, o.Data, o.Blob, o.Millis, o.ReturnedAt = b.Tool, b.Text, b.Data, b.BlobHash, b.Millis, at(r.At)
		switch {
		case o.Outcome == callDenied:
		case b.NotRun:
			o.Outcome = callNotRun
			o.Times--
		case b.IsError:
			o.Outcome = callFailed
		default:
			o.Outcome = callDone
		}
	case caxton.RecordApprovalAsked:
		b, err := bodyOf[caxton.ApprovalAskedBody](r)
		if err != nil {
			return err
		}
		if c := b.Ticket.Call; c != nil && isCall(c) {
			e.call(r, c.CallID, c).Approval = &api.EffectDecision{Ticket: b.Ticket.ID, State: string(b.Ticket.State)}
		}
	case caxton.RecordDecided:
		b, err := bodyOf[caxton.DecidedBody](r)
		if err != nil {
			return err
		}
		e.decided(r, &b)
	case caxton.RecordSettled:
		e.settled(r)
	case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordModelCalled, caxton.RecordCancelAsked, caxton.RecordParked, caxton.RecordReopened,
		caxton.RecordBudgetReserved, caxton.RecordBudgetSettled, caxton.RecordForked, caxton.RecordArchived, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
	}
	return nil
}

// isCall reports whether an approval is for a tool call, and not for a message as a whole.
func isCall(c *caxton.ToolCallRef) bool { return c.CallID != "message" }

// decided notes what somebody said of a call.
func (e *effects) decided(r *caxton.Record, b *caxton.DecidedBody) {
	if b.Call == nil || !isCall(b.Call) {
		return
	}
	o := e.call(r, b.Call.CallID, b.Call)
	d := &api.EffectDecision{Ticket: b.ID, State: string(b.State), By: b.Decision.By, Reason: b.Decision.Reason}
	switch b.Kind {
	case caxton.Approval:
		o.Approval = d
	case caxton.Effect:
		o.Resolution = d
	case caxton.DeadLetter:
	}
	switch b.State {
	case caxton.ApprovalDenied, caxton.ApprovalExpired, caxton.ApprovalWithdrawn:
		o.Outcome = callDenied
	case caxton.EffectDone:
		o.Outcome = callDone
	case caxton.EffectFailed:
		o.Outcome = callFailed
	case caxton.EffectRetry:
		o.Outcome = callRunning
	case caxton.ApprovalPending, caxton.ApprovalGranted, caxton.EffectUnknown, caxton.LetterDead, caxton.LetterReplayed, caxton.LetterDropped:
	}
}

// settled closes what a message had begun: nobody waits for it any more, so what has not come
// back is of unknown outcome.
func (e *effects) settled(r *caxton.Record) {
	for _, i := range e.of[r.MessageID] {
		if o := &e.all[i]; o.Outcome == callRunning {
			o.Outcome = callUnknown
		}
	}
}
