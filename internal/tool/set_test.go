package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/tooltest"
)

// A fake is a tool whose behaviour a test gives.
type fake struct {
	spec tool.Spec
	call func(ctx context.Context, call tool.Call) (tool.Result, error)
}

func (f fake) Spec() tool.Spec { return f.spec }

func (f fake) Call(ctx context.Context, call tool.Call) (tool.Result, error) {
	if f.call == nil {
		return tool.Result{Text: "done with " + string(call.Args)}, nil
	}
	return f.call(ctx, call)
}

const schema = `{
	"type": "object",
	"properties": {
		"city":  {"type": "string", "minLength": 1, "description": "The city."},
		"days":  {"type": "integer", "minimum": 1, "maximum": 14, "description": "How many."},
		"units": {"enum": ["metric", "imperial"], "description": "Which units."},
		"tags":  {"type": "array", "items": {"type": "string"}, "description": "Any."},
		"from":  {"type": ["null", "string"], "description": "An earlier call."}
	},
	"required": ["city"],
	"additionalProperties": false
}`

func named(name string) fake {
	return fake{spec: tool.Spec{Name: name, Description: "A tool for the tests of this package.", Parameters: json.RawMessage(schema), Idempotent: true, Source: "test"}}
}

func newSet(t *testing.T, permitted []string, tools ...tool.Tool) *tool.Set {
	t.Helper()
	s, err := tool.NewSet(permitted, tools...)
	if err != nil {
		t.Fatalf("NewSet failed: %v", err)
	}
	return s
}

func names(specs []tool.Spec) string {
	all := make([]string, 0, len(specs))
	for _, s := range specs {
		all = append(all, s.Name)
	}
	return strings.Join(all, " ")
}

func TestConformance(t *testing.T) {
	tooltest.TestTool(t, named("weather"), json.RawMessage(`{"city":"Oslo"}`), nil)
}

func TestNewSetRefuses(t *testing.T) {
	broken := named("broken")
	broken.spec.Parameters = json.RawMessage(`{"type":"object","properties":{"a":{"pattern":"("}}}`)
	list := named("list")
	list.spec.Parameters = json.RawMessage(`{"type":"array"}`)
	garbage := named("garbage")
	garbage.spec.Parameters = json.RawMessage(`{`)
	tests := []struct {
		name      string
		permitted []string
		tools     []tool.Tool
		kind      caxton.Kind
		code      string
	}{
		{"two of one name", nil, []tool.Tool{named("a"), named("a")}, caxton.Invalid, "tool_duplicate"},
		{"a name with a hyphen", nil, []tool.Tool{named("http-client")}, caxton.Invalid, "tool_name_invalid"},
		{"no name", nil, []tool.Tool{named("")}, caxton.Invalid, "tool_name_invalid"},
		{"a bad pattern in the schema", nil, []tool.Tool{broken}, caxton.Invalid, "tool_schema_invalid"},
		{"a schema of a list", nil, []tool.Tool{list}, caxton.Invalid, "tool_schema_invalid"},
		{"a schema that is not JSON", nil, []tool.Tool{garbage}, caxton.Invalid, "tool_schema_invalid"},
		{"permitted but not there", []string{"wether"}, []tool.Tool{named("weather")}, caxton.Invalid, "tool_not_found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tool.NewSet(tt.permitted, tt.tools...)
			e := tooltest.ErrorOf(t, err)
			if e.Kind != tt.kind || e.Code != tt.code {
				t.Errorf("NewSet: %s %s (%v), want %s %s", e.Kind, e.Code, err, tt.kind, tt.code)
			}
		})
	}
}

func TestSetPolicy(t *testing.T) {
	tools := []tool.Tool{named("weather"), named("clock"), named("http_client")}
	tests := []struct {
		name      string
		permitted []string
		want      string
	}{
		{"nil permits all", nil, "clock http_client weather"},
		{"an empty list permits none", []string{}, ""},
		{"a list permits what it names", []string{"weather", "clock"}, "clock weather"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSet(t, tt.permitted, tools...)
			if got := names(s.All()); got != tt.want {
				t.Errorf("All() = %q, want %q", got, tt.want)
			}
			for _, name := range []string{"weather", "clock", "http_client"} {
				permitted := strings.Contains(tt.want, name)
				if known, p := s.Known(name); !known || p != permitted {
					t.Errorf("Known(%s) = %t, %t, want true, %t", name, known, p, permitted)
				}
				if _, ok := s.Get(name); ok != permitted {
					t.Errorf("Get(%s) found %t, want %t", name, ok, permitted)
				}
				_, err := s.Run(t.Context(), name, tool.Call{Args: json.RawMessage(`{"city":"Oslo"}`)})
				if forbidden := caxton.KindOf(err) == caxton.Forbidden; forbidden == permitted {
					t.Errorf("Run(%s): %v, permitted %t", name, err, permitted)
				}
			}
		})
	}
	s := newSet(t, nil, tools...)
	if known, permitted := s.Known("no"); known || permitted {
		t.Errorf("Known(no) = %t, %t, want false, false", known, permitted)
	}
	if got := s.Nearest("htp_client"); got != "http_client" {
		t.Errorf("Nearest(htp_client) = %q, want http_client", got)
	}
	if _, err := s.Run(t.Context(), "htp_client", tool.Call{}); !strings.Contains(tooltest.ErrorOf(t, err).Hint, "http_client") {
		t.Errorf("Run of a misspelt tool: hint %q does not name http_client", tooltest.ErrorOf(t, err).Hint)
	}
}

func TestGranted(t *testing.T) {
	var got tool.Call
	spy := named("weather")
	spy.call = func(_ context.Context, call tool.Call) (tool.Result, error) {
		got = call
		return tool.Result{Text: "sunny"}, nil
	}
	s := newSet(t, []string{"weather", "clock"}, spy, named("clock"), named("http_client"))
	grant := caxton.ToolGrant{Name: "weather", AllowedHosts: []string{"example.com"}}
	def := &caxton.Definition{
		Name:       "Forecaster",
		Tools:      []caxton.ToolGrant{grant, {Name: "http_client"}, {Name: "imaginary"}, {Name: "weather"}},
		ToolConfig: map[string]map[string]any{"weather": {"timeout": "10s"}},
	}
	g := s.For(def)
	if got := names(g.Specs()); got != "weather" {
		t.Fatalf("Specs() = %q, want weather", got)
	}

	call := tool.Call{ID: "c1", Args: json.RawMessage(`{"city":"Oslo"}`), Key: "k", Config: map[string]any{"timeout": "1ns"}}
	res, err := g.Call(t.Context(), "weather", call)
	if err != nil || res.Text != "sunny" {
		t.Fatalf("Call(weather) = %q, %v, want sunny", res.Text, err)
	}
	want := tool.Call{ID: "c1", Args: json.RawMessage(`{"city":"Oslo"}`), Key: "k", Config: map[string]any{"timeout": "10s"}, Grant: grant}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(caxton.Capability{})); diff != "" {
		t.Errorf("the tool got another call (-want +got):\n%s", diff)
	}

	for name, why := range map[string]string{
		"clock":       "not among the tools of this agent",
		"http_client": "not permitted on this server",
		"imaginary":   "does not exist",
	} {
		_, err := g.Call(t.Context(), name, call)
		e := tooltest.ErrorOf(t, err)
		if e.Kind != caxton.Forbidden || e.Code != "tool_not_allowed" || !strings.Contains(e.Message, why) || !strings.Contains(e.Message, "allowed are: weather") {
			t.Errorf("Call(%s): %s %s: %s; want forbidden tool_not_allowed, %q and what is allowed", name, e.Kind, e.Code, e.Message, why)
		}
	}
	if !g.IdempotentCall("weather", nil) || !g.IdempotentCall("imaginary", nil) {
		t.Error("IdempotentCall is false for an idempotent tool or for one that never runs")
	}
}

func TestArguments(t *testing.T) {
	s := newSet(t, nil, named("weather"))
	tests := []struct {
		name, args string
		kind       caxton.Kind
		want       []string // parts of the message
	}{
		{"all there", `{"city":"Oslo","days":3,"units":"metric","tags":["a"]}`, "", nil},
		{"a whole number with a point", `{"city":"Oslo","days":3.0}`, "", nil},
		{"null where it is one of the types", `{"city":"Oslo","from":null}`, "", nil},
		{"cut off", `{"city":"Os`, caxton.Malformed, []string{"not valid JSON", "byte"}},
		{"two objects", `{"city":"Oslo"}{}`, caxton.Malformed, []string{"not valid JSON"}},
		{"a list", `["Oslo"]`, caxton.Malformed, []string{"an array, not an object"}},
		{"a number", `7`, caxton.Malformed, []string{"the number 7"}},
		{"nothing", ``, caxton.Invalid, []string{`"city" is missing`}},
		{"null", `null`, caxton.Invalid, []string{`"city" is missing`}},
		{"a misspelt parameter", `{"ctiy":"Oslo"}`, caxton.Invalid, []string{`"city" is missing`, `"ctiy" is not a parameter`, `did you mean "city"`}},
		{"another type", `{"city":"Oslo","days":"three"}`, caxton.Invalid, []string{`"days" must be of type integer, not the string "three"`}},
		{"a fraction", `{"city":"Oslo","days":1.5}`, caxton.Invalid, []string{`"days" must be of type integer`}},
		{"too small", `{"city":"Oslo","days":0}`, caxton.Invalid, []string{`"days" must be at least 1`}},
		{"too big", `{"city":"Oslo","days":15}`, caxton.Invalid, []string{`"days" must be at most 14`}},
		{"not a choice", `{"city":"Oslo","units":"kelvin"}`, caxton.Invalid, []string{`"units" must be one of "metric", "imperial"`, `"kelvin"`}},
		{"an object for a choice", `{"city":"Oslo","units":{"a":[]}}`, caxton.Invalid, []string{`"units" must be one of`, "an object"}},
		{"empty", `{"city":""}`, caxton.Invalid, []string{`"city" must not be empty`}},
		{"a wrong element", `{"city":"Oslo","tags":[1]}`, caxton.Invalid, []string{`"tags" is wrong`, "string"}},
		{"several faults", `{"days":0,"units":1}`, caxton.Invalid, []string{`"city" is missing`, `"days"`, `"units"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Run(t.Context(), "weather", tool.Call{Args: json.RawMessage(tt.args)})
			if kind := caxton.KindOf(err); kind != tt.kind {
				t.Fatalf("Run(%s): kind %q (%v), want %q", tt.args, kind, err, tt.kind)
			}
			for _, part := range tt.want {
				if msg := tooltest.ErrorOf(t, err).Message; !strings.Contains(msg, part) {
					t.Errorf("Run(%s): message %q lacks %q", tt.args, msg, part)
				}
			}
		})
	}
}

func TestArgumentsOfForeignSchemas(t *testing.T) {
	tests := []struct {
		name, schema, args string
		kind               caxton.Kind
		want               string
	}{
		{"no schema, no arguments", ``, ``, "", ""},
		{"no schema, an argument", ``, `{"a":1}`, caxton.Invalid, `"a" is not a parameter`},
		{"a reference, good", `{"type":"object","$defs":{"s":{"type":"string"}},"properties":{"a":{"$ref":"#/$defs/s"}}}`, `{"a":"x"}`, "", ""},
		{"a reference, bad", `{"type":"object","$defs":{"s":{"type":"string"}},"properties":{"a":{"$ref":"#/$defs/s"}}}`, `{"a":1}`, caxton.Invalid, "string"},
		{"an open object", `{"type":"object"}`, `{"a":1}`, "", ""},
		{"either of two", `{"type":"object","properties":{"a":{},"b":{}},"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{}`, caxton.Invalid, "oneOf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := named("foreign")
			f.spec.Parameters = json.RawMessage(tt.schema)
			_, err := newSet(t, nil, f).Run(t.Context(), "foreign", tool.Call{Args: json.RawMessage(tt.args)})
			if kind := caxton.KindOf(err); kind != tt.kind {
				t.Fatalf("Run(%s): kind %q (%v), want %q", tt.args, kind, err, tt.kind)
			}
			if tt.want != "" && !strings.Contains(tooltest.ErrorOf(t, err).Message, tt.want) {
				t.Errorf("Run(%s): %v lacks %q", tt.args, err, tt.want)
			}
		})
	}
}

func TestToolBreaks(t *testing.T) {
	known := caxton.Errorf(caxton.Unavailable, "down", "it is down")
	tests := []struct {
		name string
		call func(ctx context.Context, call tool.Call) (tool.Result, error)
		kind caxton.Kind
		code string
	}{
		{"a panic", func(context.Context, tool.Call) (tool.Result, error) { panic("secret") }, caxton.Internal, "tool_panicked"},
		{"an error of its own", func(context.Context, tool.Call) (tool.Result, error) { return tool.Result{}, errors.New("secret") }, caxton.Internal, "tool_failed"},
		{"a known error", func(context.Context, tool.Call) (tool.Result, error) {
			return tool.Result{}, fmt.Errorf("again: %w", known)
		}, caxton.Unavailable, "down"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := named("weather")
			f.call = tt.call
			_, err := newSet(t, nil, f).Run(t.Context(), "weather", tool.Call{Args: json.RawMessage(`{"city":"Oslo"}`)})
			e := tooltest.ErrorOf(t, err)
			if e.Kind != tt.kind || e.Code != tt.code || strings.Contains(e.Message, "secret") {
				t.Errorf("Run: %s %s %q, want %s %s", e.Kind, e.Code, e.Message, tt.kind, tt.code)
			}
		})
	}
}

func TestTimeLimits(t *testing.T) {
	slow := named("weather")
	slow.call = func(ctx context.Context, _ tool.Call) (tool.Result, error) {
		<-ctx.Done()
		return tool.Result{}, ctx.Err()
	}
	tests := []struct {
		name   string
		config map[string]any
		turn   time.Duration // 0: no deadline
		after  time.Duration
		kind   caxton.Kind
		code   string
	}{
		{"the agent's limit", map[string]any{"timeout": "10s"}, 0, 10 * time.Second, caxton.Timeout, "tool_timeout"},
		{"the agent's limit in seconds", map[string]any{"timeout": int64(3)}, 0, 3 * time.Second, caxton.Timeout, "tool_timeout"},
		{"no limit of the agent", nil, 0, tool.MaxCallTime, caxton.Timeout, "tool_timeout"},
		{"more than is allowed", map[string]any{"timeout": "2h"}, 0, tool.MaxCallTime, caxton.Timeout, "tool_timeout"},
		{"the turn ends first", map[string]any{"timeout": "10s"}, time.Second, time.Second, caxton.Timeout, "turn_timeout"},
		{"nonsense", map[string]any{"timeout": "soon"}, 0, 0, caxton.Invalid, "tool_config_invalid"},
		{"nought", map[string]any{"timeout": 0}, 0, 0, caxton.Invalid, "tool_config_invalid"},
		{"a list", map[string]any{"timeout": []any{1}}, 0, 0, caxton.Invalid, "tool_config_invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.turn > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.turn)
					defer cancel()
				}
				start := time.Now()
				_, err := newSet(t, nil, slow).Run(ctx, "weather", tool.Call{Args: json.RawMessage(`{"city":"Oslo"}`), Config: tt.config})
				e := tooltest.ErrorOf(t, err)
				if e.Kind != tt.kind || e.Code != tt.code || time.Since(start) != tt.after {
					t.Errorf("Run: %s %s after %v, want %s %s after %v", e.Kind, e.Code, time.Since(start), tt.kind, tt.code, tt.after)
				}
			})
		})
	}
}

func TestTextIsBounded(t *testing.T) {
	long := strings.Repeat("ä", tool.MaxText)
	tests := []struct {
		name, id string
		res      tool.Result
		body     string
		note     string
	}{
		{"short", "c1", tool.Result{Text: "short"}, "", ""},
		{"long without a body", "c1", tool.Result{Text: long}, long, `by passing "from": "c1"`},
		{"long with a body", "c1", tool.Result{Text: long, Body: []byte("all"), MediaType: "text/csv"}, "all", `by passing "from": "c1"`},
		{"long without an id", "", tool.Result{Text: long}, long, fmt.Sprintf("beginning of %d bytes", len(long))},
		{"not UTF-8", "c1", tool.Result{Text: "a\xffb"}, "", "\uFFFD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := named("weather")
			f.call = func(context.Context, tool.Call) (tool.Result, error) { return tt.res, nil }
			res, err := newSet(t, nil, f).Run(t.Context(), "weather", tool.Call{ID: tt.id, Args: json.RawMessage(`{"city":"Oslo"}`)})
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Text) > tool.MaxText || !utf8.ValidString(res.Text) || !strings.Contains(res.Text, tt.note) {
				t.Errorf("Text has %d bytes, ends %q, want at most %d bytes of UTF-8 with %q", len(res.Text), res.Text[max(0, len(res.Text)-200):], tool.MaxText, tt.note)
			}
			if string(res.Body) != tt.body {
				t.Errorf("Body has %d bytes, want %d", len(res.Body), len(tt.body))
			}
		})
	}
}

func FuzzArguments(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"city":"Oslo","days":3}`, `{"units":[]}`, `[1]`, `{"city":1e999}`, "{\"\\ud800\":0}"} {
		f.Add([]byte(seed))
	}
	s, err := tool.NewSet(nil, named("weather"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, args []byte) {
		_, err := s.Run(t.Context(), "weather", tool.Call{Args: args})
		switch caxton.KindOf(err) { //nolint:exhaustive // all others are faults
		case "", caxton.Malformed, caxton.Invalid:
		default:
			t.Errorf("Run(%q): %v", args, err)
		}
		if err == nil && !json.Valid(args) {
			t.Errorf("Run(%q) accepted what is not JSON", args)
		}
	})
}
