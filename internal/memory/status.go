package memory

import (
	"time"

	"github.com/caxton/caxton"
)

// A State says whether memory can be used.
type State string

// The states.
const (
	Loading State = "loading" // the indexes are being read; writes are taken, searches wait
	Ready   State = "ready"
	Failed  State = "failed" // see Status.Reason
)

// A Progress is how far a long job is.
type Progress struct {
	Step  string // "loading vectors", "embedding"
	Done  int64
	Total int64 // 0 when it is not known
}

// A Status is how memory is, without asking the database.
type Status struct {
	State      State
	Reason     string    // why it failed, or what is degraded; or ""
	Progress   *Progress // of what goes on, or nil
	Model      string    // whose vectors are in the index
	Entities   int64
	Relations  int64
	Unembedded int64 // passages that wait for their embedding
}

// Stats are the figures of memory.
type Stats struct {
	Status      Status
	Counts      Counts
	File        FileStats
	Queries     []Slow // by kind
	Vectors     int    // in the index
	IndexBytes  int64  // of the vector index
	GraphBytes  int64  // of the relations in memory
	Results     int    // kept answers to searches
	ResultHits  int64
	ResultMiss  int64
	MaxEntities int // from which on a warning is given
}

// A SlowQuery is one query and how long it took.
type SlowQuery struct {
	At   time.Time
	Kind string // as in Slow
	Took time.Duration
	Text string // its beginning
}

// ModelStats are the figures of the model that turns text into vectors.
type ModelStats struct {
	Name         string // as configured
	Model        string // identity of what is used, with its precision
	Source       string // "built in", a directory, an address
	Dimensions   int
	Loaded       bool
	Fallback     string    // why another model is used than the configured one, or ""
	Download     *Download // of the configured one, while it is at work; or nil
	LoadTime     time.Duration
	Bytes        int64 // resident
	CacheEntries int
	CacheLimit   int
	CacheBytes   int64
	Hits, Misses int64         // of the cache
	Texts        int64         // embedded so far
	Average      time.Duration // for one text
	P99          time.Duration
	PerSecond    float64 // texts one core embeds in a second, by Average
}

// A Download is how far the download of a model is: it comes file by file.
type Download struct {
	File        string
	Done, Total int64 // bytes of the file; Total is 0 while it is not known
}

// A Turn is what was said in one turn of an agent.
type Turn struct {
	ConversationID caxton.ConversationID
	MessageID      caxton.MessageID
	AgentID        caxton.AgentID
	Version        int64
	Sender         string
	Agent          string
	Text           string
	Reply          string
	At             time.Time
}

// RecallOptions bound what is recalled into a prompt. Zero fields mean the defaults given here.
type RecallOptions struct {
	Limit         int           // caxton.DefaultRecallLimit
	MinSimilarity float64       // 0
	Tokens        int           // about so many in all: 1000
	TTL           time.Duration // how long the same text is answered alike
	Mode          Mode          // Hybrid
	Filter        Filter
	Except        []caxton.MessageID // the turns in which these were handled are left out
}

// Recalled is what was recalled.
type Recalled struct {
	Snippets []Snippet // best first
	Tokens   int       // of them all, estimated
	Degraded string
}

// A Snippet is one thing that was recalled.
type Snippet struct {
	ID       caxton.MemoryID // of the passage
	Entity   bool            // the ID is the entity's: nothing is known about it
	EntityID caxton.EntityID
	Scope    caxton.Scope
	Name     string
	Type     string
	Text     string
	Score    float64
	At       time.Time
	Tokens   int
}

// A Duplicate is a pair of entities that may be the same.
type Duplicate struct {
	A, B  caxton.Entity
	Score float64 // 0 to 1
	Why   string
}

// A Format is how memory is written down.
type Format string

// The formats. MCP is read only.
const (
	JSON  Format = "json"
	JSONL Format = "jsonl"
	MCP   Format = "mcp" // the JSONL of the reference memory server of the Model Context Protocol
)

// A Strategy says what an import does with an entity that is there.
type Strategy string

// The strategies.
const (
	UpdateExisting  Strategy = "update_existing"   // adds what is new
	SkipExisting    Strategy = "skip_existing"     // leaves it as it is
	ErrorOnConflict Strategy = "error_on_conflict" // stops with a Conflict
)

// ExportOptions say what is written down.
type ExportOptions struct {
	Access     Access
	Filter     Filter
	Format     Format // JSON
	Past       bool   // with what is superseded, reverted or forgotten
	Embeddings bool
}

// ExportCounts count what was written down.
type ExportCounts struct {
	Entities, Observations, Relations int64
}

// ImportOptions say how an import is done.
type ImportOptions struct {
	Access   Access
	Scope    caxton.Scope // of entities that name none
	Strategy Strategy     // UpdateExisting
	By       caxton.Provenance
	Skip     int64 // entries at the beginning that were done before
	DryRun   bool
	Progress func(ImportCounts) // called from time to time; or nil
}

// ImportCounts count what was read.
type ImportCounts struct {
	Read, Imported, Updated, Skipped int64 // entities
	Relations, Observations          int64
	Next                             int64 // Skip with which to go on after a failure
}

// OptimizeOptions say what is done for speed and size. None means all.
type OptimizeOptions struct {
	Vacuum  bool
	Reindex bool
	Analyze bool
}

// Optimized tells what that came to.
type Optimized struct {
	Steps []Step
	Freed int64 // bytes
}

// A Step is a part of a longer job.
type Step struct {
	Name string
	Took time.Duration
}
