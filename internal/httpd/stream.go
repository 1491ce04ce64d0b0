package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	eventStream = "text/event-stream"
	flushAt     = 64 << 10 // bytes of a stream that are gathered before they are sent
	keepBuffer  = 4 << 10  // a larger buffer is given back once it is sent
)

// The kinds of streams.
const (
	conversationStream = "conversation"
	serverStream       = "server"
	messageStream      = "message"
)

// wantsStream reports whether a request asks for an answer in events.
func wantsStream(r *http.Request) bool { return acceptsStream(r.Header.Get("Accept")) }

func acceptsStream(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(media), eventStream) {
			return true
		}
	}
	return false
}

func newStreamGauge(reg prometheus.Registerer) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "caxton_streams_open", Help: "Event streams being served, by kind."}, []string{"kind"})
	for _, kind := range []string{conversationStream, serverStream, messageStream} {
		g.WithLabelValues(kind)
	}
	reg.MustRegister(g)
	return g
}

// openStream counts a stream; release ends it. One too many is refused.
func (s *Server) openStream(kind string) (release func(), err error) {
	if s.streaming.Add(1) > int64(s.cfg.MaxStreams) {
		s.streaming.Add(-1)
		return nil, caxton.Errorf(caxton.Exhausted, "too_many_streams", "%d streams are open, which is the limit", s.cfg.MaxStreams).
			WithHint("close some, try again later, or raise server.max_streams")
	}
	g := s.streamsBy.WithLabelValues(kind)
	g.Inc()
	return func() {
		g.Dec()
		s.streaming.Add(-1)
	}, nil
}

// A stream is an answer of server-sent events (HTML, section 9.2). What is written is
// gathered and leaves with flush.
type stream struct {
	w       io.Writer
	rc      *http.ResponseController
	timeout time.Duration // for one flush
	buf     bytes.Buffer
	err     error // of the first flush that failed
	slow    bool  // the reader took half the timeout for one flush
}

// begin begins the answer. id is where a reader who lost the connection at once would resume.
func (s *Server) begin(hc huma.Context, id string) *stream {
	hc.SetHeader("Content-Type", eventStream)
	hc.SetHeader("X-Accel-Buffering", "no") // proxies should not gather events
	hc.SetStatus(http.StatusOK)
	st := &stream{w: hc.BodyWriter(), timeout: s.cfg.StreamTimeout}
	if rw, ok := st.w.(http.ResponseWriter); ok {
		st.rc = http.NewResponseController(rw)
	}
	fmt.Fprintf(&st.buf, "retry: %d\n", s.cfg.StreamRetry.Milliseconds())
	st.beat(id)
	return st
}

// beat writes a comment, a sign of life, and the place reached: an ID without data is
// remembered by readers and tells them nothing else.
func (st *stream) beat(id string) {
	st.buf.WriteString(": caxton\n")
	if id != "" {
		st.buf.WriteString("id: " + id + "\n")
	}
	st.buf.WriteString("\n")
}

// event writes one event; with the id "" the reader's place stays where it was.
func (st *stream) event(name, id string, data any) {
	if id != "" {
		st.buf.WriteString("id: " + id + "\n")
	}
	st.buf.WriteString("event: " + name + "\ndata: ")
	enc := json.NewEncoder(&st.buf) // compact, without line breaks, and one at the end
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		st.buf.WriteString("null\n") // a stored record that is no JSON
	}
	st.buf.WriteString("\n")
}

// end writes the last event.
func (st *stream) end(code, message string) {
	st.event(api.EventEnd, "", api.StreamEnd{Code: code, Message: message})
	_ = st.flush()
}

// full reports whether it is time to flush.
func (st *stream) full() bool { return st.buf.Len() >= flushAt }

// flush sends what was written. A reader who does not take it in time is left.
func (st *stream) flush() error {
	if st.buf.Len() == 0 || st.err != nil {
		return st.err
	}
	start := time.Now()
	if st.rc != nil {
		_ = st.rc.SetWriteDeadline(start.Add(st.timeout)) // a recorder of a test has no connection
	}
	_, st.err = st.w.Write(st.buf.Bytes())
	if st.err == nil && st.rc != nil {
		st.err = st.rc.Flush()
	}
	if st.buf.Cap() > keepBuffer {
		st.buf = bytes.Buffer{}
	}
	st.buf.Reset()
	st.slow = st.slow || time.Since(start) > st.timeout/2
	return st.err
}

// pace returns a writer to w by which a reader who takes nothing for a while is left.
func (s *Server) pace(w io.Writer) io.Writer {
	rw, ok := w.(http.ResponseWriter)
	if !ok {
		return w
	}
	return &paced{w, http.NewResponseController(rw), s.cfg.StreamTimeout}
}

// file answers with a file that write makes as it goes. What fails before the first byte is
// answered as ever. What fails later breaks the connection off: the end of an answer would say
// that the file is whole.
func (s *Server) file(contentType string, write func(ctx context.Context, w io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", contentType)
		ctx, w := hc.Context(), &begun{w: s.pace(hc.BodyWriter())}
		err := write(ctx, w)
		if err == nil {
			return
		}
		if rw, ok := hc.BodyWriter().(http.ResponseWriter); ok && !w.yes {
			err = s.seen(ctx, err)
			writeJSON(rw, statusOf(caxton.KindOf(err)), api.ErrorFrom(err, requestID(ctx)))
			return
		}
		s.cfg.Logger.WarnContext(ctx, "file broken off", "request_id", requestID(ctx), "error", err)
		panic(http.ErrAbortHandler)
	}}
}

// begun knows whether something was written.
type begun struct {
	w   io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.w.Write(p)
}

// paced writes with a deadline for each piece.
type paced struct {
	w       io.Writer
	rc      *http.ResponseController
	timeout time.Duration
}

// Write writes p, or fails when the reader does not take a piece of it in time.
func (p *paced) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		_ = p.rc.SetWriteDeadline(time.Now().Add(p.timeout)) // a recorder of a test has no connection
		var m int
		m, err = p.w.Write(b[:min(len(b), flushAt)])
		b, n = b[m:], n+m
	}
	return n, err
}

// endTooSlow ends the stream of a reader who still reads, but too slowly.
func (st *stream) endTooSlow() {
	st.end("reader_too_slow", "the reader took too long; go on from the last event ID")
}

// endStopping ends a stream because the server stops.
func (st *stream) endStopping() {
	st.end("server_stopping", "the server is stopping; go on from the last event ID when it is back")
}

// endFailed ends a stream that cannot go on.
func (s *Server) endFailed(ctx context.Context, st *stream, err error) {
	if ctx.Err() != nil { // the caller left, unless the server cuts off what is in flight
		if s.draining.Load() {
			st.endStopping()
		}
		return
	}
	e := s.seen(ctx, err)
	body := api.ErrorFrom(e, requestID(ctx)).Error
	st.end(body.Code, body.Message)
}
