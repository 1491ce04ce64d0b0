package remembering_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/remembering"
	"github.com/google/go-cmp/cmp"
)

// A brain is a memory that notes what it is asked and knows Ann and Porto.
type brain struct {
	access  memory.Access
	memos   []memory.Memo
	by      caxton.Provenance
	query   memory.Query
	forget  memory.Forgetting
	twice   bool // every fact is known already
	nothing bool // a search finds nothing
}

func (b *brain) Remember(_ context.Context, a memory.Access, memos []memory.Memo, by caxton.Provenance) (memory.Written, error) {
	b.access, b.memos, b.by = a, memos, by
	r := memory.Remembered{Entity: caxton.Entity{ID: 5, Name: memos[0].Name, Scope: memos[0].Scope}, Created: true}
	for range memos[0].Notes {
		n := memory.Noted{ID: 9, Duplicate: b.twice}
		if memos[0].Notes[0].Key != "" {
			n.Superseded = []caxton.ObservationID{8}
		}
		r.Observations = append(r.Observations, n)
	}
	for range memos[0].Links {
		r.Relations = append(r.Relations, caxton.Relation{ID: 3})
	}
	return memory.Written{Remembered: []memory.Remembered{r}}, nil
}

func (b *brain) Search(_ context.Context, q memory.Query) (memory.Result, error) {
	b.query = q
	if b.nothing {
		return memory.Result{}, nil
	}
	return memory.Result{Hits: []memory.Hit{{Score: 0.75, Entity: caxton.Entity{
		ID: 5, Name: "Ann", Type: "person", Scope: caxton.Scope{Kind: caxton.GlobalScope}, Observations: []caxton.Observation{
			{ID: 9, Text: "Lives\nin Porto", Key: "home", Valid: caxton.Span{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}},
		},
	}}}}, nil
}

func (b *brain) Named(_ context.Context, _ memory.Access, name string, _ memory.AsOf) ([]caxton.Entity, error) {
	switch name {
	case "Ann":
		return []caxton.Entity{{ID: 5, Name: "Ann"}, {ID: 50, Name: "Ann"}}, nil
	case "Porto":
		return []caxton.Entity{{ID: 6, Name: "Porto"}}, nil
	}
	return nil, nil
}

func (b *brain) Forget(_ context.Context, a memory.Access, f memory.Forgetting) (memory.Changed, error) {
	b.access, b.forget = a, f
	return memory.Changed{Entities: f.Entities, Observations: f.Observations}, nil
}

// profiles knows one agent that shares a workspace, and one without memory.
type profiles struct{}

func (profiles) Profile(_ context.Context, id caxton.AgentID) (memory.Profile, error) {
	switch id {
	case "a1":
		return memory.Profile{Agent: "a1", Slug: "ann", Version: 4, Settings: caxton.MemorySettings{Enabled: true, Scope: "workspace", MaxResults: 7}}, nil
	case "a2":
		return memory.Profile{Agent: "a2", Slug: "bob"}, nil
	}
	return memory.Profile{}, caxton.Errorf(caxton.NotFound, "agent_not_found", "there is no such agent")
}

// set returns the tools as an agent has them: arguments are checked.
func set(t *testing.T, b *brain) *tool.Granted {
	t.Helper()
	all, err := remembering.New(b, profiles{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := tool.NewSet(nil, all...)
	if err != nil {
		t.Fatal(err)
	}
	def := caxton.Definition{Tools: []caxton.ToolGrant{{Name: "memory_store"}, {Name: "memory_search"}, {Name: "memory_relate"}, {Name: "memory_forget"}}}
	return s.For(&def)
}

func call(agent caxton.AgentID, args string) tool.Call {
	return tool.Call{ID: "c", Args: json.RawMessage(args), AgentID: agent, Message: caxton.Message{ID: "m1", ConversationID: "c1"}}
}

func scopes(a memory.Access) string {
	out := []string{}
	for _, s := range a.Scopes {
		out = append(out, s.String())
	}
	return strings.Join(out, " ")
}

func TestStore(t *testing.T) {
	half := 0.5
	for name, c := range map[string]struct {
		args  string
		twice bool
		want  memory.Memo
		text  string
	}{
		"a fact": {
			`{"entity":"Ann","type":"person","fact":"Ann lives in Porto."}`, false,
			memory.Memo{Scope: caxton.Scope{Kind: "workspace", Owner: "default"}, Name: "Ann", Type: "person", Notes: []memory.Note{{Text: "Ann lives in Porto."}}},
			"Remembered about Ann (obs_0000000000009).",
		},
		"a fact of its own": {
			`{"entity":"Ann","fact":"x","scope":"agent","confidence":0.5,"importance":0.5,"valid_from":"2026-03-01","valid_to":"2026-04-01T10:00:00+02:00"}`, false,
			memory.Memo{Scope: caxton.Scope{Kind: "agent", Owner: "a1"}, Name: "Ann", Importance: &half, Notes: []memory.Note{{
				Text: "x", Confidence: &half, Valid: caxton.Span{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 4, 1, 8, 0, 0, 0, time.UTC)},
			}}},
			"Remembered about Ann (obs_0000000000009).",
		},
		"another address": {
			`{"entity":"Ann","fact":"x","about":"home"}`, false,
			memory.Memo{Scope: caxton.Scope{Kind: "workspace", Owner: "default"}, Name: "Ann", Notes: []memory.Note{{Text: "x", Key: "home"}}},
			"Remembered about Ann, in place of what was known before (obs_0000000000009).",
		},
		"known": {
			`{"entity":"Ann","fact":"x"}`, true,
			memory.Memo{Scope: caxton.Scope{Kind: "workspace", Owner: "default"}, Name: "Ann", Notes: []memory.Note{{Text: "x"}}},
			"That was known already about Ann.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &brain{twice: c.twice}
			res, err := set(t, b).Call(t.Context(), "memory_store", call("a1", c.args))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, b.memos[0]); diff != "" {
				t.Errorf("memo (-want +got)\n%s", diff)
			}
			if res.Text != c.text {
				t.Errorf("the model reads %q, want %q", res.Text, c.text)
			}
			if b.by != (caxton.Provenance{ConversationID: "c1", MessageID: "m1", AgentID: "a1", Version: 4, Tool: "memory_store"}) {
				t.Errorf("it comes from %+v", b.by)
			}
			if scopes(b.access) != "agent:a1 workspace:default" {
				t.Errorf("written with access to %s", scopes(b.access))
			}
		})
	}
}

func TestSearch(t *testing.T) {
	b := &brain{}
	res, err := set(t, b).Call(t.Context(), "memory_search", call("a1", `{"query":"where does Ann live?","types":["person"],"since":"2026-01-01","as_of":"2026-05-01","min_similarity":0.3}`))
	if err != nil {
		t.Fatal(err)
	}
	q := &b.query
	if q.Text != "where does Ann live?" || q.Limit != 7 || q.MinSimilarity != 0.3 || q.Filter.Types[0] != "person" || q.Filter.Since.Year() != 2026 ||
		q.Filter.AsOf == nil || q.Filter.AsOf.Valid.Month() != time.May || scopes(q.Access) != "agent:a1 workspace:default" || q.Access.All {
		t.Errorf("the query is %+v", q)
	}
	if want := "Ann (person, ent_0000000000005), score 0.75\n- Lives in Porto (obs_0000000000009, true since 2026-03-01)"; res.Text != want {
		t.Errorf("the model reads\n%s\nwant\n%s", res.Text, want)
	}
	if !strings.Contains(string(res.Data), `"id":"obs_0000000000009"`) {
		t.Errorf("data %s", res.Data)
	}
	b.nothing = true
	if res, err = set(t, b).Call(t.Context(), "memory_search", call("a1", `{"query":"x","limit":3}`)); err != nil || res.Text != "Nothing is remembered that fits." || b.query.Limit != 3 {
		t.Errorf("%q, %v, limit %d", res.Text, err, b.query.Limit)
	}
}

func TestRelateAndForget(t *testing.T) {
	b := &brain{}
	tools := set(t, b)
	if _, err := tools.Call(t.Context(), "memory_relate", call("a1", `{"from":"Ann","type":"lives_in","to":"Porto","strength":1}`)); err != nil {
		t.Fatal(err)
	}
	if m := b.memos[0]; m.ID != 5 || m.Links[0].ToID != 6 || m.Links[0].Type != "lives_in" || *m.Links[0].Strength != 1 {
		t.Errorf("related by %+v", m)
	}
	for args, want := range map[string]memory.Forgetting{
		`{"id":"obs_0000000000009"}`: {Observations: []caxton.ObservationID{9}},
		`{"id":"ent_0000000000005"}`: {Entities: []caxton.EntityID{5}},
		`{"entity":"Ann"}`:           {Entities: []caxton.EntityID{5}},
	} {
		if _, err := tools.Call(t.Context(), "memory_forget", call("a1", args)); err != nil {
			t.Fatal(err)
		}
		want.By = caxton.Provenance{ConversationID: "c1", MessageID: "m1", AgentID: "a1", Version: 4, Tool: "memory_forget"}
		if diff := cmp.Diff(want, b.forget); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", args, diff)
		}
	}
	if res, err := tools.Call(t.Context(), "memory_forget", call("a1", `{"entity":"Zoe"}`)); err != nil || res.Text != "Nothing is remembered of Zoe." {
		t.Errorf("%q, %v", res.Text, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		tool, args string
		agent      caxton.AgentID
		kind       caxton.Kind
		code       string
	}{
		{"memory_store", `{"entity":"Ann","fact":"x","scope":"global"}`, "a1", caxton.Forbidden, "scope_forbidden"},
		{"memory_store", `{"entity":"Ann","fact":"x","scope":"all"}`, "a1", caxton.Invalid, ""},
		{"memory_store", `{"entity":"","fact":"x"}`, "a1", caxton.Invalid, ""},
		{"memory_store", `{"entity":"Ann","fact":"x","confidence":2}`, "a1", caxton.Invalid, ""},
		{"memory_store", `{"entity":"Ann","fact":"x","valid_from":"soon"}`, "a1", caxton.Invalid, "arguments_invalid"},
		{"memory_store", `{"entity":"Ann","fact":"x"}`, "a2", caxton.Forbidden, "memory_disabled"},
		{"memory_store", `{"entity":"Ann","fact":"x"}`, "", caxton.Forbidden, "memory_of_nobody"},
		{"memory_store", `{"entity":"Ann","fact":"x"}`, "a9", caxton.NotFound, "agent_not_found"},
		{"memory_search", `{"query":"x","as_of":"then"}`, "a1", caxton.Invalid, "arguments_invalid"},
		{"memory_search", `{"query":"x","limit":1000}`, "a1", caxton.Invalid, ""},
		{"memory_relate", `{"from":"Ann","type":"knows","to":"Zoe"}`, "a1", caxton.NotFound, "entity_not_found"},
		{"memory_relate", `{"from":"Ann","type":"knows","to":"Porto","valid_from":"x"}`, "a1", caxton.Invalid, "arguments_invalid"},
		{"memory_forget", `{}`, "a1", caxton.Invalid, "arguments_invalid"},
		{"memory_forget", `{"id":"obs_0000000000009","entity":"Ann"}`, "a1", caxton.Invalid, "arguments_invalid"},
		{"memory_forget", `{"id":"rel_0000000000009"}`, "a1", caxton.Invalid, "memory_id_invalid"},
	} {
		_, err := set(t, &brain{}).Call(t.Context(), c.tool, call(c.agent, c.args))
		if e, ok := err.(*caxton.Error); !ok || e.Kind != c.kind || c.code != "" && e.Code != c.code { //nolint:errorlint // it is returned as it is
			t.Errorf("%s %s by %q: %v, want %v %s", c.tool, c.args, c.agent, err, c.kind, c.code)
		}
	}
}
