package memdb_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"
)

// stems returns what the text index makes of words, each by itself.
func stems(t *testing.T, words []string) []string {
	t.Helper()
	c, err := sqlite3.Open(filepath.Join(t.TempDir(), "stems.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := fts5.Register(c); err != nil {
		t.Fatal(err)
	}
	err = c.Exec(`CREATE VIRTUAL TABLE f USING fts5(t, tokenize='porter unicode61 remove_diacritics 2');
		CREATE VIRTUAL TABLE v USING fts5vocab(f, instance)`)
	if err != nil {
		t.Fatal(err)
	}
	st, _, err := c.Prepare(`INSERT INTO f (rowid, t) VALUES (?, ?)`)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("BEGIN"); err != nil {
		t.Fatal(err)
	}
	for i, w := range words {
		if err := st.BindInt64(1, int64(i)); err != nil {
			t.Fatal(err)
		}
		if err := st.BindText(2, w); err != nil {
			t.Fatal(err)
		}
		if err := st.Exec(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(st.Close(), c.Exec("COMMIT")); err != nil {
		t.Fatal(err)
	}
	got := make([]string, len(words))
	if st, _, err = c.Prepare(`SELECT doc, term FROM v`); err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for st.Step() {
		got[st.ColumnInt(0)] = st.ColumnText(1)
	}
	return got
}

// TestStem compares the stems with those of the text index: words of all endings on stems of all sorts.
func TestStem(t *testing.T) {
	t.Parallel()
	words := strings.Fields(`caresses ponies ties caress cats feed agreed plastered bled motoring sing conflated troubled sized hopping tanned
		falling hissing fizzed failing filing happy sky relational conditional rational valenci hesitanci digitizer conformabli radicalli
		differentli vileli analogousli vietnamization predication operator feudalism decisiveness hopefulness callousness formaliti
		sensitiviti sensibiliti triplicate formative formalize electriciti electrical hopeful goodness revival allowance inference
		airliner gyroscopic adjustable defensible irritant replacement adjustment dependent adoption homologou communism activate
		angulariti homologous effective bowdlerize probate rate cease controll roll yes a is as ion ions able s ss ing ed eed sses
		naïve Über café ångström 2024 x86 caxton's résumés Straße ПРИВЕТ`)
	bases := strings.Fields(`a b tr st ch run fall agre hop play fly sky toy bel ob happ oaten orrery abil cream trouble privat quick sh eo yy zz lil`)
	endings := strings.Fields(`s es ies sses ed eed ing ings y ly ational tional enci anci izer logi bli alli entli eli ousli ization ation ator alism
		iveness fulness ousness aliti iviti biliti icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent ion sion tion
		ou ism ate iti ous ive ize e ll l ated bled ized tted`)
	for _, b := range bases {
		for _, e := range endings {
			words = append(words, b+e)
		}
	}
	want := stems(t, words)
	for i, w := range words {
		tokens := memdb.Tokens(w)
		if len(tokens) != 1 {
			continue // "caxton's" is two
		}
		if got := memdb.Stem(tokens[0]); got != want[i] {
			t.Errorf("stem of %q = %q, the index has %q", w, got, want[i])
		}
	}
}

// TestMatchFindsTheBest compares the best ten with those of a search that scores every passage:
// leaving the lists of common words aside must hardly show.
func TestMatchFindsTheBest(t *testing.T) {
	t.Parallel()
	db := open(t, memdb.Config{})
	c := newCorpus(1)
	const n = 30_000
	type passage struct {
		id    caxton.MemoryID
		words map[string]float64
		n     float64
	}
	var passages []passage
	df, total := map[string]float64{}, 0.0
	for len(passages) < n {
		memos := make([]memory.Memo, 2000)
		for i := range memos {
			memos[i] = memory.Memo{Scope: everybody(), Name: fmt.Sprint("e", len(passages)+i), Notes: []memory.Note{{Text: c.text(12, 40)}}}
		}
		rs, err := db.Remember(t.Context(), operator(), memos, caxton.Provenance{})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rs {
			p := passage{caxton.MemoryID(r.Observations[0].ID), map[string]float64{}, 0}
			for _, w := range memdb.Tokens(memory.PassageText(memos[i].Name, "thing", memos[i].Notes[0].Text)) {
				s := memdb.Stem(w)
				if p.words[s] == 0 {
					df[s]++
				}
				p.words[s]++
				p.n++
			}
			p.n += float64(len(memdb.Tokens(memos[i].Name))) // the marks of the subject
			total += p.n
			passages = append(passages, p)
		}
	}
	found, wanted := 0, 0
	q := newCorpus(9)
	for range 60 {
		words := q.text(4, 12)
		hits, err := db.Match(t.Context(), operator(), words, memory.Filter{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		type scored struct {
			id    caxton.MemoryID
			score float64
		}
		var all []scored
		asked := map[string]bool{}
		for _, w := range memdb.Tokens(words) {
			asked[memdb.Stem(w)] = true
		}
		for _, p := range passages {
			score := 0.0
			for w := range asked {
				if tf := p.words[w]; tf > 0 {
					score += math.Log(1+(n-df[w]+0.5)/(df[w]+0.5)) * tf * 2.2 / (tf + 1.2*(0.25+0.75*p.n/(total/n)))
				}
			}
			if score > 0 {
				all = append(all, scored{p.id, score})
			}
		}
		slices.SortFunc(all, func(x, y scored) int { return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(y.id, x.id)) })
		for i, want := range all[:min(10, len(all))] {
			wanted++
			if slices.ContainsFunc(hits, func(h memory.TextMatch) bool { return h.ID == want.id }) {
				found++
			}
			if i == 0 && hits[0].ID == want.id && math.Abs(hits[0].Score-want.score) > 1e-6*want.score {
				t.Errorf("the best of %q has score %v, want %v", words, hits[0].Score, want.score)
			}
		}
	}
	share := float64(found) / float64(wanted)
	t.Logf("%d of %d, %.3f", found, wanted, share)
	if share < 0.9 {
		t.Errorf("Match finds %.3f of the best ten", share)
	}
}
