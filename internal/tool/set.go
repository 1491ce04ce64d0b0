package tool

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

const (
	// MaxText is how many bytes of a Result's Text a caller of a Set sees at most.
	MaxText = 16 << 10
	// MaxCallTime is how long any call may run, whatever the tool's own limit is.
	MaxCallTime = 5 * time.Minute
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// A Set holds the tools of a server and knows which of them the server permits. Its own
// tools do not change; those of its Source do. It is safe for concurrent use.
type Set struct {
	entries   map[string]*Entry
	names     []string           // of all its own tools, sorted
	permitted []caxton.ToolGrant // nil permits all
	source    Source             // nil for none
}

// NewSet returns the Set of tools of which permitted names those that may be used: nil
// permits all, an empty list none. It fails with Invalid when permitted names a tool that is
// not there, when two tools share a name, or when a name or a schema is not well formed.
func NewSet(permitted []string, tools ...Tool) (*Set, error) {
	return NewSetWith(nil, permitted, tools...)
}

// NewSetWith is NewSet with the tools of a source besides. A name or pattern in permitted may
// be of a tool that the source only expects.
func NewSetWith(source Source, permitted []string, tools ...Tool) (*Set, error) {
	s := &Set{entries: make(map[string]*Entry, len(tools)), source: source}
	for _, t := range tools {
		form := nameForm
		if strings.HasPrefix(t.Spec().Name, caxton.MCPPrefix) {
			form = foreignForm // a stand-in for a tool of a source
		}
		e, err := newEntry(t, form)
		if err != nil {
			return nil, err
		}
		name := e.spec.Name
		if s.entries[name] != nil {
			return nil, caxton.Errorf(caxton.Invalid, "tool_duplicate", "two tools are named %q", name)
		}
		s.entries[name] = e
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	if permitted != nil {
		s.permitted = []caxton.ToolGrant{}
	}
	for _, name := range permitted {
		g := caxton.ToolGrant{Name: name}
		if s.entries[name] == nil && !s.expects(g) {
			err := s.unknown(name)
			err.Kind = caxton.Invalid // it is the configuration that is wrong
			return nil, err
		}
		s.permitted = append(s.permitted, g)
	}
	return s, nil
}

func (s *Set) expects(g caxton.ToolGrant) bool { return s.source != nil && s.source.Expects(g) }

// entry returns the named tool as it is now, or nil.
func (s *Set) entry(name string) *Entry {
	if e := s.entries[name]; e != nil || s.source == nil {
		return e
	}
	return s.source.Tool(name)
}

// permits reports whether the server's policy allows the tool of that name.
func (s *Set) permits(name string) bool {
	return s.permitted == nil || slices.ContainsFunc(s.permitted, func(g caxton.ToolGrant) bool { return g.Allows(name) })
}

// all returns the permitted tools there are now, sorted by name.
func (s *Set) all() []*Entry {
	var all []*Entry
	for _, name := range s.names {
		if s.permits(name) {
			all = append(all, s.entries[name])
		}
	}
	if s.source == nil {
		return all
	}
	for _, e := range s.source.Tools() {
		if s.permits(e.spec.Name) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *Entry) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	return all
}

// All returns the specs of the permitted tools, sorted by name. Those whose State is not
// approved are there, and refuse every call.
func (s *Set) All() []Spec {
	specs := []Spec{}
	for _, e := range s.all() {
		specs = append(specs, e.spec)
	}
	return specs
}

// Get returns the named tool when it is there and permitted.
func (s *Set) Get(name string) (Tool, bool) {
	e := s.entry(name)
	if e == nil || !s.permits(name) {
		return nil, false
	}
	return e.tool, true
}

// Known reports whether there is, or may come, a tool that a grant of that name allows, and
// whether the server permits it.
func (s *Set) Known(name string) (known, permitted bool) {
	g := caxton.ToolGrant{Name: name}
	canonical := g.Canonical()
	if s.entry(canonical) == nil && !s.expects(g) && !slices.ContainsFunc(s.names, g.Allows) {
		return false, false
	}
	prefix, pattern := g.Pattern()
	if !pattern {
		return true, s.permits(canonical)
	}
	return true, s.permitted == nil || slices.ContainsFunc(s.permitted, func(p caxton.ToolGrant) bool {
		other, ok := p.Pattern()
		return strings.HasPrefix(p.Canonical(), prefix) || ok && strings.HasPrefix(prefix, other)
	})
}

// Obstacle returns why a tool that Known knows under that name cannot be called now, or "".
func (s *Set) Obstacle(name string) string {
	g := caxton.ToolGrant{Name: name}
	if _, pattern := g.Pattern(); pattern {
		if slices.ContainsFunc(s.all(), func(e *Entry) bool { return e.refusal == nil && g.Allows(e.spec.Name) }) {
			return ""
		}
		return "no tool that " + name + " allows can be called yet"
	}
	e := s.entry(g.Canonical())
	switch {
	case e == nil && s.expects(g):
		return "the tool " + name + " is not there yet"
	case e != nil && e.refusal != nil:
		return e.refusal.Message
	}
	return ""
}

// Nearest returns the tool whose name is most like name, or "" when none is near.
func (s *Set) Nearest(name string) string { return tree.Nearest(name, s.everything()) }

func (s *Set) everything() []string {
	names := slices.Clone(s.names)
	if s.source != nil {
		for _, e := range s.source.Tools() {
			names = append(names, e.spec.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Run runs a tool for a person rather than an agent: only the server's policy counts, and
// call.Grant and call.Config hold as given. Its errors are those of Granted.Call, but for a
// tool that is not there, which is NotFound "tool_not_found", and one the server does not
// permit, which is Forbidden "tool_not_permitted".
func (s *Set) Run(ctx context.Context, name string, call Call) (Result, error) {
	e := s.entry(name)
	if e == nil {
		return Result{}, s.unknown(name)
	}
	if !s.permits(name) {
		return Result{}, caxton.Errorf(caxton.Forbidden, "tool_not_permitted", "this server does not permit the tool %q", name).
			WithHint("permitted are: %s", list(namesOf(s.all())))
	}
	if call.Grant.Name == "" {
		call.Grant.Name = name
	}
	return e.run(ctx, call, readers(s.all()))
}

// For returns the tools that an agent may use: those its definition lists, as far as the
// server permits them, at each moment. Listed tools that are unknown or not permitted are
// left out; to tell people about them is the part of whoever deploys the definition.
func (s *Set) For(def *caxton.Definition) *Granted {
	g := &Granted{set: s, agent: def.Name, grants: slices.Clone(def.Tools), config: make(map[string]map[string]any, len(def.ToolConfig))}
	for name, config := range def.ToolConfig {
		g.config[caxton.ToolGrant{Name: name}.Canonical()] = config
	}
	return g
}

func namesOf(entries []*Entry) []string {
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.spec.Name)
	}
	return names
}

// readers returns the names of those tools that read earlier results.
func readers(entries []*Entry) []string {
	return namesOf(slices.DeleteFunc(entries, func(e *Entry) bool { return !e.reads }))
}

func (s *Set) unknown(name string) *caxton.Error {
	err := caxton.Errorf(caxton.NotFound, "tool_not_found", "there is no tool %.80q", name)
	if near := s.Nearest(name); near != "" {
		return err.WithHint("did you mean %s?", near)
	}
	return err.WithHint("there are: %s", list(s.everything()))
}

// Granted is what one agent may use. What it grants does not change; the tools do. It is
// safe for concurrent use.
type Granted struct {
	set    *Set
	agent  string
	grants []caxton.ToolGrant
	config map[string]map[string]any // by the canonical name of the tool, or a pattern
}

// grant returns the grant for the tool of that name: the one that names it, or else the first
// pattern that allows it. When any of them asks for approval, it does.
func (g *Granted) grant(name string) (grant caxton.ToolGrant, ok bool) {
	approval, exact := false, false
	for _, t := range g.grants {
		if !t.Allows(name) {
			continue
		}
		approval = approval || t.Approval
		if _, pattern := t.Pattern(); !ok || !pattern && !exact {
			grant, ok, exact = t, true, !pattern
		}
	}
	if !ok || !g.set.permits(name) {
		return caxton.ToolGrant{}, false
	}
	grant.Approval = approval
	return grant, true
}

// now returns the granted tools there are now, sorted by name.
func (g *Granted) now() []*Entry {
	return slices.DeleteFunc(g.set.all(), func(e *Entry) bool { _, ok := g.grant(e.spec.Name); return !ok })
}

// Has reports whether the tool is granted and there now.
func (g *Granted) Has(name string) bool {
	_, ok := g.grant(name)
	return ok && g.set.entry(name) != nil
}

// Specs returns the specs of the granted tools that can be called now, sorted by name.
func (g *Granted) Specs() []Spec {
	specs := []Spec{}
	for _, e := range g.now() {
		if e.refusal == nil {
			specs = append(specs, e.spec)
		}
	}
	return specs
}

// IdempotentCall reports whether a call of the named tool with these arguments may be
// repeated under the same key after a crash. A tool that is not granted never runs, so
// repeating the call does no harm; one that may come is not taken for harmless.
func (g *Granted) IdempotentCall(name string, args json.RawMessage) bool {
	grant, ok := g.grant(name)
	if !ok {
		return true
	}
	if grant.Idempotent { // the author declares it
		return true
	}
	if e := g.set.entry(name); e != nil {
		return IdempotentCall(e.tool, args)
	}
	return !g.set.expects(grant)
}

// Call runs the named tool for the agent. The caller gives ID, Args, AgentID, Key and
// Results; Grant and Config come from the agent's definition. Text of the result is valid
// UTF-8 of at most MaxText bytes; where it was cut, it says so, and Body holds all of it.
//
// An error always has an *caxton.Error in its chain: Forbidden "tool_not_allowed", Malformed
// "arguments_malformed", Invalid "arguments_invalid" or "tool_config_invalid", Timeout
// "tool_timeout" when the call's own deadline passed, Canceled or Timeout when ctx ended,
// Internal "tool_panicked" or "tool_failed" when the tool broke, or what the tool or its
// Source said.
func (g *Granted) Call(ctx context.Context, name string, call Call) (Result, error) {
	grant, ok := g.grant(name)
	e := g.set.entry(name)
	if !ok || e == nil {
		return Result{}, g.refusal(name)
	}
	call.Grant, call.Config = grant, g.configOf(name, grant)
	return e.run(ctx, call, readers(g.now()))
}

// configOf returns the agent's settings of a tool: its own, or those of the grant's pattern.
func (g *Granted) configOf(name string, grant caxton.ToolGrant) map[string]any {
	if c := g.config[name]; c != nil {
		return c
	}
	return g.config[grant.Canonical()]
}

func (g *Granted) refusal(name string) error {
	why := "is not among the tools of this agent"
	switch {
	case g.set.entry(name) == nil && g.set.expects(caxton.ToolGrant{Name: name}):
		why = "is not there now"
	case g.set.entry(name) == nil:
		why = "does not exist"
	case !g.set.permits(name):
		why = "is not permitted on this server"
	}
	return caxton.Errorf(caxton.Forbidden, "tool_not_allowed", "the tool %.80q %s; allowed are: %s", name, why, list(namesOf(g.now()))).
		WithHint("to allow it, list it under tools in the agent's file, and permit it in the server's configuration")
}

// list prints names for a sentence.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// configTimeout reads the key timeout of an agent's tool_config: a duration such as "10s",
// or a number of seconds. Absent means MaxCallTime, which also bounds it.
func configTimeout(tool string, config map[string]any) (time.Duration, error) {
	v, ok := config["timeout"]
	if !ok {
		return MaxCallTime, nil
	}
	var d time.Duration
	var err error
	switch v := v.(type) {
	case string:
		d, err = caxton.ParseDuration(v)
	case time.Duration:
		d = v
	case caxton.Duration:
		d = v.Std()
	case int:
		d, err = caxton.ParseDuration(fmt.Sprintf("%ds", v))
	case int64:
		d, err = caxton.ParseDuration(fmt.Sprintf("%ds", v))
	case float64:
		d, err = caxton.ParseDuration(fmt.Sprintf("%fs", v))
	default:
		err = fmt.Errorf("a timeout cannot be a %T", v)
	}
	if err != nil || d <= 0 {
		return 0, caxton.Errorf(caxton.Invalid, "tool_config_invalid", "tool_config.%s.timeout of the agent is %v, which is not a duration above 0", tool, v).
			WithHint("write it like 500ms, 10s or 1m").WithCause(err)
	}
	return min(d, MaxCallTime), nil
}
