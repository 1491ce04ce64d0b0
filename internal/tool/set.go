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

// A Set holds the tools of a server and knows which of them the server permits. It does not
// change and is safe for concurrent use.
type Set struct {
	entries map[string]*entry
	names   []string // of all tools, sorted
}

// An entry is one tool with its schema compiled.
type entry struct {
	tool      Tool
	spec      Spec
	schema    *schema
	permitted bool
	reads     bool // takes the result of an earlier call as "from"
}

// NewSet returns the Set of tools of which permitted names those that may be used: nil
// permits all, an empty list none. It fails with Invalid when permitted names a tool that is
// not there, when two tools share a name, or when a name or a schema is not well formed.
func NewSet(permitted []string, tools ...Tool) (*Set, error) {
	s := &Set{entries: make(map[string]*entry, len(tools))}
	for _, t := range tools {
		spec := t.Spec()
		if !nameForm.MatchString(spec.Name) || len(spec.Name) > 64 {
			return nil, caxton.Errorf(caxton.Invalid, "tool_name_invalid", "%.80q is not a name for a tool", spec.Name).
				WithHint("use lower-case words joined by underscores, at most 64 bytes")
		}
		if s.entries[spec.Name] != nil {
			return nil, caxton.Errorf(caxton.Invalid, "tool_duplicate", "two tools are named %q", spec.Name)
		}
		sch, err := compile(spec.Parameters)
		if err != nil {
			return nil, caxton.Errorf(caxton.Invalid, "tool_schema_invalid", "the parameters of tool %q are not a JSON Schema of an object", spec.Name).WithCause(err)
		}
		s.entries[spec.Name] = &entry{tool: t, spec: spec, schema: sch, permitted: permitted == nil, reads: sch.root.Properties["from"] != nil}
		s.names = append(s.names, spec.Name)
	}
	slices.Sort(s.names)
	for _, name := range permitted {
		e := s.entries[name]
		if e == nil {
			err := s.unknown(name)
			err.Kind = caxton.Invalid // it is the configuration that is wrong
			return nil, err
		}
		e.permitted = true
	}
	return s, nil
}

// All returns the specs of the permitted tools, sorted by name.
func (s *Set) All() []Spec {
	specs := []Spec{}
	for _, name := range s.names {
		if e := s.entries[name]; e.permitted {
			specs = append(specs, e.spec)
		}
	}
	return specs
}

// Get returns the named tool when it is there and permitted.
func (s *Set) Get(name string) (Tool, bool) {
	e := s.entries[name]
	if e == nil || !e.permitted {
		return nil, false
	}
	return e.tool, true
}

// Known reports whether there is a tool of that name, and whether the server permits it.
func (s *Set) Known(name string) (known, permitted bool) {
	e := s.entries[name]
	return e != nil, e != nil && e.permitted
}

// Nearest returns the tool whose name is most like name, or "" when none is near.
func (s *Set) Nearest(name string) string { return tree.Nearest(name, s.names) }

// Run runs a tool for a person rather than an agent: only the server's policy counts, and
// call.Grant and call.Config hold as given. Its errors are those of Granted.Call, but for a
// tool that is not there, which is NotFound "tool_not_found", and one the server does not
// permit, which is Forbidden "tool_not_permitted".
func (s *Set) Run(ctx context.Context, name string, call Call) (Result, error) {
	e := s.entries[name]
	if e == nil {
		return Result{}, s.unknown(name)
	}
	if !e.permitted {
		return Result{}, caxton.Errorf(caxton.Forbidden, "tool_not_permitted", "this server does not permit the tool %q", name).
			WithHint("permitted are: %s", list(s.permittedNames()))
	}
	if call.Grant.Name == "" {
		call.Grant.Name = name
	}
	return e.run(ctx, call, s.readers(func(string) bool { return true }))
}

// For returns the tools that an agent may use: those its definition lists, as far as the
// server permits them. Listed tools that are unknown or not permitted are left out; to tell
// people about them is the part of whoever deploys the definition.
func (s *Set) For(def *caxton.Definition) *Granted {
	g := &Granted{set: s, agent: def.Name, grants: make(map[string]caxton.ToolGrant, len(def.Tools)), config: def.ToolConfig}
	for _, grant := range def.Tools {
		if _, twice := g.grants[grant.Name]; twice {
			continue
		}
		if _, ok := s.Get(grant.Name); ok {
			g.grants[grant.Name] = grant
			g.names = append(g.names, grant.Name)
		}
	}
	slices.Sort(g.names)
	g.readers = s.readers(func(name string) bool { _, ok := g.grants[name]; return ok })
	return g
}

func (s *Set) permittedNames() []string {
	return slices.DeleteFunc(slices.Clone(s.names), func(n string) bool { return !s.entries[n].permitted })
}

// readers returns the permitted tools that read earlier results, of those that may names.
func (s *Set) readers(may func(name string) bool) []string {
	return slices.DeleteFunc(s.permittedNames(), func(n string) bool { return !s.entries[n].reads || !may(n) })
}

func (s *Set) unknown(name string) *caxton.Error {
	err := caxton.Errorf(caxton.NotFound, "tool_not_found", "there is no tool %.80q", name)
	if near := s.Nearest(name); near != "" {
		return err.WithHint("did you mean %s?", near)
	}
	return err.WithHint("there are: %s", list(s.names))
}

// Granted is what one agent may use. It does not change and is safe for concurrent use.
type Granted struct {
	set     *Set
	agent   string
	grants  map[string]caxton.ToolGrant
	config  map[string]map[string]any
	names   []string // sorted
	readers []string // those of names that read earlier results
}

// Specs returns the specs of the granted tools, sorted by name.
func (g *Granted) Specs() []Spec {
	specs := make([]Spec, 0, len(g.names))
	for _, name := range g.names {
		specs = append(specs, g.set.entries[name].spec)
	}
	return specs
}

// IdempotentCall reports whether a call of the named tool with these arguments may be
// repeated under the same key after a crash. A tool that is not granted never runs, so
// repeating the call does no harm.
func (g *Granted) IdempotentCall(name string, args json.RawMessage) bool {
	if _, ok := g.grants[name]; !ok {
		return true
	}
	return g.declared(name) || IdempotentCall(g.set.entries[name].tool, args)
}

// Call runs the named tool for the agent. The caller gives ID, Args, AgentID, Key and
// Results; Grant and Config come from the agent's definition. Text of the result is valid
// UTF-8 of at most MaxText bytes; where it was cut, it says so, and Body holds all of it.
//
// An error always has an *caxton.Error in its chain: Forbidden "tool_not_allowed", Malformed
// "arguments_malformed", Invalid "arguments_invalid" or "tool_config_invalid", Timeout
// "tool_timeout" when the call's own deadline passed, Canceled or Timeout when ctx ended,
// Internal "tool_panicked" or "tool_failed" when the tool broke, or what the tool said.
func (g *Granted) Call(ctx context.Context, name string, call Call) (Result, error) {
	grant, ok := g.grants[name]
	if !ok {
		return Result{}, g.refusal(name)
	}
	call.Grant, call.Config = grant, g.config[name]
	return g.set.entries[name].run(ctx, call, g.readers)
}

func (g *Granted) refusal(name string) error {
	why := "is not among the tools of this agent"
	switch known, permitted := g.set.Known(name); {
	case !known:
		why = "does not exist"
	case !permitted:
		why = "is not permitted on this server"
	}
	return caxton.Errorf(caxton.Forbidden, "tool_not_allowed", "the tool %.80q %s; allowed are: %s", name, why, list(g.names)).
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
