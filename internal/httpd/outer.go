package httpd

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

type requestIDKey struct{}

// requestID returns the ID of the request that ctx belongs to.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// outer wraps the routes with what every request gets.
func (s *Server) outer(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := r.Header.Get("X-Request-Id")
		if caxton.CheckID(id) != nil {
			id = uuid.NewString()
		}
		ctx, span := s.trace(context.WithValue(r.Context(), requestIDKey{}, id), w, r)
		r = r.WithContext(ctx)
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		rec := &recorder{ResponseWriter: w}
		s.metrics.active.Inc()
		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the very value, as net/http has it
				s.cfg.Logger.ErrorContext(ctx, "handler panicked", "request_id", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if rec.status == 0 {
					writeJSON(rec, http.StatusInternalServerError, api.ErrorFrom(nil, id))
					rec.whole = true
				}
			}
			s.metrics.active.Dec()
			describe(span, r, rec)
			span.End(nil)
			s.account(ctx, r, rec, time.Since(start))
			if p != nil && !rec.whole {
				panic(http.ErrAbortHandler) // the caller must not take half an answer for a whole one
			}
		}()
		alias(r)
		s.serve(mux, rec, r)
	})
}

// alias makes /api/x the same as /api/v1/x. Messages sent by the short path wait for their
// reply unless they say otherwise: it is the path of the quick start.
func alias(r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/api/")
	if !ok || rest == "v1" || strings.HasPrefix(rest, "v1/") {
		return
	}
	r.URL.Path = "/api/v1/" + rest
	if raw, ok := strings.CutPrefix(r.URL.RawPath, "/api/"); ok {
		r.URL.RawPath = "/api/v1/" + raw
	}
	if q := r.URL.Query(); rest == "messages" && r.Method == http.MethodPost && !q.Has("wait") {
		q.Set("wait", "default")
		r.URL.RawQuery = q.Encode()
	}
}

// serve finds the route. What has none gets our error body instead of net/http's text.
func (s *Server) serve(mux *http.ServeMux, w *recorder, r *http.Request) {
	if err := s.checkHost(r); err != nil {
		s.refuse(w, r, err)
		return
	}
	if err := s.origins.Check(r); err != nil {
		s.refuse(w, r, caxton.Errorf(caxton.Forbidden, "cross_site", "a web page of another site may not change anything here").
			WithHint("send the request from a program, or from a page of this server").WithCause(err))
		return
	}
	_, pattern := mux.Handler(r)
	if pattern != "" {
		r.Pattern = pattern // account reads it; the route sees a copy of r
		ctx, cancel := s.bound(w, r)
		defer cancel()
		s.keyed(mux, w, r.WithContext(ctx)) //nolint:contextcheck // serveOnce looks at the one that ends with the server too
		return
	}
	probe := &recorder{ResponseWriter: &discard{header: http.Header{}}}
	mux.ServeHTTP(probe, r)
	e := caxton.Errorf(caxton.NotFound, "path_not_found", "there is nothing at %.200q", r.URL.Path).WithHint("GET /api/v1/openapi.json lists what there is")
	status := http.StatusNotFound
	if probe.status == http.StatusMethodNotAllowed {
		allow := probe.Header().Get("Allow")
		if own := s.methods[r.URL.Path]; own != "" {
			allow = own // net/http adds those of patterns with wildcards
		}
		w.Header().Set("Allow", allow)
		status = http.StatusMethodNotAllowed
		e = caxton.Errorf(caxton.Malformed, "method_not_allowed", "%s is not allowed at %.200q", r.Method, r.URL.Path).WithHint("allowed: %s", allow)
	}
	writeJSON(w, status, api.ErrorFrom(e, requestID(r.Context())))
}

// checkHost refuses a request to a listener that only this machine reaches under a name that
// is not this machine's. A web page can have its own name stand for 127.0.0.1, and to a
// browser what it asks for is then of the same site. No page can do so with an address.
func (s *Server) checkHost(r *http.Request) error {
	if local, _ := r.Context().Value(loopbackKey{}).(bool); !local || r.Host == "" {
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), "."))
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return nil
	}
	if slices.ContainsFunc(s.cfg.AllowedHosts, func(name string) bool { return strings.EqualFold(name, host) }) {
		return nil
	}
	return caxton.Errorf(caxton.Forbidden, "host_unknown", "this server is not called %.200q", host).
		WithHint("ask for localhost or 127.0.0.1; or add the name to server.allowed_hosts, if a proxy passes it on")
}

// refuse answers a request whose body nobody reads. The connection ends with it: what is still
// to come of the body is not waited for longer than for any other.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.RequestTimeout)) // a recorder of a test has no connection
	}
	writeError(w, r, err)
}

// writeError writes err as the answer to r.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	writeJSON(w, statusOf(caxton.KindOf(err)), api.ErrorFrom(err, requestID(r.Context())))
}

// discard is a response nobody reads.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// account writes the request's log line and moves its metrics.
func (s *Server) account(ctx context.Context, r *http.Request, rec *recorder, took time.Duration) {
	status := rec.status
	if status == 0 {
		status = http.StatusOK
	}
	_, route, _ := strings.Cut(r.Pattern, " ")
	if route == "" {
		route = "none"
	}
	s.metrics.requests.WithLabelValues(methodLabel(r.Method), route, strconv.Itoa(status)).Inc()
	s.metrics.seconds.WithLabelValues(route).Observe(took.Seconds())
	log := s.cfg.Logger.InfoContext
	if strings.HasSuffix(route, "/health") || strings.HasSuffix(route, "/health/memory") || strings.HasSuffix(route, "/ready") {
		log = s.cfg.Logger.DebugContext
	}
	log(ctx, "request served", "method", r.Method, "path", r.URL.Path, "status", status,
		"bytes", rec.bytes, "duration", took, "request_id", requestID(ctx), "remote", r.RemoteAddr)
}

// methodLabel returns a method as a label: callers may make up any word.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// A recorder remembers the status and the size of a response, and its body when told to.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	whole  bool // the answer is complete although the handler panicked
	copy   *answerCopy
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	if r.copy != nil {
		r.copy.write(p[:n])
	}
	return n, err
}

// Unwrap lets http.ResponseController reach the real writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	active   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_http_requests_total", Help: "HTTP requests by method, route and status."}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "caxton_http_request_duration_seconds", Help: "Time of HTTP requests.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{Name: "caxton_http_active_requests", Help: "HTTP requests being served."}),
	}
	reg.MustRegister(m.requests, m.seconds, m.active)
	return m
}
