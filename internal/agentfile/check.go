package agentfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

func (p *parser) checkName(name string) {
	line, column := p.at("name")
	switch {
	case name == "":
	case strings.TrimSpace(name) != name:
		p.issue(line, column, "name", "name begins or ends with a space", "write "+strings.TrimSpace(name))
	case !nameForm.MatchString(name):
		p.issue(line, column, "name", quoted(name)+" is not a name for an agent", "use letters, digits, spaces, - _ and . , as in DataAnalyzer")
	case caxton.Slug(name) == "":
		p.issue(line, column, "name", quoted(name)+" has no letters or digits to make an address of", "use at least one letter or digit")
	}
}

func (p *parser) checkCapabilities(capabilities []capability) {
	seen := make(map[caxton.Capability]int)
	for i, c := range capabilities {
		if c.name.IsZero() {
			continue
		}
		key := "capabilities[" + strconv.Itoa(i) + "]"
		if first, ok := seen[c.name]; ok {
			p.issue(c.node.Line, c.node.Column, key, fmt.Sprintf("the capability %s is listed twice: here and in line %d", c.name, first), "remove one of them")
			continue
		}
		seen[c.name] = c.node.Line
	}
}

func (p *parser) checkTools(tools []toolEntry, config map[string]map[string]any) {
	seen := make(map[string]int)
	for i, t := range tools {
		name := t.grant.Name
		if name == "" {
			continue
		}
		key := "tools[" + strconv.Itoa(i) + "]"
		if first, ok := seen[name]; ok {
			p.issue(t.node.Line, t.node.Column, key, fmt.Sprintf("the tool %s is listed twice: here and in line %d", name, first), "remove one of them")
			continue
		}
		seen[name] = t.node.Line
		if p.o.Tool == nil {
			continue
		}
		if known, nearest := p.o.Tool(name); !known {
			hint := "caxton tools list shows what there is"
			if nearest != "" {
				hint = "did you mean " + nearest + "? " + hint
			}
			p.issue(t.node.Line, t.node.Column, key, fmt.Sprintf("there is no tool %s", quoted(name)), hint)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(config)) {
		granted := slices.ContainsFunc(tools, func(t toolEntry) bool {
			return t.grant.Allows(caxton.ToolGrant{Name: name}.Canonical())
		})
		if _, ok := seen[name]; !ok && !granted {
			f := p.root.Lookup(tree.Join("tool_config", name))
			p.warn(f.Line, f.Column, tree.Join("tool_config", name), fmt.Sprintf("tool_config is for %s, which tools does not list", name), "add it to tools, or remove its settings")
		}
	}
}

func (p *parser) checkSchedule(s scheduleTable) {
	if s.Cron != "" {
		if message, hint := cronFault(s.Cron); message != "" {
			line, column := p.at("schedule.cron")
			p.issue(line, column, "schedule.cron", "schedule.cron: "+message, hint)
		}
	}
	if strings.TrimSpace(s.Message) == "" && s.Message != "" {
		line, column := p.at("schedule.message")
		p.issue(line, column, "schedule.message", "schedule.message is blank", "write what the agent is to be told, or leave it out")
	}
	if s.Timezone == "" {
		return
	}
	if _, err := time.LoadLocation(s.Timezone); err != nil || s.Timezone == "Local" {
		line, column := p.at("schedule.timezone")
		p.issue(line, column, "schedule.timezone", fmt.Sprintf("schedule.timezone: %s is not a time zone", quoted(s.Timezone)), "use an IANA name such as Europe/Vienna or UTC")
	}
}

// A cronField is one of the five fields of a cron expression.
type cronField struct {
	name      string
	low, high int
	words     []string // for low, low+1, …
}

func cronFields() []cronField {
	return []cronField{
		{"minute", 0, 59, nil},
		{"hour", 0, 23, nil},
		{"day of the month", 1, 31, nil},
		{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
	}
}

// cronFault says what is wrong with a cron expression, or "".
func cronFault(expression string) (message, hint string) {
	parts := strings.Fields(expression)
	fields := cronFields()
	if len(parts) != len(fields) {
		return fmt.Sprintf("%s has %d fields, not 5", quoted(expression), len(parts)), "write minute, hour, day of the month, month, day of the week, as in 0 9 * * MON-FRI"
	}
	for i, f := range fields {
		for item := range strings.SplitSeq(parts[i], ",") {
			if !f.accepts(item) {
				return fmt.Sprintf("%s does not fit the field %s", quoted(item), f.name), fmt.Sprintf("use %d to %d, a range like %d-%d, steps like */2, or *", f.low, f.high, f.low, f.low+1)
			}
		}
	}
	if parts[4] == "*" && !dayExists(fields[2].values(parts[2]), fields[3].values(parts[3])) {
		return quoted(expression) + " never comes: no such month has such a day", "choose another day of the month or another month"
	}
	return "", ""
}

// dayExists reports whether one of the months has one of the days, in some year.
func dayExists(days, months []int) bool {
	first := slices.Min(days)
	return slices.ContainsFunc(months, func(m int) bool {
		return first <= time.Date(2024, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day() // 2024 has a 29 February
	})
}

func (f cronField) accepts(item string) bool {
	span, step, stepped := strings.Cut(item, "/")
	low, high, ok := f.span(span)
	if !ok || !stepped {
		return ok
	}
	n, err := strconv.Atoi(step)
	return err == nil && n > 0 && n <= high-low // a longer step goes nowhere
}

// values returns what the items of a field that accepts them all stand for, at least one.
func (f cronField) values(items string) []int {
	var vs []int
	for item := range strings.SplitSeq(items, ",") {
		span, by, stepped := strings.Cut(item, "/")
		low, high, _ := f.span(span)
		step := 1
		if stepped {
			step, _ = strconv.Atoi(by)
		} else if span != "*" && !strings.Contains(span, "-") {
			high = low // a number by itself
		}
		for v := low; v <= high; v += step {
			vs = append(vs, v)
		}
	}
	return vs
}

// span returns the ends of a range: "*", "5" (with a step: from 5 on), or "5-9".
func (f cronField) span(s string) (low, high int, ok bool) {
	if s == "*" {
		return f.low, f.high, true
	}
	from, to, ranged := strings.Cut(s, "-")
	low, ok = f.number(from)
	if !ok || !ranged {
		return low, f.high, ok
	}
	high, ok = f.number(to)
	return low, high, ok && low <= high
}

func (f cronField) number(s string) (int, bool) {
	if i := slices.Index(f.words, strings.ToLower(s)); i >= 0 {
		return f.low + i, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= f.low && n <= f.high && s[0] != '+' && s[0] != '-'
}

// checkTemplate has the template of a key checked and reports its fault where the text
// stands in the file.
func (p *parser) checkTemplate(key, text string) {
	if p.o.CheckTemplate == nil || text == "" {
		return
	}
	line, column, err := p.o.CheckTemplate(text)
	if err == nil {
		return
	}
	message, hint := err.Error(), ""
	if e, ok := errors.AsType[*caxton.Error](err); ok {
		message, hint = e.Message, e.Hint
	}
	f := p.root.Lookup(key)
	if f == nil {
		// The template was written under another name of its key.
		f = p.aliased(key)
	}
	at := f.Node
	line, column = p.inText(at, text, line, column)
	p.issue(line, column, key, key+": "+message, hint)
}

// aliased finds the entry of prompt_templates that key stands for.
func (p *parser) aliased(key string) *tree.Field {
	return p.root.Lookup(strings.TrimSuffix(key, "_handler"))
}

// inText returns where a place of a text that begins at n stands in the file. Escapes and
// folded lines can hide the place; then it is the beginning of the text.
func (p *parser) inText(n *tree.Node, text string, line, column int) (int, int) {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) || lines[line-1] == "" {
		return n.Line, n.Column
	}
	want := lines[line-1]
	// The text begins on the line of its quote or on the line after it.
	for _, i := range []int{n.Line + line - 2, n.Line + line - 1} {
		if i < 0 || i >= len(p.lines) {
			continue
		}
		start := 0
		if i == n.Line-1 {
			start = min(len(p.lines[i]), len(string([]rune(p.lines[i])[:min(n.Column-1, utf8.RuneCountInString(p.lines[i]))])))
		}
		if j := strings.Index(p.lines[i][start:], want); j >= 0 {
			return i + 1, utf8.RuneCountInString(p.lines[i][:start+j]) + column
		}
	}
	return n.Line, n.Column
}
