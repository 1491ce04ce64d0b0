package prompt_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/tool"
)

// callDesk returns handlers over the journal of a desk, and a turn of an agent that may use
// the tools.
func callDesk(t *testing.T, cfg prompt.Config, tools ...tool.Tool) (*desk, *prompt.Handlers, caxton.Turn) {
	t.Helper()
	d := newDesk(t, caxton.Definition{}, nil)
	def := caxton.Definition{Name: "Tester"}
	for _, x := range tools {
		def.Tools = append(def.Tools, caxton.ToolGrant{Name: x.Spec().Name})
	}
	set, err := tool.NewSet(nil, tools...)
	if err != nil {
		t.Fatal(err)
	}
	turn := caxton.Turn{
		Message: d.message, Agent: caxton.Agent{ID: "a1", Slug: "tester"}, Attempt: 1,
		Version: caxton.AgentVersion{AgentID: "a1", Number: 1, Definition: def},
	}
	return d, prompt.New(d.model, set, d.journal, cfg), turn
}

// TestCalls holds that the calls of a turn that no model leads go through the ledger: after a
// crash anywhere they are not repeated, unless they may be.
func TestCalls(t *testing.T) {
	build := func() (*desk, *prompt.Handlers, caxton.Turn, *counter, *counter) {
		look, pay := &counter{name: "look", idempotent: true, body: []byte("x")}, &counter{name: "pay"}
		d, h, turn := callDesk(t, prompt.Config{}, look, pay)
		return d, h, turn, look, pay
	}
	run := func(h *prompt.Handlers, turn caxton.Turn) ([]string, error) {
		c, err := h.Calls(t.Context(), turn)
		if err != nil {
			return nil, err
		}
		var texts []string
		for _, name := range []string{"look", "pay", "none"} {
			r, err := c.Call(t.Context(), name, json.RawMessage(`{"n":1}`))
			if err != nil {
				return texts, err
			}
			if r.IsError != (name == "none") {
				t.Errorf("%s: %+v", name, r)
			}
			texts = append(texts, r.Text)
		}
		return texts, c.Done(t.Context())
	}
	d, h, turn, look, pay := build()
	whole, err := run(h, turn)
	if err != nil || len(whole) != 3 || whole[1] != `pay {"n":1}` {
		t.Fatalf("calls = %q, %v", whole, err)
	}
	records := d.turn()
	if kinds(records) != "tool_intended tool_returned tool_intended tool_returned tool_intended tool_returned" {
		t.Fatalf("records %s", kinds(records))
	}
	lookKey, payKey := look.keys[0], pay.keys[0]
	for cut := range len(records) + 1 {
		d, h, turn, look, pay := build()
		if _, err := d.journal.PutBlob(t.Context(), []byte("x"), "text/plain"); err != nil {
			t.Fatal(err)
		}
		turn.Past = records[:cut]
		got, err := run(h, turn)
		if cut == 3 { // the payment was begun
			if _, ok := errors.AsType[*caxton.UnknownEffects](err); !ok || len(pay.keys) != 0 {
				t.Errorf("after %d records: %v, want an unknown effect", cut, err)
			}
			continue
		}
		if err != nil || len(got) != 3 || got[0] != whole[0] || got[1] != whole[1] {
			t.Errorf("after %d records: %q, %v", cut, got, err)
		}
		if want := cut < 2; (len(look.keys) == 1) != want || want && look.keys[0] != lookKey {
			t.Errorf("after %d records look ran %v, first under %s", cut, look.keys, lookKey)
		}
		if want := cut < 3; (len(pay.keys) == 1) != want || want && pay.keys[0] != payKey {
			t.Errorf("after %d records pay ran %v, first under %s", cut, pay.keys, payKey)
		}
	}
}

// TestCallsDiverge holds that a turn which does something else the second time is stopped.
func TestCallsDiverge(t *testing.T) {
	pay := &counter{name: "pay"}
	d, h, turn := callDesk(t, prompt.Config{}, pay)
	c, err := h.Calls(t.Context(), turn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), "pay", json.RawMessage(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	turn.Past = d.turn()
	if c, err = h.Calls(t.Context(), turn); err != nil {
		t.Fatal(err)
	}
	_, err = c.Call(t.Context(), "pay", json.RawMessage(`{"n":2}`))
	if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != "turn_diverged" || e.Kind != caxton.Conflict || len(pay.keys) != 1 {
		t.Errorf("another call: %v; pay ran %d times, want turn_diverged and 1", err, len(pay.keys))
	}
	turn.Past = turn.Past[:1] // the payment was begun, and this attempt makes none
	if c, err = h.Calls(t.Context(), turn); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*caxton.UnknownEffects](c.Done(t.Context())); !ok {
		t.Error("a call of unknown outcome that is not made again is forgotten")
	}
}

// TestCallsWait holds that a call waits for its approval, and that a turn which runs again
// sees the time of the first attempt, so that its arguments are those that were approved.
func TestCallsWait(t *testing.T) {
	now := time.Unix(1000, 0)
	pay := &counter{name: "pay"}
	d, h, turn := callDesk(t, prompt.Config{ApproveTools: []string{"pay"}, Now: func() time.Time { return now }}, pay)
	var seen []time.Time
	attempt := func() error {
		now = now.Add(time.Minute)
		c, err := h.Calls(t.Context(), turn)
		if err != nil {
			return err
		}
		seen = append(seen, c.Now())
		if _, err = c.Call(t.Context(), "pay", json.RawMessage(`{"n":1}`)); err == nil {
			err = c.Done(t.Context())
		}
		return err
	}
	parked(t, attempt())
	d.decide(d.open()[0].ID, "ann", caxton.ApprovalGranted, "")
	turn.Past = d.turn()
	if err := attempt(); err != nil || len(pay.keys) != 1 {
		t.Fatalf("after the approval: %v, pay ran %d times", err, len(pay.keys))
	}
	turn.Past = d.turn()
	if err := attempt(); err != nil || len(pay.keys) != 1 {
		t.Fatalf("once more: %v, pay ran %d times", err, len(pay.keys))
	}
	if !seen[0].Equal(seen[1]) || !seen[1].Equal(seen[2]) {
		t.Errorf("the attempts saw %v", seen)
	}
}
