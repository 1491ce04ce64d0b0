package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// A schema is a compiled JSON Schema of an arguments object. Each property is compiled by
// itself too, so that a fault can be told by the name of the property it is in.
type schema struct {
	root       *jsonschema.Schema
	resolved   *jsonschema.Resolved
	properties map[string]*jsonschema.Resolved // without those that refer to other parts of the schema
	names      []string                        // of the properties, sorted
	closed     bool                            // properties that are not listed are faults
	cost       cost
}

// compile reads a JSON Schema; an empty text is the schema of a tool without parameters.
func compile(text json.RawMessage) (*schema, error) {
	if len(text) == 0 {
		text = json.RawMessage(`{"type":"object","additionalProperties":false}`)
	}
	s := &schema{root: new(jsonschema.Schema), properties: map[string]*jsonschema.Resolved{}}
	if err := json.Unmarshal(text, s.root); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	if s.root.Type != "object" {
		return nil, fmt.Errorf("its type is %q, not object", s.root.Type)
	}
	// The reader takes AllOf for allOf, and the last of two keys; what is surveyed is what it read.
	read, err := json.Marshal(s.root)
	if err != nil {
		return nil, fmt.Errorf("printing the schema: %w", err)
	}
	if s.cost, err = survey(read); err != nil {
		return nil, err
	}
	if s.resolved, err = s.root.Resolve(nil); err != nil {
		return nil, fmt.Errorf("resolving the schema: %w", err)
	}
	for name, p := range s.root.Properties {
		s.names = append(s.names, name)
		if refers(p) {
			continue // taken out of the schema, its references would mean something else
		}
		if r, err := p.Resolve(nil); err == nil {
			s.properties[name] = r
		}
	}
	slices.Sort(s.names)
	if extra := s.root.AdditionalProperties; extra != nil {
		s.closed = extra.Not != nil && len(s.root.PatternProperties) == 0 // "false" is read as not anything
	}
	return s, nil
}

// check returns the arguments of a call as a JSON object that satisfies the schema; no
// arguments at all, which models write as an empty text or null, are the empty object.
func (s *schema) check(tool string, args json.RawMessage) (json.RawMessage, error) {
	args = bytes.TrimSpace(args)
	if len(args) == 0 || bytes.Equal(args, []byte("null")) {
		args = json.RawMessage("{}")
	}
	var v any
	if err := json.Unmarshal(args, &v); err != nil {
		at := ""
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = fmt.Sprintf(" (byte %d of %d: %s)", syntax.Offset, len(args), syntax.Error())
		}
		return nil, caxton.Errorf(caxton.Malformed, "arguments_malformed", "the arguments of %s are not valid JSON%s", tool, at).
			WithHint("pass one JSON object").WithCause(err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, caxton.Errorf(caxton.Malformed, "arguments_malformed", "the arguments of %s are %s, not an object", tool, describe(v)).
			WithHint("pass one JSON object")
	}
	if !s.cost.allows(object) {
		return nil, caxton.Errorf(caxton.Invalid, "arguments_invalid", "the arguments of %s are nested too deeply to be checked", tool).
			WithHint("pass less at a time")
	}
	if err := s.resolved.Validate(object); err != nil {
		faults := s.faults(object)
		if len(faults) == 0 {
			faults = []string{innermost(err).Error()}
		}
		return nil, caxton.Errorf(caxton.Invalid, "arguments_invalid", "the arguments of %s are wrong: %s", tool, strings.Join(faults, "; ")).
			WithHint("parameters are: %s", list(s.names)).WithCause(err)
	}
	return args, nil
}

// faults lists what is wrong with an object that the schema rejects, as far as it can be
// told property by property.
func (s *schema) faults(object map[string]any) []string {
	var faults []string
	for _, name := range s.root.Required {
		if _, ok := object[name]; !ok {
			faults = append(faults, fmt.Sprintf("%q is missing", name))
		}
	}
	given := make([]string, 0, len(object))
	for name := range object {
		given = append(given, name)
	}
	slices.Sort(given)
	for _, name := range given {
		p, ok := s.root.Properties[name]
		if !ok {
			if s.closed {
				fault := fmt.Sprintf("%.80q is not a parameter", name)
				if near := tree.Nearest(name, s.names); near != "" {
					fault += fmt.Sprintf(", did you mean %q?", near)
				}
				faults = append(faults, fault)
			}
			continue
		}
		r := s.properties[name]
		if r == nil {
			continue
		}
		if err := r.Validate(object[name]); err != nil {
			faults = append(faults, fmt.Sprintf("%q %s", name, expectation(p, object[name], err)))
		}
	}
	return faults
}

// expectation says what a property should have been. Types and lists of choices are what
// models get wrong most, so they are worded here; the library words the rest.
func expectation(p *jsonschema.Schema, v any, err error) string {
	types := p.Types
	if p.Type != "" {
		types = []string{p.Type}
	}
	types = slices.DeleteFunc(slices.Clone(types), func(t string) bool { return t == "null" && len(types) > 1 })
	if len(types) > 0 && !slices.ContainsFunc(types, func(t string) bool { return hasType(v, t) }) {
		return fmt.Sprintf("must be of type %s, not %s", strings.Join(types, " or "), describe(v))
	}
	if p.Enum != nil && !slices.ContainsFunc(p.Enum, func(e any) bool { return reflect.DeepEqual(e, v) }) {
		choices := make([]string, 0, len(p.Enum))
		for _, e := range p.Enum {
			choices = append(choices, fmt.Sprintf("%q", fmt.Sprint(e)))
		}
		return fmt.Sprintf("must be one of %s, not %s", strings.Join(choices, ", "), describe(v))
	}
	number, _ := v.(float64)
	text, _ := v.(string)
	switch {
	case p.Minimum != nil && number < *p.Minimum:
		return fmt.Sprintf("must be at least %g", *p.Minimum)
	case p.Maximum != nil && number > *p.Maximum:
		return fmt.Sprintf("must be at most %g", *p.Maximum)
	case p.MinLength != nil && *p.MinLength > 0 && text == "" && hasType(v, "string"):
		return "must not be empty"
	}
	return "is wrong: " + innermost(err).Error()
}

// hasType reports whether a decoded JSON value is of a JSON Schema type.
func hasType(v any, schemaType string) bool {
	switch v := v.(type) {
	case nil:
		return schemaType == "null"
	case bool:
		return schemaType == "boolean"
	case string:
		return schemaType == "string"
	case float64:
		return schemaType == "number" || schemaType == "integer" && v == float64(int64(v))
	case []any:
		return schemaType == "array"
	case map[string]any:
		return schemaType == "object"
	}
	return false
}

// describe names a decoded JSON value for a sentence.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprintf("the boolean %t", v)
	case string:
		return fmt.Sprintf("the string %q", cut(v, 60))
	case float64:
		return fmt.Sprintf("the number %v", v)
	case []any:
		return "an array"
	default:
		return "an object"
	}
}

// innermost returns the last error of a chain: what is wrong, without where.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
