package exchange

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

// MaxLine is the most bytes that one line of JSON lines may have.
const MaxLine = 64 << 20

// A Reader reads a document of any format. It is used by one goroutine.
type Reader struct {
	format memory.Format
	meta   Metadata
	next   func() (Record, error)
	err    error // how it ended
}

// NewReader finds out which format r has and returns a Reader of it.
func NewReader(r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(1 << 12)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read memory: %w", err)
	}
	if bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")) {
		if _, err := b.Discard(3); err != nil {
			return nil, err
		}
		head = head[3:]
	}
	x := &Reader{}
	dec := json.NewDecoder(bytes.NewReader(head))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed(1, "it is neither a JSON document nor JSON lines", nil).
			WithHint("import what caxton memory export wrote, or the JSONL file of an MCP memory server")
	}
	key, _ := dec.Token() // what it is will be seen
	switch key {
	case "format", "version", "export_metadata", "metadata", "entities", "relations":
		d := &document{x: x, lines: &lineCounter{r: b}}
		d.dec = json.NewDecoder(d.lines)
		x.format, x.next = memory.JSON, d.record
		return x, d.begin()
	}
	l := &lineReader{x: x, r: b}
	x.format, x.next = memory.MCP, l.record
	return x, l.begin()
}

// Format returns the format of the document.
func (x *Reader) Format() memory.Format { return x.format }

// Metadata returns what the document says of itself, as far as it has been read.
func (x *Reader) Metadata() Metadata { return x.meta }

// Next returns the next entity or relation, or io.EOF after the last. Any other error is
// Malformed, names the line, and comes again at every later call.
func (x *Reader) Next() (Record, error) {
	if x.err != nil {
		return Record{}, x.err
	}
	r, err := x.next()
	x.err = err
	return r, err
}

func malformed(line int, what string, cause error) *caxton.Error {
	if cause != nil {
		what += ": " + cause.Error()
	}
	return caxton.Errorf(caxton.Malformed, "memory_import_malformed", "line %d: %s", line, what)
}

func checkHeader(line int, format string, version int) error {
	if format != FormatName || version < 1 {
		return malformed(line, fmt.Sprintf("it is of the format %.40q", format), nil)
	}
	if version > Version {
		return malformed(line, fmt.Sprintf("it is version %d of the format, this server reads up to %d", version, Version), nil).
			WithHint("import it into a newer server")
	}
	return nil
}

// A lineReader reads JSON lines, ours or those of the MCP memory server.
type lineReader struct {
	x    *Reader
	r    *bufio.Reader
	line int
	peek []byte // a line read ahead
	seen Metadata
	end  bool
}

func (l *lineReader) begin() error {
	b, err := l.read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	var head struct {
		Kind    string   `json:"type"`
		Format  string   `json:"format"`
		Version int      `json:"version"`
		Meta    Metadata `json:"export_metadata"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return malformed(l.line, "it cannot be read", err)
	}
	if head.Kind != "header" {
		l.peek = b
		return nil
	}
	l.x.format, l.x.meta = memory.JSONL, head.Meta
	return checkHeader(l.line, head.Format, head.Version)
}

// read returns the next line that is not empty.
func (l *lineReader) read() ([]byte, error) {
	if b := l.peek; b != nil {
		l.peek = nil
		return b, nil
	}
	for {
		var line []byte
		for {
			part, err := l.r.ReadSlice('\n')
			line = append(line, part...)
			if len(line) > MaxLine {
				return nil, caxton.Errorf(caxton.TooLarge, "memory_import_line_too_long", "line %d has more than %d bytes", l.line+1, MaxLine)
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("read memory: %w", err)
			}
			if err != nil && len(bytes.TrimSpace(line)) == 0 {
				return nil, io.EOF
			}
			break
		}
		l.line++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

func (l *lineReader) record() (Record, error) {
	b, err := l.read()
	if errors.Is(err, io.EOF) {
		if l.x.format == memory.JSONL && !l.end {
			return Record{}, malformed(l.line+1, "the last line is missing: the file is cut short", nil)
		}
		return Record{}, io.EOF
	}
	if err != nil {
		return Record{}, err
	}
	if l.end {
		return Record{}, malformed(l.line, "there is more after the last line", nil)
	}
	var kind struct {
		Kind      string `json:"type"`
		Entities  int64  `json:"entity_count"`
		Relations int64  `json:"relation_count"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return Record{}, malformed(l.line, "it cannot be read", err)
	}
	switch kind.Kind {
	case "entity":
		l.seen.EntityCount++
		return readEntity(b, l.line)
	case "relation":
		l.seen.RelationCount++
		return readRelation(b, l.line)
	case "end":
		if l.x.format == memory.JSONL {
			l.end = true
			if kind.Entities != l.seen.EntityCount || kind.Relations != l.seen.RelationCount {
				return Record{}, malformed(l.line, fmt.Sprintf("there were to be %d entities and %d relations, but there are %d and %d",
					kind.Entities, kind.Relations, l.seen.EntityCount, l.seen.RelationCount), nil)
			}
			return l.record()
		}
	}
	return Record{}, malformed(l.line, fmt.Sprintf("%.40q is neither an entity nor a relation", kind.Kind), nil)
}

func readEntity(b []byte, line int) (Record, error) {
	var w entity
	if err := json.Unmarshal(b, &w); err != nil {
		return Record{}, malformed(line, "the entity cannot be read", err)
	}
	e, embeddings := entityOf(&w)
	if strings.TrimSpace(e.Name) == "" {
		return Record{}, malformed(line, "the entity has no name", nil)
	}
	return Record{Line: line, Entity: e, Embeddings: embeddings}, nil
}

func readRelation(b []byte, line int) (Record, error) {
	var w relation
	if err := json.Unmarshal(b, &w); err != nil {
		return Record{}, malformed(line, "the relation cannot be read", err)
	}
	r := relationOf(&w)
	if r.FromName == "" && r.From == 0 || r.ToName == "" && r.To == 0 || r.Type == "" {
		return Record{}, malformed(line, "the relation lacks an end or its type", nil)
	}
	return Record{Line: line, Relation: r}, nil
}

// A document reads a JSON document, element by element.
type document struct {
	x       *Reader
	dec     *json.Decoder
	lines   *lineCounter
	part    string // the array that is being read, or ""
	format  string
	version int
	seen    map[string]bool
}

func (d *document) fail(what string, err error) error {
	at := d.dec.InputOffset()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = max(at, syntax.Offset-1)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the document is cut short")
	}
	return malformed(d.lines.line(at), what, err)
}

func (d *document) begin() error {
	d.seen = map[string]bool{}
	if _, err := d.dec.Token(); err != nil {
		return d.fail("it cannot be read", err)
	}
	return nil
}

func (d *document) record() (Record, error) {
	for {
		if d.part != "" {
			if d.dec.More() {
				return d.element()
			}
			if _, err := d.dec.Token(); err != nil {
				return Record{}, d.fail("the "+d.part+" cannot be read", err)
			}
			d.part = ""
		}
		if !d.dec.More() {
			return Record{}, d.finish()
		}
		if err := d.member(); err != nil {
			return Record{}, err
		}
	}
}

// member reads a member of the document, of an array its beginning only.
func (d *document) member() error {
	t, err := d.dec.Token()
	if err != nil {
		return d.fail("it cannot be read", err)
	}
	key, _ := t.(string)
	if d.seen[key] {
		return d.fail(fmt.Sprintf("%.40q is there twice", key), nil)
	}
	d.seen[key] = true
	switch key {
	case "format":
		err = d.dec.Decode(&d.format)
	case "version":
		err = d.dec.Decode(&d.version)
	case "embedding_model":
		err = d.dec.Decode(&d.x.meta.Model)
	case "export_metadata", "metadata":
		err = d.dec.Decode(&d.x.meta)
	case "entities", "relations":
		if d.format != "" || d.version != 0 { // else it is another's document, as the REST API of old wrote it
			if err := checkHeader(d.lines.line(d.dec.InputOffset()), d.format, d.version); err != nil {
				return err
			}
		}
		if t, err = d.dec.Token(); err == nil && t != json.Delim('[') {
			return d.fail(key+" is not an array", nil)
		}
		d.part = key
	default:
		var skipped json.RawMessage
		err = d.dec.Decode(&skipped)
	}
	if err != nil {
		return d.fail(fmt.Sprintf("%.40q cannot be read", key), err)
	}
	return nil
}

func (d *document) element() (Record, error) {
	var b json.RawMessage
	if err := d.dec.Decode(&b); err != nil {
		return Record{}, d.fail("the "+d.part+" cannot be read", err)
	}
	line := d.lines.line(d.dec.InputOffset() - int64(len(b)))
	if d.part == "entities" {
		return readEntity(b, line)
	}
	return readRelation(b, line)
}

func (d *document) finish() error {
	if _, err := d.dec.Token(); err != nil {
		return d.fail("it cannot be read", err)
	}
	if _, err := d.dec.Token(); !errors.Is(err, io.EOF) {
		return d.fail("there is more after the document", nil)
	}
	if !d.seen["entities"] && !d.seen["relations"] {
		return d.fail("it has neither entities nor relations", nil)
	}
	return io.EOF
}

// A lineCounter remembers where lines begin in what a decoder has read ahead.
type lineCounter struct {
	r       io.Reader
	at      int64
	breaks  []int64 // offsets of line breaks not yet counted
	counted int
}

func (c *lineCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\n' {
			c.breaks = append(c.breaks, c.at+int64(i))
		}
	}
	c.at += int64(n)
	return n, err
}

// line returns the line of an offset; offsets only grow, but for the last of them.
func (c *lineCounter) line(at int64) int {
	n := sort.Search(len(c.breaks), func(i int) bool { return c.breaks[i] >= at })
	c.counted += n
	c.breaks = c.breaks[n:]
	return c.counted + 1
}
