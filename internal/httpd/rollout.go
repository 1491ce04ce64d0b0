package httpd

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

// rolloutRoutes registers what there is about rollouts.
func (s *Server) rolloutRoutes(a huma.API, op func(method, path, id, summary string) huma.Operation) {
	route(s, a, op(http.MethodGet, "/{agent}/rollout", "get-rollout", "How the last rollout of an agent stands, or went"), s.getRollout)
	route(s, a, op(http.MethodPost, "/{agent}/promote", "promote-agent", "Complete a rollout, or bring it to its next stage"), s.promote)
	route(s, a, op(http.MethodPost, "/{agent}/abort", "abort-rollout", "Call a rollout off: its version is withdrawn"), s.abort)
	list := operation(http.MethodGet, "/rollouts", "list-rollouts", "agents", "The last rollout of each agent that had one, newest first")
	list.Description = "Of a shadow only the counts; GET /agents/{agent}/rollout has what differed."
	route(s, a, list, s.listRollouts)
}

// RolloutQuery takes a plan from the query, for bodies that are a definition.
type RolloutQuery struct {
	Strategy          string `query:"strategy" maxLength:"40" doc:"how a new version takes over: immediate, rolling, blue_green, canary or shadow"`
	CanaryStages      string `query:"canary_stages" maxLength:"400" example:"5:5m,25:10m,50:10m" doc:"of a canary: percent of the conversations and duration of each stage"`
	TrafficPercentage int    `query:"traffic_percentage" minimum:"0" maximum:"100" doc:"of a shadow: the share of the conversations that it sees"`
	RollbackOn        string `query:"rollback_on" maxLength:"400" example:"error_rate>1%,p99>100ms" doc:"gates that roll it back; none for none"`
	MinMessages       int    `query:"min_messages" minimum:"-1" maximum:"1000000" default:"-1" doc:"messages that the new version has handled in a stage before it is judged; -1 for the default"`
	Hold              string `query:"hold" maxLength:"40" example:"10m" doc:"rolling: after what time running conversations move; blue_green: how long the old version is kept warm"`
}

// plan returns the plan that the query tells, or else one that stands beside the text of a
// definition in a JSON body.
func (q *RolloutQuery) plan(body []byte) (*caxton.RolloutPlan, error) {
	p := api.RolloutPlan{
		Strategy: q.Strategy, CanaryStages: q.CanaryStages, TrafficPercentage: q.TrafficPercentage, RollbackOn: q.RollbackOn, Hold: q.Hold,
	}
	if q.MinMessages >= 0 {
		p.MinMessages = &q.MinMessages
	}
	if q.Strategy == "" {
		var beside struct {
			Definition, Content, Config json.RawMessage
			Module                      json.RawMessage `json:"wasm_module"`
		}
		if json.Unmarshal(body, &beside) == nil && (text(beside.Definition) || text(beside.Content) || text(beside.Config) || text(beside.Module)) {
			if err := json.Unmarshal(body, &p); err != nil {
				return nil, caxton.Errorf(caxton.Malformed, "request_malformed", "the rollout of the body cannot be read").WithCause(err)
			}
		}
	}
	return p.Plan()
}

// text reports whether a value is a JSON string.
func text(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

func (s *Server) getRollout(_ context.Context, in *AgentPath) (*output[api.Rollout], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	return sentRollout(s.deps.Deployer.Rollout(a.ID))
}

type rolloutsInput struct {
	Open  bool `query:"open" doc:"only those that have not ended"`
	Limit int  `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (s *Server) listRollouts(_ context.Context, in *rolloutsInput) (*output[api.RolloutList], error) {
	all := s.deps.Deployer.Rollouts(in.Open)
	l := api.RolloutList{Items: []api.Rollout{}, Total: len(all)}
	for i := range all[:min(len(all), in.Limit)] {
		all[i].Shadow.Different = nil
		l.Items = append(l.Items, api.RolloutFrom(&all[i]))
	}
	return &output[api.RolloutList]{l}, nil
}

func sentRollout(st caxton.RolloutStatus, err error) (*output[api.Rollout], error) {
	if err != nil {
		return nil, err
	}
	return &output[api.Rollout]{api.RolloutFrom(&st)}, nil
}

// rolloutOf returns the last rollout of an agent, nil when there is none any more.
func (s *Server) rolloutOf(id caxton.AgentID) *api.Rollout {
	st, err := s.deps.Deployer.Rollout(id)
	if err != nil {
		return nil
	}
	return new(api.RolloutFrom(&st))
}

type promoteInput struct {
	AgentPath
	Body *api.PromoteBody `required:"false"`
}

func (s *Server) promote(ctx context.Context, in *promoteInput) (*output[api.Rollout], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	return sentRollout(s.deps.Deployer.Promote(ctx, a.ID, in.Body != nil && in.Body.Next))
}

type abortInput struct {
	AgentPath
	Body *api.AbortBody `required:"false"`
}

func (s *Server) abort(ctx context.Context, in *abortInput) (*output[api.Rollout], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	return sentRollout(s.deps.Deployer.Abort(ctx, a.ID, reason))
}

// roleOf returns what part a version has in the agent's rollout.
func roleOf(a *caxton.Agent, number int) string {
	switch ro := a.Rollout; {
	case a.IsWithdrawn(number):
		return "withdrawn"
	case ro.Open() && number == ro.From:
		return "from"
	case ro.Open() && number == ro.To:
		return "to"
	}
	return ""
}
