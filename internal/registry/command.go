package registry

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// A command is one change, as it travels in the log. Its time and IDs are part of it, so
// that applying it is deterministic. Fields are only ever added.
type command struct {
	Format  int                 `json:"v"` // 1
	Op      operation           `json:"op"`
	At      time.Time           `json:"at"`
	ID      caxton.AgentID      `json:"id"`
	Number  int                 `json:"number,omitempty"`  // for activate
	Suspend bool                `json:"suspend,omitempty"` // for suspend
	Move    bool                `json:"move,omitempty"`    // running conversations move to the version
	Stem    string              `json:"stem,omitempty"`
	Type    caxton.AgentType    `json:"type,omitempty"`
	Version caxton.AgentVersion `json:"version,omitzero"` // for deploy; Number is given by Apply
}

type operation string

const (
	opDeploy   operation = "deploy"
	opActivate operation = "activate"
	opSuspend  operation = "suspend"
	opRemove   operation = "remove"
)

// commandFormat is the format of commands that this program writes and reads.
const commandFormat = 1

// Deploy makes v the active version of the agent v.AgentID, and the agent itself when it is
// new; v's number is given here. The same text as the active version's changes nothing but
// the file it comes from. Errors: Conflict (another agent has the name), Exhausted (too many
// agents).
func (r *Registry) Deploy(ctx context.Context, v caxton.AgentVersion, stem string, move bool) (caxton.Agent, error) {
	return r.propose(ctx, command{Op: opDeploy, At: v.CreatedAt, ID: v.AgentID, Stem: stem, Type: caxton.ConfigAgent, Version: v, Move: move})
}

// Activate makes an existing version the active one. NotFound when there is none.
func (r *Registry) Activate(ctx context.Context, id caxton.AgentID, number int, move bool, at time.Time) (caxton.Agent, error) {
	return r.propose(ctx, command{Op: opActivate, At: at, ID: id, Number: number, Move: move})
}

// SetSuspended notes an operator's wish that the agent takes messages, or none.
func (r *Registry) SetSuspended(ctx context.Context, id caxton.AgentID, suspended bool, at time.Time) (caxton.Agent, error) {
	return r.propose(ctx, command{Op: opSuspend, At: at, ID: id, Suspend: suspended})
}

// Remove forgets the agent and its versions.
func (r *Registry) Remove(ctx context.Context, id caxton.AgentID, at time.Time) error {
	_, err := r.propose(ctx, command{Op: opRemove, At: at, ID: id})
	return err
}

func (r *Registry) propose(ctx context.Context, c command) (caxton.Agent, error) {
	c.Format = commandFormat
	b, err := json.Marshal(c)
	if err != nil {
		return caxton.Agent{}, caxton.Errorf(caxton.Internal, "command_unprintable", "the change cannot be written").WithCause(err)
	}
	if err := r.log.Append(ctx, b); err != nil {
		return caxton.Agent{}, err
	}
	if c.Op == opRemove {
		return caxton.Agent{}, nil
	}
	return r.Agent(c.ID)
}

// Apply does one command: the log calls it, in order. It checks the command against the
// state, stores the outcome, swaps the snapshot, and tells the observers.
func (r *Registry) Apply(ctx context.Context, b []byte) error {
	var c command
	if err := json.Unmarshal(b, &c); err != nil {
		return caxton.Errorf(caxton.Internal, "command_unreadable", "a change cannot be read").WithCause(err)
	}
	if c.Format != commandFormat {
		return caxton.Errorf(caxton.Conflict, "command_newer", "a change has format %d, this program knows %d", c.Format, commandFormat)
	}
	old := r.state.Load()
	if c.Op == opRemove {
		return r.remove(ctx, old, c.ID)
	}
	a, v, err := r.next(ctx, old, &c)
	if err != nil {
		return err
	}
	if err := r.store.SaveAgent(ctx, a, v); err != nil {
		return err
	}
	if v != nil {
		r.remember(*v)
	}
	agents := slices.DeleteFunc(slices.Clone(old.agents), func(o caxton.Agent) bool { return o.ID == a.ID })
	r.state.Store(newSnapshot(append(agents, a)))
	for _, o := range r.watching() {
		o.AgentChanged(a)
	}
	return nil
}

// next returns the agent as it is after c, and the version that c adds, if any.
func (r *Registry) next(ctx context.Context, s *snapshot, c *command) (caxton.Agent, *caxton.AgentVersion, error) {
	was := s.byID[c.ID]
	if was == nil && c.Op != opDeploy {
		_, err := r.Agent(c.ID)
		return caxton.Agent{}, nil, err
	}
	var a caxton.Agent
	if was != nil {
		a = *was
	}
	a.UpdatedAt = c.At
	switch c.Op {
	case opDeploy:
		return r.deployed(ctx, s, a, was == nil, c)
	case opActivate:
		v, err := r.store.AgentVersion(ctx, c.ID, c.Number)
		if err != nil {
			return a, nil, err
		}
		activate(&a, &v, c.Move)
		if o, ref := s.clash(&a); o != nil {
			return a, nil, errTaken(&a, o, ref)
		}
	case opSuspend:
		a.Suspended = c.Suspend
	case opRemove: // Apply does it
	}
	return a, nil, nil
}

// deployed returns the agent after a deployment, and the version unless it is the active one.
func (r *Registry) deployed(ctx context.Context, s *snapshot, a caxton.Agent, fresh bool, c *command) (caxton.Agent, *caxton.AgentVersion, error) {
	v := c.Version
	if fresh {
		if r.cfg.MaxAgents > 0 && len(s.agents) >= r.cfg.MaxAgents {
			return a, nil, caxton.Errorf(caxton.Exhausted, "agent_limit", "%d agents are deployed, as many as allowed", len(s.agents)).
				WithHint("remove one, or raise agents.max_agents")
		}
		a.ID, a.Type, a.CreatedAt = c.ID, c.Type, c.At
	}
	a.Stem, a.Source = c.Stem, v.Source
	if !fresh {
		active, err := r.store.AgentVersion(ctx, a.ID, a.Version)
		if err != nil {
			return a, nil, err
		}
		if active.Hash == v.Hash {
			if o, ref := s.clash(&a); o != nil { // it may come from another file now
				return a, nil, errTaken(&a, o, ref)
			}
			return a, nil, nil
		}
	}
	v.AgentID, v.Number = a.ID, a.Versions+1
	a.Versions = v.Number
	activate(&a, &v, c.Move)
	if o, ref := s.clash(&a); o != nil {
		return a, nil, errTaken(&a, o, ref)
	}
	return a, &v, nil
}

func activate(a *caxton.Agent, v *caxton.AgentVersion, move bool) {
	a.Version, a.Definition = v.Number, v.Definition
	a.Name, a.Slug = v.Definition.Name, caxton.Slug(v.Definition.Name)
	if move {
		a.MinVersion = v.Number
	}
	if a.MinVersion > v.Number {
		a.MinVersion = v.Number // rolled back below what conversations were told to move to
	}
}

func errTaken(a, other *caxton.Agent, ref string) error {
	return caxton.Errorf(caxton.Conflict, "agent_name_taken", "Capability Conflict: %s would be called %q, as %s already is", a.Name, ref, other.Name).
		WithHint("choose another name, or remove %s first", other.Slug)
}

func (r *Registry) remove(ctx context.Context, s *snapshot, id caxton.AgentID) error {
	if _, err := r.Agent(id); err != nil {
		return err
	}
	if err := r.store.DeleteAgent(ctx, id); err != nil {
		return err
	}
	r.mu.Lock()
	r.order = slices.DeleteFunc(r.order, func(k versionKey) bool {
		if k.id == id {
			delete(r.recent, k)
		}
		return k.id == id
	})
	r.mu.Unlock()
	r.state.Store(newSnapshot(slices.DeleteFunc(slices.Clone(s.agents), func(o caxton.Agent) bool { return o.ID == id })))
	for _, o := range r.watching() {
		o.AgentRemoved(id)
	}
	return nil
}

func (r *Registry) watching() []Observer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.observers)
}
