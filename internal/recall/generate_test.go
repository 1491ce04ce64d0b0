package recall_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/recall"
)

// generate returns all worlds of a configuration.
func generate(t *testing.T, cfg recall.GeneratorConfig) []recall.World {
	t.Helper()
	worlds, err := collect(recall.Generate(cfg))
	if err != nil {
		t.Fatal(err)
	}
	return worlds
}

// words are what a keyword search would look for.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

func TestGenerateDefaults(t *testing.T) {
	t.Parallel()
	worlds := generate(t, recall.GeneratorConfig{Seed: 1})
	if len(worlds) != 8 {
		t.Fatalf("%d worlds, want 8", len(worlds))
	}
	checkWorlds(t, worlds)
	questions := 0
	for _, w := range worlds {
		questions += len(w.Questions)
		if !slices.IsSortedFunc(w.Turns, func(a, b recall.Turn) int { return a.At.Compare(b.At) }) {
			t.Errorf("world %s: turns are not in order of time", w.ID)
		}
		speakers, sessions, texts := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, turn := range w.Turns {
			speakers[turn.Speaker], sessions[turn.Session] = true, true
			if strings.ContainsAny(turn.Text, "{}") {
				t.Errorf("turn %s has a place that was not filled: %q", turn.ID, turn.Text)
			}
		}
		if len(speakers) < 50 || len(sessions) < 200 || len(w.Turns) < 2000 {
			t.Errorf("world %s: %d speakers, %d sessions, %d turns", w.ID, len(speakers), len(sessions), len(w.Turns))
		}
		count := map[recall.Type]int{}
		for _, q := range w.Questions {
			count[q.Type]++
			if texts[q.Text] {
				t.Errorf("question %s is asked twice: %q", q.ID, q.Text)
			}
			texts[q.Text] = true
			if strings.ContainsAny(q.Text, "{}") || !strings.HasSuffix(q.Text, "?") {
				t.Errorf("question %s: %q", q.ID, q.Text)
			}
			if q.AskedAt.Before(w.Turns[len(w.Turns)-1].At) {
				t.Errorf("question %s is asked before the last turn", q.ID)
			}
			groups := len(q.Evidence)
			if q.Type == recall.MultiHop && groups != 2 || q.Type == recall.Aggregation && groups < 2 {
				t.Errorf("question %s: %d groups of evidence", q.ID, groups)
			}
		}
		for _, k := range recall.Types() {
			if count[k] < 50 {
				t.Errorf("world %s: %d questions of type %s, want 50 or more", w.ID, count[k], k)
			}
		}
	}
	if questions < 4000 {
		t.Errorf("%d questions, want several thousand", questions)
	}
}

// TestGenerateRepeats holds the worlds to a digest: the same seed makes the same worlds on
// every machine. A change of the language or the generator changes it, and with it every
// figure that was published.
func TestGenerateRepeats(t *testing.T) {
	t.Parallel()
	digest := func(seed uint64) string {
		h := sha256.New()
		for _, w := range generate(t, recall.GeneratorConfig{Seed: seed, Worlds: 1}) {
			if err := json.NewEncoder(h).Encode(w); err != nil {
				t.Fatal(err)
			}
		}
		return hex.EncodeToString(h.Sum(nil)[:8])
	}
	const want = "cded2302877d722a"
	if got := digest(1); got != want {
		t.Errorf("worlds of seed 1 have the digest %s, want %s", got, want)
	}
	if digest(2) == digest(1) {
		t.Error("two seeds make the same worlds")
	}
}

// TestSplitsShareNothing checks that what weights are chosen on says nothing about what
// they are reported on: no person and no sentence is in both splits.
func TestSplitsShareNothing(t *testing.T) {
	t.Parallel()
	persons := map[recall.Split]map[string]bool{recall.Tuning: {}, recall.HeldOut: {}}
	sentences := map[recall.Split]map[string]bool{recall.Tuning: {}, recall.HeldOut: {}}
	for _, w := range generate(t, recall.GeneratorConfig{Seed: 3, Worlds: 2}) {
		for _, turn := range w.Turns {
			for name := range strings.FieldsSeq(turn.Speaker) {
				persons[w.Split][name] = true
			}
			sentences[w.Split][turn.Text] = true
		}
		for _, q := range w.Questions {
			sentences[w.Split][q.Text] = true
		}
	}
	for name := range persons[recall.Tuning] {
		if persons[recall.HeldOut][name] {
			t.Errorf("%q is in both splits", name)
		}
	}
	for s := range sentences[recall.Tuning] {
		if sentences[recall.HeldOut][s] {
			t.Errorf("%q is in both splits", s)
		}
	}
}

// TestParaphrasesShareNoWord checks that the questions of that type cannot be answered by
// words: the question and the turn share none that says anything, names aside.
func TestParaphrasesShareNoWord(t *testing.T) {
	t.Parallel()
	silent := map[string]bool{}
	for _, w := range words(`a an and are as at be become been before began begin but by can did do does for from get got had has have
		he her him his how i in into is it its least long me more most much my no not of off on one or other our out over own
		s she should so some t than that the their them then there these they this to two up us was way we were what when
		where which who whom whose why will with would you your m d ll re ve could again after all any each every first last
		now new only once somebody someone something few back down about`) {
		silent[w] = true
	}
	shared, asked := 0, 0
	for _, w := range generate(t, recall.GeneratorConfig{Seed: 4, Worlds: 2}) {
		turns := map[string]recall.Turn{}
		names := map[string]bool{}
		for _, turn := range w.Turns {
			turns[turn.ID] = turn
			for _, n := range words(turn.Speaker) {
				names[n] = true
			}
		}
		for _, q := range w.Questions {
			if q.Type != recall.Paraphrase {
				continue
			}
			asked++
			for _, g := range q.Evidence {
				for _, id := range g {
					in := words(turns[id].Text)
					for _, word := range words(q.Text) {
						if !silent[word] && !names[word] && slices.Contains(in, word) {
							shared++
							t.Logf("%q shares %q with %q", q.Text, word, turns[id].Text)
						}
					}
				}
			}
		}
	}
	// Small talk around the fact may hold a word of the question by chance.
	if shared*50 > asked {
		t.Errorf("%d shared words in %d questions, want at most one in fifty", shared, asked)
	}
}

func TestGenerateRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]recall.GeneratorConfig{
		"an unknown split":     {Splits: []recall.Split{"third"}},
		"too many persons":     {Persons: 57},
		"too few persons":      {Persons: 3},
		"too few sessions":     {Sessions: 19},
		"a negative number":    {Worlds: -1},
		"no questions of type": {PerType: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := collect(recall.Generate(cfg)); caxton.KindOf(err) != caxton.Invalid {
				t.Errorf("Generate(%+v): %v, want Invalid", cfg, err)
			}
		})
	}
}

func TestGenerateSmall(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		checkWorlds(t, generate(t, recall.GeneratorConfig{Seed: seed, Worlds: 1, Persons: 4, Sessions: 20}))
	}
}
