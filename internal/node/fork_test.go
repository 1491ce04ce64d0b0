package node_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
)

// TestForkWithAnotherPrompt forks a conversation at its first message with another prompt,
// over a server and a model that does as its prompt says, and reads the difference.
func TestForkWithAnotherPrompt(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Messages []struct{ Role, Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Messages) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer, _, _ := strings.Cut(strings.TrimPrefix(req.Messages[0].Content, "Say: "), "\n")
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%q}}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`, answer)
	}))
	defer model.Close()
	dir := t.TempDir()
	agent := "---\nname: Speaker\ncapabilities: [speaking]\nsystem_prompt: \"Say: good morning\"\n---\n"
	if err := os.MkdirAll(filepath.Join(dir, "agents"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "agents", "speaker.md"), []byte(agent), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, _ := run(t, dir, "llm.provider", "openai", "llm.base_url", model.URL+"/v1", "llm.model", "m", "llm.api_key", "none")
	r, err := c.Send(t.Context(), api.Message{ConversationID: "before", Receiver: "speaker", Text: "Hello"}, 20*time.Second)
	if err != nil || r.Reply.Text != "good morning" {
		t.Fatalf("%+v, %v", r.Reply, err)
	}
	f, err := c.ForkConversation(t.Context(), "before", api.Fork{At: 1, Prompt: "Say: good night"})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		conv, err := c.Conversation(t.Context(), f.Conversation.ID)
		if err != nil || time.Now().After(deadline) {
			t.Fatal(conv, err)
		}
		if conv.Status == "idle" {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	d, err := c.DiffConversations(t.Context(), "before", f.Conversation.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n-", "\n+", "good morning", "good night"} {
		if !strings.Contains(d.Text, want) {
			t.Errorf("the difference has no %q:\n%s", want, d.Text)
		}
	}
	if again, err := c.Send(t.Context(), api.Message{ConversationID: "before", Receiver: "speaker", Text: "Hello"}, 20*time.Second); err != nil || again.Reply.Text != "good morning" {
		t.Errorf("after the fork %+v, %v: the agent is as it was", again.Reply, err)
	}
}
