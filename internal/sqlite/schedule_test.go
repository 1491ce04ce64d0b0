package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/google/go-cmp/cmp"
)

// TestScheduleStates: a state survives a restart, is replaced by a newer one, and goes with
// its agent.
func TestScheduleStates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, stop := open(t, path, sqlite.Normal)
	at := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	for _, id := range []caxton.AgentID{"a-1", "a-2"} {
		a := caxton.Agent{ID: id, Name: string(id), Version: 1, Versions: 1, CreatedAt: at, UpdatedAt: at}
		if err := db.SaveAgent(t.Context(), a, &caxton.AgentVersion{AgentID: id, Number: 1, CreatedAt: at}); err != nil {
			t.Fatal(err)
		}
	}
	first := caxton.ScheduleState{AgentID: "a-1", Schedule: "0 9 * * * UTC", Through: at}
	second := caxton.ScheduleState{AgentID: "a-2", Schedule: "0 9 * * * UTC", Through: at}
	later := caxton.ScheduleState{
		AgentID: "a-1", Schedule: "0 9 * * * Europe/Berlin", Through: at.Add(time.Hour), LastRun: at.Add(time.Minute),
		MessageID: "m-1", ConversationID: "c-1", Missed: 3, Overlapped: 4, Error: "refused",
	}
	for _, s := range []caxton.ScheduleState{first, second, later, {AgentID: "a-3", Schedule: "* * * * * UTC"}} {
		if err := db.SaveScheduleState(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	db, _ = open(t, path, sqlite.Normal)
	check := func(want ...caxton.ScheduleState) {
		t.Helper()
		got, err := db.ScheduleStates(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ScheduleStates (-want +got):\n%s", diff)
		}
	}
	check(later, second) // and nothing of an agent that is not there
	if err := db.DeleteAgent(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	check(second)
}
