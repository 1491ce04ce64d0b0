package embedding_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding"
	"github.com/caxton/caxton/internal/embedding/embeddingtest"
)

func TestRemote(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/embeddings" || r.Header.Get("Authorization") != "Bearer sk-secret" {
			t.Errorf("asked for %s with %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		embeddingtest.Serve(embeddingtest.Words{}).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	p := open(t, embedding.Config{Model: "openai:words", Remote: embedding.Remote{BaseURL: s.URL + "/v1", APIKey: "sk-secret", HTTPClient: client}})
	embeddingtest.TestEmbedder(t, p)
	if st := p.Stats(); st.Source != "remote" || st.Model != "openai:words@384" || st.Dimensions != 384 {
		t.Errorf("Stats() = %+v", st)
	}
}

func TestRemoteDimensions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, model string
		dimensions  int
		asks        int // at the start
		wants       int // in the request; 0 for none
		identity    string
	}{
		{"a model that is known", "text-embedding-3-small", 0, 0, 0, "openai:text-embedding-3-small@1536"},
		{"fewer", "text-embedding-3-small", 100, 0, 100, "openai:text-embedding-3-small@100"},
		{"its own number", "text-embedding-3-large", 3072, 0, 0, "openai:text-embedding-3-large@3072"},
		{"a model that must be asked", "words", 0, 1, 0, "openai:words@384"},
		{"a model that cannot be told", "words", 384, 0, 0, "openai:words@384"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			asked, wanted := 0, 0
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				var req struct {
					Dimensions int `json:"dimensions"`
				}
				body, _ := io.ReadAll(r.Body)
				_ = json.Unmarshal(body, &req)
				wanted = req.Dimensions
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				embeddingtest.Serve(embeddingtest.Words{}).ServeHTTP(w, r)
			})
			p := open(t, embedding.Config{Model: "openai:" + tt.model, Remote: embedding.Remote{
				BaseURL: "http://words.test/v1", Dimensions: tt.dimensions, HTTPClient: embeddingtest.Client(h),
			}})
			if asked != tt.asks || p.Model() != tt.identity {
				t.Errorf("asked %d times, model %s", asked, p.Model())
			}
			_, err := p.Embed(t.Context(), []string{"text"})
			if wanted != tt.wants {
				t.Errorf("the request wants %d dimensions", wanted)
			}
			// The server gives 384, or as many as it is asked for.
			if fits := p.Dimensions() == 384 || tt.wants > 0; (err == nil) != fits {
				t.Errorf("Embed: %v", err)
			} else if e, ok := errors.AsType[*caxton.Error](err); !fits && (!ok || e.Code != "embedding_answer_malformed") {
				t.Errorf("Embed: %v, want embedding_answer_malformed", err)
			}
		})
	}
}

func TestRemoteFailures(t *testing.T) {
	t.Parallel()
	vectors := func(data string) string {
		return `{"object":"list","model":"m","data":[` + data + `],"usage":{"prompt_tokens":1,"total_tokens":1}}`
	}
	tests := []struct {
		name   string
		status int
		body   string
		kind   caxton.Kind
		asks   int32
	}{
		{"a key that is refused", 401, `{"error":{"message":"no: sk-secret"}}`, caxton.Unauthenticated, 1},
		{"a model that is not there", 404, `{"error":{"message":"no"}}`, caxton.NotFound, 1},
		{"too many requests", 429, `{"error":{"message":"slowly"}}`, caxton.Exhausted, 3},
		{"out of order", 503, ``, caxton.Unavailable, 3},
		{"refused", 400, `{"error":{"message":"no"}}`, caxton.Invalid, 1},
		{"no JSON", 200, `<html>`, caxton.Malformed, 1},
		{"no vectors", 200, vectors(``), caxton.Malformed, 1},
		{"too many vectors", 200, vectors(`{"index":0,"embedding":[1,0]},{"index":1,"embedding":[1,0]}`), caxton.Malformed, 1},
		{"one twice", 200, vectors(`{"index":0,"embedding":[1,0]},{"index":0,"embedding":[1,0]}`), caxton.Malformed, 1},
		{"a place below zero", 200, vectors(`{"index":-1,"embedding":[1,0]}`), caxton.Malformed, 1},
		{"other dimensions", 200, vectors(`{"index":0,"embedding":[1,0,0]}`), caxton.Malformed, 1},
		{"no direction", 200, vectors(`{"index":0,"embedding":[0,0]}`), caxton.Malformed, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asks atomic.Int32
			p := open(t, embedding.Config{Model: "openai:m", Remote: embedding.Remote{
				BaseURL: "http://words.test/v1", APIKey: "sk-secret", Dimensions: 2,
				HTTPClient: embeddingtest.Client(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					asks.Add(1)
					w.Header().Set("Content-Type", "application/json")
					w.Header().Set("Retry-After-Ms", "1")
					w.WriteHeader(tt.status)
					_, _ = w.Write([]byte(tt.body))
				})),
			}})
			_, err := p.Embed(t.Context(), []string{"text"})
			e, ok := errors.AsType[*caxton.Error](err)
			if !ok || e.Kind != tt.kind || asks.Load() != tt.asks {
				t.Fatalf("Embed: %v after %d requests, want %s after %d", err, asks.Load(), tt.kind, tt.asks)
			}
			if strings.Contains(fmt.Sprint(err), "sk-secret") || strings.Contains(e.Hint, "llm.") || e.Hint == "" {
				t.Errorf("%v (%s)", err, e.Hint)
			}
		})
	}
	t.Run("tried again", func(t *testing.T) {
		t.Parallel()
		var asks atomic.Int32
		p := open(t, embedding.Config{Model: "openai:m", Remote: embedding.Remote{
			BaseURL: "http://words.test/v1", Dimensions: 384,
			HTTPClient: embeddingtest.Client(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asks.Add(1) < 3 {
					w.Header().Set("Retry-After-Ms", "1")
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				embeddingtest.Serve(embeddingtest.Words{}).ServeHTTP(w, r)
			})),
		}})
		if _, err := p.Embed(t.Context(), []string{"text"}); err != nil {
			t.Error(err)
		}
	})
	t.Run("nobody there at the start", func(t *testing.T) {
		t.Parallel()
		_, err := embedding.Open(t.Context(), embedding.Config{Model: "openai:m", Remote: embedding.Remote{BaseURL: "http://127.0.0.1:1/v1", MaxRetries: -1, Timeout: 5 * time.Second}})
		if caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("Open: %v, want it unavailable", err)
		}
	})
	t.Run("an address that is none", func(t *testing.T) {
		t.Parallel()
		_, err := embedding.Open(t.Context(), embedding.Config{Model: "openai:m", Remote: embedding.Remote{BaseURL: "localhost"}})
		if caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("Open: %v, want it invalid", err)
		}
	})
}
