package httpd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/caxton/caxton"
)

// bound gives a request its time: the context ends with it, and a caller who takes his
// answer too slowly is left a little later. An answer without an end has no such bound; its
// handler sets the deadline of each write.
func (s *Server) bound(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc) {
	rc := http.NewResponseController(w)
	if endless := s.streams[r.Pattern]; endless != nil && endless(r) {
		_ = rc.SetWriteDeadline(time.Time{}) // the connection may have one of the request before
		return context.WithCancel(r.Context())
	}
	_ = rc.SetWriteDeadline(time.Now().Add(s.cfg.RequestTimeout + s.cfg.HeaderTimeout))
	return context.WithTimeout(r.Context(), s.cfg.RequestTimeout)
}

// body reads the body of a request to a route of ours, within its size and its time, and
// leaves r with the bytes read. Routes read from memory, so a slow caller holds up nothing
// but himself, and our own words say what is wrong. Other handlers read their bodies
// themselves, unless a key needs the body for its comparison.
func (s *Server) body(w *recorder, r *http.Request) ([]byte, error) {
	limit, ours := s.limits[r.Pattern]
	if !ours {
		limit = s.cfg.MaxBody
	}
	if r.ContentLength == 0 || !ours && r.Header.Get("Idempotency-Key") == "" {
		return nil, nil
	}
	tooLarge := caxton.Errorf(caxton.TooLarge, "request_too_large", "the request is larger than %d bytes", limit).
		WithHint("send less, or raise server.max_body_size (for messages: messaging.max_message_size; for modules: wasm.max_module_size)")
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(s.cfg.RequestTimeout)) // a recorder of a test has no connection
	b, err := io.ReadAll(http.MaxBytesReader(w.ResponseWriter, r.Body, limit))
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		w.Header().Set("Connection", "close") // where the next request begins is not known
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tooLarge
		}
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return nil, caxton.Errorf(caxton.Timeout, "request_too_slow", "the request did not arrive within %s", s.cfg.RequestTimeout).WithCause(err)
		}
		return nil, caxton.Errorf(caxton.Malformed, "request_cut_off", "the request ended early or cannot be read").WithCause(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b, nil
}
