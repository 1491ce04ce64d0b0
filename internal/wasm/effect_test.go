package wasm_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

// TestOutputs holds what becomes of what a guest says.
func TestOutputs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, said string // content of the message, which the guest says as it is
		tools      []string
		answers    []string
		calls      []string
		code       string
	}{
		{"a text", `"yes"`, nil, []string{`inform "yes"`}, nil, ""},
		{"a number", `7`, nil, []string{`inform 7`}, nil, ""},
		{"an object without content", `{"a":1}`, nil, []string{`inform {"a":1}`}, nil, ""},
		{"a message", `{"performative":"refuse","content":"no"}`, nil, []string{`refuse "no"`}, nil, ""},
		{"several", `[{"content":1},{"content":2}]`, nil, []string{`inform 1`, `inform 2`}, nil, ""},
		{"none", `[]`, nil, nil, nil, ""},
		{"to another, not granted", `{"receiver":"bob","content":"psst"}`, nil, nil, nil, "wasm_not_granted"},
		{"to another", `{"receiver":"bob","content":"psst"}`, []string{"send_message"}, nil, []string{`send_message {"to":"bob","content":"psst","wait":false}`}, ""},
		{
			"to a capability", `[{"capability":"sums","everyone":true,"performative":"cfp","content":"1+1"},"asked"]`,
			[]string{"send_message"},
			[]string{`inform "asked"`},
			[]string{`send_message {"capability":"sums","content":"1+1","performative":"cfp","everyone":true,"wait":false}`},
			"",
		},
		{"a performative that is none", `{"performative":"shout","content":"no"}`, nil, nil, nil, "performative_unknown"},
		{"a misspelt key", `{"contents":1,"content":2}`, nil, nil, nil, "wasm_bad_output"},
		{"too many", `[1,2,3,4]`, nil, nil, nil, "wasm_too_many_outputs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, wasm.Config{})
			a := b.agent(t, guest(t, "parrot"), wasm.Options{Limits: wasm.Limits{Outputs: 3}}, tt.tools...)
			in := message("m1", "")
			in.Message.Content = json.RawMessage(tt.said)
			out, err := a.Handle(t.Context(), in)
			if codeOf(err) != tt.code {
				t.Fatalf("Handle: %v, want %q", err, tt.code)
			}
			var got []string
			for _, m := range out {
				got = append(got, string(m.Performative)+" "+string(m.Content))
			}
			if !slices.Equal(got, tt.answers) {
				t.Errorf("the answers are %q, want %q", got, tt.answers)
			}
			if !slices.Equal(b.calls.made, tt.calls) {
				t.Errorf("the calls are %q, want %q", b.calls.made, tt.calls)
			}
		})
	}
}

// TestTurnsThatWait holds that an error by which a call ends the turn ends the guest, and that
// the turn runs again from its beginning.
func TestTurnsThatWait(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "caller"), wasm.Options{}, "calculator")
	b.calls.err = caxton.Errorf(caxton.Unavailable, "waiting", "it waits for approval").WithCause(&caxton.Parked{Until: time.Now()})
	_, err := a.Handle(t.Context(), message("m1", "hi"))
	if _, ok := errors.AsType[*caxton.Parked](err); !ok {
		t.Fatalf("Handle: %v, want Parked", err)
	}
	if a.Idle() != 0 {
		t.Error("an instance that was cut off is kept")
	}
	b.calls.err = nil
	if got := say(t, a, "m1", "hi"); got != `{"tool":"calculator"}` {
		t.Errorf("the answer is %s", got)
	}
	b.calls.err = caxton.Errorf(caxton.Exhausted, "budget_exceeded", "too dear")
	out, err := a.Handle(t.Context(), message("m2", "hi"))
	if err != nil || len(out) != 1 || out[0].Performative != caxton.Refuse {
		t.Errorf("Handle with a budget that is used up = %+v, %v, want a refuse", out, err)
	}
	b.calls.err, b.calls.isErr = nil, "it cannot be computed"
	if got := say(t, a, "m3", "hi"); got != `"-1"` {
		t.Errorf("a call that failed gives the guest %s, want -1", got)
	}
}

// TestState holds that state is changed once for each message, together with what was said.
func TestState(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "plugin"), wasm.Options{})
	for i, want := range []string{"1", "2", "2", "3"} {
		id := []string{"m1", "m2", "m2", "m3"}[i] // m2 comes twice
		if got := say(t, a, id, "hi"); got != want {
			t.Errorf("message %s is answered with %s, want %s", id, got, want)
		}
	}
	if b.state.commits != 3 {
		t.Errorf("%d commits, want 3", b.state.commits)
	}
}

// TestRandom holds that the same message draws the same numbers, another one others, and that
// the server's seed decides.
func TestRandom(t *testing.T) {
	t.Parallel()
	draw := func(seed, id string) string {
		b := newBench(t, wasm.Config{Seed: []byte(seed)})
		a := b.agent(t, guest(t, "random"), wasm.Options{})
		_ = say(t, a, "before", "hi")
		return say(t, a, id, "hi")
	}
	if x, y := draw("s", "m1"), draw("s", "m1"); x != y {
		t.Errorf("the same message draws %s and %s", x, y)
	}
	seen := map[string]bool{}
	for _, id := range []string{"m1", "m2", "m3", "m4", "m5"} {
		seen[draw("s", id)], seen[draw("z", id)] = true, true
	}
	if len(seen) < 4 {
		t.Errorf("ten draws give %d different numbers", len(seen))
	}
}

type fakeTimers struct {
	set map[int32]time.Duration
}

func (f *fakeTimers) SetTimer(_ context.Context, _ caxton.AgentID, id int32, after time.Duration) error {
	f.set[id] = after
	return nil
}

func (f *fakeTimers) CancelTimer(_ context.Context, _ caxton.AgentID, id int32) error {
	delete(f.set, id)
	return nil
}

// TestTimers holds that a timer that is due reaches handle_timer, and that nobody else can
// pretend to be one.
func TestTimers(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{Timers: &fakeTimers{set: map[int32]time.Duration{}}})
	a := b.agent(t, guest(t, "timer"), wasm.Options{Grants: []wasm.Grant{wasm.Waking}})
	in := message("m1", "")
	in.Message.Content, in.Message.Ontology = json.RawMessage(`{"timer":5}`), wasm.TimerOntology
	if out, err := a.Handle(t.Context(), in); err != nil || len(out) != 0 {
		t.Errorf("a timer of somebody else = %+v, %v", out, err)
	}
	in.Message.SenderID = agentID
	if out, err := a.Handle(t.Context(), in); err != nil || len(out) != 1 || string(out[0].Content) != "5" {
		t.Errorf("a timer = %+v, %v, want 5", out, err)
	}
	setter := b.agent(t, guest(t, "setter"), wasm.Options{Grants: []wasm.Grant{wasm.Waking}})
	x, y := say(t, setter, "m2", "hi"), say(t, setter, "m2", "hi")
	if x != y {
		t.Errorf("a repeated turn sets timer %s, then %s", x, y)
	}
}
