package agentfile

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// Markdown prints a definition as a Markdown file with front matter that Parse reads back as
// the same definition. Keys that say the default are left out.
func Markdown(def caxton.Definition) []byte {
	w := &printer{root: tree.NewMap(0, 0)}
	w.definition(def)
	var b bytes.Buffer
	b.WriteString("---\n")
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	// Encoding nodes made of plain scalars into memory cannot fail.
	_ = enc.Encode(yamlNode(w.root))
	_ = enc.Close()
	b.WriteString("---\n")
	if def.Documentation != "" {
		b.WriteString("\n" + def.Documentation + "\n")
	}
	return b.Bytes()
}

// Plain returns a definition as maps, lists and scalars under the keys of agent files. Keys
// that say the default are left out.
func Plain(def caxton.Definition) map[string]any {
	w := &printer{root: tree.NewMap(0, 0)}
	w.definition(def)
	if def.Documentation != "" {
		w.put("documentation", def.Documentation)
	}
	m, ok := w.root.Plain().(map[string]any)
	if !ok {
		return map[string]any{}
	}
	return m
}

// A printer collects what differs from the defaults, in the order of the schema.
type printer struct{ root *tree.Node }

// set puts v at path unless it is the zero value of its type.
func (w *printer) set(path string, v any) {
	if r := reflect.ValueOf(v); !r.IsValid() || r.IsZero() || (r.Kind() == reflect.Slice || r.Kind() == reflect.Map) && r.Len() == 0 {
		return
	}
	w.put(path, v)
}

func (w *printer) put(path string, v any) { w.root.Set(path, node(v)) }

func (w *printer) duration(path string, d time.Duration) {
	if d != 0 {
		w.put(path, caxton.Duration(d).String())
	}
}

func (w *printer) size(path string, s caxton.Size) {
	if s != 0 {
		w.put(path, s.String())
	}
}

func (w *printer) number(path string, x *float64) {
	if x != nil {
		w.put(path, *x)
	}
}

func (w *printer) definition(def caxton.Definition) {
	w.set("name", def.Name)
	w.set("version", def.Version)
	w.set("description", def.Description)
	w.set("author", def.Author)
	w.set("tags", def.Tags)
	w.set("capabilities", names(def.Capabilities))
	if def.Priority != priorityDefault {
		w.put("priority", int64(def.Priority))
	}
	w.set("critical", def.Critical)
	w.set("tools", tools(def.Tools, def.Extra))
	w.llm(def.LLM)
	w.memory(def.Memory)
	w.set("conversation.max_turns", int64(def.Conversation.MaxTurns))
	w.duration("conversation.timeout", def.Conversation.Timeout)
	w.set("conversation.context_window", int64(def.Conversation.ContextTokens))
	w.set("conversation.context_messages", int64(def.Conversation.ContextTurns))
	w.set("performance.max_concurrent_requests", int64(def.Performance.MaxConcurrent))
	w.duration("performance.request_timeout", def.Performance.RequestTimeout)
	w.set("performance.max_steps", int64(def.Performance.MaxSteps))
	w.set("performance.queue_size", int64(def.Performance.QueueSize))
	w.module(def)
	w.size("resource_limits.max_memory_bytes", def.Limits.MaxMemoryBytes)
	w.set("resource_limits.max_fuel", def.Limits.MaxFuel)
	w.duration("resource_limits.max_execution_time", def.Limits.MaxExecutionTime)
	w.size("resource_limits.max_message_size", def.Limits.MaxMessageSize)
	w.set("resource_limits.max_cpu_millis", def.Limits.MaxCPU.Milliseconds())
	if def.Schedule.Cron != "" {
		w.put("schedule.cron", def.Schedule.Cron)
		w.put("schedule.enabled", def.Schedule.Enabled)
	}
	w.set("schedule.timezone", def.Schedule.Timezone)
	w.set("schedule.message", def.Schedule.Message)
	w.set("schedule.missed", string(def.Schedule.Missed))
	w.set("schedule.overlap", string(def.Schedule.Overlap))
	w.duration("schedule.jitter", def.Schedule.Jitter)
	w.approval(def.Approval)
	w.budget("budget.conversation", def.Budget.Conversation)
	w.budget("budget.day", def.Budget.Day)
	w.budget("budget.total", def.Budget.Total)
	w.set("parameters", def.Parameters)
	w.set("tool_config", tables(def.ToolConfig))
	w.set("capability_metadata", tables(def.Metadata))
	w.extra("", def.Extra)
	if def.SystemPrompt != def.Documentation || def.IsModule() && def.SystemPrompt != "" { // a module does not take its page for a prompt
		w.set("system_prompt", def.SystemPrompt)
	}
	w.set("user_prompt_template", def.Templates.User)
	w.set("prompt_templates.request_handler", def.Templates.Request)
	w.set("prompt_templates.query_handler", def.Templates.Query)
	w.set("prompt_templates.inform_handler", def.Templates.Inform)
}

func (w *printer) llm(s caxton.LLMSettings) {
	w.set("llm.provider", s.Provider)
	w.set("llm.model", s.Model)
	w.set("llm.fallback", s.Fallback)
	w.number("llm.temperature", s.Temperature)
	w.number("llm.top_p", s.TopP)
	w.number("llm.frequency_penalty", s.FrequencyPenalty)
	w.number("llm.presence_penalty", s.PresencePenalty)
	w.set("llm.max_tokens", int64(s.MaxTokens))
	w.duration("llm.timeout", s.Timeout)
}

func (w *printer) memory(s caxton.MemorySettings) {
	w.set("memory.enabled", s.Enabled)
	w.set("memory.scope", s.Scope)
	w.set("memory.workspace", s.Workspace)
	w.set("memory.backend", s.Backend)
	w.duration("memory.retention", s.Retention)
	w.set("memory.max_entities", int64(s.MaxEntities))
	w.set("memory.search.similarity_threshold", s.SimilarityThreshold)
	w.set("memory.search.max_results", int64(s.MaxResults))
	w.duration("memory.search.cache_ttl", s.CacheTTL)
}

// module says where the module is: where its file says, or else which one the server has.
func (w *printer) module(def caxton.Definition) {
	if !def.IsModule() {
		return
	}
	w.put("type", string(def.Type))
	m := def.Module
	file := m.File
	if file == "" && m.SHA256 != "" {
		file = caxton.ModulePrefix + m.SHA256
	}
	if len(m.Grants) == 0 && len(m.Dirs) == 0 {
		w.set("module", file)
		return
	}
	w.set("module.file", file)
	w.set("module.grants", m.Grants)
	var dirs []any
	for _, d := range m.Dirs {
		n := tree.NewMap(0, 0)
		n.Set("guest", node(d.Guest))
		n.Set("host", node(d.Host))
		if d.Write {
			n.Set("write", node(true))
		}
		dirs = append(dirs, n)
	}
	w.set("module.directories", dirs)
}

func (w *printer) approval(a caxton.ApprovalSettings) {
	w.set("approval.capabilities", names(a.Capabilities))
	w.set("approval.approvers", a.Policy.Approvers)
	w.set("approval.need", int64(a.Policy.Need))
	w.duration("approval.expires", a.Policy.Expires)
}

func (w *printer) budget(path string, b caxton.Budget) {
	w.set(path+".tokens", b.Tokens)
	w.set(path+".tool_calls", b.ToolCalls)
	w.duration(path+".wall_time", b.WallTime)
	w.set(path+".money", b.Money)
}

func names(capabilities []caxton.Capability) []string {
	out := make([]string, len(capabilities))
	for i, c := range capabilities {
		out[i] = c.String()
	}
	return out
}

// extra puts the keys without effect back where they were.
func (w *printer) extra(path string, m map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.Contains(key, "[") {
			continue // see tools
		}
		below := tree.Join(append(tree.Split(path), key)...)
		if c, ok := m[key].(map[string]any); ok && len(c) > 0 {
			w.extra(below, c)
			continue
		}
		w.put(below, m[key])
	}
}

// tools returns the grants as they stand in a file: a bare name where that says it all.
func tools(grants []caxton.ToolGrant, extra map[string]any) []any {
	var list []any
	for i, g := range grants {
		m := tree.NewMap(0, 0)
		m.Set("name", node(g.Name))
		if len(g.AllowedHosts) > 0 {
			m.Set("permissions.allowed_hosts", node(g.AllowedHosts))
		}
		if len(g.AllowedPaths) > 0 {
			m.Set("permissions.allowed_paths", node(g.AllowedPaths))
		}
		if g.Approval {
			m.Set("approval", node(true))
		}
		if g.Idempotent {
			m.Set("idempotent", node(true))
		}
		for _, key := range slices.Sorted(maps.Keys(extra)) {
			if rest, ok := strings.CutPrefix(key, "tools["+strconv.Itoa(i)+"]."); ok {
				m.Set(rest, node(extra[key]))
			}
		}
		if len(m.Fields) == 1 {
			list = append(list, g.Name)
			continue
		}
		list = append(list, m)
	}
	return list
}

func tables(m map[string]map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// node turns a plain value into a document. Keys of maps are sorted.
func node(v any) *tree.Node {
	switch v := v.(type) {
	case nil:
		return &tree.Node{Kind: tree.Null}
	case *tree.Node:
		return v
	case string:
		return &tree.Node{Kind: tree.String, Value: v}
	case bool:
		return &tree.Node{Kind: tree.Bool, Value: v}
	case int64:
		return &tree.Node{Kind: tree.Int, Value: v}
	case float64:
		return &tree.Node{Kind: tree.Float, Value: v}
	case []string:
		n := &tree.Node{Kind: tree.List}
		for _, s := range v {
			n.Items = append(n.Items, node(s))
		}
		return n
	case []any:
		n := &tree.Node{Kind: tree.List}
		for _, item := range v {
			n.Items = append(n.Items, node(item))
		}
		return n
	case map[string]any:
		n := tree.NewMap(0, 0)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.Fields = append(n.Fields, tree.Field{Key: k, Node: node(v[k])})
		}
		return n
	}
	// Other numbers, from definitions that were decoded elsewhere.
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return node(r.Int())
	case r.CanFloat():
		return node(r.Float())
	case r.CanUint():
		return node(int64(r.Uint() & (1<<63 - 1)))
	}
	return &tree.Node{Kind: tree.Null}
}

func yamlNode(n *tree.Node) *yaml.Node {
	switch n.Kind {
	case tree.Map:
		out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if len(n.Fields) == 0 {
			out.Style = yaml.FlowStyle
		}
		for _, f := range n.Fields {
			out.Content = append(out.Content, yamlText(f.Key), yamlNode(f.Node))
		}
		return out
	case tree.List:
		out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if len(n.Items) == 0 {
			out.Style = yaml.FlowStyle
		}
		for _, item := range n.Items {
			out.Content = append(out.Content, yamlNode(item))
		}
		return out
	case tree.String:
		s, _ := n.Value.(string)
		return yamlText(s)
	case tree.Null, tree.Bool, tree.Int, tree.Float:
	}
	var out yaml.Node
	_ = out.Encode(n.Value) // a number, a truth value or nil: cannot fail
	if n.Kind == tree.Float && !strings.ContainsAny(out.Value, ".eE") {
		out.Value += ".0"
	}
	return &out
}

// yamlText writes text plainly where YAML reads it back as the same, as a block where it has
// several ordinary lines, and in quotes otherwise.
func yamlText(s string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case strings.Contains(s, "\n") && blockText(s):
		out.Style = yaml.LiteralStyle
	case !plainText(s):
		out.Style = yaml.DoubleQuotedStyle
	}
	return out
}

// blockText reports whether s keeps its form in a literal block.
func blockText(s string) bool {
	if s[0] == ' ' || s[0] == '\n' || s[0] == '\t' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r != '\n' && r != '\t' && !unicode.IsPrint(r)
	})
}

// plainText reports whether s is words that need no quotes. Whether it looks like a
// number or another value is the encoder's business.
func plainText(s string) bool {
	for i, r := range s {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r) && r < 0x80:
		case i > 0 && i < len(s)-1 && (r == ' ' || r == '-' || r == '_' || r == '.' || r == '/' || r == ','):
		case i == len(s)-1 && r == '.':
		default:
			return false
		}
	}
	return s != "" && s[len(s)-1] != ' '
}
