package config

import (
	"strconv"

	"github.com/caxton/caxton"
)

// Config holds every setting. The tags of its fields are the schema: key is the canonical
// spelling, default what holds when nothing is said, inert marks keys that are understood and
// have no effect in this version. Load fills it; the zero Config is not usable.
type Config struct {
	Server        Server        `key:"server" doc:"The process: addresses, directories, limits of connections."`
	Agents        Agents        `key:"agents" doc:"How agents run."`
	Messaging     Messaging     `key:"messaging" doc:"How messages are kept and routed."`
	LLM           LLM           `key:"llm" doc:"Which language model answers."`
	Tools         Tools         `key:"tools" doc:"What tools agents may use, and their limits."`
	WASM          WASM          `key:"wasm" doc:"Ceilings for module agents."`
	Memory        Memory        `key:"memory" doc:"What agents remember, and where it is kept."`
	Cluster       Cluster       `key:"cluster" doc:"Several servers as one."`
	Security      Security      `key:"security" doc:"Who may do what, and encryption."`
	Observability Observability `key:"observability" doc:"Metrics, traces and health."`
	Logging       Logging       `key:"logging" doc:"What is logged, and where."`
	Backup        Backup        `key:"backup" doc:"Archives."`
}

// Server holds the settings of the process. Empty paths are resolved by internal/datadir.
type Server struct {
	Host              string          `key:"host" default:"127.0.0.1" form:"host" doc:"Address that the API listens on; 0.0.0.0 for every interface."`
	Port              int             `key:"port" default:"8080" min:"0" max:"65535" doc:"Port of the API; 0 takes a free one."`
	DataDir           string          `key:"data_dir" doc:"Where everything is kept; without it /var/lib/caxton when that can be written, else ./data."`
	AgentsDir         string          `key:"agents_dir" doc:"Agent files; without it agents beside the data."`
	Socket            string          `key:"socket" doc:"Unix socket of the API; without it caxton.sock in the data directory."`
	AdminAddress      string          `key:"admin_address" form:"address" doc:"A second address for administration; without it there is none."`
	AllowedHosts      []string        `key:"allowed_hosts" form:"host" doc:"Names by which clients may ask for the API when it listens on this machine only, beside localhost: that of a proxy before it."`
	MaxConnections    int             `key:"max_connections" default:"10000" min:"0" doc:"Connections at once; 0 for no limit."`
	MaxStreams        int             `key:"max_streams" default:"20000" min:"1" doc:"Event streams at once; each takes a connection too."`
	ConnectionTimeout caxton.Duration `key:"connection_timeout" default:"30s" min:"1ms" doc:"For a client to send the head of its request."`
	RequestTimeout    caxton.Duration `key:"request_timeout" default:"60s" min:"1ms" doc:"For one request as a whole."`
	KeepaliveTimeout  caxton.Duration `key:"keepalive_timeout" default:"60s" min:"1ms" doc:"How long an idle connection stays open."`
	DrainTimeout      caxton.Duration `key:"drain_timeout" default:"25s" min:"1ms" doc:"For work in flight when the server stops."`
	MaxBodySize       caxton.Size     `key:"max_body_size" default:"10MB" min:"1KB" doc:"Size of one request."`
	State             State           `key:"state" doc:"The database of messages and agents."`

	CPUQuota                *float64    `key:"cpu_quota" min:"0.01" max:"65536" inert:"true" doc:"Processors that the server may use."`
	MemoryLimit             caxton.Size `key:"memory_limit" inert:"true" doc:"Memory that the process tries to stay below."`
	MemoryPressureThreshold float64     `key:"memory_pressure_threshold" default:"0.8" min:"0" max:"1" inert:"true" doc:"Share of memory_limit from which memory is reclaimed."`
	TempStorageLimit        caxton.Size `key:"temp_storage_limit" inert:"true" doc:"Disk space for temporary files."`
}

// State says where the database of messages and agents is.
type State struct {
	Path        string `key:"path" doc:"Its file; without it caxton.db in the data directory, which a relative path means too."`
	JournalMode string `key:"journal_mode" default:"WAL" oneof:"WAL,DELETE,TRUNCATE,PERSIST,MEMORY,OFF" doc:"WAL is always used."`
}

// Agents holds the settings of agents; a definition may ask for less.
type Agents struct {
	MaxAgents               int             `key:"max_agents" default:"1000" min:"0" doc:"Agents on this server; 0 for no limit."`
	MaxConcurrentExecutions int             `key:"max_concurrent_executions" default:"100" min:"1" max:"1000000" doc:"Messages handled at once, by all agents together."`
	MaxConcurrentPerAgent   int             `key:"max_concurrent_per_agent" default:"10" min:"1" max:"10000" doc:"Messages handled at once by an agent that says nothing else."`
	QueueSize               int             `key:"queue_size" default:"1000" min:"1" max:"10000000" doc:"Messages that may wait for an agent that says nothing else."`
	ExecutionTimeout        caxton.Duration `key:"execution_timeout" default:"30s" min:"1ms" doc:"For the handling of one message."`
	StartupTimeout          caxton.Duration `key:"startup_timeout" default:"10s" min:"1ms" doc:"For an agent to start."`
	ShutdownTimeout         caxton.Duration `key:"shutdown_timeout" default:"5s" min:"1ms" doc:"For a module to put its things in order when an instance ends."`
	IdleTimeout             caxton.Duration `key:"idle_timeout" min:"1s" doc:"After which the idle instances of a module are released; a message makes a new one. Without it 5m."`
	MaxAttempts             int             `key:"max_attempts" default:"3" min:"1" max:"1000" doc:"Tries of one message before it is given up."`
	RetryBackoffInitial     caxton.Duration `key:"retry_backoff_initial" default:"200ms" min:"1ms" doc:"Pause before a message is tried again; it doubles each time."`
	RetryBackoffMax         caxton.Duration `key:"retry_backoff_max" default:"10s" min:"1ms" doc:"The longest such pause."`
	RestartBackoffInitial   caxton.Duration `key:"restart_backoff_initial" default:"1s" min:"1ms" doc:"Pause before a failed agent restarts; it doubles each time."`
	RestartBackoffMax       caxton.Duration `key:"restart_backoff_max" default:"60s" min:"1ms" doc:"The longest such pause."`
	BreakerFailures         int             `key:"breaker_failures" default:"5" min:"1" doc:"Breakdowns in a row after which an agent has failed."`
	Watch                   bool            `key:"watch" default:"true" doc:"Whether changes of agent files are taken over at once."`
	Debounce                caxton.Duration `key:"debounce" default:"200ms" min:"1ms" max:"1m" doc:"Calm that must follow a change of a file before it is read."`

	Budget Budgets `key:"budget" doc:"What all agents together may spend. Without conversation, day or total the amounts are those of one conversation."`

	GCInterval    caxton.Duration `key:"gc_interval" min:"1s" inert:"true" doc:"Time between sweeps for idle agents."`
	MemoryReclaim bool            `key:"memory_reclaim" default:"false" inert:"true" doc:"Whether idle agents give their memory back under pressure."`
}

// Messaging holds the settings of the journal and the router.
type Messaging struct {
	Durability          string          `key:"durability" default:"normal" oneof:"full,normal,memory" doc:"What an accepted message survives: full a power cut, normal the end of the process, memory nothing."`
	Strategy            caxton.Strategy `key:"strategy" default:"best_match" oneof:"best_match,round_robin,least_loaded,priority" doc:"How to choose among several agents with a capability."`
	MaxMessageSize      caxton.Size     `key:"max_message_size" default:"1MB" min:"1KB" doc:"Size of the content of one message."`
	WaitTimeout         caxton.Duration `key:"wait_timeout" default:"25s" min:"1ms" doc:"How long a caller waits for a reply that asks for no other time."`
	MaxDepth            int             `key:"max_depth" default:"8" min:"1" max:"1000" doc:"How deep conversations may come out of one another when agents ask agents."`
	Webhooks            []Webhook       `key:"webhooks" doc:"Addresses that are told of what happens."`
	WebhookAllowedHosts []string        `key:"webhook_allowed_hosts" form:"hostrule" doc:"Hosts that webhooks may reach even where their addresses are private."`

	Conversation Conversation `key:"conversation" doc:"Bounds of every conversation."`
}

// Conversation bounds every conversation. An agent's file may set closer bounds.
type Conversation struct {
	MaxTurns        int             `key:"max_turns" min:"1" doc:"Messages to agents in one conversation; without it any number."`
	MaxParticipants int             `key:"max_participants" min:"2" doc:"Who may take part in one conversation; without it any number."`
	IdleTimeout     caxton.Duration `key:"idle_timeout" min:"1s" doc:"Time without a message after which a conversation is archived; without it never."`
	MaxLifetime     caxton.Duration `key:"max_lifetime" min:"1s" doc:"Time after which a conversation is archived; without it never."`
	ArchiveInterval caxton.Duration `key:"archive_interval" default:"1h" min:"1s" doc:"Time between looks for conversations to archive."`
}

// Tools holds the settings of the built-in tools, and where others come from.
type Tools struct {
	Allowed    []string   `key:"allowed" doc:"The tools that agents may be given; without it all, an empty list allows none."`
	Approval   Approval   `key:"approval" doc:"Which tools need somebody's approval, and whose."`
	HTTPClient HTTPClient `key:"http_client" doc:"The tool that fetches from the web."`
	CSVParser  CSVParser  `key:"csv_parser" doc:"The tool that reads tables."`
	JSONQuery  JSONQuery  `key:"json_query" doc:"The tool that searches JSON."`
	FileRead   FileRead   `key:"file_read" doc:"The tool that reads files."`

	MCPServers map[string]MCPServer `key:"mcp_servers" doc:"MCP servers whose tools agents may be given, by name."`
}

// HTTPClient bounds the tool http_client. Hosts are written example.com, example.com:8080,
// *.example.com, 10.0.0.7 or 10.0.0.0/8.
type HTTPClient struct {
	AllowedHosts    []string        `key:"allowed_hosts" form:"hostrule" doc:"Hosts that may be reached even where their addresses are private."`
	DeniedHosts     []string        `key:"denied_hosts" form:"hostrule" doc:"Hosts that may not be reached, even when allowed."`
	AllowedOnly     bool            `key:"allowed_only" default:"false" doc:"Whether only allowed_hosts may be reached."`
	AllowPrivate    bool            `key:"allow_private" default:"false" doc:"Whether private and loopback addresses may be reached."`
	Timeout         caxton.Duration `key:"timeout" default:"30s" min:"1ms" max:"5m" doc:"For one call with all its redirects."`
	MaxResponseSize caxton.Size     `key:"max_response_size" default:"10MB" min:"1KB" doc:"Size of an answer, decompressed."`
	MaxRequestSize  caxton.Size     `key:"max_request_size" default:"10MB" min:"1KB" doc:"Size of a body that is sent."`
	MaxRedirects    int             `key:"max_redirects" default:"5" min:"0" max:"50" doc:"Redirects followed; 0 for none."`
	MaxConnections  int             `key:"max_connections" default:"16" min:"1" doc:"Requests of one agent at once."`
}

// CSVParser bounds the tool csv_parser.
type CSVParser struct {
	MaxSize caxton.Size `key:"max_size" default:"10MB" min:"1KB" doc:"Size of one table."`
}

// JSONQuery bounds the tool json_query.
type JSONQuery struct {
	MaxSize   caxton.Size     `key:"max_size" default:"10MB" min:"1KB" doc:"Size of one document."`
	MaxOutput caxton.Size     `key:"max_output" default:"1MB" min:"1KB" doc:"Size of all results together."`
	Timeout   caxton.Duration `key:"timeout" default:"5s" min:"1ms" max:"5m" doc:"For one query."`
}

// FileRead bounds the tool file_read.
type FileRead struct {
	Root    string      `key:"root" doc:"The directory it may read; without it files in the data directory."`
	MaxSize caxton.Size `key:"max_size" default:"1MB" min:"1KB" doc:"Size of one answer."`
}

// WASM holds the ceilings of module agents.
type WASM struct {
	MemoryLimit        caxton.Size     `key:"memory_limit" default:"512MB" min:"64KB" max:"4GB" doc:"Memory of one instance, at most; an agent that asks for nothing has 10MB."`
	StackLimit         caxton.Size     `key:"stack_limit" default:"1MB" min:"64KB" max:"16MB" doc:"Stack of one instance: how deep its functions may call each other, as docs/fuel.md counts."`
	FuelLimit          int64           `key:"fuel_limit" default:"1000000000" min:"1" doc:"Fuel of one turn, at most, in units of a thousand instructions; an agent that asks for nothing has 1000000."`
	ExecutionLimit     caxton.Duration `key:"execution_limit" default:"30s" min:"1ms" doc:"Time of one turn, at most; an agent that asks for nothing has 5s."`
	MessageLimit       caxton.Size     `key:"message_limit" default:"10MB" min:"1KB" doc:"Size of a message that goes in, at most; an agent that asks for nothing takes 100KB."`
	OutputLimit        caxton.Size     `key:"output_limit" default:"1MB" min:"1KB" doc:"Size of all that a module says in one turn."`
	LogLimit           caxton.Size     `key:"log_limit" default:"64KB" min:"0" doc:"Size of all that a module logs in one turn; what is more is dropped."`
	HostCallLimit      int             `key:"host_call_limit" default:"10000" min:"1" doc:"Calls of the server's functions in one turn."`
	StateLimit         caxton.Size     `key:"state_limit" default:"16MB" min:"1KB" doc:"Size of all that one agent keeps from turn to turn."`
	StateKeys          int64           `key:"state_keys" default:"10000" min:"1" doc:"Values that one agent keeps."`
	MaxTimers          int             `key:"max_timers" default:"1000" min:"0" doc:"Timers that one agent has at a time."`
	MaxModuleSize      caxton.Size     `key:"max_module_size" default:"32MB" max:"1GB" min:"1KB" doc:"Size of one module."`
	MaxInstances       int             `key:"max_instances" default:"4" min:"1" max:"1000" doc:"Instances of one agent that are kept ready."`
	MaxAgents          int             `key:"max_agents" default:"10000" min:"1" doc:"Module agents, versions at work included."`
	CacheSize          caxton.Size     `key:"cache_size" default:"1GB" min:"1MB" doc:"Size of all compiled modules in the data directory; those that were not used for longest are removed, and made again when they are wanted."`
	MaxConcurrent      int             `key:"max_concurrent_executions" min:"0" doc:"Modules that run at once; without it as many as agents.max_concurrent_executions."`
	AllowedDirectories []string        `key:"allowed_directories" doc:"Directories that agents may let their modules see, and all below them; without it none."`
}

// Memory says what agents remember and where it is kept.
type Memory struct {
	Backend        string      `key:"backend" default:"embedded" oneof:"embedded,qdrant,neo4j" doc:"Where memory is kept."`
	SQLitePath     string      `key:"sqlite_path" default:"memory.db" doc:"File of the embedded backend; a relative path means the data directory."`
	EmbeddingModel string      `key:"embedding_model" default:"all-MiniLM-L6-v2" doc:"The model that turns text into vectors."`
	Offline        bool        `key:"offline" default:"false" doc:"Whether nothing may be downloaded; what was, is used."`
	HubURL         string      `key:"hub_url" default:"https://huggingface.co" form:"url" doc:"The hub that models are downloaded from."`
	HubToken       string      `key:"hub_token" secret:"true" doc:"The hub's token, for models that are not for everybody."`
	HubTokenFile   string      `key:"hub_token_file" doc:"File that holds the hub's token."`
	MaxModelSize   caxton.Size `key:"max_model_size" default:"4GB" min:"1" doc:"A larger file of a model is refused."`
	MaxEntities    int         `key:"max_entities" default:"100000" min:"1" doc:"Entities from which on a warning is given."`
	SQLite         SQLite      `key:"sqlite_config" doc:"Tuning of the embedded backend."`
	Embedding      Embedding   `key:"embedding_config" doc:"Tuning of the embedding model."`
	Cleanup        Cleanup     `key:"cleanup" doc:"Regular upkeep of the embedded backend."`
	Qdrant         Qdrant      `key:"qdrant" inert:"true" doc:"The backend qdrant."`
	Neo4j          Neo4j       `key:"neo4j" inert:"true" doc:"The backend neo4j."`
}

// SQLite tunes the embedded backend of memory.
type SQLite struct {
	CacheSize   CacheSize `key:"cache_size" default:"100000" doc:"Page cache: a plain number counts KiB, as SQLite counts negative ones."`
	JournalMode string    `key:"journal_mode" default:"WAL" oneof:"WAL,DELETE,TRUNCATE,PERSIST,MEMORY,OFF" doc:"WAL is always used."`
	Synchronous string    `key:"synchronous" default:"NORMAL" oneof:"OFF,NORMAL,FULL,EXTRA" doc:"When SQLite waits for the disk."`
	TempStore   string    `key:"temp_store" default:"MEMORY" oneof:"DEFAULT,FILE,MEMORY" doc:"Where temporary tables live."`
}

// Embedding tunes the embedding model.
type Embedding struct {
	BatchSize   int    `key:"batch_size" default:"32" min:"1" max:"4096" doc:"Texts at once."`
	CacheSize   int    `key:"cache_size" default:"10000" min:"0" doc:"Embeddings kept at hand."`
	ModelDevice string `key:"model_device" default:"cpu" oneof:"cpu,cuda" doc:"Where the model runs; cpu is always used."`

	QueueSize  int             `key:"queue_size" default:"1000" min:"1" doc:"Texts that may wait before more are refused."`
	BaseURL    string          `key:"base_url" form:"url" doc:"The server of an embedding model openai:NAME; without it OpenAI's own."`
	APIKey     string          `key:"api_key" secret:"true" doc:"The server's API key."`
	APIKeyFile string          `key:"api_key_file" doc:"File that holds the API key."`
	Dimensions int             `key:"dimensions" min:"1" max:"4096" doc:"Dimensions of the server's vectors; without it the server is asked."`
	Timeout    caxton.Duration `key:"timeout" default:"30s" min:"1ms" doc:"Time for the server to answer."`
	MaxRetries int             `key:"max_retries" default:"2" min:"0" max:"20" doc:"Further attempts when the server is busy or fails."`
}

// Cleanup says when the embedded backend is looked after.
type Cleanup struct {
	Interval         caxton.Duration `key:"interval" default:"1h" min:"1s" doc:"Time between removals of what has expired."`
	VacuumInterval   caxton.Duration `key:"vacuum_interval" default:"24h" min:"1s" doc:"Time between compactions of the file."`
	AnalyzeInterval  caxton.Duration `key:"analyze_interval" default:"12h" min:"1s" doc:"Time between refreshes of the statistics."`
	CleanupThreshold float64         `key:"cleanup_threshold" default:"0.1" min:"0" max:"1" doc:"Share of unused space from which on the file is compacted."`
}

// Qdrant reaches a Qdrant server.
type Qdrant struct {
	URL        string `key:"url" form:"url" doc:"Where it answers."`
	Collection string `key:"collection" default:"caxton_memory" min:"1" max:"255" doc:"The collection used."`
	VectorSize int    `key:"vector_size" default:"384" min:"1" max:"65536" doc:"Dimensions of a vector; those of the embedding model."`
	APIKey     string `key:"api_key" secret:"true" doc:"Its API key."`
	APIKeyFile string `key:"api_key_file" doc:"File that holds the API key."`
}

// Neo4j reaches a Neo4j server.
type Neo4j struct {
	URI          string `key:"uri" form:"uri" doc:"Where it answers."`
	Username     string `key:"username" doc:"The user to sign in as."`
	Password     string `key:"password" secret:"true" doc:"Its password."`
	PasswordFile string `key:"password_file" doc:"File that holds the password."`
	Database     string `key:"database" default:"neo4j" doc:"The database used."`
}

// Cluster joins servers.
type Cluster struct {
	Enabled        bool            `key:"enabled" default:"false" inert:"true" doc:"Whether this server is part of a cluster; naming an address or a seed switches it on."`
	NodeID         string          `key:"node_id" max:"128" inert:"true" doc:"Name of this server in the cluster; without it the host name."`
	BindAddr       string          `key:"bind_addr" default:"0.0.0.0:7946" form:"address" inert:"true" doc:"Address for the other servers."`
	AdvertiseAddr  string          `key:"advertise_addr" default:"auto" form:"advertise" inert:"true" doc:"Address that the others are told; auto finds it."`
	Seeds          []string        `key:"seeds" form:"address" inert:"true" doc:"Servers to join; this one among them is ignored."`
	Bootstrap      bool            `key:"bootstrap" default:"false" inert:"true" doc:"Whether this server founds the cluster."`
	Expect         int             `key:"expect" min:"1" inert:"true" doc:"Servers to wait for before the cluster is founded."`
	GossipInterval caxton.Duration `key:"gossip_interval" default:"200ms" min:"1ms" inert:"true" doc:"Time between rounds of gossip."`
	GossipFanout   int             `key:"gossip_fanout" default:"3" min:"1" max:"1000" inert:"true" doc:"Servers told in each round."`
	ProbeInterval  caxton.Duration `key:"probe_interval" default:"1s" min:"1ms" inert:"true" doc:"Time between probes of another server."`
	ProbeTimeout   caxton.Duration `key:"probe_timeout" default:"500ms" min:"1ms" inert:"true" doc:"For a probe to be answered."`
	Regions        []Region        `key:"regions" inert:"true" doc:"Which servers are close to each other."`
	CrossRegion    CrossRegion     `key:"cross_region" inert:"true" doc:"Work between regions."`
	Partition      Partition       `key:"partition" inert:"true" doc:"What happens when the cluster falls apart."`
	Transport      Transport       `key:"transport" inert:"true" doc:"How servers talk."`
}

// A Region is a group of servers that are close to each other.
type Region struct {
	Name  string   `key:"name" required:"true" doc:"What the region is called."`
	Nodes []string `key:"nodes" doc:"Node ids of its servers."`
}

// CrossRegion says how regions work together.
type CrossRegion struct {
	LatencyAwareRouting   bool            `key:"latency_aware_routing" default:"false" doc:"Whether distance counts when an agent is chosen."`
	PreferLocalRegion     bool            `key:"prefer_local_region" default:"false" doc:"Whether agents of the same region come first."`
	MaxCrossRegionLatency caxton.Duration `key:"max_cross_region_latency" min:"1ms" doc:"Distance beyond which another region is not asked."`
}

// Partition says what a part of a cluster does on its own.
type Partition struct {
	Strategy         string          `key:"strategy" default:"quorum" oneof:"quorum,custom" doc:"Who decides: the majority rule or decisions and custom_handler."`
	CustomHandler    string          `key:"custom_handler" doc:"A program that is asked what to do."`
	Decisions        []Decision      `key:"decisions" doc:"What to do when; the last that fits counts."`
	DetectionTimeout caxton.Duration `key:"detection_timeout" default:"5s" min:"1ms" doc:"Silence after which a part calls itself cut off."`
	QuorumSize       int             `key:"quorum_size" min:"1" doc:"Servers that must agree; never less than a majority."`
	DegradedMode     bool            `key:"degraded_mode" default:"true" doc:"Whether a minority still answers reads."`
	QueueWrites      bool            `key:"queue_writes" default:"true" doc:"Whether a minority keeps writes for later."`
}

// A Decision is one rule for a part of a cluster on its own.
type Decision struct {
	Condition string `key:"condition" required:"true" doc:"When it applies, in terms of nodes, quorum and critical_agents_present."`
	Action    string `key:"action" required:"true" oneof:"read-only,local-only,continue-critical,continue" doc:"What to do then."`
}

// Transport says how servers talk to each other.
type Transport struct {
	Type              string `key:"type" default:"quic" oneof:"quic,tcp" doc:"The protocol."`
	CongestionControl string `key:"congestion_control" default:"cubic" oneof:"cubic,bbr,reno" doc:"How QUIC shares a line; cubic is always used."`
	MaxStreams        int    `key:"max_streams" default:"100" min:"1" max:"1000000" doc:"Messages under way at once to one server."`
}

// Security says who may do what.
type Security struct {
	TLS            TLS             `key:"tls" inert:"true" doc:"Encryption of the API."`
	Authentication Authentication  `key:"authentication" inert:"true" doc:"Signed tokens."`
	APIKeys        APIKeys         `key:"api_keys" inert:"true" doc:"Keys of programs."`
	RequireAll     bool            `key:"require_all" default:"false" inert:"true" doc:"Whether a caller needs a token and a key, not one of them."`
	RateLimiting   RateLimiting    `key:"rate_limiting" inert:"true" doc:"How much one caller may ask; giving a limit switches it on."`
	CORS           CORS            `key:"cors" inert:"true" doc:"Which web pages may call; naming an origin switches it on."`
	Cluster        ClusterSecurity `key:"cluster" inert:"true" doc:"Trust between servers."`
}

// TLS encrypts the API.
type TLS struct {
	Enabled  bool   `key:"enabled" default:"false" doc:"Whether the API speaks TLS."`
	CertFile string `key:"cert_file" doc:"Certificate, PEM."`
	KeyFile  string `key:"key_file" doc:"Its private key, PEM."`
	CAFile   string `key:"ca_file" doc:"Authorities whose clients are trusted, PEM."`
}

// Authentication checks signed tokens.
type Authentication struct {
	Enabled       bool            `key:"enabled" default:"false" doc:"Whether callers must sign in."`
	JWTSecret     string          `key:"jwt_secret" secret:"true" doc:"What tokens are signed with."`
	JWTSecretFile string          `key:"jwt_secret_file" doc:"File that holds the secret."`
	TokenExpiry   caxton.Duration `key:"token_expiry" default:"1h" min:"1s" doc:"How long a token is good."`
}

// APIKeys checks the keys of programs.
type APIKeys struct {
	Required bool   `key:"required" default:"false" doc:"Whether programs need a key."`
	KeyFile  string `key:"key_file" doc:"File that lists the keys."`
	Header   string `key:"header" default:"X-API-Key" form:"token" doc:"Header that carries a key."`
}

// RateLimiting bounds how much one caller may ask.
type RateLimiting struct {
	Enabled           bool    `key:"enabled" default:"false" doc:"Whether there is a limit."`
	RequestsPerSecond float64 `key:"requests_per_second" default:"100" min:"0.001" doc:"Requests per second in the long run."`
	BurstSize         int     `key:"burst_size" default:"200" min:"1" doc:"Requests at once after a pause."`
}

// CORS says which web pages may call the API.
type CORS struct {
	Enabled        bool     `key:"enabled" default:"false" doc:"Whether pages of other origins may call."`
	AllowedOrigins []string `key:"allowed_origins" form:"origin" doc:"Their origins, or *."`
	AllowedMethods []string `key:"allowed_methods" form:"token" doc:"Methods they may use."`
}

// ClusterSecurity says how servers trust each other.
type ClusterSecurity struct {
	MTLS          MTLS   `key:"mtls" doc:"Certificates of servers."`
	GossipKey     string `key:"gossip_key" secret:"true" doc:"Key that gossip is encrypted with."`
	GossipKeyFile string `key:"gossip_key_file" doc:"File that holds that key."`
}

// MTLS names the certificates of servers.
type MTLS struct {
	Enabled    bool   `key:"enabled" default:"false" doc:"Whether servers show certificates."`
	CACert     string `key:"ca_cert" doc:"Authority that signed them, PEM."`
	NodeCert   string `key:"node_cert" doc:"Certificate of this server, PEM."`
	NodeKey    string `key:"node_key" doc:"Its private key, PEM."`
	VerifyPeer bool   `key:"verify_peer" default:"true" doc:"Whether the certificates of others are checked."`
}

// Observability says what can be watched.
type Observability struct {
	MetricsEnabled      bool            `key:"metrics_enabled" default:"true" doc:"Whether /metrics is served."`
	MetricsAddress      string          `key:"metrics_address" default:":9090" form:"listen" doc:"Where; without a host on server.host."`
	MetricsPrefix       string          `key:"metrics_prefix" default:"caxton" form:"metric" inert:"true" doc:"First word of every metric's name."`
	HistogramBuckets    []float64       `key:"histogram_buckets" inert:"true" doc:"Upper bounds of histograms, in seconds."`
	TracingEnabled      bool            `key:"tracing_enabled" default:"false" doc:"Whether traces are recorded."`
	TraceSampleRate     float64         `key:"trace_sample_rate" default:"1" min:"0" max:"1" doc:"Share of the traces that begin here and are recorded; what others began is recorded if they record it."`
	OTLPEndpoint        string          `key:"otlp_endpoint" form:"url" doc:"Collector that traces are sent to, such as http://localhost:4318, or :4317 for gRPC; without one the latest are only kept here."`
	OTLPTimeout         caxton.Duration `key:"otlp_timeout" default:"10s" min:"1ms" doc:"For one try to send them."`
	HealthCheckInterval caxton.Duration `key:"health_check_interval" default:"30s" min:"1s" inert:"true" doc:"Time between looks at the parts of the server."`
	Profiling           Profiling       `key:"profiling" inert:"true" doc:"Measuring where time and memory go."`
}

// Profiling says what is measured of time and memory.
type Profiling struct {
	Enabled        bool    `key:"enabled" default:"false" doc:"Whether profiles are taken."`
	SampleRate     float64 `key:"sample_rate" default:"0.1" min:"0" max:"1" doc:"Share of requests."`
	MemoryTracking bool    `key:"memory_tracking" default:"false" doc:"Whether memory is measured."`
	CPUTracking    bool    `key:"cpu_tracking" default:"false" doc:"Whether processor time is measured."`
}

// Logging says what is logged and where. Lines always go to the standard error too.
type Logging struct {
	Level         string `key:"level" default:"info" oneof:"debug,info,warn,error" doc:"The least important lines that are written."`
	Format        string `key:"format" default:"text" oneof:"text,json" doc:"How a line is written."`
	File          string `key:"file" doc:"A file for the lines."`
	Rotation      string `key:"rotation" default:"none" oneof:"none,daily" doc:"When a new file is begun."`
	RetentionDays int    `key:"retention_days" default:"30" min:"1" max:"36500" doc:"How long old files are kept, in days."`
}

// Backup says where archives go.
type Backup struct {
	Dir string `key:"dir" inert:"true" doc:"Where archives are kept; without it backups in the data directory."`
}

// APIAddr returns the host:port that the API listens on.
func (c *Config) APIAddr() string {
	return hostPort(c.Server.Host, strconv.Itoa(c.Server.Port))
}

// MetricsAddr returns the host:port that /metrics is served on, or "" when it is not.
func (c *Config) MetricsAddr() string {
	if !c.Observability.MetricsEnabled {
		return ""
	}
	return c.Observability.MetricsAddress
}

// AdminAddr returns the host:port of the listener for administration, or "" when there is none.
func (c *Config) AdminAddr() string { return c.Server.AdminAddress }
