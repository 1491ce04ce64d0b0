package telemetry

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/caxton/caxton"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A ring keeps the latest spans.
type ring struct {
	mu    sync.Mutex              // guards all below
	spans []sdktrace.ReadOnlySpan // grows to its capacity, then the oldest is replaced
	next  int                     // which is the oldest
}

func newRing(size int) *ring { return &ring{spans: make([]sdktrace.ReadOnlySpan, 0, size)} }

// OnStart is part of sdktrace.SpanProcessor.
func (*ring) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd keeps a span.
func (r *ring) OnEnd(s sdktrace.ReadOnlySpan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) < cap(r.spans) {
		r.spans = append(r.spans, s)
		return
	}
	r.spans[r.next] = s
	r.next = (r.next + 1) % len(r.spans)
}

// Shutdown is part of sdktrace.SpanProcessor.
func (*ring) Shutdown(context.Context) error { return nil }

// ForceFlush is part of sdktrace.SpanProcessor.
func (*ring) ForceFlush(context.Context) error { return nil }

// trace returns the spans of a trace, by their start.
func (r *ring) trace(id trace.TraceID) []caxton.TraceSpan {
	r.mu.Lock()
	var found []sdktrace.ReadOnlySpan
	for _, s := range r.spans {
		if s.SpanContext().TraceID() == id {
			found = append(found, s)
		}
	}
	r.mu.Unlock()
	spans := make([]caxton.TraceSpan, 0, len(found))
	for _, s := range found {
		spans = append(spans, spanOf(s))
	}
	slices.SortStableFunc(spans, func(a, b caxton.TraceSpan) int { return a.Start.Compare(b.Start) })
	return spans
}

// traces returns the traces of the spans, the latest first.
func (r *ring) traces(limit int) []caxton.TraceSummary {
	r.mu.Lock()
	all := slices.Clone(r.spans)
	r.mu.Unlock()
	byID := map[trace.TraceID]*caxton.TraceSummary{}
	for _, s := range all {
		id := s.SpanContext().TraceID()
		t := byID[id]
		if t == nil {
			t = &caxton.TraceSummary{TraceID: id.String(), Name: s.Name(), Start: s.StartTime()}
			byID[id] = t
		}
		end := t.Start.Add(t.Duration)
		if s.StartTime().Before(t.Start) {
			t.Name, t.Start = s.Name(), s.StartTime()
		}
		if s.EndTime().After(end) {
			end = s.EndTime()
		}
		t.Duration = end.Sub(t.Start)
		t.Spans++
		if s.Status().Code == codes.Error {
			t.Errors++
		}
	}
	out := make([]caxton.TraceSummary, 0, len(byID))
	for _, t := range byID {
		t.Start = t.Start.UTC()
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b caxton.TraceSummary) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(a.TraceID, b.TraceID))
	})
	return out[:min(limit, len(out))]
}

func spanOf(s sdktrace.ReadOnlySpan) caxton.TraceSpan {
	sc := s.SpanContext()
	out := caxton.TraceSpan{
		TraceID: sc.TraceID().String(), ID: sc.SpanID().String(), Name: s.Name(), Kind: s.SpanKind().String(),
		Start: s.StartTime().UTC(), Duration: s.EndTime().Sub(s.StartTime()),
	}
	if p := s.Parent(); p.SpanID().IsValid() {
		out.Parent = p.SpanID().String()
	}
	if s.Status().Code == codes.Error {
		out.Error = cmp.Or(s.Status().Description, "error")
	}
	if as := s.Attributes(); len(as) > 0 {
		out.Attributes = make(map[string]any, len(as))
		for _, a := range as {
			out.Attributes[string(a.Key)] = a.Value.AsInterface()
		}
	}
	return out
}
