package prompt

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/tool"
)

// Handle answers one message. Messages that need no answer (an inform, a failure, …) get
// none. Errors: what the model or the log said; Conflict with the code effect_unknown when a
// crash left a tool call open that must not be repeated.
func (a *Agent) Handle(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
	m := &turn.Message
	if m.Performative.Replies() {
		return nil, nil
	}
	if strings.TrimSpace(m.Text()) == "" {
		reply := m.Reply(caxton.NotUnderstood, caxton.TextContent("The message is empty: say what you want."))
		return []caxton.Message{reply}, nil
	}
	past, err := newPast(turn.Past)
	if err != nil {
		return nil, err
	}
	t := &turnState{a: a, turn: &turn, past: past, used: map[string]bool{}, bodies: map[string]string{}}
	text, err := t.run(ctx)
	if err != nil {
		return nil, err
	}
	return []caxton.Message{m.Reply(caxton.Inform, caxton.TextContent(text))}, nil
}

// turnState is one turn at work. It belongs to one goroutine; tool calls share what mu guards.
type turnState struct {
	a     *Agent
	turn  *caxton.Turn
	past  past
	calls int             // tool calls so far: their positions make idempotency keys
	used  map[string]bool // IDs of calls so far

	mu     sync.Mutex        // guards bodies
	bodies map[string]string // blob of the full result, by call ID
}

// run is the tool loop. It returns the text of the answer.
func (t *turnState) run(ctx context.Context) (string, error) {
	req, err := t.a.request(ctx, &t.turn.Message)
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
	call, cancel := context.WithTimeout(ctx, cmp.Or(t.a.def.LLM.Timeout, h.cfg.ModelTimeout))
	defer cancel()
	start := time.Now()
	res, err := t.a.model.Generate(call, req)
	took := time.Since(start)
	h.metrics.model(res, t.a.model.Info(), took, err)
	if err != nil {
		if call.Err() != nil && ctx.Err() == nil {
			err = caxton.Errorf(caxton.Timeout, "model_timeout", "the model did not answer in time").WithCause(err)
		}
		return res, err
	}
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
	return res, t.append(ctx, caxton.RecordModelCalled, b)
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

// tools runs the calls of one step side by side and returns their results in order.
func (t *turnState) tools(ctx context.Context, step int, calls []llm.ToolCall) ([]llm.Message, error) {
	intents := make([]caxton.ToolIntendedBody, len(calls))
	var fresh []caxton.Record
	for i, c := range calls {
		intents[i] = t.intent(step, c)
		if old, ok := t.past.intents[c.ID]; ok {
			intents[i] = old
			continue
		}
		r, err := t.record(caxton.RecordToolIntended, intents[i])
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, r)
	}
	for _, b := range intents {
		_, returned := t.past.returns[b.CallID]
		if _, open := t.past.intents[b.CallID]; open && !returned && !b.Idempotent {
			return nil, caxton.Errorf(caxton.Conflict, "effect_unknown",
				"the server stopped while the tool %s ran; nobody knows whether it took effect (call %s)", b.Tool, b.CallID).
				WithHint("look at what the tool was to do, then send the message again or leave it")
		}
	}
	if len(fresh) > 0 {
		if err := t.a.h.log.Append(ctx, fresh...); err != nil {
			return nil, err
		}
	}
	results := make([]llm.Message, len(calls))
	errs := make([]error, len(calls))
	slots := make(chan struct{}, t.a.h.cfg.ParallelCalls)
	var wg sync.WaitGroup
	for i := range calls {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			results[i], errs[i] = t.call(ctx, intents[i])
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

// intent returns the ledger's entry for a call about to run.
func (t *turnState) intent(step int, c llm.ToolCall) caxton.ToolIntendedBody {
	sum := sha256.Sum256(c.Arguments)
	key := sha256.Sum256(fmt.Appendf(nil, "%s:%d", t.turn.Message.ID, t.calls))
	t.calls++
	return caxton.ToolIntendedBody{
		Step: step, CallID: c.ID, Tool: c.Name, Arguments: c.Arguments, ArgsHash: hex.EncodeToString(sum[:]),
		Key: hex.EncodeToString(key[:16]), Idempotent: t.a.tools.IdempotentCall(c.Name, c.Arguments),
	}
}

// call returns the recorded result of a call, or runs it and records its result. A tool
// that fails is an answer to the model; the error is only for what stops the turn.
func (t *turnState) call(ctx context.Context, b caxton.ToolIntendedBody) (llm.Message, error) {
	if r, ok := t.past.returns[b.CallID]; ok {
		t.keep(b.CallID, r.BlobHash)
		return toolMessage(r), nil
	}
	h := t.a.h
	start := time.Now()
	res, err := t.a.tools.Call(ctx, b.Tool, tool.Call{
		ID: b.CallID, Args: b.Arguments, AgentID: t.turn.Agent.ID, Key: b.Key, Results: t,
	})
	if err != nil && ctx.Err() != nil { // what came of it is not known: the intent stays open
		return llm.Message{}, caxton.Errorf(caxton.Timeout, "turn_timeout", "the turn ended while the tool %s ran", b.Tool).WithCause(ctx.Err())
	}
	ctx = context.WithoutCancel(ctx) // it happened: that goes into the log even when the turn's time is over
	r := caxton.ToolReturnedBody{
		CallID: b.CallID, Tool: b.Tool, Text: res.Text, Data: res.Data, MediaType: res.MediaType, Millis: time.Since(start).Milliseconds(),
	}
	status := "ok"
	if err != nil {
		status = "error"
		r.IsError, r.Text = true, errorText(err)
	}
	h.metrics.tool(t.a.label(b.Tool), status, time.Since(start))
	h.cfg.Logger.InfoContext(ctx, "tool called", "agent", t.a.slug, "agent_id", t.turn.Agent.ID, "message_id", t.turn.Message.ID,
		"conversation_id", t.turn.Message.ConversationID, "tool", b.Tool, "status", status, "duration", time.Since(start))
	if err == nil && res.Body != nil {
		if r.BlobHash, err = h.log.PutBlob(ctx, res.Body, res.MediaType); err != nil {
			return llm.Message{}, err
		}
		t.keep(b.CallID, r.BlobHash)
	}
	return toolMessage(r), t.append(ctx, caxton.RecordToolReturned, r)
}

// label returns the tool's name for metrics; what a model made up is "unknown".
func (a *Agent) label(name string) string {
	if a.def.HasTool(name) {
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

func (t *turnState) keep(callID, blob string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if blob != "" {
		t.bodies[callID] = blob
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
	return caxton.Record{
		ConversationID: m.ConversationID, At: t.a.h.cfg.Now(), Kind: kind, MessageID: m.ID, AgentID: m.ReceiverID, Body: b,
	}, nil
}

// past is what earlier attempts at the turn left in the log.
type past struct {
	models  map[int]caxton.ModelCalledBody
	intents map[string]caxton.ToolIntendedBody
	returns map[string]caxton.ToolReturnedBody
}

// newPast reads the records of earlier attempts. A record that cannot be read is an error:
// a turn that went on without it could do a second time what the record tells of.
func newPast(records []caxton.Record) (past, error) {
	p := past{map[int]caxton.ModelCalledBody{}, map[string]caxton.ToolIntendedBody{}, map[string]caxton.ToolReturnedBody{}}
	for _, r := range records {
		var err error
		switch r.Kind {
		case caxton.RecordModelCalled:
			var b caxton.ModelCalledBody
			if err = json.Unmarshal(r.Body, &b); err == nil && b.Useful() {
				p.models[b.Step] = b
			}
		case caxton.RecordToolIntended:
			var b caxton.ToolIntendedBody
			err = json.Unmarshal(r.Body, &b)
			p.intents[b.CallID] = b
		case caxton.RecordToolReturned:
			var b caxton.ToolReturnedBody
			err = json.Unmarshal(r.Body, &b)
			p.returns[b.CallID] = b
		case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordSettled:
		}
		if err != nil {
			return p, caxton.Errorf(caxton.Internal, "journal_unreadable", "record %d of conversation %s cannot be read", r.Seq, r.ConversationID).
				WithHint("the turn stops, because going on could repeat an effect; check the database").WithCause(err)
		}
	}
	return p, nil
}
