package node_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestKeysSurviveRestart sends a request twice under one Idempotency-Key, with a restart of
// the server in between: it is served once, and answered twice.
func TestKeysSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	var answers []string
	for i := range 2 {
		c, info, stop := run(t, dir)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+info.APIAddr+"/api/v1/agents",
			strings.NewReader(`{"name": "Keyed", "capabilities": ["keyed"], "system_prompt": "Be there."}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "k")
		tr := &http.Transport{DisableKeepAlives: true}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if replayed := res.Header.Get("Idempotency-Replayed") == "true"; err != nil || res.StatusCode != 201 || replayed != (i == 1) {
			t.Fatalf("answer %d: %d, replayed %t, %s, %v", i+1, res.StatusCode, replayed, b, err)
		}
		answers = append(answers, string(b))
		vs, err := c.Versions(t.Context(), "keyed")
		if err != nil || len(vs.Items) != 1 {
			t.Errorf("%d versions, %v; want one", len(vs.Items), err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	if answers[0] != answers[1] {
		t.Errorf("answers %s and %s", answers[0], answers[1])
	}
}
