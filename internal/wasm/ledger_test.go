package wasm_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/wasm"
)

// A payer is a tool whose calls must not be repeated.
type payer struct{ runs atomic.Int32 }

func (p *payer) Spec() tool.Spec {
	return tool.Spec{Name: "calculator", Description: "pays", Parameters: json.RawMessage(`{"type":"object"}`)}
}

func (p *payer) Call(context.Context, tool.Call) (tool.Result, error) {
	return tool.Result{Data: json.RawMessage(`{"paid":` + string('0'+p.runs.Add(1)) + `}`)}, nil
}

// TestLedger holds that a module's tool calls go through the ledger of config agents: a turn
// that runs again after a crash anywhere does not pay twice.
func TestLedger(t *testing.T) {
	t.Parallel()
	v := version("calculator")
	setup := func() (*wasm.Agent, *memjournal.Journal, *payer) {
		p, journal := &payer{}, memjournal.New(memjournal.Config{})
		set, err := tool.NewSet(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		h := prompt.New(nil, set, journal, prompt.Config{})
		rt := wasm.New(wasm.Config{Calls: func(ctx context.Context, turn caxton.Turn) (wasm.Calls, error) {
			c, err := h.Calls(ctx, turn)
			if c == nil {
				return nil, err
			}
			return c, err
		}})
		t.Cleanup(func() { _ = rt.Close(context.WithoutCancel(t.Context())) })
		a, err := rt.Agent(t.Context(), v, guest(t, "caller"), wasm.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return a, journal, p
	}
	turn := message("m1", "hi")
	turn.Version, turn.Agent = v, caxton.Agent{ID: agentID, Slug: "tester"}
	handle := func(a *wasm.Agent, j *memjournal.Journal, past []caxton.Record) (string, error) {
		if _, _, err := j.Accept(t.Context(), caxton.Delivery{Message: turn.Message}, true); err != nil {
			t.Fatal(err)
		}
		again := turn
		again.Past = past
		out, err := a.Handle(t.Context(), again)
		if err != nil || len(out) != 1 {
			return "", err
		}
		return string(out[0].Content), nil
	}
	a, journal, _ := setup()
	if got, err := handle(a, journal, nil); err != nil || got != `{"paid":1}` {
		t.Fatalf("Handle = %s, %v", got, err)
	}
	records, err := journal.Turn(t.Context(), "talk", "m1")
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v, want the intent and the return", len(records), err)
	}
	for cut, want := range []int32{1, 0, 0} {
		a, journal, p := setup()
		got, err := handle(a, journal, records[:cut])
		if cut == 1 {
			if _, ok := errors.AsType[*caxton.UnknownEffects](err); !ok {
				t.Errorf("after the intent: %q, %v, want an unknown effect", got, err)
			}
		} else if err != nil || got != `{"paid":1}` {
			t.Errorf("after %d records: %q, %v", cut, got, err)
		}
		if p.runs.Load() != want {
			t.Errorf("after %d records the tool ran %d times, want %d", cut, p.runs.Load(), want)
		}
	}
}
