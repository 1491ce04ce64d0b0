package config

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caxton/caxton/internal/tree"
)

// An entry is one key of the schema, as the tags of Config say.
type entry struct {
	key      string
	path     string // dotted; a key that the operator chooses is *
	typ      reflect.Type
	index    int // of the struct field; -1 for the elements of a map or list
	fields   []*entry
	elem     *entry // of a map of tables or a list of tables
	standard string
	form     string
	secret   bool
	inert    bool
}

// schema returns the root of the schema: the entry of Config itself.
func schema() *entry { return describe(reflect.TypeFor[Config](), "", "", -1, "") }

func describe(t reflect.Type, path, key string, index int, tag reflect.StructTag) *entry {
	e := &entry{
		key: key, path: path, typ: t, index: index,
		standard: tag.Get("default"), form: tag.Get("form"),
		secret: tag.Get("secret") == "true", inert: tag.Get("inert") == "true",
	}
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, ok := f.Tag.Lookup("key")
			if !ok {
				continue
			}
			c := describe(f.Type, join(path, name), name, i, f.Tag)
			c.inherit(e.inert)
			e.fields = append(e.fields, c)
		}
	case t.Kind() == reflect.Map:
		e.elem = describe(t.Elem(), join(path, "*"), "*", -1, "")
		e.elem.secret = e.elem.secret || e.secret
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		e.elem = describe(t.Elem(), path+"[]", "[]", -1, "")
	}
	return e
}

func (e *entry) inherit(inert bool) {
	if !inert {
		return
	}
	e.inert = true
	for _, f := range e.fields {
		f.inherit(true)
	}
}

func join(path, key string) string {
	if path == "" {
		return tree.Join(key)
	}
	return path + "." + tree.Join(key)
}

// parent returns the path above, and the last key.
func parent(path string) (above, key string) {
	keys := tree.Split(path)
	if len(keys) == 0 {
		return "", ""
	}
	return tree.Join(keys[:len(keys)-1]...), keys[len(keys)-1]
}

// table reports whether e has keys of its own.
func (e *entry) table() bool { return e.fields != nil }

// dynamic reports whether e is a table whose keys the operator chooses.
func (e *entry) dynamic() bool { return e.elem != nil && e.typ.Kind() == reflect.Map }

// leaf reports whether e holds a value: a scalar or a list.
func (e *entry) leaf() bool { return !e.table() && !e.dynamic() }

// child returns the entry of a key of a table, or nil.
func (e *entry) child(key string) *entry {
	if e.dynamic() {
		return e.elem
	}
	for _, f := range e.fields {
		if f.key == key {
			return f
		}
	}
	return nil
}

// find returns the entry at a dotted path, or nil.
func (e *entry) find(path string) *entry {
	for _, key := range tree.Split(path) {
		if e = e.child(key); e == nil {
			return nil
		}
	}
	return e
}

// keys returns the keys of a table.
func (e *entry) keys() []string {
	keys := make([]string, len(e.fields))
	for i, f := range e.fields {
		keys[i] = f.key
	}
	return keys
}

// leaves calls visit for every leaf of the schema, in its order; what lies below a dynamic
// table is visited once, with * in its path.
func (e *entry) leaves(visit func(*entry)) {
	switch {
	case e.table():
		for _, f := range e.fields {
			f.leaves(visit)
		}
	case e.dynamic():
		e.elem.leaves(visit)
	default:
		visit(e)
	}
}

// given calls visit for every leaf that the document n has a value for, with its path.
func (e *entry) given(n *tree.Node, path string, visit func(path string, e *entry, f *tree.Field)) {
	if n == nil || n.Kind != tree.Map {
		return
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		c := e.child(f.Key)
		switch {
		case c == nil || f.Node.Kind == tree.Null:
		case c.leaf():
			visit(join(path, f.Key), c, f)
		default:
			c.given(f.Node, join(path, f.Key), visit)
		}
	}
}

// node makes a node of a text that came from outside a document: a list is separated by
// commas, or written as in YAML.
func (e *entry) node(text, origin string) *tree.Node {
	trimmed := strings.TrimSpace(text)
	if e != nil && e.typ.Kind() == reflect.Slice {
		if strings.HasPrefix(trimmed, "[") {
			n, issues := tree.Parse(tree.YAML, "", []byte("list: "+trimmed))
			if n != nil && len(issues) == 0 && n.Field("list") != nil && len(n.Fields) == 1 {
				n = n.Field("list").Node
				adopt(n, origin)
				return n
			}
		}
		list := &tree.Node{Kind: tree.List, Origin: origin}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list.Items = append(list.Items, tree.NewString(part, origin))
			}
		}
		return list
	}
	return tree.NewString(text, origin)
}

// adopt gives n, and all below it, an origin in place of a position.
func adopt(n *tree.Node, origin string) {
	n.Line, n.Column, n.Origin = 0, 0, origin
	for i := range n.Fields {
		n.Fields[i].Line, n.Fields[i].Column = 0, 0
		adopt(n.Fields[i].Node, origin)
	}
	for _, item := range n.Items {
		adopt(item, origin)
	}
}

// Schema returns the JSON Schema (2020-12) of a configuration file, with the other spellings
// as deprecated properties.
func Schema() []byte {
	m := tree.Schema(Config{})
	m["title"] = "Caxton configuration"
	for _, r := range rules() {
		p := map[string]any{"type": "string"}
		switch r.how {
		case moveIt:
			p = subschema(m, r.to)
		case port:
			p = map[string]any{"type": "integer", "minimum": 0, "maximum": 65535}
		case perMinute:
			p = map[string]any{"type": "number", "exclusiveMinimum": 0}
		case address:
		}
		insert(m, r.from, p, "Another spelling of "+strings.Join(r.targets(), " and ")+".")
	}
	schema().leaves(func(e *entry) {
		s := subschema(m, e.path)
		if e.inert {
			doc, _ := s["description"].(string)
			s["description"] = strings.TrimSpace(doc + " Has no effect yet.")
		}
		if e.secret {
			s["writeOnly"] = true
		}
	})
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic("config: the schema cannot be printed: " + err.Error()) // it is made of maps and texts
	}
	return b
}

// subschema returns the part of m at a dotted path, or nil.
func subschema(m map[string]any, path string) map[string]any {
	for _, key := range tree.Split(path) {
		next := m["additionalProperties"]
		if properties, ok := m["properties"].(map[string]any); ok && key != "*" {
			next = properties[key]
		}
		var ok bool
		if m, ok = next.(map[string]any); !ok {
			return nil
		}
	}
	return m
}

// insert puts a deprecated property into m.
func insert(m map[string]any, path string, p map[string]any, doc string) {
	keys := tree.Split(path)
	for _, key := range keys[:len(keys)-1] {
		properties, _ := m["properties"].(map[string]any)
		next, ok := properties[key].(map[string]any)
		if !ok {
			next = map[string]any{"type": "object", "deprecated": true, "additionalProperties": false, "properties": map[string]any{}}
			properties[key] = next
		}
		m = next
	}
	s := maps.Clone(p)
	delete(s, "default")
	s["deprecated"], s["description"] = true, doc
	properties, _ := m["properties"].(map[string]any)
	properties[keys[len(keys)-1]] = s
}

// defaults returns the document of all defaults.
func defaults(root *entry) *tree.Node {
	doc := tree.NewMap(0, 0)
	root.leaves(func(e *entry) {
		if e.standard != "" {
			doc.Set(e.path, e.node(e.standard, ""))
		}
	})
	return doc
}

// known returns the paths of all keys, canonical and other, whose last word is key.
func known(root *entry, key string) []string {
	var paths []string
	var look func(e *entry)
	look = func(e *entry) {
		if e.key == key {
			paths = append(paths, e.path)
		}
		for _, f := range e.fields {
			look(f)
		}
	}
	look(root)
	for _, r := range rules() {
		if _, last := parent(r.from); last == key && !slices.Contains(paths, r.from) {
			paths = append(paths, r.from)
		}
	}
	return paths
}

func position(line, column int) string {
	if line == 0 {
		return ""
	}
	return " (line " + strconv.Itoa(line) + ", column " + strconv.Itoa(column) + ")"
}
