package llm

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/caxton/caxton"
)

// maxDetail is how many characters of a provider's own words are shown.
const maxDetail = 300

// statusError returns the error that an HTTP status of a provider means, from 300 up. code
// and detail are the provider's own; detail is shown to people, cause is logged only.
func statusError(provider string, status int, code, detail string, cause error) error {
	if r := []rune(detail); len(r) > maxDetail {
		detail = string(r[:maxDetail]) + "…"
	}
	if detail != "" {
		detail = ": " + detail
	}
	e := func(kind caxton.Kind, code, what, hint string) error {
		return caxton.Errorf(kind, code, "%s %s%s", provider, what, detail).WithHint("%s", hint).WithCause(cause)
	}
	switch code { // of OpenAI and of llama.cpp
	case "context_length_exceeded", "exceed_context_size_error":
		status = http.StatusRequestEntityTooLarge
	}
	switch {
	case status < http.StatusBadRequest:
		return e(caxton.Malformed, "model_answer_malformed", "sent no answer but a redirect to elsewhere", "check llm.base_url")
	case status == http.StatusUnauthorized:
		return e(caxton.Unauthenticated, "model_key_refused", "refused the API key", "check the key that llm is configured with")
	case status == http.StatusForbidden:
		return e(caxton.Forbidden, "model_forbidden", "does not allow the request", "check what the key that llm is configured with may do")
	case status == http.StatusPaymentRequired:
		return e(caxton.Exhausted, "model_unpaid", "wants to be paid first", "check the account with the provider, or configure llm.fallback")
	case status == http.StatusNotFound:
		return e(caxton.NotFound, "model_not_found", "does not know the model or the address", "check llm.model and llm.base_url")
	case status == http.StatusTooManyRequests:
		return e(caxton.Exhausted, "model_rate_limited", "has had too many requests", "wait, or raise the provider's limits")
	case status == http.StatusRequestEntityTooLarge:
		return e(caxton.TooLarge, "model_request_too_large", "says that the request is too large", "lower conversation.context_window or max_tokens")
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return e(caxton.Timeout, "model_timeout", "timed out", "try again, or use a faster model")
	case status >= http.StatusInternalServerError:
		return e(caxton.Unavailable, "model_unavailable", "is out of order", "try again later, or configure llm.fallback")
	}
	return e(caxton.Invalid, "model_request_refused", "refused the request", "check the agent's llm settings")
}

// UnreachableError returns the error for a provider that cannot be reached.
func UnreachableError(provider string, cause error) error {
	hint := "check llm.base_url and the network"
	if errors.Is(cause, syscall.ECONNREFUSED) {
		hint = "nobody listens there: start the model server, or mend llm.base_url"
	}
	return caxton.Errorf(caxton.Unavailable, "model_unreachable", "%s cannot be reached", provider).WithHint("%s", hint).WithCause(cause)
}

// DecodeError returns the error for an answer that could not be read: Unavailable when it
// broke off, Malformed when it is no proper JSON.
func DecodeError(provider string, cause error) error {
	var op *net.OpError
	if errors.As(cause, &op) || errors.Is(cause, io.ErrUnexpectedEOF) || errors.Is(cause, io.EOF) {
		return caxton.Errorf(caxton.Unavailable, "model_answer_broken", "the answer of %s broke off", provider).WithCause(cause)
	}
	return caxton.Errorf(caxton.Malformed, "model_answer_malformed", "%s answered with something that cannot be read", provider).
		WithHint("check that llm.base_url points to the right kind of server").WithCause(cause)
}

// Ended returns the error for a call of provider whose context has ended: Timeout when the
// deadline passed, Canceled when the caller left, nil while it goes on.
func Ended(ctx context.Context, provider string) error {
	err := ctx.Err()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return TimeoutError(provider, err)
	}
	return caxton.Errorf(caxton.Canceled, "canceled", "the call of %s was cancelled", provider).WithCause(err)
}

// TimeoutError returns the error for an answer that did not come in time.
func TimeoutError(provider string, cause error) error {
	return caxton.Errorf(caxton.Timeout, "model_timeout", "%s did not answer in time", provider).
		WithHint("raise llm.timeout, or use a faster model").WithCause(cause)
}
