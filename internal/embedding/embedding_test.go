package embedding_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/embedding/embeddingtest"
	"github.com/caxton/caxton/internal/embedding/hub"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, cfg embedding.Config) *embedding.Provider {
	tb.Helper()
	p, err := embedding.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

func TestBuiltIn(t *testing.T) {
	t.Parallel()
	p := open(t, embedding.Config{})
	embeddingtest.TestEmbedder(t, p)
	if s := p.Stats(); s.Source != "built-in" || s.Dimensions != 384 || s.MaxTokens != 256 || s.Bytes < 20<<20 || s.Kernel == "" || !s.Verified || s.Load <= 0 {
		t.Errorf("Stats() = %+v", s)
	}
	for _, name := range []string{"all-minilm-l6-v2", "ALL-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", " all-MiniLM-L6-v2 "} {
		if got := open(t, embedding.Config{Model: name}).Model(); got != p.Model() || !strings.HasPrefix(got, "all-MiniLM-L6-v2@int8") {
			t.Errorf("Open(%q).Model() = %q, want %q", name, got, p.Model())
		}
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mine")
	embeddingtest.WriteModel(t, dir)
	p := open(t, embedding.Config{Model: dir})
	embeddingtest.TestEmbedder(t, p)
	if s := p.Stats(); s.Source != "directory" || s.Dimensions != 64 || s.MaxTokens != 32 || !strings.HasPrefix(s.Model, "mine@float32-") {
		t.Errorf("Stats() = %+v", s)
	}
	t.Run("exchanged weights are another model", func(t *testing.T) {
		t.Parallel()
		other := filepath.Join(t.TempDir(), "mine")
		embeddingtest.WriteModel(t, other)
		if got := open(t, embedding.Config{Model: other}).Model(); got != p.Model() {
			t.Errorf("the same model elsewhere is %s, not %s", got, p.Model())
		}
		path := filepath.Join(other, "model.safetensors")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := open(t, embedding.Config{Model: other}).Model(); got == p.Model() {
			t.Errorf("other weights are %s as well", got)
		}
	})
	tests := []struct {
		name   string
		damage func(dir string) error
		want   caxton.Kind
	}{
		{"no directory", os.RemoveAll, caxton.NotFound},
		{"no weights", func(dir string) error { return os.Remove(filepath.Join(dir, "model.safetensors")) }, caxton.NotFound},
		{"no vocabulary", func(dir string) error { return os.Remove(filepath.Join(dir, "vocab.txt")) }, caxton.NotFound},
		{"a model that keeps case", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`{"do_lower_case": false}`), 0o600)
		}, caxton.Invalid},
		{"a tokenizer's settings that are no JSON", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`<html>`), 0o600)
		}, caxton.Malformed},
		{"a vocabulary without [SEP]", func(dir string) error {
			path := filepath.Join(dir, "vocab.txt")
			b, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, bytes.Replace(b, []byte("[SEP]"), []byte("[sep]"), 1), 0o600))
		}, caxton.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			embeddingtest.WriteModel(t, dir)
			if err := tt.damage(dir); err != nil {
				t.Fatal(err)
			}
			_, err := embedding.Open(t.Context(), embedding.Config{Model: dir})
			if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Kind != tt.want {
				t.Errorf("Open: %v, want %s", err, tt.want)
			}
		})
	}
}

// hubOf serves the model in dir as a hub does, and counts what it is asked for.
type hubOf struct {
	url string

	mu    sync.Mutex
	asked []string
}

func (h *hubOf) requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asked)
}

func newHub(t *testing.T, dir string, digests bool) *hubOf {
	t.Helper()
	h := &hubOf{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.asked = append(h.asked, r.URL.Path)
		h.mu.Unlock()
		_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/someone/small/resolve/"), "/")
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if digests && strings.HasSuffix(name, ".safetensors") {
			sum := sha256.Sum256(b)
			w.Header().Set("X-Linked-Etag", `"`+hex.EncodeToString(sum[:])+`"`)
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	h.url = s.URL
	return h
}

func TestDownload(t *testing.T) {
	t.Parallel()
	published := t.TempDir()
	embeddingtest.WriteModel(t, published)
	h := newHub(t, published, true)
	var logged bytes.Buffer
	done := map[string]int64{}
	cfg := embedding.Config{
		Model: "someone/small", Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		Hub: hub.Config{BaseURL: h.url, Progress: func(p hub.Progress) { done[p.File] = p.Done }},
	}
	p := open(t, cfg)
	embeddingtest.TestEmbedder(t, p)
	if s := p.Stats(); s.Source != "hub" || !s.Verified || !strings.HasPrefix(s.Model, "small@float32-") {
		t.Errorf("Stats() = %+v", s)
	}
	if done["model.safetensors"] == 0 || done["vocab.txt"] == 0 {
		t.Errorf("progress %v", done)
	}
	if strings.Contains(logged.String(), "not verified") {
		t.Errorf("logged: %s", logged.String())
	}

	asked := h.requests()
	again := cfg
	again.Offline = true
	if got := open(t, again).Model(); got != p.Model() || h.requests() != asked {
		t.Errorf("opened again: %s, after %d requests instead of %d", got, h.requests(), asked)
	}

	t.Run("without digests", func(t *testing.T) {
		t.Parallel()
		var logged bytes.Buffer
		p := open(t, embedding.Config{
			Model: "someone/small@v1", Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&logged, nil)),
			Hub: hub.Config{BaseURL: newHub(t, published, false).url},
		})
		if p.Stats().Verified || !strings.Contains(logged.String(), "not verified") {
			t.Errorf("Stats() = %+v, logged: %s", p.Stats(), logged.String())
		}
	})
	t.Run("offline", func(t *testing.T) {
		t.Parallel()
		_, err := embedding.Open(t.Context(), embedding.Config{Model: "someone/small", Dir: t.TempDir(), Offline: true})
		if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Kind != caxton.Unavailable || e.Code != "model_hub_offline" {
			t.Errorf("Open: %v", err)
		}
	})
	t.Run("the published MiniLM is held to its pins", func(t *testing.T) {
		t.Parallel()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/resolve/1110a243fdf4706b3f48f1d95db1a4f5529b4d41/") {
				t.Errorf("asked for %s", r.URL.Path)
			}
			_, _ = w.Write([]byte(`{}`))
		}))
		defer s.Close()
		_, err := embedding.Open(t.Context(), embedding.Config{
			Model: "sentence-transformers/all-MiniLM-L6-v2@1110a24", Dir: t.TempDir(), Hub: hub.Config{BaseURL: s.URL},
		})
		if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != "model_size_wrong" {
			t.Errorf("Open: %v, want model_size_wrong", err)
		}
	})
}

func TestOpenRefusesNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"all-mpnet-base-v2", "a/b/c", "openai:", "a b/c", "someone/small@", "someone/small@../x", "../../x\x00"} {
		_, err := embedding.Open(t.Context(), embedding.Config{Model: name, Offline: true, Dir: t.TempDir()})
		if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Kind != caxton.Invalid && e.Kind != caxton.NotFound || e.Hint == "" {
			t.Errorf("Open(%q): %v", name, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	cfg := embedding.Config{Metrics: reg}
	p, err := embedding.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := p.Embed(t.Context(), []string{"a text"}); err != nil {
			t.Fatal(err)
		}
	}
	got := gather(t, reg)
	for name, want := range map[string]float64{
		"caxton_memory_cache_hit_rate": 0.75, "caxton_embedding_texts_total": 1, "caxton_embedding_cache_entries": 1,
		"caxton_embedding_failures_total": 0, "caxton_embedding_refused_total": 0, "caxton_embedding_queued_texts": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %v (%t), want %v", name, v, ok, want)
		}
	}
	s := p.Stats()
	if s.Texts != 4 || s.Hits != 3 || s.Misses != 1 || s.HitRate != 0.75 || s.Batches != 1 || s.Average <= 0 || s.P99 <= 0 || s.CacheEntries != 1 || s.CacheBytes < 1536 {
		t.Errorf("Stats() = %+v", s)
	}
	if n := p.ClearCache(); n != 1 || p.Stats().HitRate != 0 || p.Stats().CacheEntries != 0 {
		t.Errorf("ClearCache() = %d, then %+v", n, p.Stats())
	}
	p.Close()
	q := open(t, cfg) // the registry is free for the next model
	if _, err := embedding.Open(t.Context(), cfg); err == nil {
		t.Errorf("two models share one registry, %s and another", q.Model())
	}
}

func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}

func TestWords(t *testing.T) {
	t.Parallel()
	embeddingtest.TestEmbedder(t, embeddingtest.Words{})
	v, err := embeddingtest.Words{}.Embed(context.Background(), []string{"Caxton stores memory", "caxton stored memories", "a different subject"})
	if err != nil {
		t.Fatal(err)
	}
	if near, far := embeddingtest.Cosine(v[0], v[1]), embeddingtest.Cosine(v[0], v[2]); near < 0.3 || far > 0.15 {
		t.Errorf("cosine to what is alike %v, to what is not %v", near, far)
	}
}

func BenchmarkEmbed(b *testing.B) {
	p := open(b, embedding.Config{CacheSize: -1})
	cached := open(b, embedding.Config{})
	text := "How do I reset the password of my account, please?"
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, err := p.Embed(b.Context(), []string{text}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cached.Embed(b.Context(), []string{text}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("batch 32", func(b *testing.B) {
		texts := make([]string, 32)
		for i := range texts {
			texts[i] = strings.Repeat("x", i) + text
		}
		for b.Loop() {
			if _, err := p.Embed(b.Context(), texts); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(32*b.N)/b.Elapsed().Seconds(), "texts/s")
	})
}
