package wasm_test

import (
	"context"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

// TestPanicInACall holds that a tool that panics ends its turn, and that the guest's slot comes
// back: with one slot the next turn would wait for ever.
func TestPanicInACall(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{MaxConcurrent: 1})
	a := b.agent(t, guest(t, "caller"), wasm.Options{}, "calculator")
	b.calls.wait = func(context.Context) error { panic("a fault of the tool") }
	done := make(chan error, 1)
	go func() {
		_, err := a.Handle(t.Context(), message("m1", "hi"))
		done <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case err := <-done:
		if err == nil || a.Idle() != 0 {
			t.Errorf("Handle: %v, %d instances are kept", err, a.Idle())
		}
	case <-ctx.Done():
		t.Fatal("the turn does not end")
	}
	b.calls.wait = nil
	if got := say(t, a, "m2", "hi"); got != `{"tool":"calculator"}` {
		t.Errorf("the next turn answers %s", got)
	}
}

// TestCloseWhileDeploying holds that a Runtime may be closed while an agent is being made.
func TestCloseWhileDeploying(t *testing.T) {
	t.Parallel()
	for range 20 {
		b := newBench(t, wasm.Config{})
		begun, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			close(begun)
			a, err := b.rt.Agent(t.Context(), version(), guest(t, "echo"), wasm.Options{})
			if err != nil && codeOf(err) != "draining" {
				t.Errorf("Agent: %v", err)
			}
			if err == nil {
				_, _ = a.Handle(t.Context(), message("m1", "hi"))
			}
		}()
		<-begun
		if err := b.rt.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		<-done
	}
}

// TestOverdrawn holds that a run that ends with less than no fuel has failed, also when it did
// not come to a look any more.
func TestOverdrawn(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	for fuel := int64(1); fuel <= 5; fuel++ {
		a := b.agent(t, guest(t, "overdrawn"), wasm.Options{Limits: wasm.Limits{Fuel: fuel}})
		_, err := a.Handle(t.Context(), message("m1", "hi"))
		if used := b.last().Instructions; err == nil && used > fuel*wasm.InstructionsPerFuel {
			t.Errorf("with %d instructions it took %d, and was not stopped", fuel*wasm.InstructionsPerFuel, used)
		}
	}
}

// TestStateIsTheAgents holds that an agent reads its own values, whatever the message says.
func TestStateIsTheAgents(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "plugin"), wasm.Options{})
	b.state.values["another/k"] = []byte("7")
	in := message("m1", "hi")
	in.Message.ReceiverID = "another"
	out, err := a.Handle(t.Context(), in)
	if err != nil || len(out) != 1 || string(out[0].Content) != "1" {
		t.Errorf("Handle = %+v, %v, want 1: the value of another agent was read", out, err)
	}
}

func TestBadManners(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"ender": "wasm_exit", "bigcall": "wasm_output_too_large"} {
		b := newBench(t, wasm.Config{})
		a := b.agent(t, guest(t, name), wasm.Options{}, "calculator")
		if _, err := a.Handle(t.Context(), message("m1", "hi")); codeOf(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// TestAnswerInTheMessage holds that an answer is read before any memory is given back, and that
// memory is given back once.
func TestAnswerInTheMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "freeing"), wasm.Options{})
	if got := say(t, a, "m1", "hi"); got != `"hi"` {
		t.Errorf("the answer is %s", got)
	}
}

// TestTwoForms holds that an import in two forms is refused at deploy, not at the first message.
func TestTwoForms(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	if _, err := b.rt.Agent(t.Context(), version(), guest(t, "twoforms"), wasm.Options{}); codeOf(err) != "wasm_refused" {
		t.Errorf("Agent: %v, want wasm_refused", err)
	}
}

// TestImportedTwice holds that an import which a module has twice is told once, and works.
func TestImportedTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	v := version()
	rep := b.rt.Inspect(guest(t, "twice"), &v.Definition, wasm.Options{Grants: []wasm.Grant{}})
	if len(rep.Imports) != 2 || len(rep.Findings) != 1 {
		t.Errorf("the report has imports %v and findings %v, want two imports, one of them not granted", rep.Imports, rep.Findings)
	}
	a := b.agent(t, guest(t, "twice"), wasm.Options{})
	if got := say(t, a, "m1", "hi"); got != "1" {
		t.Errorf("the answer is %s", got)
	}
	if is := b.rt.Imports(rep.SHA256, &v.Definition, wasm.Options{}); len(is) != 2 || is[1].Name != "console_log" || is[1].Grant != wasm.Log || !is[1].Granted {
		t.Errorf("Imports = %+v", is)
	}
	if is := b.rt.Imports(rep.SHA256, &v.Definition, wasm.Options{Limits: wasm.Limits{Memory: caxton.MiB}}); is != nil {
		t.Errorf("Imports of a module that is not compiled = %+v, want none", is)
	}
}
