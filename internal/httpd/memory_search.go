package httpd

import (
	"context"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/memory"
)

type searchQuery struct {
	Viewer
	Moment
	Query         string    `query:"query" minLength:"1" maxLength:"32768" required:"true" example:"where does Ann live?"`
	Limit         int       `query:"limit" minimum:"1" maximum:"1000" default:"10"`
	MinSimilarity float64   `query:"min_similarity" minimum:"0" maximum:"1" doc:"hits of a lower score are left out"`
	Mode          string    `query:"mode" enum:"hybrid,words,meaning" default:"hybrid"`
	Types         []string  `query:"entity_types" maxItems:"100"`
	Since         time.Time `query:"since" doc:"true at this time or later"`
	Until         time.Time `query:"until" doc:"true before this time"`
	Relations     bool      `query:"include_relations"`
}

func (s *Server) searchMemoryByQuery(ctx context.Context, in *searchQuery) (*output[api.MemoryMatches], error) {
	return s.searchMemory(ctx, &struct{ Body api.MemorySearch }{api.MemorySearch{
		Query: in.Query, AgentID: in.AgentID, Scope: in.Scope, Limit: in.Limit, MinSimilarity: in.MinSimilarity, Mode: in.Mode, Types: in.Types,
		Since: in.Since, Until: in.Until, ValidAt: in.ValidAt, KnownAt: in.KnownAt, IncludeRelations: in.Relations,
	}})
}

func (s *Server) searchAgentMemory(ctx context.Context, in *struct {
	AgentPath
	Body api.MemorySearch
},
) (*output[api.MemoryMatches], error) {
	in.Body.AgentID = in.Agent
	return s.searchMemory(ctx, &struct{ Body api.MemorySearch }{in.Body})
}

func (s *Server) searchMemory(ctx context.Context, in *struct{ Body api.MemorySearch }) (*output[api.MemoryMatches], error) {
	b := &in.Body
	a, err := s.access(ctx, b.AgentID, b.Scope)
	if err != nil {
		return nil, err
	}
	at := Moment{b.ValidAt, b.KnownAt}
	res, err := s.deps.Memory.Search(ctx, memory.Query{
		Access: a, Text: b.Query, Mode: memory.Mode(b.Mode), Limit: b.Limit, MinSimilarity: b.MinSimilarity, Relations: b.IncludeRelations,
		Filter: memory.Filter{Types: b.Types, Metadata: b.Metadata, Since: b.Since, Until: b.Until, AsOf: at.filter()},
	})
	if err != nil {
		return nil, err
	}
	return &output[api.MemoryMatches]{matchesFrom(&res)}, nil
}

type graphInput struct {
	EntityPath
	Viewer
	To          string   `query:"to" maxLength:"512" doc:"the shortest path to this entity only: ID, or name"`
	Depth       int      `query:"max_depth" minimum:"1" maximum:"10" default:"3"`
	Types       []string `query:"relation_types" maxItems:"100"`
	Direction   string   `query:"direction" enum:"outgoing,incoming,both" default:"both"`
	MinStrength float64  `query:"min_strength" minimum:"0" maximum:"1"`
	Limit       int      `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"nodes at most"`
	Strategy    string   `query:"traversal_strategy" enum:"breadth_first,depth_first" default:"breadth_first"`
	Observe     bool     `query:"include_observations"`
}

func (s *Server) memoryGraph(ctx context.Context, in *graphInput) (*output[api.MemoryGraph], error) {
	a, err := s.access(ctx, in.AgentID, in.Scope)
	if err != nil {
		return nil, err
	}
	from, err := s.entity(ctx, a, in.Entity, memory.AsOf{})
	if err != nil {
		return nil, err
	}
	t := memory.Traversal{
		Access: a, From: []caxton.EntityID{from.ID}, Depth: in.Depth, Types: in.Types, Direction: memory.Direction(in.Direction),
		MinStrength: in.MinStrength, Limit: in.Limit, DepthFirst: in.Strategy == "depth_first",
	}
	if in.To != "" {
		to, err := s.entity(ctx, a, in.To, memory.AsOf{})
		if err != nil {
			return nil, err
		}
		t.To = to.ID
	}
	g, err := s.deps.Memory.Traverse(ctx, t)
	if err != nil {
		return nil, err
	}
	if in.Observe {
		for i := range g.Nodes {
			if g.Nodes[i].Entity, err = s.deps.Memory.Entity(ctx, a, g.Nodes[i].Entity.ID, memory.AsOf{}); err != nil && caxton.KindOf(err) != caxton.NotFound {
				return nil, err
			}
		}
	}
	return &output[api.MemoryGraph]{graphFrom(&g)}, nil
}
