package api

import (
	"context"
	"strconv"
	"time"
)

// A Span is one piece of work within a trace: a request, a turn, a call of a model or a tool.
type Span struct {
	SpanID     string         `json:"span_id"`
	ParentID   string         `json:"parent_id,omitempty" doc:"the span that this one is part of; it may be another server's, or not be kept any more"`
	Depth      int            `json:"depth" doc:"how far in it is in the tree"`
	Name       string         `json:"name"`
	Kind       string         `json:"kind" doc:"internal, server, client, producer or consumer"`
	Start      time.Time      `json:"start"`
	DurationMS float64        `json:"duration_ms"`
	Error      string         `json:"error,omitempty" doc:"code of the error that it ended with"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// A SpanTree is the answer of GET /api/v1/traces/{trace_id}: each span is followed by those that
// are part of it.
type SpanTree struct {
	TraceID string `json:"trace_id"`
	Items   []Span `json:"items"`
}

// A TraceSummary is one trace at a glance.
type TraceSummary struct {
	TraceID    string    `json:"trace_id"`
	Name       string    `json:"name" doc:"of its first span"`
	Start      time.Time `json:"start"`
	DurationMS float64   `json:"duration_ms" doc:"from the start of its first span to the end of its last"`
	Spans      int       `json:"spans"`
	Errors     int       `json:"errors" doc:"spans that ended with an error"`
}

// Traces is the answer of GET /api/v1/traces.
type Traces struct {
	Items []TraceSummary `json:"items"`
}

// Traces lists the latest traces, the newest first.
func (c *Client) Traces(ctx context.Context, limit int) (Traces, error) {
	return do[Traces](ctx, c, get("/traces", values("limit", strconv.Itoa(limit))))
}

// Spans returns the spans of a trace.
func (c *Client) Spans(ctx context.Context, traceID string) (SpanTree, error) {
	return do[SpanTree](ctx, c, get(path("traces", traceID), nil))
}
