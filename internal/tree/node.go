package tree

import (
	"strconv"
	"strings"
)

// A Kind says what a Node holds.
type Kind uint8

// The kinds of nodes, with the type of Node.Value for each.
const (
	Null   Kind = iota // nil
	Bool               // bool
	Int                // int64
	Float              // float64, always finite
	String             // string; dates and times are strings too
	List               // nil; see Items
	Map                // nil; see Fields
)

// String returns the kind as a reader of the document would call it, such as "a whole number".
func (k Kind) String() string {
	switch k {
	case Null:
		return "nothing"
	case Bool:
		return "true or false"
	case Int:
		return "a whole number"
	case Float:
		return "a number"
	case String:
		return "text"
	case List:
		return "a list"
	case Map:
		return "a table"
	}
	return "kind " + strconv.Itoa(int(k))
}

// A Node is one value of a document. Line and Column count from 1 and say where it begins;
// they are 0 for values that come from elsewhere.
type Node struct {
	Kind   Kind
	Line   int
	Column int
	Value  any     // string, int64, float64, bool or nil, as Kind says
	Text   string  // an unquoted scalar as it was written, such as "1.0" or "0x1F"; else ""
	Fields []Field // of a Map, in the order of the document
	Items  []*Node // of a List
	Origin string  // where a value comes from that is not in the document, such as "CAXTON_SERVER_PORT"; else ""
}

// A Field is one entry of a Map. Line and Column say where its key stands.
type Field struct {
	Key    string
	Line   int
	Column int
	Node   *Node
	Alias  string // the path it was written at, when Move brought it here; else ""
}

// NewString returns a text node without a position, for values that come from flags or
// the environment; origin names the source in messages.
func NewString(value, origin string) *Node {
	return &Node{Kind: String, Value: value, Text: value, Origin: origin}
}

// NewMap returns an empty map that stands at line and column.
func NewMap(line, column int) *Node { return &Node{Kind: Map, Line: line, Column: column} }

// Field returns the entry with exactly this key, or nil. The result points into n.
func (n *Node) Field(key string) *Field {
	if n == nil || n.Kind != Map {
		return nil
	}
	for i := range n.Fields {
		if n.Fields[i].Key == key {
			return &n.Fields[i]
		}
	}
	return nil
}

// Lookup returns the entry at a dotted path such as "memory.search.max_results", or nil.
// The result points into the document. See Join for keys that contain dots.
func (n *Node) Lookup(path string) *Field {
	var f *Field
	for _, key := range Split(path) {
		if f = n.Field(key); f == nil {
			return nil
		}
		n = f.Node
	}
	return f
}

// Set puts value at a dotted path, making the tables in between, and replaces what is
// there. It returns false, and changes nothing, when a table in between is another kind
// of value.
func (n *Node) Set(path string, value *Node) bool {
	return n.put(path, Field{Line: value.Line, Column: value.Column, Node: value})
}

func (n *Node) put(path string, f Field) bool {
	keys := Split(path)
	if len(keys) == 0 || n == nil || n.Kind != Map {
		return false
	}
	last := len(keys) - 1
	for _, key := range keys[:last] {
		next := n.Field(key)
		if next == nil {
			// Build the missing part first, so that a failure leaves no trace; below an
			// absent table nothing can be in the way.
			break
		}
		if next.Node.Kind == Null {
			next.Node.Kind = Map
		}
		if next.Node.Kind != Map {
			return false
		}
		n = next.Node
		keys = keys[1:]
	}
	for len(keys) > 1 {
		m := NewMap(f.Line, f.Column)
		n.Fields = append(n.Fields, Field{Key: keys[0], Line: f.Line, Column: f.Column, Node: m})
		n, keys = m, keys[1:]
	}
	f.Key = keys[0]
	if old := n.Field(f.Key); old != nil {
		*old = f
		return true
	}
	n.Fields = append(n.Fields, f)
	return true
}

// Remove takes the entry at a dotted path out of the document and returns it, and false
// when there is none. Tables that become empty stay.
func (n *Node) Remove(path string) (Field, bool) {
	keys := Split(path)
	if len(keys) == 0 {
		return Field{}, false
	}
	parent := n
	if len(keys) > 1 {
		f := n.Lookup(Join(keys[:len(keys)-1]...))
		if f == nil {
			return Field{}, false
		}
		parent = f.Node
	}
	if parent == nil || parent.Kind != Map {
		return Field{}, false
	}
	for i, f := range parent.Fields {
		if f.Key == keys[len(keys)-1] {
			parent.Fields = append(parent.Fields[:i:i], parent.Fields[i+1:]...)
			return f, true
		}
	}
	return Field{}, false
}

// A Clash is a value that Move found taken: both places of the document say something.
type Clash struct {
	Path string // the path that is taken
	Old  Field  // what was to be moved there; it is no longer in the document
	New  Field  // what is there and stays
}

// Move renames the entry at path from to path to, keeping its positions and setting its
// Alias to from. A table is merged into a table that is there already. What finds its
// place taken is dropped and returned as a Clash, for the caller to report. Moving what
// does not exist does nothing and returns false. A table that Move empties goes away.
func (n *Node) Move(from, to string) (moved bool, clashes []Clash) {
	if from == to {
		return false, nil
	}
	f, ok := n.Remove(from)
	if !ok {
		return false, nil
	}
	n.prune(from)
	f.alias(from)
	return true, n.merge(to, f)
}

// alias notes on f and all below it where they were written.
func (f *Field) alias(path string) {
	f.Alias = path
	f.Node.walk(path, func(p string, c *Field) bool {
		c.Alias = p
		return len(p) < 1000 // paths below a very long key would take too much room
	})
}

// prune removes the tables above path that have become empty.
func (n *Node) prune(path string) {
	keys := Split(path)
	for i := len(keys) - 1; i > 0; i-- {
		above := Join(keys[:i]...)
		f := n.Lookup(above)
		if f == nil || f.Node.Kind != Map || len(f.Node.Fields) > 0 {
			return
		}
		n.Remove(above)
	}
}

func (n *Node) merge(to string, f Field) []Clash {
	there := n.Lookup(to)
	if there == nil || there.Node.Kind == Null {
		if n.put(to, f) {
			return nil
		}
		return []Clash{{Path: to, Old: f, New: n.deepest(to)}}
	}
	if there.Node.Kind != Map || f.Node.Kind != Map {
		return []Clash{{Path: to, Old: f, New: *there}}
	}
	var clashes []Clash
	for _, c := range f.Node.Fields {
		clashes = append(clashes, n.merge(Join(append(Split(to), c.Key)...), c)...)
	}
	return clashes
}

// deepest returns the last entry that exists on the way to path.
func (n *Node) deepest(path string) Field {
	var last Field
	for _, key := range Split(path) {
		f := n.Field(key)
		if f == nil {
			break
		}
		last, n = *f, f.Node
	}
	return last
}

// Walk calls visit for every entry of the tables below n, those inside lists included, each
// before the entries below it, in the order of the document. The path is as Join and the
// messages of Decode write it, such as "tools[2].name". Below an entry for which visit
// returns false nothing is visited. visit may change the entry, not the table it is in.
func (n *Node) Walk(visit func(path string, f *Field) bool) { n.walk("", visit) }

func (n *Node) walk(path string, visit func(string, *Field) bool) {
	if n == nil {
		return
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		p := below(path, f.Key)
		if visit(p, f) {
			f.Node.walk(p, visit)
		}
	}
	for i, item := range n.Items {
		item.walk(path+"["+strconv.Itoa(i)+"]", visit)
	}
}

// Plain returns the value as encoding/json would give it, but with int64 for whole numbers:
// map[string]any, []any, string, int64, float64, bool or nil.
func (n *Node) Plain() any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case Map:
		m := make(map[string]any, len(n.Fields))
		for _, f := range n.Fields {
			m[f.Key] = f.Node.Plain()
		}
		return m
	case List:
		l := make([]any, len(n.Items))
		for i, item := range n.Items {
			l[i] = item.Plain()
		}
		return l
	case Null, Bool, Int, Float, String:
		return n.Value
	}
	return nil
}

// Join makes a dotted path of keys. A key that contains a dot, a quote or a bracket, or is
// empty, is written in quotes.
func Join(keys ...string) string {
	path := ""
	for _, k := range keys {
		path = below(path, k)
	}
	return path
}

func below(path, key string) string {
	if key == "" || strings.ContainsAny(key, ".\"[]\\\n") {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// Split takes a dotted path apart; it undoes Join. "" is the empty path.
func Split(path string) []string {
	var keys []string
	for path != "" {
		if path[0] == '"' {
			if q, err := strconv.QuotedPrefix(path); err == nil {
				if key, err := strconv.Unquote(q); err == nil {
					keys = append(keys, key)
					path = strings.TrimPrefix(path[len(q):], ".")
					continue
				}
			}
		}
		key, rest, _ := strings.Cut(path, ".")
		keys = append(keys, key)
		path = rest
	}
	return keys
}
