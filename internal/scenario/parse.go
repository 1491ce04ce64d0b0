package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// MaxSize is the size of the largest test file, in bytes.
const MaxSize = 4 << 20

// Options give Parse the checks that need to know more than the file. The zero Options
// leave these checks out.
type Options struct {
	// Rules returns every fault of the rules of a scripted model.
	Rules func(n *tree.Node, key, path string) []caxton.Issue
}

// Parse reads a test file; the path names it in issues, and its extension tells the notation:
// YAML, TOML or JSON. It returns every issue it finds, in the order of the file; with any
// that is not a warning the Suite must not be played.
func Parse(path string, data []byte, o Options) (*Suite, []caxton.Issue) {
	p := &parser{o: o, suite: &Suite{Path: path}}
	p.parse(data)
	slices.SortStableFunc(p.issues, func(a, b caxton.Issue) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p.suite, p.issues
}

// Load reads a test file from disk. Errors: NotFound, TooLarge.
func Load(path string, o Options) (*Suite, []caxton.Issue, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > MaxSize {
		return nil, nil, caxton.Errorf(caxton.TooLarge, "test_file_too_large", "%s has %d bytes, %s is the limit", path, st.Size(), caxton.Size(MaxSize))
	}
	data, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if err != nil {
		return nil, nil, caxton.Errorf(caxton.NotFound, "test_file_unreadable", "the test file %s cannot be read", path).WithCause(err)
	}
	s, issues := Parse(path, data, o)
	return s, issues, nil
}

// Err returns one Invalid error, code "test_invalid", with the issues that are not warnings,
// or nil when there are none.
func Err(issues []caxton.Issue) error {
	faults := slices.DeleteFunc(slices.Clone(issues), func(i caxton.Issue) bool { return i.Warning })
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b caxton.Issue) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	number := "a fault"
	if len(faults) > 1 {
		number = strconv.Itoa(len(faults)) + " faults"
	}
	e := caxton.Errorf(caxton.Invalid, "test_invalid", "the tests have %s; none was run", number).WithHint("mend what the issues name, then try again")
	e.Issues = faults
	return e
}

// A parser is the state of one Parse.
type parser struct {
	o      Options
	suite  *Suite
	formal map[Place]bool // where the form has faults
	issues []caxton.Issue
}

// issue notes a fault, unless one of the form stands at the same place: it led to this one.
func (p *parser) issue(at Place, key, message, hint string) {
	if p.formal[at] || at == (Place{}) && len(p.formal) > 0 {
		return
	}
	p.issues = append(p.issues, caxton.Issue{Path: p.suite.Path, Line: at.Line, Column: at.Column, Key: key, Message: message, Hint: hint})
}

func notation(path string) tree.Format {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return tree.JSON
	case ".toml":
		return tree.TOML
	}
	return tree.YAML
}

func (p *parser) parse(data []byte) {
	if len(data) > MaxSize {
		p.issue(Place{1, 1}, "", fmt.Sprintf("the file has %d bytes; a test file may have %s", len(data), caxton.Size(MaxSize)), "make two of it")
		return
	}
	root, issues := tree.Parse(notation(p.suite.Path), p.suite.Path, data)
	p.issues = append(p.issues, issues...)
	if root == nil {
		return
	}
	if root.Kind != tree.Map {
		p.issue(placeOf(root), "", "a test file is a table of keys and values, not "+root.Kind.String(), "begin with cases: and a list of tests")
		return
	}
	p.issues = append(p.issues, tree.Decode(root, p.suite, tree.DecodeOptions{Path: p.suite.Path})...)
	p.formal = map[Place]bool{}
	for _, i := range p.issues {
		p.formal[Place{i.Line, i.Column}] = true
	}
	p.check()
}

// check finds what the form alone does not tell.
func (p *parser) check() {
	s := p.suite
	p.model(s)
	p.rules(s.Rules)
	p.stubs("tools", s.Tools)
	chaos(&s.Chaos)
	names := map[string]Place{}
	for i := range s.Cases {
		c := &s.Cases[i]
		key := fmt.Sprintf("cases[%d]", i)
		if first, twice := names[c.Name]; twice && c.Name != "" {
			p.issue(c.At, key+".name", fmt.Sprintf("two cases are named %q; the first is in line %d", c.Name, first.Line), "give each a name of its own")
		}
		names[c.Name] = c.At
		switch {
		case len(c.Turns) > 0 && c.Input.Given:
			p.issue(c.Input.At, key+".input", key+" has both input and turns", "make the input the first of the turns")
		case len(c.Turns) == 0 && !c.Input.Given:
			p.issue(c.At, key+".input", key+" has no input", "write what the agent is sent: input: Hello")
		case len(c.Turns) > 0 && c.Performative.Value != "":
			p.issue(c.Performative.At, key+".performative", key+".performative has no effect beside turns", "say it in a turn")
		}
		p.rules(c.Rules)
		p.stubs(key+".tools", c.Tools)
		chaos(&c.Chaos)
		p.expect(key+".expect", &c.Expect)
		for j := range c.Turns {
			t := &c.Turns[j]
			if !t.Input.Given {
				p.issue(c.At, fmt.Sprintf("%s.turns[%d].input", key, j), fmt.Sprintf("%s.turns[%d] has no input", key, j), "write what the agent is sent: input: Hello")
			}
			p.expect(fmt.Sprintf("%s.turns[%d].expect", key, j), &t.Expect)
		}
	}
}

// model settles who answers.
func (p *parser) model(s *Suite) {
	scripted := s.Script.Value != "" || s.Rules.Node != nil
	for i := range s.Cases {
		scripted = scripted || s.Cases[i].Rules.Node != nil
	}
	switch m := &s.Model; m.Value {
	case "":
		switch {
		case scripted:
			m.Value = ModelScripted
		case s.Cassette.Value != "":
			m.Value = ModelCassette
		case len(s.Cases) > 0:
			p.issue(Place{1, 1}, "model", "nothing says who answers", "write rules:, script:, cassette:, or model: builtin")
		}
	case ModelScripted:
		if !scripted {
			p.issue(m.At, "model", "the scripted model has no rules", "write rules: or script:")
		}
	case ModelCassette, ModelBuiltin, ModelConfigured:
		if scripted {
			p.issue(m.At, "model", "rules have no effect on the model "+m.Value, "take them out, or write model: scripted")
		}
	default:
		hint := "use scripted, cassette, builtin or configured"
		if near := tree.Nearest(m.Value, []string{ModelScripted, ModelCassette, ModelBuiltin, ModelConfigured}); near != "" {
			hint = "did you mean " + near + "?"
		}
		p.issue(m.At, "model", fmt.Sprintf("model must be scripted, cassette, builtin or configured, not %q", m.Value), hint)
	}
}

func (p *parser) rules(r Rules) {
	if r.Node != nil && p.o.Rules != nil {
		p.issues = append(p.issues, p.o.Rules(r.Node, r.Key, p.suite.Path)...)
	}
}

func (p *parser) stubs(key string, stubs map[string]Several[Stub]) {
	for name, several := range stubs {
		for _, s := range several {
			given := 0
			for _, is := range []bool{s.Returns != nil, s.Error != "", s.Body != "" && s.Returns == nil} {
				if is {
					given++
				}
			}
			if given != 1 {
				p.issue(s.At, key+"."+name, fmt.Sprintf("the stub of %s needs either returns or error", name), "write returns: and what the tool returns")
			}
		}
	}
}

// chaos gives a fault of the model a message.
func chaos(c *Chaos) {
	if c.ModelError.given && c.ModelError.Message == "" {
		c.ModelError.Message = "the model is out of order"
	}
}

// expect looks for what makes an expectation empty or contradict itself.
func (p *parser) expect(key string, e *Expect) {
	for _, t := range []struct {
		name string
		list Several[Placed[string]]
	}{{"contains", e.Contains}, {"not_contains", e.NotContains}, {"never_tools", e.NeverTools}} {
		for _, s := range t.list {
			if s.Value == "" {
				p.issue(s.At, key+"."+t.name, key+"."+t.name+" is empty: it says nothing", "write a text, or take it out")
			}
		}
	}
	if e.NoReply.Value && (e.Performative.Value != "" || e.Equals.At != Place{} || len(e.Contains)+len(e.NotContains)+len(e.Matches)+len(e.Content) > 0) {
		p.issue(e.NoReply.At, key+".no_reply", key+" expects no reply, and something of the reply", "take one of them out")
	}
	for i := range e.Content {
		c := &e.Content[i]
		if c.Equals == nil && c.Contains.Value == "" && c.Matches.re == nil && c.Exists == nil {
			p.issue(c.At, fmt.Sprintf("%s.content[%d]", key, i), "the check of the content says nothing", "write equals, contains, matches or exists")
		}
	}
	for i := range e.Tools {
		c := &e.Tools[i]
		if c.Exact && c.Arguments == nil {
			p.issue(c.At, fmt.Sprintf("%s.tools[%d].exact", key, i), "exact without arguments says nothing", "write arguments, or arguments: {} for none")
		}
	}
	if (e.ToolsInOrder.Value || e.NoOtherTools.Value) && len(e.Tools) == 0 {
		at := e.ToolsInOrder.At
		if !e.ToolsInOrder.Value {
			at = e.NoOtherTools.At
		}
		p.issue(at, key+".tools", key+".tools is missing: there are no calls to compare with", "list the tools, or write max_tool_calls: 0")
	}
	for _, m := range []struct {
		name string
		max  Placed[*int]
	}{{"max_tool_calls", e.MaxToolCalls}, {"max_model_calls", e.MaxModel}, {"max_tokens", e.MaxTokens}} {
		if m.max.Value != nil && *m.max.Value < 0 {
			p.issue(m.max.At, key+"."+m.name, key+"."+m.name+" must be at least 0", "")
		}
	}
}

// CheckTools returns an issue for each name of a tool that says nothing: stubs and chaos are
// for the tools that the agent has, expectations may also name others that known knows.
func (s *Suite) CheckTools(has []string, known func(name string) bool) []caxton.Issue {
	var issues []caxton.Issue
	seen := map[caxton.Issue]bool{}
	missing := func(name string, at Place, message string) {
		i := caxton.Issue{Path: s.Path, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(message, name), Hint: "its file lists the tools of an agent"}
		if near := tree.Nearest(name, has); near != "" {
			i.Hint = "did you mean " + near + "?"
		}
		if name != "" && !seen[i] {
			seen[i] = true
			issues = append(issues, i)
		}
	}
	own := func(name string, at Place) {
		if !slices.Contains(has, name) {
			missing(name, at, "the agent has no tool %.80q")
		}
	}
	named := func(name string, at Place) {
		if !slices.Contains(has, name) && !known(name) {
			missing(name, at, "there is no tool %.80q")
		}
	}
	stubs := func(m map[string]Several[Stub]) {
		for name, several := range m {
			for _, stub := range several {
				own(name, stub.At)
			}
		}
	}
	chaos := func(c *Chaos) {
		for _, d := range c.DropTool {
			own(d.Value, d.At)
		}
		for _, d := range c.Delay {
			own(d.Tool.Value, d.Tool.At)
		}
		for _, f := range c.Error {
			own(f.Tool.Value, f.Tool.At)
		}
	}
	expect := func(e *Expect) {
		for _, t := range e.Tools {
			named(t.Name, t.At)
		}
		for _, n := range e.NeverTools {
			named(n.Value, n.At)
		}
	}
	stubs(s.Tools)
	chaos(&s.Chaos)
	for i := range s.Cases {
		c := &s.Cases[i]
		stubs(c.Tools)
		chaos(&c.Chaos)
		expect(&c.Expect)
		for j := range c.Turns {
			expect(&c.Turns[j].Expect)
		}
	}
	slices.SortFunc(issues, func(a, b caxton.Issue) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return issues
}

// reason returns what is wrong with a regular expression, without naming the package.
func reason(err error) string {
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return e.Code.String() + ": " + e.Expr
	}
	return err.Error()
}
