package tree

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// A Describer gives the JSON Schema of its own type, for types that decode themselves.
type Describer interface {
	Schema() map[string]any
}

// Schema returns the JSON Schema (2020-12) of what Decode accepts for a struct like v, or
// for what v points to. Other spellings of a key appear as deprecated properties. The result is made
// of what encoding/json produces, and belongs to the caller.
func Schema(v any) map[string]any {
	s := &schemer{types: make(typeTable)}
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	m := s.schema(t, field{})
	m["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	return m
}

type schemer struct {
	types typeTable
	open  []reflect.Type // structs we are inside of
}

func (s *schemer) schema(t reflect.Type, f field) map[string]any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if d, ok := reflect.TypeAssert[Describer](reflect.New(t)); ok {
		return d.Schema()
	}
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[caxton.Duration]():
		return map[string]any{"type": "string", "pattern": `^\s*(0|([0-9.]+(ns|us|µs|ms|s|m|h|d|w|y))+)\s*$`, "examples": []any{"30s"}}
	case reflect.TypeFor[caxton.Size]():
		return map[string]any{"type": []any{"string", "integer"}, "pattern": `^\s*[0-9.]+\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\s*$`, "minimum": 0, "examples": []any{"10MB"}}
	case reflect.TypeFor[caxton.Capability]():
		return map[string]any{"type": "string", "maxLength": 100, "pattern": `^(system:)?[a-z][a-z0-9]*([-.][a-z0-9]+)*$`}
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return map[string]any{"type": "string"}
	}
	m := make(map[string]any)
	switch t.Kind() {
	case reflect.Struct:
		s.structure(t, m)
	case reflect.Map:
		m["type"] = "object"
		m["additionalProperties"] = s.elem(t, f)
		bound(m, "minProperties", f.min)
		bound(m, "maxProperties", f.max)
	case reflect.Slice:
		m["type"] = "array"
		m["items"] = s.elem(t, f)
		bound(m, "minItems", f.min)
		bound(m, "maxItems", f.max)
	case reflect.String:
		m["type"] = "string"
		if len(f.oneof) > 0 {
			enum := make([]any, len(f.oneof))
			for i, o := range f.oneof {
				enum[i] = o
			}
			m["enum"] = enum
		}
		bound(m, "minLength", f.min)
		bound(m, "maxLength", f.max)
	case reflect.Bool:
		m["type"] = "boolean"
	case reflect.Float32, reflect.Float64:
		m["type"] = "number"
		bound(m, "minimum", f.min)
		bound(m, "maximum", f.max)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		m["type"] = "integer"
		bound(m, "minimum", f.min)
		bound(m, "maximum", f.max)
	default: // any: no restriction
	}
	return m
}

func (s *schemer) elem(t reflect.Type, f field) map[string]any {
	return s.schema(t.Elem(), field{oneof: f.oneof})
}

func (s *schemer) structure(t reflect.Type, m map[string]any) {
	m["type"] = "object"
	if slices.Contains(s.open, t) {
		return // recursive: the inner level is left open
	}
	s.open = append(s.open, t)
	defer func() { s.open = s.open[:len(s.open)-1] }()
	properties := make(map[string]any)
	var required []any
	for _, f := range s.types.of(t) {
		p := s.schema(f.typ, f)
		if f.doc != "" {
			p["description"] = f.doc
		}
		if f.standard != "" {
			p["default"] = standard(p, f.standard)
		}
		if f.example != "" {
			p["examples"] = []any{standard(p, strings.TrimPrefix(f.example, f.key+": "))}
		}
		properties[f.key] = p
		for _, a := range f.aliases {
			alias := s.schema(f.typ, f)
			alias["deprecated"] = true
			alias["description"] = "Another spelling of " + f.key + "."
			properties[a] = alias
		}
		if f.required && len(f.aliases) == 0 {
			required = append(required, f.key)
		}
	}
	m["properties"] = properties
	m["additionalProperties"] = false
	if len(required) > 0 {
		m["required"] = required
	}
}

func bound(m map[string]any, name, tag string) {
	if tag != "" {
		m[name] = number(tag)
	}
}

func number(tag string) any {
	if i, err := strconv.Atoi(tag); err == nil {
		return i
	}
	return mustFloat(tag)
}

// standard returns the value of a default tag in the type that the schema p asks for.
func standard(p map[string]any, tag string) any {
	switch p["type"] {
	case "boolean":
		return tag == "true"
	case "integer", "number":
		return number(tag)
	case "array":
		items := []any{}
		for _, s := range list(strings.Trim(tag, "[]")) {
			items = append(items, strings.TrimSpace(s))
		}
		return items
	}
	return tag
}

// SchemaOf returns the schema of a type for use inside of another, for a Describer.
func SchemaOf[T any]() map[string]any {
	s := &schemer{types: make(typeTable)}
	return s.schema(reflect.TypeFor[T](), field{})
}
