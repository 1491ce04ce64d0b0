package httpd

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/event"
	"github.com/danielgtaylor/huma/v2"
)

// A Log is the log of all conversations. *sqlite.DB and *memjournal.Journal provide it.
type Log interface {
	Records(ctx context.Context, conv caxton.ConversationID, after int64, limit int) ([]caxton.Record, error)
	// RecordsSince returns records after a position, in order.
	RecordsSince(ctx context.Context, n int64, limit int) ([]caxton.Record, error)
	// Position returns a position that all later records are above.
	Position(ctx context.Context) (int64, error)
}

// eventPage is how many records a stream reads at once.
const eventPage = 100

func (s *Server) eventRoutes(a huma.API) {
	const how = "Server-sent events. Names of events are kinds of records, the data is the record with its conversation. A heartbeat " +
		"comment comes every 15 seconds. To go on after a break, give the last ID in the header Last-Event-ID or as last_event_id: " +
		"every record comes once, in order, over breaks and restarts of the server. An event end tells why the server ends a stream."
	conv := operation(http.MethodGet, "/conversations/{conversation}/events", "follow-conversation", "events", "Follow a conversation")
	conv.Description = how + " Without an ID the stream begins with the first record. Events named delta bring the text of models as it is " +
		"written; they are in no log: after a break the missing ones do not come again, the record model_called has the whole text. " +
		"Its text replaces all deltas of the same message and step."
	events := operation(http.MethodGet, "/events", "follow-events", "events", "Follow the whole server")
	events.Description = how + " Without an ID the stream begins now. Events named rollout tell that a new version of an agent began to take over, " +
		"came to a stage, or that it ended; they are in no log: after a break the missing ones do not come again, GET /rollouts tells how all stand."
	for _, op := range []*huma.Operation{&conv, &events} {
		stream200(a, op)
		s.streams[op.Method+" "+op.Path] = func(*http.Request) bool { return true }
	}
	route(s, a, conv, s.followConversation)
	route(s, a, events, s.followEvents)
}

// stream200 documents that an operation answers with events.
func stream200(_ huma.API, op *huma.Operation) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	r := op.Responses["200"]
	if r == nil {
		r = &huma.Response{Description: "the events", Content: map[string]*huma.MediaType{}}
		op.Responses["200"] = r
	}
	r.Content[eventStream] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
}

// Resuming says where a stream goes on.
type Resuming struct {
	LastEventID string `header:"Last-Event-ID" maxLength:"100" doc:"of the last event that was received: the stream goes on after it"`
	After       string `query:"last_event_id" maxLength:"100" doc:"the same, for those who cannot set headers; the header goes first"`
}

// id returns the ID to go on after, or "".
func (r *Resuming) id() string { return cmp.Or(strings.TrimSpace(r.LastEventID), r.After) }

// numbers returns the numbers of an event ID; the last may be absent.
func numbers(id string, least, most int) ([]int64, error) {
	parts := strings.Split(id, ".")
	ok := len(parts) >= least && len(parts) <= most
	ns := make([]int64, most)
	for i, p := range parts {
		if !ok {
			break
		}
		n, err := strconv.ParseUint(p, 10, 63)
		ok = err == nil
		ns[i] = int64(n)
	}
	if !ok {
		return nil, caxton.Errorf(caxton.Invalid, "event_id_invalid", "%.100q is not an event ID", id).WithHint("give the ID of an event of this stream, or none")
	}
	return ns, nil
}

func errEventUnknown(id string) error {
	return caxton.Errorf(caxton.Conflict, "event_id_unknown", "the log has nothing at %q: it is that of another stream, or of another server", id).
		WithHint("begin again without an event ID")
}

type conversationEventsInput struct {
	ConversationPath
	Resuming
	Deltas bool `query:"deltas" default:"true" doc:"also the text of models as it is written"`
}

func (s *Server) followConversation(ctx context.Context, in *conversationEventsInput) (*huma.StreamResponse, error) {
	t := &conversationTail{log: s.deps.Log, conv: caxton.ConversationID(in.Conversation)}
	if id := in.id(); id != "" {
		ns, err := numbers(id, 1, 2) // seq, and the number of deltas since
		if err != nil {
			return nil, err
		}
		t.seq = ns[0]
	}
	if _, err := t.read(ctx, 1); err != nil { // tells whether the place is there
		return nil, err
	}
	return s.tail(conversationStream, t.conv, t, in.Deltas) //nolint:contextcheck // huma hands the request's context over
}

type eventsInput struct {
	Resuming
	Agent        string   `query:"agent" maxLength:"200" doc:"only what this agent does, or is sent"`
	Kind         []string `query:"kind" maxItems:"50" doc:"only these kinds of records, or rollout, separated by commas" example:"message,settled"`
	Conversation string   `query:"conversation" maxLength:"128" doc:"only this conversation"`
	Deltas       bool     `query:"deltas" doc:"also the text of models as it is written"`
}

func (s *Server) followEvents(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	t := &serverTail{log: s.deps.Log, conv: caxton.ConversationID(in.Conversation)}
	if in.Agent != "" {
		a, err := s.deps.Registry.Resolve(in.Agent)
		if err != nil {
			return nil, err
		}
		t.agent = a.ID
	}
	for _, k := range in.Kind {
		kind, err := caxton.ParseEventKind(strings.TrimSpace(k))
		if err != nil {
			return nil, err
		}
		if t.kinds == nil {
			t.kinds = map[caxton.RecordKind]bool{}
		}
		t.kinds[kind] = true
	}
	end, err := s.deps.Log.Position(ctx)
	if err != nil {
		return nil, err
	}
	t.n, t.at = end, s.cfg.Now()
	if id := in.id(); id != "" {
		ns, err := numbers(id, 2, 3) // position, its time, and the number of deltas since
		if err != nil {
			return nil, err
		}
		if ns[0] > end {
			return nil, errEventUnknown(id)
		}
		t.n, t.at = ns[0], time.UnixMilli(ns[1])
	}
	// It hears of all conversations, whatever it wants: its place moves with them.
	return s.tail(serverStream, "", t, in.Deltas) //nolint:contextcheck // huma hands the request's context over
}

// A tail is a place in a log that a stream follows. One goroutine uses it.
type tail interface {
	id() string
	read(ctx context.Context, limit int) ([]caxton.Record, error) // what comes after the place
	next(r *caxton.Record) order                                  // how a record that was heard of lies to the place
	pass(r *caxton.Record)                                        // moves the place behind r
	wants(r *caxton.Record) bool
	wantsDelta(d *event.Delta) bool
	wantsRollout(e *caxton.RolloutEvent) bool
}

// An order is how a record lies to a place in the log.
type order int

const (
	behind order = iota // it was passed already
	following
	beyond // there are others between
)

// A conversationTail is a place in the log of one conversation.
type conversationTail struct {
	log  Log
	conv caxton.ConversationID
	seq  int64 // of the last record passed
}

func (t *conversationTail) id() string { return strconv.FormatInt(t.seq, 10) }

// read reads the record at the place too: when that is not there, the log is another one.
func (t *conversationTail) read(ctx context.Context, limit int) ([]caxton.Record, error) {
	if t.seq == 0 {
		return t.log.Records(ctx, t.conv, 0, limit)
	}
	rs, err := t.log.Records(ctx, t.conv, t.seq-1, limit+1)
	if err != nil {
		return nil, err
	}
	if len(rs) == 0 || rs[0].Seq != t.seq {
		return nil, errEventUnknown(t.id())
	}
	return rs[1:], nil
}

func (t *conversationTail) next(r *caxton.Record) order {
	switch {
	case r.Seq <= t.seq:
		return behind
	case r.Seq == t.seq+1:
		return following
	}
	return beyond
}

func (t *conversationTail) pass(r *caxton.Record)                  { t.seq = r.Seq }
func (t *conversationTail) wants(*caxton.Record) bool              { return true }
func (t *conversationTail) wantsDelta(*event.Delta) bool           { return true }
func (t *conversationTail) wantsRollout(*caxton.RolloutEvent) bool { return false }

// A serverTail is a place in the log of the server, and what of it is wanted.
type serverTail struct {
	log   Log
	n     int64     // position of the last record passed
	at    time.Time // its time, which IDs carry since it was needed to find the place
	agent caxton.AgentID
	conv  caxton.ConversationID
	kinds map[caxton.RecordKind]bool // nil for all
}

func (t *serverTail) id() string { return fmt.Sprintf("%d.%d", t.n, t.at.UnixMilli()) }

func (t *serverTail) read(ctx context.Context, limit int) ([]caxton.Record, error) {
	return t.log.RecordsSince(ctx, t.n, limit)
}

func (t *serverTail) next(r *caxton.Record) order {
	if r.N <= t.n {
		return behind
	}
	return following // positions have gaps: the feed tells when something is missing
}

func (t *serverTail) pass(r *caxton.Record) { t.n, t.at = r.N, r.At }

func (t *serverTail) wants(r *caxton.Record) bool {
	return (t.agent == "" || r.AgentID == t.agent) && (t.conv == "" || r.ConversationID == t.conv) && (t.kinds == nil || t.kinds[r.Kind])
}

func (t *serverTail) wantsDelta(d *event.Delta) bool {
	return (t.agent == "" || d.AgentID == t.agent) && (t.conv == "" || d.ConversationID == t.conv)
}

func (t *serverTail) wantsRollout(e *caxton.RolloutEvent) bool {
	return (t.agent == "" || e.AgentID == t.agent) && t.conv == "" && (t.kinds == nil || t.kinds[caxton.EventRollout])
}

// tail returns an answer that follows t: with what the feed tells of a conversation, or of
// all.
func (s *Server) tail(kind string, conv caxton.ConversationID, t tail, deltas bool) (*huma.StreamResponse, error) {
	release, err := s.openStream(kind)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer release()
		st := s.begin(hc, t.id())
		if hc.Method() == http.MethodHead {
			return
		}
		sub := s.deps.Feed.Subscribe(conv) // before the journal is read: nothing falls between
		defer sub.Close()
		f := follower{s: s, st: st, sub: sub, tail: t, deltas: deltas}
		f.run(hc.Context())
	}}, nil
}

// A follower moves a stream along a log: first what the journal has, then what the feed tells,
// and the journal again whenever the feed lost something.
type follower struct {
	s      *Server
	st     *stream
	sub    *event.Subscription
	tail   tail
	deltas bool

	since int                       // deltas since the last record
	stale map[caxton.MessageID]bool // what the journal told of while older deltas may still wait to be taken
}

// run follows until the reader leaves, the server stops, or something fails.
func (f *follower) run(ctx context.Context) {
	beat := time.NewTicker(f.s.cfg.Heartbeat)
	defer beat.Stop()
	for lost := true; ; {
		if lost {
			lost = false
			if !f.catchUp(ctx) {
				return
			}
		}
		if f.st.flush() != nil {
			return
		}
		if f.st.slow {
			f.st.endTooSlow()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-f.s.drained:
			f.st.endStopping()
			return
		case <-beat.C:
			f.st.beat(f.tail.id())
		case <-f.sub.Ready():
			var events []event.Event
			if events, lost = f.sub.Take(); !lost {
				lost = f.take(events)
			}
		}
	}
}

// take tells events of the feed; lost says that the journal has to be read.
func (f *follower) take(events []event.Event) (lost bool) {
	for _, e := range events {
		switch {
		case f.st.full() && f.st.flush() != nil:
			return false // the next flush fails too
		case e.Delta != nil:
			f.delta(e.Delta)
		case e.Rollout != nil:
			if f.tail.wantsRollout(e.Rollout) {
				f.st.event(api.EventRollout, f.tail.id(), api.RolloutEventFrom(e.Rollout))
			}
		case f.tail.next(e.Record) == following:
			f.record(e.Record)
		case f.tail.next(e.Record) == beyond:
			return true
		}
	}
	clear(f.stale)
	return false
}

func (f *follower) record(r *caxton.Record) {
	f.tail.pass(r)
	f.since = 0
	if f.tail.wants(r) {
		f.st.event(string(r.Kind), f.tail.id(), api.EventRecordFrom(r))
	}
}

func (f *follower) delta(d *event.Delta) {
	if !f.deltas || !f.tail.wantsDelta(d) || f.stale[d.MessageID] {
		return
	}
	f.since++
	f.st.event(api.EventDelta, f.tail.id()+"."+strconv.Itoa(f.since), deltaFrom(d))
}

func deltaFrom(d *event.Delta) api.Delta {
	return api.Delta{
		ConversationID: string(d.ConversationID), MessageID: string(d.MessageID), AgentID: string(d.AgentID),
		Step: d.Step, Index: d.Index, Text: d.Text, Restart: d.Restart,
	}
}

// catchUp tells what the journal has after the place; false ends the stream.
func (f *follower) catchUp(ctx context.Context) bool {
	for {
		rs, err := f.tail.read(ctx, eventPage)
		if err != nil {
			f.s.endFailed(ctx, f.st, err)
			return false
		}
		for i := range rs {
			f.record(&rs[i])
			if rs[i].Kind == caxton.RecordModelCalled || rs[i].Kind == caxton.RecordSettled {
				if f.stale == nil {
					f.stale = map[caxton.MessageID]bool{}
				}
				f.stale[rs[i].MessageID] = true
			}
			if f.st.full() && f.st.flush() != nil {
				return false
			}
		}
		switch {
		case len(rs) < eventPage:
			return true
		case f.st.slow || f.s.draining.Load() || ctx.Err() != nil:
			return true // run sees to it
		}
	}
}
