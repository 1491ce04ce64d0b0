package httpd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/httpd"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/prometheus/client_golang/prometheus"
)

// A shop is a server over a database file.
type shop struct {
	db   *sqlite.DB
	feed *event.Feed
	http *httpd.Server
	stop func()
}

func openShop(t *testing.T, path string, cfg httpd.Config) *shop {
	t.Helper()
	sh := &shop{feed: &event.Feed{}}
	var err error
	if sh.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: path, Feed: sh.feed}); err != nil {
		t.Fatal(err)
	}
	base := context.WithoutCancel(t.Context())
	dbCtx, stopDB := context.WithCancel(base)
	dbDone := make(chan error, 1)
	go func() { dbDone <- sh.db.Run(dbCtx) }()
	cfg.Addr = "127.0.0.1:0"
	sh.http, _, _ = newServerWith(t, cfg, func(d *httpd.Deps) {
		r := router.New(sh.db, d.Registry.(*house), router.Config{QueueSize: 1 << 30})
		d.Router, d.Conversations = r, r
		d.Log, d.Feed = sh.db, sh.feed
	})
	ctx, cancel := context.WithCancel(base)
	done := serve(ctx, t, sh.http)
	sh.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		stopDB()
		if err := <-dbDone; err != nil {
			t.Error(err)
		}
		if err := sh.db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(sh.stop)
	return sh
}

// turn writes the records of one message: accepted, deltas beside the log, model called, settled.
func (sh *shop) turn(ctx context.Context, conv, id string, deltas int) error {
	d := journaltest.Delivery(conv, id, 0)
	d.Message.CreatedAt = time.Now()
	if _, _, err := sh.db.Accept(ctx, d, true); err != nil {
		return err
	}
	for i := range deltas {
		sh.feed.Publish(d.Message.ConversationID, event.Event{Delta: &event.Delta{
			ConversationID: d.Message.ConversationID, MessageID: d.Message.ID, AgentID: "a1", Index: i, Text: "piece ",
		}})
	}
	err := sh.db.Append(ctx, caxton.Record{
		ConversationID: d.Message.ConversationID, Kind: caxton.RecordModelCalled, MessageID: d.Message.ID, AgentID: "a1", Body: json.RawMessage(`{"step":0}`),
	})
	if err != nil {
		return err
	}
	return sh.db.Settle(ctx, journaltest.Done(journaltest.Lease(d), "hi"))
}

// A cutter passes connections on to a server and cuts the first ones at random points.
type cutter struct {
	l       net.Listener
	backend atomic.Value // string: its address
	cuts    atomic.Int64 // connections cut after something of the answer was passed on
	want    int64
}

func newCutter(t *testing.T, want int64) *cutter {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{l: l, want: want}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return c
}

func (c *cutter) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	var d net.Dialer
	server, err := d.DialContext(context.Background(), "tcp", c.backend.Load().(string))
	if err != nil {
		return // the server is down
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = server.Close() }()
	defer func() { _ = client.Close() }()
	wg.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close() // the client left
	})
	if c.cuts.Load() >= c.want {
		_, _ = io.Copy(client, server)
		return
	}
	if n, err := io.CopyN(client, server, 400+rand.Int64N(4000)); err == nil && n > 0 {
		c.cuts.Add(1)
	}
}

var errEnough = errors.New("enough")

// TestStreamsOverCuts has a client follow while its connection is cut a hundred times and the
// server restarts twice on the same file. It must see every record once and in order.
func TestStreamsOverCuts(t *testing.T) {
	tests := []struct {
		name   string
		follow func(ctx context.Context, c *api.Client, after string, each func(api.Event) error) error
		after  string
		all    bool
	}{
		{"one conversation", func(ctx context.Context, c *api.Client, after string, each func(api.Event) error) error {
			return c.FollowConversation(ctx, "c0", api.ConversationEvents{After: after}, each)
		}, "", false},
		{"the whole server", func(ctx context.Context, c *api.Client, after string, each func(api.Event) error) error {
			return c.FollowEvents(ctx, api.EventFilter{After: after, Deltas: true}, each)
		}, "0.0", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			path := filepath.Join(t.TempDir(), "caxton.db")
			cfg := httpd.Config{StreamRetry: time.Millisecond, DrainTimeout: time.Second}
			sh := openShop(t, path, cfg)
			cut := newCutter(t, 100)
			cut.backend.Store(sh.http.Addr().String())
			if err := sh.turn(ctx, "c0", "first", 0); err != nil {
				t.Fatal(err)
			}
			var seen atomic.Int64
			var got []api.EventRecord
			deltas := 0
			client := api.New(api.Config{BaseURL: "http://" + cut.l.Addr().String()})
			defer client.Close()
			result := make(chan error, 1)
			go func() {
				result <- tt.follow(ctx, client, tt.after, func(e api.Event) error {
					if e.Name == api.EventDelta {
						deltas++
						return nil
					}
					r, err := e.Record()
					if err != nil {
						return err
					}
					got = append(got, r)
					seen.Add(1)
					if r.Kind == "settled" && r.MessageID == "last" {
						return errEnough
					}
					return nil
				})
			}()
			written, restarts := int64(4), 0
			for i := 0; cut.cuts.Load() < 100 && ctx.Err() == nil; i++ {
				conv := "c0"
				if i%4 == 3 {
					conv = fmt.Sprintf("c%d", i%5)
				}
				if err := sh.turn(ctx, conv, fmt.Sprintf("m%d", i), i%3); err != nil {
					t.Fatal(err)
				}
				if conv == "c0" || tt.all {
					written += 4
				}
				if int(cut.cuts.Load())/33 > restarts {
					restarts++
					sh.stop()
					sh = openShop(t, path, cfg)
					cut.backend.Store(sh.http.Addr().String())
				}
				for seen.Load() < written-int64(i%3)*10 && ctx.Err() == nil { // most of it is to come live
					<-time.After(100 * time.Microsecond)
				}
			}
			if err := sh.turn(ctx, "c0", "last", 0); err != nil {
				t.Fatal(err)
			}
			if err := <-result; !errors.Is(err, errEnough) {
				t.Fatalf("follow: %v after %d records", err, seen.Load())
			}
			if cut.cuts.Load() < 100 || restarts < 2 || deltas == 0 {
				t.Errorf("%d cuts, %d restarts, %d deltas: not what was meant", cut.cuts.Load(), restarts, deltas)
			}
			if int64(len(got)) != written+4 {
				t.Errorf("%d records, want %d", len(got), written+4)
			}
			next, n := map[string]int64{}, int64(0)
			for _, r := range got {
				if next[r.ConversationID]++; r.Seq != next[r.ConversationID] || r.N <= n {
					t.Fatalf("record %s/%d at %d, want seq %d, after %d", r.ConversationID, r.Seq, r.N, next[r.ConversationID], n)
				}
				n = r.N
			}
			t.Logf("%d records, %d deltas, %d cuts, %d restarts", len(got), deltas, cut.cuts.Load(), restarts)
		})
	}
}

// A wire is an open stream, read event by event.
type wire struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Reader
	id    string
}

// openWire makes a request for a stream over a connection of its own.
func openWire(t *testing.T, s *httpd.Server, path string, headers ...string) *wire {
	t.Helper()
	text := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	conn := dial(t, s, text+"\r\n")
	lines := bufio.NewReader(conn)
	res, err := http.ReadResponse(lines, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("%s: %d %s", path, res.StatusCode, ct)
	}
	return &wire{t: t, conn: conn, lines: bufio.NewReader(res.Body)}
}

// next returns the name and the data of the next event; of a sign of life the name "".
func (w *wire) next() (name, data string) {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		line, err := w.lines.ReadString('\n')
		if err != nil {
			return "closed", err.Error()
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			w.id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if value == "" && line == "\n" {
				return name, data
			}
		}
	}
}

func running(t *testing.T, s *httpd.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := serve(ctx, t, s)
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func send(t *testing.T, s *httpd.Server, conv, id string) {
	t.Helper()
	if w := call(s, "POST", "/api/v1/messages", fmt.Sprintf(`{"receiver":"greeter","message":"hi","conversation_id":%q,"message_id":%q}`, conv, id)); w.Code != 202 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

func TestStreamRefusals(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	send(t, s, "c1", "m1")
	for _, tt := range []struct {
		name, path, id string
		want           int
		code           string
	}{
		{"unknown conversation", "/api/v1/conversations/none/events", "", 404, "conversation_not_found"},
		{"no event ID", "/api/v1/conversations/c1/events", "x", 422, "event_id_invalid"},
		{"ID below zero", "/api/v1/conversations/c1/events", "-1", 422, "event_id_invalid"},
		{"place that is not there", "/api/v1/conversations/c1/events", "7", 409, "event_id_unknown"},
		{"place by the query", "/api/v1/conversations/c1/events?last_event_id=7.2", "", 409, "event_id_unknown"},
		{"ID of a conversation for the server", "/api/v1/events", "1", 422, "event_id_invalid"},
		{"position that is not there", "/api/v1/events", "99.0", 409, "event_id_unknown"},
		{"unknown agent", "/api/v1/events?agent=none", "", 404, "agent_not_found"},
		{"unknown kind", "/api/v1/events?kind=message,masage", "", 422, "record_kind_unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := call(s, "GET", tt.path, "", "Last-Event-ID", tt.id)
			var b api.ErrorBody
			if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != tt.want || b.Error.Code != tt.code {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, tt.want, tt.code)
			}
		})
	}
}

// openStreams returns the gauge of open streams, all kinds together.
func openStreams(t *testing.T, reg *prometheus.Registry) (sum float64) {
	t.Helper()
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		if f.GetName() == "caxton_streams_open" {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestServerStream(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, h, _ := newServer(t, httpd.Config{Addr: "127.0.0.1:0", DrainTimeout: time.Second, Heartbeat: 20 * time.Millisecond, Registerer: reg})
	stop := running(t, s)
	send(t, s, "before", "m0")
	all := openWire(t, s, "/api/v1/events")
	some := openWire(t, s, "/api/v1/events?kind=settled&agent=greeter&conversation=c1")
	for _, w := range []*wire{all, some} {
		if name, _ := w.next(); name != "" || w.id == "" {
			t.Errorf("first %q, ID %q, want a sign of life with the place", name, w.id)
		}
	}
	if n := openStreams(t, reg); n != 2 {
		t.Errorf("%v streams are open, want 2", n)
	}
	event := func(w *wire) (api.EventRecord, string) {
		for {
			name, data := w.next()
			if name == "" {
				continue
			}
			var r api.EventRecord
			if err := json.Unmarshal([]byte(data), &r); err != nil && name != "end" {
				t.Fatalf("%s: %s", name, data)
			}
			return r, name
		}
	}
	send(t, s, "c2", "m1")
	send(t, s, "c1", "m2")
	for range 3 {
		l, ok := h.Next(t.Context(), "a1")
		if !ok {
			t.Fatal("no message waits")
		}
		if err := h.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone}); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for range 3 {
		r, name := event(all)
		if name != r.Kind {
			t.Errorf("event %q has a record %q", name, r.Kind)
		}
		seen = append(seen, r.Kind)
	}
	if !slices.Contains(seen, "message") {
		t.Errorf("seen %v, want messages", seen)
	}
	if r, name := event(some); name != "settled" || r.ConversationID != "c1" || r.MessageID != "m2" || r.AgentID != "a1" {
		t.Errorf("first of what is wanted: %s %+v", name, r)
	}
	place := some.id
	for some.id == place { // a sign of life moves the place although nothing wanted comes
		send(t, s, "c3", "")
		if name, _ := some.next(); name != "" {
			t.Errorf("event %q, want a sign of life", name)
		}
	}
	go stop()
	for {
		_, name := event(all)
		if name == "closed" {
			t.Fatal("closed without a last event")
		}
		if name == "end" {
			break
		}
	}
	if name, _ := all.next(); name != "closed" {
		t.Errorf("after the end: %q", name)
	}
}

func TestStreamLimit(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{Addr: "127.0.0.1:0", MaxStreams: 1, DrainTimeout: time.Second})
	running(t, s)
	w := openWire(t, s, "/api/v1/events")
	w.next()
	if r := call(s, "GET", "/api/v1/events", ""); r.Code != 429 || !strings.Contains(r.Body.String(), "too_many_streams") {
		t.Errorf("second stream: %d %s, want 429", r.Code, r.Body)
	}
	if r := call(s, "POST", "/api/v1/messages", `{"receiver":"greeter","message":"hi"}`, "Accept", "text/event-stream"); r.Code != 429 {
		t.Errorf("message with a stream: %d %s, want 429", r.Code, r.Body)
	}
	_ = w.conn.Close()
	for range 1000 { // the server notices soon
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr().String()+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		tr := &http.Transport{DisableKeepAlives: true}
		res, err := tr.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		cancel()
		if err == nil && res.StatusCode == 200 {
			return
		}
	}
	t.Error("the place of a reader who left stays taken")
}

// TestSlowReader has a reader take nothing until the server's patience is half over: it is
// sent away with a last event, and what it missed is there when it comes back.
func TestSlowReader(t *testing.T) {
	sh := openShop(t, filepath.Join(t.TempDir(), "caxton.db"), httpd.Config{StreamTimeout: 4 * time.Second, DrainTimeout: time.Second})
	big, err := json.Marshal(strings.Repeat("x", 256<<10))
	if err != nil {
		t.Fatal(err)
	}
	write := func(id string) {
		d := journaltest.Delivery("c1", id, 0)
		d.Message.CreatedAt, d.Message.Content = time.Now(), big
		if _, _, err := sh.db.Accept(t.Context(), d, true); err != nil {
			t.Fatal(err)
		}
	}
	write("m0")
	const more = 100
	for i := range more { // more than the buffers of two sockets hold
		write(fmt.Sprintf("n%d", i))
	}
	w := openWire(t, sh.http, "/api/v1/conversations/c1/events")
	<-time.After(2500 * time.Millisecond) // between half the time and all of it
	events, last := 0, ""
	for last != "end" && last != "closed" {
		if last, _ = w.next(); last == "message" {
			events++
		}
	}
	if last != "end" || events > more {
		t.Fatalf("%d events and then %q, want an end before all", events, last)
	}
	t.Logf("sent away after %d events", events)
	for at := w.id; events <= more; at = w.id {
		w = openWire(t, sh.http, "/api/v1/conversations/c1/events", "Last-Event-ID: "+at)
		for name := ""; events <= more && name != "end"; {
			if name, _ = w.next(); name == "message" {
				events++
			}
		}
	}
	if w.id != fmt.Sprint(more+1) {
		t.Errorf("the last event has ID %s, want %d", w.id, more+1)
	}
}

// TestDeadReader has a reader never take anything: its stream ends without him.
func TestDeadReader(t *testing.T) {
	reg := prometheus.NewRegistry()
	sh := openShop(t, filepath.Join(t.TempDir(), "caxton.db"), httpd.Config{StreamTimeout: 50 * time.Millisecond, DrainTimeout: time.Second, Registerer: reg})
	big, err := json.Marshal(strings.Repeat("x", 512<<10))
	if err != nil {
		t.Fatal(err)
	}
	openWire(t, sh.http, "/api/v1/events")
	for i := range 40 {
		d := journaltest.Delivery("c1", fmt.Sprint("m", i), 0)
		d.Message.CreatedAt, d.Message.Content = time.Now(), big
		if _, _, err := sh.db.Accept(t.Context(), d, true); err != nil {
			t.Fatal(err)
		}
	}
	for start := time.Now(); sh.feed.Listeners() > 0; {
		if time.Since(start) > 10*time.Second {
			t.Fatal("the stream of a reader who takes nothing stays open")
		}
		<-time.After(5 * time.Millisecond)
	}
}

// TestDeadExport has somebody ask for an export and never take it: that ends without him too.
func TestDeadExport(t *testing.T) {
	reg := prometheus.NewRegistry()
	sh := openShop(t, filepath.Join(t.TempDir(), "caxton.db"), httpd.Config{StreamTimeout: 50 * time.Millisecond, DrainTimeout: time.Second, Registerer: reg})
	big, err := json.Marshal(strings.Repeat("x", 512<<10))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		d := journaltest.Delivery("c1", fmt.Sprint("m", i), 0)
		d.Message.CreatedAt, d.Message.Content = time.Now(), big
		if _, _, err := sh.db.Accept(t.Context(), d, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/api/v1/conversations/export", "/api/v1/conversations/c1/export"} {
		conn := dial(t, sh.http, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); err != nil { // it has begun
			t.Fatal(err)
		}
		for start := time.Now(); requestsAtWork(t, reg) > 0; {
			if time.Since(start) > 10*time.Second {
				t.Fatalf("%s: the export nobody takes goes on", path)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}

func requestsAtWork(t *testing.T, reg *prometheus.Registry) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "caxton_http_active_requests" {
			sum = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return sum
}

func TestConversationDeltas(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{Addr: "127.0.0.1:0", DrainTimeout: time.Second})
	running(t, s)
	send(t, s, "c1", "m1")
	with, without := openWire(t, s, "/api/v1/conversations/c1/events"), openWire(t, s, "/api/v1/conversations/c1/events?deltas=false")
	for _, w := range []*wire{with, without} {
		w.next()
		if name, _ := w.next(); name != "message" || w.id != "1" {
			t.Fatalf("first event %s %s, want message 1", name, w.id)
		}
	}
	for h.feed.Listeners() < 2 {
		<-time.After(time.Millisecond)
	}
	for i := range 2 {
		h.feed.Publish("c1", event.Event{Delta: &event.Delta{ConversationID: "c1", MessageID: "m1", AgentID: "a1", Index: i, Text: "a\nb"}})
	}
	for i := range 2 {
		name, data := with.next()
		var d api.Delta
		if err := json.Unmarshal([]byte(data), &d); err != nil || name != "delta" || d.Text != "a\nb" || d.Index != i || with.id != fmt.Sprint("1.", i+1) {
			t.Errorf("delta %d: %s %s %s", i, name, with.id, data)
		}
	}
	answers(t, h)
	for _, w := range []*wire{with, without} {
		if name, _ := w.next(); name != "message" || w.id != "2" {
			t.Errorf("after the deltas: %s %s, want message 2", name, w.id)
		}
	}
	again := openWire(t, s, "/api/v1/conversations/c1/events", "Last-Event-ID: 1.1")
	again.next()
	if name, _ := again.next(); name != "message" || again.id != "2" {
		t.Errorf("resumed after a delta: %s %s, want message 2", name, again.id)
	}
}

func TestMessageStream(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{Addr: "127.0.0.1:0", DrainTimeout: time.Second, StreamRetry: time.Millisecond})
	running(t, s)
	client := api.New(api.Config{BaseURL: "http://" + s.Addr().String()})
	defer client.Close()
	go func() {
		<-h.Signal("a1")
		l, ok := h.Next(context.Background(), "a1")
		if !ok {
			return
		}
		m := &l.Message
		for i, id := range []caxton.MessageID{m.ID, "another", m.ID} {
			h.feed.Publish(m.ConversationID, event.Event{Delta: &event.Delta{ConversationID: m.ConversationID, MessageID: id, Index: i, Text: "x"}})
		}
		_ = h.Settle(context.Background(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone, Outputs: []caxton.Delivery{
			{Message: m.Reply(caxton.Inform, caxton.TextContent("xx"))},
		}})
	}()
	var names []string
	each := func(e api.Event) error {
		names = append(names, e.Name)
		return nil
	}
	m := api.Message{Receiver: "greeter", Text: "hi", MessageID: "m1"}
	rc, err := client.SendStream(t.Context(), m, each)
	if err != nil || rc.Status != "answered" || rc.Reply == nil || rc.Reply.Text != "xx" {
		t.Fatalf("SendStream = %+v, %v", rc, err)
	}
	if want := []string{"accepted", "delta", "delta"}; !slices.Equal(names, want) {
		t.Errorf("events %v, want %v", names, want)
	}
	again, err := client.SendStream(t.Context(), m, each)
	if err != nil || !again.Duplicate || again.Reply == nil || again.Reply.Text != "xx" || again.ConversationID != rc.ConversationID {
		t.Errorf("the same again = %+v, %v", again, err)
	}
	if _, err := client.SendStream(t.Context(), api.Message{Receiver: "nobody", Text: "hi"}, each); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("to nobody: %v, want NotFound", err)
	}
	if n := h.feed.Listeners(); n != 0 {
		t.Errorf("%d listeners are left", n)
	}
}
