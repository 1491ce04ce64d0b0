package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/caxton/caxton/internal/tree"
)

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts the values of variables into every text of the document: ${NAME}, or
// ${NAME:-text} for a text that holds when the variable is not set or empty. $$ is a dollar
// sign. What comes in is not looked through again. A text for which a variable is missing is
// reported and taken out, so that nothing else is said about it.
func (s *source) expand(lookup func(name string) (string, bool)) {
	s.expandIn(s.doc, "", lookup)
}

// expandIn reports whether n may stay.
func (s *source) expandIn(n *tree.Node, path string, lookup func(string) (string, bool)) bool {
	switch n.Kind {
	case tree.Map:
		kept := n.Fields[:0:0]
		for _, f := range n.Fields {
			if s.expandIn(f.Node, join(path, f.Key), lookup) {
				kept = append(kept, f)
			}
		}
		n.Fields = kept
	case tree.List:
		kept := n.Items[:0:0]
		for i, item := range n.Items {
			if s.expandIn(item, path+"["+strconv.Itoa(i)+"]", lookup) {
				kept = append(kept, item)
			}
		}
		n.Items = kept
	case tree.String:
		text, _ := n.Value.(string)
		if !strings.Contains(text, "$") {
			return true
		}
		faults := len(s.issues)
		n.Value, n.Text = s.expandText(text, n, path, lookup), ""
		return len(s.issues) == faults
	case tree.Null, tree.Bool, tree.Int, tree.Float:
	}
	return true
}

func (s *source) expandText(text string, n *tree.Node, path string, lookup func(string) (string, bool)) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
			continue
		case !strings.HasPrefix(rest, "{"):
			b.WriteByte('$')
			text = rest
			continue
		}
		inside, after, closed := strings.Cut(rest[1:], "}")
		name, fallback, hasFallback := strings.Cut(inside, ":-")
		if !closed || !variableForm.MatchString(name) {
			s.issue(n.Line, n.Column, path, fmt.Sprintf("%s: a variable is written ${NAME}", path), "write $$ for a dollar sign that is meant as such")
			return b.String()
		}
		value, ok := lookup(name)
		switch {
		case hasFallback && value == "":
			value = fallback
		case !ok:
			s.issue(n.Line, n.Column, path, fmt.Sprintf("%s: the variable %s is not set", path, name),
				fmt.Sprintf("set %s in the environment of the server, or write ${%s:-text} to give a text for when it is not set", name, name))
		}
		b.WriteString(value)
		text = after
	}
}
