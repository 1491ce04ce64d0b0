package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// A turn is one run of a guest: a message at work, or the start or the end of an instance.
// It belongs to one goroutine.
type turn struct {
	ctx    context.Context //nolint:containedctx // of the guest's call at work: what the guest writes and how it sleeps comes without one
	a      *Agent
	limits Limits
	msg    *caxton.Message // nil at the start and the end of an instance
	input  []byte          // the message as the guest reads it
	calls  Calls           // nil when tools cannot be called now
	slot   *slot           // that it runs in; nil when it needs none
	random *rand.ChaCha8
	start  time.Time

	said      []said // answers, and messages to others that go out at the end
	out       bytes.Buffer
	failure   string                      // what the guest says went wrong
	result    []byte                      // of the last host call that has one
	lastError string                      // of the last host call that failed
	state     map[string]Change           // written in this turn, by key
	version   int                         // whose state is read
	migrates  bool                        // state is brought over, and nothing else is done
	lenient   bool                        // a message that is not carried out is none that failed
	rehearses bool                        // nothing of it is to last
	found     map[string]caxton.StateRead // values of the state as another turn found them, in a rehearsal
	told      time.Time                   // the time, since its last call
	reads     reads
	stateSize int
	extism    *arena

	fuel        int64 // instructions that are left to hand out
	granted     int64 // instructions handed out so far
	used        int64
	startupUsed int64
	lane        bool // it has one of Runtime.lanes
	memory      caxton.Size
	hostCalls   int
	traced      bool
	spans       int // host calls that a trace should tell
	toolCalls   int
	fileBytes   int
	timers      int
	outBytes    int
	log         guestLog
	trap        string
	startup     time.Duration
}

// newTurn returns a turn of the agent. m is nil at the start and the end of an instance.
func (a *Agent) newTurn(ctx context.Context, m *caxton.Message, calls Calls, s *slot) *turn {
	t := &turn{
		ctx: ctx, a: a, limits: a.limits, msg: m, calls: calls, slot: s, start: a.rt.cfg.Now(), fuel: instructions(a.limits.Fuel), version: a.number,
		random: a.randomFor(m),
	}
	t.log = guestLog{t: t, level: slog.LevelInfo}
	return t
}

// id returns the ID of the message at work, or "".
func (t *turn) id() caxton.MessageID {
	if t.msg == nil {
		return ""
	}
	return t.msg.ID
}

// instructions returns how many instructions an amount of fuel pays for.
func instructions(fuel int64) int64 {
	const most = 1 << 62
	if fuel > most/InstructionsPerFuel {
		return most
	}
	return fuel * InstructionsPerFuel
}

// now is the time of day as the guest sees it.
func (t *turn) now() time.Time {
	switch {
	case t.a.grants.has(Clock) && t.calls != nil:
		t.told = t.calls.Now().Truncate(time.Millisecond)
		return t.told
	case t.a.grants.has(Clock):
		return t.start.Truncate(time.Millisecond)
	case t.msg != nil:
		return t.msg.CreatedAt.Truncate(time.Millisecond)
	}
	return time.Unix(0, 0)
}

// readJSON is what reading a byte of JSON costs, in instructions.
const readJSON = 8

// say takes what the guest wrote.
func (t *turn) say(data []byte) error {
	if err := t.roomFor(len(data)); err != nil {
		return err
	}
	all, err := parseOutput(data, t.limits.Outputs-len(t.said), t.id())
	if err != nil {
		return err
	}
	t.said = append(t.said, all...)
	return nil
}

// roomFor takes room for n bytes of output.
func (t *turn) roomFor(n int) error {
	if t.outBytes += n; t.outBytes > int(t.limits.OutputSize) {
		return caxton.Errorf(caxton.TooLarge, "wasm_output_too_large", "the module wrote more than %v in one turn", t.limits.OutputSize).
			WithHint("say less, or raise the limit of the agent")
	}
	return nil
}

// Write takes the standard output of a guest.
func (t *turn) Write(p []byte) (int, error) {
	if err := t.roomFor(len(p)); err != nil {
		halt(err)
	}
	return t.out.Write(p)
}

// outputs returns what was said to whoever asked, and sends the rest.
func (t *turn) outputs(ctx context.Context) ([]caxton.Message, error) {
	var replies []caxton.Message
	for i := range t.said {
		s := &t.said[i]
		if s.elsewhere() {
			if _, err := t.send(ctx, s, false); err != nil {
				return nil, err
			}
			continue
		}
		r, err := s.reply(t.msg)
		if err != nil {
			return nil, err
		}
		if s.Performative == "" && (t.msg.Performative.Replies() || t.msg.Performative == caxton.RejectProposal) {
			continue // nobody asked: two agents would thank each other for ever
		}
		replies = append(replies, r)
	}
	return replies, nil
}

// send says something to somebody else by the tool that config agents use too.
func (t *turn) send(ctx context.Context, s *said, wait bool) (caxton.ToolReturnedBody, error) {
	if !t.a.grants.has(Messaging) {
		return caxton.ToolReturnedBody{}, caxton.Errorf(caxton.Forbidden, "wasm_not_granted", "the module wants to say something to %s%s, and may only answer", s.Receiver, s.Capability).
			WithHint("list send_message under the tools of the agent")
	}
	args, err := s.sendArgs(wait)
	if err != nil {
		return caxton.ToolReturnedBody{}, err
	}
	r, err := t.call(ctx, "send_message", args)
	if err == nil && r.IsError && !wait && !t.lenient {
		err = caxton.Errorf(caxton.Invalid, "wasm_not_sent", "a message of the module to %s%s was not sent: %s", s.Receiver, s.Capability, r.Text)
	}
	return r, err
}

// call makes a tool call.
func (t *turn) call(ctx context.Context, tool string, args json.RawMessage) (caxton.ToolReturnedBody, error) {
	if t.calls == nil {
		return caxton.ToolReturnedBody{}, caxton.Errorf(caxton.Invalid, "wasm_no_turn", "tools can only be called while a message is handled")
	}
	if t.toolCalls++; t.toolCalls > t.limits.ToolCalls {
		return caxton.ToolReturnedBody{}, &stop{errToolCalls(&t.limits)}
	}
	t.told = time.Time{} // that of the call is in the log
	queued := t.lane
	t.unqueue()
	t.slot.give()
	r, err := t.calls.Call(ctx, tool, args)
	if !t.slot.take(ctx) {
		if err == nil {
			err = errDeadline(ctx, &t.limits)
		}
		return r, &stop{err} // the guest has no slot to go on in
	}
	if queued && err == nil {
		t.queue(ctx)
	}
	return r, err
}

// changes returns what was written, in the order of the keys.
func (t *turn) changes() []Change {
	cs := make([]Change, 0, len(t.state))
	for _, k := range sortedKeys(t.state) {
		cs = append(cs, t.state[k])
	}
	return cs
}

// A guestLog takes what a guest logs, line by line, as much as it may.
type guestLog struct {
	t       *turn
	level   slog.Level
	part    []byte // of a line that has no end yet
	bytes   int
	lines   int
	dropped int      // bytes
	lost    int      // lines of which nothing is in the log
	last    []string // the last lines
}

// lineCost is what a line takes of the size of a turn's log besides its text: so much, or more, a
// record has around it.
const lineCost = 100

// maxLine is how long one line of a guest's log may be.
const maxLine = 4 << 10

// Write takes the standard error of a guest.
func (l *guestLog) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.part = append(l.part, p[:min(len(p), maxLine)]...)
			if len(l.part) >= maxLine {
				l.flush()
			}
			break
		}
		l.part = append(l.part, p[:min(i, maxLine)]...)
		l.flush()
		p = p[i+1:]
	}
	return n, nil
}

// flush logs a line that has no end.
func (l *guestLog) flush() {
	if len(l.part) > 0 {
		l.line(l.level, l.part)
		l.part = l.part[:0]
	}
}

// end logs what is left, and that lines were dropped.
func (l *guestLog) end(ctx context.Context) {
	l.flush()
	if l.lost > 0 && l.t.a.grants.has(Log) && !l.t.rehearses {
		l.t.a.logger.WarnContext(ctx, "log of a module cut", "lines", l.lost, "bytes", l.dropped, "message_id", l.t.id())
	}
}

// line logs one line, of which it copies only what is logged: the log is kept for long.
func (l *guestLog) line(level slog.Level, data []byte) {
	l.dropped += max(0, len(data)-maxLine)
	text := strings.ToValidUTF8(strings.TrimRight(string(data[:min(len(data), maxLine)]), "\r\n"), "\uFFFD")
	if l.last = append(l.last, text); len(l.last) > 5 {
		l.last = l.last[1:]
	}
	if l.t.rehearses || !l.t.a.grants.has(Log) || l.bytes+len(text)+lineCost*(l.lines+1) > int(l.t.limits.LogSize) {
		l.dropped += len(text)
		l.lost++
		return
	}
	l.bytes += len(text)
	l.lines++
	l.t.a.logger.LogAttrs(l.t.ctx, level, "module logged", slog.String("text", text), slog.String("message_id", string(l.t.id())))
}

// lastWords returns the end of what the guest wrote to its log.
func (t *turn) lastWords() string {
	t.log.flush()
	s := strings.Join(t.log.last, "; ")
	if len(s) > 300 {
		s = "…" + strings.ToValidUTF8(s[len(s)-300:], "")
	}
	return s
}
