package prompt

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/telemetry"
)

// Handle answers one message. Messages that need no answer (an inform, a failure, …) get
// none. Errors: what the model or the log said; an error with *caxton.Parked as its cause
// when the turn waits for an approval or for its budget; one with *caxton.UnknownEffects,
// of kind Conflict and code effect_unknown, when nobody knows whether a tool call took
// effect. A turn whose budget is used up, or that nobody approved, is answered with refuse.
func (a *Agent) Handle(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
	m := &turn.Message
	if outputs, done := a.short(m); done {
		return outputs, nil
	}
	past, err := newPast(turn.Past)
	if err != nil {
		return nil, err
	}
	t := &turnState{a: a, turn: &turn, past: past, used: map[string]bool{}, bodies: map[string]string{}}
	text, err := t.run(ctx)
	if refusal, ok := refusalOf(err); ok {
		return []caxton.Message{m.Reply(caxton.Refuse, refusal)}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := t.remember(ctx, text); err != nil {
		return nil, err
	}
	return []caxton.Message{reply(m, text)}, nil
}

// short answers messages that need no model.
func (a *Agent) short(m *caxton.Message) (outputs []caxton.Message, done bool) {
	if m.Performative.Replies() || m.Performative == caxton.RejectProposal {
		return nil, true
	}
	if strings.TrimSpace(m.Text()) == "" {
		return []caxton.Message{m.Reply(caxton.NotUnderstood, caxton.TextContent("The message is empty: say what you want."))}, true
	}
	return nil, false
}

// turnState is one turn at work. It belongs to one goroutine; tool calls share what mu guards.
type turnState struct {
	a     *Agent
	turn  *caxton.Turn
	past  past
	calls int             // tool calls so far: their positions make idempotency keys
	used  map[string]bool // IDs of calls so far

	at time.Time // of the call that begins, when it is not to be the clock's; zero for that

	mu      sync.Mutex                         // guards all below
	bodies  map[string]string                  // blob of the full result, by call ID
	results map[string]caxton.ToolReturnedBody // by call ID; nil when nobody asks for them
}

// run is the tool loop. It returns the text of the answer.
func (t *turnState) run(ctx context.Context) (string, error) {
	if err := t.bookLost(ctx); err != nil {
		return "", err
	}
	if err := t.approveMessage(ctx); err != nil {
		return "", err
	}
	told, err := t.a.told(ctx, &t.turn.Message)
	if err != nil {
		return "", err
	}
	known, err := t.recall(ctx, told)
	if err != nil {
		return "", err
	}
	req, err := t.a.request(&t.turn.Message, told, known)
	if err != nil {
		return "", err
	}
	steps := cmp.Or(t.a.def.Performance.MaxSteps, t.a.h.cfg.MaxSteps)
	for step := 0; ; step++ {
		last := step >= steps
		if last { // one more call, without tools: it must answer now
			req.Tools = nil
			req.Messages = append(req.Messages, llm.Message{Role: llm.User, Text: "You have used all the tool calls you may. Answer now with what you know."})
		}
		res, err := t.model(ctx, step, req)
		if err != nil {
			return "", err
		}
		if len(res.ToolCalls) == 0 || last {
			return answer(res)
		}
		results, err := t.tools(ctx, step, res.ToolCalls)
		if err != nil {
			return "", err
		}
		req.Messages = append(req.Messages, llm.Message{Role: llm.Assistant, Text: res.Text, ToolCalls: res.ToolCalls})
		req.Messages = append(req.Messages, results...)
	}
}

// answer returns the text of a last response.
func answer(res llm.Response) (string, error) {
	text := strings.TrimSpace(res.Text)
	switch {
	case text != "":
		return text, nil
	case res.Stop == llm.StopFilter:
		return "", caxton.Errorf(caxton.Invalid, "model_refused", "the model's provider refused to answer")
	case res.Stop == llm.StopLength:
		return "", caxton.Errorf(caxton.Invalid, "answer_cut", "the model ran out of tokens before it said anything").WithHint("raise max_tokens")
	}
	return "", caxton.Errorf(caxton.Unavailable, "answer_empty", "the model answered with nothing").WithHint("try again, or use another model")
}

// model returns the recorded answer of a step, or calls the model and records its answer.
func (t *turnState) model(ctx context.Context, step int, req llm.Request) (llm.Response, error) {
	if b, ok := t.past.models[step]; ok {
		res := llm.Response{Text: b.Text, Stop: llm.StopReason(b.Stop), Provider: b.Provider, Model: b.Model}
		if len(b.ToolCalls) > 0 {
			if err := json.Unmarshal(b.ToolCalls, &res.ToolCalls); err != nil {
				return res, caxton.Errorf(caxton.Internal, "journal_unreadable", "a recorded model answer cannot be read").WithCause(err)
			}
		}
		for _, c := range res.ToolCalls {
			t.used[c.ID] = true
		}
		return res, nil
	}
	hash, err := llm.Hash(req)
	if err != nil {
		return llm.Response{}, err
	}
	h := t.a.h
	held, limits, err := t.reserveModel(ctx, step, &req)
	if err != nil {
		return llm.Response{}, err
	}
	call, cancel := context.WithTimeout(ctx, limits.timeout)
	defer cancel()
	start := time.Now()
	res, err := t.ask(call, step, req)
	took := time.Since(start)
	h.metrics.model(res, t.a.model.Info(), took, err)
	if err != nil {
		if berr := t.bookFailedModel(ctx, held, err, took); berr != nil {
			return res, berr
		}
		if call.Err() != nil && ctx.Err() == nil {
			err = caxton.Errorf(caxton.Timeout, "model_timeout", "the model did not answer in time").WithCause(err)
		}
		return res, err
	}
	ctx = context.WithoutCancel(ctx) // it answered: that goes into the log even when the turn's time is over
	t.distinct(res.ToolCalls, step)
	h.cfg.Logger.DebugContext(ctx, "model answered", "agent", t.a.slug, "agent_id", t.turn.Agent.ID, "message_id", t.turn.Message.ID,
		"step", step, "provider", res.Provider, "model", res.Model, "tool_calls", len(res.ToolCalls), "duration", took)
	b := caxton.ModelCalledBody{
		Step: step, Provider: res.Provider, Model: res.Model, RequestHash: hash, Text: res.Text, Stop: string(res.Stop),
		InputTokens: res.Usage.InputTokens, OutputTokens: res.Usage.OutputTokens, Millis: took.Milliseconds(),
	}
	if len(res.ToolCalls) > 0 {
		for i := range res.ToolCalls { // what is no JSON is kept as a JSON string
			if !json.Valid(res.ToolCalls[i].Arguments) {
				res.ToolCalls[i].Arguments = caxton.TextContent(string(res.ToolCalls[i].Arguments))
			}
		}
		if b.ToolCalls, err = json.Marshal(res.ToolCalls); err != nil {
			return res, caxton.Errorf(caxton.Malformed, "model_answer_malformed", "the model's tool calls cannot be read").WithCause(err)
		}
	}
	r, err := t.record(caxton.RecordModelCalled, b)
	if err != nil {
		return res, err
	}
	return res, t.book(ctx, held, t.modelCost(held, res, took), r)
}

// ask is generate within a span.
func (t *turnState) ask(ctx context.Context, step int, req llm.Request) (llm.Response, error) {
	info := t.a.model.Info()
	model := cmp.Or(req.Model, info.Model)
	ctx, span := telemetry.Start(ctx, telemetry.Calling, "chat", model)
	res, err := t.generate(ctx, step, req)
	if span.Recorded() {
		span.Set(
			telemetry.Str("gen_ai.operation.name", "chat"),
			telemetry.Str("gen_ai.provider.name", cmp.Or(res.Provider, info.Provider)),
			telemetry.Str("gen_ai.request.model", model),
			telemetry.Int("caxton.turn.step", step),
		)
		if err == nil {
			span.Set(
				telemetry.Str("gen_ai.response.model", res.Model),
			)
			span.Strs("gen_ai.response.finish_reasons", string(res.Stop))
			span.Set(
				telemetry.Int("gen_ai.usage.input_tokens", res.Usage.InputTokens),
				telemetry.Int("gen_ai.usage.output_tokens", res.Usage.OutputTokens),
			)
		}
	}
	span.End(err)
	return res, err
}

// generate asks the model, and shows the pieces of its answer to who listens.
func (t *turnState) generate(ctx context.Context, step int, req llm.Request) (llm.Response, error) {
	feed := t.a.h.cfg.Feed
	if feed == nil || !feed.Active() {
		return t.a.model.Generate(ctx, req)
	}
	m := &t.turn.Message
	d := event.Delta{ConversationID: m.ConversationID, MessageID: m.ID, AgentID: m.ReceiverID, Step: step}
	return llm.Stream(ctx, t.a.model, req, func(piece llm.Delta) {
		if piece.Text == "" && !piece.Restart {
			return
		}
		if piece.Restart {
			d.Index = 0
		}
		out := d
		out.Text, out.Restart = piece.Text, piece.Restart
		d.Index++
		feed.Publish(m.ConversationID, event.Event{Delta: &out})
	})
}

// distinct gives every call an ID of its own in the turn: models repeat theirs, or give none.
func (t *turnState) distinct(calls []llm.ToolCall, step int) {
	for i := range calls {
		id := calls[i].ID
		if id == "" || len(id) > 64 || t.used[id] {
			id = fmt.Sprintf("call_%d_%d", step, i)
		}
		for t.used[id] {
			id += "x"
		}
		t.used[id] = true
		calls[i].ID = id
	}
}

// label returns the tool's name for metrics; what a model made up is "unknown".
func (a *Agent) label(name string) string {
	if a.tools.Has(name) {
		return name
	}
	return "unknown"
}

func toolMessage(r caxton.ToolReturnedBody) llm.Message {
	return llm.Message{Role: llm.ToolRole, Text: r.Text, ToolCallID: r.CallID, ToolName: r.Tool, IsError: r.IsError, MediaType: r.MediaType}
}

// errorText returns what a model is told of a failed call.
func errorText(err error) string {
	var e *caxton.Error
	if !errors.As(err, &e) {
		return "the tool failed"
	}
	if e.Hint != "" {
		return e.Message + " (" + e.Hint + ")"
	}
	return e.Message
}

func (t *turnState) keep(r *caxton.ToolReturnedBody) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.BlobHash != "" {
		t.bodies[r.CallID] = r.BlobHash
	}
	if t.results != nil {
		t.results[r.CallID] = *r
	}
}

// Result returns the full result of an earlier call of the turn: it makes turnState the
// tools' Results.
func (t *turnState) Result(ctx context.Context, callID string) ([]byte, string, error) {
	t.mu.Lock()
	hash, ok := t.bodies[callID]
	var known []string
	for id := range t.bodies {
		known = append(known, id)
	}
	t.mu.Unlock()
	if !ok {
		e := caxton.Errorf(caxton.NotFound, "result_not_found", "there is no result of a call %q", callID)
		if len(known) > 0 {
			e = e.WithHint("there are results of %s", strings.Join(known, ", "))
		}
		return nil, "", e
	}
	return t.a.h.log.Blob(ctx, hash)
}

func (t *turnState) append(ctx context.Context, kind caxton.RecordKind, body any) error {
	r, err := t.record(kind, body)
	if err != nil {
		return err
	}
	return t.a.h.log.Append(ctx, r)
}

func (t *turnState) record(kind caxton.RecordKind, body any) (caxton.Record, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return caxton.Record{}, caxton.Errorf(caxton.Internal, "record_unprintable", "a record of the turn cannot be written").WithCause(err)
	}
	m := &t.turn.Message
	at := t.a.h.cfg.Now()
	if (kind == caxton.RecordToolIntended || kind == caxton.RecordApprovalAsked) && !t.at.IsZero() {
		at = t.at
	}
	return caxton.Record{
		ConversationID: m.ConversationID, At: at, Kind: kind, MessageID: m.ID, AgentID: m.ReceiverID, Body: b,
	}, nil
}
