package wasm

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/tetratelabs/wazero/api"
)

func types(ts ...api.ValueType) []api.ValueType { return ts }

// hostFuncs returns what the modules "caxton" and "env" export. A name that is there more
// than once has several forms, told apart by their parameters.
func hostFuncs() []hostFunc {
	return slices.Concat(messageFuncs(), callFuncs(), stateFuncs(), plainFuncs())
}

// messageFuncs are about the message and its answer.
func messageFuncs() []hostFunc {
	receive := func(c *hostCall) int64 { return c.fill(0, c.t.input) }
	send := func(c *hostCall) int64 { return c.sendNow(c.bytes(0)) }
	return []hostFunc{
		{name: "receive_message", params: types(i32, i32), result: i32, run: receive},
		{name: "agent_message_receive", params: types(i32, i32), result: i32, run: receive},
		{name: "respond", params: types(i32, i32), result: i32, run: func(c *hostCall) int64 {
			data := c.view(0)
			spend(c.mod, readJSON*len(data))
			if err := c.t.say(data); err != nil {
				halt(err)
			}
			return 0
		}},
		{name: "fail", params: types(i32, i32), result: i32, run: func(c *hostCall) int64 {
			c.t.failure = clean(c.view(0), 1000)
			return 0
		}},
		{name: "send_message", params: types(i32, i32), result: i32, grant: Messaging, span: true, run: send},
		{name: "agent_message_send", params: types(i32, i32), result: i32, grant: Messaging, span: true, run: send},
		{name: "send_local_message", params: types(i32, i32, i32, i32), result: i32, grant: Messaging, span: true, run: func(c *hostCall) int64 {
			return c.sendTo(said{Receiver: c.text()}, c.bytes(2))
		}},
		{name: "broadcast_message", params: types(i32, i32, i32, i32), result: i32, grant: Messaging, span: true, run: func(c *hostCall) int64 {
			return c.sendTo(said{Capability: c.text(), Everyone: true}, c.bytes(2))
		}},
		{name: "request", params: types(i32, i32), result: i32, grant: Messaging, span: true, run: func(c *hostCall) int64 { return c.request(c.bytes(0)) }},
		{name: "send_and_wait", params: types(i32, i32), result: i32, grant: Messaging, span: true, run: func(c *hostCall) int64 { return c.request(c.bytes(0)) }},
		{name: "subscribe_messages", params: types(i32, i32), result: i32, startup: true, run: func(c *hostCall) int64 {
			return c.fail(codeUnsupported, "an agent gets the messages that are addressed to it or to its capabilities; it cannot subscribe to others")
		}},
	}
}

// callFuncs call tools.
func callFuncs() []hostFunc {
	tool := func(c *hostCall) int64 { return c.call(c.text(), c.bytes(2)) }
	fs := []hostFunc{
		{name: "call_tool", params: types(i32, i32, i32, i32), result: i32, grant: Tools, span: true, run: tool},
		{name: "mcp_call", params: types(i32, i32, i32, i32), result: i32, grant: Tools, span: true, run: tool},
	}
	for _, name := range memoryTools() {
		fs = append(fs, hostFunc{
			name: name, params: types(i32, i32), result: i32, grant: Memory, span: true,
			run: func(c *hostCall) int64 { return c.call(name, c.bytes(0)) },
		})
	}
	return fs
}

// stateFuncs keep values, settings and timers.
func stateFuncs() []hostFunc {
	return []hostFunc{
		{name: "store_data", params: types(i32, i32, i32, i32), result: i32, grant: StateKeys, span: true, run: func(c *hostCall) int64 {
			return c.store(c.text(), c.bytes(2))
		}},
		{name: "load_data", params: types(i32, i32, i32, i32), result: i32, grant: StateKeys, span: true, run: func(c *hostCall) int64 {
			return c.load(c.text(), 2)
		}},
		{name: "delete_data", params: types(i32, i32), result: i32, grant: StateKeys, span: true, run: func(c *hostCall) int64 { return c.remove(c.text()) }},
		{name: "next_key", params: types(i32, i32, i32, i32), result: i32, grant: StateKeys, run: func(c *hostCall) int64 {
			return c.next(c.text(), 2)
		}},
		{name: "get_config", params: types(i32, i32, i32, i32), result: i32, grant: Settings, startup: true, run: func(c *hostCall) int64 {
			v, ok := c.t.a.setting(c.text())
			if !ok {
				return c.fail(codeNotFound, "the agent has no parameter of that name")
			}
			return c.fill(2, v)
		}},
		{name: "set_timer", params: types(i64), result: i32, grant: Waking, span: true, run: func(c *hostCall) int64 { return c.setTimer(c.args[0]) }},
		{name: "cancel_timer", params: types(i32), result: i32, grant: Waking, span: true, run: func(c *hostCall) int64 {
			return c.cancelTimer(int32(c.args[0])) //nolint:gosec // it is of 32 bits
		}},
	}
}

// plainFuncs read and tell what concerns nobody else.
func plainFuncs() []hostFunc {
	line := func(level slog.Level, at int) func(c *hostCall) int64 {
		return func(c *hostCall) int64 {
			c.t.log.line(level, c.view(at))
			return 0
		}
	}
	leveled := func(c *hostCall) int64 { return line(levelOf(int32(c.args[0])), 1)(c) } //nolint:gosec // it is of 32 bits
	micros := func(c *hostCall) int64 { return c.t.now().UnixMicro() }
	id := func(c *hostCall) int64 { return c.fill(0, []byte(c.t.a.slug)) }
	return []hostFunc{
		{name: "read_result", params: types(i32, i32), result: i32, run: func(c *hostCall) int64 { return c.fill(0, c.t.result) }},
		{name: "last_error", params: types(i32, i32), result: i32, startup: true, run: func(c *hostCall) int64 { return c.fill(0, []byte(c.t.lastError)) }},
		{name: "agent_get_id", params: types(i32, i32), result: i32, startup: true, run: id},
		{name: "agent_id", params: types(i32, i32), result: i32, startup: true, run: id},
		{name: "log", params: types(i32, i32, i32), grant: Log, startup: true, run: leveled},
		{name: "log", params: types(i32, i32), grant: Log, startup: true, run: line(slog.LevelInfo, 0)},
		{name: "agent_log", params: types(i32, i32, i32), grant: Log, startup: true, run: leveled},
		{name: "agent_log", params: types(i32, i32), grant: Log, startup: true, run: line(slog.LevelInfo, 0)},
		{name: "console_log", params: types(i32, i32), grant: Log, startup: true, run: line(slog.LevelInfo, 0)},
		{name: "console_error", params: types(i32, i32), grant: Log, startup: true, run: line(slog.LevelError, 0)},
		{name: "current_timestamp", result: i64, grant: Clock, startup: true, run: micros},
		{name: "agent_get_timestamp", result: i64, grant: Clock, startup: true, run: micros},
		{name: "get_time", result: i64, grant: Clock, startup: true, run: func(c *hostCall) int64 { return c.t.now().UnixMilli() }},
		{name: "random_u32", result: i32, grant: Random, startup: true, run: func(c *hostCall) int64 { return int64(uint32(c.t.random.Uint64())) }}, //nolint:gosec // half of it
		{name: "random_bytes", params: types(i32, i32), result: i32, grant: Random, startup: true, run: func(c *hostCall) int64 {
			_, _ = c.t.random.Read(c.view(0)) // never fails
			return 0
		}},
		{name: "seed", result: f64, grant: Random, startup: true, run: func(c *hostCall) int64 { return int64(c.t.random.Uint64() >> 12) }},
		{name: "sleep_micros", params: types(i64), grant: Clock, run: func(c *hostCall) int64 {
			c.t.sleep(time.Duration(min(c.args[0], uint64(time.Hour/time.Microsecond))) * time.Microsecond)
			return 0
		}},
		{name: "abort", params: types(i32, i32, i32, i32), startup: true, run: abort},
		{name: "fuel_left", result: i64, startup: true, run: func(c *hostCall) int64 { return c.t.fuelLeft(c.mod) / InstructionsPerFuel }},
	}
}

// levelOf reads a level of the log: 0 trace, 1 debug, 2 info, 3 warning, 4 and more error.
func levelOf(n int32) slog.Level {
	switch {
	case n <= 1:
		return slog.LevelDebug
	case n == 2:
		return slog.LevelInfo
	case n == 3:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// abort is what AssemblyScript calls when it gives up: its texts are in UTF-16, with their
// size before them.
func abort(c *hostCall) int64 {
	memory := c.memory()
	text := func(p uint32) string {
		size, ok := memory.ReadUint32Le(p - 4)
		if p < 4 || !ok || size > 2000 {
			return "?"
		}
		b, ok := memory.Read(p, size&^1)
		if !ok {
			return "?"
		}
		rs := make([]rune, 0, size/2)
		for i := 0; i+1 < len(b); i += 2 {
			rs = append(rs, rune(binary.LittleEndian.Uint16(b[i:])))
		}
		return string(rs)
	}
	halt(caxton.Errorf(caxton.Invalid, "wasm_trap", "the module gave up: %s (%s:%d:%d)",
		text(uint32(c.args[0])), text(uint32(c.args[1])), uint32(c.args[2]), uint32(c.args[3])). //nolint:gosec // of 32 bits each
		WithHint("the module's own log may say more"))
	return 0
}

// sleep waits at the cost of the turn's time.
func (t *turn) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	queued := t.lane
	t.unqueue()
	timer := time.NewTimer(d)
	defer timer.Stop()
	t.slot.give()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
	if !t.slot.take(t.ctx) || t.ctx.Err() != nil {
		halt(errDeadline(t.ctx, &t.limits))
	}
	if queued {
		t.queue(t.ctx)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// A hostKey names an import.
type hostKey struct{ module, name string }

// hostTable returns the functions that can be imported, each with its forms.
func hostTable() map[hostKey][]hostFunc {
	table := map[hostKey][]hostFunc{}
	for _, f := range hostFuncs() {
		for _, module := range []string{"caxton", "env"} {
			k := hostKey{module, f.name}
			table[k] = append(table[k], f)
		}
	}
	for _, f := range extismFuncs() {
		k := hostKey{extismModule, f.name}
		table[k] = append(table[k], f)
	}
	for _, f := range callFuncs()[:1] { // what a plug-in may call besides
		k := hostKey{extismUser, f.name}
		table[k] = append(table[k], extismTool(f.name))
	}
	return table
}

// signature prints the types of a function.
func signature(params, results []api.ValueType) string {
	list := func(ts []api.ValueType) string {
		names := make([]string, len(ts))
		for i, t := range ts {
			names[i] = api.ValueTypeName(t)
		}
		return strings.Join(names, ", ")
	}
	if len(results) == 0 {
		return fmt.Sprintf("(%s)", list(params))
	}
	return fmt.Sprintf("(%s) -> %s", list(params), list(results))
}
