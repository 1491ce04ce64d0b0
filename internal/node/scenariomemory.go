package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/caxton/caxton/internal/scenario"
)

// A mind is what the agents of one case remember: empty when it begins, but for what the test
// file says. The nil mind is that of agents without memory.
type mind struct {
	dir    string
	db     *memdb.DB
	engine *engine.Engine
}

// remembers reports whether one of the agents has a memory.
func (sc *script) remembers() bool {
	return slices.ContainsFunc(sc.actors, func(a actor) bool { return a.def.Memory.Enabled })
}

// facts returns what is remembered when a case begins.
func facts(s *scenario.Suite, c *scenario.Case) []scenario.Fact {
	return slices.Concat(s.Memory, c.Memory)
}

// checkFacts returns an issue for each fact that the agent under test cannot remember.
func checkFacts(s *scenario.Suite, def caxton.Definition) []caxton.Issue {
	all := slices.Clone(s.Memory)
	for i := range s.Cases {
		all = append(all, s.Cases[i].Memory...)
	}
	p := memory.ProfileOf(caxton.Slug(def.Name), &caxton.AgentVersion{AgentID: "tested", Definition: def})
	var issues []caxton.Issue
	for i := range all {
		at := caxton.Issue{Path: s.Path, Line: all[i].At.Line, Column: all[i].At.Column}
		if !def.Memory.Enabled {
			at.Message, at.Hint = "the agent has no memory that this could be in", "set memory_enabled: true in its file"
			return append(issues, at)
		}
		if e, ok := asError(in(&p, &all[i])); ok {
			at.Message, at.Hint = e.Message, e.Hint
			issues = append(issues, at)
		}
	}
	return issues
}

// in returns why the agent does not share the scope of a fact.
func in(p *memory.Profile, f *scenario.Fact) error {
	if f.Scope == "" {
		return nil
	}
	_, err := p.In(caxton.ScopeKind(f.Scope))
	return err
}

// newMind makes the memory of a case in a directory of its own. It starts nothing.
func newMind(ctx context.Context, model *embedding.Provider, now func() time.Time, log *slog.Logger) (*mind, error) {
	dir, err := os.MkdirTemp("", "caxton-test-")
	if err != nil {
		return nil, caxton.Errorf(caxton.Unavailable, "memory_unwritable", "there is no place for the memory of a test").
			WithHint("set TMPDIR to a directory that can be written").WithCause(err)
	}
	m := &mind{dir: dir}
	if m.db, err = memdb.Open(ctx, memdb.Config{Path: filepath.Join(dir, "memory.db"), Readers: 1, Now: now, Logger: log}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if m.engine, err = engine.New(m.db, m.db, m.db, model, engine.Config{Now: now, Logger: log}); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// run does the upkeep until ctx ends.
func (m *mind) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.db.Run(ctx) })
	wg.Go(func() { _ = m.engine.Run(ctx) }) // searches say what became of it
	wg.Wait()
}

// close forgets everything.
func (m *mind) close() error {
	return errors.Join(m.db.Close(), os.RemoveAll(m.dir))
}

// learn remembers facts for an agent.
func (m *mind) learn(ctx context.Context, p *memory.Profile, all []scenario.Fact) error {
	if len(all) == 0 {
		return nil
	}
	var memos []memory.Memo
	for i := range all {
		f := &all[i]
		scope := p.Home()
		if f.Scope != "" {
			var err error
			if scope, err = p.In(caxton.ScopeKind(f.Scope)); err != nil {
				return err
			}
		}
		memos = append(memos, memory.Memo{
			Scope: scope, Name: f.Entity, Type: f.Type,
			Notes: []memory.Note{{Text: f.Fact, Key: f.About, Valid: caxton.Span{From: f.ValidFrom, To: f.ValidTo}}},
		})
	}
	_, err := m.engine.Remember(ctx, p.Access(), memos, caxton.Provenance{By: "test"})
	return err
}
