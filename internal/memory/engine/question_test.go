package engine_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/google/go-cmp/cmp"
)

func TestQuestions(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{})
	remember(t, e,
		memo(global(), "Alice Smith", "person", "plays the cello"), memo(global(), "Mark", "person", "sings"),
		memo(global(), "Project Apollo", "project", "is late"), memo(agent("a"), "Zoe", "person", "paints"),
	)
	now := time.Date(2024, 5, 15, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		text string
		want engine.Question
	}{
		{"Where does Alice live?", engine.Question{Persons: []string{"alice"}, Content: "live", Meaning: "Where does someone live?"}},
		{"where does alice smith live", engine.Question{Persons: []string{"alice", "smith"}, Content: "live", Meaning: "where does someone live"}},
		{"What is ALICE's address?", engine.Question{Persons: []string{"alice"}, Content: "address", Meaning: "What is someone's address?"}},
		{"Did Bob mark the exam?", engine.Question{Content: "bob mark exam", Meaning: "Did Bob mark the exam?"}},
		{"Alice Smith", engine.Question{Persons: []string{"alice", "smith"}, Meaning: "Alice Smith"}},
		{"When is Apollo due?", engine.Question{Things: []string{"apollo"}, Content: "apollo due", Meaning: "When is Apollo due?"}},
		{"what does Zoe do", engine.Question{Content: "zoe", Meaning: "what does Zoe do"}},
		{"Who opened INC-2041 and ticket 7?", engine.Question{IDs: []string{"inc-2041"}, Content: "opened inc 2041 ticket 7", Meaning: "Who opened INC-2041 and ticket 7?"}},
		{"Где живёт Анна?", engine.Question{Content: "где живет анна", Meaning: "Где живёт Анна?"}},
		{"who is it", engine.Question{Content: "who is it", Meaning: "who is it"}},
		{"?!", engine.Question{Meaning: "?!"}},
	}
	for _, tt := range tests {
		got, err := e.Ask(t.Context(), sees(global()), tt.text, now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
	long := strings.Repeat("Alice wrote about the cello and Apollo in 2024-05-01. ", 600)
	q, err := e.Ask(t.Context(), sees(global()), long, now)
	if err != nil || len(q.Persons) != 1 || len(q.Things) != 0 || len(q.IDs) != 0 {
		t.Errorf("a long query: %d persons, %d things, %v, %v", len(q.Persons), len(q.Things), q.IDs, err)
	}
}

func TestTimesInQuestions(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{})
	now := time.Date(2024, 5, 15, 12, 0, 0, 0, time.UTC) // a Wednesday
	tests := []struct {
		text     string
		from, to string // "" for none
		now      bool
	}{
		{"what was said on 2024-03-05?", "2024-03-05", "2024-03-06", false},
		{"the plan for 2024-03", "2024-03-01", "2024-04-01", false},
		{"on 5 March 2023, who sang?", "2023-03-05", "2023-03-06", false},
		{"on March 5th, 2023", "2023-03-05", "2023-03-06", false},
		{"the 5th March", "2024-03-05", "2024-03-06", false},
		{"in Dec 2022", "2022-12-01", "2023-01-01", false},
		{"where did she live in June", "2023-06-01", "2023-07-01", false},
		{"last March", "2024-03-01", "2024-04-01", false},
		{"last May", "2023-05-01", "2023-06-01", false},
		{"in 2021", "2021-01-01", "2022-01-01", false},
		{"yesterday", "2024-05-14", "2024-05-15", false},
		{"last week", "2024-05-06", "2024-05-13", false},
		{"last month", "2024-04-01", "2024-05-01", false},
		{"3 months ago", "2024-02-01", "2024-03-01", false},
		{"two days ago", "2024-05-13", "2024-05-14", false},
		{"a year ago", "2023-01-01", "2024-01-01", false},
		{"where does she live now?", "", "", true},
		{"these days", "", "", true},
		{"at the moment", "", "", true},
		{"how many up to now", "", "", false},
		{"may I march on, and may 5 come?", "", "", false},
		{"who is 42?", "", "", false},
		{"99 months ago 2024-13-45 in 99999", "2016-02-01", "2016-03-01", false},
		{"a long time ago", "", "", false},
	}
	for _, tt := range tests {
		q, err := e.Ask(t.Context(), all(), tt.text, now)
		if err != nil {
			t.Fatal(err)
		}
		day := func(x time.Time) string {
			if x.IsZero() {
				return ""
			}
			return x.Format(time.DateOnly)
		}
		if day(q.From) != tt.from || day(q.To) != tt.to || q.Now != tt.now {
			t.Errorf("%q: %s to %s, now %v; want %s to %s, %v", tt.text, day(q.From), day(q.To), q.Now, tt.from, tt.to, tt.now)
		}
	}
}

// texts returns what a search finds, best first.
func texts(t *testing.T, e *engine.Engine, q memory.Query) (all []string) {
	t.Helper()
	r, err := e.Search(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hits {
		for _, o := range h.Entity.Observations {
			all = append(all, h.Entity.Name+": "+o.Text)
		}
	}
	return all
}

func TestNamesAreComparedByIdentity(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{})
	remember(t, e,
		memo(global(), "Alice", "person", "eats figs"), memo(global(), "Bob", "person", "cooks Alice's favourite dish, what does Alice eat"),
		memo(global(), "Carol", "person", "eats dates"), memo(agent("x"), "Alice", "person", "eats nails"),
	)
	got := texts(t, e, memory.Query{Access: sees(global()), Text: "what fruit eats Carol"})
	if len(got) == 0 || got[0] != "Carol: eats dates" {
		t.Errorf("found %q, want what is about Carol first", got)
	}
	for _, s := range texts(t, e, memory.Query{Access: sees(global()), Text: "what eats Alice"}) {
		if strings.Contains(s, "nails") {
			t.Errorf("found %q of another scope", s)
		}
	}
	r, err := e.Search(t.Context(), memory.Query{Access: sees(global()), Text: "does Carol eat dates"})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hits {
		for _, f := range h.Found {
			for _, s := range f.Signals {
				if want := map[bool]float64{true: 1}[h.Entity.Name == "Carol"]; s.Name == "subject" && s.Raw != want {
					t.Errorf("%s: subject %v, want %v", h.Entity.Name, s.Raw, want)
				}
			}
		}
	}
}

func TestNamesInTheBestPassagesAreFollowed(t *testing.T) {
	e, _ := start(t, newFake(), &bag{}, engine.Config{})
	memos := []memory.Memo{memo(global(), "Alice", "person", "has a brother called Bob"), memo(global(), "Bob", "person", "drives a tram")}
	for _, name := range []string{"Carol", "Dave", "Erin"} {
		memos = append(memos, memo(global(), name, "person", "drives a truck"))
	}
	remember(t, e, memos...)
	q := memory.Query{Access: all(), Text: "what drives the brother of Alice"}
	got := texts(t, e, q)
	if len(got) < 2 || got[0] != "Alice: has a brother called Bob" || got[1] != "Bob: drives a tram" {
		t.Errorf("found %q, want Alice's brother and what he drives first", got)
	}
	r, err := e.Search(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Hits[1].Found[0].Signals {
		if s.Name == "graph" && (s.Weight <= 0 || !strings.Contains(s.Detail, "Bob")) {
			t.Errorf("the signal that speaks for Bob: %+v", s)
		}
	}
}

func TestTimeOfAQuestion(t *testing.T) {
	now := time.Date(2024, 5, 15, 12, 0, 0, 0, time.UTC)
	f := newFake()
	f.now = func() time.Time { return now }
	e, _ := start(t, f, &bag{}, engine.Config{Now: f.now})
	for i, city := range []string{"Rome", "Oslo", "Bonn"} {
		m := memo(global(), "Alice", "person")
		m.Notes = []memory.Note{{Text: "lives in " + city, Valid: caxton.Span{From: time.Date(2022+i, 1, 10, 0, 0, 0, 0, time.UTC)}}}
		remember(t, e, m)
	}
	for text, want := range map[string]string{
		"where lives Alice now": "Bonn", "where lived Alice in March 2023": "Oslo", "where lived Alice in 2022": "Rome",
	} {
		if got := texts(t, e, memory.Query{Access: all(), Text: text}); len(got) != 3 || got[0] != "Alice: lives in "+want {
			t.Errorf("%s: %q, want %s first", text, got, want)
		}
	}
}

func TestSimilarityGrows(t *testing.T) {
	last := -1.0
	for x := -2.0; x < 3; x += 0.01 {
		s := engine.Similarity(x)
		if s < last || s < 0 || s > 1 {
			t.Fatalf("similarity of %v is %v, after %v", x, s, last)
		}
		last = s
	}
	if s := engine.Similarity(math.NaN()); s != 0 {
		t.Errorf("similarity of NaN is %v", s)
	}
}
