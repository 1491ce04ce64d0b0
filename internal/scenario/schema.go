package scenario

import (
	"encoding/json"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// Schema returns the JSON Schema (2020-12) of a test file, indented, for editors.
func Schema() ([]byte, error) {
	s := tree.Schema(Suite{})
	s["title"] = "Tests of a Caxton agent"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, caxton.Errorf(caxton.Internal, "schema_unprintable", "the schema cannot be written").WithCause(err)
	}
	return b, nil
}

// Schema describes the value.
func (*Placed[T]) Schema() map[string]any { return tree.SchemaOf[T]() }

// Schema describes both forms.
func (*Several[T]) Schema() map[string]any {
	one := tree.SchemaOf[T]()
	return map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "items": one}}}
}

// Schema describes any value.
func (*Content) Schema() map[string]any { return map[string]any{} }

// Schema describes a performative. The spellings of other systems are left to Parse.
func (*Performative) Schema() map[string]any {
	words := []any{}
	for _, p := range caxton.Performatives() {
		words = append(words, string(p))
	}
	return map[string]any{"type": "string", "enum": words}
}

// Schema describes an expression.
func (*Pattern) Schema() map[string]any { return map[string]any{"type": "string", "format": "regex"} }

// Schema describes a query.
func (*Path) Schema() map[string]any { return map[string]any{"type": "string", "minLength": 1} }

// Schema describes rules as far as they are known here.
func (*Rules) Schema() map[string]any {
	return map[string]any{"type": "array", "items": map[string]any{"type": "object"}}
}

// Schema describes both forms.
func (*ToolCheck) Schema() map[string]any {
	type plain ToolCheck
	return map[string]any{"anyOf": []any{map[string]any{"type": "string", "minLength": 1}, tree.SchemaOf[plain]()}}
}
