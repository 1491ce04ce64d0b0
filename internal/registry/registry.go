package registry

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/caxton/caxton"
)

// A Store keeps what is deployed. *sqlite.DB provides it.
type Store interface {
	LoadAgents(ctx context.Context) ([]caxton.Agent, error)
	SaveAgent(ctx context.Context, a caxton.Agent, v *caxton.AgentVersion) error
	DeleteAgent(ctx context.Context, id caxton.AgentID) error
	AgentVersions(ctx context.Context, id caxton.AgentID) ([]caxton.AgentVersion, error)
	AgentVersion(ctx context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error)
}

// A Log decides the order of commands and has each applied. *cluster.Solo provides it.
type Log interface {
	Append(ctx context.Context, command []byte) error
}

// An Observer is told of changes after they are in force. *agent.Supervisor provides it.
type Observer interface {
	AgentChanged(a caxton.Agent)
	AgentRemoved(id caxton.AgentID)
}

// Config tunes a Registry. Zero fields mean the defaults given here.
type Config struct {
	MaxAgents int // 1000; negative for no limit
	KeepTexts int // versions kept at hand: 256
}

// A Registry holds what is deployed. It is safe for concurrent use.
type Registry struct {
	store Store
	log   Log
	cfg   Config
	state directory

	mu        sync.Mutex // guards all below
	observers []Observer
	recent    map[versionKey]caxton.AgentVersion
	order     []versionKey // of recent, oldest first
}

type versionKey struct {
	id     caxton.AgentID
	number int
}

// New returns a Registry over store that proposes its changes to log. It starts nothing and
// is empty until Load.
func New(store Store, log Log, cfg Config) *Registry {
	cfg.MaxAgents = cmp.Or(cfg.MaxAgents, 1000)
	cfg.KeepTexts = cmp.Or(cfg.KeepTexts, 256)
	return &Registry{store: store, log: log, cfg: cfg, recent: map[versionKey]caxton.AgentVersion{}}
}

// Load reads the state from the store. Call it once, before the log runs.
func (r *Registry) Load(ctx context.Context) error {
	agents, err := r.store.LoadAgents(ctx)
	if err != nil {
		return err
	}
	for _, a := range agents {
		r.state.put(a)
	}
	return nil
}

// Observe has o told of every agent there is, and of every change from now on. Call it
// before anything proposes changes, or o may be told of an old state after a new one.
func (r *Registry) Observe(o Observer) {
	r.mu.Lock()
	r.observers = append(r.observers, o)
	r.mu.Unlock()
	for _, a := range r.Agents() {
		o.AgentChanged(a)
	}
}

// Agents returns all agents, sorted by slug. The slice is the caller's. It costs more the more
// agents there are: Len, From and Named do not.
func (r *Registry) Agents() []caxton.Agent { return slices.Clone(r.state.list()) }

// Len returns how many agents there are.
func (r *Registry) Len() int { return int(r.state.count.Load()) }

// From returns the agent that came from a file, by its path.
func (r *Registry) From(source string) (caxton.Agent, bool) {
	return found(r.state.bySource.get(source))
}

// Named returns the agent with the slug.
func (r *Registry) Named(slug string) (caxton.Agent, bool) {
	a, ok := found(r.state.byRef.get(slug))
	return a, ok && a.Slug == slug
}

func found(a *caxton.Agent) (caxton.Agent, bool) {
	if a == nil {
		return caxton.Agent{}, false
	}
	return *a, true
}

// Agent returns the agent with the ID, or NotFound.
func (r *Registry) Agent(id caxton.AgentID) (caxton.Agent, error) {
	if a := r.state.byID.get(id); a != nil {
		return *a, nil
	}
	return caxton.Agent{}, caxton.Errorf(caxton.NotFound, "agent_not_found", "there is no agent %q", id).WithHint(listHint)
}

const listHint = "caxton agents list shows the ones there are"

// Resolve returns the agent that ref names: by UUID, declared name, slug, or file stem, in
// any case. NotFound has the nearest name as its hint.
func (r *Registry) Resolve(ref string) (caxton.Agent, error) {
	s := &r.state
	if a := s.byID.get(caxton.AgentID(strings.ToLower(ref))); a != nil {
		return *a, nil
	}
	if a := s.byRef.get(strings.ToLower(ref)); a != nil {
		return *a, nil
	}
	if a := s.byRef.get(caxton.Slug(ref)); a != nil {
		return *a, nil
	}
	err := caxton.Errorf(caxton.NotFound, "agent_not_found", "there is no agent %.200q", ref).WithHint(listHint)
	if near := s.nearest(ref); near != "" {
		err = err.WithHint("did you mean %s?", near)
	}
	return caxton.Agent{}, err
}

// Providers returns the agents that have the capability, sorted by slug.
func (r *Registry) Providers(c caxton.Capability) []caxton.Agent {
	ps := r.state.byCapability.get(c)
	agents := make([]caxton.Agent, len(ps))
	for i, p := range ps {
		agents[i] = *p
	}
	return agents
}

// Capabilities returns every capability some agent has, sorted.
func (r *Registry) Capabilities() []caxton.Capability {
	return slices.Clone(r.state.listCapabilities())
}

// Versions returns an agent's versions, oldest first.
func (r *Registry) Versions(ctx context.Context, id caxton.AgentID) ([]caxton.AgentVersion, error) {
	if _, err := r.Agent(id); err != nil {
		return nil, err
	}
	return r.store.AgentVersions(ctx, id)
}

// Version returns one version of an agent, or NotFound.
func (r *Registry) Version(ctx context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error) {
	k := versionKey{id, number}
	r.mu.Lock()
	v, ok := r.recent[k]
	r.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := r.store.AgentVersion(ctx, id, number)
	if err == nil {
		r.remember(v)
	}
	return v, err
}

// remember keeps a version at hand, unless its agent was removed meanwhile.
func (r *Registry) remember(v caxton.AgentVersion) {
	k := versionKey{v.AgentID, v.Number}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.recent[k]; ok || r.state.byID.get(k.id) == nil {
		return
	}
	if len(r.order) >= r.cfg.KeepTexts {
		delete(r.recent, r.order[0])
		r.order = r.order[1:]
	}
	r.recent[k] = v
	r.order = append(r.order, k)
}
