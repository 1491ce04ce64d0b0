package prompt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/prometheus/client_golang/prometheus"
)

// Shadow returns what the agent would have answered and done. Its model is asked; all else is
// not done: a call of a tool that the turn in past made too has its result from there, any
// other is told that it is not carried out; nothing is approved, booked, remembered or logged.
func (a *Agent) Shadow(ctx context.Context, turn caxton.Turn, past []caxton.Record) (caxton.ShadowTurn, error) {
	var out caxton.ShadowTurn
	if outputs, done := a.short(&turn.Message); done {
		out.Outputs = outputs
		return out, nil
	}
	tools := &shadowTools{toolbox: a.tools, log: a.h.log}
	own := *a
	own.def.Approval, own.def.Budget = caxton.ApprovalSettings{}, caxton.Budgets{}
	own.h = a.h.shadowed()
	own.tools = tools
	t := &turnState{a: &own, turn: &turn, used: map[string]bool{}, bodies: map[string]string{}}
	var err error
	if t.past, err = newPast(nil); err != nil {
		return out, err
	}
	known, err := tools.read(past)
	if err != nil {
		return out, err
	}
	t.past.recalled = known // what was remembered before the turn that counts, and not of it
	text, err := t.run(ctx)
	out.Calls = tools.made()
	if refusal, ok := refusalOf(err); ok {
		out.Outputs = []caxton.Message{turn.Message.Reply(caxton.Refuse, refusal)}
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.Outputs = []caxton.Message{reply(&turn.Message, text)}
	return out, nil
}

// shadowed returns handlers that leave nothing behind, but for what tools do.
func (h *Handlers) shadowed() *Handlers {
	cfg := h.cfg
	cfg.Feed, cfg.Logger, cfg.ApproveTools, cfg.Budgets = nil, slog.New(slog.DiscardHandler), nil, caxton.Budgets{}
	log := &shadowLog{Log: h.log, blobs: map[string][]byte{}}
	return &Handlers{models: h.models, tools: h.tools, log: log, cfg: cfg, metrics: newMetrics(prometheus.NewRegistry())}
}

// A Rehearsal makes the calls of a module's turn that counts for nothing, as Shadow makes those
// of a model.
type Rehearsal struct {
	*Calls

	tools *shadowTools
}

// Rehearse begins the calls of a turn that counts for nothing; past is what the turn that does
// left in the log. The time is as that turn was told it.
func (h *Handlers) Rehearse(ctx context.Context, turn caxton.Turn, past []caxton.Record) (*Rehearsal, error) {
	def := turn.Version.Definition
	def.Approval, def.Budget = caxton.ApprovalSettings{}, caxton.Budgets{}
	tools := &shadowTools{toolbox: h.tools.For(&def), log: h.log}
	if _, err := tools.read(past); err != nil {
		return nil, err
	}
	own := h.shadowed()
	if turn.Module != nil && !turn.Module.Clock.IsZero() {
		own.cfg.Now = func() time.Time { return turn.Module.Clock }
	}
	turn.Past = nil
	calls, err := own.calls(ctx, turn, def, tools)
	if err != nil {
		return nil, err
	}
	for i := range past {
		if err := calls.time(&past[i]); err != nil {
			return nil, err
		}
	}
	return &Rehearsal{calls, tools}, nil
}

// Made returns the calls, in the order in which they were made.
func (r *Rehearsal) Made() []caxton.ToolCallRef { return r.tools.made() }

// A shadowLog reads what is there and keeps what is written to itself.
type shadowLog struct {
	Log

	mu    sync.Mutex
	blobs map[string][]byte
}

// Append forgets records.
func (*shadowLog) Append(context.Context, ...caxton.Record) error { return nil }

// Open forgets tickets.
func (*shadowLog) Open(context.Context, []caxton.Ticket, ...caxton.Record) error { return nil }

// Amend refuses: a shadow decides nothing.
func (*shadowLog) Amend(context.Context, caxton.TicketKind, string, func(caxton.Ticket) (caxton.Amendment, error)) (caxton.Ticket, *caxton.Delivery, error) {
	return caxton.Ticket{}, nil, caxton.Errorf(caxton.Conflict, "shadow", "a shadow decides nothing")
}

// Reserve holds nothing back.
func (*shadowLog) Reserve(context.Context, []caxton.Reservation, ...caxton.Record) error { return nil }

// Book books nothing.
func (*shadowLog) Book(context.Context, caxton.MessageID, string, []caxton.Charge, ...caxton.Record) error {
	return nil
}

// BudgetUses returns none: what a shadow spends is nobody's.
func (*shadowLog) BudgetUses(context.Context, string) ([]caxton.BudgetUse, error) { return nil, nil }

// PutBlob keeps a result for this turn.
func (l *shadowLog) PutBlob(_ context.Context, data []byte, _ string) (string, error) {
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blobs[hash] = bytes.Clone(data)
	return hash, nil
}

// Blob returns a result of this turn, or one that is kept.
func (l *shadowLog) Blob(ctx context.Context, hash string) ([]byte, string, error) {
	l.mu.Lock()
	data, ok := l.blobs[hash]
	l.mu.Unlock()
	if ok {
		return data, "", nil
	}
	return l.Log.Blob(ctx, hash)
}

// shadowTools answer calls with what the turn that counts was answered.
type shadowTools struct {
	toolbox
	log Log

	mu      sync.Mutex // guards all below
	results map[string][]caxton.ToolReturnedBody
	calls   []caxton.ToolCallRef
}

// read takes the results out of the log of the turn that counts, and what was recalled for it.
func (t *shadowTools) read(past []caxton.Record) (known *caxton.MemoryRecalledBody, err error) {
	t.results = map[string][]caxton.ToolReturnedBody{}
	intents := map[string]string{}
	for i := range past {
		r := &past[i]
		switch r.Kind { //nolint:exhaustive // the others have no results
		case caxton.RecordMemoryRecalled:
			known = &caxton.MemoryRecalledBody{}
			err = json.Unmarshal(r.Body, known)
		case caxton.RecordToolIntended:
			var b caxton.ToolIntendedBody
			err = json.Unmarshal(r.Body, &b)
			intents[b.CallID] = callName(b.Tool, b.Arguments)
		case caxton.RecordToolReturned:
			var b caxton.ToolReturnedBody
			err = json.Unmarshal(r.Body, &b)
			if name, ok := intents[b.CallID]; ok && !b.NotRun {
				t.results[name] = append(t.results[name], b)
			}
		}
		if err != nil {
			return nil, unreadable(*r, err)
		}
	}
	return known, nil
}

// callName names a call: arguments that say the same have the same name.
func callName(tool string, args json.RawMessage) string {
	var v any
	if json.Unmarshal(args, &v) == nil {
		if b, err := json.Marshal(v); err == nil {
			args = b
		}
	}
	return tool + " " + string(args)
}

// made returns the calls, in the order in which they were made.
func (t *shadowTools) made() []caxton.ToolCallRef {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.calls)
}

// NeedsApproval reports false: nothing is carried out.
func (*shadowTools) NeedsApproval(string) bool { return false }

// Call returns the result of the same call, or that it is not carried out.
func (t *shadowTools) Call(ctx context.Context, name string, call tool.Call) (tool.Result, error) {
	t.mu.Lock()
	t.calls = append(t.calls, caxton.ToolCallRef{CallID: call.ID, Tool: name, Arguments: call.Args, Key: call.Key})
	key := callName(name, call.Args)
	var b *caxton.ToolReturnedBody
	if rs := t.results[key]; len(rs) > 0 {
		b = &rs[0]
		if len(rs) > 1 { // the last one stands for all further ones
			t.results[key] = rs[1:]
		}
	}
	t.mu.Unlock()
	switch {
	case b == nil:
		return tool.Result{}, caxton.Errorf(caxton.Unavailable, "shadow", "the call is not carried out: this is a rehearsal").
			WithHint("go on as well as you can without it")
	case b.IsError:
		return tool.Result{}, caxton.Errorf(caxton.Invalid, "recorded", "%s", b.Text)
	}
	res := tool.Result{Text: b.Text, Data: b.Data, MediaType: b.MediaType}
	if b.BlobHash != "" {
		body, media, err := t.log.Blob(ctx, b.BlobHash)
		if err != nil {
			return tool.Result{}, err
		}
		res.Body, res.MediaType = body, media
	}
	return res, nil
}

// Reconciles reports false: there is nothing to find out.
func (*shadowTools) Reconciles(string) bool { return false }
