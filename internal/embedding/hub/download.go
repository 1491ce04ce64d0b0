package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/datadir"
)

const (
	maxRedirects  = 10
	progressEvery = 200 * time.Millisecond
	maxPause      = 30 * time.Second
)

// A download brings one file to its path.
type download struct {
	hub        *Hub
	file       File
	repository string
	revision   string
	path       string

	commit   string // what the hub calls the revision
	promised string // the SHA-256 that the hub gives, "" when it gives none
	size     int64  // what the file must have, 0 when not known
}

// errAgain marks a failure after which another attempt may go better.
type errAgain struct{ err error }

func (e errAgain) Error() string { return e.err.Error() }
func (e errAgain) Unwrap() error { return e.err }

// run brings the file, in as many attempts as bring something.
func (d *download) run(ctx context.Context) (Fetched, error) {
	if got, ok := d.there(); ok {
		return got, nil
	}
	if err := os.MkdirAll(filepath.Dir(d.path), 0o755); err != nil { //nolint:gosec // a model is no secret
		return Fetched{}, datadir.Explain("make", filepath.Dir(d.path), filepath.Dir(d.path), err)
	}
	pause, fruitless, spoiled := d.hub.cfg.Pause, 0, false
	for {
		before := d.have()
		got, err := d.attempt(ctx)
		if err == nil || ctx.Err() != nil {
			return got, d.ended(ctx, err)
		}
		var wrong *wrongContent
		again := errAgain{}
		switch {
		case errors.As(err, &wrong):
			// What an earlier process left may be at fault: once more from the start.
			if d.remove(); spoiled || !wrong.joined {
				return got, wrong.err
			}
			spoiled = true
			continue
		case !errors.As(err, &again):
			return got, err
		}
		if fruitless++; d.have() > before {
			fruitless, pause = 1, d.hub.cfg.Pause
		}
		if fruitless >= d.hub.cfg.Attempts {
			return got, again.err
		}
		d.hub.cfg.Logger.WarnContext(ctx, "download of a model broke off", "file", d.file.Name, "bytes", d.have(), "attempt", fruitless, "err", again.err)
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return got, d.ended(ctx, ctx.Err())
		case <-t.C:
		}
		pause = min(2*pause, maxPause)
	}
}

// ended returns the error of an attempt whose caller's context has perhaps ended.
func (d *download) ended(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return caxton.Errorf(caxton.Canceled, "canceled", "the download of %s was stopped", d.file.Name).
			WithHint("it goes on where it stopped when the model is opened again").WithCause(err)
	case ctx.Err() != nil:
		return caxton.Errorf(caxton.Timeout, "model_download_timeout", "the download of %s took too long", d.file.Name).
			WithHint("it goes on where it stopped when the model is opened again").WithCause(err)
	}
	return err
}

func (d *download) part() string { return d.path + ".part" }
func (d *download) tag() string  { return d.path + ".part.etag" }

// have returns how many bytes lie in the part.
func (d *download) have() int64 {
	info, err := os.Stat(d.part())
	if err != nil {
		return 0
	}
	return info.Size()
}

// remove takes away the part and what belongs to it.
func (d *download) remove() {
	_ = os.Remove(d.part()) // often neither is there; a leftover is found and checked next time
	_ = os.Remove(d.tag())
}

// there returns the file that lies at its path already, when its pin says that it is the one.
func (d *download) there() (Fetched, bool) {
	if d.file.SHA256 == "" {
		return Fetched{}, false
	}
	f, err := os.Open(d.path)
	if err != nil {
		return Fetched{}, false
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	n, err := io.Copy(h, f)
	got := Fetched{Name: d.file.Name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil)), Verified: true}
	return got, err == nil && got.SHA256 == d.file.SHA256
}

// wrongContent says that what came is not what was promised.
type wrongContent struct {
	err    error
	joined bool // a part of it lay there before
}

func (w *wrongContent) Error() string { return w.err.Error() }

func (d *download) attempt(ctx context.Context) (Fetched, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stalled := time.AfterFunc(d.hub.cfg.Stall, cancel)
	defer stalled.Stop()
	res, from, err := d.ask(ctx)
	if err != nil {
		return Fetched{}, err
	}
	defer func() { _ = res.Body.Close() }() // it is read to its end, or given up
	if res.StatusCode == http.StatusNotFound && d.file.Optional {
		return Fetched{Name: d.file.Name, Missing: true}, nil
	}
	if err := d.answer(res, &from); err != nil {
		return Fetched{}, err
	}
	h := sha256.New()
	f, err := d.open(from, h, res.Header.Get("ETag"))
	if err != nil {
		return Fetched{}, err
	}
	n, readErr, writeErr := d.copy(f, h, res.Body, from, func() { stalled.Reset(d.hub.cfg.Stall) })
	writeErr = errors.Join(writeErr, f.Sync(), f.Close())
	switch {
	case writeErr != nil:
		err := datadir.Explain("write", d.part(), filepath.Dir(d.path), writeErr)
		if caxton.KindOf(err) == caxton.Exhausted {
			d.remove() // somebody may need the room
		}
		return Fetched{}, err
	case readErr != nil:
		if _, ok := errors.AsType[*caxton.Error](readErr); ok {
			d.remove()
			return Fetched{}, readErr
		}
		return Fetched{}, errAgain{d.broken(n, readErr)}
	case d.size > 0 && n < d.size:
		return Fetched{}, errAgain{d.broken(n, io.ErrUnexpectedEOF)}
	}
	got := Fetched{Name: d.file.Name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}
	want := d.file.SHA256
	if want == "" {
		want = d.promised
	}
	if want != "" && got.SHA256 != want {
		return got, &wrongContent{joined: from > 0, err: caxton.Errorf(caxton.Malformed, "model_digest_wrong",
			"%s of %s has the SHA-256 %s instead of %s", d.file.Name, d.repository, got.SHA256, want).
			WithHint("something between here and %s changes what it carries, or the model was replaced; nothing was kept", d.hub.base.Host)}
	}
	got.Verified = want != ""
	if err := os.Rename(d.part(), d.path); err != nil {
		return got, datadir.Explain("write", d.path, filepath.Dir(d.path), err)
	}
	_ = os.Remove(d.tag()) // a leftover does no harm without its part
	d.hub.cfg.Progress(Progress{File: d.file.Name, Done: n, Total: n})
	if err := datadir.SyncDir(filepath.Dir(d.path)); err != nil {
		return got, datadir.Explain("write to", filepath.Dir(d.path), filepath.Dir(d.path), err)
	}
	return got, nil
}

// ask sends the request, and returns from which byte on an answer may continue.
func (d *download) ask(ctx context.Context) (*http.Response, int64, error) {
	u := d.hub.base.JoinPath(path.Join(d.repository, "resolve", d.revision, d.file.Name))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("User-Agent", "caxton")
	req.Header.Set("Accept-Encoding", "identity") // sizes and ranges are those of the file
	if d.hub.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+d.hub.cfg.Token) // the client drops it for another host
	}
	from := d.have()
	if from > 0 {
		tag, err := os.ReadFile(d.tag())
		if err == nil && strongTag.Match(tag) {
			req.Header.Set("If-Range", string(tag))
		}
		if err == nil && strongTag.Match(tag) || d.file.SHA256 != "" { // a pin finds out what does not belong together
			req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
		} else {
			from = 0
		}
	}
	client := *d.hub.cfg.Client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		d.learn(req.Response)
		if len(via) >= maxRedirects {
			return caxton.Errorf(caxton.Malformed, "model_download_redirects", "%s leads from one address to the next without end", d.hub.base.Host).
				WithHint("check memory.hub_url")
		}
		if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return caxton.Errorf(caxton.Malformed, "model_download_redirects", "%s leads to an address without encryption", d.hub.base.Host).
				WithHint("check memory.hub_url")
		}
		return nil
	}
	res, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*caxton.Error](err); ok {
			return nil, 0, e
		}
		return nil, 0, errAgain{caxton.Errorf(caxton.Unavailable, "model_hub_unreachable", "%s, from which %s is to come, cannot be reached", d.hub.base.Host, d.repository).
			WithHint(offlineHint, d.repository).WithCause(err)}
	}
	d.learn(res)
	return res, from, nil
}

const offlineHint = "connect this machine or set HTTPS_PROXY; or bring the files of %s here by other means and set memory.embedding_model to their directory; " +
	"or use the built-in all-MiniLM-L6-v2, which needs no network"

var (
	strongTag  = regexp.MustCompile(`^"[\x21\x23-\x7e]*"$`)
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	rangeForm  = regexp.MustCompile(`^bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})$`)
)

// learn takes from an answer on the hub's own host what it says of the file: where that is
// stored elsewhere, only the redirect there says it.
func (d *download) learn(res *http.Response) {
	if res == nil || res.Request == nil || res.Request.URL.Host != d.hub.base.Host {
		return
	}
	if c := res.Header.Get("X-Repo-Commit"); Revision(c) {
		d.commit = c
	}
	if t := strings.Trim(strings.TrimPrefix(res.Header.Get("X-Linked-Etag"), "W/"), `"`); digestForm.MatchString(t) {
		d.promised = t
	}
	if n, err := strconv.ParseInt(res.Header.Get("X-Linked-Size"), 10, 64); err == nil && n > 0 {
		d.size = n
	}
}

// answer decides by status and header what comes, and sets from to where it begins.
func (d *download) answer(res *http.Response, from *int64) error {
	asked := *from
	var total int64
	switch status := res.StatusCode; {
	case status == http.StatusOK:
		*from = 0
		total = max(0, res.ContentLength)
	case status == http.StatusPartialContent && asked > 0:
		m := rangeForm.FindStringSubmatch(res.Header.Get("Content-Range"))
		if m == nil || m[1] != strconv.FormatInt(asked, 10) {
			d.remove()
			return errAgain{caxton.Errorf(caxton.Malformed, "model_download_range", "%s was asked for %s from byte %d on and sent %q",
				d.hub.base.Host, d.file.Name, asked, res.Header.Get("Content-Range"))}
		}
		total, _ = strconv.ParseInt(m[3], 10, 64) // 18 digits fit
	case status == http.StatusRequestedRangeNotSatisfiable && asked > 0:
		d.remove() // it is longer than the file, or whole and yet not renamed
		return errAgain{caxton.Errorf(caxton.Malformed, "model_download_range", "%s has no more of %s after byte %d", d.hub.base.Host, d.file.Name, asked)}
	case status == http.StatusNotFound:
		return caxton.Errorf(caxton.NotFound, "model_not_found", "%s has no %s at revision %s of %s", d.hub.base.Host, d.file.Name, d.revision, d.repository).
			WithHint("a model needs model.safetensors, config.json and vocab.txt; check memory.embedding_model")
	case status == http.StatusUnauthorized:
		return caxton.Errorf(caxton.Unauthenticated, "model_download_refused", "%s does not give %s to those it does not know, or has none of that name", d.hub.base.Host, d.repository).
			WithHint("check memory.embedding_model, or set memory.hub_token")
	case status == http.StatusForbidden:
		return caxton.Errorf(caxton.Forbidden, "model_download_refused", "%s does not give %s to us", d.hub.base.Host, d.repository).
			WithHint("accept its terms on the hub, or check memory.hub_token")
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= http.StatusInternalServerError:
		return errAgain{caxton.Errorf(caxton.Unavailable, "model_hub_unavailable", "%s answered with the status %d", d.hub.base.Host, status).
			WithHint("try again later; "+offlineHint, d.repository)}
	default:
		return caxton.Errorf(caxton.Malformed, "model_download_malformed", "%s answered with the status %d", d.hub.base.Host, status).
			WithHint("check memory.hub_url")
	}
	if t, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); t == "text/html" {
		return caxton.Errorf(caxton.Malformed, "model_download_malformed", "%s sent a web page instead of %s", d.hub.base.Host, d.file.Name).
			WithHint("a proxy or a login page may stand in between; check memory.hub_url and HTTPS_PROXY")
	}
	return d.sized(total)
}

// sized compares the size that an answer claims, 0 for none, with what is known.
func (d *download) sized(total int64) error {
	if d.file.Size > 0 {
		d.size = d.file.Size
	}
	if total > 0 && d.size > 0 && total != d.size {
		d.remove()
		return caxton.Errorf(caxton.Malformed, "model_size_wrong", "%s of %s has %d bytes instead of %d", d.file.Name, d.repository, total, d.size).
			WithHint("something between here and %s changes what it carries, or the model was replaced", d.hub.base.Host)
	}
	d.size = max(d.size, total)
	if limit := int64(d.hub.cfg.MaxFile); d.size > limit {
		d.remove()
		return d.tooLarge(limit)
	}
	return nil
}

func (d *download) tooLarge(limit int64) error {
	return caxton.Errorf(caxton.TooLarge, "model_too_large", "%s of %s is larger than %v", d.file.Name, d.repository, caxton.Size(limit)).
		WithHint("choose a smaller model")
}

// open returns the part, positioned at from, with what is before that in h.
func (d *download) open(from int64, h hash.Hash, tag string) (*os.File, error) {
	f, err := os.OpenFile(d.part(), os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // a model is no secret
	if err != nil {
		return nil, datadir.Explain("write", d.part(), filepath.Dir(d.path), err)
	}
	if err := d.position(f, from, h, tag); err != nil {
		return nil, errors.Join(datadir.Explain("write", d.part(), filepath.Dir(d.path), err), f.Close())
	}
	return f, nil
}

func (d *download) position(f *os.File, from int64, h hash.Hash, tag string) error {
	if from > 0 {
		_, err := io.CopyN(h, f, from)
		return err
	}
	if err := os.Remove(d.tag()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if d.have() > 0 {
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	if !strongTag.MatchString(tag) {
		return nil
	}
	return os.WriteFile(d.tag(), []byte(tag), 0o644) //nolint:gosec // a model is no secret
}

// copy writes body behind from and returns how long the file is now. It calls alive for each
// piece that comes.
func (d *download) copy(f *os.File, h hash.Hash, body io.Reader, from int64, alive func()) (n int64, readErr, writeErr error) {
	n = from
	limit := int64(d.hub.cfg.MaxFile)
	if d.size > 0 {
		limit = d.size
	}
	buf := make([]byte, 128<<10)
	var shown time.Time
	for {
		size, err := body.Read(buf)
		if size > 0 {
			alive()
			if n+int64(size) > limit {
				if d.size > 0 {
					return n, caxton.Errorf(caxton.Malformed, "model_size_wrong", "%s of %s has more than %d bytes", d.file.Name, d.repository, d.size).
						WithHint("something between here and %s changes what it carries, or the model was replaced", d.hub.base.Host), nil
				}
				return n, d.tooLarge(limit), nil
			}
			if _, err := f.Write(buf[:size]); err != nil {
				return n, nil, err
			}
			h.Write(buf[:size])
			n += int64(size)
			if now := time.Now(); now.Sub(shown) >= progressEvery {
				shown = now
				d.hub.cfg.Progress(Progress{File: d.file.Name, Done: n, Total: d.size})
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil, nil
		}
		if err != nil {
			return n, err, nil
		}
	}
}

func (d *download) broken(n int64, err error) error {
	of := ""
	if d.size > 0 {
		of = fmt.Sprintf(" of %d", d.size)
	}
	return caxton.Errorf(caxton.Unavailable, "model_download_broken", "the download of %s broke off after %d%s bytes", d.file.Name, n, of).
		WithHint("try again: it goes on where it broke off").WithCause(err)
}
