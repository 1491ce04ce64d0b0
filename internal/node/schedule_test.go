package node_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/sqlite"
)

const nightly = `---
name: Nightly
capabilities: [report]
system_prompt: Report.
schedule:
  cron: 0 3 * * *
  timezone: Europe/Berlin
  message: What is new?
---

Nothing new under the sun.
`

// TestSchedule: an agent whose runs were missed while the server was down is started once,
// and that is known after the next restart.
func TestSchedule(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "agents"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "agents", "nightly.md"), []byte(nightly), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, stop := run(t, dir)
	first := scheduleOf(t, c, func(s *api.Schedule) bool { return s != nil && s.NextRun != nil })
	if first.LastRun != nil || first.Cron != "0 3 * * *" || first.Timezone != "Europe/Berlin" || !first.NextRun.After(time.Now()) {
		t.Fatalf("schedule in the beginning %+v", first)
	}
	a, err := c.Agent(t.Context(), "nightly")
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	away(t, dir, caxton.AgentID(a.ID), 50*time.Hour)

	c, info, stop := run(t, dir)
	second := scheduleOf(t, c, func(s *api.Schedule) bool { return s != nil && s.LastRun != nil })
	if second.Missed < 1 || second.LastRun.After(time.Now()) || time.Since(*second.LastRun) > 25*time.Hour {
		t.Errorf("schedule after the first restart %+v", second)
	}
	answered := func() bool {
		m, err := c.Message(t.Context(), second.LastMessageID)
		if err != nil {
			t.Fatal(err)
		}
		return m.Sender == "schedule" && string(m.Content) == `"What is new?"` && len(m.Replies) == 1 &&
			strings.Contains(m.Replies[0].Text, "Nothing new under the sun.")
	}
	soon(t, "the run was not answered", answered)
	if !strings.Contains(get(t, "http://"+info.MetricsAddr+"/metrics"), `caxton_schedule_runs_total{outcome="sent"} 1`) {
		t.Error("the metrics do not count the run")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	c, _, _ = run(t, dir)
	third := scheduleOf(t, c, func(s *api.Schedule) bool { return s != nil && s.NextRun != nil })
	if third.LastMessageID != second.LastMessageID || third.Missed != second.Missed {
		t.Errorf("schedule after the second restart %+v, before %+v", third, second)
	}
}

// away makes the database say that what an agent's schedule has dealt with ends d ago.
func away(t *testing.T, dir string, id caxton.AgentID, d time.Duration) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "data", "caxton.db")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	states, err := db.ScheduleStates(t.Context())
	if err != nil || len(states) != 1 || states[0].AgentID != id {
		t.Fatalf("ScheduleStates = %+v, %v, want one of %s", states, err, id)
	}
	states[0].Through = time.Now().Add(-d)
	if err := db.SaveScheduleState(t.Context(), states[0]); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// scheduleOf returns the schedule of the agent nightly as soon as it is as wanted.
func scheduleOf(t *testing.T, c *api.Client, want func(*api.Schedule) bool) (s *api.Schedule) {
	t.Helper()
	soon(t, "the schedule is not as it should be", func() bool {
		a, err := c.Agent(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		s = a.Schedule
		return want(s)
	})
	return s
}

// soon waits until something is so, ten seconds at most.
func soon(t *testing.T, otherwise string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(otherwise)
		}
	}
}
