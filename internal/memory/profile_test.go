package memory_test

import (
	"slices"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

func TestProfile(t *testing.T) {
	for _, c := range []struct {
		scope, workspace string
		want             []string
	}{
		{"", "", []string{"agent:a1"}},
		{"agent", "lab", []string{"agent:a1"}},
		{"workspace", "", []string{"agent:a1", "workspace:default"}},
		{"workspace", "lab", []string{"agent:a1", "workspace:lab"}},
		{"global", "lab", []string{"agent:a1", "workspace:lab", "global"}},
	} {
		p := memory.ProfileOf("ann", &caxton.AgentVersion{
			AgentID: "a1", Number: 2, Definition: caxton.Definition{Memory: caxton.MemorySettings{Scope: c.scope, Workspace: c.workspace}},
		})
		var got []string
		for _, s := range p.Scopes() {
			got = append(got, s.String())
			if in, err := p.In(s.Kind); err != nil || in != s || !p.Access().Sees(s) {
				t.Errorf("scope %q: In(%s) = %v, %v", c.scope, s.Kind, in, err)
			}
		}
		if !slices.Equal(got, c.want) || p.Home().String() != c.want[len(c.want)-1] {
			t.Errorf("scope %q, workspace %q: sees %v, at home in %v, want %v", c.scope, c.workspace, got, p.Home(), c.want)
		}
		if len(c.want) < 3 {
			if _, err := p.In(caxton.GlobalScope); caxton.KindOf(err) != caxton.Forbidden {
				t.Errorf("scope %q: global is shared: %v", c.scope, err)
			}
			if p.Access().Sees(caxton.Scope{Kind: caxton.GlobalScope}) {
				t.Errorf("scope %q: sees global", c.scope)
			}
		}
		if p.Access().Sees(caxton.Scope{Kind: caxton.AgentScope, Owner: "a2"}) {
			t.Errorf("scope %q: sees what is another agent's alone", c.scope)
		}
	}
	if (memory.Access{}).Sees(caxton.Scope{Kind: caxton.GlobalScope}) || !(memory.Access{All: true}).Sees(caxton.Scope{Kind: caxton.GlobalScope}) {
		t.Error("no access sees, or an operator does not")
	}
}
