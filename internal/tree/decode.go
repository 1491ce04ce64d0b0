package tree

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caxton/caxton"
)

// An Unmarshaler decodes itself, for values that may be written in several forms. n is
// never Null. It returns every fault it finds; key is the path of n, for the issues.
type Unmarshaler interface {
	UnmarshalNode(n *Node, key string, o DecodeOptions) []caxton.Issue
}

// DecodeOptions say how Decode reports.
type DecodeOptions struct {
	// Path is the file that the issues name.
	Path string
	// Prefix is the dotted path of the node in its document, for the keys of issues.
	Prefix string
	// UnknownHint is the hint for an unknown key that is like no known one, "" to list the
	// known ones when they are few.
	UnknownHint string
	// Inert, when set, is called for each key that is given and whose struct field has the
	// tag inert:"true".
	Inert func(key string, f Field)
}

// Decode fills the struct that dst points to from the table n, and returns every fault it
// finds, in the order of the document. Keys that are absent or null leave their fields as
// they are, so that defaults can be set before. What has a fault is left as it is too.
//
// The tags of the struct's fields say what is accepted:
//
//	key:"max_agents"     the key; fields without this tag take no part
//	alias:"agents,max"   other spellings of the key, in the same table
//	required:"true"      must be given; an empty text or list counts as absent
//	oneof:"x,y"          a text, or the texts of a list: one of these, in any case
//	min:"0" max:"2"      bounds of a number, duration or size; for text the number of
//	                     characters, for a list or map the number of entries
//	inert:"true"         see DecodeOptions.Inert
//	doc, default, example  for Schema and for hints; Decode sets no defaults
//
// Fields may be strings, booleans, whole and floating point numbers, time.Duration (written
// as caxton.ParseDuration reads), any ([Node.Plain]), slices, maps with string keys,
// structs, pointers to these, and types with UnmarshalNode or UnmarshalText. A number in
// quotes is taken where a number is wanted, an unquoted number of a YAML file where text is
// wanted. Decode panics when dst has a type or a tag that it does not understand: that is a
// mistake in the program, not in the document.
func Decode(n *Node, dst any, o DecodeOptions) []caxton.Issue {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("tree: Decode needs a pointer, not %T", dst))
	}
	d := &decoder{o: o, types: make(typeTable), root: v.Elem().Type()}
	d.value(n, v.Elem(), o.Prefix, field{})
	sortIssues(d.issues)
	return d.issues[:min(len(d.issues), maxIssues)]
}

type decoder struct {
	o      DecodeOptions
	types  typeTable
	root   reflect.Type // of the whole document
	issues []caxton.Issue
}

func (d *decoder) issue(at position, key, message, hint string) {
	if len(d.issues) >= maxIssues {
		return
	}
	d.issues = append(d.issues, caxton.Issue{Path: d.o.Path, Line: at.line, Column: at.column, Key: key, Message: message, Hint: hint})
}

// fault notes a fault of the value n at key, which the message must begin with.
func (d *decoder) fault(n *Node, key, message, hint string) {
	if n.Origin != "" {
		message += " (from " + n.Origin + ")"
	}
	d.issue(position{n.Line, n.Column}, key, message, hint)
}

// label is how messages call the value at key.
func label(key string) string {
	if key == "" {
		return "the document"
	}
	return key
}

func (d *decoder) wrong(n *Node, key, want, hint string) {
	got := n.Kind.String()
	switch n.Kind {
	case String:
		got = fmt.Sprintf("%q", clip(n.scalar()))
	case Int, Float, Bool:
		got = clip(n.scalar())
	case Null, List, Map:
	}
	d.fault(n, key, fmt.Sprintf("%s must be %s, not %s", label(key), want, got), hint)
}

// scalar returns the text of a scalar as it was written.
func (n *Node) scalar() string {
	if n.Text != "" {
		return n.Text
	}
	switch v := n.Value.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func (d *decoder) value(n *Node, v reflect.Value, key string, f field) {
	if n == nil || n.Kind == Null && key != "" {
		return
	}
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			p.Elem().Set(v.Elem())
		}
		before := len(d.issues)
		d.value(n, p.Elem(), key, f)
		if len(d.issues) == before {
			v.Set(p)
		}
		return
	}
	if v.CanAddr() {
		switch u := v.Addr().Interface().(type) {
		case Unmarshaler:
			o := d.o
			o.Prefix = key
			d.issues = append(d.issues, u.UnmarshalNode(n, key, o)...)
			return
		case *time.Duration:
			d.text(n, v, (*caxton.Duration)(u), key, f)
			return
		case encoding.TextUnmarshaler:
			d.text(n, v, u, key, f)
			return
		}
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(n.Plain()))
			return
		}
	case reflect.Struct:
		d.structure(n, v, key)
		return
	case reflect.Map:
		d.mapping(n, v, key, f)
		return
	case reflect.Slice:
		d.list(n, v, key, f)
		return
	case reflect.String:
		d.str(n, v, key, f)
		return
	case reflect.Bool:
		d.boolean(n, v, key)
		return
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.integer(n, v, key, f)
		return
	case reflect.Float32, reflect.Float64:
		d.float(n, v, key, f)
		return
	default:
	}
	panic(fmt.Sprintf("tree: %s has the type %s, which Decode does not know", label(key), v.Type()))
}

func (d *decoder) structure(n *Node, v reflect.Value, key string) {
	if n.Kind != Map {
		d.wrong(n, key, "a table of keys and values", "")
		return
	}
	fields := d.types.of(v.Type())
	given := make(map[string]Field, len(fields)) // by canonical key
	for _, e := range n.Fields {
		f := find(fields, e.Key)
		if f == nil {
			d.unknown(e, key, fields)
			continue
		}
		path := below(key, f.key)
		if first, ok := given[f.key]; ok {
			d.issue(position{e.Line, e.Column}, path,
				fmt.Sprintf("%s is given twice: here and in line %d", written(e, path), first.Line),
				"they mean the same; keep "+f.key)
			continue
		}
		given[f.key] = e
		if f.inert && d.o.Inert != nil && e.Node.Kind != Null {
			d.o.Inert(path, e)
		}
		d.value(e.Node, v.FieldByIndex(f.index), path, *f)
	}
	for _, f := range fields {
		if !f.required {
			continue
		}
		e, ok := given[f.key]
		if ok && !empty(e.Node) {
			continue
		}
		hint := ""
		if f.example != "" {
			hint = "for example " + f.example
		}
		if ok {
			d.issue(position{e.Line, e.Column}, below(key, f.key), below(key, f.key)+" is empty", hint)
			continue
		}
		d.issue(position{n.Line, n.Column}, below(key, f.key), below(key, f.key)+" is missing", hint)
	}
}

// written names a field as the document does.
func written(e Field, path string) string {
	if e.Alias != "" {
		return e.Alias
	}
	if keys := Split(path); len(keys) > 0 && keys[len(keys)-1] != e.Key {
		return Join(append(keys[:len(keys)-1], e.Key)...)
	}
	return path
}

func empty(n *Node) bool {
	switch n.Kind {
	case Null:
		return true
	case String:
		s, _ := n.Value.(string)
		return strings.TrimSpace(s) == ""
	case List:
		return len(n.Items) == 0
	case Map:
		return len(n.Fields) == 0
	case Bool, Int, Float:
	}
	return false
}

func find(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	for i := range fields {
		if slices.Contains(fields[i].aliases, key) {
			return &fields[i]
		}
	}
	return nil
}

func (d *decoder) unknown(e Field, key string, fields []field) {
	if len(d.issues) >= maxIssues {
		return
	}
	keys, all := make([]string, 0, len(fields)), make([]string, 0, len(fields))
	for _, f := range fields {
		keys = append(keys, f.key)
		all = append(append(all, f.key), f.aliases...)
	}
	hint := d.o.UnknownHint
	near := Nearest(e.Key, all)
	elsewhere := d.places(d.root, d.o.Prefix, e.Key, nil)
	if i := slices.IndexFunc(elsewhere, func(p string) bool { return len(Split(p)) == 1 }); i >= 0 {
		elsewhere = elsewhere[i : i+1] // of several places the top level is the likeliest
	}
	switch {
	case len(elsewhere) == 1 && near == "":
		hint = "it belongs at " + elsewhere[0]
		if len(Split(elsewhere[0])) == 1 {
			hint = "it belongs at the top level of the document"
		}
	case near != "":
		hint = "did you mean " + near + "?"
	case len(keys) <= 12 && hint == "":
		hint = "known here: " + strings.Join(keys, ", ")
	}
	path := below(key, e.Key)
	if e.Alias != "" {
		path = e.Alias
	}
	d.issue(position{e.Line, e.Column}, path, "unknown key "+clip(path), hint)
}

// places returns the paths below t at which key is known. Only tables are looked into, each
// type once on the way down.
func (d *decoder) places(t reflect.Type, path, key string, above []reflect.Type) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || slices.Contains(above, t) {
		return nil
	}
	var found []string
	for _, f := range d.types.of(t) {
		if f.key == key || slices.Contains(f.aliases, key) {
			found = append(found, below(path, key))
		}
		found = append(found, d.places(f.typ, below(path, f.key), key, append(above, t))...)
	}
	return found
}

func (d *decoder) mapping(n *Node, v reflect.Value, key string, f field) {
	if n.Kind != Map {
		d.wrong(n, key, "a table of keys and values", "")
		return
	}
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("tree: %s is a map whose keys are not strings", label(key)))
	}
	if !d.count(n, key, len(n.Fields), "entries", f) {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.Fields))
	for _, e := range n.Fields {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(e.Node, elem, below(key, e.Key), field{oneof: f.oneof})
		m.SetMapIndex(reflect.ValueOf(e.Key).Convert(v.Type().Key()), elem)
	}
	v.Set(m)
}

func (d *decoder) list(n *Node, v reflect.Value, key string, f field) {
	if n.Kind != List {
		d.wrong(n, key, "a list", "write it like [one, two]")
		return
	}
	if !d.count(n, key, len(n.Items), "entries", f) {
		return
	}
	s := reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
	for i, item := range n.Items {
		p := key + "[" + strconv.Itoa(i) + "]"
		if item.Kind == Null {
			d.fault(item, p, p+" is empty", "remove the entry or write a value")
			continue
		}
		d.value(item, s.Index(i), p, field{oneof: f.oneof})
	}
	v.Set(s)
}

// count checks a number of things against the bounds of the field.
func (d *decoder) count(n *Node, key string, got int, what string, f field) bool {
	if f.min != "" && got < mustInt(f.min) {
		message := fmt.Sprintf("%s has %d %s; at least %s are needed", label(key), got, what, f.min)
		if got == 0 {
			message = label(key) + " is empty"
		}
		d.fault(n, key, message, "")
		return false
	}
	if f.max != "" && got > mustInt(f.max) {
		d.fault(n, key, fmt.Sprintf("%s has %d %s; at most %s are allowed", label(key), got, what, f.max), "")
		return false
	}
	return true
}

func mustInt(tag string) int {
	i, err := strconv.Atoi(tag)
	if err != nil {
		panic("tree: a tag min or max is not a whole number: " + tag)
	}
	return i
}

func (d *decoder) str(n *Node, v reflect.Value, key string, f field) {
	var s string
	switch {
	case n.Kind == String:
		s, _ = n.Value.(string)
	case (n.Kind == Int || n.Kind == Float) && n.Text != "":
		s = n.Text
	case n.Kind == Int || n.Kind == Float || n.Kind == Bool:
		d.wrong(n, key, "text", "put it in quotes")
		return
	default:
		d.wrong(n, key, "text", "")
		return
	}
	if len(f.oneof) > 0 {
		for _, o := range f.oneof {
			if strings.EqualFold(s, o) {
				v.SetString(o)
				return
			}
		}
		hint := ""
		if near := Nearest(s, f.oneof); near != "" {
			hint = "did you mean " + near + "?"
		}
		d.wrong(n, key, oneOf(f.oneof), hint)
		return
	}
	if f.required && empty(n) {
		return // structure says so
	}
	if d.count(n, key, utf8.RuneCountInString(s), "characters", f) {
		v.SetString(s)
	}
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func (d *decoder) boolean(n *Node, v reflect.Value, key string) {
	if n.Kind == Bool {
		v.SetBool(n.Value == true)
		return
	}
	if n.Kind == String {
		switch strings.ToLower(strings.TrimSpace(n.scalar())) {
		case "true", "yes", "on":
			v.SetBool(true)
			return
		case "false", "no", "off":
			v.SetBool(false)
			return
		}
	}
	d.wrong(n, key, "true or false", "")
}

func (d *decoder) integer(n *Node, v reflect.Value, key string, f field) {
	var i int64
	switch n.Kind {
	case Int:
		i, _ = n.Value.(int64)
	case Float:
		x, _ := n.Value.(float64)
		if i = int64(x); float64(i) != x || x >= 1<<62 || x <= -1<<62 {
			d.wrong(n, key, "a whole number", "")
			return
		}
	case String:
		var err error
		if i, err = strconv.ParseInt(strings.TrimSpace(n.scalar()), 10, 64); err != nil {
			d.wrong(n, key, "a whole number", "")
			return
		}
	case Null, Bool, List, Map:
		d.wrong(n, key, "a whole number", "")
		return
	}
	if v.OverflowInt(i) {
		d.wrong(n, key, "a smaller number", "")
		return
	}
	if d.within(n, key, float64(i), f) {
		v.SetInt(i)
	}
}

func (d *decoder) float(n *Node, v reflect.Value, key string, f field) {
	var x float64
	switch n.Kind {
	case Int:
		i, _ := n.Value.(int64)
		x = float64(i)
	case Float:
		x, _ = n.Value.(float64)
	case String:
		var err error
		if x, err = strconv.ParseFloat(strings.TrimSpace(n.scalar()), 64); err != nil || x-x != 0 { // x-x is NaN when x is not finite
			d.wrong(n, key, "a number", "")
			return
		}
	case Null, Bool, List, Map:
		d.wrong(n, key, "a number", "")
		return
	}
	if d.within(n, key, x, f) {
		v.SetFloat(x)
	}
}

// within checks a number against the bounds of the field.
func (d *decoder) within(n *Node, key string, x float64, f field) bool {
	low := f.min == "" || x >= mustFloat(f.min)
	high := f.max == "" || x <= mustFloat(f.max)
	if low && high {
		return true
	}
	d.wrong(n, key, bounds(f), "")
	return false
}

func bounds(f field) string {
	switch {
	case f.max == "":
		return "at least " + f.min
	case f.min == "":
		return "at most " + f.max
	}
	return f.min + " to " + f.max
}

func mustFloat(tag string) float64 {
	x, err := strconv.ParseFloat(tag, 64)
	if err != nil {
		panic("tree: a tag min or max is not a number: " + tag)
	}
	return x
}

// text decodes a scalar by the type's own notation. Bounds are written in that notation.
func (d *decoder) text(n *Node, v reflect.Value, u encoding.TextUnmarshaler, key string, f field) {
	switch n.Kind {
	case String, Int, Float:
	case Null, Bool, List, Map:
		d.wrong(n, key, wanted(v.Type()), "")
		return
	}
	before := reflect.New(v.Type()).Elem()
	before.Set(v)
	if err := u.UnmarshalText([]byte(n.scalar())); err != nil {
		v.Set(before)
		message, hint := err.Error(), ""
		if e, ok := errors.AsType[*caxton.Error](err); ok {
			message, hint = e.Message, e.Hint
		}
		d.fault(n, key, label(key)+": "+message, hint)
		return
	}
	if v.CanInt() && !d.textWithin(v, f) {
		v.Set(before)
		d.wrong(n, key, bounds(f), "")
	}
}

// textWithin checks a duration or a size against bounds in the same notation.
func (d *decoder) textWithin(v reflect.Value, f field) bool {
	bound := func(tag string) int64 {
		b := reflect.New(v.Type())
		u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](b)
		if p, std := reflect.TypeAssert[*time.Duration](b); std {
			u, ok = (*caxton.Duration)(p), true
		}
		if !ok || u.UnmarshalText([]byte(tag)) != nil {
			panic("tree: a tag min or max cannot be read: " + tag)
		}
		return b.Elem().Int()
	}
	return (f.min == "" || v.Int() >= bound(f.min)) && (f.max == "" || v.Int() <= bound(f.max))
}

// wanted describes a type that is written as text.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[caxton.Duration]():
		return "a duration such as 30s"
	case reflect.TypeFor[caxton.Size]():
		return "a size such as 10MB"
	case reflect.TypeFor[time.Time]():
		return "a time such as 2006-01-02T15:04:05Z"
	}
	return "text"
}
