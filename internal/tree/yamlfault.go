package tree

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// yamlFault turns an error of the YAML parser into an issue with a place and a remedy. The
// parser knows at best a line, often that of the construct around the fault; so the text
// is searched for the slips that people make, and only when none is found the parser's
// own words and line are passed on.
func (r *reader) yamlFault(err error) {
	s := yamlScan{lines: strings.Split(string(r.text.data), "\n")}
	if s.run(); s.found {
		at := s.at
		at.column = utf8.RuneCountInString(s.lines[at.line-1][:at.column]) + 1
		r.fault(at, s.message, s.hint)
		return
	}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if number, rest, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				line, message = n, rest
			}
		}
	}
	at := r.yamlPosition(line, 1)
	at.line = min(at.line, len(s.lines))
	text := s.lines[at.line-1]
	at.column = len(text) - len(strings.TrimLeft(text, " \t")) + 1
	r.fault(at, message, "check indentation, quotes and colons near here")
}

// A yamlScan goes over the lines of a document that is known to be faulty. It knows just
// enough of YAML to tell structure from text. Columns are byte offsets here.
type yamlScan struct {
	lines []string
	line  int // index of the current line

	levels   []level         // tables and lists that are open
	anchors  map[string]bool // names after &
	scalar   int             // the lines indented more than this belong to a text; -1: none
	literal  bool            // … to a block text (| or >), where anything goes
	brackets []bracket
	quote    byte // inside of a quoted text, or 0
	quoteAt  position
	after    bool // something may follow the quoted text: it may be a key

	found         bool
	at            position
	message, hint string
}

// A level is a column at which a table, a list, or both begin.
type level struct {
	column      int
	table, list bool
}

type bracket struct {
	open byte
	at   position
}

func (s *yamlScan) fault(column int, message, hint string) {
	s.faultAt(position{s.line + 1, column}, message, hint)
}

func (s *yamlScan) faultAt(at position, message, hint string) {
	if !s.found {
		s.found, s.at, s.message, s.hint = true, at, message, hint
	}
}

func (s *yamlScan) run() {
	s.scalar = -1
	s.anchors = make(map[string]bool)
	for s.line = 0; s.line < len(s.lines) && !s.found; s.line++ {
		text := strings.TrimSuffix(s.lines[s.line], "\r")
		switch {
		case s.quote != 0:
			s.quoted(text, 0)
		case len(s.brackets) > 0:
			s.flow(text, 0)
		default:
			s.block(text)
		}
	}
	switch {
	case s.found:
	case s.quote != 0:
		s.unclosed()
	case len(s.brackets) > 0:
		b := s.brackets[len(s.brackets)-1]
		s.faultAt(b.at, fmt.Sprintf("%c is never closed", b.open), fmt.Sprintf("close it with %c", closing(b.open)))
	}
}

func (s *yamlScan) unclosed() {
	s.faultAt(s.quoteAt, "the quoted text is never closed", fmt.Sprintf("close it with %c", s.quote))
}

func closing(open byte) byte {
	if open == '[' {
		return ']'
	}
	return '}'
}

// block looks at a line outside of quotes and brackets.
func (s *yamlScan) block(text string) {
	trimmed := strings.TrimLeft(text, " ")
	indent := len(text) - len(trimmed)
	content := strings.TrimLeft(trimmed, "\t ")
	if content == "" {
		return
	}
	if s.scalar >= 0 && indent > s.scalar {
		if !s.literal {
			s.plain(text, indent)
		}
		return
	}
	if content[0] == '#' {
		return
	}
	if trimmed[0] == '\t' {
		s.fault(indent, "a tab is used for indentation", "indent with spaces")
		return
	}
	s.scalar, s.literal = -1, false
	if indent == 0 && (content == "---" || content == "..." || content[0] == '%' || strings.HasPrefix(content, "--- ")) {
		s.levels = nil
		return
	}
	for len(s.levels) > 0 && s.levels[len(s.levels)-1].column > indent {
		s.levels = s.levels[:len(s.levels)-1]
		if len(s.levels) == 0 || s.levels[len(s.levels)-1].column < indent {
			s.fault(indent, "the indentation matches no line above", "align it with the lines it belongs to")
			return
		}
	}
	s.entry(text, indent)
}

// entry looks at what begins at column i of a line: list marks, a key, a value.
func (s *yamlScan) entry(text string, i int) {
	here := s.open(i)
	for text[i:] == "-" || strings.HasPrefix(text[i:], "- ") {
		here.list = true
		rest := strings.TrimLeft(text[i+1:], " ")
		if rest == "" || rest[0] == '#' {
			return
		}
		i = len(text) - len(rest)
		here = s.open(i)
	}
	switch c := text[i]; c {
	case '"', '\'':
		s.quote, s.quoteAt, s.after = c, position{s.line + 1, i}, true
		s.quoted(text, i+1)
		return
	case '[', '{':
		s.flow(text, i)
		return
	case '?', '&', '!', '*':
		return
	}
	if colon := keyEnd(text[i:]); colon >= 0 {
		if here.list && !here.table {
			s.fault(i, "a key stands among the entries of a list", "begin the line with - , or align it with the key that the list belongs to")
			return
		}
		here.table = true
		s.value(text, i+colon+1, i)
		return
	}
	colon := strings.IndexByte(text[i:], ':')
	switch {
	case (here.table || s.keyFollows(i)) && colon > 0 && !strings.ContainsAny(text[i:i+colon], " /"):
		s.fault(i+colon, "a space is missing after the colon", "write "+text[i:i+colon]+": "+clip(text[i+colon+1:]))
	case here.table:
		s.fault(i, fmt.Sprintf("%q is neither a key nor part of a value", clip(strings.TrimSpace(text[i:]))), "write key: value, or indent it to go on with the text above")
	default:
		s.start(text, i)
		s.scalar = max(i-1, 0)
	}
}

// keyFollows reports whether the next line with something on it has a key at column i.
func (s *yamlScan) keyFollows(i int) bool {
	for _, text := range s.lines[s.line+1:] {
		if t := strings.TrimLeft(text, " "); strings.TrimSpace(t) != "" {
			return len(text)-len(t) == i && keyEnd(strings.TrimRight(t, "\r")) > 0
		}
	}
	return false
}

// open returns the level that begins or goes on at column i.
func (s *yamlScan) open(i int) *level {
	if len(s.levels) == 0 || s.levels[len(s.levels)-1].column < i {
		s.levels = append(s.levels, level{column: i})
	}
	return &s.levels[len(s.levels)-1]
}

// keyEnd returns where the colon after a plain key is, or -1.
func keyEnd(s string) int {
	for i := range len(s) {
		switch {
		case s[i] == '#' && i > 0 && s[i-1] == ' ':
			return -1
		case s[i] == ':' && (i+1 == len(s) || s[i+1] == ' ' || s[i+1] == '\t'):
			return i
		}
	}
	return -1
}

// value looks at the value from column i on, of a key at column parent.
func (s *yamlScan) value(text string, i, parent int) {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	if i == len(text) || text[i] == '#' {
		return
	}
	if c := text[i]; c == '&' || c == '!' || c == '*' {
		name, _, more := strings.Cut(text[i+1:], " ")
		if c == '*' && !s.anchors[name] {
			s.fault(i, fmt.Sprintf("the alias *%s stands for nothing", clip(name)), "mark what it stands for with &"+clip(name)+", or put the text in quotes")
			return
		}
		if c == '&' {
			s.anchors[name] = true
		}
		if more {
			s.value(text, i+1+len(name), parent)
		}
		return
	}
	s.scalar = parent
	switch c := text[i]; c {
	case '|', '>':
		s.literal = true
	case '"', '\'':
		s.quote, s.quoteAt, s.after = c, position{s.line + 1, i}, false
		s.quoted(text, i+1)
	case '[', '{':
		s.scalar = -1
		s.flow(text, i)
	default:
		if strings.HasPrefix(text[i:], "- ") {
			s.fault(i, "a list cannot begin on the line of its key", "put the list on the next line, or write [one, two]")
			return
		}
		s.start(text, i)
	}
}

// start looks at a plain text that begins at column i.
func (s *yamlScan) start(text string, i int) {
	if c := text[i]; strings.IndexByte("@`%,]}", c) >= 0 {
		s.fault(i, fmt.Sprintf("a text cannot begin with %c", c), "put it in quotes")
		return
	}
	s.plain(text, i)
}

// plain looks at a plain text, or a line of it, from column i on.
func (s *yamlScan) plain(text string, i int) {
	if colon := keyEnd(text[i:]); colon >= 0 && text[i] != '#' {
		s.fault(i+colon, "a colon inside a value", "put the value in quotes; if a new key was meant, check its indentation")
	}
}

// quoted looks for the end of a quoted text from column i on.
func (s *yamlScan) quoted(text string, i int) {
	for ; i < len(text); i++ {
		switch {
		case s.quote == '"' && text[i] == '\\':
			i++
			if i < len(text) && !strings.ContainsRune("0abt\tnvfre \"/\\N_LPxuU", rune(text[i])) {
				s.fault(i-1, fmt.Sprintf("\\%c is not an escape", text[i]), `write \\ for a backslash, or use single quotes`)
				return
			}
		case text[i] == s.quote && s.quote == '\'' && strings.HasPrefix(text[i+1:], "'"):
			i++
		case text[i] == s.quote:
			s.closed(text, i+1)
			return
		}
	}
}

// closed looks at what follows a quoted text that ends before column i.
func (s *yamlScan) closed(text string, i int) {
	quote, here := s.quote, s.quoteAt.line == s.line+1
	s.quote = 0
	if len(s.brackets) > 0 {
		s.flow(text, i)
		return
	}
	rest := strings.TrimLeft(text[i:], " \t")
	column := len(text) - len(rest)
	switch {
	case rest == "", rest[0] == '#':
	case s.after && rest[0] == ':':
		s.levels[len(s.levels)-1].table = true
		s.value(text, column+1, s.quoteAt.column)
	case !here:
		s.quote = quote
		s.unclosed()
	default:
		s.fault(column, "text follows after the closing quote", "put all of it in quotes, and write quotes inside of it differently")
	}
}

// flow looks at what is inside brackets, from column i on.
func (s *yamlScan) flow(text string, i int) {
	fresh := true // a value may begin
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
		case c == '#' && i > 0 && text[i-1] == ' ':
			return
		case (c == '"' || c == '\'') && fresh:
			s.quote, s.quoteAt, s.after = c, position{s.line + 1, i}, false
			s.quoted(text, i+1)
			return
		case c == '[' || c == '{':
			s.brackets = append(s.brackets, bracket{c, position{s.line + 1, i}})
			fresh = true
		case c == ']' || c == '}':
			b := s.brackets[len(s.brackets)-1]
			if closing(b.open) != c {
				s.fault(i, fmt.Sprintf("%c closes %c of line %d", c, b.open, b.at.line), fmt.Sprintf("close it with %c", closing(b.open)))
				return
			}
			if s.brackets = s.brackets[:len(s.brackets)-1]; len(s.brackets) == 0 {
				rest := strings.TrimLeft(text[i+1:], " \t")
				if rest != "" && rest[0] != '#' && rest[0] != ':' {
					s.fault(len(text)-len(rest), "text follows after the closing bracket", "remove it, or put the value in quotes")
				}
				return
			}
			fresh = false
		case c == ',' || c == ':':
			fresh = true
		default:
			fresh = false
		}
	}
}
