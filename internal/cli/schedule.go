package cli

import (
	"fmt"
	"time"

	"github.com/caxton/caxton/api"
)

// showSchedule prints when an agent is started by the clock; nothing for one that is not.
func showSchedule(p *printer, s *api.Schedule) {
	if s == nil {
		return
	}
	p.row("Schedule:", fmt.Sprintf("%s (%s)", s.Cron, s.Timezone))
	// Times are shown in the zone they were written in, if it is known here.
	in, err := time.LoadLocation(s.Timezone)
	if err != nil {
		in = time.UTC
	}
	next := "none"
	switch {
	case s.NextRun != nil:
		next = s.NextRun.In(in).Format(scheduleTime)
	case !s.Enabled:
		next = "none, the schedule is disabled"
	}
	p.row("Next run:", next)
	if s.LastRun != nil {
		p.row("Last run:", fmt.Sprintf("%s, message %s", s.LastRun.In(in).Format(scheduleTime), s.LastMessageID))
	}
	if s.Missed > 0 || s.Overlapped > 0 {
		p.row("Runs left out:", fmt.Sprintf("%d missed, %d while the one before was at work", s.Missed, s.Overlapped))
	}
	if s.LastError != "" {
		p.row("Run refused:", s.LastError)
	}
}

const scheduleTime = "2006-01-02 15:04:05 -07:00"
