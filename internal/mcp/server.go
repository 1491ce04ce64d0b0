package mcp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// Bounds of what a server may say of its tools.
const (
	maxTools       = 500
	maxPages       = 100
	maxDescription = 16 << 10
	maxSchema      = 64 << 10
	maxName        = 128
	maxMessages    = 1000 // notifications in one second
	probeTimeout   = 5 * time.Second
	healthy        = time.Minute // a session that lived so long starts again without delay
)

// States of a server.
const (
	disabled  = "disabled"
	starting  = "starting"
	connected = "connected"
	failed    = "failed"
)

// A server keeps one MCP server running.
type server struct {
	all  *Servers
	name string
	cfg  Server
	log  *slog.Logger

	relist chan struct{} // capacity 1: somebody wants the list of tools looked at
	probe  chan struct{} // capacity 1: somebody doubts that the server is alive

	mu      sync.Mutex
	status  caxton.MCPServer
	session *session      // nil while there is none
	news    chan struct{} // closed and replaced when session or status change
}

// A session is one connection to a server.
type session struct {
	*sdk.ClientSession
	// bind returns a context that ends with the session too. A call that waits for a dead
	// server would hold up the end of its session.
	bind func(ctx context.Context) (context.Context, context.CancelFunc)
}

func newServer(all *Servers, name string, cfg Server) *server {
	s := &server{
		all: all, name: name, cfg: cfg, log: all.cfg.Logger.With("server", name),
		relist: make(chan struct{}, 1), probe: make(chan struct{}, 1), news: make(chan struct{}),
	}
	s.status = caxton.MCPServer{Name: name, Transport: "stdio", Target: cfg.Command, State: starting, Trusted: cfg.Trust, Since: all.cfg.Now().UTC()}
	if cfg.URL != "" {
		s.status.Transport, s.status.Target = "http", withoutSecrets(cfg.URL)
	}
	if cfg.Disabled {
		s.status.State = disabled
	}
	return s
}

func (s *server) state() caxton.MCPServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// change changes status and session, and wakes those who wait for it.
func (s *server) change(f func(st *caxton.MCPServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.status.State
	f(&s.status)
	if s.status.State != before {
		s.status.Since = s.all.cfg.Now().UTC()
	}
	close(s.news)
	s.news = make(chan struct{})
}

// nudge puts a wish into a channel of capacity 1, where one wish is as good as many.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run starts the server, again and again until ctx ends.
func (s *server) run(ctx context.Context) {
	pause := s.all.cfg.RestartInitial
	for {
		began := time.Now()
		err := s.live(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > healthy {
			pause = s.all.cfg.RestartInitial
		}
		wait := pause/2 + rand.N(pause/2+1) //nolint:gosec // spreads restarts, keeps no secret
		s.change(func(st *caxton.MCPServer) {
			st.State, st.Error, st.NextStart = failed, reason(err), s.all.cfg.Now().Add(wait).UTC()
		})
		s.log.WarnContext(ctx, "mcp server failed", "error", err, "next_start_in", wait)
		pause = min(2*pause, s.all.cfg.RestartMax)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// live is the life of one session: from the start of the server to its end, and why it ended.
func (s *server) live(ctx context.Context) (err error) {
	s.change(func(st *caxton.MCPServer) {
		st.State, st.NextStart = starting, time.Time{}
		st.Starts++
	})
	s.all.metrics.starts.WithLabelValues(s.name).Inc()
	transport, release, err := s.transport(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if fate := release(); fate != "" && err != nil {
			err = withFate(err, fate)
		}
	}()
	var flood atomic.Bool
	client := s.client(&flood)
	begin, cancel := context.WithTimeout(ctx, s.cfg.StartupTimeout)
	defer cancel()
	sess, err := client.Connect(begin, transport, nil)
	if err != nil {
		if begin.Err() != nil {
			return caxton.Errorf(caxton.Timeout, "mcp_start_timeout", "the MCP server %s did not answer within %v of its start", s.name, s.cfg.StartupTimeout).WithCause(err)
		}
		return fmt.Errorf("connecting: %w", err)
	}
	life, over := context.WithCancel(ctx)
	ended := make(chan struct{})
	var wg sync.WaitGroup
	var end error // why the connection ended, read after ended
	wg.Go(func() {
		end = sess.Wait()
		close(ended)
	})
	defer func() {
		over()
		release() // a child that is gone cannot hold up the end of the session
		_ = sess.Close()
		wg.Wait()
	}()
	if err := s.list(begin, sess); err != nil {
		return err
	}
	s.settle(ctx, &session{sess, func(ctx context.Context) (context.Context, context.CancelFunc) {
		bound, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(life, cancel)
		return bound, func() {
			stop()
			cancel()
		}
	}})
	defer s.change(func(*caxton.MCPServer) { s.session = nil })
	return s.watch(ctx, sess, ended, &flood, func() error { return end })
}

// withFate adds to an error how the program of the server ended.
func withFate(err error, fate string) error {
	e, ok := errors.AsType[*caxton.Error](err)
	if !ok {
		return fmt.Errorf("%w (its program ended: %s)", err, fate)
	}
	c := *e
	c.Message += " (its program ended: " + fate + ")"
	return &c
}

// settle says that a session is ready for calls.
func (s *server) settle(ctx context.Context, sess *session) {
	about := sess.InitializeResult()
	product := ""
	if about.ServerInfo != nil {
		product = strings.TrimSpace(cut(about.ServerInfo.Name, 100) + " " + cut(about.ServerInfo.Version, 50))
	}
	s.change(func(st *caxton.MCPServer) {
		st.State, st.Error, st.Protocol, st.Product = connected, "", cut(about.ProtocolVersion, 20), product
		s.session = sess
	})
	s.all.metrics.up.WithLabelValues(s.name).Set(1)
	s.log.InfoContext(ctx, "mcp server connected", "protocol", about.ProtocolVersion, "product", product)
}

// watch waits for the end of the session, looking at the list of tools when it changes and
// now and then, and at the server's health when a call went wrong.
func (s *server) watch(ctx context.Context, sess *sdk.ClientSession, ended <-chan struct{}, flood *atomic.Bool, end func() error) error {
	defer s.all.metrics.up.WithLabelValues(s.name).Set(0)
	refresh := time.NewTicker(s.all.cfg.Refresh)
	defer refresh.Stop()
	relist := (<-chan struct{})(s.relist) // nil for a moment after each look
	var calm <-chan time.Time
	look := func() error {
		within, cancel := context.WithTimeout(ctx, s.cfg.StartupTimeout)
		defer cancel()
		return s.list(within, sess)
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return endOf(s.name, end())
		case <-refresh.C:
			err = look()
		case <-relist:
			relist, calm = nil, time.After(s.all.cfg.Calm)
			err = look()
		case <-calm:
			relist, calm = s.relist, nil
		case <-s.probe:
			err = s.ping(ctx, sess)
		}
		if flood.Load() {
			err = caxton.Errorf(caxton.Exhausted, "mcp_flood", "the MCP server %s sent more than %d notifications in a second", s.name, maxMessages)
		}
		if err != nil {
			return err
		}
	}
}

func endOf(name string, cause error) error {
	err := caxton.Errorf(caxton.Unavailable, "mcp_server_ended", "the MCP server %s ended", name)
	if cause == nil {
		return err
	}
	return err.WithCause(cause)
}

// ping reports whether the server still answers, were it with an error.
func (s *server) ping(ctx context.Context, sess *sdk.ClientSession) error {
	within, cancel := context.WithTimeout(ctx, min(probeTimeout, s.cfg.StartupTimeout))
	defer cancel()
	err := sess.Ping(within, nil)
	if _, answered := errors.AsType[*jsonrpc.Error](err); err == nil || answered && within.Err() == nil {
		return nil
	}
	return caxton.Errorf(caxton.Unavailable, "mcp_server_hangs", "the MCP server %s does not answer any more", s.name).WithCause(err)
}

// client makes a client that offers servers nothing: no sampling, no roots, no questions to
// people. Each of them would let a server spend or see what is not its own.
func (s *server) client(flood *atomic.Bool) *sdk.Client {
	c := sdk.NewClient(&sdk.Implementation{Name: "caxton", Version: s.all.cfg.Version}, &sdk.ClientOptions{
		Logger:                 slog.New(slog.DiscardHandler), // what matters comes back as an error
		Capabilities:           &sdk.ClientCapabilities{},
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) { nudge(s.relist) },
	})
	var mu sync.Mutex
	var second time.Time
	var n int
	c.AddReceivingMiddleware(func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
			mu.Lock()
			if now := time.Now(); now.Sub(second) > time.Second {
				second, n = now, 0
			}
			n++
			over := n > maxMessages
			mu.Unlock()
			if over && flood.CompareAndSwap(false, true) {
				nudge(s.probe) // wakes watch, which ends the session
			}
			return next(ctx, method, req)
		}
	})
	return c
}

// list reads the server's tools and holds them against their pins.
func (s *server) list(ctx context.Context, sess *sdk.ClientSession) error {
	var offers []offer
	if about := sess.InitializeResult(); about != nil && about.Capabilities != nil && about.Capabilities.Tools == nil {
		return s.all.observe(ctx, s, nil) // it has no tools and would answer with an error
	}
	var cursor string
	for page := 0; ; page++ {
		res, err := sess.ListTools(ctx, &sdk.ListToolsParams{Cursor: cursor})
		if err != nil {
			if ctx.Err() != nil {
				return caxton.Errorf(caxton.Timeout, "mcp_list_timeout", "the MCP server %s did not list its tools within %v", s.name, s.cfg.StartupTimeout).WithCause(err)
			}
			return fmt.Errorf("listing tools: %w", err)
		}
		for _, t := range res.Tools {
			if t != nil {
				offers = append(offers, s.read(t))
			}
		}
		if len(offers) > maxTools || page >= maxPages {
			return caxton.Errorf(caxton.TooLarge, "mcp_too_many_tools", "the MCP server %s lists more than %d tools", s.name, maxTools).
				WithHint("ask its maker for a smaller set; include_tools is applied after listing")
		}
		if res.NextCursor == "" {
			break
		}
		cursor = res.NextCursor
	}
	count := map[string]int{}
	for _, o := range offers {
		count[caxton.MCPToolName(s.name, o.Tool)]++
	}
	for i, o := range offers {
		if count[caxton.MCPToolName(s.name, o.Tool)] > 1 {
			offers[i].fault = "its server offers several tools of that name"
		}
	}
	return s.all.observe(ctx, s, offers)
}

// read turns what a server says of a tool into an offer of bounded size.
func (s *server) read(t *sdk.Tool) offer {
	o := offer{ToolOffer: caxton.ToolOffer{Tool: t.Name, Description: t.Description}}
	o.Description = cmp.Or(o.Description, t.Title)
	if a := t.Annotations; a != nil {
		o.ReadOnly, o.Idempotent = a.ReadOnlyHint, a.IdempotentHint
		o.Destructive = !a.ReadOnlyHint && (a.DestructiveHint == nil || *a.DestructiveHint)
		o.Description = cmp.Or(o.Description, a.Title)
	}
	o.Description = strings.ToValidUTF8(o.Description, "\uFFFD")
	schema, err := json.Marshal(t.InputSchema)
	switch {
	case t.Name == "" || len(t.Name) > maxName:
		o.fault, o.Tool = fmt.Sprintf("its name has %d bytes", len(t.Name)), cut(t.Name, maxName)
	case len(o.Description) > maxDescription:
		o.fault = fmt.Sprintf("its description has %d bytes, more than %d", len(o.Description), maxDescription)
		o.Description = cut(o.Description, maxDescription)
	case err != nil:
		o.fault = "its schema cannot be read"
	case len(schema) > maxSchema:
		o.fault = fmt.Sprintf("its schema has %d bytes, more than %d", len(schema), maxSchema)
	}
	if o.fault != "" {
		return o
	}
	o.Schema = schema
	if bytes.Equal(schema, []byte("null")) {
		o.fault = "it has no schema"
		return o
	}
	probe := &remote{spec: tool.Spec{Name: caxton.MCPToolName(s.name, t.Name), Parameters: schema}}
	if _, err := tool.NewEntry(probe); err != nil {
		o.fault = reason(err)
	}
	return o
}

// reason words an error for an operator: its message, and the cause where that says more.
func reason(err error) string {
	e, ok := errors.AsType[*caxton.Error](err)
	if !ok {
		return cut(err.Error(), 500)
	}
	if e.Err != nil {
		return cut(e.Message+": "+e.Err.Error(), 500)
	}
	return cut(e.Message, 500)
}

// cut returns the beginning of s as valid UTF-8 of at most n bytes.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// ready returns the session, waiting until there is one.
func (s *server) ready(ctx context.Context) (*session, error) {
	wait, cancel := context.WithTimeout(ctx, s.cfg.StartupTimeout)
	defer cancel()
	for {
		s.mu.Lock()
		sess, news, st := s.session, s.news, s.status
		s.mu.Unlock()
		switch {
		case sess != nil:
			return sess, nil
		case st.State == disabled, st.State == failed:
			return nil, s.down(st)
		}
		select {
		case <-news:
		case <-wait.Done():
			return nil, s.down(st) // whatever ended the wait: nothing was asked of the server
		}
	}
}

func (s *server) down(st caxton.MCPServer) error {
	err := caxton.Errorf(caxton.Unavailable, "mcp_server_down", "the MCP server %s is %s", s.name, st.State)
	if st.Error != "" {
		err.Message += ": " + st.Error
	}
	return err.WithHint("caxton tools servers shows how the MCP servers are")
}
