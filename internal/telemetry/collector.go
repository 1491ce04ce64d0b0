package telemetry

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// maxResponse is how much of a collector's answer is read, of its headers and of its body.
const maxResponse = 64 << 10

// maxRetry bounds the tries of one batch together.
const maxRetry = time.Minute

// A collector takes spans by OTLP, over HTTP or gRPC. It is the client of an
// otlptrace.Exporter, which puts spans into OTLP's form, and belongs to one goroutine.
type collector struct {
	url      string // without what may be a secret
	target   string
	grpc     bool
	cfg      *TraceConfig
	client   *http.Client
	rejected int64           // of the batch at hand
	stopping <-chan struct{} // closed when the server stops: no more tries then
}

// newCollector returns the collector at an endpoint.
func newCollector(cfg *TraceConfig) (c *collector, note string, err error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, "", caxton.Errorf(caxton.Invalid, "otlp_endpoint_invalid", "observability.otlp_endpoint is not the address of a collector").
			WithHint("write it like http://localhost:4318 or http://localhost:4317")
	}
	if cfg.Protocol != "" && cfg.Protocol != "grpc" && cfg.Protocol != "http/protobuf" {
		return nil, "", caxton.Errorf(caxton.Invalid, "otlp_protocol_invalid", "spans cannot be sent by %.40q", cfg.Protocol).
			WithHint("use grpc or http/protobuf in OTEL_EXPORTER_OTLP_PROTOCOL, or leave it out")
	}
	if err := checkHeaders(cfg.Headers); err != nil {
		return nil, "", err
	}
	c = &collector{cfg: cfg}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: cfg.Timeout}).DialContext, TLSHandshakeTimeout: cfg.Timeout,
		MaxIdleConns: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxResponse,
	}
	switch {
	case cfg.Protocol == "" && (strings.TrimSuffix(u.Path, "/") == "/api/traces" || u.Port() == "14268"):
		u.Host, u.Path = net.JoinHostPort(u.Hostname(), "4318"), "/v1/traces"
		note = fmt.Sprintf("observability.otlp_endpoint is where Jaeger takes its own format; spans are sent as OTLP to %s, where it takes that since version 1.35", u.Redacted())
	case cfg.Protocol == "grpc" || cfg.Protocol == "" && u.Port() == "4317":
		c.grpc = true
		u.Path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
		transport.Protocols = &http.Protocols{}
		transport.Protocols.SetHTTP2(true)
		transport.Protocols.SetUnencryptedHTTP2(u.Scheme == "http")
	case u.Path == "" || u.Path == "/":
		u.Path = "/v1/traces"
	}
	c.url, c.target = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), u.String()
	c.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, note, nil
}

// checkHeaders refuses headers that HTTP cannot send. What they say may be a secret.
func checkHeaders(h http.Header) error {
	for name, values := range h {
		ok := name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~") == ""
		for _, v := range values {
			ok = ok && !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
		}
		if !ok {
			return caxton.Errorf(caxton.Invalid, "otlp_headers_invalid", "the header %.40q for the collector cannot be sent", name).
				WithHint("write OTEL_EXPORTER_OTLP_HEADERS like authorization=Bearer%%20KEY,x-tenant=blue")
		}
	}
	return nil
}

// during calls export, and returns how many of its spans the collector did not take. stop ends
// when there are to be no more tries.
func (c *collector) during(stop context.Context, export func() error) (rejected int64, err error) {
	c.rejected, c.stopping = 0, stop.Done()
	err = export()
	return c.rejected, err
}

// Start is part of otlptrace.Client.
func (*collector) Start(context.Context) error { return nil }

// Stop closes the connections.
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// A refusal is a collector's word that it did not take the spans.
type refusal struct {
	what  string
	again bool          // it may be tried again
	after time.Duration // not before
}

func (r *refusal) Error() string { return r.what }

// UploadTraces sends spans. What may pass is tried again for up to a minute, unless the server
// stops.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans}) // the same bytes as ExportTraceServiceRequest
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxRetry)
	defer cancel()
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := c.try(ctx, body)
		if err == nil {
			return nil
		}
		r, refused := errors.AsType[*refusal](err)
		if refused && !r.again || ctx.Err() != nil {
			return err
		}
		wait := pause/2 + rand.N(pause/2) //nolint:gosec // it only spreads the tries
		if refused {
			wait = max(wait, r.after)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.stopping:
			timer.Stop()
			return err
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// try sends spans once.
func (c *collector) try(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	kind := "application/x-protobuf"
	if c.grpc {
		kind = "application/grpc+proto"
		framed := binary.BigEndian.AppendUint32(make([]byte, 1, 5+len(body)), uint32(len(body))) //nolint:gosec // a batch has far fewer bytes
		body = append(framed, body...)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = c.cfg.Headers.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("User-Agent", "Caxton/"+c.cfg.Version)
	if c.grpc {
		req.Header.Set("Te", "trailers")
	}
	res, err := c.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address, which may hold a password
		}
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxResponse))
	_ = res.Body.Close()
	if err != nil {
		return err
	}
	if c.grpc {
		return c.answeredGRPC(res, answer)
	}
	return c.answered(res, answer)
}

// answered reads the answer over HTTP.
func (c *collector) answered(res *http.Response, body []byte) error {
	if res.StatusCode/100 == 2 {
		c.rejected = rejected(body)
		return nil
	}
	r := &refusal{what: "the collector answered " + statusOf(res)}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		r.again = true
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		r.after = time.Duration(min(s, 3600)) * time.Second
	}
	return r
}

// statusOf returns the status of an answer in our words, not in the collector's.
func statusOf(res *http.Response) string {
	return strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode))
}

// answeredGRPC reads the answer over gRPC: a frame, then the status in the trailer, or in the
// header when there is no frame.
func (c *collector) answeredGRPC(res *http.Response, body []byte) error {
	if res.StatusCode != http.StatusOK {
		return &refusal{what: "the collector answered " + statusOf(res) + " to OTLP over gRPC", again: res.StatusCode >= 500}
	}
	status := res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = res.Header.Get("Grpc-Status")
	}
	if status != "0" {
		r := &refusal{what: fmt.Sprintf("the collector answered with the gRPC status %.20q", status)}
		switch status {
		case "1", "4", "10", "11", "14", "15": // as OTLP says
			r.again = true
		}
		return r
	}
	if len(body) > 5 && body[0] == 0 {
		c.rejected = rejected(body[5:])
	}
	return nil
}

// rejected returns how many spans an ExportTraceServiceResponse says were not taken: field 1 of
// its field 1. One that cannot be read says nothing.
func rejected(response []byte) int64 {
	partial := field(response, 1, protowire.BytesType)
	if partial == nil {
		return 0
	}
	b, n := protowire.ConsumeBytes(partial)
	if n < 0 {
		return 0
	}
	v, n := protowire.ConsumeVarint(field(b, 1, protowire.VarintType))
	if n < 0 || int64(v) < 0 { //nolint:gosec // a number too large is none
		return 0
	}
	return int64(v) //nolint:gosec // checked
}

// field returns what follows the tag of a field, or nil.
func field(message []byte, number protowire.Number, kind protowire.Type) []byte {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		message = message[n:]
		if num == number && typ == kind {
			return message
		}
		n = protowire.ConsumeFieldValue(num, typ, message)
		if n < 0 {
			return nil
		}
		message = message[n:]
	}
	return nil
}
