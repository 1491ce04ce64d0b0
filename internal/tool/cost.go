package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// maxCost bounds how many times parts of a schema are applied to the arguments of one call.
// A schema can come from a stranger: one of a few hundred bytes can ask for more steps than
// the universe has had time for, or for endlessly many.
const maxCost = 1 << 20

// A cost tells how much work it is to hold a value against a schema.
type cost struct {
	steps   float64 // applications to one value and to the values in it that the schema names
	spread  float64 // how many of its parts apply to the same value in the value, at most
	endless bool    // it refers to itself, so the depth of the value decides
}

// a surveyor walks over a schema. Schemas are told apart by their place: a JSON pointer.
type surveyor struct {
	root   any
	open   map[string]bool // places at work in the same value: meeting one again never ends
	nested map[string]bool // places at work on the way down to a value in the value
	same   map[string]reach
	total  map[string]float64
	spread float64
	loop   bool
}

// A reach is what applies to one value from one place.
type reach struct{ steps, inner float64 }

// survey returns the cost of a schema, or an error when it never comes to an end, refers to
// other documents, or takes too many steps.
func survey(text json.RawMessage) (cost, error) {
	s := surveyor{open: map[string]bool{}, nested: map[string]bool{}, same: map[string]reach{}, total: map[string]float64{}}
	if err := json.Unmarshal(text, &s.root); err != nil {
		return cost{}, err
	}
	if embeds(s.root, true) {
		return cost{}, errors.New("it has an $id inside, and references below that would mean something else")
	}
	steps, err := s.down("", s.root)
	if err != nil {
		return cost{}, err
	}
	c := cost{steps: steps, spread: max(1, s.spread), endless: s.loop}
	if c.steps > maxCost {
		return c, errors.New("it takes too many steps to hold arguments against it")
	}
	return c, nil
}

// refers reports whether there is a reference in a schema.
func refers(s *jsonschema.Schema) bool {
	text, err := json.Marshal(s)
	return err != nil || bytes.Contains(text, []byte(`"$ref"`)) || bytes.Contains(text, []byte(`"$dynamicRef"`))
}

// embeds reports whether there is another document in a schema. Whether a place is a schema
// or something else does not matter: a name of a document is a text wherever it stands.
func embeds(v any, root bool) bool {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["$id"].(string); ok && !root {
			return true
		}
		for _, e := range v {
			if embeds(e, false) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return embeds(e, false) })
	}
	return false
}

// allows reports whether a value may be held against the schema.
func (c cost) allows(v any) bool {
	if !c.endless || c.spread <= 1 {
		return true
	}
	return math.Pow(c.spread, float64(depth(v)))*c.steps <= maxCost
}

func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}

// down returns how many steps a schema takes for a value and all the schema says of what is
// in it. A schema met again on the way makes it endless, which is not wrong.
func (s *surveyor) down(at string, v any) (float64, error) {
	if n, ok := s.total[at]; ok {
		return n, nil
	}
	if s.nested[at] {
		s.loop = true
		return 1, nil
	}
	s.nested[at] = true
	defer delete(s.nested, at)
	r, err := s.across(at, v)
	if err != nil {
		return 0, err
	}
	s.spread = max(s.spread, r.inner)
	n := r.steps
	err = s.parts(at, v, func(place string, part any, same bool) error {
		m, err := s.down(place, part)
		if !same || !s.nested[place] {
			n = min(n+m, 2*maxCost)
		}
		return err
	})
	s.total[at] = n
	return n, err
}

// across returns what applies to the same value as the schema at a place.
func (s *surveyor) across(at string, v any) (reach, error) {
	if r, ok := s.same[at]; ok {
		return r, nil
	}
	if s.open[at] {
		return reach{}, fmt.Errorf("%s refers to itself without an end", place(at))
	}
	s.open[at] = true
	defer delete(s.open, at)
	r := reach{steps: 1, inner: own(v)}
	err := s.parts(at, v, func(place string, part any, same bool) error {
		if !same {
			return nil
		}
		m, err := s.across(place, part)
		r.steps, r.inner = min(r.steps+m.steps, 2*maxCost), min(r.inner+m.inner, 2*maxCost)
		return err
	})
	s.same[at] = r
	return r, err
}

// own returns how often a schema by itself looks at one value in a value.
func own(v any) float64 {
	m, _ := v.(map[string]any)
	count := func(names ...string) (n float64) {
		for _, name := range names {
			if _, ok := m[name]; ok {
				n++
			}
		}
		return n
	}
	patterns, _ := m["patternProperties"].(map[string]any)
	object := min(1, count("properties", "additionalProperties")) + float64(len(patterns)) + count("unevaluatedProperties")
	list := min(1, count("items", "prefixItems")) + count("contains", "unevaluatedItems")
	return max(object, list)
}

// parts calls f for every schema that a schema is made of; same says that it applies to the
// same value.
func (s *surveyor) parts(at string, v any, f func(place string, part any, same bool) error) error {
	m, ok := v.(map[string]any)
	if !ok {
		return nil // true and false are schemas too
	}
	for _, key := range []string{"$dynamicRef", "$recursiveRef"} {
		if _, ok := m[key]; ok {
			return fmt.Errorf("%s has a %s, which is not supported", place(at), key)
		}
	}
	if ref, ok := m["$ref"].(string); ok {
		to, target, err := s.resolve(ref)
		if err != nil {
			return err
		}
		if err := f(to, target, true); err != nil {
			return err
		}
	}
	for _, key := range []string{
		"not", "if", "then", "else", "additionalProperties", "items", "contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "additionalItems",
	} {
		if part, ok := m[key].(map[string]any); ok {
			same := key == "not" || key == "if" || key == "then" || key == "else"
			if err := f(at+"/"+key, part, same); err != nil {
				return err
			}
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf", "prefixItems", "items"} {
		list, _ := m[key].([]any)
		for i, part := range list {
			if err := f(at+"/"+key+"/"+strconv.Itoa(i), part, key != "prefixItems" && key != "items"); err != nil {
				return err
			}
		}
	}
	for _, key := range []string{"properties", "patternProperties", "dependentSchemas", "dependencies"} {
		table, _ := m[key].(map[string]any)
		for name, part := range table {
			if _, ok := part.(map[string]any); !ok {
				continue
			}
			if err := f(at+"/"+key+"/"+escape(name), part, strings.HasPrefix(key, "depend")); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve returns the place and the schema that a reference within the document means.
func (s *surveyor) resolve(ref string) (string, any, error) {
	path, ok := strings.CutPrefix(ref, "#")
	if unescaped, err := url.PathUnescape(path); err == nil {
		path = unescaped
	}
	if !ok || path != "" && path[0] != '/' {
		return "", nil, fmt.Errorf("it refers to %.80q; only places in the schema itself can be referred to, as in #/$defs/name", ref)
	}
	v := s.root
	var at strings.Builder
	for _, key := range strings.Split(path, "/")[1:] {
		key = strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
		at.WriteString("/" + escape(key))
		switch w := v.(type) {
		case map[string]any:
			v, ok = w[key]
		case []any:
			i, err := strconv.Atoi(key)
			if ok = err == nil && i >= 0 && i < len(w); ok {
				v = w[i]
			}
		default:
			ok = false
		}
		if !ok {
			return "", nil, fmt.Errorf("it refers to %.80q, which is not there", ref)
		}
	}
	return at.String(), v, nil
}

func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

func place(at string) string {
	if at == "" {
		return "it"
	}
	return fmt.Sprintf("%.80q", at)
}
