package builtin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/builtin"
	"github.com/caxton/caxton/internal/tool/tooltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSet(tb testing.TB, cfg builtin.Config) *tool.Set {
	tb.Helper()
	tools, err := builtin.New(cfg)
	if err != nil {
		tb.Fatalf("New failed: %v", err)
	}
	s, err := tool.NewSet(nil, tools...)
	if err != nil {
		tb.Fatalf("NewSet failed: %v", err)
	}
	return s
}

// run calls a tool with arguments that are encoded as JSON.
func run(ctx context.Context, tb testing.TB, s *tool.Set, name string, args any, call tool.Call) (tool.Result, error) {
	tb.Helper()
	var err error
	if call.Args, err = json.Marshal(args); err != nil {
		tb.Fatalf("encoding %v: %v", args, err)
	}
	return s.Run(ctx, name, call)
}

// must calls a tool and fails the test when that fails.
func must(tb testing.TB, s *tool.Set, name string, args any, call tool.Call) tool.Result {
	tb.Helper()
	res, err := run(tb.Context(), tb, s, name, args, call)
	if err != nil {
		tb.Fatalf("%s(%v) failed: %v", name, args, err)
	}
	return res
}

// wantError fails the test unless err is of the kind and code, and its message or its hint
// has all of parts.
func wantError(t *testing.T, err error, kind caxton.Kind, code string, parts ...string) {
	t.Helper()
	e := tooltest.ErrorOf(t, err)
	if e.Kind != kind || e.Code != code {
		t.Fatalf("error is %s %s (%v), want %s %s", e.Kind, e.Code, err, kind, code)
	}
	for _, part := range parts {
		if !strings.Contains(e.Message+e.Hint, part) {
			t.Errorf("error %q, hint %q lack %q", e.Message, e.Hint, part)
		}
	}
}

type args = map[string]any

func TestConformance(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("hello"))
	}))
	defer server.Close()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	tools, err := builtin.New(builtin.Config{
		HTTP: builtin.HTTPConfig{AllowedHosts: []string{"127.0.0.1"}},
		File: builtin.FileConfig{Root: root},
		Now:  func() time.Time { return time.Unix(0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]string{
		"http_client": `{"url":"` + server.URL + `"}`,
		"csv_parser":  `{"from":"c1"}`,
		"json_query":  `{"data":{"a":1},"query":".a"}`,
		"calculator":  `{"expression":"1+1"}`,
		"clock":       `{}`,
		"file_read":   `{"path":"a.txt"}`,
	}
	for _, tl := range tools {
		name := tl.Spec().Name
		t.Run(name, func(t *testing.T) {
			tooltest.TestTool(t, tl, json.RawMessage(good[name]), tooltest.Results{"c1": "a,b\n1,2\n"})
		})
		delete(good, name)
	}
	if len(good) > 0 {
		t.Errorf("New lacks the tools %v", good)
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2025, 3, 30, 0, 59, 59, 0, time.UTC) // a second before summer time in Berlin
	s := newSet(t, builtin.Config{Now: func() time.Time { return now }})
	tests := []struct {
		name string
		args args
		want string
	}{
		{"no zone", args{}, "Sunday 2025-03-30T00:59:59Z\nunix: 1743296399\ntimezone: UTC"},
		{"a zone", args{"timezone": "Europe/Berlin"}, "Sunday 2025-03-30T01:59:59+01:00\nunix: 1743296399\ntimezone: Europe/Berlin"},
		{"west of the date", args{"timezone": "America/New_York"}, "Saturday 2025-03-29T20:59:59-04:00\nunix: 1743296399\ntimezone: America/New_York"},
		{"a format", args{"format": "%d.%m.%Y %H:%M"}, "30.03.2025 00:59\nSunday 2025-03-30T00:59:59Z\nunix: 1743296399\ntimezone: UTC"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := must(t, s, "clock", tt.args, tool.Call{}).Text; got != tt.want {
				t.Errorf("clock(%v) = %q, want %q", tt.args, got, tt.want)
			}
		})
	}
	for _, zone := range []string{"Berlin", "../../etc/passwd", "UTC+2"} {
		_, err := run(t.Context(), t, s, "clock", args{"timezone": zone}, tool.Call{})
		wantError(t, err, caxton.Invalid, "timezone_unknown")
	}
}

func TestCalculator(t *testing.T) {
	s := newSet(t, builtin.Config{})
	tests := []struct{ expression, want string }{
		{"1+2*3", "7"},
		{"(1+2)*3", "9"},
		{"7/2", "3.5"},
		{"6/3", "2"},
		{"1/3", "0.333333333333333"},
		{"0.1+0.2", "0.3"},
		{"2^10", "1024"},
		{"2**0.5", "1.4142135623731"},
		{"2^100", "1267650600228229401496703205376"},
		{"2^-2", "0.25"},
		{"-2^2", "-4"},
		{"2^3^2", "512"},
		{"9223372036854775807+1", "9223372036854775808"},
		{"9007199254740993*3", "27021597764222979"},
		{"17 % 5", "2"},
		{"-17 % 5", "-2"},
		{"5.5 % 2", "1.5"},
		{"sqrt(16)", "4"},
		{"sqrt(2.25)", "1.5"},
		{"sqrt(2)", "1.4142135623731"},
		{"round(2.5)", "3"},
		{"round(-2.5)", "-3"},
		{"round(3.14159, 2)", "3.14"},
		{"round(1234, -2)", "1200"},
		{"round(pi, 4)", "3.1416"},
		{"floor(-1.5)", "-2"},
		{"ceil(1.2)", "2"},
		{"trunc(-1.9)", "-1"},
		{"abs(-3)", "3"},
		{"min(3, 1, 2)", "1"},
		{"max(3, 1, 2.5)", "3"},
		{"mean(1, 2, 4)", "2.33333333333333"},
		{"mean(0.1, 0.2, 0.3)", "0.2"},
		{"log(e)", "1"},
		{"log(8, 2)", "3"},
		{"log10(1000)", "3"},
		{"sin(0)", "0"},
		{"cos(pi)", "-1"},
		{"percent(15, 80)", "12"},
		{"factorial(20)", "2432902008176640000"},
		{"pow(3, 40)", "12157665459056928801"},
		{"1e3", "1000"},
		{"1e-3", "0.001"},
		{"(-1)^1000000000001", "-1"},
		{"exp(1)", "2.71828182845905"},
		{"+pi - pi", "0"},
		{"-pi*2 + tau", "0"},
		{"10 % pi", "0.575222039230621"},
		{"1/e", "0.367879441171442"},
		{"0^0", "1"},
		{"0^5", "0"},
		{"1^(10^30)", "1"},
		{"(2/3)^-2", "2.25"},
		{"sqrt(1e-320)", "1e-160"},
		{"cbrt(27) + exp(0) + ln(1) + log2(8)", "7"},
		{"tan(0) + asin(0) + acos(1) + atan(0) + sinh(0) + cosh(0) + tanh(0)", "1"},
		{"deg(pi) - rad(180)/pi*180", "0"},
		{"sign(-2) + sign(0) + sign(pi) + sign(-pi)", "-1"},
		{"abs(-pi) - pi", "0"},
		{"floor(pi) + ceil(pi) + trunc(-pi) + round(pi)", "7"},
		{"atan2(0, 1) + hypot(3, 4)", "5"},
		{"mod(7, 3)", "1"},
		{"1e300*1e300/1e300", "1" + "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"},
	}
	for _, tt := range tests {
		t.Run(tt.expression, func(t *testing.T) {
			if got := must(t, s, "calculator", args{"expression": tt.expression}, tool.Call{}).Text; got != tt.want {
				t.Errorf("%s = %s, want %s", tt.expression, got, tt.want)
			}
		})
	}
	faults := []struct{ expression, code string }{
		{"1/0", "expression_undefined"},
		{"1 % 0", "expression_undefined"},
		{"0^-1", "expression_undefined"},
		{"1/(0.1+0.2-0.3)", "expression_undefined"},
		{"sqrt(-1)", "expression_undefined"},
		{"log(0)", "expression_undefined"},
		{"log(4, 1)", "expression_undefined"},
		{"asin(2)", "expression_undefined"},
		{"10^(10^10)", "expression_undefined"},
		{"2^16000 * 2^16000", "expression_undefined"}, // too long to be exact, and too large for a float
		{"exp(1000)", "expression_undefined"},
		{"pi*10^400", "expression_undefined"},
		{"factorial(1001)", "expression_undefined"},
		{"factorial(pi)", "expression_undefined"},
		{"1 +", "expression_invalid"},
		{"x + 1", "expression_invalid"},
		{"'a' + 'b'", "expression_invalid"},
		{"1 < 2", "expression_invalid"},
		{"not 1", "expression_invalid"},
		{"[1, 2]", "expression_invalid"},
		{"map(1..9, # * 2)", "expression_invalid"},
		{"now()", "expression_invalid"},
		{"system(1)", "expression_invalid"},
		{"sqrt()", "expression_invalid"},
		{"pow(1)", "expression_invalid"},
		{"min()", "expression_invalid"},
		{"round(1, 2.5)", "expression_invalid"},
		{"1 ? 2 : 3", "expression_invalid"},
	}
	for _, tt := range faults {
		t.Run(tt.expression, func(t *testing.T) {
			_, err := run(t.Context(), t, s, "calculator", args{"expression": tt.expression}, tool.Call{})
			wantError(t, err, caxton.Invalid, tt.code)
		})
	}
}

func FuzzCalculator(f *testing.F) {
	for _, seed := range []string{"1+2*3", "sqrt(2)^3", "((((1", "2^2^2^2^2^2", "round(1e300, 100)", "factorial(1000)^9", "-0.0", "1e999", "0x10 + 0b1"} {
		f.Add(seed)
	}
	s := newSet(f, builtin.Config{})
	f.Fuzz(func(t *testing.T, expression string) {
		_, err := run(t.Context(), t, s, "calculator", args{"expression": expression}, tool.Call{})
		switch kind := caxton.KindOf(err); kind { //nolint:exhaustive // all others are faults
		case "", caxton.Invalid, caxton.TooLarge:
		default:
			t.Errorf("calculator(%q): %v", expression, err)
		}
	})
}
