package caxton_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/caxton/caxton"
)

func TestMemoryIDs(t *testing.T) {
	for _, id := range []caxton.EntityID{1, 35, 36, 1 << 40, math.MaxInt64} {
		got, err := caxton.ParseEntityID(id.String())
		if err != nil || got != id || len(id.String()) != 17 {
			t.Errorf("ParseEntityID(%q) = %d, %v, want %d", id, got, err, id)
		}
	}
	for _, s := range []string{
		"", "ent_", "ent_1", "obs_0000000000001", "ent_0000000000000", "ent_-000000000001", "ent_+000000000001",
		"ent_00000000000A1", "ent_zzzzzzzzzzzzz", "ent_00000000000001", "ENT_0000000000001", "ent_00000000000_1",
	} {
		if id, err := caxton.ParseEntityID(s); caxton.KindOf(err) != caxton.Invalid || id != 0 {
			t.Errorf("ParseEntityID(%q) = %d, %v, want an Invalid error", s, id, err)
		}
	}
	if _, err := caxton.ParseObservationID("ent_0000000000001"); err == nil {
		t.Error("an entity's ID was read as an observation's")
	}
	in := caxton.Relation{ID: 7, From: 8, Scope: caxton.Scope{Kind: caxton.GlobalScope}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out caxton.Relation
	if err := json.Unmarshal(text, &out); err != nil || out.ID != 7 || out.From != 8 || out.To != 0 || out.Scope != in.Scope {
		t.Errorf("%s came back as %+v, %v", text, out, err)
	}
}

func TestParseScope(t *testing.T) {
	for in, want := range map[string]string{
		"global": "global", "workspace": "workspace:default", "workspace:lab": "workspace:lab",
		"agent:0190a7e2-6a54-7c3f-9f01-3b0d7a4f5c11": "agent:0190a7e2-6a54-7c3f-9f01-3b0d7a4f5c11",
		"": "", "agent": "", "agent:": "", "global:x": "", "workspace:": "", "workspace:a b": "", "Global": "", "all": "",
	} {
		s, err := caxton.ParseScope(in)
		if s.String() != want || (err == nil) != (want != "") || err != nil && caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("ParseScope(%q) = %q, %v, want %q", in, s, err, want)
		}
	}
}

func TestSpan(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		span caxton.Span
		want bool
	}{
		{caxton.Span{}, true},
		{caxton.Span{From: at}, true},
		{caxton.Span{To: at}, false},
		{caxton.Span{From: at.Add(1)}, false},
		{caxton.Span{From: at.Add(-1), To: at.Add(1)}, true},
	} {
		if got := c.span.Holds(at); got != c.want {
			t.Errorf("%v.Holds(%v) = %v, want %v", c.span, at, got, c.want)
		}
	}
}
