package scenario

import (
	"regexp"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
	"github.com/itchyny/gojq"
)

// The models that may answer in a test.
const (
	ModelScripted   = "scripted"   // rules of the test file, or of a script file
	ModelCassette   = "cassette"   // answers that a real model gave before
	ModelBuiltin    = "builtin"    // the built-in answerer
	ModelConfigured = "configured" // the real model of the agent
)

// A Suite is what a test file holds: the cases of one agent.
type Suite struct {
	Path string // the file, as issues name it

	Agent    Placed[string]           `key:"agent" doc:"The agent's file, seen from the test file; without it the file beside with the same stem."`
	With     Several[Placed[string]]  `key:"with" doc:"Files of other agents that take part, seen from the test file."`
	Model    Placed[string]           `key:"model" doc:"Who answers: scripted, cassette, builtin or configured."`
	Script   Placed[string]           `key:"script" doc:"File with rules of the scripted model."`
	Rules    Rules                    `key:"rules" doc:"Rules of the scripted model; they come before those of the script."`
	Cassette Placed[string]           `key:"cassette" doc:"File with recorded answers of a model."`
	Tools    map[string]Several[Stub] `key:"tools" doc:"What tools return, by name, instead of running."`
	Chaos    Chaos                    `key:"chaos" doc:"What goes wrong, in every case."`
	Network  bool                     `key:"network" doc:"Tools without a stub may reach the network."`
	Files    Placed[string]           `key:"files" doc:"Directory of file_read, seen from the test file; without it the file's own."`
	Now      time.Time                `key:"now" doc:"What the clock shows when a case begins; without it the time."`
	Memory   []Fact                   `key:"memory" doc:"What the agent remembers when a case begins; without it nothing."`
	Approval string                   `key:"approvals" oneof:"approve,deny" doc:"What becomes of calls that need approval; without it the turn waits, and the case fails when its time is over."`
	Timeout  caxton.Duration          `key:"timeout" min:"1ms" max:"24h" default:"30s" doc:"How long a case may take."`
	Cases    []Case                   `key:"cases" alias:"tests" required:"true" example:"cases: [{name: greets, input: Hello, expect: {contains: Hello}}]"`
}

// A Case is one test: a conversation with the agent, and what is expected of it.
type Case struct {
	At Place // of the case in the file

	Name         string                   `key:"name" required:"true" example:"name: greets by name"`
	Skip         string                   `key:"skip" doc:"Why the case is left out."`
	Input        Content                  `key:"input" doc:"What the agent is sent: text, or any content."`
	Performative Performative             `key:"performative" doc:"Of the input; request when absent."`
	Turns        []Turn                   `key:"turns" doc:"Several inputs of one conversation, instead of input."`
	Expect       Expect                   `key:"expect" doc:"Of the last reply, and of the calls of the whole conversation."`
	Rules        Rules                    `key:"rules" doc:"Rules that come before those of the file."`
	Tools        map[string]Several[Stub] `key:"tools" doc:"Stubs that replace those of the file, by name."`
	Chaos        Chaos                    `key:"chaos" doc:"What goes wrong, besides what the file says."`
	Memory       []Fact                   `key:"memory" doc:"What the agent remembers besides when the case begins."`
	Approval     string                   `key:"approvals" oneof:"approve,deny" doc:"What becomes of calls that need approval, instead of what the file says."`
	Timeout      caxton.Duration          `key:"timeout" min:"1ms" max:"24h" doc:"How long the case may take."`
}

// A Fact is something that the agent remembers. Its words are those of the tool memory_store.
type Fact struct {
	At Place

	Entity    string    `key:"entity" required:"true" max:"512" example:"entity: Ann" doc:"Whom or what it is about, by name."`
	Type      string    `key:"type" max:"128" doc:"What sort of thing that is: person, project, place."`
	Fact      string    `key:"fact" required:"true" example:"fact: Ann lives in Porto." doc:"What is remembered, as a sentence."`
	About     string    `key:"about" max:"128" doc:"Which property it tells: a later fact about the same property takes its place."`
	ValidFrom time.Time `key:"valid_from" doc:"Since when it is true."`
	ValidTo   time.Time `key:"valid_to" doc:"Until when it was true."`
	Scope     string    `key:"scope" oneof:"agent,workspace,global" doc:"Who shares it; without it the widest that the agent sees."`
}

// A Turn is one input and what is expected of its reply.
type Turn struct {
	Input        Content      `key:"input" doc:"What the agent is sent: text, or any content."`
	Performative Performative `key:"performative" doc:"Of the input; request when absent."`
	Expect       Expect       `key:"expect" doc:"Of the reply, and of the calls of this turn."`
}

// Expect says what must hold. What is absent is not checked, except that a reply must not
// be a failure unless the expectation says so.
type Expect struct {
	Performative Performative            `key:"performative" doc:"Of the reply."`
	NoReply      Placed[bool]            `key:"no_reply" doc:"There is no reply at all."`
	ErrorCode    Placed[string]          `key:"error_code" doc:"The turn fails with this code."`
	Equals       Placed[string]          `key:"equals" doc:"The text of the reply, but for white space around it."`
	Contains     Several[Placed[string]] `key:"contains" doc:"The text has each of these in it."`
	NotContains  Several[Placed[string]] `key:"not_contains" doc:"The text has none of these in it."`
	Matches      Several[Pattern]        `key:"matches" doc:"The text fits each of these regular expressions."`
	Content      Several[ContentCheck]   `key:"content" doc:"Parts of the content, as JSON."`
	Tools        Several[ToolCheck]      `key:"tools" doc:"Tools that are called."`
	ToolsInOrder Placed[bool]            `key:"tools_in_order" doc:"The calls of tools come in the order given; others may come between."`
	NoOtherTools Placed[bool]            `key:"no_other_tools" doc:"No calls but those of tools."`
	NeverTools   Several[Placed[string]] `key:"never_tools" doc:"Tools that are not called."`
	MaxToolCalls Placed[*int]            `key:"max_tool_calls" doc:"At most so many calls of tools."`
	MaxModel     Placed[*int]            `key:"max_model_calls" doc:"At most so many calls of the model."`
	MaxTokens    Placed[*int]            `key:"max_tokens" doc:"At most so many tokens, in and out."`
	MaxDuration  Placed[caxton.Duration] `key:"max_duration" doc:"The turn takes no longer."`
}

// A ContentCheck looks at a part of the reply's content. A text that holds JSON, bare or in
// a fenced block, is read as JSON.
type ContentCheck struct {
	At Place

	Path     Path           `key:"path" required:"true" example:"path: .items[0].name" doc:"Which part: a query in the language of jq; $.a.b is .a.b."`
	Equals   any            `key:"equals" doc:"It is this."`
	Contains Placed[string] `key:"contains" doc:"Its text has this in it."`
	Matches  Pattern        `key:"matches" doc:"Its text fits this regular expression."`
	Exists   *bool          `key:"exists" doc:"It is there and not null, or it is not."`
}

// A ToolCheck expects calls of a tool.
type ToolCheck struct {
	At Place

	Name      string         `key:"name" alias:"tool" required:"true" example:"name: calculator" doc:"Which tool."`
	Arguments map[string]any `key:"arguments" doc:"The call has these arguments; it may have more."`
	Exact     bool           `key:"exact" doc:"The call has no further arguments."`
	Fails     *bool          `key:"fails" doc:"The call returns an error, or it does not."`
	Times     *int           `key:"times" min:"0" max:"1000" doc:"Exactly so many such calls; without it at least one."`
}

// A Stub is what a tool returns instead of running. The first whose condition fits answers.
type Stub struct {
	At Place

	When      map[string]any `key:"when" doc:"Only calls that have these arguments; they may have more."`
	Returns   any            `key:"returns" doc:"What the model reads: text, or any value, written as JSON."`
	Body      string         `key:"body" doc:"The full result, for tools that read earlier results."`
	MediaType string         `key:"media_type" doc:"Of body, such as text/csv."`
	Error     string         `key:"error" doc:"The call fails, and the model reads this."`
	Kind      string         `key:"kind" oneof:"malformed,invalid,unauthenticated,forbidden,not_found,conflict,too_large,exhausted,internal,unavailable,timeout" default:"unavailable" doc:"Of the error."`
	Times     int            `key:"times" min:"1" max:"1000000" doc:"It answers so often, then the next one does; without it always."`
}

// Chaos says what goes wrong between an agent, its tools and its model.
type Chaos struct {
	DropTool   Several[Placed[string]] `key:"drop_tool" doc:"Tools that are taken away: the model is not told of them, and calls are refused."`
	Delay      Several[Delay]          `key:"delay" doc:"Calls that come late."`
	Error      Several[Fault]          `key:"error" doc:"Calls that fail."`
	ModelDelay caxton.Duration         `key:"model_delay" max:"24h" doc:"How late the model answers."`
	ModelError ModelFault              `key:"model_error" doc:"Calls of the model that fail."`
}

// A Delay makes the calls of a tool late.
type Delay struct {
	Tool Placed[string]  `key:"tool" required:"true" doc:"Which tool."`
	By   caxton.Duration `key:"by" required:"true" min:"1us" max:"24h" example:"by: 2s" doc:"How late."`
}

// A Fault makes calls of a tool fail.
type Fault struct {
	Tool    Placed[string] `key:"tool" required:"true" doc:"Which tool."`
	Message string         `key:"message" default:"the tool is out of order" doc:"What the model reads."`
	Kind    string         `key:"kind" oneof:"malformed,invalid,unauthenticated,forbidden,not_found,conflict,too_large,exhausted,internal,unavailable,timeout" default:"unavailable" doc:"Of the error."`
	Times   int            `key:"times" min:"1" max:"1000000" doc:"The first so many calls; without it all."`
}

// A ModelFault makes calls of the model fail.
type ModelFault struct {
	Message string `key:"message" doc:"What the error says."`
	Kind    string `key:"kind" oneof:"malformed,invalid,unauthenticated,forbidden,not_found,conflict,too_large,exhausted,internal,unavailable,timeout" default:"unavailable" doc:"Of the error: unavailable, exhausted and timeout are tried again."`
	Times   int    `key:"times" min:"1" max:"1000000" doc:"The first so many calls; without it all."`

	given bool
}

// UnmarshalNode notes that there is a fault.
func (f *ModelFault) UnmarshalNode(n *tree.Node, _ string, o tree.DecodeOptions) []caxton.Issue {
	type plain ModelFault
	issues := tree.Decode(n, (*plain)(f), o)
	f.given = true
	return issues
}

// UnmarshalNode reads a case and notes its place.
func (c *Case) UnmarshalNode(n *tree.Node, _ string, o tree.DecodeOptions) []caxton.Issue {
	type plain Case
	issues := tree.Decode(n, (*plain)(c), o)
	c.At = placeOf(n)
	return issues
}

// UnmarshalNode reads a fact and notes its place.
func (f *Fact) UnmarshalNode(n *tree.Node, _ string, o tree.DecodeOptions) []caxton.Issue {
	type plain Fact
	issues := tree.Decode(n, (*plain)(f), o)
	f.At = placeOf(n)
	return issues
}

// UnmarshalNode reads a check and notes its place.
func (c *ContentCheck) UnmarshalNode(n *tree.Node, _ string, o tree.DecodeOptions) []caxton.Issue {
	type plain ContentCheck
	issues := tree.Decode(n, (*plain)(c), o)
	c.At = placeOf(n)
	return issues
}

// UnmarshalNode reads a check, or the name of a tool alone, and notes its place.
func (c *ToolCheck) UnmarshalNode(n *tree.Node, _ string, o tree.DecodeOptions) []caxton.Issue {
	c.At = placeOf(n)
	if n.Kind == tree.String {
		return tree.Decode(n, &c.Name, o)
	}
	type plain ToolCheck
	return tree.Decode(n, (*plain)(c), o)
}

// UnmarshalNode reads a stub and notes its place.
func (s *Stub) UnmarshalNode(n *tree.Node, _ string, o tree.DecodeOptions) []caxton.Issue {
	type plain Stub
	issues := tree.Decode(n, (*plain)(s), o)
	s.At = placeOf(n)
	return issues
}

// Lasts returns how long a case of the suite may take.
func (s *Suite) Lasts(c *Case) time.Duration {
	switch {
	case c.Timeout > 0:
		return c.Timeout.Std()
	case s.Timeout > 0:
		return s.Timeout.Std()
	}
	return 30 * time.Second
}

// A Place is where something stands in the test file; zero when it comes from elsewhere.
type Place struct{ Line, Column int }

func placeOf(n *tree.Node) Place { return Place{n.Line, n.Column} }

// A Placed is a value that knows where the file says it.
type Placed[T any] struct {
	Value T
	At    Place
}

// UnmarshalNode reads the value.
func (p *Placed[T]) UnmarshalNode(n *tree.Node, _ string, o tree.DecodeOptions) []caxton.Issue {
	p.At = placeOf(n)
	return tree.Decode(n, &p.Value, o)
}

// Several is one value, or a list of them.
type Several[T any] []T

// UnmarshalNode reads either form.
func (s *Several[T]) UnmarshalNode(n *tree.Node, key string, o tree.DecodeOptions) []caxton.Issue {
	if n.Kind == tree.List {
		return tree.Decode(n, (*[]T)(s), o)
	}
	one := make([]T, 1)
	o.Prefix = key
	issues := tree.Decode(n, &one[0], o)
	*s = one
	return issues
}

// A Content is what an agent is sent.
type Content struct {
	At    Place
	Value any // as encoding/json reads it
	Given bool
}

// UnmarshalNode reads any value.
func (c *Content) UnmarshalNode(n *tree.Node, _ string, _ tree.DecodeOptions) []caxton.Issue {
	c.At, c.Value, c.Given = placeOf(n), n.Plain(), true
	return nil
}

// A Performative is one that the vocabulary knows, or "".
type Performative struct {
	At    Place
	Value caxton.Performative
}

// UnmarshalNode reads a performative.
func (p *Performative) UnmarshalNode(n *tree.Node, key string, o tree.DecodeOptions) []caxton.Issue {
	var s string
	if issues := tree.Decode(n, &s, o); len(issues) > 0 {
		return issues
	}
	p.At = placeOf(n)
	var err error
	if p.Value, err = caxton.ParsePerformative(s); err != nil {
		return fault(n, key, o, key+": "+err.Error(), nearest(s))
	}
	return nil
}

func nearest(s string) string {
	names := make([]string, 0, 20)
	for _, p := range caxton.Performatives() {
		names = append(names, string(p))
	}
	if near := tree.Nearest(s, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "use inform, request, failure or another word of FIPA ACL"
}

// A Pattern is a regular expression.
type Pattern struct {
	At Place
	re *regexp.Regexp
}

// UnmarshalNode compiles an expression.
func (p *Pattern) UnmarshalNode(n *tree.Node, key string, o tree.DecodeOptions) []caxton.Issue {
	var s string
	if issues := tree.Decode(n, &s, o); len(issues) > 0 {
		return issues
	}
	p.At = placeOf(n)
	re, err := regexp.Compile(s)
	if err != nil {
		return fault(n, key, o, key+": the regular expression cannot be read: "+reason(err), "write it in single quotes, in the syntax of RE2")
	}
	p.re = re
	return nil
}

// A Path is a compiled query.
type Path struct {
	text string
	code *gojq.Code
}

// UnmarshalNode compiles a query. It has no access to files, modules or the environment.
func (p *Path) UnmarshalNode(n *tree.Node, key string, o tree.DecodeOptions) []caxton.Issue {
	if issues := tree.Decode(n, &p.text, o); len(issues) > 0 {
		return issues
	}
	code, err := compile(p.text)
	if err != nil {
		return fault(n, key, o, key+": the query cannot be read: "+err.Error(), "write it in the language of jq, such as .items[0].name")
	}
	p.code = code
	return nil
}

func compile(text string) (*gojq.Code, error) {
	if len(text) > 1 && text[0] == '$' && (text[1] == '.' || text[1] == '[') { // the way of JSONPath
		text = "." + text[1:]
		if text[1] == '.' {
			text = text[1:]
		}
	}
	query, err := gojq.Parse(text)
	if err != nil {
		return nil, err
	}
	return gojq.Compile(query)
}

// Rules are the rules of a scripted model, which the model itself reads.
type Rules struct {
	Node *tree.Node // nil without rules
	Key  string     // where they stand
}

// UnmarshalNode keeps the rules as they are.
func (r *Rules) UnmarshalNode(n *tree.Node, key string, _ tree.DecodeOptions) []caxton.Issue {
	r.Node, r.Key = n, key
	return nil
}

func fault(n *tree.Node, key string, o tree.DecodeOptions, message, hint string) []caxton.Issue {
	return []caxton.Issue{{Path: o.Path, Line: n.Line, Column: n.Column, Key: key, Message: message, Hint: hint}}
}
