package prompt_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/tool"
)

// A notebook is a memory: it recalls its items and keeps what it is told.
type notebook struct {
	mu      sync.Mutex
	items   []caxton.RecalledItem
	err     error // of both
	asked   []string
	kept    map[caxton.MessageID]string
	entered int
}

func (n *notebook) Recall(_ context.Context, _ *caxton.AgentVersion, text string, _ []caxton.MessageID) (caxton.MemoryRecalledBody, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, text)
	return caxton.MemoryRecalledBody{Query: text, Items: n.items}, n.err
}

func (n *notebook) Keep(_ context.Context, _ *caxton.AgentVersion, m *caxton.Message, answer string) (caxton.MemoryWrittenBody, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return caxton.MemoryWrittenBody{}, n.err
	}
	if n.kept == nil {
		n.kept = map[caxton.MessageID]string{}
	}
	n.entered++
	n.kept[m.ID] = m.Text() + " → " + answer
	return caxton.MemoryWrittenBody{EntityID: 7, Observations: []caxton.ObservationID{8}}, nil
}

func known() []caxton.RecalledItem {
	return []caxton.RecalledItem{
		{ID: "obs_0000000000001", EntityID: 2, Name: "Ann", Type: "person", Text: "Lives\nin Porto.", Score: 0.9, At: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)},
		{ID: "ent_0000000000003", EntityID: 3, Name: "Porto", Type: "city", Text: "a city", Score: 0.5},
		{ID: "obs_0000000000004", EntityID: 4, Name: "turn m0", Type: caxton.EpisodeType, Text: "user: Hi\nann: Hello", Score: 0.4, At: time.Date(2026, 2, 1, 9, 0, 0, 0, time.UTC)},
	}
}

func remembering() caxton.Definition {
	return caxton.Definition{SystemPrompt: "Be kind.", Memory: caxton.MemorySettings{Enabled: true}}
}

// TestMemoryInThePrompt looks at what the model is told, and at what the log keeps of it.
func TestMemoryInThePrompt(t *testing.T) {
	const lines = "- 2026-03-01, Ann (person): Lives in Porto.\n- Porto (city): a city\n- 2026-02-01, said earlier: user: Hi ann: Hello"
	for name, c := range map[string]struct {
		template  string
		documents int
		text      string
	}{
		"by itself":    {"", 1, "hello"},
		"in its place": {"Q: {{request}} K: {{memory_context}}", 0, "Q: hello K: " + lines},
		"elsewhere":    {"Q: {{request}}", 1, "Q: hello"},
	} {
		t.Run(name, func(t *testing.T) {
			book := &notebook{items: known()}
			d := newDesk(t, caxton.Definition{}, []llm.Response{says("hi Ann")})
			def := remembering()
			def.Templates.User = c.template
			d.with(def, d.journal, prompt.Config{Memory: book})
			if _, err := d.handle(nil); err != nil {
				t.Fatal(err)
			}
			req := d.model.asked[0]
			if got := req.Messages[len(req.Messages)-1].Text; got != c.text {
				t.Errorf("the model is asked %q, want %q", got, c.text)
			}
			if len(req.Documents) != c.documents || c.documents == 1 && req.Documents[0].Text != lines {
				t.Errorf("documents %+v, want %d with %q", req.Documents, c.documents, lines)
			}
			if got := kinds(d.turn()); got != "memory_recalled model_called memory_written" {
				t.Errorf("records %s", got)
			}
			if got := book.kept["m1"]; got != "hello → hi Ann" {
				t.Errorf("kept %q", got)
			}
		})
	}
}

// A reader counts how often a conversation is read.
type reader struct {
	prompt.Log
	reads int
}

func (r *reader) History(ctx context.Context, conv caxton.ConversationID, before caxton.MessageID, limit int) ([]caxton.Message, error) {
	r.reads++
	return r.Log.History(ctx, conv, before, limit)
}

// A turn reads its conversation once, for memory and for the model.
func TestMemoryReadsHistoryOnce(t *testing.T) {
	d := newDesk(t, caxton.Definition{}, []llm.Response{says("hi Ann")})
	log := &reader{Log: d.journal}
	d.with(remembering(), log, prompt.Config{Memory: &notebook{items: known()}})
	if _, err := d.handle(nil); err != nil {
		t.Fatal(err)
	}
	if log.reads != 1 {
		t.Errorf("the conversation was read %d times, want once", log.reads)
	}
}

// TestMemoryOfAnEarlierAttempt runs a turn again from wherever it broke off: the model is
// asked the same, though the memory has changed, and nothing is kept twice.
func TestMemoryOfAnEarlierAttempt(t *testing.T) {
	whole := newDesk(t, caxton.Definition{}, []llm.Response{says("hi")})
	whole.with(remembering(), whole.journal, prompt.Config{Memory: &notebook{items: known()}})
	if _, err := whole.handle(nil); err != nil {
		t.Fatal(err)
	}
	records := whole.turn()
	want := hashes(t, whole.model.asked)[0]
	for cut := range len(records) + 1 {
		book := &notebook{items: known()[:1]}
		d := newDesk(t, caxton.Definition{}, []llm.Response{says("hi")})
		d.with(remembering(), d.journal, prompt.Config{Memory: book})
		if _, err := d.handle(records[:cut]); err != nil {
			t.Fatal(err)
		}
		if asked := len(book.asked); asked == 1 != (cut == 0) {
			t.Errorf("cut at %d: the memory was asked %d times", cut, asked)
		}
		if entered := book.entered; entered == 1 != (cut < 3) {
			t.Errorf("cut at %d: the turn was kept %d times", cut, entered)
		}
		if cut == 1 && hashes(t, d.model.asked)[0] != want {
			t.Error("the model was asked something else than before the crash")
		}
	}
}

// TestMemoryThatFails does not keep an agent from answering.
func TestMemoryThatFails(t *testing.T) {
	d := newDesk(t, caxton.Definition{}, []llm.Response{says("hi")})
	d.with(remembering(), d.journal, prompt.Config{Memory: &notebook{err: caxton.Errorf(caxton.Unavailable, "memory_loading", "memory is being loaded")}})
	if text, err := d.handle(nil); err != nil || text != "hi" {
		t.Fatalf("%q, %v", text, err)
	}
	rs := d.turn()
	if got := kinds(rs); got != "memory_recalled model_called memory_written" {
		t.Fatalf("records %s", got)
	}
	for _, r := range []caxton.Record{rs[0], rs[2]} {
		if !strings.Contains(string(r.Body), "memory is being loaded") {
			t.Errorf("%s does not tell why: %s", r.Kind, r.Body)
		}
	}
}

// TestNoMemory is about agents without one: none is asked, and none keeps anything.
func TestNoMemory(t *testing.T) {
	for name, c := range map[string]struct {
		def caxton.Definition
		cfg prompt.Config
	}{
		"not enabled":  {caxton.Definition{}, prompt.Config{Memory: &notebook{items: known()}}},
		"not provided": {remembering(), prompt.Config{}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, caxton.Definition{}, []llm.Response{says("hi")})
			d.with(c.def, d.journal, c.cfg)
			if _, err := d.handle(nil); err != nil {
				t.Fatal(err)
			}
			if got := kinds(d.turn()); got != "model_called" {
				t.Errorf("records %s", got)
			}
		})
	}
}

// TestPreviewRecalls shows what the model would be told.
func TestPreviewRecalls(t *testing.T) {
	set, err := tool.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := prompt.New(&script{}, set, newDesk(t, caxton.Definition{}, nil).journal, prompt.Config{Memory: &notebook{items: known()}})
	req, err := h.Preview(t.Context(), caxton.AgentVersion{AgentID: "a1", Number: 1, Definition: remembering()}, "where is Ann?")
	if err != nil || len(req.Documents) != 1 || !strings.Contains(req.Documents[0].Text, "Lives in Porto.") {
		t.Errorf("%+v, %v", req, err)
	}
}
