package scripted_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/llmtest"
	"github.com/caxton/caxton/internal/llm/scripted"
	"github.com/google/go-cmp/cmp"
)

// A fake answers with what it is told to, in order.
type fake struct {
	mu      sync.Mutex
	answers []answer
}

type answer struct {
	res llm.Response
	err error
}

func (*fake) Info() llm.Info { return llm.Info{Provider: "fake", Model: "fake-1"} }

func (f *fake) Generate(ctx context.Context, _ llm.Request) (llm.Response, error) {
	if err := ctx.Err(); err != nil {
		return llm.Response{}, caxton.Errorf(caxton.Canceled, "canceled", "the caller left").WithCause(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.answers[0]
	f.answers = f.answers[1:]
	return a.res, a.err
}

func says(text string) answer {
	return answer{res: llm.Response{
		Text: text, Stop: llm.StopEnd, Provider: "fake", Model: "fake-1", Usage: llm.Usage{InputTokens: 3, OutputTokens: 2},
	}}
}

func ask(text string) llm.Request {
	return llm.Request{System: "Be kind.", Messages: []llm.Message{{Role: llm.User, Text: text}}}
}

// record returns the cassette, as a file's text, of the requests with their answers.
func record(t *testing.T, reqs []llm.Request, answers ...answer) string {
	t.Helper()
	var b bytes.Buffer
	r := scripted.NewRecorder(&fake{answers: answers}, &b)
	for i, req := range reqs {
		if res, err := r.Generate(t.Context(), req); !errors.Is(err, answers[i].err) || !reflect.DeepEqual(res, answers[i].res) {
			t.Fatalf("Recorder.Generate = %+v, %v, want %+v", res, err, answers[i])
		}
	}
	return b.String()
}

func loadCassette(t *testing.T, text string) *scripted.Cassette {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := scripted.LoadCassette(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCassetteConformance(t *testing.T) {
	// What the suite asks for is learnt by letting it ask a recorder first.
	var b bytes.Buffer
	m, err := scripted.New([]scripted.Rule{{Reply: "hello to you"}})
	if err != nil {
		t.Fatal(err)
	}
	llmtest.TestModel(t, scripted.NewRecorder(m, &b))
	llmtest.TestModel(t, loadCassette(t, b.String()))
}

func TestCassetteReplays(t *testing.T) {
	down := caxton.Errorf(caxton.Unavailable, "model_unavailable", "fake is out of order").WithHint("wait").WithCause(errors.New("secret"))
	tools := answer{res: llm.Response{
		Text: "Let me look <there> & then…", Stop: llm.StopTools, Provider: "fake", Model: "fake-1", Usage: llm.Usage{InputTokens: 9, OutputTokens: 8, Estimated: true},
		ToolCalls: []llm.ToolCall{
			{ID: "a", Name: "clock", Arguments: json.RawMessage(`{"zone":"UTC"}`)},
			{ID: "b", Name: "clock", Arguments: json.RawMessage(`{"zone":`)},
			{ID: "c", Name: "clock"},
		},
	}}
	text := record(t, []llm.Request{ask("one"), ask("two"), ask("one"), ask("three")}, says("first"), tools, says("second"), answer{err: down})
	if strings.Contains(text, "secret") {
		t.Errorf("the cause of an error is on the cassette:\n%s", text)
	}
	c := loadCassette(t, text)
	steps := []struct {
		name, ask string
		want      llm.Response
		err       string // the error's code
	}{
		{"the last first", "three", llm.Response{}, "model_unavailable"},
		{"tool calls, one that is no JSON", "two", tools.res, ""},
		{"the first of two", "one", says("first").res, ""},
		{"the second of two", "one", says("second").res, ""},
		{"the last stays", "one", says("second").res, ""},
	}
	for _, s := range steps {
		res, err := c.Generate(t.Context(), ask(s.ask))
		if d := cmp.Diff(s.want, res); d != "" {
			t.Errorf("%s: (-want +got)\n%s", s.name, d)
		}
		var e *caxton.Error
		if errors.As(err, &e); s.err == "" && err != nil || s.err != "" && (e == nil || e.Code != s.err || e.Kind != caxton.Unavailable || e.Message != down.Message || e.Hint != "wait") {
			t.Errorf("%s: %#v, want code %q", s.name, err, s.err)
		}
	}
}

func TestCassetteForgivesSpace(t *testing.T) {
	req := ask("hi")
	req.Tools = []llm.Tool{{Name: "clock", Parameters: json.RawMessage(`{"type": "object"}`)}}
	c := loadCassette(t, record(t, []llm.Request{req}, says("ho")))
	req.Tools[0].Parameters = json.RawMessage("{\n\"type\":\"object\"}")
	if _, err := c.Generate(t.Context(), req); err != nil {
		t.Errorf("white space in a schema matters: %v", err)
	}
}

func TestCassetteSaysWhatDiffers(t *testing.T) {
	long := strings.Repeat("x", 500)
	full := ask("How is the weather?")
	full.Tools = []llm.Tool{{Name: "clock", Description: "tells the time"}}
	full.Documents = []llm.Document{{Title: "T", Text: long}}
	c := loadCassette(t, record(t, []llm.Request{ask("quite another"), full}, says("a"), says("b")))
	tests := []struct {
		name   string
		change func(*llm.Request)
		want   []string
	}{
		{"another word", func(r *llm.Request) { r.Messages[0].Text = "How was the weather?" }, []string{"call 2 of 2", `message 1 (now "How was the weather?", then "How is the weather?")`}},
		{"a tool more", func(r *llm.Request) { r.Tools = append(r.Tools, llm.Tool{Name: "calculator"}) }, []string{`tool 2 (now "calculator", then none)`}},
		{"a tool less", func(r *llm.Request) { r.Tools = nil }, []string{`tool 1 (now none, then "clock")`, "tool 1 description"}},
		{"the end of a long text", func(r *llm.Request) { r.Documents[0].Text = long + "y" }, []string{"document 1 (after its first 400 characters)"}},
		{"the middle of a text", func(r *llm.Request) { r.Documents[0].Text = long[:300] + "é" + long }, []string{"document 1 (now \"…" + strings.Repeat("x", 20) + "é"}},
		{"another temperature", func(r *llm.Request) { f := 0.5; r.Temperature = &f }, []string{`temperature (now "0.5", then none)`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := full
			req.Messages = append([]llm.Message{}, full.Messages...)
			req.Documents = append([]llm.Document{}, full.Documents...)
			tt.change(&req)
			_, err := c.Generate(t.Context(), req)
			if caxton.KindOf(err) != caxton.NotFound {
				t.Fatalf("Generate = %v, want not found", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q, want %q in it", err, w)
				}
			}
		})
	}
	empty := loadCassette(t, `{"cassette":1}`)
	if _, err := empty.Generate(t.Context(), full); caxton.KindOf(err) != caxton.NotFound || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty cassette: %v", err)
	}
}

// TestCassetteSeesEveryField changes every field of a request, so that a new one cannot be
// forgotten.
func TestCassetteSeesEveryField(t *testing.T) {
	base := ask("hi")
	base.Messages[0].ToolCalls = []llm.ToolCall{{}}
	base.Documents, base.Tools = []llm.Document{{}}, []llm.Tool{{}}
	c := loadCassette(t, record(t, []llm.Request{base}, says("ho")))
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		old := reflect.ValueOf(v.Interface())
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
			return
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Struct {
				walk(v.Index(0), path+"[0]")
				return
			}
			v.Set(reflect.ValueOf(json.RawMessage(`{"a":1}`)))
		case reflect.String:
			v.SetString("changed")
		case reflect.Int:
			v.SetInt(7)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Pointer:
			f := 0.25
			v.Set(reflect.ValueOf(&f))
		default:
			t.Fatalf("%s has a kind that the test does not know: %s", path, v.Kind())
		}
		if _, err := c.Generate(t.Context(), base); caxton.KindOf(err) != caxton.NotFound {
			t.Errorf("a request with another %s is taken for the same (%v)", path, err)
		}
		v.Set(old)
	}
	walk(reflect.ValueOf(&base).Elem(), "Request")
	if _, err := c.Generate(t.Context(), base); err != nil {
		t.Errorf("the request itself: %v", err)
	}
}

func TestCassetteManyAtOnce(t *testing.T) {
	var b bytes.Buffer
	f := &fake{}
	for range 50 {
		f.answers = append(f.answers, says("x"))
	}
	r := scripted.NewRecorder(f, &b)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := r.Generate(t.Context(), ask("hi")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := strings.Count(b.String(), "\n"); n != 51 {
		t.Errorf("%d lines, want a header and 50 calls", n)
	}
	c := loadCassette(t, b.String())
	for range 50 {
		wg.Go(func() {
			if _, err := c.Generate(t.Context(), ask("hi")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestRecorderLeavesOutCallersWhoLeave(t *testing.T) {
	var b bytes.Buffer
	r := scripted.NewRecorder(&fake{}, &b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Generate(ctx, ask("hi")); caxton.KindOf(err) != caxton.Canceled || b.Len() > 0 {
		t.Errorf("Generate = %v, recorded %q", err, b.String())
	}
}

// A full writer takes n writes and then no more.
type full struct{ n int }

func (f *full) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestRecorderCannotWrite(t *testing.T) {
	r := scripted.NewRecorder(&fake{answers: []answer{says("a"), says("b"), says("c")}}, &full{1})
	for i, want := range []caxton.Kind{"", caxton.Internal, caxton.Internal} {
		if _, err := r.Generate(t.Context(), ask("hi")); caxton.KindOf(err) != want {
			t.Errorf("call %d: %v, want %q", i+1, err, want)
		}
	}
}

func TestParseCassetteRefuses(t *testing.T) {
	h := strings.Repeat("0a", 32)
	head := `{"cassette":1}` + "\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", []string{"f:1:1", "empty"}},
		{"no header", `{"hash":"` + h + `"}`, []string{"f:1:1", "header"}},
		{"no JSON", "rules:\n- reply: x\n", []string{"f:1:1", "header"}},
		{"a later version", `{"cassette":2,"new":true}` + "\n{}\n", []string{"version 2"}},
		{"an unknown key in the header", `{"cassette":1,"modle":"x"}`, []string{"modle"}},
		{"a line that breaks off", head + `{"hash":"` + h + `","respo`, []string{"f:2:1", "breaks off"}},
		{"two values on a line", head + `{"hash":"` + h + `","response":{"stop":"end"}} {}`, []string{"more than one"}},
		{"an unknown key", head + `{"hash":"` + h + `","respnse":{}}`, []string{"respnse"}},
		{"no answer", head + `{"hash":"` + h + `"}`, []string{"neither"}},
		{"two answers", head + `{"hash":"` + h + `","response":{"stop":"end"},"error":{"kind":"timeout"}}`, []string{"both"}},
		{"a hash that is none", head + `{"hash":"xyz","response":{"stop":"end"}}`, []string{`"xyz"`}},
		{"an unknown stop", head + `{"hash":"` + h + `","response":{"stop":"bored"}}`, []string{`"bored"`}},
		{"an unknown kind", head + `{"hash":"` + h + `","error":{"kind":"sad"}}`, []string{`"sad"`}},
		{"negative tokens", head + `{"hash":"` + h + `","response":{"stop":"end","input_tokens":-1}}`, []string{"negative"}},
		{"every fault", head + "\n{}\n[]\n", []string{"f:3:1", "f:4:1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := scripted.ParseCassette("f", []byte(tt.text))
			if caxton.KindOf(err) != caxton.Invalid {
				t.Fatalf("ParseCassette: %v, want an invalid error", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q, want %q in it", err, w)
				}
			}
		})
	}
	if _, err := scripted.LoadCassette(filepath.Join(t.TempDir(), "no.jsonl")); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("LoadCassette of a missing file: %v", err)
	}
}

func FuzzParseCassette(f *testing.F) {
	h := strings.Repeat("0a", 32)
	f.Add([]byte("{\"cassette\":1,\"provider\":\"p\",\"model\":\"m\"}\n{\"hash\":\"" + h + "\",\"request\":[{\"part\":\"model\",\"text\":\"m\"}],\"response\":{\"text\":\"t\",\"stop\":\"tools\",\"tool_calls\":[{\"id\":\"a\",\"name\":\"n\",\"raw_arguments\":\"{\"}]}}\r\n"))
	f.Add([]byte("{\"cassette\":1}\n{\"hash\":\"" + h + "\",\"error\":{\"kind\":\"timeout\",\"message\":\"m\"}}"))
	f.Add([]byte("{\"cassette\":9}\n"))
	f.Add([]byte("\n\n[]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := scripted.ParseCassette("f", text)
		if err != nil {
			if c != nil || caxton.KindOf(err) != caxton.Invalid {
				t.Errorf("ParseCassette = %v, %v", c, err)
			}
			return
		}
		if _, err := c.Generate(t.Context(), ask("hi")); caxton.KindOf(err) == caxton.Internal {
			t.Errorf("Generate: %v", err)
		}
	})
}

// TestCassetteVersion1 holds the reader to a file as version 1 wrote it.
func TestCassetteVersion1(t *testing.T) {
	c, err := scripted.LoadCassette(filepath.Join("testdata", "v1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	req := ask("What time is it?")
	req.Documents = []llm.Document{{Title: "Clocks", Text: strings.Repeat("tick tock ", 50)}}
	req.Tools = []llm.Tool{{Name: "clock", Description: "tells the time", Parameters: json.RawMessage(`{"type":"object"}`)}}
	req.MaxTokens = 100
	res, err := c.Generate(t.Context(), req)
	if err != nil || len(res.ToolCalls) != 1 || res.ToolCalls[0].Name != "clock" {
		t.Fatalf("Generate = %+v, %v", res, err)
	}
	req.Messages = append(req.Messages, llm.Message{Role: llm.Assistant, ToolCalls: res.ToolCalls},
		llm.Message{Role: llm.ToolRole, ToolCallID: res.ToolCalls[0].ID, ToolName: "clock", Text: "noon"})
	if res, err := c.Generate(t.Context(), req); err != nil || res.Text != "It is noon." {
		t.Errorf("Generate = %+v, %v", res, err)
	}
	var b bytes.Buffer
	again := scripted.NewRecorder(c, &b)
	req.Messages = req.Messages[:1]
	if _, err := again.Generate(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "v1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "\n")
	if !strings.Contains(string(want), got) {
		t.Errorf("version 1 is written differently now: %s", got)
	}
}
