package httpd

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/danielgtaylor/huma/v2"
)

// trace begins the span of a request, and tells the caller the ID of its trace.
func (s *Server) trace(ctx context.Context, w http.ResponseWriter, r *http.Request) (context.Context, telemetry.Span) {
	if !s.cfg.Tracer.On() {
		return telemetry.Extract(ctx, r.Header), telemetry.Span{} // whoever is told of it further on may record it
	}
	if untraced(r) {
		return ctx, telemetry.Span{}
	}
	ctx, span := s.cfg.Tracer.Serve(ctx, r.Header)
	w.Header().Set("X-Trace-Id", telemetry.TraceID(ctx))
	return ctx, span
}

// untraced reports whether a request has no span: one of those that ask again and again whether
// the server is well, or what was traced, and would push out of memory what they ask for.
func untraced(r *http.Request) bool {
	p := r.URL.Path
	if rest, ok := strings.CutPrefix(p, "/api/"); ok && !strings.HasPrefix(rest, "v1/") {
		p = "/api/v1/" + rest // as alias will have it
	}
	return r.Method == http.MethodGet && (p == "/" || strings.HasSuffix(p, "/health") || strings.HasSuffix(p, "/health/memory") || strings.HasSuffix(p, "/ready") ||
		strings.HasPrefix(p, "/api/v1/traces") || strings.HasSuffix(p, "/trace"))
}

// describe tells the span of a request how it went.
func describe(span telemetry.Span, r *http.Request, rec *recorder) {
	if !span.Recorded() {
		return
	}
	_, route, _ := strings.Cut(r.Pattern, " ")
	method := methodLabel(r.Method)
	span.Rename(method, route)
	span.Set(
		telemetry.Str("http.request.method", method),
		telemetry.Str("http.route", route),
	)
	status := cmp.Or(rec.status, http.StatusOK)
	span.Int("http.response.status_code", int64(status))
	if status >= 500 {
		span.FailCode(strconv.Itoa(status))
	}
}

func (s *Server) traceRoutes(a huma.API) {
	route(s, a, operation(http.MethodGet, "/traces", "list-traces", "traces", "The latest traces, the newest first"), s.listTraces)
	route(s, a, operation(http.MethodGet, "/traces/{trace_id}", "get-trace", "traces", "The spans of a trace as a tree"), s.getTrace)
}

type tracesInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"50"`
}

func (s *Server) listTraces(_ context.Context, in *tracesInput) (*output[api.Traces], error) {
	all, err := s.cfg.Tracer.Traces(in.Limit)
	if err != nil {
		return nil, err
	}
	out := api.Traces{Items: make([]api.TraceSummary, 0, len(all))}
	for _, t := range all {
		out.Items = append(out.Items, api.TraceSummary{
			TraceID: t.TraceID, Name: t.Name, Start: t.Start, DurationMS: millis(t.Duration), Spans: t.Spans, Errors: t.Errors,
		})
	}
	return &output[api.Traces]{out}, nil
}

type traceIDInput struct {
	TraceID string `path:"trace_id" maxLength:"32" doc:"32 hexadecimal digits, as in the header X-Trace-Id" example:"0af7651916cd43dd8448eb211c80319c"`
}

func (s *Server) getTrace(_ context.Context, in *traceIDInput) (*output[api.SpanTree], error) {
	spans, err := s.cfg.Tracer.Trace(in.TraceID)
	if err != nil {
		return nil, err
	}
	out := api.SpanTree{TraceID: spans[0].TraceID, Items: make([]api.Span, 0, len(spans))}
	ordered, depth := caxton.SpanTree(spans)
	for i, sp := range ordered {
		out.Items = append(out.Items, api.Span{
			SpanID: sp.ID, ParentID: sp.Parent, Depth: depth[i], Name: sp.Name, Kind: sp.Kind, Start: sp.Start, DurationMS: millis(sp.Duration),
			Error: sp.Error, Attributes: sp.Attributes,
		})
	}
	return &output[api.SpanTree]{out}, nil
}

// traceIDs returns the traces that the messages of a conversation are part of.
func traceIDs(records []caxton.Record) []string {
	ids := []string{}
	seen := map[string]bool{}
	for i := range records {
		if records[i].Kind != caxton.RecordMessage {
			continue
		}
		var b caxton.MessageBody
		if json.Unmarshal(records[i].Body, &b) != nil || len(b.Message.TraceParent) < 35 {
			continue
		}
		if id := b.Message.TraceParent[3:35]; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}
