package httpd_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/embedding/embeddingtest"
	"github.com/caxton/caxton/internal/httpd"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
)

// A crew is a house whose agents have versions with their definitions.
type crew struct{ *house }

func (c crew) Version(_ context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error) {
	a, err := c.Agent(id)
	return caxton.AgentVersion{AgentID: id, Number: number, Definition: a.Definition}, err
}

// cached is an embedding model with two vectors at hand.
type cached struct{}

func (cached) Stats() memory.ModelStats {
	return memory.ModelStats{
		Name: "words", Model: "words-384", Source: "built-in", Dimensions: 384, Loaded: true, Bytes: 1 << 20, CacheEntries: 2, CacheLimit: 10,
		Hits: 3, Misses: 1, Texts: 4, Average: time.Millisecond, PerSecond: 1000,
	}
}

func (cached) ClearCache(_ context.Context, rebuild bool) (dropped, rebuilt int, err error) {
	if rebuild {
		return 2, 2, nil
	}
	return 2, 0, nil
}

// remembering returns a server with a memory: the engine over a file. Its agents are loner,
// who remembers for itself, smith and wright, who share the workspace lab, and crier, who
// shares everything.
func remembering(t *testing.T) *httpd.Server {
	t.Helper()
	db, err := memdb.Open(t.Context(), memdb.Config{Path: filepath.Join(t.TempDir(), "memory.db")})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(db, db, db, embeddingtest.Words{}, engine.Config{MaxEntities: 100})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	dbCtx, dbCancel := context.WithCancel(context.Background())
	ended, closed := make(chan error, 1), make(chan error, 1)
	go func() { closed <- db.Run(dbCtx) }()
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
		dbCancel()
		if err := <-closed; err != nil {
			t.Errorf("Run() of the database = %v", err)
		}
	})
	if _, err := e.Search(t.Context(), memory.Query{Access: memory.Access{All: true}, Text: "ready?"}); err != nil { // it waits until all is loaded
		t.Fatal(err)
	}
	s, h, _ := newServerWith(t, httpd.Config{}, func(d *httpd.Deps) {
		d.Registry, d.Memory, d.Model = crew{d.Registry.(*house)}, e, cached{} //nolint:forcetypeassert // newServerWith puts it there
	})
	for i, a := range []struct{ slug, scope string }{{"loner", "agent"}, {"smith", "workspace"}, {"wright", "workspace"}, {"crier", "global"}} {
		h.agents = append(h.agents, caxton.Agent{
			ID: caxton.AgentID(fmt.Sprintf("agent-%d", i+1)), Name: a.slug, Slug: a.slug, Type: caxton.ConfigAgent, Version: 1, Versions: 1,
			Definition: caxton.Definition{Name: a.slug, Memory: caxton.MemorySettings{Enabled: true, Scope: a.scope, Workspace: "lab"}},
		})
	}
	return s
}

// A request is one exchange: what is asked for, and what the answer must and must not hold,
// apart from spaces.
type request struct {
	name, method, path, body string
	status                   int
	want, not                string
}

// exchange makes requests in order. $NAME in a path or a body is a value that an answer had:
// ids knows under which name.
func exchange(t *testing.T, s *httpd.Server, ids map[string]string, all []request) {
	t.Helper()
	for _, r := range all {
		path, body := r.path, r.body
		for name, id := range ids {
			path, body = strings.ReplaceAll(path, "$"+name, id), strings.ReplaceAll(body, "$"+name, id)
		}
		w := call(s, r.method, "/api/v1"+path, body)
		got := strings.NewReplacer(" ", "", "\n", "").Replace(w.Body.String())
		if w.Code != r.status || !strings.Contains(got, strings.ReplaceAll(r.want, " ", "")) || r.not != "" && strings.Contains(got, strings.ReplaceAll(r.not, " ", "")) {
			t.Errorf("%s: %s %s %.300s = %d %.600s\nwant %d with %s, without %q", r.name, r.method, path, body, w.Code, got, r.status, r.want, r.not)
		}
	}
}

// remember writes an entity and returns what became of it.
func remember(t *testing.T, s *httpd.Server, body string) api.Remembered {
	t.Helper()
	w := call(s, http.MethodPost, "/api/v1/memory/entities", body)
	var r api.Remembered
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != http.StatusCreated {
		t.Fatalf("POST /memory/entities %s = %d %s", body, w.Code, w.Body)
	}
	return r
}

func TestMemoryWrites(t *testing.T) {
	s := remembering(t)
	ann := remember(t, s, `{"name":"Ann","entity_type":"person","importance":0.7,"metadata":{"team":"blue"},"observations":["Plays the violin.",{"text":"Lives in Porto.","key":"address","valid_from":"2026-01-01T00:00:00Z"}]}`)
	if ann.Status != "created" || len(ann.Noted) != 2 || ann.Noted[0].Status != "stored" {
		t.Fatalf("Ann = %+v", ann)
	}
	ids := map[string]string{"ANN": ann.ID, "VIOLIN": ann.Noted[0].ID, "PORTO": ann.Noted[1].ID}
	exchange(t, s, ids, []request{
		{"added to by name", "POST", "/memory/entities", `{"name":"Ann","observations":["Plays the violin."]}`, 201, `"status":"known"`, `"created"`},
		{"added to by ID", "POST", "/memory/entities", `{"entity_id":"$ANN","observations":[{"text":"Lives in Lisbon.","key":"address","valid_from":"2026-06-01T00:00:00Z"}]}`, 201, `"superseded":["` + ann.Noted[1].ID + `"]`, ""},
		{"only when it is new", "POST", "/memory/entities", `{"name":"Ann","create_only":true}`, 409, `"kind":"conflict"`, ""},
		{"of another type", "POST", "/memory/entities", `{"name":"Ann","entity_type":"ship"}`, 409, `"kind":"conflict"`, ""},
		{"neither name nor ID", "POST", "/memory/entities", `{}`, 422, "entity_nameless", ""},
		{"name and ID", "POST", "/memory/entities", `{"entity_id":"$ANN","name":"Bob"}`, 422, "entity_ambiguous", ""},
		{"no ID", "POST", "/memory/entities", `{"entity_id":"ann"}`, 422, "memory_id_invalid", ""},
		{"no scope", "POST", "/memory/entities", `{"name":"X","scope":"everywhere"}`, 422, "scope_invalid", ""},
		{"an unknown agent", "POST", "/memory/entities", `{"name":"X","agent_id":"nobody"}`, 404, "agent_not_found", ""},
		{"replaces nothing", "POST", "/memory/entities", `{"entity_id":"$ANN","observations":[{"text":"x","replaces":"obs_1"}]}`, 422, "memory_id_invalid", ""},
		{"metadata that is no object", "POST", "/memory/entities", `{"name":"X","metadata":[1]}`, 422, `"kind":"invalid"`, ""},
		{"not JSON", "POST", "/memory/entities", `{"name":`, 400, `"kind":"malformed"`, ""},
		{"an unknown member", "POST", "/memory/entities", `{"name":"X","colour":"red"}`, 422, "colour", ""},
		{"several", "POST", "/memory/entities/batch", `{"entities":[{"name":"Acme","entity_type":"company","observations":["Builds rockets."]},{"name":"Bob","relations":[{"to_entity":"Acme","relation_type":"works_for"}]}]}`, 201, `"status":"created"`, ""},
		{"several, all or none", "POST", "/memory/entities/batch", `{"entities":[{"name":"Cid"},{"name":"Ann","create_only":true}]}`, 409, `"kind":"conflict"`, ""},
		{"nothing of the failed batch", "GET", "/memory/entities/Cid", "", 404, "entity_not_found", ""},
		{"none", "POST", "/memory/entities/batch", `{"entities":[]}`, 422, `"kind":"invalid"`, ""},
		{"null", "POST", "/memory/entities/batch", `{"entities":null}`, 422, `"kind":"invalid"`, ""},
		{"for two agents", "POST", "/memory/entities/batch", `{"entities":[{"name":"X","agent_id":"loner"},{"name":"Y"}]}`, 422, "agents_mixed", ""},
		{"shown by ID", "GET", "/memory/entities/$ANN", "", 200, `"text":"Lives in Lisbon."`, "Porto"},
		{"shown by name", "GET", "/memory/entities/Ann", "", 200, `"entity_id":"` + ann.ID + `"`, ""},
		{"as of a time", "GET", "/memory/entities/Ann?valid_at=2026-03-01T00:00:00Z", "", 200, "Lives in Porto.", "Lisbon"},
		{"before anything was known", "GET", "/memory/entities/Ann?known_at=2020-01-01T00:00:00Z", "", 404, `"kind":"not_found"`, ""},
		{"at no time", "GET", "/memory/entities/Ann?valid_at=soon", "", 422, "valid_at", ""},
		{"an unknown ID", "GET", "/memory/entities/ent_0000000000001", "", 404, `"kind":"not_found"`, ""},
		{"its history", "GET", "/memory/entities/Ann/history", "", 200, `"kind":"superseded"`, ""},
		{"history of nobody", "GET", "/memory/entities/Nobody/history", "", 404, "entity_not_found", ""},
		{"related", "POST", "/memory/relations", `{"from_entity":"Ann","relation_type":"works_for","to_entity":"Acme","strength":0.9}`, 201, `"strength":0.9`, ""},
		{"related again", "POST", "/memory/relations", `{"from_entity":"Ann","relation_type":"works_for","to_entity":"Acme","strength":0.4}`, 201, `"strength":0.4`, ""},
		{"related to nobody", "POST", "/memory/relations", `{"from_entity":"Ann","relation_type":"knows","to_entity":"Nobody"}`, 404, "entity_not_found", ""},
		{"too strong", "POST", "/memory/relations", `{"from_entity":"Ann","relation_type":"knows","to_entity":"Bob","strength":2}`, 422, "strength", ""},
		{"relations at one", "GET", "/memory/relations?entity=Ann", "", 200, `"to_name":"Acme"`, "Bob"},
		{"relations at nobody", "GET", "/memory/relations?entity=Nobody", "", 404, "entity_not_found", ""},
		{"graph", "GET", "/memory/graph/Ann?max_depth=2", "", 200, `"nodes":3`, ""},
		{"graph with what is known", "GET", "/memory/graph/Ann?max_depth=1&include_observations=true", "", 200, "Builds rockets.", ""},
		{"path", "GET", "/memory/graph/Ann?to=Bob", "", 200, `"max_depth":2`, ""},
		{"graph one way", "GET", "/memory/graph/Acme?direction=outgoing", "", 200, `"nodes":1`, ""},
		{"graph of nobody", "GET", "/memory/graph/Nobody", "", 404, "entity_not_found", ""},
		{"path to nobody", "GET", "/memory/graph/Ann?to=Nobody", "", 404, "entity_not_found", ""},
		{"too deep", "GET", "/memory/graph/Ann?max_depth=11", "", 422, "max_depth", ""},
		{"no direction", "GET", "/memory/graph/Ann?direction=up", "", 422, "direction", ""},
		{"search", "GET", "/memory/search?query=violin", "", 200, `"content":"Plays the violin."`, ""},
		{"search with a body", "POST", "/memory/search", `{"query":"rockets","mode":"words","include_relations":true}`, 200, `"relation_type":"works_for"`, ""},
		{"search of a type", "POST", "/memory/search", `{"query":"violin","mode":"words","entity_types":["company"]}`, 200, `"items":[]`, ""},
		{"search by metadata", "POST", "/memory/search", `{"query":"violin","metadata":{"team":"red"}}`, 200, `"items":[]`, ""},
		{"search of the past", "GET", "/memory/search?query=where+does+Ann+live&valid_at=2026-03-01T00:00:00Z", "", 200, "Lives in Porto.", "Lisbon"},
		{"search for nothing", "POST", "/memory/search", `{"query":""}`, 422, "query", ""},
		{"search for blanks", "POST", "/memory/search", `{"query":"  "}`, 422, `"kind":"invalid"`, ""},
		{"search without a query", "GET", "/memory/search", "", 422, "query", ""},
		{"no such mode", "GET", "/memory/search?query=x&mode=magic", "", 422, "mode", ""},
		{"too many", "GET", "/memory/search?query=x&limit=1001", "", 422, "limit", ""},
		{"no number", "GET", "/memory/search?query=x&min_similarity=2", "", 422, "min_similarity", ""},
		{"duplicates", "GET", "/memory/duplicates?threshold=0.99", "", 200, `"items":[]`, ""},
		{"duplicates of no likeness", "GET", "/memory/duplicates?threshold=2", "", 422, "threshold", ""},
		{"a reversal of nothing", "POST", "/memory/revert", `{}`, 422, `"kind":"invalid"`, ""},
		{"a reversal of no ID", "POST", "/memory/revert", `{"observations":["x"]}`, 422, "memory_id_invalid", ""},
		{"a reversal of nobody's", "POST", "/memory/revert", `{"entity":"Nobody"}`, 404, "entity_not_found", ""},
		{"a reversal that is only told", "POST", "/memory/revert", `{"by":"api","entity":"Ann","since":"2026-01-01T00:00:00Z","dry_run":true}`, 200, `"dry_run":true`, ""},
		{"it changed nothing", "GET", "/memory/entities/Ann", "", 200, "Lives in Lisbon.", ""},
		{"one observation forgotten", "DELETE", "/memory/observations/$VIOLIN", "", 200, `"observations":["` + ann.Noted[0].ID + `"]`, ""},
		{"forgotten already", "DELETE", "/memory/observations/$VIOLIN", "", 404, `"kind":"not_found"`, ""},
		{"no observation", "DELETE", "/memory/observations/x", "", 422, "memory_id_invalid", ""},
		{"no relation", "DELETE", "/memory/relations/rel_1", "", 422, "memory_id_invalid", ""},
		{"an unknown relation", "DELETE", "/memory/relations/rel_0000000000001", "", 404, `"kind":"not_found"`, ""},
		{"an entity forgotten", "DELETE", "/memory/entities/Bob", "", 200, `"entities":["ent_`, ""},
		{"nobody forgotten", "DELETE", "/memory/entities/Bob", "", 404, "entity_not_found", ""},
	})

	var l api.RelationList
	if err := json.Unmarshal(call(s, "GET", "/api/v1/memory/relations", "").Body.Bytes(), &l); err != nil || len(l.Items) != 1 || l.Items[0].FromName != "Ann" {
		t.Fatalf("relations = %+v, %v; want Ann's alone", l, err)
	}
	var e api.Entity
	if err := json.Unmarshal(call(s, "GET", "/api/v1/memory/entities/Ann", "").Body.Bytes(), &e); err != nil || len(e.Observations) != 1 {
		t.Fatalf("Ann = %+v, %v", e, err)
	}
	lisbon := e.Observations[0].ID
	exchange(t, s, map[string]string{"RELATION": l.Items[0].ID, "LISBON": lisbon}, []request{
		{"a relation forgotten", "DELETE", "/memory/relations/$RELATION", "", 200, `"relations":["rel_`, ""},
		{"a reversal", "POST", "/memory/revert", `{"observations":["$LISBON"],"reason":"not true"}`, 200, `"restored":["` + ann.Noted[1].ID + `"]`, ""},
		{"what it had superseded is current again", "GET", "/memory/entities/Ann", "", 200, "Lives in Porto.", "Lisbon"},
		{"the history keeps both", "GET", "/memory/entities/Ann/history", "", 200, "not true", ""},
	})
}

// TestMemoryViews looks with the eyes of agents: what is not theirs is neither shown nor told of.
func TestMemoryViews(t *testing.T) {
	s := remembering(t)
	exchange(t, s, nil, []request{
		{"loner's", "POST", "/agents/loner/memory", `{"name":"Diary","observations":["The loner likes plums."]}`, 201, `"scope":"agent:agent-1"`, ""},
		{"smith's, where it writes", "POST", "/memory/entities", `{"name":"Forge","agent_id":"smith","observations":["The smith likes plums."]}`, 201, `"scope":"workspace:lab"`, ""},
		{"smith's own", "POST", "/memory/entities", `{"name":"Purse","agent_id":"smith","scope":"agent:smith","observations":["Plums cost a lot."]}`, 201, `"scope":"agent:agent-2"`, ""},
		{"crier's", "POST", "/memory/entities", `{"name":"Market","agent_id":"crier","observations":["Plums are sold here."]}`, 201, `"scope":"global"`, ""},
		{"smith may not write wider than it sees", "POST", "/memory/entities", `{"name":"X","agent_id":"smith","scope":"global"}`, 403, `"kind":"forbidden"`, ""},
		{"nor for another", "POST", "/memory/entities", `{"name":"X","agent_id":"smith","scope":"agent:loner"}`, 403, `"kind":"forbidden"`, ""},
		{"of an agent that has it in its path", "POST", "/agents/nobody/memory", `{"name":"X"}`, 404, "agent_not_found", ""},

		{"all for an operator", "GET", "/memory/entities", "", 200, "Purse", ""},
		{"loner sees its own", "GET", "/agents/loner/memory", "", 200, "Diary", "Forge"},
		{"not the workspace of another", "GET", "/memory/entities?agent_id=loner", "", 200, "Diary", "Market"},
		{"wright shares the forge", "GET", "/memory/entities?agent_id=wright", "", 200, "Forge", "Purse"},
		{"crier sees the forge and the market", "GET", "/memory/entities?agent_id=crier", "", 200, "Forge", "Diary"},
		{"one scope of them", "GET", "/memory/entities?agent_id=crier&scope=global", "", 200, "Market", "Forge"},
		{"a scope that is not shared", "GET", "/memory/entities?agent_id=smith&scope=global", "", 403, "scope_forbidden", ""},
		{"a scope of another agent", "GET", "/memory/entities?agent_id=smith&scope=agent:loner", "", 403, "scope_forbidden", ""},
		{"two scopes for an operator", "GET", "/memory/entities?scope=agent:loner&scope=global", "", 200, "Diary", "Forge"},
		{"no scope", "GET", "/memory/entities?scope=mine", "", 422, "scope_invalid", ""},
		{"an unknown agent", "GET", "/memory/entities?agent_id=nobody", "", 404, "agent_not_found", ""},

		{"one entity of another's", "GET", "/memory/entities/Diary?agent_id=smith", "", 404, "entity_not_found", ""},
		{"its history", "GET", "/memory/entities/Diary/history?agent_id=smith", "", 404, "entity_not_found", ""},
		{"forgetting it", "DELETE", "/memory/entities/Diary?agent_id=smith", "", 404, "entity_not_found", ""},
		{"its graph", "GET", "/memory/graph/Diary?agent_id=smith", "", 404, "entity_not_found", ""},
		{"relating it", "POST", "/memory/relations", `{"from_entity":"Forge","relation_type":"knows","to_entity":"Diary","agent_id":"smith"}`, 404, "entity_not_found", ""},
		{"relations at it", "GET", "/memory/relations?entity=Diary&agent_id=smith", "", 404, "entity_not_found", ""},
		{"search", "GET", "/memory/search?query=plums&agent_id=wright&mode=words", "", 200, "Forge", "Purse"},
		{"search of an agent", "POST", "/agents/loner/memory/search", `{"query":"plums"}`, 200, "Diary", "Forge"},
		{"search of a forbidden scope", "POST", "/memory/search", `{"query":"plums","agent_id":"loner","scope":["global"]}`, 403, "scope_forbidden", ""},
		{"search of nobody", "POST", "/agents/nobody/memory/search", `{"query":"plums"}`, 404, "agent_not_found", ""},
		{"duplicates", "GET", "/memory/duplicates?agent_id=loner&threshold=0", "", 200, `"items":[]`, ""},
		{"export", "GET", "/memory/export?agent_id=wright", "", 200, "Forge", "Purse"},
		{"export of a scope", "GET", "/memory/export?memory_scope=global&format=jsonl", "", 200, "Market", "Forge"},
		{"export of a forbidden scope", "GET", "/memory/export?agent_id=loner&scope=global", "", 403, "scope_forbidden", ""},

		{"cleared by mistake", "DELETE", "/agents/smith/memory", "", 422, "not_confirmed", ""},
		{"nobody cleared", "DELETE", "/agents/nobody/memory?confirm=true", "", 404, "agent_not_found", ""},
		{"of a type there is not", "DELETE", "/agents/smith/memory?confirm=true&entity_types=ship", "", 200, `"entities":[]`, ""},
		{"cleared", "DELETE", "/agents/smith/memory?confirm=true", "", 200, `"entities":["ent_`, ""},
		{"what was its own is forgotten, what it shares is not", "GET", "/memory/entities?agent_id=smith", "", 200, "Forge", "Purse"},
	})
}

// TestMemoryForgottenByAgent has an agent forget what it shares with another: the history says who
// that was.
func TestMemoryForgottenByAgent(t *testing.T) {
	s := remembering(t)
	anvil := remember(t, s, `{"name":"Anvil","agent_id":"smith","observations":["Stands in the forge.","It is heavy."]}`)
	exchange(t, s, map[string]string{"HEAVY": anvil.Noted[1].ID}, []request{
		{"an observation", "DELETE", "/memory/observations/$HEAVY?agent_id=wright", "", 200, `"observations":["obs_`, ""},
		{"who that was", "GET", "/memory/entities/Anvil/history?agent_id=smith", "", 200, `"provenance":{"agent_id":"agent-3","agent_version":1,"by":"api"}`, ""},
		{"by nobody", "DELETE", "/memory/entities/Anvil?agent_id=nobody", "", 404, "agent_not_found", ""},
	})
}

// TestMemoryForgottenWithHidden has an agent forget what another has related to something of its own:
// that relation ends, and the answer does not tell of it.
func TestMemoryForgottenWithHidden(t *testing.T) {
	s := remembering(t)
	remember(t, s, `{"name":"Anvil","agent_id":"smith"}`)
	remember(t, s, `{"name":"Forge","agent_id":"smith","relations":[{"to_entity":"Anvil","relation_type":"holds"}]}`)
	remember(t, s, `{"name":"Purse","agent_id":"smith","scope":"agent:smith","relations":[{"to_entity":"Anvil","relation_type":"paid_for"}]}`)
	var l api.RelationList
	if err := json.Unmarshal(call(s, "GET", "/api/v1/memory/relations?agent_id=wright", "").Body.Bytes(), &l); err != nil || len(l.Items) != 1 {
		t.Fatalf("wright sees %+v, %v; want the forge's relation alone", l, err)
	}
	exchange(t, s, nil, []request{
		{"smith sees both", "GET", "/memory/graph/Anvil?agent_id=smith", "", 200, "Purse", ""},
		{"forgotten by wright", "DELETE", "/memory/entities/Anvil?agent_id=wright", "", 200, `"relations":["` + l.Items[0].ID + `"]`, ""},
		{"the relation is gone", "GET", "/memory/relations?agent_id=smith", "", 200, `"items":[]`, ""},
		{"from the graph, too", "GET", "/memory/graph/Purse?agent_id=smith", "", 200, `"edges":[]`, "Anvil"},
		{"and nothing disagrees", "POST", "/memory/check?deep=true", "", 200, `"ok":true,"faults":[]`, ""},
	})
}

// uncounted is a memory whose figures cannot be read.
type uncounted struct {
	httpd.Memory
	err error
}

func (u uncounted) Stats(context.Context) (memory.Stats, error) { return memory.Stats{}, u.err }
func (uncounted) Status() memory.Status                         { return memory.Status{State: memory.Failed} }

// TestMemoryStatusFails holds that the status of a memory that fails says so without the cause, which
// the log has.
func TestMemoryStatusFails(t *testing.T) {
	cause := errors.New("pread /var/lib/caxton/memory.db: input/output error")
	for _, tt := range []struct {
		err    error
		reason string
	}{
		{caxton.Errorf(caxton.Unavailable, "storage_io", "read memory: the disk did not do as asked").WithCause(cause), "read memory: the disk did not do as asked"},
		{caxton.Errorf(caxton.Internal, "storage_failed", "read %s failed", "/var/lib/caxton/memory.db").WithCause(cause), "an internal error; see the log"},
		{cause, "an internal error; see the log"},
	} {
		var logged bytes.Buffer
		s, _, _ := newServerWith(t, httpd.Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))}, func(d *httpd.Deps) { d.Memory, d.Model = uncounted{err: tt.err}, cached{} })
		var st api.MemoryStatus
		w := call(s, "GET", "/api/v1/memory/status", "")
		if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || st.Status != "failed" || st.Reason != tt.reason || strings.Contains(w.Body.String(), "/var") {
			t.Errorf("of %v the status tells %s, want %q", tt.err, w.Body, tt.reason)
		}
		if !strings.Contains(logged.String(), cause.Error()) {
			t.Errorf("of %v the log has %s", tt.err, logged.String())
		}
	}
}

// TestMemoryPages reads lists page by page: everything once, in order.
func TestMemoryPages(t *testing.T) {
	s := remembering(t)
	remember(t, s, `{"name":"Hub"}`)
	for i := range 7 {
		remember(t, s, fmt.Sprintf(`{"name":"N%d","agent_id":"loner","relations":[]}`, i))
		remember(t, s, fmt.Sprintf(`{"name":"G%d","relations":[{"to_entity":"Hub","relation_type":"part_of"}]}`, i))
	}
	// read returns the names of a list, three at a time.
	read := func(path, key string) []string {
		t.Helper()
		var all []string
		for cursor := ""; ; {
			w := call(s, "GET", "/api/v1"+path+"limit=3&cursor="+url.QueryEscape(cursor), "")
			var page struct {
				Items []map[string]any
				Next  string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK || len(page.Items) > 3 {
				t.Fatalf("GET %s = %d %s", path, w.Code, w.Body)
			}
			for _, it := range page.Items {
				name, _ := it[key].(string)
				all = append(all, name)
			}
			if cursor = page.Next; cursor == "" {
				return all
			}
			if len(all) > 100 {
				t.Fatalf("GET %s does not end", path)
			}
		}
	}
	if got, want := read("/agents/loner/memory?", "name"), []string{"N6", "N5", "N4", "N3", "N2", "N1", "N0"}; !slices.Equal(got, want) {
		t.Errorf("loner's = %q, want %q", got, want)
	}
	all := read("/memory/entities?", "name")
	if slices.Sort(all); len(all) != 15 || len(slices.Compact(all)) != 15 {
		t.Errorf("entities = %q, want 15 of them, each once", all)
	}
	for _, path := range []string{"/memory/relations?", "/memory/relations?entity=Hub&"} {
		from := read(path, "from_name")
		if slices.Sort(from); !slices.Equal(from, []string{"G0", "G1", "G2", "G3", "G4", "G5", "G6"}) {
			t.Errorf("GET %s = %q", path, from)
		}
	}
	exchange(t, s, nil, []request{
		{"no cursor", "GET", "/memory/entities?cursor=%21", "", 422, "cursor_invalid", ""},
		{"no cursor of relations", "GET", "/memory/relations?cursor=%21", "", 422, "cursor_invalid", ""},
		{"none at once", "GET", "/memory/entities?limit=0", "", 422, "limit", ""},
		{"too many at once", "GET", "/memory/relations?limit=1001", "", 422, "limit", ""},
	})
}

// TestMemoryCare looks after memory.
func TestMemoryCare(t *testing.T) {
	s := remembering(t)
	ann := remember(t, s, `{"name":"Ann","entity_type":"person","observations":[{"text":"Lives in Porto.","key":"address"}]}`)
	remember(t, s, `{"name":"Ann","observations":[{"text":"Lives in Lisbon.","key":"address"}]}`)
	remember(t, s, `{"name":"Acme","agent_id":"loner"}`)
	export := call(s, "GET", "/api/v1/memory/export?include_past=true&include_embeddings=true", "")
	if export.Code != http.StatusOK || !strings.Contains(export.Body.String(), "Porto") || !strings.Contains(export.Body.String(), `"embedding":[`) {
		t.Fatalf("export = %d %s", export.Code, export.Body)
	}
	const half = `{"type":"entity","name":"Bo","entityType":"person","observations":["Speaks Danish"]}` + "\n" + `{"type":"entity","name":`
	exchange(t, s, nil, []request{
		{"status", "GET", "/memory/status", "", 200, `"status":"healthy"`, ""},
		{"status counts", "GET", "/memory/status", "", 200, `"entities":2`, ""},
		{"health", "GET", "/memory/health", "", 200, `"sqlite_status":"ok"`, ""},
		{"stats", "GET", "/memory/stats", "", 200, `"past_observations":1`, ""},
		{"stats by scope", "GET", "/memory/stats", "", 200, `"agent:agent-1":1`, ""},
		{"usage", "GET", "/memory/usage", "", 200, `"component":"Entity store"`, ""},
		{"capacity", "GET", "/memory/capacity", "", 200, `"entities":2,"limit":100,"percentage":2,"status":"ok"`, ""},
		{"model", "GET", "/memory/model", "", 200, `"status":"loaded"`, ""},
		{"hit rate", "GET", "/memory/model", "", 200, `"hit_rate":0.75`, ""},
		{"queries", "GET", "/memory/queries", "", 200, `"items":[`, ""},
		{"no number of queries", "GET", "/memory/queries?limit=0", "", 422, "limit", ""},
		{"queries slower than a word", "GET", "/memory/queries/follow?slower_than=soon", "", 422, `"kind":"invalid"`, ""},
		{"one step", "POST", "/memory/optimize", `{"analyze":true}`, 200, `"name":"analyze"`, "vacuum"},
		{"all steps", "POST", "/memory/optimize", `{}`, 200, `"name":"vacuum"`, ""},
		{"check", "POST", "/memory/check?deep=true", "", 200, `"ok":true,"faults":[]`, ""},
		{"cache", "POST", "/memory/cache/clear", `{"rebuild":true}`, 200, `"embeddings":2,"results":0,"rebuilt":2`, ""},
		{"caches", "POST", "/memory/cache/clear", `{"all":true}`, 200, `"rebuilt":0`, ""},
		{"nothing to clean", "POST", "/memory/cleanup", `{}`, 422, "cleanup_empty", ""},
		{"no age", "POST", "/memory/cleanup", `{"older_than":"soon"}`, 422, `"kind":"invalid"`, ""},
		{"so many of which scope", "POST", "/memory/cleanup", `{"max_entities":1}`, 422, "scope_missing", ""},
		{"of no scope", "POST", "/memory/cleanup", `{"older_than":"30d","scope":"mine"}`, 422, "scope_invalid", ""},
		{"only told", "POST", "/memory/cleanup", `{"aggressive":true,"dry_run":true}`, 200, `"observations":1`, ""},
		{"nothing is old", "POST", "/memory/cleanup", `{"older_than":"30d"}`, 200, `"entities":0`, ""},
		{"the past", "POST", "/memory/cleanup", `{"aggressive":true}`, 200, `"observations":1`, ""},
		{"its history is gone", "GET", "/memory/entities/Ann/history", "", 200, "Lisbon", "Porto"},
		{"an export of no form", "GET", "/memory/export?format=xml", "", 422, "format", ""},
		{"an import of nothing", "POST", "/memory/import", "", 400, `"kind":"malformed"`, ""},
		{"an import of a text", "POST", "/memory/import", "hello", 400, `"kind":"malformed"`, ""},
		{"an import that breaks off", "POST", "/memory/import", `{"format":"caxton-memory","entities":[`, 400, `"kind":"malformed"`, ""},
		{"an import of no strategy", "POST", "/memory/import?merge_strategy=best", "{}", 422, "merge_strategy", ""},
		{"an import into no scope", "POST", "/memory/import?scope=mine", "{}", 422, "scope_invalid", ""},
		{"of a memory server", "POST", "/memory/import?scope=workspace:mcp", `{"type":"entity","name":"Eve","entityType":"person","observations":["Speaks Spanish"]}`, 200, `"imported":1`, ""},
		{"where it is", "GET", "/memory/entities/Eve", "", 200, `"scope":"workspace:mcp"`, ""},
		{"only read", "POST", "/memory/import?dry_run=true", export.Body.String(), 200, `"dry_run":true`, ""},
		{"a conflict", "POST", "/memory/import?merge_strategy=error_on_conflict", export.Body.String(), 409, `"kind":"conflict"`, ""},
		{"an import that fails in its midst", "POST", "/memory/import?scope=workspace:half", half, 400, `"imported":{"read":1,"imported":1,"updated":0,"skipped":0,"observations":1,"relations":0,"next":1}`, ""},
		{"how to go on", "POST", "/memory/import?scope=workspace:half&merge_strategy=skip_existing", half, 400, `what comes before entry 2 is taken: go on with skip 1"`, ""},
		{"only read and failing", "POST", "/memory/import?scope=workspace:other&dry_run=true", half, 400, `"dry_run":true`, "go on with"},
		{"an import that fails at once tells of none", "POST", "/memory/import?scope=mine", half, 422, `"kind":"invalid"`, `"imported"`},
		{"what was taken", "GET", "/memory/entities/Bo?scope=workspace:half", "", 200, "Speaks Danish", ""},
		{"brought back", "POST", "/memory/import", export.Body.String(), 200, `"imported":1,"updated":1`, ""}, // Acme, of which nothing is known, was cleaned away
		{"with its past", "GET", "/memory/entities/Ann/history", "", 200, "Porto", ""},
		{"still itself", "GET", "/memory/entities/Ann", "", 200, `"entity_id":"` + ann.ID + `"`, "Porto"},
	})
	if w := call(s, "GET", "/health/memory", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"sqlite_status":`) {
		t.Errorf("GET /health/memory = %d %s", w.Code, w.Body)
	}
}

// TestFollowQueries listens to the queries of others.
func TestFollowQueries(t *testing.T) {
	s := remembering(t)
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	c := api.New(api.Config{BaseURL: h.URL})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL+"/api/v1/memory/queries/follow", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := c.SearchMemory(ctx, api.MemorySearch{Query: "plums"}); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue // it says that it is alive
		}
		var q api.SlowQuery
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil || q.Kind != "semantic_search" || q.Text != "plums" {
			t.Errorf("line %q: %+v, %v", lines.Text(), q, err)
		}
		return
	}
	t.Errorf("no query was told of: %v", lines.Err())
}

// TestClientMemory has the client of Go programs do everything once.
func TestClientMemory(t *testing.T) {
	s := remembering(t)
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	c := api.New(api.Config{BaseURL: h.URL})
	defer c.Close()
	ctx := t.Context()
	must := func(what string, ok bool, err error) {
		t.Helper()
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", what, ok, err)
		}
	}
	ann, err := c.Remember(ctx, api.NewEntity{Name: "Ann", Type: "person", Observations: []api.NewObservation{{Text: "Plays the violin."}, {Text: "Lives in Porto."}}})
	must("Remember", ann.Name == "Ann" && len(ann.Noted) == 2, err)
	all, err := c.RememberAll(ctx, api.EntityBatch{Entities: []api.NewEntity{{Name: "A/B & C?", Scope: "workspace:lab"}, {Name: "Acme"}}})
	must("RememberAll", len(all.Items) == 2, err)
	odd, err := c.Entity(ctx, "A/B & C?", api.MemoryView{Agent: "smith", Scopes: []string{"workspace:lab"}})
	must("Entity of an odd name", odd.ID == all.Items[0].ID, err)
	l, err := c.Entities(ctx, api.EntityFilter{Types: []string{"person"}, Limit: 1})
	must("Entities", len(l.Items) == 1 && l.Items[0].ID == ann.ID, err)
	r, err := c.Relate(ctx, api.NewRelation{From: "Ann", NewLink: api.NewLink{To: "Acme", Type: "works_for"}})
	must("Relate", r.ToName == "Acme", err)
	m, err := c.SearchMemory(ctx, api.MemorySearch{Query: "violin", Mode: "words"})
	must("SearchMemory", len(m.Items) == 1 && m.Items[0].Content == "Plays the violin.", err)
	g, err := c.MemoryGraph(ctx, "Ann", api.GraphQuery{Depth: 1, Direction: "outgoing", Limit: 10, Types: []string{"works_for"}, MinStrength: 0.1})
	must("MemoryGraph", len(g.Graph.Nodes) == 2, err)
	ch, err := c.EntityHistory(ctx, ann.ID, api.MemoryView{})
	must("EntityHistory", len(ch.Items) >= 3, err)
	d, err := c.DuplicateEntities(ctx, 0.99, 5)
	must("DuplicateEntities", len(d.Items) == 0, err)
	_, err = c.MemoryStatus(ctx)
	must("MemoryStatus", true, err)
	st, err := c.MemoryStats(ctx)
	must("MemoryStats", st.Status.Entities == 3, err)
	u, err := c.MemoryUsage(ctx)
	must("MemoryUsage", len(u.Components) == 4, err)
	ca, err := c.MemoryCapacity(ctx)
	must("MemoryCapacity", ca.Limit == 100 && ca.Percent == 3, err)
	mo, err := c.MemoryModel(ctx)
	must("MemoryModel", mo.Dimensions == 384, err)
	q, err := c.SlowQueries(ctx, 5)
	must("SlowQueries", len(q.Queries) > 0, err)
	var text strings.Builder
	n, err := c.ExportMemory(ctx, &text, api.MemoryExport{Format: "jsonl"})
	must("ExportMemory", n == int64(text.Len()) && strings.Contains(text.String(), "violin"), err)
	im, err := c.ImportMemory(ctx, []byte(text.String()), api.MemoryImport{Strategy: "skip_existing"})
	must("ImportMemory", im.Skipped == 3, err)
	rv, err := c.RevertMemory(ctx, api.MemoryRevert{Observations: []string{ann.Noted[1].ID}})
	must("RevertMemory", len(rv.Observations) == 1, err)
	f, err := c.ForgetObservation(ctx, ann.Noted[0].ID)
	must("ForgetObservation", len(f.Observations) == 1, err)
	f, err = c.ForgetRelation(ctx, r.ID)
	must("ForgetRelation", len(f.Relations) == 1, err)
	f, err = c.ForgetEntity(ctx, "Ann")
	must("ForgetEntity", len(f.Entities) == 1, err)
	_, err = c.Entity(ctx, "Ann", api.MemoryView{})
	must("Entity that is forgotten", caxton.KindOf(err) == caxton.NotFound, nil)
	o, err := c.OptimizeMemory(ctx, api.MemoryOptimize{Vacuum: true})
	must("OptimizeMemory", len(o.Steps) == 1, err)
	cl, err := c.CleanMemory(ctx, api.MemoryCleanup{Aggressive: true})
	must("CleanMemory", cl.Observations == 2, err)
	cc, err := c.ClearMemoryCache(ctx, api.MemoryCacheClear{All: true})
	must("ClearMemoryCache", cc.Embeddings == 2, err)
	ok, err := c.CheckMemory(ctx, true)
	must("CheckMemory", ok.OK, err)

	told := make(chan struct{}, 1)
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	go func() {
		defer close(told)
		_ = c.FollowQueries(within, 0, func(api.SlowQuery) error { cancel(); return nil })
	}()
	for i := 0; within.Err() == nil; i++ { // one of them is made while it listens
		if _, err := c.SearchMemory(ctx, api.MemorySearch{Query: fmt.Sprint("plums ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	<-told
	if within.Err() != context.Canceled {
		t.Error("FollowQueries told of no query in ten seconds")
	}
}
