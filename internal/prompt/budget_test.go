package prompt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/tool"
)

// costs says something for so many tokens.
func costs(text string, in, out int) llm.Response {
	return llm.Response{Text: text, Stop: llm.StopEnd, Usage: llm.Usage{InputTokens: in, OutputTokens: out}, Provider: "fake", Model: "m"}
}

func (d *desk) accounts() string {
	d.t.Helper()
	us, err := d.journal.BudgetUses(d.t.Context(), "")
	if err != nil {
		d.t.Fatal(err)
	}
	var b strings.Builder
	for _, u := range us {
		fmt.Fprintf(&b, "%s %s %d+%d/%d; ", u.Name, u.Unit, u.Spent, u.Reserved, u.Cap)
	}
	return b.String()
}

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func TestBudgetIsBooked(t *testing.T) {
	day := caxton.Budget{Tokens: 10_000, ToolCalls: 5, Money: 1}
	first := calls("count", `{"n":1}`, "count", `{"n":2}`)
	first.Usage = llm.Usage{InputTokens: 100, OutputTokens: 20}
	first.Provider, first.Model = "fake", "m"
	d := newDesk(t, caxton.Definition{}, []llm.Response{first, costs("done", 150, 30)})
	c := &counter{name: "count"}
	d.with(caxton.Definition{Budget: caxton.Budgets{Day: day, Conversation: caxton.Budget{Tokens: 5000}}}, d.journal,
		prompt.Config{Now: noon, Budgets: caxton.Budgets{Total: caxton.Budget{Tokens: 50_000}}, Prices: map[string]caxton.Price{"m": {Input: 10, Output: 100}}}, c)
	if got, err := d.handle(nil); err != nil || got != "done" {
		t.Fatal(got, err)
	}
	want := "agent/a1/day/2026-11-21 micros 7500+0/1000000; agent/a1/day/2026-11-21 tokens 300+0/10000; agent/a1/day/2026-11-21 tool_calls 2+0/5; " +
		"server/total tokens 300+0/50000; tree/c tokens 300+0/5000; "
	if got := d.accounts(); got != want {
		t.Errorf("accounts %s\nwant %s", got, want)
	}
	if got := kinds(d.turn()); got != "budget_reserved budget_settled model_called budget_reserved budget_reserved tool_intended tool_intended "+
		"budget_settled tool_returned budget_settled tool_returned budget_reserved budget_settled model_called" {
		t.Errorf("records %s", got)
	}
	if n := d.model.asked[0].MaxTokens; n < 16 || n > 4096 {
		t.Errorf("answers are bounded to %d tokens", n)
	}
}

// TestBudgetOfCallsLeavesModelsAlone: a budget that does not count what a model costs neither
// bounds its answers nor writes anything down for it.
func TestBudgetOfCallsLeavesModelsAlone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		budget caxton.Budget
		kinds  string
	}{
		{"tool calls", caxton.Budget{ToolCalls: 5}, "model_called budget_reserved tool_intended budget_settled tool_returned model_called"},
		{"time", caxton.Budget{WallTime: time.Hour}, "budget_reserved budget_settled model_called budget_reserved tool_intended budget_settled tool_returned budget_reserved budget_settled model_called"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, caxton.Definition{}, []llm.Response{calls("count", `{"n":1}`), costs("done", 1, 1)})
			d.with(caxton.Definition{Budget: caxton.Budgets{Day: tt.budget}}, d.journal, prompt.Config{Now: noon}, &counter{name: "count"})
			if got, err := d.handle(nil); err != nil || got != "done" {
				t.Fatal(got, err)
			}
			if got := kinds(d.turn()); got != tt.kinds {
				t.Errorf("records %s\nwant %s", got, tt.kinds)
			}
			if n := d.model.asked[0].MaxTokens; n != 0 {
				t.Errorf("answers are bounded to %d tokens", n)
			}
		})
	}
}

func TestBudgetRefuses(t *testing.T) {
	d := newDesk(t, caxton.Definition{}, []llm.Response{costs("done", 1, 1)})
	d.with(caxton.Definition{Budget: caxton.Budgets{Total: caxton.Budget{Tokens: 50}}}, d.journal, prompt.Config{Now: noon})
	out, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1"}})
	if err != nil || len(out) != 1 || out[0].Performative != caxton.Refuse || len(d.model.asked) != 0 {
		t.Fatalf("%+v, %v, want a refusal", out, err)
	}
	var body struct {
		Error struct {
			Type   string
			Budget caxton.Overspent
		}
	}
	if err := json.Unmarshal(out[0].Content, &body); err != nil || body.Error.Type != "budget_exceeded" || body.Error.Budget.Cap != 50 ||
		body.Error.Budget.Amount <= 50 || body.Error.Budget.Unit != caxton.Tokens {
		t.Errorf("refusal %s", out[0].Content)
	}
	d.with(caxton.Definition{Budget: caxton.Budgets{Total: caxton.Budget{Money: 5}}}, d.journal, prompt.Config{Now: noon})
	if out, err = d.agent.Handle(t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1"}}); err != nil ||
		out[0].Performative != caxton.Refuse || !strings.Contains(string(out[0].Content), "llm.prices") {
		t.Errorf("a model without a price: %+v, %v", out, err)
	}
}

// Tool calls beyond the budget are refused before they run, and hold nothing back.
func TestBudgetOfToolCalls(t *testing.T) {
	c := &counter{name: "count"}
	d := newDesk(t, caxton.Definition{}, []llm.Response{calls("count", `{"n":1}`, "count", `{"n":2}`, "count", `{"n":3}`)})
	d.with(caxton.Definition{Budget: caxton.Budgets{Conversation: caxton.Budget{ToolCalls: 2}}}, d.journal, prompt.Config{Now: noon}, c)
	out, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1"}})
	if err != nil || out[0].Performative != caxton.Refuse || len(c.keys) != 0 {
		t.Fatalf("%+v, %v after %d calls", out, err, len(c.keys))
	}
	if got := d.accounts(); got != "" {
		t.Errorf("accounts %s, want none: a refused step holds nothing back", got)
	}
}

// What a crash left open counts as spent: the provider may have charged it.
func TestBudgetAfterCrash(t *testing.T) {
	d := newDesk(t, caxton.Definition{}, []llm.Response{costs("done", 10, 5)})
	d.with(caxton.Definition{Budget: caxton.Budgets{Total: caxton.Budget{Tokens: 100_000}}}, d.journal, prompt.Config{Now: noon})
	if _, err := d.handle(nil); err != nil {
		t.Fatal(err)
	}
	held := d.turn()[0]
	var b caxton.BudgetReservedBody
	if err := json.Unmarshal(held.Body, &b); err != nil || held.Kind != caxton.RecordBudgetReserved {
		t.Fatal(held, err)
	}
	// The same reservation, and then the process dies.
	lost := b.Reservation
	lost.ID = "model/0/7"
	body, err := json.Marshal(caxton.BudgetReservedBody{Reservation: lost})
	if err != nil {
		t.Fatal(err)
	}
	r := caxton.Record{ConversationID: "c", Kind: caxton.RecordBudgetReserved, MessageID: "m1", Body: body}
	if err := d.journal.Reserve(t.Context(), []caxton.Reservation{lost}, r); err != nil {
		t.Fatal(err)
	}
	if _, err := d.agent.Handle(t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1"}, Attempt: 8, Past: []caxton.Record{r}}); err != nil {
		t.Fatal(err)
	}
	if got, want := d.accounts(), fmt.Sprintf("agent/a1/total tokens %d+0/100000; ", 15+lost.Charges[0].Amount+15); got != want {
		t.Errorf("accounts %s, want %s", got, want)
	}
}

// What is held back by others may be free soon: the turn waits and does not refuse.
func TestBudgetBusy(t *testing.T) {
	d := newDesk(t, caxton.Definition{}, []llm.Response{costs("done", 10, 5)})
	d.with(caxton.Definition{Budget: caxton.Budgets{Total: caxton.Budget{Tokens: 5000}}}, d.journal, prompt.Config{Now: noon})
	other := caxton.Charge{Account: caxton.Account{Name: "agent/a1/total", Unit: caxton.Tokens, Cap: 5000}, Amount: 4990}
	if err := d.journal.Reserve(t.Context(), []caxton.Reservation{{ID: "x", MessageID: "other", Charges: []caxton.Charge{other}}}); err != nil {
		t.Fatal(err)
	}
	_, err := d.handle(nil)
	var p *caxton.Parked
	if !errors.As(err, &p) || p.Ticket || !p.Until.After(noon()) {
		t.Fatalf("%v, want the turn parked for a moment", err)
	}
	if err := d.journal.Book(t.Context(), "other", "x", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := d.handle(nil); err != nil || got != "done" {
		t.Errorf("%q, %v", got, err)
	}
}

// Conversations that came out of another one spend from what its root may spend.
func TestBudgetOfTree(t *testing.T) {
	d := newDesk(t, caxton.Definition{}, []llm.Response{costs("done", 10, 5)})
	root := caxton.Charge{Account: caxton.Account{Name: "tree/root", Unit: caxton.Tokens, Cap: 3000}, Amount: 1}
	if err := d.journal.Reserve(t.Context(), []caxton.Reservation{{ID: "x", MessageID: "m0", Charges: []caxton.Charge{root}}}); err != nil {
		t.Fatal(err)
	}
	d.message.Parent, d.message.Root, d.message.Depth = "root", "root", 1
	if got, err := d.handle(nil); err != nil || got != "done" {
		t.Fatal(got, err)
	}
	if got, want := d.accounts(), "tree/root tokens 15+1/3000; "; got != want {
		t.Errorf("accounts %s, want %s", got, want)
	}
}

// A model that does not answer in time may have been paid for.
func TestBudgetOfFailedCalls(t *testing.T) {
	for _, tt := range []struct {
		err   error
		spent bool
	}{
		{caxton.Errorf(caxton.Unavailable, "down", "down"), false},
		{caxton.Errorf(caxton.Timeout, "model_timeout", "late"), true},
		{context.DeadlineExceeded, true},
	} {
		d := newDesk(t, caxton.Definition{}, []llm.Response{})
		d.model.err = tt.err
		d.with(caxton.Definition{Budget: caxton.Budgets{Total: caxton.Budget{Tokens: 5000}}}, d.journal, prompt.Config{Now: noon})
		if _, err := d.handle(nil); err == nil {
			t.Fatal("no error")
		}
		us, err := d.journal.BudgetUses(t.Context(), "")
		if err != nil || len(us) != 1 || us[0].Reserved != 0 || (us[0].Spent > 0) != tt.spent {
			t.Errorf("%v: %+v, %v", tt.err, us, err)
		}
	}
}

// What the server allows a conversation does not lift what the root of its tree allows.
func TestBudgetOfTreeAndServer(t *testing.T) {
	for _, tt := range []struct {
		root, server int64 // caps, 0 for none
		want         string
	}{
		{3000, 1_000_000, "tree/root tokens 15+1/3000; "},
		{1_000_000, 3000, "tree/root tokens 15+1/3000; "},
		{0, 3000, "tree/root tokens 15+0/3000; "},
	} {
		d := newDesk(t, caxton.Definition{}, []llm.Response{costs("done", 10, 5)})
		d.with(caxton.Definition{}, d.journal, prompt.Config{Budgets: caxton.Budgets{Conversation: caxton.Budget{Tokens: tt.server}}})
		if tt.root > 0 {
			root := caxton.Charge{Account: caxton.Account{Name: "tree/root", Unit: caxton.Tokens, Cap: tt.root}, Amount: 1}
			if err := d.journal.Reserve(t.Context(), []caxton.Reservation{{ID: "x", MessageID: "m0", Charges: []caxton.Charge{root}}}); err != nil {
				t.Fatal(err)
			}
		}
		d.message.Parent, d.message.Root, d.message.Depth = "root", "root", 1
		if got, err := d.handle(nil); err != nil || got != "done" {
			t.Fatal(got, err)
		}
		if got := d.accounts(); got != tt.want {
			t.Errorf("accounts %s, want %s", got, tt.want)
		}
	}
}

// Providers answer with longer names of models than they were asked by: those cost the same.
func TestBudgetOfDatedModels(t *testing.T) {
	dated := costs("done", 100, 10)
	dated.Model = "m-2026-11-01"
	d := newDesk(t, caxton.Definition{}, []llm.Response{dated})
	d.with(caxton.Definition{Budget: caxton.Budgets{Total: caxton.Budget{Money: 1}}}, d.journal,
		prompt.Config{Prices: map[string]caxton.Price{"m": {Input: 10, Output: 100}}})
	if _, err := d.handle(nil); err != nil {
		t.Fatal(err)
	}
	if got, want := d.accounts(), "agent/a1/total micros 2000+0/1000000; "; got != want {
		t.Errorf("accounts %s, want %s", got, want)
	}
}

// Whoever may answer is reckoned with: money is held back at the dearest price.
func TestBudgetOfFallbacks(t *testing.T) {
	for _, tt := range []struct {
		prices  map[string]caxton.Price
		refused bool
	}{
		{map[string]caxton.Price{"m": {Input: 1, Output: 1}, "dear": {Input: 1000, Output: 1000}}, true},
		{map[string]caxton.Price{"m": {Input: 1, Output: 1}, "dear": {Input: 2, Output: 2}}, false},
		{map[string]caxton.Price{"m": {Input: 1, Output: 1}}, true}, // the fallback has no price
	} {
		d := newDesk(t, caxton.Definition{}, nil)
		first := &script{steps: []llm.Response{costs("done", 10, 5)}}
		set, err := tool.NewSet(nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := prompt.New(chained{llm.Chain{first, dear{}}}, set, d.journal, prompt.Config{Now: noon, Prices: tt.prices}).Handler(caxton.AgentVersion{
			AgentID: "a1", Definition: caxton.Definition{Budget: caxton.Budgets{Total: caxton.Budget{Money: 0.1}}, LLM: caxton.LLMSettings{MaxTokens: 100}},
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := a.Handle(t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1"}})
		if err != nil || (out[0].Performative == caxton.Refuse) != tt.refused {
			t.Errorf("%v: %+v, %v", tt.prices, out, err)
		}
	}
}

// A dear model is never asked.
type dear struct{ llm.Model }

func (dear) Info() llm.Info { return llm.Info{Provider: "fake", Model: "dear"} }

// chained gives every agent the same chain.
type chained struct{ c llm.Chain }

func (c chained) For(caxton.LLMSettings) (llm.Model, error) { return c.c, nil }
