package scenario_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/caxton/caxton/internal/scenario"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
)

// TestSchema holds that the schema accepts test files that Parse accepts, and refuses those
// of testdata/bad whose form is wrong.
func TestSchema(t *testing.T) {
	text, err := scenario.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	schema, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(file []byte) error {
		var v any
		if err := yaml.Unmarshal(file, &v); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(b, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	for _, name := range []string{"unknown-keys", "list", "stubs-and-chaos", "tools", "rules-faulty"} {
		a, err := txtar.ParseFile(filepath.Join("testdata", "bad", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		if check(a.Files[0].Data) == nil {
			t.Errorf("the schema accepts %s:\n%s", name, a.Files[0].Data)
		}
	}
	if err := check([]byte(full)); err != nil {
		t.Errorf("the schema refuses what Parse accepts: %v", err)
	}
	parse(t, full)
}

// full has every key in every form.
const full = `
agent: greeter.md
with: [other.md]
model: scripted
script: greeter.script.yaml
rules: [{reply: x}]
cassette: x.jsonl
tools: {a: {when: {x: 1}, returns: [1], times: 2}, b: [{error: no, kind: timeout}, {body: x, media_type: text/csv}]}
chaos:
  drop_tool: a
  delay: {tool: a, by: 1s}
  error: [{tool: a, message: x, kind: internal, times: 1}]
  model_delay: 10ms
  model_error: {message: x, kind: timeout, times: 1}
network: true
files: .
now: "2026-01-02T03:04:05Z"
timeout: 10s
cases:
  - name: one
    skip: never
    input: {a: [1, null]}
    performative: query-ref
    rules: [{reply: y}]
    tools: {a: {returns: text}}
    chaos: {drop_tool: [a, b]}
    timeout: 1m
    expect:
      performative: inform
      error_code: x
      equals: x
      contains: [a, b]
      not_contains: c
      matches: ^x
      content: {path: .a, equals: {b: 1}, contains: x, matches: y, exists: true}
      tools: [a, {name: b, arguments: {x: 1}, exact: true, fails: false, times: 0}]
      tools_in_order: true
      no_other_tools: true
      never_tools: d
      max_tool_calls: 0
      max_model_calls: 1
      max_tokens: 2
      max_duration: 3s
  - name: two
    turns: [{input: a, performative: inform, expect: {no_reply: true}}, {input: 1}]
`
