package telemetry

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/caxton/caxton"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// A SpanKind says what a span is to those around it.
type SpanKind = trace.SpanKind

// The kinds of spans.
const (
	Internal SpanKind = trace.SpanKindInternal // work within this server
	Serving  SpanKind = trace.SpanKindServer   // a request that came in
	Calling  SpanKind = trace.SpanKindClient   // a request to somebody else
	Sending  SpanKind = trace.SpanKindProducer // a message that is handed over, to be handled later
	Handling SpanKind = trace.SpanKindConsumer // a message that was handed over
)

// scope is what the spans say of who made them.
const scope = "github.com/caxton/caxton"

// A Span is one piece of work at hand. The zero Span does nothing: it stands for one that
// nobody records.
type Span struct{ s trace.Span }

// Start begins a span that is part of the one that ctx carries. Without one that is recorded
// it returns ctx and the zero Span, and allocates nothing. Its name is verb and object.
func Start(ctx context.Context, kind SpanKind, verb, object string) (context.Context, Span) {
	above := trace.SpanFromContext(ctx)
	if !above.IsRecording() {
		return ctx, Span{}
	}
	ctx, s := above.TracerProvider().Tracer(scope).Start(ctx, spanName(verb, object), trace.WithSpanKind(kind)) //nolint:spancheck // who calls ends it
	return ctx, Span{s}                                                                                         //nolint:spancheck // who calls ends it
}

// Current returns the span that ctx carries.
func Current(ctx context.Context) Span {
	s := trace.SpanFromContext(ctx)
	if !s.IsRecording() {
		return Span{}
	}
	return Span{s}
}

// maxName is how many bytes of a span's name are of its object, which a caller may have made up.
const maxName = 128

func spanName(verb, object string) string {
	if object == "" {
		return verb
	}
	if len(object) > maxName {
		object = object[:maxName] // what is left of a character goes with what is no text
	}
	return verb + " " + text(object)
}

// text returns s without what is no text: a collector cannot be sent that, nor any span with it.
func text(s string) string { return strings.ToValidUTF8(s, "") }

// Recorded reports whether the span is recorded: if not, what it would be told need not be made.
func (s Span) Recorded() bool { return s.s != nil }

// Rename gives the span another name.
func (s Span) Rename(verb, object string) {
	if s.s != nil {
		s.s.SetName(spanName(verb, object))
	}
}

// An Attr is an attribute of a span.
type Attr = attribute.KeyValue

// Str returns an attribute, which is left out if it is empty.
func Str(key, value string) Attr { return attribute.String(key, text(value)) }

// Int returns an attribute.
func Int[N ~int | ~int64](key string, value N) Attr { return attribute.Int64(key, int64(value)) }

// Float returns an attribute.
func Float(key string, value float64) Attr { return attribute.Float64(key, value) }

// Bool returns an attribute.
func Bool(key string, value bool) Attr { return attribute.Bool(key, value) }

// Set adds attributes. Ask Recorded first where many spans are not.
func (s Span) Set(attrs ...Attr) {
	if s.s == nil {
		return
	}
	kept := attrs[:0]
	for _, a := range attrs {
		if a.Value.Type() != attribute.STRING || a.Value.AsString() != "" {
			kept = append(kept, a)
		}
	}
	s.s.SetAttributes(kept...)
}

// Str adds an attribute, unless it is empty.
func (s Span) Str(key, value string) {
	if s.s != nil && value != "" {
		s.s.SetAttributes(Str(key, value))
	}
}

// Int adds an attribute.
func (s Span) Int(key string, value int64) {
	if s.s != nil {
		s.s.SetAttributes(attribute.Int64(key, value))
	}
}

// Strs adds an attribute of several values.
func (s Span) Strs(key string, values ...string) {
	if s.s != nil {
		all := make([]string, len(values))
		for i, v := range values {
			all[i] = text(v)
		}
		s.s.SetAttributes(attribute.StringSlice(key, all))
	}
}

// Bool adds an attribute.
func (s Span) Bool(key string, value bool) {
	if s.s != nil {
		s.s.SetAttributes(attribute.Bool(key, value))
	}
}

// Fail marks the span as failed, by the code of the error alone: its text may hold what
// was said. Work that was put off until something happens has not failed.
func (s Span) Fail(err error) {
	if s.s == nil || err == nil {
		return
	}
	if _, parked := errors.AsType[*caxton.Parked](err); parked {
		s.Bool("caxton.parked", true)
		return
	}
	s.FailCode(errorType(err))
}

// FailCode marks the span as failed.
func (s Span) FailCode(code string) {
	if s.s != nil {
		code = text(code[:min(len(code), maxName)])
		s.s.SetAttributes(attribute.String("error.type", code))
		s.s.SetStatus(codes.Error, code)
	}
}

func errorType(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Code != "" {
		return e.Code
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "internal"
}

// End ends the span, as failed when err is not nil.
func (s Span) End(err error) {
	if s.s != nil {
		s.Fail(err)
		s.s.End()
	}
}

// Carry returns ctx with the span that another context carries.
func Carry(ctx, from context.Context) context.Context {
	if s := trace.SpanFromContext(from); s.SpanContext().IsValid() {
		return trace.ContextWithSpan(ctx, s)
	}
	return ctx
}

// Untold returns ctx with its trace, but no span of it: what Start is asked for from there on is
// not recorded. It is for work that is only acted out.
func Untold(ctx context.Context) context.Context {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, trace.SpanContextFromContext(ctx))
}

// TraceID returns the ID of the trace that ctx belongs to, or "".
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		return sc.TraceID().String()
	}
	return ""
}

// TraceParent returns the trace context that ctx carries as W3C writes it, or "".
func TraceParent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	var b [55]byte
	out := append(b[:0], "00-"...)
	tid, sid := sc.TraceID(), sc.SpanID()
	out = hex.AppendEncode(out, tid[:])
	out = append(out, '-')
	out = hex.AppendEncode(out, sid[:])
	return string(append(out, '-', '0', '0'+byte(sc.TraceFlags()&maxFlags)))
}

// remote returns the trace context that a traceparent stands for; one that cannot be read
// stands for none. W3C has later versions read as the first one, whatever they add at the end.
func remote(parent string) trace.SpanContext {
	if len(parent) < 55 || parent[2] != '-' || parent[35] != '-' || parent[52] != '-' ||
		len(parent) > 55 && (parent[:2] == "00" || parent[55] != '-') {
		return trace.SpanContext{}
	}
	var version, flags [1]byte
	var tid trace.TraceID
	var sid trace.SpanID
	if !hexBytes(version[:], parent[:2]) || version[0] == 0xff || !hexBytes(tid[:], parent[3:35]) ||
		!hexBytes(sid[:], parent[36:52]) || !hexBytes(flags[:], parent[53:55]) || version[0] == 0 && flags[0] > maxFlags {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: tid, SpanID: sid, TraceFlags: trace.TraceFlags(flags[0]) & maxFlags, Remote: true})
}

// maxFlags are the flags that the first version knows: sampled, and an ID that is random.
const maxFlags = 3

// hexBytes reads lower-case hexadecimal digits.
func hexBytes(into []byte, text string) bool {
	if text != strings.ToLower(text) {
		return false
	}
	_, err := hex.Decode(into, []byte(text))
	return err == nil
}

// maxState is how long a tracestate may be. W3C asks for no more; what is longer would be kept
// with every span of its trace.
const maxState = 512

// Extract returns ctx with the trace context that the headers of a request have.
func Extract(ctx context.Context, h http.Header) context.Context {
	parent, state := h.Get("Traceparent"), h.Get("Tracestate")
	if parent == "" {
		return ctx
	}
	c := propagation.MapCarrier{"traceparent": parent}
	if len(state) <= maxState {
		c["tracestate"] = state
	}
	return propagation.TraceContext{}.Extract(ctx, c)
}

// Inject adds the trace context that ctx carries to the headers of a request to somebody
// else, unless they have one.
func Inject(ctx context.Context, h http.Header) {
	if h.Get("Traceparent") == "" && trace.SpanContextFromContext(ctx).IsValid() {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
	}
}
