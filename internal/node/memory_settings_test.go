package node_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/embedding/embeddingtest"
	"github.com/caxton/caxton/internal/node"
)

// TestMemoryIsBounded has agents remember more, and longer, than their files say, and waits for
// the upkeep.
func TestMemoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"agents/few.md":   rememberer("Few", "max_entities: 3"),
		"agents/brief.md": rememberer("Brief", "retention: 1s"),
		"agents/long.md":  rememberer("Long"),
	})
	c, _, _ := run(t, dir, "memory.cleanup.interval", "1s")
	important := 0.9
	for _, agent := range []string{"few", "brief", "long"} {
		for i := range 6 {
			e := api.NewEntity{Name: fmt.Sprintf("%s thing %d", agent, i), AgentID: agent}
			if i == 0 {
				e.Importance = &important
			}
			if _, err := c.Remember(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	names := func(agent string) string {
		t.Helper()
		l, err := c.Entities(t.Context(), api.EntityFilter{MemoryView: api.MemoryView{Agent: agent}, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for i := range l.Items {
			all = append(all, strings.TrimPrefix(l.Items[i].Name, agent+" thing "))
		}
		return strings.Join(all, " ")
	}
	deadline := time.Now().Add(20 * time.Second)
	for names("few") != "5 4 0" || names("brief") != "0" {
		if time.Now().After(deadline) {
			t.Fatalf("few has %q, brief has %q", names("few"), names("brief"))
		}
		<-time.After(50 * time.Millisecond)
	}
	if got := names("long"); got != "5 4 3 2 1 0" {
		t.Errorf("an agent without bounds has %q", got)
	}
	if check, err := c.CheckMemory(t.Context(), true); err != nil || !check.OK {
		t.Errorf("check: %+v, %v", check, err)
	}
}

// TestMemorySettings looks at what the settings of a file do to what is recalled.
func TestMemorySettings(t *testing.T) {
	dir, o := t.TempDir(), newOracle(t)
	put(t, dir, map[string]string{
		"agents/strict.md": rememberer("Strict", "scope: workspace", "search: {similarity_threshold: 0.8}"),
		"agents/two.md":    rememberer("Two", "scope: workspace", "search: {max_results: 2}"),
		"agents/loose.md":  rememberer("Loose", "scope: workspace"),
		"agents/slow.md":   rememberer("Slow", "scope: workspace", "search: {cache_ttl: 1h}"),
	})
	c, _, _ := run(t, dir, o.flags()...)
	for name, fact := range map[string]string{
		"Ann": "Ann lives in Porto.", "Ben": "Ben is allergic to peanuts.", "Apollo": "The launch of the project Apollo is planned for the 3rd of May.",
		"Refunds": "Customers get their money back within 30 days.", "Garage": "The garage code is changed every Monday.",
		"Coffee": "The coffee machine on the second floor is broken.", "Report": "Quarterly reports are due on the tenth.",
	} {
		if _, err := c.Remember(t.Context(), api.NewEntity{Name: name, Scope: "workspace", Observations: []api.NewObservation{{Text: fact}}}); err != nil {
			t.Fatal(err)
		}
	}
	recalled := func(agent, text string) []api.WhyMemory {
		t.Helper()
		r := say(t, c, agent, "", text)
		why, err := c.Why(t.Context(), r.MessageID)
		if err != nil {
			t.Fatal(err)
		}
		return why.Memories
	}
	for question, want := range map[string]string{
		"Where does Ann live?": "Porto", "What is Ben allergic to?": "peanuts", "When is the launch of Apollo?": "3rd of May",
		"What is the refund policy: when do customers get their money back?": "30 days", "Is the coffee machine broken?": "second floor",
	} {
		all := recalled("strict", question)
		if len(all) == 0 || !strings.Contains(all[0].Text, want) {
			t.Errorf("at 0.8, %q recalls %+v, want %s", question, all, want)
		}
		for _, m := range all {
			t.Logf("%q: %.2f %s", question, m.Score, strings.ReplaceAll(m.Text, "\n", " "))
		}
	}
	for _, question := range []string{"How tall is the Eiffel tower?", "Please write a poem about autumn leaves."} {
		for _, m := range recalled("strict", question) {
			if m.Type != "episode" { // the question itself was said before
				t.Errorf("at 0.8, %q recalls %.2f %s", question, m.Score, m.Text)
			}
		}
	}
	for question, want := range map[string]string{ // said in other words
		"In which city is Ann's home?": "Porto", "Which food must Ben not eat?": "peanuts", "When does Apollo take off?": "3rd of May",
		"How long do buyers have to return something?": "30 days", "How often do we get a new number for the garage?": "Monday",
	} {
		all := recalled("loose", question)
		i := slices.IndexFunc(all, func(m api.WhyMemory) bool { return m.Type != "episode" }) // the like was asked before
		if i < 0 || !strings.Contains(all[i].Text, want) {
			t.Errorf("%q recalls %+v, want %s", question, all, want)
			continue
		}
		t.Logf("%q: %.2f %s", question, all[i].Score, all[i].Text)
	}
	hits := func() int64 {
		t.Helper()
		st, err := c.MemoryStats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Results.Hits
	}
	was := hits()
	for range 2 {
		if _, err := c.Debug(t.Context(), "slow", "Where does Ann live?"); err != nil { // remembers nothing
			t.Fatal(err)
		}
	}
	if got := hits() - was; got != 1 {
		t.Errorf("asked twice, %d answers are reused, want 1", got)
	}
	if _, err := c.Remember(t.Context(), api.NewEntity{Name: "Ann", Scope: "workspace", Observations: []api.NewObservation{{Text: "Ann lives in a lighthouse near Porto."}}}); err != nil {
		t.Fatal(err)
	}
	o.taken()
	say(t, c, "slow", "", "Where does Ann live?")
	if asked := o.taken(); len(asked) != 1 || !strings.Contains(asked[0], "lighthouse") {
		t.Errorf("what was remembered since is not in the prompt: %s", asked)
	}
	if got := recalled("two", "What do we know about Ann, Ben, Apollo and the garage?"); len(got) != 2 {
		t.Errorf("of at most two, %d are recalled", len(got))
	}
}

// TestEmbeddingModelSetting starts servers with models that there are and are not.
func TestEmbeddingModelSetting(t *testing.T) {
	starts := func(dir string, flags ...string) error {
		loaded, err := load(dir, flags...)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return node.Run(ctx, loaded, node.Options{Dir: dir, Ready: func(node.Info) { cancel() }})
	}
	empty := t.TempDir()
	for name, model := range map[string]string{
		"a typo":              "all-MiniLM-L6-v3",
		"a missing directory": filepath.Join(empty, "none"),
		"an empty directory":  empty,
		"a name of nothing":   "open ai",
		"a damaged directory": damaged(t),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := starts(dir, "memory.embedding_model", model)
			var e *caxton.Error
			if !errors.As(err, &e) || e.Hint == "" || e.Kind == caxton.Internal {
				t.Fatalf("%q: %v, want why it cannot be used and what to do", model, err)
			}
			t.Logf("%s: %s (%s)", e.Code, e.Message, e.Hint)
			if err := starts(dir); err != nil {
				t.Errorf("with the model of the program: %v", err)
			}
		})
	}
	t.Run("a directory, and back", func(t *testing.T) {
		dir, model := t.TempDir(), filepath.Join(t.TempDir(), "mine")
		embeddingtest.WriteModel(t, model)
		c, _, stop := run(t, dir, "memory.embedding_model", model)
		if _, err := c.Remember(t.Context(), api.NewEntity{Name: "Ann", Observations: []api.NewObservation{{Text: "Ann lives in Porto."}}}); err != nil {
			t.Fatal(err)
		}
		m, err := c.MemoryModel(t.Context())
		if err != nil || !strings.HasPrefix(m.Model, "mine@") || m.Fallback != "" {
			t.Errorf("the model is %+v, %v", m, err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		c, _, _ = run(t, dir)
		for deadline := time.Now().Add(20 * time.Second); ; <-time.After(20 * time.Millisecond) { // what the other model embedded is embedded anew
			st, err := c.MemoryStatus(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found, err := c.SearchMemory(t.Context(), api.MemorySearch{Query: "the town that somebody calls home", Mode: "meaning"})
			if err == nil && len(found.Items) == 1 && strings.HasPrefix(found.Model, "all-MiniLM-L6-v2@") && st.Status == "healthy" && st.Unembedded == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the status is %+v, a search finds %+v, %v", st, found, err)
			}
		}
	})
	for name, flags := range map[string][]string{
		"a hub when offline":    {"memory.embedding_model", "someone/some-model", "memory.offline", "true"},
		"a hub out of reach":    {"memory.embedding_model", "someone/some-model", "memory.hub_url", "http://127.0.0.1:1"},
		"a server out of reach": {"memory.embedding_model", "openai:small", "memory.embedding_config.base_url", "http://127.0.0.1:1/v1", "memory.embedding_config.max_retries", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, _ := run(t, t.TempDir(), flags...)
			if _, err := c.Remember(t.Context(), api.NewEntity{Name: "Ann", Observations: []api.NewObservation{{Text: "Ann lives in Porto."}}}); err != nil {
				t.Fatal(err)
			}
			st, err := c.MemoryStatus(t.Context())
			if err != nil || st.Status != "degraded" || !strings.Contains(st.Reason, flags[1]) {
				t.Errorf("the status is %+v, %v", st, err)
			}
			m, err := c.SearchMemory(t.Context(), api.MemorySearch{Query: "the town that somebody calls home", Mode: "meaning"})
			if err != nil || len(m.Items) != 1 {
				t.Errorf("a search with the model of the program finds %+v, %v", m, err)
			}
		})
	}
}

// TestModelDownload looks at a model while it comes from a hub that stops in the midst of it.
func TestModelDownload(t *testing.T) {
	published := t.TempDir()
	embeddingtest.WriteModel(t, published)
	weights, err := os.ReadFile(filepath.Join(published, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	half := len(weights) / 2
	on := make(chan struct{}) // closed when the hub is to go on
	resume := sync.OnceFunc(func() { close(on) })
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/someone/small/resolve/"), "/")
		b, err := os.ReadFile(filepath.Join(published, filepath.FromSlash(name)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		if name == "model.safetensors" && r.Method == http.MethodGet {
			_, _ = w.Write(b[:half])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-on:
			case <-r.Context().Done():
				return
			}
			b = b[half:]
		}
		_, _ = w.Write(b)
	}))
	defer hub.Close()
	defer resume()
	c, _, stop := run(t, t.TempDir(), "memory.embedding_model", "someone/small", "memory.hub_url", hub.URL)
	defer func() { _ = stop() }()
	status := func(want func(st *api.MemoryStatus) bool) api.MemoryStatus {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; <-time.After(20 * time.Millisecond) {
			st, err := c.MemoryStatus(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want(&st) {
				return st
			}
			if time.Now().After(deadline) {
				t.Fatalf("the status is %+v, the download %+v", st, st.Download)
			}
		}
	}
	st := status(func(st *api.MemoryStatus) bool {
		return st.Download != nil && st.Download.File == "model.safetensors"
	})
	if d := *st.Download; d.Model != "someone/small" || d.DoneBytes <= 0 || d.DoneBytes > int64(half) || d.TotalBytes != int64(len(weights)) || d.Percent != int(d.DoneBytes*100/d.TotalBytes) {
		t.Errorf("the download of %d bytes, of which %d came, is %+v", len(weights), half, d)
	}
	if m, err := c.MemoryModel(t.Context()); err != nil || m.Download == nil || m.Download.File != "model.safetensors" {
		t.Errorf("the model is %+v, %v", m, err)
	}
	resume()
	st = status(func(st *api.MemoryStatus) bool { return st.Download == nil })
	if !strings.Contains(st.Reason, "is downloaded and is used from the next start on") {
		t.Errorf("afterwards the status is %+v", st)
	}
}

// damaged returns a directory with files that are no model.
func damaged(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.json", "vocab.txt", "model.safetensors"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestMemoryClocks asks over the API what was true at one time as far as was known at another.
func TestMemoryClocks(t *testing.T) {
	c, _, _ := run(t, t.TempDir())
	day := func(d int) time.Time { return time.Date(2025, 6, d, 0, 0, 0, 0, time.UTC) }
	remember := func(text string, from, to time.Time) time.Time {
		t.Helper()
		r, err := c.Remember(t.Context(), api.NewEntity{Name: "Ann", Type: "person", Observations: []api.NewObservation{{Text: text, Key: "home", ValidFrom: from, ValidTo: to}}})
		if err != nil {
			t.Fatal(err)
		}
		e, err := c.Entity(t.Context(), r.ID, api.MemoryView{})
		if err != nil {
			t.Fatal(err)
		}
		return e.UpdatedAt
	}
	before := time.Now()
	first := remember("Ann lives in Porto.", day(1), time.Time{})
	second := remember("Ann lives in Lisbon.", day(10), time.Time{}) // told later, true since the 10th
	third := remember("Ann lives in Faro.", day(5), day(10))         // told last, and about a time before
	for _, q := range []struct {
		what         string
		valid, known time.Time
		want         string
	}{
		{"now", time.Time{}, time.Time{}, "Lisbon"},
		{"on the 3rd", day(3), time.Time{}, "Porto"},
		{"on the 7th", day(7), time.Time{}, "Faro"},
		{"on the 7th as was known after the first", day(7), first, "Porto"},
		{"on the 7th as was known after the second", day(7), second, "Porto"},
		{"on the 7th as was known after the third", day(7), third, "Faro"},
		{"on the 12th", day(12), time.Time{}, "Lisbon"},
		{"on the 12th as was known after the first", day(12), first, "Porto"},
		{"in the year before", day(1).AddDate(-1, 0, 0), time.Time{}, ""},
	} {
		e, err := c.Entity(t.Context(), "Ann", api.MemoryView{ValidAt: q.valid, KnownAt: q.known})
		var texts []string
		for _, o := range e.Observations {
			texts = append(texts, strings.TrimSuffix(strings.TrimPrefix(o.Text, "Ann lives in "), "."))
		}
		if got := strings.Join(texts, " "); err != nil || got != q.want {
			t.Errorf("%s she lives in %q, %v, want %q", q.what, got, err, q.want)
		}
		m, err := c.SearchMemory(t.Context(), api.MemorySearch{Query: "where does Ann live?", ValidAt: q.valid, KnownAt: q.known})
		found := ""
		if len(m.Items) > 0 {
			found = strings.TrimSuffix(strings.TrimPrefix(m.Items[0].Content, "Ann lives in "), ".")
		}
		if want := q.want; err != nil || found != want && want != "" || want == "" && strings.HasPrefix(found, "Ann lives") {
			t.Errorf("%s a search finds %q, %v, want %q", q.what, found, err, want)
		}
	}
	if _, err := c.Entity(t.Context(), "Ann", api.MemoryView{KnownAt: before}); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("before anything was known: %v", err)
	}
}
