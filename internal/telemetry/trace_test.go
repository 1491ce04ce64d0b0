package telemetry_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A collector is a server that reads what is sent to it.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
	heads []http.Header
	paths []string
	attrs map[string]string // of the resource
}

// newCollector starts a collector that answers by answer; nil takes everything.
func newCollector(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request) (taken bool)) *collector {
	t.Helper()
	c := &collector{attrs: map[string]string{}}
	n := 0
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		c.mu.Lock()
		n++
		i := n
		c.heads, c.paths = append(c.heads, r.Header.Clone()), append(c.paths, r.URL.Path)
		c.mu.Unlock()
		if answer != nil && !answer(i, w, r) {
			return
		}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			if len(body) < 5 || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-5 {
				t.Errorf("a frame of %d bytes begins with % x", len(body), body[:min(5, len(body))])
				return
			}
			body = body[5:]
		}
		var data tracepb.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			t.Errorf("the collector cannot read what it was sent: %v", err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, rs := range data.GetResourceSpans() {
			for _, a := range rs.GetResource().GetAttributes() {
				c.attrs[a.GetKey()] = a.GetValue().GetStringValue()
			}
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
	}))
	return c
}

func (c *collector) names() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, 0, len(c.spans))
	for _, s := range c.spans {
		names = append(names, s.GetName())
	}
	return strings.Join(names, ", ")
}

// run runs a Tracer until the function that it returns is called.
func run(t *testing.T, cfg telemetry.TraceConfig) (tracer *telemetry.Tracer, note string, stop func()) {
	t.Helper()
	tracer, note, err := telemetry.NewTracer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tracer.Run(ctx) }()
	return tracer, note, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// metric returns the value of a counter or gauge.
func metric(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s %s", name, label)
	return 0
}

func TestTracerSends(t *testing.T) {
	c := newCollector(t, nil)
	c.Start()
	defer c.Close()
	reg := prometheus.NewPedanticRegistry()
	tracer, note, stop := run(t, telemetry.TraceConfig{
		Ratio: 1, Endpoint: c.URL, Version: "1.2.3", Instance: "i1", Attrs: map[string]string{"deployment.environment.name": "test"},
		Headers: http.Header{"X-Key": {"secret"}}, Registerer: reg,
	})
	if note != "" {
		t.Errorf("note = %q", note)
	}
	ctx, above := tracer.Start(t.Context(), telemetry.Serving, "GET", "/x", "")
	_, below := telemetry.Start(ctx, telemetry.Calling, "chat", "m")
	below.Str("k", "v")
	below.Str("empty", "")
	below.Int("n", 7)
	below.Str("long", strings.Repeat("x", 1000))
	below.End(caxton.Errorf(caxton.Timeout, "model_timeout", "the secret text of %s", "somebody"))
	above.End(nil)
	stop()
	if got, want := c.names(), "chat m, GET /x"; got != want {
		t.Fatalf("spans = %s, want %s", got, want)
	}
	child, parent := c.spans[0], c.spans[1]
	if !bytes.Equal(child.GetTraceId(), parent.GetTraceId()) || !bytes.Equal(child.GetParentSpanId(), parent.GetSpanId()) || len(parent.GetParentSpanId()) != 0 {
		t.Errorf("the spans are no tree: %v, %v", parent, child)
	}
	if parent.GetKind() != tracepb.Span_SPAN_KIND_SERVER || child.GetKind() != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("kinds = %v, %v", parent.GetKind(), child.GetKind())
	}
	attrs := map[string]string{}
	for _, a := range child.GetAttributes() {
		attrs[a.GetKey()] = a.GetValue().GetStringValue()
	}
	if attrs["k"] != "v" || attrs["error.type"] != "model_timeout" || len(attrs["long"]) != 256 || len(attrs) != 4 {
		t.Errorf("attributes = %v", attrs)
	}
	if s := child.GetStatus(); s.GetCode() != tracepb.Status_STATUS_CODE_ERROR || s.GetMessage() != "model_timeout" {
		t.Errorf("status = %v", s)
	}
	if strings.Contains(child.String(), "somebody") {
		t.Errorf("the text of an error is in the span: %v", child)
	}
	for k, want := range map[string]string{
		"service.name": "caxton", "service.version": "1.2.3", "service.instance.id": "i1", "deployment.environment.name": "test",
	} {
		if c.attrs[k] != want {
			t.Errorf("resource %s = %q, want %q", k, c.attrs[k], want)
		}
	}
	h := c.heads[0]
	if c.paths[0] != "/v1/traces" || h.Get("Content-Type") != "application/x-protobuf" || h.Get("X-Key") != "secret" || h.Get("User-Agent") != "Caxton/1.2.3" {
		t.Errorf("request to %s with %v", c.paths[0], h)
	}
	if got := metric(t, reg, "caxton_traces_exported_total", ""); got != 2 {
		t.Errorf("exported = %v", got)
	}
}

func TestTracerSamples(t *testing.T) {
	const (
		sampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
		garbage   = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"
	)
	tests := []struct {
		name     string
		ratio    float64
		parent   string
		recorded bool
		joined   bool // the trace is the parent's
	}{
		{"all", 1, "", true, false},
		{"none", 0, "", false, false},
		{"the caller records", 0, sampled, true, true},
		{"the caller does not", 1, unsampled, false, true},
		{"unreadable", 1, garbage, true, false},
		{"unreadable, none", 0, garbage, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: tt.ratio})
			if err != nil {
				t.Fatal(err)
			}
			ctx, s := tracer.Start(t.Context(), telemetry.Handling, "turn", "", tt.parent)
			if s.Recorded() != tt.recorded {
				t.Errorf("recorded = %v, want %v", s.Recorded(), tt.recorded)
			}
			within, child := telemetry.Start(ctx, telemetry.Internal, "child", "")
			if child.Recorded() != tt.recorded {
				t.Errorf("child recorded = %v, want %v", child.Recorded(), tt.recorded)
			}
			parent := telemetry.TraceParent(within)
			if joined := strings.HasPrefix(parent, sampled[:36]); joined != tt.joined || strings.HasSuffix(parent, "-01") != tt.recorded {
				t.Errorf("TraceParent = %s, joined %v, want %v", parent, joined, tt.joined)
			}
			child.End(nil)
			s.End(nil)
			spans, err := tracer.Trace(telemetry.TraceID(ctx))
			if tt.recorded && (err != nil || len(spans) != 2) || !tt.recorded && caxton.KindOf(err) != caxton.NotFound {
				t.Errorf("Trace() = %v, %v", spans, err)
			}
		})
	}
}

func TestTraceParent(t *testing.T) {
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
	if err != nil {
		t.Fatal(err)
	}
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	tests := []struct {
		name, parent string
		joined       bool
	}{
		{"good", good, true},
		{"another flag too", strings.TrimSuffix(good, "01") + "03", true},
		{"a later version", "cc" + good[2:], true},
		{"a later version that says more", "cc" + good[2:] + "-more", true},
		{"a later version that runs on", "cc" + good[2:] + "more", false},
		{"this version with more", good + "-more", false},
		{"no version", "ff" + good[2:], false},
		{"cut", good[:54], false},
		{"upper case", strings.ToUpper(good), false},
		{"no trace", "00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
		{"no span", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
		{"other signs", strings.Replace(good, "-b7", "_b7", 1), false},
		{"no digits", strings.Replace(good, "b7ad", "wxyz", 1), false},
		{"nothing", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", tt.parent)
			s.End(nil)
			if joined := telemetry.TraceID(ctx) == good[3:35]; joined != tt.joined {
				t.Errorf("with the parent %q the trace is %s, want joined %v", tt.parent, telemetry.TraceID(ctx), tt.joined)
			}
			byHeader := telemetry.Extract(t.Context(), http.Header{"Traceparent": {tt.parent}})
			if joined := telemetry.TraceID(byHeader) == good[3:35]; joined != tt.joined {
				t.Errorf("in a header it is read otherwise: joined %v", joined)
			}
		})
	}
}

func TestTracerRatio(t *testing.T) {
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range 10_000 {
		_, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", "")
		if s.Recorded() {
			n++
		}
		s.End(nil)
	}
	if n < 800 || n > 1200 { // six standard deviations
		t.Errorf("%d of 10,000 traces are recorded, want about 1,000", n)
	}
}

func TestTracerKeeps(t *testing.T) {
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1, Keep: 3})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, 0, 2)
	for _, name := range []string{"first", "second"} {
		ctx, s := tracer.Start(t.Context(), telemetry.Internal, name, "", "")
		_, c := telemetry.Start(ctx, telemetry.Internal, "part", "")
		c.End(errors.New("no"))
		s.End(nil)
		ids = append(ids, telemetry.TraceID(ctx))
	}
	all, err := tracer.Traces(10)
	if err != nil || len(all) != 2 || all[0].Name != "second" || all[0].Spans != 2 || all[0].Errors != 1 || all[1].Spans != 1 {
		t.Errorf("Traces() = %+v, %v, want the second whole and one span of the first", all, err)
	}
	if all, err = tracer.Traces(1); err != nil || len(all) != 1 {
		t.Errorf("Traces(1) = %+v, %v", all, err)
	}
	spans, err := tracer.Trace(strings.ToUpper(ids[1]))
	if err != nil || len(spans) != 2 || spans[0].Name != "second" || spans[1].Parent != spans[0].ID || spans[1].Error != "internal" {
		t.Errorf("Trace() = %+v, %v", spans, err)
	}
	for id, want := range map[string]caxton.Kind{"nonsense": caxton.Invalid, strings.Repeat("ab", 16): caxton.NotFound} {
		if _, err := tracer.Trace(id); caxton.KindOf(err) != want {
			t.Errorf("Trace(%s): %v, want %s", id, err, want)
		}
	}
	var off *telemetry.Tracer
	if _, err := off.Traces(1); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("without a tracer: %v", err)
	}
}

// TestTracerOff shows that a part of the server pays nothing for traces that nobody records.
func TestTracerOff(t *testing.T) {
	var off *telemetry.Tracer
	ctx := t.Context()
	model := "m"
	allocs := testing.AllocsPerRun(1000, func() {
		ctx, s := off.Start(ctx, telemetry.Handling, "invoke_agent", model, "")
		ctx, c := telemetry.Start(ctx, telemetry.Calling, "chat", model)
		c.Str("k", model)
		c.Int("n", 5)
		c.End(nil)
		s.End(nil)
		if telemetry.TraceParent(ctx) != "" {
			t.Error("there is a trace")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations with tracing off, want 0", allocs)
	}
}

func TestCollectorEndpoints(t *testing.T) {
	tests := []struct {
		name, endpoint string
		note           string // part of it
		fails          bool
	}{
		{"HTTP", "http://localhost:4318", "", false},
		{"with a path", "https://collector.example/otlp/v1/traces", "", false},
		{"gRPC", "http://localhost:4317", "", false},
		{"Jaeger's own format", "http://jaeger-collector:14268/api/traces", "http://jaeger-collector:4318/v1/traces", false},
		{"a password is not shown", "http://me:secret@jaeger:14268/api/traces", "http://me:xxxxx@jaeger:4318/v1/traces", false},
		{"no host", "http://", "", true},
		{"another scheme", "ftp://localhost", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, note, err := telemetry.NewTracer(telemetry.TraceConfig{Endpoint: tt.endpoint})
			if (err != nil) != tt.fails || !strings.Contains(note, tt.note) || (note == "") != (tt.note == "") {
				t.Errorf("NewTracer(%s): note %q, error %v", tt.endpoint, note, err)
			}
		})
	}
}

func TestCollectorAnswers(t *testing.T) {
	partial := []byte{0x0a, 0x02, 0x08, 0x01} // ExportTraceServiceResponse{partial_success: {rejected_spans: 1}}
	tests := []struct {
		name   string
		answer func(n int, w http.ResponseWriter, r *http.Request) bool
		tries  int
		want   map[string]float64 // dropped by reason, and "" for exported
	}{
		{"500 is final", func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return false
		}, 1, map[string]float64{"not_sent": 1}},
		{"503 is tried again", func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n < 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n >= 2
		}, 2, map[string]float64{"": 1}},
		{"a redirect is not followed", func(_ int, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return false
		}, 1, map[string]float64{"not_sent": 1}},
		{"partial success", func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Write(partial)
			return true
		}, 1, map[string]float64{"rejected": 1, "": 0}},
		{"an answer that is no protobuf", func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			io.WriteString(w, "{}")
			return true
		}, 1, map[string]float64{"": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answered := make(chan struct{}, 100)
			c := newCollector(t, func(n int, w http.ResponseWriter, r *http.Request) bool {
				defer func() { answered <- struct{}{} }()
				return tt.answer(n, w, r)
			})
			c.Start()
			defer c.Close()
			reg := prometheus.NewPedanticRegistry()
			tracer, _, stop := run(t, telemetry.TraceConfig{Ratio: 1, Endpoint: c.URL, Registerer: reg, Delay: time.Millisecond})
			_, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", "")
			s.End(nil)
			for range tt.tries {
				<-answered
			}
			stop()
			if len(c.paths) != tt.tries {
				t.Errorf("%d tries, want %d", len(c.paths), tt.tries)
			}
			for reason, want := range tt.want {
				name := "caxton_traces_dropped_total"
				if reason == "" {
					name = "caxton_traces_exported_total"
				}
				if got := metric(t, reg, name, reason); got != want {
					t.Errorf("%s %s = %v, want %v", name, reason, got, want)
				}
			}
		})
	}
}

// TestCollectorGRPC speaks to a server of HTTP/2 that answers as gRPC does.
func TestCollectorGRPC(t *testing.T) {
	tests := []struct {
		name   string
		answer func(n int, w http.ResponseWriter) (taken bool)
		tries  int
		want   map[string]float64
	}{
		{"taken", func(_ int, w http.ResponseWriter) bool {
			w.Header().Set("Trailer", "Grpc-Status")
			w.Write([]byte{0, 0, 0, 0, 0})
			w.Header().Set("Grpc-Status", "0")
			return true
		}, 1, map[string]float64{"": 1}},
		{"a part of it", func(_ int, w http.ResponseWriter) bool {
			w.Header().Set("Trailer", "Grpc-Status")
			w.Write([]byte{0, 0, 0, 0, 4, 0x0a, 0x02, 0x08, 0x01})
			w.Header().Set("Grpc-Status", "0")
			return true
		}, 1, map[string]float64{"": 0, "rejected": 1}},
		{"unavailable, then taken", func(n int, w http.ResponseWriter) bool {
			status := "0"
			if n < 2 {
				status = "14"
			}
			w.Header().Set("Grpc-Status", status) // no frame: the status is in the header
			return n >= 2
		}, 2, map[string]float64{"": 1}},
		{"unauthenticated", func(_ int, w http.ResponseWriter) bool {
			w.Header().Set("Grpc-Status", "16")
			return false
		}, 1, map[string]float64{"not_sent": 1}},
		{"no gRPC", func(_ int, w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusNotFound)
			return false
		}, 1, map[string]float64{"not_sent": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answered := make(chan struct{}, 100)
			c := newCollector(t, func(n int, w http.ResponseWriter, r *http.Request) bool {
				defer func() { answered <- struct{}{} }()
				if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" || r.URL.Path != "/opentelemetry.proto.collector.trace.v1.TraceService/Export" {
					t.Errorf("%s %s with %v", r.Proto, r.URL.Path, r.Header)
				}
				w.Header().Set("Content-Type", "application/grpc")
				return tt.answer(n, w)
			})
			c.Config.Protocols = &http.Protocols{}
			c.Config.Protocols.SetUnencryptedHTTP2(true)
			c.Start()
			defer c.Close()
			reg := prometheus.NewPedanticRegistry()
			tracer, _, stop := run(t, telemetry.TraceConfig{Ratio: 1, Endpoint: c.URL, Protocol: "grpc", Registerer: reg, Delay: time.Millisecond})
			_, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", "")
			s.End(nil)
			for range tt.tries {
				<-answered
			}
			stop()
			for reason, want := range tt.want {
				name := "caxton_traces_dropped_total"
				if reason == "" {
					name = "caxton_traces_exported_total"
				}
				if got := metric(t, reg, name, reason); got != want {
					t.Errorf("%s %s = %v, want %v", name, reason, got, want)
				}
			}
			if taken := tt.want["not_sent"] == 0; taken != (c.names() == "x") {
				t.Errorf("the collector has %q", c.names())
			}
		})
	}
}

// TestCollectorHangs shows that a collector that does not answer costs spans, and nobody's
// time: neither that of who ends spans, nor the stop of the server beyond its limit.
func TestCollectorHangs(t *testing.T) {
	release := make(chan struct{})
	reached := make(chan struct{}, 100)
	c := newCollector(t, func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		reached <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	})
	c.Start()
	defer c.Close()
	defer close(release)
	var b lockedBuffer
	reg := prometheus.NewPedanticRegistry()
	tracer, _, stop := run(t, telemetry.TraceConfig{
		Ratio: 1, Endpoint: c.URL, Queue: 16, Flush: 50 * time.Millisecond, Delay: time.Millisecond, Registerer: reg,
		Logger: slog.New(slog.NewTextHandler(&b, nil)),
	})
	_, s := tracer.Start(t.Context(), telemetry.Internal, "first", "", "")
	s.End(nil)
	<-reached
	start := time.Now()
	for range 10_000 {
		_, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", "")
		s.End(nil)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("10,000 spans took %v", took)
	}
	if got := metric(t, reg, "caxton_traces_dropped_total", "queue_full"); got != 10_000-16 {
		t.Errorf("dropped = %v, want all that the queue has no room for", got)
	}
	start = time.Now()
	stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	lost := metric(t, reg, "caxton_traces_dropped_total", "queue_full") + metric(t, reg, "caxton_traces_dropped_total", "not_sent")
	if lost != 10_001 {
		t.Errorf("lost = %v, want every span", lost)
	}
	if n := strings.Count(b.String(), "spans were lost"); n < 1 || n > 2 { // one when the first batch failed, one at the end
		t.Errorf("%d warnings: %s", n, b.String())
	}
}

// TestCollectorGone shows that a collector that is not there is named once in a while.
func TestCollectorGone(t *testing.T) {
	c := newCollector(t, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return false
	})
	c.Start()
	defer c.Close()
	var b lockedBuffer
	reg := prometheus.NewPedanticRegistry()
	tracer, _, stop := run(t, telemetry.TraceConfig{
		Ratio: 1, Endpoint: strings.Replace(c.URL, "http://", "http://me:secret@", 1), Delay: time.Millisecond, Registerer: reg,
		Logger: slog.New(slog.NewTextHandler(&b, nil)),
	})
	for i := range 5 {
		_, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", "")
		s.End(nil)
		for metric(t, reg, "caxton_traces_dropped_total", "not_sent") < float64(i+1) {
			runtime.Gosched()
		}
	}
	if n := strings.Count(b.String(), "spans were lost"); n != 1 {
		t.Errorf("%d warnings within a minute, want one: %s", n, b.String())
	}
	stop()
	if n := strings.Count(b.String(), "spans were lost"); n != 2 || !strings.Contains(b.String(), "dropped=4") {
		t.Errorf("%d warnings at the end, want another one that has the other four: %s", n, b.String())
	}
	if strings.Contains(b.String(), "secret") {
		t.Errorf("the password is in the log: %s", b.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLogTellsTheTrace(t *testing.T) {
	var b bytes.Buffer
	l, warn := telemetry.NewLog(telemetry.LogConfig{Format: "json", Stderr: &b})
	if warn != nil {
		t.Fatal(warn)
	}
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", "")
	l.With("agent", "greeter").InfoContext(ctx, "within")
	s.End(nil)
	l.InfoContext(t.Context(), "without")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &line); err != nil {
		t.Fatal(err)
	}
	span, err := hex.DecodeString(line["span_id"].(string))
	if line["trace_id"] != telemetry.TraceID(ctx) || err != nil || len(span) != 8 {
		t.Errorf("line = %v, want the trace %s", line, telemetry.TraceID(ctx))
	}
	if strings.Contains(lines[1], "trace_id") {
		t.Errorf("line = %s, want no trace", lines[1])
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var kept []caxton.LogLine
	if err := l.Run(ended, func(ls []caxton.LogLine) bool { kept = append(kept, ls...); return true }); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 || kept[0].Attrs["trace_id"] != telemetry.TraceID(ctx) {
		t.Errorf("the agent's lines = %+v", kept)
	}
}

func TestInject(t *testing.T) {
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
	if err != nil {
		t.Fatal(err)
	}
	in := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Tracestate": {"a=b"}}
	ctx, s := tracer.Serve(t.Context(), in)
	defer s.End(nil)
	out := http.Header{}
	telemetry.Inject(ctx, out)
	if out.Get("Traceparent") != telemetry.TraceParent(ctx) || !strings.HasPrefix(out.Get("Traceparent"), in.Get("Traceparent")[:36]) || out.Get("Tracestate") != "a=b" {
		t.Errorf("headers = %v", out)
	}
	own := http.Header{"Traceparent": {"mine"}}
	telemetry.Inject(ctx, own)
	if own.Get("Traceparent") != "mine" {
		t.Errorf("headers = %v, want the caller's own", own)
	}
	none := http.Header{}
	telemetry.Inject(t.Context(), none)
	if len(none) != 0 {
		t.Errorf("headers = %v, want none outside of a trace", none)
	}
}

// TestTracerBoundsText: what others say, such as the name of a receiver that is not there, makes
// no span large, and none that the collector cannot be sent, which would take those with it that
// are sent at the same time.
func TestTracerBoundsText(t *testing.T) {
	c := newCollector(t, nil)
	c.Start()
	defer c.Close()
	reg := prometheus.NewPedanticRegistry()
	tracer, _, stop := run(t, telemetry.TraceConfig{Ratio: 1, Endpoint: c.URL, Registerer: reg})
	long := strings.Repeat("é", 1<<20)
	for _, text := range []string{long, "a\xff\xfeb"} {
		ctx, s := tracer.Start(t.Context(), telemetry.Internal, "x", text, "")
		_, within := telemetry.Start(ctx, telemetry.Internal, "y", text)
		within.End(nil)
		s.Rename("z", text)
		s.Str("a", text)
		s.Set(telemetry.Str("b", text))
		s.Strs("c", text)
		s.FailCode(text)
		s.End(nil)
	}
	_, s := tracer.Serve(t.Context(), http.Header{
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		"Tracestate":  {"a=" + strings.Repeat("x", 250) + ",b=" + strings.Repeat("x", 250) + ",c=" + strings.Repeat("x", 250)},
	})
	s.End(nil)
	stop()
	if got := metric(t, reg, "caxton_traces_exported_total", ""); got != 5 || len(c.spans) != 5 {
		t.Errorf("%v spans were sent, and %d came, want 5", got, len(c.spans))
	}
	for _, s := range c.spans {
		if n := proto.Size(s); n > 2500 {
			t.Errorf("the span %.20q has %d bytes", s.GetName(), n)
		}
		if len(s.GetTraceState()) > 512 {
			t.Errorf("the span %.20q has a tracestate of %d bytes", s.GetName(), len(s.GetTraceState()))
		}
	}
}

// TestCollectorTalksTooMuch: what a collector answers is read and logged up to a size, whatever
// it is; and no key of its address gets into the log.
func TestCollectorTalksTooMuch(t *testing.T) {
	raw := func(answer string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, answer) }
	}
	endless := func(start, more string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, start)
			chunk := strings.Repeat(more, 1<<20/len(more))
			for range 200 {
				if _, err := io.WriteString(c, chunk); err != nil {
					return
				}
			}
		}
	}
	tests := []struct {
		name   string
		answer func(net.Conn)
	}{
		{"a long status", raw("HTTP/1.1 400 " + strings.Repeat("x", 60_000) + "\r\nContent-Length: 0\r\n\r\n")},
		{"headers without end", endless("HTTP/1.1 400 no\r\n", "X-A: "+strings.Repeat("y", 1000)+"\r\n")},
		{"a body without end", endless("HTTP/1.1 400 no\r\nContent-Length: 1099511627776\r\n\r\n", "zzzz")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			sent := make(chan int64, 1)
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				l.Close() // the next try finds nobody
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					t.Error(err)
				}
				if err := c.(*net.TCPConn).SetWriteBuffer(64 << 10); err != nil {
					t.Error(err)
				}
				counted := &countingConn{Conn: c}
				tt.answer(counted)
				sent <- counted.n
			}()
			var out bytes.Buffer
			tracer, _, stop := run(t, telemetry.TraceConfig{
				Ratio: 1, Endpoint: "http://me:word@" + l.Addr().String() + "/v1/traces?key=sesame", Delay: time.Millisecond,
				Logger: slog.New(slog.NewTextHandler(&out, nil)),
			})
			_, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", "")
			s.End(nil)
			if n := <-sent; n > 8<<20 {
				t.Errorf("%d bytes of the answer were taken", n)
			}
			stop()
			if log := out.String(); !strings.Contains(log, "spans were lost") || len(log) > 1000 || strings.Contains(log, "sesame") || strings.Contains(log, "word") {
				t.Errorf("the log has %d bytes: %.1000s", len(log), log)
			}
		})
	}
}

// A countingConn counts what is written to it.
type countingConn struct {
	net.Conn
	n int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n += int64(n)
	return n, err
}

// TestCollectorHeaders: a header that cannot be sent is told at the start.
func TestCollectorHeaders(t *testing.T) {
	for name, value := range map[string]string{"a b": "x", "authorization": "Bearer k\r\nX-Other: 1", "": "x"} {
		_, _, err := telemetry.NewTracer(telemetry.TraceConfig{Endpoint: "http://localhost:4318", Headers: http.Header{name: {value}}})
		if caxton.KindOf(err) != caxton.Invalid || strings.Contains(err.Error(), "Bearer") {
			t.Errorf("NewTracer with the header %q: %v, want Invalid, without its value", name, err)
		}
	}
}
