package caxton_test

import (
	"encoding/json"
	"testing"

	"github.com/caxton/caxton"
)

func TestWebhookWants(t *testing.T) {
	t.Parallel()
	settled := caxton.Record{Kind: caxton.RecordSettled, ConversationID: "c1", AgentID: "a1", Body: json.RawMessage(`{"outcome":"done"}`)}
	message := func(from, to caxton.AgentID) caxton.Record {
		return caxton.Record{Kind: caxton.RecordMessage, ConversationID: "c1", AgentID: to, Body: json.RawMessage(`{"message":{"sender_id":"` + string(from) + `"}}`)}
	}
	named := func(id caxton.AgentID, ref string) bool { return id == "a1" && ref == "greeter" }
	for name, tt := range map[string]struct {
		webhook caxton.Webhook
		record  caxton.Record
		want    bool
	}{
		"everything":                 {caxton.Webhook{}, settled, true},
		"disabled":                   {caxton.Webhook{Disabled: "gone"}, settled, false},
		"the kind":                   {caxton.Webhook{Events: []caxton.RecordKind{caxton.RecordSettled}}, settled, true},
		"another kind":               {caxton.Webhook{Events: []caxton.RecordKind{caxton.RecordLeased}}, settled, false},
		"another conversation":       {caxton.Webhook{Conversations: []caxton.ConversationID{"c2"}}, settled, false},
		"the agent by ID":            {caxton.Webhook{Agents: []string{"a1"}}, settled, true},
		"the agent by name":          {caxton.Webhook{Agents: []string{"greeter"}}, settled, true},
		"another agent":              {caxton.Webhook{Agents: []string{"a2"}}, settled, false},
		"a message to the agent":     {caxton.Webhook{Agents: []string{"a1"}}, message("", "a1"), true},
		"a reply to a person":        {caxton.Webhook{Agents: []string{"a1"}}, message("a1", ""), true},
		"a reply by name":            {caxton.Webhook{Agents: []string{"greeter"}}, message("a1", ""), true},
		"a message between others":   {caxton.Webhook{Agents: []string{"a1"}}, message("a3", "a2"), false},
		"a message that is no agent": {caxton.Webhook{Agents: []string{""}}, message("", ""), false},
	} {
		if got := tt.webhook.Wants(&tt.record, named); got != tt.want {
			t.Errorf("%s: Wants = %v, want %v", name, got, tt.want)
		}
	}
}
