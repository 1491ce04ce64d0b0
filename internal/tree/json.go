package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

func (r *reader) json() *Node {
	if len(bytes.TrimSpace(r.text.data)) == 0 {
		return NewMap(1, 1)
	}
	j := &jsonReader{reader: r, dec: json.NewDecoder(bytes.NewReader(r.text.data))}
	j.dec.UseNumber()
	n := j.value(nil, 0)
	if r.broken {
		return nil
	}
	at := j.next()
	if _, err := j.dec.Token(); !errors.Is(err, io.EOF) {
		r.fault(at, "text follows after the end of the document", "remove it, or look for a bracket closed too early")
		return nil
	}
	return n
}

// A jsonReader turns JSON tokens into nodes.
type jsonReader struct {
	*reader
	dec *json.Decoder
}

// start returns the offset where the next token begins.
func (j *jsonReader) start() int {
	data := j.text.data
	i := int(j.dec.InputOffset())
	for i < len(data) && strings.IndexByte(" \t\r\n,:", data[i]) >= 0 {
		i++
	}
	return i
}

// next returns where the next token begins.
func (j *jsonReader) next() position { return j.text.at(j.start()) }

// token reads the next token and where it begins; ok is false after a syntax error.
func (j *jsonReader) token() (t json.Token, at position, ok bool) {
	at = j.next()
	if j.broken {
		return nil, at, false
	}
	t, err := j.dec.Token()
	if err == nil {
		return t, at, true
	}
	// The decoder's error says where it is in its buffer; checking the whole text says
	// where it is in the text.
	var syntax *json.SyntaxError
	if !errors.As(json.Unmarshal(j.text.data, new(json.RawMessage)), &syntax) {
		j.fault(at, err.Error(), "")
		return nil, at, false
	}
	offset := int(syntax.Offset) - 1 // of the byte that was one too many
	if end := len(bytes.TrimRight(j.text.data, " \t\r\n")); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		j.fault(j.text.at(end), "the document ends too early", "close every bracket and quote")
	} else {
		j.fault(j.text.at(offset), syntax.Error(), jsonHint(j.text.data, offset))
	}
	return nil, at, false
}

// jsonHint looks at what stands at offset for the slips that people make.
func jsonHint(data []byte, offset int) string {
	offset = min(offset, len(data))
	before, rest := bytes.TrimRight(data[:offset], " \t\r\n"), data[offset:]
	switch {
	case len(rest) == 0:
		return "close every bracket and quote"
	case bytes.HasSuffix(before, []byte(",")) && (rest[0] == '}' || rest[0] == ']'):
		return "remove the comma before the closing bracket"
	case rest[0] == '\'':
		return "JSON takes double quotes only"
	case rest[0] == '#', rest[0] == '/':
		return "JSON has no comments; remove it, or use YAML or TOML"
	case rest[0] == '"':
		return "a comma may be missing before it"
	case rest[0] == '\n':
		return "close the text with a quote; write a line break in it as \\n"
	}
	return "check commas, colons and quotes near here"
}

func (j *jsonReader) value(path *trail, depth int) *Node {
	t, at, ok := j.token()
	if !ok {
		return nil
	}
	if depth > MaxDepth {
		j.tooDeep(at)
		return nil
	}
	n := &Node{Line: at.line, Column: at.column}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			n.Kind = Map
			j.object(n, path, depth)
		} else {
			n.Kind = List
			j.array(n, path, depth)
		}
	case nil:
		n.Kind = Null
	case bool:
		n.Kind, n.Value = Bool, t
	case string:
		n.Kind, n.Value = String, t
	case json.Number:
		if i, err := strconv.ParseInt(string(t), 10, 64); err == nil {
			n.Kind, n.Value = Int, i
			break
		}
		f, err := strconv.ParseFloat(string(t), 64)
		if err != nil {
			j.fault(at, fmt.Sprintf("%s is too large a number", clip(string(t))), "put it in quotes if it is meant as text")
			return nil
		}
		n.Kind, n.Value = Float, f
	}
	return n
}

func (j *jsonReader) object(n *Node, path *trail, depth int) {
	seen := make(map[string]position)
	for j.dec.More() {
		t, at, ok := j.token()
		if !ok {
			return
		}
		key, _ := t.(string) // the decoder gives nothing else here
		p := path.to(key)
		c := j.value(p, depth+1)
		if c == nil {
			return
		}
		if first, ok := seen[key]; ok {
			j.repeated(p, at, first)
			continue
		}
		seen[key] = at
		n.Fields = append(n.Fields, Field{Key: key, Line: at.line, Column: at.column, Node: c})
	}
	j.token()
}

func (j *jsonReader) array(n *Node, path *trail, depth int) {
	for j.dec.More() {
		c := j.value(path.item(len(n.Items)), depth+1)
		if c == nil {
			return
		}
		n.Items = append(n.Items, c)
	}
	j.token()
}
