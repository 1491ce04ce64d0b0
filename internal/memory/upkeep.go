package memory

import (
	"context"
	"iter"
	"time"

	"github.com/caxton/caxton"
)

// A Vector is the embedding of a passage.
type Vector struct {
	ID    caxton.MemoryID // the passage's
	Group Group
	Unit  []float32 // of length 1
}

// VectorStore keeps embeddings beside what they were made from. *memdb.DB provides it.
type VectorStore interface {
	// PutVectors writes embeddings made by the named model. One whose passage is gone is left out.
	// Their Group does not matter: the store knows it.
	PutVectors(ctx context.Context, model string, vectors []Vector) error
	// Unembedded returns passages that have no embedding by the model, oldest first, with IDs
	// greater than after.
	Unembedded(ctx context.Context, model string, after caxton.MemoryID, limit int) ([]Passage, error)
	// Vectors calls visit with the embeddings of passages by ID, as the model made them, in any
	// order; those it does not have are left out. The Unit is valid during the call only, and the
	// Group is not set.
	Vectors(ctx context.Context, model string, ids []caxton.MemoryID, visit func(Vector) error) error
	// Load brings the vector index of a model back: first visits the blobs that SaveSegments wrote,
	// then every passage whose vector changed after their mark, as it is now: with its vector, or
	// with a nil Unit when it has none any more. It returns the mark up to which that is.
	Load(ctx context.Context, model string, segment func(id uint32, blob []byte) error, changed func(Vector) error) (mark int64, err error)
	// Changes visits what Load's changed would if the mark of the blobs were since; 0 is before every
	// change, so that it visits each vector there is.
	Changes(ctx context.Context, model string, since int64, changed func(Vector) error) (mark int64, err error)
	// VectorCount returns how many embeddings of a model there are, at once.
	VectorCount(ctx context.Context, model string) (int, error)
	// Embedded counts the embeddings of a model by group.
	Embedded(ctx context.Context, model string) (map[Group]int, error)
	// SaveSegments writes blobs of the model's index in one transaction, a nil one to remove what
	// is kept under its ID, and notes that together they hold all changes up to mark.
	SaveSegments(ctx context.Context, model string, mark int64, blobs iter.Seq2[uint32, []byte]) error
	// Mark returns the number of the last change of vectors and groups.
	Mark(ctx context.Context) (int64, error)
	// DropModel removes the embeddings and blobs of a model.
	DropModel(ctx context.Context, model string) error
	// Edges visits the relations that are known now, in any order: those of ids, or all when it is nil.
	Edges(ctx context.Context, ids []caxton.RelationID, visit func(Edge) error) error
}

// A Cleaning says what to remove for good. What is removed cannot be reverted.
type Cleaning struct {
	OlderThan   time.Time // entities not updated since, that are not important: below MinKeep
	MinKeep     float64   // importance from which on age does not matter; 0.8
	Orphaned    bool      // embeddings, relations and index entries whose entity is gone; entities with neither observation nor relation
	Past        time.Time // what has been superseded, reverted or forgotten before this time
	Scope       caxton.Scope
	MaxEntities int // of the Scope at most: the least important, then the oldest, go first; 0 no limit
	DryRun      bool
}

// A Cleaned counts what was removed.
type Cleaned struct {
	Entities, Observations, Relations, Embeddings, Orphans int64
	Bytes                                                  int64 // of the file that became free
}

// Counts tell how much there is.
type Counts struct {
	Entities     int64 // current
	Observations int64 // current
	Relations    int64 // current
	Past         int64 // observations that are not
	Embeddings   int64
	Unembedded   int64 // current passages that have none by the model
	ByType       map[string]int64
	ByScope      map[string]int64
	ByModel      map[string]int64 // embeddings
}

// FileStats tell of the file.
type FileStats struct {
	Path          string
	Bytes         int64   // with its write-ahead log
	Free          int64   // bytes in it that are unused
	Fragmentation float64 // Free as a share of Bytes, 0 to 1
	CacheHitRate  float64 // of pages, 0 to 1
	CacheBytes    int64
	CacheLimit    int64
	Queries       int64
	AverageQuery  time.Duration
	P99Query      time.Duration
}

// A Slow is a sort of query as the statistics see it.
type Slow struct {
	Kind    string // "semantic_search", "graph_traversal", "text_match"
	Count   int64
	Average time.Duration
	P99     time.Duration
	Max     time.Duration
}

// Keeper is the upkeep of the file. *memdb.DB provides it.
type Keeper interface {
	Count(ctx context.Context, model string) (Counts, error)
	File(ctx context.Context) (FileStats, error)
	Clean(ctx context.Context, c Cleaning) (Cleaned, error)
	Vacuum(ctx context.Context) (freed int64, err error)
	Analyze(ctx context.Context) error
	// Reindex makes the text index and the SQL indexes anew.
	Reindex(ctx context.Context, progress func(done, total int64)) error
	// Check runs SQLite's integrity check and ours: text index, embeddings and relations agree with the entities.
	Check(ctx context.Context, deep bool) ([]string, error)
	// Export visits everything there is within an access, entities first, in order of ID, as of one moment.
	Export(ctx context.Context, a Access, f Filter, past bool, entity func(caxton.Entity) error, relation func(caxton.Relation) error) error
}
