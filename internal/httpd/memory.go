package httpd

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/memory"
	"github.com/danielgtaylor/huma/v2"
)

// Memory is what agents remember. *engine.Engine provides it.
type Memory interface {
	Remember(ctx context.Context, a memory.Access, memos []memory.Memo, by caxton.Provenance) (memory.Written, error)
	Forget(ctx context.Context, a memory.Access, f memory.Forgetting) (memory.Changed, error)
	Revert(ctx context.Context, a memory.Access, r memory.Reversal) (memory.Changed, error)
	Search(ctx context.Context, q memory.Query) (memory.Result, error)
	Traverse(ctx context.Context, t memory.Traversal) (memory.Graph, error)
	Entity(ctx context.Context, a memory.Access, id caxton.EntityID, at memory.AsOf) (caxton.Entity, error)
	Named(ctx context.Context, a memory.Access, name string, at memory.AsOf) ([]caxton.Entity, error)
	Entities(ctx context.Context, a memory.Access, f memory.Filter, cursor string, limit int) ([]caxton.Entity, string, error)
	Relations(ctx context.Context, a memory.Access, id caxton.EntityID, at memory.AsOf, cursor string, limit int) ([]caxton.Relation, string, error)
	History(ctx context.Context, a memory.Access, id caxton.EntityID) ([]memory.Change, error)
	Duplicates(ctx context.Context, a memory.Access, threshold float64, limit int) ([]memory.Duplicate, error)
	Export(ctx context.Context, w io.Writer, o memory.ExportOptions) (memory.ExportCounts, error)
	Import(ctx context.Context, r io.Reader, o memory.ImportOptions) (memory.ImportCounts, error)

	Status() memory.Status
	Stats(ctx context.Context) (memory.Stats, error)
	Slowest() []memory.SlowQuery
	Observe(f func(memory.SlowQuery)) (cancel func())
	ClearCache() (results int)
	Clean(ctx context.Context, c memory.Cleaning) (memory.Cleaned, error)
	Optimize(ctx context.Context, o memory.OptimizeOptions, progress func(memory.Progress)) (memory.Optimized, error)
	Check(ctx context.Context, deep bool) ([]string, error)
}

// An EmbeddingModel turns text into vectors. node provides it, over internal/embedding.
type EmbeddingModel interface {
	Stats() memory.ModelStats
	// ClearCache drops what is kept, and embeds it again if rebuild.
	ClearCache(ctx context.Context, rebuild bool) (dropped, rebuilt int, err error)
}

func (s *Server) memoryRoutes(a huma.API) {
	at := func(method, path, id, summary string) huma.Operation {
		return operation(method, "/memory"+path, id, "memory", summary)
	}
	created := at(http.MethodPost, "/entities", "create-entity", "Remember an entity and what is known about it; one that exists is added to")
	created.DefaultStatus = http.StatusCreated
	created.MaxBodyBytes = s.cfg.MaxBody
	route(s, a, created, s.createEntity)
	batch := at(http.MethodPost, "/entities/batch", "create-entities", "Remember several entities, all or none")
	batch.DefaultStatus = http.StatusCreated
	route(s, a, batch, s.createEntities)
	textOrObject(a.OpenAPI().Components.Schemas.Map()[reflect.TypeFor[api.NewObservation]().Name()], caxton.MaxObservation)
	route(s, a, at(http.MethodGet, "/entities", "list-entities", "List entities, most recently updated first"), s.listEntities)
	route(s, a, at(http.MethodGet, "/entities/{entity}", "get-entity", "One entity and what is known about it, now or as of a time"), s.getEntity)
	route(s, a, at(http.MethodDelete, "/entities/{entity}", "forget-entity", "Forget an entity; its history stays, and it can be brought back by another of its name"), s.forgetEntity)
	route(s, a, at(http.MethodGet, "/entities/{entity}/history", "get-entity-history", "Everything that happened to an entity, oldest first"), s.entityHistory)
	route(s, a, at(http.MethodDelete, "/observations/{observation}", "forget-observation", "Forget one observation"), s.forgetObservation)

	relate := at(http.MethodPost, "/relations", "create-relation", "Remember that two entities are connected; a relation that exists is brought up to date")
	relate.DefaultStatus = http.StatusCreated
	route(s, a, relate, s.createRelation)
	route(s, a, at(http.MethodGet, "/relations", "list-relations", "List relations"), s.listRelations)
	route(s, a, at(http.MethodDelete, "/relations/{relation}", "forget-relation", "Forget one relation"), s.forgetRelation)

	route(s, a, at(http.MethodGet, "/search", "search-memory", "Search what is remembered, by words, meaning, connections and time"), s.searchMemoryByQuery)
	route(s, a, at(http.MethodPost, "/search", "search-memory-body", "The same, with a body"), s.searchMemory)
	route(s, a, at(http.MethodGet, "/graph/{entity}", "get-memory-graph", "What is connected to an entity, or the shortest path to another"), s.memoryGraph)
	route(s, a, at(http.MethodPost, "/revert", "revert-memory", "Take back what came from somewhere; what it had superseded is current again"), s.revertMemory)
	route(s, a, at(http.MethodGet, "/duplicates", "list-duplicate-entities", "Entities that may be the same"), s.duplicates)

	route(s, a, operation(http.MethodGet, "/agents/{agent}/memory", "list-agent-memory", "memory", "List the entities an agent sees"), s.agentEntities)
	mine := operation(http.MethodPost, "/agents/{agent}/memory", "create-agent-memory", "memory", "Remember something for an agent")
	mine.DefaultStatus = http.StatusCreated
	route(s, a, mine, s.createAgentEntity)
	route(s, a, operation(http.MethodPost, "/agents/{agent}/memory/search", "search-agent-memory", "memory", "Search what an agent sees"), s.searchAgentMemory)
	forgetAll := operation(http.MethodDelete, "/agents/{agent}/memory", "clear-agent-memory", "memory", "Forget everything that is an agent's alone")
	route(s, a, forgetAll, s.clearAgentMemory)
	s.memoryCareRoutes(a)
}

// textOrObject lets a schema of objects take a text of at most so many characters in place of
// one.
func textOrObject(s *huma.Schema, most int) {
	object := *s
	text := &huma.Schema{Type: huma.TypeString, MinLength: new(1), MaxLength: &most}
	*s = huma.Schema{AnyOf: []*huma.Schema{text, &object}}
	for _, one := range []*huma.Schema{text, &object, s} {
		one.PrecomputeMessages()
	}
}

// EntityPath names an entity in a path.
type EntityPath struct {
	Entity string `path:"entity" minLength:"1" maxLength:"512" doc:"ID, or name; of several of one name the one in the narrowest scope" example:"ent_0h2kq4e1vfb3b"`
}

// A Viewer says as who memory is looked at.
type Viewer struct {
	AgentID string   `query:"agent_id" maxLength:"200" doc:"only what this agent sees: name, slug or ID; without it everything"`
	Scope   []string `query:"scope" maxItems:"100" doc:"only these scopes: global, workspace:NAME, agent:ID"`
}

// A Moment is the time as of which memory is looked at.
type Moment struct {
	ValidAt time.Time `query:"valid_at" doc:"as it was at this time"`
	KnownAt time.Time `query:"known_at" doc:"as it was known at this time"`
}

func (m *Moment) asOf() memory.AsOf { return memory.AsOf{Valid: m.ValidAt, Known: m.KnownAt} }

// filter returns the filter's AsOf: nil for now.
func (m *Moment) filter() *memory.AsOf {
	if m.ValidAt.IsZero() && m.KnownAt.IsZero() {
		return nil
	}
	return new(m.asOf())
}

// profile returns how an agent remembers.
func (s *Server) profile(ctx context.Context, ref string) (memory.Profile, error) {
	a, err := s.deps.Registry.Resolve(ref)
	if err != nil {
		return memory.Profile{}, err
	}
	v, err := s.deps.Registry.Version(ctx, a.ID, a.Version)
	if err != nil {
		return memory.Profile{}, err
	}
	return memory.ProfileOf(a.Slug, &v), nil
}

// access returns what is looked at: what the agent sees, or everything, within the scopes.
func (s *Server) access(ctx context.Context, agent string, scopes []string) (memory.Access, error) {
	all := memory.Access{All: true}
	if agent != "" {
		p, err := s.profile(ctx, agent)
		if err != nil {
			return all, err
		}
		all = p.Access()
	}
	if len(scopes) == 0 {
		return all, nil
	}
	var some memory.Access
	for _, text := range scopes {
		scope, err := s.scope(text)
		if err != nil {
			return all, err
		}
		if !all.Sees(scope) {
			return all, caxton.Errorf(caxton.Forbidden, "scope_forbidden", "the agent does not share memory of the scope %s", scope).
				WithHint("set memory.scope wider in the agent's file")
		}
		some.Scopes = append(some.Scopes, scope)
	}
	return some, nil
}

// scope reads a scope; an agent may be named in it by anything that names it.
func (s *Server) scope(text string) (caxton.Scope, error) {
	if ref, ok := strings.CutPrefix(text, string(caxton.AgentScope)+":"); ok {
		if a, err := s.deps.Registry.Resolve(ref); err == nil {
			return caxton.Scope{Kind: caxton.AgentScope, Owner: string(a.ID)}, nil
		}
	}
	return caxton.ParseScope(text)
}

// entity finds an entity by ID or name.
func (s *Server) entity(ctx context.Context, a memory.Access, ref string, at memory.AsOf) (caxton.Entity, error) {
	if strings.HasPrefix(ref, "ent_") {
		if id, err := caxton.ParseEntityID(ref); err == nil {
			return s.deps.Memory.Entity(ctx, a, id, at)
		}
	}
	all, err := s.deps.Memory.Named(ctx, a, ref, at)
	if err != nil {
		return caxton.Entity{}, err
	}
	if len(all) == 0 {
		return caxton.Entity{}, caxton.Errorf(caxton.NotFound, "entity_not_found", "nothing is remembered of %.200q", ref).
			WithHint("look for its name with a search")
	}
	return s.deps.Memory.Entity(ctx, a, all[0].ID, at)
}

// memo reads one entity to be remembered.
func (s *Server) memo(n *api.NewEntity, home caxton.Scope) (memory.Memo, error) {
	m := memory.Memo{Scope: home, Name: n.Name, Type: n.Type, Importance: n.Importance, Metadata: n.Metadata, CreateOnly: n.CreateOnly}
	var err error
	switch {
	case n.ID != "" && (n.Name != "" || n.Scope != ""):
		return m, caxton.Errorf(caxton.Invalid, "entity_ambiguous", "entity_id says already which entity it is").WithHint("leave out name and scope")
	case n.ID != "":
		if m.ID, err = caxton.ParseEntityID(n.ID); err != nil {
			return m, err
		}
		m.Scope = caxton.Scope{}
	case n.Name == "":
		return m, caxton.Errorf(caxton.Invalid, "entity_nameless", "the entity has no name").WithHint("give name, or entity_id for one there is")
	}
	if n.Scope != "" {
		if m.Scope, err = s.scope(n.Scope); err != nil {
			return m, err
		}
	}
	for i := range n.Observations {
		o := &n.Observations[i]
		note := memory.Note{Text: o.Text, Key: o.Key, Confidence: o.Confidence, Valid: caxton.Span{From: o.ValidFrom, To: o.ValidTo}}
		if o.Replaces != "" {
			if note.Replaces, err = caxton.ParseObservationID(o.Replaces); err != nil {
				return m, err
			}
		}
		m.Notes = append(m.Notes, note)
	}
	for i := range n.Relations {
		m.Links = append(m.Links, link(&n.Relations[i]))
	}
	return m, nil
}

// link reads one relation; its end may be an entity that is remembered with it.
func link(n *api.NewLink) memory.Link {
	l := memory.Link{Type: n.Type, Strength: n.Strength, Confidence: n.Confidence, Metadata: n.Metadata, Valid: caxton.Span{From: n.ValidFrom, To: n.ValidTo}}
	if strings.HasPrefix(n.To, "ent_") {
		id, err := caxton.ParseEntityID(n.To)
		if err == nil {
			l.ToID = id
			return l
		}
	}
	l.To = n.To
	return l
}

// remember writes entities for one agent or as an operator. All are of the agent that the
// first names, or none is.
func (s *Server) remember(ctx context.Context, entities []api.NewEntity) ([]api.Remembered, error) {
	if len(entities) == 0 { // null passes for a list
		return nil, caxton.Errorf(caxton.Invalid, "entities_missing", "the request names no entity").WithHint("give at least one in entities")
	}
	a, home, by := memory.Access{All: true}, caxton.Scope{Kind: caxton.GlobalScope}, caxton.Provenance{By: "api"}
	if ref := entities[0].AgentID; ref != "" {
		p, err := s.profile(ctx, ref)
		if err != nil {
			return nil, err
		}
		a, home, by.AgentID, by.Version = p.Access(), p.Home(), p.Agent, int64(p.Version)
	}
	memos := make([]memory.Memo, 0, len(entities))
	for i := range entities {
		if entities[i].AgentID != entities[0].AgentID {
			return nil, caxton.Errorf(caxton.Invalid, "agents_mixed", "entity %d is for another agent than entity 1", i+1).WithHint("make one request for each agent")
		}
		m, err := s.memo(&entities[i], home)
		if err != nil {
			return nil, err
		}
		memos = append(memos, m)
	}
	w, err := s.deps.Memory.Remember(ctx, a, memos, by)
	if err != nil {
		return nil, err
	}
	out := make([]api.Remembered, 0, len(w.Remembered))
	for i := range w.Remembered {
		r := &w.Remembered[i]
		o := api.Remembered{Entity: entityFrom(&r.Entity), Status: "updated", Noted: []api.Noted{}, Pending: w.Unembedded}
		if r.Created {
			o.Status = "created"
		}
		for _, n := range r.Observations {
			noted := api.Noted{ID: n.ID.String(), Status: "stored"}
			if n.Duplicate {
				noted.Status = "known"
			}
			for _, id := range n.Superseded {
				noted.Superseded = append(noted.Superseded, id.String())
			}
			o.Noted = append(o.Noted, noted)
		}
		out = append(out, o)
	}
	return out, nil
}

func (s *Server) createEntity(ctx context.Context, in *struct{ Body api.NewEntity }) (*output[api.Remembered], error) {
	out, err := s.remember(ctx, []api.NewEntity{in.Body})
	if err != nil {
		return nil, err
	}
	return &output[api.Remembered]{out[0]}, nil
}

func (s *Server) createAgentEntity(ctx context.Context, in *struct {
	AgentPath
	Body api.NewEntity
},
) (*output[api.Remembered], error) {
	in.Body.AgentID = in.Agent
	return s.createEntity(ctx, &struct{ Body api.NewEntity }{in.Body})
}

func (s *Server) createEntities(ctx context.Context, in *struct{ Body api.EntityBatch }) (*output[api.RememberedList], error) {
	out, err := s.remember(ctx, in.Body.Entities)
	if err != nil {
		return nil, err
	}
	return &output[api.RememberedList]{api.RememberedList{Items: out, Pending: out[0].Pending}}, nil
}

type entitiesInput struct {
	Viewer
	Moment
	Types         []string  `query:"entity_types" maxItems:"100" doc:"only of these types"`
	Name          string    `query:"name" maxLength:"512" doc:"only of this name"`
	MinImportance float64   `query:"min_importance" minimum:"0" maximum:"1"`
	Since         time.Time `query:"since" doc:"true at this time or later"`
	Until         time.Time `query:"until" doc:"true before this time"`
	Limit         int       `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	Cursor        string    `query:"cursor" maxLength:"400" doc:"next of the page before"`
}

func (s *Server) listEntities(ctx context.Context, in *entitiesInput) (*output[api.EntityList], error) {
	a, err := s.access(ctx, in.AgentID, in.Scope)
	if err != nil {
		return nil, err
	}
	f := memory.Filter{Types: in.Types, Name: in.Name, MinImportance: in.MinImportance, Since: in.Since, Until: in.Until, AsOf: in.filter()}
	all, next, err := s.deps.Memory.Entities(ctx, a, f, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	l := api.EntityList{Items: []api.Entity{}, Next: next}
	for i := range all {
		l.Items = append(l.Items, entityFrom(&all[i]))
	}
	l.Entities = l.Items
	return &output[api.EntityList]{l}, nil
}

func (s *Server) agentEntities(ctx context.Context, in *struct {
	AgentPath
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	Cursor string `query:"cursor" maxLength:"400" doc:"next of the page before"`
},
) (*output[api.EntityList], error) {
	return s.listEntities(ctx, &entitiesInput{Viewer: Viewer{AgentID: in.Agent}, Limit: in.Limit, Cursor: in.Cursor})
}

func (s *Server) getEntity(ctx context.Context, in *struct {
	EntityPath
	Viewer
	Moment
},
) (*output[api.Entity], error) {
	a, err := s.access(ctx, in.AgentID, in.Scope)
	if err != nil {
		return nil, err
	}
	e, err := s.entity(ctx, a, in.Entity, in.asOf())
	return &output[api.Entity]{entityFrom(&e)}, err
}

func (s *Server) entityHistory(ctx context.Context, in *struct {
	EntityPath
	Viewer
	Moment
},
) (*output[api.MemoryHistory], error) {
	a, err := s.access(ctx, in.AgentID, in.Scope)
	if err != nil {
		return nil, err
	}
	e, err := s.entity(ctx, a, in.Entity, in.asOf())
	if err != nil {
		return nil, err
	}
	all, err := s.deps.Memory.History(ctx, a, e.ID)
	if err != nil {
		return nil, err
	}
	h := api.MemoryHistory{Entity: e.ID.String(), Name: e.Name, Items: []api.MemoryChange{}}
	for i := range all {
		h.Items = append(h.Items, changeFrom(&all[i]))
	}
	return &output[api.MemoryHistory]{h}, nil
}

func (s *Server) forget(ctx context.Context, v Viewer, f memory.Forgetting) (*output[api.MemoryChanged], error) {
	a, err := s.access(ctx, v.AgentID, v.Scope)
	if err != nil {
		return nil, err
	}
	f.By.By = "api"
	if v.AgentID != "" {
		p, err := s.profile(ctx, v.AgentID)
		if err != nil {
			return nil, err
		}
		f.By.AgentID, f.By.Version = p.Agent, int64(p.Version)
	}
	c, err := s.deps.Memory.Forget(ctx, a, f)
	return &output[api.MemoryChanged]{changedFrom(&c)}, err
}

func (s *Server) forgetEntity(ctx context.Context, in *struct {
	EntityPath
	Viewer
},
) (*output[api.MemoryChanged], error) {
	a, err := s.access(ctx, in.AgentID, in.Scope)
	if err != nil {
		return nil, err
	}
	e, err := s.entity(ctx, a, in.Entity, memory.AsOf{})
	if err != nil {
		return nil, err
	}
	return s.forget(ctx, in.Viewer, memory.Forgetting{Entities: []caxton.EntityID{e.ID}})
}

func (s *Server) forgetObservation(ctx context.Context, in *struct {
	Observation string `path:"observation" maxLength:"40" example:"obs_0h2kq4e1vfb3c"`
	Viewer
},
) (*output[api.MemoryChanged], error) {
	id, err := caxton.ParseObservationID(in.Observation)
	if err != nil {
		return nil, err
	}
	return s.forget(ctx, in.Viewer, memory.Forgetting{Observations: []caxton.ObservationID{id}})
}

func (s *Server) forgetRelation(ctx context.Context, in *struct {
	Relation string `path:"relation" maxLength:"40" example:"rel_0h2kq4e1vfb3d"`
	Viewer
},
) (*output[api.MemoryChanged], error) {
	id, err := caxton.ParseRelationID(in.Relation)
	if err != nil {
		return nil, err
	}
	return s.forget(ctx, in.Viewer, memory.Forgetting{Relations: []caxton.RelationID{id}})
}

func (s *Server) clearAgentMemory(ctx context.Context, in *struct {
	AgentPath
	Confirm bool     `query:"confirm" doc:"must be true"`
	Types   []string `query:"entity_types" maxItems:"100" doc:"only of these types"`
},
) (*output[api.MemoryChanged], error) {
	if !in.Confirm {
		return nil, caxton.Errorf(caxton.Invalid, "not_confirmed", "everything that the agent %.100s alone remembers would be forgotten", in.Agent).
			WithHint("add ?confirm=true if that is wanted")
	}
	p, err := s.profile(ctx, in.Agent)
	if err != nil {
		return nil, err
	}
	a := memory.Access{Scopes: p.Scopes()[:1]}
	sum := api.MemoryChanged{Entities: []string{}, Observations: []string{}, Restored: []string{}, Relations: []string{}}
	for { // what was forgotten is on no later page
		page, _, err := s.deps.Memory.Entities(ctx, a, memory.Filter{Types: in.Types}, "", memory.MaxLimit)
		if err != nil || len(page) == 0 {
			return &output[api.MemoryChanged]{sum}, err
		}
		f := memory.Forgetting{By: caxton.Provenance{By: "api"}}
		for i := range page {
			f.Entities = append(f.Entities, page[i].ID)
		}
		c, err := s.deps.Memory.Forget(ctx, a, f)
		if err != nil {
			return nil, err
		}
		if len(c.Entities) == 0 {
			return nil, caxton.Errorf(caxton.Internal, "memory_not_cleared", "entities that are listed cannot be forgotten")
		}
		part := changedFrom(&c)
		sum.Entities, sum.Observations, sum.Relations = append(sum.Entities, part.Entities...), append(sum.Observations, part.Observations...), append(sum.Relations, part.Relations...)
	}
}

func (s *Server) createRelation(ctx context.Context, in *struct{ Body api.NewRelation }) (*output[api.Relation], error) {
	a, by := memory.Access{All: true}, caxton.Provenance{By: "api"}
	if in.Body.AgentID != "" {
		p, err := s.profile(ctx, in.Body.AgentID)
		if err != nil {
			return nil, err
		}
		a, by.AgentID, by.Version = p.Access(), p.Agent, int64(p.Version)
	}
	from, err := s.entity(ctx, a, in.Body.From, memory.AsOf{})
	if err != nil {
		return nil, err
	}
	to, err := s.entity(ctx, a, in.Body.To, memory.AsOf{})
	if err != nil {
		return nil, err
	}
	l := link(&in.Body.NewLink)
	l.To, l.ToID = "", to.ID
	w, err := s.deps.Memory.Remember(ctx, a, []memory.Memo{{ID: from.ID, Links: []memory.Link{l}}}, by)
	if err != nil {
		return nil, err
	}
	return &output[api.Relation]{relationFrom(&w.Remembered[0].Relations[0])}, nil
}

func (s *Server) listRelations(ctx context.Context, in *struct {
	Viewer
	Moment
	Entity string `query:"entity" maxLength:"512" doc:"only those at this entity: ID, or name"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	Cursor string `query:"cursor" maxLength:"400" doc:"next of the page before"`
},
) (*output[api.RelationList], error) {
	a, err := s.access(ctx, in.AgentID, in.Scope)
	if err != nil {
		return nil, err
	}
	var at caxton.EntityID
	if in.Entity != "" {
		e, err := s.entity(ctx, a, in.Entity, in.asOf())
		if err != nil {
			return nil, err
		}
		at = e.ID
	}
	all, next, err := s.deps.Memory.Relations(ctx, a, at, in.asOf(), in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	l := api.RelationList{Items: []api.Relation{}, Next: next}
	for i := range all {
		l.Items = append(l.Items, relationFrom(&all[i]))
	}
	l.Relations = l.Items
	return &output[api.RelationList]{l}, nil
}

func (s *Server) revertMemory(ctx context.Context, in *struct{ Body api.MemoryRevert }) (*output[api.MemoryChanged], error) {
	b := &in.Body
	r := memory.Reversal{
		ConversationID: caxton.ConversationID(b.ConversationID), MessageID: caxton.MessageID(b.MessageID), Tool: b.Tool, By: b.By,
		Since: b.Since, Until: b.Until, DryRun: b.DryRun, Reason: b.Reason, Actor: "api",
	}
	for _, text := range b.Observations {
		id, err := caxton.ParseObservationID(text)
		if err != nil {
			return nil, err
		}
		r.Observations = append(r.Observations, id)
	}
	if b.AgentID != "" { // of an agent that is gone too
		r.AgentID = caxton.AgentID(b.AgentID)
		if a, err := s.deps.Registry.Resolve(b.AgentID); err == nil {
			r.AgentID = a.ID
		}
	}
	if b.Entity != "" {
		e, err := s.entity(ctx, memory.Access{All: true}, b.Entity, memory.AsOf{})
		if err != nil {
			return nil, err
		}
		r.Entity = e.ID
	}
	c, err := s.deps.Memory.Revert(ctx, memory.Access{All: true}, r)
	out := changedFrom(&c)
	out.DryRun = b.DryRun
	return &output[api.MemoryChanged]{out}, err
}

func (s *Server) duplicates(ctx context.Context, in *struct {
	Viewer
	Threshold float64 `query:"threshold" minimum:"0" maximum:"1" default:"0.9" doc:"how alike they must be"`
	Limit     int     `query:"limit" minimum:"1" maximum:"1000" default:"50"`
},
) (*output[api.MemoryDuplicates], error) {
	a, err := s.access(ctx, in.AgentID, in.Scope)
	if err != nil {
		return nil, err
	}
	all, err := s.deps.Memory.Duplicates(ctx, a, in.Threshold, in.Limit)
	if err != nil {
		return nil, err
	}
	out := api.MemoryDuplicates{Items: []api.MemoryDuplicate{}}
	for i := range all {
		d := &all[i]
		out.Items = append(out.Items, api.MemoryDuplicate{A: entityFrom(&d.A), B: entityFrom(&d.B), Score: d.Score, Why: d.Why})
	}
	return &output[api.MemoryDuplicates]{out}, nil
}
