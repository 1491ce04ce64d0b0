package api

import (
	"encoding/json"
	"time"
)

// Version is the version of the interface, the first part of every path.
const Version = "v1"

// Health is the answer of GET /api/v1/health.
type Health struct {
	Status        string  `json:"status" doc:"healthy or draining" example:"healthy"`
	MemoryBackend string  `json:"memory_backend" example:"embedded"`
	Agents        int     `json:"agents" doc:"number of deployed agents" example:"5"`
	Version       string  `json:"version" example:"0.1.0"`
	UptimeSeconds float64 `json:"uptime_seconds"`
}

// MemoryHealth is the answer of GET /api/v1/health/memory.
type MemoryHealth struct {
	Status         string `json:"status" doc:"healthy, loading or failed" example:"healthy"`
	SQLiteStatus   string `json:"sqlite_status" example:"ok"`
	EmbeddingModel string `json:"embedding_model" doc:"loaded or not_loaded" example:"loaded"`
	Reason         string `json:"reason,omitempty" doc:"why it is not well"`
}

// Ready is the answer of GET /ready.
type Ready struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty" doc:"why not"`
}

// VersionInfo is the answer of GET /api/v1/version.
type VersionInfo struct {
	Version string `json:"version" example:"0.1.0"`
	Go      string `json:"go" example:"go1.26"`
	API     string `json:"api" example:"v1"`
	OS      string `json:"os" example:"linux/amd64"`
}

// Status is the answer of GET /api/v1/status: the server at a glance.
type Status struct {
	Status        string         `json:"status" example:"healthy"`
	Version       string         `json:"version"`
	StartedAt     time.Time      `json:"started_at"`
	UptimeSeconds float64        `json:"uptime_seconds"`
	APIAddress    string         `json:"api_address"`
	DataDir       string         `json:"data_dir"`
	AgentsDir     string         `json:"agents_dir"`
	Durability    string         `json:"durability" example:"normal"`
	Provider      string         `json:"llm_provider" doc:"who answers for agents that choose nothing" example:"builtin"`
	Providers     []Provider     `json:"providers" doc:"how each provider of models does"`
	Agents        map[string]int `json:"agents" doc:"number of agents by state"`
	Queued        int            `json:"queued" doc:"messages waiting"`
	InFlight      int            `json:"in_flight" doc:"messages being handled"`
	Tickets       map[string]int `json:"tickets" doc:"number of approvals, effects and dead letters that wait for somebody, by kind"`
	Faults        []FileFault    `json:"faults" doc:"agent files that cannot be loaded"`
	MemoryBytes   int64          `json:"memory_bytes" doc:"resident memory of the process"`
	DatabaseBytes int64          `json:"database_bytes"`
}

// A Provider is a source of models, and how it does.
type Provider struct {
	Name     string     `json:"name" example:"openai"`
	State    string     `json:"state" enum:"closed,half-open,open" doc:"of its breaker. closed: it is asked; open: it is left alone after failures; half-open: it is tried again"`
	Failures int        `json:"failures" doc:"in a row"`
	RetryAt  *time.Time `json:"retry_at,omitempty" doc:"when one that is left alone is tried again"`
	Reason   string     `json:"reason,omitempty" doc:"of the newest failure"`
}

// A FileFault is an agent file that cannot be loaded.
type FileFault struct {
	Path    string    `json:"path"`
	Agent   string    `json:"agent" doc:"file name without extension"`
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"`
	Issues  []Issue   `json:"issues"`
	At      time.Time `json:"at"`
}

// An Agent is a deployed agent, or a file that could not be loaded (state failed, no ID).
type Agent struct {
	ID            string         `json:"id" doc:"UUID; empty for a file that never loaded" example:"550e8400-e29b-41d4-a716-446655440000"`
	Name          string         `json:"name" example:"DataAnalyzer"`
	Slug          string         `json:"slug" example:"data-analyzer"`
	File          string         `json:"file,omitempty" doc:"name of its file without extension"`
	Type          string         `json:"type" enum:"config,wasm"`
	State         string         `json:"state" enum:"loaded,running,suspended,draining,stopped,failed"`
	Status        string         `json:"status" doc:"the same as state"`
	Version       int            `json:"version" doc:"number of the active version"`
	Versions      int            `json:"versions"`
	SemVersion    string         `json:"declared_version,omitempty" example:"1.0.0"`
	Description   string         `json:"description,omitempty"`
	Capabilities  []string       `json:"capabilities"`
	Tools         []string       `json:"tools"`
	MemoryEnabled bool           `json:"memory_enabled"`
	Source        string         `json:"source" doc:"path of its file, or api"`
	Queued        int            `json:"queued"`
	InFlight      int            `json:"in_flight"`
	Handled       int64          `json:"handled"`
	Failed        int64          `json:"failed"`
	Restarts      int64          `json:"restarts"`
	LatencyP50    float64        `json:"latency_p50_ms"`
	LatencyP99    float64        `json:"latency_p99_ms"`
	LastError     string         `json:"last_error,omitempty"`
	LastErrorAt   *time.Time     `json:"last_error_at,omitempty"`
	LastActivity  *time.Time     `json:"last_activity,omitempty"`
	NextRestart   *time.Time     `json:"next_restart,omitempty"`
	Schedule      *Schedule      `json:"schedule,omitempty" doc:"when it is started by the clock"`
	Rollout       *Rollout       `json:"rollout,omitempty" doc:"that is open; not in lists"`
	Issues        []Issue        `json:"issues,omitempty" doc:"faults of its file; the version before goes on running"`
	CreatedAt     *time.Time     `json:"created_at,omitempty"`
	UpdatedAt     *time.Time     `json:"updated_at,omitempty"`
	Module        *Module        `json:"module,omitempty" doc:"what a WASM agent runs"`
	Definition    map[string]any `json:"definition,omitempty" doc:"what its file says; only for a single agent"`
	Text          string         `json:"text,omitempty" doc:"the file as it was given; only for a single agent"`
}

// AgentList is the answer of GET /api/v1/agents.
type AgentList struct {
	Items  []Agent `json:"items"`
	Agents []Agent `json:"agents" doc:"the same as items"`
	Total  int     `json:"total"`
	Next   string  `json:"next,omitempty" doc:"cursor of the next page"`
}

// A Deployment is the answer to a deployment, reload or rollback.
type Deployment struct {
	ID           string   `json:"id"`
	AgentID      string   `json:"agent_id" doc:"the same as id"`
	Name         string   `json:"name"`
	Slug         string   `json:"slug"`
	Status       string   `json:"status" enum:"deployed,reloaded,unchanged,rolled_back,validated,rolling_out" example:"deployed"`
	Version      int      `json:"version"`
	FromVersion  int      `json:"from_version"`
	Capabilities []string `json:"capabilities"`
	Tools        []string `json:"tools"`
	Millis       float64  `json:"ms"`
	Warnings     []Issue  `json:"warnings"`
	Rollout      *Rollout `json:"rollout,omitempty" doc:"the rollout that was begun, or ended"`

	Module *Module `json:"module,omitempty" doc:"what a WASM agent runs"`
}

// A Module is what a WASM agent runs.
type Module struct {
	SHA256      string            `json:"sha256" doc:"of the module"`
	Size        int64             `json:"size" doc:"in bytes"`
	Contract    string            `json:"contract" enum:"command,reactor,plugin," doc:"how it is run"`
	File        string            `json:"file,omitempty" doc:"where the agent's file says it is"`
	Limits      *ModuleLimits     `json:"limits,omitempty" doc:"what it runs under; a single agent's, and after a deployment"`
	Grants      []string          `json:"grants,omitempty" doc:"what it may do besides answering; a single agent's, and after a deployment"`
	Directories []ModuleDirectory `json:"directories,omitempty" doc:"directories of the server that it sees"`
	Functions   int               `json:"functions,omitempty" doc:"how many it has; after a deployment"`
	Imports     []ModuleImport    `json:"imports,omitempty" doc:"what it wants of the server; a single agent's that runs, and after a deployment"`
	Exports     []string          `json:"exports,omitempty" doc:"functions; after a deployment"`
	Use         *ModuleUse        `json:"use,omitempty" doc:"what it took since the server started; only for a single agent"`
}

// ModuleLimits bound one turn of a module.
type ModuleLimits struct {
	MaxMemoryBytes   int64 `json:"max_memory_bytes"`
	MaxFuel          int64 `json:"max_fuel" doc:"in units of a thousand instructions"`
	MaxExecutionTime int64 `json:"max_execution_time_ms"`
	MaxMessageSize   int64 `json:"max_message_size"`
}

// A ModuleDirectory is a directory that a module sees.
type ModuleDirectory struct {
	Guest string `json:"guest" doc:"as the module sees it"`
	Host  string `json:"host"`
	Write bool   `json:"write"`
}

// A ModuleImport is a function that a module wants of the server.
type ModuleImport struct {
	Module  string `json:"module"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Grant   string `json:"grant,omitempty" doc:"what it takes"`
	Granted bool   `json:"granted"`
}

// ModuleUse is what the module of an agent took since the server started.
type ModuleUse struct {
	Turns           int64       `json:"turns"`
	Errors          int64       `json:"errors" doc:"turns that failed"`
	Traps           int64       `json:"traps" doc:"turns in which it broke down or was stopped"`
	Fuel            int64       `json:"fuel" doc:"in units of a thousand instructions"`
	HostCalls       int64       `json:"host_calls"`
	Millis          float64     `json:"ms" doc:"time of all turns"`
	MemoryHighWater int64       `json:"memory_high_water_bytes"`
	Last            []Execution `json:"last" doc:"the newest turns, newest first"`
}

// An Execution is one turn of a module.
type Execution struct {
	MessageID     string    `json:"message_id"`
	Version       int       `json:"version"`
	At            time.Time `json:"at"`
	Millis        float64   `json:"ms"`
	StartupMillis float64   `json:"startup_ms" doc:"of it, to make an instance; 0 when one was ready"`
	Fuel          int64     `json:"fuel"`
	MemoryBytes   int64     `json:"memory_bytes"`
	HostCalls     int       `json:"host_calls"`
	ToolCalls     int       `json:"tool_calls"`
	Outputs       int       `json:"outputs"`
	OutputBytes   int       `json:"output_bytes"`
	LogBytes      int       `json:"log_bytes"`
	LogDropped    int       `json:"log_dropped_bytes"`
	LogLost       int       `json:"log_dropped_lines"`
	Code          string    `json:"code,omitempty" doc:"of the error it ended with"`
	Trap          string    `json:"trap,omitempty" doc:"what broke, and where"`
}

// An AgentVersion is one version of an agent.
type AgentVersion struct {
	Number    int       `json:"number"`
	Active    bool      `json:"active"`
	Role      string    `json:"role,omitempty" enum:"from,to,withdrawn" doc:"in an open rollout: the version before, or the new one; or that it was rolled back"`
	Hash      string    `json:"hash" doc:"SHA-256 of the text, and of its module's hash"`
	Author    string    `json:"author"`
	Source    string    `json:"source"`
	Format    string    `json:"format"`
	CreatedAt time.Time `json:"created_at"`
	Text      string    `json:"text,omitempty" doc:"only for a single version"`
	Type      string    `json:"type" enum:"config,wasm"`
	Module    *Module   `json:"module,omitempty" doc:"what a version of a WASM agent runs"`
}

// AgentVersions is the answer of GET /api/v1/agents/{agent}/versions.
type AgentVersions struct {
	Items    []AgentVersion `json:"items"`
	Versions []AgentVersion `json:"versions" doc:"the same as items"`
}

// A Diff is the difference of two versions.
type Diff struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Diff string `json:"diff" doc:"unified diff, empty when they are equal"`
}

// Validation is the report on a definition.
type Validation struct {
	Valid    bool    `json:"valid"`
	Name     string  `json:"name"`
	Errors   []Issue `json:"errors"`
	Warnings []Issue `json:"warnings"`
	Module   *Module `json:"module,omitempty" doc:"what was found out of a module"`
}

// A Reload is the result of the last reload of an agent or file.
type Reload struct {
	Agent       string    `json:"agent" doc:"file name without extension"`
	AgentID     string    `json:"agent_id"`
	State       string    `json:"state" enum:"reloaded,unchanged,failed,removed,pending"`
	FromVersion int       `json:"from_version"`
	ToVersion   int       `json:"to_version"`
	At          time.Time `json:"at"`
	Millis      float64   `json:"ms"`
	Error       string    `json:"error,omitempty"`
	Issues      []Issue   `json:"issues"`
}

// ReloadList is the answer to a reload of all agents.
type ReloadList struct {
	Items   []Reload `json:"items"`
	Reloads []Reload `json:"reloads" doc:"the same as items"`
}

// AgentNames is the answer to a change of several agents.
type AgentNames struct {
	Items  []string `json:"items"`
	Agents []string `json:"agents" doc:"the same as items: the slugs of the agents that were changed"`
}

// Ping is the answer of an agent's sign of life.
type Ping struct {
	Agent  string  `json:"agent"`
	Alive  bool    `json:"alive"`
	Micros float64 `json:"us" doc:"time it took"`
}

// AgentCapabilities is the answer of GET /api/v1/agents/{agent}/capabilities.
type AgentCapabilities struct {
	Agent        string   `json:"agent"`
	Items        []string `json:"items"`
	Capabilities []string `json:"capabilities" doc:"the same as items"`
}

// A LogLine is one line of an agent's log.
type LogLine struct {
	ID      int64          `json:"id"`
	At      time.Time      `json:"at"`
	Level   string         `json:"level" example:"INFO"`
	Agent   string         `json:"agent"`
	Message string         `json:"message"`
	Attrs   map[string]any `json:"attrs,omitempty"`
}

// LogLines is the answer of GET /api/v1/agents/{agent}/logs.
type LogLines struct {
	Items []LogLine `json:"items"`
	Lines []LogLine `json:"lines" doc:"the same as items"`
}

// ToolUse tells which of its tools an agent has used.
type ToolUse struct {
	Agent    string           `json:"agent"`
	Declared []string         `json:"declared"`
	Uses     map[string]int64 `json:"uses"`
	Unused   []string         `json:"unused"`
}

// ToolUses is the answer of GET /api/v1/agents/audit-tools.
type ToolUses struct {
	Items []ToolUse `json:"items"`
}

// Performance is how one agent performs.
type Performance struct {
	Agent      string  `json:"agent"`
	State      string  `json:"state"`
	Handled    int64   `json:"handled"`
	Failed     int64   `json:"failed"`
	ErrorRate  float64 `json:"error_rate" doc:"0 to 1"`
	LatencyP50 float64 `json:"latency_p50_ms"`
	LatencyP99 float64 `json:"latency_p99_ms"`
	Queued     int     `json:"queued"`
	InFlight   int     `json:"in_flight"`
	Restarts   int64   `json:"restarts"`
	PerMinute  float64 `json:"per_minute" doc:"turns per minute since the agent's state began"`
}

// Performances is the answer of GET /api/v1/agents/performance.
type Performances struct {
	Items []Performance `json:"items"`
}

// Analysis is the answer of GET /api/v1/agents/analyze.
type Analysis struct {
	Pattern string         `json:"pattern"`
	Since   time.Time      `json:"since"`
	Matches int            `json:"matches"`
	ByAgent map[string]int `json:"by_agent"`
	ByLevel map[string]int `json:"by_level"`
	Items   []LogLine      `json:"items" doc:"the newest matching lines"`
}

// A Debug view shows an agent from the inside.
type Debug struct {
	Agent         Agent          `json:"agent"`
	Tools         []Tool         `json:"tools"`
	Prompt        PromptPreview  `json:"prompt" doc:"what the model would be sent for a message"`
	Conversations []Conversation `json:"conversations" doc:"the newest ones it takes part in"`
}

// A PromptPreview is the request a message would make of the model.
type PromptPreview struct {
	Model     string   `json:"model"`
	System    string   `json:"system"`
	Documents []string `json:"documents"`
	Messages  []string `json:"messages"`
	Tools     []string `json:"tools"`
	Error     string   `json:"error,omitempty"`
}

// A TestRun is the answer to a test input.
type TestRun struct {
	Reply   Reply    `json:"reply"`
	Records []Record `json:"records" doc:"all that happened in the turn"`
	Millis  float64  `json:"ms"`
}

// A Message is a message to be sent.
type Message struct {
	MessageID      string          `json:"message_id,omitempty" maxLength:"128" doc:"your own ID: sending it twice delivers once"`
	Capability     string          `json:"capability,omitempty" maxLength:"100" doc:"what the receiver must be able to do" example:"greeting"`
	Receiver       string          `json:"receiver,omitempty" maxLength:"200" doc:"an agent: UUID, name, slug or file stem" example:"greeter"`
	Performative   string          `json:"performative,omitempty" maxLength:"40" doc:"FIPA ACL performative; request when absent" example:"request"`
	Content        json.RawMessage `json:"content,omitempty" doc:"text, or any JSON value"`
	Text           string          `json:"message,omitempty" doc:"the content as text, instead of content"`
	ConversationID string          `json:"conversation_id,omitempty" maxLength:"128" doc:"continue this conversation"`
	Sender         string          `json:"sender,omitempty" maxLength:"100" doc:"what you call yourself"`
	Language       string          `json:"language,omitempty" maxLength:"100"`
	Ontology       string          `json:"ontology,omitempty" maxLength:"100"`
	Protocol       string          `json:"protocol,omitempty" maxLength:"100"`
	ReplyWith      string          `json:"reply_with,omitempty" maxLength:"200"`
	InReplyTo      string          `json:"in_reply_to,omitempty" maxLength:"200"`
	ReplyBy        *time.Time      `json:"reply_by,omitempty" doc:"no answer is wanted after this"`
	Priority       int             `json:"priority,omitempty" minimum:"0" maximum:"10" doc:"10 goes first; 0 means 5"`
	Strategy       string          `json:"routing_strategy,omitempty" maxLength:"40" doc:"best_match, round_robin, least_loaded, priority or broadcast"`
}

// A Receipt tells what became of a message, and the reply when it came in time.
type Receipt struct {
	MessageID      string    `json:"message_id"`
	ConversationID string    `json:"conversation_id"`
	RoutedTo       string    `json:"routed_to" doc:"slug of the agent that got it"`
	AgentID        string    `json:"agent_id"`
	Strategy       string    `json:"routing_strategy"`
	Status         string    `json:"status" enum:"accepted,answered,handled" doc:"handled: without a reply"`
	Duplicate      bool      `json:"duplicate,omitempty" doc:"this message was accepted before"`
	Timestamp      time.Time `json:"timestamp"`
	Reply          *Reply    `json:"reply,omitempty"`

	Others []OtherReceipt `json:"others,omitempty" doc:"of a broadcast: the further receivers"`
}

// An OtherReceipt tells of a further receiver of a broadcast.
type OtherReceipt struct {
	MessageID      string `json:"message_id"`
	ConversationID string `json:"conversation_id"`
	RoutedTo       string `json:"routed_to" doc:"slug of the agent that got it"`
	AgentID        string `json:"agent_id"`
}

// A Reply is a message that an agent sent.
type Reply struct {
	MessageID    string          `json:"message_id"`
	Performative string          `json:"performative" example:"inform"`
	Sender       string          `json:"sender"`
	Content      json.RawMessage `json:"content" doc:"text, or any JSON value"`
	Text         string          `json:"text" doc:"the content as text"`
	InReplyTo    string          `json:"in_reply_to"`
	Timestamp    time.Time       `json:"timestamp"`
}

// A MessageStatus is the answer of GET /api/v1/messages/{id}.
type MessageStatus struct {
	MessageID      string          `json:"message_id"`
	ConversationID string          `json:"conversation_id"`
	Sender         string          `json:"sender"`
	Receiver       string          `json:"receiver"`
	Performative   string          `json:"performative"`
	Content        json.RawMessage `json:"content"`
	Status         string          `json:"status" enum:"pending,done,failed,unknown,cancelled"`
	State          string          `json:"state" enum:"waiting,running,parked,settled" doc:"waiting: for its turn, or for the next attempt; parked: for a decision; running is known after a moment"`
	Attempts       int             `json:"attempts" doc:"how often it was begun, as far as is written down"`
	NotBefore      *time.Time      `json:"not_before,omitempty" doc:"of one that waits or is parked: when it goes on at the latest"`
	Waits          string          `json:"waits_for,omitempty" doc:"of one that waits or is parked: what for"`
	Tickets        []string        `json:"tickets,omitempty" doc:"IDs of the approvals that it waits for"`
	Parent         string          `json:"parent,omitempty" doc:"the conversation that its conversation came out of"`
	Root           string          `json:"root,omitempty" doc:"the conversation at the root of the tree"`
	Depth          int             `json:"depth,omitempty" doc:"how many conversations are above"`
	Code           string          `json:"code,omitempty" doc:"of an error, for programs"`
	Error          string          `json:"error,omitempty"`
	Routing        Routing         `json:"routing"`
	Replies        []Reply         `json:"replies"`
	Timestamp      time.Time       `json:"timestamp"`
}

// Routing tells how a receiver was chosen.
type Routing struct {
	Strategy   string      `json:"strategy"`
	Candidates []Candidate `json:"candidates" doc:"best first"`
}

// A Candidate is an agent that was considered.
type Candidate struct {
	Agent      string  `json:"agent"`
	Score      float64 `json:"score"`
	Match      float64 `json:"match"`
	Health     float64 `json:"health"`
	Load       float64 `json:"load"`
	Continuity float64 `json:"continuity"`
}

// A Conversation is a thread of messages.
type Conversation struct {
	ID           string    `json:"id"`
	Parent       string    `json:"parent,omitempty"`
	Status       string    `json:"status" enum:"active,idle,archived"`
	Participants []string  `json:"participants"`
	MessageCount int       `json:"message_count"`
	CreatedAt    time.Time `json:"created_at"`
	LastActivity time.Time `json:"last_activity"`
	Matches      []Match   `json:"matches,omitempty" doc:"of a search: its messages that match"`

	Tickets []Ticket `json:"tickets,omitempty" doc:"what waits for somebody in it; only for a single conversation"`
}

// ConversationList is the answer of GET /api/v1/conversations.
type ConversationList struct {
	Items         []Conversation `json:"items"`
	Conversations []Conversation `json:"conversations" doc:"the same as items"`
	Next          string         `json:"next,omitempty" doc:"cursor of the next page"`
}

// A Record is one thing that happened in a conversation.
type Record struct {
	Seq       int64           `json:"seq" doc:"position in the conversation's log, from 1"`
	At        time.Time       `json:"at"`
	Kind      string          `json:"kind" example:"message"`
	MessageID string          `json:"message_id"`
	AgentID   string          `json:"agent_id,omitempty"`
	Body      json.RawMessage `json:"body" doc:"depends on the kind"`
}

// Records is the answer of GET /api/v1/conversations/{id}/records.
type Records struct {
	Items   []Record `json:"items"`
	Records []Record `json:"records" doc:"the same as items"`
	Next    int64    `json:"next,omitempty" doc:"give it as after for the next page"`
}

// ConversationMessages is the answer of GET /api/v1/conversations/{id}/messages.
type ConversationMessages struct {
	Items    []Reply `json:"items"`
	Messages []Reply `json:"messages" doc:"the same as items"`
	Next     int64   `json:"next,omitempty" doc:"give it as after for the next page"`
}

// A Capability is something agents can do, and who can.
type Capability struct {
	Name   string   `json:"name" example:"greeting"`
	Agents []string `json:"agents" doc:"slugs of the agents that have it"`
}

// CapabilityList is the answer of GET /api/v1/capabilities.
type CapabilityList struct {
	Items        []Capability `json:"items"`
	Capabilities []Capability `json:"capabilities" doc:"the same as items"`
}

// A Tool is something agents may call.
type Tool struct {
	Name        string          `json:"name" example:"http_client"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters" doc:"JSON Schema of the arguments"`
	Idempotent  bool            `json:"idempotent" doc:"running it again does no harm"`
	Source      string          `json:"source" example:"builtin" doc:"builtin, or mcp: and the name of a server"`
	State       string          `json:"state" example:"approved" doc:"approved, or why it cannot be called: quarantined, blocked or denied"`
	Reason      string          `json:"reason,omitempty" doc:"why it cannot be called now"`
	MCP         *MCPTool        `json:"mcp,omitempty" doc:"for a tool of an MCP server, when it is asked for by name"`
}

// ToolList is the answer of GET /api/v1/tools.
type ToolList struct {
	Items []Tool `json:"items"`
	Tools []Tool `json:"tools" doc:"the same as items"`
}

// A ToolRun is the result of running a tool by hand.
type ToolRun struct {
	Text      string          `json:"text"`
	Data      json.RawMessage `json:"data,omitempty"`
	MediaType string          `json:"media_type,omitempty"`
	Millis    float64         `json:"ms"`
}

// A Setting is one key of the effective configuration.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value" doc:"masked for secrets"`
	Origin string `json:"origin" example:"file caxton.yaml:12"`
}

// Settings is the answer of GET /api/v1/config.
type Settings struct {
	Items []Setting `json:"items"`
	Inert []string  `json:"inert" doc:"keys that are set and have no effect in this version"`
}

// Shutdown asks the server to stop.
type Shutdown struct {
	Timeout string `json:"timeout,omitempty" doc:"how long turns in flight may take, such as 30s"`
}

// Accepted is the answer to what happens later.
type Accepted struct {
	Status string `json:"status" example:"stopping"`
}
