package tool_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/tooltest"
)

// A source is a tool.Source whose tools a test changes.
type source struct {
	mu      sync.Mutex
	entries map[string]*tool.Entry
	servers []string // whose tools may come
}

func (s *source) Tools() []*tool.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*tool.Entry
	for _, e := range s.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *tool.Entry) int { return strings.Compare(a.Spec().Name, b.Spec().Name) })
	return all
}

func (s *source) Tool(name string) *tool.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[name]
}

func (s *source) Expects(g caxton.ToolGrant) bool {
	return slices.ContainsFunc(s.servers, func(server string) bool {
		return strings.HasPrefix(g.Canonical(), caxton.MCPToolName(server, ""))
	})
}

func (s *source) put(t *testing.T, f fake) {
	t.Helper()
	e, err := tool.NewEntry(f)
	if err != nil {
		t.Fatal(err)
	}
	s.set(f.spec.Name, e)
}

func (s *source) set(name string, e *tool.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries = map[string]*tool.Entry{}
	}
	if e == nil {
		delete(s.entries, name)
		return
	}
	s.entries[name] = e
}

func agent(grants ...string) *caxton.Definition {
	def := &caxton.Definition{Name: "Tester"}
	for _, g := range grants {
		def.Tools = append(def.Tools, caxton.ToolGrant{Name: g})
	}
	return def
}

func TestToolsThatComeAndGo(t *testing.T) {
	src := &source{servers: []string{"far"}}
	s, err := tool.NewSetWith(src, nil, named("clock"))
	if err != nil {
		t.Fatal(err)
	}
	g := s.For(agent("clock", "far.read", "mcp__far__list_*"))
	args := json.RawMessage(`{"city":"Oslo"}`)

	if got := names(g.Specs()); got != "clock" {
		t.Errorf("before they come, the tools are %q", got)
	}
	_, err = g.Call(t.Context(), "mcp__far__read", tool.Call{Args: args})
	if e := tooltest.ErrorOf(t, err); e.Code != "tool_not_allowed" || !strings.Contains(e.Message, "is not there now") {
		t.Errorf("Call before it comes: %s %q", e.Code, e.Message)
	}
	if g.IdempotentCall("mcp__far__read", nil) {
		t.Error("a granted tool that may come any moment is taken for one that does no harm")
	}
	if !g.IdempotentCall("mcp__far__write", nil) {
		t.Error("a tool that is not granted is taken for one that may run")
	}

	src.put(t, named("mcp__far__read"))
	src.put(t, named("mcp__far__write"))
	src.put(t, named("mcp__far__list_all"))
	if got := names(g.Specs()); got != "clock mcp__far__list_all mcp__far__read" {
		t.Errorf("the tools are %q", got)
	}
	if got := names(s.All()); got != "clock mcp__far__list_all mcp__far__read mcp__far__write" {
		t.Errorf("all tools are %q", got)
	}
	if res, err := g.Call(t.Context(), "mcp__far__read", tool.Call{Args: args}); err != nil || res.Text == "" {
		t.Errorf("Call = %q, %v", res.Text, err)
	}
	if _, err := g.Call(t.Context(), "mcp__far__read", tool.Call{Args: json.RawMessage(`{}`)}); tooltest.ErrorOf(t, err).Code != "arguments_invalid" {
		t.Errorf("the arguments are not checked: %v", err)
	}
	if _, err := g.Call(t.Context(), "mcp__far__write", tool.Call{Args: args}); tooltest.ErrorOf(t, err).Code != "tool_not_allowed" {
		t.Errorf("a tool that is not granted ran: %v", err)
	}

	why := caxton.Errorf(caxton.Forbidden, "tool_quarantined", "somebody has to look at it")
	src.set("mcp__far__read", tool.NewRefused(named("mcp__far__read"), why))
	if got := names(g.Specs()); got != "clock mcp__far__list_all" {
		t.Errorf("models are shown %q", got)
	}
	if _, err := g.Call(t.Context(), "mcp__far__read", tool.Call{Args: args}); tooltest.ErrorOf(t, err) != why {
		t.Errorf("Call of a refused tool: %v", err)
	}
	if _, err := s.Run(t.Context(), "mcp__far__read", tool.Call{Args: args}); tooltest.ErrorOf(t, err) != why {
		t.Errorf("Run of a refused tool: %v", err)
	}

	src.set("mcp__far__list_all", nil)
	if g.Has("mcp__far__list_all") || !g.Has("clock") {
		t.Error("Has does not say what is there now")
	}
}

func TestPermittedSources(t *testing.T) {
	src := &source{servers: []string{"far", "near"}}
	for _, name := range []string{"mcp__far__read", "mcp__far__write", "mcp__near__read"} {
		src.put(t, named(name))
	}
	tests := []struct {
		name      string
		permitted []string
		want      string
	}{
		{"all", nil, "clock mcp__far__read mcp__far__write mcp__near__read"},
		{"one server", []string{"mcp__far"}, "mcp__far__read mcp__far__write"},
		{"some of a server", []string{"clock", "far.re*"}, "clock mcp__far__read"},
		{"one that has not come", []string{"far.later"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := tool.NewSetWith(src, tt.permitted, named("clock"))
			if err != nil {
				t.Fatal(err)
			}
			if got := names(s.All()); got != tt.want {
				t.Errorf("the tools are %q, want %q", got, tt.want)
			}
			if got := names(s.For(agent("clock", "mcp__far__*", "mcp__near__*")).Specs()); got != tt.want {
				t.Errorf("an agent's tools are %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := tool.NewSetWith(src, []string{"other.read"}, named("clock")); tooltest.ErrorOf(t, err).Code != "tool_not_found" {
		t.Errorf("a server that is not configured is permitted: %v", err)
	}
}

func TestKnownOfSources(t *testing.T) {
	src := &source{servers: []string{"far"}}
	src.put(t, named("mcp__far__read"))
	src.set("mcp__far__new", tool.NewRefused(named("mcp__far__new"), caxton.Errorf(caxton.Forbidden, "tool_quarantined", "look at it first")))
	s, err := tool.NewSetWith(src, []string{"mcp__far__re*", "far.new", "far.later"}, named("clock"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		grant            string
		known, permitted bool
		obstacle         string
	}{
		{"clock", true, false, ""},
		{"far.read", true, true, ""},
		{"far.*", true, true, ""},
		{"mcp__far__read_more*", true, true, "no tool that"},
		{"mcp__far__write*", true, false, "no tool that"},
		{"far.new", true, true, "look at it first"},
		{"far.later", true, true, "not there yet"},
		{"far.other", true, false, "not there yet"},
		{"other.read", false, false, ""},
		{"nothing", false, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.grant, func(t *testing.T) {
			known, permitted := s.Known(tt.grant)
			if known != tt.known || permitted != tt.permitted {
				t.Errorf("Known = %t, %t, want %t, %t", known, permitted, tt.known, tt.permitted)
			}
			if got := s.Obstacle(tt.grant); tt.obstacle == "" && got != "" || !strings.Contains(got, tt.obstacle) {
				t.Errorf("Obstacle = %q, want %q in it", got, tt.obstacle)
			}
		})
	}
}

func TestStandIns(t *testing.T) {
	s := newSet(t, nil, named("clock"), named("mcp__far__read"))
	for grant, want := range map[string]bool{"far.read": true, "far.*": true, "mcp__far": true, "far.write": false, "near.*": false} {
		if known, _ := s.Known(grant); known != want {
			t.Errorf("Known(%s) = %t, want %t", grant, known, want)
		}
	}
	if got := names(s.For(agent("far.*")).Specs()); got != "mcp__far__read" {
		t.Errorf("the tools are %q", got)
	}
}

func TestConfigOfPatterns(t *testing.T) {
	src := &source{servers: []string{"far"}}
	read := named("mcp__far__read")
	read.call = func(_ context.Context, call tool.Call) (tool.Result, error) {
		return tool.Result{Text: fmt.Sprint(call.Config["depth"], " ", call.Grant.Name)}, nil
	}
	src.put(t, read)
	s, err := tool.NewSetWith(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"mcp__far__read", "far.read", "far.*", "mcp__far"} {
		def := agent("far.*")
		def.ToolConfig = map[string]map[string]any{key: {"depth": 3}}
		res, err := s.For(def).Call(t.Context(), "mcp__far__read", tool.Call{Args: json.RawMessage(`{"city":"Oslo"}`)})
		if err != nil || res.Text != "3 far.*" {
			t.Errorf("with tool_config.%s: %q, %v", key, res.Text, err)
		}
	}
}

func TestNewEntryRefuses(t *testing.T) {
	bad := named("mcp__far__bad")
	bad.spec.Parameters = json.RawMessage(`{"type":"string"}`)
	for _, f := range []fake{named("read"), named("mcp__far__a b"), named("mcp__" + strings.Repeat("x", 60)), bad} {
		if _, err := tool.NewEntry(f); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("NewEntry(%q): %v", f.spec.Name, err)
		}
	}
}

func TestChangesDuringCalls(t *testing.T) {
	src := &source{servers: []string{"far"}}
	s, err := tool.NewSetWith(src, nil, named("clock"))
	if err != nil {
		t.Fatal(err)
	}
	g := s.For(agent("far.*", "clock"))
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 500 {
			src.put(t, named("mcp__far__read"))
			src.set("mcp__far__read", nil)
		}
	})
	for range 4 {
		wg.Go(func() {
			for range 500 {
				_, err := g.Call(t.Context(), "mcp__far__read", tool.Call{Args: json.RawMessage(`{"city":"Oslo"}`)})
				if err != nil && caxton.KindOf(err) != caxton.Forbidden {
					t.Errorf("Call: %v", err)
				}
				g.Specs()
			}
		})
	}
	wg.Wait()
}

func TestOverlappingGrants(t *testing.T) {
	src := &source{servers: []string{"far"}}
	for _, name := range []string{"mcp__far__read", "mcp__far__write"} {
		src.put(t, named(name))
	}
	s, err := tool.NewSetWith(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := caxton.ToolGrant{Name: "far.*", AllowedHosts: []string{"all"}}
	write := caxton.ToolGrant{Name: "far.write", Approval: true, AllowedHosts: []string{"write"}}
	careful := caxton.ToolGrant{Name: "mcp__far", Approval: true}
	tests := []struct {
		name        string
		grants      []caxton.ToolGrant
		read, write bool // need approval
		host        string
	}{
		{"the pattern first", []caxton.ToolGrant{all, write}, false, true, "write"},
		{"the name first", []caxton.ToolGrant{write, all}, false, true, "write"},
		{"a careful pattern", []caxton.ToolGrant{{Name: "far.write", AllowedHosts: []string{"write"}}, careful}, true, true, "write"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var host string
			f := named("mcp__far__write")
			f.call = func(_ context.Context, call tool.Call) (tool.Result, error) {
				host = strings.Join(call.Grant.AllowedHosts, " ")
				return tool.Result{}, nil
			}
			src.put(t, f)
			g := s.For(&caxton.Definition{Tools: tt.grants})
			if r, w := g.NeedsApproval("mcp__far__read"), g.NeedsApproval("mcp__far__write"); r != tt.read || w != tt.write {
				t.Errorf("read needs approval: %t, write: %t, want %t and %t", r, w, tt.read, tt.write)
			}
			if _, err := g.Call(t.Context(), "mcp__far__write", tool.Call{Args: json.RawMessage(`{"city":"Oslo"}`)}); err != nil || host != tt.host {
				t.Errorf("Call: %v under the grant of %q, want %q", err, host, tt.host)
			}
		})
	}
}
