package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/caxton/caxton"
)

// runCommand runs a WASI command over the message, in an instance of its own.
func (a *Agent) runCommand(ctx context.Context, t *turn) error {
	start := a.rt.cfg.Now()
	in, err := a.instantiate(ctx, t)
	t.startup = a.rt.cfg.Now().Sub(start)
	if err != nil {
		return err
	}
	defer in.discard(ctx)
	in.stdin.Reset(t.input)
	if _, err := in.call(ctx, a.module.entry.handle); err != nil && !errors.Is(err, errEnded) {
		return err
	}
	if t.failure != "" {
		return errFailed(t.failure)
	}
	return t.sayOut()
}

// sayOut takes what the guest has written as what it says. Room was taken when it wrote.
func (t *turn) sayOut() error {
	if err := t.charge(readJSON * int64(t.out.Len())); err != nil {
		return err
	}
	all, err := parseOutput(t.out.Bytes(), t.limits.Outputs-len(t.said), t.id())
	t.said = append(t.said, all...)
	return err
}

// runReactor gives the message to a reactor and takes its answer. A timer that is due goes to
// handle_timer where there is one.
func (in *instance) runReactor(ctx context.Context) error {
	t, e := in.turn, &in.a.module.entry
	if id, ok := timerOf(t.msg); ok && in.a.module.shape.has("handle_timer") {
		res, err := in.call(ctx, "handle_timer", uint64(uint32(id))) //nolint:gosec // the bits count
		return in.after(ctx, res, err, region{})
	}
	msg, err := in.take(ctx, len(t.input))
	if err != nil {
		return err
	}
	if !in.mod.Memory().Write(msg.at, t.input) {
		return errPointer(in.mod, uint64(msg.at), uint64(msg.size))
	}
	res, err := in.call(ctx, e.handle, uint64(msg.at), uint64(msg.size))
	if err == nil && e.packed {
		return in.packed(ctx, res[0], msg)
	}
	return in.after(ctx, res, err, msg)
}

// packed takes the answer that a handler returned as pointer << 32 | length.
func (in *instance) packed(ctx context.Context, v uint64, msg region) error {
	if v == 0 {
		return in.give(ctx, msg)
	}
	if n := v & (1<<32 - 1); n > uint64(in.turn.limits.OutputSize) { //nolint:gosec // a limit is not negative
		return in.turn.roomFor(int(n))
	}
	data, err := in.read(v>>32, v&(1<<32-1))
	if err != nil {
		return err
	}
	if err := in.turn.charge(readJSON * int64(len(data))); err != nil {
		return err
	}
	if err := in.turn.say(data); err != nil {
		return err
	}
	if err := in.give(ctx, msg); err != nil {
		return err
	}
	answer := region{uint32(v >> 32), uint32(v)} //nolint:gosec // two halves
	if uint64(answer.at) < uint64(msg.at)+uint64(msg.size) && answer.at >= msg.at {
		return nil // it is in the message, and that is given back
	}
	return in.give(ctx, answer)
}

// after looks at what a handler returned, and asks for the response where there is one.
func (in *instance) after(ctx context.Context, res []uint64, err error, msg region) error {
	if err != nil {
		return err
	}
	if len(res) == 1 && int32(res[0]) != 0 && in.turn.failure == "" { //nolint:gosec // it is of 32 bits
		in.turn.failure = "it returned " + strconv.Itoa(int(int32(res[0]))) //nolint:gosec // it is of 32 bits
		if last := in.turn.lastWords(); last != "" {
			in.turn.failure += "; it logged: " + last
		}
	}
	if in.turn.failure == "" && in.a.module.shape.has("get_response") {
		if err := in.response(ctx, msg); err != nil {
			return err
		}
	}
	if msg.size == 0 {
		return nil
	}
	return in.give(ctx, msg)
}

// responseRoom is how much room get_response is offered first.
const responseRoom = 16 << 10

// response asks the guest for its answer by get_response(buffer, size), which returns how long
// it is; more than the size means that nothing was copied.
func (in *instance) response(ctx context.Context, msg region) error {
	for size := responseRoom; ; {
		room, err := in.take(ctx, size, msg)
		if err != nil {
			return err
		}
		res, err := in.call(ctx, "get_response", uint64(room.at), uint64(room.size))
		if err != nil {
			return err
		}
		n := 0
		if len(res) == 1 {
			n = int(int32(res[0])) //nolint:gosec // it is of 32 bits
		}
		switch {
		case n < 0:
			in.turn.failure = "get_response returned " + strconv.Itoa(n)
		case n > size && size == responseRoom && n <= int(in.turn.limits.OutputSize):
			if err := in.give(ctx, room); err != nil {
				return err
			}
			size = n
			continue
		case n > size:
			return errors.Join(in.turn.roomFor(n), caxton.Errorf(caxton.Invalid, "wasm_bad_length", "get_response of the module says %d bytes into room for %d", n, size).
				WithHint("return how many bytes the answer has"))
		case n > 0:
			data, err := in.read(uint64(room.at), uint64(n))
			if err == nil {
				err = in.turn.charge(readJSON * int64(len(data)))
			}
			if err == nil {
				err = in.turn.say(data)
			}
			if err != nil {
				return err
			}
		}
		return in.give(ctx, room)
	}
}

// runPlugin calls the handler of a plug-in. The message is its input, its output the answer.
func (in *instance) runPlugin(ctx context.Context) error {
	t := in.turn
	res, err := in.call(ctx, in.a.module.entry.handle)
	if err != nil {
		return err
	}
	if len(res) == 1 && int32(res[0]) != 0 && t.failure == "" { //nolint:gosec // it is of 32 bits
		t.failure = "it returned " + strconv.Itoa(int(int32(res[0]))) //nolint:gosec // it is of 32 bits
	}
	if t.failure != "" {
		return nil
	}
	return t.sayOut()
}

// timerOf returns the timer that a message tells is due.
func timerOf(m *caxton.Message) (id int32, ok bool) {
	if m.Ontology != TimerOntology || m.SenderID == "" || m.SenderID != m.ReceiverID {
		return 0, false
	}
	var c struct {
		Timer *int32 `json:"timer"`
	}
	if json.Unmarshal(m.Content, &c) != nil || c.Timer == nil {
		return 0, false
	}
	return *c.Timer, true
}
