package memory

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caxton/caxton"
)

// An Access is what somebody may see and change. The zero Access is nothing.
type Access struct {
	All    bool           // everything: an operator
	Scopes []caxton.Scope // these, and no other
}

// An AsOf asks for what was true at one time as far as was known at another. The zero AsOf
// asks for what is true and known now. A search among the past costs more.
type AsOf struct {
	Valid time.Time // true at this time; zero: now
	Known time.Time // known at this time; zero: now
}

// A Memo is one entity and what is to be remembered about it.
type Memo struct {
	Scope        caxton.Scope
	ID           caxton.EntityID // an entity there is, instead of Scope and Name; or 0
	Name         string          // an entity of this name in the scope is added to; without one it is made
	Type         string          // "" for the type it has, or "thing"; another type than it has is a Conflict
	Importance   *float64
	Metadata     json.RawMessage // replaces what there is, unless nil
	Notes        []Note
	Links        []Link
	CreateOnly   bool // Conflict when the entity is there
	ExistingOnly bool // NotFound when it is not
}

// A Note is one thing to be remembered about an entity.
type Note struct {
	Text       string
	Key        string // see caxton.Observation: a current one of the same key is superseded
	Confidence *float64
	Valid      caxton.Span
	Replaces   caxton.ObservationID // this current observation of the entity is superseded; or 0

	// For imports. A note whose Known has a To is of the past: it supersedes nothing and is
	// superseded by nothing.
	Known      caxton.Span        // when it was taken for true; a zero From is now
	RevertedBy string             // see caxton.Observation
	Provenance *caxton.Provenance // nil: that of the whole write
}

// A Link is a relation to be remembered, from the Memo's entity. When there is one of these
// ends and this type, it is brought up to date.
type Link struct {
	To         string          // name of the other entity: in the Memo's scope, else in a wider one that Access shows
	ToID       caxton.EntityID // or its ID
	Type       string
	Strength   *float64
	Confidence *float64
	Metadata   json.RawMessage
	Valid      caxton.Span
}

// A Remembered tells what became of a Memo.
type Remembered struct {
	Entity       caxton.Entity // without observations
	Created      bool
	Observations []Noted // in the order of Notes
	Relations    []caxton.Relation
}

// A Noted tells what became of a Note.
type Noted struct {
	ID         caxton.ObservationID
	Duplicate  bool                   // the entity had it already: ID is the one there is
	Superseded []caxton.ObservationID // those it took the place of
}

// A Passage is a text that is searched: an observation, or the name of an entity that has
// none. Its ID is the observation's or the entity's.
type Passage struct {
	ID       caxton.MemoryID
	EntityID caxton.EntityID
	Group    Group
	Text     string // what is embedded: see MeaningText
}

// A Group is a set of passages that are searched together: those of one scope that are
// current, or those that are not. Group/2 is the Store's number of the scope; odd is past.
// A passage is past when its known time is closed; whether it is true at a time is told by Hits
// and Match alone.
type Group uint64

// A Forgetting says what to forget. Forgetting closes the known time and removes nothing.
type Forgetting struct {
	Entities     []caxton.EntityID // with their observations and relations
	Observations []caxton.ObservationID
	Relations    []caxton.RelationID
	By           caxton.Provenance
}

// A Reversal says which observations and relations to take back, by where they came from. All set
// fields must agree; at least one must be set. What the reverted had superseded is current again,
// unless something that is not reverted has superseded it too.
type Reversal struct {
	Observations   []caxton.ObservationID
	Entity         caxton.EntityID
	ConversationID caxton.ConversationID
	MessageID      caxton.MessageID
	AgentID        caxton.AgentID
	Tool           string
	By             string
	Since, Until   time.Time // known from a time in this span
	DryRun         bool      // tell, change nothing
	Reason         string
	Actor          string // who reverts
}

// Changed counts and names what a write changed, so that the indexes can follow.
type Changed struct {
	Entities          []caxton.EntityID      // that were forgotten, or that are current again
	Observations      []caxton.ObservationID // that ceased to be current
	Restored          []caxton.ObservationID // that are current again
	Relations         []caxton.RelationID    // that ceased to be current
	RestoredRelations []caxton.RelationID
	Hidden            []caxton.RelationID // that ceased to be current, and that the caller may not see: for the indexes only
}

// A Filter bounds what a search or a list returns. Zero fields bound nothing.
type Filter struct {
	Types          []string          // of entities
	Name           string            // exactly, ignoring case
	Metadata       map[string]string // these members of the entity's metadata have these values, written as text
	Since, Until   time.Time         // true within this time
	AsOf           *AsOf             // nil: now
	MinImportance  float64
	ConversationID caxton.ConversationID // where it came from
	AgentID        caxton.AgentID
}

// A TextMatch is a passage found by its words.
type TextMatch struct {
	ID       caxton.MemoryID
	EntityID caxton.EntityID
	Group    Group
	Score    float64 // BM25, greater is better
}

// An Edge is a relation as the graph needs it.
type Edge struct {
	ID        caxton.RelationID
	From, To  caxton.EntityID
	FromGroup Group // who may see From
	ToGroup   Group // who may see To: nobody sees an edge who does not see both ends
	Type      string
	Strength  float64
	Valid     caxton.Span
}

// A ChangeKind says what a Change did.
type ChangeKind string

// The kinds of change.
const (
	EntityCreated   ChangeKind = "created"
	EntityUpdated   ChangeKind = "updated"
	EntityForgotten ChangeKind = "forgotten"
	Observed        ChangeKind = "observed"
	Superseded      ChangeKind = "superseded"
	Reverted        ChangeKind = "reverted"
	Restored        ChangeKind = "restored"
	Forgotten       ChangeKind = "observation_forgotten"
	Related         ChangeKind = "related"
	Unrelated       ChangeKind = "unrelated"
)

// A Change is one entry of an entity's history, oldest first.
type Change struct {
	At          time.Time
	Kind        ChangeKind
	Observation *caxton.Observation // of observed, superseded, reverted, restored
	Relation    *caxton.Relation
	Detail      string // for people: "type person → employee"
	Provenance  caxton.Provenance
}

// A Store keeps the truth. *memdb.DB provides it; memorytest.TestStore is what it must pass.
// Everything it returns lies within the Access it is given; what lies outside is NotFound.
// A write that returned is durable, is done wholly or not at all, and is visible to every
// later read.
type Store interface {
	// Remember writes memos in order, in one transaction.
	Remember(ctx context.Context, a Access, memos []Memo, by caxton.Provenance) ([]Remembered, error)
	// Forget closes the known time of what it is given.
	Forget(ctx context.Context, a Access, f Forgetting) (Changed, error)
	// Revert takes back what came from somewhere.
	Revert(ctx context.Context, a Access, r Reversal) (Changed, error)

	// Entity returns an entity with its observations as of a time.
	Entity(ctx context.Context, a Access, id caxton.EntityID, at AsOf) (caxton.Entity, error)
	// Named returns the entities of a name, ignoring case, narrowest scope first, without observations.
	Named(ctx context.Context, a Access, name string, at AsOf) ([]caxton.Entity, error)
	// Entities returns a page of entities without observations, most recently updated first.
	Entities(ctx context.Context, a Access, f Filter, cursor string, limit int) (page []caxton.Entity, next string, err error)
	// Relations returns the relations at an entity, or all when id is 0, as of a time.
	Relations(ctx context.Context, a Access, id caxton.EntityID, at AsOf, cursor string, limit int) (page []caxton.Relation, next string, err error)
	// Related returns the relations with these IDs that a may see, as of a time, in the order of ids.
	Related(ctx context.Context, a Access, ids []caxton.RelationID, at AsOf) ([]caxton.Relation, error)
	// History returns everything that happened to an entity, oldest first.
	History(ctx context.Context, a Access, id caxton.EntityID) ([]Change, error)
	// Hits returns the entity and the observation behind each passage that a may see and that agrees
	// with f, in the order of ids. An entity's Observations holds the one found, or nothing. The ID of
	// an entity is good too when it has observations: nothing is in its Observations then.
	Hits(ctx context.Context, a Access, ids []caxton.MemoryID, f Filter) ([]caxton.Entity, error)

	// Match returns the passages that have words of a query, best first.
	Match(ctx context.Context, a Access, query string, f Filter, limit int) ([]TextMatch, error)
	// MatchRoughly returns the passages that have the rarest and the most words of a query, best first,
	// without reading them: Score is the sum of what their words weigh in BM25. Passages that a may not see, or
	// that are past, may be among them: they are only good to be looked up by what heeds the access. For those
	// of other scopes there may be more than limit.
	// EntityID and Group are not set.
	MatchRoughly(ctx context.Context, a Access, query string, limit int) ([]TextMatch, error)
	// Weigh returns for each of es, as Hits returned them, the Score that Match gives it for a query,
	// 0 for one that has none of its words.
	Weigh(ctx context.Context, a Access, query string, es []caxton.Entity) ([]float64, error)
	// Names returns those of some words, each without a space, that are in the Subject of a passage
	// that a may see, in their order.
	Names(ctx context.Context, a Access, words []string) ([]Name, error)
	// About returns the passages that have one of at most 64 words in their subject or their text:
	// for each word and either place the limit newest, in order of IDs. Passages that a may not see
	// may be among them: they are only good to be looked up by what heeds the access.
	About(ctx context.Context, a Access, words []string, limit int) ([]Aboutness, error)
	// Groups returns the groups that a may see; the past ones only if past.
	Groups(ctx context.Context, a Access, past bool) ([]Group, error)
}

// A Written is what a write came to.
type Written struct {
	Remembered []Remembered // one for each memo
	Unembedded int          // passages that are embedded later: until then words alone find them
	Degraded   string       // why, or ""
}
