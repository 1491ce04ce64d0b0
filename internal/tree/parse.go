package tree

import (
	"bytes"
	"fmt"
	"sort"
	"strconv"
	"unicode/utf8"

	"github.com/caxton/caxton"
)

// A Format is a notation that Parse reads.
type Format string

// The formats.
const (
	YAML Format = "yaml"
	TOML Format = "toml"
	JSON Format = "json"
)

// The bounds of a document.
const (
	MaxInput = 8 << 20 // bytes
	MaxDepth = 64      // tables and lists inside each other
)

// maxIssues is how many issues Parse and Decode report; a reader will not want more.
const maxIssues = 100

// maxAliased bounds how many nodes the aliases of one YAML document may add.
const maxAliased = 100_000

// Parse reads a document. The path is the one that its issues carry. An empty document is
// an empty Map. With any issue that is not a warning the document must not be used; the
// Node is nil then, unless only some keys are repeated: it holds the first of each, so that
// Decode can look for further faults.
//
// A byte order mark is skipped. Input over MaxInput bytes, input that is not UTF-8 or
// contains a NUL, and nesting beyond MaxDepth are issues like syntax errors are; so are
// repeated keys, several YAML documents in one, YAML tags other than those of plain JSON
// types, and numbers that are not finite.
func Parse(f Format, path string, data []byte) (*Node, []caxton.Issue) {
	r := &reader{path: path}
	if !r.open(data) {
		return nil, r.issues
	}
	var n *Node
	switch f {
	case YAML:
		n = r.yaml()
	case TOML:
		n = r.toml()
	case JSON:
		n = r.json()
	default:
		r.fault(position{1, 1}, fmt.Sprintf("%q is not a format", f), "use yaml, toml or json")
	}
	if r.broken {
		n = nil
	}
	sortIssues(r.issues)
	return n, r.issues
}

// Check reports what keeps data from being read as text at all: more than MaxInput bytes,
// a NUL, bytes that are not UTF-8. Parse does the same.
func Check(path string, data []byte) []caxton.Issue {
	r := &reader{path: path}
	r.open(data)
	return r.issues
}

// A reader is the state of one Parse.
type reader struct {
	path   string
	text   text
	issues []caxton.Issue
	broken bool // the document cannot be used, not even to look for more faults

	yamlLines []int     // where lines begin for the YAML parser; nil: not asked yet, empty: as for us
	yamlLast  yamlPlace // the last answer of yamlPosition
}

// fault notes an issue that makes the document unusable.
func (r *reader) fault(at position, message, hint string) {
	r.broken = true
	r.issue(at, "", message, hint)
}

func (r *reader) issue(at position, key, message, hint string) {
	if len(r.issues) == maxIssues {
		return
	}
	if end := r.text.at(len(r.text.data)); at.line > end.line {
		at = end // a parser may speak of the line after the last
	}
	r.issues = append(r.issues, caxton.Issue{Path: r.path, Line: at.line, Column: at.column, Key: key, Message: message, Hint: hint})
}

// repeated notes that the key at the end of t stands in the document twice.
func (r *reader) repeated(t *trail, at, first position) {
	r.issue(at, t.path(), fmt.Sprintf("%s is given twice: here and in line %d", clip(t.path()), first.line), "keep one of them")
}

// A trail is the way to a value, from its end to the root, which is nil. Paths are only
// made of it for issues: with long keys, one for each value could take more room than
// the document.
type trail struct {
	up    *trail
	key   string
	index int // in a list
	list  bool
}

func (t *trail) to(key string) *trail  { return &trail{up: t, key: key} }
func (t *trail) item(index int) *trail { return &trail{up: t, index: index, list: true} }

func (t *trail) path() string {
	if t == nil {
		return ""
	}
	if t.list {
		return t.up.path() + "[" + strconv.Itoa(t.index) + "]"
	}
	return below(t.up.path(), t.key)
}

func (r *reader) tooDeep(at position) {
	r.fault(at, fmt.Sprintf("nested more than %d levels deep", MaxDepth), "flatten the document")
}

// open skips a byte order mark and refuses what is too long or not text.
func (r *reader) open(data []byte) bool {
	if len(data) > MaxInput {
		r.fault(position{1, 1}, fmt.Sprintf("the document has %d bytes; at most %s are read", len(data), caxton.Size(MaxInput)), "split it, or remove what is not needed")
		return false
	}
	r.text = text{data: bytes.TrimPrefix(data, []byte("\ufeff"))}
	for i := 0; i < len(r.text.data); {
		c, size := rune(r.text.data[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRune(r.text.data[i:])
		}
		switch {
		case c == utf8.RuneError && size == 1:
			r.fault(r.text.at(i), "not valid UTF-8", "save the file as UTF-8")
			return false
		case c == 0:
			r.fault(r.text.at(i), "contains a NUL character", "save the file as UTF-8 text")
			return false
		}
		i += size
	}
	return true
}

// sortIssues puts issues in the order of the document.
func sortIssues(issues []caxton.Issue) {
	sort.SliceStable(issues, func(i, j int) bool {
		a, b := issues[i], issues[j]
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
}

// A position counts lines and columns from 1, columns in characters.
type position struct{ line, column int }

// A text finds positions of offsets. It is quick when the offsets grow.
type text struct {
	data   []byte
	offset int // where the last question was
	before position
}

// at returns the position of a byte offset. An offset at or after the end is the position
// just after the last character.
func (t *text) at(offset int) position {
	offset = max(0, min(offset, len(t.data)))
	for offset > 0 && offset < len(t.data) && !utf8.RuneStart(t.data[offset]) {
		offset-- // inside of a character: it stands where it begins
	}
	if offset < t.offset || t.before.line == 0 {
		t.offset, t.before = 0, position{1, 1}
	}
	part := t.data[t.offset:offset]
	if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
		t.before.line += bytes.Count(part, []byte{'\n'})
		t.before.column = 1
		part = part[i+1:]
	}
	t.before.column += utf8.RuneCount(part)
	t.offset = offset
	return t.before
}
