package agentdir_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentdir"
	"github.com/caxton/caxton/internal/deploy"
	"github.com/caxton/caxton/internal/module"
	"github.com/caxton/caxton/internal/tool"
)

// modules finds nothing wrong but with what is empty.
type modules struct{ *module.Store }

func (modules) Inspect(_ context.Context, data []byte, _ *caxton.Definition) (caxton.ModuleReport, []caxton.Issue) {
	rep := caxton.ModuleReport{SHA256: module.Hash(data), Size: caxton.Size(len(data))}
	if len(data) == 0 {
		return rep, []caxton.Issue{{Key: "module", Message: "it is empty"}}
	}
	return rep, nil
}

// withModules makes the house's deployer take modules.
func (h *house) withModules(cfg agentdir.Config) {
	h.t.Helper()
	tools, err := tool.NewSet(nil)
	must(h.t, err)
	h.dep = deploy.New(h.reg, h.runner, tools, deploy.Config{Modules: modules{module.New(h.t.TempDir(), module.Config{})}})
	cfg.OnScanned = func() { h.scanned <- struct{}{} }
	h.agents = agentdir.New(h.dir, h.dep, h.reg, cfg)
}

func (h *house) runs(ref string) string {
	a, err := h.reg.Resolve(ref)
	if err != nil {
		return ""
	}
	return a.Definition.Module.SHA256
}

// TestModuleBesideItsFile: the agent follows the file and its module, and a faulty module
// does not replace a good one.
func TestModuleBesideItsFile(t *testing.T) {
	h := open(t, agentdir.Config{})
	h.withModules(agentdir.Config{Debounce: 1})
	h.write("cruncher.md", "---\nname: Cruncher\nmodule: cruncher.wasm\n---\n")
	h.watch()
	if fs := h.agents.Faults(); len(fs) != 1 || fs[0].Err.Code != "module_file_not_found" {
		t.Fatalf("faults %+v, want that the module is not there", fs)
	}
	for _, code := range []string{"one", "two", "three"} {
		h.write("cruncher.wasm", code)
		h.until("module "+code, func() bool { return h.runs("cruncher") == module.Hash([]byte(code)) && len(h.agents.Faults()) == 0 })
	}
	h.write("cruncher.wasm", "")
	h.until("an empty module", func() bool { return len(h.agents.Faults()) == 1 })
	if h.runs("cruncher") != module.Hash([]byte("three")) {
		t.Errorf("the good module was replaced")
	}
	if err := os.Remove(filepath.Join(h.dir, "cruncher.wasm")); err != nil {
		t.Fatal(err)
	}
	h.write("other.toml", "name = \"Other\"\nmodule = \"other.bin\"\n")
	h.write("other.bin", "one")
	h.until("a second file", func() bool { return h.runs("other") == module.Hash([]byte("one")) })
	if a, err := h.reg.Resolve("other"); err != nil || a.Type != caxton.WASMAgent || a.Definition.Module.File != "other.bin" {
		t.Errorf("agent %+v, %v", a, err)
	}
}

// TestRestartLeavesModuleAlone: after a rollback a restart does not bring the file back, and
// a file whose module changed meanwhile is brought into force.
func TestRestartLeavesModuleAlone(t *testing.T) {
	h := open(t, agentdir.Config{})
	cfg := agentdir.Config{NoWatch: true}
	h.withModules(cfg)
	h.write("cruncher.md", "---\nname: Cruncher\nmodule: cruncher.wasm\n---\n")
	for _, code := range []string{"one", "two"} {
		h.write("cruncher.wasm", code)
		h.reloadAll()
	}
	a, err := h.reg.Resolve("cruncher")
	must(t, err)
	if _, err := h.dep.Rollback(t.Context(), a.ID, 1); err != nil {
		t.Fatal(err)
	}
	h.agents = agentdir.New(h.dir, h.dep, h.reg, cfg)
	h.watch()
	if h.runs("cruncher") != module.Hash([]byte("one")) {
		t.Error("a restart undid the rollback")
	}
	h.agents = agentdir.New(h.dir, h.dep, h.reg, cfg)
	h.write("cruncher.wasm", "three")
	h.watch()
	if h.runs("cruncher") != module.Hash([]byte("three")) {
		t.Error("a module that changed while the server was down is not in force")
	}
}

func TestModuleThatMayNotBeRead(t *testing.T) {
	h := open(t, agentdir.Config{})
	h.withModules(agentdir.Config{NoWatch: true, MaxModule: 10})
	outside := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("secret"), 0o600))
	must(t, os.Symlink(outside, filepath.Join(h.dir, "link.wasm")))
	h.write("big.wasm", strings.Repeat("x", 11))
	for name, code := range map[string]string{
		"link.wasm": "agent_file_unreadable", "big.wasm": "module_too_large", "none.wasm": "module_file_not_found", "../secret": "agent_invalid",
	} {
		h.write("a.md", "---\nname: A\nmodule: "+name+"\n---\n")
		h.reloadAll()
		if fs := h.agents.Faults(); len(fs) != 1 || fs[0].Err.Code != code {
			t.Errorf("%s: %+v, want %s", name, fs, code)
		}
	}
}
