package caxton

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// An AgentType tells config agents (a prompt and tools in a file) from WASM agents.
type AgentType string

// The types of agents.
const (
	ConfigAgent AgentType = "config"
	WASMAgent   AgentType = "wasm"
)

// An AgentState says what an agent is doing.
type AgentState string

// The states of an agent.
const (
	AgentLoaded    AgentState = "loaded"    // deployed, not started yet
	AgentRunning   AgentState = "running"   // takes messages
	AgentSuspended AgentState = "suspended" // takes none until resumed; its messages wait
	AgentDraining  AgentState = "draining"  // finishes what it has, takes no more
	AgentStopped   AgentState = "stopped"   // ended
	AgentFailed    AgentState = "failed"    // broke down; restarts after a pause, or its file is faulty
)

// An Agent is something that answers messages. It keeps its ID over all its versions.
type Agent struct {
	ID         AgentID
	Name       string // as declared
	Slug       string // Slug(Name)
	Stem       string // file name without extension, or "" when it came through the API
	Type       AgentType
	Version    int      // number of the active version, from 1
	Versions   int      // how many there are
	MinVersion int      // conversations pinned to an older version move up to the active one
	Withdrawn  []int    // versions that were rolled back: conversations pinned to them move to the active one
	Rollout    *Rollout // the last one, open or ended; nil when there was none; never changed
	Definition Definition
	Suspended  bool   // an operator's wish; survives restarts
	Source     string // path of its file, or "api"
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// An AgentVersion is one immutable deployment of an agent.
type AgentVersion struct {
	AgentID    AgentID
	Number     int    // from 1, without gaps
	Hash       string // VersionHash of Text and the module, hex
	Author     string // who deployed it
	Source     string // path of the file, or "api"
	Format     string // "markdown", "toml", "json" or "yaml"
	Text       []byte // the definition as it was given
	Definition Definition
	CreatedAt  time.Time
}

// An AgentStatus is how an agent fares on this node.
type AgentStatus struct {
	AgentID      AgentID
	State        AgentState
	Since        time.Time // in this state since
	Version      int
	Queued       int // messages waiting
	InFlight     int // messages being handled
	Handled      int64
	Failed       int64
	Restarts     int64
	LastError    string
	LastErrorAt  time.Time
	LastActivity time.Time
	LatencyP50   time.Duration // of recent turns; 0 before the first
	LatencyP99   time.Duration
	NextRestart  time.Time // for failed agents; zero when it will not restart by itself
}

// A Definition is everything an agent's file says. Zero fields mean the documented defaults.
type Definition struct {
	Name          string
	Version       string // semantic version as declared, or ""
	Description   string
	Author        string
	Tags          []string
	Capabilities  []Capability
	Priority      int // for the strategy "priority": 0 to 1000, default 50
	Critical      bool
	Tools         []ToolGrant
	SystemPrompt  string
	Documentation string // Markdown: the body of the file
	Templates     Templates
	Parameters    map[string]any
	LLM           LLMSettings
	Memory        MemorySettings
	Conversation  ConversationSettings
	Performance   PerformanceSettings
	Limits        ResourceLimits
	ToolConfig    map[string]map[string]any
	Metadata      map[string]map[string]any // capability_metadata
	Schedule      Schedule
	Approval      ApprovalSettings
	Budget        Budgets
	Type          AgentType      `json:",omitzero"` // "" means ConfigAgent
	Module        Module         `json:",omitzero"` // of a WASM agent
	Extra         map[string]any // keys that are accepted and have no effect yet
}

// IsModule reports whether the definition is that of a WASM agent.
func (d *Definition) IsModule() bool { return d.Type == WASMAgent }

// AgentType returns the type of agents with the definition.
func (d *Definition) AgentType() AgentType {
	if d.IsModule() {
		return WASMAgent
	}
	return ConfigAgent
}

// A Module is the code of a WASM agent. What its file says of it comes first; the rest is
// known once it is deployed.
type Module struct {
	File   string         // where its file says it is: a path beside it, or ModulePrefix and a hash; "" when it came with the definition
	Grants []string       // what it may do besides answering; empty: what follows from its tools
	Dirs   []DirectoryUse // of the server, that it sees

	SHA256   string // of the module, hex
	Size     Size
	Contract string // how it is run: command, reactor, plugin
}

// ModulePrefix stands before the hash of a module that the server has already.
const ModulePrefix = "sha256:"

// A DirectoryUse lets a module see one directory of the server.
type DirectoryUse struct {
	Guest string // as the module sees it: "/data"
	Host  string
	Write bool // it may change what is there
}

// A ModuleReport is what a server found out about a module before it is deployed.
type ModuleReport struct {
	SHA256    string
	Size      Size
	Contract  string // "" when it keeps none
	Functions int
	Memory    Size // from the start
	MemoryMax Size // that it may grow to
	Imports   []ModuleImport
	Exports   []string       // functions, sorted
	Limits    ResourceLimits // that it will run under
	Grants    []string       // that it will have

	Capabilities []Capability // that the module says it has, when its definition says none
}

// A ModuleImport is a function that a module wants of the server.
type ModuleImport struct {
	Module, Name string
	Type         string
	Grant        string // what it takes; "" for nothing
	Granted      bool
}

// VersionHash returns the hash of a version: SHA-256 of its text and, for a WASM agent, of
// the hash of its module, so that another module makes another version.
func VersionHash(text []byte, module string) string {
	h := sha256.New()
	h.Write(text)
	if module != "" {
		h.Write([]byte("\n" + module))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// A ToolGrant allows an agent one tool. The empty lists add nothing to the server's policy.
type ToolGrant struct {
	Name         string
	AllowedHosts []string // for http_client: only these hosts, within what the server allows
	AllowedPaths []string // for file_read: only below these, within the sandbox
	Approval     bool     // each call needs somebody's approval; see Definition.Approval
	Idempotent   bool     // the author declares: repeating a call under the same key does no harm
}

// Templates shape the prompt that carries a message to the model. "" means the default:
// the message's text. See internal/prompt for the language.
type Templates struct {
	User    string // any performative
	Request string
	Query   string
	Inform  string
}

// LLMSettings choose and tune the model of an agent. Zero fields fall back to the server's.
type LLMSettings struct {
	Provider         string
	Model            string
	Fallback         []string // further providers, in order
	Temperature      *float64 // 0 to 2
	TopP             *float64 // 0 to 1
	FrequencyPenalty *float64
	PresencePenalty  *float64
	MaxTokens        int
	Timeout          time.Duration
}

// MemorySettings say whether and how an agent remembers.
type MemorySettings struct {
	Enabled             bool
	Scope               string // agent, workspace or global: the widest it sees, and where it writes; default agent
	Workspace           string // the workspace it belongs to; default DefaultWorkspace
	Backend             string
	Retention           time.Duration
	MaxEntities         int
	SimilarityThreshold float64
	MaxResults          int
	CacheTTL            time.Duration
}

// ConversationSettings bound what of a conversation a model is shown.
type ConversationSettings struct {
	MaxTurns      int           // 0: no limit
	Timeout       time.Duration // idle time after which it ends
	ContextTokens int           // budget for history, in estimated tokens; default 4096
	ContextTurns  int           // at most this many messages of history; 0: as many as fit
}

// PerformanceSettings bound what an agent may take.
type PerformanceSettings struct {
	MaxConcurrent  int           // turns at once; default 10
	RequestTimeout time.Duration // for one turn; default the server's runtime.execution_timeout
	MaxSteps       int           // model calls in one turn; default 8
	QueueSize      int           // messages waiting; default the server's
}

// ResourceLimits bound a WASM agent. Zero fields mean the server's.
type ResourceLimits struct {
	MaxMemoryBytes   Size
	MaxFuel          int64
	MaxExecutionTime time.Duration
	MaxMessageSize   Size
	MaxCPU           time.Duration
}

// ApprovalSettings say what an agent may do only when somebody agrees, and who that is.
type ApprovalSettings struct {
	Capabilities []Capability   // a message to the agent by one of these waits for approval before it is handled
	Policy       ApprovalPolicy // for these, and for the tools whose grant asks for approval
}

// HasTool reports whether the definition grants the named tool, by its name or by a pattern.
func (d *Definition) HasTool(name string) bool {
	for _, t := range d.Tools {
		if t.Allows(name) {
			return true
		}
	}
	return false
}

// A Deployment tells what a deploy, reload or rollback did.
type Deployment struct {
	Agent       Agent
	Created     bool // the agent did not exist before
	Changed     bool // a new version is active; false when the definition is the one already active
	FromVersion int  // 0 when created
	Warnings    []Issue
	Duration    time.Duration
	Rollout     *Rollout      // what was begun, or nil; the agent's version is still the one before, unless the strategy switches
	Module      *ModuleReport // of a WASM agent that was deployed, else nil
}

// A FileFault is an agent file that cannot be loaded, shown as a failed agent until it is mended.
type FileFault struct {
	Path    string
	Stem    string
	AgentID AgentID // the agent whose good version keeps running, or ""
	Err     *Error
	At      time.Time
}

// A ReloadStatus is the result of the last reload of an agent or a file.
type ReloadStatus struct {
	Stem        string
	AgentID     AgentID
	State       string // "reloaded", "unchanged", "failed", "removed", "pending"
	FromVersion int
	ToVersion   int
	At          time.Time
	Duration    time.Duration
	Error       string
	Issues      []Issue
}

// A LogLine is one line of an agent's own log.
type LogLine struct {
	ID      int64
	At      time.Time
	Level   string // DEBUG, INFO, WARN, ERROR
	AgentID AgentID
	Agent   string // slug or file stem
	Message string
	Attrs   map[string]any
}
