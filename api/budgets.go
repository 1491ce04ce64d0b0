package api

import (
	"context"
	"time"
)

// A BudgetUse tells how much of an account is used.
type BudgetUse struct {
	Account  string    `json:"account" doc:"what is bounded, and for which period" example:"server/day/2026-11-21"`
	Agent    string    `json:"agent,omitempty" doc:"slug of the agent whose account it is"`
	Unit     string    `json:"unit" enum:"tokens,tool_calls,wall_ms,micros" doc:"micros are millionths of the currency of the price table"`
	Cap      int64     `json:"cap" doc:"as it was when something was last reserved"`
	Spent    int64     `json:"spent"`
	Reserved int64     `json:"reserved" doc:"held back for calls in progress"`
	Left     int64     `json:"left"`
	At       time.Time `json:"updated_at"`
}

// Budgets is the answer of GET /api/v1/budgets.
type Budgets struct {
	Items   []BudgetUse `json:"items"`
	Budgets []BudgetUse `json:"budgets" doc:"the same as items"`
	Next    string      `json:"next,omitempty" doc:"cursor of the next page"`
}

// Budgets lists the accounts whose names begin with the prefix, by name.
func (c *Client) Budgets(ctx context.Context, prefix string, limit int, cursor string) (Budgets, error) {
	return do[Budgets](ctx, c, get("/budgets", values("prefix", prefix, "limit", number(limit), "cursor", cursor)))
}
