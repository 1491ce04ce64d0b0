package tool

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caxton/caxton"
)

// run is the way every call takes: arguments, deadline, tool, bounds.
func (e *Entry) run(ctx context.Context, call Call, readers []string) (Result, error) {
	if e.refusal != nil {
		return Result{}, e.refusal
	}
	args, err := e.schema.check(e.spec.Name, call.Args)
	if err != nil {
		return Result{}, err
	}
	call.Args = args
	limit, err := configTimeout(e.spec.Name, call.Config)
	if err != nil {
		return Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return Result{}, e.ended(err)
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := e.callSafely(within, call)
	if err != nil {
		return Result{}, e.classify(ctx, within, err, limit)
	}
	return bound(res, call.ID, readers), nil
}

// callSafely turns a panic of the tool into an error that carries the stack.
func (e *Entry) callSafely(ctx context.Context, call Call) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = caxton.Errorf(caxton.Internal, "tool_panicked", "the tool %s broke down", e.spec.Name).
				WithCause(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return e.tool.Call(ctx, call)
}

// classify makes an *caxton.Error of whatever the tool returned. An end of ctx is the
// caller's doing; only when ctx goes on was it the call's own deadline.
func (e *Entry) classify(ctx, within context.Context, err error, limit time.Duration) error {
	if ctxErr := ctx.Err(); ctxErr != nil {
		return e.ended(ctxErr)
	}
	if _, known := errors.AsType[*caxton.Error](err); known {
		return err
	}
	if within.Err() != nil {
		return caxton.Errorf(caxton.Timeout, "tool_timeout", "the tool %s did not finish within %v", e.spec.Name, limit).
			WithHint("ask for less, or raise tool_config.%s.timeout in the agent's file", e.spec.Name).WithCause(err)
	}
	return caxton.Errorf(caxton.Internal, "tool_failed", "the tool %s failed", e.spec.Name).WithCause(err)
}

// ended says that the caller's context ended the call.
func (e *Entry) ended(ctxErr error) error {
	if errors.Is(ctxErr, context.DeadlineExceeded) {
		return caxton.Errorf(caxton.Timeout, "turn_timeout", "the time for the turn was over while %s ran", e.spec.Name).WithCause(ctxErr)
	}
	return caxton.Errorf(caxton.Canceled, "tool_canceled", "the call of %s was canceled", e.spec.Name).WithCause(ctxErr)
}

// bound makes Text valid UTF-8 of at most MaxText bytes. What is cut off stays in Body.
func bound(res Result, callID string, readers []string) Result {
	res.Text = strings.ToValidUTF8(res.Text, "\uFFFD")
	if len(res.Text) <= MaxText {
		return res
	}
	if res.Body == nil {
		res.Body, res.MediaType = []byte(res.Text), "text/plain; charset=utf-8"
	}
	note := fmt.Sprintf("\n[cut: this is only the beginning of %d bytes of text.", len(res.Text))
	if callID != "" && len(readers) > 0 {
		note += fmt.Sprintf(" The full result can be read with %s by passing \"from\": %q.", strings.Join(readers, " or "), callID)
	}
	note += "]"
	res.Text = cut(res.Text, MaxText-len(note)) + note
	return res
}

// cut returns the longest beginning of s of at most n bytes that ends at a rune border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
