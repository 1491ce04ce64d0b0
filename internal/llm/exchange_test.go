package llm_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// exchange passes one answer through an Exchange.
func exchange(t *testing.T, status int, header http.Header, body string) (*llm.Exchange, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://x.test/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	x := llm.NewExchange("p", "the-secret-key", "https://me:pass%20word@x.test/v1", false)
	res, err := x.Do(req, func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return x, res
}

func TestExchangeWords(t *testing.T) {
	long := strings.Repeat("é", 400)
	tests := []struct{ name, body, want string }{
		{"an object", `{"error":{"message":"words","type":"t"}}`, "p refused the request: words"},
		{"a text", `{"error":"words"}`, "p refused the request: words"},
		{"a message", `{"message":"words","error":null}`, "p refused the request: words"},
		{"a detail", `{"detail":"words"}`, "p refused the request: words"},
		{"a list of details", `{"detail":[{"msg":"words"}]}`, "p refused the request"},
		{"a number", `{"error":{"message":5,"code":400}}`, "p refused the request"},
		{"no JSON", `words`, "p refused the request"},
		{"nothing", ``, "p refused the request"},
		{"the key", `{"error":"not the-secret-key"}`, "p refused the request: not [hidden]"},
		{"the password", `{"error":"not pass word, not pass+word"}`, "p refused the request: not [hidden], not [hidden]"},
		{"many words", `{"error":"` + long + `"}`, "p refused the request: " + long[:600] + "…"},
	}
	for _, tt := range tests {
		x, _ := exchange(t, 400, http.Header{}, tt.body)
		err := x.Error(t.Context(), errors.New("the SDK says the-secret-key"))
		e, ok := errors.AsType[*caxton.Error](err)
		if !ok || e.Message != tt.want || e.Kind != caxton.Invalid || !utf8.ValidString(e.Message) {
			t.Errorf("%s: %#v, want the message %q", tt.name, err, tt.want)
		}
		if strings.Contains(err.Error(), "the-secret-key") {
			t.Errorf("%s: %v shows the key", tt.name, err)
		}
	}
}

func TestExchangePause(t *testing.T) {
	for value, want := range map[string]string{ // within a deadline of a minute
		"": "", "0": "", "30": "", "90": "false", "1e300": "false", "-5": "", "soon": "",
		time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat): "",
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat):        "false",
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       "",
	} {
		h := http.Header{}
		h.Set("Retry-After", value)
		if _, res := exchange(t, 429, h, ""); res.Header.Get("X-Should-Retry") != want {
			t.Errorf("Retry-After %q: X-Should-Retry %q, want %q", value, res.Header.Get("X-Should-Retry"), want)
		}
	}
	if _, res := exchange(t, 429, http.Header{"Retry-After-Ms": {"70000"}}, ""); res.Header.Get("X-Should-Retry") != "false" {
		t.Error("Retry-After-Ms is not read")
	}
}

func TestExchangeEvents(t *testing.T) {
	for code, want := range map[string]caxton.Kind{
		"overloaded_error": caxton.Unavailable, "api_error": caxton.Unavailable, "server_error": caxton.Unavailable, "": caxton.Unavailable,
		"rate_limit_error": caxton.Exhausted, "insufficient_quota": caxton.Exhausted, "authentication_error": caxton.Unauthenticated,
		"permission_error": caxton.Forbidden, "not_found_error": caxton.NotFound, "request_too_large": caxton.TooLarge,
		"context_length_exceeded": caxton.TooLarge, "timeout_error": caxton.Timeout, "invalid_request_error": caxton.Invalid,
	} {
		x := llm.NewExchange("p", "the-secret-key", "", true)
		if err := x.EventError([]byte(`{"error":{"type":"`+code+`","message":"m"}}`), errors.New("x")); caxton.KindOf(err) != want {
			t.Errorf("%s: %v, want %s", code, err, want)
		}
	}
}

func FuzzExchange(f *testing.F) {
	for _, s := range []string{`{"error":{"message":"the-secret-key","code":1}}`, `{"error":"a","detail":[]}`, `[]`, `{"error":{"message":{}}}`, "the-secret-key"} {
		f.Add(400, s)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 300 || status > 599 {
			return
		}
		x, _ := exchange(t, status, http.Header{}, body)
		for _, err := range []error{x.Error(t.Context(), errors.New(body)), x.EventError([]byte(body), errors.New(body))} {
			if caxton.KindOf(err) == caxton.Internal || strings.Contains(err.Error(), "the-secret-key") {
				t.Errorf("%d %q: %v", status, body, err)
			}
		}
	})
}
