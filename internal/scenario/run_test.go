package scenario_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/scenario"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage plays what the test says.
type stage func(ctx context.Context, s *scenario.Suite, c *scenario.Case) ([]scenario.Played, error)

func (f stage) Play(ctx context.Context, s *scenario.Suite, c *scenario.Case) ([]scenario.Played, error) {
	return f(ctx, s, c)
}

func reply(p caxton.Performative, content string) *caxton.Message {
	return &caxton.Message{Performative: p, Content: json.RawMessage(content)}
}

// report runs the cases of a test file whose turns all went like turns.
func report(t *testing.T, text string, turns ...scenario.Played) *scenario.Report {
	t.Helper()
	r, err := scenario.Run(t.Context(), []*scenario.Suite{parse(t, text)}, stage(
		func(context.Context, *scenario.Suite, *scenario.Case) ([]scenario.Played, error) { return turns, nil },
	), scenario.RunConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestExpectations holds each kind of expectation to a turn that it fits and one that it does
// not: a reply with a total of 42, after two calls of the calculator and one of the clock.
func TestExpectations(t *testing.T) {
	turn := scenario.Played{
		Reply:   reply(caxton.Inform, `"`+"```json\\n{\\\"total\\\": 42, \\\"items\\\": [{\\\"name\\\": \\\"a b\\\"}], \\\"none\\\": null}\\n```"+`"`),
		Outcome: caxton.OutcomeDone, ModelCalls: 3, InputTokens: 90, OutputTokens: 10, Duration: time.Second,
		Calls: []scenario.Called{
			{Tool: "calculator", Arguments: json.RawMessage(`{"expression":"6*7","digits":2,"more":{"a":1,"b":[1,2]}}`), Returned: true},
			{Tool: "clock", Arguments: json.RawMessage(`{}`), Returned: true, Failed: true},
			{Tool: "calculator", Arguments: json.RawMessage(`{"expression":"1"}`), Returned: true},
		},
	}
	tests := []struct {
		name   string
		expect string
		fails  string // the check that fails; "" for none
	}{
		{"nothing", "{}", ""},
		{"performative", "{performative: INFORM}", ""},
		{"another performative", "{performative: failure}", "performative"},
		{"no reply", "{no_reply: true}", "no_reply"},
		{"error code", "{error_code: model_timeout}", "error_code"},
		{"text", "{contains: ['42', total], not_contains: [43, error], matches: ['total\\W+42', '(?i)TOTAL']}", ""},
		{"text lacks", "{contains: ['42', nobody]}", "contains"},
		{"text has", "{not_contains: total}", "not_contains"},
		{"text does not fit", "{matches: '^total'}", "matches"},
		{"text is not", "{equals: '42'}", "equals"},
		{"text is not empty", "{equals: ''}", "equals"},
		{"content", "{content: [{path: .total, equals: 42.0}, {path: '$.items[0].name', equals: a b, contains: b, matches: ^a}, {path: '.items | length', equals: 1}]}", ""},
		{"content is a part", "{content: {path: ., equals: {total: 42}}}", "content"},
		{"content is all", "{content: {path: ., equals: {total: 42, items: [{name: a b}], none: ~}}}", ""},
		{"content is another", "{content: {path: .total, equals: '42'}}", "content"},
		{"content lacks", "{content: {path: .total, contains: 7}}", "content"},
		{"content does not fit", "{content: {path: .total, matches: ^7}}", "content"},
		{"content is there", "{content: [{path: .total, exists: true}, {path: .none, exists: false}, {path: .nothing, exists: false}, {path: '.items[1:][]', exists: false}]}", ""},
		{"content is missing", "{content: {path: .nothing, exists: true}}", "content"},
		{"content is not missing", "{content: {path: .total, exists: false}}", "content"},
		{"content of several", "{content: {path: '.total, .total', equals: 42}}", "content"},
		{"content of another form", "{content: {path: .total.more, equals: 42}}", "content"},
		{"content without end", "{content: {path: 'range(1e9)', equals: 42}}", "content"},
		{"tools", "{tools: [calculator, {name: clock, fails: true, times: 1}, {name: calculator, fails: false, times: 2}]}", ""},
		{"tool not called", "{tools: http_client}", "tools"},
		{"tool called more often", "{tools: {name: calculator, times: 1}}", "tools"},
		{"tool called at all", "{tools: {name: clock, times: 0}}", "tools"},
		{"tool does not fail", "{tools: {name: calculator, fails: true}}", "tools"},
		{"arguments", "{tools: {name: calculator, arguments: {digits: 2.0, more: {b: [1, 2]}}, times: 1}}", ""},
		{"arguments not given", "{tools: {name: calculator, arguments: {places: 2}}}", "tools"},
		{"arguments otherwise", "{tools: {name: calculator, arguments: {more: {b: [1]}}}}", "tools"},
		{"exact arguments", "{tools: [{name: calculator, arguments: {expression: '1'}, exact: true}, {name: clock, arguments: {}, exact: true}]}", ""},
		{"exact arguments and more", "{tools: {name: calculator, arguments: {expression: '6*7'}, exact: true}}", "tools"},
		{"in order", "{tools: [{name: calculator, arguments: {digits: 2}}, calculator], tools_in_order: true}", ""},
		{"in another order", "{tools: [{name: calculator, arguments: {expression: '1'}}, clock], tools_in_order: true}", "tools_in_order"},
		{"twice in order", "{tools: [clock, {name: calculator, times: 2}], tools_in_order: true}", "tools_in_order"},
		{"no others", "{tools: [calculator, clock], no_other_tools: true}", ""},
		{"others", "{tools: [calculator], no_other_tools: true}", "no_other_tools"},
		{"never", "{never_tools: [http_client]}", ""},
		{"never, but it was", "{never_tools: [http_client, clock]}", "never_tools"},
		{"limits", "{max_tool_calls: 3, max_model_calls: 3, max_tokens: 100, max_duration: 1s}", ""},
		{"tool calls", "{max_tool_calls: 2}", "max_tool_calls"},
		{"model calls", "{max_model_calls: 2}", "max_model_calls"},
		{"tokens", "{max_tokens: 99}", "max_tokens"},
		{"duration", "{max_duration: 999ms}", "max_duration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := "model: builtin\ncases:\n- name: one\n  input: Hi\n  expect: " + tt.expect + "\n"
			r := report(t, text, turn)
			got := r.Results[0]
			if tt.fails == "" {
				if got.Status != scenario.Passed || r.Passed != 1 || !r.OK() {
					t.Errorf("%s: %s", got.Status, strings.Join(got.Lines(), "\n"))
				}
				return
			}
			if got.Status != scenario.Failed || len(got.Failures) != 1 || got.Failures[0].Check != tt.fails || r.OK() {
				t.Fatalf("%s %s, want one failure of %s", got.Status, strings.Join(got.Lines(), "\n"), tt.fails)
			}
			if f := got.Failures[0]; f.At.Line != 5 || f.At.Column < 12 || f.Turn != 1 {
				t.Errorf("the failure is in turn %d at %v, not where the file expects", f.Turn, f.At)
			}
		})
	}
}

func TestFailureReplies(t *testing.T) {
	failure := scenario.Played{
		Reply: reply(caxton.Failure, `{"error":{"type":"x"}}`), Outcome: caxton.OutcomeFailed, Code: "x", Error: "it broke",
	}
	silent := scenario.Played{Outcome: caxton.OutcomeDone}
	tests := []struct {
		name, expect string
		turn         scenario.Played
		fails        []string
	}{
		{"unexpected", "{}", failure, []string{"reply"}},
		{"unexpected, and more", "{contains: Hello}", failure, []string{"reply", "contains"}},
		{"expected", "{performative: failure}", failure, nil},
		{"expected by its code", "{error_code: x}", failure, nil},
		{"expected by its content", "{error_code: x, content: {path: .error.type, equals: x}}", failure, nil},
		{"another code", "{error_code: y}", failure, []string{"error_code"}},
		{"silence", "{no_reply: true}", silent, nil},
		{"silence unexpected", "{performative: inform, contains: x, content: {path: .a, equals: 1}}", silent, []string{"performative", "reply", "content"}},
		{"silence, and no text", "{not_contains: x}", silent, []string{"reply"}},
		{"silence, and no pattern", "{matches: x}", silent, []string{"reply"}},
		{"silence, and no equal", "{equals: x}", silent, []string{"reply"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := report(t, "model: builtin\ncases:\n- name: one\n  input: Hi\n  expect: "+tt.expect+"\n", tt.turn)
			var got []string
			for _, f := range r.Results[0].Failures {
				got = append(got, f.Check)
			}
			if diff := cmp.Diff(tt.fails, got); diff != "" {
				t.Errorf("failures differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTurns holds that a turn is judged by its own expectation, and the case by the last
// reply and the sum of all turns.
func TestTurns(t *testing.T) {
	call := []scenario.Called{{Tool: "clock", Arguments: json.RawMessage("{}")}}
	first := scenario.Played{Reply: reply(caxton.Inform, `"one"`), Calls: call, ModelCalls: 2, InputTokens: 50, Duration: time.Second}
	last := scenario.Played{Reply: reply(caxton.Inform, `"two"`), Calls: call, ModelCalls: 1, OutputTokens: 60, Duration: time.Second}
	r := report(t, `
model: builtin
cases:
  - name: good
    turns:
      - {input: a, expect: {equals: one, max_tool_calls: 1, max_tokens: 50}}
      - {input: b, expect: {equals: two}}
    expect: {equals: two, tools: {name: clock, times: 2}, max_tokens: 110, max_duration: 2s, max_model_calls: 3}
  - name: bad
    turns:
      - {input: a, expect: {equals: two}}
      - {input: b, expect: {max_tool_calls: 0}}
    expect: {equals: one, max_tool_calls: 1}
`, first, last)
	if r.Passed != 1 || r.Failed != 1 {
		t.Errorf("%d passed, %d failed", r.Passed, r.Failed)
	}
	want := []string{
		"greeter.test.yaml:11:37: turn 1: equals: the text of the reply is another", "  want: two", "  got:  one",
		"greeter.test.yaml:12:45: turn 2: max_tool_calls: calls of tools: 1, and at most 0 are allowed", "  want: 0", "  got:  1",
		"greeter.test.yaml:13:22: equals: the text of the reply is another", "  want: one", "  got:  two",
		"greeter.test.yaml:13:43: max_tool_calls: calls of tools: 2, and at most 1 are allowed", "  want: 1", "  got:  2",
	}
	if diff := cmp.Diff(want, r.Results[1].Lines()); diff != "" {
		t.Errorf("Lines differ (-want +got):\n%s", diff)
	}
}

const four = `
model: builtin
cases:
  - {name: good, input: a}
  - {name: bad, input: b, expect: {contains: nothing}}
  - {name: broken, input: c}
  - {name: later, input: d, skip: not yet}
`

// byName fails the case named broken, and answers all others.
func byName(_ context.Context, _ *scenario.Suite, c *scenario.Case) ([]scenario.Played, error) {
	if c.Name == "broken" {
		e := caxton.Errorf(caxton.Invalid, "agent_invalid", "the agent is <wrong>").WithHint("mend it")
		e.Issues = []caxton.Issue{{Path: "greeter.md", Line: 3, Column: 1, Message: "no \x01 name"}}
		return nil, e
	}
	return []scenario.Played{{Reply: reply(caxton.Inform, `"<hello> & goodbye"`)}}, nil
}

func TestRun(t *testing.T) {
	var told atomic.Int32
	s := parse(t, four)
	r, err := scenario.Run(t.Context(), []*scenario.Suite{s, parse(t, four)}, stage(byName), scenario.RunConfig{
		Parallel: 3, Progress: func(r *scenario.Result) {
			if r.Status == "" {
				t.Errorf("told of %s before it was over", r.Case.Name)
			}
			told.Add(1)
		},
	})
	if err != nil || told.Load() != 8 {
		t.Fatalf("Run: %v, told of %d cases", err, told.Load())
	}
	if got := [...]int{r.Passed, r.Failed, r.Errored, r.Skipped}; got != [...]int{2, 2, 2, 2} || r.OK() {
		t.Errorf("passed, failed, errored, skipped = %v, OK %v", got, r.OK())
	}
	for i, name := range []string{"good", "bad", "broken", "later"} {
		if r.Results[i].Case.Name != name || r.Results[i].Suite != s || r.Results[i+4].Case.Name != name {
			t.Errorf("result %d is of %s", i, r.Results[i].Case.Name)
		}
	}
	only, err := scenario.Run(t.Context(), []*scenario.Suite{s}, stage(byName), scenario.RunConfig{Only: regexp.MustCompile("^greeter/goo")})
	if err != nil || len(only.Results) != 1 || !only.OK() {
		t.Errorf("Run only good: %+v, %v", only, err)
	}
	if _, err := scenario.Run(t.Context(), []*scenario.Suite{s}, stage(byName), scenario.RunConfig{Only: regexp.MustCompile("nobody")}); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("Run of no case: %v, want not found", err)
	}
}

// TestRunParallel holds that no more cases run at once than are asked for, and no fewer.
func TestRunParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		var text strings.Builder
		text.WriteString("model: builtin\ncases:\n")
		for i := range 9 {
			fmt.Fprintf(&text, "- {name: c%d, input: x}\n", i)
		}
		start := time.Now()
		_, err := scenario.Run(t.Context(), []*scenario.Suite{parse(t, text.String())}, stage(
			func(context.Context, *scenario.Suite, *scenario.Case) ([]scenario.Played, error) {
				most.Store(max(most.Load(), now.Add(1)))
				<-time.After(time.Second)
				now.Add(-1)
				return nil, nil
			}), scenario.RunConfig{Parallel: 3})
		if err != nil || most.Load() != 3 || time.Since(start) != 3*time.Second {
			t.Errorf("%d at once, %s, %v; want 3 in 3s", most.Load(), time.Since(start), err)
		}
	})
}

// TestRunTimeout holds that a case that takes too long fails, and that one cut off by the
// caller is an error.
func TestRunTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := stage(func(ctx context.Context, _ *scenario.Suite, _ *scenario.Case) ([]scenario.Played, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		s := []*scenario.Suite{parse(t, "model: builtin\ntimeout: 1m\ncases: [{name: short, input: x, timeout: 2s}, {name: long, input: x}]")}
		r, err := scenario.Run(t.Context(), s, slow, scenario.RunConfig{Parallel: 2})
		if err != nil || r.Failed != 2 || r.Results[0].Duration != 2*time.Second || r.Results[1].Duration != time.Minute ||
			r.Results[0].Failures[0].Check != "timeout" {
			t.Errorf("Run = %+v, %v", r, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err = scenario.Run(ctx, s, slow, scenario.RunConfig{Parallel: 2})
		if caxton.KindOf(err) != caxton.Canceled || r.Errored != 2 || !errors.Is(r.Results[0].Err, context.DeadlineExceeded) {
			t.Errorf("Run = %+v, %v, want canceled", r, err)
		}
	})
}

func TestJUnit(t *testing.T) {
	r, err := scenario.Run(t.Context(), []*scenario.Suite{parse(t, four), parse(t, "model: builtin\ncases: [{name: alone, input: x}]")}, stage(byName), scenario.RunConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r.Duration = 3 * time.Second
	for i := range r.Results {
		r.Results[i].Duration = time.Duration(i) * 100 * time.Millisecond
	}
	var got bytes.Buffer
	if err := r.WriteJUnit(&got); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "junit.xml")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("WriteJUnit differs (-want +got):\n%s", diff)
	}
	if err := r.WriteJUnit(fullDisk{}); err == nil {
		t.Error("WriteJUnit to a full disk: no error")
	}
}

// fullDisk is a disk without room.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestPlayedRead(t *testing.T) {
	body := func(kind caxton.RecordKind, v any) caxton.Record {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return caxton.Record{Kind: kind, Body: b}
	}
	var p scenario.Played
	err := p.Read([]caxton.Record{
		body(caxton.RecordMessage, caxton.MessageBody{}),
		body(caxton.RecordModelCalled, caxton.ModelCalledBody{InputTokens: 5, OutputTokens: 2}),
		body(caxton.RecordToolIntended, caxton.ToolIntendedBody{CallID: "1", Tool: "clock", Arguments: json.RawMessage(`{}`)}),
		body(caxton.RecordToolIntended, caxton.ToolIntendedBody{CallID: "2", Tool: "calculator", Arguments: json.RawMessage(`{"a":1}`)}),
		body(caxton.RecordToolReturned, caxton.ToolReturnedBody{CallID: "2", Text: "no", IsError: true}),
		body("a_later_kind", "text"),
		body(caxton.RecordModelCalled, caxton.ModelCalledBody{InputTokens: 7}),
		body(caxton.RecordSettled, caxton.SettledBody{Outcome: caxton.OutcomeFailed, Attempt: 2, Code: "x", Error: "why"}),
	})
	p.Records = nil
	want := scenario.Played{
		Outcome: caxton.OutcomeFailed, Code: "x", Error: "why", Attempts: 2, ModelCalls: 2, InputTokens: 12, OutputTokens: 2,
		Calls: []scenario.Called{
			{Tool: "clock", Arguments: json.RawMessage(`{}`)},
			{Tool: "calculator", Arguments: json.RawMessage(`{"a":1}`), Returned: true, Failed: true, Result: "no"},
		},
	}
	if diff := cmp.Diff(want, p); err != nil || diff != "" {
		t.Errorf("Read: %v (-want +got):\n%s", err, diff)
	}
	if err := p.Read([]caxton.Record{{Kind: caxton.RecordSettled, Body: json.RawMessage(`[`)}}); caxton.KindOf(err) != caxton.Internal {
		t.Errorf("Read of a broken record: %v, want internal", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"greeter.md", "greeter.test.yaml", "greeter.polite.test.yml", "greeter2.test.json", "greeter.script.yaml", "lonely.md", "none.test.txt",
		"sub/other.toml", "sub/OTHER.TEST.TOML", ".hidden/x.test.yaml",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		paths []string
		want  []string // nil for not found
	}{
		{"a test file", []string{"greeter.test.yaml"}, []string{"greeter.test.yaml"}},
		{"an agent", []string{"greeter.md"}, []string{"greeter.polite.test.yml", "greeter.test.yaml"}},
		{"a directory", []string{"."}, []string{"greeter.polite.test.yml", "greeter.test.yaml", "greeter2.test.json", "sub/OTHER.TEST.TOML"}},
		{"the same twice", []string{"greeter.md", "greeter.test.yaml"}, []string{"greeter.polite.test.yml", "greeter.test.yaml"}},
		{"an agent without tests", []string{"greeter.md", "lonely.md"}, nil},
		{"nothing there", []string{"nobody"}, nil},
		{"a hidden directory, named", []string{".hidden"}, []string{".hidden/x.test.yaml"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var paths []string
			for _, p := range tt.paths {
				paths = append(paths, filepath.Join(dir, p))
			}
			got, err := scenario.Find(paths...)
			if tt.want == nil {
				if caxton.KindOf(err) != caxton.NotFound {
					t.Errorf("Find = %v, %v, want not found", got, err)
				}
				return
			}
			for i := range got {
				got[i], _ = filepath.Rel(dir, got[i])
				got[i] = filepath.ToSlash(got[i])
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("Find = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	for _, tt := range []struct{ path, agent, want string }{
		{"greeter.test.yaml", "", "greeter.md"},
		{"greeter.polite.test.yml", "", "greeter.md"},
		{"greeter2.test.json", "", ""},
		{"sub/OTHER.TEST.TOML", "../greeter.md", "greeter.md"},
		{"sub/x.test.toml", "other.toml", "sub/other.toml"},
		{"greeter.test.yaml", "nobody.md", ""},
		{"free.yaml", "", ""},
	} {
		s := &scenario.Suite{Path: filepath.Join(dir, tt.path), Agent: scenario.Placed[string]{Value: tt.agent}}
		got, err := s.AgentFile()
		if rel, _ := filepath.Rel(dir, got); tt.want != "" && (err != nil || filepath.ToSlash(rel) != tt.want) || tt.want == "" && caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("AgentFile of %s with %q = %s, %v, want %s", tt.path, tt.agent, rel, err, tt.want)
		}
	}
}

// TestPlayedCallsThatDidNotRun reads a turn that ended before one of its calls was made.
func TestPlayedCallsThatDidNotRun(t *testing.T) {
	t.Parallel()
	intended := caxton.Record{Kind: caxton.RecordToolIntended, Body: json.RawMessage(`{"call_id":"1","tool":"pay","arguments":{}}`)}
	returned := func(body string) caxton.Record {
		return caxton.Record{Kind: caxton.RecordToolReturned, Body: json.RawMessage(body)}
	}
	notRun, ran := returned(`{"call_id":"1","tool":"pay","text":"","is_error":true,"not_run":true}`), returned(`{"call_id":"1","tool":"pay","text":"paid"}`)
	for name, tt := range map[string]struct {
		records []caxton.Record
		want    int
	}{
		"not made":          {[]caxton.Record{intended, notRun}, 0},
		"made by a later":   {[]caxton.Record{intended, notRun, intended, ran}, 1},
		"made by the first": {[]caxton.Record{intended, ran}, 1},
	} {
		var p scenario.Played
		if err := p.Read(tt.records); err != nil || len(p.Calls) != tt.want {
			t.Errorf("%s: Read: %d calls, %v, want %d", name, len(p.Calls), err, tt.want)
		}
	}
}
