package scripted

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/tree"
)

const (
	provider  = "scripted"
	modelName = "script"
)

// A Script is what a file holds.
type Script struct {
	Rules []Rule `key:"rules" doc:"tried in order; the first that fits answers"`
}

// A Rule says what to do with which message.
type Rule struct {
	When      When            `key:"when" doc:"all conditions given must hold; none holds always"`
	Reply     string          `key:"reply" doc:"the answer; {{message}} is the message, {{result}} the last tool result"`
	ToolCalls []ToolCall      `key:"tool_calls" doc:"tools to call instead of answering"`
	Error     string          `key:"error" doc:"fail with this kind, such as unavailable; a streamed answer says its reply first"`
	Delay     caxton.Duration `key:"delay" doc:"wait before answering"`
}

// When is the condition of a rule.
type When struct {
	Contains   string `key:"contains" doc:"the message contains this, in any case"`
	Matches    string `key:"matches" doc:"the message matches this regular expression"`
	ToolResult string `key:"tool_result" doc:"the last entry is a result of this tool"`
	Turn       int    `key:"turn" doc:"this is the n-th message of the user in the conversation, from 1"`
}

// A ToolCall is a tool to call.
type ToolCall struct {
	Name      string         `key:"name" required:"true"`
	Arguments map[string]any `key:"arguments" doc:"placeholders in texts are filled in as in a reply"`
}

// A Model answers by a script. It is safe for concurrent use.
type Model struct {
	rules   []Rule
	matches []*regexp.Regexp // of rules, nil where there is none
}

// New returns a Model with the rules. An expression that does not compile, or an error of
// an unknown kind, is Invalid.
func New(rules []Rule) (*Model, error) {
	m := &Model{rules: rules, matches: make([]*regexp.Regexp, len(rules))}
	for i, r := range rules {
		bad := func(what string, err error) error {
			return caxton.Errorf(caxton.Invalid, "script_invalid", "rule %d of the script has %s", i+1, what).WithCause(err)
		}
		if r.When.Matches != "" {
			re, err := regexp.Compile(r.When.Matches)
			if err != nil {
				return nil, bad("an expression that cannot be read: "+err.Error(), err)
			}
			m.matches[i] = re
		}
		if r.Error != "" && kind(r.Error) == "" {
			return nil, bad("an error of unknown kind "+strconv.Quote(r.Error), nil)
		}
		if r.Reply == "" && len(r.ToolCalls) == 0 && r.Error == "" {
			return nil, bad("neither reply nor tool_calls nor error", nil)
		}
	}
	return m, nil
}

// Open reads the file at path: a cassette when its name ends in .jsonl, else a script.
func Open(path string) (llm.Model, error) {
	if strings.HasSuffix(strings.ToLower(path), ".jsonl") {
		return LoadCassette(path)
	}
	return Load(path)
}

// Load reads a script file. Every fault of it is in the one Invalid error.
func Load(path string) (*Model, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, caxton.Errorf(caxton.NotFound, "script_unreadable", "the script %s cannot be read", path).
			WithHint("check llm.providers.scripted.file").WithCause(err)
	}
	format := tree.YAML
	if strings.HasSuffix(path, ".json") {
		format = tree.JSON
	}
	var s Script
	root, issues := tree.Parse(format, path, text)
	if len(issues) == 0 {
		issues = tree.Decode(root, &s, tree.DecodeOptions{Path: path})
	}
	if len(issues) > 0 {
		e := caxton.Errorf(caxton.Invalid, "script_invalid", "the script %s has faults", path)
		e.Issues = issues
		return nil, e
	}
	return New(s.Rules)
}

func kind(s string) caxton.Kind {
	switch k := caxton.Kind(s); k {
	case caxton.Malformed, caxton.Invalid, caxton.Unauthenticated, caxton.Forbidden, caxton.NotFound, caxton.Conflict, caxton.TooLarge,
		caxton.Exhausted, caxton.Canceled, caxton.Internal, caxton.Unavailable, caxton.Timeout:
		return k
	}
	return ""
}

// Info names it.
func (m *Model) Info() llm.Info { return llm.Info{Provider: provider, Model: modelName} }

// Generate answers by the first rule that fits; NotFound when none does.
func (m *Model) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	res, err := m.answer(ctx, req)
	if err != nil {
		return llm.Response{}, err
	}
	return res, nil
}

// Stream is Generate with its pieces: words. A rule with both a reply and an error says the
// words of the reply before it fails.
func (m *Model) Stream(ctx context.Context, req llm.Request, emit func(llm.Delta)) (llm.Response, error) {
	res, err := m.answer(ctx, req)
	return speak(ctx, res, err, emit)
}

// speak shows an answer word by word, and what was said of it when err is not nil.
func speak(ctx context.Context, res llm.Response, err error, emit func(llm.Delta)) (llm.Response, error) {
	if ended := llm.EmitPieces(ctx, res, wordForm.FindAllString(res.Text, -1), emit); ended != nil && err == nil {
		err = ended
	}
	if err != nil {
		return llm.Response{}, err
	}
	return res, nil
}

var wordForm = regexp.MustCompile(`(?s)\s*\S+\s*|\s+`)

// answer returns the answer of the first rule that fits. With an error it returns what is
// said before that.
func (m *Model) answer(ctx context.Context, req llm.Request) (llm.Response, error) {
	if len(req.Messages) == 0 {
		return llm.Response{}, caxton.Errorf(caxton.Invalid, "request_empty", "the request has no message")
	}
	message, result, turn := "", "", 0
	for _, msg := range req.Messages {
		if msg.Role == llm.User {
			message = msg.Text
			turn++
		}
	}
	last := req.Messages[len(req.Messages)-1]
	if last.Role == llm.ToolRole {
		result = last.Text
	}
	for i, r := range m.rules {
		if !m.fits(i, message, turn, last) {
			continue
		}
		if err := wait(ctx, r.Delay.Std()); err != nil {
			return llm.Response{}, err
		}
		res := llm.Response{Stop: llm.StopEnd, Provider: provider, Model: modelName}
		fill := strings.NewReplacer("{{message}}", message, "{{result}}", result)
		res.Text = fill.Replace(r.Reply)
		if r.Error != "" {
			return res, caxton.Errorf(kind(r.Error), "scripted_error", "the script says %s", r.Error)
		}
		for n, c := range r.ToolCalls {
			args, err := json.Marshal(filled(c.Arguments, fill))
			if err != nil || c.Arguments == nil {
				args = []byte("{}")
			}
			res.Stop = llm.StopTools
			res.ToolCalls = append(res.ToolCalls, llm.ToolCall{ID: "call_" + strconv.Itoa(len(req.Messages)) + "_" + strconv.Itoa(n), Name: c.Name, Arguments: args})
		}
		res.Usage = llm.EstimateUsage(req, res)
		return res, nil
	}
	return llm.Response{}, caxton.Errorf(caxton.NotFound, "script_silent", "no rule of the script fits the message").WithHint("add a rule without \"when\" at its end")
}

// filled returns arguments with the placeholders in their texts filled in.
func filled(v any, fill *strings.Replacer) any {
	switch v := v.(type) {
	case string:
		return fill.Replace(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = filled(v[i], fill)
		}
		return out
	case map[string]any:
		if v == nil {
			return nil
		}
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = filled(v[k], fill)
		}
		return out
	}
	return v
}

func (m *Model) fits(i int, message string, turn int, last llm.Message) bool {
	w := m.rules[i].When
	switch {
	case w.Contains != "" && !strings.Contains(strings.ToLower(message), strings.ToLower(w.Contains)),
		m.matches[i] != nil && !m.matches[i].MatchString(message),
		w.ToolResult != "" && (last.Role != llm.ToolRole || last.ToolName != w.ToolResult),
		w.ToolResult == "" && last.Role == llm.ToolRole && len(m.rules[i].ToolCalls) > 0, // do not ask for the same tool for ever
		w.Turn != 0 && w.Turn != turn:
		return false
	}
	return true
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	if d > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return llm.Ended(ctx, provider)
}
