package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
)

// TestCare holds what approvals, budgets and prices become for the core.
func TestCare(t *testing.T) {
	const file = `
agents:
  budget:
    tokens: 1000
    wall_time: 2m
    day: {money: 0.25, tool_calls: 7}
llm:
  prices:
    gpt-5.mini: {input: 0.15, output: 0.60}
    openai/gpt-5.mini: {input: 0.1, output: 0}
tools:
  approval: {tools: [http_client], approvers: [ann, bob], need: 2}
messaging: {max_depth: 3}
`
	l := mustLoad(t, "caxton.yaml", file, config.Options{Environ: []string{"CAXTON_AGENTS_BUDGET_TOTAL_TOKENS=5000000", "CAXTON_TOOLS_APPROVAL_EXPIRES=8h"}})
	if len(l.Warnings)+len(l.Inert()) > 0 {
		t.Errorf("warnings %v, inert %v; want none", l.Warnings, l.Inert())
	}
	budgets := caxton.Budgets{
		Conversation: caxton.Budget{Tokens: 1000, WallTime: 2 * time.Minute}, Day: caxton.Budget{Money: 0.25, ToolCalls: 7}, Total: caxton.Budget{Tokens: 5_000_000},
	}
	if diff := cmp.Diff(budgets, l.Config.Agents.Budget.Caps()); diff != "" {
		t.Errorf("budgets differ (-want +got):\n%s", diff)
	}
	prices := map[string]caxton.Price{"gpt-5.mini": {Input: 0.15, Output: 0.6}, "openai/gpt-5.mini": {Input: 0.1}}
	if diff := cmp.Diff(prices, l.Config.LLM.PriceTable()); diff != "" {
		t.Errorf("prices differ (-want +got):\n%s", diff)
	}
	policy := caxton.ApprovalPolicy{Need: 2, Approvers: []string{"ann", "bob"}, Expires: 8 * time.Hour}
	if diff := cmp.Diff(policy, l.Config.Tools.Approval.Policy()); diff != "" {
		t.Errorf("policy differs (-want +got):\n%s", diff)
	}
	if got := l.Config.Messaging.MaxDepth; got != 3 {
		t.Errorf("max_depth = %d, want 3", got)
	}
	for key, want := range map[string]string{
		"agents.budget.conversation.tokens": "file caxton.yaml:4", "agents.budget.total.tokens": "env CAXTON_AGENTS_BUDGET_TOTAL_TOKENS",
		`llm.prices."gpt-5.mini".input`: "file caxton.yaml:9", "tools.approval.expires": "env CAXTON_TOOLS_APPROVAL_EXPIRES", "agents.budget.day.tokens": "default",
	} {
		if got := l.Origin(key); got != want {
			t.Errorf("Origin(%s) = %q, want %q", key, got, want)
		}
	}
	again := mustLoad(t, "caxton.yaml", string(l.YAML()), config.Options{})
	if diff := cmp.Diff(values(l), values(again)); diff != "" {
		t.Errorf("YAML means something else (-was +is):\n%s", diff)
	}
}

func TestCareDefaults(t *testing.T) {
	c := mustLoad(t, "caxton.yaml", "", config.Options{}).Config
	if p := c.Tools.Approval.Policy(); p.Need != 1 || p.Expires != caxton.DefaultApprovalExpiry || len(c.Tools.Approval.Tools) > 0 {
		t.Errorf("approval by default: %+v", c.Tools.Approval)
	}
	if !c.Agents.Budget.Caps().IsZero() || c.Messaging.MaxDepth != 8 {
		t.Errorf("budget %+v, depth %d by default", c.Agents.Budget, c.Messaging.MaxDepth)
	}
}

// TestMoneyWithoutPrices warns when a budget of money would refuse calls.
func TestMoneyWithoutPrices(t *testing.T) {
	l := mustLoad(t, "caxton.yaml", "agents:\n  budget:\n    day: {money: 5}\n", config.Options{})
	if len(l.Warnings) != 1 || !strings.HasPrefix(l.Warnings[0].String(), "caxton.yaml:3:18: warning: agents.budget.day.money bounds money") {
		t.Errorf("warnings: %v, want one on the budget", l.Warnings)
	}
}
