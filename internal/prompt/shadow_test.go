package prompt_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/google/go-cmp/cmp"
)

// A shadow is told what the turn that counts was told, runs no tool, and leaves no trace.
func TestShadow(t *testing.T) {
	c := &counter{name: "count", body: []byte("all of it")}
	approved := caxton.Definition{Approval: caxton.ApprovalSettings{}}
	d := newDesk(t, approved, []llm.Response{calls("count", `{"n":1}`), says("done")}, c)
	if got, err := d.handle(nil); err != nil || got != "done" {
		t.Fatalf("%q, %v", got, err)
	}
	live := d.turn()
	d.model.asked = nil
	d.model.steps = []llm.Response{calls("count", `{ "n": 1 }`, "count", `{"n":2}`), says("otherwise")}
	got, err := d.agent.Shadow(t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1", Slug: "tester"}, Attempt: 1}, live)
	if err != nil || len(got.Outputs) != 1 || got.Outputs[0].Text() != "otherwise" || len(got.Calls) != 2 {
		t.Fatalf("Shadow = %+v, %v", got, err)
	}
	if len(c.keys) != 1 {
		t.Errorf("the tool ran %d times, want once, in the turn that counts", len(c.keys))
	}
	told := d.model.asked[1].Messages
	first, second := told[2], told[3]
	if first.Text != `count {"n":1}` || first.IsError || !second.IsError || !strings.Contains(second.Text, "not carried out") {
		t.Errorf("the model was told %+v and %+v", first, second)
	}
	if diff := cmp.Diff(live, d.turn()); diff != "" {
		t.Errorf("the log has changed:\n%s", diff)
	}
	d.model.err = caxton.Errorf(caxton.Unavailable, "down", "it is down")
	if _, err := d.agent.Shadow(t.Context(), caxton.Turn{Message: d.message}, live); caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("Shadow with a model that is down: %v", err)
	}
	silent := d.message
	silent.Performative = caxton.Inform
	if got, err := d.agent.Shadow(t.Context(), caxton.Turn{Message: silent}, nil); err != nil || len(got.Outputs) != 0 {
		t.Errorf("Shadow of a message that needs no answer: %+v, %v", got, err)
	}
}

// What waits for a person in the turn that counts does not wait in its shadow.
func TestShadowAsksNobody(t *testing.T) {
	c := &counter{name: "count"}
	d := newDesk(t, caxton.Definition{Tools: []caxton.ToolGrant{{Name: "count", Approval: true}}}, []llm.Response{calls("count", `{"n":1}`), says("done")}, c)
	got, err := d.agent.Shadow(t.Context(), caxton.Turn{Message: d.message, Agent: caxton.Agent{ID: "a1", Slug: "tester"}}, nil)
	if err != nil || len(got.Outputs) != 1 || len(c.keys) != 0 {
		t.Errorf("Shadow = %+v, %v, %d calls", got, err, len(c.keys))
	}
}

// A rehearsal gives the calls of a module what the turn that counts was given, tells it the
// time that that turn was told, and leaves no trace.
func TestRehearsal(t *testing.T) {
	c := &counter{name: "count", body: []byte("all of it")}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d, h, turn := callDesk(t, prompt.Config{Now: func() time.Time { return now }, ApproveTools: []string{"nothing"}}, c)
	turn.Version.Definition.Approval.Capabilities = nil
	calls, err := h.Calls(t.Context(), turn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := calls.Call(t.Context(), "count", []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	live := d.turn()
	told := now.Add(time.Minute)
	now = now.Add(time.Hour)
	turn.Module = &caxton.ModuleTurn{Clock: told}
	r, err := h.Rehearse(t.Context(), turn, live)
	if err != nil {
		t.Fatal(err)
	}
	if at := r.Now(); !at.Equal(live[0].At) {
		t.Errorf("before its call it is %s, want %s", at, live[0].At)
	}
	same, err := r.Call(t.Context(), "count", []byte(`{ "n": 1 }`))
	if err != nil || same.IsError || same.Text != `count {"n":1}` {
		t.Errorf("the same call gives %+v, %v", same, err)
	}
	other, err := r.Call(t.Context(), "count", []byte(`{"n":2}`))
	if err != nil || !other.IsError || !strings.Contains(other.Text, "not carried out") {
		t.Errorf("another call gives %+v, %v", other, err)
	}
	if at := r.Now(); !at.Equal(told) {
		t.Errorf("after its calls it is %s, want %s", at, told)
	}
	if err := r.Done(t.Context()); err != nil || len(r.Made()) != 2 || len(c.keys) != 1 {
		t.Errorf("Done: %v; it made %+v, and the tool ran %d times", err, r.Made(), len(c.keys))
	}
	if diff := cmp.Diff(live, d.turn()); diff != "" {
		t.Errorf("the log has changed:\n%s", diff)
	}
}
