package agentfile_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/jsonschema-go/jsonschema"
	"pgregory.net/rapid"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentfile"
)

// text draws text as it may stand in a file: nothing empty around it, LF line breaks.
func text(label string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := rapid.OneOf(
			rapid.StringN(0, 30, -1),
			rapid.StringMatching(`([a-z#:'"\[\]{}|>&*!%@,.-]+[ \n\t]{0,2}){0,8}`),
			rapid.SampledFrom([]string{"", "yes", "null", "1.0", "0x1F", "2024-01-01", "---", "- a", "# b", "a: b", "~", "<<", "=", "é", "a\u2028b", "a\u0085b", "\ufeff"}),
		).Draw(t, label)
		s = strings.Map(func(r rune) rune {
			if r == 0 || r == '\r' {
				return 'x'
			}
			return r
		}, s)
		return strings.TrimSpace(s)
	})
}

func pointer(t *rapid.T, label string, low, high float64) *float64 {
	if rapid.Bool().Draw(t, label+" is nil") {
		return nil
	}
	f := rapid.Float64Range(low, high).Draw(t, label)
	return &f
}

func duration(t *rapid.T, label string) time.Duration {
	return time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, label)/int64(time.Millisecond)) * time.Millisecond
}

func budget(t *rapid.T, label string) caxton.Budget {
	return caxton.Budget{
		Tokens:    rapid.Int64Range(0, 1e15).Draw(t, label+" tokens"),
		ToolCalls: rapid.Int64Range(0, 1e12).Draw(t, label+" calls"),
		WallTime:  duration(t, label+" time"),
		Money:     float64(rapid.Int64Range(0, 1e15).Draw(t, label+" money")) / 1e6,
	}
}

func definition() *rapid.Generator[caxton.Definition] {
	return rapid.Custom(func(t *rapid.T) caxton.Definition {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,8}([-.][a-z0-9]{1,4})?`), 1, 5, rapid.ID).Draw(t, "capabilities")
		capabilities := make([]caxton.Capability, len(names))
		for i, n := range names {
			var err error
			if capabilities[i], err = caxton.ParseCapability(n); err != nil {
				t.Fatal(err)
			}
		}
		words := rapid.SliceOfN(text("word").Filter(func(s string) bool { return s != "" }), 0, 3)
		var tools []caxton.ToolGrant
		for _, n := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z_]{1,10}`), 0, 3, rapid.ID).Draw(t, "tools") {
			tools = append(tools, caxton.ToolGrant{
				Name: n, AllowedHosts: words.Draw(t, "hosts"), AllowedPaths: words.Draw(t, "paths"),
				Approval: rapid.Bool().Draw(t, "approval"), Idempotent: rapid.Bool().Draw(t, "idempotent"),
			})
		}
		parameters := map[string]any{}
		for _, k := range words.Draw(t, "parameters") {
			parameters[k] = rapid.OneOf(
				rapid.Map(text("value"), func(s string) any { return s }),
				rapid.Map(rapid.Int64(), func(i int64) any { return i }),
				rapid.Map(rapid.Float64(), func(f float64) any { return f }),
				rapid.Map(rapid.Bool(), func(b bool) any { return b }),
				rapid.Just(any([]any{"a", int64(1), nil, map[string]any{"b": true}})),
			).Draw(t, "parameter")
		}
		module := rapid.SampledFrom([]caxton.Module{
			{},
			{File: "a.wasm"},
			{File: caxton.ModulePrefix + strings.Repeat("0a", 32)},
			{File: "sub/b.wasm", Grants: []string{"log"}, Dirs: []caxton.DirectoryUse{{Guest: "/data", Host: "/srv/data", Write: true}, {Guest: "/ro", Host: "/srv"}}},
		}).Draw(t, "module")
		kind := caxton.AgentType("")
		if module.File != "" {
			kind = caxton.WASMAgent
		}
		return caxton.Definition{
			Type: kind, Module: module,
			Name:          rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9 ._-]{0,20}[a-z0-9]`).Draw(t, "name"),
			Version:       rapid.SampledFrom([]string{"", "1.0.0", "1.0", "v2"}).Draw(t, "version"),
			Description:   text("description").Draw(t, "description"),
			Author:        text("author").Draw(t, "author"),
			Tags:          words.Draw(t, "tags"),
			Capabilities:  capabilities,
			Priority:      rapid.IntRange(0, 1000).Draw(t, "priority"),
			Critical:      rapid.Bool().Draw(t, "critical"),
			Tools:         tools,
			SystemPrompt:  text("prompt").Filter(func(s string) bool { return s != "" }).Draw(t, "prompt"),
			Documentation: text("documentation").Draw(t, "documentation"),
			Templates:     caxton.Templates{User: text("user").Draw(t, "user"), Inform: text("inform").Draw(t, "inform")},
			Parameters:    parameters,
			LLM: caxton.LLMSettings{
				Provider:         text("provider").Draw(t, "provider"),
				Fallback:         words.Draw(t, "fallback"),
				Temperature:      pointer(t, "temperature", 0, 2),
				PresencePenalty:  pointer(t, "presence", -2, 2),
				FrequencyPenalty: pointer(t, "frequency", -2, 2),
				TopP:             pointer(t, "top_p", 0, 1),
				MaxTokens:        rapid.IntRange(0, 100000).Draw(t, "max tokens"),
				Timeout:          duration(t, "llm timeout"),
			},
			Memory: caxton.MemorySettings{
				Enabled:             rapid.Bool().Draw(t, "memory"),
				Workspace:           rapid.SampledFrom([]string{"", "lab"}).Draw(t, "workspace"),
				Scope:               rapid.SampledFrom([]string{"", "agent", "workspace", "global"}).Draw(t, "scope"),
				Retention:           duration(t, "retention"),
				MaxEntities:         rapid.IntRange(0, 100000).Draw(t, "entities"),
				SimilarityThreshold: rapid.Float64Range(0, 1).Draw(t, "similarity"),
				CacheTTL:            duration(t, "cache"),
			},
			Conversation: caxton.ConversationSettings{
				MaxTurns:      rapid.IntRange(0, 100).Draw(t, "turns"),
				ContextTokens: rapid.IntRange(0, 100).Draw(t, "tokens"),
				ContextTurns:  rapid.IntRange(0, 100).Draw(t, "messages"),
			},
			Performance: caxton.PerformanceSettings{
				MaxConcurrent:  rapid.IntRange(0, 100).Draw(t, "concurrent"),
				RequestTimeout: duration(t, "request"),
			},
			Limits: caxton.ResourceLimits{
				MaxMemoryBytes:   caxton.Size(rapid.Int64Range(0, 1<<40).Draw(t, "bytes")),
				MaxFuel:          rapid.Int64Min(0).Draw(t, "fuel"),
				MaxExecutionTime: duration(t, "execution"),
				MaxCPU:           duration(t, "cpu"),
			},
			Schedule: rapid.SampledFrom([]caxton.Schedule{
				{},
				{Cron: "0 9 * * MON-FRI", Timezone: "UTC"},
				{Cron: "*/5 * * * *", Enabled: true},
				{Cron: "0 0 1 * *", Enabled: true, Message: "Tidy up.", Missed: caxton.MissedAll, Overlap: caxton.OverlapAllow, Jitter: 90 * time.Second},
			}).Draw(t, "schedule"),
			Approval: caxton.ApprovalSettings{
				Capabilities: rapid.SampledFrom([][]caxton.Capability{nil, capabilities, capabilities[:1]}).Draw(t, "approved"),
				Policy: rapid.SampledFrom([]caxton.ApprovalPolicy{
					{}, {Need: 3}, {Need: 2, Approvers: []string{"ann", "bob@example.com"}, Expires: 90 * time.Minute},
				}).Draw(t, "policy"),
			},
			Budget: caxton.Budgets{Conversation: budget(t, "conversation"), Day: budget(t, "day"), Total: budget(t, "total")},
			Extra: rapid.SampledFrom([]map[string]any{
				nil, {"monitoring": map[string]any{"log_level": "info"}}, {"memory": map[string]any{"auto_cleanup": true}, "routing_rules": []any{}},
			}).Draw(t, "extra"),
		}
	})
}

// TestMarkdownThenParse holds that printing a definition loses nothing.
func TestMarkdownThenParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		def := definition().Draw(t, "definition")
		printed := agentfile.Markdown(def)
		got, issues := agentfile.Parse("printed.md", printed, "", agentfile.Options{})
		if err := agentfile.Err("printed.md", issues); err != nil {
			t.Fatalf("Parse(Markdown(def)): %v\n%s", err, printed)
		}
		if diff := cmp.Diff(def, got, compareDefinitions(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("Parse(Markdown(def)) differs (-def +got):\n%s\n%s", diff, printed)
		}
	})
}

// TestSchema holds that the schema is valid, and accepts what Parse accepts of one file that
// uses each key.
func TestSchema(t *testing.T) {
	var s jsonschema.Schema
	if err := json.Unmarshal(agentfile.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	schema, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		want       bool
	}{
		{"least", `{"name": "A", "capabilities": ["a"], "system_prompt": "x"}`, true},
		{"other places", `{"name": "A", "capabilities": ["a"], "memory_enabled": true, "performance": {"llm_config": {"max_tokens": 5}}, "conversation_settings": {"context_window": 3}, "messaging": {"conversation_timeout": "2h"}}`, true},
		{"tool table", `{"name": "A", "capabilities": ["a"], "tools": ["x", {"name": "y", "permissions": {"allowed_hosts": ["z"]}}]}`, true},
		{"size and duration", `{"name": "A", "capabilities": ["a"], "resource_limits": {"max_memory_bytes": 5, "max_message_size": "10 KB", "max_execution_time": "1m30s"}}`, true},
		{"scope", `{"name": "A", "capabilities": ["a"], "memory": {"scope": "everyone"}}`, false},
		{"no capabilities", `{"name": "A"}`, false},
		{"snake case", `{"name": "A", "capabilities": ["data_analysis"]}`, false},
		{"unknown key", `{"name": "A", "capabilities": ["a"], "colour": 1}`, false},
		{"unknown key below", `{"name": "A", "capabilities": ["a"], "llm": {"colour": 1}}`, false},
		{"duration", `{"name": "A", "capabilities": ["a"], "llm": {"timeout": "soon"}}`, false},
		{"approval", `{"name": "A", "capabilities": ["a"], "tools": [{"name": "y", "approval": "required", "idempotent": true}, {"name": "z", "approval": true}], "approval": {"capabilities": ["a"], "approvers": ["ann"], "need": 1, "expires": "24h"}}`, true},
		{"approval word", `{"name": "A", "capabilities": ["a"], "tools": [{"name": "y", "approval": "maybe"}]}`, false},
		{"approval of nobody", `{"name": "A", "capabilities": ["a"], "approval": {"need": 0}}`, false},
		{"budget", `{"name": "A", "capabilities": ["a"], "budget": {"day": {"tokens": 5, "wall_time": "1m"}, "total": {"money": 0.5}, "conversation": {"tool_calls": 1}}}`, true},
		{"budget of a conversation", `{"name": "A", "capabilities": ["a"], "budget": {"tokens": 10000, "money": 2}}`, true},
		{"budget of nothing", `{"name": "A", "capabilities": ["a"], "budget": {"tokens": 0}}`, false},
		{"budget of a week", `{"name": "A", "capabilities": ["a"], "budget": {"week": {"tokens": 1}}}`, false},
		{"range", `{"name": "A", "capabilities": ["a"], "priority": 1001}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v any
			if err := json.Unmarshal([]byte(tt.text), &v); err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(v); (err == nil) != tt.want {
				t.Errorf("Validate(%s) = %v, want valid %t", tt.text, err, tt.want)
			}
			_, issues := agentfile.Parse("", []byte(tt.text), "json", agentfile.Options{})
			issues = slices.DeleteFunc(issues, func(i caxton.Issue) bool { return i.Key == "system_prompt" })
			if err := agentfile.Err("", issues); (err == nil) != tt.want {
				t.Errorf("Parse(%s) = %v, want valid %t", tt.text, err, tt.want)
			}
		})
	}
	if !bytes.Equal(agentfile.Schema(), agentfile.Schema()) {
		t.Error("two calls of Schema differ")
	}
}
