package httpd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// keyHeader names the header of an idempotency key, maxKey is how long one may be.
const (
	keyHeader = "Idempotency-Key"
	maxKey    = 255
)

// maxKeptAnswer bounds the answer that is kept under a key. Of a longer one only the fact is
// kept.
const maxKeptAnswer = 256 << 10

// endKey bounds the writing down of an answer when the request itself is over.
const endKey = 10 * time.Second

// keyKey is the context key of the Idempotency-Key of a POST.
type keyKey struct{}

// keyOf returns the Idempotency-Key of the request that ctx belongs to, or "".
func keyOf(ctx context.Context) string {
	key, _ := ctx.Value(keyKey{}).(string)
	return key
}

// A keptAnswer is the form in which an answer is kept.
type keptAnswer struct {
	Status    int    `json:"status"`
	MediaType string `json:"media_type"`
	Body      []byte `json:"body"`
}

// keyed serves a request; a POST that carries an Idempotency-Key once. Later ones with the
// key get the same answer while it is the same request, Conflict while that is being served,
// and Invalid for any other. An answer that invites to try again (429 and from 499 on) is not
// kept. Messages have IDs that follow from the key, which does the same without an end and
// lets a second caller wait for the reply too.
func (s *Server) keyed(mux *http.ServeMux, w *recorder, r *http.Request) {
	body, err := s.body(w, r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	key := r.Header.Get(keyHeader)
	if r.Method != http.MethodPost || key == "" {
		mux.ServeHTTP(w, r)
		return
	}
	if err := checkKey(key); err != nil {
		writeError(w, r, err)
		return
	}
	ctx := context.WithValue(r.Context(), keyKey{}, key)
	r = r.WithContext(ctx)
	if isMessage(r.Pattern) {
		mux.ServeHTTP(w, r)
		return
	}
	fp := fingerprint(r, body)
	old, fresh, err := s.deps.Keys.ReserveKey(ctx, key, fp)
	switch {
	case err != nil:
		writeError(w, r, s.seen(ctx, err))
	case fresh:
		s.serveOnce(mux, w, r, key)
	default:
		replay(w, r, old, fp)
	}
}

// checkKey refuses keys that are too long or that no log could show.
func checkKey(key string) error {
	ok := len(key) <= maxKey
	for i := 0; ok && i < len(key); i++ {
		ok = key[i] >= ' ' && key[i] < 0x7f
	}
	if !ok {
		return caxton.Errorf(caxton.Invalid, "idempotency_key_invalid", "the Idempotency-Key is no key").WithHint("use up to %d printable ASCII characters, such as a UUID", maxKey)
	}
	return nil
}

// isMessage reports whether a pattern is one by which messages are sent.
func isMessage(pattern string) bool {
	switch pattern {
	case "POST /api/v1/messages", "POST /api/v1/agents/{agent}/message", "POST /api/v1/agents/{agent}/messages":
		return true
	}
	return false
}

// fingerprint tells a request from any other with the same key.
func fingerprint(r *http.Request, body []byte) string {
	h := sha256.New()
	for _, part := range []string{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Content-Type")} {
		h.Write([]byte(part + "\x00"))
	}
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func errKeyReused() error {
	return caxton.Errorf(caxton.Invalid, "idempotency_key_reused", "this Idempotency-Key was used for another request").
		WithHint("use a new key for a new request")
}

// replay answers a request whose key is taken.
func replay(w http.ResponseWriter, r *http.Request, old caxton.KeyedRequest, fp string) {
	var a keptAnswer
	switch {
	case old.Fingerprint != fp:
		writeError(w, r, errKeyReused())
	case !old.Done:
		w.Header().Set("Retry-After", "1")
		writeError(w, r, caxton.Errorf(caxton.Conflict, "request_in_progress", "the request with this Idempotency-Key is still being served").
			WithHint("ask again in a moment"))
	case old.Answer == nil || json.Unmarshal(old.Answer, &a) != nil:
		writeError(w, r, caxton.Errorf(caxton.Conflict, "answer_not_kept", "the request with this Idempotency-Key was served, but its answer was too large to keep").
			WithHint("see for yourself what it did; use a new key to have it done again"))
	default:
		w.Header().Set("Idempotency-Replayed", "true")
		if a.MediaType != "" {
			w.Header().Set("Content-Type", a.MediaType)
		}
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body)
	}
}

// serveOnce serves a request whose key was reserved for it. It goes on when the caller
// leaves: he will ask again with the same key, and find it done.
func (s *Server) serveOnce(mux *http.ServeMux, w *recorder, r *http.Request, key string) {
	ctx := r.Context()
	if endless := s.streams[r.Pattern]; endless == nil || !endless(r) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), s.cfg.RequestTimeout)
		defer cancel()
		if base, ok := ctx.Value(baseKey{}).(context.Context); ok { // not beyond the server's end
			defer context.AfterFunc(base, cancel)() //nolint:contextcheck // the one that ends with the server
		}
	}
	w.copy = &answerCopy{}
	done := false
	defer func() { // a panic comes by here as well
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endKey)
		defer cancel()
		s.endKey(ctx, w, r.Pattern, key, done)
	}()
	mux.ServeHTTP(w, r.WithContext(ctx))
	done = true
}

// endKey keeps the answer under the key, or gives the key up. What is told only once, a secret
// that was made, is not kept: the answer comes again without it.
func (s *Server) endKey(ctx context.Context, w *recorder, pattern, key string, done bool) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	var err error
	if !done || status == http.StatusTooManyRequests || status >= StatusClientClosed {
		err = s.deps.Keys.ReleaseKey(ctx, key)
	} else {
		var answer []byte
		if !w.copy.long {
			answer, err = json.Marshal(keptAnswer{status, w.Header().Get("Content-Type"), withoutSecrets(pattern, w.copy.b.Bytes())})
		}
		if err == nil {
			err = s.deps.Keys.StoreKey(ctx, key, answer)
		}
	}
	if err != nil { // the caller has his answer; a second request finds the key taken until the restart
		s.cfg.Logger.ErrorContext(ctx, "answer not kept under its idempotency key", "request_id", requestID(ctx), "error", err)
	}
}

// withoutSecrets returns the answer to a request by which secrets are made without them.
func withoutSecrets(pattern string, body []byte) []byte {
	if !strings.HasPrefix(pattern, "POST /api/v1/webhooks") {
		return body
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	delete(fields, "secrets")
	b, err := json.Marshal(fields)
	if err != nil {
		return body // cannot be: it was read from JSON
	}
	return b
}

// tie makes a key stand for a message that has an ID of the caller's own.
func (s *Server) tie(ctx context.Context, key string, id caxton.MessageID) error {
	fp := "message " + string(id)
	old, fresh, err := s.deps.Keys.ReserveKey(ctx, key, fp)
	switch {
	case err != nil:
		return err
	case fresh:
		return s.deps.Keys.StoreKey(ctx, key, nil)
	case old.Fingerprint != fp:
		return errKeyReused()
	}
	return nil
}

// An answerCopy is what was answered, as long as it is short enough to keep.
type answerCopy struct {
	b    bytes.Buffer
	long bool
}

func (c *answerCopy) write(p []byte) {
	if c.long = c.long || c.b.Len()+len(p) > maxKeptAnswer; c.long {
		c.b = bytes.Buffer{}
		return
	}
	c.b.Write(p)
}
