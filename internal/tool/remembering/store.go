package remembering

import (
	"cmp"
	"context"
	"fmt"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/jsonschema-go/jsonschema"
)

type storeArgs struct {
	Entity     string   `json:"entity" jsonschema:"Whom or what the fact is about, by name: Ann, Project Apollo."`
	Type       string   `json:"type,omitempty" jsonschema:"What sort of thing that is: person, project, place. The one it has, or thing, unless given."`
	Fact       string   `json:"fact" jsonschema:"The fact, as a sentence that can be understood by itself: Ann lives in Porto."`
	About      string   `json:"about,omitempty" jsonschema:"Which property the fact tells, such as address or favourite colour. A new fact about the same property takes the place of the old one, which stays in the history."`
	ValidFrom  string   `json:"valid_from,omitempty" jsonschema:"Since when it is true, such as 2026-03-01."`
	ValidTo    string   `json:"valid_to,omitempty" jsonschema:"Until when it was true."`
	Confidence *float64 `json:"confidence,omitempty" jsonschema:"How sure it is, from 0 to 1; 1 unless given."`
	Importance *float64 `json:"importance,omitempty" jsonschema:"How much the thing matters, from 0 to 1. What matters little is forgotten first."`
	Scope      string   `json:"scope,omitempty" jsonschema:"Who is to share it: agent, workspace or global; the widest you share unless given."`
}

// stored is the Data of memory_store.
type stored struct {
	EntityID      caxton.EntityID        `json:"entity_id"`
	ObservationID caxton.ObservationID   `json:"observation_id"`
	Created       bool                   `json:"created"` // the entity is new
	Known         bool                   `json:"known"`   // the fact was known already
	Superseded    []caxton.ObservationID `json:"superseded,omitempty"`
}

func newStore(d desk) (tool.Tool, error) {
	return build(d, "memory_store",
		"Remember a fact for later conversations. Store what will matter again: names, preferences, decisions, results. Never store passwords or keys.",
		func(p map[string]*jsonschema.Schema) {
			p["entity"].MinLength, p["entity"].MaxLength = new(1), new(caxton.MaxEntityName)
			p["type"].MaxLength, p["about"].MaxLength = new(caxton.MaxEntityType), new(caxton.MaxObservationKey)
			p["fact"].MinLength, p["fact"].MaxLength = new(1), new(caxton.MaxObservation)
			share(p["confidence"])
			share(p["importance"])
			scopes(p["scope"])
		}, d.store)
}

// share bounds a number from 0 to 1.
func share(s *jsonschema.Schema) { s.Minimum, s.Maximum = new(0.0), new(1.0) }

func scopes(s *jsonschema.Schema) {
	s.Enum = []any{string(caxton.AgentScope), string(caxton.WorkspaceScope), string(caxton.GlobalScope)}
}

func (d *desk) store(ctx context.Context, p *memory.Profile, c *tool.Call, a *storeArgs) (string, any, error) {
	from, err := when("valid_from", a.ValidFrom)
	to, terr := when("valid_to", a.ValidTo)
	if err := cmp.Or(err, terr); err != nil {
		return "", nil, err
	}
	scope := p.Home()
	if a.Scope != "" {
		if scope, err = p.In(caxton.ScopeKind(a.Scope)); err != nil {
			return "", nil, err
		}
	}
	done, err := d.memory.Remember(ctx, p.Access(), []memory.Memo{{
		Scope: scope, Name: a.Entity, Type: a.Type, Importance: a.Importance,
		Notes: []memory.Note{{Text: a.Fact, Key: a.About, Confidence: a.Confidence, Valid: caxton.Span{From: from, To: to}}},
	}}, p.By(&c.Message, "memory_store"))
	if err != nil {
		return "", nil, err
	}
	r := &done.Remembered[0]
	note := r.Observations[0]
	out := stored{EntityID: r.Entity.ID, ObservationID: note.ID, Created: r.Created, Known: note.Duplicate, Superseded: note.Superseded}
	switch {
	case note.Duplicate:
		return fmt.Sprintf("That was known already about %s.", line(r.Entity.Name)), out, nil
	case len(note.Superseded) > 0:
		return fmt.Sprintf("Remembered about %s, in place of what was known before (%s).", line(r.Entity.Name), note.ID), out, nil
	}
	return fmt.Sprintf("Remembered about %s (%s).", line(r.Entity.Name), note.ID), out, nil
}
