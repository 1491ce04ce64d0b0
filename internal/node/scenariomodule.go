package node

import (
	"context"
	"maps"
	"sync"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/caxton/caxton/internal/module"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/wasm"
	"github.com/prometheus/client_golang/prometheus"
)

// benchModules run the module agents of all cases: a module is compiled once. Everything
// is in memory. What cases must not share goes by the agent, and every case has its own.
type benchModules struct {
	*modules

	mu       sync.Mutex // guards all below
	kept     map[string][]byte
	held     map[string]bool // modules of which an agent was kept, so that they stay compiled
	handlers map[caxton.AgentID]*prompt.Handlers
	state    map[caxton.AgentID]map[string][]byte
}

func newBenchModules(ctx context.Context, b *Bench) *benchModules {
	m := &benchModules{
		kept: map[string][]byte{}, held: map[string]bool{}, handlers: map[caxton.AgentID]*prompt.Handlers{}, state: map[caxton.AgentID]map[string][]byte{},
	}
	m.modules = newModules(ctx, b.c, m, newModuleUse(prometheus.NewRegistry()), wasm.Config{
		Logger: b.o.Logger, State: m, Seed: make([]byte, 32), // the same test draws the same numbers
		Calls: func(ctx context.Context, turn caxton.Turn) (wasm.Calls, error) {
			m.mu.Lock()
			h := m.handlers[turn.Version.AgentID]
			m.mu.Unlock()
			return callsOf(ctx, h, turn)
		},
	})
	return m
}

// Put keeps a module.
func (m *benchModules) Put(_ context.Context, data []byte) (string, error) {
	hash := module.Hash(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[hash] = data
	return hash, nil
}

// Get returns a module.
func (m *benchModules) Get(_ context.Context, hash string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data, ok := m.kept[hash]; ok {
		return data, nil
	}
	return nil, caxton.Errorf(caxton.NotFound, "module_not_found", "there is no module with the hash %.64s", hash)
}

// handlerFor makes the handler of a version, whose tool calls go by the handlers of its case.
func (m *benchModules) handlerFor(ctx context.Context, v caxton.AgentVersion, h *prompt.Handlers) (agent.Handler, error) {
	m.mu.Lock()
	m.handlers[v.AgentID] = h
	first := !m.held[v.Definition.Module.SHA256]
	m.held[v.Definition.Module.SHA256] = true
	m.mu.Unlock()
	if first {
		if _, err := m.handler(ctx, v); err != nil { // one more, which is never closed
			return nil, err
		}
	}
	return m.handler(ctx, v)
}

// Load returns the value of a key of an agent. In a test it has one version.
func (m *benchModules) Load(_ context.Context, agent caxton.AgentID, _ int, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.state[agent][key]
	return v, ok, nil
}

// Next tells no keys: in a test there is one version, and nothing is brought over.
func (m *benchModules) Next(context.Context, caxton.AgentID, int, string) (string, bool, error) {
	return "", false, nil
}

// Share does nothing: there is one version.
func (m *benchModules) Share(context.Context, caxton.AgentID, int, int, bool) error { return nil }

// Fork refuses: there is one version.
func (m *benchModules) Fork(context.Context, caxton.AgentID, int, int, []wasm.Change) error {
	return caxton.Errorf(caxton.Invalid, "state_one_version", "an agent has one version in a test")
}

// Committed knows no turn: no process dies in a test.
func (m *benchModules) Committed(context.Context, caxton.AgentID, caxton.MessageID) ([]byte, bool, error) {
	return nil, false, nil
}

// Commit makes the changes of a turn.
func (m *benchModules) Commit(_ context.Context, agent caxton.AgentID, _ int, _ caxton.MessageID, changes []wasm.Change, _ []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := maps.Clone(m.state[agent])
	if next == nil {
		next = map[string][]byte{}
	}
	for _, c := range changes {
		if c.Delete {
			delete(next, c.Key)
		} else {
			next[c.Key] = c.Value
		}
	}
	m.state[agent] = next
	return nil
}

// readModule reads the module that an agent file names, or nil when it names none.
func readModule(path string, text []byte) ([]byte, error) {
	file := agentfile.ModuleFile(path, text, "")
	if file == "" {
		return nil, nil
	}
	return module.Beside(path, file)
}
