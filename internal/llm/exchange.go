package llm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

const (
	maxAnswer      = 32 << 20 // bytes of an answer: far more than any model says
	maxErrorAnswer = 64 << 10 // bytes of an error that are looked at
	minSecret      = 6        // characters: what is shorter may be part of any word
)

// An Exchange watches the HTTP side of one call through a provider's SDK, retries included,
// so that a failure has the right kind whatever the SDK makes of it, and shows no secret. It
// belongs to that call: Do is its middleware, Error and EventError are asked afterwards. It
// is not safe for concurrent use.
type Exchange struct {
	provider string
	secrets  []string
	streamed bool // an answer that is no stream is kept for Plain
	status   int  // of the last attempt, 0 without an answer
	body     []byte
	plain    []byte
}

// NewExchange returns an Exchange for one call of provider at baseURL with key.
func NewExchange(provider, key, baseURL string, streamed bool) *Exchange {
	x := &Exchange{provider: provider, streamed: streamed}
	x.secret(key)
	if u, err := url.Parse(baseURL); err == nil {
		password, _ := u.User.Password()
		x.secret(password)
		x.secret(url.QueryEscape(password))
	}
	return x
}

func (x *Exchange) secret(s string) {
	if len(s) >= minSecret {
		x.secrets = append(x.secrets, s)
	}
}

// Do passes one attempt to next. It reads answers that are errors, bounds those that are
// not, and tells the SDK not to wait for a time that lies behind the attempt's deadline:
// another provider may be asked in that time.
func (x *Exchange) Do(req *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	x.status, x.body, x.plain = 0, nil, nil
	res, err := next(req)
	if err != nil || res == nil {
		return res, err
	}
	x.status = res.StatusCode
	if res.StatusCode < http.StatusBadRequest {
		res.Body = &boundedBody{ReadCloser: res.Body, left: maxAnswer, provider: x.provider}
		if x.streamed && !isStream(res.Header) {
			x.plain, err = io.ReadAll(res.Body)
			_ = res.Body.Close() // it has been read
			res.Body = http.NoBody
		}
		return res, err
	}
	x.body, _ = io.ReadAll(io.LimitReader(res.Body, maxErrorAnswer)) // the status says enough, also when its text breaks off
	_ = res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(x.body))
	if pause, ok := retryAfter(res.Header, time.Now()); ok {
		if deadline, ok := req.Context().Deadline(); ok && time.Until(deadline) <= pause {
			res.Header.Set("X-Should-Retry", "false") // both SDKs obey it
		}
	}
	return res, nil
}

// isStream reports whether an answer may be a stream of events: it says so, or says nothing
// of a whole document.
func isStream(h http.Header) bool {
	t, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // what is no media type is ""
	return t != "application/json" && t != "text/html" && !strings.HasSuffix(t, "+json")
}

// Plain returns the whole answer that a server gave instead of a stream, or nil.
func (x *Exchange) Plain() []byte { return x.plain }

// Broken returns the error for a stream that ended without its end.
func (x *Exchange) Broken() error { return DecodeError(x.provider, io.ErrUnexpectedEOF) }

// Error returns the error that err, the SDK's, means: Canceled and Timeout when ctx, the
// caller's, ended or an attempt took too long; what the status of the last attempt means;
// Unavailable when the provider could not be reached or broke off; Malformed when its
// answer cannot be read.
func (x *Exchange) Error(ctx context.Context, err error) error {
	err = x.clean(err)
	var ne net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return Ended(ctx, x.provider)
	case x.status >= http.StatusMultipleChoices:
		words, code := errorWords(x.body)
		return statusError(x.provider, x.status, code, x.hide(words), err)
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return TimeoutError(x.provider, err)
	}
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e // the answer was too large
	}
	if x.status == 0 && errors.As(err, &ne) {
		return UnreachableError(x.provider, err)
	}
	return DecodeError(x.provider, err)
}

// EventError returns the error for an event, with its JSON, by which a stream says that it
// failed.
func (x *Exchange) EventError(event []byte, err error) error {
	words, code := errorWords(event)
	status := http.StatusServiceUnavailable
	switch code {
	case "rate_limit_error", "rate_limit_exceeded", "insufficient_quota":
		status = http.StatusTooManyRequests
	case "authentication_error", "invalid_api_key":
		status = http.StatusUnauthorized
	case "permission_error":
		status = http.StatusForbidden
	case "not_found_error", "model_not_found":
		status = http.StatusNotFound
	case "request_too_large":
		status = http.StatusRequestEntityTooLarge
	case "timeout_error":
		status = http.StatusGatewayTimeout
	case "invalid_request_error":
		status = http.StatusBadRequest
	}
	return statusError(x.provider, status, code, x.hide(words), x.clean(err))
}

// hide cuts secrets out of a text.
func (x *Exchange) hide(s string) string {
	for _, secret := range x.secrets {
		s = strings.ReplaceAll(s, secret, "[hidden]")
	}
	return s
}

// clean returns err, or when it shows a secret, one with its text without that. It may be
// logged then.
func (x *Exchange) clean(err error) error {
	if text := x.hide(err.Error()); text != err.Error() {
		return cleaned{text, err}
	}
	return err
}

// A cleaned error has another text than its cause.
type cleaned struct {
	text string
	err  error
}

func (c cleaned) Error() string { return c.text }
func (c cleaned) Unwrap() error { return c.err }

// errorWords returns what an error's body says to people and to programs, in any of the
// forms that providers use: {"error":{"message","code","type"}}, {"error":"…"},
// {"message":"…"}, {"detail":"…"}.
func errorWords(body []byte) (words, code string) {
	var b struct {
		Error   json.RawMessage `json:"error"`
		Message any             `json:"message"`
		Detail  any             `json:"detail"`
	}
	if json.Unmarshal(body, &b) != nil {
		return "", ""
	}
	var text string
	if json.Unmarshal(b.Error, &text) == nil && text != "" {
		return text, ""
	}
	var e struct{ Message, Code, Type any }
	if json.Unmarshal(b.Error, &e) == nil {
		for _, v := range []any{e.Code, e.Type} {
			if s, ok := v.(string); ok && code == "" {
				code = s
			}
		}
	}
	for _, v := range []any{e.Message, b.Message, b.Detail} {
		if s, ok := v.(string); ok && s != "" {
			return s, code
		}
	}
	return "", code
}

// retryAfter returns how long a server asks to wait, and false when it does not say.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	for _, f := range []struct {
		name string
		unit time.Duration
	}{{"Retry-After-Ms", time.Millisecond}, {"Retry-After", time.Second}} {
		v := h.Get(f.name)
		if n, err := strconv.ParseFloat(v, 64); err == nil && n >= 0 {
			return time.Duration(min(n, 1e6) * float64(f.unit)), true // a million seconds is never
		}
		if at, err := http.ParseTime(v); err == nil {
			return max(0, at.Sub(now)), true
		}
	}
	return 0, false
}

// A boundedBody fails when there is more of it than left bytes.
type boundedBody struct {
	io.ReadCloser
	left     int64
	provider string
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, caxton.Errorf(caxton.Malformed, "model_answer_malformed", "the answer of %s is larger than %v", b.provider, caxton.Size(maxAnswer)).
			WithHint("check that llm.base_url points to the right kind of server")
	}
	return n, err
}

// SameHost returns an HTTP client that follows redirects on the provider's own host only:
// a key must not travel to another. Adapters use it without one of their own.
func SameHost() *http.Client {
	return &http.Client{CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}
