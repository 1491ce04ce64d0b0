package guest

import (
	"encoding/json"
	"fmt"
	"time"
)

// An Error is why a call of the server failed.
type Error struct {
	Code    int // below zero: see docs/wasm.md
	Message string
}

// The codes of Error.
const (
	Failed      = -1
	Denied      = -2
	NotFound    = -3
	OverLimit   = -5
	Unsupported = -6
	Invalid     = -7
)

func (e *Error) Error() string { return fmt.Sprintf("caxton: %s (%d)", e.Message, e.Code) }

// Levels of Log.
const (
	Debug = 1
	Info  = 2
	Warn  = 3
	Fault = 4
)

// Logf writes a line to the agent's log. Grant: log.
func Logf(level int, format string, args ...any) { hostLog(level, fmt.Sprintf(format, args...)) }

// Send says something to another agent, or to whoever has a capability, and does not wait.
// Grant: messaging.
func Send(m Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return hostSend(b)
}

// Ask is Send, and waits for the answers. Grant: messaging. While the answer takes long the
// server puts the turn aside, and runs it again from its beginning: calls that were made are
// not made again, but give what they gave.
func Ask(m Message) ([]Answered, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	res, err := hostRequest(b)
	if err != nil {
		return nil, err
	}
	var r struct {
		Answers []Answered `json:"answers"`
	}
	err = json.Unmarshal(res, &r)
	return r.Answers, err
}

// Answered is what an agent answered.
type Answered struct {
	Agent        string          `json:"agent"`
	Performative string          `json:"performative"`
	Content      json.RawMessage `json:"content"`
	NoAnswer     string          `json:"no_answer"` // why there is none
}

// CallTool calls a tool that the agent is allowed, with arguments that JSON can hold.
// Grant: tools.
func CallTool(name string, args any) (json.RawMessage, error) {
	b, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	return hostTool(name, b)
}

// MemoryStore, MemorySearch, MemoryRelate and MemoryForget call the tools of those names.
// Grant: memory.
func MemoryStore(args any) (json.RawMessage, error) { return memory(hostMemoryStore, args) }

// MemorySearch looks up what the agent remembers.
func MemorySearch(args any) (json.RawMessage, error) { return memory(hostMemorySearch, args) }

// MemoryRelate says how two things are related.
func MemoryRelate(args any) (json.RawMessage, error) { return memory(hostMemoryRelate, args) }

// MemoryForget forgets.
func MemoryForget(args any) (json.RawMessage, error) { return memory(hostMemoryForget, args) }

func memory(call func([]byte) ([]byte, error), args any) (json.RawMessage, error) {
	b, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	return call(b)
}

// Store keeps a value for later turns; it is kept when this one ends well. Grant: state.
func Store(key string, value []byte) error { return hostStore(key, value) }

// Load returns a value that was kept, or false. Grant: state.
func Load(key string) ([]byte, bool, error) { return found(hostLoad(key)) }

// Delete removes a value. Grant: state.
func Delete(key string) error { return hostDelete(key) }

// NextKey returns the first key that comes after another one, and false when there is none; ""
// comes before all. Only while state is brought over to a new version. Grant: state.
func NextKey(after string) (string, bool, error) {
	b, ok, err := found(hostNext(after))
	return string(b), ok, err
}

// Config returns a parameter of the agent, or false. Grant: config.
func Config(key string) (string, bool, error) {
	b, ok, err := found(hostConfig(key))
	return string(b), ok, err
}

// SetTimer has the agent woken after d with the timer that is returned. Grant: timers.
func SetTimer(d time.Duration) (int32, error) { return hostTimer(d.Microseconds()) }

// CancelTimer takes a timer back. Grant: timers.
func CancelTimer(id int32) error { return hostCancelTimer(id) }

func found(b []byte, err error) ([]byte, bool, error) {
	if e, ok := err.(*Error); ok && e.Code == NotFound { //nolint:errorlint // it is not wrapped
		return nil, false, nil
	}
	return b, err == nil, err
}
