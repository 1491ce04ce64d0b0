package remembering

import (
	"context"
	"fmt"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/jsonschema-go/jsonschema"
)

type relateArgs struct {
	From      string   `json:"from" jsonschema:"Who or what, by name, as it was stored."`
	Type      string   `json:"type" jsonschema:"How they are connected, as a verb: works_for, depends_on, knows."`
	To        string   `json:"to" jsonschema:"Whom or what to, by name, as it was stored."`
	Strength  *float64 `json:"strength,omitempty" jsonschema:"How close the connection is, from 0 to 1; 0.5 unless given."`
	ValidFrom string   `json:"valid_from,omitempty" jsonschema:"Since when it holds, such as 2026-03-01."`
}

// related is the Data of memory_relate.
type related struct {
	RelationID caxton.RelationID `json:"relation_id"`
	From       caxton.EntityID   `json:"from"`
	To         caxton.EntityID   `json:"to"`
}

func newRelate(d desk) (tool.Tool, error) {
	return build(d, "memory_relate", "Remember that two things you have stored are connected.",
		func(p map[string]*jsonschema.Schema) {
			for _, name := range []string{"from", "to"} {
				p[name].MinLength, p[name].MaxLength = new(1), new(caxton.MaxEntityName)
			}
			p["type"].MinLength, p["type"].MaxLength = new(1), new(caxton.MaxEntityType)
			share(p["strength"])
		}, d.relate)
}

func (d *desk) relate(ctx context.Context, p *memory.Profile, c *tool.Call, a *relateArgs) (string, any, error) {
	since, err := when("valid_from", a.ValidFrom)
	if err != nil {
		return "", nil, err
	}
	from, err := d.named(ctx, p, a.From)
	if err != nil {
		return "", nil, err
	}
	to, err := d.named(ctx, p, a.To)
	if err != nil {
		return "", nil, err
	}
	done, err := d.memory.Remember(ctx, p.Access(), []memory.Memo{{
		ID: from.ID, Links: []memory.Link{{ToID: to.ID, Type: a.Type, Strength: a.Strength, Valid: caxton.Span{From: since}}},
	}}, p.By(&c.Message, "memory_relate"))
	if err != nil {
		return "", nil, err
	}
	r := &done.Remembered[0].Relations[0]
	return fmt.Sprintf("Remembered: %s %s %s.", line(from.Name), a.Type, line(to.Name)), related{r.ID, from.ID, to.ID}, nil
}

// named returns the entity of a name: the agent's own before what it shares.
func (d *desk) named(ctx context.Context, p *memory.Profile, name string) (caxton.Entity, error) {
	all, err := d.memory.Named(ctx, p.Access(), name, memory.AsOf{})
	if err != nil {
		return caxton.Entity{}, err
	}
	if len(all) == 0 {
		return caxton.Entity{}, caxton.Errorf(caxton.NotFound, "entity_not_found", "nothing is remembered of %q", name).
			WithHint("store a fact about it first, or look for its name with memory_search")
	}
	return all[0], nil
}
