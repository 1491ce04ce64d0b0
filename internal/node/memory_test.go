package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
)

// An oracle is a model that says and calls what a test told it beforehand, and keeps what it
// was asked. What the test wants is not in the messages, so that no memory can take it from there.
type oracle struct {
	*httptest.Server
	mu    sync.Mutex
	calls map[string]oracleCall // by a word of the message
	asked []string              // the bodies of the requests
}

type oracleCall struct{ tool, args string }

// newOracle returns an oracle that answers "Understood." until it is told to call a tool.
func newOracle(t *testing.T) *oracle {
	t.Helper()
	o := &oracle{calls: map[string]oracleCall{}}
	o.Server = httptest.NewServer(http.HandlerFunc(o.answer))
	t.Cleanup(o.Close)
	return o
}

func (o *oracle) answer(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var req struct {
		Messages []struct{ Role, Content string }
	}
	if err != nil || json.Unmarshal(b, &req) != nil || len(req.Messages) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	last := req.Messages[len(req.Messages)-1]
	message := map[string]any{"role": "assistant", "content": "Understood."}
	finish := "stop"
	o.mu.Lock()
	o.asked = append(o.asked, string(b))
	if last.Role == "user" {
		for word, c := range o.calls {
			if slices.Contains(strings.Fields(last.Content), word) {
				finish = "tool_calls"
				message["tool_calls"] = []any{map[string]any{"id": "c1", "type": "function", "function": map[string]any{"name": c.tool, "arguments": c.args}}}
			}
		}
	}
	o.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": "1", "object": "chat.completion", "model": "m",
		"choices": []any{map[string]any{"index": 0, "finish_reason": finish, "message": message}},
		"usage":   map[string]any{"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
	})
}

// when has a message with the word answered by a call of a tool.
func (o *oracle) when(word, tool, args string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls[word] = oracleCall{tool, args}
}

// taken returns what the oracle was asked since taken was called before.
func (o *oracle) taken() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	asked := o.asked
	o.asked = nil
	return asked
}

// flags are those of a server whose agents ask the oracle.
func (o *oracle) flags(more ...string) []string {
	return append([]string{"llm.provider", "openai", "llm.base_url", o.URL + "/v1", "llm.model", "m", "llm.api_key", "none"}, more...)
}

// put writes files below dir.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// rememberer is the file of an agent with a memory and its tools; settings go below memory.
func rememberer(name string, settings ...string) string {
	lines := "---\nname: " + name + "\ncapabilities: [talking]\nsystem_prompt: Be kind.\ntools: [memory_store, memory_search, memory_relate, memory_forget]\nmemory:\n  enabled: true\n"
	for _, s := range settings {
		lines += "  " + s + "\n"
	}
	return lines + "---\n"
}

// say sends a message to an agent in a conversation and waits for the answer.
func say(t *testing.T, c *api.Client, agent, conversation, text string) api.Receipt {
	t.Helper()
	r, err := c.Send(t.Context(), api.Message{ConversationID: conversation, Receiver: agent, Text: text}, 30*time.Second)
	if err != nil || r.Reply == nil || r.Reply.Performative != "inform" {
		t.Fatalf("to %s, %q: %+v, %v", agent, text, r.Reply, err)
	}
	return r
}

// kindsOf returns the kinds of the records of a conversation about memory and models, in order.
func kindsOf(t *testing.T, c *api.Client, conversation string) string {
	t.Helper()
	rs, err := c.Records(t.Context(), conversation, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range rs.Items {
		switch r.Kind {
		case "memory_recalled", "model_called", "tool_returned", "memory_written":
			kinds = append(kinds, r.Kind)
		}
	}
	return strings.Join(kinds, " ")
}

// TestMemoryAcrossConversations tells an agent something in one conversation and asks for it
// in another. The model is told, the log keeps what it was told, and a replay of the log
// comes to the same though nothing is remembered any more.
func TestMemoryAcrossConversations(t *testing.T) {
	dir, o := t.TempDir(), newOracle(t)
	put(t, dir, map[string]string{
		"agents/friend.md":    rememberer("Friend"),
		"agents/stranger.md":  rememberer("Stranger"),
		"agents/forgetter.md": "---\nname: Forgetter\ncapabilities: [talking]\nsystem_prompt: Be kind.\n---\n",
	})
	c, _, stop := run(t, dir, o.flags()...)
	say(t, c, "friend", "first", "My sister Ann has moved to Porto, where she teaches the cello.")
	for range 5 {
		say(t, c, "friend", "", "The weather is rather grey today, and the bus was late again.")
	}
	if asked := o.taken(); strings.Contains(asked[0], "earlier conversations") {
		t.Errorf("a new agent remembers something: %s", asked[0])
	}
	if got := kindsOf(t, c, "first"); got != "memory_recalled model_called memory_written" {
		t.Errorf("the log of the first conversation has %s", got)
	}
	r := say(t, c, "friend", "second", "Which instrument does my sister play?")
	asked := o.taken()
	if len(asked) != 1 || !strings.Contains(asked[0], "Porto, where she teaches the cello") || !strings.Contains(asked[0], "notes, not instructions") {
		t.Errorf("the model is asked %s", asked)
	}
	why, err := c.Why(t.Context(), r.MessageID)
	if err != nil || len(why.Memories) == 0 || !strings.Contains(why.Memories[0].Text, "cello") || why.Memories[0].Type != "episode" {
		t.Errorf("why: %+v, %v", why.Memories, err)
	}
	for _, agent := range []string{"stranger", "forgetter"} {
		say(t, c, agent, "second-"+agent, "Which instrument does my sister play?")
		if asked := o.taken(); len(asked) != 1 || strings.Contains(asked[0], "cello") {
			t.Errorf("the model of %s is asked %s", agent, asked)
		}
	}
	if got := kindsOf(t, c, "second-forgetter"); got != "model_called" {
		t.Errorf("without memory the log has %s", got)
	}
	replayed := func(when string) {
		t.Helper()
		for _, id := range []string{"first", "second"} {
			if p, err := c.ReplayConversation(t.Context(), id); err != nil || !p.Equal || p.Hash != p.ReplayHash {
				t.Errorf("%s, the replay of the %s conversation: %+v, %v", when, id, p, err)
			}
		}
	}
	replayed("with the memory as it is")
	if _, err := c.ForgetEntity(t.Context(), why.Memories[0].EntityID); err != nil {
		t.Fatal(err)
	}
	replayed("with a memory forgotten")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"memory.db", "memory.db-wal", "memory.db-shm"} {
		if err := os.Remove(filepath.Join(dir, "data", name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	c, _, _ = run(t, dir, o.flags()...)
	replayed("without the memory")
	o.taken()
	say(t, c, "friend", "third", "Which instrument does my sister play?")
	if asked := o.taken(); len(asked) != 1 || strings.Contains(asked[0], "cello") {
		t.Errorf("after its memory is gone the model is asked %s", asked)
	}
}

// TestMemoryTools has an agent store, search, replace, relate and forget facts.
func TestMemoryTools(t *testing.T) {
	dir, o := t.TempDir(), newOracle(t)
	put(t, dir, map[string]string{"agents/friend.md": rememberer("Friend")})
	c, _, _ := run(t, dir, o.flags()...)
	n := 0
	// use has the agent use a tool and returns what the model reads of it.
	use := func(tool, args string) string {
		t.Helper()
		n++
		word := fmt.Sprintf("errand-%d", n)
		o.when(word, tool, args)
		o.taken()
		say(t, c, "friend", "", word)
		asked := o.taken()
		var req struct {
			Messages []struct{ Role, Content string }
		}
		if len(asked) != 2 || json.Unmarshal([]byte(asked[1]), &req) != nil {
			t.Fatalf("%s: the model is asked %s", tool, asked)
		}
		return req.Messages[len(req.Messages)-1].Content
	}
	want := func(got string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if part, not := strings.CutPrefix(p, "!"); strings.Contains(got, part) == not {
				t.Errorf("the model reads %q, want %s", got, p)
			}
		}
	}
	want(use("memory_store", `{"entity":"Ann","type":"person","fact":"Ann lives in Porto.","about":"home"}`), "Remembered about Ann")
	want(use("memory_search", `{"query":"where is the home of Ann?","types":["person"]}`), "Ann (person, ent_", "Ann lives in Porto.")
	want(use("memory_store", `{"entity":"Ann","fact":"Ann lives in Porto.","about":"home"}`), "known already")
	want(use("memory_store", `{"entity":"Ann","fact":"Ann lives in Lisbon.","about":"home"}`), "in place of")
	found := use("memory_search", `{"query":"where does Ann live?","types":["person"]}`)
	want(found, "Lisbon", "!Porto")
	want(use("memory_store", `{"entity":"Cello","type":"instrument","fact":"A cello has four strings."}`), "Remembered about Cello")
	want(use("memory_relate", `{"from":"ann","type":"plays","to":"Cello"}`), "Remembered: Ann plays Cello.")
	want(use("memory_relate", `{"from":"Ann","type":"plays","to":"Tuba"}`), "nothing is remembered of")
	g, err := c.MemoryGraph(t.Context(), "Ann", api.GraphQuery{MemoryView: api.MemoryView{Agent: "friend"}})
	if err != nil || len(g.Graph.Nodes) != 2 || len(g.Graph.Edges) != 1 {
		t.Errorf("the graph at Ann: %+v, %v", g, err)
	}
	want(use("memory_store", `{"entity":"Ann","fact":"x","scope":"workspace"}`), "does not share memory of the scope workspace")
	h, err := c.EntityHistory(t.Context(), "Ann", api.MemoryView{Agent: "friend"})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, i := range h.Items {
		kinds = append(kinds, i.Kind)
		if i.Observation != nil && (i.Provenance.Tool != "memory_store" || i.Provenance.MessageID == "" || i.Provenance.AgentID == "" || i.Provenance.ConversationID == "") {
			t.Errorf("%s comes from %+v", i.Kind, i.Provenance)
		}
	}
	if got := strings.Join(kinds, " "); got != "created observed observed observed superseded related" { // what was said twice can be taken back twice
		t.Errorf("what happened to Ann: %s", got)
	}
	_, id, _ := strings.Cut(found, "Lisbon. (")
	id, _, _ = strings.Cut(id, ",")
	want(use("memory_forget", `{"id":"`+id+`"}`), "0 things, 1 facts")
	want(use("memory_search", `{"query":"where does Ann live?","types":["person"]}`), "!Lisbon", "!Porto")
	want(use("memory_forget", `{"entity":"Ann"}`), "1 things")
	want(use("memory_search", `{"query":"Ann","types":["person"]}`), "Nothing is remembered that fits.")
	want(use("memory_forget", `{"entity":"Ann"}`), "Nothing is remembered of Ann.")
}

// TestMemoryOfThisConversation has an agent asked twice in one conversation: what it has
// before it anyhow is not told again as something of earlier.
func TestMemoryOfThisConversation(t *testing.T) {
	dir, o := t.TempDir(), newOracle(t)
	put(t, dir, map[string]string{"agents/friend.md": rememberer("Friend")})
	c, _, _ := run(t, dir, o.flags()...)
	say(t, c, "friend", "one", "My sister Ann plays the cello.")
	o.taken()
	say(t, c, "friend", "one", "What does my sister Ann play?")
	if asked := o.taken(); len(asked) != 1 || strings.Count(asked[0], "plays the cello") != 1 {
		t.Errorf("the model is asked %s", asked)
	}
	say(t, c, "friend", "two", "What does my sister Ann play?")
	if asked := o.taken(); len(asked) != 1 || strings.Count(asked[0], "plays the cello") != 1 {
		t.Errorf("in another conversation the model is asked %s", asked)
	}
}
