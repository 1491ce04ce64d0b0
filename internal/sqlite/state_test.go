package sqlite_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func saveModule(t *testing.T, db *sqlite.DB, id caxton.AgentID, hash string) {
	t.Helper()
	at := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	a := caxton.Agent{ID: id, Name: string(id), Type: caxton.WASMAgent, Version: 1, Versions: 1, CreatedAt: at, UpdatedAt: at}
	v := caxton.AgentVersion{AgentID: id, Number: 1, CreatedAt: at, Definition: caxton.Definition{
		Name: string(id), Type: caxton.WASMAgent, Module: caxton.Module{SHA256: hash, Size: 8, Contract: "reactor", Grants: []string{"log"}},
	}}
	if err := db.SaveAgent(t.Context(), a, &v); err != nil {
		t.Fatal(err)
	}
}

// saveVersion keeps another version of the agent a-1.
func saveVersion(t *testing.T, db *sqlite.DB, n int) {
	t.Helper()
	at := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	a := caxton.Agent{ID: "a-1", Name: "a-1", Type: caxton.WASMAgent, Version: 1, Versions: n, CreatedAt: at, UpdatedAt: at}
	v := caxton.AgentVersion{AgentID: "a-1", Number: n, CreatedAt: at, Definition: caxton.Definition{Name: "a-1"}}
	if err := db.SaveAgent(t.Context(), a, &v); err != nil {
		t.Fatal(err)
	}
}

// TestAgentState: what a turn changes is there once, with what the turn said; within limits;
// until the agent goes.
func TestAgentState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, stop := open(t, path, sqlite.Normal)
	saveModule(t, db, "a-1", "h1")
	saveModule(t, db, "a-2", "h1")
	most := sqlite.StateLimits{Size: 20, Keys: 2}
	set := func(k, v string) sqlite.StateChange { return sqlite.StateChange{Key: k, Value: []byte(v)} }
	commit := func(msg caxton.MessageID, want caxton.Kind, changes ...sqlite.StateChange) {
		t.Helper()
		if err := db.CommitState(t.Context(), "a-1", 1, msg, changes, []byte("said "+msg), most); caxton.KindOf(err) != want {
			t.Errorf("CommitState(%s): %v, want %q", msg, err, want)
		}
	}
	check := func(want map[string]string) {
		t.Helper()
		got := map[string]string{}
		for _, k := range []string{"k1", "k2", "k3"} {
			v, ok, err := db.AgentState(t.Context(), "a-1", 1, k)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				got[k] = string(v)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("state (-want +got):\n%s", diff)
		}
	}
	commit("m-1", "", set("k1", "one"), set("k2", ""))
	commit("m-1", "", set("k1", "again")) // the turn ran before
	check(map[string]string{"k1": "one", "k2": ""})
	commit("m-2", caxton.Invalid, set("k3", "one key too many"))
	commit("m-3", caxton.Invalid, set("k1", "many bytes, too many"))
	check(map[string]string{"k1": "one", "k2": ""})
	stop()
	db, _ = open(t, path, sqlite.Normal)
	commit("m-4", "", sqlite.StateChange{Key: "k2", Delete: true}, set("k3", "3"), set("k1", "16 bytes, or so."[:14]))
	commit("m-5", "", sqlite.StateChange{Key: "none", Delete: true})
	check(map[string]string{"k1": "16 bytes, or s", "k3": "3"})
	if out, ok, err := db.StateCommitted(t.Context(), "a-1", "m-1"); string(out) != "said m-1" || !ok || err != nil {
		t.Errorf("StateCommitted = %q, %t, %v", out, ok, err)
	}
	if _, ok, err := db.StateCommitted(t.Context(), "a-1", "m-2"); ok || err != nil {
		t.Errorf("what was refused is committed: %t, %v", ok, err)
	}
	if _, ok, err := db.AgentState(t.Context(), "a-2", 1, "k1"); ok || err != nil {
		t.Errorf("another agent sees it: %t, %v", ok, err)
	}
	if err := db.DeleteAgent(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	commit("m-6", "", set("k1", "late"))
	check(map[string]string{})
	saveModule(t, db, "a-1", "h1")
	commit("m-1", "", set("k1", "0123456789"), set("k2", "012345")) // its size begins anew
	check(map[string]string{"k1": "0123456789", "k2": "012345"})
	for i := range 5 { // bytes are counted, and not characters up to a NUL
		commit(caxton.MessageID(fmt.Sprint("m-7-", i)), "", set("k1", "ééééé"), set("k2", "\x00\x00\x00\x00"))
	}
	check(map[string]string{"k1": "ééééé", "k2": "\x00\x00\x00\x00"})
}

// A keptState is what a version of the agent a-1 keeps.
func keptState(t *testing.T, db *sqlite.DB, version int) string {
	t.Helper()
	var all []string
	for key := ""; ; {
		next, ok, err := db.NextStateKey(t.Context(), "a-1", version, key)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return strings.Join(all, " ")
		}
		v, ok, err := db.AgentState(t.Context(), "a-1", version, next)
		if err != nil || !ok {
			t.Fatalf("AgentState(%s) = %t, %v", next, ok, err)
		}
		key = next
		all = append(all, next+"="+string(v))
	}
}

// TestStateLines: versions share what they keep until one of them brings it over into another
// form; then each has its own.
func TestStateLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, stop := open(t, path, sqlite.Normal)
	saveModule(t, db, "a-1", "h1")
	most := sqlite.StateLimits{Size: 40, Keys: 3}
	set := func(k, v string) sqlite.StateChange { return sqlite.StateChange{Key: k, Value: []byte(v)} }
	n := 0
	steps := []struct {
		name string
		do   func() error
		kind caxton.Kind
		want [4]string // of the versions 1 to 4
	}{
		{"at first all share", func() error {
			return db.CommitState(t.Context(), "a-1", 1, "m-1", []sqlite.StateChange{set("n", "5"), set("old", "x")}, nil, most)
		}, "", [4]string{"n=5 old=x", "n=5 old=x", "n=5 old=x", "n=5 old=x"}},
		{"version 2 has its own form", func() error {
			return db.ForkState(t.Context(), "a-1", 1, 2, []sqlite.StateChange{set("count", "5"), {Key: "n", Delete: true}}, most)
		}, "", [4]string{"n=5 old=x", "count=5 old=x", "n=5 old=x", "n=5 old=x"}},
		{
			"version 3 goes on with it", func() error { return db.ShareState(t.Context(), "a-1", 2, 3, true) }, "",
			[4]string{"n=5 old=x", "count=5 old=x", "count=5 old=x", "n=5 old=x"},
		},
		{"what one changes the others of its line see", func() error {
			return db.CommitState(t.Context(), "a-1", 3, "m-2", []sqlite.StateChange{set("count", "6")}, nil, most)
		}, "", [4]string{"n=5 old=x", "count=6 old=x", "count=6 old=x", "n=5 old=x"}},
		{"and the line before goes its own way", func() error {
			return db.CommitState(t.Context(), "a-1", 1, "m-3", []sqlite.StateChange{set("n", "9")}, nil, most)
		}, "", [4]string{"n=9 old=x", "count=6 old=x", "count=6 old=x", "n=9 old=x"}},
		{"it is brought over once more", func() error {
			return db.ForkState(t.Context(), "a-1", 1, 2, []sqlite.StateChange{set("count", "9"), {Key: "n", Delete: true}}, most)
		}, "", [4]string{"n=9 old=x", "count=9 old=x", "count=6 old=x", "n=9 old=x"}},
		{"too much leaves all as it was", func() error {
			return db.ForkState(t.Context(), "a-1", 1, 3, []sqlite.StateChange{set("a", "1"), set("b", "2")}, most)
		}, caxton.Invalid, [4]string{"n=9 old=x", "count=9 old=x", "count=6 old=x", "n=9 old=x"}},
		{
			"a version that is kept has its own", func() error { return db.ShareState(t.Context(), "a-1", 2, 1, true) }, "",
			[4]string{"n=9 old=x", "count=9 old=x", "count=6 old=x", "n=9 old=x"},
		},
		{
			"unless it can go on with another", func() error { return db.ShareState(t.Context(), "a-1", 2, 1, false) }, "",
			[4]string{"count=9 old=x", "count=9 old=x", "count=6 old=x", "n=9 old=x"},
		},
	}
	for _, s := range steps {
		if err := s.do(); caxton.KindOf(err) != s.kind {
			t.Errorf("%s: %v, want %q", s.name, err, s.kind)
		}
		if s.name == "version 2 has its own form" || s.name == "version 3 goes on with it" {
			n++
			saveVersion(t, db, n+1)
		}
		for i, want := range s.want {
			if got := keptState(t, db, i+1); got != want {
				t.Errorf("%s: version %d keeps %q, want %q", s.name, i+1, got, want)
			}
		}
	}
	stop()
	db, _ = open(t, path, sqlite.Normal)
	if err := db.DeleteAgent(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	saveModule(t, db, "a-1", "h1")
	for v := range 4 {
		if got := keptState(t, db, v+1); got != "" {
			t.Errorf("version %d of a new agent keeps %q", v+1, got)
		}
	}
}

func TestModulesInUse(t *testing.T) {
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	for id, hash := range map[caxton.AgentID]string{"a-1": "h1", "a-2": "h1", "a-3": "h3", "a-4": ""} {
		saveModule(t, db, id, hash)
	}
	for _, step := range []struct {
		remove caxton.AgentID
		want   map[string]bool
	}{{"", map[string]bool{"h1": true, "h3": true}}, {"a-1", map[string]bool{"h1": true, "h3": true}}, {"a-2", map[string]bool{"h3": true}}} {
		if err := db.DeleteAgent(t.Context(), step.remove); err != nil {
			t.Fatal(err)
		}
		got, err := db.ModulesInUse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("without %s (-want +got):\n%s", step.remove, diff)
		}
	}
	v, err := db.AgentVersion(t.Context(), "a-3", 1)
	if err != nil || v.Definition.Module.Contract != "reactor" || v.Definition.Module.Size != 8 || !v.Definition.IsModule() {
		t.Errorf("AgentVersion = %+v, %v", v.Definition, err)
	}
}

func TestTimers(t *testing.T) {
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	saveModule(t, db, "a-1", "h1")
	at := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	set := func(id caxton.AgentID, n int32, due time.Time, want caxton.Kind) {
		t.Helper()
		if err := db.SetTimer(t.Context(), sqlite.AgentTimer{AgentID: id, ID: n, Due: due}, 2); caxton.KindOf(err) != want {
			t.Errorf("SetTimer(%s, %d): %v, want %q", id, n, err, want)
		}
	}
	set("a-1", 1, at.Add(time.Hour), "")
	set("a-1", 2, at, "")
	set("a-1", 2, at.Add(time.Minute), "") // a turn that runs again: the first stays
	set("a-1", 3, at, caxton.Exhausted)
	set("a-9", 1, at, "") // there is no such agent
	want := []sqlite.AgentTimer{{AgentID: "a-1", ID: 2, Due: at}, {AgentID: "a-1", ID: 1, Due: at.Add(time.Hour)}}
	for _, n := range []int{2, 1, 0} {
		got, err := db.Timers(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[2-n:], got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("Timers (-want +got):\n%s", diff)
		}
		if len(got) > 0 {
			if err := db.RemoveTimer(t.Context(), "a-1", got[0].ID); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRolloutTally(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, stop := open(t, path, sqlite.Normal)
	saveModule(t, db, "a-1", "h1")
	get := func() (caxton.RolloutTally, bool) {
		t.Helper()
		got, ok, err := db.RolloutTally(t.Context(), "a-1")
		if err != nil {
			t.Fatal(err)
		}
		return got, ok
	}
	if got, ok := get(); ok {
		t.Errorf("RolloutTally of nothing = %+v", got)
	}
	var want caxton.RolloutTally
	for stage := range 2 {
		want = caxton.RolloutTally{
			To: 2, Stage: stage, Versions: []caxton.VersionCounts{{Version: 1, Handled: 3, AllHandled: 5}, {Version: 2, Failed: 1, AllFailed: 2, Streak: 1}},
			Recent: [][]time.Duration{{time.Second}, {1, 2}}, Shadow: caxton.ShadowCounts{Compared: 4},
		}
		for _, id := range []caxton.AgentID{"a-1", "a-9"} {
			if err := db.SaveRolloutTally(t.Context(), id, want); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	db, _ = open(t, path, sqlite.Normal)
	got, ok := get()
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("RolloutTally (-want +got):\n%s", diff)
	}
	if _, ok, err := db.RolloutTally(t.Context(), "a-9"); ok || err != nil {
		t.Errorf("of an agent that is not there: %t, %v", ok, err)
	}
	if err := db.DeleteAgent(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	if got, ok := get(); ok {
		t.Errorf("of an agent that is gone: %+v", got)
	}
}

// A version that nobody brought state over to goes on with what the version in force keeps: one
// of the same text that a newer program reads otherwise, or one that is no module.
func TestStateOfAVersionThatIsSaved(t *testing.T) {
	db, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), sqlite.Normal)
	a := caxton.Agent{ID: "a-1", Name: "a"}
	save := func(number int) {
		t.Helper()
		a.Versions = number
		now := a
		if a.Rollout == nil {
			now.Version = number
		}
		if err := db.SaveAgent(t.Context(), now, &caxton.AgentVersion{AgentID: a.ID, Number: number}); err != nil {
			t.Fatal(err)
		}
		a = now
	}
	value := func(version int, want string) {
		t.Helper()
		if v, _, err := db.AgentState(t.Context(), a.ID, version, "k"); string(v) != want || err != nil {
			t.Errorf("version %d keeps %q, %v, want %q", version, v, err, want)
		}
	}
	most := sqlite.StateLimits{Size: 100, Keys: 10}
	fork := func(from, to int, v string) {
		t.Helper()
		if err := db.ForkState(t.Context(), a.ID, from, to, []sqlite.StateChange{{Key: "k", Value: []byte(v)}}, most); err != nil {
			t.Fatal(err)
		}
	}
	save(1)
	fork(1, 2, "two")
	save(2)
	value(1, "")
	value(2, "two")
	save(3)
	value(3, "two")
	fork(3, 4, "four")
	a.Rollout = &caxton.Rollout{From: 3, To: 4}
	save(4) // is rolled out, and withdrawn
	a.Rollout = nil
	save(5)
	value(5, "two")
	value(4, "four")
}
