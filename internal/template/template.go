package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caxton/caxton"
)

// The bounds of templates.
const (
	MaxOutput = 1 << 20 // bytes that Execute writes
	MaxNest   = 16      // blocks inside each other
	maxSteps  = 1 << 20 // parts that Execute visits
)

// A Template is a parsed template.
type Template struct{ parts []part }

// A part is one piece of a template: text, a value, or a block.
type part struct {
	text  string   // when path is nil
	path  []string // of the value
	block string   // "if", "each", or "" for the value itself
	then  []part
	other []part // after {{else}}
}

// An Error is a fault in a template. Line and Column count from 1, columns in characters.
type Error struct {
	Line    int
	Column  int
	Message string
	Hint    string
}

// Error returns the message with its place.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// Parse reads a template. Its error is an *Error.
func Parse(text string) (*Template, error) {
	p := parser{text: text}
	parts, end, err := p.parts(0)
	if err != nil {
		return nil, err
	}
	if end.word != "" {
		return nil, p.fail(end.at, "{{"+end.word+"}} without a block", "open one before it with {{#if name}} or {{#each name}}, or remove it")
	}
	return &Template{parts}, nil
}

// Check returns the first fault of a template with its place, and zeros and nil when there
// is none: the form that internal/agentfile takes a check in.
func Check(text string) (line, column int, err error) {
	_, err = Parse(text)
	if fault, ok := errors.AsType[*Error](err); ok {
		return fault.Line, fault.Column, caxton.Errorf(caxton.Invalid, "template_invalid", "%s", fault.Message).WithHint("%s", fault.Hint)
	}
	return 0, 0, err
}

type parser struct {
	text string
	pos  int
}

// A stop is what ended a run of parts: "else", "/if", "/each", or "" for the end.
type stop struct {
	word string
	at   int
}

func (p *parser) fail(at int, message, hint string) error {
	before := p.text[:at]
	return &Error{
		Line:    strings.Count(before, "\n") + 1,
		Column:  utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1,
		Message: message,
		Hint:    hint,
	}
}

func (p *parser) parts(depth int) ([]part, stop, error) {
	var parts []part
	literal := func(s string) {
		if s != "" {
			parts = append(parts, part{text: s})
		}
	}
	for {
		i := strings.Index(p.text[p.pos:], "{{")
		if i < 0 {
			literal(p.text[p.pos:])
			p.pos = len(p.text)
			return parts, stop{at: p.pos}, nil
		}
		at := p.pos + i
		if i > 0 && p.text[at-1] == '\\' {
			literal(p.text[p.pos:at-1] + "{{")
			p.pos = at + 2
			continue
		}
		literal(p.text[p.pos:at])
		length := strings.Index(p.text[at+2:], "}}")
		if length < 0 || strings.Contains(p.text[at+2:at+2+length], "{{") {
			return nil, stop{}, p.fail(at, "{{ is never closed", `close it with }}, or write \{{ for two braces`)
		}
		inner := strings.TrimSpace(p.text[at+2 : at+2+length])
		p.pos = at + 2 + length + 2
		if inner == "else" || strings.HasPrefix(inner, "/") {
			return parts, stop{inner, at}, nil
		}
		next, err := p.tag(inner, at, depth)
		if err != nil {
			return nil, stop{}, err
		}
		parts = append(parts, next)
	}
}

// tag reads what stands between braces, and for a block all up to its end.
func (p *parser) tag(inner string, at, depth int) (part, error) {
	block, isBlock := strings.CutPrefix(inner, "#")
	if !isBlock {
		path, ok := parsePath(inner)
		if !ok {
			return part{}, p.fail(at, fmt.Sprintf("{{%s}} is not the name of a value", clip(inner)), "write a name like {{user_name}} or {{user.name}}")
		}
		return part{path: path}, nil
	}
	word, name, _ := strings.Cut(block, " ")
	name = strings.TrimSpace(name)
	if word != "if" && word != "each" {
		return part{}, p.fail(at, fmt.Sprintf("{{#%s}} is not a block", clip(word)), "there are {{#if name}} and {{#each name}}")
	}
	path, ok := parsePath(name)
	if !ok {
		return part{}, p.fail(at, fmt.Sprintf("{{#%s}} needs the name of a value", word), "write it like {{#"+word+" user_name}}")
	}
	if depth >= MaxNest {
		return part{}, p.fail(at, fmt.Sprintf("more than %d blocks inside each other", MaxNest), "make the template simpler")
	}
	b := part{path: path, block: word}
	var end stop
	var err error
	if b.then, end, err = p.parts(depth + 1); err != nil {
		return part{}, err
	}
	if end.word == "else" {
		if b.other, end, err = p.parts(depth + 1); err != nil {
			return part{}, err
		}
		if end.word == "else" {
			return part{}, p.fail(end.at, "a second {{else}} in one block", "remove it")
		}
	}
	if end.word == "" {
		return part{}, p.fail(at, "{{#"+word+"}} is never closed", "close it with {{/"+word+"}}")
	}
	if end.word != "/"+word {
		return part{}, p.fail(end.at, fmt.Sprintf("{{%s}} where {{/%s}} is needed", clip(end.word), word), "close the blocks in reverse order")
	}
	return b, nil
}

// parsePath takes a dotted name apart.
func parsePath(s string) ([]string, bool) {
	if s == "@index" {
		return []string{s}, true
	}
	keys := strings.Split(s, ".")
	for _, k := range keys {
		if k == "" {
			return nil, false
		}
		for _, r := range k {
			if r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				return nil, false
			}
		}
	}
	return keys, true
}

func clip(s string) string {
	if utf8.RuneCountInString(s) <= 40 {
		return s
	}
	return string([]rune(s)[:40]) + "…"
}

// Variables returns the dotted names that the template uses, sorted, each once. {{this}} and
// {{@index}} are not among them.
func (t *Template) Variables() []string {
	var names []string
	var walk func([]part)
	walk = func(parts []part) {
		for _, p := range parts {
			if p.path != nil && p.path[0] != "this" && p.path[0] != "@index" {
				names = append(names, strings.Join(p.path, "."))
			}
			walk(p.then)
			walk(p.other)
		}
	}
	walk(t.parts)
	slices.Sort(names)
	return slices.Compact(names)
}

// Execute fills the template in. Values are strings, numbers, booleans, nil, and the maps and
// slices that encoding/json makes of documents; a map or a slice is written as JSON. The
// error is TooLarge when the result passes MaxOutput or takes too long to make.
func (t *Template) Execute(values map[string]any) (string, error) {
	r := run{}
	if err := r.parts(t.parts, &scope{this: values}); err != nil {
		return "", err
	}
	return r.out.String(), nil
}

// A scope is what names mean: at the top the values, in a loop its entry first.
type scope struct {
	this  any
	index int
	outer *scope // nil at the top
}

func (s *scope) lookup(path []string) any {
	if path[0] == "@index" {
		if s.outer == nil {
			return nil
		}
		return s.index
	}
	if path[0] == "this" && s.outer != nil {
		v, _ := descend(s.this, path[1:])
		return v
	}
	for ; s != nil; s = s.outer {
		if v, ok := descend(s.this, path); ok {
			return v
		}
	}
	return nil
}

func descend(v any, path []string) (any, bool) {
	for _, key := range path {
		switch c := v.(type) {
		case map[string]any:
			next, ok := c[key]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(c) {
				return nil, false
			}
			v = c[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// A run is one Execute.
type run struct {
	out   strings.Builder
	steps int
}

func (r *run) parts(parts []part, s *scope) error {
	for _, p := range parts {
		if r.steps++; r.steps > maxSteps {
			return caxton.Errorf(caxton.TooLarge, "template_too_large", "the template visits more than %d parts", maxSteps).
				WithHint("loop over shorter lists")
		}
		if err := r.part(p, s); err != nil {
			return err
		}
		if r.out.Len() > MaxOutput {
			return caxton.Errorf(caxton.TooLarge, "template_too_large", "the filled-in template is larger than %s", caxton.Size(MaxOutput)).
				WithHint("send less content, or use less of it in the template")
		}
	}
	return nil
}

func (r *run) part(p part, s *scope) error {
	if p.path == nil {
		r.out.WriteString(p.text)
		return nil
	}
	v := s.lookup(p.path)
	switch p.block {
	case "if":
		if truth(v) {
			return r.parts(p.then, s)
		}
		return r.parts(p.other, s)
	case "each":
		items := entries(v)
		if len(items) == 0 {
			return r.parts(p.other, s)
		}
		for i, item := range items {
			if err := r.parts(p.then, &scope{this: item, index: i, outer: s}); err != nil {
				return err
			}
		}
		return nil
	}
	r.out.WriteString(text(v))
	return nil
}

// entries returns what a loop goes over: the entries of a list, nothing for nothing, and
// any other value as a list of one.
func entries(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	case []string:
		items := make([]any, len(v))
		for i, s := range v {
			items[i] = s
		}
		return items
	}
	if !truth(v) {
		return nil
	}
	return []any{v}
}

// truth reports whether v is there and not empty, 0 or false.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return strings.TrimSpace(v) != ""
	case int:
		return v != 0
	case int64:
		return v != 0
	case float64:
		return v != 0
	case json.Number:
		f, err := v.Float64()
		return err != nil || f != 0
	case []any:
		return len(v) > 0
	case []string:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// text returns how a value is written.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case fmt.Stringer:
		return v.String()
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
