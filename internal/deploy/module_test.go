package deploy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/deploy"
)

// A shelf keeps modules in memory. What begins with "bad" is faulty.
type shelf struct {
	kept    map[string][]byte
	refuses bool
	puts    int
}

func (s *shelf) Inspect(_ context.Context, data []byte, def *caxton.Definition) (caxton.ModuleReport, []caxton.Issue) {
	rep := caxton.ModuleReport{SHA256: caxton.VersionHash(data, ""), Size: caxton.Size(len(data)), Contract: "command", Limits: def.Limits}
	if strings.HasPrefix(string(data), "bad") {
		return rep, []caxton.Issue{{Key: "module.imports", Message: "it imports env.system"}, {Key: "module.exports", Message: "it exports nothing"}, {Key: "module", Message: "odd", Warning: true}}
	}
	if string(data) == "capable" {
		c, _ := caxton.ParseCapability("adding")
		rep.Capabilities = []caxton.Capability{c}
	}
	return rep, nil
}

func (s *shelf) Put(_ context.Context, data []byte) (string, error) {
	if s.refuses {
		return "", caxton.Errorf(caxton.Unavailable, "disk", "the disk is gone")
	}
	hash := caxton.VersionHash(data, "")
	s.puts, s.kept[hash] = s.puts+1, data
	return hash, nil
}

func (s *shelf) Get(_ context.Context, hash string) ([]byte, error) {
	if data, ok := s.kept[hash]; ok {
		return data, nil
	}
	return nil, caxton.Errorf(caxton.NotFound, "module_not_found", "there is no module %s", hash)
}

const cruncher = "---\nname: Cruncher\ntype: wasm\n---\n"

func TestDeployModule(t *testing.T) {
	s := &shelf{kept: map[string][]byte{}}
	y := open(t, deploy.Config{Modules: s})
	one := y.deploy(caxton.DeployRequest{Text: []byte(cruncher), Module: []byte("one")})
	if a := one.Agent; a.Type != caxton.WASMAgent || a.Definition.Module.SHA256 != caxton.VersionHash([]byte("one"), "") || a.Definition.Module.Size != 3 || a.Definition.Module.Contract != "command" {
		t.Errorf("agent %+v", a)
	}
	if one.Module == nil || one.Module.Contract != "command" {
		t.Errorf("report %+v", one.Module)
	}
	if d := y.deploy(caxton.DeployRequest{Text: []byte(cruncher), Module: []byte("one")}); d.Changed || s.puts != 2 {
		t.Errorf("the same again: changed %t, put %d times; want it put, because the file may be damaged", d.Changed, s.puts)
	}
	if d := y.deploy(caxton.DeployRequest{Text: []byte(cruncher), Module: []byte("two")}); !d.Changed || d.Agent.Version != 2 || len(y.runner.tried) != 2 {
		t.Errorf("another module under the same text: %+v, tried %v", d, y.runner.tried)
	}
	if d := y.deploy(caxton.DeployRequest{Text: []byte("---\nname: Cruncher\nmodule: sha256:" + caxton.VersionHash([]byte("one"), "") + "\n---\n")}); d.Agent.Version != 3 || d.Agent.Definition.Module.Size != 3 {
		t.Errorf("a module that the server has: %+v", d.Agent)
	}
	if _, err := y.Draft(t.Context(), one.Agent.ID, 0, "prompt", "me"); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("a prompt for a module: %v, want Invalid", err)
	}
}

// TestDeployModuleCapabilities: what the definition says counts, then what the module says,
// then the agent's name.
func TestDeployModuleCapabilities(t *testing.T) {
	y := open(t, deploy.Config{Modules: &shelf{kept: map[string][]byte{}}})
	for _, tt := range []struct{ name, more, module, want string }{
		{"One", "capabilities: [said]\n", "capable", "said"}, {"Two", "", "capable", "adding"}, {"NumberThree", "", "mute", "number-three"},
	} {
		d := y.deploy(caxton.DeployRequest{Text: []byte("---\nname: " + tt.name + "\ntype: wasm\n" + tt.more + "---\n"), Module: []byte(tt.module)})
		if cs := d.Agent.Definition.Capabilities; len(cs) != 1 || cs[0].String() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, cs, tt.want)
		}
	}
	if _, err := y.Deploy(t.Context(), caxton.DeployRequest{Text: []byte("---\nname: '4'\ntype: wasm\n---\n"), Module: []byte("mute")}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("a name that is no capability: %v", err)
	}
}

func TestDeployModuleRefused(t *testing.T) {
	hash := caxton.VersionHash([]byte("x"), "")
	tests := []struct {
		name   string
		text   string
		module string
		want   []string // issues
	}{
		{"a faulty module", cruncher, "bad", []string{"it imports env.system", "it exports nothing"}},
		{"no module", cruncher, "", []string{"a WASM agent without its module"}},
		{"a file that did not come along", "---\nname: Cruncher\nmodule: x.wasm\n---\n", "", []string{"the module x.wasm did not come with the definition"}},
		{"a hash that nobody knows", "---\nname: Cruncher\nmodule: sha256:" + hash + "\n---\n", "", []string{"there is no module " + hash}},
		{"another than its hash", "---\nname: Cruncher\nmodule: sha256:" + hash + "\n---\n", "y", []string{"the module that came with the definition is another one than sha256:" + hash}},
		{"with a prompt", "---\nname: Cruncher\ncapabilities: [x]\nsystem_prompt: x\n---\n", "x", []string{"a module came with the definition of a config agent"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{kept: map[string][]byte{}}
			y := open(t, deploy.Config{Modules: s})
			req := caxton.DeployRequest{Text: []byte(tt.text)}
			if tt.module != "" {
				req.Module = []byte(tt.module)
			}
			_, err := y.Deploy(t.Context(), req)
			e, ok := err.(*caxton.Error) //nolint:errorlint // the deployer returns it as it is
			if !ok || e.Kind != caxton.Invalid {
				t.Fatalf("Deploy: %v, want Invalid", err)
			}
			var got []string
			for _, i := range e.Issues {
				got = append(got, i.Message)
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("issues %q, want %q", got, tt.want)
			}
			if s.puts != 0 || len(y.reg.Agents()) != 0 {
				t.Errorf("%d modules and %d agents were kept", s.puts, len(y.reg.Agents()))
			}
		})
	}
}

// TestModuleBeforeRegistry: a module that cannot be kept leaves the agent as it was, and only
// looking keeps none.
func TestModuleBeforeRegistry(t *testing.T) {
	s := &shelf{kept: map[string][]byte{}}
	y := open(t, deploy.Config{Modules: s})
	if d := y.deploy(caxton.DeployRequest{Text: []byte(cruncher), Module: []byte("one"), ValidateOnly: true}); s.puts != 0 || d.Module == nil {
		t.Errorf("only validated: put %d times, report %v", s.puts, d.Module)
	}
	y.deploy(caxton.DeployRequest{Text: []byte(cruncher), Module: []byte("one")})
	y.runner.late = refuses
	if d := y.deploy(caxton.DeployRequest{Text: []byte(cruncher), Module: []byte("one")}); d.Changed || y.runner.restarted != 1 {
		t.Errorf("the same again while it has failed: %+v, restarted %d times", d, y.runner.restarted)
	}
	s.refuses = true
	if _, err := y.Deploy(t.Context(), caxton.DeployRequest{Text: []byte(cruncher), Module: []byte("two")}); caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("Deploy: %v", err)
	}
	if a, err := y.reg.Resolve("cruncher"); err != nil || a.Version != 1 {
		t.Errorf("agent %+v, %v, want version 1", a, err)
	}
	if _, err := open(t, deploy.Config{}).Deploy(t.Context(), caxton.DeployRequest{Text: []byte(cruncher), Module: []byte("one")}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("a server without modules: %v", err)
	}
}
