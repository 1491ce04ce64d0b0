package agentfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

type approvalTable struct {
	Capabilities []capability    `key:"capabilities" max:"20" doc:"A message to the agent by one of these waits for approval before it is handled."`
	Approvers    []string        `key:"approvers" max:"100" doc:"Who may decide; without it anybody."`
	Need         int             `key:"need" min:"1" max:"100" default:"1" doc:"How many people must agree."`
	Expires      caxton.Duration `key:"expires" min:"1s" max:"8760h" default:"24h" example:"expires: 24h" doc:"After this time without a decision it counts as denied."`
}

type budgetsTable struct {
	Conversation budgetTable `key:"conversation" doc:"One conversation with all that came out of it."`
	Day          budgetTable `key:"day" doc:"One day, in UTC."`
	Total        budgetTable `key:"total" doc:"Ever."`
}

type budgetTable struct {
	Tokens    int64           `key:"tokens" min:"1" max:"1000000000000000" doc:"Tokens of models, input and output together."`
	ToolCalls int64           `key:"tool_calls" min:"1" max:"1000000000000" doc:"Calls of tools."`
	WallTime  caxton.Duration `key:"wall_time" min:"1ms" max:"87600h" doc:"Time in models and tools."`
	Money     float64         `key:"money" min:"0.000001" max:"1000000000" doc:"Cost of models, in the currency of the server's llm.prices."`
}

func (b budgetTable) budget() caxton.Budget {
	return caxton.Budget{Tokens: b.Tokens, ToolCalls: b.ToolCalls, WallTime: b.WallTime.Std(), Money: b.Money}
}

// needed is a truth value for which the word required stands too.
type needed bool

// UnmarshalNode reads either form.
func (a *needed) UnmarshalNode(n *tree.Node, key string, o tree.DecodeOptions) []caxton.Issue {
	if word, ok := n.Value.(string); ok && n.Kind == tree.String && strings.EqualFold(word, "required") {
		*a = true
		return nil
	}
	var b bool
	if issues := tree.Decode(n, &b, o); len(issues) > 0 {
		return []caxton.Issue{{
			Path: o.Path, Line: n.Line, Column: n.Column, Key: key, Message: key + " must be true, required or false", Hint: "write approval: required",
		}}
	}
	*a = needed(b)
	return nil
}

// Schema describes both forms.
func (*needed) Schema() map[string]any {
	return map[string]any{"oneOf": []any{map[string]any{"type": "boolean"}, map[string]any{"const": "required"}}}
}

func (f *file) approval() caxton.ApprovalSettings {
	a := caxton.ApprovalSettings{Policy: caxton.ApprovalPolicy{Need: f.Approval.Need, Approvers: f.Approval.Approvers, Expires: f.Approval.Expires.Std()}}
	for _, c := range f.Approval.Capabilities {
		if !c.name.IsZero() {
			a.Capabilities = append(a.Capabilities, c.name)
		}
	}
	return a
}

// checkApproval looks for approvals that could never be asked for, or never be given.
func (p *parser) checkApproval(a approvalTable, offered []capability) {
	known := map[caxton.Capability]bool{}
	names := make([]string, 0, len(offered))
	for _, c := range offered {
		known[c.name] = true
		names = append(names, c.name.String())
	}
	seen := map[caxton.Capability]int{}
	for i, c := range a.Capabilities {
		key := "approval.capabilities[" + strconv.Itoa(i) + "]"
		if c.name.IsZero() {
			continue
		}
		if first, ok := seen[c.name]; ok {
			p.issue(c.node.Line, c.node.Column, key, fmt.Sprintf("the capability %s is listed twice: here and in line %d", c.name, first), "remove one of them")
			continue
		}
		seen[c.name] = c.node.Line
		if known[c.name] {
			continue
		}
		hint := "add it to capabilities, or remove it here"
		if near := tree.Nearest(c.name.String(), names); near != "" {
			hint = "did you mean " + near + "?"
		}
		p.issue(c.node.Line, c.node.Column, key, fmt.Sprintf("approval is for the capability %s, which capabilities does not list", c.name), hint)
	}
	p.checkApprovers(a)
}

func (p *parser) checkApprovers(a approvalTable) {
	list := p.root.Lookup("approval.approvers")
	if list == nil {
		return
	}
	seen := map[string]bool{}
	for i, name := range a.Approvers {
		key := "approval.approvers[" + strconv.Itoa(i) + "]"
		n := list.Node.Items[i]
		switch {
		case strings.TrimSpace(name) == "" || strings.TrimSpace(name) != name:
			p.issue(n.Line, n.Column, key, quoted(name)+" is not the name of an approver", "write it as people give it with --by, without spaces around it")
		case seen[name]:
			p.issue(n.Line, n.Column, key, fmt.Sprintf("the approver %s is listed twice", name), "remove one of them")
		}
		seen[name] = true
	}
	if len(a.Approvers) > 0 && a.Need > len(seen) {
		line, column := p.at("approval.need")
		p.issue(line, column, "approval.need", fmt.Sprintf("approval.need is %d, but only %d may approve", a.Need, len(seen)), "name more approvers, or need fewer")
	}
}
