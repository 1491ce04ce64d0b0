package httpd_test

import (
	"encoding/json"
	"testing"

	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/httpd"
)

func TestCrossSite(t *testing.T) {
	tests := []struct {
		name         string
		method, path string
		headers      []string
		refused      bool
	}{
		{"a page of another site", "POST", "/api/v1/agents", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, true},
		{"a plain form of another site", "POST", "/api/v1/agents", []string{"Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain"}, true},
		{"a page of another port of this host", "DELETE", "/api/v1/agents/greeter", []string{"Sec-Fetch-Site", "same-site"}, true},
		{"an old browser", "POST", "/api/messages", []string{"Origin", "https://evil.example"}, true},
		{"a page without an origin", "POST", "/api/messages", []string{"Origin", "null"}, true},
		{"a page of this server", "DELETE", "/api/v1/agents/greeter", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, false},
		{"an old browser on a page of this server", "DELETE", "/api/v1/agents/greeter", []string{"Origin", "http://example.com"}, false},
		{"a program", "DELETE", "/api/v1/agents/greeter", nil, false},
		{"reading", "GET", "/api/v1/agents/greeter", []string{"Sec-Fetch-Site", "cross-site"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, o := newServer(t, httpd.Config{})
			body := ""
			if tt.method == "POST" {
				body = `{"name": "x"}`
			}
			w := call(s, tt.method, tt.path, body, tt.headers...)
			var b api.ErrorBody
			if w.Code != 204 && tt.refused {
				if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil {
					t.Fatal(err)
				}
			}
			if refused := w.Code == 403 && b.Error.Code == "cross_site"; refused != tt.refused || refused && o.deployed != 0 || !refused && w.Code >= 400 {
				t.Errorf("%d %s, deployed %d times; want refused %t", w.Code, w.Body, o.deployed, tt.refused)
			}
		})
	}
}
