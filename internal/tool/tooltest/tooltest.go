// Package tooltest holds the suite that every tool.Tool must pass. Only tests import it. It
// owns what all tools have in common: a constant and complete Spec, a schema that compiles,
// arguments that are checked before the tool sees them, errors of the one type, calls that
// end with their context, and safety under concurrent use. It refuses to know what a tool
// does; the caller gives one call that works. It runs on the goroutine of the test and waits
// for those it starts.
package tooltest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// TestTool checks the contract of a tool. The arguments good must make a call that succeeds
// and may be repeated; results serves earlier results to it and may be nil.
func TestTool(t *testing.T, tl tool.Tool, good json.RawMessage, results tool.Results) {
	t.Helper()
	spec := tl.Spec()
	set, err := tool.NewSet(nil, tl)
	if err != nil {
		t.Fatalf("NewSet refuses the tool: %v", err)
	}
	call := tool.Call{ID: "call_1", Args: good, Key: "key-1", AgentID: "agent-1", Results: results}

	t.Run("spec", func(t *testing.T) {
		if diff := cmp.Diff(spec, tl.Spec()); diff != "" {
			t.Errorf("Spec is not constant:\n%s", diff)
		}
		if len(spec.Description) < 20 || spec.Source == "" {
			t.Errorf("Spec lacks a description or a source: %+v", spec)
		}
		var schema struct {
			Type       string
			Properties map[string]struct{ Description string }
		}
		if err := json.Unmarshal(spec.Parameters, &schema); err != nil || schema.Type != "object" {
			t.Fatalf("Parameters are not the schema of an object: %v\n%s", err, spec.Parameters)
		}
		for name, p := range schema.Properties {
			if p.Description == "" {
				t.Errorf("the parameter %q has no description", name)
			}
		}
	})

	t.Run("good call", func(t *testing.T) {
		res, err := set.Run(t.Context(), spec.Name, call)
		if err != nil {
			t.Fatalf("Run(%s) failed: %v", good, err)
		}
		check(t, res)
	})

	t.Run("repeated call", func(t *testing.T) {
		if !tool.IdempotentCall(tl, good) {
			t.Fatalf("the call %s is not idempotent; give one that is", good)
		}
		for range 2 {
			if _, err := set.Run(t.Context(), spec.Name, call); err != nil {
				t.Fatalf("Run(%s) failed: %v", good, err)
			}
		}
	})

	t.Run("bad arguments", func(t *testing.T) {
		for args, want := range map[string]caxton.Kind{
			`{`:                     caxton.Malformed,
			`[]`:                    caxton.Malformed,
			`"text"`:                caxton.Malformed,
			`{"no_such_param_": 1}`: caxton.Invalid,
		} {
			bad := call
			bad.Args = json.RawMessage(args)
			_, err := set.Run(t.Context(), spec.Name, bad)
			if kind := caxton.KindOf(err); kind != want {
				t.Errorf("Run(%s): kind %q (%v), want %q", args, kind, err, want)
			}
		}
	})

	t.Run("ended context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := set.Run(ctx, spec.Name, call)
		if kind := caxton.KindOf(err); kind != caxton.Canceled {
			t.Errorf("Run under an ended context: kind %q (%v), want %q", kind, err, caxton.Canceled)
		}
		if res, err := tl.Call(ctx, call); err == nil {
			check(t, res) // a tool that needs no time may finish all the same
		}
	})

	t.Run("concurrent calls", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := set.Run(t.Context(), spec.Name, call); err != nil {
					t.Errorf("Run(%s) failed: %v", good, err)
				}
			})
		}
		wg.Wait()
	})
}

func check(t *testing.T, res tool.Result) {
	t.Helper()
	if res.Text == "" || !utf8.ValidString(res.Text) || len(res.Text) > tool.MaxText {
		t.Errorf("Text is empty, not UTF-8 or too long: %d bytes", len(res.Text))
	}
	if res.Data != nil && !json.Valid(res.Data) {
		t.Errorf("Data is not JSON: %s", res.Data)
	}
	if res.Body != nil && res.MediaType == "" {
		t.Error("Body has no media type")
	}
}

// Results is a tool.Results that holds bodies by call ID; all are of the type text/plain.
type Results map[string]string

// Result returns the body kept under callID.
func (r Results) Result(_ context.Context, callID string) ([]byte, string, error) {
	body, ok := r[callID]
	if !ok {
		return nil, "", caxton.Errorf(caxton.NotFound, "result_not_found", "there is no result of a call %q", callID).
			WithHint("pass the id of an earlier call of this turn")
	}
	return []byte(body), "text/plain", nil
}

// ErrorOf returns the *caxton.Error in err's chain, and fails the test when there is none.
func ErrorOf(t *testing.T, err error) *caxton.Error {
	t.Helper()
	var e *caxton.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v (%T), want a *caxton.Error", err, err)
	}
	return e
}
