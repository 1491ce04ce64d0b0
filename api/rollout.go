package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/caxton/caxton"
)

// A RolloutPlan says how a new version takes the place of the one before. It has no effect on
// an agent that is new.
type RolloutPlan struct {
	Strategy          string `json:"strategy,omitempty" enum:"immediate,rolling,blue_green,blue-green,canary,shadow," doc:"immediate when absent"`
	CanaryStages      string `json:"canary_stages,omitempty" maxLength:"400" example:"5:5m,25:10m,50:10m" doc:"of a canary: percent of the conversations and duration of each stage"`
	TrafficPercentage int    `json:"traffic_percentage,omitempty" minimum:"0" maximum:"100" doc:"of a shadow: the share of the conversations that it sees; all when absent"`
	RollbackOn        string `json:"rollback_on,omitempty" maxLength:"400" example:"error_rate>1%,p99>100ms" doc:"gates that roll it back; none for none. A canary has error_rate>+5%,p99>2x when absent"`
	MinMessages       *int   `json:"min_messages,omitempty" minimum:"0" maximum:"1000000" doc:"messages that the new version has handled in a stage before it is judged, and before the stage ends; 20 when absent"`
	Hold              string `json:"hold,omitempty" maxLength:"40" example:"10m" doc:"rolling: after what time running conversations move, 10m; blue_green: how long the old version is kept warm, 5m"`
}

// Plan returns what the fields say, nil for an immediate deployment. Errors: Invalid.
func (p *RolloutPlan) Plan() (*caxton.RolloutPlan, error) {
	s, err := caxton.ParseRolloutStrategy(p.Strategy)
	if err != nil {
		return nil, err
	}
	if s == caxton.RolloutImmediate {
		if p.CanaryStages != "" || p.TrafficPercentage != 0 || p.RollbackOn != "" || p.Hold != "" {
			return nil, caxton.Errorf(caxton.Invalid, "rollout_invalid", "an immediate deployment has no stages, shares, gates or times").
				WithHint("name a strategy: rolling, blue_green, canary or shadow")
		}
		return nil, nil //nolint:nilnil // no plan is no fault
	}
	plan := &caxton.RolloutPlan{Strategy: s, Percent: p.TrafficPercentage}
	if p.CanaryStages != "" {
		if plan.Stages, err = caxton.ParseRolloutStages(p.CanaryStages); err != nil {
			return nil, err
		}
	}
	if p.RollbackOn != "" {
		if plan.Gates, err = caxton.ParseRolloutGates(p.RollbackOn); err != nil {
			return nil, err
		}
		plan.NoGates = len(plan.Gates) == 0
	}
	if p.Hold != "" {
		if plan.Hold, err = time.ParseDuration(p.Hold); err != nil || plan.Hold <= 0 {
			return nil, caxton.Errorf(caxton.Invalid, "rollout_invalid", "%.40q is no time to hold", p.Hold).WithHint("write a duration such as 10m")
		}
	}
	if p.MinMessages != nil {
		if plan.MinMessages = *p.MinMessages; plan.MinMessages == 0 {
			plan.MinMessages = -1
		}
	}
	if _, err := plan.Rollout(); err != nil {
		return nil, err
	}
	return plan, nil
}

// A Rollout is how a new version takes, or took, the place of another.
type Rollout struct {
	AgentID     string          `json:"agent_id"`
	Agent       string          `json:"agent" example:"greeter"`
	Strategy    string          `json:"strategy" enum:"rolling,blue_green,canary,shadow"`
	State       string          `json:"state" enum:"preparing,running,completed,rolled_back,aborted,failed"`
	Status      string          `json:"status" doc:"the same as state"`
	FromVersion int             `json:"from_version"`
	ToVersion   int             `json:"to_version"`
	Active      int             `json:"active_version" doc:"new conversations get it, unless they are in the canary's share"`
	Stage       int             `json:"stage" doc:"from 1; 0 while the version is being warmed"`
	Stages      []RolloutStage  `json:"stages"`
	Percent     int             `json:"percent" doc:"of the conversations that the new version has, or as a shadow sees"`
	Progress    int             `json:"progress" doc:"percent of the time of all stages; messages may be waited for after it"`
	RollbackOn  string          `json:"rollback_on" doc:"the gates"`
	MinMessages int             `json:"min_messages"`
	Waits       string          `json:"waits,omitempty" doc:"why a stage that is over by the clock goes on"`
	Reason      string          `json:"reason,omitempty" doc:"why it ended"`
	Author      string          `json:"author,omitempty"`
	StartedAt   time.Time       `json:"started_at"`
	StageAt     *time.Time      `json:"stage_at,omitempty" doc:"when the stage began"`
	StageEnds   *time.Time      `json:"stage_ends,omitempty" doc:"when the stage is over by the clock"`
	EndedAt     *time.Time      `json:"ended_at,omitempty"`
	Versions    []RolloutCounts `json:"versions" doc:"the version before and the new one"`
	Withdrawn   []int           `json:"withdrawn,omitempty" doc:"versions of the agent that handle nothing any more"`
	Shadow      *RolloutShadow  `json:"shadow,omitempty" doc:"only of a shadow"`
}

// A RolloutList is the last rollouts of agents, newest first.
type RolloutList struct {
	Items []Rollout `json:"items"`
	Total int       `json:"total" doc:"how many there are that were asked for"`
}

// A RolloutStage is one stage of a rollout.
type RolloutStage struct {
	Percent  int    `json:"percent"`
	Duration string `json:"duration,omitempty" example:"5m0s"`
}

// RolloutCounts are how one version fares since the rollout began. A server that dies may lose the
// last seconds.
type RolloutCounts struct {
	Version      int     `json:"version"`
	Messages     int64   `json:"messages"`
	Errors       int64   `json:"errors"`
	StageTurns   int64   `json:"stage_messages" doc:"in the stage now"`
	StageErrors  int64   `json:"stage_errors"`
	ErrorRate    float64 `json:"error_rate" doc:"share of the stage's messages that failed, 0 to 1"`
	InFlight     int     `json:"in_flight"`
	LatencyP50   float64 `json:"latency_p50_ms" doc:"of the newest turns"`
	LatencyP99   float64 `json:"latency_p99_ms"`
	BreakdownRow int     `json:"breakdowns_in_a_row"`
}

// A RolloutShadow compares what a shadow would have answered with what was answered.
type RolloutShadow struct {
	Compared  int64               `json:"compared"`
	Same      int64               `json:"same" doc:"the same answer and the same calls of tools"`
	Answers   int64               `json:"different_answers"`
	Calls     int64               `json:"different_calls"`
	Failed    int64               `json:"failed"`
	Dropped   int64               `json:"dropped" doc:"copies that nobody had time for"`
	Different []RolloutDifference `json:"different" doc:"the newest that differ, oldest first"`
}

// A RolloutDifference is one message that a shadow answered otherwise.
type RolloutDifference struct {
	At             time.Time `json:"at"`
	ConversationID string    `json:"conversation_id"`
	MessageID      string    `json:"message_id"`
	Answer         string    `json:"answer,omitempty" doc:"that was given"`
	Shadow         string    `json:"shadow_answer,omitempty" doc:"that the shadow would have given"`
	Missing        []string  `json:"missing_calls,omitempty" doc:"calls that the shadow did not make"`
	Extra          []string  `json:"extra_calls,omitempty" doc:"calls that only the shadow made; they were not carried out"`
	Error          string    `json:"error,omitempty" doc:"why it came to no answer"`
}

// RolloutFrom returns a rollout as it is sent.
func RolloutFrom(st *caxton.RolloutStatus) Rollout {
	ro := &st.Rollout
	out := Rollout{
		AgentID: string(st.Agent.ID), Agent: st.Agent.Slug, Strategy: string(ro.Strategy), State: string(ro.State), Status: string(ro.State),
		FromVersion: ro.From, ToVersion: ro.To, Active: st.Agent.Version, Stage: ro.Stage, Stages: []RolloutStage{}, Percent: ro.Percent(),
		Progress: ro.Progress(st.At), RollbackOn: caxton.RolloutGatesText(ro.Gates), MinMessages: ro.MinMessages, Waits: st.Waits, Reason: ro.Reason,
		Author: ro.Author, StartedAt: ro.StartedAt.UTC(), Withdrawn: st.Withdrawn,
		Versions: []RolloutCounts{countsFrom(&st.From), countsFrom(&st.To)},
	}
	for _, s := range ro.Stages {
		stage := RolloutStage{Percent: s.Percent}
		if s.Duration > 0 {
			stage.Duration = s.Duration.String()
		}
		out.Stages = append(out.Stages, stage)
	}
	out.StageAt, out.StageEnds, out.EndedAt = timeOf(ro.StageAt), timeOf(ro.StageEnds()), timeOf(ro.EndedAt)
	if ro.Strategy == caxton.RolloutShadow {
		n := &st.Shadow
		out.Shadow = &RolloutShadow{
			Compared: n.Compared, Same: n.Same, Answers: n.Answers, Calls: n.Calls, Failed: n.Failed, Dropped: n.Dropped, Different: []RolloutDifference{},
		}
		for i := range n.Different {
			d := &n.Different[i]
			out.Shadow.Different = append(out.Shadow.Different, RolloutDifference{
				At: d.At.UTC(), ConversationID: string(d.ConversationID), MessageID: string(d.MessageID),
				Answer: d.Answer, Shadow: d.Shadow, Missing: d.Missing, Extra: d.Extra, Error: d.Error,
			})
		}
	}
	return out
}

// timeOf returns a time as it is sent, nil for none.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func countsFrom(c *caxton.VersionCounts) RolloutCounts {
	out := RolloutCounts{
		Version: c.Version, Messages: c.AllHandled + c.AllFailed, Errors: c.AllFailed, StageTurns: c.Turns(), StageErrors: c.Failed,
		InFlight: c.InFlight, LatencyP50: float64(c.P50) / float64(time.Millisecond), LatencyP99: float64(c.P99) / float64(time.Millisecond), BreakdownRow: c.Streak,
	}
	if n := c.Turns(); n > 0 {
		out.ErrorRate = float64(c.Failed) / float64(n)
	}
	return out
}

// PromoteBody is the body of POST /api/v1/agents/{agent}/promote.
type PromoteBody struct {
	Next bool `json:"next,omitempty" doc:"to the next stage only"`
}

// AbortBody is the body of POST /api/v1/agents/{agent}/abort.
type AbortBody struct {
	Reason string `json:"reason,omitempty" maxLength:"1000"`
}

// Rollout asks for the last rollout of an agent, open or ended.
func (c *Client) Rollout(ctx context.Context, ref string) (Rollout, error) {
	return do[Rollout](ctx, c, call{method: http.MethodGet, path: path("agents", ref, "rollout")})
}

// A RolloutFilter selects rollouts. Zero fields select all.
type RolloutFilter struct {
	Open  bool // only those that have not ended
	Limit int  // 100
}

// Rollouts asks for the last rollouts of agents, newest first, without what shadows would have
// answered.
func (c *Client) Rollouts(ctx context.Context, f RolloutFilter) (RolloutList, error) {
	q := values()
	if f.Open {
		q.Set("open", "true")
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return do[RolloutList](ctx, c, get("/rollouts", q))
}

// Promote completes an open rollout, or with next brings it to its next stage.
func (c *Client) Promote(ctx context.Context, ref string, next bool) (Rollout, error) {
	return do[Rollout](ctx, c, post(path("agents", ref, "promote"), nil, PromoteBody{Next: next}))
}

// Abort calls an open rollout off: all conversations go back to the version before.
func (c *Client) Abort(ctx context.Context, ref, reason string) (Rollout, error) {
	return do[Rollout](ctx, c, post(path("agents", ref, "abort"), nil, AbortBody{Reason: reason}))
}
