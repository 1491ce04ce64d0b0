package tool_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// doubling returns a schema of n definitions that each apply the next one twice.
func doubling(n int, step string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"type":"object","allOf":[{"$ref":"#/$defs/d0"}],"$defs":{`)
	for i := range n {
		next := fmt.Sprintf(`{"$ref":"#/$defs/d%d"}`, i+1)
		fmt.Fprintf(&b, `"d%d":%s,`, i, strings.ReplaceAll(step, "NEXT", next))
	}
	fmt.Fprintf(&b, `"d%d":{}}}`, n)
	return b.String()
}

func TestHostileSchemas(t *testing.T) {
	tests := []struct{ name, schema, want string }{
		{"refers to itself", `{"type":"object","$ref":"#"}`, "refers to itself"},
		{"refers to itself in a part", `{"type":"object","allOf":[{"$ref":"#"}]}`, "refers to itself"},
		{"refers to itself by a detour", `{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"$defs":{"b":{"not":{"$ref":"#/$defs/c"}},"c":{"anyOf":[{"$ref":"#/$defs/b"}]}}}`, "refers to itself"},
		{"refers to itself under another spelling", `{"type":"object","properties":{"a b":{"$ref":"#/properties/a%20b"}}}`, "refers to itself"},
		{"refers to itself under another case", `{"tYpe":"object","AllOf":[{"$REF":"#"}]}`, "refers to itself"},
		{"doubles across", doubling(40, `{"allOf":[NEXT,NEXT]}`), "too many steps"},
		{"doubles downwards", doubling(40, `{"allOf":[{"properties":{"a":NEXT}},{"properties":{"a":NEXT}}]}`), "too many steps"},
		{"another document", `{"type":"object","properties":{"a":{"$ref":"http://127.0.0.1/x.json"}}}`, "only places in the schema itself"},
		{"nowhere", `{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}}}`, "not there"},
		{"dynamic", `{"type":"object","properties":{"a":{"$dynamicRef":"#x"}}}`, "not supported"},
		{"a document within", `{"type":"object","properties":{"a":{"$id":"http://x/y","$ref":"#"}}}`, "$id inside"},
		{"a loop in a document within", `{"type":"object","properties":{"a":{"$ref":"#/$defs/e/$defs/y"}},"$defs":{"z":{},"e":{"$id":"http://x/y","$defs":{"y":{"$ref":"#/$defs/z"},"z":{"$ref":"#/$defs/y"}}}}}`, "$id inside"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := named("foreign")
			f.spec.Parameters = json.RawMessage(tt.schema)
			if _, err := tool.NewSet(nil, f); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewSet = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestRecursiveSchemas(t *testing.T) {
	nest := func(n int, open, inner, end string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	tree := `{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#"}}}}`
	twice := `{"type":"object","allOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}`
	tests := []struct {
		name, schema, args string
		kind               caxton.Kind
	}{
		{"a tree", tree, nest(100, `{"children":[`, `{"name":"x"}`, `]}`), ""},
		{"a tree with a fault", tree, nest(3, `{"children":[`, `{"name":1}`, `]}`), caxton.Invalid},
		{"branches, shallow", twice, nest(5, `{"a":`, `{}`, `}`), ""},
		{"branches, deep", twice, nest(60, `{"a":`, `{}`, `}`), caxton.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := named("foreign")
			f.spec.Parameters = json.RawMessage(tt.schema)
			_, err := newSet(t, nil, f).Run(t.Context(), "foreign", tool.Call{Args: json.RawMessage(tt.args)})
			if kind := caxton.KindOf(err); kind != tt.kind {
				t.Errorf("Run: %q (%v), want %q", kind, err, tt.kind)
			}
		})
	}
}

// FuzzSchema holds that a schema which is accepted can be used, whatever it is: the
// validator of a schema that never ends would take the test binary with it.
func FuzzSchema(f *testing.F) {
	for _, seed := range []string{
		`{"type":"object"}`, `{"type":"object","properties":{"a":{"$ref":"#"}}}`, `{"type":"object","allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"not":{}}}}`,
		`{"type":"object","if":{"$ref":"#/properties/a/items"},"properties":{"a":{"items":{"$ref":"#/properties/a"}}}}`,
		`{"type":"object","dependentSchemas":{"a":{"$ref":"#/dependentSchemas/a"}}}`, `{"type":"object","$id":"x","properties":{"$id":{"$ref":"x#"}}}`,
		`{"type":"object","items":[{"$ref":"#/items/0"}],"$defs":{"~1/":{"$ref":"#/$defs/~01~1"}}}`,
	} {
		f.Add(seed, `{"a":[{"a":{}}],"b":1}`)
	}
	f.Fuzz(func(t *testing.T, schema, args string) {
		foreign := named("foreign")
		foreign.spec.Parameters = json.RawMessage(schema)
		s, err := tool.NewSet(nil, foreign)
		if err != nil {
			return
		}
		for _, a := range []string{args, `{"a":{"a":{"a":[]}},"b":[[]]}`} {
			_, err := s.Run(t.Context(), "foreign", tool.Call{Args: json.RawMessage(a)})
			if kind := caxton.KindOf(err); kind != "" && kind != caxton.Malformed && kind != caxton.Invalid {
				t.Errorf("Run(%s) under %s: %v", a, schema, err)
			}
		}
	})
}
