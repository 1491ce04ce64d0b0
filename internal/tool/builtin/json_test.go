package builtin_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/builtin"
	"github.com/caxton/caxton/internal/tool/tooltest"
)

func TestJSONQuery(t *testing.T) {
	s := newSet(t, builtin.Config{})
	earlier := tooltest.Results{"c1": `{"items":[{"n":"a","p":1.10},{"n":"b","p":12345678901234567890}]}`, "lines": "{\"a\":1}\n{\"a\":2}\n", "bom": "\uFEFF[1]"}
	tests := []struct {
		name string
		args args
		want string
	}{
		{"from an earlier call", args{"from": "c1", "query": ".items[] | .n"}, "\"a\"\n\"b\""},
		{"numbers keep their digits", args{"from": "c1", "query": "[.items[].p]"}, "[1.10,12345678901234567890]"},
		{"data as a value", args{"data": args{"a": []int{1, 2}}, "query": ".a | add"}, "3"},
		{"data as a text", args{"data": `{"a":[1,2]}`, "query": ".a[0]"}, "1"},
		{"data that is null", args{"data": "null", "query": "."}, "null"},
		{"lines", args{"from": "lines", "query": "map(.a)"}, "[1,2]"},
		{"a byte order mark", args{"from": "bom", "query": ".[0]"}, "1"},
		{"no results", args{"data": "[]", "query": ".[]"}, "no results"},
		{"halt", args{"data": "[]", "query": "1, halt, 2"}, "1"},
		{"no environment", args{"data": "[]", "query": "env | length"}, "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := must(t, s, "json_query", tt.args, tool.Call{Results: earlier}).Text; got != tt.want {
				t.Errorf("json_query(%v) = %s, want %s", tt.args, got, tt.want)
			}
		})
	}
}

func TestJSONQueryResult(t *testing.T) {
	s := newSet(t, builtin.Config{})
	long := `"` + strings.Repeat("x", 20_000) + `"`
	res := must(t, s, "json_query", args{"from": "c1", "query": ".,1"}, tool.Call{ID: "c2", Results: tooltest.Results{"c1": long}})
	if string(res.Body) != long+"\n1" || res.MediaType != "application/json" {
		t.Errorf("Body has %d bytes of %s, want both results", len(res.Body), res.MediaType)
	}
	if !strings.Contains(res.Text, `"from": "c2"`) {
		t.Errorf("Text does not say how to read all of it: %s", res.Text[len(res.Text)-200:])
	}
	var data struct{ Results []json.RawMessage }
	if err := json.Unmarshal(res.Data, &data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]json.RawMessage{json.RawMessage(long), json.RawMessage("1")}, data.Results); diff != "" {
		t.Errorf("Data (-want +got):\n%s", diff)
	}
}

func TestJSONQueryRefuses(t *testing.T) {
	s := newSet(t, builtin.Config{JSON: builtin.JSONConfig{MaxSize: 1000, MaxOutput: 1000, Timeout: 50 * time.Millisecond}})
	tests := []struct {
		name string
		args args
		kind caxton.Kind
		code string
		text string
	}{
		{"a fault in the query", args{"data": "1", "query": ".a\n| }"}, caxton.Invalid, "query_invalid", "line 2, column 3"},
		{"an unfinished query", args{"data": "1", "query": ".["}, caxton.Invalid, "query_invalid", "line 1"},
		{"an unknown function", args{"data": "1", "query": "system"}, caxton.Invalid, "query_invalid", "system"},
		{"a module", args{"data": "1", "query": `import "a" as a; 1`}, caxton.Invalid, "query_invalid", "module"},
		{"a query that does not fit", args{"data": "1", "query": ".a"}, caxton.Invalid, "query_failed", "shape"},
		{"an error of the query", args{"data": "1", "query": `error("no")`}, caxton.Invalid, "query_failed", "no"},
		{"not JSON", args{"data": "{\n \"a\": x}", "query": "."}, caxton.Malformed, "json_malformed", "line 2, column 7"},
		{"nothing", args{"data": "", "query": "."}, caxton.Malformed, "json_malformed", "line 1"},
		{"neither", args{"query": "."}, caxton.Invalid, "arguments_invalid", "either"},
		{"too large", args{"data": strings.Repeat(" ", 1001), "query": "."}, caxton.TooLarge, "input_too_large", "tools.json_query.max_size"},
		{"too much output", args{"data": "1", "query": "range(1000)"}, caxton.TooLarge, "output_too_large", "limit"},
		{"endless without output", args{"data": "1", "query": "last(repeat(1))"}, caxton.Timeout, "query_timeout", "less"},
		{"endless recursion", args{"data": "1", "query": "def f: f; f"}, caxton.Timeout, "query_timeout", "less"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := run(t.Context(), t, s, "json_query", tt.args, tool.Call{})
			wantError(t, err, tt.kind, tt.code, tt.text)
		})
	}
}

func FuzzJSONQuery(f *testing.F) {
	f.Add(".a[] | {b}", `{"a":[{"b":1}]}`)
	f.Add(".[", "[")
	f.Add("tojson | fromjson", "1e1000")
	s := newSet(f, builtin.Config{JSON: builtin.JSONConfig{Timeout: 20 * time.Millisecond}})
	f.Fuzz(func(t *testing.T, query, data string) {
		if strings.Contains(query, "*") || strings.Contains(query, "range") || strings.Contains(query, "repeat") {
			t.Skip("may take as much memory as there is time for")
		}
		_, err := run(t.Context(), t, s, "json_query", args{"query": query, "data": data}, tool.Call{})
		if caxton.KindOf(err) == caxton.Internal {
			t.Errorf("json_query(%q, %q): %v", query, data, err)
		}
	})
}
