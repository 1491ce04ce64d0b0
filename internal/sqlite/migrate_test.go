package sqlite_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/ncruces/go-sqlite3"
)

// olderDB makes a database whose schema ends with the migration given.
func olderDB(t *testing.T, path, last, rows string) {
	t.Helper()
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, f := range files {
		sql, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Exec(string(sql)); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if strings.HasPrefix(filepath.Base(f), last) {
			break
		}
	}
	if err := c.Exec(rows); err != nil {
		t.Fatal(err)
	}
}

// A database from before records lay in the order of commits keeps every record, those from
// before there was such an order first, and goes on with them.
func TestMigrateLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	olderDB(t, path, "0007", `
		INSERT INTO records (conv, seq, at, kind, msg, agent, body, n) VALUES
			('b', 1, 20, 'message', 'm2', '', '{"message":{"message_id":"m2","conversation_id":"b","performative":"inform","content":"two"}}', 0),
			('a', 1, 10, 'message', 'm1', '', '{"message":{"message_id":"m1","conversation_id":"a","performative":"inform","content":"one"}}', 0),
			('a', 2, 30, 'message', 'm3', '', '{"message":{"message_id":"m3","conversation_id":"a","performative":"inform","content":"three"}}', 7);
		INSERT INTO messages (id, conv, seq, settled) VALUES ('m1','a',1,1), ('m2','b',1,1), ('m3','a',2,1);
		INSERT INTO conversations (cid, created_at, updated_at) VALUES ('a',10,30), ('b',20,20);
		INSERT INTO meta (key, value) VALUES ('position', '8');
		PRAGMA user_version=7`)
	db, _ := open(t, path, sqlite.Normal)
	d := journaltest.Delivery("a", "m4", 1)
	if _, _, err := db.Accept(t.Context(), d, false); err != nil {
		t.Fatal(err)
	}
	for conv, want := range map[string][]int64{"a": {-1, 7, 8}, "b": {0}} {
		rs, err := db.Records(t.Context(), caxton.ConversationID(conv), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for i, r := range rs {
			got = append(got, r.N)
			if r.Seq != int64(i)+1 {
				t.Errorf("record %d of %s has seq %d", i, conv, r.Seq)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("conversation %s has records at %d, want %d", conv, got, want)
		}
	}
	ms, err := db.Messages(t.Context(), "a")
	if err != nil || len(ms) != 3 || string(ms[1].Content) != `"three"` {
		t.Errorf("Messages = %+v, %v", ms, err)
	}
}
