package httpd

import (
	"fmt"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/memory"
)

func provenanceFrom(p *caxton.Provenance) api.Provenance {
	return api.Provenance{
		ConversationID: string(p.ConversationID), MessageID: string(p.MessageID), AgentID: string(p.AgentID), Version: p.Version, Tool: p.Tool, By: p.By,
	}
}

func observationFrom(o *caxton.Observation) api.Observation {
	return api.Observation{
		ID: o.ID.String(), Text: o.Text, Key: o.Key, Confidence: o.Confidence, ValidFrom: o.Valid.From, ValidTo: o.Valid.To,
		KnownFrom: o.Known.From, KnownTo: o.Known.To, Supersedes: o.Supersedes.String(), SupersededBy: o.SupersededBy.String(), RevertedBy: o.RevertedBy,
		Provenance: provenanceFrom(&o.Provenance),
	}
}

func entityFrom(e *caxton.Entity) api.Entity {
	out := api.Entity{
		ID: e.ID.String(), Name: e.Name, Type: e.Type, Scope: e.Scope.String(), Importance: e.Importance, Metadata: e.Metadata, Version: e.Version,
		CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt, ForgottenAt: e.Known.To, Observations: []api.Observation{},
	}
	for i := range e.Observations {
		out.Observations = append(out.Observations, observationFrom(&e.Observations[i]))
	}
	return out
}

func relationFrom(r *caxton.Relation) api.Relation {
	return api.Relation{
		ID: r.ID.String(), From: r.From.String(), FromName: r.FromName, To: r.To.String(), ToName: r.ToName, Type: r.Type, Scope: r.Scope.String(),
		Strength: r.Strength, Confidence: r.Confidence, Metadata: r.Metadata, ValidFrom: r.Valid.From, ValidTo: r.Valid.To,
		KnownFrom: r.Known.From, KnownTo: r.Known.To, Provenance: provenanceFrom(&r.Provenance),
	}
}

func changeFrom(c *memory.Change) api.MemoryChange {
	out := api.MemoryChange{At: c.At, Kind: string(c.Kind), Detail: c.Detail, Provenance: provenanceFrom(&c.Provenance)}
	if c.Observation != nil {
		out.Observation = new(observationFrom(c.Observation))
	}
	if c.Relation != nil {
		out.Relation = new(relationFrom(c.Relation))
	}
	return out
}

// names prints IDs.
func names[T fmt.Stringer](ids []T) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, id.String())
	}
	return out
}

func changedFrom(c *memory.Changed) api.MemoryChanged {
	return api.MemoryChanged{Entities: names(c.Entities), Observations: names(c.Observations), Restored: names(c.Restored), Relations: names(c.Relations)}
}

func matchesFrom(res *memory.Result) api.MemoryMatches {
	out := api.MemoryMatches{
		Items: []api.MemoryMatch{}, Mode: string(res.Mode), Model: res.Model, Degraded: res.Degraded, TookMillis: millis(res.Took),
	}
	for i := range res.Hits {
		h := &res.Hits[i]
		m := api.MemoryMatch{Entity: entityFrom(&h.Entity), Similarity: h.Score, Content: h.Entity.Name, Found: []api.MemoryFound{}}
		if len(h.Entity.Observations) > 0 {
			m.Content = h.Entity.Observations[0].Text
		}
		for _, f := range h.Found {
			// A passage's ID is the observation's, unless nothing is known about the entity.
			found := api.MemoryFound{ID: caxton.ObservationID(f.ID).String(), Score: f.Score, Signals: []api.MemorySignal{}}
			if caxton.EntityID(f.ID) == h.Entity.ID {
				found.ID = h.Entity.ID.String()
			}
			for _, g := range f.Signals {
				found.Signals = append(found.Signals, api.MemorySignal(g))
			}
			m.Found = append(m.Found, found)
		}
		for j := range h.Relations {
			m.Relations = append(m.Relations, relationFrom(&h.Relations[j]))
		}
		out.Items = append(out.Items, m)
	}
	out.Matches = out.Items
	return out
}

func graphFrom(g *memory.Graph) api.MemoryGraph {
	out := api.MemoryGraph{
		Graph: api.MemoryGraphBody{Nodes: []api.MemoryNode{}, Edges: []api.Relation{}},
		Stats: api.MemoryGraphStats{Nodes: len(g.Nodes), Edges: len(g.Edges), Truncated: g.Truncated, TookMillis: millis(g.Took)},
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		out.Graph.Nodes = append(out.Graph.Nodes, api.MemoryNode{Entity: entityFrom(&n.Entity), Depth: n.Depth, Path: names(n.Path)})
		out.Stats.MaxDepth = max(out.Stats.MaxDepth, n.Depth)
	}
	for i := range g.Edges {
		out.Graph.Edges = append(out.Graph.Edges, relationFrom(&g.Edges[i]))
	}
	return out
}
