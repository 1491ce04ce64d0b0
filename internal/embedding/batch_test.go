package embedding_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/embedding/embeddingtest"
)

// permits is how many batches a remote model takes at a time.
const permits = 4

// A gate is a server that holds each request until it is let through, and remembers the texts
// of each.
type gate struct {
	next http.Handler
	let  chan struct{}

	mu      sync.Mutex
	batches [][]string
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var req struct {
		Input []string `json:"input"`
	}
	_ = json.Unmarshal(body, &req)
	g.mu.Lock()
	g.batches = append(g.batches, req.Input)
	g.mu.Unlock()
	select {
	case <-g.let:
	case <-r.Context().Done():
		return
	}
	if slices.ContainsFunc(req.Input, func(s string) bool { return strings.Contains(s, "poison") }) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":{"message":"not this"}}`))
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	g.next.ServeHTTP(w, r)
}

func (g *gate) seen() [][]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.batches)
}

// gated returns a Provider whose requests wait at the gate.
func gated(t *testing.T, cfg embedding.Config) (*embedding.Provider, *gate) {
	t.Helper()
	g := &gate{next: embeddingtest.Serve(embeddingtest.Words{}), let: make(chan struct{})}
	cfg.Model = "openai:words"
	cfg.Remote = embedding.Remote{BaseURL: "http://words.test/v1", Dimensions: 384, MaxRetries: -1, Timeout: time.Hour, HTTPClient: embeddingtest.Client(g)}
	return open(t, cfg), g
}

// ask embeds texts in a goroutine of wg and puts what came into *err.
func ask(ctx context.Context, wg *sync.WaitGroup, p *embedding.Provider, err *error, texts ...string) {
	wg.Go(func() { _, *err = p.Embed(ctx, texts) })
}

// fill takes all permits with one text each.
func fill(t *testing.T, wg *sync.WaitGroup, p *embedding.Provider) {
	t.Helper()
	errs := make([]error, permits)
	for i := range errs {
		ask(t.Context(), wg, p, &errs[i], fmt.Sprintf("first %d", i))
		synctest.Wait() // or two of them may make one batch
	}
	if s := p.Stats(); s.Waiting != 0 {
		t.Fatalf("%d texts wait although there are permits", s.Waiting)
	}
}

func TestSameTextAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{})
		var wg sync.WaitGroup
		errs := make([]error, 10)
		for i := range errs {
			ask(t.Context(), &wg, p, &errs[i], "the same", "the same")
		}
		synctest.Wait()
		close(g.let)
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if got := g.seen(); len(got) != 1 || !slices.Equal(got[0], []string{"the same"}) {
			t.Errorf("the server was asked for %q", got)
		}
		if s := p.Stats(); s.Texts != 20 || s.Misses != 1 || s.Shared != 19 || s.HitRate != 0.95 {
			t.Errorf("Stats() = %+v", s)
		}
	})
}

// While a text is being embedded for somebody else, the others of a call do not wait for it.
func TestQueuedFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{})
		var wg sync.WaitGroup
		var first, second error
		ask(t.Context(), &wg, p, &first, "shared")
		synctest.Wait()
		ask(t.Context(), &wg, p, &second, "shared", "own")
		synctest.Wait()
		if got := g.seen(); len(got) != 2 || !slices.Equal(got[1], []string{"own"}) {
			t.Errorf("the server was asked for %q", got)
		}
		close(g.let)
		wg.Wait()
		if err := errors.Join(first, second); err != nil {
			t.Fatal(err)
		}
	})
}

// While imports have all that they may have, a single text is embedded at once, and alone.
func TestSingleTextPassesBulk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{})
		var wg sync.WaitGroup
		errs := make([]error, permits+2)
		for i := range permits {
			ask(t.Context(), &wg, p, &errs[i], fmt.Sprintf("import %d a", i), fmt.Sprintf("import %d b", i))
			synctest.Wait()
		}
		if s := p.Stats(); s.Waiting != 2 {
			t.Fatalf("%d texts wait, want the last import's 2", s.Waiting)
		}
		ask(t.Context(), &wg, p, &errs[permits], "search")
		synctest.Wait()
		if got := g.seen(); len(got) != permits || !slices.Equal(got[permits-1], []string{"search"}) {
			t.Errorf("the server was asked for %q", got)
		}
		ask(t.Context(), &wg, p, &errs[permits+1], "import 3 b") // now somebody searches for it
		synctest.Wait()
		g.let <- struct{}{}
		synctest.Wait()
		close(g.let)
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	})
}

func TestBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{BatchSize: 8})
		var wg sync.WaitGroup
		fill(t, &wg, p)
		errs := make([]error, 20)
		for i := range errs {
			ask(t.Context(), &wg, p, &errs[i], fmt.Sprintf("later %d", i))
		}
		synctest.Wait()
		if s := p.Stats(); s.Waiting != 20 {
			t.Fatalf("%d texts wait, want 20", s.Waiting)
		}
		close(g.let)
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		var sizes []int
		for _, b := range g.seen()[permits:] {
			sizes = append(sizes, len(b))
		}
		slices.Sort(sizes)
		if !slices.Equal(sizes, []int{4, 8, 8}) {
			t.Errorf("batches of %v", sizes)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{QueueSize: 5})
		var wg sync.WaitGroup
		fill(t, &wg, p)
		errs := make([]error, 5)
		for i := range errs {
			ask(t.Context(), &wg, p, &errs[i], fmt.Sprintf("later %d", i))
		}
		synctest.Wait()
		if _, err := p.Embed(t.Context(), []string{"too much"}); caxton.KindOf(err) != caxton.Exhausted {
			t.Errorf("Embed with a full queue: %v, want it exhausted", err)
		}
		close(g.let)
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Embed(t.Context(), []string{"again"}); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Refused != 1 || s.Waiting != 0 {
			t.Errorf("Stats() = %+v", s)
		}
	})
}

// One embeds for others and leaves: they are served all the same, and nothing is left behind.
func TestLeaderLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{})
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		var leader, joined, queued error
		ask(ctx, &wg, p, &leader, "wanted by two", "wanted by one")
		synctest.Wait()
		ask(t.Context(), &wg, p, &joined, "wanted by two")
		synctest.Wait()
		if got := g.seen(); len(got) != 1 {
			t.Fatalf("the server was asked for %q", got)
		}
		cancel()
		synctest.Wait()
		if got := g.seen(); len(got) != 2 || !slices.Equal(got[1], []string{"wanted by two"}) {
			t.Errorf("the server was asked for %q", got)
		}
		ask(t.Context(), &wg, p, &queued, "something else")
		close(g.let)
		wg.Wait()
		if caxton.KindOf(leader) != caxton.Canceled || joined != nil || queued != nil {
			t.Errorf("leader: %v, the one who joined: %v, a later one: %v", leader, joined, queued)
		}
		if s := p.Stats(); s.Waiting != 0 || s.Embedded != 2 {
			t.Errorf("Stats() = %+v", s)
		}
	})
}

// One whose text another embeds leaves, and then so does the other: nobody wants it any more.
func TestBothLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{})
		var wg sync.WaitGroup
		fill(t, &wg, p)
		leads, cancelLeads := context.WithCancel(t.Context())
		waits, cancelWaits := context.WithCancel(t.Context())
		var leader, waiter error
		ask(leads, &wg, p, &leader, "of the leader")
		synctest.Wait()
		ask(waits, &wg, p, &waiter, "of the waiter")
		synctest.Wait()
		g.let <- struct{}{}
		synctest.Wait()
		if got := g.seen(); len(got) != permits+1 || len(got[permits]) != 2 || got[permits][0] != "of the leader" {
			t.Fatalf("the server was asked for %q", got)
		}
		cancelWaits()
		synctest.Wait()
		cancelLeads()
		synctest.Wait()
		if s := p.Stats(); s.Waiting != 0 {
			t.Errorf("%d texts wait for nobody", s.Waiting)
		}
		close(g.let)
		wg.Wait()
		if caxton.KindOf(leader) != caxton.Canceled || caxton.KindOf(waiter) != caxton.Canceled {
			t.Errorf("leader: %v, waiter: %v", leader, waiter)
		}
	})
}

// One who waits and leaves takes the text along, unless somebody else wants it.
func TestWaiterLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{})
		var wg sync.WaitGroup
		fill(t, &wg, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var left, kept error
		ask(ctx, &wg, p, &left, "nobody's", "shared")
		synctest.Wait()
		ask(t.Context(), &wg, p, &kept, "shared")
		synctest.Wait()
		<-ctx.Done()
		synctest.Wait()
		if s := p.Stats(); s.Waiting != 1 {
			t.Errorf("%d texts wait, want 1", s.Waiting)
		}
		close(g.let)
		wg.Wait()
		if caxton.KindOf(left) != caxton.Timeout || kept != nil {
			t.Errorf("who left: %v, who stayed: %v", left, kept)
		}
		if got := g.seen(); !slices.Equal(got[len(got)-1], []string{"shared"}) {
			t.Errorf("the server was asked for %q", got)
		}
	})
}

// A text that the model refuses harms no other of its batch.
func TestPoisonedBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, g := gated(t, embedding.Config{})
		var wg sync.WaitGroup
		fill(t, &wg, p)
		errs := make([]error, 10)
		for i := range errs {
			text := fmt.Sprintf("later %d", i)
			if i == 3 {
				text = "poison"
			}
			ask(t.Context(), &wg, p, &errs[i], text)
		}
		synctest.Wait()
		close(g.let)
		wg.Wait()
		for i, err := range errs {
			if want := map[bool]caxton.Kind{true: caxton.Invalid}[i == 3]; caxton.KindOf(err) != want {
				t.Errorf("text %d: %v, want kind %q", i, err, want)
			}
		}
		if s := p.Stats(); s.Failed != 1 || s.Embedded != 13 {
			t.Errorf("Stats() = %+v", s)
		}
		if _, err := p.Embed(t.Context(), []string{"later 1", "poison"}); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("a failure was remembered as a vector: %v", err)
		}
	})
}

// Many callers, some of whom leave at any time: all others are served and nothing is left.
func TestManyCallers(t *testing.T) {
	t.Parallel()
	want, err := embeddingtest.Words{}.Embed(t.Context(), []string{"text 0", "text 1", "text 2", "text 3", "text 4", "text 5", "text 6"})
	if err != nil {
		t.Fatal(err)
	}
	p, g := gated(t, embedding.Config{BatchSize: 3, CacheSize: 2})
	close(g.let)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for n := range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*n%50)*20*time.Microsecond)
				if i%2 == 0 {
					ctx = t.Context()
				}
				a, b := (i+n)%7, (i*n)%7
				got, err := p.Embed(ctx, []string{fmt.Sprintf("text %d", a), fmt.Sprintf("text %d", b)})
				cancel()
				switch {
				case err == nil && !(embeddingtest.Cosine(got[0], want[a]) > 0.9999 && embeddingtest.Cosine(got[1], want[b]) > 0.9999):
					t.Error("texts were mixed up")
				case err != nil && (i%2 == 0 || caxton.KindOf(err) != caxton.Timeout):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Waiting != 0 || s.CacheEntries > 2 {
		t.Errorf("Stats() = %+v", s)
	}
}
