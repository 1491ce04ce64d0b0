package caxton

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A RolloutStrategy says how a new version of an agent takes the place of the one before.
type RolloutStrategy string

// The strategies.
const (
	RolloutImmediate RolloutStrategy = "immediate"  // new conversations get it at once, running ones keep theirs
	RolloutRolling   RolloutStrategy = "rolling"    // the same, and running ones move when the time to drain is over
	RolloutBlueGreen RolloutStrategy = "blue_green" // it is warmed, then all conversations move at once; the old one is kept warm
	RolloutCanary    RolloutStrategy = "canary"     // it gets a growing share of the conversations
	RolloutShadow    RolloutStrategy = "shadow"     // it answers copies of the messages, and nobody hears it
)

// ParseRolloutStrategy returns the strategy that a text names, in any case and with "-" for
// "_". "" is immediate.
func ParseRolloutStrategy(text string) (RolloutStrategy, error) {
	s := RolloutStrategy(strings.ReplaceAll(strings.ToLower(strings.TrimSpace(text)), "-", "_"))
	switch s {
	case "":
		return RolloutImmediate, nil
	case RolloutImmediate, RolloutRolling, RolloutBlueGreen, RolloutCanary, RolloutShadow:
		return s, nil
	case "bluegreen":
		return RolloutBlueGreen, nil
	}
	return "", Errorf(Invalid, "strategy_unknown", "there is no strategy %.100q", text).
		WithHint("use immediate, rolling, blue_green, canary or shadow")
}

// A RolloutStage is one step of a rollout: what share of the conversations the new version
// has, and for how long.
type RolloutStage struct {
	Percent  int           `json:"percent"`  // 1 to 100
	Duration time.Duration `json:"duration"` // 0 for a last stage that is over at once
}

// ParseRolloutStages returns the stages that a text such as "5:5m,25:10m,50:10m" tells. The
// shares must rise.
func ParseRolloutStages(text string) ([]RolloutStage, error) {
	var stages []RolloutStage
	for part := range strings.SplitSeq(text, ",") {
		share, long, timed := strings.Cut(strings.TrimSpace(part), ":")
		percent, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(share), "%"))
		s := RolloutStage{Percent: percent}
		if err == nil && timed {
			s.Duration, err = time.ParseDuration(strings.TrimSpace(long))
		}
		if err != nil {
			return nil, errStage("%.100q is no stage", part)
		}
		stages = append(stages, s)
	}
	return stages, CheckRolloutStages(stages)
}

// maxStages bounds the stages of a rollout.
const maxStages = 20

// CheckRolloutStages returns what is wrong with the stages of a canary, or nil.
func CheckRolloutStages(stages []RolloutStage) error {
	if len(stages) == 0 || len(stages) > maxStages {
		return errStage("%d stages", len(stages))
	}
	for i, s := range stages {
		switch {
		case s.Percent < 1 || s.Percent > 100:
			return errStage("%d%% is no share", s.Percent)
		case s.Duration < 0 || s.Duration == 0 && s.Percent < 100:
			return errStage("the stage of %d%% has no duration", s.Percent)
		case i > 0 && s.Percent <= stages[i-1].Percent:
			return errStage("%d%% comes after %d%%", s.Percent, stages[i-1].Percent)
		}
	}
	return nil
}

func errStage(format string, args ...any) error {
	return Errorf(Invalid, "stages_invalid", "the stages of the rollout cannot be: "+format, args...).
		WithHint("write up to %d rising shares with their durations, such as 5:5m,25:10m,50:10m", maxStages)
}

// RolloutStagesText prints stages as ParseRolloutStages reads them.
func RolloutStagesText(stages []RolloutStage) string {
	parts := make([]string, 0, len(stages))
	for _, s := range stages {
		p := strconv.Itoa(s.Percent)
		if s.Duration > 0 {
			p += ":" + s.Duration.String()
		}
		parts = append(parts, p)
	}
	return strings.Join(parts, ",")
}

// A RolloutPlan is what somebody wants of a rollout. Zero fields mean the defaults of the
// strategy.
type RolloutPlan struct {
	Strategy    RolloutStrategy
	Stages      []RolloutStage // of a canary
	Percent     int            // of the conversations that a shadow sees
	Gates       []RolloutGate
	NoGates     bool          // none, not even the usual ones of a canary
	MinMessages int           // messages before a gate is judged; negative for none
	Hold        time.Duration // rolling: time to drain; blue_green: how long the old version is kept warm
}

// The defaults of rollouts.
const (
	DefaultRolloutMinMessages = 20
	DefaultRolloutDrain       = 10 * time.Minute
	DefaultRolloutKeep        = 5 * time.Minute
)

// Rollout returns the rollout of the plan, before it begins. Errors: Invalid.
func (p *RolloutPlan) Rollout() (Rollout, error) {
	r := Rollout{Strategy: p.Strategy, Gates: p.Gates, MinMessages: max(0, cmp.Or(p.MinMessages, DefaultRolloutMinMessages))}
	if len(p.Stages) > 0 && p.Strategy != RolloutCanary {
		return r, Errorf(Invalid, "rollout_invalid", "only a canary has stages").WithHint("leave them out, or use the strategy canary")
	}
	if p.Percent != 0 && p.Strategy != RolloutShadow {
		return r, Errorf(Invalid, "rollout_invalid", "only a shadow sees a share").WithHint("leave it out, or give a canary stages")
	}
	if p.Hold < 0 || p.Percent < 0 || p.Percent > 100 {
		return r, Errorf(Invalid, "rollout_invalid", "a time or a share of the rollout is out of range")
	}
	switch p.Strategy {
	case RolloutRolling:
		r.Stages = []RolloutStage{{100, cmp.Or(p.Hold, DefaultRolloutDrain)}}
	case RolloutBlueGreen:
		r.Stages = []RolloutStage{{100, cmp.Or(p.Hold, DefaultRolloutKeep)}}
	case RolloutShadow:
		r.Stages = []RolloutStage{{cmp.Or(p.Percent, 100), 0}}
	case RolloutCanary:
		r.Stages = slices.Clone(p.Stages)
		if len(r.Stages) == 0 {
			r.Stages = []RolloutStage{{5, 5 * time.Minute}, {25, 10 * time.Minute}, {50, 10 * time.Minute}}
		}
		if r.Gates == nil {
			r.Gates = DefaultRolloutGates()
		}
		if err := CheckRolloutStages(r.Stages); err != nil {
			return r, err
		}
	case RolloutImmediate:
		return r, Errorf(Invalid, "rollout_invalid", "an immediate deployment is no rollout")
	default:
		_, err := ParseRolloutStrategy(string(p.Strategy))
		return r, err
	}
	if p.NoGates {
		r.Gates = nil
	}
	for _, g := range r.Gates {
		if err := g.check(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// A RolloutState says how far a rollout is.
type RolloutState string

// The states of a rollout.
const (
	RolloutPreparing  RolloutState = "preparing"   // the new version is being warmed and has no messages
	RolloutRunning    RolloutState = "running"     // at one of its stages
	RolloutCompleted  RolloutState = "completed"   // the new version is the active one
	RolloutRolledBack RolloutState = "rolled_back" // the new version was withdrawn, by a gate or by somebody
	RolloutAborted    RolloutState = "aborted"     // somebody called it off, or another deployment came in between
	RolloutFailed     RolloutState = "failed"      // the new version did not start
)

// Over reports whether a rollout in this state has ended.
func (s RolloutState) Over() bool { return s != RolloutPreparing && s != RolloutRunning }

// A Rollout is one version of an agent on its way to take the place of another. It is part of
// the registry's state, and never changed: a later state is another value.
type Rollout struct {
	Strategy    RolloutStrategy `json:"strategy"`
	State       RolloutState    `json:"state"`
	From        int             `json:"from"` // the version before
	To          int             `json:"to"`   // the new version
	Stages      []RolloutStage  `json:"stages"`
	Stage       int             `json:"stage"` // from 1; 0 while it is being prepared
	Gates       []RolloutGate   `json:"gates,omitempty"`
	MinMessages int             `json:"min_messages,omitempty"` // that the new version has handled in a stage before a gate is judged
	Move        bool            `json:"move,omitempty"`         // running conversations move when it is completed
	MinWas      int             `json:"min_was,omitempty"`      // the agent's MinVersion before
	Author      string          `json:"author,omitempty"`
	Reason      string          `json:"reason,omitempty"` // why it ended
	StartedAt   time.Time       `json:"started_at"`
	StageAt     time.Time       `json:"stage_at,omitzero"` // when its stage began
	EndedAt     time.Time       `json:"ended_at,omitzero"`
}

// Open reports whether the rollout has not ended. A nil Rollout has.
func (r *Rollout) Open() bool { return r != nil && !r.State.Over() }

// Switches reports whether the new version is the active one from the first stage on.
func (r *Rollout) Switches() bool {
	return r.Strategy == RolloutRolling || r.Strategy == RolloutBlueGreen
}

// Percent returns the share of the conversations that the new version has, or in a shadow
// sees, now.
func (r *Rollout) Percent() int {
	if r == nil || r.State != RolloutRunning || r.Stage < 1 || r.Stage > len(r.Stages) {
		return 0
	}
	return r.Stages[r.Stage-1].Percent
}

// StageEnds returns when the stage is over by the clock, zero when it never is.
func (r *Rollout) StageEnds() time.Time {
	if r.Percent() == 0 || r.Strategy == RolloutShadow {
		return time.Time{}
	}
	return r.StageAt.Add(r.Stages[r.Stage-1].Duration)
}

// Progress returns how much of the time of all stages has passed at a time, in percent.
func (r *Rollout) Progress(now time.Time) int {
	if r.State == RolloutCompleted {
		return 100
	}
	var all, gone time.Duration
	for i, s := range r.Stages {
		all += s.Duration
		if i+1 < r.Stage {
			gone += s.Duration
		}
	}
	if all == 0 || r.Stage == 0 {
		return 0
	}
	if !r.EndedAt.IsZero() {
		now = r.EndedAt
	}
	gone += min(max(0, now.Sub(r.StageAt)), r.Stages[r.Stage-1].Duration)
	return int(100 * gone / all)
}

// EventRollout names events that tell of rollouts, beside the kinds of records.
const EventRollout = "rollout"

// A RolloutEvent tells of a step of a rollout.
type RolloutEvent struct {
	Step    string // RolloutBegan and the like
	At      time.Time
	AgentID AgentID
	Agent   string // slug
	Rollout Rollout
}

// The steps of a rollout.
const (
	RolloutBegan = "began" // the version is kept, and being warmed
	RolloutStep  = "stage" // it came to a stage
	RolloutEnded = "ended"
)

// RolloutEvent returns the last step of the agent's rollout, and false when there was none.
func (a *Agent) RolloutEvent() (RolloutEvent, bool) {
	if a.Rollout == nil {
		return RolloutEvent{}, false
	}
	e := RolloutEvent{Step: RolloutBegan, At: a.Rollout.StartedAt, AgentID: a.ID, Agent: a.Slug, Rollout: *a.Rollout}
	switch e.Rollout.State {
	case RolloutPreparing:
	case RolloutRunning:
		e.Step, e.At = RolloutStep, e.Rollout.StageAt
	case RolloutCompleted, RolloutRolledBack, RolloutAborted, RolloutFailed:
		e.Step, e.At = RolloutEnded, e.Rollout.EndedAt
	}
	return e, true
}

// Takes reports whether a conversation of the agent belongs to the share of the new version.
// It follows from the names alone: every node, today and tomorrow, comes to the same answer.
// Another version has other conversations, so that it is not always the same ones that try
// what is new. A conversation in a small share is in every larger one.
func (r *Rollout) Takes(agent AgentID, conv ConversationID) bool {
	percent := r.Percent()
	if percent == 0 || percent == 100 {
		return percent == 100
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s\x00%d\x00%s", agent, r.To, conv) // a hash takes all
	x := h.Sum64()
	x ^= x >> 33 // names that differ in their last letter only are to differ in every bit
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x%100 < uint64(percent) //nolint:gosec // 1 to 99
}

// VersionFor returns the version that handles a new conversation of the agent.
func (a *Agent) VersionFor(conv ConversationID) int {
	if r := a.Rollout; r.Open() && r.Strategy == RolloutCanary && r.Takes(a.ID, conv) {
		return r.To
	}
	return a.Version
}

// Continue returns the version that handles the next message of a conversation whose last one
// was meant for the version given, 0 for none: the same, unless conversations were told to
// move on, or the version was withdrawn.
func (a *Agent) Continue(conv ConversationID, version int) int {
	if version < 1 || version < a.MinVersion || a.IsWithdrawn(version) {
		return a.VersionFor(conv)
	}
	return version
}

// IsWithdrawn reports whether a version was rolled back, and handles nothing any more.
func (a *Agent) IsWithdrawn(version int) bool { return slices.Contains(a.Withdrawn, version) }

// Shadowed returns the version that is to see a copy of a message that the version given
// handles, or 0.
func (a *Agent) Shadowed(conv ConversationID, version int) int {
	if r := a.Rollout; r.Open() && r.Strategy == RolloutShadow && version == r.From && r.Takes(a.ID, conv) {
		return r.To
	}
	return 0
}
