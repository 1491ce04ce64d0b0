package prompt

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

// Versions knows the agents and what was deployed of them. *registry.Registry provides it.
type Versions interface {
	Agent(id caxton.AgentID) (caxton.Agent, error)
	Version(ctx context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error)
}

// ReplayConversation replays every turn of a conversation that an agent of versions took;
// records is its log from the first record on.
func (h *Handlers) ReplayConversation(ctx context.Context, versions Versions, records []caxton.Record) (caxton.Replay, error) {
	out := caxton.Replay{Records: len(records), Turns: []caxton.Verification{}}
	if len(records) == 0 {
		return out, nil
	}
	out.ConversationID = records[0].ConversationID
	made := map[int64][]byte{}
	for i, r := range records {
		if r.Seq != int64(i)+1 && out.Difference == nil {
			out.Difference = &caxton.Difference{Seq: int64(i) + 1, Message: fmt.Sprintf("record %d is missing: record %d comes in its place", i+1, r.Seq)}
		}
		if r.Kind != caxton.RecordMessage || r.AgentID == "" {
			continue
		}
		v, err := h.replayMessage(ctx, versions, r, records, made)
		if err != nil {
			return out, err
		}
		if out.Difference == nil {
			out.Difference = v.Difference
		}
		out.Turns = append(out.Turns, v)
	}
	logged, replayed := sha256.New(), sha256.New()
	for _, r := range records {
		c, err := canonOf(r.Kind, r.Body)
		if err != nil {
			return out, unreadable(r, err)
		}
		b := c.bytes()
		logged.Write(b)
		if m, ok := made[r.Seq]; ok {
			b = m
		}
		replayed.Write(b)
	}
	out.Hash, out.ReplayHash = hex.EncodeToString(logged.Sum(nil)), hex.EncodeToString(replayed.Sum(nil))
	return out, nil
}

func unreadable(r caxton.Record, err error) error {
	return caxton.Errorf(caxton.Internal, "journal_unreadable", "record %d of conversation %s cannot be read", r.Seq, r.ConversationID).WithCause(err)
}

// replayMessage replays the turn of the message that r accepts.
func (h *Handlers) replayMessage(ctx context.Context, versions Versions, r caxton.Record, records []caxton.Record, made map[int64][]byte) (caxton.Verification, error) {
	v := caxton.Verification{MessageID: r.MessageID, AgentID: r.AgentID}
	var b caxton.MessageBody
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return v, unreadable(r, err)
	}
	v.Version = b.Version
	handled := 0
	for _, o := range records { // the version that did handle it
		if o.MessageID != r.MessageID || o.Kind != caxton.RecordLeased && o.Kind != caxton.RecordSettled {
			continue
		}
		var l caxton.LeasedBody // of a settled record it has the same fields
		if err := json.Unmarshal(o.Body, &l); err != nil {
			return v, unreadable(o, err)
		}
		if l.Version != 0 && handled != 0 && l.Version != handled {
			v.Skipped = fmt.Sprintf("version %d began it, and version %d went on", handled, l.Version)
		}
		handled = cmp.Or(l.Version, handled)
		v.Version = cmp.Or(l.Version, v.Version)
	}
	if v.Skipped != "" { // the one was withdrawn: neither would have done all of it
		return v, nil
	}
	agent, err := versions.Agent(r.AgentID)
	if err != nil {
		v.Skipped = "the agent is not deployed any more"
		return v, nil //nolint:nilerr // it is told
	}
	v.Agent = agent.Slug
	version, err := versions.Version(ctx, r.AgentID, v.Version)
	if caxton.KindOf(err) == caxton.NotFound {
		v.Skipped = fmt.Sprintf("version %d of the agent is not kept any more", v.Version)
		return v, nil
	}
	if err != nil {
		return v, err
	}
	if version.Definition.IsModule() {
		if v.Skipped = h.unreplayable(&version); v.Skipped != "" {
			return v, nil
		}
	}
	return h.replay(ctx, version, caxton.Turn{Message: caxton.Message(b.Message), Agent: agent, Version: version}, records, made)
}

// Replay runs a turn again as the log of its conversation tells it, from the first record
// on: the model answers what it answered, tools return what they returned and do not run,
// people decide what they decided. The records that come of it are compared with those of
// the log. No model and no network is used, and nothing is written.
//
// The server's settings and tools are those of today: when they have changed so that a
// request to the model is another one, that is a difference.
func (h *Handlers) Replay(ctx context.Context, version caxton.AgentVersion, turn caxton.Turn, records []caxton.Record) (caxton.Verification, error) {
	return h.replay(ctx, version, turn, records, map[int64][]byte{})
}

func (h *Handlers) replay(ctx context.Context, version caxton.AgentVersion, turn caxton.Turn, records []caxton.Record, made map[int64][]byte) (caxton.Verification, error) {
	ctx = telemetry.Untold(ctx) // no model is asked and no tool runs
	v := caxton.Verification{MessageID: turn.Message.ID, AgentID: turn.Message.ReceiverID, Agent: turn.Agent.Slug, Version: version.Number}
	r, err := h.newReplayer(version, turn, records)
	if err != nil {
		return v, err
	}
	if why := r.unhandled(); why != "" {
		v.Skipped = why
		v.Hash, v.ReplayHash = r.hashes()
		return v, nil
	}
	if version.Definition.IsModule() {
		if r.module, err = h.cfg.Module(ctx, version); err != nil {
			v.Skipped = "its module cannot be run: " + caxton.Reason(err, "the server's log may say why")
			v.Hash, v.ReplayHash = r.hashes()
			return v, nil
		}
		defer r.closeModule(ctx)
	}
	for start, attempt := 0, 1; start < len(r.turn) && r.diff == nil && r.unlike == ""; {
		start, attempt = r.attempt(ctx, start, attempt)
		v.Attempts++
	}
	if r.unlike != "" {
		r.forget()
		v.Skipped, v.Attempts = r.unlike, 0
		v.Hash, v.ReplayHash = r.hashes()
		return v, nil
	}
	v.Difference = r.diff
	for i := range r.turn {
		e := &r.turn[i]
		if e.made != nil {
			v.Records++
		}
		if e.made != nil || e.missing {
			made[e.rec.Seq] = e.made
		}
	}
	v.Hash, v.ReplayHash = r.hashes()
	return v, nil
}

// A replayer replays one turn.
type replayer struct {
	h       *Handlers
	version caxton.AgentVersion
	message caxton.Turn
	records []caxton.Record // of the conversation
	kin     kinship
	turn    []logged // records of the turn, in order
	diff    *caxton.Difference

	module ModuleReplayer // of a version that is one
	unlike string         // why the module's turn cannot be compared, or ""
}

// A logged record is one of the turn, and what the replay made in its place.
type logged struct {
	rec     caxton.Record
	canon   canon
	made    []byte // nil until the replay makes it
	missing bool   // the replay did not make it, though it should
	late    bool   // a fork brought it along
}

// given reports whether the record is not the handler's work: people, the router and the
// journal wrote it.
func (l *logged) given() bool {
	if l.late {
		return true
	}
	switch l.canon.kind {
	case caxton.RecordModelCalled, caxton.RecordToolIntended, caxton.RecordToolReturned, caxton.RecordApprovalAsked, caxton.RecordBudgetReserved,
		caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
		return false
	case caxton.RecordBudgetSettled:
		return l.canon.body["lost"] == true && l.made == nil // the journal books what a settled message still holds
	case caxton.RecordDecided:
		d, _ := l.canon.body["decision"].(map[string]any)
		return d["by"] != "clock"
	case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordSettled, caxton.RecordCancelAsked, caxton.RecordParked,
		caxton.RecordReopened, caxton.RecordForked, caxton.RecordArchived:
	}
	return true
}

func (h *Handlers) newReplayer(version caxton.AgentVersion, turn caxton.Turn, records []caxton.Record) (*replayer, error) {
	r := &replayer{h: h, version: version, message: turn, records: records}
	var err error
	if r.kin, err = kinshipOf(records); err != nil {
		return nil, caxton.Errorf(caxton.Internal, "journal_unreadable", "the beginning of the fork cannot be read").WithCause(err)
	}
	for _, rec := range records {
		if rec.MessageID != turn.Message.ID || rec.Kind == caxton.RecordMessage {
			continue
		}
		c, err := canonOf(rec.Kind, rec.Body)
		if err != nil {
			return nil, unreadable(rec, err)
		}
		r.turn = append(r.turn, logged{rec: rec, canon: c, late: r.kin.late(rec.Seq)})
	}
	return r, nil
}

// unhandled returns why the handler never saw the message, or "".
func (r *replayer) unhandled() string {
	if len(r.turn) == 0 {
		return "it was not handled yet"
	}
	for i := range r.turn {
		if !r.turn[i].given() || r.turn[i].canon.kind == caxton.RecordLeased || r.turn[i].canon.kind == caxton.RecordReleased || r.turn[i].canon.kind == caxton.RecordParked {
			return ""
		}
		var b caxton.SettledBody
		if r.turn[i].canon.kind == caxton.RecordSettled && json.Unmarshal(r.turn[i].rec.Body, &b) == nil && b.Attempt > 0 {
			return ""
		}
	}
	return "it was settled without being handled"
}

// hashes returns the hash of the turn as it is logged, and as the replay made it.
func (r *replayer) hashes() (log, replay string) {
	a, b := sha256.New(), sha256.New()
	for i := range r.turn {
		e := &r.turn[i]
		own := e.canon.bytes()
		a.Write(own)
		switch {
		case e.made != nil:
			b.Write(e.made)
		case !e.missing:
			b.Write(own)
		}
	}
	return hex.EncodeToString(a.Sum(nil)), hex.EncodeToString(b.Sum(nil))
}

// attempt replays the attempt that begins at the record start and returns where the next
// one begins. A crash leaves no record of its own, and the note that a lease lasts can stand
// in the middle of an attempt or at the beginning of the next: both are tried.
func (r *replayer) attempt(ctx context.Context, start, number int) (next, nextNumber int) {
	ends := r.ends(start, number)
	var first *caxton.Difference
	for _, end := range ends {
		s := r.run(ctx, start, end, number)
		if s.diff == nil || len(ends) == 1 {
			r.keep(s)
			return end, s.following()
		}
		if first == nil {
			first = s.diff
		}
	}
	s := r.run(ctx, start, ends[0], number)
	s.diff = first
	r.keep(s)
	return ends[0], s.following()
}

func (r *replayer) keep(s *stretch) {
	for i := range s.expected {
		r.turn[s.start+i].made = s.expected[i].made
		r.turn[s.start+i].missing = s.expected[i].made == nil && !s.expected[i].given()
	}
	r.diff = cmp.Or(r.diff, s.diff)
	r.unlike = cmp.Or(r.unlike, s.unlike)
}

// ends returns where the attempt that begins at start may end, the likeliest first.
func (r *replayer) ends(start, number int) []int {
	var maybe []int
	work := false
	for i := start; i < len(r.turn); i++ {
		e := &r.turn[i]
		if i > start && r.forked(i) {
			return append([]int{i}, maybe...)
		}
		switch e.canon.kind {
		case caxton.RecordReleased, caxton.RecordParked, caxton.RecordSettled:
			return append([]int{i + 1}, maybe...)
		case caxton.RecordLeased:
			var b caxton.LeasedBody
			if json.Unmarshal(e.rec.Body, &b) == nil && b.Attempt > number && i > start && work {
				return append([]int{i}, maybe...)
			}
			if work {
				maybe = append(maybe, i)
			}
		case caxton.RecordMessage, caxton.RecordModelCalled, caxton.RecordToolIntended, caxton.RecordToolReturned, caxton.RecordCancelAsked, caxton.RecordReopened,
			caxton.RecordApprovalAsked, caxton.RecordDecided, caxton.RecordBudgetReserved, caxton.RecordBudgetSettled, caxton.RecordForked, caxton.RecordArchived, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
		}
		work = work || !e.given()
	}
	return append([]int{len(r.turn)}, maybe...)
}

// forked reports whether the copies of a fork end between a record of the turn and the one
// before it: what follows was done by the fork itself.
func (r *replayer) forked(i int) bool {
	for seq := r.turn[i-1].rec.Seq; seq < r.turn[i].rec.Seq; seq++ {
		if r.kin.ends(seq) {
			return true
		}
	}
	return false
}

// run replays the records of the turn from start to end as one attempt.
func (r *replayer) run(ctx context.Context, start, end, number int) *stretch {
	s := &stretch{r: r, start: start, expected: slices.Clone(r.turn[start:end])}
	s.read(number)
	first := 0
	for first < len(s.expected) && s.expected[first].given() {
		first++
	}
	past := make([]caxton.Record, 0, start+first)
	for i := range start + first {
		past = append(past, r.turn[i].rec)
	}
	turn := r.message
	turn.Attempt, turn.Past = s.number, past
	seq := r.turn[end-1].rec.Seq
	turn.Message.ID = r.kin.origin(turn.Message.ID, seq)
	turn.Message.ConversationID = r.kin.conversation(turn.Message.ConversationID, seq)
	ctx, s.cancel = context.WithCancel(ctx)
	defer s.cancel()
	var outputs []caxton.Message
	var err error
	if r.module != nil {
		outputs, err = s.module(ctx, turn)
	} else {
		outputs, err = s.prompt(ctx, turn)
	}
	s.finish(&turn.Message, outputs, err)
	s.judge()
	return s
}

// handle calls the handler and turns a panic into an error: it is one of the things that
// the log may tell of.
func handle(ctx context.Context, a *Agent, turn caxton.Turn) (outputs []caxton.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = caxton.Errorf(caxton.Internal, "agent_panicked", "the agent broke down on this message").WithCause(fmt.Errorf("%v", p))
		}
	}()
	return a.Handle(ctx, turn)
}

// handlers returns handlers over the stretch: their model, tools, log and clock are what is
// recorded.
func (s *stretch) handlers() *Handlers {
	cfg := s.r.h.cfg
	cfg.Feed, cfg.Logger, cfg.Now, cfg.Memory = nil, slog.New(slog.DiscardHandler), s.now, recordedMemory{s}
	return &Handlers{models: recordedModels{s}, tools: s.r.h.tools, log: s, cfg: cfg, metrics: newMetrics(prometheus.NewRegistry())}
}

// prompt runs the turn of a config agent.
func (s *stretch) prompt(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
	a, err := s.handlers().Handler(s.r.version)
	if err != nil {
		return nil, err
	}
	a.tools = recordedTools{a.tools, s}
	return handle(ctx, a, turn)
}
