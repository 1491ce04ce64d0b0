package memdb

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

// To score every passage that has a word of the question costs 2 µs for each with FTS5, and a word of
// the question is often in a tenth of all passages. So the rare words decide what is looked at: the
// lists of passages are read from the rarest word on until the budget is used up, and added up in Go. The
// best of them are read and scored exactly, by all words of the question.
const (
	postingBudget = 15_000 // passages read from the lists of the words; one costs about 0.2 µs
	minScored     = 120    // passages that are read and scored exactly, at least
	maxScored     = 1500
	maxExamined   = 6000 // passages looked up to find those that agree with the filter
	maxTerms      = 24   // words of a question that count: the rarest
	maxLookedUp   = 96   // words of a question whose frequency is looked at
	scoredBytes   = 64 << 10
)

// The parameters of BM25, those of FTS5.
const (
	saturation = 1.2
	lengthNorm = 0.75
)

// A term is a word of a question.
type term struct {
	word string // as it is written, in small letters
	stem string
	df   int64 // passages that have it
	idf  float64
}

// frequencies remember how many passages have a word.
type frequencies struct {
	mu    sync.Mutex // guards all below
	total int64      // passages there were when they were counted
	df    map[string]int64
}

const (
	maxFrequencies = 50_000
	maxKeptStem    = 64 // bytes
)

func (f *frequencies) init() { f.df = map[string]int64{} }

func (f *frequencies) get(stem string, total int64) (df int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.df) >= maxFrequencies || total > f.total+f.total/8+1000 || total < f.total-f.total/8-1000 {
		clear(f.df)
		f.total = total
	}
	df, ok = f.df[stem]
	return df, ok
}

func (f *frequencies) put(stem string, df int64) {
	if len(stem) > maxKeptStem {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.df[stem] = df
}

// A candidate is a passage that has some of the words.
type candidate struct {
	id    int64
	score float64
}

// Match returns the passages that have words of a query, best first. Words are compared by their
// stems, without accents; very common ones count only beside others. Among passages of the same score the
// newest goes first.
func (db *DB) Match(ctx context.Context, a memory.Access, query string, f memory.Filter, limit int) (found []memory.TextMatch, err error) {
	if limit <= 0 {
		limit = memory.DefaultLimit
	}
	at := asOf(f)
	err = db.look(ctx, "text_match", a, at, func(r *reader) error {
		c, terms, err := r.asked(&db.terms, query)
		if err != nil || len(terms) == 0 || r.blind() {
			return err
		}
		within := r.within(c, len(terms))
		candidates, err := r.candidates(c, terms, within)
		if err != nil {
			return err
		}
		found, err = r.score(c, terms, candidates, f, at, limit, within != "")
		return err
	})
	return found, err
}

// aFewPassages is how many passages there are at most of scopes that the text index is asked for only: to go
// through them costs 60 ns for each and each word.
const aFewPassages = 2000

// MatchRoughly returns the passages that have the rarest and the most words of a query, best first, with the sum of
// what their words weigh as their score. Those that a may not see may be among them, besides the limit: there are as
// many more as it takes to have about limit that a sees.
func (db *DB) MatchRoughly(ctx context.Context, a memory.Access, query string, limit int) (found []memory.TextMatch, err error) {
	err = db.look(ctx, "text_match", a, memory.AsOf{}, func(r *reader) error {
		c, terms, err := r.asked(&db.terms, query)
		if err != nil || len(terms) == 0 || r.blind() {
			return err
		}
		within := ""
		if !r.seen.all && c.mine <= aFewPassages && len(r.seen.ns) <= lookedAt {
			within = r.inScopes()
		}
		candidates, err := r.candidates(c, terms, within)
		if err != nil {
			return err
		}
		if !r.seen.all && within == "" {
			limit = int(float64(limit) * float64(c.passages) / float64(max(c.mine, 1)))
		}
		limit = min(limit, len(candidates))
		best(candidates, limit)
		found = make([]memory.TextMatch, limit)
		for i, c := range candidates[:limit] {
			found[i] = memory.TextMatch{ID: caxton.MemoryID(c.id), Score: c.score}
		}
		return nil
	})
	return found, err
}

// asked returns what BM25 needs of a query. Without words that some passage has there are no terms.
func (r *reader) asked(known *frequencies, query string) (c corpus, terms []term, err error) {
	if len(query) > memory.MaxQuery {
		query = strings.ToValidUTF8(query[:memory.MaxQuery], "")
	}
	if c, err = r.corpus(); err != nil || c.passages == 0 {
		return c, nil, err
	}
	terms, err = r.terms(known, c, query)
	return c, terms, err
}

// blind reports that no scope is seen.
func (r *reader) blind() bool { return !r.seen.all && len(r.seen.ns) == 0 }

// A corpus is what BM25 has to know of all passages.
type corpus struct {
	passages int64
	average  float64 // words of a passage
	mine     int64   // passages of the scopes that are seen
}

// corpus reads it from where FTS5 keeps it: numbers of variable length, that of the rows and that of the words.
func (r *reader) corpus() (c corpus, err error) {
	var words uint64
	_, err = r.one(`SELECT block FROM passages_data WHERE id=1`, nil, func(st *sqlite3.Stmt) {
		b := st.ColumnRawBlob(0)
		rows, n := varint(b)
		words, _ = varint(b[n:])
		c.passages = int64(rows) //nolint:gosec // rows of a table
	})
	if err != nil || c.passages == 0 {
		return c, err
	}
	c.average = max(1, float64(words)/float64(c.passages)-1) // one is the scope's
	q := (&query{}).add(`SELECT sum(passages) FROM scopes WHERE 1`).sees(r.seen, "n")
	_, err = q.one(r.conn, func(st *sqlite3.Stmt) { c.mine = st.ColumnInt64(0) })
	return c, err
}

// varint reads a number as SQLite writes it: seven bits a byte, the highest first.
func varint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 8 {
		v = v<<7 | uint64(b[n]&0x7f)
		n++
		if b[n-1] < 0x80 {
			return v, n
		}
	}
	if n < len(b) {
		return v<<8 | uint64(b[n]), n + 1
	}
	return v, n
}

// terms returns the words of a question that some passage has, the rarest first. Words that tell
// nothing are left out, unless there are no others.
func (r *reader) terms(known *frequencies, c corpus, question string) ([]term, error) {
	var all, content []term
	have := map[string]bool{}
	stop := stopWords()
	tokens(indexed(question, 0), func(word []byte) bool {
		if strings.HasPrefix(string(word), scopeMark) {
			return true
		}
		s := string(stem(word))
		if have[s] {
			return true
		}
		have[s] = true
		t := term{word: string(word), stem: s}
		all = append(all, t)
		if !stop[t.word] {
			content = append(content, t)
		}
		return len(content) < maxLookedUp && len(all) < 8*maxLookedUp
	})
	if len(content) > 0 {
		all = content
	}
	terms := all[:0]
	for _, t := range all {
		df, ok := known.get(t.stem, c.passages)
		if !ok {
			var err error
			if df, err = r.number(`SELECT doc FROM temp.vocabulary WHERE term=?`, t.stem); err != nil {
				return nil, err
			}
			known.put(t.stem, df)
		}
		if df == 0 && ok { // it may be new since it was counted
			found, err := r.one(`SELECT 1 FROM passages WHERE passages MATCH ? LIMIT 1`, []any{quoted(t.word)}, func(*sqlite3.Stmt) {})
			if err != nil {
				return nil, err
			}
			if found {
				df = 1
			}
		}
		if df > 0 {
			t.df = df
			n := float64(c.passages)
			t.idf = math.Log(1 + (max(n-float64(df), 0)+0.5)/(float64(df)+0.5))
			terms = append(terms, t)
		}
	}
	slices.SortStableFunc(terms, func(x, y term) int { return cmp.Compare(x.df, y.df) })
	return terms[:min(len(terms), maxTerms)], nil
}

// quoted is a word in the query language of FTS5, in which nothing else has a meaning there.
func quoted(word string) string { return `"` + strings.ReplaceAll(word, `"`, `""`) + `"` }

// candidates adds up the weights of the words by passage. within is what is added to the query of each word.
func (r *reader) candidates(c corpus, terms []term, within string) (all []candidate, err error) {
	left := int64(postingBudget)
	var list []candidate
	for i, t := range terms {
		most := t.df
		if within != "" {
			most = min(most, c.mine)
		}
		if most > left && i > 0 {
			break // this one and the more common ones only count in the exact score
		}
		ids, err := r.posted(quoted(t.word)+within, most)
		if err != nil {
			return nil, err
		}
		ids = ids[max(0, len(ids)-int(left)):] // of a word that is everywhere the newest
		list = list[:0]
		for _, id := range ids {
			list = append(list, candidate{id, t.idf})
		}
		all = merge(all, list)
		left -= int64(len(ids))
	}
	return all, nil
}

// better orders candidates, the best first.
func better(x, y candidate) int {
	switch {
	case x.score > y.score, x.score == y.score && x.id > y.id:
		return -1
	case x == y:
		return 0
	}
	return 1
}

// best brings the n best candidates to the front, in order.
func best(all []candidate, n int) {
	rest := all
	for want := n; len(rest) > 32 && want > 0 && want < len(rest); { // quickselect: only where n lies
		pivot := rest[len(rest)/2]
		lo, hi := 0, len(rest)-1
		for lo <= hi {
			for better(rest[lo], pivot) < 0 {
				lo++
			}
			for better(pivot, rest[hi]) < 0 {
				hi--
			}
			if lo <= hi {
				rest[lo], rest[hi] = rest[hi], rest[lo]
				lo++
				hi--
			}
		}
		switch {
		case want <= hi:
			rest = rest[:hi+1]
		case want >= lo:
			want -= lo
			rest = rest[lo:]
		default:
			want = 0
		}
	}
	if len(rest) <= 32 {
		slices.SortFunc(rest, better)
	}
	slices.SortFunc(all[:min(n, len(all))], better)
}

// within is what is added to a word's query to have the index look for it in the scopes that are
// seen only, or nothing where it is cheaper to look at the scopes of what was found. To go through the
// passages of a scope costs 60 ns for each, and that for each word; to look at one that was found
// 3 µs, and more of those the smaller the share of the scopes.
func (r *reader) within(c corpus, terms int) string {
	if r.seen.all || len(r.seen.ns) > 200 {
		return ""
	}
	through := 60 * float64(c.mine) * float64(terms)
	after := 3000 * minScored * float64(c.passages) / float64(max(c.mine, 1))
	if through > after && c.mine > 1000 {
		return ""
	}
	return r.inScopes()
}

// merge adds up two lists in order of IDs.
func merge(a, b []candidate) []candidate {
	if len(a) == 0 {
		return slices.Clone(b)
	}
	sum := make([]candidate, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].id < b[0].id:
			sum, a = append(sum, a[0]), a[1:]
		case b[0].id < a[0].id:
			sum, b = append(sum, b[0]), b[1:]
		default:
			sum = append(sum, candidate{a[0].id, a[0].score + b[0].score})
			a, b = a[1:], b[1:]
		}
	}
	return append(append(sum, a...), b...)
}

// score reads the best candidates that are seen and agree with the filter, and scores them. within says that none
// is of another scope.
func (r *reader) score(c corpus, terms []term, candidates []candidate, f memory.Filter, at memory.AsOf, limit int, within bool) ([]memory.TextMatch, error) {
	observation := (&query{}).add(`SELECT o.entity, o.scope, o.state, e.name, e.type, o.text FROM `+clock+` CROSS JOIN observations o CROSS JOIN entities e ON e.id=o.entity
		WHERE o.id=?`, r.known, r.valid, nil).sees(r.seen, "o.scope").add(`AND ` + r.holding(at) + ` AND ` + thereAt)
	r.filterEntity(observation, f)
	filterObservation(observation, f)
	name := (&query{}).add(`SELECT e.id, e.scope, iif(e.forgotten IS NULL, 0, 2), e.name, e.type, '' FROM `+clock+` CROSS JOIN entities e
		WHERE e.id=?`, r.known, r.valid, nil).sees(r.seen, "e.scope").add(`AND e.named=1 AND ` + thereAt)
	r.filterEntity(name, f)

	weights := weighedTerms(terms)
	enough := min(max(3*limit, minScored), maxScored)
	enough = max(enough, limit)
	examined := max(maxExamined, 2*enough)
	var found []memory.TextMatch
	tf := make([]float64, len(terms))
	sorted := 0
	for i := range candidates {
		if i == sorted {
			more := min(max(2*enough, sorted), len(candidates)-sorted)
			best(candidates[sorted:], more)
			sorted += more
		}
		cand := candidates[i]
		if len(found) >= enough || i >= examined && len(found) >= limit || i >= 4*examined {
			break
		}
		row := func(st *sqlite3.Stmt) {
			m := memory.TextMatch{ID: caxton.MemoryID(cand.id), EntityID: caxton.EntityID(st.ColumnInt64(0))}
			m.Group = memory.Group(st.ColumnInt64(1)) << 1 //nolint:gosec // numbers of scopes are small
			if st.ColumnInt64(2) == 2 {
				m.Group |= 1
			}
			m.Score = bm25(c, terms, &weights, tf, document(st.ColumnText(3), st.ColumnText(4), st.ColumnText(5), 0))
			found = append(found, m)
		}
		if !within && !r.seen.all {
			scope := int64(0)
			ok, err := r.one(`SELECT scope FROM observations WHERE id=?`, []any{cand.id}, func(st *sqlite3.Stmt) { scope = st.ColumnInt64(0) })
			if err != nil {
				return nil, err
			}
			if ok && !slices.Contains(r.seen.ns, scope) {
				continue // most of those of others end here, for little
			}
		}
		observation.args[2] = cand.id
		ok, err := observation.one(r.conn, row)
		if err == nil && !ok && !observed(f) {
			name.args[2] = cand.id
			_, err = name.one(r.conn, row)
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(found, func(x, y memory.TextMatch) int {
		return cmp.Or(cmp.Compare(y.Score, x.Score), cmp.Compare(y.ID, x.ID))
	})
	return found[:min(len(found), limit)], nil
}

// weighed finds the place of a stem among the terms. A word and its stem begin with the same letter: most
// words need not be brought to their stems.
type weighed struct {
	first  [256]bool
	places map[string]int
}

func weighedTerms(terms []term) weighed {
	w := weighed{places: make(map[string]int, len(terms))}
	for i, t := range terms {
		w.places[t.stem] = i
		w.first[t.stem[0]] = true
	}
	return w
}

// bm25 scores a document. Of a very long one the beginning stands for all.
func bm25(c corpus, terms []term, weights *weighed, tf []float64, text string) float64 {
	clear(tf)
	whole := float64(len(text))
	if len(text) > scoredBytes {
		text = strings.ToValidUTF8(text[:scoredBytes], "")
	}
	words := 0.0
	tokens(text, func(word []byte) bool {
		words++
		if weights.first[word[0]] {
			if i, ok := weights.places[string(stem(word))]; ok {
				tf[i]++
			}
		}
		return true
	})
	words = (words - 1) * whole / float64(len(text))
	norm := saturation * (1 - lengthNorm + lengthNorm*words/c.average)
	score := 0.0
	for i, t := range terms {
		score += t.idf * tf[i] * (saturation + 1) / (tf[i] + norm)
	}
	return score
}

// Groups returns the groups that a may see; the past ones only if past.
func (db *DB) Groups(ctx context.Context, a memory.Access, past bool) (groups []memory.Group, err error) {
	err = db.look(ctx, "groups", a, memory.AsOf{}, func(r *reader) error {
		return (&query{}).add(`SELECT n FROM scopes WHERE 1`).sees(r.seen, "n").add(`ORDER BY n`).each(r.conn, func(st *sqlite3.Stmt) error {
			g := memory.Group(st.ColumnInt64(0)) << 1 //nolint:gosec // numbers of scopes are small
			groups = append(groups, g)
			if past {
				groups = append(groups, g|1)
			}
			return nil
		})
	})
	return groups, err
}
