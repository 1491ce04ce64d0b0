package embeddingtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
)

// Serve returns a handler that speaks OpenAI's embeddings with e. It answers in another order
// than it was asked, and with vectors of any length, as a server may.
func Serve(e Embedder) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Model      string   `json:"model"`
			Input      []string `json:"input"`
			Dimensions int      `json:"dimensions"`
		}
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Model == "" || slices.Contains(req.Input, "") || len(req.Input) == 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":{"message":"'$.input' is invalid","type":"invalid_request_error"}}`))
			return
		}
		vectors, err := e.Embed(r.Context(), req.Input)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		type entry struct {
			Object    string    `json:"object"`
			Index     int       `json:"index"`
			Embedding []float64 `json:"embedding"`
		}
		var data []entry
		for i, v := range slices.Backward(vectors) {
			d := entry{Object: "embedding", Index: i}
			for _, x := range v {
				d.Embedding = append(d.Embedding, 3*float64(x))
			}
			if req.Dimensions > 0 {
				d.Embedding = d.Embedding[:min(req.Dimensions, len(d.Embedding))]
			}
			data = append(data, d)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"object": "list", "model": req.Model, "data": data, "usage": map[string]int{"prompt_tokens": 1, "total_tokens": 1},
		})
	})
}

// Client returns an HTTP client whose requests go to h without a network, so that it works
// under testing/synctest.
func Client(h http.Handler) *http.Client { return &http.Client{Transport: transport{h}} }

type transport struct{ h http.Handler }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close() // it has been read
	}
	in := r.Clone(r.Context()) // the handler may change it
	in.Body = io.NopCloser(bytes.NewReader(body))
	done := make(chan *http.Response, 1) // its one answer, also when nobody waits any more
	go func() {
		w := httptest.NewRecorder()
		t.h.ServeHTTP(w, in)
		done <- w.Result()
	}()
	select {
	case res := <-done:
		res.Request = r
		return res, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
