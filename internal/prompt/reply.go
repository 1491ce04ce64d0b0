package prompt

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/caxton/caxton"
)

// reply makes the answer to m of what the model said. An answer that is a JSON object with
// a performative and content, and nothing else, says itself what it is; any other text is
// the content, and the performative follows from what was asked.
func reply(m *caxton.Message, text string) caxton.Message {
	if p, content, ok := structured(text); ok {
		return m.Reply(p, content)
	}
	return m.Reply(answerTo(m.Performative), caxton.TextContent(text))
}

func structured(text string) (caxton.Performative, json.RawMessage, bool) {
	if len(text) == 0 || text[0] != '{' {
		return "", nil, false
	}
	var o struct {
		Performative string          `json:"performative"`
		Content      json.RawMessage `json:"content"`
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	if dec.Decode(&o) != nil || dec.More() || o.Performative == "" || len(o.Content) == 0 || string(o.Content) == "null" {
		return "", nil, false
	}
	p, err := caxton.ParsePerformative(o.Performative)
	return p, o.Content, err == nil
}

// answerTo returns the performative of a plain answer: to a call for proposals a proposal,
// to a subscription the agreement, to all else information.
func answerTo(p caxton.Performative) caxton.Performative {
	switch p {
	case caxton.CFP:
		return caxton.Propose
	case caxton.Subscribe:
		return caxton.Agree
	case caxton.Request, caxton.Query, caxton.QueryIf, caxton.QueryRef, caxton.Propose, caxton.AcceptProposal, caxton.RejectProposal,
		caxton.Inform, caxton.Agree, caxton.Refuse, caxton.Failure, caxton.NotUnderstood, caxton.Cancel, caxton.Confirm, caxton.Disconfirm:
	}
	return caxton.Inform
}

// guidance tells a model what sort of answer a message of this performative wants.
func guidance(p caxton.Performative) string {
	switch p {
	case caxton.CFP:
		return `This is a call for proposals. Answer with your proposal, or with {"performative": "refuse", "content": "why not"}.`
	case caxton.AcceptProposal:
		return `Your proposal was accepted. Do what you proposed and answer with the result, or with {"performative": "failure", "content": "what went wrong"}.`
	case caxton.Propose:
		return `This is a proposal. Answer with {"performative": "accept-proposal", "content": "…"} or {"performative": "reject-proposal", "content": "…"}.`
	case caxton.Subscribe:
		return `This is a subscription. Answer with {"performative": "agree", "content": "…"} or {"performative": "refuse", "content": "why not"}.`
	case caxton.Request, caxton.Query, caxton.QueryIf, caxton.QueryRef, caxton.RejectProposal, caxton.Inform, caxton.Agree, caxton.Refuse,
		caxton.Failure, caxton.NotUnderstood, caxton.Cancel, caxton.Confirm, caxton.Disconfirm:
	}
	return ""
}

// refusalOf returns the content of the refusal that an error stands for: of a budget that is
// used up, or of a message that nobody approved.
func refusalOf(err error) (json.RawMessage, bool) {
	e, ok := errors.AsType[*caxton.Error](err)
	if !ok || e.Code != "budget_exceeded" && e.Code != "budget_unpriced" && e.Code != "not_approved" {
		return nil, false
	}
	body := map[string]any{"type": e.Code, "details": e.Message}
	if e.Hint != "" {
		body["recovery_suggestions"] = []string{e.Hint}
	}
	if o, ok := errors.AsType[*caxton.Overspent](err); ok {
		body["budget"] = o
	}
	content, err := json.Marshal(map[string]any{"error": body})
	return content, err == nil
}
