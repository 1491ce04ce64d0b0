package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// A command is one change, as it travels in the log. Its time, its IDs and the limit its
// proposer holds to are part of it, so that applying it is deterministic. Fields are only
// ever added.
type command struct {
	Format  int                 `json:"v"` // 1
	Op      operation           `json:"op"`
	At      time.Time           `json:"at"`
	ID      caxton.AgentID      `json:"id"`
	Number  int                 `json:"number,omitempty"`  // for activate and undo
	Suspend bool                `json:"suspend,omitempty"` // for suspend
	Move    bool                `json:"move,omitempty"`    // running conversations move to the version
	Stem    string              `json:"stem,omitempty"`
	Source  string              `json:"source,omitempty"` // for undo
	Min     int                 `json:"min,omitempty"`    // MinVersion, for undo
	Limit   int                 `json:"limit,omitempty"`  // agents there may be, for deploy; 0 for any number
	Type    caxton.AgentType    `json:"type,omitempty"`
	Version caxton.AgentVersion `json:"version,omitzero"` // for deploy, draft and rollout; Number is given by Apply

	Rollout   *caxton.Rollout     `json:"rollout,omitempty"`   // for rollout and undo
	Withdrawn []int               `json:"withdrawn,omitempty"` // for undo
	Stage     int                 `json:"stage,omitempty"`     // for stage
	State     caxton.RolloutState `json:"state,omitempty"`     // for end
	Reason    string              `json:"reason,omitempty"`    // for end
}

type operation string

const (
	opDeploy   operation = "deploy"
	opActivate operation = "activate"
	opSuspend  operation = "suspend"
	opRemove   operation = "remove"
	opUndo     operation = "undo"
	opDraft    operation = "draft"
	opRollout  operation = "rollout"
	opStage    operation = "stage"
	opEnd      operation = "end"
)

// commandFormat is the format of commands that this program writes and reads.
const commandFormat = 1

// Deploy makes v the active version of the agent v.AgentID, and the agent itself when it is
// new; v's number is given here. The same text as the active version's makes no version: it
// changes at most the file the agent comes from, and which conversations move. An agent that
// came from a file stays that file's when a version comes through the API. Errors: Conflict
// (another agent has the name), Exhausted (too many agents).
func (r *Registry) Deploy(ctx context.Context, v caxton.AgentVersion, stem string, move bool) (caxton.Agent, error) {
	v.CreatedAt = stored(v.CreatedAt)
	return r.propose(ctx, command{
		Op: opDeploy, At: v.CreatedAt, ID: v.AgentID, Stem: stem, Type: v.Definition.AgentType(), Version: v, Move: move, Limit: max(0, r.cfg.MaxAgents),
	})
}

// Draft keeps v as a version of the agent v.AgentID without making it the active one; v's
// number is given here, and returned. NotFound when there is no such agent.
func (r *Registry) Draft(ctx context.Context, v caxton.AgentVersion) (int, error) {
	v.CreatedAt = stored(v.CreatedAt)
	a, err := r.propose(ctx, command{Op: opDraft, At: v.CreatedAt, ID: v.AgentID, Version: v})
	return a.Versions, err
}

// Activate makes an existing version the active one. NotFound when there is none.
func (r *Registry) Activate(ctx context.Context, id caxton.AgentID, number int, move bool, at time.Time) (caxton.Agent, error) {
	return r.propose(ctx, command{Op: opActivate, At: at, ID: id, Number: number, Move: move})
}

// SetSuspended notes an operator's wish that the agent takes messages, or none.
func (r *Registry) SetSuspended(ctx context.Context, id caxton.AgentID, suspended bool, at time.Time) (caxton.Agent, error) {
	return r.propose(ctx, command{Op: opSuspend, At: at, ID: id, Suspend: suspended})
}

// Undo puts an agent back to what it was before a deployment that did not start. The version
// stays among the others.
func (r *Registry) Undo(ctx context.Context, was caxton.Agent, at time.Time) (caxton.Agent, error) {
	return r.propose(ctx, command{
		Op: opUndo, At: at, ID: was.ID, Number: was.Version, Stem: was.Stem, Source: was.Source, Min: was.MinVersion,
		Rollout: was.Rollout, Withdrawn: was.Withdrawn,
	})
}

// Remove forgets the agent and its versions.
func (r *Registry) Remove(ctx context.Context, id caxton.AgentID, at time.Time) error {
	_, err := r.propose(ctx, command{Op: opRemove, At: at, ID: id})
	return err
}

func (r *Registry) propose(ctx context.Context, c command) (caxton.Agent, error) {
	c.Format, c.At = commandFormat, stored(c.At)
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

// stored returns a time as the store gives it back: in UTC, to the microsecond.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Apply does one command: the log calls it, in order. It checks the command against the
// state, stores the outcome, has it found, and tells the observers.
func (r *Registry) Apply(ctx context.Context, b []byte) error {
	var c command
	if err := json.Unmarshal(b, &c); err != nil {
		return caxton.Errorf(caxton.Internal, "command_unreadable", "a change cannot be read").WithCause(err)
	}
	if c.Format != commandFormat {
		return caxton.Errorf(caxton.Conflict, "command_newer", "a change has format %d, this program knows %d", c.Format, commandFormat)
	}
	if c.Op == opRemove {
		return r.remove(ctx, c.ID)
	}
	a, v, err := r.next(ctx, &c)
	if err != nil {
		return err
	}
	if was := r.state.byID.get(a.ID); v == nil && was != nil && same(&a, was) {
		return nil
	}
	a.UpdatedAt = c.At
	if err := r.store.SaveAgent(ctx, a, v); err != nil {
		return err
	}
	r.state.put(a)
	if v != nil {
		r.remember(*v)
	}
	for _, o := range r.watching() {
		o.AgentChanged(a)
	}
	return nil
}

// same reports whether two states of an agent say the same. Its definition follows from the
// version.
func same(a, b *caxton.Agent) bool {
	return a.Version == b.Version && a.MinVersion == b.MinVersion && a.Suspended == b.Suspended && a.Stem == b.Stem && a.Source == b.Source &&
		a.Rollout == b.Rollout && slices.Equal(a.Withdrawn, b.Withdrawn)
}

// next returns the agent as it is after c, and the version that c adds, if any.
func (r *Registry) next(ctx context.Context, c *command) (caxton.Agent, *caxton.AgentVersion, error) {
	was := r.state.byID.get(c.ID)
	if was == nil && c.Op != opDeploy {
		_, err := r.Agent(c.ID)
		return caxton.Agent{}, nil, err
	}
	var a caxton.Agent
	if was != nil {
		a = *was
	}
	switch c.Op {
	case opDeploy:
		return r.deployed(ctx, a, was == nil, c)
	case opActivate:
		v, err := r.store.AgentVersion(ctx, c.ID, c.Number)
		if err != nil {
			return a, nil, err
		}
		supersede(&a, v.Number, c)
		activate(&a, &v, c.Move)
	case opRollout:
		return r.begin(ctx, a, c)
	case opStage:
		if err := r.stage(ctx, &a, c); err != nil {
			return a, nil, err
		}
	case opEnd:
		if err := r.end(ctx, &a, c); err != nil {
			return a, nil, err
		}
	case opUndo:
		v, err := r.store.AgentVersion(ctx, c.ID, c.Number)
		if err != nil {
			return a, nil, err
		}
		activate(&a, &v, false)
		a.Stem, a.Source, a.MinVersion = c.Stem, c.Source, c.Min
		a.Rollout, a.Withdrawn = c.Rollout, c.Withdrawn
	case opDraft:
		a.Versions++
		v := c.Version
		v.Number = a.Versions
		return a, &v, nil
	case opSuspend:
		a.Suspended = c.Suspend
	case opRemove: // Apply does it
	default:
		return a, nil, caxton.Errorf(caxton.Conflict, "command_newer", "this program does not know the change %.40q", c.Op)
	}
	if o, ref := r.state.clash(&a); o != nil {
		return a, nil, errTaken(&a, o, ref)
	}
	return a, nil, nil
}

// deployed returns the agent after a deployment, and the version unless it is the active one.
func (r *Registry) deployed(ctx context.Context, a caxton.Agent, fresh bool, c *command) (caxton.Agent, *caxton.AgentVersion, error) {
	v := c.Version
	if fresh {
		if n := r.Len(); c.Limit > 0 && n >= c.Limit {
			return a, nil, caxton.Errorf(caxton.Exhausted, "agent_limit", "%d agents are deployed, as many as allowed", n).
				WithHint("remove one, or raise agents.max_agents")
		}
		a.ID, a.Type, a.CreatedAt = c.ID, c.Type, c.At
	}
	switch {
	case fresh || fromFile(v.Source):
		a.Stem, a.Source = c.Stem, v.Source
	case !fromFile(a.Source) && c.Stem != "":
		a.Stem = c.Stem
	}
	if !fresh {
		active, err := r.store.AgentVersion(ctx, a.ID, a.Version)
		if err != nil {
			return a, nil, err
		}
		if active.Hash == v.Hash && sameDefinition(&active, &v) {
			if c.Move {
				a.MinVersion = a.Version
			}
			if o, ref := r.state.clash(&a); o != nil { // it may come from another file now
				return a, nil, errTaken(&a, o, ref)
			}
			return a, nil, nil
		}
	}
	v.AgentID, v.Number = a.ID, a.Versions+1
	a.Versions = v.Number
	supersede(&a, v.Number, c)
	activate(&a, &v, c.Move)
	if o, ref := r.state.clash(&a); o != nil {
		return a, nil, errTaken(&a, o, ref)
	}
	return a, &v, nil
}

// sameDefinition reports whether two versions were read alike. The same text may be read
// otherwise by a newer program.
func sameDefinition(a, b *caxton.AgentVersion) bool {
	x, xerr := json.Marshal(a.Definition) // keys of maps are sorted
	y, yerr := json.Marshal(b.Definition)
	return xerr == nil && yerr == nil && bytes.Equal(x, y)
}

// fromFile reports whether a source is the path of a file, and not "api".
func fromFile(source string) bool { return source != "" && source != "api" }

func activate(a *caxton.Agent, v *caxton.AgentVersion, move bool) {
	a.Version, a.Definition, a.Type = v.Number, v.Definition, v.Definition.AgentType()
	a.Name, a.Slug = v.Definition.Name, caxton.Slug(v.Definition.Name)
	if move {
		a.MinVersion = v.Number
	}
	if a.MinVersion > v.Number {
		a.MinVersion = v.Number // rolled back below what conversations were told to move to
	}
	restored(a, v.Number)
}

func errTaken(a, other *caxton.Agent, ref string) error {
	return caxton.Errorf(caxton.Conflict, "agent_name_taken", "Capability Conflict: %s would be called %q, as %s already is", a.Name, ref, other.Name).
		WithHint("choose another name, or remove %s first", other.Slug)
}

func (r *Registry) remove(ctx context.Context, id caxton.AgentID) error {
	if _, err := r.Agent(id); err != nil {
		return err
	}
	if err := r.store.DeleteAgent(ctx, id); err != nil {
		return err
	}
	r.state.remove(id)
	r.mu.Lock() // after that: see remember
	r.order = slices.DeleteFunc(r.order, func(k versionKey) bool {
		if k.id == id {
			delete(r.recent, k)
		}
		return k.id == id
	})
	r.mu.Unlock()
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
