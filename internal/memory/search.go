package memory

import (
	"time"

	"github.com/caxton/caxton"
)

// A Mode says by which signals is searched.
type Mode string

// The modes.
const (
	Hybrid  Mode = "hybrid"  // words, meaning, graph and time
	Words   Mode = "words"   // BM25 alone
	Meaning Mode = "meaning" // vectors alone
)

// The bounds of a search.
const (
	DefaultLimit = 10
	MaxLimit     = 1000
	MaxQuery     = 32 << 10 // bytes of a query; what exceeds the model's length counts for words only
)

// A Query is what is searched for.
type Query struct {
	Access        Access
	Text          string
	Mode          Mode    // Hybrid
	Limit         int     // entities: 1 to MaxLimit; 0 means DefaultLimit
	MinSimilarity float64 // 0 to 1: hits of a lower Score are left out
	Filter        Filter
	PerEntity     int  // observations of one entity at most: 0 means 3
	Relations     bool // with the relations among and at the hits
}

// A Result is what a search found.
type Result struct {
	Hits     []Hit  // best first
	Mode     Mode   // Words when a hybrid search had to do without the model
	Degraded string // why it had to, or ""
	Took     time.Duration
	Model    string // whose vectors were compared
}

// A Hit is an entity that a search found, with the observations for which it did.
type Hit struct {
	Entity    caxton.Entity // its Observations are those found, best first
	Score     float64       // 0 to 1: the fused score by which hits are in order
	Found     []Found       // one for each observation, or one for the name of an entity without any
	Relations []caxton.Relation
}

// Found tells why a passage was found.
type Found struct {
	ID      caxton.MemoryID
	Score   float64
	Signals []Signal
}

// A Signal is one reason for which a passage was found.
type Signal struct {
	Name   string  // "words", "meaning", "subject", "mention", "identifier", "time", "graph", "importance"
	Raw    float64 // as measured: BM25, cosine, share of the names or identifiers, age in days, strength of the connection, importance
	Score  float64 // the same from 0 to 1
	Weight float64 // its part in the fused score
	Rank   int     // its place among what this signal found, from 1; 0 when it did not find it
	Detail string  // such as the words or the path, or ""
}

// A Direction says which relations a traversal follows.
type Direction string

// The directions.
const (
	Outgoing Direction = "outgoing"
	Incoming Direction = "incoming"
	Both     Direction = "both"
)

// A Traversal asks for what is connected to some entities.
type Traversal struct {
	Access      Access
	From        []caxton.EntityID
	To          caxton.EntityID // the shortest path to this one only; or 0
	Depth       int             // 1 to 10; 0 means 3
	Types       []string        // of relations; nil means all
	Direction   Direction       // Both
	MinStrength float64
	Limit       int // nodes at most: 1 to 10000; 0 means 1000
	DepthFirst  bool
}

// A Graph is a part of the graph.
type Graph struct {
	Nodes     []Node // in the order they were reached
	Edges     []caxton.Relation
	Truncated bool // there is more than the limit
	Took      time.Duration
}

// A Node is an entity in a Graph.
type Node struct {
	Entity caxton.Entity // without observations
	Depth  int
	Path   []caxton.RelationID // from where it was reached, one for each step
}
