package builtin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/builtin"
	"github.com/caxton/caxton/internal/llm/llmtest"
	"github.com/google/go-cmp/cmp"
)

func TestConformance(t *testing.T) { llmtest.TestModel(t, builtin.Model{}) }

func tools(names ...string) []llm.Tool {
	var ts []llm.Tool
	for _, n := range names {
		ts = append(ts, llm.Tool{Name: n, Parameters: json.RawMessage(`{"type":"object"}`)})
	}
	return ts
}

func user(text string) llm.Message { return llm.Message{Role: llm.User, Text: text} }

func generate(t *testing.T, req llm.Request) llm.Response {
	t.Helper()
	res, err := builtin.Model{}.Generate(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestPlan(t *testing.T) {
	all := []string{"http_client", "csv_parser", "calculator", "clock"}
	tests := []struct {
		name, text string
		tools      []string
		want       string // tool and arguments
	}{
		{"a URL", "Describe http://127.0.0.1:8000/a.csv, please.", all, `http_client {"url":"http://127.0.0.1:8000/a.csv"}`},
		{"a bare address", "Analyze the sales at example.com/data.csv", all, `http_client {"url":"https://example.com/data.csv"}`},
		{"a URL without the tool", "Describe http://x.test/a.csv", []string{"clock"}, ""},
		{"a table", "Look at this:\nname,age\nann,3\nbob,5\nThanks", all, `csv_parser {"data":"name,age\nann,3\nbob,5"}`},
		{"a sum", "how much is (2 + 3) * 4?", all, `calculator {"expression":"(2 + 3) * 4"}`},
		{"a date is no sum", "what happened on 2026-05-01", []string{"clock"}, ""},
		{"the time", "What time is it?", all, `clock {}`},
		{"a greeting", "Hello!", all, ""},
		{"a comma is no table", "Hello, there\nHow are you", all, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := generate(t, llm.Request{Messages: []llm.Message{user(tt.text)}, Tools: tools(tt.tools...)})
			got := ""
			for _, c := range res.ToolCalls {
				got += c.Name + " " + string(c.Arguments)
			}
			if got != tt.want {
				t.Errorf("calls %q, want %q", got, tt.want)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	got := builtin.URLs("See (https://a.test/x_(y)), b.test/z?q=1. And http://a.test/1; also v1.2/3 and mail@c.test, https://a.test/x_(y)!")
	want := []string{"https://a.test/x_(y)", "https://b.test/z?q=1", "http://a.test/1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("URLs (-want +got):\n%s", diff)
	}
}

func TestFetchThenParseThenAnswer(t *testing.T) {
	req := llm.Request{Tools: tools("http_client", "csv_parser"), Messages: []llm.Message{user("Analyze http://x.test/a.csv")}}
	res := generate(t, req)
	fetch := res.ToolCalls[0]
	req.Messages = append(req.Messages, llm.Message{Role: llm.Assistant, ToolCalls: res.ToolCalls},
		llm.Message{Role: llm.ToolRole, ToolCallID: fetch.ID, ToolName: "http_client", MediaType: "text/csv", Text: "200 OK\n\na,b\n1,2"})
	res = generate(t, req)
	if len(res.ToolCalls) != 1 || string(res.ToolCalls[0].Arguments) != `{"from":"`+fetch.ID+`"}` {
		t.Fatalf("calls %+v, want the parse of %s", res.ToolCalls, fetch.ID)
	}
	req.Messages = append(req.Messages, llm.Message{Role: llm.Assistant, ToolCalls: res.ToolCalls},
		llm.Message{Role: llm.ToolRole, ToolCallID: res.ToolCalls[0].ID, ToolName: "csv_parser", Text: "1 data rows, 2 columns\na: integer, min 1, mean 1, max 1"})
	res = generate(t, req)
	if len(res.ToolCalls) != 0 || !strings.Contains(res.Text, "http://x.test/a.csv") || !strings.Contains(res.Text, "mean 1") || !strings.HasSuffix(res.Text, builtin.Signature) {
		t.Errorf("answer %q", res.Text)
	}
}

func TestAnswersFromDocumentation(t *testing.T) {
	doc := llm.Document{Title: "Shop", Text: "# Shop\n\nThe shop sells bread and cheese. It opens at nine.\n\n- Delivery costs four euros.\n\n```\ncode\n```\n"}
	ask := func(text string) string {
		return generate(t, llm.Request{System: "SECRET RULE", Documents: []llm.Document{doc}, Messages: []llm.Message{user(text)}}).Text
	}
	if got := ask("What does delivery cost?"); !strings.HasPrefix(got, "Delivery costs four euros.") {
		t.Errorf("answer %q", got)
	}
	if got := ask("Hello!"); !strings.HasPrefix(got, "The shop sells bread and cheese. It opens at nine.") || strings.Contains(got, "SECRET") {
		t.Errorf("introduction %q", got)
	}
	failed := generate(t, llm.Request{Tools: tools("http_client"), Messages: []llm.Message{
		user("get http://x.test/"),
		{Role: llm.Assistant, ToolCalls: []llm.ToolCall{{ID: "1", Name: "http_client", Arguments: []byte(`{"url":"http://x.test/"}`)}}},
		{Role: llm.ToolRole, ToolCallID: "1", ToolName: "http_client", IsError: true, Text: "refused (allow it)"},
	}})
	if !strings.Contains(failed.Text, "refused (allow it)") {
		t.Errorf("answer after a failure %q", failed.Text)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("Hello", "doc. text")
	f.Add("a,b\n1,2\n", "| x | y |\n```\n")
	f.Fuzz(func(t *testing.T, text, doc string) {
		res, err := builtin.Model{}.Generate(t.Context(), llm.Request{
			Documents: []llm.Document{{Text: doc}}, Messages: []llm.Message{user(text)}, Tools: tools("http_client", "csv_parser", "calculator", "clock"),
		})
		if err != nil || res.Text == "" && len(res.ToolCalls) == 0 {
			t.Fatalf("Generate(%q): %+v, %v", text, res, err)
		}
		for _, c := range res.ToolCalls {
			if !json.Valid(c.Arguments) {
				t.Fatalf("arguments %q", c.Arguments)
			}
		}
	})
}

func TestStreamsSentences(t *testing.T) {
	req := llm.Request{
		Messages:  []llm.Message{{Role: llm.User, Text: "How do rivers and lakes differ?"}},
		Documents: []llm.Document{{Title: "Water", Text: "Rivers flow to the sea. Lakes do not flow. Rivers and lakes hold water!"}},
	}
	var h llmtest.Heard
	res, err := llm.Stream(t.Context(), builtin.Model{}, req, h.Emit)
	if err != nil || h.Pieces < 4 {
		t.Errorf("Stream = %+v, %v in %d pieces, want each sentence by itself", res, err, h.Pieces)
	}
	h.Check(t, res)
}
