package prompt_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/tool"
)

// approving returns a desk whose agent needs approval for the tool pay.
func approving(t *testing.T, policy caxton.ApprovalPolicy, steps []llm.Response, now func() time.Time, tools ...tool.Tool) *desk {
	t.Helper()
	d := newDesk(t, caxton.Definition{}, steps)
	d.with(caxton.Definition{Approval: caxton.ApprovalSettings{Policy: policy}}, d.journal, prompt.Config{ApproveTools: []string{"pay"}, Now: now}, tools...)
	return d
}

func parked(t *testing.T, err error) *caxton.Parked {
	t.Helper()
	var p *caxton.Parked
	if !errors.As(err, &p) || caxton.KindOf(err) != caxton.Conflict || !p.Ticket {
		t.Fatalf("%v, want the turn parked", err)
	}
	return p
}

func (d *desk) open() []caxton.Ticket {
	d.t.Helper()
	ts, _, err := d.journal.Tickets(d.t.Context(), caxton.TicketQuery{Kind: caxton.Approval, Open: true})
	if err != nil {
		d.t.Fatal(err)
	}
	return ts
}

// decide decides a ticket as the router does.
func (d *desk) decide(id, by string, s caxton.TicketState, reason string) {
	d.t.Helper()
	_, _, err := d.journal.Amend(d.t.Context(), caxton.Approval, id, func(tk caxton.Ticket) (caxton.Amendment, error) {
		dec := caxton.Decision{By: by, State: s, Reason: reason, At: tk.OpenedAt}
		tk, err := tk.Decide(dec)
		if err != nil {
			return caxton.Amendment{}, err
		}
		body, err := json.Marshal(caxton.DecidedBody{Kind: tk.Kind, ID: tk.ID, Call: tk.Call, Decision: dec, State: tk.State})
		r := caxton.Record{ConversationID: tk.ConversationID, Kind: caxton.RecordDecided, MessageID: tk.MessageID, Body: body}
		return caxton.Amendment{Ticket: tk, Records: []caxton.Record{r}}, err
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func TestApproval(t *testing.T) {
	now := time.Unix(1000, 0)
	pay, look := &counter{name: "pay"}, &counter{name: "look"}
	steps := []llm.Response{calls("look", `{"n":1}`, "pay", `{"n":2}`, "pay", `{"n":3}`), says("done")}
	d := approving(t, caxton.ApprovalPolicy{Need: 2, Approvers: []string{"ann", "bob", "cid"}, Expires: time.Hour}, steps, func() time.Time { return now }, look, pay)
	_, err := d.handle(nil)
	if p := parked(t, err); !p.Until.Equal(now.Add(time.Hour)) {
		t.Errorf("parked until %v", p.Until)
	}
	open := d.open()
	if len(open) != 2 || len(pay.keys)+len(look.keys) != 0 || len(d.model.asked) != 1 {
		t.Fatalf("%d tickets, %d calls", len(open), len(pay.keys)+len(look.keys))
	}
	if open[0].Call.Tool != "pay" || open[0].Policy.Need != 2 || open[0].MessageID != "m1" || string(open[0].Call.Arguments) == string(open[1].Call.Arguments) {
		t.Errorf("tickets %+v", open)
	}
	if _, err = d.handle(d.turn()); len(d.open()) != 2 {
		t.Errorf("asked again: %d tickets", len(d.open()))
	}
	parked(t, err)
	for _, tk := range open { // one is approved by two, one denied by two
		s, reason := caxton.ApprovalGranted, ""
		if strings.Contains(string(tk.Call.Arguments), "3") {
			s, reason = caxton.ApprovalDenied, "too much"
		}
		d.decide(tk.ID, "ann", s, reason)
		_, err := d.handle(d.turn())
		if parked(t, err); len(pay.keys) != 0 {
			t.Fatal("paid with one approval of two")
		}
		d.decide(tk.ID, "cid", s, reason)
	}
	got, err := d.handle(d.turn())
	if err != nil || got != "done" || len(pay.keys) != 1 || len(look.keys) != 1 || len(d.model.asked) != 2 {
		t.Fatalf("%q, %v, paid %d times, looked %d times, asked the model %d times", got, err, len(pay.keys), len(look.keys), len(d.model.asked))
	}
	ms := d.model.asked[1].Messages
	if last := ms[len(ms)-1]; !last.IsError || last.Text != "the call was denied by cid: too much" {
		t.Errorf("the model was told %+v of the denied call", last)
	}
	if got, err = d.handle(d.turn()); err != nil || got != "done" || len(pay.keys) != 1 {
		t.Errorf("again: %q, %v, paid %d times", got, err, len(pay.keys))
	}
}

// Other arguments need another approval: the one that was given is bound to what was asked.
func TestApprovalIsBoundToArguments(t *testing.T) {
	pay := &counter{name: "pay"}
	d := approving(t, caxton.ApprovalPolicy{}, []llm.Response{calls("pay", `{"n":1}`), says("done")}, nil, pay)
	_, err := d.handle(nil)
	parked(t, err)
	first := d.open()[0]
	d.decide(first.ID, "ann", caxton.ApprovalGranted, "")
	var past []caxton.Record
	for _, r := range d.turn() { // as if the model's answer had been lost, and it now wants to pay more
		if r.Kind != caxton.RecordModelCalled {
			past = append(past, r)
		}
	}
	d.model.asked, d.model.steps = nil, []llm.Response{calls("pay", `{"n":1000}`), says("done")}
	_, err = d.handle(past)
	parked(t, err)
	if open := d.open(); len(open) != 1 || open[0].ID == first.ID || len(pay.keys) != 0 {
		t.Errorf("%d open, paid %d times", len(open), len(pay.keys))
	}
}

func TestApprovalExpires(t *testing.T) {
	now := time.Unix(1000, 0)
	pay := &counter{name: "pay"}
	d := approving(t, caxton.ApprovalPolicy{}, []llm.Response{calls("pay", `{"n":1}`), says("done")}, func() time.Time { return now }, pay)
	_, err := d.handle(nil)
	parked(t, err)
	id := d.open()[0].ID
	now = now.Add(caxton.DefaultApprovalExpiry)
	got, err := d.handle(d.turn())
	if err != nil || got != "done" || len(pay.keys) != 0 {
		t.Fatalf("%q, %v, paid %d times", got, err, len(pay.keys))
	}
	if tk, err := d.journal.Ticket(t.Context(), caxton.Approval, id); err != nil || tk.State != caxton.ApprovalExpired {
		t.Errorf("ticket %+v, %v", tk, err)
	}
}

func TestApprovalOfCapability(t *testing.T) {
	transfers, err := caxton.ParseCapability("transfers")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []caxton.TicketState{caxton.ApprovalGranted, caxton.ApprovalDenied} {
		d := newDesk(t, caxton.Definition{Approval: caxton.ApprovalSettings{Capabilities: []caxton.Capability{transfers}}}, []llm.Response{says("done")})
		d.message.Capability = transfers
		_, err := d.handle(nil)
		parked(t, err)
		if len(d.model.asked) != 0 {
			t.Fatal("the model was asked before the message was approved")
		}
		d.decide(d.open()[0].ID, "ann", s, "because")
		out, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1"}, Past: d.turn()})
		if err != nil || len(out) != 1 {
			t.Fatal(out, err)
		}
		want := caxton.Inform
		if s == caxton.ApprovalDenied {
			want = caxton.Refuse
		}
		if out[0].Performative != want {
			t.Errorf("%s: answered with %s %s", s, out[0].Performative, out[0].Content)
		}
	}
}

// What a person says about a call of unknown outcome is what the turn goes on with.
func TestEffectResolved(t *testing.T) {
	for _, tt := range []struct {
		state  caxton.TicketState
		result string
		paid   int
		told   string
		isErr  bool
	}{
		{caxton.EffectDone, `"receipt 7"`, 0, "receipt 7", false},
		{caxton.EffectDone, ``, 0, "The call took effect.", false},
		{caxton.EffectFailed, ``, 0, "the call did not succeed: no", true},
		{caxton.EffectRetry, ``, 1, `pay {"n":1}`, false},
	} {
		pay := &counter{name: "pay"}
		d := newDesk(t, caxton.Definition{}, []llm.Response{calls("pay", `{"n":1}`), says("done")}, pay)
		if _, err := d.handle(nil); err != nil {
			t.Fatal(err)
		}
		key := pay.keys[0]
		past := d.turn()[:2]
		pay.keys, d.model.asked, d.model.steps = nil, nil, []llm.Response{says("done")}
		_, err := d.handle(past)
		var u *caxton.UnknownEffects
		if !errors.As(err, &u) || len(u.Calls) != 1 || u.Calls[0].Key != key {
			t.Fatalf("%v, want the effect unknown", err)
		}
		dec := caxton.Decision{By: "ann", State: tt.state, Reason: "no"}
		if tt.result != "" {
			dec.Result = json.RawMessage(tt.result)
		}
		body, err := json.Marshal(caxton.DecidedBody{Kind: caxton.Effect, ID: key, Call: &u.Calls[0], Decision: dec, State: tt.state})
		if err != nil {
			t.Fatal(err)
		}
		past = append(past, caxton.Record{Kind: caxton.RecordDecided, Body: body}, caxton.Record{Kind: caxton.RecordReopened, Body: json.RawMessage(`{}`)})
		got, err := d.handle(past)
		if err != nil || got != "done" || len(pay.keys) != tt.paid {
			t.Fatalf("%s: %q, %v, paid %d times, want %d", tt.state, got, err, len(pay.keys), tt.paid)
		}
		if tt.paid == 1 && pay.keys[0] != key {
			t.Errorf("%s: paid with key %s, want %s", tt.state, pay.keys[0], key)
		}
		ms := d.model.asked[0].Messages
		if m := ms[len(ms)-1]; m.Text != tt.told || m.IsError != tt.isErr {
			t.Errorf("%s: the model was told %+v", tt.state, m)
		}
		if tt.state != caxton.EffectRetry {
			continue
		}
		// It ran again and was cut off again: the old decision does not count for that.
		again := append(past, caxton.Record{Kind: caxton.RecordToolIntended, Body: past[1].Body})
		if _, err := d.handle(again); caxton.KindOf(err) != caxton.Conflict || len(pay.keys) != 1 {
			t.Errorf("after a second cut: %v, paid %d times", err, len(pay.keys))
		}
	}
}

// A reconciler is a tool that knows what became of its calls.
type reconciler struct {
	counter
	happened bool
	err      error
}

func (r *reconciler) Reconcile(_ context.Context, c tool.Call) (tool.Result, bool, error) {
	return tool.Result{Text: "looked up " + c.Key}, r.happened, r.err
}

func TestReconcile(t *testing.T) {
	for _, tt := range []struct {
		name     string
		happened bool
		err      error
		paid     int
		unknown  bool
	}{
		{"it happened", true, nil, 0, false},
		{"it did not", false, nil, 1, false},
		{"the tool cannot tell", false, errors.New("down"), 0, true},
	} {
		pay := &reconciler{counter: counter{name: "pay"}, happened: tt.happened, err: tt.err}
		d := newDesk(t, caxton.Definition{}, []llm.Response{calls("pay", `{"n":1}`), says("done")}, pay)
		if _, err := d.handle(nil); err != nil {
			t.Fatal(err)
		}
		past := d.turn()[:2]
		pay.keys, d.model.asked, d.model.steps = nil, nil, []llm.Response{says("done")}
		_, err := d.handle(past)
		if tt.unknown != (caxton.KindOf(err) == caxton.Conflict) || len(pay.keys) != tt.paid {
			t.Errorf("%s: %v, paid %d times", tt.name, err, len(pay.keys))
		}
	}
}

// A call that may not be repeated and did not come to an end stops the turn; one that may be
// is an answer to the model.
func TestUncertainCalls(t *testing.T) {
	for _, tt := range []struct {
		name       string
		idempotent bool
		err        error
		unknown    bool
	}{
		{"cut off", false, tool.Uncertain(caxton.Errorf(caxton.Unavailable, "http_failed", "cut off")), true},
		{"cut off, may be repeated", true, tool.Uncertain(caxton.Errorf(caxton.Unavailable, "http_failed", "cut off")), false},
		{"refused", false, caxton.Errorf(caxton.Unavailable, "http_failed", "refused"), false},
	} {
		act := &doer{name: "act", idempotent: tt.idempotent, do: func(context.Context, tool.Call) (tool.Result, error) { return tool.Result{}, tt.err }}
		d := newDesk(t, caxton.Definition{}, []llm.Response{calls("act", `{}`), says("done")}, act)
		_, err := d.handle(nil)
		if tt.unknown != (caxton.KindOf(err) == caxton.Conflict) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if returned := strings.Contains(kinds(d.turn()), "tool_returned"); returned == tt.unknown {
			t.Errorf("%s: records %s", tt.name, kinds(d.turn()))
		}
	}
}

func TestStructuredReply(t *testing.T) {
	for text, want := range map[string]string{
		`{"performative":"refuse","content":"no time"}`:          `refuse "no time"`,
		`{"performative": "PROPOSE", "content": {"price": 3}}`:   `propose {"price": 3}`,
		`{"performative":"shout","content":"x"}`:                 `inform`,
		`{"performative":"refuse","content":"x","note":"extra"}`: `inform`,
		`{"performative":"refuse"}`:                              `inform`,
		`{"price":3}`:                                            `inform`,
		`plain`:                                                  `inform "plain"`,
	} {
		d := newDesk(t, caxton.Definition{}, []llm.Response{says(text)})
		out, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message})
		if err != nil || len(out) != 1 {
			t.Fatal(err)
		}
		if got := string(out[0].Performative) + " " + string(out[0].Content); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// A call whose result does not get into the log stops the turn for a person, whether there
// would be another try or not; unless another try can find out.
func TestLostResults(t *testing.T) {
	for _, tt := range []struct {
		name       string
		idempotent bool
		full, ends bool // the log, the turn's time
		unknown    bool
	}{
		{"the turn ends", false, false, true, true},
		{"the turn ends, may be repeated", true, false, true, false},
		{"the log is full", false, true, false, true},
		{"the log is full, may be repeated", true, true, false, false},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		act := &doer{name: "act", idempotent: tt.idempotent, do: func(ctx context.Context, _ tool.Call) (tool.Result, error) {
			if tt.ends {
				cancel()
			}
			return tool.Result{Text: "ok"}, ctx.Err()
		}}
		d := newDesk(t, caxton.Definition{}, []llm.Response{calls("act", `{}`), says("done")}, act)
		log := &flaky{Journal: d.journal}
		if tt.full {
			log.refuse = 3 // the result
		}
		d.with(caxton.Definition{}, log, prompt.Config{}, act)
		_, err := d.agent.Handle(ctx, caxton.Turn{Message: d.message})
		if _, unknown := errors.AsType[*caxton.UnknownEffects](err); err == nil || unknown != tt.unknown {
			t.Errorf("%s: %v", tt.name, err)
		}
		cancel()
	}
}
