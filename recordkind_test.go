package caxton_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/caxton/caxton"
)

// TestRecordKinds compares the list with the constants as they stand in the source.
func TestRecordKinds(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "conversation.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []caxton.RecordKind
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "RecordKind" {
			return false
		}
		for _, v := range spec.Values {
			s, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, caxton.RecordKind(s))
		}
		return false
	})
	if kinds := caxton.RecordKinds(); len(declared) < 15 || !slices.Equal(declared, kinds) {
		t.Errorf("RecordKinds() = %v, declared are %v", kinds, declared)
	}
	for _, k := range declared {
		if got, err := caxton.ParseRecordKind(string(k)); got != k || err != nil {
			t.Errorf("ParseRecordKind(%q) = %q, %v", k, got, err)
		}
	}
	for _, s := range []string{"", "delta", "Message"} {
		if _, err := caxton.ParseRecordKind(s); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("ParseRecordKind(%q): %v, want Invalid", s, err)
		}
	}
}
