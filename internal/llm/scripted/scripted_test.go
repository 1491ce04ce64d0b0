package scripted_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/llmtest"
	"github.com/caxton/caxton/internal/llm/scripted"
)

const script = `rules:
  - when: {contains: weather}
    tool_calls:
      - name: http_client
        arguments: {url: "http://x.test/w"}
  - when: {tool_result: http_client}
    reply: "The page says {{result}}"
  - when: {matches: "^fail"}
    error: unavailable
  - when: {contains: slow}
    delay: 1h
    reply: late
  - reply: "You said {{message}}"
`

func load(t *testing.T, text string) (*scripted.Model, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return scripted.Load(path)
}

func TestConformance(t *testing.T) {
	m, err := load(t, script)
	if err != nil {
		t.Fatal(err)
	}
	llmtest.TestModel(t, m)
}

func TestRules(t *testing.T) {
	m, err := load(t, script)
	if err != nil {
		t.Fatal(err)
	}
	say := func(text string) llm.Request {
		return llm.Request{Messages: []llm.Message{{Role: llm.User, Text: text}}}
	}
	if res, err := m.Generate(t.Context(), say("hello")); err != nil || res.Text != "You said hello" {
		t.Errorf("%+v, %v", res, err)
	}
	req := say("the Weather please")
	res, err := m.Generate(t.Context(), req)
	if err != nil || len(res.ToolCalls) != 1 || string(res.ToolCalls[0].Arguments) != `{"url":"http://x.test/w"}` {
		t.Fatalf("%+v, %v", res, err)
	}
	req.Messages = append(req.Messages, llm.Message{Role: llm.Assistant, ToolCalls: res.ToolCalls},
		llm.Message{Role: llm.ToolRole, ToolCallID: res.ToolCalls[0].ID, ToolName: "http_client", Text: "rain"})
	if res, err = m.Generate(t.Context(), req); err != nil || res.Text != "The page says rain" {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := m.Generate(t.Context(), say("fail now")); caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("%v, want unavailable", err)
	}
	empty, err := scripted.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := empty.Generate(t.Context(), say("x")); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("%v, want not found", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"rules:\n  - replly: x\n":                        "2:5",
		"rules:\n  - when: {contains: x}\n":              "rule 1",
		"rules:\n  - when: {matches: '('}\n    reply: x": "expression",
		"rules:\n  - error: sad\n":                       "sad",
		"rules: [":                                       ":1:",
	} {
		_, err := load(t, text)
		if caxton.KindOf(err) != caxton.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%q) = %v, want an invalid error with %q", text, err, want)
		}
	}
	if _, err := scripted.Load(filepath.Join(t.TempDir(), "no")); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("Load of a missing file: %v", err)
	}
}

func TestOpen(t *testing.T) {
	for name, want := range map[string]string{"a.yaml": "script", "a.json": "script", "a.jsonl": "cassette", "A.JSONL": "cassette"} {
		path := filepath.Join(t.TempDir(), name)
		text := `{"cassette":1}`
		if want == "script" {
			text = `{"rules":[{"reply":"hi"}]}`
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := scripted.Open(path); err != nil || m.Info().Model != want {
			t.Errorf("Open(%s) = %v, %v, want a %s", name, m, err, want)
		}
	}
	for _, name := range []string{"no.yaml", "no.jsonl"} {
		if m, err := scripted.Open(name); caxton.KindOf(err) != caxton.NotFound {
			t.Errorf("Open of a missing file: %v, %v", m, err)
		}
	}
}

func TestStream(t *testing.T) {
	m, err := load(t, `rules:
  - when: {contains: break}
    reply: "This will not end"
    error: unavailable
  - when: {contains: weather}
    reply: Let me look.
    tool_calls: [{name: http_client}, {name: clock}]
  - reply: " Two  words\nand more "
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		say    string
		kind   caxton.Kind
		pieces int
	}{{"break", caxton.Unavailable, 4}, {"weather", "", 3}, {"hello", "", 4}} {
		var h llmtest.Heard
		res, err := llm.Stream(t.Context(), m, ask(tt.say), h.Emit)
		if caxton.KindOf(err) != tt.kind || h.Pieces != tt.pieces {
			t.Errorf("%s: %v after %d pieces, want %q after %d", tt.say, err, h.Pieces, tt.kind, tt.pieces)
		}
		if err == nil {
			h.Check(t, res)
		} else if _, err := m.Generate(t.Context(), ask(tt.say)); caxton.KindOf(err) != tt.kind || res.Text != "" {
			t.Errorf("%s: %+v, generated %v", tt.say, res, err)
		}
	}
}

func TestArgumentsAreFilledIn(t *testing.T) {
	m, err := scripted.New([]scripted.Rule{{ToolCalls: []scripted.ToolCall{{
		Name: "post", Arguments: map[string]any{"body": "say {{message}}", "list": []any{map[string]any{"x": "{{message}}"}, 1}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := m.Generate(t.Context(), llm.Request{Messages: []llm.Message{{Role: llm.User, Text: `a "b"`}}})
	if want := `{"body":"say a \"b\"","list":[{"x":"a \"b\""},1]}`; err != nil || string(res.ToolCalls[0].Arguments) != want {
		t.Errorf("%s, %v, want %s", res.ToolCalls[0].Arguments, err, want)
	}
}
