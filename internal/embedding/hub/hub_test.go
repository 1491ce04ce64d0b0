package hub_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding/hub"
)

const (
	repository = "someone/model"
	revision   = "abc123"
)

// content is what the model file holds: longer than a buffer, and each part different.
func content() []byte {
	var b bytes.Buffer
	for i := range 40_000 {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.Bytes()
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func pinned() []hub.File {
	return []hub.File{{Name: "model.safetensors", Size: int64(len(content())), SHA256: digest(content())}}
}

// serve answers with the handler, which is told how many requests came before.
func serve(t *testing.T, handle func(n int, w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	var mu sync.Mutex
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		at := n
		n++
		mu.Unlock()
		handle(at, w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// whole answers as a good server does.
func whole(w http.ResponseWriter, r *http.Request, etag string) {
	w.Header().Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content()))
}

// cut sends the first size bytes of a whole answer and ends the connection.
func cut(w http.ResponseWriter, etag string, size int) {
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Length", strconv.Itoa(len(content())))
	_, _ = w.Write(content()[:size])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func newHub(t *testing.T, cfg hub.Config) *hub.Hub {
	t.Helper()
	if cfg.Pause == 0 {
		cfg.Pause = time.Millisecond
	}
	h, err := hub.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// left returns the names of the files below dir.
func left(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, e.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFetch(t *testing.T) {
	t.Parallel()
	url := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if want := "/" + repository + "/resolve/" + revision + "/"; !strings.HasPrefix(r.URL.Path, want) {
			t.Errorf("asked for %s", r.URL.Path)
		}
		switch filepath.Base(r.URL.Path) {
		case "config.json":
			_, _ = w.Write([]byte(`{}`))
		case "model.safetensors":
			whole(w, r, `"v1"`)
		default:
			http.NotFound(w, r)
		}
	})
	var seen []hub.Progress
	h := newHub(t, hub.Config{BaseURL: url, Progress: func(p hub.Progress) { seen = append(seen, p) }})
	files := append([]hub.File{{Name: "1_Pooling/config.json"}, {Name: "extra.json", Optional: true}}, pinned()...)
	dir := filepath.Join(t.TempDir(), "models", "m")
	s, err := h.Fetch(t.Context(), repository, revision, files, dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil || !bytes.Equal(got, content()) {
		t.Fatalf("model.safetensors: %d bytes, %v", len(got), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "1_Pooling", "config.json")); err != nil {
		t.Error(err)
	}
	if len(s.Files) != 3 || s.Files[0].Verified || !s.Files[1].Missing || !s.Files[2].Verified || s.Files[2].SHA256 != digest(content()) || s.Verified() {
		t.Errorf("Fetch = %+v", s)
	}
	if n := len(seen); n == 0 || seen[n-1] != (hub.Progress{File: "model.safetensors", Done: int64(len(content())), Total: int64(len(content()))}) {
		t.Errorf("progress %+v", seen)
	}
	if names := left(t, dir); len(names) != 3 {
		t.Errorf("left in the directory: %v", names)
	}

	t.Run("nobody is asked for what is there", func(t *testing.T) {
		t.Parallel()
		h := newHub(t, hub.Config{BaseURL: "http://127.0.0.1:1", Attempts: 1})
		again, err := h.Fetch(t.Context(), repository, revision, files, dir)
		if err != nil || len(again.Files) != 3 {
			t.Fatalf("Fetch = %+v, %v", again, err)
		}
		if _, err := h.Fetch(t.Context(), repository, "other", files, dir); caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("another revision: %v, want it to be asked for", err)
		}
	})
}

// What goes wrong on the way and heals: the file is whole in the end, and nothing else is left.
func TestFetchGoesOn(t *testing.T) {
	t.Parallel()
	full := len(content())
	tests := []struct {
		name   string
		files  []hub.File // pinned by default
		part   string     // what lies there from before
		etag   string
		handle func(t *testing.T, n int, w http.ResponseWriter, r *http.Request)
	}{
		{"cut more often than there are attempts", nil, "", "", func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			if n == 0 {
				cut(w, `"v1"`, 100_000)
			}
			if got := r.Header.Get("If-Range"); got != `"v1"` {
				t.Errorf("request %d: If-Range %q", n, got)
			}
			if n < 7 {
				from, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
				w.Header().Set("ETag", `"v1"`)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, full-1, full))
				w.Header().Set("Content-Length", strconv.Itoa(full-from))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(content()[from : from+20_000])
				panic(http.ErrAbortHandler)
			}
			if r.Header.Get("Range") == "" {
				t.Error("the last request is for everything")
			}
			whole(w, r, `"v1"`)
		}},
		{"replaced in between", []hub.File{{Name: "model.safetensors"}}, "", "", func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			if n == 0 {
				cut(w, `"old"`, 90_000)
			}
			whole(w, r, `"new"`) // ServeContent ignores the range, as If-Range differs
		}},
		{"no tag and no pin", []hub.File{{Name: "model.safetensors"}}, "", "", func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			if r.Header.Get("Range") != "" {
				t.Errorf("request %d has the range %q", n, r.Header.Get("Range"))
			}
			if n == 0 {
				cut(w, `W/"weak"`, 90_000)
			}
			whole(w, r, "")
		}},
		{"a part of something else", nil, "something else entirely", `"v1"`, func(t *testing.T, _ int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			whole(w, r, `"v1"`)
		}},
		{"a part that is too long", nil, strings.Repeat("x", 2*full), `"v1"`, func(t *testing.T, _ int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			whole(w, r, `"v1"`)
		}},
		{"resumed elsewhere than asked", nil, string(content()[:1000]), `"v1"`, func(t *testing.T, _ int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", 500, full-1, full))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(content()[500:])
				return
			}
			whole(w, r, `"v1"`)
		}},
		{"resumed with other bytes", nil, string(content()[:1000]), `"v1"`, func(t *testing.T, _ int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", 1000, full-1, full))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(bytes.Repeat([]byte("z"), full-1000))
				return
			}
			whole(w, r, `"v1"`)
		}},
		{"busy, then broken, then well", nil, "", "", func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			switch n {
			case 0:
				w.WriteHeader(http.StatusTooManyRequests)
			case 1:
				w.WriteHeader(http.StatusBadGateway)
			default:
				whole(w, r, `"v1"`)
			}
		}},
		{"ends early without a length", nil, "", "", func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
			t.Helper()
			if n == 0 {
				w.Header().Set("ETag", `"v1"`)
				_ = http.NewResponseController(w).Flush()
				_, _ = w.Write(content()[:50_000])
				return
			}
			if r.Header.Get("Range") != "bytes=50000-" {
				t.Errorf("request %d has the range %q", n, r.Header.Get("Range"))
			}
			whole(w, r, `"v1"`)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) { tt.handle(t, n, w, r) })
			dir := t.TempDir()
			for name, text := range map[string]string{".part": tt.part, ".part.etag": tt.etag} {
				if text != "" {
					if err := os.WriteFile(filepath.Join(dir, "model.safetensors"+name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			files := tt.files
			if files == nil {
				files = pinned()
			}
			h := newHub(t, hub.Config{BaseURL: url})
			if _, err := h.Fetch(t.Context(), repository, revision, files, dir); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "model.safetensors")); err != nil || !bytes.Equal(got, content()) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if names := left(t, dir); len(names) != 2 {
				t.Errorf("left in the directory: %v", names)
			}
		})
	}
}

// A drip answers with pieces of the content, each after a pause; those of the first answer
// stop after silentAfter of them.
type drip struct {
	pause       time.Duration
	silentAfter int
	asked       int
}

func (d *drip) RoundTrip(r *http.Request) (*http.Response, error) {
	const pieces = 6
	d.asked++
	stop := pieces
	if d.asked == 1 {
		stop = d.silentAfter
	}
	body, w := io.Pipe()
	go func() {
		for i := range stop {
			select {
			case <-time.After(d.pause):
			case <-r.Context().Done():
			}
			_, _ = w.Write(content()[i*len(content())/pieces : (i+1)*len(content())/pieces])
		}
		if stop < pieces {
			<-r.Context().Done()
		}
		_ = w.CloseWithError(r.Context().Err())
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body, ContentLength: int64(len(content())), Request: r}, nil
}

func TestFetchStalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		drip drip
		asks int
	}{
		{"slow but steady", drip{pause: 20 * time.Second, silentAfter: 6}, 1},
		{"silent, then well", drip{pause: time.Second, silentAfter: 2}, 2},
		{"silent from the start, then well", drip{pause: time.Second}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{BaseURL: "http://hub.test", Client: &http.Client{Transport: &tt.drip}})
				dir := t.TempDir()
				if _, err := h.Fetch(t.Context(), repository, revision, pinned(), dir); err != nil {
					t.Fatal(err)
				}
				if tt.drip.asked != tt.asks || len(left(t, dir)) != 2 {
					t.Errorf("asked %d times, want %d; left in the directory: %v", tt.drip.asked, tt.asks, left(t, dir))
				}
			})
		})
	}
}

// What does not heal: the kind and code of the error, and nothing half in the directory.
func TestFetchFails(t *testing.T) {
	t.Parallel()
	full := len(content())
	respond := func(status int, header, body string) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) {
			if name, value, ok := strings.Cut(header, ": "); ok {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	tests := []struct {
		name   string
		files  []hub.File
		handle func(n int, w http.ResponseWriter, r *http.Request)
		kind   caxton.Kind
		code   string
		parts  bool // what came is kept for the next time
	}{
		{"wrong digest", nil, respond(200, "", strings.Repeat("x", full)), caxton.Malformed, "model_digest_wrong", false},
		{"wrong digest, by the hub's word", []hub.File{{Name: "m"}}, respond(200, `X-Linked-Etag: "`+strings.Repeat("0", 64)+`"`, "text"), caxton.Malformed, "model_digest_wrong", false},
		{"wrong size", nil, respond(200, "", "short"), caxton.Malformed, "model_size_wrong", false},
		{"more than it says", nil, func(_ int, w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush() // no length
			_, _ = w.Write(append(content(), "and more"...))
		}, caxton.Malformed, "model_size_wrong", false},
		{"always cut", nil, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n > 0 {
				panic(http.ErrAbortHandler)
			}
			cut(w, `"v1"`, 70_000)
		}, caxton.Unavailable, "", true},
		{"a web page", []hub.File{{Name: "m"}}, respond(200, "Content-Type: text/html; charset=utf-8", "<html>log in</html>"), caxton.Malformed, "model_download_malformed", false},
		{"too large by its length", []hub.File{{Name: "m"}}, respond(200, "", strings.Repeat("x", 600_000)), caxton.TooLarge, "model_too_large", false},
		{"too large without a length", []hub.File{{Name: "m"}}, func(_ int, w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(bytes.Repeat([]byte("x"), 600_000))
		}, caxton.TooLarge, "model_too_large", false},
		{"not there", nil, respond(404, "", ""), caxton.NotFound, "model_not_found", false},
		{"not for us", nil, respond(401, "", ""), caxton.Unauthenticated, "model_download_refused", false},
		{"not allowed", nil, respond(403, "", ""), caxton.Forbidden, "model_download_refused", false},
		{"broken for good", nil, respond(503, "", ""), caxton.Unavailable, "model_hub_unavailable", false},
		{"an unexpected status", nil, respond(418, "", ""), caxton.Malformed, "model_download_malformed", false},
		{"redirects without end", nil, func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, caxton.Malformed, "model_download_redirects", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			files := tt.files
			if files == nil {
				files = pinned()
			}
			dir := t.TempDir()
			h := newHub(t, hub.Config{BaseURL: serve(t, tt.handle), MaxFile: 500_000})
			_, err := h.Fetch(t.Context(), repository, revision, files, dir)
			e, ok := errors.AsType[*caxton.Error](err)
			if !ok || e.Kind != tt.kind || tt.code != "" && e.Code != tt.code || e.Hint == "" {
				t.Fatalf("Fetch: %v (%+v), want %s %s", err, e, tt.kind, tt.code)
			}
			names := left(t, dir)
			for _, name := range names {
				if !strings.Contains(name, ".part") || !tt.parts {
					t.Errorf("left in the directory: %v", names)
				}
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		h := newHub(t, hub.Config{BaseURL: "http://127.0.0.1:1"})
		_, err := h.Fetch(t.Context(), repository, revision, pinned(), t.TempDir())
		e, ok := errors.AsType[*caxton.Error](err)
		if !ok || e.Kind != caxton.Unavailable || e.Code != "model_hub_unreachable" || !strings.Contains(e.Hint, "memory.embedding_model") {
			t.Errorf("Fetch: %+v", e)
		}
	})
	t.Run("disk full", func(t *testing.T) {
		t.Parallel()
		const device = "/dev/full"
		if _, err := os.Stat(device); err != nil {
			t.Skip("needs a device that is always full")
		}
		dir := t.TempDir()
		if err := os.Symlink(device, filepath.Join(dir, "model.safetensors.part")); err != nil {
			t.Fatal(err)
		}
		h := newHub(t, hub.Config{BaseURL: serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { whole(w, r, `"v1"`) })})
		_, err := h.Fetch(t.Context(), repository, revision, pinned(), dir)
		if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != "disk_full" {
			t.Errorf("Fetch: %v, want disk_full", err)
		}
		if names := left(t, dir); len(names) != 0 {
			t.Errorf("left in the directory: %v", names)
		}
	})
	t.Run("offline", func(t *testing.T) {
		t.Parallel()
		h := newHub(t, hub.Config{Offline: true, BaseURL: serve(t, func(int, http.ResponseWriter, *http.Request) { t.Error("the hub was asked") })})
		_, err := h.Fetch(t.Context(), repository, revision, pinned(), t.TempDir())
		if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Kind != caxton.Unavailable || e.Code != "model_hub_offline" {
			t.Errorf("Fetch: %v, want model_hub_offline", err)
		}
	})
	t.Run("stopped and taken up again", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 0 {
				w.Header().Set("ETag", `"v1"`)
				w.Header().Set("Content-Length", strconv.Itoa(full))
				_, _ = w.Write(content()[:150_000])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			if r.Header.Get("Range") == "" {
				t.Error("everything is asked for again")
			}
			whole(w, r, `"v1"`)
		})
		dir := t.TempDir()
		h := newHub(t, hub.Config{BaseURL: url, Progress: func(hub.Progress) { cancel() }})
		_, err := h.Fetch(ctx, repository, revision, pinned(), dir)
		if caxton.KindOf(err) != caxton.Canceled {
			t.Fatalf("Fetch: %v, want it canceled", err)
		}
		if _, err := h.Fetch(t.Context(), repository, revision, pinned(), dir); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("names that lead elsewhere", func(t *testing.T) {
		t.Parallel()
		h := newHub(t, hub.Config{BaseURL: "http://127.0.0.1:1"})
		for _, in := range [][3]string{{"a", "main", "m"}, {"../b", "main", "m"}, {"a/b/c", "main", "m"}, {"a/b", "../x", "m"}, {"a/b", "..", "m"}, {"a/b", "main", "../m"}, {"a/b", "main", "/m"}} {
			if _, err := h.Fetch(t.Context(), in[0], in[1], []hub.File{{Name: in[2]}}, t.TempDir()); caxton.KindOf(err) != caxton.Invalid {
				t.Errorf("Fetch(%q): %v, want it invalid", in, err)
			}
		}
	})
}

// Where the file is stored elsewhere, the digest and the commit come with the redirect, the
// commit is used for the next file, and the token stays with the hub.
func TestFetchFollowsToStorage(t *testing.T) {
	t.Parallel()
	storage := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token reached the storage")
		}
		w.Header().Set("X-Linked-Etag", `"`+strings.Repeat("1", 64)+`"`) // not the hub's word
		whole(w, r, `"s1"`)
	})
	// Another host name, though the machine is the same.
	storage = strings.Replace(storage, "127.0.0.1", "localhost", 1)
	const commit = "0123456789abcdef0123456789abcdef01234567"
	url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("request %d: Authorization %q", n, r.Header.Get("Authorization"))
		}
		if want := map[bool]string{true: "main", false: commit}[n == 0]; !strings.Contains(r.URL.Path, "/resolve/"+want+"/") {
			t.Errorf("request %d for %s", n, r.URL.Path)
		}
		w.Header().Set("X-Repo-Commit", commit)
		w.Header().Set("X-Linked-Etag", `"`+digest(content())+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(content())))
		http.Redirect(w, r, storage+"/blob", http.StatusFound)
	})
	h := newHub(t, hub.Config{BaseURL: url, Token: "secret"})
	s, err := h.Fetch(t.Context(), repository, "main", []hub.File{{Name: "a"}, {Name: "b"}}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if s.Commit != commit || !s.Verified() {
		t.Errorf("Fetch = %+v", s)
	}
}
