package mcp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caxton/caxton"
)

const (
	minMessage   = 8 << 20 // bytes of one message, or more where results may be larger
	maxSaid      = 4 << 10 // bytes of one line of a child's standard error that are logged
	maxLines     = 200     // lines of it in one minute
	writeTimeout = 5 * time.Second
)

// maxMessage bounds one message. A result travels twice, as text and as structured content,
// and in base64.
func (s *server) maxMessage() int64 { return max(minMessage, 4*s.cfg.MaxResult) }

// transport opens the way to the server. release ends what was started and returns how the
// server's program failed, if it did; it may be called twice.
func (s *server) transport(ctx context.Context) (t sdk.Transport, release func() string, err error) {
	switch {
	case s.all.cfg.Dial != nil:
		t, err := s.all.cfg.Dial(s.name)
		return t, func() string { return "" }, err
	case s.cfg.URL != "":
		client, idle := s.httpClient()
		return &sdk.StreamableClientTransport{Endpoint: s.cfg.URL, HTTPClient: client, MaxEventSize: int(s.maxMessage())}, func() string { idle(); return "" }, nil
	}
	c, err := s.start(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &sdk.IOTransport{Reader: c.out, Writer: c.in, MaxLineLength: int(s.maxMessage())}, c.stop, nil
}

// A child is a running program that is a server.
type child struct {
	cmd   *exec.Cmd
	in    input
	out   *os.File
	gone  chan struct{} // closed when the process has ended
	grace time.Duration
	once  sync.Once
	wg    sync.WaitGroup
	last  atomic.Pointer[string] // line of its standard error
	fate  string                 // how it ended, unless we ended it; read after stop
}

// input writes to a child that may not read: then it fails, and does not wait for ever.
type input struct{ *os.File }

// Write writes p, or fails after a while.
func (i input) Write(p []byte) (int, error) {
	if err := i.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return 0, err
	}
	return i.File.Write(p)
}

// start starts the server's program in a process group of its own.
func (s *server) start(ctx context.Context) (*child, error) {
	c := &child{gone: make(chan struct{}), grace: s.all.cfg.Grace}
	c.cmd = exec.Command(s.cfg.Command, s.cfg.Args...) //nolint:gosec,noctx // the operator names the program; stop ends it, more gently than a context would
	c.cmd.Dir = s.cfg.Dir
	c.cmd.Env = environment(s.all.cfg.Environ, s.cfg.Env)
	group(c.cmd)
	var files []*os.File
	fail := func(err error) (*child, error) {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, caxton.Errorf(caxton.Unavailable, "mcp_start_failed", "the MCP server %s cannot be started with %s", s.name, s.cfg.Command).
			WithHint("check tools.mcp_servers.%s.command", s.name).WithCause(err)
	}
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w, err
	}
	stdin, in, err := pipe()
	if err != nil {
		return fail(err)
	}
	out, stdout, err := pipe()
	if err != nil {
		return fail(err)
	}
	said, stderr, err := pipe()
	if err != nil {
		return fail(err)
	}
	c.in, c.out = input{in}, out
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, stdout, stderr
	if err := c.cmd.Start(); err != nil {
		return fail(err)
	}
	for _, f := range []*os.File{stdin, stdout, stderr} { // the child has its own
		_ = f.Close()
	}
	c.wg.Go(func() {
		s.overhear(context.WithoutCancel(ctx), said, func(line string) { c.last.Store(&line) })
	})
	c.wg.Go(func() {
		_ = c.cmd.Wait() // how it ended shows in the session
		close(c.gone)
		_ = out.SetReadDeadline(time.Now().Add(time.Second))  // what it wrote last is still read;
		_ = said.SetReadDeadline(time.Now().Add(time.Second)) // children of its own may hold the pipes
	})
	s.log.DebugContext(ctx, "mcp server started", "command", s.cfg.Command, "pid", c.cmd.Process.Pid)
	return c, nil
}

// stop ends the child: it is asked by the end of its input, then by a signal, then killed
// with everything it started. It returns how the child ended when
// it failed by itself.
func (c *child) stop() string {
	c.once.Do(func() {
		_ = c.in.Close()
		alone := true
		for _, end := range []func(*exec.Cmd){terminate, kill} {
			t := time.NewTimer(c.grace)
			select {
			case <-c.gone:
			case <-t.C:
				alone = false
				end(c.cmd)
			}
			t.Stop()
		}
		kill(c.cmd) // what it started and left behind
		<-c.gone
		c.wg.Wait()
		_ = c.out.Close()
		if state := c.cmd.ProcessState; alone && state != nil && !state.Success() {
			c.fate = state.String()
			if line := c.last.Load(); line != nil {
				c.fate += ": " + cut(*line, 300)
			}
		}
	})
	return c.fate
}

// overhear logs what a child writes to its standard error, in measure.
func (s *server) overhear(ctx context.Context, from *os.File, keep func(line string)) {
	defer func() { _ = from.Close() }()
	r := bufio.NewReaderSize(from, maxSaid)
	var minute time.Time
	lines, dropped := 0, 0
	for {
		line, err := r.ReadSlice('\n')
		if now := time.Now(); now.Sub(minute) > time.Minute {
			if dropped > 0 {
				s.log.WarnContext(ctx, "mcp server said too much", "dropped_lines", dropped)
			}
			minute, lines, dropped = now, 0, 0
		}
		if text := strings.TrimSpace(strings.ToValidUTF8(string(line), "\uFFFD")); text != "" {
			keep(text)
			if lines++; lines <= maxLines {
				s.log.InfoContext(ctx, "mcp server said", "line", text)
			} else {
				dropped++
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if dropped > 0 {
				s.log.WarnContext(ctx, "mcp server said too much", "dropped_lines", dropped)
			}
			return
		}
	}
}

// environment returns what a child gets to see: harmless variables of this process, and what
// the configuration gives it. Keys and passwords of this server are not among them.
func environment(environ []string, own map[string]string) []string {
	harmless := []string{
		"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "TMPDIR",
		"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "USERNAME",
		"APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "HOMEDRIVE", "HOMEPATH", "PROCESSOR_ARCHITECTURE",
	}
	env := []string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if _, given := own[name]; !given && slices.Contains(harmless, strings.ToUpper(name)) && !strings.HasPrefix(value, "()") {
			env = append(env, kv)
		}
	}
	for name, value := range own {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

// httpClient returns a client for the server's URL: it sends the configured headers there and
// nowhere else, and reads answers of bounded size.
func (s *server) httpClient() (client *http.Client, idle func()) {
	base := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	client = &http.Client{
		Transport: &wire{base: base, headers: s.cfg.Headers, limit: s.maxMessage(), wait: min(s.cfg.StartupTimeout/2, 10*time.Second)},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if from := via[0].URL; req.URL.Scheme != from.Scheme || req.URL.Host != from.Host || len(via) > 5 {
				return caxton.Errorf(caxton.Forbidden, "mcp_redirected", "the MCP server %s redirects to %s", s.name, withoutSecrets(req.URL.String())).
					WithHint("name the right URL in tools.mcp_servers.%s.url", s.name)
			}
			return nil
		},
	}
	return client, base.CloseIdleConnections
}

// wire is the way of requests to a server.
type wire struct {
	base    *http.Transport
	headers map[string]string
	limit   int64         // bytes of an answer that is no event stream
	wait    time.Duration // for the beginning of an event stream
}

// RoundTrip sends a request.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	req = req.Clone(ctx)
	for name, value := range w.headers {
		if !reserved(name) {
			req.Header.Set(name, value)
		}
	}
	var late atomic.Bool
	patience := time.AfterFunc(w.wait, func() {
		if req.Method == http.MethodGet { // a call may take its time, the beginning of events may not
			late.Store(true)
			cancel()
		}
	})
	res, err := w.base.RoundTrip(req)
	patience.Stop()
	if err != nil {
		cancel()
		if late.Load() && req.Header.Get("Last-Event-Id") == "" {
			return none(req), nil
		}
		return nil, err
	}
	b := &body{ReadCloser: res.Body, cancel: cancel, left: w.limit}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		b.left = -1 // each event is bounded, not all of them together
	}
	res.Body = b
	return res, nil
}

// none is the answer of a server that has no events to offer. A server that is asked for
// events and says nothing at all would hold up its own start.
func none(req *http.Request) *http.Response {
	return &http.Response{
		Status: "405 Method Not Allowed", StatusCode: http.StatusMethodNotAllowed, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: req,
	}
}

// reserved reports whether a header belongs to the protocol.
func reserved(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "mcp-") || slices.Contains([]string{"accept", "content-type", "content-length", "last-event-id", "host", "connection", "transfer-encoding"}, name)
}

// body is an answer of bounded size.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
	left   int64 // -1: not bounded
}

// Read reads, and fails when the answer is too long.
func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, caxton.Errorf(caxton.TooLarge, "mcp_answer_too_large", "the MCP server's answer is too large")
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	return n, err
}

// Close closes the answer.
func (b *body) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}

// withoutSecrets returns a URL as it may be shown: without user and query, which may hold keys.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "?"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
