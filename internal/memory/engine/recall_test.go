package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
)

func TestRecallKeepsToItsBudget(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{})
	for n := range strings.FieldsSeq("Ada Ben Cid Dan Eve Fay") {
		remember(t, e, memo(global(), n, "person", n+" likes cheese "+strings.Repeat("very much and ", 20)))
	}
	for _, tokens := range []int{30, 100, 200, 1000} {
		r, err := e.Recall(t.Context(), sees(global()), "who likes cheese", memory.RecallOptions{Tokens: tokens, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		sum, text := 0, ""
		for i, s := range r.Snippets {
			line := engine.Line(s)
			text += line
			sum += s.Tokens
			if s.Tokens != engine.EstimateTokens(line) || i > 0 && s.Score > r.Snippets[i-1].Score || s.EntityID == 0 || s.ID == 0 {
				t.Errorf("snippet %+v", s)
			}
		}
		if sum != r.Tokens || sum > tokens || len(r.Snippets) == 0 || engine.EstimateTokens(text) > tokens {
			t.Errorf("of %d tokens: %d in %d snippets", tokens, sum, len(r.Snippets))
		}
		if tokens == 1000 && len(r.Snippets) != 6 {
			t.Errorf("%d snippets, want all", len(r.Snippets))
		}
	}
	r, err := e.Recall(t.Context(), sees(global()), " ", memory.RecallOptions{})
	if err != nil || len(r.Snippets) != 0 {
		t.Errorf("nothing recalls %+v, %v", r, err)
	}
	if _, err := e.Recall(t.Context(), sees(global()), strings.Repeat("ü", memory.MaxQuery), memory.RecallOptions{}); err != nil {
		t.Errorf("a long text: %v", err)
	}
}

func TestEpisodes(t *testing.T) {
	f := newFake()
	e, _ := start(t, f, &bag{}, engine.Config{})
	turn := memory.Turn{
		ConversationID: "c1", MessageID: "m1", AgentID: "a", Version: 2, Sender: "ann", Agent: "helper",
		Text: "my password is hunter2, and api_key=abc123", Reply: "noted " + strings.Repeat("ö", 3000), At: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
	}
	first, err := e.Episode(t.Context(), agent("a"), turn)
	if err != nil {
		t.Fatal(err)
	}
	again, err := e.Episode(t.Context(), agent("a"), turn)
	if err != nil || again.Remembered[0].Entity.ID != first.Remembered[0].Entity.ID || len(f.entities) != 1 {
		t.Errorf("the same message twice: %+v, %v, %d entities", again, err, len(f.entities))
	}
	en, err := e.Entity(t.Context(), sees(agent("a")), first.Remembered[0].Entity.ID, memory.AsOf{})
	if err != nil || len(en.Observations) != 1 || en.Type != caxton.EpisodeType {
		t.Fatalf("Entity() = %+v, %v", en, err)
	}
	o := en.Observations[0]
	if strings.Contains(o.Text, "hunter2") || strings.Contains(o.Text, "abc123") || !strings.Contains(o.Text, "ann: my password is [redacted]") || len(o.Text) > 5000 {
		t.Errorf("kept %q", o.Text)
	}
	if p := o.Provenance; p.ConversationID != "c1" || p.MessageID != "m1" || p.AgentID != "a" || p.Version != 2 || p.Tool != caxton.EpisodeTool || !o.Valid.From.Equal(turn.At) {
		t.Errorf("provenance %+v, valid %v", p, o.Valid)
	}
	turn.Text, turn.Reply = " ", ""
	if _, err := e.Episode(t.Context(), agent("a"), turn); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("an empty turn: %v", err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"password=abc def":                                    "password=[redacted] def",
		"Password: 'a b c' x":                                 "Password: [redacted] x",
		`{"api_key": "k1", "name": "n"}`:                      `{"api_key": [redacted], "name": "n"}`,
		"OPENAI_API_KEY=sk-1 next":                            "OPENAI_API_KEY=[redacted] next",
		"client_secret_value = x":                             "client_secret_value = [redacted]",
		"Authorization: Bearer abcdefghijk":                   "Authorization: Bearer [redacted]",
		"postgres://bob:pw@db/x":                              "postgres://bob:[redacted]@db/x",
		"use sk-abcdefghijklmnopqrst now":                     "use [redacted] now",
		"my password is hunter2.":                             "my password is [redacted]",
		"-----BEGIN RSA PRIVATE KEY-----\nabc\n":              "[redacted]",
		"a token of love, and the secret garden":              "a token of love, and the secret garden",
		"the word password has eight letters":                 "the word password has eight letters",
		"see https://example.com:80/a@b":                      "see https://example.com:80/a@b",
		"AKIAABCDEFGHIJKLMNOP and ghp_0123456789012345678901": "[redacted] and [redacted]",
	} {
		if got := engine.Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSlowQueriesAreSeen(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{SlowQuery: 1})
	var seen []memory.SlowQuery
	cancel := e.Observe(func(q memory.SlowQuery) { seen = append(seen, q) })
	found(t, e, memory.Query{Access: all(), Text: "first"})
	found(t, e, memory.Query{Access: all(), Text: strings.Repeat("ü", 200), Mode: memory.Words})
	cancel()
	found(t, e, memory.Query{Access: all(), Text: "last"})
	if len(seen) != 2 || seen[0].Kind != "semantic_search" || seen[1].Kind != "text_search" || seen[0].Text != "first" {
		t.Errorf("seen %+v", seen)
	}
	slow := e.Slowest()
	if len(slow) != 3 || slow[0].Text != "last" || len(slow[1].Text) > 120 || slow[0].Took <= 0 {
		t.Errorf("Slowest() = %+v", slow)
	}
	s, err := e.Stats(t.Context())
	if err != nil || s.Queries[0].Count != 2 || s.Queries[0].P99 <= 0 || s.Queries[0].Max < s.Queries[0].P99 || s.Queries[1].Count != 1 {
		t.Errorf("Stats().Queries = %+v, %v", s.Queries, err)
	}
}

// TestResultsTakeLittle searches for large texts in many ways: only so many results are kept as there is room for.
func TestResultsTakeLittle(t *testing.T) {
	e, _ := start(t, newFake(), nil, engine.Config{})
	remember(t, e, memo(global(), "a", "thing", strings.Repeat("word ", 200_000)))
	for i := range 100 {
		r, err := e.Search(t.Context(), memory.Query{Access: all(), Text: fmt.Sprint("word ", i), Mode: memory.Words})
		if err != nil || len(r.Hits) != 1 {
			t.Fatalf("Search: %d hits, %v", len(r.Hits), err)
		}
	}
	s, err := e.Stats(t.Context())
	if err != nil || s.Results < 10 || s.Results > 40 {
		t.Errorf("%d results of a megabyte are kept, %v", s.Results, err)
	}
}
