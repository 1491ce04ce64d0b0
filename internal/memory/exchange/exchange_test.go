package exchange_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/exchange"
	"github.com/google/go-cmp/cmp"
)

func at(hour int) time.Time { return time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC) }

func sample() ([]caxton.Entity, []caxton.Relation) {
	s := caxton.Scope{Kind: caxton.AgentScope, Owner: "a1"}
	es := []caxton.Entity{
		{
			ID: 11, Scope: s, Name: "Alice \"A\"\n<b>", Type: "person", Importance: 0, Metadata: json.RawMessage(`{"a":1}`), Version: 3,
			CreatedAt: at(1), UpdatedAt: at(2), Known: caxton.Span{From: at(1)},
			Observations: []caxton.Observation{
				{
					ID: 21, EntityID: 11, Text: "lives in Köln", Key: "address", Confidence: 0, Valid: caxton.Span{From: at(1), To: at(2)},
					Known: caxton.Span{From: at(1), To: at(3)}, SupersededBy: 22, RevertedBy: "me", Provenance: caxton.Provenance{AgentID: "a1", Version: 2, Tool: "memory_store"},
				},
				{ID: 22, EntityID: 11, Text: "lives in Bonn", Key: "address", Confidence: 0.5, Known: caxton.Span{From: at(3)}, Supersedes: 21},
			},
		},
		{ID: 12, Scope: caxton.Scope{Kind: caxton.GlobalScope}, Name: "Bonn", Type: "place", Importance: 0.5, Version: 1, CreatedAt: at(1), UpdatedAt: at(1)},
	}
	rs := []caxton.Relation{{
		ID: 31, Scope: s, From: 11, To: 12, FromName: es[0].Name, ToName: "Bonn", Type: "lives_in", Strength: 0, Confidence: 1,
		Metadata: json.RawMessage(`{"b":2}`), Valid: caxton.Span{From: at(3)}, Known: caxton.Span{From: at(3)}, Provenance: caxton.Provenance{By: "cli"},
	}}
	return es, rs
}

func write(t *testing.T, f memory.Format, es []caxton.Entity, rs []caxton.Relation, embedding func(caxton.MemoryID) []float32) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := exchange.NewWriter(&b, f, exchange.Metadata{Model: "bag", ExportedAt: at(5)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range es {
		if err := w.Entity(&es[i], embedding); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rs {
		if err := w.Relation(&rs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(r io.Reader) (x *exchange.Reader, es []caxton.Entity, rs []caxton.Relation, lines []int, err error) {
	x, err = exchange.NewReader(r)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	for {
		rec, err := x.Next()
		if errors.Is(err, io.EOF) {
			return x, es, rs, lines, nil
		}
		if err != nil {
			return x, es, rs, lines, err
		}
		lines = append(lines, rec.Line)
		if rec.Entity != nil {
			es = append(es, *rec.Entity)
		} else {
			rs = append(rs, *rec.Relation)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, f := range []memory.Format{memory.JSON, memory.JSONL} {
		es, rs := sample()
		b := write(t, f, es, rs, nil)
		if f == memory.JSON && !json.Valid(b) {
			t.Errorf("not a JSON document:\n%s", b)
		}
		x, gotE, gotR, lines, err := read(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v\n%s", f, err, b)
		}
		if d := cmp.Diff(es, gotE) + cmp.Diff(rs, gotR); d != "" {
			t.Errorf("%s: came back otherwise:\n%s", f, d)
		}
		if m := x.Metadata(); x.Format() != f || m.Model != "bag" || !m.ExportedAt.Equal(at(5)) || f == memory.JSON && (m.EntityCount != 2 || m.RelationCount != 1) {
			t.Errorf("%s: format %s, metadata %+v", f, x.Format(), m)
		}
		text := strings.Split(string(b), "\n")
		for i, what := range []string{"Alice", "Bonn", "lives_in"} {
			if !strings.Contains(text[lines[i]-1], what) {
				t.Errorf("%s: record %d is said to be on line %d: %s", f, i, lines[i], text[lines[i]-1])
			}
		}
		for n := range b { // cut short anywhere it is not taken for the whole
			if n >= len(bytes.TrimSpace(b)) {
				break
			}
			if _, _, _, _, err := read(bytes.NewReader(b[:n])); caxton.KindOf(err) != caxton.Malformed {
				t.Fatalf("%s cut short at %d of %d: %v", f, n, len(b), err)
			}
		}
		empty := write(t, f, nil, nil, nil)
		if _, gotE, gotR, _, err := read(bytes.NewReader(empty)); err != nil || len(gotE)+len(gotR) != 0 {
			t.Errorf("%s: nothing came back as %v, %v, %v\n%s", f, gotE, gotR, err, empty)
		}
	}
}

func TestEmbeddingsAreWritten(t *testing.T) {
	es, _ := sample()
	b := write(t, memory.JSONL, es, nil, func(id caxton.MemoryID) []float32 {
		switch id {
		case 12, 22:
			return []float32{float32(id), 0.25}
		}
		return nil
	})
	x, err := exchange.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	first, _ := x.Next()
	second, _ := x.Next()
	if d := cmp.Diff(map[int][]float32{1: {22, 0.25}}, first.Embeddings) + cmp.Diff(map[int][]float32{-1: {12, 0.25}}, second.Embeddings); d != "" {
		t.Error(d)
	}
}

func TestOthersDocuments(t *testing.T) {
	tests := map[string]struct {
		in       string
		format   memory.Format
		entities string
		relation string
	}{
		"MCP memory server": {
			`{"type":"entity","name":"John","entityType":"person","observations":["speaks Spanish","runs"]}` + "\n\n" +
				`{"type":"relation","from":"John","to":"Acme","relationType":"works_at"}`,
			memory.MCP, "John/person/[speaks Spanish runs]", "John-works_at-Acme",
		},
		"a document with texts and no version": {
			`{"export_metadata": {"agent_id": "x"}, "entities": [{"name":"John","entity_type":"person","observations":["runs"]}],
			"relations": [{"from_entity":"John","to_entity":"Acme","relation_type":"works_at"}], "more": [1]}`,
			memory.JSON, "John/person/[runs]", "John-works_at-Acme",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x, es, rs, _, err := read(strings.NewReader(tt.in))
			if err != nil || len(es) != 1 || len(rs) != 1 {
				t.Fatalf("read %v, %v, %v", es, rs, err)
			}
			var texts []string
			for _, o := range es[0].Observations {
				texts = append(texts, o.Text)
			}
			if got := es[0].Name + "/" + es[0].Type + "/[" + strings.Join(texts, " ") + "]"; got != tt.entities || x.Format() != tt.format {
				t.Errorf("%s: %s, want %s", x.Format(), got, tt.entities)
			}
			if got := rs[0].FromName + "-" + rs[0].Type + "-" + rs[0].ToName; got != tt.relation || rs[0].Strength != caxton.DefaultStrength {
				t.Errorf("relation %s of strength %v, want %s", got, rs[0].Strength, tt.relation)
			}
		})
	}
}

func TestFaultsNameTheLine(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "line 1:"},
		{"[1]", "line 1:"},
		{"hello", "line 1:"},
		{"{}", "line 1:"},
		{"\xEF\xBB\xBF{\"type\":\"entity\",\"name\":\"a\"}\n{\"type\":\"entity\",\n", "line 2:"},
		{`{"type":"entity","name":"a"}` + "\n\n\n" + `{"type":"odd"}`, "line 4:"},
		{`{"type":"entity","name":" "}`, "line 1: the entity has no name"},
		{`{"type":"relation","from":"a"}`, "line 1: the relation lacks"},
		{`{"type":"header","format":"caxton-memory","version":2}`, "version 2"},
		{`{"type":"header","format":"else","version":1}`, "else"},
		{"{\"format\":\"caxton-memory\",\n\"version\":1,\n\"entities\":[\n{\"name\":\"a\"},\n{\"name\":1}]}", "line 5:"},
		{"{\"format\":\"caxton-memory\",\n\"version\":1,\n\"entities\":{}}", "line 3:"},
		{"{\"entities\":[],\n\"entities\":[]}", "line 2:"},
		{"{\"entities\":[]}\n{}", "line 2:"},
		{"{\"version\":1,\n\"relations\":[]}", "line 2:"},
		{"{\"format\":\"caxton-memory\",\"version\":1}", "neither"},
		{`{"type":"header","format":"caxton-memory","version":1}` + "\n" + `{"type":"end","entity_count":1,"relation_count":0}`, "line 2:"},
	} {
		_, _, _, _, err := read(strings.NewReader(c.in))
		if caxton.KindOf(err) != caxton.Malformed || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q in it", c.in, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	es, rs := sample()
	for _, format := range []memory.Format{memory.JSON, memory.JSONL} {
		var b bytes.Buffer
		w, err := exchange.NewWriter(&b, format, exchange.Metadata{})
		if err != nil {
			f.Fatal(err)
		}
		for i := range es {
			if err := w.Entity(&es[i], func(caxton.MemoryID) []float32 { return []float32{1} }); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Relation(&rs[0]); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"type":"entity","name":"John","entityType":"person","observations":["runs"]}` + "\n" + `{"type":"relation","from":"John","to":"A","relationType":"b"}`))
	f.Add([]byte(`{"relations":[{"from":"a","to":"b","relationType":"c"}],"entities":[{"name":"x","observations":["y",{"text":"z"}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, es, rs, lines, err := read(bytes.NewReader(b))
		if err != nil {
			if k := caxton.KindOf(err); k != caxton.Malformed && k != caxton.TooLarge {
				t.Fatalf("a fault of kind %s: %v", k, err)
			}
			return
		}
		for i, l := range lines {
			if n := bytes.Count(b, []byte("\n")) + 1; l < 1 || l > n {
				t.Fatalf("record %d on line %d of %d", i, l, n)
			}
		}
		for i := range es { // names that are no UTF-8 were made so by the decoder
			if es[i].Name == "" {
				t.Fatal("an entity without a name")
			}
		}
		again := write(t, memory.JSONL, es, rs, nil)
		_, es2, rs2, _, err := read(bytes.NewReader(again))
		if err != nil || len(es2) != len(es) || len(rs2) != len(rs) {
			t.Fatalf("what was read is not read again: %v\n%s", err, again)
		}
	})
}
