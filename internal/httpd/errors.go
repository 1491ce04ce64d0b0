package httpd

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

// StatusClientClosed is the status for callers who left before their answer; nobody sees it
// but the log.
const StatusClientClosed = 499

// statusOf returns the HTTP status that a kind of error means.
func statusOf(k caxton.Kind) int {
	switch k {
	case caxton.Malformed:
		return http.StatusBadRequest
	case caxton.Invalid:
		return http.StatusUnprocessableEntity
	case caxton.Unauthenticated:
		return http.StatusUnauthorized
	case caxton.Forbidden:
		return http.StatusForbidden
	case caxton.NotFound:
		return http.StatusNotFound
	case caxton.Conflict:
		return http.StatusConflict
	case caxton.TooLarge:
		return http.StatusRequestEntityTooLarge
	case caxton.Exhausted:
		return http.StatusTooManyRequests
	case caxton.Canceled:
		return StatusClientClosed
	case caxton.Internal:
		return http.StatusInternalServerError
	case caxton.Unavailable:
		return http.StatusServiceUnavailable
	case caxton.Timeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// fail turns a handler's error into what the caller sees.
func (s *Server) fail(ctx context.Context, err error) error {
	err = s.seen(ctx, err)
	body := &errorBody{api.ErrorFrom(err, requestID(ctx)).Error, statusOf(caxton.KindOf(err))}
	if broken, ok := errors.AsType[*importBroken](err); ok {
		body.Body.Imported = &broken.done
		body.Body.Hint = broken.hint(body.Body.Hint)
	}
	return body
}

// seen logs what the caller of a failed request does not see: the cause of what is not his
// fault. An error of no kind that came with the end of the request is that end.
func (s *Server) seen(ctx context.Context, err error) error {
	kind, id := caxton.KindOf(err), requestID(ctx)
	if cerr := context.Cause(ctx); cerr != nil && kind == caxton.Internal {
		err = caxton.Errorf(caxton.Canceled, "canceled", "the caller left").WithCause(err)
		if errors.Is(cerr, context.DeadlineExceeded) {
			err = caxton.Errorf(caxton.Timeout, "request_timeout", "the request took longer than %s", s.cfg.RequestTimeout).
				WithHint("it may have been done in part; raise server.request_timeout").WithCause(err)
		}
		kind = caxton.KindOf(err)
	}
	switch statusOf(kind) {
	case http.StatusInternalServerError:
		s.cfg.Logger.ErrorContext(ctx, "request failed", "request_id", id, "error", err)
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		s.cfg.Logger.WarnContext(ctx, "request not served", "request_id", id, "error", err)
	}
	return err
}

// errorBody is an error on its way out: huma writes it as it is.
type errorBody struct {
	Body   api.ErrorInfo `json:"error"`
	status int
}

// Error returns the message.
func (e *errorBody) Error() string { return e.Body.Message }

// GetStatus returns the HTTP status.
func (e *errorBody) GetStatus() int { return e.status }

// humaError gives huma's own errors (of parsing and of validation) our body and statuses.
func humaError(id string, status int, msg string, errs ...error) huma.StatusError {
	kind, code, hint := caxton.Malformed, "request_malformed", ""
	switch status {
	case http.StatusUnprocessableEntity:
		kind, code = caxton.Invalid, "request_invalid"
	case http.StatusRequestEntityTooLarge:
		kind, code = caxton.TooLarge, "request_too_large"
	case http.StatusUnsupportedMediaType:
		code, hint = "content_type_unknown", "send application/json"
	case http.StatusRequestTimeout:
		kind, code = caxton.Timeout, "request_too_slow"
	case http.StatusNotFound:
		kind, code = caxton.NotFound, "not_found"
	case http.StatusNotAcceptable:
		code, hint = "not_acceptable", "accept application/json"
	case http.StatusInternalServerError:
		kind, code = caxton.Internal, "internal"
	}
	e := &caxton.Error{Kind: kind, Code: code, Message: msg, Hint: hint}
	for _, err := range errs {
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			e.Issues = append(e.Issues, caxton.Issue{Key: strings.TrimPrefix(d.Location, "body."), Message: d.Message})
		} else if err != nil {
			e.Issues = append(e.Issues, caxton.Issue{Message: err.Error()})
		}
	}
	if len(e.Issues) == 1 {
		e.Message += ": " + e.Issues[0].String()
		if e.Issues[0].Key != "" {
			e.Message = msg + ": " + e.Issues[0].Key + ": " + e.Issues[0].Message
		}
	}
	return &errorBody{api.ErrorFrom(e, id).Error, statusOf(kind)}
}
