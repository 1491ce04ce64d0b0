package sqlite_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
)

// TestDeepContent has a message nested deeper than SQLite reads JSON (1000 levels): it is in
// the way of nobody, least of all of a start after the process was killed.
func TestDeepContent(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, _ := open(t, path, sqlite.Normal)
	d := journaltest.Delivery("c1", "01900000-0000-7000-8000-000000000001", 0)
	d.Message.Content = json.RawMessage(`{"text":"deep","x":` + strings.Repeat("[", 3000) + strings.Repeat("]", 3000) + `}`)
	if _, _, err := db.Accept(ctx, d, true); err != nil {
		t.Fatal(err)
	}
	for name, db := range map[string]*sqlite.DB{"running": db, "killed": copied(t, path)} {
		if cs, _, err := db.Conversations(ctx, caxton.ConversationQuery{}); err != nil || len(cs) != 1 {
			t.Errorf("%s: Conversations = %+v, %v, want one", name, cs, err)
		}
		if _, _, err := db.Conversations(ctx, caxton.ConversationQuery{Participant: "somebody"}); err != nil {
			t.Errorf("%s: Conversations of a participant: %v", name, err)
		}
		if _, err := db.Thread(ctx, "c1", d.Message.ReceiverID); err != nil {
			t.Errorf("%s: Thread: %v", name, err)
		}
		if ms, _, err := db.Search(ctx, caxton.MatchQuery{Text: "deep"}); err != nil || len(ms) != 1 {
			t.Errorf("%s: Search = %+v, %v, want the message", name, ms, err)
		}
		if _, _, err := db.Search(ctx, caxton.MatchQuery{Text: "deep", Participant: "somebody"}); err != nil {
			t.Errorf("%s: Search for a participant: %v", name, err)
		}
	}
	intent := caxton.Record{
		ConversationID: "c1", At: d.Message.CreatedAt, Kind: caxton.RecordToolIntended, MessageID: d.Message.ID, AgentID: d.Message.ReceiverID,
		Body: json.RawMessage(`{"tool":"t","arguments":` + strings.Repeat("[", 3000) + strings.Repeat("]", 3000) + `}`),
	}
	if err := db.Append(ctx, intent); err != nil {
		t.Fatal(err)
	}
	if uses, err := db.ToolUses(ctx); err != nil || len(uses) != 1 {
		t.Errorf("ToolUses = %+v, %v, want one", uses, err)
	}
}
