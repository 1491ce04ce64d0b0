package router

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/caxton/caxton"
)

// choose finds who is to handle m, and says how the choice was made.
func (r *Router) choose(ctx context.Context, m *caxton.Message, continued bool) (caxton.Agent, caxton.Routing, error) {
	if m.Capability.IsZero() {
		a, err := r.dir.Resolve(m.Receiver)
		return a, caxton.Routing{Strategy: caxton.DirectAddress}, err
	}
	all := r.dir.Providers(m.Capability)
	if len(all) == 0 {
		return caxton.Agent{}, caxton.Routing{}, r.errNoCapability(m.Capability)
	}
	able := make([]caxton.Agent, 0, len(all))
	for i := range all {
		if r.cfg.Available(all[i].ID) {
			able = append(able, all[i])
		}
	}
	if len(able) == 0 {
		able = all // the message waits with the best of them, as one that names a suspended agent does
	}
	strategy := cmp.Or(m.Strategy, r.cfg.Strategy)
	cs, err := r.candidates(ctx, m, able, continued)
	if err != nil {
		return caxton.Agent{}, caxton.Routing{}, err
	}
	score(strategy, cs, able)
	if strategy == caxton.RoundRobin {
		turn, _ := r.turns.LoadOrStore(m.Capability, &atomic.Uint64{})
		first := int((turn.(*atomic.Uint64).Add(1) - 1) % uint64(len(cs))) //nolint:gosec // less than len(cs)
		cs[first].Score = 1
	}
	byID := map[caxton.AgentID]caxton.Agent{}
	for _, a := range able {
		byID[a.ID] = a
	}
	slices.SortStableFunc(cs, func(a, b caxton.Candidate) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Slug, b.Slug))
	})
	return byID[cs[0].AgentID], caxton.Routing{Strategy: strategy, Candidates: cs}, nil
}

// candidates gathers the facts that scores are made of.
func (r *Router) candidates(ctx context.Context, m *caxton.Message, able []caxton.Agent, continued bool) ([]caxton.Candidate, error) {
	query := words(m.Text())
	cs := make([]caxton.Candidate, len(able))
	for i := range able {
		a := &able[i]
		l := r.Load(a.ID)
		limit := cmp.Or(a.Definition.Performance.QueueSize, r.cfg.QueueSize)
		c := caxton.Candidate{
			AgentID: a.ID, Slug: a.Slug,
			Match:  overlap(query, a),
			Health: round(l.Health),
			Load:   round(min(1, float64(l.Queued+l.InFlight)/float64(limit))),
		}
		if continued {
			th, err := r.journal.Thread(ctx, m.ConversationID, a.ID)
			if err != nil {
				return nil, err
			}
			if th.Version > 0 {
				c.Continuity = 1
			}
		}
		cs[i] = c
	}
	return cs, nil
}

// score sets each candidate's Score by the strategy. For best_match it is
// (0.2 + match + continuity) × health × (1 − load): whoever is in the conversation stays in
// it unless broken or flooded, and a match of nothing still leaves a choice by health.
func score(s caxton.Strategy, cs []caxton.Candidate, able []caxton.Agent) {
	for i := range cs {
		c := &cs[i]
		switch s {
		case caxton.BestMatch:
			c.Score = (0.2 + c.Match + c.Continuity) * c.Health * (1 - c.Load)
		case caxton.LeastLoaded:
			c.Score = 1 - c.Load
		case caxton.ByPriority:
			c.Score = float64(cmp.Or(able[i].Definition.Priority, defaultAgentPriority)) * c.Health * (1 - c.Load)
		case caxton.Broadcast:
			c.Score = 1 // all get it
		case caxton.RoundRobin, caxton.DirectAddress:
			c.Score = 0 // the turn decides
		}
		c.Score = round(c.Score)
	}
}

// defaultAgentPriority is the priority of an agent that declares none, of 0 to 1000.
const defaultAgentPriority = 50

// round keeps four decimals: scores are for people and logs.
func round(f float64) float64 { return math.Round(f*1e4) / 1e4 }

// overlap returns the share of the query's words that the agent's own description has.
func overlap(query map[string]bool, a *caxton.Agent) float64 {
	if len(query) == 0 {
		return 0
	}
	d := &a.Definition
	own := words(d.Name + " " + d.Description + " " + strings.Join(d.Tags, " ") + " " + d.Documentation + " " + d.SystemPrompt)
	for _, c := range d.Capabilities {
		for w := range words(c.String()) {
			own[w] = true
		}
	}
	n := 0
	for w := range query {
		if own[w] {
			n++
		}
	}
	return round(float64(n) / float64(len(query)))
}

// words returns the words of a text in lower case, of three letters and more; words in
// camel case count as their parts too.
func words(s string) map[string]bool {
	set := map[string]bool{}
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		for _, w := range append(strings.Split(caxton.Slug(f), "-"), strings.ToLower(f)) {
			if len(w) > 2 {
				set[w] = true
			}
		}
	}
	return set
}

func (r *Router) errNoCapability(c caxton.Capability) error {
	known := r.dir.Capabilities()
	names := make([]string, 0, len(known))
	for _, k := range known {
		names = append(names, k.String())
	}
	hint := "no agent is deployed yet; caxton agents deploy FILE deploys one"
	if len(names) > 0 {
		hint = "there is " + strings.Join(names[:min(len(names), 20)], ", ")
	}
	return caxton.Errorf(caxton.NotFound, "capability_not_found", "no agent has the capability %s", c).WithHint("%s", hint)
}
