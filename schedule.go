package caxton

import "time"

// A Schedule starts conversations of an agent by the clock.
type Schedule struct {
	Enabled  bool
	Cron     string        // five fields
	Timezone string        // IANA name; default UTC
	Message  string        `json:",omitzero"` // what the agent is sent; default a sentence that says when it is
	Missed   MissedRuns    `json:",omitzero"` // default once
	Overlap  Overlap       `json:",omitzero"` // default skip
	Jitter   time.Duration `json:",omitzero"` // each run starts up to this much later, always the same for the same time
}

// MissedRuns says what becomes of runs that were due while the server was down or the agent
// suspended.
type MissedRuns string

// The ways to treat missed runs.
const (
	MissedSkip MissedRuns = "skip" // they do not happen
	MissedOnce MissedRuns = "once" // one run, for the latest of them, stands for all
	MissedAll  MissedRuns = "all"  // each happens, the latest hundred at most
)

// Overlap says what becomes of a run that is due while the one before is still at work.
type Overlap string

// The ways to treat overlapping runs.
const (
	OverlapSkip  Overlap = "skip"  // it does not happen
	OverlapAllow Overlap = "allow" // both are at work
)

// A ScheduleState is what must be known of an agent's schedule after a restart.
type ScheduleState struct {
	AgentID        AgentID
	Schedule       string         // the expression and the zone it belongs to
	Through        time.Time      // every time up to this one is dealt with
	LastRun        time.Time      // the time the latest run was due; zero before the first
	MessageID      MessageID      // the message that began it
	ConversationID ConversationID // the conversation it began
	Missed         int64          // runs that did not happen because nobody was there to begin them
	Overlapped     int64          // runs that did not happen because the one before was at work
	Error          string         // why the latest run could not begin, or ""
}

// A ScheduleStatus tells how an agent's schedule fares.
type ScheduleStatus struct {
	Schedule Schedule
	State    ScheduleState
	Next     time.Time // when the next run is due; zero when none is
}
