package remembering

import (
	"context"
	"fmt"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/jsonschema-go/jsonschema"
)

type forgetArgs struct {
	ID     string `json:"id,omitempty" jsonschema:"The fact to forget, as memory_search returned it: obs_… Or a whole thing: ent_…"`
	Entity string `json:"entity,omitempty" jsonschema:"Instead of an id: the name of the thing of which all is to be forgotten."`
}

// forgot is the Data of memory_forget.
type forgot struct {
	Entities  []caxton.EntityID      `json:"entities"`
	Facts     []caxton.ObservationID `json:"facts"`
	Relations []caxton.RelationID    `json:"relations"`
}

func newForget(d desk) (tool.Tool, error) {
	return build(d, "memory_forget", "Forget a fact that is wrong or no longer wanted, or everything about a thing.",
		func(p map[string]*jsonschema.Schema) {
			p["id"].MaxLength, p["entity"].MaxLength = new(100), new(caxton.MaxEntityName)
		}, d.forget)
}

func (d *desk) forget(ctx context.Context, p *memory.Profile, c *tool.Call, a *forgetArgs) (string, any, error) {
	f := memory.Forgetting{By: p.By(&c.Message, "memory_forget")}
	switch {
	case (a.ID == "") == (a.Entity == ""):
		return "", nil, caxton.Errorf(caxton.Invalid, "arguments_invalid", "say what to forget, by id or by entity").WithHint("memory_search tells the ids")
	case a.Entity != "":
		e, err := d.named(ctx, p, a.Entity)
		if caxton.KindOf(err) == caxton.NotFound {
			return fmt.Sprintf("Nothing is remembered of %s.", line(a.Entity)), forgot{}, nil
		}
		if err != nil {
			return "", nil, err
		}
		f.Entities = []caxton.EntityID{e.ID}
	case strings.HasPrefix(a.ID, "ent_"):
		id, err := caxton.ParseEntityID(a.ID)
		if err != nil {
			return "", nil, err
		}
		f.Entities = []caxton.EntityID{id}
	default:
		id, err := caxton.ParseObservationID(a.ID)
		if err != nil {
			return "", nil, err
		}
		f.Observations = []caxton.ObservationID{id}
	}
	done, err := d.memory.Forget(ctx, p.Access(), f)
	if err != nil {
		return "", nil, err
	}
	out := forgot{done.Entities, done.Observations, done.Relations}
	return fmt.Sprintf("Forgotten: %d things, %d facts, %d connections.", len(done.Entities), len(done.Observations), len(done.Relations)), out, nil
}
