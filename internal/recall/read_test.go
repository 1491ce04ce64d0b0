package recall_test

import (
	"errors"
	"io"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/recall"
)

type reader func(string, io.Reader) iter.Seq2[recall.World, error]

// collect reads all worlds, up to the first error.
func collect(worlds iter.Seq2[recall.World, error]) ([]recall.World, error) {
	var out []recall.World
	for w, err := range worlds {
		if err != nil {
			return out, err
		}
		out = append(out, w)
	}
	return out, nil
}

func readFile(t *testing.T, read reader, path string) []recall.World {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	worlds, err := collect(read(path, f))
	if err != nil {
		t.Fatal(err)
	}
	return worlds
}

func TestReadLoCoMo(t *testing.T) {
	t.Parallel()
	may, june := time.Date(2023, 5, 8, 13, 56, 0, 0, time.UTC), time.Date(2023, 6, 2, 9, 5, 0, 0, time.UTC)
	asked := june.Add(time.Second)
	want := []recall.World{{
		ID: "pair-1",
		Turns: []recall.Turn{
			{ID: "pair-1:D1:1", Session: "pair-1:session_1", Speaker: "Ottilie", Text: "The kiln arrived, three men had to carry it.", At: may},
			{ID: "pair-1:D1:2", Session: "pair-1:session_1", Speaker: "Bram", Text: "Does it fit through your door? [picture: a narrow door]", At: may.Add(time.Second)},
			{ID: "pair-1:D2:1", Session: "pair-1:session_2", Speaker: "Bram", Text: "I moved my bees to the allotment.", At: june},
			{ID: "pair-1:D2:2", Session: "pair-1:session_2", Speaker: "Ottilie", Text: "My first bowl cracked in the kiln.", At: asked},
		},
		Questions: []recall.Question{
			{ID: "pair-1:q000", Type: recall.Temporal, Text: "When did the kiln arrive?", Answer: "May 2023", AskedAt: asked, Evidence: [][]string{{"pair-1:D1:1"}}},
			{ID: "pair-1:q001", Type: recall.MultiHop, Text: "What happened with the kiln?", Answer: "2", AskedAt: asked, Evidence: [][]string{{"pair-1:D1:1"}, {"pair-1:D2:2"}}},
			{ID: "pair-1:q002", Type: recall.SingleHop, Text: "Where are Bram's bees?", Answer: "on the allotment", AskedAt: asked, Evidence: [][]string{{"pair-1:D2:1"}}},
		},
		Skipped: []recall.Skip{
			{Question: "pair-1:q003", Reason: "it names no evidence"},
			{Question: "pair-1:q004", Reason: "adversarial: no turn answers it"},
			{Question: "pair-1:q005", Reason: "its evidence D9:9 is not there"},
		},
	}}
	if diff := cmp.Diff(want, readFile(t, recall.ReadLoCoMo, "testdata/locomo.json")); diff != "" {
		t.Errorf("ReadLoCoMo (-want +got):\n%s", diff)
	}
}

func TestReadLongMemEval(t *testing.T) {
	t.Parallel()
	may, june := time.Date(2023, 5, 20, 2, 21, 0, 0, time.UTC), time.Date(2023, 6, 2, 9, 0, 0, 0, time.UTC)
	want := []recall.World{
		{
			ID: "k1",
			Turns: []recall.Turn{
				{ID: "s_a:0", Session: "s_a", Speaker: "user", Text: "I take the 9 to the kiln.", At: may},
				{ID: "s_a:1", Session: "s_a", Speaker: "assistant", Text: "All right.", At: may.Add(time.Second)},
				{ID: "s_b:0", Session: "s_b", Speaker: "user", Text: "I take the 14 to the kiln now.", At: june},
				{ID: "s_b:1", Session: "s_b", Speaker: "assistant", Text: "Noted.", At: june.Add(time.Second)},
			},
			Questions: []recall.Question{{
				ID: "k1", Type: "knowledge-update", Text: "Which bus do I take to the kiln?", Answer: "the 14",
				AskedAt:  time.Date(2023, 6, 30, 10, 0, 0, 0, time.UTC),
				Evidence: [][]string{{"s_b:0"}, {"s_a:0"}}, Sessions: [][]string{{"s_b"}, {"s_a"}},
			}},
		},
		{
			ID:    "k2",
			Turns: []recall.Turn{{ID: "s_c:0", Session: "s_c", Speaker: "user", Text: "Twelve bowls today."}},
			Questions: []recall.Question{{
				ID: "k2", Type: "single-session-user", Text: "How many bowls did I make?", Answer: "12",
				Sessions: [][]string{{"s_c", "s_c#2"}},
			}},
		},
		{
			ID:      "k3_abs",
			Turns:   []recall.Turn{{ID: "session_0:0", Session: "session_0", Speaker: "user", Text: "Twelve bowls today."}},
			Skipped: []recall.Skip{{Question: "k3_abs", Reason: "it is meant to have no answer"}},
		},
	}
	if diff := cmp.Diff(want, readFile(t, recall.ReadLongMemEval, "testdata/longmemeval.json")); diff != "" {
		t.Errorf("ReadLongMemEval (-want +got):\n%s", diff)
	}
}

func TestReadFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		read reader
		in   string
		line int
		key  string
	}{
		{"an empty file", recall.ReadLoCoMo, "", 1, ""},
		{"no array", recall.ReadLoCoMo, `{"qa": []}`, 1, ""},
		{"cut off", recall.ReadLoCoMo, "[\n{\"sample_id\":", 2, "[0]"},
		{"not JSON", recall.ReadLoCoMo, "[\n\n{\"qa\" 1}]", 3, "[0]"},
		{"no conversation", recall.ReadLoCoMo, `[{"sample_id": 1}]`, 1, "[0].conversation"},
		{"a session that is no list", recall.ReadLoCoMo, `[{"conversation": {"session_1": 7}}]`, 1, "[0].conversation.session_1"},
		{"a time that is none", recall.ReadLoCoMo, `[{"conversation": {"session_1": [], "session_1_date_time": "noon"}}]`, 1, "[0].conversation.session_1_date_time"},
		{"questions that are no list", recall.ReadLoCoMo, "[{\"conversation\": {},\n\"qa\": \"none\"}]", 2, "[0].qa"},
		{"no id", recall.ReadLongMemEval, "[{\"haystack_sessions\": []}]", 1, "[0].question_id"},
		{"no sessions", recall.ReadLongMemEval, "[{\"question_id\": \"a\", \"haystack_sessions\": []},\n{\"question_id\": \"b\"}]", 2, "[1].haystack_sessions"},
		{"too few dates", recall.ReadLongMemEval, `[{"question_id": "a", "haystack_sessions": [[], []], "haystack_dates": ["2023/05/20"]}]`, 1, "[0].haystack_dates"},
		{"too few ids", recall.ReadLongMemEval, `[{"question_id": "a", "haystack_sessions": [[], []], "haystack_session_ids": ["x"]}]`, 1, "[0].haystack_session_ids"},
		{"a date that is none", recall.ReadLongMemEval, `[{"question_id": "a", "haystack_sessions": [[]], "haystack_dates": ["soon"]}]`, 1, "[0].haystack_dates[0]"},
		{"a question date that is none", recall.ReadLongMemEval, `[{"question_id": "a", "haystack_sessions": [], "question_date": "soon"}]`, 1, "[0].question_date"},
		{"the array not closed", recall.ReadLongMemEval, `[{"question_id": "a", "haystack_sessions": []}`, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := collect(tt.read("some.json", strings.NewReader(tt.in)))
			e, ok := errors.AsType[*caxton.Error](err)
			if !ok || e.Kind != caxton.Malformed || len(e.Issues) != 1 {
				t.Fatalf("read(%q): %v, want one Malformed issue", tt.in, err)
			}
			if i := e.Issues[0]; i.Path != "some.json" || i.Line != tt.line || i.Key != tt.key {
				t.Errorf("read(%q): issue at %s:%d %q, want some.json:%d %q", tt.in, i.Path, i.Line, i.Key, tt.line, tt.key)
			}
		})
	}
}

// checkWorlds holds what was read to what Run relies on.
func checkWorlds(t *testing.T, worlds []recall.World) {
	t.Helper()
	ids := map[string]bool{}
	for _, w := range worlds {
		if ids[w.ID] {
			t.Errorf("two worlds %q", w.ID)
		}
		ids[w.ID] = true
		turns, sessions := map[string]bool{}, map[string]bool{}
		for _, turn := range w.Turns {
			if turns[turn.ID] {
				t.Errorf("world %q: two turns %q", w.ID, turn.ID)
			}
			turns[turn.ID], sessions[turn.Session] = true, true
		}
		for _, q := range w.Questions {
			if len(q.Evidence)+len(q.Sessions) == 0 {
				t.Errorf("question %q has no evidence", q.ID)
			}
			for _, g := range q.Evidence {
				for _, id := range g {
					if !turns[id] {
						t.Errorf("question %q: evidence %q is no turn", q.ID, id)
					}
				}
			}
		}
	}
}

func FuzzReadLoCoMo(f *testing.F)      { fuzz(f, recall.ReadLoCoMo, "testdata/locomo.json") }
func FuzzReadLongMemEval(f *testing.F) { fuzz(f, recall.ReadLongMemEval, "testdata/longmemeval.json") }

func fuzz(f *testing.F, read reader, example string) {
	f.Helper()
	b, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`[{"sample_id": "a", "conversation": {"session_1": [{"dia_id": "D1:1"}, {"dia_id": "D1:1"}]}}, {"sample_id": "a", "conversation": {}}]`)
	f.Add(`[{"question_id": "a", "haystack_sessions": [[{"content": 1}], []]}]`)
	f.Fuzz(func(t *testing.T, in string) {
		worlds, err := collect(read("f", strings.NewReader(in)))
		if err != nil && caxton.KindOf(err) != caxton.Malformed {
			t.Fatalf("kind %q: %v", caxton.KindOf(err), err)
		}
		checkWorlds(t, worlds)
	})
}
