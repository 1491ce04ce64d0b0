package httpd_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/httpd"
)

// TestSameMessage sends a message and then another under the same key or ID: the same one is
// a duplicate, any other is refused.
func TestSameMessage(t *testing.T) {
	tests := []struct {
		name, first, path, second string
		want                      int
	}{
		{"the same", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "one", "content": "hi"}`, 202},
		{"the defaults written out", `{"receiver": "one", "content": "hi"}`, "", `{"receiver":"one","content":"hi","performative":"request","priority":5,"sender":"user"}`, 202},
		{"another name of the agent", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "f1", "content": "hi"}`, 202},
		{"the agent's own path", `{"receiver": "one", "content": "hi"}`, "/api/v1/agents/one/message?wait=0", `{"message": "hi"}`, 202},
		{"another content", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "one", "content": "ho"}`, 422},
		{"another receiver", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "two", "content": "hi"}`, 422},
		{"another receiver's own path", `{"receiver": "one", "content": "hi"}`, "/api/v1/agents/two/message?wait=0", `{"message": "hi"}`, 422},
		{"a capability instead", `{"receiver": "greeter", "content": "hi"}`, "", `{"capability": "greeting", "content": "hi"}`, 422},
		{"a receiver instead", `{"capability": "greeting", "content": "hi"}`, "", `{"receiver": "greeter", "content": "hi"}`, 422},
		{"another performative", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "one", "content": "hi", "performative": "inform"}`, 422},
		{"another conversation", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "one", "content": "hi", "conversation_id": "c9"}`, 422},
		{"another priority", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "one", "content": "hi", "priority": 9}`, 422},
		{"another deadline", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "one", "content": "hi", "reply_by": "2099-01-01T00:00:00Z"}`, 422},
		{"another protocol", `{"receiver": "one", "content": "hi"}`, "", `{"receiver": "one", "content": "hi", "in_reply_to": "m7"}`, 422},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, h, _ := newServer(t, httpd.Config{})
			h.agents = []caxton.Agent{greeter(), {ID: "f1", Slug: "one"}, {ID: "f2", Slug: "two"}}
			if w := call(s, "POST", "/api/v1/messages", tt.first, "Idempotency-Key", "k"); w.Code != 202 {
				t.Fatalf("first: %d %s", w.Code, w.Body)
			}
			path := tt.path
			if path == "" {
				path = "/api/v1/messages"
			}
			w := call(s, "POST", path, tt.second, "Idempotency-Key", "k")
			var r api.Receipt
			if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if w.Code != tt.want || r.Duplicate != (tt.want == 202) {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
		})
	}
}

// TestConversationMessages reads the messages of a conversation page by page.
func TestConversationMessages(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	for _, text := range []string{"a", "b", "c", "d", "e"} {
		if w := call(s, "POST", "/api/v1/messages", `{"receiver": "greeter", "message": "`+text+`", "conversation_id": "c1"}`); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if l, ok := h.Next(t.Context(), "a1"); ok { // records between the messages
			if err := h.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, limit := range []int{1, 2, 4, 5, 1000} {
		all, next := "", int64(0)
		for {
			w := call(s, "GET", fmt.Sprintf("/api/v1/conversations/c1/messages?limit=%d&after=%d", limit, next), "")
			var l api.ConversationMessages
			if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || w.Code != 200 || len(l.Items) > limit || len(all) > 5 {
				t.Fatalf("limit %d: %d %s, %v", limit, w.Code, w.Body, err)
			}
			for _, m := range l.Items {
				all += m.Text
			}
			if next = l.Next; next == 0 {
				break
			}
		}
		if all != "abcde" {
			t.Errorf("limit %d: messages %q", limit, all)
		}
	}
}
