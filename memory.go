package caxton

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// A MemoryID identifies something remembered: an entity, an observation or a relation. The
// upper 41 bits are milliseconds since 2020, the lower 22 count within one and begin at
// random, so that IDs sort by age and servers need not agree on them. No two of a server
// are equal, of whatever kind. 0 is none.
type MemoryID int64

// An EntityID identifies an entity. Its text begins with "ent_".
type EntityID MemoryID

// An ObservationID identifies an observation. Its text begins with "obs_".
type ObservationID MemoryID

// A RelationID identifies a relation. Its text begins with "rel_".
type RelationID MemoryID

// The beginnings of IDs as text.
const (
	entityPrefix      = "ent_"
	observationPrefix = "obs_"
	relationPrefix    = "rel_"
)

// String returns the ID as text, "" for none.
func (id EntityID) String() string { return formatMemoryID(entityPrefix, int64(id)) }

// String returns the ID as text, "" for none.
func (id ObservationID) String() string { return formatMemoryID(observationPrefix, int64(id)) }

// String returns the ID as text, "" for none.
func (id RelationID) String() string { return formatMemoryID(relationPrefix, int64(id)) }

// MarshalText is String.
func (id EntityID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText is String.
func (id ObservationID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText is String.
func (id RelationID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseEntityID; empty text is none.
func (id *EntityID) UnmarshalText(text []byte) (err error) {
	*id = 0
	if len(text) > 0 {
		*id, err = ParseEntityID(string(text))
	}
	return err
}

// UnmarshalText is ParseObservationID; empty text is none.
func (id *ObservationID) UnmarshalText(text []byte) (err error) {
	*id = 0
	if len(text) > 0 {
		*id, err = ParseObservationID(string(text))
	}
	return err
}

// UnmarshalText is ParseRelationID; empty text is none.
func (id *RelationID) UnmarshalText(text []byte) (err error) {
	*id = 0
	if len(text) > 0 {
		*id, err = ParseRelationID(string(text))
	}
	return err
}

// ParseEntityID reads the text of an EntityID, or returns an Invalid error.
func ParseEntityID(s string) (EntityID, error) {
	n, err := parseMemoryID(entityPrefix, "an entity", s)
	return EntityID(n), err
}

// ParseObservationID reads the text of an ObservationID, or returns an Invalid error.
func ParseObservationID(s string) (ObservationID, error) {
	n, err := parseMemoryID(observationPrefix, "an observation", s)
	return ObservationID(n), err
}

// ParseRelationID reads the text of a RelationID, or returns an Invalid error.
func ParseRelationID(s string) (RelationID, error) {
	n, err := parseMemoryID(relationPrefix, "a relation", s)
	return RelationID(n), err
}

// formatMemoryID writes 13 digits to the base 36: so many has the greatest of them, and
// texts of one length sort like the numbers.
func formatMemoryID(prefix string, id int64) string {
	if id == 0 {
		return ""
	}
	digits := strconv.FormatInt(id, 36)
	return prefix + strings.Repeat("0", max(0, 13-len(digits))) + digits
}

func parseMemoryID(prefix, what, s string) (int64, error) {
	digits, ok := strings.CutPrefix(s, prefix)
	n, err := strconv.ParseInt(digits, 36, 64)
	if !ok || err != nil || n <= 0 || len(digits) != 13 || strings.ToLower(digits) != digits || digits[0] == '+' {
		return 0, Errorf(Invalid, "memory_id_invalid", "%.80q is not the ID of %s", s, what).
			WithHint("such an ID begins with %s and has 13 digits and small letters after it", prefix)
	}
	return n, nil
}

// A ScopeKind says who shares a memory.
type ScopeKind string

// The kinds of scope, from the narrowest.
const (
	AgentScope     ScopeKind = "agent"     // one agent
	WorkspaceScope ScopeKind = "workspace" // the agents of one workspace
	GlobalScope    ScopeKind = "global"    // everybody
)

// DefaultWorkspace is the workspace of agents that name none.
const DefaultWorkspace = "default"

// A Scope is who shares a memory: one agent, one workspace, or everybody. Everything
// remembered is in exactly one.
type Scope struct {
	Kind  ScopeKind
	Owner string // the AgentID, or the name of the workspace; "" for global
}

// String returns "global", "workspace:NAME" or "agent:ID"; "" for the zero Scope.
func (s Scope) String() string {
	if s.Owner == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + ":" + s.Owner
}

// MarshalText is String.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseScope; empty text is the zero Scope.
func (s *Scope) UnmarshalText(text []byte) (err error) {
	*s = Scope{}
	if len(text) > 0 {
		*s, err = ParseScope(string(text))
	}
	return err
}

// ParseScope reads what Scope.String writes; "workspace" alone is the default workspace. It
// returns an Invalid error for anything else.
func ParseScope(s string) (Scope, error) {
	kind, owner, given := strings.Cut(s, ":")
	switch k := ScopeKind(kind); k {
	case GlobalScope:
		if !given {
			return Scope{Kind: k}, nil
		}
	case WorkspaceScope:
		if !given {
			return Scope{Kind: k, Owner: DefaultWorkspace}, nil
		}
		fallthrough
	case AgentScope:
		if given && CheckID(owner) == nil {
			return Scope{Kind: k, Owner: owner}, nil
		}
	}
	return Scope{}, Errorf(Invalid, "scope_invalid", "%.160q is not a scope", s).
		WithHint("write global, workspace, workspace:NAME or agent:ID")
}

// A Provenance says where something remembered came from. Every field may be empty.
type Provenance struct {
	ConversationID ConversationID
	MessageID      MessageID // the message that was being handled
	AgentID        AgentID   // the agent that remembered it
	Version        int64     // the version of the agent; 0 unknown
	Tool           string    // the tool by which it did: "memory_store", "episode"
	By             string    // the person or program, when it was not an agent: "cli", "api", "import"
}

// A Span is a time from From, inclusive, to To, exclusive. A zero From is since ever, a zero
// To is until further notice.
type Span struct {
	From time.Time
	To   time.Time
}

// Holds reports whether t is in the span.
func (s Span) Holds(t time.Time) bool {
	return (s.From.IsZero() || !t.Before(s.From)) && (s.To.IsZero() || t.Before(s.To))
}

// An Entity is a person, a place, a thing, a topic or an event that agents know something
// about. Its name is unique in its scope among those not forgotten.
type Entity struct {
	ID         EntityID
	Scope      Scope
	Name       string          // 1 to 512 bytes
	Type       string          // 1 to 128 bytes: "person", "episode"
	Importance float64         // 0 to 1; 0.5 unless said otherwise
	Metadata   json.RawMessage // a JSON object of at most 64 KiB, or nil
	Version    int64           // 1, and one more at each change of the fields above
	CreatedAt  time.Time
	UpdatedAt  time.Time // of the entity or of what is known about it
	Known      Span      // To is when it was forgotten

	Observations []Observation // as asked for: current ones, or those of a time, oldest first
}

// An Observation is one thing known about an entity. It is never changed: what contradicts
// it supersedes it, and both stay.
type Observation struct {
	ID         ObservationID
	EntityID   EntityID
	Text       string  // 1 byte to 1 MiB
	Key        string  // what it tells of the entity, such as "address": a newer one with the same key supersedes it; "" for none
	Confidence float64 // 0 to 1; 1 unless said otherwise
	Valid      Span    // when it was true, as far as is known
	Known      Span    // when we took it for true: To is when it was superseded, reverted or forgotten

	Supersedes   ObservationID
	SupersededBy ObservationID
	RevertedBy   string // who took it back, when it was reverted; else ""
	Provenance   Provenance
}

// A Relation is a directed connection of two entities. Its ends and type are unique among
// those not forgotten.
type Relation struct {
	ID         RelationID
	Scope      Scope // of the two ends, the narrower one
	From       EntityID
	To         EntityID
	FromName   string
	ToName     string
	Type       string          // 1 to 128 bytes: "works_for"
	Strength   float64         // 0 to 1; 0.5 unless said otherwise
	Confidence float64         // 0 to 1; 1 unless said otherwise
	Metadata   json.RawMessage // a JSON object of at most 64 KiB, or nil
	Valid      Span
	Known      Span
	Provenance Provenance
}

// The bounds of what is remembered.
const (
	MaxEntityName      = 512
	MaxEntityType      = 128
	MaxObservation     = 1 << 20
	MaxObservationKey  = 128
	MaxMemoryMetadata  = 64 << 10
	MaxEntityText      = 10 << 20 // of all current observations of an entity together
	DefaultImportance  = 0.5
	DefaultStrength    = 0.5
	DefaultConfidence  = 1.0
	EpisodeType        = "episode" // the type of entities that hold what was said in a turn
	EpisodeTool        = "episode" // the tool in the provenance of such
	DefaultRecallLimit = 5
)
