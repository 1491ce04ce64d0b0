package api

import "time"

// A Schedule says when an agent is started by the clock, and what became of it.
type Schedule struct {
	Enabled            bool       `json:"enabled"`
	Cron               string     `json:"cron" doc:"minute, hour, day of the month, month, day of the week" example:"0 9 * * MON-FRI"`
	Timezone           string     `json:"timezone" example:"Europe/Vienna"`
	NextRun            *time.Time `json:"next_run,omitempty" doc:"missing while none is due: disabled, suspended, or a day that never comes"`
	LastRun            *time.Time `json:"last_run,omitempty" doc:"the time that was due"`
	LastMessageID      string     `json:"last_message_id,omitempty"`
	LastConversationID string     `json:"last_conversation_id,omitempty"`
	Missed             int64      `json:"missed" doc:"runs that did not happen because the server was down or the agent suspended"`
	Overlapped         int64      `json:"overlapped" doc:"runs that did not happen because the one before was at work"`
	LastError          string     `json:"last_error,omitempty" doc:"why the latest run could not begin"`
}
