package tree

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// toml builds the document from the library's syntax tree, which knows where things stand.
// What the syntax tree leaves open is checked here: which keys and tables may be repeated,
// and by checkScalar the form of numbers and dates.
func (r *reader) toml() *Node {
	t := &tomlReader{reader: r, root: NewMap(1, 1), inline: make(map[*Node]bool), arrays: make(map[*Node]bool), dotted: make(map[*Node]bool), headers: make(map[*Node]position), index: make(map[*Node]map[string]int)}
	t.table = t.root
	t.parser.Reset(r.text.data)
	for !r.broken && t.parser.NextExpression() {
		t.expression(t.parser.Expression())
	}
	var perr *unstable.ParserError
	if err := t.parser.Error(); errors.As(err, &perr) {
		at := len(r.text.data) - 1
		if perr.Highlight != nil {
			at = cap(r.text.data) - cap(perr.Highlight)
		}
		message, hint := tomlAdvice(r.text.data, at, perr.Message)
		r.fault(r.text.at(at), message, hint)
	} else if err != nil {
		r.fault(position{1, 1}, err.Error(), "")
	}
	if r.broken {
		return nil
	}
	return t.root
}

// checkScalar has the library decode a number or a date by itself: the syntax tree leaves
// their exact form open. Decoding the whole document instead would take time that grows
// with the square of the number of keys.
func (t *tomlReader) checkScalar(at position, v string) bool {
	if v[0] >= '1' && v[0] <= '9' && len(v) <= 18 && strings.Trim(v, "0123456789") == "" {
		return true
	}
	var check map[string]any
	err := toml.Unmarshal([]byte("v="+v), &check)
	if err == nil {
		return true
	}
	message := err.Error()
	if derr, ok := errors.AsType[*toml.DecodeError](err); ok {
		if _, column := derr.Position(); column > len("v=") {
			at.column += column - len("v=") - 1
		}
	}
	t.fault(at, fmt.Sprintf("%q is not a value: %s", clip(v), strings.TrimPrefix(message, "toml: ")), "text must be in quotes")
	return false
}

// tomlAdvice looks at the line of a syntax error for the slips that people make. It
// returns the message, in clearer words where there are some, and a hint.
func tomlAdvice(data []byte, offset int, message string) (better, hint string) {
	offset = max(0, min(offset, len(data)))
	start := bytes.LastIndexByte(data[:offset], '\n') + 1
	line := string(data[start:])
	line, _, _ = strings.Cut(line, "\n")
	s := strings.TrimSpace(line)
	key, value, found := strings.Cut(line, "=")
	value = strings.TrimSpace(value)
	inValue := found && offset-start > len(key)
	switch {
	case !found && strings.Contains(s, ":") && !strings.HasPrefix(s, "["):
		return message, "in TOML a key and its value are joined by ="
	case strings.HasPrefix(s, "[") && !found && !strings.Contains(s, "]"):
		return message, "close the table name with ]"
	case found && value == "" && offset-start >= len(key):
		return message, `write a value after =, such as "text", 10 or true`
	case found && !inValue && strings.TrimSpace(key) != "" && offset-start == len(key)-len(strings.TrimLeft(key, " \t")):
		return message, "a bracket or a quote above may not be closed"
	case inValue && strings.Count(value, `"`)%2 == 1:
		return message, `close the text with "`
	case inValue && strings.Count(value, `'`)%2 == 1:
		return message, "close the text with '"
	case inValue && value[0] != '"' && value[0] != '\'' && value[0] != '[' && value[0] != '{':
		if strings.IndexByte("+-0123456789", value[0]) >= 0 {
			return fmt.Sprintf("%q is not a value: %s", clip(value), message), "text must be in quotes"
		}
		return fmt.Sprintf("%q is not a value", clip(value)), "text must be in quotes; numbers, dates, true and false must not"
	}
	return message, "check quotes, brackets and commas near here"
}

// A tomlReader puts the expressions of a TOML document together.
type tomlReader struct {
	*reader
	parser unstable.Parser
	root   *Node
	table  *Node // that key and value pairs go into
	path   *trail
	depth  int
	inline map[*Node]bool // tables written { }: complete, not to be extended
	arrays map[*Node]bool // lists made by [[name]]: they may grow
	dotted map[*Node]bool // tables made by dotted keys: only such keys may add to them
	// headers says where the tables with a header of their own have it: each may have one.
	headers map[*Node]position
	index   map[*Node]map[string]int // where the entries of each table are
}

// field returns the entry of a table, or nil, as Node.Field does; tables can be long here.
func (t *tomlReader) field(n *Node, key string) *Field {
	if i, ok := t.index[n][key]; ok {
		return &n.Fields[i]
	}
	return nil
}

func (t *tomlReader) add(n *Node, f Field) {
	if t.index[n] == nil {
		t.index[n] = make(map[string]int)
	}
	t.index[n][f.Key] = len(n.Fields)
	n.Fields = append(n.Fields, f)
}

// A tomlKey is one part of a dotted key.
type tomlKey struct {
	name string
	at   position
}

// keys returns the parts of a dotted key and the offset after the last.
func (t *tomlReader) keys(it unstable.Iterator) (parts []tomlKey, end int) {
	for it.Next() {
		k := it.Node()
		at := t.text.at(int(k.Raw.Offset))
		parts = append(parts, tomlKey{string(k.Data), at})
		end = int(k.Raw.Offset + k.Raw.Length)
	}
	return parts, end
}

func (t *tomlReader) expression(e *unstable.Node) {
	switch e.Kind { //nolint:exhaustive // the parser gives only these as expressions
	case unstable.KeyValue:
		t.keyValue(e, t.table, t.path, t.depth)
	case unstable.Table:
		parts, _ := t.keys(e.Key())
		t.open(parts, false)
	case unstable.ArrayTable:
		parts, _ := t.keys(e.Key())
		t.open(parts, true)
	}
}

// open makes the table of a header the current one. After a fault the pairs below the
// header go into a table that is not part of the document.
func (t *tomlReader) open(parts []tomlKey, array bool) {
	if len(parts) > MaxDepth {
		t.tooDeep(parts[0].at)
		return
	}
	t.depth = len(parts)
	n, path := t.root, (*trail)(nil)
	for i, p := range parts {
		last := i == len(parts)-1
		path = path.to(p.name)
		f := t.field(n, p.name)
		switch {
		case f == nil:
			c := NewMap(p.at.line, p.at.column)
			if last && array {
				list := &Node{Kind: List, Line: p.at.line, Column: p.at.column, Items: []*Node{c}}
				t.arrays[list] = true
				t.add(n, Field{Key: p.name, Line: p.at.line, Column: p.at.column, Node: list})
				path = path.item(0)
			} else {
				t.add(n, Field{Key: p.name, Line: p.at.line, Column: p.at.column, Node: c})
			}
			n = c
		case t.arrays[f.Node] && (!last || array):
			list := f.Node
			if last {
				list.Items = append(list.Items, NewMap(p.at.line, p.at.column))
			}
			n = list.Items[len(list.Items)-1]
			path = path.item(len(list.Items) - 1)
		case f.Node.Kind == Map && !t.inline[f.Node] && (!last || !array):
			n = f.Node
		default:
			t.repeated(path, p.at, position{f.Line, f.Column})
			t.table, t.path = NewMap(p.at.line, p.at.column), path
			return
		}
	}
	last := parts[len(parts)-1].at
	first, again := t.headers[n]
	if t.dotted[n] {
		first, again = position{n.Line, n.Column}, true
	}
	if again && !array {
		t.repeated(path, last, first)
		t.table, t.path = NewMap(last.line, last.column), path
		return
	}
	t.headers[n] = last
	t.table, t.path = n, path
}

// keyValue adds the pair e to the table n and returns the offset after it.
func (t *tomlReader) keyValue(e *unstable.Node, n *Node, path *trail, depth int) (end int) {
	parts, offset := t.keys(e.Key())
	if depth+len(parts) > MaxDepth {
		t.tooDeep(parts[0].at)
		return offset
	}
	for _, p := range parts[:len(parts)-1] {
		path = path.to(p.name)
		f := t.field(n, p.name)
		if f != nil && !t.dotted[f.Node] {
			t.repeated(path, p.at, position{f.Line, f.Column})
			n = NewMap(p.at.line, p.at.column)
			continue
		}
		if f == nil {
			c := NewMap(p.at.line, p.at.column)
			t.dotted[c] = true
			t.add(n, Field{Key: p.name, Line: p.at.line, Column: p.at.column, Node: c})
			n = c
			continue
		}
		n = f.Node
	}
	p := parts[len(parts)-1]
	path = path.to(p.name)
	v, end := t.value(e.Value(), t.skip(offset, " \t="), path, depth+len(parts))
	if v == nil {
		return end
	}
	if f := t.field(n, p.name); f != nil {
		t.repeated(path, p.at, position{f.Line, f.Column})
		return end
	}
	t.add(n, Field{Key: p.name, Line: p.at.line, Column: p.at.column, Node: v})
	return end
}

// skip returns the first offset from offset on where none of chars stands; when they
// include a newline, comments are skipped too.
func (t *tomlReader) skip(offset int, chars string) int {
	data := t.text.data
	comments := strings.Contains(chars, "\n")
	for offset < len(data) {
		switch c := data[offset]; {
		case strings.IndexByte(chars, c) >= 0:
			offset++
		case c == '#' && comments:
			i := bytes.IndexByte(data[offset:], '\n')
			if i < 0 {
				return len(data)
			}
			offset += i + 1
		default:
			return offset
		}
	}
	return offset
}

const tomlFiller = " \t\r\n,"

// value turns v, which begins at offset, into a Node, and returns the offset after it.
func (t *tomlReader) value(v *unstable.Node, offset int, path *trail, depth int) (n *Node, end int) {
	at := t.text.at(offset)
	if depth > MaxDepth {
		t.tooDeep(at)
		return nil, offset
	}
	n = &Node{Line: at.line, Column: at.column}
	switch v.Kind { //nolint:exhaustive // the others are no values
	case unstable.Array:
		n.Kind = List
		end = t.skip(offset+1, tomlFiller)
		for it := v.Children(); it.Next() && !t.broken; {
			var item *Node
			item, end = t.value(it.Node(), end, path.item(len(n.Items)), depth+1)
			if item == nil {
				return nil, end
			}
			n.Items = append(n.Items, item)
			end = t.skip(end, tomlFiller)
		}
		return n, end + 1
	case unstable.InlineTable:
		n.Kind = Map
		end = t.skip(offset+1, tomlFiller)
		for it := v.Children(); it.Next() && !t.broken; {
			end = t.skip(t.keyValue(it.Node(), n, path, depth), tomlFiller)
		}
		t.inline[n] = true
		return n, end + 1
	}
	end = int(v.Raw.Offset + v.Raw.Length)
	s := string(v.Data)
	n.Text = s
	if v.Kind != unstable.String && v.Kind != unstable.Bool && !t.checkScalar(at, s) {
		return nil, end
	}
	switch v.Kind { //nolint:exhaustive // the others are done above
	case unstable.String:
		n.Kind, n.Value, n.Text = String, s, ""
	case unstable.Bool:
		n.Kind, n.Value = Bool, s == "true"
	case unstable.Integer:
		i, err := strconv.ParseInt(strings.TrimPrefix(strings.ReplaceAll(s, "_", ""), "+"), tomlBase(s), 64)
		if err != nil {
			t.fault(at, fmt.Sprintf("%q is not a whole number in range", clip(s)), "text must be in quotes")
			return nil, end
		}
		n.Kind, n.Value = Int, i
	case unstable.Float:
		f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			t.fault(at, fmt.Sprintf("%q is not a finite number", clip(s)), "text must be in quotes")
			return nil, end
		}
		n.Kind, n.Value = Float, f
	default: // dates and times
		n.Kind, n.Value = String, s
	}
	return n, end
}

// tomlBase says how to read an integer: a leading zero never means octal in TOML.
func tomlBase(s string) int {
	if len(s) > 1 && s[0] == '0' && strings.IndexByte("xob", s[1]) >= 0 {
		return 0
	}
	return 10
}
