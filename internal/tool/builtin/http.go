package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"golang.org/x/net/http/httpguts"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/egress"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/caxton/caxton/internal/tool"
)

// HTTPConfig bounds http_client. Addresses that do not belong to the public Internet are
// refused unless AllowedHosts names them. A rule for hosts is "example.com",
// "example.com:8443", "*.example.com" (all below it, not itself), "10.0.0.7:80",
// "10.0.0.0/8", or "*".
type HTTPConfig struct {
	AllowedHosts   []string        // these may be reached even where their addresses are private
	DeniedHosts    []string        // these may not be reached, even when allowed
	AllowedOnly    bool            // only AllowedHosts may be reached
	AllowPrivate   bool            // private addresses may be reached, but for metadata services
	Timeout        time.Duration   // for one call with all redirects; default 30 s, at most tool.MaxCallTime
	MaxResponse    caxton.Size     // of a body, decompressed; default 10 MiB
	MaxRequest     caxton.Size     // of a body; default 10 MiB
	MaxRedirects   int             // default 5; below 0: none
	MaxConnections int             // requests of one agent at once, more wait; default 16
	Resolver       egress.Resolver // default net.DefaultResolver
}

const (
	maxHeaderBytes = 256 << 10
	dialTimeout    = 10 * time.Second
)

type httpClient struct {
	spec    tool.Spec
	cfg     HTTPConfig
	allowed []egress.Rule
	denied  []egress.Rule
	gates   *gates
}

type httpArgs struct {
	URL     string            `json:"url" jsonschema:"Absolute URL with scheme http or https."`
	Method  string            `json:"method,omitempty" jsonschema:"HTTP method, GET unless given."`
	Headers map[string]string `json:"headers,omitempty" jsonschema:"Request headers by name."`
	Query   map[string]string `json:"query,omitempty" jsonschema:"Parameters that are added to the query of the URL, unescaped."`
	Body    any               `json:"body,omitempty" jsonschema:"Request body: a text that is sent as it is, or a JSON value that is sent as JSON."`
}

// httpResult is the Data of http_client.
type httpResult struct {
	Status      int               `json:"status"`
	URL         string            `json:"url"` // after redirects
	ContentType string            `json:"content_type"`
	Size        int               `json:"size"` // bytes of the body
	Headers     map[string]string `json:"headers,omitempty"`
}

func newHTTP(cfg Config) (tool.Tool, error) {
	c := &httpClient{cfg: cfg.HTTP, gates: newGates()}
	c.cfg.Timeout = min(positive(c.cfg.Timeout, 30*time.Second), tool.MaxCallTime)
	c.cfg.MaxResponse = positive(c.cfg.MaxResponse, 10*caxton.MiB)
	c.cfg.MaxRequest = positive(c.cfg.MaxRequest, 10*caxton.MiB)
	c.cfg.MaxConnections = positive(c.cfg.MaxConnections, 16)
	if c.cfg.MaxRedirects == 0 {
		c.cfg.MaxRedirects = 5
	}
	if c.cfg.Resolver == nil {
		c.cfg.Resolver = net.DefaultResolver
	}
	var err error
	if c.allowed, err = egress.ParseRules("tools.http_client.allowed_hosts", c.cfg.AllowedHosts); err != nil {
		return nil, err
	}
	if c.denied, err = egress.ParseRules("tools.http_client.denied_hosts", c.cfg.DeniedHosts); err != nil {
		return nil, err
	}
	c.spec, err = specOf[httpArgs]("http_client",
		"Send an HTTP request and read the answer. Use it to fetch a web page, a file or the answer of an API. "+
			"Returns the status, the content type, the size and the beginning of the body as text; web pages are reduced to their readable text. "+
			"Where the body is longer than what is shown, csv_parser and json_query read all of it when they are given the id of this call as \"from\". "+
			"Private and internal addresses are refused unless the operator allows them.",
		func(p map[string]*jsonschema.Schema) {
			p["url"].MinLength = new(1)
			p["method"].Enum = []any{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
		})
	return c, err
}

// Spec describes the tool.
func (c *httpClient) Spec() tool.Spec { return c.spec }

// IdempotentCall reports whether the call only reads.
func (c *httpClient) IdempotentCall(args json.RawMessage) bool {
	var a httpArgs
	if json.Unmarshal(args, &a) != nil {
		return false
	}
	return safe(a.Method)
}

// safe reports whether a method only reads.
func safe(method string) bool {
	return method == "" || method == http.MethodGet || method == http.MethodHead
}

// Call sends the request. An answer of the server is a result whatever its status is.
func (c *httpClient) Call(ctx context.Context, call tool.Call) (tool.Result, error) {
	var a httpArgs
	if err := decode(c.spec.Name, call.Args, &a); err != nil {
		return tool.Result{}, err
	}
	limit := c.cfg.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	granted, err := egress.ParseRules("allowed_hosts of the agent", call.Grant.AllowedHosts)
	if err != nil {
		return tool.Result{}, err
	}
	p := &egress.Policy{
		Allowed: c.allowed, Denied: c.denied, Granted: granted, AllowedOnly: c.cfg.AllowedOnly, AllowPrivate: c.cfg.AllowPrivate,
		Setting: "tools.http_client.allowed_hosts",
	}
	req, err := c.request(ctx, a, call.Key, p)
	if err != nil {
		return tool.Result{}, err
	}
	connections, err := c.connections(call.Config)
	if err != nil {
		return tool.Result{}, err
	}
	release, err := c.gates.enter(ctx, call.AgentID, connections)
	if err != nil {
		return tool.Result{}, c.failure(req, err, limit)
	}
	defer release()

	// Connections are not shared between calls: what one agent may reach must not become
	// reachable for another by way of an idle connection.
	transport := &http.Transport{
		DialContext:            (&egress.Dialer{Policy: p, Resolver: c.cfg.Resolver}).DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: c.redirect(p)}
	within, span := telemetry.Start(ctx, telemetry.Calling, req.Method, "")
	span.Str("http.request.method", req.Method)
	span.Str("server.address", req.URL.Hostname())
	telemetry.Inject(within, req.Header)
	resp, err := client.Do(req.WithContext(within))
	if err != nil {
		err = c.failure(req, err, limit)
		span.End(err)
		return tool.Result{}, err
	}
	span.Int("http.response.status_code", int64(resp.StatusCode))
	if resp.StatusCode >= 400 {
		span.FailCode(strconv.Itoa(resp.StatusCode))
	}
	defer span.End(nil)     // when the body is read
	defer resp.Body.Close() //nolint:errcheck // the body was read; there is nothing left to lose
	body, err := c.read(resp)
	if caxton.KindOf(err) == caxton.TooLarge && !safe(req.Method) { // it was done: an error would have it done again
		res, rerr := c.result(resp, nil, call.ID)
		res.Text += "\n[the body is not shown: " + publicText(err) + "]"
		return res, rerr
	}
	if err != nil {
		return tool.Result{}, c.failure(resp.Request, err, limit)
	}
	return c.result(resp, body, call.ID)
}

// connections returns how many requests the agent may have under way at once: what its file
// says in tool_config.http_client.max_connections, within the server's limit.
func (c *httpClient) connections(config map[string]any) (int, error) {
	v, ok := config["max_connections"]
	if !ok {
		return c.cfg.MaxConnections, nil
	}
	n := 0
	switch v := v.(type) {
	case int:
		n = v
	case int64:
		n = int(v)
	case float64:
		n = int(v)
	case string:
		n, _ = strconv.Atoi(v) // 0 is reported below
	}
	if n < 1 {
		return 0, caxton.Errorf(caxton.Invalid, "tool_config_invalid", "tool_config.http_client.max_connections of the agent is %v, which is not a number above 0", v)
	}
	return min(n, c.cfg.MaxConnections), nil
}

// request builds the request of a call and checks everything that can be checked before a
// connection is made.
func (c *httpClient) request(ctx context.Context, a httpArgs, key string, p *egress.Policy) (*http.Request, error) {
	u, err := url.Parse(strings.TrimSpace(a.URL))
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "url_invalid", "%.200q is not a URL", a.URL).WithCause(err)
	}
	if err := checkURL(u, p); err != nil {
		return nil, err
	}
	if len(a.Query) > 0 {
		q := u.Query()
		for name, value := range a.Query {
			q.Set(name, value)
		}
		u.RawQuery = q.Encode()
	}
	method := a.Method
	if method == "" {
		method = http.MethodGet
	}
	var body io.Reader
	var sort string
	switch b := a.Body.(type) {
	case nil:
	case string:
		if body = strings.NewReader(b); b == "" {
			body = nil
		}
		if err := tooLarge("the request body", len(b), c.cfg.MaxRequest, "tools.http_client.max_request"); err != nil {
			return nil, err
		}
		if sort = "text/plain; charset=utf-8"; json.Valid([]byte(b)) && strings.ContainsAny(b[:min(len(b), 1)], "{[") {
			sort = "application/json"
		}
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encoding the body: %w", err)
		}
		if err := tooLarge("the request body", len(text), c.cfg.MaxRequest, "tools.http_client.max_request"); err != nil {
			return nil, err
		}
		body, sort = bytes.NewReader(text), "application/json"
	}
	if body != nil && safe(method) {
		return nil, caxton.Errorf(caxton.Invalid, "arguments_invalid", "a %s request has no body", method).
			WithHint("use method POST, PUT or PATCH, or pass parameters as query")
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "url_invalid", "%.200q cannot be requested", u.Redacted()).WithCause(err)
	}
	req.Header.Set("User-Agent", "caxton")
	req.Header.Set("Accept", "*/*")
	if body != nil {
		req.Header.Set("Content-Type", sort)
	}
	if !safe(method) && key != "" && httpguts.ValidHeaderFieldValue(key) {
		req.Header.Set("Idempotency-Key", key)
	}
	return req, setHeaders(req.Header, a.Headers)
}

// setHeaders adds the headers a call asks for. Those that steer the connection are refused:
// they could make a proxy on the way read another request than the one that was checked.
func setHeaders(h http.Header, headers map[string]string) error {
	for name, value := range headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return caxton.Errorf(caxton.Invalid, "header_invalid", "the header %.80q cannot be sent: its name or its value has characters that are not allowed there", name)
		}
		switch canonical := http.CanonicalHeaderKey(name); canonical {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade", "Expect",
			"Proxy-Authorization", "Proxy-Connection", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip":
			return caxton.Errorf(caxton.Invalid, "header_invalid", "the header %s cannot be set", canonical).
				WithHint("leave it out; it is set as the request needs it")
		case "Accept-Encoding": // answers are decompressed here, under the size limit
		default:
			h.Set(name, value)
		}
	}
	return nil
}

// checkURL checks the scheme and the host of a URL against the policy.
func checkURL(u *url.URL, p *egress.Policy) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return caxton.Errorf(caxton.Invalid, "url_invalid", "%.200q is not an absolute http or https URL", u.Redacted()).
			WithHint("write it like https://example.com/data.csv")
	}
	if u.Hostname() == "" {
		return caxton.Errorf(caxton.Invalid, "url_invalid", "%.200q names no host", u.Redacted()).
			WithHint("write it like https://example.com/data.csv")
	}
	_, err := p.CheckName(u.Hostname(), portOf(u))
	return err
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// redirect returns the check that each redirect must pass.
func (c *httpClient) redirect(p *egress.Policy) func(req *http.Request, via []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) > c.cfg.MaxRedirects {
			return caxton.Errorf(caxton.Exhausted, "too_many_redirects", "%s redirected more than %d times", via[0].URL.Hostname(), max(c.cfg.MaxRedirects, 0)).
				WithHint("ask for the final URL; the last redirect led to %s", req.URL.Redacted())
		}
		if err := checkURL(req.URL, p); err != nil {
			return fmt.Errorf("redirect: %w", err)
		}
		req.Header.Del("Referer") // it would tell one host the query sent to another
		crossed := func(r *http.Request) bool { return origin(r.URL) != origin(via[0].URL) }
		if crossed(req) || slices.ContainsFunc(via, crossed) {
			for name := range req.Header {
				if !harmless(name) {
					req.Header.Del(name)
				}
			}
		}
		return nil
	}
}

// publicText returns what of an *caxton.Error may be shown.
func publicText(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Message
	}
	return "it cannot be read"
}

func origin(u *url.URL) string {
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u))
}

// harmless reports whether a header carries nothing that one host knows and another should
// not: no credentials under whatever name.
func harmless(name string) bool {
	switch name {
	case "Accept", "Accept-Language", "Content-Type", "If-Modified-Since", "If-None-Match", "Range", "User-Agent":
		return true
	}
	return false
}

// read reads a body up to the limit, counted after decompression.
func (c *httpClient) read(resp *http.Response) ([]byte, error) {
	limit := int64(c.cfg.MaxResponse)
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err //nolint:wrapcheck // failure classifies it
	}
	if int64(len(body)) > limit {
		return nil, caxton.Errorf(caxton.TooLarge, "response_too_large", "the answer of %s is larger than the limit of %s", resp.Request.URL.Hostname(), c.cfg.MaxResponse).
			WithHint("ask for less, for example with a Range header, or raise tools.http_client.max_response in the server's configuration")
	}
	return body, nil
}

// failure makes an *caxton.Error of what went wrong between here and the server. What the
// policy said is inside the errors of net/http and comes out again.
func (c *httpClient) failure(req *http.Request, err error, limit time.Duration) error {
	if known, ok := errors.AsType[*caxton.Error](err); ok {
		return known
	}
	host := req.URL.Hostname()
	var (
		dns      *net.DNSError
		timeout  net.Error
		overlong = errors.As(err, &timeout) && timeout.Timeout()
	)
	switch {
	case errors.Is(req.Context().Err(), context.Canceled):
		return caxton.Errorf(caxton.Canceled, "tool_canceled", "the request to %s was canceled", host).WithCause(err)
	case overlong || errors.Is(err, context.DeadlineExceeded):
		late := caxton.Errorf(caxton.Timeout, "http_timeout", "%s did not answer in full within %v", host, limit.Round(time.Millisecond)).
			WithHint("try again later, ask for less, or raise the timeout of http_client").WithCause(err)
		if !safe(req.Method) {
			return tool.Uncertain(late)
		}
		return late
	case errors.As(err, &dns):
		return caxton.Errorf(caxton.Unavailable, "host_not_found", "the host %s cannot be found", host).
			WithHint("check the spelling of the URL").WithCause(err)
	}
	cause := err
	if outer, ok := errors.AsType[*url.Error](err); ok {
		cause = outer.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); !safe(req.Method) && (!ok || op.Op != "dial") {
		return tool.Uncertain(caxton.Errorf(caxton.Unavailable, "http_failed", "the request to %s was cut off: %v", host, cause).WithCause(err))
	}
	return caxton.Errorf(caxton.Unavailable, "http_failed", "the request to %s failed: %v", host, cause).WithCause(err)
}

// result describes an answer.
func (c *httpClient) result(resp *http.Response, body []byte, callID string) (tool.Result, error) {
	media, charset := mediaType(resp.Header.Get("Content-Type"), resp.Request.URL.Path, body)
	data := httpResult{
		Status: resp.StatusCode, URL: resp.Request.URL.Redacted(), ContentType: media, Size: len(body),
		Headers: notable(resp.Header),
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode >= 400 {
		b.WriteString(" (the request failed)")
	}
	fmt.Fprintf(&b, "\nurl: %s\ncontent-type: %s\nsize: %d bytes\n", data.URL, media, len(body))
	switch text, total, ok := readable(body, media, charset, resp.Request.URL); {
	case len(body) == 0:
	case !ok:
		b.WriteString("\n[a body that is not text is not shown]")
	default:
		b.WriteString("\n" + extract(text, total, callID))
	}
	encoded, err := encode(data)
	if err != nil {
		return tool.Result{}, err
	}
	return tool.Result{Text: b.String(), Data: encoded, Body: body, MediaType: media}, nil
}

// notable returns the headers of an answer that help to decide what to do next.
func notable(h http.Header) map[string]string {
	names := []string{
		"Allow", "Content-Disposition", "Content-Language", "Content-Range", "Date", "Etag", "Last-Modified", "Link", "Location",
		"Retry-After", "Www-Authenticate", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "X-Total-Count",
	}
	some := map[string]string{}
	for _, name := range names {
		if v := h.Get(name); v != "" {
			some[strings.ToLower(name)] = cut(strings.ToValidUTF8(v, "\uFFFD"), 1000)
		}
	}
	return some
}
