package httpd_test

import (
	"net/http"
	"testing"

	"github.com/caxton/caxton/internal/httpd"
	"github.com/caxton/caxton/internal/telemetry"
)

// TestUntraced: who looks at traces or asks whether the server is well makes none, by the short
// paths too.
func TestUntraced(t *testing.T) {
	tests := []struct {
		method, path string
		traced       bool
	}{
		{http.MethodGet, "/api/v1/traces", false},
		{http.MethodGet, "/api/traces", false},
		{http.MethodGet, "/api/traces/0af7651916cd43dd8448eb211c80319c", false},
		{http.MethodGet, "/health", false},
		{http.MethodGet, "/api/health", false},
		{http.MethodGet, "/api/agents", true},
		{http.MethodPost, "/api/messages", true},
	}
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, _, _ := newServer(t, httpd.Config{Tracer: tracer})
	for _, tt := range tests {
		w := call(s, tt.method, tt.path, "")
		if id := w.Header().Get("X-Trace-Id"); (id != "") != tt.traced {
			t.Errorf("%s %s has the trace %q, want any: %v", tt.method, tt.path, id, tt.traced)
		}
	}
}
