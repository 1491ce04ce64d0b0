package telemetry

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceConfig says which traces are recorded and where they go. Zero fields mean the defaults
// given here.
type TraceConfig struct {
	Ratio    float64       // share of the traces beginning here that is recorded: none
	Endpoint string        // of the collector; see NewTracer: none, spans are only kept here
	Protocol string        // grpc or http/protobuf: as the endpoint's port says
	Headers  http.Header   // for the collector
	Timeout  time.Duration // of one try to send: 10 s
	Flush    time.Duration // for what is left when the server stops: 5 s, or Timeout if shorter
	Delay    time.Duration // how long spans wait for others to be sent with: 1 s
	Queue    int           // spans that wait to be sent; more are dropped and counted: 8192
	Keep     int           // spans that are kept here, the latest: 8192
	Service  string        // its name: caxton
	Version  string        // of the program
	Instance string        // which of several servers
	Attrs    map[string]string
	Logger   *slog.Logger // discards

	Registerer prometheus.Registerer // a registry of its own
}

// maxAttribute is how many characters of an attribute are recorded.
const maxAttribute = 256

// A Tracer begins spans and hands those that have ended on: to the latest that are kept here,
// and to a collector. It is safe for concurrent use. A nil Tracer records nothing.
type Tracer struct {
	tracer trace.Tracer
	ring   *ring
	queue  *queue // nil without a collector
}

// NewTracer returns a Tracer. It starts nothing; spans go to the collector while Run runs. If
// no protocol is given the endpoint's port says how it is spoken to: 4317 means OTLP over gRPC,
// any other OTLP over HTTP, at /v1/traces if it has no path. At /api/traces of port 14268 Jaeger
// takes its own format, which this is not: spans go to port 4318 of the same host, where it takes
// OTLP, and note says so.
func NewTracer(cfg TraceConfig) (t *Tracer, note string, err error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Flush = cmp.Or(cfg.Flush, min(cfg.Timeout, 5*time.Second))
	cfg.Delay = cmp.Or(cfg.Delay, time.Second)
	cfg.Queue = cmp.Or(cfg.Queue, 8192)
	cfg.Keep = cmp.Or(cfg.Keep, 8192)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	attrs := make([]attribute.KeyValue, 0, len(cfg.Attrs)+3)
	for k, v := range cfg.Attrs {
		attrs = append(attrs, attribute.String(k, v))
	}
	attrs = append(attrs, attribute.String("service.name", cmp.Or(cfg.Service, "caxton")))
	if cfg.Version != "" {
		attrs = append(attrs, attribute.String("service.version", cfg.Version))
	}
	if cfg.Instance != "" {
		attrs = append(attrs, attribute.String("service.instance.id", cfg.Instance))
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxAttribute
	t = &Tracer{ring: newRing(cfg.Keep)}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(attrs...)), sdktrace.WithRawSpanLimits(limits), sdktrace.WithSpanProcessor(t.ring),
	}
	if cfg.Endpoint != "" {
		var c *collector
		if c, note, err = newCollector(&cfg); err != nil {
			return nil, "", err
		}
		t.queue = newQueue(c, &cfg)
		options = append(options, sdktrace.WithSpanProcessor(t.queue))
	}
	t.tracer = sdktrace.NewTracerProvider(options...).Tracer(scope)
	return t, note, nil
}

// Run sends spans to the collector until ctx ends, then what is left of them, for a while.
func (t *Tracer) Run(ctx context.Context) error {
	if t == nil || t.queue == nil {
		<-ctx.Done()
		return nil
	}
	return t.queue.run(ctx)
}

// Start begins a span. It is part of the span that ctx carries; or of the one that parent, a
// traceparent, names, when ctx has none or parent is of another trace; or it is the first of a
// trace, which is recorded or not. What is not recorded is carried on in the context all the
// same, so that nobody further on begins a trace.
func (t *Tracer) Start(ctx context.Context, kind SpanKind, verb, object, parent string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if sc := remote(parent); sc.IsValid() && sc.TraceID() != trace.SpanContextFromContext(ctx).TraceID() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	ctx, s := t.tracer.Start(ctx, spanName(verb, object), trace.WithSpanKind(kind))
	if !s.IsRecording() {
		return ctx, Span{}
	}
	return ctx, Span{s}
}

// Serve begins the span of a request: part of the trace that its headers name, or the first of
// one.
func (t *Tracer) Serve(ctx context.Context, h http.Header) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.Start(Extract(ctx, h), Serving, "HTTP", "", "")
}

// On reports whether there is a Tracer.
func (t *Tracer) On() bool { return t != nil }

// Trace returns the spans of a trace that are kept here, by their start. Errors: NotFound.
func (t *Tracer) Trace(id string) ([]caxton.TraceSpan, error) {
	if t == nil {
		return nil, errTracingOff()
	}
	var tid trace.TraceID
	tid, err := trace.TraceIDFromHex(strings.ToLower(id))
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "trace_id_invalid", "%.100q is not the ID of a trace", id).
			WithHint("it has 32 hexadecimal digits, as in the header X-Trace-Id")
	}
	spans := t.ring.trace(tid)
	if len(spans) == 0 {
		return nil, caxton.Errorf(caxton.NotFound, "trace_not_found", "there are no spans of trace %s here", id).
			WithHint("only the latest spans are kept, since the start of the server; traces that are not sampled have none")
	}
	return spans, nil
}

// Traces returns the traces of which spans are kept here, the latest first.
func (t *Tracer) Traces(limit int) ([]caxton.TraceSummary, error) {
	if t == nil {
		return nil, errTracingOff()
	}
	return t.ring.traces(limit), nil
}

func errTracingOff() error {
	return caxton.Errorf(caxton.NotFound, "tracing_off", "this server records no traces").WithHint("set observability.tracing_enabled = true")
}
