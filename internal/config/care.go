package config

import (
	"fmt"
	"strings"

	"github.com/caxton/caxton"
)

// Approval says which calls of tools wait for a person, and for whom. What an agent's own
// file says of approvers, need and expires goes before.
type Approval struct {
	Tools     []string        `key:"tools" doc:"Every call of these needs approval, whichever agent makes it."`
	Approvers []string        `key:"approvers" max:"100" doc:"Who may decide, where an agent says nothing else; without it anybody."`
	Need      int             `key:"need" default:"1" min:"1" max:"100" doc:"How many people must agree."`
	Expires   caxton.Duration `key:"expires" default:"24h" min:"1s" max:"8760h" doc:"After this time without a decision it counts as denied."`
}

// Policy returns who must agree.
func (a *Approval) Policy() caxton.ApprovalPolicy {
	return caxton.ApprovalPolicy{Need: a.Need, Approvers: a.Approvers, Expires: a.Expires.Std()}
}

// Budgets bound what the agents of the server spend together.
type Budgets struct {
	Conversation Budget `key:"conversation" doc:"One conversation with all that came out of it."`
	Day          Budget `key:"day" doc:"One day, in UTC."`
	Total        Budget `key:"total" doc:"Ever."`
}

// Caps returns the budgets as the core counts them.
func (b *Budgets) Caps() caxton.Budgets {
	return caxton.Budgets{Conversation: b.Conversation.caps(), Day: b.Day.caps(), Total: b.Total.caps()}
}

// A Budget bounds what may be spent. What is not given is not bounded.
type Budget struct {
	Tokens    int64           `key:"tokens" min:"1" max:"1000000000000000" doc:"Tokens of models, input and output together."`
	ToolCalls int64           `key:"tool_calls" min:"1" max:"1000000000000" doc:"Calls of tools."`
	WallTime  caxton.Duration `key:"wall_time" min:"1ms" max:"87600h" doc:"Time in models and tools."`
	Money     float64         `key:"money" min:"0.000001" max:"1000000000" doc:"Cost of models, in the currency of llm.prices."`
}

func (b *Budget) caps() caxton.Budget {
	return caxton.Budget{Tokens: b.Tokens, ToolCalls: b.ToolCalls, WallTime: b.WallTime.Std(), Money: b.Money}
}

func (b *Budget) money() bool { return b.Money > 0 }

// A Price is what a model costs. The currency is the operator's: budgets of money are in it.
type Price struct {
	Input  float64 `key:"input" required:"true" min:"0" max:"1000000" doc:"Of one million tokens that a model reads."`
	Output float64 `key:"output" required:"true" min:"0" max:"1000000" doc:"Of one million tokens that it writes."`
}

// PriceTable returns the prices as the core counts them.
func (l *LLM) PriceTable() map[string]caxton.Price {
	table := make(map[string]caxton.Price, len(l.Prices))
	for model, p := range l.Prices {
		table[model] = caxton.Price{Input: p.Input, Output: p.Output}
	}
	return table
}

// care checks approvals and budgets.
func (l *loader) care(c *Config) {
	a := &c.Tools.Approval
	seen := map[string]bool{}
	for _, name := range a.Approvers {
		if name == "" || strings.TrimSpace(name) != name {
			l.issue("tools.approval.approvers", fmt.Sprintf("tools.approval.approvers: %s is not the name of an approver", quoted(name)), "write it as people give it with --by, without spaces around it")
		} else if seen[name] {
			l.issue("tools.approval.approvers", "tools.approval.approvers names "+name+" twice", "remove one of them")
		}
		seen[name] = true
	}
	if len(seen) > 0 && a.Need > len(seen) {
		key := l.said("tools.approval.need", "tools.approval.approvers")
		l.issue(key, fmt.Sprintf("tools.approval.need is %d, but only %d may approve", a.Need, len(seen)), "name more approvers, or need fewer")
	}
	if b := &c.Agents.Budget; (b.Conversation.money() || b.Day.money() || b.Total.money()) && len(c.LLM.Prices) == 0 {
		key := l.said("agents.budget.conversation.money", "agents.budget.day.money", "agents.budget.total.money")
		i := l.at(key, key+" bounds money, and no model has a price", "give what models cost in llm.prices; a call of a model without a price is refused")
		i.Warning = true
		l.issues = append(l.issues, i)
	}
}
