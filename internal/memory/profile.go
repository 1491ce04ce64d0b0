package memory

import (
	"cmp"
	"slices"

	"github.com/caxton/caxton"
)

// A Profile is how one version of an agent remembers.
type Profile struct {
	Agent    caxton.AgentID
	Slug     string
	Version  int
	Settings caxton.MemorySettings
}

// ProfileOf returns the profile of an agent's version.
func ProfileOf(slug string, v *caxton.AgentVersion) Profile {
	return Profile{Agent: v.AgentID, Slug: slug, Version: v.Number, Settings: v.Definition.Memory}
}

// Scopes returns what the agent may see, the narrowest first. What is the agent's alone it
// always sees; the setting says how far beyond.
func (p *Profile) Scopes() []caxton.Scope {
	all := []caxton.Scope{
		{Kind: caxton.AgentScope, Owner: string(p.Agent)},
		{Kind: caxton.WorkspaceScope, Owner: cmp.Or(p.Settings.Workspace, caxton.DefaultWorkspace)},
		{Kind: caxton.GlobalScope},
	}
	widest := slices.IndexFunc(all, func(s caxton.Scope) bool { return string(s.Kind) == p.Settings.Scope })
	return all[:max(widest, 0)+1]
}

// Access returns what the agent may see and change.
func (p *Profile) Access() Access { return Access{Scopes: p.Scopes()} }

// Home returns the scope that the agent writes to unless it says otherwise: the widest it
// sees.
func (p *Profile) Home() caxton.Scope {
	scopes := p.Scopes()
	return scopes[len(scopes)-1]
}

// In returns the scope of a kind that the agent sees, or a Forbidden error.
func (p *Profile) In(kind caxton.ScopeKind) (caxton.Scope, error) {
	for _, s := range p.Scopes() {
		if s.Kind == kind {
			return s, nil
		}
	}
	return caxton.Scope{}, caxton.Errorf(caxton.Forbidden, "scope_forbidden", "the agent %s does not share memory of the scope %s", p.Slug, kind).
		WithHint("its memory.scope is %s; set it wider in the agent's file", cmp.Or(p.Settings.Scope, string(caxton.AgentScope)))
}

// By returns where something comes from that the agent remembers with a tool while it
// handles a message.
func (p *Profile) By(m *caxton.Message, tool string) caxton.Provenance {
	return caxton.Provenance{
		ConversationID: m.ConversationID, MessageID: m.ID, AgentID: p.Agent, Version: int64(p.Version), Tool: tool,
	}
}
