package api

import (
	"bytes"
	"encoding/json"
	"time"
)

// An Entity is something that agents know about.
type Entity struct {
	ID           string          `json:"entity_id" example:"ent_0h2kq4e1vfb3b"`
	Name         string          `json:"name" example:"Ann"`
	Type         string          `json:"entity_type" example:"person"`
	Scope        string          `json:"scope" example:"workspace:default"`
	Importance   float64         `json:"importance" minimum:"0" maximum:"1"`
	Metadata     json.RawMessage `json:"metadata,omitempty"`
	Version      int64           `json:"version"`
	CreatedAt    time.Time       `json:"created_at"`
	UpdatedAt    time.Time       `json:"updated_at"`
	ForgottenAt  time.Time       `json:"forgotten_at,omitzero"`
	Observations []Observation   `json:"observations"`
}

// An Observation is one thing known about an entity.
type Observation struct {
	ID           string     `json:"observation_id" example:"obs_0h2kq4e1vfb3c"`
	Text         string     `json:"text" example:"Lives in Porto."`
	Key          string     `json:"key,omitempty" example:"address" doc:"what it tells of the entity: a newer one with the same key supersedes it"`
	Confidence   float64    `json:"confidence" minimum:"0" maximum:"1"`
	ValidFrom    time.Time  `json:"valid_from,omitzero" doc:"since when it is true"`
	ValidTo      time.Time  `json:"valid_to,omitzero" doc:"until when it was true"`
	KnownFrom    time.Time  `json:"known_from" doc:"since when it is known"`
	KnownTo      time.Time  `json:"known_to,omitzero" doc:"until when it was taken for true"`
	Supersedes   string     `json:"supersedes,omitempty"`
	SupersededBy string     `json:"superseded_by,omitempty"`
	RevertedBy   string     `json:"reverted_by,omitempty"`
	Provenance   Provenance `json:"provenance"`
}

// A Provenance says where something remembered came from.
type Provenance struct {
	ConversationID string `json:"conversation_id,omitempty"`
	MessageID      string `json:"message_id,omitempty"`
	AgentID        string `json:"agent_id,omitempty"`
	Version        int64  `json:"agent_version,omitempty"`
	Tool           string `json:"tool,omitempty"`
	By             string `json:"by,omitempty"`
}

// A Relation is a directed connection of two entities.
type Relation struct {
	ID         string          `json:"relation_id" example:"rel_0h2kq4e1vfb3d"`
	From       string          `json:"from_entity" example:"ent_0h2kq4e1vfb3b"`
	FromName   string          `json:"from_name" example:"Ann"`
	To         string          `json:"to_entity" example:"ent_0h2kq4e1vfb3e"`
	ToName     string          `json:"to_name" example:"Porto"`
	Type       string          `json:"relation_type" example:"lives_in"`
	Scope      string          `json:"scope"`
	Strength   float64         `json:"strength" minimum:"0" maximum:"1"`
	Confidence float64         `json:"confidence" minimum:"0" maximum:"1"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
	ValidFrom  time.Time       `json:"valid_from,omitzero"`
	ValidTo    time.Time       `json:"valid_to,omitzero"`
	KnownFrom  time.Time       `json:"known_from"`
	KnownTo    time.Time       `json:"known_to,omitzero"`
	Provenance Provenance      `json:"provenance"`
}

// A NewEntity is one entity and what is to be remembered about it.
type NewEntity struct {
	ID           string           `json:"entity_id,omitempty" maxLength:"40" doc:"one there is, instead of scope and name"`
	Name         string           `json:"name,omitempty" maxLength:"512" example:"Ann"`
	Type         string           `json:"entity_type,omitempty" maxLength:"128" example:"person" doc:"the one it has, or thing, unless given"`
	Scope        string           `json:"scope,omitempty" maxLength:"160" example:"workspace" doc:"global, workspace, workspace:NAME or agent:ID; without it global, or where agent_id writes"`
	AgentID      string           `json:"agent_id,omitempty" maxLength:"200" doc:"for which agent it is remembered: name, slug or ID"`
	Importance   *float64         `json:"importance,omitempty" minimum:"0" maximum:"1"`
	Metadata     json.RawMessage  `json:"metadata,omitempty" doc:"a JSON object"`
	Observations []NewObservation `json:"observations,omitempty" maxItems:"1000"`
	Relations    []NewLink        `json:"relations,omitempty" maxItems:"1000"`
	CreateOnly   bool             `json:"create_only,omitempty" doc:"fail when the entity exists"`
}

// A NewObservation is a text, or an object with one.
type NewObservation struct {
	Text       string    `json:"text" minLength:"1" maxLength:"1048576" example:"Lives in Porto."`
	Key        string    `json:"key,omitempty" maxLength:"128"`
	Confidence *float64  `json:"confidence,omitempty" minimum:"0" maximum:"1"`
	ValidFrom  time.Time `json:"valid_from,omitzero"`
	ValidTo    time.Time `json:"valid_to,omitzero"`
	Replaces   string    `json:"replaces,omitempty" maxLength:"40" doc:"the observation that it supersedes"`
}

// UnmarshalJSON reads an object, or a text alone.
func (o *NewObservation) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '"' {
		*o = NewObservation{}
		return json.Unmarshal(b, &o.Text)
	}
	type plain NewObservation
	return json.Unmarshal(b, (*plain)(o))
}

// A NewLink is a relation from the entity it comes with.
type NewLink struct {
	To         string          `json:"to_entity" minLength:"1" maxLength:"512" doc:"ID, or name"`
	Type       string          `json:"relation_type" minLength:"1" maxLength:"128" example:"lives_in"`
	Strength   *float64        `json:"strength,omitempty" minimum:"0" maximum:"1"`
	Confidence *float64        `json:"confidence,omitempty" minimum:"0" maximum:"1"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
	ValidFrom  time.Time       `json:"valid_from,omitzero"`
	ValidTo    time.Time       `json:"valid_to,omitzero"`
}

// A NewRelation is a relation between two entities that there are.
type NewRelation struct {
	From string `json:"from_entity" minLength:"1" maxLength:"512" example:"Ann" doc:"ID, or name"`
	NewLink
	AgentID string `json:"agent_id,omitempty" maxLength:"200" doc:"for which agent it is remembered"`
}

// Remembered tells what became of a NewEntity.
type Remembered struct {
	Entity
	Status  string  `json:"status" enum:"created,updated"`
	Noted   []Noted `json:"noted" doc:"what became of each observation"`
	Pending int     `json:"pending" doc:"texts that are embedded later: until then words alone find them"`
}

// Noted tells what became of one observation.
type Noted struct {
	ID         string   `json:"observation_id"`
	Status     string   `json:"status" enum:"stored,known"`
	Superseded []string `json:"superseded,omitempty"`
}

// RememberedList tells what became of several.
type RememberedList struct {
	Items   []Remembered `json:"items"`
	Pending int          `json:"pending"`
}

// EntityBatch is the body of POST /api/v1/memory/entities/batch.
type EntityBatch struct {
	Entities []NewEntity `json:"entities" minItems:"1" maxItems:"1000"`
}

// EntityList is a page of entities, most recently updated first.
type EntityList struct {
	Items    []Entity `json:"items"`
	Entities []Entity `json:"entities" doc:"the same as items"`
	Next     string   `json:"next,omitempty" doc:"cursor of the next page"`
}

// RelationList is a page of relations.
type RelationList struct {
	Items     []Relation `json:"items"`
	Relations []Relation `json:"relations" doc:"the same as items"`
	Next      string     `json:"next,omitempty"`
}

// A MemoryChange is one entry of an entity's history.
type MemoryChange struct {
	At          time.Time    `json:"at"`
	Kind        string       `json:"kind" example:"superseded"`
	Observation *Observation `json:"observation,omitempty"`
	Relation    *Relation    `json:"relation,omitempty"`
	Detail      string       `json:"detail,omitempty"`
	Provenance  Provenance   `json:"provenance"`
}

// MemoryHistory is everything that happened to an entity, oldest first.
type MemoryHistory struct {
	Entity string         `json:"entity_id"`
	Name   string         `json:"name"`
	Items  []MemoryChange `json:"items"`
}

// MemorySearch is the body of POST /api/v1/memory/search.
type MemorySearch struct {
	Query            string            `json:"query" minLength:"1" maxLength:"32768" example:"where does Ann live?"`
	AgentID          string            `json:"agent_id,omitempty" maxLength:"200" doc:"only what this agent sees: name, slug or ID; without it everything"`
	Scope            []string          `json:"scope,omitempty" maxItems:"100" doc:"only these scopes"`
	Limit            int               `json:"limit,omitempty" minimum:"1" maximum:"1000" doc:"entities at most: 10"`
	MinSimilarity    float64           `json:"min_similarity,omitempty" minimum:"0" maximum:"1" doc:"hits of a lower score are left out"`
	Mode             string            `json:"mode,omitempty" enum:"hybrid,words,meaning" doc:"hybrid unless given"`
	Types            []string          `json:"entity_types,omitempty" maxItems:"100"`
	Metadata         map[string]string `json:"metadata,omitempty" doc:"these members of the metadata have these values"`
	Since            time.Time         `json:"since,omitzero" doc:"true at this time or later"`
	Until            time.Time         `json:"until,omitzero" doc:"true before this time"`
	ValidAt          time.Time         `json:"valid_at,omitzero" doc:"as it was at this time"`
	KnownAt          time.Time         `json:"known_at,omitzero" doc:"as it was known at this time"`
	IncludeRelations bool              `json:"include_relations,omitempty"`
}

// MemoryMatches is what a search found, best first.
type MemoryMatches struct {
	Items      []MemoryMatch `json:"items"`
	Matches    []MemoryMatch `json:"matches" doc:"the same as items"`
	Mode       string        `json:"mode"`
	Model      string        `json:"model,omitempty"`
	Degraded   string        `json:"degraded,omitempty" doc:"why it was searched with less than asked for"`
	TookMillis float64       `json:"took_ms"`
}

// A MemoryMatch is an entity that was found.
type MemoryMatch struct {
	Entity     Entity        `json:"entity" doc:"with the observations for which it was found, best first"`
	Similarity float64       `json:"similarity" minimum:"0" maximum:"1" doc:"the score by which matches are in order"`
	Content    string        `json:"content" doc:"the best observation, or the name"`
	Found      []MemoryFound `json:"found" doc:"why, for each observation"`
	Relations  []Relation    `json:"relations,omitempty"`
}

// MemoryFound tells why a text was found.
type MemoryFound struct {
	ID      string         `json:"id" doc:"of the observation, or of the entity"`
	Score   float64        `json:"score"`
	Signals []MemorySignal `json:"signals"`
}

// A MemorySignal is one reason for which a text was found.
type MemorySignal struct {
	Name   string  `json:"name" example:"meaning"`
	Raw    float64 `json:"raw" doc:"as measured: BM25, cosine, strength of the connection, age in days, importance"`
	Score  float64 `json:"score" doc:"the same from 0 to 1"`
	Weight float64 `json:"weight"`
	Rank   int     `json:"rank,omitempty" doc:"place among what this signal found"`
	Detail string  `json:"detail,omitempty"`
}

// A MemoryGraph is a part of the graph.
type MemoryGraph struct {
	Graph MemoryGraphBody  `json:"graph"`
	Stats MemoryGraphStats `json:"traversal_stats"`
}

// MemoryGraphBody has the nodes in the order they were reached.
type MemoryGraphBody struct {
	Nodes []MemoryNode `json:"nodes"`
	Edges []Relation   `json:"edges"`
}

// A MemoryNode is an entity in a graph.
type MemoryNode struct {
	Entity
	Depth int      `json:"depth"`
	Path  []string `json:"path" doc:"relations by which it was reached"`
}

// MemoryGraphStats tell how large a graph is.
type MemoryGraphStats struct {
	Nodes      int     `json:"nodes"`
	Edges      int     `json:"edges"`
	MaxDepth   int     `json:"max_depth"`
	Truncated  bool    `json:"truncated" doc:"there is more than the limit"`
	TookMillis float64 `json:"took_ms"`
}

// MemoryRevert is the body of POST /api/v1/memory/revert. What all of its fields say is
// taken back; at least one must be set.
type MemoryRevert struct {
	Observations   []string  `json:"observations,omitempty" maxItems:"1000"`
	Entity         string    `json:"entity,omitempty" maxLength:"512" doc:"ID, or name"`
	ConversationID string    `json:"conversation_id,omitempty" maxLength:"128"`
	MessageID      string    `json:"message_id,omitempty" maxLength:"128"`
	AgentID        string    `json:"agent_id,omitempty" maxLength:"200"`
	Tool           string    `json:"tool,omitempty" maxLength:"128"`
	By             string    `json:"by,omitempty" maxLength:"200"`
	Since          time.Time `json:"since,omitzero"`
	Until          time.Time `json:"until,omitzero"`
	DryRun         bool      `json:"dry_run,omitempty"`
	Reason         string    `json:"reason,omitempty" maxLength:"1000"`
}

// MemoryChanged counts and names what a change of memory changed.
type MemoryChanged struct {
	Entities     []string `json:"entities"`
	Observations []string `json:"observations" doc:"that ceased to be current"`
	Restored     []string `json:"restored" doc:"observations that are current again"`
	Relations    []string `json:"relations" doc:"that ceased to be current"`
	DryRun       bool     `json:"dry_run,omitempty"`
}

// MemoryStatus is memory at a glance.
type MemoryStatus struct {
	Status          string          `json:"status" enum:"healthy,loading,degraded,failed"`
	Reason          string          `json:"reason,omitempty"`
	Backend         string          `json:"backend" example:"embedded"`
	SQLiteStatus    string          `json:"sqlite_status" example:"healthy"`
	SQLiteSizeBytes int64           `json:"sqlite_size_bytes"`
	EmbeddingModel  string          `json:"embedding_model" example:"all-MiniLM-L6-v2"`
	ModelStatus     string          `json:"model_status" enum:"loaded,loading,failed,none"`
	Entities        int64           `json:"entities"`
	Relations       int64           `json:"relations"`
	Observations    int64           `json:"observations"`
	Unembedded      int64           `json:"unembedded" doc:"texts that wait for their embedding"`
	CacheHitRate    float64         `json:"cache_hit_rate" minimum:"0" maximum:"1" doc:"of embeddings"`
	MaxEntities     int             `json:"max_entities"`
	Progress        *MemoryProgress `json:"progress,omitempty"`
	Download        *ModelDownload  `json:"download,omitempty" doc:"of the embedding model, while it is at work"`
}

// ModelDownload is how far the download of an embedding model is: it comes file by file.
type ModelDownload struct {
	Model      string `json:"model" example:"sentence-transformers/all-MiniLM-L12-v2"`
	File       string `json:"file" example:"model.safetensors"`
	DoneBytes  int64  `json:"done_bytes"`
	TotalBytes int64  `json:"total_bytes,omitempty" doc:"missing while it is not known"`
	Percent    int    `json:"percent,omitempty" minimum:"0" maximum:"100" doc:"of the file; missing while its size is not known"`
}

// MemoryProgress is how far a long job is.
type MemoryProgress struct {
	Step  string `json:"step"`
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"`
}

// MemoryStats are the figures of memory. Times are milliseconds.
type MemoryStats struct {
	Status     MemoryStatus     `json:"status"`
	SQLite     MemoryFile       `json:"sqlite"`
	Model      MemoryModel      `json:"model"`
	Queries    []MemoryQueries  `json:"queries" doc:"by kind"`
	Past       int64            `json:"past_observations"`
	ByType     map[string]int64 `json:"entities_by_type"`
	ByScope    map[string]int64 `json:"entities_by_scope"`
	Vectors    int              `json:"vectors"`
	IndexBytes int64            `json:"index_bytes"`
	GraphBytes int64            `json:"graph_bytes"`
	Results    MemoryCache      `json:"result_cache"`
	Targets    []MemoryTarget   `json:"targets"`
}

// MemoryFile tells of the database file.
type MemoryFile struct {
	Path            string  `json:"path"`
	Bytes           int64   `json:"bytes"`
	FreeBytes       int64   `json:"free_bytes"`
	Fragmentation   float64 `json:"fragmentation" minimum:"0" maximum:"1"`
	CacheHitRate    float64 `json:"cache_hit_rate" minimum:"0" maximum:"1"`
	CacheBytes      int64   `json:"cache_bytes"`
	CacheLimitBytes int64   `json:"cache_limit_bytes"`
	Queries         int64   `json:"queries"`
	AverageMillis   float64 `json:"average_query_ms"`
	P99Millis       float64 `json:"p99_query_ms"`
}

// MemoryModel tells of the embedding model.
type MemoryModel struct {
	Name          string         `json:"name" example:"all-MiniLM-L6-v2"`
	Model         string         `json:"model" example:"all-MiniLM-L6-v2@int8-1" doc:"identity of what is used"`
	Source        string         `json:"source" example:"built in"`
	Dimensions    int            `json:"dimensions" example:"384"`
	Status        string         `json:"status" enum:"loaded,loading,failed,none"`
	Fallback      string         `json:"fallback,omitempty" doc:"why another model is used than the configured one"`
	Download      *ModelDownload `json:"download,omitempty" doc:"of the configured one, while it is at work"`
	LoadMillis    float64        `json:"load_ms"`
	Bytes         int64          `json:"bytes"`
	Cache         MemoryCache    `json:"cache"`
	Texts         int64          `json:"texts"`
	AverageMillis float64        `json:"average_ms"`
	P99Millis     float64        `json:"p99_ms"`
	PerSecond     float64        `json:"per_second"`
}

// MemoryCache tells of a cache.
type MemoryCache struct {
	Entries int     `json:"entries"`
	Limit   int     `json:"limit,omitempty"`
	Bytes   int64   `json:"bytes,omitempty"`
	Hits    int64   `json:"hits"`
	Misses  int64   `json:"misses"`
	HitRate float64 `json:"hit_rate" minimum:"0" maximum:"1"`
}

// MemoryQueries tell of the queries of one kind.
type MemoryQueries struct {
	Kind          string  `json:"query_type" example:"semantic_search"`
	Count         int64   `json:"count"`
	AverageMillis float64 `json:"average_ms"`
	P99Millis     float64 `json:"p99_ms"`
	MaxMillis     float64 `json:"max_ms"`
}

// A MemoryTarget compares a figure with what it is to be.
type MemoryTarget struct {
	Metric string  `json:"metric" example:"Semantic search P99"`
	Target float64 `json:"target"`
	Actual float64 `json:"actual"`
	Unit   string  `json:"unit" example:"ms"`
	Status string  `json:"status" enum:"ok,degraded,unknown"`
}

// A SlowQuery is one query and how long it took.
type SlowQuery struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"query_type"`
	Millis float64   `json:"ms"`
	Text   string    `json:"text"`
}

// SlowQueries are queries, newest first.
type SlowQueries struct {
	Items   []SlowQuery     `json:"items"`
	Queries []MemoryQueries `json:"queries" doc:"all queries by kind"`
}

// MemoryUsage tells what memory takes.
type MemoryUsage struct {
	Components []MemoryComponent `json:"components"`
	Percent    int               `json:"percentage" doc:"of the component that is closest to its limit"`
}

// A MemoryComponent is one part of memory and what it takes.
type MemoryComponent struct {
	Component  string `json:"component" example:"SQLite cache"`
	UsageBytes int64  `json:"usage_bytes"`
	LimitBytes int64  `json:"limit_bytes,omitempty"`
	Status     string `json:"status" enum:"OK,WARNING,CRITICAL"`
}

// MemoryCapacity tells how full memory is.
type MemoryCapacity struct {
	Entities int64  `json:"entities"`
	Limit    int    `json:"limit"`
	Percent  int    `json:"percentage"`
	Status   string `json:"status" enum:"ok,warning,critical"`
	Advice   string `json:"advice,omitempty"`
}

// MemoryOptimize is the body of POST /api/v1/memory/optimize. Nothing set means all.
type MemoryOptimize struct {
	Vacuum  bool `json:"vacuum,omitempty"`
	Reindex bool `json:"reindex,omitempty"`
	Analyze bool `json:"analyze,omitempty"`
}

// MemoryOptimized tells what an optimisation came to.
type MemoryOptimized struct {
	Steps      []MemoryStep `json:"steps"`
	FreedBytes int64        `json:"freed_bytes"`
}

// A MemoryStep is a part of a longer job.
type MemoryStep struct {
	Name   string  `json:"name"`
	Millis float64 `json:"ms"`
}

// MemoryCleanup is the body of POST /api/v1/memory/cleanup.
type MemoryCleanup struct {
	Orphaned    bool    `json:"remove_orphaned,omitempty"`
	OlderThan   string  `json:"older_than,omitempty" maxLength:"40" example:"30d" doc:"not updated for so long, and not important"`
	PastFor     string  `json:"past_for,omitempty" maxLength:"40" example:"30d" doc:"what was superseded, reverted or forgotten so long ago"`
	KeepFrom    float64 `json:"keep_importance,omitempty" minimum:"0" maximum:"1" doc:"importance from which age does not matter: 0.8"`
	Scope       string  `json:"scope,omitempty" maxLength:"160" doc:"only this scope"`
	MaxEntities int     `json:"max_entities,omitempty" minimum:"0" doc:"of the scope at most"`
	Aggressive  bool    `json:"aggressive,omitempty" doc:"everything at once: orphans, the past, what was not updated for 7 days and is not important"`
	DryRun      bool    `json:"dry_run,omitempty"`
}

// MemoryCleaned counts what was removed.
type MemoryCleaned struct {
	Entities     int64 `json:"entities"`
	Observations int64 `json:"observations"`
	Relations    int64 `json:"relations"`
	Embeddings   int64 `json:"embeddings"`
	Orphans      int64 `json:"orphans"`
	FreedBytes   int64 `json:"freed_bytes"`
	DryRun       bool  `json:"dry_run,omitempty"`
}

// MemoryCacheClear is the body of POST /api/v1/memory/cache/clear.
type MemoryCacheClear struct {
	All     bool `json:"all,omitempty" doc:"also the answers to searches"`
	Rebuild bool `json:"rebuild,omitempty" doc:"embed again what was used last"`
}

// MemoryCacheCleared tells what was cleared.
type MemoryCacheCleared struct {
	Embeddings int `json:"embeddings"`
	Results    int `json:"results"`
	Rebuilt    int `json:"rebuilt"`
}

// MemoryImported counts what an import read.
type MemoryImported struct {
	Read         int64 `json:"read"`
	Imported     int64 `json:"imported"`
	Updated      int64 `json:"updated"`
	Skipped      int64 `json:"skipped"`
	Observations int64 `json:"observations"`
	Relations    int64 `json:"relations"`
	Next         int64 `json:"next" doc:"skip with which to go on after a failure"`
	DryRun       bool  `json:"dry_run,omitempty"`
}

// MemoryDuplicates are pairs of entities that may be the same.
type MemoryDuplicates struct {
	Items []MemoryDuplicate `json:"items"`
}

// A MemoryDuplicate is one pair.
type MemoryDuplicate struct {
	A     Entity  `json:"a"`
	B     Entity  `json:"b"`
	Score float64 `json:"score" minimum:"0" maximum:"1"`
	Why   string  `json:"why"`
}

// MemoryCheck tells what a check found.
type MemoryCheck struct {
	OK     bool     `json:"ok"`
	Faults []string `json:"faults"`
}
