package httpd_test

import (
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/httpd"
)

// TestDefinitionsOutliveRequests deploys several definitions: each keeps its text when the
// next request comes.
func TestDefinitionsOutliveRequests(t *testing.T) {
	s, _, o := newServer(t, httpd.Config{})
	for _, c := range "abcdefgh" {
		w := call(s, "POST", "/api/v1/agents", `{"name": "`+strings.Repeat(string(c), 50)+`"}`)
		if w.Code != 201 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	for i, c := range "abcdefgh" {
		if !strings.Contains(string(o.texts[i]), strings.Repeat(string(c), 50)) {
			t.Errorf("definition %c became %s", c, o.texts[i])
		}
	}
}
