package remembering

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/tool"
	"github.com/google/jsonschema-go/jsonschema"
)

// A Memory remembers. *engine.Engine provides it.
type Memory interface {
	Remember(ctx context.Context, a memory.Access, memos []memory.Memo, by caxton.Provenance) (memory.Written, error)
	Search(ctx context.Context, q memory.Query) (memory.Result, error)
	Named(ctx context.Context, a memory.Access, name string, at memory.AsOf) ([]caxton.Entity, error)
	Forget(ctx context.Context, a memory.Access, f memory.Forgetting) (memory.Changed, error)
}

// Profiles knows how agents remember. node provides it, from the registry.
type Profiles interface {
	// Profile returns how the agent's active version remembers, or NotFound.
	Profile(ctx context.Context, id caxton.AgentID) (memory.Profile, error)
}

// New returns the tools over m.
func New(m Memory, profiles Profiles) ([]tool.Tool, error) {
	d := desk{m, profiles}
	var all []tool.Tool
	for _, make := range []func(desk) (tool.Tool, error){newStore, newSearch, newRelate, newForget} {
		t, err := make(d)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// A desk is what all the tools work with.
type desk struct {
	memory   Memory
	profiles Profiles
}

// profile returns how the calling agent remembers, or why it may not.
func (d *desk) profile(ctx context.Context, c *tool.Call) (memory.Profile, error) {
	if c.AgentID == "" {
		return memory.Profile{}, caxton.Errorf(caxton.Forbidden, "memory_of_nobody", "only agents have a memory that this tool could use").
			WithHint("use caxton memory, or run the tool as an agent")
	}
	p, err := d.profiles.Profile(ctx, c.AgentID)
	if err != nil {
		return p, err
	}
	if !p.Settings.Enabled {
		return p, caxton.Errorf(caxton.Forbidden, "memory_disabled", "the agent %s has no memory", p.Slug).
			WithHint("set memory_enabled: true in its file")
	}
	return p, nil
}

// A kit is a tool with arguments of the type A.
type kit[A any] struct {
	desk
	spec tool.Spec
	run  func(ctx context.Context, p *memory.Profile, c *tool.Call, args *A) (text string, data any, err error)
}

// build makes the Spec of a tool from its arguments.
func build[A any](d desk, name, description string, shape func(p map[string]*jsonschema.Schema),
	run func(ctx context.Context, p *memory.Profile, c *tool.Call, args *A) (string, any, error),
) (tool.Tool, error) {
	s, err := jsonschema.For[A](nil)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", name, err)
	}
	shape(s.Properties)
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", name, err)
	}
	return &kit[A]{d, tool.Spec{Name: name, Description: description, Parameters: text, Source: "builtin", Idempotent: true}, run}, nil
}

// Spec describes the tool.
func (k *kit[A]) Spec() tool.Spec { return k.spec }

// Call runs it within what the calling agent may see.
func (k *kit[A]) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	var args A
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return tool.Result{}, caxton.Errorf(caxton.Malformed, "arguments_malformed", "the arguments of %s cannot be read", k.spec.Name).WithCause(err)
	}
	p, err := k.profile(ctx, &c)
	if err != nil {
		return tool.Result{}, err
	}
	text, out, err := k.run(ctx, &p, &c, &args)
	if err != nil {
		return tool.Result{}, err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return tool.Result{}, fmt.Errorf("encoding what %s returns: %w", k.spec.Name, err)
	}
	return tool.Result{Text: text, Data: data}, nil
}

// when reads a time argument: a date or a time of RFC 3339; zero for none.
func when(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, caxton.Errorf(caxton.Invalid, "arguments_invalid", "%s: %.60q is not a time", name, s).WithHint("write it like 2026-03-01 or 2026-03-01T15:04:05Z")
}

// day prints a time for a model.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.UTC().Format(time.DateOnly)
	}
	return t.UTC().Format(time.RFC3339)
}

// line puts a text on one line.
func line(s string) string { return strings.Join(strings.Fields(s), " ") }
