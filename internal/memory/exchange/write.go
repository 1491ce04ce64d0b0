package exchange

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

// A Writer writes a document. It is used by one goroutine, entities first, and ends with
// Close.
type Writer struct {
	w      *bufio.Writer
	lines  bool
	meta   Metadata
	part   string // the array that is open: "", "entities", "relations"
	filled bool   // the open array has an element
}

// NewWriter begins a document. The counts of meta are not looked at.
func NewWriter(w io.Writer, f memory.Format, meta Metadata) (*Writer, error) {
	if f != memory.JSON && f != memory.JSONL {
		return nil, caxton.Errorf(caxton.Invalid, "format_invalid", "memory cannot be exported as %.40q", f).WithHint("write json or jsonl")
	}
	meta.Format, meta.EntityCount, meta.RelationCount = string(f), 0, 0
	meta.ExportedAt = meta.ExportedAt.UTC().Truncate(time.Millisecond)
	x := &Writer{w: bufio.NewWriterSize(w, 1<<16), lines: f == memory.JSONL, meta: meta}
	if x.lines {
		return x, x.line(struct {
			Kind    string   `json:"type"`
			Format  string   `json:"format"`
			Version int      `json:"version"`
			Meta    Metadata `json:"export_metadata"`
		}{"header", FormatName, Version, meta})
	}
	head := "{\n\"format\": \"" + FormatName + "\",\n\"version\": 1"
	if meta.Model != "" { // the metadata come at the end, with the counts, and this is needed before
		b, err := marshal(meta.Model)
		if err != nil {
			return nil, err
		}
		head += ",\n\"embedding_model\": " + string(bytes.TrimSpace(b))
	}
	_, err := x.w.WriteString(head)
	return x, err
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

func (x *Writer) line(v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = x.w.Write(b)
	return err
}

// element writes one element of an array of the document.
func (x *Writer) element(part string, v any) error {
	if x.lines {
		return x.line(v)
	}
	if err := x.open(part); err != nil {
		return err
	}
	b, err := marshal(v)
	if err != nil {
		return err
	}
	before := "\n"
	if x.filled {
		before = ",\n"
	}
	x.filled = true
	if _, err := x.w.WriteString(before); err != nil {
		return err
	}
	_, err = x.w.Write(bytes.TrimSuffix(b, []byte("\n")))
	return err
}

func (x *Writer) open(part string) error {
	if x.part == part {
		return nil
	}
	s := ",\n\"" + part + "\": ["
	if x.part != "" {
		s = "\n]" + s
	}
	x.part, x.filled = part, false
	_, err := x.w.WriteString(s)
	return err
}

// Entity writes an entity with its observations. embedding, if set, returns the vector of a
// passage, or nil.
func (x *Writer) Entity(e *caxton.Entity, embedding func(caxton.MemoryID) []float32) error {
	if embedding == nil {
		embedding = func(caxton.MemoryID) []float32 { return nil }
	}
	w := entity{
		ID: e.ID, Name: e.Name, Type: e.Type, Scope: e.Scope, Importance: &e.Importance, Metadata: e.Metadata, Version: e.Version,
		CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt, KnownFrom: e.Known.From, KnownTo: e.Known.To,
		Observations: make([]observation, len(e.Observations)), Embedding: embedding(caxton.MemoryID(e.ID)),
	}
	if x.lines {
		w.Kind = "entity"
	}
	for i := range e.Observations {
		o := &e.Observations[i]
		w.Observations[i] = observation{
			ID: o.ID, Text: o.Text, Key: o.Key, Confidence: &o.Confidence, spans: spansOf(o.Valid, o.Known),
			Supersedes: o.Supersedes, SupersededBy: o.SupersededBy, RevertedBy: o.RevertedBy, Provenance: provenance(o.Provenance),
			Embedding: embedding(caxton.MemoryID(o.ID)),
		}
	}
	x.meta.EntityCount++
	return x.element("entities", w)
}

// Relation writes a relation.
func (x *Writer) Relation(r *caxton.Relation) error {
	w := relation{
		ID: r.ID, From: r.FromName, To: r.ToName, FromID: r.From, ToID: r.To, Type: r.Type, Scope: r.Scope, Strength: &r.Strength,
		Confidence: &r.Confidence, Metadata: r.Metadata, spans: spansOf(r.Valid, r.Known), Provenance: provenance(r.Provenance),
	}
	if x.lines {
		w.Kind = "relation"
	}
	x.meta.RelationCount++
	return x.element("relations", w)
}

// Close ends the document; it does not close what is written to.
func (x *Writer) Close() error {
	if x.lines {
		err := x.line(struct {
			Kind      string `json:"type"`
			Entities  int64  `json:"entity_count"`
			Relations int64  `json:"relation_count"`
		}{"end", x.meta.EntityCount, x.meta.RelationCount})
		if err != nil {
			return err
		}
		return x.w.Flush()
	}
	for _, part := range []string{"entities", "relations"} {
		if part == "relations" || x.part == "" {
			if err := x.open(part); err != nil {
				return err
			}
		}
	}
	b, err := marshal(x.meta)
	if err != nil {
		return err
	}
	if _, err := x.w.WriteString("\n],\n\"export_metadata\": " + string(bytes.TrimSpace(b)) + "\n}\n"); err != nil {
		return err
	}
	return x.w.Flush()
}
