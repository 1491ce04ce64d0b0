package agentfile

import (
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// A file is an agent's file as its keys stand. The tags are the one description of the
// notation: Parse, Schema and the hints follow them.
type file struct {
	Name         string                    `key:"name" required:"true" min:"1" max:"100" example:"name: DataAnalyzer" doc:"What the agent is called: letters, digits, spaces, - _ and . ."`
	Version      string                    `key:"version" max:"100" example:"version: 1.0.0" doc:"Semantic version, for people."`
	Description  string                    `key:"description" doc:"One or two sentences on what the agent does; routing reads them too."`
	Author       string                    `key:"author" doc:"Who is responsible for the agent."`
	Tags         []string                  `key:"tags" doc:"Words to sort agents by."`
	Capabilities []capability              `key:"capabilities" required:"true" max:"20" example:"capabilities: [data-analysis]" doc:"What the agent can be asked for: lower-case words joined by hyphens or dots."`
	Priority     int                       `key:"priority" min:"0" max:"1000" default:"50" doc:"For the routing strategy priority: the agent with the highest number is asked first."`
	Critical     bool                      `key:"critical" default:"false" doc:"The server is not healthy while this agent has failed."`
	Tools        []toolEntry               `key:"tools" doc:"The tools the agent may use, within what the server allows: names, or mcp__server__* for all tools of an MCP server."`
	SystemPrompt string                    `key:"system_prompt" doc:"The instructions for the model. A Markdown file without this key has them as its body."`
	UserTemplate string                    `key:"user_prompt_template" doc:"Template of the prompt that carries a message to the model. Without it the message is passed on as it is."`
	Docs         string                    `key:"documentation" doc:"Background in Markdown that the agent may draw on; in a Markdown file the body."`
	Templates    templateTable             `key:"prompt_templates" doc:"Templates for messages of one performative; they take precedence over user_prompt_template."`
	Parameters   map[string]any            `key:"parameters" doc:"Values for the agent's own use; templates see them as parameters."`
	LLM          llmTable                  `key:"llm" doc:"The model of this agent; what is not given here is taken from the server."`
	Memory       memoryTable               `key:"memory" doc:"Whether and how the agent remembers."`
	Conversation conversationTable         `key:"conversation" doc:"How much of a conversation the model is shown."`
	Performance  performanceTable          `key:"performance" doc:"What the agent may take."`
	Type         string                    `key:"type" oneof:"config,wasm" default:"config" doc:"What answers: a model with a prompt (config), or a WebAssembly module (wasm)."`
	Module       moduleEntry               `key:"module" example:"module: analyzer.wasm" doc:"The module of a WASM agent: a file beside this one, or sha256: and the hash of one that the server has. With it the type is wasm."`
	Limits       limitsTable               `key:"resource_limits" doc:"Bounds of a WASM agent."`
	ToolConfig   map[string]map[string]any `key:"tool_config" doc:"Settings of single tools, by tool."`
	Metadata     map[string]map[string]any `key:"capability_metadata" doc:"Facts on single capabilities, by capability."`
	Schedule     scheduleTable             `key:"schedule" doc:"When the agent starts a conversation by itself."`
	Approval     approvalTable             `key:"approval" doc:"What the agent may do only when somebody agrees, and who that is."`
	Budget       budgetsTable              `key:"budget" doc:"What the agent may spend. Without conversation, day or total the amounts are those of one conversation."`

	inertTables
}

// priorityDefault is Definition.Priority when the file says nothing.
const priorityDefault = 50

type templateTable struct {
	Request string `key:"request_handler" alias:"request" doc:"For requests."`
	Query   string `key:"query_handler" alias:"query" doc:"For queries."`
	Inform  string `key:"inform_handler" alias:"inform" doc:"For what others tell."`
}

type llmTable struct {
	Provider         string          `key:"provider" example:"provider: openai" doc:"Which provider answers."`
	Model            string          `key:"model" doc:"Which of its models."`
	Fallback         []string        `key:"fallback" alias:"fallbacks" doc:"Providers to ask when the first does not answer, in order."`
	Temperature      *float64        `key:"temperature" min:"0" max:"2" doc:"How freely the model chooses its words."`
	TopP             *float64        `key:"top_p" min:"0" max:"1" doc:"Share of likely words the model chooses from."`
	FrequencyPenalty *float64        `key:"frequency_penalty" min:"-2" max:"2" doc:"How much repeated words are avoided."`
	PresencePenalty  *float64        `key:"presence_penalty" min:"-2" max:"2" doc:"How much words used before are avoided."`
	MaxTokens        int             `key:"max_tokens" min:"1" max:"10000000" doc:"Length of an answer, in tokens."`
	Timeout          caxton.Duration `key:"timeout" min:"1ms" doc:"How long to wait for an answer."`
}

type memoryTable struct {
	Enabled     bool              `key:"enabled" default:"false" doc:"Whether the agent remembers."`
	Scope       scope             `key:"scope" default:"agent" doc:"Who shares the memory."`
	Workspace   string            `key:"workspace" max:"128" doc:"The workspace it belongs to; without it default."`
	Backend     string            `key:"backend" oneof:"embedded,qdrant,neo4j" doc:"Where it is kept; without it where the server keeps it."`
	Retention   caxton.Duration   `key:"retention" alias:"retention_period" doc:"How long it is kept; without it for ever."`
	MaxEntities int               `key:"max_entities" alias:"max_entries" min:"1" doc:"How many things it holds."`
	Search      memorySearchTable `key:"search" doc:"How it is searched."`
	Settings    memorySettings    `key:"settings"`

	MaxRelations         any             `key:"max_relations" inert:"true"`
	SemanticSearch       any             `key:"semantic_search" inert:"true"`
	RelationshipTracking any             `key:"relationship_tracking" inert:"true"`
	AutoCleanup          any             `key:"auto_cleanup" inert:"true"`
	LearningRate         any             `key:"learning_rate" inert:"true"`
	ContextPreparation   *contextPrepare `key:"context_preparation" inert:"true"`
}

type memorySearchTable struct {
	SimilarityThreshold float64         `key:"similarity_threshold" min:"0" max:"1" doc:"How alike a memory must be to be recalled."`
	MaxResults          int             `key:"max_results" min:"1" max:"1000" doc:"How many memories are recalled."`
	CacheTTL            caxton.Duration `key:"cache_ttl" doc:"How long a result is reused."`
}

type memorySettings struct {
	RetentionDays   int `key:"retention_days" min:"1" max:"36500" doc:"How long memory is kept, in days."`
	AutoStore       any `key:"auto_store" inert:"true"`
	HybridSearch    any `key:"hybrid_search" inert:"true"`
	SemanticWeight  any `key:"semantic_weight" inert:"true"`
	ContentTypes    any `key:"content_types" inert:"true"`
	ExcludePatterns any `key:"exclude_patterns" inert:"true"`
	VersionLimit    any `key:"version_limit" inert:"true"`
	BatchSize       any `key:"batch_size" inert:"true"`
	CacheEnabled    any `key:"cache_enabled" inert:"true"`
	PreloadContext  any `key:"preload_context" inert:"true"`
}

type contextPrepare struct {
	Enabled            any `key:"enabled"`
	MaxContextLength   any `key:"max_context_length"`
	RelevanceThreshold any `key:"relevance_threshold"`
}

type conversationTable struct {
	MaxTurns        int             `key:"max_turns" min:"1" doc:"How many turns a conversation may have; without it any number."`
	Timeout         caxton.Duration `key:"timeout" min:"1s" doc:"Idle time after which it ends."`
	ContextTokens   int             `key:"context_window" alias:"context_tokens" min:"1" default:"4096" doc:"How much of the history the model is shown, in tokens."`
	ContextMessages int             `key:"context_messages" min:"1" doc:"How many messages of the history the model is shown at most."`

	MemoryIntegration any `key:"memory_integration" inert:"true"`
	MemoryStrategy    any `key:"memory_strategy" inert:"true"`
	MaintainContext   any `key:"maintain_context" inert:"true"`
	AutoSummarize     any `key:"auto_summarize" inert:"true"`
}

type performanceTable struct {
	MaxConcurrent  int             `key:"max_concurrent_requests" alias:"max_concurrent" min:"1" max:"10000" default:"10" doc:"How many messages the agent handles at once."`
	RequestTimeout caxton.Duration `key:"request_timeout" alias:"max_execution_time" min:"1ms" doc:"How long one turn may take."`
	MaxSteps       int             `key:"max_steps" min:"1" max:"1000" default:"8" doc:"How often the model may be called in one turn."`
	QueueSize      int             `key:"queue_size" min:"1" max:"10000000" doc:"How many messages may wait."`

	MaxMemoryUsage            any `key:"max_memory_usage" inert:"true"`
	ConcurrentTools           any `key:"concurrent_tools" inert:"true"`
	ContextPreparationTimeout any `key:"context_preparation_timeout" inert:"true"`
	ContextCacheTTL           any `key:"context_cache_ttl" inert:"true"`
	CacheResponses            any `key:"cache_responses" inert:"true"`
	PreloadMemory             any `key:"preload_memory" inert:"true"`
	LazyToolLoading           any `key:"lazy_tool_loading" inert:"true"`
	OptimizePrompts           any `key:"optimize_prompts" inert:"true"`
}

type limitsTable struct {
	MaxMemory          caxton.Size     `key:"max_memory_bytes" alias:"max_memory" doc:"Memory of the module."`
	MaxFuel            int64           `key:"max_fuel" min:"0" doc:"Instructions of one turn."`
	MaxExecutionTime   caxton.Duration `key:"max_execution_time" doc:"Time of one turn."`
	MaxExecutionMillis int64           `key:"max_execution_time_ms" min:"0" max:"9000000000000" doc:"The same in milliseconds."`
	MaxMessageSize     caxton.Size     `key:"max_message_size" alias:"max_message_size_bytes" doc:"Size of a message."`
	MaxCPUMillis       int64           `key:"max_cpu_millis" min:"0" max:"9000000000000" doc:"Processor time of one turn, in milliseconds."`

	MaxConversations any `key:"max_conversations" alias:"conversation_limit" inert:"true"`
	ToolCallTimeout  any `key:"tool_call_timeout" inert:"true"`
}

// A moduleEntry is the key module: a path, or a table.
type moduleEntry struct{ moduleTable }

type moduleTable struct {
	File        string           `key:"file" doc:"A file beside this one, or sha256: and the hash of a module that the server has."`
	Grants      []string         `key:"grants" doc:"What the module may do besides answering; without it what follows from tools, and its log, state, clock, random numbers and parameters."`
	Directories []directoryTable `key:"directories" doc:"Directories of the server that the module sees, within what the server allows."`
}

type directoryTable struct {
	Guest string `key:"guest" required:"true" min:"2" example:"guest: /data" doc:"The directory as the module sees it."`
	Host  string `key:"host" required:"true" min:"1" example:"host: /srv/data" doc:"The directory of the server."`
	Write bool   `key:"write" default:"false" doc:"Whether the module may change what is there."`
}

// UnmarshalNode reads either form.
func (m *moduleEntry) UnmarshalNode(n *tree.Node, _ string, o tree.DecodeOptions) []caxton.Issue {
	if n.Kind == tree.String {
		return tree.Decode(n, &m.File, o)
	}
	return tree.Decode(n, &m.moduleTable, o)
}

// Schema describes both forms.
func (*moduleEntry) Schema() map[string]any {
	return map[string]any{"oneOf": []any{
		map[string]any{"type": "string", "minLength": 1},
		tree.SchemaOf[moduleTable](),
	}}
}

type scheduleTable struct {
	Enabled  *bool  `key:"enabled" default:"true" doc:"Whether the schedule counts."`
	Cron     string `key:"cron" example:"cron: 0 9 * * MON-FRI" doc:"When: minute, hour, day of the month, month, day of the week."`
	Timezone string `key:"timezone" default:"UTC" example:"timezone: Europe/Vienna" doc:"IANA name of the time zone that the times are in."`

	Message string          `key:"message" example:"message: Write the morning report." doc:"What the agent is sent; without it a sentence that says when it is."`
	Missed  string          `key:"missed" oneof:"skip,once,all" default:"once" doc:"What becomes of runs that were due while the server was down or the agent suspended: none happens, one stands for all, or all happen, the latest hundred at most."`
	Overlap string          `key:"overlap" oneof:"skip,allow" default:"skip" doc:"What becomes of a run that is due while the one before is at work."`
	Jitter  caxton.Duration `key:"jitter" min:"0s" max:"1h" doc:"Each run begins up to this much later, so that not all begin at once."`
}

// inertTables are the tables that have no effect yet.
type inertTables struct {
	Permissions         *permissionsTable `key:"permissions" inert:"true" doc:"Has no effect yet."`
	Security            *securityTable    `key:"security" inert:"true" doc:"Has no effect yet."`
	Audit               *auditTable       `key:"audit" inert:"true" doc:"Has no effect yet."`
	Monitoring          *monitoringTable  `key:"monitoring" inert:"true" doc:"Has no effect yet."`
	Development         *developmentTable `key:"development" inert:"true" doc:"Has no effect yet."`
	Deployment          *deploymentTable  `key:"deployment" inert:"true" doc:"Has no effect yet."`
	Cache               *cacheTable       `key:"cache" inert:"true" doc:"Has no effect yet."`
	Messaging           *messagingTable   `key:"messaging" inert:"true" doc:"Has no effect yet."`
	Profiling           *profilingTable   `key:"performance_config" inert:"true" doc:"Has no effect yet."`
	ContextRequirements map[string]any    `key:"context_requirements" alias:"context_configuration,context_preferences" inert:"true" doc:"Has no effect yet."`
	RoutingRules        []routingRule     `key:"routing_rules" inert:"true" doc:"Has no effect yet."`
	Workflows           map[string]any    `key:"workflows" inert:"true" doc:"Has no effect yet."`
	ErrorHandling       map[string]any    `key:"error_handling" inert:"true" doc:"Has no effect yet."`
	ErrorTemplates      map[string]any    `key:"error_templates" inert:"true" doc:"Has no effect yet."`
	UserPromptTemplates map[string]string `key:"user_prompt_templates" inert:"true" doc:"Has no effect yet."`
}

type permissionsTable struct {
	FileAccess    any `key:"file_access"`
	NetworkAccess any `key:"network_access"`
	MemoryLimit   any `key:"memory_limit"`
	CPULimit      any `key:"cpu_limit"`
}

type securityTable struct {
	RestrictedTools   any `key:"restricted_tools"`
	MaxMemoryUsage    any `key:"max_memory_usage"`
	MaxProcessingTime any `key:"max_processing_time"`
	AllowedDomains    any `key:"allowed_domains"`
	Sandbox           any `key:"sandbox_restrictions"`
}

type auditTable struct {
	LogOperations    any `key:"log_operations"`
	LogSensitiveData any `key:"log_sensitive_data"`
	Retention        any `key:"retention_period" alias:"retention"`
}

type monitoringTable struct {
	HealthCheckInterval   any `key:"health_check_interval"`
	PerformanceTracking   any `key:"performance_tracking"`
	ErrorReporting        any `key:"error_reporting"`
	MetricsEnabled        any `key:"metrics_enabled"`
	LogLevel              any `key:"log_level"`
	ConversationAnalytics any `key:"conversation_analytics"`
	CustomMetrics         any `key:"custom_metrics"`
}

type developmentTable struct {
	HotReload any `key:"hot_reload"`
	DebugMode any `key:"debug_mode"`
	TestMode  any `key:"test_mode"`
}

type deploymentTable struct {
	Replicas       any `key:"replicas"`
	AutoScale      any `key:"auto_scale"`
	HealthCheck    any `key:"health_check"`
	ResourceLimits any `key:"resource_limits"`
}

type cacheTable struct {
	Enabled any `key:"enabled"`
	TTL     any `key:"ttl"`
}

type messagingTable struct {
	AutoRespond         any `key:"auto_respond"`
	ResponseFormat      any `key:"response_format"`
	ContextOptimization any `key:"context_optimization"`
	ResponseCaching     any `key:"response_caching"`
	BatchProcessing     any `key:"batch_processing"`
}

type profilingTable struct {
	EnableProfiling any `key:"enable_profiling"`
	SampleRate      any `key:"sample_rate"`
	MemoryTracking  any `key:"memory_tracking"`
	CPUTracking     any `key:"cpu_tracking"`
}

type routingRule struct {
	Condition any `key:"condition"`
	Tools     any `key:"tools"`
}

// A spelling is another place where a key may stand.
type spelling struct{ from, to string }

// spellings lists where keys may stand instead of their canonical place. Other names within
// one table are alias tags.
func spellings() []spelling {
	return []spelling{
		{"memory_enabled", "memory.enabled"},
		{"memory_scope", "memory.scope"},
		{"memory.settings.search_threshold", "memory.search.similarity_threshold"},
		{"memory.settings.max_results", "memory.search.max_results"},
		{"performance.llm_config", "llm"},
		{"conversation.temperature", "llm.temperature"},
		{"conversation_settings.context_window", "conversation.context_messages"},
		{"conversation_settings.timeout", "conversation.timeout"},
		{"conversation_settings.maintain_context", "conversation.maintain_context"},
		{"conversation_settings.auto_summarize", "conversation.auto_summarize"},
		{"messaging.conversation_timeout", "conversation.timeout"},
		{"messaging.max_conversation_length", "conversation.max_turns"},
		{"messaging.context_window", "conversation.context_messages"},
		{"messaging.context_optimization.max_context_tokens", "conversation.context_window"},
		{"resource_limits.memory_scope", "memory.scope"},
		{"resource_limits.max_memory_entities", "memory.max_entities"},
		{"resource_limits.memory_search_limit", "memory.search.max_results"},
		{"resource_limits.response_timeout", "performance.request_timeout"},
		{"budget.tokens", "budget.conversation.tokens"},
		{"budget.tool_calls", "budget.conversation.tool_calls"},
		{"budget.wall_time", "budget.conversation.wall_time"},
		{"budget.money", "budget.conversation.money"},
	}
}

// A scope is who shares a memory.
type scope string

// UnmarshalText reads a scope.
func (s *scope) UnmarshalText(b []byte) error {
	switch word := strings.ToLower(string(b)); word {
	case "agent", "workspace", "global":
		*s = scope(word)
	case "agent-only", "agent_only":
		*s = "agent"
	default:
		e := caxton.Errorf(caxton.Invalid, "scope_invalid", "%q is not a scope", b)
		if near := tree.Nearest(word, []string{"agent", "workspace", "global"}); near != "" {
			return e.WithHint("did you mean %s?", near)
		}
		return e.WithHint("use agent, workspace or global")
	}
	return nil
}

// Schema describes a scope.
func (*scope) Schema() map[string]any {
	return map[string]any{"type": "string", "enum": []any{"agent", "workspace", "global", "agent-only"}}
}

// A capability is a caxton.Capability that a file may offer, with its place.
type capability struct {
	name caxton.Capability
	node *tree.Node
}

// UnmarshalNode reads a capability and looks for what a faulty one was meant to be.
func (c *capability) UnmarshalNode(n *tree.Node, key string, o tree.DecodeOptions) []caxton.Issue {
	var s string
	if issues := tree.Decode(n, &s, o); len(issues) > 0 {
		return issues
	}
	fault := caxton.Issue{Path: o.Path, Line: n.Line, Column: n.Column, Key: key}
	p, err := caxton.ParseCapability(s)
	if err == nil && p.Reserved() {
		fault.Message, fault.Hint = key+": names that begin with system: belong to the server", "choose another name"
		return []caxton.Issue{fault}
	}
	if err != nil {
		fault.Message = key + ": " + quoted(s) + " is not a capability name"
		fault.Hint = "write it like data-analysis"
		if meant, err := caxton.ParseCapability(meantCapability(s)); err == nil {
			fault.Hint = "write it " + meant.String()
		}
		return []caxton.Issue{fault}
	}
	c.name, c.node = p, n
	return nil
}

// Schema describes a capability.
func (*capability) Schema() map[string]any { return tree.SchemaOf[caxton.Capability]() }

// meantCapability returns the words of s in the form of a capability.
func meantCapability(s string) string {
	var parts []string
	for part := range strings.SplitSeq(s, ".") {
		if slug := caxton.Slug(part); slug != "" {
			parts = append(parts, slug)
		}
	}
	return strings.Join(parts, ".")
}

// A toolEntry is an entry of tools: a name, or a table with a name and permissions.
type toolEntry struct {
	grant caxton.ToolGrant
	node  *tree.Node // of the name
}

type toolTable struct {
	Name         string          `key:"name" required:"true" min:"1" example:"name: http_client" doc:"Which tool."`
	AllowedHosts []string        `key:"allowed_hosts" doc:"For http_client: only these hosts."`
	AllowedPaths []string        `key:"allowed_paths" doc:"For file_read: only below these."`
	Approval     needed          `key:"approval" doc:"Whether somebody must approve each call: true (or required) or false."`
	Idempotent   bool            `key:"idempotent" doc:"Whether repeating a call under the same key does no harm; then a call whose outcome is lost is made again."`
	Permissions  toolPermissions `key:"permissions" doc:"What the tool may do for this agent."`
}

type toolPermissions struct {
	AllowedHosts []string `key:"allowed_hosts" doc:"For http_client: only these hosts."`
	AllowedPaths []string `key:"allowed_paths" doc:"For file_read: only below these."`

	FileAccess     any `key:"file_access" inert:"true"`
	NetworkAccess  any `key:"network_access" inert:"true"`
	RateLimit      any `key:"rate_limit" inert:"true"`
	SystemAccess   any `key:"system_access" inert:"true"`
	AllowedMetrics any `key:"allowed_metrics" inert:"true"`
}

// UnmarshalNode reads either form.
func (t *toolEntry) UnmarshalNode(n *tree.Node, key string, o tree.DecodeOptions) []caxton.Issue {
	t.node = n
	if n.Kind != tree.Map {
		issues := tree.Decode(n, &t.grant.Name, o)
		if len(issues) == 0 && t.grant.Name == "" {
			issues = []caxton.Issue{{Path: o.Path, Line: n.Line, Column: n.Column, Key: key, Message: key + " is empty", Hint: "write the name of a tool"}}
		}
		return issues
	}
	var table toolTable
	if issues := tree.Decode(n, &table, o); len(issues) > 0 {
		return issues
	}
	if f := n.Field("name"); f != nil {
		t.node = f.Node
	}
	t.grant = caxton.ToolGrant{
		Name:         table.Name,
		AllowedHosts: append(table.AllowedHosts, table.Permissions.AllowedHosts...),
		AllowedPaths: append(table.AllowedPaths, table.Permissions.AllowedPaths...),
		Approval:     bool(table.Approval),
		Idempotent:   table.Idempotent,
	}
	return nil
}

// Schema describes both forms.
func (*toolEntry) Schema() map[string]any {
	return map[string]any{"oneOf": []any{
		map[string]any{"type": "string", "minLength": 1},
		tree.SchemaOf[toolTable](),
	}}
}
