package node_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
)

// A factQuestion is asked about what agents remember on purpose: entities with observations.
type factQuestion struct{ kind, text, name, note string }

// facts returns entities of several types and questions that name them, in full or in part, that
// describe them, and that name nobody.
func facts() (memos []memory.Memo, asked []factQuestion) {
	add := func(name, kind string, notes ...string) {
		m := memory.Memo{Scope: caxton.Scope{Kind: caxton.GlobalScope}, Name: name, Type: kind}
		for _, n := range notes {
			m.Notes = append(m.Notes, memory.Note{Text: n})
		}
		memos = append(memos, m)
	}
	ask := func(kind, text, name, note string) { asked = append(asked, factQuestion{kind, text, name, note}) }
	of := func(list string, i int) string { all := strings.Split(list, "|"); return all[i%len(all)] }
	for i, first := range strings.Split("Maria|Jonas|Priya|Wei|Fatima|Oleg|Sara|Tom|Ines|Ravi|Greta|Hugo|Lena|Marco|Nadia|Piotr", "|") {
		name := first + " " + of("Lopez|Berg|Nair|Chen|Haddad|Ivanov|Lind", i)
		say := func(format string, args ...any) string { // agents write it with and without the name
			if i%2 == 1 {
				format = first + " " + format
			}
			return fmt.Sprintf(format, args...)
		}
		drink, job := say("prefers to drink %s", of("green tea|espresso|sparkling water|kombucha|black coffee", i)), say("works as a %s at %s", of("nurse|lawyer|designer", i), of("Acme|Globex|Initech|Umbra", i))
		allergy, home := say("is allergic to %s", of("peanuts|shellfish|cat hair|penicillin|gluten", i/2)), say("lives in %s", of("Madrid|Oslo|Mumbai|Berlin|Toronto|Lyon", i/3))
		phone := fmt.Sprintf("+49 170 55%04d", 1000+i*317)
		reach := say("can be reached at %s", phone)
		add(name, "person", drink, job, allergy, home, reach)
		ask("person", "What does "+first+" like to drink?", name, drink)
		ask("person", "which company employs "+strings.ToLower(name), name, job)
		ask("person", "Where is "+name+" based?", name, home)
		ask("person", "What must "+first+" not eat or take?", name, allergy)
		ask("identifier", "Who answers the phone at "+phone+"?", name, reach)
	}
	for i, p := range [][3]string{
		{"Apollo", "replaces the invoicing system", "the initiative about billing software"},
		{"Blue Heron", "moves customer data out of the old CRM", "the effort to migrate client records"},
		{"Driftwood", "rewrites the mobile checkout", "redoing how people pay in the app"},
		{"Everest", "automates warehouse picking", "robots that fetch goods in storage"},
		{"Firefly", "measures energy use of buildings", "tracking the power consumption of offices"},
		{"Juniper", "detects fraud in card payments", "spotting stolen credit cards"},
	} {
		name := "Project " + p[0]
		data, due := "stores its data in "+of("PostgreSQL 16|MySQL 8|ClickHouse", i), "must be finished by "+of("3 March 2027|15 May 2027|1 October 2026", i)
		add(name, "project", data, due, p[1])
		ask("thing", "Which database does "+p[0]+" use?", name, data)
		ask("thing", "when is the deadline of "+strings.ToLower(p[0]), name, due)
		ask("described", p[2], name, p[1])
		ask("described", "Which project "+p[1]+"?", name, p[1])
	}
	for i := range 8 {
		name, address := fmt.Sprintf("srv-%02d", i+1), fmt.Sprintf("10.0.%d.%d", i, 7*i+3)
		at, runs := "has the address "+address, "runs "+of("nginx|Kafka|Redis|Grafana", i)
		add(name, "server", at, runs)
		ask("identifier", "Which machine has "+address+"?", name, at)
		ask("identifier", "What is the IP of "+name+"?", name, at)
	}
	add("Backup policy", "document", "keeps nightly copies for 30 days", "copies are encrypted")
	add("Coffee", "thing", "is bought from the roastery on Elm Street")
	add("Deutsche Kunden", "group", "bekommen Rechnungen mit 19 Prozent Mehrwertsteuer", "werden gesiezt")
	ask("described", "How long are snapshots retained?", "Backup policy", "keeps nightly copies for 30 days")
	ask("described", "Where do we get our beans?", "Coffee", "is bought from the roastery on Elm Street")
	ask("thing", "Wie hoch ist die Mehrwertsteuer für deutsche Kunden?", "Deutsche Kunden", "bekommen Rechnungen mit 19 Prozent Mehrwertsteuer")
	return memos, asked
}

// TestFacts holds, with the model in the program, that both signals together find what agents
// remember on purpose at least as well as each alone, and what the scores mean.
func TestFacts(t *testing.T) {
	if testing.Short() {
		t.Skip("embeds some hundred texts")
	}
	model, err := embedding.Open(t.Context(), embedding.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	db, err := memdb.Open(t.Context(), memdb.Config{Path: filepath.Join(t.TempDir(), "memory.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	e, err := engine.New(db, db, db, model, engine.Config{Batch: 1000, CacheResults: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	memos, asked := facts()
	access := memory.Access{All: true}
	if w, err := e.Remember(ctx, access, memos, caxton.Provenance{By: "test"}); err != nil || w.Unembedded > 0 {
		t.Fatalf("%d not embedded, %v", w.Unembedded, err)
	}

	right, all := map[string]int{}, map[string]int{} // within the first three, by kind and mode
	good, total := 0, 0
	for _, q := range asked {
		for _, mode := range []memory.Mode{memory.Words, memory.Meaning, memory.Hybrid} {
			r, err := e.Search(ctx, memory.Query{Access: access, Text: q.text, Mode: mode, Limit: 20, PerEntity: 8})
			if err != nil {
				t.Fatal(err)
			}
			better, score := 0, 0.0
			for _, h := range r.Hits {
				for i := range h.Entity.Observations {
					if h.Entity.Name == q.name && h.Entity.Observations[i].Text == q.note {
						score = h.Found[i].Score
					}
				}
			}
			for _, h := range r.Hits {
				for _, f := range h.Found {
					if f.Score > score {
						better++
					}
				}
			}
			all[q.kind]++
			if score > 0 && better < 3 {
				right[q.kind+" "+string(mode)]++
			}
			if mode == memory.Hybrid {
				total++
				if score >= 0.6 {
					good++
				}
			}
		}
	}
	for kind, n := range all {
		n /= 3
		words, meaning, hybrid := right[kind+" words"], right[kind+" meaning"], right[kind+" hybrid"]
		t.Logf("%s: of %d words find %d, meaning %d, both %d", kind, n, words, meaning, hybrid)
		if hybrid < words || hybrid < meaning || 10*hybrid < 9*n {
			t.Errorf("%s: of %d words find %d, meaning %d, both %d", kind, n, words, meaning, hybrid)
		}
	}
	if 10*good < 7*total {
		t.Errorf("of %d answers %d have a score of 0.6 or more", total, good)
	}
	for _, beside := range []string{"What is the capital of Mongolia?", "How do volcanoes erupt?", "lyrics of a song about summer rain", "Who won the chess match between Zelda and Quentin?"} {
		r, err := e.Search(ctx, memory.Query{Access: access, Text: beside, MinSimilarity: 0.6})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range r.Hits {
			t.Errorf("%q finds %s with %.2f: %+v", beside, h.Entity.Name, h.Score, h.Entity.Observations)
		}
	}
}
