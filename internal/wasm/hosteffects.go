package wasm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// maxKey is how long a key of the state may be.
const maxKey = 256

// clean returns data as valid text of at most n bytes.
func clean(data []byte, n int) string {
	return strings.ToValidUTF8(string(data[:min(len(data), n)]), "\uFFFD")
}

// sendNow sends a message that says itself where it goes; one that does not is an answer.
func (c *hostCall) sendNow(data []byte) int64 {
	s, code := c.one(data)
	if code < 0 {
		return code
	}
	if !s.elsewhere() {
		if err := c.t.say(data); err != nil {
			halt(err)
		}
		return 0
	}
	r, err := c.t.send(c.ctx, &s, false)
	return c.sent(r, err)
}

// sendTo sends a message to where to says. It returns how many got it.
func (c *hostCall) sendTo(to said, data []byte) int64 {
	s, code := c.one(data)
	if code < 0 {
		return code
	}
	s.Receiver, s.Capability, s.Everyone = to.Receiver, to.Capability, to.Everyone
	r, err := c.t.send(c.ctx, &s, false)
	if code := c.sent(r, err); code < 0 || !to.Everyone {
		return code
	}
	var got struct {
		Answers []json.RawMessage `json:"answers"`
	}
	_ = json.Unmarshal(r.Data, &got) // without it nobody is counted
	return int64(len(got.Answers))
}

func (c *hostCall) sent(r caxton.ToolReturnedBody, err error) int64 {
	switch {
	case err != nil:
		return c.failWith(err)
	case r.IsError:
		return c.fail(codeFailed, "%s", r.Text)
	}
	c.t.result = r.Data
	return 0
}

// request sends a message and waits for the answer, which read_result gives.
func (c *hostCall) request(data []byte) int64 {
	s, code := c.one(data)
	if code < 0 {
		return code
	}
	if !s.elsewhere() {
		return c.fail(codeInvalid, `a request needs a "receiver" or a "capability"`)
	}
	r, err := c.t.send(c.ctx, &s, true)
	return c.returned(r, err)
}

// one reads a single message.
func (c *hostCall) one(data []byte) (said, int64) {
	if err := c.t.roomFor(len(data)); err != nil {
		halt(err)
	}
	spend(c.mod, readJSON*len(data))
	all, err := parseOutput(data, 1, c.t.id())
	if err != nil {
		return said{}, c.failWith(err)
	}
	if len(all) != 1 {
		return said{}, c.fail(codeInvalid, "one message is wanted")
	}
	return all[0], 0
}

// call makes a tool call; read_result gives what came of it.
func (c *hostCall) call(tool string, args []byte) int64 {
	if err := c.t.roomFor(len(tool) + len(args)); err != nil {
		halt(err)
	}
	if !json.Valid(args) {
		return c.fail(codeInvalid, "the arguments of %.80q are not JSON", tool)
	}
	r, err := c.t.call(c.ctx, tool, args)
	return c.returned(r, err)
}

// returned gives the guest the result of a call: its data where it has some, else its text
// as JSON.
func (c *hostCall) returned(r caxton.ToolReturnedBody, err error) int64 {
	switch {
	case err != nil:
		return c.failWith(err)
	case r.IsError:
		return c.fail(codeFailed, "%s", r.Text)
	case len(r.Data) > 0:
		return c.give(r.Data)
	}
	return c.give(caxton.TextContent(r.Text))
}

// store writes a value when the turn has ended well.
func (c *hostCall) store(key string, value []byte) int64 {
	return c.change(Change{Key: key, Value: value})
}

func (c *hostCall) remove(key string) int64 { return c.change(Change{Key: key, Delete: true}) }

func (c *hostCall) change(ch Change) int64 {
	t := c.t
	if t.a.rt.cfg.State == nil {
		return c.fail(codeUnsupported, "this server keeps no state for modules")
	}
	if ch.Key == "" || len(ch.Key) > maxKey {
		return c.fail(codeInvalid, "a key has 1 to %d bytes", maxKey)
	}
	if t.stateSize += len(ch.Key) + len(ch.Value); t.stateSize > int(t.limits.StateSize) {
		if t.migrates { // half of it must not be taken for all
			halt(caxton.Errorf(caxton.TooLarge, "wasm_state_too_large", "the module would bring over more than %v of state that it has changed", t.limits.StateSize))
		}
		t.stateSize -= len(ch.Key) + len(ch.Value)
		return c.fail(codeLimit, "a turn may write %v of state", t.limits.StateSize)
	}
	if t.state == nil {
		t.state = map[string]Change{}
	}
	t.state[ch.Key] = ch
	return 0
}

// load reads a value as this turn sees it.
func (c *hostCall) load(key string, buffer int) int64 {
	v, code := c.value(key)
	if code < 0 {
		return code
	}
	return c.fill(buffer, v)
}

func (c *hostCall) value(key string) ([]byte, int64) {
	t := c.t
	if t.a.rt.cfg.State == nil {
		return nil, c.fail(codeUnsupported, "this server keeps no state for modules")
	}
	if ch, ok := t.state[key]; ok {
		if ch.Delete {
			return nil, c.fail(codeNotFound, "there is no value under that key")
		}
		return ch.Value, 0
	}
	known, noted := t.found[key]
	v, ok := known.Value, known.Found
	if !noted {
		err := t.apart(c.ctx, func() (err error) {
			v, ok, err = t.a.rt.cfg.State.Load(c.ctx, t.a.id, t.version, key)
			return err
		})
		if err != nil {
			halt(err)
		}
	}
	t.reads.note(key, v, ok)
	if !ok {
		return nil, c.fail(codeNotFound, "there is no value under that key")
	}
	return v, 0
}

// setTimer has the agent woken. The ID follows from the message, so that a repeated turn sets
// the same timer.
func (c *hostCall) setTimer(micros uint64) int64 {
	t := c.t
	if t.a.rt.cfg.Timers == nil {
		return c.fail(codeUnsupported, "this server has no timers for modules")
	}
	after := time.Duration(min(micros, uint64(365*24*time.Hour/time.Microsecond))) * time.Microsecond
	t.timers++
	id := timerID(t.msg.ID, t.timers)
	if t.rehearses {
		return int64(id)
	}
	if err := t.apart(c.ctx, func() error { return t.a.rt.cfg.Timers.SetTimer(c.ctx, t.a.id, id, after) }); err != nil {
		return c.failWith(err)
	}
	return int64(id)
}

func (c *hostCall) cancelTimer(id int32) int64 {
	if c.t.a.rt.cfg.Timers == nil {
		return c.fail(codeUnsupported, "this server has no timers for modules")
	}
	if c.t.rehearses {
		return 0
	}
	if err := c.t.apart(c.ctx, func() error { return c.t.a.rt.cfg.Timers.CancelTimer(c.ctx, c.t.a.id, id) }); err != nil {
		return c.failWith(err)
	}
	return 0
}

// timerID returns the ID of the nth timer that a turn sets.
func timerID(m caxton.MessageID, n int) int32 {
	sum := sha256.Sum256(fmt.Appendf(nil, "timer:%s:%d", m, n))
	return int32(binary.BigEndian.Uint32(sum[:]) >> 1)
}
