package httpd

import (
	"cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// Schedules tell when agents are started by the clock. *schedule.Scheduler provides it.
type Schedules interface {
	Status(id caxton.AgentID) (caxton.ScheduleStatus, bool)
}

// schedule returns an agent's schedule as it is sent, or nil when it has none.
func (s *Server) schedule(id caxton.AgentID) *api.Schedule {
	st, ok := s.deps.Schedules.Status(id)
	if !ok {
		return nil
	}
	return &api.Schedule{
		Enabled: st.Schedule.Enabled, Cron: st.Schedule.Cron, Timezone: cmp.Or(st.Schedule.Timezone, "UTC"),
		NextRun: at(st.Next), LastRun: at(st.State.LastRun), LastMessageID: string(st.State.MessageID),
		LastConversationID: string(st.State.ConversationID), Missed: st.State.Missed, Overlapped: st.State.Overlapped, LastError: st.State.Error,
	}
}
