package scripted

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// A cassette is a file of JSON values, one a line. The first line is its header:
//
//	{"cassette":1,"provider":"openai","model":"gpt-4o-mini"}
//
// cassette is the version of the format; provider and model say who was recorded. Each
// further line is one call, in the order in which the answers came:
//
//	{"hash":"…","request":[{"part":"system","text":"…"},…],"response":{"text":"…","stop":"end",…}}
//	{"hash":"…","request":[…],"error":{"kind":"unavailable","code":"model_unavailable","message":"…"}}
//
// request lists the parts of the request that are not empty, for people and for the error
// that shows what differs; of a long part it holds the beginning, and in "sum" the SHA-256 of
// all of it. hash is the SHA-256 of all parts, and alone decides which request the line
// answers: a response may be edited by hand, a request may not. Empty lines do not count,
// unknown keys are faults.
const cassetteVersion = 1

const (
	maxCassette = 64 << 20 // bytes of a file
	maxExcerpt  = 400      // characters of a part that are kept
	maxShown    = 60       // characters of a part that an error shows
)

type header struct {
	Version  int    `json:"cassette"`
	Provider string `json:"provider,omitempty"`
	Model    string `json:"model,omitempty"`
}

type entry struct {
	Hash     string         `json:"hash"`
	Request  []part         `json:"request"`
	Response *entryResponse `json:"response,omitempty"`
	Error    *entryError    `json:"error,omitempty"`
}

// A part is one piece of a request. Sum is the hash of the whole text when Text is only its
// beginning.
type part struct {
	Name string `json:"part"`
	Text string `json:"text"`
	Sum  string `json:"sum,omitempty"`
}

type entryResponse struct {
	Text         string         `json:"text,omitempty"`
	ToolCalls    []entryCall    `json:"tool_calls,omitempty"`
	Stop         llm.StopReason `json:"stop"`
	InputTokens  int            `json:"input_tokens"`
	OutputTokens int            `json:"output_tokens"`
	Estimated    bool           `json:"estimated,omitempty"`
	Provider     string         `json:"provider"`
	Model        string         `json:"model"`
}

// An entryCall is a tool call. Raw holds arguments that are no JSON.
type entryCall struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Raw       string          `json:"raw_arguments,omitempty"`
}

type entryError struct {
	Kind    caxton.Kind `json:"kind"`
	Code    string      `json:"code"`
	Message string      `json:"message"`
	Hint    string      `json:"hint,omitempty"`
}

// A Cassette is a Model that answers with what a Recorder wrote. Requests may come in any
// order. A request that was recorded more than once gets its answers in the order of the
// file, and then the last of them again. It is safe for concurrent use.
type Cassette struct {
	name    string
	entries []entry
	byHash  map[string][]int // places in entries

	mu   sync.Mutex
	next map[string]int // answers given so far
}

// LoadCassette reads a cassette. One that is not there is NotFound, one that may not be read
// Forbidden; every fault in it is in the one Invalid error, with its line.
func LoadCassette(path string) (*Cassette, error) {
	f, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, unreadable("cassette", path, err)
	}
	defer func() { _ = f.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(f, maxCassette+1))
	if err != nil {
		return nil, unreadable("cassette", path, err)
	}
	if len(text) > maxCassette {
		return nil, caxton.Errorf(caxton.TooLarge, "cassette_too_large", "the cassette %s is larger than %v", path, caxton.Size(maxCassette)).
			WithHint("record fewer calls on one cassette")
	}
	return ParseCassette(path, text)
}

func unreadable(what, path string, err error) error {
	kind := caxton.NotFound
	if !errors.Is(err, fs.ErrNotExist) {
		kind = caxton.Forbidden
	}
	return caxton.Errorf(kind, what+"_unreadable", "the %s %s cannot be read", what, path).
		WithHint("check llm.file, or the file of the provider under llm.providers").WithCause(err)
}

// ParseCassette reads the text of a cassette; path names it in errors.
func ParseCassette(path string, text []byte) (*Cassette, error) {
	c := &Cassette{name: path, byHash: map[string][]int{}, next: map[string]int{}}
	var issues []caxton.Issue
	line, headed := 0, false
	for raw := range bytes.Lines(text) {
		line++
		if raw = bytes.TrimSpace(raw); len(raw) == 0 {
			continue
		}
		bad := func(message, hint string) {
			issues = append(issues, caxton.Issue{Path: path, Line: line, Column: 1, Message: message, Hint: hint})
		}
		if !headed {
			headed = true
			if message, hint := checkHeader(raw); message != "" {
				bad(message, hint)
				break // what follows may be anything
			}
			continue
		}
		var e entry
		if err := decode(raw, &e); err != nil {
			bad("the line cannot be read: "+err.Error(), "a line is one JSON object; the last one is cut off when the recording was")
			continue
		}
		if fault := e.fault(); fault != "" {
			bad(fault, "")
			continue
		}
		c.byHash[e.Hash] = append(c.byHash[e.Hash], len(c.entries))
		c.entries = append(c.entries, e)
	}
	if !headed {
		issues = append(issues, caxton.Issue{Path: path, Line: 1, Column: 1, Message: "the cassette is empty", Hint: "record it first"})
	}
	if len(issues) > 0 {
		e := caxton.Errorf(caxton.Invalid, "cassette_invalid", "the cassette %s has faults", path).WithHint("mend it, or record it again")
		e.Issues = issues
		return nil, e
	}
	return c, nil
}

func checkHeader(raw []byte) (message, hint string) {
	var h header
	err := json.Unmarshal(raw, &h) // the keys of a later version do not matter
	switch {
	case err != nil || h.Version <= 0:
		return "the first line is not the header of a cassette", `it is like {"cassette":1}`
	case h.Version > cassetteVersion:
		return fmt.Sprintf("the cassette has version %d, and this program knows %d", h.Version, cassetteVersion), "record it again, or use a newer program"
	}
	if err := decode(raw, &h); err != nil {
		return "the header cannot be read: " + err.Error(), ""
	}
	return "", ""
}

// decode reads exactly one JSON value whose keys are all known.
func decode(raw []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it breaks off")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one value on it")
	}
	return nil
}

// fault returns what is wrong with an entry that could be read, or "".
func (e *entry) fault() string {
	if b, err := hex.DecodeString(e.Hash); err != nil || len(b) != sha256.Size || strings.ToLower(e.Hash) != e.Hash {
		return strconv.Quote(e.Hash) + " is not the hash of a request"
	}
	switch {
	case e.Response == nil && e.Error == nil:
		return "there is neither a response nor an error"
	case e.Response != nil && e.Error != nil:
		return "there is both a response and an error"
	case e.Error != nil && kind(string(e.Error.Kind)) == "":
		return strconv.Quote(string(e.Error.Kind)) + " is not a kind of error"
	case e.Error != nil:
		return ""
	}
	switch e.Response.Stop {
	case llm.StopEnd, llm.StopTools, llm.StopLength, llm.StopFilter:
	default:
		return strconv.Quote(string(e.Response.Stop)) + " is not a reason to stop"
	}
	if e.Response.InputTokens < 0 || e.Response.OutputTokens < 0 {
		return "a number of tokens is negative"
	}
	for _, tc := range e.Response.ToolCalls {
		if len(tc.Arguments) > 0 && tc.Raw != "" {
			return "a tool call has both arguments and raw_arguments"
		}
	}
	return ""
}

// Info names it.
func (c *Cassette) Info() llm.Info { return llm.Info{Provider: provider, Model: "cassette"} }

// Generate answers with what was recorded for req, be it an error. A request that is not on
// the cassette is NotFound, and the error says in what the nearest one differs.
func (c *Cassette) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	if err := llm.Ended(ctx, provider); err != nil {
		return llm.Response{}, err
	}
	if len(req.Messages) == 0 {
		return llm.Response{}, caxton.Errorf(caxton.Invalid, "request_empty", "the request has no message")
	}
	parts := split(req)
	hash := sum(parts)
	places := c.byHash[hash]
	if len(places) == 0 {
		return llm.Response{}, c.missing(hash, parts)
	}
	c.mu.Lock()
	n := c.next[hash]
	c.next[hash] = min(n+1, len(places)-1)
	c.mu.Unlock()
	return c.entries[places[n]].answer()
}

// Stream is Generate with its pieces: words.
func (c *Cassette) Stream(ctx context.Context, req llm.Request, emit func(llm.Delta)) (llm.Response, error) {
	res, err := c.Generate(ctx, req)
	return speak(ctx, res, err, emit)
}

func (e *entry) answer() (llm.Response, error) {
	if e.Error != nil {
		return llm.Response{}, caxton.Errorf(e.Error.Kind, e.Error.Code, "%s", e.Error.Message).WithHint("%s", e.Error.Hint)
	}
	r := e.Response
	res := llm.Response{
		Text: r.Text, Stop: r.Stop, Provider: r.Provider, Model: r.Model,
		Usage: llm.Usage{InputTokens: r.InputTokens, OutputTokens: r.OutputTokens, Estimated: r.Estimated},
	}
	for _, tc := range r.ToolCalls {
		args := slices.Clone(tc.Arguments)
		if tc.Raw != "" {
			args = json.RawMessage(tc.Raw)
		}
		res.ToolCalls = append(res.ToolCalls, llm.ToolCall{ID: tc.ID, Name: tc.Name, Arguments: args})
	}
	return res, nil
}

// missing returns the error for a request that is not on the cassette.
func (c *Cassette) missing(hash string, parts []part) error {
	e := caxton.Errorf(caxton.NotFound, "cassette_missing", "the request is not on the cassette %s", c.name).
		WithHint("record it again, or undo what changed the request; its hash is %s", hash)
	var nearest []string
	at := -1
	for i := range c.entries {
		if d := differences(parts, c.entries[i].Request); at < 0 || len(d) < len(nearest) {
			at, nearest = i, d
		}
	}
	if at < 0 {
		e.Message += ": it is empty"
		return e
	}
	shown := nearest[:min(3, len(nearest))]
	if more := len(nearest) - len(shown); more > 0 {
		shown = append(slices.Clip(shown), fmt.Sprintf("and %d more", more))
	}
	e.Message += fmt.Sprintf("; the nearest, call %d of %d, differs in %s", at+1, len(c.entries), cmp.Or(strings.Join(shown, "; "), "its hash only"))
	return e
}

// differences says in which parts a request differs from a recorded one.
func differences(have, recorded []part) []string {
	old := make(map[string]part, len(recorded))
	for _, p := range recorded {
		old[p.Name] = p
	}
	var out []string
	for _, p := range have {
		o, ok := old[p.Name]
		delete(old, p.Name)
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("%s (now %s, then none)", p.Name, show(p.Text, 0)))
		case o.Text != p.Text:
			at := firstDifference(p.Text, o.Text)
			out = append(out, fmt.Sprintf("%s (now %s, then %s)", p.Name, show(p.Text, at), show(o.Text, at)))
		case o.Sum != p.Sum:
			out = append(out, fmt.Sprintf("%s (after its first %d characters)", p.Name, maxExcerpt))
		}
	}
	for _, p := range recorded {
		if _, left := old[p.Name]; left {
			delete(old, p.Name)
			out = append(out, fmt.Sprintf("%s (now none, then %s)", p.Name, show(p.Text, 0)))
		}
	}
	return out
}

// firstDifference returns where two texts begin to differ, in characters.
func firstDifference(a, b string) int {
	n := 0
	for i, r := range a {
		if r2, size := utf8.DecodeRuneInString(b[min(i, len(b)):]); r2 != r || size == 0 {
			break
		}
		n++
	}
	return n
}

// show quotes what of a text is around the character at.
func show(s string, at int) string {
	r := []rune(s)
	start := min(max(0, at-maxShown/3), len(r))
	end := min(start+maxShown, len(r))
	out := string(r[start:end])
	if start > 0 {
		out = "…" + out
	}
	if end < len(r) {
		out += "…"
	}
	return strconv.Quote(out)
}

// split returns the parts of a request that are not empty. No two requests that a model
// could answer differently have the same ones.
func split(req llm.Request) []part {
	var parts []part
	add := func(text, name string, args ...any) {
		if text == "" {
			return
		}
		text = strings.ToValidUTF8(text, "\uFFFD") // as JSON would keep it
		p := part{Name: fmt.Sprintf(name, args...), Text: text}
		if utf8.RuneCountInString(text) > maxExcerpt {
			h := sha256.Sum256([]byte(text))
			p.Text, p.Sum = string([]rune(text)[:maxExcerpt]), hex.EncodeToString(h[:])
		}
		parts = append(parts, p)
	}
	number := func(f *float64, name string) {
		if f != nil {
			add(strconv.FormatFloat(*f, 'g', -1, 64), "%s", name)
		}
	}
	add(req.AgentName, "agent")
	add(req.Model, "model")
	add(req.System, "system")
	for i, d := range req.Documents {
		add(d.Title, "document %d title", i+1)
		add(d.Text, "document %d", i+1)
	}
	for i, m := range req.Messages {
		n := i + 1
		add(string(m.Role), "message %d role", n)
		add(m.Text, "message %d", n)
		for j, tc := range m.ToolCalls {
			add(tc.ID, "message %d call %d id", n, j+1)
			add(tc.Name, "message %d call %d tool", n, j+1)
			add(compact(tc.Arguments), "message %d call %d arguments", n, j+1)
		}
		add(m.ToolCallID, "message %d call id", n)
		add(m.ToolName, "message %d tool", n)
		add(m.MediaType, "message %d media type", n)
		if m.IsError {
			add("true", "message %d is an error", n)
		}
	}
	for i, t := range req.Tools {
		add(t.Name, "tool %d", i+1)
		add(t.Description, "tool %d description", i+1)
		add(compact(t.Parameters), "tool %d parameters", i+1)
	}
	if req.MaxTokens != 0 {
		add(strconv.Itoa(req.MaxTokens), "max_tokens")
	}
	number(req.Temperature, "temperature")
	number(req.TopP, "top_p")
	number(req.FrequencyPenalty, "frequency_penalty")
	number(req.PresencePenalty, "presence_penalty")
	return parts
}

// compact returns JSON without white space, and what is no JSON as it is.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// sum returns the hash of a request's parts, each name and text with its length before it.
func sum(parts []part) string {
	h := sha256.New()
	for _, p := range parts {
		for _, s := range []string{p.Name, p.Text, p.Sum} {
			_, _ = fmt.Fprintf(h, "%d:%s", len(s), s) // a hash takes everything
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
