package memdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
	"github.com/caxton/caxton/internal/memory/memorytest"
	"github.com/google/go-cmp/cmp"
	"github.com/ncruces/go-sqlite3"
)

func operator() memory.Access { return memory.Access{All: true} }

func everybody() caxton.Scope { return caxton.Scope{Kind: caxton.GlobalScope} }

// say remembers a text of an entity and returns the IDs of both.
func say(tb testing.TB, db *memdb.DB, name, text string) (caxton.EntityID, caxton.MemoryID) {
	tb.Helper()
	m := memory.Memo{Scope: everybody(), Name: name}
	if text != "" {
		m.Notes = []memory.Note{{Text: text}}
	}
	rs, err := db.Remember(tb.Context(), operator(), []memory.Memo{m}, caxton.Provenance{By: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	if text == "" {
		return rs[0].Entity.ID, caxton.MemoryID(rs[0].Entity.ID)
	}
	return rs[0].Entity.ID, caxton.MemoryID(rs[0].Observations[0].ID)
}

func sound(tb testing.TB, db *memdb.DB) {
	tb.Helper()
	if faults, err := db.Check(tb.Context(), true); err != nil || len(faults) > 0 {
		tb.Errorf("Check = %q, %v", faults, err)
	}
}

func TestScopes(t *testing.T) { memorytest.TestScopes(t, openStore) }

func TestVectors(t *testing.T) {
	t.Parallel()
	db := open(t, memdb.Config{})
	ctx := t.Context()
	_, a := say(t, db, "a", "first")
	_, b := say(t, db, "b", "")
	eb, c := say(t, db, "c", "third")
	passages, err := db.Unembedded(ctx, "m", 0, 10)
	if err != nil || len(passages) != 3 || passages[0].Text != "a: first" || passages[1].Text != "b (thing)" || passages[1].ID != b {
		t.Fatalf("Unembedded = %+v, %v", passages, err)
	}
	vec := func(id caxton.MemoryID, x float32) memory.Vector {
		return memory.Vector{ID: id, Unit: []float32{x, 0, 0}}
	}
	if err := db.PutVectors(ctx, "m", []memory.Vector{vec(a, 1), vec(b, 2), vec(12345, 3)}); err != nil {
		t.Fatal(err)
	}
	if err := db.PutVectors(ctx, "other", []memory.Vector{vec(a, 9)}); err != nil {
		t.Fatal(err)
	}
	get := func(read func(visit func(memory.Vector) error) error) map[caxton.MemoryID]float32 {
		t.Helper()
		got := map[caxton.MemoryID]float32{}
		err := read(func(v memory.Vector) error {
			got[v.ID] = -1
			if v.Unit != nil {
				got[v.ID] = v.Unit[0]
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := map[caxton.MemoryID]float32{a: 1, b: 2}
	got := get(func(visit func(memory.Vector) error) error {
		return db.Vectors(ctx, "m", []caxton.MemoryID{c, b, a, 7}, visit)
	})
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Vectors (-want +got):\n%s", d)
	}
	none := func(uint32, []byte) error { return errors.New("there is no segment") }
	var mark int64
	got = get(func(visit func(memory.Vector) error) (err error) {
		mark, err = db.Load(ctx, "m", none, visit)
		return err
	})
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Load (-want +got):\n%s", d)
	}
	err = db.SaveSegments(ctx, "m", mark, func(yield func(uint32, []byte) bool) {
		_ = yield(0, []byte("head")) && yield(7, []byte("seven")) && yield(3, []byte("three"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SaveSegments(ctx, "m", mark, func(yield func(uint32, []byte) bool) { yield(7, nil) }); err != nil {
		t.Fatal(err)
	}
	// After the mark: b gets an observation and is no passage any more, c is embedded and forgotten.
	say(t, db, "b", "now something is known")
	if err := db.PutVectors(ctx, "m", []memory.Vector{vec(c, 4)}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Forget(ctx, operator(), memory.Forgetting{Entities: []caxton.EntityID{eb}}); err != nil {
		t.Fatal(err)
	}
	var segments []string
	got = get(func(visit func(memory.Vector) error) (err error) {
		mark, err = db.Load(ctx, "m", func(id uint32, blob []byte) error {
			segments = append(segments, fmt.Sprint(id, " ", string(blob)))
			return nil
		}, func(v memory.Vector) error {
			if v.ID == c && !v.Group.Past() {
				t.Error("what is forgotten is in a current group")
			}
			return visit(v)
		})
		return err
	})
	if d := cmp.Diff(map[caxton.MemoryID]float32{b: -1, c: 4}, got); d != "" {
		t.Errorf("Load after a mark (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"0 head", "3 three"}, segments); d != "" {
		t.Errorf("segments (-want +got):\n%s", d)
	}
	if now, err := db.Mark(ctx); err != nil || now != mark {
		t.Errorf("Mark = %d, %v, Load said %d", now, err, mark)
	}
	got = get(func(visit func(memory.Vector) error) error { _, err := db.Changes(ctx, "m", mark, visit); return err })
	if len(got) > 0 {
		t.Errorf("Changes after all of them = %v", got)
	}
	groups, err := db.Embedded(ctx, "m")
	if err != nil || len(groups) != 2 || groups[2] != 1 || groups[3] != 1 {
		t.Errorf("Embedded = %v, %v", groups, err)
	}
	n, err := db.Count(ctx, "m")
	if err != nil || n.Entities != 2 || n.Observations != 2 || n.Past != 1 || n.Embeddings != 3 || n.Unembedded != 1 || n.ByModel["other"] != 1 {
		t.Errorf("Count = %+v, %v", n, err)
	}
	sound(t, db)
	if err := db.DropModel(ctx, "m"); err != nil {
		t.Fatal(err)
	}
	got = get(func(visit func(memory.Vector) error) error {
		return db.Vectors(ctx, "other", []caxton.MemoryID{a}, visit)
	})
	if d := cmp.Diff(map[caxton.MemoryID]float32{a: 9}, got); d != "" {
		t.Errorf("another model (-want +got):\n%s", d)
	}
	passages, err = db.Unembedded(ctx, "m", 0, 10)
	if err != nil || len(passages) != 3 {
		t.Errorf("Unembedded = %+v, %v", passages, err)
	}
	sound(t, db)
}

func TestClean(t *testing.T) {
	t.Parallel()
	clock := memorytest.NewClock()
	db := open(t, memdb.Config{Now: clock.Now})
	ctx := t.Context()
	high := 0.9
	old, _ := say(t, db, "old", "fact one")
	if _, err := db.Remember(ctx, operator(), []memory.Memo{{Scope: everybody(), Name: "dear", Importance: &high, Notes: []memory.Note{{Text: "fact two"}}, Links: []memory.Link{{To: "old", Type: "knows"}}}}, caxton.Provenance{}); err != nil {
		t.Fatal(err)
	}
	clock.T = clock.T.AddDate(0, 1, 0)
	middle := clock.T
	_, fact := say(t, db, "new", "fact three")
	if err := db.PutVectors(ctx, "m", []memory.Vector{{ID: fact, Unit: []float32{1}}}); err != nil {
		t.Fatal(err)
	}
	say(t, db, "empty", "")
	names := func() string {
		t.Helper()
		var list []string
		page, _, err := db.Entities(ctx, operator(), memory.Filter{}, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			list = append(list, e.Name)
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	step := func(what memory.Cleaning, want memory.Cleaned, left string) {
		t.Helper()
		clock.Tick()
		what.DryRun = true
		dry, err := db.Clean(ctx, what)
		if err != nil {
			t.Fatal(err)
		}
		what.DryRun = false
		got, err := db.Clean(ctx, what)
		if err != nil {
			t.Fatal(err)
		}
		got.Bytes = 0
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("Clean(%+v) (-want +got):\n%s", what, d)
		}
		if d := cmp.Diff(got, dry); d != "" {
			t.Errorf("Clean(%+v): dry run (-done +dry):\n%s", what, d)
		}
		if got := names(); got != left {
			t.Errorf("Clean(%+v) leaves %q, want %q", what, got, left)
		}
		sound(t, db)
	}
	step(memory.Cleaning{OlderThan: middle}, memory.Cleaned{Entities: 1, Observations: 1, Relations: 1}, "dear empty new")
	if _, err := db.Entity(ctx, operator(), old, memory.AsOf{Known: middle}); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("what was removed is found in the past: %v", err)
	}
	step(memory.Cleaning{Orphaned: true}, memory.Cleaned{Entities: 1}, "dear new")
	clock.Tick()
	if _, err := db.Remember(ctx, operator(), []memory.Memo{{Scope: everybody(), Name: "new", Notes: []memory.Note{{Text: "fact four", Replaces: caxton.ObservationID(fact)}}}}, caxton.Provenance{}); err != nil {
		t.Fatal(err)
	}
	step(memory.Cleaning{Past: clock.T}, memory.Cleaned{}, "dear new")
	step(memory.Cleaning{Past: clock.Tick()}, memory.Cleaned{Observations: 1, Embeddings: 1}, "dear new")
	step(memory.Cleaning{Scope: everybody(), MaxEntities: 1}, memory.Cleaned{Entities: 1, Observations: 1}, "dear")
	if freed, err := db.Vacuum(ctx); err != nil || freed < 0 {
		t.Errorf("Vacuum = %d, %v", freed, err)
	}
	if err := db.Analyze(ctx); err != nil {
		t.Error(err)
	}
	sound(t, db)
}

// TestForgottenStaysHidden cleans what hides something, which must not come to light again.
func TestForgottenStaysHidden(t *testing.T) {
	t.Parallel()
	clock := memorytest.NewClock()
	db := open(t, memdb.Config{Now: clock.Now})
	ctx := t.Context()
	var id caxton.EntityID
	var last caxton.ObservationID
	for _, text := range []string{"lives in Rome", "lives in Oslo", "lives in Bonn"} {
		clock.Tick()
		rs, err := db.Remember(ctx, operator(), []memory.Memo{{Scope: everybody(), Name: "Bo", Notes: []memory.Note{{Text: text, Key: "address"}}}}, caxton.Provenance{})
		if err != nil {
			t.Fatal(err)
		}
		id, last = rs[0].Entity.ID, rs[0].Observations[0].ID
	}
	clock.Tick()
	if _, err := db.Forget(ctx, operator(), memory.Forgetting{Observations: []caxton.ObservationID{last}}); err != nil {
		t.Fatal(err)
	}
	clock.Tick()
	if _, err := db.Clean(ctx, memory.Cleaning{Past: clock.T}); err != nil {
		t.Fatal(err)
	}
	e, err := db.Entity(ctx, operator(), id, memory.AsOf{})
	if err != nil || len(e.Observations) > 0 {
		t.Errorf("Entity = %+v, %v", e.Observations, err)
	}
	sound(t, db)
}

func TestCheckFindsFaults(t *testing.T) {
	t.Parallel()
	for fault, damage := range map[string]string{
		"missing in the text index": `DELETE FROM passages WHERE rowid=(SELECT max(id) FROM observations)`,
		"have no passage":           `INSERT INTO passages (rowid, words) VALUES (5, 'stray')`,
		"an end that is not there":  `UPDATE relations SET target=77`,
		"have no entity":            `UPDATE observations SET entity=77 WHERE id=(SELECT max(id) FROM observations)`,
		"embeddings have no":        `UPDATE embeddings SET passage=77`,
		"embeddings are damaged":    `UPDATE embeddings SET vector=x'010203'`,
		"observations wrong":        `UPDATE entities SET bytes=bytes+1`,
		"same name":                 `UPDATE entities SET name='a', fold='a'`,
		"gone and taken for":        `UPDATE observations SET gone=1`,
		"1 tallies are wrong":       `UPDATE totals SET n=n+1 WHERE what='relations'`,
		"2 tallies are wrong":       `UPDATE tallies SET named=named+1`,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "memory.db")
			db := open(t, memdb.Config{Path: path})
			_, id := say(t, db, "a", "one fact")
			say(t, db, "b", "another fact")
			if _, err := db.Remember(t.Context(), operator(), []memory.Memo{{Scope: everybody(), Name: "a", Links: []memory.Link{{To: "b", Type: "knows"}}}}, caxton.Provenance{}); err != nil {
				t.Fatal(err)
			}
			if err := db.PutVectors(t.Context(), "m", []memory.Vector{{ID: id, Unit: []float32{1}}}); err != nil {
				t.Fatal(err)
			}
			sound(t, db)
			if err := db.Damage(damage); err != nil {
				t.Fatal(err)
			}
			faults, err := db.Check(t.Context(), true)
			if err != nil || !strings.Contains(strings.Join(faults, "\n"), fault) {
				t.Errorf("Check = %q, %v", faults, err)
			}
		})
	}
}

func TestReindex(t *testing.T) {
	t.Parallel()
	db := open(t, memdb.Config{})
	for i := range 1200 {
		say(t, db, fmt.Sprint("e", i), "something about turtles")
	}
	say(t, db, "quiet", "")
	if err := db.Damage(`INSERT INTO passages (passages) VALUES ('delete-all'); INSERT INTO passages (rowid, words) VALUES (5, 'turtles'); UPDATE tallies SET entities=7; UPDATE totals SET n=7`); err != nil {
		t.Fatal(err)
	}
	var last [2]int64
	if err := db.Reindex(t.Context(), func(done, total int64) { last = [2]int64{done, total} }); err != nil {
		t.Fatal(err)
	}
	if last != [2]int64{1201, 1201} {
		t.Errorf("progress ended with %v", last)
	}
	sound(t, db)
	hits, err := db.Match(t.Context(), operator(), "turtle", memory.Filter{}, 2000)
	if err != nil || len(hits) != 1200 {
		t.Errorf("Match finds %d, %v", len(hits), err)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	db := open(t, memdb.Config{})
	id, _ := say(t, db, "a", "kept")
	var b bytes.Buffer
	if err := db.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	say(t, db, "a", "not kept")
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	copied := open(t, memdb.Config{Path: path})
	e, err := copied.Entity(t.Context(), operator(), id, memory.AsOf{})
	if err != nil || len(e.Observations) != 1 {
		t.Errorf("Entity of the copy = %+v, %v", e, err)
	}
	sound(t, copied)
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Log("no sqlite3 here to look at the file with")
		return
	}
	out, err := exec.Command(shell, path, "PRAGMA integrity_check").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("sqlite3 says %q, %v", out, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, bytes.Repeat([]byte("this is no database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := memdb.Open(t.Context(), memdb.Config{Path: text})
	e, ok := errors.AsType[*caxton.Error](err)
	if !ok || e.Code != "storage_corrupt" || !strings.Contains(e.Hint, "backup") {
		t.Errorf("a text file: %v", err)
	}
	newer := filepath.Join(dir, "newer.db")
	c, err := sqlite3.Open(newer)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Exec("PRAGMA user_version=99"), c.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := memdb.Open(t.Context(), memdb.Config{Path: newer}); caxton.KindOf(err) != caxton.Conflict {
		t.Errorf("a newer file: %v", err)
	}
	if _, err := memdb.Open(t.Context(), memdb.Config{Path: filepath.Join(dir, "no", "such", "directory.db")}); caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("no directory: %v", err)
	}
	if _, err := memdb.Open(t.Context(), memdb.Config{Path: newer, TempStore: "cloud"}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("temp store: %v", err)
	}
}

// TestReadersBesideWriter has eight read while one writes: each sees whole writes only.
func TestReadersBesideWriter(t *testing.T) {
	t.Parallel()
	db := run(t, memdb.Config{Readers: 8, CheckpointInterval: 5 * time.Millisecond, WALSize: 1 << 20})
	ctx, stop := context.WithCancel(t.Context())
	id, _ := say(t, db, "pair", "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				e, err := db.Entity(t.Context(), operator(), id, memory.AsOf{})
				if err != nil || len(e.Observations)%2 != 0 {
					t.Errorf("Entity = %d observations, %v", len(e.Observations), err)
					return
				}
				if _, err := db.Match(t.Context(), operator(), "left right", memory.Filter{}, 5); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 150 {
		notes := []memory.Note{{Text: fmt.Sprint("left ", i)}, {Text: fmt.Sprint("right ", i)}}
		if _, err := db.Remember(ctx, operator(), []memory.Memo{{ID: id, Notes: notes}}, caxton.Provenance{}); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	sound(t, db)
}

// TestWritersTogether has many write at once: each gets its own answer, wherever others fail.
func TestWritersTogether(t *testing.T) {
	t.Parallel()
	db := run(t, memdb.Config{})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 30 {
				name := fmt.Sprint(i, " ", j)
				_, err := db.Remember(t.Context(), operator(), []memory.Memo{{Scope: caxton.Scope{Kind: caxton.AgentScope, Owner: fmt.Sprint("a", i)}, Name: name, ExistingOnly: j%3 == 0}}, caxton.Provenance{})
				if want := map[bool]caxton.Kind{true: caxton.NotFound}[j%3 == 0]; caxton.KindOf(err) != want {
					t.Errorf("%s: %v, want %q", name, err, want)
				}
			}
		})
	}
	wg.Wait()
	n, err := db.Count(t.Context(), "")
	if err != nil || n.Entities != 16*20 || len(n.ByScope) != 16 {
		t.Errorf("Count = %+v, %v", n, err)
	}
	sound(t, db)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := db.Entity(ctx, operator(), 1, memory.AsOf{}); caxton.KindOf(err) != caxton.Canceled {
		t.Errorf("a caller who left: %v", err)
	}
	f, err := db.File(t.Context())
	if err != nil || f.Bytes == 0 || f.Queries == 0 || f.CacheHitRate <= 0 || f.CacheHitRate > 1 || f.P99Query < f.AverageQuery/10 {
		t.Errorf("File = %+v, %v", f, err)
	}
}

// TestExport exports what holds, and everything there ever was: what another took the place of comes as it
// was known until then, and as it is known since.
func TestExport(t *testing.T) {
	t.Parallel()
	clock := memorytest.NewClock()
	db := open(t, memdb.Config{Now: clock.Now})
	day := func(n int) time.Time { return time.Date(2020, 1, n, 0, 0, 0, 0, time.UTC) }
	for i, text := range []string{"lives in Rome", "lives in Oslo"} {
		clock.Tick()
		_, err := db.Remember(t.Context(), operator(), []memory.Memo{{
			Scope: everybody(), Name: "Bo", Notes: []memory.Note{{Text: text, Key: "address", Valid: caxton.Span{From: day(1 + 9*i)}}},
			Links: []memory.Link{{To: "Bo", Type: "knows"}},
		}}, caxton.Provenance{By: "test"})
		if err != nil {
			t.Fatal(err)
		}
	}
	moved := clock.T
	gone, _ := say(t, db, "gone", "forgotten soon")
	clock.Tick()
	if _, err := db.Forget(t.Context(), operator(), memory.Forgetting{Entities: []caxton.EntityID{gone}}); err != nil {
		t.Fatal(err)
	}
	export := func(past bool) (lines []string) {
		t.Helper()
		when := func(t time.Time) string {
			if t.IsZero() {
				return "-"
			}
			return t.Format("0102 1504")
		}
		err := db.Export(t.Context(), operator(), memory.Filter{}, past, func(e caxton.Entity) error {
			for _, o := range e.Observations {
				lines = append(lines, fmt.Sprintf("%s %s true %s to %s known %s to %s", e.Name, o.Text, when(o.Valid.From), when(o.Valid.To), when(o.Known.From), when(o.Known.To)))
			}
			return nil
		}, func(r caxton.Relation) error {
			lines = append(lines, r.FromName+" "+r.Type+" "+r.ToName)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	first, second, third := moved.Add(-time.Minute).Format("0102 1504"), moved.Format("0102 1504"), clock.T.Format("0102 1504")
	if d := cmp.Diff([]string{"Bo lives in Oslo true 0110 0000 to - known " + second + " to -", "Bo knows Bo"}, export(false)); d != "" {
		t.Errorf("now (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{
		"Bo lives in Rome true 0101 0000 to - known " + first + " to " + second,
		"Bo lives in Rome true 0101 0000 to 0110 0000 known " + second + " to -",
		"Bo lives in Oslo true 0110 0000 to - known " + second + " to -",
		"gone forgotten soon true - to - known " + second + " to " + third,
		"Bo knows Bo",
	}, export(true)); d != "" {
		t.Errorf("with the past (-want +got):\n%s", d)
	}
}
