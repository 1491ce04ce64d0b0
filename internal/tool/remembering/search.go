package remembering

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/jsonschema-go/jsonschema"
)

type searchArgs struct {
	Query         string   `json:"query" jsonschema:"What you want to know, in words or as a question."`
	Limit         int      `json:"limit,omitempty" jsonschema:"How many things to return at most."`
	Types         []string `json:"types,omitempty" jsonschema:"Only things of these types, such as person."`
	Since         string   `json:"since,omitempty" jsonschema:"Only what was true at this time or later, such as 2026-03-01."`
	Until         string   `json:"until,omitempty" jsonschema:"Only what was true before this time."`
	AsOf          string   `json:"as_of,omitempty" jsonschema:"What was true at this time; now unless given."`
	MinSimilarity *float64 `json:"min_similarity,omitempty" jsonschema:"How well it must fit, from 0 to 1."`
}

// found is the Data of memory_search.
type found struct {
	Matches  []match `json:"matches"`
	Degraded string  `json:"degraded,omitempty"`
}

// A match is one thing that was found.
type match struct {
	EntityID caxton.EntityID `json:"entity_id"`
	Entity   string          `json:"entity"`
	Type     string          `json:"type"`
	Scope    caxton.Scope    `json:"scope"`
	Score    float64         `json:"score"`
	Facts    []fact          `json:"facts"`
}

type fact struct {
	ID    caxton.ObservationID `json:"id"`
	Text  string               `json:"text"`
	About string               `json:"about,omitempty"`
	From  string               `json:"valid_from,omitempty"`
	To    string               `json:"valid_to,omitempty"`
	Known string               `json:"known_since"`
}

func newSearch(d desk) (tool.Tool, error) {
	return build(d, "memory_search",
		"Look for what you and those you share memory with have remembered. What fits the message best you have been told already; search for what else you need.",
		func(p map[string]*jsonschema.Schema) {
			p["query"].MinLength, p["query"].MaxLength = new(1), new(memory.MaxQuery)
			p["limit"].Minimum, p["limit"].Maximum = new(1.0), new(50.0)
			share(p["min_similarity"])
		}, d.search)
}

func (d *desk) search(ctx context.Context, p *memory.Profile, _ *tool.Call, a *searchArgs) (string, any, error) {
	q := memory.Query{
		Access: p.Access(), Text: a.Query, Limit: cmp.Or(a.Limit, p.Settings.MaxResults, memory.DefaultLimit), Filter: memory.Filter{Types: a.Types},
	}
	if a.MinSimilarity != nil {
		q.MinSimilarity = *a.MinSimilarity
	}
	since, err1 := when("since", a.Since)
	until, err2 := when("until", a.Until)
	asOf, err3 := when("as_of", a.AsOf)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return "", nil, err
	}
	q.Filter.Since, q.Filter.Until = since, until
	if !asOf.IsZero() {
		q.Filter.AsOf = &memory.AsOf{Valid: asOf}
	}
	res, err := d.memory.Search(ctx, q)
	if err != nil {
		return "", nil, err
	}
	out := found{Matches: []match{}, Degraded: res.Degraded}
	var b strings.Builder
	for i := range res.Hits {
		e := &res.Hits[i].Entity
		m := match{EntityID: e.ID, Entity: e.Name, Type: e.Type, Scope: e.Scope, Score: res.Hits[i].Score, Facts: []fact{}}
		fmt.Fprintf(&b, "%s (%s, %s), score %.2f\n", line(e.Name), line(e.Type), e.ID, m.Score)
		for j := range e.Observations {
			o := &e.Observations[j]
			f := fact{ID: o.ID, Text: o.Text, About: o.Key, From: day(o.Valid.From), To: day(o.Valid.To), Known: day(o.Known.From)}
			m.Facts = append(m.Facts, f)
			fmt.Fprintf(&b, "- %s (%s, %s)\n", line(o.Text), o.ID, times(&f))
		}
		out.Matches = append(out.Matches, m)
	}
	if len(out.Matches) == 0 {
		return "Nothing is remembered that fits.", out, nil
	}
	return strings.TrimRight(b.String(), "\n"), out, nil
}

// times says when a fact was true.
func times(f *fact) string {
	switch {
	case f.From != "" && f.To != "":
		return "true from " + f.From + " to " + f.To
	case f.From != "":
		return "true since " + f.From
	case f.To != "":
		return "true until " + f.To
	}
	return "known since " + f.Known
}
