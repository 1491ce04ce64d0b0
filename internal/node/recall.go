package node

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/engine"
	"github.com/caxton/caxton/internal/recall"
)

// The systems that a RecallBench measures.
const (
	RecallWords   = "words"          // BM25 over speaker and text
	RecallMeaning = "meaning"        // vectors of what was said
	RecallNamed   = "meaning-named"  // vectors of "SPEAKER: text", compared one by one
	RecallHybrid  = "hybrid"         // what a search does unless told otherwise
	RecallNoTime  = "hybrid-no-time" // the same, deaf to words for times
)

// RecallSystems returns the names of the systems, in the order of reports.
func RecallSystems() []string {
	return []string{RecallWords, RecallMeaning, RecallNamed, RecallHybrid, RecallNoTime}
}

// A RecallBench measures the memory as the server has it: each turn of a world is remembered as
// an episode in a memory.db of its own, and searched by the engine. All systems of one world
// share the database.
type RecallBench struct {
	dir     string // made by New, removed by Close
	model   engine.Embedder
	weights engine.Weights

	world string
	open  *recallWorld
}

// NewRecallBench returns a bench that keeps its databases in a directory of its own until Close.
func NewRecallBench(model engine.Embedder) (*RecallBench, error) {
	dir, err := os.MkdirTemp("", "caxton-recall-")
	if err != nil {
		return nil, caxton.Errorf(caxton.Unavailable, "recall_dir", "there is no place for the databases of the benchmark").WithCause(err)
	}
	return &RecallBench{dir: dir, model: model, weights: engine.DefaultWeights()}, nil
}

// Close removes the databases.
func (b *RecallBench) Close() error { return errors.Join(b.release(), os.RemoveAll(b.dir)) }

func (b *RecallBench) release() (err error) {
	if b.open != nil {
		err = b.open.close()
	}
	b.open, b.world = nil, ""
	return err
}

// Systems returns the systems of these names.
func (b *RecallBench) Systems(names ...string) ([]recall.System, error) {
	var systems []recall.System
	for _, name := range names {
		if !slices.Contains(RecallSystems(), name) {
			return nil, caxton.Errorf(caxton.Invalid, "recall_system_invalid", "there is no system %.40q", name).
				WithHint("there are %v", RecallSystems())
		}
		systems = append(systems, recall.System{Name: name, Open: func(ctx context.Context, world string) (recall.Searcher, error) {
			return b.searcher(ctx, name, world)
		}})
	}
	return systems, nil
}

func (b *RecallBench) searcher(ctx context.Context, name, world string) (recall.Searcher, error) {
	if name == RecallNamed {
		return &namedVectors{model: b.model}, nil
	}
	if b.world != world || b.open == nil {
		if err := b.release(); err != nil {
			return nil, err
		}
		w, err := openRecallWorld(ctx, b.dir, b.model, b.weights)
		if err != nil {
			return nil, err
		}
		b.open, b.world = w, world
	}
	return &worldSearcher{world: b.open, name: name}, nil
}

// A recallWorld is the memory of one world, with a clock that stands where it is set.
type recallWorld struct {
	dir     string
	db      *memdb.DB
	engines map[bool]*engine.Engine // by whether they heed times
	model   engine.Embedder
	clock   atomic.Int64 // Unix nanoseconds
	stop    context.CancelFunc
	running sync.WaitGroup
	failed  error // of an engine; read after running

	filled bool
	turns  map[caxton.EntityID]string
}

func openRecallWorld(ctx context.Context, parent string, model engine.Embedder, weights engine.Weights) (*recallWorld, error) {
	dir, err := os.MkdirTemp(parent, "world-")
	if err != nil {
		return nil, caxton.Errorf(caxton.Unavailable, "recall_dir", "there is no place for the database of a world").WithCause(err)
	}
	w := &recallWorld{dir: dir, model: model, engines: map[bool]*engine.Engine{}, turns: map[caxton.EntityID]string{}}
	now := func() time.Time { return time.Unix(0, w.clock.Load()).UTC() }
	if w.db, err = memdb.Open(ctx, memdb.Config{Path: filepath.Join(dir, "memory.db"), Now: now}); err != nil {
		return nil, err
	}
	w.stop = func() {}
	heedless := weights
	heedless.Then, heedless.After, heedless.Now = 0, 0, 0
	for timed, of := range map[bool]engine.Weights{true: weights, false: heedless} {
		e, err := engine.New(w.db, w.db, w.db, model, engine.Config{
			Now: now, Weights: of, CacheResults: -1, Cleanup: -1, Vacuum: -1, Analyze: -1, EmbedTimeout: time.Minute,
		})
		if err != nil {
			return nil, errors.Join(err, w.close())
		}
		w.engines[timed] = e
	}
	return w, nil
}

// run starts the engines, over what is there by then: they load it.
func (w *recallWorld) run(ctx context.Context) {
	ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	var mu sync.Mutex // guards failed
	for _, e := range w.engines {
		w.running.Go(func() {
			err := e.Run(ctx)
			mu.Lock()
			defer mu.Unlock()
			w.failed = errors.Join(w.failed, err)
		})
	}
}

func (w *recallWorld) close() error {
	w.stop()
	w.running.Wait()
	return errors.Join(w.failed, w.db.Close(), os.RemoveAll(w.dir))
}

// worldSearcher searches a world in one way.
type worldSearcher struct {
	world *recallWorld
	name  string
}

// Filled reports that another system has added the turns already.
func (s *worldSearcher) Filled() bool { return s.world.filled }

// Add remembers turns as the server remembers those of a conversation.
func (s *worldSearcher) Add(ctx context.Context, turns []recall.Turn) error {
	w, e := s.world, s.world.engines[true]
	texts := make([]string, len(turns))
	for i, t := range turns {
		texts[i] = t.Text
	}
	if _, err := w.model.Embed(ctx, texts); err != nil { // many at once: the engine finds them in the model's cache
		return err
	}
	for i, t := range turns {
		w.clock.Store(max(w.clock.Load()+int64(time.Millisecond), t.At.UnixNano()))
		written, err := e.Episode(ctx, caxton.Scope{Kind: caxton.GlobalScope}, memory.Turn{
			ConversationID: caxton.ConversationID(t.Session), MessageID: caxton.MessageID(t.ID), Sender: t.Speaker, Text: t.Text, At: t.At,
		})
		if err != nil {
			return err
		}
		if len(written.Remembered) == 0 {
			return caxton.Errorf(caxton.Internal, "recall_turn_lost", "turn %d was not remembered", i)
		}
		w.turns[written.Remembered[0].Entity.ID] = t.ID
	}
	return nil
}

// Ready is called when all turns have been added.
func (s *worldSearcher) Ready(ctx context.Context) error {
	if !s.world.filled {
		s.world.filled = true
		s.world.run(ctx)
	}
	return nil
}

// Search returns the turns of the episodes found.
func (s *worldSearcher) Search(ctx context.Context, q recall.Query, limit int) ([]string, error) {
	s.world.clock.Store(max(s.world.clock.Load(), q.At.UnixNano()))
	mode := memory.Hybrid
	switch s.name {
	case RecallWords:
		mode = memory.Words
	case RecallMeaning:
		mode = memory.Meaning
	}
	r, err := s.world.engines[s.name != RecallNoTime].Search(ctx, memory.Query{
		Access: memory.Access{Scopes: []caxton.Scope{{Kind: caxton.GlobalScope}}}, Text: q.Text, Mode: mode, Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	if r.Degraded != "" {
		return nil, caxton.Errorf(caxton.Unavailable, "recall_degraded", "a search went by words alone: %s", r.Degraded)
	}
	ids := make([]string, len(r.Hits))
	for i := range r.Hits {
		ids[i] = s.world.turns[r.Hits[i].Entity.ID]
	}
	return ids, nil
}

// namedVectors compares the vector of the question with that of every turn, as it is most often
// done: the speaker is part of the text.
type namedVectors struct {
	model engine.Embedder
	ids   []string
	units [][]float32
}

func (v *namedVectors) Add(ctx context.Context, turns []recall.Turn) error {
	texts := make([]string, len(turns))
	for i, t := range turns {
		texts[i] = t.Speaker + ": " + t.Text
		v.ids = append(v.ids, t.ID)
	}
	units, err := v.model.Embed(ctx, texts)
	v.units = append(v.units, units...)
	return err
}

func (v *namedVectors) Search(ctx context.Context, q recall.Query, limit int) ([]string, error) {
	units, err := v.model.Embed(ctx, []string{q.Text})
	if err != nil {
		return nil, err
	}
	type scored struct {
		at    int
		score float32
	}
	all := make([]scored, len(v.units))
	for i, u := range v.units {
		sum := float32(0)
		for j, x := range units[0] {
			sum += x * u[j]
		}
		all[i] = scored{i, sum}
	}
	slices.SortFunc(all, func(a, b scored) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.at, b.at)) })
	ids := make([]string, min(limit, len(all)))
	for i := range ids {
		ids[i] = v.ids[all[i].at]
	}
	return ids, nil
}

// RecallOptions say what a benchmark of the memory asks, and of which systems.
type RecallOptions struct {
	Worlds    iter.Seq2[recall.World, error]
	Name      string   // of the dataset
	Systems   []string // nil: all of RecallSystems
	Questions int      // of each type and world at most; 0: all
	Limit     int      // turns asked for
	Progress  func(recall.Progress)
}

// RunRecall measures how well the memory of the server, with the model in the program, finds
// again what it was told. It needs neither a server nor data.
func RunRecall(ctx context.Context, o RecallOptions) (report *recall.Report, err error) {
	names := o.Systems
	if names == nil {
		names = RecallSystems()
	}
	model, err := embedding.Open(ctx, embedding.Config{CacheSize: recallCache, QueueSize: 4 * recallBatch})
	if err != nil {
		return nil, err
	}
	defer model.Close()
	b, err := NewRecallBench(model)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	systems, err := b.Systems(names...)
	if err != nil {
		return nil, err
	}
	return recall.Run(ctx, fewer(o.Worlds, o.Questions), systems, recall.Config{
		Name: o.Name, Limit: o.Limit, Batch: recallBatch, Progress: o.Progress,
	})
}

const (
	recallBatch = 256
	recallCache = 20_000 // vectors: those of a world in both forms
)

// fewer leaves at most n questions of each type of a world, the first ones; 0 leaves all.
func fewer(worlds iter.Seq2[recall.World, error], n int) iter.Seq2[recall.World, error] {
	if n <= 0 {
		return worlds
	}
	return func(yield func(recall.World, error) bool) {
		for w, err := range worlds {
			asked := map[recall.Type]int{}
			w.Questions = slices.DeleteFunc(slices.Clone(w.Questions), func(q recall.Question) bool {
				asked[q.Type]++
				return asked[q.Type] > n
			})
			if !yield(w, err) {
				return
			}
		}
	}
}
