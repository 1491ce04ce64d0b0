package registry

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// A directory finds agents, by all that they can be found by. A change costs the same however
// many agents there are, and readers wait for nobody. The agents it gives out never change;
// a changed agent is another one. Changes come one at a time.
type directory struct {
	byID         index[caxton.AgentID, *caxton.Agent]
	byRef        index[string, *caxton.Agent] // lower-case name, slug, stem
	bySource     index[string, *caxton.Agent] // the file it came from
	byCapability index[caxton.Capability, []*caxton.Agent]
	count        atomic.Int64

	mu           sync.Mutex                          // held by changes, and while a list is made
	agents       atomic.Pointer[[]caxton.Agent]      // sorted by slug; nil after a change
	capabilities atomic.Pointer[[]caxton.Capability] // sorted; nil after a change
}

// An index is a map for any number of readers.
type index[K comparable, V any] struct{ m sync.Map }

func (x *index[K, V]) get(k K) (v V) {
	if a, ok := x.m.Load(k); ok {
		v, _ = a.(V)
	}
	return v
}

func (x *index[K, V]) put(k K, v V) { x.m.Store(k, v) }
func (x *index[K, V]) remove(k K)   { x.m.Delete(k) }

// keys returns the keys, in no order.
func (x *index[K, V]) keys() (ks []K) {
	x.m.Range(func(k, _ any) bool {
		if k, ok := k.(K); ok {
			ks = append(ks, k)
		}
		return true
	})
	return ks
}

// put adds an agent, or puts it in the place of the one with its ID.
func (d *directory) put(a caxton.Agent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.byID.get(a.ID)
	d.byID.put(a.ID, &a)
	refs := references(&a)
	for _, ref := range refs { // new names first: an agent that is renamed can always be found
		d.byRef.put(ref, &a)
	}
	if fromFile(a.Source) {
		d.bySource.put(a.Source, &a)
	}
	for _, c := range a.Definition.Capabilities {
		d.provide(c, &a)
	}
	if was == nil {
		d.count.Add(1)
	} else {
		d.forget(was, func(ref string) bool { return slices.Contains(refs, ref) }, a.Source, a.Definition.Capabilities)
	}
	d.agents.Store(nil)
	d.capabilities.Store(nil)
}

// remove takes an agent away.
func (d *directory) remove(id caxton.AgentID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.byID.get(id)
	if was == nil {
		return
	}
	d.forget(was, func(string) bool { return false }, "", nil)
	d.byID.remove(id)
	d.count.Add(-1)
	d.agents.Store(nil)
	d.capabilities.Store(nil)
}

// forget takes away what an agent was found by, but for what it still is.
func (d *directory) forget(was *caxton.Agent, keep func(ref string) bool, source string, capabilities []caxton.Capability) {
	for _, ref := range references(was) {
		if !keep(ref) {
			d.byRef.remove(ref)
		}
	}
	if was.Source != source {
		if a := d.bySource.get(was.Source); a != nil && a.ID == was.ID {
			d.bySource.remove(was.Source)
		}
	}
	for _, c := range was.Definition.Capabilities {
		if !slices.Contains(capabilities, c) {
			d.withdraw(c, was.ID)
		}
	}
}

// provide lists an agent with those that have a capability, in the place of its old self.
func (d *directory) provide(c caxton.Capability, a *caxton.Agent) {
	ps := slices.DeleteFunc(slices.Clone(d.byCapability.get(c)), func(o *caxton.Agent) bool { return o.ID == a.ID })
	i, _ := slices.BinarySearchFunc(ps, a, bySlug)
	d.byCapability.put(c, slices.Insert(ps, i, a))
}

// withdraw takes an agent from those that have a capability.
func (d *directory) withdraw(c caxton.Capability, id caxton.AgentID) {
	ps := slices.DeleteFunc(slices.Clone(d.byCapability.get(c)), func(o *caxton.Agent) bool { return o.ID == id })
	if len(ps) == 0 {
		d.byCapability.remove(c)
		return
	}
	d.byCapability.put(c, ps)
}

func bySlug(a, b *caxton.Agent) int {
	return cmp.Or(cmp.Compare(a.Slug, b.Slug), cmp.Compare(a.ID, b.ID))
}

// list returns all agents, sorted by slug. It is not to be changed.
func (d *directory) list() []caxton.Agent {
	if l := d.agents.Load(); l != nil {
		return *l
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var l []caxton.Agent
	for _, id := range d.byID.keys() {
		l = append(l, *d.byID.get(id))
	}
	slices.SortFunc(l, func(a, b caxton.Agent) int { return bySlug(&a, &b) })
	d.agents.Store(&l)
	return l
}

// listCapabilities returns what some agent can do, sorted. It is not to be changed.
func (d *directory) listCapabilities() []caxton.Capability {
	if l := d.capabilities.Load(); l != nil {
		return *l
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.byCapability.keys()
	slices.SortFunc(l, func(a, b caxton.Capability) int { return cmp.Compare(a.String(), b.String()) })
	d.capabilities.Store(&l)
	return l
}

// references returns what an agent may be called by, besides its ID.
func references(a *caxton.Agent) []string {
	refs := []string{strings.ToLower(a.Name), a.Slug}
	if a.Stem != "" {
		refs = append(refs, strings.ToLower(a.Stem))
	}
	return refs
}

// clash returns the other agent that is called by a reference of a, if there is one.
func (d *directory) clash(a *caxton.Agent) (other *caxton.Agent, ref string) {
	for _, ref := range references(a) {
		if o := d.byRef.get(ref); o != nil && o.ID != a.ID {
			return o, ref
		}
		if o := d.byID.get(caxton.AgentID(ref)); o != nil && o.ID != a.ID { // IDs come first in Resolve
			return o, ref
		}
	}
	return nil, ""
}

// nearest returns the slug of the agent that ref is most likely a slip of, or "".
func (d *directory) nearest(ref string) string {
	names := d.byRef.keys()
	slices.Sort(names)
	if a := d.byRef.get(tree.Nearest(ref, names)); a != nil {
		return a.Slug
	}
	return ""
}
