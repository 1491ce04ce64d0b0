package tool

import (
	"regexp"

	"github.com/caxton/caxton"
)

// A Source has tools that come, change and go while the server runs. *mcp.Servers provides
// it. It is safe for concurrent use.
type Source interface {
	// Tools returns the tools there are now, sorted by name.
	Tools() []*Entry
	// Tool returns the named tool, or nil.
	Tool(name string) *Entry
	// Expects reports whether tools that the grant allows may come: whoever has them is
	// configured.
	Expects(g caxton.ToolGrant) bool
}

var foreignForm = regexp.MustCompile(`^` + caxton.MCPPrefix + `[A-Za-z0-9_-]{1,59}$`)

// An Entry is one tool with its schema compiled. It does not change.
type Entry struct {
	tool    Tool
	spec    Spec
	schema  *schema
	refusal *caxton.Error // why it may not be called now
	reads   bool          // takes the result of an earlier call as "from"
}

// NewEntry returns a tool of a Source, ready to be called. An error says what is wrong with
// its name or schema; such a tool can still be shown, see NewRefused.
func NewEntry(t Tool) (*Entry, error) { return newEntry(t, foreignForm) }

// NewRefused returns a tool of a Source that is there but may not be called, and what a
// caller is told.
func NewRefused(t Tool, why *caxton.Error) *Entry {
	return &Entry{tool: t, spec: t.Spec(), refusal: why}
}

func newEntry(t Tool, form *regexp.Regexp) (*Entry, error) {
	spec := t.Spec()
	if !form.MatchString(spec.Name) || len(spec.Name) > 64 {
		return nil, caxton.Errorf(caxton.Invalid, "tool_name_invalid", "%.80q is not a name for a tool", spec.Name).
			WithHint("use lower-case words joined by underscores, at most 64 bytes")
	}
	sch, err := compile(spec.Parameters)
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "tool_schema_invalid", "the parameters of tool %q are not a JSON Schema of an object", spec.Name).WithCause(err)
	}
	return &Entry{tool: t, spec: spec, schema: sch, reads: sch.root.Properties["from"] != nil}, nil
}

// Spec returns what the tool says of itself.
func (e *Entry) Spec() Spec { return e.spec }
