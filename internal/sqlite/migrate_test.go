package sqlite_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"
)

// olderDB makes a database whose schema ends with the migration given.
func olderDB(t *testing.T, path, last, rows string) {
	t.Helper()
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := fts5.Register(c); err != nil {
		t.Fatal(err)
	}
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

// A database from before pending was told by the log keeps what each message is: settled,
// waiting, known from attempts or not, and found after a crash of the older program only.
func TestMigrateOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	const old, young = "01900000-0000-7000-8000-000000000001", "01a00000-0000-7000-8000-000000000002"
	olderDB(t, path, "0009", `
		INSERT INTO records (n, conv, seq, at, kind, msg, agent, body) VALUES
			(-1, 'a', 1, 10, 'message', 'm0', 'a1', '{"message":{"message_id":"m0","conversation_id":"a","performative":"request","receiver_id":"a1","content":"zero"}}'),
			(0, 'a', 2, 11, 'settled', 'm0', 'a1', '{"outcome":"done","attempt":1,"version":1,"leased_at":"2026-01-01T00:00:00Z","outputs":["m0r"]}'),
			(3, 'a', 3, 11, 'message', 'm0r', '', '{"message":{"message_id":"m0r","conversation_id":"a","performative":"inform","content":"reply"}}'),
			(4, 'b', 1, 20, 'message', '`+old+`', 'a1', '{"message":{"message_id":"`+old+`","conversation_id":"b","performative":"request","receiver_id":"a1","content":"old"}}'),
			(7, 'c', 1, 30, 'message', '`+young+`', 'a1', '{"message":{"message_id":"`+young+`","conversation_id":"c","performative":"request","receiver_id":"a1","parent":"b","content":"young"}}');
		INSERT INTO messages (id, conv, seq, settled) VALUES ('m0','a',1,1), ('m0r','a',3,1), ('`+old+`','b',1,0), ('`+young+`','c',1,0);
		INSERT INTO pending (msg, attempt, not_before) VALUES ('`+old+`', 2, 0);
		INSERT INTO conversations (cid, created_at, updated_at) VALUES ('a',10,11), ('b',20,20);
		INSERT INTO meta (key, value) VALUES ('position', '8'), ('bound', '019fffff-0000-7000-8000-000000000000'), ('imported', '3');
		PRAGMA user_version=9`)
	db, stop := open(t, path, sqlite.Normal)
	check := func() {
		t.Helper()
		ds, err := db.Pending(t.Context())
		if err != nil || len(ds) != 2 || ds[0].Message.ID != old || ds[0].Attempt != 2 || ds[1].Message.ID != young {
			t.Errorf("Pending = %+v, %v, want the old one with two attempts and the young one", ds, err)
		}
		if st, err := db.Message(t.Context(), "m0"); err != nil || !st.Settled || len(st.Replies) != 1 {
			t.Errorf("Message(m0) = %+v, %v, want it settled with a reply", st, err)
		}
		if st, err := db.Message(t.Context(), old); err != nil || st.Settled {
			t.Errorf("Message(%s) = %+v, %v, want it not settled", old, st, err)
		}
		if c, err := db.Conversation(t.Context(), "c"); err != nil || c.State != caxton.ConversationActive || c.Parent != "b" {
			t.Errorf("Conversation(c) = %+v, %v, want an active one that came out of b", c, err)
		}
		rs, err := db.RecordsSince(t.Context(), -10, 0)
		if err != nil || len(rs) != 5 || rs[4].MessageID != young {
			t.Errorf("RecordsSince = %d records, %v, want all 5 in order", len(rs), err)
		}
	}
	check()
	if _, dup, err := db.Accept(t.Context(), journaltest.Delivery("d", young, 0), false); err != nil || !dup {
		t.Errorf("Accept of a known message = %t, %v, want a duplicate", dup, err)
	}
	stop()
	db, _ = open(t, path, sqlite.Normal)
	check()
}

// A file that is larger than the memory of a connection is brought up to date, also where
// there is no place for temporary files as long as memory is enough, and the log tells of it.
func TestMigrateLarge(t *testing.T) {
	const records, body = 4000, 20_000
	made := filepath.Join(t.TempDir(), "made.db")
	olderDB(t, made, "0008", fmt.Sprintf(`
		INSERT INTO records (conv, seq, at, kind, msg, agent, body, n)
			WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s WHERE x<%d)
			SELECT 'c'||(x%%10), 1+x/10, x, 'settled', 'm'||x, '', '"'||hex(zeroblob(%d))||'"', x FROM s;
		PRAGMA user_version=8`, records, body/2))
	file, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		memory int64
		temp   string
	}{
		{"little memory", 64 << 20, t.TempDir()},
		{"no temporary files", 256 << 20, filepath.Join(t.TempDir(), "none")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TMPDIR", tt.temp)
			path := filepath.Join(filepath.Dir(made), tt.name)
			writeFile(t, path, string(file))
			logged := make(lines, 10)
			db, err := sqlite.Open(sqlite3.WithMaxMemory(t.Context(), tt.memory), sqlite.Config{Path: path, Logger: slog.New(logged)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			rs, err := db.Records(t.Context(), "c5", 0, 0)
			if err != nil || len(rs) != records/10 || len(rs[0].Body) != body+2 {
				t.Errorf("Records = %d, %v, want %d", len(rs), err, records/10)
			}
			if got := []string{<-logged, <-logged}; !slices.Equal(got, []string{"schema upgrade began", "schema upgraded"}) {
				t.Errorf("logged %q", got)
			}
		})
	}
}

// A database from before versions had states of their own keeps what agents kept, and counts
// it in bytes.
func TestMigrateStateLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	olderDB(t, path, "0012", `
		INSERT INTO agents (id, name, stem, type, version, versions, min_version, suspended, source, created_at, updated_at)
			VALUES ('a-1', 'a', '', 'wasm', 1, 1, 0, 0, '', 10, 10);
		INSERT INTO agent_state VALUES ('a-1', 'k', 'ééé');
		INSERT INTO agent_state_size VALUES ('a-1', 4000, 1, 7);
		INSERT INTO agent_state_turns VALUES ('a-1', 7, 'm-7', 'said');
		INSERT INTO agent_timers VALUES ('a-1', 3, 20);
		PRAGMA user_version=12`)
	db, _ := open(t, path, sqlite.Normal)
	if v, ok, err := db.AgentState(t.Context(), "a-1", 1, "k"); string(v) != "ééé" || !ok || err != nil {
		t.Errorf("AgentState = %q, %t, %v", v, ok, err)
	}
	most := sqlite.StateLimits{Size: 20, Keys: 2}
	if err := db.CommitState(t.Context(), "a-1", 1, "m-8", []sqlite.StateChange{{Key: "l", Value: []byte("0123456789")}}, nil, most); err != nil {
		t.Errorf("the size was not counted anew: %v", err)
	}
	if out, ok, err := db.StateCommitted(t.Context(), "a-1", "m-7"); string(out) != "said" || !ok || err != nil {
		t.Errorf("StateCommitted = %q, %t, %v", out, ok, err)
	}
}
