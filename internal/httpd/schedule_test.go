package httpd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/httpd"
)

// scheduled is a schedule for every agent.
type scheduled struct{}

func (scheduled) Status(caxton.AgentID) (caxton.ScheduleStatus, bool) {
	due := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	return caxton.ScheduleStatus{
		Schedule: caxton.Schedule{Enabled: true, Cron: "0 3 * * *", Timezone: "Europe/Berlin"},
		State:    caxton.ScheduleState{LastRun: due, MessageID: "m-1", ConversationID: "c-1", Missed: 2},
		Next:     due.AddDate(0, 0, 1),
	}, true
}

func TestAgentSchedule(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	body := call(s, "GET", "/api/v1/agents/greeter", "").Body.String()
	want := `"schedule":{"enabled":true,"cron":"0 3 * * *","timezone":"Europe/Berlin","next_run":"2026-03-30T01:00:00Z",` +
		`"last_run":"2026-03-29T01:00:00Z","last_message_id":"m-1","last_conversation_id":"c-1","missed":2,"overlapped":0}`
	if !strings.Contains(strings.NewReplacer(" ", "", "\n", "").Replace(body), strings.ReplaceAll(want, " ", "")) {
		t.Errorf("GET agent = %s\nwant %s in it", body, want)
	}
}
