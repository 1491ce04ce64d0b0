package node_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/sqlite"
)

// TestBudgetOfSubAgents has one agent set 200 others to work, each of which wants eight tool
// calls, under a budget of 1,000 calls for the whole tree of conversations, while the server
// is killed again and again. What the tool counts, lost answers and all, never exceeds the
// budget.
func TestBudgetOfSubAgents(t *testing.T) {
	const workers, wanted, limit = 200, 8, 1000
	kills, rnd := crashes(t, 4, 60, 2)
	dir, shop := t.TempDir(), newCashier(t)
	var calls strings.Builder
	for i := range wanted {
		fmt.Fprintf(&calls, "      - name: http_client\n        arguments: {url: \"%s/\", method: POST, body: \"%d\"}\n", shop.URL, i)
	}
	files := map[string]string{
		"script.yaml": "rules:\n" +
			"  - when: {tool_result: send_message}\n    reply: done\n" +
			"  - when: {tool_result: http_client}\n    reply: worked\n" +
			"  - when: {contains: everybody}\n    tool_calls:\n      - name: send_message\n        arguments: {capability: working, everyone: true, content: work}\n" +
			"  - tool_calls:\n" + calls.String(),
		"agents/boss.md": fmt.Sprintf("---\nname: Boss\ncapabilities: [leading]\ntools: [send_message]\nbudget:\n  conversation: {tool_calls: %d}\nsystem_prompt: Lead.\n---\n", limit),
	}
	for i := range workers {
		files[fmt.Sprintf("agents/worker-%03d.md", i)] = fmt.Sprintf(
			"---\nname: Worker %03d\ncapabilities: [working]\ntools:\n  - name: http_client\n    idempotent: true\nsystem_prompt: Work.\n---\n", i)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CAXTON_TEST_QUIET", "1")
	t.Setenv("CAXTON_TEST_FLAGS", "llm.provider=scripted,llm.file="+filepath.Join(dir, "script.yaml")+
		",tools.http_client.allowed_hosts=127.0.0.1,messaging.strategy=best_match")
	v := start(t, dir)
	if _, err := v.client.Send(t.Context(), api.Message{MessageID: "go", ConversationID: "tree", Receiver: "boss", Text: "everybody"}, 0); err != nil {
		t.Fatal(err)
	}
	for range kills {
		select {
		case <-time.After(time.Duration(20+rnd.IntN(300)) * time.Millisecond):
		case <-t.Context().Done():
		}
		v.kill(t)
		v = start(t, dir)
	}
	v.settle(t)
	st, err := v.client.Message(t.Context(), "go")
	if err != nil || st.State != "settled" {
		t.Errorf("the boss: %+v, %v", st, err)
	}
	v.kill(t)
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "data", "caxton.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	us, err := db.BudgetUses(context.WithoutCancel(t.Context()), "tree/tree")
	if err != nil || len(us) != 1 || us[0].Unit != caxton.ToolCalls {
		t.Fatalf("accounts %+v, %v", us, err)
	}
	t.Logf("%d requests reached the tool; %d calls booked, %d held back, of %d", shop.total, us[0].Spent, us[0].Reserved, us[0].Cap)
	if us[0].Cap != limit || us[0].Spent > limit || us[0].Reserved != 0 || shop.total >= limit {
		t.Errorf("%d requests reached the tool, account %+v, want at most %d", shop.total, us[0], limit)
	}
	if us[0].Spent < limit/2 { // many kills make some workers give up, and so leave some of it
		t.Errorf("only %d calls were booked: the budget was hardly used", us[0].Spent)
	}
}
