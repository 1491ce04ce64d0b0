package prompt

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/protocol"
	"github.com/caxton/caxton/internal/tool"
)

var (
	errDiverged = errors.New("the replay and the log differ")
	errCut      = errors.New("the log breaks off here")
	errLost     = errors.New("the call was lost")
	errNotRun   = errors.New("the call was not made")
)

// A stretch is one attempt at a turn as the log has it. It is the log, the model and the
// tools of the attempt's replay: they give what is recorded, and compare what they are given.
type stretch struct {
	r      *replayer
	start  int // position of its first record in the turn
	number int // of the attempt
	end    caxton.RecordKind
	last   caxton.SettledBody // when it ends with settled
	cancel context.CancelFunc
	state  string // a hash of what a module read of its state
	unlike string // why a difference of a module says nothing, or ""

	mu       sync.Mutex // guards all below
	expected []logged
	diff     *caxton.Difference
	cut      bool // the handler was stopped where the log breaks off
}

// read finds out which attempt it is and how it ended.
func (s *stretch) read(number int) {
	s.number = number
	for i := range s.expected {
		e := &s.expected[i]
		var b struct {
			Attempt int `json:"attempt"`
		}
		switch e.canon.kind {
		case caxton.RecordLeased:
		case caxton.RecordReleased, caxton.RecordParked, caxton.RecordSettled:
			s.end = e.canon.kind
		case caxton.RecordBudgetReserved: // its ID ends with the attempt
			id := e.canon.at("id")
			if n, err := strconv.Atoi(id[strings.LastIndexByte(id, '/')+1:]); err == nil && n > 0 {
				s.number = n
			}
			continue
		case caxton.RecordMessage, caxton.RecordModelCalled, caxton.RecordToolIntended, caxton.RecordToolReturned, caxton.RecordCancelAsked, caxton.RecordReopened,
			caxton.RecordApprovalAsked, caxton.RecordDecided, caxton.RecordBudgetSettled, caxton.RecordForked, caxton.RecordArchived, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
			continue
		}
		if json.Unmarshal(e.rec.Body, &b) == nil && b.Attempt > 0 {
			s.number = b.Attempt
		}
		if s.end == caxton.RecordSettled {
			_ = json.Unmarshal(e.rec.Body, &s.last) // it was read before
		}
	}
}

// following returns the number of the attempt after this one, as far as it is known.
func (s *stretch) following() int {
	if s.end == "" {
		return s.number // a crash: unless the next lease says otherwise
	}
	return s.number + 1
}

// strict reports whether the log tells the attempt to its end: nothing is missing in it.
func (s *stretch) strict() bool {
	if s.end == caxton.RecordSettled {
		return s.last.Outcome == caxton.OutcomeDone || s.last.Outcome == caxton.OutcomeUnknown
	}
	return s.end == caxton.RecordParked // else released for whatever reason, or broken off
}

// unclear reports whether the attempt ended with calls of unknown outcome.
func (s *stretch) unclear() bool {
	return s.end == caxton.RecordSettled && s.last.Outcome == caxton.OutcomeUnknown
}

// now is the clock: the time of the record that comes next.
func (s *stretch) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.expected {
		if e := &s.expected[i]; e.made == nil && !e.given() {
			return e.rec.At
		}
	}
	if m := s.last.Module; m != nil && !m.Clock.IsZero() {
		return m.Clock
	}
	if n := len(s.expected); n > 0 {
		return s.expected[n-1].rec.At
	}
	return s.r.message.Message.CreatedAt
}

// next returns the first record of a kind that the replay has not made yet.
func (s *stretch) next(kind caxton.RecordKind) *logged {
	for i := range s.expected {
		if e := &s.expected[i]; e.canon.kind == kind && e.made == nil && !e.given() {
			return e
		}
	}
	return nil
}

// find returns the record of a kind and slot that the replay has not made yet.
func (s *stretch) find(kind caxton.RecordKind, slot string) *logged {
	for i := range s.expected {
		if e := &s.expected[i]; e.canon.kind == kind && e.made == nil && !e.late && e.canon.slot() == slot {
			return e
		}
	}
	return nil
}

// stop stops the handler where the log breaks off; where it may not, that is a difference.
func (s *stretch) stop(what canon) error {
	if s.unclear() { // another call of the step was lost, so that the log was left behind
		return errCut
	}
	if s.strict() {
		return s.differ(caxton.Difference{
			Kind: what.kind, Replay: short(string(what.bytes())),
			Message: "the replay makes a record " + what.noun() + " that the log does not have",
		})
	}
	s.cut = true
	return errCut
}

func (s *stretch) differ(d caxton.Difference) error {
	if s.diff == nil {
		s.diff = &d
	}
	s.cancel()
	return errDiverged
}

// write compares records that the handler makes with those of the log.
func (s *stretch) write(records []caxton.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range records {
		c, err := canonOf(rec.Kind, rec.Body)
		if err != nil {
			return err
		}
		e := s.find(c.kind, c.slot())
		if e == nil {
			if near := s.next(c.kind); near != nil {
				return s.mismatch(near, c)
			}
			return s.stop(c)
		}
		if field, _, _, differ := compare("", e.canon.body, c.body); differ && field != "" {
			e.made = c.bytes()
			return s.mismatch(e, c)
		}
		if before := s.skipped(e); before != nil {
			return s.differ(caxton.Difference{
				Seq: before.rec.Seq, Kind: before.canon.kind, Logged: short(string(before.canon.bytes())), Replay: short(string(c.bytes())),
				Message: fmt.Sprintf("record %d is %s; the replay makes %s in its place", before.rec.Seq, before.canon.noun(), c.noun()),
			})
		}
		e.made = c.bytes()
	}
	return nil
}

// skipped returns a record before e that the replay should have made before it, or nil.
// What comes back from calls that run side by side may come in any order.
func (s *stretch) skipped(e *logged) *logged {
	if e.canon.kind == caxton.RecordToolReturned || e.canon.kind == caxton.RecordBudgetSettled {
		return nil
	}
	for i := range s.expected {
		o := &s.expected[i]
		if o == e {
			return nil
		}
		if o.made == nil && !o.given() {
			return o
		}
	}
	return nil
}

// mismatch tells how a record of the log differs from what the replay made.
func (s *stretch) mismatch(e *logged, c canon) error {
	field, l, r, _ := compare("", e.canon.body, c.body)
	d := caxton.Difference{Seq: e.rec.Seq, Kind: c.kind, Field: field, Logged: l, Replay: r}
	d.Message = fmt.Sprintf("record %d, %s: %s is %s in the log and %s in the replay", e.rec.Seq, e.canon.noun(), field, short(l), short(r))
	if field == "request_hash" {
		d.Message = fmt.Sprintf("record %d: at step %s the model was asked something else: the request's hash is %s in the log and %s in the replay",
			e.rec.Seq, e.canon.at("step"), short(l), short(r))
	}
	return s.differ(d)
}

// finish compares how the attempt ended, after the handler has returned.
func (s *stretch) finish(in *caxton.Message, outputs []caxton.Message, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.diff != nil {
		return
	}
	for i := range s.expected {
		if e := &s.expected[i]; e.made == nil && !e.given() {
			_ = s.differ(caxton.Difference{
				Seq: e.rec.Seq, Kind: e.canon.kind, Logged: short(string(e.canon.bytes())),
				Message: fmt.Sprintf("record %d, %s, is not made by the replay", e.rec.Seq, e.canon.noun()),
			})
			return
		}
	}
	if s.end == "" || s.cut {
		return
	}
	end := &s.expected[len(s.expected)-1]
	wrong := func(replay string) {
		logged := string(s.end)
		if s.end == caxton.RecordSettled {
			logged += " " + string(s.last.Outcome)
			if s.last.Code != "" {
				logged += " (" + s.last.Code + ")"
			}
		}
		_ = s.differ(caxton.Difference{
			Seq: end.rec.Seq, Kind: s.end, Field: "outcome", Logged: logged, Replay: replay,
			Message: fmt.Sprintf("record %d: the attempt ends %s in the log and %s in the replay", end.rec.Seq, logged, replay),
		})
	}
	_, parked := errors.AsType[*caxton.Parked](err)
	switch {
	case s.end == caxton.RecordSettled:
		s.settled(in, outputs, err, wrong)
	case s.end == caxton.RecordParked && !parked, s.end == caxton.RecordReleased && err == nil:
		wrong(ending(err))
	}
}

// ending says how a run of the handler ended.
func ending(err error) string {
	if err == nil {
		return "settled done"
	}
	if _, parked := errors.AsType[*caxton.Parked](err); parked {
		return "parked"
	}
	return "with the error " + cmp.Or(codeOf(err), err.Error())
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		return e.Code
	}
	return ""
}

// settled compares how the message was settled.
func (s *stretch) settled(in *caxton.Message, outputs []caxton.Message, err error, wrong func(string)) {
	switch s.last.Outcome {
	case caxton.OutcomeDone:
		if err != nil {
			wrong(ending(err))
			return
		}
		s.outputs(in, outputs)
	case caxton.OutcomeUnknown:
		u, unknown := errors.AsType[*caxton.UnknownEffects](err)
		if !unknown {
			wrong(ending(err))
			return
		}
		for _, t := range s.last.Tickets {
			if t.Call != nil && !slices.ContainsFunc(u.Calls, func(c caxton.ToolCallRef) bool { return c.Key == t.Call.Key }) {
				wrong("with other effects: " + u.Names())
				return
			}
		}
	case caxton.OutcomeFailed:
		switch s.last.Code {
		case "turn_timeout", "reply_by_passed", "agent_removed", "cancelled": // from outside
		default:
			if c := codeOf(err); err == nil || c != "" && c != s.last.Code {
				wrong(ending(err))
			}
		}
	case caxton.OutcomeCancelled: // from outside
	}
}

// outputs compares what was said.
func (s *stretch) outputs(in *caxton.Message, outputs []caxton.Message) {
	end := &s.expected[len(s.expected)-1]
	if len(outputs) != len(s.last.Outputs) {
		_ = s.differ(caxton.Difference{
			Seq: end.rec.Seq, Kind: s.end, Field: "outputs", Logged: strconv.Itoa(len(s.last.Outputs)), Replay: strconv.Itoa(len(outputs)),
			Message: fmt.Sprintf("record %d: the message led to %d messages, in the replay to %d", end.rec.Seq, len(s.last.Outputs), len(outputs)),
		})
		return
	}
	for i, id := range s.last.Outputs {
		rec, logged, ok := s.r.said(id)
		if !ok {
			continue // in another conversation
		}
		if s.r.breaksProtocol(rec, &outputs[i]) {
			continue // the router said something else in its place
		}
		o := &outputs[i]
		a, b := spoken(&logged), spoken(o)
		if o.Performative == "" {
			b["performative"] = string(caxton.Inform)
		}
		if s.r.kin.origin(caxton.MessageID(logged.InReplyTo), rec.Seq) == caxton.MessageID(o.InReplyTo) {
			b["in_reply_to"] = logged.InReplyTo
		}
		field, l, r, differ := compare("", a, b)
		if differ {
			_ = s.differ(caxton.Difference{
				Seq: rec.Seq, Kind: caxton.RecordMessage, Field: field, Logged: l, Replay: r,
				Message: fmt.Sprintf("record %d, the answer to %s: %s is %s in the log and %s in the replay", rec.Seq, in.ID, field, short(l), short(r)),
			})
			return
		}
	}
}

// spoken is what an output says, in the form that is compared.
func spoken(m *caxton.Message) map[string]any {
	var content any
	if json.Unmarshal(m.Content, &content) != nil {
		content = string(m.Content)
	}
	return map[string]any{
		"performative": string(m.Performative), "content": content, "receiver": m.Receiver, "receiver_id": string(m.ReceiverID),
		"in_reply_to": m.InReplyTo, "language": m.Language, "ontology": m.Ontology,
	}
}

// said returns a message of the log.
func (r *replayer) said(id caxton.MessageID) (caxton.Record, caxton.Message, bool) {
	for _, rec := range r.records {
		var b caxton.MessageBody
		if rec.Kind == caxton.RecordMessage && rec.MessageID == id && json.Unmarshal(rec.Body, &b) == nil {
			return rec, caxton.Message(b.Message), true
		}
	}
	return caxton.Record{}, caxton.Message{}, false
}

// breaksProtocol reports whether an output does not fit the protocol of its conversation as
// it stood before the record.
func (r *replayer) breaksProtocol(at caxton.Record, m *caxton.Message) bool {
	if _, known := protocol.Parse(m.Protocol); !known {
		return false
	}
	var before []caxton.Message
	for _, rec := range r.records {
		var b caxton.MessageBody
		if rec.Seq < at.Seq && rec.Kind == caxton.RecordMessage && json.Unmarshal(rec.Body, &b) == nil {
			before = append(before, caxton.Message(b.Message))
		}
	}
	return protocol.Fold(before).Check(m, at.At) != nil
}

// recordedModels gives every agent the model that answers from the log.
type recordedModels struct{ s *stretch }

// For returns the recorded model. The server's own says what it is, and is not asked.
func (m recordedModels) For(settings caxton.LLMSettings) (llm.Model, error) {
	info := llm.Info{Provider: settings.Provider, Model: settings.Model}
	if own, err := m.s.r.h.models.For(settings); err == nil {
		info = own.Info()
	}
	return &recordedModel{m.s, info}, nil
}

// A recordedModel answers what the log says that it answered.
type recordedModel struct {
	s    *stretch
	info llm.Info
}

// Info names the model that answered.
func (m *recordedModel) Info() llm.Info { return m.info }

// Generate returns the next recorded answer. Whether it was the same question is told by
// the record that the handler makes of it.
func (m *recordedModel) Generate(context.Context, llm.Request) (llm.Response, error) {
	s := m.s
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.next(caxton.RecordModelCalled)
	if e == nil {
		return llm.Response{}, s.failed()
	}
	var b caxton.ModelCalledBody
	if err := json.Unmarshal(e.rec.Body, &b); err != nil {
		return llm.Response{}, unreadable(e.rec, err)
	}
	res := llm.Response{
		Text: b.Text, Stop: llm.StopReason(b.Stop), Provider: b.Provider, Model: b.Model,
		Usage: llm.Usage{InputTokens: b.InputTokens, OutputTokens: b.OutputTokens},
	}
	if len(b.ToolCalls) > 0 {
		if err := json.Unmarshal(b.ToolCalls, &res.ToolCalls); err != nil {
			return res, unreadable(e.rec, err)
		}
	}
	return res, nil
}

// failed is the error of a model call that the log has no answer of.
func (s *stretch) failed() error {
	switch {
	case s.strict():
		return s.stop(canon{kind: caxton.RecordModelCalled})
	case s.end == caxton.RecordSettled && s.last.Outcome == caxton.OutcomeFailed:
		e := caxton.Errorf(s.failureKind(), cmp.Or(s.last.Code, "internal"), "%s", s.last.Error)
		if s.last.Code == "internal" {
			return errors.New(s.last.Error) // it was none of ours
		}
		return e
	case s.end == caxton.RecordReleased, s.next(caxton.RecordBudgetSettled) != nil: // the failure was booked before the log breaks off
		return caxton.Errorf(s.failureKind(), "model_failed", "the model failed")
	}
	s.cut = true
	return errCut
}

// failureKind tells from what was booked whether the provider did any work.
func (s *stretch) failureKind() caxton.Kind {
	e := s.next(caxton.RecordBudgetSettled)
	if e == nil {
		return caxton.Unavailable
	}
	var b caxton.BudgetSettledBody
	if json.Unmarshal(e.rec.Body, &b) == nil {
		for _, c := range b.Cost {
			if (c.Unit == caxton.Tokens || c.Unit == caxton.Money) && c.Amount > 0 {
				return caxton.Timeout
			}
		}
	}
	return caxton.Unavailable
}

// recordedTools are the agent's tools, which return what the log says and never run.
type recordedTools struct {
	toolbox
	s *stretch
}

// Call returns the recorded result of the call.
func (t recordedTools) Call(_ context.Context, name string, call tool.Call) (tool.Result, error) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(caxton.RecordToolReturned, call.ID)
	switch {
	case e != nil:
		return recordedResult(e)
	case s.end == caxton.RecordParked || s.find(caxton.RecordBudgetSettled, fmt.Sprintf("tool/%s/%d", call.ID, s.number)) != nil:
		p := &caxton.Parked{Reason: "the call waits"} // it was booked, or the turn went to wait, without a result
		return tool.Result{}, caxton.Errorf(caxton.Unavailable, "call_waits", "the call waits").WithCause(p)
	case s.unclear() && !t.IdempotentCall(name, call.Args):
		return tool.Result{}, tool.Uncertain(errLost)
	case s.unclear(): // it waited, or what came of it could not be written
		return tool.Result{}, errCut
	case s.strict():
		return tool.Result{}, s.differ(caxton.Difference{
			Kind: caxton.RecordToolReturned, Message: fmt.Sprintf("the log has no result of the call %s of %s, and goes on", call.ID, name),
		})
	}
	s.cut = true
	return tool.Result{}, errCut
}

// Reconcile tells what the log says became of a lost call.
func (t recordedTools) Reconcile(_ context.Context, _ string, call tool.Call) (tool.Result, bool, error) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(caxton.RecordToolReturned, call.ID)
	again := s.find(caxton.RecordBudgetReserved, fmt.Sprintf("tool/%s/%d", call.ID, s.number))
	switch {
	case e != nil && again == nil:
		res, err := recordedResult(e)
		return res, err == nil, nil // it failed when it ran again: it had not happened
	case s.unclear():
		return tool.Result{}, false, errLost
	}
	return tool.Result{}, false, nil
}

func recordedResult(e *logged) (tool.Result, error) {
	var b caxton.ToolReturnedBody
	if err := json.Unmarshal(e.rec.Body, &b); err != nil {
		return tool.Result{}, unreadable(e.rec, err)
	}
	if b.NotRun {
		return tool.Result{}, errNotRun
	}
	if b.IsError {
		return tool.Result{}, caxton.Errorf(caxton.Invalid, "recorded", "%s", b.Text)
	}
	res := tool.Result{Text: b.Text, Data: b.Data, MediaType: b.MediaType}
	if b.BlobHash != "" {
		res.Body = []byte(b.BlobHash) // PutBlob gives it back
	}
	return res, nil
}
