package wasm

import (
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"strings"

	"github.com/caxton/caxton"
)

// An arena is the memory that a plug-in and the host share in the Extism ABI: blocks at
// 64-bit offsets beside the plug-in's own memory. Offset 0 is no block.
type arena struct {
	data   []byte
	blocks map[uint64]uint64 // length by offset
	status int64             // of the last HTTP answer
	header []byte
}

// arenaOf returns the arena of a turn.
func (t *turn) arena() *arena {
	if t.extism == nil {
		t.extism = &arena{data: make([]byte, 8), blocks: map[uint64]uint64{}}
	}
	return t.extism
}

// alloc returns the offset of a new block, or halts: a plug-in cannot do without.
func (c *hostCall) alloc(n uint64) uint64 {
	a := c.t.arena()
	at := uint64(len(a.data))
	if n > uint64(c.t.limits.Memory) || at+n > uint64(c.t.limits.Memory) { //nolint:gosec // a limit is not negative
		halt(errMemory(&c.t.limits))
	}
	charge(c.mod, int(n)) //nolint:gosec // below the limit
	a.data = append(a.data, make([]byte, (n+7)&^7)...)
	a.blocks[at] = n
	return at
}

// block returns the bytes of a block, at the price of a copy.
func (c *hostCall) block(at uint64) []byte {
	a := c.t.arena()
	n, ok := a.blocks[at]
	if !ok {
		halt(errBlock(at))
	}
	charge(c.mod, int(n)) //nolint:gosec // below the limit
	return a.data[at : at+n]
}

func errBlock(at uint64) error {
	return caxton.Errorf(caxton.Invalid, "wasm_bad_pointer", "the module uses offset %d of the shared memory, where it has no block", at).
		WithHint("check the offsets that the module hands out")
}

// span returns n bytes at an offset, which need not begin a block.
func (c *hostCall) span(at, n uint64) []byte {
	data := c.t.arena().data
	if at < 8 || at > uint64(len(data)) || n > uint64(len(data))-at {
		halt(errBlock(at))
	}
	return data[at : at+n]
}

// put makes a block of data and returns its offset.
func (c *hostCall) put(data []byte) int64 {
	at := c.alloc(uint64(len(data)))
	copy(c.block(at), data)
	return int64(at) //nolint:gosec // below the limit of the memory
}

// inputSpan returns n bytes of the message.
func (c *hostCall) inputSpan(at, n uint64) []byte {
	in := c.t.input
	if at > uint64(len(in)) || n > uint64(len(in))-at {
		halt(errBlock(at))
	}
	return in[at : at+n]
}

// extismAccess is the price of a look at the shared memory or the input, in instructions: about
// the time that it takes. A plug-in reads all its input so, byte by byte.
const extismAccess = 100

// extismFuncs returns what the module "extism:host/env" exports.
func extismFuncs() []hostFunc {
	return append(accessFuncs(), plugFuncs()...)
}

// accessFuncs read and write single bytes and words.
func accessFuncs() []hostFunc {
	fs := []hostFunc{
		{name: "length", params: types(i64), result: i64, run: func(c *hostCall) int64 { return int64(c.t.arena().blocks[c.args[0]]) }},        //nolint:gosec // below the limit
		{name: "length_unsafe", params: types(i64), result: i64, run: func(c *hostCall) int64 { return int64(c.t.arena().blocks[c.args[0]]) }}, //nolint:gosec // below the limit
		{name: "load_u8", params: types(i64), result: i32, run: func(c *hostCall) int64 { return int64(c.span(c.args[0], 1)[0]) }},
		{name: "load_u64", params: types(i64), result: i64, run: func(c *hostCall) int64 {
			return int64(binary.LittleEndian.Uint64(c.span(c.args[0], 8))) //nolint:gosec // the bits count
		}},
		{name: "store_u8", params: types(i64, i32), run: func(c *hostCall) int64 {
			c.span(c.args[0], 1)[0] = byte(c.args[1]) //nolint:gosec // its low bits are the byte
			return 0
		}},
		{name: "store_u64", params: types(i64, i64), run: func(c *hostCall) int64 {
			binary.LittleEndian.PutUint64(c.span(c.args[0], 8), c.args[1])
			return 0
		}},
		{name: "input_length", result: i64, run: func(c *hostCall) int64 { return int64(len(c.t.input)) }},
		{name: "input_load_u8", params: types(i64), result: i32, run: func(c *hostCall) int64 { return int64(c.inputSpan(c.args[0], 1)[0]) }},
		{name: "input_load_u64", params: types(i64), result: i64, run: func(c *hostCall) int64 {
			return int64(binary.LittleEndian.Uint64(c.inputSpan(c.args[0], 8))) //nolint:gosec // the bits count
		}},
	}
	for i := range fs {
		fs[i].price = extismAccess
	}
	return fs
}

// plugFuncs are the rest.
func plugFuncs() []hostFunc {
	fs := []hostFunc{
		{name: "alloc", params: types(i64), result: i64, run: func(c *hostCall) int64 { return int64(c.alloc(c.args[0])) }}, //nolint:gosec // below the limit
		{name: "free", params: types(i64), run: func(c *hostCall) int64 { delete(c.t.arena().blocks, c.args[0]); return 0 }},
		{name: "output_set", params: types(i64, i64), run: func(c *hostCall) int64 {
			data := c.span(c.args[0], c.args[1])
			charge(c.mod, len(data))
			if err := c.t.roomFor(len(data)); err != nil {
				halt(err)
			}
			c.t.out.Reset()
			c.t.out.Write(data)
			return 0
		}},
		{name: "error_set", params: types(i64), run: func(c *hostCall) int64 {
			if c.args[0] != 0 {
				c.t.failure = clean(c.block(c.args[0]), 1000)
			}
			return 0
		}},
		{name: "config_get", params: types(i64), result: i64, run: func(c *hostCall) int64 {
			v, ok := c.t.a.setting(string(c.block(c.args[0])))
			if !ok || !c.t.a.grants.has(Settings) {
				return 0
			}
			return c.put(v)
		}},
		{name: "var_get", params: types(i64), result: i64, span: true, run: func(c *hostCall) int64 {
			if !c.t.a.grants.has(StateKeys) {
				return 0
			}
			v, code := c.value(string(c.block(c.args[0])))
			if code < 0 {
				return 0
			}
			return c.put(v)
		}},
		{name: "var_set", params: types(i64, i64), span: true, run: extismVarSet},
		{name: "http_request", params: types(i64, i64), result: i64, span: true, run: extismHTTP},
		{name: "http_status_code", result: i32, run: func(c *hostCall) int64 { return c.t.arena().status }},
		{name: "http_headers", result: i64, run: func(c *hostCall) int64 {
			if len(c.t.arena().header) == 0 {
				return 0
			}
			return c.put(c.t.arena().header)
		}},
		{name: "get_log_level", result: i32, startup: true, run: func(*hostCall) int64 { return 2 }},
	}
	for name, level := range map[string]slog.Level{
		"log_trace": slog.LevelDebug, "log_debug": slog.LevelDebug, "log_info": slog.LevelInfo, "log_warn": slog.LevelWarn, "log_error": slog.LevelError,
	} {
		fs = append(fs, hostFunc{name: name, params: types(i64), run: func(c *hostCall) int64 {
			c.t.log.line(level, c.block(c.args[0]))
			return 0
		}})
	}
	return fs
}

// extismVarSet keeps a value; the offset 0 deletes it. The ABI has no way to say that it did
// not work, so that ends the turn.
func extismVarSet(c *hostCall) int64 {
	if !c.t.a.grants.has(StateKeys) {
		halt(caxton.Errorf(caxton.Forbidden, "wasm_not_granted", "the module keeps a variable, and the agent has no grant %q", StateKeys))
	}
	ch := Change{Key: string(c.block(c.args[0])), Delete: c.args[1] == 0}
	if !ch.Delete {
		ch.Value = append([]byte(nil), c.block(c.args[1])...)
	}
	if c.change(ch) < 0 {
		halt(caxton.Errorf(caxton.Invalid, "wasm_state", "a variable of the module was not kept: %s", c.t.lastError))
	}
	return 0
}

// extismTool is a tool call for plug-ins: name and arguments are blocks, and so is the result,
// an object with "result" or "error".
func extismTool(name string) hostFunc {
	return hostFunc{name: name, params: types(i64, i64), result: i64, grant: "", span: true, run: func(c *hostCall) int64 {
		var answer any
		switch {
		case !c.t.a.grants.has(Tools):
			answer = map[string]string{"error": "the agent has no tools"}
		case c.call(string(c.block(c.args[0])), append([]byte(nil), c.block(c.args[1])...)) < 0:
			answer = map[string]string{"error": c.t.lastError}
		default:
			answer = map[string]json.RawMessage{"result": c.t.result}
		}
		b, err := json.Marshal(answer)
		if err != nil {
			halt(err)
		}
		return c.put(b)
	}}
}

// extismHTTP sends a request by the tool http_client, under its rules.
func extismHTTP(c *hostCall) int64 {
	a := c.t.arena()
	a.status, a.header = 0, nil
	if !c.t.a.grants.has(HTTP) {
		halt(caxton.Errorf(caxton.Forbidden, "wasm_not_granted", "the module sends an HTTP request, and the agent has no grant %q", HTTP).
			WithHint("list http_client under the tools of the agent"))
	}
	var req struct {
		URL     string            `json:"url"`
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
	}
	if err := json.Unmarshal(c.block(c.args[0]), &req); err != nil {
		halt(caxton.Errorf(caxton.Invalid, "wasm_bad_output", "the HTTP request of the module cannot be read").WithCause(err))
	}
	args := map[string]any{"url": req.URL}
	if req.Method != "" {
		args["method"] = strings.ToUpper(req.Method)
	}
	if len(req.Headers) > 0 {
		args["headers"] = req.Headers
	}
	if c.args[1] != 0 {
		args["body"] = string(c.block(c.args[1]))
	}
	b, err := json.Marshal(args)
	if err != nil {
		halt(err)
	}
	if err := c.t.roomFor(len(b)); err != nil {
		halt(err)
	}
	r, err := c.t.call(c.ctx, "http_client", b)
	if err != nil {
		halt(err)
	}
	if r.IsError {
		halt(caxton.Errorf(caxton.Invalid, "wasm_http", "the HTTP request of the module failed: %s", r.Text))
	}
	var answer struct {
		Status  int64             `json:"status"`
		Headers map[string]string `json:"headers"`
	}
	_ = json.Unmarshal(r.Data, &answer) // without it the status is 0
	a.status = answer.Status
	if a.header, err = json.Marshal(answer.Headers); err != nil {
		halt(err)
	}
	var body []byte
	if r.BlobHash != "" {
		err := c.t.apart(c.ctx, func() (err error) {
			body, _, err = c.t.calls.Blob(c.ctx, r.BlobHash)
			return err
		})
		if err != nil {
			halt(err)
		}
	}
	return c.put(body)
}
