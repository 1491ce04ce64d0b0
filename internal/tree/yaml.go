package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

func (r *reader) yaml() *Node {
	dec := yaml.NewDecoder(bytes.NewReader(r.text.data))
	var doc yaml.Node
	switch err := decodeYAML(dec, &doc); {
	case errors.Is(err, io.EOF):
		return NewMap(1, 1)
	case err != nil:
		r.yamlFault(err)
		return nil
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode {
		if len(doc.Content) == 0 {
			return NewMap(1, 1)
		}
		root = doc.Content[0]
	}
	var second yaml.Node
	switch err := decodeYAML(dec, &second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.yamlFault(err)
		return nil
	default:
		at := position{second.Line, second.Column}
		if len(second.Content) > 0 {
			at = position{second.Content[0].Line, second.Content[0].Column}
		}
		r.fault(r.yamlPosition(at.line, at.column), "a second YAML document begins here", "keep one document and remove the line ---")
		return nil
	}
	y := yamlReader{reader: r, open: make(map[*yaml.Node]bool)}
	n := y.node(root, nil, 0)
	if n != nil && n.Kind == Null {
		return NewMap(1, 1)
	}
	return n
}

// decodeYAML guards against panics of the parser on hostile input: whatever it trips
// over, the document cannot be read.
func decodeYAML(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	return dec.Decode(n)
}

// A yamlReader turns yaml nodes into ours.
type yamlReader struct {
	*reader
	open    map[*yaml.Node]bool // anchored nodes we are inside of
	aliases int                 // depth of aliases we are inside of
	alias   position            // of the outermost of them
	added   int                 // nodes that aliases added
}

func (y *yamlReader) at(n *yaml.Node) position { return y.yamlPosition(n.Line, n.Column) }

func (y *yamlReader) node(n *yaml.Node, path *trail, depth int) *Node {
	at := y.at(n)
	if y.broken {
		return nil
	}
	if depth > MaxDepth {
		y.tooDeep(at)
		return nil
	}
	if y.aliases > 0 {
		if y.added++; y.added > maxAliased {
			y.fault(y.alias, fmt.Sprintf("aliases make the document grow by more than %d values", maxAliased), "write out what the aliases stand for, or use fewer")
			return nil
		}
	}
	if n.Kind == yaml.AliasNode {
		if y.open[n.Alias] {
			y.fault(at, fmt.Sprintf("the alias *%s contains itself", n.Value), "write out what it stands for")
			return nil
		}
		y.open[n.Alias] = true
		if y.aliases == 0 {
			y.alias = at
		}
		y.aliases++
		c := y.node(n.Alias, path, depth)
		y.aliases--
		delete(y.open, n.Alias)
		return c
	}
	if n.Style&yaml.TaggedStyle != 0 && !plainTag(n.ShortTag()) {
		y.fault(at, fmt.Sprintf("the tag %s is not known", n.Tag), "remove the tag")
		return nil
	}
	if n.Anchor != "" {
		y.open[n] = true
		defer delete(y.open, n)
	}
	out := &Node{Line: at.line, Column: at.column}
	switch n.Kind {
	case yaml.MappingNode:
		out.Kind = Map
		y.mapping(n, out, path, depth)
	case yaml.SequenceNode:
		out.Kind = List
		out.Items = make([]*Node, 0, len(n.Content))
		for i, c := range n.Content {
			item := y.node(c, path.item(i), depth+1)
			if item == nil {
				return nil
			}
			out.Items = append(out.Items, item)
		}
	case yaml.ScalarNode:
		y.scalar(n, out)
	case yaml.DocumentNode, yaml.AliasNode:
		y.fault(at, "cannot be read as YAML", "")
	}
	return out
}

func plainTag(tag string) bool {
	switch tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!merge", "!!timestamp":
		return true
	}
	return false
}

func (y *yamlReader) mapping(n *yaml.Node, out *Node, path *trail, depth int) {
	type merge struct{ from, key *yaml.Node }
	var merges []merge
	seen := make(map[string]position, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && !y.broken; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := y.at(k)
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			merges = append(merges, merge{v, k})
			continue
		}
		name := k
		if k.Kind == yaml.AliasNode {
			name = k.Alias
		}
		if name.Kind != yaml.ScalarNode {
			y.fault(at, "a key must be text", "write key: value; put { } or [ ] in quotes if they are meant literally")
			return
		}
		key := name.Value
		if first, ok := seen[key]; ok {
			y.repeated(path.to(key), at, first)
			y.node(v, path.to(key), depth+1) // for the faults in it
			continue
		}
		seen[key] = at
		if c := y.node(v, path.to(key), depth+1); c != nil {
			out.Fields = append(out.Fields, Field{Key: key, Line: at.line, Column: at.column, Node: c})
		}
	}
	for _, m := range merges {
		sources := []*yaml.Node{m.from}
		if m.from.Kind == yaml.SequenceNode {
			sources = m.from.Content
		}
		for _, s := range sources {
			c := y.node(s, path, depth)
			if c == nil {
				return
			}
			if c.Kind != Map {
				y.fault(y.at(s), "<< must be followed by an alias of a table", "write <<: *name, where &name marks a table")
				return
			}
			for _, f := range c.Fields {
				if _, ok := seen[f.Key]; !ok {
					seen[f.Key] = position{f.Line, f.Column}
					out.Fields = append(out.Fields, f)
				}
			}
		}
	}
}

func (y *yamlReader) scalar(n *yaml.Node, out *Node) {
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	if plain {
		out.Text = n.Value
	}
	bad := func(what string) {
		y.fault(y.at(n), fmt.Sprintf("%q is not %s", clip(n.Value), what), "put it in quotes if it is meant as text")
	}
	switch n.ShortTag() {
	case "!!null":
		out.Kind = Null
	case "!!bool":
		out.Kind = Bool
		switch strings.ToLower(n.Value) {
		case "true":
			out.Value = true
		case "false":
			out.Value = false
		default:
			bad("true or false")
		}
	case "!!int":
		digits := strings.ReplaceAll(n.Value, "_", "")
		if i, err := strconv.ParseInt(digits, 0, 64); err == nil {
			out.Kind, out.Value = Int, i
			return
		}
		// Beyond 64 bits a number goes on as a floating point number, as in JSON.
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			bad("a whole number in range")
			return
		}
		out.Kind, out.Value = Float, f
	case "!!float":
		f, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			bad("a finite number")
			return
		}
		out.Kind, out.Value = Float, f
	case "!!map", "!!seq":
		y.fault(y.at(n), fmt.Sprintf("the tag %s does not fit a single value", n.Tag), "remove the tag")
	default:
		out.Kind, out.Value = String, n.Value
	}
}

// clip shortens text that is quoted in a message.
func clip(s string) string {
	if utf8.RuneCountInString(s) <= 60 {
		return s
	}
	return string([]rune(s)[:60]) + "…"
}

// yamlPosition turns a position of the YAML parser into ours. They differ only in documents
// with the line breaks that YAML 1.1 knows besides LF and CR LF.
func (r *reader) yamlPosition(line, column int) position {
	if r.yamlLines == nil {
		r.yamlLines = yamlLines(r.text.data)
	}
	if len(r.yamlLines) == 0 {
		return position{max(line, 1), max(column, 1)}
	}
	line = max(1, min(line, len(r.yamlLines)))
	at := yamlPlace{line, 1, r.yamlLines[line-1]}
	if r.yamlLast.line == line && r.yamlLast.column <= column {
		at = r.yamlLast // nodes come in order: go on from the last one
	}
	for at.column < column && at.offset < len(r.text.data) {
		_, size := utf8.DecodeRune(r.text.data[at.offset:])
		at.offset += size
		at.column++
	}
	r.yamlLast = at
	return r.text.at(at.offset)
}

// A yamlPlace is a position as the YAML parser counts, with its offset.
type yamlPlace struct{ line, column, offset int }

// yamlLines returns where the lines begin for the YAML parser, or an empty slice when these
// are the same as ours.
func yamlLines(data []byte) []int {
	starts, exotic := []int{0}, false
	for i := range data {
		switch {
		case data[i] == '\n':
			starts = append(starts, i+1)
		case data[i] == '\r':
			if i+1 < len(data) && data[i+1] == '\n' {
				continue
			}
			exotic = true
			starts = append(starts, i+1)
		case bytes.HasPrefix(data[i:], []byte("\u0085")):
			exotic = true
			starts = append(starts, i+2)
		case bytes.HasPrefix(data[i:], []byte("\u2028")), bytes.HasPrefix(data[i:], []byte("\u2029")):
			exotic = true
			starts = append(starts, i+3)
		}
	}
	if !exotic {
		return []int{}
	}
	return starts
}
