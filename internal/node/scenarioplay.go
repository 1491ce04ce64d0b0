package node

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agent"
	"github.com/caxton/caxton/internal/cluster"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/deploy"
	"github.com/caxton/caxton/internal/llm"
	llmbuiltin "github.com/caxton/caxton/internal/llm/builtin"
	"github.com/caxton/caxton/internal/llm/scripted"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/prompt"
	"github.com/caxton/caxton/internal/registry"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/scenario"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/messaging"
	"github.com/caxton/caxton/internal/tool/remembering"
)

// generator returns who answers in a case.
func (b *Bench) generator(s *scenario.Suite, c *scenario.Case, sc *script) (llm.Model, error) {
	if sc.recorder != nil {
		return sc.recorder, nil
	}
	switch s.Model.Value {
	case scenario.ModelBuiltin:
		return llmbuiltin.Model{}, nil
	case scenario.ModelConfigured:
		return b.catalog.For(sc.actors[0].def.LLM)
	case scenario.ModelCassette: // one for each case: what came twice comes twice in each
		return scripted.ParseCassette(sc.cassette, sc.recording)
	}
	var rules []scripted.Rule
	for _, r := range []scenario.Rules{c.Rules, s.Rules} {
		if r.Node != nil {
			more, issues := readRules(r.Node, r.Key, s.Path)
			if err := scenario.Err(issues); err != nil {
				return nil, err
			}
			rules = append(rules, more...)
		}
	}
	return scripted.New(append(rules, sc.rules...))
}

// suiteTools returns the program's own tools as a suite wants them.
func suiteTools(s *scenario.Suite, c *config.Config, mail messaging.Mail, mem remembering.Memory, who remembering.Profiles) ([]tool.Tool, error) {
	cfg := toolConfig(c)
	cfg.File.Root = s.Beside(cmp.Or(s.Files.Value, "."))
	cfg.Now = clock(s.Now)
	return ownTools(cfg, mail, mem, who)
}

// clock returns the time, or a clock that shows begin now and goes on from there.
func clock(begin time.Time) func() time.Time {
	if begin.IsZero() {
		return time.Now
	}
	start := time.Now()
	return func() time.Time { return begin.Add(time.Since(start)) }
}

// Play plays one case.
func (b *Bench) Play(ctx context.Context, s *scenario.Suite, c *scenario.Case) ([]scenario.Played, error) {
	sc := b.agents[s]
	if sc == nil {
		return nil, caxton.Errorf(caxton.Internal, "suite_unknown", "the suite was not added")
	}
	var m *mind
	if sc.remembers() {
		var err error
		if m, err = newMind(ctx, b.embedder, clock(s.Now), b.o.Logger); err != nil {
			return nil, err
		}
		defer func() { _ = m.close() }() // last of all
	}
	p, err := b.set(s, c, sc, m)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the parts end after the last turn, not with ctx
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.solo.Run(run, p.registry) })
	wg.Go(func() { _ = p.router.Run(run) })
	wg.Go(func() { _ = p.agents.Run(run) })
	if m != nil {
		wg.Go(func() { m.run(run) })
	}
	if want := cmp.Or(c.Approval, s.Approval); want != "" {
		wg.Go(func() { p.decide(run, want) })
	}
	defer wg.Wait()
	defer cancel()
	defer close(p.cut) // first of all: turns in flight end at once
	p.registry.Observe(p.agents)
	var tested caxton.AgentID
	for _, a := range sc.actors {
		d, err := p.deployer.Deploy(ctx, caxton.DeployRequest{Text: a.text, Module: a.module, Source: a.file, Stem: stem(a.file), Author: "test"})
		if err != nil {
			return nil, err
		}
		tested = cmp.Or(tested, d.Agent.ID)
	}
	if m != nil {
		who, err := profiles{p.registry}.Profile(ctx, tested)
		if err == nil {
			err = m.learn(ctx, &who, facts(s, c))
		}
		if err != nil {
			return nil, err
		}
	}
	return p.play(ctx, c, tested)
}

func stem(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// A set is the parts that play one case.
type set struct {
	journal  *memjournal.Journal
	solo     *cluster.Solo
	registry *registry.Registry
	router   *router.Router
	agents   *agent.Supervisor
	deployer *deploy.Deployer
	cut      chan struct{}
}

// set puts the parts together, as build does for a server. What a model is asked follows
// from the agent's file alone, unless it is the configured one: a cassette and a script shall
// answer alike on every machine.
func (b *Bench) set(s *scenario.Suite, c *scenario.Case, sc *script, m *mind) (*set, error) {
	kit := s.Kit(c, b.o.Chaos)
	model, err := b.generator(s, c, sc)
	if err != nil {
		return nil, err
	}
	now := clock(s.Now)
	p := &set{journal: memjournal.New(memjournal.Config{Now: now}), solo: cluster.NewSolo(), cut: make(chan struct{})}
	p.registry = registry.New(&shelf{}, p.solo, registry.Config{})
	p.router = router.New(p.journal, p.registry, router.Config{Now: now, Logger: b.o.Logger})
	var mem remembering.Memory // without one no agent may use the tools
	if m != nil {
		mem = m.engine
	}
	here, err := suiteTools(s, b.c, p.router, mem, profiles{p.registry})
	if err != nil {
		return nil, err
	}
	var refuse []string
	if !s.Network && !b.o.Network {
		refuse = offline()
	}
	wrapped := kit.Tools(here, refuse...)
	all, err := tool.NewSet(nil, wrapped...)
	if err != nil {
		return nil, err
	}
	left, err := tool.NewSet(kit.Permitted(wrapped), wrapped...)
	if err != nil {
		return nil, err
	}
	cfg := prompt.Config{Now: now, Logger: b.o.Logger}
	if m != nil {
		cfg.Memory = recollection{m.engine}
	}
	if s.Model.Value == scenario.ModelConfigured {
		cfg.ModelTimeout, cfg.MaxTokens, cfg.Temperature = b.c.LLM.Timeout.Std(), b.c.LLM.MaxTokens, b.c.LLM.Temperature
	}
	answers := cast{model: kit.Model(model)}
	if s.Model.Value == scenario.ModelConfigured {
		answers = cast{catalog: b.catalog, kit: kit}
	}
	handlers := prompt.New(answers, left, p.journal, cfg)
	var modules deploy.Modules
	if b.modules != nil {
		modules = b.modules
	}
	p.agents = agent.New(p.router, p.registry, func(ctx context.Context, v caxton.AgentVersion) (agent.Handler, error) {
		if v.Definition.IsModule() {
			return b.modules.handlerFor(ctx, v, handlers)
		}
		return handlers.Handler(v)
	}, agent.Config{
		MaxAttempts: b.c.Agents.MaxAttempts, ExecutionTimeout: b.c.Agents.ExecutionTimeout.Std(),
		RetryInitial: 2 * time.Millisecond, RetryMax: 20 * time.Millisecond, // nobody wants to wait for a test
		Cut: p.cut, Now: now, Logger: b.o.Logger,
	})
	p.deployer = deploy.New(p.registry, p.agents, all, deploy.Config{Modules: modules, Now: now, Logger: b.o.Logger})
	return p, nil
}

// decide decides every approval that the agents ask for, until ctx ends.
func (p *set) decide(ctx context.Context, want string) {
	state := caxton.ApprovalGranted
	if want == "deny" {
		state = caxton.ApprovalDenied
	}
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		open, _, err := p.router.Tickets(ctx, caxton.TicketQuery{Kind: caxton.Approval, Open: true})
		if err != nil {
			continue
		}
		for i := range open {
			by := "test"
			if a := open[i].Policy.Approvers; len(a) > len(open[i].Decisions) {
				by = a[len(open[i].Decisions)] // one after another, until enough have decided
			} else if n := len(open[i].Decisions); n > 0 {
				by = fmt.Sprintf("test %d", n+1)
			}
			_, _ = p.router.Decide(ctx, caxton.Approval, open[i].ID, caxton.Decision{By: by, State: state, Reason: "the test says so"}) // one that is closed meanwhile needs none
		}
	}
}

// play sends the inputs one after another.
func (p *set) play(ctx context.Context, c *scenario.Case, to caxton.AgentID) ([]scenario.Played, error) {
	var turns []scenario.Played
	var conv caxton.ConversationID
	for _, t := range c.Sent() {
		if err := ctx.Err(); err != nil { // a reply may be there already: it would be taken for one that was waited for
			return turns, fmt.Errorf("turn %d: %w", len(turns)+1, err)
		}
		content, err := t.Input.JSON()
		if err != nil {
			return turns, err
		}
		m := caxton.Message{
			ConversationID: conv, Performative: t.Performative.Value, Sender: "test", Receiver: string(to), Content: content,
		}
		start := time.Now()
		rc, err := p.router.Send(ctx, m)
		if err != nil {
			return turns, fmt.Errorf("turn %d: %w", len(turns)+1, err)
		}
		conv = rc.ConversationID
		turn := scenario.Played{Input: m.Text()}
		reply, err := p.router.Await(ctx, rc.MessageID)
		if err == nil {
			turn.Reply = &reply
		} else if e, ok := asError(err); !ok || e.Code != "no_reply" {
			turn.Duration = time.Since(start)
			return append(turns, p.partly(ctx, turn, rc)), err
		}
		turn.Duration = time.Since(start)
		records, err := p.records(ctx, rc)
		if err == nil {
			err = turn.Read(records)
		}
		if turns = append(turns, turn); err != nil {
			return turns, err
		}
	}
	return turns, nil
}

// partly adds what is known of a turn that did not end.
func (p *set) partly(ctx context.Context, turn scenario.Played, rc caxton.Receipt) scenario.Played {
	if records, err := p.records(context.WithoutCancel(ctx), rc); err == nil {
		_ = turn.Read(records) // what can be read is in it
	}
	return turn
}

// records returns the records of one turn.
func (p *set) records(ctx context.Context, rc caxton.Receipt) ([]caxton.Record, error) {
	all, err := p.router.Records(ctx, rc.ConversationID, 0, 100_000)
	return slices.DeleteFunc(all, func(r caxton.Record) bool { return r.MessageID != rc.MessageID }), err
}

// A cast gives every agent the same model, or with a catalog its own.
type cast struct {
	model   llm.Model
	catalog *llm.Catalog
	kit     *scenario.Kit
}

// For returns the model of an agent.
func (c cast) For(s caxton.LLMSettings) (llm.Model, error) {
	if c.catalog == nil {
		return c.model, nil
	}
	m, err := c.catalog.For(s)
	if err != nil {
		return nil, err
	}
	return c.kit.Model(m), nil
}

// shelf keeps what a test deploys. Only the registry of one case uses it, one call at a time.
type shelf struct {
	mu       sync.Mutex // guards versions
	versions []caxton.AgentVersion
}

// LoadAgents finds nothing: each case begins anew.
func (*shelf) LoadAgents(context.Context) ([]caxton.Agent, error) { return nil, nil }

// SaveAgent keeps a version.
func (s *shelf) SaveAgent(_ context.Context, _ caxton.Agent, v *caxton.AgentVersion) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v != nil {
		s.versions = append(s.versions, *v)
	}
	return nil
}

// DeleteAgent has nothing to do.
func (*shelf) DeleteAgent(context.Context, caxton.AgentID) error { return nil }

// AgentVersions returns the versions of an agent.
func (s *shelf) AgentVersions(_ context.Context, id caxton.AgentID) ([]caxton.AgentVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.versions), func(v caxton.AgentVersion) bool { return v.AgentID != id }), nil
}

// AgentVersion returns one version of an agent, or NotFound.
func (s *shelf) AgentVersion(_ context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.versions {
		if v.AgentID == id && v.Number == number {
			return v, nil
		}
	}
	return caxton.AgentVersion{}, caxton.Errorf(caxton.NotFound, "version_not_found", "there is no version %d", number)
}
