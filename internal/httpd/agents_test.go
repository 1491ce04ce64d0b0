package httpd_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/httpd"
)

// pages reads the list of agents page by page and returns the slugs in order.
func pages(t *testing.T, s *httpd.Server) (slugs []string) {
	t.Helper()
	for cursor := ""; ; {
		w := call(s, "GET", "/api/v1/agents?limit=1&cursor="+cursor, "")
		var l api.AgentList
		if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || w.Code != 200 {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		for _, a := range l.Items {
			slugs = append(slugs, a.Slug)
		}
		if len(slugs) > l.Total {
			t.Fatalf("%d agents listed so far (%v), there are %d", len(slugs), slugs, l.Total)
		}
		if cursor = l.Next; cursor == "" {
			return slugs
		}
	}
}

func TestAgentPages(t *testing.T) {
	broken := caxton.Errorf(caxton.Invalid, "x", "x")
	tests := []struct {
		name   string
		agents []caxton.Agent
		faults []caxton.FileFault
		want   []string
	}{
		{
			"slugs that begin alike",
			[]caxton.Agent{{ID: "f1", Slug: "greeter"}, {ID: "01", Slug: "greeter-two"}, {ID: "02", Slug: "greeter2"}},
			nil,
			[]string{"greeter", "greeter-two", "greeter2"},
		},
		{"not in order", []caxton.Agent{{ID: "1", Slug: "b"}, {ID: "2", Slug: "a"}, {ID: "3", Slug: "c"}}, nil, []string{"a", "b", "c"}},
		{
			"faulty files",
			[]caxton.Agent{{ID: "f1", Slug: "greeter"}, {ID: "f2", Slug: "other"}},
			[]caxton.FileFault{{Stem: "bad", Err: broken}, {Stem: "worse", Err: broken}, {Stem: "known", AgentID: "f2", Err: broken}},
			[]string{"greeter", "other", "bad", "worse"},
		},
		{
			"two files of one name",
			[]caxton.Agent{},
			[]caxton.FileFault{{Stem: "bad", Path: "bad.md", Err: broken}, {Stem: "bad", Path: "bad.toml", Err: broken}},
			[]string{"bad", "bad"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, h, o := newServer(t, httpd.Config{})
			h.agents, o.faults = tt.agents, tt.faults
			if got := pages(t, s); !slices.Equal(got, tt.want) {
				t.Errorf("pages %v, want %v", got, tt.want)
			}
		})
	}
	t.Run("a cursor of another make", func(t *testing.T) {
		s, _, _ := newServer(t, httpd.Config{})
		for _, c := range []string{"greeter", "W10", "bnVsbA"} {
			if w := call(s, "GET", "/api/v1/agents?cursor="+c, ""); w.Code != 422 {
				t.Errorf("cursor %q: %d %s, want 422", c, w.Code, w.Body)
			}
		}
	})
}

func TestAgentText(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	var a api.Agent
	w := call(s, "GET", "/api/v1/agents/greeter", "")
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Text != "text" {
		t.Errorf("%d %s, %v; want the file's text", w.Code, w.Body, err)
	}
}

func TestAllow(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	for path, want := range map[string]string{"/api/v1/agents": "GET, HEAD, POST", "/api/v1/agents/greeter/ping": "GET, HEAD", "/health": "GET, HEAD"} {
		w := call(s, "PATCH", path, "")
		if got := w.Header().Get("Allow"); w.Code != 405 || got != want {
			t.Errorf("PATCH %s = %d, allow %q; want %q", path, w.Code, got, want)
		}
		if w := call(s, "HEAD", path, ""); w.Code != 200 {
			t.Errorf("HEAD %s = %d", path, w.Code)
		}
	}
}
