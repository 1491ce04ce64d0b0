package scenario_test

import (
	"encoding/json"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/scenario"
)

// TestContentForms holds in which forms a reply is read as JSON, and which numbers are equal.
func TestContentForms(t *testing.T) {
	tests := []struct {
		name, content string // of the reply
		path, equals  string
		want          bool
	}{
		{"a value", `{"a":{"b":[1]}}`, ".a.b[0]", "1", true},
		{"a text with JSON", `"{\"a\":1}"`, ".a", "1", true},
		{"a fenced block", "\"```\\n[1,2]\\n```\"", ".[1]", "2", true},
		{"a fenced block of JSON", "\" ```json\\n{\\\"a\\\": 1}\\n``` \"", ".a", "1", true},
		{"a text", `"just text"`, ".", "just text", true},
		{"JSON and more", `"{\"a\":1} and more"`, ".", `'{"a":1} and more'`, true},
		{"JSON and a bracket", `"{\"a\":1}]"`, ".", `'{"a":1}]'`, true},
		{"a number in a text", `"42"`, ".", "42", true},
		{"an empty text", `""`, ".", `""`, true},
		{"a quoted text", `"\"a\""`, ".", "a", true},
		{"half a block", "\"```json\"", ".", "'```json'", true},
		{"a number with a fraction", `{"a":1.0}`, ".a", "1", true},
		{"a number with an exponent", `{"a":1e2}`, ".a", "100", true},
		{"large numbers", `{"a":9007199254740993}`, ".a", "9007199254740993", true},
		{"large numbers, one off", `{"a":9007199254740993}`, ".a", "9007199254740992", false},
		{"a number and a text", `{"a":"1"}`, ".a", "1", false},
		{"lists in order", `[1,2]`, ".", "[2,1]", false},
		{"lists of other lengths", `[1,2]`, ".", "[1]", false},
		{"tables", `{"a":1,"b":2}`, ".", "{b: 2, a: 1}", true},
		{"tables with more", `{"a":1,"b":2}`, ".", "{a: 1}", false},
		{"truth", `{"a":true}`, ".a", "true", true},
		{"truth, otherwise", `{"a":true}`, ".a", "false", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := report(t, "model: builtin\ncases:\n- name: one\n  input: Hi\n  expect:\n    content: {path: '"+tt.path+"', equals: "+tt.equals+"}\n",
				scenario.Played{Reply: reply(caxton.Inform, tt.content)})
			if !json.Valid([]byte(tt.content)) {
				t.Fatalf("%s is no content", tt.content)
			}
			if r.OK() != tt.want {
				t.Errorf("%s of %s equals %s: %v, want %v\n%v", tt.path, tt.content, tt.equals, r.OK(), tt.want, r.Results[0].Lines())
			}
		})
	}
}
