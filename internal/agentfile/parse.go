package agentfile

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// MaxSize is the size of the largest agent file, in bytes.
const MaxSize = 1 << 20

// The notations of agent files: what Format returns and Parse takes.
const (
	MarkdownFormat = "markdown"
	TOMLFormat     = "toml"
	JSONFormat     = "json"
	YAMLFormat     = "yaml"
)

// Options give Parse the checks that need to know more than the file. The zero Options
// leave these checks out.
type Options struct {
	// CheckTemplate returns the first fault of a prompt template, and its place in the
	// text, counted from 1. An *caxton.Error gives message and hint.
	CheckTemplate func(text string) (line, column int, err error)
	// Tool reports whether the server has the tool, and otherwise the name it is most
	// likely a slip of, or "".
	Tool func(name string) (known bool, nearest string)
	// Fragment accepts a part of a file: name, capabilities and prompt may be missing.
	Fragment bool
}

// Format tells the notation of an agent file from the extension of its path or, when that
// says nothing, from its text.
func Format(path string, data []byte) string {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".md", ".markdown":
		return MarkdownFormat
	case ".toml":
		return TOMLFormat
	case ".json":
		return JSONFormat
	case ".yaml", ".yml":
		return YAMLFormat
	}
	text := strings.TrimPrefix(string(data[:min(len(data), MaxSize)]), "\ufeff")
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return JSONFormat
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case line == "---":
			return MarkdownFormat
		case line[0] == '[', tomlLine.MatchString(line):
			return TOMLFormat
		case yamlLine.MatchString(line):
			return YAMLFormat
		}
		break
	}
	return MarkdownFormat
}

var (
	tomlLine = regexp.MustCompile(`^["'\w.-]+\s*=`)
	yamlLine = regexp.MustCompile(`^["'\w.-]+\s*:(\s|$)`)
	nameForm = regexp.MustCompile(`^[\p{L}\p{N} ._-]+$`)
	semver   = regexp.MustCompile(`^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

// Parse reads an agent file. The path is the one that issues carry, or "" for text that is
// not in a file; format is one of the constants, or "" to ask Format. It returns every issue
// it finds, in the order of the file; the Definition is complete when none but warnings is
// among them (see Err), and otherwise holds what could be read.
//
// Lines and columns count from 1 in the whole file, the front matter's included.
func Parse(path string, data []byte, format string, o Options) (caxton.Definition, []caxton.Issue) {
	p := &parser{path: path, o: o}
	def := p.parse(data, format)
	slices.SortStableFunc(p.issues, func(a, b caxton.Issue) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return def, p.issues
}

// Err returns one Invalid error, code "agent_invalid", with the issues that are not warnings,
// or nil when there are none.
func Err(path string, issues []caxton.Issue) *caxton.Error {
	var faults []caxton.Issue
	for _, i := range issues {
		if !i.Warning {
			faults = append(faults, i)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	if path == "" {
		path = "the agent definition"
	}
	number := "a fault"
	if len(faults) > 1 {
		number = strconv.Itoa(len(faults)) + " faults"
	}
	e := caxton.Errorf(caxton.Invalid, "agent_invalid", "%s has %s", path, number).
		WithHint("mend what the issues name, then try again")
	e.Issues = faults
	return e
}

// A parser is the state of one Parse.
type parser struct {
	path   string
	o      Options
	lines  []string   // of the whole file
	root   *tree.Node // the document
	issues []caxton.Issue
}

func (p *parser) issue(line, column int, key, message, hint string) {
	p.issues = append(p.issues, caxton.Issue{Path: p.path, Line: line, Column: column, Key: key, Message: message, Hint: hint})
}

func (p *parser) warn(line, column int, key, message, hint string) {
	p.issues = append(p.issues, caxton.Issue{Path: p.path, Line: line, Column: column, Key: key, Message: message, Hint: hint, Warning: true})
}

// at returns where the value of a key stands, or the beginning of the file.
func (p *parser) at(key string) (line, column int) {
	if f := p.root.Lookup(key); f != nil {
		return f.Node.Line, f.Node.Column
	}
	return 1, 1
}

func (p *parser) parse(data []byte, format string) caxton.Definition {
	if len(data) > MaxSize {
		p.issue(1, 1, "", fmt.Sprintf("the file has %d bytes; an agent file may have %s", len(data), caxton.Size(MaxSize)), "move documentation to another file")
		return caxton.Definition{}
	}
	if p.issues = tree.Check(p.path, data); len(p.issues) > 0 {
		return caxton.Definition{}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	p.lines = strings.Split(string(data), "\n")
	if format == "" {
		format = Format(p.path, data)
	}
	body := ""
	notation := tree.Format(format)
	if format == MarkdownFormat {
		var ok bool
		if data, body, ok = p.frontMatter(); !ok {
			return caxton.Definition{}
		}
		notation = tree.YAML
	}
	root, issues := tree.Parse(notation, p.path, data)
	p.issues = append(p.issues, issues...)
	if root == nil {
		return caxton.Definition{}
	}
	if root.Kind != tree.Map {
		p.issue(root.Line, root.Column, "", "an agent is a table of keys and values, not "+root.Kind.String(), "begin with name: and the agent's name")
		return caxton.Definition{}
	}
	p.root = root
	p.hoist(notation)
	p.canonical()
	return p.decode(body)
}

// frontMatter takes a Markdown file apart. The front matter comes with empty lines before
// it, so that its positions are those of the file.
func (p *parser) frontMatter() (front []byte, body string, ok bool) {
	first := 0
	for first < len(p.lines) && strings.TrimSpace(p.lines[first]) == "" {
		first++
	}
	if first == len(p.lines) {
		p.issue(1, 1, "", "the file is empty", "begin it with --- and the agent's name and capabilities")
		return nil, "", false
	}
	if !fence(p.lines[first]) {
		hint := "begin the file with a line ---, then name: and capabilities:, then another line ---"
		if strings.TrimRight(p.lines[first], " \t\r") == "+++" {
			hint = "front matter is YAML between lines ---; for TOML name the file .toml"
		}
		p.issue(first+1, 1, "", "the front matter is missing", hint)
		return nil, "", false
	}
	last := first + 1
	for last < len(p.lines) && !fence(p.lines[last]) {
		last++
	}
	if last == len(p.lines) {
		p.issue(first+1, 1, "", "the front matter is never closed", "end it with a line ---")
		return nil, "", false
	}
	var b bytes.Buffer
	for range first + 1 {
		b.WriteByte('\n')
	}
	for _, line := range p.lines[first+1 : last] {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.Bytes(), clean(strings.Join(p.lines[last+1:], "\n")), true
}

// fence reports whether a line delimits front matter.
func fence(line string) bool { return strings.TrimRight(line, " \t\r") == "---" }

// clean gives a long text its canonical form: LF line breaks, nothing empty around it.
func clean(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.TrimRight(s, " \t\r\n")
	for {
		line, rest, more := strings.Cut(s, "\n")
		if !more || strings.TrimSpace(line) != "" {
			return s
		}
		s = rest
	}
}

// hoist takes prompts that a TOML file has below a table header back to the root, where
// they were meant to be: written last because they are long, they became part of the last
// table. Only these keys are moved, and only when the root has none, so that other slips
// still show.
func (p *parser) hoist(notation tree.Format) {
	if notation != tree.TOML {
		return
	}
	type place struct {
		path   string
		field  tree.Field
		header tree.Field
	}
	found := make(map[string]place)
	lastHeader := 0
	var look func(path string, n *tree.Node)
	look = func(path string, n *tree.Node) {
		for _, f := range n.Fields {
			below := tree.Join(append(tree.Split(path), f.Key)...)
			// Tables with a header of their own stand where their key stands; tables in
			// braces stand after it.
			if f.Node.Kind != tree.Map || f.Node.Line != f.Line || f.Node.Column != f.Column {
				continue
			}
			lastHeader = max(lastHeader, f.Line)
			for _, key := range []string{"system_prompt", "user_prompt_template", "documentation"} {
				if c := f.Node.Field(key); c != nil && c.Node.Kind == tree.String && c.Line > f.Line {
					if had, ok := found[key]; !ok || had.field.Line < c.Line {
						found[key] = place{tree.Join(append(tree.Split(below), key)...), *c, f}
					}
				}
			}
			look(below, f.Node)
		}
	}
	look("", p.root)
	for _, key := range slices.Sorted(maps.Keys(found)) {
		at := found[key]
		table := tree.Split(at.path)
		if p.root.Field(key) != nil || free(table[0]) && at.header.Line < lastHeader {
			continue
		}
		p.root.Move(at.path, key)
		header := tree.Join(table[:len(table)-1]...)
		p.warn(at.field.Line, at.field.Column, key,
			fmt.Sprintf("%s stands below [%s] and would belong to it; it is taken for the agent's own", key, header),
			"move it above the first [table]")
	}
}

// free reports whether any key may stand in the root table called key.
func free(key string) bool {
	switch key {
	case "parameters", "capability_metadata", "tool_config", "workflows", "error_handling", "error_templates", "user_prompt_templates", "context_requirements":
		return true
	}
	return false
}

// canonical moves other spellings to the canonical place.
func (p *parser) canonical() {
	for _, s := range spellings() {
		_, clashes := p.root.Move(s.from, s.to)
		for _, c := range clashes {
			message := fmt.Sprintf("%s and %s (line %d) mean the same", c.Old.Alias, c.Path, c.New.Line)
			if c.New.Alias != "" {
				message = fmt.Sprintf("%s and %s (line %d) mean the same", c.Old.Alias, c.New.Alias, c.New.Line)
			}
			p.issue(c.Old.Line, c.Old.Column, c.Path, message, "keep one of them")
		}
	}
}

func (p *parser) decode(body string) caxton.Definition {
	f := file{Priority: priorityDefault}
	extra := make(map[string]any)
	issues := tree.Decode(p.root, &f, tree.DecodeOptions{
		Path:        p.path,
		UnknownHint: "values for the agent's own use go below parameters; caxton agents schema shows all keys",
		Inert: func(key string, field tree.Field) {
			keep(extra, key, field.Node.Plain())
			name := key
			if field.Alias != "" {
				name = field.Alias
			}
			p.warn(field.Line, field.Column, key, name+" has no effect yet", "")
		},
	})
	for _, i := range issues {
		if p.root.Lookup(i.Key) == nil && (p.o.Fragment && i.Key == "name" || (p.o.Fragment || f.module()) && i.Key == "capabilities") {
			continue
		}
		p.issues = append(p.issues, i)
	}
	def := f.definition()
	if len(extra) > 0 {
		def.Extra = extra
	}
	p.prompt(&def, body)
	p.checkModule(&def)
	p.checkName(def.Name)
	if def.Version != "" && !semver.MatchString(def.Version) {
		line, column := p.at("version")
		p.warn(line, column, "version", quoted(def.Version)+" is not a semantic version", "write it like 1.0.0")
	}
	p.checkCapabilities(f.Capabilities)
	p.checkTools(f.Tools, f.ToolConfig)
	p.checkSchedule(f.Schedule)
	p.checkApproval(f.Approval, f.Capabilities)
	p.checkTemplate("user_prompt_template", def.Templates.User)
	p.checkTemplate("prompt_templates.request_handler", def.Templates.Request)
	p.checkTemplate("prompt_templates.query_handler", def.Templates.Query)
	p.checkTemplate("prompt_templates.inform_handler", def.Templates.Inform)
	if w := f.Memory.Workspace; w != "" && caxton.CheckID(w) != nil {
		line, column := p.at("memory.workspace")
		p.issue(line, column, "memory.workspace", fmt.Sprintf("%.140q is not the name of a workspace", w), "use 1 to 128 printable ASCII characters without spaces and slashes")
	}
	if f.Memory.Settings.RetentionDays > 0 && f.Memory.Retention > 0 {
		line, column := p.at("memory.settings.retention_days")
		p.issue(line, column, "memory.settings.retention_days", "memory.settings.retention_days and memory.retention mean the same", "keep memory.retention")
	}
	if f.Limits.MaxExecutionMillis > 0 && f.Limits.MaxExecutionTime > 0 {
		line, column := p.at("resource_limits.max_execution_time_ms")
		p.issue(line, column, "resource_limits.max_execution_time_ms", "resource_limits.max_execution_time_ms and resource_limits.max_execution_time mean the same", "keep resource_limits.max_execution_time")
	}
	return def
}

// keep puts a value at a dotted path of nested maps. Below a list (of tools: there is no
// other with such keys) it stays under its path.
func keep(m map[string]any, path string, v any) {
	if strings.Contains(path, "[") {
		m[path] = v
		return
	}
	keys := tree.Split(path)
	for _, k := range keys[:len(keys)-1] {
		next, ok := m[k].(map[string]any)
		if !ok {
			next = make(map[string]any)
			m[k] = next
		}
		m = next
	}
	m[keys[len(keys)-1]] = v
}

func (f *file) definition() caxton.Definition {
	def := caxton.Definition{
		Name:          f.Name,
		Version:       f.Version,
		Description:   strings.TrimSpace(f.Description),
		Author:        f.Author,
		Tags:          f.Tags,
		Priority:      f.Priority,
		Critical:      f.Critical,
		SystemPrompt:  clean(f.SystemPrompt),
		Documentation: clean(f.Docs),
		Templates: caxton.Templates{
			User:    clean(f.UserTemplate),
			Request: clean(f.Templates.Request),
			Query:   clean(f.Templates.Query),
			Inform:  clean(f.Templates.Inform),
		},
		Parameters: f.Parameters,
		LLM: caxton.LLMSettings{
			Provider:         f.LLM.Provider,
			Model:            f.LLM.Model,
			Fallback:         f.LLM.Fallback,
			Temperature:      f.LLM.Temperature,
			TopP:             f.LLM.TopP,
			FrequencyPenalty: f.LLM.FrequencyPenalty,
			PresencePenalty:  f.LLM.PresencePenalty,
			MaxTokens:        f.LLM.MaxTokens,
			Timeout:          f.LLM.Timeout.Std(),
		},
		Memory: caxton.MemorySettings{
			Enabled:             f.Memory.Enabled,
			Scope:               string(f.Memory.Scope),
			Workspace:           f.Memory.Workspace,
			Backend:             f.Memory.Backend,
			Retention:           f.Memory.Retention.Std() + time.Duration(f.Memory.Settings.RetentionDays)*24*time.Hour,
			MaxEntities:         f.Memory.MaxEntities,
			SimilarityThreshold: f.Memory.Search.SimilarityThreshold,
			MaxResults:          f.Memory.Search.MaxResults,
			CacheTTL:            f.Memory.Search.CacheTTL.Std(),
		},
		Conversation: caxton.ConversationSettings{
			MaxTurns:      f.Conversation.MaxTurns,
			Timeout:       f.Conversation.Timeout.Std(),
			ContextTokens: f.Conversation.ContextTokens,
			ContextTurns:  f.Conversation.ContextMessages,
		},
		Performance: caxton.PerformanceSettings{
			MaxConcurrent:  f.Performance.MaxConcurrent,
			RequestTimeout: f.Performance.RequestTimeout.Std(),
			MaxSteps:       f.Performance.MaxSteps,
			QueueSize:      f.Performance.QueueSize,
		},
		Limits: caxton.ResourceLimits{
			MaxMemoryBytes:   f.Limits.MaxMemory,
			MaxFuel:          f.Limits.MaxFuel,
			MaxExecutionTime: f.Limits.MaxExecutionTime.Std() + time.Duration(f.Limits.MaxExecutionMillis)*time.Millisecond,
			MaxMessageSize:   f.Limits.MaxMessageSize,
			MaxCPU:           time.Duration(f.Limits.MaxCPUMillis) * time.Millisecond,
		},
		ToolConfig: f.ToolConfig,
		Metadata:   f.Metadata,
		Schedule: caxton.Schedule{
			Enabled:  f.Schedule.Cron != "" && (f.Schedule.Enabled == nil || *f.Schedule.Enabled),
			Cron:     f.Schedule.Cron,
			Timezone: f.Schedule.Timezone,
			Message:  f.Schedule.Message,
			Missed:   caxton.MissedRuns(f.Schedule.Missed),
			Overlap:  caxton.Overlap(f.Schedule.Overlap),
			Jitter:   f.Schedule.Jitter.Std(),
		},
		Approval: f.approval(),
		Budget:   caxton.Budgets{Conversation: f.Budget.Conversation.budget(), Day: f.Budget.Day.budget(), Total: f.Budget.Total.budget()},
	}
	if f.module() {
		def.Type, def.Module = caxton.WASMAgent, f.Module.use()
	}
	for _, c := range f.Capabilities {
		if !c.name.IsZero() {
			def.Capabilities = append(def.Capabilities, c.name)
		}
	}
	for _, t := range f.Tools {
		if t.grant.Name != "" {
			def.Tools = append(def.Tools, t.grant)
		}
	}
	return def
}

// prompt settles which text is the prompt and which the documentation.
func (p *parser) prompt(def *caxton.Definition, body string) {
	if body != "" {
		if def.Documentation != "" {
			f := p.root.Lookup("documentation")
			p.warn(f.Line, f.Column, "documentation", "documentation is given here and below the front matter; the latter counts", "keep one of them")
		}
		def.Documentation = body
	}
	if def.SystemPrompt == "" && !def.IsModule() {
		def.SystemPrompt = body
	}
	if def.SystemPrompt == "" && !p.o.Fragment && !def.IsModule() {
		line, column := p.root.Line, p.root.Column
		message := "system_prompt is missing"
		if f := p.root.Lookup("system_prompt"); f != nil {
			if f.Node.Kind != tree.String && f.Node.Kind != tree.Null {
				return // Decode said so
			}
			line, column, message = f.Line, f.Column, "system_prompt is empty"
		}
		p.issue(line, column, "system_prompt", message, "say what the agent is to do, for example system_prompt: Answer questions about our products.")
	}
}

func quoted(s string) string {
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return strconv.Quote(s)
}
