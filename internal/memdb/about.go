package memdb

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/ncruces/go-sqlite3"
)

const (
	maxAboutWords = 64
	lookedAt      = 200     // passages whose scope is looked at to tell whether a name is known there
	scopeWalk     = 200_000 // passages of the scopes that are seen, up to which the text index is asked for those only
)

// Weigh returns for each of es the score that Match gives it for a query.
func (db *DB) Weigh(ctx context.Context, a memory.Access, query string, es []caxton.Entity) (scores []float64, err error) {
	scores = make([]float64, len(es))
	err = db.look(ctx, "weigh", a, memory.AsOf{}, func(r *reader) error {
		c, terms, err := r.asked(&db.terms, query)
		if err != nil || len(terms) == 0 {
			return err
		}
		weights, tf := weighedTerms(terms), make([]float64, len(terms))
		for i := range es {
			text := ""
			if len(es[i].Observations) > 0 {
				text = es[i].Observations[0].Text
			}
			scores[i] = bm25(c, terms, &weights, tf, document(es[i].Name, es[i].Type, text, 0))
		}
		return nil
	})
	return scores, err
}

// Names returns those words that are in the subject of a passage that a may see.
func (db *DB) Names(ctx context.Context, a memory.Access, words []string) (names []memory.Name, err error) {
	err = db.look(ctx, "names", a, memory.AsOf{}, func(r *reader) error {
		if r.blind() {
			return nil
		}
		for _, given := range words {
			word := ""
			nameWords(given, func(w string) { word = cmp.Or(word, w) })
			if word == "" {
				continue
			}
			known, err := r.marked(subjectMark + word)
			if err != nil {
				return err
			}
			if !known {
				continue
			}
			person, err := r.marked(personMark + word)
			if err != nil {
				return err
			}
			names = append(names, memory.Name{Word: given, Person: person})
		}
		return nil
	})
	return names, err
}

// marked reports whether a passage that is seen has a word with a mark. To have the index look
// in the scopes that are seen costs for each of their passages, so the scopes of some that have
// the word are looked at first: most names are known in few scopes.
func (r *reader) marked(word string) (found bool, err error) {
	ids, err := r.posted(quoted(word), manyPassages)
	if err != nil || r.seen.all || len(ids) == 0 {
		return len(ids) > 0, err
	}
	list, _ := json.Marshal(ids[max(0, len(ids)-lookedAt):])
	q := (&query{}).add(`SELECT coalesce(o.scope, e.scope) AS s FROM json_each(?) i
		LEFT JOIN observations o ON o.id=i.value LEFT JOIN entities e ON e.id=i.value`, string(list))
	scopes := map[int64]bool{}
	n := 0
	if err := q.each(r.conn, func(st *sqlite3.Stmt) error {
		scopes[st.ColumnInt64(0)] = true
		n++
		return nil
	}); err != nil {
		return false, err
	}
	for _, s := range r.seen.ns {
		if scopes[s] {
			return true, nil
		}
	}
	if n < lookedAt || len(r.seen.ns) > lookedAt {
		return false, nil
	}
	return r.one(`SELECT 1 FROM passages WHERE passages MATCH ? LIMIT 1`, []any{quoted(word) + r.inScopes()}, func(*sqlite3.Stmt) {})
}

// inScopes is what is added to a word's query to find it in the scopes that are seen only.
func (r *reader) inScopes() string {
	words := make([]string, len(r.seen.ns))
	for i, n := range r.seen.ns {
		words[i] = quoted(scopeWord(n))
	}
	return " AND (" + strings.Join(words, " OR ") + ")"
}

// About returns the passages that have one of some words in their subject or their text.
func (db *DB) About(ctx context.Context, a memory.Access, words []string, limit int) (all []memory.Aboutness, err error) {
	if len(words) > maxAboutWords {
		return nil, fault("words_invalid", "%d words are too many, at most %d are looked for", len(words), maxAboutWords)
	}
	err = db.look(ctx, "about", a, memory.AsOf{}, func(r *reader) error {
		if r.blind() {
			return nil
		}
		c, err := r.corpus()
		if err != nil {
			return err
		}
		within := ""
		if !r.seen.all && len(r.seen.ns) <= lookedAt && c.mine <= scopeWalk && c.mine < c.passages/2 {
			within = r.inScopes()
		}
		for i, given := range words {
			word := ""
			nameWords(given, func(w string) { word = cmp.Or(word, w) })
			if word == "" {
				continue
			}
			bit := uint64(1) << i
			read := func(word string, mark func(*memory.Aboutness)) error {
				ids, err := r.posted(quoted(word)+within, manyPassages)
				if err != nil {
					return err
				}
				for _, id := range ids[max(0, len(ids)-limit):] {
					m := memory.Aboutness{ID: caxton.MemoryID(id)}
					mark(&m)
					all = append(all, m)
				}
				return nil
			}
			if err := read(subjectMark+word, func(m *memory.Aboutness) { m.Subject = bit }); err != nil {
				return err
			}
			if err := read(word, func(m *memory.Aboutness) { m.Text = bit }); err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortFunc(all, func(x, y memory.Aboutness) int { return cmp.Compare(x.ID, y.ID) })
	merged := all[:0]
	for _, m := range all {
		if n := len(merged); n > 0 && merged[n-1].ID == m.ID {
			merged[n-1].Subject |= m.Subject
			merged[n-1].Text |= m.Text
			continue
		}
		merged = append(merged, m)
	}
	return merged, err
}
